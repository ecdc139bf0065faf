//! What is in the database is in force everywhere within a moment, and stays so while the database is away.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use muralla_mail_directory::import::{ImportOptions, from_csv};
use muralla_mail_directory::{
    AccountEntry, AliasEntry, Backend, BackendEntry, BackendId, Directory, DkimAlgorithm,
    DkimKeyEntry, DomainEntry, Hidden, Location, Name, Options, Protocol, Registry, Resolution,
    ShardId, Target,
};
use muralla_mail_envelope::{Address, Domain};
use muralla_test_database::on_both_engines;

use crate::common::{Database, until};

on_both_engines![
    changes_of_one_are_seen_by_all,
    whatever_sql_changes_is_followed,
    nothing_is_passed_over_while_many_write,
    rows_that_can_not_be_used_are_told_and_cost_nobody_else,
    who_looks_sees_everything_while_everything_is_loaded,
    a_role_starts_and_answers_while_the_database_is_away,
];

#[tokio::test]
async fn what_is_awaited_may_be_awaited_on_any_thread() {
    fn on_any_thread<T: Send>(future: T) -> T {
        future
    }
    let database = Database::sqlite();
    let open = on_any_thread(Directory::open(database.location(), Options::default()));
    let directory = open.await.unwrap();
    on_any_thread(directory.catch_up()).await.unwrap();
    let mut import = from_csv("name\nann@a.example\n".as_bytes(), "users.csv", None);
    let options = ImportOptions { create_domains: true, ..ImportOptions::default() };
    let imported = on_any_thread(directory.registry().import(&mut import, options, |_| ())).await;
    assert_eq!(imported.unwrap().accounts, 1);
    let attempt = directory.login("ann@a.example", Protocol::Pop3);
    assert!(on_any_thread(attempt.check(b"x")).await.is_err());
}

mod postgres_alone {
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn the_database_dies_and_comes_back() {
        super::the_database_dies_and_comes_back(crate::common::Database::postgres()).await;
    }
}

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// Names of accounts that get mail for an address.
fn mailboxes(directory: &Directory, to: &str) -> Vec<String> {
    let Resolution::Deliver(targets) = directory.resolve(&address(to)) else { return Vec::new() };
    targets
        .into_iter()
        .map(|target| match target {
            Target::Mailbox { name, .. } => name.to_string(),
            Target::Forward { address, .. } | Target::Backend { address, .. } => {
                format!("> {address}")
            }
        })
        .collect()
}

async fn filled(database: &Database) -> Registry {
    let registry = Registry::open(database.location(), Options::default()).await.unwrap();
    registry.put_domain(&DomainEntry::new(domain("a.example"))).await.unwrap();
    for account in ["ann@a.example", "bob@a.example"] {
        registry.put_account(&AccountEntry::new(name(account))).await.unwrap();
    }
    let targets = vec![address("ann@a.example"), address("bob@a.example")];
    registry.put_alias(&AliasEntry::new(name("all@a.example"), targets)).await.unwrap();
    registry
}

async fn changes_of_one_are_seen_by_all(database: Database) {
    let registry = filled(&database).await;
    let directory = database.directory().await;
    assert_eq!(mailboxes(&directory, "all@a.example"), ["ann@a.example", "bob@a.example"]);
    let status = directory.status();
    assert_eq!((status.domains, status.accounts, status.aliases), (1, 2, 1));
    assert!(status.problems.is_empty() && status.away_since.is_none(), "{status:?}");

    let forward = address("ann@else.example");
    let ann = name("ann@a.example");
    let edited = registry.edit_account(&ann, |entry| {
        entry.forwards = vec![forward.clone()];
        entry.quota_bytes = Some(7);
    });
    let id = edited.await.unwrap().id.unwrap();
    until("a forward", || mailboxes(&directory, "ann@a.example").len() == 2).await;
    assert_eq!(directory.account(id).unwrap().quota_bytes, 7);
    registry.rename_account(&name("ann@a.example"), &name("anna@a.example")).await.unwrap();
    until("a new name", || directory.account_named(&name("anna@a.example")).is_some()).await;
    assert_eq!(directory.resolve(&address("ann@a.example")), Resolution::Unknown);
    registry.remove_account(&name("bob@a.example")).await.unwrap();
    until("one less", || directory.status().accounts == 1).await;

    registry
        .put_domain(&DomainEntry {
            alias_of: Some(domain("a.example")),
            ..DomainEntry::new(domain("b.example"))
        })
        .await
        .unwrap();
    until("a domain", || directory.is_local(&domain("b.example"))).await;
    assert_eq!(mailboxes(&directory, "anna@b.example").len(), 2);
    let backend = Backend::Smtp { host: "192.0.2.1".into(), port: 25 };
    let entry = BackendEntry { id: None, name: "old".into(), backend: backend.clone(), note: None };
    let old = registry.put_backend(&entry).await.unwrap();
    until("a back-end", || directory.backend(old) == Some(backend.clone())).await;
    assert_eq!(directory.backend(BackendId::STORE), Some(Backend::Store));
    assert_eq!(directory.backend(BackendId(99)), None);
    let key = DkimKeyEntry {
        domain: domain("a.example"),
        selector: "a".into(),
        algorithm: DkimAlgorithm::RsaSha256,
        private_key: Hidden::new("-----BEGIN PRIVATE KEY-----"),
        active: false,
        created: 0,
    };
    registry.add_dkim_key(&key).await.unwrap();
    directory.catch_up().await.unwrap();
    assert!(directory.dkim_keys(&key.domain).is_empty(), "it is not in use yet");
    registry.set_dkim_key_active(&key.domain, "a", true).await.unwrap();
    until("a key", || directory.dkim_keys(&key.domain).len() == 1).await;
    assert_eq!(directory.shard(ShardId::MAIN).unwrap().name, "main");
    registry.remove_alias(&name("all@a.example")).await.unwrap();
    until("no alias", || directory.status().aliases == 0).await;
    assert_eq!(directory.status().reloads, 1, "nothing of this needs everything to be read");
}

async fn whatever_sql_changes_is_followed(database: Database) {
    filled(&database).await;
    let directory = database.directory().await;
    let seen = |to: &'static str| mailboxes(&directory, to).len();
    for (sql, to, expected) in [
        ("UPDATE mail_account SET disabled = 1 WHERE name = 'ann@a.example'", "all@a.example", 1),
        ("UPDATE mail_account SET disabled = 0", "all@a.example", 2),
        (
            "INSERT INTO mail_forward (account, target) SELECT id, 'x@else.example' FROM mail_account WHERE name = 'ann@a.example'",
            "ann@a.example",
            2,
        ),
        ("DELETE FROM mail_forward", "ann@a.example", 1),
        ("DELETE FROM mail_alias WHERE target = 'ann@a.example'", "all@a.example", 1),
        (
            "UPDATE mail_alias SET name = 'both@a.example', target = 'ann@a.example'",
            "both@a.example",
            1,
        ),
        ("SELECT 1", "all@a.example", 0),
        ("UPDATE mail_domain SET disabled = 1", "both@a.example", 0),
        ("UPDATE mail_domain SET disabled = 0", "both@a.example", 1),
        ("DELETE FROM mail_alias", "both@a.example", 0),
        ("UPDATE mail_account SET id = id + 100 WHERE name = 'bob@a.example'", "bob@a.example", 1),
        ("DELETE FROM mail_account", "ann@a.example", 0),
    ] {
        database.sql(sql).await;
        until(sql, || seen(to) == expected).await;
    }
    assert_eq!(directory.status().reloads, 1);
    let log = database.number("SELECT count(*) FROM mail_change").await;
    assert!(log > 0);
    // What is logged by a later version of this program: everything is read again.
    database.sql("INSERT INTO mail_change (kind, name) VALUES ('novelty', 'x')").await;
    until("everything", || directory.status().reloads == 2).await;
    if database.is_postgres() {
        database.sql("TRUNCATE mail_alias").await;
        until("everything again", || directory.status().reloads == 3).await;
    }
}

async fn nothing_is_passed_over_while_many_write(database: Database) {
    let registry = filled(&database).await;
    let directory = database.directory().await;
    let mut writers = Vec::new();
    for writer in 0..6 {
        let registry = registry.clone();
        writers.push(tokio::spawn(async move {
            for number in 0..25 {
                let own = name(&format!("w{writer}n{number}@a.example"));
                registry.put_account(&AccountEntry::new(own.clone())).await.unwrap();
                let targets = vec![own.to_address().unwrap()];
                let alias = name(&format!("alias-w{writer}n{number}@a.example"));
                registry.put_alias(&AliasEntry::new(alias, targets)).await.unwrap();
                if number % 5 == 0 {
                    registry.remove_account(&own).await.unwrap();
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let expected = 2 + 6 * 20;
    until("all accounts", || directory.status().accounts == expected).await;
    until("all aliases", || directory.status().aliases == 1 + 150).await;
    assert_eq!(mailboxes(&directory, "alias-w5n24@a.example"), ["w5n24@a.example"]);
    assert_eq!(directory.resolve(&address("alias-w5n20@a.example")), Resolution::Unknown);
    assert_eq!(directory.status().reloads, 1);
    assert_eq!(directory.check().len(), 60, "aliases of those who were removed");
}

async fn rows_that_can_not_be_used_are_told_and_cost_nobody_else(database: Database) {
    filled(&database).await;
    for sql in [
        "UPDATE mail_account SET credential = '{NOVEL}secretsecret' WHERE name = 'ann@a.example'",
        "INSERT INTO mail_account (id, name, domain, shard, created) VALUES (90, 'Upper@a.example', 'a.example', 1, 0)",
        "INSERT INTO mail_alias (name, target, domain) VALUES ('all@a.example', 'no address', 'a.example')",
        "UPDATE mail_domain SET backends = 'nowhere'",
    ] {
        database.sql(sql).await;
    }
    let directory = database.directory().await;
    let status = directory.status();
    assert_eq!((status.refused, status.problems.len()), (4, 4), "{status:?}");
    assert!(!format!("{status:?}").contains("secretsecret"));
    assert_eq!(mailboxes(&directory, "all@a.example"), ["ann@a.example", "bob@a.example"]);
    let Resolution::Deliver(targets) = directory.resolve(&address("ann@a.example")) else {
        panic!("her mail comes although nobody knows her password");
    };
    let Target::Mailbox { backends, .. } = &targets[0] else { panic!("it is a mailbox") };
    assert_eq!(**backends, [BackendId::MISSING], "it waits, and is not lost");
    assert!(directory.login("ann@a.example", Protocol::Pop3).check(b"secret").await.is_err());
}

async fn who_looks_sees_everything_while_everything_is_loaded(database: Database) {
    let registry = filled(&database).await;
    let many: Vec<AccountEntry> =
        (0..1_500).map(|number| AccountEntry::new(name(&format!("n{number}@a.example")))).collect();
    let mut steps = 0;
    registry.put_accounts(&many, |_| steps += 1).await.unwrap();
    assert_eq!(steps, 3);
    let directory = database.directory().await;
    let stop = Arc::new(AtomicBool::new(false));
    let looking = {
        let (directory, stop) = (directory.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut looks = 0u64;
            while !stop.load(Ordering::Relaxed) {
                let number = looks % 1_500;
                assert_eq!(mailboxes(&directory, &format!("n{number}@a.example")).len(), 1);
                assert_eq!(mailboxes(&directory, "all@a.example").len(), 2);
                looks += 1;
            }
            looks
        })
    };
    for reload in 2..8 {
        database.sql("INSERT INTO mail_change (kind, name) VALUES ('all', 'x')").await;
        until("everything", || directory.status().reloads == reload).await;
    }
    stop.store(true, Ordering::Relaxed);
    assert!(looking.join().unwrap() > 0);
}

async fn a_role_starts_and_answers_while_the_database_is_away(database: Database) {
    let registry = filled(&database).await;
    registry.set_password(&name("ann@a.example"), b"hunter2").await.unwrap();
    let copy = database.file("copies").join("directory");
    let options = || Options { copy: Some(copy.clone()), ..Options::default() };
    let role = Directory::open(database.location(), options()).await.unwrap();
    // By itself, and soon.
    until("a copy", || role.status().copied.is_some()).await;
    registry.put_account(&AccountEntry::new(name("carl@a.example"))).await.unwrap();
    role.catch_up().await.unwrap();
    let salt = role.login("nobody@a.example", Protocol::Pop3).scram().salt().to_vec();
    while !role.write_copy().await.unwrap() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    role.registry().close().await;
    registry.close().await;
    drop(role);
    let kept = match database.location() {
        Location::Sqlite(path) => {
            // A disk that gives back nonsense.
            let kept = path.with_extension("kept");
            fs::rename(path, &kept).unwrap();
            for end in ["-wal", "-shm"] {
                let _ = fs::remove_file(format!("{}{end}", path.display()));
            }
            fs::write(path, [b'x'; 8192]).unwrap();
            Some((path.clone(), kept))
        }
        Location::Postgres(_) => {
            database.kill();
            None
        }
    };
    let without = Directory::open(database.location(), Options::default()).await.unwrap_err();
    assert!(without.may_pass(), "{without}");
    let role = Directory::open(database.location(), options()).await.unwrap();
    let status = role.status();
    assert_eq!((status.accounts, status.current), (3, 0));
    assert!(status.away_since.is_some());
    assert_eq!(mailboxes(&role, "all@a.example"), ["ann@a.example", "bob@a.example"]);
    assert!(role.login("ann@a.example", Protocol::Pop3).check(b"hunter2").await.is_ok());
    assert!(role.login("ann@a.example", Protocol::Pop3).check(b"hunter3").await.is_err());
    assert_eq!(role.login("nobody@a.example", Protocol::Pop3).scram().salt(), salt);
    // It comes back, and so does what was changed meanwhile.
    match kept {
        Some((path, kept)) => fs::rename(kept, path).unwrap(),
        None => database.start(),
    }
    database
        .sql("UPDATE mail_account SET name = 'bert@a.example' WHERE name = 'bob@a.example'")
        .await;
    until("the database", || role.account_named(&name("bert@a.example")).is_some()).await;
    until("the news", || role.status().away_since.is_none()).await;
    drop(role);
    // Somebody forgot to mount the disk: better no mail for a while than all of it refused for good.
    let tables = ["mail_alias", "mail_account", "mail_dkim_key", "mail_domain"];
    let sql: String = tables.iter().map(|table| format!("DELETE FROM {table};")).collect();
    database.sql(&sql).await;
    let empty = Directory::open(database.location(), options()).await.unwrap_err();
    assert!(!empty.may_pass() && empty.to_string().contains("no domain"), "{empty}");
    // A copy that is damaged is none.
    fs::write(&copy, b"muralla").unwrap();
    assert!(Directory::open(database.location(), options()).await.is_ok());
}

async fn the_database_dies_and_comes_back(database: Database) {
    filled(&database).await;
    let directory = database.directory().await;
    for round in 0..2 {
        database.kill();
        until("it is noticed", || directory.status().away_since.is_some()).await;
        assert_eq!(mailboxes(&directory, "all@a.example").len(), 2, "round {round}");
        let lost = directory.registry().put_domain(&DomainEntry::new(domain("b.example"))).await;
        assert!(lost.unwrap_err().may_pass());
        database.start();
        let sql = format!("INSERT INTO mail_domain (name, created) VALUES ('r{round}.example', 0)");
        database.sql(&sql).await;
        let new = domain(&format!("r{round}.example"));
        until("it is back", || directory.is_local(&new)).await;
        until("it is told", || directory.status().away_since.is_none()).await;
    }
}
