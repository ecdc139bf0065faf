//! Mail programs that look into their mailboxes by POP3, one visit after the other: as many as a server lets them.
//!
//! They do what programs do: log in step by step, ask for the list and everybody's number, fetch what they want with several
//! requests under way where the server can do that (RFC 2449 section 6.6), and say goodbye. What they fetch stays there.

use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::cpu::pin;
use crate::histogram::Histogram;
use crate::namespace::Namespace;

/// Somebody with a mailbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Login {
    /// The whole address.
    pub user: String,
    /// His password.
    pub password: String,
}

/// What a mail program does in a visit, beside `STAT` and `UIDL`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Visit {
    /// Nothing: there is no news.
    Look,
    /// It fetches so many of the newest messages, or all if there are fewer.
    Newest(u64),
    /// It fetches all messages.
    All,
}

/// How mail programs behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server.
    pub target: SocketAddrV4,
    /// Who visits: each program has some of these for itself, and visits for one after the other.
    pub logins: Vec<Login>,
    /// Programs at once, at most as many as there are logins.
    pub programs: usize,
    /// What they do.
    pub visit: Visit,
    /// The core that they run on.
    pub core: usize,
}

/// What came of visits.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Visits that went well to their end.
    pub visits: u64,
    /// Messages that were fetched in them.
    pub messages: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Visits that failed.
    pub failed: u64,
    /// Why the last of these did.
    pub failure: Option<String>,
    /// From the connection to the answer to `QUIT`, in microseconds.
    pub latencies: Histogram,
    /// Time that this took.
    pub elapsed: Duration,
}

impl Outcome {
    /// Visits a second.
    pub fn rate(&self) -> f64 {
        self.visits as f64 / self.elapsed.as_secs_f64()
    }

    /// Megabytes (of a million) a second that were fetched.
    pub fn megabytes(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.elapsed.as_secs_f64()
    }

    fn count(&mut self, took: Duration, visited: Result<Fetched>) {
        match visited {
            Ok(Fetched { messages, bytes, .. }) => {
                self.visits += 1;
                self.messages += messages;
                self.bytes += bytes;
                self.latencies.record(took.as_micros() as u64);
            }
            Err(error) => {
                self.failed += 1;
                self.failure = Some(format!("{error:#}"));
            }
        }
    }
}

/// Mail programs that visit. They end when dropped.
#[derive(Debug)]
pub struct Programs {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    stopped: AtomicBool,
    interval: Mutex<(Instant, Outcome)>,
}

impl Shared {
    fn interval(&self) -> MutexGuard<'_, (Instant, Outcome)> {
        self.interval.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Programs {
    /// Starts programs in a namespace. They visit until they are stopped, and once each at least.
    ///
    /// # Errors
    /// When there is nobody who could visit, or the namespace can't be entered.
    pub fn start(namespace: &Namespace, options: &Options) -> Result<Self> {
        ensure!(
            (1..=options.logins.len()).contains(&options.programs),
            "{} programs need a login each, and there are {}",
            options.programs,
            options.logins.len()
        );
        let interval = Mutex::new((Instant::now(), Outcome::default()));
        let shared = Arc::new(Shared { stopped: AtomicBool::new(false), interval });
        let mut programs = Self { shared, threads: Vec::new() };
        for first in 0..options.programs {
            // Nobody else is in the same mailbox at the same time, which many servers refuse.
            let own = options.logins.iter().skip(first).step_by(options.programs);
            let own: Vec<Login> = own.cloned().collect();
            let (target, visit, core) = (options.target, options.visit, options.core);
            let shared = Arc::clone(&programs.shared);
            programs.threads.push(namespace.thread("pop3", move || {
                pin(0, core)?;
                for login in own.iter().cycle() {
                    let begun = Instant::now();
                    let visited = call(target).and_then(|stream| visit_by(stream, login, visit));
                    shared.interval().1.count(begun.elapsed(), visited);
                    if shared.stopped.load(Ordering::Relaxed) {
                        break;
                    }
                }
                Ok(())
            })?);
        }
        Ok(programs)
    }

    /// What happened since the last call, or since the start. A visit counts when it ends.
    pub fn interval(&self) -> Outcome {
        let mut interval = self.shared.interval();
        let (since, outcome) =
            std::mem::replace(&mut *interval, (Instant::now(), Outcome::default()));
        Outcome { elapsed: interval.0 - since, ..outcome }
    }

    /// Begins no visit any more, waits for the end of those that are under way, and tells what happened since the last call of
    /// [`Programs::interval`].
    ///
    /// # Errors
    /// When a program could not run at all.
    pub fn stop(mut self) -> Result<Outcome> {
        self.join()?;
        Ok(self.interval())
    }

    fn join(&mut self) -> Result<()> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let mut ended = Ok(());
        for thread in self.threads.drain(..) {
            let joined = thread.join().map_err(|_| anyhow!("a mail program panicked"));
            ended = ended.and(joined.and_then(|result| result));
        }
        ended
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        // Its errors were for `stop`.
        let _ = self.join();
    }
}

/// How many messages somebody has.
///
/// # Errors
/// When the server doesn't tell.
pub fn count(namespace: &Namespace, target: SocketAddrV4, login: &Login) -> Result<u64> {
    let login = login.clone();
    let visited = namespace.inside(move || visit_by(call(target)?, &login, Visit::Look))?;
    Ok(visited.there)
}

/// Fetches all messages that somebody has, and looks at each of them: as it was sent, lines ended by CRLF.
///
/// # Errors
/// When the server doesn't let him in, or doesn't give one of the messages.
pub fn read<T: Send + 'static>(
    namespace: &Namespace,
    target: SocketAddrV4,
    login: &Login,
    look: impl FnMut(&[u8]) -> T + Send + 'static,
) -> Result<Vec<T>> {
    let login = login.clone();
    namespace.inside(move || read_by(call(target)?, &login, look))
}

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests for messages under way.
const WINDOW: u64 = 16;

/// What is read at once; no line is longer.
const BUFFER: usize = 256 << 10;

fn call(target: SocketAddrV4) -> Result<TcpStream> {
    let target = SocketAddr::V4(target);
    let stream = TcpStream::connect_timeout(&target, PATIENCE)
        .with_context(|| format!("connecting to {target}"))?;
    stream.set_read_timeout(Some(PATIENCE)).context("setting a timeout")?;
    stream.set_write_timeout(Some(PATIENCE)).context("setting a timeout")?;
    stream.set_nodelay(true).context("setting TCP_NODELAY")?;
    Ok(stream)
}

/// What was there in a visit, and what was fetched.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Fetched {
    there: u64,
    messages: u64,
    bytes: u64,
}

fn visit_by<S: Read + Write>(stream: S, login: &Login, visit: Visit) -> Result<Fetched> {
    let mut dialogue = Dialogue { stream, buffer: vec![0; BUFFER], start: 0, end: 0 };
    dialogue.expect("greeting")?;
    dialogue.say(&format!("USER {}\r\n", login.user))?;
    dialogue.expect("USER")?;
    dialogue.say(&format!("PASS {}\r\n", login.password))?;
    dialogue.expect("PASS")?;
    dialogue.say("STAT\r\nUIDL\r\n")?;
    let stat = dialogue.expect("STAT")?;
    let count: u64 = stat
        .split(' ')
        .next()
        .and_then(|count| count.parse().ok())
        .with_context(|| format!("STAT says {stat:?}"))?;
    dialogue.expect("UIDL")?;
    let (lines, _) = dialogue.content()?;
    ensure!(lines == count, "UIDL names {lines} messages, and STAT {count}");
    let first = match visit {
        Visit::Look => count + 1,
        Visit::Newest(newest) => count.saturating_sub(newest) + 1,
        Visit::All => 1,
    };
    let mut fetched = Fetched { there: count, ..Fetched::default() };
    let mut asked = first;
    for number in first..=count {
        // Not each alone: half a window at once.
        if asked <= count && asked - number <= WINDOW / 2 {
            let until = (number + WINDOW).min(count + 1);
            let commands: String =
                (asked..until).map(|number| format!("RETR {number}\r\n")).collect();
            dialogue.say(&commands)?;
            asked = until;
        }
        dialogue.expect("RETR")?;
        fetched.bytes += dialogue.content()?.1;
        fetched.messages += 1;
    }
    dialogue.say("QUIT\r\n")?;
    dialogue.expect("QUIT")?;
    Ok(fetched)
}

fn read_by<S: Read + Write, T>(
    stream: S,
    login: &Login,
    mut look: impl FnMut(&[u8]) -> T,
) -> Result<Vec<T>> {
    let mut dialogue = Dialogue { stream, buffer: vec![0; BUFFER], start: 0, end: 0 };
    dialogue.expect("greeting")?;
    for command in [format!("USER {}\r\n", login.user), format!("PASS {}\r\n", login.password)] {
        dialogue.say(&command)?;
        dialogue.expect("the login")?;
    }
    dialogue.say("STAT\r\n")?;
    let stat = dialogue.expect("STAT")?;
    let count = stat.split(' ').next().and_then(|count| count.parse::<u64>().ok());
    let count = count.with_context(|| format!("STAT says {stat:?}"))?;
    let mut looked = Vec::new();
    let mut message = Vec::new();
    for number in 1..=count {
        dialogue.say(&format!("RETR {number}\r\n"))?;
        dialogue.expect("RETR")?;
        message.clear();
        dialogue.message(&mut message).with_context(|| format!("message {number}"))?;
        looked.push(look(&message));
    }
    dialogue.say("QUIT\r\n")?;
    dialogue.expect("QUIT")?;
    Ok(looked)
}

struct Dialogue<S> {
    stream: S,
    buffer: Vec<u8>,
    /// What was read and not looked at lies between these.
    start: usize,
    end: usize,
}

impl<S: Read + Write> Dialogue<S> {
    fn say(&mut self, commands: &str) -> Result<()> {
        let verb = commands.split([' ', '\r']).next().unwrap_or_default();
        self.stream.write_all(commands.as_bytes()).with_context(|| verb.to_owned())
    }

    /// What a good answer says behind its sign.
    fn expect(&mut self, verb: &str) -> Result<String> {
        let line = self.line().with_context(|| format!("{verb}: answer"))?;
        let text = String::from_utf8_lossy(line);
        match text.strip_prefix("+OK") {
            Some(rest) => Ok(rest.trim().to_owned()),
            None => bail!("{verb}: {text}"),
        }
    }

    /// Reads an answer of several lines to its end: how many there are, and bytes of them with their ends and without the dots
    /// that were put in (RFC 1939 section 3).
    fn content(&mut self) -> Result<(u64, u64)> {
        let (mut lines, mut bytes) = (0, 0);
        loop {
            let line = self.line()?;
            if line == b"." {
                return Ok((lines, bytes));
            }
            let dot = u64::from(line.first() == Some(&b'.'));
            lines += 1;
            bytes += line.len() as u64 + 2 - dot;
        }
    }

    /// The same, and what it says.
    fn message(&mut self, into: &mut Vec<u8>) -> Result<()> {
        loop {
            let line = self.line()?;
            if line == b"." {
                return Ok(());
            }
            into.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
            into.extend_from_slice(b"\r\n");
        }
    }

    /// The next line, without its end.
    fn line(&mut self) -> Result<&[u8]> {
        let mut looked = self.start;
        loop {
            let fresh = self.buffer.get(looked..self.end).unwrap_or_default();
            if let Some(at) = fresh.iter().position(|&byte| byte == b'\n') {
                let line = self.start..looked + at;
                self.start = looked + at + 1;
                let line = self.buffer.get(line).unwrap_or_default();
                return Ok(line.strip_suffix(b"\r").unwrap_or(line));
            }
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            looked = self.end;
            let room = self.buffer.get_mut(self.end..).unwrap_or_default();
            ensure!(!room.is_empty(), "a line of more than {BUFFER} bytes");
            let read = self.stream.read(room).context("reading")?;
            ensure!(read > 0, "the server hung up");
            self.end += read;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Answers what a server would, some bytes at a time.
    struct Server {
        answers: Vec<u8>,
        piece: usize,
        heard: Arc<Mutex<Vec<u8>>>,
    }

    impl Read for Server {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let length = self.piece.min(to.len()).min(self.answers.len());
            to[..length].copy_from_slice(&self.answers[..length]);
            self.answers.drain(..length);
            Ok(length)
        }
    }

    impl Write for Server {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            self.heard.lock().unwrap().extend_from_slice(from);
            Ok(from.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn visited(answers: &str, piece: usize, visit: Visit) -> (Result<Fetched>, String) {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let server =
            Server { answers: answers.as_bytes().to_vec(), piece, heard: Arc::clone(&heard) };
        let login = Login { user: "ann@bench.test".to_owned(), password: "secret".to_owned() };
        let outcome = visit_by(server, &login, visit);
        let heard = heard.lock().unwrap().clone();
        (outcome, String::from_utf8(heard).unwrap())
    }

    const LOGIN: &str =
        "+OK ready\r\n+OK\r\n+OK 2 messages\r\n+OK 2 9\r\n+OK\r\n1 a\r\n2 b\r\n.\r\n";

    #[test]
    fn what_is_fetched_is_counted_without_dots_that_were_put_in() {
        let messages = "+OK\r\nA: 1\r\n\r\n..\r\n.\r\n+OK\r\n.x\r\n.\r\n+OK bye\r\n";
        for piece in [1, 7, 4_096] {
            let (outcome, heard) = visited(&format!("{LOGIN}{messages}"), piece, Visit::All);
            // Six, two and three bytes; then three.
            assert_eq!(outcome.unwrap(), Fetched { there: 2, messages: 2, bytes: 14 });
            assert_eq!(
                heard,
                "USER ann@bench.test\r\nPASS secret\r\nSTAT\r\nUIDL\r\nRETR 1\r\nRETR 2\r\nQUIT\r\n"
            );
        }
        let newest = format!("{LOGIN}+OK\r\n.\r\n+OK\r\n");
        let (outcome, heard) = visited(&newest, 100, Visit::Newest(1));
        assert_eq!(outcome.unwrap(), Fetched { there: 2, messages: 1, bytes: 0 });
        assert!(heard.contains("UIDL\r\nRETR 2\r\nQUIT"), "{heard}");
        let (outcome, heard) = visited(&format!("{LOGIN}+OK\r\n"), 100, Visit::Look);
        assert_eq!(outcome.unwrap(), Fetched { there: 2, ..Fetched::default() });
        assert!(!heard.contains("RETR"), "{heard}");
    }

    #[test]
    fn every_message_is_asked_for_once_and_not_all_together() {
        let (count, text) = (50, "+OK\r\nA: 1\r\n\r\nx\r\n.\r\n");
        let names: String = (1..=count).map(|number| format!("{number} u{number}\r\n")).collect();
        let answers = format!(
            "+OK\r\n+OK\r\n+OK\r\n+OK {count} 1\r\n+OK\r\n{names}.\r\n{}+OK\r\n",
            text.repeat(count)
        );
        let (outcome, heard) = visited(&answers, 33, Visit::All);
        assert_eq!(outcome.unwrap(), Fetched { there: 50, messages: 50, bytes: 50 * 11 });
        for number in 1..=count {
            assert_eq!(heard.matches(&format!("RETR {number}\r\n")).count(), 1, "{number}");
        }
    }

    #[test]
    fn messages_are_read_as_they_were_sent() {
        let answers = "+OK\r\n+OK\r\n+OK\r\n+OK 2 9\r\n\
                       +OK\r\nA: 1\r\n\r\n..\r\n.\r\n+OK\r\n..x\r\n\r\n.\r\n+OK\r\n";
        let login = Login { user: "ann@bench.test".to_owned(), password: "secret".to_owned() };
        for piece in [1, 4_096] {
            let heard = Arc::new(Mutex::new(Vec::new()));
            let server =
                Server { answers: answers.as_bytes().to_vec(), piece, heard: Arc::clone(&heard) };
            let text = |message: &[u8]| String::from_utf8_lossy(message).into_owned();
            let read = read_by(server, &login, text).unwrap();
            assert_eq!(read, ["A: 1\r\n\r\n.\r\n", ".x\r\n\r\n"]);
            let heard = String::from_utf8(heard.lock().unwrap().clone()).unwrap();
            assert!(heard.ends_with("STAT\r\nRETR 1\r\nRETR 2\r\nQUIT\r\n"), "{heard}");
        }
    }

    #[test]
    fn a_visit_that_fails_says_where() {
        for (answers, expected) in [
            ("-ERR closed\r\n", "greeting: -ERR closed"),
            ("+OK\r\n+OK\r\n-ERR [AUTH] no\r\n", "PASS: -ERR [AUTH] no"),
            ("+OK\r\n+OK\r\n", "PASS: answer: the server hung up"),
            ("+OK\r\n+OK\r\n+OK\r\n+OK many\r\n", "STAT says"),
            ("+OK\r\n+OK\r\n+OK\r\n+OK 2 9\r\n+OK\r\n1 a\r\n.\r\n", "UIDL names 1"),
        ] {
            let (outcome, _) = visited(answers, 100, Visit::Look);
            let error = format!("{:#}", outcome.unwrap_err());
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
