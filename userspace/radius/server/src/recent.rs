//! Accounting-Requests of the last while, whichever socket they came through: what is in the journal already is not written
//! again.
//!
//! A reply cache knows a request by the port that it came from, and for some seconds (RFC 5080 section 2.2.2). Whoever has seen
//! one genuine packet could send it again from other ports, as often as he likes, and fill the journal. So the packet as a whole
//! is remembered here with the number of its record. Those whose Event-Timestamp is not about the time at which they came for a
//! minute only: a box without a clock, or whose clock begins with the same second at each boot, may say the same again, and means
//! it.
//!
//! A table of fixed size for all threads, and none waits for another. What a slot says is proven by what it says: its words are
//! mixed with each other, so that one that was read while another thread wrote it fits no packet.

use std::hash::Hasher;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use muralla_journal::Ticket;
use muralla_radius_accounting::{Doubts, Record};
use siphasher::sip128::{Hasher128, SipHasher13};

/// Slots of a row.
const ROW: usize = 4;

/// Seconds for which a packet is remembered that tells about when it was made, and one that does not.
const DATED: u64 = 3_600;
const UNDATED: u64 = 60;

/// See the module.
pub(crate) struct Recent {
    keys: [u64; 2],
    rows: Box<[[Slot; ROW]]>,
}

#[derive(Default)]
#[repr(align(32))]
struct Slot {
    /// The first half of the digest and the ticket, the second half and the time.
    one: AtomicU64,
    other: AtomicU64,
    ticket: AtomicU64,
    /// Seconds until which it is remembered; 0 if there is nothing.
    until: AtomicU64,
}

/// Seconds for which a record's packet is remembered: long only if its Event-Timestamp is within the tolerance (in seconds) of
/// when it was sent, so that the same event has that stamp and no other one can.
pub(crate) fn life(record: &Record<'_>, tolerance: u32) -> u64 {
    let believed = !record.event(tolerance).doubts.has(Doubts::CLOCK);
    if record.event_timestamp.is_some() && believed { DATED } else { UNDATED }
}

/// What stands for a packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Digest(u64, u64);

impl Digest {
    /// All of it as a number.
    pub(crate) fn bits(self) -> u128 {
        u128::from(self.0) << 64 | u128::from(self.1)
    }
}

impl Recent {
    /// Room for about so many packets, 32 bytes for each. The keys must be secret and random.
    pub(crate) fn new(packets: usize, keys: [u64; 2]) -> Self {
        let rows = (packets / ROW).clamp(1, 1 << 24).next_power_of_two();
        Self { keys, rows: std::iter::repeat_with(Default::default).take(rows).collect() }
    }

    /// What stands for the packet of a NAS.
    pub(crate) fn digest(&self, nas: &str, packet: &[u8]) -> Digest {
        let mut hasher = SipHasher13::new_with_keys(self.keys[0], self.keys[1]);
        hasher.write_usize(nas.len());
        hasher.write(nas.as_bytes());
        hasher.write(packet);
        let digest = hasher.finish128();
        Digest(digest.h1, digest.h2)
    }

    /// What was remembered with the packet, such as the number of its record. `now` is in seconds of a clock that does not go back.
    pub(crate) fn find(&self, digest: Digest, now: u64) -> Option<Ticket> {
        self.row(digest)?.iter().find_map(|slot| {
            let (ticket, until) = (slot.ticket.load(Relaxed), slot.until.load(Relaxed));
            let is_it = slot.one.load(Relaxed) ^ ticket == digest.0
                && slot.other.load(Relaxed) ^ until == digest.1;
            (is_it && until > now).then_some(Ticket(ticket))
        })
    }

    /// Remembers it for `life` seconds: where it is already, or in the place of the one that would be forgotten first.
    pub(crate) fn remember(&self, digest: Digest, ticket: Ticket, life: u64, now: u64) {
        let Some(row) = self.row(digest) else { return };
        let is_its = |slot: &&Slot| {
            slot.one.load(Relaxed) ^ slot.ticket.load(Relaxed) == digest.0
                && slot.other.load(Relaxed) ^ slot.until.load(Relaxed) == digest.1
        };
        let first = || row.iter().min_by_key(|slot| slot.until.load(Relaxed));
        let Some(slot) = row.iter().find(is_its).or_else(first) else { return };
        let until = now.saturating_add(life);
        slot.ticket.store(ticket.0, Relaxed);
        slot.until.store(until, Relaxed);
        slot.one.store(digest.0 ^ ticket.0, Relaxed);
        slot.other.store(digest.1 ^ until, Relaxed);
    }

    fn row(&self, digest: Digest) -> Option<&[Slot; ROW]> {
        // Their number is a power of two.
        self.rows.get(usize::try_from(digest.0).unwrap_or(0) & self.rows.len().wrapping_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_packet_is_known_by_all_of_it_and_for_a_while() {
        let recent = Recent::new(1_000, [1, 2]);
        let packet = recent.digest("one", b"packet");
        assert_eq!(recent.find(packet, 0), None);
        recent.remember(packet, Ticket(7), UNDATED, 100);
        assert_eq!(recent.find(packet, 100 + UNDATED - 1), Some(Ticket(7)));
        assert_eq!(recent.find(packet, 100 + UNDATED), None);
        for (nas, bytes) in [("two", &b"packet"[..]), ("one", b"packe"), ("on", b"epacket")] {
            assert_eq!(recent.find(recent.digest(nas, bytes), 100), None, "{nas}");
        }
        recent.remember(packet, Ticket(8), DATED, 200);
        assert_eq!(recent.find(packet, 200 + DATED - 1), Some(Ticket(8)));
    }

    #[test]
    fn it_is_bounded_and_forgets_what_ends_first() {
        let recent = Recent::new(ROW, [1, 2]);
        let digest = |number: u64| recent.digest("one", &number.to_be_bytes());
        recent.remember(digest(0), Ticket(1), DATED, 0);
        for number in 1..100 {
            recent.remember(digest(number), Ticket(number + 1), UNDATED, number);
        }
        assert_eq!(recent.find(digest(0), 100), Some(Ticket(1)));
        assert_eq!(recent.find(digest(99), 100), Some(Ticket(100)));
        assert_eq!(recent.find(digest(50), 100), None);
    }

    /// A box whose clock begins with the same second at each boot says the same again, and means it.
    #[test]
    fn a_stamp_dates_a_packet_only_if_it_is_about_now() {
        const NOW: u64 = 1_800_000_000;
        let life_of = |stamp: Option<u32>, delay: Option<u32>| {
            // Acct-Status-Type: Accounting-On.
            let mut attributes = vec![40, 6, 0, 0, 0, 7];
            for (kind, number) in [(55, stamp), (41, delay)] {
                if let Some(number) = number {
                    attributes.extend([kind, 6]);
                    attributes.extend(number.to_be_bytes());
                }
            }
            let source = "192.0.2.1:1813".parse().unwrap();
            let record = Record::of_attributes(&attributes, "nas", source, NOW * 1_000_000_000);
            life(&record.unwrap(), 120)
        };
        let now = NOW as u32;
        for (stamp, delay, expected) in [
            (None, None, UNDATED),
            (Some(now), None, DATED),
            (Some(now - 120), None, DATED),
            (Some(now + 120), None, DATED),
            (Some(now - 121), None, UNDATED),
            (Some(now + 121), None, UNDATED),
            (Some(now - 600), Some(600), DATED),
            // 2000-01-01, where clocks begin that nobody sets.
            (Some(946_684_800), None, UNDATED),
            (Some(946_684_800), Some(5), UNDATED),
            (Some(0), None, UNDATED),
        ] {
            assert_eq!(life_of(stamp, delay), expected, "{stamp:?} {delay:?}");
        }
    }

    #[test]
    fn what_is_remembered_again_takes_no_other_place() {
        let recent = Recent::new(ROW, [1, 2]);
        let digest = |number: u64| recent.digest("one", &number.to_be_bytes());
        recent.remember(digest(0), Ticket(1), UNDATED, 0);
        for round in 0..100 {
            recent.remember(digest(1), Ticket(round), DATED, 1);
        }
        assert_eq!(recent.find(digest(0), 1), Some(Ticket(1)));
        assert_eq!(recent.find(digest(1), 1), Some(Ticket(99)));
    }

    /// Whatever is read while others write, is what somebody wrote of this packet.
    #[test]
    fn many_threads_never_take_one_packet_for_another() {
        let recent = Recent::new(64, [1, 2]);
        thread::scope(|scope| {
            for first in 0..4 {
                let recent = &recent;
                scope.spawn(move || {
                    for round in 0..20_000u64 {
                        let number = (round * 7 + first) % 500;
                        let digest = recent.digest("one", &number.to_be_bytes());
                        if let Some(ticket) = recent.find(digest, 5) {
                            assert_eq!(ticket.0 % 500, number);
                        }
                        let life = if round % 3 == 0 { DATED } else { UNDATED };
                        recent.remember(digest, Ticket(number + 500 * round), life, 5);
                    }
                });
            }
        });
    }
}
