//! Trust anchors: the root's, and those of files.

use std::collections::BTreeMap;

use data_encoding::{BASE64, HEXUPPER_PERMISSIVE};
use hickory_proto::dnssec::rdata::{DNSKEY, DS};
use hickory_proto::dnssec::{Algorithm, DigestType, PublicKey, PublicKeyBuf};
use hickory_proto::rr::{LowerName, Name, Record};

use crate::{Failure, Keys, Work, chain, name, supported, trust, trust_anchor_keys};

/// The root's key signing keys of 2017 and 2024, as IANA publishes them
/// (<https://data.iana.org/root-anchors/root-anchors.xml>).
const ROOT: [(u16, &str); 2] = [
    (20326, "E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"),
    (38696, "683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16"),
];

/// Trust anchors of some zones.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Anchors {
    zones: BTreeMap<LowerName, Anchor>,
}

impl Anchors {
    /// Those of the root zone, as shipped.
    pub fn root() -> Self {
        let mut anchors = Self::default();
        for (tag, digest) in ROOT {
            // The constant is right by test.
            let digest = HEXUPPER_PERMISSIVE.decode(digest.as_bytes()).unwrap_or_default();
            let ds = DS::new(tag, Algorithm::RSASHA256, DigestType::SHA256, digest);
            anchors.at(&Name::root()).ds.push(ds);
        }
        anchors
    }

    /// Reads DS and DNSKEY records as a zone file has them: a name, a time to live and a class (both may be left out,
    /// and must be IN if given), the type and the data; parentheses and comments as usual, but no directives. Names
    /// are absolute with or without the final dot. Fails if there is no record at all.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut anchors = Self::default();
        let mut entry: Vec<&str> = Vec::new();
        let (mut open, mut first) = (false, 1);
        for (number, line) in (1..).zip(text.lines()) {
            let error = |why| ParseError { line: number, why };
            let line = line.split(';').next().unwrap_or_default();
            if entry.is_empty() {
                first = number;
            }
            for (index, part) in line.split_inclusive(['(', ')']).enumerate() {
                let words = part.trim_end_matches(['(', ')']);
                if index == 0 && entry.is_empty() && words.starts_with([' ', '\t']) {
                    // A line that starts with a blank would mean the owner of the line before.
                    if !words.trim().is_empty() {
                        return Err(error(Mistake::NoOwner));
                    }
                }
                entry.extend(words.split_whitespace());
                match part.chars().last() {
                    Some('(') if open => return Err(error(Mistake::Parentheses)),
                    Some('(') => open = true,
                    Some(')') if !open => return Err(error(Mistake::Parentheses)),
                    Some(')') => open = false,
                    _ => {}
                }
            }
            if !open && !entry.is_empty() {
                anchors.add(&entry).map_err(|why| ParseError { line: first, why })?;
                entry.clear();
            }
        }
        if open {
            return Err(ParseError { line: first, why: Mistake::Parentheses });
        }
        if anchors.zones.is_empty() {
            return Err(ParseError { line: 0, why: Mistake::Empty });
        }
        Ok(anchors)
    }

    /// Takes in others. A zone that both know has the anchors of both.
    pub fn extend(&mut self, others: Self) {
        for (zone, anchor) in others.zones {
            let known = self.at(&zone);
            known.ds.extend(anchor.ds);
            known.keys.extend(anchor.keys);
        }
    }

    /// The anchor closest above the name, or at it.
    pub fn closest(&self, name: &Name) -> Option<&Anchor> {
        (0..=name::count(name))
            .rev()
            .find_map(|labels| self.zones.get(&LowerName::from(name.trim_to(labels))))
    }

    /// All of them, in canonical order of their zones.
    pub fn iter(&self) -> impl Iterator<Item = &Anchor> + '_ {
        self.zones.values()
    }

    fn at(&mut self, zone: &Name) -> &mut Anchor {
        self.zones.entry(LowerName::from(zone)).or_insert_with(|| Anchor {
            zone: zone.clone(),
            ds: Vec::new(),
            keys: Vec::new(),
        })
    }

    fn add(&mut self, entry: &[&str]) -> Result<(), Mistake> {
        let (zone, mut rest) = entry.split_first().ok_or(Mistake::NoType)?;
        let mut zone = Name::from_ascii(zone).map_err(|_| Mistake::Name)?;
        zone.set_fqdn(true);
        loop {
            let (word, data) = rest.split_first().ok_or(Mistake::NoType)?;
            rest = data;
            if word.eq_ignore_ascii_case("DS") {
                let ds = parse_ds(data)?;
                self.at(&zone).ds.push(ds);
                return Ok(());
            }
            if word.eq_ignore_ascii_case("DNSKEY") {
                let key = parse_dnskey(data)?;
                self.at(&zone).keys.push(key);
                return Ok(());
            }
            let ttl = word.starts_with(|first: char| first.is_ascii_digit());
            if !ttl && !word.eq_ignore_ascii_case("IN") {
                return Err(Mistake::NoType);
            }
        }
    }
}

/// Trust anchors of one zone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Anchor {
    /// The zone.
    pub zone: Name,
    /// Digests of keys.
    pub ds: Vec<DS>,
    /// Keys.
    pub keys: Vec<DNSKEY>,
}

impl Anchor {
    /// Whether the zone can be validated with them.
    pub fn supported(&self) -> bool {
        let key = |key: &DNSKEY| chain::supported_algorithm(key.public_key().algorithm());
        supported(&self.ds) || self.keys.iter().any(key)
    }

    /// Proves the zone's keys, by a digest or by a key, whichever does.
    pub fn trust(
        &self,
        dnskeys: &[Record],
        signatures: &[Record],
        now: u32,
        work: &mut Work,
    ) -> Result<Keys, Failure> {
        if self.keys.is_empty() {
            return trust(&self.zone, dnskeys, signatures, &self.ds, now, work);
        }
        let by_key = trust_anchor_keys(&self.zone, dnskeys, signatures, &self.keys, now, work);
        match by_key {
            Err(why) if supported(&self.ds) && why != Failure::TooMuchWork => {
                trust(&self.zone, dnskeys, signatures, &self.ds, now, work)
            }
            by_key => by_key,
        }
    }
}

/// What is wrong with a file of trust anchors.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct ParseError {
    /// Line where the record starts, from 1; 0 if it is the whole file.
    pub line: usize,
    /// What is wrong there.
    pub why: Mistake,
}

/// What can be wrong with a record of a trust anchor file.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Mistake {
    /// There is not one record.
    #[error("there is no trust anchor in the file")]
    Empty,
    /// The line starts with a blank.
    #[error("a trust anchor starts with the zone's name, not with a blank")]
    NoOwner,
    /// Parentheses within parentheses, or one that is left alone.
    #[error("a parenthesis has no counterpart")]
    Parentheses,
    /// The first word is no name.
    #[error("the first word is not a domain name")]
    Name,
    /// Neither DS nor DNSKEY, or not of class IN.
    #[error("expected a DS or DNSKEY record of class IN")]
    NoType,
    /// Fewer fields than the type has.
    #[error("fields are missing")]
    TooShort,
    /// A number is not one, or too large.
    #[error("a number is wrong")]
    Number,
    /// DNSKEY records have protocol 3.
    #[error("the protocol must be 3")]
    Protocol,
    /// A DNSKEY record without flag 256, or with the flag that revokes it.
    #[error("the key is no zone key, or was revoked")]
    NotAZoneKey,
    /// The digest is not hexadecimal, or not as long as its type wants.
    #[error("the digest is not hexadecimal, or not of the length that its type has")]
    Digest,
    /// The key is not base64.
    #[error("the key is not base64")]
    Key,
}

fn parse_ds(data: &[&str]) -> Result<DS, Mistake> {
    let [tag, algorithm, digest_type, digest @ ..] = data else { return Err(Mistake::TooShort) };
    let digest_type = DigestType::from(number::<u8>(digest_type)?);
    let digest =
        HEXUPPER_PERMISSIVE.decode(digest.concat().as_bytes()).map_err(|_| Mistake::Digest)?;
    let length = match digest_type {
        DigestType::SHA1 => 20,
        DigestType::SHA256 => 32,
        DigestType::SHA384 => 48,
        _ => digest.len().max(1),
    };
    if digest.len() != length {
        return Err(Mistake::Digest);
    }
    Ok(DS::new(number(tag)?, parse_algorithm(algorithm)?, digest_type, digest))
}

fn parse_dnskey(data: &[&str]) -> Result<DNSKEY, Mistake> {
    let [flags, protocol, algorithm, key @ ..] = data else { return Err(Mistake::TooShort) };
    if number::<u8>(protocol)? != 3 {
        return Err(Mistake::Protocol);
    }
    let key = BASE64.decode(key.concat().as_bytes()).map_err(|_| Mistake::Key)?;
    if key.is_empty() {
        return Err(Mistake::TooShort);
    }
    let algorithm = parse_algorithm(algorithm)?;
    let key = DNSKEY::with_flags(number(flags)?, PublicKeyBuf::new(key, algorithm));
    match key.zone_key() && !key.revoke() {
        true => Ok(key),
        false => Err(Mistake::NotAZoneKey),
    }
}

/// A number or the mnemonic that IANA's registry has for it (RFC 4034 sections 2.2 and 5.3).
fn parse_algorithm(word: &str) -> Result<Algorithm, Mistake> {
    const MNEMONICS: [(&str, u8); 15] = [
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
        ("PRIVATEDNS", 253),
    ];
    let known = MNEMONICS.iter().find(|(mnemonic, _)| word.eq_ignore_ascii_case(mnemonic));
    let code = match known {
        Some((_, code)) => *code,
        None => number(word)?,
    };
    Ok(Algorithm::from_u8(code))
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, Mistake> {
    word.parse().map_err(|_| Mistake::Number)
}

#[cfg(test)]
mod tests;
