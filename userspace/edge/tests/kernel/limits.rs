//! How much is taken of whom, and what is left for familiar sources.
//!
//! Rates are so low that nothing is refilled while a test runs, and each part has sources, and where it comes to
//! budgets a service, of its own: the tables live on through every reload.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::{self, Command};
use std::time::{Duration, Instant};

use muralla_abi::verdict::Reason::{self, *};
use muralla_abi::verdict::Verdict::{self, Drop, Observe, Pass, Slip};
use muralla_edge::config::{Role, RuleMode};
use muralla_lab::frames::tcp_flags::{ACK, SYN};
use muralla_lab::frames::{Frame, tcp};
use muralla_lab::namespace::Namespace;

use crate::fixture::{Fixture, case, limit, service_mut};
use crate::packets::*;

/// Packets a second: one in 25 seconds, of ten at once.
const RATE: f64 = 0.04;
const INTERVAL: Duration = Duration::from_secs(25);
const BURST: usize = 10;

pub(crate) fn run(fixture: &mut Fixture) {
    sources(fixture);
    networks(fixture);
    slips(fixture);
    outgoing_smtp(fixture);
    catch_all(fixture);
    global(fixture);
    peace(fixture);
    handshakes(fixture);
    // On one CPU a packet can only race itself: where two of its networks are new and choose the same slot.
    assert!(fixture.wall.status().limiter_races < 100);
    assert!(fixture.wall.status().limiter_used > 0);
}

/// Sends the frame so often, and expects the same each time.
fn expect(fixture: &mut Fixture, times: usize, frame: &Frame, expected: (Verdict, Reason)) {
    for number in 1..=times {
        let seen = fixture.judge(frame);
        assert_eq!(seen, expected, "packet {number} of {times}");
    }
}

/// A burst passes, then nothing; and others, other services and other families have their own.
fn sources(fixture: &mut Fixture) {
    fixture.reload(|config| {
        for name in ["dns", "smtp", "radius_auth"] {
            let service = service_mut(config, name);
            (service.source, service.slip) = (limit(RATE, BURST as f64), 0);
        }
        service_mut(config, "dns").world = limit(RATE, 2.0);
    });
    let radius_of = |source: &str| datagram(source, 1_812).payload(radius(1));
    for (customer, other, outsider, nas) in [
        ("100.64.10.1", "100.64.10.2", "88.1.1.1", "100.64.255.9"),
        ("2001:db8:110::1", "2001:db8:111::1", "2a06:1::1", "2001:db8:1ff:9::1"),
    ] {
        expect(fixture, BURST, &dns(customer), (Pass, Clean));
        expect(fixture, 5, &dns(customer), (Drop, SourceLimit));
        expect(fixture, BURST, &dns(other), (Pass, Clean));
        expect(fixture, 1, &dns(other), (Drop, SourceLimit));
        // What is malformed is told so first, and costs nothing.
        let malformed = datagram(customer, 53).payload(query().class(9));
        expect(fixture, 3, &malformed, (Drop, DnsClass));
        expect(fixture, 2, &dns(outsider), (Pass, Clean));
        expect(fixture, 1, &dns(outsider), (Drop, SourceLimit));
        expect(fixture, BURST, &segment(customer, 25, SYN), (Pass, Clean));
        expect(fixture, 1, &segment(customer, 25, SYN), (Drop, SourceLimit));
        // A connection that stands is no opening.
        expect(fixture, 30, &segment(customer, 25, ACK), (Pass, Established));
        expect(fixture, BURST, &radius_of(nas), (Pass, Clean));
        expect(fixture, 1, &radius_of(nas), (Drop, SourceLimit));
    }
    fixture.reload(|config| service_mut(config, "dns").mode = RuleMode::Observe);
    expect(fixture, 3, &dns("100.64.10.1"), (Observe, SourceLimit));
    fixture.reload(|config| service_mut(config, "dns").mode = RuleMode::Enforce);
}

/// A network has a multiple of one source's limit, however many sources it has.
fn networks(fixture: &mut Fixture) {
    fixture.reload(|config| {
        service_mut(config, "web").source = limit(RATE, BURST as f64);
    });
    let v4 = |index: u32| IpAddr::from((0x5901_0100 | (index % 250)).to_be_bytes());
    let v6 =
        |index: u32| IpAddr::from(((0x2a07_0001_u128 << 96) | u128::from(index)).to_be_bytes());
    for (network, multiple, address) in
        [("/24", 32, &v4 as &dyn Fn(u32) -> IpAddr), ("/64", 2, &v6)]
    {
        let begun = Instant::now();
        let room = BURST * multiple;
        let mut passed = 0;
        for index in 0..room as u32 + 100 {
            let source = address(index).to_string();
            match fixture.judge(&segment(&source, 443, SYN)) {
                (Pass, Clean) => passed += 1,
                (Drop, PrefixLimit) => {}
                other => panic!("{network}: {other:?}"),
            }
        }
        let refilled = begun.elapsed().as_secs_f64() / INTERVAL.as_secs_f64() * multiple as f64;
        let most = room + refilled as usize + 1;
        assert!((room..=most).contains(&passed), "{network}: {passed} of {room}");
    }
    // Beside it, everybody has what he had.
    expect(fixture, BURST, &segment("89.1.2.1", 443, SYN), (Pass, Clean));
    expect(fixture, 1, &segment("89.1.2.1", 443, SYN), (Drop, SourceLimit));
}

/// One in so many limited queries is answered.
fn slips(fixture: &mut Fixture) {
    for (slip, source) in [
        (0, "100.64.20.1"),
        (1, "100.64.20.2"),
        (2, "100.64.20.3"),
        (4, "100.64.20.4"),
        (0, "2001:db8:120::1"),
        (1, "2001:db8:121::1"),
        (2, "2001:db8:122::1"),
        (4, "2001:db8:123::1"),
    ] {
        fixture.reload(|config| {
            let dns = service_mut(config, "dns");
            (dns.source, dns.slip) = (limit(RATE, 1.0), slip);
        });
        expect(fixture, 1, &dns(source), (Pass, Clean));
        let mut answered = 0;
        for id in 0..64 {
            let frame = datagram(source, 53).payload(query().id(id));
            match fixture.judge(&frame) {
                (Slip, SourceLimit) => answered += 1,
                (Drop, SourceLimit) => {}
                other => panic!("slip {slip}: {other:?}"),
            }
        }
        let expected = 64_u32.checked_div(u32::from(slip)).unwrap_or(0);
        assert_eq!(answered, expected, "slip {slip} of 64 ids");
    }
}

fn outgoing_smtp(fixture: &mut Fixture) {
    fixture.reload(|config| service_mut(config, "outgoing_smtp").source = limit(RATE, 3.0));
    let to = |source: &str| {
        let far = if source.contains(':') { OUTSIDER6 } else { OUTSIDER4 };
        tcp(at(source, CLIENT_PORT), at(far, 25))
    };
    for side in [Role::Customers, Role::Both] {
        let (customers, servers) = match side {
            Role::Both => (["100.64.30.1", "2001:db8:130::1"], [MAIL_SERVER4, "2001:db8:107::7"]),
            _ => (["100.64.31.1", "2001:db8:131::1"], [MAIL_SERVER4, "2001:db8:107::7"]),
        };
        for customer in customers {
            for _ in 0..3 {
                assert_eq!(fixture.judge_from(side, &to(customer)), (Pass, Clean));
            }
            for _ in 0..3 {
                assert_eq!(fixture.judge_from(side, &to(customer)), (Drop, OutgoingSmtp));
            }
            // What was opened goes on.
            let data = to(customer).flags(ACK);
            assert_eq!(fixture.judge_from(side, &data), (Pass, Clean));
            // To us, he may come as anybody may.
            let submission = segment(customer, 80, SYN);
            assert_eq!(fixture.judge_from(side, &submission), (Pass, Clean));
        }
        for server in servers {
            for _ in 0..20 {
                assert_eq!(fixture.judge_from(side, &to(server)), (Pass, Clean));
            }
        }
    }
    // From the Internet, port 25 of somebody else is none of our business.
    let transit = case("transit", to(OUTSIDER4).flags(SYN), "other", Drop, Land);
    fixture.check([transit.from(Role::Internet)]);
    let transit = tcp(at("87.1.1.1", 5), at("87.2.2.2", 25));
    for _ in 0..20 {
        assert_eq!(fixture.judge_from(Role::Internet, &transit), (Pass, Other));
    }
}

/// The rest is limited where the operator wants it.
fn catch_all(fixture: &mut Fixture) {
    fixture.reload(|config| service_mut(config, "other").source = limit(RATE, 4.0));
    for source in ["86.1.1.1", "2a08:1::1"] {
        expect(fixture, 2, &datagram(source, 9_999), (Pass, Other));
        expect(fixture, 2, &dns(source).fragment(7, false), (Pass, LaterFragment));
        expect(fixture, 1, &datagram(source, 9_999), (Drop, SourceLimit));
        expect(fixture, 1, &dns(source).fragment(7, false), (Drop, SourceLimit));
        expect(fixture, 1, &segment(source, 80, ACK), (Pass, Established));
    }
    fixture.reload(|config| service_mut(config, "other").source = None);
}

fn global(fixture: &mut Fixture) {
    fixture.reload(|config| {
        let service = service_mut(config, "dns_tcp");
        (service.global, service.stray) = (limit(RATE, 6.0), limit(RATE, 3.0));
    });
    let syn = |index: u32| {
        let source = if index.is_multiple_of(2) {
            format!("85.{index}.1.1")
        } else {
            format!("2a09:{index}::1")
        };
        segment(&source, 53, SYN)
    };
    (0..6).for_each(|index| assert_eq!(fixture.judge(&syn(index)), (Pass, Clean)));
    (6..12).for_each(|index| assert_eq!(fixture.judge(&syn(index)), (Drop, GlobalLimit)));
    let ack = |index: u32| syn(index).flags(ACK);
    (0..3).for_each(|index| assert_eq!(fixture.judge(&ack(index)), (Pass, Established)));
    (3..9).for_each(|index| assert_eq!(fixture.judge(&ack(index)), (Drop, StrayLimit)));
}

/// A client whose queries passed while there was no flood has a share when there is one.
fn peace(fixture: &mut Fixture) {
    fixture.reload(|config| {
        let service = service_mut(config, "dns");
        (service.source, service.slip) = (None, 0);
        (service.global, service.reserve) = (limit(RATE, 10.0), limit(RATE, 8.0));
    });
    let proven = "100.64.40.3";
    connect(&[proven]);
    let ask = |source: &str, id: u16| datagram(source, 53).payload(query().id(CLIENT_PORT ^ id));
    let known = ["100.64.40.1", "2001:db8:140::1"];
    // One in four, by the numbers that the client chose, is noted.
    for source in known {
        assert_eq!(fixture.judge(&ask(source, 4)), (Pass, Clean));
    }
    let unnoted = "100.64.40.2";
    assert_eq!(fixture.judge(&ask(unnoted, 1)), (Pass, Clean));
    for index in 0..6 {
        let source = format!("100.64.41.{index}");
        assert_eq!(fixture.judge(&ask(&source, 1)), (Pass, Clean));
    }
    // The budget is all but used up: passing is no sign of peace.
    let late = "100.64.41.6";
    assert_eq!(fixture.judge(&ask(late, 4)), (Pass, Clean));
    for source in ["100.64.42.1", "2001:db8:142::1", unnoted, late] {
        assert_eq!(fixture.judge(&ask(source, 4)), (Drop, GlobalLimit), "{source}");
    }
    for source in known {
        expect(fixture, 2, &ask(source, 1), (Pass, Familiar));
    }
    // The share of those whose address may be forged is used up, and not that of who proved his.
    assert_eq!(fixture.judge(&ask(known[0], 1)), (Drop, GlobalLimit));
    expect(fixture, 4, &ask(proven, 1), (Pass, Familiar));
    assert_eq!(fixture.judge(&ask(proven, 1)), (Drop, GlobalLimit));
}

/// Who completed a handshake with any service here is known to all of them.
fn handshakes(fixture: &mut Fixture) {
    let clients = ["100.64.50.1", "2001:db8:150::1"];
    connect(&clients);
    fixture.reload(|config| {
        let smtp = service_mut(config, "smtp");
        (smtp.source, smtp.stray) = (limit(RATE, BURST as f64), limit(RATE, 2.0));
        (smtp.global, smtp.reserve) = (limit(RATE, 4.0), limit(RATE, 6.0));
    });
    let syn = |source: &str| segment(source, 25, SYN);
    let ack = |source: &str| segment(source, 25, ACK);
    for index in 0..4 {
        let stranger = format!("84.{index}.1.1");
        assert_eq!(fixture.judge(&syn(&stranger)), (Pass, Clean));
    }
    for index in 0..2 {
        let stranger = format!("84.{index}.1.1");
        assert_eq!(fixture.judge(&ack(&stranger)), (Pass, Established));
    }
    for stranger in ["84.9.1.1", "2a0a::1", "100.64.50.2", "2001:db8:151::1"] {
        assert_eq!(fixture.judge(&syn(stranger)), (Drop, GlobalLimit), "{stranger}");
        assert_eq!(fixture.judge(&ack(stranger)), (Drop, StrayLimit), "{stranger}");
    }
    for client in clients {
        expect(fixture, 3, &syn(client), (Pass, Familiar));
        expect(fixture, 20, &ack(client), (Pass, Established));
    }
    assert_eq!(fixture.judge(&syn(clients[0])), (Drop, GlobalLimit), "the share is used up");
    // A familiar /64, not an address in it.
    assert_eq!(fixture.judge(&ack("2001:db8:150::2")), (Pass, Established));

    // A flood from all around a familiar source, or in its neighbours' names, isn't held against it.
    fixture.reload(|config| service_mut(config, "web").source = limit(RATE, 2.0));
    for index in 0..300 {
        let neighbour = format!("100.64.50.{}", 3 + index % 200);
        let _ = fixture.judge(&segment(&neighbour, 80, SYN));
    }
    assert_eq!(fixture.judge(&segment("100.64.50.250", 80, SYN)), (Drop, PrefixLimit));
    expect(fixture, 2, &segment(clients[0], 80, SYN), (Pass, Familiar));
    expect(fixture, 1, &segment(clients[0], 80, SYN), (Drop, SourceLimit));
}

/// Opens a connection from each of the addresses, in a namespace that has them.
fn connect(clients: &[&'static str]) {
    struct Deleted(String);
    impl std::ops::Drop for Deleted {
        fn drop(&mut self) {
            let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
        }
    }
    let name = format!("muralla-test-{}", process::id());
    let ip = |arguments: &str| {
        let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
        assert!(status.success(), "ip {arguments}");
    };
    ip(&format!("netns add {name}"));
    let deleted = Deleted(name.clone());
    ip(&format!("-n {name} link set lo up"));
    for address in clients.iter().chain(&[SERVER4, SERVER6]) {
        let nodad = if address.contains(':') { " nodad" } else { "" };
        ip(&format!("-n {name} address add {address} dev lo{nodad}"));
    }
    let clients = clients.to_vec();
    Namespace::named(&name)
        .inside(move || {
            for client in clients {
                let listener = TcpListener::bind(at(server(client), 25))?;
                // The listener's address is the client's too as long as nobody binds: go from the client's.
                let stream = connect_from(client, listener.local_addr()?)?;
                drop(listener.accept()?);
                drop(stream);
            }
            Ok(())
        })
        .unwrap();
    drop(deleted);
}

fn connect_from(client: &str, target: std::net::SocketAddr) -> std::io::Result<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let source = at(client, 0);
    let family = if source.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None)?;
    bind(&socket, &source)?;
    connect(&socket, &target)?;
    Ok(TcpStream::from(socket))
}
