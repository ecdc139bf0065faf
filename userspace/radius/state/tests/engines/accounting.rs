//! Accounting in the database: nothing lost, nothing doubled, shown by counting.

use muralla_test_database::on_both_engines;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::common::{Database, accounting};
use muralla_radius_accounting::{Day, ExportRow, SessionId};
use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::{Base, Names};
use muralla_radius_state::{
    Changed, Elsewhere, Format, Holder, Leases, PoolEntry, Report, SessionFilter, SessionState,
    Spots, State, SubscriberEntry, SumBy, UsageFilter,
};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

on_both_engines![
    the_same_records_in_any_order_give_the_same_sums,
    poison_is_found_and_everything_else_is_written,
    what_became_of_the_database_is_no_poison,
    a_pool_that_cannot_be_read_holds_up_no_accounting,
    only_what_was_in_the_journal_tells_how_far_it_is_written,
    sessions_are_as_the_records_say,
    a_box_that_begins_closes_what_it_had,
    sums_are_by_user_nas_telco_and_day,
    reports_are_files,
    two_servers_count_a_users_sessions_together,
    what_is_old_is_deleted,
    what_is_kept_long_enough_is_deleted_by_itself,
    a_clock_that_is_wrong_makes_nothing_old,
    what_ended_at_another_server_is_told,
    credits_are_charged_exactly_once,
    names_in_small_letters_find_whose_credit_it_is,
    a_charge_is_followed_by_every_server,
];

const DAY: i64 = 86_400;
/// Noon of a day.
const NOON: i64 = 20_000 * DAY + DAY / 2;

/// A session that reports at those times, with so many octets each second.
fn session(
    number: u64,
    user: &str,
    begin: i64,
    reports: &[i64],
    octets: i64,
    stops: bool,
) -> Vec<ExportRow> {
    let mut rows = vec![accounting("start", number, user, begin)];
    for (at, seconds) in reports.iter().enumerate() {
        let last = stops && at + 1 == reports.len();
        let mut row =
            accounting(if last { "stop" } else { "interim" }, number, user, begin + seconds);
        row.started_at = Some(begin);
        row.session_seconds = *seconds;
        (row.octets_in, row.octets_out) = (seconds * octets, seconds * octets * 10);
        row.seconds_then = row.session_seconds;
        (row.octets_in_then, row.octets_out_then) = (row.octets_in, row.octets_out);
        rows.push(row);
    }
    rows
}

async fn sums(state: &State) -> (i64, i64, i64, i64) {
    let filter = UsageFilter { by: SumBy::Telco, daily: false, from: 0, to: 40_000, name: None };
    let sums = state.usage(&filter).await.unwrap();
    let of = |of: fn(&muralla_radius_state::UsageSum) -> i64| sums.iter().map(of).sum();
    (
        of(|sum| sum.sessions),
        of(|sum| sum.session_time),
        of(|sum| sum.octets_in),
        of(|sum| sum.octets_out),
    )
}

async fn the_same_records_in_any_order_give_the_same_sums(database: Database) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    let mut rows: Vec<ExportRow> = Vec::new();
    let (mut seconds, mut octets) = (0, 0);
    for number in 0..60u64 {
        let user = format!("user{}", number % 20);
        let begin = NOON + i64::try_from(number).unwrap() * 977;
        let last = 3600 + i64::try_from(number).unwrap() * 1800;
        rows.extend(session(number, &user, begin, &[600, 1200, last], 100, number % 3 != 0));
        seconds += last;
        octets += last * 100;
    }
    let expected = (60, seconds, octets, octets * 10);
    // In order, twice; then shuffled, in batches that overlap, by two servers at once.
    a.export(&rows).await.unwrap();
    assert_eq!(sums(&a).await, expected);
    a.export(&rows).await.unwrap();
    assert_eq!(sums(&a).await, expected);
    database
        .sql("DELETE FROM radius_usage; DELETE FROM radius_record; DELETE FROM radius_session")
        .await;
    let mut runner = TestRunner::new(Config { cases: 1, ..Config::default() });
    let shuffled = |runner: &mut TestRunner| {
        let strategy = Just(rows.clone()).prop_shuffle();
        proptest::strategy::ValueTree::current(&strategy.new_tree(runner).unwrap())
    };
    let (one, other) = (shuffled(&mut runner), shuffled(&mut runner));
    let export = async |state: &State, rows: &[ExportRow]| {
        let mut from = 0;
        while from < rows.len() {
            let batch = &rows[from..rows.len().min(from + 37)];
            loop {
                match state.export(batch).await {
                    Ok(exported) => {
                        assert_eq!((exported.written, exported.poison.len()), (batch.len(), 0));
                        break;
                    }
                    // Two servers that write the same at once may get into each other's way; then it is written again.
                    Err(error) => assert!(error.may_pass(), "{error}"),
                }
            }
            from += 23;
        }
    };
    tokio::join!(export(&a, &one), export(&b, &other));
    assert_eq!(sums(&a).await, expected);
    let open = SessionFilter { open: true, ..SessionFilter::default() };
    assert_eq!(a.sessions(&open, 1000).await.unwrap().len(), 20);
    // Starts and stops once each, and no interim ones.
    assert_eq!(database.number("SELECT count(*) FROM radius_record").await, 60 + 40);
    let all = database.state_with("a", |options| options.keep_interims = true).await;
    export(&all, &one).await;
    assert_eq!(database.number("SELECT count(*) FROM radius_record").await, 240);
    assert_eq!(sums(&a).await, expected);
}

async fn poison_is_found_and_everything_else_is_written(database: Database) {
    let state = database.state("a").await;
    let refuse = if database.is_postgres() {
        "ALTER TABLE radius_record ADD CONSTRAINT poison CHECK (user_name <> 'poison')"
    } else {
        "CREATE TRIGGER poison BEFORE INSERT ON radius_record WHEN NEW.user_name = 'poison' BEGIN SELECT RAISE(ABORT, 'poison'); END"
    };
    database.sql(refuse).await;
    let mut rows: Vec<ExportRow> =
        (0..100u64).map(|number| accounting("start", number, "ann", NOON)).collect();
    rows[17] = accounting("start", 17, "poison", NOON);
    rows[18] = accounting("start", 18, "poison", NOON);
    rows[99].event_id = "no name".into();
    let exported = state.export(&rows).await.unwrap();
    let poison: Vec<usize> = exported.poison.iter().map(|poison| poison.index).collect();
    assert_eq!((exported.written, poison), (97, vec![17, 18, 99]), "{:?}", exported.poison);
    assert!(exported.poison[0].reason.contains("poison"), "{:?}", exported.poison[0]);
    assert_eq!(database.number("SELECT count(*) FROM radius_record").await, 97);
    assert_eq!(state.status().away_since, None, "that is no outage");
    assert_eq!(state.export(&[]).await.unwrap().written, 0);
    // What a broken NAS says is no poison.
    let mut broken = accounting("stop", 500, "b\\x00b", NOON);
    (broken.octets_in, broken.octets_out, broken.session_seconds) = (i64::MAX, i64::MAX, i64::MAX);
    (broken.cause, broken.packets_in) = (Some(i64::MAX), i64::MAX);
    let exported = state.export(&[broken.clone(), broken]).await.unwrap();
    assert_eq!((exported.written, exported.poison), (2, vec![]));
    sums(&state).await;
}

/// Whatever the operator does to the database, no record is put aside for it.
async fn what_became_of_the_database_is_no_poison(database: Database) {
    let state = database.state("a").await;
    let rows = [accounting("start", 1, "ann", NOON), accounting("start", 2, "bob", NOON)];
    let nothing_goes = async || {
        for part in [&rows[..], &rows[..1]] {
            let error = state.export(part).await.unwrap_err();
            assert!(!error.is_away(), "{error}");
        }
        assert_eq!(state.status().away_since, None, "it answers");
    };
    database.sql("ALTER TABLE radius_record RENAME COLUMN class TO klass").await;
    nothing_goes().await;
    database.sql("ALTER TABLE radius_record RENAME COLUMN klass TO class").await;
    database.sql("ALTER TABLE radius_usage RENAME TO radius_usage_old").await;
    nothing_goes().await;
    database.sql("ALTER TABLE radius_usage_old RENAME TO radius_usage").await;
    // A constraint that nothing fulfils, of the kind that a bad row breaks as well.
    let (refuse, allow) = if database.is_postgres() {
        (
            "ALTER TABLE radius_record ADD COLUMN operator TEXT NOT NULL",
            "ALTER TABLE radius_record DROP COLUMN operator",
        )
    } else {
        (
            "CREATE TRIGGER refuse BEFORE INSERT ON radius_record BEGIN SELECT RAISE(ABORT, 'no'); END",
            "DROP TRIGGER refuse",
        )
    };
    database.sql(refuse).await;
    nothing_goes().await;
    database.sql(allow).await;
    let exported = state.export(&rows).await.unwrap();
    assert_eq!((exported.written, exported.poison), (2, vec![]));
    assert_eq!(database.number("SELECT count(*) FROM radius_session").await, 2);
}

async fn a_pool_that_cannot_be_read_holds_up_no_accounting(database: Database) {
    let state = database.state("a").await;
    state.put_pool(&PoolEntry::ipv4("home", ["192.0.2.0/28"])).await.unwrap();
    state.put_pool(&PoolEntry::ipv4("work", ["198.51.100.0/28"])).await.unwrap();
    let leases = Leases::start(&state).await.unwrap();
    let holder = |pool| {
        let holder = Holder { user: "ann", nas: "lns1", port: Some(pool) };
        leases.lease(pool, &holder, std::time::Instant::now())
    };
    let given = [holder("home").unwrap(), holder("work").unwrap()];
    database
        .sql("UPDATE radius_pool SET lease_seconds = 5000000000, wanted = 0 WHERE name = 'home'")
        .await;
    leases.keep().await.unwrap();
    let problems = state.status().following.unwrap().problems;
    assert!(problems.iter().any(|problem| problem.contains("pool home")), "{problems:?}");
    assert_eq!(holder("home"), Ok(given[0]), "who has something of it keeps it");
    let rows = given.map(|given| {
        let mut row = accounting("start", given.to_string().len() as u64, "ann", NOON);
        row.framed_address = Some(given.to_string());
        row
    });
    let exported = state.export(&rows).await.unwrap();
    assert_eq!((exported.written, exported.poison), (2, vec![]));
    let with_a_session = "SELECT count(*) FROM radius_lease WHERE session IS NOT NULL";
    assert_eq!(database.number(with_a_session).await, 1);
}

/// Records that came long ago wait in the journal still, while ends of sessions are written that are in none. And whatever the
/// clock was set to meanwhile, they came that long ago.
async fn only_what_was_in_the_journal_tells_how_far_it_is_written(database: Database) {
    let state = database.state("a").await;
    let exported = "SELECT coalesce(max(exported), 0) FROM radius_server WHERE name = 'a'";
    let now = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        i64::try_from(since.as_secs()).unwrap()
    };
    let since_boot = || {
        let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(since.tv_sec.cast_unsigned(), u32::try_from(since.tv_nsec).unwrap())
    };
    let mut closing = accounting("interim", 1, "ann", NOON);
    (closing.status, closing.state, closing.sequence) = ("closed", Some("lost"), 0);
    (closing.received_at, closing.came) = (i64::MAX, Some(since_boot()));
    // Before a boot of the machine, when its clock may have said anything.
    let mut before = accounting("start", 2, "bob", NOON);
    before.received_at = now() * 1_000_000;
    state.export(&[closing.clone(), before]).await.unwrap();
    assert_eq!(database.number(exported).await, 0);
    // 90 seconds ago, by a clock that was ahead then, and one that was behind.
    for (session, received) in [(3, now() + 3_600), (4, now() - 3_600), (5, now())] {
        let mut row = accounting("start", session, "bob", NOON);
        (row.received_at, row.came) =
            (received * 1_000_000, since_boot().checked_sub(Duration::from_secs(90)));
        assert!(row.came.is_some(), "the machine is up for long enough");
        state.export(&[row, closing.clone()]).await.unwrap();
        let until = database.number(exported).await;
        assert!(
            (now() - 100..=now() - 91).contains(&until),
            "{until} is not a while before {}",
            now()
        );
        database.sql("UPDATE radius_server SET exported = 0").await;
    }
}

async fn sessions_are_as_the_records_say(database: Database) {
    let state = database.state("a").await;
    let rows = session(1, "ann", NOON, &[600, 1200], 100, true);
    let of = async |filter: SessionFilter| state.sessions(&filter, 10).await.unwrap();
    let anns = || SessionFilter { user: Some("ann".into()), ..SessionFilter::default() };
    state.export(&rows[1..2]).await.unwrap();
    let seen = &of(anns()).await[0];
    assert_eq!(
        (seen.state, seen.started, seen.octets_in, seen.ended),
        (SessionState::Open, NOON, 60_000, None)
    );
    // The stop, and only then the start.
    state.export(&rows[2..]).await.unwrap();
    state.export(&rows[..1]).await.unwrap();
    let seen = &of(anns()).await[0];
    assert_eq!((seen.state, seen.ended), (SessionState::Stopped, Some(NOON + 1200)));
    assert_eq!((seen.octets_in, seen.session_time, seen.nas.as_str()), (120_000, 1200, "lns1"));
    assert_eq!(seen.session_id().unwrap().to_string(), seen.id);

    // Nothing was heard of another for too long; then something is.
    let mut rows = session(2, "bob", NOON, &[600, 1200, 1800], 100, true);
    let mut lost = rows[1].clone();
    (lost.status, lost.state, lost.event_id) = ("closed", Some("lost"), format!("{:032x}", 77));
    state.export(&[rows[0].clone(), rows[1].clone(), lost.clone()]).await.unwrap();
    let bobs = || SessionFilter {
        user: Some("bob".into()),
        nas: Some("lns1".into()),
        ..SessionFilter::default()
    };
    let seen = &of(bobs()).await[0];
    assert_eq!((seen.state, seen.ended), (SessionState::Lost, Some(NOON + 600)));
    state.export(&rows[2..3]).await.unwrap();
    assert_eq!(of(bobs()).await[0].state, SessionState::Open);
    state.export(&[lost]).await.unwrap();
    assert_eq!(of(bobs()).await[0].state, SessionState::Open, "that was before");
    rows[3].framed_address = Some("192.0.2.77".into());
    state.export(&rows[3..]).await.unwrap();
    let had = |address: &str, from: Option<i64>, to: Option<i64>| {
        let address = Some(address.parse().unwrap());
        SessionFilter { address, from, to, ..SessionFilter::default() }
    };
    assert_eq!(of(had("192.0.2.77", None, None)).await[0].user, "bob");
    assert_eq!(of(SessionFilter { open: true, ..SessionFilter::default() }).await, []);
    assert_eq!(of(SessionFilter::default()).await.len(), 2);

    // Who had it when. His ended after half an hour, the next one's has not.
    let mut next = accounting("start", 3, "carl", NOON + 3600);
    next.framed_address = Some("192.0.2.77".into());
    next.framed_prefix = Some("2001:db8:17:5::/64".into());
    next.delegated_prefix = Some("2001:db8:100::/56".into());
    next.framed_address6 = Some("2001:db8::17".into());
    state.export(&[next]).await.unwrap();
    let minute = |minute: i64| Some(NOON + minute * 60);
    for (address, from, to, whose) in [
        ("192.0.2.77", minute(15), minute(15), &["bob"][..]),
        ("192.0.2.77", minute(30), minute(30), &["bob"]),
        ("192.0.2.77", minute(45), minute(45), &[]),
        ("192.0.2.77", minute(600), minute(600), &["carl"]),
        ("192.0.2.77", minute(29), minute(60), &["carl", "bob"]),
        ("192.0.2.77", None, minute(59), &["bob"]),
        ("192.0.2.78", None, None, &[]),
        ("2001:db8:17:5:1:2:3:4", None, None, &["carl"]),
        ("2001:db8:17:6::", None, None, &[]),
        ("2001:db8:100:ff::1", minute(60), None, &["carl"]),
        ("2001:db8::17", None, minute(59), &[]),
        ("2001:db8::17", None, minute(60), &["carl"]),
    ] {
        let found = of(had(address, from, to)).await;
        let users: Vec<&str> = found.iter().map(|session| session.user.as_str()).collect();
        assert_eq!(users, whose, "{address} {from:?} {to:?}");
    }
}

async fn a_box_that_begins_closes_what_it_had(database: Database) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    let mut other_box = accounting("start", 3, "carl", NOON);
    other_box.nas_identifier = Some("lns2".into());
    a.export(&[
        accounting("start", 1, "ann", NOON),
        accounting("start", 2, "bob", NOON + 100),
        other_box,
    ])
    .await
    .unwrap();
    let boot = |at: i64| {
        let mut boot = accounting("accounting_on", 0, "", at);
        (boot.session_id, boot.state) = (None, None);
        boot
    };
    // The other server is told; a session of the same second is one of the new life.
    b.export(&[boot(NOON + 100)]).await.unwrap();
    let open = SessionFilter { open: true, ..SessionFilter::default() };
    let open = async || {
        let mut open: Vec<String> =
            a.sessions(&open, 10).await.unwrap().into_iter().map(|seen| seen.user).collect();
        open.sort_unstable();
        open
    };
    assert_eq!(open().await, ["bob", "carl"]);
    // What comes late, of before the boot, is closed as well; what comes from after it is open.
    a.export(&[accounting("start", 4, "dora", NOON - 50)]).await.unwrap();
    assert_eq!(open().await, ["bob", "carl"]);
    let mut later = accounting("interim", 4, "dora", NOON + 200);
    later.started_at = Some(NOON - 50);
    a.export(&[later]).await.unwrap();
    assert_eq!(open().await, ["bob", "carl", "dora"], "the box did not begin anew after all");
    let mut off = boot(NOON + 300);
    off.status = "accounting_off";
    b.export(&[off]).await.unwrap();
    assert_eq!(open().await, ["carl"]);
}

async fn sums_are_by_user_nas_telco_and_day(database: Database) {
    let state = database.state_with("a", |options| options.zone = "+01:00".parse().unwrap()).await;
    let first = i32::try_from(NOON / DAY).unwrap();
    // From noon for 24 hours: half of it on each day, but for the hour that local time is ahead.
    state.export(&session(1, "ann", NOON, &[DAY], 10, true)).await.unwrap();
    let mut other = session(2, "ann", NOON, &[600], 10, true);
    for row in &mut other {
        (row.nas, row.telco) = ("lns2".into(), None);
    }
    state.export(&other).await.unwrap();
    state.export(&session(3, "bob", NOON + DAY, &[600], 10, false)).await.unwrap();
    let sums = async |by, daily, from, to, name: Option<&str>| {
        let filter = UsageFilter { by, daily, from, to, name: name.map(Into::into) };
        let sums = state.usage(&filter).await.unwrap();
        sums.into_iter()
            .map(|sum| {
                (
                    sum.name,
                    sum.day.unwrap_or_default(),
                    sum.sessions,
                    sum.session_time,
                    sum.octets_in,
                )
            })
            .collect::<Vec<_>>()
    };
    let row = |name: &str, day: i32, sessions, seconds: i64| {
        let day = if day == 0 { String::new() } else { Day(day).to_string() };
        (name.to_owned(), day, sessions, seconds, seconds * 10)
    };
    let (one, rest) = (DAY / 2 - 3600, DAY / 2 + 3600);
    assert_eq!(
        sums(SumBy::User, true, first, first + 1, None).await,
        [
            row("ann", first, 2, one + 600),
            row("ann", first + 1, 1, rest),
            row("bob", first + 1, 1, 600),
        ]
    );
    assert_eq!(
        sums(SumBy::User, false, first, first + 1, None).await,
        [row("ann", 0, 2, DAY + 600), row("bob", 0, 1, 600)]
    );
    // A day alone has only its own share.
    assert_eq!(
        sums(SumBy::User, false, first + 1, first + 1, Some("ann")).await,
        [row("ann", 0, 1, rest)]
    );
    assert_eq!(
        sums(SumBy::Nas, false, first, first + 1, None).await,
        [row("lns1", 0, 2, DAY + 600), row("lns2", 0, 1, 600)]
    );
    assert_eq!(
        sums(SumBy::Telco, false, first, first + 1, None).await,
        [row("", 0, 1, 600), row("north", 0, 2, DAY + 600)]
    );
    assert_eq!(sums(SumBy::User, true, first + 2, first + 9, None).await, []);
}

async fn reports_are_files(database: Database) {
    let state = database.state("a").await;
    let mut rows = session(1, "a\"nn, ä", NOON, &[600], 100, true);
    rows.extend(session(2, "bob", NOON + 10, &[], 0, false));
    rows.extend(session(3, "late", NOON + DAY, &[], 0, false));
    state.export(&rows).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let sessions = Report::Sessions { from: NOON, to: NOON + DAY };
    let write = async |report: &Report, format, name: &str| {
        state.report(report, format, File::create(path(name)).unwrap(), |_| ()).await.unwrap()
    };
    assert_eq!(write(&sessions, Format::Csv, "s.csv").await, 2);
    let mut reader = csv::Reader::from_path(path("s.csv")).unwrap();
    let place = |headers: &csv::StringRecord, name: &str| {
        headers.iter().position(|header| header == name).unwrap()
    };
    let headers = reader.headers().unwrap().clone();
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(&records[0][place(&headers, "user")], "a\"nn, ä");
    assert_eq!(&records[0][place(&headers, "octets_out")], "600000");
    assert_eq!(&records[0][place(&headers, "started")], "2024-10-04T12:00:00Z");
    assert_eq!(&records[1][place(&headers, "ended")], "");

    assert_eq!(write(&sessions, Format::Json, "s.json").await, 2);
    let text = std::fs::read_to_string(path("s.json")).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (lines[0]["state"].as_str(), lines[1]["state"].as_str()),
        (Some("stopped"), Some("open"))
    );

    let records = Report::Records { from: NOON, to: NOON + DAY };
    assert_eq!(write(&records, Format::Parquet, "r.parquet").await, 3);
    let reader = SerializedFileReader::new(File::open(path("r.parquet")).unwrap()).unwrap();
    let names: Vec<String> = reader
        .metadata()
        .file_metadata()
        .schema()
        .get_fields()
        .iter()
        .map(|field| field.name().to_owned())
        .collect();
    let at = |name: &str| names.iter().position(|other| other == name).unwrap();
    let rows: Vec<parquet::record::Row> =
        reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    let users: Vec<&String> = rows.iter().map(|row| row.get_string(at("user")).unwrap()).collect();
    assert_eq!(users, ["a\"nn, ä", "bob", "a\"nn, ä"]);
    assert_eq!(rows[2].get_long(at("octets_in")).unwrap(), 60_000);
    assert_eq!(rows[2].get_timestamp_millis(at("at")).unwrap(), (NOON + 600) * 1000);

    let usage =
        Report::Usage(UsageFilter { by: SumBy::Nas, daily: true, from: 0, to: 40_000, name: None });
    assert_eq!(write(&usage, Format::Csv, "u.csv").await, 2);
    let text = std::fs::read_to_string(path("u.csv")).unwrap();
    assert!(text.contains("lns1,2024-10-04,2,600,60000,600000"), "{text}");
}

async fn two_servers_count_a_users_sessions_together(database: Database) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    let dictionary = Dictionary::built_in();
    let base = Arc::new(Base::new(Arc::clone(&dictionary), Names::default(), [1, 2]));
    b.export(&session(1, "ann", NOON, &[], 0, false)).await.unwrap();
    // What was open before it began to follow.
    let elsewhere = Arc::new(Elsewhere::new(Spots::new([1, 2])));
    let position = a.load_into(&dictionary, &base, |_| ()).await.unwrap().position;
    a.each_open_elsewhere(|session| elsewhere.hear(&session, "a")).await.unwrap();
    assert_eq!(elsewhere.open_of("ann").len(), 1);
    let follower = tokio::spawn({
        let (a, base, elsewhere) = (a.clone(), Arc::clone(&base), Arc::clone(&elsewhere));
        async move {
            let heard = |changed: Changed| match changed {
                Changed::Sessions(sessions) => {
                    sessions.iter().for_each(|session| elsewhere.hear(session, "a"));
                }
                Changed::SessionsGone(gone) => gone.into_iter().for_each(|id| elsewhere.forget(id)),
                _ => {}
            };
            a.follow(&dictionary, &base, None, position, heard).await;
        }
    });
    let until = async |count: usize| {
        for _ in 0..500 {
            if elsewhere.open_of("ann").len() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not {count} but {}", elsewhere.open_of("ann").len());
    };
    b.export(&session(2, "ann", NOON + 5, &[], 0, false)).await.unwrap();
    until(2).await;
    // Its own are no news, and an update that changes no state is none either.
    a.export(&session(3, "ann", NOON + 5, &[], 0, false)).await.unwrap();
    b.export(&session(2, "ann", NOON + 5, &[600], 10, false)).await.unwrap();
    // The NAS fails over: what began there ends here, and the other way round.
    a.export(&session(1, "ann", NOON, &[700], 10, true)).await.unwrap();
    until(1).await;
    b.export(&session(3, "ann", NOON + 5, &[700], 10, true)).await.unwrap();
    let third = SessionId::from_bytes(3u128.to_be_bytes());
    for _ in 0..500 {
        if elsewhere.is_closed(third) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(elsewhere.is_closed(third), "its own table may forget it");
    database.sql("DELETE FROM radius_session").await;
    until(0).await;
    follower.abort();
}

async fn what_is_old_is_deleted(database: Database) {
    let state = database.state_with("a", |options| options.keep_changes = Duration::ZERO).await;
    state.export(&session(1, "old", NOON, &[600], 10, true)).await.unwrap();
    state.export(&session(2, "open", NOON, &[600], 10, false)).await.unwrap();
    state.export(&session(3, "new", NOON + DAY, &[600], 10, true)).await.unwrap();
    let mut boot = accounting("accounting_on", 0, "", NOON - 10);
    (boot.session_id, boot.state) = (None, None);
    state.export(&[boot]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut told = 0;
    state.prune(NOON + DAY, |_| told += 1).await.unwrap();
    assert_eq!(told, 2, "records, and sessions");
    let mut left: Vec<String> = state
        .sessions(&SessionFilter::default(), 10)
        .await
        .unwrap()
        .into_iter()
        .map(|session| session.user)
        .collect();
    left.sort_unstable();
    assert_eq!(left, ["new", "open"]);
    for (table, rows) in [("radius_usage", 2), ("radius_record", 2), ("radius_change", 0)] {
        assert_eq!(
            database.number(&format!("SELECT count(*) FROM {table}")).await,
            rows,
            "{table}"
        );
    }
    assert_eq!(state.prune(NOON + DAY, |_| ()).await.unwrap(), 0);
}

/// What a credit is charged, however the records come: in any order, again and again, by two servers at once.
async fn credits_are_charged_exactly_once(database: Database) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    let dictionary = Dictionary::built_in();
    let user = |name: &str, seconds, bytes| SubscriberEntry {
        name: name.into(),
        credit_seconds: seconds,
        credit_bytes: bytes,
        ..SubscriberEntry::default()
    };
    let big = 1i64 << 40;
    let entries = [
        user("time", Some(100_000), None),
        user("both", Some(100_000), Some(big)),
        user("poor", Some(1_000), Some(1_000)),
        user("free", None, None),
    ];
    a.put_subscribers(&dictionary, &entries, |_| ()).await.unwrap();
    let credits = async |name: &str| {
        let entry = a.subscriber(name).await.unwrap().unwrap();
        (entry.credit_seconds, entry.credit_bytes)
    };
    let mut rows: Vec<ExportRow> = Vec::new();
    let mut seconds = 0;
    for number in 0..24u64 {
        let name = ["time", "both", "poor", "free"][usize::try_from(number % 4).unwrap()];
        let begin = NOON + i64::try_from(number).unwrap() * 77;
        let last = 1_500 + i64::try_from(number / 4).unwrap();
        rows.extend(session(number, name, begin, &[600, 1_200, last], 100, number % 3 != 0));
        seconds += if name == "both" { last } else { 0 };
    }
    let mut runner = TestRunner::new(Config { cases: 1, ..Config::default() });
    let mut shuffled = || {
        let strategy = Just(rows.clone()).prop_shuffle();
        proptest::strategy::ValueTree::current(&strategy.new_tree(&mut runner).unwrap())
    };
    let (one, other) = (shuffled(), shuffled());
    let export = async |state: &State, rows: &[ExportRow]| {
        for batch in rows.chunks(7) {
            while let Err(error) = state.export(batch).await {
                assert!(error.may_pass(), "{error}");
            }
        }
    };
    tokio::join!(export(&a, &one), export(&b, &other));
    export(&b, &rows).await;
    let octets = seconds * 100 * 11;
    assert_eq!(credits("time").await, (Some(100_000 - seconds), None));
    assert_eq!(credits("both").await, (Some(100_000 - seconds), Some(big - octets)));
    assert_eq!(credits("poor").await, (Some(0), Some(0)), "never less than nothing");
    assert_eq!(credits("free").await, (None, None));

    // A session from before a credit was given pays for what comes after it.
    let early = session(100, "late", NOON, &[600, 1_000], 1, false);
    a.put_subscriber(&dictionary, &user("late", None, None)).await.unwrap();
    a.export(&early[..2]).await.unwrap();
    let notes = a.change_subscriber(&dictionary, "late", |user| SubscriberEntry {
        credit_seconds: Some(5_000),
        ..user
    });
    assert_eq!(notes.await.unwrap(), Some(vec![]));
    b.export(&early).await.unwrap();
    assert_eq!(credits("late").await, (Some(5_000 - 400), None));
    let left = a.add_credit("late", 600, 0).await.unwrap().unwrap();
    assert_eq!((left.seconds, left.bytes), (Some(5_200), None));
    assert!(a.add_credit("late", 0, 5).await.unwrap_err().to_string().contains("set one first"));
    assert_eq!(a.add_credit("late", -9_999, 0).await.unwrap().unwrap().seconds, Some(0));
    assert_eq!(a.add_credit("nobody", 1, 0).await.unwrap(), None);
}

async fn names_in_small_letters_find_whose_credit_it_is(database: Database) {
    let state = database.state_with("a", |options| options.fold_names = true).await;
    let entry = SubscriberEntry {
        name: "\u{c4}nn@ISP".into(),
        credit_seconds: Some(1_000),
        ..SubscriberEntry::default()
    };
    state.put_subscriber(&Dictionary::built_in(), &entry).await.unwrap();
    // Of ASCII's letters alone, as the server folds them.
    state.export(&session(1, "\u{c4}nn@isp", NOON, &[300], 1, false)).await.unwrap();
    let left = state.subscriber(&entry.name).await.unwrap().unwrap().credit_seconds;
    assert_eq!(left, Some(700));
    let charged = state.charged_sessions().await.unwrap();
    assert_eq!(
        charged.iter().map(|one| (&*one.user, one.seconds)).collect::<Vec<_>>(),
        [("\u{c4}nn@isp", 300)]
    );
}

/// What one server charges, the other knows at once, with up to where each open session is charged.
async fn a_charge_is_followed_by_every_server(database: Database) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    let dictionary = Dictionary::built_in();
    let entry = SubscriberEntry {
        name: "ann".into(),
        credit_seconds: Some(10_000),
        ..SubscriberEntry::default()
    };
    a.put_subscriber(&dictionary, &entry).await.unwrap();
    let base = Base::new(Arc::clone(&dictionary), Names::default(), [1, 2]);
    let mut position = a.load_into(&dictionary, &base, |_| ()).await.unwrap().position;
    let elsewhere = Elsewhere::new(Spots::new([1, 2]));
    elsewhere.charge(&[], a.charged_sessions().await.unwrap());
    let mut catch_up = async || {
        position = a
            .catch_up(&dictionary, &base, None, &position, &mut |changed| match changed {
                Changed::Charged { users, sessions } => elsewhere.charge(&users, sessions),
                Changed::Sessions(all) => all.iter().for_each(|one| elsewhere.hear(one, "a")),
                _ => {}
            })
            .await
            .unwrap();
        let charged: Vec<(u64, u64, i64)> = elsewhere
            .charged_of("ann")
            .into_iter()
            .map(|one| (one.seconds, one.octets, one.updated))
            .collect();
        (base.subscriber("ann").unwrap().credits().0, charged)
    };
    let rows = session(1, "ann", NOON, &[600, 1_200], 10, true);
    b.export(&rows[..2]).await.unwrap();
    assert_eq!(catch_up().await, (Some(9_400), vec![(600, 66_000, NOON + 600)]));
    b.export(&rows[..2]).await.unwrap();
    assert_eq!(catch_up().await, (Some(9_400), vec![(600, 66_000, NOON + 600)]));
    b.export(&rows).await.unwrap();
    assert_eq!(catch_up().await, (Some(8_800), vec![]));
}

/// To a server that begins, all that is there seems to be too old: that is the clock.
async fn a_clock_that_is_wrong_makes_nothing_old(database: Database) {
    let first = database.state("a").await;
    first.export(&session(1, "ann", NOON, &[600], 10, true)).await.unwrap();
    database.sql(&format!("UPDATE radius_server SET seen = {NOON}, exported = {NOON}")).await;
    let keep = Duration::from_secs(2 * 86_400);
    let state = database
        .state_with("b", |options| (options.keep_records, options.keep_sessions) = (keep, keep))
        .await;
    assert_eq!(state.prune_once().await.unwrap(), 0);
    assert_eq!(database.number("SELECT count(*) FROM radius_record").await, 2);
    let problems = state.status().following.unwrap().problems;
    assert!(problems.iter().any(|problem| problem.contains("clock")), "{problems:?}");
    // Who says so himself is believed.
    assert!(state.prune(NOON + 2 * DAY, |_| ()).await.unwrap() > 0);
    assert_eq!(database.number("SELECT count(*) FROM radius_record").await, 0);
}

async fn what_ended_at_another_server_is_told(database: Database) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    for number in [1, 2] {
        a.export(&session(number, "ann", NOON, &[], 0, false)).await.unwrap();
    }
    b.export(&session(2, "ann", NOON, &[600], 10, true)).await.unwrap();
    let id = |number: u128| SessionId::from_bytes(number.to_be_bytes());
    let elsewhere = Elsewhere::new(Spots::new([1, 2]));
    a.each_open_elsewhere(|session| elsewhere.hear(&session, "a")).await.unwrap();
    assert!(!elsewhere.is_closed(id(2)), "it is not among the open ones");
    let hear = |session| elsewhere.hear(&session, "a");
    a.each_ended_session(&[id(1), id(2), id(3)], hear).await.unwrap();
    assert_eq!([1, 2, 3].map(|number| elsewhere.is_closed(id(number))), [false, true, false]);
    // A Start that was on its way for so long is told the end by who writes it.
    b.export(&session(4, "ann", NOON, &[600], 10, true)).await.unwrap();
    let late = [3, 4].map(|number| session(number, "ann", NOON, &[], 0, false)).concat();
    let ended = a.export(&late).await.unwrap().ended;
    assert_eq!(ended.iter().map(|session| session.session_id()).collect::<Vec<_>>(), [Some(id(4))]);
    elsewhere.hear(&ended[0], "a");
    assert!(elsewhere.is_closed(id(4)));
    let both = session(4, "ann", NOON, &[600], 10, true);
    assert_eq!(a.export(&both).await.unwrap().ended, [], "whoever tells the end knows it");
}

async fn what_is_kept_long_enough_is_deleted_by_itself(database: Database) {
    let day = Duration::from_secs(86_400);
    let now =
        i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let state = database
        .state_with("a", |options| (options.keep_records, options.keep_sessions) = (day, 3 * day))
        .await;
    for (number, days) in [(1, 0), (2, 2), (3, 4)] {
        let begin = now - days * DAY - 1_000;
        state.export(&session(number, "ann", begin, &[600], 10, true)).await.unwrap();
    }
    let count = async |table: &str| database.number(&format!("SELECT count(*) FROM {table}")).await;
    let for_ever = database
        .state_with("b", |options| {
            (options.keep_records, options.keep_sessions) = (Duration::ZERO, Duration::ZERO);
        })
        .await;
    assert_eq!(for_ever.prune_once().await.unwrap(), 0);
    assert_eq!((count("radius_session").await, count("radius_record").await), (3, 6));
    while state.prune_once().await.unwrap() > 0 {}
    let left = (count("radius_session").await, count("radius_usage").await);
    // Midnight may have come between its begin and its end.
    let days = (now - 401).div_euclid(DAY) - (now - 1_000).div_euclid(DAY) + 1;
    assert_eq!((left, count("radius_record").await), ((2, 2 * days), 2));
}
