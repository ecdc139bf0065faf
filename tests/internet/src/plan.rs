//! Zones and servers as they are written, and how an Internet is made of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::authority::Authority;
use crate::internet::Internet;
use crate::keys::Keys;
use crate::message::target;
use crate::misbehaviour::{Fault, Misbehaviour};
use crate::name::DomainName;
use crate::record::{A, AAAA, DS, NS, Record};
use crate::zone::Zone;

/// Zones and servers.
///
/// As text, each begins with an unindented line and goes on with indented ones; `#` begins a comment line:
///
/// ```text
/// zone example.test signed          (more words: Zone::from_heading)
///   www A 192.0.2.1
/// server ns.example.test 10.0.0.1 serves example.test, other.test
///   delay 30ms                      (more words: Fault::parse)
/// ```
///
/// Delegations, glue, DS records and addresses of hosts are not written: they follow from who serves what. What is
/// written all the same is taken as written.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// All zones; the root is one of them.
    pub zones: Vec<Zone>,
    /// All servers.
    pub servers: Vec<Server>,
}

/// A name server's host.
#[derive(Clone, Debug)]
pub struct Server {
    /// Its name, which NS records name.
    pub host: DomainName,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The zones that it serves, by name.
    pub zones: Vec<DomainName>,
    /// How late it answers.
    pub delay: Duration,
    /// What it does wrong.
    pub faults: Vec<Fault>,
}

/// What the last heading of a plan's text began.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Last {
    /// There was none.
    #[default]
    Nothing,
    /// A zone: records follow.
    Zone,
    /// A server: misbehaviours follow.
    Server,
}

/// How late a server answers that says nothing of it.
const DELAY: Duration = Duration::from_millis(10);

impl Plan {
    /// A plan out of its text. The error names the line.
    pub fn parse(text: &str) -> Result<Self> {
        let mut plan = Self::default();
        let mut last = Last::Nothing;
        for (number, line) in text.lines().enumerate() {
            plan.read(line, &mut last).with_context(|| format!("line {}", number + 1))?;
        }
        Ok(plan)
    }

    /// Takes one line. An indented one belongs to what `last` says, a heading changes it.
    pub fn read(&mut self, line: &str, last: &mut Last) -> Result<()> {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            return Ok(());
        }
        if line.starts_with([' ', '\t']) {
            match last {
                Last::Zone => {
                    self.zones.last_mut().context("no zone")?.record(content).map(drop)?
                }
                Last::Server => self.servers.last_mut().context("no server")?.misbehave(content)?,
                Last::Nothing => bail!("an indented line belongs to a zone or a server"),
            }
            return Ok(());
        }
        match content.split_once(' ') {
            Some(("zone", heading)) => {
                self.zones.push(Zone::from_heading(heading)?);
                *last = Last::Zone;
            }
            Some(("server", heading)) => {
                self.servers.push(Server::from_heading(heading)?);
                *last = Last::Server;
            }
            _ => bail!("neither zone nor server: {content:?}"),
        }
        Ok(())
    }

    /// The zone of this name.
    pub fn zone_mut(&mut self, origin: &DomainName) -> Option<&mut Zone> {
        self.zones.iter_mut().find(|z| z.origin == *origin)
    }

    /// The server with this host name or address.
    pub fn server_mut(&mut self, host: &str) -> Option<&mut Server> {
        let name = DomainName::absolute(host).ok();
        let address: Option<IpAddr> = host.parse().ok();
        self.servers.iter_mut().find(|s| {
            name.as_ref().is_some_and(|n| s.host == *n)
                || address.is_some_and(|a| s.addresses.contains(&a))
        })
    }

    /// Builds the Internet.
    ///
    /// # Errors
    /// A server serves a zone that is not there, or a zone is there twice.
    pub fn build(&self) -> Result<Internet> {
        let mut zones: HashMap<&DomainName, &Zone> = HashMap::new();
        for zone in &self.zones {
            ensure!(zones.insert(&zone.origin, zone).is_none(), "zone {} twice", zone.origin);
        }
        let mut hosts: HashMap<&DomainName, Vec<Record>> = HashMap::new();
        let mut served_by: HashMap<&DomainName, Vec<&DomainName>> = HashMap::new();
        for server in &self.servers {
            let records = server.addresses.iter().map(|&ip| address_record(&server.host, ip));
            hosts.entry(&server.host).or_default().extend(records);
            for zone in &server.zones {
                ensure!(zones.contains_key(zone), "{} serves no {zone}", server.host);
                served_by.entry(zone).or_default().push(&server.host);
            }
        }
        let zone_of = |name: &DomainName| {
            name.ancestors().find_map(|n| zones.get_key_value(&n).map(|(origin, _)| *origin))
        };
        let mut added: HashMap<&DomainName, Vec<Record>> = HashMap::new();
        let lacks = |zone: &Zone, owner: &DomainName, rtypes: &[u16]| {
            !zone.records.iter().any(|r| r.owner == *owner && rtypes.contains(&r.rtype))
        };
        for (&host, records) in &hosts {
            if let Some((origin, zone)) = zone_of(host).and_then(|o| zones.get_key_value(o))
                && lacks(zone, host, &[A, AAAA])
            {
                added.entry(origin).or_default().extend(records.iter().cloned());
            }
        }
        for zone in &self.zones {
            let mut servers: Vec<Record> = zone.name_servers().cloned().collect();
            if servers.is_empty() {
                let hosts = served_by.get(&zone.origin).into_iter().flatten();
                servers.extend(hosts.map(|host| ns_record(&zone.origin, host)));
                added.entry(&zone.origin).or_default().extend(servers.iter().cloned());
            }
            let parent = zone.origin.parent().and_then(|p| zone_of(&p));
            let Some(parent) = parent.and_then(|p| zones.get(p)).filter(|_| !zone.undelegated)
            else {
                continue;
            };
            let to_parent = added.entry(&parent.origin).or_default();
            if lacks(parent, &zone.origin, &[NS]) {
                to_parent.extend(servers.iter().cloned());
            } else {
                let at_cut = |r: &&Record| r.rtype == NS && r.owner == zone.origin;
                servers = parent.records.iter().filter(at_cut).cloned().collect();
            }
            for host in servers.iter().filter_map(|r| target(NS, &r.rdata)) {
                let glue = zone_of(&host) != Some(&parent.origin) && host.is_within(&parent.origin);
                if !glue || !lacks(parent, &host, &[A, AAAA]) {
                    continue;
                }
                let own =
                    zone.records.iter().filter(|r| r.owner == host && matches!(r.rtype, A | AAAA));
                let own: Vec<Record> = own.cloned().collect();
                match hosts.get(&host) {
                    Some(records) if own.is_empty() => to_parent.extend(records.iter().cloned()),
                    _ => to_parent.extend(own),
                }
            }
            if let (Some(signing), Some(_)) = (&zone.signing, &parent.signing)
                && lacks(parent, &zone.origin, &[DS])
            {
                let ds = Keys::new(&zone.origin, signing)?.ds(&signing.delegation);
                let owner = &zone.origin;
                to_parent.extend(ds.into_iter().map(|rdata| Record {
                    owner: owner.clone(),
                    ttl: None,
                    rtype: DS,
                    rdata,
                }));
            }
        }
        let mut authorities = HashMap::new();
        for zone in &self.zones {
            let added = added.get(&zone.origin).map_or(&[][..], Vec::as_slice);
            authorities.insert(zone.origin.clone(), Authority::new(zone, added)?);
        }
        let root = zones.get(&DomainName::root()).and_then(|z| z.signing.as_ref());
        let anchors = match root {
            Some(signing) => Keys::new(&DomainName::root(), signing)?.ds(&signing.delegation),
            None => Vec::new(),
        };
        Ok(Internet::new(authorities, &self.servers, anchors))
    }
}

impl Server {
    /// `HOST ADDRESS... serves ZONE, ZONE`.
    pub fn from_heading(heading: &str) -> Result<Self> {
        let (who, what) = heading.split_once(" serves ").context("server without \"serves\"")?;
        let mut who = who.split_whitespace();
        let host = DomainName::absolute(who.next().context("server without a name")?)?;
        let addresses: Vec<IpAddr> = who
            .map(|a| a.parse().with_context(|| format!("address {a:?}")))
            .collect::<Result<_>>()?;
        ensure!(!addresses.is_empty(), "server without an address");
        let zones =
            what.split(',').map(|z| DomainName::absolute(z.trim())).collect::<Result<_>>()?;
        Ok(Self { host, addresses, zones, delay: DELAY, faults: Vec::new() })
    }

    /// Adds a misbehaviour from its line.
    pub fn misbehave(&mut self, line: &str) -> Result<()> {
        let fault = Fault::parse(line)?;
        match fault.misbehaviour {
            Misbehaviour::Delay(delay) => self.delay = delay,
            _ => self.faults.push(fault),
        }
        Ok(())
    }
}

fn address_record(host: &DomainName, address: IpAddr) -> Record {
    let (rtype, rdata) = match address {
        IpAddr::V4(ip) => (A, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AAAA, ip.octets().to_vec()),
    };
    Record { owner: host.clone(), ttl: None, rtype, rdata }
}

fn ns_record(zone: &DomainName, host: &DomainName) -> Record {
    Record { owner: zone.clone(), ttl: None, rtype: NS, rdata: host.as_wire().to_vec() }
}
