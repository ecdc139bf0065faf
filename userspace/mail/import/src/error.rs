//! Why a server's mail can't be had.

use std::io;

use muralla_mail_store::transfer::TransferError;

use crate::location::ServerLocation;

/// Why a server's mail can't be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteError {
    /// Its name leads nowhere.
    #[error("its name leads nowhere: {0}")]
    Name(io::Error),
    /// No connection.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// It broke.
    #[error("the connection broke before {what} came: {error}")]
    Lost {
        /// What was waited for.
        what: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// The server hung up.
    #[error("it hung up before {0} came")]
    Closed(&'static str),
    /// It ended the session by itself (RFC 3501 section 7.1.5).
    #[error("it ended the session: {0}")]
    Bye(String),
    /// It kept us waiting.
    #[error("it took too long with {0}")]
    TimedOut(&'static str),
    /// It can't now: another program is in the mailbox, or it has trouble (RFC 2449 section 8, RFC 3206).
    #[error("it can't now: {0}")]
    Busy(String),
    /// It does not speak the protocol.
    #[error("it does not speak the protocol: {0}")]
    Malformed(&'static str),
    /// It says more than anybody asked for.
    #[error("it says more than was asked for: {0}")]
    TooMuch(&'static str),
    /// No TLS.
    #[error(
        "it offers no TLS, so that others could read the password and the mail on the way; --insecure does it all the same"
    )]
    NoTls,
    /// Its certificate proves nothing to us.
    #[error(
        "its certificate is not to be trusted: {0}; name the authority that made it with --ca FILE, or take any with --insecure"
    )]
    Untrusted(String),
    /// A handshake failed.
    #[error("no TLS: {0}")]
    Tls(String),
    /// It sent something in the clear that would have been taken for something that was said inside TLS.
    #[error("it, or somebody in between, said something between STARTTLS and TLS")]
    Injected,
    /// It does not let us in.
    #[error("it refuses the login: {0}; look at the name and the password")]
    Login(String),
    /// It has no way to log in that we have.
    #[error("it offers neither AUTH=PLAIN nor a plain login")]
    NoLogin,
    /// What can't be said to a server.
    #[error("a name or a password with an end of line or a NUL in it can't be sent")]
    Unsayable,
    /// It refuses something that every server has to do.
    #[error("it refuses {what}: {text}")]
    Refused {
        /// What.
        what: &'static str,
        /// What it said.
        text: String,
    },
    /// A folder was numbered anew while it was read.
    #[error("it numbered the messages of {0} anew meanwhile; do it again")]
    Renumbered(String),
}

impl RemoteError {
    /// Whether the same may succeed in a moment.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Connect(_)
                | Self::Lost { .. }
                | Self::Closed(_)
                | Self::Bye(_)
                | Self::TimedOut(_)
                | Self::Busy(_)
                | Self::Renumbered(_)
        )
    }

    /// The same for who imports.
    pub(crate) fn of(self, location: &ServerLocation) -> TransferError {
        let (server, reason) = (location.to_string(), self.to_string());
        if self.may_pass() {
            TransferError::Lost { server, reason }
        } else {
            TransferError::Server { server, reason }
        }
    }
}

/// What a server said, as it may be shown.
pub(crate) fn shown(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let text = text.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    text.take(MOST_SHOWN).collect()
}

/// Characters of what a server said.
const MOST_SHOWN: usize = 200;
