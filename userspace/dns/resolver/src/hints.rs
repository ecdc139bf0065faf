//! Where the root is found before anything was asked: the thirteen servers of root-servers.net.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Names and addresses of the root's servers, as IANA publishes them in named.root.
pub fn root() -> Vec<(String, Vec<IpAddr>)> {
    ROOT.iter()
        .map(|(letter, v4, v6)| {
            let addresses = vec![IpAddr::V4(Ipv4Addr::from(*v4)), IpAddr::V6(Ipv6Addr::from(*v6))];
            (format!("{letter}.root-servers.net."), addresses)
        })
        .collect()
}

/// The trust anchors of the root as DS records: the keys of 2017 and 2024 (IANA, root-anchors.xml).
pub fn trust_anchors() -> Vec<String> {
    vec![
        ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D".into(),
        ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16".into(),
    ]
}

type Hint = (char, [u8; 4], [u16; 8]);

const ROOT: [Hint; 13] = [
    ('a', [198, 41, 0, 4], [0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30]),
    ('b', [170, 247, 170, 2], [0x2801, 0x1b8, 0x10, 0, 0, 0, 0, 0xb]),
    ('c', [192, 33, 4, 12], [0x2001, 0x500, 0x2, 0, 0, 0, 0, 0xc]),
    ('d', [199, 7, 91, 13], [0x2001, 0x500, 0x2d, 0, 0, 0, 0, 0xd]),
    ('e', [192, 203, 230, 10], [0x2001, 0x500, 0xa8, 0, 0, 0, 0, 0xe]),
    ('f', [192, 5, 5, 241], [0x2001, 0x500, 0x2f, 0, 0, 0, 0, 0xf]),
    ('g', [192, 112, 36, 4], [0x2001, 0x500, 0x12, 0, 0, 0, 0, 0xd0d]),
    ('h', [198, 97, 190, 53], [0x2001, 0x500, 0x1, 0, 0, 0, 0, 0x53]),
    ('i', [192, 36, 148, 17], [0x2001, 0x7fe, 0, 0, 0, 0, 0, 0x53]),
    ('j', [192, 58, 128, 30], [0x2001, 0x503, 0xc27, 0, 0, 0, 2, 0x30]),
    ('k', [193, 0, 14, 129], [0x2001, 0x7fd, 0, 0, 0, 0, 0, 0x1]),
    ('l', [199, 7, 83, 42], [0x2001, 0x500, 0x9f, 0, 0, 0, 0, 0x42]),
    ('m', [202, 12, 27, 33], [0x2001, 0xdc3, 0, 0, 0, 0, 0, 0x35]),
];
