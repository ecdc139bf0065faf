//! AAA: a server's clock that is put right, or wrong, by an hour. Nobody's session ends by it, nothing is counted twice or lost,
//! and nobody is given what another has.

#![cfg(test)]

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use muralla_lab::postgres::Postgres;
use muralla_lab::{Lab, LabOptions};
use muralla_tests::nas::{Books, Nas, PASSWORD, Server, Status, Subscription};
use muralla_tests::radius_role::{RadiusRole, RadiusSettings};
use rustix::process::Signal;

const USERS: usize = 8;

/// Where a clock jumps to, in seconds from the right time: an hour forth and back, beyond, and back again.
const STEPS: [&str; 4] = ["+3600", "+0", "-3600", "+0"];

/// After which of them the server is started anew: with what it kept at another time.
const RESTARTS: [Option<Signal>; 4] = [None, Some(Signal::TERM), None, Some(Signal::KILL)];

fn user(number: usize) -> String {
    format!("user{}", number % USERS)
}

/// Puts a clock to another time, at one moment.
fn step(clock: &Path, to: &str) {
    let beside = clock.with_extension("new");
    fs::write(&beside, format!("{to}\n")).unwrap();
    fs::rename(&beside, clock).unwrap();
}

/// The role looks for silent sessions every few seconds: it does so twice by a clock that nobody sets.
fn until_it_has_searched(role: &RadiusRole<'_>) {
    let uptime = |status: &serde_json::Value| status["uptime"].as_u64().unwrap_or_default();
    let before = uptime(&role.status().unwrap());
    role.until_status("two searches", |status| uptime(status) >= before + 5).unwrap();
}

/// When a session began by the role's table, in seconds since 1970.
fn began(role: &RadiusRole<'_>, id: &str) -> i64 {
    role.until_told().unwrap();
    let sessions = role.command(&["radius", "sessions", "--json"]).unwrap();
    let sessions: Vec<serde_json::Value> = serde_json::from_str(&sessions).unwrap();
    let session = sessions.iter().find(|session| session["session_id"] == id);
    session.and_then(|session| session["started"].as_i64()).unwrap()
}

/// One user after the other on lines of their own, some of whom go away while the clock is wrong, and some later.
fn clock_steps(lab: &Lab, name: &str, address: &str, location: Option<&str>) {
    let clock = lab.folder().join(format!("{name}-clock"));
    step(&clock, "+0");
    let settings = RadiusSettings {
        location,
        clock: Some(&clock),
        tables: "[radius.accounting]\nzombie_after = \"30m\"\nsnapshot = \"1s\"",
        ..RadiusSettings::default()
    };
    let address: IpAddr = address.parse().unwrap();
    let mut role = RadiusRole::prepare(lab, name, address, settings).unwrap();
    for number in 0..USERS {
        role.add_user(&user(number), PASSWORD, &["--pool", "home"]).unwrap();
    }
    // Few, so that what is given back wrongly goes to somebody else soon.
    role.command(&["radius", "pool", "add", "home", "10.64.0.0-10.64.0.39"]).unwrap();
    role.begin().unwrap();
    role.until_loaded(USERS as u64).unwrap();
    role.until_stocked().unwrap();

    let books = Books::new([Server { auth: role.auth(), acct: role.acct() }]);
    let mut nas = Nas::new(lab, 0).unwrap();
    let mut open: Vec<(Subscription, u32)> = Vec::new();
    let mut turn = 0;
    for (to, restart) in STEPS.into_iter().zip(RESTARTS) {
        for _ in 0..4 {
            open.push((books.begin(&mut nas, &user(turn)).unwrap().unwrap(), 0));
            turn += 1;
        }
        step(&clock, to);
        if let Some(signal) = restart {
            // Whose an address is lies in the database within a second: what a crash takes before that is another test's.
            thread::sleep(Duration::from_secs(2));
            role.end(signal).unwrap();
            role.begin().unwrap();
            role.until_loaded(USERS as u64).unwrap();
            role.until_stocked().unwrap();
        }
        until_it_has_searched(&role);
        let status = role.status().unwrap();
        assert_eq!(status["sessions"].as_u64(), Some(open.len() as u64), "at {to}: {status}");
        assert_eq!(status["zombies"].as_u64(), Some(0), "at {to}: {status}");
        // All tell of themselves, and have what they had also if they dial in again on their lines.
        for (session, updates) in &mut open {
            *updates += 1;
            books.tell(&mut nas, session, Status::Interim(*updates)).unwrap();
            let again = books.log_in(&mut nas, &session.user, session.line.1).unwrap().unwrap();
            assert_eq!(again.address, session.address, "at {to}: {session:?}");
        }
        for _ in 0..4 {
            open.push((books.begin(&mut nas, &user(turn)).unwrap().unwrap(), 0));
            turn += 1;
        }
        // So the clock is wrong indeed: a session began when the server was told of it, as its NAS is too far off to be believed.
        let (newest, _) = open.last().unwrap();
        let began = began(&role, &newest.id);
        let wrong: i64 = to.parse().unwrap();
        assert!((began - i64::from(newest.begun) - wrong).abs() < 600, "at {to}: {began}");
        // Half of them go, the oldest and the newest.
        for at in [0, 0, open.len() - 3, open.len() - 4] {
            let (session, updates) = open.remove(at);
            books.tell(&mut nas, &session, Status::Stop(updates)).unwrap();
        }
        role.until_told().unwrap();
        assert_eq!(books.doubled(), Vec::<String>::new(), "at {to}");
    }
    for (session, updates) in open {
        books.tell(&mut nas, &session, Status::Stop(updates)).unwrap();
    }
    role.until_told().unwrap();
    let status = role.status().unwrap();
    assert_eq!((status["sessions"].as_u64(), status["zombies"].as_u64()), (Some(0), Some(0)));
    assert_eq!((books.doubled(), books.failures()), (Vec::new(), (0, 0)));
    let (records, sessions) =
        (role.exported("records").unwrap(), role.exported("sessions").unwrap());
    books.compare(&records, &sessions, &role.sums().unwrap()).unwrap();
}

/// The database's clock is the server's own, and goes wrong with it.
#[test]
fn aaa_a_clock_that_steps_by_an_hour_ends_no_session_and_moves_no_address() {
    let lab = Lab::up("aaa-clock", LabOptions::default()).unwrap();
    clock_steps(&lab, "clocked", "203.0.113.58", None);
}

/// The database has a clock of its own, which stays right.
#[test]
fn aaa_a_clock_that_differs_from_the_databases_ends_no_session_and_moves_no_address() {
    let lab = Lab::up("aaa-clocks", LabOptions::default()).unwrap();
    let postgres = Postgres::start(&lab, &lab.folder().join("postgres"), 1).unwrap();
    clock_steps(&lab, "two-clocks", "203.0.113.59", Some(&postgres.url()));
}
