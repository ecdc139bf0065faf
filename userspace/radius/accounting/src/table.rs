//! The sessions that are open, and those that ended a while ago.
//!
//! Sessions are spread over shards by a keyed hash of their identity, each shard behind a lock of
//! its own that is held for one record. Users, addresses and boxes have indices beside them, so
//! that a look-up for authentication takes one short lock and waits for no walk.
//!
//! Two clocks are arguments ([`Moment`]). The steady one decides: what comes before what, what is
//! too old, what is silent. The wall clock dates what people read. So a step of ours closes nothing
//! and doubles nothing.
//!
//! Closed sessions are remembered for some hours: a stop that is sent again, an update that comes
//! late, a start that comes after its stop all find what they belong to. Their names are known for
//! longer than a day, so that no other session gets one of them. And while records wait for the
//! database, what they are of stays ([`Table::unwritten`]): the table alone knows what counters that
//! went round come to, and which of two sessions with one id a record is of.

mod forgotten;
mod index;
mod locked;
pub(crate) mod places;
mod shard;

use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

use parking_lot::RwLock;
use siphasher::sip::SipHasher13;

use self::index::{Handle, Index};
use self::locked::{Identity, Locked};
use self::places::{Name, Place, Places};
use self::shard::Shard;
use crate::choice::{Choice, choose};
use crate::doubts::Doubts;
use crate::id::SessionId;
use crate::record::{NANOS, Prefix6, Record, Status, Uptime};
use crate::session::{Line, Report, SLACK, Session, line_of};
use crate::snapshot::{self, Restored, Saved, SnapshotError};
use crate::text;
use crate::usage::Gain;
use crate::view::{SessionView, State};

/// Parts that the sessions are spread over.
const SHARDS: usize = 32;

/// Sessions that a shard can hold, whatever the settings say.
const MOST_IN_SHARD: usize = 1 << index::SLOT_BITS;

/// Sessions of one identity that are remembered at most; and as long as the oldest of them has records that are not written.
const MOST_ALIKE: usize = 16;
const MOST_ALIKE_UNWRITTEN: usize = 256;

/// Seconds within which a second Accounting-On or -Off is the first one sent again. A box that
/// boots does not do so twice in a minute; and sessions that began in between must stay.
const DOWN_REPEATS: i64 = 60;

/// Seconds without a call of [`Table::expire`] after which nobody listened, rather than nobody
/// spoke: a process that stood still closes no session for that.
const ABSENCE: i64 = 300;

/// What the table goes by. All times are seconds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// How far Event-Timestamp may be from a record's arrival less its delay, to be believed. More
    /// than networks and queues take, less than what matters to a bill.
    pub event_tolerance: u32,
    /// How far the beginnings that two records tell of may lie apart, to be of one session. More
    /// than `event_tolerance`, less than it takes a box to boot and give an id again.
    pub reuse_after: u32,
    /// Seconds between interim updates that NASes were told (Acct-Interim-Interval), if all were.
    /// If not, it is learnt from each session's updates.
    pub interim: Option<u32>,
    /// Intervals without an update after which a session is lost.
    pub missed_interims: u32,
    /// Silence after which a session is lost that never had an update.
    pub quiet: u32,
    /// How long closed sessions are remembered. Records of older ones are told to be
    /// [`Outcome::Ancient`] and not counted: the database knows whether they were.
    pub remember: u32,
    /// How long lost sessions are remembered: their NAS may come back, and tell of all that it
    /// told before and more.
    pub remember_lost: u32,
    /// Sessions in memory at most, the remembered ones included. Beyond it the oldest closed ones
    /// are forgotten, and then new ones are not taken in: see [`Outcome::Full`]. The last eighth is
    /// for NASes of which no more than half as many are open, if there are several.
    pub most_sessions: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            event_tolerance: 120,
            reuse_after: 180,
            interim: None,
            missed_interims: 3,
            quiet: 48 * 3_600,
            remember: 6 * 3_600,
            remember_lost: 72 * 3_600,
            most_sessions: 4_000_000,
        }
    }
}

/// Now, on two clocks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment {
    /// Nanoseconds since 1970; may be stepped.
    pub wall: u64,
    /// Since the machine's boot; never stepped.
    pub uptime: Uptime,
}

impl Moment {
    /// Nanoseconds since a record came: by the steady clock if it was read then, in this life of
    /// the machine; else by the wall clock, of which steps can't be told.
    pub fn since(self, record: &Record<'_>) -> u64 {
        match record.uptime {
            Some(uptime) if uptime.boot == self.uptime.boot => {
                self.uptime.nanos.saturating_sub(uptime.nanos)
            }
            _ => self.wall.saturating_sub(record.received),
        }
    }

    pub(crate) fn steady_seconds(self) -> i64 {
        (self.uptime.nanos / NANOS) as i64
    }

    pub(crate) fn wall_seconds(self) -> i64 {
        (self.wall / NANOS) as i64
    }
}

/// What a record did.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// A session is open that was not known.
    Opened,
    /// An open session goes on.
    Updated,
    /// A session was stopped: an open one, one that had been closed otherwise, or one of which the
    /// stop is the first that was heard.
    Closed,
    /// A session that had been closed without a stop is open again.
    Reopened,
    /// Nothing: the same was reported before.
    Duplicate,
    /// It came after newer ones, or after the session's end. If it told something new, that was
    /// added.
    Late,
    /// The NAS began: its sessions were closed.
    NasUp,
    /// The NAS is about to end: its sessions were closed.
    NasDown,
    /// It is about no session.
    Ignored,
    /// It is of a session that would have been forgotten by now. Whether it was counted before,
    /// the database knows; the sums of this process leave it out.
    Ancient,
    /// It is of a new session for which there is no room. It is not counted here, and nobody can
    /// ask for it: raise [`Settings::most_sessions`].
    Full,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Opened,
        Self::Updated,
        Self::Closed,
        Self::Reopened,
        Self::Duplicate,
        Self::Late,
        Self::NasUp,
        Self::NasDown,
        Self::Ignored,
        Self::Ancient,
        Self::Full,
    ];

    /// In snake case, for counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Updated => "updated",
            Self::Closed => "closed",
            Self::Reopened => "reopened",
            Self::Duplicate => "duplicate",
            Self::Late => "late",
            Self::NasUp => "nas_up",
            Self::NasDown => "nas_down",
            Self::Ignored => "ignored",
            Self::Ancient => "ancient",
            Self::Full => "full",
        }
    }
}

/// A session's figures after a record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Its name.
    pub id: SessionId,
    /// Whether it is open.
    pub state: State,
    /// When it began, in seconds since 1970.
    pub started: u32,
    /// When it was last known to go on, in seconds since 1970.
    pub updated: u32,
    /// When it ended, in seconds since 1970; see [`SessionView::ended`].
    pub ended: Option<u32>,
    /// Session time, in seconds.
    pub seconds: u32,
    /// Octets that the user sent.
    pub octets_in: u64,
    /// Octets that the user received.
    pub octets_out: u64,
    /// What was not quite right about it.
    pub doubts: Doubts,
}

/// What became of a record.
#[must_use]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Effect {
    /// In a word.
    pub outcome: Outcome,
    /// The session that it is about, as it is now; none if it is about none.
    pub session: Option<Standing>,
    /// What it added to the session's usage. Never negative, and nothing twice.
    pub gain: Gain,
    /// Other sessions that it closed: all of a NAS that began or ended, one whose id was given to
    /// this one, or one that was none but a second start of this one.
    pub closes: Vec<SessionView>,
    /// What is not quite right about the record itself.
    pub doubts: Doubts,
}

impl Effect {
    fn without_session(outcome: Outcome, doubts: Doubts) -> Self {
        Self { outcome, session: None, gain: Gain::default(), closes: Vec::new(), doubts }
    }
}

/// Figures of a table.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Sessions that are open.
    pub open: usize,
    /// Sessions that are closed and remembered, starts included that may have begun others.
    pub remembered: usize,
    /// Boxes (NASes, told apart by what they say of themselves) that were heard of.
    pub boxes: usize,
    /// Bytes of all allocations, without what the allocator adds.
    pub bytes: usize,
    /// Closed sessions that were forgotten early, for lack of room.
    pub forgotten_early: u64,
    /// Those of them whose records were not all written then: see [`Table::unwritten`]. Counted
    /// since all records were written last.
    pub forgotten_unwritten: u64,
    /// Records of sessions for which there was no room.
    pub refused: u64,
}

/// The sessions.
#[derive(Debug)]
pub struct Table {
    settings: Settings,
    keys: [u64; 2],
    places: Places,
    shards: Box<[Padded<RwLock<Shard>>]>,
    users: Index,
    addresses: Index,
    /// How many open sessions have an IPv6 prefix of each length.
    lengths: Box<[AtomicU32]>,
    /// Steady: when expiry was asked for last, and since when silence counts.
    asked: AtomicI64,
    listening: AtomicI64,
    /// Steady: sessions of which nothing was heard since then may have been forgotten.
    horizon: AtomicI64,
    /// Steady: when the first record came that is not written; the greatest number if all are.
    unwritten: AtomicI64,
    forgotten_early: AtomicU64,
    forgotten_unwritten: AtomicU64,
    refused: AtomicU64,
}

/// Keeps one lock out of another's cache lines (two, for they are fetched in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl Table {
    /// An empty table. `seed` must be secret and random.
    pub fn new(settings: Settings, seed: [u64; 2]) -> Self {
        Self {
            settings,
            keys: seed,
            places: Places::new(seed),
            shards: (0..SHARDS).map(|_| Padded(RwLock::new(Shard::new()))).collect(),
            users: Index::new(),
            addresses: Index::new(),
            lengths: (0..=128).map(|_| AtomicU32::new(0)).collect(),
            asked: AtomicI64::new(i64::MIN),
            listening: AtomicI64::new(i64::MIN),
            horizon: AtomicI64::new(i64::MIN),
            unwritten: AtomicI64::new(i64::MAX),
            forgotten_early: AtomicU64::new(0),
            forgotten_unwritten: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// What it goes by.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes a record. Taking it again, or in another order, changes no total.
    ///
    /// | what comes | what it does |
    /// |---|---|
    /// | a start again, be it with another identifier or a longer delay | nothing: duplicate |
    /// | a start after its updates or its stop | tells when it began |
    /// | a start in the middle of an open session | nothing yet: see below |
    /// | an update without a start | opens it, by its session time if there is one |
    /// | an update after a newer one | nothing, or what it shows of a counter that went round |
    /// | an update after the stop | corrects the totals; never opens it |
    /// | a stop again | nothing; or corrects the totals, if it tells more |
    /// | a stop without a start | a session that is closed at once, with all its usage |
    /// | Accounting-On, -Off | closes the box's sessions that nothing was heard of since |
    /// | an update from after Accounting-On | opens it again: the box did not begin anew |
    /// | an update of a session that was lost | opens it again; what was counted stays counted |
    ///
    /// A record with a known identity (box, Acct-Session-Id, User-Name) is of *another* session,
    /// which was given the id again, if
    /// - it is a start after the stop or after the box began anew;
    /// - or a start, [`Settings::reuse_after`] from the one known, that tells of another calling
    ///   station, port or address, or of a session that was given up, or that has no
    ///   Acct-Session-Id;
    /// - or it began, by its session time, after the stop or after the box began anew;
    /// - or it began, by its session time, after all that is known of the other, and all its
    ///   counters lie below what is known, or no counters are known.
    ///
    /// Any other start within an open session proves nothing: some NASes send a second one when the
    /// user gets an address. It is remembered, and the session goes on. If a later record began
    /// with it by its session time, or (by a NAS that tells none) all counters fell since, or the
    /// stop or the box's beginning turns out to lie before it, it began another session.
    ///
    /// The session before it, if it was still open, is superseded. In all other cases a record is
    /// taken for the session that is known, so that nothing is billed twice.
    pub fn apply(&self, record: &Record<'_>, now: Moment) -> Effect {
        let report = Report::of(record, now, &self.settings);
        let effect = match record.status {
            Status::Start | Status::Stop | Status::Interim => self.report(record, &report),
            Status::On | Status::Off => self.box_changed(record, &report),
            Status::Other(_) => None,
        };
        effect.unwrap_or_else(|| Effect::without_session(Outcome::Ignored, report.doubts))
    }

    /// Tells which record is the first that was applied and is not written to where
    /// [`Self::standing`] is asked for: none if all are. As long as that stays so, sessions are
    /// remembered as if no time passed, for their records are asked for in their order. They count
    /// towards [`Settings::most_sessions`]: when that is reached, the oldest are forgotten
    /// nevertheless, and [`Stats::forgotten_unwritten`] tells how many.
    pub fn unwritten(&self, first: Option<&Record<'_>>, now: Moment) {
        let came = first.map_or(i64::MAX, |record| {
            now.steady_seconds().saturating_sub((now.since(record) / NANOS) as i64)
        });
        self.unwritten.store(came, Ordering::Relaxed);
        if first.is_none() {
            self.forgotten_unwritten.store(0, Ordering::Relaxed);
        }
    }

    /// What is known of a record's session, without taking the record: none if nothing is. For
    /// records that were applied, however long ago, and are to be written under the same session's
    /// name.
    ///
    /// If the session went on after the record, its figures are those that the record told, with
    /// what its counters had gone round by then; whether it is open is always as of now.
    pub fn standing(&self, record: &Record<'_>, now: Moment) -> Option<Standing> {
        if !record.status.is_of_session() {
            return None;
        }
        let report = Report::of(record, now, &self.settings);
        let (place_number, place) = self.places.find(&Name::of(record))?;
        let hash = self.identity(place_number, record);
        let shard = self.shards.get((hash >> 32) as usize % SHARDS)?.0.read();
        let newest = shard.newest(hash as u32, |session| session.is(place_number, record))?;
        match choose(shard.chain(newest), record, &report, place.down()) {
            Choice::Of(slot) | Choice::Within(slot, _) | Choice::Claim(slot) => {
                shard.session(slot).map(|session| session.standing_at(&report))
            }
            Choice::Another => None,
        }
    }

    /// Open sessions of a subscriber (the name that [`Record::with_subscriber`] gave, or else
    /// User-Name), for Simultaneous-Use. One short lock.
    pub fn open_of(&self, subscriber: &[u8]) -> usize {
        self.users.count(self.hash(USERS, subscriber))
    }

    /// Open sessions of a subscriber, in no order.
    pub fn sessions_of(&self, subscriber: &[u8], at_most: usize, now: Moment) -> Vec<SessionView> {
        let handles = self.users.find(self.hash(USERS, subscriber), at_most);
        self.views(&handles, now, |session| session.text.subject() == subscriber)
    }

    /// Open sessions of all boxes behind a NAS's entry.
    pub fn open_on(&self, nas: &str) -> usize {
        let places = self.places.that_may_be(&Name { nas, identifier: None, address: None });
        places.iter().map(|(_, place)| place.open.load(Ordering::Relaxed) as usize).sum()
    }

    /// Names of NASes' entries that sessions were heard of under, with how many of them are open.
    pub fn open_by_nas(&self) -> Vec<(String, usize)> {
        let mut open: Vec<(String, usize)> = Vec::new();
        let mut places = self.places.all();
        places.sort_by(|one, other| one.nas.cmp(&other.nas));
        for place in places {
            let count = place.open.load(Ordering::Relaxed) as usize;
            match open.last_mut().filter(|(name, _)| **name == *place.nas) {
                Some((_, sum)) => *sum += count,
                None => open.push((place.nas.to_string(), count)),
            }
        }
        open
    }

    /// Open sessions of all boxes behind a NAS's entry, in no order.
    pub fn sessions_on(&self, nas: &str, at_most: usize, now: Moment) -> Vec<SessionView> {
        let mut views = Vec::new();
        for (number, place) in
            self.places.that_may_be(&Name { nas, identifier: None, address: None })
        {
            for shard in &self.shards {
                let shard = shard.0.read();
                for slot in shard.of_place(number) {
                    if views.len() == at_most {
                        return views;
                    }
                    let session = shard.session(slot);
                    views
                        .extend(session.map(|session| view(session, &place, now.steady_seconds())));
                }
            }
        }
        views
    }

    /// Open sessions that have an address: framed, or within a framed or delegated prefix. There
    /// should be one at most; two mean that a pool is used twice, or that a stop is under way.
    pub fn sessions_with(&self, address: IpAddr, now: Moment) -> Vec<SessionView> {
        const AT_MOST: usize = 64;
        let mut handles = Vec::new();
        match address {
            IpAddr::V4(address) => {
                let hash = self.hash_address(Address::Single(address));
                handles.extend(self.addresses.find(hash, AT_MOST));
            }
            IpAddr::V6(address) => {
                for (length, count) in (0..=128_u8).zip(self.lengths.iter()) {
                    if count.load(Ordering::Relaxed) > 0
                        && let Some(prefix) = Prefix6::new(address, length)
                    {
                        let hash = self.hash_address(Address::Prefix(prefix));
                        handles.extend(self.addresses.find(hash, AT_MOST));
                    }
                }
                // Its own address and its prefix lead to one session twice.
                handles.sort_unstable();
                handles.dedup();
            }
        }
        self.views(&handles, now, |session| has_address(session, address))
    }

    /// A session by its name. Walks through all of them.
    pub fn session(&self, id: SessionId, now: Moment) -> Option<SessionView> {
        let mut found = None;
        self.walk(|session| {
            if session.id == id {
                found = Some(session.clone());
            }
            found.is_none()
        });
        let session = found?;
        Some(view(&session, &*self.places.at(session.place)?, now.steady_seconds()))
    }

    /// Shows open sessions, one after the other, until `show` says no. No lock is held for longer
    /// than it takes to copy a few of them; what is opened or closed meanwhile may be shown or not.
    pub fn for_each_open(&self, now: Moment, mut show: impl FnMut(SessionView) -> bool) {
        for shard in &self.shards {
            for chunk in 0.. {
                let sessions: Vec<Session> = match shard.0.read().chunk(chunk) {
                    Some(sessions) => {
                        let open = sessions.filter(|(_, session)| session.is_open());
                        open.map(|(_, session)| session.clone()).collect()
                    }
                    None => break,
                };
                for session in sessions {
                    if let Some(place) = self.places.at(session.place)
                        && !show(view(&session, &place, now.steady_seconds()))
                    {
                        return;
                    }
                }
            }
        }
    }

    /// Closes sessions that nothing was heard of for too long, at most `at_most` of them, and
    /// forgets closed ones that are old enough. Their usage is what was known last, and their end
    /// when. To be called every few seconds.
    pub fn expire(&self, now: Moment, at_most: usize) -> Vec<SessionView> {
        let mut closed = Vec::new();
        self.expire_into(now, at_most, &mut closed);
        closed
    }

    /// The same for a caller who wants to have those that were closed whatever happens at the next one. Those that `closed` has
    /// already count among `at_most`.
    pub fn expire_into(&self, now: Moment, at_most: usize, closed: &mut Vec<SessionView>) {
        let steady = now.steady_seconds();
        let asked = self.asked.swap(steady, Ordering::Relaxed);
        if asked == i64::MIN || steady - asked > ABSENCE {
            self.listening.store(steady, Ordering::Relaxed);
        }
        let listening = self.listening.load(Ordering::Relaxed);
        for (number, shard) in self.shards.iter().enumerate() {
            for chunk in 0.. {
                let silent: Vec<u32> = match shard.0.read().chunk(chunk) {
                    Some(sessions) => sessions
                        .filter(|(_, session)| self.is_silent(session, listening, steady))
                        .map(|(slot, _)| slot)
                        .collect(),
                    None => break,
                };
                for slot in silent {
                    if closed.len() >= at_most {
                        return;
                    }
                    let mut shard = shard.0.write();
                    let session = shard.session(slot);
                    // It may have spoken meanwhile.
                    if session.is_some_and(|session| self.is_silent(session, listening, steady)) {
                        let mut shard = Locked { table: self, shard: &mut shard, number };
                        closed.extend(shard.close(slot, State::Lost, None, steady));
                    }
                }
            }
            self.forget_old(number, steady);
        }
    }

    /// Figures as they are now.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            boxes: self.places.all().len(),
            bytes: self.users.bytes() + self.addresses.bytes(),
            forgotten_early: self.forgotten_early.load(Ordering::Relaxed),
            forgotten_unwritten: self.forgotten_unwritten.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            ..Stats::default()
        };
        for shard in &self.shards {
            let shard = shard.0.read();
            stats.open += shard.open();
            stats.remembered += shard.held() - shard.open();
            stats.bytes += shard.bytes();
        }
        stats
    }

    /// Writes all sessions. No lock is held while writing. `position` is the journal's sequence up
    /// to which records were applied *before* this call: whoever restores the table applies those
    /// behind it again, and what was already in it changes nothing.
    pub fn save(&self, writer: impl Write, position: u64, now: Moment) -> io::Result<Saved> {
        let mut writer = snapshot::Writer::new(writer, position, now)?;
        for place in self.places.all() {
            if let Some(down) = place.down() {
                writer.place(&place, down)?;
            }
        }
        for shard in &self.shards {
            for chunk in 0.. {
                let sessions: Vec<Session> = match shard.0.read().chunk(chunk) {
                    Some(sessions) => sessions.map(|(_, session)| session.clone()).collect(),
                    None => break,
                };
                for session in sessions {
                    if let Some(place) = self.places.at(session.place) {
                        writer.session(&session, &place)?;
                    }
                }
            }
        }
        writer.finish()
    }

    /// A table with the sessions that [`Self::save`] wrote, as far as they are undamaged. The time
    /// since then is not held against a session: nobody listened.
    pub fn restore(
        settings: Settings,
        seed: [u64; 2],
        reader: impl Read,
        now: Moment,
    ) -> Result<(Self, Restored), SnapshotError> {
        let table = Self::new(settings, seed);
        let restored = snapshot::read(reader, now, |item| match item {
            snapshot::Item::Place { name, down, stamp } => {
                table.places.intern(&name).1.set_down(down, stamp);
                true
            }
            snapshot::Item::Session { name, session } => table.put_back(&name, *session),
        })?;
        Ok((table, restored))
    }

    /// A record of a session.
    fn report(&self, record: &Record<'_>, report: &Report) -> Option<Effect> {
        let (place_number, place) = self.places.intern(&Name::of(record));
        let hash = self.identity(place_number, record);
        let (number, tag) = ((hash >> 32) as usize % SHARDS, hash as u32);
        let down = place.down();
        let mut shard = self.shards.get(number)?.0.write();
        let newest = shard.newest(tag, |session| session.is(place_number, record));
        let choice = newest
            .map_or(Choice::Another, |newest| choose(shard.chain(newest), record, report, down));
        let mut shard = Locked { table: self, shard: &mut shard, number };
        match choice {
            Choice::Of(slot) => shard.update(slot, newest?, record, report, &place),
            Choice::Within(slot, outcome) => {
                shard.learn(slot, record, report, false, &place);
                shard.effect(slot, outcome, report)
            }
            Choice::Claim(slot) => shard.claim(slot, record, report, &place),
            Choice::Another => {
                let identity = Identity { place: place_number, tag, newest };
                shard.open(identity, record, report, &place)
            }
        }
    }

    /// Accounting-On and -Off.
    fn box_changed(&self, record: &Record<'_>, report: &Report) -> Option<Effect> {
        let on = record.status == Status::On;
        let name = Name::of(record);
        self.places.intern(&name);
        let outcome = if on { Outcome::NasUp } else { Outcome::NasDown };
        let mut effect = Effect::without_session(outcome, report.doubts);
        let (mut repeated, mut places) = (true, self.places.that_may_be(&name));
        places.retain(|(_, place)| {
            let again = place.down().is_some_and(|down| (report.when - down).abs() <= DOWN_REPEATS)
                || report.stamp != 0 && place.stamp() == report.stamp;
            repeated &= again;
            !again
        });
        if repeated {
            effect.outcome = Outcome::Duplicate;
            return Some(effect);
        }
        for (place_number, place) in places {
            let believed = !report.doubts.has(Doubts::CLOCK);
            place.set_down(report.when, if believed { report.stamp } else { 0 });
            if place.open.load(Ordering::Relaxed) == 0 {
                continue;
            }
            for (number, shard) in self.shards.iter().enumerate() {
                let mut shard = shard.0.write();
                for slot in shard.of_place(place_number) {
                    let last = shard.session(slot).map_or(i64::MAX, |session| session.last.into());
                    if ends_with(on, last, report.when) {
                        let ended = (!on).then_some(report.at);
                        let mut shard = Locked { table: self, shard: &mut shard, number };
                        effect.closes.extend(shard.close(slot, State::Rebooted, ended, report.now));
                        // What began afterwards is another session.
                        shard.admit(slot, report, &place);
                    }
                }
            }
        }
        Some(effect)
    }

    fn is_silent(&self, session: &Session, listening: i64, now: i64) -> bool {
        let told = self.settings.interim.unwrap_or(0);
        let interval = i64::from(session.interval.max(told));
        let patience = match interval {
            0 => i64::from(self.settings.quiet),
            // Part of an interval more: NASes stagger their updates.
            interval => interval * i64::from(self.settings.missed_interims.max(1)) + interval / 4,
        };
        session.is_open() && now - i64::from(session.since).max(listening) > patience
    }

    fn forget_old(&self, number: usize, now: i64) {
        let Some(shard) = self.shards.get(number) else { return };
        let (steady, now) = (now, now.min(self.unwritten.load(Ordering::Relaxed)));
        for (lost, age) in [(false, self.settings.remember), (true, self.settings.remember_lost)] {
            let old = |shard: &Shard| {
                let oldest = shard.oldest_closed(lost)?;
                let since = i64::from(shard.session(oldest)?.since);
                (since < now - i64::from(age)).then_some(oldest)
            };
            if old(&shard.0.read()).is_none() {
                continue;
            }
            // A few at a time, so that nobody waits long.
            'crowds: loop {
                let mut shard = shard.0.write();
                for _ in 0..CROWD {
                    let Some(oldest) = old(&shard) else { break 'crowds };
                    if let Some(session) = shard.forget(oldest, steady)
                        && !session.is_claim()
                    {
                        // Whatever it says of itself, it is that old.
                        let last = i64::from(session.last).min(now - i64::from(age));
                        self.horizon.fetch_max(last, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    /// Whether a closed session may have records that are not written.
    fn is_unwritten(&self, session: &Session) -> bool {
        let unwritten = self.unwritten.load(Ordering::Relaxed);
        // It may have been known for that long when the first of them came.
        let known = match session.state {
            State::Lost => self.settings.remember_lost,
            _ => self.settings.remember,
        };
        i64::from(session.since) >= unwritten.saturating_sub(known.into())
    }

    fn put_back(&self, name: &Name<'_>, mut session: Session) -> bool {
        let (place_number, place) = self.places.intern(name);
        session.place = place_number;
        let hash = self.identity_of(place_number, &session);
        let number = (hash >> 32) as usize % SHARDS;
        session.tag = hash as u32;
        let Some(shard) = self.shards.get(number) else { return false };
        let mut shard = shard.0.write();
        let newest = shard.newest(session.tag, |known| known.is_as(&session));
        let twice = newest
            .is_some_and(|newest| shard.chain(newest).any(|(_, known)| known.id == session.id));
        if twice || shard.held() >= self.most_in_shard() {
            return false;
        }
        let since = session.since.into();
        let slot = shard.insert(newest, session);
        shard.list(slot);
        let mut shard = Locked { table: self, shard: &mut shard, number };
        if shard.shard.session(slot).is_some_and(Session::is_open) {
            shard.show(slot, &place);
            // Of sessions with one identity one is open.
            for other in shard.open_beside(slot) {
                let _ = shard.close(other, State::Superseded, None, since);
            }
        }
        true
    }

    fn most_in_shard(&self) -> usize {
        (self.settings.most_sessions / SHARDS).clamp(1, MOST_IN_SHARD)
    }

    fn views(
        &self,
        handles: &[Handle],
        now: Moment,
        fits: impl Fn(&Session) -> bool,
    ) -> Vec<SessionView> {
        let views = handles.iter().filter_map(|handle| {
            let shard = self.shards.get(handle.shard())?.0.read();
            // It may have been closed meanwhile, and its slot given to another.
            let session = shard.session(handle.slot())?;
            let fits = session.is_open() && fits(session);
            let place = self.places.at(session.place)?;
            fits.then(|| view(session, &place, now.steady_seconds()))
        });
        views.collect()
    }

    /// Shows every session until `show` says no.
    fn walk(&self, mut show: impl FnMut(&Session) -> bool) {
        for shard in &self.shards {
            for chunk in 0.. {
                let shard = shard.0.read();
                let Some(mut sessions) = shard.chunk(chunk) else { break };
                if !sessions.all(|(_, session)| show(session)) {
                    return;
                }
            }
        }
    }

    fn identity(&self, place: u32, record: &Record<'_>) -> u64 {
        self.hash_identity(place, record.session, record.user, line_of(record))
    }

    fn identity_of(&self, place: u32, session: &Session) -> u64 {
        self.hash_identity(place, session.text.session(), session.text.user(), session.line())
    }

    fn hash_identity(
        &self,
        place: u32,
        session: &[u8],
        user: &[u8],
        line: Option<Line<'_>>,
    ) -> u64 {
        let [one, two] = self.keys;
        let mut hasher = SipHasher13::new_with_keys(one, two);
        (place, session, user, line).hash(&mut hasher);
        hasher.finish()
    }

    fn hash(&self, what: u64, name: &[u8]) -> u64 {
        let [one, two] = self.keys;
        SipHasher13::new_with_keys(one ^ what, two).hash(name)
    }

    fn hash_address(&self, address: Address) -> u64 {
        match address {
            Address::Single(address) => self.hash(ADDRESSES, &address.octets()),
            Address::Prefix(prefix) => {
                let address = self.hash(ADDRESSES, &prefix.address().octets());
                self.hash(address, &[prefix.length()])
            }
        }
    }

    /// The count of the length of an address, if it is a prefix.
    fn length(&self, address: Address) -> Option<&AtomicU32> {
        match address {
            Address::Single(_) => None,
            Address::Prefix(prefix) => self.lengths.get(usize::from(prefix.length())),
        }
    }

    /// Whether all parts agree with each other.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn check(&self) {
        let mut open = 0;
        for shard in &self.shards {
            let shard = shard.0.read();
            shard.check();
            open += shard.open();
        }
        assert_eq!(self.users.len(), open, "every open session has a user");
        let places = self.places.all();
        let counted: u32 = places.iter().map(|place| place.open.load(Ordering::Relaxed)).sum();
        assert_eq!(counted as usize, open, "every open session is on a box");
        let mut listed = 0;
        self.walk(|session| {
            listed += if session.is_open() { addresses(session).count() } else { 0 };
            true
        });
        assert_eq!(self.addresses.len(), listed, "every address has its session");
    }
}

/// Sets hashes of users and of addresses apart.
const USERS: u64 = 1;
const ADDRESSES: u64 = 2;

/// Sessions that are forgotten while one lock is held.
const CROWD: usize = 64;

/// Whether a session ended when its box began or ended: nothing was heard of it since. A moment
/// before the box began nothing on it can have begun; until the moment of its end, all can.
fn ends_with(on: bool, last: i64, when: i64) -> bool {
    if on { last + SLACK <= when } else { last <= when + SLACK }
}

/// What a session can be found by.
#[derive(Clone, Copy)]
enum Address {
    Single(Ipv4Addr),
    Prefix(Prefix6),
}

fn addresses(session: &Session) -> impl Iterator<Item = Address> {
    let single = Some(session.address).filter(|&address| address != 0);
    let single = single.map(|address| Address::Single(Ipv4Addr::from_bits(address)));
    single.into_iter().chain(prefixes(session).map(Address::Prefix))
}

fn prefixes(session: &Session) -> impl Iterator<Item = Prefix6> {
    let prefixes = [
        session.text.prefix(text::PREFIX),
        session.text.prefix(text::DELEGATED),
        session.text.address6().and_then(|address| Prefix6::new(address, 128)),
    ];
    prefixes.into_iter().flatten()
}

fn has_address(session: &Session, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => session.address == address.to_bits(),
        IpAddr::V6(address) => prefixes(session).any(|prefix| prefix.contains(address)),
    }
}

/// What there is to say of a session that the table does not take in.
fn unknown(outcome: Outcome, record: &Record<'_>, report: &Report) -> Effect {
    let stopped = report.status == Status::Stop;
    let session = Standing {
        id: SessionId::named(record, report.started(), 0),
        state: if stopped { State::Stopped } else { State::Open },
        started: report.started(),
        updated: report.at,
        ended: stopped.then_some(report.at),
        seconds: report.seconds.unwrap_or(0),
        octets_in: report.octets_in.total().unwrap_or(0),
        octets_out: report.octets_out.total().unwrap_or(0),
        doubts: report.doubts,
    };
    Effect { session: Some(session), ..Effect::without_session(outcome, report.doubts) }
}

fn view(session: &Session, place: &Place, steady: i64) -> SessionView {
    let text = &session.text;
    let part = |kind| text.part(kind).map(<[u8]>::to_vec);
    SessionView {
        id: session.id,
        state: session.state,
        nas: place.nas.to_string(),
        nas_identifier: place.identifier.as_deref().map(<[u8]>::to_vec),
        nas_address: place.address,
        nas_port: session.nas_port(),
        nas_port_id: part(text::PORT_ID),
        session: text.session().to_vec(),
        user: text.user().to_vec(),
        subscriber: text.subject().to_vec(),
        calling: part(text::CALLING),
        framed_address: (session.address != 0).then(|| Ipv4Addr::from_bits(session.address)),
        framed_prefix: text.prefix(text::PREFIX),
        framed_address6: text.address6(),
        delegated_prefix: text.prefix(text::DELEGATED),
        started: session.started,
        updated: session.updated,
        ended: (!session.is_open()).then_some(session.ended),
        seconds: session.seconds,
        octets_in: session.octets_in,
        octets_out: session.octets_out,
        packets_in: session.packets_in,
        packets_out: session.packets_out,
        cause: Some(session.cause).filter(|&cause| cause != 0),
        interval: Some(session.interval).filter(|&interval| interval != 0),
        quiet: u32::try_from(steady - i64::from(session.since)).unwrap_or(0),
        idle: u32::try_from(steady - i64::from(session.last)).unwrap_or(0),
        doubts: session.doubts,
    }
}

#[cfg(test)]
mod tests;
