//! Mailboxes for mail programs.

use std::process::Command;

use muralla_mail::sightings::{Conduct, Service};
use muralla_mail_directory::{Protocol, Protocols};
use muralla_mail_store::{Account, FolderPath};
use muralla_test_database::on_both_engines;

use crate::database::Database;
use crate::house::{House, PASSWORD, name};
use crate::submission::send;
use crate::talk::{Talk, until};

async fn deliver(house: &House, to: &str, messages: &[&str]) {
    let mut talk = Talk::smtp(house.at("mx")).await;
    for message in messages {
        let replies = talk.mail("x@example.org", &[to], message).await;
        assert!(replies[2].starts_with("250 "), "{replies:?}");
    }
}

async fn mail_is_fetched_and_removed(database: Database) {
    let house = House::of(&database).await;
    let one = "Subject: one\r\n\r\nfirst\r\n..dots\r\n\r\nlast";
    deliver(&house, "ann@isp.example", &[one, "Subject: two\r\n\r\nx", "Subject: three\r\n\r\nx"])
        .await;
    let mut talk = Talk::pop3(house.at("pop3"), "ann@isp.example", PASSWORD).await;
    let stat = talk.ask("STAT").await;
    assert!(stat.starts_with("+OK 3 "), "{stat}");
    let ids = talk.ask_for_lines("UIDL").await;
    assert_eq!(ids.len(), 3);
    let text = talk.ask_for_lines("RETR 1").await;
    assert_eq!(text[0], "Return-Path: <x@example.org>");
    assert_eq!(&text[text.len() - 6..], ["Subject: one", "", "first", ".dots", "", "last"]);
    let top = talk.ask_for_lines("TOP 1 1").await;
    assert_eq!(&top[top.len() - 3..], ["Subject: one", "", "first"]);
    assert!(talk.ask("DELE 2").await.starts_with("+OK"));
    // What comes meanwhile is not in this session, and what is deleted goes at its end.
    deliver(&house, "ann@isp.example", &["Subject: four\r\n\r\nx"]).await;
    assert!(talk.ask("STAT").await.starts_with("+OK 2 "));
    assert_eq!(house.inbox("ann@isp.example").await.len(), 4);
    assert!(talk.ask("QUIT").await.starts_with("+OK"));
    let left = house.inbox("ann@isp.example").await;
    assert_eq!(left.len(), 3);
    assert!(!left.iter().any(|text| text.contains("Subject: two")));

    let mut talk = Talk::pop3(house.at("pop3"), "ann@isp.example", PASSWORD).await;
    let now = talk.ask_for_lines("UIDL").await;
    let id = |line: &String| line.split(' ').nth(1).unwrap().to_owned();
    assert_eq!((id(&now[0]), id(&now[1])), (id(&ids[0]), id(&ids[2])), "ids stay what they are");
    assert!(!ids.iter().map(id).any(|old| old == id(&now[2])), "and are never given again");
    house.role.stop().await;
}

async fn only_inbox_is_shown_and_empty_ones_are_empty(database: Database) {
    let house = House::of(&database).await;
    let mut talk = Talk::pop3(house.at("pop3"), "ann@isp.example", PASSWORD).await;
    assert_eq!(talk.ask("STAT").await, "+OK 0 0");
    let store = house.role.store(muralla_mail_directory::ShardId::MAIN).await.unwrap();
    let ann = Account(house.account("ann@isp.example").0);
    store.create_folder(ann, &FolderPath::parse("Lists").unwrap()).await.unwrap();
    deliver(&house, "ann+Lists@isp.example", &["Subject: list\r\n\r\nx"]).await;
    let mut talk = Talk::pop3(house.at("pop3"), "ann@isp.example", PASSWORD).await;
    assert_eq!(talk.ask("STAT").await, "+OK 0 0");
    house.role.stop().await;
}

async fn who_is_let_in(database: Database) {
    let house = House::of(&database).await;
    let registry = house.role.directory().registry();
    let device = Protocols::of(&[Protocol::Pop3]);
    let phone =
        registry.make_app_password(&name("ann@isp.example"), "phone", device, None).await.unwrap();
    let web = Protocols::of(&[Protocol::Webmail]);
    let other =
        registry.make_app_password(&name("ann@isp.example"), "web", web, None).await.unwrap();
    house.role.directory().catch_up().await.unwrap();
    for (user, password, answer) in [
        ("ann@isp.example", PASSWORD, "+OK"),
        ("Ann@ISP.example", PASSWORD, "+OK"),
        ("ann@isp.example", phone.password.reveal(), "+OK"),
        ("ann@isp.example", other.password.reveal(), "-ERR [AUTH]"),
        ("ann@isp.example", "wrong", "-ERR [AUTH]"),
        ("nobody@isp.example", PASSWORD, "-ERR [AUTH]"),
        ("dora@isp.example", PASSWORD, "-ERR [AUTH]"),
    ] {
        let mut talk = Talk::to(house.at("pop3")).await;
        let greeting = talk.line().await.unwrap();
        assert!(
            greeting.starts_with("+OK") && !greeting.contains('<'),
            "APOP is not offered: {greeting}"
        );
        talk.ask(&format!("USER {user}")).await;
        let said = talk.ask(&format!("PASS {password}")).await;
        assert!(said.starts_with(answer), "{user}: {said}");
    }
    let guessed = || async {
        let seen = house.seen.0.lock().unwrap();
        seen.iter().filter(|one| one.conduct == Conduct::GuessedPasswords).count() >= 4
    };
    until("guesses are told", guessed).await;
    let counts = house.role.status().pop3.unwrap().counts;
    assert_eq!((counts.logins, counts.refused), (3, 4));
    house.role.stop().await;
}

/// It is told to its owner, and to the wall that nobody guessed.
async fn the_right_password_of_a_disabled_account_is_no_guess(database: Database) {
    let house = House::of_all(&database).await;
    let registry = house.role.directory().registry();
    registry.set_password(&name("dora@isp.example"), PASSWORD.as_bytes()).await.unwrap();
    house.role.directory().catch_up().await.unwrap();
    for (password, answer) in
        [(PASSWORD, "-ERR [AUTH] This account"), ("wrong", "-ERR [AUTH] Wrong")]
    {
        let mut talk = Talk::to(house.at("pop3")).await;
        talk.line().await.unwrap();
        talk.ask("USER dora@isp.example").await;
        let said = talk.ask(&format!("PASS {password}")).await;
        assert!(said.starts_with(answer), "{said}");
    }
    let script = "server.login('dora@isp.example', password)\n";
    let said = send(&house, "submission", script).await.unwrap_err();
    assert!(said.contains("525") && said.contains("switched off"), "{said}");
    let ended = || async {
        let status = house.role.status();
        let told = !house.seen.0.lock().unwrap().is_empty();
        told && status.pop3.unwrap().counts.sessions == 2
            && status.submission.unwrap().counts.ended.ends.values().sum::<u64>() == 1
    };
    until("all sessions have ended", ended).await;
    let seen = house.seen.0.lock().unwrap().clone();
    let guesses: Vec<_> = seen.iter().map(|one| (one.service, one.conduct, one.count)).collect();
    assert_eq!(guesses, [(Service::Pop3, Conduct::GuessedPasswords, 1)]);
    house.role.stop().await;
}

async fn long_messages_come_in_pieces(database: Database) {
    let house = House::of(&database).await;
    let lines: Vec<String> =
        (0..40_000).map(|number| format!("line {number} of a long message")).collect();
    let message = format!("Subject: long\r\n\r\n{}", lines.join("\r\n"));
    deliver(&house, "ann@isp.example", &[&message]).await;
    let mut talk = Talk::pop3(house.at("pop3"), "ann@isp.example", PASSWORD).await;
    let text = talk.ask_for_lines("RETR 1").await;
    assert_eq!(&text[text.len() - lines.len()..], &lines[..]);
    house.role.stop().await;
}

/// As a mail program does it: python's poplib.
async fn a_program_fetches_it(database: Database) {
    let house = House::of(&database).await;
    deliver(&house, "ann@isp.example", &["Subject: one\r\n\r\nx", "Subject: two\r\n\r\ny"]).await;
    let script = "import poplib, sys\n\
        box = poplib.POP3('127.0.0.1', int(sys.argv[1]))\n\
        box.user('ann@isp.example'); box.pass_(sys.argv[2])\n\
        count, size = box.stat()\n\
        texts = [b'\\n'.join(box.retr(n + 1)[1]) for n in range(count)]\n\
        assert sum(1 for text in texts if b'Subject: ' in text) == count == 2, texts\n\
        assert len(box.uidl()[1]) == 2 and len(box.list()[1]) == 2\n\
        [box.dele(n + 1) for n in range(count)]\n\
        box.quit()\n";
    let port = house.at("pop3").port().to_string();
    let run = tokio::task::spawn_blocking(move || {
        Command::new("python3").args(["-c", script, &port, PASSWORD]).output().unwrap()
    });
    let output = run.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(house.inbox("ann@isp.example").await.is_empty());
    house.role.stop().await;
}

on_both_engines!(
    mail_is_fetched_and_removed,
    only_inbox_is_shown_and_empty_ones_are_empty,
    who_is_let_in,
    the_right_password_of_a_disabled_account_is_no_guess,
    long_messages_come_in_pieces,
    a_program_fetches_it,
);
