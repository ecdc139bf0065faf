//! A connection: made, encrypted, written to and read, within time.

use std::net::IpAddr;
use std::time::Duration;

use bytes::BytesMut;
use muralla_smtp::tls::Wire;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};

use crate::error::RemoteError;
use crate::location::ServerLocation;
use crate::options::Options;

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// A connection, and what came on it and was not looked at yet.
pub(crate) struct Talk {
    wire: Wire<TcpStream>,
    pub(crate) input: BytesMut,
}

impl Talk {
    /// Calls a server, at one of its addresses after the other.
    pub(crate) async fn connect(
        location: &ServerLocation,
        options: &Options,
    ) -> Result<Self, RemoteError> {
        let wait = options.waits.connect;
        let found = timeout(wait, lookup_host((location.host.as_str(), location.port))).await;
        let addresses = found.map_err(|_| RemoteError::TimedOut("its address"))?;
        let mut failed = RemoteError::Name(std::io::ErrorKind::NotFound.into());
        for address in addresses.map_err(RemoteError::Name)? {
            match timeout(wait, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    // Commands are sent whole, and each of them is waited for.
                    stream.set_nodelay(true).map_err(RemoteError::Connect)?;
                    return Ok(Self { wire: Wire::Plain(stream), input: BytesMut::new() });
                }
                Ok(Err(error)) => failed = RemoteError::Connect(error),
                Err(_) => failed = RemoteError::TimedOut("the connection"),
            }
        }
        Err(failed)
    }

    /// Begins TLS. What came in the clear before would be heard as if it had been said inside.
    pub(crate) async fn secure(
        &mut self,
        location: &ServerLocation,
        options: &Options,
    ) -> Result<(), RemoteError> {
        if !self.input.is_empty() {
            return Err(RemoteError::Injected);
        }
        let verified = !options.insecure;
        let name = match ServerName::try_from(location.host.clone()) {
            Ok(name) => name,
            Err(_) if verified => {
                return Err(RemoteError::Untrusted(
                    "no certificate can prove such a name".to_owned(),
                ));
            }
            // Some name is needed, and nobody looks at it.
            Err(_) => ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into()),
        };
        let handshake = self.wire.connect(&options.trust, name, verified);
        match timeout(options.waits.handshake, handshake).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
                Err(match cause {
                    Some(rustls::Error::InvalidCertificate(why)) => {
                        RemoteError::Untrusted(why.to_string())
                    }
                    _ => RemoteError::Tls(error.to_string()),
                })
            }
            Err(_) => Err(RemoteError::TimedOut("TLS")),
        }
    }

    /// Whether what is said can be read by nobody else.
    pub(crate) fn is_secure(&self) -> bool {
        matches!(self.wire, Wire::Tls(_))
    }

    /// Says something.
    pub(crate) async fn say(
        &mut self,
        octets: &[u8],
        wait: Duration,
        what: &'static str,
    ) -> Result<(), RemoteError> {
        let written = timeout(wait, async {
            self.wire.write_all(octets).await?;
            self.wire.flush().await
        });
        written
            .await
            .map_err(|_| RemoteError::TimedOut(what))?
            .map_err(|error| RemoteError::Lost { what, error })
    }

    /// Hears more.
    pub(crate) async fn hear(
        &mut self,
        deadline: Instant,
        what: &'static str,
    ) -> Result<(), RemoteError> {
        self.input.reserve(CHUNK);
        match timeout_at(deadline, self.wire.read_buf(&mut self.input)).await {
            Err(_) => Err(RemoteError::TimedOut(what)),
            Ok(Err(error)) => Err(RemoteError::Lost { what, error }),
            Ok(Ok(0)) => Err(RemoteError::Closed(what)),
            Ok(Ok(_)) => Ok(()),
        }
    }

    /// Hangs up, and does not wait long for it.
    pub(crate) async fn hang_up(&mut self) {
        let _ = timeout(Duration::from_secs(2), self.wire.shutdown()).await;
    }
}
