//! A part of the sessions while it is changed.

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering;

use super::index::Handle;
use super::places::Place;
use super::shard::Shard;
use super::{
    Effect, MOST_ALIKE, MOST_ALIKE_UNWRITTEN, Outcome, Table, USERS, addresses, ends_with, unknown,
    view,
};
use crate::doubts::Doubts;
use crate::id::SessionId;
use crate::record::Record;
use crate::session::{CLAIM, Report, SLACK, Session, Taken, UPDATED, short};
use crate::text::Text;
use crate::usage::Gain;
use crate::view::{SessionView, State};

/// The part of a shard that is kept for NASes that have not half of all sessions: one of so many.
const RESERVE: usize = 8;

/// What a new session is found by.
#[derive(Clone, Copy)]
pub(super) struct Identity {
    pub(super) place: u32,
    pub(super) tag: u32,
    pub(super) newest: Option<u32>,
}

/// A shard whose lock is held, with the indices that must follow it.
pub(super) struct Locked<'t> {
    pub(super) table: &'t Table,
    pub(super) shard: &'t mut Shard,
    pub(super) number: usize,
}

impl Locked<'_> {
    /// Takes a record of a session that is not known.
    pub(super) fn open(
        &mut self,
        identity: Identity,
        record: &Record<'_>,
        report: &Report,
        place: &Place,
    ) -> Option<Effect> {
        let forgotten = report.when <= self.table.horizon.load(Ordering::Relaxed);
        if forgotten || report.delay > i64::from(self.table.settings.remember) {
            return Some(unknown(Outcome::Ancient, record, report));
        }
        if self.is_too_much(place) || !self.make_room(identity.newest, report.now) {
            self.table.refused.fetch_add(1, Ordering::Relaxed);
            return Some(unknown(Outcome::Full, record, report));
        }
        let is = |session: &Session| session.is(identity.place, record);
        let newest = self.shard.newest(identity.tag, is);
        let (session, taken) = self.session_of(Identity { newest, ..identity }, record, report)?;
        let Taken { mut outcome, mut gain } = taken;
        let slot = self.shard.insert(newest, session);
        let later = if newest.is_some() { self.later_than(slot) } else { Vec::new() };
        let all_may_be_claims = !record.session.is_empty()
            && later.iter().all(|&later| {
                let later = self.shard.session(later);
                later.is_some_and(|later| !later.has(UPDATED) && !later.differs(record))
            });

        let session = self.shard.session_mut(slot)?;
        if session.is_open() {
            let rebooted =
                place.down().is_some_and(|down| ends_with(true, session.last.into(), down));
            // Of sessions with one identity only the newest can be open.
            if rebooted || !all_may_be_claims && !later.is_empty() {
                session.state = if later.is_empty() { State::Rebooted } else { State::Superseded };
                session.ended = session.updated;
                outcome = Outcome::Late;
            }
        }
        let lasts = matches!(session.state, State::Open | State::Stopped);
        let is_open = session.is_open();
        self.shard.list(slot);

        let mut closes = Vec::new();
        if lasts {
            for later in later {
                closes.extend(self.give_way(later, slot, report, &mut gain));
            }
        }
        let is_newest = |shard: &Self| {
            let mut later = shard.later_than(slot).into_iter();
            later.all(|later| shard.shard.session(later).is_some_and(Session::is_claim))
        };
        if newest.is_some() && is_newest(self) {
            for other in self.open_beside(slot) {
                closes.extend(self.close(other, State::Superseded, None, report.now));
            }
        }
        if is_open {
            self.show(slot, place);
        }
        let effect = self.effect(slot, outcome, report)?;
        Some(Effect { gain, closes, ..effect })
    }

    /// What becomes of a session of which nothing but a Start was heard, if one turns up that began
    /// before it: if its Start lies within the life of that, it never was one; and it is a claim
    /// unless that ended before. It was counted instead of the one that turned up.
    fn give_way(
        &mut self,
        later: u32,
        slot: u32,
        report: &Report,
        gain: &mut Gain,
    ) -> Option<SessionView> {
        let (session, new) = (self.shard.session(later)?, self.shard.session(slot)?);
        let disproved = session.is_disproved_by(new);
        let stays = !new.is_open() && session.began_since(report.when, report.tolerance);
        if session.has(UPDATED) || !disproved && stays {
            return None;
        }
        if !session.has(CLAIM) {
            gain.sessions = 0;
        }
        let closed = self.close(later, State::Superseded, None, report.now);
        if disproved {
            self.shard.remove(later);
        } else if let Some(session) = self.shard.session_mut(later) {
            session.marks |= CLAIM;
        }
        closed
    }

    /// Takes a record of a session that is known. `newest` is that of its identity.
    pub(super) fn update(
        &mut self,
        slot: u32,
        newest: u32,
        record: &Record<'_>,
        report: &Report,
        place: &Place,
    ) -> Option<Effect> {
        let later = self.shard.chain(newest).map(|(at, _)| at).take_while(|&at| at != slot);
        let later: Vec<u32> = later.collect();
        let alone = later.iter().all(|&later| {
            self.shard.session(later).is_some_and(|later| {
                let before = i64::from(later.start) + SLACK < report.when;
                later.is_claim() || !later.has(UPDATED) && before
            })
        });
        let session = self.shard.session_mut(slot)?;
        let (text, address) = news(session, record, report.when > i64::from(session.last));
        let moves = text.is_some() || address.is_some();
        let (was, trail, counted) = (session.state, session.trail_bytes(), !session.has(CLAIM));
        if !counted {
            session.confirm();
        }
        let Taken { mut outcome, mut gain } = session.take(report, place.down(), alone);
        if !counted {
            gain.sessions = 1;
            let down = place.down();
            if session.is_open()
                && down.is_some_and(|down| ends_with(true, session.last.into(), down))
            {
                session.state = State::Rebooted;
                session.ended = session.updated;
                outcome = Outcome::Late;
            } else if outcome != Outcome::Closed {
                outcome = Outcome::Opened;
            }
        }
        let is = session.state;
        if is != was && is != State::Open {
            session.since = short(report.now);
        }
        let trail_now = session.trail_bytes();
        self.shard.trail_changed(trail, trail_now);
        if was == State::Open && (is != State::Open || moves) {
            self.hide(slot, place);
        }
        if is != was {
            self.shard.unlist(slot, was);
            self.shard.list(slot);
        }

        // A Start within its life did not begin another session.
        let mut closes = Vec::new();
        let had_later = !later.is_empty();
        for later in later {
            let disproved = self.shard.session(later)?.is_disproved_by(self.shard.session(slot)?);
            if disproved {
                closes.extend(self.close(later, State::Superseded, None, report.now));
                self.shard.remove(later);
            }
        }
        if had_later && is == State::Stopped && was != State::Stopped {
            self.admit(slot, report, place);
        }
        if is == State::Open && was != State::Open || !counted {
            for other in self.open_beside(slot) {
                closes.extend(self.close(other, State::Superseded, None, report.now));
            }
        }
        self.set(slot, text, address);
        if is == State::Open && (was != State::Open || moves) {
            self.show(slot, place);
        }
        let effect = self.effect(slot, outcome, report)?;
        Some(Effect { gain, closes, ..effect })
    }

    /// Takes a Start that may be of the open session in a slot, or begin another one.
    pub(super) fn claim(
        &mut self,
        slot: u32,
        record: &Record<'_>,
        report: &Report,
        place: &Place,
    ) -> Option<Effect> {
        let newer = report.when > i64::from(self.shard.session(slot)?.last);
        self.learn(slot, record, report, newer, place);
        let session = self.shard.session_mut(slot)?;
        session.since = short(report.now);
        let (place_number, tag) = (session.place, session.tag);
        // One is enough: a NAS that sends many Starts costs no more memory than that.
        for later in self.later_than(slot) {
            if self.shard.session(later).is_some_and(Session::is_claim) {
                self.shard.remove(later);
            }
        }
        let newest = self.newest_of(slot);
        let held = self.shard.held() < self.table.most_in_shard();
        let few = newest.is_some_and(|newest| self.shard.chain(newest).count() < MOST_ALIKE);
        if held && few {
            let identity = Identity { place: place_number, tag, newest };
            let (mut session, _) = self.session_of(identity, record, report)?;
            session.marks |= CLAIM;
            session.state = State::Superseded;
            session.ended = session.updated;
            let claim = self.shard.insert(newest, session);
            self.shard.list(claim);
        }
        self.effect(slot, Outcome::Updated, report)
    }

    /// Opens the claim beside a session that ended with a report, if it began since.
    pub(super) fn admit(&mut self, slot: u32, report: &Report, place: &Place) {
        if !self.open_beside(slot).is_empty() {
            return;
        }
        let began_since = |slot: &u32| {
            self.shard.session(*slot).is_some_and(|session| {
                session.is_claim()
                    && session.began_since(report.when, report.tolerance)
                    && !place.down().is_some_and(|down| ends_with(true, session.last.into(), down))
            })
        };
        let Some(claim) = self.later_than(slot).into_iter().find(began_since) else { return };
        let Some(session) = self.shard.session_mut(claim) else { return };
        session.state = State::Open;
        session.since = short(report.now);
        self.shard.unlist(claim, State::Superseded);
        self.shard.list(claim);
        self.show(claim, place);
    }

    /// A session with the first record that is known of it.
    fn session_of(
        &self,
        identity: Identity,
        record: &Record<'_>,
        report: &Report,
    ) -> Option<(Session, Taken)> {
        let Identity { place, tag, newest } = identity;
        let is_taken = |id: &SessionId| {
            newest.is_some_and(|newest| self.shard.chain(newest).any(|(_, known)| known.id == *id))
        };
        let is_other = |id: &SessionId| self.shard.forgotten.is_of_another(id, report);
        let mut names = (0..).map(|choice| SessionId::named(record, report.started(), choice));
        let first = names.next()?;
        let again = is_other(&first);
        let id = if again || is_taken(&first) {
            names.find(|id| !is_taken(id) && !is_other(id))?
        } else {
            first
        };
        let mut session = Session::blank(id, record, place, tag);
        let taken = session.take_first(report);
        session.address = record.framed_address.map_or(0, Ipv4Addr::to_bits);
        if newest.is_some() || again {
            session.doubts = session.doubts | Doubts::REUSED;
        }
        Some((session, taken))
    }

    /// What a record adds to a session beside its figures.
    pub(super) fn learn(
        &mut self,
        slot: u32,
        record: &Record<'_>,
        report: &Report,
        newer: bool,
        place: &Place,
    ) {
        let Some(session) = self.shard.session_mut(slot) else { return };
        session.doubts = session.doubts | report.doubts;
        let (text, address) = news(session, record, newer);
        let moves = session.is_open() && (text.is_some() || address.is_some());
        if moves {
            self.hide(slot, place);
        }
        self.set(slot, text, address);
        if moves {
            self.show(slot, place);
        }
    }

    /// Changes what a session is found by, while it can't be found.
    fn set(&mut self, slot: u32, text: Option<Text>, address: Option<u32>) {
        if let Some(address) = address
            && let Some(session) = self.shard.session_mut(slot)
        {
            session.address = address;
        }
        if let Some(text) = text {
            self.shard.set_text(slot, text);
        }
    }

    /// What a record did that added nothing.
    pub(super) fn effect(&self, slot: u32, outcome: Outcome, report: &Report) -> Option<Effect> {
        let session = Some(self.shard.session(slot)?.standing());
        Some(Effect { session, ..Effect::without_session(outcome, report.doubts) })
    }

    /// The newest session that has the identity of the one in a slot.
    fn newest_of(&self, slot: u32) -> Option<u32> {
        let session = self.shard.session(slot)?;
        self.shard.newest(session.tag, |known| known.is_as(session))
    }

    /// Sessions that have the identity of the one in a slot and began later, the newest first.
    fn later_than(&self, slot: u32) -> Vec<u32> {
        let Some(newest) = self.newest_of(slot) else { return Vec::new() };
        let chain = self.shard.chain(newest).map(|(at, _)| at);
        chain.take_while(|&at| at != slot).collect()
    }

    /// Open sessions that have the identity of the one in a slot, itself left out.
    pub(super) fn open_beside(&self, slot: u32) -> Vec<u32> {
        let Some(newest) = self.newest_of(slot) else { return Vec::new() };
        let others =
            self.shard.chain(newest).filter(|&(at, session)| at != slot && session.is_open());
        others.map(|(at, _)| at).collect()
    }

    /// Closes a session, if it is open.
    pub(super) fn close(
        &mut self,
        slot: u32,
        state: State,
        ended: Option<u32>,
        now: i64,
    ) -> Option<SessionView> {
        let session = self.shard.session(slot).filter(|session| session.is_open())?;
        let place = self.table.places.at(session.place)?;
        self.hide(slot, &place);
        let session = self.shard.session_mut(slot)?;
        session.state = state;
        session.ended = ended.unwrap_or(0).max(session.updated);
        session.since = short(now);
        let view = view(session, &place, now);
        self.shard.unlist(slot, State::Open);
        self.shard.list(slot);
        Some(view)
    }

    /// Whether a box's NAS has more than half of all sessions that there can be, while little is left: that is for the others, of
    /// which some are honest.
    fn is_too_much(&self, place: &Place) -> bool {
        let most = self.table.most_in_shard();
        let is_crowded = self.shard.open() >= most - most / RESERVE;
        is_crowded
            && place.open_of_nas() > self.table.settings.most_sessions / 2
            && self.table.places.of_several()
    }

    /// Makes room for one more session; false if all that could go is open. `newest` is that of
    /// the new one's identity: of those, too, only so many are remembered.
    fn make_room(&mut self, newest: Option<u32>, now: i64) -> bool {
        let alike = newest.and_then(|newest| {
            let chain = self.shard.chain(newest);
            let closed = chain.clone().filter(|(_, session)| !session.is_open()).last();
            let (slot, oldest) = closed?;
            let is_unwritten = self.table.is_unwritten(oldest);
            let most = if is_unwritten { MOST_ALIKE_UNWRITTEN } else { MOST_ALIKE };
            (chain.count() >= most).then_some(slot)
        });
        if let Some(oldest) = alike {
            // No other identity is the worse for it: the horizon stays.
            self.forget_early(oldest, now);
        }
        while self.shard.held() >= self.table.most_in_shard() {
            let oldest = self.shard.oldest_closed(false).or(self.shard.oldest_closed(true));
            match oldest {
                Some(oldest) => {
                    // A claim is no session: it has no usage that could be counted again.
                    let last = self.forget_early(oldest, now).unwrap_or(i64::MIN);
                    self.table.horizon.fetch_max(last.min(now), Ordering::Relaxed);
                }
                None => return false,
            }
        }
        true
    }

    /// Forgets a session for lack of room; gives the latest moment that it is known of.
    fn forget_early(&mut self, slot: u32, now: i64) -> Option<i64> {
        let forgotten = self.shard.forget(slot, now).filter(|old| !old.is_claim());
        self.table.forgotten_early.fetch_add(1, Ordering::Relaxed);
        let forgotten = forgotten?;
        if self.table.is_unwritten(&forgotten) {
            self.table.forgotten_unwritten.fetch_add(1, Ordering::Relaxed);
        }
        Some(forgotten.last.into())
    }

    /// Enters a session that is open into the indices.
    pub(super) fn show(&self, slot: u32, place: &Place) {
        let Some(session) = self.shard.session(slot) else { return };
        let (table, handle) = (self.table, Handle::new(self.number, slot));
        place.opened();
        table.users.insert(table.hash(USERS, session.text.subject()), handle);
        for address in addresses(session) {
            table.addresses.insert(table.hash_address(address), handle);
            if let Some(length) = table.length(address) {
                length.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Takes it out of them.
    fn hide(&self, slot: u32, place: &Place) {
        let Some(session) = self.shard.session(slot) else { return };
        let (table, handle) = (self.table, Handle::new(self.number, slot));
        place.closed();
        table.users.remove(table.hash(USERS, session.text.subject()), handle);
        for address in addresses(session) {
            table.addresses.remove(table.hash_address(address), handle);
            if let Some(length) = table.length(address) {
                length.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

/// Texts and an address that a record adds to a session, if it does. A newer record's are better
/// than those there are, an older one's only fill gaps.
fn news(session: &Session, record: &Record<'_>, newer: bool) -> (Option<Text>, Option<u32>) {
    let address = record.framed_address.map(Ipv4Addr::to_bits);
    let better = |&address: &u32| address != session.address && (newer || session.address == 0);
    (session.text.with(record, newer), address.filter(better))
}
