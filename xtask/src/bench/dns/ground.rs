//! Where the contenders stand: a lab whose edge has one core for all that serving costs, and an Internet of
//! its own on the other core, where the clients are, too.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use muralla_internet::{Internet, Plan, generate};
use muralla_lab::load::steady::{Options, Steady};
use muralla_lab::load::{Load, Outcome};
use muralla_lab::polling::Polling;
use muralla_lab::private_internet::PrivateInternet;
use muralla_lab::{Family, Lab, LabOptions, Side};

use super::super::PREFIX;
use super::super::division::Division;

/// Where private Internets' servers are.
pub(super) const SERVERS: &str = "10.0.0.0/8";

/// The lab, and which core does what.
pub(super) struct Ground {
    pub(super) lab: Lab,
    /// Serves: the contender, and the kernel where it receives and sends for it.
    pub(super) serving: usize,
    /// Asks, and is asked: clients, the wire, the Internet.
    pub(super) asking: usize,
    /// The kernel's part of the serving core's work.
    pub(super) customers: Polling,
    pub(super) internet: Arc<Internet>,
    pub(super) upstream: PrivateInternet,
    /// Names and types, in an order without any.
    pub(super) questions: Vec<(String, u16)>,
    _division: Division,
}

impl Ground {
    /// Builds the lab and an Internet of so many zones.
    pub(super) fn prepare(zones: usize) -> Result<Self> {
        let division = Division::of_cores()?;
        let (serving, asking) = (division.serving, division.asking);
        eprintln!("dns: making an Internet of {zones} zones");
        let made = generate(zones, SEED)?;
        let questions: Vec<(String, u16)> = made
            .questions
            .iter()
            .filter_map(|(name, kind)| Some((name.clone(), number(kind)?)))
            .collect();
        ensure!(!questions.is_empty(), "an Internet without questions");
        let lab = Lab::up(PREFIX, LabOptions::default())?;
        let customers = Polling::divide(&lab, Side::Customers, serving, asking)?;
        Polling::divide(&lab, Side::Internet, serving, asking)?;
        let internet = Arc::new(made.internet);
        let upstream = PrivateInternet::start(&lab, SERVERS, Arc::clone(&internet), Some(asking))?;
        Ok(Self {
            lab,
            serving,
            asking,
            customers,
            internet,
            upstream,
            questions,
            _division: division,
        })
    }

    /// Asks each of the questions once, at a rate, and waits for the last answer.
    pub(super) fn ask_once(
        &self,
        address: IpAddr,
        questions: &[(String, u16)],
        rate: u32,
        patience: Duration,
    ) -> Result<Outcome> {
        let load = Load::once(questions);
        Steady::once(self.lab.customers(), load, self.clients(address, rate, patience))
    }

    /// Clients of all customers' addresses that ask at a rate.
    pub(super) fn clients(&self, address: IpAddr, rate: u32, patience: Duration) -> Options {
        Options {
            sources: self.lab.customer_hosts(Family::V4),
            target: SocketAddr::new(address, 53),
            rate,
            patience,
            core: self.asking,
        }
    }

    /// Fills a cache with the answers to all of these, and makes sure of it.
    pub(super) fn warm(&self, address: IpAddr, questions: &[(String, u16)]) -> Result<()> {
        let mut last = Outcome::default();
        // The first time at a rate that every contender's recursion keeps up with.
        for rate in [800, 2_000, 2_000, 2_000] {
            last = self.ask_once(address, questions, rate, Duration::from_secs(5))?;
            if last.answers() == last.sent && last.quantile(0.95) < 5.0 {
                break;
            }
        }
        let failed = last.codes.get(2).copied().unwrap_or_default();
        let bad = last.lost + last.wrong + failed;
        ensure!(
            bad * 100 <= last.sent,
            "{address} does not answer what it has been asked before: of {} queries {} were lost, {} answered \
             wrongly, {failed} SERVFAIL",
            last.sent,
            last.lost,
            last.wrong
        );
        Ok(())
    }
}

/// The same Internet in every run.
const SEED: u64 = 20_260_101;

/// Types of the private Internet's questions (RFC 1035 section 3.2.2, RFC 3596, RFC 2782).
fn number(kind: &str) -> Option<u16> {
    Some(match kind {
        "A" => 1,
        "NS" => 2,
        "CNAME" => 5,
        "SOA" => 6,
        "PTR" => 12,
        "MX" => 15,
        "TXT" => 16,
        "AAAA" => 28,
        "SRV" => 33,
        _ => return None,
    })
}

/// A small Internet whose records live for a few seconds, delegations and keys included, so that one needn't
/// wait long until all that was cached is stale.
pub(super) fn ephemeral(zones: usize, ttl: u32) -> Result<(Internet, Vec<(String, u16)>)> {
    use std::fmt::Write as _;

    let mut text = format!(
        "zone . signed split sibling-glue ttl={ttl}\nzone com signed split sibling-glue ttl={ttl}\nzone net signed ttl={ttl}\n"
    );
    let mut served = Vec::new();
    let mut questions = Vec::new();
    for number in 0..zones {
        let name = format!("brief{number}.com");
        let signed = if number % 2 == 0 { "signed " } else { "" };
        let _ = write!(
            text,
            "zone {name} {signed}ttl={ttl}\n  www A 5.1.{}.{}\n",
            number >> 8 & 255,
            number & 255
        );
        questions.push((format!("www.{name}"), 1));
        served.push(name);
    }
    let (one, other) = served.split_at(served.len() / 2);
    let _ = write!(
        text,
        "server a.root.net 10.54.0.1 serves .\n  delay 5ms\n\
         server b.root.net 10.54.0.2 serves .\n  delay 10ms\n\
         server a.net-servers.net 10.54.1.3 serves net\n  delay 10ms\n\
         server a.com-servers.net 10.54.1.1 serves com\n  delay 10ms\n\
         server b.com-servers.net 10.54.1.2 serves com\n  delay 20ms\n\
         server a.hosts.net 10.54.2.1 serves {}\n  delay 20ms\n\
         server b.hosts.net 10.54.2.2 serves {}\n  delay 40ms\n",
        one.join(", "),
        other.join(", ")
    );
    Ok((Plan::parse(&text)?.build()?, questions))
}
