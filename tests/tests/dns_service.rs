//! DNS, UP: customers are answered through restarts and crashes, hot names by the network card itself, and nobody
//! gets an answer that is older than its time.

#![cfg(test)]

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use muralla_lab::load::Load;
use muralla_lab::load::steady::{Options, Steady};
use muralla_lab::role::{Role, preamble};
use muralla_lab::topology::CUSTOMERS_V4;
use muralla_lab::{Family, Lab, LabOptions};
use muralla_tests::dns_role::DnsRole;
use muralla_tests::resolution::{Answer, Asking, Stub};
use muralla_tests::upstream::Upstream;
use muralla_tests::{Appliance, Settings, until};
use rustix::process::Signal;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(5);
const NAME: &str = "www.news.example.";

/// The resolver forwards to the first host of the Internet.
fn tables(folder: &std::path::Path) -> String {
    format!(
        r#"
[dns]
listen = ["203.0.113.10", "2001:db8:53::10"]
threads = 1
cache = "8MiB"
cache_file = "{}"
[dns.resolver]
validation = "off"
[[dns.forward]]
zone = "."
servers = ["198.51.100.16"]
"#,
        folder.join("dns.cache").display()
    )
}

fn start(name: &str) -> (Appliance, Upstream) {
    let mut appliance = Appliance::idle(name, Settings::default()).unwrap();
    let tables = tables(&appliance.lab().folder());
    appliance.configure(Settings { tables: &tables, ..Settings::default() }).unwrap();
    let lab = appliance.lab();
    let upstream = Upstream::start(lab.internet(), lab.internet_hosts(Family::V4)[0]).unwrap();
    appliance.run().unwrap();
    (appliance, upstream)
}

fn customer(appliance: &Appliance, family: Family) -> Stub {
    let lab = appliance.lab();
    Stub::open(lab.customers(), lab.customer_hosts(family)[0], lab.service(family)).unwrap()
}

fn answers_at_the_card(appliance: &Appliance) -> Result<u64> {
    let counted = appliance.counted(&[r#"reason="answered""#])?;
    Ok(counted.iter().map(|(_, count)| count).sum())
}

/// Asks until the card answers, and gives its first answer.
fn warm(appliance: &Appliance, stub: &Stub, asking: Asking) -> Answer {
    let before = answers_at_the_card(appliance).unwrap();
    until("an answer from the card", SOON, || {
        let answer = stub.ask(NAME, asking, PATIENCE)?;
        Ok((answers_at_the_card(appliance)? > before).then_some(answer))
    })
    .unwrap()
}

#[test]
fn dns_hot_answers_come_from_the_card_and_outlive_the_daemon_until_their_end() {
    let (mut appliance, upstream) = start("dns-card");
    upstream.set_ttl(30);
    let plain = Asking::default();
    let edns = Asking { edns: true, ..plain };
    let signed = Asking { edns: true, dnssec_ok: true };
    for family in Family::BOTH {
        let stub = customer(&appliance, family);
        for asking in [plain, edns, signed] {
            let answer = warm(&appliance, &stub, asking);
            assert_eq!(answer.data, ["192.0.2.1"], "{family:?} {asking:?}");
            assert_eq!(answer.edns, asking.edns, "{family:?} {asking:?}");
            assert!(answer.ttl.unwrap() <= 30);
        }
        let shouted = stub.ask("WWW.News.EXAMPLE.", plain, PATIENCE).unwrap();
        assert_eq!((shouted.name.as_str(), shouted.data.len()), ("WWW.News.EXAMPLE.", 1));
    }
    let status = appliance.status().unwrap();
    assert!(status["dns"]["nic"]["entries"].as_u64().unwrap() >= 2);

    let stub = customer(&appliance, Family::V4);
    appliance.kill().unwrap();
    let first = stub.ask(NAME, plain, PATIENCE).unwrap();
    thread::sleep(Duration::from_secs(2));
    let second = stub.ask(NAME, plain, PATIENCE).unwrap();
    assert_eq!((&first.data, &second.data), (&vec!["192.0.2.1".to_owned()], &first.data));
    assert!(second.ttl < first.ttl, "{first:?}, {second:?}");
    // Nobody is there to look it up again, and what has ended isn't answered.
    until("the end of the answer", Duration::from_secs(60), || {
        Ok(stub.ask(NAME, plain, Duration::from_millis(300)).is_err().then_some(()))
    })
    .unwrap();

    appliance.run().unwrap();
    assert_eq!(stub.ask(NAME, plain, PATIENCE).unwrap().data, ["192.0.2.1"]);
}

#[test]
fn dns_a_flush_reaches_the_card_at_once() {
    let (appliance, upstream) = start("dns-flush");
    let stub = customer(&appliance, Family::V4);
    warm(&appliance, &stub, Asking::default());
    upstream.set_last_octet(9);
    assert_eq!(stub.ask(NAME, Asking::default(), PATIENCE).unwrap().data, ["192.0.2.1"]);
    appliance.ask(&["dns", "flush", "--zone", "news.example"]).unwrap();
    assert_eq!(stub.ask(NAME, Asking::default(), PATIENCE).unwrap().data, ["192.0.2.9"]);
}

#[test]
fn dns_the_operator_finds_out_why() {
    let (appliance, upstream) = start("dns-tools");
    let lookup = appliance.ask(&["dns", "lookup", NAME]).unwrap();
    assert_eq!(lookup["rcode"], "NOERROR", "{lookup}");
    let trace = appliance.ask(&["dns", "trace", NAME]).unwrap();
    assert!(trace["steps"].as_array().is_some_and(|steps| !steps.is_empty()), "{trace}");
    upstream.set_dead(true);
    let failed = appliance.muralla(&["dns", "trace", "gone.example", "--json"]).unwrap();
    assert_eq!(failed.code, 1);
    let trace = failed.json().unwrap();
    assert_eq!(trace["rcode"], "SERVFAIL", "{trace}");
    assert!(trace["errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{trace}");

    let file = appliance.lab().folder().join("isp.zone");
    let zone =
        "$ORIGIN isp.example.\n$TTL 60\n@ SOA ns root 1 60 60 60 60\n@ NS ns\nns A 192.0.2.53\n";
    std::fs::write(&file, zone).unwrap();
    let path = file.to_str().unwrap();
    let check = ["dns", "zone", "check", path, "--origin", "isp.example"];
    assert_eq!(appliance.muralla(&check).unwrap().code, 0);
    std::fs::write(&file, zone.replace("192.0.2.53", "192.0.2.553")).unwrap();
    let refused = appliance.muralla(&check).unwrap();
    assert_ne!(refused.code, 0);
    assert!(format!("{refused:?}").contains("isp.zone:5"), "{refused:?}");

    let tables = format!(
        "{}[[dns.zone]]\nname = \"isp.example\"\nfile = \"{path}\"\n",
        tables(&appliance.lab().folder())
    );
    std::fs::write(&file, zone).unwrap();
    appliance.configure(Settings { tables: &tables, ..Settings::default() }).unwrap();
    appliance.ask(&["reload"]).unwrap();
    let zones = appliance.ask(&["dns", "zone", "list"]).unwrap();
    let served = |zones: &Value| {
        zones.as_array().is_some_and(|zones| {
            zones.iter().any(|zone| {
                zone["name"].as_str().is_some_and(|name| name.starts_with("isp.example"))
            })
        })
    };
    assert!(served(&zones), "{zones}");
    let stub = customer(&appliance, Family::V6);
    let answer = stub.ask("ns.isp.example.", Asking::default(), PATIENCE).unwrap();
    assert_eq!(answer.data, ["192.0.2.53"]);
}

#[test]
fn dns_a_list_of_a_million_is_read_while_it_is_asked() {
    const ENTRIES: u32 = 1_000_000;
    let options = LabOptions { customers: 8, nas: 1, internet: 1 };
    let lab = Lab::up("walled-dns-list", options).unwrap();
    let address = IpAddr::from([203, 0, 113, 42]);
    let mut role = DnsRole::idle(&lab, "role", address).unwrap();
    let file = role.folder().join("list");
    // No two are the same, and neighbours in the file are far apart.
    let entry = |number: u32| Ipv4Addr::from(number.wrapping_mul(2_654_435_761));
    let install = |value: u8| {
        let mut text = format!(":127.0.0.{value}:listed\n");
        for number in 0..ENTRIES {
            let _ = writeln!(text, "{}", entry(number));
        }
        // In one step: a list that is half written is none.
        std::fs::write(file.with_extension("new"), text).unwrap();
        std::fs::rename(file.with_extension("new"), &file).unwrap();
    };
    install(1);
    role.configure(&format!(
        "threads = 1\ncache_file = \"none\"\nclients = [\"{CUSTOMERS_V4}\"]\n\
         [[dns.list]]\nname = \"bl.example\"\nfiles = [\"{}\"]\nformat = \"ip4set\"\n",
        file.display()
    ))
    .unwrap();
    role.run().unwrap();

    let question = |number: u32| {
        let [a, b, c, d] = entry(number).octets();
        format!("{d}.{c}.{b}.{a}.bl.example")
    };
    // From its first entry to its last.
    let questions: Vec<(String, u16)> =
        (0..ENTRIES).step_by(997).map(|number| (question(number), 1)).collect();
    let options = Options {
        sources: lab.customer_hosts(Family::V4),
        target: (address, 53).into(),
        rate: 2_000,
        patience: PATIENCE,
        core: 1,
    };
    let clients = Steady::start(lab.customers(), Load::once(&questions), options).unwrap();
    let stub = Stub::open(lab.customers(), lab.customer_hosts(Family::V4)[0], address).unwrap();
    for value in 2..10 {
        install(value);
        let reloaded = role.muralla(&["dns", "zone", "reload", "bl.example"]).unwrap();
        assert_eq!(reloaded.code, 0, "{reloaded:?}");
        for number in [0, ENTRIES / 2, ENTRIES - 1] {
            let answer =
                stub.ask(&format!("{}.", question(number)), Asking::default(), PATIENCE).unwrap();
            assert_eq!(answer.data, [format!("127.0.0.{value}")], "entry {number}");
        }
    }
    let outcome = clients.stop().unwrap();
    // Every one of them is listed, in the old list as in the new one.
    assert_eq!((outcome.lost, outcome.wrong), (0, 0));
    assert_eq!(outcome.codes[0], outcome.sent, "answers by code {:?}", outcome.codes);
    assert!(outcome.sent > 1_000, "{}", outcome.sent);
}

#[test]
fn dns_restarts_and_upgrades_under_load_lose_no_query() {
    let options = LabOptions { customers: 8, nas: 1, internet: 1 };
    let lab = Lab::up("walled-dns-restarts", options).unwrap();
    let upstream = Upstream::start(lab.internet(), lab.internet_hosts(Family::V4)[0]).unwrap();
    let binary = muralla_tests::appliance::binary().unwrap();
    let mut role = Role::start(&lab, "dns", &binary, 0, |folder| {
        let clients = format!("clients = [\"{CUSTOMERS_V4}\"]\nnic = false\n[dns.resolver]");
        preamble(folder) + &tables(folder).replacen("[dns.resolver]", &clients, 1)
    })
    .unwrap();
    let address = lab.service(Family::V4);
    role.wait_until_it_answers(address).unwrap();
    assert!(!role.store().names().is_empty(), "no sockets are kept");
    let questions: Vec<(String, u16)> =
        (0..500).map(|number| (format!("host{number}.news.example"), 1)).collect();
    let options = Options {
        sources: lab.customer_hosts(Family::V4),
        target: (address, 53).into(),
        rate: 1_000,
        patience: PATIENCE,
        core: 1,
    };
    // First all are asked once; then nothing needs the upstream.
    let load = Load::once(&questions);
    assert_eq!(Steady::once(lab.customers(), load, options.clone()).unwrap().lost, 0);
    let clients = Steady::start(lab.customers(), Load::once(&questions), options).unwrap();
    upstream.set_dead(true);
    // Every second time another build has come to the program's place meanwhile.
    for number in 0..6 {
        thread::sleep(Duration::from_millis(300));
        let old = role.build().unwrap();
        let upgrade = number % 2 == 1;
        if upgrade {
            role.install(&format!("build {number}")).unwrap();
        }
        role.end(Signal::TERM).unwrap();
        role.begin().unwrap();
        assert_eq!(role.build().unwrap() != old, upgrade, "at {number}");
    }
    thread::sleep(Duration::from_millis(300));
    let outcome = clients.stop().unwrap();
    assert!(outcome.sent > 1_000, "{}", outcome.sent);
    assert_eq!((outcome.lost, outcome.wrong, outcome.sent - outcome.good()), (0, 0, 0));
}
