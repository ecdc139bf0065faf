//! Parquet, written column by column in groups of rows.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::report::{Cell, Kind, Sink};

/// Rows of one group.
const GROUP: usize = 100_000;

pub(crate) struct ParquetSink<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Column>,
    rows: usize,
}

/// The values of a column that are not written yet. Which rows have one is told by levels: 1 for those that do.
struct Column {
    levels: Vec<i16>,
    values: Values,
}

enum Values {
    Texts(Vec<ByteArray>),
    Numbers(Vec<i64>),
}

impl<W: Write + Send> ParquetSink<W> {
    pub(crate) fn new(columns: &[(&'static str, Kind)], file: W) -> io::Result<Self> {
        let mut schema = "message muralla {".to_owned();
        for (name, kind) in columns {
            let (physical, meaning) = match kind {
                Kind::Number => ("INT64", ""),
                // There is none in seconds.
                Kind::Time => ("INT64", " (TIMESTAMP(MILLIS, true))"),
                Kind::Text | Kind::Day | Kind::State | Kind::Name => ("BYTE_ARRAY", " (STRING)"),
            };
            schema.push_str(&format!(" OPTIONAL {physical} {name}{meaning};"));
        }
        schema.push_str(" }");
        let schema = Arc::new(parse_message_type(&schema).map_err(failed)?);
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer =
            SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(failed)?;
        let column = |kind: &Kind| Column {
            levels: Vec::new(),
            values: match kind {
                Kind::Number | Kind::Time => Values::Numbers(Vec::new()),
                Kind::Text | Kind::Day | Kind::State | Kind::Name => Values::Texts(Vec::new()),
            },
        };
        let columns = columns.iter().map(|(_, kind)| column(kind)).collect();
        Ok(Self { writer, columns, rows: 0 })
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        if self.rows == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for column in &mut self.columns {
            let Some(mut writer) = group.next_column()? else { break };
            let levels = Some(column.levels.as_slice());
            match &column.values {
                Values::Texts(texts) => {
                    writer.typed::<ByteArrayType>().write_batch(texts, levels, None)?;
                }
                Values::Numbers(numbers) => {
                    writer.typed::<Int64Type>().write_batch(numbers, levels, None)?;
                }
            }
            writer.close()?;
            column.levels.clear();
            match &mut column.values {
                Values::Texts(texts) => texts.clear(),
                Values::Numbers(numbers) => numbers.clear(),
            }
        }
        group.close()?;
        self.rows = 0;
        Ok(())
    }
}

impl<W: Write + Send> Sink for ParquetSink<W> {
    fn row(&mut self, cells: Vec<Cell>) -> io::Result<()> {
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            let there = match (&mut column.values, cell) {
                (Values::Texts(texts), Cell::Text(text)) => {
                    texts.push(text.into_bytes().into());
                    true
                }
                (Values::Numbers(numbers), Cell::Number(number)) => {
                    numbers.push(number);
                    true
                }
                (Values::Numbers(numbers), Cell::Time(time)) => {
                    numbers.push(time.saturating_mul(1000));
                    true
                }
                _ => false,
            };
            column.levels.push(there.into());
        }
        self.rows += 1;
        if self.rows >= GROUP {
            self.write_group().map_err(failed)?;
        }
        Ok(())
    }

    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.write_group().map_err(failed)?;
        self.writer.close().map_err(failed)?;
        Ok(())
    }
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}
