//! Why nothing can be handed over on a connection.

use std::io;

use muralla_mail_envelope::{EnhancedCode, Reply};

use super::replies::Malformed;
use crate::tls::DaneError;

/// Why nothing can be handed over on a connection. All of it may pass; [`ClientError::reply`] has it in the words of a reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// It broke.
    #[error("the connection broke {when}: {error}")]
    Lost {
        /// What we were doing.
        when: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// The server hung up.
    #[error("the server hung up {0}")]
    Closed(&'static str),
    /// The server kept us waiting.
    #[error("the server took too long {0}")]
    TimedOut(&'static str),
    /// It does not speak the protocol.
    #[error("the server does not speak the protocol: {0}")]
    Malformed(#[from] Malformed),
    /// It said something that can't be said there.
    #[error("the server gave a reply that makes no sense there: {0}")]
    Senseless(Reply),
    /// It does not want us: the greeting, `EHLO`, or 421 at any time.
    #[error("the server said: {0}")]
    Refused(Reply),
    /// No TLS, although it must be.
    #[error("the server does not offer TLS, and the connection has to be encrypted")]
    NoTls,
    /// A handshake failed: the server's certificate is not what it has to be, or it has nothing in common with us.
    #[error("no TLS: {0}")]
    Tls(String),
    /// The server has not proved by its records of DNS who it is.
    #[error("DANE: {0}")]
    Dane(#[from] DaneError),
    /// It sent something in the clear that would have been taken for something that was said inside TLS.
    #[error("the server, or somebody in between, said something between STARTTLS and TLS")]
    Injected,
    /// It does not let us in.
    #[error("the server refused our login: {0}")]
    Login(Reply),
    /// It has no way to log in that we have.
    #[error("the server offers neither AUTH PLAIN nor AUTH LOGIN over TLS")]
    NoLogin,
}

impl ClientError {
    /// The same as a reply, for those who keep one for each recipient. What the server said itself is given as it was; all else is
    /// temporary.
    #[must_use]
    pub fn reply(&self) -> Reply {
        let (code, subject, detail) = match self {
            Self::Refused(reply) => return reply.clone(),
            Self::Connect(_) => (451, 4, 1),
            Self::Lost { .. } | Self::Closed(_) | Self::TimedOut(_) => (451, 4, 2),
            Self::Malformed(_) | Self::Senseless(_) => (451, 5, 0),
            // RFC 3463 section 3.8: security features not supported, and cryptographic failure.
            Self::NoTls | Self::NoLogin => (451, 7, 4),
            Self::Tls(_) | Self::Dane(_) | Self::Injected => (451, 7, 5),
            Self::Login(_) => (451, 7, 8),
        };
        Reply::new(code, Some(EnhancedCode::new(4, subject, detail)), &self.to_string())
    }

    /// Whether it was TLS that failed.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        matches!(self, Self::NoTls | Self::Tls(_) | Self::Dane(_) | Self::Injected)
    }
}
