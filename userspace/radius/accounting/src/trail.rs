//! Counters of 32 bits that go round, from NASes that send no gigawords.
//!
//! Acct-Input-Octets goes round every 4 GiB. A NAS without Acct-Input-Gigawords (RFC 2869 section
//! 5.1) doesn't say how often that was, and its reports may come in any order. So they are kept,
//! ordered by Acct-Session-Time: a counter that was in its upper half in one report and is in its
//! lower half in the next one has gone round. That is right as long as less than 2 GiB pass between
//! two reports; a NAS that moves more must send gigawords, and this rule then bills too little,
//! never too much. A counter that falls within one half went wrong, and not round. Reports of one
//! second are taken in the order in which the counter goes round least.
//!
//! A report that comes late can show another round, never hide one, so totals never fall.

/// Reports that are kept. Totals are those of the reports in their order whatever the order in
/// which they come, up to this many; of the older ones, those between two that are alike are
/// dropped, and only one that comes late by as much can be misjudged.
pub(crate) const MOST_POINTS: usize = 32;

const HALF: u32 = 1 << 31;

/// What one report said.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Point {
    /// Acct-Session-Time, or else the second of the event.
    pub(crate) seconds: u32,
    pub(crate) octets_in: u32,
    pub(crate) octets_out: u32,
}

impl Point {
    fn halves(self) -> (bool, bool) {
        (self.octets_in >= HALF, self.octets_out >= HALF)
    }
}

/// The reports of one session.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Trail {
    /// In order, no two alike.
    points: Vec<Point>,
    /// Halves that the counters had passed before the first point, by reports that had to go.
    passed: (u32, u32),
    /// Reports before this second are too late to matter.
    floor: u32,
}

impl Trail {
    /// Takes a report.
    pub(crate) fn insert(&mut self, point: Point) {
        if self.points.len() == MOST_POINTS && self.points.binary_search(&point).is_err() {
            self.thin();
        }
        if point.seconds < self.floor {
            return;
        }
        if let Err(place) = self.points.binary_search(&point) {
            self.points.insert(place, point);
        }
    }

    /// Octets in and out, upper halves included.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let (mut octets_in, mut octets_out) =
            (Counter::after(self.passed.0), Counter::after(self.passed.1));
        for second in self.points.chunk_by(|one, next| one.seconds == next.seconds) {
            octets_in.pass(second.iter().map(|point| point.octets_in));
            octets_out.pass(second.iter().map(|point| point.octets_out));
        }
        (octets_in.most, octets_out.most)
    }

    pub(crate) fn points(&self) -> &[Point] {
        &self.points
    }

    pub(crate) fn passed(&self) -> (u32, u32) {
        self.passed
    }

    pub(crate) fn floor(&self) -> u32 {
        self.floor
    }

    /// From what was saved of one; what can't be is none.
    pub(crate) fn restore(points: Vec<Point>, passed: (u32, u32), floor: u32) -> Option<Self> {
        let sorted = points.is_sorted_by(|one, next| one < next);
        (sorted && points.len() <= MOST_POINTS).then_some(Self { points, passed, floor })
    }

    /// Bytes that it takes, its own box included.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.points.capacity() * size_of::<Point>()
    }

    /// Drops the oldest report that tells nothing by itself: those before and after it are in the
    /// same halves as it is. If there is none, those of the first second go, and what they told is
    /// kept.
    fn thin(&mut self) {
        let alike = self.points.windows(3).position(|three| match three {
            [one, two, three] => one.halves() == two.halves() && two.halves() == three.halves(),
            _ => false,
        });
        if let Some(place) = alike {
            self.points.remove(place + 1);
            return;
        }
        let first = self.points.first().map_or(0, |point| point.seconds);
        let count = self.points.partition_point(|point| point.seconds == first);
        let (mut octets_in, mut octets_out) =
            (Counter::after(self.passed.0), Counter::after(self.passed.1));
        let gone: Vec<_> = self.points.drain(..count).collect();
        octets_in.pass(gone.iter().map(|point| point.octets_in));
        octets_out.pass(gone.iter().map(|point| point.octets_out));
        self.passed = (octets_in.passed, octets_out.passed);
        self.floor = first.saturating_add(1);
    }
}

/// A counter on its way round.
struct Counter {
    /// Halves that it passed; those with odd numbers are upper ones.
    passed: u32,
    /// The greatest total.
    most: u64,
}

impl Counter {
    fn after(passed: u32) -> Self {
        Self { passed, most: 0 }
    }

    /// Takes the reports of one second: those in the half in which it is come first, and those in
    /// the other half are one further.
    fn pass(&mut self, reports: impl Iterator<Item = u32>) {
        let at = self.passed;
        for octets in reports {
            let same = (octets >= HALF) == (at & 1 == 1);
            let half = if same { at } else { at.saturating_add(1) };
            self.passed = self.passed.max(half);
            self.most = self.most.max(u64::from(half / 2) << 32 | u64::from(octets));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn point(seconds: u32, octets_in: u64) -> Point {
        Point { seconds, octets_in: octets_in as u32, octets_out: 0 }
    }

    fn total(points: &[(u32, u64)]) -> u64 {
        let mut trail = Trail::default();
        points.iter().for_each(|&(seconds, octets)| trail.insert(point(seconds, octets)));
        trail.totals().0
    }

    #[test]
    fn rounds_are_seen_in_any_order() {
        for (reports, expected) in [
            (&[][..], 0),
            (&[(10, 5)], 5),
            (&[(10, 5), (10, 5)], 5),
            (&[(10, GIB), (20, 3 * GIB), (30, 4 * GIB + 7)], 4 * GIB + 7),
            (&[(30, 4 * GIB + 7), (10, GIB), (20, 3 * GIB)], 4 * GIB + 7),
            (&[(10, 3 * GIB), (20, 5 * GIB), (30, 7 * GIB), (40, 8 * GIB)], 8 * GIB),
            // A fall within one half is a fault, not a round.
            (&[(10, 9), (20, 8)], 9),
            (&[(10, 3 * GIB), (20, 2 * GIB)], 3 * GIB),
            // A second that has two reports: as they were sent, or as they might have been.
            (&[(10, 3 * GIB), (20, 3 * GIB), (20, 4 * GIB), (30, 5 * GIB)], 5 * GIB),
            (&[(20, 4 * GIB), (20, 3 * GIB)], 3 * GIB),
            (&[(20, 4 * GIB), (20, 3 * GIB), (10, 2 * GIB)], 4 * GIB),
        ] {
            assert_eq!(total(reports), expected, "{reports:?}");
        }
    }

    proptest! {
        #[test]
        fn any_order_gives_what_was_sent(
            steps in prop::collection::vec((1_u32..1_000, 0_u64..2 * GIB, 0_u64..2 * GIB), 1..32),
            seed: u64,
        ) {
            let (mut seconds, mut sum) = (0, (0, 0));
            let mut points: Vec<_> = steps.iter().map(|&(passed, octets_in, octets_out)| {
                seconds += passed;
                sum = (sum.0 + octets_in, sum.1 + octets_out);
                Point { seconds, octets_in: sum.0 as u32, octets_out: sum.1 as u32 }
            }).collect();
            points.sort_by_key(|point| u64::from(point.seconds).wrapping_add(seed).wrapping_mul(seed | 1));
            let mut trail = Trail::default();
            let mut before = (0, 0);
            for &point in points.iter().chain(points.iter().rev()) {
                trail.insert(point);
                let now = trail.totals();
                prop_assert!(now.0 >= before.0 && now.1 >= before.1, "totals never fall");
                before = now;
            }
            prop_assert_eq!(before, sum);
        }

        #[test]
        fn a_long_session_in_order_is_counted_in_little_memory(
            steps in prop::collection::vec(0_u64..2 * GIB, 33..300),
        ) {
            let mut trail = Trail::default();
            let mut sum = 0;
            for (at, &octets) in steps.iter().enumerate() {
                sum += octets;
                trail.insert(point(at as u32 * 600, sum));
            }
            prop_assert_eq!(trail.totals().0, sum);
            prop_assert!(trail.points().len() <= MOST_POINTS);
            let restored = Trail::restore(trail.points.clone(), trail.passed, trail.floor);
            prop_assert_eq!(restored.unwrap().totals(), trail.totals());
        }
    }

    #[test]
    fn what_is_out_of_order_is_not_restored() {
        assert_eq!(Trail::restore(vec![point(2, 0), point(1, 0)], (0, 0), 0), None);
        assert_eq!(Trail::restore(vec![point(1, 0), point(1, 0)], (0, 0), 0), None);
        let many = (0..=MOST_POINTS as u32).map(|at| point(at, 0)).collect();
        assert_eq!(Trail::restore(many, (0, 0), 0), None);
    }
}
