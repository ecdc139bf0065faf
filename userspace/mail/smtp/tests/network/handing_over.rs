//! A client, with servers that do what they should, and with others.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use muralla_mail_envelope::{
    Body, Domain, MailParameters, Notify, OriginalRecipient, RcptParameters, Recipient, Ret,
};
use muralla_smtp::client::{
    ClientError, Connection, Delivery, EightBit, Login, Options, Outcome, Speaks, TlsPolicy,
};
use muralla_smtp::server::{Mode, Security};
use muralla_smtp::tls::{Certificates, Dane, Tlsa, Trust};
use proptest::prelude::*;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use crate::common::{Authority, Keeper, LONG, config, from, recipients, start};

const MESSAGE: &[u8] = b"Subject: a\r\n\r\nb\r\n";

/// What a server does that follows a script: it waits for a line (of which `*` at the end stands for anything), or for as
/// many of them as there are, and then says something. An empty one says something without waiting.
type Script = &'static [(&'static str, &'static str)];

/// A server that follows a script, and hangs up at its end. What it heard that was not in the script is what it returns.
fn scripted(script: Script) -> (DuplexStream, JoinHandle<Result<(), String>>) {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    let task = tokio::spawn(async move {
        let mut input = BytesMut::new();
        for (expected, reply) in script {
            for expected in expected.split('\n').filter(|expected| !expected.is_empty()) {
                let line = loop {
                    if let Some(end) = input.iter().position(|&octet| octet == b'\n') {
                        break String::from_utf8_lossy(&input.split_to(end + 1)).into_owned();
                    }
                    match theirs.read_buf(&mut input).await {
                        Ok(octets) if octets > 0 => {}
                        _ => return Err(format!("nothing came, not even {expected:?}")),
                    }
                };
                let Some(line) = line.strip_suffix("\r\n") else {
                    return Err(format!("{line:?} has no end"));
                };
                let fits = match expected.strip_suffix('*') {
                    Some(start) => line.starts_with(start),
                    None => line == expected,
                };
                if !fits {
                    return Err(format!("{line:?}, and not {expected:?}"));
                }
            }
            if theirs.write_all(reply.as_bytes()).await.is_err() {
                return Err("nobody listens".to_owned());
            }
        }
        Ok(())
    });
    (ours, task)
}

/// What the client says, or nothing if he hung up.
async fn some(stream: &mut (impl AsyncRead + Unpin)) -> BytesMut {
    let mut octets = BytesMut::with_capacity(4096);
    let _ = stream.read_buf(&mut octets).await;
    octets
}

fn options(speaks: Speaks) -> Options {
    Options::new(speaks, Domain::parse("out.example.net").unwrap())
}

/// Nobody can be verified with it.
fn no_trust() -> Trust {
    Trust::of_roots(RootCertStore::empty()).unwrap()
}

async fn open(
    stream: DuplexStream,
    options: &Options,
) -> Result<Connection<DuplexStream>, ClientError> {
    Connection::open(stream, "mx.example.org", options, &no_trust()).await
}

/// The codes of outcomes, with what became of them.
fn codes(delivery: &Delivery) -> String {
    let codes: Vec<String> = delivery
        .outcomes
        .iter()
        .map(|outcome| {
            let sign = match outcome {
                Outcome::Delivered(_) => '+',
                Outcome::Temporary(_) => '~',
                Outcome::Permanent(_) => '-',
            };
            format!("{sign}{} {}", outcome.reply().code, outcome.reply().status())
        })
        .collect();
    codes.join(", ")
}

/// Hands one message over to a scripted server.
async fn hand(
    script: Script,
    options: &Options,
    parameters: &MailParameters,
    to: &[Recipient],
    message: &[u8],
) -> (Delivery, Result<(), String>) {
    let (stream, task) = scripted(script);
    let mut connection = open(stream, options).await.unwrap();
    let sender = from("a@example.net");
    let delivery = connection.deliver(&sender, parameters, to, message).await;
    drop(connection);
    (delivery, task.await.unwrap())
}

/// Somebody is asked for, and nothing is handed over; then a message is.
#[tokio::test]
async fn who_is_known() {
    let script: Script = &[
        ("", "220 mx.example.org\r\n"),
        ("LHLO out.example.net", "250 mx.example.org\r\n"),
        ("MAIL FROM:<>", "250 Ok\r\n"),
        ("RCPT TO:<b@example.org>", "250 2.1.5 Ok\r\n"),
        ("RSET", "250 Ok\r\n"),
        ("MAIL FROM:<>", "250 Ok\r\n"),
        ("RCPT TO:<c@example.org>", "550 5.1.1 No such user\r\n"),
        ("RSET", "250 Ok\r\n"),
        ("MAIL FROM:<a@example.net>", "250 Ok\r\n"),
        ("RCPT TO:<b@example.org>", "250 Ok\r\n"),
        ("DATA", "354 Go\r\n"),
        ("Subject: a\n*\nb\n.", "250 Taken\r\n"),
        ("MAIL FROM:<>", "250 Ok\r\n"),
        ("RCPT TO:<b@example.org>", "250 Ok\r\n"),
        ("RSET", "250 Ok\r\n"),
        ("MAIL FROM:<>", "451 4.3.0 Not now\r\n"),
    ];
    let (stream, task) = scripted(script);
    let mut connection = open(stream, &options(Speaks::Lmtp)).await.unwrap();
    let to = recipients(&["b@example.org", "c@example.org", "bücher@example.org"]);
    assert!(connection.verify(&to[0].address).await.unwrap().is_positive());
    let reply = connection.verify(&to[1].address).await.unwrap();
    assert_eq!(reply.to_string(), "550 5.1.1 No such user");
    let reply = connection.verify(&to[2].address).await.unwrap();
    assert!(reply.is_permanent(), "{reply}");
    let parameters = MailParameters::default();
    let sender = from("a@example.net");
    let delivery = connection.deliver(&sender, &parameters, &to[..1], MESSAGE).await;
    assert_eq!(codes(&delivery), "+250 2.0.0");
    // What can't be said of him is no answer.
    connection.verify(&to[0].address).await.unwrap();
    connection.verify(&to[0].address).await.unwrap_err();
    assert!(!connection.is_reusable());
    drop(connection);
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn transactions() {
    let cases: &[(&str, Script, &[&str], &str)] = &[
        (
            "one by one",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO out.example.net", "250-mx.example.org\r\n250 SIZE 100\r\n"),
                ("MAIL FROM:<a@example.net> SIZE=17", "250 Ok\r\n"),
                ("RCPT TO:<b@example.org>", "250 Ok\r\n"),
                ("RCPT TO:<c@example.org>", "550 5.1.1 No\r\n"),
                ("DATA", "354 Go\r\n"),
                ("Subject: a\n*\nb\n.", "250 2.6.0 Taken\r\n"),
            ],
            &["b@example.org", "c@example.org"],
            "+250 2.6.0, -550 5.1.1",
        ),
        (
            "in one piece",
            &[
                ("", "220-mx.example.org\r\n220 hello\r\n"),
                ("EHLO *", "250-mx.example.org\r\n250 PIPELINING\r\n"),
                (
                    "MAIL FROM:<a@example.net>\nRCPT TO:<b@example.org>\nRCPT TO:<c@example.org>\nDATA",
                    "250 Ok\r\n451 4.7.1 Greylisted\r\n250 Ok\r\n354 Go\r\n",
                ),
                ("Subject: a\n*\nb\n.", "250 Taken\r\n"),
            ],
            &["b@example.org", "c@example.org"],
            "~451 4.7.1, +250 2.0.0",
        ),
        (
            "the sender is refused",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250-mx.example.org\r\n250 PIPELINING\r\n"),
                (
                    "MAIL *\nRCPT *\nDATA",
                    "550 5.7.1 Not you\r\n503 First MAIL\r\n503 First MAIL\r\n",
                ),
            ],
            &["b@example.org"],
            "-550 5.7.1",
        ),
        (
            "the sender is refused, and all else is not: nobody gets anything",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250-mx.example.org\r\n250 PIPELINING\r\n"),
                ("MAIL *\nRCPT *\nDATA", "550 5.7.1 Not you\r\n250 Ok\r\n354 Go\r\n"),
            ],
            &["b@example.org"],
            "-550 5.7.1",
        ),
        (
            "the sender is refused one by one",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250 mx.example.org\r\n"),
                ("MAIL *", "451 Not now\r\n"),
            ],
            &["b@example.org", "c@example.org"],
            "~451 4.0.0, ~451 4.0.0",
        ),
        (
            "nobody is taken, and DATA is",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250-mx.example.org\r\n250 PIPELINING\r\n"),
                ("MAIL *\nRCPT *\nDATA", "250 Ok\r\n550 No\r\n354 Go\r\n"),
                (".", "554 No recipients\r\n"),
            ],
            &["b@example.org"],
            "-550 5.0.0",
        ),
        (
            "DATA is refused",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250-mx.example.org\r\n250 PIPELINING\r\n"),
                ("MAIL *\nRCPT *\nDATA", "250 Ok\r\n250 Ok\r\n451 4.3.1 Full\r\n"),
            ],
            &["b@example.org"],
            "~451 4.3.1",
        ),
        (
            "the message is refused",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250-mx.example.org\r\n250 PIPELINING\r\n"),
                ("MAIL *\nRCPT *\nRCPT *\nDATA", "250 Ok\r\n250 Ok\r\n550 No\r\n354 Go\r\n"),
                ("Subject: a\n*\nb\n.", "554 5.7.1 Spam\r\n"),
            ],
            &["b@example.org", "c@example.org"],
            "-554 5.7.1, -550 5.0.0",
        ),
        (
            "of before EHLO",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "500 What?\r\n"),
                ("HELO out.example.net", "250 mx.example.org\r\n"),
                ("MAIL FROM:<a@example.net>", "250 Ok\r\n"),
                ("RCPT *", "251 Moved\r\n"),
                ("DATA", "354 Go\r\n"),
                ("Subject: a\n*\nb\n.", "250 Taken\r\n"),
            ],
            &["b@example.org"],
            "+250 2.0.0",
        ),
        (
            "too many recipients, and the rest in another",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250-mx.example.org\r\n250 PIPELINING\r\n"),
                (
                    "MAIL *\nRCPT TO:<b@example.org>\nRCPT TO:<c@example.org>\nDATA",
                    "250 Ok\r\n250 Ok\r\n452 4.5.3 Too many\r\n354 Go\r\n",
                ),
                ("Subject: a\n*\nb\n.", "250 Taken\r\n"),
                ("MAIL *\nRCPT TO:<c@example.org>\nDATA", "250 Ok\r\n250 Ok\r\n354 Go\r\n"),
                ("Subject: a\n*\nb\n.", "250 2.0.1 Taken\r\n"),
            ],
            &["b@example.org", "c@example.org"],
            "+250 2.0.0, +250 2.0.1",
        ),
        (
            "too many recipients from the first on: no end is no use",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250 mx.example.org\r\n"),
                ("MAIL *", "250 Ok\r\n"),
                ("RCPT *", "452 4.5.3 Too many\r\n"),
            ],
            &["b@example.org"],
            "~452 4.5.3",
        ),
        (
            "552 for too many recipients, as it was once",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250 mx.example.org\r\n"),
                ("MAIL *", "250 Ok\r\n"),
                ("RCPT *", "250 Ok\r\n"),
                ("RCPT *", "552 Too many\r\n"),
                ("RCPT *", "552 5.2.2 Mailbox full\r\n"),
                ("DATA", "354 Go\r\n"),
                ("Subject: a\n*\nb\n.", "250 Taken\r\n"),
                ("MAIL *", "250 Ok\r\n"),
                ("RCPT TO:<c@example.org>", "250 Ok\r\n"),
                ("DATA", "354 Go\r\n"),
                ("Subject: a\n*\nb\n.", "250 Taken\r\n"),
            ],
            &["b@example.org", "c@example.org", "d@example.org"],
            "+250 2.0.0, +250 2.0.0, -552 5.2.2",
        ),
        (
            "RCPTMAX",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250-mx.example.org\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=1\r\n"),
                ("MAIL *\nRCPT TO:<b@example.org>\nDATA", "250 Ok\r\n550 No\r\n503 No\r\n"),
                (
                    "RSET\nMAIL *\nRCPT TO:<c@example.org>\nDATA",
                    "250 Ok\r\n250 Ok\r\n250 Ok\r\n354 Go\r\n",
                ),
                ("Subject: a\n*\nb\n.", "250 Taken\r\n"),
            ],
            &["b@example.org", "c@example.org"],
            "-550 5.0.0, +250 2.0.0",
        ),
        (
            "MAILMAX",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250-mx.example.org\r\n250 LIMITS RCPTMAX=1 MAILMAX=1\r\n"),
                ("MAIL *", "250 Ok\r\n"),
                ("RCPT TO:<b@example.org>", "250 Ok\r\n"),
                ("DATA", "354 Go\r\n"),
                ("Subject: a\n*\nb\n.", "250 Taken\r\n"),
            ],
            &["b@example.org", "c@example.org"],
            "+250 2.0.0, ~451 4.3.0",
        ),
        (
            "421 in the middle",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250-mx.example.org\r\n250 PIPELINING\r\n"),
                (
                    "MAIL *\nRCPT *\nRCPT *\nDATA",
                    "250 Ok\r\n550 5.1.1 No\r\n421 4.3.2 Going down\r\n",
                ),
            ],
            &["b@example.org", "c@example.org"],
            "-550 5.1.1, ~421 4.3.2",
        ),
        (
            "gone before the reply to the message",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250-mx.example.org\r\n250 PIPELINING\r\n"),
                ("MAIL *\nRCPT *\nDATA", "250 Ok\r\n250 Ok\r\n354 Go\r\n"),
                ("Subject: a\n*\nb\n.", ""),
            ],
            &["b@example.org"],
            "~451 4.4.2",
        ),
        (
            "not SMTP",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250-mx.example.org\r\n250 PIPELINING\r\n"),
                ("MAIL *\nRCPT *\nDATA", "hello\r\n"),
            ],
            &["b@example.org"],
            "~451 4.5.0",
        ),
        (
            "a reply that makes no sense",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250-mx.example.org\r\n250 PIPELINING\r\n"),
                ("MAIL *\nRCPT *\nDATA", "250 Ok\r\n250 Ok\r\n250 Ok\r\n"),
            ],
            &["b@example.org"],
            "~451 4.5.0",
        ),
        (
            "a reply to a message that makes no sense",
            &[
                ("", "220 mx.example.org\r\n"),
                ("EHLO *", "250-mx.example.org\r\n250 PIPELINING\r\n"),
                ("MAIL *\nRCPT *\nDATA", "250 Ok\r\n250 Ok\r\n354 Go\r\n"),
                ("Subject: a\n*\nb\n.", "354 Go on\r\n"),
            ],
            &["b@example.org"],
            "~451 4.5.0",
        ),
        (
            "too small for it",
            &[("", "220 mx.example.org\r\n"), ("EHLO *", "250-mx.example.org\r\n250 SIZE 16\r\n")],
            &["b@example.org"],
            "-552 5.3.4",
        ),
    ];
    for &(what, script, to, expected) in cases {
        let parameters = MailParameters::default();
        let (options, to) = (options(Speaks::Smtp), recipients(to));
        let handed = hand(script, &options, &parameters, &to, MESSAGE);
        let (delivery, script) = timeout(LONG, handed).await.expect(what);
        assert_eq!((&*codes(&delivery), script), (expected, Ok(())), "{what}: {delivery:?}");
    }
}

#[tokio::test]
async fn lmtp() {
    let script: Script = &[
        ("", "220 store LMTP\r\n"),
        ("LHLO out.example.net", "250-store\r\n250-PIPELINING\r\n250 DSN\r\n"),
        (
            "MAIL *\nRCPT *\nRCPT *\nRCPT *\nDATA",
            "250 Ok\r\n250 Ok\r\n550 5.1.1 No\r\n250 Ok\r\n354 Go\r\n",
        ),
        ("Subject: a\n*\nb\n.", "250 2.1.5 Taken\r\n452 4.2.2 Full\r\n"),
    ];
    let to = recipients(&["b@example.org", "c@example.org", "d@example.org"]);
    let (options, parameters) = (options(Speaks::Lmtp), MailParameters::default());
    let (delivery, script) = hand(script, &options, &parameters, &to, MESSAGE).await;
    assert_eq!(script, Ok(()));
    assert_eq!(codes(&delivery), "+250 2.1.5, -550 5.1.1, ~452 4.2.2");

    // Nobody is taken, and DATA is: there is no reply to wait for.
    let script: Script = &[
        ("", "220 store LMTP\r\n"),
        ("LHLO *", "250-store\r\n250 PIPELINING\r\n"),
        ("MAIL *\nRCPT *\nDATA", "250 Ok\r\n550 5.1.1 No\r\n354 Go\r\n"),
    ];
    let nobody = recipients(&["b@example.org"]);
    let handed = hand(script, &options, &parameters, &nobody, MESSAGE);
    let (delivery, script) = timeout(LONG, handed).await.unwrap();
    assert_eq!((&*codes(&delivery), script), ("-550 5.1.1", Ok(())));
    assert!(matches!(delivery.lost, Some(ClientError::Senseless(_))));

    // Who went before the last reply was taken for the others.
    let script: Script = &[
        ("", "220 store LMTP\r\n"),
        ("LHLO *", "250 store\r\n"),
        ("MAIL *", "250 Ok\r\n"),
        ("RCPT *", "250 Ok\r\n"),
        ("RCPT *", "250 Ok\r\n"),
        ("DATA", "354 Go\r\n"),
        ("Subject: a\n*\nb\n.", "250 2.1.5 Taken\r\n"),
    ];
    let to = recipients(&["b@example.org", "c@example.org"]);
    let (delivery, script) = hand(script, &options, &parameters, &to, MESSAGE).await;
    assert_eq!((&*codes(&delivery), script), ("+250 2.1.5, ~451 4.4.2", Ok(())));
    assert!(matches!(delivery.lost, Some(ClientError::Closed(_))));
}

/// What is said to servers that have an extension, and to servers that don't.
#[tokio::test]
async fn extensions() {
    let known = Recipient {
        parameters: RcptParameters {
            notify: Notify { success: true, ..Notify::default() },
            orcpt: Some(OriginalRecipient::of(&crate::common::address("x@example.net"))),
        },
        ..recipients(&["b@example.org"])[0].clone()
    };
    let plain = recipients(&["b@example.org"]);
    let utf8 = recipients(&["b@example.org", "jos\u{e9}@example.org"]);
    let dsn = MailParameters {
        ret: Some(Ret::Headers),
        envid: Some("x=1".to_owned()),
        ..MailParameters::default()
    };
    let smtputf8 = MailParameters { smtputf8: true, ..MailParameters::default() };
    let requiretls = MailParameters { requiretls: true, ..MailParameters::default() };
    let binary = MailParameters { body: Body::BinaryMime, ..MailParameters::default() };
    let nothing = MailParameters::default();
    let strict = Options { eight_bit: EightBit::Refuse, ..options(Speaks::Smtp) };
    let lax = options(Speaks::Smtp);
    const UTF8: &[u8] = "Subject: \u{e9}\r\n\r\nb\r\n".as_bytes();
    const EIGHT: &[u8] = b"Subject: a\r\n\r\n\xe9\r\n";
    macro_rules! taken {
        ($ehlo:literal, $mail:literal, $rcpt:literal) => {
            &[
                ("", "220 mx\r\n"),
                ("EHLO *", concat!("250-mx\r\n250-X\r\n250 ", $ehlo, "\r\n")),
                ($mail, "250 Ok\r\n"),
                ($rcpt, "250 Ok\r\n"),
                ("DATA", "354 Go\r\n"),
                ("Subject*\n*\n*\n.", "250 Ok\r\n"),
            ]
        };
    }
    macro_rules! asked {
        ($ehlo:literal) => {
            &[("", "220 mx\r\n"), ("EHLO *", concat!("250-mx\r\n250 ", $ehlo, "\r\n"))]
        };
    }
    type Case<'a> =
        (&'a str, Script, &'a Options, &'a MailParameters, &'a [Recipient], &'a [u8], &'a str);
    let cases: &[Case<'_>] = &[
        (
            "DSN",
            taken!(
                "DSN",
                "MAIL FROM:<a@example.net> RET=HDRS ENVID=x+3D1",
                "RCPT TO:<b@example.org> NOTIFY=SUCCESS ORCPT=rfc822;x@example.net"
            ),
            &lax,
            &dsn,
            std::slice::from_ref(&known),
            MESSAGE,
            "+250 2.0.0",
        ),
        (
            "no DSN",
            taken!("HELP", "MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>"),
            &lax,
            &dsn,
            std::slice::from_ref(&known),
            MESSAGE,
            "+250 2.0.0",
        ),
        (
            "8BITMIME, although nobody said so",
            taken!("8BITMIME", "MAIL FROM:<a@example.net> BODY=8BITMIME", "RCPT *"),
            &lax,
            &nothing,
            &plain,
            EIGHT,
            "+250 2.0.0",
        ),
        (
            "no 8BITMIME",
            taken!("HELP", "MAIL FROM:<a@example.net>", "RCPT *"),
            &lax,
            &nothing,
            &plain,
            EIGHT,
            "+250 2.0.0",
        ),
        ("no 8BITMIME, strictly", asked!("HELP"), &strict, &nothing, &plain, EIGHT, "-554 5.6.3"),
        (
            "no 8BITMIME, and none is needed",
            taken!("HELP", "MAIL FROM:<a@example.net>", "RCPT *"),
            &strict,
            &MailParameters { body: Body::EightBitMime, ..MailParameters::default() },
            &plain,
            MESSAGE,
            "+250 2.0.0",
        ),
        (
            "SMTPUTF8 for a header",
            taken!("SMTPUTF8", "MAIL FROM:<a@example.net> SMTPUTF8", "RCPT *"),
            &lax,
            &smtputf8,
            &plain,
            UTF8,
            "+250 2.0.0",
        ),
        ("no SMTPUTF8 for a header", asked!("HELP"), &lax, &smtputf8, &plain, UTF8, "-550 5.6.7"),
        (
            "no SMTPUTF8, and none is needed",
            taken!("HELP", "MAIL FROM:<a@example.net>", "RCPT *"),
            &lax,
            &smtputf8,
            &plain,
            MESSAGE,
            "+250 2.0.0",
        ),
        (
            "no SMTPUTF8 for one of two",
            taken!("HELP", "MAIL FROM:<a@example.net>", "RCPT TO:<b@example.org>"),
            &lax,
            &nothing,
            &utf8,
            MESSAGE,
            "+250 2.0.0, -550 5.6.7",
        ),
        (
            "an old header beyond ASCII goes as it is",
            taken!("HELP", "MAIL FROM:<a@example.net>", "RCPT *"),
            &lax,
            &nothing,
            &plain,
            UTF8,
            "+250 2.0.0",
        ),
        (
            "REQUIRETLS in the clear",
            asked!("REQUIRETLS"),
            &lax,
            &requiretls,
            &plain,
            MESSAGE,
            "-550 5.7.30",
        ),
        ("no BINARYMIME", asked!("CHUNKING"), &lax, &binary, &plain, MESSAGE, "-550 5.6.1"),
        (
            "BINARYMIME",
            &[
                ("", "220 mx\r\n"),
                ("EHLO *", "250-mx\r\n250-CHUNKING\r\n250-PIPELINING\r\n250 BINARYMIME\r\n"),
                ("MAIL FROM:<a@example.net> BODY=BINARYMIME", "250 Ok\r\n"),
                ("RCPT *", "250 Ok\r\n"),
                ("BDAT 17 LAST\nSubject: a\n*\nb", "250 2.6.0 Ok\r\n"),
            ],
            &lax,
            &binary,
            &plain,
            MESSAGE,
            "+250 2.6.0",
        ),
    ];
    for &(what, script, options, parameters, to, message, expected) in cases {
        let handed = hand(script, options, parameters, to, message);
        let (delivery, script) = timeout(LONG, handed).await.expect(what);
        assert_eq!((&*codes(&delivery), script), (expected, Ok(())), "{what}");
        assert_eq!(delivery.dsn, what == "DSN", "{what}");
    }
}

#[tokio::test]
async fn servers_that_do_not_want_us() {
    let cases: &[(&str, Script, &str)] = &[
        ("a greeting", &[("", "554 5.7.1 Not you\r\n")], "the server said: 554 5.7.1 Not you"),
        ("a busy one", &[("", "421 4.3.2 Later\r\n")], "the server said: 421 4.3.2 Later"),
        ("another 2xx", &[("", "250 Ok\r\n")], "the server said: 250 Ok"),
        ("no greeting", &[("", "")], "the server hung up to greet us"),
        ("EHLO", &[("", "220 mx\r\n"), ("EHLO *", "550 No\r\n")], "the server said: 550 No"),
        (
            "HELO",
            &[("", "220 mx\r\n"), ("EHLO *", "502 No\r\n"), ("HELO *", "504 No\r\n")],
            "the server said: 504 No",
        ),
        (
            "another protocol",
            &[("", "SSH-2.0-OpenSSH_9.2\r\n")],
            "the server does not speak the protocol: a reply begins with three digits",
        ),
    ];
    for &(what, script, expected) in cases {
        let (stream, _task) = scripted(script);
        let error = open(stream, &options(Speaks::Smtp)).await.err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(expected), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_servers() {
    // Nothing at all.
    let (stream, _silent) = tokio::io::duplex(1024);
    let before = Instant::now();
    assert!(matches!(open(stream, &options(Speaks::Smtp)).await, Err(ClientError::TimedOut(_))));
    assert_eq!(before.elapsed().as_secs(), 300);

    // An octet now and then, and never a reply.
    let (stream, mut drips) = tokio::io::duplex(1024);
    tokio::spawn(async move {
        while drips.write_all(b"2").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    });
    let before = Instant::now();
    assert!(matches!(open(stream, &options(Speaks::Smtp)).await, Err(ClientError::TimedOut(_))));
    assert_eq!(before.elapsed().as_secs(), 300);

    // Lines without end, as fast as they can.
    let (stream, mut floods) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move { while floods.write_all(b"220-hello\r\n").await.is_ok() {} });
    assert!(matches!(open(stream, &options(Speaks::Smtp)).await, Err(ClientError::Malformed(_))));

    // Takes the envelope and nothing of the message.
    let (stream, mut server) = tokio::io::duplex(256);
    tokio::spawn(async move {
        for reply in ["220 mx\r\n", "250 mx\r\n", "250 Ok\r\n", "250 Ok\r\n", "354 Go\r\n"] {
            server.write_all(reply.as_bytes()).await.unwrap();
            some(&mut server).await;
        }
        tokio::time::sleep(Duration::from_secs(86_400)).await;
    });
    let mut connection = open(stream, &options(Speaks::Smtp)).await.unwrap();
    let before = Instant::now();
    let to = recipients(&["b@example.org"]);
    let message = [b'a'; 100_000];
    let delivery = connection.deliver(&from(""), &MailParameters::default(), &to, &message).await;
    assert_eq!(codes(&delivery), "~451 4.4.2");
    assert!(before.elapsed() < Duration::from_secs(200));
    assert!(!connection.is_reusable());
}

#[tokio::test]
async fn used_again() {
    let script: Script = &[
        ("", "220 mx\r\n"),
        ("EHLO *", "250-mx\r\n250 PIPELINING\r\n"),
        ("MAIL *\nRCPT *\nDATA", "250 Ok\r\n250 Ok\r\n354 Go\r\n"),
        ("Subject*\n*\nb\n.", "250 1\r\n"),
        // Nothing is open: no RSET.
        ("MAIL *\nRCPT *\nDATA", "250 Ok\r\n550 No\r\n503 No\r\n"),
        ("RSET\nMAIL *\nRCPT *\nDATA", "250 Ok\r\n250 Ok\r\n250 Ok\r\n354 Go\r\n"),
        ("Subject*\n*\nb\n.", "550 2\r\n"),
        ("MAIL *\nRCPT *\nDATA", "250 Ok\r\n250 Ok\r\n451 Not now\r\n"),
        ("RSET\nMAIL *\nRCPT *\nDATA", "250 Ok\r\n250 Ok\r\n250 Ok\r\n354 Go\r\n"),
        ("Subject*\n*\nb\n.", "250 3\r\n"),
        ("QUIT", "221 Bye\r\n"),
    ];
    let (stream, task) = scripted(script);
    let mut connection = open(stream, &options(Speaks::Smtp)).await.unwrap();
    let to = recipients(&["b@example.org"]);
    for expected in ["+250 2.0.0", "-550 5.0.0", "-550 5.0.0", "~451 4.0.0", "+250 2.0.0"] {
        assert!(connection.is_alive().await);
        let nothing = MailParameters::default();
        let delivery = connection.deliver(&from("a@example.net"), &nothing, &to, MESSAGE).await;
        assert_eq!(codes(&delivery), expected);
    }
    connection.quit().await;
    assert_eq!(task.await.unwrap(), Ok(()));
}

#[tokio::test]
async fn one_that_went_away() {
    for farewell in ["", "421 4.4.2 Too slow\r\n"] {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let task = tokio::spawn(async move {
            theirs.write_all(b"220 mx\r\n").await.unwrap();
            some(&mut theirs).await;
            theirs.write_all(b"250 mx\r\n").await.unwrap();
            theirs
        });
        let mut connection = open(ours, &options(Speaks::Smtp)).await.unwrap();
        let mut theirs = task.await.unwrap();
        assert!(connection.is_alive().await);
        theirs.write_all(farewell.as_bytes()).await.unwrap();
        drop(theirs);
        assert!(!connection.is_alive().await);
    }
}

/// What it says before it hangs up is heard, although not all of the message could be sent.
#[tokio::test]
async fn enough_of_a_message() {
    let (ours, mut theirs) = tokio::io::duplex(4096);
    tokio::spawn(async move {
        for reply in ["220 mx\r\n", "250-mx\r\n250 PIPELINING\r\n"] {
            theirs.write_all(reply.as_bytes()).await.unwrap();
            some(&mut theirs).await;
        }
        theirs.write_all(b"250 Ok\r\n250 Ok\r\n354 Go\r\n").await.unwrap();
        theirs.read_exact(&mut [0; 4096]).await.unwrap();
        theirs.write_all(b"552 5.3.4 Enough\r\n").await.unwrap();
    });
    let mut connection = open(ours, &options(Speaks::Smtp)).await.unwrap();
    let to = recipients(&["b@example.org"]);
    let message = vec![b'a'; 1_000_000];
    let nothing = MailParameters::default();
    let delivery = connection.deliver(&from("a@example.net"), &nothing, &to, &message).await;
    assert_eq!(codes(&delivery), "-552 5.3.4");
    assert!(!connection.is_reusable());
}

#[tokio::test]
async fn logging_in() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let trust = authority.trust(folder.path());
    let keeper = Keeper::default();
    let mut config = config(Mode::Submission);
    config.certificates = Some(authority.certificates(folder.path(), "smart.example.net"));
    let (_server, address) = start(config, &keeper, Security::StartTls).await;
    let login =
        |password: &str| Some(Login { user: "user".to_owned(), password: password.to_owned() });
    let verified =
        Options { tls: TlsPolicy::Verified, login: login("pencil"), ..options(Speaks::Smtp) };
    let mut connection =
        Connection::connect(address, "smart.example.net", &verified, &trust).await.unwrap();
    assert!(connection.is_verified());
    assert_eq!(connection.tls().unwrap().version, "TLSv1.3");
    let to = recipients(&["b@example.org"]);
    let nothing = MailParameters::default();
    let delivery = connection.deliver(&from("user@example.net"), &nothing, &to, MESSAGE).await;
    assert_eq!(codes(&delivery), "+250 2.0.0");
    assert!(delivery.dsn);
    let client = keeper.messages()[0].0.client.clone();
    assert_eq!(client.authenticated.as_deref(), Some("user@example.net"));
    connection.quit().await;

    let wrong = Options { login: login("pen"), ..verified.clone() };
    let refused = Connection::connect(address, "smart.example.net", &wrong, &trust).await;
    assert!(matches!(refused, Err(ClientError::Login(reply)) if reply.code == 535));
    // Not to somebody else, and not in the clear.
    let other = Connection::connect(address, "other.example.net", &verified, &trust).await;
    assert!(matches!(other, Err(ClientError::Tls(_))));
    let clear = Options { tls: TlsPolicy::Never, ..verified.clone() };
    let clear = Connection::connect(address, "smart.example.net", &clear, &trust).await;
    assert!(matches!(clear, Err(ClientError::NoLogin)));
    // A server that has LOGIN alone.
    let script: Script = &[("", "220 mx\r\n"), ("EHLO *", "250-mx\r\n250 AUTH LOGIN\r\n")];
    let (stream, _task) = scripted(script);
    let clear = Options { tls: TlsPolicy::Never, ..verified };
    assert!(matches!(open(stream, &clear).await, Err(ClientError::NoLogin)));
}

#[tokio::test]
async fn implicit_tls_and_login() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let trust = authority.trust(folder.path());
    let keeper = Keeper::default();
    let mut config = config(Mode::Submission);
    config.certificates = Some(authority.certificates(folder.path(), "smart.example.net"));
    let (_server, address) = start(config, &keeper, Security::Implicit).await;
    let options = Options {
        tls: TlsPolicy::Verified,
        implicit_tls: true,
        login: Some(Login { user: "user".to_owned(), password: "pencil".to_owned() }),
        ..options(Speaks::Smtp)
    };
    let connection = Connection::connect(address, "smart.example.net", &options, &trust).await;
    assert!(connection.unwrap().is_verified());
}

#[tokio::test]
async fn policies() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let trust = authority.trust(folder.path());
    let keeper = Keeper::default();
    let mut with = config(Mode::Mx);
    with.certificates = Some(authority.certificates(folder.path(), "mx.example.net"));
    let (_with, with) = start(with, &keeper, Security::StartTls).await;
    let (_without, without) = start(config(Mode::Mx), &keeper, Security::StartTls).await;
    for (server, policy, host, expected) in [
        (with, TlsPolicy::Never, "mx.example.net", "clear"),
        (with, TlsPolicy::Opportunistic, "mx.example.net", "encrypted"),
        (with, TlsPolicy::Opportunistic, "other.example.net", "encrypted"),
        (with, TlsPolicy::Opportunistic, "no name at all", "encrypted"),
        (with, TlsPolicy::Encrypted, "other.example.net", "encrypted"),
        (with, TlsPolicy::Verified, "mx.example.net", "verified"),
        (with, TlsPolicy::Verified, "mx.example.net.", "verified"),
        (with, TlsPolicy::Verified, "other.example.net", "Tls"),
        (with, TlsPolicy::Verified, "no name at all", "Tls"),
        (without, TlsPolicy::Never, "mx.example.net", "clear"),
        (without, TlsPolicy::Opportunistic, "mx.example.net", "clear"),
        (without, TlsPolicy::Encrypted, "mx.example.net", "NoTls"),
        (without, TlsPolicy::Verified, "mx.example.net", "NoTls"),
    ] {
        let options = Options { tls: policy.clone(), ..options(Speaks::Smtp) };
        let got = match Connection::connect(server, host, &options, &trust).await {
            Ok(one) if one.is_verified() => "verified",
            Ok(one) if one.tls().is_some() => "encrypted",
            Ok(_) => "clear",
            Err(ClientError::Tls(_)) => "Tls",
            Err(ClientError::NoTls) => "NoTls",
            Err(other) => panic!("{other}"),
        };
        assert_eq!(got, expected, "{policy:?} {host}");
    }
}

/// DANE: the server proves by its records who it is; it is asked for by their name, and never called without TLS.
#[tokio::test]
async fn proof_by_records_of_dns() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let keeper = Keeper::default();
    let mut with = config(Mode::Mx);
    let files = authority.certify(folder.path(), "mx.example.net");
    let shown = CertificateDer::from_pem_file(&files.chain).unwrap();
    with.certificates = Some(Arc::new(Certificates::load(vec![files]).unwrap()));
    let (_with, with) = start(with, &keeper, Security::StartTls).await;
    let (_without, without) = start(config(Mode::Mx), &keeper, Security::StartTls).await;
    let good = Tlsa { usage: 3, selector: 0, matching: 0, data: shown.to_vec() };
    let bad = Tlsa { usage: 3, selector: 0, matching: 1, data: vec![7; 32] };
    for (server, base, record, expected) in [
        (with, "mx.example.net", &good, "proved"),
        (with, "alias.example.net", &good, "proved"),
        (with, "mx.example.net", &bad, "fits the server's certificates"),
        (with, "no name at all", &good, "TLS can't ask for \"no name at all\""),
        (without, "mx.example.net", &good, "does not offer TLS"),
    ] {
        let dane = Dane::new(base, [], [record.clone()]).unwrap();
        let tls = TlsPolicy::Dane(Arc::new(dane));
        let options = Options { tls, ..options(Speaks::Smtp) };
        match Connection::connect(server, "mx.example.net", &options, &no_trust()).await {
            Ok(mut connection) => {
                assert!(connection.is_verified());
                let (sender, to) = (from("a@example.net"), recipients(&["b@example.org"]));
                let nothing = MailParameters::default();
                let delivery = connection.deliver(&sender, &nothing, &to, MESSAGE).await;
                assert_eq!(codes(&delivery), "+250 2.0.0");
                connection.quit().await;
                let client = keeper.messages().pop().unwrap().0.client;
                assert_eq!(client.tls.unwrap().server_name.as_deref(), Some(base));
                assert_eq!(expected, "proved");
            }
            Err(error) => {
                assert!(error.is_tls() && !error.reply().is_permanent());
                assert!(error.to_string().contains(expected), "{error}");
            }
        }
    }
}

/// A server that offers TLS and can't do it: whoever does not insist gets through.
#[tokio::test]
async fn broken_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"220 mx\r\n").await.unwrap();
            some(&mut stream).await;
            stream.write_all(b"250-mx\r\n250 STARTTLS\r\n").await.unwrap();
            if some(&mut stream).await.starts_with(b"STARTTLS") {
                stream.write_all(b"220 Go\r\n").await.unwrap();
                some(&mut stream).await;
                let _ = stream.write_all(b"this is not TLS").await;
            }
        }
    });
    let connect = async |tls| -> Result<Connection<TcpStream>, ClientError> {
        let options = Options { tls, ..options(Speaks::Smtp) };
        Connection::connect(address, "mx.example.org", &options, &no_trust()).await
    };
    let connection = connect(TlsPolicy::Opportunistic).await.unwrap();
    assert!(connection.tls().is_none() && connection.downgraded().is_some());
    // It serves one at a time.
    drop(connection);
    assert!(matches!(connect(TlsPolicy::Encrypted).await, Err(ClientError::Tls(_))));
    assert!(matches!(connect(TlsPolicy::Verified).await, Err(ClientError::Tls(_))));

    // Something that was said before TLS, to be heard after.
    let script: Script = &[
        ("", "220 mx\r\n"),
        ("EHLO *", "250-mx\r\n250 STARTTLS\r\n"),
        ("STARTTLS", "220 Go\r\n250-mx\r\n250 AUTH PLAIN\r\n"),
    ];
    let (stream, _task) = scripted(script);
    assert!(matches!(open(stream, &options(Speaks::Smtp)).await, Err(ClientError::Injected)));

    // It does not want to after all.
    let script: Script = &[
        ("", "220 mx\r\n"),
        ("EHLO *", "250-mx\r\n250 STARTTLS\r\n"),
        ("STARTTLS", "454 4.7.0 Not now\r\n"),
    ];
    let (stream, _task) = scripted(script);
    assert!(open(stream, &options(Speaks::Smtp)).await.is_ok());
    let (stream, _task) = scripted(script);
    let insisting = Options { tls: TlsPolicy::Encrypted, ..options(Speaks::Smtp) };
    assert!(matches!(open(stream, &insisting).await, Err(ClientError::NoTls)));
}

#[tokio::test]
async fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = Connection::connect(address, "mx", &options(Speaks::Smtp), &no_trust()).await;
    let error = error.err().unwrap();
    assert!(matches!(error, ClientError::Connect(_)));
    assert_eq!(error.reply().status().to_string(), "4.4.1");
}

/// Our client and our server, with and without pipelining, in SMTP and LMTP.
#[tokio::test]
async fn from_end_to_end() {
    let to = ["a@example.net", "unknown@example.net", "full@example.net", "busy@example.net"];
    let to = recipients(&to);
    for (mode, speaks, expected) in [
        (Mode::Mx, Speaks::Smtp, "+250 2.0.0, -550 5.1.1, +250 2.0.0, +250 2.0.0"),
        (Mode::Lmtp, Speaks::Lmtp, "+250 2.0.0, +250 2.0.0, -552 5.2.2, ~451 4.2.0"),
    ] {
        let keeper = Keeper::default();
        let (_server, address) = start(config(mode), &keeper, Security::StartTls).await;
        let mut connection =
            Connection::connect(address, "mx", &options(speaks), &no_trust()).await.unwrap();
        let to = if mode == Mode::Lmtp {
            let mut to = to.clone();
            to[1] = recipients(&["b@example.net"])[0].clone();
            to
        } else {
            to.clone()
        };
        for number in 0..3 {
            let nothing = MailParameters::default();
            let message = format!("Subject: {number}\r\n\r\n.\r\n..\r\nb\r\n");
            let sender = from("c@example.org");
            let delivery = connection.deliver(&sender, &nothing, &to, message.as_bytes()).await;
            assert_eq!(codes(&delivery), expected, "{mode:?}");
            assert_eq!(keeper.messages()[number].1, message.as_bytes());
        }
        assert!(connection.is_alive().await);
        connection.quit().await;
    }
}

/// 35 MB, and a thousand recipients.
#[tokio::test]
async fn large() {
    let keeper = Keeper::default();
    let mut config = config(Mode::Mx);
    config.limits.recipients = 100;
    let (_server, address) = start(config, &keeper, Security::StartTls).await;
    let line = ".234567890".repeat(7) + "\r\n";
    let message = line.repeat((34 << 20) / line.len());
    let mut connection =
        Connection::connect(address, "mx", &options(Speaks::Smtp), &no_trust()).await.unwrap();
    let nothing = MailParameters::default();
    let to = recipients(&["a@example.net"]);
    let delivery = connection.deliver(&from(""), &nothing, &to, message.as_bytes()).await;
    assert_eq!(codes(&delivery), "+250 2.0.0");
    assert!(keeper.messages()[0].1 == message.as_bytes());

    let names: Vec<String> = (0..1000).map(|number| format!("user{number}@example.net")).collect();
    let to: Vec<Recipient> =
        names.iter().map(|name| Recipient::new(crate::common::address(name))).collect();
    let delivery = connection.deliver(&from(""), &nothing, &to, MESSAGE).await;
    assert!(delivery.outcomes.iter().all(|one| matches!(one, Outcome::Delivered(_))));
    let messages = keeper.messages();
    assert_eq!(messages.len(), 11);
    let taken: usize = messages[1..].iter().map(|(envelope, _)| envelope.recipients.len()).sum();
    assert_eq!(taken, 1000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever a message has for lines, it arrives as it was, however long it is.
    #[test]
    fn content_arrives(lines in proptest::collection::vec("[.a\\x00\u{e9}]{0,60}", 0..400), repeat in 1usize..40) {
        let mut message: String = lines.iter().flat_map(|line| [&**line, "\r\n"]).collect();
        message = message.repeat(repeat);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let keeper = Keeper::default();
            let (_server, address) = start(config(Mode::Mx), &keeper, Security::StartTls).await;
            let options = options(Speaks::Smtp);
            let mut connection = Connection::connect(address, "mx", &options, &no_trust()).await.unwrap();
            let to = recipients(&["a@example.net"]);
            let nothing = MailParameters::default();
            let delivery = connection.deliver(&from(""), &nothing, &to, message.as_bytes()).await;
            assert_eq!(codes(&delivery), "+250 2.0.0");
            assert!(keeper.messages()[0].1 == message.as_bytes());
        });
    }
}
