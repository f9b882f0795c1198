//! The tables. Their names begin with `pipeline_`, so that a database can hold others beside them.

/// What takes the tables from version `from` to `from + 1`. `id` declares a number that is given once.
pub(super) fn migration(from: i64, id: &str, pending_index: &str) -> Option<String> {
    (from == 0).then(|| first(id, pending_index))
}

fn first(id: &str, pending_index: &str) -> String {
    format!(
        "
CREATE TABLE pipeline_runs (
    id            {id},
    name          TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    epoch         BIGINT NOT NULL DEFAULT 0,
    settled       BIGINT NOT NULL DEFAULT 0,
    checkpoint_at BIGINT NOT NULL
);
CREATE TABLE pipeline_phases (
    id         {id},
    pipeline   BIGINT NOT NULL REFERENCES pipeline_runs (id),
    ordinal    BIGINT NOT NULL,
    name       TEXT NOT NULL,
    pending    BIGINT NOT NULL DEFAULT 0,
    processing BIGINT NOT NULL DEFAULT 0,
    completed  BIGINT NOT NULL DEFAULT 0,
    failed     BIGINT NOT NULL DEFAULT 0,
    skipped    BIGINT NOT NULL DEFAULT 0,
    waiting    BIGINT NOT NULL DEFAULT 0,
    UNIQUE (pipeline, name)
);
CREATE TABLE pipeline_state (
    id         {id},
    phase      BIGINT NOT NULL,
    name       TEXT NOT NULL,
    state      BIGINT NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 5),
    lease      BIGINT,
    attempts   BIGINT NOT NULL DEFAULT 0,
    lost_leases BIGINT NOT NULL DEFAULT 0,
    epoch      BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    category   TEXT,
    message    TEXT,
    UNIQUE (phase, name)
);
CREATE INDEX pipeline_state_pending ON pipeline_state {pending_index} WHERE state = 0;
CREATE INDEX pipeline_state_failed ON pipeline_state (phase, id) WHERE state = 3;
CREATE TABLE pipeline_leases (
    id         {id},
    pipeline   BIGINT NOT NULL,
    phase      BIGINT NOT NULL,
    worker     TEXT NOT NULL,
    ends_at    BIGINT NOT NULL,
    first_item BIGINT NOT NULL DEFAULT 0,
    last_item  BIGINT NOT NULL DEFAULT 0,
    remaining  BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX pipeline_leases_ends ON pipeline_leases (pipeline, ends_at);
CREATE TABLE pipeline_checkpoints (
    pipeline BIGINT NOT NULL REFERENCES pipeline_runs (id),
    seq      BIGINT NOT NULL,
    made_at  BIGINT NOT NULL,
    label    TEXT NOT NULL,
    progress TEXT NOT NULL,
    payload  {bytes},
    checksum {bytes} NOT NULL,
    PRIMARY KEY (pipeline, seq)
);
",
        bytes = if id.starts_with("BIGINT") { "BYTEA" } else { "BLOB" },
    )
}

/// Where the version is kept.
pub(super) const VERSION_TABLE: &str =
    "CREATE TABLE IF NOT EXISTS pipeline_schema (version BIGINT NOT NULL)";
