//! Signs what the tests verify. The octets to be signed are laid out by hickory, so that two writers of the canonical
//! form check each other.

use hickory_proto::dnssec::crypto::{EcdsaSigningKey, Ed25519SigningKey};
use hickory_proto::dnssec::rdata::sig::SigInput;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, DS, RRSIG};
use hickory_proto::dnssec::{Algorithm, DigestType, PublicKeyBuf, SigningKey, TBS};
use hickory_proto::rr::{DNSClass, Name, RData, Record, SerialNumber};

use crate::{Keys, Work, trust_anchor_keys};

/// When the tests take place, and how long signatures are valid around it.
pub(crate) const NOW: u32 = 1_800_000_000;
pub(crate) const AROUND: u32 = 1_000;

pub(crate) fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

pub(crate) fn a(owner: &str, last: u8) -> Record {
    Record::from_rdata(name(owner), 300, RData::A(std::net::Ipv4Addr::new(192, 0, 2, last).into()))
}

pub(crate) struct Signer {
    key: Box<dyn SigningKey>,
    pub(crate) zone: Name,
    pub(crate) dnskey: DNSKEY,
}

impl Signer {
    pub(crate) fn new(zone: &str) -> Self {
        let pkcs8 = Ed25519SigningKey::generate_pkcs8().unwrap();
        Self::with(zone, Box::new(Ed25519SigningKey::from_pkcs8(&pkcs8).unwrap()), 257)
    }

    pub(crate) fn ecdsa(zone: &str, algorithm: Algorithm) -> Self {
        let pkcs8 = EcdsaSigningKey::generate_pkcs8(algorithm).unwrap();
        Self::with(zone, Box::new(EcdsaSigningKey::from_pkcs8(&pkcs8, algorithm).unwrap()), 257)
    }

    fn with(zone: &str, key: Box<dyn SigningKey>, flags: u16) -> Self {
        let dnskey = DNSKEY::with_flags(flags, key.to_public_key().unwrap());
        Self { key, zone: name(zone), dnskey }
    }

    /// The same key, published with other flags.
    pub(crate) fn flags(mut self, flags: u16) -> Self {
        self.dnskey = DNSKEY::with_flags(flags, self.key.to_public_key().unwrap());
        self
    }

    pub(crate) fn tag(&self) -> u16 {
        self.dnskey.calculate_key_tag().unwrap()
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    pub(crate) fn record(&self) -> Record {
        key_record(&self.zone, &self.dnskey)
    }

    pub(crate) fn ds(&self, digest_type: DigestType) -> DS {
        let digest = self.dnskey.to_digest(&self.zone, digest_type).unwrap();
        DS::new(self.tag(), self.algorithm(), digest_type, digest.as_ref().to_vec())
    }

    /// The key alone, trusted.
    pub(crate) fn keys(&self) -> Keys {
        let dnskeys = [self.record()];
        let signature = [self.sign(&dnskeys)];
        let anchors = [self.dnskey.clone()];
        trust_anchor_keys(&self.zone, &dnskeys, &signature, &anchors, NOW, &mut Work::default())
            .unwrap()
    }

    pub(crate) fn input(&self, records: &[Record]) -> SigInput {
        SigInput {
            type_covered: records[0].record_type(),
            algorithm: self.algorithm(),
            num_labels: records[0].name.num_labels(),
            original_ttl: 3_600,
            sig_expiration: SerialNumber::new(NOW.wrapping_add(AROUND)),
            sig_inception: SerialNumber::new(NOW.wrapping_sub(AROUND)),
            key_tag: self.tag(),
            signer_name: self.zone.clone(),
        }
    }

    pub(crate) fn sign(&self, records: &[Record]) -> Record {
        self.sign_as(records, self.input(records))
    }

    /// Signs with these fields, truly.
    pub(crate) fn sign_as(&self, records: &[Record], input: SigInput) -> Record {
        let owner = &records[0].name;
        let signed = TBS::from_input(owner, DNSClass::IN, &input, records.iter()).unwrap();
        self.sign_octets(owner, input, &signed)
    }

    pub(crate) fn sign_octets(&self, owner: &Name, input: SigInput, octets: &TBS) -> Record {
        let signature = RRSIG::from_sig(input, self.key.sign(octets).unwrap());
        let data = RData::DNSSEC(DNSSECRData::RRSIG(signature));
        Record::from_rdata(owner.clone(), 3_600, data)
    }
}

pub(crate) fn key_record(zone: &Name, key: &DNSKEY) -> Record {
    Record::from_rdata(zone.clone(), 3_600, RData::DNSSEC(DNSSECRData::DNSKEY(key.clone())))
}

/// A key of the same tag and algorithm that never signed anything: two octets apart by an even distance are swapped,
/// which the tag's sum does not see.
pub(crate) fn colliding(key: &DNSKEY, swap: usize) -> DNSKEY {
    use hickory_proto::dnssec::PublicKey;
    let mut octets = key.public_key().public_bytes().to_vec();
    let (left, right) = (swap, swap + 2);
    octets.swap(left, right);
    if octets == key.public_key().public_bytes() {
        octets[left] = octets[left].wrapping_add(1);
        octets[right] = octets[right].wrapping_sub(1);
    }
    let forged =
        DNSKEY::with_flags(key.flags(), PublicKeyBuf::new(octets, key.public_key().algorithm()));
    assert_ne!(&forged, key);
    forged
}
