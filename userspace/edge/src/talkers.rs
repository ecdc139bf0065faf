//! The busiest sources and networks of the last minutes, in bounded memory.
//!
//! Space-Saving (Metwally, Agrawal, El Abbadi: Efficient computation of frequent and top-k elements
//! in data streams, 2005): a newcomer takes the place of the smallest counter and inherits its
//! count as its possible error, so that a heavy source can't be pushed out by a flood of spoofed
//! ones. Old packets fade exponentially: instead of shrinking every counter all the time, newer
//! packets weigh more (forward decay), and now and then everything is scaled back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use muralla_abi::sample::{Sample, TRAFFIC_WEIGHT};
use muralla_abi::verdict::{Reason, Verdict};
use serde::{Deserialize, Serialize};

use crate::frame;

/// Time after which a packet counts half.
pub const HALF_LIFE: Duration = Duration::from_secs(10);

/// Most counters; a sample from an unknown source costs a walk over all of them.
pub const MAX_CAPACITY: usize = 4096;

/// Half-lives after which the counters are scaled back, long before an f64 loses anything.
const SCALE_BACK_AFTER: f64 = 64.0;

const NETWORK_V4: u8 = 24;
const NETWORK_V6: u8 = 48;

/// Who sends most.
#[derive(Clone, Debug)]
pub struct Talkers {
    capacity: usize,
    /// Time at which a packet weighs one.
    landmark: Duration,
    started: Option<Duration>,
    sources: Counters,
    networks: Counters,
}

/// The busiest, first the one with most packets.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Top {
    /// Single addresses.
    pub sources: Vec<Talker>,
    /// Networks: /24 for IPv4, /48 for IPv6.
    pub prefixes: Vec<Talker>,
}

/// One busy source or network.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Talker {
    /// The address or network.
    pub prefix: IpNet,
    /// Packets a second that it surely sends by the samples seen, over about two half-lives.
    pub packets_per_second: f64,
    /// Bits a second, counted from the Ethernet header on.
    pub bits_per_second: f64,
    /// Share of its packets that never reached a service (dropped, or answered by the wall), 0 to 1.
    pub dropped_share: f64,
    /// The latest [`Reason::name`] seen for it.
    pub last_reason: String,
}

impl Talkers {
    /// Follows up to `capacity` sources and as many networks; held within 1 and [`MAX_CAPACITY`].
    pub fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.clamp(1, MAX_CAPACITY),
            landmark: Duration::ZERO,
            started: None,
            sources: Counters::default(),
            networks: Counters::default(),
        }
    }

    /// Counts a sample, seen at `now` since any epoch. Frames that are not IP are left out.
    ///
    /// A traffic sample stands for [`TRAFFIC_WEIGHT`] packets. A sample of a reason is one of an
    /// unknown number and stands for itself: it shows who was dropped when little else goes on.
    pub fn observe(&mut self, sample: &Sample, now: Duration) {
        let Some(source) = frame::source(frame::bytes(sample)) else {
            return;
        };
        if self.started.is_none() {
            self.started = Some(now);
            self.landmark = now;
        }
        let packets = if sample.traffic == 0 { 1.0 } else { TRAFFIC_WEIGHT as f64 };
        let weight = packets * self.weight_at(now);
        let seen = Seen {
            packets: weight,
            bytes: weight * f64::from(sample.len),
            dropped: matches!(
                Verdict::from_u8(sample.verdict),
                Some(Verdict::Drop | Verdict::Slip)
            ),
            reason: sample.reason,
        };
        self.sources.add(IpNet::from(source), &seen, self.capacity);
        self.networks.add(network(source), &seen, self.capacity);
    }

    /// The `n` busiest sources and networks at `now`.
    pub fn top(&self, n: usize, now: Duration) -> Top {
        let Some(started) = self.started else {
            return Top::default();
        };
        let half_lives = |span: Duration| span.as_secs_f64() / HALF_LIFE.as_secs_f64();
        let fade = (-self.age(now)).exp2();
        // A steady rate r adds up to r * half-life / ln 2, once it has gone on for long enough.
        let elapsed = now.saturating_sub(started).max(Duration::from_secs(1));
        let filled = 1.0 - (-half_lives(elapsed)).exp2();
        let per_second = fade * std::f64::consts::LN_2 / HALF_LIFE.as_secs_f64() / filled;
        Top { sources: self.sources.top(n, per_second), prefixes: self.networks.top(n, per_second) }
    }

    /// Half-lives between the landmark and `now`.
    fn age(&self, now: Duration) -> f64 {
        now.saturating_sub(self.landmark).as_secs_f64() / HALF_LIFE.as_secs_f64()
    }

    fn weight_at(&mut self, now: Duration) -> f64 {
        let age = self.age(now);
        if age < SCALE_BACK_AFTER {
            return age.exp2();
        }
        let factor = (-age).exp2();
        self.sources.scale(factor);
        self.networks.scale(factor);
        self.landmark = now;
        1.0
    }
}

fn network(address: IpAddr) -> IpNet {
    let length = if address.is_ipv4() { NETWORK_V4 } else { NETWORK_V6 };
    IpNet::new(address, length).map_or_else(|_| address.into(), |network| network.trunc())
}

struct Seen {
    packets: f64,
    bytes: f64,
    dropped: bool,
    reason: u8,
}

#[derive(Clone, Debug, Default)]
struct Counters(HashMap<IpNet, Counter>);

#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    /// Packets, what the counter had when it changed hands included.
    count: f64,
    /// What it had when it changed hands.
    error: f64,
    bytes: f64,
    dropped: f64,
    last_reason: u8,
}

impl Counter {
    /// Packets that were surely its own.
    fn own(&self) -> f64 {
        self.count - self.error
    }
}

impl Counters {
    fn add(&mut self, key: IpNet, seen: &Seen, capacity: usize) {
        let inherited = if self.0.len() >= capacity && !self.0.contains_key(&key) {
            self.remove_smallest()
        } else {
            0.0
        };
        let counter = self.0.entry(key).or_insert_with(|| Counter {
            count: inherited,
            error: inherited,
            ..Counter::default()
        });
        counter.count += seen.packets;
        counter.bytes += seen.bytes;
        counter.dropped += if seen.dropped { seen.packets } else { 0.0 };
        counter.last_reason = seen.reason;
    }

    /// Frees the smallest counter and returns its count.
    fn remove_smallest(&mut self) -> f64 {
        let smallest = self.0.iter().min_by(|(_, a), (_, b)| a.count.total_cmp(&b.count));
        let Some((key, count)) = smallest.map(|(key, counter)| (*key, counter.count)) else {
            return 0.0;
        };
        self.0.remove(&key);
        count
    }

    fn scale(&mut self, factor: f64) {
        for counter in self.0.values_mut() {
            counter.count *= factor;
            counter.error *= factor;
            counter.bytes *= factor;
            counter.dropped *= factor;
        }
        self.0.retain(|_, counter| counter.count > 1e-9);
    }

    /// By what is surely their own: in a flood of random sources every counter was inherited many
    /// times, and none of them is busy.
    fn top(&self, n: usize, per_second: f64) -> Vec<Talker> {
        let mut all: Vec<_> = self.0.iter().collect();
        all.sort_by(|(a, x), (b, y)| y.own().total_cmp(&x.own()).then(a.cmp(b)));
        all.into_iter()
            .take(n)
            .map(|(prefix, counter)| Talker {
                prefix: *prefix,
                packets_per_second: counter.own() * per_second,
                bits_per_second: counter.bytes * 8.0 * per_second,
                dropped_share: if counter.own() > 0.0 {
                    (counter.dropped / counter.own()).clamp(0.0, 1.0)
                } else {
                    0.0
                },
                last_reason: Reason::from_u8(counter.last_reason)
                    .map_or("unknown", Reason::name)
                    .into(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::tests::{ethernet, ipv4, ipv6, sample};

    fn from(address: [u8; 4], verdict: Verdict, traffic: bool) -> Sample {
        let mut sample =
            sample(&ethernet(&[0x0800], &ipv4(address, [192, 0, 2, 1], 17, 0, &[0; 66])));
        sample.verdict = verdict as u8;
        sample.reason = Reason::SourceLimit as u8;
        sample.traffic = u8::from(traffic);
        sample
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn estimates_steady_rates_from_the_first_minute_on() {
        let mut talkers = Talkers::new(64);
        let busy = from([198, 51, 100, 1], Verdict::Drop, true);
        let quiet = from([198, 51, 100, 2], Verdict::Pass, true);
        for tick in 0..600 {
            let now = seconds(f64::from(tick) / 10.0);
            talkers.observe(&busy, now);
            if tick % 5 == 0 {
                talkers.observe(&quiet, now);
            }
            if [50, 100, 599].contains(&tick) {
                let top = talkers.top(10, now);
                let expected = 10.0 * TRAFFIC_WEIGHT as f64;
                let first = &top.sources[0];
                assert_eq!(first.prefix, "198.51.100.1/32".parse().unwrap());
                assert!(
                    (first.packets_per_second / expected - 1.0).abs() < 0.1,
                    "{tick}: {first:?}"
                );
                assert!(
                    (first.bits_per_second / (expected * 800.0) - 1.0).abs() < 0.1,
                    "{first:?}"
                );
                assert_eq!((first.dropped_share, top.sources[1].dropped_share), (1.0, 0.0));
                assert_eq!(first.last_reason, "source_limit");
                let network = &top.prefixes[0];
                assert_eq!(network.prefix, "198.51.100.0/24".parse().unwrap());
                assert!((network.dropped_share - 5.0 / 6.0).abs() < 0.02, "{network:?}");
            }
        }
    }

    #[test]
    fn forgets_who_went_silent() {
        let mut talkers = Talkers::new(8);
        talkers.observe(&from([192, 0, 2, 9], Verdict::Drop, true), seconds(5.0));
        let rate = |at: f64| talkers.top(1, seconds(at)).sources[0].packets_per_second;
        assert!(rate(105.0) / rate(6.0) < 1e-2);
        // Long silences, and clocks that go backwards, are no reason to fail.
        talkers.observe(&from([192, 0, 2, 8], Verdict::Pass, true), seconds(1e7));
        talkers.observe(&from([192, 0, 2, 8], Verdict::Pass, true), seconds(1.0));
        let top = talkers.top(9, seconds(1e7));
        assert_eq!(top.sources.len(), 1);
        assert!(top.sources[0].packets_per_second.is_finite());
    }

    #[test]
    fn a_heavy_source_survives_a_flood_of_spoofed_ones() {
        let mut talkers = Talkers::new(32);
        for i in 0..20_000_u32 {
            let now = seconds(f64::from(i) / 1000.0);
            let [_, a, b, c] = i.to_be_bytes();
            talkers.observe(&from([10 + a, b, c, 1], Verdict::Drop, true), now);
            if i % 10 == 0 {
                talkers.observe(&from([203, 0, 113, 7], Verdict::Pass, true), now);
            }
        }
        let top = talkers.top(3, seconds(20.0));
        assert_eq!(top.sources[0].prefix, "203.0.113.7/32".parse().unwrap());
        assert!(
            top.sources[0].packets_per_second > 20.0 * top.sources[1].packets_per_second,
            "{top:?}"
        );
        assert!(top.sources[0].dropped_share < 0.01, "{top:?}");
    }

    #[test]
    fn networks_of_ipv6_are_48_and_what_is_not_ip_is_left_out() {
        let mut talkers = Talkers::new(0);
        talkers.observe(&sample(&[0; 60]), seconds(0.0));
        assert_eq!(talkers.top(10, seconds(1.0)), Top::default());
        talkers.observe(&sample(&ethernet(&[0x86dd], &ipv6(1, 17, &[]))), seconds(0.0));
        let top = talkers.top(10, seconds(1.0));
        assert_eq!(top.sources[0].prefix, "2001:db8::1/128".parse().unwrap());
        assert_eq!(top.prefixes[0].prefix, "2001:db8::/48".parse().unwrap());
    }

    proptest! {
        #[test]
        fn never_more_than_the_truth_and_never_more_counters_than_asked(
            sent in prop::collection::vec((0_u8..30, any::<bool>(), any::<bool>()), 1..400),
            capacity in 1_usize..10,
        ) {
            let mut talkers = Talkers::new(capacity);
            let mut truth: HashMap<IpNet, f64> = HashMap::new();
            for (host, traffic, drop) in sent {
                let verdict = if drop { Verdict::Drop } else { Verdict::Pass };
                talkers.observe(&from([192, 0, 2, host], verdict, traffic), seconds(0.0));
                let key = IpNet::from(IpAddr::from([192, 0, 2, host]));
                *truth.entry(key).or_default() += if traffic { TRAFFIC_WEIGHT as f64 } else { 1.0 };
            }
            prop_assert!(talkers.sources.0.len() <= capacity);
            for (key, counter) in &talkers.sources.0 {
                prop_assert!(counter.own() <= truth[key] && truth[key] <= counter.count);
                prop_assert!(counter.dropped <= counter.own());
            }
            // The guarantee of the paper: whoever has more than its share of the whole is in.
            let share = truth.values().sum::<f64>() / capacity as f64;
            for (key, count) in truth {
                prop_assert!(count <= share || talkers.sources.0.contains_key(&key));
            }
        }
    }
}
