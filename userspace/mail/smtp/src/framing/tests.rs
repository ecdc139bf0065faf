use memchr::memmem;
use muralla_mail_envelope::dots;
use proptest::prelude::*;

use super::*;

const WIDE: Bounds = Bounds { octets: 1 << 20, line: 1 << 20 };

fn data(wire: &[u8], bounds: Bounds) -> (usize, bool, Result<Vec<u8>, Fault>) {
    let mut collector = Collector::new(bounds, None);
    let (taken, ended) = collector.dotted(wire);
    (taken, ended, collector.finish().map(Vec::from))
}

#[test]
fn ends() {
    for (wire, message, rest) in [
        (".\r\n", "", ""),
        ("a\r\n.\r\n", "a\r\n", ""),
        ("a\r\n.\r\nQUIT\r\n", "a\r\n", "QUIT\r\n"),
        ("..\r\n.\r\n", ".\r\n", ""),
        (".a\r\n.\r\n", "a\r\n", ""),
        ("..a\r\n...b\r\n.\r\n", ".a\r\n..b\r\n", ""),
        ("\r\n\r\n.\r\n", "\r\n\r\n", ""),
        ("a.\r\nb.c\r\n.\r\n", "a.\r\nb.c\r\n", ""),
        ("a\r\n. \r\n.\r\n", "a\r\n \r\n", ""),
        ("a\0b\r\n.\r\n", "a\0b\r\n", ""),
    ] {
        let (taken, ended, got) = data(wire.as_bytes(), WIDE);
        assert!(ended, "{wire:?}");
        assert_eq!(got.as_deref(), Ok(message.as_bytes()), "{wire:?}");
        assert_eq!(&wire[taken..], rest, "{wire:?}");
    }
}

/// None of what smugglers send in place of CRLF, dot, CRLF ends a message; and the message is refused at its real end.
#[test]
fn does_not_end() {
    for end in [
        "\n.\n",
        "\r.\r",
        "\n.\r\n",
        "\r\n.\n",
        "\r.\r\n",
        "\r\n.\r",
        "\n.\r",
        "\r.\n",
        "\n\n.\n\n",
        "\r\r.\r\r",
        "\r\n\n.\n",
        "\n\r.\n\r",
        "\r\n.\r\r\n",
        "\r\r\n.\n",
        "\r\n.\n\r",
        "\r\n.\r\r",
    ] {
        let wire = format!("a{end}MAIL FROM:<b@c>\r\n.\r\n");
        let (taken, ended, got) = data(wire.as_bytes(), WIDE);
        assert!(ended, "{end:?}");
        assert_eq!(taken, wire.len(), "{end:?}");
        assert_eq!(got, Err(Fault::BareLineEnd), "{end:?}");
    }
    // These have line ends as they should be, and so are the end, and what was before it is refused.
    for (wire, rest) in [("a\r\r\n.\r\nQ", "Q"), ("a\n\r\n.\r\nQ", "Q")] {
        let (taken, ended, got) = data(wire.as_bytes(), WIDE);
        assert!(ended, "{wire:?}");
        assert_eq!((&wire[taken..], got), (rest, Err(Fault::BareLineEnd)));
    }
    // These have a dot in a line with something more: no end, and no fault.
    for wire in ["a\r\n.\0\r\n", "a\r\n. \r\n", "a\r\n.a\r\n"] {
        let (taken, ended, got) = data(wire.as_bytes(), WIDE);
        assert_eq!((taken, ended, got.is_ok()), (wire.len(), false, true), "{wire:?}");
    }
}

#[test]
fn bounds() {
    let narrow = Bounds { octets: 10, line: 4 };
    for (wire, expected) in [
        ("1234\r\n12\r\n.\r\n", Ok(10)),
        ("1234\r\n12\r\n\r\n.\r\n", Err(Fault::TooBig)),
        ("12345\r\n.\r\n", Err(Fault::LongLine)),
        // The dot that was doubled does not count.
        ("..234\r\n.\r\n", Ok(6)),
        ("1\n\r\n12345678901234567890\r\n.\r\n", Err(Fault::BareLineEnd)),
    ] {
        let (taken, ended, got) = data(wire.as_bytes(), narrow);
        assert_eq!((taken, ended), (wire.len(), true), "{wire:?}");
        assert_eq!(got.map(|message| message.len()), expected, "{wire:?}");
    }
}

#[test]
fn gives_memory_back() {
    let mut collector = Collector::new(WIDE, Some(u64::MAX));
    assert!(collector.memory() <= 65 << 10);
    collector.dotted(&[b'a'; 100_000]);
    assert!((100_000..250_000).contains(&collector.memory()));
    assert_eq!(collector.octets(), 100_000);
    collector.fail(Fault::NoMemory);
    collector.dotted(&[b'a'; 100_000]);
    assert_eq!((collector.memory(), collector.octets()), (0, 200_000));
    assert_eq!(collector.dotted(b"\r\n.\r\n"), (5, true));
    assert_eq!(collector.finish(), Err(Fault::NoMemory));
}

#[test]
fn counted() {
    for (chunks, expected) in [
        (&["a\r\n"][..], Ok("a\r\n")),
        (&["a"], Ok("a\r\n")),
        (&[""], Ok("")),
        (&[".\r\n", ".", "\r\n"], Ok(".\r\n.\r\n")),
        (&["a\r", "\nb\r\n"], Ok("a\r\nb\r\n")),
        (&["a\r", "b\r\n"], Err(Fault::BareLineEnd)),
        (&["a\r"], Err(Fault::BareLineEnd)),
        (&["a\n.\nb"], Err(Fault::BareLineEnd)),
        (&["a\r\n\n"], Err(Fault::BareLineEnd)),
    ] {
        let mut collector = Collector::new(WIDE, None);
        for chunk in chunks {
            collector.counted(chunk.as_bytes());
        }
        collector.end();
        assert_eq!(
            collector.finish().map(Vec::from),
            expected.map(|it| it.as_bytes().to_vec()),
            "{chunks:?}"
        );
    }
}

/// The same by other means: slow, and short.
pub(crate) fn reference(wire: &[u8]) -> Option<(usize, Result<Vec<u8>, ()>)> {
    let padded = [b"\r\n", wire].concat();
    let end = memmem::find(&padded, b"\r\n.\r\n")?;
    // The CRLF of the last line belongs to the message.
    let body = &padded[2..(end + 2).max(2)];
    let clean = String::from_utf8_lossy(body).replace("\r\n", "");
    let bare = clean.contains(['\r', '\n']);
    Some((end + 5 - 2, if bare { Err(()) } else { Ok(dots::unstuff(body)) }))
}

proptest! {
    #[test]
    fn as_the_reference(wire in "[.\r\na]{0,24}(\r\n.\r\n)?[.\r\n]{0,4}", cuts in proptest::collection::vec(0usize..30, 0..5)) {
        let wire = wire.as_bytes();
        let mut collector = Collector::new(WIDE, None);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|at| at.min(wire.len())).collect();
        cuts.extend([0, wire.len()]);
        cuts.sort_unstable();
        let mut end = None;
        for pair in cuts.windows(2) {
            let (taken, ended) = collector.dotted(&wire[pair[0]..pair[1]]);
            if ended {
                end = Some(pair[0] + taken);
                break;
            }
            prop_assert_eq!(taken, pair[1] - pair[0]);
        }
        match reference(wire) {
            None => prop_assert_eq!(end, None),
            Some((at, message)) => {
                prop_assert_eq!(end, Some(at));
                prop_assert_eq!(collector.finish().map(Vec::from).map_err(drop), message);
            }
        }
    }

    /// What was made transparent comes back.
    #[test]
    fn both_ways(lines in proptest::collection::vec("[.a]{0,5}", 0..20)) {
        let message: String = lines.iter().flat_map(|line| [&**line, "\r\n"]).collect();
        let wire = dots::stuff(message.as_bytes());
        let (taken, ended, got) = data(&wire, WIDE);
        prop_assert_eq!((taken, ended), (wire.len(), true));
        prop_assert_eq!(got, Ok(message.into_bytes()));
    }
}
