//! What is refused while its sender is connected, and the copies of it.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use muralla_mail::perimeter::{Arrival, Judgement, Perimeter, Placement, Refusal};
use muralla_mail::tools::{Mailboxes, rejects};
use muralla_mail_directory::{AccountEntry, ShardId};
use muralla_mail_envelope::{EnhancedCode, Reply};
use muralla_mail_queue::{Filter, State};
use muralla_mail_store::{Account, Purpose};
use muralla_test_database::on_both_engines;

use crate::database::Database;
use crate::house::{House, PASSWORD, config, name};
use crate::talk::{Talk, until};

/// A filter that refuses for whom the subject says: `refuse ann`, or `danger everybody`.
struct Choosy;

impl Perimeter for Choosy {
    fn judge<'a>(&'a self, arrival: Arrival<'a>) -> BoxFuture<'a, Judgement> {
        let text = String::from_utf8_lossy(arrival.message);
        let subject = text.lines().find_map(|line| line.strip_prefix("Subject: "));
        let (word, whom) = subject.and_then(|subject| subject.split_once(' ')).unwrap();
        let recipients = arrival.envelope.recipients.iter();
        let placements = recipients.map(|recipient| {
            let meant = whom == "everybody" || recipient.address.local.as_str() == whom;
            (!meant).then_some(Placement::Inbox)
        });
        let judgement = Judgement::Refuse(Refusal {
            reply: Reply::new(
                550,
                Some(EnhancedCode::new(5, 7, 1)),
                "It looks like spam: call 555 0100",
            ),
            keep: word == "refuse",
            head: "X-Judged: yes\r\n".into(),
            placements: placements.collect(),
        });
        async { judgement }.boxed()
    }
}

const BOTH: [&str; 2] = ["ann@isp.example", "bob@isp.example"];

async fn start(database: &Database) -> House {
    let config = config(&database.location, database.folder());
    House::start_with(config, Arc::new(Choosy)).await
}

/// With users, and with traces, which are of the queue's database.
async fn furnished(database: &Database) -> House {
    let house = start(database).await;
    house.furnish().await;
    house.role.queue().await.unwrap();
    house
}

/// The last reply.
async fn send(house: &House, to: &[&str], message: &str) -> String {
    let mut talk = Talk::smtp(house.at("mx")).await;
    talk.mail("x@example.org", to, message).await.pop().unwrap()
}

/// What is in somebody's Rejects.
async fn kept(house: &House, user: &str) -> Vec<String> {
    let store = house.role.store(ShardId::MAIN).await.unwrap();
    let account = Account(house.account(user).0);
    let mut texts = Vec::new();
    for one in store.rejects(account).await.unwrap() {
        let message = store.read(account, one.folder, one.uid).await.unwrap();
        texts.push(String::from_utf8(message.to_vec()).unwrap());
    }
    texts
}

/// Kinds of what happened, with words.
async fn life(house: &House, what: &str) -> Vec<(String, String)> {
    let life = house.role.trace(what).await.unwrap();
    life.into_iter().map(|event| (event.kind, event.text)).collect()
}

async fn what_all_refuse_is_in_rejects_and_can_be_restored(database: Database) {
    let house = furnished(&database).await;
    let text = "Message-ID: <one@example.org>\r\nX-Muralla-Reject: no\r\nSubject: refuse everybody\r\n\r\nBuy!";
    // Whoever tries again has no second copy.
    for _ in 0..2 {
        let reply = send(&house, &BOTH, text).await;
        assert!(reply.starts_with("550 5.7.1 It looks like spam: call 555 0100"), "{reply}");
    }
    for user in BOTH {
        let kept = kept(&house, user).await;
        assert_eq!(kept.len(), 1, "{kept:?}");
        let mut lines = kept[0].lines();
        assert_eq!(lines.next(), Some("Return-Path: <x@example.org>"));
        assert!(lines.next().unwrap().starts_with("X-Muralla-Reject: "), "{}", kept[0]);
        assert!(kept[0].contains("\r\nX-Judged: yes\r\nReceived: from client.example.org"));
        assert!(kept[0].ends_with(&format!("{text}\r\n")), "{}", kept[0]);
        assert!(house.inbox(user).await.is_empty());
    }
    let mut talk = Talk::pop3(house.at("pop3"), "ann@isp.example", PASSWORD).await;
    assert_eq!(talk.ask("STAT").await, "+OK 0 0");
    talk.ask("QUIT").await;
    let counts = house.role.status().mx.unwrap().counts;
    assert_eq!((counts.accepted, counts.refused, counts.unkept), (0, 2, 0));
    assert!(counts.kept >= 2, "{counts:?}");
    let told = life(&house, "ann@isp.example").await;
    assert!(told.iter().all(|(kind, text)| {
        kind == "filtered" && text.ends_with("call 555 0100; a copy is in Rejects")
    }));
    house.role.stop().await;

    let house = start(&database).await;
    house.role.queue().await.unwrap();
    assert_eq!(kept(&house, "bob@isp.example").await.len(), 1);
    let config = config(&database.location, database.folder());
    let mailboxes = Mailboxes::open(&config).await.unwrap();
    let (ann, bob) = (name("ann@isp.example"), name("bob@isp.example"));
    let listed = rejects::list(&mailboxes.of(&ann).await.unwrap()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].subject, "refuse everybody");
    assert_eq!(listed[0].reason, "550 5.7.1 It looks like spam: call 555 0100");
    let number = listed[0].number;
    let read = rejects::read(&mailboxes.of(&ann).await.unwrap(), &ann, number).await.unwrap();
    assert!(read.ends_with(b"\r\n\r\nBuy!\r\n"));
    let wrong = rejects::restore(&mailboxes, &ann, Some(&[number, 1])).await.unwrap_err();
    assert!(wrong.to_string().contains("muralla mail rejects list ann@isp.example"), "{wrong}");
    assert!(house.inbox("ann@isp.example").await.is_empty());
    let restored = rejects::restore(&mailboxes, &ann, Some(&[number])).await.unwrap();
    assert!(restored.len() == 1 && restored[0].traced, "{restored:?}");
    let all = rejects::restore(&mailboxes, &bob, None).await.unwrap();
    assert_eq!(all.len(), 1);
    assert!(rejects::restore(&mailboxes, &bob, None).await.unwrap().is_empty());
    mailboxes.close().await;
    for user in BOTH {
        assert!(kept(&house, user).await.is_empty());
        let inbox = house.inbox(user).await;
        assert!(inbox.len() == 1 && inbox[0].ends_with("Buy!\r\n"), "{inbox:?}");
    }
    let mut talk = Talk::pop3(house.at("pop3"), "ann@isp.example", PASSWORD).await;
    assert!(talk.ask("STAT").await.starts_with("+OK 1 "));
    talk.ask("QUIT").await;
    let told = life(&house, listed[0].id.as_deref().unwrap()).await;
    let kinds: Vec<&str> = told.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "filtered").count(), 2, "{told:?}");
    assert!(kinds.contains(&"released"), "{told:?}");
    house.role.stop().await;
}

async fn what_one_refuses_others_have(database: Database) {
    let house = furnished(&database).await;
    let reply = send(&house, &BOTH, "Subject: refuse ann\r\n\r\nBuy!").await;
    assert!(reply.starts_with("250 "), "{reply}");
    let inbox = house.inbox("bob@isp.example").await;
    assert!(inbox.len() == 1 && inbox[0].contains("X-Judged: yes\r\n"), "{inbox:?}");
    assert!(!inbox[0].contains("X-Muralla-Reject"), "{}", inbox[0]);
    let copies = kept(&house, "ann@isp.example").await;
    assert!(copies.len() == 1 && copies[0].contains("\r\nX-Muralla-Reject: "), "{copies:?}");
    assert!(!copies[0].contains("bob"), "she does not hear of others: {}", copies[0]);
    assert!(house.inbox("ann@isp.example").await.is_empty());
    assert!(kept(&house, "bob@isp.example").await.is_empty());
    for (user, kind) in [("ann@isp.example", "filtered"), ("bob@isp.example", "accepted")] {
        let told: Vec<_> = house.role.trace(user).await.unwrap();
        let told = told.iter().filter(|event| event.recipient.as_deref() == Some(user));
        let kinds: Vec<&str> = told.map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, [kind], "{user}");
    }
    // Nobody is told of a failure.
    let queue = house.role.queue().await.unwrap();
    assert!(queue.list(&Filter::default(), None, 10, 0).await.unwrap().is_empty());

    // She gets it under another name: then she needs no copy.
    let to = ["ann@isp.example", "all@isp.example"];
    let reply = send(&house, &to, "Subject: refuse ann\r\n\r\nBuy more!").await;
    assert!(reply.starts_with("250 "), "{reply}");
    let inbox = house.inbox("ann@isp.example").await;
    assert!(inbox.len() == 1 && inbox[0].ends_with("Buy more!\r\n"), "{inbox:?}");
    assert_eq!(kept(&house, "ann@isp.example").await.len(), 1);

    // He has no mailbox here that a copy could be in: it goes where his mail goes, as others have it.
    let to = ["carl@isp.example", "bob@isp.example"];
    let reply = send(&house, &to, "Subject: refuse carl\r\n\r\nBuy!").await;
    assert!(reply.starts_with("250 "), "{reply}");
    let queued = queue.list(&Filter::default(), None, 10, 0).await.unwrap();
    assert!(queued.len() == 1 && queued[0].recipient == "carl@elsewhere.example", "{queued:?}");
    // Alone he is spared.
    let reply = send(&house, &to[..1], "Subject: refuse carl\r\n\r\nBuy!").await;
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    assert_eq!(queue.list(&Filter::default(), None, 10, 0).await.unwrap().len(), 1);
    house.role.stop().await;
}

async fn what_is_dangerous_is_in_no_rejects(database: Database) {
    let house = furnished(&database).await;
    let reply = send(&house, &BOTH, "Subject: danger everybody\r\n\r\nRun me!").await;
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    for user in BOTH {
        assert!(kept(&house, user).await.is_empty() && house.inbox(user).await.is_empty());
    }
    let told = life(&house, "ann@isp.example").await;
    assert!(!told.is_empty() && told.iter().all(|(kind, _)| kind == "filtered"), "{told:?}");
    assert!(!told.iter().any(|(_, text)| text.contains("Rejects")), "{told:?}");
    // One can't be refused alone: it is neither his nor lost.
    let reply = send(&house, &BOTH, "Subject: danger ann\r\n\r\nRun me!").await;
    assert!(reply.starts_with("250 "), "{reply}");
    assert_eq!(house.inbox("bob@isp.example").await.len(), 1);
    assert!(house.inbox("ann@isp.example").await.is_empty());
    assert!(kept(&house, "ann@isp.example").await.is_empty());
    let queue = house.role.queue().await.unwrap();
    let held = queue.list(&Filter::default(), None, 10, 0).await.unwrap();
    assert!(held.len() == 1 && held[0].state == State::Held, "{held:?}");
    assert_eq!(held[0].recipient, "ann@isp.example");
    house.role.stop().await;
}

async fn a_full_mailbox_has_copies_and_no_room_for_them(database: Database) {
    let house = furnished(&database).await;
    let mut small = AccountEntry::new(name("small@isp.example"));
    let registry = house.role.directory().registry();
    let config = config(&database.location, database.folder());
    let text = format!("Subject: refuse everybody\r\n\r\n{}", "Buy!\r\n".repeat(500));
    for (quota, fits) in [(1_000, false), (100_000, true)] {
        small.quota_bytes = Some(quota);
        registry.put_account(&small).await.unwrap();
        house.role.directory().catch_up().await.unwrap();
        let reply = send(&house, &["small@isp.example"], &text).await;
        assert!(reply.starts_with("550 5.7.1"), "{reply}");
        assert_eq!(kept(&house, "small@isp.example").await.len(), 1);
        let mailboxes = Mailboxes::open(&config).await.unwrap();
        let restored = rejects::restore(&mailboxes, &small.name, None).await;
        mailboxes.close().await;
        match restored {
            Ok(restored) => assert!(fits && restored.len() == 1, "{restored:?}"),
            Err(error) => assert!(!fits && error.to_string().contains("no room"), "{error}"),
        }
        let there = (
            kept(&house, "small@isp.example").await.len(),
            house.inbox("small@isp.example").await.len(),
        );
        assert_eq!(there, if fits { (0, 1) } else { (1, 0) });
    }
    house.role.stop().await;
}

/// Where copies can't be kept, the refusal stands; and what others have comes to nobody as a failure.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_store_nothing_is_kept_and_nothing_lost() {
    let database = Database::sqlite();
    let packs = database.folder().join("packs");
    let aside = database.folder().join("aside");
    let house = furnished(&database).await;
    // A new process, which has no file of packs open yet.
    house.role.stop().await;
    let _ = std::fs::rename(&packs, &aside);
    std::fs::write(&packs, "in the way").unwrap();
    let house = start(&database).await;
    let reply = send(&house, &BOTH, "Subject: refuse everybody\r\n\r\nBuy!").await;
    assert!(reply.starts_with("550 5.7.1"), "{reply}");
    assert_eq!(house.role.status().spool.messages, 0);
    let reply = send(&house, &BOTH, "Subject: refuse ann\r\n\r\nBuy!").await;
    assert!(reply.starts_with("250 "), "{reply}");
    let status = house.role.status();
    let counts = status.mx.unwrap().counts;
    assert_eq!((status.spool.messages, counts.kept, counts.unkept), (1, 0, 3));
    std::fs::remove_file(&packs).unwrap();
    let _ = std::fs::rename(&aside, &packs);
    until("the spool is empty", || async { house.role.status().spool.messages == 0 }).await;
    assert_eq!(house.inbox("bob@isp.example").await.len(), 1);
    let spam = house.mail("ann@isp.example", Purpose::Spam.path()).await;
    assert!(spam.len() == 1 && !spam[0].contains("X-Muralla-Reject"), "{spam:?}");
    assert!(kept(&house, "ann@isp.example").await.is_empty());
    house.role.stop().await;
}

on_both_engines!(
    what_all_refuse_is_in_rejects_and_can_be_restored,
    what_one_refuses_others_have,
    what_is_dangerous_is_in_no_rejects,
    a_full_mailbox_has_copies_and_no_room_for_them,
);
