//! The database goes away and comes back.

use crate::database::Database;
use crate::house::{House, PASSWORD, config, config_of_all};
use crate::talk::{Talk, until};

fn message(number: usize) -> String {
    format!("Subject: number {number}\r\n\r\nx")
}

async fn spooled(house: &House) -> u64 {
    house.role.status().spool.messages
}

/// Known recipients get 250, and what they get is in their mailboxes once when the database is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mail_waits_on_the_local_disk() {
    let database = Database::postgres();
    let house = House::of(&database).await;
    let mut talk = Talk::smtp(house.at("mx")).await;
    let replies = talk.mail("x@example.org", &["ann@isp.example"], &message(0)).await;
    assert!(replies[2].starts_with("250 "), "{replies:?}");
    let mut logged_in = Talk::pop3(house.at("pop3"), "ann@isp.example", PASSWORD).await;

    database.kill();
    for number in 1..6 {
        let to = ["ann@isp.example", "all@isp.example", "carl@isp.example"];
        let replies = talk.mail("x@example.org", &to, &message(number)).await;
        assert!(replies[4].starts_with("250 "), "{replies:?}");
    }
    assert_eq!(spooled(&house).await, 5);
    assert!(!house.role.status().troubles.is_empty());
    // Who wants to read is told that it is for now.
    let answer = logged_in.ask("RETR 1").await;
    assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
    let mut talk = Talk::to(house.at("pop3")).await;
    talk.line().await.unwrap();
    talk.ask("USER ann@isp.example").await;
    let answer = talk.ask(&format!("PASS {PASSWORD}")).await;
    assert!(answer.starts_with("-ERR [SYS/TEMP]"), "{answer}");
    assert!(house.role.status().pop3.unwrap().counts.unavailable > 0);

    database.start();
    until("the spool is empty", || async { spooled(&house).await == 0 }).await;
    for (user, count) in [("ann@isp.example", 6), ("bob@isp.example", 5)] {
        let mut subjects: Vec<String> = house
            .inbox(user)
            .await
            .iter()
            .map(|text| text.lines().find(|line| line.starts_with("Subject")).unwrap().to_owned())
            .collect();
        subjects.sort();
        let expected: Vec<String> =
            (6 - count..6).map(|number| format!("Subject: number {number}")).collect();
        assert_eq!(subjects, expected, "{user}");
    }
    let queue = house.role.queue().await.unwrap();
    let queued = queue.list(&muralla_mail_queue::Filter::default(), None, 100, 0).await.unwrap();
    assert_eq!(queued.len(), 5, "carl's are forwarded");
    house.role.stop().await;
}

/// A start without a database: addresses are known from the copy.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_start_while_the_database_is_away() {
    let database = Database::postgres();
    let house = House::of(&database).await;
    house.role.directory().write_copy().await.unwrap();
    house.role.stop().await;
    database.kill();

    let house = House::start(config(&database.location, database.folder())).await;
    let mut talk = Talk::smtp(house.at("mx")).await;
    let replies = talk.mail("x@example.org", &["ann@isp.example"], &message(1)).await;
    assert!(replies[2].starts_with("250 "), "{replies:?}");
    let replies = talk.mail("x@example.org", &["new@isp.example"], &message(2)).await;
    assert!(replies[1].starts_with("450 4.1.1"), "he may have been entered since: {replies:?}");
    house.role.stop().await;

    // What waits is found by the next start.
    database.start();
    let house = House::start(config(&database.location, database.folder())).await;
    until("the spool is empty", || async { spooled(&house).await == 0 }).await;
    assert_eq!(house.inbox("ann@isp.example").await.len(), 1);
    house.role.stop().await;
}

/// No database, and no room for what waits: come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_room_in_the_spool_is_no_250() {
    let database = Database::postgres();
    let mut small = config(&database.location, database.folder());
    small.spool.messages = 2;
    let house = House::start(small).await;
    house.furnish().await;
    let mut talk = Talk::smtp(house.at("mx")).await;
    talk.mail("x@example.org", &["ann@isp.example"], &message(0)).await;
    database.kill();
    for (number, code) in [(1, "250 "), (2, "250 "), (3, "452 4.3.1")] {
        let replies = talk.mail("x@example.org", &["ann@isp.example"], &message(number)).await;
        assert!(replies[2].starts_with(code), "{number}: {replies:?}");
    }
    database.start();
    until("the spool is empty", || async { spooled(&house).await == 0 }).await;
    assert_eq!(house.inbox("ann@isp.example").await.len(), 3);
    house.role.stop().await;
}

/// The packs can't be written to: mail waits, and none is lost or there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn packs_that_are_away() {
    let database = Database::sqlite();
    let packs = database.folder().join("packs");
    let aside = database.folder().join("aside");
    let house = House::start(config(&database.location, database.folder())).await;
    house.furnish().await;
    // A new process, which has no file of packs open yet.
    house.role.stop().await;
    let _ = std::fs::rename(&packs, &aside);
    std::fs::write(&packs, "in the way").unwrap();
    let house = House::start(config(&database.location, database.folder())).await;
    let mut talk = Talk::smtp(house.at("mx")).await;
    let replies = talk.mail("x@example.org", &["ann@isp.example"], &message(1)).await;
    assert!(replies[2].starts_with("250 "), "{replies:?}");
    assert_eq!(spooled(&house).await, 1);
    std::fs::remove_file(&packs).unwrap();
    let _ = std::fs::rename(&aside, &packs);
    until("the spool is empty", || async { spooled(&house).await == 0 }).await;
    assert_eq!(house.inbox("ann@isp.example").await.len(), 1);
    house.role.stop().await;
}

/// Users can submit, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_and_a_start_lose_nothing_that_waits() {
    let database = Database::postgres();
    let house = House::start(config_of_all(&database.location, database.folder())).await;
    house.furnish().await;
    house.role.directory().write_copy().await.unwrap();
    let mut talk = Talk::smtp(house.at("mx")).await;
    talk.mail("x@example.org", &["ann@isp.example"], &message(0)).await;
    database.kill();
    talk.mail("x@example.org", &["ann@isp.example"], &message(1)).await;
    house.role.stop().await;
    let house = House::start(config_of_all(&database.location, database.folder())).await;
    assert_eq!(spooled(&house).await, 1);
    database.start();
    until("the spool is empty", || async { spooled(&house).await == 0 }).await;
    assert_eq!(house.inbox("ann@isp.example").await.len(), 2);
    house.role.stop().await;
}
