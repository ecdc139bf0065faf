//! EDGE: legitimate clients are served through the wall from their proper sides, over both IP versions, and
//! nobody else is.

#![cfg(test)]

use std::fs;
use std::net::IpAddr;

use muralla_lab::clients::Kind;
use muralla_lab::namespace::Namespace;
use muralla_lab::peers::{Peer, RADIUS_PASSWORD, RADIUS_SECRET, RADIUS_USER, ZONE};
use muralla_lab::{Family, Lab};
use muralla_tests::command::{Outcome, call};
use muralla_tests::{Appliance, Settings};

#[test]
fn edge_legitimate_clients_are_served_and_outsiders_are_not() {
    let appliance = Appliance::start("services", Settings::default()).unwrap();
    let lab = appliance.lab();
    for peer in Peer::ALL {
        lab.start_peer(peer).unwrap();
    }
    for family in Family::BOTH {
        let customer = lab.customer_hosts(family)[0];
        let nas = lab.nas_hosts(family)[0];
        let outsider = lab.internet_hosts(family)[0];

        appliance.transact(lab.customers(), Kind::dns(), customer).unwrap();
        appliance.transact(lab.customers(), Kind::radius(), nas).unwrap();
        appliance.transact(lab.internet(), Kind::smtp(), outsider).unwrap();
        appliance.transact(lab.customers(), Kind::smtp(), customer).unwrap();

        let answer = dig(lab, lab.customers(), customer, &[]).succeeded().unwrap();
        assert_eq!(answer.trim(), "203.0.113.99", "{family:?}");
        let answer = dig(lab, lab.customers(), customer, &["+tcp"]).succeeded().unwrap();
        assert_eq!(answer.trim(), "203.0.113.99", "{family:?}");
        let answer = radclient(lab, nas).succeeded().unwrap();
        assert!(answer.contains("Access-Accept"), "{answer}");
        // Debian's swaks has no IPv6 without a library that nothing else needs.
        if family == Family::V4 {
            let answer = swaks(lab, outsider).succeeded().unwrap();
            let accepted =
                answer.contains("RCPT TO:<someone@lab.test>") && answer.contains("250 2.1.5");
            assert!(accepted, "{answer}");
        }

        let before = appliance.refused("dns_outsider").unwrap();
        appliance.transact(lab.internet(), Kind::dns(), outsider).unwrap_err();
        let refused = dig(lab, lab.internet(), outsider, &[]);
        assert_ne!(refused.code, 0, "an open resolver: {refused:?}");
        let refused = dig(lab, lab.internet(), outsider, &["+tcp"]);
        assert_ne!(refused.code, 0, "an open resolver over TCP: {refused:?}");
        assert!(appliance.refused("dns_outsider").unwrap() >= before + 4);

        let before = appliance.refused("radius_outsider").unwrap();
        appliance.transact(lab.customers(), Kind::radius(), customer).unwrap_err();
        appliance.transact(lab.internet(), Kind::radius(), outsider).unwrap_err();
        assert!(appliance.refused("radius_outsider").unwrap() >= before + 4);
    }
}

fn dig(lab: &Lab, from: &Namespace, source: IpAddr, more: &[&str]) -> Outcome {
    let service = lab.service(family(source));
    let (source, server, name) =
        (source.to_string(), format!("@{service}"), format!("any.thing.{ZONE}"));
    let usual = ["+short", "+time=1", "+tries=2", "-b", &source, &server, &name];
    call(from, "dig", &[&usual, more].concat()).unwrap()
}

fn radclient(lab: &Lab, nas: IpAddr) -> Outcome {
    let service = lab.service(family(nas));
    let (attribute, version, server) = match nas {
        IpAddr::V4(_) => ("Packet-Src-IP-Address", "-4", format!("{service}:1812")),
        IpAddr::V6(_) => ("Packet-Src-IPv6-Address", "-6", format!("[{service}]:1812")),
    };
    let request = lab.folder().join("request");
    fs::write(
        &request,
        format!(
            "User-Name = \"{RADIUS_USER}\", User-Password = \"{RADIUS_PASSWORD}\", \
             Message-Authenticator = 0x00, {attribute} = {nas}\n"
        ),
    )
    .unwrap();
    let request = request.display().to_string();
    let arguments =
        ["-x", "-t", "2", "-r", "2", version, "-f", &request, &server, "auth", RADIUS_SECRET];
    call(lab.customers(), "radclient", &arguments).unwrap()
}

fn swaks(lab: &Lab, source: IpAddr) -> Outcome {
    let (server, source) = (lab.service(family(source)).to_string(), source.to_string());
    let arguments = [
        "--server",
        &server,
        "--local-interface",
        &source,
        "--from",
        "sender@example.org",
        "--to",
        "someone@lab.test",
        "--helo",
        "client.example.org",
        "--quit-after",
        "RCPT",
        "--timeout",
        "5s",
    ];
    call(lab.internet(), "swaks", &arguments).unwrap()
}

const fn family(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}
