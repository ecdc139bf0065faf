//! How a client goes about it.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use muralla_mail_envelope::Domain;

use crate::tls::Dane;

/// How to call a server, and what to do there.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the server speaks.
    pub speaks: Speaks,
    /// What we call ourselves.
    pub name: Domain,
    /// The address that we call from, if it matters.
    pub source: Option<IpAddr>,
    /// Whether and how the connection is encrypted.
    pub tls: TlsPolicy,
    /// Whether TLS begins at once, as on port 465: RFC 8314 section 3.3.
    pub implicit_tls: bool,
    /// Who we say that we are, where the server wants to know.
    pub login: Option<Login>,
    /// What happens to octets beyond 127 where the server has not said that it takes them.
    pub eight_bit: EightBit,
    /// Most recipients in one transaction; the others follow in more of them. RFC 5321 section 4.5.3.1.8: servers take 100.
    pub recipients: usize,
    /// How long to wait.
    pub waits: Waits,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Speaks {
    /// SMTP.
    Smtp,
    /// LMTP: RFC 2033.
    Lmtp,
}

/// Whether and how a connection is encrypted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TlsPolicy {
    /// Not at all.
    Never,
    /// If the server can, with whatever certificate; and otherwise not: RFC 7435.
    Opportunistic,
    /// Always, with whatever certificate.
    Encrypted,
    /// Always, and the server proves that it is who it is called: MTA-STS (RFC 8461 section 4), and smarthosts.
    Verified,
    /// Always, and the server proves by records of DNS that it is who it is called: RFC 7672.
    Dane(Arc<Dane>),
}

/// A name and its password, for a smarthost. They are said over TLS alone.
#[derive(Clone, Eq, PartialEq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// What happens to octets beyond 127 where the server has not offered 8BITMIME (RFC 6152).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum EightBit {
    /// They are sent. Servers without 8BITMIME have been rare for decades, and take them all the same; and rewriting a message
    /// would break its signatures.
    #[default]
    AsIs,
    /// The message fails (5.6.3), as the standard has it.
    Refuse,
}

/// How long a client waits. The defaults are those of RFC 5321 section 4.5.3.2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Waits {
    /// For a connection.
    pub connect: Duration,
    /// For a TLS handshake.
    pub handshake: Duration,
    /// For the greeting.
    pub greeting: Duration,
    /// For the reply to a command, all of it.
    pub command: Duration,
    /// For the reply to `DATA`.
    pub data: Duration,
    /// For the server to take a piece of a message.
    pub block: Duration,
    /// For the reply to a message.
    pub message: Duration,
    /// For the reply to `QUIT`.
    pub quit: Duration,
}

impl Options {
    /// Options that most want.
    #[must_use]
    pub fn new(speaks: Speaks, name: Domain) -> Self {
        Self {
            speaks,
            name,
            source: None,
            tls: TlsPolicy::Opportunistic,
            implicit_tls: false,
            login: None,
            eight_bit: EightBit::AsIs,
            recipients: 100,
            waits: Waits::default(),
        }
    }
}

impl TlsPolicy {
    /// Whether mail goes nowhere without TLS.
    #[must_use]
    pub const fn is_required(&self) -> bool {
        matches!(self, Self::Encrypted | Self::Verified | Self::Dane(_))
    }
}

impl Default for Waits {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            connect: Duration::from_secs(30),
            handshake: minutes(1),
            greeting: minutes(5),
            command: minutes(5),
            data: minutes(2),
            block: minutes(3),
            message: minutes(10),
            quit: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Login of {:?}", self.user)
    }
}
