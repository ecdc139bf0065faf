//! Asks a server of DNS that does the work: ours, or the machine's.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, FutureExt};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use muralla_filter_origin as origin;
use muralla_mail_envelope::Domain;
use muralla_smtp::tls::Tlsa;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::hosts::{Answer, Exchange, LookupError, Names};

/// Asks servers of DNS, one after the other until one answers.
#[derive(Debug)]
pub struct Stub {
    servers: Vec<SocketAddr>,
    /// Whether those on this machine validate, and are believed that an answer is authentic.
    validating: bool,
    known: Mutex<HashMap<(Name, RecordType), Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    until: Instant,
    answer: Result<Answer<RData>, LookupError>,
}

/// How long a server has for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// How often all of them are asked.
const ROUNDS: usize = 2;

/// How long an answer is kept at most, and one that something is not there, in seconds.
const LONGEST: u32 = 300;
const NOTHING: u32 = 30;

/// Answers that are kept.
const MOST: usize = 20_000;

/// Aliases of aliases that are followed.
const MOST_ALIASES: usize = 16;

/// Octets of an answer over UDP (DNS flag day 2020).
const PAYLOAD: u16 = 1232;

impl Stub {
    /// Asks these.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers, validating: false, known: Mutex::default() }
    }

    /// The same, where the servers on this machine validate: then what they say to be authentic (AD, RFC 6840 section 5.8) is
    /// [`secure`](Answer::secure). What a server elsewhere says never is, as anybody between it and us may say the same.
    #[must_use]
    pub fn validating(self) -> Self {
        Self { validating: true, ..self }
    }

    /// Asks those that a file names as resolv.conf(5) does; the machine itself if it names none.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn of_file(path: &Path) -> io::Result<Self> {
        Ok(Self::new(servers(&std::fs::read_to_string(path)?)))
    }

    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Answer<RData>, LookupError> {
        let key = (name.clone(), kind);
        let now = Instant::now();
        if let Some(known) = self.known.lock().get(&key).filter(|known| known.until > now) {
            return known.answer.clone();
        }
        let mut last = LookupError::Failed("no server of DNS is known".to_owned());
        for server in self.servers.iter().cycle().take(self.servers.len() * ROUNDS) {
            let believed = self.validating && server.ip().to_canonical().is_loopback();
            match timeout(PATIENCE, exchange(*server, name, kind, believed)).await {
                Ok(Ok(message)) => match read(&message, name, kind, believed) {
                    Ok((answer, seconds)) => {
                        let until = now + Duration::from_secs(u64::from(seconds));
                        let mut known = self.known.lock();
                        if known.len() >= MOST {
                            known.clear();
                        }
                        known.insert(key, Known { until, answer: answer.clone() });
                        return answer;
                    }
                    Err(why) => last = LookupError::Failed(format!("{server} says {why}")),
                },
                Ok(Err(error)) => last = LookupError::Failed(format!("{server}: {error}")),
                Err(_) => last = LookupError::Failed(format!("{server} does not answer")),
            }
        }
        Err(last)
    }
}

/// What an answer says, and for how many seconds; or that it says nothing.
type Read = (Result<Answer<RData>, LookupError>, u32);

fn read(message: &Message, asked: &Name, kind: RecordType, believed: bool) -> Result<Read, String> {
    match message.metadata.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return Ok((Err(LookupError::NoName), NOTHING)),
        other => return Err(other.to_string()),
    }
    // Of a chain of aliases, the end.
    let name = end_of_aliases(message, asked);
    let found = message.answers.iter();
    let found = found.filter(|record| record.record_type() == kind && record.name == name);
    let seconds = found.clone().map(|record| record.ttl).min().unwrap_or(NOTHING).min(LONGEST);
    let answer = Answer {
        records: found.map(|record| record.data.clone()).collect(),
        name: name.to_ascii().trim_end_matches('.').to_ascii_lowercase(),
        secure: believed && message.metadata.authentic_data,
    };
    Ok((Ok(answer), seconds))
}

fn end_of_aliases(message: &Message, asked: &Name) -> Name {
    let mut name = asked.clone();
    for _ in 0..MOST_ALIASES {
        let next = message.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(target) if record.name == name => Some(target.0.clone()),
            _ => None,
        });
        match next {
            Some(next) => name = next,
            None => break,
        }
    }
    name
}

async fn exchange(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
    believed: bool,
) -> io::Result<Message> {
    let mut query = Message::new(rand::random(), MessageType::Query, OpCode::Query);
    query.metadata.recursion_desired = true;
    // That we want to hear whether the answer is authentic: RFC 6840 section 5.7.
    query.metadata.authentic_data = believed;
    query.add_query(Query::query(name.clone(), kind));
    let mut edns = Edns::new();
    edns.set_max_payload(PAYLOAD).set_version(0);
    query.set_edns(edns);
    let asked = query.to_vec().map_err(io::Error::other)?;

    let own: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // A port of its own for each question, which a forger would have to guess.
    let socket = UdpSocket::bind(SocketAddr::new(own, 0)).await?;
    socket.connect(server).await?;
    socket.send(&asked).await?;
    let mut buffer = vec![0; usize::from(PAYLOAD)];
    loop {
        let octets = socket.recv(&mut buffer).await?;
        let Ok(answer) = Message::from_vec(buffer.get(..octets).unwrap_or_default()) else {
            continue;
        };
        if !is_answer(&query, &answer) {
            continue;
        }
        if !answer.metadata.truncation {
            return Ok(answer);
        }
        return over_tcp(server, &query, &asked).await;
    }
}

async fn over_tcp(server: SocketAddr, query: &Message, asked: &[u8]) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(asked.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], asked].concat()).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await?;
    let answer = Message::from_vec(&buffer).map_err(io::Error::other)?;
    if is_answer(query, &answer) {
        Ok(answer)
    } else {
        Err(io::Error::other("it answers another question"))
    }
}

fn is_answer(query: &Message, answer: &Message) -> bool {
    answer.metadata.id == query.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == query.queries
}

fn name(text: &str) -> Result<Name, LookupError> {
    let text = format!("{}.", text.trim_end_matches('.'));
    // What can't be a name is none.
    Name::from_ascii(text).map_err(|_| LookupError::NoName)
}

impl Names for Stub {
    fn exchanges<'a>(
        &'a self,
        domain: &'a Domain,
    ) -> BoxFuture<'a, Result<Answer<Exchange>, LookupError>> {
        async move {
            let answer = self.ask(&name(domain.as_str())?, RecordType::MX).await?;
            Ok(of_kind(answer, |data| match data {
                RData::MX(mx) => {
                    Some(Exchange { preference: mx.preference, host: mx.exchange.to_ascii() })
                }
                _ => None,
            }))
        }
        .boxed()
    }

    fn addresses<'a>(
        &'a self,
        host: &'a str,
    ) -> BoxFuture<'a, Result<Answer<IpAddr>, LookupError>> {
        async move {
            let name = name(host)?;
            let (six, four) =
                tokio::join!(self.ask(&name, RecordType::AAAA), self.ask(&name, RecordType::A));
            // One of the two is enough; that there is nothing both have to say.
            let both = match (six, four) {
                (Ok(six), Ok(four)) => both(six, four),
                (Ok(some), Err(_)) | (Err(_), Ok(some)) if !some.records.is_empty() => some,
                (Err(error), _) | (_, Err(error)) => return Err(error),
            };
            Ok(of_kind(both, |data| match data {
                RData::A(address) => Some(IpAddr::V4(address.0)),
                RData::AAAA(address) => Some(IpAddr::V6(address.0)),
                _ => None,
            }))
        }
        .boxed()
    }

    fn texts<'a>(&'a self, text: &'a str) -> BoxFuture<'a, Result<Vec<String>, LookupError>> {
        async move {
            let answer = self.ask(&name(text)?, RecordType::TXT).await?;
            let texts = of_kind(answer, |data| match data {
                RData::TXT(txt) => {
                    Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned())
                }
                _ => None,
            });
            Ok(texts.records)
        }
        .boxed()
    }

    fn associations<'a>(
        &'a self,
        text: &'a str,
    ) -> BoxFuture<'a, Result<Answer<Tlsa>, LookupError>> {
        async move {
            let answer = self.ask(&name(text)?, RecordType::TLSA).await?;
            Ok(of_kind(answer, |data| match data {
                RData::TLSA(tlsa) => Some(Tlsa {
                    usage: tlsa.cert_usage.into(),
                    selector: tlsa.selector.into(),
                    matching: tlsa.matching.into(),
                    data: tlsa.cert_data,
                }),
                _ => None,
            }))
        }
        .boxed()
    }
}

impl Stub {
    /// The records of a name, as the filter asks for them: what is not there is told from what nobody knows.
    async fn records<T>(
        &self,
        text: &str,
        kind: RecordType,
        read: impl FnMut(RData) -> Option<T>,
    ) -> origin::Answer<T> {
        let answer = match name(text) {
            Ok(name) => self.ask(&name, kind).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => of_kind(answer, read).records.into(),
            Err(LookupError::NoName) => origin::Answer::NoName,
            Err(LookupError::Failed(_)) => origin::Answer::Failed,
        }
    }
}

/// A host's name as the filter writes it: the root is nothing.
fn bare(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

impl origin::Names for Stub {
    fn txt<'a>(&'a self, name: &'a str) -> BoxFuture<'a, origin::Answer<Vec<u8>>> {
        self.records(name, RecordType::TXT, |data| match data {
            RData::TXT(txt) => Some(txt.txt_data.concat()),
            _ => None,
        })
        .boxed()
    }

    fn a<'a>(&'a self, name: &'a str) -> BoxFuture<'a, origin::Answer<Ipv4Addr>> {
        self.records(name, RecordType::A, |data| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
        .boxed()
    }

    fn aaaa<'a>(&'a self, name: &'a str) -> BoxFuture<'a, origin::Answer<Ipv6Addr>> {
        self.records(name, RecordType::AAAA, |data| match data {
            RData::AAAA(address) => Some(address.0),
            _ => None,
        })
        .boxed()
    }

    fn mx<'a>(&'a self, name: &'a str) -> BoxFuture<'a, origin::Answer<origin::Exchange>> {
        self.records(name, RecordType::MX, |data| match data {
            RData::MX(mx) => {
                Some(origin::Exchange { preference: mx.preference, host: bare(&mx.exchange) })
            }
            _ => None,
        })
        .boxed()
    }

    fn ptr(&self, ip: IpAddr) -> BoxFuture<'_, origin::Answer<String>> {
        async move {
            let name = Name::from(ip).to_ascii();
            self.records(&name, RecordType::PTR, |data| match data {
                RData::PTR(target) => Some(bare(&target.0)),
                _ => None,
            })
            .await
        }
        .boxed()
    }
}

fn of_kind<T>(answer: Answer<RData>, read: impl FnMut(RData) -> Option<T>) -> Answer<T> {
    let Answer { records, name, secure } = answer;
    Answer { records: records.into_iter().filter_map(read).collect(), name, secure }
}

/// Two answers about one host. It is of the one that has something that the name is, and that has to be proved.
fn both(mut one: Answer<RData>, other: Answer<RData>) -> Answer<RData> {
    match (one.records.is_empty(), other.records.is_empty()) {
        (true, _) => other,
        (_, true) => one,
        (false, false) => {
            one.secure &= other.secure && one.name == other.name;
            one.records.extend(other.records);
            one
        }
    }
}

/// The port of DNS.
const PORT: u16 = 53;

fn servers(text: &str) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() == Some("nameserver")
            && let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>)
        {
            servers.push(SocketAddr::new(address, PORT));
        }
    }
    if servers.is_empty() {
        servers.push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT));
    }
    servers
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Record;
    use hickory_proto::rr::rdata::tlsa::{CertUsage, Matching, Selector};
    use hickory_proto::rr::rdata::{A, CNAME, MX, TLSA, TXT};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn what_resolv_conf_says() {
        let found = servers(
            "# mine\nsearch x\nnameserver 192.0.2.1\nnameserver 2001:db8::1 \nnameserver x\n",
        );
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53"]);
        assert_eq!(servers("").len(), 1);
    }

    /// A server that knows one domain, and says some things over TCP alone.
    async fn server() -> SocketAddr {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).await.unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (octets, from) = udp.recv_from(&mut buffer).await.unwrap();
                let query = Message::from_vec(&buffer[..octets]).unwrap();
                // First what is no answer: it must be passed over.
                udp.send_to(b"nonsense", from).await.unwrap();
                let mut forged = answer(&query);
                forged.metadata.id = query.metadata.id.wrapping_add(1);
                udp.send_to(&forged.to_vec().unwrap(), from).await.unwrap();
                udp.send_to(&answer(&query).to_vec().unwrap(), from).await.unwrap();
            }
        });
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let length = stream.read_u16().await.unwrap();
                let mut buffer = vec![0; usize::from(length)];
                stream.read_exact(&mut buffer).await.unwrap();
                let query = Message::from_vec(&buffer).unwrap();
                let mut whole = answer(&query);
                whole.metadata.truncation = false;
                let whole = whole.to_vec().unwrap();
                stream.write_u16(u16::try_from(whole.len()).unwrap()).await.unwrap();
                stream.write_all(&whole).await.unwrap();
            }
        });
        address
    }

    fn answer(query: &Message) -> Message {
        let mut answer = Message::new(query.metadata.id, MessageType::Response, OpCode::Query);
        let asked = query.queries[0].clone();
        answer.add_query(asked.clone());
        // As our own resolver does: RFC 6840 section 5.8.
        answer.metadata.authentic_data = query.metadata.authentic_data;
        let host = Name::from_ascii("mx.example.org.").unwrap();
        let alias = Name::from_ascii("alias.example.org.").unwrap();
        match (asked.name.to_ascii().as_str(), asked.query_type) {
            ("example.org.", RecordType::MX) => {
                answer.metadata.truncation = true;
                answer.add_answer(Record::from_rdata(
                    asked.name.clone(),
                    60,
                    RData::MX(MX::new(10, host)),
                ));
            }
            ("mx.example.org.", RecordType::A) => {
                let address = RData::A(A::new(192, 0, 2, 1));
                answer.add_answer(Record::from_rdata(asked.name.clone(), 60, address));
            }
            ("www.example.org.", kind) => {
                let next = RData::CNAME(CNAME(alias.clone()));
                answer.add_answer(Record::from_rdata(asked.name.clone(), 60, next));
                let next = RData::CNAME(CNAME(host.clone()));
                answer.add_answer(Record::from_rdata(alias, 60, next));
                if kind == RecordType::A {
                    let address = RData::A(A::new(192, 0, 2, 1));
                    answer.add_answer(Record::from_rdata(host, 60, address));
                }
                // What nobody asked for.
                let other = Name::from_ascii("other.example.org.").unwrap();
                let address = RData::A(A::new(192, 0, 2, 66));
                answer.add_answer(Record::from_rdata(other, 60, address));
            }
            ("loop.example.org.", _) => {
                let next = RData::CNAME(CNAME(asked.name.clone()));
                answer.add_answer(Record::from_rdata(asked.name.clone(), 60, next));
            }
            ("_25._tcp.mx.example.org.", RecordType::TLSA) => {
                let tlsa =
                    TLSA::new(CertUsage::DaneEe, Selector::Spki, Matching::Sha256, vec![7; 32]);
                let tlsa = RData::TLSA(tlsa);
                answer.add_answer(Record::from_rdata(asked.name.clone(), 60, tlsa));
            }
            ("_mta-sts.example.org.", RecordType::TXT) => {
                let text = vec!["v=STSv1; ".to_owned(), "id=one".to_owned()];
                answer.add_answer(Record::from_rdata(
                    asked.name.clone(),
                    60,
                    RData::TXT(TXT::new(text)),
                ));
            }
            ("mx.example.org." | "plain.example.org.", _) => {}
            ("broken.example.org.", _) => answer.metadata.response_code = ResponseCode::ServFail,
            _ => answer.metadata.response_code = ResponseCode::NXDomain,
        }
        answer
    }

    #[tokio::test]
    async fn names_are_found() {
        let stub = Stub::new(vec![server().await]);
        let domain = |text: &str| Domain::parse(text).unwrap();
        let found = stub.exchanges(&domain("example.org")).await.unwrap();
        assert_eq!(found.records, [Exchange { preference: 10, host: "mx.example.org.".into() }]);
        let found = stub.addresses("mx.example.org").await.unwrap();
        assert_eq!(found.records, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        let found = stub.texts("_mta-sts.example.org").await.unwrap();
        assert_eq!(found, ["v=STSv1; id=one"]);
        let nothing = Answer { name: "plain.example.org".to_owned(), ..Answer::default() };
        assert_eq!(stub.exchanges(&domain("plain.example.org")).await, Ok(nothing));
        assert_eq!(stub.exchanges(&domain("none.example.org")).await, Err(LookupError::NoName));
        let failed = stub.exchanges(&domain("broken.example.org")).await.unwrap_err();
        assert!(matches!(failed, LookupError::Failed(_)), "{failed}");
    }

    #[tokio::test]
    async fn aliases_lead_to_their_end() {
        let stub = Stub::new(vec![server().await]);
        let found = stub.addresses("www.example.org").await.unwrap();
        assert_eq!(found.records, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(found.name, "mx.example.org");
        let found = stub.addresses("loop.example.org").await.unwrap();
        assert_eq!(found.records, Vec::<IpAddr>::new());
    }

    /// A server is believed that an answer is authentic if it is on this machine, and the operator says that it validates.
    #[tokio::test]
    async fn whose_word_counts() {
        let server = server().await;
        let wanted = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
        for (stub, secure) in
            [(Stub::new(vec![server]), false), (Stub::new(vec![server]).validating(), true)]
        {
            // The second time from what is known.
            for _ in 0..2 {
                let found = stub.associations("_25._tcp.mx.example.org").await.unwrap();
                assert_eq!((found.records, found.secure), (vec![wanted.clone()], secure));
                let found = stub.addresses("www.example.org").await.unwrap();
                assert_eq!(found.secure, secure);
                let domain = Domain::parse("example.org").unwrap();
                assert_eq!(stub.exchanges(&domain).await.unwrap().secure, secure);
            }
        }
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.metadata.authentic_data = true;
        let asked = name("example.org").unwrap();
        for believed in [false, true] {
            let (answer, _) = read(&message, &asked, RecordType::MX, believed).unwrap();
            assert_eq!(answer.unwrap().secure, believed, "whatever anybody else says");
        }
    }

    #[test]
    fn two_answers_about_one_host() {
        let answer = |records: usize, name: &str, secure| Answer {
            records: vec![RData::A(A::new(192, 0, 2, 1)); records],
            name: name.to_owned(),
            secure,
        };
        for (one, other, records, name, secure) in [
            (answer(1, "a", true), answer(2, "a", true), 3, "a", true),
            (answer(1, "a", true), answer(1, "a", false), 2, "a", false),
            (answer(1, "a", false), answer(1, "a", true), 2, "a", false),
            (answer(1, "a", true), answer(1, "b", true), 2, "a", false),
            (answer(0, "a", false), answer(1, "b", true), 1, "b", true),
            (answer(1, "a", true), answer(0, "b", false), 1, "a", true),
            (answer(0, "a", true), answer(0, "b", false), 0, "b", false),
        ] {
            let both = both(one, other);
            assert_eq!(
                (both.records.len(), both.name.as_str(), both.secure),
                (records, name, secure)
            );
        }
    }

    #[tokio::test]
    async fn nobody_to_ask() {
        let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let stub = Stub::new(vec![nobody]);
        assert!(matches!(stub.addresses("mx.example.org").await, Err(LookupError::Failed(_))));
    }
}
