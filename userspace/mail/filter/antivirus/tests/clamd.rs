//! A real clamd (Debian's clamav-daemon), with signatures of our own: what it says is understood, and while it is away, nothing is
//! clean. And what becomes of the files that come with it for such tests (clamav-testfiles).

#![cfg(test)]
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

/// Where Debian has the files.
const TEST_FILES: &str = "/usr/share/clamav-testfiles";

/// What the signature looks for, in two pieces, so that this program is not what it finds.
fn signed() -> Vec<u8> {
    [&b"what Muralla's tests "[..], b"look for with clamd"].concat()
}

fn eicar() -> Vec<u8> {
    ["X5O!P%@AP[4\\PZX54(P^)7CC)7}", "$EICAR-STANDARD-ANTIVIRUS", "-TEST-FILE!$H+H*"]
        .concat()
        .into_bytes()
}

fn test_file(name: &str) -> Vec<u8> {
    let path = Path::new(TEST_FILES).join(name);
    fs::read(&path).unwrap_or_else(|error| {
        panic!("cannot read {} ({error}): cargo xtask setup installs it", path.display())
    })
}

/// A signature of octets, wherever they are.
fn signature(name: &str, octets: &[u8]) -> String {
    let digits: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{name}:0:*:{digits}\n")
}

/// A clamd that ends with the test.
struct Daemon {
    child: Child,
    folder: TempDir,
}

impl Daemon {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("database");
        fs::create_dir(&database).unwrap();
        // What all of the files have in them somewhere: a program that does nothing but say that it did.
        let program = test_file("clam.exe");
        let signatures = [
            signature("Muralla.Test-1", &signed()),
            signature("Muralla.Clam-1", &program[0x60..0x90]),
        ];
        fs::write(database.join("muralla.ndb"), signatures.concat()).unwrap();
        // By the sum of the whole file, and its size.
        fs::write(
            database.join("muralla.hdb"),
            "44d88612fea8a8f36de82e1278abb02f:68:Muralla.Eicar-1\n",
        )
        .unwrap();
        let mut daemon = Self { child: Self::spawn(folder.path()), folder };
        daemon.wait().await;
        daemon
    }

    fn spawn(folder: &Path) -> Child {
        let configuration = folder.join("clamd.conf");
        let text = format!(
            "Foreground yes\nLocalSocket {socket}\nFixStaleSocket yes\nDatabaseDirectory {database}\n\
             TemporaryDirectory {temporary}\nStreamMaxLength 2M\nMaxThreads 4\nLogFile {log}\n\
             AlertExceedsMax yes\n",
            socket = socket(folder).display(),
            database = folder.join("database").display(),
            temporary = folder.display(),
            log = folder.join("log").display(),
        );
        fs::write(&configuration, text).unwrap();
        Command::new("clamd")
            .arg(format!("--config-file={}", configuration.display()))
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

    /// Stops it in the middle of whatever it does, or lets it go on.
    fn signal(&self, signal: &str) {
        let status =
            Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    fn clamd(&self) -> Clamd {
        Clamd::new(Settings::new(Address::Unix(socket(self.folder.path()))))
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

fn antivirus(clamd: Option<Clamd>) -> Antivirus {
    let engine = Engine::new(Limits::default(), Duration::from_secs(5)).unwrap();
    Antivirus::new(engine, clamd, Duration::from_secs(60), 2, 200)
}

#[tokio::test]
async fn a_real_clamd_is_understood() {
    let mut daemon = Daemon::start().await;
    let clamd = daemon.clamd();

    let version = clamd.version(soon()).await.unwrap();
    assert!(version.starts_with("ClamAV "), "{version}");
    assert_eq!(clamd.scan(b"nothing of the sort", soon()).await, Verdict::Clean);
    let content = [&b"before "[..], &signed(), b" behind"].concat();
    let Verdict::Found(finding) = clamd.scan(&content, soon()).await else { panic!("not found") };
    assert!(finding.name.starts_with("ClamAV.Muralla.Test-1"), "{finding:?}");
    // Beyond its StreamMaxLength, which ours does not know.
    assert_eq!(clamd.scan(&vec![7; 8 << 20], soon()).await, Verdict::Unscanned(Why::TooLarge));
    // Many at once, more than there are doors.
    let many: Vec<_> = (0..40).map(|_| clamd.scan(&content, soon())).collect();
    for verdict in futures_util::future::join_all(many).await {
        assert_eq!(verdict.name(), "found");
    }

    daemon.stop().unwrap();
    assert_eq!(clamd.scan(b"nothing of the sort", soon()).await, Verdict::Unscanned(Why::Down));
    daemon.child = Daemon::spawn(daemon.folder.path());
    daemon.wait().await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(clamd.scan(b"nothing of the sort", soon()).await, Verdict::Clean);
}

/// NOLOSS: what dangerous files are packed in does not matter: the test file is found, or the whole is held because it was not
/// looked through. By ours alone, and with clamd.
#[tokio::test]
async fn noloss_every_test_file_is_found_or_held() {
    let daemon = Daemon::start().await;
    let clamd = daemon.clamd();
    let (alone, both) = (antivirus(None), antivirus(Some(daemon.clamd())));

    let mut names: Vec<String> = fs::read_dir(TEST_FILES)
        .unwrap_or_else(|error| panic!("{TEST_FILES}: {error}: cargo xtask setup installs it"))
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    assert!(names.len() > 30, "{names:?}");
    let mut files = vec![("eicar.com".to_owned(), eicar())];
    files.extend(names.into_iter().map(|name| (name.clone(), test_file(&name))));

    println!("{:<22} {:<30} {:<30} both", "file", "ours", "clamd");
    let mut passed = Vec::new();
    for (name, content) in files {
        // Once under its name, and once under none, so that not the name alone says what it is.
        for name in [Some(name.clone()), None] {
            let part = Part { name: name.clone(), ..Part::file("", content.clone()) };
            let ours = alone.scan(vec![part.clone()]).await.verdict;
            let theirs = clamd.scan(&content, soon()).await;
            let together = both.scan(vec![part]).await.verdict;
            let name = name.as_deref().unwrap_or("  the same, unnamed");
            println!("{name:<22} {:<30} {:<30} {}", said(&ours), said(&theirs), together.name());
            if !ours.is_held() || !together.is_held() || together.is_passing() {
                passed.push((name.to_owned(), ours, together));
            }
        }
    }
    assert!(passed.is_empty(), "{passed:#?}");
}

fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Found(finding) | Verdict::Suspicious(finding) => {
            format!("{} {}", verdict.name(), finding.name)
        }
        Verdict::Unscanned(why) => format!("unscanned {}", why.name()),
        Verdict::Excessive(excess) => format!("excessive {}", excess.name()),
        Verdict::Clean => "clean".to_owned(),
    }
}

/// NOLOSS: while the scanner is away, a message is held, and once it is back, the same message has its answer.
#[tokio::test]
async fn noloss_unscanned_until_it_is_back() {
    let mut daemon = Daemon::start().await;
    let antivirus = antivirus(Some(daemon.clamd()));
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

/// NOLOSS: a scanner that does not answer in time, and one that is killed while it looks, have said nothing.
#[tokio::test]
async fn noloss_late_and_killed_are_unscanned() {
    let mut daemon = Daemon::start().await;
    let clamd = daemon.clamd();
    assert_eq!(clamd.scan(b"nothing of the sort", soon()).await, Verdict::Clean);

    daemon.signal("-STOP");
    let deadline = Instant::now() + Duration::from_millis(300);
    let late = clamd.scan(b"nothing of the sort", deadline).await;
    assert_eq!(late, Verdict::Unscanned(Why::Late));
    assert!(Instant::now() < deadline + Duration::from_secs(2));
    daemon.signal("-CONT");
    assert_eq!(clamd.scan(b"nothing of the sort", soon()).await, Verdict::Clean);

    daemon.signal("-STOP");
    let killed = async {
        sleep(Duration::from_millis(300)).await;
        daemon.stop().unwrap();
    };
    let (verdict, ()) = tokio::join!(clamd.scan(&[7; 1 << 20], soon()), killed);
    assert_eq!(verdict, Verdict::Unscanned(Why::Down));
}
