//! RADIUS packets (RFC 2865, RFC 2869, RFC 2866); [`mschap`] is what a peer of MS-CHAPv2 answers.

pub mod mschap;

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
/// Code of Accounting-Response.
pub const ACCOUNTING_RESPONSE: u8 = 5;

/// Length of the header, in bytes.
pub const HEADER: usize = 20;

const USER_NAME: u8 = 1;
const USER_PASSWORD: u8 = 2;
const CHAP_PASSWORD: u8 = 3;
const NAS_PORT: u8 = 5;
const VENDOR_SPECIFIC: u8 = 26;
const CHAP_CHALLENGE: u8 = 60;
const MESSAGE_AUTHENTICATOR: u8 = 80;

/// Microsoft's number, and of its attributes those for MS-CHAPv2 (RFC 2548 sections 2.1.2 and 2.3.2).
const MICROSOFT: u32 = 311;
const MS_CHAP_CHALLENGE: u8 = 11;
const MS_CHAP2_RESPONSE: u8 = 25;

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
        Self::access_request(identifier, authenticator)
            .attribute(USER_NAME, user.as_bytes())
            .password(secret, password)
            .attribute(NAS_PORT, &1_u32.to_be_bytes())
            .signed(secret)
    }

    /// An Access-Request that begins with a Message-Authenticator, to be filled in by [`Packet::signed`].
    pub fn access_request(identifier: u8, authenticator: [u8; 16]) -> Self {
        Self::new(ACCESS_REQUEST, identifier, authenticator)
            .attribute(MESSAGE_AUTHENTICATOR, &[0; 16])
    }

    /// Adds a hidden password (RFC 2865 section 5.2).
    pub fn password(self, secret: &[u8], password: &str) -> Self {
        let hidden = hide_password(password.as_bytes(), &self.authenticator, secret);
        self.attribute(USER_PASSWORD, &hidden)
    }

    /// Adds what a peer answers to a challenge of CHAP, and the challenge (RFC 2865 sections 5.3 and 5.40).
    pub fn chap(self, ident: u8, challenge: &[u8; 16], password: &str) -> Self {
        let response = md5(&[&[ident], password.as_bytes(), challenge]);
        let value = [&[ident][..], &response].concat();
        self.attribute(CHAP_PASSWORD, &value).attribute(CHAP_CHALLENGE, challenge)
    }

    /// Adds what a peer answers to a challenge of MS-CHAPv2, and the challenge (RFC 2548 sections 2.1.2 and 2.3.2).
    pub fn mschap2(
        self,
        ident: u8,
        [challenge, peer_challenge]: [&[u8; 16]; 2],
        user: &str,
        password: &str,
    ) -> Self {
        let response = mschap::nt_response(challenge, peer_challenge, user, password);
        // Ident, flags, the peer's challenge, eight reserved bytes, the response.
        let value = [&[ident, 0][..], peer_challenge, &[0; 8], &response].concat();
        self.vendor(MICROSOFT, MS_CHAP_CHALLENGE, challenge).vendor(
            MICROSOFT,
            MS_CHAP2_RESPONSE,
            &value,
        )
    }

    /// Adds an attribute; beyond 253 bytes the value is cut.
    pub fn attribute(mut self, kind: u8, value: &[u8]) -> Self {
        let value = value.get(..253).unwrap_or(value);
        self.attributes.extend([kind, value.len() as u8 + 2]);
        self.attributes.extend(value);
        self
    }

    /// Adds a vendor's attribute (RFC 2865 section 5.26); beyond 247 bytes the value is cut.
    pub fn vendor(self, vendor: u32, kind: u8, value: &[u8]) -> Self {
        let value = value.get(..247).unwrap_or(value);
        let inner = [&vendor.to_be_bytes()[..], &[kind, value.len() as u8 + 2], value].concat();
        self.attribute(VENDOR_SPECIFIC, &inner)
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
    pub fn signed(mut self, secret: &[u8]) -> Self {
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

/// Whether a response's Message-Authenticator fits; none where it has none (RFC 2869 section 5.14).
pub fn message_authenticator_fits(
    response: &[u8],
    request_authenticator: &[u8; 16],
    secret: &[u8],
) -> Option<bool> {
    let mut packet = response.to_vec();
    packet.get_mut(4..HEADER)?.copy_from_slice(request_authenticator);
    let mut at = HEADER;
    while let Some(&[kind, length]) = packet.get(at..at + 2).and_then(|head| head.as_array()) {
        let length = usize::from(length).max(2);
        if kind == MESSAGE_AUTHENTICATOR {
            let value: [u8; 16] = packet.get(at + 2..at + length)?.try_into().ok()?;
            packet.get_mut(at + 2..at + length)?.fill(0);
            return Some(hmac_md5(secret, &packet) == value);
        }
        at += length;
    }
    None
}

/// Fills in an Accounting-Request's authenticator (RFC 2866 section 3).
pub fn seal_accounting(packet: &mut [u8], secret: &[u8]) {
    let sealed = match (packet.get(..4), packet.get(HEADER..)) {
        (Some(head), Some(attributes)) => md5(&[head, &[0; 16], attributes, secret]),
        _ => return,
    };
    if let Some(authenticator) = packet.get_mut(4..HEADER) {
        authenticator.copy_from_slice(&sealed);
    }
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
    fn message_authenticators_are_found_and_checked() {
        let authenticator = [7; 16];
        let response = Packet::new(ACCESS_ACCEPT, 9, authenticator)
            .attribute(MESSAGE_AUTHENTICATOR, &[0; 16])
            .attribute(6, &[0, 0, 0, 2])
            .signed(b"secret");
        let fits = |response: &[u8], secret: &[u8]| {
            message_authenticator_fits(response, &authenticator, secret)
        };
        let mut response = response.encode();
        assert_eq!(fits(&response, b"secret"), Some(true));
        assert_eq!(fits(&response, b"another"), Some(false));
        response[HEADER + 20] ^= 1;
        assert_eq!(fits(&response, b"secret"), Some(false), "a changed attribute");
        let without = Packet::new(ACCESS_ACCEPT, 9, authenticator).attribute(6, &[0, 0, 0, 2]);
        assert_eq!(fits(&without.encode(), b"secret"), None);
        (0..response.len())
            .for_each(|cut| assert_ne!(fits(&response[..cut], b"secret"), Some(true)));
        assert_eq!(fits(&[0; 24], b"secret"), None, "lengths of zero come to an end");
    }

    #[test]
    fn accounting_is_sealed_over_all_of_the_packet() {
        let packet = Packet::new(ACCOUNTING_REQUEST, 3, [0; 16]).attribute(40, &[0, 0, 0, 1]);
        let mut sealed = packet.encode();
        seal_accounting(&mut sealed, b"secret");
        let expected = md5(&[&[4, 3, 0, 26], &[0; 16], &[40, 6, 0, 0, 0, 1], b"secret"]);
        assert_eq!(sealed[4..HEADER], expected);
        let mut short = [4, 0, 0, 20];
        seal_accounting(&mut short, b"secret");
        assert_eq!(short, [4, 0, 0, 20]);
    }

    #[test]
    fn chap_is_what_rfc_1994_section_4_1_says() {
        let packet = Packet::access_request(1, [0; 16]).chap(5, &[9; 16], "pw").encode();
        let response = md5(&[&[5], b"pw", &[9; 16]]);
        let expected = [&[CHAP_PASSWORD, 19, 5][..], &response, &[CHAP_CHALLENGE, 18], &[9; 16]];
        assert_eq!(packet[HEADER + 18..], expected.concat());
    }

    #[test]
    fn vendors_attributes_lie_within_one() {
        let packet = Packet::new(1, 1, [0; 16]).vendor(MICROSOFT, 11, &[1, 2]).encode();
        assert_eq!(packet[HEADER..], [26, 10, 0, 0, 1, 55, 11, 4, 1, 2]);
        let peer = [3; 16];
        let packet = Packet::new(1, 1, [0; 16]).mschap2(4, [&[2; 16], &peer], "User", "clientPass");
        let packet = packet.encode();
        assert_eq!(packet.len(), HEADER + 2 + 4 + 2 + 16 + 2 + 4 + 2 + 50);
        assert_eq!(packet[HEADER + 24..HEADER + 34], [26, 58, 0, 0, 1, 55, 25, 52, 4, 0]);
        assert_eq!(packet[HEADER + 34..HEADER + 50], peer);
    }

    #[test]
    fn hmac_of_rfc_2202() {
        let expected = 0x750c_783e_6ab0_b503_eaa8_6e31_0a5d_b738_u128.to_be_bytes();
        assert_eq!(hmac_md5(b"Jefe", b"what do ya want for nothing?"), expected);
    }
}
