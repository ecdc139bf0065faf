//! The dialogs of `tests/dialogs`, and what holds for any dialog.
//!
//! A file has dialogs, each under a line `== what it shows`. `@` says how it begins (`@ lmtp`, `@ data`, `@ limit errors 2`),
//! `C:` is a line of the client, `C|` octets as they are written, with escapes and without a line end, `S:` a line of the server,
//! of which `*` at the end stands for anything, `S=` all lines of a reply by its code alone. Between two things that the client says,
//! all that the server says is told. `X` is the end of the connection, `M|` a message that was taken, `T|` from whom and to
//! whom it was, and `R:` what the report says.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use data_encoding::BASE64;
use muralla_mail_envelope::{Domain, MessageId};
use proptest::prelude::*;

use super::*;
use crate::fuzzing::{self, Desk};

/// How many dialogs there are at least.
const DIALOGS: usize = 200;

#[derive(Clone, Debug)]
struct Dialog {
    name: String,
    mode: Mode,
    secured: bool,
    offers: Offers,
    config: Config,
    lines: Vec<Said>,
}

#[derive(Clone, Debug)]
enum Said {
    /// The client's octets.
    Client(Vec<u8>),
    /// A line of the server.
    Line(String),
    /// A whole reply.
    Code(String),
    Closed,
    Message(Vec<u8>),
    Envelope(String),
    Report(String),
}

impl Dialog {
    fn new(name: &str, mode: Mode) -> Self {
        let mut config = Config::new(mode, Domain::parse("mx.example.net").unwrap());
        config.limits.largest_message = 10_000;
        config.limits.longest_line = 1000;
        Self {
            name: name.to_owned(),
            mode,
            secured: false,
            offers: Offers { start_tls: true, scram: true },
            config,
            lines: Vec::new(),
        }
    }

    fn desk(&self) -> Desk {
        Desk::new(self.config.clone(), self.offers, self.secured)
    }

    /// `@`: how it begins.
    fn begin(&mut self, words: &[&str]) {
        let client = |line: &str| Said::Client(format!("{line}\r\n").into_bytes());
        let code = |code: &str| Said::Code(code.to_owned());
        let hello = if self.mode == Mode::Lmtp { "LHLO c.example" } else { "EHLO c.example" };
        match words {
            ["mx"] => *self = Self::new(&self.name, Mode::Mx),
            ["lmtp"] => *self = Self::new(&self.name, Mode::Lmtp),
            ["submission"] => *self = Self::new(&self.name, Mode::Submission),
            ["tls"] => self.secured = true,
            ["no-tls"] => self.offers.start_tls = false,
            ["no-scram"] => self.offers.scram = false,
            ["requiretls"] => self.config.requiretls = true,
            ["no-postmaster"] => self.config.postmaster = None,
            ["limit", name, value] => {
                let limits = &mut self.config.limits;
                match *name {
                    "command" => limits.longest_command = value.parse().unwrap(),
                    "line" => limits.longest_line = value.parse().unwrap(),
                    "size" => limits.largest_message = value.parse().unwrap(),
                    "recipients" => limits.recipients = value.parse().unwrap(),
                    "messages" => limits.messages = value.parse().unwrap(),
                    "errors" => limits.errors = value.parse().unwrap(),
                    "refused" => limits.refused_recipients = value.parse().unwrap(),
                    "logins" => limits.failed_logins = value.parse().unwrap(),
                    "idle" => limits.idle_commands = value.parse().unwrap(),
                    "login-line" => limits.longest_login = value.parse().unwrap(),
                    other => panic!("{}: no limit {other}", self.name),
                }
            }
            ["greeted"] => self.lines.push(code("220")),
            ["hello"] => {
                self.begin(&["greeted"]);
                self.lines.extend([client(hello), code("250")]);
            }
            ["login"] => {
                self.begin(&["hello"]);
                let plain = BASE64.encode(b"\0user@example.net\0pencil");
                self.lines.extend([client(&format!("AUTH PLAIN {plain}")), code("235")]);
            }
            ["mail"] => {
                self.begin(&["hello"]);
                self.lines.extend([client("MAIL FROM:<a@example.org>"), code("250")]);
            }
            ["rcpt"] => {
                self.begin(&["mail"]);
                self.lines.extend([client("RCPT TO:<user@example.net>"), code("250")]);
            }
            ["data"] => {
                self.begin(&["rcpt"]);
                self.lines.extend([client("DATA"), code("354")]);
            }
            other => panic!("{}: what is {other:?}?", self.name),
        }
    }

    fn client(&self) -> Vec<u8> {
        let all = self.lines.iter().filter_map(|said| match said {
            Said::Client(octets) => Some(octets.clone()),
            _ => None,
        });
        all.collect::<Vec<_>>().concat()
    }

    /// Line by line, as it was written. All that was said.
    fn play(&self) -> (String, Desk) {
        let name = &self.name;
        let mut desk = self.desk();
        let mut all = desk.said();
        let mut heard = all.clone();
        let mut messages = 0;
        for said in &self.lines {
            match said {
                Said::Client(octets) => {
                    assert_eq!(heard, "", "{name}: the server said more before {octets:?}");
                    assert!(!desk.is_closed(), "{name}: it ended before {octets:?}");
                    desk.feed(octets);
                    heard = desk.said();
                    all.push_str(&heard);
                }
                Said::Line(pattern) => {
                    let (line, rest) = heard.split_once("\r\n").unwrap_or_else(|| {
                        panic!("{name}: nothing was said, not even {pattern:?}")
                    });
                    let fits = match pattern.strip_suffix('*') {
                        Some(start) => line.starts_with(start),
                        None => line == pattern,
                    };
                    assert!(fits, "{name}: {line:?}, and not {pattern:?}");
                    heard = rest.to_owned();
                }
                Said::Code(code) => loop {
                    let (line, rest) = heard
                        .split_once("\r\n")
                        .unwrap_or_else(|| panic!("{name}: nothing was said, not even {code}"));
                    assert!(line.starts_with(code), "{name}: {line:?}, and not {code}");
                    let last = line.as_bytes()[3] == b' ';
                    heard = rest.to_owned();
                    if last {
                        break;
                    }
                },
                Said::Closed => {
                    assert_eq!(heard, "", "{name}: the server said more before the end");
                    assert!(desk.is_closed(), "{name}: it did not end");
                }
                Said::Message(message) => {
                    let got = desk.messages().get(messages);
                    let got = got.unwrap_or_else(|| panic!("{name}: no message {messages}"));
                    let text = String::from_utf8_lossy(&got.message);
                    assert_eq!(text, String::from_utf8_lossy(message), "{name}: message");
                    messages += 1;
                }
                Said::Envelope(expected) => {
                    let got = desk.messages().last();
                    let got = got.unwrap_or_else(|| panic!("{name}: no message at all"));
                    let mut text = format!("{}{}", got.mail.from, got.mail.parameters);
                    for recipient in &got.recipients {
                        text.push_str(&format!(" {}{}", recipient.address, recipient.parameters));
                    }
                    assert_eq!(&text, expected, "{name}: envelope");
                }
                Said::Report(fact) => {
                    let report = format!("{:?}", desk.session().report());
                    let fact = fact.replace('=', ": ");
                    let found = report.contains(&format!(" {fact},"))
                        || report.contains(&format!(" {fact} }}"));
                    assert!(found, "{name}: {fact} is not in {report}");
                }
            }
        }
        assert_eq!(heard, "", "{name}: the server said more at the end");
        (all, desk)
    }

    /// In pieces: all that was said.
    fn in_pieces<'a>(&self, pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, Desk) {
        let mut desk = self.desk();
        for piece in pieces {
            desk.feed(piece);
        }
        (desk.said(), desk)
    }
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match chars.next().unwrap() {
            'r' => out.push(b'\r'),
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            '\\' => out.push(b'\\'),
            'x' => {
                let digits: String =
                    [chars.next().unwrap(), chars.next().unwrap()].iter().collect();
                out.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            // \{a*300}: many of them.
            '{' => {
                let rest: String = chars.by_ref().take_while(|&char| char != '}').collect();
                let (what, times) = rest.rsplit_once('*').unwrap();
                out.extend(unescaped(what).repeat(times.parse().unwrap()));
            }
            other => panic!("what is \\{other}?"),
        }
    }
    out
}

fn dialogs() -> BTreeMap<String, Vec<Dialog>> {
    let mut all = BTreeMap::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut dialogs: Vec<Dialog> = Vec::new();
        for line in fs::read_to_string(&path).unwrap().lines() {
            if let Some(name) = line.strip_prefix("== ") {
                dialogs.push(Dialog::new(&format!("{file}: {name}"), Mode::Mx));
                continue;
            }
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let dialog = dialogs.last_mut().unwrap_or_else(|| panic!("{file}: {line:?}"));
            let (sign, rest) = line.split_at_checked(2).unwrap_or((line, ""));
            let rest = rest.strip_prefix(' ').unwrap_or(rest);
            let said = match sign {
                "@ " => {
                    dialog.begin(&rest.split(' ').collect::<Vec<_>>());
                    continue;
                }
                "C:" => Said::Client(format!("{rest}\r\n").into_bytes()),
                "C|" => Said::Client(unescaped(rest)),
                "S:" => Said::Line(rest.to_owned()),
                "S=" => Said::Code(rest.to_owned()),
                "M|" => Said::Message(unescaped(rest)),
                "T|" => Said::Envelope(rest.to_owned()),
                "R:" => Said::Report(rest.to_owned()),
                "X" => Said::Closed,
                other => panic!("{}: what is {other:?}?", dialog.name),
            };
            dialog.lines.push(said);
        }
        all.insert(file, dialogs);
    }
    all
}

#[test]
fn as_written() {
    let all: Vec<Dialog> = dialogs().into_values().flatten().collect();
    assert!(all.len() >= DIALOGS, "{} dialogs", all.len());
    // All that fail, and not the first alone.
    let plays = |dialog: &Dialog| catch_unwind(AssertUnwindSafe(|| drop(dialog.play()))).is_ok();
    let failed = all.iter().filter(|dialog| !plays(dialog));
    let failed: Vec<&str> = failed.map(|dialog| &*dialog.name).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Octet by octet, and all at once, the same is said, and the same messages are taken.
#[test]
fn in_other_pieces() {
    for dialog in dialogs().values().flatten() {
        let (said, desk) = dialog.play();
        // What stands behind STARTTLS in the same piece is forgotten, and so pieces matter.
        if desk.session().report().injected > 0 {
            continue;
        }
        let client = dialog.client();
        let mut ways = vec![dialog.in_pieces(client.chunks(1))];
        if desk.has_tls() == dialog.secured {
            ways.push(dialog.in_pieces([&client[..]]));
        }
        for (again, other) in ways {
            assert_eq!(again, said, "{}", dialog.name);
            assert_eq!(other.messages(), desk.messages(), "{}", dialog.name);
            assert_eq!(other.is_closed(), desk.is_closed(), "{}", dialog.name);
        }
    }
}

/// Every file has what it says: none of them is passed over because nothing in it could be read.
#[test]
fn by_section() {
    for (file, dialogs) in dialogs() {
        assert!(dialogs.len() >= 3, "{file} has {} dialogs", dialogs.len());
        for dialog in dialogs {
            let replies =
                dialog.lines.iter().filter(|said| matches!(said, Said::Line(_) | Said::Code(_)));
            assert!(replies.count() > 0, "{}", dialog.name);
        }
    }
}

#[test]
fn no_answer_without_a_question() {
    let config = Arc::new(Dialog::new("", Mode::Mx).config);
    let client = Client::local(&config.name);
    let mut session = Session::new(config, client, Offers::default(), || [0; 18]);
    let mut input = BytesMut::from(&b"EHLO a\r\n"[..]);
    assert!(matches!(session.step(&mut input), Step::Read));
    session.welcome(Decision::Accept);
    session.greeted(Decision::Accept);
    session.data_decided(Decision::Accept);
    session.message_decided(&MessageId([0; 16]), vec![Decision::Accept]);
    assert!(matches!(session.step(&mut input), Step::Hello));
    // The question stands until it is answered, and nothing else answers it.
    input.extend_from_slice(b"NOOP\r\n");
    assert!(matches!(session.step(&mut input), Step::Read));
    assert_eq!(session.phase(), Phase::Busy);
    session.greeted(Decision::Accept);
    assert!(matches!(session.step(&mut input), Step::Read));
    assert!(String::from_utf8_lossy(session.output()).ends_with("250 2.0.0 Ok\r\n"));
    assert_eq!(session.phase(), Phase::Idle);
}

#[test]
fn first_words() {
    let greeted = |decision: Decision| {
        let config = Arc::new(Dialog::new("", Mode::Mx).config);
        let client = Client::local(&config.name);
        let mut session = Session::new(config, client, Offers::default(), || [0; 18]);
        session.welcome(decision);
        let said = String::from_utf8(session.output().clone()).unwrap();
        (said, matches!(session.step(&mut BytesMut::new()), Step::Close))
    };
    for (decision, said, closed) in [
        (Decision::Accept, "220 mx.example.net ESMTP\r\n", false),
        (
            Decision::Say(Reply::new(220, None, "ESMTP hello")),
            "220 mx.example.net ESMTP hello\r\n",
            false,
        ),
        (Decision::permanent(554, 7, 1, "Not you"), "554 5.7.1 Not you\r\n", true),
        (Decision::hang_up(7, 0, "Later"), "421 4.7.0 Later\r\n", true),
    ] {
        assert_eq!(greeted(decision), (said.to_owned(), closed));
    }
}

#[test]
fn memory() {
    let dialog = Dialog::new("", Mode::Mx);
    let mut desk = dialog.desk();
    desk.feed(b"EHLO a\r\nMAIL FROM:<> SIZE=9999\r\nRCPT TO:<a@example.net>\r\nDATA\r\n");
    assert_eq!(desk.session().phase(), Phase::Message);
    assert!((9999..20_000).contains(&desk.session().memory()));
    desk.feed(b"a\r\n.\r\n");
    assert_eq!(desk.session().memory(), 0);
    desk.feed(b"MAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\nBDAT 3\r\na\r\n");
    assert_eq!(desk.session().phase(), Phase::Busy);
    assert!(desk.session().memory() >= 3);
    desk.feed(b"RSET\r\n");
    assert_eq!((desk.session().memory(), desk.session().phase()), (0, Phase::Idle));
}

/// Lines that mean something, and some that don't, in an order that means little.
fn line() -> impl Strategy<Value = String> {
    let fixed = |line: &'static str| Just(line.to_owned());
    prop_oneof![
        fixed("EHLO c.example"),
        fixed("LHLO c.example"),
        fixed("HELO c.example"),
        fixed("EHLO c.example\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<user@example.net>"),
        fixed(
            "LHLO c.example\r\nMAIL FROM:<>\r\nRCPT TO:<a@example.net>\r\nRCPT TO:<full@example.net>"
        ),
        fixed("EHLO c.example\r\nAUTH PLAIN AHVzZXJAZXhhbXBsZS5uZXQAcGVuY2ls"),
        fixed("MAIL FROM:<a@example.org>\r\nRCPT TO:<user@example.net>\r\nDATA\r\n.."),
        fixed("MAIL FROM:<a@example.org>"),
        fixed("MAIL FROM:<> BODY=8BITMIME SIZE=10"),
        fixed("RCPT TO:<user@example.net>"),
        fixed("RCPT TO:<unknown@example.net>"),
        fixed("RCPT TO:<full@example.net>"),
        fixed("DATA"),
        fixed("Subject: a\r\n\r\nb\r\n."),
        fixed("."),
        fixed("..a"),
        fixed("\n.\n"),
        fixed("BDAT 7 LAST\r\nRefuse:"),
        fixed("BDAT 10\r\n1234567\r\n"),
        fixed("BDAT 0 LAST"),
        fixed("RSET"),
        fixed("NOOP"),
        fixed("STARTTLS"),
        fixed("AUTH PLAIN AHVzZXJAZXhhbXBsZS5uZXQAcGVuY2ls"),
        fixed("AUTH LOGIN"),
        fixed("AUTH SCRAM-SHA-256 biwsbj11LHI9bg=="),
        fixed("dXNlcg=="),
        "[ -~\r\n]{0,40}",
    ]
}

proptest! {
    #[test]
    fn any_dialog(to in 0u8..32, size in 1u8..40, lines in proptest::collection::vec(line(), 0..30)) {
        let mut data = vec![to, size];
        for line in lines {
            data.extend_from_slice(line.as_bytes());
            data.extend_from_slice(b"\r\n");
        }
        fuzzing::session(&data);
    }

    #[test]
    fn any_octets(data: Vec<u8>) {
        fuzzing::session(&data);
        fuzzing::others(&data);
        fuzzing::content(&data);
    }

    /// The dialogs, cut anywhere.
    #[test]
    fn cut_anywhere(which: prop::sample::Index, cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let all: Vec<Dialog> = dialogs().into_values().flatten().collect();
        let dialog = which.get(&all);
        let (said, desk) = dialog.play();
        let client = dialog.client();
        prop_assume!(desk.has_tls() == dialog.secured && !client.is_empty());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(client.len())).collect();
        cuts.extend([0, client.len()]);
        cuts.sort_unstable();
        let (again, other) = dialog.in_pieces(cuts.windows(2).map(|two| &client[two[0]..two[1]]));
        prop_assert_eq!(again, said);
        prop_assert_eq!(other.messages(), desk.messages());
    }
}
