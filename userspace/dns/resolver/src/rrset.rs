//! RRsets with their signatures, as responses are taken apart into.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use hickory_proto::dnssec::rdata::{DNSSECRData, DS, RRSIG};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

/// Most records of one RRset that are taken from a response; what has more is not used.
const MAX_RECORDS: usize = 256;

/// Most records of one section that are looked at: a message of 64 KiB over TCP could hold thousands of owners.
pub(crate) const MAX_SECTION: usize = 600;

/// Most signatures of one RRset that are kept.
const MAX_SIGNATURES: usize = 8;

/// Most signatures that a question for signatures is answered with.
const MAX_LONE_SIGNATURES: usize = 32;

/// Records of one owner and type, with the signatures over them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RrSet {
    /// Owner, in small letters.
    pub(crate) name: Name,
    pub(crate) rtype: RecordType,
    /// Seconds; the least of the records and signatures.
    pub(crate) ttl: u32,
    pub(crate) records: Vec<Record>,
    pub(crate) signatures: Vec<Record>,
}

impl RrSet {
    /// Bytes of memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let names = self.name.len() * (1 + self.records.len() + self.signatures.len());
        let records: usize = self.records.iter().map(record_bytes).sum();
        let signatures: usize = self.signatures.iter().map(record_bytes).sum();
        size_of::<Self>() + names + records + signatures
    }

    /// The records and signatures, each with the time to live given.
    pub(crate) fn emit(&self, ttl: u32, into: &mut Vec<Record>) {
        for record in self.records.iter().chain(&self.signatures) {
            let mut record = record.clone();
            record.ttl = ttl;
            into.push(record);
        }
    }

    /// The zone in whose name the RRset is signed, if a signature names one at or above the owner.
    pub(crate) fn signer(&self) -> Option<Name> {
        self.signatures.iter().filter_map(rrsig).find_map(|signature| {
            let signer = &signature.input().signer_name;
            signer.zone_of(&self.name).then(|| signer.to_lowercase())
        })
    }

    /// The target, if this is an alias.
    pub(crate) fn cname(&self) -> Option<Name> {
        match &self.records.first()?.data {
            RData::CNAME(target) => Some(target.0.to_lowercase()),
            _ => None,
        }
    }

    /// The names, if these are name servers.
    pub(crate) fn name_servers(&self) -> impl Iterator<Item = Name> + '_ {
        self.records.iter().filter_map(|record| match &record.data {
            RData::NS(host) => Some(host.0.to_lowercase()),
            _ => None,
        })
    }

    /// The DS records among these.
    pub(crate) fn ds(&self) -> Vec<DS> {
        self.records
            .iter()
            .filter_map(|record| match &record.data {
                RData::DNSSEC(DNSSECRData::DS(ds)) => Some(ds.clone()),
                _ => None,
            })
            .collect()
    }
}

fn record_bytes(record: &Record) -> usize {
    let data = match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => signature.sig().len() + 64,
        RData::DNSSEC(DNSSECRData::DNSKEY(key)) => {
            use hickory_proto::dnssec::PublicKey;
            key.public_key().public_bytes().len()
        }
        RData::TXT(text) => text.txt_data.iter().map(|part| part.len() + 16).sum(),
        RData::Unknown { rdata, .. } => rdata.anything.len(),
        _ => 64,
    };
    size_of::<Record>() + data
}

/// The signature in a record.
pub(crate) fn rrsig(record: &Record) -> Option<&RRSIG> {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => Some(signature),
        _ => None,
    }
}

/// Sorts the records of a section into RRsets, in order of appearance. Only class IN; doubles are dropped, and what is
/// too much with them.
pub(crate) fn group(records: &[Record]) -> Vec<RrSet> {
    group_up_to(MAX_SECTION, records)
}

/// The same for a zone of the operator's, of whatever size.
pub(crate) fn group_all(records: &[Record]) -> Vec<RrSet> {
    group_up_to(usize::MAX, records)
}

fn group_up_to(most: usize, records: &[Record]) -> Vec<RrSet> {
    let mut sets: Vec<RrSet> = Vec::new();
    let mut places: HashMap<(Name, RecordType), usize> = HashMap::new();
    // The data of each set: a message may hold hundreds for one, which are not to be compared with each other.
    let mut seen: HashSet<(usize, &RData)> = HashSet::new();
    let records = records.iter().filter(|record| record.dns_class == DNSClass::IN);
    for record in records.take(most) {
        let covered = rrsig(record).map(|signature| signature.input().type_covered);
        let rtype = covered.unwrap_or_else(|| record.record_type());
        let name = record.name.to_lowercase();
        let at = *places.entry((name.clone(), rtype)).or_insert_with(|| {
            sets.push(RrSet {
                name: name.clone(),
                rtype,
                ttl: u32::MAX,
                records: Vec::new(),
                signatures: Vec::new(),
            });
            sets.len() - 1
        });
        let Some(set) = sets.get_mut(at) else { continue };
        let (list, limit) = match covered {
            Some(_) => (&mut set.signatures, MAX_SIGNATURES),
            None => (&mut set.records, MAX_RECORDS + 1),
        };
        if list.len() >= limit || !seen.insert((at, &record.data)) {
            continue;
        }
        let mut record = record.clone();
        record.name = name;
        // The top bit set means zero (RFC 2181 section 8).
        record.ttl = if record.ttl > i32::MAX as u32 { 0 } else { record.ttl };
        set.ttl = set.ttl.min(record.ttl);
        list.push(record);
    }
    // An alias has one target.
    sets.retain(|set| {
        set.records.len() <= MAX_RECORDS
            && !set.records.is_empty()
            && (set.rtype != RecordType::CNAME || set.records.len() == 1)
    });
    sets
}

/// The signatures at a name, whatever they cover, as the data that a question for RRSIG is answered with.
pub(crate) fn signatures(records: &[Record], name: &Name) -> Option<RrSet> {
    let mut found: Vec<Record> = Vec::new();
    let at_name = records.iter().take(MAX_SECTION).filter(|record| {
        record.dns_class == DNSClass::IN && rrsig(record).is_some() && record.name == *name
    });
    for record in at_name.take(MAX_LONE_SIGNATURES) {
        if found.iter().all(|other| other.data != record.data) {
            let mut record = record.clone();
            record.name = name.clone();
            found.push(record);
        }
    }
    let ttl = found.iter().map(|record| record.ttl).min()?;
    let ttl = if ttl > i32::MAX as u32 { 0 } else { ttl };
    Some(RrSet {
        name: name.clone(),
        rtype: RecordType::RRSIG,
        ttl,
        records: found,
        signatures: Vec::new(),
    })
}

/// The target of a DNAME record; hickory leaves its data as it came. It is never compressed (RFC 6672 section 2.5).
fn dname_target(record: &Record) -> Option<Name> {
    let RData::Unknown { code: RecordType::DNAME, rdata } = &record.data else { return None };
    let mut target = Name::read(&mut BinDecoder::new(&rdata.anything)).ok()?;
    target.set_fqdn(true);
    Some(target.to_lowercase())
}

/// What a DNAME RRset makes of a name below its owner (RFC 6672 section 2.2): `None` if it doesn't apply, or if the
/// result would be too long.
pub(crate) fn substitute(dname: &RrSet, name: &Name) -> Option<Name> {
    let [record] = dname.records.as_slice() else { return None };
    if !dname.name.zone_of(name) || dname.name == *name {
        return None;
    }
    let target = dname_target(record)?;
    let prefix = name.iter().len().checked_sub(dname.name.iter().len())?;
    let prefix = Name::from_labels(name.iter().take(prefix)).ok()?;
    prefix.append_domain(&target).ok()
}

/// The alias that a DNAME RRset makes for a name.
pub(crate) fn synthesise(dname: &RrSet, name: &Name) -> Option<RrSet> {
    let target = substitute(dname, name)?;
    let data = RData::CNAME(hickory_proto::rr::rdata::CNAME(target));
    Some(RrSet {
        name: name.clone(),
        rtype: RecordType::CNAME,
        ttl: dname.ttl,
        records: vec![Record::from_rdata(name.clone(), dname.ttl, data)],
        signatures: Vec::new(),
    })
}

/// All records of some RRsets.
pub(crate) fn records(sets: &[Arc<RrSet>]) -> Vec<Record> {
    sets.iter().flat_map(|set| set.records.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{A, CNAME, NULL};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    fn a(owner: &str, last: u8, ttl: u32) -> Record {
        Record::from_rdata(name(owner), ttl, RData::A(A::new(192, 0, 2, last)))
    }

    fn dname(owner: &str, target: &str) -> RrSet {
        let mut bytes = Vec::new();
        for label in name(target).iter() {
            bytes.push(label.len() as u8);
            bytes.extend_from_slice(label);
        }
        bytes.push(0);
        let data = RData::Unknown { code: RecordType::DNAME, rdata: NULL::with(bytes) };
        group(&[Record::from_rdata(name(owner), 60, data)]).remove(0)
    }

    #[test]
    fn records_are_grouped_without_doubles() {
        let sets = group(&[
            a("WWW.example.", 1, 300),
            a("www.example.", 2, 200),
            a("www.example.", 1, 100),
            a("other.example.", 1, u32::MAX),
        ]);
        assert_eq!(sets.len(), 2);
        assert_eq!((sets[0].records.len(), sets[0].ttl), (2, 200));
        assert_eq!(sets[0].name.to_string(), "www.example.");
        assert_eq!(sets[1].ttl, 0);
    }

    #[test]
    fn a_section_is_not_read_without_end() {
        let records: Vec<_> = (0..5_000).map(|n| a(&format!("n{n}.example."), 1, 60)).collect();
        assert_eq!(group(&records).len(), MAX_SECTION);
        assert_eq!(group_all(&records).len(), records.len());
        let many: Vec<_> = (0..=MAX_RECORDS)
            .map(|n| {
                let [high, low] = (n as u16).to_be_bytes();
                Record::from_rdata(name("a."), 60, RData::A(A::new(192, 0, high, low)))
            })
            .collect();
        assert!(group(&many).is_empty());
        assert_eq!(group(&many[1..]).len(), 1);
    }

    #[test]
    fn records_far_apart_are_one_set() {
        let mut records: Vec<_> = (0..200).map(|n| a(&format!("n{n}.example."), 1, 60)).collect();
        records.extend((0..200).map(|n| a(&format!("N{n}.Example."), 2, 30)));
        let sets = group(&records);
        assert_eq!(sets.len(), 200);
        for (number, set) in sets.iter().enumerate() {
            assert_eq!(set.name, name(&format!("n{number}.example.")));
            assert_eq!((set.records.len(), set.ttl), (2, 30));
        }
    }

    #[test]
    fn an_alias_with_two_targets_is_none() {
        let alias = |target| Record::from_rdata(name("a."), 60, RData::CNAME(CNAME(name(target))));
        assert!(group(&[alias("b."), alias("c.")]).is_empty());
        assert_eq!(group(&[alias("B."), alias("b.")])[0].cname(), Some(name("b.")));
    }

    #[test]
    fn a_dname_replaces_the_end_of_a_name() {
        let set = dname("old.example.", "new.example.");
        for (from, to) in [
            ("a.old.example.", Some("a.new.example.")),
            ("a.b.old.example.", Some("a.b.new.example.")),
            ("old.example.", None),
            ("a.other.example.", None),
        ] {
            assert_eq!(substitute(&set, &name(from)), to.map(name), "{from}");
        }
        let long = vec!["a".repeat(63); 3].join(".");
        let deep = dname("x.", &format!("{}.", vec!["b".repeat(63); 3].join(".")));
        assert_eq!(substitute(&deep, &name(&format!("{long}.x."))), None);
    }
}
