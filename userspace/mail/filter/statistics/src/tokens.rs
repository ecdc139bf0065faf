//! Taking a message to pieces: words, links, addresses, tags, how it is written, and pairs of words.
//!
//! A piece is known by where it stood and what it says, in small letters. Numbers that nobody will ever write again are kept
//! by their shape.

use crate::hash::Key;
use crate::parameters::Parameters;
use crate::text::{FIELDS, Field, PERSONAL_FIELDS, Text, Treatment};

/// Longest word in octets, of those that are kept as they are.
const LONGEST_WORD: usize = 30;

/// As much of a value as is read.
const LONGEST_VALUE: usize = 1024;

/// Pieces that are kept for what is said of the whole message, however long it is.
const MEASURES: usize = 32;

/// Names that other stages may give.
const MOST_EXTRA: usize = 256;

/// Words back to which a word is paired, at most.
pub(crate) const WIDEST: usize = 4;

/// Where a piece stood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Origin {
    /// In the text.
    Body,
    /// In the text, in capitals.
    Capitals,
    /// In an address within the text.
    Address,
    /// In a link.
    Link,
    /// The name of a tag.
    Tag,
    /// An attribute of a tag.
    Attribute,
    /// A measure of the whole message.
    Measure,
    /// Another stage.
    Extra,
    /// The name of a header field, as it is written.
    Name,
    /// Two header fields, one behind the other.
    Order,
    /// In the value of a header field.
    Value(u8),
    /// Like it, in capitals.
    Loud(u8),
}

impl Origin {
    /// What a hash begins with.
    const fn octet(self) -> u8 {
        match self {
            Self::Body => 1,
            Self::Capitals => 2,
            Self::Address => 3,
            Self::Link => 4,
            Self::Tag => 5,
            Self::Attribute => 6,
            Self::Measure => 7,
            Self::Extra => 8,
            Self::Name => 9,
            Self::Order => 10,
            Self::Value(field) => 32 + field,
            Self::Loud(field) => 128 + field,
        }
    }

    const fn loud(self) -> Self {
        match self {
            Self::Value(field) | Self::Loud(field) => Self::Loud(field),
            _ => Self::Capitals,
        }
    }

    /// Whether users have opinions of it: who sends, what about, where it leads.
    pub(crate) fn is_personal(self) -> bool {
        match self {
            Self::Link | Self::Extra => true,
            Self::Value(field) => usize::from(field) < PERSONAL_FIELDS,
            _ => false,
        }
    }

    /// What people are told in front of the piece.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Body | Self::Extra => "",
            Self::Capitals => "capitals",
            Self::Address => "address",
            Self::Link => "link",
            Self::Tag => "tag",
            Self::Attribute => "attribute",
            Self::Measure => "measure",
            Self::Name => "header",
            Self::Order => "headers",
            Self::Value(field) | Self::Loud(field) => {
                FIELDS.get(usize::from(field)).map_or("", |field| field.name)
            }
        }
    }
}

/// What takes the pieces.
pub(crate) trait Sink {
    /// A piece. Its text is in small letters.
    fn single(&mut self, hash: u64, origin: Origin, text: &[u8]);
    /// Two pieces, the second of which stands `back` words behind the first.
    fn pair(&mut self, hash: u64, of: [u64; 2], back: usize);
}

/// Takes a message to pieces.
pub(crate) fn read<S: Sink>(
    key: &Key,
    parameters: &Parameters,
    text: &Text<'_>,
    buffer: &mut Vec<u8>,
    sink: &mut S,
) {
    let most = usize::from(parameters.most_tokens);
    let measures = MEASURES.min(most);
    let mut reader = Reader {
        key,
        buffer,
        sink,
        left: most - measures,
        window: 0,
        previous: [0; WIDEST],
        counted: Counted::default(),
    };
    reader.bytes(Origin::Measure, b"any");
    for name in text.extra.iter().take(MOST_EXTRA) {
        reader.bytes(Origin::Extra, cut(name, 64).as_bytes());
    }
    reader.header(text, usize::from(parameters.header_window));
    reader.window = usize::from(parameters.body_window).min(WIDEST);
    reader.begin();
    let for_markup = reader.left / 4;
    reader.left -= for_markup;
    reader.text(Origin::Body, cut(text.body, parameters.most_body as usize));
    let counted = reader.counted;
    reader.begin();
    reader.text(Origin::Body, cut(text.clear, parameters.most_body as usize));
    reader.counted = counted;
    reader.window = 0;
    reader.left += for_markup;
    reader.markup(cut(text.markup, parameters.most_markup as usize));
    reader.left += measures;
    reader.measures(text);
}

/// The beginning of a text.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

/// What is counted on the way.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    words: u32,
    capitals: u32,
    long: u32,
    links: u32,
    addresses: u32,
    exclamations: u32,
    numbers: u32,
    foreign: u32,
}

struct Reader<'a, S> {
    key: &'a Key,
    buffer: &'a mut Vec<u8>,
    sink: &'a mut S,
    /// Pieces that may still be given.
    left: usize,
    /// Words back to which words are paired.
    window: usize,
    /// Hashes of the words before, the last one first; zero where there is none.
    previous: [u64; WIDEST],
    counted: Counted,
}

impl<S: Sink> Reader<'_, S> {
    /// Nothing stands before the next word.
    fn begin(&mut self) {
        self.previous = [0; WIDEST];
    }

    /// A piece whose letters are small already, or shall stay as they are.
    fn bytes(&mut self, origin: Origin, bytes: &[u8]) -> u64 {
        self.buffer.clear();
        self.buffer.push(origin.octet());
        self.buffer.extend_from_slice(bytes);
        self.give(origin)
    }

    /// A piece in small letters.
    fn small(&mut self, origin: Origin, text: &str) -> u64 {
        self.fill(origin, text);
        self.give(origin)
    }

    fn fill(&mut self, origin: Origin, text: &str) {
        self.buffer.clear();
        self.buffer.push(origin.octet());
        if text.is_ascii() {
            self.buffer.extend(text.bytes().map(|byte| byte.to_ascii_lowercase()));
        } else {
            let mut encoded = [0; 4];
            for letter in text.chars().flat_map(char::to_lowercase) {
                self.buffer.extend_from_slice(letter.encode_utf8(&mut encoded).as_bytes());
            }
        }
    }

    /// Gives what is in the buffer.
    fn give(&mut self, origin: Origin) -> u64 {
        let hash = self.key.word(self.buffer);
        if self.left > 0 {
            self.left -= 1;
            self.sink.single(hash, origin, self.buffer.get(1..).unwrap_or_default());
        }
        hash
    }

    /// A word among words.
    fn word(&mut self, origin: Origin, text: &str) {
        if text.len() > LONGEST_WORD {
            return self.long(origin, text);
        }
        let mut letters = 0_usize;
        let mut capitals = 0_usize;
        let mut digits = 0_usize;
        for byte in text.bytes() {
            letters += usize::from(byte.is_ascii_alphabetic());
            capitals += usize::from(byte.is_ascii_uppercase());
            digits += usize::from(byte.is_ascii_digit());
        }
        self.counted.words += 1;
        if digits > 0 {
            self.counted.numbers += 1;
            self.shape(origin, text);
            if digits > 6 {
                return;
            }
        }
        let hash = self.small(origin, text);
        for back in 1..=self.window {
            let Some(&first) = self.previous.get(back - 1).filter(|&&first| first != 0) else {
                break;
            };
            if self.left == 0 {
                break;
            }
            self.left -= 1;
            let pair = self.key.pair(first, hash, back as u64);
            self.sink.pair(pair, [first, hash], back);
        }
        self.previous.rotate_right(1);
        if let Some(last) = self.previous.first_mut() {
            *last = hash;
        }
        if capitals > 1 && capitals == letters {
            self.counted.capitals += 1;
            self.small(origin.loud(), text);
        }
        if letters > 2 && text.contains(['-', '.', '_', '\'']) {
            for part in text.split(['-', '.', '_', '\'']).filter(|part| part.len() > 2) {
                self.small(origin, part);
            }
        }
    }

    /// A word that is too long to be met again.
    fn long(&mut self, origin: Origin, text: &str) {
        self.counted.long += 1;
        let first = text.bytes().next().unwrap_or_default().to_ascii_lowercase();
        let length = u8::try_from(text.len() / 10).unwrap_or(u8::MAX).min(20);
        self.bytes(origin, &[b'~', first, b'a' + length]);
        for part in
            text.split(['-', '.', '_']).filter(|part| (3..=LONGEST_WORD).contains(&part.len()))
        {
            self.small(origin, part);
        }
    }

    /// How something is composed: every run of digits is a 9, of letters an a or A.
    fn shape(&mut self, origin: Origin, text: &str) {
        self.buffer.clear();
        self.buffer.extend_from_slice(&[origin.octet(), b'#']);
        let mut last = 0;
        for byte in text.bytes().take(64) {
            let class = match byte {
                b'0'..=b'9' => b'9',
                b'a'..=b'z' => b'a',
                b'A'..=b'Z' => b'A',
                0x80.. => b'@',
                other => other,
            };
            if class != last || !class.is_ascii_alphanumeric() {
                self.buffer.push(class);
            }
            last = class;
        }
        self.buffer.truncate(26);
        self.give(origin);
    }

    /// Running text.
    fn text(&mut self, origin: Origin, text: &str) {
        for chunk in text.split(|letter: char| letter <= ' ' || letter == '\u{a0}') {
            if self.left == 0 {
                return;
            }
            if !chunk.is_empty() {
                self.chunk(origin, cut(chunk, LONGEST_VALUE));
            }
        }
    }

    /// What stands between two spaces.
    fn chunk(&mut self, origin: Origin, chunk: &str) {
        if let Some(at) = chunk.find("://") {
            let (before, rest) = chunk.split_at(at);
            let scheme = before.rfind(|c: char| !c.is_ascii_alphabetic()).map_or(0, |at| at + 1);
            self.words(origin, before.get(..scheme).unwrap_or_default());
            let rest = rest.get(3..).unwrap_or_default();
            let end = rest.find(['"', '\'', '<', '>', ')', ']']).unwrap_or(rest.len());
            self.link(
                before.get(scheme..).unwrap_or_default(),
                rest.get(..end).unwrap_or_default(),
            );
            return;
        }
        if chunk.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("www.")) {
            return self.link("", chunk.trim_end_matches(|c: char| !c.is_alphanumeric()));
        }
        if let Some((local, domain)) = chunk.split_once('@')
            && !local.is_empty()
            && domain.contains('.')
        {
            return self.address(origin, local, domain);
        }
        self.words(origin, chunk);
    }

    fn words(&mut self, origin: Origin, chunk: &str) {
        let mut rest = chunk;
        while let Some(start) = rest.find(in_word) {
            self.marks(origin, rest.get(..start).unwrap_or_default());
            rest = rest.get(start..).unwrap_or_default();
            let end = rest.find(|letter| !in_word(letter)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(end);
            rest = behind;
            let word = word.trim_matches(['\'', '-', '.', '_']);
            if word.chars().next().is_some_and(without_spaces) {
                self.syllables(origin, word);
            } else if !word.is_empty() {
                self.word(origin, word);
                if behind.starts_with('!') && word.len() < LONGEST_WORD {
                    self.fill(origin, word);
                    self.buffer.push(b'!');
                    self.give(origin);
                }
            }
        }
        self.marks(origin, rest);
    }

    /// Signs that stand between words: the same one again and again says something.
    fn marks(&mut self, origin: Origin, marks: &str) {
        self.counted.exclamations += marks.bytes().filter(|&byte| byte == b'!').count() as u32;
        if marks.len() < 2 {
            return;
        }
        let mut bytes = marks.bytes().peekable();
        while let Some(first) = bytes.next() {
            let mut run = 1_u8;
            while bytes.next_if_eq(&first).is_some() {
                run = run.saturating_add(1);
            }
            if run > 1 && first.is_ascii() {
                let length = b'0' + (8 - run.leading_zeros() as u8);
                self.bytes(origin, &[first, first, length]);
            }
        }
    }

    /// Text of a script that has no spaces: every two letters are a word.
    fn syllables(&mut self, origin: Origin, text: &str) {
        let mut last: Option<usize> = None;
        for (at, letter) in text.char_indices() {
            self.counted.foreign += 1;
            if let Some(word) = last.and_then(|last| text.get(last..at + letter.len_utf8())) {
                self.counted.words += 1;
                self.small(origin, word);
            }
            last = Some(at);
        }
    }

    /// A link, without its scheme.
    fn link(&mut self, scheme: &str, rest: &str) {
        let origin = Origin::Link;
        self.counted.links += 1;
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host = match authority.rsplit_once('@') {
            Some((_, host)) => {
                self.bytes(origin, b"user@");
                host
            }
            None => authority,
        };
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        };
        if !scheme.is_empty() {
            self.fill(origin, cut(scheme, 12));
            self.buffer.push(b':');
            self.give(origin);
        }
        if port.is_some_and(|port| !port.is_empty() && port != "80" && port != "443") {
            self.bytes(origin, b":port");
        }
        if !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            self.bytes(origin, b"#number");
        }
        self.host(origin, host);
        self.shape(origin, cut(path, 40));
        let parts = path.split(|letter: char| !letter.is_alphanumeric());
        for part in parts.filter(|part| part.len() > 1).take(8) {
            if part.len() > 20 || part.bytes().filter(u8::is_ascii_digit).count() > 3 {
                self.shape(origin, part);
            } else {
                self.small(origin, part);
            }
        }
        self.begin();
    }

    /// A host: whole, and from its end label by label.
    fn host(&mut self, origin: Origin, host: &str) {
        let host = cut(host, 255);
        let mut labels = 0;
        for (at, _) in host.rmatch_indices('.').take(3) {
            labels += 1;
            self.fill(origin, host.get(at..).unwrap_or_default());
            self.give(origin);
        }
        if labels < 3 || host.len() < 64 {
            self.fill(origin, "@");
            self.buffer.extend(host.bytes().map(|byte| byte.to_ascii_lowercase()));
            self.give(origin);
        }
    }

    fn address(&mut self, origin: Origin, local: &str, domain: &str) {
        let origin = if origin == Origin::Body { Origin::Address } else { origin };
        self.counted.addresses += 1;
        let outside = |letter: char| !letter.is_alphanumeric();
        let local = local.trim_start_matches(outside);
        let domain = domain.trim_matches(outside);
        if local.bytes().any(|byte| byte.is_ascii_digit()) {
            self.shape(origin, cut(local, 40));
        }
        if local.len() <= LONGEST_WORD {
            self.small(origin, local);
        }
        self.host(origin, domain);
        self.begin();
    }

    fn header(&mut self, text: &Text<'_>, window: usize) {
        let mut senders = Senders::default();
        let mut last = "";
        for (name, value, ordinal, field) in text.known_fields() {
            self.bytes(Origin::Name, name.as_bytes());
            self.buffer.clear();
            self.buffer.push(Origin::Order.octet());
            self.buffer.extend_from_slice(last.as_bytes());
            self.buffer.push(b'>');
            self.buffer.extend_from_slice(field.name.as_bytes());
            self.give(Origin::Order);
            last = field.name;
            let ordinal = u8::try_from(ordinal).unwrap_or_default();
            self.window = window.min(WIDEST);
            self.begin();
            let value = cut(value, LONGEST_VALUE).trim();
            self.field(field, Origin::Value(ordinal), value);
            senders.take(field, value);
        }
        // A receiver's words in capitals and the like are the body's measures alone.
        self.counted = Counted::default();
        self.senders(&senders);
    }

    fn field(&mut self, field: &Field, origin: Origin, value: &str) {
        if value.is_empty() {
            self.bytes(origin, b"empty");
            return;
        }
        match field.treatment {
            Treatment::Presence => {}
            Treatment::Words => {
                self.text(origin, value);
                if field.name == "subject" {
                    self.subject(origin, value);
                }
            }
            Treatment::Addresses => {
                self.text(origin, value);
                let named = value.find('<').is_some_and(|at| at > 0);
                let style: &[u8] = match (named, value.starts_with('"'), value.contains('<')) {
                    (true, true, _) => b"quoted",
                    (true, false, _) => b"named",
                    (false, _, true) => b"angled",
                    (false, _, false) => b"bare",
                };
                self.bytes(origin, style);
            }
            Treatment::Recipients => {
                let number = value.matches('@').count();
                self.level(origin, b"number", number as u32);
                let named = value.find('<').is_some_and(|at| at > 0);
                self.bytes(origin, if named { b"named" } else { b"bare" });
                if number == 0 {
                    self.text(origin, value);
                }
            }
            Treatment::Media => {
                for part in value.split(';').take(8) {
                    let (name, value) = part.split_once('=').unwrap_or(("", part));
                    let (name, value) = (name.trim(), value.trim().trim_matches('"'));
                    if ["boundary", "name", "filename"].iter().any(|n| name.eq_ignore_ascii_case(n))
                    {
                        self.small(origin, cut(name, 20));
                        self.shape(origin, value);
                    } else {
                        self.small(origin, cut(part.trim(), 40));
                    }
                }
            }
            Treatment::Software => {
                let words = value.split(|letter: char| !letter.is_alphanumeric());
                for word in words.filter(|word| word.len() > 1).take(12) {
                    if !word.bytes().any(|byte| byte.is_ascii_digit()) {
                        self.word(origin, word);
                    }
                }
                self.shape(origin, value);
            }
            Treatment::Date => {
                self.shape(origin, value);
                let zone = value.rsplit(' ').find(|part| part.starts_with(['+', '-']));
                self.small(origin, cut(zone.unwrap_or("none"), 8));
            }
            Treatment::Identifier => {
                let local = value.trim_start_matches('<').split('@').next().unwrap_or_default();
                self.shape(origin, local);
                self.level(origin, b"length", local.len() as u32);
            }
        }
    }

    /// How a subject is written.
    fn subject(&mut self, origin: Origin, value: &str) {
        let reply = value.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("re:"));
        if reply {
            self.bytes(origin, b"reply:");
        }
        if value.contains("  ") {
            self.bytes(origin, b"gap:");
        }
        if value.ends_with('!') || value.ends_with('?') {
            self.bytes(origin, &[b'$', value.bytes().last().unwrap_or_default()]);
        }
        let lower = value.bytes().any(|byte| byte.is_ascii_lowercase());
        let upper = value.bytes().any(|byte| byte.is_ascii_uppercase());
        self.bytes(origin, &[b'^', u8::from(lower) + b'0', u8::from(upper) + b'0']);
    }

    /// Who says to have sent it, compared with himself.
    fn senders(&mut self, senders: &Senders<'_>) {
        let origin = Origin::Measure;
        let Some(from) = senders.from else {
            self.bytes(origin, b"from:none");
            return;
        };
        let compared: [(&[u8], &[u8], Option<&str>); 3] = [
            (b"reply:same", b"reply:other", senders.reply),
            (b"sender:same", b"sender:other", senders.sender),
            (b"id:same", b"id:other", senders.id),
        ];
        for (same, other, domain) in compared {
            if let Some(domain) = domain {
                let related = related(from, domain);
                self.bytes(origin, if related { same } else { other });
            }
        }
        if senders.id.is_none() {
            self.bytes(origin, b"id:none");
        }
        if senders.to.is_none() {
            self.bytes(origin, b"to:none");
        } else if senders.to == senders.whole {
            self.bytes(origin, b"to:self");
        }
    }

    /// HTML: which tags, which attributes, where links lead.
    fn markup(&mut self, markup: &str) {
        let mut rest = markup;
        let mut tags = 0_u32;
        while let Some(at) = rest.find('<') {
            rest = rest.get(at + 1..).unwrap_or_default();
            let end = rest.find('>').unwrap_or(rest.len());
            let (tag, behind) = rest.split_at(end);
            rest = behind;
            if self.left == 0 {
                return;
            }
            if tag.starts_with(|letter: char| letter.is_ascii_alphabetic()) {
                tags += 1;
                self.tag(tag);
            } else if tag.starts_with("!--") {
                self.bytes(Origin::Tag, b"!--");
            }
        }
        if !markup.is_empty() {
            self.level(Origin::Measure, b"tags", tags);
        }
    }

    fn tag(&mut self, tag: &str) {
        let mut parts = tag.splitn(2, |letter: char| letter.is_ascii_whitespace() || letter == '/');
        let name = cut(parts.next().unwrap_or_default(), 16);
        self.small(Origin::Tag, name);
        let mut rest = parts.next().unwrap_or_default();
        for _ in 0..16 {
            let Some((attribute, behind)) = rest.split_once('=') else { break };
            let attribute = attribute.trim().rsplit(' ').next().unwrap_or_default();
            let behind = behind.trim_start();
            let (value, after) = match behind.chars().next() {
                Some(quote @ ('"' | '\'')) => behind
                    .get(1..)
                    .and_then(|inner| inner.split_once(quote))
                    .unwrap_or((behind, "")),
                _ => behind.split_once(' ').unwrap_or((behind, "")),
            };
            rest = after;
            self.small(Origin::Attribute, cut(attribute, 16));
            let value = cut(value.trim(), 200);
            if let Some((scheme, link)) = value.split_once("://") {
                self.link(cut(scheme, 8), link);
            } else {
                let value = cut(value, 24);
                self.fill(Origin::Attribute, cut(attribute, 16));
                self.buffer.push(b'=');
                self.buffer.extend(value.bytes().map(|byte| byte.to_ascii_lowercase()));
                self.give(Origin::Attribute);
            }
        }
    }

    fn measures(&mut self, text: &Text<'_>) {
        let counted = self.counted;
        let origin = Origin::Measure;
        self.level(origin, b"words", counted.words);
        self.level(origin, b"links", counted.links);
        self.level(origin, b"addresses", counted.addresses);
        self.level(origin, b"exclamations", counted.exclamations);
        let of_ten = |part: u32| part * 10 / counted.words.max(1);
        self.level(origin, b"capitals", of_ten(counted.capitals));
        self.level(origin, b"numbers", of_ten(counted.numbers));
        self.level(origin, b"long", counted.long);
        if counted.foreign > 0 {
            self.level(origin, b"syllables", counted.foreign);
        }
        if !text.clear.is_empty() {
            self.bytes(origin, b"disguised");
        }
        let kind: &[u8] = match (text.body.is_empty(), text.markup.is_empty()) {
            (true, true) => b"kind:empty",
            (true, false) => b"kind:markup",
            (false, true) => b"kind:plain",
            (false, false) => b"kind:both",
        };
        self.bytes(origin, kind);
    }

    /// A number, by its order of magnitude.
    fn level(&mut self, origin: Origin, name: &[u8], number: u32) {
        self.buffer.clear();
        self.buffer.push(origin.octet());
        self.buffer.extend_from_slice(name);
        self.buffer.extend_from_slice(&[b':', b'a' + (32 - number.leading_zeros()) as u8]);
        self.give(origin);
    }
}

/// Domains of those who say to have sent it.
#[derive(Default)]
struct Senders<'a> {
    from: Option<&'a str>,
    whole: Option<&'a str>,
    reply: Option<&'a str>,
    sender: Option<&'a str>,
    id: Option<&'a str>,
    to: Option<&'a str>,
}

impl<'a> Senders<'a> {
    fn take(&mut self, field: &Field, value: &'a str) {
        let Some(at) = value.find('@') else { return };
        let outside =
            |letter: char| letter.is_whitespace() || matches!(letter, '<' | '>' | '"' | ',' | ';');
        let start = value.get(..at).and_then(|before| before.rfind(outside)).map_or(0, |at| at + 1);
        let end = value
            .get(at..)
            .and_then(|behind| behind.find(outside))
            .map_or(value.len(), |end| at + end);
        let domain = value.get(at + 1..end).filter(|domain| !domain.is_empty());
        match field.name {
            "from" => (self.from, self.whole) = (domain, value.get(start..end)),
            "reply-to" => self.reply = domain,
            "sender" => self.sender = domain,
            "message-id" => self.id = domain,
            "to" => self.to = value.get(start..end),
            _ => {}
        }
    }
}

/// Whether two domains have their last two labels in common.
fn related(one: &str, other: &str) -> bool {
    let tail = |domain: &str| domain.rmatch_indices('.').nth(1).map_or(0, |(at, _)| at + 1);
    let (one, other) = (one.get(tail(one)..), other.get(tail(other)..));
    one.zip(other).is_some_and(|(one, other)| one.eq_ignore_ascii_case(other))
}

fn in_word(letter: char) -> bool {
    if letter.is_ascii() {
        letter.is_ascii_alphanumeric() || matches!(letter, '\'' | '-' | '.' | '_' | '$' | '%')
    } else {
        letter.is_alphanumeric()
    }
}

/// Whether the letter is of a script that puts no spaces between words.
fn without_spaces(letter: char) -> bool {
    matches!(u32::from(letter), 0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x3040..=0x30ff
        | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xac00..=0xd7af | 0x2_0000..=0x3_ffff)
}

#[cfg(test)]
mod tests;
