//! AAA: nobody has more sessions than he may, and everybody as many, where all lines of a NAS have one name, and where the
//! server that knows of a session is away together with the database.

#![cfg(test)]

use std::net::IpAddr;

use muralla_lab::postgres::Postgres;
use muralla_lab::{Lab, LabOptions};
use muralla_tests::nas::{Books, Nas, PASSWORD, Server, Status};
use muralla_tests::radius_role::{RadiusRole, RadiusSettings, SOON};
use muralla_tests::until;
use rustix::process::Signal;

/// Numbers of lines that no session has.
const FREE: u32 = 1_000;

#[test]
fn aaa_sessions_are_counted_by_their_lines_through_a_fail_over() {
    let lab = Lab::up("aaa-single", LabOptions::default()).unwrap();
    let mut postgres = Postgres::start(&lab, &lab.folder().join("postgres"), 1).unwrap();
    let url = postgres.url();
    let settings = RadiusSettings { location: Some(&url), ..RadiusSettings::default() };
    let [first, second]: [IpAddr; 2] =
        ["203.0.113.55", "203.0.113.56"].map(|ip| ip.parse().unwrap());
    let mut one = RadiusRole::prepare(&lab, "one", first, settings).unwrap();
    let mut two = RadiusRole::prepare(&lab, "two", second, settings).unwrap();
    one.begin().unwrap();
    two.begin().unwrap();
    postgres
        .sql(&format!(
            "INSERT INTO radius_pool (name, length) VALUES ('home', 32);
             INSERT INTO radius_pool_range VALUES ('home', '10.64.0.0/24');
             INSERT INTO radius_subscriber (name, credential, simultaneous)
             SELECT name, '{{CLEARTEXT}}{PASSWORD}', 1 FROM unnest(ARRAY['single', 'lasting']) name;
             INSERT INTO radius_subscriber (name, credential, pool)
             VALUES ('family', '{{CLEARTEXT}}{PASSWORD}', 'home')"
        ))
        .unwrap();
    for role in [&one, &two] {
        role.until_loaded(3).unwrap();
    }
    one.until_stocked().unwrap();
    let [at_one, at_two] =
        [&one, &two].map(|role| Books::new([Server { auth: role.auth(), acct: role.acct() }]));
    // The NAS calls every line by the name of its interface, and each session has a port of its own.
    let [mut nas, mut other] = ["02:00:00:00:00:0a", "02:00:00:00:00:0b"]
        .map(|station| Nas::new(&lab, 0).unwrap().telling("ether2-pppoe", station));

    let [single, lasting] = ["single", "lasting"].map(|user| {
        let session = at_one.begin(&mut nas, user).unwrap().unwrap();
        assert!(at_one.log_in(&mut other, user, FREE).unwrap().is_none(), "{user} a second time");
        until("the other server", SOON, || {
            Ok(at_two.log_in(&mut other, user, FREE)?.is_none().then_some(()))
        })
        .unwrap();
        // On its own line, by everything that is told of it, it is over: the NAS missed something.
        let port = session.line.1;
        assert!(at_one.log_in(&mut nas, user, port).unwrap().is_some(), "{user} again");
        assert!(at_two.log_in(&mut nas, user, port).unwrap().is_some(), "{user} again elsewhere");
        session
    });
    // Who may have several gets an address for each.
    let members = [&mut nas, &mut other].map(|nas| at_one.begin(nas, "family").unwrap().unwrap());
    assert_ne!(members[0].address, members[1].address);
    assert_eq!(at_one.doubled(), Vec::<String>::new());
    one.until_told().unwrap();

    // One takes the database along. The NAS tells the other server what becomes of the sessions.
    one.end(Signal::KILL).unwrap();
    postgres.end(Signal::INT).unwrap();
    two.until_status("the loss", |status| status["database"]["away_since"].is_number()).unwrap();
    at_two.tell(&mut nas, &single, Status::Stop(1)).unwrap();
    at_two.tell(&mut nas, &lasting, Status::Interim(1)).unwrap();
    assert!(at_two.log_in(&mut other, "single", FREE).unwrap().is_some(), "it has ended");
    assert!(at_two.log_in(&mut other, "lasting", FREE).unwrap().is_none(), "it goes on");

    // When all are there again, they say the same.
    postgres.begin(&lab).unwrap();
    one.begin().unwrap();
    one.until_loaded(3).unwrap();
    two.until_told().unwrap();
    for (name, books) in [("one", &at_one), ("two", &at_two)] {
        until(name, SOON, || Ok(books.log_in(&mut other, "single", FREE)?.map(drop))).unwrap();
        assert!(books.log_in(&mut other, "lasting", FREE).unwrap().is_none(), "{name}");
    }
    assert_eq!([at_one.doubled(), at_two.doubled()].concat(), Vec::<String>::new());
}
