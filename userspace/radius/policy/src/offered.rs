//! What a request offers as proof of who somebody is.

use muralla_radius_wire::hidden;
use muralla_radius_wire::method::{Unusable, chap, mschap, mschap2};
use muralla_radius_wire::{Packet, Secret, kind};

/// What a request offers.
#[derive(Clone, Copy)]
pub enum Offered<'a> {
    /// Nothing at all.
    Nothing,
    /// The password.
    Pap(&'a [u8]),
    /// CHAP (RFC 1994).
    Chap(chap::Attempt<'a>),
    /// MS-CHAP (RFC 2433).
    MsChap(mschap::Attempt<'a>),
    /// MS-CHAPv2 (RFC 2759).
    MsChap2 {
        /// The response.
        attempt: mschap2::Attempt<'a>,
        /// User-Name, which the response was made with.
        user_name: &'a [u8],
    },
}

/// How somebody offers to prove who he is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "their names are their documentation")]
pub enum Method {
    Nothing,
    Pap,
    Chap,
    MsChap,
    MsChap2,
}

/// Why what a request offers can't be looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BadOffer {
    /// Passwords of several methods (RFC 2865 section 4.1 forbids User-Password with CHAP-Password).
    #[error("the request has passwords of several methods: let the NAS send one")]
    Several,
    /// EAP, which is not spoken here.
    #[error("the request has EAP-Message: let the NAS use PAP, CHAP or MS-CHAPv2")]
    Eap,
    /// User-Password has an impossible length.
    #[error("User-Password has not 16, 32, ... or 128 octets")]
    Length,
    /// The method's attributes don't fit together.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

impl<'a> Offered<'a> {
    /// Reads what an Access-Request offers. `buffer` takes the password, which `secret` reveals.
    ///
    /// # Errors
    ///
    /// [`BadOffer`], if nothing can be made of it, whoever the user is.
    pub fn of(
        packet: &Packet<'a>,
        secret: &Secret,
        buffer: &'a mut [u8; hidden::LONGEST_PASSWORD],
    ) -> Result<Self, BadOffer> {
        if packet.has(kind::EAP_MESSAGE) {
            return Err(BadOffer::Eap);
        }
        let password = packet.first(kind::USER_PASSWORD);
        let chap = chap::Attempt::of(packet)?;
        // Only a vendor's attributes can be these, and most requests have none.
        let (mschap, mschap2) = if packet.has(kind::VENDOR_SPECIFIC) {
            (mschap::Attempt::of(packet)?, mschap2::Attempt::of(packet)?)
        } else {
            (None, None)
        };
        Ok(match (password, chap, mschap, mschap2) {
            (None, None, None, None) => Self::Nothing,
            (Some(hidden), None, None, None) => Self::Pap(
                hidden::password(hidden, secret, packet.authenticator(), buffer)
                    .ok_or(BadOffer::Length)?,
            ),
            (None, Some(attempt), None, None) => Self::Chap(attempt),
            (None, None, Some(attempt), None) => Self::MsChap(attempt),
            (None, None, None, Some(attempt)) => {
                let user_name = packet.first(kind::USER_NAME).unwrap_or_default();
                Self::MsChap2 { attempt, user_name }
            }
            _ => return Err(BadOffer::Several),
        })
    }

    /// The method.
    pub fn method(&self) -> Method {
        match self {
            Self::Nothing => Method::Nothing,
            Self::Pap(_) => Method::Pap,
            Self::Chap(_) => Method::Chap,
            Self::MsChap(_) => Method::MsChap,
            Self::MsChap2 { .. } => Method::MsChap2,
        }
    }
}

/// Without the password.
impl std::fmt::Debug for Offered<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Offered({})", self.method().name())
    }
}

impl Method {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "no password",
            Self::Pap => "PAP",
            Self::Chap => "CHAP",
            Self::MsChap => "MS-CHAP",
            Self::MsChap2 => "MS-CHAPv2",
        }
    }
}

#[cfg(test)]
mod tests {
    use muralla_radius_wire::vendor::{MICROSOFT, microsoft};
    use muralla_radius_wire::{Code, LONGEST, Writer};

    use super::*;

    fn read(write: impl FnOnce(&mut Writer<'_>)) -> Result<(Method, Vec<u8>), BadOffer> {
        let secret = Secret::new("secret").unwrap();
        let mut bytes = [0; LONGEST];
        let mut writer = Writer::request(&mut bytes, Code::ACCESS_REQUEST, 1, [7; 16], &secret);
        write(&mut writer);
        let length = writer.finish().unwrap();
        let packet = Packet::parse(&bytes[..length]).unwrap();
        let mut buffer = [0; 128];
        Offered::of(&packet, &secret, &mut buffer).map(|offered| {
            let password = match offered {
                Offered::Pap(password) => password.to_vec(),
                Offered::MsChap2 { user_name, .. } => user_name.to_vec(),
                _ => Vec::new(),
            };
            assert!(!format!("{offered:?}").contains("arctangent"));
            (offered.method(), password)
        })
    }

    #[test]
    fn one_method_or_none() {
        let chap = [1; 17];
        let mut mschap = [0; 50];
        mschap[1] = 1;
        assert_eq!(read(|_| {}), Ok((Method::Nothing, vec![])));
        let pap = read(|writer| writer.hide_password(b"arctangent"));
        assert_eq!(pap, Ok((Method::Pap, b"arctangent".to_vec())));
        let password = read(|writer| writer.push(kind::CHAP_PASSWORD, &chap));
        assert_eq!(password, Ok((Method::Chap, vec![])));
        let version_1 = read(|writer| {
            writer.push_vendor(MICROSOFT, microsoft::CHAP_CHALLENGE, &[1; 8]);
            writer.push_vendor(MICROSOFT, microsoft::CHAP_RESPONSE, &mschap);
        });
        assert_eq!(version_1, Ok((Method::MsChap, vec![])));
        let version_2 = read(|writer| {
            writer.push(kind::USER_NAME, b"ann");
            writer.push_vendor(MICROSOFT, microsoft::CHAP_CHALLENGE, &[1; 16]);
            writer.push_vendor(MICROSOFT, microsoft::CHAP2_RESPONSE, &mschap);
        });
        assert_eq!(version_2, Ok((Method::MsChap2, b"ann".to_vec())));
    }

    #[test]
    fn what_can_not_be_looked_at() {
        let both = read(|writer| {
            writer.hide_password(b"arctangent");
            writer.push(kind::CHAP_PASSWORD, &[1; 17]);
        });
        assert_eq!(both, Err(BadOffer::Several));
        assert_eq!(read(|writer| writer.push(kind::EAP_MESSAGE, b"x")), Err(BadOffer::Eap));
        let torn = read(|writer| writer.push(kind::USER_PASSWORD, &[1; 17]));
        assert_eq!(torn, Err(BadOffer::Length));
        let short = read(|writer| writer.push(kind::CHAP_PASSWORD, &[1; 16]));
        assert_eq!(short, Err(BadOffer::Unusable(Unusable::Response)));
    }
}
