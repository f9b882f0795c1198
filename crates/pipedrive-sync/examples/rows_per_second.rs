//! How fast rows get from the API into SQLite, beside a bare writer of the same rows, and where the time goes.
//!
//! ```sh
//! cargo run --release -p pipedrive-sync --example rows_per_second -- 500000
//! ```
//!
//! A server in this process answers with pages that cost it a copy, so that what is measured is ours. Its rows are the
//! simulator's, each with an identifier of its own. Limits are off. Each stage is measured by itself, three
//! times, and the best counts:
//!
//! - network: the bodies are read from the socket and thrown away;
//! - network and parsing: the client walks the list and throws the rows away;
//! - database: the store writes pages that are in memory;
//! - bare writer: sqlx writes the same rows into the same table, 500 to a statement, 16 statements to a transaction;
//! - sync: all of it.
//!
//! The second argument is the number of rows after which the sync's speed is taken a first time, to see whether a row of
//! a large account takes longer: default 100000.
#![allow(missing_docs, clippy::print_stdout)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::TryStreamExt as _;
use pipedrive_service::{Client, Config, Entity, Row, Sources, WalkOptions};
use pipedrive_sync::{
    engine::{self, Job, Settings, plan::Wanted},
    progress::Style,
    store::{Database, Id, Mode, PageWrite, RowWrite, Store, WalkState},
};
use saas_sim::{
    Listen,
    pipedrive::{Sim, SimConfig, Sizes},
    serve,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tempfile::TempDir;
use tokio::{sync::watch, time::Instant};

type Error = Box<dyn std::error::Error + Send + Sync>;

const PAGE: usize = 500;
const ENTITY: Entity = Entity::Persons;

fn main() -> Result<(), Error> {
    let number = |at: usize, default| {
        std::env::args().nth(at).map_or(Ok(default), |text| text.parse::<usize>())
    };
    let (rows, few) = (number(1, 500_000)?, number(2, 100_000)?);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(rows.next_multiple_of(PAGE), few.next_multiple_of(PAGE)))
}

async fn measure(rows: usize, few: usize) -> Result<(), Error> {
    let (me, templates) = templates().await?;
    let size = templates.iter().map(|row| row.raw.get().len()).sum::<usize>() / templates.len();
    println!("{rows} rows of {size} bytes, {PAGE} to a page; rows per second, the best of three");
    let pages = Arc::new(Pages { me, templates, list: Length::default() });
    pages.list.store(rows);
    let address = pages.serve()?;
    let client = client(&format!("http://{address}"))?;

    let best = |times: [Duration; 3]| rows as f64 / times.iter().min().unwrap().as_secs_f64();
    let mut times = [[Duration::ZERO; 3]; 5];
    let mut early = [Duration::ZERO; 3];
    pages.list.store(rows);
    // In turn, so that what else the machine does meets all alike.
    for round in 0..3 {
        times[0][round] = timed(async { network(address, rows) }).await?;
        times[1][round] = timed(walk(&client)).await?;
        times[2][round] = database(&pages, rows).await?;
        times[3][round] = bare(&pages, rows).await?;
        times[4][round] = timed(sync(&client)).await?;
        pages.list.store(few);
        early[round] = timed(sync(&client)).await?;
        pages.list.store(rows);
    }
    let names = ["network", "network and parsing", "database", "bare writer", "sync"];
    for (name, times) in names.into_iter().zip(times) {
        println!("{name:<20} {:>9.0}", best(times));
    }
    let few_rate = few as f64 / early.iter().min().unwrap().as_secs_f64();
    println!("{:<20} {few_rate:>9.0}   of {few} rows", "sync");
    println!("sync / bare writer   {:>9.2}", best(times[4]) / best(times[3]));
    Ok(())
}

async fn timed<T>(work: impl Future<Output = Result<T, Error>>) -> Result<Duration, Error> {
    let begun = Instant::now();
    work.await?;
    Ok(begun.elapsed())
}

/// A clock that stands while rows are made.
#[derive(Default)]
struct Clock(Duration);

impl Clock {
    async fn time<T>(&mut self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let begun = Instant::now();
        let done = work.await;
        self.0 += begun.elapsed();
        done
    }
}

/// The simulator's rows, and its answer to the request that every start makes.
async fn templates() -> Result<(Vec<u8>, Vec<Row>), Error> {
    let config = SimConfig {
        sizes: Some(Sizes::each(PAGE as u64)),
        burst: Some(100_000),
        ..SimConfig::default()
    };
    let sim = Sim::new(config)?;
    let server = serve(&sim, Listen::http((Ipv4Addr::LOCALHOST, 0))).await?;
    let client = client(&server.url())?;
    let me = serde_json::json!({"success": true, "data": {
        "id": 1, "name": "x", "email": "x@example.org", "company_id": 1, "company_domain": "x",
    }});
    let mut pages = pin!(client.walk(ENTITY, WalkOptions::new()));
    let mut rows = Vec::new();
    while let Some(page) = pages.try_next().await? {
        rows.extend(page.rows);
    }
    server.shutdown().await;
    Ok((me.to_string().into_bytes(), rows))
}

fn client(url: &str) -> Result<Client, Error> {
    let sources = Sources::new()
        .set("connection.base_url", url)
        .set("connection.api_token", saas_sim::pipedrive::SimConfig::default().api_token)
        .set("robustness.rate_limiting.enabled", "false");
    Ok(Client::builder(Config::load(&sources)?).leased(true).build()?)
}

/// A list as long as one likes.
struct Pages {
    me: Vec<u8>,
    templates: Vec<Row>,
    list: Length,
}

/// How long the list is now.
#[derive(Default)]
struct Length(std::sync::atomic::AtomicUsize);

impl Length {
    fn store(&self, rows: usize) {
        self.0.store(rows, std::sync::atomic::Ordering::SeqCst);
    }

    fn load(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Pages {
    fn row(&self, number: usize, out: &mut Vec<u8>) {
        let raw = self.templates[number % self.templates.len()].raw.get();
        let (before, rest) = raw.split_once("\"id\":").expect("a row has an identifier");
        let rest = rest.trim_start_matches(|digit: char| digit.is_ascii_digit());
        write!(out, "{before}\"id\":{}", number + 1).expect("memory is written");
        out.extend_from_slice(rest.as_bytes());
    }

    fn body(&self, from: usize) -> Vec<u8> {
        let to = (from + PAGE).min(self.list.load());
        let mut body = Vec::with_capacity((to - from) * 1024 + 256);
        body.extend_from_slice(b"{\"success\":true,\"data\":[");
        for number in from..to {
            if number > from {
                body.push(b',');
            }
            self.row(number, &mut body);
        }
        let next = if to < self.list.load() { format!("\"{to}\"") } else { "null".to_owned() };
        let end = format!("],\"additional_data\":{{\"next_cursor\":{next}}}}}");
        body.extend_from_slice(end.as_bytes());
        body
    }

    fn serve(self: &Arc<Self>) -> std::io::Result<std::net::SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let pages = Arc::clone(self);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let pages = Arc::clone(&pages);
                std::thread::spawn(move || pages.answer(stream));
            }
        });
        Ok(address)
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        loop {
            let (mut target, mut line) = (String::new(), String::new());
            while reader.read_line(&mut line)? > 0 && line != "\r\n" {
                if target.is_empty() {
                    target.clone_from(&line);
                }
                line.clear();
            }
            if target.is_empty() {
                return Ok(());
            }
            let from = target.split_once("cursor=").map_or("0", |(_, rest)| rest);
            let digits = from.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            let body = if target.contains("/users/me") {
                self.me.clone()
            } else {
                self.body(digits.parse().unwrap_or(0))
            };
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body)?;
        }
    }
}

fn network(address: std::net::SocketAddr, rows: usize) -> Result<(), Error> {
    let mut stream = TcpStream::connect(address)?;
    let mut reader = BufReader::with_capacity(1 << 16, stream.try_clone()?);
    let mut body = Vec::new();
    for from in (0..rows).step_by(PAGE) {
        // In one piece: the second of two would wait for an answer to the first.
        stream.write_all(format!("GET /?cursor={from} HTTP/1.1\r\n\r\n").as_bytes())?;
        let mut length = 0;
        let mut line = String::new();
        while reader.read_line(&mut line)? > 0 && line != "\r\n" {
            if let Some(bytes) = line.strip_prefix("content-length: ") {
                length = bytes.trim().parse()?;
            }
            line.clear();
        }
        body.resize(length, 0);
        reader.read_exact(&mut body)?;
    }
    Ok(())
}

async fn walk(client: &Client) -> Result<(), Error> {
    let mut pages = pin!(client.walk(ENTITY, WalkOptions::new().prefetch(2)));
    while pages.try_next().await?.is_some() {}
    Ok(())
}

/// Rows that are in memory before the clock goes.
fn ready(
    pages: &Pages,
    from: usize,
    to: usize,
) -> Result<Vec<(i64, Option<String>, String)>, Error> {
    (from..to)
        .map(|number| {
            let mut row = Vec::new();
            pages.row(number, &mut row);
            let time = pages.templates[number % pages.templates.len()].update_time.clone();
            Ok((i64::try_from(number + 1)?, time, String::from_utf8(row)?))
        })
        .collect()
}

async fn database(pages: &Pages, rows: usize) -> Result<Duration, Error> {
    let mut clock = Clock::default();
    let folder = TempDir::new()?;
    let mut store = Store::open(&file(&folder)).await?;
    let run = store.begin_run("rows per second").await?;
    let state = WalkState::begun(ENTITY.name(), ENTITY.name(), Mode::Full, "", run);
    store.begin_walks([&state]).await?;
    for from in (0..rows).step_by(16 * PAGE) {
        let ready = ready(pages, from, (from + 16 * PAGE).min(rows))?;
        clock
            .time(async {
                let writes: Vec<_> = ready
                    .iter()
                    .map(|(id, time, data)| RowWrite {
                        id: Id::Number(*id),
                        update_time: time.as_deref(),
                        data,
                    })
                    .collect();
                let pages: Vec<_> = writes
                    .chunks(PAGE)
                    .map(|rows| PageWrite {
                        rows,
                        position: Some("\"x\"".to_owned()),
                        ..PageWrite::of(&state)
                    })
                    .collect();
                Ok(store.commit(&pages, None).await?)
            })
            .await?;
    }
    clock.time(async { Ok(store.close().await?) }).await?;
    Ok(clock.0)
}

async fn bare(pages: &Pages, rows: usize) -> Result<Duration, Error> {
    let mut clock = Clock::default();
    let folder = TempDir::new()?;
    // The same table, and the same promise about the disk.
    Store::open(&file(&folder)).await?.close().await?;
    let mut conn = SqliteConnectOptions::new()
        .filename(path(&folder))
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging()
        .connect()
        .await?;
    let sql = format!(
        "INSERT INTO {} (id, update_time, is_deleted, data, run) VALUES (?,?,0,?,1){}",
        ENTITY.name(),
        ",(?,?,0,?,1)".repeat(PAGE - 1)
    );
    for from in (0..rows).step_by(16 * PAGE) {
        let ready = ready(pages, from, (from + 16 * PAGE).min(rows))?;
        clock
            .time(async {
                let mut tx = conn.begin().await?;
                for rows in ready.chunks(PAGE) {
                    let mut statement = sqlx::query(AssertSqlSafe(sql.clone()));
                    for (id, time, data) in rows {
                        statement = statement.bind(id).bind(time).bind(data);
                    }
                    statement.execute(&mut *tx).await?;
                }
                Ok(tx.commit().await?)
            })
            .await?;
    }
    clock.time(async { Ok(conn.close().await?) }).await?;
    Ok(clock.0)
}

async fn sync(client: &Client) -> Result<(), Error> {
    let folder = TempDir::new()?;
    let store = Store::open(&file(&folder)).await?;
    let (_stop, stop) = watch::channel(false);
    let job = Job {
        client: client.clone(),
        store,
        entities: vec![ENTITY],
        wanted: Wanted::Full,
        settings: Settings::default(),
        progress: Arc::from(Style::None.start()),
        stop,
        totals: None,
        command: "rows per second",
        options: None,
        ledger: None,
    };
    let outcome = engine::sync(job).await.map_err(|failure| failure.line)?;
    outcome.failure.map_or(Ok(()), |failure| Err(failure.line.into()))
}

fn path(folder: &TempDir) -> std::path::PathBuf {
    Path::new(folder.path()).join("rows.sqlite")
}

fn file(folder: &TempDir) -> Database {
    path(folder).into()
}
