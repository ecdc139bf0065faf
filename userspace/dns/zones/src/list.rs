//! Block lists in rbldnsd's formats, answered as RFC 5782 says.

mod dnset;
mod ip4set;
mod text;

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::UNIX_EPOCH;

use self::dnset::{DnSet, DnSetBuilder};
use self::ip4set::{Ip4Set, Ip4SetBuilder};
use self::text::{Line, Special};
use crate::config::{ListConfig, ListFormat};
use crate::lookup::{NO_NAME, Reply, Step};
use crate::master::Stamp;
use crate::message::Out;
use crate::name;
use crate::problem::Problem;
use crate::rdata::number;
use crate::zone::{Attempt, Files};

/// Time to live where nobody says one: rbldnsd's.
const TTL: u32 = 2100;

/// Largest file: a hundred million addresses.
const FILE_BYTES: u64 = 2 << 30;

/// Most values that one answer shows.
const VALUES: usize = 8;

/// Most problems told of one file.
const PROBLEMS: usize = 20;

/// Lines that may be wrong before a file is refused: this many, and beyond that one in a hundred. One odd line must not
/// keep a list from being updated; a page of HTML must not become one.
const BAD_LINES: usize = 10;

/// Value of an exclusion.
const EXCLUDED: u32 = u32::MAX;

/// A list that is ready to answer.
#[derive(Debug)]
pub(crate) struct List {
    apex: Box<[u8]>,
    soa: Box<[u8]>,
    servers: Vec<Box<[u8]>>,
    ttl: u32,
    sets: Sets,
    values: Vec<Value>,
    pub(crate) serial: u32,
    pub(crate) entries: usize,
    /// Memory of entries and values.
    pub(crate) bytes: usize,
}

/// One for each file.
#[derive(Debug)]
enum Sets {
    Ip4(Vec<Ip4Set>),
    Dn(Vec<DnSet>),
}

/// What a listed entry is answered with.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Value {
    address: Ipv4Addr,
    /// `$` stands for what was asked, `$$` for `$`.
    text: Option<Box<[u8]>>,
}

/// What a set says.
#[derive(Debug, Eq, PartialEq)]
enum Listed {
    /// Values, one at least.
    Yes(Vec<u32>),
    /// Not listed, and something below it is.
    Between,
    No,
}

impl List {
    /// Answers a question for a name at or below the apex.
    pub(crate) fn answer<'a>(&'a self, qname: &[u8], qtype: u16, reply: &mut Reply<'a>) -> Step {
        let Some(asked) = qname.strip_suffix(&*self.apex) else { return Step::NoName };
        if asked.is_empty() {
            return self.apex(qtype, reply);
        }
        let (subject, listed) = match &self.sets {
            Sets::Ip4(sets) => match ip4set::reversed(asked) {
                None => return self.absent(reply),
                Some((address, 32)) => {
                    (address.to_string(), merge(sets.iter().map(|set| set.find(address.into()))))
                }
                Some((address, bits)) => {
                    let any = sets.iter().any(|set| set.lists_within(address.into(), bits));
                    (String::new(), if any { Listed::Between } else { Listed::No })
                }
            },
            Sets::Dn(sets) => (String::new(), merge(sets.iter().map(|set| set.find(asked)))),
        };
        let values = match listed {
            Listed::No => return self.absent(reply),
            Listed::Between => return self.no_data(reply),
            Listed::Yes(values) => values,
        };
        let subject = if subject.is_empty() { shown(asked) } else { subject };
        let values = values.iter().filter_map(|value| self.values.get(*value as usize));
        let mut data: Vec<Vec<u8>> = Vec::new();
        for value in values {
            let one = match qtype {
                number::A | number::ANY => Some(value.address.octets().to_vec()),
                number::TXT => value.text.as_ref().map(|text| text::fill(text, subject.as_bytes())),
                _ => None,
            };
            data.extend(one.filter(|one| !data.contains(one)));
        }
        if data.is_empty() {
            return self.no_data(reply);
        }
        let rtype = if qtype == number::TXT { qtype } else { number::A };
        reply.answers.extend(data.into_iter().take(VALUES).map(|data| Out {
            owner: Cow::Owned(qname.to_vec()),
            rtype,
            ttl: self.ttl,
            data: Cow::Owned(data),
        }));
        Step::Found
    }

    fn apex<'a>(&'a self, qtype: u16, reply: &mut Reply<'a>) -> Step {
        let data: &[Box<[u8]>] = match qtype {
            number::SOA | number::ANY => std::slice::from_ref(&self.soa),
            number::NS => &self.servers,
            _ => &[],
        };
        if data.is_empty() {
            return self.no_data(reply);
        }
        let rtype = if qtype == number::NS { qtype } else { number::SOA };
        reply.answers.extend(data.iter().map(|data| self.out(rtype, data)));
        Step::Found
    }

    fn out<'a>(&'a self, rtype: u16, data: &'a [u8]) -> Out<'a> {
        Out { owner: Cow::Borrowed(&self.apex), rtype, ttl: self.ttl, data: Cow::Borrowed(data) }
    }

    fn no_data<'a>(&'a self, reply: &mut Reply<'a>) -> Step {
        let mut soa = self.out(number::SOA, &self.soa);
        if let Some([.., minimum]) = crate::zone::soa_numbers(&self.soa) {
            soa.ttl = soa.ttl.min(minimum);
        }
        reply.authorities.push(soa);
        Step::NoData
    }

    fn absent<'a>(&'a self, reply: &mut Reply<'a>) -> Step {
        reply.rcode = NO_NAME;
        self.no_data(reply);
        Step::NoName
    }

    /// Reads all files of a list. Lines that are wrong are left out, told of, and few.
    pub(crate) fn load(config: &ListConfig, apex: &[u8]) -> Attempt<Self> {
        let files: Files =
            config.files.iter().map(|file| (file.clone(), Stamp::of(file))).collect();
        let mut loader = Loader::new(config, apex);
        let result = match config.format {
            ListFormat::Ip4Set => loader.files::<Ip4SetBuilder>().map(Sets::Ip4),
            ListFormat::DnSet => loader.files::<DnSetBuilder>().map(Sets::Dn),
        };
        let result = result.map(|sets| loader.finish(sets, &files));
        (files, result)
    }
}

/// The values of every file that lists.
fn merge(found: impl Iterator<Item = Listed>) -> Listed {
    found.fold(Listed::No, |all, one| match (all, one) {
        (Listed::Yes(mut all), Listed::Yes(more)) => {
            all.extend(more);
            Listed::Yes(all)
        }
        (Listed::Yes(all), _) | (_, Listed::Yes(all)) => Listed::Yes(all),
        (Listed::Between, _) | (_, Listed::Between) => Listed::Between,
        _ => Listed::No,
    })
}

/// A name for people, without the last dot.
fn shown(labels: &[u8]) -> String {
    let mut text = name::show(&[labels, name::ROOT].concat());
    text.pop();
    text
}

/// Collects one file's entries.
trait Build: Default {
    type Set;
    /// Adds an entry; the rest of the line is its value.
    fn entry<'l>(
        &mut self,
        line: Line<'l>,
        limits: &FileState,
        value: impl FnOnce(&'l [u8]) -> Result<u32, String>,
    ) -> Result<(), String>;
    fn build(self) -> Result<Self::Set, String>;
    /// Entries as written, and memory.
    fn size(set: &Self::Set) -> (usize, usize);
}

/// What holds from a line to the end of its file.
#[derive(Default)]
struct FileState {
    value: u32,
    /// `$0` to `$9`.
    variables: [Option<Box<[u8]>>; 10],
    /// `$MAXRANGE4`, in addresses.
    widest: Option<u64>,
}

struct Loader<'a> {
    config: &'a ListConfig,
    apex: &'a [u8],
    values: Vec<Value>,
    known: HashMap<Value, u32>,
    ttl: Option<u32>,
    soa: Option<(u32, Vec<u8>)>,
    servers: Vec<Box<[u8]>>,
    warnings: Vec<Problem>,
    entries: usize,
    bytes: usize,
}

impl<'a> Loader<'a> {
    fn new(config: &'a ListConfig, apex: &'a [u8]) -> Self {
        Self {
            config,
            apex,
            values: Vec::new(),
            known: HashMap::new(),
            ttl: None,
            soa: None,
            servers: Vec::new(),
            warnings: Vec::new(),
            entries: 0,
            bytes: 0,
        }
    }

    fn files<B: Build>(&mut self) -> Result<Vec<B::Set>, Vec<Problem>> {
        let mut sets = Vec::with_capacity(self.config.files.len());
        for file in &self.config.files {
            let text = crate::file::read(file, FILE_BYTES).map_err(|error| {
                vec![Problem::of(
                    file,
                    format!("can't be read: {error}"),
                    "check its path, size and permissions",
                )]
            })?;
            // What is left of a line that was cut may be an entry for a quarter of all addresses.
            if text.last().is_some_and(|last| *last != b'\n') {
                return Err(vec![Problem::of(
                    file,
                    "the last line has no end: the file is not whole",
                    "write it again; if it is whole, end it with a newline",
                )]);
            }
            let set = self.file::<B>(file, &text)?;
            let (entries, bytes) = B::size(&set);
            self.entries += entries;
            self.bytes += bytes;
            sets.push(set);
        }
        Ok(sets)
    }

    fn file<B: Build>(&mut self, file: &Path, text: &[u8]) -> Result<B::Set, Vec<Problem>> {
        let mut builder = B::default();
        let mut state = FileState::default();
        let standard = Value {
            address: self.config.answer,
            text: self
                .config
                .text
                .as_ref()
                .and_then(|text| text::template(text.as_bytes(), &state.variables)),
        };
        state.value = self.intern(standard).map_err(|what| vec![Problem::of(file, what, "")])?;
        let (mut good, mut bad) = (0usize, 0usize);
        let mut problems = Vec::new();
        for (line, number) in text.split(|&byte| byte == b'\n').zip(1u32..) {
            let result = match Line::parse(line) {
                Line::Blank => continue,
                Line::Special(special) => self.special(special, &mut state),
                Line::Default(value) => self.value(value, &state).map(|value| state.value = value),
                entry => builder.entry(entry, &state, |rest| self.value(rest, &state)),
            };
            match result {
                Ok(()) => good += 1,
                Err(what) => {
                    bad += 1;
                    if problems.len() < PROBLEMS {
                        problems.push(Problem::at(
                            file,
                            number,
                            what,
                            "the line is left out: correct it",
                        ));
                    }
                }
            }
        }
        if bad > 0 && (good == 0 || (bad > BAD_LINES && bad > good / 100)) {
            let what = format!("{bad} lines are no entries, and {good} are");
            problems
                .insert(0, Problem::of(file, what, "check that this is the list, and its format"));
            return Err(problems);
        }
        if good == 0 {
            self.warnings.push(Problem::of(file, "lists nothing", ""));
        }
        self.warnings.append(&mut problems);
        builder.build().map_err(|what| vec![Problem::of(file, what, "")])
    }

    fn special(&mut self, special: Special<'_>, state: &mut FileState) -> Result<(), String> {
        match special {
            Special::Ttl(ttl) => self.ttl = self.ttl.or(Some(ttl)),
            Special::Soa { ttl, data } => self.soa = self.soa.take().or(Some((ttl, data))),
            Special::Ns(servers) => {
                if self.servers.is_empty() {
                    self.servers = servers;
                }
            }
            Special::MaxRange4(widest) => state.widest = Some(widest),
            Special::Variable(digit, text) => {
                if let Some(place) = state.variables.get_mut(digit) {
                    *place = Some(text.into());
                }
            }
            Special::Ignored => {}
        }
        Ok(())
    }

    /// The value that follows an entry: `:A:TXT`, `:A`, `TXT` or nothing.
    fn value(&mut self, rest: &[u8], state: &FileState) -> Result<u32, String> {
        let standard = || self.values.get(state.value as usize);
        let value = match text::value(rest)? {
            (None, None) => return Ok(state.value),
            (address, text) => Value {
                address: address
                    .or_else(|| standard().map(|value| value.address))
                    .unwrap_or(self.config.answer),
                text: match text {
                    Some(text) => text::template(text, &state.variables),
                    None => standard().and_then(|value| value.text.clone()),
                },
            },
        };
        self.intern(value)
    }

    fn intern(&mut self, value: Value) -> Result<u32, String> {
        if let Some(number) = self.known.get(&value) {
            return Ok(*number);
        }
        let number = u32::try_from(self.values.len())
            .ok()
            .filter(|&number| number < EXCLUDED)
            .ok_or("too many values")?;
        self.values.push(value.clone());
        self.known.insert(value, number);
        Ok(number)
    }

    fn finish(self, sets: Sets, files: &Files) -> (List, Vec<Problem>) {
        let ttl = self.config.ttl.or(self.ttl).unwrap_or(TTL);
        let newest =
            files.iter().filter_map(|(_, stamp)| stamp.as_ref()).map(|stamp| stamp.changed).max();
        let changed = newest
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map_or(1, |time| time.as_secs() as u32);
        let soa = match self.soa {
            Some((_, data)) => text::with_serial(data, changed),
            None => {
                let person = [b"\x0ahostmaster", self.apex].concat();
                let person = if person.len() <= name::LONGEST { &person } else { self.apex };
                let numbers = [changed, 3600, 600, 86_400, ttl].map(u32::to_be_bytes).concat();
                [self.apex, person, &numbers].concat()
            }
        };
        let serial = crate::zone::soa_numbers(&soa).map_or(changed, |[serial, ..]| serial);
        let texts: usize = self
            .values
            .iter()
            .map(|value| size_of::<Value>() + value.text.as_ref().map_or(0, |text| text.len()))
            .sum();
        let mut values = self.values;
        values.shrink_to_fit();
        let list = List {
            apex: self.apex.into(),
            soa: soa.into(),
            servers: self.servers,
            ttl,
            sets,
            values,
            serial,
            entries: self.entries,
            bytes: self.bytes + texts,
        };
        (list, self.warnings)
    }
}
