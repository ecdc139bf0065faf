//! What an import would do, without doing it.

use std::collections::{BTreeMap, HashMap, HashSet};

use muralla_database::Value;
use muralla_mail_envelope::Domain;
use serde::{Deserialize, Serialize};

use super::{Import, Imported};
use crate::entries::DomainEntry;
use crate::{DirectoryError, Registry};

/// What an import would do.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rehearsed {
    /// What would be new.
    pub new: Imported,
    /// What is there already: accounts and aliases are entered anew, with what the import says; domains stay as they are.
    pub there: Imported,
    /// Passwords that would be hashed, which takes some hundredths of a second each.
    pub passwords: u64,
}

impl Registry {
    /// Tells what [`Registry::import`] would do, and adds to [`Import::refused`] what it would refuse. Nothing is written.
    ///
    /// # Errors
    ///
    /// If the database is away.
    pub async fn rehearse(
        &self,
        import: &mut Import,
        create_domains: bool,
    ) -> Result<Rehearsed, DirectoryError> {
        let mut rehearsed = Rehearsed::default();
        let mut known: HashMap<Domain, DomainEntry> =
            self.domains().await?.into_iter().map(|domain| (domain.name.clone(), domain)).collect();
        if create_domains {
            import.name_domains();
        }
        // Aliases of others after the others.
        let mut domains = import.domains.clone();
        domains.sort_by_key(|domain| domain.alias_of.is_some());
        for domain in domains {
            let why = match &domain.alias_of {
                _ if known.contains_key(&domain.name) => {
                    rehearsed.there.domains += 1;
                    continue;
                }
                Some(other) if !known.contains_key(other) => {
                    Some(format!("{other}, which it is an alias of, is none of our domains"))
                }
                _ => domain.check().err().map(|error| error.to_string()),
            };
            if let Some(why) = why {
                import.refuse("domains", domain.name.as_str(), why);
                continue;
            }
            rehearsed.new.domains += 1;
            known.insert(domain.name.clone(), domain);
        }
        self.refuse_strays(import, &known).await?;
        let names: Vec<&str> =
            import.accounts.iter().map(|account| account.entry.name.as_str()).collect();
        rehearsed.there.accounts = self.how_many("mail_account", &names).await?;
        rehearsed.new.accounts = (names.len() as u64).saturating_sub(rehearsed.there.accounts);
        let names: Vec<&str> = import.aliases.iter().map(|alias| alias.name.as_str()).collect();
        rehearsed.there.aliases = self.how_many("mail_alias", &names).await?;
        rehearsed.new.aliases = (names.len() as u64).saturating_sub(rehearsed.there.aliases);
        let open = import.accounts.iter().filter(|account| account.password.is_some());
        rehearsed.passwords = open.count() as u64;
        Ok(rehearsed)
    }

    /// How many of these names a table has.
    async fn how_many(&self, table: &str, names: &[&str]) -> Result<u64, DirectoryError> {
        let keys: Vec<Value> = names.iter().map(|name| Value::from(*name)).collect();
        let mut found: HashSet<String> = HashSet::new();
        let mut work = self.engine.read().await?;
        let sql = format!("SELECT name FROM {table} WHERE name IN ({{}})");
        work.each_in(&sql, &[], &keys, |row| {
            found.insert(row.text(0)?);
            Ok(())
        })
        .await?;
        Ok(found.len() as u64)
    }
}

impl Import {
    /// How many accounts there are of each domain, for people.
    #[must_use]
    pub fn accounts_by_domain(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for account in &self.accounts {
            *counts.entry(account.entry.name.domain().to_owned()).or_default() += 1;
        }
        counts
    }
}
