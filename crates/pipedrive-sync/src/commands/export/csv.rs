//! Comma-separated values.

use std::io::{self, Write};

use csv::Writer;
use futures_util::TryStreamExt as _;
use pipedrive_service::Entity;

use super::Error;
use crate::{
    store::{ColumnType, Reader, Selection},
    wall,
};

/// Writes a head line and all rows. The two columns of identifiers become one.
pub(super) async fn write<W: Write>(
    reader: &mut Reader,
    entity: Entity,
    selection: &Selection,
    for_spreadsheets: bool,
    out: W,
) -> Result<(u64, W), Error> {
    let columns = reader.columns(entity.name()).await?;
    let kinds: Vec<_> = columns.iter().map(|(_, kind)| kind).collect();
    let mut writer = Writer::from_writer(out);
    let names = columns.iter().map(|(name, _)| name).filter(|name| *name != "id_text");
    let names = names.map(|name| cell(name.to_owned(), ColumnType::Text, for_spreadsheets));
    writer.write_record(names).map_err(failed)?;
    let mut count = 0;
    let mut rows = reader.cells(&columns, selection);
    while let Some(mut row) = rows.try_next().await? {
        let text = row.remove(1);
        let kind = if text.is_some() { ColumnType::Text } else { ColumnType::Int };
        row[0] = row[0].take().or(text);
        let kinds = [kind].into_iter().chain(kinds.iter().skip(2).copied());
        let cells = row.into_iter().zip(kinds);
        let cells =
            cells.map(|(text, kind)| cell(text.unwrap_or_default(), kind, for_spreadsheets));
        writer.write_record(cells).map_err(failed)?;
        count += 1;
    }
    drop(rows);
    let out =
        writer.into_inner().map_err(|error| Error::Io(io::Error::other(error.to_string())))?;
    Ok((count, out))
}

/// One spelling for each type, whatever the database and the version of the API.
fn cell(text: String, kind: ColumnType, for_spreadsheets: bool) -> String {
    match kind {
        ColumnType::Flag => match &*text {
            "1" => "true".to_owned(),
            "0" => "false".to_owned(),
            _ => text,
        },
        ColumnType::Time => wall::parse(&text).map_or(text, |time| time.to_string()),
        ColumnType::Text
            if for_spreadsheets && text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) =>
        {
            format!("'{text}")
        }
        _ => text,
    }
}

fn failed(error: csv::Error) -> Error {
    let text = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Error::Io(error),
        _ => Error::Io(io::Error::other(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_that_a_spreadsheet_would_run_are_marked_and_only_on_demand() {
        let text = |text: &str, safe| cell(text.to_owned(), ColumnType::Text, safe);
        for formula in ["=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx"] {
            assert_eq!(text(formula, true), format!("'{formula}"));
            assert_eq!(text(formula, false), formula);
        }
        assert_eq!(text("a=1", true), "a=1");
        assert_eq!(cell("-1".into(), ColumnType::Number, true), "-1");
    }

    #[test]
    fn times_and_flags_have_one_spelling() {
        for time in ["2026-03-01T10:00:00Z", "2026-03-01 10:00:00", "2026-03-01 10:00:00+00"] {
            assert_eq!(cell(time.into(), ColumnType::Time, false), "2026-03-01T10:00:00Z");
        }
        assert_eq!(cell("soon".into(), ColumnType::Time, false), "soon");
        assert_eq!(cell("1".into(), ColumnType::Flag, false), "true");
        assert_eq!(cell("false".into(), ColumnType::Flag, false), "false");
    }
}
