use super::*;
use crate::pair::Operator;
use crate::value::Value;

fn pair(text: &str) -> Pair {
    Pair::parse(&Dictionary::built_in(), text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn encode(text: &str) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    match Dictionary::built_in().encode(&pair(text), &mut out)? {
        Encoded::Plain => Ok(out),
        Encoded::Hidden(hidden) => panic!("{text}: {hidden:?}"),
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let octets = (0..digits.len()).step_by(2);
    octets.map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn attributes_as_the_rfcs_lay_them_out() {
    for (text, expected) in [
        ("User-Name = nemo", "01 06 6e656d6f"),
        // RFC 2865 section 7.1.
        ("NAS-IP-Address = 192.168.1.16", "04 06 c0a80110"),
        ("NAS-Port = 3", "05 06 00000003"),
        ("Service-Type = Login", "06 06 00000001"),
        ("Login-Service = Telnet", "0f 06 00000000"),
        ("Framed-MTU = 1500", "0c 06 000005dc"),
        ("Event-Timestamp = \"1970-01-01 00:00:01\"", "37 06 00000001"),
        // RFC 2868 sections 3.1 and 3.6.
        ("Tunnel-Type = L2TP", "40 06 00 000003"),
        ("Tunnel-Type:1 = VLAN", "40 06 01 00000d"),
        ("Tunnel-Medium-Type:1 = IEEE-802", "41 06 01 000006"),
        ("Tunnel-Private-Group-Id:1 = 100", "51 06 01 313030"),
        ("Tunnel-Private-Group-Id = 100", "51 05 313030"),
        ("Tunnel-Private-Group-Id:0 = 100", "51 06 00 313030"),
        ("Tunnel-Private-Group-Id = \"\\001a\"", "51 05 00 0161"),
        // RFC 3162 sections 2.2 and 2.3.
        ("Framed-Interface-Id = 0:0:0:1", "60 0a 0000000000000001"),
        ("Framed-IPv6-Prefix = 2001:db8::/32", "61 14 00 20 20010db8000000000000000000000000"),
        ("PMIP6-Home-IPv4-HoA = 192.0.2.0/24", "9b 08 00 18 c0000200"),
        ("MIP6-Feature-Vector = 1", "7c 0a 0000000000000001"),
        ("PKM-SAID = 258", "8d 04 0102"),
        ("IPv6-6rd-IPv4MaskLen = 24", "ad 08 01 06 00000018"),
        // Vendors.
        ("Cisco-AVPair = \"a=b\"", "1a 0b 00000009 01 05 613d62"),
        ("WISPr-Bandwidth-Max-Down = 1024", "1a 0c 0000372a 08 06 00000400"),
        ("WISPr-Location-Name = \"Plaza\"", "1a 0d 0000372a 02 07 506c617a61"),
        ("Mikrotik-Rate-Limit = \"1M/2M\"", "1a 0d 00003a8c 08 07 314d2f324d"),
        ("Mikrotik-Total-Limit-Gigawords = 1", "1a 0c 00003a8c 12 06 00000001"),
        ("MS-MPPE-Encryption-Policy = Encryption-Required", "1a 0c 00000137 07 06 00000002"),
        ("MS-CHAP2-Success = 0x01533d", "1a 0b 00000137 1a 05 01533d"),
        ("MS-Primary-DNS-Server = 192.0.2.53", "1a 0c 00000137 1c 06 c0000235"),
        // Those whose attributes have other headers.
        ("USR-Last-Number-Dialed-In-DNIS = \"555\"", "1a 0d 000001ad 000000e8 353535"),
        ("USR-Event-Id = 7", "1a 0e 000001ad 0000bfbe 00000007"),
        ("Attr-26.4846.300 = 0x01", "1a 0a 000012ee 012c 04 01"),
        ("Attr-26.8164.300 = 0x01", "1a 0b 00001fe4 012c 0005 01"),
        ("WiMAX-Release = \"1.0\"", "1a 0e 000060b5 01 08 00 01 05 312e30"),
        ("WiMAX-GMT-Timezone-offset = -1", "1a 0d 000060b5 03 07 00 ffffffff"),
        // RFC 6929 sections 2.1 to 2.4.
        ("Frag-Status = More-Data-Pending", "f1 07 01 00000002"),
        ("IP-Port-Range-Start = 1024", "f1 09 06 09 06 00000400"),
        ("SAML-Protocol = \"<a>\"", "f5 07 02 00 3c613e"),
        ("Attr-241.26.9.1 = 0xff", "f1 09 1a 00000009 01 ff"),
        ("Attr-245.26.9.1 = 0xff", "f5 0a 1a 00 00000009 01 ff"),
        ("Attr-250 = 0x", "fa 02"),
        // RFC 2865 section 5: left out instead.
        ("Reply-Message = \"\"", ""),
        ("EAP-Message = 0x", ""),
    ] {
        assert_eq!(encode(text), Ok(hex(expected)), "{text}");
        let decoded = Dictionary::built_in().decode(&hex(expected));
        if !expected.is_empty() && text != "Tunnel-Private-Group-Id = \"\\001a\"" {
            let mut expected = pair(text);
            expected.operator = Operator::Equal;
            assert_eq!(decoded, [expected], "{text}");
        }
    }
}

#[test]
fn several_of_a_vendor_each_have_their_vendor_specific() {
    let pairs = [pair("Mikrotik-Group = full"), pair("Mikrotik-Host-IP = 10.0.0.1")];
    let mut out = Vec::new();
    assert_eq!(Dictionary::built_in().encode_all(&pairs, &mut out), Ok(vec![]));
    assert_eq!(out, hex("1a 0c 00003a8c 03 06 66756c6c 1a 0c 00003a8c 0a 06 0a000001"));
}

#[test]
fn neighbours_in_a_tlv_share_it() {
    let dictionary = Dictionary::built_in();
    let pairs = [
        pair("IP-Port-Range-Type = 1"),
        pair("IP-Port-Range-Start = 1"),
        pair("User-Name = x"),
        pair("IP-Port-Range-End = 2"),
    ];
    let mut out = Vec::new();
    assert_eq!(dictionary.encode_all(&pairs, &mut out), Ok(vec![]));
    let expected = "f1 0f 06 01 06 00000001 09 06 00000001 01 03 78 f1 09 06 0a 06 00000002";
    assert_eq!(out, hex(expected));
    assert_eq!(dictionary.decode(&out), pairs);

    let wimax = [pair("WiMAX-Release = \"1.0\""), pair("WiMAX-Hotlining-Capabilities = 3")];
    let mut out = Vec::new();
    dictionary.encode_all(&wimax, &mut out).unwrap();
    assert_eq!(out, hex("1a 11 000060b5 01 0b 00 01 05 312e30 03 03 03"));
    assert_eq!(dictionary.decode(&out), wimax);

    // More than one TLV has place for.
    let many: Vec<Pair> =
        (0..100).map(|at| pair(&format!("IP-Port-Range-Local-Id = \"{at:020}\""))).collect();
    let mut out = Vec::new();
    dictionary.encode_all(&many, &mut out).unwrap();
    assert!(out.len() < 100 * 25, "{}", out.len());
    assert_eq!(dictionary.decode(&out), many);
}

#[test]
fn tlvs_within_tlvs() {
    let text = "VENDOR Lab 65000\nBEGIN-VENDOR Lab\nATTRIBUTE Lab-Outer 1 tlv\nATTRIBUTE Lab-Inner 1.2 tlv\n\
        ATTRIBUTE Lab-Deep 1.2.3 byte\nATTRIBUTE Lab-Deeper 1.2.4 byte\nATTRIBUTE Lab-Flat 1.5 byte\nEND-VENDOR Lab";
    let dictionary = Dictionary::built_in().with_text("lab", text).unwrap();
    let pairs = ["Lab-Deep = 1", "Lab-Deeper = 2", "Lab-Flat = 3", "Lab-Flat = 4"]
        .map(|text| Pair::parse(&dictionary, text).unwrap());
    let mut out = Vec::new();
    dictionary.encode_all(&pairs, &mut out).unwrap();
    assert_eq!(out, hex("1a 16 0000fde8 01 10 02 08 03 03 01 04 03 02 05 03 03 05 03 04"));
    assert_eq!(dictionary.decode(&out), pairs);
}

#[test]
fn long_values_are_spread_where_they_may_be() {
    let dictionary = Dictionary::built_in();
    for (name, pieces, piece) in [
        ("EAP-Message", 253_usize, 2),
        ("SAML-Assertion", 251, 4),
        ("WiMAX-AAA-Session-Id", 246, 9),
    ] {
        for length in [1, pieces - 1, pieces, pieces + 1, 2 * pieces, 2 * pieces + 1, 1000] {
            let attribute = dictionary.attribute(name).unwrap().clone();
            let bytes = (0..length).map(|at| at as u8).collect::<Vec<u8>>();
            let value = match attribute.kind() {
                Type::Text => Value::Text(bytes.into()),
                _ => Value::Octets(bytes.into()),
            };
            let long = Pair::new(attribute, Operator::Equal, value);
            let mut out = Vec::new();
            assert_eq!(dictionary.encode(&long, &mut out), Ok(Encoded::Plain));
            assert_eq!(out.len(), length + length.div_ceil(pieces) * piece, "{name} {length}");
            out.extend(hex("01 03 78"));
            assert_eq!(dictionary.decode(&out), [long, pair("User-Name = x")], "{name} {length}");
        }
    }
    // RFC 6929 section 2.2: the first is full and says that it goes on, the last doesn't.
    let text = format!("SAML-Assertion = \"{}\"", "a".repeat(252));
    let out = encode(&text).unwrap();
    assert_eq!((&out[..4], &out[255..]), (&[245, 255, 1, 0x80][..], &[245, 5, 1, 0, b'a'][..]));
    // The vendor stands in the first piece alone (section 2.4).
    let text = format!("Attr-246.26.9.1 = 0x{}", "ab".repeat(300));
    let out = encode(&text).unwrap();
    assert_eq!(
        (&out[..9], &out[255..260]),
        (&[246, 255, 26, 0x80, 0, 0, 0, 9, 1][..], &[246, 58, 26, 0, 0xab][..])
    );
    assert_eq!(dictionary.decode(&out), [pair(&text)]);
}

#[test]
fn what_is_hidden_is_left_to_whoever_has_the_secret() {
    let dictionary = Dictionary::built_in();
    for (text, hiding, vendor, kind, tag, plain) in [
        ("User-Password = secret", Hiding::UserPassword, 0, 2, None, &b"secret"[..]),
        ("Tunnel-Password:3 = secret", Hiding::TunnelPassword, 0, 69, Some(3), b"secret"),
        ("Tunnel-Password = \"\\001\"", Hiding::TunnelPassword, 0, 69, Some(0), b"\x01"),
        ("MS-MPPE-Send-Key = 0x0102", Hiding::TunnelPassword, 311, 16, None, b"\x01\x02"),
        ("MS-CHAP-MPPE-Keys = 0x00", Hiding::UserPassword, 311, 12, None, b"\0"),
    ] {
        let mut out = b"before".to_vec();
        let hidden = Hidden { hiding, vendor, kind, tag, plain: plain.into() };
        assert!(!format!("{hidden:?}").contains("plain"));
        let encoded = dictionary.encode(&pair(text), &mut out);
        assert_eq!(encoded, Ok(Encoded::Hidden(hidden.clone())), "{text}");
        assert_eq!(out, b"before");
        let all = [pair("User-Name = x"), pair(text)];
        assert_eq!(dictionary.encode_all(&all, &mut out), Ok(vec![hidden]));
        assert_eq!(out, b"before\x01\x03x");
    }
}

#[test]
fn what_cannot_be_sent() {
    let long = format!("Reply-Message = \"{}\"", "a".repeat(254));
    let vendor = format!("Cisco-AVPair = \"{}\"", "a".repeat(248));
    let extended = format!("Attr-241.99 = 0x{}", "ab".repeat(253));
    let inner = format!("IP-Port-Range-Local-Id = \"{}\"", "a".repeat(254));
    let mut wrong = pair("NAS-Port = 5");
    wrong.value = Value::from_text("five");
    let mut tag = pair("Tunnel-Type = 5");
    tag.tag = Some(32);
    let mut tagged = pair("NAS-Port = 5");
    tagged.tag = Some(1);
    let mut large = pair("Tunnel-Type = 5");
    large.value = Value::Number(0x100_0000);
    for (bad, word) in [
        (pair("Pool-Name := x"), "server alone"),
        (pair("Fall-Through = Yes"), "server alone"),
        (pair("User-Name == x"), "sets nothing"),
        (pair("User-Name =* ANY"), "sets nothing"),
        (pair("Ascend-Send-Secret = x"), "not supported"),
        (pair(&long), "254 bytes, and 253"),
        (pair(&vendor), "254 bytes, and 253"),
        (pair(&extended), "254 bytes, and 253"),
        (pair(&inner), "254 bytes, and 253"),
        (wrong, "type, integer"),
        (tag, "tags are 0 to 31"),
        (tagged, "tags are 0 to 31"),
        (large, "16777215"),
    ] {
        let mut out = b"before".to_vec();
        let error = Dictionary::built_in().encode(&bad, &mut out).expect_err("an error");
        assert!(error.to_string().contains(word), "{bad:?}: {error}");
        assert_eq!(out, b"before");
        let all = [pair("User-Name = x"), bad];
        assert_eq!(Dictionary::built_in().encode_all(&all, &mut out), Err(error));
        assert_eq!(out, b"before");
    }
}
