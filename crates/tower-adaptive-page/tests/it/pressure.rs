//! What is done when memory is short, and what is told of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::advance;
use tower_adaptive_page::{Action, Advice, Memory, PageController, PageSample};

const LIMIT: u64 = 1_000_000;
const SECOND: Duration = Duration::from_secs(1);

/// A process that holds `used` bytes of which the allocator could give `spare` back.
#[derive(Clone, Default)]
struct Process {
    used: Arc<AtomicU64>,
    spare: Arc<AtomicU64>,
    purges: Arc<AtomicUsize>,
}

impl Process {
    fn controller(&self, says: bool) -> PageController {
        let (it, purged) = (self.clone(), self.clone());
        PageController::builder()
            .probe(move || Some(Memory { used: it.used.load(SeqCst), limit: LIMIT }))
            .purge(move || {
                purged.purges.fetch_add(1, SeqCst);
                let spare = purged.spare.swap(0, SeqCst);
                purged.used.fetch_sub(spare, SeqCst);
                says.then_some(spare)
            })
            .build()
            .unwrap()
    }

    fn holds(&self, used: u64, spare: u64) {
        self.used.store(used, SeqCst);
        self.spare.store(spare, SeqCst);
    }

    fn purges(&self) -> usize {
        self.purges.load(SeqCst)
    }
}

#[tokio::test(start_paused = true)]
async fn the_allocator_is_purged_above_the_first_threshold_and_every_ten_seconds_at_most() {
    let process = Process::default();
    let controller = process.controller(true);
    process.holds(800_000, 0);
    let _ = controller.size();
    assert_eq!(process.purges(), 0, "at the threshold nothing is purged");
    process.holds(810_000, 50_000);
    // A hundred seconds, looked at four times a second.
    for _ in 0..400 {
        advance(SECOND / 4).await;
        process.used.store(810_000, SeqCst);
        let _ = controller.size();
    }
    assert_eq!(process.purges(), 10);
    let status = controller.status();
    assert_eq!((status.purges, status.purged_bytes), (10, 50_000));
}

#[tokio::test(start_paused = true)]
async fn what_a_purging_returned_is_seen_by_the_probe_if_it_does_not_say() {
    let process = Process::default();
    let controller = process.controller(false);
    process.holds(900_000, 120_000);
    let _ = controller.size();
    assert_eq!(controller.status().purged_bytes, 120_000);
    assert_eq!(controller.status().memory.unwrap().used, 780_000);
}

#[tokio::test(start_paused = true)]
async fn a_purging_that_helps_lets_the_call_go_on_at_once() {
    let process = Process::default();
    let controller = process.controller(true);
    process.holds(960_000, 200_000);
    assert_eq!(controller.room().now_or_never(), Some(Ok(250)));
    process.holds(960_000, 0);
    advance(SECOND).await;
    assert_eq!(controller.room().now_or_never(), None);
    assert_eq!(controller.action(), Action::Pause);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_comes_is_a_reason_to_look_at_memory() {
    let process = Process::default();
    let controller = process.controller(true);
    let _ = controller.size();
    advance(SECOND).await;
    process.holds(900_000, 0);
    let took = Duration::ZERO;
    controller.observe(PageSample { asked: 500, rows: None, bytes: None, took });
    assert_eq!((controller.status().action, process.purges()), (Action::Alert, 1));
}

#[tokio::test(start_paused = true)]
async fn an_operation_tells_its_own_peak_and_pages() {
    let process = Process::default();
    let controller = process.controller(true);
    let step = async |used| {
        process.holds(used, 0);
        advance(SECOND).await;
        let (took, rows) = (Duration::ZERO, Some(10));
        controller.observe(PageSample { asked: 10, rows, bytes: Some(100), took });
    };
    step(700_000).await;
    let first = controller.monitor("first");
    step(500_000).await;
    let second = controller.monitor("second");
    step(400_000).await;
    let second = second.finish();
    step(600_000).await;
    let first = first.finish();
    assert_eq!((first.peak, second.peak, controller.status().peak), (700_000, 500_000, 700_000));
    assert_eq!((first.pages, second.pages), (3, 1));
    assert_eq!((first.rows, first.bytes, first.took), (30, 300, 3 * SECOND));
    assert_eq!(second.start.unwrap().used, 500_000);
    assert_eq!(second.end.unwrap().used, 400_000);
    drop(controller.monitor("third"));
}

#[tokio::test(start_paused = true)]
async fn advice_says_what_would_help() {
    let used = Arc::new(AtomicU64::new(0));
    let meter = Arc::clone(&used);
    let probe = move || Some(Memory { used: meter.load(SeqCst), limit: 4 << 30 });
    let builder = PageController::builder().probe(probe).max_page_time(SECOND);
    let controller = builder.build().unwrap();
    let _ = controller.size();
    assert_eq!(controller.status().advice(), []);

    used.store(4 << 30, SeqCst);
    advance(SECOND).await;
    let took = 2 * SECOND;
    controller.observe(PageSample { asked: 500, rows: None, bytes: None, took });
    controller.too_large(250);
    let advice = controller.status().advice();
    assert_eq!(
        advice,
        [
            Advice::SmallPages { size: 125, max: 500, surcharge: 300 },
            Advice::Pauses { pauses: 1 },
            Advice::NothingToPurge,
            Advice::CutOff { answers: 1, bytes_per_row: 0 },
            Advice::SlowPages { pages: 1 },
        ]
    );
    assert!(advice[0].to_string().contains("a row costs 300 % more"), "{}", advice[0]);

    let process = Process::default();
    let controller = process.controller(true);
    process.holds(900_000, 0);
    for _ in 0..3 {
        let _ = controller.size();
        advance(10 * SECOND).await;
    }
    let advice = controller.status().advice();
    assert!(advice.contains(&Advice::SmallLimit { limit: LIMIT }));
    assert!(advice.contains(&Advice::PurgedInVain { purges: 3, bytes: 0 }));
    assert!(!advice.contains(&Advice::NothingToPurge));
}
