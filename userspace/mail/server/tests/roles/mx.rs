//! Mail from other servers.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use muralla_mail::config::WhenFull;
use muralla_mail::perimeter::{Arrival, Judgement, Perimeter, Placement, Refusal};
use muralla_mail::sightings::Conduct;
use muralla_mail_directory::{AccountEntry, Backend, BackendEntry};
use muralla_mail_envelope::{EnhancedCode, Keys, Reply, srs};
use muralla_mail_queue::{Filter, State};
use muralla_mail_store::{Account, FolderPath};
use muralla_test_database::on_both_engines;

use crate::database::Database;
use crate::house::{House, address, config, name};
use crate::talk::{Talk, until};

const MESSAGE: &str = "From: x@example.org\r\nSubject: hello\r\n\r\nHow are you?";

async fn mail_is_in_the_mailbox_when_it_is_acknowledged(database: Database) {
    let house = House::of(&database).await;
    let mut talk = Talk::smtp(house.at("mx")).await;
    let replies =
        talk.mail("x@example.org", &["Ann@ISP.example", "bob@isp.example"], MESSAGE).await;
    assert!(replies.iter().all(|reply| reply.starts_with("250 ")), "{replies:?}");
    for user in ["ann@isp.example", "bob@isp.example"] {
        let inbox = house.inbox(user).await;
        assert_eq!(inbox.len(), 1);
        let mut lines = inbox[0].lines();
        assert_eq!(lines.next(), Some("Return-Path: <x@example.org>"));
        assert!(
            lines.next().unwrap().starts_with("Received: from client.example.org ([127.0.0.1])")
        );
        assert!(inbox[0].ends_with("Subject: hello\r\n\r\nHow are you?\r\n"), "{}", inbox[0]);
    }
    let status = house.role.status();
    assert_eq!(status.mx.unwrap().counts.accepted, 1);
    assert_eq!((status.post.taken, status.post.spooled), (1, 0));
    house.role.stop().await;
}

async fn who_gets_mail_and_who_does_not(database: Database) {
    let house = House::of(&database).await;
    house.role.queue().await.unwrap();
    let mut talk = Talk::smtp(house.at("mx")).await;
    talk.say("MAIL FROM:<x@example.org>").await;
    for (to, reply) in [
        ("ann@isp.example", "250 2.1.5"),
        ("ann+lists@isp.example", "250 2.1.5"),
        ("all@isp.example", "250 2.1.5"),
        ("carl@isp.example", "250 2.1.5"),
        ("nobody@isp.example", "550 5.1.1"),
        ("dora@isp.example", "550 5.2.1"),
        ("x@example.org", "550 5.7.1"),
        ("ann%example.org@isp.example", "550 5.1.1"),
        ("SRS0=AAAAAA=AA=example.org=x@mx.isp.example", "550 5.1.1"),
    ] {
        let said = talk.say(&format!("RCPT TO:<{to}>")).await;
        assert!(said.starts_with(reply), "{to}: {said}");
    }
    talk.say("QUIT").await;
    drop(talk);
    let conducts = || async {
        let seen = house.seen.0.lock().unwrap();
        seen.iter().map(|sighting| (sighting.conduct, sighting.count)).collect::<Vec<_>>()
    };
    until("its conduct is told", || async { !conducts().await.is_empty() }).await;
    assert_eq!(conducts().await, [(Conduct::GuessedAddresses, 3), (Conduct::Relayed, 1)]);
    // Whoever asks why hears it, and who else was refused in the same transaction.
    let life = house.role.trace("nobody@isp.example").await.unwrap();
    assert_eq!(life.len(), 5, "{life:?}");
    assert_eq!(
        (life[0].kind.as_str(), life[0].sender.as_deref()),
        ("refused", Some("x@example.org"))
    );
    assert!(life[0].text.contains("[127.0.0.1]: 550 5.1.1"), "{life:?}");
    house.role.stop().await;
}

async fn an_alias_and_its_target_get_one_message(database: Database) {
    let house = House::of(&database).await;
    let mut talk = Talk::smtp(house.at("mx")).await;
    let to = ["ann@isp.example", "all@isp.example", "ann+x@isp.example"];
    assert!(talk.mail("x@example.org", &to, MESSAGE).await[4].starts_with("250 "));
    assert_eq!(house.inbox("ann@isp.example").await.len(), 1);
    assert_eq!(house.inbox("bob@isp.example").await.len(), 1);
    house.role.stop().await;
}

async fn a_detail_finds_its_folder(database: Database) {
    let house = House::of(&database).await;
    let store = house.role.store(muralla_mail_directory::ShardId::MAIN).await.unwrap();
    let ann = Account(house.account("ann@isp.example").0);
    store.create_folder(ann, &FolderPath::parse("Lists").unwrap()).await.unwrap();
    let mut talk = Talk::smtp(house.at("mx")).await;
    for to in ["ann+Lists@isp.example", "ann+none@isp.example"] {
        assert!(talk.mail("", &[to], MESSAGE).await[2].starts_with("250 "));
    }
    assert_eq!(house.mail("ann@isp.example", "Lists").await.len(), 1);
    assert_eq!(house.inbox("ann@isp.example").await.len(), 1);
    house.role.stop().await;
}

async fn what_goes_elsewhere_is_queued(database: Database) {
    let house = House::of(&database).await;
    let registry = house.role.directory().registry();
    let lmtp = Backend::Lmtp { host: "127.0.0.1".into(), port: 24 };
    let old = BackendEntry { id: None, name: "old".into(), backend: lmtp, note: None };
    let id = registry.put_backend(&old).await.unwrap();
    let mut both = AccountEntry::new(name("both@isp.example"));
    both.backends = vec!["store".into(), "old".into()];
    registry.put_account(&both).await.unwrap();
    house.role.directory().catch_up().await.unwrap();

    let mut talk = Talk::smtp(house.at("mx")).await;
    let to = ["carl@isp.example", "both@isp.example"];
    let replies = talk.mail("x@example.org", &to, MESSAGE).await;
    assert!(replies[3].starts_with("250 "), "{replies:?}");
    assert_eq!(house.inbox("both@isp.example").await.len(), 1);
    assert!(house.inbox("carl@isp.example").await.is_empty());
    let queue = house.role.queue().await.unwrap();
    let mut queued: Vec<(String, String, String)> = queue
        .list(&Filter::default(), None, 10, 0)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| (entry.sender, entry.recipient, entry.destination))
        .collect();
    queued.sort();
    assert_eq!(queued.len(), 2, "{queued:?}");
    let (sender, recipient, destination) = &queued[0];
    assert!(sender.starts_with("srs0=") && sender.ends_with("@mx.isp.example"), "{sender}");
    assert_eq!(
        (recipient.as_str(), destination.as_str()),
        ("carl@elsewhere.example", "elsewhere.example")
    );
    let kept = format!("backend/{id}");
    assert_eq!(queued[1], ("x@example.org".into(), "both@isp.example".into(), kept));

    // A failure of what went on comes back the same way.
    let keys = Keys::of_secrets(&["a secret that is long enough"]).unwrap();
    let forwarding = muralla_mail_envelope::Domain::parse("mx.isp.example").unwrap();
    let days = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let today = i64::try_from(days.as_secs() / 86_400).unwrap();
    let back = srs::rewrite(&address("x@example.org"), &forwarding, &keys, today).unwrap();
    let mut talk = Talk::smtp(house.at("mx")).await;
    let replies = talk.mail("spam@example.net", &[&back.to_string()], MESSAGE).await;
    assert!(replies[1].starts_with("550 5.1.1"), "only failures: {replies:?}");
    let replies = talk.mail("", &[&back.to_string()], MESSAGE).await;
    assert!(replies[2].starts_with("250 "), "{replies:?}");
    let filter = Filter { recipient: Some("x@example.org".into()), ..Filter::default() };
    let bounces = queue.list(&filter, None, 10, 0).await.unwrap();
    assert_eq!(bounces.len(), 1);
    assert_eq!((bounces[0].sender.as_str(), bounces[0].destination.as_str()), ("", "example.org"));
    house.role.stop().await;
}

async fn circles_end(database: Database) {
    let house = House::of(&database).await;
    let mut talk = Talk::smtp(house.at("mx")).await;
    let hops = "Received: from a by b; now\r\n".repeat(50);
    let replies =
        talk.mail("x@example.org", &["ann@isp.example"], &format!("{hops}{MESSAGE}")).await;
    assert!(replies[2].starts_with("554 5.4.6"), "{replies:?}");
    let again = format!("Delivered-To: carl@isp.example\r\n{MESSAGE}");
    let replies = talk.mail("x@example.org", &["carl@isp.example"], &again).await;
    assert!(replies[2].starts_with("554 5.4.6"), "{replies:?}");
    // Others may have been written to by who had it first.
    let replies = talk.mail("x@example.org", &["ann@isp.example"], &again).await;
    assert!(replies[2].starts_with("250 "), "{replies:?}");
    house.role.stop().await;
}

async fn a_full_mailbox_takes_no_more(database: Database) {
    for (when_full, code) in [(WhenFull::Defer, "452 4.2.2"), (WhenFull::Refuse, "552 5.2.2")] {
        let mut config = config(&database.location, database.folder());
        config.mx.as_mut().unwrap().when_full = when_full;
        let house = House::start(config).await;
        house.furnish().await;
        let registry = house.role.directory().registry();
        let mut small = AccountEntry::new(name("small@isp.example"));
        small.quota_bytes = Some(1000);
        registry.put_account(&small).await.unwrap();
        house.role.directory().catch_up().await.unwrap();
        let store = house.role.store(muralla_mail_directory::ShardId::MAIN).await.unwrap();
        store.clear(Account(house.account("small@isp.example").0)).await.unwrap();

        let mut talk = Talk::smtp(house.at("mx")).await;
        let large = format!("{MESSAGE}{}", "\r\nmore".repeat(200));
        // Found out when it came, and known from then on.
        let replies = talk.mail("x@example.org", &["small@isp.example"], &large).await;
        assert!(replies[1].starts_with("250 ") && replies[2].starts_with(code), "{replies:?}");
        let replies = talk.mail("x@example.org", &["small@isp.example"], MESSAGE).await;
        assert!(replies[1].starts_with(code), "{replies:?}");
        house.role.stop().await;

        // What others have can't be refused for one alone.
        let house = House::start(crate::house::config(&database.location, database.folder())).await;
        let mut talk = Talk::smtp(house.at("mx")).await;
        let to = ["small@isp.example", "ann@isp.example"];
        let before = house.inbox("ann@isp.example").await.len();
        let replies = talk.mail("x@example.org", &to, &large).await;
        assert!(replies[3].starts_with("250 "), "{replies:?}");
        assert_eq!(house.inbox("small@isp.example").await.len(), 1);
        assert_eq!(house.inbox("ann@isp.example").await.len(), before + 1);
        // But once it is known, he gets none of it, in whatever company.
        let replies = talk.mail("x@example.org", &to, &large).await;
        assert!(replies[1].starts_with("452 4.2.2"), "{replies:?}");
        assert!(replies[3].starts_with("250 "), "{replies:?}");
        assert_eq!(house.inbox("small@isp.example").await.len(), 1);
        house.role.stop().await;
    }
}

/// A filter that does what the subject says.
struct Obedient;

impl Perimeter for Obedient {
    fn judge<'a>(&'a self, arrival: Arrival<'a>) -> BoxFuture<'a, Judgement> {
        let text = String::from_utf8_lossy(arrival.message).into_owned();
        let judgement = if text.contains("Subject: refuse") {
            let code = EnhancedCode::new(5, 7, 1);
            let reply = Reply::new(550, Some(code), "It looks like spam: call 555 0100");
            Judgement::Refuse(Refusal::of_all(reply))
        } else {
            let placement = match () {
                () if text.contains("Subject: spam") => Placement::Spam,
                () if text.contains("Subject: hold") => Placement::Hold,
                () => Placement::Inbox,
            };
            Judgement::Take { head: "X-Judged: yes\r\n".into(), placements: vec![placement] }
        };
        async { judgement }.boxed()
    }
}

async fn the_filter_decides_before_the_250(database: Database) {
    let config = config(&database.location, database.folder());
    let house = House::start_with(config, Arc::new(Obedient)).await;
    house.furnish().await;
    house.role.queue().await.unwrap();
    let mut talk = Talk::smtp(house.at("mx")).await;
    for (subject, reply) in [
        ("refuse", "550 5.7.1 It looks like spam"),
        ("spam", "250 "),
        ("hold", "250 "),
        ("fine", "250 "),
    ] {
        let message = format!("Subject: {subject}\r\n\r\n");
        let replies = talk.mail("x@example.org", &["ann@isp.example"], &message).await;
        assert!(replies[2].starts_with(reply), "{subject}: {replies:?}");
    }
    let inbox = house.inbox("ann@isp.example").await;
    assert!(
        inbox.len() == 1 && inbox[0].contains("X-Judged: yes\r\n") && inbox[0].contains("fine")
    );
    let spam = house.mail("ann@isp.example", "Spam").await;
    assert!(spam.len() == 1 && spam[0].contains("Subject: spam"));
    let queue = house.role.queue().await.unwrap();
    let held = queue.list(&Filter::default(), None, 10, 0).await.unwrap();
    assert!(held.len() == 1 && held[0].state == State::Held, "{held:?}");
    let life = house.role.trace("ann@isp.example").await.unwrap();
    let filtered: Vec<&str> = life
        .iter()
        .filter(|event| event.kind == "filtered")
        .map(|event| event.text.as_str())
        .collect();
    assert!(filtered.len() == 1 && filtered[0].contains("looks like spam"), "{life:?}");
    house.role.stop().await;
}

async fn lives_are_told(database: Database) {
    let house = House::of(&database).await;
    // Traces are of the queue's database, which is opened meanwhile.
    let queue = house.role.queue().await.unwrap();
    let mut talk = Talk::smtp(house.at("mx")).await;
    let message = format!("Message-ID: <one@example.org>\r\n{MESSAGE}");
    talk.mail("x@example.org", &["ann@isp.example"], &message).await;
    queue.events().flush().await;
    let asked = muralla_mail_queue::Traced::parse("<one@example.org>");
    let life = queue.events().trace(&asked).await.unwrap();
    assert_eq!(life.len(), 1, "{life:?}");
    assert_eq!(life[0].recipient.as_deref(), Some("ann@isp.example"));
    house.role.stop().await;
}

on_both_engines!(
    mail_is_in_the_mailbox_when_it_is_acknowledged,
    who_gets_mail_and_who_does_not,
    an_alias_and_its_target_get_one_message,
    a_detail_finds_its_folder,
    what_goes_elsewhere_is_queued,
    circles_end,
    a_full_mailbox_takes_no_more,
    the_filter_decides_before_the_250,
    lives_are_told,
);
