//! A connection to a server, greeted, encrypted and logged in as wanted.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use data_encoding::BASE64;
use muralla_mail_envelope::{Address, MailParameters, Recipient, Reply, ReversePath, TlsFacts};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::capabilities::Capabilities;
use super::error::ClientError;
use super::options::{Login, Options, Speaks, TlsPolicy};
use super::replies::Answer;
use super::talk::Talk;
use super::transaction::{self, Delivery};
use crate::tls::{self, DaneError, Trust};

/// A connection on which messages can be handed over.
#[derive(Debug)]
pub struct Connection<S> {
    pub(crate) talk: Talk<S>,
    pub(crate) options: Options,
    pub(crate) capabilities: Capabilities,
    /// Whether the server proved who it is.
    pub(crate) verified: bool,
    /// Whether a transaction may be open: `RSET` comes before the next.
    pub(crate) dirty: bool,
    /// Whether nothing more can be said.
    pub(crate) broken: bool,
    /// Transactions so far.
    pub(crate) sent: u32,
    downgraded: Option<String>,
}

impl Connection<TcpStream> {
    /// Calls a server. `host` is its name, as `MX` or the operator has it: what TLS asks for, and what a certificate has to prove.
    ///
    /// If TLS is opportunistic and does not come about, the server is called again without: [`Connection::downgraded`] says why.
    ///
    /// # Errors
    ///
    /// [`ClientError`] says what went wrong; nothing was handed over.
    pub async fn connect(
        address: SocketAddr,
        host: &str,
        options: &Options,
        trust: &Trust,
    ) -> Result<Self, ClientError> {
        let stream = call(address, options).await?;
        match Self::open(stream, host, options, trust).await {
            Err(ClientError::Tls(reason))
                if options.tls == TlsPolicy::Opportunistic && !options.implicit_tls =>
            {
                let options = Options { tls: TlsPolicy::Never, ..options.clone() };
                let stream = call(address, &options).await?;
                let mut connection = Self::open(stream, host, &options, trust).await?;
                connection.downgraded = Some(reason);
                Ok(connection)
            }
            other => other,
        }
    }
}

async fn call(address: SocketAddr, options: &Options) -> Result<TcpStream, ClientError> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let socket = socket.map_err(ClientError::Connect)?;
    if let Some(source) = options.source.filter(|source| source.is_ipv6() == address.is_ipv6()) {
        socket.bind(SocketAddr::new(source, 0)).map_err(ClientError::Connect)?;
    }
    let stream = timeout(options.waits.connect, socket.connect(address))
        .await
        .map_err(|_| ClientError::TimedOut("to take the call"))?
        .map_err(ClientError::Connect)?;
    // Commands are sent whole, and each of them is waited for.
    stream.set_nodelay(true).map_err(ClientError::Connect)?;
    Ok(stream)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// The same on a stream that somebody else made.
    ///
    /// # Errors
    ///
    /// As [`Connection::connect`]; with opportunistic TLS, [`ClientError::Tls`] is worth another try without.
    pub async fn open(
        stream: S,
        host: &str,
        options: &Options,
        trust: &Trust,
    ) -> Result<Self, ClientError> {
        let mut connection = Self {
            talk: Talk::new(stream),
            options: options.clone(),
            capabilities: Capabilities::default(),
            verified: false,
            dirty: false,
            broken: false,
            sent: 0,
            downgraded: None,
        };
        if options.implicit_tls {
            connection.secure(host, trust).await?;
        }
        let greeting = connection.talk.hear(options.waits.greeting, "to greet us").await?;
        if greeting.code != 220 {
            return Err(ClientError::Refused(greeting.reply()));
        }
        connection.hello().await?;
        if connection.tls().is_none() && options.tls != TlsPolicy::Never {
            connection.start_tls(host, trust).await?;
        }
        if let Some(login) = &options.login {
            connection.log_in(login).await?;
        }
        Ok(connection)
    }

    /// Hands a message over. The outcomes are in the order of the recipients, one for each.
    ///
    /// A recipient that is [`Delivered`](super::Outcome::Delivered) is the server's from now on. The message has to have CRLF
    /// for its line ends.
    pub async fn deliver(
        &mut self,
        from: &ReversePath,
        parameters: &MailParameters,
        recipients: &[Recipient],
        message: &[u8],
    ) -> Delivery {
        transaction::deliver(self, from, parameters, recipients, message).await
    }

    /// Asks whether mail for somebody is taken, and hands nothing over: what the server says of him, where the sender is nobody
    /// (RFC 5321 section 4.5.5).
    ///
    /// # Errors
    ///
    /// [`ClientError`] if it says nothing of him.
    pub async fn verify(&mut self, recipient: &Address) -> Result<Reply, ClientError> {
        transaction::verify(self, recipient).await
    }

    /// What the server offers.
    #[must_use]
    pub const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// How it is encrypted, if it is.
    #[must_use]
    pub fn tls(&self) -> Option<TlsFacts> {
        self.talk.wire.facts()
    }

    /// Whether the server proved that it is who it was called.
    #[must_use]
    pub const fn is_verified(&self) -> bool {
        self.verified
    }

    /// Why it is not encrypted although the server offered that.
    #[must_use]
    pub fn downgraded(&self) -> Option<&str> {
        self.downgraded.as_deref()
    }

    /// Whether another message can be handed over.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        !self.broken && self.capabilities.most_messages.is_none_or(|most| self.sent < most)
    }

    /// Whether it is still there, after it was not used for a while. Costs no round trip.
    pub async fn is_alive(&mut self) -> bool {
        self.is_reusable() && self.talk.is_quiet().await
    }

    /// Says good bye, and does not wait long for what comes back.
    pub async fn quit(mut self) {
        let wait = self.options.waits.quit;
        if !self.broken && self.talk.say(b"QUIT\r\n", wait, QUITTING).await.is_ok() {
            let _ = self.talk.hear(wait, QUITTING).await;
        }
        self.talk.hang_up(wait).await;
    }

    /// RFC 5321 section 3.2.
    async fn hello(&mut self) -> Result<(), ClientError> {
        let Options { speaks, name, waits, .. } = &self.options;
        let wait = waits.command;
        let verb = if *speaks == Speaks::Lmtp { "LHLO" } else { "EHLO" };
        let command = format!("{verb} {name}\r\n");
        let plain = format!("HELO {name}\r\n");
        let answer = self.talk.ask(command.as_bytes(), wait, GREETING).await?;
        if answer.is_positive() {
            self.capabilities = Capabilities::read(&answer.lines);
            return Ok(());
        }
        // Of before 1995. It has no extensions, and so no TLS.
        let old = matches!(answer.code, 500 | 502 | 504)
            && *speaks == Speaks::Smtp
            && !self.options.tls.is_required();
        if !old {
            return Err(ClientError::Refused(answer.reply()));
        }
        self.capabilities = Capabilities::default();
        let answer = self.talk.ask(plain.as_bytes(), wait, GREETING).await?;
        if answer.is_positive() { Ok(()) } else { Err(ClientError::Refused(answer.reply())) }
    }

    /// RFC 3207.
    async fn start_tls(&mut self, host: &str, trust: &Trust) -> Result<(), ClientError> {
        let required = self.options.tls.is_required();
        if !self.capabilities.start_tls {
            return if required { Err(ClientError::NoTls) } else { Ok(()) };
        }
        let wait = self.options.waits.command;
        let answer = self.talk.ask(b"STARTTLS\r\n", wait, "to start TLS").await?;
        if answer.code != 220 {
            return if required { Err(ClientError::NoTls) } else { Ok(()) };
        }
        // What came in the clear would be heard as if it had been said inside.
        if self.talk.has_more() {
            return Err(ClientError::Injected);
        }
        self.secure(host, trust).await?;
        // What it said before, somebody else may have said: section 4.2.
        self.hello().await
    }

    async fn secure(&mut self, host: &str, trust: &Trust) -> Result<(), ClientError> {
        let verified = matches!(self.options.tls, TlsPolicy::Verified | TlsPolicy::Dane(_));
        let (config, host) = match &self.options.tls {
            TlsPolicy::Dane(dane) => {
                let config = Trust::by_dane(Arc::clone(dane))
                    .map_err(|error| ClientError::Tls(error.to_string()))?;
                (config, dane.base())
            }
            policy => (trust.client_config(*policy == TlsPolicy::Verified), host),
        };
        let name = match ServerName::try_from(host.trim_end_matches('.').to_owned()) {
            Ok(name) => name,
            Err(_) if matches!(self.options.tls, TlsPolicy::Dane(_)) => {
                return Err(DaneError::Host(host.to_owned()).into());
            }
            Err(_) if verified => {
                return Err(ClientError::Tls(format!("no certificate can prove {host:?}")));
            }
            // Some name is needed, and nobody looks at it.
            Err(_) => ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into()),
        };
        let handshake = self.talk.wire.shake_hands(config, name);
        match timeout(self.options.waits.handshake, handshake).await {
            Ok(Ok(())) => {
                self.verified = verified;
                Ok(())
            }
            Ok(Err(error)) => match tls::refusal(&error) {
                Some(refused) => Err(refused.into()),
                None => Err(ClientError::Tls(error.to_string())),
            },
            Err(_) => Err(ClientError::Tls("the server took too long to start TLS".to_owned())),
        }
    }

    /// RFC 4954. A password is said to nobody who has not proved who he is, unless the operator wants that.
    async fn log_in(&mut self, login: &Login) -> Result<(), ClientError> {
        let wait = self.options.waits.command;
        let Login { user, password } = login;
        if self.tls().is_none() || !(self.capabilities.plain || self.capabilities.login) {
            return Err(ClientError::NoLogin);
        }
        let encoded = |text: &str| format!("{}\r\n", BASE64.encode(text.as_bytes()));
        let mut answer: Answer;
        if self.capabilities.plain {
            let command = format!("AUTH PLAIN {}", encoded(&format!("\0{user}\0{password}")));
            answer = self.talk.ask(command.as_bytes(), wait, LOGIN).await?;
        } else {
            answer = self.talk.ask(b"AUTH LOGIN\r\n", wait, LOGIN).await?;
            for response in [user, password] {
                if answer.code == 334 {
                    answer = self.talk.ask(encoded(response).as_bytes(), wait, LOGIN).await?;
                }
            }
        }
        if answer.code == 235 { Ok(()) } else { Err(ClientError::Login(answer.reply())) }
    }
}

const GREETING: &str = "to answer our greeting";
const LOGIN: &str = "to check our login";
const QUITTING: &str = "to say good bye";
