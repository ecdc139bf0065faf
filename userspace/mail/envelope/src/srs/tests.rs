use proptest::prelude::*;

use super::*;

const TODAY: i64 = 20_781;

fn keys() -> Keys {
    Keys::of_secrets(&["a secret for tests"]).unwrap()
}

fn others() -> Keys {
    Keys::of_secrets(&["another's secret for tests"]).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

#[test]
fn there_and_back() {
    for sender in [
        "user@example.org",
        "User.Name+detail@sub.example.org",
        "a=b=c@example.org",
        "\"a b\"@example.org",
        "\"a@b\"@example.org",
        "\u{fc}@b\u{fc}cher.example",
        "srs@example.org",
        "srs0@example.org",
        "srs2=x@example.org",
    ] {
        let sender = address(sender);
        let ours = rewrite(&sender, &domain("forward.example"), &keys(), TODAY).unwrap();
        assert_eq!(ours.domain, domain("forward.example").into());
        assert!(ours.local.as_str().starts_with("SRS0="), "{ours}");
        assert!(is_rewritten(&ours.local));
        assert_eq!(restore(&ours.local, &keys(), TODAY), Ok(sender.clone()));
        // On the last day, and beside midnight.
        assert_eq!(restore(&ours.local, &keys(), TODAY + DAYS), Ok(sender.clone()));
        assert_eq!(restore(&ours.local, &keys(), TODAY - 1), Ok(sender));
        assert_eq!(restore(&ours.local, &keys(), TODAY + DAYS + 1), Err(SrsError::Expired));
        assert_eq!(restore(&ours.local, &keys(), TODAY - 2), Err(SrsError::Expired));
        assert_eq!(restore(&ours.local, &others(), TODAY), Err(SrsError::Forged));
    }
}

#[test]
fn over_the_end_of_the_cycle() {
    let sender = address("user@example.org");
    let ours = rewrite(&sender, &domain("forward.example"), &keys(), 1023).unwrap();
    assert_eq!(restore(&ours.local, &keys(), 1023 + DAYS), Ok(sender));
}

/// Servers on the way may write it all in small letters, or in capitals: it comes back so, and comes back.
#[test]
fn letter_case() {
    let ours =
        rewrite(&address("User@example.org"), &domain("forward.example"), &keys(), TODAY).unwrap();
    for changed in [ours.local.as_str().to_lowercase(), ours.local.as_str().to_uppercase()] {
        let back = restore(&LocalPart::new(&changed).unwrap(), &keys(), TODAY).unwrap();
        assert_eq!(back.local.folded(), "user");
        assert_eq!(back.domain, domain("example.org").into());
    }
}

/// Through three forwarders: the third leads back to the first, which leads back to the sender.
#[test]
fn through_several() {
    let sender = address("user@example.org");
    let first = rewrite(&sender, &domain("one.example"), &keys(), TODAY).unwrap();
    let second = rewrite(&first, &domain("two.example"), &others(), TODAY).unwrap();
    assert!(second.local.as_str().starts_with("SRS1="), "{second}");
    let third = rewrite(&second, &domain("three.example"), &keys(), TODAY).unwrap();
    assert!(third.local.as_str().starts_with("SRS1="), "{third}");
    assert_eq!(third.local.as_str().len(), second.local.as_str().len());

    let back = restore(&third.local, &keys(), TODAY).unwrap();
    assert_eq!(back, first);
    assert_eq!(restore(&back.local, &keys(), TODAY), Ok(sender));
    // The second does not lead where the third's leads.
    assert_eq!(restore(&third.local, &others(), TODAY), Err(SrsError::Forged));
}

/// Others write it with other separators, and other letters.
#[test]
fn of_other_makes() {
    for (theirs, back) in [
        ("SRS0+HHH=TT=example.org=user@one.example", "SRS0+HHH=TT=example.org=user@one.example"),
        ("SRS0-HHH=TT=example.org=user@one.example", "SRS0-HHH=TT=example.org=user@one.example"),
        ("srs0=HHH=TT=example.org=u@one.example", "SRS0=HHH=TT=example.org=u@one.example"),
        ("SRS1+HHH=zero.ex==A=TT=e.org=user@one.example", "SRS0=A=TT=e.org=user@zero.ex"),
    ] {
        let ours = rewrite(&address(theirs), &domain("two.example"), &keys(), TODAY).unwrap();
        assert_eq!(restore(&ours.local, &keys(), TODAY), Ok(address(back)), "{theirs}");
    }
    // What only begins like one is somebody's name.
    let sender = address("SRS1=mine@one.example");
    let ours = rewrite(&sender, &domain("two.example"), &keys(), TODAY).unwrap();
    assert_eq!(restore(&ours.local, &keys(), TODAY), Ok(sender));
}

#[test]
fn what_leads_nowhere() {
    for (local, error) in [
        ("user", SrsError::Plain),
        ("srs0", SrsError::Plain),
        ("srs0x=a", SrsError::Plain),
        ("SRS0=", SrsError::Malformed),
        ("SRS0=aaaaaa=bb=example.org", SrsError::Malformed),
        ("SRS0=aaaaaa=bb=example.org=", SrsError::Malformed),
        ("SRS0+aaaaaa=bb=example.org=user", SrsError::Malformed),
        ("SRS0=aaaaaa=bb=example.org=user", SrsError::Forged),
        ("SRS0==bb=example.org=user", SrsError::Forged),
        ("SRS1=aaaaaa=example.org=user", SrsError::Malformed),
        ("SRS1=aaaaaa=exa mple==user", SrsError::Malformed),
        ("SRS1=aaaaaa=example.org==user", SrsError::Forged),
    ] {
        let local = LocalPart::new(local).unwrap();
        let refused = restore(&local, &keys(), TODAY).unwrap_err();
        assert_eq!(refused, error, "{local}");
        assert_eq!(refused.is_plain(), error == SrsError::Plain);
    }
}

#[test]
fn what_can_not_be_written() {
    let forward = domain("forward.example");
    let literal = address("user@[192.0.2.1]");
    assert_eq!(rewrite(&literal, &forward, &keys(), TODAY), Err(SrsError::Literal));
    // SRS0= and six letters, = and two, and two more: seventeen octets.
    let longest = address(&format!("{}@example.org", "a".repeat(64 - 16 - 11)));
    assert!(rewrite(&longest, &forward, &keys(), TODAY).is_ok());
    let longer = address(&format!("{}@example.org", "a".repeat(64 - 16 - 10)));
    assert_eq!(rewrite(&longer, &forward, &keys(), TODAY), Err(SrsError::TooLong));
}

#[test]
fn rolled_keys() {
    let sender = address("user@example.org");
    let ours = rewrite(&sender, &domain("forward.example"), &others(), TODAY).unwrap();
    let both = Keys::of_secrets(&["a secret for tests", "another's secret for tests"]).unwrap();
    assert_eq!(restore(&ours.local, &both, TODAY), Ok(sender));
}

proptest! {
    /// Nobody changes a letter of it and is led anywhere else.
    #[test]
    fn changed(at in 0usize..60, to in "[a-z0-9=.+-]") {
        let sender = address("user@example.org");
        let ours = rewrite(&sender, &domain("forward.example"), &keys(), TODAY).unwrap();
        let mut text = ours.local.as_str().to_owned();
        let at = at % text.len();
        text.replace_range(at..=at, &to);
        let back = restore(&LocalPart::new(&text).unwrap(), &keys(), TODAY);
        if text.to_lowercase() == ours.local.as_str().to_lowercase() {
            let back = back.unwrap();
            prop_assert_eq!(back.local.folded(), "user");
        } else {
            prop_assert!(back.is_err(), "{}", text);
        }
    }

    #[test]
    fn anything(local in "(SRS0|SRS1|srs0)?[=+-]?[a-z=+.-]{0,40}|\\PC{1,30}", today: i32) {
        if let Ok(local) = LocalPart::new(&local) {
            prop_assert!(restore(&local, &keys(), i64::from(today)).is_err());
            let sender = Address::new(local, domain("example.org"));
            if let Ok(ours) = rewrite(&sender, &domain("forward.example"), &keys(), i64::from(today)) {
                let back = restore(&ours.local, &keys(), i64::from(today)).unwrap();
                prop_assert!(back.local.as_str().eq_ignore_ascii_case(sender.local.as_str()) || is_rewritten(&sender.local));
            }
        }
    }
}
