//! EDGE: who proved to be himself and misbehaves is banned, for longer each time; a legitimate client is never
//! locked out by what others send in its name, nor for what one of many behind its address does.

#![cfg(test)]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use muralla_lab::flood::{Attack, FloodOptions, Sources};
use muralla_lab::{Family, Side};
use muralla_tests::connection::{connect_from, echoed, serve_echo};
use muralla_tests::{Appliance, Settings, until};
use serde_json::{Value, json};

const BANS: &str = r#"
[edge.bans]
threshold = 3
half_life = "1h"
first = "6s"
longest = "1h"
shared_after = 3
"#;

const BRIEFLY: Duration = Duration::from_secs(1);

#[test]
fn edge_offenders_are_banned_and_the_innocent_never() {
    let settings = Settings { tables: BANS, ..Settings::default() };
    let mut appliance = Appliance::start("offenders", settings).unwrap();
    let pop3 = pop3(&appliance);
    serve_echo(appliance.lab().edge(), pop3).unwrap();
    what_is_not_proven_never_bans(&appliance, pop3);
    a_shared_address_is_limited(&appliance, pop3);
    the_protected_are_never_banned(&appliance);
    proven_evidence_bans_for_longer_each_time(&appliance, pop3);
    bans_survive_every_end_of_the_daemon(&mut appliance, pop3);
}

fn pop3(appliance: &Appliance) -> SocketAddr {
    SocketAddr::new(appliance.lab().service(Family::V4), 110)
}

fn host(appliance: &Appliance, number: usize) -> IpAddr {
    appliance.lab().internet_hosts(Family::V4)[number]
}

fn offend(appliance: &Appliance, source: IpAddr, weight: &str, proven: bool) -> Value {
    let source = source.to_string();
    let usual =
        ["offend", &source, "--service", "pop3", "--reason", "bad_password", "--weight", weight];
    let proof: &[&str] = if proven { &["--handshake"] } else { &[] };
    appliance.ask(&[&usual, proof].concat()).unwrap()
}

fn is_served(appliance: &Appliance, source: IpAddr, pop3: SocketAddr) -> bool {
    let lab = appliance.lab();
    connect_from(lab.internet(), source, pop3, BRIEFLY)
        .and_then(|connection| echoed(&connection, "USER"))
        .is_ok()
}

fn what_is_not_proven_never_bans(appliance: &Appliance, pop3: SocketAddr) {
    let lab = appliance.lab();
    let innocent = host(appliance, 0);
    let flood = lab
        .flood(
            Side::Internet,
            FloodOptions {
                attack: Attack::SmtpSyn,
                sources: Sources::Single(innocent),
                target: lab.service(Family::V4),
                rate_per_second: 5_000,
                cpu: None,
                max_duration: Duration::from_secs(2),
            },
        )
        .unwrap();
    for _ in 0..5 {
        let judgement = offend(appliance, innocent, "100", false);
        assert_eq!(judgement["judgement"], "unproven");
    }
    until("the flood's end", Duration::from_secs(10), || Ok((!flood.is_running()).then_some(())))
        .unwrap();
    assert!(appliance.refused("source_limit").unwrap() > 0);
    assert_eq!(appliance.blocked(&format!("{innocent}/32")).unwrap(), None);
    assert!(is_served(appliance, innocent, pop3), "locked out by what was sent in its name");
}

fn a_shared_address_is_limited(appliance: &Appliance, pop3: SocketAddr) {
    let shared = host(appliance, 1);
    for account in ["ana", "ben", "ceci"] {
        let seen = json!({ "source": shared, "account": account });
        assert_eq!(appliance.post("/v1/customers-seen", &seen).unwrap()["done"], true);
    }
    assert_eq!(offend(appliance, shared, "50", true)["judgement"], "limited");
    assert_eq!(appliance.blocked(&format!("{shared}/32")).unwrap(), None);
    assert!(is_served(appliance, shared, pop3), "several customers were locked out for one");
}

fn the_protected_are_never_banned(appliance: &Appliance) {
    for address in ["192.0.2.3", "203.0.113.10"] {
        let judgement = offend(appliance, address.parse().unwrap(), "1000", true);
        assert_eq!(judgement["judgement"], "protected", "{address}");
    }
}

fn proven_evidence_bans_for_longer_each_time(appliance: &Appliance, pop3: SocketAddr) {
    let offender = host(appliance, 2);
    let prefix = format!("{offender}/32");
    assert!(is_served(appliance, offender, pop3));
    for seconds in [6, 12] {
        for _ in 0..2 {
            assert_eq!(offend(appliance, offender, "1.2", true)["judgement"], "noted");
        }
        let judgement = offend(appliance, offender, "1.2", true);
        assert_eq!(
            (&judgement["judgement"], &judgement["seconds"]),
            (&"banned".into(), &json!(seconds))
        );
        assert!(!is_served(appliance, offender, pop3));
        let ban = appliance.blocked(&prefix).unwrap().expect("it is listed");
        assert_eq!((&ban["origin"], &ban["note"]), (&"offence".into(), &"bad_password".into()));
        assert!(ban["hits"].as_u64().unwrap() > 0, "{ban}");
        until("the ban's end", Duration::from_secs(30), || {
            Ok((is_served(appliance, offender, pop3) && appliance.blocked(&prefix)?.is_none())
                .then_some(()))
        })
        .unwrap();
    }
    assert!(appliance.refused("banned").unwrap() > 0);
    // Of an IPv6 address its network is banned.
    let v6 = appliance.lab().internet_hosts(Family::V6)[3];
    let judgement = offend(appliance, v6, "3", true);
    assert_eq!(judgement["prefix"], "2001:db8:1:1::/64", "{judgement}");
    let pop3 = SocketAddr::new(appliance.lab().service(Family::V6), 110);
    serve_echo(appliance.lab().edge(), pop3).unwrap();
    let neighbour = appliance.lab().internet_hosts(Family::V6)[4];
    assert!(!is_served(appliance, neighbour, pop3));
    appliance.ask(&["unblock", &v6.to_string()]).unwrap();
    assert!(is_served(appliance, neighbour, pop3));
}

fn bans_survive_every_end_of_the_daemon(appliance: &mut Appliance, pop3: SocketAddr) {
    let offender = host(appliance, 4);
    let prefix = format!("{offender}/32");
    // Long enough for two restarts.
    let settings = Settings { tables: &BANS.replace("6s", "10m"), ..Settings::default() };
    appliance.configure(settings).unwrap();
    appliance.ask(&["reload"]).unwrap();
    let judgement = offend(appliance, offender, "3", true);
    assert_eq!(judgement["judgement"], "banned");
    for end in [Appliance::kill, |appliance: &mut Appliance| appliance.terminate().map(drop)] {
        end(appliance).unwrap();
        assert!(!is_served(appliance, offender, pop3), "no daemon, no wall");
        appliance.run().unwrap();
        assert!(!is_served(appliance, offender, pop3), "forgotten at a restart");
        assert_eq!(appliance.blocked(&prefix).unwrap().expect("listed")["origin"], "offence");
    }
    assert!(is_served(appliance, host(appliance, 0), pop3));
}
