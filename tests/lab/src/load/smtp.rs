//! Mail in masses by Postfix' own tools: smtp-source, which sends as much as a server takes, and smtp-sink, which takes
//! everything and throws it away.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::namespace::Namespace;
use crate::process::{Passing, Process};
use crate::topology::Lab;

/// Who gets mail.
#[derive(Clone, Debug)]
pub enum Recipients {
    /// One after the other of the addresses from `1@domain` to `count@domain`.
    Numbered {
        /// How many there are.
        count: u32,
        /// The domain.
        domain: String,
    },
    /// Each process sends to one of these, so many messages.
    Each {
        /// The addresses.
        addresses: Vec<String>,
        /// Messages to each.
        messages: u32,
    },
}

/// How senders behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub target: SocketAddrV4,
    /// Files with a message each, with lines that end in LF. Each process sends one of them, all the time.
    pub letters: Vec<PathBuf>,
    /// Who gets them.
    pub recipients: Recipients,
    /// Processes at once, each with a thread here that waits for it.
    pub processes: usize,
    /// Connections of each process, kept for all that it sends.
    pub connections: u32,
    /// The core that they run on.
    pub core: usize,
}

/// Senders. They end when dropped.
#[derive(Debug)]
pub struct Senders {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    command: Mutex<Commands>,
    stopped: AtomicBool,
    sent: AtomicU64,
}

/// What is run next.
#[derive(Debug)]
struct Commands {
    namespace: Namespace,
    options: Options,
    number: usize,
}

impl Senders {
    /// Starts senders in a namespace: to numbered recipients until they are stopped, each process beginning anew behind the last
    /// one; otherwise until everybody has his mail.
    ///
    /// # Errors
    /// When there is nothing to send, or nobody to send to.
    pub fn start(namespace: &Namespace, options: Options) -> Result<Self> {
        let nobody = match &options.recipients {
            Recipients::Numbered { count, .. } => *count < options.connections,
            Recipients::Each { addresses, messages } => {
                addresses.is_empty() || *messages < options.connections
            }
        };
        ensure!(!nobody, "every connection needs a message to send");
        ensure!(
            !options.letters.is_empty() && options.processes > 0 && options.connections > 0,
            "senders need letters and connections"
        );
        let processes = options.processes;
        let commands = Commands { namespace: namespace.clone(), options, number: 0 };
        let shared = Arc::new(Shared {
            command: Mutex::new(commands),
            stopped: AtomicBool::new(false),
            sent: AtomicU64::new(0),
        });
        let mut senders = Self { shared, threads: Vec::new() };
        for _ in 0..processes {
            let shared = Arc::clone(&senders.shared);
            let sender = thread::Builder::new().name("smtp-source".to_owned());
            let sender = sender.spawn(move || shared.work()).context("starting a thread")?;
            senders.threads.push(sender);
        }
        Ok(senders)
    }

    /// Messages that were sent so far. Those that were not acknowledged yet are among them, at most one for each connection.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Whether all processes have ended: there is nothing left to send, or each has failed.
    pub fn are_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Starts no process any more, waits for those that run, and says how many messages were acknowledged in all.
    ///
    /// # Errors
    /// When a server refused a message or a connection, or nothing is known of smtp-source.
    pub fn stop(mut self) -> Result<u64> {
        self.join()?;
        Ok(self.sent())
    }

    fn join(&mut self) -> Result<()> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let mut ended = Ok(());
        for thread in self.threads.drain(..) {
            let joined = thread.join().map_err(|_| anyhow!("a sender's thread panicked"));
            ended = ended.and(joined.and_then(|result| result));
        }
        ended
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        // Its errors were for `stop`.
        let _ = self.join();
    }
}

impl Shared {
    fn work(&self) -> Result<()> {
        while !self.stopped.load(Ordering::Relaxed) {
            let Some(mut command) = self.commands().next() else { break };
            if let Err(error) = self.send(&mut command) {
                // The others have nothing to prove any more.
                self.stopped.store(true, Ordering::Relaxed);
                return Err(error);
            }
        }
        Ok(())
    }

    fn send(&self, command: &mut Command) -> Result<()> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Passing::start(child)?;
        let child = child.child();
        let mut counted = child.stdout.take().context("a process without output")?;
        let mut buffer = [0; 4_096];
        loop {
            let length = counted.read(&mut buffer).context("reading what smtp-source says")?;
            if length == 0 {
                break;
            }
            // It writes a number with a carriage return for each message.
            let told = buffer.get(..length).unwrap_or_default();
            let messages = told.iter().filter(|&&byte| byte == b'\r').count() as u64;
            self.sent.fetch_add(messages, Ordering::Relaxed);
        }
        let status = child.wait().context("waiting for smtp-source")?;
        if !status.success() {
            let mut complaint = String::new();
            if let Some(mut errors) = child.stderr.take() {
                let _ = errors.read_to_string(&mut complaint);
            }
            bail!("smtp-source gave up ({status}): {}", complaint.trim());
        }
        Ok(())
    }

    fn commands(&self) -> MutexGuard<'_, Commands> {
        self.command.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Iterator for Commands {
    type Item = Command;

    fn next(&mut self) -> Option<Command> {
        let Options { target, letters, recipients, connections, core, .. } = &self.options;
        let number = self.number;
        let (messages, to) = match recipients {
            Recipients::Numbered { count, domain } => (count, format!("@{domain}")),
            Recipients::Each { addresses, messages } => (messages, addresses.get(number)?.clone()),
        };
        let letter = letters.get(number % letters.len())?;
        let mut command = self.namespace.command("taskset");
        command.args(["-c", &core.to_string(), "smtp-source", "-4", "-c", "-d"]);
        command.args(["-s", &connections.to_string(), "-m", &messages.to_string()]);
        if matches!(recipients, Recipients::Numbered { .. }) {
            command.arg("-N");
        }
        command.args(["-M", "client.example", "-f", "sender@client.example", "-t", &to]);
        command.arg("-F").arg(letter).arg(format!("inet:{target}"));
        self.number += 1;
        Some(command)
    }
}

/// A server on the Internet that takes everything. It ends when dropped.
#[derive(Debug)]
pub struct Sink(Process);

impl Sink {
    /// Starts it on all addresses of the Internet's side, port 25, and on a core.
    ///
    /// # Errors
    /// When it isn't installed.
    pub fn start(lab: &Lab, core: usize) -> Result<Self> {
        let mut command = lab.internet().command("taskset");
        command.args([
            "-c",
            &core.to_string(),
            "smtp-sink",
            "-u",
            "nobody",
            "-4",
            "-c",
            "-m",
            "2000",
            ":25",
        ]);
        Ok(Self(lab.spawn("smtp-sink", command.arg("1000"))?))
    }

    /// Messages that it has taken so far.
    ///
    /// # Errors
    /// When it doesn't run any more.
    pub fn messages(&self) -> Result<u64> {
        ensure!(self.0.is_running(), "smtp-sink has ended:\n{}", self.0.output());
        let path = self.0.log();
        let read = || -> std::io::Result<String> {
            let mut file = File::open(path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            let mut tail = Vec::new();
            file.read_to_end(&mut tail)?;
            Ok(String::from_utf8_lossy(&tail).into_owned())
        };
        let tail = read().with_context(|| format!("reading {}", path.display()))?;
        Ok(counted(&tail))
    }
}

/// Bytes in which a whole line of counters is for sure.
const TAIL: u64 = 512;

/// Messages in the last whole line of counters, which end in a carriage return.
fn counted(tail: &str) -> u64 {
    let lines = tail.split_inclusive('\r').filter(|line| line.ends_with('\r'));
    let last = lines.filter_map(|line| line.trim_end().rsplit_once("mesg=")).next_back();
    last.and_then(|(_, count)| count.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(recipients: Recipients) -> Options {
        Options {
            target: "203.0.113.41:25".parse().unwrap(),
            letters: vec!["/a".into(), "/b".into()],
            recipients,
            processes: 1,
            connections: 2,
            core: 1,
        }
    }

    #[test]
    fn what_is_run() {
        let to = ["x@a.test", "y@a.test"].map(str::to_owned).to_vec();
        let options = options(Recipients::Each { addresses: to, messages: 9 });
        let namespace = Namespace::named("nowhere");
        let mut commands = Commands { namespace, options, number: 0 };
        let words = |command: Command| {
            let words: Vec<_> =
                command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
            words.join(" ")
        };
        let first = words(commands.next().unwrap());
        assert!(first.ends_with("-t x@a.test -F /a inet:203.0.113.41:25"), "{first}");
        assert!(first.contains("-s 2 -m 9 ") && !first.contains("-N"), "{first}");
        assert!(words(commands.next().unwrap()).contains("-t y@a.test -F /b"));
        assert!(commands.next().is_none());
    }

    #[test]
    fn nobody_sends_nothing() {
        let nowhere = Namespace::named("nowhere");
        let few = Recipients::Numbered { count: 1, domain: "a.test".to_owned() };
        let error = Senders::start(&nowhere, options(few)).unwrap_err();
        assert!(error.to_string().contains("needs a message"), "{error}");
    }

    #[test]
    fn counters_of_the_sink() {
        for (tail, expected) in [
            ("", 0),
            ("sess=1 quit=0 mesg=3\rsess=1 quit=1 mesg=4\r", 4),
            ("sess=1 quit=0 mesg=3\rsess=1 quit=1 mes", 3),
            ("=0 mesg=12\rsess=1 quit=1 mesg=1", 12),
        ] {
            assert_eq!(counted(tail), expected, "{tail}");
        }
    }
}
