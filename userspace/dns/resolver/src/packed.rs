//! RRsets as few bytes as they are on the wire: most of what is in a cache is not looked at before it ends.
//!
//! A parsed record of an address takes some 300 bytes, and its signature twice as much, where the message that brought
//! both had 150. Names share their ends with each other here as they did there.

use std::sync::Arc;

use hickory_proto::rr::{Name, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};

use crate::rrset::RrSet;

/// A zone, perhaps, and RRsets with their signatures.
#[derive(Clone, Debug)]
pub(crate) struct Packed(Arc<[u8]>);

impl Packed {
    /// None if it would be longer than a message can be.
    pub(crate) fn pack<'a>(
        zone: Option<&Name>,
        sets: impl Iterator<Item = &'a RrSet>,
    ) -> Option<Self> {
        let mut bytes = Vec::with_capacity(512);
        let mut encoder = BinEncoder::new(&mut bytes);
        encoder.emit(u8::from(zone.is_some())).ok()?;
        if let Some(zone) = zone {
            zone.emit(&mut encoder).ok()?;
        }
        for set in sets {
            encoder.emit_u16(set.rtype.into()).ok()?;
            encoder.emit_u32(set.ttl).ok()?;
            encoder.emit_u16(set.records.len().try_into().ok()?).ok()?;
            encoder.emit_u16(set.signatures.len().try_into().ok()?).ok()?;
            for record in set.records.iter().chain(&set.signatures) {
                record.emit(&mut encoder).ok()?;
            }
        }
        Some(Self(bytes.into()))
    }

    /// What was packed; nothing if it can't be read, which would be a mistake of ours.
    pub(crate) fn unpack(&self) -> Option<(Option<Name>, Vec<Arc<RrSet>>)> {
        let mut decoder = BinDecoder::new(&self.0);
        let has_zone = decoder.read_u8().ok()?.unverified() != 0;
        let zone = if has_zone { Some(Name::read(&mut decoder).ok()?) } else { None };
        let mut sets = Vec::new();
        while !decoder.is_empty() {
            sets.push(Arc::new(set(&mut decoder)?));
        }
        Some((zone, sets))
    }

    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

fn set(decoder: &mut BinDecoder<'_>) -> Option<RrSet> {
    let rtype = RecordType::from(decoder.read_u16().ok()?.unverified());
    let ttl = decoder.read_u32().ok()?.unverified();
    let records = decoder.read_u16().ok()?.unverified();
    let signatures = decoder.read_u16().ok()?.unverified();
    let mut read = |count: u16| -> Option<Vec<Record>> {
        (0..count).map(|_| Record::read(decoder).ok()).collect()
    };
    let (records, signatures) = (read(records)?, read(signatures)?);
    let name = records.first()?.name.clone();
    Some(RrSet { name, rtype, ttl, records, signatures })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rrset::{group, signatures};
    use hickory_proto::rr::RData;
    use hickory_proto::rr::rdata::{A, CNAME, MX, NULL, TXT};
    use hickory_proto::serialize::txt::Parser;

    /// RRsets of all kinds that matter, as a zone has them, in letters of both cases.
    fn sets() -> Vec<RrSet> {
        const ZONE: &str = "\
            www 300 IN A 192.0.2.1\n\
            www 300 IN A 192.0.2.2\n\
            www 60 IN AAAA 2001:db8::1\n\
            alias 60 IN CNAME Www.Example.NET.\n\
            @ 60 IN MX 10 Mail.example.org.\n\
            @ 60 IN NS ns1.example.org.\n\
            @ 60 IN SOA ns1 host 1 2 3 4 5\n\
            @ 60 IN TXT \"a\" \"b c\"\n\
            _x._tcp 60 IN SRV 1 2 3 target.example.org.\n\
            @ 60 IN CAA 0 issue \"ca.example\"\n\
            child 60 IN DS 20326 8 2 e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d\n";
        let origin = Name::from_ascii("example.org.").unwrap();
        let (_, parsed) = Parser::new(ZONE, None, Some(origin)).parse().unwrap();
        let mut records: Vec<Record> = parsed
            .values()
            .flat_map(|set| set.records_without_rrsigs().cloned().collect::<Vec<_>>())
            .collect();
        let dname = NULL::with(b"\x03new\x00".to_vec());
        let owner = Name::from_ascii("old.example.org.").unwrap();
        let data = RData::Unknown { code: RecordType::DNAME, rdata: dname };
        records.push(Record::from_rdata(owner, 5, data));
        group(&records)
    }

    fn same(left: &RrSet, right: &RrSet) {
        assert_eq!(left, right);
        let all = |set: &RrSet| -> Vec<(u32, String)> {
            let both = set.records.iter().chain(&set.signatures);
            // Letter case and time to live are no part of a record's equality.
            both.map(|record| (record.ttl, record.to_string())).collect()
        };
        assert_eq!(all(left), all(right));
    }

    #[test]
    fn what_is_packed_comes_back() {
        let sets = sets();
        assert!(sets.len() >= 11, "{}", sets.len());
        let zone = Name::from_ascii("example.org.").unwrap();
        for zone in [None, Some(&zone)] {
            let packed = Packed::pack(zone, sets.iter()).unwrap();
            let (unpacked_zone, unpacked) = packed.unwrap_all();
            assert_eq!(unpacked_zone.as_ref(), zone);
            assert_eq!(unpacked.len(), sets.len());
            sets.iter().zip(&unpacked).for_each(|(left, right)| same(left, right));
        }
        let none = Packed::pack(None, std::iter::empty()).unwrap();
        assert_eq!(none.unwrap_all(), (None, Vec::new()));
    }

    impl Packed {
        fn unwrap_all(&self) -> (Option<Name>, Vec<Arc<RrSet>>) {
            self.unpack().unwrap()
        }
    }

    #[test]
    fn it_takes_little_room() {
        let owner = Name::from_ascii("www.example.org.").unwrap();
        let address = Record::from_rdata(owner.clone(), 60, RData::A(A::new(192, 0, 2, 1)));
        let set = group(&[address]).remove(0);
        let packed = Packed::pack(Some(&owner), [&set].into_iter()).unwrap();
        // The zone's name, five numbers, a pointer, and the fixed part of a record with four bytes.
        assert_eq!(packed.len(), 1 + 17 + 10 + 2 + 10 + 4);
    }

    #[test]
    fn what_no_message_could_hold_is_not_packed() {
        let owner = Name::from_ascii("big.example.").unwrap();
        let text = |number: u32| {
            let part = format!("{number:0>250}");
            Record::from_rdata(owner.clone(), 60, RData::TXT(TXT::new(vec![part.clone(), part])))
        };
        let set = group(&(0..200).map(text).collect::<Vec<_>>()).remove(0);
        assert!(Packed::pack(None, [&set].into_iter()).is_none());
    }

    #[test]
    fn damaged_bytes_are_nothing() {
        let mx = RData::MX(MX::new(1, Name::from_ascii("mx.example.").unwrap()));
        let alias = RData::CNAME(CNAME(Name::from_ascii("b.example.").unwrap()));
        let owner = Name::from_ascii("a.example.").unwrap();
        let records = [mx, alias].map(|data| Record::from_rdata(owner.clone(), 60, data));
        assert!(signatures(&records, &owner).is_none());
        let packed = Packed::pack(Some(&owner), group(&records).iter()).unwrap();
        for length in 1..packed.len() {
            let cut = Packed(packed.0[..length].into());
            let whole = cut.unpack().is_none_or(|(_, sets)| sets.len() < 2);
            assert!(whole, "{length}");
        }
    }
}
