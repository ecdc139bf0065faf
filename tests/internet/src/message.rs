//! Questions read and answers written (RFC 1035 section 4, RFC 6891).

use crate::name::DomainName;
use crate::record::{CNAME, DNAME, MX, NS, OPT, PTR, Placed, SOA};

pub(crate) const NOERROR: u8 = 0;
pub(crate) const FORMERR: u8 = 1;
pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;
pub(crate) const NOTIMP: u8 = 4;
pub(crate) const REFUSED: u8 = 5;

/// Octets of a header.
const HEADER: usize = 12;
/// What these servers say that they take over UDP.
const PAYLOAD: u16 = 1_232;
/// The DO flag in an OPT record's time to live.
const DNSSEC_OK: u16 = 0x8000;

/// What was asked, and how.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) id: u16,
    /// RD and CD, as they are given back.
    flags: u16,
    pub(crate) name: DomainName,
    pub(crate) rtype: u16,
    /// The question section in the asker's letter case.
    raw: Vec<u8>,
    pub(crate) edns: Option<Edns>,
}

/// What an OPT record says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edns {
    payload: u16,
    pub(crate) dnssec_ok: bool,
}

/// Why there is no question to answer.
pub(crate) enum Unreadable {
    /// Too short for a header, or a response: silence.
    Ignored,
    /// Answered with this message.
    Answered(Vec<u8>),
}

impl Question {
    pub(crate) fn parse(query: &[u8]) -> Result<Self, Unreadable> {
        let word = |at: usize| {
            query.get(at..at + 2).and_then(|w| w.try_into().ok()).map(u16::from_be_bytes)
        };
        let (Some(id), Some(flags)) = (word(0), word(2)) else { return Err(Unreadable::Ignored) };
        if query.len() < HEADER || flags & 0x8000 != 0 {
            return Err(Unreadable::Ignored);
        }
        let refuse = |rcode: u8| {
            let mut message = query.get(..HEADER).unwrap_or(&[]).to_vec();
            for (octet, value) in message.iter_mut().skip(2).zip([
                0x80 | (flags >> 8) as u8 & 0x79,
                rcode,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ]) {
                *octet = value;
            }
            Unreadable::Answered(message)
        };
        if flags >> 11 & 15 != 0 {
            return Err(refuse(NOTIMP));
        }
        let Some((name, length)) = query.get(HEADER..).and_then(DomainName::from_wire) else {
            return Err(refuse(FORMERR));
        };
        let end = HEADER + length + 4;
        let (Some(1), Some(rtype), Some(raw)) =
            (word(4), word(HEADER + length), query.get(HEADER..end))
        else {
            return Err(refuse(FORMERR));
        };
        // Queries of resolvers have nothing but an OPT record behind the question.
        let edns = match (query.get(end), word(end + 1), word(end + 3), word(end + 7)) {
            (Some(0), Some(OPT), Some(payload), Some(flags)) => {
                Some(Edns { payload, dnssec_ok: flags & DNSSEC_OK != 0 })
            }
            _ => None,
        };
        Ok(Self { id, flags: flags & 0x0110, name, rtype, raw: raw.to_vec(), edns })
    }

    pub(crate) fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|e| e.dnssec_ok)
    }

    /// The same question of somebody who knows no EDNS.
    pub(crate) fn without_edns(&self) -> Self {
        Self { edns: None, ..self.clone() }
    }

    /// Most octets of an answer over UDP.
    pub(crate) fn limit(&self) -> usize {
        self.edns.map_or(512, |e| usize::from(e.payload.max(512)))
    }

    /// A message that was written for the same question of somebody else, made one for this.
    pub(crate) fn readdress(&self, message: &[u8]) -> Vec<u8> {
        let mut bytes = message.to_vec();
        for (octet, value) in bytes.iter_mut().zip(self.id.to_be_bytes()) {
            *octet = value;
        }
        for (octet, value) in bytes.iter_mut().skip(2).zip(self.flags.to_be_bytes()) {
            *octet |= value;
        }
        for (octet, &value) in bytes.iter_mut().skip(HEADER).zip(&self.raw) {
            *octet = value;
        }
        bytes
    }

    /// The answer that says "ask over TCP".
    pub(crate) fn truncated(&self) -> Vec<u8> {
        let message = Response { truncated: true, aa: true, ..Response::default() };
        self.readdress(&message.encode(self))
    }
}

/// An answer before it is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Response {
    pub(crate) rcode: u8,
    pub(crate) aa: bool,
    pub(crate) truncated: bool,
    pub(crate) answer: Vec<Placed>,
    pub(crate) authority: Vec<Placed>,
    pub(crate) additional: Vec<Placed>,
}

impl Response {
    pub(crate) fn failure(rcode: u8) -> Self {
        Self { rcode, ..Self::default() }
    }

    /// The message, with id 0 and the question in lower case.
    pub(crate) fn encode(&self, question: &Question) -> Vec<u8> {
        let count = |sets: &[Placed]| sets.iter().map(|p| p.set.rdata.len()).sum::<usize>() as u16;
        let mut flags = 0x8000 | u16::from(self.rcode);
        flags |= u16::from(self.aa) << 10 | u16::from(self.truncated) << 9;
        let mut out = Writer { bytes: Vec::with_capacity(512), seen: Vec::new() };
        for word in [
            0,
            flags,
            1,
            count(&self.answer),
            count(&self.authority),
            count(&self.additional) + u16::from(question.edns.is_some()),
        ] {
            out.bytes.extend(word.to_be_bytes());
        }
        out.name(&question.name);
        out.bytes.extend(question.rtype.to_be_bytes());
        out.bytes.extend(1_u16.to_be_bytes());
        for placed in self.answer.iter().chain(&self.authority).chain(&self.additional) {
            out.set(placed);
        }
        if let Some(edns) = question.edns {
            out.bytes.push(0);
            out.bytes.extend(OPT.to_be_bytes());
            out.bytes.extend(PAYLOAD.to_be_bytes());
            out.bytes.extend(0_u16.to_be_bytes());
            out.bytes.extend((if edns.dnssec_ok { DNSSEC_OK } else { 0 }).to_be_bytes());
            out.bytes.extend(0_u16.to_be_bytes());
        }
        out.bytes
    }
}

/// Writes names with compression.
struct Writer {
    bytes: Vec<u8>,
    /// Suffixes in wire form, and where they stand.
    seen: Vec<(Vec<u8>, u16)>,
}

impl Writer {
    fn set(&mut self, placed: &Placed) {
        for rdata in &placed.set.rdata {
            self.name(&placed.owner);
            self.bytes.extend(placed.rtype.to_be_bytes());
            self.bytes.extend(1_u16.to_be_bytes());
            self.bytes.extend(placed.set.ttl.to_be_bytes());
            let length_at = self.bytes.len();
            self.bytes.extend([0, 0]);
            self.rdata(placed.rtype, rdata);
            let length = (self.bytes.len() - length_at - 2) as u16;
            for (octet, value) in self.bytes.iter_mut().skip(length_at).zip(length.to_be_bytes()) {
                *octet = value;
            }
        }
    }

    /// Names are compressed in the data of those types alone that RFC 1035 defines (RFC 3597 section 4).
    fn rdata(&mut self, rtype: u16, rdata: &[u8]) {
        let (before, names) = match rtype {
            NS | CNAME | PTR => (0, 1),
            MX => (2, 1),
            SOA => (0, 2),
            _ => (rdata.len(), 0),
        };
        let (head, mut rest) = rdata.split_at_checked(before).unwrap_or((rdata, &[]));
        self.bytes.extend(head);
        for _ in 0..names {
            let Some((name, length)) = DomainName::from_wire(rest) else { break };
            self.name(&name);
            rest = rest.get(length..).unwrap_or(&[]);
        }
        self.bytes.extend(rest);
    }

    fn name(&mut self, name: &DomainName) {
        let mut rest = name.as_wire();
        while let [length, ..] = rest
            && *length > 0
        {
            if let Some((_, at)) = self.seen.iter().find(|(suffix, _)| suffix == rest) {
                self.bytes.extend((0xc000 | at).to_be_bytes());
                return;
            }
            if let Ok(at @ ..0x4000) = u16::try_from(self.bytes.len()) {
                self.seen.push((rest.to_vec(), at));
            }
            let (label, next) =
                rest.split_at_checked(usize::from(*length) + 1).unwrap_or((rest, &[]));
            self.bytes.extend(label);
            rest = next;
        }
        self.bytes.push(0);
    }
}

/// The name in the data of an NS, CNAME, PTR or DNAME record.
pub(crate) fn target(rtype: u16, rdata: &[u8]) -> Option<DomainName> {
    let at = match rtype {
        NS | CNAME | PTR | DNAME => 0,
        MX => 2,
        _ => return None,
    };
    Some(DomainName::from_wire(rdata.get(at..)?)?.0)
}
