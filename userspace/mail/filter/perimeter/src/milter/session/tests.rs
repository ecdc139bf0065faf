//! Transcripts: what a mail system sends, packet by packet, and what it is told, in the same form.

use muralla_mail_envelope::Reply;
use proptest::prelude::*;

use super::*;
use crate::policy::{OnHold, OnUnscanned};
use crate::verdict::Outcome;

/// What Postfix says first.
const POSTFIX: &str = "O \\0\\0\\0\\x06\\0\\0\\x01\\xff\\0\\x1f\\xff\\xff";
/// What it is told.
const AGREED: &str = "O \\0\\0\\0\\x06\\0\\0\\01\\0\\x1f\\xf3\\x80";
/// What Sendmail 8.13 says, and what it is told.
const OLD: &str = "O \\0\\0\\0\\x02\\0\\0\\0\\x3f\\0\\0\\0\\x7f";
const OLD_AGREED: &str = "O \\0\\0\\0\\x02\\0\\0\\01\\0\\0\\0\\0";

/// Octets of text in which some are written as escapes.
fn octets(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match chars.next().unwrap() {
            '0' => out.push(0),
            'r' => out.push(b'\r'),
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            'x' => {
                let digits: String =
                    [chars.next().unwrap(), chars.next().unwrap()].iter().collect();
                out.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            other => panic!("what is \\{other}?"),
        }
    }
    out
}

fn text(octets: &[u8]) -> String {
    let mut out = String::new();
    for &octet in octets {
        match octet {
            0 => out.push_str("\\0"),
            b'\r' => out.push_str("\\r"),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b' '..=b'~' => out.push(char::from(octet)),
            other => out.push_str(&format!("\\x{other:02x}")),
        }
    }
    out
}

/// `C data`, as a packet.
fn packed(line: &str) -> Vec<u8> {
    let (code, data) = line.split_at(1);
    let mut out = Vec::new();
    packet::write(&mut out, code.as_bytes()[0], &[&octets(data.strip_prefix(' ').unwrap_or(data))]);
    out
}

/// Packets, one in a line.
fn unpacked(wire: &[u8]) -> Vec<String> {
    let mut input = BytesMut::from(wire);
    let mut all = Vec::new();
    while let Some((code, data)) = packet::take(&mut input).unwrap() {
        let line = format!("{} {}", char::from(code), text(&data));
        all.push(line.trim_end().to_owned());
    }
    assert!(input.is_empty(), "half a packet");
    all
}

/// One verdict for all messages.
struct Desk {
    session: Session,
    verdict: Verdict,
    questions: Vec<Question>,
    closed: bool,
}

impl Desk {
    fn new(policy: Policy, outcome: Outcome) -> Self {
        let head = vec![HeaderField::new("X-Muralla", "score=1;\n a").unwrap()];
        let outcomes = vec![outcome; 10];
        let verdict = Verdict { outcomes, head, ..Verdict::default() };
        let session = Session::new(Arc::new(policy), 1000, 10);
        Self { session, verdict, questions: Vec::new(), closed: false }
    }

    fn feed(&mut self, input: &mut BytesMut) -> Result<(), MilterError> {
        loop {
            match self.session.step(input)? {
                Step::Read => return Ok(()),
                Step::Close => {
                    self.closed = true;
                    return Ok(());
                }
                Step::Judge(question) => {
                    self.questions.push(*question);
                    assert!(self.session.judged(&self.verdict).is_some());
                    assert!(self.session.judged(&self.verdict).is_none(), "answered once");
                }
            }
        }
    }

    /// Says lines, and gives what came back.
    fn say(&mut self, lines: &[&str]) -> Vec<String> {
        let wire: Vec<u8> = lines.iter().flat_map(|line| packed(line)).collect();
        self.feed(&mut BytesMut::from(&wire[..])).unwrap();
        unpacked(&std::mem::take(self.session.output()))
    }
}

fn refuse() -> Outcome {
    Outcome::Refuse(Reply::of_text(550, "5.7.1 100% spam"))
}

/// Everything that Postfix says of a message with one recipient.
const MESSAGE: [&str; 14] = [
    "D Cj\\0mx.example.net\\0{daemon_name}\\0smtpd\\0",
    "C mail.example.org\\04\\x9c\\x40192.0.2.1\\0",
    "D H{tls_version}\\0TLSv1.3\\0{cipher}\\0TLS_AES_128_GCM_SHA256\\0",
    "H mail.example.org\\0",
    "D M{auth_authen}\\0ann\\0{mail_addr}\\0a@example.org\\0",
    "M <a@example.org>\\0SIZE=100\\0",
    "D R{rcpt_addr}\\0b@example.net\\0",
    "R <b@example.net>\\0",
    "D Ni\\04F1\\0",
    "L From\\0 a@example.org\\0",
    "L Subject\\0 a\\n\\tb\\0",
    "N ",
    "B c\\r\\n",
    "E ",
];

#[test]
fn a_message() {
    let mut desk = Desk::new(Policy::default(), Outcome::Deliver);
    assert_eq!(desk.say(&[POSTFIX]), [AGREED]);
    let (last, before) = MESSAGE.split_last().unwrap();
    assert!(desk.say(before).is_empty(), "nobody waits before the end");
    assert_eq!(desk.say(&[last]), ["i \\0\\0\\0\\0X-Muralla\\0 score=1;\\n a\\0", "c"]);
    let question = &desk.questions[0];
    assert_eq!(question.message, "From: a@example.org\r\nSubject: a\r\n\tb\r\n\r\nc\r\n");
    assert_eq!(question.sender, Some(Party::parse("a@example.org")));
    assert_eq!(question.recipients, [Party::parse("b@example.net")]);
    assert_eq!(question.queue_id.as_deref(), Some("4F1"));
    assert!(question.complete);
    let origin = &question.origin;
    assert_eq!(origin.ip, Some([192, 0, 2, 1].into()));
    assert_eq!(origin.name.as_ref().unwrap().as_str(), "mail.example.org");
    assert_eq!(origin.helo.as_deref(), Some("mail.example.org"));
    assert_eq!(origin.authenticated.as_deref(), Some("ann"));
    assert_eq!(origin.tls.as_ref().unwrap().version, "TLSv1.3");
}

#[test]
fn by_outcome() {
    let hold = || Outcome::Hold { why: "a program".to_owned() };
    let unscanned = || Outcome::Unscanned { why: "late".to_owned() };
    let marking = Policy { hold: OnHold::Mark, unscanned: OnUnscanned::Mark, ..Policy::default() };
    let head = "i \\0\\0\\0\\0X-Muralla\\0 score=1;\\n a\\0";
    let state = |state: &str| format!("i \\0\\0\\0\\0X-Muralla-State\\0 {state}\\0");
    for (policy, outcome, expected) in [
        (Policy::default(), Outcome::Deliver, vec![head.to_owned(), "c".to_owned()]),
        (
            Policy::default(),
            Outcome::Spam,
            vec![
                head.to_owned(),
                state("spam"),
                "i \\0\\0\\0\\0X-Spam-Flag\\0 YES\\0".to_owned(),
                "c".to_owned(),
            ],
        ),
        (Policy::default(), refuse(), vec!["y 550 5.7.1 100%% spam\\0".to_owned()]),
        (
            Policy::default(),
            hold(),
            vec![
                head.to_owned(),
                state("hold; a program"),
                "q a program\\0".to_owned(),
                "c".to_owned(),
            ],
        ),
        (
            Policy::default(),
            unscanned(),
            vec!["y 451 4.7.1 The message could not be examined now: late\\0".to_owned()],
        ),
        (marking, unscanned(), vec![head.to_owned(), state("unscanned; late"), "c".to_owned()]),
    ] {
        let mut desk = Desk::new(policy, outcome);
        desk.say(&[POSTFIX]);
        assert_eq!(desk.say(&MESSAGE), expected);
    }
}

/// Who waits for an answer to each command gets one, and values come without their space.
#[test]
fn version_two() {
    let mut desk = Desk::new(Policy::default(), Outcome::Deliver);
    assert_eq!(desk.say(&[OLD]), [OLD_AGREED]);
    for (line, expected) in [
        ("D Cj\\0mx.example.net\\0", &[][..]),
        ("C [192.0.2.1]\\04\\0\\x19192.0.2.1\\0", &["c"]),
        ("H x\\0", &["c"]),
        ("M <>\\0", &["c"]),
        ("R <b@example.net>\\0", &["c"]),
        ("L Subject\\0a\\0", &["c"]),
        ("N ", &["c"]),
        ("B c\\r\\n", &["c"]),
        ("E d\\r\\n", &["i \\0\\0\\0\\0X-Muralla\\0score=1;\\n a\\0", "c"]),
        ("A ", &[]),
        ("Q ", &[]),
    ] {
        assert_eq!(desk.say(&[line]), expected, "{line}");
    }
    assert!(desk.closed);
    let question = &desk.questions[0];
    assert_eq!(question.message, "Subject: a\r\n\r\nc\r\nd\r\n");
    assert!(question.sender.as_ref().unwrap().is_nobody());
    assert_eq!(question.origin.name, None, "an address is no name");
}

#[test]
fn without_quarantine() {
    let mut desk = Desk::new(Policy::default(), Outcome::Hold { why: "a program".to_owned() });
    desk.say(&["O \\0\\0\\0\\x02\\0\\0\\0\\x1f\\0\\0\\0\\x7f"]);
    let said = desk.say(&["M <>\\0", "R <b@example.net>\\0", "N ", "E "]);
    assert_eq!(said.last().unwrap(), "y 550 5.7.1 Refused: a program\\0");
}

#[test]
fn forged_fields_are_removed_from_the_bottom() {
    let mut desk = Desk::new(Policy::default(), Outcome::Deliver);
    desk.say(&[POSTFIX]);
    let said = desk.say(&[
        "M <>\\0",
        "R <b@example.net>\\0",
        "L X-Spam-Flag\\0 NO\\0",
        "L Subject\\0 a\\0",
        "L x-spam-flag\\0 NO\\0",
        "L X-Muralla\\0 score=0\\0",
        "E ",
    ]);
    assert_eq!(
        said,
        [
            "m \\0\\0\\0\\x01X-Muralla\\0\\0",
            "m \\0\\0\\0\\x02x-spam-flag\\0\\0",
            "m \\0\\0\\0\\x01X-Spam-Flag\\0\\0",
            "i \\0\\0\\0\\0X-Muralla\\0 score=1;\\n a\\0",
            "c",
        ]
    );
}

#[test]
fn several_on_one_connection() {
    let mut desk = Desk::new(Policy::default(), refuse());
    desk.say(&[POSTFIX]);
    assert_eq!(desk.say(&MESSAGE).len(), 1);
    // Of the same client, without what was said of the first one.
    let second = ["M <c@example.org>\\0", "R <d@example.net>\\0", "N ", "E "];
    assert_eq!(desk.say(&second).len(), 1);
    // One that he gives up.
    assert!(desk.say(&["M <e@example.org>\\0", "R <f@example.net>\\0", "A "]).is_empty());
    assert_eq!(desk.say(&second).len(), 1);
    // Another client on the same connection.
    assert!(desk.say(&["K ", "C localhost\\0U"]).is_empty());
    assert_eq!(desk.say(&second).len(), 1);
    desk.say(&["Q "]);
    assert!(desk.closed);
    let all = &desk.questions;
    assert_eq!(all.len(), 4);
    assert_eq!(all[1].origin.ip, Some([192, 0, 2, 1].into()));
    assert_eq!((all[1].origin.authenticated.as_deref(), all[1].queue_id.as_deref()), (None, None));
    assert_eq!(all[2].sender, Some(Party::parse("c@example.org")));
    assert_eq!((all[3].origin.ip, all[3].origin.tls.clone()), (None, None));
}

#[test]
fn names_that_nobody_proved() {
    for (macros, expected) in [
        ("D C", true),
        ("D C{client_resolve}\\0OK\\0", true),
        ("D C{client_resolve}\\0FORGED\\0", false),
        ("D C{client_resolve}\\0FAIL\\0", false),
        ("D C_\\0mail.example.org [192.0.2.1] (may be forged)\\0", false),
        ("D C_\\0mail.example.org [192.0.2.1]\\0", true),
    ] {
        let mut desk = Desk::new(Policy::default(), Outcome::Deliver);
        desk.say(&[POSTFIX, macros, "C mail.example.org\\04\\0\\x19192.0.2.1\\0"]);
        desk.say(&["M <>\\0", "E "]);
        assert_eq!(desk.questions[0].origin.name.is_some(), expected, "{macros}");
    }
}

#[test]
fn out_of_order() {
    for (lines, code) in [
        (&["M <>\\0"][..], b'M'),
        (&["D M"], b'D'),
        (&[POSTFIX, POSTFIX], b'O'),
        (&[POSTFIX, "R <b@example.net>\\0"], b'R'),
        (&[POSTFIX, "L A\\0b\\0"], b'L'),
        (&[POSTFIX, "N "], b'N'),
        (&[POSTFIX, "B a"], b'B'),
        (&[POSTFIX, "E "], b'E'),
        (&[POSTFIX, "M <>\\0", "E ", "E "], b'E'),
        (&[POSTFIX, "M <>\\0", "A ", "E "], b'E'),
    ] {
        let mut desk = Desk::new(Policy::default(), Outcome::Deliver);
        let wire: Vec<u8> = lines.iter().flat_map(|line| packed(line)).collect();
        let ended = desk.feed(&mut BytesMut::from(&wire[..]));
        assert_eq!(ended, Err(MilterError::Order(code)), "{lines:?}");
    }
}

#[test]
fn limits() {
    let mut desk = Desk::new(Policy::default(), Outcome::Deliver);
    desk.say(&[POSTFIX, "M <>\\0"]);
    for number in 0..20 {
        desk.say(&[&format!("R <{number}@example.net>\\0")]);
    }
    let piece = format!("B {}", "a".repeat(600));
    desk.say(&["N ", &piece, &piece, &piece]);
    assert!(desk.session.memory() <= 2000);
    desk.say(&["E "]);
    let question = &desk.questions[0];
    assert_eq!((question.message.len(), question.complete), (1000, false));
    assert_eq!(question.recipients.len(), 10);
}

#[test]
fn without_memory() {
    let mut desk = Desk::new(Policy::default(), Outcome::Deliver);
    desk.say(&[POSTFIX, "M <>\\0", "R <b@example.net>\\0", "B abc"]);
    desk.session.no_memory();
    let said = desk.say(&["B abc", "E "]);
    assert_eq!(
        said,
        ["y 451 4.7.1 The message could not be examined now: there was no memory for it\\0"]
    );
    assert!(desk.questions.is_empty());
    // The next one is looked at.
    assert_eq!(desk.say(&["M <>\\0", "E "]).last().unwrap(), "c");
}

#[test]
fn while_it_is_judged() {
    let mut session = Session::new(Arc::default(), 1000, 10);
    let lines = [POSTFIX, "M <>\\0", "R <b@example.net>\\0", "E ", "M <>\\0"];
    let wire: Vec<u8> = lines.iter().flat_map(|line| packed(line)).collect();
    let mut input = BytesMut::from(&wire[..]);
    assert!(matches!(session.step(&mut input), Ok(Step::Judge(_))));
    assert!(matches!(session.step(&mut input), Ok(Step::Read)));
    assert!(!input.is_empty(), "nothing is read meanwhile");
    session.output().clear();
    session.progress();
    assert_eq!(unpacked(session.output()), ["p"]);
    assert!(session.judged(&Verdict::default()).is_some());
    session.output().clear();
    session.progress();
    assert!(session.output().is_empty(), "nobody waits any more");
}

/// In whatever pieces a transcript comes, the same is said.
#[test]
fn cut_anywhere() {
    let mut lines = vec![POSTFIX];
    lines.extend(MESSAGE);
    lines.extend(["M <>\\0", "R <b@example.net>\\0", "L X-Spam\\0 a\\0", "E b", "Q "]);
    let wire: Vec<u8> = lines.iter().flat_map(|line| packed(line)).collect();
    let said = |size: usize| {
        let mut desk = Desk::new(Policy::default(), Outcome::Spam);
        let mut input = BytesMut::new();
        for piece in wire.chunks(size) {
            input.extend_from_slice(piece);
            desk.feed(&mut input).unwrap();
        }
        assert!(desk.closed);
        (unpacked(desk.session.output()), desk.questions)
    };
    let whole = said(wire.len());
    for size in 1..40 {
        assert_eq!(said(size), whole, "{size}");
    }
}

/// Packets that mean something, and some that don't, in an order that means little.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let fixed = |line: &'static str| Just(packed(line));
    prop_oneof![
        fixed(POSTFIX),
        fixed(OLD),
        fixed(MESSAGE[1]),
        fixed("H a\\0"),
        fixed("M <a@example.org>\\0"),
        fixed("R <b@example.net>\\0"),
        fixed("T "),
        fixed("L X-Spam\\0 a\\n b\\0"),
        fixed("N "),
        fixed("B a\\r\\n"),
        fixed("E "),
        fixed("A "),
        fixed("K "),
        fixed("Q "),
        fixed("U XYZZY\\0"),
        fixed("D Mi\\04F1\\0"),
        (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..50)).prop_map(|(code, data)| {
            let mut out = Vec::new();
            packet::write(&mut out, code, &[&data]);
            out
        }),
    ]
}

proptest! {
    #[test]
    fn any_packets(lines in proptest::collection::vec(line(), 0..40), cuts in 1usize..100) {
        crate::fuzzing::milter_in_pieces(&lines.concat(), cuts);
        let first = [packed(POSTFIX), lines.concat()].concat();
        crate::fuzzing::milter_in_pieces(&first, cuts);
    }

    #[test]
    fn any_octets(data: Vec<u8>, cuts in 1usize..100) {
        crate::fuzzing::milter_in_pieces(&data, cuts);
    }
}
