//! AAA, UP: two servers work on one database. NASes go from one to the other in the middle of sessions, and neither a
//! record nor an address is doubled or lost.

#![cfg(test)]

use std::collections::VecDeque;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use anyhow::ensure;
use muralla_lab::postgres::Postgres;
use muralla_lab::{Lab, LabOptions};
use muralla_tests::nas::{Books, Nas, PASSWORD, Server};
use muralla_tests::radius_role::{RadiusRole, RadiusSettings, SOON};
use muralla_tests::until;
use rustix::process::Signal;

/// Ports of NASes that ask at once, sessions of each, and how many of these are open at a time.
const PORTS: usize = 8;
const SESSIONS: usize = 75;
const OPEN: usize = 10;

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
    let lasting = thread::scope(|scope| {
        let ports: Vec<_> = (0..PORTS)
            .map(|number| {
                let mut nas = Nas::new(&lab, number).unwrap().patient(Duration::from_millis(400));
                let books = &books;
                scope.spawn(move || {
                    let mut open = VecDeque::new();
                    let mut begun = 0;
                    while begun < SESSIONS {
                        let user = format!("user{}", 1 + (number * SESSIONS + begun) % USERS);
                        match books.begin(&mut nas, &user).unwrap() {
                            Some(session) => open.push_back(session),
                            // Addresses of servers that are away come back when nobody can have them any more.
                            None => thread::sleep(Duration::from_millis(100)),
                        }
                        begun += 1;
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
        let over = || ports.iter().all(thread::ScopedJoinHandle::is_finished);
        let logged_in = |least: u32| {
            until("logins", SOON, || Ok((books.logins() >= least || over()).then_some(())))
                .unwrap();
        };
        // What waits in the sockets of a server that is away it finds when it is back.
        for (turn, signal) in (0..).zip([Signal::KILL, Signal::TERM, Signal::KILL]) {
            let role = if turn == 1 { &mut two } else { &mut one };
            logged_in(100 + 150 * turn);
            role.end(signal).unwrap();
            logged_in(140 + 150 * turn);
            role.begin().unwrap();
            role.until_loaded(USERS as u64).unwrap();
        }
        ports.into_iter().filter_map(|port| port.join().unwrap()).collect::<Vec<_>>()
    });
    one.until_told().unwrap();
    two.until_told().unwrap();
    assert_eq!(books.doubled(), Vec::<String>::new());
    let (refused, overdue) = books.failures();
    assert!(refused + overdue < (PORTS * SESSIONS / 4) as u32, "{refused} {overdue}");
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
}
