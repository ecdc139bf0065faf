//! A zone that is served: lookup as RFC 1034 section 4.3.2, RFC 4035 section 3.1 and RFC 5155 section 7.2 have it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use anyhow::Result;
use parking_lot::Mutex;

use crate::denial::{Chain, Member};
use crate::keys::{Flaw, Keys};
use crate::message::{NXDOMAIN, Question, Response, target};
use crate::name::DomainName;
use crate::record::{
    A, AAAA, ANY, CNAME, DNAME, DNSKEY, DS, MX, NS, NSEC, NSEC3, NSEC3PARAM, Placed, RRSIG, Record,
    RrSet, SOA,
};
use crate::zone::Zone;

/// A zone with its keys and chains.
pub(crate) struct Authority {
    origin: DomainName,
    nodes: HashMap<DomainName, Node>,
    denial: Option<crate::zone::Denial>,
    keys: Option<Keys>,
    chain: OnceLock<Option<Chain>>,
    negative_ttl: u32,
    sibling_glue: bool,
    written: Mutex<Written>,
}

/// Answers that were written, by question.
#[derive(Default)]
struct Written {
    /// Signatures are made anew each day.
    day: u32,
    messages: HashMap<Vec<u8>, Arc<[u8]>>,
}

/// Most answers that are kept of a zone.
const MAX_WRITTEN: usize = 20_000;
/// Most CNAME records followed within a zone.
const MAX_ALIASES: usize = 16;

#[derive(Default)]
struct Node {
    sets: BTreeMap<u16, RrSet>,
    /// Below a delegation: glue.
    occluded: bool,
}

/// Finds signatures' flaws for a set.
pub(crate) type FlawsOf<'a> = &'a dyn Fn(&DomainName, u16) -> Vec<Flaw>;

impl Authority {
    /// A zone out of its records and those that the plan adds: delegations, glue and hosts.
    pub(crate) fn new(zone: &Zone, added: &[Record]) -> Result<Self> {
        let mut nodes: HashMap<DomainName, Node> = HashMap::new();
        let soa = zone.soa();
        let negative_ttl = soa.rdata.rchunks(4).next().and_then(|b| b.try_into().ok());
        let negative_ttl = negative_ttl.map_or(zone.negative_ttl, u32::from_be_bytes);
        let has_soa = zone.records.iter().any(|r| r.rtype == SOA);
        let soa = std::iter::once(&soa).filter(|_| !has_soa);
        for record in zone.records.iter().chain(added).chain(soa) {
            let node = nodes.entry(record.owner.clone()).or_default();
            let set = node.sets.entry(record.rtype).or_default();
            set.ttl = record.ttl.unwrap_or(zone.ttl);
            if !set.rdata.contains(&record.rdata) {
                set.rdata.push(record.rdata.clone());
                set.rdata.sort();
            }
        }
        let keys = zone.signing.as_ref().map(|s| Keys::new(&zone.origin, s)).transpose()?;
        let denial = zone.signing.as_ref().map(|s| s.denial.clone());
        if let Some(rdata) = denial.as_ref().and_then(Chain::parameters) {
            let apex = nodes.entry(zone.origin.clone()).or_default();
            apex.sets.insert(NSEC3PARAM, RrSet { ttl: 0, rdata: vec![rdata] });
        }
        // Names that nothing but names below them make exist.
        let below: Vec<DomainName> = nodes
            .keys()
            .flat_map(|name| name.ancestors().skip(1))
            .filter(|name| name.is_within(&zone.origin))
            .collect();
        for name in below {
            nodes.entry(name).or_default();
        }
        let occluded: Vec<DomainName> = nodes
            .keys()
            .filter(|name| {
                name.ancestors().skip(1).take_while(|above| *above != zone.origin).any(|above| {
                    above.is_within(&zone.origin)
                        && nodes.get(&above).is_some_and(|n| n.sets.contains_key(&NS))
                })
            })
            .cloned()
            .collect();
        for name in occluded {
            nodes.entry(name).or_default().occluded = true;
        }
        Ok(Self {
            origin: zone.origin.clone(),
            nodes,
            denial,
            keys,
            chain: OnceLock::new(),
            negative_ttl,
            sibling_glue: zone.sibling_glue,
            written: Mutex::default(),
        })
    }

    pub(crate) fn origin(&self) -> &DomainName {
        &self.origin
    }

    /// Whether a name exists only because others below it do.
    pub(crate) fn is_empty_non_terminal(&self, name: &DomainName) -> bool {
        self.nodes.get(name).is_some_and(|node| node.sets.is_empty())
    }

    /// Addresses that the zone has for a host, glue too.
    pub(crate) fn addresses(&self, host: &DomainName) -> impl Iterator<Item = (u16, &RrSet)> {
        let node = self.nodes.get(host);
        node.into_iter().flat_map(|n| {
            [A, AAAA].into_iter().filter_map(|rtype| Some((rtype, n.sets.get(&rtype)?)))
        })
    }

    /// The whole answer without flaws, with id 0, from memory if it was given before.
    pub(crate) fn written(&self, question: &Question, now: u32) -> Arc<[u8]> {
        let mut key = question.name.as_wire().to_vec();
        key.extend(question.rtype.to_be_bytes());
        key.push(u8::from(question.edns.is_some()) + u8::from(question.dnssec_ok()));
        let day = now / 86_400;
        {
            let mut written = self.written.lock();
            if written.day != day || written.messages.len() >= MAX_WRITTEN {
                *written = Written { day, ..Written::default() };
            }
            if let Some(message) = written.messages.get(&key) {
                return message.clone();
            }
        }
        let mut response = self.look_up(&question.name, question.rtype);
        self.dress(&mut response, question, now, &|_, _| Vec::new());
        let message: Arc<[u8]> = response.encode(question).into();
        self.written.lock().messages.insert(key, message.clone());
        message
    }

    /// Adds signatures for those who want them, and leaves proofs out for those who don't.
    pub(crate) fn dress(
        &self,
        response: &mut Response,
        question: &Question,
        now: u32,
        flaws: FlawsOf<'_>,
    ) {
        let wanted = question.dnssec_ok() && self.keys.is_some();
        for section in [&mut response.answer, &mut response.authority, &mut response.additional] {
            if !wanted {
                section
                    .retain(|p| p.rtype == question.rtype || !matches!(p.rtype, NSEC | NSEC3 | DS));
                continue;
            }
            let sets = std::mem::take(section);
            for placed in sets {
                let signatures = self.signatures(&placed, now, flaws);
                section.push(placed);
                section.extend(signatures);
            }
        }
    }

    fn signatures(&self, placed: &Placed, now: u32, flaws: FlawsOf<'_>) -> Option<Placed> {
        let keys = self.keys.as_ref().filter(|_| placed.signed)?;
        let rdata = keys.sign(placed, now, &flaws(&placed.owner, placed.rtype));
        let set = RrSet { ttl: placed.set.ttl, rdata };
        let (owner, source) = (placed.owner.clone(), placed.source.clone());
        Some(Placed { owner, source, rtype: RRSIG, set, signed: false })
    }

    /// The keys as a set, for a question about them.
    pub(crate) fn dnskey(&self, flaws: &[Flaw]) -> Option<RrSet> {
        let ttl = self.nodes.get(&self.origin)?.sets.get(&SOA)?.ttl;
        Some(self.keys.as_ref()?.dnskey(ttl, flaws))
    }

    /// The answer without signatures.
    pub(crate) fn look_up(&self, name: &DomainName, rtype: u16) -> Response {
        let mut response = Response { aa: true, ..Response::default() };
        let mut name = name.clone();
        let mut seen = Vec::new();
        while let Some(next) = self.step(&name, rtype, &mut response) {
            seen.push(name);
            if seen.contains(&next) || seen.len() >= MAX_ALIASES || !next.is_within(&self.origin) {
                break;
            }
            name = next;
        }
        response
    }

    /// Answers for one name; gives the next, if it is an alias.
    fn step(&self, name: &DomainName, rtype: u16, out: &mut Response) -> Option<DomainName> {
        let mut above: Vec<DomainName> =
            name.ancestors().take_while(|n| n.is_within(&self.origin)).collect();
        above.reverse();
        for ancestor in &above {
            let Some(node) = self.nodes.get(ancestor) else { break };
            let is_apex = *ancestor == self.origin;
            if !is_apex && node.sets.contains_key(&NS) && !(ancestor == name && rtype == DS) {
                self.refer(ancestor, node, out);
                return None;
            }
            if let Some(set) = node.sets.get(&DNAME).filter(|_| ancestor != name) {
                return self.redirect(name, ancestor, set, out);
            }
        }
        let closest = above.iter().take_while(|n| self.nodes.contains_key(n)).last()?;
        if closest == name {
            let node = self.nodes.get(name)?;
            return self.answer_from(name, name, node, rtype, closest, out);
        }
        let wildcard = closest.child(b"*")?;
        match self.nodes.get(&wildcard) {
            Some(node) => {
                let next = self.answer_from(name, &wildcard, node, rtype, closest, out);
                if let Some(chain) =
                    self.chain().filter(|_| out.answer.iter().any(|p| p.source == wildcard))
                {
                    chain.no_closer(
                        &self.origin,
                        name,
                        closest,
                        self.proof_ttl(),
                        &mut out.authority,
                    );
                }
                next
            }
            None => {
                out.rcode = NXDOMAIN;
                self.add_soa(out);
                if let Some(chain) = self.chain() {
                    chain.no_name(
                        &self.origin,
                        name,
                        closest,
                        self.proof_ttl(),
                        &mut out.authority,
                    );
                }
                None
            }
        }
    }

    fn answer_from(
        &self,
        name: &DomainName,
        source: &DomainName,
        node: &Node,
        rtype: u16,
        closest: &DomainName,
        out: &mut Response,
    ) -> Option<DomainName> {
        let place = |rtype: u16, set: &RrSet| Placed {
            owner: name.clone(),
            source: source.clone(),
            rtype,
            set: set.clone(),
            signed: true,
        };
        if rtype == ANY {
            out.answer.extend(node.sets.iter().map(|(&rtype, set)| place(rtype, set)));
        }
        if let Some(set) = node.sets.get(&CNAME).filter(|_| !matches!(rtype, CNAME | NSEC | ANY)) {
            out.answer.push(place(CNAME, set));
            return target(CNAME, set.rdata.first()?);
        }
        if let Some(set) = node.sets.get(&rtype) {
            out.answer.push(place(rtype, set));
            self.add_addresses(rtype, set, out);
        } else if let Some(set) =
            self.dnskey(&[]).filter(|_| rtype == DNSKEY && *name == self.origin)
        {
            out.answer.push(place(DNSKEY, &set));
        } else if rtype != ANY {
            self.add_soa(out);
            if let Some(chain) = self.chain() {
                let ttl = self.proof_ttl();
                if name == source {
                    chain.no_data(&self.origin, name, closest, ttl, &mut out.authority);
                } else {
                    chain.wildcard_no_data(&self.origin, name, closest, ttl, &mut out.authority);
                }
            }
        }
        None
    }

    fn refer(&self, cut: &DomainName, node: &Node, out: &mut Response) {
        // Behind an alias the answer stays one of this zone.
        out.aa = !out.answer.is_empty();
        let Some(set) = node.sets.get(&NS) else { return };
        let mut put = |owner: &DomainName, rtype, set: &RrSet, signed| {
            out.authority.push(Placed {
                owner: owner.clone(),
                source: owner.clone(),
                rtype,
                set: set.clone(),
                signed,
            });
        };
        put(cut, NS, set, false);
        match node.sets.get(&DS) {
            Some(ds) => put(cut, DS, ds, true),
            None => {
                if let Some(chain) = self.chain() {
                    let closest = cut.parent().unwrap_or_else(DomainName::root);
                    chain.no_data(
                        &self.origin,
                        cut,
                        &closest,
                        self.proof_ttl(),
                        &mut out.authority,
                    );
                }
            }
        }
        for host in set.rdata.iter().filter_map(|rdata| target(NS, rdata)) {
            if host.is_within(cut) || self.sibling_glue {
                self.add_host(&host, false, out);
            }
        }
    }

    /// DNAME, and the CNAME record that it stands for (RFC 6672).
    fn redirect(
        &self,
        name: &DomainName,
        owner: &DomainName,
        set: &RrSet,
        out: &mut Response,
    ) -> Option<DomainName> {
        let to = target(DNAME, set.rdata.first()?)?;
        let put = |owner: &DomainName, rtype, set: RrSet, signed| Placed {
            owner: owner.clone(),
            source: owner.clone(),
            rtype,
            set,
            signed,
        };
        out.answer.push(put(owner, DNAME, set.clone(), true));
        let kept = name.label_count() - owner.label_count();
        let labels: Vec<&[u8]> = name.labels().take(kept).collect();
        let next = labels.iter().rev().try_fold(to, |next, label| next.child(label))?;
        let alias = RrSet { ttl: set.ttl, rdata: vec![next.as_wire().to_vec()] };
        out.answer.push(put(name, CNAME, alias, false));
        Some(next)
    }

    fn add_addresses(&self, rtype: u16, set: &RrSet, out: &mut Response) {
        if matches!(rtype, NS | MX) {
            for host in set.rdata.iter().filter_map(|rdata| target(rtype, rdata)) {
                self.add_host(&host, true, out);
            }
        }
    }

    fn add_host(&self, host: &DomainName, signed: bool, out: &mut Response) {
        let occluded = self.nodes.get(host).is_some_and(|n| n.occluded);
        for (rtype, set) in self.addresses(host) {
            out.additional.push(Placed {
                owner: host.clone(),
                source: host.clone(),
                rtype,
                set: set.clone(),
                signed: signed && !occluded,
            });
        }
    }

    fn add_soa(&self, out: &mut Response) {
        if let Some(set) = self.nodes.get(&self.origin).and_then(|n| n.sets.get(&SOA)) {
            let set = RrSet { ttl: self.proof_ttl().min(set.ttl), rdata: set.rdata.clone() };
            out.authority.push(Placed {
                owner: self.origin.clone(),
                source: self.origin.clone(),
                rtype: SOA,
                set,
                signed: true,
            });
        }
    }

    /// Seconds that negative answers and their proofs live (RFC 2308 section 5, RFC 9077).
    fn proof_ttl(&self) -> u32 {
        self.negative_ttl
    }

    fn chain(&self) -> Option<&Chain> {
        let make = || {
            let denial = self.denial.as_ref()?;
            let members =
                self.nodes.iter().filter(|(_, node)| !node.occluded).map(|(name, node)| {
                    let cut = *name != self.origin && node.sets.contains_key(&NS);
                    let in_chain = |rtype: &u16| !cut || matches!(*rtype, NS | DS);
                    let mut types: Vec<u16> = node.sets.keys().copied().filter(in_chain).collect();
                    if *name == self.origin {
                        types.push(DNSKEY);
                        types.sort_unstable();
                    }
                    let insecure_cut = cut && !types.contains(&DS);
                    Member {
                        name: name.clone(),
                        signed: !types.is_empty() && !insecure_cut,
                        insecure_cut,
                        empty: types.is_empty(),
                        types,
                    }
                });
            Some(Chain::new(denial, members.collect()))
        };
        self.chain.get_or_init(make).as_ref()
    }
}
