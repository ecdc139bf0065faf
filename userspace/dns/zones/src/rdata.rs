//! The data of records, from text to wire form.

use std::net::{Ipv4Addr, Ipv6Addr};

use data_encoding::{BASE32HEX_NOPAD, BASE64, HEXLOWER_PERMISSIVE};

use crate::name;
use crate::scan::Token;

pub(crate) mod number {
    //! Types that have a meaning of their own to a server.
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const MX: u16 = 15;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const KEY: u16 = 25;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const DNAME: u16 = 39;
    pub(crate) const DS: u16 = 43;
    pub(crate) const RRSIG: u16 = 46;
    pub(crate) const NSEC: u16 = 47;
    pub(crate) const NSEC3: u16 = 50;
    pub(crate) const NSEC3PARAM: u16 = 51;
    pub(crate) const CDS: u16 = 59;
    pub(crate) const ANY: u16 = 255;
}

/// What a type's data is made of. Those that take all that is left come last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Field {
    U8,
    U16,
    U32,
    /// Seconds, also with units.
    Period,
    /// RRSIG's times (RFC 4034 section 3.2).
    Time,
    Name,
    Ip4,
    Ip6,
    /// A type by its name.
    Type,
    /// An algorithm of DNSSEC, by number or name.
    Algorithm,
    /// A kind of certificate (RFC 4398).
    Certificate,
    /// A character-string.
    Text,
    /// Character-strings, one at least.
    Texts,
    /// A string without its length, to the end.
    Rest,
    /// Hexadecimal digits, to the end.
    Hex,
    /// The same, with a length before; `-` is none.
    Salt,
    /// Base 32 with a length before.
    Hash,
    /// Base 64, to the end.
    Base64,
    /// Bitmap of types, to the end.
    Types,
    /// Eight, or six, bytes with dashes between.
    Eui(u8),
    /// Parameters of SVCB, to the end.
    Parameters,
}

use Field::{
    Algorithm, Base64, Certificate, Eui, Hash, Hex, Ip4, Ip6, Name, Parameters, Period, Rest, Salt,
    Text, Texts, Time, Type, Types, U8, U16, U32,
};

/// Names, numbers and data of the types (IANA, DNS parameters). Types without data are written in the generic form of
/// RFC 3597 only.
const TYPES: &[(&str, u16, Option<&[Field]>)] = &[
    ("A", 1, Some(&[Ip4])),
    ("NS", 2, Some(&[Name])),
    ("CNAME", 5, Some(&[Name])),
    ("SOA", 6, Some(&[Name, Name, U32, Period, Period, Period, Period])),
    ("PTR", 12, Some(&[Name])),
    ("HINFO", 13, Some(&[Text, Text])),
    ("MX", 15, Some(&[U16, Name])),
    ("TXT", 16, Some(&[Texts])),
    ("RP", 17, Some(&[Name, Name])),
    ("AFSDB", 18, Some(&[U16, Name])),
    ("X25", 19, Some(&[Text])),
    ("RT", 21, Some(&[U16, Name])),
    ("SIG", 24, None),
    ("KEY", 25, Some(&[U16, U8, Algorithm, Base64])),
    ("PX", 26, Some(&[U16, Name, Name])),
    ("AAAA", 28, Some(&[Ip6])),
    ("LOC", 29, None),
    ("SRV", 33, Some(&[U16, U16, U16, Name])),
    ("NAPTR", 35, Some(&[U16, U16, Text, Text, Text, Name])),
    ("KX", 36, Some(&[U16, Name])),
    ("CERT", 37, Some(&[Certificate, U16, Algorithm, Base64])),
    ("DNAME", 39, Some(&[Name])),
    ("APL", 42, None),
    ("DS", 43, Some(&[U16, Algorithm, U8, Hex])),
    ("SSHFP", 44, Some(&[U8, U8, Hex])),
    ("IPSECKEY", 45, None),
    ("RRSIG", 46, Some(&[Type, Algorithm, U8, Period, Time, Time, U16, Name, Base64])),
    ("NSEC", 47, Some(&[Name, Types])),
    ("DNSKEY", 48, Some(&[U16, U8, Algorithm, Base64])),
    ("DHCID", 49, Some(&[Base64])),
    ("NSEC3", 50, Some(&[U8, U8, U16, Salt, Hash, Types])),
    ("NSEC3PARAM", 51, Some(&[U8, U8, U16, Salt])),
    ("TLSA", 52, Some(&[U8, U8, U8, Hex])),
    ("SMIMEA", 53, Some(&[U8, U8, U8, Hex])),
    ("HIP", 55, None),
    ("CDS", 59, Some(&[U16, Algorithm, U8, Hex])),
    ("CDNSKEY", 60, Some(&[U16, U8, Algorithm, Base64])),
    ("OPENPGPKEY", 61, Some(&[Base64])),
    ("CSYNC", 62, Some(&[U32, U16, Types])),
    ("ZONEMD", 63, Some(&[U32, U8, U8, Hex])),
    ("SVCB", 64, Some(&[U16, Name, Parameters])),
    ("HTTPS", 65, Some(&[U16, Name, Parameters])),
    ("SPF", 99, Some(&[Texts])),
    ("EUI48", 108, Some(&[Eui(6)])),
    ("EUI64", 109, Some(&[Eui(8)])),
    ("URI", 256, Some(&[U16, U16, Rest])),
    ("CAA", 257, Some(&[U8, Text, Rest])),
];

/// A type by its name, or as `TYPE12345` (RFC 3597 section 5).
pub(crate) fn type_number(text: &[u8]) -> Option<u16> {
    TYPES
        .iter()
        .find(|(known, _, _)| text.eq_ignore_ascii_case(known.as_bytes()))
        .map(|(_, number, _)| *number)
        .or_else(|| match text.split_at_checked(4) {
            Some((prefix, digits)) if prefix.eq_ignore_ascii_case(b"TYPE") => decimal(digits),
            _ => None,
        })
}

/// The name of a type, for people.
pub(crate) fn type_name(number: u16) -> String {
    TYPES
        .iter()
        .find(|(_, known, _)| *known == number)
        .map_or_else(|| format!("TYPE{number}"), |(name, _, _)| (*name).into())
}

/// Types that are asked for or travel, and never lie in a zone.
pub(crate) fn is_meta(number: u16) -> bool {
    number == 0 || number == 41 || (128..=255).contains(&number)
}

fn fields(number: u16) -> Option<&'static [Field]> {
    TYPES.iter().find(|(_, known, _)| *known == number).and_then(|(_, _, fields)| *fields)
}

/// A number of digits only: no sign, no blank.
pub(crate) fn decimal<N: std::str::FromStr>(text: &[u8]) -> Option<N> {
    (!text.is_empty() && text.iter().all(u8::is_ascii_digit))
        .then(|| std::str::from_utf8(text).ok()?.parse().ok())
        .flatten()
}

/// A time to live: seconds, or BIND's units (`1h30m`). At most 2^31 - 1 (RFC 2181 section 8).
pub(crate) fn period(text: &[u8]) -> Option<u32> {
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, after) = rest.split_at_checked(digits)?;
        let number = u64::from(decimal::<u32>(number)?);
        let unit = match after.first() {
            // A number without a unit stands alone.
            None if digits != text.len() => return None,
            None | Some(b's' | b'S') => 1,
            Some(b'm' | b'M') => 60,
            Some(b'h' | b'H') => 3_600,
            Some(b'd' | b'D') => 86_400,
            Some(b'w' | b'W') => 604_800,
            Some(_) => return None,
        };
        total += number * unit;
        rest = after.get(1..).unwrap_or_default();
    }
    u32::try_from(total).ok().filter(|&total| !text.is_empty() && total <= i32::MAX as u32)
}

/// Reads the data of a record of type `rtype`. The error names the line, since data may go over several.
pub(crate) fn parse(
    rtype: u16,
    line: u32,
    tokens: &[Token],
    origin: &[u8],
) -> Result<Vec<u8>, (u32, String)> {
    let wire = match tokens.first() {
        Some(first) if !first.quoted && first.text == br"\#" => {
            generic(rtype, tokens).map_err(|what| (first.line, what))
        }
        _ => plain(rtype, line, tokens, origin),
    }?;
    if wire.len() > usize::from(u16::MAX) {
        return Err((line, format!("data of {} bytes is longer than a record holds", wire.len())));
    }
    Ok(wire)
}

/// `\# LENGTH HEX...` (RFC 3597 section 5), also for types that we know.
fn generic(rtype: u16, tokens: &[Token]) -> Result<Vec<u8>, String> {
    let (length, digits) = match tokens {
        [_, length, digits @ ..] => (decimal::<u16>(&length.text), digits),
        _ => (None, Default::default()),
    };
    let length = length.ok_or(r"\# wants a length up to 65535")?;
    let wire = hex(digits)?;
    if wire.len() != usize::from(length) {
        return Err(format!(r"\# {length} is followed by {} bytes", wire.len()));
    }
    if fields(rtype).is_some_and(|fields| fits(fields, &wire).is_none()) {
        return Err(format!("these bytes are no data of type {}", type_name(rtype)));
    }
    Ok(wire)
}

/// Whether the bytes are what the fields say.
fn fits(fields: &[Field], wire: &[u8]) -> Option<()> {
    let mut rest = wire;
    for field in fields {
        let size = match field {
            U8 | Algorithm => 1,
            U16 | Type | Certificate => 2,
            U32 | Period | Time | Ip4 => 4,
            Ip6 => 16,
            Eui(size) => usize::from(*size),
            Name => name::prefix(rest)?,
            Text | Salt | Hash => 1 + usize::from(*rest.first()?),
            Texts => {
                let mut at = 0;
                while let Some(length) = rest.get(at) {
                    at += 1 + usize::from(*length);
                }
                (at > 0).then_some(at)?
            }
            Rest | Hex | Base64 | Parameters => rest.len(),
            Types => {
                let mut at = 0;
                let mut last = None;
                while let Some(&[window, length @ 1..=32]) = rest.get(at..at + 2) {
                    if last.is_some_and(|last| last >= window) {
                        return None;
                    }
                    last = Some(window);
                    at += 2 + usize::from(length);
                }
                at
            }
        };
        rest = rest.get(size..)?;
    }
    rest.is_empty().then_some(())
}

fn plain(rtype: u16, line: u32, tokens: &[Token], origin: &[u8]) -> Result<Vec<u8>, (u32, String)> {
    let Some(fields) = fields(rtype) else {
        let what = format!(
            r"data of type {} is read in the generic form only: \# LENGTH HEX (RFC 3597)",
            type_name(rtype)
        );
        return Err((line, what));
    };
    let mut wire = Vec::new();
    let mut rest = tokens;
    for field in fields {
        match field {
            Texts => {
                if rest.is_empty() {
                    return Err((line, "a string is missing".into()));
                }
                for token in rest {
                    text(&token.text, &mut wire).map_err(|what| (token.line, what))?;
                }
                rest = Default::default();
            }
            Hex | Base64 | Types | Parameters => {
                let at = rest.first().map_or(line, |token| token.line);
                match field {
                    Hex => hex(rest).map(|bytes| wire.extend(bytes)),
                    Base64 => {
                        let joined: Vec<u8> =
                            rest.iter().flat_map(|token| token.text.iter().copied()).collect();
                        BASE64
                            .decode(&joined)
                            .map(|bytes| wire.extend(bytes))
                            .map_err(|error| format!("this is no base 64: {error}"))
                    }
                    Types => types(rest, &mut wire),
                    _ => parameters(rest, &mut wire),
                }
                .map_err(|what| (at, what))?;
                rest = Default::default();
            }
            one => {
                let Some((token, after)) = rest.split_first() else {
                    return Err((
                        line,
                        format!(
                            "data of type {} ends where {} should follow",
                            type_name(rtype),
                            wanted(*one)
                        ),
                    ));
                };
                single(*one, token, origin, &mut wire).map_err(|what| (token.line, what))?;
                rest = after;
            }
        }
    }
    match rest.first() {
        None if is_cut_digest(rtype, &wire) => {
            Err((line, "the digest is longer or shorter than its kind makes it".into()))
        }
        None => Ok(wire),
        Some(extra) => Err((
            extra.line,
            format!("\"{}\" is too much for type {}", lossy(&extra.text), type_name(rtype)),
        )),
    }
}

/// Whether a DS has a digest of another length than its algorithm gives (SHA-1, SHA-256, SHA-384).
fn is_cut_digest(rtype: u16, data: &[u8]) -> bool {
    let length = match (rtype, data.get(3)) {
        (number::DS | number::CDS, Some(1)) => 20,
        (number::DS | number::CDS, Some(2)) => 32,
        (number::DS | number::CDS, Some(4)) => 48,
        _ => return false,
    };
    data.len() != 4 + length
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// What a field wants, for people.
fn wanted(field: Field) -> &'static str {
    match field {
        U8 => "a number up to 255",
        U16 => "a number up to 65535",
        U32 => "a number up to 4294967295",
        Period => "seconds",
        Time => "a time as YYYYMMDDHHmmSS or seconds since 1970",
        Name => "a name",
        Ip4 => "an IPv4 address",
        Ip6 => "an IPv6 address",
        Type => "a type",
        Algorithm => "an algorithm of DNSSEC",
        Certificate => "a kind of certificate",
        Text | Texts | Rest => "a string",
        Hex => "hexadecimal digits",
        Salt => "a salt in hexadecimal digits, or -",
        Hash => "a hash in base 32",
        Base64 => "base 64",
        Types => "types",
        Eui(_) => "bytes in hexadecimal with dashes between",
        Parameters => "parameters",
    }
}

fn single(field: Field, token: &Token, origin: &[u8], wire: &mut Vec<u8>) -> Result<(), String> {
    let word = token.text.as_slice();
    let read = match field {
        U8 => decimal::<u8>(word).map(|value| wire.push(value)),
        U16 => decimal::<u16>(word).map(|value| wire.extend(value.to_be_bytes())),
        U32 => decimal::<u32>(word).map(|value| wire.extend(value.to_be_bytes())),
        Period => period(word).map(|value| wire.extend(value.to_be_bytes())),
        Time => time(word).map(|value| wire.extend(value.to_be_bytes())),
        Ip4 => address::<Ipv4Addr>(word).map(|value| wire.extend(value.octets())),
        Ip6 => address::<Ipv6Addr>(word).map(|value| wire.extend(value.octets())),
        Type => type_number(word).map(|value| wire.extend(value.to_be_bytes())),
        Algorithm => algorithm(word).map(|value| wire.push(value)),
        Certificate => certificate(word).map(|value| wire.extend(value.to_be_bytes())),
        Name => return name::parse(word, Some(origin)).map(|name| wire.extend(name)),
        Text => return text(word, wire),
        Rest => unescape(word).map(|value| wire.extend(value)),
        Salt if word == b"-" => {
            wire.push(0);
            Some(())
        }
        Salt => HEXLOWER_PERMISSIVE.decode(word).ok().and_then(|value| counted(&value, wire)),
        Hash => BASE32HEX_NOPAD
            .decode(&word.to_ascii_uppercase())
            .ok()
            .and_then(|value| counted(&value, wire)),
        Eui(size) => eui(word, size).map(|value| wire.extend(value)),
        Texts | Hex | Base64 | Types | Parameters => None,
    };
    read.ok_or_else(|| format!("\"{}\" is not {}", lossy(word), wanted(field)))
}

fn address<A: std::str::FromStr>(word: &[u8]) -> Option<A> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn counted(value: &[u8], wire: &mut Vec<u8>) -> Option<()> {
    wire.push(u8::try_from(value.len()).ok()?);
    wire.extend_from_slice(value);
    Some(())
}

fn unescape(word: &[u8]) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(word.len());
    let mut bytes = word.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'\\' {
            let (meant, taken) = name::escape(bytes.as_slice())?;
            value.push(meant);
            bytes.nth(taken - 1);
        } else {
            value.push(byte);
        }
    }
    Some(value)
}

/// A character-string, with its length before it.
fn text(word: &[u8], wire: &mut Vec<u8>) -> Result<(), String> {
    let value = unescape(word).ok_or("a backslash without a character or \\DDD up to 255")?;
    counted(&value, wire).ok_or_else(|| {
        format!(
            "a string of {} bytes, and 255 are allowed: write it as several strings",
            value.len()
        )
    })
}

fn hex(tokens: &[Token]) -> Result<Vec<u8>, String> {
    let joined: Vec<u8> = tokens.iter().flat_map(|token| token.text.iter().copied()).collect();
    HEXLOWER_PERMISSIVE
        .decode(&joined)
        .map_err(|error| format!("these are no hexadecimal digits: {error}"))
}

fn eui(word: &[u8], size: u8) -> Option<Vec<u8>> {
    let bytes: Option<Vec<u8>> = word
        .split(|&byte| byte == b'-')
        .map(|part| {
            (part.len() == 2)
                .then(|| u8::from_str_radix(std::str::from_utf8(part).ok()?, 16).ok())
                .flatten()
        })
        .collect();
    bytes.filter(|bytes| bytes.len() == usize::from(size))
}

/// `YYYYMMDDHHmmSS`, or seconds since 1970 (RFC 4034 section 3.2); both modulo 2^32.
fn time(word: &[u8]) -> Option<u32> {
    if word.len() != 14 {
        return decimal(word);
    }
    let part = |from: usize, to: usize| decimal::<i64>(word.get(from..to)?);
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    // Days since 1970, counted in years that begin in March so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds.rem_euclid(1 << 32) as u32)
}

fn algorithm(word: &[u8]) -> Option<u8> {
    const NAMES: &[(&str, u8)] = &[
        ("RSAMD5", 1),
        ("DH", 2),
        ("DSA", 3),
        ("RSASHA1", 5),
        ("DSA-NSEC3-SHA1", 6),
        ("RSASHA1-NSEC3-SHA1", 7),
        ("NSEC3RSASHA1", 7),
        ("RSASHA256", 8),
        ("RSASHA512", 10),
        ("ECC-GOST", 12),
        ("ECDSAP256SHA256", 13),
        ("ECDSAP384SHA384", 14),
        ("ED25519", 15),
        ("ED448", 16),
        ("INDIRECT", 252),
        ("PRIVATEDNS", 253),
        ("PRIVATEOID", 254),
    ];
    decimal(word).or_else(|| {
        NAMES
            .iter()
            .find(|(known, _)| word.eq_ignore_ascii_case(known.as_bytes()))
            .map(|(_, number)| *number)
    })
}

fn certificate(word: &[u8]) -> Option<u16> {
    const NAMES: &[(&str, u16)] = &[
        ("PKIX", 1),
        ("SPKI", 2),
        ("PGP", 3),
        ("IPKIX", 4),
        ("ISPKI", 5),
        ("IPGP", 6),
        ("ACPKIX", 7),
        ("IACPKIX", 8),
        ("URI", 253),
        ("OID", 254),
    ];
    decimal(word).or_else(|| {
        NAMES
            .iter()
            .find(|(known, _)| word.eq_ignore_ascii_case(known.as_bytes()))
            .map(|(_, number)| *number)
    })
}

/// Bitmap of RFC 4034 section 4.1.2.
fn types(tokens: &[Token], wire: &mut Vec<u8>) -> Result<(), String> {
    let mut numbers = tokens
        .iter()
        .map(|token| {
            type_number(&token.text)
                .ok_or_else(|| format!("\"{}\" is not a type", lossy(&token.text)))
        })
        .collect::<Result<Vec<u16>, _>>()?;
    numbers.sort_unstable();
    for window in numbers.chunk_by(|a, b| a >> 8 == b >> 8) {
        let mut bits = Vec::new();
        for number in window {
            let [_, low] = number.to_be_bytes();
            bits.resize(usize::from(low / 8) + 1, 0);
            if let Some(byte) = bits.last_mut() {
                *byte |= 0x80 >> (low % 8);
            }
        }
        let [high, _] = window.first().copied().unwrap_or_default().to_be_bytes();
        wire.push(high);
        wire.push(bits.len() as u8);
        wire.append(&mut bits);
    }
    Ok(())
}

/// Service parameters (RFC 9460 section 2.1 and appendix A).
fn parameters(tokens: &[Token], wire: &mut Vec<u8>) -> Result<(), String> {
    const KEYS: &[&str] = &[
        "mandatory",
        "alpn",
        "no-default-alpn",
        "port",
        "ipv4hint",
        "ech",
        "ipv6hint",
        "dohpath",
        "ohttp",
    ];
    let key_number = |key: &[u8]| -> Option<u16> {
        KEYS.iter()
            .zip(0u16..)
            .find(|(known, _)| known.as_bytes() == key)
            .map(|(_, number)| number)
            .or_else(|| decimal(key.strip_prefix(b"key")?))
    };
    let mut all: Vec<(u16, Vec<u8>)> = Vec::new();
    for token in tokens {
        let word = &token.text;
        let (key, value) = match word.iter().position(|&byte| byte == b'=') {
            Some(at) => {
                (word.get(..at).unwrap_or_default(), word.get(at + 1..).unwrap_or_default())
            }
            None => (word.as_slice(), &b""[..]),
        };
        let bad = || format!("\"{}\" is not a parameter that this type can have", lossy(word));
        let number = key_number(key).ok_or_else(bad)?;
        let list = || value.split(|&byte| byte == b',');
        let encoded: Option<Vec<u8>> = match number {
            0 => list().map(&key_number).collect::<Option<Vec<_>>>().map(|mut keys| {
                keys.sort_unstable();
                keys.iter().flat_map(|key| key.to_be_bytes()).collect()
            }),
            1 => alpn(value),
            2 | 8 => value.is_empty().then(Vec::new),
            3 => decimal::<u16>(value).map(|port| port.to_be_bytes().to_vec()),
            4 => list()
                .map(address::<Ipv4Addr>)
                .map(|ip| ip.map(|ip| ip.octets()))
                .collect::<Option<Vec<_>>>()
                .map(|all| all.concat()),
            5 => BASE64.decode(value).ok(),
            6 => list()
                .map(address::<Ipv6Addr>)
                .map(|ip| ip.map(|ip| ip.octets()))
                .collect::<Option<Vec<_>>>()
                .map(|all| all.concat()),
            _ => unescape(value),
        };
        all.push((
            number,
            encoded.filter(|value| value.len() <= usize::from(u16::MAX)).ok_or_else(bad)?,
        ));
    }
    all.sort();
    if all.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
        return Err("a parameter is there twice".into());
    }
    for (number, value) in all {
        wire.extend(number.to_be_bytes());
        wire.extend((value.len() as u16).to_be_bytes());
        wire.extend(value);
    }
    Ok(())
}

/// Protocols with commas between; `\\,` is a comma within one.
fn alpn(value: &[u8]) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    let mut one = Vec::new();
    let mut bytes = unescape(value)?.into_iter();
    loop {
        match bytes.next() {
            Some(b'\\') => one.push(bytes.next()?),
            Some(byte) if byte != b',' => one.push(byte),
            end => {
                if one.is_empty() {
                    return None;
                }
                counted(&one, &mut wire)?;
                one.clear();
                if end.is_none() {
                    return Some(wire);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Scanner;

    fn read(line: &str) -> Result<String, String> {
        let entry = Scanner::new(line.as_bytes()).next().unwrap().unwrap();
        let rtype = type_number(&entry.tokens[0].text).unwrap();
        let origin = name::parse(b"o.", None).unwrap();
        parse(rtype, 1, &entry.tokens[1..], &origin)
            .map(|wire| HEXLOWER_PERMISSIVE.encode(&wire))
            .map_err(|(_, what)| what)
    }

    #[test]
    fn data_in_wire_form() {
        for (text, wire) in [
            ("A 192.0.2.1", "c0000201"),
            ("AAAA 2001:db8::1", "20010db8000000000000000000000001"),
            ("NS a", "0161016f00"),
            (
                "SOA a b. 1 1h 2m 1w2d 1h30m",
                "0161016f000162000000000100000e1000000078000bdd8000001518",
            ),
            ("MX 10 .", "000a00"),
            (r#"TXT a "b c" \100\"  """#, "01610362206302642200"),
            ("SRV 1 2 3 x.", "000100020003017800"),
            ("DS 60485 RSASHA1 3 2BB1 83AF", "ec4505032bb183af"),
            ("DNSKEY 257 3 13 AQ ID", "0101030d010203"),
            (
                "NSEC host ( A MX RRSIG NSEC TYPE1234 )",
                "04686f7374016f00000640010000000304 1b000000000000000000000000000000000000000000000000000020",
            ),
            (
                "RRSIG A 5 3 86400 20030322173103 20030220173103 2642 x. AQ==",
                "00010503000151803e7c9dd73e5510d70a52017800 01",
            ),
            ("RRSIG A 5 3 1 4294967295 0 2642 . AQ==", "0001050300000001ffffffff000000000a520001"),
            (
                "NSEC3 1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX",
                "0101000c04aabbccdd141 74eb2409fe28bcb4887a1836f957f0a8425e27b00020001",
            ),
            ("NSEC3PARAM 1 0 0 -", "0100000000"),
            ("TLSA 3 1 1 ab cd", "030101abcd"),
            (r#"CAA 0 issue "ca.example""#, "00056973737565 63612e6578616d706c65"),
            (r#"URI 10 1 "http://x""#, "000a0001687474703a2f2f78"),
            (
                r#"HTTPS 1 . alpn="h2,h3" port=53 ipv4hint=192.0.2.1,192.0.2.2 key667=hi"#,
                "00010000010006026832026833000300020035000400 08c0000201c0000202029b00026869",
            ),
            (
                r"SVCB 1 x. mandatory=port,alpn alpn=f\\\\oo\\,bar,h2 port=1",
                "0001017800000000040001000300010 00c08665c6f6f2c626172026832000300020001",
            ),
            ("EUI48 00-00-5e-00-53-2a", "00005e00532a"),
            (r"TYPE62347 \# 3 abc def", "abcdef"),
            (r"TYPE62347 \# 0", ""),
            (r"A \# 4 0A000001", "0a000001"),
            (r"CERT PKIX 1 RSASHA256 AQ==", "000100010801"),
            (r#"NAPTR 1 2 "u" "sip" "!x!y!" ."#, "00010002017503736970052178217921 00"),
        ] {
            assert_eq!(read(text), Ok(wire.replace(' ', "")), "{text}");
        }
    }

    #[test]
    fn data_that_is_none() {
        for text in [
            "A",
            "A 1.2.3",
            "A 1.2.3.4 5",
            "AAAA 1.2.3.4",
            "MX -1 a",
            "MX 65536 a",
            "MX a",
            "TXT",
            "SOA a b 1 2 3 4",
            "SOA a b x 2 3 4 5",
            "DS 1 13 2 abc",
            "DS 1 13 2 abcd",
            "DNSKEY 256 3 13 %%",
            "RRSIG A 5 3 1 20031322173103 0 2642 . AQ==",
            "NSEC a NOTATYPE",
            "NSEC3 1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22boj! A",
            "HTTPS 1 . port=1 port=2",
            "HTTPS 1 . alpn=",
            "HTTPS 1 . keyx=1",
            r"A \# 3 0A0000",
            r"A \# 4 0A00",
            r"NS \# 2 0161",
            r"MX \# 3 0001ff",
            r"NSEC \# 4 00010001",
            "LOC 1 2 3",
            "EUI48 00-00",
            &format!("TXT {}", "x".repeat(256)),
            r"TXT \999",
        ] {
            assert!(read(text).is_err(), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn periods() {
        for (text, seconds) in [
            ("0", Some(0)),
            ("60", Some(60)),
            ("1h", Some(3600)),
            ("1W2D3h4M5s", Some(604_800 + 2 * 86_400 + 3 * 3_600 + 245)),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", None),
            ("", None),
            ("h", None),
            ("1x", None),
            ("1h5", None),
            ("99999999w", None),
        ] {
            assert_eq!(period(text.as_bytes()), seconds, "{text}");
        }
    }
}
