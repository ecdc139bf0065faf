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
        ("folded more than it can be", number(&[400 << 2 | 3, 76 << 3, 6]), 400, 412),
        ("folded less than it says", number(&[400 << 2 | 3, 76 << 3, 4]), 400, 406),
        ("folded to nothing", number(&[400 << 2 | 3, 7 << 3, 5]), 400, 410),
        ("folded to lines too long", number(&[400 << 2 | 3, 999 << 3, 0]), 400, 400),
        ("folded in an unknown way", number(&[400 << 2 | 3, 76 << 3 | 6, 5]), 400, 410),
        ("no breaks", number(&[400 << 2 | 3, 76 << 3]), 400, 410),
        ("a huge number of breaks", number(&[400 << 2 | 3, 76 << 3, u64::MAX]), 400, 410),
        ("less folded text than it says", number(&[400 << 2 | 3, 76 << 3, 5]), 399, 410),
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
    let ok = Recipe::parse(&number(&[400 << 2 | 3, 76 << 3, 5]), 400, 410).unwrap();
    assert_eq!(ok.join(&ok.whole(), &[b'x'; 400], |_| None).unwrap().len(), 410);
    // Content that was damaged makes other lines.
    let other = ok.join(&ok.whole(), &[b'\n'; 400], |_| None);
    assert!(matches!(other, Err(DecodeError::Recipe)));
}

/// Folds as programs do: text goes to a line as long as it and a `=` have room. `last` is what the last of a line may be longer, if
/// that is not quoted or `quoted` may be as well.
fn folded(text: &[u8], width: usize, end: &str, last: usize, quoted: bool) -> Vec<u8> {
    let mut written = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let mut column = 0;
        let characters = line.strip_suffix(b"\n").unwrap_or(line);
        for (at, byte) in characters.iter().enumerate() {
            let mut buffer = vec![*byte];
            if !matches!(byte, b' '..=b'~') || *byte == b'=' {
                buffer = format!("={byte:02X}").into_bytes();
            }
            let is_last = at + 1 == characters.len() && (quoted || buffer.len() == 1);
            let room = width - 1 + if is_last { last } else { 0 };
            if column + buffer.len() > room {
                written.extend_from_slice(b"=");
                written.extend_from_slice(end.as_bytes());
                column = 0;
            }
            column += buffer.len();
            written.extend_from_slice(&buffer);
        }
        if characters.len() < line.len() {
            written.extend_from_slice(end.as_bytes());
        }
    }
    written
}

/// Words, some of which have to be quoted, in lines of all lengths.
fn words(length: usize, seed: u64) -> Vec<u8> {
    let mut text = Vec::new();
    for (at, byte) in noise(length, seed).into_iter().enumerate() {
        let sign = b"etaoinsr dlu <=>/\x22\xc3\xa9m";
        let line = noise(1, seed.wrapping_add(at as u64 / 300))[0];
        let ends = line < 128 && (at as u64).is_multiple_of(u64::from(line) + 60);
        text.push(if ends { b'\n' } else { sign[usize::from(byte) % sign.len()] });
    }
    text
}

fn breaks(raw: &[u8]) -> usize {
    raw.windows(2).filter(|two| two == b"=\n").count()
        + raw.windows(3).filter(|three| three == b"=\r\n").count()
}

#[test]
fn soft_breaks_are_left_out_whoever_made_them() {
    for (what, width, last, quoted) in [
        ("what RFC 2045 has", 76, 0, true),
        ("lines that are filled", 76, 1, true),
        ("Python's quopri", 76, 1, false),
        ("lines of 72", 72, 0, true),
        ("lines of 73", 73, 1, true),
        ("lines of 75", 75, 0, true),
        ("lines of 77", 77, 0, true),
        ("narrow ones", 42, 0, true),
        ("wide ones", 998, 1, true),
    ] {
        for end in ["\r\n", "\n"] {
            for seed in 0..20 {
                let text = words(30_000, seed);
                let head = format!("Subject: x{end}{end}");
                let tail = format!("{end}--b--{end}");
                let lines = folded(&text, width, end, last, quoted);
                let raw = [head.as_bytes(), &lines, tail.as_bytes()].concat();
                let (saved, layout) = there_and_back(&raw);
                let all = breaks(&raw);
                let all = if all < 8 { 0 } else { all };
                assert_eq!(saved, all * (1 + end.len()), "{what} {end:?} {seed} of {all}");
                assert!(layout.recipe.len() < 16, "in one piece: {what}");
            }
        }
    }
}

#[test]
fn soft_breaks_are_left_out_at_every_border() {
    // A line of each length, alone and behind others, that ends in what is quoted and in what is not.
    for width in [41, 72, 76] {
        for last in [0, 1] {
            for quoted in [true, false] {
                for length in 1..3 * width {
                    for sign in ["x", "="] {
                        let first = "w".repeat(width * 12);
                        let text = format!("{first}\n{}{sign}\n", "y".repeat(length - 1));
                        let text = format!("{text}{}", text.replace('y', "=y"));
                        let raw = folded(text.as_bytes(), width, "\r\n", last, quoted);
                        let (saved, _) = there_and_back(&raw);
                        assert_eq!(saved, breaks(&raw) * 3, "{width} {last} {length} {sign}");
                    }
                }
            }
        }
    }
}

#[test]
fn soft_breaks_that_can_not_be_found_again_stay() {
    let good = folded(format!("{}\n", "word =".repeat(300)).as_bytes(), 76, "\r\n", 0, true);
    let good = String::from_utf8(good).unwrap();
    let (all, _) = there_and_back(good.as_bytes());
    assert!(all > 60);
    let line = format!("{}=\r\n", "x".repeat(75));
    for (what, raw, least) in [
        ("too few", line.repeat(8), 0),
        ("enough", line.repeat(9) + "x\r\n", 24),
        ("short lines", "hello=\r\n".repeat(1000), 0),
        ("nothing but breaks", "=\r\n".repeat(1000), 0),
        ("ends of lines alone", "\r\n".repeat(1000), 0),
        ("lines of all lengths", (40..400).map(|at| format!("{}=\n", "x".repeat(at))).collect(), 0),
        ("lines that are too long", format!("{}=\n", "x".repeat(998)).repeat(100), 0),
        ("lines just not too long", format!("{}=\n", "x".repeat(997)).repeat(100), 2 * 98),
        ("breaks within what is quoted", format!("{}=3=\r\nD", "x".repeat(72)).repeat(99), 0),
        ("spaces behind the sign", line.replace('=', "= ").repeat(100), 0),
        ("a break at the end", format!("{good}{line}"), all),
        ("breaks at the end", format!("{good}{line}=\r\n=\r\n"), all),
        ("a break without an end", format!("{good}{}=", "x".repeat(75)), all),
        ("a break, a CR and the end", format!("{good}{}=\r", "x".repeat(75)), all),
        ("a CR before a break", good.replacen("=\r\n", "\r=\r\n", 1), all - 6),
        ("a CR that stands alone", good.replacen("word", "wo\rd", 1), all - 6),
        ("a LF that stands alone", good.replacen("word", "wo\nd", 9), all - 6),
        ("another end in the middle", good.replacen("=\r\n", "=\n", 1), all - 6),
        ("spaces at an end", format!("{good}  \r\n{good}"), 2 * all),
        ("a long line behind it", format!("{good}\r\n{}\r\n{good}", "y".repeat(2000)), 2 * all),
        (
            "a line that is broken early",
            format!("{good}\r\n{good}\r\nearly=\r\n{good}"),
            3 * all - 6,
        ),
        (
            "one that is broken later",
            format!("{good}\r\n{}=\r\n{good}", "y".repeat(76)),
            2 * all - 6,
        ),
        ("another width", format!("{good}\r\n{}", good.replace("word", "words")), all),
        ("no quoted text", format!("{good}\r\n==\r\n===\r\n====\r\n{good}"), 2 * all - 6),
    ] {
        let (saved, _) = there_and_back(raw.as_bytes());
        assert!(saved >= least, "{what}: {saved} of {least}");
        assert!(least > 0 || saved == 0, "{what}: {saved}");
    }
}

#[test]
fn base64_comes_before_soft_breaks() {
    let quoted = folded(&words(9000, 1), 76, "\r\n", 0, true);
    let base64 = lines(&noise(3000, 2), 76, "\r\n", true);
    let large = lines(&noise(APART, 3), 76, "\r\n", true);
    let raw =
        [&quoted[..], b"\r\n", &base64, b"--b\r\n", &quoted, b"\r\n", &large, b"\r\n", &quoted];
    let raw = raw.concat();
    let (saved, layout) = there_and_back(&raw);
    assert!(saved >= 3 * 3 * breaks(&quoted) + (3000 + APART) / 3, "{saved}");
    assert_eq!(layout.parts.len(), 1);
    let content = layout.content.unwrap();
    assert!(memchr::memmem::find(&content, &noise(3000, 2)).is_some());
    // Within what is folded as well: it is written again all the same.
    let raw = [&quoted[..], &base64, &quoted].concat();
    let (saved, _) = there_and_back(&raw);
    assert!(saved >= 2 * 3 * (breaks(&quoted) - 8) + 3000 / 3, "{saved}");
}

#[test]
fn a_range_of_folded_text_needs_no_more_than_its_front() {
    let raw = folded(&b"no end ".repeat(30_000), 76, "\r\n", 0, true);
    let layout = Layout::of(&raw, &KEY);
    let content = layout.content.unwrap();
    let recipe = Recipe::parse(&layout.recipe, content.len(), raw.len()).unwrap();
    let length = raw.len() as u64;
    for (from, until) in [(0, 1), (0, 76), (75, 78), (76, 77), (77, 79), (5000, 9000), (0, length)]
    {
        let joined = recipe.join(&(from..until), &content, |_| None).unwrap();
        assert!(joined == raw[from as usize..until as usize], "{from}..{until}");
        // What lies behind it may be anything.
        let mut other = content.clone();
        let front = (until as usize + 200).min(content.len());
        other[front..].fill(b'\n');
        let joined = recipe.join(&(from..until), &other, |_| None).unwrap();
        assert!(joined == raw[from as usize..until as usize], "{from}..{until}");
    }
    for from in (0..1000).chain(length - 300..length) {
        let joined = recipe.join(&(from..from + 3), &content, |_| None).unwrap();
        let until = (from as usize + 3).min(raw.len());
        assert_eq!(joined, &raw[from as usize..until], "{from}");
    }
}

/// Whatever is sent, it is looked at a few times and no more.
#[test]
fn time_is_in_proportion_to_length() {
    let long = "x".repeat(75);
    for (what, line) in [
        ("breaks", "=\r\n".to_owned()),
        ("folded lines", format!("{long}=\r\n")),
        ("lines of two lengths", format!("{long}=\r\n{}=\r\n", "y".repeat(50))),
        ("too few breaks", format!("{}{}\r\n", format!("{long}=\r\n").repeat(7), "y".repeat(90))),
        ("lines in the alphabet", format!("{long}\r\n")),
        ("one line", long.clone()),
        ("one line of signs", "=".repeat(76)),
    ] {
        let of = |length: usize| {
            let raw = line.repeat(length / line.len());
            let took = |_| {
                let begun = std::time::Instant::now();
                there_and_back(raw.as_bytes());
                begun.elapsed()
            };
            (0..3).map(took).min().unwrap()
        };
        let (short, long) = (of(200_000), of(3_200_000));
        let most = short * 16 * 8 + std::time::Duration::from_millis(200);
        assert!(long < most, "{what}: {short:?} and {long:?}");
    }
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let width = prop_oneof![Just(76usize), Just(64), Just(60), 1..100usize, Just(1000)];
    let base64 = (any::<u64>(), 0..3000usize, width, any::<bool>(), any::<bool>()).prop_map(
        |(seed, length, width, crlf, ended)| {
            lines(&noise(length, seed), width, if crlf { "\r\n" } else { "\n" }, ended)
        },
    );
    let width = prop_oneof![Just(76usize), Just(72), 40..80usize, Just(998)];
    let quoted = (any::<u64>(), 0..5000usize, width, any::<bool>(), 0..2usize, any::<bool>())
        .prop_map(|(seed, length, width, crlf, last, quoted)| {
            let end = if crlf { "\r\n" } else { "\n" };
            folded(&words(length, seed), width, end, last, quoted)
        });
    prop_oneof![
        3 => base64,
        3 => quoted,
        1 => "[a =]{0,80}=(\r\n|\n)".prop_map(|line| line.repeat(12).into_bytes()),
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
    fn any_folded_text_is_found(
        seed in any::<u64>(),
        length in 1000..6000usize,
        width in 42..=998usize,
        crlf in any::<bool>(),
        last in 0..2usize,
        quoted in any::<bool>(),
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let raw = folded(&words(length, seed >> 1), width, end, last, quoted);
        let (saved, _) = there_and_back(&raw);
        let all = breaks(&raw);
        prop_assert_eq!(saved, if all < 8 { 0 } else { all * (1 + end.len()) });
    }

    /// Lines that were folded, and damaged here and there.
    #[test]
    fn any_damaged_folded_text_comes_back(
        seed in any::<u64>(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), "[=\r\nx]{0,3}", 0..4usize), 0..8),
        crlf in any::<bool>(),
    ) {
        let end = if crlf { "\r\n" } else { "\n" };
        let mut raw = folded(&words(4000, seed >> 1), 76, end, 0, true);
        for (at, other, length) in damage {
            let at = at.index(raw.len());
            let until = (at + length).min(raw.len());
            raw.splice(at..until, other.into_bytes());
        }
        there_and_back(&raw);
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

    /// Folded text whose recipe or content is another's.
    #[test]
    fn any_fold_is_survived(
        content in "[ab= \r\n]{0,300}",
        width in 0..90u64,
        way in 0..8u64,
        breaks in 0..40u64,
        cut in 0.0..1.0f64,
    ) {
        let mut bytes = Vec::new();
        push(&mut bytes, (content.len() as u64) << 2 | 3);
        push(&mut bytes, width << 3 | way);
        push(&mut bytes, breaks);
        let original = content.len() + breaks as usize * if way & 1 == 0 { 2 } else { 3 };
        if let Ok(recipe) = Recipe::parse(&bytes, content.len(), original) {
            let joined = recipe.join(&recipe.whole(), content.as_bytes(), |_| None);
            let from = (original as f64 * cut) as u64;
            let range = from..original as u64;
            if let (Ok(joined), Ok(end)) = (joined, recipe.join(&range, content.as_bytes(), |_| None)) {
                prop_assert_eq!(joined.len(), original);
                prop_assert_eq!(&joined[from as usize..], &end[..]);
            }
        }
    }
}
