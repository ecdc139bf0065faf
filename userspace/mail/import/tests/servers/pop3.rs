//! POP3 servers that are hostile, odd, or just old.

use bytes::Bytes;
use muralla_mail_import::{Options, Pop3Source, Protocol};
use muralla_mail_store::Flags;
use muralla_mail_store::transfer::{Fetched, Listing, Source, TransferError};

use crate::script::{Act, hear, location, options, play, raw, say};

/// Up to the list of messages, with these lines of `CAPA`.
fn logged_in(capabilities: &[&str]) -> Vec<Act> {
    let capa = || {
        let lines = capabilities.iter().map(|line| format!("{line}\r\n")).collect::<String>();
        [hear("CAPA"), raw(format!("+OK\r\n{lines}.\r\n"))]
    };
    let mut acts = vec![say("+OK hello")];
    acts.extend(capa());
    acts.extend([hear("USER ann"), say("+OK"), hear("PASS secret"), say("+OK welcome")]);
    acts.extend(capa());
    acts
}

fn listed(capabilities: &[&str]) -> Vec<Act> {
    let mut acts = logged_in(capabilities);
    acts.extend([
        hear("LIST"),
        raw("+OK\r\n1 7\r\n3 9 more\r\n.\r\n"),
        hear("UIDL"),
        raw("+OK\r\n1 one\r\n3 000000e94d2bad5c\r\n9 nobody\r\n.\r\n"),
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
) -> (Pop3Source, Result<Listing, TransferError>) {
    let mut source = Pop3Source::new(location(Protocol::Pop3, play(acts).await), options);
    let listing = source.list().await;
    (source, listing)
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
async fn messages_have_names_and_are_left_there() {
    let acts = then(listed(&["UIDL", "PIPELINING"]), vec![Act::Wait]);
    let (_, listing) = list_with(acts, options()).await;
    let entries = listing.unwrap().entries;
    let of: Vec<_> = entries.iter().map(|one| (one.bytes, one.uidl.as_deref())).collect();
    assert_eq!(of, [(7, Some("one")), (9, Some("000000e94d2bad5c"))]);
    assert_eq!(entries[0].identity.as_deref(), Some("pop3 127.0.0.1 ann one"));
    // Both are asked for at once, if the server takes that; and it ends without QUIT.
    for (capabilities, asks) in [(&["UIDL", "PIPELINING"][..], true), (&["UIDL"][..], false)] {
        let first = [hear("RETR 1"), raw("+OK\r\n..a\r\n\r\nb\r\n.\r\n")];
        let second = [hear("RETR 3"), raw("+OK 9 octets\r\nother\n.\r\n")];
        let acts = if asks {
            let [one, two] = first;
            let [three, four] = second;
            vec![one, three, two, four]
        } else {
            first.into_iter().chain(second).collect()
        };
        let fetched = fetch(then(listed(capabilities), acts)).await;
        let fetched: Vec<Fetched> = fetched.into_iter().map(Result::unwrap).collect();
        assert_eq!(fetched, [message(".a\r\n\r\nb\r\n"), message("other\r\n")]);
    }
}

#[tokio::test]
async fn old_servers_are_understood() {
    // Neither CAPA, nor STLS, nor UIDL.
    let acts = vec![
        say("+OK hello <1896.697170952@dbc.mtview.ca.us>"),
        hear("CAPA"),
        say("-ERR what?"),
        hear("STLS"),
        say("-ERR what?"),
        hear("USER ann"),
        say("+OK"),
        hear("PASS secret"),
        say("+OK"),
        hear("CAPA"),
        say("-ERR what?"),
        hear("LIST"),
        raw("+OK 1 messages (7 octets)\r\n1 7\r\n.\r\n"),
        hear("UIDL"),
        say("-ERR what?"),
        hear("RETR 1"),
        say("-ERR it is gone"),
    ];
    let fetched = fetch(acts).await;
    let refused = Fetched::Refused("the server refuses it: it is gone".to_owned());
    assert_eq!(fetched.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [refused]);
}

#[tokio::test]
async fn a_name_of_several_is_none() {
    let acts = then(
        logged_in(&["UIDL"]),
        vec![
            hear("LIST"),
            raw("+OK\r\n1 7\r\n2 7\r\n3 7\r\n.\r\n"),
            hear("UIDL"),
            raw("+OK\r\n1 a\r\n2 b\r\n3 a\r\n.\r\n"),
            Act::Wait,
        ],
    );
    let entries = list_with(acts, options()).await.1.unwrap().entries;
    let names: Vec<_> = entries.iter().map(|one| one.uidl.as_deref()).collect();
    assert_eq!(names, [None, Some("b"), None]);
    assert!(entries.iter().all(|one| one.identity.is_some() == one.uidl.is_some()));
}

#[tokio::test]
async fn hostile_answers_end_it() {
    let long = |front: &str| Act::Flood(format!("{front}{}", "a".repeat(10_000)).into_bytes());
    let secure = || Options { insecure: false, ..options() };
    let hello = || say("+OK hello");
    let capa = |lines: &str| raw(format!("+OK\r\n{lines}.\r\n"));
    let user = || [hear("USER ann"), say("+OK"), hear("PASS secret")];
    for (acts, options, reason, may_pass) in [
        (vec![say("* OK IMAP is here")], options(), "begins with neither +OK nor -ERR", false),
        (vec![say("-ERR go away")], options(), "it refuses its greeting: go away", false),
        (vec![long("+OK ")], options(), "a line without an end", false),
        (
            vec![hello(), hear("CAPA"), Act::Flood(b"+OK\r\nX\r\n".repeat(1000))],
            options(),
            "a message that is too long",
            false,
        ),
        (vec![hello(), hear("CAPA"), capa("USER\r\n")], secure(), "it offers no TLS", false),
        (
            vec![hello(), hear("CAPA"), capa("STLS\r\n"), hear("STLS"), say("-ERR no")],
            secure(),
            "it offers no TLS",
            false,
        ),
        (
            vec![
                hello(),
                hear("CAPA"),
                capa("STLS\r\n"),
                hear("STLS"),
                raw("+OK go\r\n+OK injected\r\n"),
                Act::Wait,
            ],
            secure(),
            "said something between STARTTLS and TLS",
            false,
        ),
        (
            then(
                vec![hello(), hear("CAPA"), capa("USER\r\n")],
                then(user().to_vec(), vec![say("-ERR [AUTH] wrong")]),
            ),
            options(),
            "it refuses the login: [AUTH] wrong",
            false,
        ),
        (
            then(
                vec![hello(), hear("CAPA"), capa("USER\r\n")],
                then(user().to_vec(), vec![say("-ERR [IN-USE] another reads it")]),
            ),
            options(),
            "it can't now: [IN-USE] another reads it",
            true,
        ),
        (
            vec![
                hello(),
                hear("CAPA"),
                capa("SASL LOGIN PLAIN\r\n"),
                hear("AUTH PLAIN AGFubgBzZWNyZXQ="),
                say("-ERR no"),
            ],
            options(),
            "it refuses the login: no",
            false,
        ),
        (
            then(logged_in(&["USER"]), vec![hear("LIST"), raw("+OK\r\none 7\r\n.\r\n")]),
            options(),
            "no number",
            false,
        ),
        (
            then(
                logged_in(&["USER"]),
                vec![hear("LIST"), raw("+OK\r\n1 x\r\n.\r\n"), hear("UIDL"), say("-ERR")],
            ),
            options(),
            "a size is no number",
            false,
        ),
        (
            then(
                logged_in(&["UIDL"]),
                vec![hear("LIST"), raw("+OK\r\n1 7\r\n.\r\n"), hear("UIDL"), say("-ERR not now")],
            ),
            options(),
            "it refuses UIDL",
            true,
        ),
        (
            then(logged_in(&["USER"]), vec![hear("LIST"), say("-ERR no")]),
            options(),
            "it has no LIST",
            false,
        ),
        (
            then(logged_in(&["USER"]), vec![hear("LIST"), say("+OK"), Act::Wait]),
            options(),
            "it took too long with the list",
            true,
        ),
        (
            then(logged_in(&["USER"]), vec![hear("LIST")]),
            options(),
            "it hung up before the list of messages came",
            true,
        ),
    ] {
        let error = list_with(acts, options).await.1.unwrap_err();
        assert!(error.to_string().contains(reason), "{error} is not {reason:?}");
        assert_eq!(error.may_pass(), may_pass, "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    for (acts, reason) in [
        (vec![hear("RETR 1"), say("+ more?")], "where there is no more"),
        (vec![hear("RETR 1"), say("-ERR [SYS/TEMP] later")], "it can't now"),
        (
            vec![hear("RETR 1"), say("+OK"), say("half a message")],
            "it hung up before messages came",
        ),
    ] {
        let error = fetch(then(listed(&["UIDL"]), acts)).await.remove(0).unwrap_err();
        assert!(error.to_string().contains(reason), "{error} is not {reason:?}");
    }
}
