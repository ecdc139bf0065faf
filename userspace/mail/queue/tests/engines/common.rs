//! A database for a test, with mail's tables.

use std::ops::Deref;

use muralla_database::Engine;
use muralla_mail_store::SCHEMA;

/// A database, gone when it is dropped, and mail's tables.
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

    /// Connections to it, with all tables there.
    pub(crate) async fn engine(&self) -> Engine {
        self.0.engine(&SCHEMA).await
    }
}
