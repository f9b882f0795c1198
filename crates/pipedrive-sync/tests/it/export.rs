//! What leaves the database: files that are whole, rows that are right, on both databases.
#![allow(missing_docs)]

use crate::common;

use std::fs;

use crate::common::{World, server::PostgresServer};
use saas_sim::pipedrive::{SimConfig, Sizes};
use serde_json::Value;

fn config() -> SimConfig {
    SimConfig { sizes: Some(Sizes::each(60)), burst: Some(100_000), ..SimConfig::default() }
}

/// The lines of an export to standard output.
async fn lines(world: &World, args: &[&str]) -> Vec<String> {
    let ended = world.run("export", args).await;
    assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{args:?}");
    ended.out.lines().map(str::to_owned).collect()
}

fn read(csv: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let cells = |record: &csv::StringRecord| record.iter().map(str::to_owned).collect::<Vec<_>>();
    let head = cells(reader.headers().unwrap());
    (head, reader.records().map(|record| cells(&record.unwrap())).collect())
}

async fn story(world: &World) {
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let asked = world.sim.truth().requests;

    // As they came, one to a line.
    let rows = lines(world, &["--entity", "deals", "--format", "jsonl"]).await;
    let account = world.sim.digest(saas_sim::pipedrive::Entity::Deals).rows as usize;
    assert_eq!(rows.len(), account);
    let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();

    // By the names of their fields: the simulator's deals have a budget, a segment, a reference and a go-live.
    let out = world.run("export", &["--entity", "deals", "--format", "csv"]).await.out;
    let (head, table) = read(&out);
    assert_eq!(table.len(), account);
    assert_eq!(head[..3], ["id", "update_time", "is_deleted"]);
    let column = |name: &str| head.iter().position(|head| head == name).expect(name);
    let fields: Vec<String> = lines(world, &["--entity", "deal_fields", "--format", "jsonl"]).await;
    let fields: Vec<Value> = fields.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    let field = |name: &str| fields.iter().find(|field| field["field_name"] == name).unwrap();
    let (budget, segment) = (field("Budget"), field("Segment"));
    let mut seen = 0;
    for (row, cells) in rows.iter().zip(&table) {
        assert_eq!(cells[0], row["id"].to_string());
        assert_eq!(cells[column("update_time")], row["update_time"].as_str().unwrap());
        assert_eq!(cells[column("title")], row["title"].as_str().unwrap());
        assert_eq!(cells[column("is_deleted")], "false");
        let own = |field: &Value| &row["custom_fields"][field["field_code"].as_str().unwrap()];
        let value = &own(budget)["value"];
        let expected = if value.is_null() { String::new() } else { value.to_string() };
        assert_eq!(cells[column("Budget")], expected);
        assert_eq!(
            cells[column("Budget currency")],
            own(budget)["currency"].as_str().unwrap_or("")
        );
        let chosen = segment["options"].as_array().unwrap().iter();
        let label =
            chosen.filter(|option| option["id"] == *own(segment)).map(|option| &option["label"]);
        let label = label.filter_map(Value::as_str).next().unwrap_or("");
        assert_eq!(cells[column("Segment")], label);
        seen += usize::from(!label.is_empty() && !expected.is_empty());
    }
    assert!(seen > 10, "the account has values in its own fields");

    // Some of them.
    let mut times: Vec<_> = table.iter().map(|row| row[1].clone()).collect();
    times.sort();
    let (half, newer) =
        (&times[account / 2], times.iter().filter(|time| **time >= times[account / 2]));
    let some = lines(world, &["--entity", "deals", "--format", "jsonl", "--since", half]).await;
    assert_eq!(some.len(), newer.count());

    // All of them, into a folder that is not there yet.
    let folder = world.dir.path().join("out/put");
    let folder_name = folder.to_str().unwrap();
    let args = ["--format", "csv", "--output", folder_name, "--entity", "deals,leads,users"];
    assert_eq!(lines(world, &args).await, Vec::<String>::new());
    assert_eq!(fs::read_to_string(folder.join("deals.csv")).unwrap(), out);
    let leads = read(&fs::read_to_string(folder.join("leads.csv")).unwrap()).1;
    assert!(leads.iter().all(|row| row[0].len() == 36), "a lead is named by a text");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "no draft is left");
    #[cfg(feature = "parquet")]
    parquet(world, &head, &table).await;
    assert_eq!(world.sim.truth().requests, asked, "an export asks the API nothing");
}

#[cfg(feature = "parquet")]
async fn parquet(world: &World, head: &[String], table: &[Vec<String>]) {
    use parquet::{
        file::reader::{FileReader as _, SerializedFileReader},
        record::Field,
    };
    let path = world.dir.path().join("deals.parquet");
    let args = ["--format", "parquet", "--entity", "deals", "--output", path.to_str().unwrap()];
    assert_eq!(lines(world, &args).await, Vec::<String>::new());
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), table.len());
    let at = |name: &str| head.iter().position(|head| head == name).unwrap();
    for (row, cells) in rows.iter().zip(table) {
        let field = |name: &str| row.get_column_iter().find(|(head, _)| *head == name).unwrap().1;
        assert_eq!(*field("id"), Field::Long(cells[0].parse().unwrap()));
        assert_eq!(*field("id_text"), Field::Null);
        assert_eq!(*field("is_deleted"), Field::Bool(false));
        let time: jiff::Timestamp = cells[1].parse().unwrap();
        assert_eq!(*field("update_time"), Field::TimestampMicros(time.as_microsecond()));
        let budget = &cells[at("Budget")];
        let expected =
            if budget.is_empty() { Field::Null } else { Field::Double(budget.parse().unwrap()) };
        assert_eq!(*field("Budget"), expected);
        let live = &cells[at("Go-live")];
        let expected = if live.is_empty() {
            Field::Null
        } else {
            let day: jiff::civil::Date = live.parse().unwrap();
            Field::Date(day.since(jiff::civil::date(1970, 1, 1)).unwrap().get_days())
        };
        assert_eq!(*field("Go-live"), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_leave_a_file_as_they_came_and_with_their_fields_by_name() {
    story(&World::new(config()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_leave_a_server_as_they_came_and_with_their_fields_by_name() {
    let Some(server) = PostgresServer::start("an export from PostgreSQL") else { return };
    story(&World::new(config()).await.with_database(&server.url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_cannot_end_leaves_what_was_there() {
    let world = World::new(config()).await;
    let missing = world.run("export", &["--format", "csv", "--entity", "deals"]).await;
    assert_eq!(missing.code, Some(2), "{missing:?}");
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let out = world.dir.path().join("out");
    fs::create_dir(&out).unwrap();
    fs::write(out.join("deals.csv"), "before").unwrap();
    // A row that is no text any more: the database cannot be read to its end.
    let damage = "UPDATE deals SET data = CAST(x'7b2261223a22ff227d' AS TEXT) WHERE id = (SELECT max(id) FROM deals)";
    common::kit::sqlite(&world.path(), damage).await;
    let deals = out.join("deals.csv");
    let args = ["--format", "jsonl", "--entity", "deals", "--output", deals.to_str().unwrap()];
    let ended = world.run("export", &args).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
    assert_eq!(fs::read_to_string(out.join("deals.csv")).unwrap(), "before");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1, "no draft is left");

    // Several entities do not fit into one file.
    let one = deals.to_str().unwrap();
    for entities in [&[][..], &["--entity", "deals,persons"]] {
        let args = [&["--format", "csv", "--output", one][..], entities].concat();
        let ended = world.run("export", &args).await;
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.err.contains("several entities need a folder"), "{ended:?}");
        assert_eq!(ended.err.lines().count(), 1, "{ended:?}");
        assert_eq!(fs::read_to_string(&deals).unwrap(), "before");
    }

    for wrong in [
        &["--format", "csv"][..],
        &["--format", "csv", "--entity", "deals,leads"],
        &["--format", "csv", "--entity", "dael"],
        &["--format", "xml", "--entity", "deals"],
        &["--format", "jsonl", "--entity", "deals", "--for-spreadsheets"],
        &["--format", "jsonl", "--entity", "deals", "--since", "soon"],
        &["--format", "jsonl", "--entity", "deals", "--output", "/proc/none/x.csv"],
    ] {
        let ended = world.run("export", wrong).await;
        assert_eq!(ended.code, Some(2), "{wrong:?}: {ended:?}");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_device_is_told_and_a_reader_that_goes_away_is_not() {
    use std::process::Stdio;
    let world = World::new(config()).await;
    assert_eq!(world.run("sync", &["--quiet"]).await.code, Some(0));
    let export = ["--format", "jsonl", "--entity", "deals"];
    for (command, args) in [("status", &[][..]), ("config", &["--json"]), ("export", &export)] {
        let mut program = world.pipedrive(command);
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = program.args(args).stdout(full).spawn().unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let ended = common::Ended::from(ended.await.unwrap());
        assert_eq!(ended.code, Some(1), "{command}: {ended:?}");
        assert!(ended.err.contains("standard output cannot be written"), "{ended:?}");

        let mut program = world.pipedrive(command);
        let mut child = program.args(args).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
        let ended = common::Ended::from(ended.await.unwrap());
        assert_eq!((ended.code, &*ended.err), (Some(0), ""), "{command}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_alone_are_a_small_price() {
    let world = World::new(config()).await;
    let ended = world.run("sync-custom-fields", &["--entity", "deal,person", "--json"]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let walks: Vec<_> = report["walks"].as_object().unwrap().keys().collect();
    assert_eq!(walks, ["deal_fields", "person_fields"]);
    assert!(world.sim.truth().day.used <= 50, "{:?}", world.sim.truth().day);
    for args in [&["--full-data"][..], &["--force"], &["--entity", "deals", "--quiet"]] {
        assert_eq!(world.run("sync-custom-fields", args).await.code, Some(0), "{args:?}");
    }
    let runs = common::kit::sqlite_texts(&world.path(), "SELECT DISTINCT command FROM runs").await;
    assert_eq!(runs, ["sync-custom-fields"]);
    let shown = world.run("runs", &[]).await.out;
    assert!(shown.contains(" sync-custom-fields "), "{shown}");
    let names = common::kit::sqlite_texts(
        &world.path(),
        "SELECT name FROM pragma_table_info('deals_view')",
    )
    .await;
    assert!(names.iter().any(|name| name == "Budget currency"), "{names:?}");
    assert_eq!(world.run("sync-custom-fields", &["--entity", "notes"]).await.code, Some(2));
}
