//! What a session asks for.

use bytes::Bytes;
use muralla_mail_envelope::sasl::{Mechanism, Password};
use muralla_mail_envelope::{MailParameters, Recipient, ReversePath};

/// What a session needs to go on.
#[derive(Debug)]
pub enum Step {
    /// The client to say more. The output has to be sent before.
    Read,
    /// [`Session::greeted`](super::Session::greeted) of [`Handler::hello`](crate::server::Handler::hello).
    Hello,
    /// [`Session::mail_decided`](super::Session::mail_decided).
    Mail(MailFrom),
    /// [`Session::rcpt_decided`](super::Session::rcpt_decided).
    Rcpt(Recipient),
    /// [`Session::data_decided`](super::Session::data_decided).
    Data,
    /// [`Session::message_decided`](super::Session::message_decided).
    Message(Incoming),
    /// [`Session::password_checked`](super::Session::password_checked).
    Password {
        /// How it was said.
        mechanism: Mechanism,
        /// Whose it is.
        user: String,
        /// What it is.
        password: Password,
    },
    /// [`Session::keys_found`](super::Session::keys_found).
    Keys {
        /// Whose.
        user: String,
    },
    /// [`Session::proof_checked`](super::Session::proof_checked).
    Proof {
        /// Whose.
        user: String,
        /// AuthMessage of RFC 5802.
        message: Vec<u8>,
        /// The proof of it.
        proof: Vec<u8>,
    },
    /// The output to be sent, TLS to be started, and [`Session::secured`](super::Session::secured). Nothing that was read before may be used after.
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
