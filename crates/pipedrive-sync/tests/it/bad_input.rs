//! Bad input: one clear line, the right exit code, nothing half-written.
#![allow(missing_docs)]

use crate::common;

use std::{fs, net::Ipv4Addr};

use crate::common::{Ended, World, ended, pipedrive};
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
        &world.run("sync", &["--database", "mysql://somewhere/x"]).await,
        2,
        &["not a database"],
    );
    one_line(&world.run("sync", &["--database", "file:x.sqlite"]).await, 2, &["not a database"]);
    assert_eq!(world.sim.truth().requests, 0);
}

/// A device that the system needs must not be replaced by a database, nor a pipe be waited for.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_regular_file_is_refused_and_stays() {
    use std::os::unix::{fs::symlink, net::UnixListener};
    let world = small().await;
    let place = |name: &str| world.dir.path().join(name).to_str().unwrap().to_owned();
    let _socket = UnixListener::bind(place("socket")).unwrap();
    // Not the device itself: were it replaced, the whole machine would suffer.
    symlink("/dev/null", place("device")).unwrap();
    symlink(place("missing"), place("nowhere")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(place("pipe")).status();
    let pipe = made.is_ok_and(|status| status.success());
    for command in ["sync", "verify", "status"] {
        one_line(&world.run(command, &["--database", &place("socket")]).await, 2, &["a socket"]);
        one_line(&world.run(command, &["--database", &place("device")]).await, 2, &["a device"]);
        one_line(&world.run(command, &["--database", &place("nowhere")]).await, 2, &["link"]);
        if pipe {
            one_line(&world.run(command, &["--database", &place("pipe")]).await, 2, &["a pipe"]);
        }
    }
    assert!(fs::symlink_metadata(place("device")).unwrap().is_symlink());
    assert!(
        !common::exists(place("device.lock").as_ref())
            && !common::exists(place("missing").as_ref())
    );
    assert_eq!(world.sim.truth().requests, 0);
}

/// A pipe would be waited for, and a file of secrets would be quoted.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_rules_that_was_not_meant() {
    let world = small().await;
    let place = |name: &str| world.dir.path().join(name).to_str().unwrap().to_owned();
    let ended = |name: &str| {
        let mut program = world.pipedrive("sync");
        program.env("PIPEDRIVE_ERROR_CATEGORIES", place(name));
        common::ended(program)
    };
    fs::write(place("env"), "TOKEN=hunter2\n").unwrap();
    let told = ended("env").await;
    one_line(&told, 2, &["line 1, column 7"]);
    assert!(!told.err.contains("hunter2"), "{}", told.err);
    let made = std::process::Command::new("mkfifo").arg(place("pipe")).status();
    if made.is_ok_and(|status| status.success()) {
        one_line(&ended("pipe").await, 2, &["is no regular file"]);
    }
    assert_eq!(world.sim.truth().requests, 0);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_the_same_database_and_the_same_lock() {
    let world = small().await;
    let link = world.dir.path().join("link.sqlite");
    fs::write(world.path(), "").unwrap();
    std::os::unix::fs::symlink(world.path(), &link).unwrap();
    let by_link = ["--database", link.to_str().unwrap(), "--quiet"];
    assert_eq!(world.run("sync", &by_link).await.code, Some(0));
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "the link stays a link");
    assert_eq!(world.differences().await, Vec::<String>::new());

    let held = pipedrive_sync::store::Store::open(&world.database()).await.unwrap();
    one_line(&world.run("sync", &by_link).await, 1, &["another sync"]);
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_program() {
    let world = small().await;
    fs::write(world.path(), [b"SQLite format 3\0".as_slice(), &[0; 4080]].concat()).unwrap();
    let before = fs::read(world.path()).unwrap();
    for command in ["sync", "verify", "status", "health-check", "limits"] {
        one_line(&world.run(command, &[]).await, 2, &["another program"]);
    }
    one_line(&world.run("sync", &["--plan"]).await, 2, &["another program"]);
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
async fn a_start_that_fails_does_not_use_up_the_day() {
    let world = small().await;
    for _ in 0..3 {
        let mut program = world.pipedrive("sync");
        program.args(["--base-url", "http://127.0.0.1:1", "--lease", "5000"]);
        program.env("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0");
        assert_eq!(ended(program).await.code, Some(5));
    }
    let mut reader = Reader::open(&world.database()).await.unwrap();
    let leased = reader.last_budget().await.unwrap().map_or(0, |day| day.leased);
    assert!(leased <= 6, "{leased} tokens are leased, but at most three requests were tried");
}

/// A server that answers every request with the same head and body, and the request's token for `TOKEN`.
async fn answering(
    head: &'static str,
    body: &'static str,
) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut heard = [0; 4096];
                let length = stream.read(&mut heard).await.unwrap_or(0);
                let heard = String::from_utf8_lossy(&heard[..length]).into_owned();
                let token = heard.lines().find_map(|line| line.strip_prefix("x-api-token: "));
                let body = body.replace("TOKEN", token.unwrap_or("no token"));
                let head = format!(
                    "HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            });
        }
    });
    (url, server)
}

async fn sync_from(head: &'static str, body: &'static str) -> Ended {
    let (world, (url, server)) = (small().await, answering(head, body).await);
    let mut program = world.pipedrive("sync");
    program
        .args(["--base-url", &url])
        .env("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "1")
        .env("PIGEON_RETRY_BASE_DELAY_MS", "10");
    let ended = ended(program).await;
    server.abort();
    nothing_written(&world).await;
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_repeats_the_token() {
    let echo = r#"{"success":false,"error":"the token TOKEN is not known"}"#;
    for (status, code) in [("401 Unauthorized", 3), ("400 Bad Request", 1), ("500 Oh", 5)] {
        let ended = sync_from(status, echo).await;
        one_line(&ended, code, &["the token (secret) is not known"]);
        assert!(!ended.err.contains("sim-0000"), "{}", ended.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_the_api() {
    let elsewhere = "302 Found\r\nlocation: https://login.example/";
    one_line(&sync_from(elsewhere, "").await, 5, &["302", "base URL"]);
    one_line(&sync_from("404 Not Found", "{}").await, 5, &["404", "PIPEDRIVE_BASE_URL"]);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_is_not_unicode_is_wrong_and_not_passed_over() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let world = small().await;
    let mut program = world.pipedrive("sync");
    program.env("PIPEDRIVE_MAX_BATCH_SIZE", OsStr::from_bytes(b"50\xff"));
    one_line(&ended(program).await, 2, &["PIPEDRIVE_MAX_BATCH_SIZE"]);
    let mut program = world.pipedrive("sync");
    program.env("PIPEDRIVE_API_TOKEN", OsStr::from_bytes(b"hidden\xff"));
    let ended = ended(program).await;
    one_line(&ended, 3, &["PIPEDRIVE_API_TOKEN"]);
    assert!(!ended.err.contains("hidden"));
}

#[tokio::test(flavor = "multi_thread")]
async fn html_in_place_of_json() {
    let page = "<!doctype html><title>Welcome to the guest network</title>";
    let ended = sync_from("200 OK\r\ncontent-type: text/html", page).await;
    one_line(&ended, 5, &["base URL"]);
}
