//! What other systems have: CSV, the maps of Postfix, the passwd-file of Dovecot, turned into our entries, with a report of
//! what could not be taken and why.
//!
//! An account whose password can't be taken is taken all the same: its mail must go somewhere, and its owner gets a new
//! password when he asks.

mod csv;
mod passwd;
mod postfix;
mod rehearsal;
mod table;
mod users;
mod vcard;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use muralla_credentials::{Credential, Storage};
use muralla_mail_envelope::{Address, Domain};
use serde::{Deserialize, Serialize};

use crate::directory::blocking;
use crate::entries::{AccountEntry, AliasEntry, DomainEntry};
use crate::scram::ITERATIONS;
use crate::{DirectoryError, Hidden, Name, Progress, Registry, ScramKeys};

pub use csv::from_csv;
pub use passwd::from_passwd_file;
pub use postfix::{from_postfix_aliases, from_postfix_domains, from_postfix_mailboxes};
pub use rehearsal::Rehearsed;
pub use users::{User, UsersError, read_users};
pub use vcard::from_vcard;

/// Passwords that are hashed between two words of how far it is.
const PIECE: usize = 64;

/// What was read, before it is entered: look at [`Import::refused`] first.
#[derive(Clone, Debug, Default)]
pub struct Import {
    /// Domains that were named as such. One that is there already stays as it is.
    pub domains: Vec<DomainEntry>,
    /// Accounts, no name twice.
    pub accounts: Vec<ImportedAccount>,
    /// Aliases, no name twice.
    pub aliases: Vec<AliasEntry>,
    /// Catch-alls of domains.
    pub catch_alls: BTreeMap<Domain, Vec<Address>>,
    /// What could not be taken.
    pub refused: Vec<Refused>,
    /// What was taken, but is not quite the same.
    pub notes: Vec<Refused>,
}

/// An account to be entered.
#[derive(Clone, Debug)]
pub struct ImportedAccount {
    /// The entry.
    pub entry: AccountEntry,
    /// A password that is still to be hashed.
    pub password: Option<Hidden>,
}

/// Something that could not be taken, or not quite.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Refused {
    /// Where it stands: a file and line.
    pub place: String,
    /// Whose it is.
    pub name: String,
    /// Why, and what to do. Never shows a password.
    pub reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.name, self.reason)
    }
}

/// How it is entered.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// Whether domains that are not there are entered with the usual values, or what is in them refused.
    pub create_domains: bool,
    /// How passwords in clear text are stored. Argon2 takes some hundredths of a second for each.
    pub passwords: Storage,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self { create_domains: false, passwords: Storage::Argon2 }
    }
}

/// What was entered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Imported {
    /// Domains.
    pub domains: u64,
    /// Accounts.
    pub accounts: u64,
    /// Aliases.
    pub aliases: u64,
}

impl Import {
    /// Takes in what another file had. What is there already is kept, and the other is refused.
    pub fn join(&mut self, other: Self) {
        self.refused.extend(other.refused);
        self.notes.extend(other.notes);
        for domain in other.domains {
            self.domain(domain);
        }
        let mut names: HashSet<Name> =
            self.accounts.iter().map(|account| account.entry.name.clone()).collect();
        for account in other.accounts {
            if names.insert(account.entry.name.clone()) {
                self.accounts.push(account);
            } else {
                self.refuse("both files", account.entry.name.as_str(), TWICE);
            }
        }
        let mut names: HashSet<Name> =
            self.aliases.iter().map(|alias| alias.name.clone()).collect();
        for alias in other.aliases {
            if names.insert(alias.name.clone()) {
                self.aliases.push(alias);
            } else {
                self.refuse("both files", alias.name.as_str(), TWICE);
            }
        }
        for (domain, targets) in other.catch_alls {
            self.catch_alls.entry(domain).or_insert(targets);
        }
    }

    fn refuse(&mut self, place: impl Into<String>, name: &str, reason: impl ToString) {
        self.refused.push(told(place, name, reason));
    }

    fn note(&mut self, place: impl Into<String>, name: &str, reason: impl ToString) {
        self.notes.push(told(place, name, reason));
    }

    fn domain(&mut self, entry: DomainEntry) {
        if !self.domains.iter().any(|known| known.name == entry.name) {
            self.domains.push(entry);
        }
    }
}

const TWICE: &str = "it is there a second time; the first one is kept";

fn told(place: impl Into<String>, name: &str, reason: impl ToString) -> Refused {
    // Whatever stands there goes to somebody's terminal.
    let name: String = name.chars().filter(|char| !char.is_control()).take(120).collect();
    Refused { place: place.into(), name, reason: reason.to_string() }
}

impl Registry {
    /// Enters what was read, each new or instead of what has the same name; accounts without a password keep the one that
    /// they have. What the database can't take is added to [`Import::refused`].
    ///
    /// # Errors
    ///
    /// If the database is away. What was entered before stays entered; the same import may be entered again.
    pub async fn import(
        &self,
        import: &mut Import,
        options: ImportOptions,
        mut progress: impl FnMut(Progress),
    ) -> Result<Imported, DirectoryError> {
        let mut imported = Imported::default();
        let mut known: HashMap<Domain, DomainEntry> =
            self.domains().await?.into_iter().map(|domain| (domain.name.clone(), domain)).collect();
        if options.create_domains {
            import.name_domains();
        }
        // Aliases of others after the others.
        let mut domains = std::mem::take(&mut import.domains);
        domains.sort_by_key(|domain| domain.alias_of.is_some());
        for domain in &domains {
            if known.contains_key(&domain.name) {
                continue;
            }
            match self.put_domain(domain).await {
                Ok(()) => {
                    known.insert(domain.name.clone(), domain.clone());
                    imported.domains += 1;
                }
                Err(error) if error.may_pass() => return Err(error),
                Err(error) => import.refuse("domains", domain.name.as_str(), error),
            }
        }
        import.domains = domains;
        self.refuse_strays(import, &known).await?;
        self.hash_passwords(import, options.passwords, &mut progress).await?;
        let entries: Vec<AccountEntry> =
            import.accounts.iter().map(|account| account.entry.clone()).collect();
        self.put_accounts(&entries, &mut progress).await?;
        self.put_aliases(&import.aliases, &mut progress).await?;
        for (name, targets) in &import.catch_alls {
            if let Some(domain) = known.get(name) {
                let domain = DomainEntry { catch_all: targets.clone(), ..domain.clone() };
                self.put_domain(&domain).await?;
            }
        }
        imported.accounts = entries.len() as u64;
        imported.aliases = import.aliases.len() as u64;
        Ok(imported)
    }

    /// Refuses what has no place to be: no domain, no back-end, no shard.
    async fn refuse_strays(
        &self,
        import: &mut Import,
        known: &HashMap<Domain, DomainEntry>,
    ) -> Result<(), DirectoryError> {
        let mut backends: HashSet<String> =
            self.backends().await?.into_iter().map(|backend| backend.name).collect();
        backends.insert(crate::Backend::STORE.to_owned());
        let shards: HashSet<_> =
            self.shards().await?.into_iter().filter_map(|shard| shard.id).collect();
        let place = |domain: &str| match known.get(domain) {
            None => Some(format!(
                "{domain} is none of our domains: enter it first, or let it be entered"
            )),
            Some(entry) => entry
                .alias_of
                .as_ref()
                .map(|other| format!("{domain} is an alias of {other}: enter it there")),
        };
        let mut refused = Vec::new();
        import.accounts.retain(|account| {
            let entry = &account.entry;
            let backend = entry.backends.iter().find(|name| !backends.contains(*name));
            let why = place(entry.name.domain())
                .or_else(|| {
                    backend.map(|name| format!("there is no back-end {name}: enter it first"))
                })
                .or_else(|| {
                    let shard = entry.shard.filter(|shard| !shards.contains(shard))?;
                    Some(format!("there is no shard {shard}: enter it first"))
                });
            refused.extend(why.iter().map(|why| told("accounts", entry.name.as_str(), why)));
            why.is_none()
        });
        // Where an account's mail lives is not for an import to say.
        let mut work = self.engine.read().await?;
        let names: Vec<muralla_database::Value> = import
            .accounts
            .iter()
            .filter(|account| account.entry.shard.is_some())
            .map(|account| account.entry.name.as_str().into())
            .collect();
        let mut lives: HashMap<String, i64> = HashMap::new();
        work.each_in(
            "SELECT name, shard FROM mail_account WHERE name IN ({})",
            &[],
            &names,
            |row| {
                lives.insert(row.text(0)?, row.int(1)?);
                Ok(())
            },
        )
        .await?;
        for account in &mut import.accounts {
            if lives.contains_key(account.entry.name.as_str()) {
                account.entry.shard = None;
            }
        }
        import.aliases.retain(|alias| {
            let why = place(alias.name.domain());
            refused.extend(why.iter().map(|why| told("aliases", alias.name.as_str(), why)));
            why.is_none()
        });
        import.catch_alls.retain(|domain, _| {
            let why = place(domain.as_str());
            refused.extend(why.iter().map(|why| told("catch-alls", domain.as_str(), why)));
            why.is_none()
        });
        import.refused.extend(refused);
        Ok(())
    }

    /// Makes credentials of passwords in clear text, on as many threads as logins may take.
    async fn hash_passwords(
        &self,
        import: &mut Import,
        storage: Storage,
        progress: &mut impl FnMut(Progress),
    ) -> Result<(), DirectoryError> {
        let mut open: Vec<(usize, Hidden)> = import
            .accounts
            .iter_mut()
            .enumerate()
            .filter_map(|(at, account)| Some((at, account.password.take()?)))
            .collect();
        let total = open.len() as u64;
        let (threads, scram) = (self.options.checks.max(1), self.options.scram);
        let mut done = 0;
        while !open.is_empty() {
            let rest = open.split_off(open.len().min(PIECE * threads));
            let batch = std::mem::replace(&mut open, rest);
            done += batch.len() as u64;
            let mut tasks = Vec::new();
            for piece in batch.chunks(PIECE) {
                let piece = piece.to_vec();
                tasks.push(tokio::spawn(blocking("passwords", move || {
                    Ok(piece
                        .into_iter()
                        .map(|(at, password)| (at, hash(&password, storage, scram)))
                        .collect::<Vec<_>>())
                })));
            }
            for task in tasks {
                let hashed = task.await.map_err(|error| DirectoryError::File {
                    what: "passwords".into(),
                    source: std::io::Error::other(error),
                })??;
                for (at, outcome) in hashed {
                    let Some(account) = import.accounts.get_mut(at) else { continue };
                    match outcome {
                        Ok((credential, keys)) => {
                            account.entry.credential = Hidden::new(credential);
                            account.entry.scram = keys.map(Hidden::new);
                        }
                        Err(why) => {
                            let name = account.entry.name.clone();
                            import.note(
                                "passwords",
                                name.as_str(),
                                format!("taken without a password: {why}"),
                            );
                        }
                    }
                }
            }
            progress(Progress { what: "hashing passwords", done, total: Some(total) });
        }
        Ok(())
    }
}

fn hash(
    password: &Hidden,
    storage: Storage,
    scram: bool,
) -> Result<(String, Option<String>), String> {
    let password = password.reveal().as_bytes();
    let (salt, other): ([u8; 16], [u8; 16]) = rand::random();
    let credential =
        Credential::store(storage, password, salt).map_err(|error| error.to_string())?;
    let keys = scram.then(|| ScramKeys::derive(password, &other, ITERATIONS).to_text());
    Ok((credential.to_text(), keys))
}

impl Import {
    /// Names the domains of everything in it, if they are not named.
    fn name_domains(&mut self) {
        let accounts = self.accounts.iter().map(|account| account.entry.name.domain());
        let aliases = self.aliases.iter().map(|alias| alias.name.domain());
        let names: HashSet<Domain> =
            accounts.chain(aliases).filter_map(|name| Domain::parse(name).ok()).collect();
        let catch_alls = self.catch_alls.keys().cloned();
        let mut names: Vec<Domain> = names.into_iter().chain(catch_alls).collect();
        names.sort();
        for name in names {
            self.domain(DomainEntry::new(name));
        }
    }
}

/// Takes an account in, if its entry makes sense and its name is not there.
struct Accounts {
    seen: HashSet<Name>,
}

impl Accounts {
    fn new() -> Self {
        Self { seen: HashSet::new() }
    }

    fn take(&mut self, import: &mut Import, place: &str, account: ImportedAccount) {
        let name = account.entry.name.clone();
        if let Err(error) = account.entry.check() {
            import.refuse(place, name.as_str(), error);
        } else if self.seen.insert(name.clone()) {
            import.accounts.push(account);
        } else {
            import.refuse(place, name.as_str(), TWICE);
        }
    }
}

/// What a text of another system says of a password.
enum Secret {
    /// It can be compared as it is.
    Credential(Hidden),
    /// Keys of SCRAM.
    Scram(Hidden),
    /// It is the password itself, and is to be hashed.
    Clear(Hidden),
    None,
}

/// Reads a password as Dovecot writes it. What has no scheme is crypt's.
fn secret(text: &str) -> Result<Secret, String> {
    if text.is_empty() || text == "x" || text.starts_with(['*', '!']) {
        return Ok(Secret::None);
    }
    let (scheme, rest) = match text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        Some((scheme, rest)) => (scheme.to_ascii_uppercase(), rest),
        None => ("CRYPT".to_owned(), text),
    };
    let (base, written) = match scheme.split_once('.') {
        Some((base, written)) => (base, format!(".{written}")),
        None => (scheme.as_str(), String::new()),
    };
    // A name that we know by another.
    let ours = match base {
        "PLAIN" | "CLEAR" | "CLEARTEXT" if written.is_empty() => {
            return Ok(Secret::Clear(Hidden::new(rest)));
        }
        "SCRAM-SHA-256" => {
            return match ScramKeys::parse(rest) {
                Ok(keys) => Ok(Secret::Scram(Hidden::new(keys.to_text()))),
                Err(error) => Err(error.to_string()),
            };
        }
        "PLAIN-MD5" | "LDAP-MD5" => "MD5",
        "DES-CRYPT" => "CRYPT",
        "DIGEST-MD5" | "RPA" | "LANMAN" | "LM" | "SKEY" | "OTP" => {
            return Err(format!("{{{base}}} is good for its own method alone: set a new password"));
        }
        other => other,
    };
    let text = format!("{{{ours}{written}}}{rest}");
    match Credential::parse(&text) {
        Ok(Credential::Anything) => Err("no account is open to any password: set one".to_owned()),
        Ok(Credential::None) => Ok(Secret::None),
        Ok(_) => Ok(Secret::Credential(Hidden::new(text))),
        Err(error) => Err(error.to_string()),
    }
}

/// Puts what a text says of a password into an account, or tells why not.
fn set_secret(import: &mut Import, place: &str, account: &mut ImportedAccount, text: &str) {
    match secret(text) {
        Ok(Secret::Credential(credential)) => account.entry.credential = credential,
        Ok(Secret::Scram(keys)) => account.entry.scram = Some(keys),
        Ok(Secret::Clear(password)) => account.password = Some(password),
        Ok(Secret::None) => {}
        Err(why) => {
            let name = account.entry.name.clone();
            import.note(place, name.as_str(), format!("taken without a password: {why}"));
        }
    }
}

/// Reads a size in bytes: `300M`, `300MB` are millions, `300MiB` are 1024 times 1024, and with `binary` so is `300M`.
fn size(text: &str, binary: bool) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|char: char| !char.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    let unit = unit.trim().to_ascii_lowercase();
    let (letter, rest) = match unit.chars().next() {
        None => return Some(number),
        Some(letter) => (letter, unit.strip_prefix(letter)?),
    };
    let thousand: u64 = match rest {
        "ib" | "i" => 1024,
        "" | "b" if binary => 1024,
        "" | "b" => 1000,
        _ => return None,
    };
    let power = match letter {
        'b' if rest.is_empty() => 0,
        'k' => 1,
        'm' => 2,
        'g' => 3,
        't' => 4,
        _ => return None,
    };
    number.checked_mul(thousand.checked_pow(power)?)
}

/// Takes a list apart at commas, semicolons and spaces, but not within quotes.
fn list(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut begin, mut quoted, mut escaped) = (0, false, false);
    for (at, char) in text.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        match char {
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' | ';' if !quoted => {
                items.extend(text.get(begin..at));
                begin = at + 1;
            }
            char if char.is_whitespace() && !quoted => {
                items.extend(text.get(begin..at));
                begin = at + char.len_utf8();
            }
            _ => {}
        }
    }
    items.extend(text.get(begin..));
    items.into_iter().map(str::trim).filter(|item| !item.is_empty()).collect()
}

/// An address, with the domain that names alone are in.
fn address(text: &str, default: Option<&Domain>) -> Result<Address, String> {
    match default {
        Some(domain) if !text.contains('@') => Address::parse(&format!("{text}@{domain}")),
        _ => Address::parse(text),
    }
    .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, binary, expected) in [
            ("300", false, Some(300)),
            ("300M", false, Some(300_000_000)),
            ("300 MB", false, Some(300_000_000)),
            ("300MiB", false, Some(300 << 20)),
            ("300M", true, Some(300 << 20)),
            ("1g", false, Some(1_000_000_000)),
            ("5b", false, Some(5)),
            ("", false, None),
            ("M", false, None),
            ("3X", false, None),
            ("3Mx", false, None),
            ("-3M", false, None),
            ("99999999999999999999", false, None),
            ("99999999999999999T", false, None),
        ] {
            assert_eq!(size(text, binary), expected, "{text}");
        }
    }

    #[test]
    fn lists_are_taken_apart() {
        assert_eq!(list("a@b, c@d;e@f  g@h,"), ["a@b", "c@d", "e@f", "g@h"]);
        assert_eq!(list("\"a, b\"@c \"q\\\" x\"@d"), ["\"a, b\"@c", "\"q\\\" x\"@d"]);
        assert!(list(" ,; ").is_empty());
    }

    #[test]
    fn passwords_of_others_are_taken_or_explained() {
        let kind = |text: &str| match secret(text) {
            Ok(Secret::Credential(_)) => "credential",
            Ok(Secret::Scram(_)) => "scram",
            Ok(Secret::Clear(_)) => "clear",
            Ok(Secret::None) => "none",
            Err(_) => "refused",
        };
        let scram = ScramKeys::derive(b"x", b"salt", 1).to_text();
        for (text, expected) in [
            ("{PLAIN}secret", "clear"),
            ("{plain}secret", "clear"),
            ("{SSHA}AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "credential"),
            ("{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69", "credential"),
            ("{LDAP-MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==", "credential"),
            ("{MD5-CRYPT}$1$abcdefgh$abcdefghijklmnopqrstuv", "credential"),
            ("$1$abcdefgh$abcdefghijklmnopqrstuv", "credential"),
            (
                "{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuabcdefghijklmnopqrstuvwxyzABCDE",
                "credential",
            ),
            (scram.as_str(), "scram"),
            (
                "{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56",
                "credential",
            ),
            ("{CRAM-MD5}00", "refused"),
            ("{DIGEST-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69", "refused"),
            ("{NOVEL}00", "refused"),
            ("{ANYTHING}", "refused"),
            ("secret in clear", "refused"),
            ("", "none"),
            ("*", "none"),
            ("!$1$abcdefgh$abcdefghijklmnopqrstuv", "none"),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
        let Err(why) = secret("{SSHA}tiny-secret") else { panic!("it is too short") };
        assert!(!why.contains("tiny"), "{why}");
    }

    #[test]
    fn two_files_are_joined() {
        let read = |text: &str| from_csv(text.as_bytes(), "a.csv", None);
        let mut import = read("name\nann@a.example\n");
        import.join(read("name\nANN@a.example\nbob@a.example\n"));
        assert_eq!(import.accounts.len(), 2);
        assert_eq!(import.refused.len(), 1);
        import.name_domains();
        assert_eq!(import.domains.len(), 1);
    }
}
