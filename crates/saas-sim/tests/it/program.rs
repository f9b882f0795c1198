//! The program: what it prints, how it ends.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_saas-sim");

fn run(args: &[&str]) -> Output {
    Command::new(PROGRAM).args(args).output().expect("it runs")
}

#[test]
fn it_prints_where_it_listens_serves_and_ends_on_a_signal() {
    for signal in ["-INT", "-TERM"] {
        let mut child = Command::new(PROGRAM)
            .args(["--listen", "127.0.0.1:0", "--records", "500", "--plan", "lite", "--seed", "3"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut value = |name: &str| {
            let line = lines.next().expect("a line").expect("text");
            line.strip_prefix(name).expect("its name").trim().to_owned()
        };
        let (url, token) = (value("url"), value("token"));

        let mut stream =
            TcpStream::connect(url.strip_prefix("http://").expect("HTTP")).expect("it listens");
        write!(
            stream,
            "GET /api/v2/deals?limit=1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-token: {token}\r\n\r\n"
        )
        .expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("x-ratelimit-limit: 20\r\n"), "{answer}");

        let id = child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().expect("kill").success());
        assert!(child.wait().expect("it ends").success(), "{signal}");
    }
}

#[test]
fn it_takes_the_real_time_unless_its_file_says_another() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("start.toml");
    for (start, date) in [("", None), ("start = \"2030-05-06T07:08:09Z\"\n", Some("06 May 2030"))] {
        std::fs::write(&file, format!("records = 500\n{start}")).expect("written");
        let mut child = Command::new(PROGRAM)
            .args(["--listen", "127.0.0.1:0", "--config"])
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let url = lines.next().expect("a line").expect("text");
        let address = url.split("http://").nth(1).expect("HTTP");
        let mut stream = TcpStream::connect(address).expect("it listens");
        write!(stream, "GET /api/v2/deals HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        let shown = answer.lines().find_map(|line| line.strip_prefix("date: ")).expect("a date");
        match date {
            Some(date) => assert!(shown.contains(date), "{shown}"),
            None => {
                let shown = jiff::fmt::rfc2822::parse(shown).expect("a date").timestamp();
                let off = jiff::Timestamp::now().duration_since(shown).abs();
                assert!(off < jiff::SignedDuration::from_mins(1), "{answer}");
            }
        }
    }
    std::fs::remove_file(file).expect("it was there");
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    for (args, part) in [
        (&["--seats", "0"][..], "seats: must be at least 1"),
        (&["--config", "/nowhere/sim.toml"], "/nowhere/sim.toml: "),
        (&["--faults-file", "/nowhere/faults.toml"], "/nowhere/faults.toml: "),
        (&["--listen", "0.0.0.0:0"], "loopback only"),
    ] {
        let output = run(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(part) && error.lines().count() == 1, "{error}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(run(&["--plan", "gold"]).status.code(), Some(2));
}
