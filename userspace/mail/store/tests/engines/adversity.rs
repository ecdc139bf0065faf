//! What goes wrong: answers are lost, disks are full, databases are put back, movers die, and everything comes at once.

use std::sync::Arc;

use muralla_database::Value;
use muralla_mail_store::counting::Uncounted;
use muralla_mail_store::packs::memory::{Faults, MemoryPacks};
use muralla_mail_store::{BodyId, BodyOptions, Delivered, Fence, Purpose, Store, StoreError};
use muralla_test_database::on_both_engines;

use crate::common::Database;
use crate::mailboxes::{ANN, BEN, FENCE, assert_counted, delivery, message, open, uids};

on_both_engines!(
    what_was_fetched_and_removed_is_not_delivered_again,
    numbers_are_not_given_twice_when_the_database_is_put_back,
    a_large_folder_is_listed_and_emptied,
    large_messages_that_come_at_once_are_all_there,
    what_the_database_can_not_take_is_refused_for_now,
    a_move_goes_on_where_it_was_broken_off,
    a_move_that_was_broken_off_is_undone,
    two_who_move_one_mailbox_lose_nothing,
    who_was_taken_for_gone_changes_nothing_any_more,
    what_comes_while_the_directory_is_asked_is_brought,
    a_body_that_is_counted_too_low_is_kept,
    packs_that_fail_lose_and_double_nothing,
);

async fn what_was_fetched_and_removed_is_not_delivered_again(database: Database) {
    let store = &open(database.location()).await;
    let first = store.deliver(delivery(1, &[ANN, BEN])).await.unwrap();
    let Delivered::Stored { folder, uid } = first[0] else { panic!("{first:?}") };
    // The answer was lost on its way to the queue; meanwhile a POP3 client came.
    store.expunge(ANN, folder, &[uid]).await.unwrap();
    let again = store.deliver(delivery(1, &[ANN, BEN])).await.unwrap();
    assert_eq!(again[0], Delivered::Again { folder, uid });
    assert_eq!(store.usage(ANN).await.unwrap().messages, 0);
    // Moved first, and removed then.
    let Delivered::Again { folder, uid } = again[1] else { panic!("{again:?}") };
    let moved = store.relocate(BEN, folder, &[uid], &Purpose::Trash.into()).await.unwrap();
    let trash = store.folder(BEN, &Purpose::Trash.into()).await.unwrap().unwrap();
    store.expunge(BEN, trash.id, &[moved[0].1]).await.unwrap();
    assert!(store.deliver(delivery(1, &[BEN])).await.unwrap()[0].is_there());
    assert_eq!(store.usage(BEN).await.unwrap().messages, 0);
    // An account that was cleared begins anew.
    store.clear(ANN).await.unwrap();
    let anew = store.deliver(delivery(1, &[ANN, BEN])).await.unwrap();
    assert!(matches!(anew[..], [Delivered::Stored { .. }, Delivered::Again { .. }]), "{anew:?}");
}

/// A backup is taken, mail comes and is read, and then the database is put back to the backup.
async fn numbers_are_not_given_twice_when_the_database_is_put_back(database: Database) {
    let store = &open(database.location()).await;
    let mut last = 0;
    for number in 0..3 {
        let delivered = store.deliver(delivery(number, &[ANN])).await.unwrap();
        let Delivered::Stored { uid, .. } = delivered[0] else { panic!("{delivered:?}") };
        assert!(uid > last);
        last = uid;
    }
    let folder = store.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    let mut work = store.bodies().engine().write().await.unwrap();
    for sql in [
        "DELETE FROM mail_message WHERE uid > (SELECT min(uid) FROM mail_message)",
        "UPDATE mail_folder SET next_uid = 2",
        "UPDATE mail_box SET modseq = 1",
    ] {
        work.execute(sql, vec![]).await.unwrap();
    }
    work.commit().await.unwrap();
    // Three came within one second, so that the numbers are ahead of the clock by two.
    let seconds = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        since.as_secs() - 1_767_225_600
    };
    while seconds() <= u64::from(last) {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let delivered = store.deliver(delivery(7, &[ANN])).await.unwrap();
    let Delivered::Stored { uid, .. } = delivered[0] else { panic!("{delivered:?}") };
    assert!(uid > last, "{uid} was given to another message ({last})");
    assert_ne!(folder.uidl(uid), folder.uidl(last));
    let modseq = store.message(ANN, folder.id, uid).await.unwrap().modseq;
    assert!(modseq > folder.modseq, "{modseq} after {}", folder.modseq);
    let copied = store.copy(ANN, folder.id, &[uid], &Purpose::Inbox.into(), None).await.unwrap();
    assert!(copied[0].1 > uid);
}

/// 100,000 messages: rows are made at once, as deliveries of so many take their time.
async fn a_large_folder_is_listed_and_emptied(database: Database) {
    const MANY: i64 = 100_000;
    let store = &open(database.location()).await;
    store.deliver(delivery(0, &[ANN])).await.unwrap();
    let folder = store.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    let mut work = store.bodies().engine().write().await.unwrap();
    let sql = "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < $1) \
               INSERT INTO mail_message (account, folder, uid, body, size, flags, received, saved, modseq) \
               SELECT account, folder, uid + n, body, size, flags, received, saved, modseq \
               FROM mail_message, number";
    work.execute(sql, vec![Value::from(MANY - 1)]).await.unwrap();
    work.execute("UPDATE mail_body SET refs = $1", vec![Value::from(MANY)]).await.unwrap();
    let sql = "UPDATE mail_folder SET next_uid = next_uid + $1";
    work.execute(sql, vec![Value::from(MANY - 1)]).await.unwrap();
    work.commit().await.unwrap();
    store.recount(true, |_| ()).await.unwrap();
    let listing = store.listing(ANN, folder.id).await.unwrap();
    assert_eq!(listing.len(), MANY as usize);
    assert!(listing.windows(2).all(|pair| pair[0].uid < pair[1].uid));
    // Mail is delivered between its pieces while it is emptied.
    let (keep, gone) = listing.split_at(10);
    let gone: Vec<u32> = gone.iter().map(|one| one.uid).collect();
    let emptied = store.expunge(ANN, folder.id, &gone);
    let delivered = store.deliver(delivery(1, &[ANN]));
    let (emptied, delivered) = tokio::join!(emptied, delivered);
    assert_eq!(emptied.unwrap(), MANY as usize - 10);
    assert!(delivered.unwrap()[0].is_there());
    assert_eq!(store.listing(ANN, folder.id).await.unwrap().len(), 11);
    assert_eq!(store.listing(ANN, folder.id).await.unwrap()[..10], *keep);
    assert_counted(store, ANN).await;
    let later = 10_000_000_000;
    assert_eq!(store.forget_removed(later).await.unwrap(), MANY as u64 - 10);
    assert_eq!(store.forget_removed(later).await.unwrap(), 0);
}

/// A burst of messages of 20 MB, each for two people: all are in every listing, and read back whole.
async fn large_messages_that_come_at_once_are_all_there(database: Database) {
    let store = &open(database.location()).await;
    let large = |number: usize| {
        let mut delivery = delivery(number, &[ANN, BEN]);
        let line = format!("{number:02} {}\r\n", "0123456789abcdef".repeat(4));
        let body = line.repeat((20 << 20) / line.len());
        delivery.raw = [&delivery.raw[..], body.as_bytes()].concat().into();
        delivery
    };
    let tasks: Vec<_> = (0..12)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move { store.deliver(large(number)).await.unwrap() })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.push(task.await.unwrap());
    }
    let folder = store.folder(BEN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    assert_eq!(store.listing(BEN, folder.id).await.unwrap().len(), 12);
    for (number, delivered) in all.iter().enumerate() {
        for (account, delivered) in [ANN, BEN].into_iter().zip(delivered) {
            let Delivered::Stored { folder, uid } = delivered else { panic!("{delivered:?}") };
            let read = store.read(account, *folder, *uid).await.unwrap();
            assert!(read == large(number).raw, "{number}");
        }
    }
    assert_counted(store, ANN).await;
}

/// The disk of the database is full, or it died: nobody is told that mail was stored, and nothing is lost when it is there again.
async fn what_the_database_can_not_take_is_refused_for_now(database: Database) {
    let store = &open(database.location()).await;
    for number in 0..20 {
        store.deliver(delivery(number, &[ANN])).await.unwrap();
    }
    let engine = store.bodies().engine();
    // Never fewer than there are.
    let limit = async |pages: i64| {
        let mut work = engine.write().await.unwrap();
        let sql = format!("PRAGMA max_page_count = {pages}");
        work.run(sql).await.unwrap();
        work.commit().await.unwrap();
    };
    if database.is_postgres() {
        database.kill();
    }
    let mut refused = Vec::new();
    for number in 20..400 {
        if !database.is_postgres() {
            // A connection that failed is another one, without the limit.
            limit(1).await;
        }
        match store.deliver(delivery(number, &[ANN, BEN])).await {
            Ok(delivered) => assert!(delivered.iter().all(|one| one.is_there())),
            Err(error) => {
                assert!(error.may_pass(), "{error}");
                refused.push(number);
                if refused.len() > 10 {
                    break;
                }
            }
        }
    }
    assert!(refused.len() > 10, "{refused:?}");
    if database.is_postgres() {
        database.start();
    } else {
        limit(1_000_000).await;
    }
    for number in &refused {
        let delivered = store.deliver(delivery(*number, &[ANN, BEN])).await.unwrap();
        assert!(delivered.iter().all(|one| one.is_there()), "{delivered:?}");
    }
    let last = *refused.last().unwrap();
    assert_eq!(store.usage(ANN).await.unwrap().messages, last as u64 + 1);
    assert_eq!(store.usage(BEN).await.unwrap().messages, last as u64 - 19);
    for account in [ANN, BEN] {
        assert_counted(store, account).await;
    }
    assert!(store.bodies().check(|_| ()).await.unwrap().is_clean());
}

/// A process that moves a mailbox dies: in the middle, and after the directory was told.
async fn a_move_goes_on_where_it_was_broken_off(database: Database) {
    let other = if database.is_postgres() { Database::postgres() } else { Database::sqlite() };
    let (from, to) = (&open(database.location()).await, &open(other.location()).await);
    for number in 0..200 {
        from.deliver(delivery(number, &[ANN])).await.unwrap();
    }
    let inbox = from.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    let fetched = uids(from, ANN, inbox.id).await[0];
    from.expunge(ANN, inbox.id, &[fetched]).await.unwrap();
    let at = uids(from, ANN, inbox.id).await;
    // While the first pieces are copied.
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let mut stop = Some(stop);
    let progress = |_, _| {
        if let Some(stop) = stop.take() {
            stop.send(()).unwrap();
        }
    };
    tokio::select! {
        moved = from.move_account(ANN, to, FENCE, progress, async || Ok(())) => panic!("{moved:?}"),
        _ = stopped => {}
    }
    let brought = to.usage(ANN).await.unwrap();
    from.deliver(delivery(200, &[ANN])).await.unwrap();
    // When the directory says that it lives there, and this store doesn't yet.
    let (told, tell) = tokio::sync::oneshot::channel::<()>();
    let switch = async || {
        drop(told);
        std::future::pending().await
    };
    tokio::select! {
        moved = from.move_account(ANN, to, FENCE, |_, _| (), switch) => panic!("{moved:?}"),
        _ = tell => {}
    }
    assert_eq!(from.deliver(delivery(201, &[ANN])).await.unwrap(), [Delivered::Elsewhere]);
    assert_eq!(to.deliver(delivery(201, &[ANN])).await.unwrap(), [Delivered::Leaving]);
    assert_eq!(to.standing_still().await.unwrap(), [ANN]);
    assert_eq!(from.left_behind().await.unwrap(), [ANN]);
    from.move_account(ANN, to, FENCE, |_, _| (), async || Ok(())).await.unwrap();
    assert!(to.deliver(delivery(201, &[ANN])).await.unwrap()[0].is_there());
    let usage = to.usage(ANN).await.unwrap();
    assert_eq!((usage.messages, brought.messages), (201, 0), "what is brought counts at the end");
    assert_eq!(uids(to, ANN, inbox.id).await[..199], at);
    let again = to.deliver(delivery(0, &[ANN])).await.unwrap();
    assert_eq!(again, [Delivered::Again { folder: inbox.id, uid: fetched }], "it was removed");
    assert_eq!(to.standing_still().await.unwrap(), []);
    assert_eq!(from.left_behind().await.unwrap(), [], "nothing is left of it");
    assert_counted(to, ANN).await;
    assert_eq!(from.usage(ANN).await.unwrap().messages, 0);
    // Nothing is left behind, and nobody has a body that isn't there.
    for store in [from, to] {
        let mut work = store.bodies().engine().read().await.unwrap();
        let sql = "SELECT CAST(count(*) AS BIGINT) FROM mail_message \
                   WHERE body NOT IN (SELECT id FROM mail_body WHERE refs > 0)";
        assert_eq!(work.number(sql, vec![]).await.unwrap(), 0);
        let sql = "SELECT CAST(coalesce(sum(refs), 0) AS BIGINT) - (SELECT count(*) FROM mail_message) FROM mail_body";
        assert_eq!(work.number(sql, vec![]).await.unwrap(), 0);
    }
    // Back again, to where it was.
    to.move_account(ANN, from, FENCE, |_, _| (), async || Ok(())).await.unwrap();
    assert_eq!(from.usage(ANN).await.unwrap(), usage);
    assert_eq!(uids(from, ANN, inbox.id).await[..199], at);
    let again = from.deliver(delivery(3, &[ANN])).await.unwrap();
    assert!(matches!(again[0], Delivered::Again { .. }), "{again:?}");
}

/// Its operator wants it back before it has gone.
async fn a_move_that_was_broken_off_is_undone(database: Database) {
    let other = if database.is_postgres() { Database::postgres() } else { Database::sqlite() };
    let (from, to) = (&open(database.location()).await, &open(other.location()).await);
    for number in 0..200 {
        from.deliver(delivery(number, &[ANN])).await.unwrap();
    }
    let usage = from.usage(ANN).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let mut stop = Some(stop);
    let progress = |_, _| {
        if let Some(stop) = stop.take() {
            stop.send(()).unwrap();
        }
    };
    tokio::select! {
        moved = from.move_account(ANN, to, FENCE, progress, async || Ok(())) => panic!("{moved:?}"),
        _ = stopped => {}
    }
    from.thaw(ANN, FENCE).await.unwrap();
    assert!(to.let_go(ANN, FENCE).await.unwrap());
    assert!(to.let_go(ANN, FENCE).await.unwrap(), "once more");
    assert!(!from.let_go(ANN, FENCE).await.unwrap(), "one that is in use stays");
    assert_eq!(from.usage(ANN).await.unwrap(), usage);
    let mut work = to.bodies().engine().read().await.unwrap();
    let sql = "SELECT CAST(count(*) AS BIGINT) FROM mail_message";
    assert_eq!(work.number(sql, vec![]).await.unwrap(), 0);
    drop(work);
    assert!(from.deliver(delivery(200, &[ANN])).await.unwrap()[0].is_there());
    from.move_account(ANN, to, FENCE, |_, _| (), async || Ok(())).await.unwrap();
    assert_eq!(to.usage(ANN).await.unwrap().messages, 201);
    assert!(from.let_go(ANN, FENCE).await.unwrap());
    let back = from.move_account(ANN, to, FENCE, |_, _| (), async || Ok(())).await;
    assert!(matches!(back, Err(StoreError::Elsewhere(ANN))), "{back:?}");
    assert_eq!(to.usage(ANN).await.unwrap().messages, 201, "what lives there is not written over");
}

async fn two_who_move_one_mailbox_lose_nothing(database: Database) {
    let other = if database.is_postgres() { Database::postgres() } else { Database::sqlite() };
    let (from, to) = (&open(database.location()).await, &open(other.location()).await);
    for number in 0..100 {
        from.deliver(delivery(number, &[ANN])).await.unwrap();
    }
    let (told, tell) = tokio::sync::oneshot::channel::<()>();
    let (decide, decided) = tokio::sync::oneshot::channel::<()>();
    let first = tokio::spawn({
        let (from, to) = (from.clone(), to.clone());
        async move {
            let switch = async move || {
                drop(told);
                let _ = decided.await;
                // The directory says that it lives there already.
                Err(StoreError::Elsewhere(ANN))
            };
            from.move_account(ANN, &to, FENCE, |_, _| (), switch).await
        }
    });
    let _ = tell.await;
    let thawed = from.thaw(ANN, FENCE).await;
    assert!(
        matches!(thawed, Err(StoreError::Elsewhere(ANN))),
        "the directory may be told: {thawed:?}"
    );
    from.move_account(ANN, to, FENCE, |_, _| (), async || Ok(())).await.unwrap();
    assert!(to.deliver(delivery(100, &[ANN])).await.unwrap()[0].is_there());
    drop(decide);
    let first = first.await.unwrap();
    assert!(matches!(first, Err(StoreError::Elsewhere(ANN))), "{first:?}");
    assert_eq!(to.usage(ANN).await.unwrap().messages, 101);
    assert_eq!(from.usage(ANN).await.unwrap().messages, 0);
    assert_eq!(from.deliver(delivery(101, &[ANN])).await.unwrap(), [Delivered::Elsewhere]);
    assert_counted(to, ANN).await;
}

/// Who moves a mailbox sleeps, and somebody else ends what he began; then he wakes up, wherever he was.
async fn who_was_taken_for_gone_changes_nothing_any_more(database: Database) {
    let other = if database.is_postgres() { Database::postgres() } else { Database::sqlite() };
    let (from, to) = (&open(database.location()).await, &open(other.location()).await);
    for number in 0..100 {
        from.deliver(delivery(number, &[ANN])).await.unwrap();
    }
    // He believes that he has told the directory.
    let asleep = async || {
        from.stay(ANN, Fence(2)).await?;
        assert!(to.let_go(ANN, Fence(2)).await?);
        let came = from.deliver(delivery(100, &[ANN])).await?;
        assert!(came[0].is_there(), "{came:?}");
        Ok::<_, StoreError>(())
    };
    let moved = from.move_account(ANN, to, Fence(1), |_, _| (), asleep).await;
    assert!(matches!(moved, Err(StoreError::Elsewhere(ANN))), "{moved:?}");
    assert_eq!(from.usage(ANN).await.unwrap().messages, 101);
    for (store, what) in [(from, "where it lives"), (to, "where it was brought")] {
        for gone in [
            store.thaw(ANN, Fence(1)).await.unwrap_err(),
            store.stay(ANN, Fence(1)).await.unwrap_err(),
        ] {
            assert!(matches!(gone, StoreError::Elsewhere(ANN)), "{what}: {gone}");
        }
    }
    let again = from.move_account(ANN, to, Fence(1), |_, _| (), async || Ok(())).await;
    assert!(matches!(again, Err(StoreError::Elsewhere(ANN))), "{again:?}");
    assert!(from.deliver(delivery(101, &[ANN])).await.unwrap()[0].is_there());
    // Whoever comes after both moves it.
    from.move_account(ANN, to, Fence(3), |_, _| (), async || Ok(())).await.unwrap();
    assert_eq!(to.usage(ANN).await.unwrap().messages, 102);
    // Long after it has come back, the first one would remove what is left in the old place.
    to.move_account(ANN, from, Fence(4), |_, _| (), async || Ok(())).await.unwrap();
    assert!(!from.let_go(ANN, Fence(1)).await.unwrap());
    assert_eq!(from.usage(ANN).await.unwrap().messages, 102);
    assert_counted(from, ANN).await;
}

/// The directory doesn't answer the one who moves, and somebody lets the mailbox stay meanwhile.
async fn what_comes_while_the_directory_is_asked_is_brought(database: Database) {
    let other = if database.is_postgres() { Database::postgres() } else { Database::sqlite() };
    let (from, to) = (&open(database.location()).await, &open(other.location()).await);
    for number in 0..10 {
        from.deliver(delivery(number, &[ANN])).await.unwrap();
    }
    let switch = async || {
        from.stay(ANN, FENCE).await?;
        let came = from.deliver(delivery(10, &[ANN])).await?;
        assert!(came[0].is_there(), "{came:?}");
        Ok::<_, StoreError>(())
    };
    from.move_account(ANN, to, FENCE, |_, _| (), switch).await.unwrap();
    assert_eq!(to.usage(ANN).await.unwrap().messages, 11);
    assert_eq!(from.usage(ANN).await.unwrap().messages, 0);
    assert_counted(to, ANN).await;
}

async fn a_body_that_is_counted_too_low_is_kept(database: Database) {
    let store = &open(database.location()).await;
    for number in 0..4 {
        store.deliver(delivery(number, &[ANN, BEN])).await.unwrap();
    }
    let inbox = store.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    let bodies: Vec<BodyId> =
        store.listing(ANN, inbox.id).await.unwrap().iter().map(|one| one.body).collect();
    let mut work = store.bodies().engine().write().await.unwrap();
    for (refs, body) in [(0, bodies[0]), (1, bodies[1]), (5, bodies[2])] {
        let values = vec![Value::from(refs), Value::from(body.0)];
        work.execute("UPDATE mail_body SET refs = $1 WHERE id = $2", values).await.unwrap();
    }
    let values = vec![Value::from(bodies[3].0)];
    work.execute("DELETE FROM mail_body WHERE id = $1", values).await.unwrap();
    work.commit().await.unwrap();
    let of = |body, counted| Uncounted { body, messages: 2, counted };
    let (zero, one) = (of(bodies[0], Some(0)), of(bodies[1], Some(1)));
    let gone = of(bodies[3], None);
    assert_eq!(store.recount_bodies(false).await.unwrap(), [zero, one, gone]);
    assert_eq!(store.recount_bodies(true).await.unwrap(), [zero, one, gone]);
    assert_eq!(store.recount_bodies(true).await.unwrap(), [gone]);
    assert_eq!(store.bodies().maintain(4_000_000_000).await.unwrap().bodies_removed, 0);
    assert_eq!(store.bodies().get(bodies[0]).await.unwrap(), message(0));
}

/// There is no room, nothing answers, or what was written is not confirmed.
async fn packs_that_fail_lose_and_double_nothing(database: Database) {
    let packs = Arc::new(MemoryPacks::default());
    let kept = Arc::<MemoryPacks>::clone(&packs);
    let store =
        &Store::with_packs(database.location(), kept, BodyOptions::default()).await.unwrap();
    store.deliver(delivery(0, &[ANN])).await.unwrap();
    let none = Faults::default();
    let faults = [
        Faults { full: true, ..none },
        Faults { away: true, ..none },
        Faults { lose_answers: true, ..none },
    ];
    for (number, fault) in (1..).zip(faults) {
        packs.set_faults(fault);
        for _ in 0..3 {
            let error = store.deliver(delivery(number, &[ANN, BEN])).await.unwrap_err();
            assert!(error.may_pass(), "{error}");
        }
        assert_eq!(store.usage(ANN).await.unwrap().messages, number as u64);
        packs.set_faults(none);
        for _ in 0..2 {
            let delivered = store.deliver(delivery(number, &[ANN, BEN])).await.unwrap();
            assert!(delivered.iter().all(|one| one.is_there()), "{delivered:?}");
        }
    }
    assert_eq!(store.usage(ANN).await.unwrap().messages, 4);
    assert_eq!(store.usage(BEN).await.unwrap().messages, 3);
    let report = store.bodies().check(|_| ()).await.unwrap();
    // Three times not confirmed, and three times delivered again in vain.
    assert_eq!((report.is_clean(), report.dead), (true, 6), "{report:?}");
    assert_counted(store, ANN).await;
}
