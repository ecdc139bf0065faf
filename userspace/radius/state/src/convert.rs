//! Entries into what policy works with. The same for what is entered and for what is loaded, so that nothing is accepted
//! here that would be left out there.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv6Net;
use muralla_radius_dictionary::{Dictionary, Pair};
use muralla_radius_policy::hours::Hours;
use muralla_radius_policy::{
    Base, Bulk, Credential, Filling, LevelError, Names, OwnItems, Profile, Subscriber,
    SubscriberError, uncounted,
};
use muralla_radius_wire::Secret;

use crate::entries::items;
use crate::image::Lists;
use crate::{Assigned, NasEntry, ProfileEntry, SubscriberEntry};

/// Tries entries out.
pub(crate) struct Trial {
    dictionary: Arc<Dictionary>,
    base: Base,
}

impl Trial {
    pub(crate) fn new(dictionary: &Arc<Dictionary>) -> Self {
        let base = Base::new(Arc::clone(dictionary), Names::default(), [0, 0]);
        Self { dictionary: Arc::clone(dictionary), base }
    }

    /// See [`lifted`].
    pub(crate) fn lifted(&self, entry: &SubscriberEntry) -> SubscriberEntry {
        lifted(&self.dictionary, entry)
    }

    /// What of a subscriber does nothing, or why he could not be loaded.
    pub(crate) fn subscriber(&self, entry: &SubscriberEntry) -> Result<Vec<String>, String> {
        let subscriber = subscriber(&self.dictionary, entry)?;
        insist_on_counted(&subscriber.check, &subscriber.reply)?;
        let upserted = self.base.upsert_subscriber(&subscriber);
        self.base.remove_subscriber(&entry.name);
        Ok(upserted.map_err(|error| error.to_string())?.notes)
    }

    /// What of a profile does nothing, and whether it applies to some requests alone; or why it could not be loaded. Whether
    /// its parents are there is not asked.
    pub(crate) fn profile(&self, entry: &ProfileEntry) -> Result<(Vec<String>, bool), String> {
        let profile = profile(&self.dictionary, entry)?;
        insist_on_counted(&profile.check, &profile.reply)?;
        let upserted = self.base.upsert_profile(&profile);
        let conditional = self.base.is_conditional(&entry.name);
        self.base.remove_profile(&entry.name);
        Ok((upserted.map_err(|error| error.to_string())?, conditional))
    }

    /// What of profiles does nothing, or why they could not be loaded, the first of them; `others` are those that are there
    /// already.
    pub(crate) fn profiles(
        &self,
        others: &[ProfileEntry],
        entries: &[ProfileEntry],
    ) -> Result<Vec<String>, (String, String)> {
        // What is wrong with others already is no matter of these.
        let others: Vec<Profile> =
            others.iter().filter_map(|entry| profile(&self.dictionary, entry).ok()).collect();
        self.base.upsert_profiles(&others);
        let before = self.base.problems();
        let mut notes = Vec::new();
        for entry in entries {
            let failed = |reason| (entry.name.clone(), reason);
            let profile = profile(&self.dictionary, entry).map_err(failed)?;
            insist_on_counted(&profile.check, &profile.reply).map_err(failed)?;
            let upserted = self.base.upsert_profile(&profile);
            let said = upserted.map_err(|error| failed(error.to_string()))?;
            notes.extend(said.iter().map(|note| format!("profile {}: {note}", entry.name)));
        }
        for entry in entries {
            if let Some(parent) = entry.parents.iter().find(|parent| !self.base.has_profile(parent))
            {
                let reason = format!(
                    "there is no profile {parent} for it to build on: enter that one first"
                );
                return Err((entry.name.clone(), reason));
            }
        }
        match self.base.problems().into_iter().find(|problem| !before.contains(problem)) {
            None => Ok(notes),
            Some(problem) => {
                Err((entries.first().map(|entry| entry.name.clone()).unwrap_or_default(), problem))
            }
        }
    }
}

/// Refuses limits over several sessions: without them, somebody would have more than whoever enters them thinks. Where
/// they lie in the database already they keep nobody out, and are told.
fn insist_on_counted(check: &[Pair], reply: &[Pair]) -> Result<(), String> {
    uncounted(check).or_else(|| uncounted(reply)).map_or(Ok(()), Err)
}

/// Something that a reply item says to be somebody's for good.
enum Own {
    Address(Ipv4Addr),
    Prefix6(Ipv6Net),
    Delegated6(Ipv6Net),
}

impl Own {
    fn of(pair: &Pair) -> Option<Self> {
        if !pair.operator.sets() {
            return None;
        }
        let prefix = || pair.value.ipv6_prefix().map(|prefix| prefix.trunc());
        match pair.attribute.name() {
            // Of the two that mean "choose" (RFC 2865 section 5.8) neither is anybody's.
            "Framed-IP-Address" => {
                let address = pair.value.ipv4()?;
                (u32::from(address) < 0xffff_fffe).then_some(Self::Address(address))
            }
            "Framed-IPv6-Prefix" => prefix().map(Self::Prefix6),
            "Delegated-IPv6-Prefix" => prefix().map(Self::Delegated6),
            _ => None,
        }
    }

    /// Puts it where it belongs, unless something else is there.
    fn place(self, subscriber: &mut Subscriber) -> bool {
        match self {
            Self::Address(address) => fill(&mut subscriber.address, address),
            Self::Prefix6(prefix) => fill(&mut subscriber.prefix6, prefix),
            Self::Delegated6(prefix) => fill(&mut subscriber.delegated6, prefix),
        }
    }
}

impl From<Own> for Assigned {
    fn from(own: Own) -> Self {
        match own {
            Own::Address(address) => Self::V4(address),
            Own::Prefix6(prefix) | Own::Delegated6(prefix) => Self::V6(prefix),
        }
    }
}

fn fill<T>(place: &mut Option<T>, with: T) -> bool {
    let is_empty = place.is_none();
    if is_empty {
        *place = Some(with);
    }
    is_empty
}

/// An entry with what its reply items say to be its subscriber's for good where pools keep clear of it, and no two can have the
/// same. What can't be read stays where it is, for whoever checks it.
pub(crate) fn lifted(dictionary: &Dictionary, entry: &SubscriberEntry) -> SubscriberEntry {
    let mut entry = entry.clone();
    for item in std::mem::take(&mut entry.reply) {
        let own = Pair::parse(dictionary, &item).ok().as_ref().and_then(Own::of);
        let is_placed = match own {
            Some(Own::Address(address)) => fill(&mut entry.address, address),
            Some(Own::Prefix6(prefix)) => fill(&mut entry.prefix6, prefix),
            Some(Own::Delegated6(prefix)) => fill(&mut entry.delegated6, prefix),
            None => false,
        };
        if !is_placed {
            entry.reply.push(item);
        }
    }
    entry
}

/// What is a subscriber's for good, wherever it is said.
pub(crate) fn owned(subscriber: &Subscriber) -> impl Iterator<Item = Assigned> {
    let columns = [
        subscriber.address.map(Assigned::V4),
        subscriber.prefix6.map(Assigned::V6),
        subscriber.delegated6.map(Assigned::V6),
    ];
    let items = subscriber.reply.iter().filter_map(Own::of).map(Assigned::from);
    columns.into_iter().flatten().chain(items)
}

/// Holds of rows whose reply items may say what is somebody's for good.
pub(crate) const MAY_OWN: &str = "(lower(reply_items) LIKE '%framed-ip%' OR lower(reply_items) LIKE '%delegated-ip%' OR lower(reply_items) LIKE '%attr-%')";

/// What reply items as they lie in the database say to be somebody's for good. That is in attributes of the RFCs, whatever
/// other dictionaries there are.
pub(crate) fn owned_by_items(text: &str) -> Vec<Assigned> {
    let dictionary = Dictionary::built_in();
    let pairs = items(text).into_iter().filter_map(|item| Pair::parse(&dictionary, &item).ok());
    pairs.filter_map(|pair| Own::of(&pair)).map(Assigned::from).collect()
}

/// A subscriber for the base. What his reply items say to be his for good is taken as if it were entered as such: operators
/// write it there by SQL.
pub(crate) fn subscriber(
    dictionary: &Dictionary,
    entry: &SubscriberEntry,
) -> Result<Subscriber, String> {
    subscriber_by(entry, |item| pair(dictionary, item))
}

/// Puts subscribers into a load, with items that were read before: of most subscribers they are the same few.
pub(crate) struct Intake<'d> {
    dictionary: &'d Dictionary,
    known: HashMap<String, Pair>,
    /// By reply items, of those who have no check items.
    shared: HashMap<Vec<String>, OwnItems>,
    /// The same by the number of the list in a file.
    numbered: HashMap<u32, OwnItems>,
}

/// Notes for the operator, or why a subscriber can't be used.
pub(crate) type Taken = Result<Vec<String>, String>;

impl<'d> Intake<'d> {
    /// More are not remembered: they are of one subscriber each.
    const MOST: usize = 4_096;

    pub(crate) fn new(dictionary: &'d Dictionary) -> Self {
        let (known, shared, numbered) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { dictionary, known, shared, numbered }
    }

    /// Puts a subscriber in.
    pub(crate) fn take(&mut self, place: &impl Place, entry: &SubscriberEntry) -> Taken {
        match self.shared.get(entry.reply.as_slice()) {
            Some(own) if entry.check.is_empty() => put(place, &bare(entry)?, Some(own)),
            _ => self.take_new(place, entry),
        }
    }

    /// The same of a subscriber of a file, without the lists that have a number there. None if one has a number that no list has.
    pub(crate) fn take_kept(
        &mut self,
        place: &impl Place,
        entry: &mut SubscriberEntry,
        numbers: Lists,
        lists: &[Vec<String>],
    ) -> Option<Taken> {
        Lists { reply: None, ..numbers }.put_into(entry, lists)?;
        let Some(number) = numbers.reply else { return Some(self.take(place, entry)) };
        let shared = self.numbered.get(&number).filter(|_| entry.check.is_empty());
        if let Some(own) = shared {
            return Some(bare(entry).and_then(|subscriber| put(place, &subscriber, Some(own))));
        }
        numbers.put_into(entry, lists)?;
        let taken = self.take(place, entry);
        if let Some(own) = self.shared.get(entry.reply.as_slice()) {
            self.numbered.insert(number, own.clone());
        }
        Some(taken)
    }

    fn take_new(&mut self, place: &impl Place, entry: &SubscriberEntry) -> Taken {
        let Self { dictionary, known, shared, .. } = self;
        let subscriber = subscriber_by(entry, |item| {
            if let Some(pair) = known.get(item) {
                return Ok(pair.clone());
            }
            let pair = pair(dictionary, item)?;
            if known.len() < Self::MOST {
                known.insert(item.to_owned(), pair.clone());
            }
            Ok(pair)
        })?;
        // What they say to be his for good is his alone.
        let are_all = entry.check.is_empty() && subscriber.reply.len() == entry.reply.len();
        if are_all
            && shared.len() < Self::MOST
            && let Ok(own) = place.own_items(&[], &subscriber.reply)
        {
            shared.insert(entry.reply.clone(), own);
        }
        put(place, &subscriber, None)
    }
}

/// Where subscribers are put.
pub(crate) trait Place {
    /// See [`Bulk::own_items`].
    fn own_items(&self, check: &[Pair], reply: &[Pair]) -> Result<OwnItems, LevelError>;

    /// Puts one in, with these items in the place of his own, if any are given. Gives notes for the operator.
    fn put(
        &self,
        subscriber: &Subscriber,
        own: Option<&OwnItems>,
    ) -> Result<Vec<String>, SubscriberError>;
}

impl Place for Bulk {
    fn own_items(&self, check: &[Pair], reply: &[Pair]) -> Result<OwnItems, LevelError> {
        self.own_items(check, reply)
    }

    fn put(
        &self,
        subscriber: &Subscriber,
        own: Option<&OwnItems>,
    ) -> Result<Vec<String>, SubscriberError> {
        let upserted = match own {
            Some(own) => self.upsert_sharing(subscriber, own)?,
            None => self.upsert_subscriber(subscriber)?,
        };
        Ok(upserted.notes)
    }
}

impl Place for Filling {
    fn own_items(&self, check: &[Pair], reply: &[Pair]) -> Result<OwnItems, LevelError> {
        self.own_items(check, reply)
    }

    fn put(
        &self,
        subscriber: &Subscriber,
        own: Option<&OwnItems>,
    ) -> Result<Vec<String>, SubscriberError> {
        self.add(subscriber, own)
    }
}

fn put(place: &impl Place, subscriber: &Subscriber, own: Option<&OwnItems>) -> Taken {
    place.put(subscriber, own).map_err(|error| error.to_string())
}

fn subscriber_by(
    entry: &SubscriberEntry,
    mut pair: impl FnMut(&str) -> Result<Pair, String>,
) -> Result<Subscriber, String> {
    let mut subscriber = bare(entry)?;
    subscriber.check = entry.check.iter().map(|item| pair(item)).collect::<Result<_, _>>()?;
    for item in &entry.reply {
        let pair = pair(item)?;
        if !Own::of(&pair).is_some_and(|own| own.place(&mut subscriber)) {
            subscriber.reply.push(pair);
        }
    }
    Ok(subscriber)
}

/// A subscriber without items.
fn bare(entry: &SubscriberEntry) -> Result<Subscriber, String> {
    if entry.name.contains(['\0', '\n', '\r']) {
        return Err("his name holds a line's end or a zero, which no User-Name should".into());
    }
    if entry.profiles.iter().any(|profile| profile.contains(['\n', '\r'])) {
        return Err("the name of a profile holds a line's end".into());
    }
    Ok(Subscriber {
        name: entry.name.clone(),
        credential: Credential::parse(entry.credential.reveal())
            .map_err(|error| error.to_string())?,
        profiles: entry.profiles.clone(),
        disabled: entry.disabled,
        not_before: entry.not_before,
        not_after: entry.not_after,
        credit_seconds: entry.credit_seconds,
        credit_bytes: entry.credit_bytes,
        simultaneous: entry.simultaneous,
        check: Vec::new(),
        reply: Vec::new(),
        address: entry.address,
        prefix6: entry.prefix6,
        delegated6: entry.delegated6,
        pool: entry.pool.clone(),
        pool6: entry.pool6.clone(),
        delegated_pool6: entry.delegated_pool6.clone(),
    })
}

/// A profile for the base.
pub(crate) fn profile(dictionary: &Dictionary, entry: &ProfileEntry) -> Result<Profile, String> {
    if entry.name.contains(['\0', '\n', '\r'])
        || entry.parents.iter().any(|name| name.contains(['\n', '\r']))
    {
        return Err("a name holds a line's end or a zero".into());
    }
    let hours = entry.login_times.as_deref().map(Hours::parse).transpose();
    Ok(Profile {
        name: entry.name.clone(),
        parents: entry.parents.clone(),
        check: pairs(dictionary, &entry.check)?,
        reply: pairs(dictionary, &entry.reply)?,
        fall_through: entry.fall_through,
        simultaneous: entry.simultaneous,
        pool: entry.pool.clone(),
        pool6: entry.pool6.clone(),
        delegated_pool6: entry.delegated_pool6.clone(),
        login_times: hours.map_err(|error| format!("Login-Time: {error}"))?,
        session_timeout: entry.session_timeout,
        idle_timeout: entry.idle_timeout,
        interim: entry.interim,
    })
}

/// Why a NAS can't be used.
pub(crate) fn nas(entry: &NasEntry) -> Result<(), String> {
    if entry.name.is_empty() || entry.name.len() > 253 || entry.name.chars().any(char::is_control) {
        return Err("its name has 1 to 253 bytes, and no control characters".into());
    }
    if entry.prefix.prefix_len() == 0 && entry.relaxed {
        return Err(
            "everybody would be trusted without a Message-Authenticator: name its prefix".into()
        );
    }
    if entry.coa_port == 0 {
        return Err("its port for CoA is 1 to 65535".into());
    }
    for secret in std::iter::once(&entry.secret).chain(&entry.next_secret) {
        Secret::new(secret.reveal().as_bytes().to_vec())
            .map_err(|_| "its secret is empty: anybody could speak in its name".to_owned())?;
    }
    Ok(())
}

fn pairs(dictionary: &Dictionary, items: &[String]) -> Result<Vec<Pair>, String> {
    items.iter().map(|item| pair(dictionary, item)).collect()
}

fn pair(dictionary: &Dictionary, item: &str) -> Result<Pair, String> {
    Pair::parse(dictionary, item).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann(reply: &[&str]) -> SubscriberEntry {
        SubscriberEntry {
            name: "ann".into(),
            reply: reply.iter().map(|item| (*item).to_owned()).collect(),
            ..SubscriberEntry::default()
        }
    }

    #[test]
    fn what_reply_items_say_to_be_his_is_his() {
        let dictionary = Dictionary::built_in();
        let entry = ann(&[
            "Framed-IP-Address := 100.64.0.7",
            "Class = \"1\"",
            "Framed-IPv6-Prefix = 2001:db8:7::/64",
            "Delegated-IPv6-Prefix += 2001:db8:700::/56",
            "Framed-IP-Address += 100.64.0.8",
            "Nonsense",
        ]);
        let entry = lifted(&dictionary, &entry);
        assert_eq!(entry.address, Some([100, 64, 0, 7].into()));
        assert_eq!(entry.prefix6, Some("2001:db8:7::/64".parse().unwrap()));
        assert_eq!(entry.delegated6, Some("2001:db8:700::/56".parse().unwrap()));
        assert_eq!(entry.reply, ["Class = \"1\"", "Framed-IP-Address += 100.64.0.8", "Nonsense"]);
        for choice in ["Framed-IP-Address = 255.255.255.254", "Framed-IP-Address = 255.255.255.255"]
        {
            let entry = ann(&[choice]);
            assert_eq!(lifted(&dictionary, &entry), entry);
        }
    }

    #[test]
    fn the_same_holds_of_what_is_loaded() {
        let dictionary = Dictionary::built_in();
        let items = ["Framed-IP-Address := 100.64.0.7", "Framed-IP-Address += 100.64.0.8"];
        let subscriber = subscriber(&dictionary, &ann(&items)).unwrap();
        assert_eq!((subscriber.address, subscriber.reply.len()), (Some([100, 64, 0, 7].into()), 1));
        let expected = [7, 8].map(|last| Assigned::V4([100, 64, 0, last].into()));
        assert_eq!(owned(&subscriber).collect::<Vec<_>>(), expected);
        assert_eq!(owned_by_items(&items.join("\n")), expected);
        assert_eq!(owned_by_items("Nonsense\nClass = \"1\"\n"), []);
    }
}
