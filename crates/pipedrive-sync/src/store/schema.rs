//! The tables, and the marks by which a file is known as ours.

use std::fmt::Write as _;

/// `application_id` of our files: the letters `PDSY`.
pub const APPLICATION_ID: u32 = 0x5044_5359;

/// `user_version` of the newest schema.
pub const VERSION: u32 = 5;

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
    key   TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT;
CREATE TABLE runs (
    id         INTEGER PRIMARY KEY,
    command    TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at   TEXT,
    exit_code  INTEGER,
    outcome    TEXT,
    report     TEXT
) STRICT;
CREATE TABLE sync_state (
    walk       TEXT PRIMARY KEY NOT NULL,
    entity     TEXT NOT NULL,
    mode       TEXT NOT NULL CHECK (mode IN ('full', 'incremental')),
    position   TEXT,
    since      TEXT,
    started_at TEXT NOT NULL,
    max_seen   TEXT,
    high_water TEXT,
    page_size  INTEGER,
    pages      INTEGER NOT NULL DEFAULT 0,
    rows       INTEGER NOT NULL DEFAULT 0,
    done_at    TEXT,
    last_done  TEXT,
    run        INTEGER NOT NULL REFERENCES runs (id)
) STRICT;
CREATE TABLE budget (
    day        TEXT PRIMARY KEY NOT NULL,
    leased     INTEGER NOT NULL CHECK (leased >= 0),
    settled    INTEGER NOT NULL DEFAULT 0,
    day_limit  INTEGER,
    updated_at TEXT NOT NULL
) STRICT;
";

/// Where circuits stood, and which of them are to be reset.
const CIRCUITS: &str = "
CREATE TABLE circuits (
    name     TEXT PRIMARY KEY NOT NULL,
    at       TEXT NOT NULL,
    snapshot TEXT NOT NULL
) STRICT;
CREATE TABLE circuit_resets (
    name TEXT PRIMARY KEY NOT NULL,
    at   TEXT NOT NULL
) STRICT;
";

/// What failed, and what came of it; the newest only.
const FAILURES: &str = "
CREATE TABLE retry_history (
    id       INTEGER PRIMARY KEY,
    run      INTEGER NOT NULL,
    at       TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    class    TEXT NOT NULL,
    attempt  INTEGER NOT NULL,
    event    TEXT NOT NULL CHECK (event IN ('retried', 'recovered', 'gave_up', 'final')),
    reason   TEXT,
    wait_ms  INTEGER
) STRICT;
CREATE INDEX retry_history_at ON retry_history (at);
";

/// How the API was doing, as a series of samples; the newest only.
const HEALTH: &str = "
CREATE TABLE health_samples (
    id      INTEGER PRIMARY KEY,
    run     INTEGER NOT NULL,
    at      TEXT NOT NULL,
    state   TEXT NOT NULL,
    reason  TEXT NOT NULL,
    calls   INTEGER NOT NULL,
    bad     INTEGER NOT NULL,
    average_ms INTEGER NOT NULL,
    p50_ms  INTEGER,
    p95_ms  INTEGER,
    p99_ms  INTEGER
) STRICT;
";

/// Rows that could not be used, walks that failed finally, what a run was asked to do, and when each whole list was read
/// last: of what is complete, that is as good a guess as any.
const QUARANTINE: &str = "
CREATE TABLE quarantine (
    entity    TEXT NOT NULL,
    item      TEXT NOT NULL,
    row_id    TEXT,
    position  TEXT NOT NULL,
    place     INTEGER NOT NULL,
    reason    TEXT NOT NULL,
    raw       TEXT NOT NULL,
    raw_bytes INTEGER NOT NULL,
    note      TEXT,
    at        TEXT NOT NULL,
    run       INTEGER NOT NULL,
    PRIMARY KEY (entity, item)
) STRICT;
CREATE TABLE failed_walks (
    walk     TEXT PRIMARY KEY NOT NULL,
    entity   TEXT NOT NULL,
    category TEXT NOT NULL,
    reason   TEXT NOT NULL,
    at       TEXT NOT NULL,
    run      INTEGER NOT NULL
) STRICT;
CREATE TABLE sweeps (
    entity  TEXT PRIMARY KEY NOT NULL,
    done_at TEXT NOT NULL
) STRICT;
INSERT INTO sweeps (entity, done_at)
    SELECT entity, coalesce(done_at, last_done) FROM sync_state
    WHERE walk = entity AND coalesce(done_at, last_done) IS NOT NULL;
ALTER TABLE runs ADD COLUMN options TEXT;
";

/// What takes a file from version `from` to `from + 1`.
pub(crate) fn migration(from: u32) -> Option<String> {
    match from {
        0 => Some(first()),
        1 => Some(CIRCUITS.to_owned()),
        2 => Some(FAILURES.to_owned()),
        3 => Some(HEALTH.to_owned()),
        4 => Some(QUARANTINE.to_owned()),
        _ => None,
    }
}

fn first() -> String {
    let mut sql = SERVICE_TABLES.to_owned();
    for table in ENTITIES {
        // `ANY` keeps numbers numbers and texts texts: identifiers are both, and sort numbers first.
        write!(
            sql,
            "CREATE TABLE {table} (
                id          ANY PRIMARY KEY NOT NULL,
                update_time TEXT,
                add_time    ANY GENERATED ALWAYS AS (json_extract(data, '$.add_time')) VIRTUAL,
                is_deleted  INTEGER NOT NULL DEFAULT 0,
                data        TEXT NOT NULL,
                run         INTEGER NOT NULL
            ) STRICT;\n"
        )
        .expect("writing to a String cannot fail");
    }
    sql
}
