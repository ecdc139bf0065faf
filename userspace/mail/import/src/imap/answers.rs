//! What answers say, as far as it matters to who reads a mailbox.
//!
//! They are read by imap-codec. What it refuses is not the end: many servers answer a little beside the standard, and what nobody asked
//! for needn't be understood.

use std::collections::BTreeSet;

use bytes::Bytes;
use imap_codec::decode::Decoder;
use imap_codec::{GreetingCodec, ResponseCodec};
use imap_types::core::NString;
use imap_types::fetch::MessageDataItem;
use imap_types::flag::{Flag, FlagFetch};
use imap_types::mailbox::Mailbox;
use imap_types::response::{Capability, Code, Data, GreetingKind, Response, Status, StatusKind};
use memchr::memchr;
use muralla_mail_store::Flags;
use muralla_mail_store::transfer::lines;

use crate::error::{RemoteError, shown};

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    /// A command may go on.
    Go,
    /// A command is done.
    Done(Done),
    /// It is over.
    Bye(String),
    /// What the server can do.
    Capabilities(Capabilities),
    /// A folder.
    Folder(Listed),
    /// Namespaces of other people and of all (RFC 2342): how names in them begin.
    Foreign(Vec<Vec<u8>>),
    /// How many messages are in the folder that was opened.
    Exists(u32),
    /// Its UIDVALIDITY.
    Validity(u32),
    /// A message, or a part of what is known of it.
    Message(Fetched),
    /// A folder or a message that can't be understood.
    Unreadable(String),
    /// What matters to nobody.
    Other,
}

/// How a command ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Done {
    /// Whose it is.
    pub(crate) tag: String,
    /// How.
    pub(crate) end: End,
    /// What the server says of it.
    pub(crate) text: String,
    /// What the server can do now, if it says so.
    pub(crate) capabilities: Option<Capabilities>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// It was done.
    Ok,
    /// It was not.
    No,
    /// It was not understood.
    Bad,
}

/// What a server can do, in capitals.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Capabilities(BTreeSet<String>);

/// A folder as `LIST` has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Listed {
    /// Its name, as it has to be said again.
    pub(crate) name: Vec<u8>,
    /// What is between names below each other.
    pub(crate) delimiter: Option<char>,
    /// Its attributes in small letters, such as `\noselect`.
    pub(crate) attributes: Vec<String>,
}

/// What `FETCH` says of a message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Fetched {
    /// Its number.
    pub(crate) uid: Option<u32>,
    /// Its bytes.
    pub(crate) size: Option<u32>,
    /// Its flags.
    pub(crate) flags: Option<Flags>,
    /// When it came, in seconds since 1970.
    pub(crate) received: Option<i64>,
    /// The message.
    pub(crate) raw: Option<Bytes>,
}

/// The first that a server says, and whether somebody is logged in already.
pub(crate) fn greeting(frame: &Bytes) -> Result<(bool, Option<Capabilities>), RemoteError> {
    let Ok((_, greeting)) = GreetingCodec::new().decode(frame) else {
        let text = frame.trim_ascii();
        // A text is missing, which is no reason to send anybody away.
        return if text.eq_ignore_ascii_case(b"* OK") {
            Ok((false, None))
        } else {
            Err(RemoteError::Malformed("its greeting is none of IMAP"))
        };
    };
    match greeting.kind {
        GreetingKind::Ok => Ok((false, capabilities_of(greeting.code.as_ref()))),
        GreetingKind::PreAuth => Ok((true, capabilities_of(greeting.code.as_ref()))),
        GreetingKind::Bye => Err(RemoteError::Bye(shown(greeting.text.as_ref().as_bytes()))),
    }
}

impl Answer {
    /// Reads one.
    pub(crate) fn read(frame: &Bytes) -> Self {
        // The standard has no NUL in a literal, and messages have some.
        let clean = memchr(0, frame).map(|_| {
            let octets = frame.iter().map(|byte| if *byte == 0 { 0x80 } else { *byte });
            Bytes::from(octets.collect::<Vec<u8>>())
        });
        let read = clean.as_ref().unwrap_or(frame);
        match ResponseCodec::new().decode(read) {
            Ok(([], response)) => of_response(response, read, frame),
            _ => by_hand(frame),
        }
    }
}

fn of_response(response: Response<'_>, read: &Bytes, frame: &Bytes) -> Answer {
    match response {
        Response::CommandContinuationRequest(_) => Answer::Go,
        Response::Status(Status::Tagged(tagged)) => Answer::Done(Done {
            tag: tagged.tag.as_ref().to_owned(),
            end: match tagged.body.kind {
                StatusKind::Ok => End::Ok,
                StatusKind::No => End::No,
                StatusKind::Bad => End::Bad,
            },
            text: shown(tagged.body.text.as_ref().as_bytes()),
            capabilities: capabilities_of(tagged.body.code.as_ref()),
        }),
        Response::Status(Status::Bye(bye)) => Answer::Bye(shown(bye.text.as_ref().as_bytes())),
        Response::Status(Status::Untagged(body)) => match body.code {
            Some(Code::UidValidity(validity)) => Answer::Validity(validity.get()),
            Some(Code::Capability(capabilities)) => {
                Answer::Capabilities(Capabilities::of(capabilities.as_ref()))
            }
            _ => Answer::Other,
        },
        Response::Data(data) => of_data(data, read, frame),
    }
}

fn of_data(data: Data<'_>, read: &Bytes, frame: &Bytes) -> Answer {
    match data {
        Data::Capability(capabilities) => {
            Answer::Capabilities(Capabilities::of(capabilities.as_ref()))
        }
        Data::List { items, delimiter, mailbox } => Answer::Folder(Listed {
            name: match mailbox {
                Mailbox::Inbox => b"INBOX".to_vec(),
                Mailbox::Other(other) => other.as_ref().to_vec(),
            },
            delimiter: delimiter.map(|delimiter| delimiter.inner()),
            attributes: items.iter().map(|item| item.to_string().to_ascii_lowercase()).collect(),
        }),
        Data::Namespace { other, shared, .. } => {
            let prefixes = other.iter().chain(&shared).map(|space| space.prefix.as_ref().to_vec());
            Answer::Foreign(prefixes.collect())
        }
        Data::Exists(messages) => Answer::Exists(messages),
        Data::Fetch { items, .. } => {
            let mut fetched = Fetched::default();
            for item in items {
                match item {
                    MessageDataItem::Uid(uid) => fetched.uid = Some(uid.get()),
                    MessageDataItem::Rfc822Size(size) => fetched.size = Some(size),
                    MessageDataItem::Flags(flags) => fetched.flags = Some(flags_of(&flags)),
                    MessageDataItem::InternalDate(date) => {
                        fetched.received = Some(date.as_ref().timestamp());
                    }
                    MessageDataItem::BodyExt { section: None, origin: None, data }
                    | MessageDataItem::Rfc822(data) => {
                        fetched.raw = Some(bytes_of(&data, read, frame));
                    }
                    _ => {}
                }
            }
            Answer::Message(fetched)
        }
        _ => Answer::Other,
    }
}

/// What imap-codec does not read.
fn by_hand(frame: &Bytes) -> Answer {
    let line = frame.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    let mut words = line.splitn(3, |byte| *byte == b' ').map(String::from_utf8_lossy);
    let mut word = || words.next().unwrap_or_default();
    let (tag, first, rest) = (word(), word().to_ascii_uppercase(), word());
    if tag == "+" {
        return Answer::Go;
    }
    if tag != "*" {
        let end = match first.as_str() {
            "OK" => End::Ok,
            "NO" => End::No,
            "BAD" => End::Bad,
            _ => return Answer::Other,
        };
        // Its text is missing, or has letters beyond ASCII.
        let (tag, text) = (tag.into_owned(), shown(rest.as_bytes()));
        return Answer::Done(Done { tag, end, text, capabilities: None });
    }
    match first.as_str() {
        "BYE" => Answer::Bye(shown(rest.as_bytes())),
        "LIST" => Answer::Unreadable(shown(line)),
        _ if rest.to_ascii_uppercase().starts_with("FETCH") => Answer::Unreadable(shown(line)),
        _ => Answer::Other,
    }
}

/// A message, which is not copied if it needn't be.
fn bytes_of(data: &NString<'_>, read: &Bytes, frame: &Bytes) -> Bytes {
    let Some(data) = &data.0 else { return Bytes::new() };
    let data: &[u8] = data.as_ref();
    let start = (data.as_ptr() as usize).wrapping_sub(read.as_ptr() as usize);
    // What lies in what was read lies at the same place in what came.
    match start.checked_add(data.len()) {
        Some(end) if end <= read.len() && read.get(start..end) == Some(data) => {
            frame.slice(start..end)
        }
        _ => Bytes::copy_from_slice(data),
    }
}

fn flags_of(flags: &[FlagFetch<'_>]) -> Flags {
    let known = flags.iter().map(|flag| match flag {
        FlagFetch::Flag(Flag::Seen) => Flags::SEEN,
        FlagFetch::Flag(Flag::Answered) => Flags::ANSWERED,
        FlagFetch::Flag(Flag::Flagged) => Flags::FLAGGED,
        FlagFetch::Flag(Flag::Deleted) => Flags::DELETED,
        FlagFetch::Flag(Flag::Draft) => Flags::DRAFT,
        FlagFetch::Flag(Flag::Keyword(word)) => lines::keyword(word.as_ref()),
        FlagFetch::Flag(Flag::Extension(_)) | FlagFetch::Recent => Flags::default(),
    });
    known.fold(Flags::default(), |flags, flag| flags | flag)
}

fn capabilities_of(code: Option<&Code<'_>>) -> Option<Capabilities> {
    match code {
        Some(Code::Capability(capabilities)) => Some(Capabilities::of(capabilities.as_ref())),
        _ => None,
    }
}

impl Capabilities {
    fn of(capabilities: &[Capability<'_>]) -> Self {
        Self(capabilities.iter().map(|one| one.to_string().to_ascii_uppercase()).collect())
    }

    /// Whether it is among them; `name` is in capitals.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

impl Fetched {
    /// Adds what another answer says of the same message.
    pub(crate) fn join(&mut self, other: Self) {
        let Self { uid, size, flags, received, raw } = other;
        self.uid = uid.or(self.uid);
        self.size = size.or(self.size);
        self.flags = flags.or(self.flags);
        self.received = received.or(self.received);
        if raw.is_some() {
            self.raw = raw;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Answer {
        Answer::read(&Bytes::copy_from_slice(text.as_bytes()))
    }

    fn capabilities(names: &[&str]) -> Capabilities {
        Capabilities(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn done(tag: &str, end: End, text: &str) -> Answer {
        Answer::Done(Done { tag: tag.to_owned(), end, text: text.to_owned(), capabilities: None })
    }

    fn folder(name: &[u8], delimiter: Option<char>, attributes: &[&str]) -> Answer {
        let attributes = attributes.iter().map(|one| (*one).to_owned()).collect();
        Answer::Folder(Listed { name: name.to_vec(), delimiter, attributes })
    }

    #[test]
    fn answers() {
        let message = |raw: &'static [u8]| Fetched {
            uid: Some(7),
            raw: Some(Bytes::from_static(raw)),
            ..Fetched::default()
        };
        for (text, answer) in [
            ("+ go on\r\n", Answer::Go),
            ("+\r\n", Answer::Go),
            ("+ \r\n", Answer::Go),
            ("A1 OK done\r\n", done("A1", End::Ok, "done")),
            ("A1 NO [AUTHENTICATIONFAILED] wrong\r\n", done("A1", End::No, "wrong")),
            ("A1 BAD what?\r\n", done("A1", End::Bad, "what?")),
            // Beside the standard.
            ("A1 OK\r\n", done("A1", End::Ok, "")),
            ("A1 NO contraseña\r\n", done("A1", End::No, "contraseña")),
            ("* BYE bye\r\n", Answer::Bye("bye".to_owned())),
            ("* 23 EXISTS\r\n", Answer::Exists(23)),
            ("* 0 RECENT\r\n", Answer::Other),
            ("* OK [UIDVALIDITY 3857529045] UIDs valid\r\n", Answer::Validity(3_857_529_045)),
            ("* OK [UIDNEXT 1] next\r\n", Answer::Other),
            ("* FLAGS (\\Seen $Forwarded)\r\n", Answer::Other),
            ("* XSOMETHING {3}\r\n)))\r\n", Answer::Other),
            (
                "* CAPABILITY IMAP4rev1 SASL-IR auth=plain LIST-EXTENDED special-use \r\n",
                Answer::Capabilities(capabilities(&[
                    "AUTH=PLAIN",
                    "IMAP4REV1",
                    "LIST-EXTENDED",
                    "SASL-IR",
                    "SPECIAL-USE",
                ])),
            ),
            (
                "* LIST (\\HasNoChildren \\Sent) \"/\" \"Sent Items\"\r\n",
                folder(b"Sent Items", Some('/'), &["\\hasnochildren", "\\sent"]),
            ),
            ("* LIST () NIL inbox\r\n", folder(b"INBOX", None, &[])),
            (
                "* LIST (\\Noselect) \".\" {5}\r\na\"b\\c\r\n",
                folder(b"a\"b\\c", Some('.'), &["\\noselect"]),
            ),
            ("* LIST () \"\\\\\" &U,BTFw-\r\n", folder(b"&U,BTFw-", Some('\\'), &[])),
            (
                "* NAMESPACE ((\"\" \"/\")) ((\"~\" \"/\")) ((\"#shared/\" \"/\")(\"#public/\" \"/\"))\r\n",
                Answer::Foreign(vec![b"~".to_vec(), b"#shared/".to_vec(), b"#public/".to_vec()]),
            ),
            ("* NAMESPACE ((\"INBOX.\" \".\")) NIL NIL\r\n", Answer::Foreign(Vec::new())),
            (
                "* 2 FETCH (UID 7 RFC822.SIZE 44827)\r\n",
                Answer::Message(Fetched { uid: Some(7), size: Some(44_827), ..Fetched::default() }),
            ),
            (
                "* 2 FETCH (FLAGS (\\Seen \\Answered \\Recent $Junk NonJunk other \\Odd) UID 7 INTERNALDATE \" 1-Mar-2022 12:00:00 +0100\" BODY[] {3}\r\na)b)\r\n",
                Answer::Message(Fetched {
                    flags: Some(Flags::SEEN | Flags::ANSWERED | Flags::JUNK | Flags::NOT_JUNK),
                    received: Some(1_646_132_400),
                    ..message(b"a)b")
                }),
            ),
            ("* 2 FETCH (UID 7 BODY[] \"quoted\")\r\n", Answer::Message(message(b"quoted"))),
            ("* 2 FETCH (UID 7 RFC822 {0}\r\n)\r\n", Answer::Message(message(b""))),
            ("* 2 FETCH (UID 7 BODY[] NIL)\r\n", Answer::Message(message(b""))),
            ("* 2 FETCH (UID 7 BODY[] {5}\r\n\0a\0b\0)\r\n", Answer::Message(message(b"\0a\0b\0"))),
            // A part is not the whole.
            (
                "* 2 FETCH (UID 7 BODY[TEXT] {1}\r\na)\r\n",
                Answer::Message(Fetched { uid: Some(7), ..Fetched::default() }),
            ),
            (
                "* 2 FETCH (UID 7 BODY[]<0> {1}\r\na)\r\n",
                Answer::Message(Fetched { uid: Some(7), ..Fetched::default() }),
            ),
            (
                "* 2 FETCH (UID 7 INTERNALDATE \"31-Feb-2022 12:00:00 +0100\")\r\n",
                Answer::Unreadable(
                    "* 2 FETCH (UID 7 INTERNALDATE \"31-Feb-2022 12:00:00 +0100\")".to_owned(),
                ),
            ),
            ("* LIST () \"/\"\r\n", Answer::Unreadable("* LIST () \"/\"".to_owned())),
            ("\r\n", Answer::Other),
            ("", Answer::Other),
        ] {
            assert_eq!(read(text), answer, "{text:?}");
        }
    }

    #[test]
    fn greetings() {
        let read = |text: &'static str| greeting(&Bytes::from_static(text.as_bytes()));
        assert_eq!(read("* OK hello\r\n").unwrap(), (false, None));
        assert_eq!(read("* OK\r\n").unwrap(), (false, None));
        let (logged_in, found) = read("* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n").unwrap();
        assert!(logged_in && found.unwrap().has("STARTTLS"));
        assert!(
            matches!(read("* BYE too many\r\n"), Err(RemoteError::Bye(text)) if text == "too many")
        );
        for text in
            ["+OK POP3 here\r\n", "220 mx ESMTP\r\n", "HTTP/1.0 400 Bad Request\r\n", "\r\n"]
        {
            assert!(matches!(read(text), Err(RemoteError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn what_a_message_is_made_of_is_not_copied() {
        let frame = Bytes::from_static(b"* 2 FETCH (BODY[] {3}\r\nabc UID 7)\r\n");
        let Answer::Message(Fetched { raw: Some(raw), .. }) = Answer::read(&frame) else {
            panic!()
        };
        assert_eq!((raw.as_ptr() as usize, raw.len()), (frame.as_ptr() as usize + 23, 3));
    }

    #[test]
    fn several_answers_make_a_message() {
        let mut fetched = Fetched { uid: Some(7), flags: Some(Flags::SEEN), ..Fetched::default() };
        fetched.join(Fetched {
            uid: Some(7),
            received: Some(1),
            raw: Some(Bytes::from_static(b"a")),
            ..Fetched::default()
        });
        fetched.join(Fetched { flags: Some(Flags::DRAFT), ..Fetched::default() });
        assert_eq!((fetched.flags, fetched.received), (Some(Flags::DRAFT), Some(1)));
        assert!(fetched.raw.is_some());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(\\* |A1 |\\+ )?[ -~\\r\\n\\x00]{0,80}\\r\\n") {
            let _ = read(&text);
        }

        #[test]
        fn no_octets_panic(octets in proptest::collection::vec(any::<u8>(), 0..100)) {
            let frame = Bytes::from(octets);
            let _ = Answer::read(&frame);
            let _ = greeting(&frame);
        }
    }
}
