use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use pipeline_state::{
    Added, Counts, MAX_BATCH, MAX_NAME, MAX_PAYLOAD, MAX_PHASES, PipelineId, StateError,
};
use tokio::task::{consume_budget, coop::has_budget_remaining};

use crate::support::{Clock, Kit, PHASES, filled, quiet};

pub async fn items_go_from_phase_to_phase_and_are_counted(kit: &impl Kit) {
    let pipeline = filled(kit, &Clock::new(), 5).await;
    let claim = pipeline.claim("search", 4).await.unwrap();
    let held = Counts { pending: 1, processing: 4, ..Counts::default() };
    assert_eq!(pipeline.progress().await.unwrap().phase("search"), Some(held));
    let [a, b, c, d] = &claim.items[..] else { panic!("{claim:?}") };
    let settled = pipeline
        .update(&[
            a.completed().produces("domains", ["x.org", "y.org"]),
            b.completed().produces("domains", ["y.org", "z.org"]).produces("company", ["Z"]),
            c.skipped(),
            d.failed("rate_limit", "429"),
        ])
        .await
        .unwrap();
    assert_eq!((settled.applied, settled.produced, settled.checkpoint), (4, 4, None));
    assert!(settled.stale.is_empty());
    let progress = pipeline.progress().await.unwrap();
    let search = Counts { pending: 1, completed: 2, skipped: 1, failed: 1, ..Counts::default() };
    let pending = |pending| Counts { pending, ..Counts::default() };
    let counts: Vec<_> = progress.phases.iter().map(|phase| phase.counts).collect();
    assert_eq!(counts, [search, pending(3), pending(1)]);
    assert_eq!(progress.whole().total(), 9);
    assert_eq!(progress.phases.iter().map(|phase| &phase.phase).collect::<Vec<_>>(), PHASES);
    let next = pipeline.claim("domains", 10).await.unwrap().items;
    let mut names: Vec<_> = next.iter().map(|item| item.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["x.org", "y.org", "z.org"]);
    assert!(next.iter().all(|item| item.attempt == 1));
}

pub async fn adding_again_adds_nothing(kit: &impl Kit) {
    let pipeline = filled(kit, &Clock::new(), 3).await;
    let added = pipeline.add("search", &["2", "3", "3"]).await.unwrap();
    assert_eq!(added, Added { added: 1, known: 2 });
    // Another phase and another pipeline have items of their own.
    assert_eq!(pipeline.add("domains", &["2"]).await.unwrap().added, 1);
    let other = filled(kit, &Clock::new(), 3).await;
    assert_eq!(other.progress().await.unwrap().whole().pending, 3);
    assert_eq!(pipeline.progress().await.unwrap().whole().pending, 5);
    assert_eq!(pipeline.add::<&str>("search", &[]).await.unwrap(), Added::default());
}

pub async fn the_oldest_come_first_and_no_more_than_were_asked_for(kit: &impl Kit) {
    let pipeline = filled(kit, &Clock::new(), 25).await;
    for (limit, expected) in [(10, 0..10), (10, 10..20), (10, 20..25)] {
        let claim = pipeline.claim("search", limit).await.unwrap();
        let names: Vec<usize> = claim.items.iter().map(|item| item.name.parse().unwrap()).collect();
        assert_eq!(names, expected.collect::<Vec<_>>());
    }
    assert!(pipeline.claim("search", 10).await.unwrap().items.is_empty());
}

pub async fn any_name_within_the_bound_comes_back_as_it_was(kit: &impl Kit) {
    let pipeline = filled(kit, &Clock::new(), 0).await;
    let names = [
        "'; DROP TABLE pipeline_state; --".to_owned(),
        "\"quoted\" \\ {braces, and} [brackets]".to_owned(),
        "$1 ?1 % _ NULL".to_owned(),
        "\u{1} \t \r\n \u{7f} \u{85} \u{2028}".to_owned(),
        "Zürich 東京 🦀 \u{301}".to_owned(),
        " leading and trailing ".to_owned(),
        // As PostgreSQL indexes a name, it must not be too long even where it cannot be compressed.
        std::iter::repeat_with(fastrand::alphanumeric).take(MAX_NAME).collect(),
        "🦀".repeat(MAX_NAME / 4),
        "12".to_owned(),
    ];
    pipeline.add("search", &names).await.unwrap();
    let claim = pipeline.claim("search", 100).await.unwrap();
    let got: Vec<_> = claim.items.iter().map(|item| item.name.clone()).collect();
    assert_eq!(got, names);
    let category = "'\"\\🦀 [null]";
    let failures: Vec<_> = claim
        .items
        .iter()
        .map(|item| {
            item.failed(category, format!("{}\0", item.name)).produces("domains", names.clone())
        })
        .collect();
    assert_eq!(pipeline.update(&failures).await.unwrap().produced, names.len() as u64);
    for failed in pipeline.failed(None, None, 100).await.unwrap() {
        assert_eq!(failed.failure.category, category);
        assert_eq!(failed.failure.message, format!("{}\u{fffd}", failed.name));
    }
}

fn problems(error: StateError) -> Vec<String> {
    match error {
        StateError::Input { problems } => problems,
        error => panic!("{error:?}"),
    }
}

pub async fn everything_wrong_with_what_is_given_is_told_at_once(kit: &impl Kit) {
    let clock = Clock::new();
    let tracker = kit.tracker(&clock, quiet());
    let phases = vec!["same"; MAX_PHASES + 1];
    let told = problems(tracker.initialize("", &phases).await.unwrap_err());
    assert!(told.len() > 2, "{told:?}");
    assert_eq!(problems(tracker.initialize("a", &[]).await.unwrap_err()).len(), 1);
    assert_eq!(problems(tracker.initialize("a\0", &["\0"]).await.unwrap_err()).len(), 2);
    let nobody = tracker.clone().worker("").initialize("a", &["a"]).await.unwrap_err();
    assert_eq!(problems(nobody).len(), 1);

    let pipeline = filled(kit, &clock, 2).await;
    let long = "x".repeat(MAX_NAME + 1);
    let told = problems(pipeline.add("search", &["fine", "", "a\0", &long]).await.unwrap_err());
    assert_eq!(told.len(), 3, "{told:?}");
    assert_eq!(problems(pipeline.claim("search", 0).await.unwrap_err()).len(), 1);
    assert_eq!(problems(pipeline.claim("search", MAX_BATCH + 1).await.unwrap_err()).len(), 1);
    assert_eq!(problems(pipeline.failed(None, None, MAX_BATCH + 1).await.unwrap_err()).len(), 1);

    let other = filled(kit, &clock, 1).await;
    let foreign = other.claim("search", 1).await.unwrap().items.remove(0);
    let ours = pipeline.claim("search", 2).await.unwrap().items;
    let updates = [
        foreign.completed(),
        ours[0].failed("", "no category"),
        ours[1].completed().produces("domains", ["fine", ""]),
    ];
    let payload = vec![0; MAX_PAYLOAD + 1];
    let told = pipeline.update_with_checkpoint(&updates, "", Some(&payload)).await.unwrap_err();
    let told = problems(told);
    assert_eq!(told.len(), 5, "{told:?}");
    let many = ours[0].completed().produces("domains", (0..=MAX_BATCH).map(|n| n.to_string()));
    assert_eq!(problems(pipeline.update(&[many]).await.unwrap_err()).len(), 1);
    let too_many = vec![ours[0].completed(); MAX_BATCH + 1];
    assert_eq!(problems(pipeline.update(&too_many).await.unwrap_err()).len(), 1);
    assert_eq!(pipeline.progress().await.unwrap().whole().processing, 2, "nothing was written");
}

pub async fn what_is_not_there_is_named(kit: &impl Kit) {
    let clock = Clock::new();
    let tracker = kit.tracker(&clock, quiet());
    let nobody = PipelineId::from(i64::MAX);
    let missing = |error| assert!(matches!(error, StateError::NoPipeline(id) if id == nobody));
    missing(tracker.join(nobody).await.unwrap_err());
    missing(tracker.resume(nobody, &Default::default()).await.unwrap_err());
    missing(tracker.remove(nobody).await.unwrap_err());
    let pipeline = filled(kit, &clock, 1).await;
    let next = PipelineId::from(pipeline.id().get() + 1);
    assert!(matches!(tracker.join(next).await, Err(StateError::NoPipeline(id)) if id == next));
    let told = [
        pipeline.add("nowhere", &["a"]).await.unwrap_err(),
        pipeline.claim("nowhere", 1).await.unwrap_err(),
        pipeline.reset_failed(Some("nowhere"), None).await.unwrap_err(),
        pipeline.failed(Some("nowhere"), None, 1).await.unwrap_err(),
    ];
    for error in told {
        assert!(
            matches!(&error, StateError::NoPhase { phase, .. } if phase == "nowhere"),
            "{error:?}"
        );
    }
    let info = tracker.join(pipeline.id()).await.unwrap().info().await.unwrap();
    assert_eq!((info.name.as_str(), info.created_at), ("nightly", clock.now()));
    assert_eq!(info.phases, PHASES);
    assert_eq!(tracker.pipelines(None, 1).await.unwrap(), [info]);
    let older = tracker.pipelines(Some(pipeline.id()), 10).await.unwrap();
    assert!(older.iter().all(|older| older.id < pipeline.id()));
}

pub async fn a_batch_that_fails_leaves_nothing_behind(kit: &impl Kit) {
    let pipeline = filled(kit, &Clock::new(), 2).await;
    let items = pipeline.claim("search", 2).await.unwrap().items;
    let before = pipeline.progress().await.unwrap();
    let updates = [
        items[0].completed().produces("domains", ["a"]),
        items[1].completed().produces("nowhere", ["b"]),
    ];
    let error = pipeline.update_with_checkpoint(&updates, "page", None).await.unwrap_err();
    assert!(matches!(error, StateError::NoPhase { .. }), "{error:?}");
    assert_eq!(pipeline.progress().await.unwrap(), before);
    assert!(pipeline.checkpoints().await.unwrap().is_empty());
    let twice = [updates[0].clone(), items[0].skipped()];
    let settled = pipeline.update(&twice).await.unwrap();
    assert_eq!((settled.applied, settled.stale), (1, vec![items[0].id]), "the first counts");
    assert_eq!(pipeline.progress().await.unwrap().phase("search").unwrap().completed, 1);
}

pub async fn a_call_that_is_dropped_is_there_whole_or_not_at_all(kit: &impl Kit) {
    let pipeline = filled(kit, &Clock::new(), 30).await;
    let (mut whole, mut nothing) = (0, 0);
    for polls in 1..=15 {
        let items = pipeline.claim("search", 2).await.unwrap().items;
        let updates = [
            items[0].completed().produces("domains", [format!("a{polls}"), format!("b{polls}")]),
            items[1].completed(),
        ];
        let before = pipeline.progress().await.unwrap();
        {
            let mut update = pin!(pipeline.update_with_checkpoint(&updates, "page", None));
            let mut left = polls;
            poll_fn(|cx| {
                // A server that answers while it is being asked would be through at the first poll.
                while polls == 1 && has_budget_remaining() {
                    let _ = pin!(consume_budget()).poll(cx);
                }
                left -= 1;
                if update.as_mut().poll(cx).is_ready() || left == 0 {
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
        }
        let after = pipeline.progress().await.unwrap();
        let completed = after.whole().completed - before.whole().completed;
        let produced =
            after.phase("domains").unwrap().total() - before.phase("domains").unwrap().total();
        match (completed, produced) {
            (2, 2) => whole += 1,
            (0, 0) => nothing += 1,
            half => panic!("{half:?} after {polls} polls"),
        }
        let again = pipeline.update(&updates).await.unwrap();
        assert_eq!(again.applied + completed, 2);
    }
    assert!(nothing > 0 && whole + nothing == 15);
    assert_eq!(pipeline.progress().await.unwrap().phase("domains").unwrap().total(), 30);
}

pub async fn a_pipeline_that_is_removed_leaves_others_alone(kit: &impl Kit) {
    let clock = Clock::new();
    let (gone, stays) = (filled(kit, &clock, 5).await, filled(kit, &clock, 5).await);
    let mut leases = Vec::new();
    for pipeline in [&gone, &stays] {
        leases.push(pipeline.claim("search", 2).await.unwrap().lease.unwrap());
        pipeline.checkpoint("page", None).await.unwrap();
    }
    let before = stays.progress().await.unwrap();
    kit.tracker(&clock, quiet()).remove(gone.id()).await.unwrap();
    assert!(matches!(gone.progress().await.unwrap_err(), StateError::NoPipeline(_)));
    assert!(matches!(gone.claim("search", 1).await.unwrap_err(), StateError::NoPipeline(_)));
    assert_eq!(stays.progress().await.unwrap(), before);
    assert_eq!(stays.checkpoints().await.unwrap().len(), 1);
    stays.renew(leases[1]).await.unwrap();
    // Nothing of it is left behind.
    for (table, column) in [
        ("pipeline_phases", "pipeline"),
        ("pipeline_checkpoints", "pipeline"),
        ("pipeline_leases", "pipeline"),
    ] {
        let sql = format!("SELECT count(*) FROM {table} WHERE {column} = {}", gone.id());
        assert_eq!(kit.number(&sql).await, 0, "{table}");
    }
    let orphans =
        "SELECT count(*) FROM pipeline_state WHERE phase NOT IN (SELECT id FROM pipeline_phases)";
    assert_eq!(kit.number(orphans).await, 0);
}

pub async fn failures_are_listed_in_pages_and_counted_by_category(kit: &impl Kit) {
    let clock = Clock::new();
    let pipeline = filled(kit, &clock, 7).await;
    pipeline.add("company", &["acme"]).await.unwrap();
    let mut items = pipeline.claim("search", 7).await.unwrap().items;
    items.extend(pipeline.claim("company", 1).await.unwrap().items);
    clock.advance(Duration::from_secs(1));
    let categories = ["net", "net", "auth", "net", "auth", "bad", "net", "bad"];
    let updates: Vec<_> =
        items.iter().zip(categories).map(|(item, category)| item.failed(category, "no")).collect();
    pipeline.update(&updates).await.unwrap();
    let counted = pipeline.failures().await.unwrap();
    let expected =
        [("net", 4), ("auth", 2), ("bad", 2)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(counted, expected);
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = pipeline.failed(None, after, 3).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        assert!(page.len() <= 3 && page.iter().all(|item| item.at == clock.now()));
        seen.extend(page);
    }
    assert_eq!(seen.len(), 8);
    assert!(seen.iter().zip(categories).all(|(item, category)| item.failure.category == category));
    assert_eq!(pipeline.failed(Some("company"), None, 9).await.unwrap()[0].name, "acme");
}

pub async fn failed_items_are_reset_by_phase_and_category(kit: &impl Kit) {
    let pipeline = filled(kit, &Clock::new(), 4).await;
    pipeline.add("company", &["acme"]).await.unwrap();
    let mut items = pipeline.claim("search", 4).await.unwrap().items;
    items.extend(pipeline.claim("company", 1).await.unwrap().items);
    let categories = ["net", "auth", "net", "auth", "net"];
    let fail = || items.iter().zip(categories).map(|(item, category)| item.failed(category, "no"));
    pipeline.update(&fail().collect::<Vec<_>>()).await.unwrap();
    assert_eq!(pipeline.reset_failed(None, Some("nobody's")).await.unwrap(), 0);
    assert_eq!(pipeline.reset_failed(Some("search"), Some("net")).await.unwrap(), 2);
    assert_eq!(pipeline.reset_failed(None, Some("net")).await.unwrap(), 1);
    assert_eq!(pipeline.reset_failed(Some("company"), None).await.unwrap(), 0);
    assert_eq!(pipeline.reset_failed(None, None).await.unwrap(), 2);
    assert_eq!(pipeline.progress().await.unwrap().whole().pending, 5);
    assert!(pipeline.failed(None, None, 10).await.unwrap().is_empty());
    // What went wrong once is not said of what is tried again.
    let told = "SELECT count(*) FROM pipeline_state WHERE state = 0 AND category IS NOT NULL";
    assert_eq!(kit.number(told).await, 0);
    let again = pipeline.claim("search", 9).await.unwrap().items;
    assert!(again.iter().all(|item| item.attempt == 2), "{again:?}");
}

/// Thousands of steps by several workers, beside a model that is as simple as can be.
pub async fn any_course_of_events_is_counted_right(kit: &impl Kit) {
    for seed in 0..4 {
        crate::support::model::run(kit, seed, 150).await;
    }
}
