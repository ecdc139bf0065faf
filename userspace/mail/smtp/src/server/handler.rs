//! What a server leaves to others: whom to believe, whom to know, what to take.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use muralla_mail_envelope::sasl::{Mechanism, Password};
use muralla_mail_envelope::{Client, Domain, EnhancedCode, Envelope, Recipient, Reply};

use super::report::Report;
use super::session::{MailFrom, Transaction};

/// Who decides. One of them serves all connections; [`Handler::Memory`] is what it remembers of each.
///
/// Each of its functions may take its time: the client waits, and nobody else does.
pub trait Handler: Send + Sync + 'static {
    /// What it remembers of a connection.
    type Memory: Default + Send;

    /// A client called.
    fn connected(
        &self,
        memory: &mut Self::Memory,
        peer: Peer,
    ) -> impl Future<Output = Welcome> + Send {
        let _ = (memory, peer);
        async { Welcome::default() }
    }

    /// He said what he calls himself.
    fn hello(
        &self,
        memory: &mut Self::Memory,
        about: Conversation<'_>,
    ) -> impl Future<Output = Decision> + Send {
        let _ = (memory, about);
        async { Decision::Accept }
    }

    /// He wants to send mail from there.
    fn mail(
        &self,
        memory: &mut Self::Memory,
        about: Conversation<'_>,
        mail: &MailFrom,
    ) -> impl Future<Output = Decision> + Send {
        let _ = (memory, about, mail);
        async { Decision::Accept }
    }

    /// He wants to send it there. This is where relaying is refused: whatever is accepted here, we are responsible for.
    ///
    /// Known and unknown recipients have to take the same time.
    fn rcpt(
        &self,
        memory: &mut Self::Memory,
        about: Conversation<'_>,
        recipient: &Recipient,
    ) -> impl Future<Output = Decision> + Send;

    /// He is about to send it: the last moment to refuse before it comes. All recipients are known.
    fn data(
        &self,
        memory: &mut Self::Memory,
        about: Conversation<'_>,
    ) -> impl Future<Output = Decision> + Send {
        let _ = (memory, about);
        async { Decision::Accept }
    }

    /// It came. [`Decision::Accept`] is a promise: by then it is where no crash takes it from.
    ///
    /// The future is never dropped before it is done, unless the process ends.
    fn message(
        &self,
        memory: &mut Self::Memory,
        about: Conversation<'_>,
        envelope: Envelope,
        message: Bytes,
    ) -> impl Future<Output = Decision> + Send;

    /// The same in LMTP, where each recipient has a decision of his own, in the envelope's order (RFC 2033 section 4.2). Where one is
    /// missing, he is refused for now. Unless written otherwise, all have the same.
    fn lmtp_message(
        &self,
        memory: &mut Self::Memory,
        about: Conversation<'_>,
        envelope: Envelope,
        message: Bytes,
    ) -> impl Future<Output = Vec<Decision>> + Send {
        async move {
            let recipients = envelope.recipients.len();
            let decision = self.message(memory, about, envelope, message).await;
            vec![decision; recipients]
        }
    }

    /// Is that his password? The name of his account, if so.
    fn password(
        &self,
        memory: &mut Self::Memory,
        about: Conversation<'_>,
        mechanism: Mechanism,
        user: &str,
        password: &Password,
    ) -> impl Future<Output = Result<String, NotGranted>> + Send {
        let _ = (memory, about, mechanism, user, password);
        async { Err(NotGranted::Wrong) }
    }

    /// SCRAM: what salt does he have? Users who don't exist have one, too, and always the same.
    fn keys(
        &self,
        memory: &mut Self::Memory,
        about: Conversation<'_>,
        user: &str,
    ) -> impl Future<Output = Result<Keys, NotGranted>> + Send {
        let _ = (memory, about, user);
        async { Err(NotGranted::Wrong) }
    }

    /// SCRAM: does that proof of that message (AuthMessage of RFC 5802) fit his keys?
    fn proof(
        &self,
        memory: &mut Self::Memory,
        about: Conversation<'_>,
        user: &str,
        message: &[u8],
        proof: &[u8],
    ) -> impl Future<Output = Result<Proved, NotGranted>> + Send {
        let _ = (memory, about, user, message, proof);
        async { Err(NotGranted::Wrong) }
    }

    /// Whether SCRAM is offered. It should not be where most users have no keys for it.
    fn has_scram(&self) -> bool {
        false
    }

    /// Somebody was turned away as he has as many connections as he may. Must not wait.
    fn crowded(&self, source: IpAddr) {
        let _ = source;
    }

    /// The connection is over, for the reason that [`Report::end`] has.
    fn closed(
        &self,
        memory: Self::Memory,
        client: &Client,
        report: &Report,
    ) -> impl Future<Output = ()> + Send {
        let _ = (memory, client, report);
        async {}
    }
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Peer {
    /// The client's. Where a balancer stands in front, the one that the balancer saw.
    pub remote: SocketAddr,
    /// Ours, as he called it.
    pub local: SocketAddr,
}

/// How a client is welcomed.
#[derive(Clone, Debug, Default)]
pub struct Welcome {
    /// Whether he is let in.
    pub decision: Decision,
    /// His name in DNS, if that name has his address, too.
    pub name: Option<Domain>,
    /// How long to wait before greeting him, to see whether he speaks first. For clients that nobody knows.
    pub pause: Duration,
    /// What becomes of him if he does speak first.
    pub refuse_early: bool,
}

/// What is known so far.
#[derive(Clone, Copy, Debug)]
pub struct Conversation<'a> {
    /// Who he is.
    pub client: &'a Client,
    /// What he is sending.
    pub transaction: Option<&'a Transaction>,
    /// What he did.
    pub report: &'a Report,
}

/// What the client is told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Decision {
    /// Yes, in the usual words.
    #[default]
    Accept,
    /// This: yes if it is positive, no if it is not.
    Say(Reply),
    /// This, and then nothing more.
    Close(Reply),
}

/// Why a login failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NotGranted {
    /// Name or password is wrong. Which of them, nobody is told.
    Wrong,
    /// It can't be checked now.
    Away,
    /// It is his, and he may not: his account is switched off.
    Disabled(Reply),
    /// For another reason.
    Say(Reply),
}

/// SCRAM: what a user's keys were made with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Keys {
    /// The salt.
    pub salt: Vec<u8>,
    /// Passes of PBKDF2.
    pub iterations: u32,
}

/// SCRAM: a proof was right.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proved {
    /// The name of the account.
    pub account: String,
    /// The proof that we have the keys.
    pub signature: Vec<u8>,
}

impl Decision {
    /// No, for now: `4.subject.detail`.
    #[must_use]
    pub fn temporary(code: u16, subject: u16, detail: u16, text: &str) -> Self {
        Self::Say(Reply::new(code, Some(EnhancedCode::new(4, subject, detail)), text))
    }

    /// No: `5.subject.detail`.
    #[must_use]
    pub fn permanent(code: u16, subject: u16, detail: u16, text: &str) -> Self {
        Self::Say(Reply::new(code, Some(EnhancedCode::new(5, subject, detail)), text))
    }

    /// No, for now, and good bye.
    #[must_use]
    pub fn hang_up(subject: u16, detail: u16, text: &str) -> Self {
        Self::Close(Reply::new(421, Some(EnhancedCode::new(4, subject, detail)), text))
    }

    /// Whether it says yes.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        match self {
            Self::Accept => true,
            Self::Say(reply) => reply.is_positive(),
            Self::Close(_) => false,
        }
    }
}
