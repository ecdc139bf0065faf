//! Begins and ends of sessions that are in the journal, and that the table of sessions has not taken from there yet.
//!
//! The table is behind by as long as it takes another thread to read the journal, which is longer than a NAS may need for its
//! next request. A second login would find the first one's session missing, and one after a Stop would find the session still
//! there. So whoever counts a subscriber's sessions looks here first, and then into the table.

use std::hash::Hasher;
use std::sync::atomic::{AtomicU64, Ordering};

use muralla_journal::Ticket;
use muralla_radius_accounting::{Record, Status};
use muralla_radius_state::{Spot, Spots};
use parking_lot::Mutex;
use siphasher::sip::SipHasher13;

use crate::accounting::subject;

/// Parts, each with a lock of its own.
const SHARDS: usize = 64;

/// What one part holds, at most: the table is far behind then, and the oldest are forgotten. 80 bytes for each.
const MOST: usize = 1_024;

/// See the module.
pub(crate) struct Pending {
    keys: [u64; 2],
    spots: Spots,
    shards: Box<[Mutex<Vec<News>>]>,
    /// The record of the journal that the table has taken last.
    applied: AtomicU64,
    /// The last record that was in the journal at the start.
    before: AtomicU64,
}

/// A begin or an end, by keyed hashes of whose and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct News {
    has_ended: bool,
    user: u64,
    spot: Spot,
    ticket: u64,
}

/// What is on the way to the table of one subscriber's sessions.
pub(crate) struct OnTheWay {
    /// In the order in which it came.
    news: Vec<News>,
}

impl Pending {
    /// The keys must be secret and random.
    pub(crate) fn new(keys: [u64; 2]) -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self {
            keys,
            spots: Spots::new(keys),
            shards,
            applied: AtomicU64::new(0),
            before: AtomicU64::new(0),
        }
    }

    /// What tells where logins and sessions are, to compare them with what is on the way.
    pub(crate) fn spots(&self) -> Spots {
        self.spots
    }

    /// What a record says that begins or ends a session; none of others.
    pub(crate) fn news(&self, record: &Record<'_>) -> Option<News> {
        let has_ended = match record.status {
            Status::Start => false,
            Status::Stop => true,
            _ => return None,
        };
        Some(News {
            has_ended,
            user: self.user(subject(record)),
            spot: self.spots.of_record(record),
            ticket: 0,
        })
    }

    /// Notes news that has this number in the journal, before anybody is told that it is there.
    pub(crate) fn add(&self, news: News, ticket: Ticket) {
        let Some(shard) = self.shard(news.user) else { return };
        let applied = self.applied.load(Ordering::Acquire);
        let mut shard = shard.lock();
        if shard.len() == shard.capacity() {
            shard.retain(|news| news.ticket > applied);
            if shard.len() >= MOST {
                shard.remove(0);
            }
        }
        shard.push(News { ticket: ticket.0, ..news });
    }

    /// Notes that the table has taken a record and all before it.
    pub(crate) fn applied(&self, sequence: u64) {
        self.applied.store(sequence, Ordering::Release);
    }

    /// Notes up to where the journal reaches at the start.
    pub(crate) fn begins(&self, durable: u64) {
        self.before.store(durable, Ordering::Release);
    }

    /// Whether the table has taken all that was in the journal at the start.
    pub(crate) fn has_all_of_before(&self) -> bool {
        self.applied.load(Ordering::Acquire) >= self.before.load(Ordering::Acquire)
    }

    /// What is on the way of a subscriber's sessions. To be asked before the table is: then nothing is in neither.
    pub(crate) fn of(&self, subscriber: &[u8]) -> OnTheWay {
        let user = self.user(subscriber);
        let applied = self.applied.load(Ordering::Acquire);
        let mut news: Vec<News> = match self.shard(user) {
            Some(shard) => {
                let shard = shard.lock();
                let his = shard.iter().filter(|news| news.user == user && news.ticket > applied);
                his.copied().collect()
            }
            None => Vec::new(),
        };
        news.sort_unstable_by_key(|news| news.ticket);
        OnTheWay { news }
    }

    fn shard(&self, user: u64) -> Option<&Mutex<Vec<News>>> {
        self.shards.get(usize::try_from(user >> 32).unwrap_or(0) % SHARDS)
    }

    fn user(&self, name: &[u8]) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.keys[0], self.keys[1]);
        hasher.write(name);
        hasher.finish()
    }
}

impl OnTheWay {
    /// Whether the end of a session that is open by the table, or by another server, is on the way.
    pub(crate) fn ends(&self, session: &Spot) -> bool {
        let latest = self.news.iter().rev().find(|news| news.spot.is_same_session(session));
        latest.is_some_and(|news| news.has_ended)
    }

    /// Sessions that begin, besides those that are known to be open, and one on the line of somebody who asks for another.
    pub(crate) fn begun(&self, known: &[Spot], login: &Spot) -> usize {
        let is_known = |spot: &Spot| known.iter().any(|known| known.is_same_session(spot));
        let counts = |(at, news): &(usize, &News)| {
            let spot = &news.spot;
            let same = |other: &News| other.spot.is_same_session(spot);
            let is_latest = !self.news.iter().skip(at + 1).any(same);
            is_latest && !news.has_ended && !is_known(spot) && !spot.is_same_line(login)
        };
        self.news.iter().enumerate().filter(counts).count()
    }
}

#[cfg(test)]
mod tests {
    use muralla_radius_accounting::{Moment, Settings, Table, Uptime};
    use muralla_radius_policy::Holder;

    use super::*;

    /// A record of `ann` at a port: Acct-Status-Type, User-Name, Acct-Session-Id and NAS-Port.
    fn attributes(status: u8, session: &str, port: u8) -> Vec<u8> {
        let mut attributes = vec![40, 6, 0, 0, 0, status, 1, 5, b'a', b'n', b'n'];
        attributes.extend([5, 6, 0, 0, 0, port]);
        if !session.is_empty() {
            attributes.extend([44, 2 + session.len() as u8]);
            attributes.extend(session.as_bytes());
        }
        attributes
    }

    fn record<'a>(attributes: &'a [u8], nas: &'a str) -> Record<'a> {
        let source = "192.0.2.1:1813".parse().unwrap();
        Record::of_attributes(attributes, nas, source, 1_000_000_000_000).unwrap()
    }

    struct World {
        pending: Pending,
        table: Table,
        next: u64,
    }

    const NOW: Moment = Moment { wall: 1_000_000_000_000, uptime: Uptime { boot: 1, nanos: 1 } };

    impl World {
        fn new() -> Self {
            Self {
                pending: Pending::new([1, 2]),
                table: Table::new(Settings::default(), [3, 4]),
                next: 1,
            }
        }

        fn journal(&mut self, attributes: &[u8], nas: &str) {
            let news = self.pending.news(&record(attributes, nas)).unwrap();
            self.pending.add(news, Ticket(self.next));
            self.next += 1;
        }

        fn apply(&self, sequence: u64, attributes: &[u8], nas: &str) {
            let _ = self.table.apply(&record(attributes, nas), NOW);
            self.pending.applied(sequence);
        }

        /// Sessions that count for a login at a port.
        fn open(&self, nas: &str, port: u32) -> usize {
            let login = self.pending.spots().of_login(&Holder {
                user: "ann",
                nas,
                port: Some(port),
                port_id: None,
                station: None,
                identifier: None,
                address: None,
                session: None,
            });
            let on_the_way = self.pending.of(b"ann");
            let here = self.table.sessions_of(b"ann", 64, NOW);
            let here: Vec<Spot> =
                here.iter().map(|session| self.pending.spots().of_view(session)).collect();
            let open = here
                .iter()
                .filter(|session| !on_the_way.ends(session) && !session.is_same_line(&login));
            open.count() + on_the_way.begun(&here, &login)
        }
    }

    #[test]
    fn a_session_counts_once_from_its_start_to_its_stop() {
        let mut world = World::new();
        let (start, stop) = (attributes(1, "one", 7), attributes(2, "one", 7));
        assert_eq!(world.open("nas", 8), 0);
        world.journal(&start, "nas");
        assert_eq!(world.open("nas", 8), 1, "the table does not know it yet");
        assert_eq!(world.open("nas", 7), 0, "at the same port it is over");
        assert_eq!(world.open("other", 7), 1, "of another NAS it is another port");
        // Sent again with another delay.
        world.journal(&start, "nas");
        assert_eq!(world.open("nas", 8), 1);
        world.apply(1, &start, "nas");
        assert_eq!(world.open("nas", 8), 1, "the table knows it, and the other copy is on its way");
        world.apply(2, &start, "nas");
        assert_eq!(world.open("nas", 8), 1);
        world.journal(&stop, "nas");
        assert_eq!(world.open("nas", 8), 0, "the table has it still open");
        world.apply(3, &stop, "nas");
        assert_eq!(world.open("nas", 8), 0);
    }

    #[test]
    fn what_comes_last_counts() {
        let mut world = World::new();
        for number in 0..3 {
            world.journal(&attributes(1, "one", 7), "nas");
            world.journal(&attributes(1, &format!("other {number}"), 9), "nas");
            world.journal(&attributes(2, "one", 7), "nas");
        }
        assert_eq!(world.open("nas", 8), 3);
        world.journal(&attributes(1, "one", 7), "other");
        assert_eq!(world.open("nas", 8), 4, "the same id of another NAS is another session");
        // By their ports, for want of ids.
        world.journal(&attributes(1, "", 20), "nas");
        world.journal(&attributes(1, "", 21), "nas");
        world.journal(&attributes(2, "", 20), "nas");
        assert_eq!(world.open("nas", 8), 5);
    }

    #[test]
    fn memory_is_bounded_and_what_is_applied_makes_room() {
        let mut world = World::new();
        for number in 0..100_000u64 {
            world.journal(&attributes(1, "one", 7), "nas");
            if number % 7 == 0 {
                world.pending.applied(world.next.saturating_sub(3));
            }
        }
        let held: usize = world.pending.shards.iter().map(|shard| shard.lock().capacity()).sum();
        assert!(held <= 64, "{held}");
        for _ in 0..5_000u64 {
            world.journal(&attributes(1, "one", 7), "nas");
        }
        let held: usize = world.pending.shards.iter().map(|shard| shard.lock().len()).sum();
        assert_eq!(held, MOST);
    }
}
