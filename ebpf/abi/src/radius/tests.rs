use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// The same rules once more, over a slice.
fn expected(packet: &[u8], codes: &[u8]) -> Result<(), Reason> {
    if packet.len() < 20 {
        return Err(Reason::RadiusLength);
    }
    if !codes.contains(&packet[0]) {
        return Err(Reason::RadiusCode);
    }
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    if !(20..=4_096).contains(&length) || length > packet.len() {
        return Err(Reason::RadiusLength);
    }
    let mut rest = &packet[20..length];
    let mut count = 0;
    while let [_, length, ..] = *rest {
        count += 1;
        if length < 2 || count > MAX_ATTRIBUTES {
            return Err(Reason::RadiusAttributes);
        }
        rest = rest.get(usize::from(length)..).ok_or(Reason::RadiusAttributes)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(Reason::RadiusAttributes) }
}

fn packet() -> impl Strategy<Value = Vec<u8>> {
    let attributes = prop_oneof![
        8 => proptest::collection::vec(2u8..=255, 0..20),
        1 => proptest::collection::vec(2u8..3, 250..260),
    ];
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (prop::sample::select(&[1u8, 4, 12, 40, 43, 2][..]), attributes, -2i32..6, changes).prop_map(
        |(code, attributes, more, changes)| {
            let mut packet = [7; 20].to_vec();
            packet[0] = code;
            for length in attributes {
                packet.extend([26, length]);
                packet.extend([0].repeat(usize::from(length) - 2));
            }
            let length = packet.len() as u16;
            packet[2..4].copy_from_slice(&length.to_be_bytes());
            for (at, value) in changes {
                let at = at.index(packet.len());
                packet[at] = value;
            }
            // Padding behind, or something missing.
            packet.resize(packet.len().saturating_add_signed(more as isize), 0);
            packet
        },
    )
}

fn agrees(packet: &[u8]) -> Result<(), TestCaseError> {
    let frame = [&[0xff; 42][..], packet].concat();
    for (kind, codes) in [
        (Kind::RadiusAuth, &[1, 12][..]),
        (Kind::RadiusAcct, &[4, 12]),
        (Kind::RadiusDyn, &[40, 43]),
    ] {
        let seen = check(frame.as_slice(), 42, frame.len() as u32, u32::MAX, kind as u8);
        prop_assert_eq!(seen, expected(packet, codes), "{:?}", packet);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn two_parsers_agree_on_packets(packet in packet()) {
        agrees(&packet)?;
    }

    #[test]
    fn two_parsers_agree_on_anything(packet in proptest::collection::vec(any::<u8>(), 0..100)) {
        agrees(&packet)?;
    }
}
