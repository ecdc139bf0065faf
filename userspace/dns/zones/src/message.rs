//! Answers into messages (RFC 1035 section 4), with names compressed.

use std::borrow::Cow;

use crate::name;
use crate::rdata::number;

/// Names that later ones may point to; more would cost more than they save.
const POINTERS: usize = 96;

/// One record of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Out<'a> {
    pub(crate) owner: Cow<'a, [u8]>,
    pub(crate) rtype: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Cow<'a, [u8]>,
}

/// A response with id 0 and QR set, and what it holds. What doesn't fit 65,535 bytes is left out: of the additional
/// section quietly, of the others with TC.
pub(crate) fn write(
    qname: &[u8],
    qtype: u16,
    rcode: u8,
    authoritative: bool,
    sections: [&[Out<'_>]; 3],
) -> Vec<u8> {
    let mut writer = Writer { wire: Vec::with_capacity(512), starts: Vec::new() };
    writer.wire.extend([0; 12]);
    writer.name(qname);
    writer.wire.extend(qtype.to_be_bytes());
    writer.wire.extend([0, 1]);
    let mut flags = 0x8000 | u16::from(rcode) | if authoritative { 0x0400 } else { 0 };
    let mut counts = [1u16, 0, 0, 0];
    for (number, section) in sections.iter().enumerate() {
        for record in *section {
            if !writer.record(record) {
                if number < 2 {
                    flags |= 0x0200;
                }
                break;
            }
            if let Some(count) = counts.get_mut(number + 1) {
                *count += 1;
            }
        }
    }
    let header = [0, flags].into_iter().chain(counts).flat_map(u16::to_be_bytes);
    for (place, byte) in writer.wire.iter_mut().zip(header) {
        *place = byte;
    }
    writer.wire
}

struct Writer {
    wire: Vec<u8>,
    /// Where names begin.
    starts: Vec<u16>,
}

impl Writer {
    /// False, and nothing written, if it doesn't fit.
    fn record(&mut self, record: &Out<'_>) -> bool {
        let (before, known) = (self.wire.len(), self.starts.len());
        self.name(&record.owner);
        self.wire.extend(record.rtype.to_be_bytes());
        self.wire.extend([0, 1]);
        self.wire.extend(record.ttl.to_be_bytes());
        let length_at = self.wire.len();
        self.wire.extend([0, 0]);
        self.data(record.rtype, &record.data);
        let length = self.wire.len() - length_at - 2;
        if self.wire.len() > usize::from(u16::MAX) {
            self.wire.truncate(before);
            self.starts.truncate(known);
            return false;
        }
        if let Some(place) = self.wire.get_mut(length_at..length_at + 2) {
            place.copy_from_slice(&(length as u16).to_be_bytes());
        }
        true
    }

    /// Names within data are compressed in the types of RFC 1035 only (RFC 3597 section 4).
    fn data(&mut self, rtype: u16, data: &[u8]) {
        let (plain, names) = match rtype {
            number::NS | number::CNAME | number::PTR => (0, 1),
            number::MX => (2, 1),
            number::SOA => (0, 2),
            _ => (data.len(), 0),
        };
        let (head, mut rest) = data.split_at_checked(plain).unwrap_or((data, &[]));
        self.wire.extend_from_slice(head);
        for _ in 0..names {
            let Some((name, after)) =
                name::prefix(rest).and_then(|length| rest.split_at_checked(length))
            else {
                break;
            };
            self.name(name);
            rest = after;
        }
        self.wire.extend_from_slice(rest);
    }

    fn name(&mut self, name: &[u8]) {
        let fresh = self.starts.len();
        for suffix in name::suffixes(name) {
            if suffix == name::ROOT {
                self.wire.push(0);
                return;
            }
            let known = self
                .starts
                .get(..fresh)
                .unwrap_or_default()
                .iter()
                .find(|&&start| self.spells(start, suffix));
            if let Some(start) = known {
                self.wire.extend((0xc000 | start).to_be_bytes());
                return;
            }
            match u16::try_from(self.wire.len()) {
                Ok(start) if start < 0x4000 && self.starts.len() < POINTERS => {
                    self.starts.push(start)
                }
                _ => {}
            }
            let label = suffix.first().map_or(0, |length| 1 + usize::from(*length));
            self.wire.extend_from_slice(suffix.get(..label).unwrap_or_default());
        }
    }

    /// Whether the name at `start` is this one, letter case included.
    fn spells(&self, start: u16, name: &[u8]) -> bool {
        let mut at = usize::from(start);
        let mut rest = name;
        loop {
            match (self.wire.get(at), rest.first()) {
                // Pointers that we wrote lead backwards only.
                (Some(&high @ 0xc0..), _) => match self.wire.get(at + 1) {
                    Some(&low) => at = usize::from(u16::from_be_bytes([high & 0x3f, low])),
                    None => return false,
                },
                (Some(0), Some(0)) => return true,
                (Some(&length), Some(&same)) if length == same => {
                    let size = 1 + usize::from(length);
                    if self.wire.get(at..at + size) != rest.get(..size) {
                        return false;
                    }
                    at += size;
                    rest = rest.get(size..).unwrap_or_default();
                }
                _ => return false,
            }
        }
    }
}
