//! Legitimate users of the lab's three services, and how they fare.

use std::net::SocketAddr;

use anyhow::Result;
use muralla_lab::clients::{Client, ClientHandle, ClientOptions, Kind, Totals};
use muralla_lab::histogram::Histogram;
use muralla_lab::{Family, Lab, Side};

/// What legitimate users ask for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Service {
    Dns,
    Radius,
    Smtp,
}

impl Service {
    pub(crate) const ALL: [Self; 3] = [Self::Dns, Self::Radius, Self::Smtp];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Radius => "radius",
            Self::Smtp => "smtp",
        }
    }

    /// Transactions a second.
    pub(crate) const fn rate(self) -> u32 {
        match self {
            Self::Dns => 200,
            Self::Radius => 50,
            Self::Smtp => 10,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Dns => Kind::dns(),
            Self::Radius => Kind::radius(),
            Self::Smtp => Kind::smtp(),
        }
    }

    fn options(self, lab: &Lab) -> (Side, ClientOptions) {
        let (side, hosts) = match self {
            Self::Dns => (Side::Customers, lab.customer_hosts(Family::V4)),
            Self::Radius => (Side::Customers, lab.nas_hosts(Family::V4)),
            Self::Smtp => (Side::Internet, lab.internet_hosts(Family::V4)),
        };
        let target = SocketAddr::new(lab.service(Family::V4), self.kind().port());
        (side, ClientOptions::new(hosts, target, self.rate()))
    }

    /// Its users alone.
    pub(crate) fn start(self, lab: &Lab) -> Result<ClientHandle> {
        let (side, options) = self.options(lab);
        Client::start(lab.side(side).0, self.kind(), options)
    }

    /// One transaction.
    pub(crate) fn once(self, lab: &Lab) -> Result<()> {
        let (side, options) = self.options(lab);
        Client::once(lab.side(side).0, self.kind(), options).map(drop)
    }
}

/// Users of all services.
pub(crate) struct Traffic([ClientHandle; 3]);

impl Traffic {
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        Ok(Self([Service::Dns.start(lab)?, Service::Radius.start(lab)?, Service::Smtp.start(lab)?]))
    }

    /// What happened to each service's users since the last call.
    pub(crate) fn interval(&self) -> [Experience; 3] {
        self.0.each_ref().map(|client| client.interval().into())
    }

    /// Waits for what is under way, and tells everything.
    pub(crate) fn stop(self) -> [Experience; 3] {
        self.0.map(|client| client.stop().into())
    }
}

/// How users of a service fared in some span of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Experience {
    pub(crate) ok: u64,
    pub(crate) failed: u64,
    latencies: Histogram,
    pub(crate) last_failure: Option<String>,
}

impl From<Totals> for Experience {
    fn from(totals: Totals) -> Self {
        Self {
            ok: totals.snapshot.ok,
            failed: totals.snapshot.failed,
            latencies: totals.latencies,
            last_failure: totals.snapshot.last_failure,
        }
    }
}

impl Experience {
    pub(crate) fn add(&mut self, more: &Self) {
        self.ok += more.ok;
        self.failed += more.failed;
        self.latencies.merge(&more.latencies);
        if more.last_failure.is_some() {
            self.last_failure.clone_from(&more.last_failure);
        }
    }

    pub(crate) fn ended(&self) -> u64 {
        self.ok + self.failed
    }

    /// Share of the ended transactions that succeeded, from 0 to 1; none if none ended.
    pub(crate) fn success(&self) -> Option<f64> {
        (self.ended() > 0).then(|| self.ok as f64 / self.ended() as f64)
    }

    /// Latency in milliseconds that this share of the successes stayed within; none without one.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        (self.ok > 0).then(|| self.latencies.quantile(share) as f64 / 1e3)
    }
}
