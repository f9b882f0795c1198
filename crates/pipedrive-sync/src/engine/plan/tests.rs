//! What is planned from what is known.

use std::{collections::BTreeMap, sync::LazyLock};

use super::*;
use crate::store::Counts;

mod by_recents;

fn basis<'a>(entities: &'a [Entity], known: &'a [WalkState], counts: &'a Counts) -> Basis<'a> {
    Basis {
        entities,
        wanted: Wanted::Auto,
        known,
        counts,
        totals: None,
        page: 500,
        run: 9,
        start_up: 2,
        overlap: SignedDuration::from_secs(60),
        now: "2026-03-10T00:00:00Z".parse().unwrap(),
        limit: None,
        force: false,
        swept: &NEVER,
        sweep_every: None,
        by_recents: &ALL,
    }
}

static NEVER: BTreeMap<String, String> = BTreeMap::new();
static ALL: LazyLock<ByRecents> = LazyLock::new(ByRecents::default);

fn state(entity: Entity, mode: Mode, done: Option<&str>) -> WalkState {
    WalkState {
        walk: entity.name().into(),
        entity: entity.name().into(),
        mode,
        position: done.is_none().then(|| "offset:5".into()),
        since: None,
        started_at: "2026-03-01T00:00:00Z".into(),
        max_seen: None,
        high_water: done.map(|_| "2026-02-28T12:00:00Z".into()),
        page_size: None,
        pages: 3,
        rows: 1500,
        done_at: done.map(Into::into),
        last_done: done.map(Into::into),
        run: 4,
    }
}

#[test]
fn the_first_sync_reads_all_and_knows_only_the_least_price() {
    let plan = Plan::new(&basis(&[Entity::Deals, Entity::Notes], &[], &Counts::new()));
    assert!(plan.walks.iter().all(|walk| walk.state.mode == Mode::Full && !walk.resumed));
    assert_eq!((plan.walks.len(), plan.tokens, plan.exact), (2, 2 + 10 + 20, false));
}

#[test]
fn a_walk_under_way_goes_on_and_what_its_run_has_done_is_not_done_again() {
    let known = [
        state(Entity::Deals, Mode::Full, None),
        state(Entity::Notes, Mode::Full, Some("2026-03-01T00:01:00Z")),
    ];
    let plan = Plan::new(&basis(&[Entity::Deals, Entity::Notes], &known, &Counts::new()));
    assert_eq!(plan.walks.len(), 1);
    assert!(plan.walks[0].resumed);
    assert_eq!(plan.walks[0].state, known[0]);
    // Asked for alone, the complete one is brought up to date.
    let plan = Plan::new(&basis(&[Entity::Notes], &known, &Counts::new()));
    assert_eq!(plan.walks[0].state.mode, Mode::Incremental);
}

#[test]
fn what_is_complete_is_brought_up_to_date_with_an_overlap_and_deleted_deals() {
    let known = [Entity::Deals, Entity::Stages]
        .map(|entity| state(entity, Mode::Full, Some("2026-03-01T00:01:00Z")));
    let counts = Counts::from([("deals", (1500, 0)), ("stages", (600, 0))]);
    let plan = Plan::new(&basis(&[Entity::Deals, Entity::Stages], &known, &counts));
    let names: Vec<_> =
        plan.walks.iter().map(|walk| (walk.state.walk.as_str(), walk.state.mode)).collect();
    assert_eq!(
        names,
        [
            ("deals", Mode::Incremental),
            ("deals:deleted", Mode::Incremental),
            ("stages", Mode::Full)
        ]
    );
    assert_eq!(plan.walks[0].state.since.as_deref(), Some("2026-02-28T11:59:00Z"));
    assert_eq!((plan.tokens, plan.exact), (2 + 10 + 10 + 2 * 5, true));
}

#[test]
fn deals_older_than_the_api_shows_deleted_ones_are_read_in_full() {
    let known = [state(Entity::Deals, Mode::Full, Some("2026-01-01T00:00:00Z"))];
    let plan = Plan::new(&basis(&[Entity::Deals], &known, &Counts::new()));
    assert_eq!((plan.walks.len(), plan.walks[0].state.mode), (1, Mode::Full));
}

#[test]
fn a_list_that_was_read_whole_long_ago_is_read_whole_again_and_its_price_is_planned() {
    let known = [Entity::Persons, Entity::Stages]
        .map(|entity| state(entity, Mode::Incremental, Some("2026-03-09T00:00:00Z")));
    let counts = Counts::from([("persons", (1500, 0)), ("stages", (600, 0))]);
    let swept = |at: &str| {
        BTreeMap::from([("persons", at), ("stages", at)].map(|(k, v)| (k.into(), v.into())))
    };
    let (old, fresh) = (swept("2026-03-03T00:00:00Z"), swept("2026-03-03T00:00:01Z"));
    let mut basis = basis(&[Entity::Persons, Entity::Stages], &known, &counts);
    basis.sweep_every = Some(SignedDuration::from_hours(7 * 24));
    basis.swept = &old;
    let plan = Plan::new(&basis);
    // Stages are read whole each time that they are read; else recents would tell of them.
    assert_eq!((plan.walks[0].state.mode, plan.sweeps()), (Mode::Full, 2));
    assert_eq!((plan.tokens, plan.exact), (2 + 3 * 10 + 2 * 5, true));
    assert!(plan.walks[0].state.high_water.is_some(), "what is known is not forgotten");
    for (swept, every, wanted) in [
        (&fresh, basis.sweep_every, Wanted::Auto),
        (&old, None, Wanted::Auto),
        (&old, basis.sweep_every, Wanted::Incremental),
        (&NEVER, basis.sweep_every, Wanted::Auto),
    ] {
        let plan = Plan::new(&Basis { swept, sweep_every: every, wanted, ..basis });
        assert_eq!((plan.walks[0].state.mode, plan.sweeps()), (Mode::Incremental, 0));
    }
}

#[test]
fn force_begins_anew_although_it_is_known_where_a_walk_stopped() {
    let known = [
        state(Entity::Deals, Mode::Full, None),
        state(Entity::Notes, Mode::Full, Some("2026-03-01T00:01:00Z")),
    ];
    let counts = Counts::new();
    let mut basis = basis(&[Entity::Deals, Entity::Notes], &known, &counts);
    basis.force = true;
    let plan = Plan::new(&basis);
    let walks: Vec<_> = plan
        .walks
        .iter()
        .map(|walk| (walk.state.mode, walk.resumed, walk.state.position.as_deref()))
        .collect();
    assert_eq!(walks, [(Mode::Full, false, None), (Mode::Incremental, false, None)]);
}

#[test]
fn what_has_changed_of_deals_is_read_list_by_list() {
    let known = [Entity::Deals, Entity::ArchivedDeals]
        .map(|entity| state(entity, Mode::Full, Some("2026-03-01T00:01:00Z")));
    let counts = Counts::new();
    let mut basis = basis(&[Entity::Deals, Entity::ArchivedDeals], &known, &counts);
    let walks = Plan::new(&basis).walks;
    let names: Vec<_> = walks.iter().map(|walk| walk.state.walk.as_str()).collect();
    assert_eq!(names, ["deals", "deals:deleted", "archived_deals"]);
    assert_eq!([0, 1, 2].map(|index| after(&walks, index)), [None, Some(2), Some(0)]);
    assert_eq!(after(&walks[..2], 1), Some(0));
    // Whole lists are long, and are read at once.
    basis.wanted = Wanted::Full;
    let walks = Plan::new(&basis).walks;
    assert_eq!([0, 1].map(|index| after(&walks, index)), [None, None]);
}

#[test]
fn pages_of_lists_by_offset_share_a_row() {
    let of = |entity, rows| requests(entity, rows, 500);
    assert_eq!([0, 500, 501].map(|rows| of(Entity::Deals, rows)), [1, 1, 2]);
    assert_eq!([0, 500, 501, 999, 1000].map(|rows| of(Entity::Notes, rows)), [1, 1, 2, 2, 3]);
    assert_eq!((of(Entity::Files, 100), of(Entity::Files, 101)), (1, 2));
    assert_eq!(of(Entity::Users, 9_999), 1);
}

#[test]
fn deleted_rows_are_looked_for_from_where_the_last_look_began_or_the_first_copy_did() {
    let known = [Entity::Persons, Entity::Notes, Entity::Leads]
        .map(|entity| state(entity, Mode::Incremental, Some("2026-03-01T00:01:00Z")));
    let counts = Counts::new();
    let all = [Entity::Persons, Entity::Notes, Entity::Leads];
    let mut basis = basis(&all, &known, &counts);
    let plan = Plan::new(&basis);
    let recents = plan.recents.unwrap();
    assert_eq!(recents.since.as_deref(), Some("2026-02-28T23:58:59Z"));
    assert_eq!(plan.tokens, 2 + 10 + 20 + 20 + 20);
    // Not for what recents do not show, not for whole lists, not for a taste.
    assert_eq!(Plan::new(&Basis { entities: &all[2..], ..basis }).recents, None);
    assert_eq!(Plan::new(&Basis { wanted: Wanted::Full, ..basis }).recents, None);
    assert_eq!(Plan::new(&Basis { limit: Some(5), ..basis }).recents, None);
    let look = WalkState {
        high_water: Some("2026-03-05T00:00:00Z".into()),
        done_at: Some("2026-03-05T00:00:09Z".into()),
        ..recents
    };
    let known: Vec<_> = known.iter().cloned().chain([look.clone()]).collect();
    basis.known = &known;
    let next = Plan::new(&basis).recents.unwrap();
    assert_eq!(next.since.as_deref(), Some("2026-03-04T23:58:59Z"));
    // One that was cut short goes on.
    let cut =
        WalkState { done_at: None, position: Some("2026-03-04T23:58:59Z+500".into()), ..look };
    let known: Vec<_> = known[..3].iter().cloned().chain([cut.clone()]).collect();
    basis.known = &known;
    assert_eq!(Plan::new(&basis).recents, Some(cut));
}

#[test]
fn full_means_full() {
    let known = [
        state(Entity::Deals, Mode::Incremental, None),
        state(Entity::Persons, Mode::Full, None),
        state(Entity::Notes, Mode::Full, Some("2026-03-01T00:01:00Z")),
    ];
    let counts = Counts::new();
    let mut basis = basis(&[Entity::Deals, Entity::Persons, Entity::Notes], &known, &counts);
    basis.wanted = Wanted::Full;
    let plan = Plan::new(&basis);
    let walks: Vec<_> = plan.walks.iter().map(|walk| (walk.state.mode, walk.resumed)).collect();
    // Notes are part of the full run that is under way.
    assert_eq!(walks, [(Mode::Full, false), (Mode::Full, true)]);
}

#[test]
fn the_high_water_is_neither_later_than_the_start_nor_earlier_than_before() {
    let mut walk = state(Entity::Deals, Mode::Full, None);
    assert_eq!(high_water(&walk, None), None);
    assert_eq!(
        high_water(&walk, Some("2026-02-01T00:00:00Z")).as_deref(),
        Some("2026-02-01T00:00:00Z")
    );
    assert_eq!(
        high_water(&walk, Some("2026-03-05 00:00:00")).as_deref(),
        Some("2026-03-01T00:00:00Z")
    );
    walk.high_water = Some("2026-02-20T00:00:00Z".into());
    assert_eq!(high_water(&walk, Some("2026-02-01T00:00:00Z")), walk.high_water);
    assert_eq!(high_water(&walk, None), walk.high_water);
}

#[test]
fn names_of_entities_are_understood_together_and_every_wrong_one_is_named() {
    assert_eq!(entities(&[]).unwrap().len(), 21);
    assert_eq!(
        entities(&["persons,deals".into(), "deal".into()]).unwrap(),
        [Entity::Persons, Entity::Deals]
    );
    let wrong = entities(&["dael,deals".into(), "foo".into()]).unwrap_err();
    assert!(wrong.contains("dael") && wrong.contains("foo"));
}
