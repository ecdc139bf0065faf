//! DNS queries (RFC 1035), right and wrong ones.

/// Type A: an IPv4 address.
pub const TYPE_A: u16 = 1;
/// Type TXT: text.
pub const TYPE_TXT: u16 = 16;
/// Type AAAA: an IPv6 address.
pub const TYPE_AAAA: u16 = 28;
/// Type ANY: whatever there is.
pub const TYPE_ANY: u16 = 255;

/// Length of the header, in bytes.
pub const HEADER: usize = 12;
/// Header flag: this is a response.
pub const FLAG_RESPONSE: u16 = 0x8000;
/// Header flag: the response was truncated.
pub const FLAG_TRUNCATED: u16 = 0x0200;
/// Header flag: recursion is desired.
pub const FLAG_RECURSION: u16 = 0x0100;

/// A query with one question.
#[derive(Clone, Debug)]
pub struct Query {
    id: u16,
    flags: u16,
    /// Questions, answers, authorities, additional records, as the header says.
    counts: [u16; 4],
    name: Vec<u8>,
    kind: u16,
    class: u16,
    edns: Option<u16>,
}

impl Query {
    /// A query with recursion desired, class IN, for a name in dotted form.
    pub fn new(name: &str, kind: u16) -> Self {
        Self {
            id: 0x4d55,
            flags: FLAG_RECURSION,
            counts: [1, 0, 0, 0],
            name: wire_name(name),
            kind,
            class: 1,
            edns: None,
        }
    }

    /// The message's identifier.
    pub fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    /// All 16 bits of flags, opcode and response code.
    pub fn flags(mut self, flags: u16) -> Self {
        self.flags = flags;
        self
    }

    /// The header's counts of questions, answers, authorities and additional records, whatever
    /// there is.
    pub fn counts(mut self, counts: [u16; 4]) -> Self {
        self.counts = counts;
        self
    }

    /// The question's class.
    pub fn class(mut self, class: u16) -> Self {
        self.class = class;
        self
    }

    /// The question's name as it goes over the wire, whatever it is.
    pub fn raw_name(mut self, name: &[u8]) -> Self {
        self.name = name.to_vec();
        self
    }

    /// An OPT record (RFC 6891) that offers this UDP payload size.
    pub fn edns(mut self, size: u16) -> Self {
        self.edns = Some(size);
        self.counts = [1, 0, 0, 1];
        self
    }

    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = self.id.to_be_bytes().to_vec();
        message.extend(self.flags.to_be_bytes());
        message.extend(self.counts.iter().flat_map(|count| count.to_be_bytes()));
        message.extend(self.question());
        if let Some(size) = self.edns {
            message.extend([0, 0, 41]);
            message.extend(size.to_be_bytes());
            message.extend([0; 6]);
        }
        message
    }

    /// The message as it goes over TCP: its length before it (RFC 1035 section 4.2.2).
    pub fn encode_for_tcp(&self) -> Vec<u8> {
        let message = self.encode();
        [&(message.len() as u16).to_be_bytes()[..], &message].concat()
    }

    /// The question section: name, type and class.
    pub fn question(&self) -> Vec<u8> {
        [&self.name[..], &self.kind.to_be_bytes(), &self.class.to_be_bytes()].concat()
    }
}

impl From<Query> for Vec<u8> {
    fn from(query: Query) -> Self {
        query.encode()
    }
}

/// A name in wire form; labels beyond 63 bytes are cut there.
pub fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = label.as_bytes();
        let label = label.get(..63).unwrap_or(label);
        wire.push(label.len() as u8);
        wire.extend(label);
    }
    wire.push(0);
    wire
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, wire) in [
            ("", &b"\0"[..]),
            (".", b"\0"),
            ("org.", b"\x03org\0"),
            ("a.lab.test", b"\x01a\x03lab\x04test\0"),
        ] {
            assert_eq!(wire_name(name), wire, "{name:?}");
        }
    }

    #[test]
    fn a_query() {
        let query = Query::new("a.", TYPE_A).id(0x0102).edns(1_232);
        let expected = [
            &b"\x01\x02\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01"[..],
            b"\x01a\0\0\x01\0\x01",
            b"\0\0\x29\x04\xd0\0\0\0\0\0\0",
        ]
        .concat();
        assert_eq!(query.encode(), expected);
        assert_eq!(query.encode_for_tcp()[..2], [0, 30]);
    }
}
