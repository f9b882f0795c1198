//! Many circuits that were built alike, one for each key.

mod builder;
mod shard;

use std::{
    borrow::Borrow,
    fmt,
    hash::{BuildHasher, Hash, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

pub use self::builder::CircuitsBuilder;
use self::shard::{Entry, Shard};
use crate::{Circuit, Keyed, RestoreError, Snapshot, Status, circuit::Settings};

/// A registry of circuits that were built alike: one for each host, zone, worker or whatever the key is, made when
/// it is first asked for.
///
/// Bounded: at most [`max_keys`](CircuitsBuilder::max_keys) are kept. A circuit that nobody used for
/// [`idle`](CircuitsBuilder::idle) is forgotten, unless it is open, held by an operator, or in somebody's hand; a few
/// are looked at whenever a key is added, all of them by [`evict_idle`](Self::evict_idle). If there is no room, the least
/// missed of a few goes. Clones are the same registry.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_circuit::{Circuit, Circuits, State, Verdict};
///
/// let hosts: Circuits<String> = Circuit::builder("hosts").consecutive(1).keyed().max_keys(1_000).build()?;
/// hosts.get("a.example").admit()?.record(Verdict::Failure);
/// assert_eq!(hosts.get("a.example").state(), State::Open);
/// assert_eq!(hosts.get("b.example").state(), State::Closed);
///
/// let refused = hosts.get("a.example").admit().unwrap_err();
/// assert_eq!(refused.name(), "hosts/a.example");
/// # Ok(())
/// # }
/// ```
pub struct Circuits<K> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    name: Arc<str>,
    settings: Arc<Settings>,
    idle: Duration,
    hasher: RandomState,
    shards: Box<[Mutex<Shard<K>>]>,
}

impl<K: Eq + Hash> Circuits<K> {
    /// The circuit of a key, or a new one. Its name is that of the registry, a slash, and the key.
    ///
    /// Allocates nothing if it is there.
    #[must_use]
    pub fn get<Q>(&self, key: &Q) -> Circuit
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + fmt::Display + ?Sized,
    {
        let (now, hash) = (Instant::now(), self.inner.hasher.hash_one(key));
        let is = |known: &K| known.borrow() == key;
        if let Some(circuit) = self.shard(hash).touch(hash, is, now) {
            return circuit.clone();
        }
        // Made outside the lock: a key prints and copies itself as its type likes.
        let name = format!("{}/{key}", self.inner.name).into();
        let circuit = Circuit::new(name, Arc::clone(&self.inner.settings));
        let entry = Entry { key: key.to_owned(), circuit: circuit.clone(), used: now, kept: false };
        let gone = {
            let mut shard = self.shard(hash);
            if let Some(circuit) = shard.touch(hash, is, now) {
                return circuit.clone();
            }
            shard.add(hash, entry, self.inner.idle, |key| self.inner.hasher.hash_one(key))
        };
        drop(gone);
        circuit
    }

    /// The circuit of a key, if there is one. It does not count as use.
    pub fn find<Q>(&self, key: &Q) -> Option<Circuit>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.inner.hasher.hash_one(key);
        self.shard(hash).find(hash, |known| known.borrow() == key).cloned()
    }

    /// Puts in a circuit of the user's own making, and gives back the one that stood there. It stays until it is
    /// [removed](Self::remove), however idle, and does not count towards the bound.
    pub fn insert(&self, key: K, circuit: Circuit) -> Option<Circuit> {
        let (now, hash) = (Instant::now(), self.inner.hasher.hash_one(&key));
        let (old, gone) = {
            let mut shard = self.shard(hash);
            let old = shard.remove(hash, |known| *known == key);
            let entry = Entry { key, circuit, used: now, kept: true };
            let rehash = |key: &K| self.inner.hasher.hash_one(key);
            (old, shard.add(hash, entry, self.inner.idle, rehash))
        };
        drop(gone);
        old.map(|entry| entry.circuit)
    }

    /// Forgets the circuit of a key. Calls under way still record in it.
    pub fn remove<Q>(&self, key: &Q) -> Option<Circuit>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let hash = self.inner.hasher.hash_one(key);
        let entry = self.shard(hash).remove(hash, |known| known.borrow() == key);
        entry.map(|entry| entry.circuit)
    }

    /// Forgets all idle circuits, and says how many. Worth a call now and then if new keys are rare.
    #[allow(clippy::must_use_candidate, reason = "called for what it does")]
    pub fn evict_idle(&self) -> usize {
        let now = Instant::now();
        let rehash = |key: &K| self.inner.hasher.hash_one(key);
        let mut evicted = 0;
        for shard in &self.inner.shards {
            // The guard is gone when the entries are dropped.
            let gone = lock(shard).evict_idle(now, self.inner.idle, rehash);
            evicted += gone.len();
        }
        evicted
    }

    /// Each circuit that there is with its key, in no order. It does not count as use.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_circuit::{Circuit, Circuits, State};
    ///
    /// let hosts: Circuits<String> = Circuit::builder("hosts").keyed().build()?;
    /// hosts.get("a.example").force_open(None);
    /// drop(hosts.get("b.example"));
    /// for (host, circuit) in hosts.all() {
    ///     assert_eq!(host == "a.example", circuit.state() == State::Open);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn all(&self) -> Vec<(K, Circuit)>
    where
        K: Clone,
    {
        let mut list = Vec::new();
        for shard in &self.inner.shards {
            list.extend(lock(shard).iter().map(|entry| (entry.key.clone(), entry.circuit.clone())));
        }
        list
    }

    /// A picture of each circuit, by name. Each is consistent in itself.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        let mut circuits: Vec<Circuit> = Vec::new();
        for shard in &self.inner.shards {
            circuits.extend(lock(shard).iter().map(|entry| entry.circuit.clone()));
        }
        // Outside the locks: time may have changed a state, and listeners hear of it.
        let mut list: Vec<_> = circuits.iter().map(Circuit::status).collect();
        list.sort_by(|a, b| a.name.cmp(&b.name));
        list
    }

    /// What outlives the process, with the keys: a [`Snapshot`] of each circuit whose loss would be felt, that is, one
    /// that is not closed, is held by an operator, or has a row of failures or openings behind it.
    #[must_use]
    pub fn snapshot(&self, wall: SystemTime) -> Vec<(K, Snapshot)>
    where
        K: Clone,
    {
        let taken = self.all().into_iter().map(|(key, circuit)| (key, circuit.snapshot(wall)));
        taken.filter(|(_, snapshot)| snapshot.is_felt(self.inner.settings.enabled)).collect()
    }

    /// Takes over what [`snapshot`](Self::snapshot) gave, as of `wall`; the circuits are made as they are needed.
    ///
    /// # Errors
    ///
    /// The first [`RestoreError`]; the circuits before it are restored.
    pub fn restore(&self, snapshots: &[(K, Snapshot)], wall: SystemTime) -> Result<(), RestoreError>
    where
        K: Clone + fmt::Display,
    {
        snapshots.iter().try_for_each(|(key, snapshot)| self.get(key).restore(snapshot, wall))
    }

    /// How many circuits there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many circuits were forgotten because they were idle or there was no room.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.inner.shards.iter().map(|shard| lock(shard).evicted()).sum()
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard<K>> {
        // The table takes the lowest and the highest seven bits.
        let at = (hash >> 40) as usize & (self.inner.shards.len() - 1);
        lock(&self.inner.shards[at])
    }
}

impl<K> Circuits<K> {
    /// What layers choose a circuit by: the key that a function reads from the request.
    ///
    /// The key is made anew for each call, so let it be cheap: a number, an `Arc<str>`, an `Authority`.
    ///
    /// ```
    /// use tower_circuit::{BoxError, Circuit, CircuitLayer, Circuits, ErrorsFail, State};
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), BoxError> {
    /// let workers: Circuits<u32> = Circuit::builder("worker").consecutive(1).keyed().build()?;
    /// let service = ServiceBuilder::new()
    ///     .layer(CircuitLayer::new(workers.by(|worker: &u32| *worker), ErrorsFail))
    ///     .service(service_fn(|worker: u32| async move {
    ///         if worker == 7 { Err::<_, BoxError>("dead".into()) } else { Ok(worker) }
    ///     }));
    /// assert!(service.clone().oneshot(7).await.is_err());
    /// assert_eq!(workers.find(&7).unwrap().state(), State::Open);
    /// assert_eq!(service.oneshot(8).await?, 8);
    /// # Ok(())
    /// # }
    /// ```
    pub fn by<F>(&self, key: F) -> Keyed<K, F> {
        Keyed::new(self.clone(), key)
    }
}

fn lock<K>(shard: &Mutex<Shard<K>>) -> MutexGuard<'_, Shard<K>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K> Clone for Circuits<K> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K> fmt::Debug for Circuits<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuits").field("name", &self.inner.name).finish_non_exhaustive()
    }
}
