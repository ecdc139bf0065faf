//! The function `check_host` of RFC 7208 section 4.

use std::net::IpAddr;

use futures_util::future::{BoxFuture, FutureExt};
use ipnet::{Ipv4Net, Ipv6Net};

use super::macros::{Facts, Text};
use super::record::{self, Mechanism, Prefixes};
use crate::contain::contained;
use crate::names::{Answer, Inquiry, is_name, is_within};
use crate::outcome::Outcome;

/// Terms that ask the DNS, in all records together: section 4.6.4.
const MOST_TERMS: u32 = 10;

/// Questions that lead nowhere: section 4.6.4.
const MOST_VOID: u32 = 2;

/// Hosts of a name, and names of an address: section 4.6.4.
const MOST_HOSTS: usize = 10;

/// How it ends, and why.
pub(super) async fn check(
    inquiry: &Inquiry<'_>,
    ip: IpAddr,
    helo: &str,
    local: &str,
    domain: &str,
) -> (Outcome, String) {
    let mut check = Check {
        inquiry,
        ip: ip.to_canonical(),
        helo,
        local,
        sender_domain: domain,
        terms: 0,
        void: 0,
        validated: None,
    };
    match check.host(domain.to_owned()).await {
        Ok(outcome) => {
            let reason = match outcome {
                Outcome::Fail => format!("{domain} does not let {} send its mail", check.ip),
                Outcome::SoftFail => {
                    format!("{domain} does not expect {} to send its mail", check.ip)
                }
                _ => String::new(),
            };
            (outcome, reason)
        }
        Err(Stop { outcome, reason }) => (outcome, reason),
    }
}

/// An end of it all, however deep in records of others it came.
struct Stop {
    outcome: Outcome,
    reason: String,
}

struct Check<'a> {
    inquiry: &'a Inquiry<'a>,
    ip: IpAddr,
    helo: &'a str,
    local: &'a str,
    sender_domain: &'a str,
    terms: u32,
    void: u32,
    /// Names of the address that have this address, once somebody wanted to know.
    validated: Option<Vec<String>>,
}

impl Check<'_> {
    fn host(&mut self, domain: String) -> BoxFuture<'_, Result<Outcome, Stop>> {
        async move {
            // Section 4.3. A single label is no domain that has mail.
            if !is_name(&domain) || !domain.contains('.') {
                return Ok(Outcome::None);
            }
            let records = match self.inquiry.txt(&domain).await {
                Answer::Records(records) => records,
                Answer::Empty | Answer::NoName => return Ok(Outcome::None),
                Answer::Failed => return Err(self.unknown(&domain)),
            };
            let mut ours = records.iter().filter(|record| record::is_one(record));
            let (record, second) = (ours.next(), ours.next());
            let Some(record) = record else { return Ok(Outcome::None) };
            if second.is_some() {
                return Err(broken(format!("{domain} has several SPF records")));
            }
            let record = contained(|| record::parse(record))
                .ok_or_else(|| broken(format!("the SPF record of {domain} can't be read")))?
                .map_err(|term| {
                    broken(format!("the SPF record of {domain} is wrong at {}", term.0))
                })?;
            for directive in &record.directives {
                if self.matches(&directive.mechanism, &domain).await? {
                    return Ok(directive.outcome);
                }
            }
            let Some(target) = &record.redirect else { return Ok(Outcome::Neutral) };
            self.count(&domain)?;
            let target = self.expand(target, &domain).await;
            match self.host(target).await? {
                Outcome::None => Err(broken(format!("{domain} refers to a domain without SPF"))),
                outcome => Ok(outcome),
            }
        }
        .boxed()
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        match (mechanism, self.ip) {
            (Mechanism::All, _) => Ok(true),
            (Mechanism::Ip4(network), IpAddr::V4(ip)) => Ok(network.contains(&ip)),
            (Mechanism::Ip6(network), IpAddr::V6(ip)) => Ok(network.contains(&ip)),
            (Mechanism::Ip4(_) | Mechanism::Ip6(_), _) => Ok(false),
            (Mechanism::Include(target), _) => {
                self.count(domain)?;
                let target = self.expand(target, domain).await;
                match self.host(target).await? {
                    Outcome::Pass => Ok(true),
                    Outcome::None => Err(broken(format!("{domain} includes a domain without SPF"))),
                    _ => Ok(false),
                }
            }
            (Mechanism::A(host, prefixes), _) => {
                self.count(domain)?;
                let host = self.target(host.as_ref(), domain).await;
                self.has_address(&host, *prefixes, true).await
            }
            (Mechanism::Mx(host, prefixes), _) => {
                self.count(domain)?;
                let host = self.target(host.as_ref(), domain).await;
                self.has_exchange(&host, *prefixes).await
            }
            (Mechanism::Exists(target), _) => {
                self.count(domain)?;
                let host = self.expand(target, domain).await;
                // Of IPv4, whatever the client has: section 5.7.
                match self.inquiry.a(&host).await {
                    Answer::Records(_) => Ok(true),
                    Answer::Empty | Answer::NoName => self.nothing(&host).map(|()| false),
                    Answer::Failed => Err(self.unknown(&host)),
                }
            }
            (Mechanism::Ptr(target), _) => {
                self.count(domain)?;
                let target = self.target(target.as_ref(), domain).await;
                let names = self.validated().await;
                Ok(names.iter().any(|name| is_within(name, &target)))
            }
        }
    }

    /// Whether the host has the client's address. `counted` is whether it counts where it has none.
    async fn has_address(
        &mut self,
        host: &str,
        prefixes: Prefixes,
        counted: bool,
    ) -> Result<bool, Stop> {
        let (found, nothing) = match self.ip {
            IpAddr::V4(ip) => match self.inquiry.a(host).await {
                Answer::Records(hosts) => {
                    let network = Ipv4Net::new(ip, prefixes.v4).map(|network| network.trunc());
                    (
                        network.is_ok_and(|network| hosts.iter().any(|one| network.contains(one))),
                        false,
                    )
                }
                Answer::Empty | Answer::NoName => (false, true),
                Answer::Failed => return Err(self.unknown(host)),
            },
            IpAddr::V6(ip) => match self.inquiry.aaaa(host).await {
                Answer::Records(hosts) => {
                    let network = Ipv6Net::new(ip, prefixes.v6).map(|network| network.trunc());
                    (
                        network.is_ok_and(|network| hosts.iter().any(|one| network.contains(one))),
                        false,
                    )
                }
                // A host that has IPv4 alone is no sign of a record that leads nowhere: it would fail by the client's
                // network what passes by another.
                Answer::Empty => (false, false),
                Answer::NoName => (false, true),
                Answer::Failed => return Err(self.unknown(host)),
            },
        };
        if nothing && counted {
            self.nothing(host)?;
        }
        Ok(found)
    }

    async fn has_exchange(&mut self, host: &str, prefixes: Prefixes) -> Result<bool, Stop> {
        let exchanges = match self.inquiry.mx(host).await {
            Answer::Records(exchanges) => exchanges,
            Answer::Empty | Answer::NoName => return self.nothing(host).map(|()| false),
            Answer::Failed => return Err(self.unknown(host)),
        };
        if exchanges.len() > MOST_HOSTS {
            return Err(broken(format!("{host} has more than {MOST_HOSTS} mail servers")));
        }
        for exchange in exchanges.iter().filter(|exchange| !exchange.host.is_empty()) {
            if self.has_address(&exchange.host, prefixes, false).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Section 5.5: errors are no errors here.
    async fn validated(&mut self) -> Vec<String> {
        if let Some(names) = &self.validated {
            return names.clone();
        }
        let mut validated = Vec::new();
        let every = Prefixes { v4: 32, v6: 128 };
        let names = self.inquiry.ptr(self.ip).await;
        for name in names.records().iter().take(MOST_HOSTS) {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            if matches!(self.has_address(&name, every, false).await, Ok(true)) {
                validated.push(name);
            }
        }
        self.validated.insert(validated).clone()
    }

    async fn target(&mut self, text: Option<&Text>, domain: &str) -> String {
        match text {
            Some(text) => self.expand(text, domain).await,
            None => domain.to_owned(),
        }
    }

    async fn expand(&mut self, text: &Text, domain: &str) -> String {
        let name = if text.needs_name() { self.name(domain).await } else { String::new() };
        text.expand(Facts {
            local: self.local,
            sender_domain: self.sender_domain,
            domain,
            ip: self.ip,
            helo: self.helo,
            validated: &name,
        })
    }

    /// What `%{p}` is: the domain itself before what lies below it before any other (section 7.3).
    async fn name(&mut self, domain: &str) -> String {
        let names = self.validated().await;
        let itself = names.iter().find(|name| name.eq_ignore_ascii_case(domain));
        let found = itself.or_else(|| names.iter().find(|name| is_within(name, domain)));
        found.or(names.first()).cloned().unwrap_or_else(|| "unknown".to_owned())
    }

    fn count(&mut self, domain: &str) -> Result<(), Stop> {
        self.terms += 1;
        if self.terms > MOST_TERMS {
            return Err(broken(format!(
                "the SPF record of {domain} needs more than {MOST_TERMS} look-ups"
            )));
        }
        Ok(())
    }

    fn nothing(&mut self, host: &str) -> Result<(), Stop> {
        self.void += 1;
        if self.void > MOST_VOID {
            return Err(broken(format!(
                "more than {MOST_VOID} names in SPF records are not there, such as {host}"
            )));
        }
        Ok(())
    }

    fn unknown(&self, host: &str) -> Stop {
        let reason = format!("{host} could not be looked up: {}", self.inquiry.excuse());
        Stop { outcome: Outcome::TempError, reason }
    }
}

fn broken(reason: String) -> Stop {
    Stop { outcome: Outcome::PermError, reason }
}
