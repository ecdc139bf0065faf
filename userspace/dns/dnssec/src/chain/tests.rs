use hickory_proto::dnssec::DigestType::{SHA1, SHA256, SHA384};

use super::*;
use crate::signer::{NOW, Signer, a, colliding, key_record, name};

fn attempt(dnskeys: &[Record], signatures: &[Record], ds: &[DS]) -> Result<Keys, Failure> {
    trust(&name("Example."), dnskeys, signatures, ds, NOW, &mut Work::default())
}

fn code(outcome: &Result<Keys, Failure>) -> u16 {
    outcome.as_ref().map_or_else(Failure::code, |_| 0)
}

fn broken(ds: &DS) -> DS {
    let mut digest = ds.digest().to_vec();
    digest[0] ^= 1;
    DS::new(ds.key_tag(), ds.algorithm(), ds.digest_type(), digest)
}

#[test]
fn a_digest_and_a_signature_make_trust() {
    let ksk = Signer::new("example.");
    let zsk = Signer::ecdsa("example.", Algorithm::ECDSAP256SHA256).flags(256);
    let dnskeys = [zsk.record(), ksk.record()];
    let by_ksk = ksk.sign(&dnskeys);
    let by_zsk = zsk.sign(&dnskeys);
    let unknown = |ds: &DS| {
        DS::new(ds.key_tag(), Algorithm::Unknown(16), ds.digest_type(), ds.digest().to_vec())
    };
    let gost = |ds: &DS| DS::new(ds.key_tag(), ds.algorithm(), DigestType::Unknown(3), vec![0; 32]);
    let [sha1, sha256, sha384] = [SHA1, SHA256, SHA384].map(|digest| ksk.ds(digest));
    let both = [by_zsk.clone(), by_ksk.clone()];
    for (index, (ds, signatures, expected)) in [
        (vec![sha1.clone()], &both[..], 0),
        (vec![sha256.clone()], &both, 0),
        (vec![sha384.clone()], &both, 0),
        (vec![zsk.ds(SHA256)], &both, 0),
        (vec![sha256.clone()], &both[1..], 0),
        // Signed by a key of the zone, but not by the one that the parent knows.
        (vec![sha256.clone()], &both[..1], 9),
        (vec![sha256.clone()], &[], 10),
        (vec![broken(&sha256)], &both, 9),
        (vec![broken(&sha256), sha256.clone()], &both, 0),
        (vec![unknown(&sha256), sha256.clone()], &both, 0),
        (vec![gost(&sha256), sha256.clone()], &both, 0),
        // SHA-1 does not help where there is better (RFC 4509).
        (vec![sha1.clone(), broken(&sha256)], &both, 9),
        (vec![sha1.clone(), broken(&sha384)], &both, 9),
        // What is better but unknown does not count.
        (vec![sha1.clone(), gost(&sha256), unknown(&sha256)], &both, 0),
        (vec![unknown(&sha256)], &both, 1),
        (vec![gost(&sha256)], &both, 2),
        (vec![], &both, 1),
    ]
    .into_iter()
    .enumerate()
    {
        let outcome = attempt(&dnskeys, signatures, &ds);
        assert_eq!(code(&outcome), expected, "{index} {outcome:?}");
        assert_eq!(supported(&ds), expected != 1 && expected != 2, "{index}");
        if let Ok(keys) = outcome {
            let tags: Vec<_> = keys.tags().collect();
            assert_eq!(tags, [(zsk.tag(), zsk.algorithm()), (ksk.tag(), ksk.algorithm())]);
            assert_eq!(keys.ttl(), 1_000);
        }
    }
}

#[test]
fn only_zone_keys_in_force_are_trusted() {
    for (flags, expected) in [(257, 0), (256, 0), (0, 11), (1, 11), (257 | 128, 11)] {
        let key = Signer::new("example.").flags(flags);
        let dnskeys = [key.record()];
        let outcome = attempt(&dnskeys, &[key.sign(&dnskeys)], &[key.ds(SHA256)]);
        assert_eq!(code(&outcome), expected, "{flags}");
    }
    // They are left out beside a good one, too, and what they sign is worth nothing.
    let ksk = Signer::new("example.");
    for flags in [0, 256 | 128] {
        let odd = Signer::new("example.").flags(flags);
        let dnskeys = [odd.record(), ksk.record()];
        let keys = attempt(&dnskeys, &[ksk.sign(&dnskeys)], &[ksk.ds(SHA256)]).unwrap();
        assert_eq!(keys.tags().count(), 1);
        let records = [a("www.example.", 1)];
        let outcome =
            crate::verify(&records, &[odd.sign(&records)], &keys, NOW, &mut Work::default());
        assert_eq!(outcome.unwrap_err().code(), 9);
    }
}

#[test]
fn keys_have_the_shape_of_their_algorithm() {
    let rsa = |exponent: usize, modulus: usize, first: u8| {
        let mut octets = match u8::try_from(exponent) {
            Ok(length) => vec![length],
            Err(_) => vec![0, (exponent >> 8) as u8, exponent as u8],
        };
        octets.extend(vec![1; exponent]);
        octets.push(first);
        octets.extend(vec![1; modulus - 1]);
        octets
    };
    for (algorithm, octets, expected) in [
        (8, rsa(3, 128, 0x80), true),
        (8, rsa(3, 128, 0x7F), false),
        (8, rsa(3, 64, 0x80), false),
        (8, rsa(300, 256, 0x80), true),
        (5, rsa(1, 512, 0x80), true),
        (10, rsa(1, 513, 0x01), false),
        (8, vec![], false),
        (8, vec![0], false),
        (8, vec![0, 1], false),
        (8, vec![255, 1], false),
        (1, rsa(3, 128, 0x80), false),
        (3, rsa(3, 128, 0x80), false),
        (13, vec![1; 64], true),
        (13, vec![1; 96], false),
        (14, vec![1; 96], true),
        (15, vec![1; 32], true),
        (15, vec![1; 31], false),
        (16, vec![1; 57], false),
        (253, vec![1; 32], false),
    ] {
        let key = PublicKeyBuf::new(octets, Algorithm::from_u8(algorithm));
        assert_eq!(well_formed(&key), expected, "{algorithm} {key:?}");
    }
}

#[test]
fn a_broken_key_is_named() {
    let zone = name("example.");
    let key = DNSKEY::with_flags(257, PublicKeyBuf::new(vec![1; 31], Algorithm::ED25519));
    let digest = key.to_digest(&zone, SHA256).unwrap().as_ref().to_vec();
    let ds = DS::new(key.calculate_key_tag().unwrap(), Algorithm::ED25519, SHA256, digest);
    let outcome = attempt(&[key_record(&zone, &key)], &[], &[ds]);
    assert!(matches!(outcome, Err(Failure::KeyUnusable { .. })), "{outcome:?}");
}

#[test]
fn the_dnskey_rrset_is_the_zones_own() {
    let key = Signer::new("example.");
    let elsewhere = Signer::new("other.example.");
    let forged = [key_record(&elsewhere.zone, &key.dnskey)];
    let outcome = attempt(&forged, &[key.sign(&forged)], &[key.ds(SHA256)]);
    assert_eq!(code(&outcome), 9);
    assert_eq!(code(&attempt(&[], &[], &[key.ds(SHA256)])), 9);
    assert_eq!(code(&attempt(&[a("example.", 1)], &[], &[key.ds(SHA256)])), 9);
}

#[test]
fn anchors_of_keys() {
    let key = Signer::new("example.");
    let next = Signer::new("example.");
    let go = |signer: &Signer, anchors: &[DNSKEY]| {
        let dnskeys = [key.record(), next.record()];
        let signatures = [signer.sign(&dnskeys)];
        let mut work = Work::default();
        trust_anchor_keys(&key.zone, &dnskeys, &signatures, anchors, NOW, &mut work)
    };
    let plain = DNSKEY::with_flags(256, key.dnskey.public_key().clone());
    assert_eq!(go(&key, std::slice::from_ref(&key.dnskey)).unwrap().entry(), key.tag());
    assert_eq!(go(&key, &[plain]).unwrap().entry(), key.tag());
    assert_eq!(go(&next, &[key.dnskey.clone(), next.dnskey.clone()]).unwrap().entry(), next.tag());
    assert_eq!(code(&go(&next, std::slice::from_ref(&key.dnskey))), 9);
    assert_eq!(code(&go(&key, &[Signer::new("example.").dnskey])), 9);
    assert_eq!(code(&go(&key, &[])), 1);
}

/// Many DS records that name the tag of many keys.
#[test]
fn work_is_bounded() {
    let key = Signer::new("example.");
    let dnskeys: Vec<_> = (0..20)
        .map(|swap| key_record(&key.zone, &colliding(&key.dnskey, swap)))
        .chain([key.record()])
        .collect();
    let ds: Vec<_> = (0..200u8)
        .map(|octet| DS::new(key.tag(), key.algorithm(), SHA256, vec![octet; 32]))
        .collect();
    let mut work = Work::new(64, 300);
    let outcome = trust(&key.zone, &dnskeys, &[], &ds, NOW, &mut work);
    assert_eq!(outcome.unwrap_err(), Failure::TooMuchWork);
    assert_eq!(work.spent(), (0, 300));
}
