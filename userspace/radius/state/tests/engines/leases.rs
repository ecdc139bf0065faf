//! An address is never given to two, whatever dies.

use muralla_test_database::on_both_engines;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::common::{Database, accounting, since_boot};
use muralla_radius_accounting::SessionId;
use muralla_radius_dictionary::Dictionary;
use muralla_radius_policy::{Base, Names, PoolError};
use muralla_radius_state::{
    Assigned, Heard, Holder, Leases, PoolEntry, Removal, State, SubscriberEntry,
};
use parking_lot::Mutex;

on_both_engines![
    two_servers_that_die_again_and_again_give_nothing_twice,
    what_one_had_who_is_forgotten_another_has,
    what_belongs_to_somebody_is_given_to_nobody_else,
    accounting_at_another_server_renews_and_releases,
    what_was_offered_and_not_taken_comes_back,
    prefixes_are_given_like_addresses,
    a_second_process_of_one_name_takes_over,
    what_an_open_session_has_is_never_free,
    what_was_presumed_lost_keeps_its_lease,
    what_goes_on_after_all_at_another_server_is_given_to_nobody,
    what_was_given_is_told_though_the_telling_was_broken_off,
];

pub(crate) fn holder<'a>(user: &'a str, port: &'a str) -> Holder<'a> {
    Holder { user, nas: "lns1", port: Some(port) }
}

pub(crate) async fn pool(state: &State, ranges: &[&str], offer: u32, lease: u32) {
    let mut pool = PoolEntry::ipv4("home", ranges.iter().copied());
    (pool.offer_seconds, pool.lease_seconds, pool.block) = (offer, lease, Some(8));
    state.put_pool(&pool).await.unwrap();
    for name in ["ann", "bob", "mallory"] {
        let subscriber = SubscriberEntry { name: name.into(), ..SubscriberEntry::default() };
        state.put_subscriber(&Dictionary::built_in(), &subscriber).await.unwrap();
    }
}

/// The session that took what was offered last: this server hears of its beginning and its end.
pub(crate) fn begin_and_end(leases: &Leases, address: Assigned, user: &str, port: &str) {
    let session = SessionId::from_bytes([7; 16]);
    let heard = Heard {
        session,
        began: Some(Duration::ZERO),
        stamped: Duration::ZERO,
        starts: true,
        known: true,
    };
    leases.renew(address, &holder(user, port), heard, Instant::now());
    leases.release(address, user, session);
}

/// Who has what, seen from outside: by address, the user.
#[derive(Default)]
struct Truth {
    held: HashMap<Assigned, String>,
    given: u64,
    doubled: Vec<String>,
}

async fn two_servers_that_die_again_and_again_give_nothing_twice(database: Database) {
    let first = database.state("a").await;
    pool(&first, &["198.51.100.0-198.51.100.255", "203.0.113.16-203.0.113.247"], 3600, 3600).await;
    let truth = Arc::new(Mutex::new(Truth::default()));
    let servers: Vec<_> = ["a", "b"]
        .into_iter()
        .map(|server| {
            let (location, truth) = (database.location().clone(), Arc::clone(&truth));
            tokio::spawn(async move {
                for life in 0..4 {
                    let options = muralla_radius_state::Options {
                        server: server.into(),
                        ..muralla_radius_state::Options::default()
                    };
                    let state = State::open_with(&location, options).await.unwrap();
                    let leases = Leases::start(&state).await.unwrap();
                    live(&leases, &truth, server, life).await;
                    // It dies: nothing is written down, nothing given back. Who had something has it still.
                    drop(leases);
                    state.close().await;
                }
            })
        })
        .collect();
    for server in servers {
        server.await.unwrap();
    }
    let truth = truth.lock();
    assert_eq!(truth.doubled, Vec::<String>::new());
    assert!(truth.given > 200, "{} were given", truth.given);
    // All that is held is within the pool, and nobody has it who has something else.
    let users: HashSet<&String> = truth.held.values().collect();
    assert_eq!(users.len(), truth.held.len());
}

/// Customers of a server come and go, in many tasks, while it keeps its blocks in order.
async fn live(leases: &Leases, truth: &Arc<Mutex<Truth>>, server: &str, life: u32) {
    let tasks: Vec<_> = (0..6)
        .map(|task| {
            let (leases, truth, server) = (leases.clone(), Arc::clone(truth), server.to_owned());
            tokio::spawn(async move {
                for number in 0..12 {
                    let user = format!("{server}-{life}-{task}-{number}");
                    let given = leases.lease("home", &holder(&user, &user), Instant::now());
                    if let Ok(address) = given {
                        let other = {
                            let mut truth = truth.lock();
                            truth.given += 1;
                            truth.held.insert(address, user.clone())
                        };
                        if let Some(other) = other {
                            truth.lock().doubled.push(format!("{address}: {other} and {user}"));
                        }
                        // Two of three go again: noted first, for from the release on the next may have it.
                        if number % 3 != 0 {
                            truth.lock().held.remove(&address);
                            let session = SessionId::from_bytes([life as u8 + 1; 16]);
                            let now = Some(Duration::ZERO);
                            let heard = Heard {
                                session,
                                began: now,
                                stamped: Duration::ZERO,
                                starts: true,
                                known: true,
                            };
                            leases.renew(address, &holder(&user, &user), heard, Instant::now());
                            leases.release(address, &user, session);
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(7)).await;
                }
            })
        })
        .collect();
    while !tasks.iter().all(tokio::task::JoinHandle::is_finished) {
        leases.keep().await.unwrap();
    }
    for task in tasks {
        task.await.unwrap();
    }
}

async fn what_one_had_who_is_forgotten_another_has(database: Database) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    pool(&a, &["192.0.2.0-192.0.2.7"], 300, 300).await;
    let (first, second) = (Leases::start(&a).await.unwrap(), Leases::start(&b).await.unwrap());
    let now = Instant::now();
    let address = first.lease("home", &holder("ann", "1"), now).unwrap();
    assert_eq!(second.lease("home", &holder("bob", "1"), now), Err(PoolError::Empty), "a has all");
    assert_eq!(second.lease("none", &holder("bob", "1"), now), Err(PoolError::Unknown));
    assert_eq!(second.status()[0].exhausted, 1);
    first.keep().await.unwrap();
    drop(first);
    // A server that never comes back: others have its blocks when its offers have ended.
    assert!(b.forget_server("a").await.is_err(), "it was here a moment ago");
    assert!(b.forget_server("b").await.is_err(), "it is here");
    assert!(b.forget_server("c").await.is_err(), "there is none");
    let servers = async || {
        let all = b.servers().await.unwrap();
        all.into_iter().map(|one| (one.name, one.blocks, one.here)).collect::<Vec<_>>()
    };
    assert_eq!(servers().await, [("a".to_owned(), 1, false), ("b".to_owned(), 0, true)]);
    database.sql("UPDATE radius_server SET seen = seen - 100 WHERE name = 'a'").await;
    assert_eq!(b.forget_server("a").await.unwrap(), 1);
    second.keep().await.unwrap();
    assert_eq!(second.status()[0].spare, 0, "its offers have not ended");
    database.sql("UPDATE radius_block SET free_at = 1").await;
    tokio::time::timeout(Duration::from_secs(30), async {
        while second.status()[0].spare < 7 {
            second.keep().await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("what the other had is free");
    assert_eq!(servers().await, [("a".to_owned(), 0, false), ("b".to_owned(), 1, true)]);
    let mut given = HashSet::from([address]);
    for number in 0..7 {
        let user = format!("user{number}");
        let next = second.lease("home", &holder(&user, "1"), now).unwrap();
        assert!(given.insert(next), "{next} is ann's");
    }
    assert_eq!(second.lease("home", &holder("bob", "1"), now), Err(PoolError::Empty));
    // What she had is hers still, at whatever server.
    assert_eq!(second.lease("home", &holder("ann", "1"), now), Ok(address));
    second.keep().await.unwrap();
    let used = &b.pool_use().await.unwrap()[0];
    assert_eq!((used.size, used.leased, used.blocks.len()), (8, 8, 1));
    assert_eq!(b.leases(Some("home"), "", 100).await.unwrap().len(), 8);
    assert_eq!(b.leases(Some("other"), "", 100).await.unwrap().len(), 0);
}

/// A NAS that tells nothing between Start and Stop: its sessions' addresses are theirs however long that takes.
async fn what_an_open_session_has_is_never_free(database: Database) {
    let state = database.state("a").await;
    pool(&state, &["192.0.2.0-192.0.2.7"], 3600, 3600).await;
    let leases = Leases::start(&state).await.unwrap();
    assert_eq!(leases.interim("home"), Some(1_200), "three times in a lease");
    assert_eq!(leases.interim("none"), None);
    let address = leases.lease("home", &holder("ann", "1"), Instant::now()).unwrap();
    let gone = leases.lease("home", &holder("bob", "2"), Instant::now()).unwrap();
    leases.keep().await.unwrap();
    let mut start = accounting("start", 1, "ann", unix_now());
    start.framed_address = Some(address.to_string());
    state.export(std::slice::from_ref(&start)).await.unwrap();
    // The server begins anew, and both leases have ended long ago.
    drop(leases);
    database.sql("UPDATE radius_lease SET expires = 5").await;
    database.sql("UPDATE radius_server SET exported = 0").await;
    let refused = state.remove_pool("home", false).await.unwrap_err().to_string();
    assert!(refused.contains("1 of it are in use") && refused.contains("--force"), "{refused}");
    // What the life before offered at its end may be taken for as long as an offer lives.
    pool(&state, &["192.0.2.0-192.0.2.7"], 1, 3600).await;
    let leases = Leases::start(&state).await.unwrap();
    let free = async || {
        for _ in 0..100 {
            leases.keep().await.unwrap();
            let all = state.leases(None, "", 9).await.unwrap();
            if !all.iter().any(|lease| lease.address == gone.to_string()) {
                return all;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("what nobody has is not free");
    };
    let left = free().await;
    assert_eq!(left.len(), 1);
    assert_eq!((&left[0].user, &left[0].address), (&"ann".to_owned(), &address.to_string()));
    assert!(left[0].expires > unix_now(), "it lives on");
    // Its end ends it; then the pool may go.
    let mut stop = accounting("stop", 1, "ann", unix_now());
    (stop.framed_address, stop.started_at) = (start.framed_address.clone(), start.started_at);
    state.export(&[stop]).await.unwrap();
    leases.stop().await.unwrap();
    assert_eq!(state.remove_pool("home", false).await.unwrap(), Removal::Done);
    pool(&state, &["192.0.2.0-192.0.2.7"], 3600, 3600).await;
    let leases = Leases::start(&state).await.unwrap();
    leases.lease("home", &holder("carl", "1"), Instant::now()).unwrap();
    leases.keep().await.unwrap();
    assert!(state.remove_pool("home", false).await.is_err());
    assert_eq!(state.remove_pool("home", true).await.unwrap(), Removal::Done);
    assert_eq!(state.remove_pool("home", true).await.unwrap(), Removal::Missing);
}

/// A role that stops drops what it is at, wherever that waits.
async fn what_was_given_is_told_though_the_telling_was_broken_off(database: Database) {
    let state = database.state("a").await;
    pool(&state, &["192.0.2.0-192.0.2.255"], 3600, 3600).await;
    let leases = Leases::start(&state).await.unwrap();
    leases.keep().await.unwrap();
    let mut given = HashSet::new();
    for steps in 0..40 {
        let user = format!("user{steps}");
        if let Ok(address) = leases.lease("home", &holder(&user, "1"), Instant::now()) {
            given.insert(address.to_string());
        }
        let mut round = Box::pin(leases.keep());
        let mut left = steps;
        std::future::poll_fn(|context| match round.as_mut().poll(context) {
            Poll::Pending if left > 0 => {
                left -= 1;
                Poll::Pending
            }
            _ => Poll::Ready(()),
        })
        .await;
    }
    leases.stop().await.unwrap();
    let known = state.leases(None, "", 999).await.unwrap();
    let known: HashSet<String> = known.into_iter().map(|lease| lease.address).collect();
    assert!(given.len() > 10, "{given:?}");
    assert_eq!(known, given);
}

/// Nothing was heard of a session for too long, and it may go on all the same.
async fn what_was_presumed_lost_keeps_its_lease(database: Database) {
    let state = database.state("a").await;
    pool(&state, &["192.0.2.0-192.0.2.7"], 3600, 3600).await;
    let leases = Leases::start(&state).await.unwrap();
    let address = leases.lease("home", &holder("ann", "1"), Instant::now()).unwrap();
    leases.keep().await.unwrap();
    let of = |status| {
        let mut row = accounting(status, 1, "ann", unix_now());
        row.framed_address = Some(address.to_string());
        row
    };
    let session = SessionId::from_bytes(1u128.to_be_bytes());
    let heard = Heard {
        session,
        began: Some(Duration::ZERO),
        stamped: Duration::ZERO,
        starts: true,
        known: true,
    };
    leases.renew(address, &holder("ann", "1"), heard, Instant::now());
    let mut lost = of("interim");
    (lost.status, lost.state, lost.sequence) = ("closed", Some("lost"), 0);
    state.export(&[of("start"), lost]).await.unwrap();
    leases.keep().await.unwrap();
    assert_eq!(leases.status()[0].spare, 7);
    assert_eq!(state.leases(None, "", 9).await.unwrap().len(), 1);
    state.export(&[of("stop")]).await.unwrap();
    until_spare(&leases, &[&state], 8).await;
}

async fn what_goes_on_after_all_at_another_server_is_given_to_nobody(database: Database) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    pool(&a, &["192.0.2.0-192.0.2.7"], 3600, 3600).await;
    let leases = Leases::start(&a).await.unwrap();
    // It was given up here, and is free.
    let address: Assigned = "192.0.2.3".parse().unwrap();
    let mut interim = accounting("interim", 1, "ann", unix_now());
    interim.framed_address = Some(address.to_string());
    b.export(&[interim]).await.unwrap();
    a.each_open_elsewhere(|session| leases.hear_open(&session)).await.unwrap();
    assert_eq!(leases.status()[0].spare, 7);
    let give = |port: &str| leases.lease("home", &holder("bob", port), Instant::now());
    let given: HashSet<Assigned> = (0..7).map(|port| give(&port.to_string()).unwrap()).collect();
    assert!(!given.contains(&address), "{given:?}");
    tokio::time::timeout(Duration::from_secs(60), async {
        while leases.status()[0].held < 8 {
            for state in [&a, &b] {
                state.caught_up().await.unwrap();
            }
            leases.keep().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("the database says who has it");
    assert_eq!(give("7"), Err(PoolError::Empty));
}

/// Two transactions pass each other: one gives a session a lease, and one has ended that session and can't see the lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lease_is_attached_while_its_session_ends() {
    let database = Database::postgres();
    let (a, b) = (database.state("a").await, database.state("b").await);
    pool(&a, &["192.0.2.0-192.0.2.7"], 3600, 3600).await;
    let leases = Leases::start(&a).await.unwrap();
    let address = leases.lease("home", &holder("ann", "1"), Instant::now()).unwrap();
    let session = SessionId::from_bytes(1u128.to_be_bytes());
    let heard = Heard {
        session,
        began: Some(Duration::ZERO),
        stamped: Duration::ZERO,
        starts: true,
        known: true,
    };
    leases.renew(address, &holder("ann", "1"), heard, Instant::now());
    let of = |status| {
        let mut row = accounting(status, 1, "ann", unix_now());
        (row.framed_address, row.came) = (Some(address.to_string()), Some(since_boot()));
        row
    };
    b.export(&[of("start")]).await.unwrap();
    database.sql("DELETE FROM radius_lease").await;
    // The last thing that the other server writes has to wait.
    let mut operator = database.operator().await;
    let locked = "BEGIN; SELECT 1 FROM radius_server WHERE name = 'b' FOR UPDATE";
    sqlx::raw_sql(locked).execute(&mut operator).await.unwrap();
    let (other, stop) = (b.clone(), of("stop"));
    let ending = tokio::spawn(async move { other.export(&[stop]).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    while database.number(waiting).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    leases.keep().await.unwrap();
    sqlx::raw_sql("COMMIT").execute(&mut operator).await.unwrap();
    assert_eq!(ending.await.unwrap().unwrap().written, 1);
    let stale = "SELECT count(*) FROM radius_lease l JOIN radius_session s ON s.id = l.session WHERE l.released = 0 AND s.state = 1";
    assert_eq!(database.number(stale).await, 1, "they have passed each other");
    until_spare(&leases, &[&a, &b], 8).await;
    assert_eq!(a.leases(None, "", 9).await.unwrap(), []);
}

/// The servers go on, with nothing more to tell, until so many are free.
async fn until_spare(leases: &Leases, states: &[&State], spare: u64) {
    tokio::time::timeout(Duration::from_secs(60), async {
        while leases.status()[0].spare != spare {
            for state in states {
                state.caught_up().await.unwrap();
            }
            leases.keep().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("what was given back is free");
}

async fn what_belongs_to_somebody_is_given_to_nobody_else(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    let fixed = |name: &str, last: u8| SubscriberEntry {
        name: name.into(),
        address: Some([192, 0, 2, last].into()),
        ..SubscriberEntry::default()
    };
    pool(&state, &["192.0.2.0-192.0.2.7"], 300, 300).await;
    state.put_subscriber(&dictionary, &fixed("ann", 3)).await.unwrap();
    let leases = Leases::start(&state).await.unwrap();
    assert_eq!(leases.status()[0].spare, 7);
    leases.fix(Assigned::V4([192, 0, 2, 5].into()));
    let now = Instant::now();
    let given: HashSet<String> = (0..8)
        .filter_map(|number| {
            let user = format!("user{number}");
            Some(leases.lease("home", &holder(&user, "1"), now).ok()?.to_string())
        })
        .collect();
    assert_eq!(given.len(), 6);
    assert!(!given.contains("192.0.2.3") && !given.contains("192.0.2.5"), "{given:?}");
}

async fn accounting_at_another_server_renews_and_releases(database: Database) {
    let (a, b) = (database.state("a").await, database.state("b").await);
    pool(&a, &["192.0.2.0-192.0.2.7"], 2, 3600).await;
    let leases = Leases::start(&a).await.unwrap();
    let now = Instant::now();
    let (ann, bob) = (holder("ann", "1"), holder("bob", "2"));
    let (anns, bobs) =
        (leases.lease("home", &ann, now).unwrap(), leases.lease("home", &bob, now).unwrap());
    leases.keep().await.unwrap();
    // Her accounting goes to the other server; his never comes. A port is part of it.
    let at = unix_now();
    let mut start = accounting("start", 1, "ann", at);
    start.framed_address = Some(anns.to_string());
    b.export(std::slice::from_ref(&start)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(6000)).await;
    for state in [&a, &b] {
        state.caught_up().await.unwrap();
    }
    leases.keep().await.unwrap();
    let spare = leases.status()[0].spare;
    assert_eq!(spare, 7, "what was offered to him is free, what she has is not");
    // From here on nothing ends by itself.
    pool(&a, &["192.0.2.0-192.0.2.7"], 3600, 3600).await;
    leases.keep().await.unwrap();
    assert_eq!(leases.lease("home", &bob, Instant::now()), Ok(bobs), "he gets it again");
    // Somebody else's accounting does not take it from her.
    let mut other = accounting("start", 2, "mallory", at);
    other.framed_address = Some(anns.to_string());
    b.export(std::slice::from_ref(&other)).await.unwrap();
    assert_eq!(a.leases(None, "", 9).await.unwrap()[0].user, "ann");
    let mut stop = accounting("stop", 1, "ann", at + 5);
    (stop.framed_address, stop.started_at) = (start.framed_address.clone(), Some(at));
    b.export(&[stop.clone()]).await.unwrap();
    leases.keep().await.unwrap();
    assert_eq!(leases.status()[0].spare, 6, "as long as anybody says that he has it");
    let mut over = accounting("stop", 2, "mallory", at + 5);
    (over.framed_address, over.started_at) = (other.framed_address.clone(), Some(at));
    b.export(&[over]).await.unwrap();
    until_spare(&leases, &[&a], 7).await;
    // Given to somebody again, and then her Stop comes once more, and her Start, late.
    let mut users = HashSet::new();
    for number in 0..7 {
        let user = format!("user{number}");
        users.insert(leases.lease("home", &holder(&user, &user), Instant::now()).unwrap());
    }
    assert!(users.contains(&anns));
    leases.keep().await.unwrap();
    b.export(&[stop, start]).await.unwrap();
    leases.keep().await.unwrap();
    assert_eq!(leases.status()[0].spare, 0);
    assert_eq!(a.leases(None, "", 99).await.unwrap().len(), 8);
}

async fn what_was_offered_and_not_taken_comes_back(database: Database) {
    let state = database.state("a").await;
    pool(&state, &["192.0.2.0-192.0.2.7"], 1, 3600).await;
    let leases = Leases::start(&state).await.unwrap();
    for number in 0..8 {
        let user = format!("user{number}");
        leases.lease("home", &holder(&user, "1"), Instant::now()).unwrap();
    }
    leases.keep().await.unwrap();
    // Its accounting lies in the journal: the database has not heard everything yet.
    state.caught_up().await.unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    leases.keep().await.unwrap();
    assert_eq!(leases.status()[0].spare, 0, "somebody may have taken it");
    state.caught_up().await.unwrap();
    database
        .sql("UPDATE radius_lease SET expires = expires + 3600 WHERE address = '192.0.2.6'")
        .await;
    tokio::time::timeout(Duration::from_secs(30), async {
        while leases.status()[0].spare != 7 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            state.caught_up().await.unwrap();
            leases.keep().await.unwrap();
        }
    })
    .await
    .expect("what nobody took is free");
    assert_eq!(state.leases(None, "", 9).await.unwrap().len(), 1);
}

async fn prefixes_are_given_like_addresses(database: Database) {
    let (state, dictionary) = (database.state("a").await, Dictionary::built_in());
    state.put_pool(&PoolEntry::ipv6("home6", 56, ["2001:db8::/50"])).await.unwrap();
    let fixed = SubscriberEntry {
        name: "ann".into(),
        delegated6: Some("2001:db8:0:100::/60".parse().unwrap()),
        ..SubscriberEntry::default()
    };
    state.put_subscriber(&dictionary, &fixed).await.unwrap();
    let leases = Leases::start(&state).await.unwrap();
    let mut given = HashSet::new();
    for number in 0..200 {
        let user = format!("user{number}");
        if let Ok(prefix) = leases.lease("home6", &holder(&user, "1"), Instant::now()) {
            assert!(given.insert(prefix), "{prefix}");
        } else {
            leases.keep().await.unwrap();
        }
    }
    assert_eq!(given.len(), 63, "of 64, one is hers for good, in part");
    assert!(!given.contains(&"2001:db8:0:100::/56".parse().unwrap()));
    leases.keep().await.unwrap();
    assert_eq!(state.pool_use().await.unwrap()[0].leased, 63);
}

async fn a_second_process_of_one_name_takes_over(database: Database) {
    let (old, new) = (database.state("a").await, database.state("a").await);
    pool(&old, &["192.0.2.0-192.0.2.31"], 1, 3600).await;
    let first = Leases::start(&old).await.unwrap();
    let written = first.lease("home", &holder("ann", "1"), Instant::now()).unwrap();
    first.keep().await.unwrap();
    let unwritten = first.lease("home", &holder("bob", "1"), Instant::now()).unwrap();
    let second = Leases::start(&new).await.unwrap();
    // What the old one may have offered rests; what is nobody's block is free.
    let other = second.lease("home", &holder("carl", "1"), Instant::now()).unwrap();
    assert!(other != written && other != unwritten);
    first.keep().await.unwrap();
    assert!(first.is_fenced());
    assert_eq!(first.lease("home", &holder("dora", "1"), Instant::now()), Err(PoolError::Away));
    assert!(!second.is_fenced());
    let lease_of = |entries: &[muralla_radius_state::LeaseEntry], user: &str| {
        entries.iter().find(|entry| entry.user == user).map(|entry| entry.address.clone())
    };
    second.keep().await.unwrap();
    let entries = new.leases(None, "", 99).await.unwrap();
    assert_eq!(lease_of(&entries, "bob"), Some(unwritten.to_string()), "told at the end");
    // After the rest everything but what is known is free.
    tokio::time::timeout(Duration::from_secs(30), async {
        while second.status()[0].spare < 21 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            database
                .sql("UPDATE radius_lease SET expires = expires + 3600 WHERE expires < 4000000000")
                .await;
            second.keep().await.unwrap();
        }
    })
    .await
    .expect("it is free after the rest");
    assert_eq!(second.lease("home", &holder("ann", "1"), Instant::now()), Ok(written));
    assert_eq!(second.lease("home", &holder("bob", "1"), Instant::now()), Ok(unwritten));
}

/// A role that is restarted in order while the database is away.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_process_goes_on_while_the_database_is_away() {
    let database = Database::postgres();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("leases");
    let state = database.state("a").await;
    pool(&state, &["192.0.2.0-192.0.2.63"], 300, 3600).await;
    let leases = Leases::start(&state).await.unwrap();
    let give =
        |leases: &Leases, user: &str| leases.lease("home", &holder(user, user), Instant::now());
    let anns = give(&leases, "ann").unwrap();
    assert!(!leases.write_down(&file).unwrap(), "it has not ended");
    database.kill();
    let bobs = give(&leases, "bob").unwrap();
    assert!(leases.stop().await.is_err());
    assert_eq!(give(&leases, "carl"), Err(PoolError::Away));
    assert!(leases.write_down(&file).unwrap());
    assert!(!leases.write_down(&file).unwrap(), "for one process alone");

    let options = |server: &str| muralla_radius_state::Options {
        server: server.into(),
        ..muralla_radius_state::Options::default()
    };
    let next = State::unopened(database.location(), options("a")).unwrap();
    let leases = Leases::go_on(&next, &file).unwrap().expect("it goes on");
    assert!(Leases::go_on(&next, &file).unwrap().is_none(), "once");
    assert_eq!((give(&leases, "ann"), give(&leases, "bob")), (Ok(anns), Ok(bobs)));
    let carls = give(&leases, "carl").unwrap();
    assert!(carls != anns && carls != bobs);
    begin_and_end(&leases, carls, "carl", "carl");
    assert_eq!(leases.status()[0].held, 2);
    // And another one.
    assert!(leases.stop().await.is_err());
    assert!(leases.write_down(&file).unwrap());
    let leases = Leases::go_on(&next, &file).unwrap().expect("it goes on");
    assert_eq!((give(&leases, "bob"), leases.status()[0].held), (Ok(bobs), 2));
    database.start();
    next.prepare_waiting(|_, _| ()).await.unwrap();
    leases.keep().await.unwrap();
    assert_eq!(next.leases(None, "", 9).await.unwrap().len(), 2, "it hears of all");
    leases.stop().await.unwrap();
    assert!(!leases.write_down(&file).unwrap(), "the database knows of the end");
    // What is another server's is nobody's.
    let leases = Leases::start(&next).await.unwrap();
    assert_eq!(give(&leases, "ann"), Ok(anns));
    database.kill();
    assert!(leases.stop().await.is_err());
    assert!(leases.write_down(&file).unwrap());
    let other = State::unopened(database.location(), options("b")).unwrap();
    assert!(Leases::go_on(&other, &file).unwrap().is_none());
    assert!(!file.exists());
}

/// While the database is away, what is reserved is given; when it is back, it hears of all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn logins_go_on_while_the_database_is_away() {
    let database = Database::postgres();
    let state = database.state("a").await;
    pool(&state, &["192.0.2.0-192.0.2.63"], 300, 3600).await;
    let leases = Leases::start(&state).await.unwrap();
    let runner = tokio::spawn({
        let leases = leases.clone();
        async move { leases.run().await }
    });
    let dictionary = Dictionary::built_in();
    let base = Arc::new(Base::new(Arc::clone(&dictionary), Names::default(), [1, 2]));
    let position = state.load_into(&dictionary, &base, |_| ()).await.unwrap().position;
    let follower = tokio::spawn({
        let (state, base, leases) = (state.clone(), Arc::clone(&base), leases.clone());
        async move { state.follow(&dictionary, &base, Some(&leases), position, |_| ()).await }
    });
    database.kill();
    let mut given = HashSet::new();
    for number in 0..8 {
        let user = format!("user{number}");
        given.insert(leases.lease("home", &holder(&user, "1"), Instant::now()).unwrap());
    }
    assert_eq!(given.len(), 8);
    assert!(
        state.export(&[accounting("start", 1, "ann", unix_now())]).await.unwrap_err().may_pass()
    );
    assert!(state.status().away_since.is_some() && state.is_away());
    tokio::time::sleep(Duration::from_secs(2)).await;
    database.start();
    tokio::time::timeout(Duration::from_secs(60), async {
        while state.is_away() || state.pool_use().await.map_or(0, |used| used[0].leased) < 8 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("the database hears of everything");
    assert_eq!(state.status().last_error, None);
    runner.abort();
    // Who followed the log follows it again.
    tokio::time::timeout(Duration::from_secs(60), async {
        database.sql("INSERT INTO radius_subscriber (name) VALUES ('late')").await;
        while base.subscriber("late").is_none() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("what is changed is followed again");
    follower.abort();
}

pub(crate) fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs().try_into().unwrap()
}
