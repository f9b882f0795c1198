//! Rows as columns: the statement that reads a kind of record with its fields by their names, and the views made of it.
//!
//! A view follows its definitions: whenever rows of a table of fields are committed, and when a database is opened to be
//! written, the views whose statement has changed are made anew. That is done beside the transaction of the rows, and
//! that it fails (somebody reads the view for long, something of the user's depends on it) is no reason to end a sync: it
//! is tried again the next time.

use std::{collections::HashMap, fmt::Write as _};

use sha2::{Digest as _, Sha256};
use sqlx::AssertSqlSafe;

use super::{
    Store, StoreError,
    again::guarded,
    fields::{self, Column, Definition, Type},
    link::{Fields, Kind, Link},
    schema::ENTITIES,
};

/// Functions that PostgreSQL lacks: what cannot be read is null, and never a reason to give no row at all.
const FUNCTIONS: &str = r"
CREATE OR REPLACE FUNCTION pipedrive_json(given json) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN given::jsonb;
EXCEPTION WHEN OTHERS THEN
    -- A NUL or half a pair of surrogates, which no text of the server can hold.
    RETURN regexp_replace(given::text, '\\u(0000|[dD][89a-fA-F][0-9a-fA-F]{2})', '\\ufffd', 'g')::jsonb;
END $$;
CREATE OR REPLACE FUNCTION pipedrive_number(given text) RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN given::numeric;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION pipedrive_int(given text) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN given::bigint;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION pipedrive_date(given text) RETURNS date LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE WHEN given ~ '^\d{4}-\d\d-\d\d' THEN left(given, 10)::date END;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;
CREATE OR REPLACE FUNCTION pipedrive_time(given text) RETURNS timestamptz LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN CASE WHEN given ~ '^\d{4}-\d\d-\d\d[T ].*([Zz]|[+-]\d\d:?\d\d)$' THEN given::timestamptz
                WHEN given ~ '^\d{4}-\d\d-\d\d' THEN (given || '+00')::timestamptz END;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END $$;
";

/// The columns of a kind of record as its definitions are now.
pub(super) async fn columns(link: &mut Link<'_>, entity: &str) -> Result<Vec<Column>, StoreError> {
    let Some(table) = fields::defined_by(entity) else { return Ok(fields::columns(entity, &[])) };
    let kind = link.kind();
    let sql = format!(
        "SELECT {} AS data FROM {table} WHERE NOT is_deleted ORDER BY {}",
        kind.data(),
        kind.id().1
    );
    let all = link.rows(AssertSqlSafe(sql), &[], |row| Ok(Definition::parse(&row.text("data")?)));
    let definitions: Vec<_> = all.await?.into_iter().flatten().collect();
    Ok(fields::columns(entity, &definitions))
}

/// Reads all rows of a table with these columns. A condition on `r` and an order may follow.
pub(super) fn select(kind: Kind, entity: &str, columns: &[Column]) -> String {
    let mut sql = match kind {
        Kind::Sqlite => "SELECT r.id, r.update_time, r.is_deleted".to_owned(),
        Kind::Postgres => {
            "SELECT r.id, r.id_text, pipedrive_time(r.update_time) AS update_time, r.is_deleted"
                .to_owned()
        }
    };
    for column in columns {
        let value = match kind {
            Kind::Sqlite => sqlite(column),
            Kind::Postgres => postgres(column),
        };
        write!(sql, ",\n {value} AS \"{}\"", column.name.replace('"', "\"\""))
            .expect("writing to a String cannot fail");
    }
    match kind {
        Kind::Sqlite => write!(sql, "\nFROM {entity} AS r"),
        // Read once for all columns. `OFFSET 0` keeps the server from reading it once for each.
        Kind::Postgres => write!(
            sql,
            "\nFROM {entity} AS r CROSS JOIN LATERAL (SELECT pipedrive_json(r.data) AS j OFFSET 0) AS parsed"
        ),
    }
    .expect("writing to a String cannot fail");
    sql
}

fn quoted(text: &str) -> String {
    // PostgreSQL has no NUL in a text, and SQLite ends a statement there.
    format!("'{}'", text.replace('\'', "''").replace('\0', "\u{fffd}"))
}

/// A label in place of the identifier in `id`.
fn label(id: &str, options: &[(String, String)]) -> String {
    if options.is_empty() {
        return id.to_owned();
    }
    let mut sql = format!("CASE {id}");
    for (id, label) in options {
        write!(sql, " WHEN {} THEN {}", quoted(id), quoted(label))
            .expect("writing to a String cannot fail");
    }
    sql + &format!(" ELSE {id} END")
}

fn sqlite(column: &Column) -> String {
    let key = &column.key;
    // Where it may lie: nested in version 2, flat in version 1.
    let mut paths = vec![format!("$.\"{key}\"")];
    if column.custom {
        paths.insert(0, format!("$.custom_fields.\"{key}\""));
    }
    let read: Vec<_> = match column.part {
        Some((part, suffix)) => {
            let flat = format!("$.\"{key}{suffix}\"");
            let nested = paths.iter().map(|path| format!("{path}.{part}"));
            nested.chain([flat]).map(|path| format!("r.data ->> {}", quoted(&path))).collect()
        }
        None if matches!(column.kind, Type::Options) => {
            paths.iter().map(|path| format!("r.data ->> {}", quoted(path))).collect()
        }
        None => paths
            .iter()
            .map(|path| {
                let (whole, value) = (quoted(path), quoted(&format!("{path}.value")));
                format!("CASE json_type(r.data, {whole}) WHEN 'object' THEN r.data ->> {value} ELSE r.data ->> {whole} END")
            })
            .collect(),
    };
    let value =
        if let [one] = &*read { one.clone() } else { format!("coalesce({})", read.join(", ")) };
    match column.kind {
        Type::Text => format!("CAST({value} AS TEXT)"),
        Type::Date => format!(
            "(SELECT CASE WHEN v GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*' AND date(substr(v, 1, 10)) IS NOT NULL
              THEN substr(v, 1, 10) END FROM (SELECT {value} AS v))"
        ),
        Type::Time => value,
        Type::Int | Type::Number => format!(
            "(SELECT CASE WHEN typeof(v) IN ('integer', 'real') THEN v
              WHEN json_valid(v) AND json_type(v) IN ('integer', 'real') THEN v ->> '$' END FROM (SELECT {value} AS v))"
        ),
        Type::Flag => format!(
            "(SELECT CASE WHEN v IN (1, '1', 'true') THEN 1 WHEN v IN (0, '0', 'false') THEN 0 END FROM (SELECT {value} AS v))"
        ),
        Type::Option => {
            let label = label("v", &column.options);
            format!("(SELECT {label} FROM (SELECT CAST({value} AS TEXT) AS v))")
        }
        Type::Options => {
            let label = label("CAST(e.value AS TEXT)", &column.options);
            format!(
                "(SELECT (SELECT group_concat({label}, ', ') FROM json_each(CASE
                    WHEN v IS NULL OR v = '' THEN '[]'
                    WHEN json_valid(v) AND json_type(v) = 'array' THEN v
                    WHEN json_valid('[' || v || ']') THEN '[' || v || ']'
                    ELSE json_array(v) END) AS e) FROM (SELECT {value} AS v))"
            )
        }
    }
}

fn postgres(column: &Column) -> String {
    let key = quoted(&column.key);
    let mut places = vec![format!("j -> {key}")];
    if column.custom {
        places.insert(0, format!("j -> 'custom_fields' -> {key}"));
    }
    let coalesce = |all: Vec<String>| {
        if let [one] = &*all { format!("({one})") } else { format!("coalesce({})", all.join(", ")) }
    };
    // Null of JSON is not null of SQL.
    let whole = coalesce(places.iter().map(|place| format!("nullif({place}, 'null')")).collect());
    let text = match column.part {
        Some((part, suffix)) => {
            let nested = places.iter().map(|place| format!("{place} ->> {}", quoted(part)));
            let flat = format!("j ->> {}", quoted(&format!("{}{suffix}", column.key)));
            coalesce(nested.chain([flat]).collect())
        }
        None => format!(
            "(SELECT CASE jsonb_typeof(v) WHEN 'object' THEN v ->> 'value' ELSE v #>> '{{}}' END FROM (SELECT {whole} AS v) AS one)"
        ),
    };
    match column.kind {
        Type::Text => text,
        Type::Int => format!("pipedrive_int({text})"),
        Type::Number => format!("pipedrive_number({text})"),
        Type::Date => format!("pipedrive_date({text})"),
        Type::Time => format!("pipedrive_time({text})"),
        Type::Flag => format!(
            "CASE WHEN {text} IN ('1', 'true') THEN true WHEN {text} IN ('0', 'false') THEN false END"
        ),
        Type::Option => {
            format!("(SELECT {} FROM (SELECT {text} AS v) AS one)", label("v", &column.options))
        }
        Type::Options => {
            let label = label("e.id", &column.options);
            format!(
                "(SELECT string_agg({label}, ', ' ORDER BY e.n) FROM (SELECT {whole} AS v) AS one,
                  LATERAL unnest(CASE jsonb_typeof(v)
                    WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(v))
                    WHEN 'string' THEN string_to_array(v #>> '{{}}', ',')
                    WHEN 'number' THEN ARRAY[v #>> '{{}}'] END) WITH ORDINALITY AS e (id, n))"
            )
        }
    }
}

impl Store {
    /// Has every view made anew the next time, even where no definition has changed.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn forget_views(&mut self) -> Result<(), StoreError> {
        self.conn.link().execute("DELETE FROM meta WHERE key LIKE 'view:%'", &[]).await?;
        Ok(())
    }

    /// Makes the views anew whose definitions have changed, and says how many. PostgreSQL keeps rights on a view, and
    /// what depends on it, where its columns stay or more come at the end.
    ///
    /// # Errors
    ///
    /// If the database cannot be written, or somebody holds on to a view. The others are made all the same.
    pub async fn refresh_views(&mut self) -> Result<u32, StoreError> {
        guarded!(self, self.remake_views())
    }

    async fn remake_views(&mut self) -> Result<u32, StoreError> {
        let mut link = self.conn.link();
        let kind = link.kind();
        let sql = "SELECT key, value FROM meta WHERE key LIKE 'view:%'";
        let read = |row: &dyn Fields| Ok((row.text("key")?, row.text("value")?));
        let noted: HashMap<_, _> = link.rows(sql, &[], read).await?.into_iter().collect();
        let mut changed = Vec::new();
        for entity in ENTITIES {
            let select = select(kind, entity, &columns(&mut link, entity).await?);
            let hash = Sha256::digest(&select).iter().fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").expect("writing to a String cannot fail");
                text
            });
            let key = format!("view:{entity}");
            if noted.get(&key) != Some(&hash) {
                changed.push((entity, select, key, hash));
            }
        }
        if changed.is_empty() {
            return Ok(0);
        }
        let mut tx = self.conn.begin().await?;
        if kind == Kind::Postgres {
            // Who reads a view for long must not keep the sync waiting.
            tx.link().run("SET LOCAL lock_timeout = '2s'").await?;
            tx.link().run(FUNCTIONS).await?;
        }
        let (mut made, mut failed) = (0, None);
        for (entity, select, key, hash) in changed {
            match remake(&mut tx.link(), entity, &select).await {
                Ok(()) => {
                    let sql = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2";
                    tx.link().execute(sql, &[(&key).into(), (&hash).into()]).await?;
                    made += 1;
                }
                Err(error) => {
                    tracing::warn!(target: "pipedrive_sync::store", %error, view = format!("{entity}_view"), "not brought up to date");
                    failed = failed.or(Some(error));
                }
            }
        }
        tx.commit().await?;
        failed.map_or(Ok(made), Err)
    }
}

/// Whole, or as it was.
async fn remake(link: &mut Link<'_>, entity: &str, select: &str) -> Result<(), StoreError> {
    let create = |replace: &str| format!("CREATE {replace}VIEW {entity}_view AS {select}");
    let anew = format!("DROP VIEW IF EXISTS {entity}_view; {}", create(""));
    let ways = match link.kind() {
        Kind::Sqlite => vec![anew],
        Kind::Postgres => vec![create("OR REPLACE "), anew],
    };
    let mut result = Ok(());
    for way in ways {
        link.run("SAVEPOINT one_view").await?;
        result = link.run(AssertSqlSafe(way)).await;
        if result.is_ok() {
            return link.run("RELEASE SAVEPOINT one_view").await;
        }
        link.run("ROLLBACK TO SAVEPOINT one_view").await?;
    }
    result
}
