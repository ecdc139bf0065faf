//! Packets, parsed with limits.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::code::Code;
use crate::extended::{ExtendedAttribute, extended};
use crate::kind;

/// Bytes of a packet at most (RFC 2865 section 3).
pub const LONGEST: usize = 4_096;

/// Bytes before the attributes: code, identifier, length, authenticator.
pub const HEADER: usize = 20;

/// Attributes of a packet at most. 4,096 bytes could hold eight times as many, but no NAS sends them; the NIC's check
/// draws the same line.
pub const MOST_ATTRIBUTES: usize = 255;

/// A packet whose lengths add up. Borrows the datagram; nothing in it is proven yet: see
/// [`verify_request`](crate::verify_request).
#[derive(Clone, Copy)]
pub struct Packet<'a> {
    /// As many as Length says: what follows in the datagram is padding (RFC 2865 section 3).
    bytes: &'a [u8],
    code: Code,
    id: u8,
    authenticator: &'a [u8; 16],
    present: Present,
    /// Where the first Message-Authenticator begins; 0 if there is none.
    signature: u16,
    signed_again: bool,
}

impl<'a> Packet<'a> {
    /// Takes a datagram.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Malformed> {
        let Some(header) = datagram.first_chunk::<HEADER>() else { return Err(Malformed::Short) };
        let [code, id, length_1, length_2, authenticator @ ..] = header;
        let length = usize::from(u16::from_be_bytes([*length_1, *length_2]));
        if length < HEADER {
            return Err(Malformed::LengthTooSmall);
        }
        if length > LONGEST {
            return Err(Malformed::LengthTooBig);
        }
        let bytes = datagram.get(..length).ok_or(Malformed::Truncated)?;
        let mut packet = Self {
            bytes,
            code: Code(*code),
            id: *id,
            authenticator,
            present: Present::default(),
            signature: 0,
            signed_again: false,
        };
        packet.walk()?;
        Ok(packet)
    }

    /// Looks at every attribute once.
    fn walk(&mut self) -> Result<(), Malformed> {
        let mut at = HEADER;
        for _ in 0..MOST_ATTRIBUTES {
            let &[kind, length, ..] = self.bytes.get(at..).unwrap_or_default() else { break };
            if length < 2 {
                return Err(Malformed::AttributeTooShort);
            }
            if kind == kind::MESSAGE_AUTHENTICATOR {
                self.signed_again |= self.signature != 0;
                if self.signature == 0 {
                    self.signature = u16::try_from(at).unwrap_or_default();
                }
            }
            self.present.add(kind);
            at += usize::from(length);
        }
        match self.bytes.len() {
            length if at == length => Ok(()),
            // One octet is left, or the last attribute wants more than there is.
            length if at + 1 >= length => Err(Malformed::AttributeTorn),
            _ => Err(Malformed::TooManyAttributes),
        }
    }

    /// What it is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The identifier that matches replies to requests.
    pub fn id(&self) -> u8 {
        self.id
    }

    /// The authenticator, as it stands in the packet.
    pub fn authenticator(&self) -> &'a [u8; 16] {
        self.authenticator
    }

    /// All of it, without padding.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The attributes, encoded.
    pub fn attribute_bytes(&self) -> &'a [u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    /// The attributes in their order.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { rest: self.attribute_bytes(), at: HEADER }
    }

    /// Whether there is an attribute of this kind.
    pub fn has(&self, kind: u8) -> bool {
        self.present.has(kind)
    }

    /// The value of the first attribute of this kind.
    pub fn first(&self, kind: u8) -> Option<&'a [u8]> {
        self.all(kind).next()
    }

    /// The values of all attributes of this kind.
    pub fn all(&self, kind: u8) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a> {
        // Most questions are for what is not there.
        let attributes = if self.has(kind) { self.attributes() } else { Attributes::of(&[]) };
        attributes.filter(move |attribute| attribute.kind == kind).map(|attribute| attribute.value)
    }

    /// The first attribute of this kind, if it is UTF-8.
    pub fn text(&self, kind: u8) -> Option<&'a str> {
        str::from_utf8(self.first(kind)?).ok()
    }

    /// The first attribute of this kind, if it has 4 octets.
    pub fn number(&self, kind: u8) -> Option<u32> {
        self.array(kind).map(u32::from_be_bytes)
    }

    /// The first attribute of this kind, if it has 4 octets.
    pub fn address(&self, kind: u8) -> Option<Ipv4Addr> {
        self.array::<4>(kind).map(Ipv4Addr::from)
    }

    /// The first attribute of this kind, if it has 16 octets.
    pub fn address6(&self, kind: u8) -> Option<Ipv6Addr> {
        self.array::<16>(kind).map(Ipv6Addr::from)
    }

    fn array<const N: usize>(&self, kind: u8) -> Option<[u8; N]> {
        self.first(kind)?.try_into().ok()
    }

    /// The value of a vendor's first attribute of this kind.
    pub fn vendor(&self, vendor: u32, kind: u8) -> Option<&'a [u8]> {
        self.vendor_attributes()
            .find(|attribute| attribute.vendor == vendor && attribute.kind == kind)
            .map(|attribute| attribute.value)
    }

    /// All attributes of vendors that encode them as RFC 2865 section 5.26 recommends: an octet each of type and length.
    /// What a vendor put into one Vendor-Specific attribute ends where it stops to add up.
    pub fn vendor_attributes(&self) -> impl Iterator<Item = VendorAttribute<'a>> + Clone + use<'a> {
        self.all(kind::VENDOR_SPECIFIC).flat_map(|value| {
            let (vendor, rest) = match value.split_first_chunk::<4>() {
                Some((vendor, rest)) => (u32::from_be_bytes(*vendor), rest),
                None => (0, &[][..]),
            };
            Attributes::of(rest).map(move |Attribute { kind, value, .. }| VendorAttribute {
                vendor,
                kind,
                value,
            })
        })
    }

    /// The attributes of RFC 6929, their fragments put together. What is malformed in itself is left out.
    pub fn extended(&self) -> impl Iterator<Item = ExtendedAttribute<'a>> + Clone + use<'a> {
        let some = (kind::EXTENDED_1..=kind::EXTENDED_6).any(|kind| self.has(kind));
        extended(if some { self.attribute_bytes() } else { &[] })
    }

    /// Where the first Message-Authenticator begins.
    pub(crate) fn signature(&self) -> Option<usize> {
        (self.signature != 0).then_some(usize::from(self.signature))
    }

    /// Whether there is more than one Message-Authenticator.
    pub(crate) fn is_signed_again(&self) -> bool {
        self.signed_again
    }
}

/// Without values: there are passwords among them.
impl fmt::Debug for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packet")
            .field("code", &self.code)
            .field("id", &self.id)
            .field("length", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Which kinds of attributes there are.
#[derive(Clone, Copy, Default)]
struct Present([u64; 4]);

impl Present {
    fn add(&mut self, kind: u8) {
        if let Some(word) = self.0.get_mut(usize::from(kind / 64)) {
            *word |= 1 << (kind % 64);
        }
    }

    fn has(&self, kind: u8) -> bool {
        self.0.get(usize::from(kind / 64)).is_some_and(|word| word & 1 << (kind % 64) != 0)
    }
}

/// One attribute.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attribute<'a> {
    /// Its number: see [`kind`].
    pub kind: u8,
    /// What follows type and length: 0 to 253 octets.
    pub value: &'a [u8],
    /// Where it begins, in bytes from the beginning of the packet, or of what [`Attributes::of`] was given.
    pub at: usize,
}

/// Attributes one after the other; so lie those of a packet, those of a vendor and the TLVs of RFC 6929.
/// Ends before the first that does not add up.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Attributes<'a> {
    /// Takes encoded attributes.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// What is left: nothing at the end, if all added up.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let &[kind, length, ..] = self.rest else { return None };
        let length = usize::from(length);
        // None if the length is below 2, too.
        let value = self.rest.get(2..length)?;
        let attribute = Attribute { kind, value, at: self.at };
        self.rest = self.rest.get(length..).unwrap_or_default();
        self.at += length;
        Some(attribute)
    }
}

impl std::iter::FusedIterator for Attributes<'_> {}

/// One attribute of a vendor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct VendorAttribute<'a> {
    /// The vendor's number: see [`vendor`](crate::vendor).
    pub vendor: u32,
    /// The vendor's number for it.
    pub kind: u8,
    /// 0 to 247 octets.
    pub value: &'a [u8],
}

/// Why a datagram is no packet. It deserves silence (RFC 2865 section 3), and a count.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// There is no whole header.
    #[error("shorter than a header of 20 bytes")]
    Short,
    /// Length says less than the header takes.
    #[error("its Length is below 20")]
    LengthTooSmall,
    /// Length says more than a packet may have.
    #[error("its Length is above 4096")]
    LengthTooBig,
    /// Length says more than the datagram has.
    #[error("its Length is beyond the datagram's end: was it fragmented on its way?")]
    Truncated,
    /// An attribute's length does not even cover its type and length.
    #[error("it has an attribute with a length below 2")]
    AttributeTooShort,
    /// The last attribute ends beyond Length.
    #[error("its last attribute ends beyond its Length")]
    AttributeTorn,
    /// There are more than [`MOST_ATTRIBUTES`].
    #[error("it has more than 255 attributes")]
    TooManyAttributes,
}

impl Malformed {
    /// All of them, for counters.
    pub const ALL: [Self; 7] = [
        Self::Short,
        Self::LengthTooSmall,
        Self::LengthTooBig,
        Self::Truncated,
        Self::AttributeTooShort,
        Self::AttributeTorn,
        Self::TooManyAttributes,
    ];

    /// Its name in counters.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::LengthTooSmall => "length_too_small",
            Self::LengthTooBig => "length_too_big",
            Self::Truncated => "truncated",
            Self::AttributeTooShort => "attribute_too_short",
            Self::AttributeTorn => "attribute_torn",
            Self::TooManyAttributes => "too_many_attributes",
        }
    }
}

#[cfg(test)]
mod tests;
