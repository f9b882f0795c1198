//! How many bytes of answers may be in memory at once, while they come and until whoever walks lets them go.
//!
//! A page is paid for before it is asked for, by what the last pages of its list weighed. A list that was never seen
//! is taken to be light, and cut off early if it is not: that costs one small answer instead of the memory of many
//! large ones.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tower_adaptive_page::PageController;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Pages may fill this part of memory: parsed, and on their way into a database, they are several times as many bytes.
const SHARE: u64 = 8;

/// This part of the pool is reserved for a page of a list that was never seen.
const FIRST: u64 = 16;

/// A walk whose owner keeps its pages must not wait for ever.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks that the bytes of a page count until they are let go; rides in a request's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HoldPage;

/// How long the body of this answer may be, where that is less than the client's bound; rides in a request's extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyBound(pub(crate) u64);

/// The bytes of one page, given back when the last clone is dropped. Rides in a response's extensions.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    _permit: Arc<OwnedSemaphorePermit>,
}

/// The pool that all walks of a client share.
#[derive(Clone, Debug)]
pub(crate) struct Holdings {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pages: PageController,
    max_body: u64,
    pool: OnceLock<Pool>,
    lists: Mutex<Lists>,
}

#[derive(Debug)]
struct Pool {
    room: Arc<Semaphore>,
    all: u64,
}

/// What is known of the weight of pages.
#[derive(Debug, Default)]
struct Lists {
    /// The last page of each list, in bytes; none after one that was cut off.
    last: HashMap<&'static str, Option<u64>>,
    /// Some page was cut off.
    wary: bool,
}

impl Lists {
    /// Bytes to reserve for the next page.
    fn need(&self, list: &str, first: u64, max_body: u64) -> u64 {
        match self.last.get(list) {
            // The next page may be larger than the last by a few heavy rows.
            Some(Some(bytes)) => bytes.saturating_mul(2).max(MIB).min(max_body),
            Some(None) => max_body,
            None if self.wary => max_body,
            None => first,
        }
    }
}

/// Bytes that are reserved for a page to come.
#[derive(Debug)]
pub(crate) struct Reserved {
    permit: Option<OwnedSemaphorePermit>,
    pub(crate) bound: u64,
}

impl Holdings {
    pub(crate) fn new(pages: PageController, max_body: u64) -> Self {
        let (pool, lists) = (OnceLock::new(), Mutex::default());
        Self { shared: Arc::new(Shared { pages, max_body, pool, lists }) }
    }

    fn pool(&self) -> &Pool {
        let Shared { pages, max_body, pool, .. } = &*self.shared;
        pool.get_or_init(|| {
            // Has memory looked at, if nobody has so far.
            let _ = pages.size();
            let memory = pages.status().memory.map_or(u64::MAX, |memory| memory.limit);
            // A page must fit, and the semaphore counts in 32 bits.
            let all = (memory / SHARE).clamp(*max_body, 1 << 40);
            Pool { room: Arc::new(Semaphore::new(kib(all) as usize)), all }
        })
    }

    /// Waits for room for the next page of a list. First come, first served, so that no page waits for one behind it.
    pub(crate) async fn reserve(&self, list: &'static str) -> Reserved {
        let (pool, max_body) = (self.pool(), self.shared.max_body);
        let first = (pool.all / FIRST).clamp(MIB.min(max_body), max_body);
        let bound = self.lists().need(list, first, max_body);
        let room = Arc::clone(&pool.room).acquire_many_owned(kib(bound));
        let permit = timeout(PATIENCE, room).await.ok().and_then(Result::ok);
        Reserved { permit, bound }
    }

    /// An answer came: only its own bytes stay reserved.
    pub(crate) fn came(&self, list: &'static str, reserved: Reserved, bytes: u64) -> Option<Held> {
        self.lists().last.insert(list, Some(bytes));
        let mut permit = reserved.permit?;
        let rest = kib(reserved.bound).saturating_sub(kib(bytes));
        drop(permit.split(rest as usize));
        Some(Held { _permit: Arc::new(permit) })
    }

    /// An answer was cut off. Whether there was less room for it than there can be.
    pub(crate) fn cut_off(&self, list: &'static str, reserved: &Reserved) -> bool {
        let mut lists = self.lists();
        lists.last.insert(list, None);
        lists.wary = true;
        reserved.bound < self.shared.max_body
    }

    fn lists(&self) -> std::sync::MutexGuard<'_, Lists> {
        self.shared.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At least one, for a semaphore.
fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(KIB)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use tower_adaptive_page::Memory;

    use super::*;

    fn holdings(limit: u64) -> Holdings {
        let probe = move || Some(Memory { used: 0, limit });
        let pages = PageController::builder().probe(probe).build().unwrap();
        Holdings::new(pages, 32 * MIB)
    }

    #[tokio::test(start_paused = true)]
    async fn light_pages_of_many_lists_are_under_way_at_once_and_heavy_ones_take_turns() {
        let holdings = holdings(256 * MIB);
        let mut light = Vec::new();
        for list in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            let reserved = holdings.reserve(list).await;
            assert_eq!(reserved.bound, 2 * MIB);
            light.push(holdings.came(list, reserved, MIB / 2));
        }
        // Now their weight is known, and twice that is reserved.
        let next = holdings.reserve("a").await;
        assert_eq!(next.bound, MIB);
        assert!(holdings.cut_off("a", &next), "there can be more room for it");
        drop((next, light));

        let whole = holdings.reserve("a").await;
        assert_eq!(whole.bound, 32 * MIB);
        assert!(!holdings.cut_off("a", &whole));
        let other = holdings.clone();
        let waiting = tokio::spawn(async move { other.reserve("never seen").await.bound });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        let held = holdings.came("a", whole, 20 * MIB);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "a list that was never seen may be heavy too, now");
        drop(held);
        assert_eq!(waiting.await.unwrap(), 32 * MIB);
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_all_pages_is_slowed_down_and_not_stopped() {
        let holdings = holdings(256 * MIB);
        let first = holdings.reserve("a").await;
        holdings.cut_off("a", &first);
        drop(first);
        let mut kept = Vec::new();
        for _ in 0..3 {
            let reserved = holdings.reserve("a").await;
            kept.push(holdings.came("a", reserved, 30 * MIB));
        }
        assert_eq!(kept.iter().flatten().count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn with_much_memory_nothing_is_cut_short() {
        let holdings = holdings(64 << 30);
        let mut under_way = Vec::new();
        for _ in 0..60 {
            let reserved = holdings.reserve("a").await;
            assert_eq!(reserved.bound, 32 * MIB);
            under_way.push(reserved);
        }
    }
}
