use proptest::prelude::*;

use super::*;
use crate::dictionary::Dictionary;

fn dictionary() -> Dictionary {
    let text = "VENDOR Lab 65000\nBEGIN-VENDOR Lab\n\
        ATTRIBUTE Lab-Text 1 string\nATTRIBUTE Lab-Octets 2 octets\nATTRIBUTE Lab-Integer 3 integer\n\
        ATTRIBUTE Lab-Integer64 4 integer64\nATTRIBUTE Lab-Byte 5 byte\nATTRIBUTE Lab-Short 6 short\n\
        ATTRIBUTE Lab-Signed 7 signed\nATTRIBUTE Lab-Date 8 date\nATTRIBUTE Lab-Ipv4 9 ipaddr\n\
        ATTRIBUTE Lab-Ipv6 10 ipv6addr\nATTRIBUTE Lab-Prefix4 11 ipv4prefix\nATTRIBUTE Lab-Prefix6 12 ipv6prefix\n\
        ATTRIBUTE Lab-Combo 13 combo-ip\nATTRIBUTE Lab-Ifid 14 ifid\nATTRIBUTE Lab-Ether 15 ether\n\
        ATTRIBUTE Lab-Filter 16 abinary\nATTRIBUTE Lab-Three 17 octets[3]\nATTRIBUTE Lab-Tlv 18 tlv\n\
        ATTRIBUTE Lab-Array 19 ipaddr array\nATTRIBUTE Lab-Tagged 20 integer has_tag\n\
        ATTRIBUTE Lab-Tagged-Text 21 string has_tag\n\
        VALUE Lab-Integer One 1\nVALUE Lab-Signed Cold -5\nVALUE Lab-Byte Odd,Name 7\nEND-VENDOR Lab\n";
    Dictionary::built_in().with_text("lab", text).unwrap_or_else(|error| panic!("{error}"))
}

fn parse(name: &str, text: &str) -> Result<String, String> {
    let dictionary = dictionary();
    let attribute = dictionary.attribute(name).unwrap();
    Value::parse(attribute, text.as_bytes(), &Zone::UTC)
        .map(|value| value.shown(attribute).to_string())
}

#[test]
fn values_as_people_write_them() {
    for (name, text, shown) in [
        ("Lab-Text", "0x41", r#""0x41""#),
        ("Lab-Text", "a\"b\\c\n\u{7f}é", r#""a\"b\\c\n\177é""#),
        ("Lab-Text", "%{x} 5%", r#""\045{x} 5%""#),
        ("Lab-Octets", "0x00fF", "0x00ff"),
        ("Lab-Octets", "0x", "0x"),
        ("Lab-Octets", "AB", "0x4142"),
        ("Lab-Three", "0x010203", "0x010203"),
        ("Lab-Three", "abc", "0x616263"),
        ("Lab-Filter", "0x01", "0x01"),
        ("Lab-Integer", "4294967295", "4294967295"),
        ("Lab-Integer", " 0x10 ", "16"),
        ("Lab-Integer", "one", "One"),
        ("Lab-Integer", "1", "One"),
        ("Lab-Integer64", "18446744073709551615", "18446744073709551615"),
        ("Lab-Byte", "255", "255"),
        ("Lab-Byte", "7", "\"Odd,Name\""),
        ("Lab-Byte", "odd,name", "\"Odd,Name\""),
        ("Lab-Short", "65535", "65535"),
        ("Lab-Signed", "-2147483648", "-2147483648"),
        ("Lab-Signed", "cold", "Cold"),
        ("Lab-Signed", "-5", "Cold"),
        ("Lab-Date", "31 Dec 2026", "\"Dec 31 2026 00:00:00 UTC\""),
        ("Lab-Date", "0", "\"Jan  1 1970 00:00:00 UTC\""),
        ("Lab-Ipv4", "192.0.2.1", "192.0.2.1"),
        ("Lab-Ipv4", "192.0.2.1/32", "192.0.2.1"),
        ("Lab-Ipv4", "0xc0000201", "192.0.2.1"),
        ("Lab-Ipv6", "2001:DB8:0::1", "2001:db8::1"),
        ("Lab-Prefix4", "192.0.2.7/24", "192.0.2.0/24"),
        ("Lab-Prefix4", "192.0.2.7", "192.0.2.7/32"),
        ("Lab-Prefix6", "2001:db8:1:2::3/48", "2001:db8:1::/48"),
        ("Lab-Prefix6", "::1", "::1/128"),
        ("Lab-Combo", "192.0.2.1", "192.0.2.1"),
        ("Lab-Combo", "::1", "::1"),
        ("Lab-Ifid", "0:0:0:1", "0:0:0:1"),
        ("Lab-Ifid", "FE80:1:02:003", "fe80:1:2:3"),
        ("Lab-Ether", "00:00:5E:00:53:01", "00:00:5e:00:53:01"),
        ("Lab-Ether", "00-00-5e-00-53-01", "00:00:5e:00:53:01"),
        ("Lab-Ether", "0000.5e00.5301", "00:00:5e:00:53:01"),
        ("Lab-Ether", "00005e005301", "00:00:5e:00:53:01"),
        ("Lab-Tagged", "0xffffff", "16777215"),
        ("Service-Type", "Framed", "Framed-User"),
        ("Fall-Through", "yes", "Yes"),
    ] {
        assert_eq!(parse(name, text), Ok(shown.into()), "{name} {text}");
    }
}

/// A terminal obeys them, and users choose their names.
#[test]
fn no_control_character_is_shown() {
    let dictionary = dictionary();
    let attribute = dictionary.attribute("Lab-Text").unwrap();
    let value = Value::from_text("a\u{1b}[2J\u{9b}2J\u{7f}\u{0}é");
    let shown = value.shown(attribute).to_string();
    assert_eq!(shown, "\"a\\033[2J\\302\\2332J\\177\\000é\"");
}

#[test]
fn what_is_no_value_is_told_what_would_be() {
    for (name, text, word) in [
        ("Lab-Octets", "0x1", "hexadecimal"),
        ("Lab-Octets", "0xxy", "hexadecimal"),
        ("Lab-Three", "0x01", "3 octets"),
        ("Lab-Filter", "ip in forward tcp est", "binary"),
        ("Lab-Integer", "4294967296", "4294967295"),
        ("Lab-Integer", "+1", "One"),
        ("Lab-Integer", "", "One"),
        ("Lab-Byte", "256", "255"),
        ("Lab-Short", "65536", "65535"),
        ("Lab-Tagged", "16777216", "16777215"),
        ("Lab-Signed", "2147483648", "2147483647"),
        ("Lab-Date", "tomorrow", "31 Dec 2026"),
        ("Lab-Ipv4", "nas.example.net", "not resolved"),
        ("Lab-Ipv4", "192.0.2.1/24", "192.0.2.1"),
        ("Lab-Ipv4", "0xc00002", "IPv4"),
        ("Lab-Ipv6", "192.0.2.1", "IPv6"),
        ("Lab-Prefix4", "192.0.2.0/33", "prefix"),
        ("Lab-Prefix6", "2001:db8::/129", "prefix"),
        ("Lab-Combo", "x", "IPv4 or IPv6"),
        ("Lab-Ifid", "1:2:3", "0:0:0:1"),
        ("Lab-Ifid", "1:2:3:4:5", "0:0:0:1"),
        ("Lab-Ifid", "1:2:3:+4", "0:0:0:1"),
        ("Lab-Ether", "00:00:5e:00:53", "MAC"),
        ("Lab-Ether", "0:0:5e:0:53:1", "MAC"),
        ("Lab-Tlv", "x", "holds others"),
        ("Service-Type", "Frame", "such as"),
    ] {
        let error = parse(name, text).expect_err(name);
        assert!(error.contains(word), "{name} {text}: {error}");
    }
}

fn values() -> impl Strategy<Value = (&'static str, Value)> {
    let bytes = || proptest::collection::vec(any::<u8>(), 1..200);
    prop_oneof![
        bytes().prop_map(|bytes| ("Lab-Text", Value::Text(bytes.into()))),
        ".{1,40}".prop_map(|text| ("Lab-Text", Value::from_text(&text))),
        bytes().prop_map(|bytes| ("Lab-Octets", Value::Octets(bytes.into()))),
        bytes().prop_map(|bytes| ("Lab-Filter", Value::Octets(bytes.into()))),
        any::<[u8; 3]>().prop_map(|bytes| ("Lab-Three", Value::Octets(bytes.into()))),
        any::<u32>().prop_map(|number| ("Lab-Integer", Value::Number(number.into()))),
        any::<u64>().prop_map(|number| ("Lab-Integer64", Value::Number(number))),
        any::<u8>().prop_map(|number| ("Lab-Byte", Value::Number(number.into()))),
        any::<u16>().prop_map(|number| ("Lab-Short", Value::Number(number.into()))),
        any::<i32>().prop_map(|number| ("Lab-Signed", Value::Signed(number))),
        any::<u32>().prop_map(|seconds| ("Lab-Date", Value::Date(seconds))),
        any::<u32>().prop_map(|address| ("Lab-Ipv4", Value::Ipv4(address.into()))),
        any::<u32>().prop_map(|address| ("Lab-Array", Value::Ipv4(address.into()))),
        any::<u128>().prop_map(|address| ("Lab-Ipv6", Value::Ipv6(address.into()))),
        any::<u32>().prop_map(|address| ("Lab-Combo", Value::Ipv4(address.into()))),
        any::<u128>().prop_map(|address| ("Lab-Combo", Value::Ipv6(address.into()))),
        (any::<u32>(), 0..=32_u8).prop_map(|(address, length)| {
            (
                "Lab-Prefix4",
                Value::Ipv4Prefix(Ipv4Net::new(address.into(), length).unwrap().trunc()),
            )
        }),
        (any::<u128>(), 0..=128_u8).prop_map(|(address, length)| {
            (
                "Lab-Prefix6",
                Value::Ipv6Prefix(Ipv6Net::new(address.into(), length).unwrap().trunc()),
            )
        }),
        any::<[u8; 8]>().prop_map(|id| ("Lab-Ifid", Value::InterfaceId(id))),
        any::<[u8; 6]>().prop_map(|address| ("Lab-Ether", Value::Ether(address))),
        (0..0x100_0000_u64).prop_map(|number| ("Lab-Tagged", Value::Number(number))),
        bytes().prop_map(|bytes| ("Lab-Tagged-Text", Value::Text(bytes.into()))),
    ]
}

thread_local! {
    static LAB: Dictionary = dictionary();
}

proptest! {
    #[test]
    fn values_of_each_type_come_back_from_text_and_from_packets(
        (name, value) in values(),
        tag in proptest::option::of(1..=MOST_TAG),
    ) {
        LAB.with(|dictionary| -> Result<(), TestCaseError> {
            let attribute = dictionary.attribute(name).unwrap();
            let tag = tag.filter(|_| attribute.tagged());
            let mut pair = crate::pair::Pair::new(attribute.clone(), crate::pair::Operator::Equal, value);
            pair.tag = tag;
            let text = pair.to_string();
            prop_assert_eq!(crate::pair::Pair::parse(dictionary, &text), Ok(pair.clone()));

            let mut out = Vec::new();
            prop_assert_eq!(dictionary.encode(&pair, &mut out), Ok(crate::encode::Encoded::Plain));
            let mut decoded = dictionary.decode(&out);
            // A text that begins like a tag has one of 0 in front.
            if tag.is_none() && decoded.first().is_some_and(|pair| pair.tag == Some(0)) {
                decoded[0].tag = None;
            }
            prop_assert_eq!(decoded, [pair]);
            Ok(())
        })?;
    }

    #[test]
    fn any_text_is_survived_by_every_type(text in ".{0,60}") {
        LAB.with(|dictionary| {
            for attribute in dictionary.attributes().filter(|attribute| attribute.vendor() == Some(65_000)) {
                if let Ok(value) = Value::parse(attribute, text.as_bytes(), &Zone::UTC) {
                    value.shown(attribute).to_string();
                }
            }
        });
    }
}
