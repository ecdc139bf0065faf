//! How it ends: delivered, refused, expired; and who is told.

use std::collections::BTreeMap;

use muralla_mail_envelope::dsn::Action;
use muralla_mail_envelope::{Notify, ReversePath};
use muralla_mail_queue::{Change, Filter, Submission, Told};
use muralla_test_database::on_both_engines;

use crate::common::Database;
use crate::stand::{
    DAY, HOUR, NOW, Stand, about, address, all, delivered, envelope, id, one, permanent, raw,
    submission, take, temporary, unreachable,
};

on_both_engines!(
    outcomes_end_or_put_off,
    a_sender_is_told_once,
    nobody_is_told_of_what_could_loop,
    a_long_wait_is_told_once,
    what_expires_ends_though_nobody_tries,
);

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
    stand.assert_lanes(NOW).await;
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
    let fates: BTreeMap<String, Action> =
        mine[0].fates.iter().map(|fate| (fate.recipient.to_string(), fate.action)).collect();
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
    assert_eq!(queue.status().untold, 1, "the one that anybody could have sent");
    // It was taken over: an operator sees to it, for as long as that takes.
    queue.maintain(NOW + 90 * DAY).await.unwrap();
    assert_eq!(queue.counts(NOW + 90 * DAY).await.unwrap().held, 1);
    let entry = queue.list(&Filter::default(), None, 9, NOW).await.unwrap().pop().unwrap();
    assert!(entry.reply.is_some(), "{entry:?}");
    assert_eq!(queue.change(&Filter::default(), Change::Return, NOW).await.unwrap(), 1);
    assert!(queue.notices(None, 10).await.unwrap().is_empty(), "nor is the other told");
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
