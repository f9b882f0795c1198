//! What every database promises, SQLite or PostgreSQL.

use futures_util::TryStreamExt as _;
use pipedrive_sync::store::{
    FailedWalk, Finish, Id, Mode, PageWrite, Reader, RejectWrite, RowWrite, Settled, Store,
    StoreError, WalkState, Written, note_spent, reset_circuits,
};

use crate::common::kit::Kit;

pub fn walk(entity: &str, mode: Mode, run: i64) -> WalkState {
    WalkState::begun(entity, entity, mode, "2026-03-01T00:00:00Z", run)
}

pub fn row(id: i64, time: &'static str) -> RowWrite<'static> {
    RowWrite { id: Id::Number(id), update_time: Some(time), data: r#"{"add_time":"then"}"# }
}

pub fn page<'a>(
    state: &'a WalkState,
    rows: &'a [RowWrite<'a>],
    position: Option<&str>,
) -> PageWrite<'a> {
    PageWrite {
        rows,
        position: position.map(Into::into),
        page_size: Some(500),
        finish: position
            .is_none()
            .then_some(Finish { high_water: Some("2026-01-01T00:00:00Z".into()) }),
        ..PageWrite::of(state)
    }
}

fn removed(written: &[Written]) -> Vec<u64> {
    written.iter().map(|written| written.removed).collect()
}

pub async fn a_second_writer_is_refused_until_the_first_has_gone(kit: &Kit) {
    let place = kit.place();
    let database = place.database.clone();
    let first = Store::open(&database).await.unwrap();
    let error = Store::open(&database).await.unwrap_err();
    assert!(
        matches!(error, StoreError::Locked { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    drop(first);
    Store::open(&database).await.unwrap();
}

pub async fn a_page_is_there_with_its_cursor_or_neither_is(kit: &Kit) {
    let place = kit.place();
    let database = place.database.clone();
    let mut store = Store::open(&database).await.unwrap();
    let run = store.begin_run("sync").await.unwrap();
    let state = walk("deals", Mode::Full, run);
    store.begin_walks([&state]).await.unwrap();
    store.lease("2026-03-01", 500, Some(1000)).await.unwrap();
    store.commit(&[page(&state, &[row(1, "a"), row(2, "a")], Some("\"p1\""))], None).await.unwrap();

    // Row 4 cannot be written: rows 3 and 4, the cursor and what was spent must all stay behind.
    place.fail("INSERT", "deals", "NEW.id = 4").await;
    let settled = Settled { day: "2026-03-01".into(), used: 77, leased: Some(99), limit: 1000 };
    // So must a walk that begins with the page.
    let users = walk("users", Mode::Full, run);
    let rows = [row(3, "a"), row(4, "a")];
    let write = PageWrite { begun: &[&users], ..page(&state, &rows, Some("\"p2\"")) };
    let failed = store.commit(&[write], Some(&settled)).await;
    assert!(failed.unwrap_err().to_string().contains("boom"));
    let walks = store.walks().await.unwrap();
    assert_eq!(walks.len(), 1);
    assert_eq!(walks[0].position.as_deref(), Some("\"p1\""));
    assert_eq!((walks[0].pages, walks[0].rows), (1, 2));
    assert_eq!(store.counts().await.unwrap()["deals"], (2, 0));
    let budget = store.budget("2026-03-01").await.unwrap().unwrap();
    assert_eq!((budget.leased, budget.settled), (500, 0));

    // And the other way round: the cursor cannot be written, so the rows must not be there either.
    place.fail_no_more("deals").await;
    let write = PageWrite { begun: &[&users], ..page(&state, &[], Some("\"p1\"")) };
    store.commit(&[write], None).await.unwrap();
    assert!(store.walks().await.unwrap().contains(&users));
    place.fail("UPDATE", "sync_state", "true").await;
    store.commit(&[page(&state, &[row(3, "a")], Some("\"p2\""))], None).await.unwrap_err();
    assert_eq!(store.counts().await.unwrap()["deals"], (2, 0));
}

pub async fn the_end_of_a_full_walk_removes_what_was_not_seen(kit: &Kit) {
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    let first = store.begin_run("sync").await.unwrap();
    let state = walk("persons", Mode::Full, first);
    store.begin_walks([&state]).await.unwrap();
    store
        .commit(&[page(&state, &[row(1, "a"), row(2, "a"), row(3, "a")], None)], None)
        .await
        .unwrap();
    assert!(store.walks().await.unwrap()[0].done_at.is_some());

    let state = walk("persons", Mode::Full, store.begin_run("sync").await.unwrap());
    store.begin_walks([&state]).await.unwrap();
    assert_eq!(
        removed(&store.commit(&[page(&state, &[row(1, "a")], Some("\"p\""))], None).await.unwrap()),
        [0]
    );
    assert_eq!(store.counts().await.unwrap()["persons"], (3, 0), "nothing is removed half way");
    let written = store.commit(&[page(&state, &[row(2, "a")], None)], None).await.unwrap();
    assert_eq!(removed(&written), [1]);
    assert_eq!(store.counts().await.unwrap()["persons"], (2, 0));

    let state = walk("persons", Mode::Incremental, store.begin_run("sync").await.unwrap());
    store.begin_walks([&state]).await.unwrap();
    assert_eq!(removed(&store.commit(&[page(&state, &[], None)], None).await.unwrap()), [0]);
    assert_eq!(
        store.counts().await.unwrap()["persons"],
        (2, 0),
        "an incremental walk removes nothing"
    );
}

pub async fn a_row_that_is_held_as_it_came_is_not_written_again_and_outlives_the_walk(kit: &Kit) {
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    let text = |id| RowWrite { id: Id::Text(id), ..row(0, "a") };
    let all = [row(1, "a"), row(2, "a"), row(3, "a"), text("x"), text("y\0"), row(i64::MAX, "a")];
    let first = walk("leads", Mode::Full, store.begin_run("sync").await.unwrap());
    store.begin_walks([&first]).await.unwrap();
    let written = store.commit(&[page(&first, &all, None)], None).await.unwrap();
    assert_eq!(written, [Written::default()]);
    let whole = &place.texts("SELECT run FROM leads").await[0].clone();

    // Cut short between its two pages, and taken up again. Row 2 has another state, row 3 is gone.
    let second = walk("leads", Mode::Full, store.begin_run("sync").await.unwrap());
    store.begin_walks([&second]).await.unwrap();
    let changed = RowWrite { data: r#"{"add_time":"now"}"#, ..row(2, "a") };
    let (one, two) = ([row(1, "a"), changed], [text("x"), text("y\0"), row(i64::MAX, "a")]);
    let written = store.commit(&[page(&second, &one, Some("1"))], None).await.unwrap();
    assert_eq!(written, [Written { unchanged: 1, removed: 0 }]);
    drop(store);
    let mut store = Store::open(&place.database).await.unwrap();
    let written = store.commit(&[page(&second, &two, None)], None).await.unwrap();
    assert_eq!(written, [Written { unchanged: 3, removed: 1 }]);
    let runs = place.texts("SELECT run FROM leads ORDER BY run").await;
    assert_eq!(runs.iter().filter(|run| *run == whole).count(), 4, "they bear the old number");
    assert_eq!(runs.len(), 5);
    assert_eq!(place.texts("SELECT count(*) FROM seen").await, ["0"], "and nothing is left");

    // A walk that is begun anew knows nothing of what the one before has seen.
    for last in [Some("1"), None] {
        let state = walk("leads", Mode::Full, store.begin_run("sync").await.unwrap());
        store.begin_walks([&state]).await.unwrap();
        let rows = if last.is_some() { &two[..] } else { &one };
        store.commit(&[page(&state, rows, last)], None).await.unwrap();
    }
    assert_eq!(store.counts().await.unwrap()["leads"], (2, 0));

    // Of what has changed, the same; and a mark or a time that differs is a difference.
    let state = walk("leads", Mode::Incremental, store.begin_run("sync").await.unwrap());
    store.begin_walks([&state]).await.unwrap();
    let later = [RowWrite { update_time: Some("b"), ..row(1, "a") }, changed];
    let written = store.commit(&[page(&state, &later, Some("1"))], None).await.unwrap();
    assert_eq!(written[0].unchanged, 1);
    let deleted = PageWrite { deleted: true, ..page(&state, &later, Some("2")) };
    assert_eq!(store.commit(&[deleted], None).await.unwrap()[0].unchanged, 0);
    assert_eq!(place.texts("SELECT count(*) FROM seen").await, ["0"]);
}

pub async fn a_deal_has_one_home_and_of_whole_lists_its_newer_state_stays(kit: &Kit) {
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    let run = store.begin_run("sync").await.unwrap();
    let (deals, archived) =
        (walk("deals", Mode::Full, run), walk("archived_deals", Mode::Full, run));
    store.begin_walks([&deals, &archived]).await.unwrap();
    store.commit(&[page(&deals, &[row(1, "a"), row(2, "c")], Some("1"))], None).await.unwrap();
    // Deal 1 was archived after it was read; of deal 2 an older state comes late.
    store.commit(&[page(&archived, &[row(1, "b"), row(2, "b")], Some("1"))], None).await.unwrap();
    let counts = store.counts().await.unwrap();
    assert_eq!((counts["deals"], counts["archived_deals"]), ((1, 0), (1, 0)));
}

pub async fn of_what_has_changed_the_last_word_is_true_even_if_its_time_is_older(kit: &Kit) {
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    let run = store.begin_run("sync").await.unwrap();
    let (deals, archived) =
        (walk("deals", Mode::Incremental, run), walk("archived_deals", Mode::Incremental, run));
    store.begin_walks([&deals, &archived]).await.unwrap();
    store.commit(&[page(&deals, &[row(1, "c"), row(2, "c")], Some("1"))], None).await.unwrap();
    // Deal 1 was archived with a time that came late.
    store.commit(&[page(&archived, &[row(1, "b")], Some("1"))], None).await.unwrap();
    let counts = store.counts().await.unwrap();
    assert_eq!((counts["deals"], counts["archived_deals"]), ((1, 0), (1, 0)));
    let late = RowWrite { data: r#"{"add_time":"late"}"#, ..row(2, "b") };
    store.commit(&[page(&deals, &[late], Some("2"))], None).await.unwrap();
    let mut reader = Reader::open(&place.database).await.unwrap();
    assert_eq!(reader.sample("deals", 1).await.unwrap()[0].1, late.data);
    // Deleted, and back again, in the same second.
    let rows = [row(2, "b")];
    let gone = PageWrite { deleted: true, ..page(&deals, &rows, Some("3")) };
    store.commit(&[gone], None).await.unwrap();
    assert_eq!(store.counts().await.unwrap()["deals"], (0, 1));
    store.commit(&[page(&deals, &rows, Some("4"))], None).await.unwrap();
    assert_eq!(store.counts().await.unwrap()["deals"], (1, 0));
}

pub async fn a_row_that_cannot_be_used_is_kept_with_its_page_and_forgotten_when_it_is_healed(
    kit: &Kit,
) {
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    let first = walk("leads", Mode::Full, store.begin_run("sync").await.unwrap());
    store.begin_walks([&first]).await.unwrap();
    let text = |id| RowWrite { id: Id::Text(id), ..row(0, "a") };
    let rows = [row(1, "a"), text("x"), row(2, "a")];
    store.commit(&[page(&first, &rows, None)], None).await.unwrap();
    let second = walk("leads", Mode::Full, store.begin_run("sync").await.unwrap());
    store.begin_walks([&second]).await.unwrap();
    let bad = |id: Option<Id<'static>>, item: &str| RejectWrite {
        item: item.into(),
        id,
        position: "offset:10".into(),
        place: 3,
        reason: "wrong_update_time",
        raw: b"{\"\xff\0",
    };
    let rejected = [bad(Some(Id::Number(1)), "1"), bad(Some(Id::Text("x")), "x"), bad(None, "#7")];
    let write = PageWrite { rejected: &rejected, ..page(&second, &[], None) };
    store.commit(&[write], None).await.unwrap();
    // Rows 1 and x are known to be there still.
    assert_eq!(store.counts().await.unwrap()["leads"], (2, 0));
    assert_eq!(store.swept().await.unwrap().len(), 1);
    let mut reader = Reader::open(&place.database).await.unwrap();
    let kept = reader.quarantine().await.unwrap();
    let items: Vec<_> = kept.iter().map(|row| row.item.as_str()).collect();
    assert_eq!(items, ["#7", "1", "x"]);
    assert_eq!((kept[1].row_id.as_deref(), kept[1].place, kept[1].raw_bytes), (Some("1"), 3, 4));
    assert!(kept[1].raw.starts_with("{\"\\xff") && kept[1].run == second.run, "{:?}", kept[1]);

    let healed = ["1".to_owned()];
    let rows = [row(1, "a")];
    let write = PageWrite { healed: &healed, ..page(&second, &rows, Some("1")) };
    store.commit(&[write], None).await.unwrap();
    store.forget_quarantined("leads", "x", Id::Text("x")).await.unwrap();
    assert_eq!(store.quarantined().await.unwrap()["leads"].len(), 1);
    assert_eq!(store.counts().await.unwrap()["leads"], (1, 0));
    // Recents say of rows that they are gone, whatever they are called.
    let gone = [("leads", Id::Number(1)), ("leads", Id::Text("y")), ("persons", Id::Number(9))];
    let write = PageWrite { gone: &gone, ..page(&second, &[], Some("2")) };
    assert_eq!(removed(&store.commit(&[write], None).await.unwrap()), [1]);
    assert_eq!(store.counts().await.unwrap()["leads"], (0, 1));
}

pub async fn a_row_that_is_healed_while_a_full_walk_is_parked_outlives_its_end(kit: &Kit) {
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    let state = walk("persons", Mode::Full, store.begin_run("sync").await.unwrap());
    store.begin_walks([&state]).await.unwrap();
    let rejected = [RejectWrite {
        item: "2".into(),
        id: Some(Id::Number(2)),
        position: "start".into(),
        place: 1,
        reason: "wrong_id",
        raw: b"{}",
    }];
    let rows = [row(1, "a"), row(9, "a")];
    let first = PageWrite { rejected: &rejected, ..page(&state, &rows, Some("1")) };
    store.commit(&[first], None).await.unwrap();

    let retry = store.begin_run("retry-failed").await.unwrap();
    let state_of_retry =
        WalkState::begun("persons:retry", "persons", Mode::Incremental, "2026-03-01", retry);
    let healed = ["2".to_owned()];
    let rows = [row(2, "a")];
    let one = PageWrite { rows: &rows, healed: &healed, ..PageWrite::of(&state_of_retry) };
    store.commit(&[one], None).await.unwrap();

    let state = store.walks().await.unwrap().into_iter().find(|w| w.walk == "persons").unwrap();
    store.begin_run("sync").await.unwrap();
    let rows = [row(3, "a")];
    assert_eq!(removed(&store.commit(&[page(&state, &rows, None)], None).await.unwrap()), [0]);
    assert_eq!(place.texts("SELECT id FROM persons ORDER BY id").await, ["1", "2", "3", "9"]);
    // The next whole list is asked anew.
    let state = walk("persons", Mode::Full, store.begin_run("sync").await.unwrap());
    store.begin_walks([&state]).await.unwrap();
    let all = [row(1, "a"), row(3, "a"), row(9, "a")];
    assert_eq!(removed(&store.commit(&[page(&state, &all, None)], None).await.unwrap()), [1]);
}

pub async fn what_a_run_was_asked_to_do_is_written_down(kit: &Kit) {
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    let run = store.begin_run("sync").await.unwrap();
    store.note_options(run, r#"{"entities":["deals"]}"#).await.unwrap();
    store.end_run(run, 0, "complete", r#"{"deals":{"rows":7}}"#).await.unwrap();
    store.begin_run("verify").await.unwrap();
    let mut reader = Reader::open(&place.database).await.unwrap();
    let records = reader.run_records(10).await.unwrap();
    assert_eq!((records[0].run.command.as_str(), &records[0].options), ("verify", &None));
    assert_eq!(records[1].options.as_ref().unwrap()["entities"][0], "deals");
    assert_eq!(records[1].walks.as_ref().unwrap()["deals"]["rows"], 7);
    let failed = FailedWalk {
        walk: "persons".into(),
        entity: "persons".into(),
        category: "server".into(),
        reason: "it failed".into(),
        at: "2026-03-01T00:00:00Z".into(),
        run,
    };
    store.note_failed_walk(&failed).await.unwrap();
    assert_eq!(reader.failed_walks().await.unwrap(), [failed]);
    // A complete walk of that name is the end of it.
    let state = walk("persons", Mode::Incremental, run);
    store.begin_walks([&state]).await.unwrap();
    store.commit(&[page(&state, &[], None)], None).await.unwrap();
    assert_eq!(reader.failed_walks().await.unwrap(), []);
}

pub async fn a_lease_is_there_for_others_to_read_once_it_was_written(kit: &Kit) {
    let place = kit.place();
    let database = place.database.clone();
    let mut store = Store::open(&database).await.unwrap();
    store.lease("2026-03-01", 1500, None).await.unwrap();
    store.lease("2026-03-01", 3000, Some(150_000)).await.unwrap();
    let row = Reader::open(&database).await.unwrap().last_budget().await.unwrap().unwrap();
    assert_eq!((row.day.as_str(), row.leased, row.limit), ("2026-03-01", 3000, Some(150_000)));
}

pub async fn a_database_belongs_to_one_company(kit: &Kit) {
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    store.claim("acme").await.unwrap();
    store.claim("acme").await.unwrap();
    assert!(matches!(store.claim("other").await, Err(StoreError::OtherCompany { .. })));
}

pub async fn rows_are_read_numbers_first_then_texts(kit: &Kit) {
    let place = kit.place();
    let database = place.database.clone();
    let mut store = Store::open(&database).await.unwrap();
    let state = walk("leads", Mode::Full, store.begin_run("sync").await.unwrap());
    store.begin_walks([&state]).await.unwrap();
    let text = |id| RowWrite { id: Id::Text(id), update_time: None, data: "{}" };
    store
        .commit(&[page(&state, &[text("b"), row(10, "a"), text("10"), row(9, "a")], None)], None)
        .await
        .unwrap();
    let mut reader = Reader::open(&database).await.unwrap();
    let ids: Vec<_> = reader.rows("leads").map_ok(|(id, _)| id).try_collect().await.unwrap();
    assert_eq!(ids, ["9", "10", "10", "b"]);
    assert_eq!(reader.sample("leads", 2).await.unwrap().len(), 2);
}

pub async fn a_row_comes_back_as_it_came_letter_for_letter(kit: &Kit) {
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    let state = walk("leads", Mode::Full, store.begin_run("sync").await.unwrap());
    store.begin_walks([&state]).await.unwrap();
    // What a parser would make different: order, repetition, blanks, digits, escapes, what no text can hold.
    let written = [
        r#"{"b":1, "a" : [1.0,1e2,-0],"b":2}"#,
        r#"{"n":123456789012345678901234567890.10}"#,
        r#"{"t":"\u0000 \ud83d\ude00 \ud83d \/ äöü 漢字"}"#,
        "{}",
    ];
    let rows: Vec<_> = (1..)
        .zip(written)
        .map(|(id, data)| RowWrite { id: Id::Number(id), update_time: None, data })
        .collect();
    store.commit(&[page(&state, &rows, None)], None).await.unwrap();
    let mut reader = Reader::open(&place.database).await.unwrap();
    let read: Vec<_> = reader.rows("leads").map_ok(|(_, data)| data).try_collect().await.unwrap();
    assert_eq!(read, written);
}

pub async fn of_two_rows_with_one_identifier_the_later_counts(kit: &Kit) {
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    let run = store.begin_run("sync").await.unwrap();
    let with = |id, time, data| RowWrite { id, update_time: Some(time), data };
    for (mode, expected) in [
        (Mode::Full, [r#"{"v":3}"#, r#"{"v":5}"#]),
        (Mode::Incremental, [r#"{"v":3}"#, r#"{"v":5}"#]),
    ] {
        let state = walk("leads", mode, run);
        store.begin_walks([&state]).await.unwrap();
        let (one, text) = (Id::Number(1), Id::Text("1"));
        let rows = [
            with(one, "a", r#"{"v":1}"#),
            with(text, "a", r#"{"v":4}"#),
            with(one, "c", r#"{"v":2}"#),
            with(one, "b", r#"{"v":3}"#),
            with(text, "a", r#"{"v":5}"#),
        ];
        store.commit(&[page(&state, &rows, None)], None).await.unwrap();
        let mut reader = Reader::open(&place.database).await.unwrap();
        let read: Vec<_> =
            reader.rows("leads").map_ok(|(_, data)| data).try_collect().await.unwrap();
        assert_eq!(read, expected, "{mode:?}");
        place.sql("DELETE FROM leads").await;
    }
}

pub async fn what_no_text_of_the_database_can_hold_does_not_stop_a_sync(kit: &Kit) {
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    let run = store.begin_run("sync").await.unwrap();
    let state = walk("leads", Mode::Full, run);
    store.begin_walks([&state]).await.unwrap();
    let row = RowWrite { id: Id::Text("a\0b"), update_time: Some("x\0"), data: "{}" };
    store.commit(&[page(&state, &[row], None)], None).await.unwrap();
    store.end_run(run, 1, "a line\0with a hole", "{}").await.unwrap();
    let mut reader = Reader::open(&place.database).await.unwrap();
    assert_eq!(reader.counts().await.unwrap()["leads"], (1, 0));
    assert!(reader.runs(1).await.unwrap()[0].outcome.as_ref().unwrap().starts_with("a line"));
}

pub async fn there_is_nothing_to_read_before_the_first_sync(kit: &Kit) {
    let place = kit.place();
    assert!(matches!(Reader::open(&place.database).await, Err(StoreError::Missing { .. })));
    let error = note_spent(&place.database, "2026-03-01", 2).await.unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
}

pub async fn what_is_done_beside_a_sync_waits_for_nobody(kit: &Kit) {
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    store.lease("2026-03-01", 10, Some(1000)).await.unwrap();
    note_spent(&place.database, "2026-03-01", 2).await.unwrap();
    let budget = store.budget("2026-03-01").await.unwrap().unwrap();
    assert_eq!((budget.leased, budget.limit), (12, Some(1000)));
    assert_eq!(store.known_limit().await.unwrap(), Some(1000));
    assert_eq!(reset_circuits(&place.database, None).await.unwrap(), Vec::<String>::new());
    store.note_limits("one").await.unwrap();
    store.note_limits("two").await.unwrap();
    let mut reader = Reader::open(&place.database).await.unwrap();
    assert_eq!(reader.limits().await.unwrap().as_deref(), Some("two"));
    store.close().await.unwrap();
    assert_eq!(reader.budget("2026-03-01").await.unwrap().unwrap().leased, 12);
}
