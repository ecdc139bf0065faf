//! Record data: its types, its text and its wire form.

use std::str::FromStr;

use anyhow::{Context as _, Result, bail, ensure};
use hickory_proto::rr::{RData, RecordType};
use hickory_proto::serialize::binary::{BinEncodable as _, BinEncoder, NameEncoding};

use crate::name::DomainName;

pub(crate) const A: u16 = 1;
pub(crate) const NS: u16 = 2;
pub(crate) const CNAME: u16 = 5;
pub(crate) const SOA: u16 = 6;
pub(crate) const PTR: u16 = 12;
pub(crate) const MX: u16 = 15;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
pub(crate) const SRV: u16 = 33;
pub(crate) const DNAME: u16 = 39;
pub(crate) const OPT: u16 = 41;
pub(crate) const DS: u16 = 43;
pub(crate) const RRSIG: u16 = 46;
pub(crate) const NSEC: u16 = 47;
pub(crate) const DNSKEY: u16 = 48;
pub(crate) const NSEC3: u16 = 50;
pub(crate) const NSEC3PARAM: u16 = 51;
pub(crate) const ANY: u16 = 255;

/// One record of a zone as it was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Record {
    pub(crate) owner: DomainName,
    pub(crate) ttl: Option<u32>,
    pub(crate) rtype: u16,
    pub(crate) rdata: Vec<u8>,
}

/// The records of one name and type, as data in canonical order.
#[derive(Clone, Debug, Default)]
pub(crate) struct RrSet {
    pub(crate) ttl: u32,
    pub(crate) rdata: Vec<Vec<u8>>,
}

/// A set on its way into an answer.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    /// Owner in the answer.
    pub(crate) owner: DomainName,
    /// Owner in the zone: the wildcard, where it was expanded.
    pub(crate) source: DomainName,
    pub(crate) rtype: u16,
    pub(crate) set: RrSet,
    /// Whether the zone signs it: not so for delegations and glue.
    pub(crate) signed: bool,
}

impl Record {
    /// `OWNER [TTL] [IN] TYPE DATA`.
    pub(crate) fn parse(line: &str, origin: &DomainName) -> Result<Self> {
        let mut words = line.split_whitespace().peekable();
        let owner = DomainName::parse(words.next().context("no owner")?, origin)?;
        let ttl = words.next_if(|w| w.bytes().all(|b| b.is_ascii_digit()));
        let ttl = ttl.map(str::parse).transpose().context("time to live")?;
        words.next_if_eq(&"IN");
        let rtype = parse_type(words.next().context("no type")?)?;
        let words: Vec<&str> = words.collect();
        let rdata = parse_rdata(rtype, &words, origin).with_context(|| format!("in {line:?}"))?;
        Ok(Self { owner, ttl, rtype, rdata })
    }
}

/// A type's number: its mnemonic or `TYPEn`.
pub(crate) fn parse_type(word: &str) -> Result<u16> {
    let upper = word.to_ascii_uppercase();
    if let Some(number) = upper.strip_prefix("TYPE") {
        return number.parse().with_context(|| format!("type {word:?}"));
    }
    RecordType::from_str(&upper).map(u16::from).with_context(|| format!("type {word:?}"))
}

fn parse_rdata(rtype: u16, words: &[&str], origin: &DomainName) -> Result<Vec<u8>> {
    let name = |at: usize| -> Result<DomainName> {
        DomainName::parse(words.get(at).context("a name is missing")?, origin)
    };
    let number = |at: usize| -> Result<u16> {
        Ok(words.get(at).context("a number is missing")?.parse::<u16>()?)
    };
    let (rdata, used) = match rtype {
        NS | CNAME | PTR | DNAME => (name(0)?.as_wire().to_vec(), 1),
        MX => ([&number(0)?.to_be_bytes(), name(1)?.as_wire()].concat(), 2),
        SRV => {
            let [priority, weight, port] =
                [number(0)?, number(1)?, number(2)?].map(u16::to_be_bytes);
            ([&priority, &weight, &port, name(3)?.as_wire()].concat(), 4)
        }
        SOA => {
            let mut rdata = [name(0)?.as_wire(), name(1)?.as_wire()].concat();
            for at in 2..7 {
                let number: u32 = words.get(at).context("SOA has seven fields")?.parse()?;
                rdata.extend(number.to_be_bytes());
            }
            (rdata, 7)
        }
        // Unknown types as in RFC 3597: \# LENGTH HEX.
        _ if words.first() == Some(&"\\#") => {
            let rdata = parse_hex(&words.get(2..).unwrap_or(&[]).concat())?;
            ensure!(rdata.len() == usize::from(number(1)?), "length differs from the data's");
            (rdata, words.len())
        }
        _ => {
            let data = RData::try_from_str(RecordType::from(rtype), &words.join(" "));
            let data = data.map_err(|e| anyhow::anyhow!("{e}"))?;
            let mut wire = Vec::new();
            let mut encoder = BinEncoder::new(&mut wire);
            encoder.set_canonical_form(true);
            encoder.set_name_encoding(NameEncoding::UncompressedLowercase);
            data.emit(&mut encoder)?;
            (wire, words.len())
        }
    };
    if used != words.len() {
        bail!("more words than the type has fields");
    }
    Ok(rdata)
}

/// Octets from hexadecimal digits.
pub(crate) fn parse_hex(digits: &str) -> Result<Vec<u8>> {
    ensure!(digits.len().is_multiple_of(2) && digits.is_ascii(), "odd hexadecimal digits");
    let octets = digits.as_bytes().chunks_exact(2);
    octets.map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}

/// Hexadecimal digits.
pub(crate) fn to_hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_in_a_zone_file() {
        let origin = DomainName::absolute("example.test").unwrap();
        for (line, rtype, ttl, rdata) in [
            ("www A 192.0.2.1", A, None, vec![192, 0, 2, 1]),
            ("@ 60 IN MX 10 mail", MX, Some(60), b"\0\x0a\x04mail\x07example\x04test\0".to_vec()),
            ("t TXT \"two words\"", TXT, None, b"\x09two words".to_vec()),
            ("d DNAME other.", DNAME, None, b"\x05other\0".to_vec()),
            ("x TYPE65000 \\# 2 abcd", 65_000, None, vec![0xab, 0xcd]),
        ] {
            let record = Record::parse(line, &origin).unwrap();
            assert_eq!((record.rtype, record.ttl, record.rdata), (rtype, ttl, rdata), "{line}");
        }
        for bad in ["", "www", "www A", "www A 1.2.3", "www NS a b", "www BOGUS x"] {
            assert!(Record::parse(bad, &origin).is_err(), "{bad:?}");
        }
    }
}
