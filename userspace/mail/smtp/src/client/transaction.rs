//! Handing a message over: RFC 5321 section 3.3, in one round trip for the envelope where the server has PIPELINING.

use muralla_mail_envelope::{
    Address, Body, EnhancedCode, MailParameters, RcptParameters, Recipient, Reply, ReversePath,
    scan,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::connection::Connection;
use super::error::ClientError;
use super::options::{EightBit, Speaks};
use super::replies::Answer;
use super::talk::SENDING;

/// What came of a message.
#[derive(Debug)]
pub struct Delivery {
    /// What came of each recipient, in the order that they were given in.
    pub outcomes: Vec<Outcome>,
    /// Whether the server was told what the sender wants to be told (RFC 3461), and is to tell him. If not, whoever handed the
    /// message over is.
    pub dsn: bool,
    /// Why the connection can't be used any more, if it can't.
    pub lost: Option<ClientError>,
}

/// What came of a recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The server has taken the message for him.
    Delivered(Reply),
    /// Not now.
    Temporary(Reply),
    /// Not at all.
    Permanent(Reply),
}

impl Outcome {
    /// What the server said, or what stands in its place.
    #[must_use]
    pub const fn reply(&self) -> &Reply {
        match self {
            Self::Delivered(reply) | Self::Temporary(reply) | Self::Permanent(reply) => reply,
        }
    }

    /// Of a final reply.
    fn of(reply: Reply) -> Self {
        match reply.code {
            200..=299 => Self::Delivered(reply),
            400..=499 => Self::Temporary(reply),
            500..=599 => Self::Permanent(reply),
            _ => Self::Temporary(ClientError::Senseless(reply).reply()),
        }
    }

    fn permanent(code: u16, subject: u16, detail: u16, text: &str) -> Self {
        Self::Permanent(Reply::new(code, Some(EnhancedCode::new(5, subject, detail)), text))
    }
}

/// See [`Connection::deliver`].
pub(crate) async fn deliver<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    from: &ReversePath,
    parameters: &MailParameters,
    recipients: &[Recipient],
    message: &[u8],
) -> Delivery {
    let dsn = connection.capabilities.dsn;
    let mut outcomes: Vec<Option<Outcome>> = vec![None; recipients.len()];
    let mut lost = None;
    match Plan::of(connection, from, parameters, recipients, message) {
        Err(outcome) => outcomes.fill(Some(outcome)),
        Ok(plan) => {
            if !connection.capabilities.smtputf8 {
                for (outcome, recipient) in outcomes.iter_mut().zip(recipients) {
                    if recipient.address.needs_utf8() {
                        *outcome = Some(no_utf8());
                    }
                }
            }
            lost = all(connection, &plan, recipients, &mut outcomes).await.err();
        }
    }
    if let Some(error) = &lost {
        connection.broken = true;
        let rest = Outcome::Temporary(error.reply());
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_none()) {
            *outcome = Some(rest.clone());
        }
    }
    let missing = || {
        let code = EnhancedCode::new(4, 3, 0);
        Outcome::Temporary(Reply::new(451, Some(code), "the server was not asked about him"))
    };
    let outcomes = outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect();
    Delivery { outcomes, dsn, lost }
}

/// See [`Connection::verify`].
pub(crate) async fn verify<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    recipient: &Address,
) -> Result<Reply, ClientError> {
    let utf8 = recipient.needs_utf8();
    if utf8 && !connection.capabilities.smtputf8 {
        return Ok(no_utf8().reply().clone());
    }
    let asked = ask(connection, recipient, utf8).await;
    connection.broken |= asked.is_err();
    asked
}

async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    recipient: &Address,
    utf8: bool,
) -> Result<Reply, ClientError> {
    let wait = connection.options.waits.command;
    connection.sent = connection.sent.saturating_add(1);
    if std::mem::replace(&mut connection.dirty, true) {
        reset_done(&connection.talk.ask(b"RSET\r\n", wait, ENVELOPE).await?)?;
    }
    let said = MailParameters { smtputf8: utf8, ..MailParameters::default() };
    let mail = format!("MAIL FROM:{}{said}\r\n", ReversePath::Null);
    let sender = connection.talk.ask(mail.as_bytes(), wait, ENVELOPE).await?;
    if !sender.is_positive() {
        return Err(ClientError::Refused(sender.reply()));
    }
    let rcpt = format!("RCPT TO:<{recipient}>\r\n");
    Ok(connection.talk.ask(rcpt.as_bytes(), wait, ENVELOPE).await?.reply())
}

/// How a message is sent to this server.
struct Plan<'a> {
    /// `MAIL`, whole.
    mail: String,
    /// Whether recipients' parameters are said.
    dsn: bool,
    /// Whether it goes by `BDAT`.
    chunked: bool,
    message: &'a [u8],
}

impl<'a> Plan<'a> {
    /// What has to be said, or why the message can't be sent to any recipient.
    fn of<S>(
        connection: &Connection<S>,
        from: &ReversePath,
        parameters: &MailParameters,
        recipients: &[Recipient],
        message: &'a [u8],
    ) -> Result<Self, Outcome> {
        let has = &connection.capabilities;
        let length = u64::try_from(message.len()).unwrap_or(u64::MAX);
        // RFC 1870 section 6.1.
        if let Some(most) = has.size.filter(|&most| most > 0 && length > most) {
            let text = format!("the message has {length} octets, and the server takes {most}");
            return Err(Outcome::permanent(552, 3, 4, &text));
        }
        // RFC 8689 section 4.2.1.
        if parameters.requiretls && !(connection.verified && has.requiretls) {
            let text = "the sender wants TLS on all of the way, and the server can't promise that";
            return Err(Outcome::permanent(550, 7, 30, text));
        }
        let ascii = message.is_ascii();
        let mut chunked = false;
        let body = match parameters.body {
            Body::BinaryMime if has.binary_mime && has.chunking => {
                chunked = true;
                Body::BinaryMime
            }
            Body::BinaryMime => {
                let text = "the message is binary, and the server takes none such";
                return Err(Outcome::permanent(550, 6, 1, text));
            }
            other if has.eight_bit_mime => {
                if ascii {
                    other
                } else {
                    Body::EightBitMime
                }
            }
            _ if !ascii && connection.options.eight_bit == EightBit::Refuse => {
                let text = "the message has octets beyond ASCII, and the server has no 8BITMIME";
                return Err(Outcome::permanent(554, 6, 3, text));
            }
            _ => Body::SevenBit,
        };
        // RFC 6531 section 3.2. A message whose sender only was careful to ask for it can go without.
        let header = message.get(..scan::header_length(message)).unwrap_or_default();
        let sender = from.address().is_some_and(|from| from.needs_utf8());
        let needs = sender || parameters.smtputf8 && !header.is_ascii();
        if needs && !has.smtputf8 {
            return Err(no_utf8());
        }
        let wanted = parameters.smtputf8 || recipients.iter().any(|one| one.address.needs_utf8());
        let said = MailParameters {
            size: has.size.map(|_| length),
            body,
            smtputf8: has.smtputf8 && (needs || wanted),
            requiretls: parameters.requiretls,
            ret: parameters.ret.filter(|_| has.dsn),
            envid: parameters.envid.clone().filter(|_| has.dsn),
            // RFC 4954 section 5: to be said by servers that know who submitted it, to those who trust them.
            auth: None,
        };
        let mail = format!("MAIL FROM:{from}{said}\r\n");
        Ok(Self { mail, dsn: has.dsn, chunked, message })
    }

    fn rcpt(&self, recipient: &Recipient) -> String {
        let nothing = RcptParameters::default();
        let parameters = if self.dsn { &recipient.parameters } else { &nothing };
        format!("RCPT TO:<{}>{parameters}\r\n", recipient.address)
    }
}

fn no_utf8() -> Outcome {
    // RFC 6531 section 3.5.
    let text =
        "the address or the header has characters beyond ASCII, and the server has no SMTPUTF8";
    Outcome::permanent(550, 6, 7, text)
}

/// Sends it to all recipients who have no outcome yet, in as many transactions as the server needs.
async fn all<S: AsyncRead + AsyncWrite + Unpin>(
    connection: &mut Connection<S>,
    plan: &Plan<'_>,
    recipients: &[Recipient],
    outcomes: &mut [Option<Outcome>],
) -> Result<(), ClientError> {
    let most = connection.capabilities.most_recipients.unwrap_or(usize::MAX);
    let most = most.min(connection.options.recipients).max(1);
    loop {
        let group: Vec<usize> = outcomes
            .iter()
            .enumerate()
            .filter_map(|(number, outcome)| outcome.is_none().then_some(number))
            .take(most)
            .collect();
        if group.is_empty() || !connection.is_reusable() {
            return Ok(());
        }
        let mut transaction = Transaction {
            plan,
            recipients,
            outcomes: &mut *outcomes,
            accepted: Vec::new(),
            later: Vec::new(),
        };
        transaction.run(connection, &group).await?;
        let Transaction { accepted, later, .. } = transaction;
        // RFC 5321 section 4.5.3.1.10: too many at once, and so the rest of them come in another one; unless none was
        // taken at all, and there would be no end.
        if accepted.is_empty() {
            for (number, reply) in later {
                set(outcomes, number, Outcome::Temporary(reply));
            }
        }
    }
}

fn set(outcomes: &mut [Option<Outcome>], number: usize, outcome: Outcome) {
    if let Some(place) = outcomes.get_mut(number) {
        *place = Some(outcome);
    }
}

struct Transaction<'a> {
    plan: &'a Plan<'a>,
    recipients: &'a [Recipient],
    outcomes: &'a mut [Option<Outcome>],
    /// Recipients who were accepted.
    accepted: Vec<usize>,
    /// Recipients who were too many.
    later: Vec<(usize, Reply)>,
}

/// Most commands that are sent before any reply is read: what a server can't say, because we don't listen, it must be able to
/// keep (RFC 2920 section 3.1).
const MOST_AHEAD: usize = 100;

impl Transaction<'_> {
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        group: &[usize],
    ) -> Result<(), ClientError> {
        connection.sent = connection.sent.saturating_add(1);
        let ahead = connection.capabilities.pipelining && !self.plan.chunked;
        let answer = if ahead {
            self.pipelined(connection, group).await?
        } else {
            self.one_by_one(connection, group).await?
        };
        if self.plan.chunked {
            return self.chunk(connection).await;
        }
        let Some(answer) = answer else { return Ok(()) };
        if answer.code != 354 {
            if answer.is_positive() {
                return Err(ClientError::Senseless(answer.reply()));
            }
            connection.dirty = true;
            return self.finish(&answer);
        }
        if self.accepted.is_empty() {
            // It wants a message that goes to nobody: RFC 2920 section 3.1. In LMTP, that has no reply that could be waited for.
            if connection.options.speaks == Speaks::Lmtp {
                return Err(ClientError::Senseless(answer.reply()));
            }
            connection.talk.ask(b".\r\n", connection.options.waits.message, SENDING).await?;
            return Ok(());
        }
        let sent = connection.talk.send_dotted(self.plan.message, connection.options.waits.block);
        let sent = sent.await;
        self.hear_end(connection, sent).await
    }

    /// Everything up to `DATA` in one piece; the reply to that.
    async fn pipelined<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        group: &[usize],
    ) -> Result<Option<Answer>, ClientError> {
        let wait = connection.options.waits.command;
        let reset = std::mem::replace(&mut connection.dirty, true);
        let mut out = String::new();
        if reset {
            out.push_str("RSET\r\n");
        }
        out.push_str(&self.plan.mail);
        let mut sender = None;
        let last = group.len().div_ceil(MOST_AHEAD).saturating_sub(1);
        for (number, ahead) in group.chunks(MOST_AHEAD).enumerate() {
            for &one in ahead {
                if let Some(recipient) = self.recipients.get(one) {
                    out.push_str(&self.plan.rcpt(recipient));
                }
            }
            if number == last {
                out.push_str("DATA\r\n");
            }
            connection.talk.say(out.as_bytes(), wait, ENVELOPE).await?;
            out.clear();
            if sender.is_none() {
                if reset {
                    reset_done(&connection.talk.hear(wait, ENVELOPE).await?)?;
                }
                sender = Some(connection.talk.hear(wait, ENVELOPE).await?);
            }
            for &one in ahead {
                let answer = connection.talk.hear(wait, ENVELOPE).await?;
                self.take(one, &answer);
            }
        }
        let answer = connection.talk.hear(connection.options.waits.data, "to answer DATA").await?;
        // What it said to the sender explains all that follows.
        if let Some(sender) = sender.filter(|answer| !answer.is_positive()) {
            self.accepted.clear();
            self.later.clear();
            for &one in group {
                set(self.outcomes, one, outcome(&sender));
            }
            // From a sender that it does not take, it wants a message: whatever came now, somebody might get it.
            if answer.code == 354 {
                return Err(ClientError::Senseless(answer.reply()));
            }
        }
        connection.dirty = self.accepted.is_empty();
        Ok(Some(answer))
    }

    /// Each command for itself; the reply to `DATA`, if it came to that.
    async fn one_by_one<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        group: &[usize],
    ) -> Result<Option<Answer>, ClientError> {
        let wait = connection.options.waits.command;
        if std::mem::replace(&mut connection.dirty, true) {
            reset_done(&connection.talk.ask(b"RSET\r\n", wait, ENVELOPE).await?)?;
        }
        let sender = connection.talk.ask(self.plan.mail.as_bytes(), wait, ENVELOPE).await?;
        if !sender.is_positive() {
            for &one in group {
                set(self.outcomes, one, outcome(&sender));
            }
            return Ok(None);
        }
        for &one in group {
            let Some(recipient) = self.recipients.get(one) else { continue };
            let command = self.plan.rcpt(recipient);
            let answer = connection.talk.ask(command.as_bytes(), wait, ENVELOPE).await?;
            self.take(one, &answer);
        }
        if self.accepted.is_empty() {
            return Ok(None);
        }
        connection.dirty = false;
        if self.plan.chunked {
            return Ok(None);
        }
        let wait = connection.options.waits.data;
        Ok(Some(connection.talk.ask(b"DATA\r\n", wait, "to answer DATA").await?))
    }

    /// What the server says of a recipient.
    fn take(&mut self, number: usize, answer: &Answer) {
        let reply = answer.reply();
        let many = EnhancedCode::new(reply.status().class, 5, 3);
        match reply.code {
            200..=299 => self.accepted.push(number),
            // 552 is what RFC 821 had for it, and 452 may have other reasons: section 4.5.3.1.10.
            452 | 552 if reply.enhanced.is_none_or(|code| code == many) => {
                self.later.push((number, reply));
            }
            _ => set(self.outcomes, number, outcome(answer)),
        }
    }

    /// RFC 3030, in one chunk.
    async fn chunk<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
    ) -> Result<(), ClientError> {
        if self.accepted.is_empty() {
            return Ok(());
        }
        let block = connection.options.waits.block;
        let command = format!("BDAT {} LAST\r\n", self.plan.message.len());
        connection.talk.say(command.as_bytes(), block, SENDING).await?;
        let sent = connection.talk.send_plain(self.plan.message, block).await;
        self.hear_end(connection, sent).await
    }

    /// What the server says of the message: one reply, or in LMTP one for each recipient (RFC 2033 section 4.2).
    async fn hear_end<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut Connection<S>,
        sent: Result<(), ClientError>,
    ) -> Result<(), ClientError> {
        if let Err(error) = sent {
            // A server that has enough says why and hangs up; what it said may be there although we can't send.
            return match connection.talk.hear(connection.options.waits.quit, SENDING).await {
                Ok(answer) if !answer.is_positive() => {
                    connection.broken = true;
                    self.finish(&answer)
                }
                Err(refused @ ClientError::Refused(_)) => Err(refused),
                _ => Err(error),
            };
        }
        let wait = connection.options.waits.message;
        if connection.options.speaks == Speaks::Lmtp {
            for number in self.accepted.clone() {
                let answer = connection.talk.hear(wait, ACCEPTING).await?;
                set(self.outcomes, number, outcome(&answer));
            }
            return Ok(());
        }
        let answer = connection.talk.hear(wait, ACCEPTING).await?;
        self.finish(&answer)
    }

    /// One reply for all who were accepted.
    fn finish(&mut self, answer: &Answer) -> Result<(), ClientError> {
        for &number in &self.accepted {
            set(self.outcomes, number, outcome(answer));
        }
        Ok(())
    }
}

fn outcome(answer: &Answer) -> Outcome {
    Outcome::of(answer.reply())
}

fn reset_done(answer: &Answer) -> Result<(), ClientError> {
    if answer.is_positive() { Ok(()) } else { Err(ClientError::Senseless(answer.reply())) }
}

const ENVELOPE: &str = "to answer the envelope";
const ACCEPTING: &str = "to answer the message, which it may have taken all the same";
