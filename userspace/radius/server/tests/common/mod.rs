//! A small RADIUS client of the tests' own: nothing in it comes from the product's codec.

#![allow(dead_code, reason = "each test file uses what it needs of it")]

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};

pub(crate) const ACCESS_REQUEST: u8 = 1;
pub(crate) const ACCESS_ACCEPT: u8 = 2;
pub(crate) const ACCESS_REJECT: u8 = 3;
pub(crate) const ACCOUNTING_REQUEST: u8 = 4;
pub(crate) const ACCOUNTING_RESPONSE: u8 = 5;
pub(crate) const STATUS_SERVER: u8 = 12;
pub(crate) const DISCONNECT_REQUEST: u8 = 40;
pub(crate) const DISCONNECT_ACK: u8 = 41;
pub(crate) const DISCONNECT_NAK: u8 = 42;

pub(crate) const MICROSOFT: u32 = 311;

/// A request in the making.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) code: u8,
    pub(crate) id: u8,
    pub(crate) authenticator: [u8; 16],
    pub(crate) attributes: Vec<u8>,
}

pub(crate) fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

pub(crate) fn hmac(secret: &[u8], data: &[u8]) -> [u8; 16] {
    let mut mac = Hmac::<Md5>::new_from_slice(secret).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// Some authenticator, another one for each number.
pub(crate) fn authenticator(number: u64) -> [u8; 16] {
    md5(&[b"authenticator", &number.to_be_bytes()])
}

impl Request {
    pub(crate) fn new(code: u8, id: u8) -> Self {
        let authenticator =
            if code == ACCOUNTING_REQUEST { [0; 16] } else { authenticator(id.into()) };
        Self { code, id, authenticator, attributes: Vec::new() }
    }

    pub(crate) fn with_authenticator(mut self, number: u64) -> Self {
        self.authenticator = authenticator(number);
        self
    }

    pub(crate) fn with(mut self, kind: u8, value: &[u8]) -> Self {
        self.attributes.push(kind);
        self.attributes.push(u8::try_from(value.len() + 2).unwrap());
        self.attributes.extend_from_slice(value);
        self
    }

    pub(crate) fn user(self, name: &str) -> Self {
        self.with(1, name.as_bytes())
    }

    pub(crate) fn number(self, kind: u8, number: u32) -> Self {
        self.with(kind, &number.to_be_bytes())
    }

    pub(crate) fn vendor(self, vendor: u32, kind: u8, value: &[u8]) -> Self {
        let inner = [kind, u8::try_from(value.len() + 2).unwrap()];
        let bytes = [&vendor.to_be_bytes()[..], &inner, value].concat();
        self.with(26, &bytes)
    }

    /// User-Password (RFC 2865 section 5.2).
    pub(crate) fn pap(self, secret: &[u8], password: &[u8]) -> Self {
        let mut padded = password.to_vec();
        padded.resize(password.len().max(1).next_multiple_of(16), 0);
        let (mut hidden, mut previous) = (Vec::new(), self.authenticator.to_vec());
        for block in padded.chunks(16) {
            let mask = md5(&[secret, &previous]);
            previous = block.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
            hidden.extend_from_slice(&previous);
        }
        self.with(2, &hidden)
    }

    /// CHAP-Password with a CHAP-Challenge (RFC 2865 sections 5.3 and 5.40).
    pub(crate) fn chap(self, password: &[u8], challenge: &[u8]) -> Self {
        let id = 7;
        let response = md5(&[&[id], password, challenge]);
        self.with(3, &[&[id][..], &response].concat()).with(60, challenge)
    }

    /// MS-CHAPv2 with the example of RFC 2759 section 9.2, whose user is `User` and whose password is `clientPass`.
    pub(crate) fn mschap2(self, right: bool) -> Self {
        let challenge = hex("5B5D7C7D7B3F2F3E3C2C602132262628");
        let peer = hex("21402324255E262A28295F2B3A337C7E");
        let mut response = hex("82309ECD8D708B5EA08FAA3981CD83544233114A3D85D6DF");
        if !right {
            response[5] ^= 1;
        }
        let value = [&[9, 0][..], &peer, &[0; 8], &response].concat();
        self.vendor(MICROSOFT, 11, &challenge).vendor(MICROSOFT, 25, &value)
    }

    /// As it goes over the wire, with a Message-Authenticator where the code has one, which is first.
    pub(crate) fn sign(&self, secret: &[u8]) -> Vec<u8> {
        if self.code == ACCESS_REQUEST || self.code == STATUS_SERVER {
            let mut packet = self.clone();
            packet.attributes = [&[80, 18][..], &[0; 16], &self.attributes].concat();
            let mut bytes = packet.plain();
            let mac = hmac(secret, &bytes);
            bytes[22..38].copy_from_slice(&mac);
            return bytes;
        }
        // RFC 2866 section 3.
        let mut bytes = self.plain();
        bytes[4..20].fill(0);
        let authenticator = md5(&[&bytes, secret]);
        bytes[4..20].copy_from_slice(&authenticator);
        bytes
    }

    /// Without a Message-Authenticator.
    pub(crate) fn plain(&self) -> Vec<u8> {
        let len = u16::try_from(20 + self.attributes.len()).unwrap();
        let mut bytes = vec![self.code, self.id];
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&self.authenticator);
        bytes.extend_from_slice(&self.attributes);
        bytes
    }
}

/// An answer that was checked.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) code: u8,
    pub(crate) id: u8,
    pub(crate) bytes: Vec<u8>,
    pub(crate) attributes: Vec<(u8, Vec<u8>)>,
}

impl Answer {
    pub(crate) fn first(&self, kind: u8) -> Option<&[u8]> {
        self.attributes.iter().find(|(other, _)| *other == kind).map(|(_, value)| &value[..])
    }

    pub(crate) fn number(&self, kind: u8) -> Option<u32> {
        self.first(kind).map(|value| u32::from_be_bytes(value.try_into().unwrap()))
    }

    pub(crate) fn vendor(&self, vendor: u32, kind: u8) -> Option<Vec<u8>> {
        self.attributes.iter().find_map(|(number, value)| {
            (*number == 26 && value[..4] == vendor.to_be_bytes() && value[4] == kind)
                .then(|| value[6..].to_vec())
        })
    }
}

/// Reads an answer, and checks that it is one to `request`: Response Authenticator (RFC 2865 section 3), and for Access-* a
/// Message-Authenticator that comes first.
pub(crate) fn check(bytes: &[u8], request: &[u8], secret: &[u8]) -> Answer {
    assert_eq!(usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), bytes.len());
    assert_eq!(bytes[1], request[1], "identifier");
    let expected = md5(&[&bytes[..4], &request[4..20], &bytes[20..], secret]);
    assert_eq!(bytes[4..20], expected, "Response Authenticator");
    let (mut attributes, mut at) = (Vec::new(), 20);
    while at < bytes.len() {
        let len = usize::from(bytes[at + 1]);
        attributes.push((bytes[at], bytes[at + 2..at + len].to_vec()));
        at += len;
    }
    if request[0] == ACCESS_REQUEST || request[0] == STATUS_SERVER {
        assert_eq!(bytes[20], 80, "Message-Authenticator comes first");
        let mut zeroed = bytes.to_vec();
        zeroed[4..20].copy_from_slice(&request[4..20]);
        zeroed[22..38].fill(0);
        assert_eq!(bytes[22..38], hmac(secret, &zeroed), "Message-Authenticator");
    }
    Answer { code: bytes[0], id: bytes[1], bytes: bytes.to_vec(), attributes }
}

/// A NAS.
pub(crate) struct Client {
    pub(crate) socket: UdpSocket,
    pub(crate) secret: Vec<u8>,
}

impl Client {
    pub(crate) fn new(from: &str, server: SocketAddr, secret: &[u8]) -> Self {
        let socket = UdpSocket::bind((from, 0)).unwrap();
        socket.connect(server).unwrap();
        Self { socket, secret: secret.to_vec() }
    }

    pub(crate) fn send(&self, request: &[u8]) {
        self.socket.send(request).unwrap();
    }

    /// What comes within some time.
    pub(crate) fn receive(&self, within: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(within)).unwrap();
        let mut buffer = [0; 8_192];
        self.socket.recv(&mut buffer).ok().map(|len| buffer[..len].to_vec())
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&self, request: &Request) -> Answer {
        self.ask_bytes(&request.sign(&self.secret))
    }

    pub(crate) fn ask_bytes(&self, request: &[u8]) -> Answer {
        self.send(request);
        let answer = self.receive(Duration::from_secs(10)).expect("an answer");
        check(&answer, request, &self.secret)
    }

    /// Asks, and there must be no answer.
    pub(crate) fn ask_in_vain(&self, request: &[u8]) {
        self.send(request);
        let answer = self.receive(Duration::from_millis(300));
        assert!(answer.is_none(), "{answer:?}");
    }
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}
