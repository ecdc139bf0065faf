//! Clients that say what a test wants, line by line.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long anything may take that should happen at once.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// A connection to a server that speaks in lines.
pub(crate) struct Talk(BufReader<TcpStream>);

impl Talk {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    /// A connection that is greeted and has said `EHLO`.
    pub(crate) async fn smtp(address: SocketAddr) -> Self {
        let mut talk = Self::to(address).await;
        assert!(talk.hear().await.starts_with("220 "));
        assert!(talk.say("EHLO client.example.org").await.starts_with("250 "));
        talk
    }

    /// A POP3 connection that is logged in.
    pub(crate) async fn pop3(address: SocketAddr, user: &str, password: &str) -> Self {
        let mut talk = Self::to(address).await;
        assert!(talk.line().await.unwrap().starts_with("+OK"));
        assert!(talk.ask(&format!("USER {user}")).await.starts_with("+OK"));
        let answer = talk.ask(&format!("PASS {password}")).await;
        assert!(answer.starts_with("+OK"), "{answer}");
        talk
    }

    pub(crate) async fn send(&mut self, text: &str) {
        let _ = self.0.get_mut().write_all(text.as_bytes()).await;
    }

    /// A line; nothing if the server is gone.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match timeout(LONG, self.0.read_line(&mut line)).await.expect("an answer") {
            Ok(octets) if octets > 0 => Some(line.trim_end().to_owned()),
            _ => None,
        }
    }

    /// The last line of an SMTP reply; empty if the server is gone.
    pub(crate) async fn hear(&mut self) -> String {
        loop {
            match self.line().await {
                None => return String::new(),
                Some(line) if line.as_bytes().get(3) == Some(&b'-') => {}
                Some(line) => return line,
            }
        }
    }

    pub(crate) async fn say(&mut self, command: &str) -> String {
        self.send(&format!("{command}\r\n")).await;
        self.hear().await
    }

    /// A command that has an answer of one line.
    pub(crate) async fn ask(&mut self, command: &str) -> String {
        self.send(&format!("{command}\r\n")).await;
        self.line().await.unwrap_or_default()
    }

    /// A command that has an answer of many lines, those behind the first.
    pub(crate) async fn ask_for_lines(&mut self, command: &str) -> Vec<String> {
        let first = self.ask(command).await;
        assert!(first.starts_with("+OK"), "{command}: {first}");
        let mut lines = Vec::new();
        loop {
            match self.line().await.expect("a line").as_str() {
                "." => return lines,
                line => lines.push(line.strip_prefix('.').unwrap_or(line).to_owned()),
            }
        }
    }

    /// The replies to `MAIL`, to each `RCPT`, and to the message if anybody is to get it.
    pub(crate) async fn mail(&mut self, from: &str, to: &[&str], message: &str) -> Vec<String> {
        let mut replies = vec![self.say(&format!("MAIL FROM:<{from}>")).await];
        for to in to {
            replies.push(self.say(&format!("RCPT TO:<{to}>")).await);
        }
        if !replies.iter().skip(1).any(|reply| reply.starts_with("250 ")) {
            self.say("RSET").await;
            return replies;
        }
        let go = self.say("DATA").await;
        if !go.starts_with("354 ") {
            replies.push(go);
            return replies;
        }
        self.send(&format!("{message}\r\n.\r\n")).await;
        replies.push(self.hear().await);
        replies
    }
}

/// Waits until something holds. What never comes fails, after a time that no machine needs.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("it never came: {what}"));
}
