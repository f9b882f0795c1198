//! The suite of adversarial services, around each layer of our own and around the whole stack.

mod support;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use pipedrive_service::{
    Client,
    auth::{AuthLayer, Origin},
    collect::CollectLayer,
    inspect::InspectLayer,
    lazy_clone::LazyCloneLayer,
    request_id::RequestIdLayer,
    stack::stack,
    trace::TraceLayer,
};
use secrecy::SecretString;
use tower::{Layer as _, ServiceExt as _};
use tower_contract::Probe;

fn get() -> Request<Bytes> {
    Request::get("https://acme.test/api/v2/deals/1").body(Bytes::new()).expect("a URI")
}

fn answer() -> Response<Full<Bytes>> {
    let body = Bytes::from_static(br#"{"success":true,"data":{"id":1}}"#);
    Response::builder()
        .header("content-type", "application/json")
        .body(Full::new(body))
        .expect("a header")
}

/// Every layer hands on the kind of request that it got; collect changes the type of the body, so the probe gets a
/// request made anew.
fn anew(_: Request<Full<Bytes>>) -> Request<Bytes> {
    get()
}

fn auth() -> AuthLayer {
    let origin = Origin::of(get().uri()).expect("an absolute URI");
    AuthLayer::bearer(origin, &SecretString::from("secret".to_owned())).expect("letters")
}

#[tokio::test(start_paused = true)]
async fn auth_keeps_the_contract() {
    tower_contract::check(get, answer, |probe| auth().layer(probe)).await;
    tower_contract::check_not_clone(get, answer, |probe| auth().layer(probe)).await;
}

#[tokio::test(start_paused = true)]
async fn trace_and_request_id_keep_the_contract() {
    let both =
        || tower::ServiceBuilder::new().layer(TraceLayer::new(true)).layer(RequestIdLayer::new());
    tower_contract::check(get, answer, |probe| both().service(probe)).await;
    tower_contract::check_not_clone(get, answer, |probe| both().service(probe)).await;
}

#[tokio::test(start_paused = true)]
async fn collect_keeps_the_contract() {
    let wrap = |probe: Probe<Request<Bytes>, Response<Full<Bytes>>>| {
        CollectLayer::default().layer(probe.map_request(anew))
    };
    tower_contract::check(get, answer, wrap).await;
}

#[tokio::test(start_paused = true)]
async fn a_lazy_clone_keeps_the_contract() {
    tower_contract::check(get, answer, |probe| LazyCloneLayer::new().layer(probe)).await;
}

#[tokio::test(start_paused = true)]
async fn inspect_keeps_the_contract() {
    let wrap = |probe: Probe<Request<Bytes>, Response<Bytes>>| InspectLayer::new().layer(probe);
    tower_contract::check(get, || answer().map(|_| Bytes::from_static(b"{")), wrap).await;
}

#[tokio::test(start_paused = true)]
async fn the_whole_stack_keeps_the_contract() {
    let wrap = |probe: Probe<Request<Bytes>, Response<Full<Bytes>>>| {
        // Retries would hide what the suite looks at.
        let config = support::config(&[
            ("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0"),
            ("PIPEDRIVE_BURST_LIMIT", "100000"),
        ]);
        let (_, parts) = Client::builder(config).parts().expect("good settings");
        parts.circuits.first().disable();
        stack(&parts, probe.map_request(anew))
    };
    tower_contract::check(get, answer, wrap).await;
}
