//! AAA: who has which address, and who is online, where NASes repeat themselves, and where what they tell comes late or
//! by another server.

#![cfg(test)]

use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use muralla_lab::postgres::Postgres;
use muralla_lab::{Lab, LabOptions};
use muralla_tests::nas::{Books, Nas, PASSWORD, Server, Status, Subscription};
use muralla_tests::radius_role::{RadiusRole, RadiusSettings, SOON};
use muralla_tests::until;
use rustix::process::Signal;

/// Addresses of the pool.
const ADDRESSES: usize = 6;

/// More than two rounds in which servers hear from the database what others were told.
const ROUNDS: Duration = Duration::from_millis(2_500);

#[test]
fn aaa_a_stop_that_comes_late_takes_no_address_from_who_has_it_now() {
    let lab = Lab::up("aaa-late", LabOptions::default()).unwrap();
    let postgres = Postgres::start(&lab, &lab.folder().join("postgres"), 1).unwrap();
    let url = postgres.url();
    let settings = RadiusSettings { location: Some(&url), ..RadiusSettings::default() };
    let [first, second]: [IpAddr; 2] =
        ["203.0.113.51", "203.0.113.52"].map(|ip| ip.parse().unwrap());
    let mut one = RadiusRole::prepare(&lab, "one", first, settings).unwrap();
    let mut two = RadiusRole::prepare(&lab, "two", second, settings).unwrap();
    one.begin().unwrap();
    postgres
        .sql(&format!(
            "INSERT INTO radius_pool (name, length) VALUES ('home', 32);
             INSERT INTO radius_pool_range VALUES ('home', '10.64.0.0/29');
             INSERT INTO radius_subscriber (name, credential, pool)
             SELECT 'user' || n, '{{CLEARTEXT}}{PASSWORD}', 'home' FROM generate_series(1, 10) n"
        ))
        .unwrap();
    one.until_loaded(10).unwrap();
    // All of the pool is the first server's.
    one.until_stocked().unwrap();
    two.begin().unwrap();
    two.until_loaded(10).unwrap();

    let books = Books::new([Server { auth: one.auth(), acct: one.acct() }]);
    let mut nas = Nas::new(&lab, 0).unwrap();
    let log_in = |nas: &mut Nas, user: usize| {
        books.log_in(nas, &format!("user{user}"), user as u32).unwrap().unwrap()
    };
    let earlier: Vec<Subscription> = (1..=4).map(|user| log_in(&mut nas, user)).collect();
    for session in &earlier {
        assert!(books.tell(&mut nas, session, Status::Start).unwrap());
    }
    // They last for two seconds.
    thread::sleep(Duration::from_millis(2_100));
    for session in &earlier[..3] {
        books.tell(&mut nas, session, Status::Stop(1)).unwrap();
    }
    one.until_status("free addresses", |status| status["pools"][0]["held"] == 1).unwrap();

    // All dial in again, and get what they had; of the last one nobody has told yet that his session has ended.
    let later: Vec<Subscription> = (1..=4).map(|user| log_in(&mut nas, user)).collect();
    for (session, before) in later.iter().zip(&earlier) {
        assert_eq!(session.address, before.address);
    }
    for at in [0, 2, 3] {
        books.tell(&mut nas, &later[at], Status::Start).unwrap();
    }
    // The ends of the earlier sessions are told again, one to the same server and two to the other one, one of these before
    // the next session has begun; and that of the last one for the first time.
    for (session, server) in earlier.iter().zip([&one, &two, &two, &one]) {
        let stop = nas.record(session, Status::Stop(1), Duration::from_secs(1));
        assert!(nas.ask(server.acct(), &stop, 30).unwrap().is_some());
    }
    one.until_told().unwrap();
    two.until_told().unwrap();
    thread::sleep(ROUNDS);

    // Others get what is left, and nothing else.
    let others = (5..=10).filter_map(|user| {
        books.log_in(&mut nas, &format!("user{user}"), user).unwrap().map(|session| session.address)
    });
    let others: Vec<_> = others.collect();
    assert_eq!(books.doubled(), Vec::<String>::new());
    assert_eq!(others.len(), ADDRESSES - later.len(), "{others:?}");
}

#[test]
fn aaa_a_session_that_ended_while_its_server_was_away_is_over() {
    let lab = Lab::up("aaa-over", LabOptions::default()).unwrap();
    let postgres = Postgres::start(&lab, &lab.folder().join("postgres"), 1).unwrap();
    let url = postgres.url();
    let settings = RadiusSettings { location: Some(&url), ..RadiusSettings::default() };
    let [first, second]: [IpAddr; 2] =
        ["203.0.113.53", "203.0.113.54"].map(|ip| ip.parse().unwrap());
    let mut one = RadiusRole::prepare(&lab, "one", first, settings).unwrap();
    let mut two = RadiusRole::prepare(&lab, "two", second, settings).unwrap();
    for user in ["ended", "lasting", "late"] {
        one.add_user(user, PASSWORD, &["--simultaneous", "1"]).unwrap();
    }
    one.begin().unwrap();
    two.begin().unwrap();
    one.until_loaded(3).unwrap();
    two.until_loaded(3).unwrap();

    let [at_one, at_two] =
        [&one, &two].map(|role| Books::new([Server { auth: role.auth(), acct: role.acct() }]));
    let [mut nas, mut another] = [0, 1].map(|number| Nas::new(&lab, number).unwrap());
    let sessions = ["ended", "lasting"].map(|user| {
        // Nobody is let in a second time, by neither server.
        let session = at_one.begin(&mut nas, user).unwrap().unwrap();
        assert!(at_one.log_in(&mut nas, user, 1_000).unwrap().is_none(), "{user}");
        until("the other server", SOON, || {
            Ok(at_two.log_in(&mut nas, user, 1_000)?.is_none().then_some(()))
        })
        .unwrap();
        session
    });
    one.until_told().unwrap();
    for signal in [Signal::KILL, Signal::TERM] {
        one.end(signal).unwrap();
        // The NAS goes to the other server, and comes back.
        let [ended, lasting] = &sessions;
        at_two.tell(&mut nas, ended, Status::Stop(1)).unwrap();
        at_two.tell(&mut nas, lasting, Status::Interim(1)).unwrap();
        let late = at_two.begin(&mut another, "late").unwrap().unwrap();
        at_two.tell(&mut another, &late, Status::Stop(0)).unwrap();
        two.until_told().unwrap();
        one.begin().unwrap();
        one.until_loaded(3).unwrap();
        until("an end", SOON, || Ok(at_one.log_in(&mut nas, "ended", 1_001)?.map(drop))).unwrap();
        assert!(at_one.log_in(&mut nas, "lasting", 1_001).unwrap().is_none());
        assert!(at_two.log_in(&mut nas, "lasting", 1_001).unwrap().is_none());
        // A Start that was on its way to the first server for so long is one of a session that is over.
        let start = another.record(&late, Status::Start, Duration::from_secs(1));
        assert!(another.ask(one.acct(), &start, 30).unwrap().is_some());
        until("the late one", SOON, || Ok(at_one.log_in(&mut nas, "late", 1_001)?.map(drop)))
            .unwrap();
    }
}
