use std::collections::BTreeSet;

use super::*;
use crate::brand::Brands;
use crate::limits::{Limits, Problem};

/// Tuesday, 24 November 2026.
const NOW: i64 = 1_795_478_400;

/// A letter with nothing odd about it, but for these fields and this content. A field without a value is left out.
fn letter(fields: &[(&str, &str)], content: &str) -> String {
    let mut header = vec![
        ("From", "Jane Doe <jane@example.org>"),
        ("To", "Joe <joe@provider.example>"),
        ("Subject", "Lunch on Thursday"),
        ("Date", "Tue, 24 Nov 2026 05:00:00 +0000"),
        ("Message-ID", "<1@example.org>"),
        ("MIME-Version", "1.0"),
    ];
    for (name, value) in fields {
        match header.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => header.push((name, value)),
        }
    }
    let mut out = String::new();
    for (name, value) in header.iter().filter(|(_, value)| !value.is_empty()) {
        out += &format!("{name}: {value}\n");
    }
    if content.starts_with("Content-") { out + content } else { out + "\n" + content }
}

fn fields(fields: &[(&str, &str)]) -> String {
    letter(fields, "Dear Joe, lunch is at noon.\n")
}

fn html(page: &str) -> String {
    letter(&[], &format!("Content-Type: text/html; charset=utf-8\n\n{page}"))
}

fn plain(text: &str) -> String {
    letter(&[], &format!("Content-Type: text/plain; charset=utf-8\n\n{text}\n"))
}

fn link(target: &str) -> String {
    html(&format!("<p>Dear Joe, see <a href=\"{target}\">the plan</a> for the rest of it.</p>"))
}

fn seen(target: &str, text: &str) -> String {
    html(&format!("<p>Dear Joe, see <a href=\"{target}\">{text}</a></p>"))
}

fn attached(name: &str, media: &str, content: &[u8]) -> String {
    let encoded: String = content.iter().map(|byte| format!("={byte:02X}")).collect();
    let lines: Vec<String> = encoded
        .as_bytes()
        .chunks(72)
        .map(|line| String::from_utf8(line.to_vec()).unwrap() + "=\n")
        .collect();
    letter(
        &[],
        &format!(
            "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nSee below.\n--b\nContent-Type: {media}\n\
         Content-Disposition: attachment; filename*=UTF-8''{}\n\
         Content-Transfer-Encoding: quoted-printable\n\n{}\n--b--\n",
            name.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>(),
            lines.concat(),
        ),
    )
}

fn pdf(name: &str) -> String {
    attached(name, "application/pdf", b"%PDF-1.7\n")
}

fn bytes(name: &str, content: &[u8]) -> String {
    attached(name, "application/octet-stream", content)
}

/// Small enough for the rows that go beyond them.
fn limits() -> Limits {
    Limits {
        message: 200_000,
        header: 4_000,
        depth: 6,
        parts: 12,
        messages: 3,
        decoded: 30_000,
        html: 60_000,
        text: 20_000,
        links: 20,
        ..Limits::default()
    }
}

fn findings(message: &str) -> Vec<Finding> {
    let brands = Brands::new(["provider.example"]);
    Anatomy::read(message.as_bytes(), &limits())
        .findings(&Surroundings { now: NOW, brands: &brands })
}

fn oddities(message: &str) -> Vec<Oddity> {
    findings(message).iter().map(|finding| finding.oddity).collect()
}

/// What shows each oddity, and what is near and does not.
#[expect(clippy::too_many_lines, reason = "a table")]
fn rows() -> Vec<(Oddity, String, String)> {
    let good = || fields(&[]);
    let zip = b"PK\x03\x04\x14\0\0\0\x08\0aaaaaaaaaaaaaaaa";
    let secret = b"PK\x03\x04\x14\0\x01\0\x08\0aaaaaaaaaaaaaaaa";
    let program = b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0";
    let nested: String = (0..10)
        .map(|level| format!("Content-Type: multipart/mixed; boundary=b{level}\n\n--b{level}\n"))
        .collect();
    let digest = |count| {
        let messages = "--b\n\nSubject: x\n\ntext\n".repeat(count);
        letter(&[], &format!("Content-Type: multipart/digest; boundary=b\n\n{messages}--b--\n"))
    };
    let mixed = |count| {
        letter(
            &[],
            &format!(
                "Content-Type: multipart/mixed; boundary=b\n\n{}--b--\n",
                "--b\n\ntext\n".repeat(count)
            ),
        )
    };
    let encoded = |count| {
        letter(
            &[],
            &format!(
                "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n\n{}",
                "QUJD".repeat(count)
            ),
        )
    };
    let two = |first: &str, second: &str| {
        letter(
            &[],
            &format!(
                "Content-Type: multipart/alternative; boundary=b\n\n--b\n\n{first}\n--b\nContent-Type: text/html\n\n{second}\n--b--\n"
            ),
        )
    };
    let words = "these words are about the garden where apples, cherries and pears are growing under the large trees beside that house";
    let others = "buy cheap watches today from our store with free worldwide shipping because every single model costs less than expected here";
    let data = "QUJD".repeat(400);
    use Oddity::*;
    vec![
        (TooLarge, letter(&[], &"text ".repeat(50_000)), letter(&[], &"text ".repeat(3_000))),
        (
            HugeHeader,
            fields(&[("X-Long", &"x ".repeat(3_000))]),
            fields(&[("X-Long", &"x ".repeat(300))]),
        ),
        (TooDeep, letter(&[], &nested), letter(&[], &nested[..nested.len() / 3])),
        (TooManyParts, mixed(20), mixed(5)),
        (TooManyMessages, digest(5), digest(2)),
        (TooMuchContent, encoded(20_000), encoded(5_000)),
        (TooMuchHtml, html(&"<p>word</p>".repeat(9_000)), html(&"<p>word</p>".repeat(900))),
        (TooMuchText, plain(&"words ".repeat(5_000)), plain(&"words ".repeat(500))),
        (
            TooManyLinks,
            html(&"<a href='https://example.org/'>x</a>".repeat(30)),
            html(&"<a href='https://example.org/'>x</a>".repeat(10)),
        ),
        (NoAuthor, fields(&[("From", "")]), good()),
        (BadAuthor, fields(&[("From", "Jane Doe")]), good()),
        (
            SeveralAuthors,
            fields(&[("From", "a@example.org, b@example.org")]),
            fields(&[("From", "a@example.org, b@example.org"), ("Sender", "a@example.org")]),
        ),
        (
            DuplicateField,
            "From: other@example.net\n".to_owned() + &good(),
            "Received: x\nReceived: y\n".to_owned() + &good(),
        ),
        (
            BrokenHeader,
            "X: y\nno field\n".to_owned() + &good(),
            "X: y\n folded\n".to_owned() + &good(),
        ),
        (NoDate, fields(&[("Date", "")]), good()),
        (BadDate, fields(&[("Date", "yesterday")]), good()),
        (
            FutureDate,
            fields(&[("Date", "Tue, 1 Dec 2026 05:00:00 +0000")]),
            fields(&[("Date", "Tue, 24 Nov 2026 23:00:00 +0000")]),
        ),
        (
            OldDate,
            fields(&[("Date", "Tue, 4 Aug 2026 05:00:00 +0000")]),
            fields(&[("Date", "Tue, 10 Nov 2026 05:00:00 +0000")]),
        ),
        (NoMessageId, fields(&[("Message-ID", "")]), good()),
        (BadMessageId, fields(&[("Message-ID", "<12345>")]), good()),
        (NoRecipient, fields(&[("To", "")]), fields(&[("To", "undisclosed-recipients:;")])),
        (NoSubject, fields(&[("Subject", "")]), good()),
        (ManyHops, "Received: x\n".repeat(30) + &good(), "Received: x\n".repeat(9) + &good()),
        (
            FalseReply,
            fields(&[("Subject", "Re: your invoice")]),
            fields(&[("Subject", "Re: your invoice"), ("In-Reply-To", "<2@example.net>")]),
        ),
        (
            ReplyElsewhere,
            fields(&[("Reply-To", "jane@elsewhere.example")]),
            fields(&[("Reply-To", "team@mail.example.org")]),
        ),
        (
            ReplyToFreemail,
            fields(&[("Reply-To", "jane.doe@gmail.com")]),
            fields(&[("From", "jane@hotmail.com"), ("Reply-To", "jane.doe@gmail.com")]),
        ),
        (
            AddressInName,
            fields(&[("From", "\"boss@provider.example\" <jane@example.org>")]),
            fields(&[("From", "\"jane@example.org\" <jane@mail.example.org>")]),
        ),
        (
            BrandInName,
            fields(&[("From", "PayPal Service <jane@example.org>")]),
            fields(&[("From", "PayPal Service <service@mail.paypal.com>")]),
        ),
        (
            LookalikeAuthor,
            fields(&[("From", "Service <service@paypa1.com>")]),
            fields(&[("From", "Service <service@paypal.com>")]),
        ),
        (
            DisguisedSubject,
            fields(&[("Subject", "Your \u{440}aypal account")]),
            fields(&[("Subject", "\u{412}\u{430}\u{448} \u{441}\u{447}\u{451}\u{442} paypal")]),
        ),
        (ReversedSubject, fields(&[("Subject", "Lunch \u{202e}yadsruhT")]), good()),
        (
            BrokenEncoding,
            letter(&[], "Content-Transfer-Encoding: base64\n\nSGVs***bG8="),
            letter(&[], "Content-Transfer-Encoding: base64\n\nSGVsbG8="),
        ),
        (
            OpenMultipart,
            letter(&[], "Content-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n"),
            mixed(1),
        ),
        (
            UnknownCharset,
            letter(&[], "Content-Type: text/plain; charset=x-unheard-of\n\ntext"),
            plain("text"),
        ),
        (Program, bytes("photo.bin", program), pdf("photo.pdf")),
        (Program, bytes("photo.exe", b"x"), bytes("photo.unheard", b"x")),
        (Script, bytes("invoice.js", b"var x"), pdf("invoice.pdf")),
        (Macros, bytes("invoice.docm", zip), bytes("invoice.docx", zip)),
        (DiskImage, bytes("invoice.iso", b"x"), pdf("invoice.pdf")),
        (
            TwoExtensions,
            bytes("invoice.pdf.exe", program),
            bytes("notes.txt.gz", b"\x1f\x8b\x08\0"),
        ),
        (TrickyName, bytes("invoice\u{202e}fdp.exe", program), bytes("invoice.exe", program)),
        (FalseType, attached("invoice.pdf", "application/pdf", program), pdf("invoice.pdf")),
        (
            FalseType,
            attached("a", "image/png", zip),
            attached("a.png", "image/png", b"\x89PNG\r\n\x1a\n"),
        ),
        (Encrypted, bytes("invoice.zip", secret), bytes("invoice.zip", zip)),
        (PageAttached, attached("invoice.html", "text/html", b"<html><p>x"), pdf("invoice.pdf")),
        (
            HiddenText,
            html(&format!(
                "<p>Hello there</p><div style='display:none'>{}</div>",
                "secret words ".repeat(40)
            )),
            html(
                "<div style='display:none'>Read what is new in our garden this week</div><p>Hello there</p>",
            ),
        ),
        (
            CutWords,
            html("<p>Your Pay<span style='font-size:0'>qx</span>Pal account</p>"),
            html("<p>Your Pay<b>Pal</b> account</p>"),
        ),
        (
            ImageOnly,
            html("<a href='https://example.org/'><img src='https://example.org/a.png'></a>"),
            html(
                "<img src='https://example.org/a.png'><p>This is what the garden looks like since we planted the new trees.</p>",
            ),
        ),
        (
            LittleText,
            html(&format!(
                "<p>Some text, and not so little that it were an image alone.</p>{}",
                "<br class='none at all'>".repeat(600)
            )),
            html(&"<p>Some text, in paragraphs</p>".repeat(100)),
        ),
        (
            TextsDiffer,
            two(words, &format!("<p>{others}</p>")),
            two(words, &format!("<p>{words}</p>")),
        ),
        (
            FormInMail,
            html("<form action='https://example.org/'><input name=a></form>"),
            html("<form action='https://example.org/'></form>"),
        ),
        (
            AsksPassword,
            html("<form action='https://example.org/'><input type=password></form>"),
            html("<form action='https://example.org/'><input name=a></form>"),
        ),
        (
            ScriptInMail,
            html("<p>Hello</p><script>alert(1)</script>"),
            html("<p>Hello</p><pre>alert(1)</pre>"),
        ),
        (FrameInMail, html("<iframe src='https://example.org/'></iframe>"), html("<p>frames</p>")),
        (
            Refresh,
            html("<meta http-equiv=refresh content='0;url=https://example.org/'>"),
            html("<meta http-equiv=content-type content='text/html'>"),
        ),
        (
            Smuggling,
            attached(
                "invoice.html",
                "text/html",
                format!("<script>b=new Blob([atob('{data}')]);u=URL.createObjectURL(b)</script>")
                    .as_bytes(),
            ),
            attached(
                "invoice.html",
                "text/html",
                format!("<img src='data:image/png;base64,{data}'>").as_bytes(),
            ),
        ),
        (InvisibleLetters, plain(&"pass\u{200b}word ".repeat(6)), plain("pass\u{200b}word, once")),
        (
            MixedScripts,
            plain("your \u{440}aypal acc\u{43e}unt"),
            plain("\u{432}\u{430}\u{448} paypal"),
        ),
        (
            StyledLetters,
            plain(&"\u{1d5d4}\u{1d5d5}\u{1d5d6} ".repeat(3)),
            plain("let \u{1d465} be a number"),
        ),
        (SpacedLetters, plain("v i a g r a and c.i.a.l.i.s"), plain("A B C D E F G, and J. R. R.")),
        (DigitsForLetters, plain("v1agra or c1alis"), plain("mp3 and h2o")),
        (Bait, plain("buy v1agra"), plain("buy viagra")),
        (TurnedText, plain("abc \u{202e}cba"), plain("\u{5e9}\u{5dc}\u{5d5}\u{5dd}")),
        (
            FalseLink,
            seen("https://evil.example/", "https://www.bank.example/"),
            seen("https://login.bank.example/", "www.bank.example"),
        ),
        (
            FalseLink,
            seen("http://192.0.2.1/", "www.bank.example"),
            seen("https://x.list-manage.com/t", "www.bank.example"),
        ),
        (
            UserInLink,
            link("https://bank.example@evil.example/"),
            link("https://evil.example/@bank.example"),
        ),
        (AddressLink, link("http://192.0.2.1/x"), link("http://example.org/192.0.2.1")),
        (DisguisedAddress, link("http://3221225985/"), link("http://192.0.2.1/")),
        (LookalikeLink, link("https://www.paypa1.com/"), link("https://www.paypal.com/")),
        (LookalikeLink, link("https://prov1der.example/"), link("https://provider.example/")),
        (BrandInLink, link("https://paypal.com.login.example/"), link("https://login.paypal.com/")),
        (
            ForeignScripts,
            link("https://\u{435}xampl\u{435}.org/"),
            link("https://\u{43f}\u{440}\u{438}\u{43c}\u{435}\u{440}.example/"),
        ),
        (ShortLink, link("https://bit.ly/x"), link("https://example.org/x")),
        (
            OnwardLink,
            link("https://example.org/?u=https%3A%2F%2Fevil.example"),
            link("https://example.org/?u=https%3A%2F%2Fwww.example.org"),
        ),
        (
            ManyLabels,
            link("https://a.b.c.d.e.f.example.org/"),
            link("https://www.shop.example.org/"),
        ),
        (OddPort, link("https://example.org:4321/"), link("https://example.org:8443/")),
        (
            LongLink,
            link(&format!("https://example.org/{}", "x".repeat(2_500))),
            link(&format!("https://example.org/{}", "x".repeat(500))),
        ),
        (DataLink, link("data:text/html,hello"), html("<img src='data:image/png;base64,QUJD'>")),
        (ScriptLink, link("javascript:alert(1)"), link("https://example.org/javascript:alert(1)")),
        (FileLink, link("file://evil.example/share"), link("https://example.org/file")),
        (BrokenLink, link("http://exa mple:x/"), link("http://{{host}}/")),
    ]
}

#[test]
fn each_is_shown_and_not_shown() {
    let mut covered = BTreeSet::from([Oddity::Unreadable, Oddity::RawHeader]);
    let mut wrong = Vec::new();
    for (oddity, odd, fine) in rows() {
        for (message, expected) in [(odd, true), (fine, false)] {
            let found = oddities(&message);
            if found.contains(&oddity) != expected {
                wrong.push((oddity, expected, found, message[..message.len().min(900)].to_owned()));
            }
        }
        covered.insert(oddity);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for oddity in Oddity::ALL {
        assert!(covered.contains(oddity), "nothing shows {oddity:?}");
    }
}

#[test]
fn those_without_a_row() {
    let brands = Brands::default();
    let surroundings = Surroundings { now: NOW, brands: &brands };
    let good = fields(&[]);
    let mut anatomy = Anatomy::read(good.as_bytes(), &limits());
    assert_eq!(anatomy.findings(&surroundings), []);
    anatomy.problems.add(Problem::Unreadable);
    assert_eq!(anatomy.findings(&surroundings)[0].oddity, Oddity::Unreadable);
    let mut raw = good.into_bytes();
    let at = raw.windows(5).position(|bytes| bytes == b"Lunch").unwrap();
    raw[at] = 0xe9;
    let found = Anatomy::read(&raw, &limits()).findings(&surroundings);
    assert_eq!(found[0].oddity, Oddity::RawHeader);
}

/// Ordinary mail has none, or none to speak of.
#[test]
fn ordinary_mail() {
    for (message, most) in [
        (fields(&[]), 0.0),
        (plain("Hello Joe,\n\nsee https://example.org/a and www.example.org.\n\nJane\n"), 0.0),
        (html("<p>Hello <b>Joe</b>, <a href='https://example.org/'>here</a> it is.</p>"), 0.0),
        (pdf("invoice.pdf"), 0.0),
        (seen("https://click.example.org/t?x=1", "www.partner.example"), 0.0),
        (seen("https://partner.example/", "our partner"), 0.0),
        (
            letter(
                &[
                    ("From", "Gardening News <news@example.org>"),
                    ("List-Id", "news.example.org"),
                    ("Reply-To", "answers@elsewhere.example"),
                ],
                "Content-Type: text/html; charset=utf-8\n\n<html><head><style>.m{display:none}@media screen{.m{display:block}}</style>\
                 </head><body><div style='display:none;max-height:0'>What is new in the garden</div>\
                 <img src='https://news.example.org/open.gif' width=1 height=1>\
                 <table bgcolor='#336633'><tr><td style='color:#ffffff'>Gardening News of this week, with much text</td></tr></table>\
                 <a href='https://x.list-manage.com/track?u=1'>www.example.org</a></body></html>",
            ),
            0.0,
        ),
    ] {
        let found = findings(&message);
        let weight: f32 = found.iter().map(Finding::weight).sum();
        assert!(weight <= most, "{found:?}\n{message}");
    }
}

#[test]
fn names_are_names() {
    let mut names = BTreeSet::new();
    for oddity in Oddity::ALL {
        let name = oddity.name();
        assert!(names.insert(name), "{name} is there twice");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
        assert!((0.0..=10.0).contains(&oddity.weight()), "{name}");
        assert!(oddity.sentence().ends_with('.'), "{name}");
    }
}

#[test]
fn sentences() {
    for (message, oddity, sentence) in [
        (
            seen("https://evil.example/", "https://www.bank.example/login"),
            Oddity::FalseLink,
            "A link says that it leads to one place, but leads to another: www.bank.example leads to evil.example.",
        ),
        (
            bytes("invoice.pdf.exe", b"MZ\x90\0\x03"),
            Oddity::Program,
            "An attachment is a program, which runs when it is opened: invoice.pdf.exe, a program for Windows.",
        ),
        (
            fields(&[("Date", "Tue, 1 Dec 2026 05:00:00 +0000")]),
            Oddity::FutureDate,
            "The message says that it was written in the future, 7 days from now.",
        ),
        (
            bytes("invoice\u{202e}fdp.exe", b"MZ\x90\0\x03"),
            Oddity::TrickyName,
            "The name of an attachment hides how it ends: invoice\u{b7}fdp.exe.",
        ),
    ] {
        let found = findings(&message);
        let finding = found.iter().find(|finding| finding.oddity == oddity).unwrap();
        assert_eq!(finding.describe(), sentence);
        assert_eq!(finding.to_string(), sentence);
    }
    let long = Finding::new(Oddity::BadAuthor, "x\r\ny".repeat(100));
    assert!(long.describe().chars().count() < 250 && !long.describe().contains(['\r', '\n']));
}
