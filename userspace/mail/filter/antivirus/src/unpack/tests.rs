use super::*;
use crate::samples::{self, Zipped};

/// Name, size and facts of a file.
type Seen = (String, usize, Facts);

/// Names, sizes and facts of all that is in a file, in the order in which it is looked at, and how the walk ended.
fn walk(content: &[u8], limits: &Limits) -> (Vec<Seen>, Result<(), Stop>) {
    let mut seen = Vec::new();
    let mut look = |object: &Object<'_>| {
        seen.push((object.path.to_owned(), object.content.len(), object.facts))
    };
    let never = || false;
    let result = Walk::new(limits, &never, &mut look).part("part", content, false);
    (seen, result)
}

fn walk_shown(content: &[u8]) -> (Vec<(String, usize)>, Result<(), Stop>) {
    let mut seen = Vec::new();
    let mut look = |object: &Object<'_>| seen.push((object.path.to_owned(), object.content.len()));
    let never = || false;
    let limits = Limits::default();
    let result = Walk::new(&limits, &never, &mut look).part("", content, true);
    (seen, result)
}

fn excess(content: &[u8], limits: &Limits) -> Option<Excess> {
    match walk(content, limits).1 {
        Err(Stop::Excess(excess)) => Some(excess),
        _ => None,
    }
}

/// What is known of the file itself.
fn facts(content: &[u8]) -> Facts {
    let (seen, result) = walk(content, &Limits::default());
    assert_eq!(result, Ok(()));
    seen.last().unwrap().2
}

#[test]
fn every_format_is_unpacked() {
    let program = samples::program();
    for (format, sample) in samples::all().into_iter().skip(1) {
        let mut found = 0;
        let mut look = |object: &Object<'_>| {
            if object.content == program {
                assert_eq!(object.format, Format::WindowsProgram, "{format}");
                assert!(object.depth > 0, "{format}");
                found += 1;
            }
        };
        let never = || false;
        let limits = Limits::default();
        let mut walk = Walk::new(&limits, &never, &mut look);
        assert_eq!(walk.part("part", &sample, false), Ok(()), "{format}");
        assert!(found > 0, "{format}");
    }
}

#[test]
fn whole_archives_have_no_faults() {
    for (format, sample) in samples::all() {
        let (seen, result) = walk(&sample, &Limits::default());
        assert_eq!(result, Ok(()), "{format}");
        // What no directory names is what two programs see differently.
        let expected = Facts {
            ambiguous: format == "zip, not listed",
            hidden: format == "zip behind an image",
            ..Facts::default()
        };
        assert_eq!(seen.last().unwrap().2, expected, "{format}");
    }
}

#[test]
fn names_and_paths() {
    let inner = samples::zip(&[("folder/a.txt", b"text"), ("b.txt", b"more text")]);
    let outer = samples::zip(&[("inner.zip", &inner)]);
    let (seen, _) = walk(&outer, &Limits::default());
    let paths: Vec<&str> = seen.iter().map(|(path, ..)| path.as_str()).collect();
    assert_eq!(paths, ["inner.zip \u{203a} a.txt", "inner.zip \u{203a} b.txt", "inner.zip", ""]);
}

#[test]
fn what_is_encrypted_is_known() {
    for (what, content) in [
        (
            "zip",
            samples::zip_of(&[Zipped {
                flags: 1,
                ..Zipped::stored("a.exe", b"twelve octets and more")
            }]),
        ),
        (
            "zip, AES",
            samples::zip_of(&[Zipped {
                flags: 1,
                method: 99,
                ..Zipped::stored("a.exe", b"content")
            }]),
        ),
        ("7z", samples::sevenzip_encrypted("a.exe")),
        ("RAR 4", samples::rar_old("a.exe", b"content", 4, 0x33)),
        ("RAR 5", samples::rar_new("a.exe", b"content", true, 0)),
    ] {
        let (seen, result) = walk(&content, &Limits::default());
        assert_eq!(result, Ok(()), "{what}");
        assert!(seen.last().unwrap().2.encrypted, "{what}");
        let (path, size, facts) = &seen[0];
        assert_eq!((path.as_str(), *size, facts.sealed), ("a.exe", 0, true), "{what}");
    }
    // With its names.
    let rar = b"Rar!\x1a\x07\0\0\0\x73\x80\0\x0d\0\0\0\0\0\0\0garbage";
    assert!(facts(rar).encrypted);
    let rar = b"Rar!\x1a\x07\x01\0\0\0\0\0\x03\x04\0\0\0\0\0\0";
    assert!(facts(rar).encrypted);
    let document =
        samples::compound(&[("EncryptedPackage", b"content"), ("EncryptionInfo", b"content")]);
    assert!(facts(&document).encrypted);
}

#[test]
fn what_nobody_can_unpack_is_known() {
    for (what, content) in [
        ("zip", samples::zip_of(&[Zipped { method: 98, ..Zipped::stored("a.exe", b"content") }])),
        ("RAR 4", samples::rar_old("a.exe", b"content", 0, 0x33)),
        ("RAR 5", samples::rar_new("a.exe", b"content", false, 3)),
        (
            "7z",
            samples::sevenzip("a.exe", b"content", &[0x23, 3, 4, 1, 5, 0, 0, 0, 0, 0], b"content"),
        ),
    ] {
        let (seen, result) = walk(&content, &Limits::default());
        assert_eq!(result, Ok(()), "{what}");
        assert!(seen.last().unwrap().2.unsupported, "{what}");
        assert_eq!((seen[0].0.as_str(), seen[0].2.sealed), ("a.exe", true), "{what}");
    }
}

#[test]
fn archives_behind_something_else() {
    let program = samples::program();
    let name = "inner.bin";
    let image: &[u8] = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01";
    let document = samples::compound(&[("stream", b"nothing")]);
    let page: &[u8] = b"<html><body>nothing";
    let zip = samples::zip(&[(name, &program)]);
    let rar = samples::rar_old(name, &program, 0, 0x30);
    for (what, before, archive, file, seen) in [
        ("zip", image, &zip, "a.jpg", true),
        ("zip behind a page", page, &zip, "a.html", true),
        ("zip behind a document", &document[..], &zip, "a.zip", true),
        // Who opens that as a document does not see it; its streams are looked at one by one.
        ("zip behind a document by name", &document[..], &zip, "a.doc", false),
        ("RAR 4", image, &rar, "a.jpg", true),
        ("RAR 5", image, &samples::rar_new(name, &program, false, 0), "a.jpg", true),
        ("7z", image, &samples::sevenzip_stored(name, &program), "a.jpg", true),
        ("letters of RAR", image, &b"Rar!\x1a\x07 is how they begin".to_vec(), "a.jpg", false),
        (
            "letters of 7z",
            image,
            &b"7z\xbc\xaf\x27\x1c\0 is how they begin".to_vec(),
            "a.jpg",
            false,
        ),
    ] {
        let content = [before, archive].concat();
        let mut found = false;
        let mut hidden = false;
        let mut look = |object: &Object<'_>| {
            found |= object.content == program;
            hidden |= object.facts.hidden;
            assert!(!object.facts.unsupported && !object.facts.broken, "{what}");
        };
        let never = || false;
        let limits = Limits::default();
        let result = Walk::new(&limits, &never, &mut look).part(file, &content, false);
        assert_eq!((result, found, hidden), (Ok(()), seen, seen), "{what}");
    }
}

#[test]
fn an_end_that_hides_the_directory() {
    let program = samples::program();
    let mut content = samples::zip(&[("inner.bin", &program)]);
    content.extend(b"PK\x05\x06");
    content.extend([0; 18]);
    let (seen, result) = walk(&content, &Limits::default());
    assert_eq!(result, Ok(()));
    assert_eq!((seen[0].0.as_str(), seen[0].1), ("inner.bin", program.len()));
    assert!(seen.last().unwrap().2.ambiguous);
}

#[test]
fn messages_in_files() {
    let eicar = samples::eicar();
    let text = |file: &[u8]| String::from_utf8(file.to_vec()).unwrap();
    let uuencoded = samples::uuencoded("a.bin", &eicar);
    for (what, content, expected) in [
        (
            "base64",
            "From: a@example.org\r\nMime-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
             --b\r\nContent-Type: text/plain\r\n\r\nDear reader\r\n\
             --b\r\nContent-Type: application/octet-stream;\r\n name=\"a.bin\"\r\n\
             Content-Transfer-Encoding: BASE64\r\n\r\n"
                .to_owned()
                + &data_encoding::BASE64.encode(&eicar)
                + "\r\n--b--\r\n",
            "a.bin",
        ),
        (
            "as it is",
            "Subject: x\nContent-Type: application/x; name=a.bin\n\n".to_owned() + &text(&eicar),
            "a.bin",
        ),
        ("uuencoded", "Dear reader,\n\n".to_owned() + &text(&uuencoded), "a.bin"),
        ("without a name", "MIME-Version: 1.0\nContent-Type: text/plain\n\n".to_owned() + &text(&eicar), ""),
    ] {
        let mut found = Vec::new();
        let mut look = |object: &Object<'_>| {
            if object.content == eicar {
                found.push(object.name.base.clone());
            }
        };
        let never = || false;
        let limits = Limits::default();
        let result = Walk::new(&limits, &never, &mut look).part("a.eml", content.as_bytes(), false);
        assert_eq!((result, found), (Ok(()), vec![expected.to_owned()]), "{what}");
    }
    // Of a letter that is shown, nothing but what was uuencoded is a file.
    let (shown, _) = walk_shown(&uuencoded);
    assert_eq!(shown[0].1, eicar.len());
}

#[test]
fn what_ends_too_early_is_known() {
    let program = samples::program();
    for (format, sample) in samples::all() {
        let known = [
            "zip",
            "zip, stored",
            "gzip",
            "bzip2",
            "xz",
            "zstd",
            "tar",
            "tar.gz",
            "cpio",
            "7z, stored",
            "7z, LZMA2",
            "RAR 4, stored",
            "RAR 5, stored",
            "cabinet",
            "compound",
            "OneNote",
            "TNEF",
        ];
        if known.contains(&format) {
            let half = &sample[..sample.len() - program.len() / 2];
            let (seen, result) = walk(half, &Limits::default());
            assert_eq!(result, Ok(()), "{format}");
            assert!(seen.iter().any(|(.., facts)| facts.broken), "{format}");
        }
    }
}

#[test]
fn two_descriptions_of_a_file() {
    let honest = Zipped::deflated("a.txt", b"content");
    for (what, file, ambiguous) in [
        ("the same", honest.clone(), false),
        ("names", Zipped { local_name: Some("a.exe".into()), ..honest.clone() }, true),
        ("size", Zipped { size: 3, ..honest.clone() }, true),
        ("not listed", Zipped { listed: false, ..honest.clone() }, true),
    ] {
        let content = samples::zip_of(&[Zipped::deflated("b.txt", b"other"), file]);
        assert_eq!(facts(&content).ambiguous, ambiguous, "{what}");
        let (seen, _) = walk(&content, &Limits::default());
        assert_eq!(seen.len(), 3, "{what}");
    }
}

#[test]
fn lying_sizes() {
    // A size that is too small hides nothing, and one that is too large takes no memory.
    let content = b"content ".repeat(1_000);
    for size in [0, 1, u32::MAX - 1] {
        let (seen, result) = walk(
            &samples::zip_of(&[Zipped { size, ..Zipped::deflated("a", &content) }]),
            &Limits::default(),
        );
        assert_eq!(result, Ok(()));
        assert_eq!(seen[0].1, content.len());
    }
    let mut sevenzip = samples::sevenzip_stored("a", b"content");
    sevenzip[20..28].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(facts(&sevenzip).broken);
    let mut cabinet = samples::cabinet("a", b"content");
    cabinet[44..48].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(facts(&cabinet).broken);
    let mut tnef = samples::tnef("a", b"content");
    let length = tnef.len() - 13;
    tnef[length..length + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(facts(&tnef).broken);
}

#[test]
fn bombs() {
    let limits = Limits::default();
    let small = Limits { one: 1 << 20, total: 3 << 20, ratio_from: 64 << 10, ..Limits::default() };
    let zeros = vec![0; 512 << 10];
    let many: Vec<(String, Vec<u8>)> =
        (0..10).map(|number| (number.to_string(), vec![1; 500_000])).collect();
    let many: Vec<(&str, &[u8])> =
        many.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
    let loose = Limits { ratio: usize::MAX, ..small.clone() };
    for (what, content, limits, expected) in [
        ("ratio", samples::zip(&[("a", &zeros)]), &small, Excess::Ratio),
        ("ratio of gzip", samples::gzip(None, &zeros), &small, Excess::Ratio),
        ("ratio of bzip2", samples::bzip2(&zeros), &small, Excess::Ratio),
        ("ratio of xz", samples::xz(&zeros), &small, Excess::Ratio),
        ("ratio of zstd", zstd::encode_all(&zeros[..], 3).unwrap(), &small, Excess::Ratio),
        ("ratio of PDF", samples::pdf_with_file(&zeros), &small, Excess::Ratio),
        ("one", samples::zip(&[("a", &vec![0; 2 << 20])]), &loose, Excess::One),
        (
            "one, stored",
            samples::zip_of(&[Zipped::stored("a", &vec![0; 2 << 20])]),
            &loose,
            Excess::One,
        ),
        ("total", samples::zip(&many), &loose, Excess::Total),
        ("total of tar", samples::tar(&many), &loose, Excess::Total),
    ] {
        assert_eq!(excess(&content, limits), Some(expected), "{what}");
    }

    // A gigabyte in a megabyte, as everybody has it at hand.
    let gigabyte = samples::gzip(None, &vec![0; 100 << 20]);
    assert!(matches!(excess(&gigabyte, &limits), Some(Excess::Ratio)));
    // Packed twice, the first ratio is harmless to look at.
    assert!(excess(&samples::gzip(None, &gigabyte), &limits).is_some());
}

#[test]
fn nested_like_42() {
    let mut content = samples::zip(&[("0", &vec![0; 1 << 20])]);
    for _ in 0..6 {
        let names: Vec<String> = (0..16).map(|number| format!("lib {number}.zip")).collect();
        let files: Vec<(&str, &[u8])> =
            names.iter().map(|name| (name.as_str(), content.as_slice())).collect();
        content = samples::zip(&files);
    }
    assert!(content.len() < 1_000_000, "{}", content.len());
    assert!(matches!(excess(&content, &Limits::default()), Some(Excess::Total | Excess::Entries)));

    for depth in 1..20 {
        let mut content = b"content".to_vec();
        for _ in 0..depth {
            content = samples::zip(&[("a.zip", &content)]);
        }
        let expected = (depth > 8).then_some(Excess::Depth);
        assert_eq!(excess(&content, &Limits::default()), expected, "{depth}");
    }
}

#[test]
fn files_upon_each_other() {
    // The same octets under a thousand names.
    let mut files = vec![Zipped::deflated("0", &vec![0; 1 << 20])];
    for number in 1..1_000 {
        files.push(Zipped {
            name: number.to_string(),
            local_name: Some("0".into()),
            place: Some(0),
            ..files[0].clone()
        });
    }
    let limits = Limits::default();
    let mut seen = 0;
    let mut look = |_: &Object<'_>| seen += 1;
    let never = || false;
    let result =
        Walk::new(&limits, &never, &mut look).part("part", &samples::zip_of(&files), false);
    assert_eq!(result, Err(Stop::Excess(Excess::Overlap)));
    assert_eq!(seen, 1, "nothing is unpacked");
}

#[test]
fn files_within_each_other() {
    // Two small ones lie in a large one that is stored: neither meets the other.
    let inner = samples::zip_of(&[Zipped::stored("a", b"1"), Zipped::stored("b", b"2")]);
    let mut files = vec![Zipped::stored("large", &inner)];
    for (name, place) in [("a", 35), ("b", 67)] {
        files.push(Zipped { place: Some(place), ..Zipped::stored(name, name.as_bytes()) });
    }
    assert_eq!(excess(&samples::zip_of(&files), &Limits::default()), Some(Excess::Overlap));
}

#[test]
fn a_million_files() {
    let files: Vec<Zipped> =
        (0..65_535).map(|number| Zipped::stored(&number.to_string(), b"")).collect();
    assert_eq!(excess(&samples::zip_of(&files), &Limits::default()), Some(Excess::Entries));
    // Nobody has to write them to say that there are.
    let mut liar = samples::zip(&[("a", b"content")]);
    let length = liar.len();
    liar[length - 12..length - 10].copy_from_slice(&u16::MAX.to_le_bytes());
    assert_eq!(excess(&liar, &Limits::default()), Some(Excess::Entries));

    // 512 octets each, and nothing in them.
    let tar = samples::tar(&vec![("a", &b""[..]); 100_000]);
    assert_eq!(excess(&tar, &Limits::default()), Some(Excess::Entries));
    assert_eq!(
        excess(
            &samples::gzip(None, &samples::tar(&vec![("a", &b""[..]); 12_000])),
            &Limits::default()
        ),
        Some(Excess::Entries)
    );

    let mut header = vec![1, 5, 0xe0, 0x40, 0x42, 0x0f];
    header.resize(40, 0);
    let mut sevenzip = b"7z\xbc\xaf\x27\x1c\0\x04\0\0\0\0".to_vec();
    sevenzip.extend(0_u64.to_le_bytes());
    sevenzip.extend((header.len() as u64).to_le_bytes());
    sevenzip.extend([0; 4]);
    sevenzip.extend(header);
    assert_eq!(excess(&sevenzip, &Limits::default()), Some(Excess::Entries));
}

#[test]
fn dictionaries_are_not_taken_blindly() {
    let limits = Limits { dictionary: 1 << 20, ..Limits::default() };
    let mut xz = samples::xz(b"content");
    // The size of the dictionary is the octet behind the filter's number and its length.
    assert_eq!(xz[14..16], [0x21, 1]);
    let whole = xz.clone();
    xz[16] = 40;
    assert_eq!(excess(&xz, &limits), Some(Excess::Dictionary));
    // A second stream that asks for more than the first.
    let limits = Limits { dictionary: 5 << 20, ..Limits::default() };
    assert_eq!(excess(&whole, &limits), None);
    let mut options = lzma_rust2::XzOptions::with_preset(0);
    options.lzma_options.dict_size = 8 << 20;
    let mut writer = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
    io::Write::write_all(&mut writer, b"more").unwrap();
    let second = writer.finish().unwrap();
    assert_eq!(excess(&[whole, second].concat(), &limits), Some(Excess::Dictionary));
    // What comes out is small, and so is what is needed for it.
    let (seen, result) = walk(
        &samples::sevenzip(
            "a",
            b"content",
            &[0x21, 0x21, 1, 40],
            &[1, 0, 6, b'c', b'o', b'n', b't', b'e', b'n', b't', 0],
        ),
        &limits,
    );
    assert_eq!(result, Ok(()));
    assert_eq!(seen[0].1, 7);
}

#[test]
fn the_time_is_over() {
    let calls = std::cell::Cell::new(0);
    let expired = || {
        calls.set(calls.get() + 1);
        calls.get() > 10
    };
    let limits = Limits::default();
    let mut look = |_: &Object<'_>| {};
    let content = samples::zip(&[
        ("a", b"1"),
        ("b", b"2"),
        ("c", b"3"),
        ("d", b"4"),
        ("e", b"5"),
        ("f", b"6"),
    ]);
    let result = Walk::new(&limits, &expired, &mut look).part("part", &content, false);
    assert_eq!(result, Err(Stop::Late));
}

#[test]
fn limits_hold_for_all_parts_together() {
    let limits = Limits { total: 3_000_000, ratio: usize::MAX, ..Limits::default() };
    let mut look = |_: &Object<'_>| {};
    let never = || false;
    let mut walk = Walk::new(&limits, &never, &mut look);
    let content = samples::zip(&[("a", &vec![0; 1_000_000])]);
    assert!(walk.is_fresh());
    assert_eq!(walk.part("1", &content, false), Ok(()));
    assert!(!walk.is_fresh());
    assert_eq!(walk.part("2", &content, false), Ok(()));
    assert_eq!(walk.part("3", &content, false), Ok(()));
    assert_eq!(walk.part("4", &content, false), Err(Stop::Excess(Excess::Total)));
}

#[test]
fn macros_in_documents() {
    let document = samples::document_with_macro("Sub AutoOpen()\r\nEnd Sub\r\n");
    let (seen, _) = walk(&document, &Limits::default());
    let own = seen.last().unwrap().2;
    assert!(own.macros && !own.sourceless);
    assert!(seen.iter().any(|(path, size, _)| path == "ThisDocument" && *size > 50));
    let stripped = samples::compound(&[
        ("WordDocument", &[0; 600]),
        ("_VBA_PROJECT", b"\xcc\x61"),
        ("ThisDocument", b"compiled"),
    ]);
    assert!(facts(&stripped).sourceless);
    // A sheet of formulas among two.
    let workbook = b"\x09\x08\x04\0\0\x06\x05\0\x85\0\x08\0\0\0\0\0\0\0\x01a\x85\0\x08\0\0\0\0\0\0\x01\x01b\x0a\0\0\0";
    assert!(facts(&samples::compound(&[("Workbook", workbook)])).formulas);
}

#[test]
fn attachments_of_outlook_have_their_names() {
    let (seen, result) = walk(&samples::outlook("invoice.js", b"alert(1)"), &Limits::default());
    assert_eq!(result, Ok(()));
    assert_eq!((seen[0].0.as_str(), seen[0].1), ("invoice.js", 8));
    // Folders that are their own children.
    let mut message = samples::outlook("invoice.js", b"alert(1)");
    for entry in 0..3 {
        let at = 1024 + 128 * entry;
        message[at + 68..at + 80].copy_from_slice(&[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    }
    assert_eq!(walk(&message, &Limits::default()).1, Ok(()));
}

/// Chains of a compound file that never end.
#[test]
fn circles() {
    let mut document = samples::compound(&[("a", &[1; 5_000]), ("b", &[2; 5_000])]);
    for place in (512..1024).step_by(4) {
        document[place..place + 4].copy_from_slice(&2_u32.to_le_bytes());
    }
    let (seen, result) = walk(&document, &Limits::default());
    assert_eq!(result, Ok(()));
    assert!(!seen.is_empty());

    // A coder of 7-Zip that feeds itself, and another.
    let sevenzip = samples::sevenzip("a", b"content", &[], b"content");
    let at = sevenzip.windows(4).position(|window| window == [0xb, 1, 0, 1]).unwrap() + 3;
    let mut circle = sevenzip[..at].to_vec();
    circle.extend([3, 1, 0, 1, 0, 1, 0, 0, 1, 1, 1, 0xc, 7, 7, 7, 0, 0, 5, 0, 0, 0]);
    let length = (circle.len() - 32 - 7) as u64;
    circle[20..28].copy_from_slice(&length.to_le_bytes());
    assert!(facts(&circle).broken);
}
