//! Entries into what policy works with. The same for what is entered and for what is loaded, so that nothing is accepted
//! here that would be left out there.

use std::sync::Arc;

use muralla_radius_dictionary::{Dictionary, Pair};
use muralla_radius_policy::hours::Hours;
use muralla_radius_policy::{Base, Credential, Names, Profile, Subscriber, uncounted};
use muralla_radius_wire::Secret;

use crate::{NasEntry, ProfileEntry, SubscriberEntry};

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

/// A subscriber for the base.
pub(crate) fn subscriber(
    dictionary: &Dictionary,
    entry: &SubscriberEntry,
) -> Result<Subscriber, String> {
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
        check: pairs(dictionary, &entry.check)?,
        reply: pairs(dictionary, &entry.reply)?,
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
    items
        .iter()
        .map(|item| Pair::parse(dictionary, item).map_err(|error| error.to_string()))
        .collect()
}
