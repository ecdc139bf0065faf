//! Domain names. An entry for the very name decides before one for a parent's subdomains, the longest parent first; of
//! equal ones an exclusion does.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::text::Line;
use super::{Build, EXCLUDED, FileState, Listed};
use crate::name;

/// The name itself.
const SELF: u8 = 1;
/// All below it.
const BELOW: u8 = 2;
/// Nothing: names below it are in the list, so that it exists (RFC 8020).
const BETWEEN: u8 = 0;

/// Names one behind the other, and a table of where each begins.
#[derive(Debug, Default)]
pub(crate) struct DnSet {
    /// For each name: value (4 bytes), what it is for (1), name in wire form.
    arena: Vec<u8>,
    table: HashTable<u32>,
    hasher: RandomState,
    entries: usize,
}

/// A set in the making.
#[derive(Default)]
pub(super) struct DnSetBuilder(DnSet);

struct Stored<'a> {
    value: u32,
    scope: u8,
    /// Labels without the root.
    labels: &'a [u8],
}

impl Build for DnSetBuilder {
    type Set = DnSet;

    fn entry<'l>(
        &mut self,
        line: Line<'l>,
        _: &FileState,
        value: impl FnOnce(&'l [u8]) -> Result<u32, String>,
    ) -> Result<(), String> {
        let Line::Entry { excluded, key, value: rest } = line else { return Ok(()) };
        let (scope, text) = match key {
            [b'*', b'.', text @ ..] => (BELOW, text),
            [b'.', text @ ..] => (SELF | BELOW, text),
            text => (SELF, text),
        };
        // Names of hosts and mail domains, so that a page of HTML doesn't pass for a list.
        let plain =
            |&byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte) || byte >= 0x80;
        let parsed =
            text.iter().all(plain).then(|| name::parse(text, Some(name::ROOT)).ok()).flatten();
        let mut wire = parsed.filter(|wire| wire.len() > 1).ok_or_else(|| {
            format!(
                "\"{}\" is not a name such as example.org, .example.org or *.example.org",
                String::from_utf8_lossy(key)
            )
        })?;
        name::lower(&mut wire);
        let value = if excluded { EXCLUDED } else { value(rest)? };
        self.0.add(&wire, scope, value)
    }

    fn build(mut self) -> Result<DnSet, String> {
        self.0.arena.shrink_to_fit();
        let Self(DnSet { arena, table, hasher, .. }) = &mut self;
        table.shrink_to_fit(|&at| {
            hasher.hash_one(stored(arena, at).map_or(&[][..], |entry| entry.labels))
        });
        Ok(self.0)
    }

    fn size(set: &DnSet) -> (usize, usize) {
        (set.entries, set.arena.len() + set.table.allocation_size())
    }
}

fn stored(arena: &[u8], at: u32) -> Option<Stored<'_>> {
    let (value, rest) = arena.get(at as usize..)?.split_first_chunk()?;
    let (scope, rest) = rest.split_first()?;
    let length = name::prefix(rest)?;
    Some(Stored {
        value: u32::from_le_bytes(*value),
        scope: *scope,
        labels: rest.get(..length - 1)?,
    })
}

impl DnSet {
    fn add(&mut self, wire: &[u8], scope: u8, value: u32) -> Result<(), String> {
        let labels = wire.strip_suffix(name::ROOT).unwrap_or(wire);
        // Lists repeat themselves.
        if self.all(labels).any(|entry| entry.scope == scope && entry.value == value) {
            return Ok(());
        }
        self.entries += 1;
        self.insert(wire, scope, value)?;
        for parent in name::suffixes(wire).skip(1).take_while(|parent| parent.len() > 1) {
            if self.all(parent.strip_suffix(name::ROOT).unwrap_or(parent)).next().is_some() {
                break;
            }
            self.insert(parent, BETWEEN, EXCLUDED)?;
        }
        Ok(())
    }

    fn insert(&mut self, wire: &[u8], scope: u8, value: u32) -> Result<(), String> {
        let at = u32::try_from(self.arena.len()).map_err(|_| "the names take more than 4 GiB")?;
        self.arena.extend(value.to_le_bytes());
        self.arena.push(scope);
        self.arena.extend_from_slice(wire);
        let Self { arena, table, hasher, .. } = self;
        let labels = wire.strip_suffix(name::ROOT).unwrap_or(wire);
        table.insert_unique(hasher.hash_one(labels), at, |&at| {
            hasher.hash_one(stored(arena, at).map_or(&[][..], |entry| entry.labels))
        });
        Ok(())
    }

    /// Every entry of a name.
    fn all<'s>(&'s self, labels: &'s [u8]) -> impl Iterator<Item = Stored<'s>> {
        self.table
            .iter_hash(self.hasher.hash_one(labels))
            .filter_map(|&at| stored(&self.arena, at))
            .filter(move |entry| entry.labels == labels)
    }

    /// Looks a name up, given as labels in lower case without the root.
    pub(super) fn find(&self, labels: &[u8]) -> Listed {
        let mut exists = false;
        let mut scope = SELF;
        let mut name = labels;
        while let Some(&length) = name.first() {
            let (mut found, mut values) = (false, Vec::new());
            for entry in self.all(name) {
                exists |= scope == SELF;
                if entry.scope & scope != 0 {
                    found = true;
                    values.push(entry.value);
                }
            }
            if found {
                return match values.contains(&EXCLUDED) {
                    false => Listed::Yes(values),
                    true if exists => Listed::Between,
                    true => Listed::No,
                };
            }
            scope = BELOW;
            name = name.get(1 + usize::from(length)..).unwrap_or_default();
        }
        if exists { Listed::Between } else { Listed::No }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(text: &str) -> Vec<u8> {
        let mut wire = name::parse(text.as_bytes(), Some(name::ROOT)).unwrap();
        wire.pop();
        wire
    }

    fn set(lines: &[(&str, u32)]) -> DnSet {
        let mut builder = DnSetBuilder::default();
        for (line, value) in lines {
            builder
                .entry(Line::parse(line.as_bytes()), &FileState::default(), |_| Ok(*value))
                .unwrap();
        }
        builder.build().unwrap()
    }

    #[test]
    fn scopes_and_exclusions() {
        let set = set(&[
            ("one.example", 1),
            ("*.two.example", 2),
            (".three.example", 3),
            ("!ok.three.example", 0),
            ("!.fine.two.example", 0),
            ("bad.fine.two.example", 4),
            ("one.example", 5),
        ]);
        for (name, expected) in [
            ("one.example", Some(vec![1, 5])),
            ("a.one.example", None),
            ("two.example", None),
            ("a.two.example", Some(vec![2])),
            ("a.b.two.example", Some(vec![2])),
            ("three.example", Some(vec![3])),
            ("x.three.example", Some(vec![3])),
            ("ok.three.example", None),
            ("x.ok.three.example", Some(vec![3])),
            ("fine.two.example", None),
            ("x.fine.two.example", None),
            ("bad.fine.two.example", Some(vec![4])),
            ("example", None),
            ("other", None),
        ] {
            let found = match set.find(&labels(name)) {
                Listed::Yes(mut values) => {
                    values.sort_unstable();
                    Some(values)
                }
                _ => None,
            };
            assert_eq!(found, expected, "{name}");
        }
        for (name, expected) in [
            ("example", Listed::Between),
            ("two.example", Listed::Between),
            ("other", Listed::No),
            ("a.one.example", Listed::No),
        ] {
            assert_eq!(set.find(&labels(name)), expected, "{name}");
        }
    }

    #[test]
    fn no_names() {
        for line in ["<html>", "a..b", ".", "*.", "a b@c", "!"] {
            let result = DnSetBuilder::default().entry(
                Line::parse(line.as_bytes()),
                &FileState::default(),
                |_| Ok(0),
            );
            assert!(result.is_err() || line == "a b@c", "{line}");
        }
    }

    proptest! {
        #[test]
        fn as_the_naive_model(entries in proptest::collection::vec(("[ab](\\.[ab]){0,3}", 1u8..4, 0u32..4), 0..20), asked in "[ab](\\.[ab]){0,4}") {
            let mut builder = DnSetBuilder::default();
            for (name, scope, value) in &entries {
                let line = format!("{}{}{name}", if *value == 0 { "!" } else { "" }, match *scope { BELOW => "*.", 3 => ".", _ => "" });
                builder.entry(Line::parse(line.as_bytes()), &FileState::default(), |_| Ok(*value)).unwrap();
            }
            let set = builder.build().unwrap();
            let mut expected = None;
            let (mut name, mut scope) = (asked.as_str(), SELF);
            loop {
                let mut values: Vec<u32> = entries.iter().filter(|(entry, scopes, _)| entry == name && scopes & scope != 0).map(|(_, _, value)| *value).collect();
                if !values.is_empty() {
                    values.sort_unstable();
                    values.dedup();
                    expected = (!values.contains(&0)).then_some(values);
                    break;
                }
                scope = BELOW;
                match name.split_once('.') {
                    Some((_, parent)) => name = parent,
                    None => break,
                }
            }
            let found = match set.find(&labels(&asked)) {
                Listed::Yes(mut values) => { values.sort_unstable(); values.dedup(); Some(values) }
                _ => None,
            };
            prop_assert_eq!(found, expected);
        }
    }
}
