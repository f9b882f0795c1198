//! `pipedrive limits`

use jiff::tz::TimeZone;
use pipedrive_service::{Client, Config, ServerCount};
use serde::Serialize;

use super::common;
use crate::{
    cli,
    engine::{START_UP_TOKENS, company, take_up},
    exit::{Code, Failure},
    ledger,
    limits::{Camera, Kept, Picture, Shown},
    store::{BudgetRow, Database, Reader, RunRow, StoreError, note_spent},
    wall,
};

/// What is known of the limits.
#[derive(Debug, Serialize)]
struct Limits {
    /// The account.
    base_url: String,
    /// The database, if there is one.
    database: Option<Database>,
    /// The company whose data it holds.
    company: Option<String>,
    /// By what other processes share the budgets, if they do.
    ledger: Option<String>,
    /// The day from whose tokens a call would be paid now.
    day: String,
    /// What the database says of that day.
    stored: Option<BudgetRow>,
    /// What the server said, if it was asked.
    server: Option<ServerCount>,
    /// Tokens that asking has cost.
    asked_tokens: u64,
    /// The limits as a process that starts now would see them; after asking, as the server does.
    now: Picture,
    /// The last sync, as it saw them.
    run: Option<Run>,
    /// Why the exit code is not 0.
    outcome: Option<String>,
    exit_code: u8,
}

#[derive(Debug, Serialize)]
struct Run {
    #[serde(flatten)]
    kept: Kept,
    /// None while it is under way, or if it was killed.
    ended_at: Option<String>,
}

/// What a database says without being asked by anybody else.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) company: Option<String>,
    pub(super) known_limit: Option<u64>,
    pub(super) today: Option<BudgetRow>,
    last_run: Option<RunRow>,
    picture: Option<Kept>,
}

impl Stored {
    /// Reads it, if it is there. A picture that another version of this program kept is passed over.
    pub(super) async fn read(
        database: &Database,
        day: &str,
    ) -> Result<Option<(Self, Reader)>, Failure> {
        let mut reader = match Reader::open(database).await {
            Ok(reader) => reader,
            Err(StoreError::Missing { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stored = Self {
            company: reader.company().await?,
            known_limit: reader.known_limit().await?,
            today: reader.budget(day).await?,
            last_run: reader.runs(1).await?.into_iter().next(),
            picture: reader.limits().await?.and_then(|text| serde_json::from_str(&text).ok()),
        };
        Ok(Some((stored, reader)))
    }

    /// Tokens of the day that count as spent.
    pub(super) fn leased(&self) -> u64 {
        self.today.as_ref().map_or(0, |day| day.leased)
    }

    /// The same, but nothing for a member of a ledger, which knows it already.
    pub(super) fn leased_to(&self, config: &Config) -> u64 {
        if config.rate_limiting.ledger.is_some() { 0 } else { self.leased() }
    }

    /// Whether the data is that of the company whom the token belongs to, or of nobody yet.
    pub(super) fn belongs_to(&self, given: &str, database: &Database) -> Result<(), StoreError> {
        match &self.company {
            Some(held) if held != given => Err(StoreError::OtherCompany {
                database: database.clone(),
                held: held.clone(),
                given: given.to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

pub(super) async fn run(args: cli::Limits) -> Result<(), Failure> {
    let found = limits(&args).await;
    let failure = match found {
        Ok(limits) => {
            common::print(args.json, &limits, &text(&limits));
            let failed = limits.outcome.map(|line| Failure::new(Code::Budget, line));
            return failed.map_or(Ok(()), Err);
        }
        Err(failure) => failure,
    };
    common::print_failure(args.json, &failure);
    Err(failure)
}

async fn limits(args: &cli::Limits) -> Result<Limits, Failure> {
    let config = common::load(&common::sources(&args.connection))?;
    let database = common::database(&args.database)?;
    let day = common::today(&config)?;
    let found = Stored::read(&database, &day).await?;
    let is_there = found.is_some();
    let stored = found.map(|(stored, _)| stored).unwrap_or_default();

    let (mut server, mut asked_tokens, mut failure) = (None, 0, None);
    let camera = if args.ask {
        let (client, _) = common::asking_client(config.clone())?;
        let leased = stored.leased_to(&config);
        take_up(&config, client.limiter(), client.budgets(), stored.known_limit, leased);
        if is_there {
            note_spent(&database, &day, START_UP_TOKENS).await?;
        }
        let asked = ledger::during(&client, async |ledger| Ok((client.me().await, ledger))).await?;
        let (me, ledger) = asked;
        match me {
            Ok(me) => {
                stored.belongs_to(&company(&me), &database)?;
                (server, asked_tokens) = (Some(me.count), START_UP_TOKENS);
            }
            // The day is spent, which is worth showing.
            Err(error) => match Failure::from(&error) {
                spent if spent.code == Code::Budget => failure = Some(spent),
                other => return Err(other),
            },
        }
        Camera::of(&client)?.with_ledger(ledger)
    } else {
        looking(&config, &stored)?
    };
    let now = camera.take(wall::exact());
    let run = stored.picture.map(|kept| Run {
        ended_at: stored.last_run.filter(|run| run.id == kept.run).and_then(|run| run.ended_at),
        kept,
    });
    Ok(Limits {
        base_url: config.base_url.to_string(),
        database: is_there.then(|| database.clone()),
        company: stored.company,
        ledger: config.rate_limiting.ledger.as_ref().map(|ledger| ledger.url.to_string()),
        day,
        stored: stored.today,
        server,
        asked_tokens,
        now,
        run,
        exit_code: failure.as_ref().map_or(Code::Done, |failure| failure.code).number(),
        outcome: failure.map(|failure| failure.line),
    })
}

/// A limiter that knows what the database knows, and sends nothing.
fn looking(config: &Config, stored: &Stored) -> Result<Camera, Failure> {
    let made = Client::builder(config.clone()).limiter();
    let (limiter, budgets) = made.map_err(|error| common::wrong(&error))?;
    take_up(config, &limiter, &budgets, stored.known_limit, stored.leased());
    Camera::new(limiter, budgets, config).map_err(|error| common::wrong(&error))
}

fn text(limits: &Limits) -> String {
    let mut text = match (&limits.database, &limits.company) {
        (None, _) => format!("{}  no database yet\n", limits.base_url),
        (Some(path), company) => format!(
            "{}  {}  company {}\n",
            limits.base_url,
            path,
            company.as_deref().unwrap_or("not known yet")
        ),
    };
    text.push_str(&match &limits.stored {
        Some(day) => format!(
            "stored     {} tokens of {} leased, {} of them known to be spent; what is leased counts as spent\n",
            day.leased, day.day, day.settled
        ),
        None => format!("stored     nothing of {} is known to be spent\n", limits.day),
    });
    if let (Some(ledger), 0) = (&limits.ledger, limits.asked_tokens) {
        text.push_str(&format!(
            "shared     by {ledger}: what other processes have spent is shown with --ask\n"
        ));
    }
    if let Some(server) = &limits.server {
        let said = |left: Option<u64>, of: Option<u64>, what: &str| match (left, of) {
            (Some(left), Some(of)) => format!("{left} of {of} {what} left"),
            (Some(left), None) => format!("{left} {what} left"),
            _ => format!("nothing of {what}"),
        };
        text.push_str(&format!(
            "server     {}, {} (asked for {} tokens)\n",
            said(server.day_remaining, server.day_limit, "tokens"),
            said(server.burst_remaining, server.burst_limit, "requests"),
            limits.asked_tokens
        ));
    }
    let zone = TimeZone::system();
    let asked = limits.asked_tokens > 0 || limits.outcome.is_some();
    text.push_str(&Shown { picture: &limits.now, zone: zone.clone(), lively: asked }.to_string());
    if let Some(Run { kept, ended_at }) = &limits.run {
        let age = limits.now.at.duration_since(kept.picture.at);
        let state = match ended_at {
            Some(at) => format!("ended {at}"),
            None => "under way, or killed".to_owned(),
        };
        text.push_str(&format!(
            "\n{} run {}, {state}; as it saw the limits at {}, {} ago\n",
            kept.command,
            kept.run,
            wall::text(kept.picture.at),
            crate::limits::span(age),
        ));
        text.push_str(&Shown { picture: &kept.picture, zone, lively: true }.to_string());
    }
    text
}
