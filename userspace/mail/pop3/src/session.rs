//! The dialog, without I/O: what the client sent goes in, and out come replies and wishes. Pure; the randomness that it needs
//! is an argument, and of time it knows nothing.
//!
//! Whoever runs it calls [`Session::step`], writes [`Session::output`] away where the step says so, and does what it says. Each
//! wish has its answer, without which the session does not go on.

use std::io::Write;

use data_encoding::BASE64;
use memchr::memchr;
use muralla_mail_envelope::sasl::{
    Dialog, Mechanism, NONCE, Password, SaslError, Step as SaslStep,
};

use crate::command::{self, Command, CommandError, LONGEST_LINE, LONGEST_RESPONSE};
use crate::handler::{MaildropError, Refused, ScramParameters};
use crate::listing::{Listing, Marks, Message};

/// Output that is gathered before it is to be written, in octets. A little more may come at once.
pub const MOST_OUTPUT: usize = 32 * 1024;

/// What a session may do, and what it was given.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This server's name, for its greeting.
    pub name: String,
    /// Whether the connection is encrypted from its start.
    pub encrypted: bool,
    /// Whether it can be encrypted by `STLS`.
    pub offers_tls: bool,
    /// Whether anybody may log in without encryption.
    pub unencrypted_login: bool,
    /// Whether `SCRAM-SHA-256` is offered.
    pub scram: bool,
    /// After how many days messages are removed, if they are: the `EXPIRE` capability.
    pub expire_days: Option<u32>,
    /// After how many mistakes the connection is closed.
    pub most_errors: u32,
    /// After how many refused logins the connection is closed.
    pub most_failures: u32,
    /// Random octets.
    pub nonce: [u8; NONCE],
    /// Octets exported from the TLS connection (`tls-exporter`, RFC 9266), where it is encrypted from its start.
    pub binding: Option<[u8; 32]>,
}

/// What is to be done next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Write the output, and read: what comes goes to [`Session::receive`].
    Read,
    /// Write the output; there is more where it comes from.
    Write,
    /// Write the output, and begin TLS; then [`Session::tls_started`].
    StartTls,
    /// Is that his password? [`Session::logged_in`] with what is in his maildrop.
    Login {
        /// Who he says he is.
        user: String,
        /// What he says to prove it.
        password: Password,
    },
    /// What were his keys made with? [`Session::keys`].
    Keys {
        /// Who he says he is.
        user: String,
    },
    /// Does that proof fit? [`Session::proved`].
    Proof {
        /// Who he says he is.
        user: String,
        /// What was said.
        message: Vec<u8>,
        /// His proof of it.
        proof: Vec<u8>,
    },
    /// What is in the maildrop of whose proof was right? [`Session::logged_in`].
    Enter,
    /// Fetch a message, all of it or its header and so many lines; [`Session::opened`], and then it goes to the client, behind
    /// the output, and [`Session::sent`].
    Retrieve {
        /// Which one.
        message: Message,
        /// Lines of its content, or all.
        lines: Option<u64>,
    },
    /// Make that last; [`Session::committed`].
    Commit(Changes),
    /// Write the output, and close.
    Close(End),
}

/// What a session leaves behind.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// The uids of messages to be removed.
    pub deleted: Vec<u64>,
    /// The uids of messages that the client has, and that stay.
    pub retrieved: Vec<u64>,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum End {
    /// The client said so.
    Quit,
    /// The client went away without a word: nothing is removed (RFC 1939 section 6).
    Gone,
    /// The client said nothing for too long: nothing is removed, and nothing is said (section 3).
    Silent,
    /// Too many mistakes.
    Errors,
    /// Another protocol was spoken.
    Foreign,
    /// Too many refused logins.
    Failures,
    /// The connection broke, or a message did on its way.
    Broken,
    /// This server is going down.
    Stopped,
}

/// What a session did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Facts {
    /// Who logged in.
    pub user: Option<String>,
    /// Whether the connection was encrypted at its end.
    pub encrypted: bool,
    /// Logins with a wrong name or password, or too many of them.
    pub failures: u32,
    /// Logins with the right password that were refused all the same.
    pub disabled: u32,
    /// Mistakes: what is no command, or none where it was said.
    pub errors: u32,
    /// Whether there was anything behind `STLS` that somebody wanted to be taken for encrypted.
    pub injected: bool,
    /// Messages that were in the maildrop.
    pub messages: usize,
    /// Messages that went to the client, whole.
    pub retrieved: u32,
    /// Octets of messages that went to the client.
    pub octets: u64,
    /// Messages that were removed.
    pub deleted: usize,
    /// Why it ended.
    pub end: Option<End>,
}

impl Facts {
    /// Logins that were refused, guessed or not.
    #[must_use]
    pub const fn refused_logins(&self) -> u32 {
        self.failures.saturating_add(self.disabled)
    }
}

/// A session with one client.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    input: Vec<u8>,
    /// How much of the input is done with.
    done: usize,
    /// The rest of a line that is too long is passed over.
    skipping: bool,
    line: Vec<u8>,
    output: Vec<u8>,
    phase: Phase,
    facts: Facts,
}

#[derive(Debug)]
enum Phase {
    /// AUTHORIZATION, and who said `USER`.
    Authorization(Option<String>),
    /// A SASL dialog, whose next word is the client's.
    Sasl(Dialog),
    /// Something was asked for.
    Asked(Asked),
    /// TRANSACTION.
    Transaction(Box<Transaction>),
    /// Over.
    Over(End),
}

#[derive(Debug)]
enum Asked {
    Tls,
    Login(String),
    Keys(Dialog),
    Proof(Dialog),
    Retrieve(Box<Transaction>, usize, Option<u64>),
    Commit(usize),
    /// Nobody answered, so nothing goes on.
    Nothing,
}

#[derive(Debug)]
struct Transaction {
    listing: Listing,
    deleted: Marks,
    deleted_octets: u64,
    retrieved: Marks,
    /// A list that is being written.
    running: Option<(List, usize)>,
}

#[derive(Clone, Copy, Debug)]
enum List {
    Sizes,
    UniqueIds,
}

enum Line {
    /// It is in `line`.
    Whole,
    TooLong,
}

impl Session {
    /// A session that begins: its greeting is there to be written.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut session = Self {
            facts: Facts { encrypted: settings.encrypted, ..Facts::default() },
            settings,
            input: Vec::new(),
            done: 0,
            skipping: false,
            line: Vec::new(),
            output: Vec::new(),
            phase: Phase::Authorization(None),
        };
        let greeting = format!("+OK {} POP3 server ready", session.settings.name);
        session.say(&greeting);
        session
    }

    /// What the client sent.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.drain(..self.done);
        self.done = 0;
        self.input.extend_from_slice(bytes);
    }

    /// What is to be written. Whoever writes it empties it.
    pub const fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Whether somebody is logged in.
    #[must_use]
    pub const fn is_logged_in(&self) -> bool {
        matches!(self.phase, Phase::Transaction(_) | Phase::Asked(Asked::Retrieve(..)))
    }

    /// What it did so far.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The next thing to do.
    pub fn step(&mut self) -> Step {
        loop {
            if self.output.len() >= MOST_OUTPUT {
                return Step::Write;
            }
            match &mut self.phase {
                Phase::Over(end) => return Step::Close(*end),
                Phase::Asked(_) => return self.end(End::Broken),
                Phase::Transaction(transaction) if transaction.running.is_some() => {
                    transaction.run(&mut self.output);
                    continue;
                }
                _ => {}
            }
            let Some(line) = self.next_line() else { return Step::Read };
            let step = match line {
                Line::Whole => {
                    let line = std::mem::take(&mut self.line);
                    let step = self.take(&line);
                    self.line = line;
                    step
                }
                Line::TooLong => {
                    if matches!(self.phase, Phase::Sasl(_)) {
                        self.phase = Phase::Authorization(None);
                    }
                    self.mistake("Line too long")
                }
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    /// Ends it, for what the client does not know of.
    pub fn end(&mut self, end: End) -> Step {
        self.phase = Phase::Over(end);
        self.facts.end = Some(end);
        Step::Close(end)
    }

    /// TLS has begun. What the client sent before it is forgotten (RFC 2595 section 4): anybody could have.
    pub fn tls_started(&mut self, binding: Option<[u8; 32]>) {
        if !matches!(self.phase, Phase::Asked(Asked::Tls)) {
            return;
        }
        self.facts.injected |= self.done < self.input.len();
        self.input.clear();
        self.done = 0;
        self.facts.encrypted = true;
        self.settings.encrypted = true;
        self.settings.binding = binding;
        self.phase = Phase::Authorization(None);
    }

    /// What [`Step::Login`] or [`Step::Enter`] asked for.
    pub fn logged_in(&mut self, answer: Result<Listing, Refused>) {
        let Phase::Asked(Asked::Login(user)) = self.asked() else { return };
        match answer {
            Ok(listing) => {
                let (count, octets) = (listing.len(), listing.octets());
                self.say(&format!("+OK {count} messages ({octets} octets)"));
                self.facts.user = Some(user);
                self.facts.messages = count;
                self.phase = Phase::Transaction(Box::new(Transaction {
                    listing,
                    deleted: Marks::default(),
                    deleted_octets: 0,
                    retrieved: Marks::default(),
                    running: None,
                }));
            }
            Err(refused) => self.refuse(refused),
        }
    }

    /// What [`Step::Keys`] asked for.
    pub fn keys(&mut self, answer: Result<ScramParameters, Refused>) {
        let Phase::Asked(Asked::Keys(mut dialog)) = self.asked() else { return };
        match answer {
            Ok(keys) => match dialog.keys(&keys.salt, keys.iterations) {
                Ok(challenge) => self.challenge(dialog, &challenge),
                Err(_) => self.refuse(Refused::Unavailable),
            },
            Err(refused) => self.refuse(refused),
        }
    }

    /// What [`Step::Proof`] asked for: the signature that shows the client that his keys are known.
    pub fn proved(&mut self, answer: Result<&[u8], Refused>) {
        let Phase::Asked(Asked::Proof(mut dialog)) = self.asked() else { return };
        match answer {
            Ok(signature) => match dialog.proved(signature) {
                Ok(challenge) => self.challenge(dialog, &challenge),
                Err(_) => self.refuse(Refused::Unavailable),
            },
            Err(refused) => self.refuse(refused),
        }
    }

    /// Whether [`Step::Retrieve`] found its message. If it did, the message goes behind the output.
    pub fn opened(&mut self, answer: Result<(), MaildropError>) {
        let Phase::Asked(Asked::Retrieve(mut transaction, at, lines)) = self.asked() else {
            return;
        };
        match (answer, lines) {
            (Ok(()), None) => {
                let size = transaction.listing.message(at).map_or(0, |message| message.size);
                transaction.retrieved.insert(at);
                self.facts.retrieved = self.facts.retrieved.saturating_add(1);
                self.say(&format!("+OK {size} octets"));
            }
            (Ok(()), Some(_)) => self.say("+OK Top of message follows"),
            (Err(MaildropError::Gone), _) => self.say("-ERR The message was removed meanwhile"),
            (Err(MaildropError::Unavailable), _) => {
                self.say("-ERR [SYS/TEMP] The message can't be read now: please try again later");
            }
            (Err(MaildropError::Broken), _) => {
                self.say("-ERR [SYS/PERM] The message can't be read")
            }
        }
        self.phase = Phase::Transaction(transaction);
    }

    /// So many octets of a message went to the client.
    pub const fn sent(&mut self, octets: u64) {
        self.facts.octets = self.facts.octets.saturating_add(octets);
    }

    /// Whether [`Step::Commit`] was done.
    pub fn committed(&mut self, answer: Result<(), MaildropError>) {
        let Phase::Asked(Asked::Commit(deleted)) = self.asked() else { return };
        match answer {
            Ok(()) => {
                self.facts.deleted = deleted;
                self.say("+OK Bye");
            }
            // That a message was read is not worth a word.
            Err(_) if deleted == 0 => self.say("+OK Bye"),
            Err(_) => self.say("-ERR [SYS/TEMP] Deleted messages may still be there"),
        }
        self.end(End::Quit);
    }

    /// What was asked for, if anything: it is answered once.
    fn asked(&mut self) -> Phase {
        match &self.phase {
            Phase::Asked(_) => std::mem::replace(&mut self.phase, Phase::Asked(Asked::Nothing)),
            _ => Phase::Over(End::Broken),
        }
    }

    /// Takes a line, if there is a whole one.
    fn next_line(&mut self) -> Option<Line> {
        let pending = self.input.get(self.done..).unwrap_or_default();
        let Some(at) = memchr(b'\n', pending) else {
            if self.skipping || pending.len() > LONGEST_RESPONSE {
                self.skipping = true;
                self.done = self.input.len();
            }
            return None;
        };
        let line = pending.get(..at).unwrap_or_default();
        // A response, or a command that may have one with it.
        let long = matches!(self.phase, Phase::Sasl(_))
            || line.get(..4).is_some_and(|keyword| keyword.eq_ignore_ascii_case(b"AUTH"));
        let most = if long { LONGEST_RESPONSE } else { LONGEST_LINE };
        let fits = !self.skipping && line.len() < most;
        if fits {
            self.line.clear();
            // Lines end with CRLF. LF alone is forgiven: nothing can be smuggled where nobody passes anything on.
            self.line.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        }
        self.skipping = false;
        self.done += at + 1;
        Some(if fits { Line::Whole } else { Line::TooLong })
    }

    fn take(&mut self, line: &[u8]) -> Option<Step> {
        if let Phase::Sasl(_) = self.phase {
            return self.take_response(line);
        }
        let command = match command::parse(line) {
            Ok(command) => command,
            Err(CommandError::Foreign) => {
                self.say("-ERR This is a POP3 server");
                return Some(self.end(End::Foreign));
            }
            // A message that can't be there is no mistake, and neither is one that is not.
            Err(CommandError::Number) if self.is_logged_in() => {
                self.say("-ERR No such message");
                return None;
            }
            Err(CommandError::Number) => return self.mistake("Log in first"),
            Err(error) => return self.mistake(&error.to_string()),
        };
        match std::mem::replace(&mut self.phase, Phase::Asked(Asked::Nothing)) {
            Phase::Authorization(user) => {
                self.phase = Phase::Authorization(None);
                self.authorize(command, user)
            }
            Phase::Transaction(transaction) => self.transact(command, transaction),
            other => {
                self.phase = other;
                None
            }
        }
    }

    fn authorize(&mut self, command: Command<'_>, user: Option<String>) -> Option<Step> {
        let may_log_in = self.may_log_in();
        match (command, user) {
            (Command::User(_) | Command::Pass(_) | Command::Auth { .. }, _) if !may_log_in => {
                self.mistake("Nobody logs in without encryption: say STLS first")
            }
            (Command::User(name), _) => {
                self.phase = Phase::Authorization(Some(name.to_owned()));
                // Whoever that is: it is the password that decides.
                self.say("+OK");
                None
            }
            (Command::Pass(password), Some(user)) => {
                self.phase = Phase::Asked(Asked::Login(user.clone()));
                Some(Step::Login { user, password: Password::new(password) })
            }
            (Command::Pass(_), None) => self.mistake("Say USER first"),
            (Command::Auth { mechanism, initial }, _) => self.begin_dialog(mechanism, initial),
            (Command::Mechanisms, user) => {
                self.phase = Phase::Authorization(user);
                self.say("+OK");
                for mechanism in self.mechanisms() {
                    self.say(mechanism.as_str());
                }
                self.say(".");
                None
            }
            (Command::Stls, _) if self.settings.encrypted => {
                self.mistake("The connection is encrypted already")
            }
            (Command::Stls, _) if !self.settings.offers_tls => self.mistake("There is no TLS here"),
            (Command::Stls, _) => {
                self.say("+OK Begin TLS");
                self.phase = Phase::Asked(Asked::Tls);
                Some(Step::StartTls)
            }
            (Command::Capa, user) => {
                self.phase = Phase::Authorization(user);
                self.capabilities(self.settings.offers_tls && !self.settings.encrypted);
                None
            }
            (Command::Utf8, user) => {
                self.phase = Phase::Authorization(user);
                // RFC 6856 section 2.1. Nothing changes: names and passwords are UTF-8 anyway, and messages go as they are,
                // because a client that can't show one can fetch and delete it, but could do neither with an error.
                self.say("+OK UTF-8");
                None
            }
            (Command::Quit, _) => {
                self.say("+OK Bye");
                Some(self.end(End::Quit))
            }
            (_, user) => {
                self.phase = Phase::Authorization(user);
                self.mistake("Log in first")
            }
        }
    }

    fn transact(
        &mut self,
        command: Command<'_>,
        mut transaction: Box<Transaction>,
    ) -> Option<Step> {
        match command {
            Command::Retr(number) => return self.fetch(transaction, number, None),
            Command::Top(number, lines) => return self.fetch(transaction, number, Some(lines)),
            Command::Quit => return self.quit(&transaction),
            Command::Stat => {
                let (count, octets) = transaction.left();
                self.say(&format!("+OK {count} {octets}"));
            }
            Command::List(None) => {
                let (count, octets) = transaction.left();
                self.say(&format!("+OK {count} messages ({octets} octets)"));
                transaction.running = Some((List::Sizes, 0));
            }
            Command::Uidl(None) => {
                self.say("+OK Unique ids follow");
                transaction.running = Some((List::UniqueIds, 0));
            }
            Command::List(Some(number)) => self.one(&transaction, number, List::Sizes),
            Command::Uidl(Some(number)) => self.one(&transaction, number, List::UniqueIds),
            Command::Dele(number) => match transaction.find(number) {
                Ok((at, message)) => {
                    transaction.deleted.insert(at);
                    transaction.deleted_octets =
                        transaction.deleted_octets.saturating_add(message.size);
                    self.say("+OK Message is deleted");
                }
                Err(reason) => self.say(reason),
            },
            Command::Rset => {
                transaction.deleted.clear();
                transaction.deleted_octets = 0;
                let (count, octets) = transaction.left();
                self.say(&format!("+OK {count} messages ({octets} octets)"));
            }
            Command::Noop => self.say("+OK"),
            Command::Capa => self.capabilities(false),
            Command::User(_)
            | Command::Pass(_)
            | Command::Auth { .. }
            | Command::Mechanisms
            | Command::Stls
            | Command::Utf8 => {
                self.phase = Phase::Transaction(transaction);
                return self.mistake("You are logged in already");
            }
        }
        self.phase = Phase::Transaction(transaction);
        None
    }

    fn fetch(
        &mut self,
        transaction: Box<Transaction>,
        number: u32,
        lines: Option<u64>,
    ) -> Option<Step> {
        match transaction.find(number) {
            Ok((at, message)) => {
                self.phase = Phase::Asked(Asked::Retrieve(transaction, at, lines));
                Some(Step::Retrieve { message, lines })
            }
            Err(reason) => {
                self.say(reason);
                self.phase = Phase::Transaction(transaction);
                None
            }
        }
    }

    fn one(&mut self, transaction: &Transaction, number: u32, list: List) {
        match transaction.find(number) {
            Ok((at, _)) => {
                self.output.extend_from_slice(b"+OK ");
                transaction.write(at, list, &mut self.output);
            }
            Err(reason) => self.say(reason),
        }
    }

    /// The UPDATE state: RFC 1939 section 6.
    fn quit(&mut self, transaction: &Transaction) -> Option<Step> {
        let uid = |at| transaction.listing.message(at).map(|message| message.uid);
        let changes = Changes {
            deleted: transaction.deleted.iter().filter_map(uid).collect(),
            retrieved: transaction
                .retrieved
                .iter()
                .filter(|&at| !transaction.deleted.contains(at))
                .filter_map(uid)
                .collect(),
        };
        if changes == Changes::default() {
            self.say("+OK Bye");
            return Some(self.end(End::Quit));
        }
        self.phase = Phase::Asked(Asked::Commit(changes.deleted.len()));
        Some(Step::Commit(changes))
    }

    fn begin_dialog(&mut self, mechanism: &str, initial: Option<&str>) -> Option<Step> {
        let known =
            Mechanism::parse(mechanism).filter(|one| self.mechanisms().any(|has| has == *one));
        let Some(mechanism) = known else {
            return self.mistake("Unknown mechanism");
        };
        // Another one for each attempt.
        let mut nonce = self.settings.nonce;
        if let Some(last) = nonce.last_mut() {
            *last = last.wrapping_add(1);
        }
        self.settings.nonce = nonce;
        let binding = self.settings.binding;
        let dialog = Dialog::new(mechanism, nonce, binding.as_ref().map(|bytes| &bytes[..]));
        match initial {
            // RFC 5034 section 4: a response of nothing.
            Some("=") => self.answer(dialog, b""),
            Some(initial) => match BASE64.decode(initial.as_bytes()) {
                Ok(initial) => self.answer(dialog, &initial),
                Err(_) => self.mistake("That is not base64"),
            },
            None => {
                let opening = dialog.opening();
                self.challenge(dialog, opening);
                None
            }
        }
    }

    fn take_response(&mut self, line: &[u8]) -> Option<Step> {
        let Phase::Sasl(dialog) = std::mem::replace(&mut self.phase, Phase::Authorization(None))
        else {
            return None;
        };
        if line == b"*" {
            return self.mistake("Cancelled, as you wished");
        }
        match BASE64.decode(line) {
            Ok(response) => self.answer(dialog, &response),
            Err(_) => self.mistake("That is not base64"),
        }
    }

    /// What comes of a response.
    fn answer(&mut self, mut dialog: Dialog, response: &[u8]) -> Option<Step> {
        match dialog.respond(response) {
            Ok(SaslStep::Challenge(challenge)) => {
                self.challenge(dialog, &challenge);
                None
            }
            Ok(SaslStep::Password { user, password }) => {
                self.phase = Phase::Asked(Asked::Login(user.clone()));
                Some(Step::Login { user, password })
            }
            Ok(SaslStep::Keys { user }) => {
                self.phase = Phase::Asked(Asked::Keys(dialog));
                Some(Step::Keys { user })
            }
            Ok(SaslStep::Proof { user, message, proof }) => {
                self.phase = Phase::Asked(Asked::Proof(dialog));
                Some(Step::Proof { user, message, proof })
            }
            Ok(SaslStep::Proved { user }) => {
                self.phase = Phase::Asked(Asked::Login(user));
                Some(Step::Enter)
            }
            // Who is who he may not be has failed; who can't say it has made a mistake.
            Err(error @ (SaslError::Authorisation | SaslError::Binding)) => {
                self.say(&format!("-ERR [AUTH] {error}"));
                self.fail();
                None
            }
            Err(error) => self.mistake(&error.to_string()),
        }
    }

    fn challenge(&mut self, dialog: Dialog, challenge: &[u8]) {
        self.say(&format!("+ {}", BASE64.encode(challenge)));
        self.phase = Phase::Sasl(dialog);
    }

    fn refuse(&mut self, refused: Refused) {
        self.phase = Phase::Authorization(None);
        match refused {
            Refused::Credentials => self.say("-ERR [AUTH] Wrong name or password"),
            Refused::Disabled => {
                self.say("-ERR [AUTH] This account is not open for POP3");
                self.facts.disabled = self.facts.disabled.saturating_add(1);
                return self.bound_logins();
            }
            Refused::Unavailable => {
                self.say("-ERR [SYS/TEMP] Nobody can log in now: please try again later");
                return;
            }
            Refused::TooMany => {
                self.say("-ERR [SYS/TEMP] Too many attempts: please wait a while");
                self.facts.failures = self.facts.failures.saturating_add(1);
                self.end(End::Failures);
                return;
            }
        }
        self.fail();
    }

    /// A login was refused. Not for long.
    fn fail(&mut self) {
        self.facts.failures = self.facts.failures.saturating_add(1);
        self.bound_logins();
    }

    fn bound_logins(&mut self) {
        if self.facts.refused_logins() >= self.settings.most_failures {
            self.end(End::Failures);
        }
    }

    /// A mistake of the client. Not for long, either.
    fn mistake(&mut self, text: &str) -> Option<Step> {
        self.facts.errors = self.facts.errors.saturating_add(1);
        if self.facts.errors >= self.settings.most_errors {
            self.say("-ERR Too many mistakes");
            return Some(self.end(End::Errors));
        }
        self.say(&format!("-ERR {text}"));
        None
    }

    fn say(&mut self, text: &str) {
        self.output.extend_from_slice(text.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    const fn may_log_in(&self) -> bool {
        self.settings.encrypted || self.settings.unencrypted_login
    }

    fn mechanisms(&self) -> impl Iterator<Item = Mechanism> + use<> {
        let may_log_in = self.may_log_in();
        let scram = may_log_in && self.settings.scram;
        let binds = self.settings.binding.is_some();
        // The best first, as clients take the first that they know.
        [
            (Mechanism::ScramSha256Plus, scram && binds),
            (Mechanism::ScramSha256, scram),
            (Mechanism::Plain, may_log_in),
            (Mechanism::Login, may_log_in),
        ]
        .into_iter()
        .filter_map(|(mechanism, has)| has.then_some(mechanism))
    }

    /// RFC 2449 section 5.
    fn capabilities(&mut self, stls: bool) {
        self.say("+OK Capability list follows");
        let mechanisms: Vec<_> = self.mechanisms().map(Mechanism::as_str).collect();
        if self.may_log_in() {
            self.say("USER");
            self.say(&format!("SASL {}", mechanisms.join(" ")));
        }
        if stls {
            self.say("STLS");
        }
        for capability in ["TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE", "UTF8 USER"]
        {
            self.say(capability);
        }
        match self.settings.expire_days {
            Some(days) => self.say(&format!("EXPIRE {days}")),
            None => self.say("EXPIRE NEVER"),
        }
        self.say("IMPLEMENTATION Muralla");
        self.say(".");
    }
}

impl Transaction {
    /// A message by its number, if it is not deleted. Otherwise, what to tell the client.
    fn find(&self, number: u32) -> Result<(usize, Message), &'static str> {
        const NONE: &str = "-ERR No such message";
        let at =
            usize::try_from(number).ok().and_then(|number| number.checked_sub(1)).ok_or(NONE)?;
        let message = self.listing.message(at).ok_or(NONE)?;
        if self.deleted.contains(at) { Err("-ERR Message is deleted") } else { Ok((at, message)) }
    }

    /// How many messages are not deleted, and their octets.
    const fn left(&self) -> (usize, u64) {
        (
            self.listing.len().saturating_sub(self.deleted.count()),
            self.listing.octets().saturating_sub(self.deleted_octets),
        )
    }

    /// Writes as much of a list as there is room for.
    fn run(&mut self, output: &mut Vec<u8>) {
        let Some((list, mut at)) = self.running.take() else { return };
        while at < self.listing.len() {
            if output.len() >= MOST_OUTPUT {
                self.running = Some((list, at));
                return;
            }
            if !self.deleted.contains(at) {
                self.write(at, list, output);
            }
            at += 1;
        }
        output.extend_from_slice(b".\r\n");
    }

    /// A line of a list.
    fn write(&self, at: usize, list: List, output: &mut Vec<u8>) {
        // Writing to a Vec can't fail.
        let _ = write!(output, "{} ", at + 1);
        match list {
            List::Sizes => {
                let size = self.listing.message(at).map_or(0, |message| message.size);
                let _ = write!(output, "{size}");
            }
            List::UniqueIds => self.listing.write_unique_id(at, output),
        }
        output.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests;
