//! FreeRADIUS' clients.conf.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::import::Import;
use crate::{Hidden, NasEntry, convert};

/// Reads `client NAME { ... }` sections; `file` stands for the file's name. What else is in the file is passed over.
#[must_use]
pub fn from_clients(file: &str, text: &str) -> Import {
    let mut import = Import::default();
    let mut client: Option<Client> = None;
    // Sections within a client, such as `limit { ... }`.
    let mut depth = 0usize;
    for (number, line) in (1..).zip(text.lines()) {
        let line = without_comment(line).trim();
        let place = format!("{file}:{number}");
        let mut rest = line;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('}') {
                rest = after.trim_start();
                if depth > 0 {
                    depth -= 1;
                } else if let Some(client) = client.take() {
                    client.enter(&mut import);
                }
                continue;
            }
            let (head, after, opens) = match rest.find(['{', '}']) {
                Some(at) if rest.get(at..).is_some_and(|rest| rest.starts_with('{')) => (
                    rest.get(..at).unwrap_or_default(),
                    rest.get(at + 1..).unwrap_or_default(),
                    true,
                ),
                Some(at) => {
                    (rest.get(..at).unwrap_or_default(), rest.get(at..).unwrap_or_default(), false)
                }
                None => (rest, "", false),
            };
            rest = after.trim_start();
            let head = head.trim();
            if opens {
                match (head.strip_prefix("client "), &client) {
                    (Some(name), None) if depth == 0 => {
                        let name = name.trim().trim_matches('"').to_owned();
                        client =
                            Some(Client { name, place: place.clone(), values: BTreeMap::new() });
                    }
                    _ => depth += 1,
                }
                continue;
            }
            if let (Some(client), 0, Some((key, value))) =
                (&mut client, depth, head.split_once('='))
            {
                let value = value.trim().trim_matches(['"', '\'']).to_owned();
                client.values.insert(key.trim().to_owned(), value);
            }
        }
    }
    if let Some(client) = client {
        import.refuse(client.place, &client.name, "its section does not end: a } is missing");
    }
    import
}

struct Client {
    name: String,
    place: String,
    values: BTreeMap<String, String>,
}

impl Client {
    fn enter(self, import: &mut Import) {
        let value = |key: &str| self.values.get(key).map(String::as_str);
        // Of old files the section's name is the address.
        let address = ["ipaddr", "ipv4addr", "ipv6addr"]
            .iter()
            .find_map(|key| value(key))
            .unwrap_or(&self.name);
        let mut found = prefix(address);
        if let (Some(prefix), Some(mask)) =
            (found, value("netmask").and_then(|mask| mask.parse().ok()))
        {
            found = IpNet::new(prefix.addr(), mask).ok().map(|prefix| prefix.trunc());
        }
        let Some(prefix) = found else {
            return import.refuse(
                self.place,
                &self.name,
                "its ipaddr is no address or prefix: names are not looked up, and each setting has a line of its own",
            );
        };
        let name = value("shortname").unwrap_or(&self.name);
        let entry = NasEntry {
            secret: Hidden::new(value("secret").unwrap_or_default()),
            relaxed: value("require_message_authenticator")
                .is_some_and(|value| matches!(value, "no" | "false" | "0")),
            ..NasEntry::new(name, prefix, "")
        };
        if entry.relaxed {
            let reason = "it is trusted without Message-Authenticator, as before: see whether it can send one";
            import.note(self.place.clone(), &self.name, reason);
        }
        match convert::nas(&entry) {
            Ok(()) => import.nases.push(entry),
            Err(reason) => import.refuse(self.place, &self.name, reason),
        }
    }
}

/// An address or prefix as people write it; `*` is everybody of IPv4.
pub(super) fn prefix(text: &str) -> Option<IpNet> {
    let text = text.trim();
    if text == "*" {
        return "0.0.0.0/0".parse().ok();
    }
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.ok().or_else(|| text.parse::<IpNet>().ok()).map(|prefix| prefix.trunc())
}

/// A line up to its comment; one within quotes is none.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, letter) in line.char_indices() {
        match (quote, letter) {
            (None, '#') => return line.get(..at).unwrap_or_default(),
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), _) if open == letter => quote = None,
            _ => {}
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_become_nases() {
        let text = r#"
# comment { not a section
client lns1 {
	ipaddr = 192.0.2.1	# where it is
	secret = "xyzzy#5461"
	require_message_authenticator = no
	limit {
		max_connections = 16
		secret = wrong
	}
}
client 198.51.100.0/24 { secret = second }
client old { ipaddr = 10.1.2.3
netmask = 16
secret = third
shortname = ten }
client named { ipaddr = lns.example secret = fourth }
client empty { ipaddr = 192.0.2.2
}
home_server x { ipaddr = 192.0.2.9
secret = not_ours }
client open { ipaddr = 2001:db8::1
secret = fifth
"#;
        let import = from_clients("clients.conf", text);
        let nases: Vec<(String, &str, bool)> = import
            .nases
            .iter()
            .map(|nas| (format!("{} {}", nas.name, nas.prefix), nas.secret.reveal(), nas.relaxed))
            .collect();
        assert_eq!(
            nases,
            [
                ("lns1 192.0.2.1/32".to_owned(), "xyzzy#5461", true),
                ("198.51.100.0/24 198.51.100.0/24".to_owned(), "second", false),
                ("ten 10.1.0.0/16".to_owned(), "third", false),
            ]
        );
        let refused: Vec<(&str, &str)> = import
            .refused
            .iter()
            .map(|refused| (refused.place.as_str(), refused.name.as_str()))
            .collect();
        assert_eq!(
            refused,
            [
                ("clients.conf:17", "named"),
                ("clients.conf:18", "empty"),
                ("clients.conf:22", "open")
            ]
        );
        assert_eq!(import.notes.len(), 1);
    }
}
