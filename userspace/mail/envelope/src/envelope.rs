//! Everything known of a message but its content.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::address::Address;
use crate::domain::Domain;
use crate::id::MessageId;
use crate::parameters::{MailParameters, RcptParameters};
use crate::path::ReversePath;

/// The version of [`Envelope::encode`]. It grows when what is added changes the meaning of what was there, so that an older
/// binary must leave it alone; a field that an older binary may pass over does not count.
pub const VERSION: u32 = 1;

/// A message's envelope: from the server that accepted it, through spool, store and queue, to the last of its recipients.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Envelope {
    /// What we call it.
    pub id: MessageId,
    /// Where its failures go.
    pub from: ReversePath,
    /// What `MAIL FROM` said beside that.
    #[serde(default)]
    pub mail: MailParameters,
    /// Whom it goes to.
    pub recipients: Vec<Recipient>,
    /// When it was accepted, in seconds since 1970.
    pub received_at: i64,
    /// Who brought it.
    pub client: Client,
}

/// Whom a message goes to.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Recipient {
    /// His address.
    pub address: Address,
    /// What `RCPT TO` said beside it.
    #[serde(default)]
    pub parameters: RcptParameters,
}

/// Who brought a message.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
pub struct Client {
    /// His address.
    pub ip: IpAddr,
    /// What he called himself in `HELO`, `EHLO` or `LHLO`. A claim, and of any characters.
    #[serde(default)]
    pub helo: String,
    /// His name in DNS, if that name has this address, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Domain>,
    /// How the connection was encrypted, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFacts>,
    /// The account that he proved to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authenticated: Option<String>,
    /// How he spoke.
    #[serde(default)]
    pub protocol: Protocol,
}

/// How a connection was encrypted.
#[derive(Clone, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct TlsFacts {
    /// The version: `TLSv1.3`.
    pub version: String,
    /// The cipher suite: `TLS_AES_128_GCM_SHA256`.
    pub cipher: String,
    /// The name that the client asked for (SNI).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// What a client spoke.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Deserialize, Serialize)]
pub enum Protocol {
    /// Since `HELO`.
    Smtp,
    /// Since `EHLO`.
    #[default]
    Esmtp,
    /// Since `LHLO` (RFC 2033).
    Lmtp,
    /// Nothing: we made it.
    Local,
}

/// Bytes that are no envelope of ours.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Of a later version.
    #[error(
        "a later version of Muralla wrote this envelope (form {0}, this one reads {VERSION}): start that version again"
    )]
    Newer(u32),
    /// Broken.
    #[error("an envelope can't be read: {0}")]
    Malformed(#[from] serde_json::Error),
}

impl Envelope {
    /// The form for spool and queue: JSON that says its version.
    ///
    /// # Errors
    ///
    /// None that could happen: everything in it has a form.
    pub fn encode(&self) -> Result<Vec<u8>, EnvelopeError> {
        Ok(serde_json::to_vec(&Versioned { version: VERSION, envelope: self })?)
    }

    /// Reads the form of this and of earlier versions.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError::Newer`] if a later version wrote what this one would misread.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let version = serde_json::from_slice::<Version>(bytes)?.version;
        if version > VERSION {
            return Err(EnvelopeError::Newer(version));
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    /// Whether it can only be given to a server that has SMTPUTF8: because an address of it says so, or its sender did.
    #[must_use]
    pub fn needs_utf8(&self) -> bool {
        self.mail.smtputf8
            || self.from.address().is_some_and(Address::needs_utf8)
            || self.recipients.iter().any(|one| one.address.needs_utf8())
    }
}

#[derive(Serialize)]
struct Versioned<'a> {
    version: u32,
    #[serde(flatten)]
    envelope: &'a Envelope,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

impl Recipient {
    /// A recipient of whom nothing more was said.
    #[must_use]
    pub fn new(address: Address) -> Self {
        Self { address, parameters: RcptParameters::default() }
    }
}

impl From<Address> for Recipient {
    fn from(address: Address) -> Self {
        Self::new(address)
    }
}

impl Client {
    /// Ourselves: of reports and what else this machine, `name`, makes.
    #[must_use]
    pub fn local(name: &Domain) -> Self {
        Self {
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: name.as_str().to_owned(),
            name: Some(name.clone()),
            tls: None,
            authenticated: None,
            protocol: Protocol::Local,
        }
    }

    /// What `with` says in `Received`: RFC 3848, and RFC 6531 section 4.3 for what needed SMTPUTF8.
    #[must_use]
    pub const fn with(&self, smtputf8: bool) -> &'static str {
        let secure = self.tls.is_some();
        let known = self.authenticated.is_some();
        match (self.protocol, smtputf8, secure, known) {
            (Protocol::Smtp, _, _, _) => "SMTP",
            (Protocol::Local, _, _, _) => "local",
            (Protocol::Esmtp, false, false, false) => "ESMTP",
            (Protocol::Esmtp, false, false, true) => "ESMTPA",
            (Protocol::Esmtp, false, true, false) => "ESMTPS",
            (Protocol::Esmtp, false, true, true) => "ESMTPSA",
            (Protocol::Esmtp, true, false, false) => "UTF8SMTP",
            (Protocol::Esmtp, true, false, true) => "UTF8SMTPA",
            (Protocol::Esmtp, true, true, false) => "UTF8SMTPS",
            (Protocol::Esmtp, true, true, true) => "UTF8SMTPSA",
            (Protocol::Lmtp, false, false, false) => "LMTP",
            (Protocol::Lmtp, false, false, true) => "LMTPA",
            (Protocol::Lmtp, false, true, false) => "LMTPS",
            (Protocol::Lmtp, false, true, true) => "LMTPSA",
            (Protocol::Lmtp, true, false, false) => "UTF8LMTP",
            (Protocol::Lmtp, true, false, true) => "UTF8LMTPA",
            (Protocol::Lmtp, true, true, false) => "UTF8LMTPS",
            (Protocol::Lmtp, true, true, true) => "UTF8LMTPSA",
        }
    }
}

#[cfg(test)]
mod tests;
