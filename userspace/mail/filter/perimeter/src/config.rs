//! What the operator decides, whatever the way.

use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::budget::{Budget, Share};
use crate::counts::{Counts, Status};
use crate::door::Door;
use crate::judge::{Judge, Lost, judged};
use crate::policy::Policy;
use crate::question::Question;
use crate::verdict::Verdict;

/// What holds for each way.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is done with a verdict.
    pub policy: Policy,
    /// From where connections are taken. Whoever is in here is believed about who sends a message.
    pub trusted: Vec<IpNet>,
    /// Connections at once.
    pub connections: usize,
    /// Octets of messages in memory, of all connections.
    pub memory: usize,
    /// Octets of a message that are looked at. A milter or HTTP client that sends more has the rest of it passed over; the
    /// proxies refuse more.
    pub largest_message: usize,
    /// Recipients of a message.
    pub recipients: usize,
    /// Longest that a judgement may take.
    pub patience: Duration,
    /// Longest that somebody may say nothing.
    pub idle: Duration,
    /// Longest that somebody may take to read what he is told.
    pub write: Duration,
    /// Longest that memory is waited for.
    pub room: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            trusted: loopback(),
            connections: 500,
            memory: 256 << 20,
            largest_message: 35 << 20,
            recipients: 1000,
            patience: Duration::from_secs(30),
            // A mail system keeps its connection while its client keeps his: five minutes for a command (RFC 5321 section
            // 4.5.3.2), and many of them.
            idle: Duration::from_secs(2 * 60 * 60),
            write: Duration::from_secs(60),
            room: Duration::from_secs(20),
        }
    }
}

/// This machine.
#[must_use]
pub fn loopback() -> Vec<IpNet> {
    let four = Ipv4Net::new([127, 0, 0, 0].into(), 8).map(IpNet::V4);
    let six = Ipv6Net::new(std::net::Ipv6Addr::LOCALHOST, 128).map(IpNet::V6);
    four.into_iter().chain(six).collect()
}

/// What each way has of these.
pub(crate) struct Rim {
    pub(crate) config: Config,
    pub(crate) judge: Arc<dyn Judge>,
    pub(crate) door: Door,
    pub(crate) counts: Counts,
    budget: Budget,
}

impl Rim {
    pub(crate) fn new(config: Config, judge: Arc<dyn Judge>) -> Self {
        Self {
            door: Door::new(config.trusted.clone(), config.connections),
            budget: Budget::new(config.memory),
            counts: Counts::default(),
            judge,
            config,
        }
    }

    pub(crate) async fn judged(&self, question: &Question) -> (Verdict, Option<Lost>) {
        judged(&*self.judge, question, self.config.patience).await
    }

    pub(crate) fn share(&self) -> Share {
        self.budget.share(self.config.room)
    }

    pub(crate) fn status(&self) -> Status {
        self.counts.status(self.door.open(), self.budget.used())
    }
}
