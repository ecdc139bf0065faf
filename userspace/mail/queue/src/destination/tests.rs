use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits { first: 2, most: 20, shortest: 60, longest: 3600 };

fn run(destination: &mut Destination, how: Ended, now: i64) -> Option<i64> {
    let ticket = destination.begun(now);
    destination.ended(ticket, how, &LIMITS, now, 0)
}

#[test]
fn more_at_once_while_it_goes_well() {
    let mut one = Destination::new(&LIMITS, 0);
    assert_eq!(one.free(0), 2);
    for _ in 0..100 {
        assert_eq!(run(&mut one, Ended::Spoke, 0), None);
    }
    assert_eq!(one.free(0), 20);
    assert_eq!(run(&mut one, Ended::TooMuch, 0), None);
    assert_eq!(one.free(0), 10);
    // Ten of them together make one more, and not each of them.
    for _ in 0..10 {
        run(&mut one, Ended::Spoke, 0);
    }
    assert!((10..=11).contains(&one.free(0)), "{one:?}");
}

#[test]
fn a_dead_one_is_left_alone_longer_each_time() {
    let mut one = Destination::new(&LIMITS, 0);
    let mut now = 0;
    for wait in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
        assert_eq!(one.free(now), if now == 0 { 2 } else { 1 });
        let until = run(&mut one, Ended::Unreachable, now).unwrap();
        assert_eq!(until - now, wait);
        assert_eq!(one.free(until - 1), 0);
        assert_eq!(one.until(now), Some(until));
        // Until everybody knows; then the queue knows better.
        assert_eq!(one.free_if_due(now + 59), 0);
        assert_eq!(one.free_if_due(now + 60), 1);
        now = until;
    }
    assert_eq!(one.free(now), 1, "one finds out for all");
    let ticket = one.begun(now);
    assert_eq!(one.free(now), 0);
    assert_eq!(one.ended(ticket, Ended::Spoke, &LIMITS, now, 0), None);
    assert_eq!(one.free(now), 1 + u32::from(one.allowed >= 2 * ONE));
    assert_eq!(one.failures(), 0);
}

#[test]
fn those_that_fail_together_count_once() {
    let mut one = Destination::new(&LIMITS, 0);
    for _ in 0..18 {
        run(&mut one, Ended::Spoke, 0);
    }
    let tickets: Vec<Ticket> = (0..20).map(|_| one.begun(0)).collect();
    let untils: Vec<Option<i64>> = tickets
        .into_iter()
        .map(|ticket| one.ended(ticket, Ended::Unreachable, &LIMITS, 1, 0))
        .collect();
    assert!(untils.iter().all(|until| *until == Some(61)), "{untils:?}");
    assert_eq!((one.failures(), one.running()), (1, 0));
    // Nor does one that began before make it well again.
    let mut one = Destination::new(&LIMITS, 0);
    let (early, other) = (one.begun(0), one.begun(0));
    assert!(one.ended(other, Ended::Unreachable, &LIMITS, 0, 0).is_some());
    one.ended(early, Ended::Spoke, &LIMITS, 0, 0);
    assert_eq!(one.free(0), 0);
}

#[test]
fn known_ones_are_forgotten_when_nothing_is_known_of_them() {
    let mut all = Destinations::new(LIMITS);
    let ticket = all.begun("a.example", 0);
    let other = all.begun("b.example", 0);
    all.ended("b.example", other, Ended::Unreachable, 0, 0);
    assert_eq!((all.free("a.example", 0), all.free("b.example", 0), all.free("c", 0)), (1, 0, 2));
    assert_eq!(all.left_alone(0), 1);
    all.forget(10, 30);
    assert!(all.get("a.example").is_some() && all.get("b.example").is_some());
    all.ended("a.example", ticket, Ended::Spoke, 30, 0);
    all.forget(10, 100);
    assert!(all.get("a.example").is_none() && all.get("b.example").is_none());
    let ticket = all.begun("b.example", 0);
    all.ended("b.example", ticket, Ended::Unreachable, 0, 0);
    all.revive("b.example");
    assert!(all.free("b.example", 0) > 0);
}

#[test]
fn everybody_has_one_before_anybody_has_two() {
    for (free, most, given) in [
        (vec![5, 1, 0, 3], 5, vec![2, 1, 0, 2]),
        (vec![5, 1, 0, 3], 2, vec![1, 1, 0, 0]),
        (vec![5, 1, 0, 3], 100, vec![5, 1, 0, 3]),
        (vec![], 3, vec![]),
        (vec![9], 0, vec![0]),
    ] {
        assert_eq!(share(&free, most), given, "{free:?} {most}");
    }
}

fn endings() -> impl Strategy<Value = Ended> {
    prop_oneof![
        Just(Ended::Spoke),
        Just(Ended::TooMuch),
        Just(Ended::Unreachable),
        Just(Ended::Untried)
    ]
}

proptest! {
    /// Whatever happens in whatever order: never more than allowed begins, and in the end it can be tried again.
    #[test]
    fn bounded_and_never_stuck(
        steps in proptest::collection::vec((any::<bool>(), endings(), 0..500i64, any::<u32>()), 1..200),
    ) {
        let mut one = Destination::new(&LIMITS, 0);
        let (mut now, mut running) = (0, Vec::new());
        for (begin, how, later, chance) in steps {
            now += later;
            if begin && one.free(now) > 0 {
                running.push(one.begun(now));
            } else if let Some(ticket) = running.pop()
                && let Some(until) = one.ended(ticket, how, &LIMITS, now, chance)
            {
                prop_assert!(until > now && until <= now + LIMITS.longest);
            }
            prop_assert_eq!(one.running() as usize, running.len());
            prop_assert!(running.len() <= LIMITS.most as usize);
            prop_assert!(one.allowed >= ONE && one.allowed <= LIMITS.most * ONE);
        }
        for ticket in running {
            one.ended(ticket, Ended::Untried, &LIMITS, now, 0);
        }
        prop_assert!(one.free(now + LIMITS.longest) > 0);
    }

    #[test]
    fn shared_fairly(free in proptest::collection::vec(0..50usize, 0..40), most in 0..500usize) {
        let given = share(&free, most);
        prop_assert_eq!(given.iter().sum::<usize>(), most.min(free.iter().sum()));
        let least = given.iter().zip(&free).filter(|(given, free)| given < free).map(|(given, _)| *given).min();
        for (given, free) in given.iter().zip(&free) {
            prop_assert!(given <= free);
            if let Some(least) = least {
                prop_assert!(*given <= least + 1);
            }
        }
    }
}
