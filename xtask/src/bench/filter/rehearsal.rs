//! Ours on files: `muralla filter rehearse`, which judges messages one after the other, and learns each.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::curve::Judged;

/// A way through a list of messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rehearsal<'a> {
    pub(crate) list: &'a Path,
    /// What it knows before.
    pub(crate) model: Option<&'a Path>,
    /// Where it leaves what it knows afterwards.
    pub(crate) save: Option<&'a Path>,
    /// Whether it leaves out there what was seen once only.
    pub(crate) condensed: bool,
    pub(crate) learning: bool,
    /// Where it runs; on all cores otherwise.
    pub(crate) core: Option<usize>,
}

/// What became of a message.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Line {
    class: String,
    log_odds: f64,
    outcome: String,
    micros: u64,
}

impl<'a> Rehearsal<'a> {
    /// One that begins with nothing, and learns.
    pub(crate) const fn of(list: &'a Path) -> Self {
        Self { list, model: None, save: None, condensed: false, learning: true, core: None }
    }

    pub(crate) fn run(&self, binary: &Path) -> Result<Vec<Line>> {
        let mut command = Command::new("taskset");
        let cores = self.core.map_or_else(|| "0-1023".to_owned(), |core| core.to_string());
        command.args(["-c", &cores]).arg(binary);
        // This machine's own configuration has nothing to do with it.
        command.args(["--config", "/nowhere/muralla.toml", "--json", "filter", "rehearse"]);
        command.arg("--list").arg(self.list);
        if let Some(model) = self.model {
            command.arg("--model").arg(model);
        }
        if let Some(save) = self.save {
            command.arg("--save").arg(save);
            command.args(self.condensed.then_some("--condensed"));
        }
        command.args((!self.learning).then_some("--no-learning"));
        let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
        let output = output.with_context(|| format!("running {}", binary.display()))?;
        ensure!(output.status.success(), "muralla filter rehearse ended with {}", output.status);
        read(&String::from_utf8_lossy(&output.stdout))
    }
}

fn read(text: &str) -> Result<Vec<Line>> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).with_context(|| format!("reading {line}")))
        .collect()
}

impl Line {
    pub(super) fn judged(&self) -> Judged {
        Judged { spam: self.spam(), score: self.log_odds, flagged: self.outcome != "inbox" }
    }

    /// How long it took, in milliseconds.
    pub(super) fn millis(&self) -> f64 {
        self.micros as f64 / 1e3
    }

    pub(super) fn spam(&self) -> bool {
        self.class == "spam"
    }

    /// Whether that became of it: `inbox`, `spam`, `refuse` or `hold`.
    pub(super) fn went(&self, outcome: &str) -> bool {
        self.outcome == outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read() {
        let text = "{\"path\":\"a/1\",\"class\":\"spam\",\"log_odds\":7.5,\"content\":1.0,\"outcome\":\"spam\",\"micros\":1500,\"reasons\":[]}\n\
                    {\"path\":\"a/2\",\"class\":\"ham\",\"log_odds\":-3,\"content\":1.0,\"outcome\":\"inbox\",\"micros\":90,\"reasons\":[\"x\"]}\n";
        let lines = read(text).unwrap();
        let judged: Vec<Judged> = lines.iter().map(Line::judged).collect();
        assert_eq!(judged[0], Judged { spam: true, score: 7.5, flagged: true });
        assert_eq!(judged[1], Judged { spam: false, score: -3.0, flagged: false });
        assert_eq!(
            (lines[0].millis(), lines[0].went("spam"), lines[1].went("spam")),
            (1.5, true, false)
        );
        assert!(read("{}").is_err());
    }
}
