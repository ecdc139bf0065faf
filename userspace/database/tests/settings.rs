//! Whether a database keeps what it says that it keeps.
#![cfg(test)]

use muralla_database::{Engine, dialect};
use muralla_test_database::{Database, on_both_engines};

async fn what_is_off_is_told(database: Database) {
    let engine = Engine::new(database.location(), "muralla-test").unwrap();
    let mut work = engine.read().await.unwrap();
    let off = dialect::careless(&mut work).await.unwrap();
    match engine.postgres() {
        None => assert!(off.is_empty(), "{off:?}"),
        // That is how tests have theirs.
        Some(_) => assert_eq!(off, ["fsync"]),
    }
    drop(work);
    engine.close().await;
}

on_both_engines!(what_is_off_is_told);
