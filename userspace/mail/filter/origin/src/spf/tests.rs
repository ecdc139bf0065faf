use muralla_mail_envelope::Address;

use super::*;
use crate::limits::Limits;
use crate::testing::Zone;

async fn ask(zone: &Zone, ip: &str, helo: &str, from: &str) -> Spf {
    let from = match from {
        "" => ReversePath::Null,
        from => ReversePath::Address(Address::parse(from).unwrap()),
    };
    let inquiry = Inquiry::new(zone, &Limits::default());
    check(&inquiry, ip.parse().unwrap(), helo, &from).await
}

/// Cases of the sections of RFC 7208: a record of `example.com` and a client's address, in a zone that has what they name.
async fn table(zone: impl Fn() -> Zone, cases: &[(&str, &str, Outcome)]) {
    for (record, ip, expected) in cases {
        let zone = zone().txt("example.com", record);
        let spf = ask(&zone, ip, "mail.example.com", "strong-bad@example.com").await;
        assert_eq!(spf.outcome, *expected, "{record} {ip}: {}", spf.reason);
        let explained = matches!(spf.outcome, Fail | SoftFail | TempError | PermError);
        assert_eq!(!spf.reason.is_empty(), explained, "{record}: {}", spf.reason);
    }
}

use Outcome::{Fail, Neutral, None as Nothing, Pass, PermError, SoftFail, TempError};

#[tokio::test]
async fn section_4_3_initial_processing() {
    let zone = Zone::default().txt("example.com", "v=spf1 -all").txt("com", "v=spf1 -all");
    for (helo, from, outcome, domain, identity) in [
        ("mail.example.com", "a@example.com", Fail, "example.com", Identity::MailFrom),
        ("mail.example.com", "a@Example.COM", Fail, "example.com", Identity::MailFrom),
        ("mail.example.com", "a@com", Nothing, "com", Identity::MailFrom),
        ("mail.example.com", "a@[192.0.2.1]", Nothing, "", Identity::MailFrom),
        // Section 2.4: without a sender, the client's own name.
        ("example.com", "", Fail, "example.com", Identity::Helo),
        ("Example.com.", "", Fail, "example.com", Identity::Helo),
        ("[192.0.2.1]", "", Nothing, "", Identity::Helo),
        ("not a name", "", Nothing, "", Identity::Helo),
        ("a..example.com", "", Nothing, "", Identity::Helo),
    ] {
        let spf = ask(&zone, "192.0.2.1", helo, from).await;
        assert_eq!((spf.outcome, spf.domain.as_str()), (outcome, domain), "{helo} {from}");
        assert_eq!(spf.identity, identity, "{helo} {from}");
    }
}

#[tokio::test]
async fn section_4_4_and_4_5_records() {
    for (records, expected) in [
        (vec![], Nothing),
        (vec!["something else"], Nothing),
        (vec!["something else", "v=spf1 -all"], Fail),
        (vec!["v=spf1 -all", "v=spf1 -all"], PermError),
        (vec!["v=spf1 +all", "v=spf10 -all"], Pass),
        (vec!["v=spf1"], Neutral),
        (vec!["v=spf1 all \u{e4}"], PermError),
    ] {
        let zone = records.iter().fold(Zone::default(), |zone, one| zone.txt("example.com", one));
        let spf = ask(&zone, "192.0.2.1", "x", "a@example.com").await;
        assert_eq!(spf.outcome, expected, "{records:?}: {}", spf.reason);
    }
    let zone = Zone::default().broken("example.com");
    assert_eq!(ask(&zone, "192.0.2.1", "x", "a@example.com").await.outcome, TempError);
}

#[tokio::test]
async fn section_4_6_evaluation() {
    table(
        || Zone::default().host("a.example.com", "192.0.2.1").broken("broken.example.com"),
        &[
            ("v=spf1 +all", "192.0.2.1", Pass),
            ("v=spf1 -all", "192.0.2.1", Fail),
            ("v=spf1 ~all", "192.0.2.1", SoftFail),
            ("v=spf1 ?all", "192.0.2.1", Neutral),
            ("v=spf1 a:a.example.com", "192.0.2.9", Neutral),
            // The first that matches counts.
            ("v=spf1 ?a:a.example.com -all", "192.0.2.1", Neutral),
            // What is behind it must be written well all the same, but is not asked.
            ("v=spf1 +all a:b.example.com/99", "192.0.2.1", PermError),
            ("v=spf1 +all a:broken.example.com", "192.0.2.1", Pass),
            ("v=spf1 a:broken.example.com +all", "192.0.2.1", TempError),
        ],
    )
    .await;
}

#[tokio::test]
async fn section_4_6_4_limits() {
    let zone = || {
        let zone = (0..20).fold(Zone::default(), |zone, at| {
            zone.host(&format!("h{at}.example.com"), "198.51.100.1")
                .mx("ten.example.com", &format!("h{}.example.com", at % 10))
                .mx("mxes.example.com", &format!("h{at}.example.com"))
        });
        zone.txt("loop.example.com", "v=spf1 include:loop.example.com")
            .txt("self.example.com", "v=spf1 redirect=self.example.com")
            .txt("five.example.com", "v=spf1 a:h0.example.com a:h0.example.com a:h0.example.com a:h0.example.com a:h0.example.com")
    };
    let ten = "a:h1.example.com ".repeat(10);
    let eleven = "a:h1.example.com ".repeat(11);
    let at_most = format!("v=spf1 {ten}+all");
    let too_many = format!("v=spf1 {eleven}+all");
    table(
        zone,
        &[
            (&at_most, "192.0.2.1", Pass),
            (&too_many, "192.0.2.1", PermError),
            // The tenth matches; the eleventh is not asked.
            (&too_many, "198.51.100.1", Pass),
            ("v=spf1 include:loop.example.com", "192.0.2.1", PermError),
            ("v=spf1 redirect=self.example.com", "192.0.2.1", PermError),
            ("v=spf1 include:five.example.com a:h1.example.com a:h1.example.com a:h1.example.com a:h1.example.com -all", "192.0.2.1", Fail),
            ("v=spf1 include:five.example.com include:five.example.com -all", "192.0.2.1", PermError),
            ("v=spf1 mx:mxes.example.com -all", "192.0.2.1", PermError),
            // Nothing there, twice and thrice.
            ("v=spf1 a:no1.example.com exists:no2.example.com -all", "192.0.2.1", Fail),
            ("v=spf1 a:no1.example.com exists:no2.example.com mx:no3.example.com -all", "192.0.2.1", PermError),
        ],
    )
    .await;
}

#[tokio::test]
async fn section_5_1_all() {
    table(
        Zone::default,
        &[
            ("v=spf1 ALL", "192.0.2.1", Pass),
            ("v=spf1 -all redirect=nowhere.example.com", "192.0.2.1", Fail),
            ("v=spf1 all.", "192.0.2.1", PermError),
            ("v=spf1 all/8", "192.0.2.1", PermError),
        ],
    )
    .await;
}

#[tokio::test]
async fn section_5_2_include() {
    table(
        || {
            Zone::default()
                .txt("pass.example.com", "v=spf1 ip4:192.0.2.1 -all")
                .txt("wrong.example.com", "v=spf1 moo")
                .broken("broken.example.com")
        },
        &[
            ("v=spf1 include:pass.example.com ~all", "192.0.2.1", Pass),
            ("v=spf1 include:pass.example.com ~all", "192.0.2.2", SoftFail),
            ("v=spf1 -include:pass.example.com ~all", "192.0.2.1", Fail),
            ("v=spf1 include:nowhere.example.com ~all", "192.0.2.1", PermError),
            ("v=spf1 include:wrong.example.com ~all", "192.0.2.1", PermError),
            ("v=spf1 include:broken.example.com ~all", "192.0.2.1", TempError),
        ],
    )
    .await;
}

#[tokio::test]
async fn section_5_3_a() {
    table(
        || {
            Zone::default()
                .host("example.com", "192.0.2.1")
                .host("two.example.com", "192.0.2.128")
                .host("two.example.com", "2001:db8::1")
                .host("four.example.com", "192.0.2.128")
        },
        &[
            ("v=spf1 a -all", "192.0.2.1", Pass),
            ("v=spf1 a -all", "::ffff:192.0.2.1", Pass),
            ("v=spf1 a -all", "192.0.2.2", Fail),
            ("v=spf1 a/24 -all", "192.0.2.77", Pass),
            ("v=spf1 a/24 -all", "192.0.3.77", Fail),
            ("v=spf1 a/0 -all", "203.0.113.1", Pass),
            ("v=spf1 a:two.example.com -all", "2001:db8::1", Pass),
            ("v=spf1 a:two.example.com//64 -all", "2001:db8::2", Pass),
            ("v=spf1 a:two.example.com/25 -all", "2001:db8::2", Fail),
            ("v=spf1 a:nowhere.example.com -all", "192.0.2.1", Fail),
            // Three that have no IPv6 don't count as names that are not there.
            ("v=spf1 a:four.example.com a:four.example.com a:four.example.com ip6:2001:db8::/32 -all", "2001:db8::2", Pass),
        ],
    )
    .await;
}

#[tokio::test]
async fn section_5_4_mx() {
    table(
        || {
            Zone::default()
                .mx("example.com", "mx.example.com")
                .mx("example.com", "gone.example.com")
                .host("mx.example.com", "192.0.2.10")
                .mx("none.example.com", "")
                .mx("bad.example.com", "broken.example.com")
                .broken("broken.example.com")
        },
        &[
            ("v=spf1 mx -all", "192.0.2.10", Pass),
            ("v=spf1 mx -all", "192.0.2.11", Fail),
            ("v=spf1 mx/24 -all", "192.0.2.11", Pass),
            ("v=spf1 mx:none.example.com -all", "192.0.2.11", Fail),
            ("v=spf1 mx:bad.example.com -all", "192.0.2.11", TempError),
        ],
    )
    .await;
}

#[tokio::test]
async fn section_5_5_ptr() {
    table(
        || {
            Zone::default()
                .ptr("192.0.2.1", "host.example.com.")
                .host("host.example.com", "192.0.2.1")
                .ptr("192.0.2.2", "liar.example.com")
                .host("liar.example.com", "192.0.2.99")
                .ptr("192.0.2.3", "example.com")
                .host("example.com", "192.0.2.3")
                .broken("192.0.2.4")
                .ptr("192.0.2.5", "badexample.com")
                .host("badexample.com", "192.0.2.5")
        },
        &[
            ("v=spf1 ptr -all", "192.0.2.1", Pass),
            ("v=spf1 ptr:example.com -all", "192.0.2.1", Pass),
            ("v=spf1 ptr:other.example -all", "192.0.2.1", Fail),
            ("v=spf1 ptr -all", "192.0.2.2", Fail),
            ("v=spf1 ptr -all", "192.0.2.3", Pass),
            ("v=spf1 ptr -all", "192.0.2.4", Fail),
            ("v=spf1 ptr -all", "192.0.2.5", Fail),
            ("v=spf1 ptr -all", "192.0.2.6", Fail),
            // Section 7.3: the macro of the validated name.
            ("v=spf1 exists:%{p}.example.com -all", "192.0.2.1", Fail),
            ("v=spf1 include:%{p} -all", "192.0.2.6", PermError),
        ],
    )
    .await;
}

#[tokio::test]
async fn section_5_6_ip4_ip6() {
    table(
        Zone::default,
        &[
            ("v=spf1 ip4:192.0.2.0/24 -all", "192.0.2.200", Pass),
            ("v=spf1 ip4:192.0.2.77/24 -all", "192.0.2.200", Pass),
            ("v=spf1 ip4:192.0.2.0 -all", "192.0.2.1", Fail),
            ("v=spf1 ip4:0.0.0.0/0 -all", "2001:db8::1", Fail),
            ("v=spf1 ip6:2001:db8::/32 -all", "2001:db8:5::1", Pass),
            ("v=spf1 ip6:2001:db8::1 -all", "2001:db8::1", Pass),
            ("v=spf1 ip6:::/0 -all", "192.0.2.1", Fail),
            ("v=spf1 ip6:::ffff:192.0.2.1 -all", "192.0.2.1", Fail),
        ],
    )
    .await;
}

#[tokio::test]
async fn section_5_7_exists() {
    table(
        || {
            Zone::default()
                .host("1.2.0.192.allowed.example.com", "127.0.0.2")
                .host("strong.allowed.example.com", "127.0.0.2")
                .host("six.example.com", "2001:db8::1")
                .broken("broken.example.com")
        },
        &[
            ("v=spf1 exists:%{ir}.allowed.example.com -all", "192.0.2.1", Pass),
            ("v=spf1 exists:%{ir}.allowed.example.com -all", "192.0.2.2", Fail),
            ("v=spf1 exists:%{l1r-}.allowed.%{d} -all", "2001:db8::1", Pass),
            // Addresses of IPv4 alone count.
            ("v=spf1 exists:six.example.com -all", "2001:db8::1", Fail),
            ("v=spf1 exists:broken.example.com -all", "192.0.2.1", TempError),
        ],
    )
    .await;
}

#[tokio::test]
async fn section_6_1_redirect() {
    table(
        || {
            Zone::default()
                .txt("other.example.com", "v=spf1 ip4:192.0.2.1 -all")
                .txt("relative.example.com", "v=spf1 a ~all")
                .host("relative.example.com", "192.0.2.5")
                .broken("broken.example.com")
        },
        &[
            ("v=spf1 redirect=other.example.com", "192.0.2.1", Pass),
            ("v=spf1 redirect=other.example.com", "192.0.2.2", Fail),
            ("v=spf1 redirect=other.example.com ip4:192.0.2.2", "192.0.2.2", Pass),
            ("v=spf1 redirect=relative.example.com", "192.0.2.5", Pass),
            ("v=spf1 redirect=nowhere.example.com", "192.0.2.1", PermError),
            ("v=spf1 redirect=broken.example.com", "192.0.2.1", TempError),
            ("v=spf1 exp=nowhere.example.com -all", "192.0.2.1", Fail),
        ],
    )
    .await;
}

#[tokio::test]
async fn section_7_macros_in_names() {
    let long = "a".repeat(64);
    let bad = format!("v=spf1 exists:{long}.example.com ~all");
    table(
        || Zone::default().host("mail.example.com.h.example.com", "127.0.0.2"),
        &[
            ("v=spf1 exists:%{h}.h.example.com -all", "192.0.2.1", Pass),
            ("v=spf1 exists:%{l}@%{o}.%{d} -all", "192.0.2.1", Fail),
            ("v=spf1 exists:%{x}.example.com -all", "192.0.2.1", PermError),
            ("v=spf1 include:%{l}..%{d} -all", "192.0.2.1", PermError),
            (&bad, "192.0.2.1", SoftFail),
        ],
    )
    .await;
}
