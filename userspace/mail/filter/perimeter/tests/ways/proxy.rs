//! The proxies: a client in front, a mail server behind.

use std::net::SocketAddr;
use std::sync::Arc;

use muralla_filter_perimeter::Config;
use muralla_filter_perimeter::proxy::{NextHop, Relay, Server};
use muralla_mail_envelope::Domain;
use muralla_smtp::client::Speaks;

use crate::common::{Caller, Store, Words, listener};

const OFFERS: &str = "PIPELINING,SIZE 5000,8BITMIME,XFORWARD NAME ADDR PROTO HELO IDENT SOURCE";

struct Between {
    address: SocketAddr,
    judge: Arc<Words>,
    server: Server,
}

impl Between {
    async fn new(speaks: Speaks, next: NextHop, change: impl FnOnce(&mut Relay)) -> Self {
        let judge = Arc::new(Words::default());
        let mut relay = Relay::new(speaks, Domain::parse("filter.example").unwrap(), next);
        change(&mut relay);
        let server = Server::new(Config::default(), relay, judge.clone());
        let (listener, address) = listener().await;
        let listening = server.clone();
        tokio::spawn(async move { listening.listen(listener).await });
        Self { address, judge, server }
    }
}

#[tokio::test]
async fn smtp() {
    let (store, address) = Store::start(false, OFFERS).await;
    let between = Between::new(Speaks::Smtp, NextHop::Smtp(address), |_| {}).await;
    let mut caller = Caller::call(between.address).await;
    let hello = caller.say("EHLO mta.example").await;
    assert!(hello.contains("250-SIZE 5000\r\n") && hello.contains("XFORWARD NAME ADDR"));
    assert!(!hello.contains("DSN") && !hello.contains("SMTPUTF8"), "{hello}");
    let forward = "XFORWARD NAME=mail.example.org ADDR=192.0.2.1 HELO=mail.example.org";
    assert_eq!(caller.say(forward).await, "250 2.0.0 Ok");

    let said =
        caller.send(&["unknown", "b"], "Subject: a\r\nX-Spam-Flag: NO\r\n\r\n..good", 1).await;
    assert_eq!(said, ["550 5.1.1 No such user", "250 2.1.5 Known here", "250 2.0.0 Stored"]);
    let given = &store.given()[0];
    assert_eq!(
        given.lines,
        [
            "XFORWARD NAME=mail.example.org ADDR=192.0.2.1 PROTO=[UNAVAILABLE] HELO=mail.example.org IDENT=[UNAVAILABLE] SOURCE=REMOTE",
            "MAIL FROM:<a@example.org>",
            "RCPT TO:<unknown@example.net>",
            "RCPT TO:<b@example.net>",
            "DATA",
        ]
    );
    let message = &given.message;
    assert!(message.starts_with("X-Muralla: score=4\r\nReceived: from mta.example"), "{message}");
    assert!(message.ends_with("Subject: a\r\n\r\n.good\r\n"), "{message}");
    let question = &between.judge.questions()[0];
    assert_eq!(question.origin.ip, Some([192, 0, 2, 1].into()));
    assert_eq!(question.recipients.len(), 1);

    // What was said of one message does not hold for the next.
    for (body, expected) in [
        ("refuse", "550 5.7.1 This is spam, ask us"),
        ("hold", "550 5.7.1 Refused: a program inside"),
        ("panic", "451 4.7.1 The message could not be examined now: the filter failed"),
        ("spam", "250 2.0.0 Stored"),
    ] {
        let said = caller.send(&["b"], &format!("Subject: a\r\n\r\n{body}"), 1).await;
        assert_eq!(said[1], expected);
    }
    assert_eq!(between.judge.questions()[1].origin.ip, None);
    let given = store.given();
    assert_eq!(given.len(), 2, "nothing else went on");
    assert!(given[1].message.starts_with("X-Spam-Flag: YES\r\nX-Muralla-State: spam\r\n"));
    // The next hop's no is the client's.
    let said = caller.send(&["full"], "Subject: a\r\n\r\ngood", 1).await;
    assert_eq!(said[1], "452 4.2.2 The mailbox is full");
    assert!(caller.say("MAIL FROM:<a@example.org> RET=HDRS").await.starts_with("555 5.5.4"));
    assert!(caller.say("QUIT").await.starts_with("221"));
    let status = between.server.status();
    assert_eq!((status.delivered, status.spam, status.refused, status.put_off), (2, 1, 2, 1));
}

#[tokio::test]
async fn lmtp_with_a_verdict_for_each() {
    let (store, address) = Store::start(true, OFFERS).await;
    let between = Between::new(Speaks::Lmtp, NextHop::Lmtp(address), |_| {}).await;
    let mut caller = Caller::call(between.address).await;
    caller.say("LHLO mta.example").await;
    let to = ["tolerant", "plain", "unknown", "strict", "full"];
    let said = caller.send(&to, "Subject: a\r\n\r\nspam", 4).await;
    assert_eq!(
        said[5..],
        [
            "250 2.0.0 Stored",
            "250 2.0.0 Stored",
            "550 5.7.1 This is spam, ask us",
            "452 4.2.2 The mailbox is full",
        ]
    );
    let given = store.given();
    assert_eq!(given.len(), 2);
    let recipients = |number: usize| -> Vec<&str> {
        let lines = given[number].lines.iter();
        lines.filter_map(|line| line.strip_prefix("RCPT TO:")).collect()
    };
    assert_eq!(recipients(0), ["<tolerant@example.net>"]);
    assert!(given[0].message.starts_with("X-Muralla: score=4\r\n"));
    assert_eq!(recipients(1), ["<plain@example.net>", "<full@example.net>"]);
    assert!(given[1].message.starts_with("X-Spam-Flag: YES\r\n"));

    // The same for all: one transaction, the one that was open.
    let said = caller.send(&["plain", "full"], "Subject: a\r\n\r\ngood", 2).await;
    assert_eq!(said[2..], ["250 2.0.0 Stored", "452 4.2.2 The mailbox is full"]);
    assert_eq!(store.given().len(), 3);
}

#[tokio::test]
async fn smtp_in_front_of_lmtp() {
    let (store, address) = Store::start(true, OFFERS).await;
    let between = Between::new(Speaks::Smtp, NextHop::Lmtp(address), |_| {}).await;
    let mut caller = Caller::call(between.address).await;
    assert!(caller.say("EHLO mta.example").await.contains("LIMITS RCPTMAX=1"));
    let said = caller.send(&["b", "c"], "Subject: a\r\n\r\ngood", 1).await;
    assert!(said[1].starts_with("452 4.5.3 "), "{said:?}");
    assert_eq!(said[2], "250 2.0.0 Stored");
    assert_eq!(store.given().len(), 1);
}

#[tokio::test]
async fn spoken_for() {
    let (_, address) = Store::start(false, OFFERS).await;
    let between = Between::new(Speaks::Smtp, NextHop::Smtp(address), |_| {}).await;
    let mut caller = Caller::call(between.address).await;
    caller.say("EHLO mta.example").await;
    let client = "XCLIENT NAME=mail.example.org ADDR=192.0.2.7 LOGIN=ann HELO=there.example";
    assert!(caller.say(client).await.starts_with("220 filter.example"));
    assert!(caller.say("MAIL FROM:<a@example.org>").await.starts_with("503"), "it begins anew");
    caller.say("EHLO mta.example").await;
    caller.send(&["b"], "Subject: a\r\n\r\ngood", 1).await;
    let origin = between.judge.questions()[0].origin.clone();
    assert_eq!(
        (origin.ip, origin.authenticated.as_deref()),
        (Some([192, 0, 2, 7].into()), Some("ann"))
    );
    assert_eq!(origin.helo.as_deref(), Some("there.example"));
    assert!(caller.say("XFORWARD NAME").await.starts_with("501"));
    caller.say("MAIL FROM:<a@example.org>").await;
    assert!(caller.say(client).await.starts_with("500"), "not inside a transaction");
}

#[tokio::test]
async fn who_is_not_believed() {
    let (store, address) = Store::start(false, OFFERS).await;
    let change = |relay: &mut Relay| relay.believed = Vec::new();
    let between = Between::new(Speaks::Smtp, NextHop::Smtp(address), change).await;
    let mut caller = Caller::call(between.address).await;
    assert!(!caller.say("EHLO mta.example").await.contains("XFORWARD"));
    assert!(caller.say("XFORWARD ADDR=192.0.2.1").await.starts_with("500"));
    assert!(caller.say("XCLIENT ADDR=192.0.2.1").await.starts_with("500"));
    caller.send(&["b"], "Subject: a\r\n\r\ngood", 1).await;
    assert_eq!(between.judge.questions()[0].origin.ip, Some([127, 0, 0, 1].into()));
    assert!(store.given()[0].lines[0].contains("ADDR=127.0.0.1"));
}

#[tokio::test]
async fn a_next_hop_that_goes_away() {
    let (store, address) = Store::start(false, OFFERS).await;
    let between = Between::new(Speaks::Smtp, NextHop::Smtp(address), |_| {}).await;
    let mut caller = Caller::call(between.address).await;
    caller.say("EHLO mta.example").await;
    let said = caller.send(&["b", "gone", "c"], "Subject: a\r\n\r\ngood", 1).await;
    assert!(said[1..].iter().all(|line| line.starts_with("451 4.4.2 ")), "{said:?}");
    assert!(store.given().is_empty());
    // It is called again for the next message.
    assert_eq!(caller.send(&["b"], "Subject: a\r\n\r\ngood", 1).await[1], "250 2.0.0 Stored");

    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let between = Between::new(Speaks::Smtp, NextHop::Smtp(address), |_| {}).await;
    let mut caller = Caller::call(between.address).await;
    assert!(caller.say("EHLO mta.example").await.starts_with("421 4.4.1 "));
}

/// Commands in one piece, and one of them is ours.
#[tokio::test]
async fn in_one_piece() {
    let (store, address) = Store::start(false, OFFERS).await;
    let between = Between::new(Speaks::Smtp, NextHop::Smtp(address), |_| {}).await;
    let mut caller = Caller::call(between.address).await;
    caller.say("EHLO mta.example").await;
    let all = "XFORWARD ADDR=192.0.2.1\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nBDAT 14\r\nSubject: a\r\n\r\nBDAT 6 LAST\r\ngood\r\nXFORWARD ADDR=192.0.2.2\r\nMAIL FROM:<>\r\nRCPT TO:<c@example.net>\r\nDATA";
    assert_eq!(caller.say(all).await, "250 2.0.0 Ok");
    for expected in ["250", "250", "250", "250 2.0.0 Stored", "250 2.0.0 Ok", "250", "250", "354"] {
        let said = caller.hear().await;
        assert!(said.starts_with(expected), "{said}, and not {expected}");
    }
    assert_eq!(caller.say("Subject: b\r\n\r\ngood\r\n.").await, "250 2.0.0 Stored");
    let questions = between.judge.questions();
    assert_eq!(questions[0].origin.ip, Some([192, 0, 2, 1].into()));
    assert_eq!(questions[1].origin.ip, Some([192, 0, 2, 2].into()));
    assert_eq!(store.given().len(), 2);
    drop(caller);
    between.server.stop();
    between.server.stopped().await;
}

#[tokio::test]
async fn two_stores_at_once() {
    let (old, address) = Store::start(true, OFFERS).await;
    let (new, other) = Store::start(true, OFFERS).await;
    let first = Between::new(Speaks::Lmtp, NextHop::Lmtp(address), |_| {}).await;
    let second = Between::new(Speaks::Lmtp, NextHop::Lmtp(other), |_| {}).await;
    for between in [&first, &second, &first] {
        let mut caller = Caller::call(between.address).await;
        caller.say("LHLO mta.example").await;
        let said = caller.send(&["b"], "Subject: a\r\n\r\ngood", 1).await;
        assert_eq!(said[1], "250 2.0.0 Stored");
    }
    assert_eq!((old.given().len(), new.given().len()), (2, 1));
}
