//! A storm of every transient fault: nothing lost, nothing doubled, hardly a call that fails for good.
//!
//! `STORM_SEED` chooses the faults and the account, `STORM_RECORDS` its size.

use futures_util::future::join_all;
use pipedrive_service::{Entity, WalkOptions};
use saas_sim::pipedrive::{FaultKind, Faults, SimConfig};
use stack_tests::{World, digest_of, say, seed, sim_entity, walk_all};

#[tokio::test(start_paused = true)]
async fn every_row_of_every_entity_comes_once_through_a_storm() {
    let seed_of_faults = seed("STORM_SEED", 1);
    let records = seed("STORM_RECORDS", 6_000);
    let faults = Faults { seed: seed_of_faults, ..Faults::storm() };
    let kinds: Vec<FaultKind> = faults.rates.keys().copied().collect();
    let config =
        SimConfig { seed: seed_of_faults, records, seats: 100, faults, ..SimConfig::default() };
    let world = World::new(config, &[("account.seats", "100")]);

    let options = WalkOptions::new().limit(20).prefetch(2);
    let walks = Entity::ALL.map(|entity| {
        let walk = tokio::spawn(walk_all(world.client.clone(), entity, options.clone()));
        async move { (entity, walk.await.expect("no panic")) }
    });
    let walks = join_all(walks).await;

    let (mut pages, mut failures) = (0, 0);
    for (entity, walked) in &walks {
        let expected = world.sim.digest(sim_entity(*entity));
        let (rows, sha256) = digest_of(&walked.rows);
        assert_eq!((rows, &sha256), (expected.rows, &expected.sha256), "{entity}");
        pages += walked.pages;
        failures += walked.failures.len() as u64;
    }
    let truth = world.sim.truth();
    let retries = world.client.retry_stats().snapshot();
    say(format_args!(
        "seed {seed_of_faults}: {pages} pages, {failures} failed finally, {} attempts, {:.1} % of them failed, {:?}\n{retries:?}",
        truth.asked,
        100.0 * truth.share_failed(),
        truth.faults,
    ));
    assert!(
        failures * 100 < pages + failures,
        "{failures} of {} logical requests failed",
        pages + failures
    );
    assert!(
        truth.share_failed() >= 0.10,
        "a storm fails at least a tenth: {}",
        truth.share_failed()
    );
    for kind in kinds {
        assert!(truth.fault(kind) > 0, "{} never occurred", kind.name());
    }
    assert_eq!(truth.refusals.caused(), 0, "{:?}", truth.refusals);
    assert_eq!(truth.refusals.edge, 0);
    assert!(retries.recovered() > pages / 20, "{retries:?}");
}
