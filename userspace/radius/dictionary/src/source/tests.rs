use std::fs;

use proptest::prelude::*;

use super::*;

fn with(text: &str) -> Dictionary {
    Dictionary::built_in().with_text("lab", text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn definitions_of_all_kinds() {
    let dictionary = with(
        "\u{feff}# a comment\r\n\
         VENDOR Lab 65000 # another\n\
         BEGIN-VENDOR Lab\n\
         \tATTRIBUTE\tLab-Text\t1\tstring\n\
         attribute Lab-Tlv 2 tlv\n\
         BEGIN-TLV Lab-Tlv\n\
         ATTRIBUTE Lab-Inner 1 integer has_tag\n\
         END-TLV Lab-Tlv\n\
         ATTRIBUTE Lab-Other 2.2 octets[3]\n\
         VALUE Lab-Late Early 0x10\n\
         ATTRIBUTE Lab-Late 3 integer\n\
         ATTRIBUTE Lab-Copy 4 integer\n\
         VALUE-ALIAS Lab-Copy Lab-Late\n\
         VALUE Lab-Copy Own 0x20\n\
         END-VENDOR Lab\n\
         ATTRIBUTE Lab-Old 5 string Lab\n\
         ATTRIBUTE Lab-Dotted 26.65000.6 uint32 encrypt=2,has_tag\n\
         VENDOR Wide 65001 format=2,1\n\
         BEGIN-VENDOR Wide\n\
         ATTRIBUTE Wide-Number 0x0200 integer\n\
         END-VENDOR Wide\n\
         BEGIN-VENDOR Lab format=Extended-Vendor-Specific-2\n\
         ATTRIBUTE Lab-Extended 7 string\n\
         END-VENDOR Lab\n\
         ATTRIBUTE Lab-Long 246.9 string\n\
         ATTRIBUTE Lab-Local 3000 string\n\
         ATTRIBUTE Lab-Timer 3001 timeval\n\
         $INCLUDE- nowhere",
    );
    for (name, numbers) in [
        ("Lab-Text", &[26, 65_000, 1][..]),
        ("Lab-Inner", &[26, 65_000, 2, 1]),
        ("Lab-Other", &[26, 65_000, 2, 2]),
        ("Lab-Old", &[26, 65_000, 5]),
        ("Lab-Dotted", &[26, 65_000, 6]),
        ("Wide-Number", &[26, 65_001, 512]),
        ("Lab-Extended", &[242, 26, 65_000, 7]),
        ("Lab-Long", &[246, 9]),
        ("Lab-Local", &[3000]),
    ] {
        let attribute = dictionary.attribute(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(attribute.numbers(), numbers, "{name}");
    }
    let copy = dictionary.attribute("Lab-Copy").unwrap();
    assert_eq!((copy.value_number("early"), copy.value_name(32)), (Some(16), Some("Own")));
    let dotted = dictionary.attribute("Lab-Dotted").unwrap();
    assert_eq!((dotted.tagged(), dotted.hiding()), (true, Hiding::TunnelPassword));
    assert_eq!(dictionary.vendor("lab").unwrap().number(), 65_000);
    let format = Format { type_octets: 2, length_octets: 1, continuation: false };
    assert_eq!(dictionary.vendor_by_number(65_001).unwrap().format(), format);
    // What was there is there still.
    assert!(dictionary.attribute("User-Name").is_some());
    assert!(Dictionary::built_in().attribute("Lab-Text").is_none());
}

#[test]
fn the_operators_definitions_go_before_the_built_in_ones() {
    let dictionary = with(
        "ATTRIBUTE Class 25 string\n\
         VALUE NAS-Port-Type Balloon 99\n\
         VALUE NAS-Port-Type Cable 98\n\
         ATTRIBUTE My-User 1 string\n\
         ATTRIBUTE Cleartext-Password 9000 string\n\
         ATTRIBUTE Expiration 21 date\n\
         VENDOR Cisco 9\n\
         ATTRIBUTE Service-Type 6 integer\n\
         VENDOR Second-Name 24757\n",
    );
    assert_eq!(dictionary.attribute("Class").unwrap().kind(), Type::Text);
    let port = dictionary.attribute("NAS-Port-Type").unwrap();
    assert_eq!((port.value_number("Balloon"), port.value_name(99)), (Some(99), Some("Balloon")));
    assert_eq!((port.value_number("cable"), port.value_name(17)), (Some(98), None));
    assert_eq!(dictionary.by_number(0, &[1]).unwrap().name(), "My-User");
    assert_eq!(dictionary.attribute("User-Name").unwrap().numbers(), [1]);
    // What the server goes by stays as it is.
    let password = dictionary.attribute("Cleartext-Password").unwrap();
    assert!(password.is_internal() && password.is_secret());
    assert!(dictionary.attribute("Expiration").unwrap().is_internal());
    assert_eq!(dictionary.attribute("Service-Type").unwrap().value_number("Framed"), Some(2));
    assert!(dictionary.vendor_by_number(24_757).unwrap().format().continuation);
    let unchanged = Dictionary::built_in();
    assert_eq!(unchanged.attribute("NAS-Port-Type").unwrap().value_name(17), Some("Cable"));
}

#[test]
fn problems_name_their_lines() {
    for (text, line, word) in [
        ("\nFOO bar", 2, "\"FOO\" is not known"),
        ("ATTRIBUTE Foo 1", 1, "a name, a number and a type"),
        ("ATTRIBUTE Fo:o 1 string", 1, "letters, digits"),
        ("ATTRIBUTE Attr-26.9.7 7 string", 1, "without a name"),
        ("ATTRIBUTE Foo 1 strin", 1, "there are string, octets"),
        ("ATTRIBUTE Foo 1 string[0]", 1, "not a type"),
        ("ATTRIBUTE Foo 1 string[x]", 1, "not a type"),
        ("ATTRIBUTE Foo 1 integer[4]", 1, "only octets"),
        ("ATTRIBUTE Foo 0 string", 1, "not the number"),
        ("ATTRIBUTE Foo x string", 1, "not the number"),
        ("ATTRIBUTE Foo 1.2 string", 1, "holds others"),
        ("ATTRIBUTE Foo 26.9 string", 1, "can't have number"),
        ("ATTRIBUTE Foo 26.9.256 string", 1, "can't have number"),
        ("ATTRIBUTE Foo 241.256 string", 1, "can't have number"),
        ("ATTRIBUTE Foo 1 string bar", 1, "neither a flag nor a vendor"),
        ("ATTRIBUTE Foo 1 string encrypt=4", 1, "encrypt=3"),
        ("ATTRIBUTE Foo 1 ipaddr has_tag", 1, "can't have tags"),
        ("ATTRIBUTE Foo 1 integer concat", 1, "can't be concatenated"),
        ("ATTRIBUTE Foo 241.9 octets concat", 1, "can't be concatenated"),
        ("ATTRIBUTE Foo 1 string array", 1, "fixed size"),
        ("ATTRIBUTE Foo 250 tlv has_tag", 1, "no flags of its own"),
        ("ATTRIBUTE Foo 27 vsa", 1, "number 26"),
        ("ATTRIBUTE Foo 241.9 evs", 1, "number 26"),
        ("ATTRIBUTE Foo 241.9 extended", 1, "write tlv"),
        ("ATTRIBUTE Foo 250 timeval", 1, "no type for an attribute in a packet"),
        ("ATTRIBUTE User-Name 2 string", 1, "already the name of attribute 1"),
        ("ATTRIBUTE Cleartext-Password 9000 integer", 1, "server's own"),
        ("ATTRIBUTE Vendor-Specific 26 string", 1, "holds others"),
        ("ATTRIBUTE Foo 241 extended", 1, "call it Extended-Attribute-1"),
        ("VALUE Service-Type", 1, "VALUE wants"),
        ("\n\nVALUE Servce-Type Foo 1", 3, "is Service-Type meant?"),
        ("VALUE User-Name Foo 1", 1, "of type string"),
        ("VALUE Service-Type Foo x", 1, "up to 4294967295"),
        ("VALUE Service-Type Foo 4294967296", 1, "up to 4294967295"),
        ("VALUE Service-Type Foo 70\nVALUE Service-Type FOO 71", 2, "defined twice"),
        ("VALUE-ALIAS Service-Type", 1, "two attributes"),
        ("VALUE-ALIAS Service-Type Foo", 1, "Foo is not an attribute"),
        ("VALUE-ALIAS Service-Type User-Name", 1, "of type string"),
        ("VENDOR Foo", 1, "VENDOR wants"),
        ("VENDOR Foo 0", 1, "not a vendor's number"),
        ("VENDOR Cisco 10", 1, "already the name of vendor 9"),
        ("VENDOR Foo 65000 format=3,1", 1, "not a format"),
        ("VENDOR Foo 65000 format=2,1,c", 1, "not a format"),
        ("VENDOR Foo 65000 2,1", 1, "not a format"),
        ("BEGIN-VENDOR Foo", 1, "not a vendor"),
        ("BEGIN-VENDOR Cisco", 1, "never ended"),
        (
            "BEGIN-VENDOR Cisco\nBEGIN-VENDOR Microsoft\nEND-VENDOR Cisco",
            2,
            "of line 1 is not ended",
        ),
        ("BEGIN-VENDOR Cisco format=User-Name\n", 1, "type evs"),
        ("BEGIN-VENDOR Cisco\nEND-VENDOR Microsoft\nEND-VENDOR Cisco", 2, "write END-VENDOR Cisco"),
        ("END-VENDOR Cisco", 1, "without"),
        ("BEGIN-TLV User-Name", 1, "not of type tlv"),
        ("BEGIN-TLV Foo", 1, "not an attribute"),
        ("BEGIN-TLV IP-Port-Range", 1, "never ended"),
        ("END-TLV IP-Port-Range", 1, "without"),
        (
            "BEGIN-TLV IP-Port-Range\nEND-TLV User-Name\nEND-TLV IP-Port-Range",
            2,
            "write END-TLV IP-Port-Range",
        ),
        ("$INCLUDE", 1, "$INCLUDE wants"),
        ("$INCLUDE foo", 1, "correct or remove"),
        ("PROTOCOL RADIUS 1", 1, "FreeRADIUS 4"),
    ] {
        let error = Dictionary::built_in().with_text("lab", text).expect_err(text);
        let first = &error.problems[0];
        assert_eq!((error.line, error.problems.len()), (Some(line), 1), "{text}: {error}");
        assert!(first.to_string().starts_with(&format!("lab:{line}: ")), "{text}: {first}");
        assert!(first.to_string().contains(word), "{text}: {first}");
    }
}

#[test]
fn all_problems_are_told_up_to_a_bound() {
    let error = Dictionary::built_in().with_text("lab", "FOO\nVENDOR X 65000\nBAR\n").unwrap_err();
    assert_eq!(
        error.problems.iter().map(|problem| problem.line).collect::<Vec<_>>(),
        [Some(1), Some(3)]
    );
    assert_eq!(error.to_string().lines().count(), 2);
    let error = Dictionary::built_in().with_text("lab", &"FOO\n".repeat(1000)).unwrap_err();
    assert_eq!(error.problems.len(), MOST_PROBLEMS);
}

#[test]
fn names_of_values_that_are_numbers_stand_for_themselves() {
    let dictionary =
        with("ATTRIBUTE Lab 3000 signed\nVALUE Lab 5 6\nVALUE Lab -5 6\nVALUE Lab Cold -6\n");
    let lab = dictionary.attribute("Lab").unwrap();
    assert_eq!(lab.value_names().count(), 1);
    assert_eq!(lab.value_number("cold"), Some(u64::MAX - 5));
}

#[test]
fn files_include_others_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    let main = write("dictionary", "$INCLUDE more/one\nVALUE One First 1\n");
    write("more/one", "$INCLUDE two\nATTRIBUTE One 3000 integer\n");
    write("more/two", "ATTRIBUTE Two 3001 string\n$INCLUDE- nowhere\n");
    let dictionary = Dictionary::built_in().with_file(&main).unwrap();
    assert_eq!(dictionary.attribute("One").unwrap().value_number("First"), Some(1));
    assert!(dictionary.attribute("Two").is_some());

    // What is wrong is told where it is.
    let two = write("more/two", "\nATTRIBUTE Two\n");
    let error = Dictionary::built_in().with_file(&main).unwrap_err();
    assert_eq!(
        (error.file.canonicalize().unwrap(), error.line),
        (two.canonicalize().unwrap(), Some(2))
    );

    for (text, word) in [
        ("$INCLUDE dictionary", "includes itself"),
        ("$INCLUDE more", "not a regular file"),
        ("$INCLUDE /dev/null", "not a regular file"),
        ("$INCLUDE nowhere", "can't be read"),
    ] {
        let main = write("dictionary", text);
        let error = Dictionary::built_in().with_file(&main).unwrap_err();
        assert!(error.to_string().contains(word), "{text}: {error}");
    }
    for depth in 0..20 {
        write(&format!("deep{depth}"), &format!("$INCLUDE deep{}\n", depth + 1));
    }
    write("deep20", "");
    let error = Dictionary::built_in().with_file(&folder.path().join("deep0")).unwrap_err();
    assert!(error.to_string().contains("10th file within another"), "{error}");
    assert!(Dictionary::built_in().with_file(&folder.path().join("deep12")).is_ok());

    let error = Dictionary::built_in().with_file(&folder.path().join("none")).unwrap_err();
    assert_eq!(error.line, None);
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "(?s).{0,300}") {
        crate::fuzzing::dictionary(text.as_bytes());
    }

    #[test]
    fn any_words_are_survived(words in proptest::collection::vec(proptest::sample::select(vec![
        "ATTRIBUTE", "VALUE", "VALUE-ALIAS", "VENDOR", "BEGIN-VENDOR", "END-VENDOR", "BEGIN-TLV", "END-TLV", "\n", "\n", "\n",
        "A", "B", "C", "User-Name", "1", "2", "26", "26.9.1", "241", "241.1", "241.26", "2.3", "300", "string", "integer", "tlv",
        "evs", "vsa", "extended", "long-extended", "octets[2]", "has_tag", "encrypt=2", "concat", "array", "signed", "-1",
        "format=1,1,c", "format=4,0", "format=A", "#", "$INCLUDE", "$INCLUDE-",
    ]), 0..60)) {
        crate::fuzzing::dictionary(words.join(" ").as_bytes());
    }
}
