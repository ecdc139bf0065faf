use proptest::prelude::*;

use super::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let octets = (0..digits.len()).step_by(2);
    octets.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn decode(text: &str) -> Vec<String> {
    let pairs = Dictionary::built_in().decode(&hex(text));
    pairs.iter().map(|pair| pair.to_string().replacen(" = ", "=", 1)).collect()
}

#[test]
fn what_packets_bring() {
    for (packet, pairs) in [
        ("", &[][..]),
        ("01 06 6e656d6f 05 06 00000003", &["User-Name=\"nemo\"", "NAS-Port=3"]),
        // Several in one Vendor-Specific.
        (
            "1a 18 00003a8c 03 06 66756c6c 0a 06 0a000001 c8 06 01020304",
            &[
                "Mikrotik-Group=\"full\"",
                "Mikrotik-Host-IP=10.0.0.1",
                "Attr-26.14988.200=0x01020304",
            ],
        ),
        ("1a 0c 0000ffff 01 06 00000001", &["Attr-26.65535.1=0x00000001"]),
        // Not as RFC 2865 recommends: the whole is a string.
        ("1a 0a 0000ffff 01020304", &["Attr-26=0x0000ffff01020304"]),
        ("1a 0a 00000009 01 05 613d", &["Attr-26=0x000000090105613d"]),
        ("1a 06 00000009", &["Attr-26=0x00000009"]),
        ("1a 05 000009", &["Attr-26=0x000009"]),
        ("1a 02", &["Attr-26=0x"]),
        // Values that can't be of the type.
        ("08 05 c00002", &["Attr-8=0xc00002"]),
        ("04 02", &["Attr-4=0x"]),
        ("40 06 20 000003", &["Attr-64=0x20000003"]),
        ("61 04 00 81", &["Attr-97=0x0081"]),
        (
            "61 15 00 40 00000000000000000000000000000000 00",
            &["Attr-97=0x00400000000000000000000000000000000000"],
        ),
        ("1a 0b 0000372a 08 05 000004", &["Attr-26.14122.8=0x000004"]),
        // RFC 3162: trailing octets may be missing; RFC 8044: bits behind the prefix don't count.
        ("61 04 00 00", &["Framed-IPv6-Prefix=::/0"]),
        ("61 08 00 20 20010db8", &["Framed-IPv6-Prefix=2001:db8::/32"]),
        ("61 08 00 14 20010dff", &["Framed-IPv6-Prefix=2001::/20"]),
        // Tags.
        ("40 06 00 00000d 40 06 1f 00000d", &["Tunnel-Type=VLAN", "Tunnel-Type:31=VLAN"]),
        (
            "51 05 313030 51 06 01 313030",
            &["Tunnel-Private-Group-Id=\"100\"", "Tunnel-Private-Group-Id:1=\"100\""],
        ),
        ("45 07 01 8001 ab cd", &["Tunnel-Password:1=0x8001abcd"]),
        ("02 06 01020304", &["User-Password=0x01020304"]),
        // EAP-Message is one, whatever it is spread over.
        (
            "4f 04 0102 4f 03 03 01 03 78 4f 03 04",
            &["EAP-Message=0x010203", "User-Name=\"x\"", "EAP-Message=0x04"],
        ),
        ("19 03 01 19 03 02", &["Class=0x01", "Class=0x02"]),
        // RFC 6929.
        ("f1 02", &["Attr-241=0x"]),
        ("f1 07 63 01020304", &["Attr-241.99=0x01020304"]),
        ("f1 07 1a 00000009", &["Attr-241.26=0x00000009"]),
        ("f1 08 06 09 06 000004", &["Attr-241.6=0x0906000004"]),
        ("f1 03 06", &["Attr-241.6=0x"]),
        ("f5 03 01", &["Attr-245=0x01"]),
        ("f5 04 01 80", &["Attr-245=0x0180"]),
        ("f5 05 01 00 61", &["SAML-Assertion=\"a\""]),
        // USR's end with the attribute.
        ("1a 0a 000001ad 000000e8", &["USR-Last-Number-Dialed-In-DNIS=\"\""]),
        ("1a 09 000001ad 0000e8", &["Attr-26=0x000001ad0000e8"]),
        // WiMAX: one that goes on, and doesn't.
        ("1a 0a 000060b5 04 04 80 01", &["Attr-26=0x000060b504048001"]),
        ("1a 0a 000060b5 04 04 80 01 1a 0a 000060b5 04 04 00 02", &["WiMAX-AAA-Session-Id=0x0102"]),
        (
            "1a 0a 000060b5 04 04 80 01 1a 0a 000060b5 05 04 00 02",
            &["Attr-26=0x000060b504048001", "WiMAX-MSK=0x02"],
        ),
        (
            "1a 0e 000060b5 04 04 00 01 04 04 00 02",
            &["WiMAX-AAA-Session-Id=0x01", "WiMAX-AAA-Session-Id=0x02"],
        ),
        ("1a 0e 000060b5 04 04 00 01 04 04 80 02", &["Attr-26=0x000060b50404000104048002"]),
        // Lengths that can't be end it.
        ("01 03 78 05 01 01 03 78", &["User-Name=\"x\""]),
        ("01 03 78 05 06 0000", &["User-Name=\"x\""]),
        ("01 03 78 05", &["User-Name=\"x\""]),
        ("00 03 01", &["Attr-0=0x01"]),
    ] {
        assert_eq!(decode(packet), pairs, "{packet}");
    }
}

#[test]
fn a_long_extended_attribute_without_its_end_is_kept_as_it_is() {
    let first = [&[245, 255, 1, 0x80][..], &[b'a'; 251]].concat();
    for (rest, pairs) in [
        (hex("f5 05 01 00 62"), 1),
        (hex("f5 05 02 00 62"), 2),
        (hex("f6 05 01 00 62"), 2),
        (hex("01 03 78 f5 05 01 00 62"), 3),
        (hex("f5 03 01"), 2),
        (vec![], 1),
    ] {
        let decoded = Dictionary::built_in().decode(&[first.clone(), rest.clone()].concat());
        assert_eq!(decoded.len(), pairs, "{rest:02x?}");
        let whole = decoded[0].attribute.name() == "SAML-Assertion";
        assert_eq!(whole, rest == hex("f5 05 01 00 62"), "{rest:02x?}");
    }
}

#[test]
fn arrays_are_taken_apart() {
    let text = "ATTRIBUTE Lab-Addresses 250 ipaddr array";
    let dictionary = Dictionary::built_in().with_text("lab", text).unwrap();
    let shown = |packet: &str| -> Vec<String> {
        dictionary.decode(&hex(packet)).iter().map(Pair::to_string).collect()
    };
    assert_eq!(
        shown("fa 0a 0a000001 0a000002"),
        ["Lab-Addresses = 10.0.0.1", "Lab-Addresses = 10.0.0.2"]
    );
    assert_eq!(shown("fa 07 0a000001 0a"), ["Attr-250 = 0x0a0000010a"]);
}

#[test]
fn without_any_dictionary_numbers_are_all_there_is() {
    let decoded = Dictionary::empty().decode(&hex("01 03 78 1a 0b 00000009 01 05 613d62"));
    let shown: Vec<String> = decoded.iter().map(Pair::to_string).collect();
    assert_eq!(shown, ["Attr-1 = 0x78", "Attr-26.9.1 = 0x613d62"]);
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        crate::fuzzing::decode(&bytes);
    }

    #[test]
    fn any_attributes_are_survived(attributes in proptest::collection::vec(
        (
            proptest::sample::select(vec![1_u8, 2, 8, 26, 64, 69, 79, 81, 97, 123, 173, 241, 245, 246]),
            proptest::collection::vec(any::<u8>(), 0..40),
            proptest::sample::select(vec![
                &[][..], &[0, 0, 0, 9, 1, 4], &[0, 0, 0x3a, 0x8c, 8, 3], &[0, 0, 0x60, 0xb5, 1, 8, 0, 1, 5],
                &[0, 0, 1, 0xad, 0, 0, 0xbf, 0xbe], &[6, 9, 6], &[26, 0, 0, 0, 9, 1], &[1, 0x80], &[1, 0],
            ]),
        ), 0..8)) {
        let mut bytes = Vec::new();
        for (kind, value, front) in attributes {
            bytes.extend([kind, (2 + front.len() + value.len()) as u8]);
            bytes.extend(front);
            bytes.extend(value);
        }
        crate::fuzzing::decode(&bytes);
    }
}
