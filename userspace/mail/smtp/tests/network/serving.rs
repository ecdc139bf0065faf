//! A server as its clients see it: on connections, in time, and with what only connections have.

use std::sync::Arc;
use std::time::Duration;

use crate::common::{Authority, Keeper, LONG, config, peer, start};
use muralla_mail_envelope::Domain;
use muralla_smtp::server::{Config, Decision, End, Mode, Security, Server, Welcome};
use muralla_smtp::tls::Wire;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

/// A client who says what he wants.
struct Rude<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> Rude<S> {
    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// What comes until a last line with that code.
    async fn hear(&mut self, code: &str) -> String {
        let mut all = Vec::new();
        let heard = async {
            loop {
                let octet = self.0.read_u8().await.expect("a reply");
                all.push(octet);
                let line =
                    all.strip_suffix(b"\r\n").map(|all| all.rsplit(|&it| it == b'\n').next());
                if let Some(Some(line)) = line
                    && line.get(3) == Some(&b' ')
                {
                    break;
                }
            }
        };
        timeout(LONG * 100, heard).await.expect("a reply in time");
        let text = String::from_utf8(all).unwrap();
        let last = text.trim_end().rsplit('\n').next().unwrap().to_owned();
        assert!(last.starts_with(code), "{code} expected, and not {text:?}");
        text
    }

    async fn ask(&mut self, text: &str, code: &str) -> String {
        self.say(text).await;
        self.hear(code).await
    }

    /// That nothing more comes.
    async fn ends(&mut self) {
        let mut rest = Vec::new();
        let end = timeout(LONG * 100, self.0.read_to_end(&mut rest)).await.expect("an end");
        assert!(end.is_err() || rest.is_empty(), "{:?}", String::from_utf8_lossy(&rest));
    }

    async fn begin(&mut self, recipient: &str) {
        self.ask("EHLO c.example\r\n", "250").await;
        self.ask("MAIL FROM:<a@example.org>\r\n", "250").await;
        self.ask(&format!("RCPT TO:<{recipient}>\r\n"), "250").await;
    }
}

async fn call(address: std::net::SocketAddr) -> Rude<TcpStream> {
    Rude(TcpStream::connect(address).await.unwrap())
}

/// Without a network, and so with time that can be wound.
fn in_memory(
    config: Config,
    keeper: &Keeper,
) -> (Rude<DuplexStream>, JoinHandle<()>, Server<Keeper>) {
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let server = Server::new(config, keeper.clone());
    let serving = server.clone();
    let task = tokio::spawn(async move { serving.serve(theirs, peer(), Security::StartTls).await });
    (Rude(ours), task, server)
}

#[tokio::test]
async fn a_message() {
    let keeper = Keeper::welcoming(Welcome {
        name: Some(Domain::parse("c.example").unwrap()),
        ..Welcome::default()
    });
    let (server, address) = start(config(Mode::Mx), &keeper, Security::StartTls).await;
    let mut client = call(address).await;
    client.hear("220 mx.example.net ESMTP").await;
    client.begin("user@example.net").await;
    client.ask("DATA\r\n", "354").await;
    let said = client.ask("Subject: a\r\n\r\n..b\r\n.\r\n", "250 2.0.0 Ok").await;
    let messages = keeper.messages();
    let (envelope, message) = &messages[0];
    assert_eq!(&message[..], b"Subject: a\r\n\r\n.b\r\n");
    assert!(said.contains(&envelope.id.to_string()));
    assert_eq!(envelope.client.ip.to_string(), "127.0.0.1");
    assert_eq!(envelope.client.helo, "c.example");
    assert_eq!(envelope.client.name.as_ref().map(Domain::as_str), Some("c.example"));
    assert!(envelope.received_at > 1_700_000_000);
    assert_eq!(server.status().connections, 1);
    client.ask("QUIT\r\n", "221").await;
    client.ends().await;
    let (_, report) = keeper.wait_for_reports(1).await[0].clone();
    assert_eq!((report.end, report.accepted, report.octets), (End::Quit, 1, 18));
    timeout(LONG, server.stopped()).await.unwrap();
    assert_eq!(server.status().connections, 0);
}

#[tokio::test]
async fn several_messages_have_several_ids() {
    let keeper = Keeper::default();
    let (_server, address) = start(config(Mode::Mx), &keeper, Security::StartTls).await;
    let mut client = call(address).await;
    client.hear("220").await;
    client.begin("user@example.net").await;
    client.ask("DATA\r\n", "354").await;
    client.ask("a\r\n.\r\n", "250").await;
    let again = "MAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nDATA\r\n";
    client.ask(again, "250").await;
    client.hear("250").await;
    client.hear("354").await;
    client.ask("b\r\n.\r\n", "250").await;
    let messages = keeper.messages();
    assert_eq!(messages.len(), 2);
    assert_ne!(messages[0].0.id, messages[1].0.id);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing() {
    let keeper = Keeper::default();
    let (mut client, task, _) = in_memory(config(Mode::Mx), &keeper);
    client.hear("220").await;
    let before = Instant::now();
    client.hear("421 4.4.2").await;
    assert!((Duration::from_secs(300)..Duration::from_secs(301)).contains(&before.elapsed()));
    client.ends().await;
    task.await.unwrap();
    assert_eq!(keeper.reports()[0].1.end, End::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn who_says_a_command_octet_by_octet() {
    let keeper = Keeper::default();
    let (mut client, task, _) = in_memory(config(Mode::Mx), &keeper);
    client.hear("220").await;
    let before = Instant::now();
    while !task.is_finished() && before.elapsed() < LONG * 100 {
        let _ = client.0.write_all(b"N").await;
        sleep(Duration::from_secs(20)).await;
    }
    assert!(before.elapsed() < Duration::from_secs(400), "{:?}", before.elapsed());
    assert_eq!(keeper.reports()[0].1.end, End::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn who_sends_a_message_octet_by_octet() {
    let keeper = Keeper::default();
    let (mut client, task, server) = in_memory(config(Mode::Mx), &keeper);
    client.hear("220").await;
    client.begin("user@example.net").await;
    client.ask("DATA\r\n", "354").await;
    let before = Instant::now();
    while !task.is_finished() && before.elapsed() < LONG * 200 {
        let _ = client.0.write_all(b"a").await;
        sleep(Duration::from_secs(30)).await;
    }
    let pauses = Duration::from_secs(180);
    assert!((pauses..pauses + LONG).contains(&before.elapsed()), "{:?}", before.elapsed());
    assert_eq!((keeper.reports()[0].1.end, keeper.messages().len()), (End::TimedOut, 0));
    assert_eq!(server.status().memory, 0);
}

#[tokio::test(start_paused = true)]
async fn who_sends_for_an_hour() {
    let keeper = Keeper::default();
    let (mut client, task, server) = in_memory(config(Mode::Mx), &keeper);
    client.hear("220").await;
    client.begin("user@example.net").await;
    client.ask("DATA\r\n", "354").await;
    let before = Instant::now();
    // As fast as it has to be, with pauses.
    let piece = format!("{}\r\n", "a".repeat(998)).repeat(40);
    while !task.is_finished() && before.elapsed() < LONG * 200 {
        let _ = client.0.write_all(piece.as_bytes()).await;
        sleep(LONG).await;
    }
    let hour = Duration::from_secs(3600);
    assert!((hour..hour + LONG * 2).contains(&before.elapsed()), "{:?}", before.elapsed());
    assert_eq!((keeper.reports()[0].1.end, keeper.messages().len()), (End::TimedOut, 0));
    assert_eq!(server.status().memory, 0);
}

/// Most of a message is sent at once, to hold memory with it.
#[tokio::test(start_paused = true)]
async fn who_sends_much_and_then_next_to_nothing() {
    for chunked in [false, true] {
        let keeper = Keeper::default();
        let (mut client, task, server) = in_memory(config(Mode::Mx), &keeper);
        client.hear("220").await;
        client.begin("user@example.net").await;
        let lines = format!("{}\r\n", "a".repeat(998)).repeat(1000);
        if chunked {
            client.say("BDAT 1000000\r\n").await;
            client.ask(&lines, "250").await;
        } else {
            client.ask("DATA\r\n", "354").await;
            client.say(&lines).await;
        }
        let before = Instant::now();
        while !task.is_finished() && before.elapsed() < LONG * 200 {
            sleep(Duration::from_secs(20)).await;
            assert!(task.is_finished() || server.status().memory > 900_000);
            // Commands between chunks are no pause less.
            let word: &[u8] = if chunked { b"NOOP\r\n" } else { b"a" };
            let _ = client.0.write_all(word).await;
        }
        let pauses = Duration::from_secs(180);
        assert!(before.elapsed() < pauses + 2 * LONG, "{:?}", before.elapsed());
        assert_eq!(keeper.reports()[0].1.end, End::TimedOut);
        assert_eq!(server.status().memory, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn who_stops_in_a_message() {
    let keeper = Keeper::default();
    let (mut client, task, _) = in_memory(config(Mode::Mx), &keeper);
    client.hear("220").await;
    client.begin("user@example.net").await;
    client.ask("DATA\r\n", "354").await;
    client.say("half a mess").await;
    let before = Instant::now();
    client.hear("421 4.4.2").await;
    assert!((Duration::from_secs(180)..Duration::from_secs(181)).contains(&before.elapsed()));
    client.ends().await;
    task.await.unwrap();
    assert_eq!((keeper.reports()[0].1.abandoned, keeper.messages().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn who_never_ends() {
    let keeper = Keeper::default();
    let mut config = config(Mode::Mx);
    config.limits.idle_commands = u32::MAX;
    let (mut client, task, _) = in_memory(config, &keeper);
    client.hear("220").await;
    let before = Instant::now();
    while !task.is_finished() && before.elapsed() < Duration::from_secs(86_400) {
        let _ = client.0.write_all(b"NOOP\r\n").await;
        sleep(Duration::from_secs(200)).await;
    }
    assert!(before.elapsed() < Duration::from_secs(7 * 3600), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_listen() {
    let keeper = Keeper::default();
    let (ours, theirs) = tokio::io::duplex(64);
    let server = Server::new(config(Mode::Mx), keeper.clone());
    let task = tokio::spawn(async move { server.serve(theirs, peer(), Security::StartTls).await });
    let mut client = Rude(ours);
    client.hear("220").await;
    client.say("EHLO c.example\r\n").await;
    let before = Instant::now();
    timeout(LONG * 10, task).await.unwrap().unwrap();
    assert!(before.elapsed() >= Duration::from_secs(60));
    assert_eq!(keeper.reports()[0].1.end, End::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn early_talkers() {
    let welcome = |refuse_early| Welcome {
        pause: Duration::from_secs(5),
        refuse_early,
        ..Welcome::default()
    };
    // Refused.
    let keeper = Keeper::welcoming(welcome(true));
    let (mut client, task, _) = in_memory(config(Mode::Mx), &keeper);
    client.say("EHLO c.example\r\n").await;
    client.hear("554 5.5.1").await;
    client.ends().await;
    task.await.unwrap();
    let report = keeper.reports()[0].1;
    assert_eq!((report.early, report.end), (true, End::Refused));

    // Noted.
    let keeper = Keeper::welcoming(welcome(false));
    let (mut client, task, _) = in_memory(config(Mode::Mx), &keeper);
    client.say("EHLO c.example\r\nQUIT\r\n").await;
    client.hear("220").await;
    client.hear("250").await;
    client.hear("221").await;
    drop(client);
    task.await.unwrap();
    assert!(keeper.reports()[0].1.early);

    // Who waits has nothing to fear.
    let keeper = Keeper::welcoming(welcome(true));
    let (mut client, task, _) = in_memory(config(Mode::Mx), &keeper);
    let before = Instant::now();
    client.hear("220").await;
    assert_eq!(before.elapsed().as_secs(), 5);
    client.ask("QUIT\r\n", "221").await;
    drop(client);
    task.await.unwrap();
    assert!(!keeper.reports()[0].1.early);
}

#[tokio::test]
async fn who_is_not_let_in() {
    for (decision, code) in [
        (Decision::permanent(554, 7, 1, "Not you"), "554 5.7.1 Not you"),
        (Decision::hang_up(7, 0, "Not now"), "421 4.7.0 Not now"),
    ] {
        let keeper = Keeper::welcoming(Welcome { decision, ..Welcome::default() });
        let (_server, address) = start(config(Mode::Mx), &keeper, Security::StartTls).await;
        let mut client = call(address).await;
        client.hear(code).await;
        client.ends().await;
        drop(client);
        assert_eq!(keeper.wait_for_reports(1).await[0].1.end, End::Refused);
    }
}

#[tokio::test]
async fn who_hangs_up() {
    let keeper = Keeper::default();
    let (server, address) = start(config(Mode::Mx), &keeper, Security::StartTls).await;
    let mut client = call(address).await;
    client.hear("220").await;
    client.begin("user@example.net").await;
    client.ask("DATA\r\n", "354").await;
    client.say("a\r\n.").await;
    drop(client);
    let (_, report) = keeper.wait_for_reports(1).await[0].clone();
    assert_eq!((report.end, report.abandoned, keeper.messages().len()), (End::Lost, 1, 0));
    timeout(LONG, server.stopped()).await.unwrap();
    assert_eq!(server.status().memory, 0);
}

/// The reply comes through although the client still sends.
#[tokio::test]
async fn the_last_word_is_heard() {
    let keeper = Keeper::default();
    let mut config = config(Mode::Mx);
    config.limits.largest_message = 10_000;
    let (_server, address) = start(config, &keeper, Security::StartTls).await;
    let mut client = call(address).await;
    client.hear("220").await;
    client.begin("user@example.net").await;
    client.ask("DATA\r\n", "354").await;
    let (mut reader, mut writer) = client.0.into_split();
    let sending = tokio::spawn(async move {
        for _ in 0..40 {
            if writer.write_all(&[b'a'; 50_000]).await.is_err() {
                break;
            }
        }
    });
    let mut heard = vec![0; 512];
    let octets = timeout(LONG, reader.read(&mut heard)).await.unwrap().unwrap();
    assert!(heard[..octets].starts_with(b"552 5.3.4 The message is far too large\r\n"));
    sending.await.unwrap();
}

#[tokio::test]
async fn stopping() {
    let keeper = Keeper::default();
    let (server, address) = start(config(Mode::Mx), &keeper, Security::StartTls).await;
    let mut idle = call(address).await;
    idle.hear("220").await;
    let mut new = call(address).await;
    new.hear("220").await;
    let mut busy = call(address).await;
    busy.hear("220").await;
    busy.begin("user@example.net").await;

    server.stop();
    // Who was greeted a moment ago is not turned away.
    new.begin("user@example.net").await;
    new.ask("DATA\r\n", "354").await;
    new.ask("b\r\n.\r\n", "250").await;
    new.hear("421 4.3.2").await;
    new.ends().await;
    idle.hear("421 4.3.2").await;
    idle.ends().await;
    // No new ones, and the one that began ends well.
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, refused).await.unwrap();
    busy.ask("DATA\r\n", "354").await;
    busy.ask("a\r\n.\r\n", "250").await;
    busy.hear("421 4.3.2").await;
    busy.ends().await;
    drop((idle, busy, new));
    timeout(LONG, server.stopped()).await.unwrap();
    assert_eq!(keeper.messages().len(), 2);
    assert!(keeper.reports().iter().all(|(_, report)| report.end == End::Stopped));
}

#[tokio::test]
async fn too_many_connections() {
    let keeper = Keeper::default();
    let mut config = config(Mode::Mx);
    config.limits.connections = 3;
    config.limits.connections_per_source = 2;
    let (server, address) = start(config, &keeper, Security::StartTls).await;
    let mut first = call(address).await;
    first.hear("220").await;
    let mut second = call(address).await;
    second.hear("220").await;
    let mut third = call(address).await;
    third.hear("421 4.7.0 You have too many connections").await;
    third.ends().await;
    drop(third);
    first.ask("QUIT\r\n", "221").await;
    first.ends().await;
    // As soon as its place is free.
    let served = async {
        loop {
            let mut fourth = call(address).await;
            let mut line = vec![0; 3];
            fourth.0.read_exact(&mut line).await.unwrap();
            if line == b"220" {
                return fourth;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let _fourth = timeout(LONG, served).await.unwrap();
    assert!(server.status().turned_away >= 1);
    let crowded = keeper.crowded();
    assert!(!crowded.is_empty() && crowded.iter().all(|one| one.is_loopback()), "{crowded:?}");
    assert_eq!(server.status().sources, 1);
}

#[tokio::test]
async fn a_full_server() {
    let keeper = Keeper::default();
    let mut config = config(Mode::Mx);
    config.limits.connections = 1;
    let (server, address) = start(config, &keeper, Security::StartTls).await;
    let mut first = call(address).await;
    first.hear("220").await;
    let mut second = call(address).await;
    second.hear("421 4.3.2").await;
    second.ends().await;
    assert_eq!(server.status().turned_away, 1);
    assert!(keeper.crowded().is_empty(), "that the server is full is not his doing");
    first.ask("NOOP\r\n", "250").await;
}

#[tokio::test]
async fn behind_a_balancer() {
    let keeper = Keeper::default();
    let mut config = config(Mode::Mx);
    config.proxies = vec!["127.0.0.0/8".parse().unwrap()];
    config.times.handshake = Duration::from_millis(200);
    let (server, address) = start(config, &keeper, Security::StartTls).await;
    let mut client = call(address).await;
    client.say("PROXY TCP4 198.51.100.7 192.0.2.25 1234 25\r\n").await;
    client.hear("220").await;
    client.begin("user@example.net").await;
    client.ask("DATA\r\n", "354").await;
    client.ask("a\r\n.\r\n", "250").await;
    assert_eq!(keeper.messages()[0].0.client.ip.to_string(), "198.51.100.7");
    drop(client);
    assert_eq!(keeper.wait_for_reports(1).await[0].0.ip.to_string(), "198.51.100.7");

    // Neither without a header, nor with nothing at all, nor may others send one.
    let mut client = call(address).await;
    client.say("EHLO c.example\r\n").await;
    client.ends().await;
    let mut client = call(address).await;
    client.ends().await;
    timeout(LONG, server.stopped()).await.unwrap();
    assert_eq!(keeper.reports().len(), 1);

    let keeper = Keeper::default();
    let (_server, address) =
        start(crate::common::config(Mode::Mx), &keeper, Security::StartTls).await;
    let mut client = call(address).await;
    client.hear("220").await;
    client.ask("PROXY TCP4 198.51.100.7 192.0.2.25 1234 25\r\n", "500").await;
}

#[tokio::test]
async fn tls_from_the_start_behind_a_balancer() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let keeper = Keeper::default();
    let mut config = config(Mode::Submission);
    config.proxies = vec!["127.0.0.0/8".parse().unwrap()];
    config.certificates = Some(authority.certificates(folder.path(), "mx.example.net"));
    let (_server, address) = start(config, &keeper, Security::Implicit).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"PROXY TCP6 2001:db8::1 2001:db8::2 1234 465\r\n").await.unwrap();
    let mut wire = Wire::Plain(stream);
    let name = ServerName::try_from("mx.example.net").unwrap();
    wire.connect(&authority.trust(folder.path()), name, true).await.unwrap();
    let mut client = Rude(wire);
    client.hear("220").await;
    client.ask("EHLO c.example\r\n", "250 AUTH").await;
    client.ask("AUTH PLAIN AHVzZXIAcGVuY2ls\r\n", "235").await;
    client.ask("MAIL FROM:<user@example.net>\r\n", "250").await;
    client.ask("RCPT TO:<a@example.org>\r\n", "250").await;
    client.ask("DATA\r\n", "354").await;
    client.ask("a\r\n.\r\n", "250").await;
    let envelope = keeper.messages()[0].0.clone();
    assert_eq!(envelope.client.ip.to_string(), "2001:db8::1");
    assert_eq!(envelope.client.authenticated.as_deref(), Some("user@example.net"));
    let tls = envelope.client.tls.unwrap();
    assert_eq!((&*tls.version, tls.server_name.as_deref()), ("TLSv1.3", Some("mx.example.net")));
    assert!(tls.cipher.starts_with("TLS_AES_") || tls.cipher.starts_with("TLS_CHACHA20_"));
}

#[tokio::test]
async fn starttls_and_a_login_bound_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let keeper = Keeper::default();
    let mut config = config(Mode::Submission);
    config.certificates = Some(authority.certificates(folder.path(), "mx.example.net"));
    let (_server, address) = start(config, &keeper, Security::StartTls).await;
    let mut client = call(address).await;
    client.hear("220").await;
    assert!(!client.ask("EHLO c.example\r\n", "250 STARTTLS").await.contains("AUTH"));
    // What is said in the clear behind STARTTLS was never said.
    client.ask("STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n", "220").await;
    let mut wire = Wire::Plain(client.0);
    let name = ServerName::try_from("mx.example.net").unwrap();
    wire.connect(&authority.trust(folder.path()), name, true).await.unwrap();
    let binding = wire.binding().unwrap();
    let mut client = Rude(wire);
    assert!(!client.ask("EHLO c.example\r\n", "250").await.contains("STARTTLS"));

    let encode = |octets: &[u8]| data_encoding::BASE64.encode(octets);
    let first = encode(b"p=tls-exporter,,n=user,r=abc");
    let challenge = client.ask(&format!("AUTH SCRAM-SHA-256-PLUS {first}\r\n"), "334").await;
    let challenge = data_encoding::BASE64.decode(challenge[4..].trim().as_bytes()).unwrap();
    let challenge = String::from_utf8(challenge).unwrap();
    let nonce = challenge.split(',').next().unwrap();
    let bound = encode(&[&b"p=tls-exporter,,"[..], &binding].concat());
    let last = encode(format!("c={bound},{nonce},p={}", encode(b"right")).as_bytes());
    client.ask(&format!("{last}\r\n"), "334").await;
    client.ask("\r\n", "235").await;
    client.ask("MAIL FROM:<user@example.net>\r\n", "250").await;
    drop(client);
    let (client, report) = keeper.wait_for_reports(1).await[0].clone();
    assert_eq!(client.authenticated.as_deref(), Some("user"));
    assert_eq!((report.injected, report.mails), (30, 1));
}

#[tokio::test]
async fn no_tls_after_all() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let keeper = Keeper::default();
    let mut config = config(Mode::Mx);
    config.certificates = Some(authority.certificates(folder.path(), "mx.example.net"));
    config.times.handshake = Duration::from_millis(300);
    let (_server, address) = start(config, &keeper, Security::StartTls).await;
    // In the clear where TLS should begin.
    let mut client = call(address).await;
    client.hear("220").await;
    client.ask("STARTTLS\r\n", "220").await;
    client.say("EHLO c.example\r\n").await;
    drop(client);
    assert_eq!(keeper.wait_for_reports(1).await[0].1.end, End::Tls);
    // Nothing where TLS should begin.
    let mut client = call(address).await;
    client.hear("220").await;
    client.ask("STARTTLS\r\n", "220").await;
    client.ends().await;
    assert_eq!(keeper.wait_for_reports(2).await[1].1.end, End::TimedOut);
}

#[tokio::test]
async fn a_certificate_that_is_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let keeper = Keeper::default();
    let certificates = authority.certificates(folder.path(), "old.example.net");
    let mut config = config(Mode::Mx);
    config.certificates = Some(Arc::clone(&certificates));
    let (_server, address) = start(config, &keeper, Security::Implicit).await;
    let trust = authority.trust(folder.path());
    let verified = async |name: &'static str| {
        let mut wire = Wire::Plain(TcpStream::connect(address).await.unwrap());
        let name = ServerName::try_from(name).unwrap();
        wire.connect(&trust, name, true).await.is_ok()
    };
    assert!(verified("old.example.net").await);
    assert!(!verified("new.example.net").await);
    authority.certify(folder.path(), "new.example.net");
    assert!(certificates.reload().unwrap());
    assert!(verified("new.example.net").await);
    assert!(!verified("old.example.net").await);
}

/// However many send however much, messages take no more memory than was said, and all of them arrive in the end.
#[tokio::test]
async fn memory_has_a_limit() {
    let keeper = Keeper::default();
    let mut config = config(Mode::Mx);
    config.limits.memory = 4 << 20;
    config.limits.largest_message = 3 << 20;
    config.times.memory = Duration::from_millis(50);
    let (server, address) = start(config, &keeper, Security::StartTls).await;
    let message = format!("{}\r\n", "a".repeat(998)).repeat(2500);
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let message = message.clone();
            tokio::spawn(async move {
                let mut refused = 0;
                loop {
                    let mut client = call(address).await;
                    client.hear("220").await;
                    client.begin("user@example.net").await;
                    client.ask("DATA\r\n", "354").await;
                    client.say(&message).await;
                    client.say(".\r\n").await;
                    let said = client.hear("").await;
                    if said.starts_with("250") {
                        return refused;
                    }
                    assert!(said.starts_with("452 4.3.1"), "{said}");
                    refused += 1;
                    sleep(Duration::from_millis(20)).await;
                }
            })
        })
        .collect();
    let mut most = 0;
    while keeper.messages().len() < 6 {
        most = most.max(server.status().memory);
        sleep(Duration::from_millis(1)).await;
    }
    for task in tasks {
        timeout(LONG, task).await.unwrap().unwrap();
    }
    assert!(most <= 4 << 20, "{most}");
    assert!(keeper.messages().iter().all(|(_, kept)| kept[..] == *message.as_bytes()));
    timeout(LONG, server.stopped()).await.unwrap();
    assert_eq!(server.status().memory, 0);
}

/// One source has a part of it, however many messages it begins: others have the rest.
#[tokio::test]
async fn memory_is_not_one_source_s_alone() {
    let keeper = Keeper::default();
    let mut config = config(Mode::Mx);
    config.limits.memory = 8 << 20;
    config.limits.memory_per_source = 4 << 20;
    config.limits.largest_message = 2 << 20;
    config.times.memory = Duration::from_millis(50);
    let (server, address) = start(config, &keeper, Security::StartTls).await;
    let half = format!("{}\r\n", "a".repeat(998)).repeat(1800);
    let mut greedy = Vec::new();
    for _ in 0..10 {
        let mut client = call(address).await;
        client.hear("220").await;
        client.begin("user@example.net").await;
        client.ask("DATA\r\n", "354").await;
        client.say(&half).await;
        greedy.push(client);
    }
    // Somebody else's messages are taken.
    for _ in 0..3 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut client = Rude(socket.connect(address).await.unwrap());
        client.hear("220").await;
        client.begin("user@example.net").await;
        client.ask("DATA\r\n", "354").await;
        client.say(&half).await;
        client.ask(".\r\n", "250").await;
    }
    // Until here the greedy one had all that he may have: without a limit of his own, that were all there is.
    drop(greedy);
    timeout(LONG, server.stopped()).await.unwrap();
}

/// While most places are taken, nobody keeps one for long who does nothing.
#[tokio::test]
async fn who_does_nothing_makes_room() {
    let keeper = Keeper::default();
    let mut config = config(Mode::Mx);
    config.limits.connections = 8;
    config.times.pressed = Duration::from_millis(100);
    let (server, address) = start(config, &keeper, Security::StartTls).await;
    let mut idle = Vec::new();
    for _ in 0..6 {
        let mut client = call(address).await;
        client.hear("220").await;
        idle.push(client);
    }
    assert!(!server.status().full);
    let mut seventh = call(address).await;
    seventh.hear("220").await;
    // Who has been there for longest goes, as soon as the places are needed.
    idle[0].hear("421 4.4.2").await;
    idle[0].ends().await;
}

/// A message that the handler holds keeps its memory, and nobody else waits for it.
#[tokio::test]
async fn a_slow_handler_holds_up_nobody() {
    let keeper = Keeper::default();
    let (server, address) = start(config(Mode::Mx), &keeper, Security::StartTls).await;
    let held = keeper.hold().await;
    let mut slow = call(address).await;
    slow.hear("220").await;
    slow.begin("held@example.net").await;
    slow.ask("DATA\r\n", "354").await;
    slow.say(&format!("{}\r\n", "a".repeat(900)).repeat(1000)).await;
    slow.say(".\r\n").await;
    let mut quick = call(address).await;
    quick.hear("220").await;
    quick.begin("user@example.net").await;
    quick.ask("DATA\r\n", "354").await;
    quick.ask("a\r\n.\r\n", "250").await;
    assert_eq!(keeper.messages().len(), 1);
    assert!(server.status().memory > 900_000);
    drop(held);
    slow.hear("250").await;
    assert_eq!(keeper.messages().len(), 2);
}

#[tokio::test]
async fn another_configuration() {
    let keeper = Keeper::default();
    let (server, address) = start(config(Mode::Mx), &keeper, Security::StartTls).await;
    let mut old = call(address).await;
    old.hear("220").await;
    let mut new = config(Mode::Mx);
    new.name = Domain::parse("mx2.example.net").unwrap();
    new.limits.largest_message = 1234;
    server.reconfigure(new);
    let mut client = call(address).await;
    client.hear("220 mx2.example.net").await;
    assert!(client.ask("EHLO c.example\r\n", "250").await.contains("SIZE 1234\r\n"));
    assert!(!old.ask("EHLO c.example\r\n", "250").await.contains("SIZE 1234\r\n"));
}
