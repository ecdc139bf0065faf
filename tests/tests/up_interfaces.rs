//! UP: what happens to an interface is reported, and protection returns by itself.

#![cfg(test)]

use std::time::Duration;

use muralla_lab::namespace::Namespace;
use muralla_lab::{Family, Lab};
use muralla_tests::appliance::{BOTH_INTERFACES, START};
use muralla_tests::{Appliance, Settings, until};
use rustix::process::Signal;

const SOON: Duration = Duration::from_secs(20);

const EDGE: &str = r#"block = ["198.51.100.17"]"#;

fn blocked_passes(appliance: &Appliance) -> bool {
    let lab = appliance.lab();
    appliance.passes(lab.internet(), lab.internet_hosts(Family::V4)[1]).unwrap()
}

fn warnings(appliance: &Appliance) -> String {
    appliance.status().unwrap()["warnings"].to_string()
}

#[test]
fn up_an_interface_that_comes_back_is_protected_again() {
    let settings = Settings { edge: EDGE, ..Settings::default() };
    let appliance = Appliance::start("return", settings).unwrap();
    let lab = appliance.lab();
    assert!(!blocked_passes(&appliance));

    ip(lab.edge(), "link delete inet0");
    until("the report", SOON, || {
        Ok((appliance.interface("inet0")?["attached"] == false).then_some(()))
    })
    .unwrap();
    assert_eq!(appliance.interface("cust0").unwrap()["attached"], true);
    assert_eq!(appliance.muralla(&["status"]).unwrap().code, 1);
    let told = warnings(&appliance);
    assert!(told.contains("NOT PROTECTED") && told.contains("inet0"), "{told}");
    let metrics = appliance.metrics().unwrap();
    let mode = "muralla_edge_interface_mode{interface=\"inet0\",mode=\"none\"} 1";
    assert!(metrics.contains(mode), "{metrics}");

    bring_back(lab);
    until("protection", SOON, || {
        Ok((appliance.interface("inet0")?["attached"] == true).then_some(()))
    })
    .unwrap();
    assert!(!blocked_passes(&appliance));
    let free = lab.internet_hosts(Family::V4)[2];
    assert!(appliance.passes(lab.internet(), free).unwrap(), "the link itself is not back");
    assert_eq!(appliance.muralla(&["status"]).unwrap().code, 0);
    assert_eq!(warnings(&appliance), "[]");
}

#[test]
fn up_a_foreign_program_is_named_and_the_others_protect() {
    let settings = Settings { edge: EDGE, ..Settings::default() };
    let mut appliance = Appliance::idle("foreign", settings).unwrap();
    // Who has the interface already is another wall, whose daemon is gone.
    let squatter =
        Settings { interfaces: "[[edge.interface]]\nname = \"inet0\"\n", ..Settings::default() };
    let pin_dir = appliance.other_pin_dir("squatter");
    let squatter = appliance.configure_other("squatter", &pin_dir, squatter).unwrap();
    let call_squatter = |appliance: &Appliance, call: &[&str]| {
        appliance.muralla_in(appliance.lab().edge(), &squatter, call).unwrap()
    };
    let process = appliance.spawn_other("squatter", &squatter).unwrap();
    until("the squatter", START, || {
        Ok((call_squatter(&appliance, &["edge", "show"]).code == 0).then_some(()))
    })
    .unwrap();
    process.signal(Signal::KILL);
    drop(process);

    appliance.run().unwrap();
    let interface = appliance.interface("inet0").unwrap();
    assert_eq!(interface["attached"], false, "{interface}");
    let problem = interface["problem"].as_str().unwrap();
    assert!(problem.contains("inet0: another XDP program"), "{problem}");
    assert_eq!(appliance.interface("cust0").unwrap()["attached"], true);
    let told = warnings(&appliance);
    assert!(told.contains("NOT PROTECTED: inet0"), "{told}");
    assert_eq!(appliance.muralla(&["status"]).unwrap().code, 1);
    assert!(blocked_passes(&appliance));

    call_squatter(&appliance, &["edge", "detach"]).succeeded().unwrap();
    until("protection", SOON, || {
        Ok((appliance.interface("inet0")?["attached"] == true).then_some(()))
    })
    .unwrap();
    assert!(!blocked_passes(&appliance));
}

#[test]
fn up_generic_mode_protects_and_is_loud() {
    let generic =
        BOTH_INTERFACES.replace("role = \"internet\"", "role = \"internet\"\nmode = \"generic\"");
    let settings = Settings { edge: EDGE, interfaces: &generic, ..Settings::default() };
    let appliance = Appliance::start("generic", settings).unwrap();
    let text = appliance.muralla(&["status"]).unwrap().succeeded().unwrap();
    assert!(text.contains("! inet0: GENERIC MODE"), "{text}");
    assert!(text.contains("interface inet0: protected, GENERIC MODE"), "{text}");
    assert!(text.contains("interface cust0: protected, native"), "{text}");
    assert!(!blocked_passes(&appliance));

    let native = generic.replace("generic", "native");
    let native = Settings { edge: EDGE, interfaces: &native, ..Settings::default() };
    appliance.configure(native).unwrap();
    appliance.ask(&["reload"]).unwrap();
    let text = appliance.muralla(&["status"]).unwrap().succeeded().unwrap();
    assert!(!text.contains("GENERIC"), "{text}");
    assert!(!blocked_passes(&appliance));
}

/// Plugs the Internet in again, as the lab does.
fn bring_back(lab: &Lab) {
    let far = lab.internet().name();
    ip(lab.edge(), &format!("link add inet0 type veth peer name edge0 netns {far}"));
    let offloads = "-K edge0 tx off tso off gso off gro on";
    lab.internet().run("ethtool", offloads.split(' ')).unwrap();
    for (namespace, commands) in [
        (
            lab.edge(),
            [
                "link set inet0 up",
                "addr add 198.51.100.1/30 dev inet0",
                "addr add 2001:db8:1::1/64 dev inet0 nodad",
                "route add default via 198.51.100.2",
            ],
        ),
        (
            lab.internet(),
            [
                "link set edge0 up",
                "addr add 198.51.100.2/30 dev edge0",
                "addr add 2001:db8:1::2/64 dev edge0 nodad",
                "route add 203.0.113.0/24 via 198.51.100.1",
            ],
        ),
    ] {
        for command in commands {
            ip(namespace, command);
        }
    }
}

fn ip(namespace: &Namespace, command: &str) {
    namespace.run("ip", command.split(' ')).unwrap();
}
