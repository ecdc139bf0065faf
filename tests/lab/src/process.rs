//! Programs that the lab started: how they are run, recorded, found again and ended.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::state::State;

/// Runs a command to its end and returns what it printed.
///
/// # Errors
/// When it can't be started or fails; the error has the command and what it complained about.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| missing(command, &error))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", words(command), output.status, complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn missing(command: &Command, error: &io::Error) -> anyhow::Error {
    let program = command.get_program().to_string_lossy();
    anyhow::anyhow!("`{}` did not start: {error} (is {program} installed?)", words(command))
}

fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// One process, and no other that gets its number later.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct ProcessId {
    pid: u32,
    /// Clock ticks between the system's start and the process' (proc(5), stat field 22).
    start: u64,
}

impl ProcessId {
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let stat = Stat::read(pid).with_context(|| format!("process {pid} is gone"))?;
        Ok(Self { pid, start: stat.start })
    }

    pub(crate) fn current() -> Result<Self> {
        Self::of(std::process::id())
    }

    pub(crate) const fn pid(self) -> u32 {
        self.pid
    }

    pub(crate) fn is_alive(self) -> bool {
        Stat::read(self.pid).is_some_and(|stat| stat.start == self.start && !stat.is_dead())
    }

    /// The process, those that it started, and those that they started, as far as they live. Once
    /// the process itself is gone, its group and session tell who belonged to it.
    ///
    /// The number of a group is not given to a new process while a member lives. What remains to
    /// exclude is a later group of the same number, and those are not in our namespaces.
    fn family(self, namespaces: &[(u64, u64)]) -> Vec<Self> {
        let all = processes();
        if all.iter().any(|(pid, stat)| *pid == self.pid && stat.start != self.start) {
            return Vec::new();
        }
        let left_behind = |pid: u32, stat: &Stat| {
            (stat.group == self.pid || stat.session == self.pid)
                && stat.start >= self.start
                && network(pid).is_some_and(|net| namespaces.contains(&net))
        };
        let mut family: Vec<u32> = all
            .iter()
            .filter(|(pid, stat)| *pid == self.pid || left_behind(*pid, stat))
            .map(|(pid, _)| *pid)
            .collect();
        let mut known = 0;
        while known < family.len() {
            known = family.len();
            for (pid, stat) in &all {
                if family.contains(&stat.parent) && !family.contains(pid) {
                    family.push(*pid);
                }
            }
        }
        all.iter()
            .filter(|(pid, stat)| family.contains(pid) && !stat.is_dead())
            .map(|(pid, stat)| Self { pid: *pid, start: stat.start })
            .collect()
    }

    fn signal(self, signal: Signal) {
        if let Some(pid) = Pid::from_raw(self.pid as i32).filter(|_| self.is_alive()) {
            // It may have ended meanwhile, which is what is wanted.
            let _ = kill_process(pid, signal);
        }
    }
}

/// Ends processes and what they started: politely first, by force after two seconds.
pub(crate) fn end(ids: &[ProcessId], namespaces: &[(u64, u64)]) -> Result<()> {
    let family = || ids.iter().flat_map(|id| id.family(namespaces)).collect::<Vec<ProcessId>>();
    let mut members = family();
    for (signal, patience) in [(Signal::TERM, 2_000), (Signal::KILL, 3_000)] {
        members.iter().for_each(|member| member.signal(signal));
        let deadline = Instant::now() + Duration::from_millis(patience);
        while members.iter().any(|member| member.is_alive()) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        members.retain(|member| member.is_alive());
        members.extend(family().into_iter().filter(|id| id.is_alive()));
    }
    members.retain(|member| member.is_alive());
    members.dedup();
    if !members.is_empty() {
        bail!("processes do not end: {:?}", members.iter().map(|id| id.pid).collect::<Vec<_>>());
    }
    Ok(())
}

/// Whether nothing is to be started any more.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Programs that run for a moment, which are in no lab's record.
static PASSING: Mutex<Vec<ProcessId>> = Mutex::new(Vec::new());

/// Has nothing started any more, and ends programs that run for a moment.
pub(crate) fn close() {
    CLOSED.store(true, Ordering::SeqCst);
    passing().iter().for_each(|id| id.signal(Signal::KILL));
}

/// A program that runs for a moment. It ends when dropped.
#[derive(Debug)]
pub(crate) struct Passing {
    id: ProcessId,
    child: Child,
}

impl Passing {
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        // One after the other with `close`, so that none is forgotten.
        let mut all = passing();
        if CLOSED.load(Ordering::SeqCst) {
            bail!("nothing is started: the lab is on its way down");
        }
        let child = command.spawn().map_err(|error| missing(command, &error))?;
        // It is there at least until it is waited for.
        let id = ProcessId::of(child.id())?;
        all.push(id);
        Ok(Self { id, child })
    }

    pub(crate) const fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        // It has ended, or nobody waits for what it does. After the kill it ends at once.
        let _ = self.child.kill();
        let _ = self.child.wait();
        passing().retain(|id| *id != self.id);
    }
}

fn passing() -> MutexGuard<'static, Vec<ProcessId>> {
    PASSING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn network(pid: u32) -> Option<(u64, u64)> {
    fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|data| (data.dev(), data.ino()))
}

fn processes() -> Vec<(u32, Stat)> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, Stat::read(pid)?)))
        .collect()
}

/// What proc(5) says about a process.
struct Stat {
    state: char,
    parent: u32,
    group: u32,
    session: u32,
    start: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The second field is the program's name in parentheses, which may hold any character.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
        })
    }

    const fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// A program running in the background in a namespace, its output in a file. Ended when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    id: ProcessId,
    child: Child,
    log: PathBuf,
    state: Arc<State>,
}

impl Process {
    pub(crate) fn start(state: Arc<State>, name: &str, command: &mut Command) -> Result<Self> {
        use std::os::unix::process::CommandExt;

        if CLOSED.load(Ordering::SeqCst) {
            bail!("{name} is not started: the lab is on its way down");
        }
        let log = state.folder().join(format!("{name}.log"));
        let output = fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("writing {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("sharing the log")?)
            .stderr(output)
            // A group of its own: it is found and ended with all that it starts, and a Ctrl-C
            // meant for us doesn't reach it before us.
            .process_group(0)
            .spawn()
            .map_err(|error| missing(command, &error))?;
        let id = ProcessId::of(child.id())?;
        let process = Self { name: name.to_owned(), id, child, log, state };
        process.state.add_process(name, id)?;
        // Whoever takes the lab down may have read too early what is to be ended: it ends when dropped here.
        if CLOSED.load(Ordering::SeqCst) {
            bail!("{name} is ended again: the lab is on its way down");
        }
        Ok(process)
    }

    /// The name that it was started under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process number.
    pub const fn pid(&self) -> u32 {
        self.id.pid
    }

    /// The process numbers of all that it has started and that lives, its own among them.
    pub fn family(&self) -> Vec<u32> {
        self.id.family(&self.state.identities()).iter().map(|member| member.pid).collect()
    }

    /// The file with all that it printed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// What it printed so far.
    pub fn output(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_running(&self) -> bool {
        self.id.is_alive()
    }

    /// Sends it a signal (`Signal::HUP`, say).
    pub fn signal(&self, signal: Signal) {
        self.id.signal(signal);
    }

    /// Sends a signal to it and to all that it has started and that lives.
    pub fn signal_all(&self, signal: Signal) {
        for member in self.id.family(&self.state.identities()) {
            member.signal(signal);
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it still runs at the end of `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().context("waiting for a process")? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} still runs after {patience:?}", self.name);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends it and everything that it started: politely first, by force after two seconds.
    ///
    /// # Errors
    /// When it outlives even that.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        end(&[self.id], &self.state.identities())?;
        // It is dead: this only collects it.
        let _ = self.child.try_wait();
        self.state.remove_process(self.id)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What fails here is tried again from the state file when the lab goes down.
        let _ = self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_with_names_of_any_kind() {
        let tail = " S 1 77 78 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 8192 1";
        for name in ["(sh)", "(a b)", "(x) R 9 9)", "(()"] {
            let stat = Stat::parse(&format!("123 {name}{tail}")).unwrap();
            assert_eq!((stat.state, stat.parent, stat.group), ('S', 1, 77));
            assert_eq!((stat.session, stat.start), (78, 4242));
        }
        assert!(Stat::parse("123 (sh) S 1").is_none());
        assert!(Stat::parse("").is_none());
    }

    #[test]
    fn this_process_lives_and_another_with_its_number_does_not() {
        let this = ProcessId::current().unwrap();
        assert!(this.is_alive());
        assert!(!ProcessId { start: this.start + 1, ..this }.is_alive());
    }

    #[test]
    fn failures_show_the_command_and_its_complaint() {
        let error = run(Command::new("ls").arg("/nowhere")).unwrap_err().to_string();
        assert!(error.contains("ls /nowhere") && error.contains("No such file"), "{error}");
        let error = run(&mut Command::new("no-such-program")).unwrap_err().to_string();
        assert!(error.contains("is no-such-program installed?"), "{error}");
    }
}
