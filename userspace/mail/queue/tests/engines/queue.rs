//! Mail on its way out: submitted once, taken by one, reported by him alone, never forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use muralla_database::Engine;
use muralla_mail_envelope::dsn::Action;
use muralla_mail_envelope::{
    Address, Client, Domain, Envelope, MailParameters, MessageId, Notify, Protocol, Recipient,
    Reply, ReversePath,
};
use muralla_mail_queue::{
    Change, EventKind, Filter, Handed, Job, Notice, Options, Outcome, Owed, Queue, Report, State,
    Submission, Submitted, Told, Traced,
};
use muralla_mail_store::packs::memory::MemoryPacks;
use muralla_mail_store::{Bodies, BodyOptions};

use crate::common::Database;

on_both_engines!(
    submitted_once,
    two_owners_never_take_one_recipient,
    a_late_owner_is_refused,
    a_dead_owner_is_survived,
    who_begins_again_has_nothing_left,
    outcomes_end_or_put_off,
    a_sender_is_told_once,
    nobody_is_told_of_what_could_loop,
    a_long_wait_is_told_once,
    what_expires_ends_though_nobody_tries,
    a_dead_destination_costs_nobody_an_attempt,
    many_for_one_do_not_keep_others_waiting,
    recipients_of_a_message_go_together,
    operators_hold_release_return_and_drop,
    held_while_it_is_tried,
    a_life_is_told,
    many_at_once_share_transactions,
);

/// 2027.
const NOW: i64 = 1_800_000_000;
const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

struct Stand {
    engine: Engine,
    bodies: Bodies,
    database: Database,
}

impl Stand {
    async fn new(database: Database) -> Self {
        let engine = database.engine().await;
        let packs = Arc::new(MemoryPacks::default());
        let bodies = Bodies::new(engine.clone(), packs, BodyOptions::default());
        Self { engine, bodies, database }
    }

    /// The queue, as another process sees it.
    async fn queue(&self, owner: &str) -> Queue {
        Queue::open(self.bodies.clone(), Options::new(owner)).await.unwrap()
    }

    async fn number(&self, sql: &'static str) -> i64 {
        self.engine.read().await.unwrap().number(sql, Vec::new()).await.unwrap()
    }

    /// Nothing of any message is left, and no body is needed.
    async fn assert_empty(&self) {
        for sql in [
            "SELECT count(*) FROM mail_queue",
            "SELECT count(*) FROM mail_queue_recipient",
            "SELECT count(*) FROM mail_body WHERE refs > 0",
        ] {
            assert_eq!(self.number(sql).await, 0, "{sql}");
        }
    }

    /// No destination is due later than what waits for it: or nobody would look.
    async fn assert_lanes(&self) {
        let sql = "SELECT count(*) FROM mail_queue_recipient r WHERE r.state = 0 AND NOT EXISTS (\
                   SELECT 1 FROM mail_queue_destination d WHERE d.name = r.destination \
                   AND (d.due <= r.due OR d.due <= d.backoff))";
        assert_eq!(self.number(sql).await, 0, "recipients that nobody finds");
    }
}

fn id(number: u32) -> MessageId {
    let mut id = [7; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    MessageId(id)
}

fn raw(number: u32) -> Bytes {
    format!("Message-ID: <{number}@example.org>\r\nSubject: {number}\r\n\r\nHello {number}.\r\n").into()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

/// Of a customer who proved who he is.
fn envelope(number: u32, recipients: &[&str]) -> Envelope {
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

fn submission(number: u32, recipients: &[&str]) -> Submission {
    Submission::new(envelope(number, recipients), raw(number))
}

/// A notice as a server would make it.
fn about(notice: &Notice) -> Submission {
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

fn delivered() -> Outcome {
    Outcome::Delivered {
        reply: Reply::of_text(250, "2.0.0 fine"),
        host: Some("mx.example.net".to_owned()),
        handed: Handed::Silent,
    }
}

fn temporary() -> Outcome {
    Outcome::Temporary { reply: Reply::of_text(451, "4.7.1 later"), host: None }
}

fn permanent() -> Outcome {
    Outcome::Permanent { reply: Reply::of_text(550, "5.1.1 nobody"), host: None }
}

fn unreachable() -> Outcome {
    Outcome::Unreachable { reply: Reply::of_text(451, "4.4.1 refused"), host: None }
}

fn all(outcomes: impl IntoIterator<Item = Outcome>) -> Report {
    Report { outcomes: outcomes.into_iter().collect(), back_off: None }
}

async fn take(queue: &Queue, most: usize, now: i64) -> Vec<Job> {
    queue.take(most, now, |_| 1000).await.unwrap()
}

/// The only one that is due.
async fn one(queue: &Queue, now: i64) -> Job {
    let mut jobs = take(queue, 10, now).await;
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    jobs.pop().unwrap()
}

async fn submitted_once(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    let both = submission(1, &["a@example.net", "b@example.com"]);
    assert_eq!(queue.submit(both.clone(), NOW).await.unwrap(), Submitted::Queued);
    assert_eq!(queue.submit(both.clone(), NOW).await.unwrap(), Submitted::Again);
    assert_eq!(stand.number("SELECT count(*) FROM mail_queue_recipient").await, 2);
    assert_eq!(stand.number("SELECT count(*) FROM mail_body").await, 1);
    // The same from many at once, from two processes.
    let other = stand.queue("two").await;
    let mut tasks = Vec::new();
    for number in 0..40 {
        let queue = if number % 2 == 0 { queue.clone() } else { other.clone() };
        let submission = submission(2 + number % 4, &["c@example.net"]);
        tasks.push(tokio::spawn(async move { queue.submit(submission, NOW).await.unwrap() }));
    }
    let mut queued = 0;
    for task in tasks {
        queued += usize::from(task.await.unwrap() == Submitted::Queued);
    }
    assert_eq!(queued, 4);
    // Nor is it sent again when it has left and its submitter doesn't know.
    let jobs = take(&queue, 100, NOW).await;
    assert_eq!(jobs.len(), 6);
    for job in &jobs {
        assert_eq!(queue.content(job).await.unwrap().len() as u64, job.size);
        queue.report(job, all([delivered()]), NOW).await.unwrap();
    }
    stand.assert_empty().await;
    assert_eq!(queue.submit(both, NOW + DAY).await.unwrap(), Submitted::Again);
    stand.assert_empty().await;
    // For a while.
    assert_eq!(queue.maintain(NOW + 8 * DAY).await.unwrap().forgotten, 5);
    // What makes no sense is refused.
    assert!(queue.submit(submission(50, &[]), NOW).await.is_err());
    let mut uneven = submission(51, &["a@example.net", "b@example.net"]);
    uneven.destinations = vec!["smarthost".to_owned()];
    let refused = queue.submit(uneven, NOW).await.unwrap_err();
    assert!(!refused.may_pass(), "{refused}");
}

async fn two_owners_never_take_one_recipient(database: Database) {
    let stand = Stand::new(database).await;
    let queues = [stand.queue("one").await, stand.queue("two").await, stand.queue("three").await];
    for number in 0..60 {
        let names = ["a.example", "b.example", "c.example"];
        let to: Vec<String> =
            names.iter().map(|name| format!("user{number}@{name}")).collect();
        let to: Vec<&str> = to.iter().map(String::as_str).collect();
        queues[0].submit(submission(number, &to), NOW).await.unwrap();
    }
    let mut tasks = Vec::new();
    for queue in queues {
        tasks.push(tokio::spawn(async move {
            let (mut mine, mut empty) = (Vec::new(), 0);
            // What another is just taking is passed over: look again.
            while empty < 20 {
                let jobs = take(&queue, 7, NOW).await;
                if jobs.is_empty() {
                    empty += 1;
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
                mine.extend(jobs);
            }
            mine
        }));
    }
    let mut taken = BTreeSet::new();
    for task in tasks {
        for job in task.await.unwrap() {
            for recipient in &job.envelope.recipients {
                let fresh = taken.insert((job.message, recipient.address.to_string()));
                assert!(fresh, "{} was taken twice", recipient.address);
            }
        }
    }
    assert_eq!(taken.len(), 180);
    stand.assert_lanes().await;
}

async fn a_late_owner_is_refused(database: Database) {
    let stand = Stand::new(database).await;
    let (slow, quick) = (stand.queue("slow").await, stand.queue("quick").await);
    slow.submit(submission(1, &["a@example.net"]), NOW).await.unwrap();
    let late = one(&slow, NOW).await;
    assert!(take(&quick, 10, NOW + 1199).await.is_empty(), "it has an owner");
    let job = one(&quick, NOW + 1200).await;
    assert!(!slow.renew(&late, NOW + 1201).await.unwrap());
    for outcome in [delivered(), permanent(), temporary(), Outcome::Untried] {
        let reported = slow.report(&late, all([outcome]), NOW + 1201).await.unwrap();
        assert_eq!((reported.late, reported.owed), (vec![0], 0));
    }
    assert!(quick.renew(&job, NOW + 2000).await.unwrap(), "it is still his");
    assert!(take(&slow, 10, NOW + 3199).await.is_empty(), "he has it longer");
    let reported = quick.report(&job, all([delivered()]), NOW + 3199).await.unwrap();
    assert!(reported.late.is_empty());
    stand.assert_empty().await;
    assert_eq!((slow.status().late, quick.status().delivered), (4, 1));
    // Nobody took it meanwhile: a late report is as good as any.
    slow.submit(submission(2, &["a@example.net"]), NOW).await.unwrap();
    let job = one(&slow, NOW).await;
    let reported = slow.report(&job, all([delivered()]), NOW + DAY).await.unwrap();
    assert!(reported.late.is_empty());
    // And a second one is none.
    let reported = slow.report(&job, all([delivered()]), NOW + DAY).await.unwrap();
    assert_eq!(reported.late, [0]);
    stand.assert_empty().await;
}

async fn a_dead_owner_is_survived(database: Database) {
    let is_postgres = database.is_postgres();
    let mut stand = Stand::new(database).await;
    let queue = stand.queue("dying").await;
    for number in 0..20 {
        queue.submit(submission(number, &["a@example.net"]), NOW).await.unwrap();
    }
    let jobs = take(&queue, 5, NOW).await;
    assert_eq!(jobs.len(), 5);
    queue.report(&jobs[0], all([delivered()]), NOW).await.unwrap();
    drop(queue);
    // The database dies, too: what was acknowledged is there.
    if is_postgres {
        stand.database.kill();
        stand.database.start();
        stand.engine = stand.database.engine().await;
        stand.bodies = Bodies::new(
            stand.engine.clone(),
            Arc::new(MemoryPacks::default()),
            BodyOptions::default(),
        );
    }
    let other = stand.queue("other").await;
    assert_eq!(take(&other, 100, NOW + 1).await.len(), 15, "those that nobody had");
    assert_eq!(take(&other, 100, NOW + 1200).await.len(), 4, "those of the dead one");
    assert_eq!(take(&other, 100, NOW + 1201).await.len(), 15, "and those that were forgotten");
    stand.assert_lanes().await;
}

async fn who_begins_again_has_nothing_left(database: Database) {
    let stand = Stand::new(database).await;
    let (queue, other) = (stand.queue("one").await, stand.queue("two").await);
    for number in 0..6 {
        queue.submit(submission(number, &["a@example.net"]), NOW).await.unwrap();
    }
    let before = take(&queue, 2, NOW).await;
    let others = take(&other, 2, NOW).await;
    drop(queue);
    let queue = stand.queue("one").await;
    assert_eq!(queue.reclaim(NOW + 5).await.unwrap(), 2);
    let reported = queue.report(&before[0], all([delivered()]), NOW + 5).await.unwrap();
    assert_eq!(reported.late, [0], "an earlier life reports no more");
    assert_eq!(take(&queue, 100, NOW + 5).await.len(), 4);
    let reported = other.report(&others[0], all([delivered()]), NOW + 5).await.unwrap();
    assert!(reported.late.is_empty(), "another's are his");
    // What is given back is due at once, and no attempt was made.
    assert!(other.give_back(&others[1], NOW + 5).await.unwrap().late.is_empty());
    let job = one(&queue, NOW + 5).await;
    assert_eq!((job.message, job.attempts), (others[1].message, 0));
}

async fn outcomes_end_or_put_off(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    let to = ["a@example.net", "b@example.net", "c@example.net"];
    queue.submit(submission(1, &to), NOW).await.unwrap();
    let job = one(&queue, NOW).await;
    assert_eq!(job.envelope.recipients.len(), 3);
    assert!(queue.report(&job, all([delivered()]), NOW).await.is_err(), "two are missing");
    let outcomes = [delivered(), temporary(), temporary()];
    let reported = queue.report(&job, all(outcomes), NOW).await.unwrap();
    let due = reported.next.unwrap();
    assert!((NOW + 262..=NOW + 338).contains(&due), "{due}");
    assert_eq!(queue.next_due().await.unwrap(), Some(due));
    assert!(take(&queue, 10, due - 1).await.is_empty());
    let job = one(&queue, due).await;
    assert_eq!((job.envelope.recipients.len(), job.attempts), (2, 1));
    let reported = queue.report(&job, all([delivered(), permanent()]), due).await.unwrap();
    assert_eq!((reported.owed, reported.next), (1, None));
    // The message stays until its sender was told.
    assert_eq!(stand.number("SELECT count(*) FROM mail_queue").await, 1);
    let notice = queue.notices(None, 10).await.unwrap().pop().unwrap();
    assert_eq!(queue.settle(&notice, due).await.unwrap(), Told::Told);
    stand.assert_empty().await;
    // Tried until its time is up, the last time on the very end of it.
    queue.submit(submission(2, &["a@example.net"]), NOW).await.unwrap();
    let (mut now, mut attempts) = (NOW, 0);
    let owed = loop {
        let job = one(&queue, now).await;
        assert_eq!(job.attempts, attempts);
        let reported = queue.report(&job, all([temporary()]), now).await.unwrap();
        let Some(due) = reported.next else { break reported.owed };
        (now, attempts) = (due, attempts + 1);
    };
    assert_eq!((now, owed), (NOW + 5 * DAY, 1));
    let notice = queue.notices(None, 10).await.unwrap().pop().unwrap();
    assert_eq!(notice.fates[0].status.to_string(), "4.4.7");
    stand.assert_lanes().await;
}

async fn a_sender_is_told_once(database: Database) {
    let stand = Stand::new(database).await;
    let (queue, other) = (stand.queue("one").await, stand.queue("two").await);
    let mut submission = submission(1, &["a@example.net", "b@example.net", "c@example.net"]);
    submission.envelope.recipients[1].parameters.notify =
        Notify { success: true, failure: true, ..Notify::default() };
    submission.envelope.recipients[2].parameters.notify = Notify::NEVER;
    queue.submit(submission, NOW).await.unwrap();
    let job = one(&queue, NOW).await;
    let outcomes = [permanent(), delivered(), permanent()];
    let reported = queue.report(&job, all(outcomes), NOW).await.unwrap();
    assert_eq!(reported.owed, 2);
    // Two processes read the same; one dies before it could do anything.
    let (mine, theirs) =
        (queue.notices(None, 10).await.unwrap(), other.notices(None, 10).await.unwrap());
    assert_eq!((mine.len(), theirs.len()), (1, 1));
    assert_eq!(mine[0].id, theirs[0].id, "the same facts have the same name");
    assert!(queue.notices(Some(mine[0].message), 10).await.unwrap().is_empty());
    assert_eq!(mine[0].to, address("Ann@example.org"));
    let fates: BTreeMap<String, Action> = mine[0]
        .fates
        .iter()
        .map(|fate| (fate.recipient.to_string(), fate.action))
        .collect();
    let expected = [("a@example.net", Action::Failed), ("b@example.net", Action::Relayed)];
    assert_eq!(fates, BTreeMap::from(expected.map(|(to, action)| (to.to_owned(), action))));
    let (one_told, other_told) = tokio::join!(
        queue.tell(&mine[0], about(&mine[0]), NOW),
        other.tell(&theirs[0], about(&theirs[0]), NOW)
    );
    let told = [one_told.unwrap(), other_told.unwrap()];
    assert_eq!(told.iter().filter(|told| **told == Told::Told).count(), 1, "{told:?}");
    assert!(queue.notices(None, 10).await.unwrap().is_empty());
    let job = one(&queue, NOW).await;
    assert_eq!((job.message, &job.envelope.from), (mine[0].id, &ReversePath::Null));
    // And nothing of the notice itself goes anywhere.
    let reported = queue.report(&job, all([permanent()]), NOW).await.unwrap();
    assert_eq!(reported.owed, 0);
    stand.assert_empty().await;
}

async fn nobody_is_told_of_what_could_loop(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    let mut from_nobody = submission(1, &["a@example.net"]);
    from_nobody.envelope.from = ReversePath::Null;
    let mut anybody = envelope(2, &["a@example.net"]);
    anybody.client.authenticated = None;
    let mut anybody = Submission::new(anybody, raw(2));
    assert!(!anybody.known);
    anybody.envelope.recipients[0].parameters.notify =
        Notify { success: true, failure: true, delay: true, never: false };
    for submission in [from_nobody, anybody] {
        queue.submit(submission, NOW).await.unwrap();
    }
    assert_eq!(queue.maintain(NOW + DAY).await.unwrap().delayed, 0);
    for job in take(&queue, 10, NOW).await {
        let reported = queue.report(&job, all([permanent()]), NOW).await.unwrap();
        assert_eq!(reported.owed, 0);
    }
    assert!(queue.notices(None, 10).await.unwrap().is_empty());
    stand.assert_empty().await;
}

async fn a_long_wait_is_told_once(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    queue.submit(submission(1, &["a@example.net"]), NOW).await.unwrap();
    let job = one(&queue, NOW).await;
    queue.report(&job, all([temporary()]), NOW).await.unwrap();
    assert_eq!(queue.maintain(NOW + 4 * HOUR - 1).await.unwrap().delayed, 0);
    assert_eq!(queue.maintain(NOW + 4 * HOUR).await.unwrap().delayed, 1);
    assert_eq!(queue.maintain(NOW + 8 * HOUR).await.unwrap().delayed, 0);
    let notice = queue.notices(None, 10).await.unwrap().pop().unwrap();
    let fate = &notice.fates[0];
    assert_eq!((fate.action, fate.retry_until), (Action::Delayed, Some(NOW + 5 * DAY)));
    assert_eq!(fate.status.to_string(), "4.7.1");
    assert_eq!(queue.tell(&notice, about(&notice), NOW).await.unwrap(), Told::Told);
    assert_eq!(queue.maintain(NOW + DAY).await.unwrap().delayed, 0);
    assert!(queue.notices(None, 10).await.unwrap().is_empty());
    // What fails meanwhile makes a notice that was read before late.
    queue.submit(submission(2, &["b@example.com"]), NOW).await.unwrap();
    queue.maintain(NOW + 4 * HOUR).await.unwrap();
    let delayed = queue.notices(None, 10).await.unwrap().pop().unwrap();
    let jobs = take(&queue, 10, NOW + 4 * HOUR).await;
    let job = jobs.iter().find(|job| job.message == id(2)).unwrap();
    queue.report(job, all([permanent()]), NOW + 4 * HOUR).await.unwrap();
    assert_eq!(queue.tell(&delayed, about(&delayed), NOW).await.unwrap(), Told::Late);
    let failed = queue.notices(None, 10).await.unwrap().pop().unwrap();
    assert_eq!(failed.fates[0].action, Action::Failed);
    assert_ne!(failed.id, delayed.id);
}

async fn what_expires_ends_though_nobody_tries(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    queue.submit(submission(1, &["a@example.net", "b@example.com"]), NOW).await.unwrap();
    let mut short = submission(2, &["a@example.net"]);
    short.lifetime = Some(HOUR);
    queue.submit(short, NOW).await.unwrap();
    assert_eq!(queue.maintain(NOW + HOUR).await.unwrap().expired, 1);
    // Whoever is trying says himself how it ends.
    let jobs = take(&queue, 10, NOW + 5 * DAY - 1).await;
    let trying = jobs.iter().find(|job| job.destination == "example.com").unwrap();
    let other = jobs.iter().find(|job| job.destination == "example.net").unwrap();
    queue.give_back(other, NOW + 5 * DAY - 1).await.unwrap();
    assert_eq!(queue.maintain(NOW + 5 * DAY).await.unwrap().expired, 1);
    let reported = queue.report(trying, all([unreachable()]), NOW + 5 * DAY).await.unwrap();
    assert_eq!((reported.owed, reported.next), (1, None));
    let notices = queue.notices(None, 10).await.unwrap();
    let fates: usize = notices.iter().map(|notice| notice.fates.len()).sum();
    assert_eq!((notices.len(), fates), (2, 3));
    for notice in &notices {
        assert!(notice.fates.iter().all(|fate| fate.status.to_string() == "4.4.7"));
        assert_eq!(queue.settle(notice, NOW + 5 * DAY).await.unwrap(), Told::Told);
        assert_eq!(queue.settle(notice, NOW + 5 * DAY).await.unwrap(), Told::Late);
    }
    stand.assert_empty().await;
}

async fn a_dead_destination_costs_nobody_an_attempt(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    for number in 0..30 {
        queue.submit(submission(number, &["a@dead.example"]), NOW).await.unwrap();
    }
    queue.submit(submission(99, &["a@alive.example"]), NOW).await.unwrap();
    let jobs = queue.take(10, NOW, |_| 1).await.unwrap();
    let dead = jobs.iter().find(|job| job.destination == "dead.example").unwrap();
    assert!(dead.more);
    let report = Report { outcomes: vec![unreachable()], back_off: Some(NOW + 600) };
    queue.report(dead, report, NOW).await.unwrap();
    // New mail for it does not wake it, for nobody.
    queue.submit(submission(100, &["a@dead.example"]), NOW + 1).await.unwrap();
    let other = stand.queue("two").await;
    assert!(take(&other, 100, NOW + 599).await.is_empty());
    assert_eq!(queue.destinations(1, NOW + 1).await.unwrap()[0].back_off, Some(NOW + 600));
    assert_eq!(queue.counts(NOW + 1).await.unwrap().left_alone, 1);
    let jobs = take(&other, 100, NOW + 600).await;
    assert_eq!(jobs.len(), 31);
    assert!(jobs.iter().all(|job| job.attempts == 0));
    for job in &jobs {
        other.report(job, all([delivered()]), NOW + 600).await.unwrap();
    }
    // An operator knows better.
    queue.submit(submission(101, &["a@dead.example"]), NOW + 700).await.unwrap();
    let job = one(&queue, NOW + 700).await;
    let report = Report { outcomes: vec![unreachable()], back_off: Some(NOW + 9000) };
    queue.report(&job, report, NOW + 700).await.unwrap();
    let filter = Filter { destination: Some("dead.example".to_owned()), ..Filter::default() };
    assert_eq!(queue.change(&filter, Change::Retry, NOW + 701).await.unwrap(), 1);
    one(&queue, NOW + 701).await;
    stand.assert_lanes().await;
}

async fn many_for_one_do_not_keep_others_waiting(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    for number in 0..50 {
        queue.submit(submission(number, &["a@large.example"]), NOW).await.unwrap();
    }
    for number in 50..55 {
        let to = format!("a@small{number}.example");
        queue.submit(submission(number, &[&to]), NOW + 1).await.unwrap();
    }
    let jobs = take(&queue, 8, NOW + 1).await;
    let large = jobs.iter().filter(|job| job.destination == "large.example").count();
    // Nobody has a second before everybody had one.
    assert_eq!((jobs.len(), large), (7, 2));
    // One that is busy is passed over.
    let jobs = queue.take(8, NOW + 1, |name| usize::from(name != "large.example")).await.unwrap();
    assert!(jobs.is_empty());
    assert_eq!(take(&queue, 1000, NOW + 1).await.len(), 48);
}

async fn recipients_of_a_message_go_together(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    let to: Vec<String> = (0..150).map(|user| format!("user{user}@large.example")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    queue.submit(submission(1, &to), NOW).await.unwrap();
    let mut smart = submission(2, &["a@one.example", "b@two.example"]);
    smart.destinations = vec!["smarthost".to_owned(); 2];
    queue.submit(smart, NOW).await.unwrap();
    let jobs = queue.take(10, NOW, |_| 1).await.unwrap();
    let sizes: Vec<(&str, usize)> = jobs
        .iter()
        .map(|job| (job.destination.as_str(), job.envelope.recipients.len()))
        .collect();
    assert_eq!(sizes, [("large.example", 100), ("large.example", 50), ("smarthost", 2)]);
    // Their order is the envelope's.
    let first = &jobs[0].envelope.recipients[99].address;
    assert_eq!(first.to_string(), "user99@large.example");
    for job in jobs {
        let outcomes = job.envelope.recipients.iter().map(|_| delivered());
        queue.report(&job, all(outcomes), NOW).await.unwrap();
    }
    stand.assert_empty().await;
}

async fn operators_hold_release_return_and_drop(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    for number in 0..5 {
        queue.submit(submission(number, &["A@example.net", "b@example.com"]), NOW).await.unwrap();
    }
    let by_sender = Filter { sender: Some("ANN@example.org".to_owned()), ..Filter::default() };
    assert_eq!(queue.list(&by_sender, None, 100, NOW).await.unwrap().len(), 10);
    let page = queue.list(&by_sender, None, 4, NOW).await.unwrap();
    let last = page.last().unwrap();
    let rest = queue.list(&by_sender, Some((last.message, last.number)), 100, NOW).await.unwrap();
    assert_eq!((page.len(), rest.len()), (4, 6));
    let to_a = Filter { recipient: Some("a@EXAMPLE.net".to_owned()), ..Filter::default() };
    assert_eq!(queue.change(&to_a, Change::Hold, NOW).await.unwrap(), 5);
    let held = Filter { state: Some(State::Held), ..Filter::default() };
    assert_eq!(queue.list(&held, None, 100, NOW).await.unwrap().len(), 5);
    let jobs = take(&queue, 100, NOW).await;
    assert!(jobs.len() == 5 && jobs.iter().all(|job| job.destination == "example.com"));
    for job in &jobs {
        queue.report(job, all([delivered()]), NOW).await.unwrap();
    }
    // What is held does not expire, and is tried for a while once it is released.
    assert_eq!(queue.maintain(NOW + 20 * DAY).await.unwrap().expired, 0);
    let of = |number| Filter { message: Some(id(number)), ..Filter::default() };
    let now = NOW + 20 * DAY;
    assert_eq!(queue.change(&of(0), Change::Release, now).await.unwrap(), 1);
    assert_eq!(queue.change(&of(0), Change::Release, now).await.unwrap(), 0);
    assert_eq!(queue.maintain(now + 1).await.unwrap().expired, 0);
    let job = one(&queue, now + 1).await;
    assert!(queue.report(&job, all([temporary()]), now + 1).await.unwrap().next.is_some());
    assert_eq!(queue.change(&of(1), Change::Drop, now).await.unwrap(), 1);
    assert!(queue.show(id(1), now).await.unwrap().is_none());
    assert_eq!(queue.change(&of(2), Change::Return, now).await.unwrap(), 1);
    let (envelope, entries) = queue.show(id(2), now).await.unwrap().unwrap();
    assert_eq!((envelope.id, entries.len()), (id(2), 1));
    assert_eq!((entries[0].state, entries[0].owed), (State::Over, Some(Owed::Failed)));
    let counts = queue.counts(now + 1).await.unwrap();
    assert_eq!((counts.messages, counts.waiting, counts.held, counts.owed), (4, 1, 2, 1));
    assert_eq!((counts.due, counts.trying, counts.oldest), (0, 0, Some(NOW)));
    assert_eq!(queue.change(&Filter::default(), Change::Drop, now).await.unwrap(), 4);
    stand.assert_empty().await;
}

async fn held_while_it_is_tried(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    for number in 0..2 {
        queue.submit(submission(number, &["a@example.net"]), NOW).await.unwrap();
    }
    let jobs = take(&queue, 10, NOW).await;
    assert_eq!(queue.counts(NOW).await.unwrap().trying, 2);
    assert_eq!(queue.change(&Filter::default(), Change::Hold, NOW).await.unwrap(), 2);
    // What arrived has arrived; what did not is held.
    assert!(queue.report(&jobs[0], all([delivered()]), NOW).await.unwrap().late.is_empty());
    assert!(queue.report(&jobs[1], all([temporary()]), NOW).await.unwrap().late.is_empty());
    assert!(take(&queue, 10, NOW + DAY).await.is_empty());
    let counts = queue.counts(NOW).await.unwrap();
    assert_eq!((counts.messages, counts.held), (1, 1));
    assert_eq!(queue.change(&Filter::default(), Change::Release, NOW).await.unwrap(), 1);
    let job = one(&queue, NOW).await;
    assert_eq!(queue.change(&Filter::default(), Change::Drop, NOW).await.unwrap(), 1);
    assert_eq!(queue.report(&job, all([delivered()]), NOW).await.unwrap().late, [0]);
    stand.assert_empty().await;
}

async fn a_life_is_told(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    let mut accepted =
        muralla_mail_queue::Event::new(id(1), EventKind::Accepted, "from a\0laptop", NOW - 1);
    accepted.sender = Some("ann@example.org".to_owned());
    queue.events().note(accepted);
    queue.events().flush().await;
    queue.submit(submission(1, &["a@example.net"]), NOW).await.unwrap();
    queue.submit(submission(2, &["b@example.net"]), NOW + 1).await.unwrap();
    let job = take(&queue, 1, NOW).await.pop().unwrap();
    queue.report(&job, all([temporary()]), NOW + 2).await.unwrap();
    let job = take(&queue, 10, NOW + HOUR).await;
    for job in job {
        queue.report(&job, all([delivered()]), NOW + HOUR).await.unwrap();
    }
    let life = [EventKind::Accepted, EventKind::Queued, EventKind::Deferred, EventKind::Delivered];
    for asked in [
        id(1).to_string(),
        "<1@example.org>".to_owned(),
        "1@example.org".to_owned(),
        "A@Example.net".to_owned(),
    ] {
        let events = queue.events().trace(&Traced::parse(&asked)).await.unwrap();
        let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
        assert_eq!(kinds, life, "{asked}");
        assert_eq!(events[0].text, "from a laptop");
        assert_eq!(events[3].text, "mx.example.net: 250 2.0.0 fine");
    }
    // A sender has many; each is told from its beginning.
    let events = queue.events().trace(&Traced::parse("ann@example.org")).await.unwrap();
    let messages: Vec<MessageId> = events.iter().map(|event| event.message).collect();
    assert_eq!(messages, [[id(1); 4].as_slice(), [id(2); 2].as_slice()].concat());
    assert_eq!(queue.maintain(NOW + 31 * DAY).await.unwrap().events, 6);
    assert!(queue.events().trace(&Traced::Message(id(1))).await.unwrap().is_empty());
    assert_eq!(queue.events().lost(), 0);
}

async fn many_at_once_share_transactions(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    let mut tasks = Vec::new();
    for number in 0..400 {
        let queue = queue.clone();
        tasks.push(tokio::spawn(async move {
            let to = format!("user@d{}.example", number % 7);
            queue.submit(submission(number, &[&to]), NOW).await.unwrap()
        }));
    }
    for task in tasks {
        assert_eq!(task.await.unwrap(), Submitted::Queued);
    }
    let mut jobs = BTreeMap::new();
    loop {
        let taken = take(&queue, 64, NOW).await;
        if taken.is_empty() {
            break;
        }
        jobs.extend(taken.into_iter().map(|job| (job.message, job)));
    }
    assert_eq!(jobs.len(), 400);
    let mut tasks = Vec::new();
    for job in jobs.into_values() {
        let queue = queue.clone();
        tasks.push(tokio::spawn(async move {
            queue.report(&job, all([delivered()]), NOW).await.unwrap()
        }));
    }
    for task in tasks {
        assert!(task.await.unwrap().late.is_empty());
    }
    stand.assert_empty().await;
    let status = queue.status();
    assert_eq!((status.submitted, status.delivered, status.waiting), (400, 400, 0));
    assert!(status.batches < 800, "{} transactions for 800 steps", status.batches);
    assert_eq!(queue.maintain(NOW + HOUR).await.unwrap().expired, 0);
}
