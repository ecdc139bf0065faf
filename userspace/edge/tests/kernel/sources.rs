//! Who sends: protected, allowed, blocked, banned, listed, and on which side.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use muralla_abi::verdict::Reason::*;
use muralla_abi::verdict::Verdict::{Drop, Observe, Pass};
use muralla_edge::config::{FeedConfig, Role, RuleMode};
use muralla_edge::offenders::{Judgement, Offence};
use muralla_edge::wall::{BlockRequest, WallError};
use muralla_lab::frames::ip;
use muralla_lab::frames::tcp_flags::{ACK, SYN};

use crate::fixture::{Case, Fixture, case, prefixes};
use crate::packets::*;

pub(crate) fn run(fixture: &mut Fixture) {
    fixture.check(configured());
    sides(fixture);
    blocks(fixture);
    bans(fixture);
    feeds(fixture);
}

fn configured() -> Vec<Case> {
    let mut cases = Vec::new();
    for (protected, allowed, blocked, neighbour) in [
        ("192.0.2.1", "9.9.9.9", "45.1.2.3", "44.255.255.255"),
        ("2001:db8::1", "2620:fe::9", "2a00:bad::1", "2a00:bac:ffff::1"),
    ] {
        for (name, source, reason) in
            [("protected", protected, Protected), ("allowed", allowed, Allowed)]
        {
            // Nothing of what they send is looked at, on no side.
            for side in [Role::Internet, Role::Customers, Role::Both] {
                cases.extend([
                    case(name, dns(source), "other", Pass, reason).from(side),
                    case(name, segment(source, 25, 0), "other", Pass, reason).from(side),
                    case(name, datagram(source, 53).payload([0; 9]), "other", Pass, reason)
                        .from(side),
                    case(name, dns(source).fragment(0, true), "other", Pass, reason).from(side),
                    case(name, datagram(source, 1_812), "other", Pass, reason).from(side),
                ]);
            }
            // A header that says nothing certain has no source either.
            cases.push(case(name, dns(source).version(9), "other", Drop, BadIpHeader));
        }
        cases.extend([
            case("blocked", dns(blocked), "dns", Drop, Blocked),
            case("blocked, data", segment(blocked, 25, ACK), "smtp", Drop, Blocked),
            case("blocked, other", datagram(blocked, 9_999), "other", Drop, Blocked),
            case("blocked, later fragment", dns(blocked).fragment(9, true), "other", Drop, Blocked),
            case("blocked, malformed", segment(blocked, 25, 0), "smtp", Drop, Blocked),
            case("beside a blocked one", segment(neighbour, 25, SYN), "smtp", Pass, Clean),
        ]);
    }
    cases
}

/// The checks of sources' sides, enforced, observed and off.
fn sides(fixture: &mut Fixture) {
    for (mode, verdict) in
        [(RuleMode::Enforce, Drop), (RuleMode::Observe, Observe), (RuleMode::Off, Pass)]
    {
        fixture.reload(|config| (config.bogons, config.antispoof) = (mode, mode));
        let on = mode != RuleMode::Off;
        let or = |reason, instead| if on { reason } else { instead };
        let mut cases = Vec::new();
        for (customer, outsider, bogon) in
            [(CUSTOMER4, OUTSIDER4, BOGON4), (CUSTOMER6, OUTSIDER6, BOGON6)]
        {
            let syn = |source| segment(source, 25, SYN);
            let inside = |source| {
                case("customers", syn(source), "smtp", verdict, or(SpoofedSource, Clean))
                    .from(Role::Customers)
            };
            cases.extend([
                case("Internet", syn(bogon), "smtp", verdict, or(Bogon, Clean))
                    .from(Role::Internet),
                case("Internet", syn(customer), "smtp", verdict, or(SpoofedCustomer, Clean))
                    .from(Role::Internet),
                case("Internet", syn(outsider), "smtp", Pass, Clean).from(Role::Internet),
                case("customers", syn(customer), "smtp", Pass, Clean).from(Role::Customers),
                inside(outsider),
                inside(bogon),
                // Neither side's checks where both sides are.
                case("both", syn(customer), "smtp", Pass, Clean),
                case("both", syn(outsider), "smtp", Pass, Clean),
                case("both", syn(bogon), "smtp", Pass, Clean),
            ]);
        }
        // Who has no address yet, or one that never leaves the link, is at home.
        let link_local = ip(v6("fe80::1"), v6("ff02::2"), 58).payload([133; 8]);
        cases.push(case("link-local", link_local, "other", Pass, Other).from(Role::Customers));
        fixture.check(cases);
    }
}

fn v6(text: &str) -> std::net::Ipv6Addr {
    text.parse().unwrap()
}

fn block(
    fixture: &mut Fixture,
    prefix: &str,
    ttl: Option<Duration>,
    services: Option<&[&str]>,
) -> String {
    let request = BlockRequest {
        prefix: prefix.parse().unwrap(),
        note: "a test".to_owned(),
        ttl,
        services: services.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
    };
    fixture.wall.block(request).unwrap().to_string()
}

/// Blocks by the operator.
fn blocks(fixture: &mut Fixture) {
    assert_eq!(block(fixture, "203.0.114.0/24", None, None), "203.0.114.0/24");
    assert_eq!(block(fixture, "198.45.0.9/32", None, None), "198.45.0.9/32");
    assert_eq!(block(fixture, "2a01:1::1/128", None, None), "2a01:1::/64");
    assert_eq!(block(fixture, "2a02::/16", None, None), "2a02::/16");
    let smtp = Some(&["smtp"][..]);
    block(fixture, "203.0.115.7/32", None, smtp);
    block(fixture, "2a03:1::/64", Some(Duration::from_secs(3_600)), smtp);
    // Over before it begins.
    block(fixture, "203.0.116.7/32", Some(Duration::ZERO), None);

    let syn = |source| segment(source, 25, SYN);
    let ack = |source| segment(source, 25, ACK);
    let web = |source| segment(source, 80, SYN);
    fixture.check([
        case("in the /24", syn("203.0.114.200"), "smtp", Drop, Blocked),
        case("mid-connection", ack("203.0.114.200"), "smtp", Drop, Blocked),
        case("anything", datagram("203.0.114.200", 9_999), "other", Drop, Blocked),
        case("beside the /24", syn("203.0.113.200"), "smtp", Pass, Clean),
        case("the /32", syn("198.45.0.9"), "smtp", Drop, Blocked),
        case("beside the /32", syn("198.45.0.8"), "smtp", Pass, Clean),
        case("in the /64", syn("2a01:1::ffff:0:1"), "smtp", Drop, Blocked),
        case("beside the /64", syn("2a01:1:0:1::1"), "smtp", Pass, Clean),
        case("in the /16", web("2a02:9:9::9"), "web", Drop, Blocked),
        case("from one service", syn("203.0.115.7"), "smtp", Drop, Blocked),
        case("not from others", web("203.0.115.7"), "web", Pass, Clean),
        case("from one service", ack("2a03:1::9"), "smtp", Drop, Blocked),
        case("not from others", web("2a03:1::9"), "web", Pass, Clean),
        case("expired", syn("203.0.116.7"), "smtp", Pass, Clean),
    ]);
    let hits = |fixture: &Fixture, prefix: &str| {
        let prefix = prefix.parse().unwrap();
        let blocks = fixture.wall.blocks().unwrap();
        blocks.iter().find(|block| block.prefix == prefix).unwrap().hits
    };
    assert_eq!(hits(fixture, "203.0.114.0/24"), 3);
    assert_eq!(hits(fixture, "198.45.0.9/32"), 1);
    assert_eq!(hits(fixture, "2a01:1::/64"), 1);

    // Who is allowed or protected stays so within what is blocked.
    fixture.wall.allow("203.0.114.7/32".parse().unwrap()).unwrap();
    fixture.wall.allow("2a01:1::7/128".parse().unwrap()).unwrap();
    fixture.reload(|config| {
        config.protected.extend(prefixes(&["203.0.114.8/32", "2a01:1::8/128"]));
        config.block.extend(prefixes(&["9.9.9.9/32", "192.0.2.1/32"]));
    });
    fixture.check([
        case("allowed", syn("203.0.114.7"), "other", Pass, Allowed),
        case("allowed", syn("2a01:1::7"), "other", Pass, Allowed),
        case("protected", syn("203.0.114.8"), "other", Pass, Protected),
        case("protected", syn("2a01:1::8"), "other", Pass, Protected),
        case("their neighbour", syn("203.0.114.9"), "smtp", Drop, Blocked),
        case("their neighbour", syn("2a01:1::9"), "smtp", Drop, Blocked),
        case("allowed and blocked", dns("9.9.9.9"), "other", Pass, Allowed),
        case("protected and blocked", dns("192.0.2.1"), "other", Pass, Protected),
    ]);
    for guarded in ["203.0.114.8/32", "203.0.114.0/25", "192.0.2.53/32", "2001:db8::53/128"] {
        let request = BlockRequest {
            prefix: guarded.parse().unwrap(),
            note: String::new(),
            ttl: None,
            services: None,
        };
        let error = fixture.wall.block(request).unwrap_err();
        assert!(matches!(error, WallError::Guarded { .. }), "{guarded}: {error}");
    }

    assert!(fixture.wall.disallow("203.0.114.7/32".parse().unwrap()).unwrap());
    assert!(fixture.wall.disallow("2a01:1::7/128".parse().unwrap()).unwrap());
    assert!(fixture.wall.unblock("2a01:1::/64".parse().unwrap()).unwrap());
    fixture.check([
        case("no longer allowed", syn("203.0.114.7"), "smtp", Drop, Blocked),
        case("no longer blocked", syn("2a01:1::9"), "smtp", Pass, Clean),
    ]);
    for prefix in ["203.0.114.0/24", "198.45.0.9/32", "2a02::/16", "203.0.115.7/32", "2a03:1::/64"]
    {
        assert!(fixture.wall.unblock(prefix.parse().unwrap()).unwrap(), "{prefix}");
    }
    assert!(!fixture.wall.unblock("198.45.0.9/32".parse().unwrap()).unwrap());
}

fn report(fixture: &mut Fixture, source: &str, handshake: bool) -> Judgement {
    let offence = Offence {
        source: source.parse::<IpAddr>().unwrap(),
        service: "smtp".to_owned(),
        reason: "harvest".to_owned(),
        weight: 100.0,
        handshake,
        account: None,
    };
    fixture.wall.report(&offence).unwrap()
}

/// Bans for what a service saw.
fn bans(fixture: &mut Fixture) {
    for source in ["77.1.1.1", "2a04:1::1", "9.9.9.9"] {
        let judgement = report(fixture, source, true);
        assert!(matches!(judgement, Judgement::Banned { .. }), "{source}: {judgement:?}");
    }
    for _ in 0..50 {
        assert_eq!(report(fixture, "77.1.1.2", false), Judgement::Unproven);
        assert_eq!(report(fixture, "192.0.2.1", true), Judgement::Protected);
        assert_eq!(report(fixture, "2001:db8::53", true), Judgement::Protected);
    }
    let syn = |source| segment(source, 25, SYN);
    let enforced = |verdict| {
        [
            case("banned", syn("77.1.1.1"), "smtp", verdict, Banned),
            case("mid-connection", segment("77.1.1.1", 25, ACK), "smtp", verdict, Banned),
            case("malformed too", segment("77.1.1.1", 25, 0), "smtp", verdict, Banned),
            case("the /64", syn("2a04:1::ffff:9"), "smtp", verdict, Banned),
        ]
    };
    fixture.check(enforced(Drop));
    fixture.check([
        case(
            "from the service that saw it alone",
            segment("77.1.1.1", 80, SYN),
            "web",
            Pass,
            Clean,
        ),
        case("another /64", syn("2a04:1:0:1::1"), "smtp", Pass, Clean),
        case("seen in its name only", syn("77.1.1.2"), "smtp", Pass, Clean),
        case("allowed", syn("9.9.9.9"), "other", Pass, Allowed),
        case("protected", syn("192.0.2.1"), "other", Pass, Protected),
    ]);
    fixture.reload(|config| config.bans.mode = RuleMode::Observe);
    fixture.check(enforced(Observe));
    fixture.reload(|config| config.bans.mode = RuleMode::Off);
    fixture.check([
        case("bans off", syn("77.1.1.1"), "smtp", Pass, Clean),
        case("bans off", syn("2a04:1::9"), "smtp", Pass, Clean),
    ]);
    fixture.reload(|config| config.bans.mode = RuleMode::Enforce);
    assert!(fixture.wall.unblock("77.1.1.1/32".parse().unwrap()).unwrap());
    fixture.check([case("pardoned", syn("77.1.1.1"), "smtp", Pass, Clean)]);
}

/// Lists of others.
fn feeds(fixture: &mut Fixture) {
    let file = |name: &str, lines: &str| {
        let path = fixture.folder().join(name);
        fs::write(&path, lines).unwrap();
        path
    };
    let (first, second) = (
        file("first", "81.0.0.0/16 ; all of it\n2a05:1::/48\n9.9.9.0/28\n"),
        file("second", "82.1.2.3\n2a05:2::7\n"),
    );
    let feed = |name: &str, file: &std::path::Path, mode| FeedConfig {
        name: name.to_owned(),
        file: file.to_owned(),
        mode,
        max_age: Duration::ZERO,
    };
    for (mode, verdict) in
        [(RuleMode::Enforce, Drop), (RuleMode::Observe, Observe), (RuleMode::Off, Pass)]
    {
        let feeds = vec![feed("first", &first, RuleMode::Enforce), feed("second", &second, mode)];
        fixture.reload(|config| config.feeds = feeds);
        let reason = if mode == RuleMode::Off { Clean } else { Feed };
        let syn = |source| segment(source, 25, SYN);
        fixture.check([
            case("first", syn("81.0.255.255"), "smtp", Drop, Feed),
            case("first", syn("2a05:1:0:9::1"), "smtp", Drop, Feed),
            case("mid-connection", segment("81.0.0.1", 80, ACK), "web", Drop, Feed),
            case("second", syn("82.1.2.3"), "smtp", verdict, reason),
            case("second", syn("2a05:2::7"), "smtp", verdict, reason),
            case("beside", syn("82.1.2.4"), "smtp", Pass, Clean),
            case("beside", syn("2a05:2::8"), "smtp", Pass, Clean),
            case("allowed and listed", syn("9.9.9.9"), "other", Pass, Allowed),
        ]);
    }
}
