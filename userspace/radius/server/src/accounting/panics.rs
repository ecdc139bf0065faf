//! What becomes of a panic in a thread of the accounting.
//!
//! **At a record.** It may leave the table half changed, so nothing goes on from there: both threads end, the role's canary fails,
//! and whoever watches over the process starts it anew (systemd by its watchdog). Records are acknowledged meanwhile, and stay in
//! the journal. The record that was at work is noted in a file beside the snapshot, before anything else: one at which that
//! happened twice would do it for ever, and becomes a dead letter. If it was a batch on its way into the database, the next
//! process takes its records one by one, and so finds the one. What is noted is forgotten once the records are behind.
//!
//! **In a duty.** What the threads do besides, such as to look for sessions that nothing is heard of, must not keep the records
//! from anybody: a panic there is [contained](duties), and the duty is done again after a pause.

pub(super) mod duties;

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use tracing::{error, warn};

use self::duties::Duties;
use super::keeper::replace;

/// Panics at one record after which it is put aside.
const MOST: u32 = 2;

/// Stands for the number of a record where none was at work.
const NO_ONE: u64 = 0;

/// Why it is.
pub(super) const CAUSE: &str = "the accounting panicked at it twice; please report it";

/// One of the two threads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part {
    Sessions,
    Database,
}

/// Panics, those of earlier processes included.
pub(super) struct Panics {
    file: PathBuf,
    /// How many there were at each record before this process, by its number in the journal.
    known: BTreeMap<u64, u32>,
    /// The same with those of this process; under 0 those at no one record.
    noted: Mutex<BTreeMap<u64, u32>>,
    /// Whether anything is noted.
    any: AtomicBool,
    is_wary: bool,
    /// The record at work in each part; 0 is none.
    at: [AtomicU64; 2],
    /// The record up to which each part has none before it any more, whatever happens.
    behind: [AtomicU64; 2],
    failure: Mutex<Option<String>>,
    /// Panics that took nothing with them.
    pub(super) duties: Duties,
}

impl Panics {
    /// Those that were noted beside a snapshot, at records that are read again.
    pub(super) fn load(snapshot: &Path, read_again: RangeInclusive<u64>) -> Self {
        let mut file = snapshot.as_os_str().to_owned();
        file.push(".panics");
        let file = PathBuf::from(file);
        let text = fs::read_to_string(&file).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                warn!(file = %file.display(), %error, "it can't be read which records caused panics");
            }
            String::new()
        });
        let told: BTreeMap<u64, u32> = text.lines().filter_map(parse).collect();
        let mut known = told.clone();
        known.retain(|sequence, _| *sequence == NO_ONE || read_again.contains(sequence));
        let noted = known.clone();
        let is_wary = known.remove(&NO_ONE).is_some();
        let panics = Self {
            file,
            known,
            any: AtomicBool::new(!noted.is_empty()),
            noted: Mutex::default(),
            is_wary,
            at: Default::default(),
            behind: Default::default(),
            failure: Mutex::default(),
            duties: Duties::default(),
        };
        if noted != told {
            // Another journal may have records of these numbers some day.
            panics.write(&noted);
        }
        *panics.noted.lock() = noted;
        panics
    }

    /// Whether there was one at no one record, so that it must be found out which was the cause.
    pub(super) fn is_wary(&self) -> bool {
        self.is_wary
    }

    /// Whether a record has caused as many as it may.
    pub(super) fn is_cause(&self, sequence: u64) -> bool {
        self.known.get(&sequence).is_some_and(|count| *count >= MOST)
    }

    /// All records among which the cause of a panic was looked for are written: there was none among them, or it is known.
    pub(super) fn searched(&self) {
        self.forget(|sequence, _| sequence == NO_ONE);
    }

    /// A part has the records up to here behind it for good. A panic at one that both have behind them, which did not happen
    /// again, tells nothing any more. One that is put aside is known for as long as the journal may be read again.
    pub(super) fn passed(&self, part: Part, sequence: u64) {
        let [sessions, database] = &self.behind;
        let of = match part {
            Part::Sessions => sessions,
            Part::Database => database,
        };
        of.fetch_max(sequence, Relaxed);
        let behind = sessions.load(Relaxed).min(database.load(Relaxed));
        self.forget(|sequence, count| sequence != NO_ONE && sequence <= behind && count < MOST);
    }

    fn forget(&self, forgets: impl Fn(u64, u32) -> bool) {
        if !self.any.load(Relaxed) {
            return;
        }
        let mut noted = self.noted.lock();
        let before = noted.len();
        noted.retain(|sequence, count| !forgets(*sequence, *count));
        if noted.len() != before {
            self.write(&noted);
        }
        self.any.store(!noted.is_empty(), Relaxed);
    }

    /// Writes down what is noted; no file if that is nothing.
    fn write(&self, noted: &BTreeMap<u64, u32>) {
        let written = if noted.is_empty() {
            match fs::remove_file(&self.file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            }
        } else {
            replace(&self.file, |writer| {
                noted
                    .iter()
                    .try_for_each(|(sequence, count)| writeln!(writer, "{sequence} {count}"))
            })
        };
        if let Err(error) = written {
            error!(file = %self.file.display(), %error, "it can't be noted which records caused panics");
        }
    }

    /// Says which record is at work in a part, until the guard goes without a panic.
    pub(super) fn at(&self, part: Part, sequence: u64) -> At<'_> {
        let at = self.of(part);
        at.store(sequence, Relaxed);
        At(at)
    }

    /// Notes a panic in a part, and the record that was at work.
    pub(super) fn note(&self, part: Part, cause: &(dyn Any + Send)) {
        let words = words_of(cause);
        let sequence = self.of(part).load(Relaxed);
        let at = if sequence != NO_ONE { format!(" at record {sequence}") } else { String::new() };
        error!(
            "the accounting panicked{at}, and stands still until the process is started anew; please report it: {words}"
        );
        let mut noted = self.noted.lock();
        let count = noted.entry(sequence).or_default();
        *count = count.saturating_add(1);
        self.write(&noted);
        self.any.store(true, Relaxed);
        drop(noted);
        *self.failure.lock() = Some(format!("it panicked{at}: {words}"));
    }

    /// Why nothing goes on.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }

    fn of(&self, part: Part) -> &AtomicU64 {
        let [sessions, database] = &self.at;
        match part {
            Part::Sessions => sessions,
            Part::Database => database,
        }
    }
}

/// While it lives, a record is at work.
pub(super) struct At<'a>(&'a AtomicU64);

impl Drop for At<'_> {
    fn drop(&mut self) {
        // Who notes the panic asks for it afterwards.
        if !std::thread::panicking() {
            self.0.store(NO_ONE, Relaxed);
        }
    }
}

/// What a panic said.
fn words_of(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| cause.downcast_ref::<String>().cloned()).unwrap_or_default()
}

fn parse(line: &str) -> Option<(u64, u32)> {
    let (sequence, count) = line.split_once(' ')?;
    Some((sequence.parse().ok()?, count.parse().ok()?))
}

#[cfg(test)]
pub(super) mod tests;
