//! The tables of FreeRADIUS' SQL module, in a database or as CSV.

mod radacct;

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::Arc;

use muralla_database::{DatabaseError, Engine, Location, Row};
use muralla_radius_dictionary::{Dictionary, Pair};
use serde::{Deserialize, Serialize};

use crate::convert::Trial;
use crate::import::{Import, profile_of, subscriber_of};
use crate::state::APPLICATION;
use crate::{Hidden, NasEntry, State, StateError, convert};

/// A table of FreeRADIUS.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// Check items of users.
    RadCheck,
    /// Reply items of users.
    RadReply,
    /// Who is in which group.
    RadUserGroup,
    /// Check items of groups.
    RadGroupCheck,
    /// Reply items of groups.
    RadGroupReply,
    /// NASes.
    Nas,
    /// Sessions, of which those that are open are read.
    RadAcct,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::RadCheck,
        Self::RadReply,
        Self::RadUserGroup,
        Self::RadGroupCheck,
        Self::RadGroupReply,
        Self::Nas,
        Self::RadAcct,
    ];

    /// Its name in FreeRADIUS' schema.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RadCheck => "radcheck",
            Self::RadReply => "radreply",
            Self::RadUserGroup => "radusergroup",
            Self::RadGroupCheck => "radgroupcheck",
            Self::RadGroupReply => "radgroupreply",
            Self::Nas => "nas",
            Self::RadAcct => "radacct",
        }
    }

    /// Columns that are read, in the schema's order; `id` stands before them but in radusergroup of older schemas.
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::RadCheck | Self::RadReply => &["username", "attribute", "op", "value"],
            Self::RadGroupCheck | Self::RadGroupReply => &["groupname", "attribute", "op", "value"],
            Self::RadUserGroup => &["username", "groupname", "priority"],
            Self::Nas => &["nasname", "shortname", "secret"],
            Self::RadAcct => {
                &["username", "nasipaddress", "acctsessionid", "acctstoptime", "framedipaddress"]
            }
        }
    }

    /// Columns that are read where there are any: older schemas have none for IPv6, nor for the latest update.
    const fn optional(self) -> &'static [&'static str] {
        match self {
            Self::RadAcct => &[
                "framedipv6prefix",
                "delegatedipv6prefix",
                "acctstarttime",
                "acctsessiontime",
                "acctupdatetime",
            ],
            _ => &[],
        }
    }

    /// What finds out whether a database has a column.
    fn trial(self, column: &str) -> String {
        format!("SELECT {column} FROM {} WHERE 1 = 0", self.name())
    }

    /// What is read of a database: in the order in which it was entered where an identifier tells that. The first is taken that
    /// the database can do. Optional columns that it lacks are nothing.
    fn questions(self, lacks: &[&str]) -> [String; 2] {
        let (rows, identifier) = match self {
            Self::RadAcct => (" WHERE acctstoptime IS NULL", "radacctid"),
            _ => ("", "id"),
        };
        let columns = self.columns().iter().chain(self.optional());
        let texts: Vec<String> = columns
            .map(|column| if lacks.contains(column) { "NULL" } else { *column })
            .map(|column| format!("CAST({column} AS TEXT)"))
            .collect();
        let question = format!("SELECT {} FROM {}{rows}", texts.join(", "), self.name());
        [format!("{question} ORDER BY {identifier}"), question]
    }
}

/// The tables' rows.
#[derive(Clone, Default)]
pub struct Tables {
    rows: BTreeMap<Table, Vec<Line>>,
}

/// A row, and which one it is.
#[derive(Clone)]
struct Line {
    number: u64,
    fields: Vec<String>,
}

impl Tables {
    /// Reads a table out of CSV: with a line of the columns' names before it or without, in the order of the schema then.
    ///
    /// # Errors
    ///
    /// If it is no CSV, or columns are missing.
    pub fn read_csv(&mut self, table: Table, reader: impl Read) -> Result<(), StateError> {
        self.read(table, csv::ReaderBuilder::new(), reader, str::to_owned)
    }

    /// The same of fields with tabs between, as `mysql --batch` and PostgreSQL's `COPY` write them, with `\t`, `\n` and `\\`
    /// for what fields have of these.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn read_tsv(&mut self, table: Table, reader: impl Read) -> Result<(), StateError> {
        let mut builder = csv::ReaderBuilder::new();
        builder.delimiter(b'\t').quoting(false);
        self.read(table, builder, reader, unescaped)
    }

    fn read(
        &mut self,
        table: Table,
        mut builder: csv::ReaderBuilder,
        reader: impl Read,
        field: fn(&str) -> String,
    ) -> Result<(), StateError> {
        let invalid = |reason: String| StateError::invalid(table.name(), reason);
        let mut reader = builder.has_headers(false).flexible(true).from_reader(reader);
        let columns = table.columns();
        let mut places: Option<Vec<Option<usize>>> = None;
        for record in reader.records() {
            let record = record.map_err(|error| invalid(error.to_string()))?;
            let line = record.position().map_or(0, csv::Position::line);
            let record: csv::StringRecord = record.iter().map(field).collect();
            let Some(places) = &places else {
                let named = |column: &&str| {
                    record.iter().position(|field| field.trim().eq_ignore_ascii_case(column))
                };
                let found: Vec<usize> = columns.iter().filter_map(named).collect();
                if found.len() == columns.len() {
                    let optional = table.optional().iter().map(named);
                    places = Some(found.into_iter().map(Some).chain(optional).collect());
                    continue;
                }
                // Which column of its many is which, differs from one version to the next.
                if table == Table::RadAcct {
                    let names = columns.join(", ");
                    return Err(invalid(format!(
                        "its first line must name its columns, {names} among them"
                    )));
                }
                if !found.is_empty() && found.len() + 1 >= columns.len() {
                    return Err(invalid(format!("its columns must be {}", columns.join(", "))));
                }
                // Without names. With an identifier before them, it is a number.
                let numbered = record.len() > columns.len()
                    && record.get(0).is_some_and(|field| field.parse::<u64>().is_ok());
                let first = usize::from(numbered);
                let inferred: Vec<_> = (first..first + columns.len()).map(Some).collect();
                self.push(table, line, &record, &inferred)?;
                places = Some(inferred);
                continue;
            };
            self.push(table, line, &record, places)?;
        }
        Ok(())
    }

    fn push(
        &mut self,
        table: Table,
        number: u64,
        record: &csv::StringRecord,
        places: &[Option<usize>],
    ) -> Result<(), StateError> {
        let field = |place: &Option<usize>| match place {
            Some(place) => record.get(*place).map(str::to_owned),
            None => Some(String::new()),
        };
        let fields: Option<Vec<String>> = places.iter().map(field).collect();
        let fields = fields.ok_or_else(|| {
            let reason =
                format!("line {number}: its columns must be {}", table.columns().join(", "));
            StateError::invalid(table.name(), reason)
        })?;
        self.rows.entry(table).or_default().push(Line { number, fields });
        Ok(())
    }

    /// Reads all tables that there are out of FreeRADIUS' database, PostgreSQL or SQLite. Nothing is written there.
    ///
    /// # Errors
    ///
    /// If the database is away, or has none of the tables.
    pub async fn read_database(location: &Location) -> Result<Self, StateError> {
        let engine = Engine::foreign(location, APPLICATION)?;
        let mut tables = Self::default();
        let mut missing = Vec::new();
        for table in Table::ALL {
            let mut lacks = Vec::new();
            for column in table.optional() {
                let mut work = engine.read().await?;
                let sql = sqlx::AssertSqlSafe(table.trial(column));
                match work.each(sql, Vec::new(), |_| Ok(())).await {
                    Err(error) if error.is_away() => return Err(error.into()),
                    Err(_) => lacks.push(*column),
                    Ok(()) => {}
                }
            }
            let mut read = Err(DatabaseError::Row(String::new()));
            for sql in table.questions(&lacks) {
                let mut lines = Vec::new();
                let mut work = engine.read().await?;
                read = work
                    .each_of_many(sqlx::AssertSqlSafe(sql), Vec::new(), |row| {
                        let number = lines.len() as u64 + 1;
                        lines.push(Line { number, fields: fields_of(&row, table)? });
                        Ok(())
                    })
                    .await;
                if read.is_ok() {
                    tables.rows.insert(table, lines);
                    break;
                }
            }
            match read {
                Ok(()) => {}
                Err(error) if error.is_missing_table() => missing.push(table.name()),
                Err(error) => return Err(error.into()),
            }
        }
        engine.close().await;
        if missing.len() == Table::ALL.len() {
            let reason = format!("it has none of FreeRADIUS' tables ({})", missing.join(", "));
            return Err(DatabaseError::Location { location: location.clone(), reason }.into());
        }
        Ok(tables)
    }

    /// Turns the rows into entries.
    #[must_use]
    pub fn convert(&self, dictionary: &Arc<Dictionary>) -> Import {
        let trial = Trial::new(dictionary);
        let mut import = Import::default();
        let group_checks = self.pairs(dictionary, Table::RadGroupCheck, &mut import);
        let group_replies = self.pairs(dictionary, Table::RadGroupReply, &mut import);
        let mut memberships: BTreeMap<&str, Vec<(i64, &str)>> = BTreeMap::new();
        let mut groups: Vec<&str> =
            group_checks.order.iter().chain(&group_replies.order).copied().collect();
        for line in self.lines(Table::RadUserGroup) {
            let [user, group, priority] = line.fields.as_slice() else { continue };
            let (user, group) = (user.trim(), group.trim());
            if user.is_empty() || group.is_empty() {
                let place = format!("radusergroup row {}", line.number);
                import.refuse(place, user, "a membership has a user and a group");
                continue;
            }
            memberships
                .entry(user)
                .or_default()
                .push((priority.trim().parse().unwrap_or(1), group));
            groups.push(group);
        }
        groups.sort_unstable();
        groups.dedup();
        let mut bad: Vec<&str> = Vec::new();
        for group in groups {
            let failed = group_checks.failed.get(group).or(group_replies.failed.get(group));
            if failed.is_some() {
                bad.push(group);
                continue;
            }
            let (check, reply) = (group_checks.of(group), group_replies.of(group));
            let profile = profile_of(group, check, reply, &mut import, "radgroupcheck");
            let profile = profile.and_then(|profile| {
                let (notes, _) = trial.profile(&profile)?;
                Ok((profile, notes))
            });
            match profile {
                Ok((profile, notes)) => {
                    for note in notes {
                        import.note("radgroupcheck, radgroupreply", group, note);
                    }
                    import.profiles.push(profile);
                }
                Err(reason) => {
                    import.refuse("radgroupcheck, radgroupreply", group, reason);
                    bad.push(group);
                }
            }
        }

        let checks = self.pairs(dictionary, Table::RadCheck, &mut import);
        let replies = self.pairs(dictionary, Table::RadReply, &mut import);
        let mut seen: HashMap<&str, ()> = HashMap::new();
        let names =
            checks.order.iter().chain(&replies.order).copied().chain(memberships.keys().copied());
        for name in names {
            if seen.insert(name, ()).is_some() {
                continue;
            }
            // Without a rule that can't be read, somebody might get in who must not.
            if checks.failed.contains_key(name) || replies.failed.contains_key(name) {
                continue;
            }
            let mut of: Vec<(i64, &str)> = memberships.get(name).cloned().unwrap_or_default();
            of.sort_by_key(|(priority, _)| *priority);
            if let Some((_, group)) = of.iter().find(|(_, group)| bad.contains(group)) {
                import.refuse(
                    "radusergroup",
                    name,
                    format!("its group {group} could not be taken"),
                );
                continue;
            }
            let entry =
                subscriber_of(name, checks.of(name), replies.of(name), &mut import, "radcheck");
            match entry {
                Ok(mut entry) => {
                    for (_, group) in of {
                        if !entry.profiles.iter().any(|profile| profile == group) {
                            entry.profiles.push(group.to_owned());
                        }
                    }
                    import.take(&trial, "radcheck, radreply", entry);
                }
                Err(reason) => import.refuse("radcheck", name, reason),
            }
        }
        self.convert_nases(&mut import);
        self.convert_sessions(&mut import);
        import
    }

    fn convert_nases(&self, import: &mut Import) {
        for line in self.lines(Table::Nas) {
            let [address, name, secret] = line.fields.as_slice() else { continue };
            let place = format!("nas row {}", line.number);
            let name = if name.trim().is_empty() { address.trim() } else { name.trim() };
            let Some(prefix) = super::clients::prefix(address) else {
                import.refuse(
                    place,
                    name,
                    "its nasname is no address or prefix: names are not looked up",
                );
                continue;
            };
            let entry = NasEntry {
                secret: Hidden::new(secret.as_str()),
                ..NasEntry::new(name, prefix, "")
            };
            match convert::nas(&entry) {
                Ok(()) => import.nases.push(entry),
                Err(reason) => import.refuse(place, name, reason),
            }
        }
    }

    fn lines(&self, table: Table) -> impl Iterator<Item = &Line> {
        self.rows.get(&table).into_iter().flatten()
    }

    /// A table's rows as pairs, by whose they are.
    fn pairs<'t>(
        &'t self,
        dictionary: &Dictionary,
        table: Table,
        import: &mut Import,
    ) -> Pairs<'t> {
        let mut pairs = Pairs::default();
        for line in self.lines(table) {
            let [name, attribute, operator, value] = line.fields.as_slice() else { continue };
            let name = name.trim();
            let place = || format!("{} row {}", table.name(), line.number);
            if name.is_empty() {
                import.refuse(place(), name, "it has no name");
                continue;
            }
            if !pairs.by_name.contains_key(name) {
                pairs.order.push(name);
            }
            let of = pairs.by_name.entry(name).or_default();
            match Pair::from_columns(dictionary, attribute, operator, value) {
                Ok(pair) => of.push(pair),
                Err(reason) => {
                    import.refuse(place(), name, reason);
                    pairs.failed.insert(name, ());
                }
            }
        }
        pairs
    }
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The rows hold passwords.
        let counts = self.rows.iter().map(|(table, rows)| (table.name(), rows.len()));
        f.debug_map().entries(counts).finish()
    }
}

impl State {
    /// Reads FreeRADIUS' tables out of the database that this state lies in, if they are there as well.
    ///
    /// # Errors
    ///
    /// See [`Tables::read_database`].
    pub async fn tables_beside(&self) -> Result<Tables, StateError> {
        Tables::read_database(&self.inner.location).await
    }
}

#[derive(Default)]
struct Pairs<'t> {
    order: Vec<&'t str>,
    by_name: HashMap<&'t str, Vec<Pair>>,
    failed: HashMap<&'t str, ()>,
}

impl Pairs<'_> {
    fn of(&self, name: &str) -> &[Pair] {
        self.by_name.get(name).map_or(&[], Vec::as_slice)
    }
}

fn fields_of(row: &Row, table: Table) -> Result<Vec<String>, DatabaseError> {
    let columns = table.columns().len() + table.optional().len();
    (0..columns).map(|column| Ok(row.text_or_none(column)?.unwrap_or_default())).collect()
}

/// Whether a field holds nothing: as it is, or as `mysql --batch` and `COPY` write it.
fn is_null(field: &str) -> bool {
    matches!(field.trim(), "" | "NULL" | "\\N" | "N")
}

/// A field as it was before tabs, ends of lines and backslashes in it were written with a backslash.
fn unescaped(field: &str) -> String {
    let mut text = String::with_capacity(field.len());
    let mut letters = field.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        match letters.next() {
            Some('t') => text.push('\t'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('0') => text.push('\0'),
            Some(other) => text.push(other),
            None => text.push('\\'),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(table: Table, text: &str) -> Vec<Vec<String>> {
        let mut tables = Tables::default();
        tables.read_csv(table, text.as_bytes()).unwrap();
        tables.lines(table).map(|line| line.fields.clone()).collect()
    }

    #[test]
    fn csv_is_read_with_names_and_without() {
        let expected = vec![vec!["ann".to_owned(), "Class".into(), ":=".into(), "a, b".into()]];
        for text in [
            "id,username,attribute,op,value\n1,ann,Class,:=,\"a, b\"\n",
            "value,op,attribute,username\n\"a, b\",:=,Class,ann\n",
            "1,ann,Class,:=,\"a, b\"\n",
            "ann,Class,:=,\"a, b\"\n",
        ] {
            assert_eq!(read(Table::RadReply, text), expected, "{text}");
        }
        assert_eq!(read(Table::RadReply, ""), Vec::<Vec<String>>::new());
        for text in ["username,attribute,op\nann,Class,:=\n", "ann,Class\n"] {
            let error = Tables::default().read_csv(Table::RadReply, text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("username, attribute, op, value"), "{error}");
        }
    }

    #[test]
    fn tabs_are_read_as_mysql_writes_them() {
        let mut tables = Tables::default();
        let text =
            "id\tusername\tattribute\top\tvalue\n1\tann\tReply-Message\t=\ta \"b\\tc\\\\d\\n\n";
        tables.read_tsv(Table::RadReply, text.as_bytes()).unwrap();
        let fields: Vec<_> = tables.lines(Table::RadReply).map(|line| &line.fields).collect();
        assert_eq!(
            fields,
            [&["ann", "Reply-Message", "=", "a \"b\tc\\d\n"].map(String::from).to_vec()]
        );
    }

    #[test]
    fn rows_become_entries() {
        let mut tables = Tables::default();
        for (table, text) in [
            (
                Table::RadCheck,
                "ann,Cleartext-Password,:=,hello\nann,Simultaneous-Use,:=,1\nbob,SSHA-Password,:=,nonsense\n\
                 carl,No-Such-Thing,:=,1\ndora,Cleartext-Password,:=,secret\n",
            ),
            (Table::RadReply, "ann,Framed-IP-Address,=,192.0.2.9\nann,Reply-Message,=,hi\n"),
            (
                Table::RadUserGroup,
                "ann,silver,2\nann,gold,1\ndora,gold,1\nevan,rest,1\nfred,broken,1\n",
            ),
            (
                Table::RadGroupCheck,
                "gold,Login-Time,:=,Wk0800-1800\nbroken,Cleartext-Password,:=,x\nhint,Hint,==,PPP\n\
                 silver,Proxy-To-Realm,:=,elsewhere\n",
            ),
            (Table::RadGroupReply, "gold,Session-Timeout,:=,600\nsilver,Idle-Timeout,:=,60\n"),
            (Table::Nas, "192.0.2.1,lns1,xyzzy5461\nlns.example,lns2,xyzzy\n10.0.0.0/8,,ten\n"),
        ] {
            tables.read_csv(table, text.as_bytes()).unwrap();
        }
        let import = tables.convert(&Dictionary::built_in());
        let refused: Vec<&str> =
            import.refused.iter().map(|refused| refused.name.as_str()).collect();
        assert_eq!(
            refused,
            ["broken", "hint", "carl", "bob", "fred", "lns2"],
            "{:#?}",
            import.refused
        );
        let notes: Vec<String> = import.notes.iter().map(ToString::to_string).collect();
        assert!(matches!(&*notes, [note] if note.contains("silver: Proxy-To-Realm")), "{notes:?}");
        let profiles: Vec<&str> =
            import.profiles.iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(profiles, ["gold", "rest", "silver"]);
        assert_eq!(import.profiles[0].login_times.as_deref(), Some("Wk0800-1800"));
        assert_eq!(import.profiles[0].session_timeout, Some(600));
        let subscribers: Vec<(&str, String)> = import
            .subscribers
            .iter()
            .map(|entry| (entry.name.as_str(), entry.profiles.join(" ")))
            .collect();
        let of = |name, profiles: &str| (name, profiles.to_owned());
        assert_eq!(
            subscribers,
            [of("ann", "gold silver"), of("dora", "gold"), of("evan", "rest")],
            "in the order of priorities"
        );
        assert_eq!(import.subscribers[0].address, Some([192, 0, 2, 9].into()));
        assert!(import.subscribers[2].credential.is_empty(), "no password will do");
        let nases: Vec<String> =
            import.nases.iter().map(|nas| format!("{} {}", nas.name, nas.prefix)).collect();
        assert_eq!(nases, ["lns1 192.0.2.1/32", "10.0.0.0/8 10.0.0.0/8"]);
        assert!(!format!("{tables:?}{import:?}").contains("hello"));
    }
}
