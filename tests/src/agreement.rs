//! Many questions to two resolvers, and whether they answer the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use hickory_proto::dnssec::rdata::DNSSECRData;
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use muralla_lab::namespace::Namespace;

/// How long a resolver may take, and how often it is asked over UDP.
const PATIENCE: Duration = Duration::from_secs(8);
const ATTEMPTS: usize = 3;

/// A question as a client asks it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Question {
    /// Name, in any letter case.
    pub name: String,
    /// Type, as in a zone file.
    pub rtype: String,
    /// With the DO bit.
    pub dnssec_ok: bool,
    /// With the CD bit.
    pub checking_disabled: bool,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.rtype)?;
        if self.dnssec_ok {
            f.write_str(" +dnssec")?;
        }
        if self.checking_disabled {
            f.write_str(" +cd")?;
        }
        Ok(())
    }
}

/// What of an answer must be the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Response code.
    pub code: ResponseCode,
    /// The AD bit.
    pub authentic: bool,
    /// The answer section as a set of owner, type and data in lower case, with times to live. Of signatures all but
    /// the times and the signature itself, which differ when two servers signed in different seconds.
    pub records: BTreeMap<String, u32>,
    /// The authority section likewise.
    pub authority: BTreeMap<String, u32>,
    /// Types of the authority section; of signatures with the type that they cover.
    pub authority_types: BTreeSet<String>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ad = if self.authentic { " AD" } else { "" };
        write!(f, "{:?}{ad}", self.code)?;
        for (section, records) in [("", &self.records), ("authority: ", &self.authority)] {
            for (record, ttl) in records {
                write!(f, "\n      {section}{record} ({ttl} s)")?;
            }
        }
        Ok(())
    }
}

/// In what two answers differ.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Aspect {
    /// Response code.
    Code,
    /// The AD bit.
    Authentic,
    /// Records of the answer section.
    Records,
    /// Times to live of the answer section, by more than the slack.
    Ttl,
    /// Types of the authority section.
    Authority,
}

/// Two answers that differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// What was asked.
    pub question: Question,
    /// In what they differ, at least in one aspect.
    pub aspects: Vec<Aspect>,
    /// What the one under test said.
    pub ours: Answer,
    /// What the other said.
    pub theirs: Answer,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { question, aspects, ours, theirs } = self;
        write!(f, "{question}: {aspects:?}\n    ours:   {ours}\n    theirs: {theirs}")
    }
}

/// What came of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// All differences, in the order of the questions' names.
    pub differences: Vec<Difference>,
    /// Answers of the one under test by response code.
    pub codes: BTreeMap<String, usize>,
    /// How many of them had the AD bit.
    pub authentic: usize,
    /// Seconds that it took, rounded up.
    pub took: u32,
}

/// Asks both resolvers every question, `clients` questions at once and each resolver in turn first, and gives the
/// differences. Times to live may differ by `slack` seconds.
///
/// # Errors
/// When one of them does not answer a question at all.
pub fn compare(
    namespace: &Namespace,
    from: IpAddr,
    [ours, theirs]: [IpAddr; 2],
    questions: &Arc<Vec<Question>>,
    clients: usize,
    slack: u32,
) -> Result<Comparison> {
    let begin = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let found = Arc::new(Mutex::new(Comparison::default()));
    let mut threads = Vec::new();
    for _ in 0..clients {
        let (questions, next, found) =
            (Arc::clone(questions), Arc::clone(&next), Arc::clone(&found));
        threads.push(namespace.thread("compare", move || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(question) = questions.get(number) else { return Ok(()) };
                let ask = |resolver| {
                    ask(from, resolver, question, number as u16)
                        .with_context(|| format!("{question} at {resolver}"))
                };
                // Neither is to profit from what the other has woken.
                let (ours, theirs) = if number.is_multiple_of(2) {
                    let ours = ask(ours)?;
                    (ours, ask(theirs)?)
                } else {
                    let theirs = ask(theirs)?;
                    (ask(ours)?, theirs)
                };
                let aspects = aspects(&ours, &theirs, slack);
                let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                *found.codes.entry(ours.code.to_string()).or_default() += 1;
                found.authentic += usize::from(ours.authentic);
                if !aspects.is_empty() {
                    let question = question.clone();
                    let difference = Difference { question, aspects, ours, theirs };
                    found.differences.push(difference);
                }
            }
        })?);
    }
    for thread in threads {
        thread.join().map_err(|_| anyhow!("a client panicked"))??;
    }
    let mut found = std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    found.differences.sort_by(|a, b| a.question.cmp(&b.question));
    found.took = begin.elapsed().as_secs() as u32 + 1;
    Ok(found)
}

fn aspects(ours: &Answer, theirs: &Answer, slack: u32) -> Vec<Aspect> {
    let same_ttl = |record: &str, ttl: u32| {
        theirs.records.get(record).is_none_or(|other| ttl.abs_diff(*other) <= slack)
    };
    [
        (Aspect::Code, ours.code != theirs.code),
        (Aspect::Authentic, ours.authentic != theirs.authentic),
        (Aspect::Records, !ours.records.keys().eq(theirs.records.keys())),
        (Aspect::Ttl, !ours.records.iter().all(|(record, ttl)| same_ttl(record, *ttl))),
        (Aspect::Authority, ours.authority_types != theirs.authority_types),
    ]
    .into_iter()
    .filter_map(|(aspect, differs)| differs.then_some(aspect))
    .collect()
}

/// Asks one resolver one question, over TCP if the answer doesn't fit into a datagram.
///
/// # Errors
/// When there is no answer, or it isn't one to this question.
pub fn ask(from: IpAddr, resolver: IpAddr, question: &Question, id: u16) -> Result<Answer> {
    let mut query = Message::query();
    query.metadata.id = id;
    query.metadata.recursion_desired = true;
    query.metadata.authentic_data = true;
    query.metadata.checking_disabled = question.checking_disabled;
    let rtype = record_type(&question.rtype)?;
    query.add_query(Query::query(Name::from_ascii(&question.name)?, rtype));
    let mut edns = Edns::new();
    edns.set_max_payload(1_232).set_dnssec_ok(question.dnssec_ok);
    query.set_edns(edns);
    let wire = query.to_vec()?;
    let target = SocketAddr::new(resolver, 53);
    let mut answer = over_udp(from, target, &wire)?;
    if answer.metadata.truncation {
        answer = over_tcp(target, &wire)?;
    }
    let asked = query.queries.first().context("no question was asked")?;
    if answer.metadata.id != id || answer.queries.first() != Some(asked) {
        bail!("an answer to something else: {answer}");
    }
    let part = |section: &[Record]| section.iter().map(|r| (text(r), r.ttl)).collect();
    Ok(Answer {
        code: answer.metadata.response_code,
        authentic: answer.metadata.authentic_data,
        records: part(&answer.answers),
        authority: part(&answer.authorities),
        authority_types: answer.authorities.iter().map(kind).collect(),
    })
}

fn record_type(text: &str) -> Result<RecordType> {
    match text.strip_prefix("TYPE") {
        Some(number) => Ok(RecordType::from(number.parse::<u16>()?)),
        None => RecordType::from_str(text).with_context(|| format!("type {text}")),
    }
}

fn over_udp(from: IpAddr, target: SocketAddr, query: &[u8]) -> Result<Message> {
    let socket = UdpSocket::bind((from, 0))?;
    socket.connect(target)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 4_096];
    for _ in 0..ATTEMPTS {
        socket.send(query)?;
        if let Ok(length) = socket.recv(&mut buffer) {
            return Ok(Message::from_vec(buffer.get(..length).unwrap_or_default())?);
        }
    }
    bail!("no answer in {ATTEMPTS} times {PATIENCE:?}")
}

fn over_tcp(target: SocketAddr, query: &[u8]) -> Result<Message> {
    let mut stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&[&(query.len() as u16).to_be_bytes(), query].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    Ok(Message::from_vec(&answer)?)
}

fn kind(record: &Record) -> String {
    match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => {
            format!("RRSIG({})", signature.input().type_covered)
        }
        _ => record.record_type().to_string(),
    }
}

fn text(record: &Record) -> String {
    let data = match &record.data {
        RData::DNSSEC(DNSSECRData::RRSIG(signature)) => {
            let input = signature.input();
            format!(
                "{} {:?} {} {} {} {}",
                input.type_covered,
                input.algorithm,
                input.num_labels,
                input.original_ttl,
                input.key_tag,
                input.signer_name
            )
        }
        data => data.to_string(),
    };
    format!("{} {} {data}", record.name, record.record_type()).to_lowercase()
}
