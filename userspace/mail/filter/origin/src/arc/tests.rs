use bytes::Bytes;
use muralla_mail_envelope::ReversePath;

use super::*;
use crate::authentication::{Arrival, authenticate};
use crate::testing::{Signer, Zone, message};

async fn look(zone: &Zone, message: &str, limits: &Limits) -> Arc {
    let message = Bytes::from(message.to_owned());
    let arrival = Arrival {
        ip: "192.0.2.1".parse().unwrap(),
        helo: "mail.example.org",
        from: &ReversePath::Null,
        message: &message,
        now: 1_796_119_200,
    };
    authenticate(zone, limits, arrival).await.arc
}

#[tokio::test]
async fn chains() {
    let author = Signer::new("example.org", 1);
    let list = Signer::new("list.example", 2);
    let forwarder = Signer::new("forward.example", 3);
    let zone = forwarder.publish(list.publish(author.publish(Zone::default())));
    let limits = Limits::default();

    let plain = author.sign(&message("a@example.org"));
    assert_eq!(look(&zone, &plain, &limits).await, Arc::default());

    let once = list.seal(&plain, 1, "none");
    let arc = look(&zone, &once, &limits).await;
    assert_eq!(
        (arc.outcome, arc.sealer.as_str(), arc.sets),
        (Outcome::Pass, "list.example", 1),
        "{arc:?}"
    );

    let twice = forwarder.seal(&once, 2, "pass");
    let arc = look(&zone, &twice, &limits).await;
    assert_eq!(
        (arc.outcome, arc.sealer.as_str(), arc.sets),
        (Outcome::Pass, "forward.example", 2),
        "{arc:?}"
    );

    for (why, message, expected) in [
        ("changed", twice.replace("this is", "that is"), Outcome::Fail),
        ("forged results", twice.replacen("spf=pass", "spf=fail", 1), Outcome::Fail),
        ("forged results of the first", once.replace("spf=pass", "dkim=pass"), Outcome::Fail),
        ("says that it was broken", forwarder.seal(&once, 2, "fail"), Outcome::Fail),
        ("begins in the middle", forwarder.seal(&plain, 2, "pass"), Outcome::Fail),
        ("begins with a pass", list.seal(&plain, 1, "pass"), Outcome::Fail),
        ("a number twice", forwarder.seal(&once, 1, "none"), Outcome::Fail),
        ("no seal", once.replacen("ARC-Seal:", "X-Seal:", 1), Outcome::Fail),
        ("no number", once.replacen("ARC-Seal: i=1;", "ARC-Seal:", 1), Outcome::Fail),
        ("an impossible number", once.replacen("i=1;", "i=99;", 1), Outcome::Fail),
    ] {
        let arc = look(&zone, &message, &limits).await;
        assert_eq!(arc.outcome, expected, "{why}: {arc:?}");
        assert!(!arc.reason.is_empty(), "{why}");
    }
    let few = Limits { sets: 1, ..Limits::default() };
    assert_eq!(look(&zone, &twice, &few).await.outcome, Outcome::Policy);
    let nothing = author.publish(Zone::default());
    assert_eq!(look(&nothing, &once, &limits).await.outcome, Outcome::PermError);
    let broken = nothing.broken("sel._domainkey.list.example");
    assert_eq!(look(&broken, &once, &limits).await.outcome, Outcome::TempError);
}
