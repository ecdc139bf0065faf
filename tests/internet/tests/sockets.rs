//! Servers on loopback addresses.

use std::net::SocketAddr;
use std::sync::Arc;

use muralla_internet::{Plan, serve};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

const QUERY: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03WWW\x04test\0\0\x01\0\x01";

#[tokio::test]
async fn sockets_answer_over_udp_and_tcp() {
    let plan = "zone .\nzone test\n  www A 192.0.2.1\nserver a.root 127.0.0.1 serves ., test\n";
    let internet = Arc::new(Plan::parse(plan).unwrap().build().unwrap());
    // A port that was free a moment ago.
    let free = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let serving = serve(internet.clone(), &[free]).await.unwrap();
    assert_eq!(serving.sockets(), 2);
    assert!(serve(internet.clone(), &[free]).await.is_err(), "the address is taken");

    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    client.send_to(QUERY, free).await.unwrap();
    let mut buffer = [0; 512];
    let (length, from) = client.recv_from(&mut buffer).await.unwrap();
    assert_eq!(from, free);
    let answer = &buffer[..length];
    assert!(answer.ends_with(&[192, 0, 2, 1]) && answer[12..].starts_with(b"\x03WWW\x04test"));

    let mut stream = TcpStream::connect::<SocketAddr>(free).await.unwrap();
    for _ in 0..2 {
        stream.write_all(&[&[0, QUERY.len() as u8][..], QUERY].concat()).await.unwrap();
        let length = stream.read_u16().await.unwrap();
        let mut message = vec![0; length.into()];
        stream.read_exact(&mut message).await.unwrap();
        assert_eq!(message, answer);
    }
    assert_eq!(internet.asked(), 3);
    serving.stop().await;
    serve(internet, &[free]).await.unwrap();
}
