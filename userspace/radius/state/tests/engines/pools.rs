//! Ranges come, go, and change their pool, and nobody's address is given to another by that.

use muralla_test_database::on_both_engines;
use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::common::{Database, accounting};
use crate::leases::{begin_and_end, holder, pool, unix_now};
use muralla_radius_accounting::SessionId;
use muralla_radius_policy::PoolError;
use muralla_radius_state::{Assigned, Heard, Leases, PoolEntry, Removal};

on_both_engines![
    a_range_goes_to_another_pool_when_nobody_has_any_of_it,
    what_is_used_of_a_range_that_was_moved_is_given_to_nobody,
    a_pool_is_not_removed_behind_a_server_that_is_away,
    a_pool_is_gone_when_no_server_gives_of_it_any_more,
    what_was_given_of_a_pool_that_is_gone_is_told,
    what_a_silent_server_may_have_been_told_is_given_to_nobody,
    the_end_of_a_session_is_heard_though_its_range_has_left_the_pool,
    a_part_of_a_block_goes_to_another_pool,
];

/// Eight addresses: a block.
const RANGE: &str = "192.0.2.0-192.0.2.7";

async fn a_range_goes_to_another_pool_when_nobody_has_any_of_it(database: Database) {
    let state = database.state("a").await;
    pool(&state, &[RANGE], 3600, 3600).await;
    let leases = Leases::start(&state).await.unwrap();
    let address = leases.lease("home", &holder("ann", "1"), Instant::now()).unwrap();
    leases.keep().await.unwrap();
    let mut start = accounting("start", 1, "ann", unix_now());
    start.framed_address = Some(address.to_string());
    state.export(std::slice::from_ref(&start)).await.unwrap();
    pool(&state, &["198.51.100.0-198.51.100.7"], 3600, 3600).await;
    let mut vip = PoolEntry::ipv4("vip", [RANGE]);
    vip.block = Some(8);
    let refused = state.put_pool(&vip).await.unwrap_err().to_string();
    assert!(
        refused.contains(&format!("somebody has {address} still, out of pool home")),
        "{refused}"
    );
    // Once nobody has any of it, and no server may give any of it out, it can be moved.
    let mut stop = accounting("stop", 1, "ann", unix_now());
    (stop.framed_address, stop.started_at) = (start.framed_address.clone(), start.started_at);
    state.export(&[stop]).await.unwrap();
    let refused = state.put_pool(&vip).await.unwrap_err().to_string();
    assert!(refused.contains("server a has 192.0.2.0"), "{refused}");
    leases.stop().await.unwrap();
    state.put_pool(&vip).await.unwrap();
    let leases = Leases::start(&state).await.unwrap();
    leases.keep().await.unwrap();
    leases.keep().await.unwrap();
    leases.lease("vip", &holder("dora", "1"), Instant::now()).unwrap();
}

/// By an operator's own SQL a range goes to another pool while it is in use.
async fn what_is_used_of_a_range_that_was_moved_is_given_to_nobody(database: Database) {
    let state = database.state("a").await;
    pool(&state, &[RANGE], 3600, 3600).await;
    let leases = Leases::start(&state).await.unwrap();
    let address = leases.lease("home", &holder("ann", "1"), Instant::now()).unwrap();
    leases.keep().await.unwrap();
    pool(&state, &["198.51.100.0-198.51.100.7"], 3600, 3600).await;
    database
        .sql("INSERT INTO radius_pool (name, length, block, lease_seconds, offer_seconds) VALUES ('vip', 32, 8, 3600, 3600)")
        .await;
    database.sql(&format!("INSERT INTO radius_pool_range VALUES ('vip', '{RANGE}')")).await;
    leases.keep().await.unwrap();
    leases.keep().await.unwrap();
    let mut given = Vec::new();
    while let Ok(one) =
        leases.lease("vip", &holder("bob", &given.len().to_string()), Instant::now())
    {
        given.push(one);
    }
    assert_eq!((given.len(), given.contains(&address)), (7, false), "{given:?}");
    // The new range of the other is there at once.
    leases.lease("home", &holder("carl", "1"), Instant::now()).unwrap();
}

async fn a_pool_is_not_removed_behind_a_server_that_is_away(database: Database) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    pool(&a, &["192.0.2.0-192.0.2.7"], 3600, 3600).await;
    let cut_off = Leases::start(&b).await.unwrap();
    cut_off.keep().await.unwrap();
    database.sql("UPDATE radius_server SET seen = seen - 100 WHERE name = 'b'").await;
    let refused = a.remove_pool("home", false).await.unwrap_err().to_string();
    assert!(refused.contains("server b has reserved some of it"), "{refused}");
    cut_off.lease("home", &holder("ann", "1"), Instant::now()).unwrap();
    // It is there again, and hears of the end.
    cut_off.keep().await.unwrap();
    let refused = a.remove_pool("home", false).await.unwrap_err().to_string();
    assert!(refused.contains("1 of it are in use"), "{refused}");
    assert_eq!(a.remove_pool("home", true).await.unwrap(), Removal::Done);
    cut_off.keep().await.unwrap();
    assert_eq!(cut_off.lease("home", &holder("bob", "2"), Instant::now()), Err(PoolError::Unknown));
}

/// Who has something of it may be let in until the last moment.
async fn a_pool_is_gone_when_no_server_gives_of_it_any_more(database: Database) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    pool(&a, &[RANGE], 3600, 3600).await;
    let leases = Leases::start(&a).await.unwrap();
    let waits = Removal::Waits(vec!["a".to_owned()]);
    assert_eq!(b.remove_pool("home", false).await.unwrap(), waits);
    let address = leases.lease("home", &holder("ann", "1"), Instant::now()).unwrap();
    let refused = b.put_pool(&of_eight("next", RANGE)).await.unwrap_err().to_string();
    assert!(refused.contains("server a has 192.0.2.0 reserved for pool home"), "{refused}");
    // It hears that there is nothing more to give.
    leases.keep().await.unwrap();
    assert_eq!(leases.lease("home", &holder("bob", "2"), Instant::now()), Err(PoolError::Empty));
    let refused = b.remove_pool("home", false).await.unwrap_err().to_string();
    assert!(refused.contains("1 of it are in use"), "{refused}");
    let refused = b.put_pool(&of_eight("next", RANGE)).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("somebody has {address} still")), "{refused}");
    begin_and_end(&leases, address, "ann", "1");
    leases.keep().await.unwrap();
    assert_eq!(b.remove_pool("home", false).await.unwrap(), Removal::Done);
    assert_eq!(b.remove_pool("home", false).await.unwrap(), Removal::Missing);
    b.put_pool(&of_eight("next", RANGE)).await.unwrap();
    leases.keep().await.unwrap();
    assert_eq!(leases.lease("home", &holder("bob", "2"), Instant::now()), Err(PoolError::Unknown));
    leases.lease("next", &holder("bob", "2"), Instant::now()).unwrap();
}

async fn what_was_given_of_a_pool_that_is_gone_is_told(database: Database) {
    let state = database.state("a").await;
    pool(&state, &[RANGE], 3600, 3600).await;
    let leases = Leases::start(&state).await.unwrap();
    let address = leases.lease("home", &holder("ann", "1"), Instant::now()).unwrap();
    assert_eq!(state.remove_pool("home", true).await.unwrap(), Removal::Done);
    leases.keep().await.unwrap();
    assert_eq!(leases.lease("home", &holder("bob", "2"), Instant::now()), Err(PoolError::Unknown));
    let refused = state.put_pool(&of_eight("next", RANGE)).await.unwrap_err().to_string();
    assert!(
        refused.contains(&format!("somebody has {address} still, out of pool home")),
        "{refused}"
    );
}

/// A server that can't reach the database lets people in for as long as its reservation lives, and what it is told waits in its
/// journal for much longer.
async fn what_a_silent_server_may_have_been_told_is_given_to_nobody(database: Database) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    pool(&a, &[RANGE], 3600, 3600).await;
    let silent = Leases::start(&b).await.unwrap();
    let address = silent.lease("home", &holder("ann", "1"), Instant::now()).unwrap();
    for state in [&a, &b] {
        state.caught_up().await.unwrap();
    }
    for sql in [
        "UPDATE radius_server SET seen = seen - 100000, exported = exported - 100000 WHERE name = 'b'",
        "UPDATE radius_block SET until = until - 100000, free_at = free_at - 100000",
    ] {
        database.sql(sql).await;
    }
    let leases = Leases::start(&a).await.unwrap();
    assert_eq!(leases.status()[0].blocks, 0, "somebody may have {address}");
    // Nor does an operator give the range away.
    pool(&a, &["198.51.100.0-198.51.100.7"], 3600, 3600).await;
    leases.keep().await.unwrap();
    let refused = a.put_pool(&of_eight("next", RANGE)).await.unwrap_err().to_string();
    assert!(refused.contains("server b has 192.0.2.0 reserved for pool home"), "{refused}");
    let refused = a.remove_pool("home", false).await.unwrap_err().to_string();
    assert!(refused.contains("server b has reserved some of it"), "{refused}");
    // A lease that it told of may go on as well.
    database
        .sql(&format!(
            "INSERT INTO radius_lease (address, pool, block, user_name, nas, line, since, expires) SELECT '{address}', 'home', '192.0.2.0', 'ann', 'lns1', 0, exported, exported + 5 FROM radius_server WHERE name = 'b'"
        ))
        .await;
    let refused = a.put_pool(&of_eight("next", RANGE)).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("somebody may have {address} still")), "{refused}");
    assert!(refused.contains("server b was not heard of for"), "{refused}");
    let refused = a.remove_pool("home", false).await.unwrap_err().to_string();
    assert!(refused.contains("1 of it may be in use: server b was not heard of"), "{refused}");
    // It will never come back: then nobody waits for what it knows.
    assert_eq!(a.forget_server("b").await.unwrap(), 1);
    let refused = a.put_pool(&of_eight("next", RANGE)).await.unwrap_err().to_string();
    assert!(refused.contains("server b has 192.0.2.0"), "its last offers live: {refused}");
    database.sql("UPDATE radius_block SET free_at = 1 WHERE owner = 'b'").await;
    a.put_pool(&of_eight("next", RANGE)).await.unwrap();
}

async fn the_end_of_a_session_is_heard_though_its_range_has_left_the_pool(database: Database) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    pool(&a, &[RANGE], 3600, 3600).await;
    let leases = Leases::start(&a).await.unwrap();
    let [anns, bobs] = ["ann", "bob"]
        .map(|user| leases.lease("home", &holder(user, user), Instant::now()).unwrap());
    let at = unix_now();
    let of = |status| {
        let mut row = accounting(status, 2, "bob", at);
        (row.framed_address, row.started_at) = (Some(bobs.to_string()), Some(at));
        row
    };
    leases.keep().await.unwrap();
    b.export(&[of("start")]).await.unwrap();
    let session = SessionId::from_bytes(2u128.to_be_bytes());
    let heard = Heard {
        session,
        began: Some(Duration::ZERO),
        stamped: Duration::ZERO,
        starts: true,
        known: true,
    };
    leases.renew(bobs, &holder("bob", "bob"), heard, Instant::now());
    pool(&a, &["198.51.100.0-198.51.100.7"], 3600, 3600).await;
    leases.keep().await.unwrap();
    assert_eq!(leases.status()[0].held, 2);
    begin_and_end(&leases, anns, "ann", "ann");
    assert_eq!(leases.status()[0].held, 1, "he was told to this server");
    database.sql("UPDATE radius_lease SET expires = 5").await;
    b.export(&[of("interim")]).await.unwrap();
    let known = a.leases(Some("home"), "", 9).await.unwrap();
    assert!(known.iter().any(|lease| lease.expires > at), "his update counts: {known:?}");
    b.export(&[of("stop")]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), async {
        while leases.status()[0].held > 0 {
            for state in [&a, &b] {
                state.caught_up().await.unwrap();
            }
            leases.keep().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("the other server was told of his end");
    leases.keep().await.unwrap();
    a.put_pool(&of_eight("next", RANGE)).await.unwrap();
}

/// The rest of the block is in use all the time.
async fn a_part_of_a_block_goes_to_another_pool(database: Database) {
    const PART: &str = "192.0.2.4-192.0.2.7";
    let state = database.state("a").await;
    pool(&state, &[RANGE], 3600, 3600).await;
    let leases = Leases::start(&state).await.unwrap();
    let users: Vec<String> = (0..6).map(|number| format!("user{number}")).collect();
    let given: Vec<Assigned> = users
        .iter()
        .map(|user| leases.lease("home", &holder(user, user), Instant::now()).unwrap())
        .collect();
    leases.keep().await.unwrap();
    pool(&state, &["192.0.2.0-192.0.2.3"], 3600, 3600).await;
    let refused = state.put_pool(&of_eight("next", PART)).await.unwrap_err().to_string();
    assert!(refused.contains("somebody has 192.0.2."), "{refused}");
    leases.keep().await.unwrap();
    let is_part = |address: Assigned| address >= "192.0.2.4".parse::<Assigned>().unwrap();
    for (user, address) in users.iter().zip(given).filter(|(_, address)| is_part(*address)) {
        begin_and_end(&leases, address, user, user);
    }
    let refused = state.put_pool(&of_eight("next", "192.0.2.7")).await.unwrap_err().to_string();
    assert!(refused.contains("server a has 192.0.2.0"), "it may give it: {refused}");
    leases.keep().await.unwrap();
    state.put_pool(&of_eight("next", PART)).await.unwrap();
    leases.keep().await.unwrap();
    let next: HashMap<Assigned, String> = (0..4)
        .map(|port| {
            let port = format!("{port}");
            let address = leases.lease("next", &holder("carl", &port), Instant::now()).unwrap();
            (address, port)
        })
        .collect();
    assert!(next.len() == 4 && next.keys().copied().all(is_part), "{next:?}");
    assert_eq!(leases.status()[0].held, 4);
    // What a pool has already is not looked for: it would take long where there are many.
    database.sql("UPDATE radius_lease SET pool = 'elsewhere' WHERE address = '192.0.2.1'").await;
    pool(&state, &["192.0.2.0-192.0.2.3"], 300, 600).await;
    // And it comes back, with what nobody has of it.
    leases.keep().await.unwrap();
    for (address, port) in next {
        begin_and_end(&leases, address, "carl", &port);
    }
    leases.keep().await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), async {
        while state.remove_pool("next", false).await.unwrap() != Removal::Done {
            leases.keep().await.unwrap();
        }
    })
    .await
    .expect("nobody has any of it");
    database.sql("UPDATE radius_lease SET pool = 'home'").await;
    pool(&state, &[RANGE], 300, 600).await;
    tokio::time::timeout(Duration::from_secs(30), async {
        while leases.status()[0].spare < 4 {
            leases.keep().await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("it is given out of what came back");
}

fn of_eight(name: &str, range: &str) -> PoolEntry {
    let mut pool = PoolEntry::ipv4(name, [range]);
    pool.block = Some(8);
    pool
}
