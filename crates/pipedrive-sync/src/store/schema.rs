//! The tables, and the marks by which a database is known as ours.

use super::link::Kind;

/// `application_id` of our files: the letters `PDSY`.
pub const APPLICATION_ID: u32 = 0x5044_5359;

/// The newest schema: `user_version` of an SQLite file, `schema_version` in a PostgreSQL schema's table `meta`.
pub const VERSION: u32 = 6;

/// One table each. The names are those of `pipedrive_service::Entity`.
pub const ENTITIES: [&str; 21] = [
    "users",
    "currencies",
    "activity_types",
    "filters",
    "pipelines",
    "stages",
    "deal_fields",
    "person_fields",
    "organization_fields",
    "product_fields",
    "activity_fields",
    "goals",
    "organizations",
    "persons",
    "products",
    "deals",
    "archived_deals",
    "leads",
    "activities",
    "notes",
    "files",
];

const SERVICE_TABLES: &str = "
CREATE TABLE meta (
    key   {text} PRIMARY KEY NOT NULL,
    value {text} NOT NULL
){strict};
CREATE TABLE runs (
    id         {serial},
    command    {text} NOT NULL,
    started_at {text} NOT NULL,
    ended_at   {text},
    exit_code  {int},
    outcome    {text},
    report     {text}
){strict};
CREATE TABLE sync_state (
    walk       {text} PRIMARY KEY NOT NULL,
    entity     {text} NOT NULL,
    mode       {text} NOT NULL CHECK (mode IN ('full', 'incremental')),
    position   {text},
    since      {text},
    started_at {text} NOT NULL,
    max_seen   {text},
    high_water {text},
    page_size  {int},
    pages      {int} NOT NULL DEFAULT 0,
    rows       {int} NOT NULL DEFAULT 0,
    done_at    {text},
    last_done  {text},
    run        {int} NOT NULL REFERENCES runs (id)
){strict};
CREATE TABLE budget (
    day        {text} PRIMARY KEY NOT NULL,
    leased     {int} NOT NULL CHECK (leased >= 0),
    settled    {int} NOT NULL DEFAULT 0,
    day_limit  {int},
    updated_at {text} NOT NULL
){strict};
";

/// Where circuits stood, and which of them are to be reset.
const CIRCUITS: &str = "
CREATE TABLE circuits (
    name     {text} PRIMARY KEY NOT NULL,
    at       {text} NOT NULL,
    snapshot {text} NOT NULL
){strict};
CREATE TABLE circuit_resets (
    name {text} PRIMARY KEY NOT NULL,
    at   {text} NOT NULL
){strict};
";

/// What failed, and what came of it; the newest only.
const FAILURES: &str = "
CREATE TABLE retry_history (
    id       {serial},
    run      {int} NOT NULL,
    at       {text} NOT NULL,
    endpoint {text} NOT NULL,
    class    {text} NOT NULL,
    attempt  {int} NOT NULL,
    event    {text} NOT NULL CHECK (event IN ('retried', 'recovered', 'gave_up', 'final')),
    reason   {text},
    wait_ms  {int}
){strict};
CREATE INDEX retry_history_at ON retry_history (at);
";

/// How the API was doing, as a series of samples; the newest only.
const HEALTH: &str = "
CREATE TABLE health_samples (
    id      {serial},
    run     {int} NOT NULL,
    at      {text} NOT NULL,
    state   {text} NOT NULL,
    reason  {text} NOT NULL,
    calls   {int} NOT NULL,
    bad     {int} NOT NULL,
    average_ms {int} NOT NULL,
    p50_ms  {int},
    p95_ms  {int},
    p99_ms  {int}
){strict};
";

/// Rows that could not be used, walks that failed finally, what a run was asked to do, and when each whole list was read
/// last: of what is complete, that is as good a guess as any.
const QUARANTINE: &str = "
CREATE TABLE quarantine (
    entity    {text} NOT NULL,
    item      {text} NOT NULL,
    row_id    {text},
    position  {text} NOT NULL,
    place     {int} NOT NULL,
    reason    {text} NOT NULL,
    raw       {text} NOT NULL,
    raw_bytes {int} NOT NULL,
    note      {text},
    at        {text} NOT NULL,
    run       {int} NOT NULL,
    PRIMARY KEY (entity, item)
){strict};
CREATE TABLE failed_walks (
    walk     {text} PRIMARY KEY NOT NULL,
    entity   {text} NOT NULL,
    category {text} NOT NULL,
    reason   {text} NOT NULL,
    at       {text} NOT NULL,
    run      {int} NOT NULL
){strict};
CREATE TABLE sweeps (
    entity  {text} PRIMARY KEY NOT NULL,
    done_at {text} NOT NULL
){strict};
INSERT INTO sweeps (entity, done_at)
    SELECT entity, coalesce(done_at, last_done) FROM sync_state
    WHERE walk = entity AND coalesce(done_at, last_done) IS NOT NULL;
ALTER TABLE runs ADD COLUMN options {text};
";

/// What takes a database from version `from` to `from + 1`.
///
/// Written once for both: `{serial}` is a number that counts up by itself, `{int}` one of 64 bits, `{text}` a text that
/// sorts letter by letter, and `{strict}` ends a table.
pub(super) fn migration(kind: Kind, from: u32) -> Option<String> {
    let step = match from {
        0 => first(kind),
        1 => CIRCUITS.to_owned(),
        2 => FAILURES.to_owned(),
        3 => HEALTH.to_owned(),
        4 => QUARANTINE.to_owned(),
        5 => seen(kind),
        _ => return None,
    };
    let [serial, int, text, strict] = match kind {
        Kind::Sqlite => ["INTEGER PRIMARY KEY", "INTEGER", "TEXT", " STRICT"],
        // The order of letters must not depend on how the database was made: times are compared as texts.
        Kind::Postgres => [
            "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY",
            "BIGINT",
            "TEXT COLLATE \"C\"",
            "",
        ],
    };
    let step = step.replace("{serial}", serial).replace("{int}", int);
    Some(step.replace("{text}", text).replace("{strict}", strict))
}

fn first(kind: Kind) -> String {
    let mut sql = SERVICE_TABLES.to_owned();
    for table in ENTITIES {
        sql.push_str(&entity(kind, table));
    }
    sql
}

/// Rows that a full walk under way has found as they are held, which therefore do not bear its number.
fn seen(kind: Kind) -> String {
    match kind {
        Kind::Sqlite => {
            "CREATE TABLE seen (
            entity TEXT NOT NULL,
            id     ANY NOT NULL,
            PRIMARY KEY (entity, id)
        ) STRICT, WITHOUT ROWID;"
        }
        Kind::Postgres => {
            "CREATE TABLE seen (
            entity  {text} NOT NULL,
            id      BIGINT,
            id_text {text}
        );"
        }
    }
    .to_owned()
}

fn entity(kind: Kind, table: &str) -> String {
    match kind {
        // `ANY` keeps numbers numbers and texts texts: identifiers are both, and sort numbers first.
        Kind::Sqlite => format!(
            "CREATE TABLE {table} (
                id          ANY PRIMARY KEY NOT NULL,
                update_time TEXT,
                add_time    ANY GENERATED ALWAYS AS (json_extract(data, '$.add_time')) VIRTUAL,
                is_deleted  INTEGER NOT NULL DEFAULT 0,
                data        TEXT NOT NULL,
                run         INTEGER NOT NULL
            ) STRICT;\n"
        ),
        // A column has one type, so numbers and texts have one each, and a row uses one of them. `json` keeps the
        // text as it came, which `jsonb` does not: order and repetition of keys, blanks, the digits of a number, and
        // `\u0000`, which it refuses.
        Kind::Postgres => format!(
            "CREATE TABLE {table} (
                id          BIGINT UNIQUE,
                id_text     TEXT COLLATE \"C\",
                update_time TEXT COLLATE \"C\",
                is_deleted  BOOLEAN NOT NULL DEFAULT false,
                data        JSON NOT NULL,
                run         BIGINT NOT NULL,
                CHECK ((id IS NULL) <> (id_text IS NULL))
            );
            CREATE UNIQUE INDEX {table}_id_text ON {table} (id_text) WHERE id_text IS NOT NULL;\n"
        ),
    }
}
