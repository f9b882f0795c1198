//! What is left to recents, and what that costs.

use super::*;

fn names(walks: &[WalkPlan]) -> String {
    walks.iter().map(|walk| walk.state.walk.as_str()).collect::<Vec<_>>().join(",")
}

const DONE: Option<&str> = Some("2026-03-09T00:00:00Z");

#[test]
fn files_are_left_to_recents_while_these_reach_back_to_where_the_list_was_read() {
    let all = [Entity::Notes, Entity::Files];
    let known = [state(Entity::Notes, Mode::Full, DONE), state(Entity::Files, Mode::Full, DONE)];
    let counts = Counts::from([("files", (1500, 0)), ("notes", (10, 0))]);
    let basis = basis(&all, &known, &counts);
    let plan = Plan::new(&basis);
    assert_eq!((names(&plan.walks), names(&plan.by_recents)), ("notes".into(), "files".into()));
    assert_eq!(plan.tokens, 2 + 20 + 20, "notes and recents");
    // From where the whole list was begun, or from where the last look was.
    assert_eq!(plan.recents.unwrap().since.unwrap(), "2026-02-28T23:58:59Z");
    let mut looked = known.clone();
    looked[1].high_water = Some("2026-03-05T00:00:00Z".into());
    looked[0].started_at = "2026-03-08T00:00:00Z".into();
    let plan = Plan::new(&Basis { known: &looked, ..basis });
    assert_eq!(plan.recents.unwrap().since.unwrap(), "2026-03-04T23:58:59Z");

    // The server says that what was read lies further back than recents reach.
    let mut plan = Plan::new(&basis);
    let server = Some("2026-04-20T00:00:00Z".parse().unwrap());
    plan.by_the_servers_clock(basis.now, server, basis.overlap);
    assert_eq!(
        (names(&plan.walks), names(&plan.by_recents)),
        ("notes,files".into(), String::new())
    );

    // A look that is under way may have passed them by; and there are other reasons to read them.
    let look =
        WalkState { position: Some("2026-03-01T00:00:00Z+0".into()), ..basis.look(basis.now) };
    let under_way = [known[0].clone(), known[1].clone(), look];
    for other in [
        Basis { known: &under_way, ..basis },
        Basis { wanted: Wanted::Full, ..basis },
        Basis { force: true, ..basis },
        Basis { limit: Some(5), ..basis },
        Basis { by_recents: &"users".parse().unwrap(), ..basis },
    ] {
        let plan = Plan::new(&other);
        assert!(names(&plan.walks).contains("files") && plan.by_recents.is_empty(), "{other:?}");
    }
}

#[test]
fn lists_alone_are_left_to_recents_only_where_they_would_cost_more() {
    let all =
        [Entity::Users, Entity::ActivityTypes, Entity::Filters, Entity::Pipelines, Entity::Stages];
    let known: Vec<_> = all
        .into_iter()
        .chain([Entity::Files, Entity::Notes])
        .map(|entity| state(entity, Mode::Full, DONE))
        .collect();
    let counts = Counts::from([("files", (1500, 0)), ("stages", (10, 0))]);
    let basis = basis(&all, &known, &counts);
    let plan = Plan::new(&basis);
    assert_eq!((names(&plan.walks).as_str(), plan.by_recents.len()), ("", 5));
    assert_eq!((plan.tokens, plan.exact), (2 + 20, false), "at least: a list may be read besides");
    // As much is not less.
    let stages = [Entity::Pipelines, Entity::Stages];
    for (entities, tokens, looks) in [
        (&all[..1], 20, false),
        (&stages, 10, false),
        (&[Entity::Users, Entity::Stages], 20, true),
        (&[Entity::Files], 20, true),
        (&[Entity::Notes, Entity::Stages], 20 + 20, true),
        (&[Entity::Leads, Entity::Stages], 20 + 5, false),
    ] {
        let plan = Plan::new(&Basis { entities, ..basis });
        assert_eq!((plan.tokens, plan.recents.is_some()), (2 + tokens, looks), "{entities:?}");
        assert_eq!(plan.by_recents.is_empty(), !looks, "{entities:?}");
    }
    // Where nothing else was ever copied that recents show, there is no time from which to look.
    let plan = Plan::new(&Basis { known: &known[..6], ..basis });
    assert!(plan.recents.is_none() && plan.by_recents.is_empty() && plan.walks.len() == 5);
    assert_eq!(Plan::new(&Basis { by_recents: &ByRecents::OFF, ..basis }).walks.len(), 5);
}

#[test]
fn a_list_that_the_look_of_the_same_run_has_told_of_is_not_asked_about_again() {
    let all = [Entity::Users, Entity::Stages, Entity::Filters, Entity::Persons];
    let counts = Counts::new();
    let mut known: Vec<_> = all.map(|entity| state(entity, Mode::Full, DONE)).into();
    // Run 8 has looked, was told to read stages, and was cut short.
    let began = "2026-03-09T23:00:00Z";
    let mut base = basis(&all, &[], &counts);
    base.run = 8;
    let look = WalkState {
        started_at: began.into(),
        high_water: Some(began.into()),
        done_at: Some(began.into()),
        ..base.look(base.now)
    };
    known[0].high_water = Some(began.into());
    known[1] = WalkState {
        run: 8,
        position: None,
        started_at: began.into(),
        ..state(Entity::Stages, Mode::Full, None)
    };
    (known[3].run, known[3].mode) = (8, Mode::Incremental);
    known.push(look);
    let plan = Plan::new(&Basis { known: &known, ..basis(&all, &[], &counts) });
    // Of filters the look did not tell: they were not asked for.
    assert_eq!(names(&plan.walks), "stages,filters");
    assert!(plan.walks[0].resumed && plan.recents.is_none());
    // What is to be read whole is.
    let full = Basis { known: &known, wanted: Wanted::Full, ..basis(&all, &[], &counts) };
    assert_eq!(names(&Plan::new(&full).walks), "users,stages,filters,persons");
}

#[test]
fn a_list_that_is_left_to_recents_begins_by_the_servers_clock_too() {
    let all = [Entity::Notes, Entity::Users];
    let known = all.map(|entity| state(entity, Mode::Full, DONE));
    let counts = Counts::new();
    let basis = basis(&all, &known, &counts);
    let mut plan = Plan::new(&basis);
    let server = "2026-03-09T23:50:00Z";
    plan.by_the_servers_clock(basis.now, Some(server.parse().unwrap()), basis.overlap);
    assert_eq!(plan.by_recents[0].state.started_at, server);
    assert_eq!(plan.recents.unwrap().started_at, server);
}

#[test]
fn a_look_that_has_seen_no_page_begins_anew_from_where_it_was_to_begin() {
    let all = [Entity::Notes];
    let counts = Counts::new();
    let base = basis(&all, &[], &counts);
    let from = "2026-03-05T00:00:00Z".parse().unwrap();
    let noted = WalkState { run: 3, started_at: "2026-03-05T00:00:00Z".into(), ..base.look(from) };
    let known = [state(Entity::Notes, Mode::Full, DONE), noted.clone()];
    let look = Plan::new(&Basis { known: &known, ..base }).recents.unwrap();
    assert_eq!(look.since, noted.since);
    assert_eq!((look.started_at.as_str(), look.run), ("2026-03-10T00:00:00Z", 9));
}
