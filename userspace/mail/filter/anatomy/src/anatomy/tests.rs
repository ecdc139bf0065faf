use mail_parser::{MessageParser, PartType};
use proptest::prelude::*;

use super::*;
use crate::fuzzing;

fn read(message: &[u8]) -> Anatomy<'_> {
    Anatomy::read(message, &Limits::default())
}

const LETTER: &str = "From: Jane <jane@example.org>\r\nTo: joe@provider.example\r\nSubject: Photos\r\n\
    Date: Fri, 21 Nov 1997 09:55:06 -0600\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=\"outer\"\r\n\r\n\
    --outer\r\nContent-Type: multipart/alternative; boundary=\"inner\"\r\n\r\n\
    --inner\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
    Gr=FC=DFe, see http://plain.example/\r\n\
    --inner\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
    <p>Gr\u{fc}\u{df}e, see <a href=\"https://page.example/\">this</a> <img src=\"cid:logo\"></p>\r\n\
    --inner--\r\n\
    --outer\r\nContent-Type: image/png; name=logo.png\r\nContent-ID: <logo>\r\nContent-Transfer-Encoding: base64\r\n\r\n\
    iVBORw0KGgo=\r\n\
    --outer\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\n\
    %PDF-1.7\r\n\
    --outer--\r\n";

#[test]
fn a_letter() {
    let anatomy = read(LETTER.as_bytes());
    assert!(anatomy.problems.is_empty());
    assert_eq!(anatomy.size, LETTER.len());
    assert_eq!(anatomy.header.author_domain().as_deref(), Some("example.org"));
    assert_eq!(anatomy.header.subject.as_deref(), Some("Photos"));
    let parts: Vec<_> = anatomy
        .parts
        .iter()
        .map(|part| (part.media.as_str(), part.role, part.kind, part.parent, part.size()))
        .collect();
    assert_eq!(
        parts[1..],
        [
            ("multipart/alternative", Role::Container, Kind::Empty, Some(0), 0),
            ("text/plain", Role::Text, Kind::Text, Some(1), 32),
            ("text/html", Role::Page, Kind::Text, Some(1), parts[3].4),
            ("image/png", Role::Attachment, Kind::Image, Some(0), 8),
            ("application/pdf", Role::Attachment, Kind::Pdf, Some(0), 8),
        ]
    );
    assert_eq!(anatomy.plain, "Gr\u{fc}\u{df}e, see http://plain.example/");
    assert_eq!(anatomy.shown(), "Gr\u{fc}\u{df}e, see this");
    let links: Vec<_> =
        anatomy.links.iter().map(|link| (link.written.as_str(), link.place)).collect();
    assert_eq!(
        links,
        [("https://page.example/", Place::Anchor), ("http://plain.example/", Place::Text)]
    );
    let attachments: Vec<_> = anatomy.attachments().map(|part| part.name.as_deref()).collect();
    assert_eq!(attachments, [Some("a.pdf")]);
    assert!(anatomy.parts[4].is_embedded());
}

/// Where mail-parser's reading of ordinary mail differs from ours, one of the two is wrong.
#[test]
fn as_another_reads_it() {
    let plain = "Subject: x\r\n\r\nbody\r\n".to_owned();
    let nested = format!(
        "Subject: forward\r\nContent-Type: multipart/mixed; boundary=fwd\r\n\r\n--fwd\r\n\r\nlook\r\n--fwd\r\n\
         Content-Type: message/rfc822\r\n\r\n{LETTER}\r\n--fwd--\r\n"
    );
    for message in [plain, LETTER.to_owned(), LETTER.replace("\r\n", "\n"), nested] {
        let ours = read(message.as_bytes());
        let theirs = MessageParser::default().parse(&message).unwrap();
        let mut leaves = Vec::new();
        collect(&theirs, &mut leaves);
        let mine: Vec<_> = ours
            .parts
            .iter()
            .filter(|part| !matches!(part.role, Role::Container | Role::Message))
            .map(|part| match part.role {
                Role::Text | Role::Page => {
                    let charset = part.charset.as_deref();
                    charset::text(&part.content, charset, 1_000).0.into_bytes()
                }
                _ => part.content.to_vec(),
            })
            .collect();
        assert_eq!(mine, leaves);
        assert_eq!(ours.header.subject.as_deref(), theirs.subject());
    }
}

fn collect(message: &mail_parser::Message<'_>, leaves: &mut Vec<Vec<u8>>) {
    for part in &message.parts {
        match &part.body {
            PartType::Text(text) | PartType::Html(text) => leaves.push(text.as_bytes().to_vec()),
            PartType::Binary(content) | PartType::InlineBinary(content) => {
                leaves.push(content.to_vec());
            }
            PartType::Message(inner) => collect(inner, leaves),
            PartType::Multipart(_) => {}
        }
    }
}

#[test]
fn pages_that_are_attached() {
    for (header, body, attached) in [
        ("Content-Type: text/html", "<p>x", Some(false)),
        ("Content-Type: text/html\nContent-Disposition: attachment", "<p>x", Some(true)),
        ("Content-Type: application/octet-stream; name=a.htm", "<p>x", Some(true)),
        ("Content-Type: application/octet-stream; name=a.bin", "<html>x", Some(true)),
        ("Content-Type: image/svg+xml", "<svg><a href='https://x.example/'>", Some(true)),
        ("Content-Type: application/octet-stream; name=a.bin", "<p>x", None),
        ("Content-Type: text/plain", "<p>x", None),
    ] {
        let message = format!("{header}\n\n{body}");
        let found = read(message.as_bytes()).pages.first().map(|page| page.attached);
        assert_eq!(found, attached, "{header}");
    }
}

#[test]
fn invitations_have_links() {
    let message = "Content-Type: text/calendar\n\nBEGIN:VCALENDAR\nURL:https://evil.example/join\nEND:VCALENDAR\n";
    assert_eq!(read(message.as_bytes()).links[0].owner().as_deref(), Some("evil.example"));
}

/// None of these panics or takes more than it may. Without limits, most of them take minutes or all memory.
#[test]
fn hostile_messages() {
    let mb = |piece: &str| piece.repeat((1 << 20) / piece.len());
    let deep: String = (0..1_000)
        .map(|level| format!("Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n"))
        .collect();
    let encoded: String = {
        let mut inner = "Subject: x\n\nx".to_owned();
        for _ in 0..8 {
            let hex: String = inner.bytes().map(|byte| format!("={byte:02X}")).collect();
            inner = format!(
                "Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n{hex}"
            );
            if inner.len() > 1 << 20 {
                break;
            }
        }
        inner
    };
    let multipart = "Content-Type: multipart/mixed; boundary=b\n\n";
    let html = "Content-Type: text/html\n\n";
    for (what, message) in [
        ("nothing", String::new()),
        ("100,000 fields", "A: b\n".repeat(100_000)),
        ("100,000 addresses", format!("To: {}\n\n", "a@example.org, ".repeat(100_000))),
        ("comments in comments", format!("From: {}\n\n", "(".repeat(100_000))),
        ("words that never end", format!("Subject: {}\n\n", "=?utf-8?q?".repeat(100_000))),
        ("parameters", format!("Content-Type: text/plain; {}\n\n", "a*1*=b; ".repeat(100_000))),
        ("a huge line", "x".repeat(4 << 20)),
        ("a huge line of a field", format!("Subject: {}\n\n", "x".repeat(4 << 20))),
        ("a thousand levels", deep),
        ("messages in messages", "Content-Type: message/rfc822\n\n".repeat(30_000)),
        ("encoded messages", encoded),
        ("100,000 parts", multipart.to_owned() + &"--b\n\n".repeat(100_000)),
        (
            "missing boundaries",
            multipart.to_owned()
                + &format!("--b\n{}", multipart.replace("=b", "=missing")).repeat(20_000),
        ),
        ("an empty boundary", mb("Content-Type: multipart/mixed; boundary=\"\"\n\n--\n")),
        ("a boundary in itself", multipart.to_owned() + &mb("--b--b")),
        ("broken base64", "Content-Transfer-Encoding: base64\n\n".to_owned() + &mb("*A")),
        (
            "broken quoted-printable",
            "Content-Transfer-Encoding: quoted-printable\n\n".to_owned() + &mb("="),
        ),
        ("uuencode again and again", "\n".to_owned() + &mb("begin 644 a\n`\n")),
        ("no charset", format!("Content-Type: text/plain; charset={}\n\nx", "x".repeat(5_000))),
        ("UTF-7", "Content-Type: text/plain; charset=utf-7\n\n".to_owned() + &mb("+AAA")),
        ("UTF-16 in half", "Content-Type: text/plain; charset=utf-16\n\nabc".to_owned()),
        ("tags", html.to_owned() + &mb("<p>")),
        ("styles", html.to_owned() + "<style>" + &mb(".a{color:red}")),
        ("attributes", html.to_owned() + "<p " + &mb("a ")),
        ("links", html.to_owned() + &mb("<a href=http://a.example/>x</a>")),
        ("links in text", "\n".to_owned() + &mb("http://a.example/ ")),
        ("colons", "\n".to_owned() + &mb("://")),
        ("letters", "\n".to_owned() + &mb("a ")),
        ("invisible letters", "\n".to_owned() + &mb("\u{200b}")),
        ("marks", "\n".to_owned() + &mb("a\u{301}")),
        (
            "a long host",
            format!("{html}<a href=\"http://{}.example/\">x</a>", "\u{fc}".repeat(2_000)),
        ),
        ("many labels", format!("{html}<a href=\"http://{}example/\">x</a>", "a.".repeat(2_000))),
        ("many hyphens", format!("{html}<a href=\"http://{}.example/\">x</a>", "a-".repeat(2_000))),
    ] {
        let anatomy = read(message.as_bytes());
        let brands = Brands::new(["provider.example"]);
        let findings = anatomy.findings(&Surroundings { now: 0, brands: &brands });
        let _ = anatomy.fingerprint(&Key::new(&[0; 32]));
        assert!(anatomy.parts.len() <= Limits::default().parts, "{what}");
        assert!(findings.len() <= crate::Oddity::ALL.len(), "{what}");
        fuzzing::message(message.as_bytes());
    }
}

/// Good messages, broken in some places.
#[test]
fn broken_messages() {
    let letter = LETTER.as_bytes();
    for cut in (0..letter.len()).step_by(7) {
        fuzzing::message(&letter[..cut]);
        let mut broken = letter.to_vec();
        broken[cut] ^= 0x20;
        fuzzing::message(&broken);
        broken[cut] = 0;
        fuzzing::message(&broken);
        broken.remove(cut);
        fuzzing::message(&broken);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn anything(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        fuzzing::message(&bytes);
        fuzzing::parts(&bytes);
        fuzzing::page(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_pieces(pieces in proptest::collection::vec((0..LETTER.len(), 1_usize..200), 0..30)) {
        let bytes: Vec<u8> = pieces
            .iter()
            .flat_map(|(at, length)| LETTER.as_bytes().iter().skip(*at).take(*length).copied())
            .collect();
        fuzzing::message(&bytes);
        fuzzing::parts(&bytes);
    }
}
