//! The passwd-file of Dovecot: `name:{SCHEME}hash:uid:gid::home::extra`.

use muralla_mail_envelope::Domain;

use super::{Accounts, Import, ImportedAccount, set_secret, size};
use crate::Name;
use crate::entries::AccountEntry;

/// Reads a passwd-file. Of its extra fields, `userdb_quota_rule`, `userdb_quota_storage_size` and `nologin` are taken; where
/// mail lies, and as which user of the system, means nothing here. `default` is the domain of names without one.
#[must_use]
pub fn from_passwd_file(text: &str, place: &str, default: Option<&Domain>) -> Import {
    let mut import = Import::default();
    let mut accounts = Accounts::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let place = format!("{place}:{}", at + 1);
        let mut fields = line.splitn(8, ':');
        let (user, password) =
            (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        // Six fields on, and then whatever has colons of its own.
        let extra = fields.nth(5).unwrap_or_default();
        let name = match default {
            Some(domain) if !user.contains('@') => Name::parse(&format!("{user}@{domain}")),
            _ => Name::parse(user),
        };
        let name = match name {
            Ok(name) => name,
            Err(error) => {
                import.refuse(place, user, error);
                continue;
            }
        };
        let mut account = ImportedAccount { entry: AccountEntry::new(name), password: None };
        set_secret(&mut import, &place, &mut account, password);
        for field in extra.split_whitespace() {
            take(&mut import, &place, &mut account.entry, field);
        }
        accounts.take(&mut import, &place, account);
    }
    import
}

fn take(import: &mut Import, place: &str, entry: &mut AccountEntry, field: &str) {
    let (key, value) = field.split_once('=').unwrap_or((field, ""));
    let bare = key.strip_prefix("userdb_").unwrap_or(key);
    match bare {
        "nologin" => entry.disabled = true,
        "quota_storage_size" => set_quota(import, place, entry, field, size(value, true)),
        "quota_rule" => {
            // Of the root, `*:storage=300M` or `*:bytes=300M`; storage counts in KiB where it has no unit.
            let Some(rule) = value.strip_prefix("*:") else {
                return import.note(place, entry.name.as_str(), format!("left out: {field}"));
            };
            for limit in rule.split(':') {
                match limit.split_once('=') {
                    Some(("storage", number))
                        if number.bytes().all(|byte| byte.is_ascii_digit()) =>
                    {
                        let bytes =
                            number.parse::<u64>().ok().and_then(|kib| kib.checked_mul(1024));
                        set_quota(import, place, entry, field, bytes);
                    }
                    Some(("storage" | "bytes", number)) => {
                        set_quota(import, place, entry, field, size(number, true));
                    }
                    _ => import.note(place, entry.name.as_str(), format!("left out: {limit}")),
                }
            }
        }
        "mail" | "home" | "uid" | "gid" => {}
        _ => import.note(place, entry.name.as_str(), format!("left out: {key}")),
    }
}

fn set_quota(
    import: &mut Import,
    place: &str,
    entry: &mut AccountEntry,
    field: &str,
    bytes: Option<u64>,
) {
    match bytes {
        Some(bytes) => entry.quota_bytes = Some(bytes),
        None => import.note(
            place,
            entry.name.as_str(),
            format!("this quota is not understood: {field}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passwd_file() {
        let text = "# users\n\
            ann@a.example:{PLAIN}hunter2:5000:5000::/var/mail/ann::userdb_quota_rule=*:storage=300M\n\
            bob:{NT}0cb6948805f797bf2a82807973b89537::::::userdb_quota_rule=*:storage=1024 nologin allow_nets=192.0.2.0/24\n\
            carl@a.example:$1$abcdefgh$abcdefghijklmnopqrstuv\n\
            dora@a.example:{CRAM-MD5}00::::::\n\
            eve@a.example\n\
            fred@a.example::::::::userdb_quota_storage_size=1G\n\
            nobody@:x\n\
            ann@a.example:{PLAIN}other\n";
        let domain = Domain::parse("a.example").unwrap();
        let import = from_passwd_file(text, "users", Some(&domain));
        let entries: Vec<&AccountEntry> =
            import.accounts.iter().map(|account| &account.entry).collect();
        let names: Vec<&str> = entries.iter().map(|entry| entry.name.local()).collect();
        assert_eq!(names, ["ann", "bob", "carl", "dora", "eve", "fred"]);
        assert_eq!(import.accounts[0].password.as_ref().unwrap().reveal(), "hunter2");
        let quotas: Vec<Option<u64>> = entries.iter().map(|entry| entry.quota_bytes).collect();
        assert_eq!(quotas, [Some(300 << 20), Some(1 << 20), None, None, None, None]);
        let known: Vec<bool> = entries.iter().map(|entry| !entry.credential.is_empty()).collect();
        assert_eq!(known, [false, true, true, false, false, false]);
        assert!(entries[1].disabled && !entries[0].disabled);
        assert_eq!(import.refused.len(), 2, "{:?}", import.refused);
        // One network that is left out, one password, and what fred's line has one colon too many for.
        assert_eq!(import.notes.len(), 3, "{:?}", import.notes);
    }
}
