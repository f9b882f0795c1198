//! `pipedrive export`

mod csv;
#[cfg(feature = "parquet")]
mod parquet;

use std::{
    fs,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use futures_util::TryStreamExt as _;
use pipedrive_service::Entity;
use tempfile::NamedTempFile;

use super::common;
use crate::{
    cli::{self, Format},
    engine::plan,
    exit::{Code, Failure},
    store::{Reader, Selection},
};

/// Rows go out in pieces of this size.
const BUFFER: usize = 1 << 16;

pub(super) async fn run(args: cli::Export) -> Result<(), Failure> {
    let usage = |line: &str| Failure::new(Code::Usage, line);
    let entities = match args.entities.as_slice() {
        [] => Entity::ALL.to_vec(),
        names => plan::entities(names).map_err(|line| usage(&line))?,
    };
    if args.format == Format::Parquet && cfg!(not(feature = "parquet")) {
        return Err(usage(
            "this pipedrive was built without its feature `parquet`: build it with `--features parquet`, or export csv or jsonl",
        ));
    }
    if args.for_spreadsheets && args.format != Format::Csv {
        return Err(usage("--for-spreadsheets is for --format csv"));
    }
    let to_stdout = args.output == Path::new("-");
    if to_stdout && entities.len() != 1 {
        return Err(usage(
            "standard output takes one entity: name it with --entity, or give a folder with --output",
        ));
    }
    if entities.len() > 1 && args.output.exists() && !args.output.is_dir() {
        let place = args.output.display();
        return Err(usage(&format!(
            "{place} is a file, and several entities need a folder: give one with --output, or name one entity with --entity"
        )));
    }
    let database = common::database(&args.database)?;
    let mut reader = Reader::open(&database).await?;
    if to_stdout {
        let out = io::stdout();
        let written = write(&mut reader, entities[0], &args, BufWriter::with_capacity(BUFFER, out));
        return match written.await {
            // Who has seen enough goes away.
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map(drop).map_err(|error| error.about("standard output")),
        };
    }
    let folder = entities.len() > 1
        || args.output.is_dir()
        || args.output.as_os_str().to_string_lossy().ends_with(std::path::is_separator);
    for entity in entities {
        let path = if folder {
            args.output.join(format!("{}.{}", entity.name(), extension(args.format)))
        } else {
            args.output.clone()
        };
        let rows = file(&mut reader, entity, &args, &path)
            .await
            .map_err(|error| error.about(&path.display().to_string()))?;
        tracing::info!(target: "pipedrive_sync::export", entity = entity.name(), rows, file = %path.display(), "written");
    }
    Ok(())
}

const fn extension(format: Format) -> &'static str {
    match format {
        Format::Csv => "csv",
        Format::Jsonl => "jsonl",
        Format::Parquet => "parquet",
    }
}

/// Why an export ended.
#[derive(Debug)]
enum Error {
    /// The database, or what could not be written of it.
    Failed(Failure),
    /// The file or standard output.
    Io(io::Error),
}

impl Error {
    fn about(self, place: &str) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            Self::Io(error) => {
                let code = match error.kind() {
                    io::ErrorKind::NotFound
                    | io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::IsADirectory => Code::Usage,
                    _ => Code::Other,
                };
                Failure::new(code, format!("{place} cannot be written: {error}"))
            }
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<crate::store::StoreError> for Error {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// Writes beside the place and moves there when all is on the disk: what is there is whole, the old or the new.
async fn file(
    reader: &mut Reader,
    entity: Entity,
    args: &cli::Export,
    path: &Path,
) -> Result<u64, Error> {
    // A device or a pipe is written as it is: it must not be replaced.
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir()) {
        let out = fs::OpenOptions::new().write(true).open(path)?;
        return write(reader, entity, args, BufWriter::with_capacity(BUFFER, out))
            .await
            .map(|(rows, _)| rows);
    }
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&folder)?;
    let draft = NamedTempFile::with_prefix_in(".pipedrive-export-", folder)?;
    let (rows, out) = write(reader, entity, args, BufWriter::with_capacity(BUFFER, draft)).await?;
    let draft = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    draft.as_file().sync_all()?;
    draft.persist(path).map_err(|error| error.error)?;
    Ok(rows)
}

/// Writes an entity to its end, and gives the number of rows and what it was written to, flushed.
async fn write<W: Write + Send>(
    reader: &mut Reader,
    entity: Entity,
    args: &cli::Export,
    out: BufWriter<W>,
) -> Result<(u64, BufWriter<W>), Error> {
    let selection = Selection { since: args.since, deleted: args.deleted };
    let (rows, mut out) = match args.format {
        Format::Jsonl => jsonl(reader, entity, &selection, out).await?,
        Format::Csv => csv::write(reader, entity, &selection, args.for_spreadsheets, out).await?,
        #[cfg(feature = "parquet")]
        Format::Parquet => parquet::write(reader, entity, &selection, out).await?,
        #[cfg(not(feature = "parquet"))]
        Format::Parquet => (0, out),
    };
    out.flush()?;
    Ok((rows, out))
}

async fn jsonl<W: Write>(
    reader: &mut Reader,
    entity: Entity,
    selection: &Selection,
    mut out: W,
) -> Result<(u64, W), Error> {
    let mut count = 0;
    let mut rows = reader.raw(entity.name(), selection);
    while let Some(row) = rows.try_next().await? {
        // A line break can only be a blank between two parts: within a text JSON writes it otherwise.
        if row.contains(['\n', '\r']) {
            out.write_all(row.replace(['\n', '\r'], " ").as_bytes())?;
        } else {
            out.write_all(row.as_bytes())?;
        }
        out.write_all(b"\n")?;
        count += 1;
    }
    Ok((count, out))
}
