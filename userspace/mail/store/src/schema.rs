//! The tables, made and brought up to date.

use muralla_database::{Schema, Step};

/// The tables of the store. One that was released is never changed again: what is new comes in a step behind it.
pub const SCHEMA: Schema = Schema {
    table: "mail_store_schema",
    steps: &[
        Step {
            name: "bodies, packs and mailboxes",
            tables: concat!(
                include_str!("../migrations/0001_bodies.sql"),
                include_str!("../migrations/0001_mailboxes.sql")
            ),
            sqlite: "",
            postgres: "",
        },
        Step {
            name: "what was imported from other servers",
            tables: include_str!("../migrations/0002_imported.sql"),
            sqlite: "",
            postgres: "",
        },
        Step {
            name: "who moves a mailbox",
            tables: include_str!("../migrations/0003_fence.sql"),
            sqlite: "",
            postgres: "",
        },
        Step {
            name: "what was refused",
            tables: include_str!("../migrations/0004_rejects.sql"),
            sqlite: "",
            postgres: "",
        },
    ],
};
