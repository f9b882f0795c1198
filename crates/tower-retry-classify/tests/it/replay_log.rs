//! Requests that an outage has defeated: kept, reconciled, sent again once.

use std::{
    cell::{Cell, RefCell},
    io,
    time::Duration,
};

use http::{Method, Request, Response};
use tower::{ServiceBuilder, ServiceExt as _, retry::RetryLayer, service_fn};
use tower_retry_classify::{
    BoxError, Class, DeadlineExceeded, DeadlineLayer, Done, ReplayLog, Replayed, RetryPolicy,
    Verdict,
};

const MINUTES: Duration = Duration::from_secs(600);

#[derive(Debug, thiserror::Error)]
#[error("circuit open")]
struct Open;

/// What the server does, and what it was asked to do.
struct Server {
    /// 0: refused by a circuit of ours.
    status: Cell<u16>,
    asked: RefCell<Vec<u32>>,
}

impl Server {
    fn new(status: u16) -> Self {
        Self { status: Cell::new(status), asked: RefCell::default() }
    }

    /// Through a retry of one attempt more.
    async fn send(&self, request: Request<u32>) -> Result<Response<()>, BoxError> {
        let policy = RetryPolicy::http().max_retries(1).local(|error| error.is::<Open>());
        ServiceBuilder::new()
            .layer(RetryLayer::new(policy.build()?))
            .service(service_fn(|request: Request<u32>| {
                let status = self.status.get();
                if status > 0 {
                    self.asked.borrow_mut().push(*request.body());
                }
                std::future::ready(match status {
                    0 => Err(BoxError::from(Open)),
                    status => Ok(Response::builder().status(status).body(()).unwrap()),
                })
            }))
            .oneshot(request)
            .await
    }
}

fn request(method: Method, number: u32) -> Request<u32> {
    Request::builder().method(method).uri("/orders").body(number).unwrap()
}

fn log() -> ReplayLog<Request<u32>> {
    ReplayLog::new(100, MINUTES).unwrap().local(|error| error.is::<Open>())
}

async fn nobody(_: Request<u32>) -> Result<Done, BoxError> {
    panic!("nothing is unknown")
}

#[tokio::test(start_paused = true)]
async fn what_is_final_is_not_kept_and_what_may_pass_is() {
    let log = log();
    for (status, kept) in [(200, 0), (404, 0), (503, 1), (429, 2), (0, 3)] {
        let server = Server::new(status);
        drop(log.run(request(Method::POST, 1), |request| server.send(request)).await);
        assert_eq!(log.len(), kept, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_never_saw_is_sent_again_in_order_and_once() {
    let (log, server) = (log(), Server::new(0));
    for number in 1..=3 {
        let refused = log.run(request(Method::POST, number), |request| server.send(request)).await;
        assert!(refused.unwrap_err().is::<Open>(), "the caller gets what happened");
    }
    server.status.set(201);
    let replayed = log.replay(|request| server.send(request), nobody).await.unwrap();
    assert_eq!((replayed.sent, replayed.left), (3, 0));
    assert_eq!(*server.asked.borrow(), [1, 2, 3]);
    let again = log.replay(|request| server.send(request), nobody).await.unwrap();
    assert_eq!(again.sent, 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_may_have_done_is_looked_for_before_it_is_sent_again() {
    let (log, server) = (log(), Server::new(503));
    for number in 1..=3 {
        drop(log.run(request(Method::POST, number), |request| server.send(request)).await);
    }
    server.status.set(201);
    server.asked.borrow_mut().clear();
    let look = |request: Request<u32>| async move {
        Ok(match request.body() {
            1 => Done::Yes,
            2 => Done::Unknown,
            _ => Done::No,
        })
    };
    let replayed = log.replay(|request| server.send(request), look).await.unwrap();
    assert_eq!((replayed.reconciled, replayed.sent, replayed.left), (1, 1, 1));
    assert_eq!(*server.asked.borrow(), [3]);
    let fails = |_| async { Err(BoxError::from("no answer")) };
    log.replay(|request| server.send(request), fails).await.unwrap_err();
    assert_eq!(log.len(), 1, "it is still there");
}

#[tokio::test(start_paused = true)]
async fn the_first_that_is_defeated_again_ends_the_replay_and_keeps_its_place() {
    let (log, server) = (log(), Server::new(0));
    for number in 1..=3 {
        drop(log.run(request(Method::PUT, number), |request| server.send(request)).await);
    }
    server.status.set(503);
    let replayed = log.replay(|request| server.send(request), nobody).await.unwrap();
    assert_eq!((replayed.sent, replayed.left), (0, 3));
    assert_eq!(*server.asked.borrow(), [1, 1], "with its retry");
    server.status.set(404);
    server.asked.borrow_mut().clear();
    let not = |_| async { Ok(Done::No) };
    let replayed = log.replay(|request| server.send(request), not).await.unwrap();
    assert_eq!((replayed.sent, replayed.left), (3, 0), "a final outcome is one");
    assert_eq!(*server.asked.borrow(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn number_and_age_are_bounded() {
    let log = ReplayLog::new(2, MINUTES).unwrap().local(|error| error.is::<Open>());
    let server = Server::new(0);
    for number in 1..=3 {
        drop(log.run(request(Method::PUT, number), |request| server.send(request)).await);
        tokio::time::sleep(MINUTES / 2 + Duration::from_secs(1)).await;
    }
    assert_eq!(log.len(), 2, "what was promised first is kept");
    server.status.set(200);
    let replayed = log.replay(|request| server.send(request), nobody).await.unwrap();
    assert_eq!((replayed.expired, replayed.sent), (2, 0), "the second is 10 minutes and 2 s old");

    drop(log.run(request(Method::PUT, 4), |request| server.send(request)).await);
    server.status.set(0);
    drop(log.run(request(Method::PUT, 5), |request| server.send(request)).await);
    server.status.set(200);
    tokio::time::sleep(MINUTES).await;
    let replayed = log.replay(|request| server.send(request), nobody).await.unwrap();
    assert_eq!((replayed.expired, replayed.sent), (0, 1), "ten minutes are not too old");
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_is_dropped_forgets_nothing_and_what_was_under_way_is_looked_for() {
    let (log, server) = (log(), Server::new(0));
    for number in 1..=2 {
        drop(log.run(request(Method::POST, number), |request| server.send(request)).await);
    }
    let hangs = |_| std::future::pending::<Result<Response<()>, BoxError>>();
    let cut_off = tokio::time::timeout(Duration::from_secs(1), log.replay(hangs, nobody)).await;
    assert!(cut_off.is_err());
    assert_eq!(log.len(), 2);
    let looks = |_| std::future::pending::<Result<Done, BoxError>>();
    let never = |request| server.send(request);
    let cut_off = tokio::time::timeout(Duration::from_secs(1), log.replay(never, looks)).await;
    assert!(cut_off.is_err());
    assert_eq!(log.len(), 2);

    server.status.set(201);
    let looked = Cell::new(0);
    let look = |request: Request<u32>| {
        looked.set(*request.body());
        async { Ok(Done::Yes) }
    };
    let replayed = log.replay(|request| server.send(request), look).await.unwrap();
    assert_eq!((replayed.reconciled, replayed.sent, replayed.left), (1, 1, 0));
    assert_eq!((looked.get(), &*server.asked.borrow()), (1, &vec![2]));
}

/// A retry that tries nothing again, so that nobody says why there was none.
async fn once(
    request: Request<u32>,
    outcome: impl Fn() -> Result<Response<()>, BoxError>,
) -> Result<Response<()>, BoxError> {
    ServiceBuilder::new()
        .layer(RetryLayer::new(RetryPolicy::http().max_retries(0).build()?))
        .service(service_fn(|_: Request<u32>| std::future::ready(outcome())))
        .oneshot(request)
        .await
}

fn status(status: u16) -> Result<Response<()>, BoxError> {
    Ok(Response::builder().status(status).body(()).unwrap())
}

fn refused() -> Result<Response<()>, BoxError> {
    Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_kept_though_nothing_is_tried_again() {
    let log = log();
    for (code, kept) in [(200, 0), (404, 0), (503, 1), (429, 2)] {
        let send = |request| once(request, || status(code));
        let outcome = log.run(request(Method::POST, code.into()), send).await;
        assert_eq!((outcome.unwrap().status().as_u16(), log.len()), (code, kept));
    }
    let send = |request| once(request, refused);
    log.run(request(Method::POST, 3), send).await.unwrap_err();
    assert_eq!(log.len(), 3);
    let asked = RefCell::new(Vec::new());
    let look = |request: Request<u32>| {
        asked.borrow_mut().push(*request.body());
        async { Ok(Done::Yes) }
    };
    let replayed = log.replay(|request| once(request, || status(201)), look).await.unwrap();
    assert_eq!((replayed.reconciled, replayed.sent, replayed.left), (1, 2, 0));
    assert_eq!(*asked.borrow(), [503], "the others were never acted on");
}

#[tokio::test(start_paused = true)]
async fn a_time_out_around_the_retry_is_no_answer_whoever_it_strikes() {
    let hangs = || service_fn(|_: Request<u32>| std::future::pending());
    let second = Duration::from_secs(1);
    let retry = || RetryLayer::new(RetryPolicy::<_, Response<()>>::http().build().unwrap());
    let by_tower = |request| {
        let layers = ServiceBuilder::new().timeout(second).layer(retry());
        layers.service(hangs()).oneshot(request)
    };
    let by_deadline = |request| {
        let layers = ServiceBuilder::new().layer(DeadlineLayer::new(second)).layer(retry());
        layers.service(hangs()).oneshot(request)
    };
    let log = log();
    let error = log.run(request(Method::POST, 1), by_tower).await.unwrap_err();
    assert!(error.is::<tower::timeout::error::Elapsed>());
    let error = log.run(request(Method::POST, 2), by_deadline).await.unwrap_err();
    assert!(error.is::<DeadlineExceeded>());
    assert_eq!(log.len(), 2);

    let not = |_| async { Ok(Done::No) };
    let replayed = log.replay(by_tower, not).await.unwrap();
    assert_eq!((replayed.sent, replayed.left), (0, 2), "the outage is not over");
    let replayed = log.replay(by_deadline, not).await.unwrap();
    assert_eq!((replayed.sent, replayed.left), (0, 2));
    let replayed = log.replay(|request| once(request, refused), not).await.unwrap();
    assert_eq!((replayed.sent, replayed.left), (0, 2));

    // The first was refused last, so nobody need look for it; the second may have been done.
    let looked = RefCell::new(Vec::new());
    let look = |request: Request<u32>| {
        looked.borrow_mut().push(*request.body());
        async { Ok(Done::No) }
    };
    let replayed = log.replay(|request| once(request, || status(201)), look).await.unwrap();
    assert_eq!((replayed.sent, replayed.left), (2, 0));
    assert_eq!(*looked.borrow(), [2]);
}

#[tokio::test(start_paused = true)]
async fn an_error_that_nobody_knows_is_no_answer_and_makes_way_for_the_others() {
    let (log, server) = (log(), Server::new(0));
    for number in 1..=3 {
        drop(log.run(request(Method::POST, number), |request| server.send(request)).await);
    }
    server.status.set(201);
    let strange = |request: Request<u32>| {
        let number = *request.body();
        let answer = server.send(request);
        async move { if number == 1 { Err("strange".into()) } else { answer.await } }
    };
    let replayed = log.replay(strange, nobody).await.unwrap();
    assert_eq!((replayed.sent, replayed.left), (2, 1));
    // It may have been acted on.
    let done = |_| async { Ok(Done::Yes) };
    let replayed = log.replay(|request| server.send(request), done).await.unwrap();
    assert_eq!((replayed.reconciled, replayed.left), (1, 0));
    assert_eq!(*server.asked.borrow(), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_classifier_of_the_users_own_has_the_last_word() {
    let own = |request: &Request<u32>, outcome: Result<&Response<()>, &BoxError>| match outcome {
        Ok(answer) if answer.status() == 503 && *request.body() == 1 => Verdict::never(Class::Auth),
        Ok(answer) if answer.status() == 423 => Verdict::retry(Class::RateLimit),
        Err(error) if error.to_string() == "revoked" => Verdict::never(Class::Auth),
        _ => Verdict::NoOpinion,
    };
    let log = log().classify(own).clone();
    for (number, code, kept) in [(1, 503, 0), (2, 503, 1), (3, 423, 2)] {
        let send = |request| once(request, || status(code));
        drop(log.run(request(Method::PUT, number), send).await);
        assert_eq!(log.len(), kept, "{number}");
    }
    let revoked = |request| once(request, || Err("revoked".into()));
    let replayed = log.replay(revoked, |_| async { Ok(Done::No) }).await.unwrap();
    assert_eq!((replayed.sent, replayed.left), (2, 0), "an error that is final is one");
}

/// The places of those that are being sent are theirs.
#[tokio::test(start_paused = true)]
async fn the_bound_holds_while_replays_send_and_what_finds_no_room_is_counted() {
    let log = ReplayLog::new(2, MINUTES).unwrap().local(|error| error.is::<Open>());
    let server = Server::new(0);
    for number in 1..=2 {
        drop(log.run(request(Method::PUT, number), |request| server.send(request)).await);
    }
    let late = |request| async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        server.send(request).await
    };
    let meanwhile = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(log.len(), 2, "they are under way");
        for number in 3..=4 {
            drop(log.run(request(Method::PUT, number), |request| server.send(request)).await);
        }
        assert_eq!((log.len(), log.dropped()), (2, 2));
    };
    let left = |replayed: Result<Replayed, BoxError>| replayed.unwrap().left;
    let (first, second, ()) =
        tokio::join!(log.replay(late, nobody), log.replay(late, nobody), meanwhile);
    assert_eq!((left(first), left(second), log.len()), (2, 2, 2));

    server.status.set(200);
    let replayed = log.replay(|request| server.send(request), nobody).await.unwrap();
    assert_eq!((replayed.sent, replayed.left), (2, 0));
    let mut sent = server.asked.take();
    sent.sort_unstable();
    assert_eq!(sent, [1, 2], "what was promised first");
    server.status.set(0);
    drop(log.run(request(Method::PUT, 5), |request| server.send(request)).await);
    assert_eq!((log.len(), log.dropped()), (1, 2), "there is room again");
}
