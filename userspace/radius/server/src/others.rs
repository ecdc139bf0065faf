//! What is known by way of the database: sessions of other servers, and up to where open sessions are off their subscribers'
//! credits.
//!
//! It is followed as it changes. Where something may have been passed over it is read anew, beside what is in force: who asks
//! meanwhile finds what was known before, and not the half of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use muralla_radius_accounting::SessionId;
use muralla_radius_state::{Changed, Charged, Elsewhere, Spot, Spots};
use parking_lot::{Mutex, RwLock};

/// See the module.
pub(crate) struct Others {
    spots: Spots,
    known: RwLock<Arc<Elsewhere>>,
    /// Whether it is known up to where sessions are off credits.
    charges: AtomicBool,
    /// What was heard since a reading began that has not ended.
    meanwhile: Mutex<Option<Vec<Word>>>,
}

/// Something that is heard of sessions.
enum Word {
    /// From the database.
    Changed(Changed),
    /// From a NAS: a session has ended.
    Ended(SessionId),
    /// From a NAS: a box begins anew or ends, and what began until then is over.
    Restarted(Spot, i64),
}

impl Others {
    /// Nothing is known. Where sessions are is told by what `spots` makes.
    pub(crate) fn new(spots: Spots) -> Self {
        Self {
            spots,
            known: RwLock::new(Arc::new(Elsewhere::new(spots))),
            charges: AtomicBool::new(false),
            meanwhile: Mutex::default(),
        }
    }

    /// What is known now.
    pub(crate) fn known(&self) -> Arc<Elsewhere> {
        Arc::clone(&self.known.read())
    }

    /// Whether it is known up to where open sessions are off credits. If not, a session of which nothing is known has no more
    /// used than what it used since its last record, or its credit would be taken twice.
    pub(crate) fn has_charges(&self) -> bool {
        self.charges.load(Ordering::Acquire)
    }

    /// Hears of a change; `here` is this server's name.
    pub(crate) fn hear(&self, changed: Changed, here: &str) {
        self.note(Word::Changed(changed), here);
    }

    /// A NAS told this server that a session has ended. Whichever server was told that it began: that one may be away, and the
    /// database with it, and its user logs in again.
    pub(crate) fn end(&self, session: SessionId) {
        self.note(Word::Ended(session), "");
    }

    /// A NAS told this server that a box begins anew or ends, with all that began until then; in seconds since 1970.
    pub(crate) fn restart(&self, machine: Spot, until: i64) {
        self.note(Word::Restarted(machine, until), "");
    }

    fn note(&self, word: Word, here: &str) {
        let mut meanwhile = self.meanwhile.lock();
        apply(&self.known(), &word, here);
        if let Some(meanwhile) = &mut *meanwhile {
            meanwhile.push(word);
        }
    }

    /// Takes the charges of a time before, for want of others.
    pub(crate) fn charge(&self, sessions: Vec<Charged>) {
        self.known().charge(&[], sessions);
        self.charges.store(true, Ordering::Release);
    }

    /// Begins to read everything anew; one that was begun before and not ended is given up. Who gets the outcome fills it, and
    /// brings it back by [`Others::replace`].
    pub(crate) fn begin(&self) -> Elsewhere {
        *self.meanwhile.lock() = Some(Vec::new());
        Elsewhere::new(self.spots)
    }

    /// Puts what was read into force, with what was heard meanwhile: that may be older than the reading in part, but then what
    /// follows it is still to be heard.
    pub(crate) fn replace(&self, read: Elsewhere, here: &str) {
        let mut meanwhile = self.meanwhile.lock();
        read.take_ends(&self.known());
        for changed in meanwhile.take().unwrap_or_default() {
            apply(&read, &changed, here);
        }
        *self.known.write() = Arc::new(read);
        self.charges.store(true, Ordering::Release);
    }
}

fn apply(elsewhere: &Elsewhere, word: &Word, here: &str) {
    let changed = match word {
        Word::Changed(changed) => changed,
        Word::Ended(session) => return elsewhere.end(*session),
        Word::Restarted(machine, until) => return elsewhere.restart(machine, *until),
    };
    match changed {
        Changed::Sessions(sessions) => {
            sessions.iter().for_each(|session| elsewhere.hear(session, here));
        }
        Changed::SessionsGone(gone) => gone.iter().for_each(|id| elsewhere.forget(*id)),
        Changed::Charged { users, sessions } => elsewhere.charge(users, sessions.clone()),
        // They are no sessions.
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use muralla_radius_state::{SessionEntry, SessionState};

    use super::*;

    fn entry(id: u8, state: SessionState) -> SessionEntry {
        serde_json::from_value(serde_json::json!({
            "id": format!("{id:02x}").repeat(16), "state": state, "user": "ann", "login": "ann", "nas": "lns", "nas_address": "",
            "telco": "", "acct_session_id": "1", "started": 1, "updated": 1, "ended": null, "session_time": 0, "octets_in": 0,
            "octets_out": 0, "packets_in": 0, "packets_out": 0, "cause": 0, "address": "", "prefix6": "", "delegated6": "",
            "address6": "", "calling": "", "called": "", "port": "", "line": "", "server": "another",
        }))
        .unwrap()
    }

    fn charged(id: u8) -> Charged {
        let id = SessionId::from_bytes([id; 16]);
        Charged { user: "ann".to_owned(), id, seconds: 9, octets: 9, updated: 1 }
    }

    fn open(others: &Others) -> usize {
        others.known().open_of("ann").len()
    }

    fn others() -> Others {
        Others::new(Spots::new([1, 2]))
    }

    #[test]
    fn who_asks_while_it_is_read_anew_finds_what_was_known_before() {
        let others = others();
        assert!(!others.has_charges());
        let first = others.begin();
        first.hear(&entry(1, SessionState::Open), "here");
        first.charge(&[], vec![charged(1)]);
        assert!(!others.has_charges());
        others.replace(first, "here");
        assert!(others.has_charges());
        let second = others.begin();
        assert_eq!((open(&others), others.known().charged_of("ann").len()), (1, 1));
        // It fails, and is begun once more.
        drop(second);
        let third = others.begin();
        assert_eq!((open(&others), others.known().charged_of("ann").len()), (1, 1));
        others.replace(third, "here");
        assert_eq!((open(&others), others.known().charged_of("ann").len()), (0, 0));
    }

    #[test]
    fn what_is_heard_while_it_is_read_anew_is_not_lost() {
        let others = others();
        others.hear(Changed::Sessions(vec![entry(1, SessionState::Open)]), "here");
        let read = others.begin();
        read.hear(&entry(1, SessionState::Open), "here");
        others.hear(Changed::Sessions(vec![entry(1, SessionState::Stopped)]), "here");
        others.hear(Changed::Sessions(vec![entry(2, SessionState::Open)]), "here");
        others.hear(Changed::Sessions(vec![entry(3, SessionState::Open)]), "here");
        others.hear(Changed::SessionsGone(vec![SessionId::from_bytes([3; 16])]), "here");
        let charge = Changed::Charged { users: vec!["ann".to_owned()], sessions: vec![charged(2)] };
        others.hear(charge, "here");
        assert_eq!(open(&others), 1);
        others.replace(read, "here");
        assert_eq!(open(&others), 1, "the second one");
        assert!(others.known().is_closed(SessionId::from_bytes([1; 16])));
        assert_eq!(others.known().charged_of("ann"), [charged(2)]);
        others.hear(Changed::Sessions(vec![entry(2, SessionState::Stopped)]), "here");
        assert_eq!(open(&others), 0);
    }

    #[test]
    fn an_end_that_is_told_here_stays_one_while_all_is_read_anew() {
        let others = others();
        let open_elsewhere =
            |ids: &[u8]| ids.iter().map(|id| entry(*id, SessionState::Open)).collect::<Vec<_>>();
        others.hear(Changed::Sessions(open_elsewhere(&[1, 2])), "here");
        others.end(SessionId::from_bytes([1; 16]));
        assert_eq!(open(&others), 1);
        let read = others.begin();
        open_elsewhere(&[1, 2, 3]).iter().for_each(|session| read.hear(session, "here"));
        // The third is not known here before the reading has ended.
        others.end(SessionId::from_bytes([2; 16]));
        others.end(SessionId::from_bytes([3; 16]));
        assert_eq!(open(&others), 0);
        others.replace(read, "here");
        assert_eq!(open(&others), 0);
        others.hear(Changed::Sessions(open_elsewhere(&[3, 4])), "here");
        assert_eq!(open(&others), 1);
        let machine = Spots::new([1, 2]).of_entry(&entry(4, SessionState::Open));
        others.restart(machine, 0);
        assert_eq!(open(&others), 1, "it began later");
        others.restart(machine, 1);
        assert_eq!(open(&others), 0);
    }
}
