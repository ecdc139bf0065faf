//! A start out of the file of subscribers: what it has is what the database has, or it isn't used.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::{Base, Names};
use muralla_radius_state::{Changed, Hidden, Loaded, ProfileEntry, State, SubscriberEntry};

use crate::common::Database;

fn subscriber(name: &str) -> SubscriberEntry {
    SubscriberEntry {
        name: name.into(),
        credential: Hidden::new("{CLEARTEXT}arctangent"),
        profiles: vec!["gold".into()],
        reply: vec!["Framed-MTU = 1400".into()],
        simultaneous: Some(2),
        ..SubscriberEntry::default()
    }
}

fn base(dictionary: &Arc<Dictionary>) -> Base {
    Base::new(Arc::clone(dictionary), Names::default(), [1, 2])
}

async fn furnish(database: &Database, state: &State, dictionary: &Arc<Dictionary>) {
    let gold = ProfileEntry { name: "gold".into(), ..ProfileEntry::default() };
    state.put_profiles(dictionary, &[gold]).await.unwrap();
    let many: Vec<_> = (0..5_000).map(|number| subscriber(&format!("user{number}"))).collect();
    state.put_subscribers(dictionary, &many, |_| ()).await.unwrap();
    database
        .sql("INSERT INTO radius_subscriber (name, address) VALUES ('bad', 'no address')")
        .await;
}

/// Loads all, and waits for the file, which nobody who logs in waits for.
async fn load_and_keep(state: &State, dictionary: &Dictionary, base: &Base, file: &Path) -> Loaded {
    let _ = std::fs::remove_file(file);
    let loaded = state.load_and_keep(dictionary, base, file).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
    loaded
}

async fn a_start_has_what_the_database_has(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    furnish(&database, &state, &dictionary).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep").join("subscribers");
    let first = base(&dictionary);
    assert!(state.load_image(&dictionary, &first, &file).await.unwrap().is_none());
    let loaded = load_and_keep(&state, &dictionary, &first, &file).await;
    assert_eq!((loaded.subscribers, loaded.profiles, loaded.refused), (5_000, 1, 1));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // What is changed after it, by whomever, is in the log.
    state.remove_subscriber("user1").await.unwrap();
    state.put_subscriber(&dictionary, &subscriber("late")).await.unwrap();
    let second = base(&dictionary);
    let (kept, rest) = state.load_image(&dictionary, &second, &file).await.unwrap().unwrap();
    assert_eq!((kept.subscribers, kept.profiles), (5_001, 1));
    assert!(second.subscriber("user1").is_some() && second.subscriber("late").is_none());
    state.catch_up(&dictionary, &second, None, &kept.position, &mut |_| ()).await.unwrap();
    assert!(second.subscriber("user1").is_none());
    assert!(second.subscribers() < 10, "those who were asked for, and no others");
    let filled = rest.fill(&|| (), &|| false).unwrap();
    assert_eq!((filled.subscribers, filled.profiles, filled.refused), (5_000, 1, 1));
    assert_eq!(filled.problems, loaded.problems);
    assert!(second.subscriber("user1").is_none(), "who was taken out stays out");
    for name in ["late", "user0", "user4999"] {
        let there = second.subscriber(name).unwrap();
        assert_eq!(there.name(), name);
    }
    assert_eq!(second.subscribers(), 5_000);

    // And one that is written by itself has all that.
    assert_eq!(state.write_image(&file).await.unwrap(), Some(5_001));
    let third = base(&dictionary);
    let (_, rest) = state.load_image(&dictionary, &third, &file).await.unwrap().unwrap();
    let filled = rest.fill(&|| (), &|| false).unwrap();
    assert_eq!((filled.subscribers, filled.refused), (5_000, 1));
    assert!(third.subscriber("late").is_some());
}

async fn what_is_of_no_use_is_not_used(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("subscribers");
    // Of an empty database nobody could tell which one it is.
    let empty = base(&dictionary);
    state.load_and_keep(&dictionary, &empty, &file).await.unwrap();
    assert!(!file.exists());
    furnish(&database, &state, &dictionary).await;
    load_and_keep(&state, &dictionary, &empty, &file).await;
    let used = async |state: &State, file: &Path| {
        state.load_image(&dictionary, &base(&dictionary), file).await.unwrap().is_some()
    };
    assert!(used(&state, &file).await);

    // It is of another database, in which as much was done.
    let other = Database::sqlite();
    let elsewhere = other.state("a").await;
    furnish(&other, &elsewhere, &dictionary).await;
    other.sql("UPDATE radius_change SET at = at + 1").await;
    assert!(!used(&elsewhere, &file).await);

    // It is damaged.
    let damaged = folder.path().join("damaged");
    let mut octets = std::fs::read(&file).unwrap();
    let middle = octets.len() / 2;
    octets[middle] ^= 1;
    std::fs::write(&damaged, octets).unwrap();
    assert!(!used(&state, &damaged).await);

    // The log does not reach back so far.
    let short = database.state_with("b", |options| options.keep_changes = Duration::ZERO).await;
    database.sql("UPDATE radius_change SET at = at - 10").await;
    load_and_keep(&state, &dictionary, &empty, &file).await;
    // A second later, as the database counts them.
    tokio::time::timeout(Duration::from_secs(60), async {
        while used(&short, &file).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .unwrap();
    assert!(used(&state, &file).await);

    // A table was emptied.
    database.sql("DELETE FROM radius_subscriber").await;
    database
        .sql("INSERT INTO radius_change (kind, name, at) VALUES ('all', 'radius_subscriber', 0)")
        .await;
    assert!(!used(&state, &file).await);
}

/// Subscribers come and go by the hundred each second, which has nothing to do with who they are.
async fn sessions_keep_nobody_from_what_else_is_changed(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    furnish(&database, &state, &dictionary).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("subscribers");
    load_and_keep(&state, &dictionary, &base(&dictionary), &file).await;
    let one = "00112233445566778899aabbccddeeff";
    database
        .sql(&format!("INSERT INTO radius_change (kind, name) VALUES ('session', '{one}')"))
        .await;
    for _ in 0..15 {
        let again = "INSERT INTO radius_change (kind, name) SELECT kind, name FROM radius_change WHERE kind = 'session'";
        database.sql(again).await;
    }
    state.put_subscriber(&dictionary, &subscriber("late")).await.unwrap();

    let started = base(&dictionary);
    let (kept, _rest) = state.load_image(&dictionary, &started, &file).await.unwrap().unwrap();
    let from = &kept.position;
    let mut told = Vec::new();
    let mut tell = |changed| {
        told.push(match changed {
            Changed::Subscribers(count) => format!("{count} subscribers"),
            Changed::ManySessions => "many sessions".to_owned(),
            other => format!("{other:?}"),
        });
    };
    state.catch_up_but_sessions(&dictionary, &started, from, &mut tell).await.unwrap();
    state.catch_up(&dictionary, &started, None, from, &mut tell).await.unwrap();
    assert!(started.subscriber("late").is_some());
    assert_eq!(told, ["1 subscribers", "1 subscribers", "many sessions"]);
}

/// What prepaid subscribers use up is taken off their credits all the time.
async fn credits_keep_nobody_from_what_else_is_changed(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    furnish(&database, &state, &dictionary).await;
    let prepaid = SubscriberEntry { credit_seconds: Some(3_600), ..subscriber("prepaid") };
    state.put_subscriber(&dictionary, &prepaid).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("subscribers");
    load_and_keep(&state, &dictionary, &base(&dictionary), &file).await;
    database.sql("UPDATE radius_subscriber SET credit_seconds = 60 WHERE name = 'prepaid'").await;
    for _ in 0..15 {
        let again = "INSERT INTO radius_change (kind, name) SELECT kind, name FROM radius_change WHERE kind = 'credit'";
        database.sql(again).await;
    }
    state.put_subscriber(&dictionary, &subscriber("late")).await.unwrap();

    let started = base(&dictionary);
    let (kept, _rest) = state.load_image(&dictionary, &started, &file).await.unwrap().unwrap();
    let credit = || started.subscriber("prepaid").unwrap().credits().0;
    let from =
        state.catch_up_but_sessions(&dictionary, &started, &kept.position, &mut |_| ()).await;
    let from = from.unwrap();
    assert!(started.subscriber("late").is_some(), "nobody waits for the credits");
    assert_eq!(credit(), Some(3_600));
    let end = state.catch_up(&dictionary, &started, None, &from, &mut |_| ()).await.unwrap();
    assert_eq!(credit(), Some(60));
    assert!(started.subscriber("late").is_some());
    assert_ne!(end, from);
}

/// Whatever is changed of a subscriber beside his credits is news that nobody may miss.
async fn every_column_of_a_subscriber_is_in_the_log(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    furnish(&database, &state, &dictionary).await;
    let name = "ann";
    for name in [name, "bob"] {
        let prepaid = SubscriberEntry {
            credit_seconds: Some(60),
            credit_bytes: Some(60),
            ..subscriber(name)
        };
        state.put_subscriber(&dictionary, &prepaid).await.unwrap();
    }
    let names = if database.is_postgres() {
        "SELECT string_agg(column_name, ',') FROM information_schema.columns WHERE table_name = 'radius_subscriber'"
    } else {
        "SELECT group_concat(name, ',') FROM pragma_table_info('radius_subscriber')"
    };
    let names = database.text(names).await;
    let columns: Vec<&str> = names.split(',').collect();
    assert!(columns.len() > 15, "{columns:?}");
    for column in columns.iter().filter(|column| **column != "name") {
        database.sql("DELETE FROM radius_change").await;
        let value = match *column {
            "disabled" => "1 - disabled".to_owned(),
            "not_before" | "not_after" | "credit_seconds" | "credit_bytes" | "simultaneous" => {
                format!("coalesce({column}, 0) + 1")
            }
            _ => format!("coalesce({column}, '') || 'x'"),
        };
        let update =
            format!("UPDATE radius_subscriber SET {column} = {value} WHERE name = '{name}'");
        database.sql(&update).await;
        let kind = if column.starts_with("credit_") { "credit" } else { "subscriber" };
        let logged =
            format!("SELECT count(*) FROM radius_change WHERE kind = '{kind}' AND name = '{name}'");
        assert_eq!(database.number(&logged).await, 1, "{column}");
        assert_eq!(database.number("SELECT count(*) FROM radius_change").await, 1, "{column}");
    }
    // That somebody is prepaid, or is no more, is nothing that is used up.
    for value in ["NULL", "7"] {
        database.sql("DELETE FROM radius_change").await;
        database.sql(&format!("UPDATE radius_subscriber SET credit_seconds = {value}")).await;
        let logged = "SELECT count(*) FROM radius_change WHERE kind = 'subscriber' AND name IN ('ann', 'bob')";
        assert_eq!(database.number(logged).await, 2, "{value}");
    }
    database.sql("DELETE FROM radius_change").await;
    let mixed = "UPDATE radius_subscriber SET credit_seconds = credit_seconds + 1, note = CASE name WHEN 'bob' THEN 'new' ELSE note END WHERE name IN ('ann', 'bob')";
    database.sql(mixed).await;
    for (kind, name) in [("credit", "ann"), ("subscriber", "bob")] {
        let logged =
            format!("SELECT count(*) FROM radius_change WHERE kind = '{kind}' AND name = '{name}'");
        assert_eq!(database.number(&logged).await, 1, "{name}");
    }
    database.sql("DELETE FROM radius_change").await;
    database.sql("UPDATE radius_subscriber SET name = 'eve' WHERE name = 'ann'").await;
    let logged =
        "SELECT count(*) FROM radius_change WHERE kind = 'subscriber' AND name IN ('ann', 'eve')";
    assert_eq!(database.number(logged).await, 2);
}

muralla_test_database::on_both_engines!(
    a_start_has_what_the_database_has,
    credits_keep_nobody_from_what_else_is_changed,
    every_column_of_a_subscriber_is_in_the_log,
    sessions_keep_nobody_from_what_else_is_changed,
    what_is_of_no_use_is_not_used
);
