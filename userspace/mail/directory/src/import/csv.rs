//! Tables of accounts and aliases.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;

use csv::StringRecord;
use muralla_mail_envelope::{Address, Domain};

use super::table::Table;
use super::{Accounts, Import, ImportedAccount, address, list, set_secret, size};
use crate::entries::{AccountEntry, AliasEntry};
use crate::{Hidden, Name, SendingLimits, ShardId};

/// Columns that mean something, with the names that they are known by.
const COLUMNS: &[(Column, &[&str])] = &[
    (Column::Name, &["name", "account", "address", "email", "user", "username", "alias", "source"]),
    (Column::Password, &["password", "cleartext"]),
    (Column::Credential, &["credential", "hash", "crypt"]),
    (Column::Quota, &["quota", "quota_bytes"]),
    (Column::Disabled, &["disabled"]),
    (Column::Active, &["active", "enabled"]),
    (Column::MaySend, &["may_send"]),
    (Column::MessagesPerHour, &["messages_per_hour"]),
    (Column::MessagesPerDay, &["messages_per_day"]),
    (Column::RecipientsPerHour, &["recipients_per_hour"]),
    (Column::RecipientsPerDay, &["recipients_per_day"]),
    (Column::RecipientsPerMessage, &["recipients_per_message"]),
    (Column::Forwards, &["forward", "forwards"]),
    (Column::KeepCopy, &["keep_copy"]),
    (Column::Aliases, &["aliases"]),
    (Column::Targets, &["target", "targets", "goto", "destination"]),
    (Column::Senders, &["senders"]),
    (Column::Backends, &["backend", "backends"]),
    (Column::Shard, &["shard"]),
    (Column::Subscriber, &["subscriber"]),
    (Column::Note, &["note", "comment"]),
];

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Column {
    Name,
    Password,
    Credential,
    Quota,
    Disabled,
    Active,
    MaySend,
    MessagesPerHour,
    MessagesPerDay,
    RecipientsPerHour,
    RecipientsPerDay,
    RecipientsPerMessage,
    Forwards,
    KeepCopy,
    Aliases,
    Targets,
    Senders,
    Backends,
    Shard,
    Subscriber,
    Note,
}

/// Reads a table of accounts, or of aliases if it has a column `target`. Its first line names the columns: `name`,
/// `password` (in clear text), `credential` (`{SCHEME}...`), `quota` (`300M`), `disabled` or `active`, `may_send`,
/// `messages_per_hour` and the other limits (a number, 0 for no limit, nothing or `none` for the domain's), `forwards`, `keep_copy`, `aliases` (names that lead to the account), `senders`, `backends`, `shard`, `subscriber`, `note`; or `name`,
/// `target`, `note`. Fields with several values have spaces or semicolons between them. What parts the columns is a comma, a
/// semicolon or a tab, as in the first line. `default` is the domain of names without one.
#[must_use]
pub fn from_csv(input: impl Read, place: &str, default: Option<&Domain>) -> Import {
    let mut import = Import::default();
    let table = match Table::read(input) {
        Ok(table) => table,
        Err(why) => {
            import.refuse(place, "the file", why);
            return import;
        }
    };
    let columns = match columns_of(table.headers()) {
        Ok(columns) => columns,
        Err(why) => {
            import.refuse(format!("{place}:1"), "the heading", why);
            return import;
        }
    };
    let aliases = columns.contains_key(&Column::Targets);
    let mut reading = Reading {
        columns,
        default,
        accounts: Accounts::new(),
        aliases: BTreeMap::new(),
        notes: HashMap::new(),
    };
    for (line, record) in table.records() {
        let place = format!("{place}:{line}");
        match record {
            Ok(record) if aliases => reading.alias(&mut import, &place, &record),
            Ok(record) => reading.account(&mut import, &place, &record),
            Err(error) => import.refuse(place, "the line", error),
        }
    }
    for (name, targets) in reading.aliases {
        let note = reading.notes.remove(&name);
        let entry = AliasEntry { note, ..AliasEntry::new(name, targets) };
        match entry.check() {
            Ok(()) => import.aliases.push(entry),
            Err(error) => import.refuse(place, entry.name.as_str(), error),
        }
    }
    import
}

fn columns_of(headers: &StringRecord) -> Result<HashMap<Column, usize>, String> {
    let mut columns = HashMap::new();
    for (at, header) in headers.iter().enumerate() {
        let header = header.to_ascii_lowercase().replace([' ', '-'], "_");
        let known = COLUMNS.iter().find(|(_, names)| names.contains(&header.as_str()));
        let Some((column, _)) = known else {
            let names: Vec<&str> =
                COLUMNS.iter().filter_map(|(_, names)| names.first().copied()).collect();
            return Err(format!(
                "the first line names the columns, and {header:?} is none of {}",
                names.join(", ")
            ));
        };
        if columns.insert(*column, at).is_some() {
            return Err(format!("{header:?} is there twice"));
        }
    }
    if columns.contains_key(&Column::Name) {
        Ok(columns)
    } else {
        Err("the first line names the columns, and none of them is name".to_owned())
    }
}

struct Reading<'a> {
    columns: HashMap<Column, usize>,
    default: Option<&'a Domain>,
    accounts: Accounts,
    aliases: BTreeMap<Name, Vec<Address>>,
    notes: HashMap<Name, String>,
}

impl Reading<'_> {
    fn field<'r>(&self, record: &'r StringRecord, column: Column) -> &'r str {
        let field = self.columns.get(&column).and_then(|at| record.get(*at)).unwrap_or_default();
        // A password may begin or end with a space.
        if column == Column::Password { field } else { field.trim() }
    }

    fn name(&self, text: &str) -> Result<Name, String> {
        match self.default {
            Some(domain) if !text.contains('@') => Name::parse(&format!("{text}@{domain}")),
            _ => Name::parse(text),
        }
        .map_err(|error| error.to_string())
    }

    fn alias(&mut self, import: &mut Import, place: &str, record: &StringRecord) {
        let text = self.field(record, Column::Name);
        // A catch-all.
        if let Some(domain) = text.strip_prefix('@') {
            let targets = self.addresses(self.field(record, Column::Targets));
            match (Domain::parse(domain), targets) {
                (Ok(domain), Ok(targets)) => {
                    import.catch_alls.entry(domain).or_default().extend(targets);
                }
                (Err(error), _) => import.refuse(place, text, error),
                (_, Err(why)) => import.refuse(place, text, why),
            }
            return;
        }
        let read = self
            .name(text)
            .and_then(|name| Ok((name, self.addresses(self.field(record, Column::Targets))?)));
        match read {
            Ok((name, targets)) => {
                let note = self.field(record, Column::Note);
                if !note.is_empty() {
                    self.notes.entry(name.clone()).or_insert_with(|| note.to_owned());
                }
                self.aliases.entry(name).or_default().extend(targets);
            }
            Err(why) => import.refuse(place, text, why),
        }
    }

    fn account(&mut self, import: &mut Import, place: &str, record: &StringRecord) {
        let text = self.field(record, Column::Name);
        let account = self.name(text).and_then(|name| self.entry(name, record));
        let (mut account, aliases) = match account {
            Ok(account) => account,
            Err(why) => return import.refuse(place, text, why),
        };
        let credential = self.field(record, Column::Credential);
        if !credential.is_empty() {
            set_secret(import, place, &mut account, credential);
        }
        for alias in aliases {
            let own = account.entry.name.to_address();
            self.aliases.entry(alias).or_default().extend(own);
        }
        self.accounts.take(import, place, account);
    }

    fn entry(
        &self,
        name: Name,
        record: &StringRecord,
    ) -> Result<(ImportedAccount, Vec<Name>), String> {
        let mut entry = AccountEntry::new(name);
        let field = |column| self.field(record, column);
        let text = |column| Some(field(column)).filter(|text| !text.is_empty());
        if let Some(quota) = text(Column::Quota) {
            let bytes = size(quota, false);
            entry.quota_bytes =
                Some(bytes.ok_or("its quota is written as 300M, 1G or a number of bytes")?);
        }
        if let Some(disabled) = text(Column::Disabled) {
            entry.disabled = yes_or_no(disabled)?;
        }
        if let Some(active) = text(Column::Active) {
            entry.disabled |= !yes_or_no(active)?;
        }
        if let Some(may_send) = text(Column::MaySend) {
            entry.may_send = yes_or_no(may_send)?;
        }
        let limit = |column| text(column).map_or(Ok(None), limit);
        entry.limits = SendingLimits {
            messages_per_hour: limit(Column::MessagesPerHour)?,
            messages_per_day: limit(Column::MessagesPerDay)?,
            recipients_per_hour: limit(Column::RecipientsPerHour)?,
            recipients_per_day: limit(Column::RecipientsPerDay)?,
            recipients_per_message: limit(Column::RecipientsPerMessage)?,
        };
        if let Some(keep_copy) = text(Column::KeepCopy) {
            entry.keep_copy = yes_or_no(keep_copy)?;
        }
        if let Some(shard) = text(Column::Shard) {
            let number = shard.parse().map_err(|_| "its shard is a number")?;
            entry.shard = Some(ShardId(number));
        }
        entry.forwards = self.addresses(field(Column::Forwards))?;
        entry.senders = list(field(Column::Senders)).into_iter().map(str::to_owned).collect();
        entry.backends = list(field(Column::Backends)).into_iter().map(str::to_owned).collect();
        entry.subscriber = text(Column::Subscriber).map(str::to_owned);
        entry.note = text(Column::Note).map(str::to_owned);
        let aliases = list(field(Column::Aliases))
            .into_iter()
            .map(|name| self.name(name))
            .collect::<Result<_, _>>()?;
        let password = text(Column::Password).map(Hidden::new);
        Ok((ImportedAccount { entry, password }, aliases))
    }

    fn addresses(&self, text: &str) -> Result<Vec<Address>, String> {
        list(text)
            .into_iter()
            .map(|text| address(text, self.default).map_err(|why| format!("{text}: {why}")))
            .collect()
    }
}

/// None is what the domain says.
fn limit(text: &str) -> Result<Option<u32>, String> {
    if text.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let number = text
        .parse()
        .map_err(|_| "a limit is a number, 0 for no limit, or none for the domain's")?;
    Ok(Some(number))
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" => Ok(true),
        "0" | "no" | "n" | "false" | "f" => Ok(false),
        _ => Err("write yes or no, or 1 or 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_accounts() {
        let text = "\u{feff}Name;Password;quota;disabled;forwards;keep copy;aliases;subscriber;note\n\
            Ann@A.example;hunter2;300M;no;x@else.example y@else.example;no;info@a.example;ann;\"a; b\"\n\
            bob;;1GiB;yes;;;;;\n\
            ;;;;;;;;\n\
            carl@a.example;;much;;;;;;\n\
            dora@a.example;;;perhaps;;;;;\n\
            eve@a.example;;;;nowhere@;;;;\n\
            ann@a.example;;;;;;;;\n";
        let domain = Domain::parse("a.example").unwrap();
        let import = from_csv(text.as_bytes(), "users.csv", Some(&domain));
        let names: Vec<&str> =
            import.accounts.iter().map(|account| account.entry.name.as_str()).collect();
        assert_eq!(names, ["ann@a.example", "bob@a.example"]);
        let ann = &import.accounts[0];
        assert_eq!(ann.password.as_ref().unwrap().reveal(), "hunter2");
        assert_eq!(ann.entry.quota_bytes, Some(300_000_000));
        assert_eq!((ann.entry.forwards.len(), ann.entry.keep_copy), (2, false));
        assert_eq!(ann.entry.subscriber.as_deref(), Some("ann"));
        assert_eq!(ann.entry.note.as_deref(), Some("a; b"));
        let bob = &import.accounts[1].entry;
        assert_eq!((bob.quota_bytes, bob.disabled), (Some(1 << 30), true));
        assert_eq!(import.aliases.len(), 1);
        assert_eq!(import.aliases[0].targets[0].to_string(), "ann@a.example");
        let places: Vec<&str> =
            import.refused.iter().map(|refused| refused.place.as_str()).collect();
        assert_eq!(
            places,
            ["users.csv:4", "users.csv:5", "users.csv:6", "users.csv:7", "users.csv:8"]
        );
        assert!(!format!("{import:?}").contains("hunter2"));
    }

    #[test]
    fn limits_are_columns() {
        let text = "name,messages_per_hour,Messages per day,recipients_per_hour,recipients-per-day,recipients_per_message\n\
            ann@a.example,10,0,none,,5\nbob@a.example,many,,,,\ncarl@a.example,-1,,,,\n";
        let import = from_csv(text.as_bytes(), "users.csv", None);
        let limits = SendingLimits {
            messages_per_hour: Some(10),
            messages_per_day: Some(0),
            recipients_per_message: Some(5),
            ..SendingLimits::default()
        };
        assert_eq!((import.accounts.len(), import.accounts[0].entry.limits), (1, limits));
        assert_eq!(import.refused.len(), 2, "{:?}", import.refused);
    }

    #[test]
    fn a_table_of_aliases() {
        let text = "alias,target\nAll@a.example,\"ann@a.example, bob@a.example\"\nall@a.example,x@else.example\n\
            @b.example,ann@a.example\nnone@a.example,\n";
        let import = from_csv(text.as_bytes(), "aliases.csv", None);
        assert_eq!(import.aliases.len(), 1);
        assert_eq!(import.aliases[0].targets.len(), 3);
        let domain = Domain::parse("b.example").unwrap();
        assert_eq!(import.catch_alls[&domain].len(), 1);
        assert_eq!(import.refused.len(), 1, "{:?}", import.refused);
    }

    #[test]
    fn a_heading_that_is_not_understood_stops_everything() {
        for text in
            ["name,shoesize\nann@a.example,3\n", "password\nx\n", "name,name\na@b.example,c\n", ""]
        {
            let import = from_csv(text.as_bytes(), "users.csv", None);
            assert_eq!((import.accounts.len(), import.refused.len()), (0, 1), "{text}");
        }
    }

    #[test]
    fn hashes_are_taken_and_those_that_are_not_cost_no_account() {
        let text = "name,credential\nann@a.example,{NT}0cb6948805f797bf2a82807973b89537\nbob@a.example,{CRAM-MD5}00\n";
        let import = from_csv(text.as_bytes(), "users.csv", None);
        assert_eq!((import.accounts.len(), import.notes.len()), (2, 1));
        assert!(!import.accounts[0].entry.credential.is_empty());
        assert!(import.accounts[1].entry.credential.is_empty());
    }
}
