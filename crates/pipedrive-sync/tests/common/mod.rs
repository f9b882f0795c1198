//! A simulated account on a loopback socket, and the program run against it.
#![allow(dead_code, missing_docs, unreachable_pub)]

pub mod kit;
#[path = "../../../pipeline-state/tests/support/server.rs"]
pub mod server;
pub mod spoiler;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    str::FromStr as _,
};

use futures_util::TryStreamExt as _;
use pipedrive_service::{Client, Config, Entity, Sources};
use pipedrive_sync::{
    digest::{Digester, EntityDigest},
    store::{Database, Reader},
};
use saas_sim::{
    Listen, Server,
    pipedrive::{self as sim, Sim, SimConfig, Sizes},
    serve,
};
use tempfile::TempDir;

pub struct World {
    pub sim: Sim,
    pub server: Server,
    pub dir: TempDir,
    /// The name of the database, if it is not a file in the folder.
    pub elsewhere: Option<String>,
}

impl World {
    pub async fn new(config: SimConfig) -> Self {
        Self::listening(config, Listen::http((Ipv4Addr::LOCALHOST, 0))).await
    }

    pub async fn listening(config: SimConfig, listen: Listen) -> Self {
        let sim = Sim::new(config).unwrap();
        let server = serve(&sim, listen).await.unwrap();
        Self { sim, server, dir: TempDir::new().unwrap(), elsewhere: None }
    }

    /// The same with another database.
    pub fn with_database(mut self, name: &str) -> Self {
        self.elsewhere = Some(name.to_owned());
        self
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("account.sqlite")
    }

    pub fn database(&self) -> Database {
        self.elsewhere.as_ref().map_or_else(|| self.path().into(), |name| name.parse().unwrap())
    }

    /// The program with the simulator's address and token, and nothing else from our environment.
    pub fn pipedrive(&self, command: &str) -> Command {
        let mut program = pipedrive();
        program
            .arg(command)
            .env("PIPEDRIVE_API_TOKEN", self.sim.api_token())
            .env("PIPEDRIVE_BASE_URL", self.server.url())
            .env("PIPEDRIVE_DATABASE", self.path());
        if let Some(name) = &self.elsewhere {
            program.env("PIPEDRIVE_DATABASE", name);
        }
        program
    }

    pub async fn run(&self, command: &str, args: &[&str]) -> Ended {
        let mut program = self.pipedrive(command);
        program.args(args);
        ended(program).await
    }

    /// Entities whose rows in the database differ from the account.
    pub async fn differences(&self) -> Vec<String> {
        let mut reader = Reader::open(&self.database()).await.unwrap();
        let mut differ = Vec::new();
        for theirs in sim::Entity::ALL {
            let account = self.sim.digest(theirs);
            let held = digest(&mut reader, ours(theirs)).await;
            if (held.rows, &held.sha256) != (account.rows, &account.sha256) {
                differ.push(format!(
                    "{}: {} in the account, {} held",
                    theirs.name(),
                    account.rows,
                    held.rows
                ));
            }
        }
        differ
    }

    /// The copy is the account, and pages are counted once, whatever was lost on the way.
    pub async fn is_whole_and_counted_once(&self) {
        assert_eq!(self.differences().await, Vec::<String>::new());
        let mut reader = Reader::open(&self.database()).await.unwrap();
        let counts = reader.counts().await.unwrap();
        for walk in reader.walks().await.unwrap() {
            // Recents are no table.
            if let Some((rows, _)) = counts.get(walk.walk.as_str()) {
                assert_eq!(walk.rows, *rows, "{}", walk.walk);
            }
        }
    }

    /// Rows of which the database and the account do not say the same, for people; the account is asked.
    pub async fn rows_that_differ(&self, entity: Entity) -> Vec<String> {
        let walk = client(self).walk(entity, pipedrive_service::WalkOptions::new());
        let pages: Vec<_> = walk.try_collect().await.unwrap();
        let mut account: BTreeMap<String, String> = BTreeMap::new();
        for row in pages.into_iter().flat_map(|page| page.rows) {
            account.insert(row.id.to_string(), row.raw.get().to_owned());
        }
        let mut reader = Reader::open(&self.database()).await.unwrap();
        let held: BTreeMap<String, String> =
            reader.rows(entity.name()).try_collect().await.unwrap();
        let ids: BTreeSet<_> = account.keys().chain(held.keys()).collect();
        let differ = ids.into_iter().filter(|id| account.get(*id) != held.get(*id));
        differ
            .map(|id| {
                format!(
                    "{entity} {id}\n  account {:?}\n  held    {:?}",
                    account.get(id),
                    held.get(id)
                )
            })
            .collect()
    }
}

/// So many rows of each kind, no burst limit in the way, and a log of every request.
pub fn config(each: u64) -> SimConfig {
    SimConfig {
        sizes: Some(Sizes::each(each)),
        burst: Some(100_000),
        log: 1_000_000,
        ..SimConfig::default()
    }
}

/// A client of the simulated account.
pub fn client(world: &World) -> Client {
    let sources = Sources::new()
        .set("connection.base_url", world.server.url())
        .set("connection.api_token", world.sim.api_token());
    Client::new(Config::load(&sources).unwrap()).unwrap()
}

pub fn ours(entity: sim::Entity) -> Entity {
    Entity::from_str(entity.name()).unwrap()
}

pub async fn digest(reader: &mut Reader, entity: Entity) -> EntityDigest {
    let mut digester = Digester::default();
    let mut rows = reader.rows(entity.name());
    while let Some((id, data)) = rows.try_next().await.unwrap() {
        digester.add(&id, &data).unwrap();
    }
    digester.finish()
}

pub fn pipedrive() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_pipedrive"));
    program.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let Some(profile) = std::env::var_os("LLVM_PROFILE_FILE") {
        program.env("LLVM_PROFILE_FILE", profile);
    }
    program
}

#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs to the end without blocking the simulator, which lives in this process.
pub async fn ended(mut program: Command) -> Ended {
    tokio::task::spawn_blocking(move || program.output().unwrap().into()).await.unwrap()
}

pub fn exists(path: &Path) -> bool {
    path.try_exists().unwrap()
}
