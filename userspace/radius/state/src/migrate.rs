//! The schema's steps: plain SQL, numbered.

use muralla_database::{Schema, Step};

/// All steps; the version is their number. A step that was released is never changed again.
pub(crate) const SCHEMA: Schema = Schema {
    table: "radius_schema",
    steps: &[
        Step {
            name: "tables, and a log of their changes",
            tables: include_str!("../migrations/0001_tables.sql"),
            sqlite: include_str!("../migrations/0001_changes.sqlite.sql"),
            postgres: include_str!("../migrations/0001_changes.postgres.sql"),
        },
        Step {
            name: "what is taken off credits",
            tables: include_str!("../migrations/0002_growth.sql"),
            sqlite: include_str!("../migrations/0002_growth.sqlite.sql"),
            postgres: include_str!("../migrations/0002_growth.postgres.sql"),
        },
        Step {
            name: "blocks of which a part left the pool",
            tables: include_str!("../migrations/0003_trimmed.sql"),
            sqlite: "",
            postgres: "",
        },
        Step {
            name: "sessions that nobody but their NAS knows of",
            tables: include_str!("../migrations/0004_unproven.sql"),
            sqlite: "",
            postgres: "",
        },
        Step {
            name: "changes of other things than sessions",
            tables: "",
            sqlite: include_str!("../migrations/0005_rare.sqlite.sql"),
            postgres: include_str!("../migrations/0005_rare.postgres.sql"),
        },
        Step {
            name: "changes of credits, and who has something for good",
            tables: "",
            sqlite: include_str!("../migrations/0006_credits.sqlite.sql"),
            postgres: include_str!("../migrations/0006_credits.postgres.sql"),
        },
        // Apart, so that nobody who writes waits for a lock of the one table while he has one of the other.
        Step {
            name: "changes of other things than sessions and credits",
            tables: "",
            sqlite: include_str!("../migrations/0007_people.sqlite.sql"),
            postgres: include_str!("../migrations/0007_people.postgres.sql"),
        },
        Step {
            name: "functions for triggers alone",
            tables: "",
            sqlite: "",
            postgres: include_str!("../migrations/0008_functions.postgres.sql"),
        },
    ],
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::MAY_OWN;

    /// No database uses an index of some rows for a question in other words.
    #[test]
    fn who_has_something_for_good_is_found_by_an_index() {
        let index = format!("WHERE {MAY_OWN};");
        for of in [|step: &Step| step.sqlite, |step: &Step| step.postgres] {
            assert!(SCHEMA.steps.iter().any(|step| of(step).contains(&index)));
        }
    }
}
