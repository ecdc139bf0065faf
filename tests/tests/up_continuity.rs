//! UP: reloads, crashes, restarts and upgrades lose no packet of an allowed source and let none of a blocked
//! one through; only the operator takes the wall down.

#![cfg(test)]

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use muralla_lab::Family;
use muralla_tests::appliance::BOTH_INTERFACES;
use muralla_tests::stream::Stream;
use muralla_tests::{Appliance, Settings, until};
use rustix::process::Signal;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(15);

/// The first host of the Internet is allowed, the second blocked.
const EDGE: &str = r#"
allow = ["198.51.100.16", "2001:db8:1:1::1"]
block = ["198.51.100.17"]
"#;

/// What crosses the wall while it is changed.
struct Crossing {
    allowed: Vec<Stream>,
    blocked: Stream,
}

impl Crossing {
    fn start(appliance: &Appliance) -> Self {
        let lab = appliance.lab();
        let start = |family, host: usize, port| {
            let target = SocketAddr::new(lab.service(family), port);
            let source = lab.internet_hosts(family)[host];
            Stream::start(lab.internet(), source, lab.edge(), target).unwrap()
        };
        let crossing = Self {
            allowed: vec![start(Family::V4, 0, 9_001), start(Family::V6, 0, 9_002)],
            blocked: start(Family::V4, 1, 9_003),
        };
        until("the streams", SOON, || {
            let flowing = crossing.allowed.iter().all(|stream| stream.so_far().received > 100);
            Ok((flowing && crossing.blocked.so_far().sent > 100).then_some(()))
        })
        .unwrap();
        crossing
    }

    fn assert_unharmed(self) {
        for stream in self.allowed {
            let totals = stream.stop().unwrap();
            assert_eq!(totals.lost(), 0, "of an allowed source: {totals:?}");
        }
        let totals = self.blocked.stop().unwrap();
        assert_eq!(totals.received, 0, "of a blocked source: {totals:?}");
    }
}

#[test]
fn up_reloads_lose_no_packet_and_bad_ones_change_nothing() {
    let good = Settings { edge: EDGE, ..Settings::default() };
    let appliance = Appliance::start("reload", good).unwrap();
    let crossing = Crossing::start(&appliance);
    let other_roles = BOTH_INTERFACES.replace("internet", "both");
    let changes = [
        Settings { tables: "[edge.service.dns]\nsource = { rate = 7, burst = 9 }", ..good },
        // The program is another one.
        Settings { interfaces: &other_roles, ..good },
        good,
    ];
    for settings in changes {
        appliance.configure(settings).unwrap();
        let before = appliance.generation().unwrap();
        appliance.ask(&["reload"]).unwrap();
        assert_eq!(appliance.generation().unwrap(), before + 1);
        appliance.daemon().unwrap().signal(Signal::HUP);
        until("the reload", SOON, || Ok((appliance.generation()? == before + 2).then_some(())))
            .unwrap();
    }

    let before = appliance.generation().unwrap();
    let text = fs::read_to_string(appliance.configuration()).unwrap();
    let broken = text.replace("bogons = \"off\"", "bogons = \"offf\"");
    let line = 1 + text.lines().position(|line| line.starts_with("bogons")).unwrap();
    fs::write(appliance.configuration(), broken).unwrap();
    let place = format!("muralla.toml:{line}:10:");
    let complaint = appliance.muralla_with_socket(&["reload"]).unwrap().refused().unwrap();
    assert!(
        complaint.contains(&place) && complaint.contains("did you mean \"off\"?"),
        "{complaint}"
    );
    appliance.daemon().unwrap().signal(Signal::HUP);
    thread::sleep(Duration::from_secs(1));
    let status = appliance.muralla_with_socket(&["status", "--json"]).unwrap().json().unwrap();
    assert_eq!(status["edge"]["policy_generation"], before, "{status}");
    assert_eq!(status["reload"]["applied"], false, "{status}");
    let remarks = status["reload"]["remarks"].to_string();
    assert!(remarks.contains(&place), "{remarks}");
    let metrics = appliance.metrics().unwrap();
    assert!(metrics.contains("muralla_config_last_reload_successful 0"), "{metrics}");
    fs::write(appliance.configuration(), text).unwrap();
    appliance.ask(&["reload"]).unwrap();
    crossing.assert_unharmed();
}

#[test]
fn up_the_wall_outlives_its_daemon_and_is_taken_over() {
    let settings = Settings { edge: EDGE, ..Settings::default() };
    let mut appliance = Appliance::start("takeover", settings).unwrap();
    let crossing = Crossing::start(&appliance);
    let blocked = |appliance: &Appliance| appliance.refused("blocked").unwrap();
    let mut before = blocked(&appliance);
    assert!(before > 0);
    for crash in [true, false] {
        if crash {
            appliance.kill().unwrap();
        } else {
            assert_eq!(appliance.terminate().unwrap(), Some(0));
        }
        let shown = appliance.ask(&["edge", "show"]).unwrap();
        assert!(shown.as_array().unwrap().iter().all(|link| link["attached"] == true), "{shown}");
        assert_eq!(shown.as_array().unwrap().len(), 2, "{shown}");
        // The wall stands alone for a while.
        let sent = crossing.blocked.so_far().sent;
        until("more packets", SOON, || {
            Ok((crossing.blocked.so_far().sent > sent + 500).then_some(()))
        })
        .unwrap();
        appliance.run().unwrap();
        let after = blocked(&appliance);
        assert!(
            after > before + 400,
            "counted {before}, then {after}: not what happened meanwhile"
        );
        before = after;
    }
    crossing.assert_unharmed();
}

#[test]
fn up_a_daemon_killed_while_it_starts_leaves_the_wall_and_the_next_one_takes_over() {
    let settings = Settings { edge: EDGE, ..Settings::default() };
    let mut appliance = Appliance::start("killed", settings).unwrap();
    let crossing = Crossing::start(&appliance);
    appliance.kill().unwrap();
    for milliseconds in [20, 100, 300, 700, 1_200, 2_000] {
        let starting = appliance.spawn_other("starting", &appliance.configuration()).unwrap();
        thread::sleep(Duration::from_millis(milliseconds));
        starting.signal(Signal::KILL);
        drop(starting);
    }
    appliance.run().unwrap();
    let status = appliance.muralla(&["status"]).unwrap();
    status.succeeded().unwrap();
    crossing.assert_unharmed();
}

#[test]
fn up_detach_and_attach_work_with_and_without_a_daemon() {
    let settings = Settings { edge: EDGE, ..Settings::default() };
    let mut appliance = Appliance::start("detach", settings).unwrap();
    let passes = |appliance: &Appliance| {
        let lab = appliance.lab();
        appliance.passes(lab.internet(), lab.internet_hosts(Family::V4)[1]).unwrap()
    };
    assert!(!passes(&appliance));

    appliance.ask(&["edge", "detach"]).unwrap();
    assert!(passes(&appliance));
    let status = appliance.muralla(&["status", "--json"]).unwrap();
    assert_eq!((status.code, &status.json().unwrap()["detached"]), (1, &Value::Bool(true)));
    let refused = appliance.muralla(&["block", "198.51.100.99"]).unwrap().refused().unwrap();
    assert!(refused.contains("muralla edge attach"), "{refused}");
    // Longer than the daemon takes to put back what went missing.
    thread::sleep(Duration::from_secs(3));
    assert!(passes(&appliance), "attached against the operator's word");
    appliance.ask(&["edge", "attach"]).unwrap();
    assert!(!passes(&appliance));
    let again = appliance.muralla(&["edge", "attach"]).unwrap().refused().unwrap();
    assert!(again.contains("stands already"), "{again}");

    appliance.kill().unwrap();
    assert!(!passes(&appliance));
    let detached = appliance.ask(&["edge", "detach"]).unwrap();
    assert_eq!(detached["remarks"].as_array().unwrap().len(), 2, "{detached}");
    assert!(passes(&appliance));
    let shown = appliance.muralla(&["edge", "show"]).unwrap();
    assert_eq!((shown.code, shown.stdout.trim()), (1, "nothing is attached"));
    assert!(!appliance.pin_dir().exists(), "pins were left");
    appliance.run().unwrap();
    assert!(!passes(&appliance));
}
