//! What is counted and timed in more than one role, for whoever watches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use muralla_mail_envelope::Client;
use muralla_mail_queue::Outcome;
use muralla_smtp::server::{End, Report};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// How sessions of SMTP ended, and what they were encrypted with.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    ends: [AtomicU64; End::ALL.len()],
    clear: AtomicU64,
    tls12: AtomicU64,
    tls13: AtomicU64,
    line_ends: AtomicU64,
    injected: AtomicU64,
}

/// How sessions of SMTP ended since the start, and what they were encrypted with.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct SessionCounts {
    /// Sessions by how they ended: `quit`, `lost`, `timed_out`, `refused`, `abusive`, `closed`, `tls` (none came about), `stopped`.
    pub ends: BTreeMap<String, u64>,
    /// Sessions by what they were encrypted with at their end: `none`, `TLSv1.2`, `TLSv1.3`.
    pub tls: BTreeMap<String, u64>,
    /// Sessions with lines that ended as none may, which is how messages are smuggled.
    pub line_ends: u64,
    /// Sessions with something in the clear that was to be taken for encrypted.
    pub injected: u64,
}

impl Sessions {
    /// One has ended.
    pub(crate) fn ended(&self, client: &Client, report: &Report) {
        if let Some(place) = End::ALL.iter().position(|end| *end == report.end)
            && let Some(counter) = self.ends.get(place)
        {
            counter.fetch_add(1, Relaxed);
        }
        let kind = match client.tls.as_ref().map(|tls| tls.version.as_str()) {
            None => &self.clear,
            Some("TLSv1.2") => &self.tls12,
            Some(_) => &self.tls13,
        };
        kind.fetch_add(1, Relaxed);
        self.line_ends.fetch_add(u64::from(report.bare_line_ends > 0), Relaxed);
        self.injected.fetch_add(u64::from(report.injected > 0), Relaxed);
    }

    pub(crate) fn counts(&self) -> SessionCounts {
        let ends = End::ALL.iter().zip(&self.ends);
        let kinds = [("none", &self.clear), ("TLSv1.2", &self.tls12), ("TLSv1.3", &self.tls13)];
        SessionCounts {
            ends: ends
                .filter(|(end, _)| **end != End::Open)
                .map(|(end, count)| (end.name().to_owned(), count.load(Relaxed)))
                .collect(),
            tls: kinds.map(|(kind, count)| (kind.to_owned(), count.load(Relaxed))).into(),
            line_ends: self.line_ends.load(Relaxed),
            injected: self.injected.load(Relaxed),
        }
    }
}

/// Where mail is handed over, and how that goes: for each store, back-end, and for other domains together.
#[derive(Debug, Default)]
pub(crate) struct Deliveries(Mutex<BTreeMap<String, Arc<Delivering>>>);

#[derive(Debug)]
struct Delivering {
    up: AtomicBool,
    delivered: AtomicU64,
    deferred: AtomicU64,
    refused: AtomicU64,
    unreachable: AtomicU64,
    took: Histogram,
}

/// How mail is handed over to one place since the start.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct DeliveryStatus {
    /// `store/` and a shard, `backend/` and a name, `remote` for other domains, or `spool` for what waited on this machine's disk before.
    pub to: String,
    /// Whether it could be reached the last time.
    pub up: bool,
    /// Recipients that it took mail for.
    pub delivered: u64,
    /// Recipients that it put off.
    pub deferred: u64,
    /// Recipients that it refused.
    pub refused: u64,
    /// Recipients for whom it could not be reached.
    pub unreachable: u64,
    /// Upper bounds in seconds with the number of messages that took so long; not cumulative, and the last has what took longer, too.
    pub buckets: Vec<(f64, u64)>,
    /// Seconds that these took together.
    pub seconds: f64,
}

/// What became of recipients.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Fates {
    pub(crate) delivered: u64,
    pub(crate) deferred: u64,
    pub(crate) refused: u64,
    pub(crate) unreachable: u64,
}

/// What messages are counted under that waited on this machine's disk, with the time from their 250 until all had them.
pub(crate) const SPOOL: &str = "spool";

/// Places that are told apart at most.
const MOST: usize = 1_000;

impl Fates {
    /// Of what the queue is told.
    pub(crate) fn of(outcomes: &[Outcome]) -> Self {
        let mut fates = Self::default();
        for outcome in outcomes {
            let count = match outcome {
                Outcome::Delivered { .. } => &mut fates.delivered,
                Outcome::Temporary { .. } => &mut fates.deferred,
                Outcome::Permanent { .. } => &mut fates.refused,
                Outcome::Unreachable { .. } => &mut fates.unreachable,
                Outcome::Untried => continue,
            };
            *count += 1;
        }
        fates
    }
}

impl Deliveries {
    /// A message was handed over, or was to be.
    pub(crate) fn note(&self, to: &str, fates: Fates, took: Duration) {
        let Some(place) = self.place(to) else { return };
        place.up.store(fates.unreachable == 0, Relaxed);
        place.delivered.fetch_add(fates.delivered, Relaxed);
        place.deferred.fetch_add(fates.deferred, Relaxed);
        place.refused.fetch_add(fates.refused, Relaxed);
        place.unreachable.fetch_add(fates.unreachable, Relaxed);
        if fates.delivered > 0 {
            place.took.note(took);
        }
    }

    fn place(&self, to: &str) -> Option<Arc<Delivering>> {
        let mut known = self.0.lock();
        if let Some(place) = known.get(to) {
            return Some(Arc::clone(place));
        }
        if known.len() >= MOST {
            return None;
        }
        let place = Arc::new(Delivering {
            up: AtomicBool::new(true),
            delivered: AtomicU64::new(0),
            deferred: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unreachable: AtomicU64::new(0),
            took: Histogram::default(),
        });
        known.insert(to.to_owned(), Arc::clone(&place));
        Some(place)
    }

    pub(crate) fn status(&self) -> Vec<DeliveryStatus> {
        let known = self.0.lock();
        let all = known.iter().map(|(to, place)| {
            let (buckets, seconds) = place.took.read();
            DeliveryStatus {
                to: to.clone(),
                up: place.up.load(Relaxed),
                delivered: place.delivered.load(Relaxed),
                deferred: place.deferred.load(Relaxed),
                refused: place.refused.load(Relaxed),
                unreachable: place.unreachable.load(Relaxed),
                buckets,
                seconds,
            }
        });
        all.collect()
    }
}

/// Times in buckets of powers of two, from a millisecond to nine minutes.
#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    micros: AtomicU64,
}

const BUCKETS: usize = 20;

impl Histogram {
    fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Relaxed);
        if let Some(bucket) = self.buckets.get(bucket(took)) {
            bucket.fetch_add(1, Relaxed);
        }
    }

    fn read(&self) -> (Vec<(f64, u64)>, f64) {
        let bounds = (0..).map(|power| f64::from(1_u32 << power) / 1e3);
        let counts = self.buckets.iter().map(|count| count.load(Relaxed));
        (bounds.zip(counts).collect(), self.micros.load(Relaxed) as f64 / 1e6)
    }
}

/// The first bucket whose bound it does not pass, or the last.
fn bucket(took: Duration) -> usize {
    let millis = took.as_micros().div_ceil(1000).max(1);
    let power = millis.next_power_of_two().trailing_zeros();
    usize::try_from(power).unwrap_or(usize::MAX).min(BUCKETS - 1)
}

/// Room on a disk.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct DiskStatus {
    /// What is kept there: `spool`, `packs`, `database`; of other shards with their names, as in `packs/second`.
    pub what: String,
    /// Bytes that may be written.
    pub free: u64,
    /// Bytes in all.
    pub size: u64,
}

impl DiskStatus {
    /// Of the disk of a file or folder; none if that can't be asked.
    pub(crate) fn of(what: String, path: &std::path::Path) -> Option<Self> {
        let disk = rustix::fs::statvfs(path).ok()?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Some(Self { what, free: bytes(disk.f_bavail), size: bytes(disk.f_blocks) })
    }
}

#[cfg(test)]
mod tests {
    use muralla_mail_envelope::{Domain, Reply, TlsFacts};

    use super::*;

    #[test]
    fn times_have_their_buckets() {
        for (micros, expected) in [
            (0, 0),
            (1, 0),
            (1_000, 0),
            (1_001, 1),
            (2_000, 1),
            (2_001, 2),
            (1_000_000, 10),
            (1_024_000, 10),
            (1_024_001, 11),
            (524_288_000, 19),
            (600_000_000, 19),
            (u64::MAX, 19),
        ] {
            assert_eq!(bucket(Duration::from_micros(micros)), expected, "{micros}");
        }
        let histogram = Histogram::default();
        for millis in [1, 3, 4, 1_000_000] {
            histogram.note(Duration::from_millis(millis));
        }
        let (buckets, seconds) = histogram.read();
        assert_eq!((buckets.len(), buckets[0], buckets[2]), (BUCKETS, (0.001, 1), (0.004, 2)));
        assert_eq!(buckets[BUCKETS - 1], (524.288, 1));
        assert!((seconds - 1_000.008).abs() < 1e-6);
    }

    #[test]
    fn what_became_of_recipients() {
        let reply = || Reply::new(250, None, "Ok");
        let outcomes = [
            Outcome::Delivered {
                reply: reply(),
                host: None,
                handed: muralla_mail_queue::Handed::Home,
            },
            Outcome::Temporary { reply: reply(), host: None },
            Outcome::Permanent { reply: reply(), host: None },
            Outcome::Unreachable { reply: reply(), host: None },
            Outcome::Untried,
        ];
        let fates = Fates::of(&outcomes);
        assert_eq!(fates, Fates { delivered: 1, deferred: 1, refused: 1, unreachable: 1 });
        let deliveries = Deliveries::default();
        deliveries.note("backend/old", fates, Duration::from_millis(2));
        deliveries.note("remote", Fates { delivered: 2, ..Fates::default() }, Duration::ZERO);
        let status = deliveries.status();
        let names: Vec<(&str, bool, u64)> =
            status.iter().map(|one| (one.to.as_str(), one.up, one.delivered)).collect();
        assert_eq!(names, [("backend/old", false, 1), ("remote", true, 2)]);
        let fates = Fates { deferred: 1, ..Fates::default() };
        deliveries.note("backend/old", fates, Duration::from_secs(9));
        let old = &deliveries.status()[0];
        assert!(old.up, "it said something");
        let timed: u64 = old.buckets.iter().map(|(_, count)| count).sum();
        assert_eq!((old.deferred, timed), (2, 1), "what was not taken has no time");
    }

    #[test]
    fn sessions_by_end_and_cipher() {
        let sessions = Sessions::default();
        let mut client = Client::local(&Domain::parse("mx.example.org").unwrap());
        let mut report = Report::default();
        report.end = End::Quit;
        sessions.ended(&client, &report);
        client.tls = Some(TlsFacts { version: "TLSv1.3".to_owned(), ..TlsFacts::default() });
        report.end = End::Abusive;
        report.bare_line_ends = 7;
        sessions.ended(&client, &report);
        let counts = sessions.counts();
        assert_eq!((counts.ends["quit"], counts.ends["abusive"], counts.ends["lost"]), (1, 1, 0));
        assert_eq!((counts.tls["none"], counts.tls["TLSv1.2"], counts.tls["TLSv1.3"]), (1, 0, 1));
        assert_eq!((counts.line_ends, counts.injected), (1, 0));
    }
}
