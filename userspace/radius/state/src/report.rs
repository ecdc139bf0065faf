//! Sessions, records and sums as files: CSV, JSON lines, Parquet.
//!
//! Rows go from the database to the file as they come; a file of any size needs the memory of one group of rows.

mod parquet;

use std::io::{self, Write};

use muralla_database::{DatabaseError, Row, Value};
use muralla_radius_accounting::Day;
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;

use crate::report::parquet::ParquetSink;
use crate::state::Progress;
use crate::usage::{UsageFilter, question};
use crate::{SessionState, State, StateError};

/// What is written into a file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Report {
    /// Sessions that began within a time.
    Sessions {
        /// From then on, in seconds since 1970.
        from: i64,
        /// Before then.
        to: i64,
    },
    /// Records of what happened within a time.
    Records {
        /// From then on, in seconds since 1970.
        from: i64,
        /// Before then.
        to: i64,
    },
    /// Sums.
    Usage(UsageFilter),
}

/// How a file is written.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values (RFC 4180), with a line of names.
    Csv,
    /// An object of JSON in each line.
    Json,
    /// Apache Parquet, compressed by Snappy.
    Parquet,
}

/// Of what type a column is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Text,
    Number,
    /// Seconds since 1970, of which 0 is none.
    Time,
    /// Days since 1970.
    Day,
    /// A session's state.
    State,
    /// Bytes, shown in hexadecimal digits; may be none.
    Name,
}

/// A value of a column. A time is in seconds since 1970.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    None,
    Text(String),
    Number(i64),
    Time(i64),
}

/// Where rows go.
pub(crate) trait Sink {
    fn row(&mut self, cells: Vec<Cell>) -> io::Result<()>;
    fn end(self: Box<Self>) -> io::Result<()>;
}

/// A column: its name in the file, what is selected for it, and its type.
type Column = (&'static str, &'static str, Kind);

const SESSIONS: &[Column] = &[
    ("session", "id", Kind::Name),
    ("state", "state", Kind::State),
    ("user", "user_name", Kind::Text),
    ("login", "login", Kind::Text),
    ("nas", "nas", Kind::Text),
    ("telco", "telco", Kind::Text),
    ("acct_session_id", "acct_session_id", Kind::Text),
    ("started", "started", Kind::Time),
    ("updated", "updated", Kind::Time),
    (
        "ended",
        "CASE WHEN state = 0 THEN 0 WHEN stopped > 0 THEN stopped ELSE updated END",
        Kind::Time,
    ),
    ("session_time", "session_time", Kind::Number),
    ("octets_in", "octets_in", Kind::Number),
    ("octets_out", "octets_out", Kind::Number),
    ("packets_in", "packets_in", Kind::Number),
    ("packets_out", "packets_out", Kind::Number),
    ("cause", "cause", Kind::Number),
    ("address", "address", Kind::Text),
    ("prefix6", "prefix6", Kind::Text),
    ("delegated6", "delegated6", Kind::Text),
    ("address6", "address6", Kind::Text),
    ("calling", "calling", Kind::Text),
    ("called", "called", Kind::Text),
    ("port", "port", Kind::Text),
];

const RECORDS: &[Column] = &[
    ("event", "event", Kind::Name),
    ("session", "session", Kind::Name),
    ("status", "status", Kind::Text),
    ("at", "at", Kind::Time),
    ("received", "received", Kind::Time),
    ("server", "server", Kind::Text),
    ("user", "user_name", Kind::Text),
    ("login", "login", Kind::Text),
    ("nas", "nas", Kind::Text),
    ("telco", "telco", Kind::Text),
    ("acct_session_id", "acct_session_id", Kind::Text),
    ("session_time", "session_time", Kind::Number),
    ("octets_in", "octets_in", Kind::Number),
    ("octets_out", "octets_out", Kind::Number),
    ("packets_in", "packets_in", Kind::Number),
    ("packets_out", "packets_out", Kind::Number),
    ("cause", "cause", Kind::Number),
    ("address", "address", Kind::Text),
    ("prefix6", "prefix6", Kind::Text),
    ("delegated6", "delegated6", Kind::Text),
    ("address6", "address6", Kind::Text),
    ("calling", "calling", Kind::Text),
    ("called", "called", Kind::Text),
    ("port", "port", Kind::Text),
    ("class", "class", Kind::Text),
    ("doubts", "doubts", Kind::Text),
];

const SUMS: &[Column] = &[
    ("name", "", Kind::Text),
    ("day", "", Kind::Day),
    ("sessions", "", Kind::Number),
    ("session_time", "", Kind::Number),
    ("octets_in", "", Kind::Number),
    ("octets_out", "", Kind::Number),
];

impl State {
    /// Writes a report; tells how many rows it has. The file is written while the database answers, so let it lie on a disk
    /// that is not slower.
    ///
    /// # Errors
    ///
    /// If the database is away or the file can't be written. Then the file is not whole.
    pub async fn report(
        &self,
        report: &Report,
        format: Format,
        file: impl Write + Send + 'static,
        mut progress: impl FnMut(Progress) + Send,
    ) -> Result<u64, StateError> {
        let (columns, sql, values) = asked(report);
        let failed = || StateError::file("the report");
        let mut sink = sink(format, &columns, file).map_err(failed())?;
        let mut done = 0u64;
        let what = "writing the report";
        self.watched(async {
            let mut work = self.inner.engine.read().await?;
            let mut full = None;
            let read = work.each_of_many(AssertSqlSafe(sql), values, |row| {
                let cells = columns.iter().enumerate().map(|(at, (_, kind))| cell(&row, at, *kind));
                if let Err(error) = sink.row(cells.collect::<Result<_, _>>()?) {
                    full = Some(error);
                    return Err(DatabaseError::Row("the report can not be written".into()));
                }
                done += 1;
                if done.is_multiple_of(10_000) {
                    progress(Progress { what, done, total: None });
                }
                Ok(())
            });
            let read = read.await;
            // What ended the reading was the file, not the database.
            full.map_or(Ok(()), |error| Err(failed()(error)))?;
            Ok(read?)
        })
        .await?;
        sink.end().map_err(failed())?;
        progress(Progress { what, done, total: Some(done) });
        Ok(done)
    }
}

fn asked(report: &Report) -> (Vec<(&'static str, Kind)>, String, Vec<Value>) {
    let of = |columns: &[Column]| columns.iter().map(|(name, _, kind)| (*name, *kind)).collect();
    let select = |columns: &[Column], table: &str, time: &str| {
        let selected: Vec<&str> = columns.iter().map(|(_, selected, _)| *selected).collect();
        let selected = selected.join(", ");
        format!("SELECT {selected} FROM {table} WHERE {time} >= $1 AND {time} < $2 ORDER BY {time}")
    };
    match report {
        Report::Sessions { from, to } => (
            of(SESSIONS),
            select(SESSIONS, "radius_session", "started"),
            vec![Value::from(*from), (*to).into()],
        ),
        Report::Records { from, to } => (
            of(RECORDS),
            select(RECORDS, "radius_record", "at"),
            vec![Value::from(*from), (*to).into()],
        ),
        Report::Usage(filter) => {
            let (sql, values) = question(filter);
            (of(SUMS), sql, values)
        }
    }
}

fn cell(row: &Row, at: usize, kind: Kind) -> Result<Cell, DatabaseError> {
    Ok(match kind {
        Kind::Text => Cell::Text(row.text(at)?),
        Kind::Number => Cell::Number(row.int(at)?),
        Kind::Time => match row.int(at)? {
            0 => Cell::None,
            time => Cell::Time(time),
        },
        Kind::Day => match row.int(at)? {
            // The sum of all days.
            0 => Cell::None,
            day => Cell::Text(Day(i32::try_from(day).unwrap_or_default()).to_string()),
        },
        Kind::State => Cell::Text(SessionState::of(row.int(at)?).name().to_owned()),
        Kind::Name => match row.bytes_or_none(at)? {
            None => Cell::None,
            Some(bytes) => Cell::Text(crate::sessions::hex(&bytes)),
        },
    })
}

fn sink(
    format: Format,
    columns: &[(&'static str, Kind)],
    file: impl Write + Send + 'static,
) -> io::Result<Box<dyn Sink + Send>> {
    Ok(match format {
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(file);
            writer.write_record(columns.iter().map(|(name, _)| *name))?;
            Box::new(CsvSink(writer))
        }
        Format::Json => {
            let names = columns.iter().map(|(name, _)| *name).collect();
            Box::new(JsonSink { names, file: io::BufWriter::with_capacity(1 << 16, file) })
        }
        Format::Parquet => Box::new(ParquetSink::new(columns, file)?),
    })
}

struct CsvSink<W: Write>(csv::Writer<W>);

impl<W: Write> Sink for CsvSink<W> {
    fn row(&mut self, cells: Vec<Cell>) -> io::Result<()> {
        for cell in cells {
            match cell {
                Cell::None => self.0.write_field("")?,
                Cell::Text(text) => self.0.write_field(text)?,
                Cell::Number(number) => self.0.write_field(number.to_string())?,
                Cell::Time(time) => self.0.write_field(date_time(time))?,
            }
        }
        self.0.write_record(None::<&[u8]>)?;
        Ok(())
    }

    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()
    }
}

struct JsonSink<W: Write> {
    names: Vec<&'static str>,
    file: io::BufWriter<W>,
}

impl<W: Write> Sink for JsonSink<W> {
    fn row(&mut self, cells: Vec<Cell>) -> io::Result<()> {
        // By hand, so that the columns keep their order.
        let mut before = "{";
        for (name, cell) in self.names.iter().zip(cells) {
            write!(self.file, "{before}\"{name}\":")?;
            match cell {
                Cell::None => self.file.write_all(b"null")?,
                Cell::Text(text) => serde_json::to_writer(&mut self.file, &text)?,
                Cell::Number(number) => write!(self.file, "{number}")?,
                Cell::Time(time) => write!(self.file, "\"{}\"", date_time(time))?,
            }
            before = ",";
        }
        self.file.write_all(b"}\n")
    }

    fn end(mut self: Box<Self>) -> io::Result<()> {
        self.file.flush()
    }
}

/// As RFC 3339 has it.
fn date_time(time: i64) -> String {
    let (day, second) = (Day::of(time, 0), time.rem_euclid(86_400));
    format!("{day}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// What was written, to look at afterwards.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: Format) -> Vec<u8> {
        let columns = [("user", Kind::Text), ("octets", Kind::Number), ("ended", Kind::Time)];
        let kept = Kept::default();
        let mut sink = sink(format, &columns, kept.clone()).unwrap();
        let rows = [
            [Cell::Text("a\"nn, ä".into()), Cell::Number(1 << 40), Cell::Time(1_764_412_200)],
            [Cell::Text(String::new()), Cell::Number(0), Cell::None],
        ];
        for row in rows {
            sink.row(row.to_vec()).unwrap();
        }
        sink.end().unwrap();
        kept.0.lock().clone()
    }

    #[test]
    fn csv_has_names_and_quotes() {
        let expected =
            "user,octets,ended\n\"a\"\"nn, ä\",1099511627776,2025-11-29T10:30:00Z\n\"\",0,\n";
        let text = String::from_utf8(written(Format::Csv)).unwrap();
        assert_eq!(text.replace("\n,", "\n\"\","), expected, "{text}");
    }

    #[test]
    fn json_has_an_object_in_each_line() {
        let text = String::from_utf8(written(Format::Json)).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["user"], "a\"nn, ä");
        assert_eq!(lines[0]["octets"], 1u64 << 40);
        assert_eq!(lines[0]["ended"], "2025-11-29T10:30:00Z");
        assert!(lines[1]["ended"].is_null());
        assert!(text.starts_with(r#"{"user":"#), "in the order of the columns");
    }

    #[test]
    fn parquet_is_read_back() {
        let bytes = written(Format::Parquet);
        assert_eq!((&bytes[..4], &bytes[bytes.len() - 4..]), (&b"PAR1"[..], &b"PAR1"[..]));
    }
}
