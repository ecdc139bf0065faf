//! Keeps what a consumer can't take.
//!
//! The file `NAME.dead` is made as a segment is, with ordinal 0. A record of it has the number and time of the entry, and
//! before the entry's payload the length of the reason in two bytes, and the reason.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::appender::{Appender, Ticket};
use crate::disk::{self, Disk, DiskFile};
use crate::error::JournalError;
use crate::reader::Entry;
use crate::record::{self, Head, MOST_PREFACE};
use crate::scan::{Scan, Step};
use crate::segment::{self, Header};
use crate::store::{self, Rules};

/// What the names of dead letter files end with.
pub(crate) const EXTENSION: &str = ".dead";

/// Longest reason, in bytes. Longer ones are cut off.
const MOST_REASON: usize = MOST_PREFACE - 2;

/// How long a replay waits for the records of one step to become durable.
const PATIENCE: Duration = Duration::from_secs(10);

/// Dead letters that are appended before their becoming durable is waited for.
const STEP: usize = 256;

/// An entry that was put aside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeadLetter {
    /// The entry's number.
    pub sequence: u64,
    /// When the entry was appended.
    pub time: SystemTime,
    /// Why it was put aside.
    pub reason: String,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// The entries that a consumer put aside, on the disk.
pub struct DeadLetters {
    disk: Arc<dyn Disk>,
    name: String,
    consumer: String,
    limit: u64,
    identity: u64,
    state: Mutex<State>,
}

struct State {
    file: Option<Arc<dyn DiskFile>>,
    /// Where what is durable ends.
    end: u64,
    numbers: BTreeSet<u64>,
    /// What is after the end is in doubt: nothing more is written to this file, but all of it to another.
    doubtful: bool,
}

impl DeadLetters {
    /// Those of a consumer.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        rules: &Rules,
        identity: u64,
        consumer: &str,
    ) -> Result<Self, JournalError> {
        let name = format!("{consumer}{EXTENSION}");
        let mut state = State { file: None, end: 0, numbers: BTreeSet::new(), doubtful: true };
        if disk.names().map_err(JournalError::disk("list", "its folder"))?.contains(&name) {
            let file = disk.open(&name).map_err(JournalError::disk("open", &name))?;
            let end = file.length().map_err(JournalError::disk("look at", &name))?;
            state.end = end;
            state.file = Some(file);
        }
        let this = Self {
            disk: Arc::clone(disk),
            name,
            consumer: consumer.to_owned(),
            limit: rules.dead_letters,
            identity,
            state: Mutex::new(state),
        };
        let mut numbers = BTreeSet::new();
        this.visit(&this.state.lock(), |letter| {
            numbers.insert(letter.sequence);
        })?;
        this.state.lock().numbers = numbers;
        Ok(this)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.state.lock().numbers.len()
    }

    /// All of them, in the order in which they were put aside.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn list(&self) -> Result<Vec<DeadLetter>, JournalError> {
        let mut letters = Vec::new();
        self.visit(&self.state.lock(), |letter| letters.push(letter))?;
        Ok(letters)
    }

    /// Removes the chosen ones for good, durably. Gives how many were.
    ///
    /// # Errors
    /// When the file can't be read or replaced. Then all are there still, though after a crash they may not be.
    pub fn remove(&self, chosen: impl Fn(&DeadLetter) -> bool) -> Result<usize, JournalError> {
        let mut state = self.state.lock();
        let before = state.numbers.len();
        self.rewrite(&mut state, |letter| !chosen(letter), None)?;
        Ok(before - state.numbers.len())
    }

    /// Appends the chosen ones to the journal again, as new records with their old times, and removes them once they are
    /// durable there. Gives how many were. It waits for the disk.
    ///
    /// # Errors
    /// When not all could be appended or removed. Those that were not removed are there still, though some may have been
    /// appended: replayed records come at least once, as all do.
    pub fn replay(
        &self,
        appender: &Appender,
        chosen: impl Fn(&DeadLetter) -> bool,
    ) -> Result<usize, JournalError> {
        let mut letters = self.list()?;
        letters.retain(|letter| chosen(letter));
        let mut count = 0;
        for step in letters.chunks(STEP) {
            let mut last = Ticket(0);
            for letter in step {
                last = appender.append_at(&[&letter.payload], letter.time)?;
            }
            let until = Instant::now() + PATIENCE;
            while !appender.is_durable(last) {
                if Instant::now() > until {
                    return Err(JournalError::NotDurable { records: step.len() as u64 });
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            let replayed: BTreeSet<u64> = step.iter().map(|letter| letter.sequence).collect();
            count += self.remove(|letter| replayed.contains(&letter.sequence))?;
        }
        Ok(count)
    }

    /// Puts an entry aside.
    pub(crate) fn add(&self, entry: &Entry, reason: &str) -> Result<(), JournalError> {
        let mut state = self.state.lock();
        if state.numbers.contains(&entry.sequence) {
            // What an earlier life left may have been read from the cache alone.
            return match state.doubtful {
                true => self.rewrite(&mut state, |_| true, None),
                false => Ok(()),
            };
        }
        let letter = DeadLetter {
            sequence: entry.sequence,
            time: entry.time,
            reason: shortened(reason).to_owned(),
            payload: entry.payload.clone(),
        };
        let mut bytes = Vec::new();
        self.push(&mut bytes, &letter);
        if state.end + bytes.len() as u64 > self.limit {
            let (consumer, limit) = (self.consumer.clone(), self.limit);
            return Err(JournalError::DeadLettersFull { consumer, limit });
        }
        match &state.file {
            Some(file) if !state.doubtful => {
                let written = file.write_at(&bytes, state.end).and_then(|()| file.sync());
                if let Err(error) = written {
                    state.doubtful = true;
                    return Err(JournalError::disk("write", &self.name)(error));
                }
                state.end += bytes.len() as u64;
                state.numbers.insert(letter.sequence);
                Ok(())
            }
            _ => self.rewrite(&mut state, |_| true, Some(letter)),
        }
    }

    /// Puts in place of the file one with those letters that are to be kept, and one more.
    fn rewrite(
        &self,
        state: &mut State,
        keep: impl Fn(&DeadLetter) -> bool,
        more: Option<DeadLetter>,
    ) -> Result<(), JournalError> {
        let header =
            Header { identity: self.identity, ordinal: 0, previous: 0, first: 0, created: 0 };
        let mut bytes = header.encode().to_vec();
        let mut numbers = BTreeSet::new();
        let mut take = |letter: &DeadLetter| {
            numbers.insert(letter.sequence);
            self.push(&mut bytes, letter);
        };
        self.visit(state, |letter| {
            if keep(&letter) {
                take(&letter);
            }
        })?;
        if let Some(letter) = &more {
            take(letter);
        }
        // Should it fail, the new file may have the name already: what was added to the old one would be lost.
        state.doubtful = true;
        let file = disk::replace(&*self.disk, &self.name, &bytes)
            .map_err(JournalError::disk("save", &self.name))?;
        *state = State { file: Some(file), end: bytes.len() as u64, numbers, doubtful: false };
        Ok(())
    }

    fn push(&self, bytes: &mut Vec<u8>, letter: &DeadLetter) {
        let length = u16::try_from(letter.reason.len()).unwrap_or(u16::MAX).to_be_bytes();
        let parts: [&[u8]; 3] = [&length, letter.reason.as_bytes(), &letter.payload];
        let head = Head {
            sequence: letter.sequence,
            time: record::nanoseconds(letter.time),
            length: parts.iter().map(|part| part.len()).sum(),
        };
        let checksum = record::checksum(store::seed(self.identity), &parts);
        record::push(bytes, &head, &parts, checksum);
    }

    /// Shows all letters that are durable. Damaged ones are logged.
    fn visit(&self, state: &State, mut show: impl FnMut(DeadLetter)) -> Result<(), JournalError> {
        let Some(file) = &state.file else { return Ok(()) };
        let mut scan = Scan::new(store::seed(self.identity), segment::HEADER as u64);
        loop {
            let step = scan.next(&**file, state.end);
            match step.map_err(JournalError::disk("read", &self.name))? {
                Step::End => return Ok(()),
                Step::Damage { at, bytes } => {
                    tracing::warn!(file = self.name, at, bytes, "dead letters are damaged here");
                }
                Step::Record(record) => {
                    let split = record.payload.split_first_chunk().and_then(|(length, rest)| {
                        rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
                    });
                    let (reason, payload) = split.unwrap_or((&[], record.payload));
                    show(DeadLetter {
                        sequence: record.sequence,
                        time: record::moment(record.time),
                        reason: String::from_utf8_lossy(reason).into_owned(),
                        payload: payload.to_vec(),
                    });
                }
            }
        }
    }
}

/// As much of a reason as is kept.
fn shortened(reason: &str) -> &str {
    let end = (0..=MOST_REASON.min(reason.len())).rev().find(|end| reason.is_char_boundary(*end));
    end.and_then(|end| reason.get(..end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_cut_between_characters() {
        assert_eq!(shortened("too long a name"), "too long a name");
        assert_eq!(shortened(""), "");
        let long = "ö".repeat(MOST_REASON);
        assert_eq!(shortened(&long).len(), MOST_REASON);
        assert_eq!(shortened(&format!("x{long}")).len(), MOST_REASON - 1);
    }
}
