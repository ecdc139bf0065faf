use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::table::{HostLines, Seeds};

const SEEDS: Seeds = Seeds::TEST;

const LINES: u32 = 64;
const SECOND: u64 = 1_000_000_000 >> TICK_SHIFT;

type Table = Vec<[AtomicU64; 8]>;

fn table() -> Table {
    (0..LINES).map(|_| Default::default()).collect()
}

fn source(host: u32) -> Source {
    Source { addr: Addr::v4(host), v6: false, service: 2 }
}

struct Asking<'a> {
    lines: HostLines<'a>,
    source: Source,
    rate: Rate,
    now: u64,
}

impl<'a> Search for Asking<'a> {
    type Word = &'a AtomicU64;

    fn find(&self, level: u32) -> Found<&'a AtomicU64> {
        let Self { lines, source, rate, now } = self;
        find(lines, &SEEDS, LINES - 1, *source, level, *rate, *now)
    }
}

/// Whether one more packet passes, which is charged then; and whether it was charged everywhere.
fn admit(table: &Table, source: Source, networks: bool, rate: Rate, now: u64) -> Option<bool> {
    match look(networks, &Asking { lines: HostLines(table), source, rate, now }) {
        Look::Within(places) => Some(places.charge()),
        Look::NetworkAbove(_) | Look::SourceAbove => None,
    }
}

proptest! {
    /// Whatever the schedule: never more than the burst and what the rate has given since.
    #[test]
    fn no_schedule_beats_the_rate(
        interval in 1u32..100_000,
        burst in 1u32..1_000,
        begin in 0u64..1 << 39,
        gaps in proptest::collection::vec((0u64..1 << 26, 1u32..20), 1..200),
    ) {
        let rate = Rate { interval, tolerance: interval * burst };
        let table = table();
        let (mut now, mut admitted) = (begin, 0);
        for (gap, packets) in gaps {
            // Often none at all.
            now += if gap & 3 == 0 { 0 } else { gap >> (gap & 15) };
            for _ in 0..packets {
                admitted += u64::from(admit(&table, source(9), false, rate, now).is_some());
            }
            let most = (u64::from(rate.tolerance) + now - begin) / u64::from(interval);
            prop_assert!(admitted <= most, "{admitted} of {most}");
        }
    }

    /// After a pause as long as the burst is worth, all of it is there again.
    #[test]
    fn a_pause_gives_the_burst_back(interval in 1u32..100_000, burst in 1u32..300, begin in 0u64..1 << 39) {
        let rate = Rate { interval, tolerance: interval * burst };
        let table = table();
        for round in 0..3 {
            let now = begin + round * u64::from(rate.tolerance);
            let admitted = (0..burst + 50)
                .filter(|_| admit(&table, source(9), false, rate, now).is_some())
                .count();
            prop_assert_eq!(admitted as u32, burst);
        }
    }

    /// However full the table is, and of whatever limits: who was not there before gets half of his burst through, and
    /// so do the networks around him. In an empty table he gets all of it.
    #[test]
    fn a_newcomer_passes(
        words in any::<u64>(),
        least in 0u64..1 << 32,
        interval in 1u32..1 << 20,
        burst in 1u32..100,
        host in any::<u32>(),
        v6 in any::<bool>(),
        now in 0u64..1 << 39,
    ) {
        let rate = Rate { interval, tolerance: interval * burst };
        let addr = if v6 { Addr::v6(u128::from(host) << 96 | 7) } else { Addr::v4(host) };
        let source = Source { addr, v6, service: 2 };
        let (empty, full) = (table(), table());
        for (index, word) in full.iter().flatten().enumerate() {
            let ahead = least + (words.rotate_left(index as u32) & 0xffff_ffff);
            let other = (index as u64 * 2 + 1) << TIME_BITS;
            word.store(other | (now + ahead) & TIME_MASK, Ordering::Relaxed);
        }
        for level in 0..LEVELS as u32 {
            let fingerprint = source.hash(&SEEDS, level).fingerprint();
            prop_assume!(fingerprint > 2 * 8 * u64::from(LINES));
        }
        let admitted = |table| {
            (0..burst + 9).filter(|_| admit(table, source, true, rate, now).is_some()).count() as u32
        };
        prop_assert_eq!(admitted(&empty), burst);
        let admitted = admitted(&full);
        prop_assert!(admitted >= burst.div_ceil(2), "{} of {}", admitted, burst);
    }
}

/// Time comes round once in 19.5 hours: then too, a place that was tidied in the last hour holds nobody back.
#[test]
fn an_idle_place_is_never_ahead() {
    let rate = Rate { interval: 1_000, tolerance: 10_000 };
    for before in [1, 1_000, HORIZON] {
        let (table, now) = (table(), (1 << TIME_BITS) - before);
        for word in table.iter().flatten() {
            word.store(idle(now - 3_600 * SECOND), Ordering::Relaxed);
        }
        let admitted =
            (0..20).filter(|_| admit(&table, source(9), false, rate, now).is_some()).count();
        assert_eq!(admitted, 10, "{before} ticks before");
    }
}

/// A busy source stays in the table whatever comes and goes around it.
#[test]
fn sources_of_one_packet_do_not_hide_a_busy_one() {
    // A hundred a second, of ten at once, in a table of 512 places; 20,000 spoofed sources a second.
    let rate = Rate::per_second(100.0, 10.0);
    let table = table();
    let seconds = 5;
    let (mut admitted, mut now) = (0, SECOND);
    for number in 0..seconds * 20_000 {
        now += SECOND / 20_000;
        let stranger = source(0x0b00_0000 + number);
        assert!(admit(&table, stranger, false, rate, now).is_some());
        // He sends twenty times what he may.
        if number % 10 == 0 {
            admitted += u32::from(admit(&table, source(9), false, rate, now).is_some());
        }
    }
    let offered = seconds * 2_000;
    assert!(admitted < offered / 4, "{admitted} of {offered} passed");
}

/// Each network has its multiple, and one below its own limit is refused when they are used up.
#[test]
fn networks_have_their_multiples() {
    let rate = Rate { interval: 1 << 20, tolerance: 10 << 20 };
    for (v6, level, multiple) in [(false, 1, 32), (true, 1, 2)] {
        assert_eq!(if v6 { LEVELS_V6 } else { LEVELS_V4 }[level].1, multiple);
        let table = table();
        let admitted = (0..10 * multiple + 50)
            .filter(|host| {
                let addr = if v6 {
                    Addr::v6((0x2001_0db8 << 96) | u128::from(host % 200))
                } else {
                    Addr::v4(0x0a00_0000 | (host % 200))
                };
                let source = Source { addr, v6, service: 2 };
                admit(&table, source, true, rate, 5).is_some()
            })
            .count();
        assert_eq!(admitted as u32, 10 * multiple, "IPv6: {v6}");
    }
}

/// What two CPUs do at once is charged once: the packets that pass for nothing are those of races, and counted.
#[test]
fn races_charge_no_more_than_there_is() {
    let rate = Rate { interval: 1_000, tolerance: 1_000_000 };
    let table = table();
    let charged: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..2_000)
                        .filter(|_| admit(&table, source(9), false, rate, 7) == Some(true))
                        .count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(charged <= 1_000, "{charged}");
    assert!(charged >= 500, "{charged}: packets were charged twice");
}
