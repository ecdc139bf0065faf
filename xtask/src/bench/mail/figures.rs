//! What the plan of capacity stands on, in the form in which it stands there: to be copied.

use std::fmt::Write as _;

use super::super::table::Row;

/// A figure of the plan.
struct Figure {
    /// Its name there.
    name: &'static str,
    /// What it is, as the plan says it.
    what: &'static str,
    /// Rows that it follows from.
    rows: &'static [&'static str],
    /// How it follows.
    rule: Rule,
}

/// How a figure follows from rows.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// The row's value. There is one.
    Value,
    /// How many a core does in a second, by the dearest of the rows: these are seconds of processor time for a thousand.
    PerCore,
    /// All rows together.
    Sum,
}

const FIGURES: [Figure; 6] = [
    Figure {
        name: "STORED",
        what: "bytes stored per byte of mail",
        rows: &["storage.muralla.messages"],
        rule: Rule::Value,
    },
    Figure {
        name: "INDEX",
        what: "bytes of index per byte of mail",
        rows: &["storage.muralla.index"],
        rule: Rule::Value,
    },
    Figure {
        name: "ACCEPTED",
        what: "messages accepted a second and core",
        rows: &["accept.40k.10.muralla.cost", "accept.40k.50.muralla.cost"],
        rule: Rule::PerCore,
    },
    Figure {
        name: "SENT",
        what: "messages sent a second and core",
        rows: &["outgoing.muralla.cost"],
        rule: Rule::PerCore,
    },
    Figure {
        name: "SESSIONS",
        what: "POP3 sessions a second and core",
        rows: &["pop3.100.newest.muralla.cost"],
        rule: Rule::PerCore,
    },
    Figure {
        name: "ENGINES",
        what: "core-seconds of database and store for 1,000 messages",
        rows: &["cluster.one.cost.database", "cluster.one.cost.garage"],
        rule: Rule::Sum,
    },
];

/// Where they stand.
const PLACE: &str = "userspace/mail/server/src/tools/capacity/measured.rs";

/// Those that follow from the rows of a run, as they are written there; nothing if none does.
pub(in super::super) fn figures(rows: &[Row], date: &str) -> String {
    let mut text = String::new();
    for figure in &FIGURES {
        if let Some(value) = figure.of(rows) {
            let _ = write!(text, "\n{}", figure.written(value, date));
        }
    }
    match text.is_empty() {
        true => text,
        false => format!("\nFor {PLACE}:\n{text}"),
    }
}

impl Figure {
    /// Its value, if all rows are there that it follows from.
    fn of(&self, rows: &[Row]) -> Option<f64> {
        let value = |id: &&str| rows.iter().find(|row| row.id == **id).map(|row| row.value);
        let values = self.rows.iter().map(value).collect::<Option<Vec<f64>>>()?;
        let value = match self.rule {
            Rule::Value => values.first().copied()?,
            Rule::PerCore => 1_000.0 / values.into_iter().fold(0.0, f64::max),
            Rule::Sum => values.into_iter().sum(),
        };
        value.is_finite().then_some(value)
    }

    fn written(&self, value: f64, date: &str) -> String {
        let Self { name, what, rows, .. } = self;
        // In as many digits as mean something.
        let value = match value {
            0.0..10.0 => format!("{value:.3}"),
            10.0..100.0 => format!("{value:.1}"),
            _ => format!("{value:.0}.0"),
        };
        let rows = rows.join(", ");
        format!(
            "pub const {name}: Figure = figure(\n    \"{what}\",\n    {value},\n    \"`bench mail` of {date}: {rows}\",\n);\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The plan's own text.
    const MEASURED: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../userspace/mail/server/src/tools/capacity/measured.rs"
    ));

    #[test]
    fn all_figures_of_the_plan_are_written_as_they_stand_there() {
        // One that fits into a line stands in one.
        let words = |text: &str| text.split_whitespace().collect::<String>();
        let there = words(MEASURED);
        for Figure { name, what, .. } in &FIGURES {
            let beginning = format!("pub const {name}: Figure = figure(\"{what}\",");
            assert!(there.contains(&words(&beginning)), "{PLACE} has no {beginning}");
        }
        assert_eq!(MEASURED.matches("pub const ").count(), FIGURES.len());
    }

    #[test]
    fn figures_follow_from_rows() {
        let rows = [
            ("storage.muralla.messages", 0.371_23),
            ("accept.40k.10.muralla.cost", 0.8),
            ("accept.40k.50.muralla.cost", 0.5),
            ("cluster.one.cost.database", 1.5),
            ("cluster.one.cost.garage", 12.25),
            ("outgoing.muralla.cost", 0.0),
        ]
        .map(|(id, value)| Row::plain(id, value, ""));
        let text = figures(&rows, "2026-11-30");
        for part in [
            "\npub const STORED: Figure = figure(\n    \"bytes stored per byte of mail\",\n    0.371,\n    \
             \"`bench mail` of 2026-11-30: storage.muralla.messages\",\n);\n",
            "    1250.0,\n",
            "    13.8,\n",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("SENT") && !text.contains("INDEX"), "{text}");
        assert_eq!(figures(&[], "2026-11-30"), "");
    }
}
