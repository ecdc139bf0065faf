use proptest::prelude::*;

use super::*;

const KEY: [u8; 32] = [7; 32];

/// Bytes that zstd and eyes can tell from others.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| byte()).collect()
}

fn lines(decoded: &[u8], width: usize, end: &str, ended: bool) -> Vec<u8> {
    let encoded = BASE64.encode(decoded);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let mut text = lines.join(end);
    if ended {
        text.push_str(end);
    }
    text.into_bytes()
}

/// Takes a message apart, puts it together again, and tells what was decoded.
fn there_and_back(raw: &[u8]) -> (usize, Layout) {
    let layout = Layout::of(raw, &KEY);
    let content = layout.content.as_deref().unwrap_or(raw);
    let recipe = Recipe::parse(&layout.recipe, content.len(), raw.len()).unwrap();
    let part = |index: usize| layout.parts.get(index).map(|part| part.content.as_slice());
    let joined = recipe.join(&recipe.whole(), content, part).unwrap();
    assert!(joined == raw, "it is not what it was");
    let apart: usize = layout.parts.iter().map(|part| part.content.len()).sum();
    (raw.len() - content.len() - apart, layout)
}

#[test]
fn base64_is_decoded_in_all_its_shapes() {
    let head = b"Content-Transfer-Encoding: base64\r\n\r\n";
    let tail = b"\r\n--boundary--\r\n";
    for width in [4, 19, 57, 60, 64, 72, 76, 77, 100, 998, 5000] {
        for (end, ended) in [("\r\n", true), ("\n", true), ("\r\n", false), ("\n", false)] {
            for length in [150, 151, 152, 1000, 5001, 40_000] {
                let decoded = noise(length, 3);
                let mut raw = head.to_vec();
                raw.extend_from_slice(&lines(&decoded, width, end, ended));
                if ended {
                    raw.extend_from_slice(tail);
                }
                let (saved, layout) = there_and_back(&raw);
                assert!(saved >= length / 3 - 2, "{width} {end:?} {ended} {length}: {saved}");
                let content = layout.content.unwrap();
                assert!(memchr::memmem::find(&content, &decoded).is_some());
            }
        }
    }
}

#[test]
fn large_parts_are_apart_and_the_same_in_any_shape() {
    let decoded = noise(APART, 1);
    let mut raw = b"text\r\n\r\n".to_vec();
    raw.extend_from_slice(&lines(&decoded, 76, "\r\n", true));
    raw.extend_from_slice(b"\r\n--b\r\n\r\n");
    raw.extend_from_slice(&lines(&decoded, 60, "\r\n", true));
    raw.extend_from_slice(b"\r\n--b\r\n\r\n");
    raw.extend_from_slice(&lines(&decoded[1..], 76, "\r\n", true));
    let (_, layout) = there_and_back(&raw);
    assert_eq!(layout.parts.len(), 2, "one is too small to be kept apart");
    assert_eq!(layout.parts[0].hash, layout.parts[1].hash);
    let other = Layout::of(&raw, &[8; 32]);
    assert_ne!(layout.parts[0].hash, other.parts[0].hash, "by the store's own key");
}

#[test]
fn what_can_not_be_written_again_stays() {
    let text = |text: &str| text.as_bytes().to_vec();
    let good = String::from_utf8(lines(&noise(1000, 5), 76, "\r\n", true)).unwrap();
    for (what, raw) in [
        ("nothing", Vec::new()),
        ("one character", text("A")),
        ("an end alone", text("\n")),
        ("words", text("the\r\nquick\r\nbrown\r\nfox\r\n")),
        ("bits behind the end", text(&format!("{}Zh==\r\n", "QUFB".repeat(60)))),
        ("padding within", text(&format!("{}=\r\n{}\r\n", "A".repeat(75), "A".repeat(76)))),
        ("three signs", text(&format!("{}A===\r\n", "QUFB".repeat(60)))),
        ("digits that are no multiple of four", text(&format!("{}\r\n", "A".repeat(201)))),
        ("a bare CR", text(&format!("{}\r{}\n", "A".repeat(100), "A".repeat(100)))),
        ("the other alphabet", text(&format!("{}\r\n", "-_A0".repeat(60)))),
    ] {
        let (saved, layout) = there_and_back(&raw);
        assert_eq!((saved, layout.recipe.len()), (0, 0), "{what}");
    }
    // These are, in part.
    for (what, raw) in [
        ("ends of both kinds", good.replacen("\r\n", "\n", 9)),
        ("a word behind it", format!("{good}word\r\nmore words\r\n")),
        ("a word behind it that is no multiple", format!("{good}words\r\nmore words\r\n")),
        ("a word before it", format!("word\r\n{good}\r\n")),
        ("one line longer", format!("{good}{}\r\n", "A".repeat(80))),
        ("two of them", format!("{good}{good}")),
        ("spaces", good.replacen('A', " ", 1)),
    ] {
        let (saved, _) = there_and_back(raw.as_bytes());
        assert!(saved > 100, "{what}: {saved}");
    }
}

#[test]
fn ranges_are_cut_out_of_the_whole() {
    let mut raw = b"Subject: x\r\n\r\n".to_vec();
    raw.extend_from_slice(&lines(&noise(700, 2), 76, "\r\n", true));
    raw.extend_from_slice(b"between\r\n");
    raw.extend_from_slice(&lines(&noise(APART + 11, 3), 61, "\n", true));
    raw.extend_from_slice(b"\nbehind\r\n");
    let layout = Layout::of(&raw, &KEY);
    let content = layout.content.as_deref().unwrap();
    let recipe = Recipe::parse(&layout.recipe, content.len(), raw.len()).unwrap();
    let part = |index: usize| layout.parts.get(index).map(|part| part.content.as_slice());
    let length = raw.len() as u64;
    let mut steps: Vec<u64> = (0..1100).collect();
    steps.extend((length - 200..length + 3).chain([5000, 5001, 20_000]));
    for from in steps.iter().step_by(7) {
        for until in steps.iter().step_by(11) {
            let joined = recipe.join(&(*from..*until), content, part).unwrap();
            let from = (*from).min(length) as usize;
            let until = ((*until).min(length) as usize).max(from);
            assert!(joined == raw[from..until], "{from}..{until}");
        }
    }
    assert_eq!(recipe.needed(&(0..900)), Vec::<usize>::new());
    assert_eq!(recipe.needed(&(900..2000)), [0]);
    assert_eq!(recipe.needed(&recipe.whole()), [0]);
}

#[test]
fn a_recipe_that_lies_is_refused() {
    let number = |numbers: &[u64]| {
        let mut bytes = Vec::new();
        for number in numbers {
            push(&mut bytes, *number);
        }
        bytes
    };
    for (what, recipe, content, original) in [
        ("more text than there is", number(&[11 << 2]), 10, 11),
        ("less than the message", Vec::new(), 10, 11),
        ("nothing", number(&[0]), 10, 10),
        ("an unknown kind", number(&[4 << 2 | 3, 76 << 2]), 4, 10),
        ("no width", number(&[3 << 2 | 1, 0]), 3, 4),
        ("cut off", number(&[3 << 2 | 1]), 3, 4),
        ("no hash", number(&[3 << 2 | 2, 76 << 2]), 0, 4),
        ("a number without an end", vec![0x80; 20], 3, 4),
        ("a huge number", number(&[u64::MAX]), 3, 4),
        ("a huge width", number(&[3 << 2 | 1, u64::MAX]), 3, 4),
        ("a huge message", Vec::new(), MOST + 1, MOST + 1),
    ] {
        let read = Recipe::parse(&recipe, content, original);
        assert!(matches!(read, Err(DecodeError::Recipe)), "{what}");
    }
    let ok = Recipe::parse(&number(&[3 << 2 | 1, 76 << 2]), 3, 4).unwrap();
    assert_eq!(ok.join(&(0..4), b"abc", |_| None).unwrap(), b"YWJj");
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let width = prop_oneof![Just(76usize), Just(64), Just(60), 1..100usize, Just(1000)];
    let base64 = (any::<u64>(), 0..3000usize, width, any::<bool>(), any::<bool>()).prop_map(
        |(seed, length, width, crlf, ended)| {
            lines(&noise(length, seed), width, if crlf { "\r\n" } else { "\n" }, ended)
        },
    );
    prop_oneof![
        3 => base64,
        1 => "[ -~]{0,80}(\r\n|\n|\r|)".prop_map(String::into_bytes),
        1 => "[A-Za-z0-9+/]{0,90}={0,3}(\r\n|\n)".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    #[test]
    fn any_message_comes_back(
        pieces in prop::collection::vec(pieces(), 0..12),
        cut in 0.0..1.0f64,
        width in 0.0..1.0f64,
    ) {
        let raw = pieces.concat();
        let (_, layout) = there_and_back(&raw);
        let content = layout.content.as_deref().unwrap_or(&raw);
        let recipe = Recipe::parse(&layout.recipe, content.len(), raw.len()).unwrap();
        let from = (raw.len() as f64 * cut) as usize;
        let until = from + ((raw.len() - from) as f64 * width) as usize;
        let part = |index: usize| layout.parts.get(index).map(|part| part.content.as_slice());
        let joined = recipe.join(&(from as u64..until as u64), content, part).unwrap();
        prop_assert_eq!(&joined, &raw[from..until]);
    }

    #[test]
    fn any_recipe_is_survived(
        recipe in prop::collection::vec(any::<u8>(), 0..60),
        content in 0..300usize,
        original in 0..2000usize,
    ) {
        if let Ok(recipe) = Recipe::parse(&recipe, content, original) {
            let bytes = vec![1; content];
            let joined = recipe.join(&recipe.whole(), &bytes, |_| None);
            prop_assert!(joined.is_err() || joined.unwrap().len() == original);
        }
    }
}
