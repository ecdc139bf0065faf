//! How many packets per second each flood reaches on one core, and what it does to clients of
//! unprotected servers: `cargo run -p muralla-lab --example rates`, as root; with
//! `-- down` it cleans up after a run that was killed.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use muralla_lab::clients::{Client, ClientOptions, Kind};
use muralla_lab::flood::{Attack, FloodOptions, Sources};
use muralla_lab::peers::Peer;
use muralla_lab::topology::{CUSTOMERS_V4, CUSTOMERS_V6};
use muralla_lab::{Family, Lab, LabOptions, Side};

const PREFIX: &str = "lab-rates";

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("down") {
        return Lab::down(PREFIX);
    }
    let lab = Lab::up(PREFIX, LabOptions::default())?;
    for peer in Peer::ALL {
        lab.start_peer(peer)?;
    }
    for family in Family::BOTH {
        let client = |kind: Kind, side: Side, hosts, rate| {
            let target = SocketAddr::new(lab.service(family), kind.port());
            Client::start(lab.side(side).0, kind, ClientOptions::new(hosts, target, rate))
        };
        let clients = [
            client(Kind::dns(), Side::Customers, lab.customer_hosts(family), 200)?,
            client(Kind::radius(), Side::Customers, lab.nas_hosts(family), 50)?,
            client(Kind::smtp(), Side::Internet, lab.internet_hosts(family), 20)?,
        ];
        let clients_now = || {
            for (name, client) in ["dns", "radius", "smtp"].iter().zip(&clients) {
                let snapshot = client.snapshot();
                println!(
                    "    {name:6} {:6.2} % of {:4}, p50 {:7} us, p99 {:7} us {}",
                    snapshot.success() * 100.0,
                    snapshot.ok + snapshot.failed,
                    snapshot.p50_us,
                    snapshot.p99_us,
                    snapshot.last_failure.unwrap_or_default()
                );
            }
        };
        thread::sleep(Duration::from_secs(2));
        println!("{family:?} quiet");
        clients_now();
        let anywhere = Sources::Anywhere { family, count: 100_000 };
        let one = Sources::Single(lab.internet_hosts(family).remove(0));
        let prefix = if family == Family::V4 { CUSTOMERS_V4 } else { CUSTOMERS_V6 };
        let customers = Sources::within(prefix, 60_000)?;
        for (side, attack, sources) in [
            (Side::Internet, Attack::DnsRandom, anywhere),
            (Side::Customers, Attack::DnsRandom, customers),
            (Side::Internet, Attack::DnsFixed, one),
            (Side::Internet, Attack::RadiusJunk, anywhere),
            (Side::Internet, Attack::SmtpSyn, anywhere),
            (Side::Internet, Attack::Malformed, anywhere),
        ] {
            let options = FloodOptions {
                attack,
                sources,
                target: lab.service(family),
                rate_per_second: 0,
                cpu: Some(1),
                max_duration: Duration::from_secs(10),
            };
            let interface = lab.side(side).1;
            let before = lab.edge().received(interface)?;
            let flood = lab.flood(side, options)?;
            thread::sleep(Duration::from_secs(2));
            let (sent, elapsed) = flood.stop()?;
            let received = lab.edge().received(interface)? - before;
            println!(
                "{family:?} {attack:?} from {side:?}: {:.0} packets/s, {received} of {sent} received",
                sent as f64 / elapsed.as_secs_f64()
            );
            clients_now();
            thread::sleep(Duration::from_secs(4));
            clients.iter().for_each(|client| drop(client.snapshot()));
        }
    }
    Ok(())
}
