//! How it ends: delivered, refused, expired; and who is told.

use std::collections::BTreeMap;

use muralla_mail_envelope::dsn::Action;
use muralla_mail_envelope::{Client, Domain, Notify, ReversePath};
use muralla_mail_queue::{Change, EventKind, Filter, Owed, State, Submission, Told, Traced};
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
    who_can_not_be_told_keeps_it_held,
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
    // One of our own.
    let mut notice = submission(3, &["a@example.net"]);
    notice.envelope.from = ReversePath::Null;
    notice.envelope.client = Client::local(&Domain::parse("mx.example.org").unwrap());
    let mut anybody = envelope(2, &["a@example.net"]);
    anybody.client.authenticated = None;
    let mut anybody = Submission::new(anybody, raw(2));
    assert!(!anybody.known);
    anybody.envelope.recipients[0].parameters.notify =
        Notify { success: true, failure: true, delay: true, never: false };
    for submission in [from_nobody, anybody, notice] {
        queue.submit(submission, NOW).await.unwrap();
    }
    assert_eq!(queue.maintain(NOW + DAY).await.unwrap().delayed, 0);
    let jobs = take(&queue, 10, NOW).await;
    assert_eq!(jobs.len(), 3);
    for job in jobs {
        let reported = queue.report(&job, all([permanent()]), NOW).await.unwrap();
        assert_eq!(reported.owed, 0);
    }
    assert!(queue.notices(None, 10).await.unwrap().is_empty());
    assert_eq!(queue.status().untold, 2, "from nobody, and from whom anybody could have been");
    // They were taken over: an operator sees to them. A notice has nobody who waits for it.
    assert_eq!(queue.maintain(NOW + 29 * DAY).await.unwrap().let_go, 0);
    assert_eq!(queue.counts(NOW + 29 * DAY).await.unwrap().held, 2);
    let entries = queue.list(&Filter::default(), None, 9, NOW).await.unwrap();
    let messages: Vec<_> = entries.iter().map(|entry| entry.message).collect();
    assert_eq!(messages, [id(1), id(2)]);
    assert!(entries.iter().all(|entry| entry.reply.is_some()), "{entries:?}");
    // One that expires is no other.
    let mut short = submission(4, &["a@example.net"]);
    short.envelope.from = ReversePath::Null;
    short.lifetime = Some(HOUR);
    queue.submit(short, NOW).await.unwrap();
    assert_eq!(queue.maintain(NOW + HOUR).await.unwrap().expired, 1);
    assert_eq!((queue.counts(NOW).await.unwrap().held, queue.status().untold), (3, 3));
    // Whoever can't be told can't fill the queue either: what nobody saw to goes, and what an operator holds stays.
    let first = Filter { message: Some(id(1)), ..Filter::default() };
    assert_eq!(queue.change(&first, Change::Hold, NOW).await.unwrap(), 1);
    assert_eq!(queue.maintain(NOW + 31 * DAY).await.unwrap().let_go, 2);
    assert_eq!(queue.counts(NOW + 31 * DAY).await.unwrap().held, 1);
    assert_eq!(queue.change(&Filter::default(), Change::Return, NOW).await.unwrap(), 1);
    assert!(queue.notices(None, 10).await.unwrap().is_empty(), "nor are the others told");
    stand.assert_empty().await;
}

/// Its sender is gone, or takes no mail: what he can't be told is an operator's to see.
async fn who_can_not_be_told_keeps_it_held(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    let mut three = submission(1, &["a@example.net", "b@example.net", "c@example.net"]);
    three.envelope.recipients[1].parameters.notify =
        Notify { success: true, failure: true, delay: true, never: false };
    queue.submit(three, NOW).await.unwrap();
    let job = one(&queue, NOW).await;
    let outcomes = [permanent(), delivered(), temporary()];
    assert_eq!(queue.report(&job, all(outcomes), NOW).await.unwrap().owed, 2);
    queue.maintain(NOW + 4 * HOUR).await.unwrap();
    let notice = queue.notices(None, 10).await.unwrap().pop().unwrap();
    assert_eq!(notice.fates.len(), 3, "one failed, one arrived, one takes long");
    let now = NOW + 4 * HOUR;
    let why = "its sender takes no mail";
    assert_eq!(queue.settle_untold(&notice, why, now).await.unwrap(), Told::Told);
    assert_eq!(queue.settle_untold(&notice, why, now).await.unwrap(), Told::Late);
    assert!(queue.notices(None, 10).await.unwrap().is_empty());
    let entries = queue.list(&Filter::default(), None, 9, now).await.unwrap();
    let left: Vec<_> =
        entries.iter().map(|entry| (entry.recipient.as_str(), entry.state, entry.owed)).collect();
    let expected = [("a@example.net", State::Held, None), ("c@example.net", State::Waiting, None)];
    assert_eq!(left, expected);
    assert_eq!(queue.status().untold, 1);
    let events = queue.events().trace(&Traced::Message(id(1))).await.unwrap();
    assert!(events.iter().all(|event| event.kind != EventKind::Notified), "{events:?}");
    let held = events.iter().find(|event| event.kind == EventKind::Held).unwrap();
    assert_eq!(
        held.text,
        "nobody could be told that it failed, as its sender takes no mail; it is held"
    );
    // Its sender is there again: he is told after all.
    let of_a = Filter { recipient: Some("a@example.net".to_owned()), ..Filter::default() };
    assert_eq!(queue.change(&of_a, Change::Return, now).await.unwrap(), 1);
    let notice = queue.notices(None, 10).await.unwrap().pop().unwrap();
    assert_eq!(notice.fates.len(), 1);
    assert_eq!(queue.tell(&notice, about(&notice), now).await.unwrap(), Told::Told);
    let entries = queue.list(&of_a, None, 9, now).await.unwrap();
    assert!(entries.is_empty(), "{entries:?}");
    let owed = queue.list(&Filter::default(), None, 9, now).await.unwrap();
    assert!(owed.iter().all(|entry| entry.owed != Some(Owed::Failed)), "{owed:?}");
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
