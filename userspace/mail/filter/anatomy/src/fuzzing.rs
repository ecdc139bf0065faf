//! What the fuzz targets do with arbitrary bytes: each function panics if a promise is broken.

use crate::anatomy::{Anatomy, Surroundings};
use crate::brand::Brands;
use crate::fingerprint::Key;
use crate::limits::{Limits, Problem};
use crate::link::{Link, Place};
use crate::page::Page;
use crate::part::Role;
use crate::structure::{self, Room};
use crate::transfer::Transfer;
use crate::values::Values;

/// Small ones, so that they are met.
fn limits() -> Limits {
    Limits {
        message: 1 << 20,
        header: 4 << 10,
        fields: 50,
        value: 1 << 10,
        depth: 5,
        parts: 20,
        messages: 4,
        decoded: 32 << 10,
        text: 2 << 10,
        html: 8 << 10,
        tags: 200,
        open: 16,
        attributes: 8,
        links: 10,
        link: 256,
        words: 500,
    }
}

/// Has panics of mail-parser's pass, which the crate contains; libFuzzer's own hook ends the process at each.
pub fn pass_contained_panics() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !info.location().is_some_and(|location| location.file().contains("mail-parser")) {
            hook(info);
        }
    }));
}

/// A message: nothing panics, but for mail-parser, which is contained; nothing is larger than its limit; and the same is read
/// twice.
pub fn message(bytes: &[u8]) {
    let limits = limits();
    let anatomy = Anatomy::read(bytes, &limits);
    if !anatomy.problems.has(Problem::Unreadable) {
        assert!(!anatomy.parts.is_empty());
    }
    assert!(anatomy.parts.len() <= limits.parts + 1);
    assert!(anatomy.header.fields.len() <= limits.fields);
    assert!(anatomy.plain.len() <= limits.text + anatomy.parts.len());
    assert!(anatomy.links.len() <= limits.links);
    let decoded: usize = anatomy
        .parts
        .iter()
        .filter(|part| part.role != Role::Message && part.transfer != Transfer::Plain)
        .map(|part| part.size())
        .sum();
    assert!(decoded <= 3 * limits.decoded);
    for (index, part) in anatomy.parts.iter().enumerate() {
        assert!(part.parent.is_none_or(|parent| parent < index));
        assert!(part.depth <= limits.depth + 1);
    }
    for page in &anatomy.pages {
        assert!(page.visible.len() <= limits.text && page.hidden.len() <= limits.text);
        assert!(page.tags <= limits.tags && page.octets <= limits.html);
        assert!(page.anchors.len() <= limits.links && page.images.len() <= limits.links);
    }
    let brands = Brands::new(["provider.example"]);
    let findings = anatomy.findings(&Surroundings { now: 1_700_000_000, brands: &brands });
    for finding in &findings {
        let sentence = finding.describe();
        assert!(sentence.len() < 1_200 && !sentence.contains(['\r', '\n', '\0']));
    }
    let _ = anatomy.fingerprint(&Key::new(&[1; 32]));
    assert_eq!(Anatomy::read(bytes, &limits), anatomy);
}

/// The parts alone, which is where nothing may panic even if it is contained.
pub fn parts(bytes: &[u8]) {
    let limits = limits();
    let mut values = Values::new(&limits);
    let mut room = Room { parts: limits.parts, messages: limits.messages };
    for part in structure::structure(bytes, 0, &mut values, &mut room) {
        assert!(bytes.get(part.body.clone()).is_some());
        assert!(part.depth <= limits.depth);
        for transfer in [Transfer::Base64, Transfer::QuotedPrintable, Transfer::Uuencode] {
            let raw = bytes.get(part.body.clone()).unwrap_or_default();
            assert!(transfer.decode(raw).0.len() <= raw.len());
        }
    }
}

/// A page, and what it leads to.
pub fn page(html: &str) {
    let limits = limits();
    let page = Page::read(html, &limits, limits.tags);
    assert!(page.visible.len() + page.hidden.len() <= 2 * limits.text);
    for anchor in &page.anchors {
        let base = page.base.as_deref();
        let link = Link::read(&anchor.target, Place::Anchor, Some(&anchor.text), base, limits.link);
        assert!(link.written.len() <= limits.link);
        let _ = link.seen_host();
    }
}
