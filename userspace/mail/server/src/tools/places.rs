//! Where shards are, and what accounts have in them.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::str::FromStr;
use std::{fs, io};

use muralla_database::{Engine, Location};
use muralla_mail_directory::{AccountId, Registry, ShardEntry, ShardId};
use muralla_mail_store::{Account, PackLocation, Store, StoreOptions, Usage, census};

use super::ToolsError;
use crate::config::MailConfig;
use crate::shards::ShardError;

/// How the database's own tools call who is connected.
const APPLICATION: &str = "muralla-mail-tools";

/// The shards, as they were entered, and where the configuration says that they are.
pub struct Places {
    entries: Vec<ShardEntry>,
    main: (Location, PackLocation),
    named: BTreeMap<String, (Location, PackLocation)>,
}

/// A shard, and where it is.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its number.
    pub id: ShardId,
    /// Its name.
    pub name: String,
    /// Its database.
    pub database: Location,
    /// Its packs.
    pub packs: PackLocation,
}

impl Places {
    /// Reads which shards there are.
    ///
    /// # Errors
    ///
    /// [`ToolsError`].
    pub async fn read(config: &MailConfig, registry: &Registry) -> Result<Self, ToolsError> {
        let mut named = BTreeMap::new();
        for (name, shard) in &config.shards {
            let location = Location::from_str(shard.database.reveal()).map_err(|error| {
                ToolsError::Config(format!("[mail.shards.{name}] database: {error}"))
            })?;
            named.insert(name.clone(), (location, shard.packs.location()));
        }
        let main = (config.location().map_err(ToolsError::Config)?, config.packs.location());
        Ok(Self { entries: registry.shards().await?, main, named })
    }

    /// The shards, as they were entered.
    #[must_use]
    pub fn entries(&self) -> &[ShardEntry] {
        &self.entries
    }

    /// Names under `[mail.shards]` that no shard has.
    pub fn unknown(&self) -> impl Iterator<Item = &str> {
        let known = |name: &str| self.entries.iter().any(|entry| entry.name == name);
        self.named.keys().map(String::as_str).filter(move |name| !known(name))
    }

    /// The shard of a name.
    ///
    /// # Errors
    ///
    /// [`ToolsError`]: if there is none, or nobody knows where it is.
    pub fn named(&self, name: &str) -> Result<Place, ToolsError> {
        let entry = self.entries.iter().find(|entry| entry.name == name);
        self.place(entry.ok_or_else(|| ToolsError::NoShard(name.to_owned()))?)
    }

    /// The shard of a number.
    ///
    /// # Errors
    ///
    /// [`ToolsError`]: if there is none, or nobody knows where it is.
    pub fn of(&self, id: ShardId) -> Result<Place, ToolsError> {
        let entry = self.entries.iter().find(|entry| entry.id == Some(id));
        self.place(entry.ok_or_else(|| ToolsError::NoShard(id.to_string()))?)
    }

    /// All of them, or the one of a name.
    ///
    /// # Errors
    ///
    /// [`ToolsError`]: if there is none of that name, or nobody knows where one is.
    pub fn all_or(&self, name: Option<&str>) -> Result<Vec<Place>, ToolsError> {
        match name {
            Some(name) => Ok(vec![self.named(name)?]),
            None => self.entries.iter().map(|entry| self.place(entry)).collect(),
        }
    }

    /// Where a shard is, as a role finds it: the configuration says it, or the entry, and the main one is where the directory is.
    fn place(&self, entry: &ShardEntry) -> Result<Place, ToolsError> {
        let id = entry.id.unwrap_or(ShardId::MAIN);
        let name = entry.name.clone();
        let (database, packs) = match (self.named.get(&name), &entry.location) {
            (Some(place), _) => place.clone(),
            (None, Some(location)) => {
                let wrong = |why: String| ShardError::Location(name.clone(), why);
                let location = Location::from_str(location.reveal())
                    .map_err(|error| wrong(error.to_string()))?;
                let packs = entry.packs.clone().unwrap_or_default();
                if !packs.reveal().starts_with('/') {
                    let why = "its packs are no folder: name a bucket under [mail.shards]";
                    return Err(wrong(why.to_owned()).into());
                }
                (location, PackLocation::Folder(packs.reveal().into()))
            }
            (None, None) if id == ShardId::MAIN => self.main.clone(),
            (None, None) => return Err(ShardError::Nowhere(id).into()),
        };
        Ok(Place { id, name, database, packs })
    }

    /// What accounts have, as it is counted where they live; those that never had anything are not in it. What of it can't be told
    /// is said in words.
    pub async fn usages(
        &self,
        accounts: &[(AccountId, ShardId)],
    ) -> (HashMap<AccountId, Usage>, Vec<String>) {
        let mut by_shard: BTreeMap<ShardId, Vec<Account>> = BTreeMap::new();
        for (account, shard) in accounts {
            by_shard.entry(*shard).or_default().push(Account(account.0));
        }
        let (mut usages, mut problems) = (HashMap::new(), Vec::new());
        for (shard, accounts) in by_shard {
            match self.usages_in(shard, &accounts).await {
                Ok(found) => {
                    usages.extend(found.into_iter().map(|(of, usage)| (AccountId(of.0), usage)));
                }
                Err(error) => {
                    problems.push(format!("what is in shard {shard} is not known: {error}"))
                }
            }
        }
        (usages, problems)
    }

    async fn usages_in(
        &self,
        shard: ShardId,
        accounts: &[Account],
    ) -> Result<HashMap<Account, Usage>, ToolsError> {
        // The packs have no part in it, and need not be within reach.
        let engine = Engine::new(&self.of(shard)?.database, APPLICATION)?;
        let usages = census::usages(&engine, accounts).await;
        engine.close().await;
        Ok(usages?)
    }
}

impl Place {
    /// Opens the store.
    ///
    /// # Errors
    ///
    /// [`ToolsError`].
    pub async fn store(&self, options: StoreOptions) -> Result<Store, ToolsError> {
        let failed = |error: &dyn std::fmt::Display| {
            ToolsError::Store(format!("shard {}: {error}", self.name))
        };
        let opened = Store::open(&self.database, &self.packs, options).await;
        let store = opened.map_err(|error| failed(&error))?;
        if let Location::Sqlite(file) = &self.database {
            hand_over(file).map_err(|error| failed(&error))?;
        }
        Ok(store)
    }
}

/// Gives a database that root has just made to whom its folder belongs: the role has a user of its own.
fn hand_over(file: &Path) -> io::Result<()> {
    let Some(folder) = file.parent() else { return Ok(()) };
    let owner = fs::metadata(folder)?;
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        if fs::metadata(&name).is_ok_and(|made| made.uid() == 0 && owner.uid() != 0) {
            chown(&name, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}
