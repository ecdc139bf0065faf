//! Dialogs with the session, by RFC section, each in several chunkings.
//!
//! A file of `tests/dialogs` has many. `== ` begins one with what it shows. `@ ` sets it up: `tls` (offered), `encrypted`,
//! `locked` (nobody logs in without encryption), `noscram`, `binding`, `errors N`, `failures N`, `expire N`, `in USER` (logged in
//! already). Then:
//!
//! - `C: ` is a line of the client, `C| ` the same with escapes and no end of its own, `R N` a line of N letters, without its
//!   end if `open` is behind it, `EOF` his end;
//! - `S: ` is a line of the server, `S~ ` its beginning, `S| ` octets with escapes;
//! - `T:` is where TLS begins (`injected`: something stood behind STLS), `U:` what is made to last, `X:` how it ends.
//!
//! Nothing else may come.

#![cfg(test)]

mod boxes;

use std::collections::VecDeque;
use std::fmt::Write;

use muralla_pop3::transfer::Transfer;
use muralla_pop3::{Changes, End, Session, Settings, Step};

macro_rules! dialogs {
    ($($name:ident: $file:literal, $count:literal;)*) => {$(
        #[test]
        fn $name() {
            let text = include_str!(concat!("dialogs/", $file));
            assert_eq!(run_all(text), $count, "dialogs in {}", $file);
        }
    )*};
}

dialogs! {
    rfc1939_3_basic_operation: "rfc1939-3-basic-operation.txt", 20;
    rfc1939_4_authorization: "rfc1939-4-authorization.txt", 20;
    rfc1939_5_transaction: "rfc1939-5-transaction.txt", 27;
    rfc1939_6_update: "rfc1939-6-update.txt", 12;
    rfc1939_7_optional: "rfc1939-7-optional.txt", 14;
    rfc2449_capabilities: "rfc2449-capa.txt", 12;
    rfc2595_stls: "rfc2595-stls.txt", 12;
    rfc3206_codes: "rfc3206-codes.txt", 7;
    rfc5034_sasl: "rfc5034-auth.txt", 34;
    rfc6856_utf8: "rfc6856-utf8.txt", 7;
    clients: "clients.txt", 6;
    hostile: "hostile.txt", 14;
}

/// How the client's octets are cut.
#[derive(Clone, Copy, Debug)]
enum Chunking {
    /// Each line as it is.
    Lines,
    /// Octet by octet.
    Octets,
    /// Seven by seven.
    Sevens,
    /// Everything that follows without a word of the server in between.
    Together,
}

fn run_all(text: &str) -> usize {
    let mut failures = String::new();
    let mut count = 0;
    for case in text.split("\n== ").skip(1) {
        let (title, script) = case.split_once('\n').unwrap();
        count += 1;
        for chunking in [Chunking::Lines, Chunking::Octets, Chunking::Sevens, Chunking::Together] {
            if let Err(failure) = Dialog::run(script, chunking) {
                writeln!(failures, "{title} ({chunking:?}): {failure}").unwrap();
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    count
}

/// What came of what the client sent.
#[derive(Debug, Eq, PartialEq)]
enum Event {
    Tls,
    Changes(Changes),
    End(End),
}

struct Dialog {
    session: Session,
    heard: Vec<u8>,
    events: VecDeque<Event>,
    user: String,
    proved: bool,
}

impl Dialog {
    fn run(script: &str, chunking: Chunking) -> Result<(), String> {
        let lines = || script.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut settings = Settings {
            name: "pop.example.org".into(),
            encrypted: false,
            offers_tls: false,
            unencrypted_login: true,
            scram: true,
            expire_days: None,
            most_errors: 20,
            most_failures: 3,
            nonce: [7; 18],
            binding: None,
        };
        let mut user = None;
        for line in lines().filter_map(|line| line.strip_prefix("@ ")) {
            let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "tls" => settings.offers_tls = true,
                "encrypted" => settings.encrypted = true,
                "locked" => settings.unencrypted_login = false,
                "noscram" => settings.scram = false,
                "binding" => settings.binding = Some([9; 32]),
                "errors" => settings.most_errors = argument.parse().unwrap(),
                "failures" => settings.most_failures = argument.parse().unwrap(),
                "expire" => settings.expire_days = Some(argument.parse().unwrap()),
                "in" => user = Some(argument),
                other => return Err(format!("unknown setting {other}")),
            }
        }
        let mut dialog = Self {
            session: Session::new(settings),
            heard: vec![],
            events: VecDeque::new(),
            user: String::new(),
            proved: false,
        };
        dialog.pump();
        if let Some(user) = user {
            dialog.session.receive(format!("USER {user}\r\nPASS x\r\n").as_bytes());
            dialog.enter(user);
        }
        let mut said: Vec<u8> = vec![];
        for line in lines().filter(|line| !line.starts_with("@ ")) {
            let words = |prefix: &str| line.strip_prefix(prefix);
            if let Some(octets) = client(line) {
                said.extend(octets);
                if !matches!(chunking, Chunking::Together) {
                    dialog.say(&std::mem::take(&mut said), chunking);
                }
                continue;
            }
            dialog.say(&std::mem::take(&mut said), chunking);
            if let Some(expected) = words("S:") {
                let expected = expected.strip_prefix(' ').unwrap_or(expected);
                dialog.expect_line(expected, true)?;
            } else if let Some(expected) = words("S~ ") {
                dialog.expect_line(expected, false)?;
            } else if let Some(expected) = words("S| ") {
                dialog.expect_octets(&unescape(expected))?;
            } else if let Some(injected) = words("T:") {
                dialog.expect(&Event::Tls)?;
                dialog.session.tls_started(None);
                if dialog.session.facts().injected != (injected == " injected") {
                    return Err(format!("what was injected was not: {:?}", dialog.session.facts()));
                }
                dialog.pump();
            } else if let Some(changes) = words("U: ") {
                dialog.expect(&Event::Changes(read_changes(changes)))?;
            } else if let Some(end) = words("X: ") {
                let event = dialog.events.pop_front();
                if !matches!(event, Some(Event::End(was)) if format!("{was:?}") == end) {
                    return Err(format!("not {end}, but {event:?}"));
                }
            } else if line == "EOF" {
                dialog.session.end(End::Gone);
                dialog.events.clear();
                dialog.pump();
            } else {
                return Err(format!("unknown line {line}"));
            }
        }
        dialog.say(&said, chunking);
        if !dialog.heard.is_empty() || !dialog.events.is_empty() {
            let heard = String::from_utf8_lossy(&dialog.heard);
            return Err(format!("left over: {heard:?} {:?}", dialog.events));
        }
        Ok(())
    }

    /// Logs in, whoever it is.
    fn enter(&mut self, user: &str) {
        loop {
            match self.session.step() {
                Step::Login { .. } => break,
                Step::Read | Step::Write => self.session.output().clear(),
                other => panic!("{other:?}"),
            }
        }
        self.user = user.to_owned();
        self.session.logged_in(Ok(boxes::listing(user).unwrap()));
        self.pump();
        self.heard.clear();
    }

    fn say(&mut self, octets: &[u8], chunking: Chunking) {
        let size = match chunking {
            Chunking::Lines | Chunking::Together => octets.len().max(1),
            Chunking::Octets => 1,
            Chunking::Sevens => 7,
        };
        for chunk in octets.chunks(size) {
            // Octets that come when TLS is to begin are not in the clear: only what is there already can be injected. So
            // what is cut off from STLS is not seen at all.
            let waiting = self.events.back() == Some(&Event::Tls);
            let over = matches!(self.events.back(), Some(Event::End(_)));
            if waiting {
                self.session.receive(chunk);
            } else if !over {
                self.session.receive(chunk);
                self.pump();
            }
        }
    }

    /// Does what the session wants until it wants more octets.
    fn pump(&mut self) {
        loop {
            let step = self.session.step();
            self.heard.append(self.session.output());
            match step {
                Step::Read => return,
                Step::Write => {}
                Step::StartTls => {
                    self.events.push_back(Event::Tls);
                    return;
                }
                Step::Login { user, password } => {
                    let answer = boxes::login(&user, password.reveal());
                    self.user = user;
                    self.answer(answer);
                }
                Step::Keys { user } => self.session.keys(boxes::scram(&user)),
                Step::Proof { user, message, proof } => {
                    let answer = boxes::prove(&user, &message, &proof);
                    self.proved = answer.is_ok();
                    self.user = user;
                    self.session.proved(answer.as_deref().map_err(|refused| *refused));
                }
                Step::Enter => {
                    assert!(self.proved);
                    self.answer(Ok(()));
                }
                Step::Retrieve { message, lines } => {
                    match boxes::message(&self.user, message.uid) {
                        Ok(octets) => {
                            self.session.opened(Ok(()));
                            self.heard.append(self.session.output());
                            let mut transfer = Transfer::new(lines);
                            self.heard.extend(transfer.pieces(&octets).flatten());
                            self.heard.extend(transfer.ending());
                            self.session.sent(transfer.octets());
                        }
                        Err(error) => self.session.opened(Err(error)),
                    }
                }
                Step::Commit(changes) => {
                    self.events.push_back(Event::Changes(changes));
                    self.session.committed(boxes::commit(&self.user));
                }
                Step::Close(end) => {
                    self.events.push_back(Event::End(end));
                    assert_eq!(self.session.facts().end, Some(end));
                    return;
                }
            }
        }
    }

    fn answer(&mut self, answer: Result<(), muralla_pop3::Refused>) {
        let answer = answer.and_then(|()| {
            boxes::listing(&self.user).map_err(|_| muralla_pop3::Refused::Unavailable)
        });
        self.session.logged_in(answer);
    }

    fn expect_line(&mut self, expected: &str, whole: bool) -> Result<(), String> {
        let heard = String::from_utf8_lossy(&self.heard).into_owned();
        let (line, _) = heard
            .split_once("\r\n")
            .ok_or_else(|| format!("not {expected:?}, but only {heard:?}"))?;
        if if whole { line != expected } else { !line.starts_with(expected) } {
            return Err(format!("not {expected:?}, but {heard:?}"));
        }
        let end = self.heard.windows(2).position(|octets| octets == b"\r\n").unwrap();
        self.heard.drain(..end + 2);
        Ok(())
    }

    fn expect_octets(&mut self, expected: &[u8]) -> Result<(), String> {
        if !self.heard.starts_with(expected) {
            let heard = String::from_utf8_lossy(&self.heard);
            return Err(format!("not {:?}, but {heard:?}", String::from_utf8_lossy(expected)));
        }
        self.heard.drain(..expected.len());
        Ok(())
    }

    fn expect(&mut self, expected: &Event) -> Result<(), String> {
        match self.events.pop_front() {
            Some(event) if event == *expected => Ok(()),
            other => Err(format!("not {expected:?}, but {other:?}")),
        }
    }
}

/// What the client says in a line of a script.
fn client(line: &str) -> Option<Vec<u8>> {
    if let Some(said) = line.strip_prefix("C:") {
        return Some(format!("{}\r\n", said.strip_prefix(' ').unwrap_or(said)).into_bytes());
    }
    if let Some(said) = line.strip_prefix("C| ") {
        return Some(unescape(said));
    }
    let (number, open) = match line.strip_prefix("R ")?.split_once(' ') {
        Some((number, "open")) => (number, true),
        Some(_) => return None,
        None => (&line[2..], false),
    };
    let mut said = vec![b'x'; number.parse().unwrap()];
    if !open {
        said.extend(b"\r\n");
    }
    Some(said)
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = vec![];
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            out.extend(char.to_string().bytes());
            continue;
        }
        match chars.next().unwrap() {
            'r' => out.push(b'\r'),
            'n' => out.push(b'\n'),
            '0' => out.push(0),
            'x' => {
                let digits: String = chars.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&digits, 16).unwrap());
            }
            other => panic!("unknown escape {other}"),
        }
    }
    out
}

fn read_changes(text: &str) -> Changes {
    let mut changes = Changes::default();
    let mut into: Option<&mut Vec<u64>> = None;
    for word in text.split(' ') {
        match word {
            "deleted" => into = Some(&mut changes.deleted),
            "retrieved" => into = Some(&mut changes.retrieved),
            number => into.as_mut().unwrap().push(number.parse().unwrap()),
        }
    }
    changes
}
