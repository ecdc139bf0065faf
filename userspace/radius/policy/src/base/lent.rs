//! Subscribers that are fetched one by one as they are asked for, until all of them are in the base: so nobody waits for half a
//! million others after a restart.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use muralla_radius_dictionary::Pair;
use parking_lot::RwLock;

use super::{Base, Bulk, Generation, OwnItems, SubscriberError, insist_on_name};
use crate::credential::Credential;
use crate::level::LevelError;
use crate::names::LONGEST_NAME;
use crate::subscriber::{Record, Subscriber};

/// What of a subscriber could not be read, whatever it is: he is refused with
/// [`Reason::Unreadable`](crate::Reason::Unreadable).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unreadable;

/// Where subscribers are that are not in the base yet.
pub trait Shelf: Send + Sync {
    /// The subscriber whose name has this hash (see [`Bulk::hash`]) and is his by `is_his`; none if there is none.
    fn fetch(
        &self,
        hash: u64,
        is_his: &dyn Fn(&[u8]) -> bool,
    ) -> Option<Result<Subscriber, Unreadable>>;
}

/// A shelf, and who of it is not to be fetched any more.
pub(super) struct Lent {
    shelf: Box<dyn Shelf>,
    /// Names, as they are hashed, of those who were taken out since. Whoever puts somebody in from the shelf reads it until he has
    /// done so, and whoever takes somebody out writes it before: so nobody comes back.
    gone: RwLock<HashSet<Box<[u8]>>>,
}

/// A shelf that is being emptied into the base. May be used by several threads.
#[must_use = "who is not in the base has to be fetched at each login"]
pub struct Filling(Arc<Generation>);

impl Base {
    /// As [`Base::commit`], with subscribers that are fetched from a shelf when they are asked for. Whoever is given the
    /// [`Filling`] puts all of them in, and says when he has done so.
    pub fn commit_lent(&self, bulk: Bulk, shelf: Box<dyn Shelf>) -> Filling {
        bulk.0.lent.store(Some(Arc::new(Lent { shelf, gone: RwLock::default() })));
        let generation = Arc::new(bulk.0);
        self.current.store(Arc::clone(&generation));
        self.set_ready(true);
        Filling(generation)
    }
}

impl Filling {
    /// As [`Bulk::own_items`].
    ///
    /// # Errors
    ///
    /// [`LevelError`] if they can't be used.
    pub fn own_items(&self, check: &[Pair], reply: &[Pair]) -> Result<OwnItems, LevelError> {
        self.0.own_items(check, reply)
    }

    /// Puts a subscriber of the shelf in, unless he is there already or was taken out; with these items in the place of his own,
    /// if any are given. Gives notes for the operator.
    ///
    /// # Errors
    ///
    /// [`SubscriberError`] if he can't be used.
    pub fn add(
        &self,
        subscriber: &Subscriber,
        own: Option<&OwnItems>,
    ) -> Result<Vec<String>, SubscriberError> {
        let compiled;
        let own = match own {
            Some(own) => own,
            None => {
                insist_on_name(subscriber)?;
                compiled = self.0.compiled(subscriber)?;
                &compiled
            }
        };
        let (record, credential) = self.0.record(subscriber, own)?;
        if let Some(lent) = &*self.0.lent.load() {
            let name = subscriber.name.as_bytes();
            self.0.unless_gone(lent, name, || self.0.put_new(record, credential));
        }
        Ok(own.notes())
    }

    /// As [`Base::shut_out`], unless he is there already or was taken out.
    pub fn shut_out(&self, name: &str) {
        let name = name.as_bytes();
        if let Some(lent) = &*self.0.lent.load() {
            self.0.unless_gone(lent, name, || self.0.refuse_if_unknown(name));
        }
    }

    /// All of them are in the base.
    pub fn finish(self) {
        self.0.lent.store(None);
    }
}

impl Generation {
    /// A subscriber who is in no part of the table.
    pub(super) fn fetch(&self, hash: u64, name: &[u8]) -> Option<Record> {
        let lent = self.lent.load();
        let lent = lent.as_ref()?;
        let fetched = self.unless_gone(lent, name, || {
            // Somebody may have put him in meanwhile.
            if let Some(known) = self.find_here(hash, name) {
                return Some(known);
            }
            let fetched = lent.shelf.fetch(hash, &|other| self.names.same(other, name))?;
            let put = || {
                let subscriber = fetched.ok()?;
                let own = self.compiled(&subscriber).ok()?;
                let (record, credential) = self.record(&subscriber, &own).ok()?;
                self.put_new(record, credential);
                Some(())
            };
            if put().is_none() {
                self.refuse_if_unknown(name);
            }
            self.find_here(hash, name)
        });
        fetched.flatten()
    }

    /// Does something with a subscriber of the shelf who was not taken out, and is not taken out meanwhile.
    fn unless_gone<T>(&self, lent: &Lent, name: &[u8], work: impl FnOnce() -> T) -> Option<T> {
        let mut buffer = [0; LONGEST_NAME];
        let gone = lent.gone.read();
        (!gone.contains(self.names.hashed(name, &mut buffer))).then(work)
    }

    /// Has nobody fetch a subscriber any more. To be called before he is taken out.
    pub(super) fn strike_off(&self, name: &[u8]) {
        if let Some(lent) = &*self.lent.load() {
            let mut buffer = [0; LONGEST_NAME];
            lent.gone.write().insert(self.names.hashed(name, &mut buffer).into());
        }
    }

    /// Puts a subscriber in if there is none of his name.
    fn put_new(&self, record: Record, credential: &Credential) {
        let hash = self.hash(record.name());
        let Some(shard) = self.shard(hash) else { return };
        let mut shard = shard.write();
        if shard.find(hash, |known| self.names.same(known.name(), record.name())).is_none() {
            shard.insert_unique(hash, record, |known| self.hash(known.name()));
            drop(shard);
            self.count.fetch_add(1, Ordering::Relaxed);
            self.count_schemes(Some(credential), None);
        }
    }

    fn refuse_if_unknown(&self, name: &[u8]) {
        if self.find_here(self.hash(name), name).is_none() {
            let mut buffer = [0; LONGEST_NAME];
            self.unreadable.write().insert(self.names.hashed(name, &mut buffer).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use muralla_radius_dictionary::Dictionary;

    use super::*;
    use crate::names::{Case, Names};
    use crate::reason::Reason;

    /// Subscribers `user0` and so on, by their hashes; with a credit, by which one is told from what is put in otherwise.
    struct Row(Vec<(u64, String)>);

    impl Shelf for Row {
        fn fetch(
            &self,
            hash: u64,
            is_his: &dyn Fn(&[u8]) -> bool,
        ) -> Option<Result<Subscriber, Unreadable>> {
            let of = |(other, name): &&(u64, String)| *other == hash && is_his(name.as_bytes());
            let (_, name) = self.0.iter().find(of)?;
            Some(if name == "user13" { Err(Unreadable) } else { Ok(shelved(name)) })
        }
    }

    fn shelved(name: &str) -> Subscriber {
        Subscriber { name: name.into(), credit_seconds: Some(60), ..Subscriber::default() }
    }

    fn lent(count: usize) -> (Base, Filling) {
        let names = Names::new(Case::Folded);
        let base = Base::new(Dictionary::built_in(), names, [1, 2]);
        let bulk = base.bulk();
        let row = (0..count).map(|number| {
            let name = format!("user{number}");
            (bulk.hash(name.as_bytes()), name)
        });
        let row = Row(row.collect());
        let filling = base.commit_lent(bulk, Box::new(row));
        (base, filling)
    }

    fn reason(base: &Base, name: &str) -> Option<Reason> {
        base.look_up(name.as_bytes()).record.err()
    }

    fn credit(base: &Base, name: &str) -> Option<i64> {
        base.subscriber(name)?.credits().0
    }

    #[test]
    fn who_is_asked_for_is_there_and_stays() {
        let (base, filling) = lent(20);
        assert!(base.is_ready() && base.subscribers() == 0);
        assert_eq!(credit(&base, "USER7"), Some(60));
        assert_eq!(base.subscribers(), 1);
        assert_eq!(reason(&base, "nobody"), Some(Reason::UnknownUser));
        assert_eq!(reason(&base, "user13"), Some(Reason::Unreadable));
        for number in 0..20 {
            let name = format!("user{number}");
            match number {
                13 => filling.shut_out(&name),
                _ => assert!(filling.add(&shelved(&name), None).unwrap().is_empty()),
            }
        }
        filling.finish();
        assert_eq!(base.subscribers(), 19);
        assert_eq!(reason(&base, "user13"), Some(Reason::Unreadable));
        assert_eq!(reason(&base, "user20"), Some(Reason::UnknownUser));
    }

    #[test]
    fn what_was_changed_since_holds() {
        let (base, filling) = lent(20);
        let changed = Subscriber { name: "user1".into(), ..Subscriber::default() };
        base.upsert_subscriber(&changed).unwrap();
        assert!(base.remove_subscriber("User2"), "he is on the shelf");
        assert!(!base.remove_subscriber("user2"));
        base.shut_out("user3");
        assert!(base.remove_subscriber("user4"));
        base.upsert_subscriber(&Subscriber { name: "user4".into(), ..changed }).unwrap();
        let check = || {
            assert_eq!(base.subscriber("user1").unwrap().credits().0, None);
            assert_eq!(reason(&base, "user2"), Some(Reason::UnknownUser));
            assert_eq!(reason(&base, "user3"), Some(Reason::Unreadable));
            assert_eq!(base.subscriber("user4").unwrap().credits().0, None);
        };
        check();
        for number in 1..5 {
            filling.add(&shelved(&format!("user{number}")), None).unwrap();
        }
        check();
        filling.finish();
        check();
    }

    #[test]
    fn nobody_who_is_taken_out_meanwhile_comes_back() {
        let (base, filling) = lent(500);
        thread::scope(|scope| {
            for begin in 0..2 {
                let filling = &filling;
                scope.spawn(move || {
                    for number in (begin..500).step_by(2) {
                        filling.add(&shelved(&format!("user{number}")), None).unwrap();
                    }
                });
            }
            scope.spawn(|| {
                for number in (0..500).rev().filter(|number| number % 3 == 0) {
                    assert!(base.remove_subscriber(&format!("user{number}")));
                }
            });
            scope.spawn(|| {
                for number in (0..500).filter(|number| number % 3 == 1 && *number != 13) {
                    assert_eq!(credit(&base, &format!("user{number}")), Some(60));
                }
            });
        });
        filling.finish();
        for number in 0..500 {
            let name = format!("user{number}");
            assert_eq!(base.subscriber(&name).is_some(), number % 3 != 0, "{name}");
        }
    }
}
