//! Which of the sessions that had one identity a record is of.
//!
//! A NAS that lost its memory gives an id again, sometimes to the same user; and another NAS sends
//! a second Start in the middle of a session, when the user gets an address or logs in once more.
//! If the stop in between was lost, both look alike. Two mistakes are possible: to take one session
//! for two, which bills what its counters had reached twice, and to take two for one, which bills
//! the greater of both. So a Start alone proves no other session. It makes a *claim*: a session that
//! is closed, shown and counted nowhere, until a record proves that it is one, or that the session
//! before it went on.
//!
//! What proves another session, in the order of its weight:
//! - a stop or Accounting-On between the two;
//! - Acct-Session-Time, which tells when a record's session began;
//! - without it, counters that all lie below what they had reached, with a Start in between;
//! - another calling station, port or address in the Start than the session has. Such a Start opens a
//!   session at once; but without session time its usage goes on with the session before it as long
//!   as the counters do, unless the calling station is another.

use std::net::Ipv4Addr;

use crate::doubts::Doubts;
use crate::record::{Octets, Record, Status};
use crate::session::{CLAIM, GUESSED, KNOWN, Report, SLACK, STARTED, Session, TIMED, UPDATED};
use crate::table::Outcome;
use crate::text;
use crate::view::State;

/// What a record is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Choice {
    /// The session in this slot.
    Of(u32),
    /// It is a Start within the life of the session in this slot, which goes on whatever it means.
    Within(u32, Outcome),
    /// It is a Start after all that is known of the open session in this slot: either that goes on,
    /// or another began.
    Claim(u32),
    /// Another session, which is not known.
    Another,
}

/// Chooses among the sessions that have a record's identity; `chain` has the newest first. `down`
/// is when their box was last said to begin or end.
pub(crate) fn choose<'s>(
    chain: impl Iterator<Item = (u32, &'s Session)> + Clone,
    record: &Record<'_>,
    report: &Report,
    down: Option<i64>,
) -> Choice {
    let found = match report.begin() {
        Some(_) if report.status == Status::Start => {
            return choose_for_start(chain, record, report, down);
        }
        Some(begin) => choose_by_begin(chain, report, begin, down),
        None => choose_by_counters(chain, report, down),
    };
    found.map_or(Choice::Another, Choice::Of)
}

fn choose_for_start<'s>(
    chain: impl Iterator<Item = (u32, &'s Session)> + Clone,
    record: &Record<'_>,
    report: &Report,
    down: Option<i64>,
) -> Choice {
    let when = report.when;
    let outlived = chain.clone().find(|(_, session)| session.outlived(when));
    let same = chain.clone().filter(|(_, session)| session.began_with(report, down));
    // No session began while another one lived.
    let same = same.filter(|&(at, session)| {
        outlived.is_none_or(|(slot, _)| slot == at || i64::from(session.start) <= when)
    });
    if let Some((slot, session)) = same.min_by_key(|(_, session)| session.apart(when)) {
        if !session.is_claim() {
            return Choice::Of(slot);
        }
        let mut older = chain.skip_while(|&(at, _)| at != slot);
        // The one that it was a claim beside: what was given up unheard of is none.
        let holder = older.find(|(_, session)| !session.is_claim() && !session.is_void());
        return match holder {
            Some((holder, _)) => Choice::Within(holder, Outcome::Duplicate),
            None => Choice::Of(slot),
        };
    }
    if let Some((slot, _)) = outlived {
        return Choice::Within(slot, Outcome::Late);
    }
    let sessions = chain.clone().filter(|(_, session)| !session.is_claim() && !session.is_void());
    let before = sessions.clone().find(|(_, session)| i64::from(session.start) <= when);
    let after = sessions.take_while(|(_, session)| i64::from(session.start) > when).last();
    if let Some((slot, session)) = after
        && session.has(UPDATED)
        && !session.is_before(report, down)
        && !down.is_some_and(|down| session.came_after(when, down))
    {
        let ended = |(_, before): (u32, &Session)| {
            before.state == State::Stopped || before.is_before(report, down)
        };
        let late = !session.has(KNOWN)
            || before.is_none_or(ended)
                && session.may_have_begun(report)
                && !session.differs(record);
        if late {
            return Choice::Of(slot);
        }
    }
    let Some((slot, before)) = before else { return Choice::Another };
    let has_id = !record.session.is_empty();
    if before.state == State::Stopped {
        // A NAS that doesn't say when things happened may have repeated itself.
        let late = has_id && !report.exact && when <= i64::from(before.last) + report.tolerance;
        return if late { Choice::Within(slot, Outcome::Late) } else { Choice::Another };
    }
    if before.is_before(report, down) {
        return Choice::Another;
    }
    if chain.clone().any(|(_, session)| i64::from(session.start) > when) {
        return Choice::Within(slot, Outcome::Late);
    }
    // A NAS that sends no id has not said that it is the same session.
    if before.is_open() && has_id && !before.differs(record) {
        Choice::Claim(slot)
    } else {
        Choice::Another
    }
}

fn choose_by_begin<'s>(
    chain: impl Iterator<Item = (u32, &'s Session)> + Clone,
    report: &Report,
    begin: i64,
    down: Option<i64>,
) -> Option<u32> {
    let same = chain.clone().filter(|(_, session)| session.begins_as(report, down));
    // A stop that is sent again must not end the session whose Start lies behind it.
    let same = same.min_by_key(|(_, session)| {
        (session.is_claim(), !session.ended_with(report), session.apart(begin))
    });
    if let Some((slot, _)) = same {
        return Some(slot);
    }
    if let Some(slot) = living(chain.clone(), report) {
        return Some(slot);
    }
    // By what went on: the last that began before it. A Start of which nothing else was heard tells
    // nothing of a session that began before it.
    let mut earlier = chain.filter(|(_, session)| {
        let start = i64::from(session.start);
        let fits = session.has(UPDATED) || begin + report.tolerance >= start;
        start <= report.when && fits && !session.is_claim() && !session.is_void()
    });
    let (slot, session) = earlier.next()?;
    session.goes_on_with(report, begin, down).then_some(slot)
}

fn choose_by_counters<'s>(
    chain: impl Iterator<Item = (u32, &'s Session)> + Clone,
    report: &Report,
    down: Option<i64>,
) -> Option<u32> {
    if let Some(slot) = living(chain.clone(), report) {
        return Some(slot);
    }
    let began = |session: &Session| i64::from(session.start) <= report.when + report.margin();
    let mut before = chain.clone().filter(|(_, session)| began(session) && !session.is_void());
    match before.next() {
        Some((slot, latest)) if !latest.has(UPDATED) => {
            let older = before.find(|(_, session)| !session.is_claim());
            let older = older.filter(|(_, older)| older.goes_on_beyond(latest, report, down));
            return Some(older.map_or(slot, |(slot, _)| slot));
        }
        Some((slot, latest)) if latest.goes_on_without_time(report) => return Some(slot),
        _ => {}
    }
    // It happened before everything that is known of the next one. A stop ends what was before; an
    // update may be of the same session, if that began before its Start and nothing speaks against.
    if report.status == Status::Stop {
        return None;
    }
    let later =
        chain.filter(|(_, session)| !began(session) && !session.is_claim() && !session.is_void());
    let (slot, session) = later.last()?;
    let same = session.has(UPDATED)
        && !session.is_below(report)
        && !down.is_some_and(|down| session.came_after(report.when, down));
    same.then_some(slot)
}

/// The session that lived when something happened: no two of one identity live at a time.
fn living<'s>(chain: impl Iterator<Item = (u32, &'s Session)>, report: &Report) -> Option<u32> {
    let alive = chain.filter(|(_, session)| session.lived_at(report));
    let nearest =
        alive.min_by_key(|(_, session)| (session.outside(report.when), !session.counts_as(report)));
    nearest.map(|(slot, _)| slot)
}

impl Session {
    /// Whether nothing but a Start within another's life tells of it.
    pub(crate) fn is_claim(&self) -> bool {
        self.has(CLAIM) && !self.is_open()
    }

    /// Whether it is in a state that a session can have which is not counted yet.
    pub(crate) fn can_be_claim(&self) -> bool {
        let bare = self.has(STARTED) && !self.has(UPDATED);
        bare && matches!(self.state, State::Open | State::Superseded)
    }

    /// Whether its Start, as far as is known, was sent after a moment.
    pub(crate) fn began_since(&self, moment: i64, tolerance: i64) -> bool {
        let start = i64::from(self.start);
        if self.has(GUESSED) { start > moment + tolerance } else { start + SLACK >= moment }
    }

    /// Whether it was given up before anything but its Start was heard of it.
    fn is_void(&self) -> bool {
        self.state == State::Superseded && !self.has(UPDATED | CLAIM)
    }

    /// Whether its Start is within what is known of the life of another, so that it never was.
    pub(crate) fn is_disproved_by(&self, other: &Self) -> bool {
        !self.has(UPDATED) && i64::from(self.start) + SLACK < i64::from(other.last)
    }

    /// Whether a Start tells of another line or address than the session has.
    pub(crate) fn differs(&self, record: &Record<'_>) -> bool {
        fn differ<T: PartialEq>(known: Option<T>, told: Option<T>) -> bool {
            known.is_some() && told.is_some() && known != told
        }
        let part = |kind| self.text.part(kind);
        let address = Some(self.address).filter(|&address| address != 0);
        differ(part(text::CALLING), record.calling)
            || differ(part(text::PORT_ID), record.nas_port_id)
            || differ(self.nas_port(), record.nas_port)
            || differ(address, record.framed_address.map(Ipv4Addr::to_bits))
            || differ(self.text.prefix(text::PREFIX), record.framed_prefix)
            || differ(self.text.prefix(text::DELEGATED), record.delegated_prefix)
            || differ(self.text.address6(), record.framed_address6)
    }

    /// Seconds from its beginning to a moment.
    fn apart(&self, moment: i64) -> i64 {
        (moment - i64::from(self.start)).abs()
    }

    /// Seconds from what is known of its life to a moment.
    fn outside(&self, moment: i64) -> i64 {
        (i64::from(self.start) - moment).max(moment - i64::from(self.last)).max(0)
    }

    /// Whether it was alive at a moment, and went on.
    fn outlived(&self, moment: i64) -> bool {
        let (start, last) = (i64::from(self.start), i64::from(self.last));
        self.has(UPDATED) && start <= moment && moment + SLACK < last
    }

    /// Whether its box began or ended after a moment and before it began.
    fn came_after(&self, moment: i64, down: i64) -> bool {
        moment + SLACK < down && down < i64::from(self.start) + SLACK
    }

    /// Whether a Start is the one that it began with.
    fn began_with(&self, report: &Report, down: Option<i64>) -> bool {
        if self.has(STARTED) && self.stamp != 0 && self.stamp == report.stamp {
            return true;
        }
        if self.is_before(report, down) {
            return false;
        }
        let apart = self.apart(report.when);
        if self.has(KNOWN) {
            return apart <= report.tolerance.max(i64::from(self.seconds / 4_096));
        }
        apart <= SLACK
            || !report.exact && self.outside(report.when) <= SLACK && apart <= report.tolerance
    }

    /// Whether it may have begun with a Start, although another one is known of it: its session
    /// time says so, or it has none.
    fn may_have_begun(&self, report: &Report) -> bool {
        let begin = i64::from(self.last) - i64::from(self.seconds);
        !self.has(TIMED) || (begin - report.when).abs() <= report.tolerance
    }

    /// Whether a report's session began where it did.
    fn begins_as(&self, report: &Report, down: Option<i64>) -> bool {
        self.has(KNOWN)
            && report.begin().is_some_and(|begin| self.apart(begin) <= report.tolerance)
            && !self.is_before(report, down)
    }

    /// Whether a report is the stop that it ended with.
    fn ended_with(&self, report: &Report) -> bool {
        self.state == State::Stopped
            && report.status == Status::Stop
            && report.seconds == Some(self.stop_seconds)
            && (report.when - i64::from(self.last)).abs() <= SLACK
    }

    /// Whether it must have ended before the session of a report began: the box began anew in
    /// between, or it was stopped, and the report's times are no guesses.
    fn is_before(&self, report: &Report, down: Option<i64>) -> bool {
        let Some(begin) = report.begin() else { return false };
        let (start, last) = (i64::from(self.start), i64::from(self.last));
        let rebooted =
            down.is_some_and(|down| start.max(last) + SLACK < down && begin > down - SLACK);
        let stopped = self.state == State::Stopped
            && report.exact
            && begin > last + SLACK
            && report.when > last + SLACK;
        rebooted || stopped
    }

    /// Whether a report's event happened during its life, as far as that is known.
    fn lived_at(&self, report: &Report) -> bool {
        let (start, when) = (i64::from(self.start), report.when);
        if !self.has(UPDATED) || when > i64::from(self.last) + SLACK {
            return false;
        }
        if when + report.margin() >= start {
            return true;
        }
        // Before what is known of its life: it may have begun earlier.
        let begin_fits = !self.has(KNOWN) || start - report.tolerance <= when;
        begin_fits
            && match report.begin() {
                Some(begin) => begin + report.tolerance >= start || !self.tells_its_time(),
                None => report.status == Status::Interim && !self.is_below(report),
            }
    }

    /// Whether its session times agree with each other and with its Start.
    fn tells_its_time(&self) -> bool {
        self.has(TIMED) && !self.doubts.has(Doubts::SESSION_TIME)
    }

    /// Whether a report with session time, that came after all that is known of it, goes on with
    /// it, rather than being of a session that was given the same identity since.
    fn goes_on_with(&self, report: &Report, begin: i64, down: Option<i64>) -> bool {
        let last = i64::from(self.last);
        if down.is_some_and(|down| last + SLACK < down && begin > down - SLACK) {
            return false;
        }
        if begin + report.tolerance < last {
            // It says that it began while this one lived: its session time is wrong.
            return true;
        }
        match self.state {
            State::Stopped => {
                let again = report.seconds == Some(self.seconds) && self.counts_as(report);
                // What a NAS sends again without saying so seems to be later than it is.
                let soon = !report.exact && report.when <= last + report.tolerance;
                again || soon && report.seconds <= Some(self.stop_seconds)
            }
            // If no usage is known of it, none can be counted twice.
            _ => self.has(UPDATED) && !self.restarted(report),
        }
    }

    /// The same of a report without session time, if no Start was heard since.
    fn goes_on_without_time(&self, report: &Report) -> bool {
        let counts = report.octets_in.total().max(report.octets_out.total()).unwrap_or(0) > 0;
        let again = self.counts_as(report) && (counts || report.status == Status::Stop);
        let soon = report.when <= i64::from(self.last) + report.tolerance;
        self.state != State::Stopped || again || soon
    }

    /// Whether a report without session time goes on with it, although a later Start was heard.
    fn goes_on_beyond(&self, later: &Self, report: &Report, down: Option<i64>) -> bool {
        let (start, last) = (i64::from(later.start), i64::from(self.last));
        let calling = (self.text.part(text::CALLING), later.text.part(text::CALLING));
        let other_station = matches!(calling, (Some(this), Some(other)) if this != other);
        let rebooted = down.is_some_and(|down| last + SLACK < down && start > down - SLACK);
        let is_since = report.exact || report.when - report.tolerance > start;
        self.state != State::Stopped
            && (self.has(UPDATED) || later.has(CLAIM))
            && !other_station
            && !rebooted
            && !(is_since && self.fell(report))
    }

    /// Whether a report's counters and its session time all began anew. Once session times were
    /// told that don't fit, they prove nothing.
    fn restarted(&self, report: &Report) -> bool {
        self.tells_its_time()
            && report.seconds.is_some_and(|seconds| seconds < self.seconds)
            && report.octets_in.total().unwrap_or(0) <= self.octets_in
            && report.octets_out.total().unwrap_or(0) <= self.octets_out
    }

    /// Whether a report's counters all lie below what they were.
    fn fell(&self, report: &Report) -> bool {
        self.compared(report).is_some_and(|counters| {
            counters.iter().all(|&(known, told)| told < known || told == 0 && known == 0)
                && counters.iter().any(|&(known, told)| told < known)
        })
    }

    /// Whether a report that happened before all that is known of it has counters that it has not
    /// reached: they are another session's. Counters of 32 bits may have gone round since.
    fn is_below(&self, report: &Report) -> bool {
        self.trail.is_none()
            && self
                .compared(report)
                .is_some_and(|counters| counters.iter().any(|&(known, told)| told > known))
    }

    /// For each direction the counter that is known and the one that a report tells, in terms in
    /// which they can be compared; none if the report lacks one that is known.
    fn compared(&self, report: &Report) -> Option<[(u64, u64); 2]> {
        let low = report.octets_in.gigawords.is_none() && report.octets_out.gigawords.is_none();
        let latest = self.trail.as_ref().and_then(|trail| trail.latest()).filter(|_| low);
        let known = match latest {
            Some(point) => [point.octets_in.into(), point.octets_out.into()],
            None => [self.octets_in, self.octets_out],
        };
        let [known_in, known_out] = known;
        let pair = |known: u64, octets: Octets| match octets.total() {
            Some(told) => Some((known, told)),
            None => (known == 0).then_some((0, 0)),
        };
        Some([pair(known_in, report.octets_in)?, pair(known_out, report.octets_out)?])
    }
}
