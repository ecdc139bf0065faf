use proptest::prelude::*;

use super::*;

const MESSAGE: &[u8] = b"Received: from a\r\n\tby b;\r\n\tFri, 21 Nov 1997 09:55:06 -0600\r\n\
RECEIVED: from c\r\nSubject:  a folded\r\n  subject \r\nX-Empty:\r\nFrom : Somebody <a@example.org>\r\n\
delivered-to: User@Example.org\r\n\r\nReceived: in the body\r\n";

fn names(message: &[u8]) -> Vec<&str> {
    fields(message).map(|field| std::str::from_utf8(field.name).unwrap()).collect()
}

#[test]
fn by_name() {
    assert_eq!(
        names(MESSAGE),
        ["Received", "RECEIVED", "Subject", "X-Empty", "From", "delivered-to"]
    );
    assert_eq!(first(MESSAGE, "subject").unwrap().text(), "a folded  subject");
    assert_eq!(first(MESSAGE, "Subject").unwrap().whole, b"Subject:  a folded\r\n  subject \r\n");
    assert_eq!(first(MESSAGE, "x-empty").unwrap().text(), "");
    assert_eq!(first(MESSAGE, "from").unwrap().text(), "Somebody <a@example.org>");
    assert!(first(MESSAGE, "To").is_none());
    assert!(matches!(first(MESSAGE, "from").unwrap().unfolded(), Cow::Borrowed(_)));
    assert_eq!(first(b"A: \xe9\r\n\r\n", "a").unwrap().text(), "\u{fffd}");
}

#[test]
fn hops_and_loops() {
    assert_eq!(hops(MESSAGE), 2);
    let address = |text| Address::parse(text).unwrap();
    assert!(was_delivered_to(MESSAGE, &address("user@example.org")));
    assert!(!was_delivered_to(MESSAGE, &address("a@example.org")));
}

#[test]
fn where_it_ends() {
    for (message, length, count) in [
        (&b""[..], 0, 0),
        (b"\r\n", 2, 0),
        (b"\nbody", 1, 0),
        (b"\r\nA: b\r\n", 2, 0),
        (b"A: b", 4, 1),
        (b"A: b\r\n", 6, 1),
        (b"A: b\r\n\r\nbody", 8, 1),
        (b"A: b\n\nbody", 6, 1),
        (b"A: b\r\n c\r\n\td\r\n\r\n", 16, 1),
        // An empty line of spaces belongs to the field.
        (b"A: b\r\n \r\nB: c\r\n\r\n", 17, 2),
        // What is no field ends it, and belongs to the content.
        (b"A: b\r\nno field\r\nB: c\r\n\r\n", 6, 1),
        (b"body alone", 0, 0),
        (b" folded: at once\r\n", 0, 0),
        (b"A b: c\r\n\r\n", 0, 0),
        (b": c\r\n\r\n", 0, 0),
        (b"\x00A: b\r\n", 0, 0),
        (b"\xe9: b\r\n", 0, 0),
    ] {
        assert_eq!(header_length(message), length, "{message:?}");
        assert_eq!(fields(message).count(), count, "{message:?}");
    }
    assert_eq!(header_length(MESSAGE) + b"Received: in the body\r\n".len(), MESSAGE.len());
}

#[test]
fn limits() {
    let many = b"A: b\r\n".repeat(MOST_FIELDS + 5);
    assert_eq!(fields(&many).count(), MOST_FIELDS);
    let mut long = b"A: b\r\nB: ".to_vec();
    long.resize(LONGEST_HEADER + 100, b'c');
    long.extend_from_slice(b"\r\nC: d\r\n\r\n");
    assert_eq!(names(&long), ["A", "B"]);
    assert_eq!(header_length(&long), LONGEST_HEADER);
}

#[test]
fn addresses_of_fields() {
    for (value, expected) in [
        ("", Some(vec![])),
        ("a@example.org", Some(vec!["a@example.org"])),
        ("Somebody <a@example.org>", Some(vec!["a@example.org"])),
        ("\"Body, Some\" <a@example.org>", Some(vec!["a@example.org"])),
        ("\"x <b@example.net>\" <a@example.org>", Some(vec!["a@example.org"])),
        ("(b@example.net) a@example.org (c (d) \\) e)", Some(vec!["a@example.org"])),
        ("a@example.org, B <b@example.net>", Some(vec!["a@example.org", "b@example.net"])),
        ("a@example.org,, ,b@example.net,", Some(vec!["a@example.org", "b@example.net"])),
        ("All: a@example.org, b@example.net;", Some(vec!["a@example.org", "b@example.net"])),
        ("All: a@example.org; c@example.net", Some(vec!["a@example.org", "c@example.net"])),
        ("undisclosed-recipients:;", Some(vec![])),
        ("<@one.example,@two.example:a@example.org>", Some(vec!["a@example.org"])),
        ("\"a b\"@example.org", Some(vec!["\"a b\"@example.org"])),
        ("a @ example.org", Some(vec!["a@example.org"])),
        ("<a@example.org (c)>", Some(vec!["a@example.org"])),
        ("a@[IPv6:2001:db8::1]", Some(vec!["a@[IPv6:2001:db8::1]"])),
        ("J\u{fc}rgen <a@example.org>", Some(vec!["a@example.org"])),
        // What may be read in two ways is not read.
        ("Somebody", None),
        ("a@example.org b@example.net", None),
        ("<a@example.org> <b@example.net>", None),
        ("<a@example.org> b@example.net", None),
        ("<a@example.org", None),
        ("a@example.org>", None),
        ("<<a@example.org>>", None),
        ("b@example.net: a@example.org;", None),
        ("\"a@example.org", None),
        ("(a@example.org", None),
        ("a@[192.0.2.1", None),
        ("a@example.org\\", None),
    ] {
        let found = addresses(value, 5)
            .map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(
            found,
            expected.map(|all| all.into_iter().map(str::to_owned).collect()),
            "{value}"
        );
    }
    assert_eq!(addresses(&"a@example.org,".repeat(5), 5).map(|all| all.len()), Some(5));
    assert_eq!(addresses(&"a@example.org,".repeat(6), 5), None);
}

proptest! {
    #[test]
    fn anything(message in "[A-Za-z: \t\r\n<>@,.\"(;\\\\]{0,80}|(?s).{0,60}") {
        crate::fuzzing::message(message.as_bytes());
    }

    #[test]
    fn any_bytes(message: Vec<u8>) {
        crate::fuzzing::message(&message);
    }
}
