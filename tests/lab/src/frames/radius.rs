//! RADIUS packets (RFC 2865, RFC 2869, RFC 2866).

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};

/// Code of Access-Request.
pub const ACCESS_REQUEST: u8 = 1;
/// Code of Access-Accept.
pub const ACCESS_ACCEPT: u8 = 2;
/// Code of Access-Reject.
pub const ACCESS_REJECT: u8 = 3;
/// Code of Accounting-Request.
pub const ACCOUNTING_REQUEST: u8 = 4;

/// Length of the header, in bytes.
pub const HEADER: usize = 20;

const USER_NAME: u8 = 1;
const USER_PASSWORD: u8 = 2;
const NAS_PORT: u8 = 5;
const MESSAGE_AUTHENTICATOR: u8 = 80;

/// A packet: a header, and attributes in the order in which they were added.
#[derive(Clone, Debug)]
pub struct Packet {
    code: u8,
    identifier: u8,
    authenticator: [u8; 16],
    length: Option<u16>,
    attributes: Vec<u8>,
}

impl Packet {
    /// A packet without attributes.
    pub const fn new(code: u8, identifier: u8, authenticator: [u8; 16]) -> Self {
        Self { code, identifier, authenticator, length: None, attributes: Vec::new() }
    }

    /// An Access-Request by PAP with a Message-Authenticator in front, as a modern NAS sends it.
    pub fn pap(
        identifier: u8,
        authenticator: [u8; 16],
        secret: &[u8],
        user: &str,
        password: &str,
    ) -> Self {
        let hidden = hide_password(password.as_bytes(), &authenticator, secret);
        Self::new(ACCESS_REQUEST, identifier, authenticator)
            .attribute(MESSAGE_AUTHENTICATOR, &[0; 16])
            .attribute(USER_NAME, user.as_bytes())
            .attribute(USER_PASSWORD, &hidden)
            .attribute(NAS_PORT, &1_u32.to_be_bytes())
            .signed(secret)
    }

    /// Adds an attribute; beyond 253 bytes the value is cut.
    pub fn attribute(mut self, kind: u8, value: &[u8]) -> Self {
        let value = value.get(..253).unwrap_or(value);
        self.attributes.extend([kind, value.len() as u8 + 2]);
        self.attributes.extend(value);
        self
    }

    /// Adds bytes where attributes belong, whatever they are.
    pub fn raw_attributes(mut self, bytes: &[u8]) -> Self {
        self.attributes.extend(bytes);
        self
    }

    /// The Length field, whatever there is.
    pub fn length(mut self, bytes: u16) -> Self {
        self.length = Some(bytes);
        self
    }

    /// Fills in the Message-Authenticator when it is the first attribute (RFC 2869 section 5.14).
    fn signed(mut self, secret: &[u8]) -> Self {
        let signature = hmac_md5(secret, &self.encode());
        if let Some(value) = self.attributes.get_mut(2..18) {
            value.copy_from_slice(&signature);
        }
        self
    }

    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let length = self.length.unwrap_or((HEADER + self.attributes.len()) as u16);
        let mut packet = vec![self.code, self.identifier];
        packet.extend(length.to_be_bytes());
        packet.extend(self.authenticator);
        packet.extend(&self.attributes);
        packet
    }
}

impl From<Packet> for Vec<u8> {
    fn from(packet: Packet) -> Self {
        packet.encode()
    }
}

/// The code of a response, if it answers the request with that identifier and authenticator and
/// knows the secret (RFC 2865 section 3, Response Authenticator).
pub fn verified_response(
    response: &[u8],
    identifier: u8,
    request_authenticator: &[u8; 16],
    secret: &[u8],
) -> Option<u8> {
    let (&[code, id, high, low], rest) = response.split_first_chunk::<4>()?;
    let (authenticator, rest) = rest.split_first_chunk::<16>()?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let attributes = rest.get(..length.checked_sub(HEADER)?)?;
    let expected = md5(&[&[code, id, high, low], request_authenticator, attributes, secret]);
    (id == identifier && expected == *authenticator).then_some(code)
}

/// Hides a password of at most 128 bytes (RFC 2865 section 5.2).
fn hide_password(password: &[u8], authenticator: &[u8; 16], secret: &[u8]) -> Vec<u8> {
    let password = password.get(..128).unwrap_or(password);
    let mut padded = password.to_vec();
    padded.resize(password.len().next_multiple_of(16).max(16), 0);
    let mut previous = *authenticator;
    let (blocks, _) = padded.as_chunks_mut::<16>();
    for block in blocks {
        let key = md5(&[secret, &previous]);
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        previous = *block;
    }
    padded
}

fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Md5::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

fn hmac_md5(key: &[u8], bytes: &[u8]) -> [u8; 16] {
    match Hmac::<Md5>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(bytes);
            mac.finalize().into_bytes().into()
        }
        Err(_) => unreachable!("HMAC takes keys of any length"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_of_rfc_2865_section_7_1() {
        let authenticator = 0x0f40_3f94_7397_8057_bd83_d5cb_98f4_227a_u128.to_be_bytes();
        let hidden = hide_password(b"arctangent", &authenticator, b"xyzzy5461");
        assert_eq!(hidden, 0x0dbe_708d_93d4_13ce_3196_e43f_782a_0aee_u128.to_be_bytes());
    }

    #[test]
    fn response_of_rfc_2865_section_7_1() {
        let authenticator = 0x0f40_3f94_7397_8057_bd83_d5cb_98f4_227a_u128.to_be_bytes();
        let mut response = [
            &[2, 0, 0, 0x26][..],
            &0x86fe_220e_7624_ba2a_1005_f6bf_9b55_e0b2_u128.to_be_bytes(),
            &[6, 6, 0, 0, 0, 1, 15, 6, 0, 0, 0, 0, 14, 6, 0xc0, 0xa8, 1, 3],
        ]
        .concat();
        let verify = |bytes: &[u8], id| verified_response(bytes, id, &authenticator, b"xyzzy5461");
        assert_eq!(verify(&response, 0), Some(ACCESS_ACCEPT));
        assert_eq!(verify(&response, 1), None, "another identifier");
        (0..response.len()).for_each(|cut| assert_eq!(verify(&response[..cut], 0), None));
        response[25] ^= 1;
        assert_eq!(verify(&response, 0), None, "a changed attribute");
    }

    #[test]
    fn hmac_of_rfc_2202() {
        let expected = 0x750c_783e_6ab0_b503_eaa8_6e31_0a5d_b738_u128.to_be_bytes();
        assert_eq!(hmac_md5(b"Jefe", b"what do ya want for nothing?"), expected);
    }
}
