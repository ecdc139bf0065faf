//! Disconnect and CoA of RFC 5176, which prints no packets. These were made by hand and by pyrad 2.4, which agree to the octet;
//! the `radius` crate looks at them as well. Each is read and verified, and written again.

#![cfg(test)]

use muralla_radius_wire::{
    Code, Packet, Requirement, Secret, Unverified, Writer, kind, verify_reply, verify_request,
};
use radius::core::packet::Packet as Theirs;

const SECRET: &[u8] = b"xyzzy5461";
const ID: u8 = 0x2a;
const ERROR_CAUSE: u8 = 101;

/// Requests for nemo's session 0000001a at 192.168.1.16, a CoA-Request with Session-Timeout 3600; the same with a
/// Message-Authenticator (section 3.4) at the end; the answers that acknowledge and refuse the first, and by which Error-Cause
/// (section 3.5).
struct Exchange {
    code: Code,
    request: &'static str,
    signed: &'static str,
    acknowledged: (Code, &'static str),
    refused: (Code, &'static str, u32),
}

const EXCHANGES: [Exchange; 2] = [
    Exchange {
        code: Code::DISCONNECT_REQUEST,
        request: "282a002ac9c1f8f30ecc584f52327204a322c2a801066e656d6f0406c0a801102c0a3030303030303161",
        signed: "282a003c739f2713c560c365f0d361b680b2982201066e656d6f0406c0a801102c0a3030303030303161\
                 5012e021c48f3cda967d7187bc8c95df49e1",
        acknowledged: (Code::DISCONNECT_ACK, "292a0014db21586554574ba9b59e2692491fb333"),
        refused: (
            Code::DISCONNECT_NAK,
            "2a2a001acedd141d5f075ff0cf3028dadfd792bb6506000001f7",
            503,
        ),
    },
    Exchange {
        code: Code::COA_REQUEST,
        request: "2b2a0030d5c8d32719c9dc6f651500708bcdfb3501066e656d6f0406c0a801102c0a3030303030303161\
                  1b0600000e10",
        signed: "2b2a004272f3461c087243ba3a19d87c780a6c2b01066e656d6f0406c0a801102c0a3030303030303161\
                 1b0600000e1050126fe8bc88ec4882afd95c57d4da6c79df",
        acknowledged: (Code::COA_ACK, "2c2a0014a43472915ea2444da5079b8639ce303a"),
        refused: (Code::COA_NAK, "2d2a001af6d3f202a3cc47e3266681f198b869e9650600000191", 401),
    },
];

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

fn secret() -> Secret {
    Secret::new(SECRET).unwrap()
}

#[test]
fn requests_are_verified_and_written_to_the_octet() {
    for Exchange { code, request, signed, .. } in EXCHANGES {
        let plain = hex(request);
        let packet = Packet::parse(&plain).unwrap();
        assert_eq!((packet.code(), packet.id()), (code, ID));
        assert_eq!(packet.text(kind::USER_NAME), Some("nemo"));
        assert_eq!(packet.text(kind::ACCT_SESSION_ID), Some("0000001a"));
        let (mut buffer, key) = ([0; 100], secret());
        let mut writer = Writer::request(&mut buffer, code, ID, [7; 16], &key);
        packet.attributes().for_each(|one| writer.push(one.kind, one.value));
        let length = writer.finish().unwrap();
        assert_eq!(buffer[..length], plain, "{code:?}");

        for bytes in [plain, hex(signed)] {
            let verify = |bytes: &[u8], secret: &Secret| {
                let packet = Packet::parse(bytes).unwrap();
                verify_request(&packet, std::slice::from_ref(secret), Requirement::Required)
            };
            assert_eq!(verify(&bytes, &secret()), Ok(0));
            assert!(Theirs::is_authentic_request(&bytes, SECRET));
            let other = Secret::new("xyzzy5462").unwrap();
            assert_eq!(verify(&bytes, &other), Err(Unverified::Authenticator));
            for at in 20..bytes.len() {
                let mut forged = bytes.clone();
                forged[at] ^= 1;
                if Packet::parse(&forged).is_ok() {
                    assert!(verify(&forged, &secret()).is_err(), "octet {at} of {code:?}");
                }
            }
        }
    }
}

#[test]
fn answers_are_verified_and_written_to_the_octet() {
    for Exchange { code, request, acknowledged, refused, .. } in EXCHANGES {
        let request = hex(request);
        let asked = Packet::parse(&request).unwrap();
        for (answer, bytes, cause) in
            [(acknowledged.0, acknowledged.1, None), (refused.0, refused.1, Some(refused.2))]
        {
            let bytes = hex(bytes);
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!((packet.code(), packet.number(ERROR_CAUSE)), (answer, cause));
            let verify = |authenticator| verify_reply(&packet, authenticator, &secret(), false);
            assert_eq!(verify(asked.authenticator()), Ok(()));
            assert_eq!(verify(&[0; 16]), Err(Unverified::Authenticator), "of another request");
            assert!(Theirs::is_authentic_response(&bytes, &request, SECRET));
            let (mut buffer, key) = ([0; 100], secret());
            let mut writer = Writer::reply(&mut buffer, answer, &asked, &key);
            cause.into_iter().for_each(|cause| writer.push_number(ERROR_CAUSE, cause));
            let length = writer.finish().unwrap();
            assert_eq!(buffer[..length], bytes, "{answer:?} to {code:?}");
        }
    }
}
