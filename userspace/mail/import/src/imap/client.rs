//! A session with an IMAP server: greeted, encrypted and logged in, and commands in it.

use std::time::Duration;

use bytes::Bytes;
use muralla_mail_store::frame::MOST;
use tokio::time::Instant;

use super::answers::{Answer, Capabilities, Done, End, greeting};
use super::exchange::{Command, Exchange, Step};
use super::frames::Frames;
use crate::error::RemoteError;
use crate::location::ServerLocation;
use crate::options::{Options, Waits};
use crate::talk::Talk;

/// Answers that may come to a command that has few.
const FEW: u64 = 1_000;

/// A session. After an error nothing more can be said in it.
pub(crate) struct Client {
    talk: Talk,
    frames: Frames,
    commands: u32,
    capabilities: Capabilities,
    waits: Waits,
}

/// How much a command may be answered with, and how long that may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Untagged answers.
    pub(crate) answers: u64,
    /// Time until it is done.
    pub(crate) wait: Duration,
}

impl Client {
    /// Calls a server and logs in.
    pub(crate) async fn open(
        location: &ServerLocation,
        options: &Options,
    ) -> Result<Self, RemoteError> {
        let mut talk = Talk::connect(location, options).await?;
        if location.implicit_tls {
            talk.secure(location, options).await?;
        }
        let mut client = Self {
            talk,
            frames: Frames::new(MOST),
            commands: 0,
            capabilities: Capabilities::default(),
            waits: options.waits,
        };
        let deadline = Instant::now() + options.waits.greeting;
        let frame = client.frame(deadline, "its greeting").await?;
        let (logged_in, capabilities) = greeting(&frame)?;
        client.learn(capabilities).await?;
        if !client.talk.is_secure() {
            if client.capabilities.has("STARTTLS") && !logged_in {
                client.start_tls(location, options).await?;
            } else if !options.insecure {
                // Who is logged in already can't begin TLS any more: somebody in between may want just that.
                return Err(RemoteError::NoTls);
            }
        }
        if !logged_in {
            client.log_in(options).await?;
        }
        Ok(client)
    }

    /// Whether the server can do something; `name` is in capitals.
    pub(crate) fn can(&self, name: &str) -> bool {
        self.capabilities.has(name)
    }

    /// Carries out a command that has to be carried out. `note` is told what comes meanwhile.
    pub(crate) async fn run(
        &mut self,
        command: Command,
        what: &'static str,
        limits: Limits,
        note: impl FnMut(Answer) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        let done = self.attempt(command, what, limits, note).await?;
        match done.end {
            End::Ok => Ok(()),
            End::No | End::Bad => Err(RemoteError::Refused { what, text: done.text }),
        }
    }

    /// Carries out a command, and tells how it ended.
    pub(crate) async fn attempt(
        &mut self,
        command: Command,
        what: &'static str,
        limits: Limits,
        mut note: impl FnMut(Answer) -> Result<(), RemoteError>,
    ) -> Result<Done, RemoteError> {
        self.commands += 1;
        let (mut exchange, first) = Exchange::begin(self.commands, command, limits.answers);
        let deadline = Instant::now() + limits.wait;
        self.talk.say(&first, self.waits.command, what).await?;
        loop {
            let frame = self.frame(deadline, what).await?;
            match exchange.hear(Answer::read(&frame))? {
                Step::Say(piece) => self.talk.say(&piece, self.waits.command, what).await?,
                Step::Note(answer) => note(answer)?,
                Step::Done(done) => return Ok(done),
            }
        }
    }

    /// A command with a short answer.
    pub(crate) const fn few(&self) -> Limits {
        Limits { answers: FEW, wait: self.waits.command }
    }

    /// Says good bye.
    pub(crate) async fn close(mut self) {
        let limits = Limits { answers: FEW, wait: Duration::from_secs(5) };
        // It ends with BYE, which is an error elsewhere.
        let _ = self.attempt(Command::new("LOGOUT"), "its farewell", limits, |_| Ok(())).await;
        self.talk.hang_up().await;
    }

    async fn frame(&mut self, deadline: Instant, what: &'static str) -> Result<Bytes, RemoteError> {
        loop {
            if let Some(frame) = self.frames.take(&mut self.talk.input)? {
                return Ok(frame);
            }
            self.talk.hear(deadline, what).await?;
        }
    }

    /// What the server said that it can do, or says when it is asked.
    async fn learn(&mut self, said: Option<Capabilities>) -> Result<(), RemoteError> {
        if let Some(said) = said {
            self.capabilities = said;
            return Ok(());
        }
        let mut found = Capabilities::default();
        self.run(Command::new("CAPABILITY"), "what it can do", self.few(), |answer| {
            if let Answer::Capabilities(capabilities) = answer {
                found = capabilities;
            }
            Ok(())
        })
        .await?;
        self.capabilities = found;
        Ok(())
    }

    /// RFC 3501 section 6.2.1.
    async fn start_tls(
        &mut self,
        location: &ServerLocation,
        options: &Options,
    ) -> Result<(), RemoteError> {
        let command = Command::new("STARTTLS");
        let done = self.attempt(command, "TLS", self.few(), |_| Ok(())).await?;
        if done.end != End::Ok {
            return if options.insecure { Ok(()) } else { Err(RemoteError::NoTls) };
        }
        self.talk.secure(location, options).await?;
        // What it said before, somebody else may have said.
        self.learn(None).await
    }

    async fn log_in(&mut self, options: &Options) -> Result<(), RemoteError> {
        let login = &options.login;
        if !login.is_clean() {
            return Err(RemoteError::Unsayable);
        }
        let command = if self.can("AUTH=PLAIN") {
            Command::plain(&login.sasl(), self.can("SASL-IR"))
        } else if self.can("LOGINDISABLED") {
            return Err(RemoteError::NoLogin);
        } else {
            let (user, password) = (login.plain(), login.password.as_bytes());
            Command::new("LOGIN ").string(user.as_bytes()).text(" ").string(password)
        };
        let mut found = None;
        let done = self.attempt(command, "the login", self.few(), |answer| {
            if let Answer::Capabilities(capabilities) = answer {
                found = Some(capabilities);
            }
            Ok(())
        });
        let done = done.await?;
        if done.end != End::Ok {
            return Err(RemoteError::Login(done.text));
        }
        self.learn(done.capabilities.or(found)).await
    }
}
