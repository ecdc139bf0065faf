use muralla_mail_envelope::Domain;
use proptest::prelude::*;

use super::*;
use crate::entries::{Backend, BackendEntry, DomainEntry};
use crate::index::SmallRows;
use crate::record::{Lists, NewAccount, pack_alias};

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn domain(name: &str, change: impl FnOnce(&mut DomainEntry)) -> DomainEntry {
    let mut entry = DomainEntry::new(Domain::parse(name).unwrap());
    change(&mut entry);
    entry
}

struct World {
    index: Index,
    options: Options,
}

impl World {
    /// `a.example` with a catch-all nowhere, `b.example` that is an alias of it, and others.
    fn new() -> Self {
        let index = Index::new([1, 2]);
        let backends = [(1, "old", 24), (2, "other", 25)].map(|(id, name, port)| BackendEntry {
            id: Some(BackendId(id)),
            name: name.into(),
            backend: Backend::Lmtp { host: "192.0.2.1".into(), port },
            note: None,
        });
        let domains = vec![
            domain("a.example", |_| ()),
            domain("b.example", |entry| entry.alias_of = Some(Domain::parse("a.example").unwrap())),
            domain("catch.example", |entry| {
                entry.catch_all = vec![address("ann@a.example"), address("boss@else.example")];
                entry.separator = Some('-');
            }),
            domain("circle.example", |entry| entry.catch_all = vec![address("x@circle.example")]),
            domain("off.example", |entry| entry.disabled = true),
            domain("relay.example", |entry| {
                entry.relay = true;
                entry.backends = vec!["old".into(), "other".into()];
            }),
            domain("plain.example", |entry| entry.separator = None),
        ];
        let rows = SmallRows { domains, backends: backends.into(), ..SmallRows::default() };
        index.set_small(Small::of(rows).0);
        let world = Self { index, options: Options::default() };
        for (id, name) in [
            (1, "ann@a.example"),
            (2, "bob@a.example"),
            (3, "josé@a.example"),
            (4, "carl@catch.example"),
            (5, "dora+x@plain.example"),
            (6, "eve@off.example"),
        ] {
            world.account(id, name, |_| ());
        }
        world
    }

    fn account(&self, id: i64, name: &str, change: impl FnOnce(&mut NewAccount<'_>)) {
        let mut account = NewAccount {
            id,
            name,
            shard: 1,
            may_send: true,
            keep_copy: true,
            ..NewAccount::default()
        };
        change(&mut account);
        self.index.put_account(account.pack().into());
    }

    fn alias(&self, name: &str, targets: &[&str]) {
        let targets: Vec<_> = targets.iter().map(|target| ((*target).to_owned(), true)).collect();
        self.index.put_alias(pack_alias(name, &targets).into());
    }

    fn resolve(&self, text: &str) -> String {
        match resolve(&self.index, &self.options, &address(text)) {
            Resolution::Deliver(targets) => targets.iter().map(shown).collect::<Vec<_>>().join(" "),
            other => format!("{other:?}"),
        }
    }
}

fn shown(target: &Target) -> String {
    match target {
        Target::Mailbox { account, folder_hint, backends, .. } => {
            let hint = folder_hint.as_ref().map(|hint| format!("/{hint}")).unwrap_or_default();
            let elsewhere = if **backends == [BackendId::STORE] {
                String::new()
            } else {
                format!("={backends:?}")
            };
            format!("{account}{hint}{elsewhere}")
        }
        Target::Forward { address, .. } => address.to_string(),
        Target::Backend { backends, address } => format!("{address}={backends:?}"),
    }
}

#[test]
fn addresses_lead_where_they_should() {
    let world = World::new();
    world.alias("info@a.example", &["ann@a.example", "bob@b.example", "x@else.example"]);
    world.alias("nested@a.example", &["info@a.example", "ann@a.example", "x@else.example"]);
    world.alias("ann+vip@a.example", &["bob@a.example"]);
    world.alias("dangling@a.example", &["nobody@a.example"]);
    world.alias("half@a.example", &["nobody@a.example", "ann@a.example"]);
    world.alias("circle@a.example", &["circle2@a.example"]);
    world.alias("circle2@a.example", &["circle@b.example"]);
    world.alias("bob@a.example", &["bob@a.example", "bob@else.example"]);
    world.alias("literal@a.example", &["x@[192.0.2.1]"]);
    for (to, expected) in [
        ("ann@a.example", "1"),
        ("ANN@A.EXAMPLE", "1"),
        ("\"ann\"@a.example", "1"),
        ("ann@b.example", "1"),
        ("ann+Work@a.example", "1/Work"),
        ("ann+@a.example", "1"),
        ("ann+a+b@b.example", "1/a+b"),
        ("+work@a.example", "Unknown"),
        ("ann-work@a.example", "Unknown"),
        ("JOSÉ@a.example", "3"),
        // é in two characters.
        ("jose\u{301}@a.example", "3"),
        ("nobody@a.example", "Unknown"),
        ("info@a.example", "1 x@else.example 2 bob@else.example"),
        ("info+x@a.example", "1/x x@else.example 2/x bob@else.example"),
        ("nested@b.example", "1 x@else.example 2 bob@else.example"),
        // The name as it is comes before its parts.
        ("ann+vip@a.example", "2 bob@else.example"),
        ("dangling@a.example", "Unknown"),
        ("half@a.example", "1"),
        ("circle@a.example", "Loop"),
        // The alias of a name that is among its own targets.
        ("bob@a.example", "2 bob@else.example"),
        ("bob+x@a.example", "2/x bob@else.example"),
        ("literal@a.example", "x@[192.0.2.1]"),
        ("carl@catch.example", "4"),
        ("carl-x@catch.example", "4/x"),
        ("whoever@catch.example", "1 boss@else.example"),
        ("whoever@circle.example", "Loop"),
        ("eve@off.example", "Disabled"),
        ("nobody@off.example", "Disabled"),
        ("dora+x@plain.example", "5"),
        ("dora+y@plain.example", "Unknown"),
        ("who@relay.example", "who@relay.example=[BackendId(1), BackendId(2)]"),
        ("who@else.example", "NotOurs"),
        ("ann@[192.0.2.1]", "NotOurs"),
        ("ann@sub.a.example", "NotOurs"),
        ("postmaster@a.example", "Unknown"),
    ] {
        assert_eq!(world.resolve(to), expected, "{to}");
    }
}

#[test]
fn there_is_always_a_postmaster() {
    let mut world = World::new();
    world.options.postmaster = Some(address("noc@else.example"));
    assert_eq!(world.resolve("Postmaster@a.example"), "noc@else.example");
    assert_eq!(world.resolve("postmaster@b.example"), "noc@else.example");
    world.account(9, "postmaster@a.example", |_| ());
    assert_eq!(world.resolve("postmaster@a.example"), "9", "who is there goes first");
    world.options.postmaster = Some(address("postmaster@plain.example"));
    assert_eq!(world.resolve("postmaster@plain.example"), "Loop");
}

/// Whose mail it is that goes elsewhere, so that it can come home.
#[test]
fn what_is_forwarded_has_an_owner() {
    let world = World::new();
    world.account(11, "away@a.example", |account| {
        account.lists.forwards = vec!["x@else.example".to_owned()];
    });
    world.account(12, "twice@a.example", |account| {
        account.lists.forwards = vec!["outside@a.example".to_owned()];
    });
    world.alias("outside@a.example", &["y@else.example"]);
    world.alias("list@a.example", &["away@a.example"]);
    for (to, owner) in [
        ("away@a.example", Some(11)),
        ("away+detail@b.example", Some(11)),
        ("list@a.example", Some(11)),
        ("twice@a.example", Some(12)),
        ("outside@a.example", None),
    ] {
        let Resolution::Deliver(targets) = resolve(&world.index, &world.options, &address(to))
        else {
            panic!("{to}")
        };
        let owners = targets.iter().filter_map(|target| match target {
            Target::Forward { account, .. } => Some(account.map(|account| account.0)),
            _ => None,
        });
        assert_eq!(owners.collect::<Vec<_>>(), [owner], "{to}");
    }
}

#[test]
fn mail_is_forwarded_with_a_copy_or_without() {
    let world = World::new();
    let forward = |id, name: &'static str, to: &[&str], keep_copy| {
        world.account(id, name, |account| {
            account.keep_copy = keep_copy;
            account.lists = Lists {
                forwards: to.iter().map(|to| (*to).to_owned()).collect(),
                apps: Vec::new(),
            };
        });
    };
    forward(11, "keeps@a.example", &["x@else.example"], true);
    forward(12, "moved@a.example", &["x@else.example", "ann@a.example"], false);
    forward(13, "careless@a.example", &[], false);
    forward(14, "one@a.example", &["two@a.example"], false);
    forward(15, "two@a.example", &["one@a.example"], false);
    forward(16, "self@a.example", &["self@a.example"], true);
    forward(17, "three@a.example", &["keeps@a.example", "one@a.example"], true);
    for (to, expected) in [
        ("keeps@a.example", "11 x@else.example"),
        ("moved@a.example", "x@else.example 1"),
        ("careless@a.example", "13"),
        ("one@a.example", "Loop"),
        ("self@a.example", "16"),
        ("three@a.example", "17 11 x@else.example"),
    ] {
        assert_eq!(world.resolve(to), expected, "{to}");
    }
}

#[test]
fn who_is_disabled_takes_nothing_and_is_no_obstacle_to_others() {
    let world = World::new();
    world.account(1, "ann@a.example", |account| account.disabled = true);
    world.alias("all@a.example", &["ann@a.example", "bob@a.example", "eve@off.example"]);
    world.alias("only@a.example", &["ann@a.example"]);
    assert_eq!(world.resolve("ann@a.example"), "Disabled");
    assert_eq!(world.resolve("only@a.example"), "Disabled");
    assert_eq!(world.resolve("all@a.example"), "2");
}

#[test]
fn several_back_ends_during_a_migration() {
    let world = World::new();
    world.account(1, "ann@a.example", |account| account.backends = "store\nold");
    assert_eq!(world.resolve("ann@a.example"), "1=[BackendId(0), BackendId(1)]");
    world.account(1, "ann@a.example", |account| account.backends = "nowhere");
    assert_eq!(world.resolve("ann@a.example"), "1=[BackendId(-1)]", "it waits");
    world.account(8, "fred@relay.example", |_| ());
    assert_eq!(world.resolve("fred@relay.example"), "8=[BackendId(1), BackendId(2)]");
}

#[test]
fn what_leads_to_too_many_is_refused_as_a_whole() {
    let world = World::new();
    for list in 0..3 {
        let members: Vec<String> =
            (0..9_000).map(|number| format!("m{list}x{number}@else.example")).collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        world.alias(&format!("list{list}@a.example"), &members);
    }
    world.alias("all@a.example", &["list0@a.example", "list1@a.example", "list2@a.example"]);
    assert_eq!(world.resolve("list0@a.example").split(' ').count(), 9_000);
    assert_eq!(world.resolve("all@a.example"), "TooMany");
}

#[test]
fn a_sender_belongs_to_the_account() {
    let world = World::new();
    world.account(1, "ann@a.example", |account| {
        account.senders = vec!["sales@else.example", "@catch.example"];
    });
    world.alias("info@a.example", &["ann@b.example", "bob@a.example"]);
    world.alias("nested@a.example", &["info@a.example"]);
    let silent = [("ann@a.example".to_owned(), false)];
    world.index.put_alias(pack_alias("list@a.example", &silent).into());
    for (who, sender, expected) in [
        (1, "ann@a.example", true),
        (1, "ANN@A.example", true),
        (1, "ann+shop@a.example", true),
        (1, "ann@b.example", true),
        (1, "info@a.example", true),
        (1, "info+x@b.example", true),
        (1, "sales@else.example", true),
        (1, "whoever@catch.example", true),
        (1, "list@a.example", false),
        (1, "nested@a.example", false),
        (1, "bob@a.example", false),
        (1, "ann@else.example", false),
        (1, "sales+x@else.example", false),
        (1, "ann@[192.0.2.1]", false),
        (2, "info@a.example", true),
        (2, "whoever@catch.example", false),
        (99, "ann@a.example", false),
    ] {
        let may = may_send_as(&world.index, AccountId(who), &address(sender));
        assert_eq!(may, expected, "{who} {sender}");
    }
}

#[test]
fn limits_come_from_the_nearest_who_says_something() {
    let mut world = World::new();
    world.options.quota_bytes = 300;
    world.options.limits = SendingLimits::USUAL;
    world.account(1, "ann@a.example", |account| {
        account.quota_bytes = Some(0);
        account.limits.messages_per_day = Some(5);
    });
    let view = |id: i64| {
        let record = world.index.account_of(id).unwrap();
        AccountView::of(&record, &world.index.small(), &world.options, world.options.limits)
            .unwrap()
    };
    assert_eq!((view(1).quota_bytes, view(2).quota_bytes), (0, 300));
    assert_eq!(view(1).limits.messages_per_day, Some(5));
    assert_eq!(view(1).limits.messages_per_hour, SendingLimits::USUAL.messages_per_hour);
    assert!(view(6).disabled && !view(1).disabled, "its domain is");
}

proptest! {
    /// Aliases and forwards in any tangle: it ends, and nobody gets anything twice.
    #[test]
    fn no_tangle_is_followed_for_ever(
        aliases in proptest::collection::vec((0u8..12, proptest::collection::vec(0u8..20, 0..6)), 0..20),
        forwards in proptest::collection::vec((0u8..6, proptest::collection::vec(0u8..20, 0..4), any::<bool>()), 0..8),
        to in 0u8..20,
    ) {
        let world = World::new();
        let name = |number: u8| match number {
            0..6 => format!("u{number}@a.example"),
            6..16 => format!("u{number}@b.example"),
            _ => format!("u{number}@else.example"),
        };
        for (id, forwards, keep_copy) in forwards {
            let own = name(id);
            world.account(100 + i64::from(id), &own, |account| {
                account.keep_copy = keep_copy;
                account.lists.forwards = forwards.into_iter().map(name).collect();
            });
        }
        for (alias, targets) in aliases {
            let targets: Vec<_> = targets.into_iter().map(|target| (name(target), true)).collect();
            let alias = name(alias).replace("@b.", "@a.");
            world.index.put_alias(pack_alias(&alias, &targets).into());
        }
        if let Resolution::Deliver(targets) = resolve(&world.index, &world.options, &address(&name(to))) {
            prop_assert!(!targets.is_empty());
            let shown: HashSet<String> = targets.iter().map(shown).collect();
            prop_assert_eq!(shown.len(), targets.len());
        }
    }
}
