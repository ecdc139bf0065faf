//! The tables, made and brought up to date.

use muralla_database::{Schema, Step};

/// The tables of the queue. One that was released is never changed again: what is new comes in a step behind it.
pub const SCHEMA: Schema = Schema {
    table: "mail_queue_schema",
    steps: &[
        Step {
            name: "queue and events",
            tables: include_str!("../migrations/0001_queue.sql"),
            sqlite: "",
            postgres: "",
        },
        Step {
            name: "accounts that forward",
            tables: include_str!("../migrations/0002_account.sql"),
            sqlite: "",
            postgres: "",
        },
        Step {
            name: "counts out of indexes",
            tables: include_str!("../migrations/0003_counts.sql"),
            sqlite: "",
            postgres: "",
        },
        Step {
            name: "an end of what is held",
            tables: include_str!("../migrations/0004_held.sql"),
            sqlite: "",
            postgres: "",
        },
    ],
};
