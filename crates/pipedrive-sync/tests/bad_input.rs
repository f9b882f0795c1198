//! Bad input: one clear line, the right exit code, nothing half-written.
#![allow(missing_docs)]

mod common;

use std::{fs, net::Ipv4Addr};

use common::{Ended, World, ended, pipedrive};
use pipedrive_sync::store::Reader;
use saas_sim::{
    Listen,
    pipedrive::{SimConfig, Sizes},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

async fn small() -> World {
    World::new(SimConfig { sizes: Some(Sizes::each(20)), ..SimConfig::default() }).await
}

#[track_caller]
fn one_line(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    assert_eq!(ended.out, "");
    for word in words {
        assert!(ended.err.contains(word), "no {word:?} in {}", ended.err);
    }
}

/// A database without rows, whole: it opens, and every table is empty.
async fn nothing_written(world: &World) {
    let mut reader = Reader::open(&world.database()).await.unwrap();
    assert!(reader.walks().await.unwrap().is_empty());
    assert!(reader.counts().await.unwrap().values().all(|(rows, _)| *rows == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token() {
    let world = small().await;
    let mut program = world.pipedrive("sync");
    program.env("PIPEDRIVE_API_TOKEN", "not-the-token-0123456789abcdef0123456789");
    let ended = ended(program).await;
    one_line(&ended, 3, &["PIPEDRIVE_API_TOKEN"]);
    assert!(!ended.err.contains("not-the-token"));
    nothing_written(&world).await;

    let mut program = world.pipedrive("sync");
    program.arg("--json").env("PIPEDRIVE_API_TOKEN", "not-the-token-0123456789abcdef0123456789");
    let ended = common::ended(program).await;
    let report: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.code, report["exit_code"].as_i64()), (Some(3), Some(3)), "with --json too");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_at_all() {
    let world = small().await;
    let mut program = world.pipedrive("sync");
    program.env_remove("PIPEDRIVE_API_TOKEN");
    one_line(&ended(program).await, 2, &["PIPEDRIVE_API_TOKEN"]);
    assert!(!common::exists(&world.path()));
    assert_eq!(world.sim.truth().requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host() {
    let world = small().await;
    let mut program = world.pipedrive("sync");
    program
        .args(["--base-url", "https://no-such-host.invalid"])
        .env("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0");
    one_line(&ended(program).await, 5, &["host"]);
    nothing_written(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection() {
    let world = small().await;
    let mut program = world.pipedrive("sync");
    program.args(["--base-url", "http://127.0.0.1:1"]).env("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0");
    one_line(&ended(program).await, 5, &["refused"]);
    nothing_written(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_trusts_until_its_authority_is_named() {
    let config = SimConfig { sizes: Some(Sizes::each(20)), ..SimConfig::default() };
    let world = World::listening(config, Listen::https((Ipv4Addr::LOCALHOST, 0))).await;
    one_line(&world.run("sync", &[]).await, 5, &["TLS", "PIPEDRIVE_CA_FILE"]);
    nothing_written(&world).await;
    assert_eq!(world.sim.truth().requests, 0);

    let ca = world.dir.path().join("ca.pem");
    fs::write(&ca, world.server.ca_pem().unwrap()).unwrap();
    let ended = world.run("sync", &["--quiet", "--ca-file", ca.to_str().unwrap()]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(world.differences().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_be_written() {
    let world = small().await;
    let place = world.dir.path().join("no/such/folder/account.sqlite");
    one_line(
        &world.run("sync", &["--database", place.to_str().unwrap()]).await,
        2,
        &["account.sqlite", "No such file"],
    );
    one_line(
        &world.run("sync", &["--database", world.dir.path().to_str().unwrap()]).await,
        2,
        &["directory"],
    );
    one_line(
        &world.run("sync", &["--database", "postgres://somewhere/x"]).await,
        2,
        &["not a database"],
    );
    assert_eq!(world.sim.truth().requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_program() {
    let world = small().await;
    fs::write(world.path(), [b"SQLite format 3\0".as_slice(), &[0; 4080]].concat()).unwrap();
    let before = fs::read(world.path()).unwrap();
    for command in ["sync", "verify", "status", "health-check"] {
        one_line(&world.run(command, &[]).await, 2, &["another program"]);
    }
    assert_eq!(fs::read(world.path()).unwrap(), before);
    assert_eq!(world.sim.truth().requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_wrong_values_of_the_environment_are_listed_together() {
    let wrong = [
        ("PIPEDRIVE_BASE_URL", "nowhere"),
        ("PIPEDRIVE_DAILY_TOKEN_BUDGET", "many"),
        ("PIPEDRIVE_REQUEST_TIMEOUT", "soon"),
        ("PIPEDRIVE_MAX_BATCH_SIZE", "5000"),
        ("PIPEDRIVE_MEMORY_THRESHOLD", "101"),
        ("PIPEDRIVE_ENABLED_ENTITIES", "dael"),
        ("PIPEDRIVE_RATE_LIMIT_JITTER", "perhaps"),
    ];
    let dir = tempfile::TempDir::new().unwrap();
    let mut program = pipedrive();
    program.arg("sync").env("PIPEDRIVE_DATABASE", dir.path().join("x.sqlite"));
    program.env("PIPEDRIVE_API_TOKEN", "secret-0123456789abcdef0123456789abcdef").envs(wrong);
    let ended = ended(program).await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for (name, _) in wrong {
        assert_eq!(
            ended.err.lines().filter(|line| line.contains(name)).count(),
            1,
            "{name} in {}",
            ended.err
        );
    }
    assert_eq!(ended.err.lines().count(), wrong.len());
    assert!(!ended.err.contains("secret-"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_entity() {
    let world = small().await;
    one_line(&world.run("sync", &["--entity", "deals,dael"]).await, 2, &["dael", "archived_deals"]);
    assert!(!common::exists(&world.path()));
    assert_eq!(world.sim.truth().requests, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daily_budget_too_small_for_the_plan_is_said_before_the_first_request() {
    let world = small().await;
    let mut program = world.pipedrive("sync");
    program.env("PIPEDRIVE_DAILY_TOKEN_BUDGET", "50");
    one_line(&ended(program).await, 4, &["50 tokens", "too small"]);
    assert_eq!(world.sim.truth().requests, 0);
    nothing_written(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_others_have_spent() {
    let world = small().await;
    world.sim.spend_elsewhere(149_990);
    one_line(&world.run("sync", &[]).await, 4, &["left today"]);
    nothing_written(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn html_in_place_of_json() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut heard = [0; 4096];
                let _ = stream.read(&mut heard).await;
                let page = "<!doctype html><title>Welcome to the guest network</title>";
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    page.len()
                );
                let _ = stream.write_all(format!("{head}{page}").as_bytes()).await;
            });
        }
    });
    let world = small().await;
    let mut program = world.pipedrive("sync");
    program
        .args(["--base-url", &url])
        .env("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "1")
        .env("PIGEON_RETRY_BASE_DELAY_MS", "10");
    one_line(&ended(program).await, 5, &["base URL"]);
    nothing_written(&world).await;
    server.abort();
}
