//! Tables with a heading, as spreadsheets and billing systems write them: what parts the columns is a comma, a semicolon or a
//! tab, as in the first line.

use std::io::Read;

use csv::{Position, Reader, ReaderBuilder, StringRecord, Trim};

/// Longest text that is read: half a million long lines.
const LONGEST: u64 = 1 << 30;

/// A table in memory.
pub(super) struct Table {
    bytes: Vec<u8>,
    headers: StringRecord,
}

impl Table {
    /// Reads all of it, or says why it can't be a table.
    pub(super) fn read(input: impl Read) -> Result<Self, String> {
        let mut bytes = Vec::new();
        let read =
            input.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        if read as u64 > LONGEST {
            return Err("it is longer than a gigabyte: part it".to_owned());
        }
        let mut table = Self { bytes, headers: StringRecord::new() };
        let headers = table.reader().headers().cloned().map_err(|error| error.to_string())?;
        table.headers = headers;
        Ok(table)
    }

    /// Names of the columns.
    pub(super) fn headers(&self) -> &StringRecord {
        &self.headers
    }

    /// The lines below them with their numbers, the unreadable ones with what is wrong.
    pub(super) fn records(
        &self,
    ) -> impl Iterator<Item = (u64, Result<StringRecord, csv::Error>)> + '_ {
        self.reader().into_records().map(|record| {
            let at = match &record {
                Ok(record) => record.position(),
                Err(error) => error.position(),
            };
            (at.map_or(0, |at| self.line(at)), record)
        })
    }

    fn text(&self) -> &[u8] {
        // Spreadsheets write a mark before everything.
        self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.bytes)
    }

    fn reader(&self) -> Reader<&[u8]> {
        let text = self.text();
        let heading = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let delimiter = [b'\t', b';', b','].into_iter().find(|sign| heading.contains(sign));
        ReaderBuilder::new()
            .delimiter(delimiter.unwrap_or(b','))
            .trim(Trim::Headers)
            .flexible(true)
            .from_reader(text)
    }

    /// The line that begins there. Behind a line that ends with CRLF a record is said to begin at the LF.
    fn line(&self, at: &Position) -> u64 {
        let byte = usize::try_from(at.byte()).ok().and_then(|at| self.text().get(at));
        at.line() + u64::from(byte == Some(&b'\n'))
    }
}
