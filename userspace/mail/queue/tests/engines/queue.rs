//! Mail that is queued: once, durable, traced, and not lost on a full disk.

use std::collections::BTreeMap;

use muralla_database::Engine;
use muralla_mail_envelope::MessageId;
use muralla_mail_queue::{EventKind, Submitted, Traced};
use muralla_test_database::on_both_engines;

use crate::common::Database;
use crate::stand::{DAY, HOUR, NOW, Stand, all, delivered, id, submission, take, temporary};

on_both_engines!(
    submitted_once,
    whose_mail_it_is_is_kept,
    a_life_is_told,
    many_at_once_share_transactions,
);

/// The account that forwards to a recipient is known as often as he is tried, and is nobody else's.
async fn whose_mail_it_is_is_kept(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    let mut forwarded = submission(1, &["a@example.net", "b@example.net", "c@example.net"]);
    forwarded.accounts = vec![Some(7), None, Some(9)];
    queue.submit(forwarded, NOW).await.unwrap();
    let job = take(&queue, 10, NOW).await.pop().unwrap();
    assert_eq!(job.accounts, [Some(7), None, Some(9)]);
    let reported = queue.report(&job, all([temporary(), delivered(), temporary()]), NOW).await;
    let next = reported.unwrap().next.unwrap();
    // Another process takes what is left.
    let job = take(&stand.queue("two").await, 10, next).await.pop().unwrap();
    assert_eq!(job.accounts, [Some(7), Some(9)]);
    let mut uneven = submission(2, &["a@example.net", "b@example.net"]);
    uneven.accounts = vec![Some(7)];
    assert!(queue.submit(uneven, NOW).await.is_err());
    queue.submit(submission(3, &["a@example.com"]), NOW).await.unwrap();
    let job = take(&queue, 10, NOW).await.pop().unwrap();
    assert_eq!(job.accounts, [None]);
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

/// What the database may have at most, or what it has if that is more. The connection forgets it when it ends.
async fn most_pages(engine: &Engine, most: u32) {
    let mut work = engine.write().await.unwrap();
    work.run(format!("PRAGMA max_page_count = {most}")).await.unwrap();
    work.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_loses_nothing_and_sends_nothing_twice() {
    let stand = Stand::new(Database::sqlite()).await;
    let queue = stand.queue("one").await;
    for number in 0..20 {
        queue.submit(submission(number, &["a@example.net"]), NOW).await.unwrap();
    }
    let jobs = take(&queue, 8, NOW).await;
    most_pages(&stand.engine, 1).await;
    let mut queued = 20;
    let full = loop {
        match queue.submit(submission(queued, &["b@example.com"]), NOW).await {
            Ok(_) => queued += 1,
            Err(error) => break error,
        }
    };
    assert!(full.may_pass(), "{full}");
    assert_eq!(stand.number("SELECT count(*) FROM mail_queue").await, i64::from(queued));
    // What was sent can't be written down, perhaps, but it is not sent again while somebody knows that it was.
    let mut unwritten = Vec::new();
    for job in jobs {
        most_pages(&stand.engine, 1).await;
        match queue.report(&job, all([delivered()]), NOW).await {
            Ok(reported) => assert!(reported.late.is_empty()),
            Err(error) => {
                assert!(error.may_pass(), "{error}");
                unwritten.push(job);
            }
        }
    }
    let later = NOW + DAY;
    most_pages(&stand.engine, 1).await;
    let again = match queue.take(100, later, |_| 100).await {
        Ok(jobs) => jobs,
        Err(error) => {
            assert!(error.may_pass(), "{error}");
            Vec::new()
        }
    };
    for job in &unwritten {
        assert!(again.iter().all(|other| other.message != job.message));
    }
    drop(again);
    most_pages(&stand.engine, 1 << 20).await;
    for job in &unwritten {
        assert!(queue.report(job, all([delivered()]), later).await.unwrap().late.is_empty());
    }
    drop(unwritten);
    let rest = take(&queue, 1000, later + DAY).await;
    assert_eq!(rest.len() as u32, queued - 8);
    for job in rest {
        queue.report(&job, all([delivered()]), later + DAY).await.unwrap();
    }
    stand.assert_empty().await;
}
