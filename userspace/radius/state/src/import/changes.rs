//! What an import would change of what is here: FreeRADIUS' word counts where it says something, and where it says nothing
//! what operators entered here stays.

use std::collections::HashMap;
use std::fmt;

use muralla_database::Value;
use serde::{Deserialize, Serialize};

use crate::import::Import;
use crate::stored::{SUBSCRIBER, subscriber_of};
use crate::{NasEntry, ProfileEntry, State, StateError, SubscriberEntry};

/// How many of a kind.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Tally {
    /// That were not here.
    pub new: u64,
    /// That were here otherwise.
    pub changed: u64,
    /// That were here as they are.
    pub same: u64,
}

impl Tally {
    /// All of them.
    #[must_use]
    pub const fn all(self) -> u64 {
        self.new + self.changed + self.same
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { new, changed, same } = self;
        write!(f, "{new} new, {changed} changed, {same} as they were")
    }
}

/// What was changed of something that was here, or is to be.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Change {
    /// `subscriber`, `profile` or `nas`.
    pub kind: String,
    /// Whose.
    pub name: String,
    /// What of it, as in `profiles: gold instead of silver`. Never shows a password or a secret.
    pub fields: Vec<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind, self.name, self.fields.join("; "))
    }
}

impl Import {
    /// Puts into profiles what is here and FreeRADIUS says nothing of. Leaves those that are not here as they are.
    pub(super) fn merge_profiles(&mut self, stored: &[ProfileEntry]) -> Tally {
        let stored: HashMap<&str, &ProfileEntry> =
            stored.iter().map(|profile| (profile.name.as_str(), profile)).collect();
        let (mut tally, mut profiles) = (Tally::default(), Vec::new());
        for mut profile in std::mem::take(&mut self.profiles) {
            let Some(old) = stored.get(profile.name.as_str()) else {
                tally.new += 1;
                profiles.push(profile);
                continue;
            };
            keep(&mut profile.simultaneous, &old.simultaneous);
            keep(&mut profile.pool, &old.pool);
            keep(&mut profile.pool6, &old.pool6);
            keep(&mut profile.delegated_pool6, &old.delegated_pool6);
            keep(&mut profile.login_times, &old.login_times);
            keep(&mut profile.session_timeout, &old.session_timeout);
            keep(&mut profile.idle_timeout, &old.idle_timeout);
            keep(&mut profile.interim, &old.interim);
            keep(&mut profile.note, &old.note);
            let fields = differences(*old, &profile);
            self.count(&mut tally, "profile", &profile.name, fields);
            profiles.push(profile);
        }
        self.profiles = profiles;
        tally
    }

    /// The same for NASes. A name stays, for sessions go by it; whether one is excepted from Message-Authenticator is decided here
    /// once it is here, and a secret that is being rolled stays so.
    pub(super) fn merge_nases(&mut self, stored: &[NasEntry]) -> Tally {
        let (mut tally, mut nases) = (Tally::default(), Vec::new());
        for mut nas in std::mem::take(&mut self.nases) {
            let Some(old) = stored.iter().find(|old| old.prefix.trunc() == nas.prefix.trunc())
            else {
                tally.new += 1;
                nases.push(nas);
                continue;
            };
            let mut fields = Vec::new();
            nas.name.clone_from(&old.name);
            if old.next_secret.as_ref().is_some_and(|next| next.reveal() == nas.secret.reveal()) {
                nas.secret = old.secret.clone();
            }
            if old.secret.reveal() != nas.secret.reveal() {
                fields.push("secret".to_owned());
            }
            nas.next_secret.clone_from(&old.next_secret);
            nas.telco.clone_from(&old.telco);
            nas.relaxed = old.relaxed;
            nas.coa_port = old.coa_port;
            nas.groups.clone_from(&old.groups);
            nas.note.clone_from(&old.note);
            fields.extend(differences(old, &nas));
            self.count(&mut tally, "nas", &nas.prefix.to_string(), fields);
            nases.push(nas);
        }
        self.nases = nases;
        tally
    }

    /// The same for a subscriber.
    fn merge_subscriber(
        &mut self,
        old: &SubscriberEntry,
        new: &mut SubscriberEntry,
    ) -> Vec<String> {
        let mut fields = Vec::new();
        if new.credential.is_empty() {
            new.credential = old.credential.clone();
        } else if new.credential.reveal() != old.credential.reveal() {
            fields.push("password".to_owned());
        }
        if old.disabled && !new.disabled {
            new.disabled = true;
            let reason = "he is disabled here, which FreeRADIUS does not say: he stays so, until `muralla radius user enable`";
            self.note("subscribers", &new.name, reason);
        }
        keep(&mut new.not_before, &old.not_before);
        keep(&mut new.not_after, &old.not_after);
        keep(&mut new.credit_seconds, &old.credit_seconds);
        keep(&mut new.credit_bytes, &old.credit_bytes);
        keep(&mut new.simultaneous, &old.simultaneous);
        keep(&mut new.address, &old.address);
        keep(&mut new.prefix6, &old.prefix6);
        keep(&mut new.delegated6, &old.delegated6);
        keep(&mut new.pool, &old.pool);
        keep(&mut new.pool6, &old.pool6);
        keep(&mut new.delegated_pool6, &old.delegated_pool6);
        keep(&mut new.note, &old.note);
        fields.extend(differences(old, new));
        fields
    }

    fn count(&mut self, tally: &mut Tally, kind: &str, name: &str, fields: Vec<String>) {
        if fields.is_empty() {
            tally.same += 1;
            return;
        }
        tally.changed += 1;
        self.changes.push(Change { kind: kind.to_owned(), name: name.to_owned(), fields });
    }
}

impl State {
    /// Puts into subscribers what is here and FreeRADIUS says nothing of. Those that are here as they are come last.
    pub(super) async fn merge_subscribers(&self, import: &mut Import) -> Result<Tally, StateError> {
        let mut stored: HashMap<String, Option<SubscriberEntry>> = HashMap::new();
        self.watched(async {
            let names: Vec<Value> =
                import.subscribers.iter().map(|entry| entry.name.as_str().into()).collect();
            let mut work = self.inner.engine.read().await?;
            let sql = format!("{SUBSCRIBER} WHERE name IN ({{}})");
            work.each_in(&sql, &[], &names, |row| {
                stored.insert(row.text(0)?, subscriber_of(&row).ok());
                Ok(())
            })
            .await?;
            Ok(())
        })
        .await?;
        let (mut tally, mut changed, mut same) = (Tally::default(), Vec::new(), Vec::new());
        for mut entry in std::mem::take(&mut import.subscribers) {
            let fields = match stored.remove(&entry.name) {
                None => {
                    tally.new += 1;
                    changed.push(entry);
                    continue;
                }
                Some(Some(old)) => import.merge_subscriber(&old, &mut entry),
                Some(None) => vec!["what is here can't be read".to_owned()],
            };
            let of = if fields.is_empty() { &mut same } else { &mut changed };
            import.count(&mut tally, "subscriber", &entry.name, fields);
            of.push(entry);
        }
        changed.append(&mut same);
        import.subscribers = changed;
        Ok(tally)
    }
}

/// What is here, where nothing else is said.
fn keep<T: Clone>(said: &mut Option<T>, here: &Option<T>) {
    if said.is_none() {
        said.clone_from(here);
    }
}

/// What differs of two, as their texts say: passwords and secrets are in none of these.
fn differences<T: Serialize>(old: &T, new: &T) -> Vec<String> {
    let fields = |entry: &T| match serde_json::to_value(entry) {
        Ok(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (fields(old), fields(new));
    let differing = new.iter().filter(|(field, value)| old.get(*field) != Some(*value));
    let mut told: Vec<String> = differing
        .map(|(field, value)| match field.as_str() {
            // An item may be somebody's secret.
            "check" | "reply" => format!("{field} items"),
            _ => {
                let old = old.get(field).map(shown).unwrap_or_default();
                format!("{field}: {} instead of {old}", shown(value))
            }
        })
        .collect();
    told.sort_unstable();
    told
}

fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "none".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) if items.is_empty() => "none".to_owned(),
        serde_json::Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hidden;

    #[test]
    fn what_is_changed_is_told_and_no_secret_is() {
        let old = SubscriberEntry {
            name: "ann".into(),
            credential: Hidden::new("{CLEARTEXT}hello"),
            profiles: vec!["silver".into()],
            credit_seconds: Some(60),
            disabled: true,
            note: Some("pays late".into()),
            ..SubscriberEntry::default()
        };
        let mut new = SubscriberEntry {
            name: "ann".into(),
            credential: Hidden::new("{CLEARTEXT}other"),
            profiles: vec!["gold".into()],
            reply: vec!["Tunnel-Password = \"key\"".into()],
            ..SubscriberEntry::default()
        };
        let mut import = Import::default();
        let fields = import.merge_subscriber(&old, &mut new);
        assert_eq!(fields, ["password", "profiles: gold instead of silver", "reply items"]);
        assert!(new.disabled && new.credit_seconds == Some(60) && new.note == old.note);
        assert_eq!(import.notes.len(), 1);
        assert_eq!(import.merge_subscriber(&new.clone(), &mut new), [""; 0]);
    }

    #[test]
    fn a_nas_keeps_what_freeradius_does_not_have() {
        let prefix = "192.0.2.1/32".parse().unwrap();
        let old = NasEntry {
            next_secret: Some(Hidden::new("next")),
            telco: Some("north".into()),
            relaxed: true,
            coa_port: 1700,
            groups: vec!["dsl".into()],
            note: Some("in the cellar".into()),
            ..NasEntry::new("lns", prefix, "secret")
        };
        for (given, expected) in [("secret", "secret"), ("next", "secret"), ("third", "third")] {
            let mut import =
                Import { nases: vec![NasEntry::new("lns", prefix, given)], ..Import::default() };
            let tally = import.merge_nases(std::slice::from_ref(&old));
            assert_eq!(import.nases, [NasEntry { secret: Hidden::new(expected), ..old.clone() }]);
            let changed = u64::from(given == "third");
            assert_eq!(tally, Tally { new: 0, changed, same: 1 - changed });
            assert!(
                import
                    .changes
                    .iter()
                    .all(|change| change.to_string() == "nas 192.0.2.1/32: secret")
            );
        }
    }
}
