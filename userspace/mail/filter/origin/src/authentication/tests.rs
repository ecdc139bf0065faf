use std::time::Duration;

use muralla_mail_envelope::Address;
use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::testing::{Signer, Zone, message};

fn arrival<'a>(from: &'a ReversePath, message: &'a Bytes) -> Arrival<'a> {
    Arrival {
        ip: "192.0.2.1".parse().unwrap(),
        helo: "mail.example.org",
        from,
        message,
        now: 1_796_119_200,
    }
}

fn path(address: &str) -> ReversePath {
    ReversePath::Address(Address::parse(address).unwrap())
}

fn signs(authentication: &Authentication) -> Vec<Sign> {
    authentication.findings().iter().map(|finding| finding.sign).collect()
}

/// However slow the DNS is, it takes no longer than it may, and what was answered counts.
#[tokio::test(start_paused = true)]
async fn within_its_time() {
    let signer = Signer::new("example.org", 1);
    let zone = signer
        .publish(Zone::default())
        .txt("_dmarc.example.org", "v=DMARC1; p=reject")
        .slow("elsewhere.example");
    let message = Bytes::from(signer.sign(&message("a@example.org")));
    let from = path("x@elsewhere.example");
    let began = Instant::now();
    let found = authenticate(&zone, &Limits::default(), arrival(&from, &message)).await;
    assert_eq!(began.elapsed(), Duration::from_millis(1_500));
    assert_eq!(found.spf.outcome, Outcome::TempError);
    assert_eq!(found.dmarc.outcome, Outcome::Pass);
    assert!(found.is_unfinished() && found.proved().is_some());
    assert_eq!(signs(&found), [Sign::Proved, Sign::Unfinished]);

    let slow = Zone::default()
        .slow("sel._domainkey.example.org")
        .slow("_dmarc.example.org")
        .slow("elsewhere.example");
    let began = Instant::now();
    let found = authenticate(&slow, &Limits::default(), arrival(&from, &message)).await;
    assert_eq!(began.elapsed(), Duration::from_millis(1_500));
    assert_eq!(found.dkim.first().map(|one| one.outcome), Some(Outcome::TempError));
    assert_eq!(found.dmarc.outcome, Outcome::TempError);
    assert_eq!(found.proved(), None);
    assert_eq!(signs(&found), [Sign::Unfinished]);
}

#[tokio::test]
async fn what_speaks_for_and_against() {
    let signer = Signer::new("example.org", 1);
    let zone = signer
        .publish(Zone::default())
        .txt("example.org", "v=spf1 ip4:192.0.2.1 -all")
        .txt("_dmarc.example.org", "v=DMARC1; p=reject")
        .mx("example.org", "mx.example.org")
        .txt("other.example", "v=spf1 -all")
        .mx("other.example", "")
        .txt("soft.example", "v=spf1 ~all")
        .host("soft.example", "192.0.2.9")
        .txt("bad.example", "v=spf1 moo");
    let own = message("a@example.org");
    let good = signer.sign(&own);
    let changed = good.replace("Hello", "Hallo");
    let elsewhere = message("a@nothing.example");
    for (from, message, expected) in [
        ("x@example.org", &good, vec![Sign::Proved]),
        ("x@example.org", &own, vec![Sign::Proved]),
        (
            "x@other.example",
            &own,
            vec![Sign::DmarcReject, Sign::SpfFail, Sign::Unproved, Sign::SenderTakesNone],
        ),
        (
            "x@soft.example",
            &changed,
            vec![Sign::DmarcReject, Sign::SpfSoftFail, Sign::DkimFail, Sign::Unproved],
        ),
        ("x@bad.example", &elsewhere, vec![Sign::SpfBroken, Sign::Unproved, Sign::SenderNowhere]),
        ("x@nowhere.example", &good, vec![Sign::Proved, Sign::SenderNowhere]),
        ("", &elsewhere, vec![Sign::Unproved]),
    ] {
        let from = if from.is_empty() { ReversePath::Null } else { path(from) };
        let message = Bytes::from(message.clone());
        let found = authenticate(&zone, &Limits::default(), arrival(&from, &message)).await;
        assert_eq!(signs(&found), expected, "{from} {found:?}");
    }
}

#[tokio::test]
async fn signers_once() {
    let (one, two) = (Signer::new("one.example", 1), Signer::new("two.example", 2));
    let zone = two.publish(one.publish(Zone::default()));
    let signed = one.sign(&two.sign(&one.sign(&message("a@one.example"))));
    let message = Bytes::from(signed);
    let from = ReversePath::Null;
    let found = authenticate(&zone, &Limits::default(), arrival(&from, &message)).await;
    assert_eq!(found.dkim.len(), 3);
    assert_eq!(found.signers().collect::<Vec<_>>(), ["one.example", "two.example"]);
}

fn hostile() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "DKIM-Signature",
        "ARC-Seal",
        "ARC-Message-Signature",
        "ARC-Authentication-Results",
        "From",
        "X",
    ]);
    let tags = prop::collection::vec(
        prop::sample::select(vec![
            "v=1",
            "a=rsa-sha256",
            "a=ed25519-sha256",
            "b=AAAA",
            "bh=====",
            "b=",
            "c=simple",
            "c=relaxed/",
            "d=example.org",
            "d=\u{e4}.example",
            "s=sel",
            "h=from:to",
            "h=:::",
            "i=1",
            "i=99999999999999999999",
            "l=18446744073709551615",
            "x=1",
            "t=-1",
            "z=|||",
            "cv=none",
            "cv=pass",
            "=",
            ";",
            "\"",
            "a@example.org",
            "<",
            ",",
            "(",
            "\r\n ",
            "q=dns/txt",
            "r=y",
            "atps=example.org",
            "atpsh=sha256",
            "i=@example.org",
        ]),
        0..12,
    );
    let field = (names, tags, any::<bool>()).prop_map(|(name, tags, space)| {
        format!("{name}{}: {}\r\n", if space { " " } else { "" }, tags.join("; "))
    });
    (prop::collection::vec(field, 0..8), any::<Vec<u8>>()).prop_map(|(fields, body)| {
        format!("{}\r\n{}", fields.concat(), String::from_utf8_lossy(&body))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whatever is sent, and whatever stands in the DNS, it ends in words.
    #[test]
    fn nothing_panics(message in hostile(), record in "v=(spf1|DKIM1|DMARC1)[ -~]{0,80}", helo in ".{0,20}") {
        let zone = Zone::default()
            .txt("example.org", &record)
            .txt("sel._domainkey.example.org", &record)
            .txt("_dmarc.example.org", &record);
        let message = Bytes::from(message);
        let from = path("x@example.org");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let arrival = Arrival { helo: &helo, ..arrival(&from, &message) };
        let found = runtime.block_on(authenticate(&zone, &Limits::default(), arrival));
        for finding in found.findings() {
            prop_assert!(!finding.describe().contains(['\r', '\n']));
        }
    }

    #[test]
    fn any_octets(message in any::<Vec<u8>>()) {
        let message = Bytes::from(message);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let from = ReversePath::Null;
        runtime.block_on(authenticate(&Zone::default(), &Limits::default(), arrival(&from, &message)));
    }
}
