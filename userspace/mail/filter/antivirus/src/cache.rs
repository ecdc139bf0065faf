//! What was seen before. The same file comes to thousands of mailboxes; it is looked at once, by each who looks.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::engine::Engine;
use crate::format::Format;
use crate::name::FileName;
use crate::part::Part;

/// What an answer is kept under: who looked, in which version, at what.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Key([u8; 32]);

impl Key {
    /// Of a part that the engine looks at. Names are as good as random, so that only what matters of one is taken.
    #[must_use]
    pub fn of_engine(engine: &Engine, part: &Part) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("muralla antivirus engine 1");
        hasher.update(engine.version());
        let name = FileName::new(part.name.as_deref().unwrap_or_default());
        let flags = [part.shown, name.turned, name.double, name.padded, name.outward];
        hasher.update(&flags.map(u8::from));
        // What is packed alone takes its name from what it is packed in.
        let format = Format::of(&part.content);
        let single = matches!(format, Format::Gzip | Format::Bzip2 | Format::Xz | Format::Zstd);
        let telling = if single { &name.base } else { &name.extension };
        hasher.update(&telling.len().to_le_bytes());
        hasher.update(telling.as_bytes());
        hasher.update(&part.content);
        Self(*hasher.finalize().as_bytes())
    }

    /// Of octets that another scanner looks at, which says of itself that it is this version.
    #[must_use]
    pub fn of_scanner(version: &str, content: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("muralla antivirus scanner 1");
        hasher.update(&version.len().to_le_bytes());
        hasher.update(version.as_bytes());
        hasher.update(content);
        Self(*hasher.finalize().as_bytes())
    }
}

/// Answers, as many as there is room for. What was not asked for the longest goes first, by and large: there are two halves, and
/// when the younger is full, the older is forgotten.
#[derive(Debug)]
pub struct Cache<V> {
    half: usize,
    halves: Mutex<Halves<V>>,
}

#[derive(Debug)]
struct Halves<V> {
    young: HashMap<Key, V>,
    old: HashMap<Key, V>,
}

impl<V: Clone> Cache<V> {
    /// Room for so many answers.
    #[must_use]
    pub fn new(room: usize) -> Self {
        let halves = Halves { young: HashMap::new(), old: HashMap::new() };
        Self { half: (room / 2).max(1), halves: Mutex::new(halves) }
    }

    /// What was seen.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<V> {
        let mut halves = self.halves.lock();
        if let Some(value) = halves.young.get(key) {
            return Some(value.clone());
        }
        let value = halves.old.remove(key)?;
        self.insert(&mut halves, *key, value.clone());
        Some(value)
    }

    /// Keeps what was seen.
    pub fn put(&self, key: Key, value: V) {
        self.insert(&mut self.halves.lock(), key, value);
    }

    fn insert(&self, halves: &mut Halves<V>, key: Key, value: V) {
        if halves.young.len() >= self.half && !halves.young.contains_key(&key) {
            halves.old = std::mem::take(&mut halves.young);
        }
        halves.young.insert(key, value);
    }

    /// Answers that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        let halves = self.halves.lock();
        halves.young.len() + halves.old.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Key {
        Key::of_scanner("1", &number.to_le_bytes())
    }

    #[test]
    fn bounded_and_what_is_asked_for_stays() {
        let cache = Cache::new(100);
        assert!(cache.is_empty());
        for number in 0..10_000 {
            cache.put(key(number), number);
            assert_eq!(cache.get(&key(0)), Some(0), "{number}");
            assert!(cache.len() <= 100);
        }
        assert_eq!(cache.get(&key(9_999)), Some(9_999));
        assert_eq!(cache.get(&key(5_000)), None);
    }

    #[cfg(feature = "rules")]
    #[test]
    fn only_what_matters_of_a_name() {
        use std::time::Duration;

        use crate::limits::Limits;

        let engine = Engine::new(Limits::default(), Duration::from_secs(1)).unwrap();
        let other =
            Engine::new(Limits { depth: 3, ..Limits::default() }, Duration::from_secs(1)).unwrap();
        let of = |name: &str| Key::of_engine(&engine, &Part::file(name, &b"content"[..]));
        assert_eq!(of("a.pdf"), of("b.PDF"));
        for different in ["a.exe", "a.doc.exe", "a\u{202e}.pdf", "a"] {
            assert_ne!(of("a.pdf"), of(different), "{different}");
        }
        let part = Part::file("a.pdf", &b"content"[..]);
        assert_ne!(Key::of_engine(&engine, &part), Key::of_engine(&other, &part));
        assert_ne!(of("a.pdf"), Key::of_engine(&engine, &Part { shown: true, ..part }));
        let packed = |name: &str| Key::of_engine(&engine, &Part::file(name, &b"\x1f\x8b\x08"[..]));
        assert_ne!(packed("a.js.gz"), packed("a.txt.gz"));
        assert_ne!(Key::of_scanner("1", b"content"), Key::of_scanner("2", b"content"));
    }
}
