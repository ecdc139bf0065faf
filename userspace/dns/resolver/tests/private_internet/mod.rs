//! The resolver's transport and clock over a private Internet, in virtual time.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::Message;
use muralla_internet::{Internet, Protocol as Wire};
use muralla_resolver::clock::Clock;
use muralla_resolver::transport::{ExchangeError, Exchanging, Protocol, Reply, Transport};
use tokio::time::{Instant, sleep, sleep_until};

/// When it begins, Unix time: a moment of 2027.
pub(crate) const BEGIN: u64 = 1_800_000_000;
/// How long a refused connection takes.
const REFUSAL: Duration = Duration::from_millis(10);

/// A network that can change while it is used.
pub(crate) struct Network {
    /// May be replaced.
    pub(crate) internet: Mutex<Arc<Internet>>,
    asked: Mutex<Vec<Asked>>,
    begin: Instant,
}

/// A query that was sent.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) server: IpAddr,
    pub(crate) protocol: Protocol,
    pub(crate) name: String,
    pub(crate) rtype: String,
}

/// The network as the resolver's transport and clock.
#[derive(Clone)]
pub(crate) struct Attached(pub(crate) Arc<Network>);

impl Network {
    pub(crate) fn new(internet: Internet) -> Self {
        let internet = Mutex::new(Arc::new(internet));
        Self { internet, asked: Mutex::default(), begin: Instant::now() }
    }

    /// What was asked since the last call.
    pub(crate) fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    fn unix_now(&self) -> u64 {
        BEGIN + self.begin.elapsed().as_secs()
    }

    fn note(&self, server: SocketAddr, protocol: Protocol, query: &[u8]) {
        let message = Message::from_vec(query).unwrap();
        let question = message.queries.first().unwrap();
        self.asked.lock().unwrap().push(Asked {
            server: server.ip(),
            protocol,
            name: question.name().to_lowercase().to_ascii(),
            rtype: question.query_type().to_string(),
        });
    }
}

impl Clock for Attached {
    fn unix(&self) -> u64 {
        self.0.unix_now()
    }
}

impl Transport for Attached {
    fn exchange<'a>(
        &'a self,
        server: SocketAddr,
        protocol: Protocol,
        query: &'a [u8],
        patience: Duration,
        accept: &'a (dyn Fn(&[u8]) -> bool + Send + Sync),
    ) -> Exchanging<'a> {
        Box::pin(async move {
            self.0.note(server, protocol, query);
            let internet = self.0.internet.lock().unwrap().clone();
            let sent = Instant::now();
            let wire = match protocol {
                Protocol::Udp => Wire::Udp,
                Protocol::Tcp => Wire::Tcp,
            };
            if protocol == Protocol::Tcp && !internet.accepts_tcp(server) {
                sleep(REFUSAL.min(patience)).await;
                return Err(ExchangeError::Unreachable("connection refused".into()));
            }
            let mut replies = internet.answer(server, wire, query, self.0.unix_now() as u32);
            replies.sort_by_key(|reply| reply.after);
            for reply in replies.into_iter().filter(|reply| reply.after <= patience) {
                sleep_until(sent + reply.after).await;
                if accept(&reply.bytes) {
                    return Ok(Reply { message: reply.bytes, trip: sent.elapsed() });
                }
            }
            sleep_until(sent + patience).await;
            Err(ExchangeError::Timeout(patience))
        })
    }
}
