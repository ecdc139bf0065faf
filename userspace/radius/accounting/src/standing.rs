//! A session's figures: as of now, and as they were by one of its records.
//!
//! A record that waits for the database is written when its session has long gone on. Its row then
//! tells what was known when the record was made, or usage would fall on the wrong days; but what
//! its counters had gone round by then no record tells by itself.

use crate::record::Status;
use crate::session::{Report, SLACK, Session, TIMED};
use crate::table::Standing;

impl Session {
    /// As of now.
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            id: self.id,
            state: self.state,
            started: self.started,
            updated: self.updated,
            ended: (!self.is_open()).then_some(self.ended),
            seconds: self.seconds,
            octets_in: self.octets_in,
            octets_out: self.octets_out,
            doubts: self.doubts,
        }
    }

    /// As it was by a report that was taken before. Its state is that of now.
    pub(crate) fn standing_at(&self, report: &Report) -> Standing {
        let known = self.standing();
        if self.is_as_of(report) {
            return known;
        }
        let (seconds, (octets_in, octets_out)) = match report.status {
            Status::Start => (0, (0, 0)),
            _ => (self.seconds_at(report), self.octets_at(report)),
        };
        Standing {
            updated: report.at.min(known.updated),
            seconds: seconds.min(known.seconds),
            octets_in: octets_in.min(known.octets_in),
            octets_out: octets_out.min(known.octets_out),
            ..known
        }
    }

    /// Whether nothing later than a report is known. The moment of one may be reckoned anew, after
    /// the machine's boot by another clock: that it says the same counts, too.
    fn is_as_of(&self, report: &Report) -> bool {
        let same_time = || match report.seconds {
            Some(seconds) => seconds == self.seconds,
            None => !self.has(TIMED),
        };
        report.when + SLACK >= i64::from(self.last)
            || report.status != Status::Start && same_time() && self.counts_as(report)
    }

    fn seconds_at(&self, report: &Report) -> u32 {
        let passed = || u32::try_from(report.when - i64::from(self.start)).unwrap_or(0);
        report.seconds.unwrap_or_else(passed)
    }

    fn octets_at(&self, report: &Report) -> (u64, u64) {
        let (octets_in, octets_out) = (report.octets_in, report.octets_out);
        let told = octets_in.low.is_some() || octets_out.low.is_some();
        let is_low = octets_in.gigawords.is_none() && octets_out.gigawords.is_none();
        if told
            && is_low
            && let Some(trail) = &self.trail
            && report.seconds.is_none_or(|time| trail.fits(report.when, time, report.tolerance))
        {
            let low = (octets_in.low.unwrap_or(0), octets_out.low.unwrap_or(0));
            return trail.totals_by(report.when, report.seconds, low);
        }
        (octets_in.total().unwrap_or(0), octets_out.total().unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::record::Status;
    use crate::samples::{Sample, T0, moment};
    use crate::table::{Settings, Standing, Table};
    use crate::view::State;

    const GIB: u64 = 1 << 30;
    const MINUTE: u32 = 60;

    /// Records of one session, and the seconds and octets that it had come to by each.
    fn told(steps: &[(u32, u64)], timed: bool, low: bool) -> Vec<(Sample, u32, u64)> {
        let mut told = vec![(Sample::new(Status::Start), 0, 0)];
        let (mut seconds, mut octets) = (0, 0);
        for (at, &(passed, more)) in steps.iter().enumerate() {
            (seconds, octets) = (seconds + passed, octets + more);
            let status = if at + 1 == steps.len() { Status::Stop } else { Status::Interim };
            let sample = Sample::new(status).at(T0 + seconds);
            let sample = if timed { sample.seconds(seconds) } else { sample };
            let sample = if low { sample.low_octets(octets, 7) } else { sample.octets(octets, 7) };
            told.push((sample, seconds, octets));
        }
        told
    }

    fn standing(table: &Table, sample: &Sample, now: u32) -> Standing {
        table.standing(&sample.record(), moment(now)).unwrap()
    }

    proptest! {
        /// Whatever the session came to since, a record's row tells what it had come to then.
        #[test]
        fn each_record_stands_for_its_own_moment(
            steps in proptest::collection::vec((MINUTE..20_000, 1..2 * GIB), 1..20),
            timed in any::<bool>(),
            low in any::<bool>(),
        ) {
            let told = told(&steps, timed, low);
            let table = Table::new(Settings::default(), [1, 2]);
            for (sample, _, _) in &told {
                let now = moment(sample.received_at());
                let effect = table.apply(&sample.record(), now);
                prop_assert_eq!(table.standing(&sample.record(), now), effect.session);
            }
            let end = T0 + steps.iter().map(|(passed, _)| passed).sum::<u32>();
            for (sample, seconds, octets) in &told {
                let then = standing(&table, sample, end);
                prop_assert_eq!((then.seconds, then.octets_in), (*seconds, *octets));
                prop_assert_eq!((then.state, then.ended), (State::Stopped, Some(end)));
                prop_assert_eq!(then.updated, sample.received_at());
            }
        }
    }

    /// Another life of the machine, whose clock the wall clock of then can't be told from exactly.
    #[test]
    fn the_last_record_stands_for_all_even_if_its_moment_is_reckoned_anew() {
        for timed in [true, false] {
            let told = told(&[(600, 3 * GIB), (600, 2 * GIB), (600, GIB)], timed, true);
            let table = Table::new(Settings::default(), [1, 2]);
            for (sample, _, _) in &told {
                let _ = table.apply(&sample.record(), moment(sample.received_at()));
            }
            let (last, seconds, octets) = told.last().unwrap();
            for off in [-90, -10, 0, 10, 90] {
                let now = T0.saturating_add_signed(1_800 + off);
                let mut later = moment(T0 + 1_800);
                later.wall = moment(now).wall;
                let then = table.standing(&last.record(), later).unwrap();
                assert_eq!((then.seconds, then.octets_in), (*seconds, *octets), "{timed} {off}");
            }
        }
    }

    #[test]
    fn sessions_stay_while_their_records_are_not_written() {
        const HOUR: u32 = 3_600;
        let table = Table::new(Settings::default(), [1, 2]);
        let (first, second) = (told(&[(HOUR, 5)], true, true), told(&[(HOUR, 7)], true, true));
        let first_record = first[0].0.clone();
        let apply = |sample: &Sample| {
            table.apply(&sample.record(), moment(sample.received_at())).session.unwrap().id
        };
        // Each in its turn; the last one's effect counts.
        let mut one = None;
        for (sample, _, _) in &first {
            one = Some(apply(sample));
        }
        let one = one.unwrap();
        table.unwritten(Some(&first_record.record()), moment(T0 + HOUR));
        let again = second[1].0.clone().at(T0 + 12 * HOUR);
        assert!(table.expire(moment(T0 + 11 * HOUR), 9).is_empty());
        let two = apply(&again);
        assert_ne!(one, two);
        assert!(table.expire(moment(T0 + 40 * HOUR), 9).is_empty());
        let now = T0 + 40 * HOUR;
        assert_eq!(standing(&table, &first[1].0, now).id, one);
        assert_eq!(standing(&table, &again, now).id, two);
        // The first is written: what is of the second stays.
        table.unwritten(Some(&again.record()), moment(now));
        assert!(table.expire(moment(now), 9).is_empty());
        assert_eq!(table.standing(&first[1].0.record(), moment(now)), None);
        assert_eq!(standing(&table, &again, now).id, two);
        table.unwritten(None, moment(now));
        assert!(table.expire(moment(now), 9).is_empty());
        assert_eq!(table.standing(&again.record(), moment(now)), None);
        assert_eq!(table.stats().forgotten_unwritten, 0);
    }
}
