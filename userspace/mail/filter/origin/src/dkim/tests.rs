use bytes::Bytes;
use muralla_mail_envelope::ReversePath;

use super::*;
use crate::authentication::{Arrival, authenticate};
use crate::testing::{Signer, Zone, message};

/// In 2026.
const NOW: i64 = 1_796_119_200;

async fn look(zone: &Zone, message: &str, limits: &Limits) -> Vec<Dkim> {
    let message = Bytes::from(message.to_owned());
    let arrival = Arrival {
        ip: "192.0.2.1".parse().unwrap(),
        helo: "mail.example.org",
        from: &ReversePath::Null,
        message: &message,
        now: NOW,
    };
    authenticate(zone, limits, arrival).await.dkim
}

async fn outcomes(zone: &Zone, message: &str) -> Vec<Outcome> {
    look(zone, message, &Limits::default()).await.iter().map(|one| one.outcome).collect()
}

/// RFC 8463 appendix A: two signatures, of Ed25519 and RSA.
const VECTOR: &str = concat!(
    "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n",
    " d=football.example.com; i=@football.example.com;\r\n",
    " q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n",
    " subject : date : message-id : from : subject : date;\r\n",
    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n",
    " b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n",
    " Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\n",
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;\r\n",
    " d=football.example.com; i=@football.example.com;\r\n",
    " q=dns/txt; s=test; t=1528637909; h=from : to : subject :\r\n",
    " date : message-id : from : subject : date;\r\n",
    " bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n",
    " b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3\r\n",
    " DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz\r\n",
    " dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=\r\n",
    "From: Joe SixPack <joe@football.example.com>\r\n",
    "To: Suzie Q <suzie@shopping.example.net>\r\n",
    "Subject: Is dinner ready?\r\n",
    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n",
    "Message-ID: <20030712040037.46341.5F8J@football.example.com>\r\n",
    "\r\n",
    "Hi.\r\n\r\nWe lost the game.  Are you hungry yet?\r\n\r\nJoe.\r\n"
);

const VECTOR_ED25519: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

const VECTOR_RSA: &str = concat!(
    "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWR",
    "iGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC",
    "DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3",
    "Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
);

fn vector_zone() -> Zone {
    Zone::default()
        .txt("brisbane._domainkey.football.example.com", VECTOR_ED25519)
        .txt("test._domainkey.football.example.com", VECTOR_RSA)
}

#[tokio::test]
async fn the_vector_of_rfc_8463() {
    let found = look(&vector_zone(), VECTOR, &Limits::default()).await;
    let found: Vec<_> = found
        .iter()
        .map(|one| {
            (one.outcome, one.algorithm, one.selector.as_str(), one.mark.as_str(), one.aligned)
        })
        .collect();
    assert_eq!(
        found,
        [
            (Outcome::Pass, "ed25519-sha256", "brisbane", "/gCrinpc", true),
            (Outcome::Pass, "rsa-sha256", "test", "F45dVWDf", true),
        ]
    );
    let changed = VECTOR.replace("hungry", "thirsty");
    assert_eq!(outcomes(&vector_zone(), &changed).await, [Outcome::Fail; 2]);
    let forged = VECTOR.replace("Is dinner", "Is lunch");
    assert_eq!(outcomes(&vector_zone(), &forged).await, [Outcome::Fail; 2]);
    // Each `h=` names it once more than it is there.
    let second = VECTOR.replace("Subject:", "Subject: another\r\nSubject:");
    assert_eq!(outcomes(&vector_zone(), &second).await, [Outcome::Fail; 2]);
    // Relaxed.
    let folded = VECTOR.replace("Subject: Is dinner", "SUBJECT :  Is\r\n\t dinner");
    assert_eq!(outcomes(&vector_zone(), &folded).await, [Outcome::Pass; 2]);
}

#[tokio::test]
async fn what_a_key_may_be() {
    let signer = Signer::new("example.org", 1);
    let signed = signer.sign(&message("a@example.org"));
    let key = signer.record();
    let with = |tags: &str| key.replace("k=ed25519;", &format!("k=ed25519; {tags};"));
    for (record, expected) in [
        (key.clone(), Outcome::Pass),
        (key.replace("v=DKIM1; ", ""), Outcome::Pass),
        (with("t=y"), Outcome::Pass),
        (with("t=s"), Outcome::Pass),
        (with("s=*"), Outcome::Pass),
        (with("s=other:email"), Outcome::Pass),
        (with("s=other"), Outcome::PermError),
        (with("h=sha1:sha256"), Outcome::Pass),
        (with("h=sha1"), Outcome::PermError),
        ("v=DKIM1; k=ed25519; p=".to_owned(), Outcome::PermError),
        ("v=DKIM1; k=ed25519".to_owned(), Outcome::PermError),
        ("v=DKIM2; k=ed25519; p=AAAA".to_owned(), Outcome::PermError),
        ("something else".to_owned(), Outcome::PermError),
        (Signer::new("example.org", 2).record(), Outcome::Fail),
        (key.replace("p=", "p=AAAA"), Outcome::Fail),
        (VECTOR_RSA.to_owned(), Outcome::PermError),
    ] {
        let zone = Zone::default().txt("sel._domainkey.example.org", &record);
        assert_eq!(outcomes(&zone, &signed).await, [expected], "{record}");
    }
    assert_eq!(outcomes(&Zone::default(), &signed).await, [Outcome::PermError]);
    let broken = Zone::default().broken("sel._domainkey.example.org");
    assert_eq!(outcomes(&broken, &signed).await, [Outcome::TempError]);
    let two = signer.publish(Zone::default().txt("sel._domainkey.example.org", "v=DKIM1; p="));
    assert_eq!(outcomes(&two, &signed).await, [Outcome::Pass]);
}

#[tokio::test]
async fn keys_that_are_too_short_or_too_long() {
    let limits = |key| Limits { key, ..Limits::default() };
    for (key, expected) in
        [(1024..=4096, Outcome::Pass), (2048..=4096, Outcome::Policy), (512..=768, Outcome::Policy)]
    {
        let found = look(&vector_zone(), VECTOR, &limits(key.clone())).await;
        let found: Vec<_> = found.iter().map(|one| one.outcome).collect();
        assert_eq!(found, [Outcome::Pass, expected], "{key:?}");
    }
}

#[tokio::test]
async fn what_a_signature_may_be() {
    let signer = Signer::new("example.org", 1);
    let zone = signer.publish(Zone::default());
    let strict = Zone::default()
        .txt("sel._domainkey.example.org", &signer.record().replace("k=", "t=s; k="));
    let plain = message("a@example.org");
    let names = "from:to:subject:date";
    for (tags, names, expected, strictly) in [
        ("", names, Outcome::Pass, Outcome::Pass),
        ("i=@example.org; ", names, Outcome::Pass, Outcome::Pass),
        ("i=a@Example.org; ", names, Outcome::Pass, Outcome::Pass),
        ("i=a@sub.example.org; ", names, Outcome::Pass, Outcome::Fail),
        ("i=a@example.com; ", names, Outcome::PermError, Outcome::PermError),
        ("i=a@badexample.org; ", names, Outcome::PermError, Outcome::PermError),
        ("t=1000; x=4000000000; ", names, Outcome::Pass, Outcome::Pass),
        ("t=1000; x=2000; ", names, Outcome::Policy, Outcome::Policy),
        ("t=3000000000; x=2000000000; ", names, Outcome::PermError, Outcome::PermError),
        ("l=5; ", names, Outcome::Policy, Outcome::Policy),
        ("", "to:subject", Outcome::PermError, Outcome::PermError),
        ("", "from", Outcome::Pass, Outcome::Pass),
        ("", "from:from:nothing:nothing", Outcome::Pass, Outcome::Pass),
        ("z=from:x|y; unknown=1; ", names, Outcome::Pass, Outcome::Pass),
    ] {
        let signed = signer.sign_with(&plain, tags, names);
        assert_eq!(outcomes(&zone, &signed).await, [expected], "{tags} {names}");
        assert_eq!(outcomes(&strict, &signed).await, [strictly], "strict: {tags} {names}");
    }
    let good = signer.sign(&plain);
    for (from, to, expected) in [
        ("v=1;", "v=2;", Outcome::PermError),
        ("v=1; ", "", Outcome::PermError),
        ("d=example.org;", "", Outcome::PermError),
        ("d=example.org;", "d=a..b;", Outcome::PermError),
        ("s=sel;", "s=;", Outcome::PermError),
        ("a=ed25519-sha256", "a=rsa-sha1", Outcome::Policy),
        ("a=ed25519-sha256", "a=rsa-sha256", Outcome::PermError),
        ("a=ed25519-sha256", "a=rot13", Outcome::PermError),
        ("bh=", "bh=AAAA", Outcome::Fail),
        ("c=relaxed/relaxed", "c=simple/simple", Outcome::Fail),
        ("c=relaxed/relaxed", "c=loose", Outcome::PermError),
        ("Hello", "Hallo", Outcome::Fail),
        ("From: a", "From: b", Outcome::Fail),
    ] {
        let signed = good.replacen(from, to, 1);
        assert_ne!(signed, good);
        assert_eq!(outcomes(&zone, &signed).await, [expected], "{from} {to}");
    }
}

#[tokio::test]
async fn not_all_of_too_many() {
    let own = Signer::new("example.org", 1);
    let others: Vec<_> =
        ["a.example", "b.example", "c.example"].map(|one| Signer::new(one, 2)).into();
    let mut signed = own.sign(&message("a@example.org"));
    for at in 0..50 {
        signed = others.get(at % 3).unwrap().sign(&signed);
    }
    let zone = others.iter().fold(own.publish(Zone::default()), |zone, one| one.publish(zone));
    let found = look(&zone, &signed, &Limits::default()).await;
    assert_eq!(found.len(), 8);
    assert_eq!(found.first().map(|one| one.domain.as_str()), Some("example.org"));
    assert!(found.iter().all(|one| one.outcome.passed()), "{found:?}");

    let many = vec!["x"; 300].join(":");
    let signed = own.sign_with(&message("a@example.org"), "", &format!("from:{many}"));
    assert_eq!(outcomes(&zone, &signed).await, [Outcome::Policy]);
    let limits = Limits { body: 10, ..Limits::default() };
    let found = look(&zone, &own.sign(&message("a@example.org")), &limits).await;
    assert_eq!(found.first().map(|one| one.outcome), Some(Outcome::Policy));
    let limits = Limits { header: 100, ..Limits::default() };
    assert!(look(&zone, &own.sign(&message("a@example.org")), &limits).await.is_empty());
}

#[tokio::test]
async fn large_messages_are_verified_aside() {
    let signer = Signer::new("example.org", 1);
    let large = format!("{}{}", message("a@example.org"), "A line of text.\r\n".repeat(10_000));
    let zone = signer.publish(Zone::default());
    assert_eq!(outcomes(&zone, &signer.sign(&large)).await, [Outcome::Pass]);
}
