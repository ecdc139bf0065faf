//! What the operator may say about a server.

use std::time::Duration;

/// What the operator may say about the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Its name, for greetings.
    pub name: String,
    /// Whether anybody may log in without encryption. Only where all clients are our own customers' on our own lines.
    pub unencrypted_login: bool,
    /// Whether `SCRAM-SHA-256` is offered. Only where every account has keys for it: a client takes the best that is offered, and
    /// does not try another when that fails, so that whoever has a password that was imported as a hash could not log in.
    pub scram: bool,
    /// After how many days messages are removed from every mailbox, if they are. It is told to clients.
    pub expire_days: Option<u32>,
    /// After how many mistakes a connection is closed.
    pub most_errors: u32,
    /// After how many refused logins a connection is closed.
    pub most_failures: u32,
    /// How many connections there may be.
    pub connections: usize,
    /// How many of one source.
    pub connections_per_source: usize,
    /// Octets of messages that may be on their way to clients at once. As it was when the server was made.
    pub memory: u64,
    /// How long a client may take to log in.
    pub login: Duration,
    /// How long a client may be silent who is not logged in, while three quarters of all connections are taken.
    pub pressed: Duration,
    /// How long a client who is logged in may be silent: RFC 1939 section 3 wants ten minutes at least.
    pub idle: Duration,
    /// How long a client may take for each 64 KiB that are sent to him.
    pub send: Duration,
    /// How long anybody who is asked may take.
    pub patience: Duration,
    /// How long the answer to the first refused login is held back; with each further one, as much longer.
    pub failure_delay: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: "Muralla".to_owned(),
            unencrypted_login: false,
            scram: true,
            expire_days: None,
            most_errors: 20,
            most_failures: 3,
            connections: 10_000,
            connections_per_source: 20,
            memory: 256 * 1024 * 1024,
            login: Duration::from_secs(180),
            pressed: Duration::from_secs(30),
            idle: Duration::from_secs(600),
            send: Duration::from_secs(60),
            patience: Duration::from_secs(60),
            failure_delay: Duration::from_secs(2),
        }
    }
}

/// How connections of a listener begin.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mode {
    /// Without encryption, and `STLS` if there are certificates: port 110.
    Plain,
    /// With TLS: port 995.
    Tls,
}
