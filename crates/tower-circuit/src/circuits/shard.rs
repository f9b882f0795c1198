//! A part of the keys, free of clocks and locks.

use hashbrown::HashTable;
use tokio::time::Instant;

use std::time::Duration;

use crate::Circuit;

/// How many places are looked at when a key is added, so that idle ones go.
const SWEEP: usize = 8;
/// How many of the keys are compared when one has to go for another.
const SAMPLE: usize = 16;

#[derive(Debug)]
pub(crate) struct Entry<K> {
    pub(crate) key: K,
    pub(crate) circuit: Circuit,
    pub(crate) used: Instant,
    /// Put in by the user: never evicted, and not counted towards the bound.
    pub(crate) kept: bool,
}

impl<K> Entry<K> {
    fn is_idle(&self, now: Instant, idle: Duration) -> bool {
        let age = now.saturating_duration_since(self.used);
        age >= idle && !self.kept && !self.circuit.is_in_use() && !self.circuit.holds(now)
    }
}

#[derive(Debug)]
pub(crate) struct Shard<K> {
    table: HashTable<Entry<K>>,
    max_keys: usize,
    kept: usize,
    /// Where the search for idle keys goes on.
    hand: usize,
    evicted: u64,
}

impl<K: Eq> Shard<K> {
    pub(crate) const fn new(max_keys: usize) -> Self {
        Self { table: HashTable::new(), max_keys, kept: 0, hand: 0, evicted: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    pub(crate) const fn evicted(&self) -> u64 {
        self.evicted
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry<K>> {
        self.table.iter()
    }

    pub(crate) fn find(&self, hash: u64, is: impl Fn(&K) -> bool) -> Option<&Circuit> {
        self.table.find(hash, |entry| is(&entry.key)).map(|entry| &entry.circuit)
    }

    /// The circuit of a key, which is in use now.
    #[inline]
    pub(crate) fn touch(
        &mut self,
        hash: u64,
        is: impl Fn(&K) -> bool,
        now: Instant,
    ) -> Option<&Circuit> {
        let entry = self.table.find_mut(hash, |entry| is(&entry.key))?;
        entry.used = now;
        Some(&entry.circuit)
    }

    /// Adds an entry whose key is not there, and takes out what is idle or, if there is no room,
    /// what is least missed. The caller drops that outside the lock.
    pub(crate) fn add(
        &mut self,
        hash: u64,
        entry: Entry<K>,
        idle: Duration,
        rehash: impl Fn(&K) -> u64,
    ) -> Vec<Entry<K>> {
        let now = entry.used;
        let mut gone = Vec::new();
        for _ in 0..SWEEP.min(self.table.num_buckets()) {
            let at = self.turn();
            if self.table.get_bucket(at).is_some_and(|entry| entry.is_idle(now, idle)) {
                gone.extend(self.take(at));
            }
        }
        if !entry.kept {
            while self.table.len() - self.kept >= self.max_keys {
                let Some(at) = self.least_missed(now) else { break };
                gone.extend(self.take(at));
            }
        }
        self.evicted += gone.len() as u64;
        self.kept += usize::from(entry.kept);
        self.table.insert_unique(hash, entry, |entry| rehash(&entry.key));
        gone
    }

    pub(crate) fn remove(&mut self, hash: u64, is: impl Fn(&K) -> bool) -> Option<Entry<K>> {
        let (entry, _) = self.table.find_entry(hash, |entry| is(&entry.key)).ok()?.remove();
        self.kept -= usize::from(entry.kept);
        Some(entry)
    }

    /// Takes out everything idle, and gives room back if little is left.
    pub(crate) fn evict_idle(
        &mut self,
        now: Instant,
        idle: Duration,
        rehash: impl Fn(&K) -> u64,
    ) -> Vec<Entry<K>> {
        let gone: Vec<_> = self.table.extract_if(|entry| entry.is_idle(now, idle)).collect();
        self.evicted += gone.len() as u64;
        if self.table.len() < self.table.capacity() / 4 {
            self.table.shrink_to_fit(|entry| rehash(&entry.key));
        }
        gone
    }

    fn turn(&mut self) -> usize {
        self.hand = if self.hand + 1 >= self.table.num_buckets() { 0 } else { self.hand + 1 };
        self.hand
    }

    fn take(&mut self, at: usize) -> Option<Entry<K>> {
        self.table.get_bucket_entry(at).ok().map(|entry| entry.remove().0)
    }

    /// Of a few keys, the one whose loss costs least: not in use, not open, and unused for longest.
    fn least_missed(&mut self, now: Instant) -> Option<usize> {
        let mut least: Option<(usize, (bool, bool, Instant))> = None;
        let mut compared = 0;
        for _ in 0..self.table.num_buckets() {
            let at = self.turn();
            let Some(entry) = self.table.get_bucket(at).filter(|entry| !entry.kept) else {
                continue;
            };
            let rank = (entry.circuit.is_in_use(), entry.circuit.holds(now), entry.used);
            if least.is_none_or(|(_, other)| rank < other) {
                least = Some((at, rank));
            }
            compared += 1;
            if compared == SAMPLE {
                break;
            }
        }
        least.map(|(at, _)| at)
    }
}
