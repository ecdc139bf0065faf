//! The name server of whoever has no network: it answers at once, and never knows anything.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use muralla_lab::namespace::Namespace;

/// Where it listens, inside of the edge.
pub(super) const ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5_354);

/// What it says (RFC 1035 section 4.1.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// SERVFAIL: nobody can be asked. No filter holds that against a sender.
    Failure = 2,
    /// NXDOMAIN: there is no such name.
    NoName = 3,
}

/// It ends when dropped.
pub(super) struct Nowhere {
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Nowhere {
    pub(super) fn start(place: &Namespace, answer: Answer) -> Result<Self> {
        let socket = place.inside(|| UdpSocket::bind(ADDRESS).context("binding a name server"))?;
        socket.set_read_timeout(Some(Duration::from_millis(200))).context("setting a timeout")?;
        let stopped = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stopped);
        let thread = place.thread("nowhere", move || {
            let mut query = [0; 4_096];
            while !theirs.load(Ordering::Relaxed) {
                let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
                if let Some(said) = query.get_mut(..length).and_then(|query| reply(query, answer)) {
                    // A client that is gone needs no answer.
                    let _ = socket.send_to(said, client);
                }
            }
            Ok(())
        })?;
        Ok(Self { stopped, thread: Some(thread) })
    }
}

impl Drop for Nowhere {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Makes an answer of a query: it has everything that a client compares. Nothing of what is none.
fn reply(query: &mut [u8], answer: Answer) -> Option<&[u8]> {
    const RESPONSE: u8 = 0x80;
    const AVAILABLE: u8 = 0x80;
    if query.len() < 12 || query.get(2)? & RESPONSE != 0 {
        return None;
    }
    *query.get_mut(2)? |= RESPONSE;
    *query.get_mut(3)? = AVAILABLE | answer as u8;
    Some(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_queries_with_a_code() {
        let query = [7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, b'a', 0, 0, 1, 0, 1];
        let mut answered = query;
        let said = reply(&mut answered, Answer::NoName).unwrap();
        assert_eq!((said[2], said[3]), (0x81, 0x83));
        assert_eq!((&said[..2], &said[4..]), (&query[..2], &query[4..]));
        for none in [&mut query[..11].to_vec(), &mut answered.to_vec()] {
            assert!(reply(none, Answer::Failure).is_none());
        }
    }
}
