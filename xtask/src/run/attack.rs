//! Floods by the name that a person gives them.

use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use muralla_lab::flood::{Attack as Kind, Flood, FloodOptions, Sources};
use muralla_lab::topology::{CUSTOMERS_V4, Family};
use muralla_lab::{Lab, Side};

/// What is flooded.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Attack {
    /// Random names, from 100,000 addresses of the Internet and from all over the customers' prefix
    Dns,
    /// Forged Access-Requests from 100,000 addresses
    Radius,
    /// SYNs to port 25 from 100,000 addresses
    Smtp,
    /// All of these at once, and packets that contradict themselves
    All,
}

impl Attack {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Radius => "radius",
            Self::Smtp => "smtp",
            Self::All => "all",
        }
    }

    fn floods(self) -> Result<Vec<(Side, Kind, Sources)>> {
        let anywhere = Sources::Anywhere { family: Family::V4, count: 100_000 };
        let dns = [
            (Side::Internet, Kind::DnsRandom, anywhere),
            (Side::Customers, Kind::DnsRandom, Sources::within(CUSTOMERS_V4, 60_000)?),
        ];
        let radius = (Side::Internet, Kind::RadiusJunk, anywhere);
        let smtp = (Side::Internet, Kind::SmtpSyn, anywhere);
        let malformed = (Side::Internet, Kind::Malformed, anywhere);
        Ok(match self {
            Self::Dns => dns.to_vec(),
            Self::Radius => vec![radius],
            Self::Smtp => vec![smtp],
            Self::All => dns.into_iter().chain([radius, smtp, malformed]).collect(),
        })
    }

    /// Starts it on one core, as fast as that goes.
    pub(crate) fn start(self, lab: &Lab, cpu: usize) -> Result<Floods> {
        Floods::start(lab, cpu, &self.floods()?)
    }
}

/// Floods that share a core.
pub(crate) struct Floods(Vec<Flood>);

impl Floods {
    /// Starts a flood for each row, against the services' IPv4 address.
    pub(crate) fn start(lab: &Lab, cpu: usize, rows: &[(Side, Kind, Sources)]) -> Result<Self> {
        rows.iter()
            .map(|&(side, attack, sources)| {
                lab.flood(
                    side,
                    FloodOptions {
                        attack,
                        sources,
                        target: lab.service(sources.family()),
                        rate_per_second: 0,
                        cpu: Some(cpu),
                        max_duration: Duration::from_secs(86_400),
                    },
                )
            })
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Packets that left so far.
    pub(crate) fn sent(&self) -> u64 {
        self.0.iter().map(Flood::sent).sum()
    }
}
