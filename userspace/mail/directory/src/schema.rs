//! The tables, and how they are brought up to date.

use muralla_database::{Schema, Step};

/// The directory's tables.
pub(crate) const SCHEMA: Schema = Schema {
    table: "mail_directory_schema",
    steps: &[
        Step {
            name: "domains, accounts, aliases and where mail goes",
            tables: include_str!("../migrations/0001_tables.sql"),
            sqlite: include_str!("../migrations/0001_changes.sqlite.sql"),
            postgres: include_str!("../migrations/0001_changes.postgres.sql"),
        },
        Step {
            name: "who is a subscriber of RADIUS, and mailboxes on their way",
            tables: include_str!("../migrations/0002_people_and_moves.sql"),
            sqlite: "",
            postgres: "",
        },
        Step {
            name: "what accounts sent lately",
            tables: include_str!("../migrations/0003_sent.sql"),
            sqlite: "",
            postgres: "",
        },
        Step {
            name: "functions for triggers alone",
            tables: "",
            sqlite: "",
            postgres: include_str!("../migrations/0004_functions.postgres.sql"),
        },
    ],
};
