//! What must outlive a process, beside where the items stand: answers that were paid for, what
//! each cost, what was planned, and what was found. One SQLite file.

use std::{collections::BTreeMap, path::Path};

use examples::BoxError;
use serde_json::Value;
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::world::Company;

/// Answers that are kept; the one that was not used for the longest time goes first.
pub(crate) const MAX_ANSWERS: i64 = 2_000;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS answers (
        service TEXT, key TEXT, answer TEXT NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (service, key));
    CREATE INDEX IF NOT EXISTS answers_by_use ON answers (used);
    CREATE TABLE IF NOT EXISTS spent (
        service TEXT, key TEXT, endpoint TEXT NOT NULL, units INTEGER NOT NULL, PRIMARY KEY (service, key));
    CREATE TABLE IF NOT EXISTS planned (
        service TEXT, endpoint TEXT, units INTEGER NOT NULL, PRIMARY KEY (service, endpoint));
    CREATE TABLE IF NOT EXISTS companies (domain TEXT PRIMARY KEY, company TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS report (industry TEXT PRIMARY KEY, line TEXT NOT NULL)";

#[derive(Clone)]
pub(crate) struct Books {
    pool: SqlitePool,
}

/// One item's answer, as it was paid for.
pub(crate) struct Paid<'a> {
    pub(crate) of: &'a str,
    pub(crate) units: u64,
    pub(crate) answer: &'a Value,
}

/// Planned and used units of one endpoint.
#[derive(Default)]
pub(crate) struct Used {
    pub(crate) planned: u64,
    pub(crate) used: u64,
    pub(crate) calls: u64,
}

fn key(endpoint: &str, of: &str) -> String {
    format!("{endpoint}/{of}")
}

impl Books {
    pub(crate) async fn open(folder: &Path) -> Result<Self, BoxError> {
        let file = SqliteConnectOptions::new()
            .filename(folder.join("books.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // An answer that a crash of the machine takes can be asked for again without a charge.
            .synchronous(SqliteSynchronous::Normal);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(file).await?;
        sqlx::raw_sql(TABLES).execute(&pool).await?;
        Ok(Self { pool })
    }

    /// An answer that was paid for before.
    pub(crate) async fn answer(
        &self,
        service: &str,
        endpoint: &str,
        of: &str,
    ) -> Result<Option<Value>, BoxError> {
        let found: Option<(String,)> = sqlx::query_as(
            "UPDATE answers SET used = (SELECT max(used) + 1 FROM answers)
             WHERE service = ? AND key = ? RETURNING answer",
        )
        .bind(service)
        .bind(key(endpoint, of))
        .fetch_optional(&self.pool)
        .await?;
        Ok(found.map(|(answer,)| serde_json::from_str(&answer)).transpose()?)
    }

    /// Keeps what was paid for: the answers, and what each cost, in one transaction.
    pub(crate) async fn enter(
        &self,
        service: &str,
        endpoint: &str,
        paid: &[Paid<'_>],
    ) -> Result<(), BoxError> {
        let mut tx = self.pool.begin().await?;
        for Paid { of, units, answer } in paid {
            sqlx::query(
                "INSERT OR REPLACE INTO answers
                 VALUES (?, ?, ?, (SELECT coalesce(max(used), 0) + 1 FROM answers))",
            )
            .bind(service)
            .bind(key(endpoint, of))
            .bind(answer.to_string())
            .execute(&mut *tx)
            .await?;
            sqlx::query("INSERT OR IGNORE INTO spent VALUES (?, ?, ?, ?)")
                .bind(service)
                .bind(key(endpoint, of))
                .bind(endpoint)
                .bind(*units as i64)
                .execute(&mut *tx)
                .await?;
        }
        sqlx::query(
            "DELETE FROM answers WHERE rowid IN
             (SELECT rowid FROM answers ORDER BY used DESC LIMIT -1 OFFSET ?)",
        )
        .bind(MAX_ANSWERS)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Sets what is planned of an endpoint: what it has used, and so much more.
    pub(crate) async fn plan(
        &self,
        service: &str,
        endpoint: &str,
        more: u64,
    ) -> Result<(), BoxError> {
        sqlx::query(
            "INSERT OR REPLACE INTO planned SELECT ?1, ?2, ?3 + coalesce(sum(units), 0)
             FROM spent WHERE service = ?1 AND endpoint = ?2",
        )
        .bind(service)
        .bind(endpoint)
        .bind(more as i64)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// What was planned and used, by service and endpoint.
    pub(crate) async fn used(&self) -> Result<BTreeMap<(String, String), Used>, BoxError> {
        let rows: Vec<(String, String, i64, i64, i64)> = sqlx::query_as(
            "SELECT service, endpoint, planned.units, coalesce(sum(spent.units), 0), count(spent.key)
             FROM planned LEFT JOIN spent USING (service, endpoint) GROUP BY service, endpoint",
        )
        .fetch_all(&self.pool)
        .await?;
        let used = |(service, endpoint, planned, used, calls): (_, _, i64, i64, i64)| {
            let [planned, used, calls] = [planned, used, calls].map(i64::cast_unsigned);
            ((service, endpoint), Used { planned, used, calls })
        };
        Ok(rows.into_iter().map(used).collect())
    }

    /// How many answers are kept.
    pub(crate) async fn answers(&self) -> Result<i64, BoxError> {
        Ok(sqlx::query_scalar("SELECT count(*) FROM answers").fetch_one(&self.pool).await?)
    }

    pub(crate) async fn found(&self, domain: &str, company: &Company) -> Result<(), BoxError> {
        sqlx::query("INSERT OR REPLACE INTO companies VALUES (?, ?)")
            .bind(domain)
            .bind(serde_json::to_string(company)?)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(crate) async fn companies(&self) -> Result<Vec<(String, Company)>, BoxError> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT domain, company FROM companies").fetch_all(&self.pool).await?;
        let read = |(domain, company): (_, String)| Ok((domain, serde_json::from_str(&company)?));
        rows.into_iter().map(read).collect()
    }

    pub(crate) async fn write(&self, industry: &str, line: &str) -> Result<(), BoxError> {
        sqlx::query("INSERT OR REPLACE INTO report VALUES (?, ?)")
            .bind(industry)
            .bind(line)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    pub(crate) async fn report(&self) -> Result<Vec<(String, String)>, BoxError> {
        let rows = sqlx::query_as("SELECT industry, line FROM report ORDER BY industry");
        Ok(rows.fetch_all(&self.pool).await?)
    }
}
