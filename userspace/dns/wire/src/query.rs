//! Queries, parsed with limits, and what a malformed one deserves.

use crate::name;
use crate::octets::{Writer, u16_at};

/// Bytes of a message's header.
pub const HEADER: usize = 12;

/// Bytes of an OPT record without options (RFC 6891 section 6.1.2).
pub(crate) const OPT: usize = 11;

/// Most additional records of a query: OPT, and TSIG or SIG(0).
const MAX_ADDITIONAL: u16 = 2;

/// Most options in an OPT record; no client has reason to send more than a handful.
const MAX_OPTIONS: usize = 32;

pub(crate) const TYPE_OPT: u16 = 41;
pub(crate) const OPTION_COOKIE: u16 = 10;
pub(crate) const OPTION_EXTENDED_ERROR: u16 = 15;

pub(crate) const FLAG_QR: u16 = 1 << 15;
pub(crate) const FLAG_AA: u16 = 1 << 10;
pub(crate) const FLAG_TC: u16 = 1 << 9;
pub(crate) const FLAG_RD: u16 = 1 << 8;
pub(crate) const FLAG_RA: u16 = 1 << 7;
pub(crate) const FLAG_AD: u16 = 1 << 5;
pub(crate) const FLAG_CD: u16 = 1 << 4;
const OPCODE: u16 = 0xf << 11;

const FORMERR: u16 = 1;
const NOTIMP: u16 = 4;
const BADVERS: u16 = 16;

/// One question with all that its answer depends on. Borrows the packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Query<'a> {
    /// The id to answer with.
    pub id: u16,
    /// Recursion is desired.
    pub rd: bool,
    /// The client wants to hear whether the answer is authentic (RFC 6840 section 5.7).
    pub ad: bool,
    /// The client checks signatures by itself (RFC 4035 section 3.2.2).
    pub cd: bool,
    /// The question's bytes as sent, letter case included: name, type and class.
    pub question: &'a [u8],
    /// Type asked for.
    pub qtype: u16,
    /// Class asked for.
    pub qclass: u16,
    /// What the OPT record says, if there is one.
    pub edns: Option<Edns>,
}

/// The OPT record of a query (RFC 6891).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Edns {
    /// Bytes that the client takes over UDP, at least 512.
    pub udp_payload: u16,
    /// The client wants signatures (RFC 3225).
    pub dnssec_ok: bool,
    /// Version; 0, for all others are refused.
    pub version: u8,
    /// The first cookie option.
    pub cookie: Option<ClientCookie>,
    /// There are options besides cookies.
    pub other_options: bool,
}

/// A cookie option as it comes from a client (RFC 7873 section 4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientCookie {
    /// The client's part.
    pub client: [u8; 8],
    server: [u8; 32],
    server_len: u8,
}

impl ClientCookie {
    /// Takes an option's data: 8 bytes from the client, alone or followed by 8 to 32 from a server.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let (&client, rest) = data.split_first_chunk()?;
        let mut server = [0; 32];
        if !rest.is_empty() {
            (rest.len() >= 8).then_some(())?;
            server.get_mut(..rest.len())?.copy_from_slice(rest);
        }
        Some(Self { client, server, server_len: u8::try_from(rest.len()).ok()? })
    }

    /// The server's part, if the client has learned one: 8 to 32 bytes.
    pub fn server(&self) -> Option<&[u8]> {
        self.server.get(..usize::from(self.server_len)).filter(|part| !part.is_empty())
    }
}

impl<'a> Query<'a> {
    /// Takes a whole packet.
    pub fn parse(packet: &'a [u8]) -> Result<Self, Malformed> {
        let Some(header) = packet.first_chunk::<HEADER>() else { return Err(Malformed::SILENCE) };
        let [id_1, id_2, flags_1, flags_2, counts @ ..] = header;
        let flags = u16::from_be_bytes([*flags_1, *flags_2]);
        if flags & FLAG_QR != 0 {
            // An answer to an answer is how two servers begin to talk for ever.
            return Err(Malformed::SILENCE);
        }
        if flags & OPCODE != 0 {
            return Err(Malformed::with(NOTIMP));
        }
        let [0, 1, 0, 0, 0, 0, additional_1, additional_2] = *counts else {
            return Err(Malformed::with(FORMERR));
        };
        let additional = u16::from_be_bytes([additional_1, additional_2]);
        if additional > MAX_ADDITIONAL {
            return Err(Malformed::with(FORMERR));
        }

        let parsed = question(packet);
        let Some((question, qtype, qclass)) = parsed else {
            return Err(Malformed::with(FORMERR));
        };
        let question_end = HEADER + question.len();
        let mut seen = OptSeen::default();
        let flaw = |rcode, seen: OptSeen| Malformed {
            rcode: Some(rcode),
            question_end,
            dnssec_ok: seen.dnssec_ok,
        };
        let edns = match walk_additional(packet, question_end, additional, &mut seen) {
            Some(edns) => edns,
            None => return Err(flaw(FORMERR, seen)),
        };
        if edns.is_some_and(|edns| edns.version != 0) {
            return Err(flaw(BADVERS, seen));
        }
        Ok(Self {
            id: u16::from_be_bytes([*id_1, *id_2]),
            rd: flags & FLAG_RD != 0,
            ad: flags & FLAG_AD != 0,
            cd: flags & FLAG_CD != 0,
            question,
            qtype,
            qclass,
            edns,
        })
    }

    /// The name asked for, in wire form and the client's letter case.
    pub fn name(&self) -> &'a [u8] {
        self.question.split_last_chunk::<4>().map_or(&[0], |(name, _)| name)
    }

    /// Where the question ends in the packet, in bytes from its beginning.
    pub fn question_end(&self) -> usize {
        HEADER + self.question.len()
    }

    /// Whether signatures are wanted.
    pub fn dnssec_ok(&self) -> bool {
        self.edns.is_some_and(|edns| edns.dnssec_ok)
    }

    /// The cookie that came along.
    pub fn cookie(&self) -> Option<ClientCookie> {
        self.edns?.cookie
    }
}

/// The question, its type and class.
fn question(packet: &[u8]) -> Option<(&[u8], u16, u16)> {
    let rest = packet.get(HEADER..)?;
    let length = name::wire_len(rest)?;
    let qtype = u16_at(rest, length)?;
    let qclass = u16_at(rest, length + 2)?;
    Some((rest.get(..length + 4)?, qtype, qclass))
}

/// What an answer to a malformed query must know of its OPT record.
#[derive(Clone, Copy, Default)]
struct OptSeen {
    /// The DO bit, if there is an OPT record at all.
    dnssec_ok: Option<bool>,
}

/// Walks the additional records to the very end of the packet; none if they are malformed.
fn walk_additional(
    packet: &[u8],
    mut at: usize,
    count: u16,
    seen: &mut OptSeen,
) -> Option<Option<Edns>> {
    let mut edns = None;
    for _ in 0..count {
        let fixed = name::skip(packet, at)?;
        let rtype = u16_at(packet, fixed)?;
        let class = u16_at(packet, fixed + 2)?;
        let extended = u16_at(packet, fixed + 4)?;
        let flags = u16_at(packet, fixed + 6)?;
        let length = usize::from(u16_at(packet, fixed + 8)?);
        let data_at = fixed + 10;
        if rtype == TYPE_OPT {
            if edns.is_some() || fixed != at + 1 {
                return None;
            }
            seen.dnssec_ok = Some(flags & 1 << 15 != 0);
        }
        let data = packet.get(data_at..data_at + length)?;
        if rtype == TYPE_OPT {
            let [_, version] = extended.to_be_bytes();
            let mut parsed = Edns {
                udp_payload: class.max(512),
                dnssec_ok: flags & 1 << 15 != 0,
                version,
                cookie: None,
                other_options: false,
            };
            // Another version may well have another form of options (RFC 6891 section 6.1.3).
            if version == 0 {
                parsed.take_options(data)?;
            }
            edns = Some(parsed);
        }
        at = data_at + length;
    }
    (at == packet.len()).then_some(edns)
}

impl Edns {
    fn take_options(&mut self, mut rest: &[u8]) -> Option<()> {
        for _ in 0..MAX_OPTIONS {
            if rest.is_empty() {
                return Some(());
            }
            let code = u16_at(rest, 0)?;
            let length = usize::from(u16_at(rest, 2)?);
            let data = rest.get(4..4 + length)?;
            match code {
                // Only the first counts (RFC 7873 section 4), and a malformed one is a malformed query
                // (section 5.2.2).
                OPTION_COOKIE if self.cookie.is_none() => {
                    self.cookie = Some(ClientCookie::parse(data)?);
                }
                OPTION_COOKIE => {}
                _ => self.other_options = true,
            }
            rest = rest.get(4 + length..)?;
        }
        rest.is_empty().then_some(())
    }
}

/// A packet that is no query that can be answered, with what it deserves.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", match self.rcode {
    None => "not a query",
    Some(FORMERR) => "a malformed query (FORMERR)",
    Some(NOTIMP) => "an operation that is not implemented (NOTIMP)",
    Some(_) => "a version of EDNS that is not known (BADVERS)",
})]
pub struct Malformed {
    rcode: Option<u16>,
    /// 0 if the question could not be read.
    question_end: usize,
    /// The DO bit of the OPT record, if there is one.
    dnssec_ok: Option<bool>,
}

impl Malformed {
    const SILENCE: Self = Self { rcode: None, question_end: 0, dnssec_ok: None };

    fn with(rcode: u16) -> Self {
        Self { rcode: Some(rcode), ..Self::SILENCE }
    }

    /// What to answer: 1 (FORMERR), 4 (NOTIMP) or 16 (BADVERS); none if it deserves silence, being a response or
    /// too short for a header.
    pub fn rcode(&self) -> Option<u16> {
        self.rcode
    }

    /// Writes the answer to `packet`, the one that was parsed, and gives its length: the header, the question and
    /// a bare OPT record as far as the packet has them, so it is never longer than the packet. None if the packet
    /// deserves silence, or `out` is too small.
    pub fn reply(&self, packet: &[u8], out: &mut [u8]) -> Option<usize> {
        let rcode = self.rcode?;
        let asked = u16_at(packet, 2)?;
        let kept = asked & (OPCODE | FLAG_RD | FLAG_CD);
        let mut out = Writer::new(out);
        out.put_u16(u16_at(packet, 0)?)?;
        out.put_u16(FLAG_QR | FLAG_RA | kept | rcode & 0xf)?;
        out.put_u16(u16::from(self.question_end > 0))?;
        out.put(&[0; 4])?;
        out.put_u16(u16::from(self.dnssec_ok.is_some()))?;
        if self.question_end > 0 {
            out.put(packet.get(HEADER..self.question_end)?)?;
        }
        if let Some(dnssec_ok) = self.dnssec_ok {
            let opt = crate::answer::opt::Opt::bare(rcode, dnssec_ok);
            opt.write(&mut out, false)?;
        }
        Some(out.written())
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Edns as HickoryEdns, Message, MessageType, OpCode, Query as Question};
    use hickory_proto::rr::rdata::opt::EdnsOption;
    use hickory_proto::rr::{DNSClass, Name as HickoryName, RecordType};
    use proptest::prelude::*;

    use super::*;

    const ID: &[u8] = &[0x12, 0x34];

    /// A packet with these flags, counts and bytes behind the header.
    fn packet(flags: u16, counts: [u16; 4], rest: &[&[u8]]) -> Vec<u8> {
        let mut bytes = [ID, &flags.to_be_bytes()].concat();
        for count in counts {
            bytes.extend(count.to_be_bytes());
        }
        bytes.extend(rest.concat());
        bytes
    }

    fn opt(owner: &[u8], payload: u16, ttl: u32, options: &[u8]) -> Vec<u8> {
        let mut bytes = owner.to_vec();
        bytes.extend(TYPE_OPT.to_be_bytes());
        bytes.extend(payload.to_be_bytes());
        bytes.extend(ttl.to_be_bytes());
        bytes.extend((options.len() as u16).to_be_bytes());
        bytes.extend(options);
        bytes
    }

    const QUESTION: &[u8] = b"\x03wWw\x07eXample\x03com\0\0\x01\0\x01";
    const TSIG: &[u8] = b"\x03key\0\0\xfa\0\xff\0\0\0\0\0\x02ab";

    #[test]
    fn queries_are_read() {
        let plain = packet(0x0130, [1, 0, 0, 0], &[QUESTION]);
        let query = Query::parse(&plain).unwrap();
        assert_eq!((query.id, query.rd, query.ad, query.cd), (0x1234, true, true, true));
        assert_eq!((query.question, query.qtype, query.qclass), (QUESTION, 1, 1));
        assert_eq!(query.name(), b"\x03wWw\x07eXample\x03com\0");
        assert_eq!((query.question_end(), query.edns), (33, None));

        let root = packet(0, [1, 0, 0, 0], &[b"\0\0\x02\0\x01"]);
        assert_eq!(Query::parse(&root).unwrap().name(), b"\0");

        let cookie = b"\0\x0a\0\x08abcdefgh\0\x03\0\0\0\x0a\0\x01x";
        let full = b"\0\x0a\0\x10abcdefgh12345678";
        let cases: [(Vec<Vec<u8>>, Edns); 5] = [
            (vec![opt(b"\0", 100, 0, b"")], edns(512, false, None, false)),
            (vec![opt(b"\0", 4096, 0x8000, b"")], edns(4096, true, None, false)),
            (
                vec![TSIG.to_vec(), opt(b"\0", 1232, 0, cookie)],
                edns(1232, false, Some(b"abcdefgh"), true),
            ),
            (
                vec![opt(b"\0", 1232, 0, full), TSIG.to_vec()],
                edns(1232, false, Some(b"abcdefgh12345678"), false),
            ),
            (vec![opt(b"\0", 1232, 0xff00_0000, b"")], edns(1232, false, None, false)),
        ];
        for (records, expected) in cases {
            let bytes = packet(0, [1, 0, 0, records.len() as u16], &[QUESTION, &records.concat()]);
            assert_eq!(Query::parse(&bytes).unwrap().edns, Some(expected));
        }
        let with_tsig = packet(0, [1, 0, 0, 1], &[QUESTION, TSIG]);
        assert_eq!(Query::parse(&with_tsig).unwrap().edns, None);
    }

    fn edns(udp_payload: u16, dnssec_ok: bool, cookie: Option<&[u8]>, other: bool) -> Edns {
        let cookie = cookie.map(|data| ClientCookie::parse(data).unwrap());
        Edns { udp_payload, dnssec_ok, version: 0, cookie, other_options: other }
    }

    #[test]
    fn malformed_ones_get_what_they_deserve() {
        let options = |option: &[u8]| opt(b"\0", 1232, 0x8000, option);
        let with = |record: &[u8]| packet(0x0100, [1, 0, 0, 1], &[QUESTION, record]);
        let long = [&[63_u8][..], &[b'a'; 63]].concat().repeat(4);
        let fitting = [&long[..192], &[61], &[b'a'; 61][..], &[0, 0, 1, 0, 1]].concat();
        assert!(Query::parse(&packet(0, [1, 0, 0, 0], &[&fitting])).is_ok());
        let header_only = Some(HEADER);
        let question = Some(33);
        let with_opt = Some(33 + OPT);
        // What it is, the packet, the code to answer with, and the length of the answer.
        type Case = (&'static str, Vec<u8>, Option<u16>, Option<usize>);
        let cases: Vec<Case> = vec![
            ("nothing", vec![], None, None),
            ("short", vec![0; 11], None, None),
            ("response", packet(FLAG_QR, [1, 0, 0, 0], &[QUESTION]), None, None),
            ("bad response", packet(FLAG_QR | 0x2800, [9; 4], &[]), None, None),
            ("notify", packet(4 << 11, [1, 0, 0, 0], &[QUESTION]), Some(4), header_only),
            ("update", packet(5 << 11, [9; 4], &[]), Some(4), header_only),
            ("no question", packet(0, [0; 4], &[]), Some(1), header_only),
            ("two questions", packet(0, [2, 0, 0, 0], &[QUESTION, QUESTION]), Some(1), header_only),
            ("an answer", packet(0, [1, 1, 0, 0], &[QUESTION]), Some(1), header_only),
            ("an authority", packet(0, [1, 0, 1, 0], &[QUESTION]), Some(1), header_only),
            ("three additional", packet(0, [1, 0, 0, 3], &[QUESTION]), Some(1), header_only),
            ("question cut", packet(0, [1, 0, 0, 0], &[&QUESTION[..20]]), Some(1), header_only),
            (
                "compressed",
                packet(0, [1, 0, 0, 0], &[b"\xc0\x0c\0\x01\0\x01"]),
                Some(1),
                header_only,
            ),
            (
                "label type",
                packet(0, [1, 0, 0, 0], &[b"\x41a\0\0\x01\0\x01"]),
                Some(1),
                header_only,
            ),
            (
                "name of 256",
                packet(0, [1, 0, 0, 0], &[&long[..192], &[62], &[b'a'; 62], &[0, 0, 1, 0, 1]]),
                Some(1),
                header_only,
            ),
            ("junk", packet(0, [1, 0, 0, 0], &[QUESTION, b"x"]), Some(1), question),
            ("record missing", packet(0, [1, 0, 0, 1], &[QUESTION]), Some(1), question),
            ("record cut", with(&options(b"")[..8]), Some(1), question),
            ("junk after OPT", with(&[&options(b"")[..], b"x"].concat()), Some(1), with_opt),
            ("owner of OPT", with(&opt(b"\x01a\0", 1232, 0, b"")), Some(1), question),
            ("owner a pointer", with(&opt(b"\xc0\x20", 1232, 0, b"")), Some(1), question),
            (
                "OPT twice",
                packet(0, [1, 0, 0, 2], &[QUESTION, &options(b""), &options(b"")]),
                Some(1),
                with_opt,
            ),
            ("OPT longer", with(b"\0\0\x29\x10\0\0\0\0\0\0\x09abc"), Some(1), with_opt),
            ("option cut", with(&options(b"\0\x0a\0")), Some(1), with_opt),
            ("option longer", with(&options(b"\0\x0a\0\x09abcdefgh")), Some(1), with_opt),
            ("cookie of 7", with(&options(b"\0\x0a\0\x07abcdefg")), Some(1), with_opt),
            ("cookie of 9", with(&options(b"\0\x0a\0\x09abcdefghi")), Some(1), with_opt),
            (
                "cookie of 41",
                with(&options(&[&[0, 10, 0, 41][..], &[7; 41]].concat())),
                Some(1),
                with_opt,
            ),
            ("33 options", with(&options(&[0, 3, 0, 0].repeat(33))), Some(1), with_opt),
            ("version 1", with(&opt(b"\0", 1232, 0x1_8000, b"strange")), Some(16), with_opt),
        ];
        for (what, bytes, rcode, length) in cases {
            let malformed = Query::parse(&bytes).expect_err(what);
            assert_eq!(malformed.rcode(), rcode, "{what}");
            let mut out = [0; 512];
            let written = malformed.reply(&bytes, &mut out);
            assert_eq!(written, length, "{what}");
            let Some(written) = written else { continue };
            assert!(written <= bytes.len(), "{what}");
            let message = Message::from_vec(&out[..written]).expect(what);
            assert_eq!(message.metadata.id, 0x1234, "{what}");
            assert_eq!(message.metadata.message_type, MessageType::Response);
            assert_eq!(u16::from(message.metadata.response_code), rcode.unwrap(), "{what}");
            if what == "version 1" {
                let edns = message.edns.expect(what);
                assert!(edns.flags().dnssec_ok && edns.version() == 0, "{what}");
            }
            for room in 0..written {
                assert_eq!(malformed.reply(&bytes, &mut out[..room]), None, "{what}");
            }
        }
        let most = with(&options(&[0, 3, 0, 0].repeat(32)));
        assert!(Query::parse(&most).unwrap().edns.unwrap().other_options);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            crate::fuzzing::query(&bytes);
        }

        #[test]
        fn what_hickory_encodes_is_read_the_same(
            id: u16, rd: bool, ad: bool, cd: bool, qtype in 1_u16..300,
            labels in prop::collection::vec("[a-zA-Z0-9_-]{1,20}", 0..8),
            edns in prop::option::of((any::<u16>(), any::<bool>(), prop::option::of(any::<[u8; 24]>()))),
        ) {
            let name = HickoryName::from_labels(labels.iter().map(|label| label.as_bytes())).unwrap();
            let mut message = Message::new(id, MessageType::Query, OpCode::Query);
            message.metadata.recursion_desired = rd;
            message.metadata.authentic_data = ad;
            message.metadata.checking_disabled = cd;
            let mut question = Question::query(name.clone(), RecordType::from(qtype));
            question.set_query_class(DNSClass::IN);
            message.add_query(question);
            if let Some((payload, dnssec_ok, cookie)) = edns {
                let mut opt = HickoryEdns::new();
                opt.set_max_payload(payload).set_dnssec_ok(dnssec_ok);
                if let Some(cookie) = cookie {
                    opt.options_mut().insert(EdnsOption::Unknown(10, cookie.to_vec()));
                }
                message.set_edns(opt);
            }
            let bytes = message.to_vec().unwrap();
            let query = Query::parse(&bytes).unwrap();
            prop_assert_eq!((query.id, query.rd, query.ad, query.cd), (id, rd, ad, cd));
            prop_assert_eq!((query.qtype, query.qclass), (qtype, 1));
            let shown = crate::Name::from_wire(query.name()).unwrap().to_string();
            let expected: crate::Name = name.to_ascii().parse().unwrap();
            prop_assert_eq!(shown, expected.to_string());
            prop_assert_eq!(query.edns.is_some(), edns.is_some());
            if let (Some(ours), Some((payload, dnssec_ok, cookie))) = (query.edns, edns) {
                prop_assert_eq!(ours.udp_payload, payload.max(512));
                prop_assert_eq!(ours.dnssec_ok, dnssec_ok);
                let whole = ours.cookie.map(|ours| [&ours.client, ours.server().unwrap()].concat());
                prop_assert_eq!(whole, cookie.map(Vec::from));
                prop_assert!(!ours.other_options);
            }
            crate::fuzzing::query(&bytes);
        }
    }
}
