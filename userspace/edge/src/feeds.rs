//! Lists of prefixes as they are found in the field, one prefix a line.
//!
//! A feed is taken whole or not at all: a list of which half is missing protects nobody and shows
//! it to nobody, so that the first line that doesn't parse refuses the file and says where.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};

/// Largest file that is read, in bytes.
pub const MAX_FILE: u64 = 256 << 20;

/// Longest line, comments included, in bytes.
pub const MAX_LINE: usize = 4096;

/// Bytes of a bad line that its error shows.
const SHOWN: usize = 48;

const EXPECTED: &str = "an address, a prefix such as 192.0.2.0/24 or 2001:db8::/32, or a range such \
                        as 192.0.2.0-192.0.2.31";

/// A feed as it lay in its file.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Its prefixes in the file's order, host bits cleared.
    pub prefixes: Vec<IpNet>,
    /// When the file was last written.
    pub modified: SystemTime,
}

/// Reads and parses a feed.
///
/// # Errors
/// Every [`FeedError`], each with the file's name in it. The caller keeps what it had before.
pub fn read(path: &Path) -> Result<Feed, FeedError> {
    let unreadable = |error| FeedError::Unreadable { path: path.to_owned(), error };
    // Opening a FIFO would wait for a writer, so the kind is looked at before.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let mut file = File::open(path).map_err(unreadable)?;
    let before = file.metadata().map_err(unreadable)?;
    if before.len() > MAX_FILE {
        return Err(FeedError::TooLarge { path: path.to_owned() });
    }
    let mut text = Vec::with_capacity(usize::try_from(before.len()).unwrap_or(0) + 1);
    file.by_ref().take(MAX_FILE + 1).read_to_end(&mut text).map_err(unreadable)?;
    let after = file.metadata().map_err(unreadable)?;
    let modified = before.modified().map_err(unreadable)?;
    if after.len() != text.len() as u64 || after.modified().map_err(unreadable)? != modified {
        return Err(FeedError::Changing { path: path.to_owned() });
    }
    let prefixes = parse(&text).map_err(|error| error.in_file(path))?;
    Ok(Feed { prefixes, modified })
}

/// Parses a feed: one prefix, address or range (`a-b`) a line, `#` and `;` start a comment.
///
/// Host bits are cleared; ranges become the fewest prefixes that cover exactly them; IPv4-mapped
/// IPv6 becomes IPv4. Neither duplicates nor the order are touched, see [`aggregate`].
///
/// # Errors
/// [`FeedError::Line`] and [`FeedError::Torn`] for a line that doesn't parse, [`FeedError::Empty`]
/// when there is no prefix at all: it is for the caller to know whether that was so before.
pub fn parse(text: &[u8]) -> Result<Vec<IpNet>, FeedError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // Sixteen bytes a line is what lists of addresses have.
    let mut prefixes = Vec::with_capacity(text.len() / 16);
    let mut lines = text.split(|&byte| byte == b'\n').zip(1_u64..).peekable();
    while let Some((line, number)) = lines.next() {
        let unterminated = lines.peek().is_none();
        let entry = content(line);
        if line.len() <= MAX_LINE && entry.is_empty() {
            continue;
        }
        let parsed = if line.len() > MAX_LINE {
            Err(Problem::TooLong)
        } else {
            entry_into(entry, &mut prefixes)
        };
        let place = Place { file: None, line: number };
        match parsed {
            // Cut off, 10.0.0.0/16 reads as 10.0.0.0/1: half the Internet. Only the host bits tell.
            Ok(Tidy(false)) if unterminated => {
                return Err(FeedError::Torn { place, text: shown(entry) });
            }
            Ok(_) => {}
            Err(_) if unterminated => {
                return Err(FeedError::Torn { place, text: shown(entry) });
            }
            Err(problem) => {
                return Err(FeedError::Line { place, text: shown(entry), problem });
            }
        }
    }
    if prefixes.is_empty() {
        return Err(FeedError::Empty { path: None });
    }
    Ok(prefixes)
}

/// The fewest prefixes that cover the same addresses, sorted, IPv4 first.
pub fn aggregate(prefixes: Vec<IpNet>) -> Vec<IpNet> {
    let mut v4 = Vec::new();
    let mut v6 = Vec::new();
    for prefix in prefixes {
        match prefix {
            IpNet::V4(prefix) => v4.push(prefix.trunc()),
            IpNet::V6(prefix) => v6.push(prefix.trunc()),
        }
    }
    v4.sort_unstable();
    v6.sort_unstable();
    let v4 = merge(v4, Ipv4Net::supernet, |outer, inner| outer.contains(inner));
    let v6 = merge(v6, Ipv6Net::supernet, |outer, inner| outer.contains(inner));
    v4.into_iter().map(IpNet::V4).chain(v6.into_iter().map(IpNet::V6)).collect()
}

/// Merges sorted prefixes: a covering one comes before what it covers, and two halves of a network
/// come after each other once everything inside them is gone.
fn merge<N: Copy + PartialEq>(
    sorted: Vec<N>,
    supernet: impl Fn(&N) -> Option<N>,
    contains: impl Fn(&N, &N) -> bool,
) -> Vec<N> {
    let mut merged: Vec<N> = Vec::with_capacity(sorted.len());
    for mut prefix in sorted {
        if merged.last().is_some_and(|last| contains(last, &prefix)) {
            continue;
        }
        while let (Some(last), Some(parent)) = (merged.last(), supernet(&prefix)) {
            // Equal prefixes were skipped above, so the same parent means the other half.
            if supernet(last) != Some(parent) {
                break;
            }
            merged.pop();
            prefix = parent;
        }
        merged.push(prefix);
    }
    merged
}

/// Why a feed was refused.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The file can't be opened or read.
    #[error("{}: {error}; the feed needs a regular file that muralla may read", path.display())]
    Unreadable {
        /// The feed's file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The file is larger than [`MAX_FILE`].
    #[error("{}: larger than {} MiB; aggregate the list or split it", path.display(), MAX_FILE >> 20)]
    TooLarge {
        /// The feed's file.
        path: PathBuf,
    },
    /// The file was written to while it was read.
    #[error("{}: changed while it was read; write to another file and rename it over this one", path.display())]
    Changing {
        /// The feed's file.
        path: PathBuf,
    },
    /// A line is not what a feed has.
    #[error("{place}: `{text}` {problem}")]
    Line {
        /// Where.
        place: Place,
        /// The line, shortened and escaped.
        text: String,
        /// What is wrong, and what would be right.
        problem: Problem,
    },
    /// The last line has no newline and is no prefix, or has host bits set: probably half a line.
    #[error(
        "{place}: the last line `{text}` has no newline and is no clean prefix: the file looks \
         half-written; write to another file and rename it over this one when it is complete"
    )]
    Torn {
        /// Where.
        place: Place,
        /// The line, shortened and escaped.
        text: String,
    },
    /// There is no prefix in it.
    #[error("{}no prefix in the feed; if that is meant, take the feed out of the configuration", in_file(path.as_deref()))]
    Empty {
        /// The feed's file, if it came from one.
        path: Option<PathBuf>,
    },
}

impl FeedError {
    /// Whether the feed was readable and had no prefix in it.
    pub const fn is_empty(&self) -> bool {
        matches!(self, Self::Empty { .. })
    }

    fn in_file(mut self, file: &Path) -> Self {
        match &mut self {
            Self::Line { place, .. } | Self::Torn { place, .. } => {
                place.file = Some(file.to_owned())
            }
            Self::Empty { path } => *path = Some(file.to_owned()),
            Self::Unreadable { .. } | Self::TooLarge { .. } | Self::Changing { .. } => {}
        }
        self
    }
}

fn in_file(path: Option<&Path>) -> String {
    path.map_or_else(String::new, |path| format!("{}: ", path.display()))
}

/// A line in a feed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The feed's file, if it came from one.
    pub file: Option<PathBuf>,
    /// The line, from 1.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}:{}", file.display(), self.line),
            None => write!(f, "line {}", self.line),
        }
    }
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Problem {
    /// Longer than [`MAX_LINE`].
    #[error("is longer than {MAX_LINE} bytes; is this a list with one prefix a line?")]
    TooLong,
    /// No address, prefix nor range.
    #[error("is no prefix; expected {EXPECTED}")]
    NoPrefix,
    /// A prefix length that the address family doesn't have.
    #[error("has a prefix length out of range; expected 1 to 32 for IPv4, 1 to 128 for IPv6")]
    Length,
    /// A range whose ends are of two families or in the wrong order.
    #[error("is no range; expected two addresses of one family, the lower one first")]
    Range,
    /// Every address there is.
    #[error("covers every address there is; a feed with that in it is broken")]
    Everything,
}

/// Whether no host bits had to be cleared.
struct Tidy(bool);

/// The line without its comment and the space around.
fn content(line: &[u8]) -> &[u8] {
    let end = line.iter().position(|&byte| matches!(byte, b'#' | b';')).unwrap_or(line.len());
    line.get(..end).unwrap_or(line).trim_ascii()
}

fn entry_into(entry: &[u8], prefixes: &mut Vec<IpNet>) -> Result<Tidy, Problem> {
    let entry = str::from_utf8(entry).map_err(|_| Problem::NoPrefix)?;
    let sign = entry.bytes().position(|byte| matches!(byte, b'/' | b'-'));
    let (address, length) = match sign.and_then(|at| entry.split_at_checked(at)) {
        Some((first, rest)) => match rest.strip_prefix('-') {
            Some(last) => return range_into(first.trim_end(), last.trim_start(), prefixes),
            None => (first, rest.get(1..)),
        },
        None => (entry, None),
    };
    let address: IpAddr = address.parse().map_err(|_| Problem::NoPrefix)?;
    let length = match (address, length) {
        (IpAddr::V4(_), None) => 32,
        (IpAddr::V6(_), None) => 128,
        (IpAddr::V4(_), Some(mask)) if mask.contains('.') => {
            let mask: Ipv4Addr = mask.parse().map_err(|_| Problem::NoPrefix)?;
            ipnet::ipv4_mask_to_prefix(mask).map_err(|_| Problem::Length)?
        }
        (_, Some(length)) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
            length.parse().map_err(|_| Problem::Length)?
        }
        (_, Some(_)) => return Err(Problem::NoPrefix),
    };
    let (address, length) = match address {
        IpAddr::V6(v6) if length >= 96 => match v6.to_ipv4_mapped() {
            Some(v4) => (IpAddr::V4(v4), length - 96),
            None => (address, length),
        },
        _ => (address, length),
    };
    let prefix = IpNet::new(address, length).map_err(|_| Problem::Length)?;
    if length == 0 {
        return Err(Problem::Everything);
    }
    let network = prefix.trunc();
    prefixes.push(network);
    Ok(Tidy(network.addr() == address))
}

fn range_into(first: &str, last: &str, prefixes: &mut Vec<IpNet>) -> Result<Tidy, Problem> {
    let first: IpAddr = first.parse().map_err(|_| Problem::NoPrefix)?;
    let last: IpAddr = last.parse().map_err(|_| Problem::NoPrefix)?;
    let before = prefixes.len();
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) if first <= last => {
            prefixes.extend(Ipv4Subnets::new(first, last, 0).map(IpNet::V4));
        }
        (IpAddr::V6(first), IpAddr::V6(last)) if first <= last => {
            prefixes.extend(Ipv6Subnets::new(first, last, 0).map(IpNet::V6));
        }
        _ => return Err(Problem::Range),
    }
    if prefixes.get(before).is_some_and(|prefix| prefix.prefix_len() == 0) {
        prefixes.truncate(before);
        return Err(Problem::Everything);
    }
    Ok(Tidy(true))
}

/// The text for a message: its first bytes, with nothing in them that a terminal would obey.
fn shown(text: &[u8]) -> String {
    let cut = text.get(..SHOWN).unwrap_or(text);
    let dots = if cut.len() < text.len() { "..." } else { "" };
    format!("{}{dots}", cut.escape_ascii())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|net| net.parse().unwrap()).collect()
    }

    #[test]
    fn reads_what_the_field_writes() {
        let cases: &[(&str, &[&str])] = &[
            ("192.0.2.0/24\n", &["192.0.2.0/24"]),
            ("192.0.2.7\n", &["192.0.2.7/32"]),
            ("2001:db8::1\n", &["2001:db8::1/128"]),
            ("192.0.2.77/24\n", &["192.0.2.0/24"]),
            ("2001:db8::77/32\n", &["2001:db8::/32"]),
            ("; Spamhaus DROP\n192.0.2.0/24 ; SBL123\n", &["192.0.2.0/24"]),
            ("# firehol\n#\n192.0.2.0/24# why\n", &["192.0.2.0/24"]),
            ("\r\n192.0.2.0/24\r\n\r\n198.51.100.1\r\n", &["192.0.2.0/24", "198.51.100.1/32"]),
            ("\t 192.0.2.0/24 \t\n", &["192.0.2.0/24"]),
            ("192.0.2.0/255.255.255.0\n", &["192.0.2.0/24"]),
            ("192.0.2.0-192.0.2.255\n", &["192.0.2.0/24"]),
            ("192.0.2.1 - 192.0.2.4\n", &["192.0.2.1/32", "192.0.2.2/31", "192.0.2.4/32"]),
            ("255.255.255.254-255.255.255.255\n", &["255.255.255.254/31"]),
            ("2001:db8::-2001:db8::1\n", &["2001:db8::/127"]),
            ("::ffff:192.0.2.1\n::ffff:192.0.2.0/120\n", &["192.0.2.1/32", "192.0.2.0/24"]),
            ("\u{feff}192.0.2.0/24\n", &["192.0.2.0/24"]),
            ("192.0.2.0/24", &["192.0.2.0/24"]),
            ("192.0.2.0/24\n# a last comment without newline", &["192.0.2.0/24"]),
            ("192.0.2.1\n192.0.2.1\n", &["192.0.2.1/32", "192.0.2.1/32"]),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text.as_bytes()).unwrap(), nets(expected), "{text:?}");
        }
        assert_eq!(parse(b"# caf\xe9\n192.0.2.1\n").unwrap(), nets(&["192.0.2.1/32"]));
    }

    #[test]
    fn refuses_the_whole_feed_and_says_where() {
        let cases: &[(&[u8], &str)] = &[
            (
                b"192.0.2.1\nexample.org\n",
                "line 2: `example.org` is no prefix; expected an address",
            ),
            (b"192.0.2.0/33\n", "line 1: `192.0.2.0/33` has a prefix length out of range"),
            (b"2001:db8::/129\n", "prefix length out of range"),
            (b"192.0.2.0/\n", "is no prefix"),
            (b"192.0.2.0/+8\n", "is no prefix"),
            (b"192.0.2.0/255.0.255.0\n", "prefix length out of range"),
            (b"192.0.2.0/24 extra\n", "is no prefix"),
            (b"192.0.2.9-192.0.2.1\n", "the lower one first"),
            (b"192.0.2.9-2001:db8::\n", "the lower one first"),
            (b"0.0.0.0/0\n", "covers every address"),
            (b"::/0\n", "covers every address"),
            (b"0.0.0.0-255.255.255.255\n", "covers every address"),
            (b"::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\n", "covers every address"),
            (b"\x1b[31mred\xff\n", r"line 1: `\x1b[31mred\xff` is no prefix"),
            (
                b"<html>aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
                "aaa...` is no prefix",
            ),
            (b"192.0.2.1\n198.51.10", "line 2: the last line `198.51.10` has no newline"),
            (b"192.0.2.1\n10.0.0.0/1", "looks half-written"),
            (b"", "no prefix in the feed"),
            (b"# nothing\n\n", "no prefix in the feed"),
        ];
        for (text, expected) in cases {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{}: {error}", text.escape_ascii());
        }
    }

    #[test]
    fn bounds_a_line() {
        let long = format!("192.0.2.1 # {}\n", "x".repeat(MAX_LINE));
        let error = parse(long.as_bytes()).unwrap_err();
        assert!(matches!(error, FeedError::Line { problem: Problem::TooLong, .. }), "{error}");
        let fits = format!("192.0.2.1 # {}\n", "x".repeat(MAX_LINE - 12));
        assert_eq!(parse(fits.as_bytes()).unwrap(), nets(&["192.0.2.1/32"]));
    }

    #[test]
    fn reads_a_file_with_its_time_and_names_it_in_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("drop.txt");
        fs::write(&path, "192.0.2.0/24 ; SBL1\n").unwrap();
        let feed = read(&path).unwrap();
        assert_eq!(feed.prefixes, nets(&["192.0.2.0/24"]));
        assert_eq!(feed.modified, fs::metadata(&path).unwrap().modified().unwrap());

        fs::write(&path, "192.0.2.0/24\nbad\n").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}:2: `bad`", path.display())), "{error}");

        fs::write(&path, "").unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.is_empty() && error.to_string().contains("drop.txt"), "{error}");

        for path in [folder.path().join("absent"), folder.path().to_owned()] {
            assert!(matches!(read(&path), Err(FeedError::Unreadable { .. })));
        }
        File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(matches!(read(&path), Err(FeedError::TooLarge { .. })));
    }

    #[test]
    fn aggregates() {
        let cases: &[(&[&str], &[&str])] = &[
            (&[], &[]),
            (&["10.0.0.0/25", "10.0.0.128/25"], &["10.0.0.0/24"]),
            (&["10.0.1.0/24", "10.0.0.0/25", "10.0.0.128/25"], &["10.0.0.0/23"]),
            (&["10.0.1.0/24", "10.0.2.0/24"], &["10.0.1.0/24", "10.0.2.0/24"]),
            (&["10.1.2.3/32", "10.0.0.0/8", "10.0.0.0/8"], &["10.0.0.0/8"]),
            (&["0.0.0.0/1", "128.0.0.0/1"], &["0.0.0.0/0"]),
            (
                &["2001:db8:8000::/33", "10.0.0.1/32", "2001:db8::/33"],
                &["10.0.0.1/32", "2001:db8::/32"],
            ),
        ];
        for (given, expected) in cases {
            assert_eq!(aggregate(nets(given)), nets(expected), "{given:?}");
        }
    }

    fn small_net() -> impl Strategy<Value = IpNet> {
        // Few addresses and long prefixes, so that neighbours and nesting are frequent.
        (any::<u8>(), 24_u8..=32, any::<bool>()).prop_map(|(host, length, v4)| {
            if v4 {
                Ipv4Net::new(Ipv4Addr::new(192, 0, 2, host), length).unwrap().trunc().into()
            } else {
                let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into());
                Ipv6Net::new(address, length + 96).unwrap().trunc().into()
            }
        })
    }

    proptest! {
        #[test]
        fn aggregation_covers_the_same_addresses_with_the_fewest_prefixes(
            given in prop::collection::vec(small_net(), 0..40),
        ) {
            let merged = aggregate(given.clone());
            for host in 0..=u8::MAX {
                let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host.into());
                for address in [IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), IpAddr::V6(v6)] {
                    let before = given.iter().any(|net| net.contains(&address));
                    let after = merged.iter().filter(|net| net.contains(&address)).count();
                    prop_assert_eq!(after, usize::from(before), "{}", address);
                }
            }
            prop_assert!(merged.is_sorted());
            prop_assert_eq!(&IpNet::aggregate(&given).len(), &merged.len());
        }

        #[test]
        fn ranges_cover_exactly_what_they_say(first: u8, last: u8) {
            let (first, last) = (first.min(last), first.max(last));
            let given = parse(format!("192.0.2.{first}-192.0.2.{last}\n").as_bytes()).unwrap();
            for host in 0..=u8::MAX {
                let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, host));
                let count = given.iter().filter(|net| net.contains(&address)).count();
                prop_assert_eq!(count, usize::from((first..=last).contains(&host)));
            }
            prop_assert_eq!(aggregate(given.clone()), given);
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(text in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&text).map_err(|error| error.to_string());
        }

        #[test]
        fn what_is_written_is_read(given in prop::collection::vec(small_net(), 1..40)) {
            let text: String = given.iter().map(|net| format!("{net} # x\r\n")).collect();
            prop_assert_eq!(parse(text.as_bytes()).unwrap(), given);
        }
    }
}
