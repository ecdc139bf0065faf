//! Disconnect and CoA: what this server asks of a NAS (RFC 5176).
//!
//! Each request has a socket of its own, so that identifiers never meet. It is sent again unchanged, time and identifier
//! included, so that a NAS whose answer was lost gives it once more (RFC 5176 section 2.3) and doesn't look for a session
//! that it has ended already.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use muralla_radius_wire::{Code, LONGEST, Packet, Secret, Writer, kind, verify_reply};
use tokio::net::UdpSocket;
use tokio::time::{Instant as Moment, sleep, timeout_at};

use crate::config::DynamicConfig;
use crate::report::DynamicVerdict;

/// Pause after an error of the network, so that it can't eat a core.
const BREATH: Duration = Duration::from_millis(20);

/// What names a session to its NAS (RFC 5176 section 3): as much as is known of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    pub(crate) user: Option<Vec<u8>>,
    pub(crate) session_id: Option<Vec<u8>>,
    pub(crate) nas_port: Option<u32>,
    pub(crate) framed: Option<Ipv4Addr>,
    pub(crate) nas_identifier: Option<Vec<u8>>,
    pub(crate) nas_address: Option<IpAddr>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// End the session.
    Disconnect,
    /// Change it: attributes as they stand in a packet.
    Change(Vec<u8>),
}

/// Error-Cause of a NAS that has no such session (RFC 5176 section 3.5).
const SESSION_NOT_FOUND: u32 = 503;

/// What a NAS said.
struct Reply {
    verdict: DynamicVerdict,
    cause: Option<u32>,
    words: String,
}

/// How it went.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: DynamicVerdict,
    /// Whether the NAS says that it has no such session.
    pub(crate) is_unknown: bool,
    pub(crate) words: String,
    pub(crate) attempts: u32,
    pub(crate) took: Duration,
}

/// Asks a NAS, and waits for its answer.
pub(crate) async fn ask(
    to: SocketAddr,
    secret: &Secret,
    target: &Target,
    wish: &Wish,
    config: &DynamicConfig,
) -> Outcome {
    let begin = Instant::now();
    let mut attempts = 0;
    let outcome = exchange(to, secret, target, wish, config, &mut attempts).await;
    let mut is_unknown = false;
    let (verdict, words) = match outcome {
        Ok(Some(reply)) => {
            is_unknown = reply.cause == Some(SESSION_NOT_FOUND);
            (reply.verdict, reply.words)
        }
        Ok(None) => (
            DynamicVerdict::Silent,
            format!(
                "no answer from {to}: is dynamic authorisation (RFC 5176) on at the NAS, with this server and the same secret, \
                 and does its firewall let UDP port {} in?",
                to.port()
            ),
        ),
        Err(error) => {
            (DynamicVerdict::Unsent, format!("the request can't be sent to {to}: {error}"))
        }
    };
    Outcome { verdict, is_unknown, words, attempts, took: begin.elapsed() }
}

async fn exchange(
    to: SocketAddr,
    secret: &Secret,
    target: &Target,
    wish: &Wish,
    config: &DynamicConfig,
    attempts: &mut u32,
) -> io::Result<Option<Reply>> {
    let any: IpAddr =
        if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = config.source.filter(|source| source.is_ipv4() == to.is_ipv4()).unwrap_or(any);
    let socket = UdpSocket::bind(SocketAddr::new(source, 0)).await?;
    socket.connect(to).await?;
    let (mut buffer, mut pause) = (vec![0; LONGEST], config.first_timeout);
    let mut request = vec![0; LONGEST];
    let len = write(&mut request, rand::random(), secret, target, wish, seconds_now())?;
    request.truncate(len);
    let sent = Packet::parse(&request).map_err(|_| io::Error::other("a packet that is none"))?;
    for _ in 0..config.attempts.max(1) {
        // What an earlier copy met (ICMP) is told here, and is no reason not to try again.
        match socket.send(&request).await {
            Err(error) if error.kind() != io::ErrorKind::ConnectionRefused => return Err(error),
            _ => *attempts += 1,
        }
        let deadline = Moment::now() + pause;
        pause *= 2;
        loop {
            match timeout_at(deadline, socket.recv(&mut buffer)).await {
                Err(_) => break,
                Ok(Ok(len)) => {
                    let reply = buffer.get(..len).unwrap_or_default();
                    if let Some(answer) = understand(reply, &sent, secret, wish) {
                        return Ok(Some(answer));
                    }
                }
                // The NAS's port is closed, or it restarts: that is told once for each copy, and no answer.
                Ok(Err(_)) => sleep(BREATH).await,
            }
        }
    }
    Ok(None)
}

fn write(
    buffer: &mut [u8],
    id: u8,
    secret: &Secret,
    target: &Target,
    wish: &Wish,
    now: u32,
) -> io::Result<usize> {
    let code = match wish {
        Wish::Disconnect => Code::DISCONNECT_REQUEST,
        Wish::Change(_) => Code::COA_REQUEST,
    };
    // Random only where the authenticator isn't computed from the packet, which here it is (RFC 5176 section 2.3).
    let mut writer = Writer::request(buffer, code, id, [0; 16], secret);
    let texts = [
        (kind::USER_NAME, &target.user),
        (kind::ACCT_SESSION_ID, &target.session_id),
        (kind::NAS_IDENTIFIER, &target.nas_identifier),
    ];
    for (kind, text) in texts {
        if let Some(text) = text {
            writer.push(kind, text);
        }
    }
    match target.nas_address {
        Some(IpAddr::V4(address)) => writer.push(kind::NAS_IP_ADDRESS, &address.octets()),
        Some(IpAddr::V6(address)) => writer.push(kind::NAS_IPV6_ADDRESS, &address.octets()),
        None => {}
    }
    if let Some(port) = target.nas_port {
        writer.push(kind::NAS_PORT, &port.to_be_bytes());
    }
    if let Some(address) = target.framed {
        writer.push(kind::FRAMED_IP_ADDRESS, &address.octets());
    }
    // Against somebody who sends it again later (RFC 5176 section 6.3).
    writer.push(kind::EVENT_TIMESTAMP, &now.to_be_bytes());
    if let Wish::Change(attributes) = wish {
        writer.append(attributes);
    }
    writer.finish().map_err(|_| io::Error::other("it has too many attributes for a packet"))
}

/// What an answer says; none if it is none of ours.
fn understand(reply: &[u8], sent: &Packet<'_>, secret: &Secret, wish: &Wish) -> Option<Reply> {
    let reply = Packet::parse(reply).ok().filter(|reply| reply.id() == sent.id())?;
    verify_reply(&reply, sent.authenticator(), secret, false).ok()?;
    let (ack, nak) = match wish {
        Wish::Disconnect => (Code::DISCONNECT_ACK, Code::DISCONNECT_NAK),
        Wish::Change(_) => (Code::COA_ACK, Code::COA_NAK),
    };
    if reply.code() == ack {
        let words = match wish {
            Wish::Disconnect => "disconnected",
            Wish::Change(_) => "changed",
        };
        let words = words.to_owned();
        return Some(Reply { verdict: DynamicVerdict::Acknowledged, cause: None, words });
    }
    if reply.code() != nak {
        return None;
    }
    let cause = reply.number(kind::ERROR_CAUSE);
    let words = match cause {
        Some(cause) => format!("the NAS refused: {}", error_cause(cause)),
        None => "the NAS refused and did not say why".to_owned(),
    };
    Some(Reply { verdict: DynamicVerdict::Refused, cause, words })
}

/// An Error-Cause in words (RFC 5176 section 3.5, and the registry behind it).
fn error_cause(cause: u32) -> String {
    let words = match cause {
        201 => "the session's context was removed (201)",
        202 => "the packet is of EAP and was ignored (202)",
        401 => "it does not support an attribute of the request (401)",
        402 => "it misses an attribute in the request (402)",
        403 => "NAS-Identifier or NAS-IP-Address are not its own (403)",
        404 => "it finds the request invalid (404)",
        405 => "it does not support the Service-Type (405)",
        406 => "it does not support the extension (406)",
        407 => "an attribute has a value that it does not support (407)",
        501 => "it is forbidden there by its configuration (501)",
        502 => "the request can't be routed to the session's NAS (502)",
        SESSION_NOT_FOUND => "it knows no such session (503)",
        504 => "the session's context can't be removed (504)",
        505 => "another proxy failed on the way (505)",
        506 => "it has no resources for that at the moment (506)",
        507 => "it has begun to authorise again, and says no more (507)",
        508 => "several sessions fit, and it can't choose one of them (508)",
        509 => "Location-Info is required (509)",
        601 => "the response would be too big (601)",
        _ => return format!("Error-Cause {cause}"),
    };
    words.to_owned()
}

fn seconds_now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // Until 2106, and as RFC 2869 section 5.3 has it.
    since.as_secs() as u32
}
