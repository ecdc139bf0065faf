//! A message: its envelope (RFC 5321 sections 4.1.1.2 and 4.1.1.3), its content by `DATA` or `BDAT` (RFC 3030), and what is said of
//! it.

use bytes::{Buf, Bytes, BytesMut};
use muralla_mail_envelope::{
    Body, EnhancedCode, ForwardPath, MailParameters, MessageId, RcptParameters, Recipient, Reply,
    ReversePath,
};

use super::{Asked, Chunk, Hello, Incoming, MailFrom, Session, State, Step};
use crate::framing::{Collector, Fault};
use crate::server::config::Mode;
use crate::server::handler::Decision;
use crate::server::report::End;

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
    pub(super) chunks: Option<Collector>,
}

/// How many times as many recipients as a message may have are refused before each of them is an error.
const FUTILE: usize = 10;

impl Session {
    /// RFC 5321 section 4.1.1.2.
    pub(super) fn mail(&mut self, rest: &str) -> Option<Step> {
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
    pub(super) fn rcpt(&mut self, rest: &str) -> Option<Step> {
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
            self.refuse_recipient();
            self.bear();
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
        if !permanent {
            self.bear();
        }
        if permanent && self.report.refused_recipients > self.config.limits.refused_recipients {
            self.abuse("Too many recipients were refused");
        }
    }

    fn refuse_recipient(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.refused += 1;
        }
    }

    /// Who hears again and again that it is enough, or not now, and goes on all the same does not listen.
    fn bear(&mut self) {
        let most = self.config.limits.recipients.saturating_mul(FUTILE);
        if self.transaction.as_ref().is_some_and(|one| one.refused > most) {
            self.count_error();
        }
    }

    /// RFC 5321 section 4.1.1.4.
    pub(super) fn data(&mut self) -> Option<Step> {
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
    pub(super) fn collected(&mut self, collector: Collector) -> Option<Step> {
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
    pub(super) fn endless(&mut self, collector: &Collector) -> bool {
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
    pub(super) fn bdat(&mut self, octets: u64, last: bool) -> Option<Step> {
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

    pub(super) fn take_chunk(&mut self, chunk: &mut Chunk, input: &mut BytesMut) {
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

    pub(super) fn chunk_ended(&mut self, chunk: Chunk) -> Option<Step> {
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
}

impl Transaction {
    pub(super) fn memory(&self) -> usize {
        self.chunks.as_ref().map_or(0, Collector::memory)
    }
}
