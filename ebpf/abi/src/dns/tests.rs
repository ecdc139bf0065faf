use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// The same rules once more, over a slice and with nothing shared: the reason, or type, end and whether OPT follows.
fn expected(message: &[u8]) -> Result<(u16, usize, bool), Reason> {
    let word = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    if message.len() < 12 {
        return Err(Reason::DnsCounts);
    }
    match (word(2) >> 15, word(2) >> 11 & 15) {
        (1, _) => return Err(Reason::DnsResponse),
        (_, 0) => {}
        _ => return Err(Reason::DnsOpcode),
    }
    if (word(4), word(6), word(8)) != (1, 0, 0) || word(10) > 2 {
        return Err(Reason::DnsCounts);
    }
    let mut rest = &message[12..];
    let mut name = 0;
    loop {
        let (&length, after) = rest.split_first().ok_or(Reason::DnsQuestion)?;
        if length > 63 {
            return Err(Reason::DnsQuestion);
        }
        name += 1 + usize::from(length);
        if length == 0 {
            rest = after;
            break;
        }
        rest = after.get(usize::from(length)..).ok_or(Reason::DnsQuestion)?;
    }
    if name > 255 || rest.len() < 4 {
        return Err(Reason::DnsQuestion);
    }
    let end = 12 + name + 4;
    if ![1, 3].contains(&word(end - 2)) {
        return Err(Reason::DnsClass);
    }
    let opt = word(10) > 0 && message.len() >= end + 11 && message[end..end + 3] == [0, 0, 41];
    Ok((word(end - 4), end, opt))
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let labels = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..70), 0..8);
    let short = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..2), 120..130);
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    (prop_oneof![4 => labels, 1 => short], any::<bool>(), 0usize..30, changes).prop_map(
        |(labels, edns, cut, changes)| {
            let mut message = [0xbe, 0xef, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns)].to_vec();
            for label in labels {
                message.push(label.len() as u8);
                message.extend(label);
            }
            message.extend([0, 0, 1, 0, 1]);
            if edns {
                message.extend([0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]);
            }
            for (at, value) in changes {
                let at = at.index(message.len());
                message[at] = value;
            }
            // Whole, most of the time.
            let cut = cut.saturating_sub(18);
            message.truncate(message.len().saturating_sub(cut));
            message
        },
    )
}

fn agrees(message: &[u8]) -> Result<(), TestCaseError> {
    // In a frame, before and after which there is more.
    let before = 42;
    let frame = [&[0xff; 42][..], message].concat();
    let checked = check(frame.as_slice(), before, before + message.len() as u32);
    let seen = checked.map(|question| {
        let end = (question.end - before) as usize;
        (question.qtype, end, question.opt_len == OPT_LEN)
    });
    prop_assert_eq!(seen, expected(message), "{:?}", message);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn two_parsers_agree_on_queries(message in message()) {
        agrees(&message)?;
    }

    #[test]
    fn two_parsers_agree_on_anything(message in proptest::collection::vec(any::<u8>(), 0..300)) {
        agrees(&message)?;
    }

    /// The answer's checksums are right whatever is asked, and it is no longer than the query.
    #[test]
    fn answers_have_right_checksums(message in message(), addresses in any::<[u8; 32]>(), ports in any::<[u8; 4]>(), v6 in any::<bool>()) {
        if expected(&message).is_err() {
            return Ok(());
        }
        let mut frame = [2; 12].to_vec();
        let udp = 8 + message.len() as u16;
        let mut headers = Headers { l3: 14, v6: u8::from(v6), ..Headers::default() };
        if v6 {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(udp.to_be_bytes());
            frame.extend([17, 3]);
            frame.extend(addresses);
            headers.l4 = 54;
        } else {
            frame.extend([8, 0]);
            let mut ip = [0x45, 0, 0, 0, 1, 2, 0x40, 0, 3, 17, 0, 0].to_vec();
            ip[2..4].copy_from_slice(&(20 + udp).to_be_bytes());
            ip.extend(&addresses[..8]);
            let sum = !sum(&ip);
            ip[10..12].copy_from_slice(&sum.to_be_bytes());
            frame.extend(ip);
            headers.l4 = 34;
        }
        frame.extend(ports);
        frame.extend(udp.to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(&message);
        let asked = frame.len();
        let dns = u32::from(headers.l4) + 8;
        let question = check(frame.as_slice(), dns, asked as u32).unwrap();
        frame.truncate(slip_len(&question) as usize);
        prop_assert!(frame.len() <= asked);
        slip(frame.as_mut_slice(), &headers, &question).unwrap();

        let l4 = usize::from(headers.l4);
        if !v6 {
            prop_assert_eq!(sum(&frame[14..34]), 0xffff, "IPv4 header");
        }
        let addresses = if v6 { 22..54 } else { 26..34 };
        let length = (frame.len() - l4) as u16;
        let pseudo = [&frame[addresses], &[0, 17], &length.to_be_bytes(), &frame[l4..]].concat();
        prop_assert_eq!(sum(&pseudo), 0xffff, "UDP");
        prop_assert_ne!(&frame[l4 + 6..l4 + 8], &[0, 0]);
        prop_assert_eq!(&frame[l4 + 4..l4 + 6], &length.to_be_bytes());
    }
}

/// One's complement sum of 16-bit words (RFC 1071), one carry at a time.
fn sum(bytes: &[u8]) -> u16 {
    bytes.chunks(2).fold(0u16, |sum, word| {
        let word = u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)]);
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}
