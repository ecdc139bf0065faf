//! Names and sizes of the maps, and the version of it all.

use crate::verdict::{Reason, Verdict};

/// Version of everything that pinned maps and programs agree on. Raise it with any change to the layout
/// of a map, a line or an enum here.
pub const ABI: u32 = 3;

/// Most interfaces that one wall protects.
pub const MAX_INTERFACES: u32 = 4;

/// Most services that one wall knows.
pub const MAX_SERVICES: u32 = 16;

/// Lines of the table of bans, after its header line; a power of two.
pub const BAN_LINES: u32 = 1 << 14;

/// Lines of the table of familiar sources; a power of two.
pub const FAMILIAR_LINES: u32 = 1 << 15;

/// Answers that the NIC cache has room for; a power of two.
pub const ANSWERS: u32 = 1 << 14;

/// Lines of the NIC cache's index, with four words for each answer: one line in a thousand overflows when it is full. A
/// power of two.
pub const ANSWER_LINES: u32 = ANSWERS / 2;

/// Bytes of the ring of samples.
pub const SAMPLES_BYTES: u32 = 1 << 20;

/// What one pair of interface and service, with a reason and a verdict, has seen on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes of their frames.
    pub bytes: u64,
}

/// Counters on each CPU.
pub const COUNTERS: u32 =
    MAX_INTERFACES * MAX_SERVICES * Reason::ROOM as u32 * Verdict::COUNT as u32;

/// Index of a counter, by the number of a [`Verdict`].
#[inline(always)]
pub const fn counter_index(interface: u32, service: u8, reason: u8, verdict: u8) -> u32 {
    let pair =
        (interface & (MAX_INTERFACES - 1)) * MAX_SERVICES + (service as u32 & (MAX_SERVICES - 1));
    (pair * Reason::ROOM as u32 + (reason as u32 & (Reason::ROOM as u32 - 1)))
        * Verdict::COUNT as u32
        + verdict as u32
}

/// Interface, service, reason and verdict of a counter, as numbers.
pub const fn counter_place(index: u32) -> (u32, u8, u8, u8) {
    let verdict = index % Verdict::COUNT as u32;
    let reason = index / Verdict::COUNT as u32 % Reason::ROOM as u32;
    let pair = index / (Verdict::COUNT as u32 * Reason::ROOM as u32);
    (pair / MAX_SERVICES, (pair % MAX_SERVICES) as u8, reason as u8, verdict as u8)
}

/// What the program has measured of itself on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Timing {
    /// Packets seen.
    pub packets: u64,
    /// Packets timed: one of [`TRAFFIC_WEIGHT`](crate::sample::TRAFFIC_WEIGHT).
    pub timed: u64,
    /// Nanoseconds that the timed ones took.
    pub nanoseconds: u64,
    /// Limiter updates lost to another CPU; their packets passed without being charged.
    pub races: u64,
}

/// Where a packet is received: the program is loaded once for each interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Side {
    /// The interface looks at the Internet.
    pub internet: bool,
    /// The interface looks at the customers.
    pub customers: bool,
}

impl Side {
    /// The side from the number that the loader stores in the program.
    #[inline(always)]
    pub const fn from_bits(bits: u32) -> Self {
        Self { internet: bits & 1 != 0, customers: bits & 2 != 0 }
    }

    /// The number to store in the program.
    pub const fn to_bits(self) -> u32 {
        self.internet as u32 | (self.customers as u32) << 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_places_of_their_own() {
        for index in 0..COUNTERS {
            let (interface, service, reason, verdict) = counter_place(index);
            assert_eq!(counter_index(interface, service, reason, verdict), index);
        }
    }
}
