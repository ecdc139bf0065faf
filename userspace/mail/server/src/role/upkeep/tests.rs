use std::path::Path;

use bytes::Bytes;
use muralla_database::Value;
use muralla_mail_directory::{
    AccountEntry, DomainEntry, Hidden, MoveBegun, Name, Options as DirectoryOptions, ShardEntry,
};
use muralla_mail_envelope::Domain;
use muralla_mail_queue::Options;
use muralla_mail_store::{Append, Flags, FolderPath, StoreOptions};

use super::*;
use crate::config::{MailConfig, PacksConfig, ShardConfig};

const DAY: i64 = 86_400;

/// A provider with two stores, of which the second is no other's but its own.
struct House {
    directory: Directory,
    upkeep: Upkeep,
    shards: Shards,
    two: ShardId,
    now: i64,
}

impl House {
    async fn new(folder: &Path) -> Self {
        let mut config = MailConfig::new(Domain::parse("mx.isp.example").unwrap());
        let place = |name: &str| Hidden::new(folder.join(name).display().to_string());
        config.database = place("one.db");
        config.packs = PacksConfig::Folder(folder.join("one"));
        let second = ShardConfig {
            database: place("two.db"),
            packs: PacksConfig::Folder(folder.join("two")),
        };
        config.shards.insert("two".to_owned(), second);
        let location = config.location().unwrap();
        let directory = Directory::open(&location, DirectoryOptions::default()).await.unwrap();
        let registry = directory.registry();
        let entry = ShardEntry {
            id: None,
            name: "two".to_owned(),
            location: None,
            packs: None,
            closed: false,
            note: None,
        };
        let two = registry.put_shard(&entry).await.unwrap();
        let domain = DomainEntry::new(Domain::parse("isp.example").unwrap());
        registry.put_domain(&domain).await.unwrap();
        for (name, shard) in [("ann", ShardId::MAIN), ("bob", two), ("eve", two)] {
            let mut account = AccountEntry::new(name_of(name));
            account.shard = Some(shard);
            registry.put_account(&account).await.unwrap();
        }
        directory.catch_up().await.unwrap();
        let queue = Options::new("mx");
        let shards =
            Shards::new(&config, directory.clone(), StoreOptions::default(), queue).unwrap();
        let retention = Arc::new(ArcSwap::from_pointee(Retention {
            inbox: Some(60),
            spam: Some(30),
            trash: None,
        }));
        let name = "upkeep of mx".to_owned();
        let upkeep = Upkeep::new(directory.clone(), shards.clone(), None, retention, name);
        Self { directory, upkeep, shards, two, now: clock::now() }
    }

    async fn store(&self, id: ShardId) -> Store {
        self.shards.of(id).unwrap().store().await.unwrap()
    }

    fn account(&self, name: &str) -> Account {
        Account(self.directory.account_named(&name_of(name)).unwrap().id.0)
    }

    async fn add(&self, id: ShardId, account: Account, purpose: Purpose) {
        let append = Append {
            raw: Bytes::from_static(b"Subject: x\r\n\r\nx\r\n"),
            folder: FolderPath::from(purpose),
            flags: Flags::default(),
            received: self.now,
        };
        self.store(id).await.append(account, append, None).await.unwrap();
    }

    async fn count(&self, id: ShardId, account: Account) -> u64 {
        self.store(id).await.usage(account).await.unwrap().messages
    }
}

fn name_of(name: &str) -> Name {
    Name::parse(&format!("{name}@isp.example")).unwrap()
}

#[tokio::test]
async fn old_spam_goes_in_every_store_whatever_else_fails() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::new(folder.path()).await;
    let both = [(ShardId::MAIN, house.account("ann")), (house.two, house.account("bob"))];
    for (id, account) in both {
        for purpose in [Purpose::Spam, Purpose::Trash, Purpose::Inbox] {
            house.add(id, account, purpose).await;
        }
    }
    assert_eq!(house.upkeep.stores(), HashSet::from([ShardId::MAIN, house.two]));
    // The packs of the second can't be tidied up.
    std::fs::remove_dir_all(folder.path().join("two")).unwrap();
    for (id, account) in both {
        house.upkeep.once(id, house.now + 29 * DAY).await;
        assert_eq!(house.count(id, account).await, 3);
        house.upkeep.once(id, house.now + 31 * DAY).await;
        assert_eq!(house.count(id, account).await, 2, "of {id}");
        if id == ShardId::MAIN {
            // Not before an hour has passed, whatever has become old meanwhile.
            house.add(id, account, Purpose::Spam).await;
            house.upkeep.once(id, house.now + 31 * DAY + PASS - 1).await;
            assert_eq!(house.count(id, account).await, 3);
            house.upkeep.once(id, house.now + 31 * DAY + PASS).await;
            assert_eq!(house.count(id, account).await, 2);
        }
        house.upkeep.once(id, house.now + 61 * DAY).await;
        assert_eq!(house.count(id, account).await, 1, "what is in Trash stays");
    }
    let status = house.upkeep.status();
    assert_eq!((status.expired_inbox, status.expired_spam, status.expired_trash), (2, 3, 0));
    assert!(status.passes >= 10, "{status:?}");
    let failing = |shard: &str| {
        let of = |one: &&FailingDuty| one.shard == shard;
        status.failing.iter().find(of).map(|one| (one.what.clone(), one.since))
    };
    assert_eq!(failing("main"), None);
    let since = house.now + 29 * DAY;
    assert_eq!(failing("two"), Some(("the packs are not tidied up".to_owned(), since)));
    house.shards.close().await;
}

/// Whatever the configuration says, and whoever has no account any more.
#[tokio::test]
async fn what_was_refused_goes_after_two_weeks() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::new(folder.path()).await;
    let (store, eve) = (house.store(house.two).await, house.account("eve"));
    for account in [house.account("bob"), eve] {
        house.add(house.two, account, Purpose::Rejects).await;
        assert_eq!(house.count(house.two, account).await, 0);
    }
    house.directory.registry().remove_account(&name_of("eve")).await.unwrap();
    house.directory.catch_up().await.unwrap();
    for (after, left) in [(13 * DAY, 2), (15 * DAY, 0)] {
        house.upkeep.once(house.two, house.now + after).await;
        let bobs = store.rejects(house.account("bob")).await.unwrap().len();
        assert_eq!(bobs + store.rejects(eve).await.unwrap().len(), left, "after {after} seconds");
    }
    assert_eq!(house.upkeep.status().expired_rejects, 2);
    house.shards.close().await;
}

/// Lost packs stop the tidying up, and are told until they are back.
#[tokio::test]
async fn a_pack_that_is_lost_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::new(folder.path()).await;
    house.add(ShardId::MAIN, house.account("ann"), Purpose::Inbox).await;
    let (packs, aside) = (folder.path().join("one"), folder.path().join("aside"));
    std::fs::create_dir(&aside).unwrap();
    let carry = |from: &Path, to: &Path| {
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            if file.path().extension().is_some_and(|end| end == "pack") {
                std::fs::rename(file.path(), to.join(file.file_name())).unwrap();
            }
        }
    };
    for (round, missing) in [(0, 0), (1, 1), (2, 0)] {
        match round {
            1 => carry(&packs, &aside),
            2 => carry(&aside, &packs),
            _ => {}
        }
        house.upkeep.once(ShardId::MAIN, house.now + round * 3600).await;
        let status = house.upkeep.status();
        let found: Vec<(&str, u64)> =
            status.stores.iter().map(|one| (one.shard.as_str(), one.missing_packs)).collect();
        assert_eq!(found, [("main", missing)]);
        assert!(status.failing.is_empty(), "{status:?}");
    }
    house.shards.close().await;
}

#[tokio::test]
async fn a_move_that_was_broken_off_ends() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::new(folder.path()).await;
    let (one, two) = (house.store(ShardId::MAIN).await, house.store(house.two).await);
    let bob = house.account("bob");
    // Whoever moved it died, before the directory knew.
    for (id, store) in [(ShardId::MAIN, &one), (house.two, &two)] {
        house.add(id, bob, Purpose::Inbox).await;
        let mut work = store.bodies().engine().write().await.unwrap();
        let leaving = "UPDATE mail_box SET state = 1 WHERE account = $1";
        work.execute(leaving, vec![Value::from(bob.0)]).await.unwrap();
        work.commit().await.unwrap();
    }
    assert_eq!(two.standing_still().await.unwrap(), [bob]);
    house.upkeep.once(house.two, house.now).await;
    house.upkeep.once(house.two, house.now + STILL - 1).await;
    assert_eq!(two.standing_still().await.unwrap(), [bob], "it may be under way");
    house.upkeep.once(house.two, house.now + STILL).await;
    assert!(two.standing_still().await.unwrap().is_empty());
    house.add(house.two, bob, Purpose::Inbox).await;
    assert_eq!(house.count(house.two, bob).await, 2);
    // It does not live there.
    house.upkeep.once(ShardId::MAIN, house.now).await;
    house.upkeep.once(ShardId::MAIN, house.now + 2 * STILL).await;
    assert_eq!(one.standing_still().await.unwrap(), [bob]);
    // One that was copied whole, of which the directory was not told.
    let eve = house.account("eve");
    house.add(house.two, eve, Purpose::Inbox).await;
    let mut work = two.bodies().engine().write().await.unwrap();
    let elsewhere = "UPDATE mail_box SET state = 2 WHERE account = $1";
    work.execute(elsewhere, vec![Value::from(eve.0)]).await.unwrap();
    work.commit().await.unwrap();
    house.upkeep.once(house.two, house.now + STILL).await;
    assert_eq!(two.left_behind().await.unwrap(), [eve], "it may be under way");
    house.upkeep.once(house.two, house.now + 2 * STILL).await;
    assert!(two.left_behind().await.unwrap().is_empty());
    house.add(house.two, eve, Purpose::Inbox).await;
    house.shards.close().await;
}

impl House {
    /// Begins to bring bob into the first store, and dies when the directory is to be told, or just after it was.
    async fn die_moving(&self, told: bool) {
        let (one, two) = (self.store(ShardId::MAIN).await, self.store(self.two).await);
        let registry = self.directory.registry();
        let bob = self.account("bob");
        let begun = registry.begin_move(AccountId(bob.0), ShardId::MAIN, "who dies").await.unwrap();
        let MoveBegun::Copy(lease) = begun else { panic!("{begun:?}") };
        let (asked, ask) = tokio::sync::oneshot::channel::<()>();
        let switch = async || {
            if told {
                assert!(registry.switch_shard(&lease).await.unwrap());
            }
            drop(asked);
            std::future::pending().await
        };
        tokio::select! {
            moved = two.move_account(bob, &one, Fence(lease.fence), |_, _| (), switch) => panic!("{moved:?}"),
            _ = ask => {}
        }
        self.directory.catch_up().await.unwrap();
    }

    /// Nothing was heard of who moves for long.
    async fn lose_patience(&self) {
        let engine = self.store(ShardId::MAIN).await;
        let mut work = engine.bodies().engine().write().await.unwrap();
        work.execute("UPDATE mail_move SET until = 1", vec![]).await.unwrap();
        work.commit().await.unwrap();
    }

    async fn moves(&self) -> usize {
        self.directory.registry().moves().await.unwrap().len()
    }
}

#[tokio::test]
async fn a_move_whose_mover_died_is_undone_until_the_directory_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::new(folder.path()).await;
    let bob = house.account("bob");
    house.add(house.two, bob, Purpose::Inbox).await;
    house.die_moving(false).await;
    house.upkeep.end_moves().await;
    let left = house.store(house.two).await.left_behind().await.unwrap();
    assert_eq!((left, house.moves().await), (vec![bob], 1), "it may be under way");
    house.lose_patience().await;
    house.upkeep.end_moves().await;
    assert_eq!((house.moves().await, house.upkeep.status().moves_ended), (0, 1));
    house.add(house.two, bob, Purpose::Inbox).await;
    assert_eq!(house.count(house.two, bob).await, 2);
    let one = house.store(ShardId::MAIN).await;
    assert_eq!(house.count(ShardId::MAIN, bob).await, 0);
    assert_eq!(one.standing_still().await.unwrap(), [], "nothing is left of the copy");
    // And it can be moved.
    house.die_moving(true).await;
    house.shards.close().await;
}

#[tokio::test]
async fn a_move_whose_mover_died_ends_where_the_directory_says() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::new(folder.path()).await;
    let bob = house.account("bob");
    house.add(house.two, bob, Purpose::Inbox).await;
    house.die_moving(true).await;
    let one = house.store(ShardId::MAIN).await;
    assert_eq!(one.standing_still().await.unwrap(), [bob]);
    house.lose_patience().await;
    house.upkeep.end_moves().await;
    assert_eq!(house.moves().await, 0);
    house.add(ShardId::MAIN, bob, Purpose::Inbox).await;
    assert_eq!(house.count(ShardId::MAIN, bob).await, 2);
    let two = house.store(house.two).await;
    assert_eq!(two.left_behind().await.unwrap(), [], "nothing is left where it was");
    house.shards.close().await;
}

#[tokio::test]
async fn mail_of_an_account_that_is_gone_goes_after_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::new(folder.path()).await;
    let (bob, eve) = (house.account("bob"), house.account("eve"));
    for account in [bob, eve] {
        house.add(house.two, account, Purpose::Inbox).await;
    }
    house.directory.registry().remove_account(&name_of("eve")).await.unwrap();
    house.directory.catch_up().await.unwrap();
    for (after, left) in [
        (0, 1),
        (2 * DAY, 1),
        // Long enough, as far as can be told from what it was last changed.
        (AT_REST + 2 * LOOK, 0),
    ] {
        house.upkeep.once(house.two, house.now + after).await;
        assert_eq!(house.count(house.two, eve).await, left, "after {after} seconds");
    }
    assert_eq!(house.count(house.two, bob).await, 1);
    house.shards.close().await;
}

#[tokio::test]
async fn a_directory_that_was_put_back_costs_no_mail() {
    let folder = tempfile::tempdir().unwrap();
    let house = House::new(folder.path()).await;
    let strange = |number: usize| Account(i64::try_from(number).unwrap() + 1_000_000);
    for number in 0..=FEW {
        house.add(house.two, strange(number), Purpose::Inbox).await;
    }
    for after in [0, AT_REST + LOOK, 3 * AT_REST] {
        house.upkeep.once(house.two, house.now + after).await;
    }
    assert_eq!(house.count(house.two, strange(0)).await, 1);
    house.shards.close().await;
}
