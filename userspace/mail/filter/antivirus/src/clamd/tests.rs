use tokio::net::{TcpListener, UnixListener};

use super::*;

#[test]
fn addresses() {
    for (text, expected) in [
        ("/run/clamav/clamd.ctl", Some(Address::Unix("/run/clamav/clamd.ctl".into()))),
        ("unix:/run/clamd", Some(Address::Unix("/run/clamd".into()))),
        ("localhost:3310", Some(Address::Tcp("localhost:3310".into()))),
        ("tcp:[::1]:3310", Some(Address::Tcp("[::1]:3310".into()))),
        ("localhost", None),
        ("localhost:0", None),
        (":3310", None),
        ("run/clamd", None),
        ("", None),
    ] {
        assert_eq!(text.parse().ok(), expected, "{text}");
    }
}

#[test]
fn replies() {
    let found = |name: &str| Reply::Found(name.to_owned());
    for (words, expected) in [
        (&b"stream: OK"[..], Reply::Clean),
        (b"stream: OK\n", Reply::Clean),
        (b"stream: Eicar-Signature FOUND", found("Eicar-Signature")),
        (b"stream: Win.Test(0123:45) FOUND", found("Win.Test(0123:45)")),
        (b"INSTREAM size limit exceeded. ERROR", Reply::TooLarge),
        (b"stream: Can't allocate memory ERROR", Reply::Error("Can't allocate memory".into())),
        (b"stream:  FOUND", Reply::Error("FOUND".into())),
        (b"OK", Reply::Error("OK".into())),
        (b"UNKNOWN COMMAND", Reply::Error("UNKNOWN COMMAND".into())),
        (b"", Reply::Error(String::new())),
        (b"\xff\xfe", Reply::Error("\u{fffd}\u{fffd}".into())),
        (b"stream: OKAY", Reply::Error("OKAY".into())),
    ] {
        assert_eq!(Reply::read(words), expected, "{}", words.escape_ascii());
    }
}

#[test]
fn what_replies_mean() {
    for (reply, verdict) in [
        (Reply::Clean, "clean"),
        (Reply::Found("Win.Test".into()), "found"),
        (Reply::Found("Heuristics.Phishing.Email.SpoofedDomain".into()), "suspicious"),
        (Reply::Found("Heuristics.Encrypted.Zip".into()), "suspicious"),
        (Reply::Found("PUA.Win.Tool".into()), "suspicious"),
        (Reply::Found("Heuristics.Limits.Exceeded.MaxFiles".into()), "excessive"),
        (Reply::Found("Heuristics.Limits.Exceeded".into()), "excessive"),
        (Reply::TooLarge, "unscanned"),
        (Reply::Error("no".into()), "unscanned"),
    ] {
        assert_eq!(reply.clone().verdict().name(), verdict, "{reply:?}");
    }
    let verdict = Reply::Found("Win.Test-1".into()).verdict();
    assert_eq!(
        verdict.to_string(),
        "A part of the message is known to ClamAV as \u{201c}Win.Test-1\u{201d}."
    );
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// Reads what `zINSTREAM` brings.
async fn received(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut command = [0; 10];
    stream.read_exact(&mut command).await?;
    assert_eq!(&command, b"zINSTREAM\0");
    let mut content = Vec::new();
    loop {
        let length = stream.read_u32().await? as usize;
        if length == 0 {
            return Ok(content);
        }
        assert!(length <= CHUNK);
        let begin = content.len();
        content.resize(begin + length, 0);
        stream.read_exact(&mut content[begin..]).await?;
    }
}

#[tokio::test]
async fn a_dialog() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clamd");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        let mut sizes = Vec::new();
        for answer in [&b"stream: OK\0"[..], b"stream: Test FOUND\0", b"stream: OK"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let content = received(&mut stream).await.unwrap();
            sizes.push((content.len(), content.iter().all(|&octet| octet == 7)));
            stream.write_all(answer).await.unwrap();
        }
        sizes
    });
    let clamd = Clamd::new(Settings::new(Address::Unix(path)));
    assert_eq!(clamd.scan(&[7; 10], soon()).await, Verdict::Clean);
    assert_eq!(clamd.scan(&[7; 1_000_000], soon()).await.name(), "found");
    assert_eq!(clamd.scan(&[], soon()).await, Verdict::Clean);
    assert_eq!(server.await.unwrap(), [(10, true), (1_000_000, true), (0, true)]);
}

#[tokio::test]
async fn nothing_but_ok_is_clean() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let cases: [(&[u8], bool, &str); 6] = [
        // What it says before it has everything counts.
        (b"INSTREAM size limit exceeded. ERROR\0", false, "too-large"),
        // It closes without a word, with everything or without.
        (b"", true, "down"),
        (b"", false, "down"),
        (b"stream: O", true, "refused"),
        (b"\0", true, "down"),
        (b"stream: no memory ERROR\0", true, "refused"),
    ];
    let server = tokio::spawn(async move {
        for (answer, everything, _) in cases {
            let (mut stream, _) = listener.accept().await.unwrap();
            if everything {
                received(&mut stream).await.unwrap();
            } else {
                let mut some = [0; 100];
                stream.read_exact(&mut some).await.unwrap();
            }
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
            if !everything {
                // Else what was not read would make the kernel throw away what was said.
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            }
        }
    });
    let clamd = Clamd::new(Settings::new(address.parse().unwrap()));
    for (answer, everything, expected) in cases {
        let verdict = clamd.scan(&[7; 3_000_000], soon()).await;
        let Verdict::Unscanned(why) = verdict else { panic!("{verdict:?}") };
        assert_eq!(why.name(), expected, "{} {everything}", answer.escape_ascii());
    }
    server.await.unwrap();
}

#[tokio::test]
async fn late_down_and_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clamd");
    let clamd = Clamd::new(Settings { largest: 100, ..Settings::new(Address::Unix(path.clone())) });
    assert_eq!(clamd.scan(b"content", soon()).await, Verdict::Unscanned(Why::Down));
    assert_eq!(clamd.version(soon()).await, None);
    assert_eq!(clamd.scan(&[0; 101], soon()).await, Verdict::Unscanned(Why::TooLarge));

    // It listens, and says nothing.
    let _listener = UnixListener::bind(&path).unwrap();
    tokio::time::sleep(PAUSE).await;
    let deadline = Instant::now() + Duration::from_millis(100);
    assert_eq!(clamd.scan(b"content", deadline).await, Verdict::Unscanned(Why::Late));
    assert!(Instant::now() < deadline + Duration::from_secs(1));
}

#[tokio::test]
async fn while_it_is_down_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clamd");
    let clamd = Clamd::new(Settings::new(Address::Unix(path.clone())));
    assert_eq!(clamd.scan(b"content", soon()).await, Verdict::Unscanned(Why::Down));
    let listener = UnixListener::bind(&path).unwrap();
    // It is back, and nobody has noticed yet.
    assert_eq!(clamd.scan(b"content", soon()).await, Verdict::Unscanned(Why::Down));
    tokio::time::sleep(PAUSE).await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        received(&mut stream).await.unwrap();
        stream.write_all(b"stream: OK\0").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut command = [0; 9];
        stream.read_exact(&mut command).await.unwrap();
        assert_eq!(&command, b"zVERSION\0");
        stream.write_all(b"ClamAV 1.4.6/27000/today\0").await.unwrap();
    });
    assert_eq!(clamd.scan(b"content", soon()).await, Verdict::Clean);
    for _ in 0..2 {
        assert_eq!(clamd.version(soon()).await.as_deref(), Some("ClamAV 1.4.6/27000/today"));
    }
    server.await.unwrap();
}
