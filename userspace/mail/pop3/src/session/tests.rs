use proptest::prelude::*;

use super::*;

fn settings() -> Settings {
    Settings {
        name: "pop.example.org".into(),
        encrypted: true,
        offers_tls: true,
        unencrypted_login: false,
        scram: true,
        expire_days: None,
        most_errors: 20,
        most_failures: 3,
        nonce: [7; NONCE],
        binding: None,
    }
}

fn entered(listing: Listing) -> Session {
    let mut session = Session::new(settings());
    session.receive(b"USER user\r\nPASS secret\r\n");
    assert!(matches!(session.step(), Step::Login { .. }));
    session.logged_in(Ok(listing));
    assert_eq!(session.step(), Step::Read);
    session.output().clear();
    session
}

/// A hundred thousand messages are listed piece by piece, and take no more memory than a piece.
#[test]
fn a_large_maildrop() {
    const MESSAGES: usize = 100_000;
    let mut listing = Listing::with_capacity(1, MESSAGES);
    for uid in 1..=MESSAGES as u64 {
        listing.push(uid, uid);
    }
    let mut session = entered(listing);
    session.receive(b"DELE 50000\r\nLIST\r\nUIDL\r\nNOOP\r\n");
    let mut heard = vec![];
    let mut pieces = 0;
    loop {
        let step = session.step();
        assert!(session.output().len() < MOST_OUTPUT + 200);
        heard.append(session.output());
        match step {
            Step::Write => pieces += 1,
            Step::Read => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(pieces > 50);
    let heard = String::from_utf8(heard).unwrap();
    let mut lines = heard.lines();
    let mut next = || lines.next().unwrap();
    assert_eq!(next(), "+OK Message is deleted");
    assert_eq!(next(), "+OK 99999 messages (5000000000 octets)");
    for number in (1..=MESSAGES).filter(|&number| number != 50_000) {
        assert_eq!(next(), format!("{number} {number}"));
    }
    assert_eq!(next(), ".");
    assert_eq!(next(), "+OK Unique ids follow");
    for number in (1..=MESSAGES).filter(|&number| number != 50_000) {
        assert_eq!(next(), format!("{number} 00000001{number:08x}"));
    }
    assert_eq!((next(), next()), (".", "+OK"));
    assert_eq!(lines.next(), None);
}

/// Replies to many commands at once are written piece by piece, too.
#[test]
fn many_commands_at_once() {
    let mut session = entered(Listing::default());
    session.receive(&b"NOOP\r\n".repeat(100_000));
    let mut heard = 0;
    loop {
        let step = session.step();
        heard += session.output().len();
        assert!(session.output().len() < MOST_OUTPUT + 200);
        session.output().clear();
        if step == Step::Read {
            break;
        }
        assert_eq!(step, Step::Write);
    }
    assert_eq!(heard, 100_000 * "+OK\r\n".len());
}

/// Whoever sends without an end fills nothing.
#[test]
fn a_line_without_an_end() {
    let mut session = Session::new(settings());
    for _ in 0..1_000 {
        session.receive(&[b'x'; 1000]);
        assert_eq!(session.step(), Step::Read);
        assert!(session.input.len() <= LONGEST_RESPONSE + 1000);
    }
    session.output().clear();
    session.receive(b"\r\nCAPA\r\n");
    assert_eq!(session.step(), Step::Read);
    assert!(session.output().starts_with(b"-ERR Line too long\r\n+OK Capability"));
}

/// Answers that nobody asked for change nothing.
#[test]
fn out_of_turn() {
    let mut session = Session::new(settings());
    assert_eq!(session.step(), Step::Read);
    session.output().clear();
    session.logged_in(Ok(Listing::default()));
    session.keys(Ok(ScramParameters { salt: vec![], iterations: 1 }));
    session.proved(Ok(b"signature"));
    session.opened(Ok(()));
    session.committed(Ok(()));
    session.tls_started(None);
    assert!(session.output().is_empty());
    assert!(!session.is_logged_in());
    session.receive(b"STAT\r\n");
    assert_eq!(session.step(), Step::Read);
    assert_eq!(session.output(), b"-ERR Log in first\r\n");
}

/// An answer to something else is none, and without one nothing goes on.
#[test]
fn without_an_answer() {
    let mut session = Session::new(settings());
    session.receive(b"USER user\r\nPASS secret\r\nSTAT\r\n");
    assert!(matches!(session.step(), Step::Login { .. }));
    session.opened(Ok(()));
    assert_eq!(session.step(), Step::Close(End::Broken));
    session.logged_in(Ok(Listing::default()));
    assert_eq!(session.step(), Step::Close(End::Broken));
    assert_eq!(session.facts().end, Some(End::Broken));
    assert_eq!(session.facts().user, None);
}

#[test]
fn what_it_did() {
    let mut listing = Listing::default();
    listing.push(7, 10);
    listing.push(8, 20);
    let mut session = entered(listing);
    session.receive(b"RETR 2\r\nXYZZY\r\nDELE 1\r\nQUIT\r\n");
    let message = Message { uid: 8, size: 20 };
    assert_eq!(session.step(), Step::Retrieve { message, lines: None });
    assert!(session.is_logged_in());
    session.opened(Ok(()));
    session.sent(20);
    let changes = Changes { deleted: vec![7], retrieved: vec![8] };
    assert_eq!(session.step(), Step::Commit(changes));
    session.committed(Ok(()));
    assert_eq!(session.step(), Step::Close(End::Quit));
    let facts = Facts {
        user: Some("user".into()),
        encrypted: true,
        failures: 0,
        disabled: 0,
        errors: 1,
        injected: false,
        messages: 2,
        retrieved: 1,
        octets: 20,
        deleted: 1,
        end: Some(End::Quit),
    };
    assert_eq!(*session.facts(), facts);
}

/// Who has the right password guesses nothing, and is not let try for ever either.
#[test]
fn an_account_that_is_switched_off() {
    let mut session = Session::new(settings());
    for _ in 0..3 {
        session.receive(b"USER user\r\nPASS secret\r\n");
        assert!(matches!(session.step(), Step::Login { .. }));
        session.logged_in(Err(Refused::Disabled));
    }
    assert_eq!(session.step(), Step::Close(End::Failures));
    let facts = session.facts();
    assert_eq!((facts.failures, facts.disabled, facts.refused_logins()), (0, 3, 3));
}

/// What is removed is only told once it is.
#[test]
fn what_it_did_not() {
    let mut listing = Listing::default();
    listing.push(7, 10);
    let mut session = entered(listing);
    session.receive(b"DELE 1\r\nQUIT\r\n");
    assert!(matches!(session.step(), Step::Commit(_)));
    session.committed(Err(MaildropError::Unavailable));
    assert_eq!(session.step(), Step::Close(End::Quit));
    assert_eq!(session.facts().deleted, 0);
}

fn said() -> impl Strategy<Value = String> {
    let command = prop_oneof![
        4 => "(USER a|PASS secret|PASS wrong|STAT|LIST|UIDL|NOOP|RSET|CAPA|UTF8|AUTH)",
        4 => "(RETR|DELE|LIST|UIDL) [0-4]",
        2 => "TOP [1-3] [0-3]",
        1 => "AUTH PLAIN AGEAc2VjcmV0",
        1 => "AUTH (PLAIN|LOGIN|SCRAM-SHA-256)( [A-Za-z0-9=]{0,8})?",
        1 => "(STLS|QUIT|\\*|AGEAc2VjcmV0)",
        1 => "[ -~]{0,12}|\\PC{0,6}",
        1 => "[x]{500,520}",
    ];
    let line = (command, "\r\n|\n|\r\n\r\n").prop_map(|(command, end)| command + &end);
    proptest::collection::vec(line, 0..25).prop_map(|lines| {
        // Most sessions get somewhere.
        "USER a\r\nPASS secret\r\n".to_owned() + &lines.concat()
    })
}

proptest! {
    /// However the client's octets come, he hears the same, and the same is asked for him.
    #[test]
    fn chunks_do_not_matter(said in said(), login in 0usize..2, flags: u8, size in 1u8..20) {
        let said = if login == 0 { &said[..] } else { &said["USER a\r\nPASS secret\r\n".len()..] };
        crate::fuzzing::session(&[&[flags, size], said.as_bytes()].concat());
    }

    #[test]
    fn anything(bytes: Vec<u8>) {
        crate::fuzzing::session(&bytes);
        crate::fuzzing::command(&bytes);
    }
}
