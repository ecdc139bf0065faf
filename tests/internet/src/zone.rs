//! A zone as it is written: its records and how it is signed.

use anyhow::{Context as _, Result, bail, ensure};

use crate::name::DomainName;
use crate::record::{NS, Record, SOA, parse_hex};

/// A zone's content. Its NS records, where it has none, are the hosts that serve it; a SOA record is made where it has
/// none; delegations to and from it, with glue and DS records, come from the other zones of the same
/// [`Plan`](crate::Plan).
#[derive(Clone, Debug)]
pub struct Zone {
    pub(crate) origin: DomainName,
    pub(crate) records: Vec<Record>,
    pub(crate) signing: Option<Signing>,
    /// Time to live of records that name none, seconds.
    pub(crate) ttl: u32,
    /// Of negative answers, seconds: the last field of the SOA record that is made.
    pub(crate) negative_ttl: u32,
    /// Whether the parent knows nothing of it.
    pub(crate) undelegated: bool,
    /// Whether referrals carry addresses of servers in sibling zones (RFC 9471 section 2.2).
    pub(crate) sibling_glue: bool,
    /// Changes the SOA serial and nothing else.
    pub(crate) serial: u32,
}

/// How a zone is signed.
#[derive(Clone, Debug)]
pub(crate) struct Signing {
    pub(crate) algorithms: Vec<Algorithm>,
    pub(crate) denial: Denial,
    /// Keys that the parent may point to, for each algorithm.
    pub(crate) key_signing_keys: u8,
    /// Whether keys of their own sign the data.
    pub(crate) split: bool,
    /// From and until when signatures are valid, as Unix time; by default around the time of the answer.
    pub(crate) window: Option<(u32, u32)>,
    pub(crate) delegation: Delegation,
    /// Other keys for another seed.
    pub(crate) seed: u64,
}

/// A signature algorithm (RFC 8624).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Algorithm {
    Ed25519,
    EcdsaP256,
    /// A number that nobody knows; its signatures are made up.
    Unknown(u8),
}

/// What proves that something does not exist.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Denial {
    Nsec,
    Nsec3 { iterations: u16, salt: Vec<u8>, opt_out: bool },
}

/// The DS records that the parent has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Delegation {
    None,
    /// For each key signing key, with these digest types.
    All(Vec<u8>),
    /// For the first key alone.
    First,
    /// Digests of no key.
    Wrong,
}

impl Default for Signing {
    fn default() -> Self {
        Self {
            algorithms: vec![Algorithm::Ed25519],
            denial: Denial::Nsec,
            key_signing_keys: 1,
            split: false,
            window: None,
            delegation: Delegation::All(vec![2]),
            seed: 0,
        }
    }
}

impl Zone {
    /// An unsigned zone without records.
    pub fn new(origin: DomainName) -> Self {
        Self {
            origin,
            records: Vec::new(),
            signing: None,
            ttl: 3_600,
            negative_ttl: 300,
            undelegated: false,
            sibling_glue: false,
            serial: 1,
        }
    }

    /// A zone out of its heading, `NAME WORD...`. The words:
    ///
    /// | word | meaning |
    /// |---|---|
    /// | `signed` | signed with Ed25519 and NSEC; the words below it in this table sign too |
    /// | `nsec3`, `iterations=N`, `salt=HEX`, `opt-out` | NSEC3 (RFC 5155) |
    /// | `algorithm=ed25519,ecdsa,N` | one or several; N is a number that nobody knows |
    /// | `ksks=N` | N key signing keys for each algorithm |
    /// | `split` | keys of their own sign the data |
    /// | `inception=UNIX`, `expires=UNIX` | when signatures are valid, both together |
    /// | `ds=none`, `ds=first`, `ds=wrong` | what the parent has: nothing, a record for the first key, records for no key |
    /// | `digest=N,N` | digest types of the DS records; of those that nobody knows the digest is made up |
    /// | `seed=N` | other keys |
    /// | `ttl=N`, `negative-ttl=N`, `serial=N` | seconds; the SOA serial |
    /// | `undelegated` | the parent knows nothing of it |
    /// | `sibling-glue` | referrals carry addresses of hosts in sibling zones |
    pub fn from_heading(heading: &str) -> Result<Self> {
        let mut words = heading.split_whitespace();
        let origin = DomainName::absolute(words.next().context("zone without a name")?)?;
        let mut zone = Self::new(origin);
        let mut window = (None, None);
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let number = || value.parse::<u32>().with_context(|| format!("in {word:?}"));
            match key {
                "ttl" => zone.ttl = number()?,
                "negative-ttl" => zone.negative_ttl = number()?,
                "serial" => zone.serial = number()?,
                "undelegated" => zone.undelegated = true,
                "sibling-glue" => zone.sibling_glue = true,
                "inception" => window.0 = Some(number()?),
                "expires" => window.1 = Some(number()?),
                _ => zone.signing.get_or_insert_default().read(key, value)?,
            }
        }
        if let (Some(from), Some(until)) = window {
            zone.signing.get_or_insert_default().window = Some((from, until));
        } else {
            ensure!(window == (None, None), "inception and expires go together");
        }
        Ok(zone)
    }

    /// Adds `OWNER [TTL] TYPE DATA` as in a zone file.
    pub fn record(&mut self, line: &str) -> Result<&mut Self> {
        self.records.push(Record::parse(line, &self.origin)?);
        Ok(self)
    }

    /// The zone's name.
    pub fn origin(&self) -> &DomainName {
        &self.origin
    }

    /// The SOA record as written, or one that is made.
    pub(crate) fn soa(&self) -> Record {
        let written = self.records.iter().find(|r| r.rtype == SOA && r.owner == self.origin);
        written.cloned().unwrap_or_else(|| {
            let mut rdata = [b"\x06master", self.origin.as_wire()].concat();
            rdata.extend_from_slice(b"\x0ahostmaster");
            rdata.extend_from_slice(self.origin.as_wire());
            for number in [self.serial, 3_600, 600, 86_400, self.negative_ttl] {
                rdata.extend(number.to_be_bytes());
            }
            Record { owner: self.origin.clone(), ttl: None, rtype: SOA, rdata }
        })
    }

    /// Its name servers as written.
    pub(crate) fn name_servers(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|r| r.rtype == NS && r.owner == self.origin)
    }
}

impl Signing {
    fn read(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "signed" => {}
            "split" => self.split = true,
            "seed" => self.seed = value.parse()?,
            "ksks" => self.key_signing_keys = value.parse()?,
            "algorithm" => {
                self.algorithms = value.split(',').map(Algorithm::parse).collect::<Result<_>>()?;
            }
            "digest" => {
                let types = value.split(',').map(|n| Ok(n.parse::<u8>()?));
                self.delegation = Delegation::All(types.collect::<Result<_>>()?);
            }
            "ds" => {
                self.delegation = match value {
                    "none" => Delegation::None,
                    "first" => Delegation::First,
                    "wrong" => Delegation::Wrong,
                    _ => bail!("ds is none, first or wrong"),
                }
            }
            "nsec3" | "iterations" | "salt" | "opt-out" => self.read_nsec3(key, value)?,
            _ => bail!("a zone has no {key:?}"),
        }
        Ok(())
    }

    fn read_nsec3(&mut self, key: &str, value: &str) -> Result<()> {
        if self.denial == Denial::Nsec {
            self.denial = Denial::Nsec3 { iterations: 0, salt: Vec::new(), opt_out: false };
        }
        if let Denial::Nsec3 { iterations, salt, opt_out } = &mut self.denial {
            match key {
                "iterations" => *iterations = value.parse()?,
                "salt" => *salt = parse_hex(value)?,
                "opt-out" => *opt_out = true,
                _ => {}
            }
        }
        Ok(())
    }
}

impl Algorithm {
    fn parse(word: &str) -> Result<Self> {
        Ok(match word {
            "ed25519" => Self::Ed25519,
            "ecdsa" => Self::EcdsaP256,
            _ => Self::Unknown(word.parse().context("algorithm")?),
        })
    }

    /// The number of RFC 8624.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::EcdsaP256 => 13,
            Self::Ed25519 => 15,
            Self::Unknown(number) => number,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_say_how_a_zone_is_signed() {
        let zone = Zone::from_heading("Example.test nsec3 iterations=10 salt=abcd ttl=60").unwrap();
        let nsec3 = Denial::Nsec3 { iterations: 10, salt: vec![0xab, 0xcd], opt_out: false };
        assert_eq!(zone.signing.unwrap().denial, nsec3);
        assert_eq!((zone.ttl, zone.origin.to_string().as_str()), (60, "example.test."));
        assert!(Zone::from_heading("plain.test").unwrap().signing.is_none());
        for bad in ["", "x sgned", "x algorithm=rsa", "x ds=maybe", "x inception=5"] {
            assert!(Zone::from_heading(bad).is_err(), "{bad:?}");
        }
    }
}
