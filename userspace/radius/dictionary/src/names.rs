//! Names that are found without regard to letter case, and without allocating.

use hashbrown::HashTable;

/// Finds the index of what has a name; the names themselves stand where the index leads.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameIndex(HashTable<u32>);

impl NameIndex {
    pub(crate) fn find<'n>(
        &self,
        name: &str,
        name_at: impl Fn(u32) -> Option<&'n str>,
    ) -> Option<u32> {
        self.0.find(hash(name), |&at| is_named(name_at(at), name)).copied()
    }

    /// From now on the name leads to `at`.
    pub(crate) fn set<'n>(
        &mut self,
        name: &str,
        at: u32,
        name_at: impl Fn(u32) -> Option<&'n str>,
    ) {
        match self.0.find_mut(hash(name), |&known| is_named(name_at(known), name)) {
            Some(known) => *known = at,
            None => {
                self.0.insert_unique(hash(name), at, |&known| name_at(known).map_or(0, hash));
            }
        }
    }
}

fn is_named(known: Option<&str>, name: &str) -> bool {
    known.is_some_and(|known| known.eq_ignore_ascii_case(name))
}

/// FNV-1a over the lower-cased name. Only the operator's own files can make names collide.
fn hash(name: &str) -> u64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letter_case_does_not_matter_and_the_last_one_counts() {
        let names: Vec<String> = (0..500).map(|at| format!("Name-{at}")).collect();
        let name_at = |at: u32| names.get(at as usize).map(String::as_str);
        let mut index = NameIndex::default();
        for (at, name) in names.iter().enumerate() {
            index.set(name, at as u32, name_at);
        }
        for (at, name) in names.iter().enumerate() {
            assert_eq!(index.find(&name.to_uppercase(), name_at), Some(at as u32));
        }
        assert_eq!(index.find("Name", name_at), None);
        index.set("NAME-7", 8, |at| if at == 8 { Some("name-7") } else { name_at(at) });
        assert_eq!(index.find("name-7", |at| (at == 8).then_some("name-7")), Some(8));
    }
}
