//! Questions into answers: RFC 1034 section 4.3.2 with wildcards (RFC 4592), DNAME (RFC 6672) and signed zones
//! (RFC 4035 section 3.1).

use std::borrow::Cow;

use crate::denial::Claim;
use crate::message::Out;
use crate::name;
use crate::rdata::number;
use crate::zone::{Node, Set, Zone, target};

/// An answer in the making.
#[derive(Debug, Default)]
pub(crate) struct Reply<'a> {
    pub(crate) rcode: u8,
    pub(crate) answers: Vec<Out<'a>>,
    pub(crate) authorities: Vec<Out<'a>>,
    pub(crate) additionals: Vec<Out<'a>>,
    /// Whether the client wants signatures and proofs.
    pub(crate) dnssec: bool,
}

/// What a zone says to a question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Step {
    /// Records of the type.
    Found,
    /// The name exists, the type doesn't.
    NoData,
    /// The name doesn't exist.
    NoName,
    /// The zone says who else to ask.
    Referral,
    /// An alias: the question goes on with this name, in lower case.
    Chase(Vec<u8>),
    /// The target of a DNAME would be longer than a name can be.
    TooLong,
}

/// NXDOMAIN.
pub(crate) const NO_NAME: u8 = 3;

impl<'a> Reply<'a> {
    fn push(
        section: &mut Vec<Out<'a>>,
        owner: Cow<'a, [u8]>,
        set: &'a Set,
        ttl: u32,
        dnssec: bool,
    ) {
        let signatures = set.signatures.iter().filter(|_| dnssec).map(|data| (number::RRSIG, data));
        let records = set.data.iter().map(|data| (set.rtype, data)).chain(signatures);
        section.extend(records.map(|(rtype, data)| Out {
            owner: owner.clone(),
            rtype,
            ttl,
            data: Cow::Borrowed(data),
        }));
    }

    fn answer(&mut self, owner: &[u8], set: &'a Set) {
        Self::push(&mut self.answers, Cow::Owned(owner.to_vec()), set, set.ttl, self.dnssec);
    }

    /// A proof; the same one often serves twice.
    pub(crate) fn prove(&mut self, owner: &'a [u8], set: &'a Set) {
        if !self.authorities.iter().any(|out| out.rtype == set.rtype && *out.owner == *owner) {
            Self::push(&mut self.authorities, Cow::Borrowed(owner), set, set.ttl, true);
        }
    }
}

/// What a wildcard was expanded for.
struct Expansion<'q> {
    encloser: &'q [u8],
    next_closer: &'q [u8],
}

impl Zone {
    /// Answers a question for a name at or below the apex.
    pub(crate) fn answer<'a>(&'a self, qname: &[u8], qtype: u16, reply: &mut Reply<'a>) -> Step {
        let mut path: Vec<&[u8]> =
            name::suffixes(qname).take_while(|name| name.len() >= self.apex.len()).collect();
        path.reverse();
        let (mut encloser, mut node): (&[u8], Option<&Node>) = (&self.apex, None);
        for name in path {
            if let Some(set) =
                node.filter(|node| node.moved).and_then(|node| node.set(number::DNAME))
            {
                return dname(encloser, set, qname, qtype, reply);
            }
            let Some(next) = self.node(name) else {
                return self.missing(qname, qtype, encloser, name, reply);
            };
            // The DS of a delegation is the parent's to say (RFC 4035 section 3.1.4.1).
            if next.cut && (name.len() < qname.len() || qtype != number::DS) {
                return self.referral(name, next, reply);
            }
            (encloser, node) = (name, Some(next));
        }
        match node {
            Some(node) => self.found(qname, qtype, node, None, reply),
            None => Step::NoName,
        }
    }

    /// Whether the name is delegated from here.
    pub(crate) fn delegates(&self, name: &[u8]) -> bool {
        self.node(name).is_some_and(|node| node.cut)
    }

    fn found<'a>(
        &'a self,
        qname: &[u8],
        qtype: u16,
        node: &'a Node,
        expansion: Option<Expansion<'_>>,
        reply: &mut Reply<'a>,
    ) -> Step {
        let set = match qtype {
            // One set is enough, and the smallest makes the poorest amplifier (RFC 8482 section 4.1).
            number::ANY => node
                .sets
                .iter()
                .min_by_key(|set| set.data.iter().map(|data| data.len() + 12).sum::<usize>()),
            number::RRSIG => {
                let signed = node.sets.iter().find(|set| !set.signatures.is_empty());
                if let Some(set) = signed {
                    let owner: Cow<'_, [u8]> = Cow::Owned(qname.to_vec());
                    reply.answers.extend(set.signatures.iter().map(|data| Out {
                        owner: owner.clone(),
                        rtype: number::RRSIG,
                        ttl: set.ttl,
                        data: Cow::Borrowed(data),
                    }));
                    return Step::Found;
                }
                None
            }
            _ => node.set(qtype).or_else(|| node.set(number::CNAME)),
        };
        let Some(set) = set else {
            self.negative(reply);
            if reply.dnssec {
                self.prove(
                    match expansion {
                        None => Claim::NoData { name: qname },
                        Some(Expansion { encloser, next_closer }) => {
                            Claim::ExpandedNoData { name: qname, encloser, next_closer }
                        }
                    },
                    reply,
                );
            }
            return Step::NoData;
        };
        reply.answer(qname, set);
        if let (true, Some(Expansion { next_closer, .. })) = (reply.dnssec, expansion) {
            self.prove(Claim::Expanded { name: qname, next_closer }, reply);
        }
        if let (number::CNAME, Some(target)) = (set.rtype, set.data.first())
            && qtype != number::CNAME
            && qtype != number::ANY
        {
            let mut target = target.to_vec();
            name::lower(&mut target);
            return Step::Chase(target);
        }
        self.addresses(set, reply);
        Step::Found
    }

    fn missing<'a>(
        &'a self,
        qname: &[u8],
        qtype: u16,
        encloser: &[u8],
        next_closer: &[u8],
        reply: &mut Reply<'a>,
    ) -> Step {
        let wildcard = name::wildcard(encloser).and_then(|wildcard| self.node(&wildcard));
        if let Some(node) = wildcard {
            return self.found(
                qname,
                qtype,
                node,
                Some(Expansion { encloser, next_closer }),
                reply,
            );
        }
        reply.rcode = NO_NAME;
        self.negative(reply);
        if reply.dnssec {
            self.prove(Claim::NoName { name: qname, encloser, next_closer }, reply);
        }
        Step::NoName
    }

    /// The SOA of a negative answer, which lives no longer than that (RFC 2308 section 3).
    pub(crate) fn negative<'a>(&'a self, reply: &mut Reply<'a>) {
        if let Some(set) = self.node(&self.apex).and_then(|node| node.set(number::SOA)) {
            let dnssec = reply.dnssec;
            Reply::push(
                &mut reply.authorities,
                Cow::Borrowed(&*self.apex),
                set,
                self.negative_ttl,
                dnssec,
            );
        }
    }

    fn referral<'a>(&'a self, cut: &[u8], node: &'a Node, reply: &mut Reply<'a>) -> Step {
        let owner = || Cow::Owned(cut.to_vec());
        let Some(servers) = node.set(number::NS) else { return Step::NoName };
        Reply::push(&mut reply.authorities, owner(), servers, servers.ttl, false);
        if reply.dnssec {
            match node.set(number::DS) {
                Some(set) => Reply::push(&mut reply.authorities, owner(), set, set.ttl, true),
                None => self.prove(Claim::NoData { name: cut }, reply),
            }
        }
        self.addresses(servers, reply);
        Step::Referral
    }

    /// Addresses of the servers that a set names, as far as this file has them.
    fn addresses<'a>(&'a self, set: &'a Set, reply: &mut Reply<'a>) {
        for server in set.data.iter().filter_map(|data| target(set.rtype, data)) {
            let mut server = server.to_vec();
            name::lower(&mut server);
            let Some(node) = self.node(&server) else { continue };
            if reply.additionals.iter().any(|out| *out.owner == *server) {
                continue;
            }
            // Glue isn't signed; addresses of the zone itself are.
            for address in [number::A, number::AAAA].into_iter().filter_map(|rtype| node.set(rtype))
            {
                let dnssec = reply.dnssec;
                Reply::push(
                    &mut reply.additionals,
                    Cow::Owned(server.clone()),
                    address,
                    address.ttl,
                    dnssec,
                );
            }
        }
    }
}

/// A DNAME and the CNAME that follows from it (RFC 6672 section 3.1).
fn dname<'a>(owner: &[u8], set: &'a Set, qname: &[u8], qtype: u16, reply: &mut Reply<'a>) -> Step {
    reply.answer(owner, set);
    let (Some(target), Some(prefix)) = (set.data.first(), qname.strip_suffix(owner)) else {
        return Step::TooLong;
    };
    let mut target = [prefix, target].concat();
    if target.len() > name::LONGEST {
        // YXDOMAIN.
        reply.rcode = 6;
        return Step::TooLong;
    }
    reply.answers.push(Out {
        owner: Cow::Owned(qname.to_vec()),
        rtype: number::CNAME,
        ttl: set.ttl,
        data: Cow::Owned(target.clone()),
    });
    if qtype == number::CNAME || qtype == number::ANY {
        // That CNAME is what was asked for.
        return Step::Found;
    }
    name::lower(&mut target);
    Step::Chase(target)
}
