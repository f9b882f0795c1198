//! The five phases, and what each asks of whom.

use std::{collections::BTreeMap, path::Path};

use examples::BoxError;
use pipeline_state::{Item, Pipeline, PipelineConfig, Resume, StateTracker, Update, WorkOptions};
use serde_json::Value;
use tower_circuit::presets;

use super::{
    books::Books,
    client::{Client, Failed, Terms},
    report,
    world::{Company, tidy},
};

const PHASES: [&str; 5] = ["keywords", "search", "domains", "companies", "report"];
/// Companies in one call.
const BATCH: usize = 25;
/// The only worker, so that the one who comes after a dead one knows whose items to free.
const WORKER: &str = "cylvy";

const TERMS: [Terms; 6] = [
    Terms { preset: presets::GOOGLE_ADS, quota: 500, at_once: 4, prices: &[("metrics", 1)] },
    Terms { preset: presets::SCALE_SERP, quota: 400, at_once: 8, prices: &[("search", 1)] },
    Terms {
        preset: presets::YOUTUBE,
        quota: 20_000,
        at_once: 8,
        prices: &[("videos", 100), ("channels", 1)],
    },
    Terms {
        preset: presets::SCRAPINGBEE,
        quota: 1_500,
        at_once: 5,
        prices: &[("page", 1), ("page-js", 5)],
    },
    Terms {
        preset: presets::OPENAI,
        quota: 120_000,
        at_once: 8,
        // The most tokens that one call may use; what it has used, the answer tells.
        prices: &[("classify", 200), ("summary", 200)],
    },
    Terms { preset: presets::COGNISM, quota: 300, at_once: 3, prices: &[("company", 1)] },
];

/// What an item of a phase needs at most.
fn needs(phase: &str) -> &'static [(&'static str, &'static str)] {
    match phase {
        "keywords" => &[("google_ads", "metrics")],
        "search" => &[("scale_serp", "search"), ("youtube", "videos"), ("youtube", "channels")],
        "domains" => &[("scrapingbee", "page"), ("scrapingbee", "page-js"), ("openai", "classify")],
        "companies" => &[("cognism", "company")],
        _ => &[("openai", "summary")],
    }
}

/// One run of a process.
pub(crate) struct Cylvy {
    pub(crate) pipeline: Pipeline,
    pub(crate) books: Books,
    pub(crate) clients: BTreeMap<&'static str, Client>,
}

impl Cylvy {
    /// With what is in the folder: a pipeline of its own for these keywords, or else the last one,
    /// resumed.
    pub(crate) async fn open(
        folder: &Path,
        url: &str,
        task: Result<&[String], Resume>,
    ) -> Result<Self, BoxError> {
        let state = format!("sqlite:{}", folder.join("state.db").display());
        let config = PipelineConfig::builder().checkpoint_interval(50).build()?;
        let tracker = StateTracker::open(&state, config).await?.worker(WORKER);
        let pipeline = match task {
            Ok(keywords) => {
                let pipeline = tracker.initialize("cylvy", &PHASES).await?;
                let words: Vec<_> = keywords.iter().map(|word| tidy(word)).collect();
                let added = pipeline.add("keywords", &words).await?;
                println!("{} keywords, {} more were there twice", added.added, added.known);
                pipeline
            }
            Err(from) => {
                let last = tracker.pipelines(None, 1).await?.pop().ok_or("nothing to resume")?;
                let freed = tracker.join(last.id).await?.revoke(Some(WORKER)).await?;
                let (pipeline, resumed) = tracker.resume(last.id, &from).await?;
                println!(
                    "resumed: {freed} freed, {} failed again, {} pending",
                    resumed.reset, resumed.pending
                );
                pipeline
            }
        };

        let books = Books::open(folder).await?;
        let mut spent = BTreeMap::<String, u64>::new();
        for ((service, _), used) in books.used().await? {
            *spent.entry(service).or_default() += used.used;
        }
        let clients = TERMS.iter().map(|terms| {
            let name = terms.preset.name;
            let spent = spent.get(name).copied().unwrap_or_default();
            Ok((name, Client::new(terms, url, &books, spent)?))
        });
        let clients = clients.collect::<Result<_, BoxError>>()?;
        Ok(Self { pipeline, books, clients })
    }

    /// Phase after phase, until nothing is left to do.
    pub(crate) async fn run(&self) -> Result<(), BoxError> {
        for phase in PHASES {
            let pending = self.pipeline.progress().await?.phase(phase).map_or(0, |it| it.pending);
            for (service, endpoint) in needs(phase).iter().filter(|_| pending > 0) {
                self.client(service)?.plan(endpoint, pending).await?;
            }
            if phase == "companies" {
                self.companies().await?;
            } else {
                let options = WorkOptions { batch: 20, ..WorkOptions::default() };
                let one = async |item: Item| {
                    let done = self.work(phase, &item).await;
                    done.unwrap_or_else(|why| item.failed(why.category, why.message))
                };
                self.pipeline.work(phase, options, one).await?;
            }
            if pending > 0 {
                report::progress(&self.pipeline, phase).await?;
                self.pipeline.checkpoint(phase, None).await?;
            }
        }
        Ok(())
    }

    fn client(&self, name: &str) -> Result<&Client, BoxError> {
        self.clients.get(name).ok_or_else(|| format!("no service {name}").into())
    }

    async fn ask(&self, service: &str, endpoint: &str, of: &str) -> Result<Value, Failed> {
        self.client(service)?.ask(endpoint, of).await
    }

    /// One item of any phase but the batched one.
    async fn work(&self, phase: &str, item: &Item) -> Result<Update, Failed> {
        let name = item.name.as_str();
        match phase {
            "keywords" => {
                let metrics = self.ask("google_ads", "metrics", name).await?;
                match metrics["volume"].as_u64() {
                    Some(0) | None => Ok(item.skipped()),
                    Some(_) => Ok(item.completed().produces("search", [name])),
                }
            }
            "search" => {
                let pages = self.ask("scale_serp", "search", name).await?;
                self.ask("youtube", "videos", name).await?;
                let channels = self.ask("youtube", "channels", name).await?;
                let found = [&pages, &channels].map(domains).concat();
                Ok(item.completed().produces("domains", found))
            }
            "domains" => {
                let mut page = self.ask("scrapingbee", "page", name).await?;
                if page.is_null() {
                    return Ok(item.skipped());
                }
                if page["text"] == "" {
                    page = self.ask("scrapingbee", "page-js", name).await?;
                }
                let text = page["text"].as_str().unwrap_or_default();
                let kind =
                    self.ask("openai", "classify", text.trim_start_matches("welcome to ")).await?;
                match kind["kind"].as_str() {
                    Some("company") => Ok(item.completed().produces("companies", [name])),
                    _ => Ok(item.skipped()),
                }
            }
            _ => {
                let summary = self.ask("openai", "summary", name).await?;
                let all = self.books.companies().await?;
                let all = all.iter().filter(|(_, company)| company.industry == name);
                let (count, people) =
                    all.fold((0, 0), |(n, sum), (_, it)| (n + 1, sum + it.employees));
                let text = summary["text"].as_str().unwrap_or_default();
                let line = format!("{count} companies, {people} people. {text}");
                self.books.write(name, &line).await?;
                Ok(item.completed())
            }
        }
    }

    /// Batch by batch, with progress.
    async fn companies(&self) -> Result<(), BoxError> {
        let options = WorkOptions { concurrency: 1, batch: BATCH, ..WorkOptions::default() };
        let enrich = async |items: Vec<Item>| match self.enrich(&items).await {
            Ok(updates) => updates,
            Err(why) => {
                let failed = |item: &Item| item.failed(&why.category, &why.message);
                items.iter().map(failed).collect()
            }
        };
        self.pipeline.work_in_groups("companies", options, BATCH, enrich).await?;
        Ok(())
    }

    async fn enrich(&self, items: &[Item]) -> Result<Vec<Update>, Failed> {
        report::progress(&self.pipeline, "companies").await?;
        let names: Vec<_> = items.iter().map(|item| item.name.as_str()).collect();
        let answers = self.client("cognism")?.ask_all("company", &names).await?;
        let mut updates = Vec::new();
        for (item, answer) in items.iter().zip(answers) {
            updates.push(self.company(item, answer).await?);
        }
        Ok(updates)
    }

    async fn company(&self, item: &Item, answer: Option<Value>) -> Result<Update, BoxError> {
        match answer {
            None => Ok(item.failed("incomplete", "the answer said nothing of it")),
            Some(Value::Null) => Ok(item.skipped()),
            Some(found) => {
                let company: Company = serde_json::from_value(found)?;
                self.books.found(&item.name, &company).await?;
                Ok(item.completed().produces("report", [company.industry]))
            }
        }
    }
}

fn domains(answer: &Value) -> Vec<String> {
    let all = answer["domains"].as_array().into_iter().flatten();
    all.filter_map(|domain| Some(domain.as_str()?.to_owned())).collect()
}
