use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use muralla_smtp::tls::Tlsa;

use super::*;
use crate::outgoing::hosts::{Answer, Exchange};

const POLICY: &str = "version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n";

#[test]
fn policies_are_read() {
    let policy = Policy::parse(POLICY).unwrap();
    assert_eq!((policy.mode, policy.max_age), (Mode::Enforce, 604_800));
    for (host, may) in [
        ("mail.example.com", true),
        ("MAIL.example.com.", true),
        ("other.example.com", false),
        ("mx1.example.net", true),
        ("a.mx1.example.net", false),
        ("example.net", false),
        (".example.net", false),
        ("mail.example.com.evil.example", false),
    ] {
        assert_eq!(policy.allows(host), may, "{host}");
    }
    let lines = |text: &str| Policy::parse(&text.replace(' ', "\n"));
    assert_eq!(lines("version:STSv1 mode:none max_age:1").unwrap().mode, Mode::None);
    let long = lines("version:STSv1 mode:testing mx:a max_age:99999999999999999999").unwrap();
    assert_eq!(long.max_age, 31_557_600);
    // The first of what is there twice.
    let twice = lines("version:STSv1 mode:testing mode:enforce mx:a max_age:5 extra:x nonsense");
    assert_eq!(twice.unwrap().mode, Mode::Testing);
    for text in [
        "",
        "mode:enforce mx:a max_age:5",
        "version:STSv2 mode:enforce mx:a max_age:5",
        "version:STSv1 mode:strict mx:a max_age:5",
        "version:STSv1 mode:enforce max_age:5",
        "version:STSv1 mode:enforce mx:a",
        "version:STSv1 mode:enforce mx:a max_age:-5",
        "version:STSv1 mode:enforce mx:a max_age:5s",
    ] {
        assert!(lines(text).is_err(), "{text}");
    }
}

#[test]
fn records_are_read() {
    let id = |texts: &[&str]| {
        policy::id(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(id(&["v=STSv1; id=20160831085700Z;"]).as_deref(), Some("20160831085700Z"));
    assert_eq!(id(&["v=spf1 -all", "v=STSv1;id=a"]).as_deref(), Some("a"));
    for texts in [
        &[][..],
        &["v=STSv1"],
        &["v=STSv1; id="],
        &["v=STSv1; id=a-b"],
        &["v=STSv10; id=a"],
        &["v=STSv1; id=a", "v=STSv1; id=b"],
    ] {
        assert_eq!(id(texts), None, "{texts:?}");
    }
}

/// A domain whose record and policy a test chooses.
#[derive(Default)]
struct Domains {
    record: Mutex<Option<String>>,
    policy: Mutex<Option<String>>,
    fetched: AtomicU32,
}

impl Names for Domains {
    fn exchanges<'a>(
        &'a self,
        _: &'a Domain,
    ) -> BoxFuture<'a, Result<Answer<Exchange>, LookupError>> {
        async { Err(LookupError::NoName) }.boxed()
    }

    fn addresses<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Answer<IpAddr>, LookupError>> {
        async { Err(LookupError::NoName) }.boxed()
    }

    fn associations<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Answer<Tlsa>, LookupError>> {
        async { Err(LookupError::NoName) }.boxed()
    }

    fn texts<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<String>, LookupError>> {
        async move {
            assert_eq!(name, "_mta-sts.example.org");
            self.record.lock().clone().map(|record| vec![record]).ok_or(LookupError::NoName)
        }
        .boxed()
    }
}

impl Policies for Domains {
    fn fetch<'a>(&'a self, _: &'a Domain) -> BoxFuture<'a, Result<String, String>> {
        async move {
            self.fetched.fetch_add(1, Relaxed);
            self.policy.lock().clone().ok_or_else(|| "404 Not Found".to_owned())
        }
        .boxed()
    }
}

#[tokio::test]
async fn a_policy_holds_for_as_long_as_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mail/policies");
    let world = Arc::new(Domains::default());
    let sts = || {
        Sts::new(
            Arc::clone(&world) as Arc<dyn Names>,
            Arc::clone(&world) as Arc<dyn Policies>,
            Some(file.clone()),
        )
    };
    let domain = Domain::parse("example.org").unwrap();
    let known = sts();
    let fetched = || world.fetched.load(Relaxed);

    assert_eq!(known.policy(&domain, 0).await, None, "there is no record");
    assert_eq!(fetched(), 0);

    *world.record.lock() = Some("v=STSv1; id=one".to_owned());
    assert_eq!(known.policy(&domain, 0).await, None, "there is no policy");
    assert_eq!(known.policy(&domain, 299).await, None);
    assert_eq!(fetched(), 1, "what failed is not asked for at once");
    *world.policy.lock() = Some(POLICY.to_owned());
    assert!(known.policy(&domain, 300).await.is_some());
    assert!(known.policy(&domain, 301).await.is_some());
    assert_eq!(fetched(), 2, "what is known is not asked for");

    // Whoever is in between hides the record, or the policy: what is known holds, and another process knows it.
    known.save(301).await;
    let known = sts();
    *world.policy.lock() = None;
    *world.record.lock() = None;
    assert!(known.policy(&domain, 604_800 + 299).await.is_some());
    assert_eq!(known.policy(&domain, 604_800 + 300).await, None, "it has ended");

    // Another id brings another policy; until that can be had, the one before holds.
    *world.record.lock() = Some("v=STSv1; id=two".to_owned());
    assert_eq!(known.policy(&domain, 400).await.unwrap().mode, Mode::Enforce);
    *world.policy.lock() = Some(POLICY.replace("enforce", "none"));
    assert_eq!(known.policy(&domain, 800).await.unwrap().mode, Mode::None);

    std::fs::write(&file, "nonsense").unwrap();
    *world.record.lock() = None;
    assert_eq!(sts().policy(&domain, 800).await, None, "a file that is no use is none");
}
