//! Walks of every style, several pages at once, and pages that are too large.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt};
use http::{Request, Response, Uri};
use tower::service_fn;
use tower_adaptive_page::{
    BoxError, GetPages, Memory, Next, Page, PageController, Parsed, Position, Style, Walk,
    WalkError, walk,
};
use tower_service::Service;

type Parse = fn(Answer) -> Result<Parsed<Vec<u64>>, BoxError>;
type Answer = (Vec<u64>, Next, Option<u64>);

/// A list of the numbers below `rows`, 10 ms a page.
#[derive(Clone)]
struct List {
    rows: u64,
    first: u64,
    says_total: bool,
    /// So many rows can be held.
    holds: u64,
    asked: Arc<Mutex<Vec<String>>>,
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl List {
    fn new(rows: u64) -> Self {
        Self {
            rows,
            first: 1,
            says_total: true,
            holds: u64::MAX,
            asked: Arc::default(),
            under_way: Arc::default(),
            most: Arc::default(),
        }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    async fn answer(self, uri: Uri) -> Result<Answer, BoxError> {
        let query = uri.query().unwrap().to_owned();
        self.asked.lock().unwrap().push(query.clone());
        self.most.fetch_max(self.under_way.fetch_add(1, SeqCst) + 1, SeqCst);
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.under_way.fetch_sub(1, SeqCst);
        let value = |key: &str| {
            let mut pairs = query.split('&');
            pairs.find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')?.parse::<u64>().ok())
        };
        let limit = value("limit").unwrap();
        if limit > self.holds {
            return Err("too large".into());
        }
        let number = value("page");
        let start = number.map_or_else(|| value("start"), |it| Some((it - self.first) * limit));
        let start = start.unwrap_or(0);
        let end = (start + limit).min(self.rows);
        let more = end < self.rows;
        let next = match number {
            Some(number) => Next::page(more.then_some(number + 1)),
            None => Next::offset(more.then_some(end)),
        };
        Ok(((start..end).collect(), next, self.says_total.then_some(self.rows)))
    }

    fn service(
        &self,
    ) -> impl Service<Request<()>, Response = Answer, Error = BoxError> + Clone + use<> {
        let list = self.clone();
        service_fn(move |request: Request<()>| list.clone().answer(request.uri().clone()))
    }
}

fn parse((rows, next, total): Answer) -> Result<Parsed<Vec<u64>>, BoxError> {
    let (count, keys) = (rows.len(), rows.clone());
    Ok(Parsed::new(rows, next).rows(count).bytes(8 * count).keys(keys).total(total))
}

fn by_number(first: u64) -> Style {
    Style::page("page", first, "limit")
}

fn by_offset() -> Style {
    Style::offset("start", "limit")
}

fn how(style: Style) -> Walk<GetPages, Parse> {
    Walk::get(Uri::from_static("/rows"), style, parse as Parse).page_size(10)
}

#[tokio::test(start_paused = true)]
async fn a_walk_by_page_number_begins_at_the_first_number_and_can_be_resumed() {
    for first in [0, 1] {
        let list = List { first, ..List::new(25) };
        let pages: Vec<Page<_>> =
            walk(list.service(), how(by_number(first))).try_collect().await.unwrap();
        let number = |n: u64| format!("page={n}&limit=10");
        assert_eq!(list.asked(), [number(first), number(first + 1), number(first + 2)]);
        assert_eq!(pages[0].next, Some(Position::Page(first + 1)));
        let from = pages[0].next.clone().unwrap();
        let rest: Vec<u64> = walk(list.service(), how(by_number(first)).from(from))
            .items()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(rest, (10..25).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn several_pages_are_asked_for_at_once_in_order_and_none_behind_the_end() {
    for (style, first) in [(by_offset(), 1), (by_number(0), 0), (by_number(1), 1)] {
        for overlap in [0, 1] {
            let list = List { first, ..List::new(95) };
            let walk = walk(list.service(), how(style.clone()).at_once(4).overlap(overlap));
            let rows: Vec<u64> = walk.items().try_collect().await.unwrap();
            assert_eq!(rows, (0..95).collect::<Vec<_>>(), "{style:?}");
            assert_eq!(list.most.load(SeqCst), 4, "{style:?}");
            let by_offset = matches!(style, Style::Offset { .. });
            let pages = if overlap == 1 && by_offset { 11 } else { 10 };
            assert_eq!(list.asked().len(), pages, "{style:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_total_is_not_known_pages_come_one_after_the_other() {
    let list = List { says_total: false, ..List::new(95) };
    let walk = walk(list.service(), how(by_offset()).at_once(4));
    let rows: Vec<u64> = walk.items().try_collect().await.unwrap();
    assert_eq!((rows.len(), list.most.load(SeqCst)), (95, 1));
}

#[tokio::test(start_paused = true)]
async fn at_once_asks_for_no_more_pages_than_the_walk_may_have() {
    let list = List::new(95);
    let mut pages = Box::pin(walk(list.service(), how(by_offset()).at_once(9).max_pages(4)));
    let mut came = 0;
    let error = loop {
        match pages.next().await.unwrap() {
            Ok(_) => came += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, WalkError::TooManyPages { max: 4, .. }), "{error}");
    assert_eq!((came, list.asked().len()), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn pages_ahead_are_given_up_when_the_server_gives_fewer_rows() {
    let list = List::new(95);
    let fewer = list.clone();
    let calls = Arc::new(AtomicUsize::new(0));
    let service = service_fn(move |request: Request<()>| {
        // The fourth answer has two rows.
        let fourth = calls.fetch_add(1, SeqCst) == 3;
        let answer = fewer.clone().answer(request.uri().clone());
        async move {
            let (mut rows, next, total) = answer.await?;
            if !fourth {
                return Ok((rows, next, total));
            }
            rows.truncate(2);
            let next = Next::Offset(rows[1] + 1);
            Ok::<_, BoxError>((rows, next, total))
        }
    });
    let rows: Vec<u64> =
        walk(service, how(by_offset()).at_once(4)).items().try_collect().await.unwrap();
    assert_eq!(rows, (0..95).collect::<Vec<_>>());
}

fn sizes(list: &List) -> Vec<u64> {
    let asked = list.asked();
    asked.iter().map(|query| query.rsplit_once('=').unwrap().1.parse().unwrap()).collect()
}

fn too_large(error: &BoxError) -> bool {
    error.to_string() == "too large"
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_too_large_is_asked_for_again_at_half_the_size() {
    let list = List { holds: 60, ..List::new(200) };
    let walk_of =
        |list: &List| walk(list.service(), how(by_offset()).page_size(100).too_large(too_large));
    let rows: Vec<u64> = walk_of(&list).items().try_collect().await.unwrap();
    assert_eq!(rows, (0..200).collect::<Vec<_>>());
    assert_eq!(sizes(&list), [100, 50, 50, 50, 50]);

    let list = List { holds: 20, ..List::new(9) };
    let rows: Vec<u64> = walk_of(&list).items().try_collect().await.unwrap();
    assert_eq!((rows.len(), sizes(&list)), (9, vec![100, 50, 25, 12]));

    let list = List { holds: 0, ..List::new(9) };
    let error = walk_of(&list).try_collect::<Vec<_>>().await.unwrap_err();
    assert!(matches!(error, WalkError::Service { position: Position::Start, .. }), "{error}");
    assert_eq!(sizes(&list), [100, 50, 25, 12, 6, 3, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_controlled_walk_learns_what_a_row_weighs_from_the_page_that_could_be_held() {
    let memory = || Some(Memory { used: 0, limit: 1 << 40 });
    let builder = PageController::builder().probe(memory).max_page_bytes(8 * 30);
    let controller = builder.build().unwrap();
    let list = List { holds: 30, ..List::new(200) };
    let how = how(by_offset()).controller(controller.clone()).too_large(too_large);
    let rows: Vec<u64> = walk(list.service(), how).items().try_collect().await.unwrap();
    assert_eq!(rows, (0..200).collect::<Vec<_>>());
    // Two answers are cut off, then pages are as large as three quarters of the bound allow.
    let sizes = sizes(&list);
    assert_eq!(&sizes[..3], [500, 250, 10]);
    assert!(sizes[3..].iter().all(|rows| (10..=22).contains(rows)), "{sizes:?}");
    assert_eq!(controller.status().bytes_per_row, 8);
}

#[tokio::test(start_paused = true)]
async fn addresses_in_a_link_header_are_followed_within_the_origin() {
    let service = service_fn(async |request: Request<()>| {
        let mut response = Response::new(request.uri().to_string());
        if !request.uri().query().unwrap().contains("page=3") {
            let page = if request.uri().query().unwrap().contains("page=2") { 3 } else { 2 };
            let link = format!("<https://h/rows?page={page}&per_page=10>; rel=\"next\"");
            response.headers_mut().insert("link", link.parse().unwrap());
        }
        Ok::<_, BoxError>(response)
    });
    let how = Walk::get(
        Uri::from_static("https://h/rows"),
        Style::url("per_page"),
        |response: Response<String>| {
            let next = Next::link(response.headers());
            Ok(Parsed::new([response.into_body()], next))
        },
    );
    let asked: Vec<String> = walk(service, how.page_size(10)).items().try_collect().await.unwrap();
    let page = |n| format!("https://h/rows?page={n}&per_page=10");
    assert_eq!(asked, ["https://h/rows?per_page=10".to_owned(), page(2), page(3)]);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_shrinks_is_told_with_the_page() {
    let totals = Arc::new(Mutex::new(vec![25_u64, 27, 30].into_iter().rev()));
    let list = List::new(25);
    let how = Walk::get(Uri::from_static("/rows"), by_offset(), |answer: Answer| {
        let total = totals.lock().unwrap().next();
        Ok(parse(answer)?.total(total))
    });
    let pages: Vec<_> = walk(list.service(), how.page_size(10)).try_collect().await.unwrap();
    let told: Vec<_> = pages.iter().map(|page| (page.total, page.shrank)).collect();
    assert_eq!(told, [(Some(30), 0), (Some(27), 3), (Some(25), 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_position_with_keys_overlaps_even_if_the_walk_was_not_told_to() {
    let list = List::new(25);
    let pages: Vec<_> =
        walk(list.service(), how(by_offset()).overlap(2)).try_collect().await.unwrap();
    let next = pages[0].next.clone().unwrap();
    assert_eq!(next, Position::Anchored { offset: 8, keys: (0..10).collect() });
    let rest = walk(list.service(), how(by_offset()).from(next));
    assert_eq!(rest.items().try_collect::<Vec<_>>().await.unwrap(), (10..25).collect::<Vec<_>>());
}
