//! What is logged. A program of its own: what other tests do on other threads decides, too, which events are looked at.

mod support;

use std::sync::Arc;

use pipedrive_service::{Entity, ListQuery};
use saas_sim::pipedrive::SimConfig;
use support::{client, sim, small};

#[tokio::test(start_paused = true)]
async fn a_warning_is_given_at_the_configured_shares_of_the_day() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let writer = Arc::clone(&told);
    let subscriber = tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || Lines(Arc::clone(&writer)))
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let sim = sim(SimConfig { day_tokens: Some(100), ..small() });
    let settings = [
        ("PIPEDRIVE_PLAN", ""),
        ("PIPEDRIVE_DAILY_TOKEN_BUDGET", "100"),
        ("PIPEDRIVE_RATE_LIMIT_WARN_AT", "0.25,0.5"),
    ];
    let client = client(&sim, &settings);
    for _ in 0..9 {
        client.list(Entity::Deals, ListQuery::new().limit(10)).await.unwrap();
    }
    let told = String::from_utf8(told.lock().unwrap().clone()).unwrap();
    let warned: Vec<_> = told.lines().filter(|line| line.contains("budget_warning")).collect();
    assert_eq!(warned.len(), 2, "{told}");
    assert!(warned[0].contains("\"used\":30") && warned[1].contains("\"used\":50"), "{warned:?}");
}

/// Collects what is written.
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
