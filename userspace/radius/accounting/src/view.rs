//! A session as others see it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::doubts::Doubts;
use crate::id::SessionId;
use crate::record::Prefix6;

/// Whether a session is open, or by what it was closed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum State {
    /// It goes on.
    Open,
    /// The NAS reported its end. Final: what comes afterwards corrects it, and never opens it.
    Stopped,
    /// Its NAS began anew or ended (Accounting-On, Accounting-Off). An update from afterwards opens
    /// it again: some NASes send Accounting-On when accounting is configured.
    Rebooted,
    /// Nothing was heard of it for too long. A later update opens it again.
    Lost,
    /// Its NAS gave the id to another session; or it was a second Start of the session before it,
    /// of which nothing else was heard.
    Superseded,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Open, Self::Stopped, Self::Rebooted, Self::Lost, Self::Superseded];

    /// In snake case, as columns and counters have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Stopped => "stopped",
            Self::Rebooted => "rebooted",
            Self::Lost => "lost",
            Self::Superseded => "superseded",
        }
    }

    /// For storage.
    pub(crate) const fn number(self) -> u64 {
        match self {
            Self::Open => 0,
            Self::Stopped => 1,
            Self::Rebooted => 2,
            Self::Lost => 3,
            Self::Superseded => 4,
        }
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// A session of the table, copied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SessionView {
    /// Its name.
    pub id: SessionId,
    /// Whether it is open.
    pub state: State,
    /// The entry of its NAS in the configuration.
    pub nas: String,
    /// NAS-Identifier, as it stands in packets.
    pub nas_identifier: Option<Vec<u8>>,
    /// NAS-IP-Address or NAS-IPv6-Address.
    pub nas_address: Option<IpAddr>,
    /// NAS-Port.
    pub nas_port: Option<u32>,
    /// NAS-Port-Id.
    pub nas_port_id: Option<Vec<u8>>,
    /// Acct-Session-Id; empty if the NAS sends none.
    pub session: Vec<u8>,
    /// User-Name.
    pub user: Vec<u8>,
    /// The subscriber, or else User-Name: what sessions are counted by.
    pub subscriber: Vec<u8>,
    /// Calling-Station-Id.
    pub calling: Option<Vec<u8>>,
    /// Framed-IP-Address.
    pub framed_address: Option<Ipv4Addr>,
    /// Framed-IPv6-Prefix.
    pub framed_prefix: Option<Prefix6>,
    /// Framed-IPv6-Address.
    pub framed_address6: Option<Ipv6Addr>,
    /// Delegated-IPv6-Prefix.
    pub delegated_prefix: Option<Prefix6>,
    /// When it began, in seconds since 1970: as its Start says, or else its session time.
    pub started: u32,
    /// When it was last known to go on, in seconds since 1970.
    pub updated: u32,
    /// When it ended, in seconds since 1970; none while it is open. Of a [`Lost`](State::Lost),
    /// [`Superseded`](State::Superseded) or, after Accounting-On, [`Rebooted`](State::Rebooted)
    /// session it is when it was last known to go on: nobody pays for what nobody saw.
    pub ended: Option<u32>,
    /// Session time, in seconds.
    pub seconds: u32,
    /// Octets that the user sent.
    pub octets_in: u64,
    /// Octets that the user received.
    pub octets_out: u64,
    /// Packets that the user sent, as the NAS counts them: modulo 2^32.
    pub packets_in: u32,
    /// Packets that the user received, as the NAS counts them: modulo 2^32.
    pub packets_out: u32,
    /// Acct-Terminate-Cause, 255 for any above.
    pub cause: Option<u8>,
    /// Seconds between its interim updates, if there were any.
    pub interval: Option<u32>,
    /// Seconds since it was heard of last, while it is open; since it was closed, afterwards.
    pub quiet: u32,
    /// Seconds since the latest event that is known of it, by the clock that nobody sets.
    pub idle: u32,
    /// What was not quite right about it.
    pub doubts: Doubts,
}
