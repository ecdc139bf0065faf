//! Counting, cheap enough for each packet: every thread counts in words of its own, and they are added up when somebody
//! asks.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use crate::report::{Answer, Latency, ReasonCount, Stage};
use crate::strangers::{self, Strangers};

/// Buckets of a latency histogram: powers of two from one microsecond to 17 seconds.
const BUCKETS: usize = 25;

const ANSWERS: usize = Answer::ALL.len();

/// One thread's counters.
#[derive(Default)]
pub(crate) struct Tally {
    answers: [AtomicU64; ANSWERS],
    buckets: [[AtomicU64; BUCKETS]; ANSWERS],
    nanoseconds: [AtomicU64; ANSWERS],
    /// Locked only by this thread, and by whoever reads them.
    reasons: Mutex<HashMap<(Stage, &'static str), u64>>,
    strangers: Mutex<Strangers>,
}

impl Tally {
    /// An answer is on its way. The time is that of the work: what a refusal waits on purpose is not in it.
    pub(crate) fn answered(&self, answer: Answer, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let bucket =
            (nanoseconds / 1_000).max(1).ilog2() as usize + usize::from(nanoseconds > 1_000);
        let at = answer as usize;
        if let (Some(count), Some(buckets), Some(sum)) =
            (self.answers.get(at), self.buckets.get(at), self.nanoseconds.get(at))
        {
            count.fetch_add(1, Relaxed);
            sum.fetch_add(nanoseconds, Relaxed);
            if let Some(bucket) = buckets.get(bucket.min(BUCKETS - 1)) {
                bucket.fetch_add(1, Relaxed);
            }
        }
    }

    /// Why a packet was refused or dropped.
    pub(crate) fn reason(&self, stage: Stage, reason: &'static str, count: u64) {
        *self.reasons.lock().entry((stage, reason)).or_default() += count;
    }

    /// A packet came from an address, and can't be shown to be from a NAS. `now` is in seconds since 1970.
    pub(crate) fn stranger(&self, address: IpAddr, reason: &'static str, now: u64) {
        self.strangers.lock().note(address, reason, now);
    }
}

/// The sum of several tallies.
pub(crate) struct Total<'a>(pub(crate) &'a [&'a Tally]);

impl Total<'_> {
    /// Answers of each kind.
    pub(crate) fn answers(&self) -> Vec<(Answer, u64)> {
        let sum = |answer: Answer| {
            let counts = self.0.iter().filter_map(|tally| tally.answers.get(answer as usize));
            counts.map(|count| count.load(Relaxed)).sum()
        };
        Answer::ALL.iter().map(|answer| (*answer, sum(*answer))).collect()
    }

    /// Latency of each kind.
    pub(crate) fn latency(&self) -> Vec<Latency> {
        let row = |answer: &Answer| {
            let at = *answer as usize;
            let nanoseconds: u64 = self
                .0
                .iter()
                .filter_map(|tally| Some(tally.nanoseconds.get(at)?.load(Relaxed)))
                .sum();
            let buckets = (0..BUCKETS).map(|bucket| {
                let counts = self
                    .0
                    .iter()
                    .filter_map(|tally| Some(tally.buckets.get(at)?.get(bucket)?.load(Relaxed)));
                (1e-6 * 2f64.powi(bucket as i32), counts.sum())
            });
            Latency { answer: *answer, buckets: buckets.collect(), sum: nanoseconds as f64 / 1e9 }
        };
        Answer::ALL.iter().map(row).collect()
    }

    /// Addresses of packets that can't be shown to be from a NAS, those with the most of them.
    pub(crate) fn strangers(&self, most: usize) -> Vec<strangers::Seen> {
        let mut all = Vec::with_capacity(self.0.len() * strangers::MOST);
        for tally in self.0 {
            // A thread may wait for it: nothing is allocated meanwhile.
            all.extend_from_slice(tally.strangers.lock().all());
        }
        strangers::joined(all.into_iter(), most)
    }

    /// Refusals and silences by reason.
    pub(crate) fn reasons(&self) -> Vec<ReasonCount> {
        let mut sums: BTreeMap<(Stage, &'static str), u64> = BTreeMap::new();
        for tally in self.0 {
            for (key, count) in &*tally.reasons.lock() {
                *sums.entry(*key).or_default() += count;
            }
        }
        rows(sums)
    }
}

fn rows(sums: BTreeMap<(Stage, &'static str), u64>) -> Vec<ReasonCount> {
    let row = |((stage, reason), count): ((Stage, &str), u64)| ReasonCount {
        stage,
        reason: reason.to_owned(),
        count,
    };
    sums.into_iter().map(row).collect()
}

/// What one NAS did, counted by each thread for itself.
#[derive(Debug)]
pub(crate) struct NasTally(Box<[NasThread]>);

/// One thread's counters of a NAS, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct NasThread {
    pub(crate) requests: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) accounting: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) repeated: AtomicU64,
    pub(crate) dropped: AtomicU64,
    /// Seconds since 1970 of the last packet that the old secret signed, while another one was to come.
    pub(crate) old_secret: AtomicU64,
    /// Seconds since 1970 of the last packet that was genuine.
    pub(crate) seen: AtomicU64,
    /// Acknowledgements that wait in the thread.
    pub(crate) pending: AtomicU64,
    /// Why requests were refused or dropped. Locked only by the thread, and by whoever reads them.
    reasons: Mutex<Vec<(Stage, &'static str, u64)>>,
}

impl NasThread {
    /// A request was refused or dropped, and why.
    pub(crate) fn refused(&self, stage: Stage, reason: &'static str) {
        let count = if stage == Stage::Rejected { &self.rejected } else { &self.dropped };
        count.fetch_add(1, Relaxed);
        let mut reasons = self.reasons.lock();
        // A handful at most.
        match reasons.iter_mut().find(|known| (known.0, known.1) == (stage, reason)) {
            Some((.., count)) => *count += 1,
            None => reasons.push((stage, reason, 1)),
        }
    }
}

/// The sums of a NAS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct NasCounts {
    pub(crate) requests: u64,
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    pub(crate) accounting: u64,
    pub(crate) acknowledged: u64,
    pub(crate) repeated: u64,
    pub(crate) dropped: u64,
    pub(crate) old_secret: u64,
    pub(crate) seen: u64,
}

impl NasTally {
    /// For so many threads.
    pub(crate) fn new(threads: usize) -> Self {
        Self(std::iter::repeat_with(NasThread::default).take(threads.max(1)).collect())
    }

    /// The counters of a thread.
    pub(crate) fn of(&self, thread: usize) -> &NasThread {
        static NOWHERE: NasThread = NasThread {
            requests: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            accounting: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            repeated: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            old_secret: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            reasons: Mutex::new(Vec::new()),
        };
        self.0.get(thread).unwrap_or(&NOWHERE)
    }

    /// Why requests of it were refused or dropped, of all threads together.
    pub(crate) fn reasons(&self) -> Vec<ReasonCount> {
        let mut sums = BTreeMap::new();
        for thread in &self.0 {
            for (stage, reason, count) in &*thread.reasons.lock() {
                *sums.entry((*stage, *reason)).or_default() += count;
            }
        }
        rows(sums)
    }

    /// All threads together.
    pub(crate) fn sum(&self) -> NasCounts {
        let sum = |field: fn(&NasThread) -> &AtomicU64| {
            self.0.iter().map(|thread| field(thread).load(Relaxed)).sum()
        };
        let latest = |field: fn(&NasThread) -> &AtomicU64| {
            self.0.iter().map(|thread| field(thread).load(Relaxed)).max().unwrap_or(0)
        };
        NasCounts {
            requests: sum(|thread| &thread.requests),
            accepted: sum(|thread| &thread.accepted),
            rejected: sum(|thread| &thread.rejected),
            accounting: sum(|thread| &thread.accounting),
            acknowledged: sum(|thread| &thread.acknowledged),
            repeated: sum(|thread| &thread.repeated),
            dropped: sum(|thread| &thread.dropped),
            old_secret: latest(|thread| &thread.old_secret),
            seen: latest(|thread| &thread.seen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_found_again() {
        let (one, two) = (Tally::default(), Tally::default());
        one.answered(Answer::Accept, Duration::from_micros(3));
        two.answered(Answer::Accept, Duration::from_millis(20));
        two.answered(Answer::Reject, Duration::from_secs(1_000));
        one.reason(Stage::Dropped, "unknown_client", 1);
        two.reason(Stage::Dropped, "unknown_client", 2);
        two.reason(Stage::Rejected, "wrong_password", 1);
        let tallies = [&one, &two];
        let total = Total(&tallies);
        let count = |wanted: Answer| {
            total.answers().iter().find(|(answer, _)| *answer == wanted).map(|(_, count)| *count)
        };
        assert_eq!(
            (count(Answer::Accept), count(Answer::Reject), count(Answer::Accounting)),
            (Some(2), Some(1), Some(0))
        );
        let reasons: Vec<(Stage, String, u64)> =
            total.reasons().into_iter().map(|row| (row.stage, row.reason, row.count)).collect();
        assert_eq!(
            reasons,
            [
                (Stage::Rejected, "wrong_password".to_owned(), 1),
                (Stage::Dropped, "unknown_client".to_owned(), 3),
            ]
        );
        let latency = total.latency();
        let accepted = latency.iter().find(|row| row.answer == Answer::Accept).unwrap();
        let filled: Vec<_> = accepted.buckets.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled.len(), 2);
        // Each bound is at or above what is in it, and less than twice of it.
        assert!((3e-6..6e-6).contains(&filled[0].0), "{filled:?}");
        assert!((0.02..0.04).contains(&filled[1].0), "{filled:?}");
        assert!((accepted.sum - 0.020_003).abs() < 1e-9);
    }

    #[test]
    fn threads_count_a_nas_apart_and_are_added_up() {
        let nas = NasTally::new(2);
        nas.of(0).requests.fetch_add(2, Relaxed);
        nas.of(1).requests.fetch_add(3, Relaxed);
        nas.of(0).seen.store(7, Relaxed);
        nas.of(1).seen.store(5, Relaxed);
        nas.of(9).requests.fetch_add(100, Relaxed);
        nas.of(0).refused(Stage::Rejected, "wrong_password");
        nas.of(1).refused(Stage::Dropped, "under_way");
        nas.of(1).refused(Stage::Rejected, "wrong_password");
        assert_eq!(
            nas.sum(),
            NasCounts { requests: 5, rejected: 2, dropped: 1, seen: 7, ..NasCounts::default() }
        );
        let reasons: Vec<_> =
            nas.reasons().into_iter().map(|row| (row.stage, row.reason, row.count)).collect();
        let expected = [(Stage::Rejected, "wrong_password", 2), (Stage::Dropped, "under_way", 1)];
        assert_eq!(
            reasons,
            expected.map(|(stage, reason, count)| (stage, reason.to_owned(), count))
        );
    }
}
