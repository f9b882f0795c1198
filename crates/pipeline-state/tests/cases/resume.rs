use std::time::Duration;

use pipeline_state::{
    Cadence, Counts, KEPT_CHECKPOINTS, PipelineConfig, Resume, Resumed, StateError,
};

use crate::support::{Clock, Kit, PHASES, filled, quiet};

pub async fn checkpoints_come_by_count_and_by_time(kit: &impl Kit) {
    let clock = Clock::new();
    let config = PipelineConfig::builder().checkpoint_interval(10);
    let config = config.checkpoint_time(Duration::from_secs(60));
    let pipeline = kit.tracker(&clock, config).initialize("nightly", &PHASES).await.unwrap();
    let names: Vec<_> = (0..100).map(|item| item.to_string()).collect();
    pipeline.add("search", &names).await.unwrap();
    let mut made = Vec::new();
    for (count, seconds) in
        [(9, 0), (1, 0), (9, 59), (0, 0), (1, 0), (1, 59), (1, 1), (25, 0), (1, 59)]
    {
        clock.advance(Duration::from_secs(seconds));
        let mut updates = Vec::new();
        if count > 0 {
            let items = pipeline.claim("search", count).await.unwrap().items;
            updates.extend(items.iter().map(|item| item.completed()));
        }
        made.push(pipeline.update(&updates).await.unwrap().checkpoint);
    }
    let expected = [None, Some(1), None, None, Some(2), None, Some(3), Some(4), None];
    assert_eq!(made, expected);
    let labels: Vec<_> =
        pipeline.checkpoints().await.unwrap().into_iter().map(|info| info.label).collect();
    assert_eq!(labels, ["items", "items", "time", "items"]);
    // Items that are given back are not settled.
    let items = pipeline.claim("search", 20).await.unwrap().items;
    let released: Vec<_> = items.iter().map(|item| item.released()).collect();
    assert_eq!(pipeline.update(&released).await.unwrap().checkpoint, None);
    // Time alone makes none.
    let cadence = Cadence { items: 10, time: Duration::from_secs(60) };
    assert_eq!(cadence.due(0, Duration::from_secs(3_600)), None);
    let newest = pipeline.read_checkpoint(None).await.unwrap().unwrap();
    assert_eq!(newest.progress.whole().completed, 47);
    assert_eq!(pipeline.checkpoint("boundary", Some(b"cursor")).await.unwrap(), 5);
    let boundary = pipeline.read_checkpoint(Some(5)).await.unwrap().unwrap();
    assert_eq!((boundary.at, boundary.label.as_str()), (clock.now(), "boundary"));
    assert_eq!(boundary.payload.as_deref(), Some(&b"cursor"[..]));
    assert_eq!(boundary.progress, pipeline.progress().await.unwrap());
    assert!(pipeline.read_checkpoint(Some(99)).await.unwrap().is_none());
}

pub async fn old_checkpoints_go_but_for_the_last_payload(kit: &impl Kit) {
    let clock = Clock::new();
    let pipeline = filled(kit, &clock, 1).await;
    assert!(pipeline.read_checkpoint(None).await.unwrap().is_none());
    for seq in 1..=KEPT_CHECKPOINTS + 5 {
        let payload = [2, 3].contains(&seq).then(|| seq.to_string());
        let made = pipeline.checkpoint("page", payload.as_deref().map(str::as_bytes)).await;
        assert_eq!(made.unwrap(), seq);
    }
    let kept: Vec<_> = pipeline.checkpoints().await.unwrap().iter().map(|info| info.seq).collect();
    let mut expected = vec![3];
    expected.extend(6..=KEPT_CHECKPOINTS + 5);
    assert_eq!(kept, expected);
    let tracker = kit.tracker(&clock, quiet());
    let (_, resumed) = tracker.resume(pipeline.id(), &Resume::All).await.unwrap();
    assert_eq!(resumed.payload.as_deref(), Some(&b"3"[..]));
    assert_eq!(resumed.checkpoint.unwrap().seq, KEPT_CHECKPOINTS + 5);
    let gone = tracker.resume(pipeline.id(), &Resume::Checkpoint(4)).await.unwrap_err();
    assert!(matches!(gone, StateError::NoCheckpoint { seq: 4, .. }), "{gone:?}");
}

pub async fn a_corrupt_checkpoint_is_told_and_nothing_changes(kit: &impl Kit) {
    let clock = Clock::new();
    let tracker = kit.tracker(&clock, quiet());
    for (what, also) in [
        ("label = 'other'", ""),
        ("progress = '{\"phases\":[]}'", ""),
        ("progress = 'not json'", ""),
        ("made_at = made_at + 1", ""),
        ("made_at = 9223372036854775807", ""),
        ("payload = NULL", ""),
        (
            "payload = (SELECT payload FROM pipeline_checkpoints AS other WHERE other.seq = 1 AND other.pipeline = pipeline_checkpoints.pipeline)",
            "",
        ),
        ("checksum = payload", ""),
        ("progress = replace(progress, '\"completed\":1', '\"completed\":2')", ""),
    ] {
        let pipeline = filled(kit, &clock, 3).await;
        pipeline.checkpoint("first", Some(b"one")).await.unwrap();
        let items = pipeline.claim("search", 2).await.unwrap().items;
        pipeline
            .update_with_checkpoint(
                &[items[0].completed(), items[1].failed("net", "no")],
                "page",
                Some(b"cursor"),
            )
            .await
            .unwrap();
        let id = pipeline.id();
        kit.sql(&format!(
            "UPDATE pipeline_checkpoints SET {what} WHERE pipeline = {id} AND seq = 2 {also}"
        ))
        .await;
        let before = pipeline.progress().await.unwrap();
        for from in [Resume::FailedOnly, Resume::All, Resume::Checkpoint(2)] {
            let error = tracker.resume(id, &from).await.unwrap_err();
            assert!(
                matches!(error, StateError::CorruptCheckpoint { seq: 2, pipeline, .. } if pipeline == id),
                "{what}: {error:?}"
            );
            assert!(!error.is_transient());
        }
        assert_eq!(pipeline.progress().await.unwrap(), before, "{what}");
        let sound: Vec<_> =
            pipeline.checkpoints().await.unwrap().iter().map(|info| info.is_sound).collect();
        assert_eq!(sound, [true, false], "{what}");
        // The ways out that the error names.
        assert!(pipeline.forget_checkpoint(2).await.unwrap());
        assert!(!pipeline.forget_checkpoint(2).await.unwrap());
        let (_, resumed) = tracker.resume(id, &Resume::FailedOnly).await.unwrap();
        assert_eq!((resumed.reset, resumed.payload.as_deref()), (1, Some(&b"one"[..])));
    }
}

pub async fn the_failed_only_go_on_unless_all_are_asked_for(kit: &impl Kit) {
    let clock = Clock::new();
    let pipeline = filled(kit, &clock, 10).await;
    let items = pipeline.claim("search", 4).await.unwrap().items;
    let updates = [
        items[0].completed(),
        items[1].failed("net", "no"),
        items[2].skipped(),
        // The fourth is in work when the process dies.
    ];
    pipeline.update(&updates).await.unwrap();
    clock.advance(Duration::from_secs(300));
    let tracker = kit.tracker(&clock, quiet());
    let (pipeline, resumed) = tracker.resume(pipeline.id(), &Resume::FailedOnly).await.unwrap();
    let expected = Resumed {
        reset: 1,
        pending: 2,
        waiting: 6,
        processing: 0,
        recounted: vec![],
        checkpoint: None,
        payload: None,
    };
    assert_eq!(resumed, expected);
    let claim = pipeline.claim("search", 10).await.unwrap();
    let names: Vec<_> = claim.items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["1", "3"]);
    // Living workers keep what they hold, and go on.
    let (_, resumed) = tracker.resume(pipeline.id(), &Resume::FailedOnly).await.unwrap();
    assert_eq!((resumed.reset, resumed.pending, resumed.processing), (0, 0, 2));
    let done =
        [claim.items[0].completed().produces("domains", ["new"]), claim.items[1].completed()];
    assert_eq!(pipeline.update(&done).await.unwrap().applied, 2);
    let counts = pipeline.progress().await.unwrap().phase("search").unwrap();
    assert!(counts.is_finished() && counts.waiting == 6);
    assert_eq!(
        pipeline.claim("domains", 10).await.unwrap().items.len(),
        1,
        "what it produced is done"
    );
    let (pipeline, resumed) = tracker.resume(pipeline.id(), &Resume::All).await.unwrap();
    assert_eq!((resumed.reset, resumed.pending, resumed.waiting), (0, 6, 0));
    assert_eq!(pipeline.claim("search", 10).await.unwrap().items.len(), 6);
}

pub async fn a_pipeline_goes_back_to_a_checkpoint(kit: &impl Kit) {
    let clock = Clock::new();
    let pipeline = filled(kit, &clock, 8).await;
    let tracker = kit.tracker(&clock, quiet());
    let items = pipeline.claim("search", 6).await.unwrap().items;
    pipeline.update_with_checkpoint(&[items[0].completed()], "first", None).await.unwrap();
    let second = [items[1].completed().produces("domains", ["a"]), items[2].failed("net", "no")];
    pipeline.update_with_checkpoint(&second, "second", Some(b"2")).await.unwrap();
    let domain = pipeline.claim("domains", 1).await.unwrap().items;
    let third = [items[3].completed(), items[4].skipped(), domain[0].completed()];
    pipeline.update_with_checkpoint(&third, "third", None).await.unwrap();

    let (pipeline, resumed) = tracker.resume(pipeline.id(), &Resume::Checkpoint(2)).await.unwrap();
    assert_eq!(resumed.reset, 4, "three settled since, and one in work");
    assert_eq!(resumed.payload.as_deref(), Some(&b"2"[..]));
    let at = resumed.checkpoint.unwrap();
    assert_eq!((at.seq, at.label.as_str()), (2, "second"));
    let counts = pipeline.progress().await.unwrap();
    let search = Counts { pending: 5, completed: 2, failed: 1, ..Counts::default() };
    assert_eq!(counts.phase("search"), Some(search));
    assert_eq!(counts.phase("domains"), Some(Counts { pending: 1, ..Counts::default() }));
    // Who held something holds it no more; numbers are not given twice.
    assert_eq!(pipeline.update(&[items[5].completed()]).await.unwrap().stale, [items[5].id]);
    assert_eq!(pipeline.checkpoints().await.unwrap().len(), 2);
    assert_eq!(pipeline.checkpoint("fourth", None).await.unwrap(), 4);
    let (pipeline, resumed) = tracker.resume(pipeline.id(), &Resume::Checkpoint(1)).await.unwrap();
    assert_eq!(
        (resumed.reset, resumed.payload),
        (2, None),
        "what came later is nothing to go on with"
    );
    assert_eq!(pipeline.progress().await.unwrap().phase("search").unwrap().completed, 1);
    assert_eq!(pipeline.claim("search", 9).await.unwrap().items.len(), 7);
}

pub async fn a_pipeline_goes_on_from_the_start_of_a_phase(kit: &impl Kit) {
    let clock = Clock::new();
    let pipeline = filled(kit, &clock, 3).await;
    pipeline.add("domains", &["a", "b", "c"]).await.unwrap();
    pipeline.add("company", &["x"]).await.unwrap();
    let search = pipeline.claim("search", 2).await.unwrap().items;
    let domains = pipeline.claim("domains", 3).await.unwrap().items;
    let company = pipeline.claim("company", 1).await.unwrap().items;
    let done = [
        search[0].completed(),
        domains[0].completed(),
        domains[1].failed("net", "no"),
        company[0].skipped(),
    ];
    pipeline.update_with_checkpoint(&done, "page", Some(b"cursor")).await.unwrap();
    let tracker = kit.tracker(&clock, quiet());
    let from = Resume::Phase("domains".to_owned());
    let (pipeline, resumed) = tracker.resume(pipeline.id(), &from).await.unwrap();
    assert_eq!((resumed.reset, resumed.pending, resumed.processing), (4, 5, 1));
    assert_eq!((resumed.checkpoint, resumed.payload), (None, None));
    // What waited there waits no more, and was not done before.
    let (_, waits) = tracker.resume(pipeline.id(), &Resume::FailedOnly).await.unwrap();
    assert_eq!((waits.pending, waits.waiting), (4, 1), "those that were tried go on");
    let (_, again) =
        tracker.resume(pipeline.id(), &Resume::Phase("search".to_owned())).await.unwrap();
    assert_eq!((again.reset, again.pending, again.waiting), (2, 7, 0), "one done, one in work");
    let search = pipeline.claim("search", 2).await.unwrap().items;
    assert_eq!(pipeline.update(&[domains[2].completed()]).await.unwrap().stale.len(), 1);
    assert_eq!(pipeline.update(&[search[1].completed()]).await.unwrap().applied, 1);
    let nowhere = Resume::Phase("nowhere".to_owned());
    let error = tracker.resume(pipeline.id(), &nowhere).await.unwrap_err();
    assert!(matches!(error, StateError::NoPhase { .. }), "{error:?}");
}

pub async fn counts_that_do_not_fit_are_put_right(kit: &impl Kit) {
    let clock = Clock::new();
    let pipeline = filled(kit, &clock, 5).await;
    pipeline.add("company", &["a"]).await.unwrap();
    let right = pipeline.progress().await.unwrap();
    let id = pipeline.id();
    kit.sql(&format!(
        "UPDATE pipeline_phases SET pending = 7, completed = 1 WHERE pipeline = {id} AND name = 'search'"
    ))
    .await;
    let tracker = kit.tracker(&clock, quiet());
    let (_, resumed) = tracker.resume(id, &Resume::All).await.unwrap();
    assert_eq!(resumed.recounted, ["search"]);
    assert_eq!(pipeline.progress().await.unwrap(), right);
}

pub async fn the_configuration_says_what_is_resumed(kit: &impl Kit) {
    let clock = Clock::new();
    let (first, none) = kit.tracker(&clock, quiet()).start("nightly", &PHASES).await.unwrap();
    assert_eq!(none, None);
    first.add("search", &["a", "b"]).await.unwrap();
    let items = first.claim("search", 1).await.unwrap().items;
    first.update(&[items[0].failed("net", "no")]).await.unwrap();
    let again = quiet().resume_from_pipeline_id(Some(first.id()));
    let (same, resumed) =
        kit.tracker(&clock, again.clone()).start("nightly", &PHASES).await.unwrap();
    let resumed = resumed.unwrap();
    assert_eq!((same.id(), resumed.reset, resumed.waiting), (first.id(), 1, 1));
    let all = again.resume_failed_only(false);
    let (_, resumed) = kit.tracker(&clock, all).start("nightly", &PHASES).await.unwrap();
    assert_eq!(resumed.unwrap().pending, 2);
}
