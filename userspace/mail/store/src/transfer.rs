//! Mail that comes from another server, and mail that goes to one.
//!
//! - [`import`] brings what a [`Source`] has into an account. To do it again adds nothing, and to go on after an interruption is to do
//!   it again;
//! - [`export`] writes an account's mail into a [`Target`];
//! - [`maildir`] and [`mbox`] are both;
//! - [`names`] and [`lines`] are how files have folders' names and messages.

pub mod export;
pub mod import;
pub mod lines;
pub mod maildir;
pub mod mbox;
pub mod names;

use std::io;
use std::path::Path;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::folders::{Flags, Folder, FolderPath, Message};
use crate::outcome::StoreError;

pub use import::ImportOptions;

/// What mail is imported from: files, or a server.
///
/// A source lists what it has, and then gives one message after the other. What is listed and isn't there any more when its turn
/// comes was removed meanwhile, which is nobody's fault.
pub trait Source: Send {
    /// Everything that it has, in the order in which messages are to be numbered.
    fn list(&mut self) -> BoxFuture<'_, Result<Listing, TransferError>>;

    /// Which of [`Listing::entries`] will be fetched, in their order: a server may be asked for several at once.
    fn prepare(&mut self, entries: &[usize]) {
        let _ = entries;
    }

    /// One of [`Listing::entries`], by its position there.
    ///
    /// # Errors
    ///
    /// [`TransferError`] if nothing more can be had of the source. What is wrong with this message alone is
    /// [`Fetched::Refused`].
    fn fetch(&mut self, entry: usize) -> BoxFuture<'_, Result<Fetched, TransferError>>;

    /// Everything was fetched.
    fn finish(&mut self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}

/// What a source has.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    /// Its folders, those without messages among them.
    pub folders: Vec<FolderPath>,
    /// Its messages.
    pub entries: Vec<Entry>,
    /// What it has and can't give.
    pub problems: Vec<Problem>,
}

/// A message of a source.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The folder that it is to be in.
    pub folder: FolderPath,
    /// Where it is, for people.
    pub place: String,
    /// Its bytes, as far as they are known.
    pub bytes: u64,
    /// What the source calls this message and will never call another one, such as a server's name with a UIDL. One that was imported
    /// already isn't fetched again. Without it messages are told from each other by what they hold.
    pub identity: Option<String>,
    /// What POP3 calls it there (RFC 1939 section 7, UIDL), which it is called here, too, if it has an identity and is in Inbox. What
    /// can't be such a name, and what another message of the account is called, is passed over.
    pub uidl: Option<String>,
}

/// A message that was fetched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fetched {
    /// Here it is.
    Message {
        /// The message, lines ended by CRLF.
        raw: Bytes,
        /// What is known of it.
        flags: Flags,
        /// When it came, in seconds since 1970; if nobody knows, now.
        received: Option<i64>,
    },
    /// There is none: it was removed meanwhile, or what was listed is a note of the program that wrote it.
    Nothing,
    /// It can't be read; the others can.
    Refused(String),
}

/// What mail is exported to. Its files are written by one thread, and may be waited for.
pub trait Target: Send + 'static {
    /// Messages of this folder come next.
    ///
    /// # Errors
    ///
    /// [`TransferError`]; then nothing more is exported.
    fn begin(&mut self, folder: &Folder) -> Result<(), TransferError>;

    /// Whether a message of it isn't there yet.
    fn wants(&mut self, message: &Message) -> bool;

    /// A message of it.
    ///
    /// # Errors
    ///
    /// [`TransferError`]; then nothing more is exported.
    fn add(&mut self, message: &Message, raw: &[u8]) -> Result<(), TransferError>;

    /// The folder is complete.
    ///
    /// # Errors
    ///
    /// [`TransferError`].
    fn end(&mut self) -> Result<(), TransferError>;

    /// Everything is, and is to be durable when this returns.
    ///
    /// # Errors
    ///
    /// [`TransferError`].
    fn finish(&mut self) -> Result<(), TransferError>;
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Messages that were looked at.
    pub done: u64,
    /// Messages that there are.
    pub total: u64,
    /// Bytes of those that were looked at.
    pub bytes: u64,
    /// Bytes of all.
    pub of_bytes: u64,
}

/// What became of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// Messages added.
    pub added: u64,
    /// Bytes of them, as the store counts them.
    pub bytes: u64,
    /// Messages that were there already.
    pub already: u64,
    /// Messages that were removed while we were at it.
    pub gone: u64,
    /// Messages and folders that were left behind.
    pub failed: u64,
    /// Why, of at most [`Report::MOST`] of them.
    pub problems: Vec<Problem>,
}

/// Something that was left behind.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// What: a file, a message.
    pub place: String,
    /// Why.
    pub reason: String,
}

/// Why it can't go on. What was done is done, and isn't done again when it is begun again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file.
    #[error("{what} {place} failed: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// Which file.
        place: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It isn't what it was taken for.
    #[error("{place} is no {format}: {reason}")]
    Format {
        /// Which file or folder.
        place: String,
        /// What it was taken for.
        format: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// A server that is imported from.
    #[error("{server} does not give its mail: {reason}")]
    Server {
        /// Which one.
        server: String,
        /// What it said.
        reason: String,
    },
    /// A server that was lost, or has no time now: the same may succeed later.
    #[error("{server} can't be heard any more: {reason}")]
    Lost {
        /// Which one.
        server: String,
        /// What went wrong.
        reason: String,
    },
}

impl Report {
    /// Problems that are kept; more are counted.
    pub const MOST: usize = 1_000;

    /// Whether everything is there.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed == 0
    }

    pub(crate) fn fail(&mut self, place: impl Into<String>, reason: impl Into<String>) {
        self.failed += 1;
        if self.problems.len() < Self::MOST {
            self.problems.push(Problem { place: place.into(), reason: reason.into() });
        }
    }
}

impl TransferError {
    /// Whether the same may succeed in a moment.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Store(error) => error.may_pass(),
            Self::Lost { .. } => true,
            Self::File { .. } | Self::Format { .. } | Self::Server { .. } => false,
        }
    }

    pub(crate) fn file(what: &'static str, place: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::File { what, place: place.display().to_string(), source }
    }
}

/// Has one of the threads that may wait do something.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, TransferError> + Send + 'static,
) -> Result<T, TransferError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(TransferError::Store(StoreError::Closing)))
}
