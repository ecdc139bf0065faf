//! UDP: under a flood a legitimate query is answered as if there were none, if need be over TCP.

#![cfg(test)]

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use muralla_lab::clients::{Client, ClientOptions, Kind};
use muralla_lab::flood::{Attack, FloodOptions, Sources};
use muralla_lab::peers::Peer;
use muralla_lab::topology::{CUSTOMERS_V4, CUSTOMERS_V6};
use muralla_lab::{Family, Side};
use muralla_tests::{Appliance, Settings};

/// Tight enough for a flood that leaves the test's machine some room.
const LIMITS: &str = r#"
[edge.service.dns]
source = { rate = 10, burst = 20 }
global = { rate = 2000, burst = 2000 }
reserve = { rate = 1000, burst = 1000 }
"#;

#[test]
fn udp_dns_is_answered_under_floods_in_the_customers_own_names() {
    let settings = Settings { tables: LIMITS, ..Settings::default() };
    let appliance = Appliance::start("floods", settings).unwrap();
    let lab = appliance.lab();
    lab.start_peer(Peer::Unbound).unwrap();
    for (family, customers) in [(Family::V4, CUSTOMERS_V4), (Family::V6, CUSTOMERS_V6)] {
        let hosts = lab.customer_hosts(family);
        let target = SocketAddr::new(lab.service(family), 53);
        for (sources, reasons) in [
            // The victim of the first is one of those who ask.
            (Sources::Single(hosts[0]), &["source_limit"][..]),
            (Sources::within(customers, 60_000).unwrap(), &["prefix_limit", "global_limit"]),
        ] {
            let name = format!("{sources:?}");
            let refused =
                || -> u64 { reasons.iter().map(|reason| appliance.refused(reason).unwrap()).sum() };
            let before = refused();
            let slips = |appliance: &Appliance| -> u64 {
                let rows = appliance.counted(&["verdict=\"slip\"", "service=\"dns\""]).unwrap();
                rows.iter().map(|(_, packets)| packets).sum()
            };
            let slips_before = slips(&appliance);
            let options = ClientOptions::new(hosts.clone(), target, 40);
            let client = Client::start(lab.customers(), Kind::dns(), options).unwrap();
            thread::sleep(Duration::from_millis(1_500));
            let options = FloodOptions {
                attack: Attack::DnsRandom,
                sources,
                target: lab.service(family),
                rate_per_second: 20_000,
                cpu: None,
                max_duration: Duration::from_secs(4),
            };
            let flood = lab.flood(Side::Customers, options).unwrap();
            while flood.is_running() {
                thread::sleep(Duration::from_millis(50));
            }
            let (sent, _) = flood.stop().unwrap();
            let totals = client.stop().snapshot;
            assert!(sent > 10_000, "{name}: only {sent} sent");
            let refused = refused() - before;
            assert!(totals.success() >= 0.99, "{name}: {totals:?}");
            assert!(refused > sent / 4, "{name}: {refused} of {sent} refused");
            let slips = slips(&appliance) - slips_before;
            assert!(slips > 0, "{name}: nobody was sent to TCP");
            if matches!(sources, Sources::Single(_)) {
                assert!(totals.over_tcp > 0, "{name}: nobody came over TCP: {totals:?}");
            }
        }
    }
}
