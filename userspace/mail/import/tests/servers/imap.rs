//! IMAP servers that are hostile, odd, or just old.

use bytes::Bytes;
use muralla_mail_import::{ImapSource, Login, Options, Protocol};
use muralla_mail_store::Flags;
use muralla_mail_store::transfer::{Fetched, Listing, Source, TransferError};

use crate::script::{Act, hear, location, options, play, raw, say};

/// Up to the folder, which has two messages of five bytes.
fn opened() -> Vec<Act> {
    vec![
        say("* OK [CAPABILITY IMAP4rev1] hello"),
        hear("M1 LOGIN \"ann\" \"secret\""),
        say("M1 OK [CAPABILITY IMAP4rev1] welcome"),
        hear("M2 LIST \"\" \"*\""),
        say("* LIST () \"/\" INBOX"),
        say("M2 OK"),
        hear("M3 EXAMINE \"INBOX\""),
        say("* 2 EXISTS"),
        say("* OK [UIDVALIDITY 7] so it is"),
        say("M3 OK [READ-ONLY] open"),
        hear("M4 UID FETCH 1:* (UID RFC822.SIZE)"),
    ]
}

/// Up to the first message that is fetched.
fn listed() -> Vec<Act> {
    let mut acts = opened();
    acts.extend([
        say("* 2 FETCH (UID 2 RFC822.SIZE 5)"),
        say("* 1 FETCH (RFC822.SIZE 5 UID 1)"),
        say("* 1 FETCH (FLAGS (\\Seen))"),
        say("M4 OK done"),
        hear("M5 UID FETCH 1:2 (UID FLAGS INTERNALDATE BODY.PEEK[])"),
    ]);
    acts
}

fn then(mut acts: Vec<Act>, more: Vec<Act>) -> Vec<Act> {
    acts.extend(more);
    acts
}

async fn list_with(
    acts: Vec<Act>,
    options: Options,
) -> (ImapSource, Result<Listing, TransferError>) {
    let mut source = ImapSource::new(location(Protocol::Imap, play(acts).await), options);
    let listing = source.list().await;
    (source, listing)
}

async fn list(acts: Vec<Act>) -> Result<Listing, TransferError> {
    list_with(acts, options()).await.1
}

async fn fetch(acts: Vec<Act>) -> Vec<Result<Fetched, TransferError>> {
    let (mut source, listing) = list_with(acts, options()).await;
    let entries = listing.unwrap().entries.len();
    source.prepare(&(0..entries).collect::<Vec<_>>());
    let mut fetched = Vec::new();
    for at in 0..entries {
        fetched.push(source.fetch(at).await);
        if fetched.last().is_some_and(Result::is_err) {
            break;
        }
    }
    fetched
}

fn message(text: &'static str) -> Fetched {
    let raw = Bytes::from_static(text.as_bytes());
    Fetched::Message { raw, flags: Flags::default(), received: None }
}

#[tokio::test]
async fn hostile_answers_end_it() {
    let long = |front: &str| Act::Flood(format!("{front}{}", "a".repeat(10_000)).into_bytes());
    for (acts, reason, may_pass) in [
        (
            vec![raw("* 1 FETCH (BODY[] {4294967295}\r\n"), Act::Wait],
            "a literal that is too long",
            false,
        ),
        (
            vec![raw("* 1 FETCH (BODY[] {99999999999999999999999}\r\n"), Act::Wait],
            "a literal that is too long",
            false,
        ),
        (vec![say("M9 OK done"), Act::Wait], "a command that was not given", false),
        (vec![say("M3 OK done once more"), Act::Wait], "a command that was not given", false),
        (vec![say("+ go on"), Act::Wait], "a command that is complete", false),
        (
            vec![say("* BYE \u{1b}[31mgoing down"), Act::Wait],
            "it ended the session:  [31mgoing down",
            true,
        ),
        (vec![Act::Flood(b"* 3 EXISTS\r\n".repeat(1000))], "untagged answers", false),
        (
            vec![Act::Flood(b"* 3 FETCH (UID 3 RFC822.SIZE 5)\r\n".repeat(1000))],
            "untagged answers",
            false,
        ),
        (vec![Act::Flood(b"\r\n".repeat(1000))], "untagged answers", false),
        (vec![long("* OK ")], "a line without an end", false),
        (vec![long("")], "a line without an end", false),
        (vec![], "it hung up before the list of messages came", true),
        (vec![raw("* 1 FETCH (BODY[] {10}\r\nab")], "it hung up before", true),
        (vec![Act::Wait], "it took too long with the list of messages", true),
    ] {
        let error = list(then(opened(), acts)).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error} is not {reason:?}");
        assert_eq!(error.may_pass(), may_pass, "{error}");
    }
    // Far more than it said that there is.
    let most = 9 << 20;
    let fetched = fetch(then(
        listed(),
        vec![
            raw(format!("* 1 FETCH (UID 1 BODY[] {{{most}}}\r\n")),
            raw(vec![b'a'; most]),
            raw(")\r\n"),
            Act::Wait,
        ],
    ));
    let error = fetched.await.remove(0).unwrap_err();
    assert!(error.to_string().contains("messages longer than it said"), "{error}");
}

#[tokio::test]
async fn odd_answers_are_understood() {
    // In another order, in several answers, and with what nobody asked for.
    let fetched = fetch(then(
        listed(),
        vec![
            say("* OK still here"),
            say("* 3 EXISTS"),
            say("* 2 FETCH (FLAGS (\\Answered) UID 2)"),
            raw(
                "* 2 FETCH (UID 2 BODY[] {5}\r\n{3}\r\n INTERNALDATE \"01-Jan-2020 00:00:00 +0000\")\r\n",
            ),
            say("* XYZZY nothing happens"),
            raw("* 9 FETCH (UID 99 BODY[] {5}\r\nother)\r\n"),
            raw("* 1 FETCH (UID 1 FLAGS (\\Seen $Label1) BODY[] {5}\r\nfirst)\r\n"),
            say("M5 OK"),
        ],
    ));
    let fetched: Vec<Fetched> = fetched.await.into_iter().map(Result::unwrap).collect();
    let raw_of = |text: &'static str| Bytes::from_static(text.as_bytes());
    assert_eq!(
        fetched,
        [
            Fetched::Message { raw: raw_of("first"), flags: Flags::SEEN, received: None },
            Fetched::Message {
                raw: raw_of("{3}\r\n"),
                flags: Flags::ANSWERED,
                received: Some(1_577_836_800)
            },
        ]
    );
    // What can't be read is asked for once more, alone and without what may be wrong about it.
    let fetched = fetch(then(
        listed(),
        vec![
            raw("* 1 FETCH (UID 1 INTERNALDATE \"never\" BODY[] {5}\r\nfirst)\r\n"),
            raw("* 2 FETCH (UID 2 BODY[] {5}\r\nother)\r\n"),
            say("M5 OK done"),
            hear("M6 UID FETCH 1 (UID BODY.PEEK[])"),
            raw("* 1 FETCH (UID 1 BODY[] {5}\r\nfirst)\r\n"),
            say("M6 OK done"),
        ],
    ));
    let fetched: Vec<Fetched> = fetched.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(fetched, [message("first"), message("other")]);
    // The server can't give one of them.
    let fetched = fetch(then(
        listed(),
        vec![
            say("M5 NO [SERVERBUG] something is damaged"),
            hear("M6 UID FETCH 1 (UID BODY.PEEK[])"),
            say("M6 NO this one"),
            hear("M7 UID FETCH 2 (UID BODY.PEEK[])"),
            raw("* 2 FETCH (UID 2 BODY[] {5}\r\nother)\r\n"),
            say("M7 OK done"),
        ],
    ));
    let fetched: Vec<Fetched> = fetched.await.into_iter().map(Result::unwrap).collect();
    let refused = Fetched::Refused("the server refuses it: this one".to_owned());
    assert_eq!(fetched, [refused, message("other")]);
    // Another program removed one, and emptied one.
    let fetched =
        fetch(then(listed(), vec![say("* 2 FETCH (UID 2 BODY[] NIL)"), say("M5 OK done")]));
    let fetched: Vec<Fetched> = fetched.await.into_iter().map(Result::unwrap).collect();
    assert_eq!(fetched[0], Fetched::Nothing);
    assert!(matches!(&fetched[1], Fetched::Refused(reason) if reason.contains("empty")));
}

#[tokio::test]
async fn folders_that_are_refused_keep_nothing_from_coming() {
    let acts = vec![
        say("* PREAUTH [CAPABILITY IMAP4rev1 NAMESPACE LIST-EXTENDED SPECIAL-USE] hello"),
        hear("M1 NAMESPACE"),
        say("* NAMESPACE ((\"\" \"/\")) ((\"Other/\" \"/\")) NIL"),
        say("M1 OK done"),
        hear("M2 LIST \"\" \"*\" RETURN (SPECIAL-USE)"),
        say("* LIST (\\Noselect) \"/\" \"\""),
        say("* LIST () \"/\" Broken"),
        say("* LIST () \"/\" Other/bob"),
        say("* LIST () \"/\" \"Se\u{f1}al\""),
        say("* LIST (\\Sent) \"/\" {8}\r\nEnviados"),
        say("* LIST () \"/\" INBOX"),
        say("M2 OK done"),
        hear("M3 EXAMINE \"INBOX\""),
        say("* OK [UIDVALIDITY 1] ."),
        say("* 0 EXISTS"),
        say("M3 OK ."),
        hear("M4 EXAMINE \"Broken\""),
        say("M4 NO [CORRUPTION] its index is damaged"),
        hear("M5 EXAMINE \"Enviados\""),
        say("* OK [UIDVALIDITY 1] ."),
        say("* 3 EXISTS"),
        say("M5 OK ."),
        hear("M6 UID FETCH 1:* (UID RFC822.SIZE)"),
        say("* 1 FETCH (UID 7 RFC822.SIZE 9)"),
        say("* 2 FETCH (UID 8)"),
        say("M6 NO [SERVERBUG] the third is damaged"),
        Act::Wait,
    ];
    let listing = list(acts).await.unwrap();
    let folders: Vec<&str> = listing.folders.iter().map(|folder| folder.as_str()).collect();
    assert_eq!(folders, ["Inbox", "Broken", "Sent"]);
    assert_eq!(listing.entries.len(), 1);
    let problems: Vec<String> =
        listing.problems.iter().map(|one| format!("{}: {}", one.place, one.reason)).collect();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(problems[0].contains("can't be read"), "{problems:?}");
    assert_eq!(problems[1], "Broken: the server refuses it: its index is damaged");
    assert_eq!(
        problems[2],
        "Enviados: 2 of its 3 messages were not listed: the server says: the third is damaged"
    );
}

/// It is opened again before anything is fetched from it.
#[tokio::test]
async fn a_folder_that_is_refused_closes_the_one_before() {
    let fetched = fetch(vec![
        say("* OK [CAPABILITY IMAP4rev1] hello"),
        hear("M1 LOGIN \"ann\" \"secret\""),
        say("M1 OK [CAPABILITY IMAP4rev1] welcome"),
        hear("M2 LIST \"\" \"*\""),
        say("* LIST () \"/\" INBOX"),
        say("* LIST () \"/\" Broken"),
        say("M2 OK"),
        hear("M3 EXAMINE \"INBOX\""),
        say("* 2 EXISTS"),
        say("* OK [UIDVALIDITY 7] ."),
        say("M3 OK open"),
        hear("M4 UID FETCH 1:* (UID RFC822.SIZE)"),
        say("* 1 FETCH (UID 1 RFC822.SIZE 5)"),
        say("* 2 FETCH (UID 2 RFC822.SIZE 5)"),
        say("M4 OK"),
        hear("M5 EXAMINE \"Broken\""),
        say("M5 NO damaged"),
        hear("M6 EXAMINE \"INBOX\""),
        say("* 2 EXISTS"),
        say("* OK [UIDVALIDITY 7] ."),
        say("M6 OK open"),
        hear("M7 UID FETCH 1:2 (UID FLAGS INTERNALDATE BODY.PEEK[])"),
        say("* 1 FETCH (UID 1 BODY[] {5}\r\nhello)"),
        // What came is there, and not gone.
        say("* 2 FETCH (UID 2 FLAGS (\\Seen))"),
        say("M7 OK"),
        hear("M8 UID FETCH 2 (UID BODY.PEEK[])"),
        say("* 2 FETCH (UID 2)"),
        say("M8 OK"),
    ])
    .await;
    let fetched: Vec<Fetched> = fetched.into_iter().map(Result::unwrap).collect();
    let without = Fetched::Refused("it came without its text".to_owned());
    assert!(matches!(fetched[0], Fetched::Message { .. }), "{fetched:?}");
    assert_eq!(fetched[1], without);
}

#[tokio::test]
async fn who_is_let_in() {
    let secure = || Options { insecure: false, ..options() };
    let unsayable = || {
        let login = Login { user: "ann\r\nM2 LOGOUT".to_owned(), ..options().login };
        Options { login, ..options() }
    };
    let greeting = |capabilities: &str| say(&format!("* OK [CAPABILITY {capabilities}] hello"));
    for (acts, options, reason) in [
        (vec![greeting("IMAP4rev1"), Act::Wait], secure(), "it offers no TLS"),
        (
            vec![say("* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hello"), Act::Wait],
            secure(),
            "it offers no TLS",
        ),
        (
            vec![
                greeting("IMAP4rev1 STARTTLS"),
                hear("M1 STARTTLS"),
                say("M1 NO not today"),
                Act::Wait,
            ],
            secure(),
            "it offers no TLS",
        ),
        (
            vec![
                greeting("IMAP4rev1 STARTTLS"),
                hear("M1 STARTTLS"),
                raw("M1 OK go\r\n* OK injected\r\n"),
                Act::Wait,
            ],
            secure(),
            "said something between STARTTLS and TLS",
        ),
        (
            vec![
                greeting("IMAP4rev1 STARTTLS"),
                hear("M1 STARTTLS"),
                say("M1 OK go"),
                hear("nothing of TLS"),
            ],
            secure(),
            "",
        ),
        (
            vec![greeting("IMAP4rev1 LOGINDISABLED"), Act::Wait],
            options(),
            "it offers neither AUTH=PLAIN",
        ),
        (
            vec![
                greeting("IMAP4rev1"),
                hear("M1 LOGIN \"ann\" \"secret\""),
                say("M1 NO [AUTHENTICATIONFAILED] wrong\u{7}!"),
            ],
            options(),
            "it refuses the login: wrong !",
        ),
        (vec![greeting("IMAP4rev1"), Act::Wait], unsayable(), "can't be sent"),
        (
            vec![say("* BYE too many of you"), Act::Wait],
            options(),
            "it ended the session: too many of you",
        ),
        (vec![say("+OK POP3 is here"), Act::Wait], options(), "its greeting is none of IMAP"),
        (
            vec![greeting("IMAP4rev1"), hear("M1 LOGIN \"ann\" \"secret\""), say("* BYE later")],
            options(),
            "later",
        ),
    ] {
        let error = list_with(acts, options).await.1.unwrap_err();
        assert!(error.to_string().contains(reason), "{error} is not {reason:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    // SASL, with what the server wants to hear at once and after it asked for it, and for somebody else.
    let master = || {
        let login = Login { master: Some("root".to_owned()), ..options().login };
        Options { login, ..options() }
    };
    for (acts, options) in [
        (
            vec![
                greeting("IMAP4rev1 AUTH=PLAIN SASL-IR"),
                hear("M1 AUTHENTICATE PLAIN AGFubgBzZWNyZXQ="),
                say("M1 OK in"),
            ],
            options(),
        ),
        (
            vec![
                greeting("IMAP4rev1 AUTH=PLAIN"),
                hear("M1 AUTHENTICATE PLAIN"),
                say("+ "),
                hear("AGFubgBzZWNyZXQ="),
                say("M1 OK in"),
            ],
            options(),
        ),
        (
            vec![
                greeting("IMAP4rev1 AUTH=PLAIN SASL-IR"),
                hear("M1 AUTHENTICATE PLAIN YW5uAHJvb3QAc2VjcmV0"),
                say("M1 OK in"),
            ],
            master(),
        ),
        (
            vec![greeting("IMAP4rev1"), hear("M1 LOGIN \"ann*root\" \"secret\""), say("M1 OK in")],
            master(),
        ),
    ] {
        let rest = vec![
            hear("M2 CAPABILITY"),
            say("* CAPABILITY IMAP4rev1"),
            say("M2 OK ."),
            hear("M3 LIST \"\" \"*\""),
            say("M3 OK nothing there"),
            Act::Wait,
        ];
        let listing = list_with(then(acts, rest), options).await.1.unwrap();
        assert!(listing.entries.is_empty());
    }
}
