//! The maps of Postfix, as text: `postmap` reads the same files. `virtual(5)` and `table` of `postmap(1)` describe them.

use std::collections::BTreeMap;

use muralla_mail_envelope::{Address, Domain};

use super::{Accounts, Import, ImportedAccount, TWICE, address, list};
use crate::Name;
use crate::entries::{AccountEntry, AliasEntry, DomainEntry};

/// Reads `virtual_alias_maps`: `name@domain targets`, `@domain targets` for a catch-all, `@domain @other` for a domain that is
/// an alias of another, and `domain anything`, which names a domain. `default` is the domain of names without one.
#[must_use]
pub fn from_postfix_aliases(text: &str, place: &str, default: Option<&Domain>) -> Import {
    let mut import = Import::default();
    let mut aliases: BTreeMap<Name, Vec<Address>> = BTreeMap::new();
    for line in lines(text) {
        let place = format!("{place}:{}", line.number);
        if let Err(why) = alias(&mut import, &mut aliases, &line, default) {
            import.refuse(place, line.key, why);
        }
    }
    for (name, targets) in aliases {
        let entry = AliasEntry::new(name, targets);
        match entry.check() {
            Ok(()) => import.aliases.push(entry),
            Err(error) => import.refuse(place, entry.name.as_str(), error),
        }
    }
    import
}

fn alias(
    import: &mut Import,
    aliases: &mut BTreeMap<Name, Vec<Address>>,
    line: &Line<'_>,
    default: Option<&Domain>,
) -> Result<(), String> {
    let key = line.key;
    let domain = |text: &str| Domain::parse(text).map_err(|error| error.to_string());
    let value = line.value.trim();
    if let Some(name) = key.strip_prefix('@') {
        let name = domain(name)?;
        if let Some(other) = value.strip_prefix('@').filter(|other| list(other).len() == 1) {
            let mut entry = DomainEntry::new(name);
            entry.alias_of = Some(domain(other)?);
            import.domain(entry);
            return Ok(());
        }
        let targets = targets(value, default)?;
        return match import.catch_alls.get(&name) {
            Some(_) => Err(TWICE.to_owned()),
            None => {
                import.catch_alls.insert(name, targets);
                Ok(())
            }
        };
    }
    let name = match (key.contains('@'), default) {
        (true, _) => Name::parse(key),
        // The old way to say that a domain is ours; what is on the right means nothing.
        (false, _) if key.contains('.') => {
            import.domain(DomainEntry::new(domain(key)?));
            return Ok(());
        }
        (false, Some(default)) => Name::parse(&format!("{key}@{default}")),
        (false, None) => {
            return Err("it has no domain: say which one names alone are in".to_owned());
        }
    };
    let name = name.map_err(|error| error.to_string())?;
    let targets = targets(value, default)?;
    if aliases.contains_key(&name) {
        return Err(TWICE.to_owned());
    }
    aliases.insert(name, targets);
    Ok(())
}

fn targets(text: &str, default: Option<&Domain>) -> Result<Vec<Address>, String> {
    let targets = list(text);
    if targets.is_empty() {
        return Err("it has no target".to_owned());
    }
    targets
        .into_iter()
        .map(|target| {
            if target.trim_start_matches('"').starts_with(['|', '/', ':']) {
                return Err(format!("{target}: programs and files are no targets here"));
            }
            if !target.contains('@') && default.is_none() {
                return Err(format!(
                    "{target}: it has no domain: say which one names alone are in"
                ));
            }
            address(target, default).map_err(|why| format!("{target}: {why}"))
        })
        .collect()
}

/// Reads `virtual_mailbox_maps`: `name@domain path`. The path means nothing here, and there are no passwords: take them from
/// Dovecot.
#[must_use]
pub fn from_postfix_mailboxes(text: &str, place: &str, default: Option<&Domain>) -> Import {
    let mut import = Import::default();
    let mut accounts = Accounts::new();
    for line in lines(text) {
        let place = format!("{place}:{}", line.number);
        if line.key.starts_with('@') {
            import.refuse(place, line.key, "a mailbox for all names of a domain: enter an account, and make it the domain's catch-all");
            continue;
        }
        let name = match default {
            Some(domain) if !line.key.contains('@') => {
                Name::parse(&format!("{}@{domain}", line.key))
            }
            _ => Name::parse(line.key),
        };
        match name {
            Ok(name) => {
                let account = ImportedAccount { entry: AccountEntry::new(name), password: None };
                accounts.take(&mut import, &place, account);
            }
            Err(error) => import.refuse(place, line.key, error),
        }
    }
    import
}

/// Reads a list of domains: `virtual_mailbox_domains`, `virtual_alias_domains`, `relay_domains`; what stands behind a domain
/// means nothing.
#[must_use]
pub fn from_postfix_domains(text: &str, place: &str) -> Import {
    let mut import = Import::default();
    for line in lines(text) {
        match Domain::parse(line.key) {
            Ok(name) => import.domain(DomainEntry::new(name)),
            Err(error) => import.refuse(format!("{place}:{}", line.number), line.key, error),
        }
    }
    import
}

struct Line<'a> {
    number: usize,
    key: &'a str,
    value: String,
}

/// A line that begins with a space goes on with the one before; lines that begin with # are nothing.
fn lines(text: &str) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some(last) if line.starts_with(char::is_whitespace) => {
                last.value.push(' ');
                last.value.push_str(trimmed);
            }
            _ => {
                let (key, value) = split_key(trimmed);
                lines.push(Line { number: at + 1, key, value: value.trim().to_owned() });
            }
        }
    }
    lines
}

/// The key ends at the first space that is not within quotes.
fn split_key(line: &str) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, char) in line.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            char if char.is_whitespace() && !quoted => {
                return line.split_at_checked(at).unwrap_or((line, ""));
            }
            _ => {}
        }
    }
    (line, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_of_aliases() {
        let text = "# comment\n\
            a.example   anything\n\
            ann@a.example  ann@a.example, Ann@else.example\n\
            info@a.example ann@a.example,\n\
            \x20   bob@a.example\n\
            # between\n\
            \tcarl@a.example\n\
            \n\
            @a.example  ann@a.example\n\
            @b.example  @a.example\n\
            \"a b\"@a.example ann@a.example\n\
            root  ann\n\
            prog@a.example \"|/bin/sh\"\n\
            prog2@a.example |/bin/sh\n\
            empty@a.example\n\
            info@a.example x@else.example\n";
        let domain = Domain::parse("a.example").unwrap();
        let import = from_postfix_aliases(text, "virtual", Some(&domain));
        let shown: Vec<String> = import
            .aliases
            .iter()
            .map(|alias| {
                let targets: Vec<String> = alias.targets.iter().map(ToString::to_string).collect();
                format!("{} {}", alias.name, targets.join(" "))
            })
            .collect();
        assert_eq!(
            shown,
            [
                "a b@a.example ann@a.example",
                "ann@a.example ann@a.example Ann@else.example",
                "info@a.example ann@a.example bob@a.example carl@a.example",
                "root@a.example ann@a.example",
            ]
        );
        assert_eq!(import.catch_alls[&domain][0].to_string(), "ann@a.example");
        let domains: Vec<(String, bool)> = import
            .domains
            .iter()
            .map(|entry| (entry.name.to_string(), entry.alias_of.is_some()))
            .collect();
        assert_eq!(domains, [("a.example".to_owned(), false), ("b.example".to_owned(), true)]);
        let places: Vec<&str> =
            import.refused.iter().map(|refused| refused.place.as_str()).collect();
        assert_eq!(
            places,
            ["virtual:13", "virtual:14", "virtual:15", "virtual:16"],
            "{:?}",
            import.refused
        );
    }

    #[test]
    fn maps_of_mailboxes_and_domains() {
        let import = from_postfix_mailboxes(
            "ann@a.example a.example/ann/\nANN@a.example x\n@a.example all/\nbob x\n",
            "mailboxes",
            None,
        );
        assert_eq!((import.accounts.len(), import.refused.len()), (1, 3));
        let import =
            from_postfix_domains("a.example OK\nB.example\nnot_a domain\n-.x OK\n", "domains");
        let names: Vec<&str> = import.domains.iter().map(|domain| domain.name.as_str()).collect();
        assert_eq!(names, ["a.example", "b.example", "not_a"]);
        assert_eq!(import.refused.len(), 1);
    }
}
