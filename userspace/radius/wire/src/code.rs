//! What a packet is.

use std::fmt;

/// The code of a packet, its first octet (RFC 2865 section 4, RFC 2866 section 4, RFC 5176 section 2.3).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Code(pub u8);

impl Code {
    /// A user wants in.
    pub const ACCESS_REQUEST: Self = Self(1);
    /// The user may come in.
    pub const ACCESS_ACCEPT: Self = Self(2);
    /// The user may not.
    pub const ACCESS_REJECT: Self = Self(3);
    /// A session begins, goes on or ends.
    pub const ACCOUNTING_REQUEST: Self = Self(4);
    /// What was accounted is safe.
    pub const ACCOUNTING_RESPONSE: Self = Self(5);
    /// The user is asked for more.
    pub const ACCESS_CHALLENGE: Self = Self(11);
    /// Is the server there? (RFC 5997)
    pub const STATUS_SERVER: Self = Self(12);
    /// The NAS is to end a session.
    pub const DISCONNECT_REQUEST: Self = Self(40);
    /// The session was ended.
    pub const DISCONNECT_ACK: Self = Self(41);
    /// The session was not ended.
    pub const DISCONNECT_NAK: Self = Self(42);
    /// The NAS is to change a session.
    pub const COA_REQUEST: Self = Self(43);
    /// The session was changed.
    pub const COA_ACK: Self = Self(44);
    /// The session was not changed.
    pub const COA_NAK: Self = Self(45);

    /// The name that the RFCs give it; `Unknown` if they give none.
    pub fn name(self) -> &'static str {
        match self {
            Self::ACCESS_REQUEST => "Access-Request",
            Self::ACCESS_ACCEPT => "Access-Accept",
            Self::ACCESS_REJECT => "Access-Reject",
            Self::ACCOUNTING_REQUEST => "Accounting-Request",
            Self::ACCOUNTING_RESPONSE => "Accounting-Response",
            Self::ACCESS_CHALLENGE => "Access-Challenge",
            Self::STATUS_SERVER => "Status-Server",
            Self::DISCONNECT_REQUEST => "Disconnect-Request",
            Self::DISCONNECT_ACK => "Disconnect-ACK",
            Self::DISCONNECT_NAK => "Disconnect-NAK",
            Self::COA_REQUEST => "CoA-Request",
            Self::COA_ACK => "CoA-ACK",
            Self::COA_NAK => "CoA-NAK",
            _ => "Unknown",
        }
    }

    /// Whether somebody waits for an answer to it.
    pub fn is_request(self) -> bool {
        matches!(
            self,
            Self::ACCESS_REQUEST
                | Self::ACCOUNTING_REQUEST
                | Self::STATUS_SERVER
                | Self::DISCONNECT_REQUEST
                | Self::COA_REQUEST
        )
    }

    /// Whether it answers a request.
    pub fn is_reply(self) -> bool {
        matches!(
            self,
            Self::ACCESS_ACCEPT
                | Self::ACCESS_REJECT
                | Self::ACCOUNTING_RESPONSE
                | Self::ACCESS_CHALLENGE
                | Self::DISCONNECT_ACK
                | Self::DISCONNECT_NAK
                | Self::COA_ACK
                | Self::COA_NAK
        )
    }

    /// Whether its authenticator is random, so that only Message-Authenticator can prove where it comes from
    /// (RFC 2865 section 3, RFC 5997 section 3). The authenticators of other requests are digests.
    pub(crate) fn has_random_authenticator(self) -> bool {
        matches!(self, Self::ACCESS_REQUEST | Self::STATUS_SERVER)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            "Unknown" => write!(f, "code {}", self.0),
            name => f.pad(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_a_request_or_a_reply_or_unknown() {
        let mut known = 0;
        for code in (0..=u8::MAX).map(Code) {
            assert!(!(code.is_request() && code.is_reply()), "{code}");
            assert_eq!(code.is_request() || code.is_reply(), code.name() != "Unknown", "{code}");
            known += usize::from(code.name() != "Unknown");
        }
        assert_eq!(known, 13);
        assert_eq!(Code(13).to_string(), "code 13");
        assert_eq!(format!("{:<16}|", Code::COA_ACK), "CoA-ACK         |");
    }
}
