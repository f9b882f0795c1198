//! The day's budget: what may be spent is on the disk before it is spent.

use super::{
    Access, Database, Reader, Store, StoreError,
    again::{self, marked, repeated},
    beside,
    link::{Fields, Link},
};
use crate::wall;

/// The key in `meta` under which the limits of the last sync are kept.
const LIMITS: &str = "limits";

/// One row of `budget`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct BudgetRow {
    /// The day, in the budget's own time zone.
    pub day: String,
    /// Tokens that may have been spent: never less than what was.
    pub leased: u64,
    /// Tokens known to be spent at the last commit of a page.
    pub settled: u64,
    /// The day's budget, where known.
    pub limit: Option<u64>,
}

impl Store {
    /// Writes that up to `leased` tokens of the day may be spent. On the disk when it returns.
    ///
    /// # Errors
    ///
    /// If the database cannot be written; then nothing may be spent.
    pub async fn lease(
        &mut self,
        day: &str,
        leased: u64,
        limit: Option<u64>,
    ) -> Result<(), StoreError> {
        // It leaves a mark, so that a server which has lost it is not taken for one that has it.
        marked!(self, |mark| self.write_lease(day, leased, limit, &mark));
        Ok(())
    }

    async fn write_lease(
        &mut self,
        day: &str,
        leased: u64,
        limit: Option<u64>,
        mark: &str,
    ) -> Result<(), StoreError> {
        let sql = "INSERT INTO budget (day, leased, day_limit, updated_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (day) DO UPDATE SET leased = $2,
               day_limit = coalesce($3, budget.day_limit), updated_at = $4";
        let now = wall::now_text();
        let args = [day.into(), leased.into(), limit.into(), (&now).into()];
        let mut tx = self.conn.begin().await?;
        tx.link().execute(sql, &args).await?;
        again::leave(tx.link(), mark).await?;
        tx.commit().await
    }

    /// The day's limit as the server said it last, on whatever day.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn known_limit(&mut self) -> Result<Option<u64>, StoreError> {
        repeated!(self, known_limit(self.conn.link()))
    }

    /// What is known about a day.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn budget(&mut self, day: &str) -> Result<Option<BudgetRow>, StoreError> {
        repeated!(self, budget(self.conn.link(), day))
    }

    /// Keeps a picture of the limits for `pipedrive limits`, in place of the one before.
    ///
    /// # Errors
    ///
    /// If the database cannot be written.
    pub async fn note_limits(&mut self, picture: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = $2";
        repeated!(self, self.conn.link().execute(sql, &[LIMITS.into(), picture.into()])).map(drop)
    }
}

impl Reader {
    /// As [`Store::known_limit`].
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn known_limit(&mut self) -> Result<Option<u64>, StoreError> {
        known_limit(self.conn.link()).await
    }

    /// As [`Store::budget`].
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn budget(&mut self, day: &str) -> Result<Option<BudgetRow>, StoreError> {
        budget(self.conn.link(), day).await
    }

    /// What [`Store::note_limits`] kept last.
    ///
    /// # Errors
    ///
    /// If the database cannot be read.
    pub async fn limits(&mut self) -> Result<Option<String>, StoreError> {
        let sql = "SELECT value FROM meta WHERE key = $1";
        self.conn.link().row(sql, &[LIMITS.into()], |row| row.text("value")).await
    }
}

async fn known_limit(mut link: Link<'_>) -> Result<Option<u64>, StoreError> {
    let sql = "SELECT day_limit FROM budget WHERE day_limit IS NOT NULL ORDER BY day DESC LIMIT 1";
    link.row(sql, &[], |row| row.count("day_limit")).await
}

async fn budget(mut link: Link<'_>, day: &str) -> Result<Option<BudgetRow>, StoreError> {
    link.row("SELECT * FROM budget WHERE day = $1", &[day.into()], read).await
}

pub(super) fn read(row: &dyn Fields) -> Result<BudgetRow, StoreError> {
    Ok(BudgetRow {
        day: row.text("day")?,
        leased: row.count("leased")?,
        settled: row.count("settled")?,
        limit: row.opt_count("day_limit")?,
    })
}

/// Adds to a day's lease without the writer's lock, for a program that spends a little beside a sync.
///
/// A sync that runs meanwhile learns of it from the server's next answer.
///
/// # Errors
///
/// If the database cannot be written.
pub async fn note_spent(database: &Database, day: &str, tokens: u64) -> Result<(), StoreError> {
    let mut conn = beside(database, Access::Write).await?;
    let sql = "INSERT INTO budget (day, leased, updated_at) VALUES ($1, $2, $3)
         ON CONFLICT (day) DO UPDATE SET leased = budget.leased + $2, updated_at = $3";
    let now = wall::now_text();
    let args = [day.into(), tokens.into(), (&now).into()];
    conn.link().execute(sql, &args).await?;
    conn.close().await
}
