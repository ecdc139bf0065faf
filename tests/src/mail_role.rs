//! The real mail roles alone, without a wall: `muralla run` with `[mail]` in the lab's edge namespace, restarted as
//! systemd restarts it.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use muralla_lab::Lab;
use muralla_lab::role::{Role, preamble};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustix::process::Signal;
use serde_json::Value;

use crate::appliance::binary;
use crate::until;

/// Everybody's password.
pub const PASSWORD: &str = "tanstaafl, as they say";

/// How long anything may take that comes soon.
const SOON: Duration = Duration::from_secs(60);

/// A provider's mail: mx, submission, outgoing and POP3 at one address, with a folder of its own. It ends when
/// dropped.
#[derive(Debug)]
pub struct MailRole<'lab> {
    role: Role<'lab>,
    folder: PathBuf,
    domain: String,
    address: IpAddr,
}

impl<'lab> MailRole<'lab> {
    /// Gives the edge an address for the roles, writes their configuration and a certificate for `mx.` of the domain,
    /// and enters the domain with these users. They ask `resolver` for names. Nothing runs yet.
    ///
    /// # Errors
    /// When the binary is missing, a file can't be written, or the command line fails.
    pub fn prepare(
        lab: &'lab Lab,
        domain: &str,
        address: IpAddr,
        resolver: IpAddr,
        users: &[&str],
    ) -> Result<Self> {
        lab.add_service(address)?;
        let folder = lab.folder().join(domain);
        let resolver = SocketAddr::new(resolver, 53);
        let role = Role::prepare(lab, domain, &binary()?, 0, |folder| {
            configuration(folder, domain, address, resolver)
        })?;
        certify(&folder, &format!("mx.{domain}"))?;
        fs::write(folder.join("password"), PASSWORD).context("writing a password")?;
        let mail = Self { role, folder, domain: domain.to_owned(), address };
        mail.command(&["domain", "add", domain])?;
        for user in users {
            mail.add(user)?;
        }
        Ok(mail)
    }

    /// Enters a user.
    ///
    /// # Errors
    /// When the command line fails.
    pub fn add(&self, user: &str) -> Result<()> {
        let password = self.folder.join("password").display().to_string();
        let name = self.user(user);
        self.command(&["account", "add", &name, "--password-file", &password]).map(drop)
    }

    /// A user's address.
    pub fn user(&self, user: &str) -> String {
        format!("{user}@{}", self.domain)
    }

    /// Starts them, and waits until they are ready.
    ///
    /// # Errors
    /// When they aren't in time; the error ends with what was printed.
    pub fn begin(&mut self) -> Result<()> {
        self.role.begin().map(drop)
    }

    /// Ends them by a signal, and waits for their end. Their sockets are kept.
    ///
    /// # Errors
    /// When they don't end.
    pub fn end(&mut self, signal: Signal) -> Result<()> {
        self.role.end(signal)
    }

    /// The daemon, for what is the same for all roles.
    pub fn role(&mut self) -> &mut Role<'lab> {
        &mut self.role
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where everything is served.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Runs `muralla mail ...` against it.
    ///
    /// # Errors
    /// When it fails; the error has what it complained about.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        self.role.command(&[&["mail"], arguments].concat())
    }

    /// What waits to be delivered.
    ///
    /// # Errors
    /// When the roles don't answer.
    pub fn queue(&self) -> Result<Vec<Value>> {
        let text = self.command(&["queue", "list", "--json"])?;
        serde_json::from_str(&text).context("reading a queue")
    }

    /// The messages of a user's folders, as they are exported.
    ///
    /// # Errors
    /// When the command line fails.
    pub fn mailbox(&self, user: &str) -> Result<Vec<String>> {
        let to = self.folder.join("exported").join(user);
        let _ = fs::remove_dir_all(&to);
        fs::create_dir_all(&to).with_context(|| format!("making {}", to.display()))?;
        self.command(&["export", &self.user(user), "--maildir", &to.display().to_string()])?;
        let mut messages = Vec::new();
        read(&to, &mut messages)?;
        Ok(messages)
    }

    /// Waits until one of a user's messages has all of these words, and returns it.
    ///
    /// # Errors
    /// When none has in time.
    pub fn until_mail(&self, user: &str, words: &[&str]) -> Result<String> {
        until(&format!("mail for {user} with {words:?}"), SOON, || {
            let has = |text: &String| words.iter().all(|word| text.contains(word));
            Ok(self.mailbox(user)?.into_iter().find(has))
        })
    }
}

/// All four roles at an address.
fn configuration(folder: &Path, domain: &str, address: IpAddr, resolver: SocketAddr) -> String {
    let at = |port: u16| SocketAddr::new(address, port);
    format!(
        r#"{head}
[mail]
hostname = "mx.{domain}"
database = "{folder}/mail.db"
packs = "{folder}/packs"
copy = "{folder}/directory.copy"
keys = ["a secret of this test alone, and long enough"]
[[mail.certificates]]
chain = "{folder}/chain.pem"
key = "{folder}/key.pem"
[mail.spool]
folder = "{folder}/spool"
reserve = "0B"
[mail.mx]
listen = ["{mx}"]
greeting_pause = "0s"
[mail.submission]
listen = ["{submission}"]
listen_tls = ["{submissions}"]
[mail.outgoing]
resolvers = ["{resolver}"]
source = "{address}"
policies = "{folder}/policies"
waits = [1]
[mail.pop3]
listen = ["{pop3}"]
listen_tls = ["{pop3s}"]
"#,
        head = preamble(folder),
        folder = folder.display(),
        mx = at(25),
        submission = at(587),
        submissions = at(465),
        pop3 = at(110),
        pop3s = at(995),
    )
}

/// A certificate that nobody vouches for.
fn certify(folder: &Path, name: &str) -> Result<()> {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec![name.to_owned()]).context("making a certificate")?;
    fs::write(folder.join("chain.pem"), cert.pem()).context("writing a certificate")?;
    fs::write(folder.join("key.pem"), signing_key.serialize_pem()).context("writing a key")
}

/// All files below a folder.
fn read(folder: &Path, into: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            read(&path, into)?;
        } else if path
            .parent()
            .is_some_and(|parent| parent.ends_with("new") || parent.ends_with("cur"))
        {
            let octets = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            into.push(String::from_utf8_lossy(&octets).into_owned());
        }
    }
    Ok(())
}
