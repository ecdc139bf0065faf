use proptest::prelude::*;

use super::*;

const TODAY: i64 = 20_781;

fn keys() -> Keys {
    Keys::of_secrets(&["a secret for tests"]).unwrap()
}

fn address(text: &str) -> Address {
    Address::parse(text).unwrap()
}

#[test]
fn there_and_back() {
    for sender in [
        "user@example.org",
        "\"a b\"@example.org",
        "a=b@example.org",
        "\u{fc}@example.org",
        "u@[192.0.2.1]",
    ] {
        let sender = address(sender);
        let signed = sign(&sender, &keys(), TODAY).unwrap();
        assert!(signed.local.as_str().starts_with("prvs=0795"), "{signed}");
        assert_eq!(check(&signed, &keys(), TODAY), Verdict::Signed(sender.clone()));
        assert_eq!(check(&signed, &keys(), TODAY + DAYS), Verdict::Signed(sender.clone()));
        assert_eq!(check(&signed, &keys(), TODAY - 1), Verdict::Signed(sender.clone()));
        assert_eq!(check(&signed, &keys(), TODAY + DAYS + 1), Verdict::Expired(sender.clone()));
        assert_eq!(check(&sender, &keys(), TODAY), Verdict::Plain);
        // Not twice.
        assert_eq!(sign(&signed, &keys(), TODAY), None);
    }
}

#[test]
fn over_the_end_of_the_cycle() {
    let sender = address("user@example.org");
    let signed = sign(&sender, &keys(), 995).unwrap();
    assert_eq!(check(&signed, &keys(), 995 + DAYS), Verdict::Signed(sender));
}

#[test]
fn letter_case() {
    let signed = sign(&address("user@example.org"), &keys(), TODAY).unwrap();
    let loud = address(&format!("{}@EXAMPLE.ORG", signed.local.as_str().to_uppercase()));
    assert_eq!(check(&loud, &keys(), TODAY), Verdict::Signed(address("USER@example.org")));
}

#[test]
fn forged() {
    let signed = sign(&address("user@example.org"), &keys(), TODAY).unwrap();
    let tag = signed.local.as_str().strip_suffix("user").unwrap();
    for (text, verdict) in [
        // For another, and elsewhere.
        (format!("{tag}other@example.org"), Verdict::Forged),
        (format!("{tag}user@example.net"), Verdict::Forged),
        ("prvs=0795000000=user@example.org".to_owned(), Verdict::Forged),
        // Names that only begin like it.
        ("prvs=user@example.org".to_owned(), Verdict::Plain),
        ("prvs=079500000=user@example.org".to_owned(), Verdict::Plain),
        ("prvs=07950000000=user@example.org".to_owned(), Verdict::Plain),
        ("prvs=x795000000=user@example.org".to_owned(), Verdict::Plain),
        ("prvs=079500000x=user@example.org".to_owned(), Verdict::Plain),
        ("prvs=0795000000=@example.org".to_owned(), Verdict::Plain),
        ("prvs@example.org".to_owned(), Verdict::Plain),
    ] {
        assert_eq!(check(&address(&text), &keys(), TODAY), verdict, "{text}");
    }
    let others = Keys::of_secrets(&["another's secret for tests"]).unwrap();
    assert_eq!(check(&signed, &others, TODAY), Verdict::Forged);
}

#[test]
fn room() {
    let longest = address(&format!("{}@example.org", "a".repeat(48)));
    assert!(has_room(&longest));
    assert!(sign(&longest, &keys(), TODAY).is_some());
    let longer = address(&format!("{}@example.org", "a".repeat(49)));
    assert!(!has_room(&longer));
    assert_eq!(sign(&longer, &keys(), TODAY), None);
}

proptest! {
    #[test]
    fn changed(at in 0usize..60, to in "[a-z0-9=]") {
        let sender = address("user@example.org");
        let signed = sign(&sender, &keys(), TODAY).unwrap();
        let mut text = signed.local.as_str().to_owned();
        let at = at % text.len();
        text.replace_range(at..=at, &to);
        let changed = text != signed.local.as_str();
        let verdict = check(&Address { local: LocalPart::new(&text).unwrap(), ..sender.clone() }, &keys(), TODAY);
        prop_assert_eq!(changed, matches!(verdict, Verdict::Forged | Verdict::Plain), "{}", text);
    }
}
