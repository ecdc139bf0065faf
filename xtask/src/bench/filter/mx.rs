//! Ours in the lab as a provider has it: an mx, mailboxes, submission for users, and the filter, taught by the first half.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use muralla_lab::load::pop3::{self, Login};
use muralla_lab::role::{Role, preamble};
use rcgen::CertifiedKey;

use super::super::disk::empty;
use super::ground::Ground;

pub(super) const DOMAIN: &str = "bench.test";

/// Where it listens.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 61);

/// Users: their names are numbers from 0 on.
pub(super) const USERS: u64 = 20;

const PASSWORD: &str = "correct-horse-battery";

/// How it is set up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) filter: bool,
    /// Whether a client waits to be greeted, as is the default.
    pub(super) pause: bool,
    /// Whether users may send.
    pub(super) submission: bool,
    /// The name server that it asks.
    pub(super) names: SocketAddr,
}

/// It ends when dropped.
pub(super) struct Mx<'g> {
    pub(super) role: Role<'g>,
    ground: &'g Ground,
}

impl<'g> Mx<'g> {
    /// Starts it with empty mailboxes.
    pub(super) fn start(ground: &'g Ground, binary: &Path, settings: Settings) -> Result<Self> {
        ground.lab.add_service(ADDRESS.into())?;
        let folder = ground.disk.folder.join("mx");
        empty(&folder)?;
        certify(&folder)?;
        let text = section(&folder, ground.model()?, settings);
        let core = ground.division.serving;
        let mut role = Role::prepare(&ground.lab, "mx", binary, core, |own| preamble(own) + &text)?;
        let table = folder.join("accounts.csv");
        fs::write(&table, accounts()).context("writing a table of accounts")?;
        let table = table.to_string_lossy();
        role.command(&["mail", "directory", "import", "--csv", &*table, "--create-domains"])?;
        role.begin()?;
        Ok(Self { role, ground })
    }

    pub(super) const fn target(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(ADDRESS, port)
    }

    /// Messages in all users' Inboxes.
    pub(super) fn in_inboxes(&self) -> Result<u64> {
        let inboxes = (0..USERS).map(|number| self.in_inbox(number));
        inboxes.sum()
    }

    /// Messages in the Inbox of one of them.
    pub(super) fn in_inbox(&self, user: u64) -> Result<u64> {
        pop3::count(self.ground.lab.customers(), Self::target(110), &login(user))
    }
}

/// The address of a user.
pub(super) fn user(number: u64) -> String {
    format!("{}@{DOMAIN}", number % USERS)
}

/// Who he is, for POP3 and for submission.
pub(super) fn login(number: u64) -> Login {
    Login { user: user(number), password: PASSWORD.to_owned() }
}

fn accounts() -> String {
    let mut table = String::from("name,password\n");
    for number in 0..USERS {
        let Login { user, password } = login(number);
        let _ = writeln!(table, "{user},{password}");
    }
    table
}

fn certify(folder: &Path) -> Result<()> {
    let names = [format!("mx.{DOMAIN}"), ADDRESS.to_string()];
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(names).context("making a certificate")?;
    let [chain, key] = certificate(folder);
    fs::write(chain, cert.pem()).context("writing a certificate")?;
    fs::write(key, signing_key.serialize_pem()).context("writing its key")
}

/// Chain and key.
fn certificate(folder: &Path) -> [PathBuf; 2] {
    ["chain.pem", "key.pem"].map(|name| folder.join(name))
}

fn section(folder: &Path, model: &Path, settings: Settings) -> String {
    let [chain, key] = certificate(folder);
    let (folder, names) = (folder.display(), settings.names);
    let mut text = format!(
        r#"
[mail]
hostname = "mx.{DOMAIN}"
database = "{folder}/mail.db"
packs = "{folder}/packs"
copy = ""
quota = "0"

[[mail.certificates]]
chain = "{}"
key = "{}"

[mail.spool]
folder = "{folder}/spool"

[mail.pop3]
listen = ["{ADDRESS}:110"]
listen_tls = []
unencrypted_login = true

[mail.mx]
listen = ["{ADDRESS}:25"]
"#,
        chain.display(),
        key.display()
    );
    if !settings.pause {
        text.push_str("greeting_pause = \"0s\"\n");
    }
    if settings.submission {
        let _ = write!(
            text,
            "\n[mail.submission]\nlisten = [\"{ADDRESS}:587\"]\nlisten_tls = []\n\n\
             [mail.outgoing]\nresolvers = [\"{names}\"]\npolicies = \"\"\n"
        );
    }
    if settings.filter {
        let model = model.display();
        let _ = write!(text, "\n[mail.filter]\nmodel = \"{model}\"\nresolvers = [\"{names}\"]\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_wanted_is_configured() {
        let names = "127.0.0.1:5354".parse().unwrap();
        let all = Settings { filter: true, pause: true, submission: true, names };
        let none = Settings { filter: false, pause: false, submission: false, names };
        let text = |settings| section(Path::new("/srv/mx"), Path::new("/srv/model"), settings);
        for (word, there) in [
            ("[mail.filter]", [true, false]),
            ("[mail.submission]", [true, false]),
            ("[mail.outgoing]", [true, false]),
            ("greeting_pause", [false, true]),
            ("[mail.mx]", [true, true]),
        ] {
            assert_eq!([all, none].map(|it| text(it).contains(word)), there, "{word}");
        }
    }

    #[test]
    fn users_are_few_and_all_may_log_in() {
        assert_eq!(user(USERS + 3), "3@bench.test");
        assert_eq!(accounts().lines().count() as u64, USERS + 1);
    }
}
