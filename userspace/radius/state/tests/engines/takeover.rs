//! FreeRADIUS goes on while NASes move one by one: what it says is taken over again and again, and what was decided here stays.

use std::collections::HashSet;
use std::time::Instant;

use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::{Base, Case, Names, Realm};
use muralla_radius_state::import::{Online, from_clients};
use muralla_radius_state::{
    Assigned, Changed, Hidden, Holder, Import, Leases, NasEntry, PoolEntry, ProfileEntry, State,
    SubscriberEntry, Table, Tables, Tally,
};
use muralla_test_database::on_both_engines;

use crate::common::{Database, accounting};

on_both_engines![
    an_import_again_leaves_what_freeradius_does_not_have,
    a_dry_run_tells_everything_and_writes_nothing,
    what_was_open_at_freeradius_is_given_to_nobody_else,
    an_open_session_of_freeradius_goes_on_here,
    what_was_silent_for_long_keeps_no_address,
    what_is_heard_of_again_is_kept_for_longer,
    a_session_here_is_known_however_freeradius_writes_its_user,
    what_somebody_has_is_not_taken_from_him,
    open_sessions_are_read_out_of_any_schema,
    an_address_among_reply_items_is_in_no_pool,
];

fn tables(tables: &[(Table, &str)]) -> Import {
    let mut read = Tables::default();
    for (table, text) in tables {
        read.read_csv(*table, text.as_bytes()).unwrap();
    }
    read.convert(&Dictionary::built_in())
}

async fn enter(state: &State, import: &mut Import) -> muralla_radius_state::Imported {
    state.import(&Dictionary::built_in(), import, |_| ()).await.unwrap()
}

fn same(same: u64) -> Tally {
    Tally { same, ..Tally::default() }
}

const CHECK: &str =
    "ann,Cleartext-Password,:=,hello\nbob,Cleartext-Password,:=,x\nbob,Expiration,:=,1 Jan 2030\n";
const GROUPS: &str = "ann,gold,1\nbob,gold,1\n";
const CLIENTS: &str =
    "client lns {\nipaddr = 192.0.2.1\nsecret = xyzzy5461\nrequire_message_authenticator = no\n}\n";

fn first() -> Import {
    let mut import = tables(&[
        (Table::RadCheck, CHECK),
        (Table::RadUserGroup, GROUPS),
        (Table::RadGroupReply, "gold,Session-Timeout,:=,600\n"),
    ]);
    import.nases = from_clients("clients.conf", CLIENTS).nases;
    import
}

async fn an_import_again_leaves_what_freeradius_does_not_have(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    let imported = enter(&state, &mut first()).await;
    assert_eq!((imported.subscribers.new, imported.profiles.new, imported.nases.new), (2, 1, 1));

    // What operators do afterwards.
    let changed = |ann: SubscriberEntry| SubscriberEntry {
        not_before: Some(5),
        not_after: Some(2_000_000_000),
        credit_seconds: Some(3_600),
        credit_bytes: Some(1 << 30),
        delegated_pool6: Some("home6".into()),
        note: Some("pays late".into()),
        disabled: true,
        ..ann
    };
    state.change_subscriber(&dictionary, "ann", changed).await.unwrap().unwrap();
    let gold = ProfileEntry {
        pool: Some("home".into()),
        note: Some("those who pay".into()),
        ..state.profiles().await.unwrap().remove(0)
    };
    state.put_profiles(&dictionary, &[gold]).await.unwrap();
    let nas = NasEntry {
        name: "bras1".into(),
        telco: Some("north".into()),
        groups: vec!["dsl".into()],
        next_secret: Some(Hidden::new("xyzzy5462")),
        coa_port: 1700,
        relaxed: false,
        ..state.nases().await.unwrap().0.remove(0)
    };
    state.put_nas(&nas).await.unwrap();
    let before = (state.subscribers("", 9).await.unwrap(), state.profiles().await.unwrap());
    assert_eq!(before.0[1].not_after, Some(1_893_456_000));

    let mut again = first();
    let imported = enter(&state, &mut again).await;
    assert_eq!(
        (imported.subscribers, imported.profiles, imported.nases),
        (same(2), same(1), same(1)),
        "{:?}",
        again.changes
    );
    let after = (state.subscribers("", 9).await.unwrap(), state.profiles().await.unwrap());
    assert_eq!(before, after);
    assert_eq!(state.nases().await.unwrap().0, [nas]);
    let noted: Vec<String> = again.notes.iter().map(ToString::to_string).collect();
    assert!(noted.iter().any(|note| note.contains("ann: he is disabled here")), "{noted:?}");

    // What FreeRADIUS says by now counts, and a credit that is used meanwhile is not put back.
    let mut later = tables(&[
        (Table::RadCheck, "ann,Cleartext-Password,:=,other\nann,Simultaneous-Use,:=,1\n"),
        (Table::RadReply, "ann,Framed-IP-Address,:=,100.64.0.9\n"),
        (Table::RadUserGroup, "ann,silver,1\n"),
        (Table::RadGroupReply, "silver,Idle-Timeout,:=,60\n"),
    ]);
    state.add_credit("ann", -600, 0).await.unwrap();
    let imported = enter(&state, &mut later).await;
    assert_eq!((imported.subscribers.changed, imported.profiles.new), (1, 1));
    assert_eq!(
        later.changes[0].to_string(),
        "subscriber ann: password; address: 100.64.0.9 instead of none; profiles: silver instead of gold; \
         simultaneous: 1 instead of none"
    );
    let ann = state.subscriber("ann").await.unwrap().unwrap();
    let expected = SubscriberEntry {
        credential: Hidden::new("{CLEARTEXT}other"),
        profiles: vec!["silver".into()],
        simultaneous: Some(1),
        address: Some([100, 64, 0, 9].into()),
        credit_seconds: Some(3_000),
        ..before.0[0].clone()
    };
    assert_eq!(ann, expected);
}

async fn a_dry_run_tells_everything_and_writes_nothing(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    state.put_pool(&PoolEntry::ipv4("home", ["100.64.0.0/28"])).await.unwrap();
    let import = || {
        let mut import = first();
        import.online = vec![online("ann", "a1", 7)];
        import
    };
    let mut dry = import();
    let told = state.compare(&dictionary, &mut dry).await.unwrap();
    assert_eq!((told.subscribers.new, told.profiles.new, told.nases.new), (2, 1, 1));
    for table in ["radius_subscriber", "radius_profile", "radius_nas", "radius_lease"] {
        assert_eq!(database.number(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
    let mut real = import();
    assert_eq!(enter(&state, &mut real).await, told, "it was as it was told");
    assert_eq!(told.addresses, 1);
    assert_eq!((real.refused, real.notes), (dry.refused, dry.notes));
    // What would be refused is refused dry as well.
    let mut bad = tables(&[(
        Table::RadReply,
        "carl,Framed-IP-Address,:=,100.64.0.9\ndora,Framed-IP-Address,:=,100.64.0.9\n",
    )]);
    state.compare(&dictionary, &mut bad).await.unwrap();
    assert!(matches!(&*bad.refused, [refused] if refused.name == "dora"), "{bad:?}");
}

fn online(user: &str, session: &str, last: u8) -> Online {
    Online {
        user: user.to_owned(),
        nas: Some([192, 0, 2, 1].into()),
        session: session.to_owned(),
        heard: None,
        addresses: vec![Assigned::V4([100, 64, 0, last].into())],
    }
}

fn give(leases: &Leases, most: usize) -> Vec<String> {
    let now = Instant::now();
    (0..most)
        .filter_map(|number| {
            let user = format!("user{number}");
            let holder = Holder { user: &user, nas: "lns", port: Some("1") };
            Some(leases.lease("home", &holder, now).ok()?.to_string())
        })
        .collect()
}

async fn what_was_open_at_freeradius_is_given_to_nobody_else(database: Database) {
    let state = database.state("a").await;
    let pool = PoolEntry { block: Some(8), ..PoolEntry::ipv4("home", ["100.64.0.0-100.64.0.7"]) };
    state.put_pool(&pool).await.unwrap();
    let mut import = Import {
        // Of two that had one address, and what is in no pool.
        online: vec![online("ann", "a1", 3), online("bob", "b1", 3), online("carl", "c1", 77)],
        ..Import::default()
    };
    let imported = enter(&state, &mut import).await;
    assert_eq!(imported.addresses, 1);
    assert!(matches!(&*import.notes, [note] if note.name.starts_with("1 addresses")), "{import:?}");
    let leases = Leases::start(&state).await.unwrap();
    let given: HashSet<String> = give(&leases, 8).into_iter().collect();
    assert_eq!(given.len(), 7);
    assert!(!given.contains("100.64.0.3"), "{given:?}");
    // A server that runs is told of.
    let again = &mut Import { online: import.online.clone(), ..Import::default() };
    enter(&state, again).await;
    assert!(again.notes.iter().any(|note| note.name == "server a"), "{:?}", again.notes);
}

/// What FreeRADIUS' user does next is told here: it renews what he has, or gives it back.
async fn an_open_session_of_freeradius_goes_on_here(database: Database) {
    let state = database.state("a").await;
    state.put_pool(&PoolEntry::ipv4("home", ["100.64.0.0/28"])).await.unwrap();
    let mut import = Import {
        online: vec![online("ann", "a1", 3), online("bob", "b1", 4), online("carl", "c1", 5)],
        nas_names: vec![
            ("192.0.2.0/24".parse().unwrap(), "others".into()),
            ("192.0.2.1/32".parse().unwrap(), "lns1".into()),
        ],
        ..Import::default()
    };
    enter(&state, &mut import).await;
    let now = database.number("SELECT max(expires) FROM radius_lease").await - 2 * 86_400;
    let row = |status, number, user: &str, last: u8| {
        let mut row = accounting(status, number, user, now);
        row.started_at = Some(now - 5_000);
        row.framed_address = Some(format!("100.64.0.{last}"));
        row.acct_session_id = format!("{}1", &user[..1]);
        row
    };
    state.export(&[row("interim", 1, "ann", 3), row("stop", 2, "bob", 4)]).await.unwrap();
    let count = |what: &str| {
        let sql = format!("SELECT count(*) FROM radius_lease WHERE {what}");
        let database = &database;
        async move { database.number(&sql).await }
    };
    assert_eq!(count("user_name = 'ann' AND session IS NOT NULL AND released = 0").await, 1);
    assert_eq!(count("user_name = 'bob' AND released = 1").await, 1);
    assert_eq!(count("user_name = 'carl' AND nas = 'lns1' AND released = 0").await, 1);
    // What this server was told of is not taken for open again, whatever FreeRADIUS' table says.
    let imported = enter(&state, &mut import).await;
    assert_eq!(imported.addresses, 1, "carl's");
    assert_eq!(count("user_name = 'bob' AND released = 1").await, 1);
}

const DAY: i64 = 86_400;

/// Seconds since 1970, by the database's clock.
async fn seconds(database: &Database) -> i64 {
    let sql = match database.is_postgres() {
        true => "SELECT CAST(floor(extract(epoch FROM now())) AS BIGINT)",
        false => "SELECT unixepoch()",
    };
    database.number(sql).await
}

/// Rows whose Stop was lost long ago stay open for ever: what they name is not held back from those who dial in now.
async fn what_was_silent_for_long_keeps_no_address(database: Database) {
    let state = database.state("a").await;
    state.put_pool(&PoolEntry::ipv4("home", ["100.64.0.0/28"])).await.unwrap();
    let now = seconds(&database).await;
    let silent = |user: &str, last: u8, for_so_long: i64| Online {
        heard: Some(now - for_so_long),
        ..online(user, &format!("{user}1"), last)
    };
    let import = || Import {
        online: vec![
            silent("ann", 3, DAY),
            silent("bob", 4, 9 * DAY),
            // Somebody else has been given it since.
            silent("carl", 5, 30 * DAY),
            silent("dora", 5, 60),
            // A clock that is ahead makes nobody stay for longer.
            silent("evan", 6, -400 * DAY),
        ],
        ..Import::default()
    };
    let mut dry = import();
    let told = state.compare(&Dictionary::built_in(), &mut dry).await.unwrap();
    assert_eq!(told.addresses, 3);
    let notes: Vec<String> = dry.notes.iter().map(ToString::to_string).collect();
    assert!(
        matches!(&*notes, [note] if note.contains("1 addresses") && note.contains("100.64.0.4 (bob, silent for 9 days)")),
        "{notes:?}"
    );
    let mut real = import();
    assert_eq!(enter(&state, &mut real).await.addresses, 3);
    assert_eq!(real.notes, dry.notes);
    let kept = |user: &str| {
        let sql = format!(
            "SELECT coalesce(max(expires), 0) FROM radius_lease WHERE user_name = '{user}'"
        );
        let database = &database;
        async move { database.number(&sql).await }
    };
    for (user, until) in [("ann", now + DAY), ("dora", now - 60 + 2 * DAY), ("bob", 0), ("carl", 0)]
    {
        assert_eq!(kept(user).await, until, "{user}");
    }
    assert!((now + 2 * DAY..now + 3 * DAY).contains(&kept("evan").await));
}

async fn what_is_heard_of_again_is_kept_for_longer(database: Database) {
    let state = database.state("a").await;
    state.put_pool(&PoolEntry::ipv4("home", ["100.64.0.0/28"])).await.unwrap();
    let now = seconds(&database).await;
    for heard in [now - DAY, now - 3_600, now - DAY] {
        let online = vec![Online { heard: Some(heard), ..online("ann", "a1", 3) }];
        enter(&state, &mut Import { online, ..Import::default() }).await;
    }
    let sql = "SELECT max(expires) FROM radius_lease";
    assert_eq!(database.number(sql).await, now - 3_600 + 2 * DAY);
}

async fn a_session_here_is_known_however_freeradius_writes_its_user(database: Database) {
    let state = database.state("a").await;
    state.put_pool(&PoolEntry::ipv4("home", ["100.64.0.0/28"])).await.unwrap();
    let now = seconds(&database).await;
    let mut row = accounting("stop", 1, "ann", now);
    row.user_name = "Ann@ISP.example".into();
    row.acct_session_id = "a1".into();
    state.export(&[row]).await.unwrap();
    for (written, names, kept) in [
        ("ann", Names::default(), 0),
        ("Ann", Names::new(Case::Folded), 0),
        ("ANN@isp.example", Names::new(Case::Folded).with_realm("isp.example", Realm::Strip), 0),
        ("Ann", Names::default(), 1),
        ("ann@isp.example", Names::new(Case::Folded), 1),
    ] {
        let online = vec![online(written, "a1", 3)];
        let mut import = Import { online, names, ..Import::default() };
        let told = state.compare(&Dictionary::built_in(), &mut import).await.unwrap();
        assert_eq!(told.addresses, kept, "{written}");
    }
    // His lease is his by the name that his next record has here.
    let names = Names::new(Case::Folded).with_realm("isp.example", Realm::Strip);
    let online = vec![online("BOB@isp.example", "b1", 4)];
    enter(&state, &mut Import { online, names, ..Import::default() }).await;
    let sql = "SELECT count(*) FROM radius_lease WHERE user_name = 'bob'";
    assert_eq!(database.number(sql).await, 1);
}

/// Whatever the lease's time of its pool is.
async fn what_somebody_has_is_not_taken_from_him(database: Database) {
    let state = database.state("a").await;
    let lease_seconds = 10 * 86_400;
    let pool = PoolEntry { lease_seconds, ..PoolEntry::ipv4("home", ["100.64.0.0/28"]) };
    state.put_pool(&pool).await.unwrap();
    let now = seconds(&database).await;
    // Eve has one of them from here, and so has an open session whose lease nobody renewed; the third is nobody's any more.
    database.sql("INSERT INTO radius_subscriber (name) VALUES ('fay')").await;
    let mut row = accounting("start", 1, "fay", now);
    row.framed_address = Some("100.64.0.4".into());
    state.export(&[row]).await.unwrap();
    database
        .sql(&format!("UPDATE radius_lease SET expires = {} WHERE user_name = 'fay'", now - 5))
        .await;
    for (last, expires) in [(3, now + 3_600), (5, now - 5)] {
        database
            .sql(&format!("INSERT INTO radius_lease (address, pool, block, user_name, nas, line, since, expires) VALUES ('100.64.0.{last}', 'home', '100.64.0.0', 'eve', 'lns', 7, {now}, {expires})"))
            .await;
    }
    let online = vec![online("ann", "a1", 3), online("bob", "b1", 4), online("carl", "c1", 5)];
    enter(&state, &mut Import { online, ..Import::default() }).await;
    for (last, user) in [(3, "eve"), (4, "fay"), (5, "carl")] {
        let sql = format!(
            "SELECT count(*) FROM radius_lease WHERE address = '100.64.0.{last}' AND user_name = '{user}'"
        );
        assert_eq!(database.number(&sql).await, 1, "{user}");
    }
}

async fn open_sessions_are_read_out_of_any_schema(database: Database) {
    let state = database.state("a").await;
    let (address, time) = match database.is_postgres() {
        true => ("inet", "timestamp with time zone"),
        false => ("varchar(15)", "datetime"),
    };
    let times = format!(
        ", acctstarttime {time}, acctupdatetime {time}, acctsessiontime bigint, framedipv6prefix varchar(45), delegatedipv6prefix varchar(45)"
    );
    for more in ["", ", framedipv6prefix varchar(45), delegatedipv6prefix varchar(45)", &times] {
        database.sql("DROP TABLE IF EXISTS radacct").await;
        database
            .sql(&format!(
                "CREATE TABLE radacct (radacctid integer PRIMARY KEY, acctsessionid varchar(64), username varchar(64), nasipaddress {address}, acctstoptime {time}, framedipaddress {address}{more})"
            ))
            .await;
        database
            .sql("INSERT INTO radacct (radacctid, acctsessionid, username, nasipaddress, acctstoptime, framedipaddress) VALUES (2, 'b1', 'bob', '192.0.2.1', NULL, '100.64.0.4'), (1, 'a1', 'ann', '192.0.2.1', NULL, '100.64.0.3'), (3, 'c1', 'carl', '192.0.2.1', '2026-11-29 10:00:00', '100.64.0.5')")
            .await;
        let import = state.tables_beside().await.unwrap().convert(&Dictionary::built_in());
        assert_eq!(import.online, [online("ann", "a1", 3), online("bob", "b1", 4)], "{more}");
    }
    database
        .sql("UPDATE radacct SET delegatedipv6prefix = '2001:db8:700::/56' WHERE radacctid = 1")
        .await;
    let import = state.tables_beside().await.unwrap().convert(&Dictionary::built_in());
    assert_eq!(import.online[0].addresses.len(), 2);
    database
        .sql("UPDATE radacct SET acctstarttime = '2026-11-29 10:00:00+00', acctsessiontime = 60, acctupdatetime = '2026-11-29 10:02:00+00' WHERE radacctid = 1")
        .await;
    let import = state.tables_beside().await.unwrap().convert(&Dictionary::built_in());
    assert_eq!(import.online[0].heard, Some(1_795_946_520));
}

/// By whatever way it came there: entered, changed, or by an operator's own SQL before or after the start.
async fn an_address_among_reply_items_is_in_no_pool(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    let item = |last: u8| format!("Framed-IP-Address := 100.64.0.{last}");
    let with = |name: &str, reply: Vec<String>| SubscriberEntry {
        name: name.into(),
        reply,
        ..SubscriberEntry::default()
    };
    state.put_subscriber(&dictionary, &with("ann", vec![item(1)])).await.unwrap();
    state.put_subscriber(&dictionary, &with("bob", Vec::new())).await.unwrap();
    let change = |bob: SubscriberEntry| SubscriberEntry { reply: vec![item(2)], ..bob };
    state.change_subscriber(&dictionary, "bob", change).await.unwrap().unwrap();
    state.put_subscribers(&dictionary, &[with("carl", vec![item(3)])], |_| ()).await.unwrap();
    for (name, last) in [("ann", 1), ("bob", 2), ("carl", 3)] {
        let entry = state.subscriber(name).await.unwrap().unwrap();
        assert_eq!((entry.address, entry.reply), (Some([100, 64, 0, last].into()), vec![]));
    }
    let twice = state.put_subscriber(&dictionary, &with("dora", vec![item(3)])).await;
    assert!(twice.is_err(), "it is carl's");
    database
        .sql(&format!("INSERT INTO radius_subscriber (name, reply_items) VALUES ('evan', 'Class = \"1\"\n{}')", item(4)))
        .await;

    let pool = PoolEntry { block: Some(8), ..PoolEntry::ipv4("home", ["100.64.0.0-100.64.0.7"]) };
    state.put_pool(&pool).await.unwrap();
    let base = Base::new(dictionary.clone(), Names::default(), [1, 2]);
    let loaded = state.load_into(&dictionary, &base, |_| ()).await.unwrap();
    assert_eq!(loaded.refused, 0);
    let leases = Leases::start(&state).await.unwrap();
    assert_eq!(leases.status()[0].spare, 4);
    database
        .sql(&format!(
            "INSERT INTO radius_subscriber (name, reply_items) VALUES ('fred', '{}')",
            item(5)
        ))
        .await;
    let mut told = 0;
    let mut changed =
        |changed: Changed| told += u64::from(matches!(changed, Changed::Subscribers(_)));
    state
        .catch_up(&dictionary, &base, Some(&leases), &loaded.position, &mut changed)
        .await
        .unwrap();
    assert_eq!(told, 1);
    let given: HashSet<String> = give(&leases, 8).into_iter().collect();
    let expected = [0, 6, 7].map(|last| format!("100.64.0.{last}"));
    assert_eq!(given, HashSet::from(expected));
}
