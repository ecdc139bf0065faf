//! The truncated answer, byte for byte, against one that is built from nothing.

use muralla_edge::config::{AnyPolicy, Role};
use muralla_lab::frames::dns::{
    FLAG_RECURSION, FLAG_RESPONSE, FLAG_TRUNCATED, Query, TYPE_ANY, wire_name,
};
use muralla_lab::frames::{EXTENSION_DESTINATION, EXTENSION_HOP_BY_HOP, Frame, Mac, udp};

use crate::fixture::{Fixture, XDP_TX, service_mut};
use crate::packets::*;

const CLIENT_MAC: Mac = [0x02, 0xaa, 1, 2, 3, 4];
const SERVER_MAC: Mac = [0x06, 0xbb, 5, 6, 7, 8];

/// OPT record (RFC 6891) that offers 1,232 bytes and has no options.
const OPT: [u8; 11] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];

/// What the client says after its question, and whether the answer has an OPT record.
fn additions() -> Vec<(&'static str, u16, Vec<u8>, bool)> {
    let opt = |size: u16, flags: [u8; 4], data: &[u8]| {
        let mut record = vec![0, 0, 41];
        record.extend(size.to_be_bytes());
        record.extend(flags);
        record.extend((data.len() as u16).to_be_bytes());
        record.extend(data);
        record
    };
    let cookie = [&[0, 10, 0, 8][..], b"COOKIE!!"].concat();
    let padding = [&[0, 12, 1, 0][..], &[0; 256]].concat();
    let tsig = [&[3, b'k', b'e', b'y', 0, 0, 250, 0, 255][..], &[0; 40]].concat();
    vec![
        ("nothing", 0, Vec::new(), false),
        ("EDNS", 1, opt(1_232, [0; 4], &[]), true),
        ("EDNS, 4096 bytes, DO", 1, opt(4_096, [0, 0, 0x80, 0], &[]), true),
        ("EDNS version 1", 1, opt(512, [0, 1, 0, 0], &[]), true),
        ("EDNS, cookie", 1, opt(1_232, [0; 4], &cookie), true),
        ("EDNS, padding", 1, opt(1_232, [0; 4], &padding), true),
        ("EDNS, TSIG", 2, [opt(1_232, [0; 4], &[]), tsig.clone()].concat(), true),
        // What follows is no OPT record, or not all of one: the answer has none.
        ("TSIG", 1, tsig, false),
        ("promised EDNS", 1, Vec::new(), false),
        ("10 bytes of EDNS", 1, OPT[..10].to_vec(), false),
        ("uncounted EDNS", 0, OPT.to_vec(), false),
        ("nonsense", 0, vec![0xff; 33], false),
    ]
}

#[test]
fn the_truncated_answer_is_right_to_the_last_byte() {
    let fixture = Fixture::new(|config| service_mut(config, "dns").any = AnyPolicy::Slip);
    type Wrap = fn(Frame) -> Frame;
    let wraps: [(&str, Wrap); 4] = [
        ("untagged", |frame| frame),
        ("one tag", |frame| frame.vlan(7)),
        ("QinQ", |frame| frame.qinq(0xe007).vlan(0x2123)),
        ("options", |frame| {
            frame
                .options(&[7, 7, 4, 192, 0, 2, 1, 1, 1])
                .extension(EXTENSION_HOP_BY_HOP, &[0, 5, 2, 0, 0, 1, 0])
                .extension(EXTENSION_DESTINATION, &[0, 1, 4, 0, 0, 0, 0])
        }),
    ];
    let names = ["", "a", "example.org", "odd.example.org", "a.rather.long.name.below.example.org"];
    // As asked: opcode, RD and CD. The rest is ours to say.
    let flags = [(FLAG_RECURSION, FLAG_RECURSION), (0, 0), (0x0110, 0x0110), (0x07ff, 0x0110)];
    let mut wrong = Vec::new();
    let mut compared = 0;
    for source in [CUSTOMER4, CUSTOMER6] {
        for (wrapping, wrap) in wraps {
            for name in names {
                for (addition, count, bytes, edns) in additions() {
                    for (asked, answered) in flags {
                        let question = Query::new(name, TYPE_ANY)
                            .id(0xbeef)
                            .flags(asked)
                            .counts([1, 0, 0, count]);
                        let ask = wrap(datagram(source, 53))
                            .macs(CLIENT_MAC, SERVER_MAC)
                            .ttl(3)
                            .payload([question.encode(), bytes.clone()].concat())
                            .build();
                        let mut answer = Query::new(name, TYPE_ANY)
                            .id(0xbeef)
                            .flags(FLAG_RESPONSE | FLAG_TRUNCATED | answered)
                            .counts([1, 0, 0, u16::from(edns)])
                            .encode();
                        if edns {
                            answer.extend(OPT);
                        }
                        let expected = wrap(udp(at(server(source), 53), at(source, CLIENT_PORT)))
                            .macs(SERVER_MAC, CLIENT_MAC)
                            .ttl(64)
                            .payload(answer)
                            .build();
                        let (action, out) = fixture.run(Role::Both, &ask);
                        compared += 1;
                        if action != XDP_TX || out != expected {
                            wrong.push(format!(
                                "{source}, {wrapping}, {name:?}, {addition}, flags {asked:04x}: action {action}\n  \
                                 {out:02x?}\n  {expected:02x?}"
                            ));
                        }
                        assert!(out.len() <= ask.len(), "longer than what was asked");
                    }
                }
            }
        }
    }
    let total = wrong.len();
    wrong.truncate(3);
    assert!(wrong.is_empty(), "{total} of {compared} are wrong:\n{}", wrong.join("\n"));
    longest_names(&fixture);
    long_frames(&fixture);
}

/// Every length of a name, so that every length of a sum is met.
fn longest_names(fixture: &Fixture) {
    for source in [CUSTOMER4, CUSTOMER6] {
        for length in 1..=253 {
            let name: String = (0..length)
                .map(|at| if at % 60 == 59 && at + 1 < length { '.' } else { 'm' })
                .collect();
            assert_eq!(wire_name(&name).len(), length + 2);
            let ask = |flags| Query::new(&name, TYPE_ANY).flags(flags);
            let frame = datagram(source, 53).payload(ask(0)).build();
            let expected = udp(at(server(source), 53), at(source, CLIENT_PORT))
                .macs([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1])
                .payload(ask(FLAG_RESPONSE | FLAG_TRUNCATED))
                .build();
            let (action, out) = fixture.run(Role::Both, &frame);
            assert_eq!((action, out), (XDP_TX, expected), "a name of {length} bytes");
        }
    }
}

/// What is behind the question goes, however much it is: Ethernet's padding, and whole buffers.
fn long_frames(fixture: &Fixture) {
    for source in [CUSTOMER4, CUSTOMER6] {
        let ask = Query::new("x", TYPE_ANY);
        let bare = datagram(source, 53).payload(ask.clone());
        let (action, expected) = fixture.run(Role::Both, &bare.build());
        assert_eq!(action, XDP_TX);
        for bytes in [60, 100, 1_514, 3_000, 5_000, 9_014] {
            let answer = fixture.run(Role::Both, &bare.clone().pad_to(bytes).build());
            assert_eq!(answer, (XDP_TX, expected.clone()), "padded to {bytes}");
            let mut payload = ask.encode();
            payload.resize(payload.len().max(bytes), 0);
            let frame = datagram(source, 53).payload(payload).build();
            let answer = fixture.run(Role::Both, &frame);
            assert_eq!(answer, (XDP_TX, expected.clone()), "{bytes} of DNS");
        }
    }
}
