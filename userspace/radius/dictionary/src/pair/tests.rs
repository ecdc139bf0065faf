use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Pair, PairError> {
    Pair::parse(&Dictionary::built_in(), text)
}

#[test]
fn pairs_are_shown_as_they_are_read() {
    for (text, shown) in [
        ("Framed-IP-Address := 192.0.2.1", "Framed-IP-Address := 192.0.2.1"),
        ("user-name==bob", "User-Name == \"bob\""),
        ("  User-Name   =  'b\"ob'  ", r#"User-Name = "b\"ob""#),
        ("Service-Type = Framed", "Service-Type = Framed-User"),
        ("Tunnel-Type:1 = VLAN", "Tunnel-Type:1 = VLAN"),
        ("Tunnel-Type:1:=13", "Tunnel-Type:1 := VLAN"),
        ("Tunnel-Type:=13", "Tunnel-Type := VLAN"),
        ("Tunnel-Private-Group-ID:31 += 100", "Tunnel-Private-Group-Id:31 += \"100\""),
        ("Session-Timeout >= 3600", "Session-Timeout >= 3600"),
        ("NAS-Port < 5", "NAS-Port < 5"),
        ("Called-Station-Id =~ '^0[0-9]+$'", r#"Called-Station-Id =~ "^0[0-9]+$""#),
        ("NAS-Port !~ 5", "NAS-Port !~ \"5\""),
        ("Calling-Station-Id =* ANY", "Calling-Station-Id =* ANY"),
        ("Calling-Station-Id !*", "Calling-Station-Id !* ANY"),
        (
            "Cisco-AVPair += \"ip:route=10.0.0.0 255.0.0.0\"",
            "Cisco-AVPair += \"ip:route=10.0.0.0 255.0.0.0\"",
        ),
        ("Attr-26.9.200 = 0x01", "Attr-26.9.200 = 0x01"),
        ("NAS-Port-Type != Async", "NAS-Port-Type != Async"),
        ("Expiration := \"31 Dec 2026\"", "Expiration := \"Dec 31 2026 00:00:00 UTC\""),
        (
            "Cleartext-Password := \"top \\\"secret\\\"\"",
            r#"Cleartext-Password := "top \"secret\"""#,
        ),
    ] {
        let pair = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(pair.to_string(), shown, "{text}");
        assert_eq!(parse(shown), Ok(pair), "{text}");
    }
}

#[test]
fn what_is_wrong_with_a_pair() {
    for (text, error) in [
        ("", PairError::NoName(String::new())),
        ("= 5", PairError::NoName("= 5".into())),
        ("Foo = 5", PairError::Unknown("Foo".into())),
        ("User-Name bob", PairError::Operator(String::new())),
        ("User-Name -= bob", PairError::Operator("-=".into())),
        ("User-Name =", PairError::NoValue),
        ("User-Name = bob smith", PairError::Trailing("smith".into())),
        ("User-Name = bob, x", PairError::Trailing(", x".into())),
        ("User-Name = `id`", PairError::Command),
        ("User-Name = \"%{Calling-Station-Id}\"", PairError::Expansion),
        ("User-Name = \"bob", PairError::Unclosed('"')),
    ] {
        assert_eq!(parse(text), Err(error), "{text}");
    }
    for (text, word) in [
        ("Tunnel-Type:32 = VLAN", "0 to 31"),
        ("Tunnel-Type:x = VLAN", "0 to 31"),
        ("User-Name:1 = bob", "takes none"),
        (
            "Framed-IP-Address = nas.example",
            "\"nas.example\" can't be a value of Framed-IP-Address: it is not an IPv4",
        ),
        ("NAS-Port = x", "up to 4294967295"),
    ] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(word), "{text}: {error}");
    }
    let secret =
        Pair::from_columns(&Dictionary::built_in(), "Tunnel-Preference", ":=", "topsecret");
    assert!(secret.unwrap_err().to_string().contains("topsecret"));
    let dictionary =
        Dictionary::built_in().with_text("x", "ATTRIBUTE PIN 3001 integer secret").unwrap();
    let error = Pair::from_columns(&dictionary, "PIN", ":=", "topsecret").unwrap_err();
    assert!(!error.to_string().contains("topsecret"), "{error}");
}

#[test]
fn rows_of_a_database() {
    let dictionary = Dictionary::built_in();
    for (attribute, operator, value, shown) in [
        (
            "Cleartext-Password",
            ":=",
            "a b, \"c\" %{d} `e`",
            r#"Cleartext-Password := "a b, \"c\" \045{d} `e`""#,
        ),
        ("Cleartext-Password", ":=", "a\\nb", r#"Cleartext-Password := "a\\nb""#),
        ("Reply-Message", "=", "\"a\\nb\"", r#"Reply-Message = "a\nb""#),
        ("Reply-Message", "=", "'a\\nb'", r#"Reply-Message = "a\\nb""#),
        ("Reply-Message", "=", "\"", r#"Reply-Message = "\"""#),
        ("Reply-Message", "=", "\"a\" \"b\"", r#"Reply-Message = "\"a\" \"b\"""#),
        ("Reply-Message", "=", "\"a\\\"", r#"Reply-Message = "\"a\\\"""#),
        ("Simultaneous-Use", "", "2", "Simultaneous-Use == 2"),
        (" Framed-IP-Address ", " := ", "192.0.2.1 ", "Framed-IP-Address := 192.0.2.1"),
        ("Tunnel-Type:2", "=", "L2TP", "Tunnel-Type:2 = L2TP"),
    ] {
        let pair = Pair::from_columns(&dictionary, attribute, operator, value);
        let pair = pair.unwrap_or_else(|error| panic!("{attribute} {value}: {error}"));
        assert_eq!(pair.to_string(), shown);
        assert_eq!(Pair::parse(&dictionary, shown), Ok(pair));
    }
    for (attribute, operator, value, error) in [
        ("User-Name x", "=", "bob", PairError::Unknown(" x".into())),
        ("", "=", "bob", PairError::NoName(String::new())),
        ("User-Name", "~~", "bob", PairError::Operator("~~".into())),
        ("User-Name", "=", "`id`", PairError::Command),
    ] {
        assert_eq!(Pair::from_columns(&dictionary, attribute, operator, value), Err(error));
    }
}

#[test]
fn secrets_are_shown_only_where_they_are_written_down() {
    for text in [
        "Cleartext-Password := topsecret",
        "User-Password == topsecret",
        "MS-MPPE-Send-Key = topsecret",
    ] {
        let pair = parse(text).unwrap();
        let (name, operator) = (pair.attribute.name(), pair.operator);
        assert_eq!(pair.redacted().to_string(), format!("{name} {operator} ***"));
        assert_eq!(format!("{pair:?}"), pair.redacted().to_string());
        assert_ne!(pair.to_string(), pair.redacted().to_string());
    }
}

#[test]
fn operators_both_ways() {
    for operator in Operator::ALL {
        assert_eq!(operator.symbol().parse(), Ok(operator));
    }
    assert!(Operator::Set.sets() && !Operator::Is.sets());
}

proptest! {
    #[test]
    fn any_text_is_survived(text in ".{0,60}") {
        let _ = parse(&text);
    }

    #[test]
    fn any_words_are_survived_and_come_back(words in proptest::collection::vec(proptest::sample::select(vec![
        "User-Name", "Tunnel-Type", ":", "1", "=", ":=", "==", "=~", "=*", "!", "\"", "'", "\\", "a", " ", ",", "0x00", "VLAN",
        "Framed-IP-Address", "10.0.0.1", "#", "%{", "Attr-26.9.7", "NAS-Port", "-1", "Event-Timestamp",
    ]), 0..9)) {
        if let Ok(pair) = parse(&words.concat()) {
            prop_assert_eq!(parse(&pair.to_string()), Ok(pair));
        }
    }
}
