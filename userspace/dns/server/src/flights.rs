//! Questions under way: who asks what another one asked a moment ago waits for the same answer.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::net::IpAddr;

use parking_lot::Mutex;

/// Questions under way by key, and those who wait for them. Bounded in total and for each client, so that neither a
/// flood of names nobody has nor one greedy client takes what others need.
pub(crate) struct Flights<K, W> {
    state: Mutex<State<K, W>>,
}

/// How many may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// All clients together.
    pub(crate) total: usize,
    /// One client.
    pub(crate) client: usize,
}

/// What became of one who wants to wait.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Boarding {
    /// Nobody asked this yet: it's for the caller to find the answer, and to end with [`Flights::land`].
    First,
    /// The same question is under way.
    Joined,
    /// The same question is under way for so long that a stale answer is due.
    Late,
    /// There is no room.
    Full,
}

struct State<K, W> {
    flights: HashMap<K, Flight<W>>,
    /// How many wait for each client.
    clients: HashMap<IpAddr, usize>,
    waiting: usize,
    /// Flights that began with nobody waiting.
    empty: usize,
}

struct Flight<W> {
    waiters: Vec<(IpAddr, W)>,
    late: bool,
    empty: bool,
}

impl<K: Eq + Hash + Clone, W> Flights<K, W> {
    pub(crate) fn new() -> Self {
        let state =
            State { flights: HashMap::new(), clients: HashMap::new(), waiting: 0, empty: 0 };
        Self { state: Mutex::new(state) }
    }

    /// Has one wait for the answer, whom `waiter` makes only if there is a place. `stale` says whether there is a stale
    /// answer, for who comes to a late flight: without one it is worth waiting for.
    pub(crate) fn board(
        &self,
        key: &K,
        client: IpAddr,
        room: Room,
        stale: impl FnOnce() -> bool,
        waiter: impl FnOnce() -> W,
    ) -> Boarding {
        let mut state = self.state.lock();
        if state.flights.get(key).is_some_and(|flight| flight.late) && stale() {
            return Boarding::Late;
        }
        let seats = state.clients.get(&client).copied().unwrap_or(0);
        // Late ones go on with nobody waiting.
        let is_full = state.flights.len() >= room.total && !state.flights.contains_key(key);
        if state.waiting >= room.total || seats >= room.client || is_full {
            return Boarding::Full;
        }
        let waiter = waiter();
        state.waiting += 1;
        *state.clients.entry(client).or_default() += 1;
        match state.flights.entry(key.clone()) {
            Entry::Occupied(mut flight) => {
                flight.get_mut().waiters.push((client, waiter));
                Boarding::Joined
            }
            Entry::Vacant(flight) => {
                flight.insert(Flight {
                    waiters: vec![(client, waiter)],
                    late: false,
                    empty: false,
                });
                Boarding::First
            }
        }
    }

    /// Begins a flight for which nobody waits, unless one for that question is under way, or `most` that began so are.
    pub(crate) fn depart_empty(&self, key: &K, most: usize) -> bool {
        let mut state = self.state.lock();
        if state.empty >= most || state.flights.contains_key(key) {
            return false;
        }
        state.empty += 1;
        let flight = Flight { waiters: Vec::new(), late: false, empty: true };
        state.flights.insert(key.clone(), flight);
        true
    }

    /// Those who have waited long enough for a fresh answer. Who comes after them is told so at once.
    pub(crate) fn late(&self, key: &K) -> Vec<W> {
        let mut state = self.state.lock();
        let Some(flight) = state.flights.get_mut(key) else {
            return Vec::new();
        };
        flight.late = true;
        let waiters = std::mem::take(&mut flight.waiters);
        state.leave(waiters)
    }

    /// Ends a flight, and gives those who still wait for its answer.
    pub(crate) fn land(&self, key: &K) -> Vec<W> {
        let mut state = self.state.lock();
        let Some(flight) = state.flights.remove(key) else { return Vec::new() };
        state.empty -= usize::from(flight.empty);
        state.leave(flight.waiters)
    }

    /// Ends all flights, and gives all who wait.
    pub(crate) fn land_all(&self) -> Vec<W> {
        let mut state = self.state.lock();
        state.empty = 0;
        let flights = std::mem::take(&mut state.flights);
        let waiters = flights.into_values().flat_map(|flight| flight.waiters).collect();
        state.leave(waiters)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting
    }

    /// Questions under way.
    pub(crate) fn len(&self) -> usize {
        self.state.lock().flights.len()
    }
}

impl<K, W> State<K, W> {
    fn leave(&mut self, waiters: Vec<(IpAddr, W)>) -> Vec<W> {
        self.waiting = self.waiting.saturating_sub(waiters.len());
        let mut left = Vec::with_capacity(waiters.len());
        for (client, waiter) in waiters {
            if let Entry::Occupied(mut seats) = self.clients.entry(client) {
                *seats.get_mut() -= 1;
                if *seats.get() == 0 {
                    seats.remove();
                }
            }
            left.push(waiter);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { total: 4, client: 2 };

    fn client(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn the_same_question_is_asked_once_and_answered_to_all() {
        let flights = Flights::new();
        assert_eq!(flights.board(&"a", client(1), ROOM, || false, || 1), Boarding::First);
        assert_eq!(flights.board(&"a", client(2), ROOM, || false, || 2), Boarding::Joined);
        assert!(!flights.depart_empty(&"a", 9));
        assert!(flights.depart_empty(&"b", 9));
        assert_eq!(flights.board(&"b", client(1), ROOM, || false, || 3), Boarding::Joined);
        assert_eq!((flights.len(), flights.waiting()), (2, 3));
        assert_eq!(flights.land(&"a"), [1, 2]);
        assert_eq!(flights.land(&"b"), [3]);
        assert_eq!((flights.len(), flights.waiting()), (0, 0));
        assert!(flights.state.lock().clients.is_empty());
    }

    #[test]
    fn one_client_leaves_room_for_others_and_all_leave_some_memory() {
        let flights = Flights::new();
        assert_eq!(flights.board(&"a", client(1), ROOM, || false, || 1), Boarding::First);
        assert_eq!(flights.board(&"b", client(1), ROOM, || false, || 2), Boarding::First);
        assert_eq!(flights.board(&"a", client(1), ROOM, || false, || 3), Boarding::Full);
        assert_eq!(flights.board(&"a", client(2), ROOM, || false, || 4), Boarding::Joined);
        assert_eq!(flights.board(&"c", client(3), ROOM, || false, || 5), Boarding::First);
        assert_eq!(flights.board(&"d", client(4), ROOM, || false, || 6), Boarding::Full);
        assert_eq!(flights.land(&"a"), [1, 4]);
        assert_eq!(flights.board(&"d", client(4), ROOM, || false, || 6), Boarding::First);
    }

    #[test]
    fn late_flights_are_counted_and_those_for_nobody_apart() {
        let flights = Flights::new();
        for key in ["a", "b", "c"] {
            assert_eq!(flights.board(&key, client(1), ROOM, || false, || 1), Boarding::First);
            assert_eq!(flights.late(&key), [1]);
        }
        assert!(flights.depart_empty(&"d", 1), "whatever else is under way");
        assert!(!flights.depart_empty(&"e", 1));
        assert_eq!(flights.waiting(), 0);
        assert_eq!(flights.board(&"f", client(1), ROOM, || false, || 1), Boarding::Full);
        assert_eq!(flights.board(&"d", client(1), ROOM, || false, || 1), Boarding::Joined);
        assert_eq!(flights.land(&"d"), [1]);
        assert!(flights.depart_empty(&"e", 1));
        flights.land_all();
        assert!(flights.depart_empty(&"e", 1));
    }

    #[test]
    fn who_comes_to_a_late_flight_does_not_wait() {
        let flights = Flights::new();
        assert_eq!(flights.board(&"a", client(1), ROOM, || false, || 1), Boarding::First);
        assert_eq!(flights.late(&"a"), [1]);
        assert_eq!(flights.board(&"a", client(1), ROOM, || true, || 2), Boarding::Late);
        // The stale answer was flushed meanwhile.
        assert_eq!(flights.board(&"a", client(1), ROOM, || false, || 4), Boarding::Joined);
        assert_eq!(flights.land(&"a"), [4]);
        assert_eq!(flights.board(&"a", client(1), ROOM, || false, || 3), Boarding::First);
        assert_eq!(flights.late(&"never asked"), [0; 0]);
    }
}
