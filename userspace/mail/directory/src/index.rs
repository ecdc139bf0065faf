//! Everything that recipients and logins need, in memory.
//!
//! Whoever looks waits for nobody: an account is found under a lock that is held for the time it takes to put one pointer in
//! the place of another, and what is small is a snapshot that is replaced as a whole. A load of everything fills an index of
//! its own beside the one in force, and takes its place at the end.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::{ArcSwap, Guard};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use muralla_credentials::{Credential, Scheme};
use parking_lot::{Mutex, RwLock};
use siphasher::sip::SipHasher13;

use crate::entries::{Backend, BackendEntry, DkimKeyEntry, DomainEntry, ShardEntry, items};
use crate::record::{self, Account, Record};
use crate::{BackendId, ShardId};

/// Parts of a table, each with a lock of its own. So many that the one which grows is out of reach for microseconds only.
const PARTS: usize = 256;

/// What is compared for who does not exist, until most accounts have something else.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// All accounts, aliases and what they need.
pub(crate) struct Index {
    seed: [u64; 2],
    accounts: Table,
    aliases: Table,
    ids: Table,
    small: ArcSwap<Small>,
    tally: Mutex<Tally>,
    /// What is compared for who is not known, packed.
    decoy: ArcSwap<Vec<u8>>,
}

impl Index {
    /// An empty one. `seed` must be secret and random.
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        let decoy = Credential::parse(DECOY).unwrap_or_default();
        Self {
            seed,
            accounts: Table::default(),
            aliases: Table::default(),
            ids: Table::default(),
            small: ArcSwap::default(),
            tally: Mutex::default(),
            decoy: ArcSwap::from_pointee(packed(&decoy.decoy())),
        }
    }

    pub(crate) fn small(&self) -> Guard<Arc<Small>> {
        self.small.load()
    }

    pub(crate) fn set_small(&self, small: Small) {
        self.small.store(Arc::new(small));
    }

    pub(crate) fn decoy(&self) -> Arc<Vec<u8>> {
        self.decoy.load_full()
    }

    /// The account of a name.
    pub(crate) fn account(&self, name: &str) -> Option<Record> {
        self.accounts.find(self.hash(name.as_bytes()), |known| is_named(known, name))
    }

    /// The account of a number.
    pub(crate) fn account_of(&self, id: i64) -> Option<Record> {
        self.ids.find(self.hash(&id.to_le_bytes()), |known| record::id_of(known) == Some(id))
    }

    /// The alias of a name.
    pub(crate) fn alias(&self, name: &str) -> Option<Record> {
        self.aliases.find(self.hash(name.as_bytes()), |known| is_named(known, name))
    }

    /// Puts an account in, in the place of the one that has its number. One writer at a time.
    pub(crate) fn put_account(&self, new: Record) {
        let Some(id) = record::id_of(&new) else { return };
        let name = record::name_of(&new);
        let old = self.ids.put(
            self.hash(&id.to_le_bytes()),
            new.clone(),
            |known| record::id_of(known) == Some(id),
            |known| self.hash(&record::id_of(known).unwrap_or(0).to_le_bytes()),
        );
        self.accounts.put(
            self.hash(name),
            new.clone(),
            |known| record::name_of(known) == name,
            |known| self.hash(record::name_of(known)),
        );
        if let Some(old) = old.as_ref().filter(|old| record::name_of(old) != name) {
            self.forget_name(id, record::name_of(old));
        }
        self.count(old.as_deref(), Some(&new));
    }

    /// Takes an account out; false if there was none.
    pub(crate) fn remove_account(&self, id: i64) -> bool {
        let removed =
            self.ids.remove(self.hash(&id.to_le_bytes()), |known| record::id_of(known) == Some(id));
        let Some(old) = removed else { return false };
        self.forget_name(id, record::name_of(&old));
        self.count(Some(&old), None);
        true
    }

    /// The name may be another account's by now.
    fn forget_name(&self, id: i64, name: &[u8]) {
        self.accounts.remove(self.hash(name), |known| {
            record::name_of(known) == name && record::id_of(known) == Some(id)
        });
    }

    /// Puts an alias in, in the place of the one of its name.
    pub(crate) fn put_alias(&self, new: Record) {
        let name = record::name_of(&new);
        self.aliases.put(
            self.hash(name),
            new.clone(),
            |known| record::name_of(known) == name,
            |known| self.hash(record::name_of(known)),
        );
    }

    /// Takes an alias out; false if there was none.
    pub(crate) fn remove_alias(&self, name: &str) -> bool {
        self.aliases.remove(self.hash(name.as_bytes()), |known| is_named(known, name)).is_some()
    }

    /// Accounts.
    pub(crate) fn accounts(&self) -> usize {
        self.ids.count.load(Ordering::Relaxed)
    }

    /// Aliases.
    pub(crate) fn aliases(&self) -> usize {
        self.aliases.count.load(Ordering::Relaxed)
    }

    /// Accounts that a password fits, and SCRAM does not.
    pub(crate) fn without_scram(&self) -> usize {
        self.tally.lock().without_scram
    }

    /// Gives every account, part by part: no lock is held meanwhile.
    pub(crate) fn each_account(&self, take: impl FnMut(&Record)) {
        self.ids.each(take);
    }

    /// Gives every alias.
    pub(crate) fn each_alias(&self, take: impl FnMut(&Record)) {
        self.aliases.each(take);
    }

    fn hash(&self, bytes: &[u8]) -> u64 {
        let [one, other] = self.seed;
        let mut hasher = SipHasher13::new_with_keys(one, other);
        hasher.write(bytes);
        hasher.finish()
    }

    fn count(&self, old: Option<&[u8]>, new: Option<&[u8]>) {
        let [old, new] = [old, new].map(|record| record.and_then(Account::read));
        let mut tally = self.tally.lock();
        if let Some(old) = old {
            tally.without_scram = tally.without_scram.saturating_sub(lacks_scram(&old));
            tally.forget(old.secret.scheme());
        }
        if let Some(new) = new {
            tally.without_scram += lacks_scram(&new);
            tally.note(new.secret.scheme(), new.secret.packed_credential());
        }
        if let Some(decoy) = tally.another_decoy() {
            self.decoy.store(Arc::new(decoy));
        }
    }
}

/// Without what it holds.
impl fmt::Debug for Index {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Index")
            .field("accounts", &self.accounts())
            .field("aliases", &self.aliases())
            .finish_non_exhaustive()
    }
}

fn is_named(record: &[u8], name: &str) -> bool {
    record::name_of(record) == name.as_bytes()
}

fn lacks_scram(account: &Account<'_>) -> usize {
    let password = account.secret.scheme() != Scheme::None;
    usize::from(password && !account.secret.has_scram() && !account.disabled)
}

fn packed(credential: &Credential) -> Vec<u8> {
    let mut packed = Vec::new();
    credential.pack(&mut packed);
    packed
}

/// Records, found by a hash of whatever.
struct Table {
    parts: Box<[RwLock<HashTable<Record>>]>,
    count: AtomicUsize,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            parts: std::iter::repeat_with(RwLock::default).take(PARTS).collect(),
            count: AtomicUsize::new(0),
        }
    }
}

impl Table {
    fn find(&self, hash: u64, same: impl FnMut(&Record) -> bool) -> Option<Record> {
        self.part(hash)?.read().find(hash, same).cloned()
    }

    fn put(
        &self,
        hash: u64,
        record: Record,
        same: impl FnMut(&Record) -> bool,
        rehash: impl Fn(&Record) -> u64,
    ) -> Option<Record> {
        let mut part = self.part(hash)?.write();
        match part.entry(hash, same, rehash) {
            Entry::Occupied(mut entry) => Some(std::mem::replace(entry.get_mut(), record)),
            Entry::Vacant(entry) => {
                entry.insert(record);
                self.count.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }

    fn remove(&self, hash: u64, same: impl FnMut(&Record) -> bool) -> Option<Record> {
        let mut part = self.part(hash)?.write();
        let removed = part.find_entry(hash, same).ok()?.remove().0;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(removed)
    }

    fn each(&self, mut take: impl FnMut(&Record)) {
        for part in &self.parts {
            let records: Vec<Record> = part.read().iter().cloned().collect();
            records.iter().for_each(&mut take);
        }
    }

    fn part(&self, hash: u64) -> Option<&RwLock<HashTable<Record>>> {
        // The table itself takes the lowest bits and the highest.
        let at = usize::try_from(hash >> 32 & 0xffff).unwrap_or(0);
        self.parts.get(at % PARTS)
    }
}

/// How accounts' passwords are kept, so that what is done for who does not exist takes as long.
#[derive(Debug, Default)]
struct Tally {
    without_scram: usize,
    costly: Vec<(Scheme, usize, Vec<u8>)>,
    decoy: Option<Scheme>,
}

impl Tally {
    fn note(&mut self, scheme: Scheme, credential: &[u8]) {
        if !scheme.is_costly() {
            return;
        }
        match self.costly.iter_mut().find(|(known, ..)| *known == scheme) {
            Some((_, count, _)) => *count += 1,
            None => self.costly.push((scheme, 1, credential.to_vec())),
        }
    }

    fn forget(&mut self, scheme: Scheme) {
        if let Some((_, count, _)) = self.costly.iter_mut().find(|(known, ..)| *known == scheme) {
            *count = count.saturating_sub(1);
        }
    }

    /// The decoy, packed, if it is another one now. It is an account's own, whose outcome is thrown away.
    fn another_decoy(&mut self) -> Option<Vec<u8>> {
        let (most, count, credential) = self.costly.iter().max_by_key(|(_, count, _)| *count)?;
        if *count == 0 || self.decoy == Some(*most) {
            return None;
        }
        self.decoy = Some(*most);
        Some(credential.clone())
    }
}

/// What there is little of.
#[derive(Debug, Default)]
pub(crate) struct Small {
    pub(crate) domains: HashMap<Box<str>, Arc<Ours>>,
    pub(crate) backends: HashMap<BackendId, Arc<BackendEntry>>,
    backend_names: HashMap<String, BackendId>,
    pub(crate) shards: BTreeMap<ShardId, Arc<ShardEntry>>,
    /// By domain, the newest first.
    pub(crate) keys: HashMap<Box<str>, Arc<[DkimKeyEntry]>>,
    /// What salts for who does not exist are made of: the same on all servers.
    pub(crate) secret: [u8; 32],
}

/// A domain of ours.
#[derive(Debug)]
pub(crate) struct Ours {
    pub(crate) entry: DomainEntry,
    pub(crate) backends: Arc<[BackendId]>,
}

/// The rows that a [`Small`] is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct SmallRows {
    pub(crate) domains: Vec<DomainEntry>,
    pub(crate) backends: Vec<BackendEntry>,
    pub(crate) shards: Vec<ShardEntry>,
    pub(crate) keys: Vec<DkimKeyEntry>,
    pub(crate) secret: [u8; 32],
}

impl Small {
    /// Gives what is wrong with the rows as well, in words for the operator.
    pub(crate) fn of(rows: SmallRows) -> (Self, Vec<String>) {
        let mut problems = Vec::new();
        let mut small = Self { secret: rows.secret, ..Self::default() };
        small.backend_names.insert(Backend::STORE.to_owned(), BackendId::STORE);
        for backend in rows.backends {
            let Some(id) = backend.id else { continue };
            small.backend_names.insert(backend.name.clone(), id);
            small.backends.insert(id, Arc::new(backend));
        }
        for shard in rows.shards {
            if let Some(id) = shard.id {
                small.shards.insert(id, Arc::new(shard));
            }
        }
        let mut keys: HashMap<Box<str>, Vec<DkimKeyEntry>> = HashMap::new();
        for key in rows.keys {
            keys.entry(key.domain.as_str().into()).or_default().push(key);
        }
        for (domain, mut keys) in keys {
            keys.sort_by_key(|key| std::cmp::Reverse(key.created));
            small.keys.insert(domain, keys.into());
        }
        for entry in rows.domains {
            for name in &entry.backends {
                if !small.backend_names.contains_key(name) {
                    problems.push(format!(
                        "domain {}: there is no back-end {name}; its mail waits until there is",
                        entry.name
                    ));
                }
            }
            let backends = if entry.backends.is_empty() {
                Arc::from([BackendId::STORE])
            } else {
                entry.backends.iter().map(|name| small.backend(name)).collect()
            };
            let name = entry.name.as_str().into();
            small.domains.insert(name, Arc::new(Ours { entry, backends }));
        }
        (small, problems)
    }

    fn backend(&self, name: &str) -> BackendId {
        self.backend_names.get(name).copied().unwrap_or(BackendId::MISSING)
    }

    /// Where an account's mail is handed over: its own back-ends, or its domain's.
    pub(crate) fn backends_of(&self, account: &Account<'_>) -> Arc<[BackendId]> {
        if !account.backends.is_empty() {
            return items(account.backends).map(|name| self.backend(name)).collect();
        }
        match self.domains.get(crate::name::split(account.name).1) {
            Some(domain) => Arc::clone(&domain.backends),
            None => Arc::from([BackendId::STORE]),
        }
    }

    /// A domain of ours; an alias leads to what it is an alias of.
    pub(crate) fn domain(&self, name: &str) -> Option<&Arc<Ours>> {
        let domain = self.domains.get(name)?;
        match &domain.entry.alias_of {
            // Aliases of aliases can't be entered.
            Some(_) if domain.entry.disabled => Some(domain),
            Some(other) => self.domains.get(other.as_str()),
            None => Some(domain),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use muralla_mail_envelope::Domain;
    use proptest::prelude::*;

    use super::*;
    use crate::record::{NewAccount, pack_alias};

    fn account(id: i64, name: &str, credential: &str) -> Record {
        let credential = Credential::parse(credential).unwrap();
        NewAccount { id, name, shard: 1, credential, ..NewAccount::default() }.pack().into()
    }

    fn named(index: &Index, name: &str) -> Option<i64> {
        index.account(name).and_then(|record| record::id_of(&record))
    }

    #[test]
    fn names_and_numbers_find_the_same() {
        let index = Index::new([1, 2]);
        index.put_account(account(1, "ann@a.example", ""));
        index.put_account(account(2, "bob@a.example", ""));
        assert_eq!((named(&index, "ann@a.example"), index.accounts()), (Some(1), 2));
        // She takes another name.
        index.put_account(account(1, "anna@a.example", ""));
        assert_eq!(
            (named(&index, "ann@a.example"), named(&index, "anna@a.example")),
            (None, Some(1))
        );
        // The two change their names.
        index.put_account(account(1, "bob@a.example", ""));
        index.put_account(account(2, "anna@a.example", ""));
        assert_eq!(
            (named(&index, "bob@a.example"), named(&index, "anna@a.example")),
            (Some(1), Some(2))
        );
        // One was deleted, and entered again before anybody heard of it.
        index.put_account(account(3, "bob@a.example", ""));
        assert!(index.remove_account(1));
        assert!(!index.remove_account(1));
        assert_eq!((named(&index, "bob@a.example"), index.accounts()), (Some(3), 2));
    }

    #[test]
    fn the_decoy_is_like_most_costly_credentials() {
        let index = Index::new([1, 2]);
        let scheme = |index: &Index| muralla_credentials::View::of(&index.decoy()).scheme();
        assert_eq!(scheme(&index), Scheme::Argon2);
        index.put_account(account(1, "a@a.example", "{NT}0cb6948805f797bf2a82807973b89537"));
        assert_eq!(scheme(&index), Scheme::Argon2, "what costs nothing hides nobody");
        let bcrypt = "$2b$10$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzABCDE";
        index.put_account(account(2, "b@a.example", bcrypt));
        assert_eq!(scheme(&index), Scheme::Bcrypt);
        assert_eq!(index.without_scram(), 2);
        index.remove_account(1);
        index.remove_account(2);
        assert_eq!(index.without_scram(), 0);
    }

    #[test]
    fn a_back_end_that_is_not_there_is_not_passed_over() {
        let mut domain = DomainEntry::new(Domain::parse("a.example").unwrap());
        domain.backends = vec!["store".into(), "gone".into()];
        let (small, problems) =
            Small::of(SmallRows { domains: vec![domain], ..SmallRows::default() });
        assert_eq!(&*small.domains["a.example"].backends, [BackendId::STORE, BackendId::MISSING]);
        assert!(problems[0].contains("gone"), "{problems:?}");
    }

    proptest! {
        /// Whatever is put in and taken out, the tables say the same as a map does.
        #[test]
        fn tables_are_maps(steps in proptest::collection::vec((0i64..8, 0usize..8, any::<bool>()), 0..100)) {
            let index = Index::new([3, 4]);
            // As in the database: a name is one account's only.
            let mut model: BTreeMap<i64, String> = BTreeMap::new();
            for (id, name, remove) in steps {
                let name = format!("n{name}@a.example");
                if remove {
                    prop_assert_eq!(index.remove_account(id), model.remove(&id).is_some());
                } else if !model.iter().any(|(other, taken)| *other != id && *taken == name) {
                    index.put_account(account(id, &name, ""));
                    model.insert(id, name);
                }
                prop_assert_eq!(index.accounts(), model.len());
                for name in 0..8 {
                    let name = format!("n{name}@a.example");
                    let expected = model.iter().find(|(_, known)| **known == name).map(|(id, _)| *id);
                    prop_assert_eq!(named(&index, &name), expected);
                }
            }
        }
    }

    #[test]
    fn aliases_are_found() {
        let index = Index::new([1, 2]);
        index.put_alias(pack_alias("all@a.example", &[("ann@a.example".into(), true)]).into());
        assert!(index.alias("all@a.example").is_some() && index.alias("al@a.example").is_none());
        let mut seen = 0;
        index.each_alias(|_| seen += 1);
        assert_eq!((seen, index.aliases()), (1, 1));
        assert!(index.remove_alias("all@a.example") && !index.remove_alias("all@a.example"));
    }
}
