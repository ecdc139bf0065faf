//! A server with mailboxes, for as many sessions as there are, by IMAP and POP3; and one that is lost in the middle.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use muralla_mail_import::Protocol;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// A message there.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) uid: u32,
    pub(crate) flags: &'static str,
    pub(crate) text: String,
}

/// A folder there.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox {
    pub(crate) name: &'static str,
    pub(crate) validity: u32,
    pub(crate) letters: Vec<Letter>,
}

impl Mailbox {
    pub(crate) fn new(name: &'static str, messages: u32) -> Self {
        let mut folder = Self { name, validity: 0x4d2b_ad5c, letters: Vec::new() };
        for _ in 0..messages {
            folder.add();
        }
        folder
    }

    /// One more. Every third holds the same.
    pub(crate) fn add(&mut self) {
        let number = self.letters.last().map_or(0, |last| last.uid) + 1;
        let text = if number.is_multiple_of(3) { 0 } else { number };
        let text = format!("Subject: {} {text}\r\n\r\n{}\r\n", self.name, "long ".repeat(20));
        let flags = if number.is_multiple_of(2) { "\\Seen" } else { "" };
        self.letters.push(Letter { uid: number, flags, text });
    }

    /// What POP3 calls a message, as Dovecot does.
    pub(crate) fn uidl(&self, letter: &Letter) -> String {
        format!("{:08x}{:08x}", letter.uid, self.validity)
    }
}

/// What is there, and what becomes of it.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The first is the Inbox.
    pub(crate) boxes: Vec<Mailbox>,
    /// Messages that were given.
    pub(crate) given: usize,
    /// After so many more, the connection is cut.
    pub(crate) left: Option<usize>,
    /// Before each message by IMAP, so much time passes.
    pub(crate) pause: Option<Duration>,
}

/// The server.
#[derive(Clone, Debug)]
pub(crate) struct House {
    state: Arc<Mutex<State>>,
    pub(crate) imap: SocketAddr,
    pub(crate) pop3: SocketAddr,
}

impl House {
    pub(crate) async fn open(boxes: Vec<Mailbox>) -> Self {
        let state = Arc::new(Mutex::new(State { boxes, ..State::default() }));
        let imap = listen(Arc::clone(&state), Protocol::Imap).await;
        let pop3 = listen(Arc::clone(&state), Protocol::Pop3).await;
        Self { state, imap, pop3 }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// How many were given since this was asked last.
    pub(crate) fn given(&self) -> usize {
        std::mem::take(&mut self.state().given)
    }
}

async fn listen(state: Arc<Mutex<State>>, protocol: Protocol) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                match protocol {
                    Protocol::Imap => imap(stream, &state).await,
                    Protocol::Pop3 => pop3(stream, &state).await,
                }
            });
        }
    });
    address
}

/// Takes note of a message that is given; nothing if the connection is to be cut instead.
fn give(state: &Mutex<State>) -> Option<()> {
    let mut state = state.lock().unwrap();
    if let Some(left) = &mut state.left {
        *left = left.checked_sub(1)?;
    }
    state.given += 1;
    Some(())
}

async fn imap(stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"* OK [CAPABILITY IMAP4rev1] hello\r\n").await.ok()?;
    let mut open = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let (tag, command) = line.trim_end().split_once(' ')?;
        let mut answer = Vec::new();
        let boxes = state.lock().unwrap().boxes.clone();
        if command == "LIST \"\" \"*\"" {
            for one in &boxes {
                answer.extend(format!("* LIST () \"/\" \"{}\"\r\n", one.name).into_bytes());
            }
        } else if let Some(name) = command.strip_prefix("EXAMINE ") {
            open = boxes.iter().position(|one| one.name == name.trim_matches('"'))?;
            let (there, validity) = (boxes[open].letters.len(), boxes[open].validity);
            answer.extend(
                format!("* {there} EXISTS\r\n* OK [UIDVALIDITY {validity}] .\r\n").into_bytes(),
            );
        } else if command == "UID FETCH 1:* (UID RFC822.SIZE)" {
            for (at, letter) in boxes[open].letters.iter().enumerate() {
                let (seq, uid, size) = (at + 1, letter.uid, letter.text.len());
                answer.extend(
                    format!("* {seq} FETCH (UID {uid} RFC822.SIZE {size})\r\n").into_bytes(),
                );
            }
        } else if let Some(rest) = command.strip_prefix("UID FETCH ") {
            let set = rest.split(' ').next()?;
            for (at, letter) in boxes[open].letters.iter().enumerate() {
                if !is_in(letter.uid, set) {
                    continue;
                }
                let pause = state.lock().unwrap().pause;
                if let Some(pause) = pause {
                    sleep(pause).await;
                }
                if give(state).is_none() {
                    stream.get_mut().write_all(&answer).await.ok()?;
                    return None;
                }
                let Letter { uid, flags, text } = letter;
                answer.extend(
                    format!(
                        "* {} FETCH (UID {uid} FLAGS ({flags}) INTERNALDATE \"01-Jan-2020 00:00:{:02} +0000\" \
                         BODY[] {{{}}}\r\n{text})\r\n",
                        at + 1,
                        uid % 60,
                        text.len()
                    )
                    .into_bytes(),
                );
            }
        }
        answer.extend(format!("{tag} OK [CAPABILITY IMAP4rev1] done\r\n").into_bytes());
        stream.get_mut().write_all(&answer).await.ok()?;
    }
}

fn is_in(uid: u32, set: &str) -> bool {
    set.split(',').any(|range| {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        (first.parse().unwrap()..=last.parse().unwrap()).contains(&uid)
    })
}

async fn pop3(stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"+OK hello\r\n").await.ok()?;
    let inbox = state.lock().unwrap().boxes.first()?.clone();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let mut answer = String::from("+OK\r\n");
        let list = |what: fn(&Mailbox, &Letter) -> String| -> String {
            let lines = inbox.letters.iter().enumerate();
            let lines = lines.map(|(at, one)| format!("{} {}\r\n", at + 1, what(&inbox, one)));
            lines.chain([".\r\n".to_owned()]).collect()
        };
        match line.trim_end() {
            "CAPA" => answer.push_str("UIDL\r\nPIPELINING\r\n.\r\n"),
            "LIST" => answer.push_str(&list(|_, letter| letter.text.len().to_string())),
            "UIDL" => answer.push_str(&list(Mailbox::uidl)),
            line => {
                if let Some(number) = line.strip_prefix("RETR ") {
                    give(state)?;
                    let number: usize = number.parse().unwrap();
                    answer.push_str(&inbox.letters[number - 1].text);
                    answer.push_str(".\r\n");
                }
            }
        }
        stream.get_mut().write_all(answer.as_bytes()).await.ok()?;
    }
}
