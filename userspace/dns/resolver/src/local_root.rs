//! A copy of the root zone (RFC 8806): the first step of every walk, without the Internet.
//!
//! What it says is not believed more than what a root server says: DS records and proofs are validated as usual.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64;
use hickory_proto::dnssec::Algorithm;
use hickory_proto::dnssec::rdata::{DNSSECRData, NSEC, RRSIG, SigInput};
use hickory_proto::rr::{Name, RData, Record, RecordType, SerialNumber};
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use crate::delegation::Delegation;
use crate::rrset::{RrSet, group_all};
use crate::scrub::{Host, Referral, glue};

/// Delegations of the root zone, from a file.
#[derive(Debug)]
struct LocalRoot {
    children: HashMap<Name, Referral>,
    /// Unix time from when on the copy is too old: when the file was written, and the SOA record's expire.
    expires: u64,
}

/// A file with a copy of the root zone, and what was read of it.
#[derive(Debug)]
pub(crate) struct RootFile {
    path: PathBuf,
    root: RwLock<Arc<LocalRoot>>,
    /// How the file was when it was read last, well or not.
    stamp: Mutex<Option<Stamp>>,
}

/// When a file was written, and its bytes: both change when it is replaced.
type Stamp = (SystemTime, u64);

impl RootFile {
    /// Reads a zone file. Fails if it isn't the root zone, or if it has expired already.
    pub(crate) fn open(path: &Path, unix: u64) -> Result<Self, String> {
        // Before the file is read: what changes meanwhile is read again.
        let stamp = stamp(path);
        let root = LocalRoot::load(path, stamp, unix)?;
        Ok(Self {
            path: path.to_owned(),
            root: RwLock::new(Arc::new(root)),
            stamp: Mutex::new(stamp),
        })
    }

    /// Reads the file again if it has changed. True if that gave another copy; if it fails the old one stays.
    pub(crate) fn refresh(&self, unix: u64) -> Result<bool, String> {
        let mut known = self.stamp.lock();
        let stamp = stamp(&self.path);
        if *known == stamp {
            return Ok(false);
        }
        *known = stamp;
        let root = LocalRoot::load(&self.path, stamp, unix)?;
        *self.root.write() = Arc::new(root);
        Ok(true)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The delegation that a name hangs on.
    pub(crate) fn delegation(
        &self,
        name: &Name,
        root: &Delegation,
        unix: u64,
    ) -> Option<Delegation> {
        let local = self.root.read().clone();
        local.delegation(name, root, unix)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let about = std::fs::metadata(path).ok()?;
    Some((about.modified().ok()?, about.len()))
}

impl LocalRoot {
    fn load(path: &Path, stamp: Option<Stamp>, unix: u64) -> Result<Self, String> {
        // Opening a FIFO would wait for a writer, so the kind is looked at before.
        if std::fs::metadata(path).is_ok_and(|about| !about.is_file()) {
            return Err("not a regular file".into());
        }
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let written = stamp.and_then(|(time, _)| time.duration_since(UNIX_EPOCH).ok());
        let root = Self::parse(&text, written.map_or(unix, |written| written.as_secs()))?;
        if unix >= root.expires {
            return Err("the copy is older than its SOA record allows".into());
        }
        Ok(root)
    }

    /// The root zone out of the text of a zone file, written at that time.
    fn parse(text: &str, written: u64) -> Result<Self, String> {
        let mut expire = None;
        let mut cuts = Vec::new();
        let mut addresses = Vec::new();
        for (line, entry) in entries(text)? {
            let record = parse(&entry).map_err(|why| format!("line {line}: {why}"))?;
            let Some(record) = record else { continue };
            match &record.data {
                RData::SOA(soa) if record.name.is_root() => {
                    expire = Some(u64::from(soa.expire.unsigned_abs()));
                }
                RData::A(_) | RData::AAAA(_) => addresses.push(record),
                _ if record.name.iter().len() == 1 => cuts.push(record),
                _ => {}
            }
        }
        let expire = expire.ok_or("there is no SOA record of the root")?;
        let addresses = by_name(group_all(&addresses));
        let mut children: HashMap<Name, Referral> = HashMap::new();
        for (zone, sets) in by_name(group_all(&cuts)) {
            let of = |rtype| sets.iter().find(|set| set.rtype == rtype).cloned();
            let Some(ns) = of(RecordType::NS) else { continue };
            let hosts = ns
                .name_servers()
                .map(|host| {
                    let known = addresses.get(&host).map(Vec::as_slice).unwrap_or_default();
                    Host { addresses: glue(known, &host), name: host }
                })
                .collect();
            let ds = of(RecordType::DS).map(Arc::new);
            let proofs = match ds {
                Some(_) => Vec::new(),
                None => of(RecordType::NSEC).map(Arc::new).into_iter().collect(),
            };
            let ttl = ns.ttl;
            children.insert(zone.clone(), Referral { zone, hosts, ds, proofs, ttl });
        }
        if children.is_empty() {
            return Err("there is not one delegation in it".into());
        }
        Ok(Self { children, expires: written.saturating_add(expire) })
    }

    fn delegation(&self, name: &Name, root: &Delegation, unix: u64) -> Option<Delegation> {
        if unix >= self.expires || name.is_root() {
            return None;
        }
        let mut child = root.child(self.children.get(&name.trim_to(1))?);
        let left = Duration::from_secs(self.expires - unix);
        child.expires = child.expires.min(Instant::now() + left);
        Some(child)
    }
}

fn by_name(sets: Vec<RrSet>) -> HashMap<Name, Vec<RrSet>> {
    let mut names: HashMap<Name, Vec<RrSet>> = HashMap::new();
    for set in sets {
        names.entry(set.name.clone()).or_default().push(set);
    }
    names
}

/// The entries of a zone file, each with the line that it starts in; an entry without an owner has that of the one
/// before.
fn entries(text: &str) -> Result<Vec<(usize, Vec<&str>)>, String> {
    let mut entries: Vec<(usize, Vec<&str>)> = Vec::new();
    let mut owner = None;
    let mut open = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split(';').next().unwrap_or_default();
        let mut words = line
            .split(|letter: char| letter.is_whitespace() || matches!(letter, '(' | ')'))
            .filter(|word| !word.is_empty())
            .peekable();
        if words.peek().is_some() && !open {
            let inherits = line.starts_with([' ', '\t']);
            if !inherits {
                owner = words.next();
            }
            let owner = owner.ok_or_else(|| format!("line {number}: there is no owner yet"))?;
            entries.push((number, vec![owner]));
        }
        if let Some((_, entry)) = entries.last_mut() {
            entry.extend(words);
        }
        let opened = line.matches('(').count() + usize::from(open);
        open = opened > line.matches(')').count();
    }
    Ok(entries)
}

/// One record, if it is of a type that is needed here.
fn parse(entry: &[&str]) -> Result<Option<Record>, String> {
    let mut words = entry.iter().copied();
    let owner = words.next().unwrap_or_default();
    if owner.starts_with('$') {
        // The root zone as it is published has none; others would change what names mean.
        return match owner {
            "$TTL" => Ok(None),
            _ => Err(format!("{owner} is not understood here")),
        };
    }
    let owner = name(owner)?;
    let mut ttl = 86_400;
    let rtype = loop {
        let word = words.next().ok_or("there is no type")?;
        if let Ok(seconds) = word.parse::<u32>() {
            ttl = seconds;
        } else if !word.eq_ignore_ascii_case("IN") {
            break word.to_ascii_uppercase();
        }
    };
    let words: Vec<&str> = words.collect();
    let data = match rtype.as_str() {
        "RRSIG" => rrsig(&words)?,
        "NSEC" => Some(nsec(&words)?),
        "SOA" | "NS" | "A" | "AAAA" | "DS" => {
            let rtype = rtype.parse().map_err(|_| "the type is not known")?;
            let data = RData::try_from_str(rtype, &words.join(" "));
            Some(data.map_err(|error| error.to_string())?)
        }
        _ => None,
    };
    Ok(data.map(|data| Record::from_rdata(owner, ttl, data)))
}

fn name(text: &str) -> Result<Name, String> {
    let name = if text == "@" { Ok(Name::root()) } else { Name::from_ascii(text) };
    let mut name = name.map_err(|_| format!("{text:?} is not a domain name"))?;
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

/// A signature over DS or NSEC records (RFC 4034 section 3.2); others aren't needed.
fn rrsig(words: &[&str]) -> Result<Option<RData>, String> {
    let [covered, algorithm, labels, ttl, expiration, inception, tag, signer, signature @ ..] =
        words
    else {
        return Err("the signature is not complete".into());
    };
    let type_covered = match covered.to_ascii_uppercase().as_str() {
        "DS" => RecordType::DS,
        "NSEC" => RecordType::NSEC,
        _ => return Ok(None),
    };
    let number = |word: &str| {
        word.parse::<u32>().map_err(|_| format!("{word:?} is not a number in its range"))
    };
    let small =
        |word: &str| u8::try_from(number(word)?).map_err(|_| format!("{word:?} is too large"));
    let input = SigInput {
        type_covered,
        algorithm: Algorithm::from_u8(small(algorithm)?),
        num_labels: small(labels)?,
        original_ttl: number(ttl)?,
        sig_expiration: SerialNumber::new(moment(expiration)?),
        sig_inception: SerialNumber::new(moment(inception)?),
        key_tag: u16::try_from(number(tag)?).map_err(|_| "the key tag is too large")?,
        signer_name: name(signer)?,
    };
    let signature = BASE64
        .decode(signature.concat().as_bytes())
        .map_err(|error| format!("the signature is not base64: {error}"))?;
    Ok(Some(RData::DNSSEC(DNSSECRData::RRSIG(RRSIG::from_sig(input, signature)))))
}

fn nsec(words: &[&str]) -> Result<RData, String> {
    let (next, types) = words.split_first().ok_or("the NSEC record is empty")?;
    let mut known = Vec::new();
    for word in types {
        let code = word.strip_prefix("TYPE").and_then(|code| code.parse::<u16>().ok());
        let rtype = match code {
            Some(code) => RecordType::from(code),
            None => word.parse().map_err(|_| format!("type {word} is not known"))?,
        };
        known.push(rtype);
    }
    Ok(RData::DNSSEC(DNSSECRData::NSEC(NSEC::new(name(next)?, known))))
}

/// A time as signatures have it: seconds since 1970 or YYYYMMDDHHmmSS (RFC 4034 section 3.2).
fn moment(word: &str) -> Result<u32, String> {
    let wrong = || format!("{word:?} is not a time");
    if word.len() != 14 {
        return word.parse().map_err(|_| wrong());
    }
    let part = |from: usize, to: usize| {
        word.get(from..to).and_then(|part| part.parse::<i64>().ok()).ok_or_else(wrong)
    };
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let (hour, minute, second) = (part(8, 10)?, part(10, 12)?, part(12, 14)?);
    // Days since 1970, with years that begin in March, so that the leap day is the last.
    let shifted = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let leaps = shifted / 4 - shifted / 100 + shifted / 400;
    let days = 365 * shifted + leaps + (153 * month + 2) / 5 + day - 1 - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    // Serial numbers, which wrap in 2106.
    Ok((seconds & i64::from(u32::MAX)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ResolverConfig, Settings};

    const ZONE: &str = "\
. 86400 IN SOA a.root-servers.net. nstld.verisign-grs.com. 2026112400 1800 900 604800 86400
.\t518400 IN NS a.root-servers.net.
a.root-servers.net. 518400 IN A 198.41.0.4
com. 172800 IN NS a.gtld-servers.net.
com. 86400 IN DS 19718 13 2 8ACBB0CD28F41250A80A491389424D341522D946B0DA0C0291F2D3D7 71D7805A
com. 86400 IN RRSIG DS 8 1 86400 ( 20261207050000 20261124040000
    26470 . AAAA AAAA )   ; not a real one
a.gtld-servers.net. 172800 IN A 192.5.6.30
    172800 IN AAAA 2001:503:a83e::2:30
zz. 172800 IN NS ns.zz.
zz. 86400 IN NSEC . NS RRSIG NSEC TYPE65000
ns.zz. 172800 IN A 198.41.0.9
";

    fn look(root: &LocalRoot, name: &str, unix: u64) -> Option<Delegation> {
        let settings = Settings::parse(&ResolverConfig::default()).unwrap();
        let hints = Delegation::hints(&settings);
        root.delegation(&Name::from_ascii(name).unwrap(), &hints, unix)
    }

    #[tokio::test]
    async fn delegations_come_with_glue_and_proofs() {
        let root = LocalRoot::parse(ZONE, 1_000).unwrap();
        let com = look(&root, "www.example.com.", 1_001).unwrap();
        assert_eq!(com.hosts[0].addresses.len(), 2);
        assert_eq!(com.ds.as_ref().unwrap().signatures.len(), 1);
        assert_eq!(com.parent, Some(Name::root()));
        let zz = look(&root, "zz.", 1_001).unwrap();
        assert!(zz.ds.is_none());
        assert_eq!(zz.proofs.len(), 1);
        assert!(look(&root, "www.example.net.", 1_001).is_none());
    }

    #[tokio::test]
    async fn an_old_copy_is_not_used() {
        let root = LocalRoot::parse(ZONE, 1_000).unwrap();
        assert!(look(&root, "com.", 1_000 + 604_799).is_some());
        assert!(look(&root, "com.", 1_000 + 604_800).is_none());
    }

    #[tokio::test]
    async fn a_changed_file_is_read_again_and_a_bad_one_is_told_once() {
        let path = std::env::temp_dir().join(format!("muralla-root-file-{}", std::process::id()));
        std::fs::write(&path, ZONE).unwrap();
        let unix = stamp(&path).unwrap().0.duration_since(UNIX_EPOCH).unwrap().as_secs();
        let settings = Settings::parse(&ResolverConfig::default()).unwrap();
        let hints = Delegation::hints(&settings);
        let file = RootFile::open(&path, unix).unwrap();
        let knows =
            |zone: &str| file.delegation(&Name::from_ascii(zone).unwrap(), &hints, unix).is_some();
        assert_eq!(file.refresh(unix), Ok(false));
        std::fs::write(&path, "nonsense").unwrap();
        assert!(file.refresh(unix).is_err());
        assert_eq!(file.refresh(unix), Ok(false), "told once");
        assert!(knows("com.") && !knows("new."));
        std::fs::write(&path, format!("{ZONE}new. 172800 IN NS ns.zz.\n")).unwrap();
        assert_eq!(file.refresh(unix), Ok(true));
        assert!(knows("com.") && knows("new."));
        std::fs::remove_file(&path).unwrap();
        assert!(file.refresh(unix).is_err());
        assert_eq!(file.refresh(unix), Ok(false));
        assert!(knows("new."));
    }

    #[test]
    fn what_is_no_root_zone_is_refused() {
        for text in [
            "",
            "com. IN NS a.gtld-servers.net.",
            ". IN SOA a. b. 1 2 3 4 5",
            "  IN NS a.",
            "$INCLUDE other",
            "com. IN NSEC",
            "com. IN RRSIG DS 8 1 86400 1 2 3 . *",
        ] {
            assert!(LocalRoot::parse(text, 0).is_err(), "{text:?}");
        }
    }

    #[test]
    fn moments() {
        for (word, unix) in [
            ("19700101000000", 0),
            ("20000229123456", 951_827_696),
            ("20261124040000", 1_795_492_800),
            ("1795492800", 1_795_492_800),
        ] {
            assert_eq!(moment(word), Ok(unix), "{word}");
        }
        assert!(moment("2026112404000x").is_err());
    }
}
