//! The directory and the mailboxes for an operator's commands, which need no role to run.
//!
//! - [`places`] says where shards are, and what accounts have in them;
//! - [`stores`] checks stores, gives room back, and removes what nobody owns;
//! - [`moving`] brings a mailbox into another shard;
//! - [`importing`] brings mailboxes from other servers;
//! - [`rejects`] shows what was refused, and brings it back;
//! - [`filtering`] judges files of mail, and learns from them;
//! - [`capacity`] is what so many mailboxes take in boxes, disks and money.

pub mod capacity;
pub mod filtering;
pub mod importing;
pub mod moving;
pub mod places;
pub mod rejects;
pub mod stores;

use std::path::PathBuf;

use muralla_database::DatabaseError;
use muralla_mail_directory::{Directory, DirectoryError, Name, Registry};
use muralla_mail_queue::Options as QueueOptions;
use muralla_mail_store::{Account, BodyError, Store, StoreError, StoreOptions};

use crate::config::MailConfig;
use crate::role::directory_options;
use crate::shards::{ShardError, Shards};

/// Why a command can't do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ToolsError {
    /// The configuration asks for what can't be.
    #[error("{0}")]
    Config(String),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The mail store.
    #[error("{0}")]
    Store(String),
    /// There is no such account.
    #[error("there is no account {0}; `muralla mail account list` shows all")]
    NoAccount(Name),
    /// There is no such shard.
    #[error("there is no shard {0}; `muralla mail shard list` shows all")]
    NoShard(String),
}

impl From<StoreError> for ToolsError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<BodyError> for ToolsError {
    fn from(error: BodyError) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<DatabaseError> for ToolsError {
    fn from(error: DatabaseError) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<ShardError> for ToolsError {
    fn from(error: ShardError) -> Self {
        Self::Store(error.to_string())
    }
}

/// A mailbox with the store that it lies in.
pub struct Mailbox {
    /// The store.
    pub store: Store,
    /// The account in it.
    pub account: Account,
    /// Bytes that it may have; none for no limit.
    pub quota: Option<u64>,
}

/// The rows of the directory, for whoever changes them: roles hear of it within a second.
///
/// # Errors
///
/// [`ToolsError`].
pub async fn registry(config: &MailConfig) -> Result<Registry, ToolsError> {
    let location = config.location().map_err(ToolsError::Config)?;
    Ok(Registry::open(&location, directory_options(config)).await?)
}

/// The directory as a role has it, for whoever wants to see what leads nowhere. The roles' copy on the disk is left alone.
///
/// # Errors
///
/// [`ToolsError`].
pub async fn directory(config: &MailConfig) -> Result<Directory, ToolsError> {
    let location = config.location().map_err(ToolsError::Config)?;
    let options = MailConfig { copy: PathBuf::new(), ..config.clone() };
    Ok(Directory::open(&location, directory_options(&options)).await?)
}

/// A mailbox of an account, wherever it lies. The database and the packs have to be within reach.
///
/// # Errors
///
/// [`ToolsError`].
pub async fn mailbox(config: &MailConfig, name: &Name) -> Result<Mailbox, ToolsError> {
    Mailboxes::open(config).await?.of(name).await
}

/// Mailboxes of accounts, wherever they lie, and however many.
pub struct Mailboxes {
    directory: Directory,
    shards: Shards,
}

impl Mailboxes {
    /// With the directory as it is now, and as it becomes.
    ///
    /// # Errors
    ///
    /// [`ToolsError`].
    pub async fn open(config: &MailConfig) -> Result<Self, ToolsError> {
        let directory = directory(config).await?;
        let queue = QueueOptions::new(config.hostname.as_str());
        let shards = Shards::new(config, directory.clone(), StoreOptions::default(), queue);
        let shards = shards.map_err(ToolsError::Config)?;
        Ok(Self { directory, shards })
    }

    /// One of them.
    ///
    /// # Errors
    ///
    /// [`ToolsError`].
    pub async fn of(&self, name: &Name) -> Result<Mailbox, ToolsError> {
        let account = self.directory.account_named(name);
        let account = account.ok_or_else(|| ToolsError::NoAccount(name.clone()))?;
        let store = self.shards.of(account.shard)?.store().await?;
        let quota = Some(account.quota_bytes).filter(|quota| *quota > 0);
        Ok(Mailbox { store, account: Account(account.id.0), quota })
    }

    /// Ends all connections.
    pub async fn close(self) {
        self.shards.close().await;
        self.directory.registry().close().await;
    }
}
