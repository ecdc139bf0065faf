//! A database that is away for longer than the table would remember anything by itself.

use muralla_radius_accounting::{Moment, Record, Settings, Status, Table, Uptime};
use muralla_radius_state::{Location, SessionEntry, SessionFilter, SessionState, State};
use muralla_radius_state::{SumBy, UsageFilter};
use proptest::prelude::*;

use super::exporter::effect;
use super::*;

const HOUR: u64 = 3_600;
const GIB: u64 = 1 << 30;
const NANOS: u64 = 1_000_000_000;

/// 2026-11-29, 10:00 UTC; midnight is fourteen hours later.
const T0: u64 = 1_795_946_400;

/// So many seconds later. The machine is up for a day then.
fn moment(seconds: u64) -> Moment {
    Clock::default().moment(seconds)
}

/// A wall clock that is put right, or wrong, again and again: from when on by how many seconds.
#[derive(Clone, Debug, Default)]
struct Clock(Vec<(u64, i64)>);

impl Clock {
    fn moment(&self, seconds: u64) -> Moment {
        let uptime = Uptime { boot: 1, nanos: (24 * HOUR + seconds) * NANOS };
        let steps = self.0.iter().filter(|(from, _)| *from <= seconds);
        let off: i64 = steps.map(|(_, by)| by).sum();
        Moment { wall: (T0 + seconds).saturating_add_signed(off) * NANOS, uptime }
    }
}

/// A record of a NAS that sends no gigawords.
struct Told {
    at: u64,
    attributes: Vec<u8>,
}

impl Told {
    fn new(at: u64, status: Status, session: &str) -> Self {
        let mut told = Self { at, attributes: Vec::new() };
        told.number(40, status.number());
        told.add(44, session.as_bytes());
        told.add(1, b"ana");
        told
    }

    /// With Acct-Session-Time and Acct-Output-Octets; and with some Acct-Input-Octets, or a counter that went round and says
    /// the same to the byte would be taken for a report that is sent again, by a NAS without session time.
    fn used(mut self, seconds: Option<u64>, octets: u64) -> Self {
        self.number(42, self.at as u32);
        if let Some(seconds) = seconds {
            self.number(46, seconds as u32);
        }
        self.number(43, octets as u32);
        self
    }

    fn add(&mut self, kind: u8, value: &[u8]) {
        self.attributes.extend([kind, value.len() as u8 + 2]);
        self.attributes.extend(value);
    }

    fn number(&mut self, kind: u8, number: u32) {
        self.add(kind, &number.to_be_bytes());
    }

    fn record(&self, clock: &Clock) -> Record<'_> {
        let moment = clock.moment(self.at);
        let source = "192.0.2.1:1813".parse().unwrap();
        let record = Record::of_attributes(&self.attributes, "one", source, moment.wall).unwrap();
        record.with_uptime(Some(moment.uptime))
    }
}

/// A session that moves so much each hour, and tells of itself every half hour.
fn session(id: &str, begin: u64, hours: u64, hourly: u64, timed: bool) -> Vec<Told> {
    let mut told = vec![Told::new(begin, Status::Start, id)];
    for half in 1..=2 * hours {
        let seconds = half * HOUR / 2;
        let status = if half == 2 * hours { Status::Stop } else { Status::Interim };
        let seconds_told = timed.then_some(seconds);
        let record = Told::new(begin + seconds, status, id);
        told.push(record.used(seconds_told, hourly * half / 2));
    }
    told
}

/// What the table is told at its time, and the database only at the end. `restart` is when another process takes over.
fn through_an_outage(
    mut told: Vec<Told>,
    settings: &Settings,
    clock: &Clock,
    end: u64,
    restart: Option<u64>,
) -> (Vec<ExportRow>, Table) {
    told.sort_by_key(|told| told.at);
    let mut table = Table::new(settings.clone(), [1, 2]);
    let mut left = told.iter().peekable();
    for minute in 0..=end / 60 {
        let now = clock.moment(minute * 60);
        if restart.is_some_and(|restart| restart / 60 == minute) {
            let mut saved = Vec::new();
            table.save(&mut saved, 0, now).unwrap();
            let restored = Table::restore(settings.clone(), [3, 4], &saved[..], now).unwrap();
            assert!(restored.1.complete);
            table = restored.0;
            table.unwritten(told.first().map(|told| told.record(clock)).as_ref(), now);
        }
        while let Some(told) = left.next_if(|told| told.at <= minute * 60) {
            let effect = table.apply(&told.record(clock), clock.moment(told.at));
            assert!(effect.session.is_some());
        }
        table.unwritten(told.first().map(|told| told.record(clock)).as_ref(), now);
        assert_eq!(table.expire(now, 100), []);
    }
    let rows = told.iter().zip(1..).map(|(told, sequence)| {
        let record = told.record(clock);
        ExportRow::of(&record, &effect(&table, &record, clock.moment(end), 120), sequence, 120)
    });
    (rows.collect(), table)
}

/// The sessions by their beginnings, and the octets of each day.
fn in_the_database(rows: &[ExportRow]) -> (Vec<SessionEntry>, Vec<(String, i64)>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let state = State::open(&Location::Sqlite(folder.path().join("state.db"))).await.unwrap();
        for batch in rows.chunks(7) {
            let exported = state.export(batch).await.unwrap();
            assert!(exported.poison.is_empty(), "{exported:?}");
        }
        let mut sessions = state.sessions(&SessionFilter::default(), 100).await.unwrap();
        sessions.sort_by_key(|session| session.started);
        let day = i32::try_from(T0 / 86_400).unwrap();
        let filter = UsageFilter {
            by: SumBy::User,
            name: Some("ana".to_owned()),
            from: day - 1,
            to: day + 3,
            daily: true,
        };
        let sums = state.usage(&filter).await.unwrap();
        let days = sums.into_iter().map(|sum| (sum.day.unwrap_or_default(), sum.octets_out));
        let days = days.collect();
        state.close().await;
        (sessions, days)
    })
}

#[test]
fn after_half_a_day_without_a_database_every_octet_and_every_session_is_there() {
    for restart in [None, Some(11 * HOUR)] {
        for timed in [true, false] {
            // 3 GiB an hour: the counters go round every 80 minutes. The id is given to two sessions more.
            let mut told = session("7", 60, 5, 3 * GIB, timed);
            told.extend(session("7", 6 * HOUR, 2, GIB, timed));
            told.extend(session("7", 17 * HOUR, 3, 2 * GIB, timed));
            told.extend(session("8", HOUR, 9, 2 * GIB, timed));
            let (rows, _) = through_an_outage(
                told,
                &Settings::default(),
                &Clock::default(),
                22 * HOUR,
                restart,
            );
            let (sessions, days) = in_the_database(&rows);
            let found: Vec<(i64, SessionState, i64, i64)> = sessions
                .iter()
                .map(|session| {
                    let begin = session.started - T0.cast_signed();
                    (begin, session.state, session.session_time, session.octets_out)
                })
                .collect();
            let hours = |hours: u64| (hours * HOUR).cast_signed();
            let gibs = |gibs: u64| (gibs * GIB).cast_signed();
            let stopped = SessionState::Stopped;
            let expected = [
                (60, stopped, hours(5), gibs(15)),
                (hours(1), stopped, hours(9), gibs(18)),
                (hours(6), stopped, hours(2), gibs(2)),
                (hours(17), stopped, hours(3), gibs(6)),
            ];
            assert_eq!(found, expected, "timed {timed}, restart {restart:?}");
            let expected =
                [("2026-11-29".to_owned(), gibs(35)), ("2026-11-30".to_owned(), gibs(6))];
            assert_eq!(days, expected, "timed {timed}, restart {restart:?}");
        }
    }
}

/// A session over midnight: each day has what its records told, whatever the counters went round.
#[test]
fn usage_falls_on_its_day_however_late_it_is_written() {
    for timed in [true, false] {
        let mut told = session("1", 12 * HOUR, 4, 3 * GIB, timed);
        // After midnight it moves next to nothing.
        for (half, told) in (1..).zip(told.iter_mut().skip(1)).skip(4) {
            let octets = 6 * GIB + half;
            let status = if half == 8 { Status::Stop } else { Status::Interim };
            let record = Told::new(told.at, status, "1");
            *told = record.used(timed.then_some(half * HOUR / 2), octets);
        }
        let (rows, _) =
            through_an_outage(told, &Settings::default(), &Clock::default(), 30 * HOUR, None);
        let (_, days) = in_the_database(&rows);
        let expected =
            [("2026-11-29".to_owned(), (6 * GIB).cast_signed()), ("2026-11-30".to_owned(), 8)];
        assert_eq!(days, expected, "timed {timed}");
    }
}

#[test]
fn what_there_is_no_room_for_is_told_of() {
    let settings = Settings { most_sessions: 640, ..Settings::default() };
    let sessions = |count: u64| -> Vec<Told> {
        let ids = (0..count).map(|number| format!("{number}"));
        ids.zip(0..).flat_map(|(id, number)| session(&id, number * 20, 1, GIB, true)).collect()
    };
    let (rows, table) =
        through_an_outage(sessions(10), &settings, &Clock::default(), 20 * HOUR, None);
    assert_eq!(table.stats().forgotten_unwritten, 0);
    assert_eq!(in_the_database(&rows).0.len(), 10);
    let (_, table) =
        through_an_outage(sessions(2_000), &settings, &Clock::default(), 20 * HOUR, None);
    let stats = table.stats();
    assert!(stats.open + stats.remembered <= 640, "{stats:?}");
    assert!(stats.forgotten_unwritten >= 2_000 - 640, "{stats:?}");
    // Once all is written, all is as it was.
    table.unwritten(None, moment(20 * HOUR));
    assert_eq!(table.expire(moment(30 * HOUR), 100), []);
    let stats = table.stats();
    assert_eq!((stats.remembered, stats.forgotten_unwritten), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Sessions of one id, one after the other, while the clock is stepped and the database is away.
    #[test]
    fn sums_are_exact_whatever_sessions_there_were_and_however_the_clock_was_stepped(
        lives in proptest::collection::vec((1u64..6, 1u64..4, 0u64..3), 1..6),
        timed in any::<bool>(),
        restart in proptest::option::of(0u64..30),
        steps in proptest::collection::vec((0u64..40 * HOUR, -20_000i64..20_000), 0..3),
    ) {
        let (mut told, mut begin, mut sum) = (Vec::new(), 60, 0);
        let (count, clock) = (lives.len(), Clock(steps));
        for (hours, hourly, pause) in lives {
            told.extend(session("1", begin, hours, hourly * GIB, timed));
            begin += (hours + pause) * HOUR + HOUR / 4;
            sum += hours * hourly * GIB;
        }
        let restart = restart.map(|hour| hour * HOUR);
        let end = begin + 12 * HOUR;
        let (rows, _) = through_an_outage(told, &Settings::default(), &clock, end, restart);
        let (sessions, days) = in_the_database(&rows);
        prop_assert_eq!(sessions.len(), count);
        let octets: i64 = sessions.iter().map(|session| session.octets_out).sum();
        prop_assert_eq!(octets, sum.cast_signed());
        prop_assert_eq!(days.iter().map(|(_, octets)| octets).sum::<i64>(), sum.cast_signed());
        prop_assert!(sessions.iter().all(|session| session.state == SessionState::Stopped));
    }
}
