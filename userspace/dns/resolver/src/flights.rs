//! Joins equal questions that are under way, so that a thousand clients of one zone ask its servers once.

use std::collections::HashMap;
use std::sync::Arc;

use hickory_proto::rr::{Name, RecordType};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Zone whose servers are asked, name and type.
pub(crate) type Key = (Name, Name, RecordType);

/// Questions under way. `T` is what comes out.
#[derive(Debug)]
pub(crate) struct Flights<T> {
    state: Arc<Mutex<State<T>>>,
}

#[derive(Debug)]
struct State<T> {
    flying: HashMap<Key, (u64, watch::Receiver<Option<T>>)>,
    /// Who waits for whom, by the numbers of client questions. An edge for each wait.
    waits: HashMap<u64, Vec<u64>>,
}

/// What to do about a question.
pub(crate) enum Boarding<T> {
    /// Ask it; others wait for the outcome.
    Lead(Lead<T>),
    /// Another does.
    Follow(Follow<T>),
    /// Ask it without others: waiting could go round in a circle.
    Alone,
}

impl<T: Clone> Flights<T> {
    pub(crate) fn new() -> Self {
        let state = State { flying: HashMap::new(), waits: HashMap::new() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Joins or starts a flight, on behalf of the client question with this number.
    pub(crate) fn board(&self, key: &Key, question: u64) -> Boarding<T> {
        let mut state = self.state.lock();
        if let Some((leader, outcome)) = state.flying.get(key) {
            let (leader, outcome) = (*leader, outcome.clone());
            if state.reaches(leader, question) {
                return Boarding::Alone;
            }
            state.waits.entry(question).or_default().push(leader);
            return Boarding::Follow(Follow {
                outcome,
                question,
                leader,
                state: self.state.clone(),
            });
        }
        let (sender, receiver) = watch::channel(None);
        state.flying.insert(key.clone(), (question, receiver));
        Boarding::Lead(Lead { key: key.clone(), sender, state: self.state.clone() })
    }
}

impl<T> State<T> {
    /// Whether `from` is `to`, or waits for it, directly or not.
    fn reaches(&self, from: u64, to: u64) -> bool {
        let mut seen = vec![from];
        let mut at = 0;
        while let Some(question) = seen.get(at).copied() {
            if question == to {
                return true;
            }
            for next in self.waits.get(&question).into_iter().flatten() {
                if !seen.contains(next) {
                    seen.push(*next);
                }
            }
            at += 1;
        }
        false
    }
}

/// The one who asks. Dropped without an outcome, the flight is cancelled, and a follower takes over.
pub(crate) struct Lead<T> {
    key: Key,
    sender: watch::Sender<Option<T>>,
    state: Arc<Mutex<State<T>>>,
}

impl<T> Lead<T> {
    /// Gives the outcome to all who wait.
    pub(crate) fn land(self, outcome: T) {
        self.state.lock().flying.remove(&self.key);
        // Nobody may be waiting.
        let _ = self.sender.send(Some(outcome));
    }
}

impl<T> Drop for Lead<T> {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        let own = state
            .flying
            .get(&self.key)
            .is_some_and(|(_, outcome)| outcome.same_channel(&self.sender.subscribe()));
        if own {
            state.flying.remove(&self.key);
        }
    }
}

/// One who waits.
pub(crate) struct Follow<T> {
    outcome: watch::Receiver<Option<T>>,
    question: u64,
    leader: u64,
    state: Arc<Mutex<State<T>>>,
}

impl<T: Clone> Follow<T> {
    /// The outcome; `None` if the leader gave up.
    pub(crate) async fn outcome(&mut self) -> Option<T> {
        let landed = self.outcome.wait_for(Option::is_some).await.ok()?;
        landed.clone()
    }
}

impl<T> Drop for Follow<T> {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if let Some(waits) = state.waits.get_mut(&self.question) {
            if let Some(at) = waits.iter().position(|leader| *leader == self.leader) {
                waits.swap_remove(at);
            }
            if waits.is_empty() {
                state.waits.remove(&self.question);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(zone: &str) -> Key {
        (Name::from_ascii(zone).unwrap(), Name::root(), RecordType::NS)
    }

    #[tokio::test]
    async fn followers_get_the_outcome_or_take_over() {
        let flights = Flights::new();
        let Boarding::Lead(lead) = flights.board(&key("a."), 1) else { panic!() };
        let Boarding::Follow(mut follow) = flights.board(&key("a."), 2) else { panic!() };
        lead.land(7);
        assert_eq!(follow.outcome().await, Some(7));

        let Boarding::Lead(lead) = flights.board(&key("a."), 1) else { panic!() };
        let Boarding::Follow(mut follow) = flights.board(&key("a."), 2) else { panic!() };
        drop(lead);
        assert_eq!(follow.outcome().await, None);
        assert!(matches!(flights.board(&key("a."), 2), Boarding::Lead(_)));
    }

    #[tokio::test]
    async fn nobody_waits_in_a_circle() {
        let flights = Flights::<u8>::new();
        let Boarding::Lead(_a) = flights.board(&key("a."), 1) else { panic!() };
        let Boarding::Lead(_b) = flights.board(&key("b."), 2) else { panic!() };
        let Boarding::Lead(_c) = flights.board(&key("c."), 3) else { panic!() };
        assert!(matches!(flights.board(&key("a."), 1), Boarding::Alone));
        let Boarding::Follow(_one) = flights.board(&key("b."), 1) else { panic!() };
        let Boarding::Follow(two) = flights.board(&key("c."), 2) else { panic!() };
        assert!(matches!(flights.board(&key("a."), 3), Boarding::Alone));
        drop(two);
        assert!(matches!(flights.board(&key("a."), 3), Boarding::Follow(_)));
        assert!(flights.state.lock().waits.contains_key(&1));
    }
}
