use super::*;
use crate::domain::DomainError;

#[test]
fn where_failures_go() {
    for (text, path, rest) in [
        ("<>", "<>", ""),
        ("<> SIZE=1", "<>", " SIZE=1"),
        ("<user@example.org>", "<user@example.org>", ""),
        ("<user@example.org> BODY=7BIT", "<user@example.org>", " BODY=7BIT"),
        ("<\"a> b\"@example.org>x", "<\"a> b\"@example.org>", "x"),
        ("<@one.example,@two.example:user@example.org>", "<user@example.org>", ""),
        ("<@[192.0.2.1],@[IPv6:2001:db8::1]:user@example.org>", "<user@example.org>", ""),
        ("<user@[IPv6:2001:db8::1]>", "<user@[IPv6:2001:db8::1]>", ""),
    ] {
        let (read, behind) = ReversePath::split(text).unwrap();
        assert_eq!((read.to_string().as_str(), behind), (path, rest), "{text}");
    }
}

#[test]
fn whom_it_goes_to() {
    for (text, path, rest) in [
        ("<postmaster>", "<postmaster>", ""),
        ("<POSTmaster> NOTIFY=NEVER", "<postmaster>", " NOTIFY=NEVER"),
        ("<postmaster@example.org>", "<postmaster@example.org>", ""),
        ("<user@example.org>", "<user@example.org>", ""),
    ] {
        let (read, behind) = ForwardPath::split(text).unwrap();
        assert_eq!((read.to_string().as_str(), behind), (path, rest), "{text}");
    }
}

#[test]
fn what_is_none() {
    let route = format!("<{}:a@example.org>", vec!["@example.org"; 30].join(","));
    let long = format!("<user@{}example.org>", "a12345678.".repeat(24));
    for (text, error) in [
        ("", PathError::Brackets),
        ("user@example.org", PathError::Brackets),
        ("<user@example.org", PathError::Brackets),
        ("<user>", PathError::Address(AddressError::Incomplete)),
        (" <user@example.org>", PathError::Brackets),
        ("< user@example.org>", PathError::Address(AddressError::Incomplete)),
        ("<user@example.org >", PathError::Address(AddressError::Domain(DomainError::Character))),
        ("<user@exa mple>", PathError::Address(AddressError::Domain(DomainError::Character))),
        ("<@example.org>", PathError::Route),
        ("<@example.org:>", PathError::Address(AddressError::Incomplete)),
        ("<@example.org,user@example.org>", PathError::Route),
        ("<@exa mple:user@example.org>", PathError::Route),
        ("<@[::1:user@example.org>", PathError::Route),
        (&route, PathError::TooLong),
        (&long, PathError::TooLong),
    ] {
        // The lower part of a route is asked for its own brackets later.
        assert_eq!(ForwardPath::split(text).err(), Some(error), "{text}");
        assert_eq!(ReversePath::split(text).err(), Some(error), "{text}");
    }
    assert_eq!(ForwardPath::split("<>").err(), Some(PathError::Nobody));
    assert!(ReversePath::split("<postmaster>").is_err());
}

#[test]
fn stored_as_text() {
    let address = ReversePath::Address(Address::parse("user@example.org").unwrap());
    for (path, json) in [(ReversePath::Null, "\"\""), (address, "\"user@example.org\"")] {
        assert_eq!(serde_json::to_string(&path).unwrap(), json);
        assert_eq!(serde_json::from_str::<ReversePath>(json).unwrap(), path);
    }
    assert!(serde_json::from_str::<ReversePath>("\"<>\"").is_err());
    assert!(ReversePath::Null.is_null());
    assert_eq!(ReversePath::default().address(), None);
}
