//! Rules from a file: they overrule our own, change while the client runs, and are told what is wrong with them.

use std::{fs, path::Path};

use crate::support::{config, sim, small};
use pipedrive_service::{Client, Config, ErrorKind, error_rules::ErrorRules};
use saas_sim::pipedrive::{FaultKind, Faults, Rule, Sim, SimConfig};

const NOT_AGAIN: &str =
    "[[error_categories]]\nstatus = [503]\ncategory = 'non_recoverable'\nclass = 'server'\n";
const LATER: &str = "[[error_categories]]\nstatus = [503]\ncategory = 'recoverable'\nclass = 'server'\nafter_seconds = 7\n";

fn down() -> Sim {
    let rule = Rule { fault: Some(FaultKind::Error503), ..Rule::default() };
    sim(SimConfig { faults: Faults { rules: vec![rule], ..Faults::none() }, ..small() })
}

fn with_rules(file: &Path) -> Config {
    config(&[
        ("PIPEDRIVE_ERROR_CATEGORIES", file.to_str().unwrap()),
        ("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "2"),
        ("PIPEDRIVE_CIRCUIT_BREAKER_ENABLED", "false"),
    ])
}

fn wrong(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    fs::write(&file, text).unwrap();
    let error = Client::builder(with_rules(&file)).parts().unwrap_err();
    let start = format!("file {}: ", file.display());
    let line = |problem: &pipedrive_service::config::Problem| {
        problem.to_string().strip_prefix(&start).expect("the file is named").to_owned()
    };
    error.problems().iter().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn a_rule_of_the_file_overrules_our_own_and_a_new_one_takes_its_place_while_the_client_runs()
{
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    fs::write(&file, NOT_AGAIN).unwrap();
    let sim = down();
    let client = Client::builder(with_rules(&file)).seed(7).build_over(sim.service()).unwrap();
    let watching = tokio::spawn(client.watch_error_categories().expect("a file is configured"));
    let before = sim.truth().requests;
    let error = client.me().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Server { .. }), "{error}");
    assert_eq!(sim.truth().requests - before, 1, "our own would have sent three");

    // The first edit is wrong: the old rule stays.
    fs::write(&file, "[[error_categories]]\nstatus = [7]\n").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    client.me().await.unwrap_err();
    assert_eq!(sim.truth().requests - before, 2);

    fs::write(&file, LATER).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    let since = tokio::time::Instant::now();
    client.me().await.unwrap_err();
    assert_eq!(sim.truth().requests - before, 5);
    assert!(since.elapsed().as_secs() >= 14, "seven seconds before each: {:?}", since.elapsed());
    watching.abort();
}

#[tokio::test(start_paused = true)]
async fn a_rule_may_ask_for_what_the_body_of_an_error_says() {
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    let rule = "[[error_categories]]\nstatus = [400]\nbody = 'try again'\ncategory = 'recoverable'\nclass = 'server'\n";
    fs::write(&file, rule).unwrap();
    for (body, attempts) in [("please try again", 3), ("no", 1)] {
        let sent = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
        let count = std::sync::Arc::clone(&sent);
        let api = tower::service_fn(move |_: Request<Full<Bytes>>| {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let answer = Response::builder().status(400).body(Full::new(Bytes::from(body)));
            async move { Ok::<_, std::io::Error>(answer.unwrap()) }
        });
        let client = Client::with_transport(with_rules(&file), api).unwrap();
        client.me().await.unwrap_err();
        assert_eq!(sent.load(std::sync::atomic::Ordering::Relaxed), attempts, "{body}");
    }
}

#[test]
fn everything_that_is_wrong_with_a_file_is_told_at_once() {
    let text = "title = 'mine'\n\
        [[error_categories]]\nstatus = '503'\ncategry = 'recoverable'\nclass = 'server'\n\
        [[error_categories]]\nstatus = [7]\ncategory = 'recoverable'\nclass = 'sever'\n\
        [[error_categories]]\nstatus = [503]\ncategory = 'recoverable'\nclass = 'server'\n\
        [[error_categories]]\ncategory = 'perhaps'\n";
    let told = wrong(text);
    let begins = [
        "title is not a list",
        "error_categories[0].status: ",
        "error_categories[0].categry: ",
        "error_categories[0].category is missing",
        "error_categories[3].category: ",
        "error_categories[3].class is missing",
        "`error_categories[1].status` is 7, allowed is from 100 to 999",
        "`error_categories[1].class` is sever, allowed is one of ",
    ];
    for begin in begins {
        assert!(told.iter().any(|line| line.starts_with(begin)), "{begin}: {told:#?}");
    }
    assert_eq!(told.len(), begins.len(), "{told:#?}");
}

#[test]
fn a_file_that_is_no_toml_is_too_long_or_is_not_there_is_one_problem() {
    assert!(wrong("= 3")[0].starts_with("is not TOML at line 1, column 1: "));
    assert_eq!(wrong(&" ".repeat((1 << 20) + 1)), ["is longer than 1048576 bytes"]);
    assert_eq!(wrong(&"é".repeat(1 << 20)), ["is longer than 1048576 bytes"]);
    let absent = ErrorRules::load("no/such/file.toml").unwrap_err().to_string();
    assert!(absent.contains("no/such/file.toml: cannot be read: "), "{absent}");
}

#[test]
fn a_file_is_read_again_only_if_it_says_something_else_and_a_wrong_one_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    fs::write(&file, NOT_AGAIN).unwrap();
    let rules = ErrorRules::load(&file).unwrap();
    assert!(!rules.reload().unwrap());
    fs::write(&file, NOT_AGAIN.repeat(2)).unwrap();
    assert!(rules.reload().unwrap());
    assert_eq!(rules.rules().len(), 2);
    fs::remove_file(&file).unwrap();
    rules.reload().unwrap_err();
    assert!(!rules.reload().unwrap(), "that was said");
    assert_eq!(rules.rules().len(), 2, "the old ones stay");
    fs::write(&file, NOT_AGAIN).unwrap();
    assert!(rules.reload().unwrap());
    assert_eq!(rules.rules().len(), 1);
}

/// The wrong file may be one of secrets.
#[test]
fn what_stands_in_a_wrong_file_is_not_told() {
    const SECRET: &str = "hunter2-5e1c0ffee";
    let env = format!("# mine\nURL=\"https://x\"\nTOKEN={SECRET}\n");
    let told = wrong(&env);
    assert!(told[0].starts_with("is not TOML at line 3, column 7: "), "{told:?}");
    let texts = [
        env,
        format!("TOKEN = '{SECRET}'\nTOKEN = '{SECRET}'"),
        format!("TOKEN = '{SECRET}'\n[error_categories]\na = '{SECRET}'"),
        format!(
            "[[error_categories]]\nstatus = '{SECRET}'\ncategory = '{SECRET}'\nTOKEN = '{SECRET}'"
        ),
        format!(
            "[[error_categories]]\nstatus = ['{SECRET}']\nafter_seconds = ', expected {SECRET}'"
        ),
        format!("error_categories = ['{SECRET}']"),
        format!(
            "[[error_categories]]\nheader = 'not a name: {SECRET}'\ncategory = 'degraded'\nclass = 'body'"
        ),
        format!("TOKEN={}", SECRET.repeat(50_000)),
        format!("'{}' = 1", "a".repeat(800_000)),
        (0..50_000).map(|number| format!("a{number} = 1\n")).collect(),
        "[[error_categories]]\n".repeat(5_000),
        format!("[[error_categories]]\nclass = '{}'\ncategory = 'degraded'", "a".repeat(800_000)),
    ];
    for text in texts {
        let told = wrong(&text).join("\n");
        let start = text.get(..200).unwrap_or(&text);
        assert!(!told.contains(SECRET), "{start}: {told}");
        assert!(told.len() < 10_000, "{start}: {} bytes", told.len());
    }
}

#[test]
fn each_state_of_a_file_that_cannot_be_read_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.toml");
    fs::write(&file, NOT_AGAIN).unwrap();
    let rules = ErrorRules::load(&file).unwrap();
    let mut told = Vec::new();
    let mut look = || {
        told.push(rules.reload().unwrap_err().to_string());
        assert!(!rules.reload().unwrap(), "that was said");
    };
    fs::remove_file(&file).unwrap();
    look();
    fs::create_dir(&file).unwrap();
    look();
    fs::remove_dir(&file).unwrap();
    fs::write(&file, b"a = '\xff'").unwrap();
    look();
    fs::write(&file, " ".repeat((1 << 20) + 1)).unwrap();
    look();
    let words = ["cannot be read: ", "is no regular file", "is not UTF-8 from byte 5 on", "longer"];
    for (told, word) in told.iter().zip(words) {
        assert!(told.contains(word), "no {word:?} in {told}");
    }
    assert_eq!(rules.rules().len(), 1, "the old one stays");
    fs::write(&file, NOT_AGAIN).unwrap();
    assert!(rules.reload().unwrap());
}

/// Were it opened, it would wait for a writer for ever.
#[cfg(unix)]
#[test]
fn a_pipe_or_a_device_is_refused_and_not_waited_for() {
    use std::{process::Command, sync::mpsc, thread, time::Duration};
    let folder = tempfile::tempdir().unwrap();
    let (pipe, file) = (folder.path().join("pipe"), folder.path().join("rules.toml"));
    if !Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        return;
    }
    fs::write(&file, NOT_AGAIN).unwrap();
    let rules = ErrorRules::load(&file).unwrap();
    fs::rename(&pipe, &file).unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        tell.send(rules.reload().unwrap_err().to_string()).unwrap();
        for place in [file.as_path(), Path::new("/dev/zero")] {
            tell.send(ErrorRules::load(place).unwrap_err().to_string()).unwrap();
        }
    });
    for _ in 0..3 {
        let told = told.recv_timeout(Duration::from_secs(20)).expect("it does not wait");
        assert!(told.contains("is no regular file"), "{told}");
    }
}
