//! `pipedrive errors`

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tower_retry_classify::Class;

use super::common;
use crate::{
    cli,
    exit::Failure,
    store::{Database, FailureRow, Reader},
    table::table,
    wall,
};

/// How many endpoints are shown.
const TOP: usize = 10;

/// What failed.
#[derive(Debug, PartialEq, Serialize)]
struct Errors {
    database: Database,
    /// From then on.
    since: Timestamp,
    #[serde(flatten)]
    all: Count,
    /// By class, the most frequent first.
    classes: Vec<ByClass>,
    /// By endpoint, the most frequent first, ten at most.
    endpoints: Vec<ByEndpoint>,
    /// Calls that succeeded after a failure, by the attempt with which they did.
    recovered_with: BTreeMap<u32, u64>,
    /// The minute with most failures, and how many.
    worst_minute: Option<(String, u64)>,
}

/// How often it went wrong, and how that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Count {
    /// Attempts that failed.
    failed: u64,
    /// Calls that succeeded after that.
    recovered: u64,
    /// Calls that did not.
    lost: u64,
}

impl Count {
    fn add(&mut self, row: &FailureRow) {
        self.failed += u64::from(row.event != "recovered");
        self.recovered += u64::from(row.event == "recovered");
        self.lost += u64::from(matches!(row.event.as_str(), "gave_up" | "final"));
    }

    /// Percent of the calls that ended well.
    fn rate(self) -> Option<u64> {
        let ended = self.recovered + self.lost;
        (ended > 0).then(|| 100 * self.recovered / ended)
    }
}

#[derive(Debug, PartialEq, Serialize)]
struct ByClass {
    class: String,
    #[serde(flatten)]
    count: Count,
    /// What to do about it.
    advice: Option<&'static str>,
}

#[derive(Debug, PartialEq, Serialize)]
struct ByEndpoint {
    endpoint: String,
    #[serde(flatten)]
    count: Count,
    /// The most frequent class.
    class: String,
}

impl Errors {
    fn of(database: Database, since: Timestamp, rows: &[FailureRow]) -> Self {
        let mut all = Count::default();
        let mut classes: BTreeMap<&str, Count> = BTreeMap::new();
        let mut endpoints: BTreeMap<&str, (Count, BTreeMap<&str, u64>)> = BTreeMap::new();
        let mut recovered_with = BTreeMap::new();
        let mut minutes: BTreeMap<String, u64> = BTreeMap::new();
        for row in rows {
            all.add(row);
            classes.entry(&row.class).or_default().add(row);
            let (count, of) = endpoints.entry(&row.endpoint).or_default();
            count.add(row);
            if row.event == "recovered" {
                *recovered_with.entry(row.attempt).or_default() += 1;
            } else {
                *of.entry(&row.class).or_default() += 1;
                *minutes.entry(row.at.strftime("%Y-%m-%dT%H:%MZ").to_string()).or_default() += 1;
            }
        }
        let mut classes: Vec<_> = classes
            .into_iter()
            .map(|(class, count)| ByClass {
                advice: Class::named(class).map(|class| class.advice().text),
                class: class.to_owned(),
                count,
            })
            .collect();
        classes.sort_by_key(|class| Reverse(class.count.failed));
        let mut endpoints: Vec<_> = endpoints
            .into_iter()
            .map(|(endpoint, (count, of))| ByEndpoint {
                endpoint: endpoint.to_owned(),
                count,
                class: of.into_iter().max_by_key(|(_, n)| *n).map_or("", |(class, _)| class).into(),
            })
            .collect();
        endpoints.sort_by_key(|endpoint| Reverse(endpoint.count.failed));
        endpoints.truncate(TOP);
        let worst_minute = minutes.into_iter().rev().max_by_key(|(_, n)| *n);
        Self { database, since, all, classes, endpoints, recovered_with, worst_minute }
    }
}

pub(super) async fn run(args: cli::Errors) -> Result<(), Failure> {
    common::show(args.json, errors(&args).await, |found| text(found, args.last))
}

async fn errors(args: &cli::Errors) -> Result<Errors, Failure> {
    let database = common::database(&args.database)?;
    let since = wall::exact().saturating_sub(args.last).unwrap_or(Timestamp::MIN);
    let rows = Reader::open(&database).await?.failures(since).await?;
    Ok(Errors::of(database.clone(), wall::nearest(since), &rows))
}

fn text(found: &Errors, last: SignedDuration) -> String {
    let mut text = format!("{}  the last {last:#}\n", found.database);
    if found.all == Count::default() {
        return text + "no attempt failed\n";
    }
    let percent = |count: Count| count.rate().map_or_else(|| "-".into(), |rate| rate.to_string());
    let Count { failed, recovered, lost } = found.all;
    text.push_str(&format!(
        "{failed} attempts failed; {recovered} calls succeeded after that, {lost} did not\n"
    ));
    let counts = |count: Count| {
        [
            count.failed.to_string(),
            count.recovered.to_string(),
            count.lost.to_string(),
            percent(count),
        ]
    };
    let head = |first: &str, last: &str| {
        [first, "failed", "recovered", "lost", "recovered %", last].map(String::from).to_vec()
    };
    let mut rows = vec![head("class", "what to do")];
    for class in &found.classes {
        let mut row = vec![class.class.clone()];
        row.extend(counts(class.count));
        row.push(class.advice.unwrap_or("-").into());
        rows.push(row);
    }
    text.push_str(&table(&rows));
    let mut rows = vec![head("endpoint", "mostly")];
    for endpoint in &found.endpoints {
        let mut row = vec![endpoint.endpoint.clone()];
        row.extend(counts(endpoint.count));
        row.push(endpoint.class.clone());
        rows.push(row);
    }
    text.push_str(&table(&rows));
    for (attempt, calls) in &found.recovered_with {
        text.push_str(&format!("{calls} calls succeeded with attempt {attempt}\n"));
    }
    if let Some((minute, failures)) = &found.worst_minute {
        text.push_str(&format!("the worst minute was {minute}, with {failures} failures\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(second: i64, endpoint: &str, class: &str, attempt: u32, event: &str) -> FailureRow {
        let at = Timestamp::from_second(1_800_000_000 + second).unwrap();
        let (endpoint, class, event) = (endpoint.to_owned(), class.to_owned(), event.to_owned());
        FailureRow { at, endpoint, class, attempt, event, reason: None }
    }

    #[test]
    fn failures_are_counted_by_class_endpoint_attempt_and_minute() {
        let rows = [
            row(0, "GET /deals", "server", 1, "retried"),
            row(1, "GET /deals", "server", 2, "retried"),
            row(2, "GET /deals", "server", 3, "recovered"),
            row(61, "GET /deals", "timeout", 1, "gave_up"),
            row(62, "GET /notes", "not_found", 1, "final"),
            row(63, "GET /notes", "server", 1, "retried"),
        ];
        let found = Errors::of(std::path::PathBuf::from("x").into(), rows[0].at, &rows);
        assert_eq!(found.all, Count { failed: 5, recovered: 1, lost: 2 });
        assert_eq!((found.all.rate(), Count::default().rate()), (Some(33), None));
        assert_eq!(found.classes[0].class, "server");
        assert_eq!(found.classes[0].count, Count { failed: 3, recovered: 1, lost: 0 });
        assert!(found.classes.iter().all(|class| class.advice.is_some()));
        let deals = &found.endpoints[0];
        assert_eq!((deals.endpoint.as_str(), deals.class.as_str()), ("GET /deals", "server"));
        assert_eq!(found.recovered_with, BTreeMap::from([(3, 1)]));
        assert_eq!(found.worst_minute, Some(("2027-01-15T08:01Z".into(), 3)));
        let text = text(&found, SignedDuration::from_mins(60));
        assert!(
            text.contains("5 attempts failed; 1 calls succeeded after that, 2 did not"),
            "{text}"
        );
        assert!(text.contains("recovered %"), "{text}");
    }
}
