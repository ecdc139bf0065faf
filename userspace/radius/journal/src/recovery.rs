//! Makes sense of what a crash left.
//!
//! Only the newest segment can have lost something: all older ones were durable before the next was begun. It is read from
//! its beginning to its end. What is damaged in it and followed by good records is passed over, for these may have been
//! acknowledged; what follows the last good record was not, and is cut off. Older segments are taken as their headers
//! say, and what is damaged in them is found by those who read them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;

use crc32c::crc32c;

use crate::consumer::{self, Subscription};
use crate::disk::{self, Disk, DiskFile, NEW};
use crate::error::JournalError;
use crate::octets::{numbers, u64_at};
use crate::scan::{Scan, Step};
use crate::segment::{self, Header, Unfit};
use crate::store::{self, Contents, Rules, Segment, Store};

/// The file with the number that all checksums begin with.
const IDENTITY: &str = "identity";

/// Most findings that are told one by one.
const MOST_DAMAGE: usize = 100;

/// What was found when the journal was opened.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Recovered {
    /// Segments that are of use.
    pub segments: usize,
    /// The highest number that was given to a record that may be there. The next one is higher.
    pub last: u64,
    /// Records in the newest segment.
    pub records: u64,
    /// Bytes after the last good record, which belong to none: what was being written when the crash came.
    pub torn: u64,
    /// What is not as it should be, at most 100 findings.
    pub damage: Vec<Damage>,
    /// The consumers that there are, and the numbers that they committed.
    pub consumers: Vec<(String, u64)>,
}

impl Recovered {
    pub(crate) fn note(&mut self, damage: Damage) {
        if self.damage.len() < MOST_DAMAGE {
            self.damage.push(damage);
        }
    }
}

/// Something that a crash alone doesn't explain, or that cost records.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Damage {
    /// A piece of the newest segment holds no records, while there are good ones after it. Either it was acknowledged and
    /// went bad, or it was being written when a crash came, and the rest of that write arrived.
    Records {
        /// The segment's file.
        segment: String,
        /// Where in the file.
        at: u64,
        /// How long it is.
        bytes: u64,
        /// The number before it.
        after: u64,
        /// The number after it.
        before: u64,
    },
    /// A segment's header is damaged. Its records are used if there are any.
    Header {
        /// The segment's file.
        segment: String,
        /// Whether good records were found in it.
        legible: bool,
    },
    /// Segments are missing between these.
    Missing {
        /// The last segment before.
        after: String,
        /// The first segment after.
        before: String,
    },
    /// Segments were deleted or lost before a consumer had read them.
    Passed {
        /// The consumer.
        consumer: String,
        /// The number that it committed.
        position: u64,
        /// The first number that there may be.
        first: u64,
    },
    /// A segment of another journal is in the folder. It is left alone.
    Foreign {
        /// The segment's file.
        segment: String,
    },
    /// A consumer's position can't be read: it begins with the oldest record.
    Position {
        /// The consumer.
        consumer: String,
    },
    /// The file `identity` was missing or damaged, and made anew from a segment's header.
    Identity,
    /// The newest segment can be read, but not made durable.
    NotDurable {
        /// The segment's file.
        segment: String,
        /// What the file system says.
        error: String,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records { segment, at, bytes, after, before } => write!(
                f,
                "{segment} has no records in {bytes} bytes at {at}, between {after} and {before}"
            ),
            Self::Header { segment, legible: true } => {
                write!(f, "{segment} has a damaged header; its records are used")
            }
            Self::Header { segment, legible: false } => {
                write!(f, "{segment} has a damaged header and no records")
            }
            Self::Missing { after, before } => {
                write!(f, "segments are missing between {after} and {before}")
            }
            Self::Passed { consumer, position, first } => write!(
                f,
                "consumer {consumer} has read up to {position}, but the first record is {first}"
            ),
            Self::Foreign { segment } => write!(f, "{segment} is of another journal: move it away"),
            Self::Position { consumer } => write!(
                f,
                "the position of consumer {consumer} is damaged: it begins with the oldest record"
            ),
            Self::Identity => write!(f, "the file identity was lost and made anew"),
            Self::NotDurable { segment, error } => {
                write!(f, "{segment} can't be made durable: {error}")
            }
        }
    }
}

/// A journal that can be read and written to.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) recovered: Recovered,
    /// The number of the next record.
    pub(crate) next: u64,
    /// The ordinal of the next segment.
    pub(crate) ordinal: u64,
}

/// Opens what is in a folder. `drawn` becomes the number of a journal that is new.
pub(crate) fn recover(
    disk: Arc<dyn Disk>,
    rules: Rules,
    drawn: u64,
    lock: Option<File>,
) -> Result<Opened, JournalError> {
    let mut recovered = Recovered::default();
    let names = disk.names().map_err(JournalError::disk("list", "its folder"))?;
    for name in names.iter().filter(|name| name.ends_with(NEW)) {
        if let Err(error) = disk.remove(name) {
            tracing::debug!(name, %error, "an unfinished file stays");
        }
    }
    let mut ordinals: Vec<u64> = names.iter().filter_map(|name| segment::ordinal(name)).collect();
    ordinals.sort_unstable();
    let look = |ordinal: &u64| Found::look(&*disk, *ordinal);
    let found = ordinals.iter().map(look).collect::<Result<Vec<_>, _>>()?;
    let identity = identify(&*disk, &found, drawn, &mut recovered)?;
    let usable = usable(found, identity, &mut recovered)?;
    let (usable, leftovers) = without_outdated(&*disk, usable);
    for (older, newer) in usable.iter().zip(usable.iter().skip(1)) {
        if newer.previous.is_some_and(|previous| previous > older.ordinal) {
            let (after, before) = (segment::name(older.ordinal), segment::name(newer.ordinal));
            recovered.note(Damage::Missing { after, before });
        }
    }

    let mut table = BTreeMap::new();
    for usable in &usable {
        let &Usable { ordinal, first, created, length: end, .. } = usable;
        table.insert(ordinal, Segment { first, end, created });
    }
    if let Some(newest) = usable.last() {
        let end = mend(newest, store::seed(identity), &mut recovered)?;
        if let Some(segment) = table.get_mut(&newest.ordinal) {
            segment.end = end;
        }
    }

    let oldest = usable.first().map(|oldest| oldest.first);
    let mut subscriptions = BTreeMap::new();
    for name in names.iter().filter_map(|name| name.strip_suffix(consumer::EXTENSION)) {
        let begin = oldest.map_or(0, |first| first - 1);
        let subscription =
            Subscription::restore(name, &disk, &rules, identity, begin, &mut recovered)?;
        let position = subscription.position();
        if let Some(first) = oldest.filter(|first| position + 1 < *first) {
            let consumer = name.to_owned();
            recovered.note(Damage::Passed { consumer, position, first });
        }
        // What was read has its number for good, though it may have gone since.
        recovered.last = recovered.last.max(position);
        recovered.consumers.push((name.to_owned(), position));
        subscriptions.insert(name.to_owned(), Arc::new(subscription));
    }
    // What we go by may have names that the life before didn't get to make durable.
    disk.sync().map_err(JournalError::disk("sync", "its folder"))?;
    recovered.segments = table.len();
    let last = recovered.last;
    let found = Contents { table, leftovers, durable: last, subscriptions };
    Ok(Opened {
        store: Store::new(disk, rules, identity, found, lock),
        recovered,
        next: last + 1,
        ordinal: ordinals.last().map_or(1, |last| last + 1),
    })
}

/// A file with the name of a segment.
struct Found {
    ordinal: u64,
    file: Arc<dyn DiskFile>,
    length: u64,
    header: Option<Header>,
}

impl Found {
    fn look(disk: &dyn Disk, ordinal: u64) -> Result<Self, JournalError> {
        let name = segment::name(ordinal);
        let file = disk.open(&name).map_err(JournalError::disk("open", &name))?;
        let length = file.length().map_err(JournalError::disk("look at", &name))?;
        let head = disk::read_head(&*file, segment::HEADER);
        let header = match Header::decode(&head.map_err(JournalError::disk("read", &name))?) {
            // One that was given another's name doesn't say where it belongs.
            Ok(header) => Some(header).filter(|header| header.ordinal == ordinal),
            Err(Unfit::Damaged) => None,
            Err(Unfit::Version(version)) => return Err(JournalError::Version { name, version }),
        };
        Ok(Self { ordinal, file, length, header })
    }
}

/// The number of the journal.
fn identify(
    disk: &dyn Disk,
    found: &[Found],
    drawn: u64,
    recovered: &mut Recovered,
) -> Result<u64, JournalError> {
    let encode = |identity: u64| -> [u8; 16] {
        numbers(&[identity, u64::from(crc32c(&identity.to_be_bytes()))])
    };
    let kept = disk::read_file(disk, IDENTITY, 32).map_err(JournalError::disk("read", IDENTITY))?;
    let sound =
        |bytes: &Vec<u8>| u64_at(bytes, 0).filter(|identity| bytes.as_slice() == encode(*identity));
    if let Some(identity) = kept.as_ref().and_then(sound) {
        return Ok(identity);
    }
    let told = found.iter().rev().find_map(|found| found.header).map(|header| header.identity);
    let identity = match told {
        Some(identity) => {
            recovered.note(Damage::Identity);
            identity
        }
        None if found.is_empty() => drawn,
        None => return Err(JournalError::NoIdentity),
    };
    disk::replace(disk, IDENTITY, &encode(identity))
        .map_err(JournalError::disk("save", IDENTITY))?;
    Ok(identity)
}

/// A segment of this journal.
struct Usable {
    ordinal: u64,
    file: Arc<dyn DiskFile>,
    length: u64,
    first: u64,
    created: u64,
    /// As the header says, if it does.
    previous: Option<u64>,
}

fn usable(
    found: Vec<Found>,
    identity: u64,
    recovered: &mut Recovered,
) -> Result<Vec<Usable>, JournalError> {
    let mut usable = Vec::new();
    for Found { ordinal, file, length, header } in found {
        let segment = segment::name(ordinal);
        match header {
            Some(header) if header.identity == identity => {
                let Header { first, created, previous, .. } = header;
                let first = first.max(1);
                let previous = Some(previous);
                usable.push(Usable { ordinal, file, length, first, created, previous });
            }
            Some(_) => recovered.note(Damage::Foreign { segment }),
            None => {
                let first = first_record(&*file, length, store::seed(identity));
                let first = first.map_err(JournalError::disk("read", &segment))?;
                recovered.note(Damage::Header { segment, legible: first.is_some() });
                if let Some((first, created)) = first {
                    let previous = None;
                    usable.push(Usable { ordinal, file, length, first, created, previous });
                }
            }
        }
    }
    Ok(usable)
}

/// Number and time of the first record.
fn first_record(file: &dyn DiskFile, length: u64, seed: u32) -> io::Result<Option<(u64, u64)>> {
    let mut scan = Scan::new(seed, segment::HEADER as u64);
    loop {
        match scan.next(file, length)? {
            Step::Record(record) => return Ok(Some((record.sequence, record.time))),
            Step::Damage { .. } => {}
            Step::End => return Ok(None),
        }
    }
}

/// Leaves out segments whose numbers all are in later ones: nothing in them was acknowledged. Gives those as well that
/// couldn't be deleted.
fn without_outdated(disk: &dyn Disk, usable: Vec<Usable>) -> (Vec<Usable>, Vec<u64>) {
    let (mut kept, mut leftovers) = (Vec::new(), Vec::new());
    let mut bound = u64::MAX;
    for usable in usable.into_iter().rev() {
        let sound = usable.previous.is_some();
        if usable.first < bound {
            // Only a sound header has the word on others.
            bound = if sound { usable.first } else { bound };
            kept.push(usable);
        } else if sound {
            let name = segment::name(usable.ordinal);
            if let Err(error) = disk.remove(&name) {
                tracing::debug!(name, %error, "an outdated segment stays");
                leftovers.push(usable.ordinal);
            }
        }
    }
    kept.reverse();
    // What has no sound header must fit in where it is.
    let mut before = 0;
    kept.retain(|usable| {
        let fits = usable.first > before;
        before = before.max(usable.first);
        fits
    });
    (kept, leftovers)
}

/// Reads the newest segment, and makes durable what is good in it. Gives its end.
fn mend(newest: &Usable, seed: u32, recovered: &mut Recovered) -> Result<u64, JournalError> {
    let segment = segment::name(newest.ordinal);
    let mut scan = Scan::new(seed, segment::HEADER as u64);
    let mut end = segment::HEADER as u64;
    let mut last = newest.first - 1;
    let mut passed: Option<(u64, u64)> = None;
    loop {
        let step = scan.next(&*newest.file, newest.length);
        match step.map_err(JournalError::disk("read", &segment))? {
            // One that is not newer is no record of this place.
            Step::Record(record) if record.sequence <= last => {}
            Step::Record(record) => {
                if let Some((at, bytes)) = passed.take() {
                    let (after, before) = (last, record.sequence);
                    let segment = segment.clone();
                    recovered.note(Damage::Records { segment, at, bytes, after, before });
                }
                (last, end) = (record.sequence, record.end());
                recovered.records += 1;
            }
            Step::Damage { at, bytes } => passed = Some((at, bytes)),
            Step::End => break,
        }
    }
    recovered.last = last;
    recovered.torn = passed.map_or(0, |(_, bytes)| bytes);
    let settle = || {
        if newest.length > end {
            newest.file.set_len(end)?;
        }
        // Who is killed leaves records that are in memory alone, and they are about to be read.
        newest.file.sync()
    };
    if let Err(error) = settle() {
        recovered.note(Damage::NotDurable { segment, error: error.to_string() });
    }
    Ok(end)
}
