//! Queries of a customer, one at a time, and what came of them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use muralla_lab::namespace::Namespace;

/// A client's socket in a namespace.
#[derive(Debug)]
pub struct Stub {
    socket: UdpSocket,
}

/// What a client asks beside name and type.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Asking {
    /// With an OPT record.
    pub edns: bool,
    /// With the DO bit; needs EDNS.
    pub dnssec_ok: bool,
}

/// An answer, as far as tests look at it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Response code.
    pub code: ResponseCode,
    /// The name as the question repeats it.
    pub name: String,
    /// Data of the answer section, in presentation form.
    pub data: Vec<String>,
    /// The shortest time to live of the answer section.
    pub ttl: Option<u32>,
    /// Whether there is an OPT record.
    pub edns: bool,
}

impl Stub {
    /// Opens a socket in the namespace, from one address to port 53 of another.
    ///
    /// # Errors
    /// When the address is not there.
    pub fn open(namespace: &Namespace, from: IpAddr, server: IpAddr) -> Result<Self> {
        let socket = namespace.inside(move || {
            let socket = UdpSocket::bind((from, 0)).with_context(|| format!("from {from}"))?;
            socket.connect(SocketAddr::new(server, 53))?;
            Ok(socket)
        })?;
        Ok(Self { socket })
    }

    /// Asks once, and waits for the answer.
    ///
    /// # Errors
    /// When none comes within `patience`, or it is no good.
    pub fn ask(&self, name: &str, asking: Asking, patience: Duration) -> Result<Answer> {
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(Name::from_ascii(name)?, RecordType::A));
        if asking.edns || asking.dnssec_ok {
            let mut edns = Edns::new();
            edns.set_max_payload(1_232).set_dnssec_ok(asking.dnssec_ok);
            query.set_edns(edns);
        }
        self.socket.set_read_timeout(Some(patience))?;
        self.socket.send(&query.to_vec()?)?;
        let mut buffer = [0; 4_096];
        loop {
            let length = self.socket.recv(&mut buffer).context("waiting for an answer")?;
            let answer = Message::from_vec(buffer.get(..length).unwrap_or_default())?;
            if answer.metadata.id != query.metadata.id {
                // Of a question that nobody waits for any more.
                continue;
            }
            let Some(question) = answer.queries.first() else { bail!("no question in {answer}") };
            return Ok(Answer {
                code: answer.metadata.response_code,
                name: question.name.to_ascii(),
                data: answer.answers.iter().map(|record| record.data.to_string()).collect(),
                ttl: answer.answers.iter().map(|record| record.ttl).min(),
                edns: answer.edns.is_some(),
            });
        }
    }
}
