use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

fn make(folder: &Path, file: &str, names: &[&str]) -> CertificateFiles {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters.not_after = date_time_ymd(2049, 12, 31);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let files = CertificateFiles {
        chain: folder.join(format!("{file}.pem")),
        key: folder.join(format!("{file}.key")),
    };
    fs::write(&files.chain, certificate.pem()).unwrap();
    fs::write(&files.key, key.serialize_pem()).unwrap();
    files
}

#[test]
fn by_name() {
    let folder = tempfile::tempdir().unwrap();
    let files = vec![
        make(folder.path(), "first", &["mx.example.net"]),
        make(folder.path(), "second", &["Mail.example.org", "*.example.org"]),
    ];
    let certificates = Certificates::load(files).unwrap();
    let facts = certificates.facts();
    assert_eq!(facts[1].names, ["mail.example.org", "*.example.org"]);
    assert_eq!(facts[0].expires, Some(2_524_521_600));
    let loaded = certificates.loaded.load();
    for (name, which) in [
        ("mx.example.net", &[0][..]),
        ("MX.example.net.", &[0]),
        ("mail.example.org", &[1]),
        ("other.example.org", &[1]),
        ("two.labels.example.org", &[]),
        ("example.org", &[]),
        ("", &[]),
    ] {
        assert_eq!(loaded.having(name), which, "{name}");
    }
}

#[test]
fn read_again() {
    let folder = tempfile::tempdir().unwrap();
    let files = make(folder.path(), "one", &["mx.example.net"]);
    let certificates = Certificates::load(vec![files.clone()]).unwrap();
    assert!(!certificates.reload().unwrap());

    make(folder.path(), "one", &["mx.example.net", "mx2.example.net"]);
    assert!(certificates.reload().unwrap());
    assert_eq!(certificates.facts()[0].names.len(), 2);

    // A renewal that was caught halfway changes nothing.
    make(folder.path(), "two", &["mx.example.net"]);
    fs::copy(folder.path().join("two.key"), &files.key).unwrap();
    assert!(matches!(certificates.reload(), Err(TlsError::Pair { .. })));
    fs::write(&files.chain, "").unwrap();
    assert!(matches!(certificates.reload(), Err(TlsError::Empty(_))));
    fs::remove_file(&files.chain).unwrap();
    assert!(matches!(certificates.reload(), Err(TlsError::File { .. })));
    assert_eq!(certificates.facts()[0].names.len(), 2);
    assert!(matches!(Certificates::load(vec![]), Err(TlsError::None)));
}
