//! What a NAS makes up costs the pools next to nothing, and what it says of honest users holds.

use std::time::Instant;

use muralla_radius_accounting::ExportRow;
use muralla_radius_state::{Leases, SessionFilter, State};
use muralla_test_database::on_both_engines;

use crate::common::{Database, accounting};
use crate::leases::{holder, pool, unix_now};

on_both_engines![
    sessions_that_a_nas_makes_up_take_no_pool,
    what_was_offered_and_never_written_down_is_whose_nas_says_so,
    who_was_offered_it_has_it_though_nobody_knows_him,
];

/// All that the pool has.
const ALL: u8 = 40;

fn address(last: u8) -> String {
    format!("198.51.100.{last}")
}

/// The record of a session on another server, with something of the pool.
fn told(status: &'static str, user: &str, last: u8) -> ExportRow {
    let mut row = accounting(status, 1_000 + u64::from(last), user, unix_now());
    row.framed_address = Some(address(last));
    row
}

/// As when changes are followed: what is open there is heard here.
async fn hear(state: &State, leases: &Leases) {
    let open = SessionFilter { open: true, ..SessionFilter::default() };
    for session in state.sessions(&open, 1_000).await.unwrap() {
        leases.hear_open(&session);
    }
}

/// As many users as there are addresses.
async fn take_all(leases: &Leases) {
    for number in 0..ALL {
        let user = format!("customer {number}");
        let lease = || leases.lease("home", &holder(&user, "1"), Instant::now());
        // Then more is reserved.
        if lease().is_err() {
            leases.keep().await.unwrap();
            let _ = lease();
        }
    }
    leases.keep().await.unwrap();
}

async fn ready(database: &Database) -> (State, State, Leases) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    pool(&a, &["198.51.100.0-198.51.100.39"], 3_600, 3_600).await;
    let leases = Leases::start(&a).await.unwrap();
    (a, b, leases)
}

async fn sessions_that_a_nas_makes_up_take_no_pool(database: Database) {
    let (a, b, leases) = ready(&database).await;
    let starts: Vec<ExportRow> = (0..ALL).map(|last| told("start", "eve", last)).collect();
    b.export(&starts).await.unwrap();
    let leased = "SELECT count(*) FROM radius_lease WHERE user_name = 'eve'";
    assert_eq!(database.number(leased).await, 0);
    assert_eq!(database.number("SELECT count(*) FROM radius_session WHERE unproven = 1").await, 40);
    let spare = leases.status()[0].spare;
    hear(&a, &leases).await;
    leases.keep().await.unwrap();
    assert_eq!(leases.status()[0].spare, spare, "nothing rests for that");
    // Of a subscriber it takes a few, however many it makes up.
    let starts: Vec<ExportRow> = (0..ALL).map(|last| told("start", "mallory", last)).collect();
    b.export(&starts).await.unwrap();
    b.export(&starts).await.unwrap();
    let leased = "SELECT count(*) FROM radius_lease WHERE user_name = 'mallory'";
    assert_eq!(database.number(leased).await, 16);
}

/// The server that offered it died before anybody knew.
async fn what_was_offered_and_never_written_down_is_whose_nas_says_so(database: Database) {
    let (a, b, leases) = ready(&database).await;
    b.export(&[told("start", "ann", 7)]).await.unwrap();
    hear(&a, &leases).await;
    leases.keep().await.unwrap();
    let anns = "SELECT count(*) FROM radius_lease WHERE user_name = 'ann' AND address = '198.51.100.7' AND released = 0";
    assert_eq!(database.number(anns).await, 1);
    take_all(&leases).await;
    let all = a.leases(Some("home"), "", 100).await.unwrap();
    let sevens: Vec<&str> = all
        .iter()
        .filter(|lease| lease.address == address(7))
        .map(|lease| lease.user.as_str())
        .collect();
    assert_eq!(sevens, ["ann"]);
    assert!(all.len() > usize::from(ALL) / 2, "others got the rest: {}", all.len());
}

/// He was removed meanwhile.
async fn who_was_offered_it_has_it_though_nobody_knows_him(database: Database) {
    let (_, b, leases) = ready(&database).await;
    let given = leases.lease("home", &holder("carl", "1"), Instant::now()).unwrap();
    leases.keep().await.unwrap();
    let mut start = accounting("start", 1, "carl", unix_now());
    start.framed_address = Some(given.to_string());
    b.export(&[start.clone()]).await.unwrap();
    assert_eq!(database.number("SELECT count(*) FROM radius_session WHERE unproven = 1").await, 0);
    let his = "SELECT count(*) FROM radius_lease WHERE user_name = 'carl' AND session IS NOT NULL AND released = 0";
    assert_eq!(database.number(his).await, 1);
}
