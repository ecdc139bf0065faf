//! How a role uses the directory.

use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use muralla_mail_envelope::{Address, Domain};

use serde::{Deserialize, Serialize};

use crate::SendingLimits;

/// What somebody may do with his mail who is blocked as a subscriber of RADIUS. Mail for him is taken as before in any case, so that
/// nothing is lost; an account that is to be closed is disabled itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockedSubscribers {
    /// Whatever he may otherwise.
    Serve,
    /// He reads it, and sends nothing.
    #[default]
    Read,
    /// He does not log in.
    Refuse,
}

/// How a role uses the directory.
#[derive(Clone, Debug)]
pub struct Options {
    /// How the database's own tools call who is connected.
    pub application: String,
    /// Where a copy is kept on this machine's disk, for a start while the database is away. It holds what passwords are
    /// compared with and the keys of DKIM.
    pub copy: Option<PathBuf>,
    /// How long the log of changes reaches back. A role that was away for longer reads everything again.
    pub keep_changes: Duration,
    /// Domain of who logs in with a name alone.
    pub default_domain: Option<Domain>,
    /// Who gets mail for `postmaster` in domains that have none (RFC 5321 section 4.5.1).
    pub postmaster: Option<Address>,
    /// Bytes that an account may have if nothing else says it; 0: no limit.
    pub quota_bytes: u64,
    /// How much an account may send if nothing else says it, until [`Directory::set_limits`](crate::Directory::set_limits) says
    /// something else.
    pub limits: SendingLimits,
    /// What a blocked subscriber may do with his mail.
    pub blocked_subscribers: BlockedSubscribers,
    /// Costly password checks that run at once; each takes 19 MiB and a core.
    pub checks: usize,
    /// Logins that wait for one of them at most. More are told to come again.
    pub waiting: usize,
    /// How long the outcome of a check is remembered.
    pub remember: Duration,
    /// Whether keys of SCRAM-SHA-256 are made of new passwords.
    pub scram: bool,
    /// Whether a password that fits is stored anew as [`Registry::set_password`](crate::Registry::set_password) would, where
    /// it was imported in another form.
    pub upgrade: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            application: "muralla-mail".into(),
            copy: None,
            keep_changes: Duration::from_secs(24 * 3600),
            default_domain: None,
            postmaster: None,
            quota_bytes: 300_000_000,
            limits: SendingLimits::USUAL,
            blocked_subscribers: BlockedSubscribers::default(),
            checks: available_parallelism().map_or(1, usize::from),
            waiting: 1_000,
            remember: Duration::from_secs(600),
            scram: true,
            upgrade: true,
        }
    }
}
