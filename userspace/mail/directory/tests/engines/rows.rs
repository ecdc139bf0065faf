//! What operators enter is what is there, by whatever way they enter it.

use std::collections::HashSet;

use muralla_credentials::Storage;
use muralla_mail_directory::import::{
    ImportOptions, from_csv, from_passwd_file, from_postfix_aliases,
};
use muralla_mail_directory::{
    AccountEntry, AccountId, AliasEntry, Backend, BackendEntry, ContactEntry, ContactSource,
    DirectoryError, DkimAlgorithm, DkimKeyEntry, DomainEntry, Hidden, Imported, MoveBegun,
    MoveLease, Name, Options, Protocol, Registry, SendingLimits, Sent, ShardEntry, ShardId,
};
use muralla_mail_envelope::{Address, Domain};
use muralla_test_database::on_both_engines;

use crate::common::Database;

on_both_engines![
    the_schema_is_made_once,
    entries_come_back_as_they_were,
    what_makes_no_sense_is_refused,
    what_is_in_use_stays,
    numbers_are_never_given_out_twice,
    two_who_change_one_account_do_not_undo_each_other,
    accounts_are_spread_over_shards_and_moved,
    one_moves_a_mailbox_at_a_time,
    contacts_are_known,
    what_was_sent_adds_up,
    tables_of_others_are_taken_over,
];

fn domain(name: &str) -> Domain {
    Domain::parse(name).unwrap()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

async fn registry(database: &Database) -> Registry {
    let registry = Registry::open(database.location(), Options::default()).await.unwrap();
    registry.put_domain(&DomainEntry::new(domain("a.example"))).await.unwrap();
    registry
}

fn backend(name: &str) -> BackendEntry {
    let backend = Backend::Lmtp { host: "192.0.2.1".into(), port: 24 };
    BackendEntry { id: None, name: name.into(), backend, note: None }
}

fn shard(name: &str) -> ShardEntry {
    ShardEntry {
        id: None,
        name: name.into(),
        location: None,
        packs: None,
        closed: false,
        note: None,
    }
}

async fn the_schema_is_made_once(database: Database) {
    // Two servers that start at the same moment.
    let (one, other) = tokio::join!(
        Registry::open(database.location(), Options::default()),
        Registry::open(database.location(), Options::default()),
    );
    other.unwrap().put_domain(&DomainEntry::new(domain("a.example"))).await.unwrap();
    assert_eq!(one.unwrap().domains().await.unwrap().len(), 1);
    assert_eq!(database.number("SELECT count(*) FROM mail_directory_schema").await, 4);
    assert_eq!(database.number("SELECT count(*) FROM mail_setting").await, 1, "one secret for all");
    database.sql("INSERT INTO mail_directory_schema (version, name) VALUES (99, 'later')").await;
    let error = Registry::open(database.location(), Options::default()).await.unwrap_err();
    assert!(!error.may_pass() && error.to_string().contains("newer"), "{error}");
}

async fn what_was_sent_adds_up(database: Database) {
    const NOW: i64 = 1_800_000_000;
    let (one, other) = (registry(&database).await, registry(&database).await);
    let (ann, bob) = (AccountId(1), AccountId(2));
    let sent = |account, seconds, slots_ago, messages, recipients| Sent {
        account,
        seconds,
        slot: NOW / seconds - slots_ago,
        messages,
        recipients,
    };
    let first = [sent(ann, Sent::LONG, 0, 2, 5), sent(ann, Sent::SHORT, 0, 2, 5)];
    assert_eq!(one.add_sent(&first, NOW).await.unwrap().len(), 2);
    // By two servers at once, and in another order.
    let (long, short) = (sent(ann, Sent::LONG, 0, 1, 1), sent(ann, Sent::SHORT, 1, 1, 1));
    let more = [sent(bob, Sent::LONG, 0, 1, u32::MAX), long, short];
    let turned: Vec<Sent> = more.iter().rev().copied().collect();
    let (here, there) = tokio::join!(one.add_sent(&more, NOW), other.add_sent(&turned, NOW));
    assert!(here.is_ok() && there.is_ok(), "{here:?} {there:?}");
    let mut of_ann = one.sent(ann, NOW).await.unwrap();
    of_ann.sort_by_key(|sent| (sent.seconds, sent.slot));
    let expected = [
        sent(ann, Sent::SHORT, 1, 2, 2),
        sent(ann, Sent::SHORT, 0, 2, 5),
        sent(ann, Sent::LONG, 0, 4, 7),
    ];
    assert_eq!(of_ann, expected);
    assert_eq!(other.sent(bob, NOW).await.unwrap()[0].recipients, u32::MAX, "and no more");
    // What is over is not told, and goes.
    assert_eq!(one.sent(ann, NOW + 3_600).await.unwrap().len(), 1);
    assert_eq!(one.forget_sent(NOW).await.unwrap(), 0);
    assert_eq!(one.forget_sent(NOW + 2 * 3_600).await.unwrap(), 2);
    assert_eq!(one.forget_sent(NOW + 86_400 + 2 * 3_600).await.unwrap(), 0, "clocks differ");
    assert_eq!(one.forget_sent(NOW + 2 * 86_400).await.unwrap(), 2);
    assert_eq!(database.number("SELECT count(*) FROM mail_sent").await, 0);
}

async fn entries_come_back_as_they_were(database: Database) {
    let registry = registry(&database).await;
    let old = registry.put_backend(&backend("old")).await.unwrap();
    assert_eq!(registry.put_backend(&backend("old")).await.unwrap(), old, "the same one");
    let maildir = BackendEntry {
        backend: Backend::Maildir { path: "/var/mail/%d/%n".into() },
        note: Some("for a while".into()),
        ..backend("folders")
    };
    registry.put_backend(&maildir).await.unwrap();
    let there = registry.backends().await.unwrap();
    assert_eq!(there.len(), 2);
    assert_eq!(BackendEntry { id: None, ..there[0].clone() }, maildir);

    let full = DomainEntry {
        alias_of: None,
        disabled: true,
        relay: true,
        catch_all: vec![address("ann@a.example"), address("\"o d d\"@else.example")],
        separator: None,
        backends: vec!["store".into(), "old".into()],
        shard: Some(ShardId::MAIN),
        quota_bytes: Some(0),
        limits: SendingLimits { messages_per_day: Some(u32::MAX), ..SendingLimits::default() },
        note: Some("a note".into()),
        ..DomainEntry::new(domain("bücher.example"))
    };
    registry.put_domain(&full).await.unwrap();
    let read = registry.domain(&full.name).await.unwrap().unwrap();
    assert!(read.created > 0);
    assert_eq!(DomainEntry { created: 0, ..read }, full);
    assert_eq!(registry.domains().await.unwrap().len(), 2);

    let account = AccountEntry {
        credential: Hidden::new("{NT}0cb6948805f797bf2a82807973b89537"),
        backends: vec!["old".into()],
        quota_bytes: Some(1 << 40),
        disabled: true,
        may_send: false,
        forwards: vec![address("a@else.example"), address("b@else.example")],
        keep_copy: false,
        senders: vec!["@else.example".into(), "Boss@A.example".into()],
        limits: SendingLimits::USUAL,
        subscriber: Some("ann".into()),
        note: Some("a note".into()),
        ..AccountEntry::new(name("José@a.example"))
    };
    let id = registry.put_account(&account).await.unwrap();
    let read = registry.account(&account.name).await.unwrap().unwrap();
    assert_eq!(read.senders, ["@else.example", "boss@a.example"]);
    let expected = AccountEntry {
        id: Some(id),
        shard: Some(ShardId::MAIN),
        created: read.created,
        senders: read.senders.clone(),
        ..account.clone()
    };
    assert_eq!(read, expected);
    assert_eq!(registry.account_of(id).await.unwrap(), Some(read.clone()));
    let hers = registry.accounts_of_subscriber("ann").await.unwrap();
    assert_eq!(hers, std::slice::from_ref(&read));
    // Entered again without a password, as somebody does who read it as JSON.
    let plain =
        AccountEntry { credential: Hidden::default(), forwards: Vec::new(), ..read.clone() };
    assert_eq!(registry.put_account(&plain).await.unwrap(), id);
    let after = registry.account(&account.name).await.unwrap().unwrap();
    assert_eq!(after.credential, read.credential);
    assert!(after.forwards.is_empty());
    registry.set_password(&account.name, b"hunter2").await.unwrap();
    let after = registry.account(&account.name).await.unwrap().unwrap();
    assert!(after.credential.reveal().starts_with("$argon2id$") && after.scram.is_some());
    registry.remove_password(&account.name).await.unwrap();
    let after = registry.account(&account.name).await.unwrap().unwrap();
    assert!(after.credential.is_empty() && after.scram.is_none());

    registry.put_account(&AccountEntry::new(name("bob@a.example"))).await.unwrap();
    let listed = registry.accounts(Some(&domain("a.example")), "", 10).await.unwrap();
    let names: Vec<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names, ["bob@a.example", "josé@a.example"]);
    assert_eq!(registry.accounts(None, "bob@a.example", 10).await.unwrap().len(), 1);
    registry.rename_account(&name("bob@a.example"), &name("rob@a.example")).await.unwrap();
    assert_eq!(registry.account(&name("bob@a.example")).await.unwrap(), None);
    let clash = registry.rename_account(&name("rob@a.example"), &account.name).await.unwrap_err();
    assert!(matches!(clash, DirectoryError::Taken { .. }), "{clash}");

    let alias = AliasEntry {
        may_send: false,
        note: Some("all of us".into()),
        ..AliasEntry::new(
            name("All@a.example"),
            vec![address("rob@a.example"), address("x@else.example")],
        )
    };
    registry.put_alias(&alias).await.unwrap();
    assert_eq!(registry.alias(&alias.name).await.unwrap(), Some(alias.clone()));
    let fewer = AliasEntry { targets: vec![address("x@else.example")], ..alias.clone() };
    registry.put_alias(&fewer).await.unwrap();
    assert_eq!(registry.aliases("", 10).await.unwrap(), [fewer]);
    let uses = registry.aliases_to(&address("x@else.example")).await.unwrap();
    assert_eq!((uses.len(), uses[0].targets), (1, 1));
    assert!(registry.remove_alias(&alias.name).await.unwrap());
    assert!(!registry.remove_alias(&alias.name).await.unwrap());

    let key = DkimKeyEntry {
        domain: domain("a.example"),
        selector: "2026a".into(),
        algorithm: DkimAlgorithm::Ed25519Sha256,
        private_key: Hidden::new("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        active: false,
        created: 0,
    };
    registry.add_dkim_key(&key).await.unwrap();
    let twice = registry.add_dkim_key(&key).await.unwrap_err();
    assert!(matches!(twice, DirectoryError::Taken { .. }), "{twice}");
    assert!(registry.set_dkim_key_active(&key.domain, "2026A", true).await.unwrap());
    let read = registry.dkim_keys(Some(&key.domain)).await.unwrap();
    assert_eq!(read, [DkimKeyEntry { active: true, created: read[0].created, ..key.clone() }]);
    assert!(registry.remove_dkim_key(&key.domain, "2026a").await.unwrap());
    assert!(registry.dkim_keys(None).await.unwrap().is_empty());
}

async fn what_makes_no_sense_is_refused(database: Database) {
    let registry = registry(&database).await;
    let with = |change: fn(&mut AccountEntry)| {
        let mut entry = AccountEntry::new(name("ann@a.example"));
        change(&mut entry);
        entry
    };
    for (entry, word) in [
        (with(|entry| entry.name = name("ann@nowhere.example")), "enter the domain"),
        (with(|entry| entry.credential = Hidden::new("{SSHA}shortsecret")), "SSHA"),
        (with(|entry| entry.credential = Hidden::new("{ANYTHING}")), "any password"),
        (with(|entry| entry.backends = vec!["nowhere".into()]), "no back-end nowhere"),
        (with(|entry| entry.shard = Some(ShardId(77))), "no shard 77"),
        (with(|entry| entry.id = Some(AccountId(77))), "no account of this name"),
    ] {
        let error = registry.put_account(&entry).await.unwrap_err().to_string();
        assert!(error.contains(word) && !error.contains("shortsecret"), "{word}: {error}");
    }
    let ann = AccountEntry::new(name("ann@a.example"));
    assert!(registry.put_accounts(&[ann.clone(), ann.clone()], |_| ()).await.is_err(), "twice");
    // One that is refused takes those of its piece with it, and nothing is half there.
    let stray = AccountEntry::new(name("x@nowhere.example"));
    assert!(registry.put_accounts(&[ann.clone(), stray], |_| ()).await.is_err());
    assert!(registry.accounts(None, "", 10).await.unwrap().is_empty());

    let alias = AliasEntry::new(name("all@nowhere.example"), vec![address("ann@a.example")]);
    assert!(registry.put_alias(&alias).await.is_err());
    assert!(registry.put_alias(&AliasEntry::new(name("all@a.example"), Vec::new())).await.is_err());
    assert!(registry.set_password(&name("nobody@a.example"), b"x").await.is_err());
    registry.put_account(&ann).await.unwrap();
    assert!(registry.set_password(&ann.name, b"").await.is_err());
    assert!(registry.set_password(&ann.name, &[b'x'; 500]).await.is_err());
    let moved = registry.edit_account(&ann.name, |entry| entry.shard = Some(ShardId(2))).await;
    assert!(moved.unwrap_err().to_string().contains("move it"));
    let missing = registry.edit_account(&name("nobody@a.example"), |_| ()).await.unwrap_err();
    assert!(matches!(missing, DirectoryError::Missing { .. }), "{missing}");

    let mut circle = DomainEntry::new(domain("b.example"));
    circle.alias_of = Some(domain("nowhere.example"));
    assert!(registry.put_domain(&circle).await.is_err());
    circle.alias_of = Some(domain("a.example"));
    registry.put_domain(&circle).await.unwrap();
    let further = DomainEntry {
        alias_of: Some(domain("b.example")),
        ..DomainEntry::new(domain("c.example"))
    };
    let error = registry.put_domain(&further).await.unwrap_err().to_string();
    assert!(error.contains("make it an alias of a.example"), "{error}");
    let back = DomainEntry {
        alias_of: Some(domain("b.example")),
        ..DomainEntry::new(domain("a.example"))
    };
    assert!(registry.put_domain(&back).await.is_err());
    let error = registry.put_account(&AccountEntry::new(name("x@b.example"))).await.unwrap_err();
    assert!(error.to_string().contains("alias of a.example"), "{error}");
    // The database itself says no to what is made by hand, and shows no secret.
    let store = BackendEntry { name: "store".into(), ..backend("x") };
    assert!(registry.put_backend(&store).await.is_err());
}

async fn what_is_in_use_stays(database: Database) {
    let registry = registry(&database).await;
    registry.put_backend(&backend("old_1")).await.unwrap();
    registry.put_backend(&backend("oldx1")).await.unwrap();
    let other = registry.put_shard(&shard("other")).await.unwrap();
    let ann = AccountEntry {
        backends: vec!["store".into(), "oldx1".into()],
        shard: Some(other),
        ..AccountEntry::new(name("ann@a.example"))
    };
    registry.put_account(&ann).await.unwrap();
    let in_use = |error: DirectoryError| {
        assert!(matches!(error, DirectoryError::InUse { .. }), "{error}");
    };
    in_use(registry.remove_domain(&domain("a.example")).await.unwrap_err());
    in_use(registry.remove_backend("oldx1").await.unwrap_err());
    in_use(registry.remove_shard("other").await.unwrap_err());
    assert!(registry.remove_backend("old_1").await.unwrap(), "a name is no pattern");
    registry
        .make_app_password(&ann.name, "phone", muralla_mail_directory::Protocols::ALL, None)
        .await
        .unwrap();
    assert!(registry.remove_account(&ann.name).await.unwrap().is_some());
    assert!(registry.remove_account(&ann.name).await.unwrap().is_none());
    assert_eq!(database.number("SELECT count(*) FROM mail_app_password").await, 0);
    assert!(registry.remove_backend("oldx1").await.unwrap());
    assert!(registry.remove_shard("other").await.unwrap());
    let alias = AliasEntry::new(name("all@a.example"), vec![address("x@else.example")]);
    registry.put_alias(&alias).await.unwrap();
    in_use(registry.remove_domain(&domain("a.example")).await.unwrap_err());
    registry.remove_alias(&alias.name).await.unwrap();
    assert!(registry.remove_domain(&domain("a.example")).await.unwrap());
    assert!(!registry.remove_domain(&domain("a.example")).await.unwrap());
}

async fn numbers_are_never_given_out_twice(database: Database) {
    let registry = registry(&database).await;
    let other = Registry::open(database.location(), Options::default()).await.unwrap();
    let mut seen = HashSet::new();
    let ann = AccountEntry::new(name("ann@a.example"));
    for _ in 0..5 {
        assert!(
            seen.insert(registry.put_account(&ann).await.unwrap()),
            "the mail of before is not hers"
        );
        registry.remove_account(&ann.name).await.unwrap();
    }
    // Two servers that enter many at once, some of them the same.
    let batch = |from: u32| -> Vec<AccountEntry> {
        (from..from + 60)
            .map(|number| AccountEntry::new(name(&format!("n{number}@a.example"))))
            .collect()
    };
    let (ones, others) = (batch(0), batch(30));
    let (one, two) =
        tokio::join!(registry.put_accounts(&ones, |_| ()), other.put_accounts(&others, |_| ()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one[30..], two[..30], "whoever comes second hears of the first one's numbers");
    let all: HashSet<_> = one.iter().chain(&two).collect();
    assert_eq!(all.len(), 90);
    assert!(all.is_disjoint(&seen.iter().collect()));
}

async fn two_who_change_one_account_do_not_undo_each_other(database: Database) {
    let registry = registry(&database).await;
    let ann = name("ann@a.example");
    registry.put_account(&AccountEntry::new(ann.clone())).await.unwrap();
    let mut tasks = Vec::new();
    for number in 0..16 {
        let (registry, ann) = (registry.clone(), ann.clone());
        tasks.push(tokio::spawn(async move {
            let target = address(&format!("f{number}@else.example"));
            let edited = registry.edit_account(&ann, |entry| entry.forwards.push(target.clone()));
            edited.await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(registry.account(&ann).await.unwrap().unwrap().forwards.len(), 16);
}

async fn accounts_are_spread_over_shards_and_moved(database: Database) {
    let registry = registry(&database).await;
    let second = registry.put_shard(&shard("second")).await.unwrap();
    let closed = registry.put_shard(&ShardEntry { closed: true, ..shard("third") }).await.unwrap();
    assert!(second != closed && second != ShardId::MAIN);
    let entries: Vec<AccountEntry> =
        (0..10).map(|number| AccountEntry::new(name(&format!("n{number}@a.example")))).collect();
    let ids = registry.put_accounts(&entries, |_| ()).await.unwrap();
    for (shard, expected) in [(ShardId::MAIN, 5), (second, 5), (closed, 0)] {
        let sql = format!("SELECT count(*) FROM mail_account WHERE shard = {shard}");
        assert_eq!(database.number(&sql).await, expected, "shard {shard}");
    }
    let counts = registry.accounts_by_shard().await.unwrap();
    assert_eq!(counts, [(ShardId::MAIN, 5), (second, 5)].into());
    // Who names a shard means it, and a domain may.
    let mut b = DomainEntry::new(domain("b.example"));
    b.shard = Some(closed);
    registry.put_domain(&b).await.unwrap();
    registry.put_account(&AccountEntry::new(name("ann@b.example"))).await.unwrap();
    let ann = registry.account(&name("ann@b.example")).await.unwrap().unwrap();
    assert_eq!(ann.shard, Some(closed));
    let first = registry.account_of(ids[0]).await.unwrap().unwrap();
    let (from, to) = match first.shard {
        Some(ShardId::MAIN) => (ShardId::MAIN, second),
        _ => (second, ShardId::MAIN),
    };
    assert!(registry.begin_move(ids[0], ShardId(99), "a").await.is_err());
    assert_eq!(registry.begin_move(ids[0], from, "a").await.unwrap(), MoveBegun::There);
    let begun = registry.begin_move(ids[0], to, "a").await.unwrap();
    let MoveBegun::Copy(lease) = begun else { panic!("{begun:?}") };
    let error = registry.remove_shard("third").await.unwrap_err().to_string();
    assert!(!error.contains("moved"), "{error}");
    let elsewhere = MoveLease { from: closed, ..lease };
    assert!(!registry.switch_shard(&elsewhere).await.unwrap(), "it does not live there");
    assert!(registry.switch_shard(&lease).await.unwrap());
    assert!(!registry.switch_shard(&lease).await.unwrap(), "it has moved already");
    assert!(registry.end_move(&lease).await.unwrap());
    assert!(!registry.end_move(&lease).await.unwrap());
    let placed = registry.placed(&[ids[0], AccountId(7_777)]).await.unwrap();
    assert_eq!(placed, [(ids[0], (first.name, to))].into());
    let listed = registry.shards().await.unwrap();
    assert_eq!(listed.len(), 3);
    registry.put_shard(&ShardEntry { closed: true, ..shard("second") }).await.unwrap();
    registry.put_shard(&ShardEntry { closed: true, ..shard("main") }).await.unwrap();
    let error = registry.put_account(&AccountEntry::new(name("x@a.example"))).await.unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
}

async fn one_moves_a_mailbox_at_a_time(database: Database) {
    let registry = registry(&database).await;
    let second = registry.put_shard(&shard("second")).await.unwrap();
    let third = registry.put_shard(&shard("third")).await.unwrap();
    let mut ann = AccountEntry::new(name("ann@a.example"));
    ann.shard = Some(ShardId::MAIN);
    let id = registry.put_account(&ann).await.unwrap();
    let begin = async |to, who: &str| registry.begin_move(id, to, who).await.unwrap();
    let MoveBegun::Copy(first) = begin(second, "first").await else { panic!("it is to be copied") };
    assert!(registry.renew_move(&first).await.unwrap());
    // Who moves it to the same place goes on instead of him, and he has no say any more.
    let MoveBegun::Copy(other) = begin(second, "other").await else { panic!("it is to be copied") };
    assert!(other.fence > first.fence && (other.from, other.to) == (first.from, first.to));
    for gone in [
        registry.renew_move(&first).await.unwrap(),
        registry.switch_shard(&first).await.unwrap(),
        registry.end_move(&first).await.unwrap(),
    ] {
        assert!(!gone);
    }
    let moves = registry.moves().await.unwrap();
    assert_eq!((moves.len(), moves[0].mover.as_str(), moves[0].to), (1, "other", second));
    let used = registry.remove_shard("second").await.unwrap_err().to_string();
    assert!(used.contains("that are moved"), "{used}");
    // To another place it is to be ended first: as it lives where it did, it is undone.
    let MoveBegun::End(before) = begin(third, "third").await else { panic!("it is to be ended") };
    assert_eq!((before.from, before.to), (ShardId::MAIN, second));
    assert!(!registry.switch_shard(&other).await.unwrap());
    assert!(registry.end_move(&before).await.unwrap());
    let MoveBegun::Copy(third_one) = begin(third, "third").await else {
        panic!("it is to be copied")
    };
    // Nobody takes over from who is there.
    assert_eq!(registry.take_over_moves("upkeep", 9).await.unwrap(), []);
    database.sql("UPDATE mail_move SET until = 1").await;
    assert!(registry.switch_shard(&third_one).await.unwrap(), "nobody took it over yet");
    let taken = registry.take_over_moves("upkeep", 9).await.unwrap();
    assert_eq!(taken.len(), 1);
    assert!(taken[0].fence > third_one.fence && taken[0].to == third);
    assert_eq!(registry.take_over_moves("another", 9).await.unwrap(), []);
    assert!(!registry.end_move(&third_one).await.unwrap());
    // It lives there, and the move is to be ended nevertheless.
    let MoveBegun::End(left) = begin(third, "again").await else { panic!("it is to be ended") };
    assert!(registry.end_move(&left).await.unwrap());
    assert_eq!(begin(third, "again").await, MoveBegun::There);
    assert!(registry.fence().await.unwrap() > left.fence);
    let nobody = registry.begin_move(AccountId(7_777), third, "x").await.unwrap_err();
    assert!(matches!(nobody, DirectoryError::Missing { .. }), "{nobody}");
}

async fn contacts_are_known(database: Database) {
    let registry = registry(&database).await;
    let ann = registry.put_account(&AccountEntry::new(name("ann@a.example"))).await.unwrap();
    let bob = registry.put_account(&AccountEntry::new(name("bob@a.example"))).await.unwrap();
    let contact = |text: &str, source| ContactEntry {
        address: address(text),
        name: None,
        source,
        created: 0,
    };
    let carl = ContactEntry {
        name: Some("Carl".into()),
        ..contact("Carl@Else.example", ContactSource::Person)
    };
    registry
        .put_contacts(ann, &[carl, contact("x@else.example", ContactSource::Sent)])
        .await
        .unwrap();
    registry.put_contacts(bob, &[contact("carl@else.example", ContactSource::Sent)]).await.unwrap();
    // That mail was sent there as well changes nothing of what a person entered.
    let again = [contact("carl@ELSE.example", ContactSource::Sent); 1];
    registry.put_contacts(ann, &again).await.unwrap();
    let contacts = registry.contacts(ann, "", 10).await.unwrap();
    assert_eq!(contacts.len(), 2);
    assert_eq!(contacts[0].name.as_deref(), Some("Carl"));
    assert_eq!(contacts[0].source, ContactSource::Person);
    assert_eq!(registry.contacts(ann, "carl@else.example", 10).await.unwrap().len(), 1);
    let mut knowing = registry.who_knows(&address("CARL@else.example"), &[ann, bob]).await.unwrap();
    knowing.sort();
    assert_eq!(knowing, [ann, bob]);
    assert_eq!(registry.who_knows(&address("x@else.example"), &[ann, bob]).await.unwrap(), [ann]);
    assert!(registry.remove_contact(ann, &address("carl@else.example")).await.unwrap());
    assert!(!registry.remove_contact(ann, &address("carl@else.example")).await.unwrap());
    let stray = [contact("x@else.example", ContactSource::Sent)];
    let nobody = registry.put_contacts(AccountId(99), &stray);
    assert!(matches!(nobody.await.unwrap_err(), DirectoryError::Missing { .. }));
    registry.remove_account(&name("bob@a.example")).await.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM mail_contact").await, 1);
}

async fn tables_of_others_are_taken_over(database: Database) {
    let directory = database.directory_with(|options| options.checks = 2).await;
    let registry = directory.registry();
    let mut import = from_passwd_file(
        "ann@a.example:{PLAIN}hunter2\nbob@a.example:{NT}0cb6948805f797bf2a82807973b89537\ncarl@b.example:{PLAIN}x\n",
        "users",
        None,
    );
    import.join(from_postfix_aliases(
        "a.example x\ninfo@a.example ann@a.example, bob@a.example\n@a.example ann@a.example\n@z.example @a.example\n",
        "virtual",
        None,
    ));
    import.join(from_csv("name,backends\ndora@a.example,nowhere\n".as_bytes(), "users.csv", None));
    let mut rehearsal = import.clone();
    let rehearsed = registry.rehearse(&mut rehearsal, false).await.unwrap();
    assert_eq!(rehearsed.new, Imported { domains: 2, accounts: 2, aliases: 1 });
    assert_eq!((rehearsed.there, rehearsed.passwords), (Imported::default(), 1));
    assert!(registry.domains().await.unwrap().is_empty(), "nothing is written");
    let mut steps = Vec::new();
    let options = ImportOptions { passwords: Storage::Argon2, ..ImportOptions::default() };
    let imported =
        registry.import(&mut import, options, |step| steps.push(step.what)).await.unwrap();
    assert_eq!((imported.domains, imported.accounts, imported.aliases), (2, 2, 1));
    let refused: Vec<&str> = import.refused.iter().map(|refused| refused.name.as_str()).collect();
    assert_eq!(refused, ["carl@b.example", "dora@a.example"], "{:?}", import.refused);
    assert_eq!(rehearsal.refused, import.refused);
    assert!(steps.contains(&"hashing passwords") && steps.contains(&"entering accounts"));
    directory.catch_up().await.unwrap();
    assert!(directory.is_local(&domain("z.example")));
    let let_in = directory.login("ann@z.example", Protocol::Pop3).check(b"hunter2").await.unwrap();
    assert_eq!(let_in.account.name, name("ann@a.example"));
    // The same again, with the domain that was missing; who changed her password meanwhile keeps it.
    let mut import =
        from_csv("name,quota\nann@a.example,5M\ncarl@b.example,\n".as_bytes(), "users.csv", None);
    registry.set_password(&name("ann@a.example"), b"another").await.unwrap();
    let rehearsed = registry.rehearse(&mut import.clone(), true).await.unwrap();
    assert_eq!(rehearsed.new, Imported { domains: 1, accounts: 1, aliases: 0 });
    assert_eq!(rehearsed.there, Imported { domains: 1, accounts: 1, aliases: 0 });
    let options = ImportOptions { create_domains: true, ..options };
    let imported = registry.import(&mut import, options, |_| ()).await.unwrap();
    assert_eq!((imported.domains, imported.accounts), (1, 2));
    let catch_all = registry.domain(&domain("a.example")).await.unwrap().unwrap().catch_all;
    assert_eq!(catch_all, [address("ann@a.example")], "a domain that is there stays as it is");
    directory.catch_up().await.unwrap();
    let attempt = directory.login("ann@a.example", Protocol::Pop3);
    assert_eq!(attempt.check(b"another").await.unwrap().account.quota_bytes, 5_000_000);
}
