//! How much was learned, and when.

use crate::class::Class;
use crate::lesson::Day;

/// Days that are remembered one by one.
pub const MOST_DAYS: usize = 400;

/// Lessons of one day.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Daily {
    /// The day.
    pub day: Day,
    /// Lessons of wanted mail that reached everybody.
    pub ham: u32,
    /// Lessons of spam that reached everybody.
    pub spam: u32,
}

/// What was learned. Users' lessons that reached only themselves are not in it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Lessons of wanted mail, less those that were taken back.
    pub ham: u64,
    /// Lessons of spam, less those that were taken back.
    pub spam: u64,
    /// By day, the earliest first: at most [`MOST_DAYS`].
    pub days: Vec<Daily>,
}

impl Tally {
    pub(crate) fn add(&mut self, class: Class, day: Day) {
        let at = match self.days.binary_search_by_key(&day, |daily| daily.day) {
            Ok(at) => at,
            Err(at) => {
                self.days.insert(at, Daily { day, ham: 0, spam: 0 });
                if self.days.len() > MOST_DAYS {
                    self.days.remove(0);
                    at.saturating_sub(1)
                } else {
                    at
                }
            }
        };
        let daily = self.days.get_mut(at).filter(|daily| daily.day == day);
        let (whole, daily) = match class {
            Class::Ham => (&mut self.ham, daily.map(|daily| &mut daily.ham)),
            Class::Spam => (&mut self.spam, daily.map(|daily| &mut daily.spam)),
        };
        *whole += 1;
        if let Some(daily) = daily {
            *daily = daily.saturating_add(1);
        }
    }

    /// Takes a lesson back. The day that it was learned on keeps it.
    pub(crate) fn take_back(&mut self, class: Class) {
        let whole = match class {
            Class::Ham => &mut self.ham,
            Class::Spam => &mut self.spam,
        };
        *whole = whole.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_day() {
        let mut tally = Tally::default();
        for (class, day) in
            [(Class::Ham, 5), (Class::Spam, 5), (Class::Ham, 3), (Class::Ham, 5), (Class::Spam, 9)]
        {
            tally.add(class, Day(day));
        }
        assert_eq!((tally.ham, tally.spam), (3, 2));
        let days: Vec<_> = tally.days.iter().map(|d| (d.day.0, d.ham, d.spam)).collect();
        assert_eq!(days, [(3, 1, 0), (5, 2, 1), (9, 0, 1)]);
        tally.take_back(Class::Ham);
        assert_eq!(tally.ham, 2);
    }

    #[test]
    fn old_days_are_forgotten() {
        let mut tally = Tally::default();
        for day in 1000..2000 {
            tally.add(Class::Ham, Day(day));
        }
        tally.add(Class::Ham, Day(5));
        assert_eq!(tally.days.len(), MOST_DAYS);
        assert_eq!(tally.days.first().unwrap().day, Day(1600));
        assert_eq!(tally.ham, 1001);
    }
}
