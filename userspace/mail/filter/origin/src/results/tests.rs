use muralla_mail_envelope::Address;
use proptest::prelude::*;

use super::*;
use crate::arc::Arc;
use crate::dkim::Dkim;
use crate::dmarc::{Dmarc, Policy};
use crate::spf::Spf;

fn ours() -> Vec<Domain> {
    vec![Domain::parse("mx.provider.example").unwrap()]
}

fn facts<'a>(by: &'a Domain, from: &'a ReversePath, name: Option<&'a Domain>) -> Facts<'a> {
    Facts { by, from, helo: "mail.example.org", name }
}

#[test]
fn what_is_written() {
    let by = Domain::parse("mx.provider.example").unwrap();
    let name = Domain::parse("mail.example.org").unwrap();
    let from = ReversePath::Address(Address::parse("bounces+user=x@example.org").unwrap());
    let authentication = Authentication {
        spf: Spf { outcome: Outcome::Pass, domain: "example.org".to_owned(), ..Spf::default() },
        dkim: vec![
            Dkim {
                outcome: Outcome::Pass,
                domain: "example.org".to_owned(),
                selector: "sel".to_owned(),
                algorithm: "rsa-sha256",
                mark: "AbC/+123".to_owned(),
                ..Dkim::default()
            },
            Dkim {
                outcome: Outcome::Fail,
                domain: "list.example".to_owned(),
                selector: "x".to_owned(),
                algorithm: "rsa-sha256",
                mark: "AAAAAAAA".to_owned(),
                reason: "the message was changed after it was signed".to_owned(),
                ..Dkim::default()
            },
        ],
        dmarc: Dmarc {
            outcome: Outcome::Pass,
            domain: "example.org".to_owned(),
            policy: Policy::Reject,
            ..Dmarc::default()
        },
        arc: Arc {
            outcome: Outcome::Pass,
            sealer: "list.example".to_owned(),
            sets: 1,
            ..Arc::default()
        },
        ..Authentication::default()
    };
    let expected = "Authentication-Results: mx.provider.example;\r\n\
        \tspf=pass smtp.mailfrom=example.org;\r\n\
        \tdkim=pass header.d=example.org header.s=sel header.a=rsa-sha256\r\n\
        \theader.b=\"AbC/+123\";\r\n\
        \tdkim=fail reason=\"the message was changed after it was signed\"\r\n\
        \theader.d=list.example header.s=x header.a=rsa-sha256 header.b=AAAAAAAA;\r\n\
        \tdmarc=pass header.from=example.org policy.dmarc=reject;\r\n\
        \tarc=pass (sealed by list.example);\r\n\
        \tiprev=pass policy.iprev=mail.example.org\r\n";
    assert_eq!(header(&authentication, facts(&by, &from, Some(&name))), expected);
    assert!(forged(expected.as_bytes(), &ours()).len() == 1);

    let nothing = header(&Authentication::default(), facts(&by, &from, None));
    assert_eq!(nothing, "Authentication-Results: mx.provider.example; none\r\n");
}

#[test]
fn nothing_forged_gets_through() {
    for (field, expected) in [
        ("Authentication-Results: mx.provider.example; dkim=pass", true),
        ("authentication-results: MX.provider.EXAMPLE; dkim=pass", true),
        ("Authentication-Results : mx.provider.example;dkim=pass", true),
        ("Authentication-Results:mx.provider.example", true),
        ("Authentication-Results: mx.provider.example. 1; none", true),
        ("Authentication-Results:\r\n\tmx.provider.example 1; none", true),
        ("Authentication-Results: (a (nested\\)) comment) mx.provider.example; none", true),
        ("Authentication-Results: mx.provider.example(comment); none", true),
        ("Authentication-Results: \"mx.provider\\.example\" 1; none", true),
        ("Authentication-Results:", true),
        ("Authentication-Results: ;", true),
        ("Authentication-Results: (open", true),
        ("Authentication-Results: \"open", true),
        ("Authentication-Results: mx.elsewhere.example; dkim=pass", false),
        ("Authentication-Results: sub.mx.provider.example; dkim=pass", false),
        ("Authentication-Results: word; dkim=pass", false),
        ("Authentication-Results: mx.elsewhere.example; (mx.provider.example) dkim=pass", false),
        ("ARC-Authentication-Results: i=1; mx.provider.example; dkim=pass", false),
        ("X-Authentication-Results: mx.provider.example; dkim=pass", false),
        ("Subject: Authentication-Results: mx.provider.example", false),
    ] {
        let message = format!("A: b\r\n{field}\r\nC: d\r\n\r\n{field}\r\n\r\nbody");
        let left = without_forged(message.as_bytes(), &ours());
        let without = format!("A: b\r\nC: d\r\n\r\n{field}\r\n\r\nbody");
        let expected = if expected { &without } else { &message };
        assert_eq!(String::from_utf8_lossy(&left), *expected, "{field}");
    }
}

/// However many fields there are before it.
#[test]
fn found_behind_a_long_header() {
    let field = "Authentication-Results: mx.provider.example; dkim=pass\r\n";
    let message = format!("{}{field}\r\n", "A: b\r\n".repeat(100_000));
    let found = forged(message.as_bytes(), &ours());
    assert_eq!(found, [600_000..600_000 + field.len()]);
}

proptest! {
    /// Whatever anybody claims, it is one field, of short lines, and no other result comes into it.
    #[test]
    fn claims_stay_claims(helo in ".*", domain in ".*", reason in ".*", selector in ".{0,40}") {
        let by = Domain::parse("mx.provider.example").unwrap();
        let authentication = Authentication {
            spf: Spf { outcome: Outcome::Fail, domain: domain.clone(), identity: Identity::Helo, reason: reason.clone(), ..Spf::default() },
            dkim: vec![Dkim { outcome: Outcome::Fail, domain, selector, reason, algorithm: "rsa-sha256", ..Dkim::default() }],
            ..Authentication::default()
        };
        let facts = Facts { by: &by, from: &ReversePath::Null, helo: &helo, name: None };
        let field = header(&authentication, facts);
        prop_assert!(field.is_ascii() && field.ends_with("\r\n"));
        let lines: Vec<_> = field.trim_end().split("\r\n").collect();
        prop_assert!(lines.iter().skip(1).all(|line| line.starts_with('\t')), "{field}");
        prop_assert!(lines.iter().all(|line| line.len() < 998));
        // Outside of quotes, there are the two results and no more.
        let mut quoted = false;
        let mut escaped = false;
        let mut outside = String::new();
        for char in field.chars() {
            match char {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                char if !quoted => outside.push(char),
                _ => {}
            }
        }
        prop_assert!(!quoted);
        prop_assert_eq!(outside.matches(';').count(), 2);
    }

    #[test]
    fn any_header(message in any::<Vec<u8>>()) {
        let left = without_forged(&message, &ours());
        prop_assert!(left.len() <= message.len());
    }
}
