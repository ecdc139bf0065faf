//! AAA, UP: two servers work on one database. NASes go from one to the other in the middle of sessions, and neither a
//! record nor an address is doubled or lost.

#![cfg(test)]

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::ensure;
use muralla_lab::postgres::Postgres;
use muralla_lab::{Lab, LabOptions};
use muralla_tests::nas::{Books, Nas, Over, PASSWORD, Server};
use muralla_tests::radius_role::{RadiusRole, RadiusSettings, SOON};
use muralla_tests::until;
use rustix::process::Signal;

/// Ports of NASes that ask at once, and how many sessions each has open at a time.
const PORTS: usize = 8;
const OPEN: usize = 10;

/// Sessions of all ports in each turn, in which one of the servers ends and begins again. It ends when it has been there for
/// some, and before the first half of them is over; it begins when the others were told of some more, and the rest come
/// meanwhile. Ports that are faster than that wait.
const TURN: usize = 200;
const BEFORE: usize = 60;
const WITHOUT: usize = 140;

/// Who ends in each turn, and how.
const ENDS: [(bool, Signal); 3] =
    [(false, Signal::KILL), (true, Signal::TERM), (false, Signal::KILL)];

const USERS: usize = 100;

/// Seconds for which an address is kept without a record: short, so that addresses go round within the test.
const OFFER: u32 = 15;

#[test]
fn aaa_two_servers_on_one_database_count_once_and_give_no_address_twice() {
    let lab = Lab::up("aaa-two", LabOptions::default()).unwrap();
    let postgres = Postgres::start(&lab, &lab.folder().join("postgres"), 1).unwrap();
    let url = postgres.url();
    let settings = RadiusSettings { location: Some(&url), ..RadiusSettings::default() };
    let addresses: [IpAddr; 2] = ["203.0.113.41", "203.0.113.42"].map(|ip| ip.parse().unwrap());
    let mut one = RadiusRole::prepare(&lab, "one", addresses[0], settings).unwrap();
    let mut two = RadiusRole::prepare(&lab, "two", addresses[1], settings).unwrap();
    one.begin().unwrap();
    two.begin().unwrap();
    // As an operator's own web application would: neither server is told.
    postgres
        .sql(&format!(
            "INSERT INTO radius_pool (name, length, offer_seconds) VALUES ('home', 32, {OFFER});
             INSERT INTO radius_pool_range VALUES ('home', '10.64.0.0/23');
             INSERT INTO radius_subscriber (name, credential, pool)
             SELECT 'user' || n, '{{CLEARTEXT}}{PASSWORD}', 'home' FROM generate_series(1, {USERS}) n"
        ))
        .unwrap();
    for role in [&one, &two] {
        role.until_loaded(USERS as u64).unwrap();
        role.until_stocked().unwrap();
    }

    let servers = [&one, &two].map(|role| Server { auth: role.auth(), acct: role.acct() });
    let books = Books::new(servers).offered_for(Duration::from_secs(OFFER.into())).telling_twice();
    let (taken, allowed, tried) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let over = Over::default();
    let lasting = thread::scope(|scope| {
        let _end = over.at_the_end();
        let ports: Vec<_> = (0..PORTS)
            .map(|number| {
                let mut nas = Nas::new(&lab, number).unwrap().patient(Duration::from_millis(400));
                let (books, over) = (&books, &over);
                let (taken, allowed, tried) = (&taken, &allowed, &tried);
                scope.spawn(move || {
                    let mut open = VecDeque::new();
                    loop {
                        let turn = taken.fetch_add(1, Ordering::SeqCst);
                        if turn >= TURN * ENDS.len() {
                            break;
                        }
                        while turn >= allowed.load(Ordering::SeqCst) && !over.is_over() {
                            thread::sleep(Duration::from_millis(5));
                        }
                        if over.is_over() {
                            break;
                        }
                        match books.begin(&mut nas, &format!("user{}", 1 + turn % USERS)).unwrap() {
                            Some(session) => open.push_back(session),
                            // Addresses of servers that are away come back when nobody can have them any more.
                            None => thread::sleep(Duration::from_millis(100)),
                        }
                        tried.fetch_add(1, Ordering::SeqCst);
                        if open.len() > OPEN {
                            books.end(&mut nas, &open.pop_front().unwrap(), 2).unwrap();
                        }
                    }
                    // One of each port goes on.
                    let lasting = open.pop_back();
                    for session in open {
                        books.end(&mut nas, &session, 1).unwrap();
                    }
                    lasting
                })
            })
            .collect();
        let until_tried = |least: usize| {
            until("logins", SOON, || Ok((tried.load(Ordering::SeqCst) >= least).then_some(())))
                .unwrap();
        };
        // What waits in the sockets of a server that is away it finds when it is back.
        for (turn, (second, signal)) in ENDS.into_iter().enumerate() {
            let role = if second { &mut two } else { &mut one };
            allowed.store(TURN * turn + TURN / 2, Ordering::SeqCst);
            until_tried(TURN * turn + BEFORE);
            role.end(signal).unwrap();
            allowed.store(TURN * (turn + 1), Ordering::SeqCst);
            until_tried(TURN * turn + WITHOUT);
            role.begin().unwrap();
            role.until_loaded(USERS as u64).unwrap();
        }
        ports.into_iter().filter_map(|port| port.join().unwrap()).collect::<Vec<_>>()
    });
    one.until_told().unwrap();
    two.until_told().unwrap();
    assert_eq!(books.doubled(), Vec::<String>::new());
    let (refused, overdue) = books.failures();
    assert!(refused + overdue < (TURN * ENDS.len() / 4) as u32, "{refused} {overdue}");
    let (records, sessions) = (one.exported("records").unwrap(), two.exported("sessions").unwrap());
    books.compare(&records, &sessions, &one.sums().unwrap()).unwrap();
    let by_server = |name: &str| records.iter().filter(|record| record["server"] == name).count();
    assert!(by_server("one") > 100 && by_server("two") > 100, "both have written records");

    // What is leased is what somebody still has, and nobody else has any of it.
    let mut lasting: Vec<String> = lasting
        .iter()
        .map(|session| format!("{} {}", session.address.unwrap(), session.user))
        .collect();
    lasting.sort();
    assert!(!lasting.is_empty());
    until("the leases", SOON, || {
        let leased = postgres.sql(
            "SELECT address || ' ' || user_name FROM radius_lease
             WHERE released = 0 AND session IS NOT NULL",
        )?;
        let mut leased: Vec<&str> = leased.lines().collect();
        leased.sort_unstable();
        ensure!(leased == lasting, "leased: {leased:?}, open: {lasting:?}");
        Ok(Some(()))
    })
    .unwrap();

    // Nothing of one waited for the other in a circle: whoever is broken off by that has a second less to stop in.
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(postgres.sql(deadlocks).unwrap().trim(), "0");
}
