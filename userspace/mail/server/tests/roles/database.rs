//! A database for a test, as a configuration names it.

use std::ops::Deref;

use muralla_database::Location;

/// A database, gone when it is dropped.
pub(crate) struct Database {
    /// As the configuration has it.
    pub(crate) location: String,
    database: muralla_test_database::Database,
}

impl Deref for Database {
    type Target = muralla_test_database::Database;

    fn deref(&self) -> &Self::Target {
        &self.database
    }
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        Self::of(muralla_test_database::Database::sqlite())
    }

    pub(crate) fn postgres() -> Self {
        Self::of(muralla_test_database::Database::postgres())
    }

    fn of(database: muralla_test_database::Database) -> Self {
        let location = match database.location() {
            Location::Sqlite(path) => path.display().to_string(),
            Location::Postgres(url) => url.clone(),
        };
        Self { location, database }
    }
}
