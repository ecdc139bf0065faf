//! Mail on its way out: to other servers, back-ends and mailboxes, and back to its sender.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use muralla_mail::operators::{QueueAction, QueueForm};
use muralla_mail_directory::{AccountEntry, AliasEntry, Backend, BackendEntry, DomainEntry};
use muralla_mail_envelope::{
    Client, Domain, Envelope, MessageId, OriginalRecipient, Recipient, ReversePath,
};
use muralla_mail_queue::{Filter, Submission};
use muralla_smtp::server::{Config, Conversation, Decision, Handler, Mode, Security, Server};
use muralla_smtp::tls::Certificates;
use muralla_test_database::on_both_engines;
use tokio::net::TcpListener;

use crate::database::Database;
use crate::house::{House, address, config_of_all, name};
use crate::talk::{Talk, until};

/// Another server: it takes what it is not told to refuse, and counts connections.
#[derive(Clone, Default)]
pub(crate) struct Other(Arc<Inner>);

#[derive(Default)]
pub(crate) struct Inner {
    messages: Mutex<Vec<(Envelope, Bytes)>>,
    connections: Mutex<u32>,
    /// How often what is for `later@` and `once@` was put off.
    put_off: Mutex<HashMap<String, u32>>,
}

impl Other {
    pub(crate) async fn listen(&self, mode: Mode) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        self.serve(listener, Config::new(mode, Domain::parse("mx.elsewhere.example").unwrap()));
        port
    }

    /// The same with certificates, if any.
    pub(crate) async fn listen_with(&self, certificates: Option<Arc<Certificates>>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut config = Config::new(Mode::Mx, Domain::parse("mx.elsewhere.example").unwrap());
        config.certificates = certificates;
        self.serve(listener, config);
        port
    }

    fn serve(&self, listener: TcpListener, config: Config) {
        let server = Server::new(config, self.clone());
        tokio::spawn(async move { server.listen(listener, Security::StartTls).await });
    }

    /// The recipients of what came, each with whether it came encrypted.
    pub(crate) fn recipients(&self) -> Vec<(String, bool)> {
        let messages = self.0.messages.lock().unwrap();
        let all = messages.iter().flat_map(|(envelope, _)| {
            let encrypted = envelope.client.tls.is_some();
            envelope.recipients.iter().map(move |one| (one.address.to_string(), encrypted))
        });
        all.collect()
    }

    /// The senders of what came, in the order in which it did.
    pub(crate) fn senders(&self) -> Vec<String> {
        let messages = self.0.messages.lock().unwrap();
        messages.iter().map(|(envelope, _)| envelope.from.to_string()).collect()
    }

    fn count(&self) -> usize {
        self.0.messages.lock().unwrap().len()
    }
}

impl Handler for Other {
    type Memory = ();

    async fn hello(&self, (): &mut (), _: Conversation<'_>) -> Decision {
        *self.0.connections.lock().unwrap() += 1;
        Decision::Accept
    }

    async fn rcpt(&self, (): &mut (), _: Conversation<'_>, recipient: &Recipient) -> Decision {
        match recipient.address.local.as_str() {
            "unknown" => Decision::permanent(550, 1, 1, "No such user here"),
            local @ ("later" | "once") => {
                let mut put_off = self.0.put_off.lock().unwrap();
                let count = put_off.entry(recipient.address.to_string()).or_default();
                *count += 1;
                let times = if local == "later" { 2 } else { 1 };
                if *count <= times {
                    return Decision::temporary(451, 7, 1, "Greylisted");
                }
                Decision::Accept
            }
            _ => Decision::Accept,
        }
    }

    async fn message(
        &self,
        (): &mut (),
        _: Conversation<'_>,
        envelope: Envelope,
        message: Bytes,
    ) -> Decision {
        self.0.messages.lock().unwrap().push((envelope, message));
        Decision::Accept
    }
}

/// The roles, with other servers on a port of this machine.
async fn house(database: &Database, other: &Other) -> House {
    let port = other.listen(Mode::Mx).await;
    let mut config = config_of_all(&database.location, database.folder());
    config.outgoing.as_mut().unwrap().port = port;
    let house = House::start(config).await;
    house.furnish().await;
    house.names.enter("elsewhere.example", &[(10, "mx.elsewhere.example")]);
    house
}

/// Queues a message as a user would have sent it.
async fn submit(house: &House, number: u8, from: &str, to: &[&str]) -> MessageId {
    let envelope = Envelope {
        id: MessageId([number; 16]),
        from: ReversePath::Address(address(from)),
        mail: Default::default(),
        recipients: to.iter().map(|to| Recipient::new(address(to))).collect(),
        received_at: now(),
        client: Client::local(&Domain::parse("mx.isp.example").unwrap()),
    };
    let raw = Bytes::from(format!("From: {from}\r\nSubject: number {number}\r\n\r\nx\r\n"));
    let queue = house.role.queue().await.unwrap();
    queue.submit(Submission::new(envelope, raw), now()).await.unwrap();
    MessageId([number; 16])
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

async fn is_empty(house: &House) -> bool {
    let queue = house.role.queue().await.unwrap();
    queue.counts(now()).await.unwrap().messages == 0
}

async fn mail_arrives_over_one_connection(database: Database) {
    let other = Other::default();
    let house = house(&database, &other).await;
    for number in 1..6 {
        submit(&house, number, "ann@isp.example", &["x@elsewhere.example"]).await;
        until("it arrived", || async { other.count() == usize::from(number) }).await;
        until("it is said", || async { is_empty(&house).await }).await;
    }
    assert_eq!(*other.0.connections.lock().unwrap(), 1);
    let messages = other.0.messages.lock().unwrap().clone();
    assert_eq!(messages[0].0.from, ReversePath::Address(address("ann@isp.example")));
    assert_eq!(messages[0].1, "From: ann@isp.example\r\nSubject: number 1\r\n\r\nx\r\n");
    assert_eq!(messages[0].0.client.helo, "mx.isp.example");
    house.role.stop().await;
}

async fn what_is_put_off_is_tried_again(database: Database) {
    let other = Other::default();
    let house = house(&database, &other).await;
    let to = ["later@elsewhere.example", "x@elsewhere.example"];
    submit(&house, 1, "ann@isp.example", &to).await;
    until("both have it", || async { other.count() == 2 }).await;
    until("it is said", || async { is_empty(&house).await }).await;
    let messages = other.0.messages.lock().unwrap().clone();
    let recipients: Vec<String> =
        messages.iter().map(|(envelope, _)| envelope.recipients[0].address.to_string()).collect();
    assert_eq!(recipients, ["x@elsewhere.example", "later@elsewhere.example"], "each once");
    assert!(house.inbox("ann@isp.example").await.is_empty(), "nobody is told of that");
    house.role.stop().await;
}

/// What one server of a domain puts off another one may take: nobody waits for that.
async fn the_next_server_is_called_at_once(database: Database) {
    let other = Other::default();
    let house = house(&database, &other).await;
    let servers = [(10, "mx1.two.example"), (20, "mx2.two.example")];
    house.names.enter("two.example", &servers);
    let deferred = || house.role.status().outgoing.unwrap().deferred;
    submit(&house, 1, "ann@isp.example", &["once@two.example"]).await;
    until("it arrived", || async { other.count() == 1 }).await;
    until("it is said", || async { is_empty(&house).await }).await;
    assert_eq!(deferred(), 0);
    // Where there is no other, or not all of it was put off, it waits.
    submit(&house, 2, "ann@isp.example", &["once@elsewhere.example"]).await;
    submit(&house, 3, "ann@isp.example", &["later@two.example", "x@two.example"]).await;
    until("all arrived", || async { other.count() == 4 }).await;
    until("it is said", || async { is_empty(&house).await }).await;
    assert_eq!(deferred(), 2);
    let told = house.inbox("ann@isp.example").await;
    assert!(told.is_empty(), "{told:?}");
    house.role.stop().await;
}

/// What one message brings down costs it an attempt, and nobody else anything.
async fn a_panic_costs_one_attempt(database: Database) {
    let other = Other::default();
    let house = house(&database, &other).await;
    house.names.break_down(true);
    submit(&house, 1, "ann@isp.example", &["x@elsewhere.example"]).await;
    until("it was tried", || async { house.role.status().outgoing.unwrap().panics > 0 }).await;
    house.names.break_down(false);
    until("it arrived", || async { other.count() == 1 }).await;
    until("it is said", || async { is_empty(&house).await }).await;
    let status = house.role.status().outgoing.unwrap();
    assert_eq!((status.deferred, status.delivered), (status.panics, 1));
    house.role.stop().await;
}

async fn senders_are_told_what_failed(database: Database) {
    let other = Other::default();
    let house = house(&database, &other).await;
    house.names.enter("nomail.example", &[(0, ".")]);
    for (number, to, status) in [
        (1, "unknown@elsewhere.example", "5.1.1"),
        (2, "x@nowhere.example", "5.1.2"),
        (3, "x@nomail.example", "5.1.10"),
    ] {
        submit(&house, number, "ann@isp.example", &[to]).await;
        let count = usize::from(number);
        until("she is told", || async { house.inbox("ann@isp.example").await.len() == count })
            .await;
        let notice = house.inbox("ann@isp.example").await.pop().unwrap();
        assert!(notice.starts_with("Return-Path: <>\r\n"), "{notice}");
        assert!(notice.contains(&format!("Final-Recipient: rfc822;{to}")), "{notice}");
        assert!(notice.contains(&format!("Status: {status}")), "{notice}");
        assert!(notice.contains(&format!("Subject: number {number}")), "{notice}");
        assert!(notice.contains("Auto-Submitted: auto-replied"), "{notice}");
    }
    until("nothing is left", || async { is_empty(&house).await }).await;
    // Some of them have it.
    let to = ["unknown@elsewhere.example", "x@elsewhere.example"];
    submit(&house, 9, "ann@isp.example", &to).await;
    until("she is told", || async { house.inbox("ann@isp.example").await.len() == 4 }).await;
    assert_eq!(other.count(), 1);
    house.role.stop().await;
}

/// Its sender may be forged, so he is not told; and nothing is lost.
async fn what_can_not_be_forwarded_comes_home(database: Database) {
    let other = Other::default();
    let house = house(&database, &other).await;
    let registry = house.role.directory().registry();
    let mut away = AccountEntry::new(name("away@isp.example"));
    away.forwards = vec![address("unknown@elsewhere.example")];
    away.keep_copy = false;
    registry.put_account(&away).await.unwrap();
    let alias =
        AliasEntry::new(name("list@isp.example"), vec![address("unknown@elsewhere.example")]);
    registry.put_alias(&alias).await.unwrap();
    house.role.directory().catch_up().await.unwrap();
    let mut talk = Talk::smtp(house.at("mx")).await;
    let replies = talk.mail("ann@isp.example", &["away@isp.example"], "Subject: x\r\n\r\nx").await;
    assert!(replies[2].starts_with("250 "), "{replies:?}");
    until("it came home", || async { is_empty(&house).await }).await;
    assert_eq!(house.inbox("away@isp.example").await.len(), 1);
    // An alias has no mailbox.
    let replies = talk.mail("ann@isp.example", &["list@isp.example"], "Subject: x\r\n\r\nx").await;
    assert!(replies[2].starts_with("250 "), "{replies:?}");
    let failed = || async { house.role.status().outgoing.unwrap().failed == 1 };
    until("it failed", failed).await;
    // Nobody can be told, so that an operator has to see to it.
    let queue = house.role.queue().await.unwrap();
    let held = || async { queue.counts(now()).await.unwrap().held == 1 };
    until("it is held", held).await;
    house.role.change_queue(&QueueForm::default(), QueueAction::Remove).await.unwrap();
    assert!(is_empty(&house).await);
    assert!(house.inbox("ann@isp.example").await.is_empty());
    house.role.stop().await;
}

/// Whoever sends may write whom he likes beside a recipient (ORCPT, RFC 3461): that makes nobody the owner of his mail.
async fn what_a_client_writes_is_no_owner(database: Database) {
    let other = Other::default();
    let house = house(&database, &other).await;
    let mut recipient = Recipient::new(address("unknown@elsewhere.example"));
    recipient.parameters.orcpt = Some(OriginalRecipient::of(&address("bob@isp.example")));
    let envelope = Envelope {
        id: MessageId([7; 16]),
        from: ReversePath::Address(address("ann@isp.example")),
        mail: Default::default(),
        recipients: vec![recipient],
        received_at: now(),
        client: Client::local(&Domain::parse("mx.isp.example").unwrap()),
    };
    let raw = Bytes::from_static(b"From: ann@isp.example\r\n\r\nx\r\n");
    let queue = house.role.queue().await.unwrap();
    queue.submit(Submission::new(envelope, raw), now()).await.unwrap();
    until("it is over", || async { is_empty(&house).await }).await;
    let notice = house.inbox("ann@isp.example").await;
    assert!(notice.len() == 1 && notice[0].contains("Status: 5.1.1"), "{notice:?}");
    assert!(house.inbox("bob@isp.example").await.is_empty());
    house.role.stop().await;
}

async fn names_that_fail_cost_no_attempt(database: Database) {
    let other = Other::default();
    let house = house(&database, &other).await;
    house.names.fail(true);
    submit(&house, 1, "ann@isp.example", &["x@elsewhere.example"]).await;
    let unreachable = || async { house.role.status().outgoing.unwrap().unreachable > 0 };
    until("it was tried", unreachable).await;
    let queue = house.role.queue().await.unwrap();
    let first = || async {
        let entries = queue.list(&Filter::default(), None, 10, now()).await.unwrap();
        entries.first().and_then(|entry| entry.reply.clone()).is_some()
    };
    until("it is said", first).await;
    let entries = queue.list(&Filter::default(), None, 10, now()).await.unwrap();
    assert_eq!(entries[0].attempts, 0, "{entries:?}");
    house.names.fail(false);
    house.role.change_queue(&QueueForm::default(), QueueAction::Retry).await.unwrap();
    until("it arrived", || async { other.count() == 1 }).await;
    house.role.stop().await;
}

async fn several_back_ends_take_their_mail(database: Database) {
    let (other, lmtp) = (Other::default(), Other::default());
    let house = house(&database, &other).await;
    let port = lmtp.listen(Mode::Lmtp).await;
    let maildir = database.folder().join("maildir");
    let registry = house.role.directory().registry();
    let backends = [
        ("old", Backend::Lmtp { host: "127.0.0.1".into(), port }),
        ("files", Backend::Maildir { path: format!("{}/%d/%n", maildir.display()) }),
    ];
    for (known, backend) in backends {
        let entry = BackendEntry { id: None, name: known.into(), backend, note: None };
        registry.put_backend(&entry).await.unwrap();
    }
    let mut moving = AccountEntry::new(name("moving@isp.example"));
    moving.backends = vec!["store".into(), "old".into(), "files".into()];
    registry.put_account(&moving).await.unwrap();
    house.role.directory().catch_up().await.unwrap();
    let mut talk = Talk::smtp(house.at("mx")).await;
    let replies =
        talk.mail("x@example.org", &["moving@isp.example"], "Subject: hi\r\n\r\nhello").await;
    assert!(replies[2].starts_with("250 "), "{replies:?}");
    until("all have it", || async { is_empty(&house).await }).await;
    assert_eq!(house.inbox("moving@isp.example").await.len(), 1);
    let (envelope, text) = lmtp.0.messages.lock().unwrap()[0].clone();
    assert_eq!(envelope.from, ReversePath::Address(address("x@example.org")));
    assert_eq!(envelope.recipients[0].address, address("moving@isp.example"));
    assert!(text.starts_with(b"Received: "), "{text:?}");
    let mut files = std::fs::read_dir(maildir.join("isp.example/moving/new")).unwrap();
    let file = files.next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.starts_with("Return-Path: <x@example.org>\nReceived: "), "{text}");
    assert!(text.ends_with("Subject: hi\n\nhello\n"), "{text}");
    assert!(files.next().is_none());
    house.role.stop().await;
}

/// Where a domain's back-end knows more than we do, it is asked before anything is taken.
async fn who_is_nobody_behind_either_is_refused(database: Database) {
    let (other, old) = (Other::default(), Other::default());
    let house = house(&database, &other).await;
    let registry = house.role.directory().registry();
    let port = old.listen(Mode::Lmtp).await;
    let backend = |port| BackendEntry {
        id: None,
        name: "old".into(),
        backend: Backend::Lmtp { host: "127.0.0.1".into(), port },
        note: None,
    };
    registry.put_backend(&backend(port)).await.unwrap();
    let mut domain = DomainEntry::new(Domain::parse("moving.example").unwrap());
    domain.relay = true;
    domain.backends = vec!["old".into()];
    registry.put_domain(&domain).await.unwrap();
    house.role.directory().catch_up().await.unwrap();
    let mut talk = Talk::smtp(house.at("mx")).await;
    let text = "Subject: hi\r\n\r\nhello";
    for _ in 0..2 {
        let to = ["unknown@moving.example", "known@moving.example"];
        let replies = talk.mail("x@example.org", &to, text).await;
        assert!(replies[1].starts_with("550 5.1.1"), "{replies:?}");
        assert!(replies[2].starts_with("250 "), "{replies:?}");
    }
    until("it arrived", || async { old.count() == 2 }).await;
    // What it puts off is put off here, and what it said before is remembered.
    let replies = talk.mail("x@example.org", &["later@moving.example"], text).await;
    assert!(replies[1].starts_with("450 4.1.1"), "{replies:?}");
    let status = house.role.status().mx.unwrap().counts;
    let asked = status.inquiries;
    assert_eq!((asked.known, asked.unknown, asked.unanswered), (1, 1, 1), "{asked:?}");
    assert_eq!((asked.remembered, status.unknown), (2, 3), "{status:?}");

    // Nobody answers there: not now, but for whom it knew.
    registry.put_backend(&backend(1)).await.unwrap();
    house.role.directory().catch_up().await.unwrap();
    let replies =
        talk.mail("x@example.org", &["new@moving.example", "known@moving.example"], text).await;
    assert!(replies[1].starts_with("450 4.1.1"), "{replies:?}");
    assert!(replies[2].starts_with("250 "), "{replies:?}");
    house.role.stop().await;
}

on_both_engines!(
    mail_arrives_over_one_connection,
    what_is_put_off_is_tried_again,
    the_next_server_is_called_at_once,
    a_panic_costs_one_attempt,
    senders_are_told_what_failed,
    what_can_not_be_forwarded_comes_home,
    what_a_client_writes_is_no_owner,
    names_that_fail_cost_no_attempt,
    several_back_ends_take_their_mail,
    who_is_nobody_behind_either_is_refused,
);
