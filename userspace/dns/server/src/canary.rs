//! A query of our own through a socket of ours, as the proof that the role answers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::config::DnsConfig;

/// Time that the query has.
const PATIENCE: Duration = Duration::from_secs(4);

/// A question that local data answers, so that an Internet that is away is no reason to restart the role. Without
/// private zones it is one that is refused, which proves the way there and back all the same.
pub(crate) fn query(config: &DnsConfig) -> Message {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    let name = Name::from_utf8(&config.canary).unwrap_or_default();
    let mut question = Query::query(name, RecordType::A);
    if !config.local.private_zones {
        question =
            Query::query(Name::from_ascii("id.server.").unwrap_or_default(), RecordType::TXT);
        question.set_query_class(DNSClass::CH);
    }
    query.add_query(question);
    query
}

/// Asks, and gives the time that the answer took.
pub(crate) async fn ask(bound: SocketAddr, query: Message) -> Result<Duration, String> {
    let server = reachable(bound);
    match timeout(PATIENCE, exchange(server, query)).await {
        Ok(Ok(took)) => Ok(took),
        Ok(Err(error)) => Err(format!("the canary's query to {server} failed: {error}")),
        Err(_) => Err(format!("no answer from {server} within {PATIENCE:?}")),
    }
}

/// An address at which a socket bound to `bound` can be reached from here.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let address = match bound.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    SocketAddr::new(address, bound.port())
}

async fn exchange(server: SocketAddr, query: Message) -> io::Result<Duration> {
    let begin = Instant::now();
    let socket = UdpSocket::bind(SocketAddr::new(server.ip(), 0)).await?;
    socket.connect(server).await?;
    let id = query.metadata.id;
    socket.send(&query.to_vec().map_err(io::Error::other)?).await?;
    let mut answer = [0; 4_096];
    loop {
        let len = socket.recv(&mut answer).await?;
        let answer = answer.get(..len).unwrap_or_default();
        if answer.get(..2) == Some(&id.to_be_bytes()[..]) {
            return Ok(begin.elapsed());
        }
    }
}
