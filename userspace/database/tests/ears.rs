//! Whoever waits for what is new is woken by it, on either engine and over a loss of the database.
#![cfg(test)]

use std::future::{pending, ready};

use muralla_database::{Ears, Engine, Woken};
use muralla_test_database::{Database, on_both_engines};

const CHANNEL: &str = "muralla_test";

on_both_engines!(who_is_nudged_is_woken, who_hears_nothing_looks_all_the_same);

fn engine(database: &Database) -> Engine {
    Engine::new(database.location(), "muralla-test").unwrap()
}

/// Ears that listen already.
async fn listening(engine: &Engine) -> Ears {
    let mut ears = Ears::new(CHANNEL);
    assert_eq!(ears.wait(engine, pending()).await, Woken::Unheard);
    ears
}

async fn who_is_nudged_is_woken(database: Database) {
    let engine = engine(&database);
    let mut ears = listening(&engine).await;
    assert_eq!(ears.wait(&engine, ready(())).await, Woken::Nudged);
}

async fn who_hears_nothing_looks_all_the_same(database: Database) {
    let engine = engine(&database);
    let mut ears = listening(&engine).await;
    assert_eq!(ears.wait(&engine, pending()).await, Woken::Unheard);
}

#[tokio::test]
async fn a_word_is_heard_on_its_channel_alone_and_kept_for_the_next_wait() {
    let database = Database::postgres();
    let engine = engine(&database);
    let mut ears = listening(&engine).await;
    database.sql("NOTIFY muralla_other").await;
    assert_eq!(ears.wait(&engine, pending()).await, Woken::Unheard);
    database.sql("NOTIFY muralla_test").await;
    assert_eq!(ears.wait(&engine, pending()).await, Woken::Heard);
}

#[tokio::test]
async fn a_lost_connection_wakes_and_is_made_anew() {
    let database = Database::postgres();
    let engine = engine(&database);
    let mut ears = listening(&engine).await;
    database.kill();
    // Something may have been said that nobody heard.
    assert_eq!(ears.wait(&engine, pending()).await, Woken::Heard);
    database.start();
    let mut woken = Woken::Unheard;
    for _ in 0..10 {
        // One wait is for the connection, and perhaps one for the task that ends.
        database.sql("NOTIFY muralla_test").await;
        woken = ears.wait(&engine, pending()).await;
        if woken == Woken::Heard {
            break;
        }
    }
    assert_eq!(woken, Woken::Heard);
}

#[tokio::test]
async fn who_hung_up_listens_anew() {
    let database = Database::postgres();
    let engine = engine(&database);
    let mut ears = listening(&engine).await;
    ears.close();
    // Nobody hears this.
    database.sql("NOTIFY muralla_test").await;
    assert_eq!(ears.wait(&engine, pending()).await, Woken::Unheard);
    database.sql("NOTIFY muralla_test").await;
    assert_eq!(ears.wait(&engine, pending()).await, Woken::Heard);
}
