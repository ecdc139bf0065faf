//! A client of our own, which asks each service for its greeting through the socket that everybody uses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use muralla_smtp::tls::{Trust, Wire};
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Role;
use crate::listening::Service;

/// How long a service has for its greeting: it may make clients wait for it on purpose.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest greeting, in octets.
const LONGEST: u64 = 2048;

impl Role {
    /// Asks each service once, and says how long the slowest took to greet. Services that only speak to a load balancer are not
    /// asked: it would have to be one. A service that has all the connections that it may have, and says so, is alive: to end it would
    /// only cut those off.
    ///
    /// # Errors
    ///
    /// Which service does not answer, and why.
    pub async fn canary(&self) -> Result<Duration, String> {
        let asked = self.listening.iter().filter_map(|one| {
            let proxied = match one.service {
                Service::Mx => {
                    self.config.lock().mx.as_ref().is_some_and(|mx| !mx.proxies.is_empty())
                }
                Service::Submission | Service::Submissions => {
                    let config = self.config.lock();
                    config.submission.as_ref().is_some_and(|it| !it.proxies.is_empty())
                }
                Service::Pop3 | Service::Pop3s => false,
                // Neither greets anybody by itself: what a proxy says is what the one behind it says.
                Service::Milter | Service::FilterHttp | Service::FilterProxy => true,
            };
            (!proxied).then(|| (one.service, one.bound()))
        });
        let asked: Vec<_> = asked.collect();
        let asked = asked.into_iter().map(|(service, address)| async move {
            let begin = Instant::now();
            let turned_away = self.turned_away(service);
            match timeout(PATIENCE, greet(service, within_reach(address))).await {
                Ok(Ok(())) => Ok(begin.elapsed()),
                // Where TLS comes first there is no saying why: that somebody was turned away is counted.
                Ok(Err(_)) if is_secure(service) && self.turned_away(service) > turned_away => {
                    Ok(begin.elapsed())
                }
                Ok(Err(why)) => Err(format!("{} at {address}: {why}", service.name())),
                Err(_) => Err(format!("{} at {address} greets nobody", service.name())),
            }
        });
        let answers = futures_util::future::join_all(asked).await;
        answers.into_iter().try_fold(Duration::ZERO, |slowest, took| Ok(slowest.max(took?)))
    }

    /// Connections that a service turned away since the start, as there were too many.
    fn turned_away(&self, service: Service) -> u64 {
        let count = match service {
            Service::Mx => self.mx.as_ref().map(|server| server.status().turned_away),
            Service::Submission | Service::Submissions => {
                self.submission.as_ref().map(|server| server.status().turned_away)
            }
            Service::Pop3 | Service::Pop3s => {
                self.pop3.as_ref().map(|(_, house)| house.status().crowded)
            }
            Service::Milter | Service::FilterHttp | Service::FilterProxy => None,
        };
        count.unwrap_or_default()
    }
}

const fn is_secure(service: Service) -> bool {
    matches!(service, Service::Submissions | Service::Pop3s)
}

/// Whoever listens everywhere listens on this machine's own address as well.
fn within_reach(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(ip, address.port())
}

async fn greet(service: Service, address: SocketAddr) -> Result<(), String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let mut wire = Wire::Plain(stream);
    if is_secure(service) {
        // Whose certificate it is is everybody's own affair: here it is asked whether there is one.
        let trust = Trust::of_roots(RootCertStore::empty()).map_err(|error| error.to_string())?;
        let name = ServerName::IpAddress(address.ip().into());
        let secured = wire.connect(&trust, name, false).await;
        secured.map_err(|error| format!("TLS does not begin: {error}"))?;
    }
    let mut wire = BufReader::new(wire);
    let mut greeting = Vec::new();
    let read = (&mut wire).take(LONGEST).read_until(b'\n', &mut greeting).await;
    read.map_err(|error| error.to_string())?;
    // The second of each is what a service says that has too many connections: RFC 5321 section 3.8, RFC 3206 section 4.
    let expected: [&[u8]; 2] = match service {
        Service::Pop3 | Service::Pop3s => [b"+OK", b"-ERR [SYS/TEMP]"],
        _ => [b"220", b"421"],
    };
    if !expected.iter().any(|words| greeting.starts_with(words)) {
        let said = String::from_utf8_lossy(&greeting);
        return Err(format!("it says {:?}", said.trim_end()));
    }
    // It was greeted: that it says good bye is politeness.
    let _ = wire.get_mut().write_all(b"QUIT\r\n").await;
    let _ = wire.get_mut().shutdown().await;
    Ok(())
}
