//! One question to one server: over UDP, over TCP where UDP won't do, without EDNS where that won't do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use rand::RngExt;
use tokio::time::Instant;

use crate::resolver::{Context, Inner};
use crate::rrset::MAX_SECTION;
use crate::servers::Habits;
use crate::transport::{ExchangeError, Protocol, Reply};

/// Wrong messages to one port after which it looks like an attack, and the question goes over TCP.
const MAX_WRONG: u32 = 5;

/// Longest wait for one answer over UDP and TCP.
const MOST_UDP: Duration = Duration::from_millis(1_500);
const MOST_TCP: Duration = Duration::from_millis(3_000);

/// A question to a server.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) rtype: RecordType,
    /// Asks for recursion: the server is a forwarder.
    pub(crate) recursive: bool,
    /// Sets CD: what a forwarder finds bogus we want to see, and judge.
    pub(crate) unchecked: bool,
    /// Tries without EDNS, as a last resort with a server that never answered.
    pub(crate) plain: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A message that fits the question.
    Message(Box<Message>),
    /// Nothing in time.
    Silence,
    /// No connection.
    Unreachable(String),
    /// Something that is no DNS message.
    Malformed,
    /// The question's budget of queries is spent.
    OverBudget,
    /// It could not be sent, and the server has no part in that.
    Unsent(String),
}

/// Why a question goes over TCP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tcp {
    /// Forged messages came over UDP.
    Safety,
    /// The letter case was lost over UDP.
    Case,
    /// The answer is too long for UDP.
    Size,
}

/// How one message was judged on arrival.
#[derive(Debug, Default)]
struct Arrival {
    wrong: AtomicU32,
    /// Right but for letter case.
    case_lost: AtomicBool,
    flooded: AtomicBool,
}

impl Inner {
    /// Asks one server, and takes note of how it behaves.
    pub(crate) async fn exchange(
        self: &Arc<Self>,
        server: SocketAddr,
        habits: Habits,
        question: &Question,
        ctx: &Context,
    ) -> Outcome {
        let _under_way = ctx.budget.begin();
        // Sockets that wait for the dead are not to be all there are.
        let _unproven = if habits.alive {
            None
        } else {
            match self.servers.try_unproven((self.transport.room().limit / 2).max(1)) {
                Some(seat) => Some(seat),
                None => return Outcome::Unsent("too many wait for servers in doubt".into()),
            }
        };
        let mut edns = habits.edns && !question.plain;
        let mut case = habits.case && self.settings.mixed_case;
        let mut protocol = Protocol::Udp;
        let mut why_tcp = Tcp::Safety;
        // Each turn leaves out one thing that did not work.
        for _ in 0..5 {
            if !ctx.budget.charge() {
                return Outcome::OverBudget;
            }
            let started = Instant::now();
            let arrival = Arrival::default();
            let sent = self.send(server, protocol, question, edns, case, &arrival, ctx).await;
            let (answer, trip) = match sent {
                Ok(Reply { message, trip }) => (message, trip),
                Err(ExchangeError::Local(why)) => {
                    ctx.note(|| format!("{server} could not be asked: {why}"));
                    return Outcome::Unsent(why);
                }
                Err(error) if protocol == Protocol::Tcp && why_tcp == Tcp::Case => {
                    // Then it has to be the letters as they are, this time.
                    ctx.note(|| format!("{server} over TCP: {error}"));
                    (protocol, case) = (Protocol::Udp, false);
                    continue;
                }
                Err(error) if protocol == Protocol::Tcp => {
                    // It may be well over UDP.
                    ctx.note(|| format!("{server} over TCP: {error}"));
                    return Outcome::Unreachable(format!("over TCP: {error}"));
                }
                Err(ExchangeError::Timeout(_)) => {
                    self.stats.timeouts.fetch_add(1, Ordering::Relaxed);
                    let rests = self.servers.silent(server, started);
                    let waited = started.elapsed().as_millis();
                    ctx.note(|| {
                        let rests = if rests { "; it rests for a while" } else { "" };
                        format!("{server} did not answer within {waited} ms{rests}")
                    });
                    return Outcome::Silence;
                }
                Err(error) => {
                    self.servers.unreachable(server, started);
                    ctx.note(|| format!("{server}: {error}"));
                    return Outcome::Unreachable(error.to_string());
                }
            };
            if arrival.flooded.load(Ordering::Relaxed) {
                ctx.note(|| format!("{server}: wrong messages come in its name; asking over TCP"));
                protocol = Protocol::Tcp;
                continue;
            }
            self.servers.answered(server, trip);
            if protocol == Protocol::Udp && case {
                let lost = arrival.case_lost.load(Ordering::Relaxed);
                self.servers.case(server, !lost);
                if lost {
                    ctx.note(|| format!("{server} lost the letter case; asking over TCP"));
                    (protocol, why_tcp) = (Protocol::Tcp, Tcp::Case);
                    continue;
                }
            }
            let Ok(message) = decode(answer) else {
                ctx.note(|| format!("{server} sent something that is no DNS message"));
                if edns {
                    edns = false;
                    continue;
                }
                return Outcome::Malformed;
            };
            let rcode = message.metadata.response_code;
            if !ctx.budget.look_at(records(&message)) {
                ctx.note(|| format!("{server} sent more than may be looked at for one question"));
                return Outcome::OverBudget;
            }
            ctx.note(|| describe(&message, server, protocol, trip));
            if message.metadata.truncation && protocol == Protocol::Udp {
                (protocol, why_tcp) = (Protocol::Tcp, Tcp::Size);
                continue;
            }
            let no_edns = matches!(
                rcode,
                ResponseCode::FormErr | ResponseCode::NotImp | ResponseCode::BADVERS
            );
            if edns && no_edns {
                ctx.note(|| format!("{server} answers {rcode} to EDNS; asking without"));
                edns = false;
                continue;
            }
            if habits.edns && !edns && !no_edns {
                self.servers.knows_no_edns(server);
            }
            return Outcome::Message(Box::new(message));
        }
        Outcome::Malformed
    }

    #[expect(clippy::too_many_arguments, reason = "each is one property of the message")]
    async fn send(
        &self,
        server: SocketAddr,
        protocol: Protocol,
        question: &Question,
        edns: bool,
        case: bool,
        arrival: &Arrival,
        ctx: &Context,
    ) -> Result<Reply, ExchangeError> {
        self.stats.queries.fetch_add(1, Ordering::Relaxed);
        let udp = protocol == Protocol::Udp;
        let (id, name) = {
            let mut rng = self.rng.lock();
            // Nobody forges a connection.
            let name =
                if case && udp { mix(&question.name, rng.random()) } else { question.name.clone() };
            (rng.random::<u16>(), name)
        };
        let most = match protocol {
            Protocol::Udp => MOST_UDP,
            Protocol::Tcp => {
                self.stats.tcp.fetch_add(1, Ordering::Relaxed);
                MOST_TCP
            }
        };
        let patience = most.min(ctx.budget.time_left());
        let query = encode(id, &name, question, edns.then_some(self.settings.payload))
            .ok_or_else(|| ExchangeError::Unreachable("the query can't be encoded".into()))?;
        let asked = query.get(12..).unwrap_or_default();
        // Type and class end the question; EDNS follows.
        let asked = asked.get(..encoded_len(&name) + 4).unwrap_or_default();
        let accept = |bytes: &[u8]| judge(bytes, id, asked, udp, arrival);
        let sent = self.transport.exchange(server, protocol, &query, patience, &accept).await;
        sent.map(|mut reply| {
            let answer = &mut reply.message;
            // Names in the answer point to the question: its letters are put back as they were.
            let plain = question.name.iter().flat_map(|label| {
                let length = u8::try_from(label.len()).unwrap_or_default();
                std::iter::once(length).chain(label.iter().copied())
            });
            if answer.get(4..6) == Some(&[0, 1]) {
                for (byte, plain) in answer.iter_mut().skip(12).zip(plain) {
                    *byte = plain;
                }
            }
            reply
        })
    }
}

/// Records of a message that are looked at, at most.
fn records(message: &Message) -> usize {
    [&message.answers, &message.authorities, &message.additionals]
        .iter()
        .map(|section| section.len().min(MAX_SECTION))
        .sum()
}

/// Decodes a message. Records of DNSSEC that are to be ignored, and would spoil the whole, are made to be of a type that
/// nobody knows.
fn decode(mut answer: Vec<u8>) -> Result<Message, ()> {
    if let Ok(message) = Message::from_vec(&answer) {
        return Ok(message);
    }
    for at in to_be_ignored(&answer) {
        if let Some(rtype) = answer.get_mut(at..at + 2) {
            rtype.copy_from_slice(&PRIVATE_TYPE.to_be_bytes());
        }
    }
    Message::from_vec(&answer).map_err(|_| ())
}

/// The first type for private use (RFC 6895 section 3.1).
const PRIVATE_TYPE: u16 = 65_280;

/// Where the types are of NSEC3 and NSEC3PARAM records with a hash algorithm or flags that are unknown (RFC 5155 sections
/// 8.1 and 8.2), and of DNSKEY records with another protocol than 3 (RFC 4034 section 2.1.2).
fn to_be_ignored(message: &[u8]) -> Vec<usize> {
    let word = |at: usize| {
        let octets = message.get(at..at + 2)?.try_into().ok()?;
        Some(u16::from_be_bytes(octets))
    };
    // Behind a name: labels up to the root's or to a pointer.
    let skip_name = |mut at: usize| loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length if length < 0x40 => at += 1 + usize::from(length),
            _ => return None,
        }
    };
    let mut found = Vec::new();
    let mut walk = || -> Option<()> {
        let mut at = 12;
        for _ in 0..word(4)? {
            at = skip_name(at)? + 4;
        }
        let records = [word(6)?, word(8)?, word(10)?];
        for _ in 0..records.iter().map(|count| u32::from(*count)).sum::<u32>() {
            at = skip_name(at)?;
            let data = at + 10;
            let ignored = match word(at)? {
                NSEC3 => *message.get(data)? != 1 || *message.get(data + 1)? > 1,
                NSEC3PARAM => *message.get(data)? != 1 || *message.get(data + 1)? > 1,
                DNSKEY => *message.get(data + 2)? != 3,
                _ => false,
            };
            if ignored {
                found.push(at);
            }
            at = data + usize::from(word(at + 8)?);
        }
        Some(())
    };
    // What can't be walked through can't be decoded either.
    let _ = walk();
    found
}

const DNSKEY: u16 = 48;
const NSEC3: u16 = 50;
const NSEC3PARAM: u16 = 51;

/// Whether a message answers the query. Over UDP a case mismatch and a flood end the wait too; the arrival tells.
fn judge(bytes: &[u8], id: u16, asked: &[u8], udp: bool, arrival: &Arrival) -> bool {
    let wrong = || {
        let flooded = udp && arrival.wrong.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_WRONG;
        arrival.flooded.store(flooded, Ordering::Relaxed);
        flooded
    };
    let Some((header, rest)) = bytes.split_at_checked(12) else { return wrong() };
    let [id_high, id_low, flags, rcode, count_high, count_low, ..] = *header else {
        return wrong();
    };
    // Response, and a plain query's.
    if u16::from_be_bytes([id_high, id_low]) != id || flags & 0xf8 != 0x80 {
        return wrong();
    }
    match u16::from_be_bytes([count_high, count_low]) {
        // Some leave the question out of an error.
        0 => !matches!(rcode & 0x0f, 0 | 3) || wrong(),
        1 => {
            let Some(question) = rest.get(..asked.len()) else { return wrong() };
            if question == asked {
                return true;
            }
            if udp && question.eq_ignore_ascii_case(asked) {
                arrival.case_lost.store(true, Ordering::Relaxed);
                return true;
            }
            wrong()
        }
        _ => wrong(),
    }
}

fn encode(id: u16, name: &Name, question: &Question, payload: Option<u16>) -> Option<Vec<u8>> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = question.recursive;
    message.metadata.checking_disabled = question.unchecked;
    message.add_query(Query::query(name.clone(), question.rtype));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload).set_version(0).set_dnssec_ok(true);
        message.set_edns(edns);
    }
    message.to_vec().ok()
}

fn encoded_len(name: &Name) -> usize {
    name.iter().map(|label| label.len() + 1).sum::<usize>() + 1
}

/// The name with letters of either case, a bit of randomness for each (draft-vixie-dnsext-dns0x20).
fn mix(name: &Name, bits: [u64; 4]) -> Name {
    let mut count = 0;
    let labels: Vec<Vec<u8>> = name
        .iter()
        .map(|label| {
            label
                .iter()
                .map(|byte| {
                    let word = bits.get(count / 64 % 4).copied().unwrap_or_default();
                    let flip = byte.is_ascii_alphabetic() && (word >> (count % 64)) & 1 == 1;
                    count += 1;
                    if flip { byte ^ 0x20 } else { *byte }
                })
                .collect()
        })
        .collect();
    Name::from_labels(labels).unwrap_or_else(|_| name.clone())
}

fn describe(message: &Message, server: SocketAddr, protocol: Protocol, trip: Duration) -> String {
    let over = match protocol {
        Protocol::Udp => "",
        Protocol::Tcp => " over TCP",
    };
    let cut = if message.metadata.truncation { ", truncated" } else { "" };
    let authority = if message.metadata.authoritative { ", with authority" } else { "" };
    format!(
        "{server} answered{over} after {:.1} ms: {}{authority}{cut}, {} answer, {} authority records",
        trip.as_secs_f64() * 1_000.0,
        message.metadata.response_code,
        message.answers.len(),
        message.authorities.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[test]
    fn letter_case_is_mixed_and_the_name_stays_the_same() {
        let plain = name("www.a-long-enough-label-to-matter.example.");
        let mixed = mix(&plain, [0xaaaa_aaaa_aaaa_aaaa; 4]);
        assert_eq!(plain, mixed);
        assert!(!plain.eq_case(&mixed));
        assert!(plain.eq_case(&mix(&plain, [0; 4])));
    }

    #[test]
    fn only_the_right_message_is_taken() {
        let question = Question {
            name: name("aB.c."),
            rtype: RecordType::A,
            recursive: false,
            unchecked: false,
            plain: false,
        };
        let query = encode(0x1234, &question.name, &question, Some(1232)).unwrap();
        let asked = query[12..12 + encoded_len(&question.name) + 4].to_vec();
        let mut answer = query.clone();
        answer[2] |= 0x80;
        let with = |at: usize, value: u8| {
            let mut changed = answer.clone();
            changed[at] = value;
            changed
        };
        let mut refused = answer[..12].to_vec();
        refused[3] = 5;
        refused[5] = 0;
        let mut empty = refused.clone();
        empty[3] = 0;
        for (case, bytes, taken, case_lost) in [
            ("right", answer.clone(), true, false),
            ("a query", query.clone(), false, false),
            ("another id", with(0, 0), false, false),
            ("another name", with(13, b'x'), false, false),
            ("another case", with(13, b'A'), true, true),
            ("two questions", with(5, 2), false, false),
            ("another opcode", with(2, 0xa0), false, false),
            ("refused without question", refused, true, false),
            ("empty without question", empty, false, false),
            ("cut", answer[..11].to_vec(), false, false),
        ] {
            let arrival = Arrival::default();
            assert_eq!(judge(&bytes, 0x1234, &asked, true, &arrival), taken, "{case}");
            assert_eq!(arrival.case_lost.load(Ordering::Relaxed), case_lost, "{case}");
        }
    }

    #[test]
    fn records_of_dnssec_that_are_to_be_ignored_do_not_spoil_a_message() {
        let header = |answers: u8| vec![0, 1, 0x84, 0, 0, 1, 0, answers, 0, 0, 0, 0];
        let question = [1, b'a', 0, 0, 1, 0, 1];
        let record = |rtype: u8, data: &[u8]| {
            let length = u8::try_from(data.len()).unwrap();
            let mut record = vec![0xc0, 12, 0, rtype, 0, 1, 0, 0, 0, 9, 0, length];
            record.extend(data);
            record
        };
        for (case, rtype, data, stays) in [
            ("address", 1, vec![192, 0, 2, 1], true),
            ("NSEC3", 50, vec![1, 1, 0, 0, 0, 1, 9, 0, 1, 64], true),
            ("NSEC3 of another hash", 50, vec![2, 0, 0, 0, 0, 1, 9, 0, 1, 64], false),
            ("NSEC3 of other flags", 50, vec![1, 2, 0, 0, 0, 1, 9, 0, 1, 64], false),
            ("NSEC3PARAM of another hash", 51, vec![2, 0, 0, 0, 0], false),
            ("DNSKEY", 48, vec![1, 0, 3, 15, 7, 7], true),
            ("DNSKEY of another protocol", 48, vec![1, 0, 4, 15, 7, 7], false),
        ] {
            let mut message = header(2);
            message.extend(question);
            message.extend(record(rtype, &data));
            message.extend(record(1, &[192, 0, 2, 2]));
            let decoded = decode(message).unwrap();
            let rtype = RecordType::from(u16::from(rtype));
            assert_eq!(decoded.answers[0].record_type() == rtype, stays, "{case}");
            assert_eq!(decoded.answers[1].record_type(), RecordType::A, "{case}");
        }
        // Cut anywhere, it neither decodes nor panics.
        let mut message = header(1);
        message.extend(question);
        message.extend(record(50, &[2, 0, 0, 0, 0, 1, 9, 0, 1, 64]));
        for end in 0..message.len() {
            assert!(decode(message[..end].to_vec()).is_err(), "{end}");
        }
    }

    #[test]
    fn a_flood_of_wrong_messages_ends_the_wait() {
        let arrival = Arrival::default();
        let taken = (0..MAX_WRONG).filter(|_| judge(&[0; 12], 1, &[], true, &arrival)).count();
        assert_eq!(taken, 1);
        assert!(arrival.flooded.load(Ordering::Relaxed));
    }
}
