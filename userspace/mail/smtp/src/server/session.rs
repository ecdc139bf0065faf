//! A session: RFC 5321, and what EHLO says. Octets in, replies out; it neither reads nor waits, and has neither clock nor dice.
//!
//! [`Session::step`] takes from the input until it needs something, and says what: more input, or an answer, which is given by the
//! function that is named after the question. Replies gather in [`Session::output`] until then, so that a client who sends
//! commands in one piece gets the replies in one piece.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use data_encoding::BASE64;
use memchr::memchr;
use muralla_mail_envelope::sasl::{self, Dialog, Mechanism, Password, SaslError};
use muralla_mail_envelope::{
    Body, Client, EnhancedCode, ForwardPath, MailParameters, MessageId, Protocol, RcptParameters,
    Recipient, Reply, ReversePath, TlsFacts,
};

use super::config::{Config, Mode};
use super::handler::{Conversation, Decision, Keys, NotGranted, Proved};
use super::report::{End, Report};
use crate::command::{Command, CommandError};
use crate::framing::{Collector, Fault};
use crate::response;

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

/// What a session needs to go on.
#[derive(Debug)]
pub enum Step {
    /// The client to say more. The output has to be sent before.
    Read,
    /// [`Session::greeted`] of [`Handler::hello`](super::Handler::hello).
    Hello,
    /// [`Session::mail_decided`].
    Mail(MailFrom),
    /// [`Session::rcpt_decided`].
    Rcpt(Recipient),
    /// [`Session::data_decided`].
    Data,
    /// [`Session::message_decided`].
    Message(Incoming),
    /// [`Session::password_checked`].
    Password {
        /// How it was said.
        mechanism: Mechanism,
        /// Whose it is.
        user: String,
        /// What it is.
        password: Password,
    },
    /// [`Session::keys_found`].
    Keys {
        /// Whose.
        user: String,
    },
    /// [`Session::proof_checked`].
    Proof {
        /// Whose.
        user: String,
        /// AuthMessage of RFC 5802.
        message: Vec<u8>,
        /// The proof of it.
        proof: Vec<u8>,
    },
    /// The output to be sent, TLS to be started, and [`Session::secured`]. Nothing that was read before may be used after.
    StartTls,
    /// The output to be sent, and then nothing more.
    Close,
}

/// What `MAIL FROM` said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MailFrom {
    /// The sender.
    pub from: ReversePath,
    /// What was said beside him.
    pub parameters: MailParameters,
}

/// A message that is being sent.
#[derive(Debug)]
pub struct Transaction {
    /// From whom.
    pub mail: MailFrom,
    /// To whom, as far as they were accepted.
    pub recipients: Vec<Recipient>,
    /// Recipients that were refused.
    pub refused: usize,
    /// What came of it by `BDAT`.
    chunks: Option<Collector>,
}

/// A message that came.
#[derive(Debug)]
pub struct Incoming {
    /// From whom.
    pub mail: MailFrom,
    /// To whom.
    pub recipients: Vec<Recipient>,
    /// All of it, without transparency's dots. Each of its lines ends with CRLF, and there is no other CR or LF.
    pub message: Bytes,
}

/// What a client is doing, for those who wait for him.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Nothing: he may be sent away.
    Idle,
    /// Something that he should be let finish.
    Busy,
    /// He sends a message.
    Message,
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

/// What a login came to.
enum Outcome {
    Granted(String),
    Failed(NotGranted),
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

    /// RFC 5321 section 4.1.1.2.
    fn mail(&mut self, rest: &str) -> Option<Step> {
        if self.hello == Hello::Nothing {
            let text = if self.is_lmtp() { "Say LHLO first" } else { "Say EHLO first" };
            self.error(503, EnhancedCode::new(5, 5, 1), text);
            return None;
        }
        if self.transaction.is_some() {
            self.error(503, EnhancedCode::new(5, 5, 1), "A message was begun: RSET gives it up");
            return None;
        }
        if self.config.mode == Mode::Submission {
            // RFC 3207 section 4 and RFC 4954 section 6 have the same code for the two.
            let text = match (&self.client.tls, &self.client.authenticated) {
                (None, _) => "Say STARTTLS first",
                (_, None) => "Log in first",
                _ => "",
            };
            if !text.is_empty() {
                self.error(530, EnhancedCode::new(5, 7, 0), text);
                return None;
            }
        }
        let mail = match self.mail_from(rest) {
            Ok(mail) => mail,
            Err(reply) => {
                self.fault(&reply);
                return None;
            }
        };
        if self.report.mails >= self.config.limits.messages {
            // RFC 9422 section 5: who reads MAILMAX does not get here.
            let text = "Enough messages for one connection: call again";
            self.say(421, Some(EnhancedCode::new(4, 5, 3)), text);
            self.end(End::Closed);
            return None;
        }
        self.report.mails = self.report.mails.saturating_add(1);
        self.state = State::Asked(Asked::Mail);
        Some(Step::Mail(mail))
    }

    fn mail_from(&self, rest: &str) -> Result<MailFrom, Reply> {
        let no = |code, subject, detail, text: &str| {
            Err(Reply::new(code, Some(EnhancedCode::new(5, subject, detail)), text))
        };
        let (from, parameters) = match ReversePath::split(rest) {
            Ok(read) => read,
            Err(error) => return no(501, 1, 7, &error.to_string()),
        };
        let parameters = match MailParameters::parse(parameters) {
            Ok(parameters) => parameters,
            Err(error) => {
                let (code, enhanced) = error.code();
                return Err(Reply::new(code, Some(enhanced), &error.to_string()));
            }
        };
        // What EHLO did not offer is not known: RFC 5321 section 4.1.1.11.
        if parameters.body == Body::BinaryMime {
            return no(555, 5, 4, "BODY=BINARYMIME is not offered");
        }
        if parameters.requiretls && !(self.config.requiretls && self.client.tls.is_some()) {
            return no(555, 5, 4, "REQUIRETLS is not offered");
        }
        if parameters.auth.is_some() && self.config.mode != Mode::Submission {
            return no(555, 5, 4, "AUTH is not offered");
        }
        // RFC 1870 section 6.1.
        let largest = self.config.limits.largest_message;
        if parameters.size.is_some_and(|size| size > largest) {
            return no(552, 3, 4, &format!("A message has at most {largest} octets here"));
        }
        // RFC 6531 section 3.5.
        if from.address().is_some_and(|it| it.needs_utf8()) && !parameters.smtputf8 {
            return no(553, 6, 7, "Such an address needs SMTPUTF8");
        }
        Ok(MailFrom { from, parameters })
    }

    /// Answers [`Step::Mail`].
    pub fn mail_decided(&mut self, mail: MailFrom, decision: Decision) {
        let Some(Asked::Mail) = self.answered() else { return };
        if decision.is_positive() {
            self.transaction =
                Some(Transaction { mail, recipients: Vec::new(), refused: 0, chunks: None });
            self.accept(decision, EnhancedCode::new(2, 1, 0), "Ok");
        } else {
            self.report.refused = self.report.refused.saturating_add(1);
            self.refused(decision);
        }
    }

    /// RFC 5321 section 4.1.1.3.
    fn rcpt(&mut self, rest: &str) -> Option<Step> {
        let Some(transaction) = &self.transaction else {
            self.error(503, EnhancedCode::new(5, 5, 1), "Say MAIL first");
            return None;
        };
        if transaction.chunks.is_some() {
            self.error(503, EnhancedCode::new(5, 5, 1), "The message is being sent");
            return None;
        }
        let recipient = match self.rcpt_to(rest, transaction.mail.parameters.smtputf8) {
            Ok(recipient) => recipient,
            Err(reply) => {
                self.refuse_recipient();
                self.fault(&reply);
                return None;
            }
        };
        if transaction.recipients.len() >= self.config.limits.recipients {
            // RFC 5321 section 4.5.3.1.10: the client sends the message to the rest of them then.
            let text = "Enough recipients: send it to the others as another message";
            self.say(452, Some(EnhancedCode::new(4, 5, 3)), text);
            return None;
        }
        self.state = State::Asked(Asked::Rcpt);
        Some(Step::Rcpt(recipient))
    }

    fn rcpt_to(&self, rest: &str, utf8: bool) -> Result<Recipient, Reply> {
        let no = |code, subject, detail, text: &str| {
            Err(Reply::new(code, Some(EnhancedCode::new(5, subject, detail)), text))
        };
        let (path, parameters) = match ForwardPath::split(rest) {
            Ok(read) => read,
            Err(error) => return no(501, 1, 3, &error.to_string()),
        };
        let parameters = match RcptParameters::parse(parameters) {
            Ok(parameters) => parameters,
            Err(error) => {
                let (code, enhanced) = error.code();
                return Err(Reply::new(code, Some(enhanced), &error.to_string()));
            }
        };
        let address = match (path, &self.config.postmaster) {
            (ForwardPath::Address(address), _) => address,
            (ForwardPath::Postmaster, Some(postmaster)) => postmaster.clone(),
            (ForwardPath::Postmaster, None) => return no(550, 1, 1, "There is no postmaster here"),
        };
        if address.needs_utf8() && !utf8 {
            return no(553, 6, 7, "Such an address needs SMTPUTF8");
        }
        Ok(Recipient { address, parameters })
    }

    /// Answers [`Step::Rcpt`].
    pub fn rcpt_decided(&mut self, recipient: Recipient, decision: Decision) {
        let Some(Asked::Rcpt) = self.answered() else { return };
        if decision.is_positive() {
            self.report.recipients = self.report.recipients.saturating_add(1);
            if let Some(transaction) = &mut self.transaction {
                transaction.recipients.push(recipient);
            }
            return self.accept(decision, EnhancedCode::new(2, 1, 5), "Ok");
        }
        let permanent = match &decision {
            Decision::Say(reply) | Decision::Close(reply) => reply.is_permanent(),
            Decision::Accept => false,
        };
        if let Some(transaction) = &mut self.transaction {
            transaction.refused += 1;
        }
        if permanent {
            self.report.refused_recipients = self.report.refused_recipients.saturating_add(1);
            if let Decision::Say(Reply { enhanced: Some(code), .. })
            | Decision::Close(Reply { enhanced: Some(code), .. }) = &decision
                && (code.subject, code.detail) == (1, 1)
            {
                self.report.unknown_recipients = self.report.unknown_recipients.saturating_add(1);
            }
        }
        self.refused(decision);
        if permanent && self.report.refused_recipients > self.config.limits.refused_recipients {
            self.abuse("Too many recipients were refused");
        }
    }

    fn refuse_recipient(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.refused += 1;
        }
    }

    /// RFC 5321 section 4.1.1.4.
    fn data(&mut self) -> Option<Step> {
        match &self.transaction {
            None => self.error(503, EnhancedCode::new(5, 5, 1), "Say MAIL first"),
            Some(one) if one.chunks.is_some() => {
                // RFC 3030 section 2.
                self.error(503, EnhancedCode::new(5, 5, 1), "The message is being sent by BDAT");
            }
            Some(one) if !one.recipients.is_empty() => {
                self.state = State::Asked(Asked::Data);
                return Some(Step::Data);
            }
            Some(one) if one.refused > 0 => {
                self.error(554, EnhancedCode::new(5, 5, 1), "No recipient was accepted");
            }
            Some(_) => self.error(503, EnhancedCode::new(5, 5, 1), "Say RCPT first"),
        }
        None
    }

    /// Answers [`Step::Data`].
    pub fn data_decided(&mut self, decision: Decision) {
        let asked = self.answered();
        let positive = decision.is_positive();
        let bounds = self.config.bounds();
        match asked {
            Some(Asked::Data) if positive => {
                let expected = self.transaction.as_ref().and_then(|it| it.mail.parameters.size);
                self.say(354, None, "Send it, and end it with a dot alone in a line");
                self.state = State::Data(Collector::new(bounds, expected));
            }
            Some(Asked::Data) => {
                self.refuse();
                self.refused(decision);
            }
            Some(Asked::Chunk(mut chunk)) => {
                match (decision, &mut self.transaction) {
                    (_, Some(transaction)) if positive => {
                        let expected = transaction.mail.parameters.size.unwrap_or(chunk.octets);
                        transaction.chunks = Some(Collector::new(bounds, Some(expected)));
                    }
                    (Decision::Close(reply), _) => {
                        self.reply(&reply);
                        return self.end(End::Closed);
                    }
                    (Decision::Say(reply), _) => chunk.refusal = Some(reply),
                    (Decision::Accept, _) => {}
                }
                self.state = State::Chunk(chunk);
            }
            _ => {}
        }
    }

    /// `DATA` is over.
    fn collected(&mut self, collector: Collector) -> Option<Step> {
        self.report.octets = self.report.octets.saturating_add(collector.octets());
        let transaction = self.transaction.take()?;
        match collector.finish() {
            Ok(message) => Some(self.came(transaction, message)),
            Err(fault) => {
                self.faulty(&transaction, fault);
                None
            }
        }
    }

    fn came(&mut self, transaction: Transaction, message: Bytes) -> Step {
        let Transaction { mail, recipients, .. } = transaction;
        self.state = State::Asked(Asked::Message { recipients: recipients.len() });
        Step::Message(Incoming { mail, recipients, message })
    }

    /// A message came, and can't be taken. The same for each of its recipients in LMTP.
    fn faulty(&mut self, transaction: &Transaction, fault: Fault) {
        self.report.refused = self.report.refused.saturating_add(1);
        let limits = &self.config.limits;
        let (code, enhanced, text) = match fault {
            Fault::BareLineEnd => {
                self.report.bare_line_ends = self.report.bare_line_ends.saturating_add(1);
                let text = "The message has a CR or LF alone: lines end with CR LF (RFC 5321 section 2.3.8)";
                (550, EnhancedCode::new(5, 6, 0), text.to_owned())
            }
            Fault::LongLine => {
                let longest = limits.longest_line;
                let text = format!("The message has a line of more than {longest} octets");
                (550, EnhancedCode::new(5, 6, 0), text)
            }
            Fault::TooBig => {
                let largest = limits.largest_message;
                let text = format!("The message has more than {largest} octets");
                (552, EnhancedCode::new(5, 3, 4), text)
            }
            Fault::NoMemory => {
                let text = "There is no room for the message now: send it again later";
                (452, EnhancedCode::new(4, 3, 1), text.to_owned())
            }
        };
        let replies = if self.is_lmtp() { transaction.recipients.len() } else { 1 };
        for _ in 0..replies {
            self.say(code, Some(enhanced), &text);
        }
        if fault == Fault::BareLineEnd {
            self.count_error();
        }
    }

    /// Whether a client sends on and on although the message is refused already. There is no saying that but by hanging up.
    fn endless(&mut self, collector: &Collector) -> bool {
        let most = self.config.limits.largest_message.saturating_mul(2).saturating_add(1 << 20);
        if collector.fault().is_none() || collector.octets() <= most {
            return false;
        }
        self.report.octets = self.report.octets.saturating_add(collector.octets());
        self.say(552, Some(EnhancedCode::new(5, 3, 4)), "The message is far too large");
        self.end(End::Abusive);
        true
    }

    /// RFC 3030 section 2. Whatever is wrong, the octets come, and must not be taken for commands.
    fn bdat(&mut self, octets: u64, last: bool) -> Option<Step> {
        let limits = &self.config.limits;
        if octets > limits.largest_message.saturating_mul(2).saturating_add(1 << 20) {
            self.say(552, Some(EnhancedCode::new(5, 3, 4)), "The chunk is far too large");
            self.end(End::Abusive);
            return None;
        }
        let chunk = Chunk { octets, remaining: octets, last, refusal: None };
        let no = |code, text| Reply::new(code, Some(EnhancedCode::new(5, 5, 1)), text);
        let refusal = match &self.transaction {
            None => Some(no(503, "Say MAIL first")),
            Some(one) if one.chunks.is_some() => None,
            Some(one) if !one.recipients.is_empty() => {
                self.state = State::Asked(Asked::Chunk(chunk));
                return Some(Step::Data);
            }
            Some(one) if one.refused > 0 => Some(no(554, "No recipient was accepted")),
            Some(_) => Some(no(503, "Say RCPT first")),
        };
        self.state = State::Chunk(Chunk { refusal, ..chunk });
        None
    }

    fn take_chunk(&mut self, chunk: &mut Chunk, input: &mut BytesMut) {
        let here = usize::try_from(chunk.remaining).unwrap_or(usize::MAX).min(input.len());
        chunk.remaining -= u64::try_from(here).unwrap_or(chunk.remaining);
        self.report.octets = self.report.octets.saturating_add(u64::try_from(here).unwrap_or(0));
        if chunk.refusal.is_none()
            && let Some(collector) = self.transaction.as_mut().and_then(|it| it.chunks.as_mut())
        {
            collector.counted(input.get(..here).unwrap_or_default());
        }
        input.advance(here);
    }

    fn chunk_ended(&mut self, chunk: Chunk) -> Option<Step> {
        if let Some(reply) = chunk.refusal {
            // A message that was begun is given up: the chunks that follow find none.
            if self.transaction.as_ref().is_some_and(|one| !one.recipients.is_empty()) {
                self.refuse();
                self.reply(&reply);
            } else {
                self.fault(&reply);
            }
            return None;
        }
        let fault = self.transaction.as_ref().and_then(|it| it.chunks.as_ref()?.fault());
        if let Some(fault) = fault {
            // RFC 3030 section 2: it is over with the first chunk that fails. In LMTP, replies for each recipient are due
            // for the last chunk alone: RFC 2033 section 4.2, as RFC 3030 has it.
            let transaction = self.transaction.take()?;
            if !chunk.last && self.is_lmtp() {
                let one = Transaction {
                    recipients: transaction.recipients.into_iter().take(1).collect(),
                    ..transaction
                };
                self.faulty(&one, fault);
            } else {
                self.faulty(&transaction, fault);
            }
            return None;
        }
        if !chunk.last {
            let text = format!("{} octets", chunk.octets);
            self.say(250, Some(EnhancedCode::new(2, 0, 0)), &text);
            return None;
        }
        let mut transaction = self.transaction.take()?;
        let mut collector = transaction.chunks.take()?;
        collector.end();
        match collector.finish() {
            Ok(message) => Some(self.came(transaction, message)),
            Err(fault) => {
                self.faulty(&transaction, fault);
                None
            }
        }
    }

    /// Answers [`Step::Message`]: one decision, or in LMTP one for each recipient. `id` is what we call the message.
    pub fn message_decided(&mut self, id: &MessageId, decisions: Vec<Decision>) {
        let Some(Asked::Message { recipients }) = self.answered() else { return };
        let replies = if self.is_lmtp() { recipients } else { 1 };
        let mut decisions = decisions.into_iter();
        let mut accepted = false;
        let mut close = false;
        for _ in 0..replies {
            // A handler that gives too few has taken nothing of the rest.
            match decisions.next().unwrap_or_else(|| {
                Decision::temporary(451, 3, 0, "The message could not be delivered now")
            }) {
                Decision::Accept => {
                    accepted = true;
                    let text = format!("Ok, it is {id} here");
                    self.say(250, Some(EnhancedCode::new(2, 0, 0)), &text);
                }
                Decision::Say(reply) => {
                    accepted |= reply.is_positive();
                    self.reply(&reply);
                }
                Decision::Close(reply) => {
                    // All replies are due, and each has its place.
                    close = true;
                    self.reply(&reply);
                }
            }
        }
        let count = if accepted { &mut self.report.accepted } else { &mut self.report.refused };
        *count = count.saturating_add(1);
        if close {
            self.end(End::Closed);
        }
    }

    /// RFC 4954 section 4.
    fn auth(&mut self, mechanism: &str, initial: Option<&str>) -> Option<Step> {
        let error = |session: &mut Self, code, subject, detail, text| {
            session.error(code, EnhancedCode::new(5, subject, detail), text);
            None
        };
        if self.config.mode != Mode::Submission {
            return error(self, 502, 5, 1, "AUTH is not offered");
        }
        if self.client.authenticated.is_some() {
            return error(self, 503, 5, 1, "You are logged in");
        }
        if self.transaction.is_some() {
            return error(self, 503, 5, 1, "Log in before MAIL");
        }
        if self.client.tls.is_none() {
            return error(self, 538, 7, 11, "Say STARTTLS first");
        }
        if self.hello != Hello::Extended {
            return error(self, 503, 5, 1, "Say EHLO first");
        }
        let Some(mechanism) = Mechanism::parse(mechanism).filter(|&one| self.has(one)) else {
            return error(self, 504, 5, 4, "That mechanism is not offered");
        };
        let binding = self.binding.as_ref().map(|binding| &binding[..]);
        let dialog = Dialog::new(mechanism, (self.random)(), binding);
        let login = Login { dialog, mechanism, account: None };
        match initial {
            None => {
                let challenge = BASE64.encode(login.dialog.opening());
                self.state = State::Login(login);
                self.say(334, None, &challenge);
                None
            }
            Some("=") => self.respond(login, b""),
            Some(text) => match BASE64.decode(text.as_bytes()) {
                Ok(response) => self.respond(login, &response),
                Err(_) => error(self, 501, 5, 2, "The response is not in base64"),
            },
        }
    }

    fn login_line(&mut self, login: Login, line: Result<Vec<u8>, BadLine>) -> Option<Step> {
        let response = match line {
            Ok(line) if line == b"*" => {
                self.error(501, EnhancedCode::new(5, 7, 0), "The login was given up");
                return None;
            }
            Ok(line) => BASE64.decode(&line),
            Err(bad) => {
                self.bad_line(bad);
                return None;
            }
        };
        match response {
            Ok(response) => self.respond(login, &response),
            Err(_) => {
                self.error(501, EnhancedCode::new(5, 5, 2), "The response is not in base64");
                None
            }
        }
    }

    fn respond(&mut self, mut login: Login, response: &[u8]) -> Option<Step> {
        let step = match login.dialog.respond(response) {
            Ok(step) => step,
            Err(error) => {
                match error {
                    SaslError::Malformed | SaslError::TooLong => {
                        self.error(501, EnhancedCode::new(5, 5, 2), &error.to_string());
                    }
                    other => {
                        let reply =
                            Reply::new(535, Some(EnhancedCode::new(5, 7, 8)), &other.to_string());
                        self.logged_in(Outcome::Failed(NotGranted::Say(reply)));
                    }
                }
                return None;
            }
        };
        let asks = match step {
            sasl::Step::Challenge(challenge) => {
                self.challenge(login, &challenge);
                return None;
            }
            sasl::Step::Proved { user } => {
                let account = login.account.take().unwrap_or(user);
                self.logged_in(Outcome::Granted(account));
                return None;
            }
            sasl::Step::Password { user, password } => {
                Step::Password { mechanism: login.mechanism, user, password }
            }
            sasl::Step::Keys { user } => Step::Keys { user },
            sasl::Step::Proof { user, message, proof } => Step::Proof { user, message, proof },
        };
        self.state = State::Asked(Asked::Login(login));
        Some(asks)
    }

    fn challenge(&mut self, login: Login, challenge: &[u8]) {
        // Some challenges are longer than a line of a reply: RFC 4954 section 4 lets them be, and has them in one.
        self.out.extend_from_slice(b"334 ");
        self.out.extend_from_slice(BASE64.encode(challenge).as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.state = State::Login(login);
    }

    /// Answers [`Step::Password`]: the account, if the password is his.
    pub fn password_checked(&mut self, checked: Result<String, NotGranted>) {
        let Some(Asked::Login(_)) = self.answered() else { return };
        self.logged_in(match checked {
            Ok(account) => Outcome::Granted(account),
            Err(error) => Outcome::Failed(error),
        });
    }

    /// Answers [`Step::Keys`].
    pub fn keys_found(&mut self, keys: Result<Keys, NotGranted>) {
        let Some(Asked::Login(mut login)) = self.answered() else { return };
        match keys {
            Err(error) => self.logged_in(Outcome::Failed(error)),
            Ok(keys) => match login.dialog.keys(&keys.salt, keys.iterations) {
                Ok(challenge) => self.challenge(login, &challenge),
                Err(_) => self.logged_in(Outcome::Failed(NotGranted::Wrong)),
            },
        }
    }

    /// Answers [`Step::Proof`].
    pub fn proof_checked(&mut self, proved: Result<Proved, NotGranted>) {
        let Some(Asked::Login(mut login)) = self.answered() else { return };
        match proved {
            Err(error) => self.logged_in(Outcome::Failed(error)),
            Ok(proved) => match login.dialog.proved(&proved.signature) {
                Ok(challenge) => {
                    login.account = Some(proved.account);
                    self.challenge(login, &challenge);
                }
                Err(_) => self.logged_in(Outcome::Failed(NotGranted::Wrong)),
            },
        }
    }

    fn logged_in(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Granted(account) => {
                self.client.authenticated = Some(account);
                self.say(235, Some(EnhancedCode::new(2, 7, 0)), "Welcome");
                return;
            }
            Outcome::Failed(NotGranted::Away) => {
                let text = "Logins can't be checked now: try again later";
                self.say(454, Some(EnhancedCode::new(4, 7, 0)), text);
                return;
            }
            Outcome::Failed(NotGranted::Wrong) => {
                self.say(535, Some(EnhancedCode::new(5, 7, 8)), "Name or password is wrong");
            }
            Outcome::Failed(NotGranted::Say(reply)) => {
                self.reply(&reply);
                if !reply.is_permanent() {
                    return;
                }
            }
        }
        self.report.failed_logins = self.report.failed_logins.saturating_add(1);
        if self.report.failed_logins >= self.config.limits.failed_logins {
            self.abuse("Too many logins failed");
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

    fn note_idle(&mut self, command: Command<'_>) {
        match command {
            Command::Mail(_) | Command::Rcpt(_) | Command::Data | Command::Bdat { .. } => {
                self.idle = 0;
            }
            Command::Quit => {}
            _ => {
                self.idle = self.idle.saturating_add(1);
                if self.idle > self.config.limits.idle_commands {
                    self.count_error();
                }
            }
        }
    }

    fn bad_line(&mut self, bad: BadLine) {
        match bad {
            BadLine::End => {
                self.report.bare_line_ends = self.report.bare_line_ends.saturating_add(1);
                self.error(
                    500,
                    EnhancedCode::new(5, 5, 2),
                    "Lines end with CR LF, and have neither alone",
                );
            }
            BadLine::Long => self.error(500, EnhancedCode::new(5, 5, 6), "The line is too long"),
        }
    }

    fn no_command(&mut self, error: CommandError) {
        let (code, detail) = match error {
            CommandError::Unknown => (500, 1),
            CommandError::Octets => (500, 2),
            CommandError::Arguments(_) | CommandError::Bdat => (501, 4),
            CommandError::Foreign => {
                self.report.foreign = true;
                self.say(421, Some(EnhancedCode::new(4, 7, 0)), "This is a mail server");
                return self.end(End::Abusive);
            }
        };
        self.error(code, EnhancedCode::new(5, 5, detail), &error.to_string());
        if error == CommandError::Bdat {
            // Octets follow, nobody knows how many, and the next commands may be among them.
            self.say(421, Some(EnhancedCode::new(4, 5, 0)), "Where the chunk ends can't be known");
            self.end(End::Abusive);
        }
    }

    /// Something was wrong with a command.
    fn error(&mut self, code: u16, enhanced: EnhancedCode, text: &str) {
        self.say(code, Some(enhanced), text);
        self.count_error();
    }

    fn fault(&mut self, reply: &Reply) {
        self.reply(reply);
        self.count_error();
    }

    fn count_error(&mut self) {
        self.report.errors = self.report.errors.saturating_add(1);
        if self.report.errors > self.config.limits.errors {
            self.abuse("Too many errors");
        }
    }

    fn abuse(&mut self, text: &str) {
        if !matches!(self.state, State::Closed) {
            self.say(421, Some(EnhancedCode::new(4, 7, 0)), text);
            self.end(End::Abusive);
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

/// A line of the input.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// Octets, its end included.
    taken: usize,
    /// Octets without that, if it can be read.
    read: Result<usize, BadLine>,
}

/// Why a line can't be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum BadLine {
    /// It ends without CR, or has one inside.
    End,
    /// It is too long.
    Long,
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

impl Transaction {
    fn memory(&self) -> usize {
        self.chunks.as_ref().map_or(0, Collector::memory)
    }
}

#[cfg(test)]
mod tests;
