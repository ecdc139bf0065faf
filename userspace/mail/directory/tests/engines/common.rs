//! A database for a test, with the directory in it.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use muralla_mail_directory::{Directory, Options};

/// A database, gone when it is dropped, and the directory in it.
pub(crate) struct Database(muralla_test_database::Database);

impl Deref for Database {
    type Target = muralla_test_database::Database;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        Self(muralla_test_database::Database::sqlite())
    }

    pub(crate) fn postgres() -> Self {
        Self(muralla_test_database::Database::postgres())
    }

    /// The directory, as a role has it.
    pub(crate) async fn directory(&self) -> Directory {
        self.directory_with(|_| ()).await
    }

    pub(crate) async fn directory_with(&self, change: impl FnOnce(&mut Options)) -> Directory {
        let mut options = Options::default();
        change(&mut options);
        Directory::open(self.location(), options).await.unwrap()
    }

    /// A file in a folder of the test's own.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }
}

/// Waits until something holds. What never comes fails, after a time that no machine needs.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < patience, "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
