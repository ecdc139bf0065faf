use std::collections::{BTreeMap, BTreeSet};

use data_encoding::{BASE32_DNSSEC, HEXLOWER};
use hickory_proto::dnssec::Nsec3HashAlgorithm;
use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC, NSEC3};
use hickory_proto::rr::RData;
use hickory_proto::rr::RecordType::{
    A, AAAA, ANY, CNAME, DNAME, DNSKEY, DS, HINFO, MX, NS, NSEC as NSEC_TYPE, NSEC3PARAM, RRSIG,
    SOA, TXT,
};
use proptest::prelude::*;

use super::*;
use crate::signer::name;

/// What a zone holds: owners, and their types.
type Zone = BTreeMap<Name, Vec<RecordType>>;

fn zone(names: &[(&str, &[RecordType])]) -> Zone {
    names.iter().map(|(owner, types)| (name(owner), types.to_vec())).collect()
}

fn nsec_record(owner: &Name, next: &Name, types: &[RecordType]) -> Record {
    let types = types.iter().copied().chain([NSEC_TYPE, RRSIG]);
    let data = RData::DNSSEC(DNSSECRData::NSEC(NSEC::new(next.clone(), types)));
    Record::from_rdata(owner.clone(), 300, data)
}

fn nsec(owner: &str, next: &str, types: &[RecordType]) -> Record {
    nsec_record(&name(owner), &name(next), types)
}

/// The NSEC records of a zone, by owner.
fn nsec_chain(zone: &Zone) -> Vec<Record> {
    let next = zone.keys().cycle().skip(1);
    zone.iter().zip(next).map(|((owner, types), next)| nsec_record(owner, next, types)).collect()
}

/// How a zone hashes.
#[derive(Clone, Copy)]
struct Hashing {
    salt: &'static [u8],
    iterations: u16,
    opt_out: bool,
}

/// As the example of RFC 5155.
const EXAMPLE: Hashing =
    Hashing { salt: &[0xAA, 0xBB, 0xCC, 0xDD], iterations: 12, opt_out: false };

/// As RFC 9276 recommends.
const PLAIN: Hashing = Hashing { salt: &[], iterations: 0, opt_out: false };

impl Hashing {
    fn hash(&self, name: &Name) -> Vec<u8> {
        let digest = Nsec3HashAlgorithm::SHA1.hash(self.salt, name, self.iterations).unwrap();
        digest.as_ref().to_vec()
    }

    /// The NSEC3 records of a zone, empty non-terminals included, unsigned delegations left out where allowed.
    fn chain(&self, apex: &Name, zone: &Zone) -> Vec<Record> {
        let mut hashed: BTreeMap<Vec<u8>, Vec<RecordType>> = BTreeMap::new();
        for (owner, types) in zone {
            if self.opt_out && types.contains(&NS) && !types.contains(&SOA) && !types.contains(&DS)
            {
                continue;
            }
            for labels in name::count(apex)..name::count(owner) {
                hashed.entry(self.hash(&owner.trim_to(labels))).or_default();
            }
            hashed.insert(self.hash(owner), types.clone());
        }
        let next: Vec<_> = hashed.keys().cycle().skip(1).take(hashed.len()).cloned().collect();
        hashed
            .into_iter()
            .zip(next)
            .map(|((hash, types), next)| {
                let data = NSEC3::new(
                    Nsec3HashAlgorithm::SHA1,
                    self.opt_out,
                    self.iterations,
                    self.salt.to_vec(),
                    next,
                    types,
                );
                let label = BASE32_DNSSEC.encode(&hash);
                let owner = apex.prepend_label(label.as_bytes()).unwrap();
                Record::from_rdata(owner, 300, RData::DNSSEC(DNSSECRData::NSEC3(data)))
            })
            .collect()
    }
}

/// Those whose owners start so.
fn pick(records: &[Record], owners: &[&str]) -> Vec<Record> {
    let picked: Vec<_> = records
        .iter()
        .filter(|record| owners.iter().any(|owner| record.name.to_string().starts_with(owner)))
        .cloned()
        .collect();
    assert_eq!(picked.len(), owners.len(), "{owners:?}");
    picked
}

/// The zone of RFC 4035 appendix A.
fn rfc4035() -> Zone {
    zone(&[
        ("example.", &[NS, SOA, MX, DNSKEY]),
        ("a.example.", &[NS, DS]),
        ("ai.example.", &[A, HINFO, AAAA]),
        ("b.example.", &[NS]),
        ("ns1.example.", &[A]),
        ("ns2.example.", &[A]),
        ("*.w.example.", &[MX]),
        ("x.w.example.", &[MX]),
        ("x.y.w.example.", &[MX]),
        ("xx.example.", &[A, HINFO, AAAA]),
    ])
}

/// The zone of RFC 5155 appendix A.
fn rfc5155() -> Zone {
    zone(&[
        ("example.", &[NS, SOA, MX, DNSKEY, NSEC3PARAM, RRSIG]),
        ("2t7b4g4vsa5smi47k61mv5bv1a22bojr.example.", &[A, RRSIG]),
        ("a.example.", &[NS, DS, RRSIG]),
        ("ai.example.", &[A, HINFO, AAAA, RRSIG]),
        ("c.example.", &[NS]),
        ("ns1.example.", &[A, RRSIG]),
        ("ns2.example.", &[A, RRSIG]),
        ("*.w.example.", &[MX, RRSIG]),
        ("x.w.example.", &[MX, RRSIG]),
        ("x.y.w.example.", &[MX, RRSIG]),
        ("xx.example.", &[A, HINFO, AAAA, RRSIG]),
    ])
}

/// A question to one of the functions.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Name,
    Data(RecordType),
    Closer(&'static str),
}

fn ask(ask: Ask, qname: &str, proofs: &[Record]) -> Option<Denied> {
    let (qname, zone) = (name(qname), name("example."));
    let mut work = Work::default();
    let denied = match ask {
        Ask::Name => no_name(&qname, &zone, proofs, &mut work),
        Ask::Data(qtype) => no_data(&qname, qtype, &zone, proofs, &mut work),
        Ask::Closer(encloser) => no_closer(&qname, &name(encloser), &zone, proofs, &mut work),
    };
    if let Err(why) = &denied {
        assert!(matches!(why, Failure::DenialMissing { .. }), "{why}");
    }
    denied.ok()
}

fn ask_ds(child: &str, proofs: &[Record]) -> Option<Delegation> {
    no_ds(&name(child), &name("example."), proofs, &mut Work::default()).ok()
}

const PROVEN: Option<Denied> = Some(Denied::Proven);
const OPT_OUT: Option<Denied> = Some(Denied::OptOut);

/// RFC 4035 appendix B.
#[test]
fn responses_of_rfc_4035() {
    let chain = nsec_chain(&rfc4035());
    for (question, qname, owners, expected) in [
        (Ask::Name, "ml.example.", &["b.", "example."][..], PROVEN),
        (Ask::Name, "ml.example.", &["b."], None),
        (Ask::Name, "ml.example.", &["example."], None),
        (Ask::Data(MX), "ns1.example.", &["ns1."], PROVEN),
        (Ask::Data(A), "ns1.example.", &["ns1."], None),
        (Ask::Data(DS), "b.example.", &["b."], PROVEN),
        (Ask::Data(A), "b.example.", &["b."], None),
        (Ask::Closer("w.example."), "a.z.w.example.", &["x.y.w."], PROVEN),
        (Ask::Closer("example."), "a.z.w.example.", &["x.y.w."], None),
        (Ask::Data(AAAA), "a.z.w.example.", &["x.y.w.", "*.w."], PROVEN),
        (Ask::Data(MX), "a.z.w.example.", &["x.y.w.", "*.w."], None),
        (Ask::Data(AAAA), "a.z.w.example.", &["x.y.w."], None),
        (Ask::Data(AAAA), "a.z.w.example.", &["*.w."], None),
        // The apex is the child's side.
        (Ask::Data(DS), "example.", &["example."], None),
        // Between x.w and x.y.w lies y.w, empty.
        (Ask::Data(A), "y.w.example.", &["x.w."], PROVEN),
        (Ask::Name, "y.w.example.", &["x.w.", "example."], None),
    ] {
        assert_eq!(ask(question, qname, &pick(&chain, owners)), expected, "{question:?} {qname}");
    }
    assert_eq!(ask_ds("b.example.", &pick(&chain, &["b."])), Some(Delegation::Insecure));
    assert_eq!(ask_ds("a.example.", &pick(&chain, &["a."])), None);
    assert_eq!(ask_ds("ns1.example.", &pick(&chain, &["ns1."])), Some(Delegation::NotACut));
    assert_eq!(ask_ds("y.w.example.", &pick(&chain, &["x.w."])), Some(Delegation::NotACut));
    assert_eq!(ask_ds("ml.example.", &pick(&chain, &["b."])), Some(Delegation::NotACut));
    assert_eq!(ask_ds("example.", &chain), None);
    assert_eq!(ask_ds("other.", &chain), None);
}

#[test]
fn hashes_of_rfc_5155() {
    let expected = [
        ("example.", "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"),
        ("a.example.", "35mthgpgcu1qg68fab165klnsnk3dpvl"),
        ("ai.example.", "gjeqe526plbf1g8mklp59enfd789njgi"),
        ("ns1.example.", "2t7b4g4vsa5smi47k61mv5bv1a22bojr"),
        ("ns2.example.", "q04jkcevqvmu85r014c7dkba38o0ji5r"),
        ("w.example.", "k8udemvp1j2f7eg6jebps17vp3n8i58h"),
        ("*.w.example.", "r53bq7cc2uvmubfu5ocmm6pers9tk9en"),
        ("X.w.example.", "b4um86eghhds6nea196smvmlo4ors995"),
        ("y.w.example.", "ji6neoaepv8b5o6k4ev33abha8ht9fgc"),
        ("x.y.W.example.", "2vptu5timamqttgl4luu9kg21e0aor3s"),
        ("xx.example.", "t644ebqk9bibcna874givr6joj62mlhv"),
        ("2t7b4g4vsa5smi47k61mv5bv1a22bojr.example.", "kohar7mbb8dc2ce8a9qvl8hon4k53uhi"),
    ];
    let records = Hashing { opt_out: true, ..EXAMPLE }.chain(&name("example."), &rfc5155());
    let chains = nsec3::chains(&name("example."), &records);
    let mut work = Work::default();
    for (owner, hash) in expected {
        let computed = chains[0].hash(&name(owner), &mut work).unwrap();
        assert_eq!(BASE32_DNSSEC.encode(&computed), hash, "{owner}");
    }
    // Each takes one block and twelve more.
    assert_eq!(work.spent(), (0, 13 * expected.len() as u32));
    let owners: BTreeSet<_> = records.iter().map(|record| record.name.to_string()).collect();
    let expected = expected.map(|(_, hash)| format!("{hash}.example."));
    assert_eq!(owners, BTreeSet::from(expected));
}

/// RFC 5155 appendix B. Its zone opts out; the same is asked of one that doesn't.
#[test]
fn responses_of_rfc_5155() {
    let apex = name("example.");
    let opt_out = Hashing { opt_out: true, ..EXAMPLE }.chain(&apex, &rfc5155());
    let without_c: Zone =
        rfc5155().into_iter().filter(|(owner, _)| *owner != name("c.example.")).collect();
    let full = EXAMPLE.chain(&apex, &without_c);
    for (question, qname, owners, expected, expected_opt_out) in [
        (Ask::Name, "a.c.x.w.example.", &["0p9m", "b4um", "35mt"][..], PROVEN, OPT_OUT),
        (Ask::Name, "a.c.x.w.example.", &["b4um", "0p9m"], None, None),
        (Ask::Name, "a.c.x.w.example.", &["b4um", "35mt"], None, None),
        (Ask::Name, "a.c.x.w.example.", &["0p9m", "35mt"], None, None),
        (Ask::Data(MX), "ns1.example.", &["2t7b"], PROVEN, PROVEN),
        (Ask::Data(A), "ns1.example.", &["2t7b"], None, None),
        (Ask::Data(A), "y.w.example.", &["ji6n"], PROVEN, PROVEN),
        (Ask::Closer("w.example."), "a.z.w.example.", &["q04j"], PROVEN, OPT_OUT),
        (Ask::Closer("w.example."), "a.z.w.example.", &["r53b"], None, None),
        (Ask::Data(AAAA), "a.z.w.example.", &["k8ud", "q04j", "r53b"], PROVEN, OPT_OUT),
        (Ask::Data(MX), "a.z.w.example.", &["k8ud", "q04j", "r53b"], None, OPT_OUT),
        (Ask::Data(AAAA), "a.z.w.example.", &["q04j", "r53b"], None, None),
        (Ask::Data(AAAA), "a.z.w.example.", &["k8ud", "r53b"], None, None),
        (Ask::Data(DS), "example.", &["0p9m"], None, None),
        // From the parent's side of a cut, only DS is denied; nothing below it.
        (Ask::Data(A), "a.example.", &["35mt"], None, None),
    ] {
        for (chain, expected) in [(&full, expected), (&opt_out, expected_opt_out)] {
            let got = ask(question, qname, &pick(chain, owners));
            assert_eq!(got, expected, "{question:?} {qname} {owners:?}");
        }
    }
    assert_eq!(
        ask_ds("c.example.", &pick(&opt_out, &["35mt", "0p9m"])),
        Some(Delegation::Insecure)
    );
    assert_eq!(ask_ds("c.example.", &pick(&full, &["35mt", "0p9m"])), Some(Delegation::NotACut));
    assert_eq!(ask_ds("c.example.", &pick(&full, &["35mt"])), None);
    assert_eq!(ask_ds("a.example.", &opt_out), None);
    assert_eq!(ask_ds("y.w.example.", &full), Some(Delegation::NotACut));
    assert_eq!(ask(Ask::Name, "x.a.example.", &full), None);
    assert_eq!(ask(Ask::Name, "x.a.example.", &opt_out), None);
}

/// Up to the first name that could be below b.example.
fn minimal(owner: &str) -> Record {
    let next = name("b.example.").prepend_label(b"\0".as_slice()).unwrap();
    nsec_record(&name(owner), &next, &[])
}

#[test]
fn nsec_records_that_prove_less_than_they_seem_to() {
    for (question, qname, proofs, expected) in [
        // The child's apex must not deny DS, nor anything but its own data.
        (Ask::Data(DS), "sub.example.", vec![nsec("sub.example.", "example.", &[NS, SOA])], None),
        // The parent's side of a cut denies DS only, and nothing below.
        (Ask::Data(DS), "sub.example.", vec![nsec("sub.example.", "example.", &[NS])], PROVEN),
        (Ask::Data(A), "sub.example.", vec![nsec("sub.example.", "example.", &[NS])], None),
        (Ask::Data(A), "sub.example.", vec![nsec("sub.example.", "example.", &[NS, DS])], None),
        (
            Ask::Name,
            "x.sub.example.",
            vec![nsec("sub.example.", "example.", &[NS]), nsec("example.", "sub.example.", &[SOA])],
            None,
        ),
        (
            Ask::Data(A),
            "x.sub.example.",
            vec![nsec("sub.example.", "a.x.sub.example.", &[NS])],
            None,
        ),
        (
            Ask::Closer("sub.example."),
            "x.sub.example.",
            vec![nsec("sub.example.", "example.", &[NS])],
            None,
        ),
        // Nor does a DNAME's.
        (
            Ask::Name,
            "x.sub.example.",
            vec![
                nsec("sub.example.", "example.", &[A, DNAME]),
                nsec("example.", "sub.example.", &[SOA]),
            ],
            None,
        ),
        (Ask::Data(A), "sub.example.", vec![nsec("sub.example.", "example.", &[DNAME])], PROVEN),
        // An alias would have been the answer.
        (Ask::Data(A), "a.example.", vec![nsec("a.example.", "b.example.", &[CNAME])], None),
        (Ask::Data(CNAME), "a.example.", vec![nsec("a.example.", "b.example.", &[A])], PROVEN),
        (Ask::Data(ANY), "a.example.", vec![nsec("a.example.", "b.example.", &[A])], None),
        (Ask::Data(ANY), "a.example.", vec![nsec("a.example.", "b.example.", &[])], PROVEN),
        // Only the last one points back, and it points to the apex.
        (
            Ask::Data(A),
            "z.example.",
            vec![nsec("y.example.", "b.example.", &[A]), nsec("*.example.", "a.example.", &[])],
            None,
        ),
        (
            Ask::Name,
            "z.example.",
            vec![nsec("y.example.", "example.", &[A]), nsec("example.", "a.example.", &[])],
            PROVEN,
        ),
        (
            Ask::Name,
            "a.example.",
            vec![nsec("y.example.", "example.", &[A]), nsec("example.", "a.example.", &[])],
            None,
        ),
        (
            Ask::Name,
            "b.example.",
            vec![nsec("y.example.", "example.", &[A]), nsec("example.", "a.example.", &[])],
            None,
        ),
        // A zone of one name.
        (Ask::Name, "b.example.", vec![nsec("example.", "EXAMPLE.", &[SOA])], PROVEN),
        (Ask::Name, "example.", vec![nsec("example.", "example.", &[SOA])], None),
        // Ends that are not in the zone.
        (
            Ask::Name,
            "b.example.",
            vec![nsec("a.exampl.", "c.example.", &[]), nsec("example.", "a.example.", &[])],
            None,
        ),
        (
            Ask::Name,
            "b.example.",
            vec![nsec("a.example.", "c.example2.", &[]), nsec("example.", "a.example.", &[])],
            None,
        ),
        (
            Ask::Name,
            "b.other.",
            vec![nsec("a.other.", "c.other.", &[]), nsec("other.", "a.other.", &[])],
            None,
        ),
        // Letter case, and the order of octets rather than of letters.
        (
            Ask::Name,
            "B.eXample.",
            vec![nsec("A.EXAMPLE.", "c.example.", &[]), nsec("example.", "a.example.", &[])],
            PROVEN,
        ),
        (
            Ask::Name,
            "a-.example.",
            vec![nsec("a.example.", "a.b.example.", &[]), nsec("example.", "a.example.", &[])],
            PROVEN,
        ),
        // A wildcard exists, or the name `*` does because of what is below it.
        (
            Ask::Name,
            "b.example.",
            vec![nsec("a.example.", "c.example.", &[]), nsec("*.example.", "a.example.", &[TXT])],
            None,
        ),
        (
            Ask::Name,
            "b.example.",
            vec![nsec("a.*.example.", "example.", &[A]), nsec("example.", "a.*.example.", &[SOA])],
            None,
        ),
        (
            Ask::Data(A),
            "b.example.",
            vec![nsec("a.*.example.", "example.", &[A]), nsec("example.", "a.*.example.", &[SOA])],
            PROVEN,
        ),
        // The wildcard's own record covers names like any other, and one record can do both.
        (
            Ask::Closer("example."),
            "0.example.",
            vec![nsec("*.example.", "a.example.", &[TXT])],
            PROVEN,
        ),
        (Ask::Data(A), "0.example.", vec![nsec("*.example.", "a.example.", &[TXT])], PROVEN),
        (Ask::Data(TXT), "0.example.", vec![nsec("*.example.", "a.example.", &[TXT])], None),
        (Ask::Name, "0.example.", vec![nsec("example.", "a.example.", &[SOA])], PROVEN),
        // Minimal spans, as made on the fly (RFC 4470).
        (Ask::Data(A), "b.example.", vec![minimal("b.example.")], PROVEN),
        (Ask::Data(A), "b.example.", vec![minimal("a.example.")], PROVEN),
        // A closer encloser is there.
        (
            Ask::Closer("example."),
            "x.a.example.",
            vec![nsec("a.example.", "c.example.", &[A])],
            None,
        ),
        (
            Ask::Closer("a.example."),
            "x.a.example.",
            vec![nsec("a.example.", "c.example.", &[A])],
            PROVEN,
        ),
        (
            Ask::Closer("b.example."),
            "x.a.example.",
            vec![nsec("a.example.", "c.example.", &[A])],
            None,
        ),
        (
            Ask::Closer("x.a.example."),
            "x.a.example.",
            vec![nsec("a.example.", "c.example.", &[A])],
            None,
        ),
        (Ask::Closer("."), "b.example.", vec![nsec("a.example.", "c.example.", &[A])], None),
        (Ask::Name, "b.example.", vec![], None),
    ] {
        assert_eq!(ask(question, qname, &proofs), expected, "{question:?} {qname} {proofs:?}");
    }
    for (child, proofs, expected) in [
        ("b.example.", vec![nsec("b.example.", "c.example.", &[NS])], Some(Delegation::Insecure)),
        ("B.example.", vec![nsec("b.example.", "c.example.", &[NS])], Some(Delegation::Insecure)),
        ("b.example.", vec![nsec("b.example.", "c.example.", &[NS, DS])], None),
        ("b.example.", vec![nsec("b.example.", "c.example.", &[NS, SOA])], None),
        ("b.example.", vec![nsec("b.example.", "c.example.", &[CNAME])], Some(Delegation::NotACut)),
        ("x.b.example.", vec![nsec("b.example.", "c.example.", &[NS])], None),
        ("x.b.example.", vec![nsec("b.example.", "c.example.", &[DNAME])], None),
        ("x.b.example.", vec![nsec("b.example.", "c.example.", &[A])], Some(Delegation::NotACut)),
    ] {
        assert_eq!(ask_ds(child, &proofs), expected, "{child} {proofs:?}");
    }
}

/// A name without its final dot is not before all others.
#[test]
fn a_relative_name_is_the_same_name() {
    let proofs = [nsec("a.example.", "c.example.", &[A]), nsec("example.", "a.example.", &[SOA])];
    let last = [nsec("c.example.", "example.", &[A]), nsec("example.", "a.example.", &[SOA])];
    let mut qname = name("b.example.");
    qname.set_fqdn(false);
    let mut work = Work::default();
    assert!(no_name(&qname, &name("example."), &proofs, &mut work).is_ok());
    assert!(no_name(&qname, &name("example."), &last, &mut work).is_err());
}

#[test]
fn the_root_has_no_parent() {
    let proofs = [nsec(".", "aaa.", &[NS, SOA, DNSKEY])];
    let denied = no_data(&Name::root(), DS, &Name::root(), &proofs, &mut Work::default());
    assert_eq!(denied, Ok(Denied::Proven));
}

#[test]
fn nsec3_records_that_prove_less_than_they_seem_to() {
    let apex = name("example.");
    let zone = zone(&[
        ("example.", &[NS, SOA, RRSIG]),
        ("a.example.", &[A, RRSIG]),
        ("cut.example.", &[NS]),
        ("moved.example.", &[DNAME, RRSIG]),
        ("sub.example.", &[NS, SOA, RRSIG]),
    ]);
    let one = EXAMPLE.chain(&apex, &zone);
    let other = PLAIN.chain(&apex, &zone);
    for chain in [&one, &other] {
        assert_eq!(ask(Ask::Name, "b.example.", chain), PROVEN);
        assert_eq!(ask(Ask::Name, "x.a.example.", chain), PROVEN);
        for below in ["x.cut.example.", "x.moved.example.", "cut.example.", "a.example."] {
            assert_eq!(ask(Ask::Name, below, chain), None, "{below}");
        }
        assert_eq!(ask_ds("x.cut.example.", chain), None);
        assert_eq!(ask_ds("cut.example.", chain), Some(Delegation::Insecure));
        assert_eq!(ask_ds("sub.example.", chain), None);
        assert_eq!(ask(Ask::Data(DS), "sub.example.", chain), None);
        assert_eq!(ask(Ask::Name, "b.other.", chain), None);
        assert_eq!(ask_ds("example.", chain), None);
    }

    // Parts of two chains are no proof; one whole chain is, whatever lies beside it.
    let matching = |hashing: &Hashing| BASE32_DNSSEC.encode(&hashing.hash(&apex));
    let encloser = pick(&one, &[&matching(&EXAMPLE)]);
    let mut rest = other.clone();
    rest.retain(|record| !record.name.to_string().starts_with(&matching(&PLAIN)));
    assert_eq!(rest.len() + 1, other.len());
    let mixed = [encloser, rest].concat();
    assert_eq!(ask(Ask::Name, "b.example.", &mixed), None);
    assert_eq!(ask(Ask::Name, "b.example.", &[one.clone(), other.clone()].concat()), PROVEN);
    assert_eq!(ask(Ask::Name, "b.example.", &[mixed, one.clone()].concat()), PROVEN);

    // Owners that are no hash right below the apex.
    let moved = |owner: &dyn Fn(&Name) -> Name| {
        let move_it = |record: &Record| {
            let mut record = record.clone();
            record.name = owner(&record.name);
            record
        };
        one.iter().map(move_it).collect::<Vec<_>>()
    };
    let deeper = moved(&|owner| {
        let label = String::from_utf8(owner.iter().next().unwrap().to_vec()).unwrap();
        name(&format!("{label}.deep.example."))
    });
    let short = moved(&|_| name("0p9mhave.example."));
    let garbage = moved(&|_| name("wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww.example."));
    let upper = moved(&|owner| name(&owner.to_string().to_uppercase()));
    for chain in [deeper, short, garbage, moved(&|_| Name::root()), vec![]] {
        assert_eq!(ask(Ask::Name, "b.example.", &chain), None);
    }
    assert_eq!(ask(Ask::Name, "b.example.", &upper), PROVEN);
}

#[test]
fn iterations_are_limited() {
    let (apex, zone) = (name("example."), rfc5155());
    let chain = |iterations| Hashing { iterations, ..EXAMPLE }.chain(&apex, &zone);
    let go = |proofs: &[Record]| {
        let mut work = Work::default();
        let denied = no_name(&name("nope.example."), &apex, proofs, &mut work);
        let delegation = no_ds(&name("nope.example."), &apex, proofs, &mut work);
        (denied, delegation, work.spent().1 > 0)
    };
    let insecure = (Ok(Denied::TooManyIterations), Ok(Delegation::Insecure), false);
    assert_eq!(go(&chain(150)), (Ok(Denied::Proven), Ok(Delegation::NotACut), true));
    assert_eq!(go(&chain(151)), insecure);
    assert_eq!(go(&chain(500)), insecure);
    let (denied, delegation, worked) = go(&chain(501));
    assert_eq!(denied.unwrap_err().code(), 27);
    assert_eq!(delegation.unwrap_err().code(), 27);
    assert!(!worked);
    // A chain that can be computed goes first, wherever it lies.
    assert_eq!(go(&[chain(200), chain(1)].concat()).0, Ok(Denied::Proven));
    assert_eq!(go(&[chain(501), chain(200)].concat()).0, Ok(Denied::TooManyIterations));
}

/// CVE-2023-50868: a long name, and no record that would end the search.
#[test]
fn hashing_is_bounded() {
    let apex = name("example.");
    let zone = zone(&[("example.", &[NS, SOA]), ("a.example.", &[A])]);
    let long = name(&format!("{}example.", "a.".repeat(120)));
    let records = Hashing { iterations: 150, ..EXAMPLE }.chain(&apex, &zone);
    for budget in [0, 1, 151, 600, 4_096] {
        for records in [&records[..1], &records[1..], &records] {
            let mut work = Work::new(0, budget);
            let outcomes = [
                no_name(&long, &apex, records, &mut work).map(|_| ()),
                no_data(&long, A, &apex, records, &mut work).map(|_| ()),
                no_ds(&long, &apex, records, &mut work).map(|_| ()),
            ];
            assert!(outcomes.contains(&Err(Failure::TooMuchWork)), "{budget}");
            assert!(work.spent().1 <= budget);
        }
    }
    // A name of the reverse tree, at a zone that hashes ten times.
    let reverse = name(&format!("{}ip6.arpa.", "0.".repeat(32)));
    let arpa = name("ip6.arpa.");
    let zone = Zone::from([(arpa.clone(), vec![NS, SOA])]);
    let records = Hashing { iterations: 10, ..EXAMPLE }.chain(&arpa, &zone);
    assert!(no_name(&reverse, &arpa, &records, &mut Work::default()).is_ok());
}

/// What is true of a name in a zone.
#[derive(Debug)]
enum Truth {
    /// Below a cut or a DNAME: another zone's, or renamed.
    Beyond,
    Exists(Vec<RecordType>),
    /// Absent; and what a wildcard at the closest encloser holds, if there is one.
    Absent {
        encloser: Name,
        wildcard: Option<Vec<RecordType>>,
    },
}

fn truth(apex: &Name, zone: &Zone, qname: &Name) -> Truth {
    let holds = |name: &Name| {
        zone.get(name).cloned().or_else(|| {
            let empty = zone.keys().any(|owner| name.zone_of(owner));
            empty.then(Vec::new)
        })
    };
    let ends = |types: &[RecordType]| {
        types.contains(&DNAME) || (types.contains(&NS) && !types.contains(&SOA))
    };
    let mut encloser = apex.clone();
    for labels in name::count(apex)..name::count(qname) {
        let above = qname.trim_to(labels);
        match holds(&above) {
            Some(types) if ends(&types) => return Truth::Beyond,
            Some(_) => encloser = above,
            None => break,
        }
    }
    match holds(qname) {
        Some(types) => Truth::Exists(types),
        None => {
            let wildcard = holds(&encloser.prepend_label("*").unwrap());
            Truth::Absent { encloser, wildcard }
        }
    }
}

fn really_lacks(types: &[RecordType], qtype: RecordType) -> bool {
    let cut = types.contains(&NS) && !types.contains(&SOA);
    !types.contains(&qtype)
        && !types.contains(&CNAME)
        && match qtype {
            DS => !types.contains(&SOA),
            _ => !cut,
        }
}

const LABELS: [&str; 5] = ["a", "b", "c", "*", "nope"];

fn zones() -> impl Strategy<Value = Zone> {
    let owner = prop::collection::vec(0..4usize, 1..4);
    prop::collection::vec((owner, 0..7usize), 0..12).prop_map(|owners| {
        let apex = name("example.");
        let mut zone = Zone::from([(apex.clone(), vec![NS, SOA, MX, DNSKEY])]);
        for (labels, kind) in owners {
            let text: Vec<_> = labels.iter().map(|label| LABELS[*label]).collect();
            // What a delegation or a redirection below a wildcard would mean is left undefined.
            let kind = if labels.contains(&3) { kind % 3 } else { kind };
            let types =
                [vec![A], vec![A, MX], vec![CNAME], vec![NS], vec![NS, DS], vec![DNAME], vec![TXT]]
                    [kind]
                    .clone();
            zone.entry(name(&format!("{}.example.", text.join(".")))).or_insert(types);
        }
        let all = zone.clone();
        zone.retain(|owner, _| !matches!(truth(&apex, &all, owner), Truth::Beyond));
        zone
    })
}

/// All names of up to three labels below the apex.
fn questions() -> Vec<Name> {
    let mut names = vec![name("example.")];
    let mut from = 0;
    for _ in 0..3 {
        let until = names.len();
        for index in from..until {
            for label in LABELS {
                names.push(names[index].prepend_label(label).unwrap());
            }
        }
        from = until;
    }
    names
}

/// Holds what all records of a chain prove against the truth. A liar has no more than these.
fn judge(zone: &Zone, records: &[Record], opt_out: bool) {
    let apex = name("example.");
    let mut work = Work::new(0, u32::MAX);
    // Where delegations may be left out, what is absent and what may be a delegation look alike.
    let agree = |got: &Result<Denied, Failure>, proven: bool, known: bool, what: &str| {
        let fits = match got {
            Ok(Denied::Proven) => proven,
            Ok(Denied::OptOut) => opt_out && !known,
            Ok(Denied::TooManyIterations) => false,
            // Left out too: what is empty because of such delegations only.
            Err(_) => !proven || (opt_out && !known),
        };
        assert!(fits, "{what}: {got:?} {zone:?}");
    };
    for qname in questions() {
        let truth = truth(&apex, zone, &qname);
        let text = format!("{qname} {truth:?}");
        let omitted = |types: &[RecordType]| types.is_empty() || types == [NS];
        let known = match &truth {
            Truth::Exists(types) => !omitted(types),
            _ => false,
        };
        let absent = matches!(&truth, Truth::Absent { wildcard: None, .. });
        agree(&no_name(&qname, &apex, records, &mut work), absent, known, &text);
        for qtype in [A, MX, CNAME, TXT, NS, DS, DNAME, SOA] {
            let proven = match &truth {
                Truth::Beyond | Truth::Absent { wildcard: None, .. } => false,
                Truth::Exists(types) | Truth::Absent { wildcard: Some(types), .. } => {
                    really_lacks(types, qtype)
                }
            };
            let got = no_data(&qname, qtype, &apex, records, &mut work);
            agree(&got, proven, known, &format!("{text} {qtype}"));
        }
        for labels in 1..name::count(&qname) {
            let claimed = qname.trim_to(labels);
            let (proven, reachable) = match &truth {
                Truth::Absent { encloser, .. } => {
                    (claimed == *encloser, labels <= name::count(encloser))
                }
                Truth::Beyond => (false, false),
                Truth::Exists(_) => (false, true),
            };
            if reachable {
                let got = no_closer(&qname, &claimed, &apex, records, &mut work);
                agree(&got, proven, false, &format!("{text} below {claimed}"));
            }
        }
        let expected = match &truth {
            _ if qname == apex => None,
            Truth::Beyond => None,
            Truth::Exists(types) if types.contains(&DS) => None,
            Truth::Exists(types) if types.contains(&NS) => Some(Delegation::Insecure),
            _ => Some(Delegation::NotACut),
        };
        let got = no_ds(&qname, &apex, records, &mut work).ok();
        let fits = got == expected || (opt_out && !known && got == Some(Delegation::Insecure));
        assert!(fits, "{text} DS: {got:?} {zone:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nsec_proves_what_is_true_and_nothing_else(zone in zones()) {
        judge(&zone, &nsec_chain(&zone), false);
    }

    #[test]
    fn nsec3_proves_what_is_true_and_nothing_else(zone in zones(), iterations in 0..3u16) {
        let hashing = Hashing { iterations, ..EXAMPLE };
        judge(&zone, &hashing.chain(&name("example."), &zone), false);
    }

    #[test]
    fn opt_out_proves_nothing_untrue(zone in zones()) {
        let hashing = Hashing { opt_out: true, ..PLAIN };
        judge(&zone, &hashing.chain(&name("example."), &zone), true);
    }

    /// Any record of any zone is judged without a panic, and within the budget.
    #[test]
    fn odd_records_do_no_harm(
        owners in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..24), any::<u16>(), any::<bool>()), 0..6),
        labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..6), 0..9),
        budget in 0..700u32,
    ) {
        let apex = name("example.");
        let records: Vec<_> = owners.iter().map(|(hash, iterations, opt_out)| {
            let label = BASE32_DNSSEC.encode(hash);
            let owner = Name::from_ascii(format!("{label}x.example.")).unwrap_or_else(|_| apex.clone());
            let salt = HEXLOWER.encode(hash).into_bytes();
            let data = NSEC3::new(Nsec3HashAlgorithm::SHA1, *opt_out, iterations % 600, salt, hash.clone(), [A]);
            Record::from_rdata(owner, 300, RData::DNSSEC(DNSSECRData::NSEC3(data)))
        }).collect();
        let qname = Name::from_labels(labels.iter().map(Vec::as_slice)).unwrap().append_domain(&apex).unwrap();
        let mut work = Work::new(0, budget);
        let _ = no_name(&qname, &apex, &records, &mut work);
        let _ = no_data(&qname, A, &apex, &records, &mut work);
        let _ = no_ds(&qname, &apex, &records, &mut work);
        prop_assert!(work.spent().1 <= budget);
    }
}

/// RFC 9824: the name is made up for the sake of the proof, which denies it by a type of its own.
#[test]
fn compact_denial() {
    let apex = name("example.");
    let gone = name("none.example.");
    let next = gone.prepend_label([0].as_slice()).unwrap();
    let nxname = RecordType::from(128);
    for (types, absent) in [(vec![nxname], true), (vec![], false), (vec![A], false)] {
        let proof = [nsec_record(&gone, &next, &types)];
        let denied = no_name(&gone, &apex, &proof, &mut Work::default());
        assert_eq!(denied.is_ok(), absent, "{types:?}");
        let other = no_name(&name("other.example."), &apex, &proof, &mut Work::default());
        assert!(other.is_err(), "{types:?}");
        let empty = no_data(&gone, MX, &apex, &proof, &mut Work::default());
        assert_eq!(empty, Ok(Denied::Proven), "{types:?}");
    }
}
