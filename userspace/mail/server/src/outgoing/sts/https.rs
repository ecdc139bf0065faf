//! Fetches policies by HTTPS: RFC 8461 section 3.3.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use muralla_mail_envelope::Domain;
use muralla_smtp::tls::{Trust, Wire};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Policies;
use super::policy::LONGEST;
use crate::outgoing::hosts::{Names, may_be_called};

/// Fetches them from the domains' own servers.
pub struct Https {
    names: Arc<dyn Names>,
    trust: Trust,
    port: u16,
    loopback: bool,
}

/// How long a server has for its policy: section 3.3 asks for a minute at least at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// Addresses of a host that are called.
const MOST_CALLED: usize = 4;

impl Https {
    /// Asks servers whose certificates `trust` believes, on port 443.
    #[must_use]
    pub fn new(names: Arc<dyn Names>, trust: Trust) -> Self {
        Self { names, trust, port: 443, loopback: false }
    }

    /// The same on this machine, at another port: for tests.
    #[must_use]
    pub fn on_loopback(names: Arc<dyn Names>, trust: Trust, port: u16) -> Self {
        Self { names, trust, port, loopback: true }
    }

    async fn ask(&self, host: &str) -> Result<String, String> {
        let words = |error: &dyn std::fmt::Display| format!("{host}: {error}");
        let found = self.names.addresses(host).await.map_err(|error| words(&error))?;
        let usable = found.records.into_iter();
        let usable = usable.filter(|one| self.loopback || may_be_called(*one));
        let mut last = format!("{host} has no address");
        for address in usable.take(MOST_CALLED) {
            match self.call(host, address).await {
                Ok(stream) => return self.get(host, stream).await,
                Err(error) => last = words(&error),
            }
        }
        Err(last)
    }

    async fn call(&self, host: &str, address: IpAddr) -> Result<Wire<TcpStream>, std::io::Error> {
        let stream = TcpStream::connect(SocketAddr::new(address, self.port)).await?;
        let mut wire = Wire::Plain(stream);
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        wire.connect(&self.trust, name, true).await?;
        Ok(wire)
    }

    /// Neither redirections nor anybody's cache: section 3.3.
    async fn get(&self, host: &str, wire: Wire<TcpStream>) -> Result<String, String> {
        let words = |error: &dyn std::fmt::Display| format!("{host}: {error}");
        let handshake = http1::handshake(TokioIo::new(wire)).await;
        let (mut sender, connection) = handshake.map_err(|error| words(&error))?;
        let request = Request::get("/.well-known/mta-sts.txt")
            .header(header::HOST, host)
            .header(header::ACCEPT, "text/plain")
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new())
            .map_err(|error| words(&error))?;
        let asked = async {
            let response = sender.send_request(request).await.map_err(|error| words(&error))?;
            if response.status() != StatusCode::OK {
                return Err(format!("{host} says {}", response.status()));
            }
            let kind = response.headers().get(header::CONTENT_TYPE);
            let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            if !kind.eq_ignore_ascii_case("text/plain") {
                return Err(format!("{host} gives {kind:?}, and no text/plain"));
            }
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let body = body.map_err(|error| words(&error))?.to_bytes();
            String::from_utf8(body.to_vec()).map_err(|_| format!("{host} gives no text"))
        };
        // The connection is driven as long as somebody asks, and ends with it.
        let driven = async {
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            asked = asked => asked,
            () = driven => Err(format!("{host} hung up")),
        }
    }
}

impl Policies for Https {
    fn fetch<'a>(&'a self, domain: &'a Domain) -> BoxFuture<'a, Result<String, String>> {
        async move {
            let host = format!("mta-sts.{domain}");
            match timeout(PATIENCE, self.ask(&host)).await {
                Ok(asked) => asked,
                Err(_) => Err(format!("{host} takes too long")),
            }
        }
        .boxed()
    }
}
