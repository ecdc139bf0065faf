//! AAA, UP: a full disk. What can't be kept is not acknowledged, so that NASes keep it; logins go on, and so does
//! accounting as soon as there is room.

#![cfg(test)]

use std::net::IpAddr;
use std::thread;

use muralla_lab::{Lab, LabOptions};
use muralla_tests::nas::{Books, Nas, Over, PASSWORD, Server};
use muralla_tests::radclient;
use muralla_tests::radius_role::{RadiusRole, RadiusSettings, SOON};
use muralla_tests::small_disk::SmallDisk;
use muralla_tests::until;
use rustix::process::Signal;
use serde_json::Value;

const PORTS: usize = 12;
const ONCE: (usize, u32, u32) = (1, 1, 0);
const STUBBORN: (usize, u32, u32) = (10, 3, 3);

fn is_full(status: &Value) -> bool {
    status["journal"]["health"] == "full"
}

#[test]
fn aaa_a_full_disk_acknowledges_nothing_and_lets_everybody_in() {
    let disk = SmallDisk::mount("muralla-aaa-full", 6).unwrap();
    let lab = Lab::up("aaa-full", LabOptions::default()).unwrap();
    let address: IpAddr = "203.0.113.46".parse().unwrap();
    // The sessions' snapshot lies beside it, on the same disk.
    let journal = disk.folder().join("journal");
    let settings = RadiusSettings {
        journal: Some(&journal),
        tables: "[radius.accounting]\nsnapshot = \"1s\"",
        ..RadiusSettings::default()
    };
    let mut role = RadiusRole::prepare(&lab, "full", address, settings).unwrap();
    role.add_user("alice", PASSWORD, &[]).unwrap();
    role.begin().unwrap();
    role.until_loaded(1).unwrap();
    let (auth, acct) = (role.auth(), role.acct());
    let lets_in = |times: usize| {
        let login = format!(
            "User-Name = alice, User-Password = \"{PASSWORD}\", Message-Authenticator = 0x00"
        );
        let logins = vec![login; times];
        let outcome = radclient::ask(&lab, auth, "auth", &logins, STUBBORN).unwrap();
        assert_eq!(outcome.answers("Access-Accept"), times, "{outcome:?}");
    };
    let start = |number: u32, how| {
        let start = format!(
            "User-Name = alice, Acct-Status-Type = Start, Acct-Session-Id = rc{number}, \
             NAS-IP-Address = 192.0.2.3, Acct-Delay-Time = 0"
        );
        radclient::ask(&lab, acct, "acct", &[start], how).unwrap().answers("Accounting-Response")
    };

    let books = Books::new([Server { auth, acct }]);
    let over = Over::default();
    thread::scope(|scope| {
        let _end = over.at_the_end();
        let ports: Vec<_> = (0..PORTS)
            .map(|number| {
                let mut nas = Nas::new(&lab, number).unwrap();
                let (books, over) = (&books, &over);
                scope.spawn(move || {
                    while !over.is_over() {
                        let session = books.begin(&mut nas, "alice").unwrap().unwrap();
                        books.end(&mut nas, &session, 10).unwrap();
                    }
                })
            })
            .collect();
        until("records", SOON, || Ok((books.records() > 500).then_some(()))).unwrap();
        for turn in 0..2 {
            disk.fill().unwrap();
            // There is some room left in what the journal has of the disk.
            role.until_status("a full disk", is_full).unwrap();
            let status = role.status().unwrap();
            assert_eq!(start(turn, ONCE), 0, "{status}");
            lets_in(20);
            let dropped = ("dropped".to_owned(), "journal_full".to_owned());
            assert!(role.reasons().unwrap().contains_key(&dropped));
            let text = role.command(&["radius", "status"]).unwrap();
            assert!(text.contains("NOTHING IS ACKNOWLEDGED"), "{text}");
            if turn == 1 {
                // A start on a full disk, too.
                role.end(Signal::TERM).unwrap();
                role.begin().unwrap();
                role.until_loaded(1).unwrap();
                lets_in(20);
                role.until_status("a full disk", is_full).unwrap();
                assert_eq!(start(turn, ONCE), 0);
            }
            disk.free().unwrap();
            until("an answer", SOON, || Ok((start(10 + turn, ONCE) == 1).then_some(()))).unwrap();
            let before = books.records();
            until("records", SOON, || Ok((books.records() > before + 100).then_some(()))).unwrap();
        }
        over.end();
        ports.into_iter().for_each(|port| port.join().unwrap());
    });
    role.until_told().unwrap();
    let ours = |rows: Vec<Value>| {
        let of =
            |row: &Value| !row["acct_session_id"].as_str().unwrap_or_default().starts_with("rc");
        rows.into_iter().filter(of).collect::<Vec<_>>()
    };
    let (records, sessions) =
        (role.exported("records").unwrap(), role.exported("sessions").unwrap());
    for number in [10, 11] {
        let id = format!("rc{number}");
        let those = records.iter().filter(|record| record["acct_session_id"] == id);
        assert_eq!(those.count(), 1, "{id}");
    }
    books.compare(&ours(records), &ours(sessions), &role.sums().unwrap()).unwrap();
}
