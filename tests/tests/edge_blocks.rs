//! EDGE: what the operator blocks is blocked, until when and from what he says, even in the middle of a
//! connection; what he allows or protects never is.

#![cfg(test)]

use std::net::SocketAddr;
use std::time::Duration;

use muralla_lab::Family;
use muralla_lab::clients::Kind;
use muralla_lab::peers::Peer;
use muralla_tests::connection::{connect_from, echoed, serve_echo};
use muralla_tests::{Appliance, Settings, until};

const SOON: Duration = Duration::from_secs(10);
const BRIEFLY: Duration = Duration::from_secs(1);

#[test]
fn edge_blocks_act_as_told_and_never_lock_out_the_protected() {
    let settings = Settings { edge: "allow = [\"198.51.100.20\"]", ..Settings::default() };
    let appliance = Appliance::start("blocks", settings).unwrap();
    for family in Family::BOTH {
        a_block_cuts_established_connections_and_counts(&appliance, family);
        an_allowance_wins(&appliance, family);
    }
    a_block_expires(&appliance);
    a_block_is_for_the_services_that_it_names(&appliance);
    an_ipv6_address_is_blocked_with_its_network(&appliance);
    the_protected_are_refused_with_an_explanation(&appliance);
}

fn a_block_cuts_established_connections_and_counts(appliance: &Appliance, family: Family) {
    let lab = appliance.lab();
    let source = lab.internet_hosts(family)[0];
    let pop3 = SocketAddr::new(lab.service(family), 110);
    serve_echo(lab.edge(), pop3).unwrap();
    let connection = connect_from(lab.internet(), source, pop3, BRIEFLY).unwrap();
    echoed(&connection, "before").unwrap();

    let prefix = match family {
        Family::V4 => format!("{source}/32"),
        Family::V6 => "2001:db8:1:1::/64".to_owned(),
    };
    let done = appliance.ask(&["block", &source.to_string(), "--note", "guessing"]).unwrap();
    assert_eq!(done["done"], true);
    echoed(&connection, "during").unwrap_err();
    connect_from(lab.internet(), source, pop3, BRIEFLY).unwrap_err();
    assert!(!appliance.passes(lab.internet(), source).unwrap());
    let block = appliance.blocked(&prefix).unwrap().expect("it is listed");
    assert_eq!((&block["note"], &block["origin"]), (&"guessing".into(), &"operator".into()));
    assert!(block["hits"].as_u64().unwrap() > 2, "{block}");
    assert!(block["expires_in"].is_null(), "{block}");
    assert!(appliance.refused("blocked").unwrap() > 2);

    appliance.ask(&["unblock", &prefix]).unwrap();
    assert_eq!(appliance.blocked(&prefix).unwrap(), None);
    until("the connection goes on", SOON, || {
        let again = connect_from(lab.internet(), source, pop3, BRIEFLY)?;
        echoed(&again, "after").map(Some)
    })
    .unwrap();
    let nothing = appliance.muralla(&["unblock", &prefix]).unwrap().refused().unwrap();
    assert!(nothing.contains("was not blocked"), "{nothing}");
}

fn an_allowance_wins(appliance: &Appliance, family: Family) {
    let lab = appliance.lab();
    let source = lab.internet_hosts(family)[1];
    let name = source.to_string();
    appliance.ask(&["block", &name]).unwrap();
    assert!(!appliance.passes(lab.internet(), source).unwrap(), "{name}");
    appliance.ask(&["allow", &name]).unwrap();
    assert!(appliance.passes(lab.internet(), source).unwrap(), "{name}");
    appliance.ask(&["allow", "--remove", &name]).unwrap();
    assert!(!appliance.passes(lab.internet(), source).unwrap(), "{name}");
    appliance.ask(&["unblock", &name]).unwrap();
    assert!(appliance.passes(lab.internet(), source).unwrap(), "{name}");
}

fn a_block_expires(appliance: &Appliance) {
    let lab = appliance.lab();
    let source = lab.internet_hosts(Family::V4)[2];
    appliance.ask(&["block", &source.to_string(), "--for", "4s"]).unwrap();
    assert!(!appliance.passes(lab.internet(), source).unwrap());
    until("the block's end", Duration::from_secs(15), || {
        Ok(appliance.passes(lab.internet(), source)?.then_some(()))
    })
    .unwrap();
    until("the list's end", SOON, || {
        Ok(appliance.blocked(&format!("{source}/32"))?.is_none().then_some(()))
    })
    .unwrap();
}

fn a_block_is_for_the_services_that_it_names(appliance: &Appliance) {
    let lab = appliance.lab();
    lab.start_peer(Peer::Postfix).unwrap();
    let source = lab.internet_hosts(Family::V4)[3];
    let pop3 = SocketAddr::new(lab.service(Family::V4), 110);
    appliance.ask(&["block", &source.to_string(), "--service", "smtp"]).unwrap();
    appliance.transact(lab.internet(), Kind::smtp(), source).unwrap_err();
    let connection = connect_from(lab.internet(), source, pop3, BRIEFLY).unwrap();
    echoed(&connection, "mail").unwrap();
    let block = appliance.blocked(&format!("{source}/32")).unwrap().unwrap();
    assert_eq!(block["services"][0], "smtp", "{block}");
    appliance.ask(&["unblock", &source.to_string()]).unwrap();
    until("mail again", SOON, || {
        appliance.transact(lab.internet(), Kind::smtp(), source).map(Some)
    })
    .unwrap();
    let unknown = appliance.muralla(&["block", "198.51.100.99", "--service", "smpt"]).unwrap();
    let complaint = unknown.refused().unwrap();
    assert!(
        complaint.contains("no service `smpt`") && complaint.contains("outgoing_smtp"),
        "{complaint}"
    );
}

fn an_ipv6_address_is_blocked_with_its_network(appliance: &Appliance) {
    let lab = appliance.lab();
    let [first, other] = [0, 5].map(|host| lab.internet_hosts(Family::V6)[host]);
    appliance.ask(&["block", &first.to_string()]).unwrap();
    assert!(!appliance.passes(lab.internet(), other).unwrap());
    appliance.ask(&["unblock", &first.to_string()]).unwrap();
    assert!(appliance.passes(lab.internet(), other).unwrap());
}

fn the_protected_are_refused_with_an_explanation(appliance: &Appliance) {
    for (prefix, why) in [
        ("203.0.113.10", "an address of this machine"),
        ("203.0.113.0/24", "an address of this machine"),
        ("2001:db8:53::10", "an address of this machine"),
        ("192.0.2.3", "protected by the configuration"),
        ("0.0.0.0/0", "would cut off"),
        ("::/0", "would cut off"),
    ] {
        let complaint = appliance.muralla(&["block", prefix]).unwrap().refused().unwrap();
        assert!(complaint.contains(why) && complaint.contains("help:"), "{prefix}: {complaint}");
    }
    // Only allowed: a block is accepted, and doesn't act.
    let allowed = appliance.lab().internet_hosts(Family::V4)[4];
    assert_eq!(allowed.to_string(), "198.51.100.20");
    appliance.ask(&["block", "198.51.100.20", "--for", "1m"]).unwrap();
    assert!(appliance.passes(appliance.lab().internet(), allowed).unwrap());
}
