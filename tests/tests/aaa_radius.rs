//! AAA, UP: every NAS gets its answers, no accounting record that was acknowledged is lost, and none is counted twice,
//! through crashes, restarts and upgrades. Asked by Debian's radclient, over the wire.

#![cfg(test)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use muralla_lab::role::{Role, preamble};
use muralla_lab::topology::NAS_V4;
use muralla_lab::{Family, Lab, LabOptions};
use muralla_tests::appliance::binary;
use muralla_tests::until;
use rustix::process::Signal;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
const SECRET: &str = "a secret of this test alone";
const PASSWORD: &str = "correct horse";
const DATES: [&str; 4] = ["--from", "2020-01-01", "--to", "2099-01-01"];

/// A server in the edge namespace with the subscribers alice (cleartext) and bob (argon2).
fn server<'lab>(lab: &'lab Lab, address: IpAddr, extra: &str) -> Role<'lab> {
    lab.add_service(address).unwrap();
    let role = Role::start(lab, "radius", &binary().unwrap(), 0, |folder| {
        let head = preamble(folder);
        let folder = folder.display();
        format!(
            r#"{head}
[radius]
auth = ["{address}"]
acct = ["{address}"]
threads = 2
[radius.state]
location = "{folder}/state/state.db"
copy = "none"
[radius.journal]
folder = "{folder}/state/journal"
segment = "1MiB"
reserve = 0
[[radius.nas]]
name = "bras"
prefix = "{NAS_V4}"
secret = "{SECRET}"
{extra}"#
        )
    });
    let role = role.unwrap();
    let password = lab.folder().join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    let password = password.to_str().unwrap();
    for (user, scheme) in [("alice", "cleartext"), ("bob", "argon2")] {
        let add = ["radius", "user", "add", user, "--scheme", scheme, "--password-file", password];
        role.command(&add).unwrap();
    }
    until("the subscribers", SOON, || {
        let status: Value = serde_json::from_str(&role.command(&["radius", "status", "--json"])?)?;
        Ok((status["subscribers"] == 2).then_some(()))
    })
    .unwrap();
    role
}

/// One request by radclient from a NAS: what it printed, or that it got no answer it wanted.
fn ask(lab: &Lab, to: IpAddr, command: &str, attributes: &str) -> Result<String, String> {
    let source = lab.nas_hosts(Family::V4)[0];
    let port = if command == "acct" { 1813 } else { 1812 };
    let request = format!("{attributes}, Packet-Src-IP-Address = {source}\n");
    let file = lab.folder().join(format!("request-{:?}", thread::current().id()));
    std::fs::write(&file, request).unwrap();
    let (file, to) = (file.display().to_string(), format!("{to}:{port}"));
    let arguments = ["-x", "-t", "1", "-r", "5", "-f", &file, &to, command, SECRET];
    lab.customers().run("radclient", arguments).map_err(|error| format!("{error:#}"))
}

#[test]
fn aaa_radius_clients_of_debian_are_answered_by_every_method() {
    let lab = Lab::up("aaa-methods", LabOptions::default()).unwrap();
    let address: IpAddr = "203.0.113.31".parse().unwrap();
    let role = server(&lab, address, "");
    for (attributes, accepted) in [
        (
            format!(
                "User-Name = alice, User-Password = \"{PASSWORD}\", Message-Authenticator = 0x00"
            ),
            true,
        ),
        (
            format!(
                "User-Name = alice, CHAP-Password = \"{PASSWORD}\", Message-Authenticator = 0x00"
            ),
            true,
        ),
        (
            format!(
                "User-Name = alice, MS-CHAP-Password = \"{PASSWORD}\", Message-Authenticator = 0x00"
            ),
            true,
        ),
        (
            format!(
                "User-Name = bob, User-Password = \"{PASSWORD}\", Message-Authenticator = 0x00"
            ),
            true,
        ),
        (
            "User-Name = alice, User-Password = wrong, Message-Authenticator = 0x00".to_owned(),
            false,
        ),
        // What is stored is of no use to this method.
        (
            format!(
                "User-Name = bob, CHAP-Password = \"{PASSWORD}\", Message-Authenticator = 0x00"
            ),
            false,
        ),
        (
            format!(
                "User-Name = nobody, User-Password = \"{PASSWORD}\", Message-Authenticator = 0x00"
            ),
            false,
        ),
    ] {
        let outcome = ask(&lab, address, "auth", &attributes);
        let printed = outcome.clone().unwrap_or_else(|error| error);
        let code = if accepted { "Access-Accept" } else { "Access-Reject" };
        assert!(printed.contains(code), "{attributes}\n{printed}");
        assert_eq!(outcome.is_ok(), accepted, "{attributes}");
    }
    let printed = ask(&lab, address, "status", "Message-Authenticator = 0x00").unwrap();
    assert!(printed.contains("Received Access-Accept"), "{printed}");
    // Without a Message-Authenticator, and with another secret, there is silence, and it is counted.
    let bare = format!("User-Name = alice, User-Password = \"{PASSWORD}\"");
    assert!(!ask(&lab, address, "auth", &bare).unwrap_err().contains("Received"));
    let status: Value =
        serde_json::from_str(&role.command(&["radius", "status", "--json"]).unwrap()).unwrap();
    let unverified = status["reasons"].as_array().unwrap().iter();
    let unverified: u64 = unverified
        .filter(|row| row["stage"] == "unverified")
        .map(|row| row["count"].as_u64().unwrap())
        .sum();
    assert!(unverified > 0, "{status}");
}

/// Sessions by their user in the database, with their session time.
fn exported(role: &Role<'_>) -> BTreeMap<String, (u64, u64)> {
    let arguments = [&["radius", "export", "--format", "json", "-o", "-"][..], &DATES].concat();
    let text = role.command(&arguments).unwrap();
    let mut sessions = BTreeMap::new();
    for line in text.lines() {
        let session: Value = serde_json::from_str(line).unwrap();
        let user = session["user"].as_str().unwrap().to_owned();
        let time = session["session_time"].as_u64().unwrap();
        let entry: &mut (u64, u64) = sessions.entry(user).or_default();
        *entry = (entry.0 + 1, entry.1 + time);
    }
    sessions
}

#[test]
fn aaa_acknowledged_records_outlive_crashes_and_restarts_and_count_once() {
    const SESSIONS: usize = 40;
    let lab = Lab::up("aaa-crashes", LabOptions::default()).unwrap();
    let address: IpAddr = "203.0.113.32".parse().unwrap();
    let mut role = server(&lab, address, "");
    let acknowledged = thread::scope(|scope| {
        let nas = scope.spawn(|| {
            let mut acknowledged = Vec::new();
            for number in 0..SESSIONS {
                let record = |status: &str, rest: &str| {
                    let attributes = format!(
                        "User-Name = user{number}, Acct-Status-Type = {status}, Acct-Session-Id = s{number}, \
                         NAS-IP-Address = 192.0.2.3{rest}"
                    );
                    ask(&lab, address, "acct", &attributes).is_ok()
                };
                let started = record("Start", "");
                // The stop comes twice, as from a NAS that missed the answer: with another identifier and a delay.
                let end = ", Acct-Session-Time = 60, Acct-Input-Octets = 1000";
                let stopped = record("Stop", end);
                record("Stop", &format!("{end}, Acct-Delay-Time = 1"));
                if started || stopped {
                    acknowledged.push((format!("user{number}"), stopped));
                }
            }
            acknowledged
        });
        // While it goes on: killed, and ended in order, again and again.
        let mut signals = [Signal::KILL, Signal::TERM].into_iter().cycle();
        while !nas.is_finished() {
            thread::sleep(Duration::from_millis(300));
            role.end(signals.next().unwrap()).unwrap();
            role.begin().unwrap();
        }
        nas.join().unwrap()
    });
    // radclient tries for five seconds, and no restart takes that long.
    assert_eq!(acknowledged.len(), SESSIONS);
    assert!(acknowledged.iter().all(|(_, stopped)| *stopped), "{acknowledged:?}");
    until("the database", SOON, || {
        let status: Value = serde_json::from_str(&role.command(&["radius", "status", "--json"])?)?;
        let lag = status["journal"]["lag"].as_array().cloned().unwrap_or_default();
        Ok(lag.iter().all(|lag| lag[1] == 0).then_some(()))
    })
    .unwrap();
    let sessions = exported(&role);
    for (user, _) in &acknowledged {
        assert_eq!(sessions.get(user), Some(&(1, 60)), "{user}: {sessions:?}");
    }
    assert_eq!(sessions.len(), SESSIONS);
    let dead = role.command(&["radius", "dead-letters", "--json"]).unwrap();
    assert_eq!(dead.trim(), "[]");
}
