//! What the fuzz targets do with arbitrary bytes: each function panics if a promise is broken.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "panics are its findings")]

use std::path::Path;

use crate::attribute::Hiding;
use crate::dictionary::Dictionary;
use crate::encode::Encoded;
use crate::files::Files;
use crate::pair::{Operator, Pair};
use crate::users::UsersFile;

/// The attributes of a packet: each pair is written as text and as attributes that are read as the same pair.
pub fn decode(attributes: &[u8]) {
    decoded(attributes);
}

/// How many pairs were looked at.
fn decoded(attributes: &[u8]) -> usize {
    let dictionary = Dictionary::built_in();
    let pairs = dictionary.decode(attributes);
    let count = pairs.len();
    assert!(count <= attributes.len());
    for pair in pairs {
        let mut out = b"before".to_vec();
        let encoded = dictionary.encode(&pair, &mut out);
        if pair.attribute.hiding() != Hiding::None {
            assert_eq!(out, b"before");
            continue;
        }
        let text = pair.to_string();
        assert_eq!(Pair::parse(&dictionary, &text), Ok(pair.clone()), "{text}");
        assert_eq!(encoded, Ok(Encoded::Plain), "{text}");
        let again = dictionary.decode(out.strip_prefix(b"before").unwrap());
        // An empty text is left out.
        if !again.is_empty() || pair.value.bytes().is_none_or(|bytes| !bytes.is_empty()) {
            assert_eq!(again, [pair], "{text}");
        }
    }
    count
}

/// A dictionary file: what it defines is found by name and by number, and its names of values are read again.
pub fn dictionary(text: &[u8]) {
    defined(text);
}

/// How many attributes were looked at.
fn defined(text: &[u8]) -> usize {
    let mut count = 0;
    let text = String::from_utf8_lossy(text);
    for base in [&Dictionary::empty(), &*Dictionary::built_in()] {
        let dictionary = match base.with_text("fuzzed", &text) {
            Ok(dictionary) => dictionary,
            Err(error) => {
                let lines = text.split('\n').count() as u32;
                assert!(!error.problems.is_empty() && error.to_string().starts_with("fuzzed:"));
                for problem in &error.problems {
                    assert!(problem.line.is_some_and(|line| (1..=lines).contains(&line)));
                }
                continue;
            }
        };
        count += dictionary.attributes().count() - base.attributes().count();
        for attribute in dictionary.attributes() {
            assert_eq!(dictionary.attribute(attribute.name()), Some(attribute));
            let found = dictionary.by_number(0, attribute.numbers()).expect("found by number");
            assert_eq!(found.numbers(), attribute.numbers());
            for (name, number) in attribute.value_names() {
                assert_eq!(attribute.value_number(name), Some(number));
            }
        }
        // All types and places, with what a packet may bring.
        for attribute in
            dictionary.attributes().filter(|attribute| !attribute.kind().holds_others())
        {
            for value in [&[0; 4][..], &[], b"\x01ab", &[0xff; 8]] {
                if let Some((tag, value)) = attribute.tagged_value_of(value) {
                    let pair = Pair {
                        attribute: attribute.clone(),
                        operator: Operator::Equal,
                        tag,
                        value,
                    };
                    let mut out = Vec::new();
                    if dictionary.encode(&pair, &mut out).is_ok() {
                        dictionary.decode(&out);
                    }
                }
            }
        }
    }
    count
}

/// A users file: each of its pairs is written as it is read again.
pub fn users(text: &[u8]) {
    read(text);
}

/// How many pairs were looked at.
fn read(text: &[u8]) -> usize {
    let mut count = 0;
    let dictionary = Dictionary::built_in();
    let lines = text.split(|byte| *byte == b'\n').count() as u32;
    match UsersFile::parse_with(&dictionary, Files::none(), Path::new("fuzzed"), text) {
        Ok(entries) => {
            for entry in entries {
                assert!((1..=lines).contains(&entry.line) && !entry.name.is_empty());
                for pair in entry.check.iter().chain(&entry.reply) {
                    count += 1;
                    let text = pair.to_string();
                    assert_eq!(Pair::parse(&dictionary, &text).as_ref(), Ok(pair), "{text}");
                    if pair.attribute.is_secret() {
                        let shown = pair.redacted().to_string();
                        assert!(shown.ends_with("***") || shown.ends_with("ANY"), "{shown}");
                    }
                }
                // Too long or not for a packet: an error, and nothing written.
                let mut out = Vec::new();
                if dictionary.encode_all(&entry.reply, &mut out).is_ok() {
                    dictionary.decode(&out);
                } else {
                    assert!(out.is_empty());
                }
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            for problem in problems {
                assert!(problem.line.is_some_and(|line| (1..=lines).contains(&line)));
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutates seeds, the same way each time.
    struct Mutator {
        state: u64,
        seeds: Vec<Vec<u8>>,
    }

    impl Mutator {
        fn below(&mut self, bound: usize) -> usize {
            // xorshift64 (Marsaglia)
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            (self.state % bound.max(1) as u64) as usize
        }

        fn next(&mut self) -> Vec<u8> {
            let pick = self.below(self.seeds.len());
            let mut bytes = self.seeds[pick].clone();
            for _ in 0..self.below(6) {
                let at = self.below(bytes.len());
                match self.below(6) {
                    0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                    1 if !bytes.is_empty() => {
                        bytes[at] = [0, 1, 2, 3, 26, 0x80, 0xff, b'\n', b'"', b' '][self.below(10)];
                    }
                    2 => bytes.truncate(at),
                    3 => bytes.insert(at, self.below(256) as u8),
                    4 if !bytes.is_empty() => {
                        bytes.remove(at);
                    }
                    _ => {
                        let other = self.below(self.seeds.len());
                        let from = self.below(self.seeds[other].len());
                        let tail = self.seeds[other][from..].to_vec();
                        bytes.truncate(at);
                        bytes.extend(tail);
                    }
                }
            }
            bytes
        }
    }

    /// Fails too if the mutations leave next to nothing to look at.
    fn smoke(seeds: Vec<Vec<u8>>, rounds: usize, target: fn(&[u8]) -> usize) {
        assert!(seeds.iter().map(|seed| target(seed)).sum::<usize>() > seeds.len());
        let mut mutator = Mutator { state: 0x9e37_79b9_7f4a_7c15, seeds };
        let looked: usize = (0..rounds).map(|_| target(&mutator.next())).sum();
        assert!(looked > rounds / 4, "{looked} of {rounds}");
    }

    #[test]
    fn packets_withstand_mutation() {
        let dictionary = Dictionary::built_in();
        let texts = [
            "User-Name = \"bob\"",
            "Framed-IP-Address = 192.0.2.1",
            "Framed-IPv6-Prefix = 2001:db8::/56",
            "PMIP6-Home-IPv4-HoA = 192.0.2.0/24",
            "Framed-Interface-Id = 1:2:3:4",
            "Event-Timestamp = \"31 Dec 2026\"",
            "Tunnel-Type:1 = VLAN",
            "Tunnel-Private-Group-Id:1 = \"100\"",
            "EAP-Message = 0x0102",
            "Cisco-AVPair = \"ip:addr-pool=first\"",
            "Mikrotik-Rate-Limit = \"1M/2M\"",
            "USR-Last-Number-Dialed-In-DNIS = \"5551234\"",
            "WiMAX-Release = \"1.0\"",
            "WiMAX-AAA-Session-Id = 0x0102",
            "IPv6-6rd-IPv4MaskLen = 24",
            "IP-Port-Range-Start = 1024",
            "SAML-Assertion = \"<a>\"",
            "Attr-241.26.9.1 = 0x01",
            "Attr-246.26.9.1 = 0x01",
            "Attr-26.4846.300 = 0x01",
            "Attr-26.8164.300 = 0x01",
            "Attr-26.5.300 = 0x01",
            "MIP6-Feature-Vector = 5",
            "PKM-SAID = 6",
        ];
        let mut seeds: Vec<Vec<u8>> = Vec::new();
        for text in texts {
            let Ok(pair) = Pair::parse(&dictionary, text) else { continue };
            let mut out = Vec::new();
            dictionary.encode(&pair, &mut out).unwrap();
            seeds.push(out);
        }
        assert_eq!(seeds.len(), texts.len() - 1, "one is too large a number");
        let long = Pair::parse(&dictionary, &format!("SAML-Protocol = \"{}\"", "a".repeat(600)));
        let mut out = Vec::new();
        dictionary.encode(&long.unwrap(), &mut out).unwrap();
        let session = format!("WiMAX-AAA-Session-Id = 0x{}", "ab".repeat(600));
        dictionary.encode(&Pair::parse(&dictionary, &session).unwrap(), &mut out).unwrap();
        seeds.push(out);
        seeds.push(seeds.concat());
        smoke(seeds, 20_000, decoded);
    }

    #[test]
    fn dictionaries_withstand_mutation() {
        let mut seeds: Vec<Vec<u8>> = crate::built_in::FILES
            .iter()
            .filter(|(_, text)| text.len() < 3000)
            .map(|(_, text)| text.as_bytes().to_vec())
            .collect();
        seeds.push(
            b"VENDOR V 9999 format=1,1,c\nBEGIN-VENDOR V\nATTRIBUTE V-T 1 tlv\nBEGIN-TLV V-T\nATTRIBUTE V-S 2 signed\n\
              VALUE V-S Cold -1\nEND-TLV V-T\nEND-VENDOR V\nATTRIBUTE W 241.26.5.1 integer64 array\n$INCLUDE x\n"
                .to_vec(),
        );
        smoke(seeds, 600, defined);
    }

    #[test]
    fn users_files_withstand_mutation() {
        let seeds = [
            "bob Cleartext-Password := \"hello\", NAS-Port-Type == Async\n\tReply-Message := \"Hi, \\\"bob\\\"\\n\",\n\t\
             Framed-IP-Address = 192.0.2.1\n",
            "DEFAULT Auth-Type := Reject\n\tFall-Through = Yes\n# x\n",
            "\"a b\" NT-Password := 0x00, Called-Station-Id =~ \"^a\"\n Cisco-AVPair += 'x=%{y}', Tunnel-Type:3 = 13\n",
            "x Expiration := \"31 Dec 2026\", Calling-Station-Id =* ANY, \\\n Simultaneous-Use := 1\n",
            "$INCLUDE other\ny Framed-IPv6-Prefix == ::/0\n Ascend-Data-Filter = 0x01, Attr-26.9.7 = 0x\n",
        ];
        smoke(seeds.map(|seed| seed.as_bytes().to_vec()).to_vec(), 10_000, read);
    }
}
