//! What somebody who walks a list sees.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, Stream, StreamExt, TryStreamExt};
use http::{Request, Response, Uri};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready, task};
use tower::{service_fn, util::BoxCloneSyncService};
use tower_adaptive_page::{
    BoxError, Items, Memory, Next, Page, PageController, PageDriver, PageReceiver, Pages, Parsed,
    Position, Style, Walk, WalkError, walk,
};
use tower_service::Service;
use tower_test::mock;

/// An answer of the scripted servers: rows, and what comes next.
type Answer = (Vec<u32>, Next);
type Asked = Arc<Mutex<Vec<String>>>;

fn parse(answer: Answer) -> Result<Parsed<Vec<u32>>, BoxError> {
    let (rows, next) = answer;
    let count = rows.len();
    Ok(Parsed::new(rows, next).rows(count))
}

/// The request for a page: its position and size as text.
fn ask(position: &Position, rows: u32) -> Request<String> {
    let mut request = Request::new(format!("{position} {rows}"));
    *request.uri_mut() = match position {
        Position::Url(url) => url.parse().unwrap(),
        _ => Uri::from_static("https://api.test/rows"),
    };
    request
}

fn cursor(text: &str) -> Next {
    Next::Cursor(text.to_owned())
}

fn at_cursor(text: &str) -> Position {
    Position::Cursor(text.to_owned())
}

/// Answers from a script, by what is asked; notes what was asked.
fn scripted(
    answer: impl Fn(usize, &str) -> Result<Answer, BoxError> + Clone + Send + Sync + 'static,
) -> (impl Service<Request<String>, Response = Answer, Error = BoxError, Future: Send> + Clone, Asked)
{
    let asked = Asked::default();
    let notes = Arc::clone(&asked);
    let service = service_fn(move |request: Request<String>| {
        let body = request.into_body();
        let position = body.rsplit_once(' ').unwrap().0.to_owned();
        let mut notes = notes.lock().unwrap();
        let answer = answer(notes.len(), &position);
        notes.push(position);
        async move { answer }
    });
    (service, asked)
}

fn asked(asked: &Asked) -> Vec<String> {
    asked.lock().unwrap().clone()
}

/// A test that waits for ever says nothing.
async fn within<T>(future: impl Future<Output = T>) -> T {
    let within = tokio::time::timeout(Duration::from_secs(20), future);
    within.await.expect("it waits for ever")
}

async fn ends_with<T: std::fmt::Debug>(
    pages: impl Stream<Item = Result<Page<T>, WalkError>>,
) -> (Vec<Page<T>>, Option<WalkError>) {
    let mut pages = std::pin::pin!(pages);
    let mut came = Vec::new();
    while let Some(page) = within(pages.next()).await {
        assert!(came.len() < 100, "the walk does not end");
        match page {
            Ok(page) => came.push(page),
            Err(error) => {
                assert!(pages.next().await.is_none(), "an error is the end");
                return (came, Some(error));
            }
        }
    }
    (came, None)
}

#[tokio::test(start_paused = true)]
async fn a_cursor_walk_hands_out_every_page_with_where_it_was_and_where_to_go_on() {
    let (service, notes) = scripted(|_, at| {
        Ok(match at {
            "start" => (vec![1, 2], cursor("a")),
            "cursor:a" => (vec![], cursor("b")),
            _ => (vec![3], Next::End),
        })
    });
    let (pages, error) = ends_with(walk(service, Walk::new(ask, parse))).await;
    assert!(error.is_none());
    let seen: Vec<_> = pages.iter().map(|page| (&page.position, page.next.as_ref())).collect();
    let (a, b) = (at_cursor("a"), at_cursor("b"));
    assert_eq!(seen, [(&Position::Start, Some(&a)), (&a, Some(&b)), (&b, None)]);
    assert_eq!(pages[0].items, [1, 2]);
    assert_eq!((pages[0].rows, pages[0].asked), (Some(2), 100));
    assert_eq!(asked(&notes), ["start", "cursor:a", "cursor:b"]);
}

#[tokio::test(start_paused = true)]
async fn a_walk_resumes_from_a_position_and_asks_for_nothing_before_it() {
    let (service, notes) = scripted(|_, at| {
        Ok(match at {
            "offset:4" => (vec![5], Next::Offset(5)),
            _ => (vec![6], Next::End),
        })
    });
    let how = Walk::new(ask, parse).from(Position::Offset(4));
    let rows: Vec<u32> = within(walk(service, how).items().try_collect()).await.unwrap();
    assert_eq!(rows, [5, 6]);
    assert_eq!(asked(&notes), ["offset:4", "offset:5"]);
}

#[tokio::test(start_paused = true)]
async fn get_walks_name_the_page_in_the_query() {
    let service = service_fn(|request: Request<()>| async move {
        let (query, next) = match request.uri().query().unwrap() {
            query @ "limit=7" => (query.to_owned(), cursor("=x")),
            query => (query.to_owned(), Next::End),
        };
        Ok::<_, BoxError>(Response::new((query, next)))
    });
    let how = Walk::get(
        Uri::from_static("/deals"),
        Style::cursor("cursor", "limit"),
        |answer: Response<(String, Next)>| {
            let (query, next) = answer.into_body();
            Ok(Parsed::new([query], next))
        },
    );
    let queries: Vec<_> =
        within(walk(service, how.page_size(7)).items().try_collect()).await.unwrap();
    assert_eq!(queries, ["limit=7", "cursor=%3Dx&limit=7"]);
}

#[tokio::test(start_paused = true)]
async fn a_get_walk_that_meets_another_style_ends_with_an_error() {
    let service =
        service_fn(|_: Request<()>| async { Ok::<_, BoxError>((vec![1], Next::Offset(1))) });
    let how = Walk::get(Uri::from_static("/deals"), Style::cursor("cursor", "limit"), parse);
    let (pages, error) = ends_with(walk(service, how)).await;
    assert_eq!(pages.len(), 1);
    assert!(matches!(error, Some(WalkError::Request { position: Position::Offset(1), .. })));
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_ends_the_walk_and_it_goes_on_from_there() {
    let (service, notes) = scripted(|n, at| match (n, at) {
        (1, _) => Err("reset".into()),
        (_, "start") => Ok((vec![1], cursor("a"))),
        _ => Ok((vec![2], Next::End)),
    });
    let (pages, error) = ends_with(walk(service.clone(), Walk::new(ask, parse))).await;
    let error = error.unwrap();
    assert_eq!((pages.len(), error.position()), (1, Some(&at_cursor("a"))));
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "reset");
    assert!(!error.to_string().contains("reset"), "the cause is printed once");

    let how = Walk::new(ask, parse).from(error.position().unwrap().clone());
    let rows: Vec<u32> = within(walk(service, how).items().try_collect()).await.unwrap();
    assert_eq!(rows, [2]);
    assert_eq!(asked(&notes), ["start", "cursor:a", "cursor:a"]);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_be_readied_ends_the_walk() {
    let (service, mut handle) = mock::pair::<Request<String>, Answer>();
    handle.send_error("gone");
    let (pages, error) = ends_with(walk(service, Walk::new(ask, parse))).await;
    assert!(pages.is_empty());
    assert!(matches!(error, Some(WalkError::Service { position: Position::Start, .. })));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_ends_the_walk_at_its_position() {
    let (service, _) = scripted(|_, _| Ok((vec![1], cursor("a"))));
    let mut answers = 0;
    let how = Walk::new(ask, move |answer: Answer| {
        answers += 1;
        if answers == 2 { Err("no JSON".into()) } else { parse(answer) }
    });
    let (pages, error) = ends_with(walk(service, how)).await;
    assert_eq!(pages.len(), 1);
    let Some(WalkError::Parse { position, source }) = error else { panic!("{error:?}") };
    assert_eq!((position, source.to_string()), (at_cursor("a"), "no JSON".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_cursor_is_asked_again_once_and_its_page_comes_once() {
    let (service, notes) = scripted(|n, at| {
        Ok(match (n, at) {
            (_, "start") => (vec![1], cursor("a")),
            // The first answer names its own cursor as the next.
            (1, _) => (vec![2], cursor("a")),
            (_, "cursor:a") => (vec![2], cursor("b")),
            _ => (vec![3], Next::End),
        })
    });
    let rows: Vec<u32> =
        within(walk(service, Walk::new(ask, parse)).items().try_collect()).await.unwrap();
    assert_eq!(rows, [1, 2, 3]);
    assert_eq!(asked(&notes), ["start", "cursor:a", "cursor:a", "cursor:b"]);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_is_repeated_twice_ends_the_walk() {
    let (service, notes) = scripted(|_, at| {
        Ok(match at {
            "start" => (vec![1], cursor("a")),
            "cursor:a" => (vec![2], cursor("b")),
            _ => (vec![3], cursor("a")),
        })
    });
    let (pages, error) = ends_with(walk(service, Walk::new(ask, parse))).await;
    assert_eq!(pages.len(), 2, "no page comes twice");
    let Some(WalkError::RepeatedCursor { position, cursor }) = error else { panic!("{error:?}") };
    assert_eq!((position, cursor), (at_cursor("b"), at_cursor("a")));
    assert_eq!(asked(&notes), ["start", "cursor:a", "cursor:b", "cursor:b"]);
}

#[tokio::test(start_paused = true)]
async fn each_page_has_its_own_second_chance() {
    let (service, _) = scripted(|n, at| {
        Ok(match (n % 2, at) {
            (0, at) => (vec![], cursor(at.trim_start_matches("cursor:"))),
            (_, "start") => (vec![1], cursor("a")),
            (_, "cursor:a") => (vec![2], cursor("b")),
            _ => (vec![3], Next::End),
        })
    });
    // "start" is no cursor that was asked, so the first answer would be believed:
    // begin at a cursor.
    let how = Walk::new(ask, parse).from(at_cursor("a"));
    let rows: Vec<u32> = within(walk(service, how).items().try_collect()).await.unwrap();
    assert_eq!(rows, [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn an_offset_that_does_not_go_forward_is_asked_again_once() {
    for stuck in [4, 3, 0] {
        let (service, notes) = scripted(move |n, _| {
            Ok(match n {
                0 => (vec![1], Next::Offset(4)),
                1 => (vec![2], Next::Offset(stuck)),
                2 => (vec![2], Next::Offset(5)),
                _ => (vec![3], Next::Offset(stuck)),
            })
        });
        let (pages, error) = ends_with(walk(service, Walk::new(ask, parse))).await;
        assert_eq!(pages.len(), 2);
        let Some(WalkError::OffsetStuck { position, next }) = error else { panic!("{error:?}") };
        assert_eq!((position, next), (Position::Offset(5), stuck));
        assert_eq!(asked(&notes), ["start", "offset:4", "offset:4", "offset:5", "offset:5"]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_offset_of_the_first_page_is_zero() {
    let (service, notes) = scripted(|_, _| Ok((vec![1], Next::Offset(0))));
    let (pages, error) = ends_with(walk(service, Walk::new(ask, parse))).await;
    assert!(pages.is_empty() && matches!(error, Some(WalkError::OffsetStuck { next: 0, .. })));
    assert_eq!(asked(&notes), ["start", "start"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_without_end_ends_at_the_bound_and_can_go_on() {
    let (service, notes) = scripted(|n, _| Ok((vec![n as u32], Next::Offset(n as u64 + 1))));
    let how = Walk::new(ask, parse).max_pages(3);
    let (pages, error) = ends_with(walk(service, how)).await;
    assert_eq!((pages.len(), asked(&notes).len()), (3, 3));
    let Some(WalkError::TooManyPages { position, max: 3 }) = error else { panic!("{error:?}") };
    assert_eq!(position, Position::Offset(3));
}

#[tokio::test(start_paused = true)]
async fn a_next_url_of_the_same_origin_is_followed() {
    let service = service_fn(|request: Request<String>| async move {
        let uri = request.uri().to_string();
        Ok::<_, BoxError>(match uri.as_str() {
            "https://api.test/rows" => (vec![1], Next::Url("/rows?page=2".to_owned())),
            "https://api.test/rows?page=2" => {
                (vec![2], Next::Url("https://API.test:443/rows?page=3".to_owned()))
            }
            "https://API.test:443/rows?page=3" => (vec![3], Next::url(Some(String::new()))),
            other => panic!("{other}"),
        })
    });
    let rows: Vec<u32> =
        within(walk(service, Walk::new(ask, parse)).items().try_collect()).await.unwrap();
    assert_eq!(rows, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_next_url_that_names_the_first_page_is_a_circle() {
    for back in ["https://api.test/rows", "/rows"] {
        let (service, notes) = scripted(move |_, at| {
            let next = if at == "start" { "/rows?page=2" } else { back };
            Ok((vec![1], Next::Url(next.to_owned())))
        });
        let (pages, error) = ends_with(walk(service, Walk::new(ask, parse))).await;
        assert_eq!(pages.len(), 1, "no row comes twice");
        assert!(matches!(error, Some(WalkError::RepeatedCursor { .. })), "{error:?}");
        let second = "url:https://api.test/rows?page=2".to_owned();
        assert_eq!(asked(&notes), ["start".to_owned(), second.clone(), second]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_next_url_of_another_origin_is_never_asked() {
    for (url, found) in [
        ("https://evil.test/rows?token=secret", "https://evil.test"),
        ("http://api.test/rows?token=secret", "http://api.test"),
        ("https://api.test:8443/rows?token=secret", "https://api.test:8443"),
        ("//evil.test/rows?token=secret", "no absolute address"),
        ("https://u:secret@api.test/rows", "https://api.test with a user name"),
    ] {
        let (service, notes) = scripted(move |_, _| Ok((vec![1], Next::Url(url.to_owned()))));
        let (pages, error) = ends_with(walk(service, Walk::new(ask, parse))).await;
        assert!(pages.is_empty());
        assert_eq!(asked(&notes).len(), 1);
        let error = error.unwrap();
        assert_eq!(error.position(), Some(&Position::Start));
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        let WalkError::ForeignOrigin { found: said, expected, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!((said.as_str(), expected.as_str()), (found, "https://api.test"), "{url}");
    }
}

#[tokio::test(start_paused = true)]
async fn to_resume_from_a_url_the_origin_must_be_said() {
    let (service, notes) = scripted(|_, _| Ok((vec![1], Next::End)));
    let with_user = Position::Url("https://u:secret@api.test/rows".to_owned());
    assert_eq!(format!("{with_user:?}"), "Url(url:api.test/rows)");
    let url = || Position::Url("https://api.test/rows?page=2&token=secret".to_owned());
    let how = || Walk::new(ask, parse).from(url());
    let (_, error) = ends_with(walk(service.clone(), how())).await;
    let error = error.unwrap();
    assert!(matches!(error, WalkError::ForeignOrigin { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    let other = Uri::from_static("https://other.test/");
    let (_, error) = ends_with(walk(service.clone(), how().origin(&other))).await;
    assert!(matches!(error, Some(WalkError::ForeignOrigin { .. })), "{error:?}");
    assert!(asked(&notes).is_empty());

    let same = Uri::from_static("https://api.test/");
    let rows: Vec<u32> =
        within(walk(service, how().origin(&same)).items().try_collect()).await.unwrap();
    assert_eq!(rows, [1]);
}

/// A service of the test's own pace: every request waits for an answer by hand.
fn by_hand() -> (mock::Mock<Request<String>, Answer>, mock::Handle<Request<String>, Answer>) {
    mock::pair()
}

#[track_caller]
fn next(
    handle: &mut mock::Handle<Request<String>, Answer>,
) -> (Request<String>, mock::SendResponse<Answer>) {
    handle.next_request().now_or_never().flatten().expect("nothing was asked for")
}

/// Takes the next request and answers it with the page after it.
#[track_caller]
fn answer(handle: &mut mock::Handle<Request<String>, Answer>, expected: &str) {
    let (request, answer) = next(handle);
    assert_eq!(request.body(), &format!("{expected} 100"));
    let n: u64 = expected.rsplit_once(':').map_or(0, |(_, n)| n.parse().unwrap());
    let next = if n < 9 { Next::Offset(n + 1) } else { Next::End };
    answer.send_response((vec![n as u32], next));
}

#[track_caller]
fn nothing_is_asked(handle: &mut mock::Handle<Request<String>, Answer>) {
    assert!(handle.next_request().now_or_never().is_none(), "something was asked for");
}

#[tokio::test(start_paused = true)]
async fn without_prefetching_a_page_is_asked_for_when_it_is_wanted() {
    let (service, mut handle) = by_hand();
    let mut pages = task::spawn(walk(service, Walk::new(ask, parse)));
    nothing_is_asked(&mut handle);
    assert_pending!(pages.poll_next());
    answer(&mut handle, "start");
    assert!(pages.is_woken());
    assert_ready!(pages.poll_next()).unwrap().unwrap();
    nothing_is_asked(&mut handle);
    assert_pending!(pages.poll_next());
    answer(&mut handle, "offset:1");
}

#[tokio::test(start_paused = true)]
async fn with_prefetching_the_next_page_is_asked_for_before_this_one_is_handed_out() {
    let (service, mut handle) = by_hand();
    let mut pages = task::spawn(walk(service, Walk::new(ask, parse).prefetch(1)));
    assert_pending!(pages.poll_next());
    answer(&mut handle, "start");
    assert_eq!(assert_ready!(pages.poll_next()).unwrap().unwrap().items, [0]);
    // The consumer holds page 0; page 1 is under way already, and no other.
    answer(&mut handle, "offset:1");
    nothing_is_asked(&mut handle);
    assert_eq!(assert_ready!(pages.poll_next()).unwrap().unwrap().items, [1]);
    answer(&mut handle, "offset:2");
    nothing_is_asked(&mut handle);
}

#[tokio::test(start_paused = true)]
async fn pages_that_come_at_once_are_kept_in_order_up_to_the_bound() {
    let (service, notes) = scripted(|n, _| match n {
        5 => Err("reset".into()),
        n => Ok((vec![n as u32], Next::Offset(n as u64 + 1))),
    });
    let mut pages = task::spawn(walk(service, Walk::new(ask, parse).prefetch(2)));
    for n in 0..5 {
        assert_eq!(assert_ready!(pages.poll_next()).unwrap().unwrap().items, [n]);
        assert_eq!(asked(&notes).len(), 6.min(n as usize + 3));
    }
    let error = assert_ready!(pages.poll_next()).unwrap().unwrap_err();
    assert_eq!(error.position(), Some(&Position::Offset(5)));
    assert!(assert_ready!(pages.poll_next()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_bound_without_end_loses_no_page() {
    let (service, _) =
        scripted(|_, at| Ok((vec![1], if at == "start" { cursor("a") } else { Next::End })));
    let how = || Walk::new(ask, parse).prefetch(usize::MAX);
    let (pages, error) = ends_with(walk(service.clone(), how())).await;
    assert_eq!((pages.len(), error.is_none()), (2, true));
    let (driver, receiver) = walk(service, how()).into_driver();
    let (pages, ()) = tokio::join!(ends_with(receiver), driver);
    assert_eq!(pages.0.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_driver_fetches_up_to_its_bound_while_the_consumer_works() {
    let (service, mut handle) = by_hand();
    let (driver, receiver) = walk(service, Walk::new(ask, parse).prefetch(3)).into_driver();
    let (mut driver, mut receiver) = (task::spawn(driver), task::spawn(receiver));
    assert_pending!(driver.poll());
    for expected in ["start", "offset:1", "offset:2"] {
        answer(&mut handle, expected);
        assert!(driver.is_woken());
        assert_pending!(driver.poll());
    }
    nothing_is_asked(&mut handle);
    assert_eq!(receiver.waiting(), 3);

    assert_eq!(assert_ready!(receiver.poll_next()).unwrap().unwrap().items, [0]);
    assert!(driver.is_woken(), "there is room again");
    assert_pending!(driver.poll());
    answer(&mut handle, "offset:3");
    assert_pending!(driver.poll());
    nothing_is_asked(&mut handle);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_may_not_prefetch_asks_when_the_receiver_waits() {
    let (service, mut handle) = by_hand();
    let (driver, receiver) = walk(service, Walk::new(ask, parse)).into_driver();
    let (mut driver, mut receiver) = (task::spawn(driver), task::spawn(receiver));
    assert_pending!(driver.poll());
    nothing_is_asked(&mut handle);
    assert_pending!(receiver.poll_next());
    assert!(driver.is_woken());
    assert_pending!(driver.poll());
    answer(&mut handle, "start");
    assert_pending!(driver.poll());
    assert!(receiver.is_woken());
    nothing_is_asked(&mut handle);
    assert_eq!(assert_ready!(receiver.poll_next()).unwrap().unwrap().items, [0]);
    assert_pending!(driver.poll());
    nothing_is_asked(&mut handle);
}

#[tokio::test(start_paused = true)]
async fn the_driver_ends_with_the_walk_and_the_receiver_hands_out_the_rest() {
    let (service, _) = scripted(|n, _| {
        Ok((vec![n as u32], if n < 4 { Next::Offset(n as u64 + 1) } else { Next::End }))
    });
    let (driver, receiver) = walk(service, Walk::new(ask, parse).prefetch(100)).into_driver();
    within(driver).await;
    assert_eq!(receiver.waiting(), 5);
    let rows: Vec<u32> = within(receiver.items().try_collect()).await.unwrap();
    assert_eq!(rows, [0, 1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn an_error_reaches_the_receiver_behind_the_pages_before_it() {
    let (service, _) = scripted(|n, _| match n {
        2 => Err("reset".into()),
        n => Ok((vec![n as u32], Next::Offset(n as u64 + 1))),
    });
    let (driver, receiver) = walk(service, Walk::new(ask, parse).prefetch(9)).into_driver();
    within(driver).await;
    let (pages, error) = ends_with(receiver).await;
    assert_eq!((pages.len(), error.unwrap().position()), (2, Some(&Position::Offset(2))));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_receiver_ends_the_driver() {
    let (service, mut handle) = by_hand();
    let (driver, receiver) = walk(service, Walk::new(ask, parse).prefetch(1)).into_driver();
    let mut driver = task::spawn(driver);
    assert_pending!(driver.poll());
    answer(&mut handle, "start");
    assert_pending!(driver.poll());
    nothing_is_asked(&mut handle);
    drop(receiver);
    assert!(driver.is_woken());
    assert_ready!(driver.poll());
    nothing_is_asked(&mut handle);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_driver_is_told_behind_the_pages_that_came() {
    let (service, mut handle) = by_hand();
    let (driver, receiver) = walk(service, Walk::new(ask, parse).prefetch(5)).into_driver();
    let mut driver = task::spawn(driver);
    let mut receiver = task::spawn(receiver);
    assert_pending!(driver.poll());
    answer(&mut handle, "start");
    assert_pending!(driver.poll());
    assert_ready!(receiver.poll_next()).unwrap().unwrap();
    assert_pending!(receiver.poll_next());
    drop(driver);
    assert!(receiver.is_woken());
    let error = assert_ready!(receiver.poll_next()).unwrap().unwrap_err();
    assert!(matches!(error, WalkError::DriverDropped));
    assert_eq!(error.position(), None);
    assert!(assert_ready!(receiver.poll_next()).is_none());
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_panics_does_not_leave_the_receiver_waiting() {
    let (service, _) = scripted(|_, _| Ok((vec![1], Next::End)));
    let how = Walk::new(ask, |_: Answer| -> Result<Parsed<Vec<u32>>, BoxError> { panic!("bad") });
    let (driver, receiver) = walk(service, how).into_driver();
    let driver = tokio::spawn(driver);
    let (pages, error) = ends_with(receiver).await;
    assert!(pages.is_empty() && matches!(error, Some(WalkError::DriverDropped)));
    assert!(driver.await.unwrap_err().is_panic());
}

fn controlled() -> (PageController, Arc<AtomicU64>) {
    let percent = Arc::new(AtomicU64::new(0));
    let meter = Arc::clone(&percent);
    let probe = move || Some(Memory { used: meter.load(Ordering::SeqCst), limit: 100 });
    (PageController::builder().probe(probe).build().unwrap(), percent)
}

#[tokio::test(start_paused = true)]
async fn a_controlled_walk_asks_for_what_memory_allows_and_learns() {
    let (controller, percent) = controlled();
    let (service, mut handle) = by_hand();
    let how = Walk::new(ask, parse).controller(controller.clone());
    let mut pages = task::spawn(walk(service, how));
    assert_pending!(pages.poll_next());
    let (request, respond) = next(&mut handle);
    assert_eq!(request.body(), "start 500");
    respond.send_response((vec![1; 500], Next::Offset(500)));
    let page = assert_ready!(pages.poll_next()).unwrap().unwrap();
    assert_eq!((page.asked, page.rows), (500, Some(500)));

    percent.store(95, Ordering::SeqCst);
    advance(Duration::from_millis(250)).await;
    assert_pending!(pages.poll_next());
    assert_eq!(next(&mut handle).0.body(), "offset:500 250");
    assert_eq!(controller.status().rows, 500);
}

#[tokio::test(start_paused = true)]
async fn a_controlled_walk_waits_for_memory_and_then_gives_up_at_its_position() {
    let (controller, percent) = controlled();
    percent.store(99, Ordering::SeqCst);
    let (service, mut handle) = by_hand();
    let how = Walk::new(ask, parse).controller(controller).from(Position::Offset(7));
    let mut pages = task::spawn(walk(service, how));
    assert_pending!(pages.poll_next());
    advance(Duration::from_secs(29)).await;
    assert_pending!(pages.poll_next());
    nothing_is_asked(&mut handle);
    advance(Duration::from_secs(2)).await;
    let error = assert_ready!(pages.poll_next()).unwrap().unwrap_err();
    let WalkError::Memory { position, source } = error else { panic!("{error:?}") };
    assert_eq!(position, Position::Offset(7));
    assert!(source.waited() >= Duration::from_secs(30));
    nothing_is_asked(&mut handle);
}

#[test]
fn positions_are_text_and_back() {
    for position in [
        Position::Start,
        Position::Offset(u64::MAX),
        at_cursor("eyJpZCI6MX0=:x"),
        Position::Url("https://h/x?a=b:c".to_owned()),
    ] {
        assert_eq!(position.to_string().parse(), Ok(position));
    }
    for text in [
        "",
        "begin",
        "offset:x",
        "offset:-1",
        "pages:3",
        "page:x",
        "anchored:1",
        "anchored:1:x",
        "anchored::1",
    ] {
        assert!(text.parse::<Position>().is_err(), "{text}");
    }
}

#[test]
fn a_cursor_that_is_missing_or_empty_is_the_end() {
    assert_eq!(Next::cursor(None), Next::End);
    assert_eq!(Next::cursor(Some(String::new())), Next::End);
    assert_eq!(Next::cursor(Some("a".to_owned())), cursor("a"));
    assert_eq!((Next::offset(None), Next::offset(Some(0))), (Next::End, Next::Offset(0)));
}

#[cfg(feature = "serde")]
#[test]
fn positions_and_status_pass_through_serde() {
    for position in [Position::Start, Position::Offset(5), at_cursor("a")] {
        let json = serde_json::to_string(&position).unwrap();
        assert_eq!(serde_json::from_str::<Position>(&json).unwrap(), position);
    }
    let json = serde_json::to_value(controlled().0.status()).unwrap();
    assert_eq!((&json["size"], &json["action"]), (&500.into(), &"go".into()));
}

#[test]
fn everything_can_be_sent() {
    fn sent<T: Send + 'static>() {}
    type Inner = BoxCloneSyncService<Request<()>, Response<()>, BoxError>;
    type Make = fn(&Position, u32) -> Request<()>;
    type Parse = fn(Response<()>) -> Result<Parsed<Vec<u32>>, BoxError>;
    sent::<Pages<Inner, (), Make, Parse, Vec<u32>>>();
    sent::<PageDriver<Inner, (), Make, Parse, Vec<u32>>>();
    sent::<Items<PageReceiver<Vec<u32>>, Vec<u32>>>();
    sent::<WalkError>();
}
