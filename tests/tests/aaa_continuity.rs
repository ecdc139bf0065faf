//! AAA, UP: restarts, upgrades and crashes under load. A NAS that asks again gets its answer, whatever it has told is
//! kept, and what somebody has is given to nobody else.

#![cfg(test)]

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use muralla_lab::{Lab, LabOptions};
use muralla_tests::nas::{Books, Nas, Over, PASSWORD, Server, Subscription};
use muralla_tests::radclient;
use muralla_tests::radius_role::{RadiusRole, RadiusSettings, SOON};
use muralla_tests::until;
use rustix::process::Signal;
use serde_json::Value;

const USERS: usize = 12;
const PORTS: usize = 6;

/// Seconds after which a NAS asks again: more than any restart takes.
const AGAIN: u32 = 5;

fn user(number: usize) -> String {
    format!("user{}", number % USERS)
}

/// A role with subscribers whose addresses come from a pool.
fn role<'lab>(lab: &'lab Lab, name: &str, address: &str) -> RadiusRole<'lab> {
    let address: IpAddr = address.parse().unwrap();
    let mut role = RadiusRole::prepare(lab, name, address, RadiusSettings::default()).unwrap();
    for number in 0..USERS {
        role.add_user(&user(number), PASSWORD, &["--pool", "home"]).unwrap();
    }
    role.command(&["radius", "pool", "add", "home", "10.64.0.0/16"]).unwrap();
    role.begin().unwrap();
    role.until_loaded(USERS as u64).unwrap();
    role.until_stocked().unwrap();
    role
}

#[test]
fn up_radius_restarts_and_upgrades_keep_every_request_and_every_record() {
    let lab = Lab::up("aaa-upgrades", LabOptions::default()).unwrap();
    let mut role = role(&lab, "upgrades", "203.0.113.47");
    let (auth, acct) = (role.auth(), role.acct());
    let books = Books::new([Server { auth, acct }]);
    let told = AtomicU32::new(0);
    let over = Over::default();
    thread::scope(|scope| {
        let _end = over.at_the_end();
        let again = Duration::from_secs(AGAIN.into());
        let ports: Vec<_> = (0..PORTS)
            .map(|number| {
                let mut nas = Nas::new(&lab, number).unwrap().patient(again);
                let (books, over) = (&books, &over);
                scope.spawn(move || {
                    let mut turn = number;
                    while !over.is_over() {
                        let session = books.begin(&mut nas, &user(turn)).unwrap().unwrap();
                        books.end(&mut nas, &session, 2).unwrap();
                        turn += 1;
                    }
                })
            })
            .collect();
        // Debian's client asks as well.
        let radclient = scope.spawn(|| {
            let how = (25, AGAIN, 2);
            let mut most_sendings = 0;
            while !over.is_over() {
                let logins: Vec<String> = (0..100)
                    .map(|number| {
                        format!(
                            "User-Name = {}, User-Password = \"{PASSWORD}\", NAS-Port = {}, \
                             Message-Authenticator = 0x00",
                            user(number),
                            5_000 + number
                        )
                    })
                    .collect();
                let outcome = radclient::ask(&lab, auth, "auth", &logins, how).unwrap();
                assert_eq!(outcome.answers("Access-Accept"), 100, "{outcome:?}");
                most_sendings = most_sendings.max(outcome.most_sendings);
                let first = told.fetch_add(100, Ordering::Relaxed);
                let starts: Vec<String> = (first..first + 100)
                    .map(|number| {
                        format!(
                            "User-Name = user1, Acct-Status-Type = Start, Acct-Session-Id = rc{number}, \
                             NAS-IP-Address = 192.0.2.3, Acct-Delay-Time = 0"
                        )
                    })
                    .collect();
                let outcome = radclient::ask(&lab, acct, "acct", &starts, how).unwrap();
                assert_eq!(outcome.answers("Accounting-Response"), 100, "{outcome:?}");
                most_sendings = most_sendings.max(outcome.most_sendings);
            }
            most_sendings
        });
        let more = |number: usize| {
            let before = books.records();
            until("records", SOON, || Ok((books.records() >= before + number).then_some(())))
                .unwrap();
        };
        more(100);
        // What a crash takes is asked again once.
        role.end(Signal::KILL).unwrap();
        role.begin().unwrap();
        let names = role.role().store().names();
        assert!(
            names.iter().filter(|name| name.starts_with("radius-auth")).count() == 2,
            "{names:?}"
        );
        assert!(
            names.iter().filter(|name| name.starts_with("radius-acct")).count() == 2,
            "{names:?}"
        );
        for build in ["", "one", "", "two"] {
            more(100);
            let before = role.role().build().unwrap();
            if !build.is_empty() {
                role.role().install(build).unwrap();
            }
            role.end(Signal::TERM).unwrap();
            role.begin().unwrap();
            let is_another = role.role().build().unwrap() != before;
            assert_eq!(is_another, !build.is_empty(), "{build}");
        }
        more(100);
        over.end();
        ports.into_iter().for_each(|port| port.join().unwrap());
        assert!(radclient.join().unwrap() <= 2, "radclient asked again and again");
    });
    assert!(books.most_sendings() <= 2, "{} times", books.most_sendings());
    assert_eq!(role.role().store().names().len(), 4);
    role.until_told().unwrap();
    assert_eq!((books.doubled(), books.failures()), (Vec::new(), (0, 0)));
    let (ours, theirs): (Vec<Value>, Vec<Value>) =
        role.exported("records").unwrap().into_iter().partition(|row| {
            !row["acct_session_id"].as_str().unwrap_or_default().starts_with("rc")
        });
    assert_eq!(theirs.len(), told.load(Ordering::Relaxed) as usize);
    let sessions: Vec<Value> = role
        .exported("sessions")
        .unwrap()
        .into_iter()
        .filter(|row| !row["acct_session_id"].as_str().unwrap_or_default().starts_with("rc"))
        .collect();
    books.compare(&ours, &sessions, &role.sums().unwrap()).unwrap();
}

#[test]
fn aaa_addresses_outlive_ten_crashes_and_nobody_shares_one() {
    /// Crashes, and sessions of each port that are open at a time.
    const CRASHES: usize = 10;
    const OPEN: usize = 12;
    let lab = Lab::up("aaa-killed", LabOptions::default()).unwrap();
    let mut role = role(&lab, "killed", "203.0.113.48");
    let books = Books::new([Server { auth: role.auth(), acct: role.acct() }]);
    let over = Over::default();
    let open: Vec<Subscription> = thread::scope(|scope| {
        let _end = over.at_the_end();
        let ports: Vec<_> = (0..PORTS)
            .map(|number| {
                let mut nas = Nas::new(&lab, 0).unwrap();
                let (books, over) = (&books, &over);
                scope.spawn(move || {
                    let (mut open, mut turn) = (VecDeque::new(), number);
                    while !over.is_over() {
                        open.push_back(books.begin(&mut nas, &user(turn)).unwrap().unwrap());
                        if open.len() > OPEN {
                            books.end(&mut nas, &open.pop_front().unwrap(), 0).unwrap();
                        }
                        turn += 1;
                    }
                    open
                })
            })
            .collect();
        for crash in 0..CRASHES {
            let before = books.logins();
            until("logins", SOON, || Ok((books.logins() >= before + 30).then_some(()))).unwrap();
            // At another point of whatever it does each time.
            thread::sleep(Duration::from_millis(37 * crash as u64));
            role.end(Signal::KILL).unwrap();
            role.begin().unwrap();
        }
        over.end();
        ports.into_iter().flat_map(|port| port.join().unwrap()).collect()
    });
    assert_eq!((books.doubled(), books.failures()), (Vec::new(), (0, 0)));
    role.until_told().unwrap();
    let (records, sessions) =
        (role.exported("records").unwrap(), role.exported("sessions").unwrap());
    books.compare(&records, &sessions, &role.sums().unwrap()).unwrap();

    // Whoever was online has what he had: also after one crash more, and if he dials in again on his line.
    role.end(Signal::KILL).unwrap();
    role.begin().unwrap();
    role.until_loaded(USERS as u64).unwrap();
    role.until_stocked().unwrap();
    assert!(open.len() >= PORTS * OPEN / 2, "{}", open.len());
    let mut nas = Nas::new(&lab, 0).unwrap();
    for session in &open {
        let again = books.log_in(&mut nas, &session.user, session.line.1).unwrap().unwrap();
        assert_eq!(again.address, session.address, "{session:?}");
    }
    assert_eq!(books.doubled(), Vec::<String>::new());
}
