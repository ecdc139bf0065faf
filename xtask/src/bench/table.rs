//! Rows of figures: as a table, and as JSON.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::machine::Machine;

/// One figure.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// The row that it is compared with.
    pub(crate) against: Option<String>,
    /// This value by that one.
    pub(crate) ratio: Option<f64>,
    /// What the ratio, or without one the value, may be.
    pub(crate) budget: Option<f64>,
    /// Whether it is; none without a budget.
    pub(crate) within: Option<bool>,
}

impl Row {
    /// A figure that is compared with nothing.
    pub(crate) fn plain(id: impl Into<String>, value: f64, unit: &str) -> Self {
        Self {
            id: id.into(),
            value,
            unit: unit.to_owned(),
            against: None,
            ratio: None,
            budget: None,
            within: None,
        }
    }
}

/// Everything of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) bench: String,
    pub(crate) machine: Machine,
    pub(crate) rows: Vec<Row>,
}

impl Report {
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))
    }

    /// The rows in columns, as Markdown has them.
    pub(crate) fn table(&self) -> String {
        let header = ["row", "value", "unit", "ratio", "against", "budget", ""].map(str::to_owned);
        let optional =
            |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.3}"));
        let lines: Vec<[String; 7]> = std::iter::once(header)
            .chain(self.rows.iter().map(|row| {
                [
                    row.id.clone(),
                    number(row.value),
                    row.unit.clone(),
                    optional(row.ratio),
                    row.against.clone().unwrap_or_default(),
                    row.budget.map_or_else(String::new, number),
                    match row.within {
                        None => String::new(),
                        Some(true) => "ok".to_owned(),
                        Some(false) => "OVER".to_owned(),
                    },
                ]
            }))
            .collect();
        let width = |column: usize| {
            let cells = lines.iter().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let mut text = String::new();
        for (at, line) in lines.iter().enumerate() {
            for (column, cell) in line.iter().enumerate() {
                let width = width(column);
                let _ = match column {
                    1 | 3 | 5 => write!(text, "| {cell:>width$} "),
                    _ => write!(text, "| {cell:<width$} "),
                };
            }
            text.push_str("|\n");
            if at == 0 {
                for column in 0..line.len() {
                    let _ = write!(text, "|{}", "-".repeat(width(column) + 2));
                }
                text.push_str("|\n");
            }
        }
        text
    }

    /// Names of the rows that are over their budgets.
    pub(crate) fn over(&self) -> Vec<&str> {
        self.rows
            .iter()
            .filter(|row| row.within == Some(false))
            .map(|row| row.id.as_str())
            .collect()
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The value in the middle; NaN of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of each round's ratio.
pub(crate) fn turn_by_turn(values: &[f64], others: &[f64]) -> f64 {
    let ratios: Vec<f64> = values.iter().zip(others).map(|(value, other)| value / other).collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_what_is_over_budget() {
        let over = Row {
            against: Some("floor".to_owned()),
            ratio: Some(3.0),
            budget: Some(2.5),
            within: Some(false),
            ..Row::plain("blocked", 66.0, "ns/packet")
        };
        let report = Report {
            bench: "edge".to_owned(),
            machine: Machine::default(),
            rows: vec![Row::plain("floor", 22.25, "ns/packet"), over],
        };
        assert_eq!(report.over(), ["blocked"]);
        let expected = "\
| row     | value | unit      | ratio | against | budget |      |
|---------|-------|-----------|-------|---------|--------|------|
| floor   | 22.25 | ns/packet |       |         |        |      |
| blocked |    66 | ns/packet | 3.000 | floor   |  2.500 | OVER |
";
        assert_eq!(report.table(), expected);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    }
}
