//! Counting, cheap enough for each query: every thread counts in words of its own, and they are added up when somebody
//! asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::report::{Latency, Level, QueryCount, Transport};

/// Types counted by name; the rest is `other`.
const TYPES: [(u16, &str); 16] = [
    (1, "A"),
    (28, "AAAA"),
    (12, "PTR"),
    (15, "MX"),
    (16, "TXT"),
    (5, "CNAME"),
    (2, "NS"),
    (6, "SOA"),
    (33, "SRV"),
    (65, "HTTPS"),
    (64, "SVCB"),
    (43, "DS"),
    (48, "DNSKEY"),
    (35, "NAPTR"),
    (52, "TLSA"),
    (255, "ANY"),
];

/// Response codes counted by name (RFC 6895 section 2.3); the rest is `other`.
const CODES: [&str; 6] = ["NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"];

const TYPE_SLOTS: usize = TYPES.len() + 1;
const CODE_SLOTS: usize = CODES.len() + 1;
const LEVELS: usize = Level::ALL.len();
const QUERIES: usize = Transport::ALL.len() * TYPE_SLOTS * CODE_SLOTS * LEVELS;

/// Buckets of a latency histogram: powers of two from one microsecond to 17 seconds.
const BUCKETS: usize = 25;

/// What is counted of an answered query.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) transport: Transport,
    pub(crate) rtype: u16,
    /// The response code's lower four bits.
    pub(crate) rcode: u8,
    pub(crate) level: Level,
}

/// One thread's counters.
pub(crate) struct Tally {
    queries: Box<[AtomicU64]>,
    buckets: Box<[AtomicU64]>,
    nanoseconds: [AtomicU64; LEVELS],
    events: [AtomicU64; Event::ALL.len()],
}

/// What is counted besides queries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Event {
    Prefetched,
    Coalesced,
    /// Dropped: a malformed packet that deserves no answer, such as an answer.
    Silence,
    /// Dropped: the socket's buffer was full, or no way led to the client.
    Unsent,
    /// Refused with SERVFAIL: too many questions under way.
    TooManyQuestions,
    /// Refused: too many connections.
    TooManyConnections,
}

impl Event {
    const ALL: [Self; 6] = [
        Self::Prefetched,
        Self::Coalesced,
        Self::Silence,
        Self::Unsent,
        Self::TooManyQuestions,
        Self::TooManyConnections,
    ];
}

impl Default for Tally {
    fn default() -> Self {
        let zeroes = |len| std::iter::repeat_with(AtomicU64::default).take(len).collect();
        Self {
            queries: zeroes(QUERIES),
            buckets: zeroes(LEVELS * BUCKETS),
            nanoseconds: Default::default(),
            events: Default::default(),
        }
    }
}

impl Tally {
    pub(crate) fn answered(&self, answered: Answered, took: Duration) {
        self.queries_only(answered, 1);
        let level = answered.level as usize;
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket =
            (nanoseconds / 1_000).max(1).ilog2() as usize + usize::from(nanoseconds > 1_000);
        if let Some(bucket) = self.buckets.get(level * BUCKETS + bucket.min(BUCKETS - 1)) {
            bucket.fetch_add(1, Relaxed);
        }
        if let Some(sum) = self.nanoseconds.get(level) {
            sum.fetch_add(nanoseconds, Relaxed);
        }
    }

    /// Counts queries whose latency nobody knows.
    pub(crate) fn queries_only(&self, answered: Answered, count: u64) {
        let Answered { transport, rtype, rcode, level } = answered;
        let rtype = TYPES.iter().position(|(number, _)| *number == rtype).unwrap_or(TYPES.len());
        let rcode = usize::from(rcode).min(CODES.len());
        let at = ((transport as usize * TYPE_SLOTS + rtype) * CODE_SLOTS + rcode) * LEVELS
            + level as usize;
        if let Some(counter) = self.queries.get(at) {
            counter.fetch_add(count, Relaxed);
        }
    }

    pub(crate) fn event(&self, event: Event, count: u64) {
        if let Some(counter) = self.events.get(event as usize) {
            counter.fetch_add(count, Relaxed);
        }
    }
}

/// The sum of several tallies.
pub(crate) struct Total<'a>(pub(crate) &'a [&'a Tally]);

impl Total<'_> {
    pub(crate) fn queries(&self) -> Vec<QueryCount> {
        let name = |at: usize, names: &[&str]| (*names.get(at).unwrap_or(&"other")).to_owned();
        let types = TYPES.map(|(_, name)| name);
        let counted = (0..QUERIES).map(|at| {
            let (rest, level) = (at / LEVELS, at % LEVELS);
            let (rest, rcode) = (rest / CODE_SLOTS, rest % CODE_SLOTS);
            let (transport, rtype) = (rest / TYPE_SLOTS, rest % TYPE_SLOTS);
            QueryCount {
                transport: Transport::ALL.get(transport).copied().unwrap_or(Transport::Udp),
                rtype: name(rtype, &types),
                rcode: name(rcode, &CODES),
                level: Level::ALL.get(level).copied().unwrap_or(Level::None),
                count: self
                    .0
                    .iter()
                    .filter_map(|tally| Some(tally.queries.get(at)?.load(Relaxed)))
                    .sum(),
            }
        });
        counted.filter(|row| row.count > 0).collect()
    }

    pub(crate) fn latency(&self) -> Vec<Latency> {
        let row = |level: &Level| {
            let at = *level as usize;
            let sum: u64 = self
                .0
                .iter()
                .filter_map(|tally| Some(tally.nanoseconds.get(at)?.load(Relaxed)))
                .sum();
            let buckets = (0..BUCKETS).map(|bucket| {
                let counts = self.0.iter().filter_map(|tally| {
                    Some(tally.buckets.get(at * BUCKETS + bucket)?.load(Relaxed))
                });
                (1e-6 * 2f64.powi(bucket as i32), counts.sum())
            });
            Latency { level: *level, buckets: buckets.collect(), sum: sum as f64 / 1e9 }
        };
        Level::ALL.iter().map(row).collect()
    }

    pub(crate) fn event(&self, event: Event) -> u64 {
        self.0
            .iter()
            .filter_map(|tally| Some(tally.events.get(event as usize)?.load(Relaxed)))
            .sum()
    }
}

/// A type in words, for those that are counted by name; and for the log, the rest as RFC 3597 has it.
pub(crate) fn type_name(rtype: u16) -> String {
    TYPES
        .iter()
        .find(|(number, _)| *number == rtype)
        .map_or_else(|| format!("TYPE{rtype}"), |(_, name)| (*name).to_owned())
}

/// A response code in words.
pub(crate) fn code_name(rcode: u8) -> String {
    CODES.get(usize::from(rcode)).map_or_else(|| format!("RCODE{rcode}"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_found_again_under_its_names() {
        let (one, two) = (Tally::default(), Tally::default());
        let answered =
            Answered { transport: Transport::Tcp, rtype: 28, rcode: 3, level: Level::Wire };
        one.answered(answered, Duration::from_micros(3));
        two.answered(answered, Duration::from_millis(20));
        two.answered(Answered { rtype: 999, rcode: 9, ..answered }, Duration::from_secs(1_000));
        let total = Total(&[&one, &two]);
        let named = |row: &QueryCount| {
            (row.transport, row.rtype.clone(), row.rcode.clone(), row.level, row.count)
        };
        let row = |rtype: &str, rcode: &str, count| {
            (Transport::Tcp, rtype.to_owned(), rcode.to_owned(), Level::Wire, count)
        };
        assert_eq!(
            total.queries().iter().map(named).collect::<Vec<_>>(),
            [row("AAAA", "NXDOMAIN", 2), row("other", "other", 1)]
        );
        let latency = total.latency();
        let wire = latency.iter().find(|row| row.level == Level::Wire).unwrap();
        let filled: Vec<_> = wire.buckets.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled.len(), 3);
        // Each bound is at or above what is in it, and less than twice of it.
        assert!((3e-6..6e-6).contains(&filled[0].0), "{filled:?}");
        assert!((0.02..0.04).contains(&filled[1].0), "{filled:?}");
        assert!((wire.sum - 1_000.020_003).abs() < 1e-6);
    }
}
