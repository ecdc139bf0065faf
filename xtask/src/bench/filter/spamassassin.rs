//! SpamAssassin with Debian's settings: its daemon with the tests that need no network, and its statistics.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use muralla_lab::process::{Process, run};

use super::super::disk::empty;
use super::corpus::Known;
use super::crowd;
use super::curve::Judged;
use super::ground::Ground;
use super::rspamd::tail;

/// How long it may take until it answers: it listens long before it has read its rules.
const PATIENCE: Duration = Duration::from_secs(120);

/// The user that Debian's package makes: the daemon refuses to look at mail as root.
const USER: &str = "debian-spamd";

/// It ends when dropped.
pub(super) struct SpamAssassin {
    process: Process,
    socket: PathBuf,
}

impl SpamAssassin {
    /// Has its statistics learn these, and then starts the daemon.
    pub(super) fn start(ground: &Ground, taught: &[Known]) -> Result<Self> {
        let folder = ground.disk.folder.join("spamassassin");
        empty(&folder)?;
        let database = folder.join("bayes");
        for (spam, flag) in [(false, "--ham"), (true, "--spam")] {
            let of_kind = taught.iter().filter(|known| known.spam == spam);
            let names: String =
                of_kind.map(|known| format!("{}\n", known.path.display())).collect();
            let list = folder.join("list");
            fs::write(&list, names).context("writing a list")?;
            let mut learn = learner(ground, &folder, &database);
            run(learn.args(["--no-sync", "--max-size", "0", flag, "-f"]).arg(&list))?;
        }
        run(learner(ground, &folder, &database).arg("--sync"))?;
        run(Command::new("chown").args(["-R", USER]).arg(&folder))?;

        let socket = folder.join("spamd.sock");
        let mut spamd = ground.anywhere("spamd");
        spamd.env("HOME", &folder).args(["-L", "-x", "-u", USER, "-s", "stderr"]);
        spamd.args(["--min-children=2", "--max-children=2"]);
        spamd.arg(format!("--cf=bayes_path {}", database.display()));
        // It learns what it is taught, and nothing while it is asked.
        spamd.args(["--cf=bayes_auto_learn 0", "--cf=bayes_auto_expire 0"]);
        spamd.arg(format!("--socketpath={}", socket.display()));
        let process = ground.lab.spawn("spamd", &mut spamd)?;
        let begun = Instant::now();
        let answers = || {
            let mut client = Command::new("spamc");
            client.arg("-U").arg(&socket).arg("-K").stdin(Stdio::null());
            let output = client.stderr(Stdio::null()).output().context("running spamc")?;
            anyhow::Ok(output.status.success() && !output.stdout.is_empty())
        };
        while !answers()? {
            ensure!(
                process.is_running() && begun.elapsed() < PATIENCE,
                "spamd is not ready:\n{}",
                tail(&process)
            );
            thread::sleep(Duration::from_millis(500));
        }
        Ok(Self { process, socket })
    }

    /// Judges them all by its own client.
    pub(super) fn judge(&self, ground: &Ground, messages: &[Known]) -> Result<Vec<Judged>> {
        let socket = self.socket.clone();
        let ask = move |known: &Known| {
            let mut client = Command::new("spamc");
            client.arg("-U").arg(&socket).args(["-c", "-s", "100000000"]);
            let message = fs::File::open(&known.path).context("opening a message")?;
            let output = client.stdin(message).stderr(Stdio::null()).output();
            let text =
                String::from_utf8_lossy(&output.context("running spamc")?.stdout).into_owned();
            let (score, cut_off) = read(&text)?;
            anyhow::Ok(Judged { spam: known.spam, score, flagged: score >= cut_off })
        };
        let told = crowd::ask(ground.lab.edge(), ground.division.asking, 2, messages, ask);
        told.with_context(|| tail(&self.process))
    }
}

fn learner(ground: &Ground, home: &Path, database: &Path) -> Command {
    let mut learn = ground.anywhere("sa-learn");
    learn.env("HOME", home).args(["-L", "--dbpath"]).arg(database);
    learn
}

/// Score and cut-off; `0/0` is what it says when it can't ask.
fn read(text: &str) -> Result<(f64, f64)> {
    let (score, cut_off) = text.trim().split_once('/').with_context(|| format!("{text:?}"))?;
    let (score, cut_off) = (score.parse()?, cut_off.parse()?);
    ensure!(cut_off > 0.0, "spamd does not answer");
    Ok((score, cut_off))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_read() {
        assert_eq!(read("12.5/5.0\n").unwrap(), (12.5, 5.0));
        assert_eq!(read("-1.0/5.0").unwrap(), (-1.0, 5.0));
        for wrong in ["0/0\n", "", "a/b"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
