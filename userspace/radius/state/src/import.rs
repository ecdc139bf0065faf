//! What FreeRADIUS had: its users files, its tables in a database or as CSV, and its clients, turned into our entries, with a
//! report of what could not be taken and why.
//!
//! It may be entered again, as often as one likes until the last NAS has moved: what FreeRADIUS says counts, and where it says
//! nothing, what operators entered here stays: credits, dates, telcos, notes. [`State::compare`] tells beforehand what it would
//! change.
//!
//! Passwords go where passwords belong, addresses that are somebody's for good where pools keep clear of them, groups become
//! profiles; a member of several has them in the order of their priorities. Everything else stays among the check and reply
//! items, and means what it meant.

mod changes;
mod clients;
mod online;
mod tables;
mod users;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use ipnet::IpNet;
use muralla_database::Value;
use muralla_radius_dictionary::{Dictionary, Operator, Pair};
use muralla_radius_policy::{Credential, Names};
use serde::{Deserialize, Serialize};

use crate::convert::Trial;
use crate::state::Progress;
use crate::stored::naming::take_out_renaming;
use crate::{Hidden, NasEntry, ProfileEntry, State, StateError, SubscriberEntry};

pub use changes::{Change, Tally};
pub use clients::from_clients;
pub use online::Online;
pub use tables::{Table, Tables};
pub use users::from_users;

/// What was read, before it is entered: look at [`Import::refused`] first.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// Subscribers, no name twice.
    pub subscribers: Vec<SubscriberEntry>,
    /// Profiles.
    pub profiles: Vec<ProfileEntry>,
    /// NASes.
    pub nases: Vec<NasEntry>,
    /// Who is online: what he has of pools is given to nobody else. The one that was entered later comes later.
    pub online: Vec<Online>,
    /// Names of NASes by their prefixes, for those who are online: those of the configuration. What the database and the
    /// import have is added.
    pub nas_names: Vec<(IpNet, String)>,
    /// How names are read, for those who are online: their sessions here go by the subscriber's name.
    pub names: Names,
    /// What is changed of what was here.
    pub changes: Vec<Change>,
    /// What could not be taken.
    pub refused: Vec<Refused>,
    /// What was taken, but is not quite the same.
    pub notes: Vec<Refused>,
}

/// Something that could not be taken, or not quite.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Refused {
    /// Where it stands: a file and line, or a table and row.
    pub place: String,
    /// Whose it is.
    pub name: String,
    /// Why, and what to do. Never shows a password.
    pub reason: String,
}

/// What was entered, or would be.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Imported {
    /// Subscribers.
    pub subscribers: Tally,
    /// Profiles.
    pub profiles: Tally,
    /// NASes.
    pub nases: Tally,
    /// Addresses and prefixes of pools that are kept for those who are online.
    pub addresses: u64,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.name, self.reason)
    }
}

impl State {
    /// Finds out what [`State::import`] would do, and does nothing of it: its counts, [`Import::changes`], what would be refused,
    /// and notes. What is left in `import` is as it would be in the database.
    ///
    /// # Errors
    ///
    /// If the database is away. If a profile that is made of a `DEFAULT` has the name of another one, or profiles don't go
    /// together with those that are here.
    pub async fn compare(
        &self,
        dictionary: &Arc<Dictionary>,
        import: &mut Import,
    ) -> Result<Imported, StateError> {
        let mut imported = self.merge(dictionary, import).await?;
        imported.addresses = self.keep_addresses(import, false).await?;
        Ok(imported)
    }

    /// Enters what was read, each new or instead of what has the same name: what FreeRADIUS says counts, and where it says
    /// nothing what is here stays. What the database can't take, such as an address that is somebody else's already, is added to
    /// [`Import::refused`].
    ///
    /// # Errors
    ///
    /// See [`State::compare`]; then nothing is entered, unless the database goes away meanwhile. What was entered before that
    /// stays entered; the same import may be entered again.
    pub async fn import(
        &self,
        dictionary: &Arc<Dictionary>,
        import: &mut Import,
        progress: impl FnMut(Progress),
    ) -> Result<Imported, StateError> {
        let mut imported = self.merge(dictionary, import).await?;
        self.put_profiles(dictionary, &import.profiles).await?;
        let Tally { new, changed, .. } = imported.subscribers;
        let changed = usize::try_from(new + changed).unwrap_or(usize::MAX);
        let changed = import.subscribers.get(..changed).unwrap_or(&import.subscribers);
        self.put_imported(dictionary, changed, progress).await?;
        for nas in &import.nases {
            self.put_nas(nas).await?;
        }
        imported.addresses = self.keep_addresses(import, true).await?;
        Ok(imported)
    }

    /// Leaves in an import what can be written, as it is to be written.
    async fn merge(
        &self,
        dictionary: &Arc<Dictionary>,
        import: &mut Import,
    ) -> Result<Imported, StateError> {
        import.changes.clear();
        self.refuse_taken_addresses(import).await?;
        let stored = self.profiles().await?;
        users::insist_on_own_defaults(&import.profiles, &stored)?;
        let known: HashSet<String> = stored.iter().map(|profile| profile.name.clone()).collect();
        import.refuse_orphans(&known);
        let profiles = import.merge_profiles(&stored);
        Trial::new(dictionary)
            .profiles(&stored, &import.profiles)
            .map_err(|(name, reason)| StateError::invalid(format!("profile {name}"), reason))?;
        let ours: HashSet<&str> =
            import.profiles.iter().map(|profile| profile.name.as_str()).collect();
        let exists = |name: &String| ours.contains(name.as_str()) || known.contains(name);
        let (good, bad): (Vec<_>, Vec<_>) = std::mem::take(&mut import.subscribers)
            .into_iter()
            .partition(|entry| entry.profiles.iter().all(exists));
        for entry in bad {
            import.refused.push(Refused {
                place: "profiles".into(),
                name: entry.name,
                reason: format!(
                    "one of its profiles does not exist ({}): enter it first",
                    entry.profiles.join(", ")
                ),
            });
        }
        import.subscribers = good;
        let subscribers = self.merge_subscribers(import).await?;
        let (nases, _) = self.nases().await?;
        self.refuse_renaming(import, &nases).await?;
        // The configuration goes before the database.
        for nas in nases.iter().chain(&import.nases) {
            if !import.nas_names.iter().any(|(prefix, _)| *prefix == nas.prefix) {
                import.nas_names.push((nas.prefix, nas.name.clone()));
            }
        }
        let nases = import.merge_nases(&nases);
        Ok(Imported { subscribers, profiles, nases, addresses: 0 })
    }

    /// Refuses NASes by which boxes would get another name while sessions are open under the one that they have.
    async fn refuse_renaming(
        &self,
        import: &mut Import,
        before: &[NasEntry],
    ) -> Result<(), StateError> {
        let mut work = self.read().await?;
        let (nases, names) = (&mut import.nases, &import.nas_names);
        for (prefix, reason) in take_out_renaming(&mut work, nases, before, names).await? {
            import.refuse("nas", &prefix.to_string(), reason);
        }
        Ok(())
    }

    /// Refuses subscribers whose address is another's, among them or in the database.
    async fn refuse_taken_addresses(&self, import: &mut Import) -> Result<(), StateError> {
        let mut taken: HashMap<String, String> = HashMap::new();
        let mut work = self.read().await?;
        for column in ["address", "prefix6", "delegated6"] {
            let given: Vec<Value> = import
                .subscribers
                .iter()
                .filter_map(|entry| match column {
                    "address" => entry.address.map(|address| address.to_string()),
                    "prefix6" => entry.prefix6.map(|prefix| prefix.trunc().to_string()),
                    _ => entry.delegated6.map(|prefix| prefix.trunc().to_string()),
                })
                .map(Value::from)
                .collect();
            let sql =
                format!("SELECT name, {column} FROM radius_subscriber WHERE {column} IN ({{}})");
            work.each_in(&sql, &[], &given, |row| {
                taken.insert(row.text(1)?, row.text(0)?);
                Ok(())
            })
            .await?;
        }
        drop(work);
        let refused = &mut import.refused;
        import.subscribers.retain(|entry| {
            let address = entry.address.map(|address| address.to_string());
            let prefix = |prefix: ipnet::Ipv6Net| prefix.trunc().to_string();
            let given = [address, entry.prefix6.map(prefix), entry.delegated6.map(prefix)];
            for given in given.into_iter().flatten() {
                let owner = taken.entry(given.clone()).or_insert_with(|| entry.name.clone());
                if *owner != entry.name {
                    refused.push(Refused {
                        place: given,
                        name: entry.name.clone(),
                        reason: format!("this address is {owner}'s: give each an own one"),
                    });
                    return false;
                }
            }
            true
        });
        Ok(())
    }
}

impl Import {
    /// Refuses profiles that build on others which are neither among them nor `known`, and those that build on these.
    fn refuse_orphans(&mut self, known: &HashSet<String>) {
        loop {
            let ours: HashSet<String> =
                self.profiles.iter().map(|profile| profile.name.clone()).collect();
            let missing = |profile: &ProfileEntry| {
                let mut parents = profile.parents.iter();
                parents.find(|parent| !ours.contains(*parent) && !known.contains(*parent)).cloned()
            };
            let before = self.profiles.len();
            for profile in std::mem::take(&mut self.profiles) {
                match missing(&profile) {
                    None => self.profiles.push(profile),
                    Some(parent) => self.refuse(
                        "profiles",
                        &profile.name,
                        format!("it builds on {parent}, which does not exist: enter it first"),
                    ),
                }
            }
            if self.profiles.len() == before {
                return;
            }
        }
    }

    fn refuse(&mut self, place: impl Into<String>, name: &str, reason: impl ToString) {
        let (place, name, reason) = (place.into(), name.to_owned(), reason.to_string());
        self.refused.push(Refused { place, name, reason });
    }

    fn note(&mut self, place: impl Into<String>, name: &str, reason: impl ToString) {
        let (place, name, reason) = (place.into(), name.to_owned(), reason.to_string());
        self.notes.push(Refused { place, name, reason });
    }

    /// Takes a subscriber in, if loading would.
    fn take(&mut self, trial: &Trial, place: &str, entry: SubscriberEntry) {
        let entry = trial.lifted(&entry);
        match trial.subscriber(&entry) {
            Ok(notes) => {
                for note in notes {
                    self.note(place, &entry.name, note);
                }
                self.subscribers.push(entry);
            }
            Err(reason) => self.refuse(place, &entry.name, reason),
        }
    }
}

/// Sorts pairs into a subscriber's entry. Fails with what can't be taken.
fn subscriber_of(
    name: &str,
    check: &[Pair],
    reply: &[Pair],
    import: &mut Import,
    place: &str,
) -> Result<SubscriberEntry, String> {
    let mut entry = SubscriberEntry { name: name.to_owned(), ..Default::default() };
    for pair in check {
        let (attribute, sets) = (pair.attribute.name(), is_said(pair.operator));
        if let Some(credential) = credential_of(pair) {
            let credential = credential?;
            if !entry.credential.is_empty() {
                import.note(
                    place,
                    name,
                    format!("{attribute}: a second password; the first one is kept"),
                );
                continue;
            }
            entry.credential = Hidden::new(credential.to_text());
            continue;
        }
        match (attribute, pair.value.number(), pair.value.text()) {
            ("Auth-Type", _, _) if sets && shown(pair) == "Reject" => entry.disabled = true,
            ("Auth-Type", _, _) if sets && shown(pair) == "Accept" => {
                entry.credential = Hidden::new(Credential::Anything.to_text());
                import.note(
                    place,
                    name,
                    "Auth-Type := Accept: any password lets him in, as before",
                );
            }
            // Which module looks at the password is no question here.
            ("Auth-Type", _, _) if sets => {
                import.note(
                    place,
                    name,
                    format!("{pair}: left out, the method follows from the request"),
                );
            }
            ("Simultaneous-Use", Some(number), _) if sets => {
                entry.simultaneous = Some(u16::try_from(number).unwrap_or(u16::MAX));
            }
            ("Expiration", Some(date), _) if sets => entry.not_after = i64::try_from(date).ok(),
            ("Pool-Name", _, Some(pool)) if sets => entry.pool = Some(pool.to_owned()),
            ("Pool6-Name", _, Some(pool)) if sets => entry.pool6 = Some(pool.to_owned()),
            ("Delegated-Pool6-Name", _, Some(pool)) if sets => {
                entry.delegated_pool6 = Some(pool.to_owned());
            }
            ("User-Profile", _, Some(profile)) if sets => entry.profiles.push(profile.to_owned()),
            _ => entry.check.push(pair.to_string()),
        }
    }
    // What of it is his for good is found where he is taken in.
    entry.reply = reply.iter().map(ToString::to_string).collect();
    Ok(entry)
}

/// Makes a profile of a group's pairs.
fn profile_of(
    name: &str,
    check: &[Pair],
    reply: &[Pair],
    import: &mut Import,
    place: &str,
) -> Result<ProfileEntry, String> {
    let mut entry = ProfileEntry { name: name.to_owned(), ..Default::default() };
    for pair in check {
        if credential_of(pair).is_some() {
            return Err(format!("{}: a password is no matter of a group", pair.attribute.name()));
        }
        let sets = is_said(pair.operator);
        match (pair.attribute.name(), pair.value.number(), pair.value.text()) {
            ("Simultaneous-Use", Some(number), _) if sets => {
                entry.simultaneous = Some(u16::try_from(number).unwrap_or(u16::MAX));
            }
            ("Login-Time", _, Some(times)) if sets => entry.login_times = Some(times.to_owned()),
            ("Pool-Name", _, Some(pool)) if sets => entry.pool = Some(pool.to_owned()),
            ("Pool6-Name", _, Some(pool)) if sets => entry.pool6 = Some(pool.to_owned()),
            ("Delegated-Pool6-Name", _, Some(pool)) if sets => {
                entry.delegated_pool6 = Some(pool.to_owned());
            }
            ("User-Profile", _, Some(profile)) if sets => entry.parents.push(profile.to_owned()),
            ("Auth-Type", _, _) if sets && !matches!(&*shown(pair), "Reject" | "Accept") => {
                import.note(
                    place,
                    name,
                    format!("{pair}: left out, the method follows from the request"),
                );
            }
            _ => entry.check.push(pair.to_string()),
        }
    }
    for pair in reply {
        let number = pair
            .value
            .number()
            .and_then(|number| u32::try_from(number).ok())
            .filter(|number| *number > 0);
        match (pair.attribute.name(), number) {
            ("Session-Timeout", Some(seconds)) if pair.operator.sets() => {
                entry.session_timeout = Some(seconds);
            }
            ("Idle-Timeout", Some(seconds)) if pair.operator.sets() => {
                entry.idle_timeout = Some(seconds)
            }
            ("Acct-Interim-Interval", Some(seconds)) if pair.operator.sets() => {
                entry.interim = Some(seconds);
            }
            _ => entry.reply.push(pair.to_string()),
        }
    }
    Ok(entry)
}

/// The credential that a pair of the check items is.
fn credential_of(pair: &Pair) -> Option<Result<Credential, String>> {
    let name = pair.attribute.name();
    let credential = Credential::from_attribute(name, pair.value.bytes()?)?;
    Some(credential.map_err(|reason| format!("{name}: {reason}")))
}

/// Whether an operator of a check item says what is, rather than asking for it. `==` is written for `:=` so often, for
/// what no request ever has, that FreeRADIUS takes it so as well.
fn is_said(operator: Operator) -> bool {
    operator.sets() || operator == Operator::Is
}

/// A pair's value as it is written.
fn shown(pair: &Pair) -> String {
    pair.value.shown(&pair.attribute).to_string().trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_without_their_parents_are_refused_and_those_that_build_on_them() {
        let profile = |name: &str, parents: &[&str]| ProfileEntry {
            name: name.to_owned(),
            parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
            ..ProfileEntry::default()
        };
        let mut import = Import {
            profiles: vec![
                profile("heir", &["lost"]),
                profile("lost", &["nowhere"]),
                profile("good", &["base", "stored"]),
                profile("base", &[]),
            ],
            ..Import::default()
        };
        import.refuse_orphans(&HashSet::from(["stored".to_owned()]));
        let names: Vec<&str> =
            import.profiles.iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(names, ["good", "base"]);
        let refused: Vec<&str> =
            import.refused.iter().map(|refused| refused.name.as_str()).collect();
        assert_eq!(refused, ["lost", "heir"]);
    }
}
