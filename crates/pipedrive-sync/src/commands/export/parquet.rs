//! Apache Parquet.

use std::{io::Write, sync::Arc};

use futures_util::TryStreamExt as _;
use parquet::{
    basic::{Compression, LogicalType, Repetition, Type as Physical},
    data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::{Type as Schema, TypePtr},
};
use pipedrive_service::Entity;

use super::Error;
use crate::{
    exit::{Code, Failure},
    store::{ColumnType, Reader, Selection},
    wall,
};

/// A group of rows is written, and its memory let go, after so many rows or so many bytes.
const GROUP: (usize, usize) = (50_000, 16 << 20);

/// Writes all rows, group by group.
pub(super) async fn write<W: Write + Send>(
    reader: &mut Reader,
    entity: Entity,
    selection: &Selection,
    out: W,
) -> Result<(u64, W), Error> {
    let columns = reader.columns(entity.name()).await?;
    let kinds: Vec<_> = columns.iter().map(|(_, kind)| kind).collect();
    let fields = columns.iter().map(|(name, kind)| field(name, kind));
    let fields = fields.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let schema = Schema::group_type_builder(entity.name()).with_fields(fields).build();
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer =
        SerializedFileWriter::new(out, Arc::new(schema.map_err(failed)?), Arc::new(properties))
            .map_err(failed)?;

    let mut group: Vec<Values> = kinds.iter().map(|kind| Values::new(*kind)).collect();
    let (mut held, mut bytes, mut count) = (0, 0, 0);
    let mut rows = reader.cells(&columns, selection);
    while let Some(row) = rows.try_next().await? {
        for (values, cell) in group.iter_mut().zip(row) {
            bytes += cell.as_ref().map_or(0, String::len);
            values.push(cell);
        }
        held += 1;
        count += 1;
        if held >= GROUP.0 || bytes >= GROUP.1 {
            flush(&mut writer, &mut group).map_err(failed)?;
            (held, bytes) = (0, 0);
        }
    }
    drop(rows);
    if held > 0 {
        flush(&mut writer, &mut group).map_err(failed)?;
    }
    let out = writer.into_inner().map_err(failed)?;
    Ok((count, out))
}

fn failed(error: ParquetError) -> Error {
    match error {
        ParquetError::External(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => Error::Io(*error),
            Err(error) => Error::Failed(Failure::new(Code::Other, format!("parquet: {error}"))),
        },
        error => Error::Failed(Failure::new(Code::Other, format!("parquet: {error}"))),
    }
}

fn field(name: &str, kind: ColumnType) -> Result<TypePtr, ParquetError> {
    let (physical, logical) = match kind {
        ColumnType::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        ColumnType::Int => (Physical::INT64, None),
        ColumnType::Number => (Physical::DOUBLE, None),
        ColumnType::Flag => (Physical::BOOLEAN, None),
        ColumnType::Date => (Physical::INT32, Some(LogicalType::Date)),
        ColumnType::Time => {
            (Physical::INT64, Some(LogicalType::timestamp(true, parquet::basic::TimeUnit::MICROS)))
        }
    };
    let field = Schema::primitive_type_builder(name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_logical_type(logical)
        .build()?;
    Ok(Arc::new(field))
}

/// The values of a column that are not null, and for each row whether there is one.
struct Values {
    kind: ColumnType,
    there: Vec<i16>,
    texts: Vec<ByteArray>,
    ints: Vec<i64>,
    numbers: Vec<f64>,
    flags: Vec<bool>,
    days: Vec<i32>,
}

impl Values {
    const fn new(kind: ColumnType) -> Self {
        Self {
            kind,
            there: Vec::new(),
            texts: Vec::new(),
            ints: Vec::new(),
            numbers: Vec::new(),
            flags: Vec::new(),
            days: Vec::new(),
        }
    }

    /// What does not fit the type is null.
    fn push(&mut self, cell: Option<String>) {
        fn keep<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
            let there = value.is_some();
            values.extend(value);
            there
        }
        let text = cell.as_deref();
        let there = match self.kind {
            ColumnType::Text => {
                keep(&mut self.texts, cell.map(|text| ByteArray::from(text.into_bytes())))
            }
            ColumnType::Int => keep(&mut self.ints, text.and_then(|text| text.parse().ok())),
            ColumnType::Number => keep(&mut self.numbers, text.and_then(|text| text.parse().ok())),
            ColumnType::Flag => {
                keep(&mut self.flags, text.map(|text| matches!(text, "1" | "true")))
            }
            ColumnType::Date => keep(&mut self.days, text.and_then(day)),
            ColumnType::Time => {
                keep(&mut self.ints, text.and_then(wall::parse).map(|time| time.as_microsecond()))
            }
        };
        self.there.push(i16::from(there));
    }
}

/// Days since 1970.
fn day(text: &str) -> Option<i32> {
    let date: jiff::civil::Date = text.parse().ok()?;
    Some(date.since(jiff::civil::date(1970, 1, 1)).ok()?.get_days())
}

fn flush<W: Write + Send>(
    writer: &mut SerializedFileWriter<W>,
    group: &mut [Values],
) -> Result<(), ParquetError> {
    let mut rows = writer.next_row_group()?;
    for values in group {
        let mut column = rows
            .next_column()?
            .ok_or_else(|| ParquetError::General("a column is missing".to_owned()))?;
        let there = Some(&*values.there);
        match values.kind {
            ColumnType::Text => {
                column.typed::<ByteArrayType>().write_batch(&values.texts, there, None)?
            }
            ColumnType::Int | ColumnType::Time => {
                column.typed::<Int64Type>().write_batch(&values.ints, there, None)?
            }
            ColumnType::Number => {
                column.typed::<DoubleType>().write_batch(&values.numbers, there, None)?
            }
            ColumnType::Flag => {
                column.typed::<BoolType>().write_batch(&values.flags, there, None)?
            }
            ColumnType::Date => {
                column.typed::<Int32Type>().write_batch(&values.days, there, None)?
            }
        };
        column.close()?;
        *values = Values::new(values.kind);
    }
    rows.close()?;
    Ok(())
}
