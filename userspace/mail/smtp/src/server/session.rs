//! A session: RFC 5321, and what EHLO says. Octets in, replies out; it neither reads nor waits, and has neither clock nor dice.
//!
//! [`Session::step`] takes from the input until it needs something, and says what: more input, or an answer, which is given by the
//! function that is named after the question. Replies gather in [`Session::output`] until then, so that a client who sends
//! commands in one piece gets the replies in one piece.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use memchr::memchr;
use muralla_mail_envelope::sasl::{self, Dialog, Mechanism};
use muralla_mail_envelope::{Client, EnhancedCode, Protocol, Reply, TlsFacts};

use super::config::{Config, Mode};
use super::handler::{Conversation, Decision};
use super::report::{End, Report};
use crate::command::Command;
use crate::framing::{Collector, Fault};
use crate::response;

mod errors;
mod login;
mod step;
mod transaction;

pub use step::{Incoming, MailFrom, Phase, Step};
pub use transaction::Transaction;

use errors::{BadLine, Line};

/// The server's half of a dialog.
#[derive(Debug)]
pub struct Session {
    config: Arc<Config>,
    client: Client,
    state: State,
    hello: Hello,
    transaction: Option<Transaction>,
    out: Vec<u8>,
    report: Report,
    /// Commands since the last one that led somewhere.
    idle: u32,
    /// Whether a line is being passed over that is too long to be kept.
    skipping: bool,
    /// 32 octets exported from TLS, for SCRAM-SHA-256-PLUS.
    binding: Option<[u8; 32]>,
    offers: Offers,
    random: fn() -> [u8; sasl::NONCE],
}

/// What a session may offer, if the rest of it allows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Offers {
    /// TLS.
    pub start_tls: bool,
    /// SCRAM-SHA-256.
    pub scram: bool,
}

#[derive(Debug)]
enum State {
    /// Nothing was said to the client yet.
    Silent,
    Command,
    Login(Login),
    /// Content of `DATA`.
    Data(Collector),
    /// Content of `BDAT`.
    Chunk(Chunk),
    /// The handler was asked.
    Asked(Asked),
    Closed,
}

#[derive(Debug)]
struct Login {
    dialog: Dialog,
    mechanism: Mechanism,
    /// SCRAM: the account that was proved.
    account: Option<String>,
}

#[derive(Debug)]
struct Chunk {
    octets: u64,
    remaining: u64,
    last: bool,
    /// What to say at its end, if nothing in it is wanted.
    refusal: Option<Reply>,
}

#[derive(Debug)]
enum Asked {
    Hello,
    Mail,
    Rcpt,
    Data,
    Chunk(Chunk),
    Message {
        /// LMTP: how many replies are due.
        recipients: usize,
    },
    Login(Login),
    Tls,
}

/// What the client said to be greeted with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Hello {
    Nothing,
    Plain,
    Extended,
}

impl Session {
    /// A session with a client. `random` gives nonces.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        client: Client,
        offers: Offers,
        random: fn() -> [u8; sasl::NONCE],
    ) -> Self {
        Self {
            config,
            client,
            state: State::Silent,
            hello: Hello::Nothing,
            transaction: None,
            out: Vec::with_capacity(512),
            report: Report::default(),
            idle: 0,
            skipping: false,
            binding: None,
            offers,
            random,
        }
    }

    /// Says the first words.
    pub fn welcome(&mut self, decision: Decision) {
        self.state = State::Command;
        match decision {
            Decision::Accept => {
                let protocol = if self.is_lmtp() { "LMTP" } else { "ESMTP" };
                let text = format!("{} {protocol}", self.config.name);
                self.say(220, None, &text);
            }
            Decision::Say(reply) if reply.is_positive() => {
                let text = format!("{} {}", self.config.name, reply.text);
                self.say(220, None, &text);
            }
            // RFC 5321 section 3.1 would have us wait for QUIT. Who isn't wanted gets no more of our time.
            Decision::Say(reply) | Decision::Close(reply) => {
                self.reply(&reply);
                self.end(End::Refused);
            }
        }
    }

    /// The client spoke before he was welcomed. If he is to be refused for that, this takes the place of [`Session::welcome`].
    pub fn spoke_early(&mut self, refuse: bool) {
        self.report.early = true;
        if refuse {
            self.say(554, Some(EnhancedCode::new(5, 5, 1)), "You speak before you are greeted");
            self.end(End::Refused);
        }
    }

    /// What has to be sent. Whoever sends it takes it out.
    pub const fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Who the client is.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// To be told who he is by DNS.
    pub const fn client_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// What he did.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// What a handler is told.
    #[must_use]
    pub const fn about(&self) -> Conversation<'_> {
        Conversation {
            client: &self.client,
            transaction: self.transaction.as_ref(),
            report: &self.report,
        }
    }

    /// What he is doing.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match &self.state {
            State::Data(_) | State::Chunk(_) => Phase::Message,
            State::Command if self.transaction.is_none() => Phase::Idle,
            State::Silent | State::Closed => Phase::Idle,
            _ => Phase::Busy,
        }
    }

    /// Octets of memory that the message takes which he sends.
    #[must_use]
    pub fn memory(&self) -> usize {
        match &self.state {
            State::Data(collector) => collector.memory(),
            _ => self.transaction.as_ref().map_or(0, Transaction::memory),
        }
    }

    /// There is no memory for the message which he sends: it is refused for now, once all of it has come.
    pub fn no_memory(&mut self) {
        if let State::Data(collector) = &mut self.state {
            collector.fail(Fault::NoMemory);
        } else if let Some(collector) = self.transaction.as_mut().and_then(|it| it.chunks.as_mut())
        {
            collector.fail(Fault::NoMemory);
        }
    }

    /// He kept us waiting.
    pub fn timed_out(&mut self) {
        self.say(
            421,
            Some(EnhancedCode::new(4, 4, 2)),
            "You kept this server waiting for too long",
        );
        self.end(End::TimedOut);
    }

    /// The server stops: RFC 5321 section 3.8.
    pub fn stopped(&mut self) {
        self.say(421, Some(EnhancedCode::new(4, 3, 2)), "This server is stopping, call again");
        self.end(End::Stopped);
    }

    /// The connection is gone, or was given up.
    pub fn end(&mut self, end: End) {
        if self.report.end == End::Open {
            self.report.end = end;
        }
        self.abandon();
        self.state = State::Closed;
    }

    /// Goes on: see [`Step`]. What is left of the input is given again, with what comes then behind it.
    pub fn step(&mut self, input: &mut BytesMut) -> Step {
        loop {
            match std::mem::replace(&mut self.state, State::Command) {
                State::Silent => {
                    self.state = State::Silent;
                    return Step::Read;
                }
                State::Closed => {
                    self.state = State::Closed;
                    return Step::Close;
                }
                State::Asked(asked) => {
                    // Whoever asks again without having answered gets no further.
                    self.state = State::Asked(asked);
                    return Step::Read;
                }
                State::Data(mut collector) => {
                    let (taken, ended) = collector.dotted(input);
                    input.advance(taken);
                    if ended {
                        if let Some(step) = self.collected(collector) {
                            return step;
                        }
                    } else if self.endless(&collector) {
                        return Step::Close;
                    } else {
                        self.state = State::Data(collector);
                        return Step::Read;
                    }
                }
                State::Chunk(mut chunk) => {
                    self.take_chunk(&mut chunk, input);
                    if chunk.remaining > 0 {
                        self.state = State::Chunk(chunk);
                        return Step::Read;
                    }
                    if let Some(step) = self.chunk_ended(chunk) {
                        return step;
                    }
                }
                State::Command => {
                    let longest = self.config.limits.longest_command;
                    let Some(line) = self.line(input, longest) else { return Step::Read };
                    if let Some(step) = self.command_line(line, input) {
                        return step;
                    }
                }
                State::Login(login) => {
                    let longest = self.config.limits.longest_login;
                    let Some(line) = self.line(input, longest) else {
                        self.state = State::Login(login);
                        return Step::Read;
                    };
                    let response =
                        line.read.map(|octets| input.get(..octets).unwrap_or_default().to_vec());
                    input.advance(line.taken);
                    if let Some(step) = self.login_line(login, response) {
                        return step;
                    }
                }
            }
        }
    }

    /// Finds a line: how many octets to take for it, and how many of them are the line, if it is one that can be read. Nothing, if
    /// more has to come.
    fn line(&mut self, input: &mut BytesMut, longest: usize) -> Option<Line> {
        let Some(at) = memchr(b'\n', input) else {
            // Of a line that is too long nothing is kept, and in whatever pieces it comes, it is told once that it is.
            if self.skipping || input.len() > longest.saturating_add(1) {
                self.skipping = true;
                input.clear();
            }
            return None;
        };
        let skipped = std::mem::take(&mut self.skipping);
        let line = input.get(..at).unwrap_or_default();
        let read = match line.strip_suffix(b"\r") {
            _ if skipped || at > longest.saturating_add(1) => Err(BadLine::Long),
            Some(line) if memchr(b'\r', line).is_none() => Ok(line.len()),
            _ => Err(BadLine::End),
        };
        Some(Line { taken: at + 1, read })
    }

    /// A command line, which is taken from the input.
    fn command_line(&mut self, line: Line, input: &mut BytesMut) -> Option<Step> {
        self.report.commands = self.report.commands.saturating_add(1);
        let step = match line.read {
            Err(bad) => {
                self.bad_line(bad);
                None
            }
            Ok(octets) => match Command::parse(input.get(..octets).unwrap_or_default()) {
                Ok(command) => self.command(command, input.len() > line.taken),
                Err(error) => {
                    self.no_command(error);
                    None
                }
            },
        };
        input.advance(line.taken);
        if let Some(Step::StartTls) = step {
            // What came behind the command came in the clear. It would be taken for something that was said inside TLS, and
            // so somebody in between could speak for the client (CVE-2011-0411).
            self.report.injected = self.report.injected.saturating_add(input.len());
            input.clear();
        }
        step
    }

    /// A command. `hurried` is whether something came behind it already.
    fn command(&mut self, command: Command<'_>, hurried: bool) -> Option<Step> {
        if hurried && waits(command) {
            self.report.hurried = self.report.hurried.saturating_add(1);
        }
        self.note_idle(command);
        if matches!(self.state, State::Closed) {
            return None;
        }
        match command {
            Command::Ehlo(name) => return self.hello(name, Protocol::Esmtp),
            Command::Helo(name) => return self.hello(name, Protocol::Smtp),
            Command::Lhlo(name) => return self.hello(name, Protocol::Lmtp),
            Command::Mail(rest) => return self.mail(rest),
            Command::Rcpt(rest) => return self.rcpt(rest),
            Command::Data => return self.data(),
            Command::Bdat { octets, last } => return self.bdat(octets, last),
            Command::Auth { mechanism, initial } => return self.auth(mechanism, initial),
            Command::StartTls => return self.start_tls(),
            Command::Rset => {
                self.abandon();
                self.say(250, Some(EnhancedCode::new(2, 0, 0)), "Ok");
            }
            Command::Noop => self.say(250, Some(EnhancedCode::new(2, 0, 0)), "Ok"),
            // RFC 5321 section 7.3: who exists is told to those who send to him, one at a time.
            Command::Vrfy => {
                let text = "Send to him, and you will see";
                self.say(252, Some(EnhancedCode::new(2, 5, 0)), text);
            }
            Command::Expn => self.say(502, Some(EnhancedCode::new(5, 5, 1)), "EXPN is not for you"),
            Command::Help => {
                let text = "See RFC 5321, and ask postmaster";
                self.say(214, Some(EnhancedCode::new(2, 0, 0)), text);
            }
            Command::Quit => {
                self.say(221, Some(EnhancedCode::new(2, 0, 0)), "Bye");
                self.end(End::Quit);
            }
        }
        None
    }

    /// RFC 5321 section 4.1.1.1; RFC 2033 section 4.1.
    fn hello(&mut self, name: &str, protocol: Protocol) -> Option<Step> {
        if self.is_lmtp() != (protocol == Protocol::Lmtp) {
            let text =
                if self.is_lmtp() { "This is LMTP: say LHLO" } else { "This is SMTP: say EHLO" };
            self.error(500, EnhancedCode::new(5, 5, 1), text);
            return None;
        }
        self.abandon();
        self.hello = Hello::Nothing;
        self.client.helo.clear();
        self.client.helo.push_str(name);
        self.client.protocol = protocol;
        self.state = State::Asked(Asked::Hello);
        Some(Step::Hello)
    }

    /// Answers [`Step::Hello`].
    pub fn greeted(&mut self, decision: Decision) {
        let Some(Asked::Hello) = self.answered() else { return };
        match decision {
            Decision::Accept => self.greet(),
            Decision::Say(reply) if reply.is_positive() => self.greet(),
            other => self.refused(other),
        }
    }

    fn greet(&mut self) {
        if self.client.protocol == Protocol::Smtp {
            self.hello = Hello::Plain;
            let name = self.config.name.to_string();
            self.say(250, None, &name);
            return;
        }
        self.hello = Hello::Extended;
        let limits = &self.config.limits;
        let mut lines: Vec<String> = vec![
            self.config.name.to_string(),
            "PIPELINING".to_owned(),
            format!("SIZE {}", limits.largest_message),
            "8BITMIME".to_owned(),
            "SMTPUTF8".to_owned(),
            "CHUNKING".to_owned(),
            "ENHANCEDSTATUSCODES".to_owned(),
            "DSN".to_owned(),
        ];
        // RFC 9422 section 4.
        let mut limited = format!("LIMITS RCPTMAX={}", limits.recipients);
        if limits.messages < u32::MAX {
            limited.push_str(&format!(" MAILMAX={}", limits.messages));
        }
        lines.push(limited);
        if self.config.requiretls && self.client.tls.is_some() {
            lines.push("REQUIRETLS".to_owned());
        }
        if self.offers.start_tls && self.client.tls.is_none() {
            lines.push("STARTTLS".to_owned());
        }
        if self.may_log_in() {
            let mut auth = "AUTH".to_owned();
            for mechanism in MECHANISMS.into_iter().filter(|&one| self.has(one)) {
                auth.push(' ');
                auth.push_str(mechanism.as_str());
            }
            lines.push(auth);
        }
        let last = lines.len() - 1;
        for (number, line) in lines.iter().enumerate() {
            self.out.extend_from_slice(if number == last { b"250 " } else { b"250-" });
            self.out.extend_from_slice(line.as_bytes());
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// RFC 3207 section 4.
    fn start_tls(&mut self) -> Option<Step> {
        if self.client.tls.is_some() {
            self.error(503, EnhancedCode::new(5, 5, 1), "TLS was started already");
            return None;
        }
        if !self.offers.start_tls {
            self.error(502, EnhancedCode::new(5, 5, 1), "STARTTLS is not offered");
            return None;
        }
        self.say(220, Some(EnhancedCode::new(2, 0, 0)), "Go ahead");
        self.state = State::Asked(Asked::Tls);
        Some(Step::StartTls)
    }

    /// The connection is encrypted. Answers [`Step::StartTls`], or is said before [`Session::welcome`]. `binding` is what
    /// `tls-exporter` of RFC 9266 has.
    pub fn secured(&mut self, facts: TlsFacts, binding: Option<[u8; 32]>) {
        if let Some(Asked::Tls) = self.answered() {
            self.state = State::Command;
        }
        // Everything that was said before, somebody else may have said: RFC 3207 section 4.2.
        self.abandon();
        self.hello = Hello::Nothing;
        self.client.helo.clear();
        self.client.authenticated = None;
        self.client.tls = Some(facts);
        self.binding = binding;
        self.out.clear();
    }

    /// What was asked for, if something was.
    fn answered(&mut self) -> Option<Asked> {
        match std::mem::replace(&mut self.state, State::Command) {
            State::Asked(asked) => Some(asked),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The client gives up what he began.
    fn abandon(&mut self) {
        if self.transaction.take().is_some() {
            self.report.abandoned = self.report.abandoned.saturating_add(1);
        }
    }

    /// What he began is refused.
    fn refuse(&mut self) {
        self.transaction = None;
        self.report.refused = self.report.refused.saturating_add(1);
    }

    fn is_lmtp(&self) -> bool {
        self.config.mode == Mode::Lmtp
    }

    fn may_log_in(&self) -> bool {
        self.config.mode == Mode::Submission
            && self.client.tls.is_some()
            && self.client.authenticated.is_none()
    }

    fn has(&self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::Plain | Mechanism::Login => true,
            Mechanism::ScramSha256 => self.offers.scram,
            Mechanism::ScramSha256Plus => self.offers.scram && self.binding.is_some(),
        }
    }

    fn accept(&mut self, decision: Decision, enhanced: EnhancedCode, text: &str) {
        match decision {
            Decision::Say(reply) => self.reply(&reply),
            _ => self.say(250, Some(enhanced), text),
        }
    }

    fn refused(&mut self, decision: Decision) {
        match decision {
            Decision::Accept => {}
            Decision::Say(reply) => self.reply(&reply),
            Decision::Close(reply) => {
                self.reply(&reply);
                self.end(End::Closed);
            }
        }
    }

    /// A handler's reply. A code that no reply has here would make the client do something else than was meant.
    fn reply(&mut self, reply: &Reply) {
        let (code, enhanced) = match reply.code {
            200..=299 | 400..=599 => (reply.code, reply.enhanced),
            _ => (451, Some(EnhancedCode::new(4, 3, 0))),
        };
        self.say(code, enhanced, &reply.text);
    }

    fn say(&mut self, code: u16, enhanced: Option<EnhancedCode>, text: &str) {
        let utf8 = self.transaction.as_ref().is_some_and(|one| one.mail.parameters.smtputf8);
        response::write(&mut self.out, code, enhanced, text, utf8);
    }
}

const MECHANISMS: [Mechanism; 4] =
    [Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

/// Commands that have to be the last of a group: RFC 2920 section 3.1.
const fn waits(command: Command<'_>) -> bool {
    !matches!(
        command,
        Command::Rset
            | Command::Mail(_)
            | Command::Rcpt(_)
            // RFC 3030 section 4.2.
            | Command::Bdat { .. }
            // Harmless, and some send it behind everything else.
            | Command::Noop
            | Command::Quit
    )
}

#[cfg(test)]
mod tests;
