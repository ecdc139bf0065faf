use super::*;
use crate::attribute::Hiding;

#[test]
fn the_built_in_dictionaries_are_without_problems() {
    let mut dictionary = Dictionary::empty();
    for (name, text) in built_in::FILES {
        let problems = source::read_text(&mut dictionary, Path::new(name), text);
        assert_eq!(problems, [], "{name}");
    }
    assert!(dictionary.attributes.len() > 900, "{}", dictionary.attributes.len());
    assert_eq!(Dictionary::built_in().attributes.len(), dictionary.attributes.len());
}

#[test]
fn every_name_and_number_of_the_built_in_ones_is_there_once() {
    let dictionary = Dictionary::built_in();
    // Two names of one number, for files that have the other.
    let second = ["3GPP-Location-Info", "Huawei-Input-Average-Rate", "Huawei-Output-Average-Rate"];
    for attribute in dictionary.attributes() {
        assert_eq!(dictionary.attribute(attribute.name()), Some(attribute));
        let by_number = dictionary.by_number(0, attribute.numbers()).unwrap();
        let old = built_in::FILES[0].1.split_whitespace().any(|word| word == attribute.name());
        let named_twice = old || second.contains(&attribute.name());
        assert_eq!(by_number == attribute, !named_twice, "{attribute}");
    }
}

#[test]
fn attributes_by_name_and_number() {
    let dictionary = Dictionary::built_in();
    for (name, numbers, kind) in [
        ("User-Name", &[1][..], "string"),
        ("framed-ip-address", &[8], "ipaddr"),
        ("EAP-Message", &[79], "octets"),
        ("Framed-IPv6-Prefix", &[97], "ipv6prefix"),
        ("MIP6-Feature-Vector", &[124], "integer64"),
        ("IPv6-6rd-Prefix", &[173, 2], "ipv6prefix"),
        ("Chargeable-User-Identity", &[89], "octets"),
        ("Operator-Name", &[126], "string"),
        ("DS-Lite-Tunnel-Name", &[144], "string"),
        ("Framed-IPv6-Address", &[168], "ipv6addr"),
        ("DNS-Server-IPv6-Address", &[169], "ipv6addr"),
        ("Delegated-IPv6-Prefix-Pool", &[171], "string"),
        ("Stateful-IPv6-Address-Pool", &[172], "string"),
        ("WLAN-HESSID", &[181], "string"),
        ("Extended-Vendor-Specific-1", &[241, 26], "evs"),
        ("IP-Port-Range-Local-Id", &[241, 6, 11], "string"),
        ("SAML-Assertion", &[245, 1], "string"),
        ("MS-CHAP2-Response", &[26, 311, 25], "octets"),
        ("Cisco-AVPair", &[26, 9, 1], "string"),
        ("WISPr-Bandwidth-Max-Down", &[26, 14_122, 8], "integer"),
        ("Mikrotik-Rate-Limit", &[26, 14_988, 8], "string"),
        ("Ascend-Data-Filter", &[26, 529, 242], "abinary"),
        ("USR-Event-Id", &[26, 429, 0xbfbe], "integer"),
        ("WiMAX-Release", &[26, 24_757, 1, 1], "string"),
        ("ADSL-Agent-Circuit-Id", &[26, 3_561, 1], "string"),
        ("Actual-Data-Rate-Upstream", &[26, 3_561, 129], "integer"),
        ("Agent-Remote-Id", &[26, 2_352, 96], "string"),
        ("Agent-Circuit-Id", &[26, 2_352, 97], "string"),
        ("Service-Action", &[26, 2_352, 191], "integer"),
        ("ChilliSpot-Require-UAM", &[26, 14_559, 11], "string"),
        ("Huawei-Input-Peak-Information-Rate", &[26, 2_011, 1], "integer"),
        ("Huawei-Input-Committed-Burst-Size", &[26, 2_011, 3], "integer"),
        ("Huawei-Domain-Name", &[26, 2_011, 138], "string"),
        ("Cleartext-Password", &[1100], "string"),
    ] {
        let attribute = dictionary.attribute(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((attribute.numbers(), attribute.kind().name()), (numbers, kind), "{name}");
        let (vendor, inner) = match numbers {
            [26, vendor, inner @ ..] => (*vendor, inner),
            numbers => (0, numbers),
        };
        assert_eq!(dictionary.by_number(vendor, inner), Some(attribute), "{name}");
        assert_eq!(attribute.vendor().unwrap_or(0), vendor, "{name}");
    }
    assert_eq!(dictionary.attribute("User-Nam"), None);
    assert_eq!(dictionary.nearest("Framed-IP-Adress"), Some("Framed-IP-Address"));
    assert_eq!(dictionary.nearest("zzz"), None);
    for (vendor, numbers) in
        [(0, &[][..]), (0, &[17]), (0, &[1, 1]), (9, &[]), (9, &[250, 1]), (77, &[1])]
    {
        assert_eq!(dictionary.by_number(vendor, numbers), None, "{vendor} {numbers:?}");
    }
    let user = dictionary.attribute("User-Password").unwrap();
    assert_eq!((user.hiding(), user.is_secret()), (Hiding::UserPassword, true));
    let tunnel = dictionary.attribute("Tunnel-Password").unwrap();
    assert_eq!((tunnel.hiding(), tunnel.tagged()), (Hiding::TunnelPassword, true));
    assert!(dictionary.attribute("NT-Password").unwrap().is_secret());
    for name in ["Simultaneous-Use", "Pool6-Name", "Delegated-Pool6-Name"] {
        assert!(dictionary.attribute(name).unwrap().is_internal(), "{name}");
    }
    // Tags tell the services of one answer apart.
    assert!(dictionary.attribute("Deactivate-Service-Name").unwrap().tagged());
}

#[test]
fn what_no_document_of_the_vendor_says_is_left_to_the_operator() {
    let dictionary = Dictionary::built_in();
    for name in
        ["ZTE-Rate-Ctrl-SCR-Down", "UBNT-Data-Rate-DL", "Huawei-Input-Peak-Rate", "Service-Options"]
    {
        assert_eq!(dictionary.attribute(name), None, "{name}");
    }
    // He adds it, and it means what he says.
    let file = "VENDOR ZTE 3902\nBEGIN-VENDOR ZTE\nATTRIBUTE ZTE-Rate-Ctrl-SCR-Down 83 integer\nEND-VENDOR ZTE\n";
    let own = dictionary.with_text("dictionary.zte", file).unwrap();
    let rate = own.attribute("ZTE-Rate-Ctrl-SCR-Down").unwrap();
    assert_eq!(rate.numbers(), &[26, 3_902, 83]);
}

#[test]
fn names_of_values_both_ways() {
    let dictionary = Dictionary::built_in();
    let service = dictionary.attribute("Service-Type").unwrap();
    assert_eq!(service.value_number("framed"), Some(2));
    assert_eq!(service.value_number("Framed-User"), Some(2));
    assert_eq!(service.value_name(2), Some("Framed-User"));
    assert_eq!((service.value_name(77), service.value_number("x")), (None, None));
    let old = dictionary.attribute("User-Service-Type").unwrap();
    assert_eq!(old.value_name(2), Some("Framed-User"));
}

#[test]
fn attributes_by_numbers_as_names() {
    let dictionary = Dictionary::built_in();
    for (name, numbers, place) in [
        ("Attr-1", &[1][..], Place::Top),
        ("attr-26", &[26], Place::Top),
        ("Attr-26.9.1", &[26, 9, 1], Place::Vendor),
        ("Attr-26.77777.200", &[26, 77_777, 200], Place::Vendor),
        ("Attr-26.429.48958", &[26, 429, 48_958], Place::Vendor),
        ("Attr-26.24757.1.9", &[26, 24_757, 1, 9], Place::Vendor),
        ("Attr-241", &[241], Place::Top),
        ("Attr-241.99", &[241, 99], Place::Extended { long: false }),
        ("Attr-246.99", &[246, 99], Place::Extended { long: true }),
        ("Attr-241.26.9.1", &[241, 26, 9, 1], Place::ExtendedVendor { long: false }),
        ("Attr-245.26.9.1", &[245, 26, 9, 1], Place::ExtendedVendor { long: true }),
    ] {
        let attribute = dictionary.find(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!((attribute.numbers(), attribute.place()), (numbers, place), "{name}");
        assert_eq!(attribute.kind(), Type::Octets);
        assert!(!attribute.is_known() && attribute.name().eq_ignore_ascii_case(name));
    }
    for name in [
        "Attr-",
        "Attr-256",
        "Attr-26.9",
        "Attr-26.9.256",
        "Attr-241.26.9",
        "Attr-1.1",
        "Attr-x",
        "Attr-1.",
        "Attr--1",
        "Attr-26.9.1.1",
        "Attr-99999999999",
        "Attr-241.256",
        "Attr",
        "",
    ] {
        assert!(dictionary.find(name).is_none(), "{name}");
    }
}

#[test]
fn a_pair_is_small() {
    assert!(size_of::<crate::pair::Pair>() <= 40, "{}", size_of::<crate::pair::Pair>());
}
