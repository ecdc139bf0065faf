//! What the operator says about local data.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::Serialize;

/// All local data of one role.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LocalConfig {
    /// Zones that are answered with authority.
    pub zones: Vec<ZoneConfig>,
    /// Block lists.
    pub lists: Vec<ListConfig>,
    /// Whether names that have no meaning outside a network are answered here instead of asking the Internet
    /// (RFC 6303, 6761, 7686, 7793, 8375, 9462). A zone of the same name takes the place of ours.
    pub private_zones: bool,
    /// Names that are resolved elsewhere (forward and stub zones): they and what lies below them are none of ours,
    /// unless a zone or list of the same name, or a longer one, is configured.
    pub routes: Vec<String>,
}

impl LocalConfig {
    /// The same, with these names left to others: see [`LocalConfig::routes`].
    #[must_use]
    pub fn without<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.routes.extend(names.into_iter().map(Into::into));
        self
    }
}

/// A zone and its file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ZoneConfig {
    /// Apex, with or without the last dot.
    pub name: String,
    /// Zone file (RFC 1035 section 5). Files that it includes must lie in its folder or below.
    pub file: PathBuf,
}

/// A block list and its files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListConfig {
    /// Name under which it is asked, such as `zen.example.net`.
    pub name: String,
    /// Files. Each is a set by itself: an exclusion holds for its own file, and what several list is answered with
    /// the values of all.
    pub files: Vec<PathBuf>,
    /// How the files are written.
    pub format: ListFormat,
    /// Time to live in seconds. Without it the file's `$TTL`, or 2100.
    pub ttl: Option<u32>,
    /// Address for entries that name none; 127.0.0.2 by custom (RFC 5782 section 2.1).
    pub answer: Ipv4Addr,
    /// TXT for entries that name none; `$` stands for the address or name asked for.
    pub text: Option<String>,
}

impl ListConfig {
    /// Address of entries that name none.
    pub const ANSWER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

    /// A list of one file with the customary values.
    #[must_use]
    pub fn new(name: impl Into<String>, file: impl Into<PathBuf>, format: ListFormat) -> Self {
        Self {
            name: name.into(),
            files: vec![file.into()],
            format,
            ttl: None,
            answer: Self::ANSWER,
            text: None,
        }
    }
}

/// rbldnsd's formats.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ListFormat {
    /// Addresses and ranges of IPv4.
    Ip4Set,
    /// Domain names.
    DnSet,
}
