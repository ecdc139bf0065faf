//! Debian's Dovecot, by IMAP and POP3, with TLS both ways, and with a master user.

use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use muralla_mail_import::{Login, NameFormat, Options, ServerLocation, no_roots, source};
use muralla_mail_store::packs::memory::MemoryPacks;
use muralla_mail_store::transfer::{ImportOptions, Report, TransferError};
use muralla_mail_store::{Account, BodyOptions, Flags, Store};
use muralla_smtp::tls::Trust;
use muralla_test_database::Database;
use rcgen::{CertifiedKey, generate_simple_self_signed};

use crate::script;
use crate::stores::{contents, names};

/// How long it may take until it answers.
const PATIENCE: Duration = Duration::from_secs(30);

const PASSWORD: &str = "contraseña \"de\" Ann";
const MASTER: &str = "of the master";

/// When the first message came.
const CAME: u64 = 1_600_000_000;

const MESSAGES: u64 = 150;

/// A Dovecot with Ann's mailbox, gone when it is dropped.
struct Dovecot {
    child: Child,
    folder: tempfile::TempDir,
    /// By their names, `imap` and so on.
    ports: BTreeMap<&'static str, u16>,
}

impl Dovecot {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        // Its processes are other users.
        fs::set_permissions(place, Permissions::from_mode(0o755)).unwrap();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        fs::write(place.join("chain.pem"), cert.pem()).unwrap();
        fs::write(place.join("key.pem"), signing_key.serialize_pem()).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        let owner = if is_root { "mail".to_owned() } else { id("-un") };
        let (user, group) = match is_root {
            true => (id_of("-u", "mail"), id_of("-g", "mail")),
            false => (id("-u"), id("-g")),
        };
        let home = place.join("mail/ann");
        let line = |name: &str, password: &str| {
            format!("{name}:{{PLAIN}}{password}:{user}:{group}::{}::\n", home.display())
        };
        fs::write(place.join("users"), line("ann", PASSWORD)).unwrap();
        fs::write(place.join("masters"), format!("root:{{PLAIN}}{MASTER}\n")).unwrap();
        fill(&home.join("Maildir"));
        if is_root {
            let owner = format!("{owner}:");
            let owned = Command::new("chown").arg("-R").arg(owner).arg(place.join("mail")).status();
            assert!(owned.unwrap().success());
        }
        // All at once, so that none is given twice.
        let listeners: Vec<(&str, TcpListener)> = ["imap", "imaps", "pop3", "pop3s"]
            .map(|name| (name, TcpListener::bind("127.0.0.1:0").unwrap()))
            .into();
        let ports: BTreeMap<&'static str, u16> = listeners
            .iter()
            .map(|(name, listener)| (*name, listener.local_addr().unwrap().port()))
            .collect();
        drop(listeners);
        let file = place.join("dovecot.conf");
        fs::write(&file, configuration(place, &ports, is_root)).unwrap();
        let child = Command::new("dovecot")
            .args(["-F", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(place.join("complaints")).unwrap())
            .spawn()
            .expect("Dovecot is needed: run `cargo xtask setup`, which installs dovecot-imapd and dovecot-pop3d");
        let dovecot = Self { child, folder, ports };
        let deadline = Instant::now() + PATIENCE;
        for port in dovecot.ports.values() {
            while std::net::TcpStream::connect(("127.0.0.1", *port)).is_err() {
                assert!(Instant::now() < deadline, "it does not answer: {}", dovecot.told());
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        dovecot
    }

    fn told(&self) -> String {
        let read =
            |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        format!("{}{}", read("complaints"), read("errors.log"))
    }

    fn maildir(&self) -> PathBuf {
        self.folder.path().join("mail/ann/Maildir")
    }

    /// A server's location by its name.
    fn at(&self, scheme: &str) -> ServerLocation {
        format!("{scheme}://localhost:{}/", self.ports[scheme]).parse().unwrap()
    }

    /// Ann, who believes its certificate.
    fn options(&self) -> Options {
        let login = Login { user: "ann".to_owned(), master: None, password: PASSWORD.to_owned() };
        let trust = Trust::of_file(&self.folder.path().join("chain.pem")).unwrap();
        let long = muralla_mail_import::Waits::default();
        Options { login, trust, insecure: false, waits: long, ..script::options() }
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // It ends its processes when it is asked to.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(pid).status();
        let _ = self.child.wait();
    }
}

fn id(what: &str) -> String {
    let output = Command::new("id").arg(what).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn id_of(what: &str, user: &str) -> String {
    let output = Command::new("id").args([what, user]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn text(folder: &str, number: u64) -> String {
    format!(
        "Subject: {folder} {number}\r\n\r\nHello.\r\n.\r\n..\r\nñ\r\n{}\r\n",
        "long ".repeat(200)
    )
}

const FOLDERS: [(&str, &str, &str, u64); 5] = [
    ("", "Inbox", "RS", MESSAGES),
    (".Enviados", "Sent", "S", 20),
    (".Correo basura", "Spam", "", 3),
    (".Lists.Rust &- C", "Lists/Rust & C", "F", 7),
    (".A&APE-o.Se&APE-al", "Año/Señal", "D", 1),
];

fn fill(maildir: &Path) {
    for (directory, folder, flags, messages) in FOLDERS {
        let root = maildir.join(directory);
        for name in ["cur", "new", "tmp"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        if !directory.is_empty() {
            File::create(root.join("maildirfolder")).unwrap();
        }
        for number in 0..messages {
            write(&root, folder, number, flags);
        }
    }
}

fn write(root: &Path, folder: &str, number: u64, flags: &str) {
    let path = root.join(format!("cur/{}.M{number}.host:2,{flags}", CAME + number));
    fs::write(&path, text(folder, number).replace("\r\n", "\n")).unwrap();
    let came = UNIX_EPOCH + Duration::from_secs(CAME + number);
    let file = File::options().write(true).open(&path).unwrap();
    file.set_times(FileTimes::new().set_modified(came)).unwrap();
}

/// Without root it runs as who starts it, as its manual says of a rootless installation.
fn configuration(place: &Path, ports: &BTreeMap<&'static str, u16>, is_root: bool) -> String {
    let place = place.display();
    let rootless = if is_root {
        String::new()
    } else {
        let (user, group) = (id("-un"), id("-gn"));
        format!(
            "default_internal_user = {user}\ndefault_internal_group = {group}\ndefault_login_user = {user}\n\
             service anvil {{\n  chroot =\n}}\nservice imap-login {{\n  chroot =\n}}\n\
             service pop3-login {{\n  chroot =\n}}\n"
        )
    };
    let listener = |name: &str, tls: &str| {
        format!("  inet_listener {name} {{\n    port = {}\n{tls}  }}\n", ports[name])
    };
    let tls = "    ssl = yes\n";
    format!(
        "protocols = imap pop3
listen = 127.0.0.1
base_dir = {place}/run
state_dir = {place}/state
log_path = {place}/errors.log
info_log_path = /dev/null
ssl = yes
ssl_cert = <{place}/chain.pem
ssl_key = <{place}/key.pem
auth_mechanisms = plain login
auth_master_user_separator = *
auth_failure_delay = 0
first_valid_uid = 1
mail_location = maildir:~/Maildir
namespace inbox {{
  inbox = yes
  separator = /
  mailbox Enviados {{
    special_use = \\Sent
  }}
  mailbox \"Correo basura\" {{
    special_use = \\Junk
  }}
}}
passdb {{
  driver = passwd-file
  args = {place}/masters
  master = yes
  result_success = continue
}}
passdb {{
  driver = passwd-file
  args = username_format=%u {place}/users
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {place}/users
}}
service imap-login {{
{imap}{imaps}}}
service pop3-login {{
{pop3}{pop3s}}}
{rootless}",
        imap = listener("imap", ""),
        imaps = listener("imaps", tls),
        pop3 = listener("pop3", ""),
        pop3s = listener("pop3s", tls),
    )
}

async fn import(
    store: &Store,
    account: Account,
    location: ServerLocation,
    options: Options,
) -> Result<Report, TransferError> {
    let mut source = source(location, options);
    store.import(account, &mut *source, ImportOptions::default(), |_| ()).await
}

fn counts(report: &Report) -> (u64, u64, u64, u64) {
    (report.added, report.already, report.gone, report.failed)
}

/// Names of files, which say what is marked.
fn files(maildir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for (directory, ..) in FOLDERS {
        for within in ["cur", "new"] {
            for entry in fs::read_dir(maildir.join(directory).join(within)).unwrap() {
                all.push(entry.unwrap().file_name().into_string().unwrap());
            }
        }
    }
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mailboxes_come_over() {
    let dovecot = Dovecot::start();
    let database = Database::sqlite();
    let packs = Arc::new(MemoryPacks::default());
    let store =
        Store::with_packs(database.location(), packs, BodyOptions::default()).await.unwrap();
    let before = files(&dovecot.maildir());
    let all: u64 = FOLDERS.iter().map(|(.., messages)| messages).sum();

    // By IMAP, with TLS that begins at once or by STARTTLS: everything, and once.
    let dovecot_names: NameFormat = "dovecot".parse().unwrap();
    let options = || Options { names: Some(dovecot_names.clone()), ..dovecot.options() };
    let report = import(&store, Account(1), dovecot.at("imaps"), options()).await;
    let report = report.unwrap_or_else(|error| panic!("{error}: {}", dovecot.told()));
    assert_eq!(counts(&report), (all, 0, 0, 0), "{report:?}");
    let there = contents(&store, Account(1)).await;
    for (_, folder, letters, messages) in FOLDERS {
        let came: Vec<_> = there[folder].iter().collect();
        assert_eq!(came.len() as u64, messages, "{folder}");
        for (number, (read, flags, received)) in (0..).zip(came) {
            assert_eq!(*read, text(folder, number));
            assert_eq!(*flags, Flags::from_letters(letters), "{folder}");
            assert_eq!(*received, (CAME + number) as i64);
        }
    }
    let report = import(&store, Account(1), dovecot.at("imap"), options()).await.unwrap();
    assert_eq!(counts(&report), (0, all, 0, 0));

    // By POP3 the Inbox, with the names that Dovecot's POP3 has for its messages.
    let report = import(&store, Account(2), dovecot.at("pop3s"), dovecot.options()).await.unwrap();
    assert_eq!(counts(&report), (MESSAGES, 0, 0, 0));
    let pop3_names = names(&store, Account(2)).await;
    assert!(pop3_names.iter().all(Option::is_some));
    assert_eq!(names(&store, Account(1)).await, pop3_names, "they can be made without POP3");
    let report = import(&store, Account(2), dovecot.at("pop3"), dovecot.options()).await.unwrap();
    assert_eq!(counts(&report), (0, MESSAGES, 0, 0));

    // A master user brings it for Ann, by SASL or by a name that says so; it is the same mailbox.
    let login = |user: &str, master: Option<&str>, password: &str| Login {
        user: user.to_owned(),
        master: master.map(str::to_owned),
        password: password.to_owned(),
    };
    for (scheme, login, account, had) in [
        ("imaps", login("ann", Some("root"), MASTER), 1, all),
        ("imap", login("ann*root", None, MASTER), 1, all),
        ("pop3s", login("ann", Some("root"), MASTER), 2, MESSAGES),
    ] {
        let options = Options { login, ..dovecot.options() };
        let report = import(&store, Account(account), dovecot.at(scheme), options).await;
        let report = report.unwrap_or_else(|error| panic!("{error}: {}", dovecot.told()));
        assert_eq!(counts(&report), (0, had, 0, 0), "{scheme}");
    }

    // Nothing was marked or removed there.
    assert_eq!(files(&dovecot.maildir()), before);

    // What is new comes, and it alone.
    write(&dovecot.maildir(), "Inbox", MESSAGES, "");
    let report = import(&store, Account(1), dovecot.at("imaps"), options()).await.unwrap();
    assert_eq!(counts(&report), (1, all, 0, 0));
    let report = import(&store, Account(2), dovecot.at("pop3s"), dovecot.options()).await.unwrap();
    assert_eq!(counts(&report), (1, MESSAGES, 0, 0));
    assert!(store.recount(false, |_| ()).await.unwrap().is_empty());

    // What is refused is told in so many words.
    let wrong = || Options { login: login("ann", None, "guessed"), ..dovecot.options() };
    let stranger = || Options { trust: no_roots().unwrap(), ..dovecot.options() };
    for scheme in ["imaps", "imap", "pop3s", "pop3"] {
        for (options, words) in [
            (wrong(), "it refuses the login"),
            (stranger(), "its certificate is not to be trusted"),
        ] {
            let error = import(&store, Account(3), dovecot.at(scheme), options).await.unwrap_err();
            assert!(matches!(error, TransferError::Server { .. }), "{error}");
            assert!(error.to_string().contains(words), "{scheme}: {error}");
        }
        let insecure = Options { insecure: true, ..stranger() };
        import(&store, Account(4), dovecot.at(scheme), insecure).await.unwrap();
    }
    let mut other = dovecot.at("imaps");
    "127.0.0.1".clone_into(&mut other.host);
    let error = import(&store, Account(3), other, dovecot.options()).await.unwrap_err();
    assert!(error.to_string().contains("not to be trusted"), "another name: {error}");
}
