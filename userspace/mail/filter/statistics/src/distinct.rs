//! A set of numbers that is emptied for every message and allocates for none.

/// At most so many numbers are taken: more would make the probes long.
pub(crate) const MOST: usize = SLOTS / 2;

const SLOTS: usize = 1 << 14;

#[derive(Debug)]
pub(crate) struct Distinct {
    slots: Box<[u64]>,
    taken: usize,
}

impl Distinct {
    pub(crate) fn new() -> Self {
        Self { slots: vec![0; SLOTS].into_boxed_slice(), taken: 0 }
    }

    pub(crate) fn clear(&mut self) {
        self.slots.fill(0);
        self.taken = 0;
    }

    /// Whether the number is new and was taken. Its low bits must be as good as random.
    pub(crate) fn insert(&mut self, number: u64) -> bool {
        // Zero means nothing; the number that is it goes by another name.
        let number = number.max(1);
        if self.taken >= MOST {
            return false;
        }
        let mut at = number as usize % SLOTS;
        loop {
            match self.slots.get_mut(at) {
                Some(slot) if *slot == 0 => {
                    *slot = number;
                    self.taken += 1;
                    return true;
                }
                Some(slot) if *slot == number => return false,
                _ => at = (at + 1) % SLOTS,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_each_once() {
        let mut set = Distinct::new();
        for (number, new) in
            [(5, true), (5, false), (5 + SLOTS as u64, true), (0, true), (1, false)]
        {
            assert_eq!(set.insert(number), new, "{number}");
        }
        set.clear();
        assert!(set.insert(5));
    }

    #[test]
    fn takes_no_more_than_it_can() {
        let mut set = Distinct::new();
        // All of them want the same slot.
        let taken =
            (1..20_000_u64).filter(|number| set.insert(number << 14)).take(MOST + 1).count();
        assert_eq!(taken, MOST);
        assert!(!set.insert(3));
    }
}
