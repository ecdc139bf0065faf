use data_encoding::BASE64;
use hickory_proto::dnssec::rdata::sig::SigInput;
use hickory_proto::dnssec::rdata::{DNSKEY, NSEC};
use hickory_proto::dnssec::{PublicKeyBuf, TBS};
use hickory_proto::rr::rdata::{MX, NS, NULL};
use hickory_proto::rr::{DNSClass, RecordType, SerialNumber};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder, BinEncodable, BinEncoder};

use super::*;
use crate::signer::{AROUND, NOW, Signer, a, colliding, key_record, name};
use crate::{Failure, trust_anchor_keys};

fn nsec(owner: &str, next: &str) -> Record {
    let nsec = NSEC::new(name(next), [RecordType::A, RecordType::NSEC, RecordType::RRSIG]);
    Record::from_rdata(name(owner), 300, RData::DNSSEC(DNSSECRData::NSEC(nsec)))
}

fn check(records: &[Record], signatures: &[Record], keys: &Keys) -> Result<Verified, Failure> {
    verify(records, signatures, keys, NOW, &mut Work::default())
}

#[test]
fn what_the_zone_signed_is_verified() {
    for signer in [
        Signer::new("example."),
        Signer::ecdsa("example.", Algorithm::ECDSAP256SHA256),
        Signer::ecdsa("example.", Algorithm::ECDSAP384SHA384),
    ] {
        let keys = signer.keys();
        let ns = |text: &str| Record::from_rdata(name("Example."), 300, RData::NS(NS(name(text))));
        let mx = Record::from_rdata(
            name("b.example."),
            300,
            RData::MX(MX::new(10, name("MAIL.Example."))),
        );
        for records in [
            vec![a("www.example.", 1)],
            vec![a("www.example.", 200), a("WWW.example.", 3), a("www.EXAMPLE.", 20)],
            vec![a("*.example.", 1)],
            vec![ns("ns2.OTHER."), ns("ns1.other.")],
            vec![mx],
            vec![nsec("*.example.", "C.Example.")],
        ] {
            let signature = signer.sign(&records);
            let expected = Verified {
                ttl: 300,
                wildcard: None,
                tag: signer.tag(),
                algorithm: signer.algorithm(),
            };
            assert_eq!(check(&records, &[signature], &keys), Ok(expected), "{records:?}");
        }
    }
}

/// RSA signatures made by OpenSSL over octets laid out by hand.
#[test]
fn rsa_vectors() {
    const KEY: &str = "AwEAAZqz/cIuCi9npxpQQloRcfqlgrTloXOf++OMUIPDRmDRJ/cE37SKYkJCaFANHluLBaIxyiLG6/h7xYei4EpD+h8dc+FYMaNmgdw789IefdS9pbz/YnWfGLn07n04JgWTTTLdaTVuNuM24LLGYPDAuTf0XjS/jJTXCYjnN+gvkxiP";
    for (algorithm, tag, signature) in [
        (
            5,
            39360,
            "ZdwuJUhtquHamh7wKhVIDQqBC1uybVfU01fCJnuRIolzFvXZNMXbgL4MpaM+zXw3sDQan0RT5lLuAzfXmPPVzDzw/+lPQgS1qw+nONL56u0giM+5N+FzowIz6effp1SYX/pY/jx8RzwtBIvLze3FWT1RO86pNZjpb4MW6Ce+zAA=",
        ),
        (
            7,
            39362,
            "P3RIJDZy/ngpyjKu8tn9jZ2/5slCpIhB7XmJlsMmEVyEAZrDdtZsux84V/FJiI7U34ujGHZ5+0BWu2pwWaMh2GSNgv8PUiWfyhk7/IufbrRrEum9d3bGHLWHwTQsjnTX/pZ9/KWdEKnGqk1sdSHLm6fdi28e37zeehClU9nHitE=",
        ),
        (
            8,
            39363,
            "CP6gQkH4p4tVoxkeloCkJMfVqHmeHY50Yqvigx6Mglm59vRpkmBp6N/v1SvSHvDAs3VKafWKneOjPxGHIqG+OoqUWusoMAMaLrA/koWeUkPcrWZu9EPDyvczkrhFJDV1CxaVAeLm/7cUVCPRlcFwAC0Uq45Oo3c5XPplFyPuzUI=",
        ),
        (
            10,
            39365,
            "CRTCIuJw313xJbvQKSBSOck0Oz0ehmihGtwjU9ooBfeViH+A8nkzy53ZnZiOa6NfUC6wRBDaAYbiVenpPAr4N0rc9fDCsklxXW7YIGpMG6WB9Vi88z5HTEdqJdm15zcWvciMfB6jitaJPVZXj92KD3InrS6Ummgst39Ev7eT9Zo=",
        ),
    ] {
        let algorithm = Algorithm::from_u8(algorithm);
        let public = PublicKeyBuf::new(BASE64.decode(KEY.as_bytes()).unwrap(), algorithm);
        let key = Key::new(&DNSKEY::with_flags(256, public)).unwrap();
        assert_eq!(key.tag, tag);
        let records = [a("WWW.example.", 200), a("www.example.", 1)];
        let input = SigInput {
            type_covered: RecordType::A,
            algorithm,
            num_labels: 2,
            original_ttl: 3_600,
            sig_expiration: SerialNumber::new(2_000),
            sig_inception: SerialNumber::new(1_000),
            key_tag: tag,
            signer_name: name("Example."),
        };
        let data = RRSIG::from_sig(input, BASE64.decode(signature.as_bytes()).unwrap());
        let data = RData::DNSSEC(DNSSECRData::RRSIG(data));
        let signature = Record::from_rdata(name("www.example."), 3_600, data);
        let rrset = RrSet::new(&records).unwrap();
        let zone = name("example.");
        let verified =
            verify_with(&rrset, &[signature], &zone, &[key], 1_500, &mut Work::default());
        assert_eq!(verified.map(|verified| verified.ttl), Ok(300));
    }
}

#[test]
fn the_signatures_fields_must_fit() {
    type Edit = fn(&mut SigInput);
    let signer = Signer::new("sub.example.");
    let keys = signer.keys();
    let cases: &[(&str, Edit, u16)] = &[
        ("www.sub.example.", |_| {}, 0),
        ("www.sub.example.", |input| input.original_ttl = 0, 0),
        ("www.sub.example.", |input| input.sig_inception = SerialNumber::new(NOW), 0),
        ("www.sub.example.", |input| input.sig_inception = SerialNumber::new(NOW + 1), 8),
        ("www.sub.example.", |input| input.sig_expiration = SerialNumber::new(NOW), 0),
        ("www.sub.example.", |input| input.sig_expiration = SerialNumber::new(NOW - 1), 7),
        ("www.sub.example.", |input| input.sig_expiration = SerialNumber::new(NOW - 2_000), 25),
        ("www.sub.example.", |input| input.signer_name = name("example."), 6),
        ("www.sub.example.", |input| input.signer_name = name("other."), 6),
        ("www.sub.example.", |input| input.signer_name = name("SUB.EXAMPLE."), 0),
        // Made from *.sub.example., and from a wildcard above the zone.
        ("www.sub.example.", |input| input.num_labels = 2, 0),
        ("www.sub.example.", |input| input.num_labels = 1, 6),
        ("www.sub.example.", |input| input.num_labels = 0, 6),
        ("www.sub.example.", |input| input.key_tag ^= 1, 9),
        ("www.sub.example.", |input| input.algorithm = Algorithm::ECDSAP256SHA256, 9),
        ("www.sub.example.", |input| input.type_covered = RecordType::AAAA, 10),
        // Other zones' names.
        ("www.example.", |_| {}, 6),
        ("sub.example.org.", |_| {}, 6),
        ("xsub.example.", |_| {}, 6),
    ];
    for (index, (owner, edit, code)) in cases.iter().enumerate() {
        let records = [a(owner, 1)];
        let mut input = signer.input(&records);
        edit(&mut input);
        let signature = signer.sign_as(&records, input);
        let outcome = check(&records, &[signature], &keys);
        assert_eq!(
            outcome.as_ref().map_or_else(Failure::code, |_| 0),
            *code,
            "{index} {outcome:?}"
        );
    }
}

#[test]
fn more_labels_than_the_owner_has_are_refused() {
    let signer = Signer::new("example.");
    let records = [a("www.example.", 1)];
    for (owner, labels) in [("www.example.", 3), ("*.example.", 2)] {
        let records = [a(owner, 1)];
        let input = SigInput { num_labels: labels, ..signer.input(&records) };
        let octets = RrSet::new(&records).unwrap().signed_data(&input);
        let signature = signer.sign_octets(&name(owner), input, &TBS::from(&octets[..]));
        let outcome = check(&records, &[signature], &signer.keys());
        assert!(matches!(outcome, Err(Failure::SignatureMisplaced { .. })), "{outcome:?}");
    }
    assert_eq!(check(&records, &[], &signer.keys()).unwrap_err().code(), 10);
}

#[test]
fn wildcards_are_told() {
    let signer = Signer::new("example.");
    for (owner, from, labels, encloser) in [
        ("a.b.w.example.", "*.w.example.", 2, Some("w.example.")),
        ("b.w.example.", "*.w.example.", 2, Some("w.example.")),
        ("b.example.", "*.example.", 1, Some("example.")),
        ("*.w.example.", "*.w.example.", 2, None),
        // A wildcard answers for a name that starts with an asterisk deeper down, too.
        ("*.b.w.example.", "*.w.example.", 2, Some("w.example.")),
    ] {
        let original = [a(from, 1)];
        let mut signature = signer.sign(&original);
        assert_eq!(signer.input(&original).num_labels, labels);
        signature.name = name(owner);
        let verified = check(&[a(owner, 1)], &[signature], &signer.keys()).unwrap();
        assert_eq!(verified.wildcard, encloser.map(name), "{owner}");
    }
}

#[test]
fn proofs_are_never_made_from_wildcards() {
    let signer = Signer::new("example.");
    let mut signature = signer.sign(&[nsec("*.example.", "c.example.")]);
    signature.name = name("a.example.");
    let outcome = check(&[nsec("a.example.", "c.example.")], &[signature], &signer.keys());
    assert!(matches!(outcome, Err(Failure::SignatureMisplaced { .. })), "{outcome:?}");
}

#[test]
fn only_one_rrset_of_the_zone_at_a_time() {
    let signer = Signer::new("example.");
    let keys = signer.keys();
    let mut chaos = a("www.example.", 1);
    chaos.dns_class = DNSClass::CH;
    let cases = [
        vec![],
        vec![a("a.example.", 1), a("b.example.", 1)],
        vec![a("a.example.", 1), nsec("a.example.", "b.example.")],
        vec![a("www.example.", 2), chaos],
        vec![signer.sign(&[a("a.example.", 1)])],
        vec![key_record(&name("www.example."), &signer.dnskey)],
        vec![Record::from_rdata(
            name("example."),
            60,
            RData::DNSSEC(DNSSECRData::DS(signer.ds(hickory_proto::dnssec::DigestType::SHA256))),
        )],
    ];
    for records in cases {
        let signatures: Vec<_> =
            records.iter().map(|record| signer.sign(std::slice::from_ref(record))).collect();
        let outcome = check(&records, &signatures, &keys);
        assert!(matches!(outcome, Err(Failure::NotAnRrset { .. })), "{records:?} {outcome:?}");
    }
}

#[test]
fn a_class_is_signed_too() {
    let signer = Signer::new("example.");
    let mut records = [a("www.example.", 1)];
    let mut signature = signer.sign(&records);
    records[0].dns_class = DNSClass::CH;
    assert_eq!(
        check(&records, std::slice::from_ref(&signature), &signer.keys()).unwrap_err().code(),
        10
    );
    signature.dns_class = DNSClass::CH;
    assert_eq!(check(&records, &[signature], &signer.keys()).unwrap_err().code(), 6);
}

#[test]
fn duplicates_count_once() {
    let signer = Signer::new("example.");
    let once = [a("www.example.", 1), a("www.example.", 2)];
    let signature = signer.sign(&once);
    let twice = [once.to_vec(), once.to_vec()].concat();
    assert!(check(&twice, &[signature], &signer.keys()).is_ok());
}

/// hickory keeps DNAME and its like as opaque octets, and would sign the target's capitals.
#[test]
fn names_in_opaque_data_are_lower_cased() {
    let signer = Signer::new("example.");
    for (code, upper, lower) in [
        (39u16, b"\x03NEW\x04Host\x00".as_slice(), b"\x03new\x04host\x00".as_slice()),
        (18, b"AB\x03NEW\x00", b"AB\x03new\x00"),
        (17, b"\x01A\x00\x01B\x00", b"\x01a\x00\x01b\x00"),
        (26, b"AB\x01A\x00\x01B\x00", b"AB\x01a\x00\x01b\x00"),
        // Not a name: as it is.
        (39, b"\x50ABC", b"\x50ABC"),
        (65_280, b"\x01A\x00", b"\x01A\x00"),
    ] {
        let record = |octets: &[u8]| {
            let data =
                RData::Unknown { code: RecordType::from(code), rdata: NULL::with(octets.to_vec()) };
            [Record::from_rdata(name("old.example."), 300, data)]
        };
        let signature = signer.sign(&record(lower));
        assert!(check(&record(upper), &[signature], &signer.keys()).is_ok(), "{code}");
    }
}

/// Records are in order of their canonical form (RFC 4034 section 6.3), where hickory's writer puts capitals first.
#[test]
fn capitals_do_not_change_the_order() {
    let signer = Signer::new("example.");
    let set = |names: [&str; 2]| {
        names.map(|text| Record::from_rdata(name("example."), 300, RData::NS(NS(name(text)))))
    };
    let signature = signer.sign(&set(["ns1.other.", "ns2.other."]));
    for names in [["NS2.other.", "ns1.other."], ["ns1.other.", "Ns2.OTHER."]] {
        assert!(
            check(&set(names), std::slice::from_ref(&signature), &signer.keys()).is_ok(),
            "{names:?}"
        );
    }
}

#[test]
fn time_to_live_is_the_least_of_all() {
    let signer = Signer::new("example.");
    for (records_ttl, signature_ttl, original, left, expected) in [
        (300, 3_600, 3_600, AROUND, 300),
        (3_600, 200, 3_600, AROUND, 200),
        (3_600, 3_600, 100, AROUND, 100),
        (3_600, 3_600, 3_600, 50, 50),
        (3_600, 3_600, 3_600, 0, 0),
    ] {
        let mut records = [a("www.example.", 1), a("www.example.", 2)];
        let input = SigInput {
            original_ttl: original,
            sig_expiration: SerialNumber::new(NOW + left),
            ..signer.input(&records)
        };
        let mut signature = signer.sign_as(&records, input);
        signature.ttl = signature_ttl;
        // Not the same for all, as it should be, and no part of what is signed or of its order.
        records[0].ttl = 86_400;
        records[1].ttl = records_ttl;
        let ttl = check(&records, &[signature], &signer.keys()).unwrap().ttl;
        assert_eq!(ttl, expected);
    }
}

#[test]
fn time_wraps_around() {
    let signer = Signer::new("example.");
    let records = [a("www.example.", 1)];
    let input = SigInput {
        sig_inception: SerialNumber::new(u32::MAX - 10),
        sig_expiration: SerialNumber::new(10),
        ..signer.input(&records)
    };
    let signature = signer.sign_as(&records, input);
    let keys = signer.keys();
    for (now, code) in [(u32::MAX - 11, 8), (u32::MAX - 10, 0), (0, 0), (10, 0), (11, 7)] {
        let outcome =
            verify(&records, std::slice::from_ref(&signature), &keys, now, &mut Work::default());
        assert_eq!(outcome.map_or_else(|why| why.code(), |_| 0), code, "{now}");
    }
}

#[test]
fn one_right_signature_among_others_is_enough() {
    let signer = Signer::new("example.");
    let stranger = Signer::new("example.");
    let records = [a("www.example.", 1)];
    let right = signer.sign(&records);
    let wrong = signer.sign(&[a("www.example.", 2)]);
    let expired = signer.sign_as(
        &records,
        SigInput { sig_expiration: SerialNumber::new(NOW - 1), ..signer.input(&records) },
    );
    let unknown = stranger.sign(&records);
    let other = signer.sign(&[a("other.example.", 1)]);
    let keys = signer.keys();
    let all = [expired.clone(), unknown.clone(), wrong.clone(), other.clone(), right];
    assert!(check(&records, &all, &keys).is_ok());
    // The failure that tells most is the one that is told.
    for (signatures, code) in [
        (vec![other.clone()], 10),
        (vec![other.clone(), unknown.clone()], 9),
        (vec![expired.clone(), unknown.clone(), other.clone()], 7),
        (vec![unknown, expired, wrong, other], 6),
    ] {
        assert_eq!(check(&records, &signatures, &keys).unwrap_err().code(), code);
    }
}

/// KeyTrap: many keys of one tag, many wrong signatures by it.
#[test]
fn colliding_tags_cost_little() {
    let signer = Signer::new("example.");
    let forged: Vec<_> = (0..20).map(|swap| colliding(&signer.dnskey, swap)).collect();
    let records = [a("www.example.", 1)];
    for (before, works) in [(0, true), (1, true), (2, false), (20, false)] {
        let dnskeys: Vec<_> = forged[..before]
            .iter()
            .map(|key| key_record(&signer.zone, key))
            .chain([signer.record()])
            .collect();
        let signature = [signer.sign(&dnskeys)];
        let anchors = [signer.dnskey.clone()];
        let mut work = Work::default();
        let keys = trust_anchor_keys(&signer.zone, &dnskeys, &signature, &anchors, NOW, &mut work)
            .unwrap();
        assert_eq!(work.spent().0, 1);
        let outcome = check(&records, &[signer.sign(&records)], &keys);
        assert_eq!(outcome.is_ok(), works, "{before}");

        let wrong = vec![signer.sign(&[a("www.example.", 2)]); 1_000];
        let mut work = Work::default();
        let outcome = verify(&records, &wrong, &keys, NOW, &mut work);
        assert_eq!(outcome.unwrap_err().code(), 6);
        assert_eq!(work.spent().0, 8);
    }
}

#[test]
fn the_budget_holds() {
    let signer = Signer::new("example.");
    let records = [a("www.example.", 1)];
    let signature = [signer.sign(&records)];
    let keys = signer.keys();
    let mut work = Work::new(3, 0);
    for _ in 0..3 {
        assert!(verify(&records, &signature, &keys, NOW, &mut work).is_ok());
    }
    assert_eq!(verify(&records, &signature, &keys, NOW, &mut work), Err(Failure::TooMuchWork));
    assert_eq!(work.spent(), (3, 0));
}

/// Every bit of the RRset and of the signature matters, but for the letter case of names and the time to live.
#[test]
fn a_flipped_bit_never_verifies() {
    let signer = Signer::new("example.");
    let keys = signer.keys();
    let mx = |preference, text: &str| {
        let data = RData::MX(MX::new(preference, name(text)));
        Record::from_rdata(name("w.example."), 300, data)
    };
    let records = [mx(10, "a.b."), mx(20, "c.")];
    let signature = signer.sign(&records);
    assert!(check(&records, std::slice::from_ref(&signature), &keys).is_ok());

    let mut flips = 0;
    let mut flipped = |record: &Record, test: &mut dyn FnMut(&Record, usize)| {
        let mut octets = Vec::new();
        let mut encoder = BinEncoder::new(&mut octets);
        record.emit(&mut encoder).unwrap();
        for bit in 0..octets.len() * 8 {
            let mut octets = octets.clone();
            octets[bit / 8] ^= 1 << (bit % 8);
            let Ok(changed) = Record::read(&mut BinDecoder::new(&octets)) else { continue };
            let same = changed.name == record.name
                && changed.dns_class == record.dns_class
                && changed.data == record.data;
            if !same {
                flips += 1;
                test(&changed, bit);
            }
        }
    };
    flipped(&records[0], &mut |changed, bit| {
        let records = [changed.clone(), records[1].clone()];
        assert!(check(&records, std::slice::from_ref(&signature), &keys).is_err(), "bit {bit}");
    });
    flipped(&signature, &mut |changed, bit| {
        assert!(check(&records, std::slice::from_ref(changed), &keys).is_err(), "bit {bit}");
    });
    assert!(flips > 700, "{flips}");
}
