use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// Bytes of which the first lead somewhere, most of the time.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let link = prop_oneof![
        Just([8, 0].to_vec()),
        Just([0x86, 0xdd].to_vec()),
        Just([0x81, 0, 0, 7, 8, 0].to_vec()),
        Just([0x88, 0xa8, 0, 7, 0x81, 0, 0, 8, 0x86, 0xdd].to_vec()),
        proptest::collection::vec(any::<u8>(), 2..14),
    ];
    let first = prop_oneof![Just(0x45u8), Just(0x60), any::<u8>()];
    let next = prop::sample::select(&[0u8, 6, 17, 43, 44, 51, 58, 60, 135, 200][..]);
    let rest = proptest::collection::vec(any::<u8>(), 0..200);
    (link, first, next, 0u16..220, rest).prop_map(|(link, first, next, length, rest)| {
        let mut frame = [2; 12].to_vec();
        frame.extend(link);
        let l3 = frame.len();
        frame.push(first);
        frame.extend(rest);
        let (length_at, next_at) = if first >> 4 == 6 { (4, 6) } else { (2, 9) };
        if let Some(place) = frame.get_mut(l3 + length_at..l3 + length_at + 2) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        if let Some(place) = frame.get_mut(l3 + next_at) {
            *place = next;
        }
        frame
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// Nothing panics, and what is said to be there is there.
    #[test]
    fn headers_lie_within_the_frame(frame in frame()) {
        let mut headers = Headers::default();
        if parse(frame.as_slice(), &mut headers) != Parsed::Ip {
            return Ok(());
        }
        parse_transport(frame.as_slice(), &mut headers);
        let Headers { l3, l4, end, .. } = headers;
        prop_assert!((14..=22).contains(&l3));
        prop_assert!(l3 + 20 <= l4 && l4 <= end, "{:?}", headers);
        prop_assert!(usize::from(end) <= frame.len());
        if headers.fault == 0 && headers.fragment == Fragment::Whole as u8 {
            let least = match headers.proto {
                proto::UDP => 8,
                proto::TCP => 20,
                _ => 0,
            };
            prop_assert!(headers.l4_len >= least && l4 + headers.l4_len <= end, "{:?}", headers);
        }
    }

    /// What was found in the frame before makes no difference.
    #[test]
    fn nothing_is_left_of_the_frame_before(first in frame(), second in frame()) {
        let mut used = Headers::default();
        let _ = parse(first.as_slice(), &mut used);
        parse_transport(first.as_slice(), &mut used);
        let mut fresh = Headers::default();
        let parsed = parse(second.as_slice(), &mut fresh);
        prop_assert_eq!(parse(second.as_slice(), &mut used), parsed);
        if parsed == Parsed::Ip {
            parse_transport(second.as_slice(), &mut fresh);
            parse_transport(second.as_slice(), &mut used);
            prop_assert_eq!(used, fresh);
        }
    }

    #[test]
    fn any_bytes_at_all(frame in proptest::collection::vec(any::<u8>(), 0..120)) {
        let mut headers = Headers::default();
        if parse(frame.as_slice(), &mut headers) == Parsed::Ip {
            parse_transport(frame.as_slice(), &mut headers);
        }
    }
}
