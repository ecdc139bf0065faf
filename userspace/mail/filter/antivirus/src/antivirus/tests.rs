use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::*;
use crate::clamd::{Address, Settings};
use crate::limits::Limits;
use crate::samples;

fn antivirus(clamd: Option<Clamd>, time: Duration) -> Antivirus {
    let engine = Engine::new(Limits::default(), Duration::from_secs(5)).unwrap();
    Antivirus::new(engine, clamd, time, 2, 100)
}

fn parts() -> Vec<Part> {
    vec![
        Part::text("Dear reader"),
        Part::file("photo.jpg", &b"\xff\xd8\xff\xe0"[..]),
        Part::file("offer.zip", samples::zip(&[("offer.pdf.exe", &samples::program())])),
    ]
}

#[tokio::test]
async fn the_worst_part_counts() {
    let antivirus = antivirus(None, Duration::from_secs(10));
    for remembered in [0, 3] {
        let report = antivirus.scan(parts()).await;
        let names: Vec<&str> = report.parts.iter().map(Verdict::name).collect();
        assert_eq!(names, ["clean", "clean", "found"]);
        assert_eq!(report.verdict, report.parts[2]);
        assert_eq!(report.findings[0].what, "offer.zip \u{203a} offer.pdf.exe");
        assert_eq!(report.remembered, remembered);
    }
    // Under another name, it is the same file.
    let mut other = parts().remove(2);
    other.name = Some("bill.zip".to_owned());
    let report = antivirus.scan(vec![other]).await;
    assert_eq!(
        (report.remembered, report.findings[0].what.as_str()),
        (1, "bill.zip \u{203a} offer.pdf.exe")
    );
    assert_eq!(antivirus.scan(Vec::new()).await, Report::default());
}

#[tokio::test]
async fn a_scanner_that_is_down_is_never_clean() {
    let folder = tempfile::tempdir().unwrap();
    let clamd = Clamd::new(Settings::new(Address::Unix(folder.path().join("clamd"))));
    let antivirus = antivirus(Some(clamd), Duration::from_secs(10));
    let report = antivirus.scan(parts()).await;
    let names: Vec<&str> = report.parts.iter().map(Verdict::name).collect();
    assert_eq!(names, ["unscanned", "unscanned", "found"]);
    let report = antivirus.scan(vec![Part::text("Dear reader")]).await;
    assert!(report.verdict.is_held() && report.verdict.is_passing());
}

#[tokio::test]
async fn no_time_at_all() {
    let antivirus = antivirus(None, Duration::ZERO);
    let report = antivirus.scan(vec![Part::text("Dear reader")]).await;
    assert_eq!(report.verdict, Verdict::Unscanned(Why::Late));
    assert_eq!(report.remembered, 0);
}

/// A clamd that finds whatever has a "virus" in it, in a version that changes with each question.
async fn clamd(listener: UnixListener) {
    let mut version = 0;
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut command = Vec::new();
        while command.last() != Some(&0) {
            command.push(stream.read_u8().await.unwrap());
        }
        if command == b"zVERSION\0" {
            version += 1;
            stream.write_all(format!("ClamAV 1.4.6/{version}\0").as_bytes()).await.unwrap();
            continue;
        }
        let mut content = Vec::new();
        loop {
            let length = stream.read_u32().await.unwrap();
            if length == 0 {
                break;
            }
            (&mut stream).take(length.into()).read_to_end(&mut content).await.unwrap();
        }
        let found = memchr::memmem::find(&content, b"virus").is_some();
        let answer: &[u8] = if found { b"stream: Test.Virus FOUND\0" } else { b"stream: OK\0" };
        stream.write_all(answer).await.unwrap();
    }
}

#[tokio::test]
async fn both_are_asked_and_both_are_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("clamd");
    let server = tokio::spawn(clamd(UnixListener::bind(&path).unwrap()));
    let antivirus =
        antivirus(Some(Clamd::new(Settings::new(Address::Unix(path)))), Duration::from_secs(10));
    for remembered in [0, 4] {
        let report =
            antivirus.scan(vec![Part::file("a.dat", &b"a virus"[..]), Part::text("none")]).await;
        assert_eq!(
            report.verdict.to_string(),
            "\u{201c}a.dat\u{201d} is known to ClamAV as \u{201c}Test.Virus\u{201d}."
        );
        assert_eq!(report.parts[1], Verdict::Clean);
        assert_eq!(report.remembered, remembered);
    }
    server.abort();
}
