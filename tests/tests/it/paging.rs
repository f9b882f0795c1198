//! Whole lists, page by page: nothing lost, nothing doubled, from wherever a walk begins.

use futures_util::StreamExt as _;
use pipedrive_service::{Entity, ErrorKind, Position, Row, RowId, WalkOptions};
use saas_sim::pipedrive::{FaultKind, Rule, SimConfig};
use stack_tests::{World, digest_of, sim_entity, walk_all};

fn ids(rows: &[Row]) -> Vec<RowId> {
    rows.iter().map(|row| row.id.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_entity_arrives_whole_for_every_page_size_and_prefetch() {
    let config = SimConfig { records: 600, seats: 100, ..SimConfig::default() };
    let world = World::new(config, &[("account.seats", "100")]);
    for (limit, prefetch) in [(500, 1), (7, 0), (13, 3), (100, 8)] {
        for entity in Entity::ALL {
            let options = WalkOptions::new().limit(limit).prefetch(prefetch);
            let walked = walk_all(world.client.clone(), entity, options).await;
            let expected = world.sim.digest(sim_entity(entity));
            assert_eq!(
                digest_of(&walked.rows),
                (expected.rows, expected.sha256),
                "{entity} by {limit}, {prefetch}"
            );
        }
    }
    assert_eq!(world.sim.truth().refusals.caused(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_walk_goes_on_from_any_position_that_a_page_named_even_when_it_was_written_down() {
    let world = World::new(SimConfig { records: 1_500, ..SimConfig::default() }, &[]);
    for entity in [Entity::Deals, Entity::Notes, Entity::Leads] {
        let options = WalkOptions::new().limit(25);
        let all = walk_all(world.client.clone(), entity, options.clone()).await.rows;
        let mut pages = Box::pin(world.client.walk(entity, options.clone()));
        let mut seen = 0;
        while let Some(page) = pages.next().await {
            let page = page.expect("a page");
            seen += page.rows.len();
            let Some(next) = page.next else { break };
            let next: Position = next.to_string().parse().expect("what was written can be read");
            let rest =
                walk_all(world.client.clone(), entity, options.clone().from(next)).await.rows;
            assert!(
                ids(&rest) == ids(&all[seen..]),
                "{entity} from row {seen} on: {} rows",
                rest.len()
            );
        }
        assert_eq!(seen, all.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_cursor_that_is_repeated_once_costs_one_request_and_nothing_else() {
    let rule = Rule { nth: Some(4), fault: Some(FaultKind::RepeatedCursor), ..Rule::default() };
    let world = World::with_rules(vec![rule], &[]);
    let options = WalkOptions::new().limit(10).prefetch(0);
    let walked = walk_all(world.client.clone(), Entity::Deals, options).await;
    assert_eq!(world.sim.truth().fault(FaultKind::RepeatedCursor), 1);
    let expected = world.sim.digest(sim_entity(Entity::Deals));
    assert_eq!(digest_of(&walked.rows), (expected.rows, expected.sha256));
    assert_eq!(world.wire.sent(), walked.pages + 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_on_repeating_its_cursor_ends_the_walk_with_an_error() {
    let rule = Rule { from: Some(3), fault: Some(FaultKind::RepeatedCursor), ..Rule::default() };
    let world = World::with_rules(vec![rule], &[]);
    let mut pages =
        Box::pin(world.client.walk(Entity::Deals, WalkOptions::new().limit(10).prefetch(0)));
    let mut good = 0;
    let error = loop {
        match pages.next().await.expect("an error, not the end of the list") {
            Ok(_) => good += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(*error.kind(), ErrorKind::Paging, "{error:?}");
    assert!(error.is_retryable(), "a new walk may find the server well again");
    assert!(good <= 3 && world.wire.sent() <= 5, "{good} pages, {} requests", world.wire.sent());
}

#[tokio::test(start_paused = true)]
async fn rows_that_come_and_go_during_a_walk_double_no_other_row() {
    let world = World::new(SimConfig { records: 1_500, ..SimConfig::default() }, &[]);
    let before = walk_all(world.client.clone(), Entity::Persons, WalkOptions::new()).await.rows;
    let mut pages =
        Box::pin(world.client.walk(Entity::Persons, WalkOptions::new().limit(20).prefetch(0)));
    let mut rows = Vec::new();
    let mut gone = Vec::new();
    while let Some(page) = pages.next().await {
        rows.extend(page.expect("a page").rows);
        let last = rows.last().expect("no page is empty");
        // One that was read and one that was not are deleted; one is added.
        let at = before.iter().position(|row| row.id == last.id).expect("ascending");
        let account = world.sim.account();
        for victim in
            [at.checked_sub(3), Some(at + 5)].into_iter().flatten().filter_map(|at| before.get(at))
        {
            if account
                .delete(sim_entity(Entity::Persons), &victim.id.to_string(), world.sim.now())
                .is_ok()
            {
                gone.push(victim.id.clone());
            }
        }
    }
    let (read, all) = (ids(&rows), ids(&before));
    let mut sorted = read.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(sorted.len(), read.len(), "a row came twice");
    for id in all.iter().filter(|id| !gone.contains(id)) {
        assert!(read.contains(id), "{id} was there all the time and is missing");
    }
}
