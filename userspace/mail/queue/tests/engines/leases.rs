//! Who has what: taken by one, reported by him alone, and given to others if he dies.

use std::collections::BTreeSet;
use std::sync::Arc;

use muralla_mail_queue::Outcome;
use muralla_mail_queue::owners::{HEARD, SILENT};
use muralla_mail_store::packs::memory::MemoryPacks;
use muralla_mail_store::{Bodies, BodyOptions};
use muralla_test_database::on_both_engines;

use crate::common::Database;
use crate::stand::{
    DAY, NOW, Stand, all, delivered, id, one, permanent, submission, take, temporary,
};

on_both_engines!(
    two_owners_never_take_one_recipient,
    a_late_owner_is_refused,
    a_dead_owner_is_survived,
    who_begins_again_has_nothing_left,
    a_living_process_keeps_what_it_has,
    what_is_in_hand_is_not_handed_out_again,
    work_of_others_is_found,
);

async fn two_owners_never_take_one_recipient(database: Database) {
    let stand = Stand::new(database).await;
    let queues = [stand.queue("one").await, stand.queue("two").await, stand.queue("three").await];
    for number in 0..60 {
        let names = ["a.example", "b.example", "c.example"];
        let to: Vec<String> = names.iter().map(|name| format!("user{number}@{name}")).collect();
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
    stand.assert_lanes(NOW).await;
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
    stand.assert_lanes(NOW).await;
}

async fn who_begins_again_has_nothing_left(database: Database) {
    let stand = Stand::new(database).await;
    let (queue, other) = (stand.queue("one").await, stand.queue("two").await);
    for number in 0..6 {
        queue.submit(submission(number, &["a@example.net"]), NOW).await.unwrap();
    }
    let before = take(&queue, 2, NOW).await;
    let others = take(&other, 2, NOW).await;
    let again = stand.queue("one").await;
    assert_eq!(again.reclaim(NOW + SILENT - 1).await.unwrap(), 0, "it may live");
    assert_eq!(again.maintain(NOW + SILENT).await.unwrap().reclaimed, 2, "it is dead");
    let now = NOW + SILENT;
    let reported = queue.report(&before[0], all([delivered()]), now).await.unwrap();
    assert_eq!(reported.late, [0], "an earlier life reports no more");
    assert!(!queue.renew(&before[1], now).await.unwrap());
    assert_eq!(take(&again, 100, now).await.len(), 4);
    let reported = other.report(&others[0], all([delivered()]), now).await.unwrap();
    assert!(reported.late.is_empty(), "another's are his");
    // What is given back is due at once, and no attempt was made.
    assert!(other.give_back(&others[1], now).await.unwrap().late.is_empty());
    let job = one(&again, now).await;
    assert_eq!((job.message, job.attempts), (others[1].message, 0));
}

async fn a_living_process_keeps_what_it_has(database: Database) {
    let stand = Stand::new(database).await;
    let old = stand.queue("one").await;
    for number in 0..3 {
        old.submit(submission(number, &["a@example.net"]), NOW).await.unwrap();
    }
    let jobs = take(&old, 2, NOW).await;
    // An upgrade: the new process has the name of the old one, which still has to finish.
    let new = stand.queue("one").await;
    let mut now = NOW;
    for _ in 0..20 {
        now += HEARD;
        // There is nothing to take for it, and looking is enough.
        assert!(old.take(10, now, |_| 0).await.unwrap().is_empty());
        assert_eq!(new.maintain(now).await.unwrap().reclaimed, 0);
    }
    let taken = take(&new, 10, now).await;
    assert_eq!(taken.len(), 1);
    assert!(old.renew(&jobs[0], now).await.unwrap());
    assert_eq!(
        old.reclaim(now + DAY).await.unwrap(),
        0,
        "nobody takes from one who came after him"
    );
    assert!(old.report(&jobs[0], all([delivered()]), now).await.unwrap().late.is_empty());
    // It says farewell with a message in hand: nobody waits for that, nor does he report it any more.
    assert_eq!(old.leave(now).await.unwrap(), 1);
    assert_eq!(old.report(&jobs[1], all([delivered()]), now).await.unwrap().late, [0]);
    let job = one(&new, now).await;
    assert_eq!(job.message, jobs[1].message);
    for job in [&job, &taken[0]] {
        assert!(new.report(job, all([delivered()]), now).await.unwrap().late.is_empty());
    }
    stand.assert_empty().await;
    assert_eq!(new.maintain(now).await.unwrap().reclaimed, 0);
    let sql = "SELECT count(*) FROM mail_queue_owner";
    assert_eq!(stand.number(sql).await, 1, "lives that are over are forgotten, but for the newest");
    let third = stand.queue("one").await;
    assert_eq!(third.leave(now).await.unwrap(), 0, "who took nothing has nothing");
    third.reclaim(now).await.unwrap();
    let owner = "SELECT max(life) FROM mail_queue_owner WHERE name = 'one'";
    assert_eq!(stand.number(owner).await, 3);
}

/// A lease ends while somebody here still has the message, as nothing could be written: he is not joined by another.
async fn what_is_in_hand_is_not_handed_out_again(database: Database) {
    let stand = Stand::new(database).await;
    let queue = stand.queue("one").await;
    queue.submit(submission(1, &["a@example.net", "b@example.net"]), NOW).await.unwrap();
    queue.submit(submission(2, &["a@example.net"]), NOW).await.unwrap();
    let jobs = take(&queue, 10, NOW).await;
    let (job, dropped) = (jobs[0].clone(), jobs[1].message);
    drop(jobs);
    let (later, sooner) = (NOW + 1200, NOW + 1199);
    assert!(take(&queue, 10, sooner).await.is_empty());
    let again = one(&queue, later).await;
    assert_eq!(again.message, dropped, "nobody has that any more");
    // Another process sees a lease that was taken anew, and the one who has it may still report it.
    assert!(take(&stand.queue("two").await, 10, later + 1199).await.is_empty());
    assert!(queue.renew(&job, later + 1).await.unwrap());
    let outcomes = job.envelope.recipients.iter().map(|_| delivered());
    assert!(queue.report(&job, all(outcomes), later + 2).await.unwrap().late.is_empty());
    queue.report(&again, all([temporary()]), later + 2).await.unwrap();
    let next = queue.next_due().await.unwrap().unwrap();
    let job = one(&queue, next).await;
    queue.report(&job, all([delivered()]), next).await.unwrap();
    stand.assert_empty().await;
}

/// What one process queues, another finds by looking, and looks soon enough.
async fn work_of_others_is_found(database: Database) {
    let stand = Stand::new(database).await;
    let (taker, giver) = (stand.queue("taker").await, stand.queue("giver").await);
    let looking = tokio::spawn(async move {
        loop {
            if let Some(job) = take(&taker, 1, NOW).await.pop() {
                return job.message;
            }
            taker.woken().await;
        }
    });
    giver.submit(submission(1, &["a@example.net"]), NOW).await.unwrap();
    assert_eq!(looking.await.unwrap(), id(1));
    // And who queues something himself is woken at once.
    giver.woken().await;
}
