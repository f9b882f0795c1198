//! A picture for people.

use std::fmt::{self, Write as _};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{Basis, LedgerPicture, Outlook, Picture};
use crate::{table::table, wall};

/// How many endpoints are listed.
const ENDPOINTS: usize = 5;

/// A picture as text, with times in UTC and in a time zone.
#[derive(Clone, Debug)]
pub struct Shown<'a> {
    /// What is shown.
    pub picture: &'a Picture,
    /// Where the reader is.
    pub zone: TimeZone,
    /// Whether there is a queue and a server to speak of; not for a process that has sent nothing.
    pub lively: bool,
}

impl Shown<'_> {
    fn when(&self, at: Timestamp) -> String {
        let local = wall::local(at, &self.zone);
        let in_ = span(at.duration_since(self.picture.at));
        format!("{} ({local}), in {in_}", wall::text(at))
    }

    fn budgets(&self) -> String {
        let head = ["budget", "limit", "used", "left", "others", "drift"];
        let mut rows = vec![head.map(String::from).to_vec()];
        let mut notes = vec![String::new()];
        for budget in &self.picture.budgets {
            let mut counts = budget.unit.clone();
            if budget.is_learnt() {
                let _ = write!(counts, ", learnt ({} by the settings)", budget.configured);
            }
            if budget.kept > 0 {
                let _ = write!(counts, ", {} of it kept for urgent calls", budget.kept);
            }
            if budget.exhausted {
                counts.push_str(", spent says the server");
            }
            rows.push(vec![
                budget.name.clone(),
                budget.limit.to_string(),
                budget.used.to_string(),
                budget.remaining.to_string(),
                budget.foreign.to_string(),
                if budget.drift == 0 { "0".to_owned() } else { format!("{:+}", budget.drift) },
            ]);
            notes.push(counts);
        }
        let lines = table(&rows);
        let lines = lines.lines().zip(notes).map(|(line, note)| format!("{line}  {note}"));
        lines.map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    fn queue(&self, text: &mut String) -> fmt::Result {
        let picture = self.picture;
        if picture.waiting > 0 || self.lively {
            let levels = picture.waiting_by_priority.iter().enumerate().rev();
            let levels: Vec<_> = levels
                .filter(|(_, calls)| **calls > 0)
                .map(|(level, calls)| format!("{calls} of priority {level}"))
                .collect();
            let by =
                if levels.is_empty() { String::new() } else { format!(": {}", levels.join(", ")) };
            writeln!(text, "waiting    {} calls{by}", picture.waiting)?;
        }
        match &picture.gate {
            Some(gate) => {
                writeln!(
                    text,
                    "gate       closed ({}) until {}",
                    gate.reason,
                    self.when(gate.opens_at)
                )?;
            }
            None if self.lively => writeln!(text, "gate       open")?,
            None => {}
        }
        if let Some(shed) = &picture.shedding {
            let reason = if shed.reason.is_empty() { "no reason given" } else { &shed.reason };
            writeln!(text, "shedding   calls below priority {}: {reason}", shed.below)?;
        }
        if let Some(ledger) = &picture.ledger {
            writeln!(text, "shared     {}", shared(ledger))?;
        }
        let refusals = picture.refusals;
        if self.lively {
            writeln!(
                text,
                "refused    by the server {} burst, {} day, {} banned, {} other; here {}",
                refusals.burst, refusals.day, refusals.banned, refusals.paused, refusals.local
            )?;
        }
        Ok(())
    }

    fn outlook(&self, outlook: &Outlook) -> String {
        let over =
            span(SignedDuration::from_secs(i64::try_from(outlook.over_s).unwrap_or(i64::MAX)));
        let basis = match outlook.basis {
            Basis::Recent => format!("as in the last {over}"),
            Basis::SinceReset => format!("as in the {over} since the reset"),
        };
        let end = if outlook.lasts {
            format!(
                "the day's tokens last, and about {} are left at the reset",
                outlook.left_at_reset
            )
        } else {
            let gone = self.when(outlook.gone_at);
            let before = span(outlook.resets_at.duration_since(outlook.gone_at));
            format!("the day's tokens are gone at {gone}, {before} before the reset")
        };
        format!("{end}, if spending goes on {basis} ({} tokens)", outlook.spent)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let picture = self.picture;
        let mut text = self.budgets();
        if let Some(resets_at) = picture.budgets.iter().find_map(|budget| budget.resets_at) {
            writeln!(text, "reset      the day's tokens come back at {}", self.when(resets_at))?;
        }
        match &picture.outlook {
            Some(outlook) => writeln!(text, "forecast   {}", self.outlook(outlook))?,
            None => writeln!(text, "forecast   none: nothing is known to be spent today")?,
        }
        self.queue(&mut text)?;
        for endpoint in picture.endpoints.iter().take(ENDPOINTS).filter(|_| self.lively) {
            let name = if endpoint.endpoint.is_empty() { "others" } else { &endpoint.endpoint };
            writeln!(
                text,
                "used by    {name}: {} calls, {} tokens",
                endpoint.calls, endpoint.tokens
            )?;
        }
        for proposal in &picture.proposals {
            writeln!(
                text,
                "cost       {} costs {} of {}, not {}, by {} answers: see PIPEDRIVE_TOKEN_COSTS",
                proposal.endpoint,
                proposal.actual,
                proposal.budget,
                proposal.charged,
                proposal.answers
            )?;
        }
        f.write_str(&text)
    }
}

fn shared(ledger: &LedgerPicture) -> String {
    let state = match (&ledger.error, ledger.connected, ledger.quiet) {
        (_, true, true) => "it begins anew and grants nothing for a window".to_owned(),
        (_, true, false) => "connected".to_owned(),
        (Some(error), ..) => format!("not reached: {error}"),
        (None, ..) => "not reached yet".to_owned(),
    };
    let used: Vec<_> =
        ledger.budgets.iter().map(|budget| format!("{} {}", budget.name, budget.used)).collect();
    let over: u64 = ledger.budgets.iter().map(|budget| budget.overshoot).sum();
    let over = if over > 0 { format!("; {over} units allowed without it") } else { String::new() };
    format!(
        "by {}, {state}; all members use {}; {} exchanges, {} failed{over}",
        ledger.url,
        if used.is_empty() { "nothing".to_owned() } else { used.join(", ") },
        ledger.exchanges,
        ledger.failures
    )
}

/// A time for people, in hours, minutes and seconds.
pub(crate) fn span(time: SignedDuration) -> String {
    format!("{:#}", SignedDuration::from_secs(time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{
        BudgetPicture, EndpointPicture, GatePicture, LedgerBudgetPicture, ProposalPicture,
        RefusalPicture, ShedPicture,
    };

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn budget(name: &str, unit: &str, limit: u64, used: u64) -> BudgetPicture {
        BudgetPicture {
            name: name.into(),
            unit: unit.into(),
            limit,
            configured: limit,
            used,
            remaining: limit - used,
            kept: 0,
            resets_at: None,
            waiting: 0,
            foreign: 0,
            drift: 0,
            exhausted: false,
        }
    }

    fn picture() -> Picture {
        let mut waiting_by_priority = vec![0; 11];
        (waiting_by_priority[2], waiting_by_priority[8]) = (6, 1);
        let day = BudgetPicture {
            configured: 10_000,
            resets_at: Some(at("2026-03-11T00:00:00Z")),
            kept: 1_500,
            foreign: 1_200,
            drift: -40,
            ..budget("day", "tokens a day", 150_000, 90_000)
        };
        Picture {
            at: at("2026-03-10T18:00:00Z"),
            budgets: vec![budget("burst", "requests in 2 s", 100, 97), day],
            outlook: Outlook::new(
                at("2026-03-10T18:00:00Z"),
                Basis::Recent,
                30_000,
                std::time::Duration::from_secs(3_600),
                60_000,
                at("2026-03-11T00:00:00Z"),
            ),
            waiting: 7,
            waiting_by_priority,
            gate: Some(GatePicture {
                reason: "too many requests".into(),
                opens_at: at("2026-03-10T18:00:02Z"),
            }),
            shedding: Some(ShedPicture { below: 3, reason: "half of all fails".into() }),
            ledger: Some(LedgerPicture {
                url: "redis://10.0.0.7/".into(),
                connected: true,
                quiet: false,
                exchanges: 9,
                failures: 1,
                error: None,
                budgets: vec![LedgerBudgetPicture {
                    name: "burst".into(),
                    used: 99,
                    overshoot: 4,
                    foreign: 0,
                }],
            }),
            refusals: RefusalPicture { burst: 1, day: 2, banned: 3, paused: 4, local: 5 },
            endpoints: vec![EndpointPicture {
                endpoint: "/api/v2/deals".into(),
                calls: 12,
                tokens: 120,
            }],
            proposals: vec![ProposalPicture {
                endpoint: "/api/v1/notes".into(),
                budget: "day".into(),
                charged: 20,
                actual: 10,
                answers: 9,
            }],
        }
    }

    #[test]
    fn a_lively_picture_tells_everything() {
        let zone = TimeZone::get("Europe/Tallinn").unwrap();
        let shown = Shown { picture: &picture(), zone, lively: true }.to_string();
        let wanted = "  budget   limit   used   left  others  drift
  burst      100     97      3       0      0  requests in 2 s
  day     150000  90000  60000    1200    -40  tokens a day, learnt (10000 by the settings), 1500 of it kept for urgent calls
reset      the day's tokens come back at 2026-03-11T00:00:00Z (2026-03-11 02:00:00 +02:00), in 6h
forecast   the day's tokens are gone at 2026-03-10T20:00:00Z (2026-03-10 22:00:00 +02:00), in 2h, 4h before the reset, if spending goes on as in the last 1h (30000 tokens)
waiting    7 calls: 1 of priority 8, 6 of priority 2
gate       closed (too many requests) until 2026-03-10T18:00:02Z (2026-03-10 20:00:02 +02:00), in 2s
shedding   calls below priority 3: half of all fails
shared     by redis://10.0.0.7/, connected; all members use burst 99; 9 exchanges, 1 failed; 4 units allowed without it
refused    by the server 1 burst, 2 day, 3 banned, 4 other; here 5
used by    /api/v2/deals: 12 calls, 120 tokens
cost       /api/v1/notes costs 10 of day, not 20, by 9 answers: see PIPEDRIVE_TOKEN_COSTS
";
        assert_eq!(shown, wanted, "\n{shown}");
    }

    #[test]
    fn of_a_process_that_has_sent_nothing_only_the_budgets_are_told() {
        let mut quiet =
            Picture { gate: None, shedding: None, ledger: None, waiting: 0, ..picture() };
        quiet.budgets[1].resets_at = None;
        quiet.budgets[1].exhausted = true;
        quiet.proposals.clear();
        quiet.outlook = None;
        let shown = Shown { picture: &quiet, zone: TimeZone::UTC, lively: false }.to_string();
        assert_eq!(shown.lines().count(), 4, "{shown}");
        assert!(shown.contains("spent says the server\nforecast   none: nothing"), "{shown}");
    }

    #[test]
    fn a_day_that_lasts_says_what_is_left() {
        let mut picture = picture();
        let outlook = picture.outlook.as_mut().unwrap();
        (outlook.basis, outlook.lasts, outlook.left_at_reset) = (Basis::SinceReset, true, 77);
        let shown = Shown { picture: &picture, zone: TimeZone::UTC, lively: true }.to_string();
        let wanted = "forecast   the day's tokens last, and about 77 are left at the reset, if spending goes on as in the 1h since the reset (30000 tokens)\n";
        assert!(shown.contains(wanted), "{shown}");
    }
}
