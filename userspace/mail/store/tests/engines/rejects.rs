//! What was refused: kept apart for a while, and restored.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use muralla_mail_store::rejects::{BYTES, DAYS, MOST};
use muralla_mail_store::{
    Account, Append, Delivered, Delivery, Expired, Flags, FolderPath, Purpose, Store, StoreError,
    Usage,
};
use muralla_test_database::on_both_engines;

use crate::common::Database;
use crate::mailboxes::{ANN, BEN, FENCE, assert_counted, delivery, message, open, uids};

on_both_engines!(
    it_is_in_no_listing_and_in_no_quota,
    it_is_restored_into_the_inbox_as_far_as_there_is_room,
    the_oldest_go_when_there_is_too_much,
    it_expires,
    it_moves_with_its_mailbox,
);

/// The same as other deliveries, to where what was refused is.
fn refused(number: usize, accounts: &[Account]) -> Delivery {
    let mut refused = delivery(number, accounts);
    for destination in &mut refused.destinations {
        destination.folder = Purpose::Rejects.into();
    }
    refused
}

async fn kept(store: &Store, account: Account) -> Vec<u32> {
    store.rejects(account).await.unwrap().iter().map(|message| message.uid).collect()
}

/// Everything is counted and named as it should be.
async fn assert_sound(store: &Store) {
    assert_counted(store, ANN).await;
    assert_counted(store, BEN).await;
    assert!(store.recount(false, |_| ()).await.unwrap().is_empty());
    assert!(store.recount_bodies(false).await.unwrap().is_empty());
    let report = store.bodies().check(|_| ()).await.unwrap();
    assert!(report.is_clean(), "{report:?}");
}

async fn it_is_in_no_listing_and_in_no_quota(database: Database) {
    let store = &open(database.location()).await;
    store.deliver(delivery(0, &[ANN])).await.unwrap();
    // A folder of her own may be called so.
    let own = FolderPath::parse("Rejects").unwrap();
    let append = Append {
        raw: message(9),
        folder: own.clone(),
        flags: Flags::SEEN,
        received: 1_800_000_000,
    };
    store.append(ANN, append, None).await.unwrap();
    for number in 1..4 {
        let delivered = store.deliver(refused(number, &[ANN, BEN])).await.unwrap();
        assert!(delivered.iter().all(|one| matches!(one, Delivered::Stored { .. })));
    }
    let again = store.deliver(refused(2, &[ANN])).await.unwrap();
    assert!(matches!(again[..], [Delivered::Again { .. }]), "{again:?}");

    assert_eq!(store.usage(ANN).await.unwrap().messages, 2);
    assert_eq!(store.usage(BEN).await.unwrap(), Usage::default());
    let folders = store.folders(ANN).await.unwrap();
    let paths: Vec<&str> = folders.iter().map(|folder| folder.path.as_str()).collect();
    assert_eq!(paths, ["Drafts", "Inbox", "Rejects", "Sent", "Spam", "Trash"]);
    assert_eq!(store.folder(ANN, &own).await.unwrap().unwrap().messages, 1);
    let messages = store.rejects(ANN).await.unwrap();
    assert_eq!(messages.len(), 3);
    for (number, one) in (1..).zip(&messages) {
        assert_eq!(store.read(ANN, one.folder, one.uid).await.unwrap(), message(number));
    }
    let (folder, first) = (messages[0].folder, [messages[0].uid]);
    store.flag(ANN, folder, &first, Flags::SEEN, Flags::default()).await.unwrap();
    assert_sound(store).await;

    let path = FolderPath::from(Purpose::Rejects);
    let refused = store.delete_folder(ANN, &path).await;
    assert!(matches!(refused, Err(StoreError::Permanent(_))), "{refused:?}");
    let refused = store.rename_folder(ANN, &path, &own).await;
    assert!(matches!(refused, Err(StoreError::Permanent(_))), "{refused:?}");
    let refused = store.rename_folder(ANN, &own, &path).await;
    assert!(matches!(refused, Err(StoreError::Path { .. })), "{refused:?}");
    store.clear(ANN).await.unwrap();
    assert_eq!((kept(store, ANN).await.len(), kept(store, BEN).await.len()), (0, 3));
    assert_sound(store).await;
}

async fn it_is_restored_into_the_inbox_as_far_as_there_is_room(database: Database) {
    let store = &open(database.location()).await;
    assert_eq!(store.restore(ANN, &[1], None).await.unwrap(), [], "there is nothing");
    for number in 1..4 {
        store.deliver(refused(number, &[ANN])).await.unwrap();
    }
    let at = kept(store, ANN).await;
    let room = Some(2 * message(0).len() as u64);
    let full = store.restore(ANN, &at, room).await;
    assert!(matches!(full, Err(StoreError::OverQuota)), "{full:?}");
    assert_eq!((kept(store, ANN).await, store.usage(ANN).await.unwrap().messages), (at.clone(), 0));

    let (from, to): (Vec<u32>, Vec<u32>) =
        store.restore(ANN, &at[..2], room).await.unwrap().into_iter().unzip();
    assert_eq!(from, at[..2]);
    let inbox = store.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    assert_eq!((inbox.messages, inbox.unseen), (2, 2));
    assert_eq!(uids(store, ANN, inbox.id).await, to);
    for (number, uid) in (1..).zip(&to) {
        assert_eq!(store.read(ANN, inbox.id, *uid).await.unwrap(), message(number));
    }
    assert_eq!(kept(store, ANN).await, at[2..]);
    assert_sound(store).await;
    let full = store.restore(ANN, &at, room).await;
    assert!(matches!(full, Err(StoreError::OverQuota)), "{full:?}");
    assert_eq!(store.restore(ANN, &at[..2], room).await.unwrap(), [], "they are there already");
    let again = store.deliver(refused(1, &[ANN])).await.unwrap();
    assert_eq!(again, [Delivered::Again { folder: inbox.id, uid: to[0] }]);
    store.expunge(ANN, inbox.id, &to).await.unwrap();
    assert_eq!(store.usage(ANN).await.unwrap(), Usage::default());
    assert_sound(store).await;
}

async fn the_oldest_go_when_there_is_too_much(database: Database) {
    let store = &open(database.location()).await;
    let most = MOST as usize;
    let deliveries = (0..most).map(|number| {
        let store = store.clone();
        tokio::spawn(async move { store.deliver(refused(number, &[ANN])).await.unwrap() })
    });
    for delivery in deliveries.collect::<Vec<_>>() {
        delivery.await.unwrap();
    }
    assert_eq!(store.trim_rejects(ANN).await.unwrap(), 0, "there may be so many");
    store.deliver(refused(most, &[ANN])).await.unwrap();
    let before = kept(store, ANN).await;
    let removed = store.trim_rejects(ANN).await.unwrap();
    assert_eq!((removed, kept(store, ANN).await), (51, before[51..].to_vec()));
    assert_eq!(store.trim_rejects(BEN).await.unwrap(), 0, "he has none");

    for (number, bytes, left) in [
        (1, 8_000_000, 1),
        (2, 8_000_000, 2),
        (3, 8_000_000, 2),
        // The last one stays, however large it is.
        (4, BYTES as usize - 1_000_000, 1),
    ] {
        let mut refused = refused(1_000 + number, &[BEN]);
        let text = format!("Subject: {number}\r\n\r\n{}\r\n", "large\r\n".repeat(bytes / 7));
        refused.raw = Bytes::from(text);
        let delivered = store.deliver(refused).await.unwrap();
        let Delivered::Stored { uid, .. } = delivered[0] else { panic!("{delivered:?}") };
        store.trim_rejects(BEN).await.unwrap();
        let there = kept(store, BEN).await;
        assert_eq!((there.len(), there.last()), (left, Some(&uid)), "{number}");
    }
    assert_sound(store).await;
}

async fn it_expires(database: Database) {
    let store = &open(database.location()).await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    store.deliver(refused(1, &[ANN, BEN])).await.unwrap();
    store.deliver(delivery(2, &[ANN])).await.unwrap();
    let at = |days: u32| now + i64::from(days) * 86_400;
    let expire =
        async |now| store.expire(Purpose::Rejects, now, None, 1_000, |_| Some(DAYS)).await.unwrap();
    assert_eq!(expire(at(DAYS) - 60).await, Expired::default());
    // Both have one body: it goes with the last of them.
    store.restore(BEN, &kept(store, BEN).await, None).await.unwrap();
    assert_eq!(expire(at(DAYS + 1)).await, Expired { removed: 1, next: None });
    assert_eq!((kept(store, ANN).await.len(), store.census().await.unwrap().unneeded), (0, 0));
    assert_eq!(store.usage(ANN).await.unwrap().messages, 1);
    let inbox = store.folder(BEN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    store.expunge(BEN, inbox.id, &uids(store, BEN, inbox.id).await).await.unwrap();
    assert_eq!(store.census().await.unwrap().unneeded, 1);
    assert_sound(store).await;
}

async fn it_moves_with_its_mailbox(database: Database) {
    let other = if database.is_postgres() { Database::postgres() } else { Database::sqlite() };
    let (from, to) = (&open(database.location()).await, &open(other.location()).await);
    for number in 0..5 {
        from.deliver(delivery(number, &[ANN])).await.unwrap();
        from.deliver(refused(10 + number, &[ANN])).await.unwrap();
    }
    let before = kept(from, ANN).await;
    from.move_account(ANN, to, FENCE, |_, _| (), async || Ok(())).await.unwrap();
    assert_eq!((kept(from, ANN).await.len(), kept(to, ANN).await), (0, before.clone()));
    assert_eq!(to.usage(ANN).await.unwrap().messages, 5);
    let restored = to.restore(ANN, &before[..1], None).await.unwrap();
    let inbox = to.folder(ANN, &Purpose::Inbox.into()).await.unwrap().unwrap();
    assert_eq!(to.read(ANN, inbox.id, restored[0].1).await.unwrap(), message(10));
    assert_eq!(to.usage(ANN).await.unwrap().messages, 6);
    assert_sound(from).await;
    assert_sound(to).await;
}
