use proptest::prelude::*;

use super::*;
use crate::envelope::{Client, Recipient, TlsFacts};
use crate::parameters::MailParameters;
use crate::scan;

fn by() -> Domain {
    Domain::parse("mx1.example.net").unwrap()
}

fn envelope() -> Envelope {
    Envelope {
        id: MessageId([0; 16]),
        from: ReversePath::Null,
        mail: MailParameters::default(),
        recipients: vec![Recipient::new(Address::parse("user@example.net").unwrap())],
        received_at: 880_127_706,
        client: Client {
            ip: "192.0.2.7".parse().unwrap(),
            helo: "client.example".into(),
            name: Some(Domain::parse("real.example").unwrap()),
            tls: None,
            authenticated: None,
            protocol: Protocol::Esmtp,
        },
    }
}

fn write(envelope: &Envelope, conceal_client: bool) -> String {
    received(Received { envelope, by: &by(), offset_minutes: -360, conceal_client })
}

#[test]
fn of_a_client() {
    assert_eq!(
        write(&envelope(), false),
        "Received: from client.example (real.example [192.0.2.7])\r\n\
         \tby mx1.example.net with ESMTP id aaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\
         \tfor <user@example.net>;\r\n\
         \tFri, 21 Nov 1997 09:55:06 -0600\r\n"
    );
}

#[test]
fn with_tls_and_without_a_name() {
    let mut envelope = envelope();
    envelope.client.name = None;
    envelope.client.ip = "2001:db8::7".parse().unwrap();
    envelope.client.tls = Some(TlsFacts {
        version: "TLSv1.3".into(),
        cipher: "TLS_AES_128_GCM_SHA256".into(),
        server_name: None,
    });
    envelope.recipients.push(Recipient::new(Address::parse("b@example.net").unwrap()));
    assert_eq!(
        write(&envelope, false),
        "Received: from client.example ([IPv6:2001:db8::7])\r\n\
         \tby mx1.example.net with ESMTPS id aaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\
         \ttls TLS_AES_128_GCM_SHA256 (TLSv1.3);\r\n\
         \tFri, 21 Nov 1997 09:55:06 -0600\r\n"
    );
}

#[test]
fn of_a_customer() {
    let mut envelope = envelope();
    envelope.client.authenticated = Some("user@example.net".into());
    let written = write(&envelope, true);
    assert!(written.starts_with(
        "Received: from localhost (concealed)\r\n\tby mx1.example.net with ESMTPA id "
    ));
    assert!(!written.contains("192.0.2.7") && !written.contains("client.example"));
    envelope.client = Client::local(&by());
    assert!(
        write(&envelope, false)
            .starts_with("Received: from localhost\r\n\tby mx1.example.net with local id ")
    );
}

#[test]
fn of_a_mapped_address() {
    let mut envelope = envelope();
    envelope.client.ip = "::ffff:192.0.2.7".parse().unwrap();
    assert!(write(&envelope, false).contains("(real.example [192.0.2.7])"));
}

/// A recipient in another script is only named where the header may have him.
#[test]
fn for_whom() {
    let mut envelope = envelope();
    envelope.recipients = vec![Recipient::new(Address::parse("\u{fc}@example.net").unwrap())];
    assert!(!write(&envelope, false).contains("for"));
    envelope.mail.smtputf8 = true;
    assert!(write(&envelope, false).contains("with UTF8SMTP id"));
    assert!(write(&envelope, false).contains("\tfor <\u{fc}@example.net>;"));
}

#[test]
fn others() {
    let address = Address::parse("user@example.net").unwrap();
    assert_eq!(return_path(&ReversePath::Null), "Return-Path: <>\r\n");
    assert_eq!(return_path(&address.clone().into()), "Return-Path: <user@example.net>\r\n");
    assert_eq!(delivered_to(&address), "Delivered-To: user@example.net\r\n");
    assert_eq!(
        message_id(&MessageId([0; 16]), &by()),
        "Message-ID: <aaaaaaaaaaaaaaaaaaaaaaaaaa@mx1.example.net>\r\n"
    );
    assert_eq!(date(0, 0), "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n");
}

#[test]
fn any_text() {
    for (value, field) in [
        ("", "Subject:\r\n"),
        ("plain  text", "Subject: plain text\r\n"),
        ("one\r\nBcc: two", "Subject: one Bcc: two\r\n"),
        ("\u{fc}", "Subject: =?UTF-8?B?w7w=?=\r\n"),
        // What would be taken for encoded is.
        ("=?x?q?a?=", "Subject: =?UTF-8?B?PT94P3E/YT89?=\r\n"),
    ] {
        assert_eq!(text("Subject", value), field);
    }
    let long = text("Subject", &"word ".repeat(40));
    assert_eq!(long.matches("\r\n ").count(), 2);
}

proptest! {
    /// Whatever a client says of itself, it is one field, in lines that are not too long.
    #[test]
    fn nobody_adds_a_line(helo in "(?s).{0,300}", cipher in "(?s).{0,20}", name in "[a-z]{1,20}", several: bool) {
        let mut envelope = envelope();
        envelope.client.helo = helo;
        envelope.client.tls = Some(TlsFacts { version: cipher.clone(), cipher, server_name: None });
        envelope.recipients[0].address = Address::parse(&format!("{name}@example.net")).unwrap();
        if several {
            envelope.recipients.clear();
        }
        let written = write(&envelope, false);
        prop_assert_eq!(scan::fields(written.as_bytes()).count(), 1);
        prop_assert_eq!(scan::header_length(written.as_bytes()), written.len());
        prop_assert!(written.is_ascii());
        prop_assert!(written.split("\r\n").all(|line| line.len() < 998 && !line.contains(['\r', '\n'])));
        prop_assert_eq!(written.matches('(').count(), written.matches(')').count());
    }

    #[test]
    fn any_text_is_one_field(value in "(?s).{0,200}|[a-z ]{0,300}|[a-z]{70,90}") {
        let written = text("Subject", &value);
        prop_assert_eq!(scan::fields(written.as_bytes()).count(), 1);
        prop_assert_eq!(scan::header_length(written.as_bytes()), written.len());
        prop_assert!(written.is_ascii());
        prop_assert!(written.split("\r\n").all(|line| line.len() <= LINE && !line.contains(['\r', '\n'])), "{}", written);
    }
}
