//! What an operator decides about a proxy.

use ipnet::IpNet;
use muralla_mail_envelope::Domain;
use muralla_smtp::client::Speaks;
use muralla_smtp::server::{Config as SmtpConfig, Mode};

use super::hop::{NextHop, Waits};
use crate::config::{Config, loopback};

/// What is particular to a proxy.
#[derive(Clone, Debug)]
pub struct Relay {
    /// What clients speak.
    pub speaks: Speaks,
    /// What it calls itself, on both sides.
    pub name: Domain,
    /// Where messages go.
    pub next: NextHop,
    /// Who is believed about who his client is. They are mail systems of one's own, and never clients themselves.
    pub believed: Vec<IpNet>,
    /// Whether a client in SMTP has to send a message for each recipient, so that each has a verdict of his own. It has to be so
    /// where the next hop speaks LMTP: its answers for several recipients have no place in SMTP.
    pub one_recipient: bool,
    /// Whether a `Received` field is written above messages.
    pub received: bool,
    /// Minutes that the clock's zone lies east of Greenwich, for that field.
    pub offset_minutes: i16,
    /// How long the next hop is waited for.
    pub waits: Waits,
}

impl Relay {
    /// A proxy as most want it.
    #[must_use]
    pub fn new(speaks: Speaks, name: Domain, next: NextHop) -> Self {
        Self {
            speaks,
            name,
            next,
            believed: loopback(),
            one_recipient: false,
            received: true,
            offset_minutes: 0,
            waits: Waits::default(),
        }
    }

    pub(super) fn is_lmtp(&self) -> bool {
        matches!(self.speaks, Speaks::Lmtp)
    }

    /// The session's side of it.
    pub(super) fn session(&self, config: &Config) -> SmtpConfig {
        let mode = if self.is_lmtp() { Mode::Lmtp } else { Mode::Mx };
        let mut session = SmtpConfig::new(mode, self.name.clone());
        let limits = &mut session.limits;
        limits.largest_message = u64::try_from(config.largest_message).unwrap_or(u64::MAX);
        limits.recipients = config.recipients;
        if !self.is_lmtp() && (self.one_recipient || self.next.is_lmtp()) {
            limits.recipients = 1;
        }
        // Whom the next hop does not know, it says; who asks is a mail system that was trusted with that.
        limits.refused_recipients = u32::MAX;
        limits.messages = u32::MAX;
        session
    }
}
