use bytes::Bytes;
use muralla_mail_envelope::{Address, ReversePath};

use super::*;
use crate::authentication::{Arrival, Authentication, authenticate};
use crate::limits::Limits;
use crate::testing::{Signer, Zone, message};

async fn look(zone: &Zone, from: &str, message: &str) -> Authentication {
    let message = Bytes::from(message.to_owned());
    let arrival = Arrival {
        ip: "192.0.2.1".parse().unwrap(),
        helo: "mail.example.org",
        from: &ReversePath::Address(Address::parse(from).unwrap()),
        message: &message,
        now: 1_796_119_200,
    };
    authenticate(zone, &Limits::default(), arrival).await
}

#[test]
fn how_a_walk_goes() {
    for (domain, expected) in [
        ("example.org", vec!["example.org", "org"]),
        ("a.b.example.org", vec!["a.b.example.org", "b.example.org", "example.org", "org"]),
        ("org", vec![]),
        ("", vec![]),
        ("a..org", vec![]),
        (
            "a.b.c.d.e.f.g.h.i.example",
            vec![
                "a.b.c.d.e.f.g.h.i.example",
                "d.e.f.g.h.i.example",
                "e.f.g.h.i.example",
                "f.g.h.i.example",
                "g.h.i.example",
                "h.i.example",
                "i.example",
                "example",
            ],
        ),
    ] {
        assert_eq!(walk(domain), expected, "{domain}");
    }
}

#[test]
fn which_records_are_ones() {
    for (record, expected) in [
        ("v=DMARC1", true),
        ("v=DMARC1; p=none", true),
        (" v = DMARC1 ;p=none", true),
        ("v=DMARC1x; p=none", false),
        ("v=dmarc1; p=none", false),
        ("p=none; v=DMARC1", false),
        ("v=spf1 -all", false),
        ("", false),
    ] {
        assert_eq!(is_one(record.as_bytes()), expected, "{record}");
    }
}

/// The policy of the author's domain, of the organisation's, of names that are not there.
#[tokio::test]
async fn which_policy_applies() {
    for (author, records, host, policy, outcome) in [
        ("a@example.org", vec![("example.org", "p=reject")], "", Policy::Reject, Outcome::Fail),
        (
            "a@example.org",
            vec![("example.org", "p=quarantine; sp=none")],
            "",
            Policy::Quarantine,
            Outcome::Fail,
        ),
        (
            "a@example.org",
            vec![("example.org", "p=reject; t=y")],
            "",
            Policy::Quarantine,
            Outcome::Fail,
        ),
        (
            "a@example.org",
            vec![("example.org", "p=quarantine; t=y")],
            "",
            Policy::None,
            Outcome::Fail,
        ),
        (
            "a@sub.example.org",
            vec![("example.org", "p=reject; sp=none")],
            "sub.example.org",
            Policy::None,
            Outcome::Fail,
        ),
        (
            "a@sub.example.org",
            vec![("example.org", "p=none; np=reject")],
            "sub.example.org",
            Policy::None,
            Outcome::Fail,
        ),
        (
            "a@sub.example.org",
            vec![("example.org", "p=none; np=reject")],
            "",
            Policy::Reject,
            Outcome::Fail,
        ),
        (
            "a@sub.example.org",
            vec![("sub.example.org", "p=none"), ("example.org", "p=reject")],
            "",
            Policy::None,
            Outcome::Fail,
        ),
        ("a@example.org", vec![("org", "p=reject; psd=y")], "", Policy::Reject, Outcome::Fail),
        (
            "a@example.org",
            vec![("example.org", "rua=mailto:a@example.org")],
            "",
            Policy::None,
            Outcome::Fail,
        ),
        ("a@example.org", vec![("example.org", "")], "", Policy::None, Outcome::None),
        ("a@example.org", vec![], "", Policy::None, Outcome::None),
        (
            "a@example.org",
            vec![("example.org", "p=reject"), ("example.org", "p=reject")],
            "",
            Policy::None,
            Outcome::None,
        ),
        (
            "a@example.org",
            vec![("example.org", "p=whatever")],
            "",
            Policy::None,
            Outcome::PermError,
        ),
        (
            "a@one.example, b@two.example",
            vec![("one.example", "p=reject"), ("two.example", "p=reject")],
            "",
            Policy::None,
            Outcome::None,
        ),
        ("nobody", vec![], "", Policy::None, Outcome::None),
    ] {
        let mut zone = Zone::default().host("example.org", "192.0.2.80");
        for (name, tags) in &records {
            zone = zone.txt(&format!("_dmarc.{name}"), &format!("v=DMARC1; {tags}"));
        }
        if !host.is_empty() {
            zone = zone.host(host, "192.0.2.80");
        }
        let found = look(&zone, "a@elsewhere.example", &message(author)).await.dmarc;
        assert_eq!(
            (found.policy, found.outcome),
            (policy, outcome),
            "{author} {records:?} {found:?}"
        );
        assert!(!found.reason.is_empty(), "{author} {records:?}");
    }
}

/// Who may speak for whom.
#[tokio::test]
async fn who_is_aligned() {
    let relaxed = [("example.org", "p=reject")].as_slice();
    let strict = [("example.org", "p=reject; adkim=s; aspf=s")].as_slice();
    let apart = [("example.org", "p=reject"), ("sub.example.org", "p=reject; psd=n")].as_slice();
    let suffix = [("example.org", "p=none; psd=y"), ("one.example.org", "p=reject")].as_slice();
    for (author, records, by, from, expected) in [
        ("a@example.org", relaxed, "example.org", "x@elsewhere.example", Outcome::Pass),
        ("a@example.org", relaxed, "mail.example.org", "x@elsewhere.example", Outcome::Pass),
        ("a@mail.example.org", relaxed, "example.org", "x@elsewhere.example", Outcome::Pass),
        ("a@one.example.org", relaxed, "two.example.org", "x@elsewhere.example", Outcome::Pass),
        ("a@example.org", relaxed, "badexample.org", "x@elsewhere.example", Outcome::Fail),
        ("a@example.org", relaxed, "org", "x@elsewhere.example", Outcome::Fail),
        ("a@example.org", strict, "example.org", "x@elsewhere.example", Outcome::Pass),
        ("a@example.org", strict, "mail.example.org", "x@elsewhere.example", Outcome::Fail),
        // By SPF.
        ("a@example.org", relaxed, "elsewhere.example", "x@example.org", Outcome::Pass),
        ("a@example.org", relaxed, "elsewhere.example", "x@bounce.example.org", Outcome::Pass),
        ("a@example.org", strict, "elsewhere.example", "x@bounce.example.org", Outcome::Fail),
        ("a@example.org", strict, "elsewhere.example", "x@example.org", Outcome::Pass),
        // A domain that says that it is an organisation of its own, and one of which each below it is.
        ("a@example.org", apart, "sub.example.org", "x@elsewhere.example", Outcome::Fail),
        ("a@sub.example.org", apart, "example.org", "x@elsewhere.example", Outcome::Fail),
        ("a@sub.example.org", apart, "x.sub.example.org", "x@elsewhere.example", Outcome::Pass),
        ("a@one.example.org", suffix, "two.example.org", "x@elsewhere.example", Outcome::Fail),
        ("a@one.example.org", suffix, "mail.one.example.org", "x@elsewhere.example", Outcome::Pass),
    ] {
        let signer = Signer::new(by, 1);
        let mut zone = signer.publish(Zone::default());
        for (name, tags) in records {
            zone = zone.txt(&format!("_dmarc.{name}"), &format!("v=DMARC1; {tags}"));
        }
        for domain in ["example.org", "bounce.example.org", "elsewhere.example"] {
            zone = zone.txt(domain, "v=spf1 ip4:192.0.2.1 -all");
        }
        let found = look(&zone, from, &signer.sign(&message(author))).await;
        assert_eq!(found.dmarc.outcome, expected, "{author} {records:?} {by} {from} {found:?}");
        let aligned = found.spf.aligned || found.dkim.iter().any(|one| one.aligned);
        assert_eq!(aligned, expected.passed(), "{author} {by} {from}");
        assert_eq!(found.proved().is_some(), expected.passed(), "{author} {by} {from}");
    }
}

/// Without a record, domains belong together by the list of public suffixes.
#[tokio::test]
async fn without_a_record() {
    for (author, by, expected) in [
        ("a@example.org", "example.org", true),
        ("a@example.org", "mail.example.org", true),
        ("a@one.example.co.uk", "two.example.co.uk", true),
        ("a@one.co.uk", "two.co.uk", false),
        ("a@one.github.io", "two.github.io", false),
        ("a@example.org", "elsewhere.example", false),
    ] {
        let signer = Signer::new(by, 1);
        let zone = signer.publish(Zone::default());
        let found = look(&zone, "x@nowhere.example", &signer.sign(&message(author))).await;
        assert_eq!(found.dmarc.outcome, Outcome::None);
        assert_eq!(found.proved().is_some(), expected, "{author} {by}");
    }
}

/// Section 5.3.6: what could not be asked is neither good nor bad, where it would have counted.
#[tokio::test]
async fn what_could_not_be_asked() {
    let own = Signer::new("example.org", 1);
    let other = Signer::new("elsewhere.example", 2);
    let policy = || Zone::default().txt("_dmarc.example.org", "v=DMARC1; p=reject");
    let plain = message("a@example.org");
    let from = "x@elsewhere.example";
    for (why, zone, message, expected) in [
        (
            "the record",
            own.publish(Zone::default().broken("_dmarc.example.org")),
            own.sign(&plain),
            Outcome::TempError,
        ),
        (
            "the key",
            policy().broken("sel._domainkey.example.org"),
            own.sign(&plain),
            Outcome::TempError,
        ),
        (
            "the key of another",
            policy().broken("sel._domainkey.elsewhere.example"),
            other.sign(&plain),
            Outcome::Fail,
        ),
        (
            "another key",
            own.publish(policy()).broken("sel._domainkey.elsewhere.example"),
            other.sign(&own.sign(&plain)),
            Outcome::Pass,
        ),
    ] {
        let found = look(&zone, from, &message).await;
        assert_eq!(found.dmarc.outcome, expected, "{why}: {found:?}");
    }
    let zone = policy().broken("example.org");
    let found = look(&zone, "x@example.org", &plain).await;
    assert_eq!(found.dmarc.outcome, Outcome::TempError, "{found:?}");
}
