use std::sync::atomic::AtomicU64;

use proptest::prelude::*;

use super::*;

struct Cpu(u32);

impl Credits for Cpu {
    fn load(&self) -> u32 {
        self.0
    }

    fn store(&mut self, credits: u32) {
        self.0 = credits;
    }
}

proptest! {
    /// Several CPUs in any order: never more than the budget, but for what they had taken before.
    #[test]
    fn cpus_share_a_budget(
        interval in 1u32..10_000,
        burst in 1u32..5_000,
        turns in proptest::collection::vec((0usize..4, 0u64..100_000, 1u32..100), 1..300),
    ) {
        let rate = Rate { interval, tolerance: interval * burst };
        let chunk = u32::from(chunk(rate));
        let word = AtomicU64::new(0);
        let mut cpus = [Cpu(0), Cpu(0), Cpu(0), Cpu(0)];
        let (mut now, mut taken) = (1_000_000, 0u64);
        for (cpu, gap, packets) in turns {
            now += gap;
            for _ in 0..packets {
                taken += u64::from(take(&word, &mut cpus[cpu], rate, chunk, now));
            }
            let most = (u64::from(rate.tolerance) + now - 1_000_000) / u64::from(interval);
            let held: u32 = cpus.iter().map(|cpu| cpu.0).sum();
            prop_assert!(taken + u64::from(held) <= most, "{taken} and {held} of {most}");
        }
    }
}

#[test]
fn what_is_unlimited_is_never_used_up() {
    let word = AtomicU64::new(u64::MAX);
    assert!((0..1_000).all(|now| take(&word, &mut Cpu(0), Rate::UNLIMITED, 1, now)));
}

#[test]
fn chunks_are_small_in_small_budgets() {
    for (burst, expected) in [(1, 1), (64, 1), (640, 10), (1_000_000, 32)] {
        let rate = Rate { interval: 10, tolerance: 10 * burst };
        assert_eq!(chunk(rate), expected, "{burst}");
    }
    assert_eq!(chunk(Rate::UNLIMITED), 1);
}

/// A clock that began again doesn't close the budget.
#[test]
fn times_of_another_boot_are_forgotten() {
    let word = AtomicU64::new(1 << 50);
    let rate = Rate { interval: 10, tolerance: 100 };
    assert!(take(&word, &mut Cpu(0), rate, 1, 5));
}

#[test]
fn a_budget_is_half_free_until_half_of_it_was_taken() {
    let rate = Rate { interval: 10, tolerance: 100 };
    for (word, now, expected) in [
        (0, 1_000, true),
        (1_050, 1_000, true),
        (1_051, 1_000, false),
        (1_100, 1_000, false),
        (1_100, 1_050, true),
        (1 << 50, 1_000, true),
    ] {
        assert_eq!(is_half_free(&AtomicU64::new(word), rate, now), expected, "{word} at {now}");
    }
    assert!(is_half_free(&AtomicU64::new(u64::MAX), Rate::UNLIMITED, 0));
}
