use proptest::prelude::*;

use super::*;

#[test]
fn written_one_way() {
    for (text, wire) in [
        ("user@example.org", "user@example.org"),
        ("User@EXAMPLE.org", "User@example.org"),
        ("a.b.c+d@example.org", "a.b.c+d@example.org"),
        ("!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~@example.org"),
        // Needless quotes go, needed ones stay.
        ("\"user\"@example.org", "user@example.org"),
        ("\"u\\ser\"@example.org", "user@example.org"),
        ("\"a.b\"@example.org", "a.b@example.org"),
        ("\"a b\"@example.org", "\"a b\"@example.org"),
        ("\"a@b\"@example.org", "\"a@b\"@example.org"),
        ("\"a..b\"@example.org", "\"a..b\"@example.org"),
        ("\".a\"@example.org", "\".a\"@example.org"),
        ("\"a\\\"b\\\\c\"@example.org", "\"a\\\"b\\\\c\"@example.org"),
        ("\" \"@example.org", "\" \"@example.org"),
        ("user@[192.0.2.1]", "user@[192.0.2.1]"),
        ("user@[IPv6:2001:DB8::1]", "user@[IPv6:2001:db8::1]"),
        ("user@[ipv6:::1]", "user@[IPv6:::1]"),
        ("\u{fc}ser@b\u{fc}cher.example", "\u{fc}ser@xn--bcher-kva.example"),
        ("\"\u{fc} ser\"@example.org", "\"\u{fc} ser\"@example.org"),
    ] {
        let address = Address::parse(text).unwrap();
        assert_eq!(address.to_string(), wire, "{text}");
        assert_eq!(Address::parse(wire), Ok(address.clone()));
        assert_eq!(address.needs_utf8(), !wire.is_ascii());
    }
}

#[test]
fn what_is_none() {
    let long = format!("{}@example.org", "a".repeat(65));
    let quoted = format!("\"{} \"@example.org", "a".repeat(62));
    let wide = format!("{}@example.org", "\u{e9}".repeat(33));
    for (text, error) in [
        ("", AddressError::Incomplete),
        ("user", AddressError::Incomplete),
        ("@example.org", AddressError::Incomplete),
        ("user@", AddressError::Domain(DomainError::Empty)),
        ("\"\"@example.org", AddressError::Incomplete),
        (".a@example.org", AddressError::Character),
        ("a.@example.org", AddressError::Character),
        ("a..b@example.org", AddressError::Character),
        ("a b@example.org", AddressError::Incomplete),
        ("a@b@example.org", AddressError::Domain(DomainError::Character)),
        ("a\"b\"@example.org", AddressError::Incomplete),
        ("\"a\"b@example.org", AddressError::Incomplete),
        ("\"a@example.org", AddressError::Quote),
        ("\"a\\", AddressError::Quote),
        ("\"a\\\u{e9}\"@example.org", AddressError::Quote),
        ("\"a\tb\"@example.org", AddressError::Character),
        ("\"a\r\nb\"@example.org", AddressError::Character),
        ("a\0b@example.org", AddressError::Incomplete),
        ("a\u{85}b@example.org", AddressError::Incomplete),
        ("a\u{2028}b@example.org", AddressError::Incomplete),
        ("(a)b@example.org", AddressError::Incomplete),
        ("<a@example.org>", AddressError::Incomplete),
        ("a@192.0.2.1", AddressError::Domain(DomainError::Number)),
        ("a@[192.0.2]", AddressError::Literal),
        ("a@[192.0.2.1", AddressError::Literal),
        ("a@[192.0.2.1]x", AddressError::Literal),
        ("a@[2001:db8::1]", AddressError::Literal),
        ("a@[IPv6:192.0.2.1]", AddressError::Literal),
        ("a@[tag:x]", AddressError::Literal),
        ("a@[]", AddressError::Literal),
        ("a@ example.org", AddressError::Domain(DomainError::Character)),
        (&long, AddressError::TooLong),
        (&quoted, AddressError::TooLong),
        (&wide, AddressError::TooLong),
    ] {
        assert_eq!(Address::parse(text), Err(error), "{text}");
    }
    assert!(Address::parse(&long[1..]).is_ok());
    assert!(Address::parse(&wide["\u{e9}".len()..]).is_ok());
}

#[test]
fn folded() {
    for (local, key) in [
        ("user", "user"),
        ("USER", "user"),
        ("\u{dc}ser", "\u{fc}ser"),
        // Composed and not.
        ("u\u{308}ser", "\u{fc}ser"),
        ("U\u{308}ser", "\u{fc}ser"),
    ] {
        assert_eq!(LocalPart::new(local).unwrap().folded(), key);
    }
    assert!(matches!(LocalPart::new("user").unwrap().folded(), Cow::Borrowed(_)));
}

#[test]
fn details() {
    for (local, detail) in [
        ("user+lists", Some(("user", "lists"))),
        ("user+a+b", Some(("user", "a+b"))),
        ("user+", Some(("user", ""))),
        ("user", None),
        ("+user", None),
    ] {
        assert_eq!(LocalPart::new(local).unwrap().detail('+'), detail);
    }
}

#[test]
fn for_people() {
    let address = Address::parse("user@xn--bcher-kva.example").unwrap();
    assert_eq!(address.to_unicode(), "user@b\u{fc}cher.example");
    assert_eq!(Address::parse("user@[192.0.2.1]").unwrap().to_unicode(), "user@[192.0.2.1]");
}

#[test]
fn parts() {
    assert_eq!(LocalPart::parse("\"a b\"").unwrap().as_str(), "a b");
    assert_eq!(LocalPart::parse("a b"), Err(AddressError::Character));
    assert_eq!(LocalPart::new(""), Err(AddressError::Incomplete));
    assert_eq!(LocalPart::new("a\nb"), Err(AddressError::Character));
    let address =
        Address::new(LocalPart::new("a b").unwrap(), Domain::parse("example.org").unwrap());
    assert_eq!(address.to_string(), "\"a b\"@example.org");
    assert_eq!(address.domain().unwrap().as_str(), "example.org");
    assert_eq!(Address::parse("a@[192.0.2.1]").unwrap().domain(), None);
}

proptest! {
    /// Whatever can be a local part is read again as what it was, and lets nothing else onto the line.
    #[test]
    fn read_again(content in "\\PC{0,70}|[ -~]{1,64}|[a-z.@\" \\\\]{1,20}") {
        if let Ok(local) = LocalPart::new(&content) {
            prop_assert_eq!(local.as_str(), &*content);
            let wire = local.to_string();
            prop_assert!(wire.len() <= LONGEST_LOCAL_PART);
            prop_assert_eq!(LocalPart::parse(&wire), Ok(local.clone()));
            let address = Address::new(local, Domain::parse("example.org").unwrap());
            prop_assert_eq!(Address::parse(&address.to_string()), Ok(address));
        }
    }

    #[test]
    fn anything(text in "\\PC{0,40}|[a-z.@\"\\[\\]:<> \\\\]{0,40}|.{0,40}") {
        crate::fuzzing::addresses(&text);
        crate::fuzzing::addresses(&format!("<{text}>"));
        crate::fuzzing::addresses(&format!("<{text}@example.org> SIZE=1"));
    }
}
