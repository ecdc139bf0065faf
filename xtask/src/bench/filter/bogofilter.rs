//! bogofilter with Debian's settings, which are its authors': words and their counts in a file.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

use super::super::disk::empty;
use super::corpus::Known;
use super::curve::Judged;

/// From this on it says spam: its default.
const CUT_OFF: f64 = 0.99;

/// With a list of words of its own.
pub(super) struct Bogofilter {
    folder: PathBuf,
}

impl Bogofilter {
    /// One that knows nothing.
    pub(super) fn new(folder: PathBuf) -> Result<Self> {
        empty(&folder)?;
        Ok(Self { folder })
    }

    /// Learns them all at once.
    pub(super) fn learn(&self, messages: &[Known]) -> Result<()> {
        for spam in [false, true] {
            let of_kind = messages.iter().filter(|known| known.spam == spam);
            let paths: Vec<&Path> = of_kind.map(|known| known.path.as_path()).collect();
            if !paths.is_empty() {
                self.bulk(flag(spam), &paths)?;
            }
        }
        Ok(())
    }

    /// Judges them all without learning any.
    pub(super) fn judge(&self, messages: &[Known]) -> Result<Vec<Judged>> {
        let paths: Vec<&Path> = messages.iter().map(|known| known.path.as_path()).collect();
        let text = self.bulk("-TT", &paths)?;
        let scores: Vec<f64> = text.lines().map(score).collect::<Result<_>>()?;
        ensure!(
            scores.len() == messages.len(),
            "bogofilter judged {} messages of {}",
            scores.len(),
            messages.len()
        );
        Ok(messages.iter().zip(scores).map(|(known, score)| judged(known, score)).collect())
    }

    /// Judges one after the other, and learns each then, as ours does.
    pub(super) fn rehearse(&self, messages: &[Known], done: impl Fn()) -> Result<Vec<Judged>> {
        let mut told = Vec::new();
        for known in messages {
            let said = match fs::exists(self.folder.join("wordlist.db"))? {
                true => score(&self.one("-TT", known)?)?,
                // Who knows nothing says so.
                false => UNKNOWN,
            };
            told.push(judged(known, said));
            self.one(flag(known.spam), known)?;
            done();
        }
        Ok(told)
    }

    fn one(&self, what: &str, known: &Known) -> Result<String> {
        let mut command = self.command(what);
        let output = command.arg("-I").arg(&known.path).stdin(Stdio::null()).output();
        said(output.context("running bogofilter")?)
    }

    /// Its way for many: their names come in lines.
    fn bulk(&self, what: &str, paths: &[&Path]) -> Result<String> {
        let mut command = self.command(what);
        let pipes = command.arg("-b").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pipes.stderr(Stdio::piped()).spawn().context("running bogofilter")?;
        let mut names = child.stdin.take().context("a process without input")?;
        let text: String = paths.iter().map(|path| format!("{}\n", path.display())).collect();
        // It writes while it reads, so that somebody has to read meanwhile.
        let writer = std::thread::spawn(move || names.write_all(text.as_bytes()));
        let output = child.wait_with_output().context("waiting for bogofilter")?;
        writer.join().ok().context("a thread panicked")?.context("telling bogofilter names")?;
        said(output)
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new("taskset");
        command.args(["-c", "0-1023", "bogofilter", "-C", "-d"]).arg(&self.folder).arg(what);
        command
    }
}

/// What it says of a message all of whose words are new to it.
const UNKNOWN: f64 = 0.52;

const fn flag(spam: bool) -> &'static str {
    if spam { "-s" } else { "-n" }
}

fn judged(known: &Known, score: f64) -> Judged {
    Judged { spam: known.spam, score, flagged: score >= CUT_OFF }
}

/// What it printed. It ends with 0 to 2 for spam, ham and unsure, and with 3 for an error.
fn said(output: Output) -> Result<String> {
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code().is_some_and(|code| code < 3),
        "bogofilter failed ({}): {}",
        output.status,
        complaint.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The last word of a line; a name is before it if there were many.
fn score(line: &str) -> Result<f64> {
    let last = line.split_whitespace().next_back();
    last.and_then(|word| word.parse().ok()).with_context(|| format!("no score in {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read() {
        assert_eq!(score("0.9913544876745084\n").unwrap(), 0.991_354_487_674_508_4);
        assert_eq!(score("/a b/c 0.5000000000624871").unwrap(), 0.500_000_000_062_487_1);
        assert!(score("").is_err() && score("/a/b").is_err());
    }
}
