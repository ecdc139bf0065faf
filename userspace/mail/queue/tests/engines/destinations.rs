//! How much goes where at once.

use muralla_mail_queue::{Change, Filter, Report};
use muralla_test_database::on_both_engines;

use crate::common::Database;
use crate::stand::{NOW, Stand, all, delivered, one, submission, take, unreachable};

on_both_engines!(
    a_dead_destination_costs_nobody_an_attempt,
    many_for_one_do_not_keep_others_waiting,
    recipients_of_a_message_go_together,
);

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
    stand.assert_lanes(NOW).await;
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
    let sizes: Vec<(&str, usize)> =
        jobs.iter().map(|job| (job.destination.as_str(), job.envelope.recipients.len())).collect();
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
