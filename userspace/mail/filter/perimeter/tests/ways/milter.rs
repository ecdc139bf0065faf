//! The milter over a socket.

use std::sync::Arc;
use std::time::Duration;

use muralla_filter_perimeter::{Config, milter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Words, listener};

fn packet(code: u8, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len() + 1).unwrap().to_be_bytes();
    [&length[..], &[code], data].concat()
}

async fn response(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let octets = stream.read_u32().await.unwrap();
    let mut data = vec![0; usize::try_from(octets).unwrap()];
    stream.read_exact(&mut data).await.unwrap();
    (data[0], data[1..].to_vec())
}

async fn begun(config: Config) -> (TcpStream, milter::Server, Arc<Words>) {
    let judge = Arc::new(Words::default());
    let server = milter::Server::new(config, judge.clone());
    let (listener, address) = listener().await;
    let listening = server.clone();
    tokio::spawn(async move { listening.listen(listener).await });
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&packet(b'O', b"\0\0\0\x06\0\0\x01\xff\0\x1f\xff\xff")).await.unwrap();
    assert_eq!(response(&mut stream).await.0, b'O');
    (stream, server, judge)
}

fn message(body: &[u8]) -> Vec<u8> {
    [
        packet(b'C', b"mail.example.org\x004\0\x19192.0.2.1\0"),
        packet(b'H', b"mail.example.org\0"),
        packet(b'M', b"<a@example.org>\0"),
        packet(b'R', b"<b@example.net>\0"),
        packet(b'L', b"Subject\0 a\0"),
        packet(b'N', b""),
        packet(b'B', body),
        packet(b'E', b""),
    ]
    .concat()
}

#[tokio::test]
async fn judged() {
    let (mut stream, server, judge) = begun(Config::default()).await;
    for (body, expected) in [
        (&b"good\r\n"[..], &[b'i', b'c'][..]),
        (b"spam\r\n", &[b'i', b'i', b'i', b'c']),
        (b"refuse\r\n", b"y"),
        (b"hold\r\n", &[b'i', b'i', b'q', b'c']),
        (b"panic\r\n", b"y"),
        (b"good\r\n", &[b'i', b'c']),
    ] {
        stream.write_all(&message(body)).await.unwrap();
        for code in expected {
            let (said, data) = response(&mut stream).await;
            let data = String::from_utf8_lossy(&data).into_owned();
            assert_eq!(char::from(said), char::from(*code), "{body:?} {data}");
        }
    }
    assert_eq!(judge.questions().len(), 6);
    let status = server.status();
    assert_eq!((status.delivered, status.spam, status.refused), (2, 1, 1));
    assert_eq!((status.kept, status.put_off, status.panicked), (1, 1, 1));
    assert_eq!((status.open, status.connections), (1, 1));
    server.stop();
    drop(stream);
    server.stopped().await;
    assert_eq!(server.status().memory, 0);
}

#[tokio::test]
async fn who_is_late_is_put_off() {
    let config = Config { patience: Duration::from_millis(50), ..Config::default() };
    let (mut stream, server, _) = begun(config).await;
    stream.write_all(&message(b"late\r\n")).await.unwrap();
    let (code, data) = response(&mut stream).await;
    assert_eq!(code, b'y');
    assert!(data.starts_with(b"451 4.7.1 "), "{data:?}");
    assert_eq!(server.status().late, 1);
}

#[tokio::test]
async fn who_does_not_speak_it_is_hung_up_on() {
    let (mut stream, server, _) = begun(Config::default()).await;
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(stream.read(&mut [0; 10]).await.unwrap_or(0), 0);
    assert_eq!(server.status().malformed, 1);
}

#[tokio::test]
async fn strangers_stay_outside() {
    let config = Config { trusted: vec!["192.0.2.0/24".parse().unwrap()], ..Config::default() };
    let server = milter::Server::new(config, Arc::new(Words::default()));
    let (listener, address) = listener().await;
    let listening = server.clone();
    tokio::spawn(async move { listening.listen(listener).await });
    let mut stream = TcpStream::connect(address).await.unwrap();
    assert_eq!(stream.read(&mut [0; 10]).await.unwrap_or(0), 0);
    assert_eq!((server.status().turned_away, server.status().connections), (1, 0));
}
