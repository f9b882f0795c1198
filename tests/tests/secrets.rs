//! The token is nowhere but in the header that carries it.
//!
//! A program of its own: what other tests do on other threads decides, too, which events are looked at.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::future::join_all;
use pipedrive_service::{Entity, ListQuery, WalkOptions};
use saas_sim::pipedrive::{FaultKind, Faults, SimConfig};
use stack_tests::{Weather, World, walk_all};
use tracing_subscriber::fmt::MakeWriter;

const TOKEN: &str = "very-secret-0123456789abcdef";

/// Everything that is logged.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl io::Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Paper {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn no_log_error_or_debug_shows_the_token() {
    let paper = Paper::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(paper.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let faults = Faults { rates: Faults::storm().rates, ..Faults::none() };
    let config = SimConfig {
        records: 2_000,
        api_token: TOKEN.to_owned(),
        faults,
        seats: 100,
        ..SimConfig::default()
    };
    let world = World::new(config, &[("account.seats", "100")]);
    let options = WalkOptions::new().limit(20);
    let mut shown = String::new();
    for walked in
        join_all(Entity::ALL.map(|entity| walk_all(world.client.clone(), entity, options.clone())))
            .await
    {
        for error in walked.failures {
            shown += &format!("{error} {error:?} {:?}", error.report());
        }
    }
    world.sim.set_api_token("another");
    for entity in [Entity::Deals, Entity::Notes] {
        let error =
            world.client.list(entity, ListQuery::new()).await.expect_err("the token is wrong now");
        shown += &format!("{error} {error:?} {:?}", error.report());
    }
    world.wire.set(Weather::Refused);
    for _ in 0..3 {
        let error =
            world.client.list(Entity::Deals, ListQuery::new()).await.expect_err("nobody listens");
        shown += &format!("{error} {error:?} {:?}", error.report());
    }
    let client = &world.client;
    shown += &format!(
        "{client:?} {:?} {:?} {:?}",
        client.config(),
        client.limiter().status(),
        client.circuit()
    );

    let logged = paper.text();
    assert!(world.sim.truth().fault(FaultKind::Error503) > 0);
    for name in ["tower_retry_classify", "tower_circuit", "pipedrive_service"] {
        assert!(logged.contains(name), "{name} has logged nothing, so this proves nothing");
    }
    for text in [&logged, &shown] {
        assert!(!text.contains(TOKEN), "the token is shown");
        assert!(!text.contains(&TOKEN[..12]), "a part of the token is shown");
    }
}
