//! Views with the company's own fields, on either database.

use pipedrive_sync::store::{Id, Mode, RowWrite, Store};

use super::store::{page, walk};
use crate::common::kit::{Kit, Place};

const SIZE: &str = "0123456789abcdef0123456789abcdef01234567";
const BUDGET: &str = "1123456789abcdef0123456789abcdef01234567";
const COLOURS: &str = "2123456789abcdef0123456789abcdef01234567";
const START: &str = "3123456789abcdef0123456789abcdef01234567";

fn definition(key: &str, name: &str, kind: &str, options: &str) -> String {
    format!(
        r#"{{"field_code":"{key}","field_name":{name:?},"field_type":"{kind}","is_custom_field":true,"options":{options}}}"#
    )
}

async fn write(store: &mut Store, entity: &str, mode: Mode, rows: &[(Id<'_>, String)]) {
    let run = store.begin_run("sync").await.unwrap();
    let state = walk(entity, mode, run);
    store.begin_walks([&state]).await.unwrap();
    let rows: Vec<_> = rows
        .iter()
        .map(|(id, data)| RowWrite { id: *id, update_time: Some("2026-03-01T10:00:00Z"), data })
        .collect();
    store.commit(&[page(&state, &rows, None)], None).await.unwrap();
}

/// The fields of a deal, version 2, as a full walk of the definitions brings them.
async fn define(store: &mut Store, fields: &[(&str, &str, &str, &str)]) {
    let mut rows = vec![(
        Id::Text("title"),
        r#"{"field_code":"title","field_name":"Title","field_type":"varchar","is_custom_field":false}"#
            .to_owned(),
    )];
    rows.extend(
        fields.iter().map(|(key, name, kind, options)| {
            (Id::Text(key), definition(key, name, kind, options))
        }),
    );
    write(store, "deal_fields", Mode::Full, &rows).await;
}

const OPTIONS: &str = r#"[{"id":1,"label":"Small, or 'less'"},{"id":2,"label":"Large"}]"#;

async fn is(place: &Place, what: &str, expected: &[&str]) {
    assert_eq!(place.texts(what).await, expected, "{what}");
}

pub async fn a_view_has_the_fields_by_their_names_in_both_versions_shapes(kit: &Kit) {
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    let fields = [
        (SIZE, "Size", "enum", OPTIONS),
        (BUDGET, "Bud\"get", "monetary", "null"),
        (COLOURS, "Colours", "set", OPTIONS),
        (START, "Start", "date", "null"),
    ];
    define(&mut store, &fields).await;
    let v2 = format!(
        r#"{{"id":1,"title":"one","custom_fields":{{"{SIZE}":2,"{BUDGET}":{{"value":900.5,"currency":"EUR"}},"{COLOURS}":[2,1,7],"{START}":"2026-02-03"}}}}"#
    );
    let v1 = format!(
        r#"{{"id":2,"title":"two","{SIZE}":"1","{BUDGET}":"900.50","{BUDGET}_currency":"USD","{COLOURS}":"2,1","{START}":"0000-00-00"}}"#
    );
    let empty = format!(
        r#"{{"id":3,"title":null,"custom_fields":{{"{SIZE}":null,"{BUDGET}":null,"{COLOURS}":null}}}}"#
    );
    let odd = format!(
        r#"{{"id":4,"title":"\\u0000 \\ud83d","{SIZE}":"9","{BUDGET}":"many","{COLOURS}":"","{START}":7}}"#
    );
    let rows = [v2, v1, empty, odd];
    let rows: Vec<_> = (1..).map(Id::Number).zip(rows).collect();
    write(&mut store, "deals", Mode::Full, &rows).await;

    let of = |column: &str| format!("SELECT {column} FROM deals_view ORDER BY id");
    is(&place, &of("id"), &["1", "2", "3", "4"]).await;
    is(&place, &of("\"Size\""), &["Large", "Small, or 'less'", "-", "9"]).await;
    is(&place, &of("\"Bud\"\"get currency\""), &["EUR", "USD", "-", "-"]).await;
    is(
        &place,
        &of("\"Colours\"").replace("ORDER BY id", "WHERE id < 4 ORDER BY id"),
        &["Large, Small, or 'less', 7", "Large, Small, or 'less'", "-"],
    )
    .await;
    let numbers = "SELECT id FROM deals_view WHERE \"Bud\"\"get\" = 900.5 ORDER BY id";
    is(&place, numbers, &["1", "2"]).await;
    is(&place, &of("title").replace("ORDER", "WHERE id < 4 ORDER"), &["one", "two", "-"]).await;
    let after = "SELECT id FROM deals_view WHERE \"Start\" >= '2026-02-03' AND update_time >= '2026-03-01' AND NOT is_deleted";
    is(&place, after, &["1"]).await;
    is(&place, "SELECT count(*) FROM persons_view", &["0"]).await;
    is(&place, "SELECT count(*) FROM leads_view WHERE \"Size\" IS NULL", &["0"]).await;
}

pub async fn a_view_follows_its_definitions(kit: &Kit) {
    let place = kit.place();
    let mut store = Store::open(&place.database).await.unwrap();
    define(&mut store, &[(SIZE, "Size", "enum", OPTIONS)]).await;
    let row = format!(r#"{{"id":1,"custom_fields":{{"{SIZE}":2,"{START}":"2026-02-03"}}}}"#);
    write(&mut store, "deals", Mode::Full, &[(Id::Number(1), row)]).await;
    let size = "SELECT \"Size\" FROM deals_view";
    is(&place, size, &["Large"]).await;
    // An option is renamed, a field comes.
    let options = OPTIONS.replace("Large", "Huge");
    define(&mut store, &[(SIZE, "Size", "enum", &options), (START, "Start", "varchar", "null")])
        .await;
    is(&place, "SELECT \"Size\" || \"Start\" FROM deals_view", &["Huge2026-02-03"]).await;
    // One is renamed, one goes.
    define(&mut store, &[(SIZE, "Extent", "enum", &options)]).await;
    is(&place, "SELECT \"Extent\" FROM deals_view", &["Huge"]).await;
    assert!(place.try_texts("SELECT d.\"Start\" FROM deals_view AS d").await.is_err());
    assert_eq!(store.refresh_views().await.unwrap(), 0, "nothing is made anew without need");
    // It is found when the database is opened, too.
    store.close().await.unwrap();
    place.sql("DELETE FROM meta WHERE key = 'view:deals'; DROP VIEW deals_view").await;
    Store::open(&place.database).await.unwrap();
    is(&place, "SELECT \"Extent\" FROM deals_view", &["Huge"]).await;
}

pub async fn who_holds_on_to_a_view_does_not_stop_a_sync(kit: &Kit) {
    let place = kit.place();
    if place.is_file() {
        // SQLite has nothing that depends on a view.
        return;
    }
    let mut store = Store::open(&place.database).await.unwrap();
    define(&mut store, &[(SIZE, "Size", "enum", OPTIONS), (START, "Start", "date", "null")]).await;
    place.sql("CREATE VIEW theirs AS SELECT id, \"Size\" FROM deals_view").await;
    // What keeps its columns is replaced under them.
    let options = OPTIONS.replace("Large", "Huge");
    define(&mut store, &[(SIZE, "Size", "enum", &options), (START, "Start", "date", "null")]).await;
    let row = format!(r#"{{"id":1,"custom_fields":{{"{SIZE}":2}}}}"#);
    write(&mut store, "deals", Mode::Full, &[(Id::Number(1), row)]).await;
    is(&place, "SELECT \"Size\" FROM theirs", &["Huge"]).await;
    // What loses one stays as it is, and the rows come all the same.
    define(&mut store, &[]).await;
    is(&place, "SELECT \"Size\" FROM deals_view", &["Huge"]).await;
    assert_eq!(store.counts().await.unwrap()["deal_fields"], (1, 0));
    assert!(store.refresh_views().await.is_err());
    place.sql("DROP VIEW theirs").await;
    assert!(store.refresh_views().await.unwrap() > 0);
    assert!(place.try_texts("SELECT \"Size\" FROM deals_view").await.is_err());
}
