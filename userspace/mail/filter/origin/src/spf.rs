//! Whether a host may send mail for a domain: RFC 7208.
//!
//! What its section 4.6.4 limits is limited here. Explanations (`exp=`) are read for their grammar and not fetched: they are
//! words of strangers, for people who trust us.

mod check;
mod macros;
mod record;

use std::net::IpAddr;

use muralla_mail_envelope::{Domain, ReversePath};

use crate::names::Inquiry;
use crate::outcome::Outcome;

/// What SPF says of a message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Spf {
    /// How it ended.
    pub outcome: Outcome,
    /// The domain that was asked.
    pub domain: String,
    /// Whose it is.
    pub identity: Identity,
    /// Whether that domain may speak for the message's author.
    pub aligned: bool,
    /// Why it ended so, for people; may be empty.
    pub reason: String,
}

/// Whose domain is asked: RFC 7208 sections 2.3 and 2.4.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Identity {
    /// That of the envelope's sender.
    #[default]
    MailFrom,
    /// That which the client calls itself, as its envelope has no sender.
    Helo,
}

/// Asks for the sender of an envelope, or for the client where there is none.
pub(crate) async fn check(
    inquiry: &Inquiry<'_>,
    ip: IpAddr,
    helo: &str,
    from: &ReversePath,
) -> Spf {
    let (identity, local, domain) = match from {
        ReversePath::Address(address) => {
            let Some(domain) = address.domain() else { return Spf::default() };
            (Identity::MailFrom, address.local.as_str(), domain.clone())
        }
        ReversePath::Null => {
            // What a client calls itself can be anything.
            let Ok(domain) = Domain::parse(helo.strip_suffix('.').unwrap_or(helo)) else {
                return Spf { identity: Identity::Helo, ..Spf::default() };
            };
            (Identity::Helo, "postmaster", domain)
        }
    };
    let (outcome, reason) = check::check(inquiry, ip, helo, local, domain.as_str()).await;
    Spf { outcome, domain: domain.into(), identity, aligned: false, reason }
}

#[cfg(test)]
mod tests;
