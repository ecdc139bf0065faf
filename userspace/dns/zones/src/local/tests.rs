use std::fs;

use hickory_proto::dnssec::crypto::Ed25519SigningKey;
use hickory_proto::dnssec::rdata::sig::SigInput;
use hickory_proto::dnssec::rdata::{DNSKEY, DNSSECRData, RRSIG};
use hickory_proto::dnssec::{
    Algorithm, DnssecSigner, Nsec3HashAlgorithm, SigningKey, TBS, Verifier,
};
use hickory_proto::op::Message;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, SerialNumber};
use hickory_proto::serialize::binary::{BinDecodable, BinEncodable};
use tempfile::TempDir;

use super::*;
use crate::{master, rdata};

const HEAD: &str =
    "$TTL 300\n@ 600 SOA ns hostmaster 7 3600 600 86400 60\n@ NS ns\nns A 192.0.2.53\n";

/// Zones (name, text) as files of a folder of their own, named by the zone.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let all = Self { folder: tempfile::tempdir().unwrap() };
        for (name, text) in files {
            all.write(name, text);
        }
        all
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn zone(&self, name: &str) -> ZoneConfig {
        ZoneConfig { name: name.into(), file: self.path(name) }
    }
}

fn zones(zones: &[(&str, &str)]) -> (Files, LocalData) {
    let files = Files::new(zones);
    let config = LocalConfig {
        zones: zones.iter().map(|(name, _)| files.zone(name)).collect(),
        ..LocalConfig::default()
    };
    let (data, problems) = LocalData::new(&config);
    assert_eq!(problems, []);
    (files, data)
}

/// When nobody writes any more to what was written just now.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(5)
}

fn wire(name: &str) -> Vec<u8> {
    let mut wire = name::parse(name.as_bytes(), Some(name::ROOT)).unwrap();
    name::lower(&mut wire);
    wire
}

fn ask(data: &LocalData, name: &str, rtype: &str, dnssec: bool) -> Option<(Message, LocalAnswer)> {
    let rtype = rdata::type_number(rtype.as_bytes()).unwrap_or(255);
    let answer = data.answer(&wire(name), rtype, dnssec)?;
    let message = Message::from_vec(&answer.message).unwrap();
    assert_eq!(message.queries.len(), 1);
    assert_eq!(u16::from(message.queries[0].query_type()), rtype);
    Some((message, answer))
}

fn show(record: &Record) -> String {
    format!("{} {} {} {}", record.name, record.ttl, record.record_type(), record.data)
}

/// First line: what kind, whether with authority. Then records, with `+` before those of the authority section and `*`
/// before additional ones.
fn shown(data: &LocalData, name: &str, rtype: &str) -> String {
    let Some((message, answer)) = ask(data, name, rtype, false) else { return "not ours".into() };
    let kind = match answer.kind {
        Kind::Continue { target } => format!("Continue {}", name::show(&target)),
        kind => format!("{kind:?}"),
    };
    let authoritative = if message.metadata.authoritative { "" } else { " no-aa" };
    let mut lines = vec![format!("{kind}{authoritative} {}", answer.ttl)];
    lines.extend(message.answers.iter().map(show));
    lines.extend(message.authorities.iter().map(|record| format!("+{}", show(record))));
    lines.extend(message.additionals.iter().map(|record| format!("*{}", show(record))));
    lines.join("\n").replace("ns.example. hostmaster.example. 7 3600 600 86400 60", "...")
}

fn story(data: &LocalData, cases: &[(&str, &str, &[&str])]) {
    for (name, rtype, expected) in cases {
        assert_eq!(shown(data, name, rtype), expected.join("\n"), "{name} {rtype}");
    }
}

const SOA: &str = "+example. 60 SOA ...";

#[test]
fn answers_with_authority() {
    let text = format!(
        "{HEAD}www A 192.0.2.1\nwww A 192.0.2.2\nwww AAAA 2001:db8::1\nalias CNAME WWW\nout CNAME www.other.\nloop1 CNAME loop2\nloop2 CNAME loop1\n\
         dangling CNAME nothing\na.b.c A 192.0.2.3\nmail MX 10 mx1\nmail MX 20 mx.other.\nmx1 A 192.0.2.25\n_sip._udp SRV 1 2 5060 mx1\n\
         moved DNAME other.\nmoved TXT here\nunder.moved A 192.0.2.99\nnear DNAME c\ncd CNAME b.near\nbig TXT \"{}\" \n many A 192.0.2.9\n odd TYPE65280 \\# 2 abcd\n\
         @ 300 CAA 0 issue \"ca\"\n",
        "x".repeat(200)
    )
    .replace("\n many", "\nmany")
    .replace("\n odd", "\nodd");
    let (_files, data) = zones(&[("example", &text)]);
    story(
        &data,
        &[
            ("example", "SOA", &["Answer 600", "example. 600 SOA ..."]),
            (
                "example",
                "NS",
                &["Answer 300", "example. 300 NS ns.example.", "*ns.example. 300 A 192.0.2.53"],
            ),
            (
                "WWW.Example",
                "A",
                &["Answer 300", "www.example. 300 A 192.0.2.1", "www.example. 300 A 192.0.2.2"],
            ),
            ("www.example", "MX", &["NoData 60", SOA]),
            ("no.example", "A", &["NxDomain 60", SOA]),
            ("x.www.example", "A", &["NxDomain 60", SOA]),
            // Names between: RFC 4592 section 2.2.2.
            ("c.example", "A", &["NoData 60", SOA]),
            ("b.c.example", "ANY", &["NoData 60", SOA]),
            ("a.b.c.example", "A", &["Answer 300", "a.b.c.example. 300 A 192.0.2.3"]),
            // Aliases.
            (
                "alias.example",
                "A",
                &[
                    "Answer 300",
                    "alias.example. 300 CNAME WWW.example.",
                    "www.example. 300 A 192.0.2.1",
                    "www.example. 300 A 192.0.2.2",
                ],
            ),
            ("alias.example", "CNAME", &["Answer 300", "alias.example. 300 CNAME WWW.example."]),
            ("alias.example", "MX", &["NoData 60", "alias.example. 300 CNAME WWW.example.", SOA]),
            (
                "dangling.example",
                "A",
                &["NxDomain 60", "dangling.example. 300 CNAME nothing.example.", SOA],
            ),
            ("out.example", "A", &["Continue www.other. 300", "out.example. 300 CNAME www.other."]),
            (
                "loop1.example",
                "A",
                &[
                    "Answer 300",
                    "loop1.example. 300 CNAME loop2.example.",
                    "loop2.example. 300 CNAME loop1.example.",
                ],
            ),
            // RFC 6672.
            (
                "a.moved.example",
                "A",
                &[
                    "Continue a.other. 300",
                    "moved.example. 300 DNAME BW90aGVyAA==",
                    "a.moved.example. 300 CNAME a.other.",
                ],
            ),
            (
                "a.moved.example",
                "CNAME",
                &[
                    "Answer 300",
                    "moved.example. 300 DNAME BW90aGVyAA==",
                    "a.moved.example. 300 CNAME a.other.",
                ],
            ),
            (
                "under.moved.example",
                "A",
                &[
                    "Continue under.other. 300",
                    "moved.example. 300 DNAME BW90aGVyAA==",
                    "under.moved.example. 300 CNAME under.other.",
                ],
            ),
            ("moved.example", "TXT", &["Answer 300", "moved.example. 300 TXT here"]),
            ("moved.example", "A", &["NoData 60", SOA]),
            (
                "a.b.near.example",
                "A",
                &[
                    "Answer 300",
                    "near.example. 300 DNAME AWMHZXhhbXBsZQA=",
                    "a.b.near.example. 300 CNAME a.b.c.example.",
                    "a.b.c.example. 300 A 192.0.2.3",
                ],
            ),
            // Additional addresses: ours only.
            (
                "mail.example",
                "MX",
                &[
                    "Answer 300",
                    "mail.example. 300 MX 10 mx1.example.",
                    "mail.example. 300 MX 20 mx.other.",
                    "*mx1.example. 300 A 192.0.2.25",
                ],
            ),
            (
                "_sip._udp.example",
                "SRV",
                &[
                    "Answer 300",
                    "_sip._udp.example. 300 SRV 1 2 5060 mx1.example.",
                    "*mx1.example. 300 A 192.0.2.25",
                ],
            ),
            // RFC 8482: one set, the smallest.
            ("www.example", "ANY", &["Answer 300", "www.example. 300 AAAA 2001:db8::1"]),
            ("alias.example", "ANY", &["Answer 300", "alias.example. 300 CNAME WWW.example."]),
            ("example", "DS", &["ParentDs 60", SOA]),
            ("other", "A", &["not ours"]),
            ("xexample", "A", &["not ours"]),
        ],
    );
    for (name, covered) in
        [("example", true), ("a.b.example", true), ("xexample", false), (".", false)]
    {
        assert_eq!(data.covers(&wire(name)), covered, "{name}");
    }
    for junk in [&b""[..], b"\x07exampl", b"\x07example", b"\xc0\x00", &[1; 300]] {
        assert!(!data.covers(junk), "{junk:?}");
        assert_eq!(data.answer(junk, 1, true), None);
    }
    // A DNAME whose target gets too long: YXDOMAIN.
    let long = format!("{}.example", ["a".repeat(62).as_str(); 3].join("."));
    let text = format!("{HEAD}d DNAME {long}.\n");
    let (_files, data) = zones(&[("example", &text)]);
    let (message, answer) =
        ask(&data, &format!("{}.d.example", "b".repeat(60)), "A", false).unwrap();
    assert_eq!((u16::from(message.metadata.response_code), answer.kind), (6, Kind::NxDomain));
}

#[test]
fn wildcards_of_rfc_4592() {
    // Section 2.2.1, with other addresses.
    let (_files, data) = zones(&[(
        "example",
        "$TTL 300\n@ 600 SOA ns hostmaster 7 3600 600 86400 60\n@ NS ns.example.com.\n@ NS ns.example.net.\n* TXT \"this is a wildcard\"\n* MX 10 host1\n\
         sub.* TXT \"this is not a wildcard\"\nhost1 A 192.0.2.1\n_ssh._tcp.host1 SRV 0 0 22 host1\n_ssh._tcp.host2 SRV 0 0 22 host1\n\
         subdel NS ns.example.com.\nsubdel NS ns.example.net.\n",
    )]);
    let mx = |name: &str| {
        [
            "Answer 300".to_owned(),
            format!("{name}. 300 MX 10 host1.example."),
            "*host1.example. 300 A 192.0.2.1".into(),
        ]
        .join("\n")
    };
    for name in ["host3.example", "foo.bar.example"] {
        assert_eq!(shown(&data, name, "MX"), mx(name));
    }
    story(
        &data,
        &[
            ("host3.example", "A", &["NoData 60", SOA]),
            (
                "foo.bar.example",
                "TXT",
                &["Answer 300", "foo.bar.example. 300 TXT this is a wildcard"],
            ),
            ("host1.example", "MX", &["NoData 60", SOA]),
            ("sub.*.example", "MX", &["NoData 60", SOA]),
            (
                "sub.*.example",
                "TXT",
                &["Answer 300", "sub.*.example. 300 TXT this is not a wildcard"],
            ),
            ("_telnet._tcp.host1.example", "SRV", &["NxDomain 60", SOA]),
            (
                "host.subdel.example",
                "A",
                &[
                    "Referral no-aa 300",
                    "+subdel.example. 300 NS ns.example.com.",
                    "+subdel.example. 300 NS ns.example.net.",
                ],
            ),
            ("ghost.*.example", "MX", &["NxDomain 60", SOA]),
            ("*.example", "TXT", &["Answer 300", "*.example. 300 TXT this is a wildcard"]),
            ("host2.example", "A", &["NoData 60", SOA]),
            ("x.host2.example", "MX", &["NxDomain 60", SOA]),
        ],
    );
    // An alias at a wildcard.
    let (_files, data) = zones(&[("example", &format!("{HEAD}* CNAME ns\n"))]);
    story(
        &data,
        &[(
            "a.b.example",
            "A",
            &["Answer 300", "a.b.example. 300 CNAME ns.example.", "ns.example. 300 A 192.0.2.53"],
        )],
    );
}

#[test]
fn delegations() {
    let text = format!(
        "{HEAD}sub NS ns.sub\nsub NS ns.other.\nsub NS ns\nns.sub A 192.0.2.60\nns.sub AAAA 2001:db8::60\nhidden.sub A 192.0.2.61\nsub DS 1 13 2 {}\n\
         to CNAME a.sub\n",
        "ab".repeat(32)
    );
    let (_files, data) = zones(&[("example", &text)]);
    let referral: &[&str] = &[
        "Referral no-aa 300",
        "+sub.example. 300 NS ns.sub.example.",
        "+sub.example. 300 NS ns.other.",
        "+sub.example. 300 NS ns.example.",
        "*ns.sub.example. 300 A 192.0.2.60",
        "*ns.sub.example. 300 AAAA 2001:db8::60",
        "*ns.example. 300 A 192.0.2.53",
    ];
    let ds = format!("sub.example. 300 DS 1 ECDSAP256SHA256 2 {}", "AB".repeat(32));
    let ds = ask(&data, "sub.example", "DS", false)
        .map(|(message, answer)| (message.answers.len(), answer.kind, ds.len() > 9));
    assert_eq!(ds, Some((1, Kind::Answer, true)));
    story(
        &data,
        &[
            ("sub.example", "A", referral),
            ("sub.example", "NS", referral),
            ("sub.example", "ANY", referral),
            ("ns.sub.example", "A", referral),
            ("hidden.sub.example", "A", referral),
            ("x.y.sub.example", "DS", referral),
            (
                "to.example",
                "A",
                &["Continue a.sub.example. 300", "to.example. 300 CNAME a.sub.example."],
            ),
        ],
    );
    // The child is local too: its data is its own, its DS the parent's.
    let child =
        "$TTL 5\n@ SOA @ @ 1 1 1 1 1\n@ NS ns\nns A 192.0.2.70\nup CNAME to.example.\na CNAME up\n";
    let (_files, data) = zones(&[("example", &text), ("sub.example", child)]);
    assert_eq!(ask(&data, "sub.example", "DS", false).unwrap().1.kind, Kind::Answer);
    story(
        &data,
        &[
            ("ns.sub.example", "A", &["Answer 5", "ns.sub.example. 5 A 192.0.2.70"]),
            (
                "to.example",
                "A",
                &[
                    "Answer 5",
                    "to.example. 300 CNAME a.sub.example.",
                    "a.sub.example. 5 CNAME up.sub.example.",
                    "up.sub.example. 5 CNAME to.example.",
                ],
            ),
        ],
    );
}

/// Signs a zone as its tools would, with NSEC or NSEC3 (with opt-out).
fn signed(text: &str, hashed: bool) -> (String, DNSKEY) {
    let apex = name::apex("example").unwrap();
    let key = Ed25519SigningKey::from_pkcs8(&Ed25519SigningKey::generate_pkcs8().unwrap()).unwrap();
    let dnskey = DNSKEY::from_key(&key.to_public_key().unwrap());
    let mut text = format!("{text}@ DNSKEY \\# {}\n", generic(&dnskey.to_bytes().unwrap()));
    if hashed {
        text.push_str("@ NSEC3PARAM 1 0 1 ab\n");
    }
    let parsed = master::read_text(&text, "", &apex);
    assert_eq!(parsed.problems, []);
    let cuts: Vec<_> = parsed
        .records
        .iter()
        .filter(|rr| rr.rtype == number::NS && rr.owner != apex)
        .map(|rr| rr.owner.clone())
        .collect();
    let below =
        |name: &[u8]| cuts.iter().any(|cut| name.len() > cut.len() && name::is_under(name, cut));
    let mut sets: std::collections::BTreeMap<Vec<u8>, Vec<u16>> = Default::default();
    for rr in parsed.records.iter().filter(|rr| !below(&rr.owner)) {
        sets.entry(rr.owner.to_vec()).or_default().push(rr.rtype);
        if hashed {
            for between in
                name::suffixes(&rr.owner).skip(1).take_while(|name| name.len() >= apex.len())
            {
                sets.entry(between.to_vec()).or_default();
            }
        }
    }
    let mut chain: Vec<(Vec<u8>, String)> = sets
        .iter()
        .filter(|(name, types)| {
            !(hashed && cuts.iter().any(|cut| **cut == ***name) && !types.contains(&number::DS))
        })
        .map(|(name, types)| {
            let mut types: Vec<_> = types.iter().map(|&rtype| rdata::type_name(rtype)).collect();
            types.push("RRSIG".into());
            if !hashed {
                types.push("NSEC".into());
            }
            (name.clone(), types.join(" "))
        })
        .collect();
    if hashed {
        for (name, _) in &mut chain {
            let digest = Nsec3HashAlgorithm::SHA1
                .hash(&[0xab], &Name::from_bytes(name).unwrap(), 1)
                .unwrap();
            *name = data_encoding::BASE32HEX_NOPAD.encode(digest.as_ref()).into_bytes();
        }
        chain.sort();
    } else {
        chain.sort_by(|(a, _), (b, _)| name::canonical(a, b));
    }
    for (index, (owner, types)) in chain.iter().enumerate() {
        let (next, _) = &chain[(index + 1) % chain.len()];
        text.push_str(&match hashed {
            true => format!(
                "{} NSEC3 1 1 1 ab {} {types}\n",
                String::from_utf8_lossy(owner),
                String::from_utf8_lossy(next)
            ),
            false => format!("{} NSEC {} {types}\n", name::show(owner), name::show(next)),
        });
    }
    let signer = DnssecSigner::new(
        dnskey.clone(),
        Box::new(key),
        Name::from_ascii("example.").unwrap(),
        Duration::from_secs(1),
    );
    let parsed = master::read_text(&text, "", &apex);
    let mut done = HashSet::new();
    for rr in parsed.records.iter().filter(|rr| !below(&rr.owner)) {
        let delegation = cuts.contains(&rr.owner) && rr.rtype == number::NS;
        if delegation || !done.insert((&rr.owner, rr.rtype)) {
            continue;
        }
        let set: Vec<_> = parsed
            .records
            .iter()
            .filter(|other| (&other.owner, other.rtype) == (&rr.owner, rr.rtype))
            .map(record)
            .collect();
        let labels = name::labels(&rr.owner).filter(|label| *label != b"*").count() as u8;
        let input = SigInput {
            type_covered: RecordType::from(rr.rtype),
            algorithm: Algorithm::ED25519,
            num_labels: labels,
            original_ttl: rr.ttl,
            sig_expiration: SerialNumber::new(2_000),
            sig_inception: SerialNumber::new(1_000),
            key_tag: dnskey.calculate_key_tag().unwrap(),
            signer_name: Name::from_ascii("example.").unwrap(),
        };
        let tbs = TBS::from_input(&set[0].name, DNSClass::IN, &input, set.iter()).unwrap();
        let signature = RRSIG::from_sig(input, signer.sign(&tbs).unwrap());
        text.push_str(&format!(
            "{} {} RRSIG \\# {}\n",
            name::show(&rr.owner),
            rr.ttl,
            generic(&signature.to_bytes().unwrap())
        ));
    }
    (text, dnskey)
}

fn generic(data: &[u8]) -> String {
    format!("{} {}", data.len(), data_encoding::HEXLOWER_PERMISSIVE.encode(data))
}

fn record(rr: &master::Rr) -> Record {
    let numbers = [
        rr.rtype.to_be_bytes().to_vec(),
        vec![0, 1],
        rr.ttl.to_be_bytes().to_vec(),
        (rr.data.len() as u16).to_be_bytes().to_vec(),
    ];
    Record::from_bytes(&[rr.owner.to_vec(), numbers.concat(), rr.data.to_vec()].concat()).unwrap()
}

/// Owners and types of what isn't glue, and each signature that is there verified.
fn proven(data: &LocalData, key: &DNSKEY, name: &str, rtype: &str) -> Vec<String> {
    let (message, _) = ask(data, name, rtype, true).unwrap();
    let all: Vec<_> = message.answers.iter().chain(&message.authorities).collect();
    let mut lines = Vec::new();
    for record in &all {
        if let RData::DNSSEC(DNSSECRData::RRSIG(signature)) = &record.data {
            let covered = signature.input().type_covered;
            let set: Vec<_> = all
                .iter()
                .filter(|other| other.name == record.name && other.record_type() == covered)
                .copied()
                .collect();
            assert!(!set.is_empty() || rtype == "RRSIG", "{name} {rtype}: {record}");
            if !set.is_empty() {
                key.verify_rrsig(&record.name, DNSClass::IN, signature, set.into_iter()).unwrap();
            }
        } else {
            let signed = all.iter().any(|other| {
                matches!(&other.data, RData::DNSSEC(DNSSECRData::RRSIG(signature)) if other.name == record.name && signature.input().type_covered == record.record_type())
            });
            lines.push(format!(
                "{} {}{}",
                record.name,
                record.record_type(),
                if signed { "" } else { " unsigned" }
            ));
        }
    }
    lines
}

fn signed_text() -> String {
    format!(
        "{HEAD}www A 192.0.2.1\n*.w A 192.0.2.2\nx.y.w A 192.0.2.3\nalias CNAME www\nalias2 CNAME nothing\nsec NS ns.sec\nns.sec A 192.0.2.4\nsec DS 1 13 2 {}\n\
         unsec NS ns.unsec\nns.unsec A 192.0.2.5\na.between A 192.0.2.6\n",
        "ab".repeat(32)
    )
}

#[test]
fn signed_with_nsec() {
    let (text, key) = signed(&signed_text(), false);
    let (_files, data) = zones(&[("example", &text)]);
    for (name, rtype, expected) in [
        ("www.example", "A", vec!["www.example. A"]),
        ("www.example", "MX", vec!["example. SOA", "www.example. NSEC"]),
        ("www.example", "NSEC", vec!["www.example. NSEC"]),
        ("zzz.example", "A", vec!["example. SOA", "www.example. NSEC", "example. NSEC"]),
        ("aaa.example", "A", vec!["example. SOA", "example. NSEC"]),
        ("between.example", "A", vec!["example. SOA", "alias2.example. NSEC"]),
        ("foo.w.example", "A", vec!["foo.w.example. A", "*.w.example. NSEC"]),
        ("zoo.w.example", "A", vec!["zoo.w.example. A", "x.y.w.example. NSEC"]),
        ("foo.w.example", "MX", vec!["example. SOA", "*.w.example. NSEC"]),
        ("zoo.w.example", "MX", vec!["example. SOA", "x.y.w.example. NSEC", "*.w.example. NSEC"]),
        ("alias.example", "A", vec!["alias.example. CNAME", "www.example. A"]),
        (
            "alias2.example",
            "A",
            vec![
                "alias2.example. CNAME",
                "example. SOA",
                "a.between.example. NSEC",
                "example. NSEC",
            ],
        ),
        ("a.sec.example", "A", vec!["sec.example. NS unsigned", "sec.example. DS"]),
        ("a.unsec.example", "A", vec!["unsec.example. NS unsigned", "unsec.example. NSEC"]),
        ("unsec.example", "DS", vec!["example. SOA", "unsec.example. NSEC"]),
        ("sec.example", "DS", vec!["sec.example. DS"]),
        ("example", "DNSKEY", vec!["example. DNSKEY"]),
    ] {
        // The chain's own names say where a gap begins.
        let expected: Vec<String> = expected.into_iter().map(String::from).collect();
        assert_eq!(proven(&data, &key, name, rtype), expected, "{name} {rtype}");
    }
    // Without DO nothing of it is shown, unless asked for.
    let (message, _) = ask(&data, "zzz.example", "A", false).unwrap();
    assert_eq!(message.authorities.len(), 1);
    assert_eq!(ask(&data, "www.example", "RRSIG", true).unwrap().0.answers.len(), 1);
    assert_eq!(data.list()[0].signed_until, Some(2_000));
}

#[test]
fn signed_with_nsec3() {
    let (text, key) = signed(&signed_text(), true);
    let (_files, data) = zones(&[("example", &text)]);
    let hash = |name: &str| {
        let digest =
            Nsec3HashAlgorithm::SHA1.hash(&[0xab], &Name::from_ascii(name).unwrap(), 1).unwrap();
        data_encoding::BASE32HEX_NOPAD.encode(digest.as_ref()).to_ascii_lowercase()
    };
    let mut chain: Vec<String> = text
        .lines()
        .filter(|line| line.contains(" NSEC3 "))
        .map(|line| line[..32].to_ascii_lowercase())
        .collect();
    chain.sort();
    let matching = |name: &str| {
        assert!(chain.contains(&hash(name)), "{name}");
        format!("{}.example. NSEC3", hash(name))
    };
    let covering = |name: &str| {
        let hash = hash(name);
        assert!(!chain.contains(&hash), "{name}");
        format!(
            "{}.example. NSEC3",
            chain.iter().rev().find(|owner| **owner < hash).unwrap_or(chain.last().unwrap())
        )
    };
    let soa = || "example. SOA".to_owned();
    for (name, rtype, expected) in [
        ("www.example", "MX", vec![soa(), matching("www.example.")]),
        (
            "a.zzz.example",
            "A",
            vec![soa(), matching("example."), covering("zzz.example."), covering("*.example.")],
        ),
        ("between.example", "A", vec![soa(), matching("between.example.")]),
        ("foo.w.example", "A", vec!["foo.w.example. A".into(), covering("foo.w.example.")]),
        (
            "a.foo.w.example",
            "MX",
            vec![
                soa(),
                matching("w.example."),
                covering("foo.w.example."),
                matching("*.w.example."),
            ],
        ),
        ("a.sec.example", "A", vec!["sec.example. NS unsigned".into(), "sec.example. DS".into()]),
        (
            "a.unsec.example",
            "A",
            vec![
                "unsec.example. NS unsigned".into(),
                matching("example."),
                covering("unsec.example."),
            ],
        ),
        ("unsec.example", "DS", vec![soa(), matching("example."), covering("unsec.example.")]),
    ] {
        // The same record may prove two things.
        let mut expected: Vec<String> = expected;
        let mut seen = HashSet::new();
        expected.retain(|line| seen.insert(line.clone()));
        let found: Vec<String> = proven(&data, &key, name, rtype)
            .into_iter()
            .map(|line| {
                if line.ends_with("NSEC3") {
                    line.to_ascii_lowercase().replace("nsec3", "NSEC3")
                } else {
                    line
                }
            })
            .collect();
        assert_eq!(found, expected, "{name} {rtype}");
    }
    // Names made of hashes are not there (RFC 5155 section 7.2.8).
    assert_eq!(
        ask(&data, &format!("{}.example", hash("example.")), "NSEC3", false).unwrap().1.kind,
        Kind::NxDomain
    );
}

#[test]
fn a_bad_file_changes_nothing_and_names_the_line() {
    let good = format!("{HEAD}www A 192.0.2.1\n");
    let (files, data) = zones(&[("example", &good)]);
    for (bad, line, word) in [
        ("", None, "no SOA"),
        ("$TTL 1\n@ NS ns\n", None, "no SOA"),
        ("$TTL 1\n@ SOA a b 1 2 3 4 5\n", Some(2), "no NS"),
        (&format!("{HEAD}\n@ SOA a b 1 2 3 4 5\n"), Some(6), "second SOA"),
        (&format!("{HEAD}a SOA a b 1 2 3 4 5\n"), Some(5), "not the apex"),
        (&format!("{HEAD}a A 192.0.2.1\na CNAME b\n"), Some(6), "CNAME and also A"),
        (&format!("{HEAD}a CNAME b\na CNAME c\n"), Some(5), "more than one CNAME"),
        (&format!("{HEAD}a DNAME b\na DNAME c\n"), Some(5), "more than one DNAME"),
        (&format!("{HEAD}a DNAME b\na NS ns\n"), Some(5), "NS and DNAME"),
        (&format!("{HEAD}www.other. A 192.0.2.1\n"), Some(5), "outside the zone"),
        (&format!("{HEAD}a A 192.0.2.256\n"), Some(5), "IPv4"),
        (&format!("{HEAD}a TXT \"open\n"), Some(5), "quoted"),
        (&format!("{HEAD}a TXT (\n\"open\"\n"), Some(5), "parenthesis"),
        (&format!("{HEAD}$INCLUDE example\n"), Some(5), "includes itself"),
        (&format!("{HEAD}$INCLUDE nowhere\n"), Some(5), "can't be included"),
        (&format!("{HEAD}$INCLUDE /etc/passwd\n"), Some(5), "outside the folder"),
        (&format!("{HEAD}$INCLUDE sub/loop\n"), Some(2), "includes itself"),
        (&format!("{HEAD}$INCLUDE deep0\n"), Some(1), "file within another"),
        (&format!("{HEAD}$INCLUDE sub/bad\n"), Some(3), "empty label"),
        (&format!("{HEAD}@ NSEC3PARAM 1 0 501 -\n"), Some(5), "501 iterations"),
        (
            &format!(
                "{HEAD}{}",
                (0..400).map(|n| format!("a TXT {n}{}\n", "x".repeat(200))).collect::<String>()
            ),
            Some(283),
            "bytes of type TXT",
        ),
    ] {
        files.write("sub/loop", "; the way back\n$INCLUDE ../example\n");
        files.write("sub/bad", "\n\na..b A 192.0.2.1\n");
        for depth in 0..10 {
            files.write(&format!("deep{depth}"), &format!("$INCLUDE deep{}\n", depth + 1));
        }
        files.write("deep10", "");
        files.write("example", bad);
        let problems = data.reload("Example.").unwrap_err();
        let found = problems.iter().find(|problem| problem.what.contains(word));
        let found = found.unwrap_or_else(|| panic!("{word}: {problems:?}"));
        assert_eq!(found.line, line, "{found}");
        assert_eq!(data.list()[0].problems, problems);
        assert!(shown(&data, "www.example", "A").starts_with("Answer"), "{word}");
    }
    files.write("example", &good.replace(" 7 ", " 8 ").replace("192.0.2.1\n", "192.0.2.2\n"));
    let reloaded = data.reload("example").unwrap();
    assert_eq!((reloaded.serial, reloaded.records, reloaded.warnings), (8, 4, vec![]));
    assert_eq!(shown(&data, "www.example", "A"), "Answer 300\nwww.example. 300 A 192.0.2.2");
    assert_eq!(data.list()[0].problems, []);
    files.write("example", &good);
    assert!(data.reload("example").unwrap().warnings[0].what.contains("went back from 8 to 7"));
    fs::remove_file(files.path("example")).unwrap();
    assert!(data.reload("example").unwrap_err()[0].to_string().contains("can't be read"));
    assert!(data.reload("nowhere").unwrap_err()[0].what.contains("no zone"));
}

#[test]
fn files_include_others() {
    let text = format!("{HEAD}$INCLUDE more/hosts sub\n A 192.0.2.54\n$INCLUDE more/hosts\n");
    let files = Files::new(&[
        ("example", &text),
        ("more/hosts", "a A 192.0.2.1\n$ORIGIN x\nb A 192.0.2.2\n$INCLUDE ../last\n"),
        ("last", "c A 192.0.2.3\n"),
    ]);
    let summary = check(&files.path("example"), "example.").unwrap();
    assert_eq!((summary.records, summary.serial, summary.warnings), (3 + 1 + 6, 7, vec![]));
    let (data, _) = LocalData::new(&LocalConfig {
        zones: vec![files.zone("example")],
        ..LocalConfig::default()
    });
    for name in [
        "a.sub.example",
        "b.x.sub.example",
        "c.x.sub.example",
        "a.example",
        "b.x.example",
        "c.x.example",
    ] {
        assert!(shown(&data, name, "A").starts_with("Answer"), "{name}");
    }
    assert_eq!(ask(&data, "ns.example", "A", false).unwrap().0.answers.len(), 2);
    assert_eq!(data.list()[0].files.len(), 5);
}

#[test]
fn what_changed_is_read_again() {
    let (files, data) = zones(&[("example", HEAD), ("other", HEAD)]);
    assert_eq!(data.reload_changed_at(later()), []);
    files.write("hosts", "h A 192.0.2.8\n");
    files.write("example", &format!("{HEAD}$INCLUDE hosts\n"));
    let reloaded = data.reload_changed_at(later());
    assert_eq!(reloaded.len(), 1);
    assert_eq!(reloaded[0].as_ref().unwrap().zone, "example");
    files.write("hosts", "h A 192.0.2.8\nbroken\n");
    assert!(data.reload_changed_at(later())[0].is_err());
    assert_eq!(data.reload_changed_at(later()), [], "a bad file is not tried again and again");
    assert!(shown(&data, "h.example", "A").starts_with("Answer"));
    files.write("hosts", "h A 192.0.2.9\nlonger A 192.0.2.8\n");
    assert!(data.reload_changed_at(later())[0].is_ok());
}

#[test]
fn what_may_be_written_still_is_left_for_the_next_time() {
    let (files, data) = zones(&[("example", HEAD)]);
    files.write("example", &format!("{HEAD}h A 192.0.2.8\n"));
    assert_eq!(data.reload_changed_at(SystemTime::now()), []);
    assert_eq!(data.reload_changed_at(later()).len(), 1);
    // What is written to all the time is left once.
    files.write("example", &format!("{HEAD}ho A 192.0.2.8\n"));
    assert_eq!(data.reload_changed_at(SystemTime::now()), []);
    files.write("example", &format!("{HEAD}hos A 192.0.2.8\n"));
    assert_eq!(data.reload_changed_at(SystemTime::now()).len(), 1);
}

#[test]
fn a_file_to_include_is_waited_for() {
    let files = Files::new(&[("example", &format!("{HEAD}$INCLUDE keys\n"))]);
    let config = LocalConfig { zones: vec![files.zone("example")], ..LocalConfig::default() };
    let (data, problems) = LocalData::new(&config);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(data.reload_changed_at(later()), []);
    files.write("keys", "h A 192.0.2.8\n");
    assert!(data.reload_changed_at(later())[0].is_ok());
    assert!(shown(&data, "h.example", "A").starts_with("Answer"));
}

#[test]
fn what_is_served_outlives_a_configuration_that_finds_its_file_bad() {
    let (files, data) = zones(&[("example", HEAD), ("other", HEAD)]);
    files.write("example", "broken");
    let other = files.path("no-list");
    let config = LocalConfig {
        zones: vec![files.zone("example"), files.zone("missing")],
        lists: vec![ListConfig::new("other", other, ListFormat::Ip4Set)],
        ..LocalConfig::default()
    };
    let (renewed, problems) = data.renewed(&config);
    assert!(problems.len() >= 3, "{problems:?}");
    assert!(shown(&renewed, "ns.example", "A").starts_with("Answer"), "the zone of before");
    let status = &renewed.list()[0];
    assert!(status.serial == Some(7) && !status.problems.is_empty(), "{status:?}");
    for name in ["ns.missing", "ns.other"] {
        let (_, answer) = ask(&renewed, name, "A", false).unwrap();
        assert_eq!(answer.kind, Kind::Failed, "{name}: there was none of that kind");
    }
    files.write("example", &format!("{HEAD}h A 192.0.2.8\n"));
    assert!(renewed.reload("example").is_ok());
    assert!(shown(&renewed, "h.example", "A").starts_with("Answer"));
}

#[test]
fn half_a_list_is_none() {
    let (files, data, problems) = lists(ListFormat::Ip4Set, &["203.0.113.0/24\n"]);
    assert_eq!(problems, []);
    let is_listed = |name: &str| shown(&data, name, "A").starts_with("Answer");
    for (text, word) in [("203.0.113.0/2", "not whole"), ("", "is empty")] {
        files.write("0", text);
        let reloaded = data.reload_changed_at(later());
        let problems = reloaded[0].as_ref().unwrap_err();
        assert!(problems[0].what.contains(word), "{problems:?}");
        assert!(is_listed("1.113.0.203.bl.example") && !is_listed("1.2.3.200.bl.example"));
    }
    files.write("0", "# nobody\n");
    assert!(data.reload_changed_at(later())[0].is_ok(), "that is meant");
    assert!(!is_listed("1.113.0.203.bl.example"));
}

#[test]
fn what_is_odd_is_served_with_a_warning() {
    for (text, line, word) in [
        ("a 5 A 192.0.2.1\na 6 A 192.0.2.2\n", 6, "different times"),
        ("a A 192.0.2.1\na A 192.0.2.1\n", 6, "twice"),
        ("a MX 10 b\n", 5, "no address"),
        ("a MX 10 b\nb CNAME ns\n", 5, "alias"),
        ("sub NS ns.sub\n", 5, "no address"),
        ("a DS 1 13 3 ab\n", 5, "not delegated"),
        ("* NS ns\n", 5, "wildcard"),
        ("a RRSIG A 13 2 300 20300101000000 20200101000000 1 @ AQ==\n", 5, "not in the file"),
    ] {
        let files = Files::new(&[("example", &format!("{HEAD}{text}"))]);
        let warnings = check(&files.path("example"), "example").unwrap().warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].line == Some(line) && warnings[0].what.contains(word),
            "{}",
            warnings[0]
        );
    }
}

#[test]
fn never_loaded_is_servfail_and_never_the_internets_answer() {
    let files = Files::new(&[("example", "broken")]);
    let config = LocalConfig {
        zones: vec![
            files.zone("example"),
            files.zone("missing"),
            files.zone("a..b"),
            files.zone("example."),
        ],
        ..LocalConfig::default()
    };
    let (data, problems) = LocalData::new(&config);
    assert!(problems.len() >= 4, "{problems:?}");
    assert!(data.covers(&wire("x.example")));
    let (message, answer) = ask(&data, "x.example", "A", false).unwrap();
    assert_eq!(
        (u16::from(message.metadata.response_code), answer.kind, answer.ttl),
        (2, Kind::Failed, 0)
    );
    files.write("example", HEAD);
    assert_eq!(data.reload_changed_at(later()).iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(shown(&data, "x.example", "A"), format!("NxDomain 60\n{SOA}"));
}

#[test]
fn limits_hold() {
    let files = Files::new(&[("example", &format!("{HEAD}$GENERATE 1-100 h$ A 192.0.2.$\n"))]);
    let config = LocalConfig { zones: vec![files.zone("example")], ..LocalConfig::default() };
    for (limits, word) in [
        (Limits { records: 50, ..Limits::default() }, "more than 50 records"),
        (Limits { bytes: 20, ..Limits::default() }, "20 bytes"),
    ] {
        let (_, problems) = LocalData::build(&config, limits, None);
        assert!(problems.iter().any(|problem| problem.what.contains(word)), "{problems:?}");
    }
}

#[test]
fn private_names_stay_here() {
    let files = Files::new(&[(
        "10.in-addr.arpa",
        &HEAD
            .replace(" A 192.0.2.53", ".example. A 192.0.2.53")
            .replace("ns.example. A 192.0.2.53\n", "*.0.0 PTR host.example.\n"),
    )]);
    let private = LocalConfig { private_zones: true, ..LocalConfig::default() };
    let (data, problems) = LocalData::new(&private);
    assert_eq!(problems, []);
    for (name, rtype, kind) in [
        ("1.2.3.10.in-addr.arpa", "PTR", Kind::NxDomain),
        ("10.in-addr.arpa", "A", Kind::NoData),
        ("10.in-addr.arpa", "NS", Kind::Answer),
        ("1.0.16.172.in-addr.arpa", "PTR", Kind::NxDomain),
        ("1.1.31.172.in-addr.arpa", "PTR", Kind::NxDomain),
        ("1.1.168.192.in-addr.arpa", "PTR", Kind::NxDomain),
        ("1.0.0.127.in-addr.arpa", "PTR", Kind::Answer),
        ("1.0.64.100.in-addr.arpa", "PTR", Kind::NxDomain),
        ("255.255.255.255.in-addr.arpa", "PTR", Kind::NoData),
        (
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa",
            "PTR",
            Kind::Answer,
        ),
        ("8.b.d.0.1.0.0.2.ip6.arpa", "SOA", Kind::Answer),
        ("1.d.f.ip6.arpa", "PTR", Kind::NxDomain),
        ("localhost", "A", Kind::Answer),
        ("a.localhost", "AAAA", Kind::Answer),
        ("localhost", "MX", Kind::NoData),
        ("x.onion", "A", Kind::NxDomain),
        ("x.test", "A", Kind::NxDomain),
        ("x.home.arpa", "A", Kind::NxDomain),
        ("test", "DS", Kind::ParentDs),
        ("_dns.resolver.arpa", "SVCB", Kind::NoData),
    ] {
        assert_eq!(
            ask(&data, name, rtype, true).map(|(_, answer)| answer.kind),
            Some(kind),
            "{name} {rtype}"
        );
    }
    for name in [
        "1.0.15.172.in-addr.arpa",
        "1.0.32.172.in-addr.arpa",
        "1.1.1.11.in-addr.arpa",
        "1.0.63.100.in-addr.arpa",
        "arpa",
        "printer.local",
        ".",
    ] {
        assert!(!data.covers(&wire(name)), "{name}");
    }
    assert_eq!(
        shown(&data, "1.0.0.127.in-addr.arpa", "PTR"),
        "Answer 10800\n1.0.0.127.in-addr.arpa. 10800 PTR localhost."
    );
    // An operator's zone takes ours' place; a route does, and leaves what is above.
    let config = LocalConfig { zones: vec![files.zone("10.in-addr.arpa")], ..private }.without([
        "168.192.in-addr.arpa",
        "1.17.172.in-addr.arpa",
        "5.10.in-addr.arpa",
    ]);
    let (data, problems) = LocalData::new(&config);
    assert_eq!(problems, []);
    for (name, covered) in [
        ("1.0.0.10.in-addr.arpa", true),
        ("1.5.10.in-addr.arpa", false),
        ("1.1.168.192.in-addr.arpa", false),
        ("1.1.17.172.in-addr.arpa", false),
        ("1.2.17.172.in-addr.arpa", true),
    ] {
        assert_eq!(data.covers(&wire(name)), covered, "{name}");
    }
    assert!(shown(&data, "1.0.0.10.in-addr.arpa", "PTR").contains("PTR host.example."));
    assert_eq!(data.list()[0].kind, ZoneKind::Zone);
}

fn lists(format: ListFormat, texts: &[&str]) -> (Files, LocalData, Vec<Problem>) {
    let files = Files::new(&[]);
    let mut config = ListConfig::new("bl.example", files.path("0"), format);
    config.files = (0..texts.len()).map(|index| files.path(&index.to_string())).collect();
    for (index, text) in texts.iter().enumerate() {
        files.write(&index.to_string(), text);
    }
    let (data, problems) =
        LocalData::new(&LocalConfig { lists: vec![config], ..LocalConfig::default() });
    (files, data, problems)
}

#[test]
fn lists_of_addresses() {
    let first = "$SOA 3600 ns.example admin.example 5 600 300 86400 60\n$NS 3600 ns.example\n$TTL 300\n$1 see\n# comment\n192.0.2.1\n127.0.0.2 :2: test point $\n\
                 10.0.0.0/8 :4:$1 http://bl/?$\n!10.1 \n10.1.2.3 only text $$\n:9:default $\n198.51.100.1-9 ; comment\n";
    let (_files, data, problems) = lists(ListFormat::Ip4Set, &[first, "192.0.2.1 :3:second\n"]);
    assert_eq!(problems, []);
    let soa = "+bl.example. 60 SOA ns.example. admin.example. 5 600 300 86400 60";
    story(
        &data,
        &[
            (
                "1.2.0.192.bl.example",
                "A",
                &[
                    "Answer 300",
                    "1.2.0.192.bl.example. 300 A 127.0.0.2",
                    "1.2.0.192.bl.example. 300 A 127.0.0.3",
                ],
            ),
            (
                "1.2.0.192.bl.example",
                "TXT",
                &["Answer 300", "1.2.0.192.bl.example. 300 TXT second"],
            ),
            ("2.0.0.127.bl.example", "A", &["Answer 300", "2.0.0.127.bl.example. 300 A 127.0.0.2"]),
            (
                "2.0.0.127.bl.example",
                "TXT",
                &["Answer 300", "2.0.0.127.bl.example. 300 TXT test point 127.0.0.2"],
            ),
            ("1.0.0.127.bl.example", "A", &["NxDomain 60", soa]),
            (
                "4.3.2.10.bl.example",
                "TXT",
                &["Answer 300", "4.3.2.10.bl.example. 300 TXT see http://bl/?10.2.3.4"],
            ),
            ("4.3.1.10.bl.example", "A", &["NxDomain 60", soa]),
            (
                "3.2.1.10.bl.example",
                "TXT",
                &["Answer 300", "3.2.1.10.bl.example. 300 TXT only text $"],
            ),
            ("3.2.1.10.bl.example", "A", &["Answer 300", "3.2.1.10.bl.example. 300 A 127.0.0.2"]),
            ("3.2.1.10.bl.example", "AAAA", &["NoData 60", soa]),
            (
                "9.100.51.198.bl.example",
                "ANY",
                &["Answer 300", "9.100.51.198.bl.example. 300 A 127.0.0.9"],
            ),
            ("10.100.51.198.bl.example", "A", &["NxDomain 60", soa]),
            // Names between (RFC 8020), and names that are no addresses.
            ("10.bl.example", "A", &["NoData 60", soa]),
            ("51.198.bl.example", "A", &["NoData 60", soa]),
            ("52.198.bl.example", "A", &["NxDomain 60", soa]),
            ("01.2.0.192.bl.example", "A", &["NxDomain 60", soa]),
            ("x.1.2.0.192.bl.example", "A", &["NxDomain 60", soa]),
            ("256.2.0.192.bl.example", "A", &["NxDomain 60", soa]),
            ("bl.example", "NS", &["Answer 300", "bl.example. 300 NS ns.example."]),
            ("bl.example", "A", &["NoData 60", soa]),
        ],
    );
    assert_eq!(data.list()[0].serial, Some(5));
}

#[test]
fn lists_of_names() {
    let (_files, data, problems) = lists(
        ListFormat::DnSet,
        &[":2:listed $\nBad.example\n.all.example :3:\n*.sub.example\n!ok.sub.example\ntest\n"],
    );
    assert_eq!(problems, []);
    for (name, rtype, expected) in [
        ("bad.example.bl.example", "A", "Answer 2100\nbad.example.bl.example. 2100 A 127.0.0.2"),
        (
            "bad.example.bl.example",
            "TXT",
            "Answer 2100\nbad.example.bl.example. 2100 TXT listed bad.example",
        ),
        (
            "x.all.example.bl.example",
            "A",
            "Answer 2100\nx.all.example.bl.example. 2100 A 127.0.0.3",
        ),
        ("all.example.bl.example", "TXT", "NoData"),
        ("x.bad.example.bl.example", "A", "NxDomain"),
        ("sub.example.bl.example", "A", "NoData"),
        ("x.sub.example.bl.example", "A", "Answer"),
        ("ok.sub.example.bl.example", "A", "NoData"),
        ("example.bl.example", "A", "NoData"),
        ("com.bl.example", "A", "NxDomain"),
        ("bl.example", "SOA", "Answer"),
    ] {
        let found = shown(&data, name, rtype);
        assert!(found.starts_with(expected), "{name} {rtype}: {found}");
    }
}

#[test]
fn a_bad_list_changes_nothing() {
    let (files, data, problems) =
        lists(ListFormat::Ip4Set, &["192.0.2.1\nnonsense\n192.0.2.2\n$MAXRANGE4 /24\n10/8\n"]);
    assert_eq!(problems, []);
    let status = &data.list()[0];
    assert_eq!(status.records, 2);
    assert_eq!(
        status.warnings.iter().map(|warning| warning.line).collect::<Vec<_>>(),
        [Some(2), Some(5)]
    );
    let page: String = (0..30).map(|line| format!("<p>{line}</p>\n")).collect();
    for bad in [page.clone(), format!("192.0.2.9\n{page}")] {
        files.write("0", &bad);
        let problems = data.reload("bl.example").unwrap_err();
        assert!(problems[0].what.contains("30 lines are no entries"), "{problems:?}");
        assert!(problems[1].line.is_some());
        assert!(shown(&data, "1.2.0.192.bl.example", "A").starts_with("Answer"));
    }
    let mut config = ListConfig::new("bl", files.path("none"), ListFormat::DnSet);
    assert!(check_list(&config).is_err());
    config.files = vec![files.path("0")];
    files.write("0", "a.example\n");
    assert_eq!(check_list(&config).unwrap().records, 1);
}

#[test]
fn answers_go_on_while_a_list_is_read() {
    let (files, data, _) = lists(ListFormat::Ip4Set, &["192.0.2.1\n"]);
    let name = wire("1.2.0.192.bl.example");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            (0..2_000).all(|_| {
                matches!(data.answer(&name, 1, false), Some(LocalAnswer { kind: Kind::Answer, .. }))
            })
        });
        for round in 0..20 {
            files.write("0", &format!("192.0.2.1\n10.0.0.{round}\n"));
            data.reload("bl.example").unwrap();
        }
        assert!(reader.join().unwrap());
    });
}
