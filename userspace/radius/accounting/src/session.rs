//! One session: a function of the set of its records.

use crate::doubts::Doubts;
use crate::id::SessionId;
use crate::record::{NANOS, Octets, Record, Status};
use crate::table::{Moment, Outcome, Settings};
use crate::text::{self, Text};
use crate::trail::Trail;
use crate::usage::Gain;
use crate::view::State;

/// Seconds by which two estimates of one moment may differ: times are whole seconds, and networks
/// take part of one.
pub(crate) const SLACK: i64 = 2;

/// No session.
pub(crate) const NONE: u32 = u32::MAX;

/// A Start was seen.
pub(crate) const STARTED: u8 = 1;
/// The beginning is known, by a Start or by Acct-Session-Time.
pub(crate) const KNOWN: u8 = 1 << 1;
/// An interim update or a stop was seen.
pub(crate) const UPDATED: u8 = 1 << 2;
/// The NAS tells Acct-Session-Time.
pub(crate) const TIMED: u8 = 1 << 3;
/// The NAS sends gigawords.
pub(crate) const GIGAWORDS: u8 = 1 << 4;
/// There is a NAS-Port.
pub(crate) const PORT: u8 = 1 << 5;
/// It is not counted yet. Such a session was told of by a Start within the life of another, and
/// shown to be one by nothing else: it is a claim while it is closed. Once it is open, its next
/// record counts it.
pub(crate) const CLAIM: u8 = 1 << 6;
/// Its Start may have been on its way for long: the NAS doesn't say.
pub(crate) const GUESSED: u8 = 1 << 7;

/// A session, 136 bytes of it and its texts. Moments are whole seconds: on the wall clock since
/// 1970, for people; on the steady clock, for decisions.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) text: Text,
    pub(crate) octets_in: u64,
    pub(crate) octets_out: u64,
    /// Reports of a NAS without gigawords.
    pub(crate) trail: Option<Box<Trail>>,
    pub(crate) packets_in: u32,
    pub(crate) packets_out: u32,
    /// What the table finds it by.
    pub(crate) tag: u32,
    /// The box that it is on.
    pub(crate) place: u32,
    pub(crate) port: u32,
    /// Framed-IP-Address; 0 if there is none.
    pub(crate) address: u32,
    /// Wall: the beginning.
    pub(crate) started: u32,
    /// Wall: the latest event.
    pub(crate) updated: u32,
    /// Wall: the end; of no meaning while it is open.
    pub(crate) ended: u32,
    /// Steady: the beginning.
    pub(crate) start: i32,
    /// Steady: the latest event that its usage is known of.
    pub(crate) last: i32,
    /// Steady: when it was heard of last while it is open, and when it was closed afterwards.
    pub(crate) since: i32,
    pub(crate) seconds: u32,
    /// Acct-Session-Time of the stop that counts.
    pub(crate) stop_seconds: u32,
    /// Event-Timestamp of the Start, if it was believed; or 0.
    pub(crate) stamp: u32,
    /// Seconds between interim updates, as far as they were seen; 0 if none were.
    pub(crate) interval: u32,
    /// The session that had the same identity before it.
    pub(crate) older: u32,
    pub(crate) next: u32,
    pub(crate) previous: u32,
    /// Acct-Terminate-Cause; 0 if there is none.
    pub(crate) cause: u8,
    pub(crate) state: State,
    pub(crate) marks: u8,
    pub(crate) doubts: Doubts,
}

/// The budget: with 64 bytes of texts and 60 of indices it stays under 300.
const _: () = assert!(size_of::<Session>() == 136);

/// NAS-Port, NAS-Port-Id and Calling-Station-Id.
pub(crate) type Line<'a> = (Option<u32>, Option<&'a [u8]>, Option<&'a [u8]>);

/// The line that identifies a record's session, for want of an Acct-Session-Id.
pub(crate) fn line_of<'a>(record: &Record<'a>) -> Option<Line<'a>> {
    let line = (record.nas_port, record.nas_port_id, record.calling);
    record.session.is_empty().then_some(line)
}

/// What a record says about a session, in the table's units.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) status: Status,
    /// Wall: when it happened.
    pub(crate) at: u32,
    /// Steady: when it happened.
    pub(crate) when: i64,
    /// Steady: now.
    pub(crate) now: i64,
    /// Whether a retransmission would say the same.
    pub(crate) exact: bool,
    /// Seconds from the event to when the record came; a little negative if a clock is ahead.
    pub(crate) delay: i64,
    pub(crate) seconds: Option<u32>,
    pub(crate) octets_in: Octets,
    pub(crate) octets_out: Octets,
    pub(crate) packets_in: u32,
    pub(crate) packets_out: u32,
    pub(crate) cause: u8,
    /// Event-Timestamp as it stands, or 0.
    pub(crate) stamp: u32,
    pub(crate) doubts: Doubts,
    /// Seconds by which two beginnings may differ and be one.
    pub(crate) tolerance: i64,
}

impl Report {
    pub(crate) fn of(record: &Record<'_>, now: Moment, settings: &Settings) -> Self {
        let event = record.event(settings.event_tolerance);
        let steady = now.steady_seconds();
        let waited = (now.since(record) / NANOS) as i64;
        let delay = (record.received / NANOS) as i64 - i64::from(event.at);
        let when = (steady - waited - delay).clamp(EARLIEST, LATEST);
        // A clock of a NAS is off by parts in 10,000 at most.
        let drift = record.session_seconds.unwrap_or(0) / 4_096;
        let tolerance = i64::from(settings.reuse_after) + i64::from(drift);
        Self {
            status: record.status,
            at: event.at,
            when,
            now: steady.clamp(EARLIEST, LATEST),
            exact: event.exact,
            delay,
            seconds: record.session_seconds,
            octets_in: record.octets_in,
            octets_out: record.octets_out,
            packets_in: record.packets_in.unwrap_or(0),
            packets_out: record.packets_out.unwrap_or(0),
            cause: u8::try_from(record.cause.unwrap_or(0)).unwrap_or(u8::MAX),
            stamp: record.event_timestamp.unwrap_or(0),
            doubts: event.doubts,
            tolerance,
        }
    }

    /// Steady: when its session began, if it says so.
    pub(crate) fn begin(&self) -> Option<i64> {
        match self.status {
            Status::Start => Some(self.when),
            _ => self.seconds.map(|seconds| (self.when - i64::from(seconds)).max(EARLIEST)),
        }
    }

    /// Seconds by which its moment may differ from another that it agrees with. Without
    /// Event-Timestamp and Acct-Delay-Time it may have been on its way for long.
    pub(crate) fn margin(&self) -> i64 {
        if self.exact { SLACK } else { self.tolerance }
    }

    /// Wall: when its session began, as far as it says so.
    pub(crate) fn started(&self) -> u32 {
        match self.status {
            Status::Start => self.at,
            _ => self.at.saturating_sub(self.seconds.unwrap_or(0)),
        }
    }
}

/// Steady moments are kept as 32 bits; 34 years on either side of the boot are enough.
const LATEST: i64 = 1 << 30;
const EARLIEST: i64 = -LATEST;

/// A steady moment as sessions keep it.
pub(crate) fn short(moment: i64) -> i32 {
    moment.clamp(EARLIEST, LATEST) as i32
}

/// What a report did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Taken {
    pub(crate) outcome: Outcome,
    pub(crate) gain: Gain,
}

impl Session {
    /// A session of which no record was taken yet.
    pub(crate) fn blank(id: SessionId, record: &Record<'_>, place: u32, tag: u32) -> Self {
        Self {
            id,
            text: Text::of(record),
            tag,
            place,
            port: record.nas_port.unwrap_or(0),
            marks: if record.nas_port.is_some() { PORT } else { 0 },
            ..Self::empty()
        }
    }

    /// A session that is nobody's.
    pub(crate) fn empty() -> Self {
        Self {
            id: SessionId::from_bytes([0; 16]),
            text: Text::default(),
            octets_in: 0,
            octets_out: 0,
            trail: None,
            packets_in: 0,
            packets_out: 0,
            tag: 0,
            place: 0,
            port: 0,
            address: 0,
            started: 0,
            updated: 0,
            ended: 0,
            start: 0,
            last: 0,
            since: 0,
            seconds: 0,
            stop_seconds: 0,
            stamp: 0,
            interval: 0,
            older: NONE,
            next: NONE,
            previous: NONE,
            cause: 0,
            state: State::Open,
            marks: 0,
            doubts: Doubts::default(),
        }
    }

    /// The line that identifies it, for want of an Acct-Session-Id.
    pub(crate) fn line(&self) -> Option<Line<'_>> {
        let line =
            || (self.nas_port(), self.text.part(text::PORT_ID), self.text.part(text::CALLING));
        self.text.session().is_empty().then(line)
    }

    /// Whether a record bears its identity. Sessions that had it at other times bear it as well.
    pub(crate) fn is(&self, place: u32, record: &Record<'_>) -> bool {
        self.place == place
            && self.text.session() == record.session
            && self.text.user() == record.user
            && self.line() == line_of(record)
    }

    /// Whether another session has the same identity.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        self.place == other.place
            && self.text.session() == other.text.session()
            && self.text.user() == other.text.user()
            && self.line() == other.line()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    pub(crate) fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    pub(crate) fn trail_bytes(&self) -> usize {
        self.trail.as_ref().map_or(0, |trail| trail.bytes())
    }

    pub(crate) fn nas_port(&self) -> Option<u32> {
        self.has(PORT).then_some(self.port)
    }

    /// Takes the first report of all.
    pub(crate) fn take_first(&mut self, report: &Report) -> Taken {
        self.started = report.started();
        self.start = short(report.begin().unwrap_or(report.when));
        self.updated = self.started;
        self.last = self.start;
        let taken = self.take(report, None, true);
        self.since = short(report.now);
        let outcome = if report.status == Status::Stop { Outcome::Closed } else { Outcome::Opened };
        let gain = Gain { from: self.started, sessions: 1, ..taken.gain };
        Taken { outcome, gain }
    }

    /// Takes a report. `down` is when its box was last said to begin or end; `alone` whether no
    /// later session is known that has its identity, or none that the report doesn't disprove.
    pub(crate) fn take(&mut self, report: &Report, down: Option<i64>, alone: bool) -> Taken {
        let newer = report.when > i64::from(self.last);
        let before = (self.octets_in, self.octets_out, self.seconds);
        let from = self.updated;
        self.doubts = self.doubts | report.doubts;
        let known = report.status == Status::Start && self.has(STARTED)
            || report.status != Status::Start && self.says_nothing_new(report);
        self.learn_start(report);
        if report.status == Status::Start {
            self.marks |= STARTED | KNOWN;
            self.marks = if report.exact { self.marks & !GUESSED } else { self.marks | GUESSED };
            if !self.has(UPDATED) {
                (self.last, self.updated) = (self.start, self.started);
            }
        } else {
            self.learn_interval(report);
            self.marks |= UPDATED;
            // A stop that is sent again, without saying so, is no later end.
            let again = self.state == State::Stopped
                && report.status == Status::Stop
                && (report.seconds.is_some() || self.counts_as(report));
            if newer && !again {
                self.last = short(report.when);
                // A wall clock that was put back makes nothing earlier than what was told: whoever has the row with the
                // later time would take no end from before it.
                self.updated = self.updated.max(report.at);
            }
        }
        if self.is_open() && (newer || !self.has(UPDATED)) {
            self.since = short(report.now);
        }
        self.count(report);
        let gain = Gain {
            from,
            to: report.at,
            octets_in: self.octets_in - before.0,
            octets_out: self.octets_out - before.1,
            seconds: self.seconds - before.2,
            sessions: 0,
        };
        let known = known && gain.is_empty();
        let outcome = self.change(report, down, newer, alone, known);
        if !matches!(self.state, State::Open | State::Stopped) {
            // Whatever closed it, it went on for at least as long.
            self.ended = self.ended.max(self.updated);
        }
        Taken { outcome, gain }
    }

    /// Takes it for a session that begins to count.
    pub(crate) fn confirm(&mut self) {
        self.marks &= !CLAIM;
        self.state = State::Open;
        self.doubts = self.doubts | Doubts::REUSED;
    }

    /// Whether a report of the same counters and session time was taken.
    fn says_nothing_new(&self, report: &Report) -> bool {
        let same_time = match report.seconds {
            Some(seconds) => seconds == self.seconds,
            None => (report.when - i64::from(self.last)).abs() <= SLACK,
        };
        self.has(UPDATED) && same_time && self.counts_as(report)
    }

    /// Whether a report has the counters that are known.
    pub(crate) fn counts_as(&self, report: &Report) -> bool {
        let same = |octets: Octets, known: u64| {
            octets.gigawords.is_none_or(|high| u64::from(high) == known >> 32)
                && octets.low.unwrap_or(0) == known as u32
        };
        same(report.octets_in, self.octets_in) && same(report.octets_out, self.octets_out)
    }

    /// A Start tells it best: of several, the first. Without one it is the earliest estimate.
    fn learn_start(&mut self, report: &Report) {
        let begin = report.begin();
        let earlier = begin.unwrap_or(report.when) < i64::from(self.start);
        let better = match (report.status, begin) {
            // Of a session that was known by its updates alone, one that came late from a NAS that
            // doesn't say so may seem to be later than they are: then it tells less than they do.
            (Status::Start, _) => {
                let first = self.has(KNOWN) && !self.has(STARTED);
                let believed = report.exact && self.state != State::Stopped;
                first && (believed || report.when <= i64::from(self.last)) || earlier
            }
            _ if self.has(STARTED) => false,
            (_, Some(_)) => !self.has(KNOWN) || earlier,
            (_, None) => !self.has(KNOWN) && earlier,
        };
        if report.status == Status::Start && !self.has(STARTED) && !report.doubts.has(Doubts::CLOCK)
        {
            self.stamp = report.stamp;
        }
        if better {
            self.start = short(begin.unwrap_or(report.when));
            self.started = report.started();
            self.marks |= if begin.is_some() { KNOWN } else { 0 };
        }
        let fits =
            begin.is_none_or(|begin| (begin - i64::from(self.start)).abs() <= report.tolerance);
        if self.has(KNOWN) && !fits {
            self.doubts = self.doubts | Doubts::SESSION_TIME;
        }
    }

    /// The longest gap between updates; one that is much longer than those before it was a loss.
    fn learn_interval(&mut self, report: &Report) {
        let gap = report.when - i64::from(self.last);
        if report.status != Status::Interim || !self.is_open() || !(30..=86_400).contains(&gap) {
            return;
        }
        let gap = gap as u32;
        self.interval = match self.interval {
            0 if self.has(STARTED | UPDATED) => gap,
            0 => 0,
            known => known.max(gap.min(2 * known)),
        };
    }

    /// Counters only grow.
    fn count(&mut self, report: &Report) {
        if let Some(seconds) = report.seconds.filter(|_| report.status != Status::Start) {
            self.marks |= TIMED;
            self.seconds = self.seconds.max(seconds);
        }
        if !self.has(TIMED) && self.has(UPDATED) {
            // Without its Start, from the first that was heard of it.
            let passed = i64::from(self.last) - i64::from(self.start);
            self.seconds = self.seconds.max(u32::try_from(passed).unwrap_or(0));
        }
        if report.status == Status::Start {
            return;
        }
        self.packets_in = self.packets_in.max(report.packets_in);
        self.packets_out = self.packets_out.max(report.packets_out);
        let (octets_in, octets_out) = (report.octets_in, report.octets_out);
        if octets_in.gigawords.is_some() || octets_out.gigawords.is_some() {
            self.marks |= GIGAWORDS;
            self.trail = None;
        }
        self.octets_in = self.octets_in.max(octets_in.total().unwrap_or(0));
        self.octets_out = self.octets_out.max(octets_out.total().unwrap_or(0));
        let told = octets_in.low.is_some() || octets_out.low.is_some();
        if self.has(GIGAWORDS) || !told {
            return;
        }
        let start = self.start;
        let trail = self.trail.get_or_insert_with(|| Box::new(Trail::new(start)));
        let low = (octets_in.low.unwrap_or(0), octets_out.low.unwrap_or(0));
        let fits = |seconds| trail.fits(report.when, seconds, report.tolerance);
        // Session time that jumped may be another session's: its counters tell of no round.
        if report.seconds.is_none_or(fits) {
            trail.take(report.when, report.seconds, low);
        }
        let (total_in, total_out) = trail.totals();
        if total_in.max(total_out) > u64::from(u32::MAX) {
            self.doubts = self.doubts | Doubts::WRAPPED;
        }
        self.octets_in = self.octets_in.max(total_in);
        self.octets_out = self.octets_out.max(total_out);
    }

    /// Opens or closes it, as the report says.
    fn change(
        &mut self,
        report: &Report,
        down: Option<i64>,
        newer: bool,
        alone: bool,
        known: bool,
    ) -> Outcome {
        let opens = newer && alone;
        let settled = if known { Outcome::Duplicate } else { Outcome::Late };
        // One that lies long before what is known of it, without session time, is another
        // session's, which nothing told apart from this one.
        let is_midway = report.status == Status::Stop
            && report.seconds.is_none()
            && i64::from(self.last) > report.when + report.tolerance;
        if is_midway {
            return settled;
        }
        match (report.status, self.state) {
            (Status::Stop, State::Stopped) => {
                let seconds = report.seconds.unwrap_or(0);
                if seconds > self.stop_seconds {
                    self.stop(report);
                } else if seconds == self.stop_seconds {
                    self.ended = self.ended.min(report.at);
                }
                settled
            }
            (Status::Stop, _) => {
                self.stop(report);
                Outcome::Closed
            }
            (_, State::Open) if known => Outcome::Duplicate,
            (Status::Start, State::Open) => Outcome::Updated,
            (_, State::Open) if newer => Outcome::Updated,
            (Status::Interim, State::Stopped) if newer => {
                self.doubts = self.doubts | Doubts::AFTER_STOP;
                settled
            }
            (Status::Interim, State::Lost | State::Superseded) if opens => self.reopen(report),
            (Status::Interim, State::Rebooted)
                if opens && down.is_none_or(|down| report.when > down + SLACK) =>
            {
                self.reopen(report)
            }
            _ => settled,
        }
    }

    fn stop(&mut self, report: &Report) {
        if i64::from(self.last) > report.when + SLACK {
            self.doubts = self.doubts | Doubts::AFTER_STOP;
        }
        self.state = State::Stopped;
        self.stop_seconds = report.seconds.unwrap_or(0);
        self.ended = report.at;
        self.cause = report.cause;
    }

    fn reopen(&mut self, report: &Report) -> Outcome {
        self.state = State::Open;
        self.since = short(report.now);
        Outcome::Reopened
    }
}
