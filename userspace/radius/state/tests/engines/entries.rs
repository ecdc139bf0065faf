//! What operators enter is what is in force, by whatever way they enter it.

use muralla_test_database::on_both_engines;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Database, accounting};
use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::{Base, Names};
use muralla_radius_state::import::{from_clients, from_users};
use muralla_radius_state::{
    Changed, DatabaseError, Hidden, Location, Naming, NasEntry, Options, PoolEntry, ProfileEntry,
    Removal, State, StateError, SubscriberEntry, Table, Tables, Tally,
};

on_both_engines![
    the_schema_is_made_once,
    an_older_schema_goes_on,
    entries_come_back_as_they_were,
    what_makes_no_sense_is_refused,
    what_does_nothing_is_told,
    everything_is_loaded_and_what_is_not_is_told,
    whatever_sql_changes_is_followed,
    nothing_is_passed_over_while_many_write,
    freeradius_tables_are_taken_over,
];

fn subscriber(name: &str, password: &str) -> SubscriberEntry {
    SubscriberEntry {
        name: name.into(),
        credential: Hidden::new(format!("{{CLEARTEXT}}{password}")),
        ..SubscriberEntry::default()
    }
}

fn base(dictionary: &Arc<Dictionary>) -> Base {
    Base::new(Arc::clone(dictionary), Names::default(), [1, 2])
}

async fn the_schema_is_made_once(database: Database) {
    // Two servers that start at the same moment.
    let (one, other) = tokio::join!(database.state("a"), database.state("b"));
    assert!(one.ping().await.unwrap() < Duration::from_secs(10));
    other
        .put_nas(&NasEntry::new("lns", "192.0.2.1/32".parse().unwrap(), "xyzzy5461"))
        .await
        .unwrap();
    assert_eq!(one.nases().await.unwrap().0.len(), 1);
    let status = one.status();
    assert_eq!((status.server.as_str(), status.away_since), ("a", None));
    database.state("a").await;
    assert_eq!(database.number("SELECT count(*) FROM radius_schema").await, 8);
    one.check_schema().await.unwrap();
    // A later program made it newer.
    database.sql("INSERT INTO radius_schema (version, name) VALUES (99, 'later')").await;
    assert!(one.check_schema().await.unwrap_err().is_newer());
    let error = State::open(database.location()).await.unwrap_err();
    assert!(
        matches!(error, StateError::Database(DatabaseError::Newer { found: 99, .. })),
        "{error}"
    );
}

/// A database that an earlier program made is brought up to date with what is in it.
async fn an_older_schema_goes_on(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    let ann = SubscriberEntry { credit_seconds: Some(1_000), ..subscriber("ann", "hello") };
    state.put_subscriber(&dictionary, &ann).await.unwrap();
    let mut row = accounting("interim", 1, "ann", 1_000);
    row.session_seconds = 300;
    state.export(std::slice::from_ref(&row)).await.unwrap();
    state.close().await;
    for statement in [
        "DROP INDEX radius_subscriber_credit",
        "DROP INDEX radius_session_open_of",
        "DROP INDEX radius_session_address",
        "DROP INDEX radius_session_prefix6",
        "DROP INDEX radius_session_delegated6",
        "DROP INDEX radius_session_address6",
        "DROP INDEX radius_session_has_address",
        "DROP INDEX radius_session_has_prefix6",
        "DROP INDEX radius_session_has_delegated6",
        "ALTER TABLE radius_session DROP COLUMN grown_time",
        "ALTER TABLE radius_session DROP COLUMN grown_octets",
        "ALTER TABLE radius_session DROP COLUMN unproven",
        "ALTER TABLE radius_block DROP COLUMN trimmed",
        "DROP INDEX radius_lease_user",
        "DROP INDEX radius_change_rare",
        "DROP INDEX radius_change_of_people",
        "DROP INDEX radius_subscriber_owns",
        "DELETE FROM radius_schema WHERE version >= 2",
        "UPDATE radius_subscriber SET credit_seconds = 1000",
    ] {
        database.sql(statement).await;
    }
    if !database.is_postgres() {
        database.sql("DROP TRIGGER radius_subscriber_charged").await;
    }
    let state = database.state("a").await;
    (row.session_seconds, row.event_id) = (500, format!("{:032x}", 9));
    state.export(&[row]).await.unwrap();
    let left = state.subscriber("ann").await.unwrap().unwrap().credit_seconds;
    assert_eq!(left, Some(800), "what was used before is not charged");
}

async fn entries_come_back_as_they_were(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    let profile = ProfileEntry {
        name: "gold".into(),
        check: vec!["NAS-Port-Type == Virtual".into()],
        reply: vec!["Class = \"gold\"".into(), "Framed-MTU = 1492".into()],
        fall_through: true,
        simultaneous: Some(2),
        pool: Some("home".into()),
        pool6: Some("home6".into()),
        delegated_pool6: Some("home6".into()),
        login_times: Some("Wk0800-1800".into()),
        session_timeout: Some(86_400),
        idle_timeout: Some(600),
        interim: Some(300),
        note: Some("for those who pay".into()),
        ..ProfileEntry::default()
    };
    let heir = ProfileEntry {
        name: "heir".into(),
        parents: vec!["gold".into()],
        ..ProfileEntry::default()
    };
    state.put_profiles(&dictionary, &[heir.clone(), profile.clone()]).await.unwrap();
    assert_eq!(state.profiles().await.unwrap(), [profile.clone(), heir]);

    let full = SubscriberEntry {
        name: "jürgen o'neil@isp.example".into(),
        credential: Hidden::new("{NT}0cb6948805f797bf2a82807973b89537"),
        profiles: vec!["gold".into(), "heir".into()],
        disabled: true,
        not_before: Some(5),
        not_after: Some(i64::from(i32::MAX) * 2),
        credit_seconds: Some(3600),
        credit_bytes: Some(1 << 50),
        simultaneous: Some(3),
        check: vec!["Calling-Station-Id == \"0049\"".into()],
        reply: vec!["Reply-Message = \"hello, \\\"you\\\"\"".into()],
        address: Some([192, 0, 2, 7].into()),
        prefix6: Some("2001:db8:7::/64".parse().unwrap()),
        delegated6: Some("2001:db8:700::/56".parse().unwrap()),
        pool: Some("home".into()),
        pool6: None,
        delegated_pool6: None,
        note: Some("a note".into()),
    };
    state.put_subscriber(&dictionary, &full).await.unwrap();
    assert_eq!(state.subscriber(&full.name).await.unwrap(), Some(full.clone()));
    assert_eq!(state.subscriber("nobody").await.unwrap(), None);
    // Instead of the one before, and the list goes by names.
    let plain = subscriber("ann", "hello");
    let changed = SubscriberEntry { disabled: false, ..full.clone() };
    state.put_subscribers(&dictionary, &[changed.clone(), plain.clone()], |_| ()).await.unwrap();
    assert_eq!(state.subscribers("", 10).await.unwrap(), [plain.clone(), changed.clone()]);
    assert_eq!(state.subscribers("ann", 10).await.unwrap(), [changed]);
    state.add_credit(&full.name, -3000, 5).await.unwrap();
    state.add_credit(&full.name, -3000, 0).await.unwrap();
    state.add_credit("ann", -3000, 0).await.unwrap_err();
    let after = state.subscriber(&full.name).await.unwrap().unwrap();
    assert_eq!((after.credit_seconds, after.credit_bytes), (Some(0), Some((1 << 50) + 5)));
    assert_eq!(state.subscriber("ann").await.unwrap().unwrap().credit_seconds, None, "not limited");
    assert!(state.remove_subscriber("ann").await.unwrap());
    assert!(!state.remove_subscriber("ann").await.unwrap());

    let mut nas = NasEntry::new("lns", "2001:db8::/64".parse().unwrap(), "xyzzy5461");
    nas.next_secret = Some(Hidden::new("xyzzy5462"));
    nas.telco = Some("north".into());
    nas.relaxed = true;
    nas.coa_port = 1700;
    nas.groups = vec!["dsl".into(), "fibre".into()];
    state.put_nas(&nas).await.unwrap();
    assert_eq!(state.nases().await.unwrap(), (vec![nas.clone()], vec![]));
    assert!(state.remove_nas(nas.prefix, Naming::default()).await.unwrap());

    let pool = PoolEntry::ipv4("home", ["192.0.2.0/25", "192.0.2.200-192.0.2.210"]);
    state.put_pool(&pool).await.unwrap();
    let mut expected = PoolEntry { block: Some(4), ..pool.clone() };
    expected.ranges.sort();
    assert_eq!(state.pools().await.unwrap(), std::slice::from_ref(&expected));
    state.put_pool(&PoolEntry { lease_seconds: 60, ..pool }).await.unwrap();
    assert_eq!(state.pools().await.unwrap(), [PoolEntry { lease_seconds: 60, ..expected }]);
    assert_eq!(state.remove_pool("home", false).await.unwrap(), Removal::Done);
    assert_eq!(state.pools().await.unwrap(), []);
}

/// What would do nothing is told where it is entered, and limits that nobody would count are refused.
async fn what_does_nothing_is_told(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    let mut ann = subscriber("ann", "hello");
    ann.check = vec!["Proxy-To-Realm := \"elsewhere\"".into()];
    let notes = state.put_subscriber(&dictionary, &ann).await.unwrap();
    assert!(matches!(&*notes, [note] if note.contains("Proxy-To-Realm")), "{notes:?}");
    let gold = ProfileEntry {
        name: "gold".into(),
        check: ann.check.clone(),
        pool: Some("home".into()),
        interim: Some(600),
        ..ProfileEntry::default()
    };
    let notes = state.put_profiles(&dictionary, std::slice::from_ref(&gold)).await.unwrap();
    assert!(matches!(&*notes, [note] if note.contains("profile gold: Proxy-To")), "{notes:?}");
    let mut pool = PoolEntry::ipv4("home", ["192.0.2.0/25"]);
    assert_eq!(state.put_pool(&pool).await.unwrap(), [""; 0]);
    pool.lease_seconds = 900;
    let notes = state.put_pool(&pool).await.unwrap();
    assert!(matches!(&*notes, [note] if note.contains("too seldom for pool home")), "{notes:?}");
    let notes = state.put_profiles(&dictionary, std::slice::from_ref(&gold)).await.unwrap();
    assert_eq!(notes.len(), 2, "{notes:?}");

    let mut limited = subscriber("bob", "hello");
    limited.check = vec!["Max-Daily-Session := 3600".into()];
    let error = state.put_subscriber(&dictionary, &limited).await.unwrap_err().to_string();
    assert!(error.contains("Max-Daily-Session") && error.contains("--credit 1h"), "{error}");
    let silver = ProfileEntry { name: "silver".into(), check: limited.check, ..gold };
    let error = state.put_profiles(&dictionary, &[silver]).await.unwrap_err().to_string();
    assert!(error.contains("Max-Daily-Session"), "{error}");
    // By an operator's own SQL they come all the same: they keep nobody out, and are told.
    database
        .sql("INSERT INTO radius_subscriber (name, check_items) VALUES ('carl', 'Max-All-Session := 3600')")
        .await;
    let base = Base::new(Arc::clone(&dictionary), Names::default(), [1, 2]);
    let loaded = state.load_into(&dictionary, &base, |_| ()).await.unwrap();
    assert_eq!((loaded.subscribers, loaded.refused), (2, 0));
    for word in ["carl: Max-All-Session", "ann: Proxy-To-Realm", "too seldom for pool home"] {
        assert!(loaded.notes.iter().any(|note| note.contains(word)), "{word}: {:?}", loaded.notes);
    }
    assert!(base.subscriber("carl").is_some());
    database.sql("UPDATE radius_subscriber SET note = 'x' WHERE name = 'carl'").await;
    let problems = || state.status().following.unwrap().problems;
    state.catch_up(&dictionary, &base, None, &loaded.position, &mut |_| ()).await.unwrap();
    assert!(problems().iter().any(|problem| problem.contains("carl: Max-All")), "{:?}", problems());
}

async fn what_makes_no_sense_is_refused(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    let with = |change: fn(&mut SubscriberEntry)| {
        let mut entry = subscriber("ann", "hello");
        change(&mut entry);
        entry
    };
    for (entry, word) in [
        (with(|entry| entry.name.clear()), "name"),
        (with(|entry| entry.name = "a\nb".into()), "line"),
        (with(|entry| entry.credential = Hidden::new("{SSHA}shortsecret")), "SSHA"),
        (with(|entry| entry.check.push("No-Such-Thing == 1".into())), "No-Such-Thing"),
        (with(|entry| entry.reply.push("Framed-MTU".into())), "operator"),
    ] {
        let error = state.put_subscriber(&dictionary, &entry).await.unwrap_err().to_string();
        assert!(error.contains(word) && !error.contains("shortsecret"), "{error}");
    }
    let twice = [subscriber("ann", "a"), subscriber("ann", "b")];
    assert!(state.put_subscribers(&dictionary, &twice, |_| ()).await.is_err());
    assert_eq!(state.subscribers("", 10).await.unwrap(), []);

    // Two with one address.
    let with_address =
        |name| SubscriberEntry { address: Some([192, 0, 2, 1].into()), ..subscriber(name, "x") };
    state.put_subscriber(&dictionary, &with_address("ann")).await.unwrap();
    let error = state.put_subscriber(&dictionary, &with_address("bob")).await.unwrap_err();
    assert!(matches!(error, StateError::Database(DatabaseError::Refused(_))), "{error}");
    // PostgreSQL tells the whole row that it refuses; we don't.
    database.sql("DELETE FROM radius_nas").await;
    let mut refused = NasEntry::new("lns", "192.0.2.1/32".parse().unwrap(), "xyzzy5461");
    refused.telco = Some("\0".into());
    let told = state.put_nas(&refused).await;
    assert!(!format!("{told:?}").contains("xyzzy"), "{told:?}");
    assert_eq!(state.status().away_since, None, "a refusal is an answer");

    let profile = |name: &str, parents: &[&str]| ProfileEntry {
        name: name.into(),
        parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
        ..ProfileEntry::default()
    };
    assert!(
        state.put_profiles(&dictionary, &[profile("a", &["b"])]).await.is_err(),
        "no such parent"
    );
    state.put_profiles(&dictionary, &[profile("a", &[]), profile("b", &["a"])]).await.unwrap();
    assert!(state.put_profiles(&dictionary, &[profile("a", &["b"])]).await.is_err(), "a circle");
    assert!(state.remove_profile("a").await.is_err(), "b builds on it");
    let member =
        SubscriberEntry { profiles: vec!["x".into(), "b".into()], ..subscriber("carl", "x") };
    state.put_subscriber(&dictionary, &member).await.unwrap();
    let error = state.remove_profile("b").await.unwrap_err().to_string();
    assert!(error.contains("1 subscribers"), "{error}");
    state.remove_subscriber("carl").await.unwrap();
    assert!(state.remove_profile("b").await.unwrap());

    let empty = NasEntry::new("lns", "192.0.2.1/32".parse().unwrap(), "");
    assert!(state.put_nas(&empty).await.is_err());

    state.put_pool(&PoolEntry::ipv4("one", ["192.0.2.0/24"])).await.unwrap();
    for (pool, word) in [
        (PoolEntry::ipv4("two", ["192.0.2.128/25"]), "one"),
        (PoolEntry::ipv4("two", ["nonsense"]), "neither"),
        (PoolEntry { block: Some(64), ..PoolEntry::ipv4("one", ["192.0.2.0/24"]) }, "fixed"),
        (PoolEntry { offer_seconds: 0, ..PoolEntry::ipv4("two", ["10.0.0.0/24"]) }, "second"),
    ] {
        let error = state.put_pool(&pool).await.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

async fn everything_is_loaded_and_what_is_not_is_told(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    let gold = ProfileEntry { name: "gold".into(), ..ProfileEntry::default() };
    state.put_profiles(&dictionary, &[gold]).await.unwrap();
    let many: Vec<SubscriberEntry> = (0..12_345)
        .map(|number| SubscriberEntry {
            profiles: vec!["gold".into()],
            ..subscriber(&format!("user{number}"), &format!("password{number}"))
        })
        .collect();
    let mut told = Vec::new();
    state.put_subscribers(&dictionary, &many, |progress| told.push(progress.done)).await.unwrap();
    assert_eq!(told, [5000, 10_000, 12_345]);
    database
        .sql(
            "INSERT INTO radius_subscriber (name, credential, check_items) VALUES ('bad1', '{CLEARTEXT}x', 'No-Such-Thing == 1');
             INSERT INTO radius_subscriber (name, credential) VALUES ('bad2', '{SSHA}x');
             INSERT INTO radius_subscriber (name, address) VALUES ('bad3', 'no address');
             INSERT INTO radius_profile (name, login_times) VALUES ('bad4', 'at night');
             INSERT INTO radius_nas (prefix, name, secret) VALUES ('192.0.2.1', 'good', 'xyzzy5461');
             INSERT INTO radius_nas (prefix, name, secret) VALUES ('lns.example', 'bad5', 'xyzzy5461')",
        )
        .await;
    let base = base(&dictionary);
    let mut told = Vec::new();
    let loaded = state
        .load_into(&dictionary, &base, |progress| told.push((progress.done, progress.total)))
        .await
        .unwrap();
    assert_eq!((loaded.subscribers, loaded.profiles, loaded.refused), (12_345, 1, 5));
    assert_eq!(told.last(), Some(&(12_348, Some(12_348))));
    assert_eq!(base.subscribers(), 12_345);
    assert!(
        base.is_ready()
            && base.subscriber("user12344").is_some()
            && base.subscriber("bad1").is_none()
    );
    assert_eq!(loaded.nases.len(), 1);
    let problems = loaded.problems.join("\n");
    for name in ["bad1", "bad2", "bad3", "bad4", "lns.example"] {
        assert!(problems.contains(name), "{name}: {problems}");
    }
    assert_eq!(state.status().following.unwrap().problems.len(), 5);
}

async fn whatever_sql_changes_is_followed(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    state.put_subscriber(&dictionary, &subscriber("ann", "hello")).await.unwrap();
    let base = Arc::new(base(&dictionary));
    let loaded = state.load_into(&dictionary, &base, |_| ()).await.unwrap();
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    let follower = tokio::spawn({
        let (state, base, dictionary) = (state.clone(), Arc::clone(&base), Arc::clone(&dictionary));
        async move {
            let changed = move |changed: Changed| {
                let _ = sender.send(changed);
            };
            state.follow(&dictionary, &base, None, loaded.position, changed).await;
        }
    });
    let until = async |what: &str, done: &dyn Fn() -> bool| {
        for _ in 0..500 {
            if done() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not within five seconds: {what}");
    };
    let knows = |name: &str| base.subscriber(name).is_some();
    database
        .sql("INSERT INTO radius_subscriber (name, credential) VALUES ('bob', '{CLEARTEXT}x'), ('carl', '{CLEARTEXT}x')")
        .await;
    until("an insertion", &|| knows("bob") && knows("carl")).await;
    database.sql("UPDATE radius_subscriber SET name = 'dora' WHERE name = 'carl'").await;
    until("another name", &|| knows("dora") && !knows("carl")).await;
    // A rule that can't be read keeps him out, rather than being forgotten.
    database
        .sql("UPDATE radius_subscriber SET check_items = 'Nonsense == 1' WHERE name = 'bob'")
        .await;
    until("a rule that can't be read", &|| !knows("bob")).await;
    until("a problem", &|| !state.status().following.unwrap().problems.is_empty()).await;
    database.sql("UPDATE radius_subscriber SET check_items = '' WHERE name = 'bob'").await;
    until("a good rule", &|| knows("bob")).await;
    until("no problem", &|| state.status().following.unwrap().problems.is_empty()).await;
    database.sql("DELETE FROM radius_subscriber WHERE name <> 'ann'").await;
    until("a deletion", &|| !knows("bob") && !knows("dora") && knows("ann")).await;
    database.sql("INSERT INTO radius_profile (name) VALUES ('gold')").await;
    until("a profile", &|| base.has_profile("gold")).await;
    database.sql("DELETE FROM radius_profile").await;
    until("no profile", &|| !base.has_profile("gold")).await;
    database.sql("INSERT INTO radius_nas (prefix, name, secret) VALUES ('192.0.2.0/24', 'lns', 'xyzzy5461')").await;
    database.sql("INSERT INTO radius_pool (name, length) VALUES ('home', 32)").await;
    database
        .sql("INSERT INTO radius_pool_range (pool, addresses) VALUES ('home', '192.0.2.0/24')")
        .await;
    let mut heard = (0, 0);
    while heard.0 == 0 || heard.1 == 0 {
        let news =
            tokio::time::timeout(Duration::from_secs(5), receiver.recv()).await.unwrap().unwrap();
        match news {
            Changed::Nases(nases) if nases.len() == 1 => heard.0 += 1,
            Changed::Pools => heard.1 += 1,
            _ => {}
        }
    }
    if database.is_postgres() {
        database.sql("TRUNCATE radius_subscriber").await;
        until("an emptied table", &|| !knows("ann")).await;
    }
    let following = state.status().following.unwrap();
    assert!(following.changes >= 8, "{following:?}");
    follower.abort();
}

async fn nothing_is_passed_over_while_many_write(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    let base = Arc::new(base(&dictionary));
    let mut position = state.load_into(&dictionary, &base, |_| ()).await.unwrap().position;
    if database.is_postgres() {
        // The one draws its numbers first and commits last, and a third one never ends.
        let (mut slow, mut forgotten) = (database.operator().await, database.operator().await);
        let insert = |name: &str| {
            format!(
                "INSERT INTO radius_subscriber (name, credential) VALUES ('{name}', '{{CLEARTEXT}}x')"
            )
        };
        let run = async |connection: &mut sqlx::PgConnection, sql: String| {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(connection).await.unwrap();
        };
        run(&mut forgotten, format!("BEGIN; {}", insert("forgotten"))).await;
        run(&mut slow, format!("BEGIN; {}", insert("slow"))).await;
        database.sql(&insert("quick")).await;
        position = state.catch_up(&dictionary, &base, None, &position, &mut |_| ()).await.unwrap();
        assert!(base.subscriber("quick").is_some(), "nobody waits for those who are slow");
        assert!(base.subscriber("slow").is_none());
        run(&mut slow, "COMMIT".into()).await;
        position = state.catch_up(&dictionary, &base, None, &position, &mut |_| ()).await.unwrap();
        assert!(
            base.subscriber("slow").is_some(),
            "its numbers are lower than what was read before"
        );
        run(&mut forgotten, "ROLLBACK".into()).await;
    }
    // Many write at once, each in transactions of its own, while the log is read again and again.
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (state, dictionary) = (state.clone(), Arc::clone(&dictionary));
            tokio::spawn(async move {
                for number in 0..40 {
                    let entry = subscriber(&format!("user{writer}-{number}"), "x");
                    state.put_subscriber(&dictionary, &entry).await.unwrap();
                }
            })
        })
        .collect();
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        position = state.catch_up(&dictionary, &base, None, &position, &mut |_| ()).await.unwrap();
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let last = state.catch_up(&dictionary, &base, None, &position, &mut |_| ()).await.unwrap();
    for writer in 0..4 {
        for number in 0..40 {
            let name = format!("user{writer}-{number}");
            assert!(base.subscriber(&name).is_some(), "{name}");
        }
    }
    // Nothing is told twice, and a log that does not reach back far enough means to read everything.
    let mut told = 0;
    state.catch_up(&dictionary, &base, None, &last, &mut |_| told += 1).await.unwrap();
    assert_eq!(told, 0);
    let options =
        Options { server: "b".into(), keep_changes: Duration::from_secs(1), ..Options::default() };
    let short = State::open_with(database.location(), options).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let mut everything = false;
    short
        .catch_up(&dictionary, &base, None, &last, &mut |changed| {
            everything |= matches!(changed, Changed::Everything(_));
        })
        .await
        .unwrap();
    assert!(everything);
}

async fn freeradius_tables_are_taken_over(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    let serial = if database.is_postgres() { "serial" } else { "integer" };
    let pairs = |table: &str, whose: &str| {
        format!(
            "CREATE TABLE {table} (id {serial} PRIMARY KEY, {whose} varchar(64) NOT NULL, attribute varchar(64) NOT NULL, op char(2) NOT NULL, value varchar(253) NOT NULL);"
        )
    };
    let sql = [
        pairs("radcheck", "username"),
        pairs("radreply", "username"),
        pairs("radgroupcheck", "groupname"),
        pairs("radgroupreply", "groupname"),
        format!("CREATE TABLE radusergroup (id {serial} PRIMARY KEY, username varchar(64) NOT NULL, groupname varchar(64) NOT NULL, priority integer NOT NULL DEFAULT 1);"),
        "INSERT INTO radcheck (username, attribute, op, value) VALUES ('ann', 'Cleartext-Password', ':=', 'hello'), ('bob', 'Cleartext-Password', ':=', 'x'), ('bob', 'Nonsense', '==', '1'), ('carl', 'Cleartext-Password', ':=', 'x');".into(),
        "INSERT INTO radreply (username, attribute, op, value) VALUES ('ann', 'Framed-IP-Address', '=', '192.0.2.9'), ('carl', 'Framed-IP-Address', ':=', '192.0.2.9');".into(),
        "INSERT INTO radgroupreply (groupname, attribute, op, value) VALUES ('gold', 'Framed-MTU', '=', '1492');".into(),
        "INSERT INTO radusergroup (username, groupname, priority) VALUES ('ann', 'gold', 1);".into(),
    ];
    database.sql(&sql.concat()).await;
    let tables = state.tables_beside().await.unwrap();
    let mut import = tables.convert(&dictionary);
    let imported = state.import(&dictionary, &mut import, |_| ()).await.unwrap();
    assert_eq!((imported.subscribers.new, imported.profiles.new), (1, 1), "{import:#?}");
    let refused: Vec<String> = import.refused.iter().map(ToString::to_string).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].contains("radcheck row 3") && refused[0].contains("bob"), "{refused:?}");
    assert!(refused[1].contains("carl") && refused[1].contains("ann's"), "{refused:?}");
    // The same again is no harm.
    let mut again = tables.convert(&dictionary);
    let imported = state.import(&dictionary, &mut again, |_| ()).await.unwrap();
    let same = Tally { same: 1, ..Tally::default() };
    assert_eq!((imported.subscribers, imported.profiles), (same, same), "{again:#?}");
    let ann = state.subscriber("ann").await.unwrap().unwrap();
    assert_eq!((ann.profiles, ann.address), (vec!["gold".to_owned()], Some([192, 0, 2, 9].into())));

    let mut users = from_users(&dictionary, "users".as_ref(), "dora Cleartext-Password := \"x\"\n");
    users.nases =
        from_clients("clients.conf", "client lns {\nipaddr = 192.0.2.1\nsecret = xyzzy5461\n}\n")
            .nases;
    let imported = state.import(&dictionary, &mut users, |_| ()).await.unwrap();
    assert_eq!((imported.subscribers.new, imported.nases.new), (1, 1));
    let base = base(&dictionary);
    let loaded = state.load_into(&dictionary, &base, |_| ()).await.unwrap();
    assert_eq!((loaded.subscribers, loaded.nases.len(), loaded.refused), (2, 1, 0));

    // Profiles that were made of one file are not replaced by those of another.
    let defaults = |file: &str, reply: &str| {
        let text =
            format!("DEFAULT\n {reply}, Fall-Through = Yes\nfred Cleartext-Password := \"x\"\n");
        from_users(&dictionary, file.as_ref(), &text)
    };
    for (file, reply, taken) in [
        ("users", "Framed-MTU = 1492", true),
        ("users", "Framed-MTU = 1400", true),
        ("others", "Framed-MTU = 1400", true),
        ("users", "Framed-MTU = 1492", false),
    ] {
        let mut import = defaults(file, reply);
        let imported = state.import(&dictionary, &mut import, |_| ()).await;
        assert_eq!(imported.is_ok(), taken, "{file} {reply}: {imported:?}");
        if let Err(error) = imported {
            assert!(error.to_string().contains("(others)"), "{error}");
        }
    }
    let fred = state.subscriber("fred").await.unwrap().unwrap();
    assert_eq!(fred.profiles, ["default"]);
    let profiles = state.profiles().await.unwrap();
    let default = profiles.iter().find(|profile| profile.name == "default").unwrap();
    assert_eq!(default.reply, ["Framed-MTU = 1400"]);

    let mut csv = Tables::default();
    csv.read_csv(
        Table::RadCheck,
        &b"evan,Crypt-Password,:=,$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/\n"[..],
    )
    .unwrap();
    let mut import = csv.convert(&dictionary);
    let imported = state.import(&dictionary, &mut import, |_| ()).await.unwrap();
    assert_eq!(imported.subscribers.new, 1, "{import:#?}");
    let nowhere = Location::Sqlite("/nowhere/at/all.db".into());
    assert!(Tables::read_database(&nowhere).await.is_err());
}
