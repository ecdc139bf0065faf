//! Whole attributes of pairs, as they stand in a packet.

use std::fmt;

use thiserror::Error;

use crate::attribute::{Attribute, Format, Hiding, Place, Type};
use crate::dictionary::Dictionary;
use crate::pair::Pair;
use crate::value::MOST_TAG;

/// What became of a pair.
#[derive(Debug, Eq, PartialEq)]
pub enum Encoded {
    /// Its attributes were written. For an empty text none: RFC 2865 section 5 leaves it out.
    Plain,
    /// Nothing was written: the secret that server and NAS share is needed for it.
    Hidden(Hidden),
}

/// An attribute that is hidden with the shared secret.
#[derive(Clone, Eq, PartialEq)]
pub struct Hidden {
    /// How: never [`Hiding::None`] nor [`Hiding::AscendSecret`].
    pub hiding: Hiding,
    /// The vendor's number, 0 for an attribute of its own.
    pub vendor: u32,
    /// Number of the attribute, in the vendor's Vendor-Specific if there is a vendor.
    pub kind: u8,
    /// The tag in front of the salt; for attributes with tags it is 0 if there is none.
    pub tag: Option<u8>,
    /// The value before it is hidden, without length and padding.
    pub plain: Vec<u8>,
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hidden")
            .field("hiding", &self.hiding)
            .field("vendor", &self.vendor)
            .field("kind", &self.kind)
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

/// Why a pair can't be sent.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum EncodeError {
    /// It is for the server alone.
    #[error("{attribute} is for the server alone and stands in no packet; leave it out of replies")]
    Internal {
        /// The attribute.
        attribute: Box<str>,
    },
    /// The value is too long.
    #[error("{attribute} has {length} bytes, and {most} have place in the attribute; shorten it")]
    TooLong {
        /// The attribute.
        attribute: Box<str>,
        /// Bytes of the value with what is around it in the attribute.
        length: usize,
        /// Bytes that have place.
        most: usize,
    },
    /// The number is too large.
    #[error("the number of {attribute} is larger than {most}; correct it")]
    Range {
        /// The attribute.
        attribute: Box<str>,
        /// The largest number.
        most: u32,
    },
    /// The tag is too large, or the attribute takes none.
    #[error(
        "{attribute} has a tag that it can't have; tags are 0 to 31, and only some attributes take them"
    )]
    Tag {
        /// The attribute.
        attribute: Box<str>,
    },
    /// The value is of another type than the attribute.
    #[error("the value of {attribute} is not of its type, {kind}; correct it")]
    Mismatch {
        /// The attribute.
        attribute: Box<str>,
        /// Its type.
        kind: Type,
    },
    /// It asks something and sets nothing.
    #[error("{attribute} asks for something and sets nothing; set it with :=, = or +=")]
    Question {
        /// The attribute.
        attribute: Box<str>,
    },
    /// A way of hiding, or a place for something hidden, that is not known here.
    #[error("{attribute} is hidden in a way that is not supported; leave it out")]
    Unsupported {
        /// The attribute.
        attribute: Box<str>,
    },
}

/// Bytes of a value in an attribute (RFC 2865 section 5).
const MOST: usize = 253;

/// The highest bit of the flags of a long extended attribute: it goes on in the next one (RFC 6929 section 2.2).
pub(crate) const MORE: u8 = 0x80;

/// Number of Extended-Vendor-Specific within an extended attribute (RFC 6929 section 2.4).
pub(crate) const EXTENDED_VENDOR_SPECIFIC: u8 = 26;

impl Dictionary {
    /// Writes a pair's attributes behind what `out` holds, or says what has to be hidden first.
    ///
    /// # Errors
    /// Why it can't be sent; `out` is as it was.
    pub fn encode(&self, pair: &Pair, out: &mut Vec<u8>) -> Result<Encoded, EncodeError> {
        check(pair)?;
        if pair.attribute.hiding() != Hiding::None {
            return hidden(self, pair).map(Encoded::Hidden);
        }
        self.written(std::slice::from_ref(pair), out).map(|()| Encoded::Plain)
    }

    /// Writes all pairs' attributes. Neighbours in the same TLV share it, as devices want that look for one only.
    ///
    /// # Errors
    /// Why the first that can't be sent can't; `out` is as it was.
    pub fn encode_all(
        &self,
        pairs: &[Pair],
        out: &mut Vec<u8>,
    ) -> Result<Vec<Hidden>, EncodeError> {
        let start = out.len();
        let result = self.all(pairs, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    fn all(&self, pairs: &[Pair], out: &mut Vec<u8>) -> Result<Vec<Hidden>, EncodeError> {
        let mut later = Vec::new();
        for group in pairs.chunk_by(share_a_tlv) {
            match group {
                [pair] => match self.encode(pair, out)? {
                    Encoded::Plain => {}
                    Encoded::Hidden(hidden) => later.push(hidden),
                },
                group => {
                    group.iter().try_for_each(check)?;
                    self.group(group, out)?;
                }
            }
        }
        Ok(later)
    }

    /// As few TLVs as there is place in.
    fn group(&self, pairs: &[Pair], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        match self.written(pairs, out) {
            Err(EncodeError::TooLong { .. }) if pairs.len() > 1 => {
                let (first, second) =
                    pairs.split_at_checked(pairs.len() / 2).unwrap_or((pairs, &[]));
                self.group(first, out)?;
                self.group(second, out)
            }
            result => result,
        }
    }

    /// `pairs` are one, or several that share a TLV.
    fn written(&self, pairs: &[Pair], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let Some(Pair { attribute, .. }) = pairs.first() else { return Ok(()) };
        let mut value = Vec::new();
        tlvs(pairs, attribute.place.depth(), &mut value)?;
        if value.is_empty() && attribute.known {
            return Ok(());
        }
        let start = out.len();
        let result = self.framed(attribute, &value, out);
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// Puts the headers of the attribute's place around a value.
    fn framed(
        &self,
        attribute: &Attribute,
        value: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let internal = || EncodeError::Internal { attribute: attribute.name.clone() };
        let mut numbers = attribute.numbers.iter().copied();
        let kind = numbers.next().and_then(|kind| u8::try_from(kind).ok()).ok_or_else(internal)?;
        let mut number = || numbers.next().ok_or_else(internal);
        match attribute.place {
            Place::Internal => return Err(internal()),
            Place::Top if attribute.flags.concat => {
                for chunk in value.chunks(MOST) {
                    attribute_of(attribute, kind, &[chunk], out)?;
                }
            }
            Place::Top => attribute_of(attribute, kind, &[value], out)?,
            Place::Vendor => {
                let (vendor, number) = (number()?, number()?);
                let format = self.format(vendor);
                vendor_specific(attribute, kind, format, [vendor, number], value, out)?;
            }
            Place::Extended { long } => {
                let number = octet(attribute, number()?)?;
                extended(attribute, kind, number, long, value, out)?;
            }
            Place::ExtendedVendor { long } => {
                let (_, vendor, number) = (number()?, number()?, number()?);
                let mut inner = vendor.to_be_bytes().to_vec();
                inner.push(octet(attribute, number)?);
                inner.extend_from_slice(value);
                extended(attribute, kind, EXTENDED_VENDOR_SPECIFIC, long, &inner, out)?;
            }
        }
        Ok(())
    }
}

fn check(pair: &Pair) -> Result<(), EncodeError> {
    let attribute = &pair.attribute;
    let name = || attribute.name.clone();
    if attribute.is_internal() {
        return Err(EncodeError::Internal { attribute: name() });
    }
    if !pair.operator.sets() {
        return Err(EncodeError::Question { attribute: name() });
    }
    if pair.tag.is_some_and(|tag| tag > MOST_TAG || !attribute.tagged()) {
        return Err(EncodeError::Tag { attribute: name() });
    }
    Ok(())
}

fn hidden(dictionary: &Dictionary, pair: &Pair) -> Result<Hidden, EncodeError> {
    let attribute = &pair.attribute;
    let unsupported = || EncodeError::Unsupported { attribute: attribute.name.clone() };
    let (vendor, kind) = match (attribute.place, &*attribute.numbers) {
        (Place::Top, &[kind]) => (0, kind),
        (Place::Vendor, &[_, vendor, kind]) if dictionary.format(vendor) == Format::RFC => {
            (vendor, kind)
        }
        _ => return Err(unsupported()),
    };
    if attribute.hiding() == Hiding::AscendSecret {
        return Err(unsupported());
    }
    let mut plain = Vec::new();
    attribute.put(&pair.value, None, &mut plain)?;
    Ok(Hidden {
        hiding: attribute.hiding(),
        vendor,
        kind: u8::try_from(kind).map_err(|_| unsupported())?,
        tag: attribute.tagged().then(|| pair.tag.unwrap_or(0)),
        plain,
    })
}

/// Whether the outermost value of both is the same TLV.
fn share_a_tlv(one: &Pair, other: &Pair) -> bool {
    let depth = one.attribute.place.depth();
    let ways = (
        one.attribute.numbers.split_at_checked(depth),
        other.attribute.numbers.split_at_checked(depth),
    );
    match ways {
        (Some((way, [_, ..])), Some((other_way, [_, ..]))) => {
            one.attribute.place == other.attribute.place && way == other_way
        }
        _ => false,
    }
}

/// The value at that depth: of the only pair, or TLVs.
fn tlvs(pairs: &[Pair], depth: usize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let number = |pair: &Pair| pair.attribute.numbers.get(depth).copied();
    for run in pairs.chunk_by(|one, other| number(one) == number(other)) {
        let Some(first) = run.first() else { continue };
        let Some(kind) = number(first) else {
            if first.attribute.hiding() != Hiding::None {
                return Err(EncodeError::Unsupported { attribute: first.attribute.name.clone() });
            }
            first.attribute.put(&first.value, first.tag, out)?;
            continue;
        };
        // Each leaf has its TLV; what is deeper shares one.
        let leaf = first.attribute.numbers.len() == depth + 1;
        for run in run.chunks(if leaf { 1 } else { run.len() }) {
            let start = out.len();
            out.extend_from_slice(&[octet(&first.attribute, kind)?, 0]);
            tlvs(run, depth + 1, out)?;
            let length = out.len() - start;
            let octet = u8::try_from(length).map_err(|_| EncodeError::TooLong {
                attribute: first.attribute.name.clone(),
                length: length - 2,
                most: MOST,
            })?;
            if let Some(place) = out.get_mut(start + 1) {
                *place = octet;
            }
        }
    }
    Ok(())
}

/// One attribute of the packet, with parts one behind the other.
fn attribute_of(
    attribute: &Attribute,
    kind: u8,
    parts: &[&[u8]],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let octet = u8::try_from(length + 2).map_err(|_| EncodeError::TooLong {
        attribute: attribute.name.clone(),
        length,
        most: MOST,
    })?;
    out.extend_from_slice(&[kind, octet]);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    Ok(())
}

fn vendor_specific(
    attribute: &Attribute,
    kind: u8,
    format: Format,
    [vendor, number]: [u32; 2],
    value: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let piece = if format.continuation { MOST - 4 - format.header() } else { usize::MAX };
    let mut chunks = value.chunks(piece);
    // An empty value has a chunk too.
    let mut next = chunks.next().or(Some(&[]));
    while let Some(chunk) = next {
        next = chunks.next();
        let mut header = Vec::with_capacity(format.header());
        put(&mut header, number, format.type_octets);
        let length = format.header() + chunk.len();
        put(&mut header, u32::try_from(length).unwrap_or(u32::MAX), format.length_octets);
        if format.continuation {
            header.push(if next.is_some() { MORE } else { 0 });
        }
        attribute_of(attribute, kind, &[&vendor.to_be_bytes(), &header, chunk], out)?;
    }
    Ok(())
}

/// The last `octets` octets of a number.
fn put(out: &mut Vec<u8>, number: u32, octets: u8) {
    let bytes = number.to_be_bytes();
    out.extend_from_slice(
        bytes.get(bytes.len() - usize::from(octets.min(4))..).unwrap_or_default(),
    );
}

fn extended(
    attribute: &Attribute,
    kind: u8,
    number: u8,
    long: bool,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    if !long {
        return attribute_of(attribute, kind, &[&[number], value], out);
    }
    let mut chunks = value.chunks(MOST - 2);
    let mut next = chunks.next().or(Some(&[]));
    while let Some(chunk) = next {
        next = chunks.next();
        let flags = if next.is_some() { MORE } else { 0 };
        attribute_of(attribute, kind, &[&[number, flags], chunk], out)?;
    }
    Ok(())
}

fn octet(attribute: &Attribute, number: u32) -> Result<u8, EncodeError> {
    u8::try_from(number).map_err(|_| EncodeError::Internal { attribute: attribute.name.clone() })
}

#[cfg(test)]
mod tests;
