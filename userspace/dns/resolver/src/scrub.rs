//! What is believed of a response: the records that answer the question and lie in the zone whose server was asked.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::rrset::{MAX_SECTION, RrSet, group, rrsig, signatures, synthesise};

/// Most links of a chain that are taken from one response.
const MAX_LINKS: usize = 11;

/// Most name servers of a delegation that are taken.
const MAX_HOSTS: usize = 20;

/// Most addresses of one name server that are taken.
const MAX_ADDRESSES: usize = 8;

/// A response that helps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Response {
    /// Records: the links of a chain in order, as far as they lie in the zone.
    Answer { links: Vec<Link>, authoritative: bool },
    /// There's no such name, or it has no such records.
    Denial(Denial),
    /// Others know.
    Referral(Referral),
}

/// One link of a chain: an alias, or the records asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    pub(crate) set: Arc<RrSet>,
    /// The DNAME record it was made by, or the proofs for a wildcard.
    pub(crate) proofs: Vec<Arc<RrSet>>,
}

/// A denial.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Denial {
    /// Whether the name exists.
    pub(crate) exists: bool,
    /// SOA, NSEC and NSEC3 RRsets.
    pub(crate) proofs: Vec<Arc<RrSet>>,
    /// Seconds it may be kept (RFC 2308 section 5); `None` without an SOA record.
    pub(crate) ttl: Option<u32>,
    pub(crate) authoritative: bool,
}

/// A delegation as a server of the zone above tells it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Referral {
    pub(crate) zone: Name,
    pub(crate) hosts: Vec<Host>,
    /// DS RRset, if there is one.
    pub(crate) ds: Option<Arc<RrSet>>,
    /// NSEC and NSEC3 RRsets.
    pub(crate) proofs: Vec<Arc<RrSet>>,
    /// Seconds it may be kept.
    pub(crate) ttl: u32,
}

/// A name server, with its addresses as far as they came along.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Host {
    pub(crate) name: Name,
    pub(crate) addresses: Vec<IpAddr>,
}

/// Why a response doesn't help.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Useless {
    /// Another code than NOERROR and NXDOMAIN.
    Rcode(ResponseCode),
    /// The server does not serve the zone.
    Lame(&'static str),
    /// The server recurses and claims no authority: a cache. Better than nothing.
    Cache(Box<Response>),
}

/// Takes a response apart. `zone` is the zone whose server was asked; for a forwarder the one that is forwarded, and
/// `recursive`.
pub(crate) fn read(
    message: &Message,
    zone: &Name,
    name: &Name,
    rtype: RecordType,
    recursive: bool,
) -> Result<Response, Useless> {
    let rcode = message.metadata.response_code;
    if !matches!(rcode, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err(Useless::Rcode(rcode));
    }
    let root = Name::root();
    let within = |bailiwick: &Name, records: &[Record]| -> Vec<RrSet> {
        group(records).into_iter().filter(|set| bailiwick.zone_of(&set.name)).collect()
    };
    // A forwarder is believed for the zone that is forwarded; where an alias leads out of it, others are asked.
    let answers = within(zone, &message.answers);
    let authorities = within(if recursive { &root } else { zone }, &message.authorities);
    let authoritative = message.metadata.authoritative;
    // A server that recurses and claims no authority is a cache, and no server of the zone.
    let cache = !recursive && !authoritative && message.metadata.recursion_available;

    let believe = |response| match cache {
        true => Err(Useless::Cache(Box::new(response))),
        false => Ok(response),
    };

    let links = match rtype {
        RecordType::RRSIG => signatures(&message.answers, name)
            .map(|set| Link { set: Arc::new(set), proofs: Vec::new() })
            .into_iter()
            .collect(),
        _ => chain(&answers, &authorities, name, rtype),
    };
    if !links.is_empty() {
        return believe(Response::Answer { links, authoritative });
    }

    if let Some(denial) = denial(&authorities, zone, name, rtype, rcode, recursive)? {
        return believe(Response::Denial(Denial { authoritative, ..denial }));
    }
    if !recursive
        && rcode == ResponseCode::NoError
        && let Some(referral) = referral(message, &authorities, zone, name)?
    {
        if rtype == RecordType::DS && referral.zone == *name {
            return Err(Useless::Lame("it refers to the child instead of giving its DS"));
        }
        return Ok(Response::Referral(referral));
    }
    let upwards = |record: &Record| {
        record.record_type() == RecordType::NS && record.name != *zone && record.name.zone_of(zone)
    };
    if !recursive && rcode == ResponseCode::NoError && message.authorities.iter().any(upwards) {
        // Whatever it claims: some balancers of load do so for types that they don't know.
        return Err(Useless::Lame("it refers upwards, with authority"));
    }
    if authoritative || recursive {
        // No SOA record: not as it should be, but an answer.
        let exists = rcode == ResponseCode::NoError;
        let proofs = proofs(&authorities, zone);
        return Ok(Response::Denial(Denial { exists, proofs, ttl: None, authoritative }));
    }
    Err(Useless::Lame("it neither answers nor refers to others"))
}

/// The links from the name on, as far as the answer section has them.
fn chain(answers: &[RrSet], authorities: &[RrSet], name: &Name, rtype: RecordType) -> Vec<Link> {
    let mut links = Vec::new();
    let mut at = name.clone();
    while links.len() < MAX_LINKS {
        let wanted = |wanted| answers.iter().find(|set| set.rtype == wanted && set.name == at);
        if let Some(set) = wanted(rtype) {
            links.push(link(set.clone(), authorities));
            break;
        }
        // A DNAME record decides what the alias below it says (RFC 6672 section 3.1).
        let dname = answers
            .iter()
            .find(|set| set.rtype == RecordType::DNAME && set.name != at && set.name.zone_of(&at));
        let link = match (dname, wanted(RecordType::CNAME)) {
            (Some(dname), _) => match synthesise(dname, &at) {
                Some(alias) => {
                    let mut link = link(dname.clone(), authorities);
                    link.proofs.insert(0, link.set);
                    Link { set: Arc::new(alias), proofs: link.proofs }
                }
                None => break,
            },
            (None, Some(alias)) => link(alias.clone(), authorities),
            (None, None) => break,
        };
        let Some(target) = link.set.cname() else { break };
        let seen = links.iter().any(|known: &Link| known.set.name == target) || target == at;
        links.push(link);
        if seen {
            break;
        }
        at = target;
    }
    links
}

/// A link with what proves its wildcard, if it was made from one (RFC 4035 section 5.3.4).
fn link(set: RrSet, authorities: &[RrSet]) -> Link {
    let labels = set.name.iter().len();
    let expanded = set
        .signatures
        .iter()
        .filter_map(rrsig)
        .any(|signature| usize::from(signature.input().num_labels) < labels)
        && set.name.iter().next() != Some(b"*");
    let proofs = if expanded { denials(authorities) } else { Vec::new() };
    Link { set: Arc::new(set), proofs }
}

fn denials(authorities: &[RrSet]) -> Vec<Arc<RrSet>> {
    authorities
        .iter()
        .filter(|set| matches!(set.rtype, RecordType::NSEC | RecordType::NSEC3))
        .take(MAX_PROOFS)
        .map(|set| Arc::new(set.clone()))
        .collect()
}

/// Most NSEC or NSEC3 records that any denial needs are four (closest encloser, next closer, wildcard; twice over at
/// most where a server answers for two zones).
const MAX_PROOFS: usize = 8;

/// SOA and proofs.
fn proofs(authorities: &[RrSet], zone: &Name) -> Vec<Arc<RrSet>> {
    let soa = authorities
        .iter()
        .find(|set| set.rtype == RecordType::SOA && zone.zone_of(&set.name))
        .map(|set| Arc::new(set.clone()));
    soa.into_iter().chain(denials(authorities)).collect()
}

fn denial(
    authorities: &[RrSet],
    zone: &Name,
    name: &Name,
    rtype: RecordType,
    rcode: ResponseCode,
    recursive: bool,
) -> Result<Option<Denial>, Useless> {
    let Some(soa) = authorities.iter().find(|set| set.rtype == RecordType::SOA) else {
        return Ok(None);
    };
    if !soa.name.zone_of(name) || !(recursive || zone.zone_of(&soa.name)) {
        return Err(Useless::Lame("it denies in the name of another zone"));
    }
    if rtype == RecordType::DS && soa.name == *name && !name.is_root() {
        return Err(Useless::Lame("it answers for the child where the parent was asked"));
    }
    let minimum = soa.records.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.minimum),
        _ => None,
    });
    let Some(minimum) = minimum else { return Ok(None) };
    let exists = rcode == ResponseCode::NoError;
    // A referral may come with an SOA record by mistake; then it is the name servers that count.
    let delegated = authorities.iter().any(|set| {
        set.rtype == RecordType::NS
            && set.name != *zone
            && zone.zone_of(&set.name)
            && set.name.zone_of(name)
            && set.name != soa.name
            && soa.name.zone_of(&set.name)
    });
    if delegated && exists && !recursive {
        return Ok(None);
    }
    let mut proofs = vec![Arc::new(soa.clone())];
    proofs.extend(denials(authorities));
    Ok(Some(Denial { exists, proofs, ttl: Some(soa.ttl.min(minimum)), authoritative: false }))
}

fn referral(
    message: &Message,
    authorities: &[RrSet],
    zone: &Name,
    name: &Name,
) -> Result<Option<Referral>, Useless> {
    let mut servers = authorities.iter().filter(|set| set.rtype == RecordType::NS);
    let Some(ns) = servers
        .clone()
        .find(|set| set.name != *zone && zone.zone_of(&set.name) && set.name.zone_of(name))
    else {
        let own = servers.any(|set| set.name == *zone);
        if message.metadata.authoritative {
            return Ok(None);
        }
        return match own {
            true => Err(Useless::Lame("it refers to the zone's own servers")),
            // What lies above the zone was taken out before.
            false if message.authorities.iter().any(|r| r.record_type() == RecordType::NS) => {
                Err(Useless::Lame("it refers upwards or sideways"))
            }
            false => Ok(None),
        };
    };
    let names: Vec<Name> = ns.name_servers().take(MAX_HOSTS).collect();
    let additionals = group_glue(&message.additionals, &names);
    let hosts: Vec<Host> = names
        .into_iter()
        .map(|host| {
            // Only a server of the zone above both may tell addresses (RFC 2181 section 5.4.1).
            let addresses =
                if zone.zone_of(&host) { glue(&additionals, &host) } else { Vec::new() };
            Host { name: host, addresses }
        })
        .collect();
    if hosts.is_empty() {
        return Err(Useless::Lame("it refers to nobody"));
    }
    let ds = authorities
        .iter()
        .find(|set| set.rtype == RecordType::DS && set.name == ns.name)
        .map(|set| Arc::new(set.clone()));
    let proofs = if ds.is_some() { Vec::new() } else { denials(authorities) };
    Ok(Some(Referral { zone: ns.name.clone(), hosts, ds, proofs, ttl: ns.ttl }))
}

/// The addresses among additional records that belong to these hosts.
fn group_glue(additionals: &[Record], hosts: &[Name]) -> Vec<RrSet> {
    let hosts: HashSet<&Name> = hosts.iter().collect();
    let glue: Vec<Record> = additionals
        .iter()
        .take(MAX_SECTION)
        .filter(|record| matches!(record.record_type(), RecordType::A | RecordType::AAAA))
        .filter(|record| hosts.contains(&record.name.to_lowercase()))
        .cloned()
        .collect();
    group(&glue)
}

/// The addresses of a host among additional records.
pub(crate) fn glue(additionals: &[RrSet], host: &Name) -> Vec<IpAddr> {
    additionals
        .iter()
        .filter(|set| set.name == *host)
        .flat_map(addresses)
        .take(MAX_ADDRESSES)
        .collect()
}

/// The addresses in an RRset.
pub(crate) fn addresses(set: &RrSet) -> impl Iterator<Item = IpAddr> + '_ {
    set.records.iter().filter_map(|record| match &record.data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::V6(aaaa.0)),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{MessageType, OpCode};
    use hickory_proto::rr::rdata::{A, CNAME, NS, SOA};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn message(authoritative: bool, rcode: ResponseCode) -> Message {
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.metadata.authoritative = authoritative;
        message.metadata.response_code = rcode;
        message
    }

    fn a(owner: &str) -> Record {
        Record::from_rdata(name(owner), 60, RData::A(A::new(192, 0, 2, 1)))
    }

    fn alias(owner: &str, target: &str) -> Record {
        Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))))
    }

    fn ns(owner: &str, host: &str) -> Record {
        Record::from_rdata(name(owner), 60, RData::NS(NS(name(host))))
    }

    fn soa(owner: &str) -> Record {
        let data = SOA::new(name("m."), name("r."), 1, 2, 3, 4, 30);
        Record::from_rdata(name(owner), 60, RData::SOA(data))
    }

    fn look(message: &Message, zone: &str, question: &str) -> Result<Response, Useless> {
        read(message, &name(zone), &name(question), RecordType::A, false)
    }

    #[test]
    fn only_the_chain_within_the_zone_is_taken() {
        let mut response = message(true, ResponseCode::NoError);
        response.answers =
            vec![alias("www.a.", "x.a."), a("unrelated.a."), alias("x.a.", "y.b."), a("y.b.")];
        let Ok(Response::Answer { links, .. }) = look(&response, "a.", "www.a.") else { panic!() };
        let owners: Vec<_> = links.iter().map(|link| link.set.name.to_string()).collect();
        assert_eq!(owners, ["www.a.", "x.a."]);
    }

    #[test]
    fn a_forwarder_is_believed_for_its_zone_only() {
        let mut response = message(false, ResponseCode::NoError);
        response.answers = vec![alias("www.a.", "y.b."), a("y.b.")];
        for (zone, expected) in [("a.", 1), (".", 2)] {
            let read = read(&response, &name(zone), &name("www.a."), RecordType::A, true);
            let Ok(Response::Answer { links, .. }) = read else { panic!() };
            assert_eq!(links.len(), expected, "{zone}");
        }
    }

    #[test]
    fn a_loop_ends() {
        let mut response = message(true, ResponseCode::NoError);
        response.answers = vec![alias("a.z.", "b.z."), alias("b.z.", "a.z.")];
        let Ok(Response::Answer { links, .. }) = look(&response, "z.", "a.z.") else { panic!() };
        assert_eq!(links.len(), 2);
    }

    #[test]
    fn referrals_go_down_and_bring_glue_of_the_zone_only() {
        let mut response = message(false, ResponseCode::NoError);
        response.authorities = vec![ns("b.a.", "ns.b.a."), ns("b.a.", "ns.c.")];
        response.additionals = vec![a("ns.b.a."), a("ns.c."), a("victim.a.")];
        let Ok(Response::Referral(referral)) = look(&response, "a.", "www.b.a.") else { panic!() };
        assert_eq!(referral.zone, name("b.a."));
        let counts: Vec<_> = referral.hosts.iter().map(|host| host.addresses.len()).collect();
        assert_eq!(counts, [1, 0]);
    }

    #[test]
    fn what_is_lame() {
        let rcode = ResponseCode::NoError;
        for (case, zone, authorities, lame) in [
            ("upwards", "b.a.", vec![ns("a.", "x.")], true),
            ("to itself", "b.a.", vec![ns("b.a.", "x.")], true),
            ("sideways", "b.a.", vec![ns("c.a.", "x.")], true),
            ("nothing", "b.a.", vec![], true),
            ("another zone's denial", "b.a.", vec![soa("a.")], true),
            ("down", "a.", vec![ns("b.a.", "x.")], false),
            ("denial", "b.a.", vec![soa("b.a.")], false),
        ] {
            let mut response = message(false, rcode);
            response.authorities = authorities;
            let result = look(&response, zone, "www.b.a.");
            assert_eq!(matches!(result, Err(Useless::Lame(_))), lame, "{case}: {result:?}");
        }
        let mut claiming = message(true, rcode);
        claiming.authorities = vec![ns(".", "x.")];
        assert!(matches!(look(&claiming, "b.a.", "www.b.a."), Err(Useless::Lame(_))));
        let mut cached = message(false, rcode);
        cached.metadata.recursion_available = true;
        cached.answers = vec![a("www.b.a.")];
        assert!(matches!(look(&cached, "b.a.", "www.b.a."), Err(Useless::Cache(_))));
        assert_eq!(
            look(&message(false, ResponseCode::Refused), "a.", "b.a.").unwrap_err(),
            Useless::Rcode(ResponseCode::Refused)
        );
    }

    #[test]
    fn denials_carry_the_soas_time() {
        let mut response = message(true, ResponseCode::NXDomain);
        response.authorities = vec![soa("a."), a("junk.a.")];
        let Ok(Response::Denial(denial)) = look(&response, "a.", "b.a.") else { panic!() };
        assert_eq!((denial.exists, denial.ttl, denial.proofs.len()), (false, Some(30), 1));
    }
}
