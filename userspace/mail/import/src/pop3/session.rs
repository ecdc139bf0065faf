//! A session with a POP3 server.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use tokio::time::Instant;

use super::replies::{Lines, Reply};
use crate::error::RemoteError;
use crate::location::ServerLocation;
use crate::options::{Options, Waits};
use crate::talk::Talk;

/// Bytes of a list of what the server can do.
const CAPABILITIES: usize = 64 << 10;

/// Longest command, in bytes: RFC 2449 section 4.
const LONGEST_COMMAND: usize = 255;

/// A session. After an error nothing more can be said in it.
pub(crate) struct Session {
    talk: Talk,
    /// Lines of `CAPA`, in capitals.
    capabilities: BTreeSet<String>,
    pub(crate) waits: Waits,
}

impl Session {
    /// Calls a server and logs in.
    pub(crate) async fn open(
        location: &ServerLocation,
        options: &Options,
    ) -> Result<Self, RemoteError> {
        let mut talk = Talk::connect(location, options).await?;
        if location.implicit_tls {
            talk.secure(location, options).await?;
        }
        let waits = options.waits;
        let mut session = Self { talk, capabilities: BTreeSet::new(), waits };
        let greeting = session.reply(waits.greeting, "its greeting").await?;
        session.has_to("its greeting", greeting)?;
        session.learn().await?;
        if !session.talk.is_secure() {
            session.start_tls(location, options).await?;
        }
        session.log_in(options).await?;
        // It may say more to who is logged in.
        session.learn().await?;
        Ok(session)
    }

    /// Whether it says that it can do something; `name` is in capitals.
    pub(crate) fn can(&self, name: &str) -> bool {
        self.capabilities.contains(name)
    }

    /// Whether several commands may be said at once (RFC 2449 section 6.6).
    pub(crate) fn pipelines(&self) -> bool {
        self.can("PIPELINING")
    }

    /// The lines of an answer; nothing if the command is refused.
    pub(crate) async fn list(
        &mut self,
        command: &str,
        what: &'static str,
        most: usize,
        wait: Duration,
    ) -> Result<Option<Bytes>, RemoteError> {
        self.say(format!("{command}\r\n").as_bytes(), what).await?;
        match self.reply(wait, what).await? {
            Reply::Ok => Ok(Some(self.lines(most, wait, what).await?)),
            Reply::Err { may_pass: true, text } => Err(RemoteError::Busy(text)),
            Reply::Err { .. } => Ok(None),
            Reply::Go => Err(out_of_turn()),
        }
    }

    pub(crate) async fn say(&mut self, text: &[u8], what: &'static str) -> Result<(), RemoteError> {
        self.talk.say(text, self.waits.command, what).await
    }

    pub(crate) async fn reply(
        &mut self,
        wait: Duration,
        what: &'static str,
    ) -> Result<Reply, RemoteError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(reply) = Reply::take(&mut self.talk.input)? {
                return Ok(reply);
            }
            self.talk.hear(deadline, what).await?;
        }
    }

    pub(crate) async fn lines(
        &mut self,
        most: usize,
        wait: Duration,
        what: &'static str,
    ) -> Result<Bytes, RemoteError> {
        let deadline = Instant::now() + wait;
        let mut lines = Lines::new(most);
        loop {
            if let Some(lines) = lines.take(&mut self.talk.input)? {
                return Ok(lines);
            }
            self.talk.hear(deadline, what).await?;
        }
    }

    /// Hangs up without `QUIT`: a session that ends so removes nothing (RFC 1939 section 6), whatever the server makes of messages that
    /// were fetched (`EXPIRE 0` of RFC 2449 section 6.7).
    pub(crate) async fn close(mut self) {
        self.talk.hang_up().await;
    }

    async fn ask(&mut self, command: &str, what: &'static str) -> Result<Reply, RemoteError> {
        self.say(format!("{command}\r\n").as_bytes(), what).await?;
        self.reply(self.waits.command, what).await
    }

    async fn learn(&mut self) -> Result<(), RemoteError> {
        let wait = self.waits.command;
        let lines = self.list("CAPA", "what it can do", CAPABILITIES, wait).await?;
        let lines = lines.unwrap_or_default();
        self.capabilities = String::from_utf8_lossy(&lines)
            .lines()
            .map(|line| line.trim().to_ascii_uppercase())
            .collect();
        Ok(())
    }

    /// RFC 2595 section 4. Servers without `CAPA` are asked all the same.
    async fn start_tls(
        &mut self,
        location: &ServerLocation,
        options: &Options,
    ) -> Result<(), RemoteError> {
        if self.capabilities.is_empty() || self.capabilities.contains("STLS") {
            match self.ask("STLS", "TLS").await? {
                Reply::Ok => {
                    self.talk.secure(location, options).await?;
                    // What it said before, somebody else may have said.
                    return self.learn().await;
                }
                Reply::Err { .. } => {}
                Reply::Go => return Err(out_of_turn()),
            }
        }
        if options.insecure { Ok(()) } else { Err(RemoteError::NoTls) }
    }

    async fn log_in(&mut self, options: &Options) -> Result<(), RemoteError> {
        let login = &options.login;
        if !login.is_clean() {
            return Err(RemoteError::Unsayable);
        }
        let has_plain = self.capabilities.iter().any(|line| {
            let mut words = line.split_ascii_whitespace();
            words.next() == Some("SASL") && words.any(|word| word == "PLAIN")
        });
        if has_plain {
            return self.log_in_plain(&login.sasl()).await;
        }
        let what = "the login";
        let reply = self.ask(&format!("USER {}", login.plain()), what).await?;
        self.let_in(reply)?;
        let reply = self.ask(&format!("PASS {}", login.password), what).await?;
        self.let_in(reply)
    }

    async fn log_in_plain(&mut self, response: &[u8]) -> Result<(), RemoteError> {
        let (what, response) = ("the login", BASE64.encode(response));
        let command = format!("AUTH PLAIN {response}");
        let reply = if command.len() + 2 <= LONGEST_COMMAND {
            self.ask(&command, what).await?
        } else {
            match self.ask("AUTH PLAIN", what).await? {
                Reply::Go => self.ask(&response, what).await?,
                reply => reply,
            }
        };
        self.let_in(reply)
    }

    fn let_in(&self, reply: Reply) -> Result<(), RemoteError> {
        match reply {
            Reply::Ok => Ok(()),
            Reply::Err { text, may_pass: true } => Err(RemoteError::Busy(text)),
            Reply::Err { text, .. } => Err(RemoteError::Login(text)),
            Reply::Go => Err(out_of_turn()),
        }
    }

    fn has_to(&self, what: &'static str, reply: Reply) -> Result<(), RemoteError> {
        match reply {
            Reply::Ok => Ok(()),
            Reply::Err { text, may_pass: true } => Err(RemoteError::Busy(text)),
            Reply::Err { text, .. } => Err(RemoteError::Refused { what, text }),
            Reply::Go => Err(out_of_turn()),
        }
    }
}

pub(crate) const fn out_of_turn() -> RemoteError {
    RemoteError::Malformed("it waits for more where there is no more")
}
