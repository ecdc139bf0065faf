//! The table across a restart.
//!
//! A snapshot is a file of frames with checksums. What is damaged is left out and counted; what was
//! cut short says so; a later version's is read as far as it allows that. Moments on the steady
//! clock are stored as ages, for that clock begins anew with the machine.
//!
//! It tells the journal's position too. Whoever restores it applies the records behind that
//! position again: those that were in it already change nothing.

pub(crate) mod frames;

use std::io::{self, Read, Write};
use std::net::IpAddr;

use crate::doubts::Doubts;
use crate::fields::{self, Fields};
use crate::id::SessionId;
use crate::record::is_nas_name;
use crate::session::{CLAIM, NONE, PORT, Session, short};
use crate::table::Moment;
use crate::table::places::{Name, Place};
use crate::text::Text;
use crate::trail::{Point, Scale, Trail};
use crate::view::State;

/// Why a snapshot is of no use as a whole.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It could not be read.
    #[error("can't read the snapshot: {0}")]
    Io(#[from] io::Error),
    /// It is no snapshot, or one of something else.
    #[error("no snapshot of this kind: apply the whole journal instead")]
    Format,
    /// It is of a version that this one can't read.
    #[error(
        "written by version {wrote}, for version {needs} or later: upgrade, or apply the whole \
         journal instead"
    )]
    Version {
        /// Who wrote it.
        wrote: u8,
        /// Who can read it.
        needs: u8,
    },
    /// It lacks what all the rest depends on.
    #[error("damaged where it matters most: apply the whole journal instead")]
    Damaged,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Saved {
    /// Sessions, the remembered ones included.
    pub sessions: u64,
    /// Boxes that were said to begin or end.
    pub boxes: u64,
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Restored {
    /// The journal's sequence up to which records are in it.
    pub position: u64,
    /// When it was taken, in seconds since 1970.
    pub taken: u64,
    /// Sessions that were taken in.
    pub sessions: u64,
    /// Undamaged items that can't be, are there twice, or for which there was no room.
    pub refused: u64,
    /// Frames that were damaged: each holds about a hundred sessions.
    pub damaged: u64,
    /// Whether everything that was written was read. If not, apply the whole journal: sessions that
    /// are missing come back with their records.
    pub complete: bool,
}

/// Writes a snapshot.
pub(crate) struct Writer<W> {
    frames: frames::Writer<W>,
    item: Vec<u8>,
    steady: i64,
    saved: Saved,
}

/// Something in a snapshot.
pub(crate) enum Item<'a> {
    Place {
        name: Name<'a>,
        down: i64,
        stamp: u32,
    },
    /// Its place and tag are for the table to find.
    Session {
        name: Name<'a>,
        session: Box<Session>,
    },
}

// Kinds of items.
const HEAD: u8 = b'H';
const PLACE: u8 = b'P';
const SESSION: u8 = b'S';

// Fields of the head.
const POSITION: u8 = 1;
const WALL: u8 = 2;
const BOOT: u8 = 3;
const STEADY: u8 = 4;

// Fields of places and sessions. A number is never given a new meaning.
const NAS: u8 = 1;
const IDENTIFIER: u8 = 2;
const NAS_ADDRESS: u8 = 3;
const DOWN: u8 = 4;
const STAMP: u8 = 5;
const ID: u8 = 6;
const TEXT: u8 = 7;
const OCTETS_IN: u8 = 8;
const OCTETS_OUT: u8 = 9;
const PACKETS_IN: u8 = 10;
const PACKETS_OUT: u8 = 11;
const NAS_PORT: u8 = 12;
const ADDRESS: u8 = 13;
const STARTED: u8 = 14;
const UPDATED: u8 = 15;
const ENDED: u8 = 16;
const START: u8 = 17;
const LAST: u8 = 18;
const SINCE: u8 = 19;
const SECONDS: u8 = 20;
const STOP_SECONDS: u8 = 21;
const INTERVAL: u8 = 22;
const CAUSE: u8 = 23;
const STATE: u8 = 24;
const MARKS: u8 = 25;
const DOUBTS: u8 = 26;
const PASSED_IN: u8 = 27;
const PASSED_OUT: u8 = 28;
// 29 and 30 were a trail whose points came from two scales: it is left out.
const FLOOR: u8 = 31;
const POINTS: u8 = 32;
const ZERO: u8 = 33;
const BEGIN: u8 = 34;

impl<W: Write> Writer<W> {
    pub(crate) fn new(writer: W, position: u64, now: Moment) -> io::Result<Self> {
        let mut frames = frames::Writer::new(writer, frames::SESSIONS)?;
        let item = head(position, now);
        frames.push(&item)?;
        Ok(Self { frames, item, steady: now.steady_seconds(), saved: Saved::default() })
    }

    pub(crate) fn place(&mut self, place: &Place, down: i64) -> io::Result<()> {
        self.begin(PLACE, place);
        fields::push_signed(&mut self.item, DOWN, self.steady.saturating_sub(down));
        fields::push_number(&mut self.item, STAMP, place.stamp().into());
        self.saved.boxes += 1;
        self.frames.push(&self.item)
    }

    pub(crate) fn session(&mut self, session: &Session, place: &Place) -> io::Result<()> {
        self.begin(SESSION, place);
        let item = &mut self.item;
        fields::push(item, ID, session.id.as_bytes());
        fields::push(item, TEXT, session.text.bytes());
        for (tag, number) in [
            (OCTETS_IN, session.octets_in),
            (OCTETS_OUT, session.octets_out),
            (PACKETS_IN, session.packets_in.into()),
            (PACKETS_OUT, session.packets_out.into()),
            (NAS_PORT, session.port.into()),
            (ADDRESS, session.address.into()),
            (STARTED, session.started.into()),
            (UPDATED, session.updated.into()),
            (ENDED, session.ended.into()),
            (SECONDS, session.seconds.into()),
            (STOP_SECONDS, session.stop_seconds.into()),
            (STAMP, session.stamp.into()),
            (INTERVAL, session.interval.into()),
            (CAUSE, session.cause.into()),
            (STATE, session.state.number()),
            (MARKS, session.marks.into()),
            (DOUBTS, session.doubts.bits().into()),
        ] {
            // What is missing is 0.
            if number != 0 {
                fields::push_number(item, tag, number);
            }
        }
        for (tag, moment) in [(START, session.start), (LAST, session.last), (SINCE, session.since)]
        {
            fields::push_signed(item, tag, self.steady.saturating_sub(moment.into()));
        }
        if let Some(trail) = &session.trail {
            let Scale { zero, begin, passed, floor } = trail.scale();
            fields::push_signed(item, ZERO, self.steady.saturating_sub(zero.into()));
            if let Some(begin) = begin {
                fields::push_signed(item, BEGIN, begin.into());
            }
            fields::push_number(item, PASSED_IN, passed.0.into());
            fields::push_number(item, PASSED_OUT, passed.1.into());
            fields::push_signed(item, FLOOR, floor.into());
            let mut points = Vec::with_capacity(12 * trail.points().len());
            for point in trail.points() {
                points.extend(point.at.to_be_bytes());
                points.extend(point.octets_in.to_be_bytes());
                points.extend(point.octets_out.to_be_bytes());
            }
            fields::push(item, POINTS, &points);
        }
        self.saved.sessions += 1;
        self.frames.push(&self.item)
    }

    pub(crate) fn finish(self) -> io::Result<Saved> {
        self.frames.finish()?;
        Ok(self.saved)
    }

    fn begin(&mut self, kind: u8, place: &Place) {
        self.item.clear();
        self.item.push(kind);
        fields::push(&mut self.item, NAS, place.nas.as_bytes());
        if let Some(identifier) = &place.identifier {
            fields::push(&mut self.item, IDENTIFIER, identifier);
        }
        match place.address {
            Some(IpAddr::V4(address)) => {
                fields::push(&mut self.item, NAS_ADDRESS, &address.octets());
            }
            Some(IpAddr::V6(address)) => {
                fields::push(&mut self.item, NAS_ADDRESS, &address.octets());
            }
            None => {}
        }
    }
}

/// Reads a snapshot. `take` says whether it took an item.
pub(crate) fn read(
    reader: impl Read,
    now: Moment,
    mut take: impl FnMut(Item<'_>) -> bool,
) -> Result<Restored, SnapshotError> {
    let mut frames = frames::Reader::new(reader, frames::SESSIONS)?;
    let mut restored = Restored::default();
    let mut clock = None;
    while let Some(frame) = frames.next()? {
        let frames::Frame::Whole(frame) = frame else {
            restored.damaged += 1;
            continue;
        };
        for item in frames::items(&frame) {
            let Ok(item) = item else {
                restored.refused += 1;
                break;
            };
            let Some((&kind, rest)) = item.split_first() else { continue };
            if kind == HEAD {
                let head = Head::read(rest).ok_or(SnapshotError::Damaged)?;
                (restored.position, restored.taken) = (head.position, head.wall);
                clock = Some(Clock::new(&head, now));
                continue;
            }
            // Ages mean nothing without the head, which comes first.
            let clock = clock.ok_or(SnapshotError::Damaged)?;
            let found = match kind {
                PLACE | SESSION => read_item(kind, rest, clock),
                // Of a later version.
                _ => continue,
            };
            let is_session = kind == SESSION;
            match found.map(&mut take) {
                Some(true) => restored.sessions += u64::from(is_session),
                Some(false) | None => restored.refused += 1,
            }
        }
    }
    if clock.is_none() {
        return Err(SnapshotError::Damaged);
    }
    restored.complete = frames.is_complete() && restored.damaged == 0;
    Ok(restored)
}

/// What comes first.
pub(crate) fn head(position: u64, now: Moment) -> Vec<u8> {
    let mut item = vec![HEAD];
    fields::push_number(&mut item, POSITION, position);
    fields::push_number(&mut item, WALL, now.wall_seconds() as u64);
    fields::push_number(&mut item, BOOT, now.uptime.boot.into());
    fields::push_number(&mut item, STEADY, now.steady_seconds() as u64);
    item
}

struct Head {
    position: u64,
    wall: u64,
    boot: Option<u64>,
    steady: Option<u64>,
}

impl Head {
    fn read(item: &[u8]) -> Option<Self> {
        let (mut position, mut wall, mut boot, mut steady) = (None, None, None, None);
        for field in Fields(item) {
            match field.ok()? {
                (POSITION, value) => position = fields::number(value),
                (WALL, value) => wall = fields::number(value),
                (BOOT, value) => boot = fields::number(value),
                (STEADY, value) => steady = fields::number(value),
                _ => {}
            }
        }
        Some(Self { position: position?, wall: wall?, boot, steady })
    }
}

/// From ages to moments.
#[derive(Clone, Copy)]
struct Clock {
    now: i64,
    away: i64,
}

impl Clock {
    fn new(head: &Head, now: Moment) -> Self {
        let steady = now.steady_seconds();
        let away = match head.steady {
            Some(then) if head.boot == Some(now.uptime.boot.into()) => {
                u64::try_from(steady).unwrap_or(0).saturating_sub(then)
            }
            _ => u64::try_from(now.wall_seconds()).unwrap_or(0).saturating_sub(head.wall),
        };
        // 30 years: more than a moment can tell.
        Self { now: steady, away: away.min(1 << 30) as i64 }
    }

    /// When something happened; the time that we were away passed as well.
    fn moment(self, age: i64) -> i64 {
        self.now.saturating_sub(self.away).saturating_sub(age)
    }

    /// Since when something waits for us; we were away, that is not held against it.
    fn waiting(self, age: i64) -> i64 {
        self.now.saturating_sub(age)
    }
}

fn read_item(kind: u8, item: &[u8], clock: Clock) -> Option<Item<'_>> {
    let mut name = Name { nas: "", identifier: None, address: None };
    let mut session = Session::empty();
    let (mut id, mut text, mut down, mut points) = (None, None, None, None);
    let mut scale = Trail::new(0).scale();
    for field in Fields(item) {
        let (tag, value) = field.ok()?;
        let number = || u32::try_from(fields::number(value)?).ok();
        let byte = || u8::try_from(fields::number(value)?).ok();
        let age = || fields::signed(value);
        match tag {
            NAS => name.nas = std::str::from_utf8(value).ok()?,
            IDENTIFIER => name.identifier = Some(value).filter(|value| value.len() <= 253),
            NAS_ADDRESS => {
                name.address = Some(match <[u8; 4]>::try_from(value) {
                    Ok(address) => address.into(),
                    Err(_) => <[u8; 16]>::try_from(value).ok()?.into(),
                });
            }
            DOWN => down = Some(clock.moment(age()?)),
            STAMP => session.stamp = number()?,
            ID => id = Some(SessionId::from_bytes(value.try_into().ok()?)),
            TEXT => text = Some(Text::restore(value)?),
            OCTETS_IN => session.octets_in = fields::number(value)?,
            OCTETS_OUT => session.octets_out = fields::number(value)?,
            PACKETS_IN => session.packets_in = number()?,
            PACKETS_OUT => session.packets_out = number()?,
            NAS_PORT => session.port = number()?,
            ADDRESS => session.address = number()?,
            STARTED => session.started = number()?,
            UPDATED => session.updated = number()?,
            ENDED => session.ended = number()?,
            START => session.start = short(clock.moment(age()?)),
            LAST => session.last = short(clock.moment(age()?)),
            SINCE => session.since = short(clock.waiting(age()?)),
            SECONDS => session.seconds = number()?,
            STOP_SECONDS => session.stop_seconds = number()?,
            INTERVAL => session.interval = number()?,
            CAUSE => session.cause = byte()?,
            STATE => session.state = State::from_number(fields::number(value)?)?,
            MARKS => session.marks = byte()?,
            DOUBTS => session.doubts = Doubts::from_bits(byte()?),
            PASSED_IN => scale.passed.0 = number()?,
            PASSED_OUT => scale.passed.1 = number()?,
            FLOOR => scale.floor = i32::try_from(age()?).ok()?,
            ZERO => scale.zero = short(clock.moment(age()?)),
            BEGIN => scale.begin = Some(i32::try_from(age()?).ok()?),
            POINTS => points = Some(read_points(value)?),
            _ => {}
        }
    }
    is_nas_name(name.nas).then_some(())?;
    if kind == PLACE {
        return Some(Item::Place { name, down: down?, stamp: session.stamp });
    }
    session.id = id?;
    session.text = text?;
    // Nothing identifies it: no record can be of it.
    (session.line() != Some((None, None, None))).then_some(())?;
    if !session.has(PORT) {
        session.port = 0;
    }
    if session.is_open() {
        session.since = short(clock.now);
    }
    session.trail = match points {
        Some(points) => Some(Box::new(Trail::restore(points, scale)?)),
        None => None,
    };
    if !session.can_be_claim() {
        session.marks &= !CLAIM;
    }
    session.older = NONE;
    Some(Item::Session { name, session: Box::new(session) })
}

fn read_points(value: &[u8]) -> Option<Vec<Point>> {
    let (points, rest) = value.as_chunks::<12>();
    rest.is_empty().then_some(())?;
    let points = points.iter().map(|&[a, b, c, d, e, f, g, h, i, j, k, l]| Point {
        at: i32::from_be_bytes([a, b, c, d]),
        octets_in: u32::from_be_bytes([e, f, g, h]),
        octets_out: u32::from_be_bytes([i, j, k, l]),
    });
    Some(points.collect())
}

#[cfg(test)]
mod tests;
