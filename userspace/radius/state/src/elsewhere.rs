//! Sessions of other servers, in memory, as the database tells of them.

use std::collections::{HashMap, HashSet};

use muralla_radius_accounting::SessionId;
use parking_lot::RwLock;

use crate::{Charged, SessionEntry, SessionState, Spot, Spots};

/// What is known of sessions by way of the database, for the count of a subscriber's sessions across servers. A server asks
/// its own table first; here is what the others said.
#[derive(Debug)]
pub struct Elsewhere {
    spots: Spots,
    known: RwLock<Known>,
}

/// An open session of another server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OpenElsewhere {
    /// Its name.
    pub id: SessionId,
    /// Where it is.
    pub spot: Spot,
    /// When it began, in seconds since 1970.
    pub started: i64,
}

#[derive(Debug, Default)]
struct Known {
    /// Open ones of other servers, by subscriber.
    open: HashMap<Box<str>, Vec<OpenElsewhere>>,
    users: HashMap<SessionId, Box<str>>,
    /// Those that other servers closed, for which the own table may still wait.
    closed: HashSet<SessionId>,
    /// Those that other servers opened and whose ends were told here, until the database has heard of that.
    ended: HashSet<SessionId>,
    /// Open ones of all servers whose subscribers have a credit, by subscriber.
    charged: HashMap<Box<str>, Vec<Charged>>,
}

impl Elsewhere {
    /// Most closed sessions that are remembered, and most whose ends were told here.
    const MOST_CLOSED: usize = 1 << 20;

    /// Nothing is known. Where sessions are can be compared with what the same maker makes of logins.
    #[must_use]
    pub fn new(spots: Spots) -> Self {
        Self { spots, known: RwLock::default() }
    }

    /// Hears of a session; `here` is this server's name, whose own news are no news.
    pub fn hear(&self, session: &SessionEntry, here: &str) {
        let Some(id) = session.session_id() else { return };
        let mut known = self.known.write();
        known.forget(id);
        if session.state != SessionState::Open {
            known.uncharge(&session.user, id);
            known.ended.remove(&id);
        }
        if session.server == here {
            known.closed.remove(&id);
            return;
        }
        if session.state == SessionState::Open {
            known.closed.remove(&id);
            // What was told here the database does not know yet: a Stop is final.
            if !known.ended.contains(&id) {
                let open = self.open(session, id);
                known.open.entry(session.user.as_str().into()).or_default().push(open);
                known.users.insert(id, session.user.as_str().into());
            }
        } else {
            if known.closed.len() >= Self::MOST_CLOSED {
                // Lost ones are closed by their silence a little later.
                known.closed.clear();
            }
            known.closed.insert(id);
        }
    }

    /// This server was told the end of a session: another one that has it open may not hear of that for long, nor the database
    /// while it is away.
    pub fn end(&self, id: SessionId) {
        if !self.known.read().users.contains_key(&id) {
            return;
        }
        let mut known = self.known.write();
        known.forget(id);
        if known.ended.len() >= Self::MOST_CLOSED {
            known.ended.clear();
        }
        known.ended.insert(id);
    }

    /// This server was told that a box begins anew or ends: what others have open on it, and what began until then (in seconds
    /// since 1970), is over. If one of them goes on nevertheless, the database will say so.
    pub fn restart(&self, machine: &Spot, until: i64) {
        let is_over =
            |open: &OpenElsewhere| open.started <= until && open.spot.is_same_machine(machine);
        let over: Vec<SessionId> = {
            let known = self.known.read();
            known.open.values().flatten().filter(|open| is_over(open)).map(|open| open.id).collect()
        };
        let mut known = self.known.write();
        over.into_iter().for_each(|id| known.forget(id));
    }

    /// Takes over which sessions' ends were told to this server, of those that the database still has open: from what was
    /// known before all was read anew.
    pub fn take_ends(&self, before: &Self) {
        let ended: Vec<SessionId> = before.known.read().ended.iter().copied().collect();
        ended.into_iter().for_each(|id| self.end(id));
    }

    /// Hears that a session is no more in the database.
    pub fn forget(&self, id: SessionId) {
        let mut known = self.known.write();
        known.forget(id);
        known.closed.remove(&id);
        known.ended.remove(&id);
        known.charged.retain(|_, sessions| {
            sessions.retain(|session| session.id != id);
            !sessions.is_empty()
        });
    }

    /// Hears up to where sessions are off their subscribers' credits: all that these have open.
    pub fn charge(&self, users: &[String], sessions: Vec<Charged>) {
        let mut known = self.known.write();
        for user in users {
            known.charged.remove(user.as_str());
        }
        for session in sessions {
            known.charged.entry(session.user.as_str().into()).or_default().push(session);
        }
    }

    /// Up to where a subscriber's open sessions, of all servers, are off his credit.
    #[must_use]
    pub fn charged_of(&self, user: &str) -> Vec<Charged> {
        self.known.read().charged.get(user).cloned().unwrap_or_default()
    }

    /// What a subscriber has open at other servers, some of it in the own table as well.
    #[must_use]
    pub fn open_of(&self, user: &str) -> Vec<OpenElsewhere> {
        self.known.read().open.get(user).cloned().unwrap_or_default()
    }

    /// Whether another server heard of a session's end.
    #[must_use]
    pub fn is_closed(&self, id: SessionId) -> bool {
        self.known.read().closed.contains(&id)
    }

    /// Open sessions that are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.read().users.len()
    }

    /// Whether none are known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn open(&self, session: &SessionEntry, id: SessionId) -> OpenElsewhere {
        OpenElsewhere { id, spot: self.spots.of_entry(session), started: session.started }
    }
}

impl Known {
    fn forget(&mut self, id: SessionId) {
        let Some(user) = self.users.remove(&id) else { return };
        if let Some(open) = self.open.get_mut(&user) {
            open.retain(|other| other.id != id);
            if open.is_empty() {
                self.open.remove(&user);
            }
        }
    }

    fn uncharge(&mut self, user: &str, id: SessionId) {
        let Some(sessions) = self.charged.get_mut(user) else { return };
        sessions.retain(|session| session.id != id);
        if sessions.is_empty() {
            self.charged.remove(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::entry;

    fn elsewhere() -> Elsewhere {
        Elsewhere::new(Spots::new([1, 2]))
    }

    fn id(id: u8) -> SessionId {
        SessionId::from_bytes([id; 16])
    }

    fn open(elsewhere: &Elsewhere, user: &str) -> Vec<SessionId> {
        elsewhere.open_of(user).into_iter().map(|open| open.id).collect()
    }

    #[test]
    fn sessions_of_other_servers_are_counted() {
        let elsewhere = elsewhere();
        for (number, server) in [(1, "b"), (2, "b"), (3, "a")] {
            elsewhere.hear(&entry(number, "ann", SessionState::Open, server), "a");
        }
        elsewhere.hear(&entry(1, "ann", SessionState::Open, "b"), "a");
        assert_eq!(open(&elsewhere, "ann"), [id(2), id(1)], "the own one is no news");
        assert_eq!(open(&elsewhere, "bob"), []);
        elsewhere.hear(&entry(1, "ann", SessionState::Stopped, "b"), "a");
        assert!(elsewhere.is_closed(id(1)) && !elsewhere.is_closed(id(2)));
        assert_eq!(open(&elsewhere, "ann"), [id(2)]);
        elsewhere.forget(id(2));
        assert!(elsewhere.is_empty());
        elsewhere.hear(&entry(1, "ann", SessionState::Open, "a"), "a");
        assert!(!elsewhere.is_closed(id(1)), "open again here");
    }

    #[test]
    fn what_was_told_here_to_have_ended_is_over_whatever_others_knew_before() {
        let before = elsewhere();
        for number in 1..=3 {
            before.hear(&entry(number, "ann", SessionState::Open, "b"), "a");
        }
        before.end(id(1));
        before.end(id(9));
        assert_eq!(open(&before, "ann"), [id(2), id(3)]);
        // The other server was away, and writes down what it was told before.
        before.hear(&entry(1, "ann", SessionState::Open, "b"), "a");
        assert_eq!(open(&before, "ann"), [id(2), id(3)]);
        // All is read anew, and the database has not been told yet.
        let read = elsewhere();
        for number in 1..=3 {
            read.hear(&entry(number, "ann", SessionState::Open, "b"), "a");
        }
        read.take_ends(&before);
        assert_eq!(open(&read, "ann"), [id(2), id(3)]);
        // Now it has.
        for (number, server) in [(1, "a"), (2, "b")] {
            read.hear(&entry(number, "ann", SessionState::Stopped, server), "a");
        }
        assert_eq!((open(&read, "ann"), read.known.read().ended.len()), (vec![id(3)], 0));
    }

    #[test]
    fn a_box_that_begins_anew_has_nothing_open() {
        let elsewhere = elsewhere();
        let begun = |number, line: &str, started| SessionEntry {
            line: line.to_owned(),
            started,
            ..entry(number, "ann", SessionState::Open, "b")
        };
        for session in [
            begun(1, "|7||one|192.0.2.1", 100),
            begun(2, "|7||one|192.0.2.1", 101),
            begun(3, "|7||two|192.0.2.1", 1),
            SessionEntry { nas: "other".into(), ..begun(4, "|7||one|192.0.2.1", 1) },
            SessionEntry { nas_address: "192.0.2.2".into(), ..begun(5, "", 1) },
            SessionEntry { nas_address: "192.0.2.1".into(), ..begun(6, "", 1) },
        ] {
            elsewhere.hear(&session, "a");
        }
        let machine = elsewhere.spots.of_entry(&begun(0, "|||one|192.0.2.1", 0));
        elsewhere.restart(&machine, 100);
        assert_eq!(open(&elsewhere, "ann"), [2, 3, 4, 5].map(id));
        // One goes on nevertheless.
        elsewhere.hear(&begun(1, "|7||one|192.0.2.1", 100), "a");
        assert_eq!(open(&elsewhere, "ann"), [2, 3, 4, 5, 1].map(id));
    }
}
