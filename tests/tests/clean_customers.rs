//! CLEAN: customers' infected machines are limited on their way out, and nobody pretends to be another.

#![cfg(test)]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use muralla_lab::flood::{Attack, FloodOptions, Sources};
use muralla_lab::{Family, Side};
use muralla_tests::connection::{connect_from, serve_echo};
use muralla_tests::{Appliance, Settings, until};

const EDGE: &str = r#"mail_servers = ["100.64.1.2", "2001:db8:6400:2::1"]"#;

const ATTEMPTS: usize = 40;

#[test]
fn clean_customers_open_few_connections_to_port_25_and_mail_servers_many() {
    let settings = Settings { edge: EDGE, ..Settings::default() };
    let appliance = Appliance::start("outgoing", settings).unwrap();
    let lab = appliance.lab();
    for family in Family::BOTH {
        let far = SocketAddr::new(lab.internet_hosts(family)[0], 25);
        serve_echo(lab.internet(), far).unwrap();
        let open = |customer: IpAddr| {
            let patience = Duration::from_millis(150);
            (0..ATTEMPTS)
                .filter(|_| connect_from(lab.customers(), customer, far, patience).is_ok())
                .count()
        };
        let [infected, mail_server, other] = [0, 1, 2].map(|host| lab.customer_hosts(family)[host]);
        let before = appliance.refused("outgoing_smtp").unwrap();
        let opened = open(infected);
        // The default: 20 at once, then 10 a minute.
        assert!((18..=24).contains(&opened), "{infected} opened {opened}");
        let refused = appliance.refused("outgoing_smtp").unwrap() - before;
        assert!(refused as usize >= ATTEMPTS - opened, "{refused} refused");
        assert_eq!(open(mail_server), ATTEMPTS, "{mail_server}");
        connect_from(lab.customers(), other, far, Duration::from_secs(2)).unwrap();
        // The provider's own server is no outgoing mail.
        let ours = SocketAddr::new(lab.service(family), 25);
        serve_echo(lab.edge(), ours).unwrap();
        connect_from(lab.customers(), infected, ours, Duration::from_secs(2)).unwrap();
    }
}

/// Queries that reached the wall, and those of them that were refused for a reason; of one look.
fn arrived(appliance: &Appliance, reason: &str) -> anyhow::Result<(u64, u64)> {
    let (label, passes) = (format!("reason=\"{reason}\""), "verdict=\"pass\"");
    let counted = appliance.counted(&["service=\"dns\""])?;
    let refused = counted.iter().filter(|(labels, _)| labels.contains(&label));
    let refused = refused.filter(|(labels, _)| !labels.contains(passes));
    let sum = |packets: u64, (_, more): &(String, u64)| packets + more;
    Ok((counted.iter().fold(0, sum), refused.fold(0, sum)))
}

#[test]
fn clean_nobody_sends_in_the_name_of_the_other_side() {
    let appliance = Appliance::start("antispoof", Settings::default()).unwrap();
    let lab = appliance.lab();
    for family in Family::BOTH {
        let customer = lab.customer_hosts(family)[0];
        let stranger = lab.internet_hosts(family)[0];
        for (side, source, reason) in [
            (Side::Internet, customer, "spoofed_customer"),
            (Side::Customers, stranger, "spoofed_source"),
        ] {
            let before = arrived(&appliance, reason).unwrap();
            let options = FloodOptions {
                attack: Attack::DnsFixed,
                sources: Sources::Single(source),
                target: lab.service(family),
                rate_per_second: 1_000,
                cpu: None,
                max_duration: Duration::from_millis(500),
            };
            let flood = lab.flood(side, options).unwrap();
            until("the flood's end", Duration::from_secs(10), || {
                Ok((!flood.is_running()).then_some(()))
            })
            .unwrap();
            let (sent, _) = flood.stop().unwrap();
            assert!(sent > 50, "{reason} {family:?}: {sent} sent");
            // The last of them may still wait for the receiving side's core, and one whose queue is full loses some.
            let mut last = None;
            let (arrived, refused) = until("the last refusal", Duration::from_secs(10), || {
                let (arrived, refused) = arrived(&appliance, reason)?;
                let now = (arrived - before.0, refused - before.1);
                let settled = last.replace(now) == Some(now);
                Ok((settled && now.1 >= sent * 9 / 10).then_some(now))
            })
            .unwrap_or_else(|error| panic!("{reason} {family:?}, of {sent}: {error:#}"));
            assert_eq!(arrived, refused, "{reason} {family:?}, of {sent}: some came through");
        }
    }
}
