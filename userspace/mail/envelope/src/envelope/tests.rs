use super::*;
use crate::parameters::{Body, Notify, OriginalRecipient, Ret};

/// Everything that an envelope can have.
fn full() -> Envelope {
    Envelope {
        id: MessageId([7; 16]),
        from: ReversePath::Address(Address::parse("\"a b\"@example.org").unwrap()),
        mail: MailParameters {
            size: Some(1234),
            body: Body::EightBitMime,
            smtputf8: true,
            requiretls: true,
            ret: Some(Ret::Headers),
            envid: Some("QQ 314159".into()),
            auth: Some(ReversePath::Null),
        },
        recipients: vec![
            Recipient {
                address: Address::parse("\u{fc}ser@example.net").unwrap(),
                parameters: RcptParameters {
                    notify: Notify { success: true, ..Notify::default() },
                    orcpt: Some(OriginalRecipient {
                        address_type: "utf-8".into(),
                        address: "\u{fc}@example.com".into(),
                    }),
                },
            },
            Address::parse("user@[IPv6:2001:db8::1]").unwrap().into(),
        ],
        received_at: 1_795_478_400,
        client: Client {
            ip: "2001:db8::7".parse().unwrap(),
            helo: "h\u{e9}lo \"".into(),
            name: Some(Domain::parse("client.example").unwrap()),
            tls: Some(TlsFacts {
                version: "TLSv1.3".into(),
                cipher: "TLS_AES_128_GCM_SHA256".into(),
                server_name: Some("mx.example.org".into()),
            }),
            authenticated: Some("user@example.org".into()),
            protocol: Protocol::Lmtp,
        },
    }
}

/// What version 1 wrote. Spools and queues have it: it is never changed, and always read.
const FORM_1: &str = r#"{"version":1,"id":"a4dqobyha4dqobyha4dqobyha4","from":"\"a b\"@example.org","mail":{"size":1234,"body":"EightBitMime","smtputf8":true,"requiretls":true,"ret":"Headers","envid":"QQ 314159","auth":""},"recipients":[{"address":"üser@example.net","parameters":{"notify":{"never":false,"success":true,"failure":false,"delay":false},"orcpt":{"address_type":"utf-8","address":"ü@example.com"}}},{"address":"user@[IPv6:2001:db8::1]","parameters":{"notify":{"never":false,"success":false,"failure":false,"delay":false}}}],"received_at":1795478400,"client":{"ip":"2001:db8::7","helo":"hélo \"","name":"client.example","tls":{"version":"TLSv1.3","cipher":"TLS_AES_128_GCM_SHA256","server_name":"mx.example.org"},"authenticated":"user@example.org","protocol":"Lmtp"}}"#;

#[test]
fn both_ways() {
    let encoded = full().encode().unwrap();
    assert_eq!(std::str::from_utf8(&encoded).unwrap(), FORM_1);
    assert_eq!(Envelope::decode(FORM_1.as_bytes()).unwrap(), full());

    let bare = Envelope {
        id: MessageId([0; 16]),
        from: ReversePath::Null,
        mail: MailParameters::default(),
        recipients: vec![],
        received_at: -1,
        client: Client::local(&Domain::parse("mx.example.org").unwrap()),
    };
    assert_eq!(Envelope::decode(&bare.encode().unwrap()).unwrap(), bare);
}

/// The least that an earlier version may have written, and what a later one may have added.
#[test]
fn of_other_versions() {
    let least = r#"{"version":1,"id":"aaaaaaaaaaaaaaaaaaaaaaaaaa","from":"","recipients":[{"address":"a@b.example"}],"received_at":0,"client":{"ip":"192.0.2.1"}}"#;
    let read = Envelope::decode(least.as_bytes()).unwrap();
    assert_eq!(read.mail, MailParameters::default());
    assert_eq!(read.recipients, [Address::parse("a@b.example").unwrap().into()]);
    assert_eq!(read.client.protocol, Protocol::Esmtp);

    let more = FORM_1.replace("{\"version\":1,", "{\"version\":1,\"colour\":\"blue\",");
    assert_eq!(Envelope::decode(more.as_bytes()).unwrap(), full());

    let newer = FORM_1.replace("\"version\":1,", "\"version\":2,");
    assert!(matches!(Envelope::decode(newer.as_bytes()), Err(EnvelopeError::Newer(2))));
    // Even if nothing else of it can be read.
    assert!(matches!(Envelope::decode(b"{\"version\":9}"), Err(EnvelopeError::Newer(9))));
}

#[test]
fn broken() {
    for bytes in [
        "",
        "{}",
        "{\"version\":1}",
        &FORM_1[..FORM_1.len() - 1],
        &FORM_1.replace("user@[", "us er@["),
    ] {
        assert!(
            matches!(Envelope::decode(bytes.as_bytes()), Err(EnvelopeError::Malformed(_))),
            "{bytes}"
        );
    }
}

#[test]
fn scripts() {
    let mut envelope = full();
    assert!(envelope.needs_utf8());
    envelope.mail.smtputf8 = false;
    assert!(envelope.needs_utf8());
    envelope.recipients.remove(0);
    assert!(!envelope.needs_utf8());
    envelope.from = Address::parse("\u{fc}@example.org").unwrap().into();
    assert!(envelope.needs_utf8());
}

/// RFC 3848 and RFC 6531's additions, as IANA lists them.
#[test]
fn with_what() {
    for (protocol, smtputf8, secure, known, with) in [
        (Protocol::Smtp, false, false, false, "SMTP"),
        (Protocol::Esmtp, false, false, false, "ESMTP"),
        (Protocol::Esmtp, false, true, false, "ESMTPS"),
        (Protocol::Esmtp, false, false, true, "ESMTPA"),
        (Protocol::Esmtp, false, true, true, "ESMTPSA"),
        (Protocol::Esmtp, true, true, true, "UTF8SMTPSA"),
        (Protocol::Lmtp, false, true, false, "LMTPS"),
        (Protocol::Lmtp, true, false, true, "UTF8LMTPA"),
        (Protocol::Local, true, false, false, "local"),
    ] {
        let client = Client {
            protocol,
            tls: secure.then(TlsFacts::default),
            authenticated: known.then(|| "user".to_owned()),
            ..full().client
        };
        assert_eq!(client.with(smtputf8), with);
    }
}
