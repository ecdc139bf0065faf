//! Records into a zone: what is refused, and what is warned of.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use crate::denial::{Denial, Hashed};
use crate::master::{Parsed, Rr};
use crate::name;
use crate::problem::Problem;
use crate::rdata::{self, number};

/// Most bytes of one set: more never fits an answer.
const SET_BYTES: usize = 60_000;

/// Most iterations of NSEC3: each costs a hash in every negative answer (RFC 9276 section 3.1 asks for none, and
/// validators give up between 50 and 150).
const ITERATIONS: u16 = 500;

/// Most warnings kept.
const WARNINGS: usize = 20;

/// A zone that is ready to answer.
#[derive(Debug)]
pub(crate) struct Zone {
    /// In lower case.
    pub(crate) apex: Box<[u8]>,
    /// Each name that exists, those without records between others included (RFC 4592 section 2.2.2).
    nodes: HashMap<Box<[u8]>, Node>,
    /// What proves that something is not there; none if the zone isn't signed.
    pub(crate) denial: Option<Denial>,
    /// Time to live of negative answers (RFC 2308 section 5).
    pub(crate) negative_ttl: u32,
    pub(crate) serial: u32,
    pub(crate) records: usize,
    /// Memory of names and data, roughly.
    pub(crate) bytes: usize,
    /// When the first signature ends, in seconds since 1970.
    pub(crate) signed_until: Option<u32>,
}

/// A name.
#[derive(Debug, Default)]
pub(crate) struct Node {
    pub(crate) sets: Vec<Set>,
    /// Whether what is here and below belongs to another zone: NS below the apex.
    pub(crate) cut: bool,
    /// Whether what is below is elsewhere (RFC 6672).
    pub(crate) moved: bool,
}

/// Records of one name and type.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) rtype: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<Box<[u8]>>,
    /// Data of the RRSIG records that cover it.
    pub(crate) signatures: Vec<Box<[u8]>>,
}

impl Node {
    pub(crate) fn set(&self, rtype: u16) -> Option<&Set> {
        self.sets.iter().find(|set| set.rtype == rtype)
    }
}

impl Zone {
    pub(crate) fn node(&self, name: &[u8]) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// The zone that the records make, and warnings; or all that is wrong.
    pub(crate) fn build(apex: &[u8], parsed: Parsed) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let mut builder = Builder {
            apex,
            parsed: &parsed,
            problems: Vec::new(),
            warnings: parsed.warnings.clone(),
        };
        let built = builder.build();
        let Builder { mut problems, mut warnings, .. } = builder;
        warnings.truncate(WARNINGS);
        match built {
            Some(zone) if problems.is_empty() && parsed.problems.is_empty() => Ok((zone, warnings)),
            _ => {
                // What the file itself gets wrong first: the rest often follows from it.
                let mut all = parsed.problems.clone();
                all.append(&mut problems);
                Err(all)
            }
        }
    }
}

struct Builder<'a> {
    apex: &'a [u8],
    parsed: &'a Parsed,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Builder<'_> {
    fn at(&self, rr: &Rr, what: String, remedy: &str) -> Problem {
        Problem::at(self.parsed.file(rr.file), rr.line, what, remedy)
    }

    fn refuse(&mut self, rr: &Rr, what: String, remedy: &str) {
        let problem = self.at(rr, what, remedy);
        self.problems.push(problem);
    }

    fn warn(&mut self, rr: &Rr, what: String, remedy: &str) {
        if self.warnings.len() < WARNINGS {
            let problem = self.at(rr, what, remedy);
            self.warnings.push(problem);
        }
    }

    fn build(&mut self) -> Option<Zone> {
        let parsed = self.parsed;
        let mut nodes: HashMap<Box<[u8]>, Node> = HashMap::new();
        let mut hashed: HashMap<Box<[u8]>, Node> = HashMap::new();
        // Where each set begins, for what is said about it.
        let mut first: HashMap<(&[u8], u16), &Rr> = HashMap::new();
        let mut signatures = Vec::new();
        let (mut records, mut bytes) = (0, 0);
        for rr in &parsed.records {
            if rr.rtype == number::RRSIG {
                signatures.push(rr);
                continue;
            }
            first.entry((&rr.owner, rr.rtype)).or_insert(rr);
            // Names made of hashes are no names of the zone: asked for, they don't exist (RFC 5155 section 7.2.8).
            let home = if rr.rtype == number::NSEC3 { &mut hashed } else { &mut nodes };
            if self.insert(home.entry(rr.owner.clone()).or_default(), rr) {
                records += 1;
                bytes += rr.data.len();
            }
        }
        let mut signed_until: Option<u32> = None;
        for rr in signatures {
            let covered = rr.data.first_chunk().map_or(0, |covered| u16::from_be_bytes(*covered));
            let home = if covered == number::NSEC3 { &mut hashed } else { &mut nodes };
            let set = home
                .get_mut(&rr.owner)
                .and_then(|node| node.sets.iter_mut().find(|set| set.rtype == covered));
            let Some(set) = set else {
                let what = format!(
                    "a signature of {} {}, which is not in the file",
                    name::show(&rr.owner),
                    rdata::type_name(covered)
                );
                self.warn(rr, what, "sign the zone again");
                continue;
            };
            if !set.signatures.contains(&rr.data) {
                set.signatures.push(rr.data.clone());
                records += 1;
                bytes += rr.data.len();
            }
            if let Some(end) = rr
                .data
                .get(8..12)
                .and_then(|end| end.first_chunk())
                .map(|end| u32::from_be_bytes(*end))
            {
                signed_until = Some(signed_until.map_or(end, |until| until.min(end)));
            }
        }
        self.apex_has_its_records(&nodes, &first);
        for (owner, node) in &mut nodes {
            let at = |rtype| first.get(&(&**owner, rtype)).copied();
            self.node(owner, node, at);
        }
        let owners: Vec<Box<[u8]>> = nodes.keys().cloned().collect();
        for owner in &owners {
            for between in
                name::suffixes(owner).skip(1).take_while(|between| between.len() >= self.apex.len())
            {
                if nodes.contains_key(between) {
                    // Its own ancestors are, or will be, there.
                    break;
                }
                nodes.insert(between.into(), Node::default());
            }
        }
        self.targets_have_addresses(&nodes, &first);
        let soa = nodes.get(self.apex)?.set(number::SOA)?;
        let [serial, .., minimum] = soa_numbers(soa.data.first()?)?;
        let negative_ttl = soa.ttl.min(minimum);
        let denial = self.denial(&nodes, hashed, &first);
        bytes += nodes
            .iter()
            .map(|(name, node)| {
                name.len() + size_of::<(Box<[u8]>, Node)>() + node.sets.len() * size_of::<Set>()
            })
            .sum::<usize>();
        bytes += records * size_of::<Box<[u8]>>();
        Some(Zone {
            apex: self.apex.into(),
            nodes,
            denial,
            negative_ttl,
            serial,
            records,
            bytes,
            signed_until,
        })
    }

    /// Adds a record to its set; false if it is there already.
    fn insert(&mut self, node: &mut Node, rr: &Rr) -> bool {
        let Some(set) = node.sets.iter_mut().find(|set| set.rtype == rr.rtype) else {
            node.sets.push(Set {
                rtype: rr.rtype,
                ttl: rr.ttl,
                data: vec![rr.data.clone()],
                signatures: Vec::new(),
            });
            return true;
        };
        if set.ttl != rr.ttl {
            // RFC 2181 section 5.2.
            set.ttl = set.ttl.min(rr.ttl);
            let what = format!(
                "the records of {} {} have different times to live: {} is taken for all",
                name::show(&rr.owner),
                rdata::type_name(rr.rtype),
                set.ttl
            );
            self.warn(rr, what, "give them the same");
        }
        if set.data.contains(&rr.data) {
            self.warn(
                rr,
                format!("this record of {} is there twice", name::show(&rr.owner)),
                "take one out",
            );
            return false;
        }
        let size: usize = set.data.iter().map(|data| data.len() + 12).sum();
        if size + rr.data.len() > SET_BYTES {
            if size <= SET_BYTES {
                let what = format!(
                    "{} has more than {SET_BYTES} bytes of type {}",
                    name::show(&rr.owner),
                    rdata::type_name(rr.rtype)
                );
                self.refuse(rr, what, "no answer holds that much: spread it over several names");
            }
            return false;
        }
        set.data.push(rr.data.clone());
        true
    }

    fn apex_has_its_records(
        &mut self,
        nodes: &HashMap<Box<[u8]>, Node>,
        first: &HashMap<(&[u8], u16), &Rr>,
    ) {
        let file = self.parsed.file(0).to_path_buf();
        let zone = name::show(self.apex);
        let apex = nodes.get(self.apex);
        match apex.and_then(|node| node.set(number::SOA)) {
            None => {
                let remedy = format!(
                    "add \"{zone} 3600 IN SOA ns.{zone} hostmaster.{zone} 1 3600 600 1209600 300\" with your names"
                );
                self.problems.push(Problem::of(
                    &file,
                    format!("the zone {zone} has no SOA"),
                    remedy,
                ));
            }
            Some(set) if set.data.len() > 1 => {
                if let Some(rr) = self
                    .parsed
                    .records
                    .iter()
                    .filter(|rr| rr.rtype == number::SOA && *rr.owner == *self.apex)
                    .nth(1)
                {
                    self.refuse(rr, format!("a second SOA of {zone}"), "a zone has exactly one");
                }
            }
            Some(_) => {}
        }
        if apex.and_then(|node| node.set(number::NS)).is_none() {
            let remedy = format!("add \"{zone} 3600 IN NS\" and the name of its server");
            match first.get(&(self.apex, number::SOA)) {
                Some(rr) => self.refuse(rr, format!("the zone {zone} has no NS"), &remedy),
                None => self.problems.push(Problem::of(
                    &file,
                    format!("the zone {zone} has no NS"),
                    remedy,
                )),
            }
        }
    }

    /// What may stand beside what.
    fn node<'r>(&mut self, owner: &[u8], node: &mut Node, at: impl Fn(u16) -> Option<&'r Rr>) {
        let shown = name::show(owner);
        let apex = owner == self.apex;
        let wild = owner.starts_with(b"\x01*");
        node.cut = !apex && !wild && node.set(number::NS).is_some();
        node.moved = !wild && node.set(number::DNAME).is_some();
        if let (false, Some(rr)) = (apex, at(number::SOA)) {
            self.refuse(
                rr,
                format!("an SOA at {shown}, which is not the apex"),
                "put it at @, or load that zone from a file of its own",
            );
        }
        if let Some(rr) = at(number::CNAME) {
            // RFC 1034 section 3.6.2, RFC 4034 sections 3 and 4, RFC 3007 section 3.1.1 for KEY.
            let other = node
                .sets
                .iter()
                .find(|set| ![number::CNAME, number::NSEC, number::KEY].contains(&set.rtype));
            if let Some(other) = other {
                let what =
                    format!("{shown} has a CNAME and also {}", rdata::type_name(other.rtype));
                self.refuse(rr, what, "an alias has no other data: take one of them out");
            }
        }
        for single in [number::CNAME, number::DNAME] {
            if let (Some(rr), Some(true)) =
                (at(single), node.set(single).map(|set| set.data.len() > 1))
            {
                self.refuse(
                    rr,
                    format!("{shown} has more than one {}", rdata::type_name(single)),
                    "leave one",
                );
            }
        }
        if let (true, Some(rr)) = (node.cut && node.moved, at(number::DNAME)) {
            self.refuse(
                rr,
                format!("{shown} has NS and DNAME"),
                "a name is delegated or moved, not both (RFC 6672 section 2.3)",
            );
        }
        if let (true, Some(rr)) = (wild, at(number::NS).or_else(|| at(number::DNAME))) {
            self.warn(
                rr,
                format!(
                    "{} at the wildcard {shown} delegates or moves nothing",
                    rdata::type_name(rr.rtype)
                ),
                "name what it is for (RFC 4592 section 4)",
            );
        }
        if let (false, Some(rr)) = (node.cut, at(number::DS)) {
            self.warn(
                rr,
                format!("a DS at {shown}, which is not delegated"),
                "add its NS, or take it out",
            );
        }
    }

    fn targets_have_addresses(
        &mut self,
        nodes: &HashMap<Box<[u8]>, Node>,
        first: &HashMap<(&[u8], u16), &Rr>,
    ) {
        let cuts: HashSet<&[u8]> =
            nodes.iter().filter(|(_, node)| node.cut).map(|(name, _)| &**name).collect();
        let mut found: Vec<(&Rr, String)> = Vec::new();
        for ((owner, rtype), rr) in first {
            if ![number::NS, number::MX, number::SRV].contains(rtype) {
                continue;
            }
            let Some(set) = nodes.get(*owner).and_then(|node| node.set(*rtype)) else { continue };
            for target in set.data.iter().filter_map(|data| target(*rtype, data)) {
                let mut target = target.to_vec();
                name::lower(&mut target);
                if !name::is_under(&target, self.apex) {
                    continue;
                }
                let below_cut = name::suffixes(&target).find(|suffix| cuts.contains(suffix));
                // What lies below another zone's cut is that zone's to say; glue is needed for its own servers.
                if below_cut.is_some_and(|cut| *rtype != number::NS || cut != *owner) {
                    continue;
                }
                let node = nodes.get(target.as_slice());
                if node.is_some_and(|node| {
                    node.set(number::A).is_some() || node.set(number::AAAA).is_some()
                }) {
                    continue;
                }
                let what = match node {
                    Some(node) if node.set(number::CNAME).is_some() => {
                        "is an alias (RFC 2181 section 10.3)"
                    }
                    None if name::suffixes(&target)
                        .skip(1)
                        .filter_map(name::wildcard)
                        .any(|wild| nodes.contains_key(wild.as_slice())) =>
                    {
                        continue;
                    }
                    _ => "has no address in this zone",
                };
                found.push((
                    rr,
                    format!(
                        "{} of {} names {}, which {what}",
                        rdata::type_name(*rtype),
                        name::show(owner),
                        name::show(&target)
                    ),
                ));
            }
        }
        found.sort_by_key(|(rr, _)| (rr.file, rr.line));
        for (rr, what) in found {
            self.warn(rr, what, "add its A or AAAA, or correct the name");
        }
    }

    fn denial(
        &mut self,
        nodes: &HashMap<Box<[u8]>, Node>,
        hashed: HashMap<Box<[u8]>, Node>,
        first: &HashMap<(&[u8], u16), &Rr>,
    ) -> Option<Denial> {
        let at = |rtype| first.get(&(self.apex, rtype)).copied();
        if let Some(set) = nodes.get(self.apex)?.set(number::NSEC3PARAM) {
            let rr = at(number::NSEC3PARAM)?;
            // Flags other than zero: a chain being built or taken down (RFC 5155 section 4.1.2).
            let parameters = set.data.iter().find(|data| data.starts_with(&[1, 0]))?;
            let iterations = u16::from_be_bytes(*parameters.get(2..4)?.first_chunk()?);
            let salt = parameters.get(5..)?;
            if iterations > ITERATIONS {
                let what =
                    format!("NSEC3 with {iterations} iterations, and {ITERATIONS} are the most");
                self.refuse(rr, what, "sign the zone with 0 iterations (RFC 9276)");
                return None;
            }
            let mut chain = BTreeMap::new();
            for (owner, mut node) in hashed {
                let matching = |set: &Set| {
                    set.data.first().is_some_and(|data| {
                        data.get(..1) == parameters.get(..1)
                            && data.get(2..).is_some_and(|data| {
                                parameters
                                    .get(2..)
                                    .is_some_and(|parameters| data.starts_with(parameters))
                            })
                    })
                };
                let hash = name::labels(&owner).next().and_then(|label| {
                    data_encoding::BASE32HEX_NOPAD
                        .decode(&label.to_ascii_uppercase())
                        .ok()?
                        .try_into()
                        .ok()
                });
                let (Some(hash), Some(at)) = (hash, node.sets.iter().position(matching)) else {
                    continue;
                };
                chain.insert(hash, Hashed { owner, set: node.sets.swap_remove(at) });
            }
            if chain.is_empty() {
                self.warn(
                    rr,
                    "NSEC3PARAM without an NSEC3 record of these parameters".into(),
                    "sign the zone again",
                );
                return None;
            }
            return Some(Denial::Nsec3 { salt: salt.into(), iterations, chain });
        }
        let mut chain: Vec<Box<[u8]>> = nodes
            .iter()
            .filter(|(_, node)| node.set(number::NSEC).is_some())
            .map(|(name, _)| name.clone())
            .collect();
        chain.sort_by(|a, b| name::canonical(a, b));
        (!chain.is_empty()).then_some(Denial::Nsec { chain })
    }
}

/// Serial, refresh, retry, expire and minimum of an SOA's data.
pub(crate) fn soa_numbers(data: &[u8]) -> Option<[u32; 5]> {
    let names = name::prefix(data)?;
    let names = names + name::prefix(data.get(names..)?)?;
    let mut numbers = data
        .get(names..)?
        .chunks_exact(4)
        .filter_map(|four| four.first_chunk())
        .map(|four| u32::from_be_bytes(*four));
    let five =
        [numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?];
    numbers.next().is_none().then_some(five)
}

/// The name of a server in the data of NS, MX and SRV.
pub(crate) fn target(rtype: u16, data: &[u8]) -> Option<&[u8]> {
    match rtype {
        number::NS => Some(data),
        number::MX => data.get(2..),
        number::SRV => data.get(6..),
        _ => None,
    }
}

/// Reads and builds in one: what the file makes of `apex`, and the files it came from.
pub(crate) fn load(file: &Path, apex: &[u8], limits: crate::master::Limits) -> Attempt<Zone> {
    let parsed = crate::master::read(file, apex, limits);
    (parsed.files.clone(), Zone::build(apex, parsed))
}

/// What was read, and what came of it: something with warnings, or all that is wrong.
pub(crate) type Attempt<T> = (Files, Result<(T, Vec<Problem>), Vec<Problem>>);

/// Files, and how they were when read.
pub(crate) type Files = Vec<(std::path::PathBuf, Option<crate::master::Stamp>)>;
