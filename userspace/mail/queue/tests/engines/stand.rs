//! A queue for a test, and mail for it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use muralla_database::Engine;
use muralla_mail_envelope::{
    Address, Client, Domain, Envelope, MailParameters, MessageId, Protocol, Recipient, Reply,
    ReversePath,
};
use muralla_mail_queue::{Handed, Job, Notice, Options, Outcome, Queue, Report, Submission};
use muralla_mail_store::packs::memory::MemoryPacks;
use muralla_mail_store::{Bodies, BodyOptions};

use crate::common::Database;

/// 2027.
pub(crate) const NOW: i64 = 1_800_000_000;

pub(crate) const HOUR: i64 = 3600;

pub(crate) const DAY: i64 = 24 * HOUR;

pub(crate) struct Stand {
    pub(crate) engine: Engine,
    pub(crate) bodies: Bodies,
    pub(crate) database: Database,
}

impl Stand {
    pub(crate) async fn new(database: Database) -> Self {
        let engine = database.engine().await;
        let packs = Arc::new(MemoryPacks::default());
        let bodies = Bodies::new(engine.clone(), packs, BodyOptions::default());
        Self { engine, bodies, database }
    }

    /// The queue, as another process sees it.
    pub(crate) async fn queue(&self, owner: &str) -> Queue {
        Queue::open(self.bodies.clone(), Options::new(owner)).await.unwrap()
    }

    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        self.engine.read().await.unwrap().number(sql, Vec::new()).await.unwrap()
    }

    /// Nothing of any message is left, and no body is needed.
    pub(crate) async fn assert_empty(&self) {
        for sql in [
            "SELECT count(*) FROM mail_queue",
            "SELECT count(*) FROM mail_queue_recipient",
            "SELECT count(*) FROM mail_body WHERE refs > 0",
        ] {
            assert_eq!(self.number(sql).await, 0, "{sql}");
        }
    }

    /// No destination is due later than what waits for it, unless it is left alone or due now: or nobody would look.
    pub(crate) async fn assert_lanes(&self, now: i64) {
        let sql = "SELECT count(*) FROM mail_queue_recipient r WHERE r.state = 0 AND NOT EXISTS (\
                   SELECT 1 FROM mail_queue_destination d WHERE d.name = r.destination \
                   AND (d.due <= r.due OR d.due <= d.backoff OR d.due <= $1))";
        let mut work = self.engine.read().await.unwrap();
        let hidden = work.number(sql, vec![now.into()]).await.unwrap();
        assert_eq!(hidden, 0, "recipients that nobody finds");
    }
}

pub(crate) fn id(number: u32) -> MessageId {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    MessageId(id)
}

pub(crate) fn raw(number: u32) -> Bytes {
    format!("Message-ID: <{number}@example.org>\r\nSubject: {number}\r\n\r\nHello {number}.\r\n")
        .into()
}

pub(crate) fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// Of a customer who proved who he is.
pub(crate) fn envelope(number: u32, recipients: &[&str]) -> Envelope {
    Envelope {
        id: id(number),
        from: ReversePath::Address(address("Ann@example.org")),
        mail: MailParameters::default(),
        recipients: recipients.iter().map(|text| Recipient::new(address(text))).collect(),
        received_at: NOW,
        client: Client {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: "laptop".to_owned(),
            name: None,
            tls: None,
            authenticated: Some("ann@example.org".to_owned()),
            protocol: Protocol::Esmtp,
        },
    }
}

pub(crate) fn submission(number: u32, recipients: &[&str]) -> Submission {
    Submission::new(envelope(number, recipients), raw(number))
}

/// A notice as a server would make it.
pub(crate) fn about(notice: &Notice) -> Submission {
    let envelope = Envelope {
        id: notice.id,
        from: ReversePath::Null,
        mail: MailParameters::default(),
        recipients: vec![Recipient::new(notice.to.clone())],
        received_at: NOW,
        client: Client::local(&Domain::parse("mx.example.org").unwrap()),
    };
    Submission::new(envelope, Bytes::from_static(b"Subject: failed\r\n\r\nSorry.\r\n"))
}

pub(crate) fn delivered() -> Outcome {
    Outcome::Delivered {
        reply: Reply::of_text(250, "2.0.0 fine"),
        host: Some("mx.example.net".to_owned()),
        handed: Handed::Silent,
    }
}

pub(crate) fn temporary() -> Outcome {
    Outcome::Temporary { reply: Reply::of_text(451, "4.7.1 later"), host: None }
}

pub(crate) fn permanent() -> Outcome {
    Outcome::Permanent { reply: Reply::of_text(550, "5.1.1 nobody"), host: None }
}

pub(crate) fn unreachable() -> Outcome {
    Outcome::Unreachable { reply: Reply::of_text(451, "4.4.1 refused"), host: None }
}

pub(crate) fn all(outcomes: impl IntoIterator<Item = Outcome>) -> Report {
    Report { outcomes: outcomes.into_iter().collect(), back_off: None }
}

pub(crate) async fn take(queue: &Queue, most: usize, now: i64) -> Vec<Job> {
    queue.take(most, now, |_| 1000).await.unwrap()
}

/// The only one that is due.
pub(crate) async fn one(queue: &Queue, now: i64) -> Job {
    let mut jobs = take(queue, 10, now).await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs.pop().unwrap()
}
