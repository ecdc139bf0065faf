//! HTTP over a socket, as its clients write it.

use std::sync::Arc;

use muralla_filter_perimeter::{Config, Party, http};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::{Words, listener};

async fn begun(config: Config) -> (std::net::SocketAddr, http::Server, Arc<Words>) {
    let judge = Arc::new(Words::default());
    let asking = http::Asking { quarantine: false, password: Some("teach".to_owned()) };
    let server = http::Server::new(config, asking, judge.clone());
    let (listener, address) = listener().await;
    let listening = server.clone();
    tokio::spawn(async move { listening.listen(listener).await });
    (address, server, judge)
}

/// What comes back until the server hangs up.
async fn ask(address: std::net::SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    String::from_utf8(all).unwrap()
}

fn post(path: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n{fields}\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn json(answer: &str) -> serde_json::Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

#[tokio::test]
async fn checked() {
    let (address, server, judge) = begun(Config::default()).await;
    let fields = "From: a@example.org\r\nRcpt: b@example.net\r\nIP: 192.0.2.1\r\nQueue-Id: 4F1\r\n";
    for (body, action) in [
        (&b"Subject: a\n\ngood\n"[..], "no action"),
        (b"Subject: a\n\nspam\n", "add header"),
        (b"Subject: a\n\nrefuse\n", "reject"),
        (b"Subject: a\n\nhold\n", "reject"),
        (b"Subject: a\n\npanic\n", "soft reject"),
    ] {
        let answer = ask(address, &post("/checkv2", fields, body)).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        let answer = json(&answer);
        assert_eq!(answer["action"], action);
    }
    let question = &judge.questions()[0];
    assert_eq!(question.message, "Subject: a\r\n\r\ngood\r\n");
    assert_eq!(question.recipients, [Party::parse("b@example.net")]);
    assert_eq!(question.queue_id.as_deref(), Some("4F1"));
    assert_eq!(server.status().refused, 2);

    // HTTP/1.0, and a body whose client says no more.
    let old = b"POST /checkv2 HTTP/1.0\r\nContent-Length: 18\r\n\r\nSubject: a\r\n\r\nspam";
    assert_eq!(json(&ask(address, old).await)["action"], "add header");
    let packed = zstd::encode_all(&b"Subject: a\n\nspam\n"[..], 3).unwrap();
    let answer = ask(address, &post("/checkv2", "Compression: zstd\r\n", &packed)).await;
    assert_eq!(json(&answer)["action"], "add header");
}

#[tokio::test]
async fn refused() {
    let config = Config { largest_message: 1000, ..Config::default() };
    let (address, _, judge) = begun(config).await;
    for (request, status) in [
        (post("/checkv2", "Shm: /a\r\n", b""), "400"),
        (post("/checkv2", "File: /etc/passwd\r\n", b""), "400"),
        (post("/checkv2", "Compression: zstd\r\n", b"abc"), "400"),
        (post("/checkv2", "", &vec![b'a'; 5000]), "413"),
        (post("/ping", "", b""), "405"),
        (post("/stat", "", b""), "404"),
        (post("/learnspam", "", b"Subject: a\r\n\r\n"), "401"),
        (post("/learnspam", "Password: guess\r\n", b"Subject: a\r\n\r\n"), "401"),
        (b"nonsense\r\n\r\n".to_vec(), "400"),
    ] {
        let answer = ask(address, &request).await;
        let said = answer.split(' ').nth(1).unwrap_or_default();
        assert_eq!(said, status, "{}", String::from_utf8_lossy(&request));
    }
    assert!(judge.questions().is_empty());
    // What is a little too large is looked at as far as it goes.
    let answer = ask(address, &post("/checkv2", "", &vec![b'a'; 2000])).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    let question = &judge.questions()[0];
    assert_eq!((question.message.len(), question.complete), (1000, false));
}

#[tokio::test]
async fn taught() {
    let (address, server, judge) = begun(Config::default()).await;
    let fields = "Password: teach\r\nDeliver-To: b@example.net\r\n";
    let lesson = post("/learnspam", fields, b"Subject: a\n\nspam\n");
    let answer = ask(address, &lesson).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(json(&answer)["success"], true);
    assert!(ask(address, &lesson).await.starts_with("HTTP/1.1 208 "));
    let ham = post("/learnham", fields, b"Subject: a\n\ngood\n");
    assert!(ask(address, &ham).await.starts_with("HTTP/1.1 200 "));
    let lessons = judge.lessons.lock().unwrap().clone();
    assert_eq!((lessons[0].spam, lessons[1].spam), (true, false));
    assert_eq!(lessons[0].user, Some(Party::parse("b@example.net")));
    assert_eq!(server.status().lessons, 2);
}

#[tokio::test]
async fn as_exim_asks() {
    let (address, _, judge) = begun(Config::default()).await;
    let message = b"Subject: a\n\nspam\n";
    let head = format!(
        "CHECK RSPAMC/1.3\r\nContent-length: {}\r\nQueue-Id: 1a-2b\r\nFrom: <a@example.org>\r\nRecipient-Number: 1\r\nRcpt: <b@example.net>\r\nIP: 192.0.2.1\r\n\r\n",
        message.len()
    );
    let answer = ask(address, &[head.as_bytes(), message].concat()).await;
    assert!(
        answer.starts_with(
            "RSPAMD/1.3 0 EX_OK\r\nMetric: default; True; 4.00 / 5.00 / 15.00\r\nAction: add header\r\n"
        ),
        "{answer}"
    );
    assert_eq!(judge.questions()[0].recipients, [Party::parse("b@example.net")]);
    assert_eq!(judge.questions()[0].message, "Subject: a\r\n\r\nspam\r\n");
    assert_eq!(ask(address, b"PING RSPAMC/1.3\r\n\r\n").await, "RSPAMD/1.3 0 PONG\r\n\r\n");
    assert_eq!(ask(address, b"LEARN RSPAMC/1.3\r\n\r\n").await, "");
}

#[tokio::test]
async fn pinged() {
    let (address, server, _) = begun(Config::default()).await;
    let ping = b"GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    assert!(ask(address, ping).await.ends_with("\r\n\r\npong\r\n"));
    // A connection that is kept ends when the server stops.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /ping HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    server.stop();
    server.stopped().await;
}
