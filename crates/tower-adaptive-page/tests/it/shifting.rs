//! Rows that come and go while a list is walked, against a model of the list.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use futures_util::StreamExt;
use http::{Request, Uri};
use proptest::prelude::*;
use tokio::runtime::Builder;
use tower::service_fn;
use tower_adaptive_page::{BoxError, Next, Parsed, Position, Style, Walk, WalkError, walk};

/// How the server names its pages.
#[derive(Clone, Copy, Debug)]
enum By {
    Offset,
    /// The cursor is the last row of the page before.
    Cursor,
    /// The same, in an address.
    Url,
}

impl By {
    fn style(self) -> Style {
        match self {
            Self::Offset => Style::offset("start", "limit"),
            Self::Cursor => Style::cursor("after", "limit"),
            Self::Url => Style::url("limit"),
        }
    }
}

/// What happens to the list between two requests.
#[derive(Clone, Debug)]
enum Change {
    Nothing,
    Insert(u64),
    /// So many rows, beginning with the one at this place (per mille of the list).
    Delete(usize, usize),
    /// The request fails.
    Fault,
    /// The answer is too large to be held.
    TooLarge,
    /// The server gives fewer rows than asked.
    Short,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        2 => Just(Change::Nothing),
        3 => (0_u64..100_000).prop_map(Change::Insert),
        5 => (0_usize..1_000, 1_usize..30).prop_map(|(at, rows)| Change::Delete(at, rows)),
        1 => Just(Change::Fault),
        1 => Just(Change::TooLarge),
        1 => Just(Change::Short),
    ]
}

#[derive(Debug)]
struct Server {
    rows: BTreeSet<u64>,
    /// Rows that existed from the first request on, and still do.
    throughout: BTreeSet<u64>,
    ever: BTreeSet<u64>,
    changes: std::vec::IntoIter<Change>,
    requests: u64,
}

type Answer = (Vec<u64>, Next, u64);

impl Server {
    fn answer(&mut self, by: By, uri: &Uri) -> Result<Answer, BoxError> {
        let value = |key: &str| {
            let mut pairs = uri.query().unwrap().split('&');
            let value = pairs.find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
            value.map(|value| value.parse::<u64>().unwrap())
        };
        let mut limit = value("limit").unwrap() as usize;
        let asked = limit;
        self.requests += 1;
        assert!(self.requests < 5_000, "the walk does not end");
        match self.changes.next().unwrap_or(Change::Nothing) {
            Change::Nothing => {}
            Change::Insert(row) => {
                // A row that was deleted does not come back.
                let new = (row..).find(|row| !self.ever.contains(row)).unwrap();
                self.ever.insert(new);
                self.rows.insert(new);
            }
            Change::Delete(at, rows) => {
                let at = self.rows.len() * at / 1_000;
                for row in self.rows.iter().copied().skip(at).take(rows).collect::<Vec<_>>() {
                    self.rows.remove(&row);
                    self.throughout.remove(&row);
                }
            }
            Change::Fault => return Err("fault".into()),
            Change::TooLarge if limit > 4 => return Err("too large".into()),
            Change::TooLarge => {}
            Change::Short => limit = limit.div_ceil(2).max(limit.min(4)),
        }
        let start = value("start").unwrap_or(0) as usize;
        let from = value("after").map_or(0, |after| after + 1);
        let rows = self.rows.range(from..).copied();
        let page: Vec<u64> = rows.clone().skip(start).take(limit).collect();
        let end = start + page.len();
        let next = match (page.last(), rows.count() > end) {
            (Some(_), true) if matches!(by, By::Offset) => Next::Offset(end as u64),
            (Some(last), true) if matches!(by, By::Cursor) => Next::Cursor(last.to_string()),
            (Some(last), true) => Next::Url(format!("/rows?after={last}&limit={asked}")),
            _ => Next::End,
        };
        Ok((page, next, self.rows.len() as u64))
    }
}

/// Walks to the end, again from where it was after each fault and after each of `stops` pages.
async fn copy(
    server: Arc<Mutex<Server>>,
    by: By,
    (overlap, page_size, at_once, prefetch): (u32, u32, usize, usize),
    stops: Vec<usize>,
) -> Result<Vec<u64>, WalkError> {
    let service = service_fn(move |request: Request<()>| {
        let server = Arc::clone(&server);
        async move {
            tokio::task::yield_now().await;
            let answer = server.lock().unwrap().answer(by, request.uri());
            tokio::task::yield_now().await;
            answer
        }
    });
    let mut came = Vec::new();
    let mut position = Some(Position::Start);
    let mut stops = stops.into_iter();
    while let Some(from) = position.take() {
        // As it is kept by somebody who resumes.
        let text = serde_json::to_string(&from).unwrap();
        let from: Position = serde_json::from_str(&text).unwrap();
        assert_eq!(from.to_string().parse::<Position>().unwrap(), from);
        position = Some(from.clone());
        let how = Walk::get(
            Uri::from_static("https://h/rows"),
            by.style(),
            |(rows, next, total): Answer| {
                let (count, keys) = (rows.len(), rows.clone());
                Ok(Parsed::new(rows, next).rows(count).keys(keys).total(Some(total)))
            },
        )
        .from(from)
        .origin(&Uri::from_static("https://h/"))
        .overlap(overlap)
        .page_size(page_size)
        .at_once(at_once)
        .prefetch(prefetch)
        .too_large(|error| error.to_string() == "too large");
        let mut pages = std::pin::pin!(walk(service.clone(), how));
        let takes = stops.next().unwrap_or(usize::MAX);
        for _ in 0..takes {
            match pages.next().await {
                Some(Ok(page)) => {
                    position = page.next.clone();
                    came.extend(page.fresh());
                }
                Some(Err(WalkError::Service { position: failed, .. })) => {
                    position = Some(failed);
                    break;
                }
                Some(Err(error)) => return Err(error),
                None => break,
            }
        }
    }
    Ok(came)
}

fn run_by(
    by: By,
    rows: BTreeSet<u64>,
    changes: Vec<Change>,
    how: (u32, u32, usize, usize),
    stops: Vec<usize>,
) -> (Result<Vec<u64>, WalkError>, Server) {
    let (throughout, ever) = (rows.clone(), rows.clone());
    let server = Server { rows, throughout, ever, changes: changes.into_iter(), requests: 0 };
    let server = Arc::new(Mutex::new(server));
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let walk = copy(Arc::clone(&server), by, how, stops);
    let came = runtime.block_on(walk);
    (came, Arc::try_unwrap(server).unwrap().into_inner().unwrap())
}

fn run(
    rows: BTreeSet<u64>,
    changes: Vec<Change>,
    how: (u32, u32, usize, usize),
    stops: Vec<usize>,
) -> (Result<Vec<u64>, WalkError>, Server) {
    run_by(By::Offset, rows, changes, how, stops)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn what_existed_throughout_is_seen_exactly_once_and_nothing_is_seen_twice(
        rows in prop::collection::btree_set(0_u64..100_000, 0..300),
        changes in prop::collection::vec(change(), 0..100),
        overlap in 1_u32..4,
        page_size in 4_u32..40,
        at_once in 1_usize..5,
        prefetch in 0_usize..3,
        stops in prop::collection::vec(0_usize..6, 0..6),
        by in prop_oneof![2 => Just(By::Offset), 1 => Just(By::Cursor), 1 => Just(By::Url)],
    ) {
        let how = (overlap, page_size, at_once, prefetch);
        let (came, server) = run_by(by, rows, changes, how, stops);
        match came {
            Ok(came) => {
                let once: BTreeSet<u64> = came.iter().copied().collect();
                prop_assert_eq!(once.len(), came.len(), "twice");
                let missed: Vec<_> = server.throughout.difference(&once).collect();
                prop_assert!(missed.is_empty(), "missed {missed:?}");
            }
            // All that a position remembers was deleted: it says so, and misses nothing in silence.
            Err(WalkError::RowsShifted { .. }) if matches!(by, By::Offset) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
    }
}

#[test]
fn a_walk_that_does_not_stop_never_gives_up_in_a_list_that_it_can_remember() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(200));
    let rows = prop::collection::btree_set(0_u64..100_000, 0..300);
    let change = change().prop_filter("faults stop", |it| !matches!(it, Change::Fault));
    let changes = prop::collection::vec(change, 0..100);
    runner
        .run(&(rows, changes), |(rows, changes)| {
            let (came, server) = run(rows, changes, (1, 10, 1, 0), vec![]);
            let once: BTreeSet<u64> = came.unwrap().into_iter().collect();
            prop_assert!(server.throughout.is_subset(&once));
            Ok(())
        })
        .unwrap();
}

/// How many of 1,000 rows a walk misses when one row that was seen is deleted before each request.
fn missed(overlap: u32) -> usize {
    let changes = std::iter::repeat_n(Change::Delete(0, 1), 1_000).collect();
    let (came, server) = run((0..1_000).collect(), changes, (overlap, 50, 1, 0), vec![]);
    let came: BTreeSet<u64> = came.unwrap().into_iter().collect();
    server.throughout.difference(&came).count()
}

#[test]
fn without_overlap_rows_are_missed_and_with_one_row_of_it_none() {
    assert!(missed(0) > 10, "{}", missed(0));
    assert_eq!(missed(1), 0);
}

#[test]
fn an_overlap_of_one_row_costs_one_row_a_page() {
    let (came, server) = run((0..4_990).collect(), vec![], (1, 500, 1, 0), vec![]);
    assert_eq!(came.unwrap().len(), 4_990);
    assert_eq!(server.requests, 10);
}

#[test]
fn when_nothing_is_left_of_what_a_position_remembers_the_walk_says_so() {
    // 40 rows are taken, then all of them go, and the walk is resumed.
    let changes = vec![Change::Nothing, Change::Delete(0, 40)];
    let (came, _) = run((0..100).collect(), changes, (1, 40, 1, 0), vec![1]);
    assert!(matches!(came, Err(WalkError::RowsShifted { .. })), "{came:?}");
    // Of 20 rows everything is remembered, so it is known that all that is left is new.
    let changes = vec![Change::Nothing, Change::Delete(0, 20)];
    let (came, _) = run((0..100).collect(), changes, (1, 20, 1, 0), vec![1]);
    assert_eq!(came.unwrap(), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_parser_that_gives_no_keys_cannot_overlap() {
    let service = service_fn(|_: Request<()>| async { Ok::<_, BoxError>(vec![1, 2, 3]) });
    let style = Style::offset("start", "limit");
    let how = Walk::get(Uri::from_static("/rows"), style, |rows: Vec<u64>| {
        Ok(Parsed::new(rows, Next::Offset(3)).rows(3))
    });
    let runtime = Builder::new_current_thread().build().unwrap();
    let mut pages = std::pin::pin!(walk(service, how.overlap(1)));
    let error = runtime.block_on(pages.next()).unwrap().unwrap_err();
    assert!(matches!(error, WalkError::Parse { .. }), "{error:?}");
}
