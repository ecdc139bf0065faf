//! Leases that were attached to sessions by what the database showed of these, to be looked at once more.
//!
//! PostgreSQL shows a session as open until another server's transaction that ends it has committed, and to that one it does
//! not show the lease that is being written meanwhile: each of the two would leave it to the other, and the address would stay
//! with a session that has ended for as long as a lease lasts. So what was attached is looked at again when everything that
//! went on at that time has ended. With SQLite one transaction writes after the other.

use std::collections::VecDeque;

use muralla_database::dialect::{Running, running};
use muralla_database::{DatabaseError, Value};

use super::Leases;
use super::rows::lock;
use crate::State;

/// Most that wait, should a transaction go on for hours: of what is forgotten beyond, the leases end by themselves.
const MOST: usize = 1 << 17;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    fresh: Vec<String>,
    /// Of which it is asked what goes on.
    seen: Vec<String>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    addresses: Vec<String>,
    /// All transactions below it must have ended.
    below: i64,
    /// Whether the one that attached them has ended, and what went on at its end is waited for.
    is_written: bool,
}

impl State {
    /// Notes leases of these addresses, which are being attached by a transaction that has written and goes on.
    pub(crate) fn note_attached(&self, addresses: Vec<String>) {
        if self.inner.engine.postgres().is_some() {
            self.inner.attached.lock().note(addresses);
        }
    }
}

impl Leases {
    /// Gives back what was attached to sessions that had ended.
    pub(super) async fn look_again(&self) -> Result<(), DatabaseError> {
        let state = &self.inner.state;
        {
            let mut attached = state.inner.attached.lock();
            if attached.is_empty() {
                return Ok(());
            }
            // Before it is asked what goes on: what is noted after that may be of a transaction that began later.
            attached.see();
        }
        let mut work = state.inner.engine.write().await?;
        let Some(running) = running(&mut work).await? else { return Ok(()) };
        let due = state.inner.attached.lock().due(running);
        if due.is_empty() {
            return Ok(());
        }
        let keys: Vec<Value> = due.iter().map(|address| address.as_str().into()).collect();
        let looked = async {
            lock(&mut work, due.clone()).await?;
            // One of a session that nothing is heard of lasts as long as it lasts.
            work.execute_in(
                "UPDATE radius_lease SET released = 1, expires = 0 WHERE released = 0 AND EXISTS (SELECT 1 FROM radius_session s WHERE s.id = radius_lease.session AND s.state IN (1, 2, 4)) AND address IN ({})",
                &[],
                &keys,
            )
            .await?;
            work.commit().await
        };
        let looked = looked.await;
        if looked.is_err() {
            state.note_attached(due);
        }
        looked
    }
}

impl Attached {
    fn note(&mut self, addresses: Vec<String>) {
        self.fresh.extend(addresses);
        let waiting = self.waiting.iter().map(|some| some.addresses.len()).sum::<usize>();
        let mut count = self.fresh.len() + self.seen.len() + waiting;
        while count > MOST {
            let Some(oldest) = self.waiting.pop_front() else { break };
            count -= oldest.addresses.len();
        }
        for some in [&mut self.seen, &mut self.fresh] {
            let over = some.len().min(count.saturating_sub(MOST));
            some.drain(..over);
            count -= over;
        }
    }

    fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.seen.is_empty() && self.waiting.is_empty()
    }

    /// What is noted until now was attached by transactions that have begun.
    fn see(&mut self) {
        self.seen.append(&mut self.fresh);
    }

    /// Those that are to be looked at now, by what was asked after the last [`Attached::see`].
    fn due(&mut self, running: Running) -> Vec<String> {
        let Running { ended, next } = running;
        let mut due = Vec::new();
        for mut some in std::mem::take(&mut self.waiting) {
            if some.below > ended {
                self.waiting.push_back(some);
            } else if some.is_written {
                due.append(&mut some.addresses);
            } else {
                self.waiting.push_back(Waiting { below: next, is_written: true, ..some });
            }
        }
        if !self.seen.is_empty() {
            let addresses = std::mem::take(&mut self.seen);
            self.waiting.push_back(Waiting { addresses, below: next, is_written: false });
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(attached: &mut Attached, ended: i64, next: i64) -> Vec<String> {
        attached.see();
        attached.due(Running { ended, next })
    }

    #[test]
    fn what_was_attached_waits_for_all_that_went_on_at_the_end() {
        let mut attached = Attached::default();
        attached.note(vec!["one".to_owned()]);
        // The transaction that attaches it is 10, and another, 9, goes on.
        assert_eq!(due(&mut attached, 9, 11), [""; 0]);
        attached.note(vec!["two".to_owned()]);
        assert_eq!(due(&mut attached, 10, 13), [""; 0], "10 goes on");
        assert_eq!(
            due(&mut attached, 11, 14),
            [""; 0],
            "10 has ended, but what went on then has not"
        );
        assert_eq!(due(&mut attached, 13, 15), [""; 0], "13 may have missed it");
        assert_eq!(due(&mut attached, 14, 16), ["one"]);
        assert_eq!(due(&mut attached, 15, 16), ["two"]);
        assert!(attached.is_empty());
    }

    #[test]
    fn where_nothing_else_goes_on_two_looks_are_enough() {
        let mut attached = Attached::default();
        attached.note(vec!["one".to_owned()]);
        assert_eq!(due(&mut attached, 11, 11), [""; 0]);
        assert_eq!(due(&mut attached, 11, 11), [""; 0]);
        assert_eq!(due(&mut attached, 11, 11), ["one"]);
    }

    #[test]
    fn what_is_attached_while_it_is_asked_what_goes_on_is_of_the_next_time() {
        let mut attached = Attached::default();
        attached.note(vec!["one".to_owned()]);
        attached.see();
        // By a transaction that begins after the answer: 11 and not below.
        attached.note(vec!["two".to_owned()]);
        assert_eq!(attached.due(Running { ended: 11, next: 11 }), [""; 0]);
        assert_eq!(due(&mut attached, 11, 12), [""; 0]);
        assert_eq!(due(&mut attached, 11, 13), [""; 0], "11 goes on");
        assert_eq!(due(&mut attached, 13, 13), ["one"], "what went on when 11 ended may not");
        assert_eq!(due(&mut attached, 13, 13), ["two"]);
        assert!(attached.is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let mut attached = Attached::default();
        for turn in 0..5 {
            attached.note((0..MOST / 2).map(|number| format!("{turn} {number}")).collect());
            assert_eq!(due(&mut attached, 1, 5), [""; 0], "a transaction goes on for hours");
        }
        let count: usize = attached.waiting.iter().map(|some| some.addresses.len()).sum();
        assert_eq!(count, MOST);
        attached.note(vec![String::new(); 3 * MOST]);
        assert_eq!((attached.fresh.len(), attached.waiting.len()), (MOST, 0));
    }
}
