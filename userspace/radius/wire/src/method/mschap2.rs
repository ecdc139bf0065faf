//! Microsoft's CHAP, version 2 (RFC 2759, RFC 2548 section 2.3): both sides prove to know the password, and get keys
//! for MPPE out of it (RFC 3079 section 3).

use md5::Digest;
use sha1::Sha1;
use subtle::ConstantTimeEq;

use super::mschap::{Refusal, error_text, hex, nt_hash_hash};
use super::{Unusable, des};
use crate::packet::Packet;
use crate::vendor::{MICROSOFT, microsoft};

/// What a client offers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attempt<'a> {
    /// The identifier of the challenge, to be given back in success and error.
    pub id: u8,
    /// What the NAS asked.
    pub challenge: &'a [u8; 16],
    /// What the client asked.
    pub peer_challenge: &'a [u8; 16],
    /// What the client made of both.
    pub response: &'a [u8; 24],
}

impl<'a> Attempt<'a> {
    /// Reads it from an Access-Request; none if it has no MS-CHAP2-Response.
    pub fn of(packet: &Packet<'a>) -> Result<Option<Self>, Unusable> {
        let Some(value) = packet.vendor(MICROSOFT, microsoft::CHAP2_RESPONSE) else {
            return Ok(None);
        };
        let value: &[u8; 50] = value.try_into().map_err(|_| Unusable::Response)?;
        let [id, _flags, rest @ ..] = value;
        let peer_challenge = rest.first_chunk().ok_or(Unusable::Response)?;
        let response = rest.last_chunk().ok_or(Unusable::Response)?;
        let challenge =
            packet.vendor(MICROSOFT, microsoft::CHAP_CHALLENGE).ok_or(Unusable::Challenge)?;
        let challenge = challenge.try_into().map_err(|_| Unusable::Challenge)?;
        Ok(Some(Self { id: *id, challenge, peer_challenge, response }))
    }

    /// What proves to the client that the server knows the password, too, and the keys, if the response was made with
    /// the password that has this NT hash. The name goes into the response without a domain before it (RFC 2759
    /// section 8.2); as not all clients keep to that, the whole name is tried, too.
    pub fn verify(&self, nt_hash: &[u8; 16], user_name: &[u8]) -> Option<Proven> {
        let bare = without_domain(user_name);
        self.verify_as(nt_hash, bare).or_else(|| {
            if bare.len() == user_name.len() {
                return None;
            }
            self.verify_as(nt_hash, user_name)
        })
    }

    fn verify_as(&self, nt_hash: &[u8; 16], name: &[u8]) -> Option<Proven> {
        let challenge = challenge_hash(self.peer_challenge, self.challenge, name);
        let expected = des::respond(&challenge, nt_hash);
        let fits: bool = expected.ct_eq(self.response).into();
        fits.then(|| Proven::new(self.id, nt_hash, self.response, &challenge))
    }
}

/// What a client makes of a challenge (RFC 2759 section 8.1). `user_name` is without a domain.
pub fn respond(
    challenge: &[u8; 16],
    peer_challenge: &[u8; 16],
    user_name: &[u8],
    nt_hash: &[u8; 16],
) -> [u8; 24] {
    des::respond(&challenge_hash(peer_challenge, challenge, user_name), nt_hash)
}

/// A response that fits, and what follows from it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Proven {
    id: u8,
    authenticator_response: [u8; 20],
    /// The value of MS-MPPE-Send-Key: what the NAS encrypts with.
    pub send_key: [u8; 16],
    /// The value of MS-MPPE-Recv-Key: what the client encrypts with.
    pub recv_key: [u8; 16],
}

impl Proven {
    fn new(id: u8, nt_hash: &[u8; 16], response: &[u8; 24], challenge: &[u8; 8]) -> Self {
        let hash_hash = nt_hash_hash(nt_hash);
        // RFC 2759 section 8.7
        let digest = sha1([&hash_hash, response, b"Magic server to client signing constant"]);
        let authenticator_response =
            sha1([&digest, challenge, b"Pad to make it do more than one iteration"]);

        // RFC 3079 section 3
        let master = sha1([&hash_hash, response, b"This is the MPPE Master Key"]);
        let master: [u8; 16] = start(&master);
        let key = |magic: &[u8]| start(&sha1([&master, &[0; 40], magic, &[0xf2; 40]]));
        Self {
            id,
            authenticator_response,
            send_key: key(
                b"On the client side, this is the receive key; on the server side, it is the send key.",
            ),
            recv_key: key(
                b"On the client side, this is the send key; on the server side, it is the receive key.",
            ),
        }
    }

    /// The value of MS-CHAP2-Success (RFC 2548 section 2.3.3), without which no client believes an accept.
    pub fn success(&self) -> [u8; 43] {
        let digits = self.authenticator_response.iter().flat_map(|&octet| hex(octet));
        let mut value = [0; 43];
        let parts = [self.id, b'S', b'='].into_iter().chain(digits);
        value.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        value
    }
}

/// Without the keys.
impl std::fmt::Debug for Proven {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proven").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The value of MS-CHAP-Error in a reject (RFC 2548 section 2.1.5, RFC 2759 section 6). The client may not try again
/// on the same call; the challenge is there because the format has one.
pub fn error(id: u8, refusal: Refusal, challenge: &[u8; 16]) -> [u8; 49] {
    error_text(id, refusal, challenge, b'3')
}

/// RFC 2759 section 8.2.
fn challenge_hash(peer_challenge: &[u8; 16], challenge: &[u8; 16], name: &[u8]) -> [u8; 8] {
    start(&sha1([peer_challenge, challenge, name]))
}

fn without_domain(name: &[u8]) -> &[u8] {
    match name.iter().position(|&octet| octet == b'\\') {
        Some(at) => name.get(at + 1..).unwrap_or_default(),
        None => name,
    }
}

fn sha1<const N: usize>(pieces: [&[u8]; N]) -> [u8; 20] {
    pieces.iter().fold(Sha1::new(), |hash, piece| hash.chain_update(piece)).finalize().into()
}

/// The first octets.
fn start<const N: usize>(digest: &[u8; 20]) -> [u8; N] {
    let mut octets = [0; N];
    octets.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::method::mschap::nt_hash;
    use crate::samples;
    use crate::{Code, Writer};

    fn array<const N: usize>(hex: &str) -> [u8; N] {
        samples::hex(hex).try_into().unwrap()
    }

    struct Vector {
        challenge: [u8; 16],
        peer_challenge: [u8; 16],
        response: [u8; 24],
    }

    /// RFC 2759 section 9.2: User, clientPass.
    fn vector() -> Vector {
        Vector {
            challenge: array("5b5d7c7d7b3f2f3e3c2c602132262628"),
            peer_challenge: array("21402324255e262a28295f2b3a337c7e"),
            response: array("82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df"),
        }
    }

    impl Vector {
        fn attempt(&self) -> Attempt<'_> {
            Attempt {
                id: 7,
                challenge: &self.challenge,
                peer_challenge: &self.peer_challenge,
                response: &self.response,
            }
        }
    }

    #[test]
    fn the_exchange_of_rfc_2759() {
        let vector = vector();
        let hash = nt_hash(b"clientPass");
        let challenge = challenge_hash(&vector.peer_challenge, &vector.challenge, b"User");
        assert_eq!(challenge, array("d02e4386bce91226"));
        let response = respond(&vector.challenge, &vector.peer_challenge, b"User", &hash);
        assert_eq!(response, vector.response);
        let proven = vector.attempt().verify(&hash, b"User").unwrap();
        assert_eq!(proven.success(), *b"\x07S=407A5589115FD0D6209F510FE9C04566932CDA56");
        assert_eq!(vector.attempt().verify(&nt_hash(b"clientpass"), b"User"), None);
        assert_eq!(vector.attempt().verify(&hash, b"user"), None);
    }

    /// RFC 3079 section 3.5.3.
    #[test]
    fn the_keys_of_rfc_3079() {
        let vector = vector();
        let proven = vector.attempt().verify(&nt_hash(b"clientPass"), b"User").unwrap();
        assert_eq!(proven.send_key, array("8b7cdc149b993a1ba118cb153f56dccb"));
        // The other one is not in the RFC, but in the tests of several implementations.
        assert_eq!(proven.recv_key, array("d5f0e9521e3ea9589645e86051c82226"));
        let shown = format!("{proven:?}");
        assert_eq!(shown, "Proven { id: 7, .. }");
    }

    #[test]
    fn a_domain_is_no_part_of_the_name_or_is() {
        let mut vector = vector();
        let hash = nt_hash(b"clientPass");
        assert!(vector.attempt().verify(&hash, b"DOMAIN\\User").is_some());
        assert!(vector.attempt().verify(&hash, b"DOMAIN/User").is_none());
        vector.response =
            respond(&vector.challenge, &vector.peer_challenge, b"DOMAIN\\User", &hash);
        assert!(vector.attempt().verify(&hash, b"DOMAIN\\User").is_some());
        assert!(vector.attempt().verify(&hash, b"User").is_none());
    }

    #[test]
    fn an_error_has_a_challenge() {
        let text = error(7, Refusal::Disabled, &vector().challenge);
        assert_eq!(text, *b"\x07E=647 R=0 C=5B5D7C7D7B3F2F3E3C2C602132262628 V=3");
    }

    fn read(challenge: Option<&[u8]>, response: Option<&[u8]>) -> Result<Option<bool>, Unusable> {
        let mut buffer = [0; 600];
        let secret = samples::secret();
        let mut writer = Writer::request(&mut buffer, Code::ACCESS_REQUEST, 1, [5; 16], &secret);
        for (kind, value) in
            [(microsoft::CHAP_CHALLENGE, challenge), (microsoft::CHAP2_RESPONSE, response)]
        {
            value.into_iter().for_each(|value| writer.push_vendor(MICROSOFT, kind, value));
        }
        let length = writer.finish().unwrap();
        let packet = Packet::parse(&buffer[..length]).unwrap();
        let hash = nt_hash(b"clientPass");
        Ok(Attempt::of(&packet)?.map(|attempt| attempt.verify(&hash, b"User").is_some()))
    }

    #[test]
    fn what_a_packet_offers() {
        let vector = vector();
        let challenge = &vector.challenge[..];
        let response = [&[7, 0], &vector.peer_challenge[..], &[0; 8], &vector.response].concat();
        assert_eq!(read(Some(challenge), Some(&response)), Ok(Some(true)));
        assert_eq!(read(Some(&[0; 16]), Some(&response)), Ok(Some(false)));
        assert_eq!(read(Some(challenge), None), Ok(None));
        assert_eq!(read(None, Some(&response)), Err(Unusable::Challenge));
        assert_eq!(read(Some(&challenge[..8]), Some(&response)), Err(Unusable::Challenge));
        assert_eq!(read(Some(challenge), Some(&response[..49])), Err(Unusable::Response));
    }
}
