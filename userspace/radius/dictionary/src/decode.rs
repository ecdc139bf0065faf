//! Pairs of what stands in a packet. Nothing here fails: what is not understood is kept as octets.

use std::borrow::Cow;
use std::sync::Arc;

use crate::attribute::{Attribute, Format, Type};
use crate::dictionary::{Dictionary, Room, VENDOR_SPECIFIC};
use crate::encode::{EXTENDED_VENDOR_SPECIFIC, MORE};
use crate::pair::{Operator, Pair};
use crate::value::Value;

impl Dictionary {
    /// The pairs of a packet's attributes, in their order. An attribute that is not known, or whose value can't be
    /// one of its type, becomes octets under a name made of its numbers: `Attr-250`, `Attr-26.9.200`. What is hidden
    /// with the secret stays hidden, as octets. What follows an impossible length is left out.
    pub fn decode(&self, attributes: &[u8]) -> Vec<Pair> {
        let mut out = Vec::with_capacity(16);
        let mut rest = attributes;
        while let Some((kind, value, next)) = split(rest) {
            rest = next;
            let number = u32::from(kind);
            let known = self.in_room(Room::Top, number);
            match known.map(|(at, attribute)| (at, attribute.kind, attribute.flags.concat)) {
                Some((_, Type::Vsa, _)) => self.vendor_specific(number, value, &mut rest, &mut out),
                Some((at, Type::Extended, _)) => match value.split_first() {
                    Some((&inner, data)) => self.extended(at, inner, data, &mut out),
                    None => self.raw(Room::Top, number, value, &mut out),
                },
                Some((at, Type::LongExtended, _)) => match gather_long(kind, value, &mut rest) {
                    Some((inner, data)) => self.extended(at, inner, &data, &mut out),
                    None => self.raw(Room::Top, number, value, &mut out),
                },
                Some((_, _, true)) => {
                    let mut whole = Cow::Borrowed(value);
                    while let Some((same, value, next)) = split(rest)
                        && same == kind
                    {
                        rest = next;
                        whole.to_mut().extend_from_slice(value);
                    }
                    self.emit(Room::Top, number, &whole, &mut out);
                }
                None if number == VENDOR_SPECIFIC => {
                    self.vendor_specific(number, value, &mut rest, &mut out);
                }
                Some(_) | None => self.emit(Room::Top, number, value, &mut out),
            }
        }
        out
    }

    /// An attribute where it is known in which room it stands.
    fn emit(&self, room: Room, number: u32, bytes: &[u8], out: &mut Vec<Pair>) {
        let Some((at, attribute)) = self.in_room(room, number) else {
            return self.raw(room, number, bytes, out);
        };
        if attribute.kind == Type::Tlv {
            if whole_tlvs(bytes) {
                let mut rest = bytes;
                while let Some((kind, value, next)) = split(rest) {
                    rest = next;
                    self.emit(Room::Inside(at), kind.into(), value, out);
                }
            } else {
                self.raw(room, number, bytes, out);
            }
            return;
        }
        if attribute.flags.array
            && let Some(size) = attribute.kind.size()
            && bytes.len() > size
            && bytes.len().is_multiple_of(size)
        {
            for value in bytes.chunks(size).filter_map(|element| attribute.value_of(element)) {
                out.push(pair(attribute.clone(), None, value));
            }
            return;
        }
        match attribute.tagged_value_of(bytes) {
            Some((tag, value)) => out.push(pair(attribute.clone(), tag, value)),
            None => self.raw(room, number, bytes, out),
        }
    }

    /// An attribute that is not understood.
    fn raw(&self, room: Room, number: u32, bytes: &[u8], out: &mut Vec<Pair>) {
        let Some(place) = self.place(room, number) else { return };
        let attribute = Attribute::unknown(self.numbers_to(room, number), place);
        out.push(pair(Arc::new(attribute), None, Value::Octets(bytes.into())));
    }

    /// RFC 2865 section 5.26: the vendor, and then mostly attributes of the vendor. If it is not so, it is one string.
    fn vendor_specific(&self, number: u32, value: &[u8], rest: &mut &[u8], out: &mut Vec<Pair>) {
        let Some((vendor, inner)) = value.split_first_chunk::<4>() else {
            return self.raw(Room::Top, number, value, out);
        };
        let vendor = u32::from_be_bytes(*vendor);
        let format = self.format(vendor);
        if !is_whole(inner, format) {
            return self.raw(Room::Top, number, value, out);
        }
        let room = Room::Vendor(vendor);
        let start = out.len();
        let mut left = inner;
        while let Some(part) = split_vendor(left, format) {
            left = part.rest;
            // One that goes on in the next attribute stands alone in this one.
            let gathered = match part.more {
                true if left.is_empty() && part.alone(inner, format) => {
                    gather_vendor(vendor, format, &part, rest).map(Cow::Owned)
                }
                true => None,
                false => Some(Cow::Borrowed(part.value)),
            };
            match gathered {
                Some(value) => self.emit(room, part.number, &value, out),
                // Only the whole says that it should have gone on.
                None => {
                    out.truncate(start);
                    return self.raw(Room::Top, number, value, out);
                }
            }
        }
    }

    /// What stands in an extended attribute (RFC 6929 section 2).
    fn extended(&self, at: u32, inner: u8, data: &[u8], out: &mut Vec<Pair>) {
        let room = Room::Inside(at);
        let holder = self.in_room(room, inner.into());
        if inner == EXTENDED_VENDOR_SPECIFIC
            && let Some((evs, attribute)) = holder
            && attribute.kind == Type::Evs
            && let Some((vendor, [kind, value @ ..])) = data.split_first_chunk::<4>()
        {
            let vendor = u32::from_be_bytes(*vendor);
            return self.emit(Room::ExtendedVendor(evs, vendor), (*kind).into(), value, out);
        }
        self.emit(room, inner.into(), data, out);
    }
}

fn pair(attribute: Arc<Attribute>, tag: Option<u8>, value: Value) -> Pair {
    Pair { attribute, operator: Operator::Equal, tag, value }
}

/// The attribute or TLV at the front, and what follows it.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[kind, length], _) = bytes.split_first_chunk()?;
    let (attribute, rest) = bytes.split_at_checked(length.into())?;
    Some((kind, attribute.get(2..)?, rest))
}

/// Whether it is one TLV after the other, and at least one.
fn whole_tlvs(mut bytes: &[u8]) -> bool {
    let any = !bytes.is_empty();
    while let Some((_, _, rest)) = split(bytes) {
        bytes = rest;
    }
    any && bytes.is_empty()
}

/// A long extended attribute with what the following ones add to it; none if one is missing (RFC 6929 section 2.2).
fn gather_long<'a>(kind: u8, first: &'a [u8], rest: &mut &'a [u8]) -> Option<(u8, Cow<'a, [u8]>)> {
    let (&[number, flags], data) = first.split_first_chunk()?;
    let mut whole = Cow::Borrowed(data);
    let (mut flags, mut length) = (flags, first.len());
    let mut after = *rest;
    while flags & MORE != 0 {
        // One that goes on is full.
        if length != 253 {
            return None;
        }
        let (same, value, next) = split(after)?;
        let (&[inner, more], data) = value.split_first_chunk()?;
        if same != kind || inner != number {
            return None;
        }
        whole.to_mut().extend_from_slice(data);
        (flags, length, after) = (more, value.len(), next);
    }
    *rest = after;
    Some((number, whole))
}

/// One of a vendor's attributes.
struct Part<'a> {
    number: u32,
    value: &'a [u8],
    /// It goes on in the next Vendor-Specific.
    more: bool,
    rest: &'a [u8],
}

impl Part<'_> {
    /// Whether it fills the whole.
    fn alone(&self, whole: &[u8], format: Format) -> bool {
        whole.len() == format.header() + self.value.len()
    }
}

fn split_vendor(bytes: &[u8], format: Format) -> Option<Part<'_>> {
    let (number, after) = take(bytes, format.type_octets)?;
    let (length, _) = take(after, format.length_octets)?;
    let length = if format.length_octets == 0 { bytes.len() } else { length as usize };
    let (whole, rest) = bytes.split_at_checked(length)?;
    let (header, value) = whole.split_at_checked(format.header())?;
    let more = format.continuation && header.last().is_some_and(|flags| flags & MORE != 0);
    Some(Part { number, value, more, rest })
}

/// A number of that many octets, and what follows.
fn take(bytes: &[u8], octets: u8) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_at_checked(octets.into())?;
    Some((number.iter().fold(0, |number, octet| number << 8 | u32::from(*octet)), rest))
}

/// Whether it is one of the vendor's attributes after the other, and at least one.
fn is_whole(mut bytes: &[u8], format: Format) -> bool {
    let any = !bytes.is_empty();
    while let Some(part) = split_vendor(bytes, format) {
        bytes = part.rest;
    }
    any && bytes.is_empty()
}

/// A value with what the following Vendor-Specific attributes add to it; none if one is missing.
fn gather_vendor(
    vendor: u32,
    format: Format,
    first: &Part<'_>,
    rest: &mut &[u8],
) -> Option<Vec<u8>> {
    let mut whole = first.value.to_vec();
    let mut after = *rest;
    let mut more = true;
    while more {
        let (kind, value, next) = split(after)?;
        let (same, inner) = value.split_first_chunk::<4>()?;
        let part = split_vendor(inner, format)?;
        let fits = u32::from(kind) == VENDOR_SPECIFIC
            && u32::from_be_bytes(*same) == vendor
            && part.number == first.number;
        if !fits || !part.rest.is_empty() {
            return None;
        }
        whole.extend_from_slice(part.value);
        (more, after) = (part.more, next);
    }
    *rest = after;
    Some(whole)
}

#[cfg(test)]
mod tests;
