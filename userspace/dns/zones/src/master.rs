//! Zone files into records: directives, owners, times to live (RFC 1035 section 5, RFC 2308 section 4, BIND's
//! `$GENERATE`).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::file;
use crate::name;
use crate::problem::Problem;
use crate::rdata::{self, number};
use crate::scan::{Entry, Scanner, Token};

/// What a zone may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of all files together.
    pub(crate) bytes: u64,
    /// Records, those of `$GENERATE` among them.
    pub(crate) records: usize,
    /// Files within files.
    pub(crate) depth: usize,
    /// Problems after which reading ends: the rest follows from them, or is more of the same.
    pub(crate) problems: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 30, records: 10_000_000, depth: 8, problems: 20 }
    }
}

/// One record, and where it is written.
#[derive(Debug)]
pub(crate) struct Rr {
    /// In lower case.
    pub(crate) owner: Box<[u8]>,
    pub(crate) rtype: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Box<[u8]>,
    /// Index into [`Parsed::files`].
    pub(crate) file: usize,
    pub(crate) line: u32,
}

/// Who writes a file in pieces does not wait for so long between two of them.
const YOUNG: Duration = Duration::from_secs(2);

/// What tells one version of a file from the next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Stamp {
    pub(crate) changed: SystemTime,
    pub(crate) bytes: u64,
}

impl Stamp {
    pub(crate) fn of(file: &Path) -> Option<Self> {
        let data = fs::metadata(file).ok()?;
        Some(Self { changed: data.modified().ok()?, bytes: data.len() })
    }

    /// Whether somebody may be writing to it still.
    pub(crate) fn is_young(&self, now: SystemTime) -> bool {
        now.duration_since(self.changed).is_ok_and(|age| age < YOUNG)
    }
}

/// All that a file and those it includes say.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) records: Vec<Rr>,
    pub(crate) files: Vec<(PathBuf, Option<Stamp>)>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
}

impl Parsed {
    pub(crate) fn file(&self, index: usize) -> &Path {
        self.files.get(index).map_or_else(|| Path::new(""), |(path, _)| path)
    }
}

/// Reads the zone file of `apex`.
pub(crate) fn read(file: &Path, apex: &[u8], limits: Limits) -> Parsed {
    let mut reader = Reader::new(apex, limits);
    // What is included lies beside the file: the folder is known once the file is.
    reader.root = file.canonicalize().ok().and_then(|file| file.parent().map(Path::to_path_buf));
    reader.file(file.to_path_buf(), apex.to_vec());
    reader.out
}

/// Reads zone data that is in no file; `label` stands for the file.
pub(crate) fn read_text(text: &str, label: &str, apex: &[u8]) -> Parsed {
    let mut reader = Reader::new(apex, Limits::default());
    reader.out.files.push((label.into(), None));
    reader.text(text.as_bytes(), 0, apex.to_vec());
    reader.out
}

struct Reader<'a> {
    apex: &'a [u8],
    limits: Limits,
    root: Option<PathBuf>,
    /// Real paths of the files being read, the outermost first.
    open: Vec<PathBuf>,
    bytes: u64,
    out: Parsed,
    /// `$TTL`.
    default_ttl: Option<u32>,
    /// Time to live of the record before.
    last_ttl: Option<u32>,
    soa_minimum: Option<u32>,
    owner: Option<Box<[u8]>>,
    full: bool,
}

impl<'a> Reader<'a> {
    fn new(apex: &'a [u8], limits: Limits) -> Self {
        Self {
            apex,
            limits,
            root: None,
            open: Vec::new(),
            bytes: 0,
            out: Parsed::default(),
            default_ttl: None,
            last_ttl: None,
            soa_minimum: None,
            owner: None,
            full: false,
        }
    }

    fn problem(
        &mut self,
        file: usize,
        line: u32,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let problem = Problem::at(self.out.file(file), line, what, remedy);
        self.out.problems.push(problem);
        self.full |= self.out.problems.len() >= self.limits.problems;
    }

    fn file(&mut self, path: PathBuf, origin: Vec<u8>) {
        let stamp = Stamp::of(&path);
        let read = file::read(&path, self.limits.bytes.saturating_sub(self.bytes));
        self.open.push(path.canonicalize().unwrap_or_else(|_| path.clone()));
        self.out.files.push((path.clone(), stamp));
        match read {
            Ok(text) => {
                self.bytes += text.len() as u64;
                self.text(&text, self.out.files.len() - 1, origin);
            }
            Err(error) => {
                self.out.problems.push(Problem::of(
                    &path,
                    format!("can't be read: {error}"),
                    "check its path, size and permissions",
                ));
            }
        }
        self.open.pop();
    }

    fn text(&mut self, text: &[u8], file: usize, mut origin: Vec<u8>) {
        for entry in Scanner::new(text) {
            if self.full {
                return;
            }
            match entry {
                Ok(entry) => self.entry(&entry, file, &mut origin),
                Err(fault) => self.problem(
                    file,
                    fault.line,
                    fault.what,
                    "close it, or escape it with a backslash",
                ),
            }
        }
    }

    fn entry(&mut self, entry: &Entry, file: usize, origin: &mut Vec<u8>) {
        let Some((first, rest)) = entry.tokens.split_first() else { return };
        if entry.indented || first.quoted || !first.text.starts_with(b"$") {
            if let Err((line, what, remedy)) = self.record(entry, file, origin) {
                self.problem(file, line, what, remedy);
            }
            return;
        }
        let result = match first.text.to_ascii_uppercase().as_slice() {
            b"$ORIGIN" => self.origin(rest, origin),
            b"$TTL" => self.ttl(rest),
            b"$INCLUDE" => self.include(rest, file, origin),
            b"$GENERATE" => {
                self.generate(rest, entry.line, file, origin);
                Ok(())
            }
            _ => Err(format!(
                "\"{}\" is not a directive; there are $ORIGIN, $TTL, $INCLUDE and $GENERATE",
                String::from_utf8_lossy(&first.text)
            )),
        };
        if let Err(what) = result {
            self.problem(file, entry.line, what, "");
        }
    }

    fn origin(&mut self, words: &[Token], origin: &mut Vec<u8>) -> Result<(), String> {
        let [word] = words else { return Err("$ORIGIN wants one name".into()) };
        *origin = name::parse(&word.text, Some(origin))?;
        Ok(())
    }

    fn ttl(&mut self, words: &[Token]) -> Result<(), String> {
        let ttl = match words {
            [word] => rdata::period(&word.text),
            _ => None,
        };
        self.default_ttl =
            Some(ttl.ok_or("$TTL wants one time, such as 3600 or 1h, up to 2147483647 seconds")?);
        Ok(())
    }

    fn include(&mut self, words: &[Token], file: usize, origin: &[u8]) -> Result<(), String> {
        let (path, origin) = match words {
            [path] => (path, origin.to_vec()),
            [path, inner] => (path, name::parse(&inner.text, Some(origin))?),
            _ => return Err("$INCLUDE wants a file, and perhaps an origin".into()),
        };
        let written = String::from_utf8_lossy(&path.text).into_owned();
        let beside = self.out.file(file).parent().unwrap_or(Path::new("")).join(&written);
        let real = match beside.canonicalize() {
            Ok(real) => real,
            Err(error) => {
                // Once it is there the zone is read again.
                self.out.files.push((beside, None));
                return Err(format!("\"{written}\" can't be included: {error}"));
            }
        };
        if !self.root.as_ref().is_some_and(|root| real.starts_with(root)) {
            return Err(format!(
                "\"{written}\" lies outside the folder of the zone's file and is not included"
            ));
        }
        if self.open.contains(&real) {
            return Err(format!("\"{written}\" includes itself"));
        }
        if self.open.len() > self.limits.depth {
            return Err(format!("\"{written}\" is the {}th file within another", self.open.len()));
        }
        // The included file changes neither origin nor owner of ours (RFC 1035 section 5.1).
        let owner = self.owner.clone();
        self.file(beside, origin);
        self.owner = owner;
        Ok(())
    }

    fn record(
        &mut self,
        entry: &Entry,
        file: usize,
        origin: &[u8],
    ) -> Result<(), (u32, String, String)> {
        let fault = |line: u32, what: String| (line, what, String::new());
        let mut words = entry.tokens.as_slice();
        if !entry.indented {
            let Some((first, rest)) = words.split_first() else { return Ok(()) };
            let mut owner = match first.quoted {
                false => {
                    name::parse(&first.text, Some(origin)).map_err(|what| fault(first.line, what))
                }
                true => Err(fault(first.line, "an owner is a name, not a quoted string".into())),
            }
            // What follows must not be taken for the owner before.
            .inspect_err(|_| self.owner = None)?;
            name::lower(&mut owner);
            self.owner = Some(owner.into());
            words = rest;
        }
        let Some(owner) = self.owner.clone() else {
            return Err((
                entry.line,
                "the record has no owner".into(),
                "begin the line with a name, or with @".into(),
            ));
        };
        let (mut ttl, mut class) = (None, false);
        let rtype = loop {
            let Some((word, rest)) = words.split_first() else {
                return Err((
                    entry.line,
                    "the record has no type".into(),
                    "write OWNER TTL IN TYPE DATA".into(),
                ));
            };
            words = rest;
            let shown = || String::from_utf8_lossy(&word.text).into_owned();
            if word.quoted {
                return Err(fault(
                    word.line,
                    format!("\"{}\" stands where a type should", shown()),
                ));
            }
            if ttl.is_none() && word.text.first().is_some_and(u8::is_ascii_digit) {
                ttl = Some(rdata::period(&word.text).ok_or_else(|| {
                    fault(
                        word.line,
                        format!(
                            "\"{}\" is not a time to live of up to 2147483647 seconds",
                            shown()
                        ),
                    )
                })?);
            } else if !class
                && (word.text.eq_ignore_ascii_case(b"IN")
                    || word.text.eq_ignore_ascii_case(b"CLASS1"))
            {
                class = true;
            } else if let Some(rtype) = rdata::type_number(&word.text) {
                break rtype;
            } else if [&b"CH"[..], b"HS", b"CS"]
                .iter()
                .any(|other| word.text.eq_ignore_ascii_case(other))
            {
                return Err((
                    word.line,
                    format!("class {} is not served", shown()),
                    "write IN, or leave the class out".into(),
                ));
            } else {
                return Err((
                    word.line,
                    format!("\"{}\" is not a type", shown()),
                    "types without a name are written as TYPE123 (RFC 3597)".into(),
                ));
            }
        };
        if rdata::is_meta(rtype) {
            return Err(fault(
                entry.line,
                format!("{} is no type for zones", rdata::type_name(rtype)),
            ));
        }
        if !name::is_under(&owner, self.apex) {
            let what =
                format!("{} lies outside the zone {}", name::show(&owner), name::show(self.apex));
            return Err((
                entry.line,
                what,
                "correct the name, or $ORIGIN; names without a last dot are relative".into(),
            ));
        }
        let data = rdata::parse(rtype, entry.line, words, origin)
            .map_err(|(line, what)| fault(line, what))?;
        if rtype == number::SOA && self.soa_minimum.is_none() {
            self.soa_minimum = data.last_chunk().map(|minimum| u32::from_be_bytes(*minimum));
        }
        let ttl = match ttl.or(self.default_ttl).or(self.last_ttl) {
            Some(ttl) => ttl,
            None => {
                let what = "there is no time to live, and no $TTL";
                let Some(minimum) = self.soa_minimum else {
                    return Err((entry.line, what.into(), "begin the file with $TTL 3600".into()));
                };
                let what = format!("{what}: the minimum of the SOA, {minimum}, is taken");
                let warning =
                    Problem::at(self.out.file(file), entry.line, what, "begin the file with $TTL");
                self.out.warnings.push(warning);
                minimum
            }
        };
        self.last_ttl = Some(ttl);
        if self.out.records.len() >= self.limits.records {
            self.full = true;
            return Err(fault(
                entry.line,
                format!("the zone has more than {} records", self.limits.records),
            ));
        }
        self.out.records.push(Rr { owner, rtype, ttl, data: data.into(), file, line: entry.line });
        Ok(())
    }

    /// `$GENERATE START-STOP[/STEP] OWNER [TTL] [CLASS] TYPE DATA`: the way whole pools get their reverse names.
    fn generate(&mut self, words: &[Token], line: u32, file: usize, origin: &[u8]) {
        let range = words.first().and_then(|word| sequence(&word.text));
        let (Some((start, stop, step)), Some(template @ [_, _, _, ..])) = (range, words.get(1..))
        else {
            return self.problem(
                file,
                line,
                "$GENERATE wants START-STOP or START-STOP/STEP, an owner, a type and data",
                "",
            );
        };
        for value in (start..=stop).step_by(step) {
            if self.full {
                return;
            }
            let tokens: Option<Vec<Token>> = template
                .iter()
                .map(|word| Some(Token { text: substitute(&word.text, value)?, ..word.clone() }))
                .collect();
            let Some(tokens) = tokens else {
                return self.problem(file, line, "a $ of $GENERATE is written as $, ${OFFSET}, ${OFFSET,WIDTH} or ${OFFSET,WIDTH,d|o|x|X|n|N}", "");
            };
            if let Err((line, what, remedy)) =
                self.record(&Entry { line, indented: false, tokens }, file, origin)
            {
                return self.problem(file, line, format!("$GENERATE with {value}: {what}"), remedy);
            }
        }
    }
}

fn sequence(text: &[u8]) -> Option<(u32, u32, usize)> {
    let text = std::str::from_utf8(text).ok()?;
    let (range, step) = text.split_once('/').unwrap_or((text, "1"));
    let (start, stop) = range.split_once('-')?;
    let (start, stop) = (rdata::decimal(start.as_bytes())?, rdata::decimal(stop.as_bytes())?);
    let step: u32 = rdata::decimal(step.as_bytes())?;
    (start <= stop && step > 0).then_some((start, stop, step as usize))
}

fn substitute(text: &[u8], value: u32) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() + 4);
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after.first()) {
            (b'\\', Some(b'$')) => {
                out.push(b'$');
                rest = after.get(1..)?;
            }
            (b'\\', Some(&next)) => {
                out.extend([byte, next]);
                rest = after.get(1..)?;
            }
            (b'$', Some(b'$')) => {
                out.push(b'$');
                rest = after.get(1..)?;
            }
            (b'$', Some(b'{')) => {
                let end = after.iter().position(|&byte| byte == b'}')?;
                out.extend(modified(std::str::from_utf8(after.get(1..end)?).ok()?, value)?);
                rest = after.get(end + 1..)?;
            }
            (b'$', _) => out.extend(value.to_string().into_bytes()),
            _ => out.push(byte),
        }
    }
    Some(out)
}

fn modified(modifier: &str, value: u32) -> Option<Vec<u8>> {
    let mut parts = modifier.split(',');
    let offset: i64 = parts.next()?.parse().ok()?;
    let width: usize = parts.next().map_or(Some(0), |width| width.parse().ok())?;
    let base = parts.next().unwrap_or("d");
    let value = u32::try_from(i64::from(value).checked_add(offset)?).ok()?;
    if parts.next().is_some() || width > 255 {
        return None;
    }
    let text = match base {
        "d" => format!("{value:0width$}"),
        "o" => format!("{value:0width$o}"),
        "x" => format!("{value:0width$x}"),
        "X" => format!("{value:0width$X}"),
        // Nibbles, the lowest first, with dots between: ip6.arpa. The width counts the dots too.
        "n" | "N" => {
            let digits = if base == "n" { format!("{value:x}") } else { format!("{value:X}") };
            let mut nibbles: Vec<char> = digits.chars().rev().collect();
            nibbles.resize(nibbles.len().max(width.div_ceil(2)), '0');
            nibbles.iter().map(char::to_string).collect::<Vec<_>>().join(".")
        }
        _ => return None,
    };
    Some(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &[u8]) -> Parsed {
        let apex = name::apex("example.").unwrap();
        let mut reader = Reader::new(&apex, Limits { records: 1000, ..Limits::default() });
        reader.out.files.push(("zone".into(), None));
        reader.text(text, 0, apex.to_vec());
        reader.out
    }

    fn records(text: &str) -> Vec<String> {
        let parsed = parse(text.as_bytes());
        assert_eq!(parsed.problems, [], "{text}");
        let show = |rr: &Rr| {
            format!(
                "{} {} {} {}",
                name::show(&rr.owner),
                rr.ttl,
                rdata::type_name(rr.rtype),
                rr.line
            )
        };
        parsed.records.iter().map(show).collect()
    }

    #[test]
    fn owners_classes_and_times() {
        for (text, expected) in [
            ("@ 5 IN A 1.2.3.4", vec!["example. 5 A 1"]),
            (
                "a IN 5 A 1.2.3.4\n 6 A 1.2.3.5\n\tAAAA ::",
                vec!["a.example. 5 A 1", "a.example. 6 A 2", "a.example. 6 AAAA 3"],
            ),
            (
                "$TTL 1h\nA.EXAMPLE. A 1.2.3.4\nb 5 A 1.2.3.4\nc A 1.2.3.4",
                vec!["a.example. 3600 A 2", "b.example. 5 A 3", "c.example. 3600 A 4"],
            ),
            (
                "$TTL 9\n$ORIGIN b\na class1 type1 \\# 4 01020304\n$ORIGIN a.example.\n@ TXT \"@\"",
                vec!["a.b.example. 9 A 3", "a.example. 9 TXT 5"],
            ),
            ("@ SOA a b 1 2 3 4 77\n NS a", vec!["example. 77 SOA 1", "example. 77 NS 2"]),
            (
                "$TTL 9\nns A 1.2.3.4\nttl A 1.2.3.4\n5 A 1.2.3.4",
                vec!["ns.example. 9 A 2", "ttl.example. 9 A 3", "5.example. 9 A 4"],
            ),
            (
                "$TTL 9\n$GENERATE 1-5/2 h$ A 10.0.0.${10}",
                vec!["h1.example. 9 A 2", "h3.example. 9 A 2", "h5.example. 9 A 2"],
            ),
            (
                "$TTL 9\n$GENERATE 9-10 x${-9,3,x}-\\$ PTR h${0,2}",
                vec!["x000-$.example. 9 PTR 2", "x001-$.example. 9 PTR 2"],
            ),
        ] {
            let expected: Vec<_> =
                expected.into_iter().map(|line| line.replace("-$", r"-\$")).collect();
            assert_eq!(records(text), expected, "{text}");
        }
        assert_eq!(modified("0,7,n", 0x1a), Some(b"a.1.0.0".to_vec()));
    }

    #[test]
    fn problems_name_their_lines() {
        for (text, line, word) in [
            ("\n\na 5 A 1.2.3", 3, "IPv4"),
            ("a 5 TXT (\n \"ok\"\n \"\\999\" )", 3, "backslash"),
            ("a A 1.2.3.4", 1, "time to live"),
            (" 5 A 1.2.3.4", 1, "owner"),
            ("$TTL 5\na IN", 2, "type"),
            ("$TTL 5\na CH A 1.2.3.4", 2, "class CH"),
            ("$TTL 5\na BOGUS 1", 2, "not a type"),
            ("$TTL 5\na.other. A 1.2.3.4", 2, "outside"),
            ("$TTL 5\na..b A 1.2.3.4", 2, "empty label"),
            ("$TTL 5\na ANY 1", 2, "not a type"),
            ("$TTL 5\na TYPE255 \\# 0", 2, "no type for zones"),
            ("$TTL x", 1, "$TTL"),
            ("$ORIGIN", 1, "$ORIGIN"),
            ("$FOO", 1, "directive"),
            ("$INCLUDE nowhere", 1, "nowhere"),
            ("$GENERATE 5-1 a A 1.2.3.4", 1, "$GENERATE"),
            ("$TTL 5\n$GENERATE 250-260 a A 1.2.3.$", 2, "with 256"),
            ("$TTL 5\n$GENERATE 0-5000 a$ A 1.2.3.4", 2, "1000 records"),
            ("a 5 A 1.2.3.4 ( \n b 5 A 1.2.3.4", 1, "parenthesis"),
            ("a 5 TXT \"x\nb 5 A 1.2.3.4", 1, "quoted"),
            ("a 99999999999 A 1.2.3.4", 1, "2147483647"),
        ] {
            let parsed = parse(text.as_bytes());
            let first = parsed.problems.first().unwrap_or_else(|| panic!("{text}"));
            assert_eq!(first.line, Some(line), "{text}: {first}");
            assert!(first.what.contains(word), "{text}: {first}");
        }
    }

    #[test]
    fn after_a_bad_owner_the_next_does_not_inherit() {
        let parsed = parse(b"$TTL 5\na A 1.2.3.4\nb..c A 1.2.3.4\n A 1.2.3.5\n");
        assert_eq!(
            parsed.problems.iter().map(|problem| problem.line).collect::<Vec<_>>(),
            [Some(3), Some(4)]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            parse(&text);
        }

        #[test]
        fn any_words_are_survived(words in proptest::collection::vec(
            proptest::sample::select(vec![
                "@", "a", "\n", "\n", " ", "(", ")", "\"", ";", "$TTL", "$ORIGIN", "$GENERATE", "$INCLUDE", "1-9", "IN", "5", "1h",
                "A", "NS", "SOA", "TXT", "NSEC3", "NSEC", "RRSIG", "DS", "SVCB", "CAA", "TYPE9", "\\#", "4", "0a000001", "1.2.3.4",
                "::1", "b.", "\\", "\\100", "$", "${1,2,n}", "alpn=h2", "mandatory=", "-", "20030322173103", "AQ==", "x\"y",
            ]), 0..60)) {
            parse(words.join(" ").as_bytes());
        }
    }
}
