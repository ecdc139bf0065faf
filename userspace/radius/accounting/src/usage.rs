//! Usage, spread over days and summed by user, NAS and telco.
//!
//! # The rule for days
//!
//! What a report adds to its session was used since the report before it. It is spread evenly over
//! the time between the two, and so over the days that this time touches, to the octet: a session
//! that reports every ten minutes is at most that inexact at midnight, and one that reports only
//! its start and stop is divided by the hours on either side. A day is decided on when its usage
//! becomes known and not again: a report that comes late, after a newer one, adds nothing, for the
//! newer one's counters included it. If it does add something (it shows that a counter had gone
//! round), that is the day's in which it happened.
//!
//! So sums over all days are the same whatever the order in which records came, and how usage lies
//! on the two sides of a midnight may differ by what records crossed it out of order.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use crate::fields::{self, Fields};
use crate::snapshot::SnapshotError;
use crate::snapshot::frames::{self, Frame};

const DAY: i64 = 86_400;

/// Days over which one report is spread at most; what is older than that counts for the first of
/// them.
pub const MOST_DAYS: i64 = 400;

/// What a record added to the usage that was known. Nothing of it is ever taken back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Gain {
    /// Since when it was used: the report before, or the session's beginning. Seconds since 1970.
    pub from: u32,
    /// When it was reported. Seconds since 1970; not before `from` unless the report was late.
    pub to: u32,
    /// Octets that the user sent.
    pub octets_in: u64,
    /// Octets that the user received.
    pub octets_out: u64,
    /// Seconds of session time.
    pub seconds: u32,
    /// Sessions: 1 with the first record that shows each to be one.
    pub sessions: u32,
}

impl Gain {
    /// Whether nothing was added.
    pub const fn is_empty(&self) -> bool {
        self.octets_in == 0 && self.octets_out == 0 && self.seconds == 0 && self.sessions == 0
    }

    /// Spreads it over days. `offset` gives the seconds that local time is ahead of UTC at a
    /// second since 1970. The shares add up to all of it; the session counts where it began.
    pub fn by_day<F: Fn(i64) -> i32>(&self, offset: F) -> ByDay<F> {
        let to = i64::from(self.to);
        // A late report counts on its own day.
        let from = i64::from(self.from).min(to).max(to - MOST_DAYS * DAY);
        ByDay {
            gain: *self,
            offset,
            from,
            to,
            at: from,
            given: Sum::default(),
            done: self.is_empty(),
        }
    }
}

/// The shares of days in a [`Gain`].
#[derive(Clone, Debug)]
pub struct ByDay<F> {
    gain: Gain,
    offset: F,
    from: i64,
    to: i64,
    at: i64,
    given: Sum,
    done: bool,
}

impl<F: Fn(i64) -> i32> Iterator for ByDay<F> {
    type Item = DayShare;

    fn next(&mut self) -> Option<DayShare> {
        if self.done {
            return None;
        }
        let day = Day::of(self.at, (self.offset)(self.at));
        let end = self.midnight_after(day).min(self.to);
        self.done = end >= self.to;
        let by_now = if self.done { self.whole() } else { self.share(end) };
        let sum = by_now.without(self.given);
        self.given = by_now;
        self.at = end;
        Some(DayShare { day, sum })
    }
}

impl<F: Fn(i64) -> i32> ByDay<F> {
    /// The end of a day: the first moment of another one, where clocks may be put forward or back.
    fn midnight_after(&self, day: Day) -> i64 {
        let is_over = |at| Day::of(at, (self.offset)(at)) > day;
        let local = (i64::from(day.0) + 1) * DAY;
        let guess = (local - i64::from((self.offset)(self.at))).max(self.at + 1);
        let (mut before, mut after) = match (is_over(guess - 1), is_over(guess)) {
            (false, true) => return guess,
            // Clocks were put forward meanwhile, over midnight perhaps,
            (true, _) => (self.at, guess - 1),
            // or back.
            (false, false) => (guess, (local - i64::from((self.offset)(guess))).max(guess + 1)),
        };
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            if is_over(middle) { after = middle } else { before = middle }
        }
        after
    }

    fn whole(&self) -> Sum {
        Sum {
            octets_in: self.gain.octets_in,
            octets_out: self.gain.octets_out,
            seconds: u64::from(self.gain.seconds),
            sessions: u64::from(self.gain.sessions),
        }
    }

    /// What was used before `end`.
    fn share(&self, end: i64) -> Sum {
        let passed = (end - self.from).unsigned_abs();
        let all = (self.to - self.from).unsigned_abs().max(1);
        let part = |value: u64| {
            let part = u128::from(value) * u128::from(passed) / u128::from(all);
            u64::try_from(part).unwrap_or(value)
        };
        let whole = self.whole();
        Sum {
            octets_in: part(whole.octets_in),
            octets_out: part(whole.octets_out),
            seconds: part(whole.seconds),
            sessions: whole.sessions,
        }
    }
}

/// What falls on one day.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DayShare {
    /// The day, by local time.
    pub day: Day,
    /// Its share.
    pub sum: Sum,
}

/// A day of the provider's calendar, counted from 1970-01-01. Shown and read as `2026-11-29`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Day(pub i32);

impl Day {
    /// The day of a second since 1970, where local time is `offset` seconds ahead of UTC.
    pub fn of(at: i64, offset: i32) -> Self {
        let day = at.saturating_add(i64::from(offset)).div_euclid(DAY);
        Self(day.clamp(-999_999, 2_999_999) as i32)
    }

    /// Year, month and day of the month in the Gregorian calendar.
    pub const fn date(self) -> (i32, u32, u32) {
        // Years are taken to begin in March, so that the day of leap years is the last one; 400 of
        // them have 146,097 days, and months from March on have 153 days in five.
        let days = self.0 as i64 + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        ((year + era * 400 + carry) as i32, month as u32, day as u32)
    }

    /// The day of a date; none if there is no such date.
    pub fn from_date(year: i32, month: u32, day: u32) -> Option<Self> {
        if !(1..=9_999).contains(&year) || !(1..=12).contains(&month) {
            return None;
        }
        let (month, year) = if month > 2 { (month - 3, year) } else { (month + 9, year - 1) };
        let (month, year) = (i64::from(month), i64::from(year));
        let of_year = (153 * month + 2) / 5 + i64::from(day) - 1;
        let of_era = year.rem_euclid(400);
        let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        let found = Self((year.div_euclid(400) * 146_097 + of_era - 719_468) as i32);
        // The 30th of February is a day in March.
        (found.date().2 == day).then_some(found)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

/// A text that is no date.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a day is written as year, month and day: 2026-11-29")]
pub struct BadDay;

impl FromStr for Day {
    type Err = BadDay;

    fn from_str(text: &str) -> Result<Self, BadDay> {
        let mut parts = text.splitn(3, '-');
        let mut part = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u32>().ok())?
        };
        let date = (part(4), part(2), part(2));
        let (Some(year), Some(month), Some(day)) = date else { return Err(BadDay) };
        Self::from_date(i32::try_from(year).map_err(|_| BadDay)?, month, day).ok_or(BadDay)
    }
}

/// Usage of something in some time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Sum {
    /// Octets that users sent.
    pub octets_in: u64,
    /// Octets that users received.
    pub octets_out: u64,
    /// Seconds of session time.
    pub seconds: u64,
    /// Sessions that began.
    pub sessions: u64,
}

impl Sum {
    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self {
            octets_in: self.octets_in.saturating_add(other.octets_in),
            octets_out: self.octets_out.saturating_add(other.octets_out),
            seconds: self.seconds.saturating_add(other.seconds),
            sessions: self.sessions.saturating_add(other.sessions),
        }
    }

    const fn without(self, other: Self) -> Self {
        Self {
            octets_in: self.octets_in.saturating_sub(other.octets_in),
            octets_out: self.octets_out.saturating_sub(other.octets_out),
            seconds: self.seconds.saturating_sub(other.seconds),
            sessions: self.sessions.saturating_sub(other.sessions),
        }
    }
}

/// Whom usage belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Who<'a> {
    /// The subscriber, or else User-Name as text.
    pub user: &'a str,
    /// The NAS's entry in the configuration.
    pub nas: &'a str,
    /// The group of NASes that it belongs to; usage is summed by it if there is one.
    pub telco: Option<&'a str>,
}

/// By what usage is summed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// By subscriber.
    User,
    /// By entry of the NAS.
    Nas,
    /// By group of NASes.
    Telco,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::User, Self::Nas, Self::Telco];

    /// In snake case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Nas => "nas",
            Self::Telco => "telco",
        }
    }
}

/// Names of each kind that are summed at most. Usage of further ones is summed together, under the
/// empty name.
pub const MOST_NAMES: usize = 4_000_000;

/// Daily sums in memory. The order in which gains are added does not matter.
///
/// They are what this server saw since it began or was [restored](Self::restore). Where several
/// servers share a database, the sums that it makes over all sessions are the ones to bill by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    users: Names,
    nases: Names,
    telcos: Names,
}

/// By name, days in their order.
type Names = HashMap<Box<str>, Vec<(Day, Sum)>>;

impl Usage {
    /// No usage.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what a record gained.
    pub fn add(&mut self, who: &Who<'_>, gain: &Gain, offset: impl Fn(i64) -> i32) {
        for share in gain.by_day(offset) {
            add(&mut self.users, who.user, share);
            add(&mut self.nases, who.nas, share);
            if let Some(telco) = who.telco {
                add(&mut self.telcos, telco, share);
            }
        }
    }

    /// The usage of one name from one day to another, both included.
    pub fn sum(&self, kind: Kind, name: &str, from: Day, to: Day) -> Sum {
        let days = self.names(kind).get(name).map(Vec::as_slice).unwrap_or_default();
        let within = days.iter().filter(|(day, _)| (from..=to).contains(day));
        within.fold(Sum::default(), |sum, &(_, day)| sum.with(day))
    }

    /// Everything of one kind: name, day and sum, in no order of names.
    pub fn rows(&self, kind: Kind) -> impl Iterator<Item = (&str, Day, Sum)> {
        let names = self.names(kind).iter();
        names.flat_map(|(name, days)| days.iter().map(move |&(day, sum)| (&**name, day, sum)))
    }

    /// Forgets days before `day`, of one kind: users' days are many, and known to the database.
    pub fn forget_before(&mut self, kind: Kind, day: Day) {
        self.names_mut(kind).retain(|_, days| {
            days.retain(|&(known, _)| known >= day);
            !days.is_empty()
        });
    }

    /// Writes everything. For sums that agree with the sessions of a snapshot, take both between
    /// the same two records.
    pub fn save(&self, writer: impl Write) -> io::Result<()> {
        let mut frames = frames::Writer::new(writer, frames::USAGE)?;
        for kind in Kind::ALL {
            for (name, day, sum) in self.rows(kind) {
                let mut item = Vec::with_capacity(64);
                fields::push_number(&mut item, KIND, kind as u64);
                fields::push(&mut item, NAME, name.as_bytes());
                fields::push_signed(&mut item, DATE, i64::from(day.0));
                fields::push_number(&mut item, OCTETS_IN, sum.octets_in);
                fields::push_number(&mut item, OCTETS_OUT, sum.octets_out);
                fields::push_number(&mut item, SECONDS, sum.seconds);
                fields::push_number(&mut item, SESSIONS, sum.sessions);
                frames.push(&item)?;
            }
        }
        frames.finish()
    }

    /// Reads what [`Self::save`] wrote. Sums that are short of anything are of no use: damage is an
    /// error.
    pub fn restore(reader: impl Read) -> Result<Self, SnapshotError> {
        let mut frames = frames::Reader::new(reader, frames::USAGE)?;
        let mut usage = Self::new();
        while let Some(frame) = frames.next()? {
            let Frame::Whole(frame) = frame else { return Err(SnapshotError::Damaged) };
            for item in frames::items(&frame) {
                let row = item.ok().and_then(read_row).ok_or(SnapshotError::Damaged)?;
                let (kind, name, share) = row;
                add(usage.names_mut(kind), name, share);
            }
        }
        if frames.is_complete() { Ok(usage) } else { Err(SnapshotError::Damaged) }
    }

    fn names(&self, kind: Kind) -> &Names {
        match kind {
            Kind::User => &self.users,
            Kind::Nas => &self.nases,
            Kind::Telco => &self.telcos,
        }
    }

    fn names_mut(&mut self, kind: Kind) -> &mut Names {
        match kind {
            Kind::User => &mut self.users,
            Kind::Nas => &mut self.nases,
            Kind::Telco => &mut self.telcos,
        }
    }
}

fn add(names: &mut Names, name: &str, share: DayShare) {
    let name = if names.contains_key(name) || names.len() < MOST_NAMES { name } else { "" };
    if !names.contains_key(name) {
        names.insert(name.into(), Vec::new());
    }
    let Some(days) = names.get_mut(name) else { return };
    match days.binary_search_by_key(&share.day, |&(day, _)| day) {
        Ok(place) => {
            if let Some((_, sum)) = days.get_mut(place) {
                *sum = sum.with(share.sum);
            }
        }
        Err(place) => days.insert(place, (share.day, share.sum)),
    }
}

// Fields of a saved row.
const KIND: u8 = 1;
const NAME: u8 = 2;
const DATE: u8 = 3;
const OCTETS_IN: u8 = 4;
const OCTETS_OUT: u8 = 5;
const SECONDS: u8 = 6;
const SESSIONS: u8 = 7;

fn read_row(item: &[u8]) -> Option<(Kind, &str, DayShare)> {
    let (mut kind, mut name, mut day, mut sum) = (None, None, None, Sum::default());
    for field in Fields(item) {
        let (tag, value) = field.ok()?;
        match tag {
            KIND => kind = Kind::ALL.get(usize::try_from(fields::number(value)?).ok()?).copied(),
            NAME => name = std::str::from_utf8(value).ok(),
            DATE => day = i32::try_from(fields::signed(value)?).ok().map(Day),
            OCTETS_IN => sum.octets_in = fields::number(value)?,
            OCTETS_OUT => sum.octets_out = fields::number(value)?,
            SECONDS => sum.seconds = fields::number(value)?,
            SESSIONS => sum.sessions = fields::number(value)?,
            _ => {}
        }
    }
    Some((kind?, name?, DayShare { day: day?, sum }))
}

#[cfg(test)]
mod tests;
