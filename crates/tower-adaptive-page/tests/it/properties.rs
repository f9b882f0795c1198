//! What holds for all inputs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::StreamExt;
use http::{Request, Response, Uri};
use proptest::prelude::*;
use tokio::{
    runtime::{Builder, Runtime},
    time::advance,
};
use tower::{Layer, service_fn};
use tower_adaptive_page::{
    AdaptivePageLayer, BoxError, Memory, Next, PageController, Parsed, Position, Style, Walk, walk,
};
use tower_service::Service;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

const INTERVAL: Duration = Duration::from_millis(250);

/// A controller and the per mille of memory in use that it sees.
fn controller(min: u32, max: u32) -> (PageController, Arc<AtomicU64>) {
    let used = Arc::new(AtomicU64::new(0));
    let meter = Arc::clone(&used);
    let probe = move || Some(Memory { used: meter.load(Ordering::SeqCst), limit: 1000 });
    let builder = PageController::builder().bounds(min, max).sample_every(INTERVAL);
    (builder.probe(probe).build().unwrap(), used)
}

async fn feed(used: &AtomicU64, controller: &PageController, per_mille: u64) -> u32 {
    used.store(per_mille, Ordering::SeqCst);
    advance(INTERVAL).await;
    controller.size()
}

proptest! {
    #[test]
    fn the_size_stays_within_bounds_and_moves_the_right_way(
        min in 1_u32..50,
        span in 0_u32..500,
        pressures in prop::collection::vec(0_u64..1200, 1..200),
    ) {
        let max = (min + span).min(500);
        runtime().block_on(async {
            let (controller, used) = controller(min, max);
            let mut before = max;
            for pressure in pressures {
                let size = feed(&used, &controller, pressure).await;
                prop_assert!((min..=max).contains(&size));
                match pressure {
                    801.. => prop_assert!(
                        size == min || (size < before && 2 * size >= before),
                        "{before} to {size} at {pressure}"
                    ),
                    700.. => prop_assert_eq!(size, before),
                    _ => prop_assert!(
                        size >= before && size <= before + before.div_ceil(10),
                        "{before} to {size} at {pressure}"
                    ),
                }
                before = size;
            }
            Ok(())
        })?;
    }

    #[test]
    fn more_pressure_never_gives_a_larger_page(
        history in prop::collection::vec(0_u64..1200, 0..30),
        low in 0_u64..1200,
        more in 0_u64..600,
    ) {
        runtime().block_on(async {
            let (relaxed, used_relaxed) = controller(10, 500);
            let (pressed, used_pressed) = controller(10, 500);
            for pressure in history {
                feed(&used_relaxed, &relaxed, pressure).await;
                used_pressed.store(pressure, Ordering::SeqCst);
                let _ = pressed.size();
            }
            let relaxed = feed(&used_relaxed, &relaxed, low).await;
            used_pressed.store(low + more, Ordering::SeqCst);
            prop_assert!(pressed.size() <= relaxed);
            Ok(())
        })?;
    }

    #[test]
    fn steady_pressure_never_flaps(pressure in 0_u64..1200, steps in 20_usize..100) {
        runtime().block_on(async {
            let (controller, used) = controller(10, 500);
            for _ in 0..5 {
                feed(&used, &controller, 900).await;
            }
            let mut before = controller.size();
            let mut turns = 0;
            let mut direction = 0;
            for _ in 0..steps {
                let size = feed(&used, &controller, pressure).await;
                let now = i32::from(size > before) - i32::from(size < before);
                turns += i32::from(now != 0 && direction != 0 && now != direction);
                direction = if now == 0 { direction } else { now };
                before = size;
            }
            prop_assert_eq!(turns, 0);
            Ok(())
        })?;
    }

    #[test]
    fn all_of_an_address_but_the_page_size_stays_as_it_is(
        path in "(/[a-zA-Z0-9._~%20-]{0,5}){1,3}",
        before in prop::collection::vec(pair(), 0..4),
        limit in prop::option::of(0_u32..2000),
        after in prop::collection::vec(pair(), 0..4),
    ) {
        let path = path.replace('%', "%25");
        let join = |limit: Option<u32>| {
            let limit = limit.map(|limit| format!("limit={limit}"));
            let pairs: Vec<String> =
                before.iter().cloned().chain(limit).chain(after.iter().cloned()).collect();
            if pairs.is_empty() { path.clone() } else { format!("{path}?{}", pairs.join("&")) }
        };
        let asked = join(limit);
        let expected = match limit {
            Some(limit) => join(Some(limit.min(500))),
            None if before.is_empty() && after.is_empty() => format!("{path}?limit=500"),
            None => format!("{asked}&limit=500"),
        };
        let arrived = runtime().block_on(async {
            let (controller, _) = controller(10, 500);
            let layer = AdaptivePageLayer::new(controller).only(|_: &Request<()>| true);
            let echo = service_fn(|request: Request<()>| async move {
                Ok::<_, BoxError>(Response::new(request.uri().to_string()))
            });
            let request = Request::get(&asked).body(()).unwrap();
            layer.layer(echo).call(request).await.unwrap().into_body()
        });
        prop_assert_eq!(arrived, expected, "asked {}", asked);
    }

    #[test]
    fn every_row_comes_once_whatever_the_pages_and_restarts(
        rows in 0_u64..120,
        sizes in prop::collection::vec(1_u64..30, 1..10),
        runs in prop::collection::vec(0_usize..6, 0..8),
        prefetch in 0_usize..5,
        by_cursor in any::<bool>(),
        driven in any::<bool>(),
        repeats in 0_u64..3,
    ) {
        let came = runtime().block_on(async {
            let copy = copy(rows, sizes, runs, prefetch, by_cursor, driven, repeats);
            tokio::time::timeout(Duration::from_secs(3600), copy).await
        });
        let came = came.expect("the copy waits for ever");
        prop_assert_eq!(came, (0..rows).collect::<Vec<_>>());
    }

    #[test]
    fn positions_are_text_and_back(
        text in ".*",
        offset in any::<u64>(),
        keys in prop::collection::vec(any::<u64>(), 0..33),
    ) {
        for position in [
            Position::Offset(offset),
            Position::Page(offset),
            Position::Cursor(text.clone()),
            Position::Url(text),
            Position::Anchored { offset, keys },
        ] {
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }
    }
}

/// A pair that is not about the page size, in characters that a query may have.
fn pair() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9%+.,:;@/?*'()!$_~-]{0,6}(=[a-zA-Z0-9%+=.,:;@/?*'()!$_~-]{0,6})?"
        .prop_filter("it is about the page size", |pair| !pair.starts_with("limit"))
        .prop_filter("an empty query is no query", |pair| !pair.is_empty())
}

/// A server of numbers that gives pages of its own sizes; now and then the
/// first answer for a page names that page as the next.
async fn copy(
    rows: u64,
    sizes: Vec<u64>,
    runs: Vec<usize>,
    prefetch: usize,
    by_cursor: bool,
    driven: bool,
    repeats: u64,
) -> Vec<u64> {
    let mut answers = 0_u64;
    let server = Arc::new(std::sync::Mutex::new(move |uri: &Uri| {
        let value = |key: &str| {
            let mut pairs = uri.query().unwrap().split('&');
            pairs.find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok())
        };
        let at = value(if by_cursor { "cursor" } else { "start" });
        let start = at.unwrap_or(0);
        answers += 1;
        let size = sizes[answers as usize % sizes.len()].min(value("limit").unwrap());
        let end = (start + size).min(rows);
        // Never two faults in a row, else the walk has to give up.
        let next = if at.is_some() && repeats > 0 && answers % (repeats + 1) == 0 && end < rows {
            start
        } else {
            end
        };
        let next = (next < rows).then_some(next);
        let next = if by_cursor {
            Next::cursor(next.map(|next| next.to_string()))
        } else {
            Next::offset(next)
        };
        ((start..end).collect::<Vec<u64>>(), next)
    }));
    let service = service_fn(move |request: Request<()>| {
        let answer = (server.lock().unwrap())(request.uri());
        async move {
            tokio::time::sleep(Duration::from_millis(3)).await;
            Ok::<_, BoxError>(answer)
        }
    });
    let style =
        if by_cursor { Style::cursor("cursor", "limit") } else { Style::offset("start", "limit") };

    let mut came = Vec::new();
    let mut position = Some(Position::Start);
    let mut runs = runs.into_iter();
    while let Some(from) = position.take() {
        let how = Walk::get(
            Uri::from_static("/rows"),
            style.clone(),
            |(rows, next): (Vec<u64>, Next)| Ok(Parsed::new(rows, next)),
        );
        let pages = walk(service.clone(), how.from(from.clone()).prefetch(prefetch).page_size(25));
        position = Some(from);
        // After so many pages everything that was not taken is lost.
        let takes = runs.next().unwrap_or(usize::MAX);
        let mut taken = 0;
        let mut commit = |page: tower_adaptive_page::Page<Vec<u64>>| {
            came.extend(page.items);
            page.next
        };
        if driven {
            let (driver, mut pages) = pages.into_driver();
            let driver = tokio::spawn(driver);
            while taken < takes && position.is_some() {
                let page = pages.next().await.unwrap().unwrap();
                tokio::time::sleep(Duration::from_millis(taken as u64 % 7)).await;
                position = commit(page);
                taken += 1;
            }
            drop(pages);
            driver.await.unwrap();
        } else {
            let mut pages = std::pin::pin!(pages);
            while taken < takes && position.is_some() {
                position = commit(pages.next().await.unwrap().unwrap());
                taken += 1;
            }
        }
    }
    came
}
