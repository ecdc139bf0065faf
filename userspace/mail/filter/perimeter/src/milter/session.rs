//! A session: commands in, responses out, and a question for each message. It neither reads nor waits.

use std::sync::Arc;

use bytes::BytesMut;
use muralla_mail_envelope::TlsFacts;

use super::command::{Command, Family, text};
use super::draft::Draft;
use super::negotiation::{Terms, actions, steps};
use super::response::Response;
use super::{MilterError, packet};
use crate::fields::HeaderField;
use crate::policy::{Action, Policy};
use crate::question::{Origin, Party, Question, Way, ip, name, told};
use crate::verdict::Verdict;

/// The filter's half of a connection with a mail system.
#[derive(Debug)]
pub struct Session {
    policy: Arc<Policy>,
    /// Octets of a message that are kept.
    largest: usize,
    /// Recipients of a message that are kept.
    recipients: usize,
    agreed: Option<Terms>,
    origin: Origin,
    macros: Macros,
    draft: Option<Draft>,
    /// What is judged, and what of it is needed then.
    asked: Option<Asked>,
    closed: bool,
    out: Vec<u8>,
}

/// What a session needs to go on.
#[derive(Debug)]
pub enum Step {
    /// The mail system to say more. The output has to be sent before.
    Read,
    /// [`Session::judged`].
    Judge(Box<Question>),
    /// The output to be sent, and then nothing more.
    Close,
}

#[derive(Debug)]
struct Asked {
    recipients: usize,
    forged: Vec<(Vec<u8>, u32)>,
}

/// What the mail system told beside the commands. Values stay until the command that brought them comes again.
#[derive(Debug, Default)]
struct Macros(Vec<(u8, String, String)>);

/// Why a message was not looked at.
const STARVED: &str = "there was no memory for it";

/// Most macros that are kept, of all commands.
const MOST_MACROS: usize = 256;

impl Session {
    /// A session that was just begun. Of a message, so many octets and recipients are looked at.
    #[must_use]
    pub fn new(policy: Arc<Policy>, largest: usize, recipients: usize) -> Self {
        Self {
            policy,
            largest,
            recipients,
            agreed: None,
            origin: Origin::default(),
            macros: Macros::default(),
            draft: None,
            asked: None,
            closed: false,
            out: Vec::new(),
        }
    }

    /// What has to be sent. Whoever sends it takes it out.
    pub const fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Octets of memory that the message takes which is coming.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.draft.as_ref().map_or(0, Draft::memory)
    }

    /// There is no memory for it: it is not looked at, and what becomes of it is up to the policy.
    pub fn no_memory(&mut self) {
        if let Some(draft) = &mut self.draft {
            draft.starve();
        }
    }

    /// Goes on: see [`Step`]. What is left of the input is given again, with what comes then behind it.
    ///
    /// # Errors
    ///
    /// If what came is not the protocol. Nothing more can be read then.
    pub fn step(&mut self, input: &mut BytesMut) -> Result<Step, MilterError> {
        while !self.closed {
            // Nothing is read while somebody judges.
            if self.asked.is_some() {
                return Ok(Step::Read);
            }
            let Some((code, data)) = packet::take(input)? else { return Ok(Step::Read) };
            let command = Command::parse(code, &data)?;
            if let Some(question) = self.command(code, command)? {
                return Ok(Step::Judge(Box::new(question)));
            }
        }
        Ok(Step::Close)
    }

    /// It takes longer: whoever waits is told that we are still there.
    pub fn progress(&mut self) {
        if self.asked.is_some() {
            Response::Progress.write(&mut self.out);
        }
    }

    /// Answers [`Step::Judge`] where there is no memory to judge it in: it is not looked at.
    pub fn no_memory_to_judge(&mut self) -> Option<Action> {
        let recipients = self.asked.as_ref()?.recipients;
        self.judged(&Verdict::unscanned(STARVED, recipients))
    }

    /// Answers [`Step::Judge`]: what is done with the message, and was said so.
    pub fn judged(&mut self, verdict: &Verdict) -> Option<Action> {
        let asked = self.asked.take()?;
        Some(self.decide(&asked, verdict))
    }

    fn command(&mut self, code: u8, command: Command<'_>) -> Result<Option<Question>, MilterError> {
        // The first word says what all others mean.
        if self.agreed.is_none() && !matches!(command, Command::Negotiate(_) | Command::Quit) {
            return Err(MilterError::Order(code));
        }
        match command {
            Command::Negotiate(_) if self.agreed.is_some() => return Err(MilterError::Order(code)),
            Command::Negotiate(terms) => {
                let agreed = terms.agreed()?;
                agreed.write(&mut self.out);
                self.agreed = Some(agreed);
            }
            Command::Macros { of, all } => self.macros.set(of, &all),
            Command::Connect { name, address, family } => {
                self.draft = None;
                self.origin = Origin::default();
                self.connected(name, address, family);
                self.answer(steps::UNANSWERED_CONNECT);
            }
            Command::Helo(name) => {
                self.origin.helo = told(&String::from_utf8_lossy(name));
                self.origin.tls = self.tls();
                self.answer(steps::UNANSWERED_HELO);
            }
            Command::Mail(sender) => {
                self.draft = Some(Draft::new(Party::parse(&String::from_utf8_lossy(sender))));
                self.answer(steps::UNANSWERED_MAIL);
            }
            Command::Recipient(recipient) => {
                let most = self.recipients;
                let draft = self.draft.as_mut().ok_or(MilterError::Order(code))?;
                if draft.recipients.len() < most {
                    draft.recipients.push(Party::parse(&String::from_utf8_lossy(recipient)));
                }
                self.answer(steps::UNANSWERED_RECIPIENT);
            }
            Command::Data => self.answer(steps::UNANSWERED_DATA),
            Command::Header { name, value } => {
                let spaced = self.agreed.is_some_and(|it| it.leaves_out(steps::LEADING_SPACE));
                let draft = self.draft.as_mut().ok_or(MilterError::Order(code))?;
                draft.header(name, value, spaced, &self.policy.marks, self.largest);
                self.answer(steps::UNANSWERED_HEADER);
            }
            Command::EndOfHeaders => {
                let draft = self.draft.as_mut().ok_or(MilterError::Order(code))?;
                draft.end_header(self.largest);
                self.answer(steps::UNANSWERED_END_OF_HEADERS);
            }
            Command::Body(piece) => {
                let draft = self.draft.as_mut().ok_or(MilterError::Order(code))?;
                draft.body(piece, self.largest);
                self.answer(steps::UNANSWERED_BODY);
            }
            Command::EndOfMessage(piece) => {
                let mut draft = self.draft.take().ok_or(MilterError::Order(code))?;
                draft.body(piece, self.largest);
                draft.end_header(self.largest);
                return Ok(self.ask(draft));
            }
            Command::Abort => {
                self.draft = None;
                self.macros.forget_message();
            }
            Command::Unknown(_) => self.answer(steps::UNANSWERED_UNKNOWN),
            Command::QuitForNext => {
                self.draft = None;
                self.origin = Origin::default();
                self.macros = Macros::default();
            }
            Command::Quit => self.closed = true,
        }
        Ok(None)
    }

    /// Says that it may go on, unless nobody waits for that.
    fn answer(&mut self, unanswered: u32) {
        if !self.agreed.is_some_and(|agreed| agreed.leaves_out(unanswered)) {
            Response::Continue.write(&mut self.out);
        }
    }

    fn connected(&mut self, host: &[u8], address: Option<&[u8]>, family: Family) {
        self.origin.ip = match (family, address) {
            (Family::Four | Family::Six, Some(address)) => ip(text(address)),
            _ => None,
        };
        // Sendmail tells a name that does not have the address, too, and beside that that it was made up.
        let is_proved = match self.macros.find("{client_resolve}") {
            Some(resolve) => resolve.eq_ignore_ascii_case("OK"),
            None => !self.macros.find("_").is_some_and(|said| said.contains("may be forged")),
        };
        self.origin.name = name(text(host)).filter(|_| is_proved);
    }

    fn tls(&self) -> Option<TlsFacts> {
        let version = self.macros.find("{tls_version}").filter(|version| !version.is_empty())?;
        let cipher = self.macros.find("{cipher}").unwrap_or_default();
        Some(TlsFacts { version: version.to_owned(), cipher: cipher.to_owned(), server_name: None })
    }

    /// A message came: the question, unless its answer is known.
    fn ask(&mut self, mut draft: Draft) -> Option<Question> {
        let message = draft.message();
        let Draft { sender, recipients, forged, complete, starved, .. } = draft;
        let asked = Asked { recipients: recipients.len(), forged };
        let authenticated = self.macros.find("{auth_authen}").and_then(told);
        let queue_id = self.macros.find("i").and_then(told);
        let origin = Origin { authenticated, tls: self.tls(), ..self.origin.clone() };
        self.macros.forget_message();
        if starved {
            let verdict = Verdict::unscanned(STARVED, recipients.len());
            self.decide(&asked, &verdict);
            return None;
        }
        self.asked = Some(asked);
        Some(Question {
            way: Way::Milter,
            origin,
            sender: Some(sender),
            recipients,
            queue_id,
            settings: None,
            thorough: false,
            message,
            complete,
        })
    }

    fn decide(&mut self, asked: &Asked, verdict: &Verdict) -> Action {
        let keeps = self.agreed.is_some_and(|agreed| agreed.may(actions::QUARANTINE));
        let action = self.policy.common(verdict, asked.recipients, keeps);
        match &action {
            Action::Refuse(reply) | Action::Later(reply) => {
                Response::Code(reply).write(&mut self.out);
            }
            Action::Pass { fields, .. } => {
                self.edit(&asked.forged, fields);
                Response::Continue.write(&mut self.out);
            }
            Action::Quarantine { why, fields } => {
                self.edit(&asked.forged, fields);
                Response::Quarantine(why).write(&mut self.out);
                Response::Continue.write(&mut self.out);
            }
        }
        action
    }

    /// Removes what is forged, from the bottom, so that what is removed moves no other that is; and writes ours on top.
    fn edit(&mut self, forged: &[(Vec<u8>, u32)], fields: &[HeaderField]) {
        for (name, index) in forged.iter().rev() {
            let response = Response::ChangeHeader { index: *index, name, value: "" };
            response.write(&mut self.out);
        }
        let spaced = self.agreed.is_some_and(|agreed| agreed.leaves_out(steps::LEADING_SPACE));
        for field in fields.iter().rev() {
            let value = field.value("\n");
            let value = if spaced { format!(" {value}") } else { value };
            let response = Response::InsertHeader { index: 0, name: field.name(), value: &value };
            response.write(&mut self.out);
        }
    }
}

impl Macros {
    /// The macros of a command take the place of those that it brought before.
    fn set(&mut self, of: u8, all: &[(&[u8], &[u8])]) {
        self.0.retain(|(brought_by, ..)| *brought_by != of);
        for (name, value) in all {
            if self.0.len() >= MOST_MACROS {
                return;
            }
            if let Some(name) = told(text(name)) {
                self.0.push((of, name, told(text(value)).unwrap_or_default()));
            }
        }
    }

    /// The latest of that name.
    fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(_, known, _)| known == name).map(|(.., value)| &**value)
    }

    /// What was told of a message does not hold for the next.
    fn forget_message(&mut self) {
        self.0.retain(|(brought_by, ..)| matches!(brought_by, b'C' | b'H'));
    }
}

#[cfg(test)]
mod tests;
