//! Starts, stops and reloads, as users see them: not at all.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use muralla_mail::config::WhenFull;
use muralla_mail::{MailConfig, Role};

use crate::database::Database;
use crate::house::{House, PASSWORD, config, config_of_all};
use crate::talk::{Talk, until};

/// Copies of the sockets, as systemd keeps them.
fn kept(role: &Role) -> Vec<(String, OwnedFd)> {
    let sockets = role.descriptors().into_iter();
    sockets.map(|(name, socket)| (name, socket.try_clone_to_owned().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_is_turned_away_during_an_upgrade() {
    let database = Database::sqlite();
    let house = House::of(&database).await;
    let (mx, sockets) = (house.at("mx"), kept(&house.role));
    // He is in the middle of something, and finishes it.
    let mut busy = Talk::smtp(mx).await;
    for command in ["MAIL FROM:<x@example.org>", "RCPT TO:<ann@isp.example>"] {
        assert!(busy.say(command).await.starts_with("250 "));
    }
    assert!(busy.say("DATA").await.starts_with("354 "));
    // He does nothing, and is sent away.
    let mut idle = Talk::smtp(mx).await;
    let role = Arc::new(house.role);
    let stopping = tokio::spawn({
        let role = Arc::clone(&role);
        async move { role.stop().await }
    });
    assert!(idle.hear().await.starts_with("421 4.3.2"));
    // He comes while nobody is there.
    let waiting = tokio::spawn(async move {
        let mut talk = Talk::smtp(mx).await;
        talk.mail("x@example.org", &["bob@isp.example"], "Subject: two\r\n\r\nx").await
    });
    busy.send("Subject: one\r\n\r\nx\r\n.\r\n").await;
    assert!(busy.hear().await.starts_with("250 "));
    stopping.await.unwrap();
    role.stop().await;

    let around = house.around.clone();
    let new = config(&database.location, database.folder());
    let role = Role::start(new, sockets, around).await.unwrap();
    let house = House { role, names: house.names, seen: house.seen, around: house.around };
    assert_eq!(house.at("mx"), mx);
    let replies = waiting.await.unwrap();
    assert!(replies[2].starts_with("250 "), "{replies:?}");
    assert_eq!(house.inbox("ann@isp.example").await.len(), 1);
    assert_eq!(house.inbox("bob@isp.example").await.len(), 1);
    house.role.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reload_changes_what_it_can_and_says_what_it_can_not() {
    let database = Database::sqlite();
    let first = config_of_all(&database.location, database.folder());
    let house = House::start(first.clone()).await;
    house.furnish().await;
    let mut talk = Talk::smtp(house.at("mx")).await;

    let mut new = first.clone();
    new.mx.as_mut().unwrap().largest_message = 1000;
    new.mx.as_mut().unwrap().when_full = WhenFull::Refuse;
    new.spool.messages = 5;
    let remarks = house.role.reload(new).unwrap();
    assert!(remarks.iter().any(|remark| remark.contains("[mail.spool]")), "{remarks:?}");
    // Who is connected has what he was told.
    let large = format!("Subject: large\r\n\r\n{}", "line\r\n".repeat(500));
    let replies = talk.mail("x@example.org", &["ann@isp.example"], &large).await;
    assert!(replies[2].starts_with("250 "), "{replies:?}");
    let mut talk = Talk::smtp(house.at("mx")).await;
    let replies = talk.mail("x@example.org", &["ann@isp.example"], &large).await;
    assert!(replies[2].starts_with("552 5.3.4"), "{replies:?}");

    let mut wrong =
        MailConfig { mx: None, submission: None, outgoing: None, pop3: None, ..first.clone() };
    assert!(house.role.reload(wrong.clone()).is_err());
    wrong = first.clone();
    wrong.mx.as_mut().unwrap().hops = 1;
    assert!(house.role.reload(wrong).is_err());

    // Certificates that can't be read stay what they were.
    std::fs::write(&first.certificates[0].chain, "nonsense").unwrap();
    let remarks = house.role.reload(first).unwrap();
    assert!(remarks.iter().any(|remark| remark.contains("stay what they were")), "{remarks:?}");
    let mut talk = Talk::smtp(house.at("mx")).await;
    assert!(talk.say("STARTTLS").await.starts_with("220 "));
    house.role.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_leaves_readers_to_their_end() {
    let database = Database::sqlite();
    let house = House::of(&database).await;
    let mut talk = Talk::smtp(house.at("mx")).await;
    talk.mail("x@example.org", &["ann@isp.example"], "Subject: one\r\n\r\nx").await;
    drop(talk);
    let mut reader = Talk::pop3(house.at("pop3"), "ann@isp.example", PASSWORD).await;
    assert!(reader.ask("DELE 1").await.starts_with("+OK"));
    let role = Arc::new(house.role);
    let stopping = tokio::spawn({
        let role = Arc::clone(&role);
        async move { role.stop().await }
    });
    let pop3 = role.addresses().iter().find(|(name, _)| *name == "pop3").unwrap().1;
    until("nobody is let in any more", || async {
        let mut late = Talk::to(pop3).await;
        // The socket is still there, for who comes next; nobody answers on it.
        tokio::time::timeout(std::time::Duration::from_millis(100), late.line()).await.is_err()
    })
    .await;
    // A session that is idle may be ended; what it deleted without QUIT stays then.
    let answer = reader.ask("QUIT").await;
    stopping.await.unwrap();
    let house = House::start(config(&database.location, database.folder())).await;
    let left = house.inbox("ann@isp.example").await.len();
    assert_eq!(left, usize::from(!answer.starts_with("+OK")), "{answer}");
    house.role.stop().await;
}
