//! Who sends mail over SMTP: at a rate, whatever comes back, each message by a connection of its own, as servers do that have one
//! now and then.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use muralla_lab::cpu;
use muralla_lab::namespace::Namespace;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use super::quality::within;
use super::speed::quantile;
use crate::bench::table::Row;

/// A message, and who sends it to whom.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    pub(super) source: Ipv4Addr,
    pub(super) from: String,
    pub(super) to: String,
    /// With lines that end in CRLF.
    pub(super) letter: Arc<[u8]>,
}

/// What was heard in the end.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// Of the last reply; 0 if there was none.
    pub(super) code: u16,
    /// Its text, or what went wrong.
    pub(super) text: String,
    /// Since the message was to be sent.
    pub(super) took: Duration,
}

impl Heard {
    pub(super) const fn is_taken(&self) -> bool {
        self.code == 250
    }
}

/// A conversation.
pub(super) struct Dialogue {
    stream: BufReader<TcpStream>,
}

/// A reply.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reply {
    pub(super) code: u16,
    pub(super) text: String,
}

impl Dialogue {
    /// Calls, waits for the greeting, and says hello.
    pub(super) fn open(
        source: Ipv4Addr,
        target: SocketAddrV4,
        patience: Duration,
    ) -> Result<Result<Self, Reply>> {
        let socket =
            socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .context("making a socket")?;
        bind(&socket, &SocketAddrV4::new(source, 0)).with_context(|| format!("from {source}"))?;
        // It limits connect() as well (socket(7), SO_SNDTIMEO).
        set_socket_timeout(&socket, Timeout::Send, Some(patience)).context("setting a timeout")?;
        set_socket_timeout(&socket, Timeout::Recv, Some(patience)).context("setting a timeout")?;
        connect(&socket, &target).context("connecting")?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).context("setting an option")?;
        let mut dialogue = Self { stream: BufReader::new(stream) };
        let greeting = dialogue.hear()?;
        if greeting.code != 220 {
            return Ok(Err(greeting));
        }
        let reply = dialogue.say("EHLO mail.sender.example")?;
        Ok(if reply.code == 250 { Ok(dialogue) } else { Err(reply) })
    }

    pub(super) fn say(&mut self, line: &str) -> Result<Reply> {
        self.write(format!("{line}\r\n").as_bytes())?;
        self.hear()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).context("sending")
    }

    /// A reply, whose last line has no hyphen behind the code (RFC 5321 section 4.2.1).
    fn hear(&mut self) -> Result<Reply> {
        /// More than any honest server says.
        const LINES: usize = 100;
        const LINE: u64 = 2_048;
        let mut text = String::new();
        for _ in 0..LINES {
            let mut line = String::new();
            let length = (&mut self.stream).take(LINE).read_line(&mut line);
            ensure!(length.context("waiting for a reply")? > 0, "the server hung up");
            text.push_str(line.get(4..).unwrap_or_default().trim_end());
            if line.as_bytes().get(3) != Some(&b'-') {
                let code = line.get(..3).and_then(|code| code.parse().ok());
                return Ok(Reply { code: code.context("no reply of SMTP")?, text });
            }
            text.push(' ');
        }
        Err(anyhow!("a reply without end"))
    }

    /// Sends a message in a transaction of its own: the reply that ended it.
    fn deliver(&mut self, envelope: &Envelope) -> Result<Reply> {
        let commands = [
            (format!("MAIL FROM:<{}>", envelope.from), 2),
            (format!("RCPT TO:<{}>", envelope.to), 2),
            ("DATA".to_owned(), 3),
        ];
        for (command, class) in commands {
            let reply = self.say(&command)?;
            if reply.code / 100 != class {
                return Ok(reply);
            }
        }
        self.write(&stuffed(&envelope.letter))?;
        let reply = self.hear()?;
        // It is taken or not: what a server that stops just now says to this is no matter.
        let _ = self.say("QUIT");
        Ok(reply)
    }
}

/// A message as DATA has it, with its end (RFC 5321 section 4.5.2).
fn stuffed(letter: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(letter.len() + 64);
    for line in letter.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            bytes.push(b'.');
        }
        bytes.extend_from_slice(line);
    }
    if !bytes.ends_with(b"\n") {
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b".\r\n");
    bytes
}

/// Sends a message that was to be sent at that time.
fn send(target: SocketAddrV4, envelope: &Envelope, due: Instant, patience: Duration) -> Heard {
    let told = Dialogue::open(envelope.source, target, patience).and_then(|opened| match opened {
        Ok(mut dialogue) => dialogue.deliver(envelope),
        Err(reply) => Ok(reply),
    });
    let took = due.elapsed();
    match told {
        Ok(Reply { code, text }) => Heard { code, text, took },
        Err(error) => Heard { code: 0, text: format!("{error:#}"), took },
    }
}

/// How a crowd sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) target: SocketAddrV4,
    /// Messages a second, by all of them.
    pub(super) rate: f64,
    /// Messages in all; until they are stopped otherwise.
    pub(super) messages: Option<u64>,
    /// How many can be under way at once. With more than that they are late, which counts.
    pub(super) at_once: usize,
    pub(super) core: usize,
}

/// How long a message may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Senders. They end when dropped.
pub(super) struct Crowd {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
}

struct Shared {
    pace: Pace,
    begun: Instant,
    stopped: AtomicBool,
    next: AtomicU64,
    write: Box<dyn Fn(u64) -> Envelope + Send + Sync>,
    heard: Mutex<Vec<Heard>>,
}

impl Crowd {
    /// Starts them; `write` makes the message of a number.
    pub(super) fn start(
        place: &Namespace,
        pace: Pace,
        write: impl Fn(u64) -> Envelope + Send + Sync + 'static,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            pace,
            begun: Instant::now(),
            stopped: AtomicBool::new(false),
            next: AtomicU64::new(0),
            write: Box::new(write),
            heard: Mutex::new(Vec::new()),
        });
        let mut crowd = Self { shared, threads: Vec::new() };
        for _ in 0..pace.at_once {
            let shared = Arc::clone(&crowd.shared);
            let thread = place.thread("sender", move || {
                cpu::pin(0, shared.pace.core)?;
                shared.work();
                Ok(())
            });
            crowd.threads.push(thread?);
        }
        Ok(crowd)
    }

    /// Waits until all messages are sent: what was heard, in no order.
    pub(super) fn wait(mut self) -> Result<Vec<Heard>> {
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow!("a sender panicked"))??;
        }
        Ok(std::mem::take(&mut *self.shared.heard.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Has no more messages begun, and waits for those that are under way.
    pub(super) fn stop(self) -> Result<Vec<Heard>> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.wait()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self) {
        while !self.stopped.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if self.pace.messages.is_some_and(|last| number >= last) {
                return;
            }
            let due = self.begun + Duration::from_secs_f64(number as f64 / self.pace.rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            let envelope = (self.write)(number);
            let heard = send(self.pace.target, &envelope, due, PATIENCE);
            self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(heard);
        }
    }
}

/// The share of messages that were taken; NaN of none.
pub(super) fn taken(heard: &[Heard]) -> f64 {
    heard.iter().filter(|heard| heard.is_taken()).count() as f64 / heard.len() as f64
}

/// What of all was heard within that many milliseconds, of messages that were taken.
pub(super) fn millis(heard: &[Heard], share: f64) -> f64 {
    let of_taken = heard.iter().filter(|heard| heard.is_taken());
    let mut took: Vec<f64> = of_taken.map(|heard| heard.took.as_secs_f64() * 1e3).collect();
    took.sort_by(f64::total_cmp);
    quantile(&took, share)
}

/// What legitimate senders felt: how many of their messages were taken, and how soon, beside a quiet time.
pub(super) fn felt(place: &str, heard: &[Heard], quiet: Option<&[Heard]>) -> Vec<Row> {
    let share = Row::plain(format!("{place}.honest.taken"), taken(heard) * 100.0, "%");
    let p99 = millis(heard, 0.99);
    let mut rows = vec![share, Row::plain(format!("{place}.honest.p99"), p99, "ms")];
    if let (Some(quiet), Some(row)) = (quiet, rows.last_mut()) {
        row.against = Some("attacks.quiet.honest.p99".to_owned());
        row.ratio = Some(p99 / millis(quiet, 0.99));
    }
    if let Some(first) = heard.iter().find(|heard| !heard.is_taken()) {
        eprintln!("{place}: an honest sender heard {} {}", first.code, first.text);
    }
    rows
}

/// What is added to what senders wait for, which has a budget.
pub(super) fn added(id: &str, value: f64, budget: f64) -> Row {
    within(Row::plain(id, value, "ms"), budget)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_ended_and_dots_are_doubled() {
        for (letter, expected) in [
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".a\r\n..\r\nb.\r\n", "..a\r\n...\r\nb.\r\n.\r\n"),
            ("", "\r\n.\r\n"),
        ] {
            assert_eq!(stuffed(letter.as_bytes()), expected.as_bytes(), "{letter:?}");
        }
    }

    #[test]
    fn what_was_felt_is_of_those_whose_mail_was_taken() {
        let heard =
            |code, millis| Heard { code, text: String::new(), took: Duration::from_millis(millis) };
        let heard = [heard(250, 10), heard(250, 20), heard(421, 500), heard(0, 9_000)];
        assert_eq!((taken(&heard), millis(&heard, 0.5), millis(&heard, 0.99)), (0.5, 10.0, 20.0));
        let rows = felt("attacks.x", &heard, Some(&heard[..1]));
        assert_eq!((rows[0].value, rows[1].value, rows[1].ratio), (50.0, 20.0, Some(2.0)));
        assert!(taken(&[]).is_nan());
    }
}
