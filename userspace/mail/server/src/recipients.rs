//! Who gets mail for an address, and what its sender is told if nobody does.

use muralla_mail_directory::{Directory, Resolution};
use muralla_mail_envelope::prvs::{self, Verdict};
use muralla_mail_envelope::{Address, Domain, Keys, srs};
use muralla_smtp::server::Decision;

use crate::clock;
use crate::plan::Known;

/// Answers out of the directory's memory, so that nobody waits and nothing is told by time.
#[derive(Clone, Debug)]
pub(crate) struct Recipients {
    pub(crate) directory: Directory,
    pub(crate) keys: Option<Keys>,
    pub(crate) forwarding: Domain,
    /// Whether what comes back is taken for signed senders alone.
    pub(crate) signed_bounces_only: bool,
}

/// Why nobody gets it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Nobody {
    /// The domain is ours, and the name is nobody's.
    Unknown,
    /// The same, as far as is known while the database is away.
    UnknownForNow,
    /// Somebody has it, and takes no mail.
    Disabled,
    /// It is none of ours.
    NotOurs,
    /// What was entered leads round in a circle, or to too many.
    Astray,
    /// A signed or rewritten address that is not good.
    Forged,
    /// A failure that comes back, and answers nothing that we sent.
    Unsigned,
}

impl Recipients {
    /// Who gets mail for an address. `from_nobody` is whether it is a failure that comes back.
    pub(crate) fn find(
        &self,
        address: &Address,
        from_nobody: bool,
        now: i64,
    ) -> Result<Known, Nobody> {
        if let Some(keys) = &self.keys {
            if address.domain() == Some(&self.forwarding) && srs::is_rewritten(&address.local) {
                return match srs::restore(&address.local, keys, clock::today(now)) {
                    // Only failures come back to it: with another sender it would be a relay.
                    Ok(address) if from_nobody => Ok(Known::Bounce(address)),
                    Ok(_) | Err(_) => Err(Nobody::Forged),
                };
            }
            match prvs::check(address, keys, clock::today(now)) {
                Verdict::Signed(plain) | Verdict::Expired(plain) => return self.resolve(&plain),
                Verdict::Forged if self.is_ours(address) => return Err(Nobody::Forged),
                Verdict::Plain
                    if from_nobody
                        && self.signed_bounces_only
                        && self.is_ours(address)
                        && !is_role(address)
                        && prvs::has_room(address) =>
                {
                    return Err(Nobody::Unsigned);
                }
                Verdict::Forged | Verdict::Plain => {}
            }
        }
        self.resolve(address)
    }

    fn is_ours(&self, address: &Address) -> bool {
        address.domain().is_some_and(|domain| self.directory.is_local(domain))
    }

    fn resolve(&self, address: &Address) -> Result<Known, Nobody> {
        match self.directory.resolve(address) {
            Resolution::Deliver(targets) => Ok(Known::Targets(targets)),
            Resolution::Unknown if self.directory.status().away_since.is_some() => {
                Err(Nobody::UnknownForNow)
            }
            Resolution::Unknown => Err(Nobody::Unknown),
            Resolution::Disabled => Err(Nobody::Disabled),
            Resolution::NotOurs => Err(Nobody::NotOurs),
            Resolution::TooMany | Resolution::Loop => Err(Nobody::Astray),
        }
    }
}

/// Names to which everybody may write in any case: RFC 5321 section 4.5.1, RFC 2142 section 4.
fn is_role(address: &Address) -> bool {
    let local = address.local.as_str();
    ["postmaster", "abuse"].iter().any(|role| local.eq_ignore_ascii_case(role))
}

impl Nobody {
    /// What the sender is told.
    pub(crate) fn decision(self) -> Decision {
        match self {
            Self::Unknown => {
                Decision::permanent(550, 1, 1, "Nobody has this address: look how it is written")
            }
            Self::UnknownForNow => {
                Decision::temporary(450, 1, 1, "Whether anybody has this address can't be told now")
            }
            Self::Disabled => Decision::permanent(550, 2, 1, "This mailbox takes no mail"),
            Self::NotOurs => {
                Decision::permanent(550, 7, 1, "This server takes no mail for that domain")
            }
            // Whoever entered it may mend it, and nothing is lost until then.
            Self::Astray => Decision::temporary(451, 3, 5, "This address leads astray for now"),
            Self::Unsigned => Decision::permanent(
                550,
                7,
                1,
                "This answers mail that was not sent from here: its sender was forged",
            ),
            Self::Forged => {
                Decision::permanent(550, 1, 1, "This address was not made here, or is too old")
            }
        }
    }
}
