//! Access-Requests of the last while, whichever socket they came through: who sends one again gains nothing by it.
//!
//! A reply cache knows a request by the port that it came from, and for some seconds (RFC 5080 section 2.2.2). Whoever has seen
//! one genuine packet could send it again from other ports, or later, without knowing any secret: a failed login until its user
//! is locked out, and one whose password takes long to check until nobody else's is checked. So the packet as a whole is
//! remembered here, and twice:
//!
//! - with its answer, for as long as a reply cache has it, in place of one. A copy gets the same answer, whichever port it comes
//!   from: some NASes ask again from another one. What comes more often than any NAS asks is dropped.
//! - that it was decided, for as long as there is room. When its answer is forgotten it is decided anew, for it may be a NAS or a
//!   probe that makes the same packet once more and means it: nobody is locked out by what is remembered. But it is the same
//!   guess, so it is not held against its user a second time.
//!
//! Both are of fixed size.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use muralla_journal::Ticket;
use muralla_radius_wire::{Identity, Packet, ReplyCache, Seen};
use parking_lot::Mutex;

use crate::recent::{Digest, Recent};

/// Parts of what is remembered with its answer, each with a lock of its own.
const PARTS: usize = 16;

/// Requests of which is known that they were decided: 8 MiB.
const DECIDED: usize = 1 << 18;

/// Seconds for which that is remembered, if nothing newer needs its place.
const LIFE: u64 = 86_400;

/// Copies of a request, from other ports than the first, that get an answer while a reply cache lives. More than a NAS that
/// opens a port for each attempt has attempts in that time.
const COPIES: u64 = 16;

/// Bits of what is remembered that hold the number of copies; those above are the second in which the first of them came.
const COUNT_BITS: u32 = 16;

/// See the module.
pub(crate) struct Asked {
    decided: Recent,
    parts: Box<[Mutex<ReplyCache>]>,
    begun: Instant,
    /// Seconds for which a reply is kept, and with it the number of copies.
    life: u64,
}

/// An Access-Request, as it is remembered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    digest: Digest,
    identity: Identity,
    /// Where it came from when it was new.
    peer: Peer,
    /// Whether the very same packet was decided before.
    pub(crate) is_copy: bool,
}

/// An address and a port.
type Peer = [u8; 18];

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Met {
    /// It has to be decided, and counts as under way now.
    New(Asking),
    /// Another thread is about to answer it, or this one by another port.
    UnderWay,
    /// What was answered lies in the buffer.
    Answered(usize),
    /// It came too often: no NAS asks like that.
    TooOften,
}

impl Asking {
    /// A text that no other request has.
    pub(crate) fn text(&self) -> String {
        format!("request {:032x}", self.digest.bits())
    }
}

impl Asked {
    /// Answers take about `bytes`, and are remembered for `life`. The keys must be secret and random. Time is counted from
    /// `begun`.
    pub(crate) fn new(bytes: usize, life: Duration, keys: [u64; 2], begun: Instant) -> Self {
        let part = || Mutex::new(ReplyCache::new(bytes / PARTS, life));
        Self {
            decided: Recent::new(DECIDED, keys),
            parts: std::iter::repeat_with(part).take(PARTS).collect(),
            begun,
            life: life.as_secs().max(1),
        }
    }

    /// Looks a request of a NAS up. If it has been answered, the answer is written into `room`.
    pub(crate) fn begin(
        &self,
        nas: &str,
        packet: &Packet<'_>,
        source: SocketAddr,
        now: Instant,
        room: &mut [u8],
    ) -> Met {
        let digest = self.decided.digest(nas, packet.bytes());
        // What tells requests apart in a cache is where they come from: here, all that they say.
        let stand_in = SocketAddr::from((Ipv6Addr::from_bits(digest.bits()), 0));
        let identity = Identity::of(packet, stand_in);
        let peer = peer(source);
        let Some(part) = self.part(digest) else {
            return Met::New(Asking { digest, identity, peer, is_copy: false });
        };
        let seconds = self.seconds(now);
        let mut part = part.lock();
        let answered = match part.begin(identity, now) {
            Seen::UnderWay => return Met::UnderWay,
            Seen::Answered(kept) => {
                let Some((first, reply)) = kept.split_first_chunk::<{ size_of::<Peer>() }>() else {
                    return Met::UnderWay;
                };
                let len = reply.len();
                let Some(room) = room.get_mut(..len) else { return Met::UnderWay };
                room.copy_from_slice(reply);
                // Whoever sends copies from elsewhere does not keep it from its own answer.
                if *first == peer {
                    return Met::Answered(len);
                }
                Some(len)
            }
            Seen::New => None,
        };
        let known = self.decided.find(digest, seconds).map(counted);
        let fresh = known.filter(|(since, _)| seconds.saturating_sub(*since) <= self.life);
        let (since, copies) = fresh.unwrap_or((seconds, 0));
        if copies >= COPIES {
            if answered.is_none() {
                part.forget(identity);
            }
            return Met::TooOften;
        }
        if fresh.is_some() || answered.is_some() {
            self.decided.remember(digest, count(since, copies + 1), LIFE, seconds);
        }
        answered.map_or_else(
            || Met::New(Asking { digest, identity, peer, is_copy: known.is_some() }),
            Met::Answered,
        )
    }

    /// It was decided: another copy of it is no other attempt.
    pub(crate) fn decided(&self, asking: &Asking, now: Instant) {
        let seconds = self.seconds(now);
        let known = self.decided.find(asking.digest, seconds).map(counted);
        let fresh = known.filter(|(since, _)| seconds.saturating_sub(*since) <= self.life);
        let (since, copies) = fresh.unwrap_or((seconds, 0));
        self.decided.remember(asking.digest, count(since, copies), LIFE, seconds);
    }

    /// This is sent: copies get the same.
    pub(crate) fn answered(&self, asking: &Asking, reply: &[u8], now: Instant) {
        if let Some(part) = self.part(asking.digest) {
            part.lock().answered_with(asking.identity, &asking.peer, reply, now);
        }
    }

    /// It will not be answered: what is sent again is looked at anew.
    pub(crate) fn forget(&self, asking: &Asking) {
        if let Some(part) = self.part(asking.digest) {
            part.lock().forget(asking.identity);
        }
    }

    fn part(&self, digest: Digest) -> Option<&Mutex<ReplyCache>> {
        // The lowest bits of the first half choose a row among those that were decided.
        let at = usize::try_from(digest.bits() & 0xff).unwrap_or(0);
        self.parts.get(at % PARTS)
    }

    fn seconds(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.begun).as_secs()
    }
}

fn peer(source: SocketAddr) -> Peer {
    let mut peer = [0; 18];
    let (address, port) = peer.split_at_mut(16);
    let ip = match source.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    address.copy_from_slice(&ip.octets());
    port.copy_from_slice(&source.port().to_be_bytes());
    peer
}

/// Since when how many copies came.
fn counted(ticket: Ticket) -> (u64, u64) {
    (ticket.0 >> COUNT_BITS, ticket.0 & ((1 << COUNT_BITS) - 1))
}

fn count(since: u64, copies: u64) -> Ticket {
    Ticket(since << COUNT_BITS | copies.min((1 << COUNT_BITS) - 1))
}

#[cfg(test)]
mod tests {
    use muralla_radius_wire::LONGEST;

    use super::*;

    const LIFE: Duration = Duration::from_secs(5);

    /// An Access-Request with this identifier and User-Name `a`.
    fn bytes(id: u8) -> Vec<u8> {
        let mut bytes = vec![1, id, 0, 23];
        bytes.extend([7; 16]);
        bytes.extend([1, 3, b'a']);
        bytes
    }

    struct World {
        asked: Asked,
        begun: Instant,
        room: Vec<u8>,
        port: u16,
    }

    impl World {
        fn new() -> Self {
            let begun = Instant::now();
            let asked = Asked::new(0, LIFE, [1, 2], begun);
            Self { asked, begun, room: vec![0; LONGEST], port: 0 }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.begun + Duration::from_secs(seconds)
        }

        /// From another port each time.
        fn begin(&mut self, nas: &str, id: u8, seconds: u64) -> Met {
            self.port += 1;
            self.begin_from(self.port, nas, id, seconds)
        }

        fn begin_from(&mut self, port: u16, nas: &str, id: u8, seconds: u64) -> Met {
            let (bytes, now) = (bytes(id), self.at(seconds));
            let packet = Packet::parse(&bytes).unwrap();
            let source = SocketAddr::from(([192, 0, 2, 1], port));
            self.asked.begin(nas, &packet, source, now, &mut self.room)
        }

        fn new_one(&mut self, id: u8, seconds: u64) -> Asking {
            match self.begin("one", id, seconds) {
                Met::New(asking) => asking,
                other => panic!("{other:?}"),
            }
        }

        fn answer(&self, asking: &Asking, reply: &[u8], seconds: u64) {
            self.asked.decided(asking, self.at(seconds));
            self.asked.answered(asking, reply, self.at(seconds));
        }
    }

    #[test]
    fn a_copy_gets_the_same_answer_while_it_is_known_and_is_no_other_attempt_after_that() {
        let mut world = World::new();
        let first = world.new_one(1, 0);
        assert!(!first.is_copy);
        assert!(matches!(world.begin("one", 1, 0), Met::UnderWay));
        world.answer(&first, b"the answer", 1);
        let Met::Answered(len) = world.begin("one", 1, 5) else { panic!("it is known") };
        assert_eq!(&world.room[..len], b"the answer");
        // The same by another NAS, and another request of the same one, are others.
        assert!(matches!(world.begin("two", 1, 5), Met::New(Asking { is_copy: false, .. })));
        assert!(!world.new_one(2, 5).is_copy);
        let later = world.new_one(1, 7);
        assert!(later.is_copy, "its answer is forgotten, but not that there was one");
        assert_eq!(later.text(), first.text());
        world.answer(&later, b"another answer", 7);
        let Met::Answered(len) = world.begin("one", 1, 8) else { panic!("it is known") };
        assert_eq!(&world.room[..len], b"another answer");
    }

    #[test]
    fn what_was_dropped_is_looked_at_anew_and_was_no_attempt() {
        let mut world = World::new();
        let first = world.new_one(1, 0);
        world.asked.forget(&first);
        assert!(!world.new_one(1, 0).is_copy);
    }

    #[test]
    fn copies_are_answered_a_few_times_and_nobody_is_locked_out() {
        let mut world = World::new();
        let first = world.new_one(1, 0);
        world.answer(&first, b"the answer", 0);
        for _ in 0..COPIES {
            assert!(matches!(world.begin("one", 1, 1), Met::Answered(_)));
        }
        for _ in 0..1_000 {
            assert!(matches!(world.begin("one", 1, 2), Met::TooOften));
        }
        assert!(matches!(world.begin_from(1, "one", 1, 2), Met::Answered(_)), "who asked first is");
        assert!(matches!(world.begin("one", 2, 2), Met::New(_)), "others are answered");
        // A probe that sends the same for ever has an answer each time.
        for round in 1..1_000 {
            let again = world.new_one(1, 6 * round);
            assert!(again.is_copy);
            world.answer(&again, b"the answer", 6 * round);
            assert!(matches!(world.begin("one", 1, 6 * round + 1), Met::Answered(_)));
        }
    }

    /// Where answers are forgotten early, for want of room, copies are no cheap way to have work done.
    #[test]
    fn copies_whose_answer_is_lost_are_decided_a_few_times_only() {
        let mut world = World::new();
        let mut decided = 0;
        for _ in 0..1_000 {
            if let Met::New(asking) = world.begin("one", 1, 3) {
                decided += 1;
                world.asked.decided(&asking, world.at(3));
                // As a lapped ring does.
                world.asked.forget(&asking);
            }
        }
        assert_eq!(decided, COPIES + 1);
        assert!(world.new_one(1, 9).is_copy);
    }
}
