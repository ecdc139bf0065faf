//! Whoever gives up while a transaction begins leaves nothing of it to those who come after.
#![cfg(test)]

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::thread::sleep;
use std::time::Duration;

use muralla_database::Engine;
use muralla_test_database::{Database, on_both_engines};
use tokio::task::yield_now;

on_both_engines!(a_transaction_that_nobody_waited_for_is_ended);

async fn a_transaction_that_nobody_waited_for_is_ended(database: Database) {
    let engine = Engine::new(database.location(), "muralla-test").unwrap();
    let mut work = engine.write().await.unwrap();
    work.execute("CREATE TABLE given_up (number BIGINT NOT NULL)", vec![]).await.unwrap();
    work.commit().await.unwrap();
    for round in 0..200_u64 {
        give_up_after(round % 20, engine.read()).await;
        give_up_after(round % 20, engine.write()).await;
        let number = i64::try_from(round).unwrap();
        let mut work = engine.write().await.unwrap();
        work.execute("INSERT INTO given_up (number) VALUES ($1)", vec![number.into()])
            .await
            .unwrap();
        work.commit().await.unwrap();
        let mut work = engine.read().await.unwrap();
        let there = work.number("SELECT count(*) FROM given_up", vec![]).await.unwrap();
        assert_eq!(there, number + 1, "it reads what was, in round {round}");
    }
    engine.close().await;
}

/// Lets a transaction begin for a while: sometimes it is under way then, sometimes it has begun, sometimes neither.
async fn give_up_after<T>(looks: u64, beginning: impl Future<Output = T>) {
    let mut beginning = pin!(beginning);
    for _ in 0..=looks {
        let look = poll_fn(|context| Poll::Ready(beginning.as_mut().poll(context).is_ready()));
        if look.await {
            return;
        }
        sleep(Duration::from_micros(20));
        yield_now().await;
    }
}
