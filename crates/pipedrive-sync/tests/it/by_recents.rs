//! Lists that are not read while recents show no change of them.
#![allow(missing_docs)]

use crate::common;

use std::time::Duration;

use crate::common::{World, config};
use pipedrive_sync::store::{Reader, WalkState};
use saas_sim::pipedrive::{Churn, Entity as Theirs, Faults, RecentsDeleted, RecentsTooOld, Rule};
use serde_json::{Value, json};

/// The small ones, and where they are read.
const SMALL: [(Theirs, &str); 5] = [
    (Theirs::Users, "/api/v1/users"),
    (Theirs::ActivityTypes, "/api/v1/activityTypes"),
    (Theirs::Filters, "/api/v1/filters"),
    (Theirs::Pipelines, "/api/v2/pipelines"),
    (Theirs::Stages, "/api/v2/stages"),
];

fn object(ended: &common::Ended) -> Value {
    serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"))
}

fn change(world: &World, entity: Theirs, id: &str) {
    let now = world.sim.now();
    world.sim.account().update(entity, id, &json!({ "name": format!("at {now}") }), now).unwrap();
}

/// Paths asked for, in order.
fn asked(world: &World, from: usize) -> Vec<String> {
    let log = world.sim.truth().log;
    let path = |target: &str| target.split('?').next().unwrap().to_owned();
    log[from..].iter().map(|entry| path(&entry.target)).collect()
}

/// Of the small lists, the ones that a sync reads.
async fn reads(world: &World, args: &[&str]) -> Vec<Theirs> {
    let before = world.sim.truth().log.len();
    let ended = world.run("sync", &[&["--json"], args].concat()).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = object(&ended);
    let asked = asked(world, before);
    let read = SMALL.into_iter().filter(|(entity, path)| {
        // All are up to date, however it is known.
        assert_eq!(report["walks"][common::ours(*entity).name()]["done"], json!(true), "{report}");
        let times = asked.iter().filter(|one| one == path).count();
        assert!(times <= 1, "{path} {times} times");
        times == 1
    });
    read.map(|(entity, _)| entity).collect()
}

async fn walk(world: &World, name: &str) -> WalkState {
    let walks = Reader::open(&world.database()).await.unwrap().walks().await.unwrap();
    walks.into_iter().find(|walk| walk.walk == name).unwrap()
}

/// Starts a sync, and ends it by a signal when it has asked for a page that does not come.
async fn ended_while_it_waits_for(world: &World, rule: Rule, signal: &str) {
    let path = rule.path.clone().unwrap();
    let nth = usize::try_from(rule.nth.unwrap_or(1)).unwrap();
    let before = world.sim.truth().log.len();
    let rule = Rule { before_ms: Some(600_000), ..rule };
    world.sim.set_faults(Faults { rules: vec![rule], ..Faults::none() }).unwrap();
    let mut child = world.pipedrive("sync").arg("--quiet").spawn().unwrap();
    let there = async {
        while asked(world, before).iter().filter(|one| **one == path).count() < nth {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), there).await.unwrap();
    std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_ne!(ended.code(), Some(0), "{signal}");
    world.sim.set_faults(Faults::none()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_small_lists_the_ones_that_recents_show_are_read_once_and_the_others_are_not() {
    for (entity, path) in SMALL {
        let world = World::new(config(30)).await;
        assert_eq!(reads(&world, &[]).await.len(), 5, "the first time all are");
        assert_eq!(reads(&world, &[]).await, [], "nothing has changed");
        change(&world, entity, "2");
        let before = world.sim.truth().log.len();
        assert_eq!(reads(&world, &[]).await, [entity]);
        let asked = asked(&world, before);
        assert_eq!(asked[asked.len() - 2..], ["/api/v1/recents", path], "after the look");
        assert_eq!(world.differences().await, Vec::<String>::new());

        world.sim.account().delete(entity, "1", world.sim.now()).unwrap();
        let events = world.dir.path().join("events");
        let told = format!("jsonl:{}", events.display());
        assert_eq!(reads(&world, &["--events", &told]).await, [entity]);
        let done = std::fs::read_to_string(events).unwrap();
        let done = done.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let done = done.filter(|event| {
            event["walk"] == common::ours(entity).name() && event["done"] == json!(true)
        });
        assert_eq!(done.count(), 1, "not done before it is read");
        assert_eq!(world.differences().await, Vec::<String>::new());
        let counts = Reader::open(&world.database()).await.unwrap().counts().await.unwrap();
        let (_, marked) = counts[common::ours(entity).name()];
        assert_eq!(marked, 0, "{path}: what the list says is held, and nothing besides");

        let swept = world.run("sync", &["--json", "--sweep-every", "0h"]).await;
        assert_eq!(swept.code, Some(0), "{swept:?}");
        assert!(object(&swept)["walks"].get("recents").is_none(), "each list is read");
        assert_eq!(world.differences().await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_behind_the_look_or_while_a_list_is_read_is_seen_the_next_time() {
    let world = World::new(config(30)).await;
    assert_eq!(reads(&world, &[]).await.len(), 5);
    change(&world, Theirs::Stages, "2");
    let sim = world.sim.clone();
    let late = std::sync::atomic::AtomicBool::new(false);
    world.sim.on_answer(move |answered| {
        let path = answered.operation.map_or("", |operation| operation.path);
        let name = json!({ "name": "behind its back" });
        let update = |entity| sim.account().update(entity, "1", &name, sim.now()).unwrap();
        match path {
            _ if late.load(std::sync::atomic::Ordering::SeqCst) => {}
            "/recents" => update(Theirs::Users),
            "/stages" => {
                update(Theirs::Stages);
                late.store(true, std::sync::atomic::Ordering::SeqCst);
            }
            _ => {}
        }
    });
    assert_eq!(reads(&world, &[]).await, [Theirs::Stages]);
    assert_eq!(world.differences().await.len(), 2, "users and stages");
    // Neither the overlap nor its second is needed for that.
    assert_eq!(reads(&world, &["--overlap", "0"]).await, [Theirs::Users, Theirs::Stages]);
    assert_eq!(world.differences().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_to_be_read_is_read_although_the_run_ends_before() {
    for signal in ["-KILL", "-INT"] {
        let world = World::new(config(30)).await;
        assert_eq!(reads(&world, &[]).await.len(), 5);
        change(&world, Theirs::Stages, "2");
        world.sim.account().delete(Theirs::Stages, "1", world.sim.now()).unwrap();
        let path = Some("/api/v2/stages".to_owned());
        ended_while_it_waits_for(&world, Rule { path, ..Rule::default() }, signal).await;
        assert!(walk(&world, "recents").await.done_at.is_some());
        assert!(walk(&world, "stages").await.done_at.is_none(), "{signal}");
        assert!(walk(&world, "users").await.done_at.is_some());
        let counts = Reader::open(&world.database()).await.unwrap().counts().await.unwrap();
        assert_eq!(counts["stages"].1, 0, "recents mark no row of theirs");

        // What comes meanwhile is for the run after the next: this one is finished first, and looks at nothing twice.
        change(&world, Theirs::Filters, "2");
        let before = world.sim.truth().log.len();
        assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
        assert_eq!(asked(&world, before), ["/api/v1/users/me", "/api/v2/stages"], "{signal}");
        assert_eq!(world.differences().await.len(), 1, "filters");
        assert!(reads(&world, &[]).await.contains(&Theirs::Filters));
        assert_eq!(world.differences().await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_is_cut_short_leaves_every_list_to_be_read() {
    let world = World::new(config(700)).await;
    assert_eq!(reads(&world, &[]).await.len(), 5);
    // More than a page of recents, files and users on the first.
    change(&world, Theirs::Users, "2");
    let entities = ["files", "notes"].map(String::from).to_vec();
    let churn = Churn { updates: 1_500.0, even: true, entities, ..Churn::none() };
    world.sim.change_now(churn).unwrap();
    let path = Some("/api/v1/recents".to_owned());
    ended_while_it_waits_for(&world, Rule { path, nth: Some(2), ..Rule::default() }, "-KILL").await;
    assert!(walk(&world, "recents").await.position.is_some());
    let files = walk(&world, "files").await;
    assert!(
        files.done_at.is_some() && files.high_water < Some(files.started_at),
        "as it was before"
    );
    // Files that no look tells of, among them what the look has not touched.
    let gone = Churn { removals: 300.0, entities: vec!["files".into()], ..Churn::none() };
    world.sim.change_now(gone).unwrap();
    assert_eq!(reads(&world, &[]).await.len(), 5);
    let mut differ = world.differences().await;
    differ.retain(|line| !line.starts_with("notes"));
    assert_eq!(differ, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_recents_do_not_show_is_found_where_they_are_not_trusted_or_by_a_sweep() {
    let mut silent = config(30);
    silent.recents.deleted = RecentsDeleted::Absent;
    let world = World::new(silent).await;
    assert_eq!(reads(&world, &[]).await.len(), 5);
    let delete = |entity| world.sim.account().delete(entity, "1", world.sim.now()).unwrap();
    delete(Theirs::Stages);
    delete(Theirs::Filters);
    assert_eq!(reads(&world, &[]).await, []);
    assert_eq!(world.differences().await.len(), 2);
    let but_stages = ["--by-recents", "users,activity_types,filters,pipelines,files"];
    assert_eq!(reads(&world, &but_stages).await, [Theirs::Stages]);
    assert_eq!(world.differences().await.len(), 1);

    let mut program = world.pipedrive("sync");
    let before = world.sim.truth().log.len();
    let ended = common::ended({
        program.arg("--quiet").env("PIPEDRIVE_SYNC_BY_RECENTS", "off");
        program
    });
    assert_eq!(ended.await.code, Some(0));
    let asked = asked(&world, before);
    assert!(SMALL.iter().all(|(_, path)| asked.iter().any(|one| one == path)), "{asked:?}");
    assert!(asked.iter().any(|path| path == "/api/v1/files"), "{asked:?}");
    assert_eq!(world.differences().await, Vec::<String>::new());

    delete(Theirs::Users);
    delete(Theirs::Pipelines);
    assert_eq!(reads(&world, &[]).await, []);
    assert_eq!(reads(&world, &["--sweep-every", "0h"]).await.len(), 5);
    assert_eq!(world.differences().await, Vec::<String>::new());
    let wrong = world.run("sync", &["--by-recents", "goals"]).await;
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("goals") && wrong.err.contains("pipelines"), "{}", wrong.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_is_made_for_lists_alone_only_where_these_cost_more() {
    let world = World::new(config(30)).await;
    assert_eq!(reads(&world, &[]).await.len(), 5);
    for (names, look) in [("users", false), ("stages,pipelines", false), ("users,stages", true)] {
        let before = world.sim.truth().log.len();
        let ended = world.run("sync", &["--json", "--entity", names]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let asked = asked(&world, before);
        let looked = asked == ["/api/v1/users/me", "/api/v1/recents"];
        assert_eq!(looked, look, "{names}: {asked:?}");
        for name in names.split(',') {
            assert_eq!(object(&ended)["walks"][name]["done"], json!(true));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_names_the_look_at_recents_and_the_lists_that_it_spares() {
    let world = World::new(config(60)).await;
    let entities = ["--entity", "files,persons,stages"];
    let copied = world.run("sync", &[&["--quiet"][..], &entities].concat()).await;
    assert_eq!(copied.code, Some(0), "{copied:?}");
    let plan = object(&world.run("sync", &[&["--plan", "--json"][..], &entities].concat()).await);
    let walks: Vec<_> =
        plan["walks"].as_array().unwrap().iter().map(|walk| &walk["walk"]).collect();
    assert_eq!(walks, ["persons", "recents", "stages", "files"], "{plan}");
    assert_eq!(
        (&plan["walks"][2]["mode"], &plan["walks"][2]["exact"]),
        (&json!("if changed"), &json!(false))
    );
    assert_eq!(
        (&plan["exact"], plan["outcome"].as_str().unwrap().contains("at least")),
        (&json!(false), true)
    );
    let spent = world.sim.truth().day.used;
    assert_eq!(world.run("sync", &[&["--quiet"][..], &entities].concat()).await.code, Some(0));
    assert_eq!(plan["tokens"], json!(world.sim.truth().day.used - spent));

    // A list that is read after all comes on top of that.
    world
        .sim
        .account()
        .update(Theirs::Stages, "1", &json!({ "name": "x" }), world.sim.now())
        .unwrap();
    let spent = world.sim.truth().day.used;
    let ended = world.run("sync", &[&["--json"][..], &entities].concat()).await;
    let report = object(&ended);
    assert_eq!(
        (&report["tokens_planned"], &report["plan_exact"]),
        (&plan["tokens"], &json!(false))
    );
    assert_eq!(world.sim.truth().day.used - spent, plan["tokens"].as_u64().unwrap() + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_changed_came_and_went_are_told_by_recents_and_their_list_is_not_read() {
    let world = World::new(config(300)).await;
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let change = || {
        // Of leads nobody says that they were deleted.
        let entities = ["deals", "persons", "notes", "files"].map(String::from).to_vec();
        let (updates, creates, deletes) = (60.0, 30.0, 30.0);
        let churn = Churn { updates, creates, deletes, even: true, entities, ..Churn::none() };
        world.sim.change_now(churn).unwrap();
    };
    let list = |from: usize| {
        let log = world.sim.truth().log;
        log[from..].iter().filter(|entry| entry.target.starts_with("/api/v1/files?")).count()
    };
    // Twice: where the first look ended is where the second begins. Small pages take it several requests.
    for args in [&["--json"][..], &["--json", "--max-batch-size", "20"]] {
        change();
        let (before, files) = (world.sim.truth().log.len(), world.sim.digest(Theirs::Files).rows);
        let ended = world.run("sync", args).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(list(before), 0);
        assert_eq!(world.differences().await, Vec::<String>::new());
        let walk = &object(&ended)["walks"]["files"];
        let rows = walk["rows"].as_u64().unwrap();
        assert!(walk["done"] == json!(true) && rows > 0 && rows < files / 2, "{walk}");
    }
    let counts = Reader::open(&world.database()).await.unwrap().counts().await.unwrap();
    assert!(counts["files"].1 > 0, "deleted ones are kept, and marked: {counts:?}");

    // Asked for alone they are told for less than their list costs. What was read whole too long ago is read, and so is what
    // is to be read whole, or is not to be left to recents.
    for (args, reads) in [
        (&["--entity", "files"][..], false),
        (&["--sweep-every", "0h"], true),
        (&["--full"], true),
        (&["--by-recents", "users"], true),
    ] {
        change();
        let before = world.sim.truth().log.len();
        assert_eq!(world.run("sync", args).await.code, Some(0));
        assert_eq!(list(before) > 0, reads, "{args:?}");
        let mut differ = world.differences().await;
        differ.retain(|line| line.starts_with("files"));
        assert_eq!(differ, Vec::<String>::new(), "{args:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_recents_are_not_given_the_lists_are_read_after_all() {
    let mut refused = config(60);
    (refused.recents.reach_s, refused.recents.too_old) = (0, RecentsTooOld::Refuse);
    let world = World::new(refused).await;
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    change(&world, Theirs::Stages, "1");
    world.sim.change_now(Churn { updates: 60.0, even: true, ..Churn::none() }).unwrap();
    let ended = world.run("sync", &["--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report = object(&ended);
    for walk in ["files", "users", "activity_types", "filters", "pipelines", "stages"] {
        assert_eq!(report["walks"][walk]["done"], json!(true), "{report}");
        assert!(report["walks"][walk]["rows"].as_u64() > Some(0), "{walk} was read: {report}");
    }
    assert!(report["walks"].get("recents").is_none(), "{report}");
    assert_eq!(world.differences().await, Vec::<String>::new());
}
