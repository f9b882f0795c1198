//! One circuit for all, one for each host, one for each class of failure: what opens which, and what that refuses.

use std::{io, time::SystemTime};

use crate::support::{client, config, sim, small};
use bytes::Bytes;
use http::{Request, Response};
use pipedrive_service::{
    BoxError, Client, ErrorKind, circuits::ApiCircuits, classify::inspect, judge::Fault, stack,
};
use saas_sim::pipedrive::{FaultKind, Faults, Rule, SimConfig};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
use tower_circuit::{Open, State};

fn circuits(scope: &str, threshold: &str) -> ApiCircuits {
    let settings = [
        ("PIPEDRIVE_CIRCUIT_BREAKER_SCOPE", scope),
        ("PIPEDRIVE_CIRCUIT_BREAKER_THRESHOLD", threshold),
    ];
    Client::builder(config(&settings)).parts().unwrap().1.circuits
}

/// Gate and guards as in the stack, around an API that fails as the request says.
async fn call(
    circuits: &ApiCircuits,
    host: &str,
    fails: Option<Fault>,
) -> Result<Response<Bytes>, BoxError> {
    let api = service_fn(move |_: Request<Bytes>| async move {
        let answer = |status: u16, kind: &str| {
            let answer = Response::builder().status(status).header("content-type", kind);
            Ok(inspect(answer.body(Bytes::from_static(br#"{"success":true,"data":[]}"#)).unwrap()))
        };
        match fails {
            None => answer(200, "application/json"),
            Some(Fault::Server) => answer(503, "application/json"),
            Some(Fault::Body) => answer(200, "text/html"),
            Some(Fault::Connection) => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
            Some(Fault::Timeout) => Err(BoxError::from(tower::timeout::error::Elapsed::new())),
        }
    });
    let mut stack = ServiceBuilder::new()
        .layer(stack::gate(circuits))
        .layer(stack::guard(circuits))
        .service(api);
    let request = Request::get(format!("https://{host}/api/v2/deals")).body(Bytes::new()).unwrap();
    stack.ready().await?.call(request).await
}

/// The name of the circuit that refuses.
async fn refuser(circuits: &ApiCircuits, host: &str) -> Option<String> {
    let refused = call(circuits, host, None).await.err()?;
    Some(refused.downcast_ref::<Open>().expect("nothing else is wrong").name().to_owned())
}

fn names(circuits: &ApiCircuits) -> Vec<String> {
    circuits.status().iter().map(|one| one.name.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn unless_told_otherwise_there_is_one_for_all_failures_of_all_hosts() {
    let config = pipedrive_service::Config::load(
        &pipedrive_service::Sources::new().set("connection.api_token", "secret"),
    );
    assert_eq!(names(&Client::new(config.unwrap()).unwrap().circuits().clone()), ["pipedrive"]);
    let one = circuits("api", "2");
    call(&one, "acme.test", Some(Fault::Server)).await.unwrap();
    call(&one, "b.test", Some(Fault::Timeout)).await.unwrap_err();
    assert_eq!(refuser(&one, "c.test").await.as_deref(), Some("pipedrive"));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_down_closes_no_other() {
    let hosts = circuits("host", "2");
    assert_eq!(names(&hosts), ["pipedrive/acme.test"], "the client's own is there at once");
    for _ in 0..2 {
        call(&hosts, "b.test", Some(Fault::Server)).await.unwrap();
    }
    assert_eq!(refuser(&hosts, "b.test").await.as_deref(), Some("pipedrive/b.test"));
    assert_eq!(refuser(&hosts, "acme.test").await, None);
    assert_eq!(hosts.state(), State::Closed, "which is what the client's calls meet");
    let kept = hosts.snapshot(SystemTime::UNIX_EPOCH);
    let states: Vec<_> = kept.iter().map(|one| (one.name.as_str(), one.state)).collect();
    assert_eq!(states, [("pipedrive/acme.test", State::Closed), ("pipedrive/b.test", State::Open)]);
}

#[tokio::test(start_paused = true)]
async fn each_class_of_failure_fills_its_own_row_and_a_success_empties_them_all() {
    let classes = circuits("class", "2");
    for fault in Fault::ALL {
        drop(call(&classes, "acme.test", Some(fault)).await);
    }
    assert_eq!(classes.state(), State::Closed, "one of each");
    call(&classes, "acme.test", None).await.unwrap();
    for fault in Fault::ALL {
        drop(call(&classes, "acme.test", Some(fault)).await);
    }
    assert_eq!(classes.state(), State::Closed, "again one of each");
    call(&classes, "acme.test", Some(Fault::Body)).await.unwrap();
    assert_eq!(refuser(&classes, "acme.test").await.as_deref(), Some("pipedrive/body"));
    let rows: Vec<_> = classes.status().iter().map(|one| one.consecutive_failures).collect();
    assert_eq!(rows, [2, 1, 1, 1], "a refusal counts for none");
}

#[tokio::test(start_paused = true)]
async fn whatever_failures_are_mixed_without_a_success_one_opens() {
    // With two in a row, every sequence of five.
    for number in 0..4_usize.pow(5) {
        let classes = circuits("class", "2");
        for place in 0..5 {
            let fault = Fault::ALL[number / 4_usize.pow(place) % 4];
            drop(call(&classes, "acme.test", Some(fault)).await);
        }
        assert_eq!(classes.state(), State::Open, "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_both_each_class_at_each_host_has_its_own() {
    let both = circuits("host_and_class", "1");
    assert_eq!(names(&both).len(), 4);
    call(&both, "b.test", Some(Fault::Server)).await.unwrap();
    assert_eq!(refuser(&both, "b.test").await.as_deref(), Some("pipedrive/server/b.test"));
    assert_eq!(refuser(&both, "acme.test").await, None);
    assert_eq!(names(&both).len(), 8);
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_has_met_a_time_out_and_nothing_else() {
    let classes = circuits("class", "1");
    let mut stack = ServiceBuilder::new().layer(stack::guard(&classes)).service(service_fn(
        |_: Request<Bytes>| std::future::pending::<Result<Response<Bytes>, BoxError>>(),
    ));
    let answer = stack.ready().await.unwrap().call(Request::new(Bytes::new()));
    drop(answer);
    assert_eq!(refuser(&classes, "acme.test").await.as_deref(), Some("pipedrive/timeout"));
    let open = classes.status().into_iter().filter(|one| one.state != State::Closed);
    assert_eq!(open.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_is_refused_by_the_circuit_of_one_class_and_goes_on_when_it_closes() {
    let rule = Rule { fault: Some(FaultKind::Error500), to: Some(1), ..Rule::default() };
    let faults = Faults { rules: vec![rule], ..Faults::none() };
    let sim = sim(SimConfig { faults, ..small() });
    let settings = [
        ("PIPEDRIVE_CIRCUIT_BREAKER_SCOPE", "class"),
        ("PIPEDRIVE_CIRCUIT_BREAKER_THRESHOLD", "1"),
        ("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0"),
    ];
    let client = client(&sim, &settings);
    client.me().await.unwrap_err();
    let refused = client.me().await.unwrap_err();
    assert_eq!(*refused.kind(), ErrorKind::CircuitOpen);
    assert_eq!(refused.circuit(), Some("pipedrive/server"));
    assert!(refused.to_string().contains("the circuit pipedrive/server is open"), "{refused}");
    assert!(!client.can_make_request(pipedrive_service::Entity::Deals));
    let closed = tokio::spawn({
        let circuits = client.circuits().clone();
        async move { circuits.closed().await }
    });
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert!(!closed.is_finished(), "its time is over, but nobody has tried");
    client.me().await.unwrap();
    closed.await.unwrap();
    assert_eq!(client.circuits().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_refusal_of_a_health_gate_around_the_transport_is_ours_and_not_the_api_s() {
    use http_body_util::Full;
    use tower_health::{ErrorsBad, Health, HealthGateLayer, HealthLayer};
    let health = Health::builder("network").build().unwrap();
    let mut failing = ServiceBuilder::new()
        .layer(HealthLayer::new(health.clone(), ErrorsBad))
        .service(service_fn(|()| async { Err::<(), _>(BoxError::from("down")) }));
    for _ in 0..10 {
        failing.ready().await.unwrap().call(()).await.unwrap_err();
    }
    assert_eq!(health.state(), tower_health::State::Unavailable);
    let api = service_fn(|_: Request<Full<Bytes>>| async {
        let body = Full::new(Bytes::from_static(br#"{"success":true,"data":{"id":1}}"#));
        Ok::<_, BoxError>(Response::new(body))
    });
    let gated =
        ServiceBuilder::new().layer(HealthGateLayer::builder(health).build().unwrap()).service(api);
    let client = Client::with_transport(config(&[]), gated).unwrap();
    client.me().await.expect("one goes through as a trial");
    let refused = client.me().await.unwrap_err();
    assert_eq!((refused.is_local(), refused.context().attempts), (true, 1), "{refused:?}");
    assert_eq!(refused.retry_after(), Some(std::time::Duration::from_secs(5)));
    assert!(refused.to_string().contains("not sent: a health gate turned it away"), "{refused}");
    assert_eq!(client.circuit().status().consecutive_failures, 0);
    assert_eq!(client.limiter().status().budget("day").unwrap().used, 2, "one call was paid");
}
