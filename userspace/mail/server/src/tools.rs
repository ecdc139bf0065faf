//! The directory and the mailboxes for an operator's commands, which need no role to run.

use std::path::PathBuf;

use muralla_mail_directory::{Directory, DirectoryError, Name, Registry};
use muralla_mail_queue::Options as QueueOptions;
use muralla_mail_store::{Account, Store, StoreOptions};

use crate::config::MailConfig;
use crate::role::directory_options;
use crate::shards::Shards;

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

/// A mailbox of an account, wherever it lies. The database and the packs have to be within reach.
///
/// # Errors
///
/// [`ToolsError`].
pub async fn mailbox(config: &MailConfig, name: &Name) -> Result<Mailbox, ToolsError> {
    let location = config.location().map_err(ToolsError::Config)?;
    // The roles' copy is theirs.
    let options = MailConfig { copy: PathBuf::new(), ..config.clone() };
    let directory = Directory::open(&location, directory_options(&options)).await?;
    let account =
        directory.account_named(name).ok_or_else(|| ToolsError::NoAccount(name.clone()))?;
    let queue = QueueOptions::new(config.hostname.as_str());
    let shards = Shards::new(config, directory, StoreOptions::default(), queue);
    let shards = shards.map_err(ToolsError::Config)?;
    let stored = |error: crate::shards::ShardError| ToolsError::Store(error.to_string());
    let store = shards.of(account.shard).map_err(stored)?.store().await.map_err(stored)?;
    let quota = Some(account.quota_bytes).filter(|quota| *quota > 0);
    Ok(Mailbox { store, account: Account(account.id.0), quota })
}
