//! How many lessons of a user have reached everybody today.
//!
//! Two rows of counters, of which a user has one each. Others may share one with him, seldom both; he is then thought to have
//! taught more than he did, never less. It takes the same room for ten users as for a million.

use crate::lesson::Day;

/// Counters of a row.
pub(crate) const WIDTH: usize = 1 << 16;

#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    pub(crate) day: Day,
    pub(crate) rows: [Box<[u8]>; 2],
}

impl Ledger {
    pub(crate) fn new() -> Self {
        let row = || vec![0; WIDTH].into_boxed_slice();
        Self { day: Day(0), rows: [row(), row()] }
    }

    /// Whether another lesson of the user with this hash may reach everybody, which is then noted.
    pub(crate) fn admit(&mut self, hash: u64, day: Day, most: u8) -> bool {
        if day > self.day {
            self.day = day;
            for row in &mut self.rows {
                row.fill(0);
            }
        }
        // A lesson that comes late counts for today: days gone by have no ledger of their own.
        let [first, second] = &mut self.rows;
        let places =
            (first.get_mut(hash as usize % WIDTH), second.get_mut((hash >> 32) as usize % WIDTH));
        let (Some(first), Some(second)) = places else { return false };
        let taught = (*first).min(*second);
        if taught >= most {
            return false;
        }
        *first = (*first).max(taught + 1);
        *second = (*second).max(taught + 1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Key;

    #[test]
    fn so_many_a_day() {
        let mut ledger = Ledger::new();
        let key = Key::new(b"a");
        let mut admitted = |user: u64, day: u32| ledger.admit(key.personal(user, 0), Day(day), 3);
        assert_eq!([1; 5].map(|user| admitted(user, 10)), [true, true, true, false, false]);
        assert!(admitted(2, 10));
        assert!(admitted(1, 11));
        // Going back in time opens no door.
        assert_eq!([1; 4].map(|user| admitted(user, 10)), [true, true, false, false]);
    }

    #[test]
    fn many_users_hardly_get_in_each_others_way() {
        let mut ledger = Ledger::new();
        let key = Key::new(b"a");
        let refused = (0..20_000_u64)
            .flat_map(|user| [user; 3])
            .filter(|&user| !ledger.admit(key.personal(user, 0), Day(1), 10))
            .count();
        assert_eq!(refused, 0);
    }
}
