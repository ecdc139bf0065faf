//! Whatever is done in whatever order.

use std::collections::BTreeSet;

use muralla_mail_envelope::MessageId;
use muralla_mail_queue::{Change, Filter, Job, Outcome, Report, Told};
use muralla_test_database::on_both_engines;

use crate::common::Database;
use crate::stand::{
    HOUR, NOW, Stand, all, delivered, id, permanent, submission, take, temporary, unreachable,
};

on_both_engines!(whatever_happens_nothing_is_forgotten,);

/// Two processes, operators, the clock, and what they do by chance: no recipient is lost from sight, and none has two outcomes.
async fn whatever_happens_nothing_is_forgotten(database: Database) {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    let stand = Stand::new(database).await;
    let queues = [stand.queue("one").await, stand.queue("two").await];
    let mut dice = StdRng::seed_from_u64(5);
    let mut now = NOW;
    let mut number = 0;
    let mut in_hand: Vec<(usize, Job)> = Vec::new();
    let mut ended: BTreeSet<(MessageId, String)> = BTreeSet::new();
    let mut domains = Vec::new();
    for domain in 0..6 {
        domains.push(format!("d{domain}.example"));
    }
    for _ in 0..500 {
        let which = dice.random_range(0..2);
        let queue = &queues[which];
        match dice.random_range(0..12) {
            0..3 => {
                let to: Vec<String> = (0..dice.random_range(1..5))
                    .map(|user| format!("u{user}@{}", domains[dice.random_range(0..6)]))
                    .collect();
                let to: Vec<&str> = to.iter().map(String::as_str).collect();
                let mut submission = submission(number, &to);
                submission.due = dice.random_bool(0.3).then(|| now + dice.random_range(0..HOUR));
                queue.submit(submission, now).await.unwrap();
                number += 1;
            }
            3..5 => {
                let free = dice.random_range(0..4);
                let jobs = queue.take(dice.random_range(1..8), now, |_| free).await.unwrap();
                in_hand.extend(jobs.into_iter().map(|job| (which, job)));
            }
            5..8 if !in_hand.is_empty() => {
                let (which, job) = in_hand.swap_remove(dice.random_range(0..in_hand.len()));
                let mut report = Report::default();
                for _ in &job.envelope.recipients {
                    report.outcomes.push(match dice.random_range(0..6) {
                        0 => temporary(),
                        1 => permanent(),
                        2 => unreachable(),
                        3 => Outcome::Untried,
                        _ => delivered(),
                    });
                }
                let dead = report.outcomes.iter().any(|outcome| *outcome == unreachable());
                report.back_off = dead.then(|| now + dice.random_range(1..2 * HOUR));
                let reported = queues[which].report(&job, report.clone(), now).await.unwrap();
                for (at, recipient) in job.envelope.recipients.iter().enumerate() {
                    let over =
                        report.outcomes[at] == delivered() || report.outcomes[at] == permanent();
                    if over && !reported.late.contains(&at) {
                        let fresh = ended.insert((job.message, recipient.address.to_string()));
                        assert!(fresh, "{} of {} has two outcomes", recipient.address, job.message);
                    }
                }
            }
            8 if !in_hand.is_empty() => {
                // Who had it is gone, and said nothing.
                in_hand.swap_remove(dice.random_range(0..in_hand.len()));
            }
            9 => {
                let changes = [
                    Change::Retry,
                    Change::Hold,
                    Change::Release,
                    Change::Release,
                    Change::Return,
                    Change::Drop,
                ];
                let mut filter = Filter::default();
                if dice.random_bool(0.5) {
                    filter.destination = Some(domains[dice.random_range(0..6)].clone());
                } else {
                    filter.message = Some(id(dice.random_range(0..=number)));
                }
                let change = changes[dice.random_range(0..changes.len())];
                queue.change(&filter, change, now).await.unwrap();
            }
            10 => drop(queue.maintain(now).await.unwrap()),
            11 => {
                for notice in queue.notices(None, 3).await.unwrap() {
                    queue.settle(&notice, now).await.unwrap();
                }
            }
            _ => now += dice.random_range(0..600),
        }
        stand.assert_lanes(now).await;
    }
    drop(in_hand);
    let [queue, _] = &queues;
    queue.change(&Filter::default(), Change::Release, now).await.unwrap();
    for _ in 0..200 {
        queue.maintain(now).await.unwrap();
        for job in take(queue, 100, now).await {
            let outcomes = job.envelope.recipients.iter().map(|_| delivered());
            let reported = queue.report(&job, all(outcomes), now).await.unwrap();
            assert!(reported.late.is_empty());
        }
        for notice in queue.notices(None, 1000).await.unwrap() {
            assert_eq!(queue.settle(&notice, now).await.unwrap(), Told::Told);
        }
        stand.assert_lanes(now).await;
        match queue.next_due().await.unwrap() {
            Some(due) => now = now.max(due),
            None => break,
        }
    }
    stand.assert_empty().await;
    assert!(number > 80 && ended.len() > 20, "{number} {}", ended.len());
}
