//! The token is in no log, error, Debug or report, whatever happens.

use std::{
    error::Error as _,
    io::{self, Write},
    sync::{Arc, Mutex},
};

use crate::support::{config, sim, small, whole};
use pipedrive_service::{Client, Entity, Error, ListQuery};
use saas_sim::{
    Listen,
    pipedrive::{FaultKind, Faults, Rule, SimConfig},
    serve,
};
use serde_json::json;
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

const TOKEN: &str = "hunter2-5e1c0ffee5e1c0ffee5e1c0ffee";

/// Keeps everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn everything(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?} {}", error.advice());
    text.push_str(&serde_json::to_string(&error.report()).unwrap());
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!("{cause} {cause:?}"));
        source = cause.source();
    }
    text
}

/// One test, as the subscriber is the process's.
#[tokio::test]
async fn the_token_is_nowhere() {
    let log = Log::default();
    tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_writer(log.clone()).init();
    let mut said = String::new();

    let account =
        SimConfig { api_token: TOKEN.to_owned(), faults: Faults::default_mix(), ..small() };
    let sim = sim(account);
    for https in [false, true] {
        let local: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
        let listen = if https { Listen::https(local) } else { Listen::http(local) };
        let server = serve(&sim, listen).await.unwrap();
        let mut ca = tempfile::NamedTempFile::new().unwrap();
        ca.write_all(server.ca_pem().unwrap_or_default().as_bytes()).unwrap();
        for auth in ["api_token", "oauth"] {
            sim.set_oauth_token(TOKEN);
            let url = server.url();
            let mut settings = vec![
                ("PIPEDRIVE_API_TOKEN", TOKEN),
                ("PIPEDRIVE_BASE_URL", url.as_str()),
                ("PIPEDRIVE_AUTH", auth),
                ("PIGEON_RETRY_BASE_DELAY_MS", "1"),
            ];
            if https {
                settings.push(("PIPEDRIVE_CA_FILE", ca.path().to_str().unwrap()));
            }
            let config = config(&settings);
            said.push_str(&format!("{config:?} {:?}", config.effective()));
            let builder = Client::builder(config);
            said.push_str(&format!("{builder:?}"));
            let client = builder.build().unwrap();
            said.push_str(&format!("{client:?} {:?}", client.limiter()));
            for entity in [Entity::Deals, Entity::Notes, Entity::Users] {
                let (_, errors) = whole(&client, entity).await;
                errors.iter().for_each(|error| said.push_str(&everything(error)));
            }
            // Every way to fail, and a record that is written.
            for fault in FaultKind::ALL {
                if fault == FaultKind::Hang {
                    continue;
                }
                let rules = vec![Rule { fault: Some(fault), ..Rule::default() }];
                sim.set_faults(Faults { rules, ..Faults::none() }).unwrap();
                if let Err(error) = client.list(Entity::Deals, ListQuery::new()).await {
                    said.push_str(&everything(&error));
                }
                if let Err(error) = client.create(Entity::Persons, &json!({ "name": "Otto" })).await
                {
                    said.push_str(&everything(&error));
                }
                sim.set_api_token(TOKEN);
                sim.set_oauth_token(TOKEN);
            }
            sim.set_faults(Faults::none()).unwrap();
            said.push_str(&format!("{:?}", client.check_health().await));
            let elsewhere =
                http::Request::get("https://evil.test/x").body(bytes::Bytes::new()).unwrap();
            said.push_str(&everything(&client.call(elsewhere).await.unwrap_err()));
            said.push_str(&format!(
                "{:?} {:?}",
                client.limiter().status(),
                client.circuit().status()
            ));
        }
        server.shutdown().await;
    }

    let log = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(
        log.contains("call.answered") && log.contains("tower_retry_classify"),
        "the log was captured"
    );
    for (name, text) in [("log", &log), ("text", &said)] {
        if let Some(place) = text.find("hunter2") {
            let around = text[place.saturating_sub(300)..].chars().take(600).collect::<String>();
            panic!("the token is in the {name}: {around}");
        }
    }
}
