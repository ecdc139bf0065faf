//! AAA, UP: the database may be away. Logins go on from memory and accounting into the journal, and when it is back,
//! everything is in it, once.

#![cfg(test)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use muralla_lab::postgres::Postgres;
use muralla_lab::{Lab, LabOptions};
use muralla_tests::nas::{Books, Nas, Over, PASSWORD, Server};
use muralla_tests::radclient;
use muralla_tests::radius_role::{RadiusRole, RadiusSettings, SOON};
use muralla_tests::until;
use rustix::process::Signal;

const USERS: usize = 40;
const PORTS: usize = 4;

/// Once, a second, and no further attempts.
const ONCE: (usize, u32, u32) = (1, 1, 0);
/// As a NAS asks.
const STUBBORN: (usize, u32, u32) = (10, 3, 3);

/// Subscribers with addresses from a pool, and one who needs none.
fn fill(postgres: &Postgres) {
    postgres
        .sql(&format!(
            "INSERT INTO radius_pool (name, length) VALUES ('home', 32);
             INSERT INTO radius_pool_range VALUES ('home', '10.64.0.0/20');
             INSERT INTO radius_subscriber (name, credential) VALUES ('plain', '{{CLEARTEXT}}{PASSWORD}');
             INSERT INTO radius_subscriber (name, credential, pool)
             SELECT 'user' || n, '{{CLEARTEXT}}{PASSWORD}', 'home' FROM generate_series(1, {USERS}) n"
        ))
        .unwrap();
}

fn login(user: &str, port: usize) -> String {
    format!(
        "User-Name = {user}, User-Password = \"{PASSWORD}\", NAS-Port = {port}, Message-Authenticator = 0x00"
    )
}

fn start(number: usize) -> String {
    format!(
        "User-Name = user{number}, Acct-Status-Type = Start, Acct-Session-Id = rc{number}, \
         NAS-IP-Address = 192.0.2.3, NAS-Port = {number}, Acct-Delay-Time = 0"
    )
}

#[test]
fn aaa_a_database_that_is_away_stops_nothing_and_misses_nothing() {
    let lab = Lab::up("aaa-away", LabOptions::default()).unwrap();
    let mut postgres = Postgres::start(&lab, &lab.folder().join("postgres"), 1).unwrap();
    let url = postgres.url();
    let settings = RadiusSettings { location: Some(&url), ..RadiusSettings::default() };
    let address: IpAddr = "203.0.113.43".parse().unwrap();
    let mut role = RadiusRole::prepare(&lab, "away", address, settings).unwrap();
    role.begin().unwrap();
    fill(&postgres);
    role.until_loaded(USERS as u64 + 1).unwrap();
    role.until_stocked().unwrap();

    let books = Books::new([Server { auth: role.auth(), acct: role.acct() }]);
    let over = Over::default();
    thread::scope(|scope| {
        let _end = over.at_the_end();
        let ports: Vec<_> = (0..PORTS)
            .map(|number| {
                let mut nas = Nas::new(&lab, number).unwrap();
                let (books, over) = (&books, &over);
                scope.spawn(move || {
                    let mut turn = 0;
                    while !over.is_over() {
                        let user = format!("user{}", 1 + (number + PORTS * turn) % USERS);
                        let session = books.begin(&mut nas, &user).unwrap().unwrap();
                        // Every fifth goes on.
                        if turn % 5 > 0 {
                            books.end(&mut nas, &session, 2).unwrap();
                        }
                        turn += 1;
                        thread::sleep(Duration::from_millis(20));
                    }
                })
            })
            .collect();
        let more = |what: &str, so_far: &dyn Fn() -> usize, number: usize| {
            let before = so_far();
            until(what, SOON, || Ok((so_far() >= before + number).then_some(()))).unwrap();
        };
        let logins = || books.logins() as usize;
        let records = || books.records();
        more("sessions", &records, 50);
        // In good order, and as in a crash.
        for (turn, signal) in [Signal::INT, Signal::QUIT].into_iter().enumerate() {
            postgres.end(signal).unwrap();
            role.until_status("the loss", |status| status["database"]["away_since"].is_number())
                .unwrap();
            let exported = role.status().unwrap()["exported"].clone();
            more("logins", &logins, 50);
            more("records", &records, 100);
            let users: Vec<String> =
                (1..=10).map(|n| login(&format!("user{n}"), 900 + n)).collect();
            let outcome = radclient::ask(&lab, role.auth(), "auth", &users, STUBBORN).unwrap();
            assert_eq!(outcome.answers("Access-Accept"), 10, "{outcome:?}");
            let addresses: BTreeSet<&String> =
                outcome.attributes.iter().filter(|line| line.starts_with("Framed-IP-A")).collect();
            assert_eq!(addresses.len(), 10, "an address each: {outcome:?}");
            let starts: Vec<String> = (1..=10).map(|n| start(100 * turn + n)).collect();
            let outcome = radclient::ask(&lab, role.acct(), "acct", &starts, STUBBORN).unwrap();
            assert_eq!(outcome.answers("Accounting-Response"), 10, "{outcome:?}");
            let status = role.status().unwrap();
            assert_eq!(status["exported"], exported, "nothing can be stored");
            let text = role.command(&["radius", "status"]).unwrap();
            assert!(text.contains("AWAY since"), "{text}");
            postgres.begin(&lab).unwrap();
            role.until_status("the database", |status| {
                status["database"]["away_since"].is_null() && status["exported"] != exported
            })
            .unwrap();
        }
        over.end();
        ports.into_iter().for_each(|port| port.join().unwrap());
    });
    role.until_told().unwrap();
    assert_eq!((books.doubled(), books.failures()), (Vec::new(), (0, 0)));
    let ours = |rows: Vec<serde_json::Value>, ours: bool| {
        let of = |row: &serde_json::Value| {
            !row["acct_session_id"].as_str().unwrap_or_default().starts_with("rc")
        };
        rows.into_iter().filter(|row| of(row) == ours).collect::<Vec<_>>()
    };
    let (records, sessions) =
        (role.exported("records").unwrap(), role.exported("sessions").unwrap());
    assert_eq!(ours(records.clone(), false).len(), 20, "radclient's records");
    assert_eq!(ours(sessions.clone(), false).len(), 20, "radclient's sessions");
    books.compare(&ours(records, true), &ours(sessions, true), &role.sums().unwrap()).unwrap();
    // Who is online has a lease of what he was given, also while nobody could write it down.
    let without =
        "SELECT count(*) FROM radius_session s WHERE state = 0 AND address <> '' AND NOT EXISTS
                   (SELECT 1 FROM radius_lease l WHERE l.address = s.address AND l.session = s.id
                    AND l.user_name = s.user_name AND l.released = 0)";
    // Leases are written beside records, and may come a little later.
    until("leases of all who are online", SOON, || {
        Ok((postgres.sql(without)? == "0").then_some(()))
    })
    .unwrap();
}

#[test]
fn aaa_a_start_without_the_database_keeps_records_and_knows_whom_its_copy_has() {
    let lab = Lab::up("aaa-without", LabOptions::default()).unwrap();
    let mut postgres = Postgres::start(&lab, &lab.folder().join("postgres"), 1).unwrap();
    let url = postgres.url();
    let [bare, copied]: [IpAddr; 2] =
        ["203.0.113.44", "203.0.113.45"].map(|ip| ip.parse().unwrap());
    let settings = RadiusSettings { location: Some(&url), ..RadiusSettings::default() };
    let mut without = RadiusRole::prepare(&lab, "without", bare, settings).unwrap();
    // A copy is a database of its own, in a file.
    let copy = lab.folder().join("copy.db");
    let file = copy.display().to_string();
    let settings_of_copy = RadiusSettings { location: Some(&file), ..settings };
    let copier = RadiusRole::prepare(&lab, "copier", copied, settings_of_copy).unwrap();
    copier.add_user("plain", PASSWORD, &[]).unwrap();
    copier.add_user("user1", PASSWORD, &["--pool", "home"]).unwrap();
    let settings = RadiusSettings { copy: Some(&copy), ..settings };
    let mut with = RadiusRole::prepare(&lab, "with", copied, settings).unwrap();
    // The tables are made, and filled, before anything goes wrong.
    without.command(&["radius", "user", "list"]).unwrap();
    fill(&postgres);
    postgres.end(Signal::INT).unwrap();

    without.begin().unwrap();
    with.begin().unwrap();
    let starts: Vec<String> = (1..=10).map(start).collect();
    for role in [&without, &with] {
        // Both servers are told: of a NAS that missed the first one's answers.
        let outcome = radclient::ask(&lab, role.acct(), "acct", &starts, STUBBORN).unwrap();
        assert_eq!(outcome.answers("Accounting-Response"), 10, "{outcome:?}");
    }
    let ask = |role: &RadiusRole<'_>, user: &str, how| {
        radclient::ask(&lab, role.auth(), "auth", &[login(user, 1)], how).unwrap()
    };
    // Without a copy nobody is known, which is no reason to refuse anybody: the NAS asks the other server.
    assert_eq!(ask(&without, "plain", ONCE).lost, 1);
    let quiet = ["Message-Authenticator = 0x00".to_owned()];
    let outcome = radclient::ask(&lab, without.auth(), "status", &quiet, ONCE).unwrap();
    assert_eq!(outcome.lost, 1, "{outcome:?}");
    assert_eq!(ask(&with, "plain", STUBBORN).answers("Access-Accept"), 1);
    let nobody = ask(&with, "nobody", STUBBORN);
    assert_eq!(nobody.answers("Access-Reject"), 1, "{nobody:?}");
    // Of pools another server may give out the same.
    assert_eq!(ask(&with, "user1", ONCE).lost, 1);

    postgres.begin(&lab).unwrap();
    for role in [&mut without, &mut with] {
        role.until_loaded(USERS as u64 + 1).unwrap();
        role.until_stocked().unwrap();
        for user in ["plain", "user1", "user40"] {
            let outcome = ask(role, user, STUBBORN);
            assert_eq!(outcome.answers("Access-Accept"), 1, "{user}: {outcome:?}");
        }
        role.until_told().unwrap();
    }
    for what in ["records", "sessions"] {
        assert_eq!(with.exported(what).unwrap().len(), 10, "{what}");
    }
}

#[test]
fn aaa_a_restart_without_the_database_goes_on_giving_addresses() {
    let lab = Lab::up("aaa-goes-on", LabOptions::default()).unwrap();
    let mut postgres = Postgres::start(&lab, &lab.folder().join("postgres"), 1).unwrap();
    let url = postgres.url();
    let address: IpAddr = "203.0.113.46".parse().unwrap();
    let settings = RadiusSettings { location: Some(&url), ..RadiusSettings::default() };
    let copy = lab.folder().join("copy.db");
    let file = copy.display().to_string();
    let settings_of_copy = RadiusSettings { location: Some(&file), ..settings };
    let copier = RadiusRole::prepare(&lab, "copier", address, settings_of_copy).unwrap();
    for number in 1..=10 {
        copier.add_user(&format!("user{number}"), PASSWORD, &["--pool", "home"]).unwrap();
    }
    let settings = RadiusSettings { copy: Some(&copy), ..settings };
    let mut role = RadiusRole::prepare(&lab, "on", address, settings).unwrap();
    role.command(&["radius", "user", "list"]).unwrap();
    fill(&postgres);
    role.begin().unwrap();
    role.until_loaded(USERS as u64 + 1).unwrap();
    role.until_stocked().unwrap();

    let books = Books::new([Server { auth: role.auth(), acct: role.acct() }]);
    let mut nas = Nas::new(&lab, 0).unwrap();
    let begin = |nas: &mut Nas, number: usize| {
        books.begin(nas, &format!("user{number}")).unwrap().expect("an address")
    };
    let mut on_line: Vec<_> = (1..=4).map(|number| begin(&mut nas, number)).collect();
    postgres.end(Signal::INT).unwrap();
    role.until_status("the loss", |status| status["database"]["away_since"].is_number()).unwrap();
    // Nobody can write down what these have.
    on_line.extend((5..=8).map(|number| begin(&mut nas, number)));
    for number in 9..=10 {
        role.end(Signal::TERM).unwrap();
        role.begin().unwrap();
        role.until_stocked().unwrap();
        on_line.push(begin(&mut nas, number));
        books.end(&mut nas, &on_line.remove(0), 1).unwrap();
    }
    postgres.begin(&lab).unwrap();
    role.until_loaded(USERS as u64 + 1).unwrap();
    role.until_told().unwrap();
    for number in 11..=USERS {
        begin(&mut nas, number);
    }
    assert_eq!(books.doubled(), Vec::<String>::new());
    let held = "SELECT count(*) FROM radius_lease l JOIN radius_session s ON s.id = l.session AND s.address = l.address
                WHERE s.state = 0 AND l.released = 0";
    role.until_told().unwrap();
    assert_eq!(postgres.sql(held).unwrap(), (USERS - 2).to_string());
}

/// Servers are upgraded one after the other, and the first new one brings the database's tables further.
#[test]
fn aaa_an_older_program_beside_a_newer_database_answers_from_its_copy() {
    let lab = Lab::up("aaa-newer", LabOptions::default()).unwrap();
    let postgres = Postgres::start(&lab, &lab.folder().join("postgres"), 1).unwrap();
    let url = postgres.url();
    let address: IpAddr = "203.0.113.46".parse().unwrap();
    let copy = lab.folder().join("copy.db");
    let file = copy.display().to_string();
    let of_copy = RadiusSettings { location: Some(&file), ..RadiusSettings::default() };
    let copier = RadiusRole::prepare(&lab, "copier", address, of_copy).unwrap();
    copier.add_user("plain", PASSWORD, &[]).unwrap();
    let settings =
        RadiusSettings { location: Some(&url), copy: Some(&copy), ..RadiusSettings::default() };
    let mut role = RadiusRole::prepare(&lab, "older", address, settings).unwrap();
    role.command(&["radius", "user", "list"]).unwrap();
    fill(&postgres);
    let newer = "INSERT INTO radius_schema (version, name) VALUES (99, 'of a newer program')";
    postgres.sql(newer).unwrap();

    role.begin().unwrap();
    let ask = |role: &RadiusRole<'_>, user: &str| {
        let outcome = radclient::ask(&lab, role.auth(), "auth", &[login(user, 1)], STUBBORN);
        outcome.unwrap().answers("Access-Accept")
    };
    assert_eq!(ask(&role, "plain"), 1);
    let starts: Vec<String> = (1..=10).map(start).collect();
    let outcome = radclient::ask(&lab, role.acct(), "acct", &starts, STUBBORN).unwrap();
    assert_eq!(outcome.answers("Accounting-Response"), 10, "{outcome:?}");
    let said = role.command(&["radius", "status"]).unwrap();
    assert!(said.starts_with("! the database could not be used"), "{said}");
    assert!(said.contains("schema 99"), "{said}");

    // As if it were upgraded itself.
    postgres.sql("DELETE FROM radius_schema WHERE version = 99").unwrap();
    role.until_loaded(USERS as u64 + 1).unwrap();
    role.until_stocked().unwrap();
    assert_eq!(ask(&role, "user40"), 1);
    role.until_told().unwrap();
    assert_eq!(role.exported("records").unwrap().len(), 10);

    // While it runs, it goes on, and says what it needs.
    postgres.sql(newer).unwrap();
    let needs_restart = |status: &serde_json::Value| {
        let warnings = status["warnings"].as_array();
        let restart = |warning: &serde_json::Value| {
            warning.as_str().is_some_and(|warning| warning.starts_with("RESTART NEEDED"))
        };
        warnings.is_some_and(|warnings| warnings.iter().any(restart))
    };
    role.until_status("a word about the restart", needs_restart).unwrap();
    assert_eq!(ask(&role, "user39"), 1);
}
