use std::slice::from_ref;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    GeneralSubtree, IsCa, KeyPair, NameConstraints, date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::*;
use crate::tls::{Trust, provider};

const SHA256: u8 = 1;
const SHA512: u8 = 2;

type Der = CertificateDer<'static>;

/// A root, who is between it and servers, and somebody else.
struct World {
    root: CertifiedIssuer<'static, KeyPair>,
    between: CertifiedIssuer<'static, KeyPair>,
    other: CertifiedIssuer<'static, KeyPair>,
}

fn named(names: &[&str], common_name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters.not_after = date_time_ymd(2040, 1, 1);
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters
}

fn authority(common_name: &str) -> CertificateParams {
    let mut parameters = named(&[], common_name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters
}

impl World {
    fn new() -> Self {
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(authority("root"), key()).unwrap();
        let between = CertifiedIssuer::signed_by(authority("between"), key(), &root).unwrap();
        let other = CertifiedIssuer::self_signed(authority("other"), key()).unwrap();
        Self { root, between, other }
    }

    /// A server's certificate, signed by the one in between.
    fn server(&self, parameters: &CertificateParams) -> Der {
        parameters.signed_by(&KeyPair::generate().unwrap(), &self.between).unwrap().der().clone()
    }
}

fn key(certificate: &Der) -> Vec<u8> {
    der::certificate(certificate).unwrap().key.to_vec()
}

/// A record that speaks of a certificate.
fn record(usage: u8, selector: u8, matching: u8, certificate: &Der) -> Tlsa {
    let part = if selector == 0 { certificate.to_vec() } else { key(certificate) };
    let data = match matching {
        SHA256 => digest::digest(&digest::SHA256, &part).as_ref().to_vec(),
        SHA512 => digest::digest(&digest::SHA512, &part).as_ref().to_vec(),
        _ => part,
    };
    Tlsa { usage, selector, matching, data }
}

fn at(year: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_556_952))
}

/// What comes of it: nothing if all is well.
fn check(records: &[Tlsa], next_hops: &[&str], leaf: &Der, chain: &[Der], year: u64) -> String {
    let dane =
        Dane::new("MX.example.org.", next_hops.iter().copied(), records.iter().cloned()).unwrap();
    match dane.verify(leaf, chain, at(year)) {
        Ok(()) => String::new(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn which_records_can_be_used() {
    let world = World::new();
    let server = world.server(&named(&["mx.example.org"], "server"));
    for usage in 0..=5 {
        for selector in 0..=2 {
            for matching in 0..=3 {
                let one = record(usage, selector.min(1), matching, &server);
                let one = Tlsa { selector, ..one };
                let expected = matches!(usage, 2 | 3) && selector < 2 && matching < 3;
                let usable = Dane::new("mx.example.org", [], [one]).is_some();
                assert_eq!(usable, expected, "{usage} {selector} {matching}");
            }
        }
    }
    // Data that can't be what it should be.
    for (matching, data) in [(0, vec![]), (0, vec![7; 300]), (1, vec![7; 31]), (2, vec![7; 32])] {
        for (usage, selector) in [(2, 0), (2, 1), (3, 0), (3, 1)] {
            let one = Tlsa { usage, selector, matching, data: data.clone() };
            assert_eq!(
                Dane::new("mx.example.org", [], [one]),
                None,
                "{usage} {selector} {matching}"
            );
        }
    }
    // One that can't be used takes nothing from one that can.
    let records = [record(0, 0, 1, &server), record(3, 1, 1, &server), record(3, 9, 1, &server)];
    assert_eq!(Dane::new("mx.example.org", [], records).unwrap().usable(), 1);
    assert_eq!(Dane::new("mx.example.org", [], []), None);
}

/// DANE-EE(3): the server itself, of whatever name and age.
#[test]
fn servers_themselves() {
    let world = World::new();
    let server = world.server(&named(&["elsewhere.example"], "server"));
    let other = world.server(&named(&["mx.example.org"], "server"));
    let chain = [world.between.der().clone()];
    for selector in 0..=1 {
        for matching in 0..=2 {
            let one = record(3, selector, matching, &server);
            for year in [2010, 2026, 2050] {
                let said = check(from_ref(&one), &[], &server, &chain, year);
                assert_eq!(said, "", "{selector} {matching} {year}");
            }
            // Nothing else need be shown.
            assert_eq!(check(from_ref(&one), &[], &server, &[], 2026), "");
            let said = check(&[one], &[], &other, &chain, 2026);
            assert_eq!(
                said,
                "none of the 1 TLSA records that can be used fits the server's certificates"
            );
        }
    }
    // One of several: while a key is changed.
    let records = [record(3, 1, 1, &other), record(3, 1, 1, &server)];
    assert_eq!(check(&records, &[], &server, &chain, 2026), "");
    // What the chain has is not the server.
    let said = check(&[record(3, 1, 1, &chain[0])], &[], &server, &chain, 2026);
    assert!(said.starts_with("none of"), "{said}");
    let none = Der::from(b"no certificate".to_vec());
    let said = check(&[record(3, 1, 1, &server)], &[], &none, &[], 2026);
    assert_eq!(said, "the server's certificate can't be read");
}

/// RFC 7671 section 9: the weaker digest says nothing where there is a stronger one.
#[test]
fn the_strongest_digest_counts() {
    let world = World::new();
    let server = world.server(&named(&["mx.example.org"], "server"));
    let other = world.server(&named(&["mx.example.org"], "server"));
    let weak = record(3, 1, SHA256, &server);
    for (strong, fits) in [
        (record(3, 1, SHA512, &other), false),
        (record(3, 1, SHA512, &server), true),
        // Of another part, or of another usage, it is about something else.
        (record(3, 0, SHA512, &other), true),
        (record(2, 1, SHA512, &other), true),
        (record(3, 1, 0, &other), true),
    ] {
        let said = check(&[weak.clone(), strong.clone()], &[], &server, &[], 2026);
        assert_eq!(said.is_empty(), fits, "{strong:?}: {said}");
    }
}

/// DANE-TA(2): who signed, for a name that the server may have, and now.
#[test]
fn those_who_sign() {
    let world = World::new();
    let of = |issuer: &CertifiedIssuer<'static, KeyPair>| issuer.der().clone();
    let (root, between, other) = (of(&world.root), of(&world.between), of(&world.other));
    let server = world.server(&named(&["mx.example.org"], "server"));
    let direct = named(&["mx.example.org"], "server")
        .signed_by(&KeyPair::generate().unwrap(), &world.root)
        .unwrap()
        .der()
        .clone();
    let full = [between.clone(), root.clone()];
    let short = [between.clone()];
    let mixed = [other.clone(), root.clone(), between.clone()];
    let signed = "another signed it";
    for selector in 0..=1 {
        for matching in 0..=2 {
            // What a digest stands for has to be shown, and what a record has whole need not be.
            let whole = matching == 0;
            for (what, anchor, leaf, chain, expected) in [
                ("root", &root, &server, &full[..], ""),
                ("root", &root, &server, &mixed, ""),
                ("root", &root, &direct, &full[1..], ""),
                ("between", &between, &server, &full, ""),
                ("between", &between, &server, &short, ""),
                ("root that is not shown", &root, &server, &short, if whole { "" } else { "none" }),
                ("root that is not shown", &root, &direct, &[], if whole { "" } else { "none" }),
                ("one that is not shown", &root, &server, &full[1..], signed),
                ("other", &other, &server, &mixed, signed),
                (
                    "other that is not shown",
                    &other,
                    &server,
                    &full,
                    if whole { signed } else { "none" },
                ),
                // The server is not who signed it.
                ("server", &server, &server, &full, if whole { signed } else { "none" }),
            ] {
                let one = [record(2, selector, matching, anchor)];
                let said = check(&one, &[], leaf, chain, 2026);
                let about = format!("{what} {selector} {matching}: {said}");
                match expected {
                    "" => assert_eq!(said, "", "{about}"),
                    "none" => assert!(said.starts_with("none of"), "{about}"),
                    // A key without a name is taken for that of whoever signed: the signature tells.
                    _ => assert!(said.contains("does not hold"), "{about}"),
                }
            }
            let one = [record(2, selector, matching, &root)];
            let said = check(&one, &[], &server, &full, 2050);
            assert!(said.ends_with("it has expired"), "{said}");
            let said = check(&one, &[], &server, &full, 2010);
            assert!(said.ends_with("it is not valid yet"), "{said}");
        }
    }
    // A record of the server itself helps whatever is with those who signed.
    let records = [record(2, 1, 1, &other), record(3, 1, 1, &server)];
    assert_eq!(check(&records, &[], &server, &mixed, 2050), "");
}

/// RFC 7672 section 3.2.
#[test]
fn names_that_a_certificate_may_have() {
    let world = World::new();
    let root = world.root.der().clone();
    let chain = [world.between.der().clone(), root.clone()];
    let records = [record(2, 1, 1, &root)];
    for (names, next_hops, fits) in [
        (&["mx.example.org"][..], &["example.net"][..], true),
        (&["MX.Example.ORG"], &[], true),
        (&["*.example.org"], &[], true),
        (&["*.org"], &[], false),
        (&["*.mx.example.org"], &[], false),
        (&["example.org"], &[], false),
        (&["other.example.org"], &[], false),
        // The domain that the mail is for, and where its aliases lead.
        (&["example.net"], &["example.net"], true),
        (&["example.net"], &["example.com", "Example.Net."], true),
        (&["example.net"], &["example.com"], false),
        (&["a.example", "b.example", "mx.example.org"], &[], true),
    ] {
        let server = world.server(&named(names, "mx.example.org"));
        let said = check(&records, next_hops, &server, &chain, 2026);
        assert_eq!(said.is_empty(), fits, "{names:?} {next_hops:?}: {said}");
    }
    let server = world.server(&named(&["x.example"], "mx.example.org"));
    assert_eq!(
        check(&records, &["example.net"], &server, &chain, 2026),
        "a TLSA record fits, but the server's certificate is for x.example, and not for mx.example.org, example.net"
    );
}

/// RFC 7672 section 3.2.3: common names count where there is no other.
#[test]
fn common_names_alone() {
    let world = World::new();
    let root = world.root.der().clone();
    let by = |issuer: &CertifiedIssuer<'static, KeyPair>, name: &str| {
        let key = KeyPair::generate().unwrap();
        named(&[], name).signed_by(&key, issuer).unwrap().der().clone()
    };
    let records = [record(2, 1, 1, &root)];
    let chain = [root];
    assert_eq!(check(&records, &[], &by(&world.root, "mx.example.org"), &chain, 2026), "");
    assert_eq!(check(&records, &[], &by(&world.root, "*.example.org"), &chain, 2026), "");
    let said = check(&records, &[], &by(&world.root, "mail.example.org"), &chain, 2026);
    assert!(said.contains("is for mail.example.org, and not"), "{said}");

    // Nobody may give himself a name that whoever signed him was not to give.
    let mut bounded = authority("bounded");
    bounded.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("example.com".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    let bounded = CertifiedIssuer::self_signed(bounded, KeyPair::generate().unwrap()).unwrap();
    let chain = [bounded.der().clone()];
    let records = [record(2, 1, 1, &chain[0])];
    let said = check(&records, &[], &by(&bounded, "mx.example.org"), &chain, 2026);
    assert!(said.contains("is for nobody"), "{said}");
}

#[test]
fn what_is_no_certificate_harms_nobody() {
    let world = World::new();
    let server = world.server(&named(&["mx.example.org"], "server"));
    let records = [record(3, 1, 1, &server), record(2, 0, 0, world.root.der())];
    for length in 0..server.len() {
        let cut = Der::from(server[..length].to_vec());
        assert!(!check(&records, &[], &cut, from_ref(&cut), 2026).is_empty(), "{length}");
    }
}

/// A handshake with a server that shows a certificate and has a key.
fn shake_hands(
    version: &'static SupportedProtocolVersion,
    records: &[Tlsa],
    shown: &Der,
    key: &KeyPair,
) -> Result<(), rustls::Error> {
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let private = provider().key_provider.load_private_key(private).unwrap();
    let certified = CertifiedKey::new(vec![shown.clone()], private);
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let dane = Dane::new("mx.example.org", [], records.iter().cloned()).unwrap();
    let name = ServerName::try_from(dane.base().to_owned()).unwrap();
    let client = Trust::by_dane(Arc::new(dane)).unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = &wire[..];
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(server.server_name(), Some("mx.example.org"));
    Ok(())
}

/// Whoever shows a certificate has to have its key, whatever the record says.
#[test]
fn a_certificate_alone_proves_nothing() {
    let parameters = named(&["mx.example.org"], "server");
    for algorithm in
        [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
    {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let stolen = KeyPair::generate_for(algorithm).unwrap();
        let server = parameters.self_signed(&key).unwrap().der().clone();
        let other = parameters.self_signed(&stolen).unwrap().der().clone();
        for version in [&TLS12, &TLS13] {
            let good = [record(3, 1, 1, &server)];
            assert_eq!(shake_hands(version, &good, &server, &key), Ok(()), "{version:?}");
            let forged = shake_hands(version, &good, &server, &stolen).unwrap_err();
            assert_eq!(forged, CertificateError::BadSignature.into(), "{version:?} {algorithm:?}");
            let refused = shake_hands(version, &[record(3, 1, 1, &other)], &server, &key);
            let refused = std::io::Error::other(refused.unwrap_err());
            assert_eq!(refusal(&refused), Some(DaneError::NoMatch(1)), "{version:?}");
        }
    }
    assert_eq!(refusal(&std::io::Error::other("something else")), None);
}
