//! Budgets that several processes share: this one's part in it.

use std::time::Duration;

use pipedrive_service::{Client, Config};
use ratelimit_ledger::{Driver, LedgerError, LedgerStatus, RedisLedger, Stopper, WhenUnreachable};
use sha2::{Digest as _, Sha256};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::exit::{Code, Failure};

/// How long giving back may take at the end. What is not given back runs out by itself.
const GIVING_BACK: Duration = Duration::from_secs(2);

/// The driver that leases a client's budgets from the ledger which its configuration names.
///
/// # Cancellation
///
/// Dropped without [`leave`](Self::leave), the driver goes on until the last clone of the client is gone.
#[derive(Debug)]
pub struct Membership {
    status: watch::Receiver<LedgerStatus>,
    stopper: Stopper,
    driver: JoinHandle<()>,
}

impl Membership {
    /// Joins, if the configuration names a ledger. The client must be built as
    /// [shared](pipedrive_service::ClientBuilder::shared). Within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be reached and nothing may be spent without it, or if it is not for this program.
    pub async fn join(client: &Client) -> Result<Option<Self>, Failure> {
        let config = client.config();
        let Some(ledger) =
            config.rate_limiting.ledger.as_ref().filter(|_| config.rate_limiting.enabled)
        else {
            return Ok(None);
        };
        let failed = |error: &LedgerError| {
            let code = if error.is_transient() { Code::Unavailable } else { Code::Usage };
            let cause = std::error::Error::source(error);
            let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
            Failure::new(code, format!("the ledger {}: {error}{cause}", ledger.url))
        };
        let redis =
            RedisLedger::new(ledger.url.expose(), &name(config)).map_err(|error| failed(&error))?;
        let alone = WhenUnreachable::Share { fraction: ledger.alone };
        let policy = if ledger.alone > 0.0 { alone } else { WhenUnreachable::Closed };
        let mut driver = Driver::new(client.limiter(), redis).when_unreachable(policy);
        if let Err(error) = driver.connect().await {
            if ledger.alone == 0.0 || !error.is_transient() {
                return Err(failed(&error));
            }
            tracing::warn!(target: "pipedrive_sync::ledger", %error, share = ledger.alone, "going on alone");
        }
        let (status, stopper) = (driver.status(), driver.stopper());
        Ok(Some(Self { status, stopper, driver: tokio::spawn(driver.run()) }))
    }

    /// How the driver and its ledger stand to each other.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<LedgerStatus> {
        self.status.clone()
    }

    /// Gives back what was leased and not spent.
    pub async fn leave(self) {
        self.stopper.stop();
        if timeout(GIVING_BACK, self.driver).await.is_err() {
            tracing::debug!(target: "pipedrive_sync::ledger", "the leases were not given back; they run out");
        }
    }
}

/// Runs something with a client that sends, as a member of its ledger if there is one.
///
/// # Errors
///
/// Those of [`Membership::join`] and of what is run.
pub async fn during<T>(
    client: &Client,
    run: impl AsyncFnOnce(Option<watch::Receiver<LedgerStatus>>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let member = Membership::join(client).await?;
    let result = run(member.as_ref().map(Membership::status)).await;
    if let Some(member) = member {
        member.leave().await;
    }
    result
}

/// What the budgets are called in the ledger: as the configuration says, else by host and token, for the burst is
/// counted by token. Nobody can read the token out of it.
#[must_use]
pub fn name(config: &Config) -> String {
    use secrecy::ExposeSecret as _;
    if let Some(name) = config.rate_limiting.ledger.as_ref().and_then(|ledger| ledger.name.clone())
    {
        return name;
    }
    let host = config.base_url.authority().map_or("", |host| host.as_str());
    let token = config.api_token.as_ref().map_or("", |token| token.expose_secret());
    let hash = Sha256::digest(format!("{host}\n{token}"));
    let short: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("pipedrive:{host}:{short}")
}

#[cfg(test)]
mod tests {
    use pipedrive_service::Sources;

    use super::*;

    fn name_of(settings: &[(&str, &str)]) -> String {
        name(&Config::load(&Sources::new().env(settings.iter().copied())).unwrap())
    }

    #[test]
    fn one_token_on_one_host_is_one_ledger_and_the_token_is_not_in_its_name() {
        let acme = [("PIPEDRIVE_COMPANY_DOMAIN", "acme"), ("PIPEDRIVE_API_TOKEN", "hunter2")];
        let name = name_of(&acme);
        assert!(name.starts_with("pipedrive:acme.pipedrive.com:") && !name.contains("hunter2"));
        assert_eq!(name, name_of(&acme));
        assert_ne!(name, name_of(&[acme[0], ("PIPEDRIVE_API_TOKEN", "hunter3")]));
        assert_ne!(name, name_of(&[("PIPEDRIVE_COMPANY_DOMAIN", "other"), acme[1]]));
        let url = ("PIPEDRIVE_LEDGER_URL", "redis://10.0.0.7");
        assert_eq!(name_of(&[acme[0], acme[1], url, ("PIPEDRIVE_LEDGER_NAME", "ours")]), "ours");
    }
}
