use proptest::prelude::*;

use super::*;

#[test]
fn written_one_way() {
    for (text, name) in [
        ("example.org", "example.org"),
        ("EXAMPLE.Org", "example.org"),
        ("localhost", "localhost"),
        ("a-b.1c.x9", "a-b.1c.x9"),
        ("_dmarc.example.org", "_dmarc.example.org"),
        ("1.2.3.a4", "1.2.3.a4"),
        ("B\u{fc}cher.example", "xn--bcher-kva.example"),
        ("XN--Bcher-Kva.example", "xn--bcher-kva.example"),
        // A final sigma is its own letter now, and so is the sharp s (UTS 46, nontransitional).
        ("stra\u{df}e.example", "xn--strae-oqa.example"),
        ("\u{ff45}xample\u{3002}org", "example.org"),
        ("\u{4f8b}\u{5b50}.\u{6d4b}\u{8bd5}", "xn--fsqu00a.xn--0zwm56d"),
    ] {
        assert_eq!(Domain::parse(text).unwrap().as_str(), name, "{text}");
    }
}

#[test]
fn for_people() {
    for name in ["b\u{fc}cher.example", "example.org", "\u{4f8b}\u{5b50}.\u{6d4b}\u{8bd5}"] {
        assert_eq!(Domain::parse(name).unwrap().to_unicode(), name);
    }
}

#[test]
fn what_is_none() {
    let long = format!("{}.example", "a".repeat(64));
    let deep = format!("{}org", "a123456789.".repeat(23));
    assert_eq!(deep.len(), 256);
    for (text, error) in [
        ("", DomainError::Empty),
        (".", DomainError::EmptyLabel),
        ("example.org.", DomainError::EmptyLabel),
        (".example.org", DomainError::EmptyLabel),
        ("example..org", DomainError::EmptyLabel),
        ("-a.example", DomainError::Hyphen),
        ("a-.example", DomainError::Hyphen),
        ("a b.example", DomainError::Character),
        ("a@example", DomainError::Character),
        ("a\r\n.example", DomainError::Character),
        ("a\0.example", DomainError::Character),
        ("[192.0.2.1]", DomainError::Character),
        ("192.0.2.1", DomainError::Number),
        ("a.1", DomainError::Number),
        (&long, DomainError::TooLong),
        (&deep, DomainError::TooLong),
        (&"\u{e9}".repeat(2000), DomainError::TooLong),
        ("xn--\u{e9}", DomainError::International),
        ("xn--zzzzzz99999", DomainError::International),
        ("\u{fffd}.example", DomainError::International),
        // It would become a/c, which is none.
        ("\u{2100}.example", DomainError::Character),
    ] {
        assert_eq!(Domain::parse(text), Err(error), "{text}");
    }
    assert!(Domain::parse(&format!("{}.{}", "a".repeat(63), "b".repeat(63))).is_ok());
}

#[test]
fn above_and_within() {
    let domain = |text| Domain::parse(text).unwrap();
    assert_eq!(domain("mail.example.org").parent(), Some("example.org"));
    assert_eq!(domain("org").parent(), None);
    for (inner, outer, is) in [
        ("example.org", "example.org", true),
        ("mail.example.org", "example.org", true),
        ("badexample.org", "example.org", false),
        ("org", "example.org", false),
    ] {
        assert_eq!(domain(inner).is_within(&domain(outer)), is, "{inner} {outer}");
    }
}

#[test]
fn stored_as_text() {
    let domain = Domain::parse("B\u{fc}cher.example").unwrap();
    let json = serde_json::to_string(&domain).unwrap();
    assert_eq!(json, "\"xn--bcher-kva.example\"");
    assert_eq!(serde_json::from_str::<Domain>(&json).unwrap(), domain);
    assert!(serde_json::from_str::<Domain>("\"a b\"").is_err());
}

proptest! {
    #[test]
    fn read_again(text in "[a-zA-Z0-9_.-]{0,80}|\\PC{0,40}|(xn--)?[a-z0-9\u{e4}-\u{fc}-]{1,20}\\.[a-z]{2}") {
        if let Ok(domain) = Domain::parse(&text) {
            prop_assert!(domain.as_str().len() <= LONGEST_DOMAIN);
            prop_assert!(domain.as_str().bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.')));
            prop_assert_eq!(Domain::parse(domain.as_str()), Ok(domain.clone()));
            prop_assert_eq!(Domain::parse(&domain.to_unicode()), Ok(domain));
        }
    }
}
