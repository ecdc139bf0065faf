use proptest::prelude::*;

use super::*;
use crate::language::English;

const MESSAGE: &[u8] = b"Received: from a\r\n\tby b; Fri, 21 Nov 1997 09:55:06 -0600\r\n\
From: Sender <sender@example.org>\r\nSubject: Hello\r\nMessage-ID: <1234@example.org>\r\n\r\nSecret content.\r\n";

fn fate(recipient: &str, action: Action) -> Fate {
    Fate {
        recipient: Address::parse(recipient).unwrap(),
        orcpt: None,
        action,
        status: EnhancedCode::new(5, 1, 1),
        remote: Some("mx.example.net".into()),
        reply: Some(Reply::of_text(550, "5.1.1 No such user here")),
        last_attempt: Some(880_130_000),
        retry_until: None,
    }
}

/// Builds a report of it, with some of it changed.
fn with(fates: &[Fate], message: &[u8], change: impl FnOnce(&mut Report<'_>)) -> Option<Dsn> {
    let (reporting, author, to) = (
        Domain::parse("mx1.example.com").unwrap(),
        Address::parse("MAILER-DAEMON@example.com").unwrap(),
        Address::parse("sender@example.org").unwrap(),
    );
    let mut report = Report {
        id: MessageId([1; 16]),
        reporting: &reporting,
        author: &author,
        to: &to,
        message_id: MessageId([0; 16]),
        envid: None,
        arrived_at: 880_127_706,
        ret: None,
        smtputf8: false,
        fates,
        message,
        longest_return: 50_000,
        now: 880_131_306,
        offset_minutes: 0,
        language: &English,
    };
    change(&mut report);
    build(&report)
}

/// A part's header and content.
struct Part {
    header: String,
    content: Vec<u8>,
}

/// Takes a report apart, by its own words.
fn parts(dsn: &Dsn) -> (String, Vec<Part>) {
    let header_length = scan::header_length(&dsn.message);
    let header = String::from_utf8(dsn.message[..header_length].to_vec()).unwrap();
    let kind = scan::first(&dsn.message, "Content-Type").unwrap().text().into_owned();
    let boundary = kind.split_once("boundary=\"").unwrap().1.trim_end_matches('"').to_owned();
    let mut parts = vec![];
    let mut rest = &dsn.message[header_length..];
    let border = format!("\r\n--{boundary}");
    let mut pieces = vec![];
    while let Some(at) = memmem::find(rest, border.as_bytes()) {
        pieces.push(&rest[..at]);
        rest = &rest[at + border.len()..];
    }
    assert_eq!(rest, b"--\r\n");
    for piece in &pieces[1..] {
        let piece = piece.strip_prefix(b"\r\n").unwrap();
        let length = scan::header_length(piece);
        parts.push(Part {
            header: String::from_utf8(piece[..length].to_vec()).unwrap(),
            content: piece[length..].to_vec(),
        });
    }
    (header, parts)
}

fn text(part: &Part) -> &str {
    std::str::from_utf8(&part.content).unwrap()
}

#[test]
fn of_a_failure() {
    let dsn = with(&[fate("user@example.net", Action::Failed)], MESSAGE, |report| {
        report.envid = Some("QQ314159");
    })
    .unwrap();
    assert_eq!(dsn.parameters.body, Body::SevenBit);
    assert!(!dsn.parameters.smtputf8);
    assert_eq!(dsn.parameters.size, Some(dsn.message.len() as u64));
    let (header, parts) = parts(&dsn);
    assert_eq!(
        header,
        "From: Mail Delivery System\r\n <MAILER-DAEMON@example.com>\r\n\
         To: <sender@example.org>\r\n\
         Subject: Your message was not delivered\r\n\
         Date: Fri, 21 Nov 1997 16:55:06 +0000\r\n\
         Message-ID: <aeaqcaibaeaqcaibaeaqcaibae@mx1.example.com>\r\n\
         In-Reply-To: <1234@example.org>\r\n\
         References: <1234@example.org>\r\n\
         Auto-Submitted: auto-replied\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n\
         \tboundary=\""
            .to_owned()
            + header.split_once("boundary=\"").unwrap().1
    );
    assert!(header.ends_with("Content-Transfer-Encoding: 7bit\r\n\r\n"));
    let [notification, status, returned] = &parts[..] else { panic!("three parts") };

    assert!(notification.header.contains("Content-Type: text/plain; charset=utf-8\r\n"));
    assert!(notification.header.contains("Content-Language: en\r\n"));
    for line in [
        "It could NOT be delivered to:\r\n",
        "\r\n  <user@example.net>\r\n",
        "    There is no such address. Please check how it is spelt.\r\n",
        "    mx.example.net said: 550 5.1.1 No such user here\r\n",
    ] {
        assert!(text(notification).contains(line), "{line:?} in {}", text(notification));
    }

    assert!(status.header.contains("Content-Type: message/delivery-status\r\n"));
    assert_eq!(
        text(status),
        "Original-Envelope-Id: QQ314159\r\n\
         Reporting-MTA: dns; mx1.example.com\r\n\
         X-Muralla-Message: aaaaaaaaaaaaaaaaaaaaaaaaaa\r\n\
         Arrival-Date: Fri, 21 Nov 1997 15:55:06 +0000\r\n\
         \r\n\
         Final-Recipient: rfc822;user@example.net\r\n\
         Action: failed\r\n\
         Status: 5.1.1\r\n\
         Remote-MTA: dns; mx.example.net\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 No such user here\r\n\
         Last-Attempt-Date: Fri, 21 Nov 1997 16:33:20 +0000\r\n"
    );

    assert!(returned.header.contains("Content-Type: text/rfc822-headers\r\n"));
    assert!(text(returned).ends_with("Message-ID: <1234@example.org>\r\n"));
    assert!(!text(returned).contains("Secret"));
}

#[test]
fn of_several() {
    let fates = [
        fate("gone@example.net", Action::Failed),
        Fate {
            status: EnhancedCode::new(4, 4, 1),
            reply: None,
            remote: None,
            last_attempt: None,
            retry_until: Some(880_500_000),
            ..fate("late@example.net", Action::Delayed)
        },
        Fate {
            status: EnhancedCode::new(2, 0, 0),
            orcpt: OriginalRecipient::parse("rfc822;first+2Bname@example.com"),
            retry_until: Some(880_500_000),
            reply: None,
            ..fate("here@example.net", Action::Delivered)
        },
        fate("list@example.net", Action::Expanded),
        fate("far@example.net", Action::Relayed),
    ];
    let dsn = with(&fates, MESSAGE, |_| {}).unwrap();
    let (header, parts) = parts(&dsn);
    assert!(header.contains("Subject: Your message was not delivered to everyone\r\n"));
    let status = text(&parts[1]);
    assert_eq!(status.matches("Final-Recipient: ").count(), 5);
    assert_eq!(status.matches("\r\n\r\n").count(), 5, "a group for each, and one for the message");
    for line in [
        "Action: failed\r\n",
        "Action: delayed\r\nStatus: 4.4.1\r\nWill-Retry-Until: Tue, 25 Nov 1997 23:20:00 +0000\r\n",
        "Original-Recipient: rfc822;first+2Bname@example.com\r\nFinal-Recipient: rfc822;here@example.net\r\n\
         Action: delivered\r\nStatus: 2.0.0\r\n",
        "Action: expanded\r\n",
        "Action: relayed\r\n",
    ] {
        assert!(status.contains(line), "{line}");
    }
    // It is tried no longer once it is there.
    assert_eq!(status.matches("Will-Retry-Until").count(), 1);
    let words = text(&parts[0]);
    let at = |words_of: &str| words.find(words_of).unwrap();
    assert!(
        at("gone@") < at("late@")
            && at("late@") < at("far@")
            && at("far@") < at("list@")
            && at("list@") < at("here@")
    );
    assert!(words.contains("It is tried until Tue, 25 Nov 1997 23:20:00 +0000."));
}

#[test]
fn subjects() {
    for (action, subject) in [
        (Action::Failed, "Your message was not delivered"),
        (Action::Delayed, "Your message is delayed, and will be tried again"),
        (Action::Relayed, "Your message was handed on"),
        (Action::Expanded, "Your message was handed on"),
        (Action::Delivered, "Your message was delivered"),
    ] {
        let dsn = with(&[fate("user@example.net", action)], MESSAGE, |_| {}).unwrap();
        assert_eq!(scan::first(&dsn.message, "Subject").unwrap().text(), subject);
    }
    assert_eq!(with(&[], MESSAGE, |_| {}), None);
}

/// The whole of it goes back if that was asked for, of a failure, and if it can.
#[test]
fn how_much_goes_back() {
    let failed = [fate("user@example.net", Action::Failed)];
    let delayed = [fate("user@example.net", Action::Delayed)];
    let binary: &[u8] = b"A: b\r\n\r\nwith \0 and\nlines\r\n";
    let long = [b"A: b\r\n\r\n", &[b'x'; 1200][..], b"\r\n"].concat();
    let eight: &[u8] = b"A: b\r\n\r\n\xe9\r\n";
    let global: &[u8] = "A: \u{fc}\r\n\r\n\u{fc}\r\n".as_bytes();
    for (fates, message, ret, limit, smtputf8, kind, encoding, whole) in [
        (&failed, MESSAGE, Some(Ret::Full), 50_000, false, "message/rfc822", "7bit", true),
        (&failed, MESSAGE, Some(Ret::Full), 50, false, "text/rfc822-headers", "7bit", false),
        (&failed, MESSAGE, Some(Ret::Headers), 50_000, false, "text/rfc822-headers", "7bit", false),
        (&failed, MESSAGE, None, 50_000, false, "text/rfc822-headers", "7bit", false),
        (&delayed, MESSAGE, Some(Ret::Full), 50_000, false, "text/rfc822-headers", "7bit", false),
        (&failed, binary, Some(Ret::Full), 50_000, false, "text/rfc822-headers", "7bit", false),
        (&failed, &long, Some(Ret::Full), 50_000, false, "text/rfc822-headers", "7bit", false),
        (&failed, eight, Some(Ret::Full), 50_000, false, "message/rfc822", "8bit", true),
        (&failed, eight, Some(Ret::Full), 50_000, true, "text/rfc822-headers", "7bit", false),
        (
            &failed,
            global,
            Some(Ret::Full),
            50_000,
            true,
            "message/global",
            "quoted-printable",
            false,
        ),
        (&failed, global, None, 50_000, true, "message/global-headers", "quoted-printable", false),
        (
            &failed,
            b"A: \xe9\r\n\r\n",
            None,
            50_000,
            false,
            "text/rfc822-headers",
            "quoted-printable",
            false,
        ),
    ] {
        let dsn = with(fates, message, |report| {
            report.ret = ret;
            report.longest_return = limit;
            report.smtputf8 = smtputf8;
        })
        .unwrap();
        let (header, parts) = parts(&dsn);
        let returned = &parts[2];
        assert!(
            returned.header.contains(&format!("Content-Type: {kind}\r\n")),
            "{kind}: {}",
            returned.header
        );
        assert!(
            returned.header.contains(&format!("Transfer-Encoding: {encoding}\r\n")),
            "{kind}: {}",
            returned.header
        );
        assert_eq!(returned.content == message, whole, "{kind}");
        assert_eq!(dsn.parameters.body == Body::EightBitMime, !dsn.message.is_ascii());
        assert_eq!(header.contains("Content-Transfer-Encoding: 8bit"), !dsn.message.is_ascii());
        assert!(!dsn.parameters.smtputf8);
    }
}

#[test]
fn long_headers_are_cut() {
    let message = [&b"A: b\r\n".repeat(20_000)[..], b"\r\nbody"].concat();
    let dsn = with(&[fate("user@example.net", Action::Failed)], &message, |_| {}).unwrap();
    let (_, parts) = parts(&dsn);
    assert!(parts[2].content.len() <= LONGEST_HEADER);
    assert!(parts[2].content.ends_with(b"A: b\r\n"));
}

/// RFC 6533: for a reader in ASCII everything is, for another nothing needs escapes.
#[test]
fn in_other_scripts() {
    let fates = [Fate {
        orcpt: OriginalRecipient::parse("utf-8;\\x{F6}@example.com"),
        reply: Some(Reply::of_text(550, "5.1.1 <\u{fc}@example.net> unbekannt")),
        ..fate("\u{fc}@example.net", Action::Failed)
    }];
    let dsn = with(&fates, MESSAGE, |_| {}).unwrap();
    assert!(dsn.message.is_ascii());
    let (_, ascii) = parts(&dsn);
    assert!(ascii[0].header.contains("Content-Transfer-Encoding: quoted-printable"));
    assert!(text(&ascii[0]).contains("<=C3=BC@example.net>"));
    assert!(ascii[1].header.contains("Content-Type: message/delivery-status\r\n"));
    assert!(text(&ascii[1]).contains("Original-Recipient: utf-8;\\x{F6}@example.com\r\n"));
    assert!(text(&ascii[1]).contains("Final-Recipient: utf-8;\\x{FC}@example.net\r\n"));
    assert!(
        text(&ascii[1]).contains("Diagnostic-Code: smtp; 550 5.1.1 <?@example.net> unbekannt\r\n")
    );

    let to = Address::parse("s\u{e9}nder@example.org").unwrap();
    let dsn = build_for(&to, &fates);
    assert!(dsn.parameters.smtputf8);
    assert_eq!(dsn.parameters.body, Body::EightBitMime);
    let (header, global) = parts(&dsn);
    assert!(header.contains("To: <s\u{e9}nder@example.org>\r\n"));
    assert!(global[1].header.contains("Content-Type: message/global-delivery-status\r\n"));
    assert!(text(&global[1]).contains("Original-Recipient: utf-8;\u{f6}@example.com\r\n"));
    assert!(text(&global[1]).contains("Final-Recipient: utf-8;\u{fc}@example.net\r\n"));
    assert!(
        text(&global[1])
            .contains("Diagnostic-Code: smtp; 550 5.1.1 <\u{fc}@example.net> unbekannt\r\n")
    );
}

fn build_for(to: &Address, fates: &[Fate]) -> Dsn {
    let reporting = Domain::parse("mx1.example.com").unwrap();
    let author = Address::parse("MAILER-DAEMON@example.com").unwrap();
    build(&Report {
        id: MessageId([1; 16]),
        reporting: &reporting,
        author: &author,
        to,
        message_id: MessageId([0; 16]),
        envid: None,
        arrived_at: 0,
        ret: None,
        smtputf8: true,
        fates,
        message: MESSAGE,
        longest_return: 0,
        now: 0,
        offset_minutes: 0,
        language: &English,
    })
    .unwrap()
}

/// A message that has the border of its own report in it.
#[test]
fn borders() {
    let first = boundary(MessageId([1; 16]), b"");
    assert_ne!(boundary(MessageId([1; 16]), format!("x\r\n--{first}--\r\n").as_bytes()), first);
}

#[test]
fn quoted() {
    for (plain, wire) in [
        ("", ""),
        ("a = b\r\n", "a =3D b\r\n"),
        ("a \r\n\t\r\n", "a=20\r\n=09\r\n"),
        ("a\n", "a\r\n"),
        ("\u{fc}", "=C3=BC"),
        ("\0\x7f", "=00=7F"),
    ] {
        let mut out = String::new();
        quoted_printable(&mut out, plain.as_bytes());
        assert_eq!(out, wire);
    }
    let mut out = String::new();
    quoted_printable(&mut out, &[b'x'; 200]);
    assert!(out.split("\r\n").all(|line| line.len() <= 76));
    assert_eq!(out.replace("=\r\n", ""), "x".repeat(200));
}

#[test]
fn lines() {
    for (message, has) in [
        (&b""[..], true),
        (b"a\r\nb", true),
        (b"a\r\n\r\n", true),
        (b"a\nb\r\n", false),
        (b"a\n", false),
        (b"a\rb\r\n", false),
        (b"a\r", false),
        (b"a\r\r\n", false),
        (b"a\0\r\n", false),
        (&[b'x'; 998], true),
        (&[b'x'; 999], false),
    ] {
        assert_eq!(has_lines(message), has, "{message:?}");
    }
}

proptest! {
    /// Whatever servers and senders said, a report has three parts, each line of it is short, and no part can be added.
    #[test]
    fn hostile(
        reply in "(?s).{0,200}|[a-z]{1000}|(\r\n--|=_|[a-z ]){0,50}",
        remote in "(?s).{0,40}",
        envid in "(?s).{0,40}",
        message in "(?s)([A-Za-z]{1,5}: .{0,20}\r\n){0,5}(\r\n)?.{0,100}",
        utf8: bool,
        smtputf8: bool,
        full: bool,
    ) {
        let fates = [Fate {
            remote: Some(remote),
            reply: Some(Reply::of_text(550, &reply)),
            ..fate("user@example.net", Action::Failed)
        }];
        let to = Address::parse(if utf8 { "\u{fc}@example.org" } else { "u@example.org" }).unwrap();
        let dsn = {
            let reporting = Domain::parse("mx1.example.com").unwrap();
            let author = Address::parse("MAILER-DAEMON@example.com").unwrap();
            build(&Report {
                id: MessageId([1; 16]),
                reporting: &reporting,
                author: &author,
                to: &to,
                message_id: MessageId([0; 16]),
                envid: Some(&envid),
                arrived_at: 0,
                ret: full.then_some(Ret::Full),
                smtputf8,
                fates: &fates,
                message: message.as_bytes(),
                longest_return: 1000,
                now: 0,
                offset_minutes: 0,
                language: &English,
            })
            .unwrap()
        };
        let (header, parts) = parts(&dsn);
        prop_assert_eq!(parts.len(), 3);
        prop_assert_eq!(scan::fields(header.as_bytes()).filter(|field| field.is("Subject")).count(), 1);
        prop_assert!(has_lines(&dsn.message), "{:?}", String::from_utf8_lossy(&dsn.message));
        prop_assert_eq!(text(&parts[1]).matches("\r\n\r\n").count(), 1);
        prop_assert_eq!(text(&parts[1]).matches("Final-Recipient").count() - reply.matches("Final-Recipient").count(), 1);
        prop_assert_eq!(dsn.message.is_ascii(), dsn.parameters.body == Body::SevenBit);
        prop_assert!(utf8 || parts[1].content.is_ascii());
    }
}
