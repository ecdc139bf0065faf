//! What the operator decides about a server.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use muralla_mail_envelope::{Address, Domain, LocalPart};

use crate::framing::Bounds;
use crate::tls::Certificates;

/// Whom a server is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mode {
    /// Other servers: port 25. No `AUTH`.
    Mx,
    /// Our users: ports 587 and 465 (RFC 6409, RFC 8314). No mail without `AUTH`, no `AUTH` without TLS.
    Submission,
    /// Whoever hands over mail for local delivery: RFC 2033.
    Lmtp,
}

/// A server's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Whom it is for.
    pub mode: Mode,
    /// What it calls itself, in its greeting and everywhere.
    pub name: Domain,
    /// Whom `<postmaster>` without a domain is.
    pub postmaster: Option<Address>,
    /// Its certificates. Without them, there is no TLS, and so no submission.
    pub certificates: Option<Arc<Certificates>>,
    /// Whether `REQUIRETLS` (RFC 8689) is offered: only where mail goes on to a queue that honours it.
    pub requiretls: bool,
    /// Load balancers: each of their connections begins with a PROXY header that says who the client is.
    pub proxies: Vec<IpNet>,
    /// What it takes.
    pub limits: Limits,
    /// How long it waits.
    pub times: Times,
}

/// What a server takes. All of it may be set to what the operator likes; the standards' minima are in the comments.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Octets in a command line, without its end. RFC 5321 has 512, to which extensions add what their parameters need.
    pub longest_command: usize,
    /// Octets in a line of a login dialog: RFC 4954 section 4 has 12288.
    pub longest_login: usize,
    /// Octets in a line of a message, without its end. RFC 5321 has 998; much mail that people want has more.
    pub longest_line: usize,
    /// Octets in a message.
    pub largest_message: u64,
    /// Recipients of a message: 100 at least.
    pub recipients: usize,
    /// Messages in one connection.
    pub messages: u32,
    /// Commands in one connection that were wrong in any way.
    pub errors: u32,
    /// Recipients in one connection that were refused.
    pub refused_recipients: u32,
    /// Logins in one connection that failed.
    pub failed_logins: u32,
    /// Commands in a row that lead nowhere, such as `NOOP` and `RSET`; those beyond are errors.
    pub idle_commands: u32,
    /// Connections at once.
    pub connections: usize,
    /// Connections at once of one source: an IPv4 address, or an IPv6 network of 64 bits.
    pub connections_per_source: u32,
    /// Octets of messages in memory, of all connections: those that come in, and those that a handler has not decided about.
    /// What one read of a connection brings may come on top.
    pub memory: usize,
    /// Octets of these that one source may have; at least those of one message.
    pub memory_per_source: usize,
    /// Octets of a message that are to come in a minute, pauses of [`Times::data`] aside; 0 if that does not matter. A modem of 9.6
    /// kbit/s has twice as many as the usual.
    pub least_rate: u64,
}

/// How long a server waits for a client. RFC 5321 section 4.5.3.2.7 has 5 minutes at least for commands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Times {
    /// For a command, from the reply before it.
    pub command: Duration,
    /// The same while three quarters of all connections are taken: who does nothing then keeps others out.
    pub pressed: Duration,
    /// For the next piece of a message; and for all pauses together that are not made up for by what comes faster than
    /// [`Limits::least_rate`].
    pub data: Duration,
    /// For all of a message.
    pub message: Duration,
    /// For a TLS handshake.
    pub handshake: Duration,
    /// For a client to take a reply.
    pub write: Duration,
    /// For memory, where other messages have all of it.
    pub memory: Duration,
    /// For a client to hang up after the last reply.
    pub linger: Duration,
    /// For the session to end, all in all.
    pub session: Duration,
}

impl Config {
    /// A configuration with what most want.
    #[must_use]
    pub fn new(mode: Mode, name: Domain) -> Self {
        let postmaster = LocalPart::new("postmaster").ok();
        let postmaster = postmaster.map(|local| Address::new(local, name.clone()));
        Self {
            mode,
            name,
            postmaster,
            certificates: None,
            requiretls: false,
            proxies: Vec::new(),
            limits: Limits::new(mode),
            times: Times::default(),
        }
    }

    /// Bounds of a message.
    pub(crate) const fn bounds(&self) -> Bounds {
        Bounds { octets: self.limits.largest_message, line: self.limits.longest_line }
    }
}

impl Limits {
    /// What most want.
    #[must_use]
    pub const fn new(mode: Mode) -> Self {
        let lmtp = matches!(mode, Mode::Lmtp);
        Self {
            longest_command: 2048,
            longest_login: 12_288,
            longest_line: 256 << 10,
            largest_message: 35 << 20,
            recipients: if lmtp { 1000 } else { 100 },
            messages: if lmtp { u32::MAX } else { 500 },
            errors: 20,
            refused_recipients: if lmtp { u32::MAX } else { 50 },
            failed_logins: 3,
            idle_commands: 100,
            connections: 2000,
            connections_per_source: if lmtp { 1000 } else { 20 },
            memory: 512 << 20,
            memory_per_source: if lmtp { 512 << 20 } else { 64 << 20 },
            least_rate: 32 << 10,
        }
    }
}

impl Default for Times {
    fn default() -> Self {
        Self {
            command: Duration::from_secs(5 * 60),
            pressed: Duration::from_secs(30),
            data: Duration::from_secs(3 * 60),
            message: Duration::from_secs(60 * 60),
            handshake: Duration::from_secs(30),
            write: Duration::from_secs(60),
            memory: Duration::from_secs(20),
            linger: Duration::from_secs(2),
            session: Duration::from_secs(6 * 60 * 60),
        }
    }
}
