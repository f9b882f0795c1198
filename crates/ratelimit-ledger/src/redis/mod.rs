//! Many machines: one Lua script decides, by Redis' clock.

#[cfg(test)]
mod parity;

use std::{fmt, time::Duration};

use redis::{
    Client, ErrorKind, RedisError, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use crate::{Exchange, Ledger, LedgerError, Reply, STATE_VERSION};

const SCRIPT: &str = include_str!("exchange.lua");

/// A connection is given up after so long without an answer.
const TIMEOUT: Duration = Duration::from_millis(500);
/// Reconnecting is the driver's to pace; the manager only tries once more.
const RECONNECT: Duration = Duration::from_millis(100);
/// What is not touched for so long is gone: two days.
const IDLE: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// A ledger in Redis, version 5 or newer.
///
/// One script takes an exchange in and answers it, all budgets in one step, by
/// Redis' clock. All keys carry the hash tag `{prefix}`, so that they lie in one
/// slot of a cluster, and all of them expire. The client itself follows no
/// redirections: connect to the node that holds the slot, or to a proxy. A Redis that was started empty makes
/// the ledger wait for one window, in which the members tell what they hold.
///
/// Redis must not evict these keys (`maxmemory-policy noeviction`, or `volatile-*`
/// with room): a budget that is evicted begins anew.
///
/// # What is shared
///
/// Clones share one connection, which reconnects by itself. All ledgers with one
/// prefix on one Redis are one ledger.
///
/// ```no_run
/// # async fn example(limiter: tower_ratelimit_tokens::Limiter) -> Result<(), ratelimit_ledger::LedgerError> {
/// use ratelimit_ledger::{Driver, RedisLedger};
///
/// let ledger = RedisLedger::new("redis://127.0.0.1/", "acme-pipedrive")?;
/// let driver = Driver::new(&limiter, ledger);
/// let status = driver.status();
/// tokio::spawn(driver.run());
/// assert!(!status.borrow().connected, "the first exchange is yet to come");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisLedger {
    connection: ConnectionManager,
    script: Script,
    prefix: String,
    /// Instead of Redis' own clock; for tests.
    clock: Option<u64>,
}

impl fmt::Debug for RedisLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the URL: it may hold a password.
        f.debug_struct("RedisLedger").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl RedisLedger {
    /// Connects when it is first needed, so that a Redis that is down stops nobody
    /// from starting; within a Tokio runtime. `prefix` names the ledger: the account, say.
    ///
    /// # Errors
    ///
    /// [`LedgerError::Setup`] if the URL makes no sense.
    pub fn new(url: &str, prefix: &str) -> Result<Self, LedgerError> {
        let setup = |error: RedisError| LedgerError::Setup(Box::new(without_url(&error)));
        let client = Client::open(url).map_err(setup)?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(1)
            .set_max_delay(RECONNECT)
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(setup)?;
        Ok(Self {
            connection,
            script: Script::new(SCRIPT),
            // A brace in it would move the hash tag.
            prefix: prefix.replace(['{', '}'], "_"),
            clock: None,
        })
    }

    #[doc(hidden)]
    #[must_use]
    pub fn at(mut self, micros: u64) -> Self {
        self.clock = Some(micros);
        self
    }
}

impl Ledger for RedisLedger {
    async fn exchange(&self, exchange: &Exchange) -> Result<Reply, LedgerError> {
        let asked =
            serde_json::to_string(exchange).map_err(|e| LedgerError::Corrupt(e.to_string()))?;
        let tag = format!("{{{}}}", self.prefix);
        let mut call = self.script.key(format!("{tag}:ledger"));
        for ask in &exchange.asks {
            call.key(format!("{tag}:ledger:budget:{}", ask.budget));
            call.key(format!("{tag}:ledger:member:{}:{}", exchange.member, ask.budget));
        }
        call.arg(asked)
            .arg(STATE_VERSION)
            .arg(self.clock.map_or(String::new(), |now| now.to_string()))
            .arg(IDLE.as_millis() as u64);
        let mut connection = self.connection.clone();
        let said: String = call
            .invoke_async(&mut connection)
            .await
            .map_err(|error| understand(&error, &exchange.asks))?;
        serde_json::from_str(&said).map_err(|error| LedgerError::Corrupt(error.to_string()))
    }
}

/// The client's errors may name the address; kind and code are enough.
#[derive(Debug, thiserror::Error)]
#[error("redis: {category}{}", code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default())]
struct RedisFailure {
    category: String,
    code: Option<String>,
}

fn without_url(error: &RedisError) -> RedisFailure {
    RedisFailure { category: error.category().to_owned(), code: error.code().map(str::to_owned) }
}

fn understand(error: &RedisError, asks: &[crate::Ask]) -> LedgerError {
    let detail = error.detail().unwrap_or_default().trim().to_owned();
    match error.code() {
        Some("LEDGERVERSION") => LedgerError::Version { found: detail, known: STATE_VERSION },
        Some("LEDGERMISMATCH") => LedgerError::Mismatch {
            budget: asks
                .iter()
                .find(|ask| ask.budget == detail)
                .map_or(detail.clone(), |ask| ask.budget.clone()),
        },
        Some("LEDGERSTALE") => LedgerError::Stale,
        _ if matches!(error.kind(), ErrorKind::Parse | ErrorKind::UnexpectedReturnType) => {
            LedgerError::Corrupt(without_url(error).to_string())
        }
        // The script itself failed: what is stored is not what it expects.
        Some("ERR") if detail.contains("user_script") => LedgerError::Corrupt(detail),
        _ => LedgerError::Unreachable(Box::new(without_url(error))),
    }
}
