//! A value: out of text or out of a packet, and back.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::attribute::{Attribute, Hiding, Type};
use crate::date;
use crate::encode::EncodeError;
use crate::zone::Zone;

/// The value of an attribute. Which of these it is follows from the attribute's type.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Value {
    /// Text; a NAS may well send something else than UTF-8.
    Text(Box<[u8]>),
    /// Octets without a meaning that is known here.
    Octets(Box<[u8]>),
    /// A number of 8 to 64 bits.
    Number(u64),
    /// A number that may be negative.
    Signed(i32),
    /// Seconds since 1970.
    Date(u32),
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// An IPv4 prefix; no bit behind it is set.
    Ipv4Prefix(Ipv4Net),
    /// An IPv6 prefix; no bit behind it is set.
    Ipv6Prefix(Ipv6Net),
    /// The lower half of an IPv6 address.
    InterfaceId([u8; 8]),
    /// A MAC address.
    Ether([u8; 6]),
}

impl Value {
    /// A text.
    pub fn from_text(text: &str) -> Self {
        Self::Text(text.as_bytes().into())
    }

    /// The text, if it is one, and in UTF-8.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The bytes of a text or of octets.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(bytes) | Self::Octets(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The number; also of a date.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Date(seconds) => Some(u64::from(*seconds)),
            _ => None,
        }
    }

    /// The IPv4 address.
    pub fn ipv4(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Ipv4(address) => Some(*address),
            _ => None,
        }
    }

    /// The IPv6 address.
    pub fn ipv6(&self) -> Option<Ipv6Addr> {
        match self {
            Self::Ipv6(address) => Some(*address),
            _ => None,
        }
    }

    /// The IPv6 prefix.
    pub fn ipv6_prefix(&self) -> Option<Ipv6Net> {
        match self {
            Self::Ipv6Prefix(prefix) => Some(*prefix),
            _ => None,
        }
    }

    /// Reads a value as people write it: names of values, numbers in decimal or `0x` hexadecimal, dates of several
    /// shapes, `0x` for octets and for whatever has a fixed size. `zone` is for dates that say none.
    ///
    /// # Errors
    /// What was expected instead, to stand behind "is not".
    pub fn parse(attribute: &Attribute, literal: &[u8], zone: &Zone) -> Result<Self, String> {
        let kind = attribute.kind;
        if kind.holds_others() {
            return Err("a value: the attribute holds others; write those that it holds".into());
        }
        let value = match kind {
            Type::Text => Some(Self::Text(literal.into())),
            Type::Octets => match hexadecimal(literal) {
                Hexadecimal::Bytes(bytes) => Some(Self::Octets(bytes.into())),
                Hexadecimal::No => Some(Self::Octets(literal.into())),
                Hexadecimal::Broken => None,
            },
            Type::Abinary => match hexadecimal(literal) {
                Hexadecimal::Bytes(bytes) => Some(Self::Octets(bytes.into())),
                Hexadecimal::No | Hexadecimal::Broken => None,
            },
            _ => std::str::from_utf8(literal)
                .ok()
                .and_then(|text| fixed(attribute, text.trim(), zone)),
        };
        let value = value.filter(|value| match (value.bytes(), attribute.flags.length) {
            (Some(bytes), Some(length)) => bytes.len() == usize::from(length),
            _ => true,
        });
        value.ok_or_else(|| expected(attribute))
    }

    /// How the value of that attribute is written, so that it is read again as the same.
    pub fn shown<'v>(&'v self, attribute: &'v Attribute) -> impl fmt::Display + use<'v> {
        Shown { value: self, attribute }
    }
}

/// A value of a type that is neither text nor octets.
fn fixed(attribute: &Attribute, text: &str, zone: &Zone) -> Option<Value> {
    let kind = attribute.kind;
    let value = match kind {
        Type::Signed => match number(text) {
            Some(number) => i32::try_from(number).ok().map(Value::Signed),
            None => text.parse().ok().map(Value::Signed),
        }
        .or_else(|| signed(attribute.value_number(text)?)),
        kind if kind.is_number() => number(text)
            .or_else(|| attribute.value_number(text))
            .filter(|number| {
                *number <= if attribute.flags.tagged { 0xff_ffff } else { kind.most() }
            })
            .map(Value::Number),
        Type::Date => date::parse(text, zone).map(Value::Date),
        Type::Ipv4 => text.strip_suffix("/32").unwrap_or(text).parse().ok().map(Value::Ipv4),
        Type::Ipv6 => text.strip_suffix("/128").unwrap_or(text).parse().ok().map(Value::Ipv6),
        Type::ComboIp => match text.parse() {
            Ok(address) => Some(Value::Ipv4(address)),
            Err(_) => text.parse().ok().map(Value::Ipv6),
        },
        Type::Ipv4Prefix => match text.parse::<Ipv4Net>() {
            Ok(prefix) => Some(Value::Ipv4Prefix(prefix.trunc())),
            Err(_) => text.parse().ok().map(|address: Ipv4Addr| Value::Ipv4Prefix(address.into())),
        },
        Type::Ipv6Prefix => match text.parse::<Ipv6Net>() {
            Ok(prefix) => Some(Value::Ipv6Prefix(prefix.trunc())),
            Err(_) => text.parse().ok().map(|address: Ipv6Addr| Value::Ipv6Prefix(address.into())),
        },
        Type::InterfaceId => interface_id(text),
        Type::Ether => ether(text),
        _ => None,
    };
    match (value, hexadecimal(text.as_bytes())) {
        (Some(value), _) => Some(value),
        (None, Hexadecimal::Bytes(bytes)) if !kind.is_number() => attribute.value_of(&bytes),
        (None, _) => None,
    }
}

/// A number that a value's name stands for, kept in 64 bits.
fn signed(number: u64) -> Option<Value> {
    i32::try_from(i64::from_ne_bytes(number.to_ne_bytes())).ok().map(Value::Signed)
}

/// In decimal, or in hexadecimal behind `0x`.
pub(crate) fn number(text: &str) -> Option<u64> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    // A sign is accepted by from_str_radix, and by nobody else.
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(digits, radix).ok()
}

enum Hexadecimal {
    /// It doesn't begin with `0x`.
    No,
    /// It does, and what follows is not hexadecimal.
    Broken,
    Bytes(Vec<u8>),
}

fn hexadecimal(literal: &[u8]) -> Hexadecimal {
    let Some(digits) = literal.strip_prefix(b"0x").or_else(|| literal.strip_prefix(b"0X")) else {
        return Hexadecimal::No;
    };
    hex_bytes(digits).map_or(Hexadecimal::Broken, Hexadecimal::Bytes)
}

fn hex_bytes(digits: &[u8]) -> Option<Vec<u8>> {
    digits
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => Some(nibble(high)? << 4 | nibble(low)?),
            _ => None,
        })
        .collect()
}

/// The value of a hexadecimal digit.
pub(crate) fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Four groups of up to four digits.
fn interface_id(text: &str) -> Option<Value> {
    let mut id = [0; 8];
    let mut groups = text.split(':');
    for place in id.chunks_exact_mut(2) {
        let group = groups.next()?;
        if group.is_empty()
            || group.len() > 4
            || !group.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return None;
        }
        place.copy_from_slice(&u16::from_str_radix(group, 16).ok()?.to_be_bytes());
    }
    groups.next().is_none().then_some(Value::InterfaceId(id))
}

/// Twelve digits: in pairs with colons or dashes, in fours with dots, or as they are.
fn ether(text: &str) -> Option<Value> {
    let group = match text.find([':', '-', '.']) {
        None => 12,
        Some(at) if at == 2 || at == 4 => at,
        Some(_) => return None,
    };
    let mut digits = Vec::with_capacity(12);
    for part in text.split([':', '-', '.']) {
        if part.len() != group {
            return None;
        }
        digits.extend_from_slice(part.as_bytes());
    }
    Some(Value::Ether(hex_bytes(&digits)?.try_into().ok()?))
}

/// What a value of the attribute would be.
fn expected(attribute: &Attribute) -> String {
    let most = if attribute.flags.tagged { 0xff_ffff } else { attribute.kind.most() };
    let text = match (attribute.kind, attribute.flags.length) {
        (Type::Text, Some(length)) => format!("a text of {length} bytes"),
        (Type::Octets, Some(length)) => format!("{length} octets; write them as 0x and hexadecimal"),
        (Type::Octets, None) => "an even number of hexadecimal digits behind 0x".into(),
        (Type::Abinary, _) => {
            "a filter in its binary form; the words of Ascend's filters are not translated, write the \
             octets as 0x and hexadecimal"
                .into()
        }
        (Type::Signed, _) => format!("a number of {} to {}", i32::MIN, i32::MAX),
        (kind, _) if kind.is_number() => format!("a number of up to {most}"),
        (Type::Date, _) => "a date such as 31 Dec 2026, 2026-12-31T23:59:59Z, or seconds since 1970".into(),
        (Type::Ipv4, _) => "an IPv4 address such as 192.0.2.1; names of hosts are not resolved".into(),
        (Type::Ipv6, _) => "an IPv6 address such as 2001:db8::1".into(),
        (Type::ComboIp, _) => "an IPv4 or IPv6 address".into(),
        (Type::Ipv4Prefix, _) => "an IPv4 prefix such as 192.0.2.0/24".into(),
        (Type::Ipv6Prefix, _) => "an IPv6 prefix such as 2001:db8::/56".into(),
        (Type::InterfaceId, _) => "an interface identifier such as 0:0:0:1".into(),
        (Type::Ether, _) => "a MAC address such as 00:00:5e:00:53:01".into(),
        _ => "a value of its type".into(),
    };
    let names: Vec<&str> = attribute.value_names().map(|(name, _)| name).take(4).collect();
    match names.len() {
        0 => text,
        1..4 => format!("{text}, nor the name of one: {}", names.join(", ")),
        _ => format!("{text}, nor the name of one, such as {}", names.join(", ")),
    }
}

struct Shown<'v> {
    value: &'v Value,
    attribute: &'v Attribute,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            Value::Text(bytes) => quoted(bytes, f),
            Value::Octets(bytes) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Value::Number(number) => match self.attribute.value_name(*number) {
                Some(name) => bare(name, f),
                None => write!(f, "{number}"),
            },
            Value::Signed(number) => match self.attribute.value_name(sign_extended(*number)) {
                Some(name) => bare(name, f),
                None => write!(f, "{number}"),
            },
            Value::Date(seconds) => write!(f, "\"{}\"", date::Shown(*seconds)),
            Value::Ipv4(address) => write!(f, "{address}"),
            Value::Ipv6(address) => write!(f, "{address}"),
            Value::Ipv4Prefix(prefix) => write!(f, "{prefix}"),
            Value::Ipv6Prefix(prefix) => write!(f, "{prefix}"),
            Value::InterfaceId([a, b, c, d, e, g, h, i]) => {
                let group = |high: u8, low: u8| u16::from_be_bytes([high, low]);
                let (one, two, three, four) =
                    (group(*a, *b), group(*c, *d), group(*e, *g), group(*h, *i));
                write!(f, "{one:x}:{two:x}:{three:x}:{four:x}")
            }
            Value::Ether([a, b, c, d, e, g]) => {
                write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
        }
    }
}

/// As value names keep it.
fn sign_extended(number: i32) -> u64 {
    u64::from_ne_bytes(i64::from(number).to_ne_bytes())
}

/// A name of a value: in quotes if it could not stand without.
fn bare(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:+".contains(&byte);
    if name.bytes().all(plain) { f.write_str(name) } else { quoted(name.as_bytes(), f) }
}

/// In double quotes.
fn quoted(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for chunk in bytes.utf8_chunks() {
        let mut characters = chunk.valid().chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                // Or it would be taken for one of FreeRADIUS' expansions.
                '%' if characters.peek() == Some(&'{') => f.write_str("\\045")?,
                // Those beyond ASCII as well: a terminal may obey them.
                control if control.is_control() => {
                    let mut bytes = [0; 4];
                    let bytes = control.encode_utf8(&mut bytes).bytes();
                    bytes.into_iter().try_for_each(|byte| write!(f, "\\{byte:03o}"))?;
                }
                other => write!(f, "{other}")?,
            }
        }
        chunk.invalid().iter().try_for_each(|byte| write!(f, "\\{byte:03o}"))?;
    }
    f.write_str("\"")
}

impl Attribute {
    /// The tag and the value of what stands in a packet; none if it can't be one of this attribute.
    pub(crate) fn tagged_value_of(&self, bytes: &[u8]) -> Option<(Option<u8>, Value)> {
        // RFC 2868 section 3: above 0x1f it is no tag.
        let tagged = match bytes.split_first() {
            Some((&tag @ ..=MOST_TAG, rest)) if self.flags.tagged => Some((tag, rest)),
            _ => None,
        };
        if self.flags.hiding != Hiding::None {
            let (tag, rest) = tagged.map_or((None, bytes), |(tag, rest)| (Some(tag), rest));
            return Some((tag, Value::Octets(rest.into())));
        }
        if self.flags.tagged && self.kind == Type::Integer {
            let (tag, &[high, middle, low]) = tagged? else { return None };
            let number = u32::from_be_bytes([0, high, middle, low]);
            return Some(((tag != 0).then_some(tag), Value::Number(number.into())));
        }
        match tagged {
            Some((tag, rest)) => Some((Some(tag), self.value_of(rest)?)),
            None => Some((None, self.value_of(bytes)?)),
        }
    }

    /// The value of what stands in a packet without tag.
    pub(crate) fn value_of(&self, bytes: &[u8]) -> Option<Value> {
        if self.flags.length.is_some_and(|length| bytes.len() != usize::from(length)) {
            return None;
        }
        Some(match self.kind {
            Type::Text => Value::Text(bytes.into()),
            Type::Octets | Type::Abinary => Value::Octets(bytes.into()),
            Type::Integer => Value::Number(u32::from_be_bytes(bytes.try_into().ok()?).into()),
            Type::Integer64 => Value::Number(u64::from_be_bytes(bytes.try_into().ok()?)),
            Type::Byte => Value::Number(u8::from_be_bytes(bytes.try_into().ok()?).into()),
            Type::Short => Value::Number(u16::from_be_bytes(bytes.try_into().ok()?).into()),
            Type::Signed => Value::Signed(i32::from_be_bytes(bytes.try_into().ok()?)),
            Type::Date => Value::Date(u32::from_be_bytes(bytes.try_into().ok()?)),
            Type::Ipv4 => Value::Ipv4(ipv4(bytes)?),
            Type::Ipv6 => Value::Ipv6(ipv6(bytes)?),
            Type::ComboIp => match bytes.len() {
                4 => Value::Ipv4(ipv4(bytes)?),
                _ => Value::Ipv6(ipv6(bytes)?),
            },
            Type::Ipv4Prefix => {
                let (&[_, length], address) = bytes.split_first_chunk()?;
                // The upper two bits are reserved (RFC 8044 section 3.11).
                Value::Ipv4Prefix(Ipv4Net::new(ipv4(address)?, length & 0x3f).ok()?.trunc())
            }
            Type::Ipv6Prefix => {
                let (&[_, length], prefix) = bytes.split_first_chunk()?;
                let mut address = [0; 16];
                address.get_mut(..prefix.len())?.copy_from_slice(prefix);
                Value::Ipv6Prefix(Ipv6Net::new(address.into(), length).ok()?.trunc())
            }
            Type::InterfaceId => Value::InterfaceId(bytes.try_into().ok()?),
            Type::Ether => Value::Ether(bytes.try_into().ok()?),
            Type::Tlv | Type::Vsa | Type::Extended | Type::LongExtended | Type::Evs => return None,
        })
    }

    /// Writes the value as it stands in a packet, with its tag unless the whole is hidden.
    pub(crate) fn put(
        &self,
        value: &Value,
        tag: Option<u8>,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        if self.flags.tagged && self.flags.hiding == Hiding::None {
            if self.kind == Type::Integer {
                let [_, rest @ ..] = self.number_of(value, 0xff_ffff)?.to_be_bytes();
                out.push(tag.unwrap_or(0));
                out.extend_from_slice(&rest);
                return Ok(());
            }
            // A text that begins like a tag needs one in front of it.
            let ambiguous =
                value.bytes().and_then(<[u8]>::first).is_some_and(|byte| *byte <= MOST_TAG);
            out.extend(tag.or(ambiguous.then_some(0)));
        }
        match (self.kind, value) {
            (
                Type::Text | Type::Octets | Type::Abinary,
                Value::Text(bytes) | Value::Octets(bytes),
            ) => {
                if let Some(length) = self.flags.length
                    && bytes.len() != usize::from(length)
                {
                    return Err(self.mismatch());
                }
                out.extend_from_slice(bytes);
            }
            (Type::Integer, value) => {
                out.extend_from_slice(&self.number_of(value, u32::MAX)?.to_be_bytes());
            }
            (Type::Short, value) => {
                let [.., high, low] = self.number_of(value, u16::MAX.into())?.to_be_bytes();
                out.extend_from_slice(&[high, low]);
            }
            (Type::Byte, value) => {
                let [.., low] = self.number_of(value, u8::MAX.into())?.to_be_bytes();
                out.push(low);
            }
            (Type::Integer64, Value::Number(number)) => {
                out.extend_from_slice(&number.to_be_bytes())
            }
            (Type::Signed, Value::Signed(number)) => out.extend_from_slice(&number.to_be_bytes()),
            (Type::Date, Value::Date(seconds)) => out.extend_from_slice(&seconds.to_be_bytes()),
            (Type::Ipv4 | Type::ComboIp, Value::Ipv4(address)) => {
                out.extend_from_slice(&address.octets());
            }
            (Type::Ipv6 | Type::ComboIp, Value::Ipv6(address)) => {
                out.extend_from_slice(&address.octets());
            }
            (Type::Ipv4Prefix, Value::Ipv4Prefix(prefix)) => {
                out.extend_from_slice(&[0, prefix.prefix_len()]);
                out.extend_from_slice(&prefix.network().octets());
            }
            // All 16 octets: RFC 3162 allows fewer, and not every NAS has heard of it.
            (Type::Ipv6Prefix, Value::Ipv6Prefix(prefix)) => {
                out.extend_from_slice(&[0, prefix.prefix_len()]);
                out.extend_from_slice(&prefix.network().octets());
            }
            (Type::InterfaceId, Value::InterfaceId(id)) => out.extend_from_slice(id),
            (Type::Ether, Value::Ether(address)) => out.extend_from_slice(address),
            _ => return Err(self.mismatch()),
        }
        Ok(())
    }

    fn number_of(&self, value: &Value, most: u32) -> Result<u32, EncodeError> {
        let Value::Number(number) = value else { return Err(self.mismatch()) };
        u32::try_from(*number)
            .ok()
            .filter(|number| *number <= most)
            .ok_or_else(|| EncodeError::Range { attribute: self.name.clone(), most })
    }

    fn mismatch(&self) -> EncodeError {
        EncodeError::Mismatch { attribute: self.name.clone(), kind: self.kind }
    }
}

/// The largest tag (RFC 2868 section 3.1).
pub(crate) const MOST_TAG: u8 = 0x1f;

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(<[u8; 4]>::try_from(bytes).ok()?.into())
}

fn ipv6(bytes: &[u8]) -> Option<Ipv6Addr> {
    Some(<[u8; 16]>::try_from(bytes).ok()?.into())
}

#[cfg(test)]
mod tests;
