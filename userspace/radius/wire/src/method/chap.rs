//! A digest over the password and a challenge (RFC 1994).

use md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::Unusable;
use crate::kind;
use crate::packet::Packet;

/// What a client offers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attempt<'a> {
    /// The identifier of the challenge.
    pub id: u8,
    /// What the NAS asked.
    pub challenge: &'a [u8],
    /// What the client made of it.
    pub response: &'a [u8; 16],
}

impl<'a> Attempt<'a> {
    /// Reads it from an Access-Request; none if it has no CHAP-Password. Without a CHAP-Challenge the authenticator is
    /// the challenge (RFC 2865 section 5.40).
    pub fn of(packet: &Packet<'a>) -> Result<Option<Self>, Unusable> {
        let Some(password) = packet.first(kind::CHAP_PASSWORD) else { return Ok(None) };
        let (&id, response) = password.split_first().ok_or(Unusable::Response)?;
        let response = response.try_into().map_err(|_| Unusable::Response)?;
        let challenge = packet.first(kind::CHAP_CHALLENGE).unwrap_or(packet.authenticator());
        if challenge.is_empty() {
            return Err(Unusable::Challenge);
        }
        Ok(Some(Self { id, challenge, response }))
    }

    /// Whether it was made with this password.
    pub fn verify(&self, password: &[u8]) -> bool {
        respond(self.id, password, self.challenge).ct_eq(self.response).into()
    }
}

/// What a client with this password makes of a challenge (RFC 1994 section 4.1).
pub fn respond(id: u8, password: &[u8], challenge: &[u8]) -> [u8; 16] {
    Md5::new().chain_update([id]).chain_update(password).chain_update(challenge).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use crate::{Code, Writer};

    /// RFC 2865 section 7.2: flopsy's password is arctangent.
    #[test]
    fn the_packet_of_rfc_2865() {
        let bytes = samples::flopsy();
        let packet = Packet::parse(&bytes).unwrap();
        let attempt = Attempt::of(&packet).unwrap().unwrap();
        assert_eq!((attempt.id, attempt.challenge), (0x16, &packet.authenticator()[..]));
        assert!(attempt.verify(b"arctangent"));
        assert!(!attempt.verify(b"arctangenT"));
        assert!(!Attempt { id: 0x17, ..attempt }.verify(b"arctangent"));
    }

    /// What is read from a packet with these attributes.
    fn read(password: Option<&[u8]>, challenge: Option<&[u8]>) -> Result<Option<bool>, Unusable> {
        let mut buffer = [0; 600];
        let secret = samples::secret();
        let mut writer = Writer::request(&mut buffer, Code::ACCESS_REQUEST, 1, [5; 16], &secret);
        password.into_iter().for_each(|value| writer.push(kind::CHAP_PASSWORD, value));
        challenge.into_iter().for_each(|value| writer.push(kind::CHAP_CHALLENGE, value));
        let length = writer.finish().unwrap();
        let packet = Packet::parse(&buffer[..length]).unwrap();
        Ok(Attempt::of(&packet)?.map(|attempt| attempt.verify(b"secret")))
    }

    #[test]
    fn a_challenge_of_its_own_comes_before_the_authenticator() {
        let password = |challenge: &[u8]| [&[9], &respond(9, b"secret", challenge)[..]].concat();
        assert_eq!(read(Some(&password(b"challenge!")), Some(b"challenge!")), Ok(Some(true)));
        assert_eq!(read(Some(&password(&[5; 16])), Some(b"challenge!")), Ok(Some(false)));
        assert_eq!(read(Some(&password(&[5; 16])), None), Ok(Some(true)));
        assert_eq!(read(None, Some(b"challenge!")), Ok(None));
        assert_eq!(read(Some(&password(b"")), Some(b"")), Err(Unusable::Challenge));
        for length in [0, 1, 16, 18, 253] {
            assert_eq!(read(Some(&vec![9; length]), None), Err(Unusable::Response));
        }
    }
}
