use std::collections::HashMap;

use data_encoding::BASE64;
use proptest::prelude::*;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::*;

/// RFC 8463 appendix A.
const VECTOR: &str = concat!(
    "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n",
    " d=football.example.com; i=@football.example.com;\r\n",
    " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n",
    " subject : date : message-id : from : subject : date;\r\n",
    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n",
    " b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n",
    " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n",
    "From: Joe SixPack <joe@football.example.com>\r\n",
    "To: Suzie Q <suzie@shopping.example.net>\r\n",
    "Subject: Is dinner ready?\r\n",
    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n",
    "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n",
    "\r\n",
    "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
);

const VECTOR_RECORD: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

/// The tags of a list: RFC 6376 section 3.2.
fn tags(text: &str) -> HashMap<String, String> {
    text.split(';')
        .filter_map(|tag| tag.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.split_whitespace().collect::<String>()))
        .collect()
}

fn relaxed(field: &str) -> String {
    let (name, value) = field.split_once(':').unwrap();
    let value = value.replace("\r\n", "").replace('\t', " ");
    let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
    format!("{}:{}", name.trim_end().to_lowercase(), words.join(" "))
}

/// Verifies the first signature of a message by the steps of RFC 6376 section 6.1, which are none of those that signed.
fn verify(message: &str, record: &str) -> Result<HashMap<String, String>, String> {
    let (header, body) = message.split_once("\r\n\r\n").unwrap();
    let unfolded = header.replace("\r\n ", "\u{1} ").replace("\r\n\t", "\u{1}\t");
    let mut fields: Vec<String> =
        unfolded.split("\r\n").map(|field| field.replace('\u{1}', "\r\n")).collect();
    let own = fields.remove(0);
    let signature = tags(own.split_once(':').unwrap().1);

    let mut lines: Vec<String> = body
        .split("\r\n")
        .map(|line| {
            let mut out = String::new();
            for char in line.replace('\t', " ").chars() {
                if !(char == ' ' && out.ends_with(' ')) {
                    out.push(char);
                }
            }
            out.trim_end_matches(' ').to_owned()
        })
        .collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    let body: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    if BASE64.encode(digest(&SHA256, body.as_bytes()).as_ref()) != signature["bh"] {
        return Err("the body".to_owned());
    }

    let mut signed = String::new();
    for name in signature["h"].split(':') {
        let at = fields.iter().rposition(|field| {
            field.split_once(':').unwrap().0.trim_end().eq_ignore_ascii_case(name)
        });
        if let Some(at) = at {
            signed.push_str(&relaxed(&fields.remove(at)));
            signed.push_str("\r\n");
        }
    }
    let end = own.rfind("b=").unwrap() + 2;
    signed.push_str(&relaxed(&own[..end]));

    let public = BASE64.decode(tags(record)["p"].as_bytes()).unwrap();
    let given = BASE64.decode(signature["b"].as_bytes()).unwrap();
    let good = match signature["a"].as_str() {
        "ed25519-sha256" => UnparsedPublicKey::new(&ED25519, &public)
            .verify(digest(&SHA256, signed.as_bytes()).as_ref(), &given),
        // What ring reads is the key inside of the record's.
        _ => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public[24..])
            .verify(signed.as_bytes(), &given),
    };
    good.map(|()| signature).map_err(|_| "the signature".to_owned())
}

fn hand(algorithm: DkimAlgorithm) -> Hand {
    let pem = new_key(algorithm).unwrap();
    let key = Arc::new(SigningKey::read(algorithm, pem.reveal()).unwrap());
    Hand { domain: Domain::parse("isp.example").unwrap(), selector: "2026a".to_owned(), key }
}

fn signed(hand: &Hand, head: &str, message: &str) -> String {
    let hands = [Hand {
        key: Arc::clone(&hand.key),
        selector: hand.selector.clone(),
        domain: hand.domain.clone(),
    }];
    format!("{}{head}{message}", signatures(&hands, head, message.as_bytes(), 1_800_000_000))
}

#[test]
fn the_verifier_of_these_tests_agrees_with_the_standard() {
    verify(VECTOR, VECTOR_RECORD).unwrap();
    let changed = VECTOR.replace("hungry", "angry");
    assert_eq!(verify(&changed, VECTOR_RECORD).unwrap_err(), "the body");
    let changed = VECTOR.replace("Suzie Q", "Suzie P");
    assert_eq!(verify(&changed, VECTOR_RECORD).unwrap_err(), "the signature");
}

#[test]
fn the_standards_key_signs_as_the_standard_says() {
    // The seed of RFC 8463 appendix A.2 in PKCS #8 (RFC 8410 section 7).
    let seed = BASE64.decode(b"nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=").unwrap();
    let der =
        [&b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20"[..], &seed].concat();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        BASE64.encode(&der)
    );
    let key = SigningKey::read(DkimAlgorithm::Ed25519Sha256, &pem).unwrap();
    assert_eq!(key.record(), VECTOR_RECORD);
}

#[test]
fn what_is_signed_is_verified_and_what_is_changed_is_not() {
    let message = "From: Ann <ann@isp.example>\r\nTo: x@example.org,\r\n\ty@example.org\r\nSubject:  a \t b\r\n\
        To: z@example.org\r\nX-Other: 1\r\n\r\nA  line \r\n\r\n.\r\nlast\t\r\n\r\n\r\n";
    for algorithm in [DkimAlgorithm::RsaSha256, DkimAlgorithm::Ed25519Sha256] {
        let hand = hand(algorithm);
        let record = hand.key.record();
        let whole = signed(&hand, "Message-ID: <1@isp.example>\r\n", message);
        assert!(whole.split("\r\n").all(|line| line.len() <= 78), "{whole}");
        let tags = verify(&whole, &record).unwrap();
        assert_eq!(tags["d"], "isp.example");
        assert_eq!((&*tags["s"], &*tags["t"]), ("2026a", "1800000000"));
        // Once more than they are there.
        let count = |name: &str| tags["h"].split(':').filter(|one| *one == name).count();
        assert_eq!((count("from"), count("to"), count("cc"), count("date")), (2, 3, 1, 0));
        assert_eq!((count("message-id"), count("x-other")), (2, 0));

        for (change, to, good) in [
            ("X-Other: 1", "X-Other: 2", true),
            ("Subject:  a \t b", "subject: a b", true),
            ("\r\n\r\n\r\n", "\r\n", true),
            ("From: Ann", "From: Eve", false),
            ("X-Other: 1", "From: eve@isp.example", false),
            ("X-Other: 1", "Reply-To: eve@isp.example", false),
            ("last", "past", false),
            ("t=1800000000", "t=1800000001", false),
        ] {
            assert!(whole.contains(change), "{change}");
            let changed = whole.replace(change, to);
            assert_eq!(verify(&changed, &record).is_ok(), good, "{algorithm:?}: {change} -> {to}");
        }
    }
}

#[test]
fn what_readers_would_part_differently_is_not_signed() {
    let hand = hand(DkimAlgorithm::Ed25519Sha256);
    for (message, is_signed) in [
        ("From: a@isp.example\r\n\r\nx\r\n", true),
        ("From: a@isp.example\r\n", true),
        ("\r\nx\r\n", true),
        ("From: a@isp.example\r\nno field\r\n\r\nx\r\n", false),
        ("x\r\n", false),
    ] {
        let whole = signed(&hand, "Date: now\r\n", message);
        assert_eq!(whole.starts_with("DKIM-Signature"), is_signed, "{message}");
    }
}

#[test]
fn keys_are_read_or_refused() {
    let rsa = new_key(DkimAlgorithm::RsaSha256).unwrap();
    let key = SigningKey::read(DkimAlgorithm::RsaSha256, rsa.reveal()).unwrap();
    assert!(key.record().starts_with("v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8A"));
    assert!(!format!("{key:?}").contains("PRIVATE"));
    let error = |algorithm, pem: &str| SigningKey::read(algorithm, pem).unwrap_err().to_string();
    let other = error(DkimAlgorithm::Ed25519Sha256, rsa.reveal());
    assert!(other.starts_with("this is no private key for ed25519-sha256"), "{other}");
    assert!(error(DkimAlgorithm::RsaSha256, "hello").contains("not in PEM"));
}

#[test]
fn authors_are_found() {
    let of = |text: &str| author(text.as_bytes()).map(|domain| domain.to_string());
    assert_eq!(of("Subject: x\r\nFrom: A <a@B.example>\r\n\r\n").as_deref(), Some("b.example"));
    assert_eq!(of("Subject: x\r\n\r\nFrom: a@b.example\r\n"), None);
}

proptest! {
    #[test]
    fn any_body_is_verified(
        pieces in prop::collection::vec(prop_oneof!["\r\n", " ", "\t", "[a-z=.]{1,80}"], 0..40),
        subject in "[ -~]{0,90}",
    ) {
        let hand = hand(DkimAlgorithm::Ed25519Sha256);
        let message = format!(
            "From: a@isp.example\r\nSubject: {subject}\r\n\r\n{}", pieces.concat()
        );
        let whole = signed(&hand, "", &message);
        prop_assert!(verify(&whole, &hand.key.record()).is_ok(), "{}", whole);
    }
}
