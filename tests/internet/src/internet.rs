//! All servers, and what they answer.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::authority::Authority;
use crate::keys::Flaw;
use crate::message::{FORMERR, NOERROR, NXDOMAIN, Question, REFUSED, Response, Unreadable};
use crate::misbehaviour::{Fault, Misbehaviour, Section, Spoof};
use crate::name::DomainName;
use crate::plan::Server;
use crate::record::{
    A, CNAME, DNSKEY, DS, NS, NSEC, NSEC3, Placed, RRSIG, Record, RrSet, SOA, TXT, to_hex,
};

/// How a query travels.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Protocol {
    /// One datagram each way.
    Udp,
    /// A connection.
    Tcp,
}

/// A message that a server sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Time from the query's arrival.
    pub after: Duration,
    /// The message.
    pub bytes: Vec<u8>,
}

/// All servers.
pub struct Internet {
    servers: HashMap<IpAddr, Arc<Host>>,
    root_servers: Vec<(DomainName, IpAddr)>,
    anchors: Vec<Vec<u8>>,
    asked: AtomicU64,
}

/// One server.
struct Host {
    name: DomainName,
    zones: HashMap<DomainName, Arc<Authority>>,
    delay: Duration,
    faults: Vec<Fault>,
    silent: AtomicBool,
}

/// What forged A records hold.
const FORGED: [u8; 4] = [6, 6, 6, 6];
/// How long a ghost wants to be remembered, seconds.
const GHOST_TTL: u32 = 7 * 86_400;

impl Internet {
    pub(crate) fn new(
        authorities: HashMap<DomainName, Authority>,
        servers: &[Server],
        anchors: Vec<Vec<u8>>,
    ) -> Self {
        let authorities: HashMap<_, _> =
            authorities.into_iter().map(|(name, zone)| (name, Arc::new(zone))).collect();
        let mut root_servers = Vec::new();
        let mut by_address = HashMap::new();
        for server in servers {
            let served = server.zones.iter();
            let zones: HashMap<_, _> = served
                .filter_map(|name| Some((name.clone(), authorities.get(name)?.clone())))
                .collect();
            if zones.contains_key(&DomainName::root()) {
                root_servers.extend(server.addresses.iter().map(|&ip| (server.host.clone(), ip)));
            }
            let host = Arc::new(Host {
                name: server.host.clone(),
                zones,
                delay: server.delay,
                faults: server.faults.clone(),
                silent: AtomicBool::new(false),
            });
            by_address.extend(server.addresses.iter().map(|&ip| (ip, host.clone())));
        }
        Self { servers: by_address, root_servers, anchors, asked: AtomicU64::new(0) }
    }

    /// What the server at an address sends for a query, and when, forgeries of others first; nothing is silence.
    /// Signatures are valid around `now`, Unix time in seconds. The port doesn't matter.
    pub fn answer(
        &self,
        server: SocketAddr,
        protocol: Protocol,
        query: &[u8],
        now: u32,
    ) -> Vec<Reply> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let Some(host) = self.servers.get(&server.ip()) else { return Vec::new() };
        if host.silent.load(Ordering::Relaxed) {
            return Vec::new();
        }
        match Question::parse(query) {
            Ok(question) => host.answer(&question, protocol, now),
            Err(Unreadable::Ignored) => Vec::new(),
            Err(Unreadable::Answered(bytes)) => vec![Reply { after: host.delay, bytes }],
        }
    }

    /// Whether the server at an address takes connections.
    pub fn accepts_tcp(&self, server: SocketAddr) -> bool {
        let refuses = |f: &Fault| matches!(f.misbehaviour, Misbehaviour::TcpRefused);
        self.servers.get(&server.ip()).is_some_and(|host| !host.faults.iter().any(refuses))
    }

    /// Makes the server at an address fall silent, or talk again. Says whether there is one.
    pub fn silence(&self, server: IpAddr, silent: bool) -> bool {
        let host = self.servers.get(&server);
        host.inspect(|host| host.silent.store(silent, Ordering::Relaxed)).is_some()
    }

    /// All addresses of servers, sorted.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut all: Vec<IpAddr> = self.servers.keys().copied().collect();
        all.sort();
        all
    }

    /// Names and addresses of the root servers.
    pub fn root_servers(&self) -> &[(DomainName, IpAddr)] {
        &self.root_servers
    }

    /// The root hints as a zone file.
    pub fn root_hints(&self) -> String {
        let mut text = String::new();
        for (host, address) in &self.root_servers {
            let rtype = if address.is_ipv4() { "A" } else { "AAAA" };
            text += &format!(". 3600000 IN NS {host}\n{host} 3600000 IN {rtype} {address}\n");
        }
        text
    }

    /// The root's DS records as in a zone file; none if it is not signed.
    pub fn trust_anchors(&self) -> Vec<String> {
        let line = |rdata: &Vec<u8>| {
            let ([tag_high, tag_low, algorithm, digest], hash) = rdata.split_first_chunk()?;
            let tag = u16::from_be_bytes([*tag_high, *tag_low]);
            Some(format!(". IN DS {tag} {algorithm} {digest} {}", to_hex(hash)))
        };
        self.anchors.iter().filter_map(line).collect()
    }

    /// How many queries were asked so far.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Host {
    fn answer(&self, question: &Question, protocol: Protocol, now: u32) -> Vec<Reply> {
        let zone = self.zone_for(question);
        if self.faults.is_empty() {
            let bytes = match zone {
                Some(zone) => question.readdress(&zone.written(question, now)),
                None => question.readdress(&Response::failure(REFUSED).encode(question)),
            };
            return vec![Reply { after: self.delay, bytes: fit(bytes, question, protocol) }];
        }
        let shown: Vec<&Misbehaviour> = self
            .faults
            .iter()
            .filter(|f| f.applies(&question.name, question.rtype, protocol))
            .map(|f| &f.misbehaviour)
            .collect();
        let mut after = self.delay;
        for fault in &shown {
            let has_edns = question.edns.is_some();
            match fault {
                Misbehaviour::Dead => return Vec::new(),
                Misbehaviour::TcpRefused if protocol == Protocol::Tcp => return Vec::new(),
                Misbehaviour::DropsEdns if has_edns => return Vec::new(),
                Misbehaviour::TcpSlow(delay) if protocol == Protocol::Tcp => after = *delay,
                Misbehaviour::FormErrOnEdns if has_edns => {
                    let plain = question.without_edns();
                    let bytes = plain.readdress(&Response::failure(FORMERR).encode(&plain));
                    return vec![Reply { after, bytes }];
                }
                Misbehaviour::TruncateAlways if protocol == Protocol::Udp => {
                    return vec![Reply { after, bytes: question.truncated() }];
                }
                _ => {}
            }
        }
        let mut response = self.respond(question, zone, &shown, now);
        for fault in &shown {
            self.spoil(fault, &mut response, question, zone);
        }
        let right = fit(spoil_bytes(&response, question, &shown), question, protocol);
        let right = match shown.iter().find_map(|f| oversize(f)) {
            Some(_) => spoil_bytes(&response, question, &shown),
            None => right,
        };
        // Blind forgers don't know the numbers of a connection.
        let mut replies = match protocol {
            Protocol::Udp => forgeries(&response, question, &shown, after),
            Protocol::Tcp => Vec::new(),
        };
        replies.push(Reply { after, bytes: right });
        replies
    }

    /// The zone that answers: the deepest one, but the parent for DS where it is here too.
    fn zone_for(&self, question: &Question) -> Option<&Authority> {
        let deepest = |name: DomainName| name.ancestors().find_map(|n| self.zones.get(&n));
        let found = deepest(question.name.clone())?;
        if question.rtype == DS && *found.origin() == question.name {
            let parent = question.name.parent().and_then(deepest);
            return Some(parent.unwrap_or(found));
        }
        Some(found)
    }

    fn respond(
        &self,
        question: &Question,
        zone: Option<&Authority>,
        shown: &[&Misbehaviour],
        now: u32,
    ) -> Response {
        for fault in shown {
            if let Some(response) = self.instead(fault, question, zone) {
                return response;
            }
        }
        let Some(zone) = zone else { return Response::failure(REFUSED) };
        let flaws = |name: &DomainName, rtype: u16| -> Vec<Flaw> {
            let about = self.faults.iter().filter(|f| f.covers(name, rtype));
            about
                .filter_map(|f| match &f.misbehaviour {
                    Misbehaviour::Flaw(flaw) => Some(flaw.clone()),
                    _ => None,
                })
                .collect()
        };
        let mut response = zone.look_up(&question.name, question.rtype);
        for placed in response.answer.iter_mut().filter(|p| p.rtype == DNSKEY) {
            if let Some(set) = zone.dnskey(&flaws(&placed.owner, DNSKEY)) {
                placed.set = set;
            }
        }
        zone.dress(&mut response, question, now, &flaws);
        response
    }

    /// Answers that have nothing to do with the zone's content.
    fn instead(
        &self,
        fault: &Misbehaviour,
        question: &Question,
        zone: Option<&Authority>,
    ) -> Option<Response> {
        let origin = zone.map_or_else(DomainName::root, |z| z.origin().clone());
        let name = &question.name;
        match fault {
            Misbehaviour::Failure(rcode) => {
                Some(Response { aa: *rcode == NXDOMAIN, ..Response::failure(*rcode) })
            }
            Misbehaviour::Empty => Some(Response { aa: true, ..Response::default() }),
            Misbehaviour::Lame => Some(Response {
                authority: vec![placed(&DomainName::root(), NS, self.name.as_wire().to_vec())],
                ..Response::default()
            }),
            Misbehaviour::SelfReferral => Some(Response {
                authority: vec![placed(&origin, NS, self.name.as_wire().to_vec())],
                ..Response::default()
            }),
            Misbehaviour::Nxns { count, victim } => {
                let tag = name.labels().fold(0_u32, |sum, label| {
                    label.iter().fold(sum, |s, &o| s.wrapping_mul(31).wrapping_add(o.into()))
                });
                let host = |n: u16| victim.child(format!("h{n}-{tag:x}").as_bytes());
                let hosts = (0..*count).filter_map(host).map(|h| h.as_wire().to_vec());
                let set = RrSet { ttl: 3_600, rdata: hosts.collect() };
                let mut below = name.clone();
                while below.label_count() > origin.label_count() + 1 {
                    below = below.parent()?;
                }
                // The zone itself is not given away, or there would be no way to the next question.
                (below != origin).then(|| Response {
                    authority: vec![Placed { set, ..placed(&below, NS, Vec::new()) }],
                    ..Response::default()
                })
            }
            Misbehaviour::CnameLoop if *name != origin => {
                let other = if name.as_wire().starts_with(b"\x02ll") { "lr" } else { "ll" };
                let to = origin.child(other.as_bytes())?;
                Some(alias(name, &to))
            }
            Misbehaviour::CnameChain(length) if *name != origin => {
                let number = name.labels().next().and_then(|label| {
                    std::str::from_utf8(label.strip_prefix(b"link")?).ok()?.parse::<u16>().ok()
                });
                let next = number.map_or(1, |n| n.saturating_add(1));
                (next <= *length).then_some(())?;
                Some(alias(name, &origin.child(format!("link{next}").as_bytes())?))
            }
            Misbehaviour::Lies(record) => Some(Response {
                aa: true,
                answer: vec![placed_record(record)],
                ..Response::default()
            }),
            Misbehaviour::DsWithoutDnskey if question.rtype == DNSKEY => {
                Some(Response { aa: true, ..Response::default() })
            }
            _ => None,
        }
    }

    /// What is done to an answer that was right.
    fn spoil(
        &self,
        fault: &Misbehaviour,
        response: &mut Response,
        question: &Question,
        zone: Option<&Authority>,
    ) {
        match fault {
            Misbehaviour::StrippedDenial => {
                let is_proof = |p: &Placed| {
                    let covered = p.set.rdata.first().and_then(|r| r.first_chunk::<2>());
                    let covered = covered.map_or(0, |b| u16::from_be_bytes(*b));
                    let proof = |t: u16| matches!(t, NSEC | NSEC3);
                    proof(p.rtype) || (p.rtype == RRSIG && proof(covered))
                };
                response.authority.retain(|p| !is_proof(p));
            }
            Misbehaviour::Poison { section, record } => {
                let section = match section {
                    Section::Answer => &mut response.answer,
                    Section::Authority => &mut response.authority,
                    Section::Additional => &mut response.additional,
                };
                section.push(placed_record(record));
            }
            Misbehaviour::Ghost => {
                if let Some(zone) = zone {
                    let mut servers = placed(zone.origin(), NS, self.name.as_wire().to_vec());
                    servers.set.ttl = GHOST_TTL;
                    response.authority.push(servers);
                    for (rtype, set) in zone.addresses(&self.name) {
                        let mut address = placed(&self.name, rtype, Vec::new());
                        address.set = RrSet { ttl: GHOST_TTL, rdata: set.rdata.clone() };
                        response.additional.push(address);
                    }
                }
            }
            Misbehaviour::NoDataForEnt => {
                let negative =
                    response.answer.is_empty() && response.authority.iter().any(|p| p.rtype == SOA);
                if negative && zone.is_some_and(|z| z.is_empty_non_terminal(&question.name)) {
                    response.rcode = NXDOMAIN;
                }
            }
            Misbehaviour::AaMissing => response.aa = false,
            Misbehaviour::Oversized(octets) => {
                let mut rdata = Vec::new();
                for at in (0..*octets).step_by(200) {
                    let length = (*octets - at).min(200);
                    let mut text = vec![length as u8];
                    text.resize(length + 1, b'x');
                    rdata.push([&text[..], &[4], &(at as u32).to_be_bytes()].concat());
                }
                let mut padding = placed(&question.name, TXT, Vec::new());
                padding.set.rdata = rdata;
                response.additional.push(padding);
            }
            _ => {}
        }
    }
}

fn oversize(fault: &Misbehaviour) -> Option<usize> {
    if let Misbehaviour::Oversized(octets) = fault { Some(*octets) } else { None }
}

/// The message or, over UDP and too large, the one that says so.
fn fit(bytes: Vec<u8>, question: &Question, protocol: Protocol) -> Vec<u8> {
    if protocol == Protocol::Udp && bytes.len() > question.limit() {
        return question.truncated();
    }
    bytes
}

/// Writes a response, and does to its octets what is to be done.
fn spoil_bytes(response: &Response, question: &Question, shown: &[&Misbehaviour]) -> Vec<u8> {
    let encoded = response.encode(question);
    let mut bytes = question.readdress(&encoded);
    let question_end = 12 + question.name.as_wire().len() + 4;
    let mut set = |at: usize, change: &dyn Fn(u8) -> u8| {
        if let Some(octet) = bytes.get_mut(at) {
            *octet = change(*octet);
        }
    };
    let has = |wanted: &dyn Fn(&Misbehaviour) -> bool| shown.iter().any(|f| wanted(f));
    if has(&|f| matches!(f, Misbehaviour::QrMissing)) {
        set(2, &|octet| octet & 0x7f);
    }
    if has(&|f| matches!(f, Misbehaviour::CaseFlattening)) {
        for at in 12..question_end - 4 {
            let lower = encoded.get(at).copied().unwrap_or(0);
            set(at, &|_| lower);
        }
    }
    if has(&|f| matches!(f, Misbehaviour::TwoQuestions)) {
        let again = bytes.get(12..question_end).unwrap_or(&[]).to_vec();
        if let Some(octet) = bytes.get_mut(5) {
            *octet = 2;
        }
        bytes.splice(question_end..question_end, again);
    }
    if has(&|f| matches!(f, Misbehaviour::Garbage)) {
        bytes.truncate(question_end);
        bytes.extend((0..60_u8).map(|n| n.wrapping_mul(197) ^ 0xa5));
        if let Some(octet) = bytes.get_mut(7) {
            *octet = 200;
        }
    }
    if has(&|f| matches!(f, Misbehaviour::PointerLoop)) {
        bytes.truncate(question_end);
        bytes.extend((0xc000 | question_end as u16).to_be_bytes());
        bytes.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 6, 6, 6, 6]);
        for (octet, value) in bytes.iter_mut().skip(4).zip([0, 1, 0, 1, 0, 0, 0, 0]) {
            *octet = value;
        }
    }
    bytes
}

/// Answers of somebody else that arrive before the right one.
fn forgeries(
    response: &Response,
    question: &Question,
    shown: &[&Misbehaviour],
    after: Duration,
) -> Vec<Reply> {
    let mut forged = response.clone();
    for placed in forged.answer.iter_mut().filter(|p| p.rtype == A) {
        placed.set.rdata = vec![FORGED.to_vec()];
    }
    let lower = forged.encode(question);
    let mut replies = Vec::new();
    for fault in shown {
        let Misbehaviour::Spoof { count, kind } = fault else { continue };
        for n in 1..=*count {
            let mut bytes = question.readdress(&lower);
            match kind {
                Spoof::Id => {
                    let wrong = question.id.wrapping_add(n);
                    for (octet, value) in bytes.iter_mut().zip(wrong.to_be_bytes()) {
                        *octet = value;
                    }
                }
                Spoof::Question => {
                    if let Some(octet) = bytes.get_mut(13) {
                        *octet = b'a' + (octet.to_ascii_lowercase().wrapping_sub(b'a') + 1) % 26;
                    }
                }
                // A letter of the other case than the question's; a name without letters can't be told apart.
                Spoof::Case => {
                    for octet in bytes.iter_mut().skip(12).take(question.name.as_wire().len()) {
                        if octet.is_ascii_alphabetic() {
                            *octet ^= 0x20;
                        }
                    }
                }
            }
            replies.push(Reply { after: after / 2, bytes });
        }
    }
    replies
}

fn placed(owner: &DomainName, rtype: u16, rdata: Vec<u8>) -> Placed {
    let set = RrSet { ttl: 3_600, rdata: vec![rdata] };
    Placed { owner: owner.clone(), source: owner.clone(), rtype, set, signed: false }
}

fn placed_record(record: &Record) -> Placed {
    let mut placed = placed(&record.owner, record.rtype, record.rdata.clone());
    placed.set.ttl = record.ttl.unwrap_or(3_600);
    placed
}

fn alias(from: &DomainName, to: &DomainName) -> Response {
    let answer = vec![placed(from, CNAME, to.as_wire().to_vec())];
    Response { aa: true, rcode: NOERROR, answer, ..Response::default() }
}
