//! A server that says what a test wants, to one client.

use std::net::SocketAddr;
use std::time::Duration;

use muralla_mail_import::{Choice, Login, Options, Protocol, ServerLocation, Waits, no_roots};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What it does next.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Says this.
    Say(Vec<u8>),
    /// Hears this line, or hangs up.
    Hear(&'static str),
    /// Says this again and again, until nobody listens any more.
    Flood(Vec<u8>),
    /// Says nothing until the client goes.
    Wait,
}

pub(crate) fn say(line: &str) -> Act {
    Act::Say(format!("{line}\r\n").into_bytes())
}

pub(crate) fn raw(octets: impl Into<Vec<u8>>) -> Act {
    Act::Say(octets.into())
}

pub(crate) fn hear(line: &'static str) -> Act {
    Act::Hear(line)
}

/// Plays a script to the first who calls, and hangs up at its end.
pub(crate) async fn play(acts: Vec<Act>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream, acts).await;
    });
    address
}

async fn serve(stream: TcpStream, acts: Vec<Act>) {
    let mut stream = BufReader::new(stream);
    for act in acts {
        match act {
            Act::Say(octets) => {
                if stream.get_mut().write_all(&octets).await.is_err() {
                    return;
                }
            }
            Act::Hear(expected) => {
                let mut line = String::new();
                let read = stream.read_line(&mut line).await;
                if read.is_err() || line.trim_end() != expected {
                    eprintln!("{line:?} was said in place of {expected:?}");
                    return;
                }
            }
            Act::Flood(octets) => while stream.get_mut().write_all(&octets).await.is_ok() {},
            Act::Wait => {
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {}
            }
        }
    }
}

pub(crate) fn location(protocol: Protocol, address: SocketAddr) -> ServerLocation {
    let (host, port) = (address.ip().to_string(), address.port());
    ServerLocation { protocol, implicit_tls: false, user: None, host, port }
}

/// Of a client who is in no hurry but with what never comes, and takes servers without TLS.
pub(crate) fn options() -> Options {
    let (short, long) = (Duration::from_millis(500), Duration::from_secs(20));
    Options {
        login: Login { user: "ann".to_owned(), master: None, password: "secret".to_owned() },
        trust: no_roots().unwrap(),
        insecure: true,
        choice: Choice::default(),
        names: None,
        waits: Waits {
            connect: long,
            handshake: long,
            greeting: long,
            command: long,
            listing: short,
            message: long,
        },
    }
}
