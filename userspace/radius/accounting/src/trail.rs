//! Counters of 32 bits that go round, from NASes that send no gigawords.
//!
//! Acct-Input-Octets goes round every 4 GiB. A NAS without Acct-Input-Gigawords (RFC 2869 section
//! 5.1) doesn't say how often that was, and its reports may come in any order. So they are kept,
//! ordered by Acct-Session-Time, or by when they happened on the steady clock if they don't have it
//! (some NASes send it with the stop alone): a counter that was in its upper half in one report and is in its
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
    /// Seconds since the trail's zero.
    pub(crate) at: i32,
    pub(crate) octets_in: u32,
    pub(crate) octets_out: u32,
}

impl Point {
    fn octets(self) -> (u32, u32) {
        (self.octets_in, self.octets_out)
    }

    fn halves(self) -> (bool, bool) {
        (self.octets_in >= HALF, self.octets_out >= HALF)
    }
}

/// The reports of one session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Trail {
    /// In order, no two alike.
    points: Vec<Point>,
    /// Where it stands beside its points.
    scale: Scale,
}

/// What a trail's points are counted from, and what was before them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Scale {
    /// Steady: the moment that seconds are counted from.
    pub(crate) zero: i32,
    /// Where Acct-Session-Time begins: the first report that told it decides for all.
    pub(crate) begin: Option<i32>,
    /// Halves that the counters had passed before the first point, by reports that had to go.
    pub(crate) passed: (u32, u32),
    /// Reports before this second are too late to matter.
    pub(crate) floor: i32,
}

impl Trail {
    /// One that counts seconds from a steady moment.
    pub(crate) fn new(zero: i32) -> Self {
        let scale = Scale { zero, begin: None, passed: (0, 0), floor: i32::MIN };
        Self { points: Vec::new(), scale }
    }

    /// Takes a report of a steady moment, with Acct-Session-Time if it has that.
    pub(crate) fn take(&mut self, when: i64, seconds: Option<u32>, octets: (u32, u32)) {
        let when = when - i64::from(self.scale.zero);
        let (octets_in, octets_out) = octets;
        let at = match seconds {
            Some(seconds) => {
                let begin = self.scale.begin.get_or_insert(second(when - i64::from(seconds)));
                i64::from(*begin) + i64::from(seconds)
            }
            // The counters of a moment that is known: it is the same report, sent again by a NAS
            // that doesn't say so, or nothing passed in between.
            None if self.points.iter().any(|known| known.octets() == octets) => return,
            None => when,
        };
        self.insert(Point { at: second(at), octets_in, octets_out });
    }

    /// Whether Acct-Session-Time at a steady moment agrees with what was told of it before.
    pub(crate) fn fits(&self, when: i64, seconds: u32, tolerance: i64) -> bool {
        let begin = when - i64::from(self.scale.zero) - i64::from(seconds);
        self.scale.begin.is_none_or(|known| (begin - i64::from(known)).abs() <= tolerance)
    }

    /// The report of the latest moment.
    pub(crate) fn latest(&self) -> Option<Point> {
        self.points.last().copied()
    }

    fn insert(&mut self, point: Point) {
        if self.points.len() == MOST_POINTS && self.points.binary_search(&point).is_err() {
            self.thin();
        }
        if point.at < self.scale.floor {
            return;
        }
        if let Err(place) = self.points.binary_search(&point) {
            self.points.insert(place, point);
        }
    }

    /// Octets in and out, upper halves included.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let (mut octets_in, mut octets_out) = self.before();
        for second in self.points.chunk_by(|one, next| one.at == next.at) {
            octets_in.pass(second.iter().map(|point| point.octets_in));
            octets_out.pass(second.iter().map(|point| point.octets_out));
        }
        (octets_in.most, octets_out.most)
    }

    /// Octets in and out, upper halves included, as they were by a report that was taken.
    pub(crate) fn totals_by(
        &self,
        when: i64,
        seconds: Option<u32>,
        octets: (u32, u32),
    ) -> (u64, u64) {
        let when = when - i64::from(self.scale.zero);
        // Without its session time its own point is the one of its counters: a moment that is reckoned
        // anew may be another by some seconds.
        let known = || {
            let alike = self.points.iter().filter(|point| point.octets() == octets);
            alike.map(|point| i64::from(point.at)).min_by_key(|at| (at - when).abs())
        };
        let at = match (seconds, self.scale.begin) {
            (Some(seconds), Some(begin)) => i64::from(begin) + i64::from(seconds),
            _ => known().unwrap_or(when),
        };
        let (octets_in, octets_out) = octets;
        let own = Point { at: second(at), octets_in, octets_out };
        if own.at < self.scale.floor {
            return (octets_in.into(), octets_out.into());
        }
        let points = self.points.iter().copied().filter(|point| point.at <= own.at).collect();
        let mut until = Self { points, scale: self.scale };
        if let Err(place) = until.points.binary_search(&own) {
            until.points.insert(place, own);
        }
        until.totals()
    }

    pub(crate) fn points(&self) -> &[Point] {
        &self.points
    }

    pub(crate) fn scale(&self) -> Scale {
        self.scale
    }

    /// From what was saved of one; what can't be is none.
    pub(crate) fn restore(points: Vec<Point>, scale: Scale) -> Option<Self> {
        let sorted = points.is_sorted_by(|one, next| one < next);
        (sorted && points.len() <= MOST_POINTS).then_some(Self { points, scale })
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
        let first = self.points.first().map_or(0, |point| point.at);
        let count = self.points.partition_point(|point| point.at == first);
        let (mut octets_in, mut octets_out) = self.before();
        let gone: Vec<_> = self.points.drain(..count).collect();
        octets_in.pass(gone.iter().map(|point| point.octets_in));
        octets_out.pass(gone.iter().map(|point| point.octets_out));
        self.scale.passed = (octets_in.passed, octets_out.passed);
        self.scale.floor = first.saturating_add(1);
    }

    /// The counters as they were before the first point.
    fn before(&self) -> (Counter, Counter) {
        let (octets_in, octets_out) = self.scale.passed;
        (Counter::after(octets_in), Counter::after(octets_out))
    }
}

/// Seconds as points keep them.
fn second(second: i64) -> i32 {
    i32::try_from(second).unwrap_or(if second < 0 { i32::MIN } else { i32::MAX })
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

    fn point(at: i32, octets_in: u64) -> Point {
        Point { at, octets_in: octets_in as u32, octets_out: 0 }
    }

    fn total(points: &[(i32, u64)]) -> u64 {
        let mut trail = Trail::new(0);
        points.iter().for_each(|&(at, octets)| trail.insert(point(at, octets)));
        trail.totals().0
    }

    #[test]
    fn reports_with_and_without_session_time_keep_their_order() {
        for (reports, expected) in [
            // The stop alone has it.
            (
                &[(1_000, None, GIB), (1_600, None, 3 * GIB), (1_700, Some(900), 5 * GIB)][..],
                5 * GIB,
            ),
            (&[(1_700, Some(900), 3 * GIB), (1_000, None, GIB), (1_600, None, 2 * GIB)], 3 * GIB),
            // A report that is sent again by a NAS that doesn't say so, after another.
            (&[(1_000, None, 3 * GIB), (1_600, None, 5 * GIB), (1_650, None, 3 * GIB)], 5 * GIB),
            // By its session time it can't be mistaken.
            (
                &[(900, Some(100), 3 * GIB), (990, Some(190), 5 * GIB), (999, Some(100), 3 * GIB)],
                5 * GIB,
            ),
        ] {
            let mut trail = Trail::new(800);
            for &(when, seconds, octets) in reports {
                trail.take(when, seconds, (octets as u32, 0));
            }
            assert_eq!(trail.totals().0, expected, "{reports:?}");
        }
    }

    #[test]
    fn no_session_time_breaks_it() {
        let mut trail = Trail::new(i32::MIN);
        for (when, seconds) in
            [(i64::MAX / 2, Some(u32::MAX)), (0, Some(0)), (-5, None), (1 << 30, None)]
        {
            trail.take(when, seconds, (when as u32, 7));
        }
        assert!(trail.totals().0 <= u64::from(u32::MAX) * 4);
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
            steps in prop::collection::vec((1_i32..1_000, 0_u64..2 * GIB, 0_u64..2 * GIB), 1..32),
            seed: u64,
        ) {
            let (mut at, mut sum) = (0, (0, 0));
            let mut points: Vec<_> = steps.iter().map(|&(passed, octets_in, octets_out)| {
                at += passed;
                sum = (sum.0 + octets_in, sum.1 + octets_out);
                Point { at, octets_in: sum.0 as u32, octets_out: sum.1 as u32 }
            }).collect();
            points.sort_by_key(|point| (point.at as u64).wrapping_add(seed).wrapping_mul(seed | 1));
            let mut trail = Trail::new(0);
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
            let mut trail = Trail::new(0);
            let mut sum = 0;
            for (at, &octets) in steps.iter().enumerate() {
                sum += octets;
                trail.insert(point(at as i32 * 600, sum));
            }
            prop_assert_eq!(trail.totals().0, sum);
            prop_assert!(trail.points().len() <= MOST_POINTS);
            let restored = Trail::restore(trail.points.clone(), trail.scale);
            prop_assert_eq!(restored.unwrap().totals(), trail.totals());
        }
    }

    #[test]
    fn what_is_out_of_order_is_not_restored() {
        let scale = Trail::new(0).scale;
        assert_eq!(Trail::restore(vec![point(2, 0), point(1, 0)], scale), None);
        assert_eq!(Trail::restore(vec![point(1, 0), point(1, 0)], scale), None);
        let many = (0..=MOST_POINTS as i32).map(|at| point(at, 0)).collect();
        assert_eq!(Trail::restore(many, scale), None);
    }
}
