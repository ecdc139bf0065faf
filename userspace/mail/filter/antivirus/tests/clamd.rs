//! A real clamd (Debian's clamav-daemon), with signatures of our own: what it says is understood, and while it is away, nothing is
//! clean.

#![cfg(feature = "rules")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use muralla_filter_antivirus::clamd::{Address, Clamd, Settings};
use muralla_filter_antivirus::{Antivirus, Engine, Limits, Part, Verdict, Why};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// What the signature looks for, in two pieces, so that this program is not what it finds.
fn signed() -> Vec<u8> {
    [&b"what Muralla's tests "[..], b"look for with clamd"].concat()
}

/// A clamd that ends with the test.
struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Daemon {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let signature: String = signed().iter().map(|octet| format!("{octet:02x}")).collect();
        let database = folder.path().join("database");
        fs::create_dir(&database).unwrap();
        fs::write(database.join("muralla.ndb"), format!("Muralla.Test-1:0:*:{signature}\n"))
            .unwrap();
        let mut daemon = Self { child: Self::spawn(folder.path()), folder };
        daemon.wait().await;
        daemon
    }

    fn spawn(folder: &Path) -> Child {
        let configuration = folder.join("clamd.conf");
        let text = format!(
            "Foreground yes\nLocalSocket {socket}\nFixStaleSocket yes\nDatabaseDirectory {database}\n\
             TemporaryDirectory {temporary}\nStreamMaxLength 2M\nMaxThreads 4\nLogFile {log}\n",
            socket = socket(folder).display(),
            database = folder.join("database").display(),
            temporary = folder.display(),
            log = folder.join("log").display(),
        );
        fs::write(&configuration, text).unwrap();
        Command::new("clamd")
            .arg("--config-file")
            .arg(&configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("clamd does not start ({error}): cargo xtask setup installs it")
            })
    }

    async fn wait(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while tokio::net::UnixStream::connect(socket(self.folder.path())).await.is_err() {
            let ended = self.child.try_wait().unwrap();
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "clamd does not listen: {ended:?}\n{log}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn stop(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_| ())
    }

    fn settings(&self) -> Settings {
        Settings::new(Address::Unix(socket(self.folder.path())))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("clamd.ctl")
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

#[tokio::test]
async fn a_real_clamd_is_understood() {
    let mut daemon = Daemon::start().await;
    let clamd = Clamd::new(daemon.settings());

    let version = clamd.version(soon()).await.unwrap();
    assert!(version.starts_with("ClamAV "), "{version}");
    assert_eq!(clamd.scan(b"nothing of the sort", soon()).await, Verdict::Clean);
    let content = [&b"before "[..], &signed(), b" behind"].concat();
    let Verdict::Found(finding) = clamd.scan(&content, soon()).await else { panic!("not found") };
    assert!(finding.name.starts_with("ClamAV.Muralla.Test-1"), "{finding:?}");
    // Beyond its StreamMaxLength, which ours does not know.
    assert_eq!(clamd.scan(&vec![7; 8 << 20], soon()).await, Verdict::Unscanned(Why::TooLarge));
    // Many at once.
    let many = (0..40).map(|_| clamd.scan(&content, soon()));
    for scan in many {
        assert_eq!(scan.await.name(), "found");
    }

    daemon.stop().unwrap();
    assert_eq!(clamd.scan(b"nothing of the sort", soon()).await, Verdict::Unscanned(Why::Down));
    daemon.child = Daemon::spawn(daemon.folder.path());
    daemon.wait().await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(clamd.scan(b"nothing of the sort", soon()).await, Verdict::Clean);
}

/// NOLOSS: while the scanner is away, a message is held, and once it is back, the same message has its answer.
#[tokio::test]
async fn noloss_unscanned_until_it_is_back() {
    let mut daemon = Daemon::start().await;
    let engine = Engine::new(Limits::default(), Duration::from_secs(5)).unwrap();
    let time = Duration::from_secs(20);
    let antivirus = Antivirus::new(engine, Some(Clamd::new(daemon.settings())), time, 2, 100);
    let message = || vec![Part::text("Dear reader"), Part::file("letter.txt", signed())];

    daemon.stop().unwrap();
    let report = antivirus.scan(message()).await;
    assert!(report.verdict.is_held() && report.verdict.is_passing(), "{report:?}");
    assert!(report.parts.iter().all(|verdict| *verdict == Verdict::Unscanned(Why::Down)));

    daemon.child = Daemon::spawn(daemon.folder.path());
    daemon.wait().await;
    sleep(Duration::from_secs(2)).await;
    let report = antivirus.scan(message()).await;
    assert_eq!(report.parts[0], Verdict::Clean);
    assert_eq!(report.parts[1].name(), "found", "{report:?}");
    // And is remembered, by both who looked.
    assert_eq!(antivirus.scan(message()).await.remembered, 4);
}
