//! What the server asks for: who may log in, and what is in a maildrop.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use muralla_mail_envelope::sasl::Password;

use crate::listing::{Listing, Message};
use crate::session::{Changes, Facts};

/// Who answers for users and mailboxes.
///
/// Nothing of it may block a thread; nothing is asked twice at once for the same connection.
pub trait Handler: Send + Sync + 'static {
    /// A user's maildrop.
    type Maildrop: Maildrop;

    /// Certificates as they are now; nothing if there are none, and so no TLS.
    fn tls(&self) -> Option<Arc<rustls::ServerConfig>>;

    /// Lets somebody in who said his password. It takes as long for who does not exist as for who does.
    fn login(
        &self,
        client: &Client,
        user: &str,
        password: &Password,
    ) -> impl Future<Output = Result<Self::Maildrop, Refused>> + Send;

    /// What a user's keys for SCRAM were made with. Who does not exist, or has none, has some, too: always the same ones.
    fn scram(
        &self,
        client: &Client,
        user: &str,
    ) -> impl Future<Output = Result<ScramParameters, Refused>> + Send;

    /// Lets somebody in who proved that he knows his password: `proof` of `message`, as RFC 5802 section 3 has them.
    fn prove(
        &self,
        client: &Client,
        user: &str,
        message: &[u8],
        proof: &[u8],
    ) -> impl Future<Output = Result<Proved<Self::Maildrop>, Refused>> + Send;

    /// A session is over: what it did, and how rude it was.
    fn closed(&self, client: &Client, facts: &Facts) {
        let _ = (client, facts);
    }

    /// A connection was not let in, because its source or all of them have as many as they may.
    fn crowded(&self, peer: SocketAddr) {
        let _ = peer;
    }
}

/// Who is connected.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// Where from.
    pub peer: SocketAddr,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
}

/// What a user's keys for SCRAM were made with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ScramParameters {
    /// The salt.
    pub salt: Vec<u8>,
    /// Passes of PBKDF2.
    pub iterations: u32,
}

/// A proof that was right.
#[derive(Clone, Debug)]
pub struct Proved<M> {
    /// What shows the client that his keys are known here: ServerSignature of RFC 5802.
    pub signature: Vec<u8>,
    /// His maildrop.
    pub maildrop: M,
}

/// Why somebody is not let in. RFC 3206 has codes for it: so that a client only asks for the password again if it was wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    /// Wrong name or password: it is not said which.
    Credentials,
    /// The right ones, of an account that is switched off, or not for POP3.
    Disabled,
    /// It can't be found out now.
    Unavailable,
    /// Too many attempts, from there or for that name: it was not even tried.
    TooMany,
}

/// A user's mailbox, as POP3 sees it.
pub trait Maildrop: Send + Sync {
    /// A message as it comes out of it.
    type Body: Body;

    /// What is in it. Asked once, at the login.
    fn listing(&self) -> impl Future<Output = Result<Listing, MaildropError>> + Send;

    /// A message, its lines ended by CRLF.
    fn retrieve(
        &self,
        message: Message,
    ) -> impl Future<Output = Result<Self::Body, MaildropError>> + Send;

    /// A message, of which its header and so many lines are wanted; more may come.
    fn top(
        &self,
        message: Message,
        lines: u64,
    ) -> impl Future<Output = Result<Self::Body, MaildropError>> + Send {
        let _ = lines;
        self.retrieve(message)
    }

    /// How many octets of memory a message takes while it is on its way: all of it, unless it comes in chunks.
    fn weight(&self, message: Message) -> u64 {
        message.size
    }

    /// Makes what a session did last, all of it or nothing. What is gone already is no error.
    fn commit(&self, changes: &Changes) -> impl Future<Output = Result<(), MaildropError>> + Send;
}

/// A message on its way out of a maildrop.
pub trait Body: Send {
    /// The next chunk; nothing after the last. An error ends the connection: the client has seen a beginning, and must not take
    /// it for the whole.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, MaildropError>> + Send;
}

/// A message in one piece.
#[derive(Clone, Debug)]
pub struct Whole(Option<Bytes>);

impl From<Bytes> for Whole {
    fn from(message: Bytes) -> Self {
        Self(Some(message))
    }
}

impl Body for Whole {
    async fn chunk(&mut self) -> Result<Option<Bytes>, MaildropError> {
        Ok(self.0.take())
    }
}

/// Why a maildrop does not do what is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MaildropError {
    /// The message is there no longer: another session or a rule removed it.
    Gone,
    /// It can't now.
    Unavailable,
    /// It never will.
    Broken,
}
