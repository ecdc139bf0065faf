//! Messages with numbers, sent as other mail servers send them: again and again until somebody takes them. What was promised can be
//! counted afterwards, one by one.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::clients::connect_from;
use crate::cpu::pin;
use crate::namespace::Namespace;

/// Letters that are sent under numbers: the same number is always the same message.
#[derive(Debug)]
pub struct Letters {
    run: u64,
    letters: Vec<Vec<u8>>,
}

/// What a message that was fetched is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Recognised {
    /// Its number.
    pub number: u64,
    /// Whether it is what was sent, every byte of it; what servers wrote above it is theirs.
    pub intact: bool,
}

impl Letters {
    /// Letters with lines that end in CRLF, taken in turn. `run` tells these from others of the same numbers.
    ///
    /// # Errors
    /// When there are none.
    pub fn new(run: u64, letters: impl IntoIterator<Item = Vec<u8>>) -> Result<Self> {
        let letters: Vec<Vec<u8>> = letters.into_iter().map(|letter| without_id(&letter)).collect();
        ensure!(!letters.is_empty(), "there are no letters to send");
        Ok(Self { run, letters })
    }

    /// The message of a number.
    pub fn message(&self, number: u64) -> Vec<u8> {
        let at = (number % self.letters.len().max(1) as u64) as usize;
        let mut message = format!("{ID}<{number}.{:016x}@{HOST}>\r\n", self.run).into_bytes();
        message.extend_from_slice(self.letters.get(at).map_or(&[][..], Vec::as_slice));
        message
    }

    /// Which of them a message is that was fetched; nothing if it is none.
    pub fn recognise(&self, fetched: &[u8]) -> Option<Recognised> {
        let id = fetched
            .split(|&byte| byte == b'\n')
            .take_while(|line| !matches!(line, [] | [b'\r']))
            .find_map(|line| std::str::from_utf8(line).ok()?.strip_prefix(ID))?;
        let (number, rest) = id.trim().strip_prefix('<')?.split_once('.')?;
        let (run, host) = rest.strip_suffix('>')?.split_once('@')?;
        if u64::from_str_radix(run, 16) != Ok(self.run) || host != HOST {
            return None;
        }
        let number = number.parse().ok()?;
        Some(Recognised { number, intact: fetched.ends_with(&self.message(number)) })
    }
}

const ID: &str = "Message-ID: ";
const HOST: &str = "client.example";

/// A letter without the line that says which one it is.
fn without_id(letter: &[u8]) -> Vec<u8> {
    let mut in_header = true;
    let lines = letter.split_inclusive(|&byte| byte == b'\n').filter(|line| {
        in_header &= *line != b"\r\n";
        !(in_header && line.starts_with(ID.as_bytes()))
    });
    lines.flatten().copied().collect()
}

/// How senders behave.
#[derive(Clone, Debug)]
pub struct Options {
    /// Servers that are as good as each other: each sender begins with another one, and goes on to the next when one does not
    /// take a message.
    pub targets: Vec<SocketAddrV4>,
    /// Addresses that the senders have, in turn.
    pub sources: Vec<Ipv4Addr>,
    /// Senders, with a connection each.
    pub senders: usize,
    /// How long a sender rests after each message.
    pub pause: Duration,
    /// Messages in all; as many as can be sent until they are stopped, if there is none.
    pub messages: Option<u64>,
    /// The number of the first one.
    pub first: u64,
    /// What is sent.
    pub letters: Arc<Letters>,
    /// Who gets it: one after the other of the addresses from `1@domain` to `users@domain`.
    pub users: u32,
    /// Their domain.
    pub domain: String,
    /// The core that the senders run on.
    pub core: usize,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sent {
    /// Its number.
    pub number: u64,
    /// When it was acknowledged, counted from the start; never, perhaps.
    pub acknowledged: Option<Duration>,
    /// From the first attempt to that, or to the end of all attempts.
    pub took: Duration,
    /// How often it was tried.
    pub attempts: u32,
    /// How often it was sent to its end and nothing was said to it: who took it then, and could not say so, has it as well.
    pub unanswered: u32,
}

/// What became of all messages.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Those that have an end.
    pub sent: Vec<Sent>,
    /// How many were refused for good.
    pub refused: u64,
    /// What was said last by who did not take a message, for whatever reason.
    pub complaint: Option<String>,
    /// From the start on.
    pub elapsed: Duration,
}

/// Senders. They end when dropped, as soon as what is under way has an end.
#[derive(Debug)]
pub struct Numbered {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    begun: Instant,
    next: AtomicU64,
    acknowledged: AtomicU64,
    stopped: AtomicBool,
    outcome: Mutex<Outcome>,
}

/// How long a message is tried. Whoever does not take mail for longer is down.
const PATIENCE: Duration = Duration::from_secs(240);

/// Between two attempts.
const RETRY: Duration = Duration::from_millis(250);

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(3);

impl Numbered {
    /// Starts senders in a namespace.
    ///
    /// # Errors
    /// When there is nobody to send to, or the namespace can't be entered.
    pub fn start(namespace: &Namespace, options: Options) -> Result<Self> {
        ensure!(
            !options.targets.is_empty() && !options.sources.is_empty() && options.users > 0,
            "senders need servers, addresses and recipients"
        );
        let senders = options.senders;
        let shared = Arc::new(Shared {
            begun: Instant::now(),
            next: AtomicU64::new(options.first),
            acknowledged: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            outcome: Mutex::default(),
            options,
        });
        let mut numbered = Self { shared, threads: Vec::new() };
        for seat in 0..senders {
            let shared = Arc::clone(&numbered.shared);
            let thread = namespace.thread("sender", move || shared.work(seat))?;
            numbered.threads.push(thread);
        }
        Ok(numbered)
    }

    /// Messages that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.shared.begun.elapsed()
    }

    /// Whether there is nothing left to send.
    pub fn is_over(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Begins no message any more, waits until those under way have an end, and tells what became of all.
    ///
    /// # Errors
    /// When a sender could not run at all.
    pub fn stop(mut self) -> Result<Outcome> {
        self.join()?;
        let mut outcome = std::mem::take(&mut *self.shared.outcome());
        outcome.elapsed = self.elapsed();
        outcome.sent.sort_unstable_by_key(|sent| sent.number);
        Ok(outcome)
    }

    fn join(&mut self) -> Result<()> {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let mut ended = Ok(());
        for thread in self.threads.drain(..) {
            let joined = thread.join().map_err(|_| anyhow!("a sender panicked"));
            ended = ended.and(joined.and_then(|result| result));
        }
        ended
    }
}

impl Drop for Numbered {
    fn drop(&mut self) {
        // Its errors were for `stop`.
        let _ = self.join();
    }
}

/// Why a message was not taken.
#[derive(Debug)]
enum Failure {
    /// Not now, or not by this one.
    NotTaken(anyhow::Error),
    /// Never.
    Refused(anyhow::Error),
    /// It is not known whether it was.
    Unanswered(anyhow::Error),
}

impl Shared {
    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let Options { first, messages, .. } = &self.options;
        messages.is_none_or(|messages| number - first < messages).then_some(number)
    }

    fn work(&self, seat: usize) -> Result<()> {
        pin(0, self.options.core)?;
        let source = self.options.sources.iter().cycle().nth(seat).context("no address")?;
        let mut sender = Sender { source: *source, turn: seat, dialogue: None };
        while !self.stopped.load(Ordering::Relaxed) {
            let Some(number) = self.number() else { break };
            let sent = self.send(&mut sender, number);
            self.outcome().sent.push(sent);
            thread::sleep(self.options.pause);
        }
        if let Some(mut dialogue) = sender.dialogue.take() {
            // Everything is said.
            let _ = dialogue.say("QUIT");
        }
        Ok(())
    }

    /// Sends a message until it has an end.
    fn send(&self, sender: &mut Sender, number: u64) -> Sent {
        let Options { targets, users, domain, letters, .. } = &self.options;
        let recipient = format!("{}@{domain}", number % u64::from(*users) + 1);
        let wire = dotted(&letters.message(number));
        let begun = Instant::now();
        let mut sent =
            Sent { number, acknowledged: None, took: Duration::ZERO, attempts: 0, unanswered: 0 };
        loop {
            sent.attempts += 1;
            let attempt = sender.attempt(targets, &recipient, &wire);
            sent.took = begun.elapsed();
            let complaint = match attempt {
                Ok(()) => {
                    sent.acknowledged = Some(self.begun.elapsed());
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                    return sent;
                }
                Err(Failure::NotTaken(why)) => why,
                Err(Failure::Unanswered(why)) => {
                    sent.unanswered += 1;
                    why
                }
                Err(Failure::Refused(why)) => {
                    let mut outcome = self.outcome();
                    outcome.refused += 1;
                    outcome.complaint = Some(format!("{why:#}"));
                    return sent;
                }
            };
            self.outcome().complaint = Some(format!("{complaint:#}"));
            if sent.took > PATIENCE {
                return sent;
            }
            thread::sleep(RETRY);
        }
    }
}

/// A sender, and the connection that it keeps for the next message.
struct Sender {
    source: Ipv4Addr,
    turn: usize,
    dialogue: Option<Dialogue>,
}

impl Sender {
    fn attempt(
        &mut self,
        targets: &[SocketAddrV4],
        recipient: &str,
        wire: &[u8],
    ) -> Result<(), Failure> {
        let attempted = self.try_attempt(targets, recipient, wire);
        if attempted.is_err() {
            // To the next server, by a new connection.
            self.dialogue = None;
            self.turn += 1;
        }
        attempted
    }

    fn try_attempt(
        &mut self,
        targets: &[SocketAddrV4],
        recipient: &str,
        wire: &[u8],
    ) -> Result<(), Failure> {
        let dialogue = match &mut self.dialogue {
            Some(dialogue) => dialogue,
            none => {
                let target = targets.iter().cycle().nth(self.turn % targets.len().max(1));
                let target = target.context("nobody to send to").map_err(Failure::NotTaken)?;
                let dialogue = Dialogue::open(self.source, *target).map_err(Failure::NotTaken)?;
                none.insert(dialogue)
            }
        };
        dialogue.command("MAIL FROM:<sender@client.example>", 250)?;
        dialogue.command(&format!("RCPT TO:<{recipient}>"), 250)?;
        dialogue.command("DATA", 354)?;
        let sent = dialogue.write(wire).and_then(|()| dialogue.write(b".\r\n"));
        sent.context("the message").map_err(Failure::NotTaken)?;
        let code = dialogue.reply().context("after the message").map_err(Failure::Unanswered)?;
        expect(code, 250).map_err(|failure| match failure {
            Failure::NotTaken(why) => Failure::NotTaken(why.context("after the message")),
            other => other,
        })
    }
}

/// A connection with a server.
struct Dialogue {
    stream: BufReader<TcpStream>,
}

/// A reply of more lines, or of longer ones, is none of a server that means well (RFC 5321 section 4.5.3.1.5).
const MOST_LINES: usize = 64;
const LONGEST_LINE: u64 = 1_024;

impl Dialogue {
    fn open(source: Ipv4Addr, target: SocketAddrV4) -> Result<Self> {
        let deadline = Instant::now() + CONNECT;
        let stream = connect_from(source.into(), SocketAddr::V4(target), deadline)?;
        stream.set_read_timeout(Some(SILENCE)).context("setting a timeout")?;
        stream.set_write_timeout(Some(SILENCE)).context("setting a timeout")?;
        let mut dialogue = Self { stream: BufReader::new(stream) };
        for (command, wanted) in [(None, 220), (Some("EHLO client.example"), 250)] {
            if let Some(command) = command {
                dialogue.say(command)?;
            }
            let (code, text) = dialogue.reply()?;
            ensure!(code == wanted, "{target} says {text}");
        }
        Ok(dialogue)
    }

    fn command(&mut self, command: &str, wanted: u16) -> Result<(), Failure> {
        let reply = self.say(command).and_then(|()| self.reply());
        let reply = reply.with_context(|| command.to_owned()).map_err(Failure::NotTaken)?;
        expect(reply, wanted)
    }

    fn say(&mut self, command: &str) -> Result<()> {
        self.write(format!("{command}\r\n").as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).context("sending")
    }

    /// The code of a reply, and its last line.
    fn reply(&mut self) -> Result<(u16, String)> {
        for _ in 0..MOST_LINES {
            let mut line = Vec::new();
            let length = (&mut self.stream).take(LONGEST_LINE).read_until(b'\n', &mut line);
            ensure!(length.context("waiting for a reply")? > 0, "the server hung up");
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            let code = line.get(..3).and_then(|code| code.parse().ok());
            return Ok((code.with_context(|| format!("no reply: {line:?}"))?, line));
        }
        Err(anyhow!("a reply without an end"))
    }
}

fn expect((code, text): (u16, String), wanted: u16) -> Result<(), Failure> {
    match code {
        code if code == wanted => Ok(()),
        500..600 => Err(Failure::Refused(anyhow!("{text}"))),
        _ => Err(Failure::NotTaken(anyhow!("{text}"))),
    }
}

/// A message as it goes over the wire: lines that begin with a dot get another one (RFC 5321 section 4.5.2).
fn dotted(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn letters() -> Letters {
        let first = b"A: 1\r\nMessage-ID: <old@a.test>\r\n\r\nMessage-ID: <kept>\r\n.\r\n";
        Letters::new(7, [first.to_vec(), b"A: 2\r\n\r\nx\r\n".to_vec()]).unwrap()
    }

    #[test]
    fn a_number_is_a_message_that_is_recognised() {
        let letters = letters();
        let message = letters.message(4);
        assert_eq!(
            String::from_utf8_lossy(&message),
            "Message-ID: <4.0000000000000007@client.example>\r\nA: 1\r\n\r\nMessage-ID: <kept>\r\n.\r\n"
        );
        let fetched = [b"Return-Path: <>\r\nReceived: by x\r\n", message.as_slice()].concat();
        assert_eq!(letters.recognise(&fetched), Some(Recognised { number: 4, intact: true }));
        let short = &fetched[..fetched.len() - 3];
        assert_eq!(letters.recognise(short), Some(Recognised { number: 4, intact: false }));
        let other = Letters::new(8, [b"A: 2\r\n\r\nx\r\n".to_vec()]).unwrap();
        for strange in [other.message(4).as_slice(), b"A: 1\r\n\r\nx\r\n", b"", b"Message-ID: <"] {
            assert_eq!(letters.recognise(strange), None);
        }
        assert!(Letters::new(7, []).is_err());
    }

    #[test]
    fn dots_are_doubled() {
        assert_eq!(dotted(b".\r\na.\r\n..b\r\n"), b"..\r\na.\r\n...b\r\n");
    }

    #[test]
    fn codes_are_told_apart() {
        let said = |code| expect((code, String::new()), 250);
        assert!(said(250).is_ok());
        assert!(matches!(said(451), Err(Failure::NotTaken(_))));
        assert!(matches!(said(354), Err(Failure::NotTaken(_))));
        assert!(matches!(said(550), Err(Failure::Refused(_))));
    }

    /// A server that says these lines, each after a line was heard, or after a whole message; then it hangs up.
    fn server(replies: &'static [&'static str]) -> SocketAddrV4 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
        thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            let mut in_message = false;
            for (at, reply) in replies.iter().enumerate() {
                let mut line = String::new();
                while at > 0 && stream.read_line(&mut line).unwrap() > 0 && in_message {
                    if line == ".\r\n" {
                        break;
                    }
                    line.clear();
                }
                in_message = reply.starts_with("354");
                stream.get_mut().write_all(reply.as_bytes()).unwrap();
            }
        });
        address
    }

    #[test]
    fn what_was_not_answered_is_told_from_what_was_not_taken() {
        let attempt = |replies: &'static [&'static str]| {
            let mut sender = Sender { source: Ipv4Addr::LOCALHOST, turn: 0, dialogue: None };
            let attempted =
                sender.attempt(&[server(replies)], "1@bench.test", b"A: 1\r\n\r\nx\r\n");
            (attempted, sender.turn, sender.dialogue.is_some())
        };
        let good: &'static [&'static str] = &[
            "220 a\r\n",
            "250-a\r\n250 b\r\n",
            "250 ok\r\n",
            "250 ok\r\n",
            "354 go\r\n",
            "250 ok\r\n",
        ];
        assert!(matches!(attempt(good), (Ok(()), 0, true)));
        // It hears the message, and hangs up.
        let silent: &'static [&'static str] =
            &["220 a\r\n", "250 b\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", ""];
        assert!(matches!(attempt(silent), (Err(Failure::Unanswered(_)), 1, false)));
        assert!(matches!(attempt(&good[..4]), (Err(Failure::NotTaken(_)), 1, false)));
        let never: &'static [&'static str] =
            &["220 a\r\n", "250 b\r\n", "250 ok\r\n", "550 no\r\n"];
        assert!(matches!(attempt(never), (Err(Failure::Refused(_)), 1, false)));
        assert!(matches!(attempt(&["421 later\r\n"]), (Err(Failure::NotTaken(_)), 1, false)));
    }
}
