//! What a subscriber has open by the accounting, here and at other servers, and what of his use is not off his credit.

use std::sync::Arc;

use ipnet::Ipv6Net;
use muralla_radius_accounting::{SessionId, SessionView};
use muralla_radius_policy::names::LONGEST_NAME;
use muralla_radius_policy::{Holder, Sessions, Used};
use muralla_radius_state::{Assigned, Charged, Elsewhere, Spot};

use crate::desk::{Desk, Wall};

/// Sessions of one user that are looked at one by one, to find the one on the same line.
const MOST_SESSIONS: usize = 64;

/// See the module.
pub(crate) struct OpenSessions<'a> {
    desk: &'a Desk,
    wall: Wall,
}

impl<'a> OpenSessions<'a> {
    /// As of now.
    pub(crate) fn new(desk: &'a Desk, wall: Wall) -> Self {
        Self { desk, wall }
    }

    /// Those of a subscriber that the table has open.
    fn here(&self, key: &[u8]) -> Vec<SessionView> {
        let sessions = &self.desk.sessions;
        match sessions.open_of(key) {
            0 => Vec::new(),
            _ => sessions.sessions_of(key, MOST_SESSIONS, self.wall.moment()),
        }
    }

    /// Whether a session should have been heard of since.
    fn is_overdue(&self, session: &SessionView) -> bool {
        let told = self.desk.sessions.settings().interim;
        // While nobody listened here, it may have spoken.
        let listening = u32::try_from(self.desk.begun().elapsed().as_secs()).unwrap_or(u32::MAX);
        missed(session.interval.max(told), session.quiet.min(listening))
    }

    /// What a subscriber has on a line already, by a session of which no end was told.
    pub(crate) fn has(&self, key: &[u8], holder: &Holder<'_>) -> Vec<Assigned> {
        let elsewhere = self.desk.others.known();
        let spots = self.desk.pending.spots();
        let login = spots.of_login(holder);
        let here = self.here(key);
        let on_the_line = here.iter().filter(|session| {
            spots.of_view(session).is_same_line(&login) && !elsewhere.is_closed(session.id)
        });
        let of = |session: &SessionView| {
            let prefixes = [session.framed_prefix, session.delegated_prefix].into_iter().flatten();
            let prefixes = prefixes.filter_map(|prefix| {
                Ipv6Net::new(prefix.address(), prefix.length()).ok().map(Assigned::V6)
            });
            let address = session.framed_address.map(Assigned::V4);
            address.into_iter().chain(prefixes).collect::<Vec<_>>()
        };
        on_the_line.flat_map(of).collect()
    }
}

impl Sessions for OpenSessions<'_> {
    fn open(&self, holder: &Holder<'_>) -> usize {
        let Desk { base, sessions, pending, others, .. } = self.desk;
        let mut spelling = [0; LONGEST_NAME];
        let name = holder.user.as_bytes();
        let key = base.key(name, &mut spelling).unwrap_or(name);
        let spots = pending.spots();
        let login = spots.of_login(holder);
        // Before the table is looked at: what leaves here is there.
        let on_the_way = pending.of(key);
        let here = self.here(key);
        // Of one look, if they were all seen: one that ends in between is not to be counted and then not found.
        let count = if here.len() < MOST_SESSIONS { here.len() } else { sessions.open_of(key) };
        let elsewhere = others.known();
        let mut known: Vec<Spot> = here.iter().map(|session| spots.of_view(session)).collect();
        let is_over = |spot: &Spot| spot.is_same_line(&login) || on_the_way.ends(spot);
        // Of a NAS that failed over, the end may have been told to another server.
        let over = here
            .iter()
            .zip(&known)
            .filter(|(session, spot)| {
                elsewhere.is_closed(session.id)
                    || is_over(spot)
                    || (spot.is_same_caller(&login) && self.is_overdue(session))
            })
            .count();
        let mut there =
            str::from_utf8(key).map_or_else(|_| Vec::new(), |key| elsewhere.open_of(key));
        there.retain(|open| !here.iter().any(|session| session.id == open.id));
        known.extend(there.iter().map(|open| open.spot));
        let elsewhere = there.iter().filter(|open| !is_over(&open.spot)).count();
        count.saturating_sub(over) + elsewhere + on_the_way.begun(&known, &login)
    }

    fn uncharged(&self, holder: &Holder<'_>) -> Used {
        let Desk { base, others, spent, .. } = self.desk;
        let mut spelling = [0; LONGEST_NAME];
        let name = holder.user.as_bytes();
        let key = base.key(name, &mut spelling).unwrap_or(name);
        let has_charges = others.has_charges();
        let elsewhere: Arc<Elsewhere> = others.known();
        let user = str::from_utf8(key).unwrap_or_default();
        let (charged, there) = (elsewhere.charged_of(user), elsewhere.open_of(user));
        let spots = self.desk.pending.spots();
        let login = spots.of_login(holder);
        // One that ends meanwhile is in both, and counts as open.
        let here = self.here(key);
        let ended = spent.of(key);
        let off = |id: SessionId| charged.iter().find(|charged| charged.id == id).map(off);
        let mut used = Used::default();
        let mut add = |more: Used| {
            used.seconds = used.seconds.saturating_add(more.seconds);
            used.octets = used.octets.saturating_add(more.octets);
        };
        for session in here.iter().filter(|session| !elsewhere.is_closed(session.id)) {
            let octets = session.octets_in.saturating_add(session.octets_out);
            let total = Used { seconds: session.seconds.into(), octets };
            // If nobody knows what is off, all is: else a user with a session would be refused until somebody knows.
            let off = off(session.id).or((!has_charges).then_some(total)).unwrap_or_default();
            // One on the same line is over, when nobody knows.
            let is_over = spots.of_view(session).is_same_line(&login);
            let since = if is_over { 0 } else { session.quiet };
            add(Used {
                seconds: (total.seconds + u64::from(since)).saturating_sub(off.seconds),
                octets: total.octets.saturating_sub(off.octets),
            });
        }
        let is_here = |id: SessionId| here.iter().any(|session| session.id == id);
        for part in &ended {
            if !part.id.is_some_and(is_here) {
                add(part.left(part.id.and_then(off).unwrap_or_default()));
            }
        }
        for charged in &charged {
            let has_ended = || ended.iter().any(|part| part.id == Some(charged.id));
            let is_over =
                || there.iter().any(|open| open.id == charged.id && open.spot.is_same_line(&login));
            if !is_here(charged.id) && !has_ended() && !is_over() {
                // Its records go to another server: it goes on since the last of them.
                let updated = charged.updated.max(0).cast_unsigned();
                add(Used { seconds: self.wall.seconds().saturating_sub(updated), octets: 0 });
            }
        }
        used
    }
}

/// Whether an update is missed that was to come at so many seconds after the one before. Part of them more: NASes stagger theirs.
/// Of a session without updates nobody knows.
fn missed(interval: Option<u32>, quiet: u32) -> bool {
    interval.is_some_and(|interval| interval > 0 && quiet > interval.saturating_add(interval / 4))
}

/// What of an open session is off its subscriber's credit.
fn off(charged: &Charged) -> Used {
    Used { seconds: charged.seconds, octets: charged.octets }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_missed_after_its_time() {
        for (interval, quiet, expected) in [
            (Some(300), 0, false),
            (Some(300), 375, false),
            (Some(300), 376, true),
            (Some(1), 1, false),
            (Some(1), 2, true),
            (Some(u32::MAX), u32::MAX, false),
            (Some(0), 1_000, false),
            (None, u32::MAX, false),
        ] {
            assert_eq!(missed(interval, quiet), expected, "{interval:?} {quiet}");
        }
    }
}
