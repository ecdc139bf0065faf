//! Microsoft's CHAP, version 1 (RFC 2433, RFC 2548 section 2.1). Only for clients that know nothing better.

use md4::Md4;
use md5::Digest;
use subtle::ConstantTimeEq;

use super::{Unusable, des};
use crate::packet::Packet;
use crate::vendor::{MICROSOFT, microsoft};

/// The client sent a response made from the NT hash (RFC 2548 section 2.1.3).
const USE_NT_RESPONSE: u8 = 1;

/// What a client offers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attempt<'a> {
    /// The identifier of the challenge, to be given back in an error.
    pub id: u8,
    /// What the NAS asked.
    pub challenge: &'a [u8; 8],
    /// What the client made of it with the NT hash.
    pub response: &'a [u8; 24],
}

impl<'a> Attempt<'a> {
    /// Reads it from an Access-Request; none if it has no MS-CHAP-Response.
    pub fn of(packet: &Packet<'a>) -> Result<Option<Self>, Unusable> {
        let Some(value) = packet.vendor(MICROSOFT, microsoft::CHAP_RESPONSE) else {
            return Ok(None);
        };
        let value: &[u8; 50] = value.try_into().map_err(|_| Unusable::Response)?;
        let [id, flags, responses @ ..] = value;
        let response = responses.last_chunk().ok_or(Unusable::Response)?;
        if flags & USE_NT_RESPONSE == 0 {
            return Err(Unusable::LanManager);
        }
        let challenge =
            packet.vendor(MICROSOFT, microsoft::CHAP_CHALLENGE).ok_or(Unusable::Challenge)?;
        let challenge = challenge.try_into().map_err(|_| Unusable::Challenge)?;
        Ok(Some(Self { id: *id, challenge, response }))
    }

    /// Whether it was made with the password that has this NT hash.
    pub fn verify(&self, nt_hash: &[u8; 16]) -> bool {
        respond(self.challenge, nt_hash).ct_eq(self.response).into()
    }
}

/// What a client makes of a challenge (RFC 2433 appendix A.4).
pub fn respond(challenge: &[u8; 8], nt_hash: &[u8; 16]) -> [u8; 24] {
    des::respond(challenge, nt_hash)
}

/// The hash that Windows stores: MD4 over UTF-16 (RFC 2433 appendix A.5). What is not UTF-8 is taken as Latin-1,
/// as clients do that know nothing of either.
pub fn nt_hash(password: &[u8]) -> [u8; 16] {
    let mut hash = Md4::new();
    match str::from_utf8(password) {
        Ok(text) => text.encode_utf16().for_each(|unit| hash.update(unit.to_le_bytes())),
        Err(_) => password.iter().for_each(|&octet| hash.update([octet, 0])),
    }
    hash.finalize().into()
}

/// The hash of a hash from which keys are made (RFC 2759 section 8.4).
pub fn nt_hash_hash(nt_hash: &[u8; 16]) -> [u8; 16] {
    Md4::digest(nt_hash).into()
}

/// The hash of LAN Manager (RFC 2433 appendix A.2), from which keys of 40 and 56 bits are made. None if the password
/// is not ASCII: what comes of others depends on the client's code page.
pub fn lm_hash(password: &[u8]) -> Option<[u8; 16]> {
    password.is_ascii().then_some(())?;
    let mut keys = [0; 14];
    keys.iter_mut().zip(password).for_each(|(to, from)| *to = from.to_ascii_uppercase());
    let mut hash = [0; 16];
    let blocks = hash.as_chunks_mut::<8>().0.iter_mut();
    blocks
        .zip(keys.as_chunks::<7>().0)
        .for_each(|(block, key)| *block = des::encrypt(b"KGS!@#$%", key));
    Some(hash)
}

/// The value of MS-CHAP-MPPE-Keys, to be [hidden](crate::Writer::push_hidden) like a password (RFC 2548 section
/// 2.4.1). Without a LAN Manager hash there are keys of 128 bits only. The RFC speaks of the NT hash; what clients
/// and NASes compute with is its hash (RFC 3079 section 2.3).
pub fn mppe_keys(nt_hash: &[u8; 16], lm_hash: Option<&[u8; 16]>) -> [u8; 32] {
    let lm_key = lm_hash.and_then(|hash| hash.first_chunk::<8>()).unwrap_or(&[0; 8]);
    let nt_key = nt_hash_hash(nt_hash);
    let mut keys = [0; 32];
    keys.iter_mut().zip(lm_key.iter().chain(&nt_key)).for_each(|(to, from)| *to = *from);
    keys
}

/// Why a client is refused (RFC 2433 section 6, RFC 2759 section 6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u16)]
pub enum Refusal {
    /// Not at this hour.
    RestrictedHours = 646,
    /// The account is disabled.
    Disabled = 647,
    /// The password has expired.
    PasswordExpired = 648,
    /// The account may not dial in.
    NoDialIn = 649,
    /// Name or password are wrong.
    Wrong = 691,
}

/// The value of MS-CHAP-Error in a reject (RFC 2548 section 2.1.5). The client may not try again on the same call;
/// the challenge is there because the format has one.
pub fn error(id: u8, refusal: Refusal, challenge: &[u8; 8]) -> [u8; 33] {
    error_text(id, refusal, challenge, b'2')
}

pub(super) fn error_text<const N: usize>(
    id: u8,
    refusal: Refusal,
    challenge: &[u8],
    version: u8,
) -> [u8; N] {
    let code = refusal as u16;
    let digits = [code / 100, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8);
    let parts = [id].into_iter().chain(*b"E=").chain(digits).chain(*b" R=0 C=");
    let parts = parts.chain(challenge.iter().flat_map(|&octet| hex(octet)));
    let mut text = [0; N];
    text.iter_mut().zip(parts.chain(*b" V=").chain([version])).for_each(|(to, from)| *to = from);
    text
}

/// Two digits, in capitals as MS-CHAP wants them.
pub(super) fn hex(octet: u8) -> [u8; 2] {
    [octet >> 4, octet & 0xf].map(|digit| match digit {
        0..10 => b'0' + digit,
        _ => b'A' + digit - 10,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use crate::{Code, Writer};

    const CHALLENGE: [u8; 8] = [0x10, 0x2d, 0xb5, 0xdf, 0x08, 0x5d, 0x30, 0x41];

    fn array<const N: usize>(hex: &str) -> [u8; N] {
        samples::hex(hex).try_into().unwrap()
    }

    /// RFC 2433 appendix B, RFC 2759 section 9.2, RFC 3079 section 2.5.
    #[test]
    fn hashes() {
        let cases = [
            ("clientPass", "44ebba8d5312b8d611474411f56989ae"),
            ("MyPw", "fc156af7edcd6c0edde3337d427f4eac"),
            // What Windows makes of no password at all.
            ("", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        ];
        for (password, expected) in cases {
            assert_eq!(nt_hash(password.as_bytes()), array(expected), "{password}");
        }
        let hash_hash = nt_hash_hash(&nt_hash(b"clientPass"));
        assert_eq!(hash_hash, array("41c00c584bd2d91c4017a2a12fa59f3f"));

        let cases = [
            ("clientPass", "76a1529360 96d7830e23902274 04afd2"),
            ("password", "e52cac67419a9a224a3b108f3fa6cb6d"),
            ("PaSsWoRd", "e52cac67419a9a224a3b108f3fa6cb6d"),
            ("", "aad3b435b51404eeaad3b435b51404ee"),
        ];
        for (password, expected) in cases {
            let expected = array(&expected.replace(' ', ""));
            assert_eq!(lm_hash(password.as_bytes()), Some(expected), "{password}");
        }
        assert_eq!(lm_hash("pässword".as_bytes()), None);
    }

    #[test]
    fn passwords_beyond_ascii() {
        let units = |units: &[u16]| -> [u8; 16] {
            let bytes: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            Md4::digest(bytes).into()
        };
        assert_eq!(nt_hash("pä€𝄞".as_bytes()), units(&[0x70, 0xe4, 0x20ac, 0xd834, 0xdd1e]));
        assert_eq!(nt_hash(b"p\xe4"), units(&[0x70, 0xe4]));
    }

    /// RFC 2433 appendix B.2.
    #[test]
    fn the_response_of_rfc_2433() {
        let response = array("4e9d3c8f9cfd385d5bf4d3246791956ca4c351ab409a3d61");
        let attempt = Attempt { id: 1, challenge: &CHALLENGE, response: &response };
        assert!(attempt.verify(&nt_hash(b"MyPw")));
        assert!(!attempt.verify(&nt_hash(b"mypw")));
    }

    #[test]
    fn keys_are_lm_then_nt() {
        let (nt, lm) = (nt_hash(b"clientPass"), lm_hash(b"clientPass"));
        let keys = mppe_keys(&nt, lm.as_ref());
        let expected = "76a1529360 96d783 41c00c584bd2d91c4017a2a12fa59f3f 0000000000000000";
        assert_eq!(keys, array(&expected.replace(' ', "")));
        assert_eq!(mppe_keys(&nt, None)[..8], [0; 8]);
        assert_eq!(mppe_keys(&nt, None)[8..], keys[8..]);
    }

    #[test]
    fn an_error_has_a_challenge() {
        let text = error(7, Refusal::Wrong, &CHALLENGE);
        assert_eq!(text, *b"\x07E=691 R=0 C=102DB5DF085D3041 V=2");
    }

    fn read(challenge: Option<&[u8]>, response: Option<&[u8]>) -> Result<Option<bool>, Unusable> {
        let mut buffer = [0; 600];
        let secret = samples::secret();
        let mut writer = Writer::request(&mut buffer, Code::ACCESS_REQUEST, 1, [5; 16], &secret);
        for (kind, value) in
            [(microsoft::CHAP_CHALLENGE, challenge), (microsoft::CHAP_RESPONSE, response)]
        {
            value.into_iter().for_each(|value| writer.push_vendor(MICROSOFT, kind, value));
        }
        let length = writer.finish().unwrap();
        let packet = Packet::parse(&buffer[..length]).unwrap();
        Ok(Attempt::of(&packet)?.map(|attempt| attempt.verify(&nt_hash(b"MyPw"))))
    }

    #[test]
    fn what_a_packet_offers() {
        let nt = respond(&CHALLENGE, &nt_hash(b"MyPw"));
        let response = |flags: u8| [&[1, flags], &[0; 24][..], &nt].concat();
        assert_eq!(read(Some(&CHALLENGE), Some(&response(1))), Ok(Some(true)));
        assert_eq!(read(Some(&[0; 8]), Some(&response(1))), Ok(Some(false)));
        assert_eq!(read(Some(&CHALLENGE), None), Ok(None));
        assert_eq!(read(Some(&CHALLENGE), Some(&response(0))), Err(Unusable::LanManager));
        assert_eq!(read(None, Some(&response(1))), Err(Unusable::Challenge));
        assert_eq!(read(Some(&[0; 16]), Some(&response(1))), Err(Unusable::Challenge));
        assert_eq!(read(Some(&CHALLENGE), Some(&response(1)[1..])), Err(Unusable::Response));
    }
}
