//! What a client did, for whoever decides what to do about it.

/// What a client did in a connection.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Report {
    /// Whether he spoke before he was greeted: no client that follows the protocol does (RFC 5321 section 4.3.1).
    pub early: bool,
    /// How often he sent on where he had to wait for a reply (RFC 2920 section 3.1).
    pub hurried: u32,
    /// Commands.
    pub commands: u32,
    /// Commands that were wrong: unknown, malformed, out of order, too long.
    pub errors: u32,
    /// Lines that ended otherwise than with CRLF, in commands and messages.
    pub bare_line_ends: u32,
    /// Whether he spoke another protocol: HTTP.
    pub foreign: bool,
    /// Octets that came in the clear behind `STARTTLS`: put there by somebody in between, or by somebody who guesses.
    pub injected: usize,
    /// Messages that were begun.
    pub mails: u32,
    /// Messages that were accepted.
    pub accepted: u32,
    /// Messages that were refused, at any step.
    pub refused: u32,
    /// Messages that he gave up.
    pub abandoned: u32,
    /// Recipients that were accepted.
    pub recipients: u32,
    /// Recipients that were refused for good.
    pub refused_recipients: u32,
    /// Of those, addresses that don't exist (5.1.1 and its neighbours).
    pub unknown_recipients: u32,
    /// Logins that failed.
    pub failed_logins: u32,
    /// Logins with the right password that were refused all the same: nobody guessed.
    pub disabled_logins: u32,
    /// Octets of messages.
    pub octets: u64,
    /// How it ended, once it has.
    pub end: End,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum End {
    /// Not yet.
    #[default]
    Open,
    /// With `QUIT`.
    Quit,
    /// The client hung up.
    Lost,
    /// He kept us waiting.
    TimedOut,
    /// He was refused from the start.
    Refused,
    /// He went too far: errors, unknown recipients, logins.
    Abusive,
    /// The handler wanted that.
    Closed,
    /// No TLS came about.
    Tls,
    /// The server was stopped.
    Stopped,
}

impl End {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Open,
        Self::Quit,
        Self::Lost,
        Self::TimedOut,
        Self::Refused,
        Self::Abusive,
        Self::Closed,
        Self::Tls,
        Self::Stopped,
    ];

    /// Its name, as metrics have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Quit => "quit",
            Self::Lost => "lost",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
            Self::Abusive => "abusive",
            Self::Closed => "closed",
            Self::Tls => "tls",
            Self::Stopped => "stopped",
        }
    }
}
