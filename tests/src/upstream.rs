//! A resolver on the Internet that gives every name one address: what a test's own resolver forwards to.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use muralla_lab::namespace::Namespace;

/// Ended when dropped.
#[derive(Debug)]
pub struct Upstream {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    ttl: AtomicU32,
    last_octet: AtomicU32,
    asked: AtomicU64,
    dead: AtomicBool,
    stopped: AtomicBool,
}

impl Upstream {
    /// Begins to answer at port 53 of an address in a namespace, with 192.0.2.1 for 300 seconds.
    ///
    /// # Errors
    /// When the address is not there.
    pub fn start(namespace: &Namespace, address: IpAddr) -> Result<Self> {
        let at = SocketAddr::new(address, 53);
        let socket = namespace.inside(move || {
            let socket = UdpSocket::bind(at).with_context(|| format!("listening at {at}"))?;
            socket.set_read_timeout(Some(Duration::from_millis(50)))?;
            Ok(socket)
        })?;
        let shared = Arc::new(Shared {
            ttl: AtomicU32::new(300),
            last_octet: AtomicU32::new(1),
            asked: AtomicU64::new(0),
            dead: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        });
        let theirs = Arc::clone(&shared);
        let thread = namespace.thread("upstream", move || {
            let mut buffer = [0; 4_096];
            while !theirs.stopped.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                let query = buffer.get(..length).map(Message::from_vec);
                if let Some(Ok(query)) = query
                    && let Some(answer) = theirs.answer(&query)
                {
                    // A client that is gone is no reason to stop.
                    let _ = socket.send_to(&answer.to_vec()?, from);
                }
            }
            Ok(())
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Answers hold for so many seconds from now on.
    pub fn set_ttl(&self, seconds: u32) {
        self.shared.ttl.store(seconds, Ordering::Relaxed);
    }

    /// The address is 192.0.2 and this octet from now on.
    pub fn set_last_octet(&self, octet: u8) {
        self.shared.last_octet.store(octet.into(), Ordering::Relaxed);
    }

    /// Whether it is silent from now on.
    pub fn set_dead(&self, dead: bool) {
        self.shared.dead.store(dead, Ordering::Relaxed);
    }

    /// Queries so far.
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn answer(&self, query: &Message) -> Option<Message> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let question = query.queries.first()?;
        if self.dead.load(Ordering::Relaxed) {
            return None;
        }
        let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        answer.metadata.recursion_available = true;
        answer.add_query(question.clone());
        if question.query_type == RecordType::A {
            let octet = u8::try_from(self.last_octet.load(Ordering::Relaxed)).unwrap_or(u8::MAX);
            let data = RData::A(A::new(192, 0, 2, octet));
            let ttl = self.ttl.load(Ordering::Relaxed);
            answer.add_answer(Record::from_rdata(question.name.clone(), ttl, data));
        }
        Some(answer)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it failed with shows in the test that misses its answers.
            let _ = thread.join();
        }
    }
}
