//! Who logs in, whom he believes, what he wants, and how long he waits.

use std::fmt;
use std::time::Duration;

use muralla_smtp::tls::{TlsError, Trust};
use rustls::RootCertStore;

use crate::names::NameFormat;

/// How a server is called, and what is fetched there.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who logs in.
    pub login: Login,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Any certificate is taken, and where there is no TLS it is done without: others on the way may read passwords and mail.
    pub insecure: bool,
    /// Which folders.
    pub choice: Choice,
    /// How POP3 names messages of a server that is asked by IMAP, if that is known.
    pub names: Option<NameFormat>,
    /// How long is waited.
    pub waits: Waits,
}

/// Who logs in.
#[derive(Clone, Eq, PartialEq)]
pub struct Login {
    /// Whose mailbox it is; `user*master` for a server that wants a master user's name so.
    pub user: String,
    /// Who logs in in his place (RFC 4616 calls it the authentication identity), if anybody.
    pub master: Option<String>,
    /// The password, of whoever logs in.
    pub password: String,
}

/// Which folders are imported, by the names that the server has for them, with `/` between those that lie below each other.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Choice {
    /// These and what is below them; all if there is none.
    pub only: Vec<String>,
    /// Not these, and nothing below them.
    pub except: Vec<String>,
}

/// Roots for [`Options::insecure`], where nobody has to prove anything: none.
///
/// # Errors
///
/// None that could happen.
pub fn no_roots() -> Result<Trust, TlsError> {
    Trust::of_roots(RootCertStore::empty())
}

/// How long a server may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Waits {
    /// To take the call, at each of its addresses.
    pub connect: Duration,
    /// For a TLS handshake.
    pub handshake: Duration,
    /// To greet.
    pub greeting: Duration,
    /// To answer a command whose answer is short.
    pub command: Duration,
    /// To list a folder's messages, for which old servers read all of them.
    pub listing: Duration,
    /// To begin with messages; for each [`Waits::PACE`] bytes of them it has a second more.
    pub message: Duration,
}

impl Login {
    /// Whose mailbox it is, whoever logs in for him.
    #[must_use]
    pub fn owner(&self) -> &str {
        match self.user.rsplit_once('*') {
            Some((owner, master)) if !owner.is_empty() && !master.is_empty() => owner,
            _ => &self.user,
        }
    }

    /// The same for an identity: whoever is called Ann and ann is one and the same to every server that we know of.
    pub(crate) fn owned(&self) -> String {
        self.owner().to_lowercase()
    }

    /// The name and its password for a login that knows one name alone.
    pub(crate) fn plain(&self) -> String {
        match &self.master {
            Some(master) => format!("{}*{master}", self.user),
            None => self.user.clone(),
        }
    }

    /// RFC 4616.
    pub(crate) fn sasl(&self) -> Vec<u8> {
        let Self { user, master, password } = self;
        match master {
            Some(master) => format!("{user}\0{master}\0{password}"),
            None => format!("\0{user}\0{password}"),
        }
        .into_bytes()
    }

    /// Whether nothing in it could be taken for something else.
    pub(crate) fn is_clean(&self) -> bool {
        let Self { user, master, password } = self;
        let clean = |text: &str| !text.contains(['\0', '\r', '\n']);
        clean(user) && clean(password) && master.as_deref().is_none_or(clean)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Login of {:?}", self.user)
    }
}

impl Choice {
    /// Whether a folder is wanted.
    #[must_use]
    pub fn takes(&self, path: &str) -> bool {
        let within = |chosen: &String| {
            let (Some(front), rest) = (path.get(..chosen.len()), path.get(chosen.len()..)) else {
                return false;
            };
            let same = front == chosen
                || (front.eq_ignore_ascii_case("inbox") && chosen.eq_ignore_ascii_case("inbox"));
            same && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        (self.only.is_empty() || self.only.iter().any(within)) && !self.except.iter().any(within)
    }

    /// Whether a folder is wanted by its own name.
    #[must_use]
    pub fn names(&self, path: &str) -> bool {
        self.only.iter().any(|chosen| chosen == path)
    }
}

impl Waits {
    /// Bytes a second that a server gives at least.
    pub const PACE: u64 = 8 << 10;

    pub(crate) fn messages(&self, bytes: u64) -> Duration {
        self.message + Duration::from_secs(bytes / Self::PACE)
    }
}

impl Default for Waits {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            connect: Duration::from_secs(20),
            handshake: Duration::from_secs(30),
            greeting: minutes(1),
            // After a wrong password some wait for long on purpose.
            command: minutes(2),
            listing: minutes(15),
            message: minutes(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_logs_in() {
        let login = |user: &str, master: Option<&str>| Login {
            user: user.to_owned(),
            master: master.map(str::to_owned),
            password: "secret".to_owned(),
        };
        for (login, owner, plain, sasl) in [
            (login("ann", None), "ann", "ann", "\0ann\0secret"),
            (login("ann*root", None), "ann", "ann*root", "\0ann*root\0secret"),
            (login("ann", Some("root")), "ann", "ann*root", "ann\0root\0secret"),
            (login("*", None), "*", "*", "\0*\0secret"),
        ] {
            assert_eq!((login.owner(), login.plain().as_str()), (owner, plain));
            assert_eq!(login.sasl(), sasl.as_bytes());
            assert!(login.is_clean() && !format!("{login:?}").contains("secret"));
        }
        assert!(!login("a\r\nb", None).is_clean());
    }

    #[test]
    fn chosen_folders() {
        let choice = Choice {
            only: vec!["INBOX".to_owned(), "Lists".to_owned()],
            except: vec!["Lists/Old".to_owned()],
        };
        for (path, taken) in [
            ("Inbox", true),
            ("Lists", true),
            ("Lists/Rust", true),
            ("Lists2", false),
            ("Lists/Old", false),
            ("Lists/Old/Older", false),
            ("Lists/Older", true),
            ("Sent", false),
            ("Ü", false),
        ] {
            assert_eq!(choice.takes(path), taken, "{path}");
        }
        assert!(Choice::default().takes("Ü") && !Choice::default().names("Ü"));
    }
}
