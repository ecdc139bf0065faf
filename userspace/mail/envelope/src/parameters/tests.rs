use proptest::prelude::*;

use super::*;

fn mail(text: &str) -> MailParameters {
    MailParameters::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn rcpt(text: &str) -> RcptParameters {
    RcptParameters::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn of_mail() {
    let none = MailParameters::default();
    assert_eq!(mail(""), none);
    assert_eq!(mail("   "), none);
    for (text, expected) in [
        (" SIZE=1000", MailParameters { size: Some(1000), ..none.clone() }),
        (" size=0", MailParameters { size: Some(0), ..none.clone() }),
        (" SIZE=99999999999999999999", MailParameters { size: Some(u64::MAX), ..none.clone() }),
        (" BODY=7BIT", none.clone()),
        (" body=8bitmime", MailParameters { body: Body::EightBitMime, ..none.clone() }),
        (" BODY=BINARYMIME", MailParameters { body: Body::BinaryMime, ..none.clone() }),
        (" SMTPUTF8", MailParameters { smtputf8: true, ..none.clone() }),
        (" REQUIRETLS", MailParameters { requiretls: true, ..none.clone() }),
        (" RET=HDRS", MailParameters { ret: Some(Ret::Headers), ..none.clone() }),
        (" RET=full", MailParameters { ret: Some(Ret::Full), ..none.clone() }),
        (" ENVID=QQ314159", MailParameters { envid: Some("QQ314159".into()), ..none.clone() }),
        (" ENVID=a+20b", MailParameters { envid: Some("a b".into()), ..none.clone() }),
        (" AUTH=<>", MailParameters { auth: Some(ReversePath::Null), ..none.clone() }),
        (
            " AUTH=e+3Dmc2@example.com",
            MailParameters {
                auth: Some(ReversePath::Address(Address::parse("e=mc2@example.com").unwrap())),
                ..none.clone()
            },
        ),
        (
            " SIZE=5  BODY=8BITMIME SMTPUTF8 ",
            MailParameters {
                size: Some(5),
                body: Body::EightBitMime,
                smtputf8: true,
                ..none.clone()
            },
        ),
    ] {
        assert_eq!(mail(text), expected, "{text}");
        assert_eq!(mail(&expected.to_string()), expected, "{expected}");
    }
}

#[test]
fn of_rcpt() {
    let none = RcptParameters::default();
    let notify = |notify| RcptParameters { notify, orcpt: None };
    let orcpt = |kind: &str, address: &str| RcptParameters {
        notify: Notify::default(),
        orcpt: Some(OriginalRecipient { address_type: kind.into(), address: address.into() }),
    };
    for (text, expected) in [
        ("", none),
        (" NOTIFY=NEVER", notify(Notify::NEVER)),
        (" NOTIFY=never", notify(Notify::NEVER)),
        (
            " NOTIFY=SUCCESS,FAILURE",
            notify(Notify { success: true, failure: true, ..Notify::default() }),
        ),
        (" notify=delay", notify(Notify { delay: true, ..Notify::default() })),
        (" ORCPT=rfc822;Bob@Example.COM", orcpt("rfc822", "Bob@Example.COM")),
        (" ORCPT=RFC822;a+2Bb@example.com", orcpt("rfc822", "a+b@example.com")),
        (" ORCPT=utf-8;\\x{FC}@example.com", orcpt("utf-8", "\u{fc}@example.com")),
        (" ORCPT=utf-8;\u{fc}@example.com", orcpt("utf-8", "\u{fc}@example.com")),
        (" ORCPT=utf-8;+C3+BC@example.com", orcpt("utf-8", "\u{fc}@example.com")),
        (" ORCPT=x400;/C=US/", orcpt("x400", "/C=US/")),
    ] {
        assert_eq!(rcpt(text), expected, "{text}");
        assert_eq!(rcpt(&expected.to_string()), expected, "{expected}");
    }
    let both = " NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@b.example";
    assert_eq!(rcpt(both).to_string(), both);
}

#[test]
fn what_is_refused() {
    let many = " A=1".repeat(17);
    for (text, code, error) in [
        (" FOO", 555, ParameterError::Unknown("FOO".into())),
        (" FOO=bar", 555, ParameterError::Unknown("FOO".into())),
        (" NOTIFY=NEVER", 555, ParameterError::Unknown("NOTIFY".into())),
        ("SIZE=1", 501, ParameterError::Syntax),
        (" =1", 501, ParameterError::Syntax),
        (" -A=1", 501, ParameterError::Syntax),
        (" SIZE=", 501, ParameterError::Syntax),
        (" SI_ZE=1", 501, ParameterError::Syntax),
        (" ENVID=a\tb", 501, ParameterError::Syntax),
        (" SIZE", 501, ParameterError::Value("SIZE")),
        (" SIZE=-1", 501, ParameterError::Value("SIZE")),
        (" SIZE=1k", 501, ParameterError::Value("SIZE")),
        (" SIZE=100000000000000000000", 501, ParameterError::Value("SIZE")),
        (" SIZE=1 SIZE=1", 501, ParameterError::Twice("SIZE")),
        (" BODY=9BIT", 501, ParameterError::Value("BODY")),
        (" SMTPUTF8=yes", 501, ParameterError::Value("SMTPUTF8")),
        (" RET=SOME", 501, ParameterError::Value("RET")),
        (" ENVID=+0D+0Ax", 501, ParameterError::Value("ENVID")),
        (" ENVID=+C3+A9", 501, ParameterError::Value("ENVID")),
        (" AUTH=somebody", 501, ParameterError::Value("AUTH")),
        (" AUTH=a@b+0D+0A", 501, ParameterError::Value("AUTH")),
        (&many, 501, ParameterError::TooMany),
    ] {
        let refused = MailParameters::parse(text).unwrap_err();
        assert_eq!((refused.code().0, refused), (code, error), "{text}");
    }
    let long = format!(" ORCPT=rfc822;{}", "a".repeat(LONGEST_ORCPT));
    for (text, error) in [
        (" SIZE=1", ParameterError::Unknown("SIZE".into())),
        (" NOTIFY", ParameterError::Value("NOTIFY")),
        (" NOTIFY=", ParameterError::Syntax),
        (" NOTIFY=NEVER,DELAY", ParameterError::Value("NOTIFY")),
        (" NOTIFY=DELAY,DELAY", ParameterError::Value("NOTIFY")),
        (" NOTIFY=DELAY,", ParameterError::Value("NOTIFY")),
        (" NOTIFY=DELAY NOTIFY=DELAY", ParameterError::Twice("NOTIFY")),
        (" ORCPT=a@b.example", ParameterError::Value("ORCPT")),
        (" ORCPT=;a@b.example", ParameterError::Value("ORCPT")),
        (" ORCPT=rfc822;", ParameterError::Value("ORCPT")),
        (" ORCPT=rfc822;+0D+0AX", ParameterError::Value("ORCPT")),
        (" ORCPT=r c;x", ParameterError::Value("ORCPT")),
        (&long, ParameterError::Value("ORCPT")),
    ] {
        assert_eq!(RcptParameters::parse(text), Err(error), "{text}");
    }
}

#[test]
fn what_is_told() {
    let given = |text| Notify::parse(text).unwrap();
    for (notify, failure, delay, success) in [
        (Notify::default(), true, true, false),
        (given("NEVER"), false, false, false),
        (given("SUCCESS"), false, false, true),
        (given("FAILURE"), true, false, false),
        (given("DELAY"), false, true, false),
        (given("DELAY,FAILURE,SUCCESS"), true, true, true),
    ] {
        assert_eq!(
            (notify.on_failure(), notify.on_delay(), notify.on_success()),
            (failure, delay, success),
            "{notify}"
        );
    }
}

#[test]
fn of_an_address() {
    let of = |text| OriginalRecipient::of(&Address::parse(text).unwrap());
    assert_eq!(of("a+b@c.example").to_string(), "rfc822;a+2Bb@c.example");
    assert_eq!(of("\u{fc}@c.example").to_string(), "utf-8;\\x{FC}@c.example");
    assert!(of("\u{fc}@c.example").needs_utf8());
}

proptest! {
    #[test]
    fn anything(text in "( (SIZE|BODY|RET|ENVID|AUTH|NOTIFY|ORCPT)=[!-~]{0,12}){0,4}|\\PC{0,40}|[ -~]{0,40}") {
        crate::fuzzing::parameters(&text);
    }

    #[test]
    fn both_ways(
        size: Option<u64>,
        flags: [bool; 2],
        body in 0usize..3,
        envid in proptest::option::of("[ -~]{1,100}"),
        notify: [bool; 3],
        address in "[a-z +=\\\\\u{e4}-\u{fc}]{1,30}",
        kind in "utf-8|rfc822|x-y",
    ) {
        let sent = MailParameters {
            size,
            body: [Body::SevenBit, Body::EightBitMime, Body::BinaryMime][body],
            smtputf8: flags[0],
            requiretls: flags[1],
            ret: None,
            envid,
            auth: None,
        };
        prop_assert_eq!(MailParameters::parse(&sent.to_string()), Ok(sent));
        let [success, failure, delay] = notify;
        let sent = RcptParameters {
            notify: Notify { never: false, success, failure, delay },
            orcpt: Some(OriginalRecipient { address_type: kind, address }),
        };
        prop_assert_eq!(RcptParameters::parse(&sent.to_string()), Ok(sent));
    }
}
