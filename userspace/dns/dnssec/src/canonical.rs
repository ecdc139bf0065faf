//! RRsets in canonical form, and the octets that a signature covers (RFC 4034 sections 3.1.8.1 and 6).

use hickory_proto::dnssec::rdata::sig::SigInput;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder, NameEncoding};

use crate::{Failure, name};

/// Records of one owner, class and type.
pub(crate) struct RrSet<'a> {
    pub(crate) owner: &'a Name,
    pub(crate) class: DNSClass,
    pub(crate) rtype: RecordType,
    /// The least of the records', in seconds.
    pub(crate) ttl: u32,
    /// Canonical RDATA, in order, each once (RFC 4034 section 6.3).
    rdata: Vec<Vec<u8>>,
}

impl<'a> RrSet<'a> {
    /// Fails if the records are none, or not of one RRset.
    pub(crate) fn new(records: &'a [Record]) -> Result<Self, Failure> {
        let Some(first) = records.first() else {
            return Err(Failure::NotAnRrset {
                name: Name::root(),
                rtype: RecordType::ANY,
                why: "no records were given",
            });
        };
        let fail =
            |why| Failure::NotAnRrset { name: first.name.clone(), rtype: first.record_type(), why };
        let rtype = first.record_type();
        if matches!(rtype, RecordType::RRSIG | RecordType::SIG | RecordType::OPT) {
            return Err(fail("records of this type are never signed"));
        }
        let mut rdata = Vec::with_capacity(records.len());
        let mut ttl = first.ttl;
        for record in records {
            if !name::same(&record.name, &first.name)
                || record.dns_class != first.dns_class
                || record.record_type() != rtype
            {
                return Err(fail("the records are not of one owner, class and type"));
            }
            ttl = ttl.min(record.ttl);
            rdata
                .push(canonical_rdata(&record.data).ok_or_else(|| fail("RDATA can't be encoded"))?);
        }
        rdata.sort_unstable();
        rdata.dedup();
        Ok(Self { owner: &first.name, class: first.dns_class, rtype, ttl, rdata })
    }

    /// What a signature with these fields covers. Its count of labels must not be above the owner's.
    pub(crate) fn signed_data(&self, input: &SigInput) -> Vec<u8> {
        let mut owner = Vec::with_capacity(255);
        let labels = usize::from(input.num_labels);
        if labels < name::signed_count(self.owner) {
            owner.extend([1, b'*']);
            name::write(self.owner, labels, &mut owner);
        } else {
            name::write(self.owner, name::count(self.owner), &mut owner);
        }

        let size: usize = self.rdata.iter().map(|rdata| owner.len() + 10 + rdata.len()).sum();
        let mut data = Vec::with_capacity(18 + 255 + size);
        data.extend(u16::from(input.type_covered).to_be_bytes());
        data.push(u8::from(input.algorithm));
        data.push(input.num_labels);
        data.extend(input.original_ttl.to_be_bytes());
        data.extend(input.sig_expiration.get().to_be_bytes());
        data.extend(input.sig_inception.get().to_be_bytes());
        data.extend(input.key_tag.to_be_bytes());
        name::write(&input.signer_name, name::count(&input.signer_name), &mut data);
        for rdata in &self.rdata {
            data.extend(&owner);
            data.extend(u16::from(self.rtype).to_be_bytes());
            data.extend(u16::from(self.class).to_be_bytes());
            data.extend(input.original_ttl.to_be_bytes());
            // It was encoded within 65,535 octets.
            data.extend((rdata.len() as u16).to_be_bytes());
            data.extend(rdata);
        }
        data
    }
}

/// RDATA without compression, and the names in it in lower case where RFC 4034 section 6.2, as amended by RFC 6840
/// section 5.1, wants them so.
fn canonical_rdata(data: &RData) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    let mut encoder = BinEncoder::new(&mut octets);
    encoder.set_canonical_form(true);
    encoder.set_name_encoding(NameEncoding::Uncompressed);
    data.emit(&mut encoder).ok()?;
    // These types are opaque to hickory, and hold names all the same: octets before the names, and names.
    let (before, names) = match u16::from(data.record_type()) {
        3 | 4 | 7 | 8 | 9 | 39 => (0, 1), // MD, MF, MB, MG, MR, DNAME
        14 | 17 => (0, 2),                // MINFO, RP
        18 | 21 | 36 => (2, 1),           // AFSDB, RT, KX
        26 => (2, 2),                     // PX
        _ => return Some(octets),
    };
    if matches!(data, RData::Unknown { .. }) {
        lower_names(octets.get_mut(before..)?, names);
    }
    Some(octets)
}

/// Lower-cases so many names at the start; what is not a name stays as it is, and the signature decides.
fn lower_names(mut rest: &mut [u8], names: usize) {
    for _ in 0..names {
        loop {
            let Some((&mut length, after)) = rest.split_first_mut() else { return };
            rest = after;
            if length == 0 {
                break;
            }
            if length > 63 {
                return;
            }
            let Some((label, after)) = rest.split_at_mut_checked(usize::from(length)) else {
                return;
            };
            label.make_ascii_lowercase();
            rest = after;
        }
    }
}
