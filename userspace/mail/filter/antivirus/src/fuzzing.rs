//! What the fuzz targets do with arbitrary bytes: each function panics if a promise is broken.

use std::cell::Cell;

use crate::clamd::Reply;
use crate::format::Format;
use crate::limits::Limits;
use crate::name::FileName;
use crate::unpack::Walk;
use crate::verdict::Verdict;

/// Small ones, so that they are met.
fn limits() -> Limits {
    Limits {
        depth: 4,
        entries: 200,
        total: 1 << 20,
        one: 512 << 10,
        ratio: 100,
        ratio_from: 64 << 10,
        dictionary: 1 << 20,
    }
}

/// A file: nothing panics, nothing is larger than its limit, and it comes to an end.
pub fn file(bytes: &[u8]) {
    let limits = limits();
    let octets = Cell::new(0_usize);
    let files = Cell::new(0_usize);
    let mut look = |object: &crate::unpack::Object<'_>| {
        assert!(object.depth <= limits.depth);
        if object.depth > 0 {
            assert!(object.content.len() <= limits.one, "{object:?}");
            octets.set(octets.get() + object.content.len());
        }
        files.set(files.get() + 1);
    };
    let never = || false;
    let mut walk = Walk::new(&limits, &never, &mut look);
    let _ = walk.part("file", bytes, false);
    assert!(octets.get() <= limits.total, "{}", octets.get());
    // A stream with macros is looked at packed and unpacked, and so is an object in rich text, twice.
    assert!(files.get() <= 1 + 3 * limits.entries, "{}", files.get());
}

/// A file that begins as one of the formats does, so that each is met.
pub fn format(bytes: &[u8]) {
    let Some((&which, rest)) = bytes.split_first() else { return };
    const BEGINNINGS: [&[u8]; 16] = [
        b"PK\x03\x04",
        b"\x1f\x8b\x08\0",
        b"BZh9",
        b"\xfd7zXZ\0",
        b"\x28\xb5\x2f\xfd",
        b"070701",
        b"070707",
        b"7z\xbc\xaf\x27\x1c\0\x04",
        b"Rar!\x1a\x07\0",
        b"Rar!\x1a\x07\x01\0",
        b"MSCF\0\0\0\0",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"{\\rtf{\\object\\objdata ",
        b"%PDF-1.7 1 0 obj/ObjStm/FlateDecode stream\n",
        b"\x78\x9f\x3e\x22",
        b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3",
    ];
    let beginning =
        BEGINNINGS.get(usize::from(which) % BEGINNINGS.len()).copied().unwrap_or_default();
    file(&[beginning, rest].concat());
}

/// A file's name, and an answer of clamd's.
pub fn words(bytes: &[u8]) {
    let name = FileName::new(&String::from_utf8_lossy(bytes));
    assert!(name.base.ends_with(&name.extension));
    assert!(name.shown().chars().count() <= 81);
    let _ = Format::of(bytes);
    let reply = Reply::read(bytes);
    if reply.clone().verdict() == Verdict::Clean {
        assert_eq!(bytes.trim_ascii(), b"stream: OK");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::samples;

    #[test]
    fn samples_hold() {
        for (_, sample) in samples::all() {
            file(&sample);
            for cut in [1, 2, 3, 7, 16, 50] {
                file(&sample[..sample.len() - sample.len().min(cut)]);
                file(&sample[..sample.len() / cut]);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn anything_holds(bytes: Vec<u8>) {
            file(&bytes);
            format(&bytes);
            words(&bytes);
        }

        /// Octets of what is whole, changed.
        #[test]
        fn damaged_samples_hold(which: prop::sample::Index, damage: Vec<(prop::sample::Index, u8)>) {
            let mut samples = samples::all();
            let mut sample = samples.swap_remove(which.index(samples.len())).1;
            for (place, octet) in damage.into_iter().take(20) {
                let place = place.index(sample.len());
                sample[place] = octet;
            }
            file(&sample);
        }
    }
}
