//! Reading a TOML document key by key, with a complaint for everything that does not fit.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::complaint::Complaints;
use super::{duration, size, when};

type Value<'d> = Spanned<DeValue<'d>>;

/// A table that is being read. Keys that nobody asked for are complained about by [`Section::finish`].
pub(crate) struct Section<'d> {
    complaints: &'d Complaints,
    table: &'d DeTable<'d>,
    /// The table's dotted name, empty for the document.
    path: String,
    span: Range<usize>,
    known: BTreeSet<&'static str>,
}

impl<'d> Section<'d> {
    pub(crate) fn document(document: &'d Spanned<DeTable<'d>>, complaints: &'d Complaints) -> Self {
        Self {
            complaints,
            table: document.get_ref(),
            path: String::new(),
            span: 0..0,
            known: BTreeSet::new(),
        }
    }

    /// Where the table's header stands.
    pub(crate) fn span(&self) -> &Range<usize> {
        &self.span
    }

    /// The table as it stands, for whoever reads all of it.
    pub(crate) fn to_table(&self) -> Spanned<DeTable<'d>> {
        Spanned::new(self.span.clone(), self.table.clone())
    }

    /// Whether the key is written, known or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Where the key stands, or else the table.
    pub(crate) fn place(&self, key: &str) -> Range<usize> {
        self.find(key).map_or_else(|| self.span.clone(), |(key, _)| key.span())
    }

    /// A table inside this one.
    pub(crate) fn section(&mut self, key: &'static str) -> Option<Self> {
        self.known.insert(key);
        let (name, value) = self.find(key)?;
        self.subsection(key, name, value)
    }

    /// Every table inside this one, whatever its name.
    pub(crate) fn sections(&self) -> Vec<(Spanned<String>, Self)> {
        self.table
            .iter()
            .filter_map(|(name, value)| {
                let section = self.subsection(name.get_ref(), name, value)?;
                Some((Spanned::new(name.span(), name.get_ref().to_string()), section))
            })
            .collect()
    }

    /// The tables of an array of tables: `[[edge.interface]]`.
    pub(crate) fn array_of_sections(&mut self, key: &'static str) -> Vec<Self> {
        self.known.insert(key);
        let Some((name, value)) = self.find(key) else {
            return Vec::new();
        };
        let path = self.path_of(key);
        let DeValue::Array(array) = value.get_ref() else {
            self.complaints.error(
                &name.span(),
                format!("`{path}` is a list of tables, found {}", describe(value)),
                format!("write its header in double brackets: [[{path}]]"),
            );
            return Vec::new();
        };
        array
            .iter()
            .filter_map(|element| match element.get_ref() {
                DeValue::Table(table) => Some(Self {
                    complaints: self.complaints,
                    table,
                    path: path.clone(),
                    span: element.span(),
                    known: BTreeSet::new(),
                }),
                _ => {
                    self.complaints.error(
                        &element.span(),
                        format!("`{path}` is a list of tables, found {}", describe(element)),
                        format!("write [[{path}]] and its keys below"),
                    );
                    None
                }
            })
            .collect()
    }

    pub(crate) fn string(&mut self, key: &'static str, example: &str) -> Option<Spanned<String>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(Spanned::new(value.span(), text.to_string())),
            _ => {
                self.wrong_type(key, value, "a string", &format!("{key} = \"{example}\""));
                None
            }
        }
    }

    pub(crate) fn path(&mut self, key: &'static str, example: &str) -> Option<Spanned<PathBuf>> {
        let text = self.string(key, example)?;
        let path = PathBuf::from(text.get_ref());
        if !path.is_absolute() {
            self.complaints.error(
                &text.span(),
                format!("`{}` must be an absolute path", self.path_of(key)),
                format!("begin it with a slash, as in \"{example}\""),
            );
            return None;
        }
        Some(Spanned::new(text.span(), path))
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(truth) => Some(*truth),
            _ => {
                self.wrong_type(key, value, "true or false", &format!("{key} = true"));
                None
            }
        }
    }

    /// A whole number within `range`.
    pub(crate) fn whole(&mut self, key: &'static str, range: Range<u64>) -> Option<Spanned<u64>> {
        let value = self.value(key)?;
        let wanted = format!("a whole number from {} to {}", range.start, range.end - 1);
        match integer(value.get_ref()) {
            Some(number) if range.contains(&number) => Some(Spanned::new(value.span(), number)),
            _ => {
                self.wrong_type(key, value, &wanted, &format!("{key} = {}", range.start.max(1)));
                None
            }
        }
    }

    /// A number from `least` to `most`.
    pub(crate) fn number(&mut self, key: &'static str, least: f64, most: f64) -> Option<f64> {
        let value = self.value(key)?;
        match float(value.get_ref()) {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                let wanted = format!("a number from {least} to {most}");
                self.wrong_type(key, value, &wanted, &format!("{key} = {}", least.max(1.0)));
                None
            }
        }
    }

    /// Packets a second: a number, or a string such as `"10/min"`.
    pub(crate) fn rate(&mut self, key: &'static str) -> Option<f64> {
        const LEAST: f64 = 0.01;
        const MOST: f64 = 1e7;
        let value = self.value(key)?;
        let rate = match value.get_ref() {
            DeValue::String(text) => worded_rate(text),
            other => float(other),
        };
        match rate {
            Some(rate) if (LEAST..=MOST).contains(&rate) => Some(rate),
            _ => {
                let wanted = "a rate from 0.01 to 10000000 a second";
                self.wrong_type(key, value, wanted, "rate = 50, or rate = \"10/min\"");
                None
            }
        }
    }

    /// A duration in whole seconds.
    pub(crate) fn duration(&mut self, key: &'static str) -> Option<Spanned<Duration>> {
        let duration = self.fine_duration(key)?;
        if duration.get_ref().subsec_nanos() > 0 {
            self.complaints.error(
                &duration.span(),
                format!("`{}` is counted in whole seconds", self.path_of(key)),
                format!("write \"{}s\"", duration.get_ref().as_secs() + 1),
            );
            return None;
        }
        Some(duration)
    }

    /// A duration in whole milliseconds.
    pub(crate) fn fine_duration(&mut self, key: &'static str) -> Option<Spanned<Duration>> {
        let text = self.string(key, "10m")?;
        match duration::parse(text.get_ref()) {
            Some(duration) => Some(Spanned::new(text.span(), duration)),
            None => {
                self.complaints.error(
                    &text.span(),
                    format!("`{}` is no duration: \"{}\"", self.path_of(key), text.get_ref()),
                    "write a number with s, m, h, d or w: \"30s\", \"10m\", \"1h30m\", \"2d\"",
                );
                None
            }
        }
    }

    /// A duration within `range`, its end excluded, in the place of the default `value`.
    pub(crate) fn duration_within(
        &mut self,
        key: &'static str,
        range: Range<Duration>,
        value: &mut Duration,
    ) {
        let Some(written) = self.fine_duration(key) else { return };
        if range.contains(written.get_ref()) {
            *value = written.into_inner();
            return;
        }
        let write = duration::write_finely;
        self.complaints.error(
            &written.span(),
            format!(
                "`{key}` must be from {} to less than {}",
                write(range.start),
                write(range.end)
            ),
            format!("remove it for the default, {}", write(*value)),
        );
    }

    /// A whole number within `range`, of whatever type holds it, in the place of the default `value`.
    pub(crate) fn count<T: TryFrom<u64>>(
        &mut self,
        key: &'static str,
        range: Range<u64>,
        value: &mut T,
    ) {
        let written = self.whole(key, range);
        if let Some(number) = written.and_then(|number| T::try_from(number.into_inner()).ok()) {
            *value = number;
        }
    }

    /// Bytes: a number, or a string such as `"256MiB"`.
    pub(crate) fn size(&mut self, key: &'static str, range: Range<u64>) -> Option<Spanned<u64>> {
        let value = self.value(key)?;
        let bytes = match value.get_ref() {
            DeValue::String(text) => size::parse(text),
            other => integer(other),
        };
        match bytes {
            Some(bytes) if range.contains(&bytes) => Some(Spanned::new(value.span(), bytes)),
            _ => {
                let (least, most) = (size::write(range.start), size::write(range.end - 1));
                let wanted = format!("a size from {least} to {most}");
                self.wrong_type(key, value, &wanted, &format!("{key} = \"256MiB\""));
                None
            }
        }
    }

    /// A date, or a date with time, in Unix seconds.
    pub(crate) fn moment(&mut self, key: &'static str) -> Option<Spanned<u64>> {
        let value = self.value(key)?;
        let moment = match value.get_ref() {
            DeValue::Datetime(moment) => when::seconds(moment),
            _ => None,
        };
        match moment {
            Some(seconds) => Some(Spanned::new(value.span(), seconds)),
            None => {
                let wanted = "a date from 1970 on, or a date with time and zone";
                let example = format!("{key} = 2027-01-31, or {key} = 2027-01-31T18:00:00Z");
                self.wrong_type(key, value, wanted, &example);
                None
            }
        }
    }

    pub(crate) fn strings(
        &mut self,
        key: &'static str,
        of: &str,
        example: &str,
    ) -> Option<Vec<Spanned<String>>> {
        let elements = self.list(key, of, example)?;
        let text = |element: &Value<'_>| match element.get_ref() {
            DeValue::String(text) => Some(Spanned::new(element.span(), text.to_string())),
            _ => {
                self.complaints.error(
                    &element.span(),
                    format!(
                        "`{}` is a list of strings, found {}",
                        self.path_of(key),
                        describe(element)
                    ),
                    format!("{key} = {example}"),
                );
                None
            }
        };
        Some(elements.iter().filter_map(text).collect())
    }

    /// Addresses with a port, which may be left away for `port`.
    pub(crate) fn sockets(
        &mut self,
        key: &'static str,
        port: u16,
        example: &str,
    ) -> Option<Vec<Spanned<SocketAddr>>> {
        let texts = self.strings(key, "addresses", example)?;
        let address = |text: Spanned<String>| {
            let address = text.get_ref().parse::<SocketAddr>().ok();
            let bare = || text.get_ref().parse::<IpAddr>().ok();
            match address.or_else(|| Some(SocketAddr::new(bare()?, port))) {
                Some(address) if address.port() > 0 => Some(Spanned::new(text.span(), address)),
                _ => {
                    self.complaints.error(
                        &text.span(),
                        format!("\"{}\" is no address", text.get_ref()),
                        format!(
                            "write \"192.0.2.53\", \"192.0.2.53:{port}\", \"2001:db8::53\" or \"[2001:db8::53]:{port}\""
                        ),
                    );
                    None
                }
            }
        };
        Some(texts.into_iter().filter_map(address).collect())
    }

    /// One of several words.
    pub(crate) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        let first = words.first().map_or("", |(word, _)| word);
        let text = self.string(key, first)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| word == text.get_ref()) {
            return Some(*value);
        }
        let all: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let closest = closest(text.get_ref(), words.iter().map(|(word, _)| *word));
        let help = match closest {
            Some(word) => format!("did you mean \"{word}\"? Possible are {}", all.join(", ")),
            None => format!("possible are {}", all.join(", ")),
        };
        self.complaints.error(
            &text.span(),
            format!("`{}` can not be \"{}\"", self.path_of(key), text.get_ref()),
            help,
        );
        None
    }

    pub(crate) fn ports(&mut self, key: &'static str) -> Option<Vec<Spanned<u16>>> {
        let elements = self.list(key, "ports", "[53]")?;
        Some(
            elements
                .iter()
                .filter_map(|element| {
                    let port = integer(element.get_ref()).and_then(|port| u16::try_from(port).ok());
                    match port {
                        Some(port) if port > 0 => Some(Spanned::new(element.span(), port)),
                        _ => {
                            self.complaints.error(
                                &element.span(),
                                format!(
                                    "a port is a number from 1 to 65535, found {}",
                                    describe(element)
                                ),
                                format!("{key} = [53]"),
                            );
                            None
                        }
                    }
                })
                .collect(),
        )
    }

    pub(crate) fn paths(&mut self, key: &'static str) -> Option<Vec<Spanned<PathBuf>>> {
        let elements = self.list(key, "files", "[\"/etc/muralla/allow.txt\"]")?;
        Some(
            elements
                .iter()
                .filter_map(|element| match element.get_ref() {
                    DeValue::String(text) if text.starts_with('/') => {
                        Some(Spanned::new(element.span(), PathBuf::from(text.as_ref())))
                    }
                    _ => {
                        self.complaints.error(
                            &element.span(),
                            format!(
                                "a file is a string with an absolute path, found {}",
                                describe(element)
                            ),
                            format!("{key} = [\"/etc/muralla/allow.txt\"]"),
                        );
                        None
                    }
                })
                .collect(),
        )
    }

    pub(crate) fn prefixes(&mut self, key: &'static str) -> Option<Vec<Spanned<IpNet>>> {
        let elements = self.list(key, "prefixes", "[\"100.64.0.0/16\", \"2001:db8:100::/40\"]")?;
        Some(
            elements
                .iter()
                .filter_map(|element| {
                    let complain = |what: String, help: String| {
                        self.complaints.error(&element.span(), what, help);
                        None
                    };
                    let DeValue::String(text) = element.get_ref() else {
                        return complain(
                            format!("a prefix is a string, found {}", describe(element)),
                            format!("{key} = [\"100.64.0.0/16\", \"2001:db8:100::/40\"]"),
                        );
                    };
                    match parse_prefix(text) {
                        Ok(prefix) => Some(Spanned::new(element.span(), prefix)),
                        Err(problem) => complain(problem.to_string(), problem.help()),
                    }
                })
                .collect(),
        )
    }

    /// Whether the key holds a string, for keys that may also hold a list.
    pub(crate) fn holds_string(&self, key: &str) -> bool {
        self.find(key).is_some_and(|(_, value)| value.get_ref().as_str().is_some())
    }

    /// Whether the key holds exactly this string; a value of another kind is left for others to read.
    pub(crate) fn says(&mut self, key: &'static str, word: &str) -> bool {
        self.known.insert(key);
        self.find(key).is_some_and(|(_, value)| value.get_ref().as_str() == Some(word))
    }

    /// Complains about every key that was not asked for.
    pub(crate) fn finish(self) {
        for (key, _) in self.table.iter() {
            let name: &str = key.get_ref();
            if self.known.contains(name) {
                continue;
            }
            let place = match self.path.as_str() {
                "" => "at the top of the file".to_owned(),
                path => format!("in [{path}]"),
            };
            let help = match closest(name, self.known.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => {
                    let known: Vec<String> =
                        self.known.iter().map(|known| format!("`{known}`")).collect();
                    format!("known are {}", known.join(", "))
                }
            };
            self.complaints.error(&key.span(), format!("unknown key `{name}` {place}"), help);
        }
    }

    /// For tables whose keys are names that the operator chooses.
    pub(crate) fn finish_open(self) {}

    fn find(&self, key: &str) -> Option<(&'d Spanned<DeString<'d>>, &'d Value<'d>)> {
        self.table.iter().find(|(name, _)| name.get_ref() == key)
    }

    fn value(&mut self, key: &'static str) -> Option<&'d Value<'d>> {
        self.known.insert(key);
        self.find(key).map(|(_, value)| value)
    }

    fn subsection(
        &self,
        key: &str,
        name: &'d Spanned<DeString<'d>>,
        value: &'d Value<'d>,
    ) -> Option<Self> {
        let path = self.path_of(key);
        let DeValue::Table(table) = value.get_ref() else {
            self.complaints.error(
                &name.span(),
                format!("`{path}` is a table, found {}", describe(value)),
                format!("write [{path}] and its keys below"),
            );
            return None;
        };
        Some(Self {
            complaints: self.complaints,
            table,
            path,
            span: name.span(),
            known: BTreeSet::new(),
        })
    }

    fn list(&mut self, key: &'static str, of: &str, example: &str) -> Option<&'d [Value<'d>]> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Array(array) => Some(array),
            _ => {
                self.wrong_type(
                    key,
                    value,
                    &format!("a list of {of}"),
                    &format!("{key} = {example}"),
                );
                None
            }
        }
    }

    fn wrong_type(&self, key: &str, value: &Value<'_>, wanted: &str, example: &str) {
        self.complaints.error(
            &value.span(),
            format!("`{}` must be {wanted}, found {}", self.path_of(key), describe(value)),
            format!("for example {example}"),
        );
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// Why a text is no prefix.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum PrefixError {
    #[error("\"{0}\" is no prefix and no address")]
    Unreadable(String),
    #[error("\"{given}\" has bits set beyond its length")]
    HostBits { given: IpNet, meant: IpNet },
}

impl PrefixError {
    pub(crate) fn help(&self) -> String {
        match self {
            Self::Unreadable(text) => match text.split_once('/') {
                Some((address, _)) if address.parse::<std::net::Ipv4Addr>().is_ok() => {
                    "an IPv4 prefix length is 0 to 32".to_owned()
                }
                Some((address, _)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                    "an IPv6 prefix length is 0 to 128".to_owned()
                }
                _ => "write \"192.0.2.0/24\", \"2001:db8::/32\" or a single address".to_owned(),
            },
            Self::HostBits { given, meant } => {
                format!(
                    "write \"{meant}\" for the network, or \"{}\" for the one address",
                    given.addr()
                )
            }
        }
    }
}

/// A prefix without host bits, or a single address.
pub(crate) fn parse_prefix(text: &str) -> Result<IpNet, PrefixError> {
    let prefix = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| PrefixError::Unreadable(text.to_owned()))?;
    if prefix.trunc() == prefix {
        Ok(prefix)
    } else {
        Err(PrefixError::HostBits { given: prefix, meant: prefix.trunc() })
    }
}

/// For prefixes on the command line.
pub(crate) fn prefix_argument(text: &str) -> Result<IpNet, String> {
    parse_prefix(text).map_err(|problem| format!("{problem}; {}", problem.help()))
}

/// The candidate that `word` was probably meant to be.
pub(crate) fn closest<'c>(
    word: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(word.len()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn worded_rate(text: &str) -> Option<f64> {
    let (count, unit) = text.split_once('/')?;
    let seconds = match unit.trim() {
        "s" | "sec" | "second" => 1.0,
        "m" | "min" | "minute" => 60.0,
        "h" | "hour" => 3600.0,
        _ => return None,
    };
    Some(count.trim().parse::<f64>().ok()? / seconds)
}

fn integer(value: &DeValue<'_>) -> Option<u64> {
    let integer = value.as_integer()?;
    u64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn float(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Float(float) => float.as_str().parse().ok(),
        DeValue::Integer(_) => integer(value).map(|number| number as f64),
        _ => None,
    }
}

fn describe(value: &Value<'_>) -> String {
    match value.get_ref() {
        DeValue::String(text) => format!("the string \"{text}\""),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_and_addresses_are_told_from_the_rest() {
        for (text, prefix) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(parse_prefix(text).unwrap().to_string(), prefix);
        }
        for (text, help) in [
            ("10.0.0.0/33", "an IPv4 prefix length is 0 to 32"),
            ("2001:db8::/129", "an IPv6 prefix length is 0 to 128"),
            (
                "10.1.0.0/8",
                "write \"10.0.0.0/8\" for the network, or \"10.1.0.0\" for the one address",
            ),
            ("ten", "write \"192.0.2.0/24\", \"2001:db8::/32\" or a single address"),
        ] {
            assert_eq!(parse_prefix(text).unwrap_err().help(), help, "{text}");
        }
    }

    #[test]
    fn a_typing_error_is_recognised() {
        let words = ["customers", "nas", "own", "mail_servers", "interface"];
        for (typed, meant) in [
            ("customer", Some("customers")),
            ("interfaces", Some("interface")),
            ("mailservers", Some("mail_servers")),
            ("nsa", Some("nas")),
            ("wholly_different", None),
        ] {
            assert_eq!(closest(typed, words.into_iter()), meant, "{typed}");
        }
    }

    #[test]
    fn rates_may_be_worded() {
        for (text, rate) in [
            ("10/min", Some(10.0 / 60.0)),
            ("50/s", Some(50.0)),
            ("3600/h", Some(1.0)),
            ("1/d", None),
            ("fast", None),
        ] {
            assert_eq!(worded_rate(text), rate, "{text}");
        }
    }
}
