//! What operators do.

use muralla_mail_queue::{Change, Filter, Owed, State};
use muralla_test_database::on_both_engines;

use crate::common::Database;
use crate::stand::{DAY, NOW, Stand, all, delivered, id, one, raw, submission, take, temporary};

on_both_engines!(operators_hold_release_return_and_drop, held_while_it_is_tried,);

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
    let (body, size) = queue.body(id(2)).await.unwrap().unwrap();
    assert_eq!(queue.bodies().get(body).await.unwrap(), raw(2));
    assert_eq!(size, u64::try_from(raw(2).len()).unwrap());
    assert!(queue.body(id(1)).await.unwrap().is_none(), "it was dropped");
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
