//! `pipedrive limits`, `pipedrive sync --plan`, and who goes before whom.
#![allow(missing_docs)]

use crate::common;

use std::time::Duration;

use crate::common::{Ended, World, config};
use pipedrive_sync::store::{Reader, Store};
use saas_sim::pipedrive::{Faults, SimConfig};
use serde_json::{Value, json};

fn today() -> String {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

async fn with(world: &World, command: &str, args: &[&str], env: &[(&str, &str)]) -> Ended {
    let mut program = world.pipedrive(command);
    program.args(args).envs(env.iter().copied());
    common::ended(program).await
}

#[track_caller]
fn object(ended: &Ended, code: i32) -> Value {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

#[track_caller]
fn budget<'a>(picture: &'a Value, name: &str) -> &'a Value {
    let budgets = picture["budgets"].as_array().unwrap();
    budgets.iter().find(|budget| budget["name"] == name).unwrap()
}

async fn leased(world: &World) -> u64 {
    let mut reader = Reader::open(&world.database()).await.unwrap();
    reader.budget(&today()).await.unwrap().map_or(0, |day| day.leased)
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_tell_the_settings_without_a_token_a_database_or_a_request() {
    let world = World::new(config(20)).await;
    let mut program = world.pipedrive("limits");
    program.env_remove("PIPEDRIVE_API_TOKEN").env("TZ", "Asia/Kolkata").envs([
        ("PIPEDRIVE_PLAN", "growth"),
        ("PIPEDRIVE_SEATS", "2"),
        ("PIPEDRIVE_RATE_LIMIT_RESERVE", "0.1"),
    ]);
    let ended = common::ended(program).await;
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    for words in [
        "no database yet",
        "burst       40     0      40       0      0  requests in 2 s\n",
        "day     120000     0  120000       0      0  tokens a day, 12000 of it kept for urgent calls\n",
        "T00:00:00Z (",
        " 05:30:00 +05:30), in ",
        "nothing is known to be spent today",
    ] {
        assert!(ended.out.contains(words), "no {words:?} in\n{}", ended.out);
    }
    assert_eq!(world.sim.truth().requests, 0);
    assert_eq!(std::fs::read_dir(world.dir.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_leased_counts_until_the_server_is_asked_for_its_own_count() {
    let world = World::new(config(20)).await;
    let mut store = Store::open(&world.database()).await.unwrap();
    store.lease(&today(), 9_900, Some(150_000)).await.unwrap();
    store.close().await.unwrap();
    world.sim.spend_elsewhere(1_000);

    let limits = object(&world.run("limits", &["--json"]).await, 0);
    let day = budget(&limits["now"], "day");
    assert_eq!((&day["used"], &day["limit"]), (&json!(9_900), &json!(150_000)), "{limits}");
    assert_eq!(day["configured"], json!(10_000), "150,000 were learnt before");
    assert_eq!(limits["stored"]["leased"], json!(9_900));
    assert_eq!((&limits["server"], &limits["asked_tokens"]), (&json!(null), &json!(0)));
    assert_eq!(limits["now"]["outlook"]["basis"], json!("since_reset"));
    assert_eq!(world.sim.truth().requests, 0);

    let limits = object(&world.run("limits", &["--ask", "--json"]).await, 0);
    assert_eq!(limits["server"]["day_remaining"], json!(148_998), "{limits}");
    assert_eq!(limits["server"]["burst_limit"], json!(100_000));
    assert_eq!(budget(&limits["now"], "day")["used"], json!(1_002));
    assert_eq!(budget(&limits["now"], "burst")["limit"], json!(100_000));
    assert_eq!((world.sim.truth().requests, leased(&world).await), (1, 9_902), "and is noted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_its_count_to_itself_changes_nothing() {
    let world = World::new(SimConfig { token_headers: false, ..config(20) }).await;
    let ended = world.run("limits", &["--ask"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains("server     nothing of tokens, "), "{}", ended.out);
    assert!(!common::exists(&world.path()), "to ask makes no database");

    let mut store = Store::open(&world.database()).await.unwrap();
    store.lease(&today(), 500, None).await.unwrap();
    store.close().await.unwrap();
    let limits = object(&world.run("limits", &["--ask", "--json"]).await, 0);
    assert_eq!(budget(&limits["now"], "day")["used"], json!(502), "what is leased still counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_has_the_exit_codes_of_every_other_request() {
    let world = World::new(config(20)).await;
    world.sim.spend_elsewhere(150_000);
    let ended = world.run("limits", &["--ask", "--json"]).await;
    let limits = object(&ended, 4);
    assert_eq!(budget(&limits["now"], "day")["exhausted"], json!(true), "{limits}");
    assert_eq!(budget(&limits["now"], "day")["remaining"], json!(0));
    assert!(ended.err.contains("it can go on at"), "{}", ended.err);

    let wrong = [("PIPEDRIVE_API_TOKEN", "not-the-token-0123456789abcdef0123456789")];
    let ended = with(&world, "limits", &["--ask", "--json"], &wrong).await;
    assert_eq!(object(&ended, 3)["exit_code"], json!(3));
    assert!(!ended.err.contains("not-the-token"));
    let nowhere =
        [("PIPEDRIVE_BASE_URL", "http://127.0.0.1:1"), ("PIPEDRIVE_MAX_RETRY_ATTEMPTS", "0")];
    assert_eq!(with(&world, "limits", &["--ask"], &nowhere).await.code, Some(5));
    assert_eq!(with(&world, "sync", &["--plan"], &nowhere).await.code, Some(5));

    let world = World::new(config(20)).await;
    Store::open(&world.database()).await.unwrap().claim("another").await.unwrap();
    for (command, option) in [("limits", "--ask"), ("sync", "--plan")] {
        let ended = world.run(command, &[option]).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("company another"), "{}", ended.err);
    }
    std::fs::write(world.path(), "not a database at all, but some text of a good length").unwrap();
    assert_eq!(world.run("limits", &[]).await.code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_sees_who_waits_while_a_sync_runs_and_what_it_saw_at_its_end() {
    let mut faults = Faults::none();
    faults.latency_after_ms = [5, 5];
    let world = World::new(SimConfig { burst: Some(20), faults, ..config(60) }).await;
    let running = {
        let mut program = world.pipedrive("sync");
        program.args(["--quiet", "--max-batch-size", "10"]);
        tokio::spawn(common::ended(program))
    };
    let mut waiting = Value::Null;
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if !common::exists(&world.path()) {
            continue;
        }
        let limits = object(&world.run("limits", &["--json"]).await, 0);
        let picture = &limits["run"]["picture"];
        if picture["waiting"].as_u64().is_some_and(|calls| calls > 0) {
            waiting = limits;
            break;
        }
    }
    let run = &waiting["run"];
    assert_eq!(run["command"], json!("sync"), "nobody was ever seen waiting");
    assert_eq!(run["ended_at"], json!(null));
    let levels = run["picture"]["waiting_by_priority"].as_array().unwrap();
    assert_eq!(levels[2], run["picture"]["waiting"], "a sync asks with low priority: {run}");
    world.sim.spend_elsewhere(5_000);
    // The plan can be asked for beside it: it takes no lock.
    let planned = world.run("sync", &["--plan", "--quiet"]).await;
    assert_eq!(planned.code, Some(0), "{planned:?}");

    assert_eq!(running.await.unwrap().code, Some(0));
    let limits = object(&world.run("limits", &["--json"]).await, 0);
    let (run, truth) = (&limits["run"], world.sim.truth());
    assert!(run["ended_at"].is_string(), "{limits}");
    let day = budget(&run["picture"], "day");
    let used = day["used"].as_u64().unwrap();
    assert!((truth.day.used - 2..=truth.day.used).contains(&used), "all but the plan's own: {day}");
    // Less what was under way, which may be another's or ours.
    assert!(day["foreign"].as_u64().unwrap() > 4_000, "{day}");
    assert_eq!(budget(&run["picture"], "burst")["limit"], json!(20));
    // The two share a window without a ledger, so that one may have been refused once.
    assert_eq!(run["picture"]["refusals"]["day"], json!(0), "{run}");
    let calls: u64 = run["picture"]["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|endpoint| endpoint["calls"].as_u64().unwrap())
        .sum();
    assert!(calls < truth.requests && calls + 6 > truth.requests, "all but the plan's own: {run}");
    let text = world.run("limits", &[]).await.out;
    for words in
        ["sync run 1, ended ", "waiting    0 calls\n", "gate       open\n", "used by    /api/v"]
    {
        assert!(text.contains(words), "no {words:?} in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cost_that_is_wrong_is_told_with_the_right_one() {
    let world = World::new(config(100)).await;
    let wrong = [("PIPEDRIVE_TOKEN_COSTS", "deals=1")];
    let args = ["--entity", "deals", "--max-batch-size", "10", "--quiet"];
    assert_eq!(with(&world, "sync", &args, &wrong).await.code, Some(0));
    let limits = object(&world.run("limits", &["--json"]).await, 0);
    let proposal = &limits["run"]["picture"]["proposals"][0];
    assert_eq!(
        (&proposal["endpoint"], &proposal["charged"], &proposal["actual"]),
        (&json!("/api/v2/deals"), &json!(1), &json!(10)),
        "{limits}"
    );
    let text = world.run("limits", &[]).await.out;
    assert!(text.contains("cost       /api/v2/deals costs 10 of day, not 1, by "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_names_the_price_copies_nothing_and_leaves_nothing_behind() {
    let world = World::new(config(60)).await;
    let plan = object(&world.run("sync", &["--plan", "--json"]).await, 0);
    assert_eq!((&plan["exists"], &plan["exact"]), (&json!(false), &json!(false)), "{plan}");
    assert_eq!(plan["walks"].as_array().unwrap().len(), 21);
    let asked: Vec<_> = world.sim.truth().log.iter().map(|entry| entry.target.clone()).collect();
    assert_eq!(asked, ["/api/v1/users/me"]);
    assert_eq!(std::fs::read_dir(world.dir.path()).unwrap().count(), 0);

    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let args = ["--full", "--max-batch-size", "10"];
    let plan = object(&world.run("sync", &[&args[..], &["--plan", "--json"]].concat()).await, 0);
    assert_eq!(plan["exact"], json!(true), "{plan}");
    let before = world.sim.truth();
    assert_eq!(world.run("sync", &[&args[..], &["--quiet"]].concat()).await.code, Some(0));
    let after = world.sim.truth();
    assert_eq!(plan["tokens"], json!(after.day.used - before.day.used));
    assert_eq!(plan["requests"], json!(after.requests - before.requests));
    let sum: u64 =
        plan["walks"].as_array().unwrap().iter().map(|walk| walk["tokens"].as_u64().unwrap()).sum();
    assert_eq!(json!(sum + 2), plan["tokens"], "and the start-up");
    assert_eq!(plan["day"]["used"], json!(before.day.used));
    assert!(leased(&world).await >= after.day.used, "no token was forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_when_it_would_end_by_burst_and_by_day() {
    let world = World::new(SimConfig { burst: Some(20), ..config(100) }).await;
    let all = ["--full", "--plan", "--json", "--max-batch-size", "10"];
    let some = [&all[..], &["--entity", "deals,persons,notes"]].concat();
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let seconds = |plan: &Value| {
        let at = |key: &str| plan[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        at("ends_at").duration_since(at("at")).as_secs()
    };
    let plan = object(&world.run("sync", &some).await, 0);
    let requests = plan["requests"].as_i64().unwrap();
    assert_eq!(plan["ends_by"], json!("burst"), "{plan}");
    assert!(
        (requests / 10 - 2..requests / 10 + 4).contains(&seconds(&plan)),
        "ten a second: {plan}"
    );

    // Spread evenly, a third of what is left takes a third of what is left of the day.
    let even = [("PIPEDRIVE_RATE_LIMIT_DAY_PACING", "even")];
    world.sim.spend_elsewhere(150_000 - world.sim.truth().day.used - 1_000);
    let plan = object(&with(&world, "sync", &some, &even).await, 0);
    assert_eq!(plan["ends_by"], json!("day"), "{plan}");
    let reset = plan["day"]["resets_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let left = reset.duration_since(plan["at"].as_str().unwrap().parse().unwrap()).as_secs_f64();
    let share = plan["tokens"].as_f64().unwrap() / plan["day"]["left"].as_f64().unwrap();
    assert!((seconds(&plan) as f64 - left * share).abs() <= 2.0, "{plan}");

    let ended = world.run("sync", &all).await;
    let plan = object(&ended, 4);
    assert_eq!(plan["day"]["fits"], json!(false), "{plan}");
    assert_eq!(plan["ends_by"], json!("day"));
    assert!(plan["ends_at"].as_str() >= plan["day"]["resets_at"].as_str(), "{plan}");
    assert!(ended.err.contains("it does not fit today") && ended.err.contains("more come at"));
    assert_eq!(ended.err.lines().count(), 1);
    let across = [&all[..], &["--across-days"]].concat();
    assert_eq!(object(&world.run("sync", &across).await, 0)["day"]["fits"], json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_spent_is_planned_for_all_the_same() {
    let world = World::new(config(20)).await;
    world.sim.spend_elsewhere(150_000);
    let ended = world.run("sync", &["--plan"]).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.out.contains("asked      nothing: the day is spent"), "{}", ended.out);
    assert!(
        ended.out.contains("in all                                22+    292+"),
        "{}",
        ended.out
    );
    // Bad input is bad input for a plan too, before anything is asked.
    let before = world.sim.truth().requests;
    assert_eq!(world.run("sync", &["--plan", "--entity", "dael"]).await.code, Some(2));
    let ended = with(&world, "sync", &["--plan", "--json"], &[("PIPEDRIVE_API_TOKEN", "")]).await;
    assert_eq!(object(&ended, 2)["exit_code"], json!(2));
    assert_eq!(world.sim.truth().requests, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_of_the_day_is_for_those_who_wait_and_not_for_a_copy() {
    let world = World::new(config(20)).await;
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let reserve = [("PIPEDRIVE_RATE_LIMIT_RESERVE", "0.01")];
    // 1,500 of 150,000 are kept, and 1,600 are left: less than a copy of everything asks for.
    world.sim.spend_elsewhere(150_000 - world.sim.truth().day.used - 1_600);
    let plan = object(&with(&world, "sync", &["--full", "--plan", "--json"], &reserve).await, 4);
    assert_eq!(plan["day"]["kept"], json!(1_500), "{plan}");
    assert_eq!(plan["day"]["left"], json!(98), "{plan}");
    let ended = with(&world, "sync", &["--full", "--quiet"], &reserve).await;
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.err.contains("less what is kept for urgent calls"), "{}", ended.err);

    for (command, args) in
        [("health-check", &["--probe"][..]), ("verify", &["--quiet"]), ("limits", &["--ask"])]
    {
        let ended = with(&world, command, args, &reserve).await;
        assert_eq!(ended.code, Some(0), "{command}: {ended:?}");
    }
    // A copy that is as urgent may have it too.
    let urgent = ["--full", "--quiet", "--priority", "8"];
    assert_eq!(with(&world, "sync", &urgent, &reserve).await.code, Some(0));
    assert_eq!(world.sim.truth().refusals.day, 0);
    assert_eq!(world.run("sync", &["--priority", "11"]).await.code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_waits_whatever_the_settings_say_of_calls_that_find_no_budget() {
    let world = World::new(SimConfig { burst: Some(20), ..config(20) }).await;
    let reject = [("PIPEDRIVE_RATE_LIMIT_ON_LIMIT", "reject")];
    let ended = with(&world, "sync", &["--json", "--max-batch-size", "10"], &reject).await;
    assert_eq!(object(&ended, 0)["pages"]["failed"], json!(0));
    assert_eq!(world.differences().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_shows_both() {
    let mut program = common::pipedrive();
    program.arg("--help");
    let help = common::ended(program).await.out;
    assert!(help.contains("pipedrive sync --plan") && help.contains("pipedrive limits --ask"));
    let mut program = common::pipedrive();
    program.args(["sync", "--help"]);
    let help = common::ended(program).await.out;
    assert!(help.contains("--plan") && help.contains("--priority <LEVEL>"), "{help}");
}
