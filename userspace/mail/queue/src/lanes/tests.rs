use muralla_database::{Engine, Location, migrate};
use proptest::prelude::*;

use super::*;
use crate::schema::SCHEMA;

/// When something is due at a destination, and until when it is left alone.
type Lane = (i64, i64);

/// What a row becomes: what the statement computes, in other words.
fn merged(old: Option<Lane>, due: Option<i64>, backoff: Option<i64>) -> Lane {
    let backoff = backoff.unwrap_or(0);
    let due = due.unwrap_or(FAR).max(backoff);
    match old {
        None => (due, backoff),
        Some((old_due, old_backoff)) => {
            let backoff = backoff.max(old_backoff);
            (due.min(old_due).max(backoff), backoff)
        }
    }
}

/// Every old row with every news.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_merges_as_it_should() {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(folder.path().join("mail.db"));
    let engine = Engine::new(&location, "test").unwrap();
    migrate(&engine, &SCHEMA).await.unwrap();
    let some = |most: i64| (0..most).map(Some).chain([None]);
    let mut olds = vec![None];
    for due in 0..6 {
        olds.extend((0..=due).map(|backoff| Some((due, backoff))));
    }
    let (mut rows, mut lanes, mut expected) = (Vec::new(), Lanes::default(), BTreeMap::new());
    for old in olds {
        for due in some(7) {
            for backoff in some(7).filter(|backoff| due.is_some() || backoff.is_some()) {
                let name = format!("{old:?} {due:?} {backoff:?}");
                if let Some((due, backoff)) = old {
                    rows.push(vec![name.as_str().into(), due.into(), backoff.into()]);
                }
                due.into_iter().for_each(|due| lanes.due(&name, due));
                backoff.into_iter().for_each(|backoff| lanes.back_off(&name, backoff));
                expected.insert(name, merged(old, due, backoff));
            }
        }
    }
    let mut work = engine.write().await.unwrap();
    let head = "INSERT INTO mail_queue_destination (name, due, backoff)";
    work.bulk(head, "", 3, rows).await.unwrap();
    lanes.enter(&mut work).await.unwrap();
    let mut found = BTreeMap::new();
    let sql = "SELECT name, due, backoff FROM mail_queue_destination";
    work.each(sql, Vec::new(), |row| {
        found.insert(row.text(0)?, (row.int(1)?, row.int(2)?));
        Ok(())
    })
    .await
    .unwrap();
    assert!(found.len() > 1000);
    assert_eq!(found, expected);
}

proptest! {
    /// Whatever comes in whatever order, a destination is never due later than the first that waits for it, unless it is left alone;
    /// and never before that ends.
    #[test]
    fn what_waits_is_found(news in proptest::collection::vec(
        (proptest::option::of(0..100i64), proptest::option::of(0..100i64)),
        1..20,
    )) {
        let (mut lane, mut first) = (None, FAR);
        for (due, backoff) in news {
            first = first.min(due.unwrap_or(FAR));
            let (due, backoff) = merged(lane, due, backoff);
            prop_assert!(due >= backoff);
            prop_assert!(due <= first.max(backoff));
            lane = Some((due, backoff));
        }
    }
}
