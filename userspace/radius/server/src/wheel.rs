//! A timer wheel: what is due later waits here, and no thread sleeps for it.
//!
//! Milliseconds are an argument, of a clock that never goes back. What is added costs a push, what is due a look at a few
//! slots; a slot keeps its memory, so that a wheel in steady use allocates nothing.

/// Milliseconds of one slot: how late something may come.
pub(crate) const TICK: u64 = 8;

/// Slots: once round is four seconds. What is due later stays for another round.
const SLOTS: u64 = 512;

/// Things, each with its time.
pub(crate) struct Wheel<T> {
    slots: Box<[Vec<Waiting<T>>]>,
    /// The tick up to which everything has come out.
    done: u64,
    waiting: usize,
}

struct Waiting<T> {
    tick: u64,
    thing: T,
}

impl<T> Wheel<T> {
    /// An empty one.
    pub(crate) fn new(now: u64) -> Self {
        let slots = std::iter::repeat_with(Vec::new).take(SLOTS as usize).collect();
        Self { slots, done: now / TICK, waiting: 0 }
    }

    /// Keeps a thing until `due`, and at least to the next tick.
    pub(crate) fn add(&mut self, due: u64, thing: T) {
        let tick = due.div_ceil(TICK).max(self.done + 1);
        if let Some(slot) = self.slots.get_mut((tick % SLOTS) as usize) {
            slot.push(Waiting { tick, thing });
            self.waiting += 1;
        }
    }

    /// Things that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes out what is due by now. After a pause of more than a round the order may be another than that of the times.
    pub(crate) fn expire(&mut self, now: u64, mut each: impl FnMut(T)) {
        let tick = now / TICK;
        if tick <= self.done {
            return;
        }
        if self.waiting > 0 {
            for slot in (self.done + 1)..=tick.min(self.done + SLOTS) {
                let Some(slot) = self.slots.get_mut((slot % SLOTS) as usize) else { continue };
                for due in slot.extract_if(.., |waiting| waiting.tick <= tick) {
                    self.waiting -= 1;
                    each(due.thing);
                }
            }
        }
        self.done = tick;
    }

    /// Takes out everything, due or not.
    pub(crate) fn take_all(&mut self, mut each: impl FnMut(T)) {
        for slot in &mut self.slots {
            slot.drain(..).for_each(|waiting| each(waiting.thing));
        }
        self.waiting = 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOTHING: [u32; 0] = [];

    fn due(wheel: &mut Wheel<u32>, now: u64) -> Vec<u32> {
        let mut things = Vec::new();
        wheel.expire(now, |thing| things.push(thing));
        things
    }

    #[test]
    fn a_thing_comes_out_once_and_not_too_early() {
        let mut wheel = Wheel::new(1_000);
        wheel.add(1_000, 1);
        wheel.add(1_100, 2);
        wheel.add(1_000 + 3 * TICK * SLOTS, 3);
        assert_eq!(due(&mut wheel, 1_000), NOTHING);
        assert_eq!(due(&mut wheel, 1_008), [1]);
        assert_eq!(due(&mut wheel, 1_099), NOTHING);
        assert_eq!(due(&mut wheel, 1_104), [2]);
        assert_eq!(due(&mut wheel, 900), NOTHING, "a clock that goes back is ignored");
        assert_eq!(due(&mut wheel, 1_000 + 2 * TICK * SLOTS), NOTHING);
        assert_eq!(wheel.waiting(), 1);
        assert_eq!(due(&mut wheel, 1_000 + 3 * TICK * SLOTS), [3]);
        assert_eq!((due(&mut wheel, u64::MAX - 1), wheel.waiting()), (Vec::new(), 0));

        let mut wheel = Wheel::new(0);
        (0..1_000u32).for_each(|at| wheel.add(u64::from(at) * 100, at));
        let mut all = Vec::new();
        wheel.take_all(|thing| all.push(thing));
        all.sort_unstable();
        assert_eq!((all, wheel.waiting()), ((0..1_000).collect(), 0));
    }

    proptest! {
        #[test]
        fn nothing_is_early_nor_late_by_more_than_a_tick_nor_lost(
            delays in proptest::collection::vec(0u64..10_000, 1..200),
            step in 1u64..3_000,
        ) {
            let mut wheel = Wheel::new(0);
            for (at, delay) in delays.iter().enumerate() {
                wheel.add(*delay, at);
            }
            let (mut now, mut seen) = (0, vec![None; delays.len()]);
            while wheel.waiting() > 0 {
                now += step;
                wheel.expire(now, |at| assert!(seen[at].replace(now).is_none()));
            }
            for (delay, seen) in delays.iter().zip(seen) {
                let seen = seen.unwrap();
                prop_assert!(seen >= *delay);
                prop_assert!(seen < delay + step + 2 * TICK, "{delay} {seen} {step}");
            }
        }
    }
}
