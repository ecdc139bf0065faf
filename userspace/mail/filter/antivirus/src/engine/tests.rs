use super::*;
use crate::limits::Excess;
use crate::samples::{self, Zipped};

fn engine() -> Engine {
    Engine::new(Limits::default(), Duration::from_secs(5)).unwrap()
}

fn examine(name: &str, content: &[u8]) -> Examination {
    let part = Part::file(name, content.to_vec());
    let mut examinations = engine().examine(std::slice::from_ref(&part), &|| false);
    assert_eq!(examinations.len(), 1);
    examinations.remove(0).of(&part)
}

/// The worst, and whether it is held.
fn verdict(name: &str, content: &[u8]) -> (&'static str, String) {
    match examine(name, content).verdict {
        Verdict::Found(finding) => ("found", finding.name),
        Verdict::Suspicious(finding) => ("suspicious", finding.name),
        other => (other.name(), String::new()),
    }
}

#[test]
fn harmless_files() {
    let ooxml = samples::zip(&[
        ("[Content_Types].xml", b"<?xml version=\"1.0\"?><Types/>"),
        ("word/document.xml", b"<?xml version=\"1.0\"?><w:document>the letter</w:document>"),
        ("word/_rels/document.xml.rels", b"<Relationship Type=\"http://example.org/hyperlink\" Target=\"https://example.org\" TargetMode=\"External\"/>"),
        ("word/media/image1.png", b"\x89PNG\r\n\x1a\n\0\0\0\0"),
    ]);
    for (name, content) in [
        ("letter.txt", &b"Dear reader, open the attached file and powershell it."[..]),
        ("letter.docx", &ooxml),
        (
            "photos.zip",
            &samples::zip(&[("a.jpg", b"\xff\xd8\xff\xe0"), ("b.jpg", b"\xff\xd8\xff\xe1")]),
        ),
        ("letter.pdf", b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\n"),
        ("page.html", b"<html><body><p>hello</p></body></html>"),
        ("photo.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF"),
        ("letter.doc", &samples::compound(&[("WordDocument", &[0; 600]), ("1Table", b"table")])),
        ("letter.rtf", b"{\\rtf1 the letter}"),
        ("list.csv", b"name;sum\na;1\n"),
        ("www.example.com", b"\x89PNG\r\n\x1a\n\0\0\0\0"),
        ("archive.tar.gz", &samples::gzip(None, &samples::tar(&[("a.txt", b"text")]))),
        ("", b""),
    ] {
        let examination = examine(name, content);
        assert_eq!(examination.verdict, Verdict::Clean, "{name}: {:?}", examination.findings);
        assert!(examination.lasting);
    }
}

#[test]
fn the_test_file_in_everything() {
    let eicar = samples::eicar();
    let found = ("found", "Test.EICAR".to_owned());
    for (what, content) in [
        ("plain", eicar.clone()),
        ("with blanks", [&eicar[..], b"\r\n"].concat()),
        ("zip", samples::zip(&[("a.txt", &eicar)])),
        ("zip in zip", samples::zip(&[("a.zip", &samples::zip(&[("a.txt", &eicar)]))])),
        ("tar.gz", samples::gzip(None, &samples::tar(&[("a", &eicar)]))),
        ("7z", samples::sevenzip_lzma2("a", &eicar)),
        ("RAR", samples::rar_new("a", &eicar, false, 0)),
        ("document", samples::compound(&[("\u{1}Ole10Native", &samples::package("a", &eicar))])),
        ("PDF", samples::pdf_with_file(&eicar)),
        ("winmail.dat", samples::tnef("a", &eicar)),
        ("uuencoded", samples::uuencoded("a", &eicar)),
    ] {
        assert_eq!(verdict("file", &content), found, "{what}");
    }
    // By agreement, it is no test where anything else is with it.
    assert_eq!(verdict("a.txt", &[b"Look: ", &eicar[..]].concat()).0, "clean");
    assert_eq!(verdict("a.txt", &[&eicar[..], &[b'a'; 100]].concat()).0, "clean");
}

#[test]
fn programs_by_what_they_are() {
    for (format, sample) in samples::all() {
        let (verdict, name) = verdict("photo.jpg", &sample);
        assert_eq!((verdict, name.as_str()), ("found", "Program.Windows"), "{format}");
    }
    for (content, expected) in [
        (&b"\x7fELF\x02\x01\x01\0"[..], "Program.Unix"),
        (b"\xcf\xfa\xed\xfe\x07\0\0\x01", "Program.Apple"),
        (b"\xca\xfe\xba\xbe\0\0\0\x34", "Program.Java"),
        (b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0", "Program.Link"),
        (b"ITSF\x03\0\0\0", "Program.Help"),
    ] {
        assert_eq!(verdict("letter.pdf", content), ("found", expected.to_owned()));
    }
}

#[test]
fn names() {
    for (name, expected) in [
        ("setup.exe", ("found", "Program.Name")),
        ("letter.pdf.exe", ("found", "Name.Double")),
        ("letter.pdf.js", ("found", "Name.Double")),
        ("letter.pdf                    .exe", ("found", "Name.Double")),
        ("letter                    .exe", ("found", "Name.Padded")),
        ("letter\u{202e}fdp.exe", ("found", "Name.Turned")),
        ("letter\u{200b}.pdf", ("suspicious", "Name.Invisible")),
        ("run.vbs", ("found", "Script.Attached")),
        ("run.js", ("found", "Script.Attached")),
        ("tool.py", ("suspicious", "Script.Source")),
        ("go.url", ("suspicious", "Link.Attached")),
        ("letter.pdf", ("clean", "")),
        ("format.com", ("found", "Program.Name")),
    ] {
        let (verdict, found) = verdict(name, b"nothing of the sort");
        assert_eq!((verdict, found.as_str()), expected, "{name:?}");
    }
}

#[test]
fn scripts_in_archives() {
    let text: &[u8] = b"alert(1)";
    let alone = samples::zip(&[("invoice.js", text)]);
    assert_eq!(verdict("a.zip", &alone), ("found", "Script.Attached".into()));
    let site = samples::zip(&[
        ("a.js", text),
        ("b.css", text),
        ("c.html", text),
        ("d.txt", text),
        ("e.txt", text),
    ]);
    assert_eq!(verdict("a.zip", &site), ("suspicious", "Script.Packed".into()));
    let hidden = samples::zip(&[
        ("a.vbs", text),
        ("b.css", text),
        ("c.html", text),
        ("d.txt", text),
        ("e.txt", text),
    ]);
    assert_eq!(verdict("a.zip", &hidden), ("found", "Script.Attached".into()));
    let loader =
        b"var s = new ActiveXObject('WScript.Shell'); var h = new ActiveXObject('MSXML2.XMLHTTP');";
    assert_eq!(
        verdict("a.zip", &samples::zip(&[("a.js", loader)])),
        ("found", "Script.Loader".into())
    );
}

#[test]
fn what_is_encrypted() {
    let sealed = |name: &str| {
        samples::zip_of(&[Zipped { flags: 1, ..Zipped::stored(name, b"twelve octets and more") }])
    };
    assert_eq!(verdict("a.zip", &sealed("letter.pdf")), ("suspicious", "Archive.Encrypted".into()));
    assert_eq!(verdict("a.zip", &sealed("letter.exe")), ("found", "Program.Name".into()));
    assert_eq!(verdict("a.zip", &sealed("letter.pdf.js")), ("found", "Name.Double".into()));
    assert_eq!(
        verdict("a.7z", &samples::sevenzip_encrypted("letter.pdf")),
        ("suspicious", "Archive.Encrypted".into())
    );
    assert_eq!(
        verdict("a.rar", &samples::rar_new("a.pdf", b"content", true, 3)),
        ("suspicious", "Archive.Encrypted".into())
    );
    let document = samples::compound(&[("EncryptedPackage", b"content")]);
    assert_eq!(verdict("a.xlsx", &document), ("suspicious", "Document.Encrypted".into()));
}

#[test]
fn what_cannot_be_looked_into() {
    let packed = examine("a.rar", &samples::rar_old("a.pdf", b"content", 0, 0x33));
    assert_eq!(packed.verdict, Verdict::Unscanned(Why::Unsupported));
    assert!(packed.verdict.is_held() && !packed.verdict.is_passing() && packed.lasting);
    assert_eq!(packed.findings[0].name, "Archive.Unsupported");
    assert_eq!(
        verdict("a.rar", &samples::rar_old("a.scr", b"content", 0, 0x33)),
        ("found", "Program.Name".into())
    );
    let old = examine("a.ace", b"1234567**ACE**");
    assert_eq!(old.verdict, Verdict::Unscanned(Why::Unsupported));
    assert_eq!(old.findings[0].name, "Archive.Old");
    let zip = samples::zip(&[("a.txt", &b"some text ".repeat(100))]);
    assert_eq!(verdict("a.zip", &zip[..zip.len() / 2]), ("suspicious", "Archive.Broken".into()));
    let two = samples::zip_of(&[Zipped {
        local_name: Some("a.txt".into()),
        ..Zipped::stored("b.txt", b"content")
    }]);
    assert_eq!(verdict("a.zip", &two), ("suspicious", "Archive.Ambiguous".into()));
    let mut iso = vec![0; 0x9000];
    iso[0x8001..0x8006].copy_from_slice(b"CD001");
    assert_eq!(verdict("a.iso", &iso), ("found", "Archive.Disk".into()));
    assert_eq!(verdict("a.zip", &samples::zip(&[("a", &iso)])), ("found", "Archive.Disk".into()));
    assert_eq!(
        verdict("a.tar", &samples::tar(&[("../../a.txt", b"content")])),
        ("suspicious", "Name.Outward".into())
    );
}

#[test]
fn installers() {
    let mut installer = samples::compound(&[("stream", b"content")]);
    let class = b"\x84\x10\x0c\0\0\0\0\0\xc0\0\0\0\0\0\0\x46";
    // In the first entry of the directory, and nowhere else.
    installer[1024 + 80..1024 + 96].copy_from_slice(class);
    assert_eq!(verdict("report.doc", &installer), ("found", "Program.Installer".into()));
    assert_eq!(verdict("report.doc", &samples::compound(&[("stream", class)])).0, "clean");
}

#[test]
fn what_hides_in_other_files() {
    let image = b"\xff\xd8\xff\xe0\0\x10JFIF";
    let zip = samples::zip(&[("a.txt", b"content")]);
    assert_eq!(
        verdict("a.jpg", &[&image[..], &zip].concat()),
        ("suspicious", "Archive.Hidden".into())
    );
    // Of what is packed there, something can't be unpacked.
    let rar = samples::rar_old("a.pdf", b"content", 0, 0x33);
    assert_eq!(verdict("a.jpg", &[&image[..], &rar].concat()).0, "unscanned");
    assert_eq!(
        verdict("a.msg", &samples::outlook("invoice.js", b"alert(1)")),
        ("found", "Script.Attached".into())
    );
    let pdf =
        b"%PDF-1.7\n1 0 obj<</Type/ObjStm/Filter/FlateDecode>>stream\n\xff\xff\xffendstream\n\
        endobj trailer<</Encrypt 2 0 R>>";
    assert_eq!(verdict("a.pdf", pdf), ("suspicious", "Document.EncryptedPdf".into()));
}

#[test]
fn documents() {
    let relations = |kind: &str, target: &str| {
        let text = format!(
            "<Relationship Type=\"http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}\" \
             Target=\"{target}\" TargetMode=\"External\"/>"
        );
        samples::zip(&[("word/_rels/settings.xml.rels", text.as_bytes())])
    };
    let macros = |source| samples::document_with_macro(source);
    let inside = |document: &[u8]| samples::zip(&[("word/vbaProject.bin", document)]);
    for (what, content, expected) in [
        ("a macro", macros("Sub Sum()\r\nEnd Sub"), ("suspicious", "Macro.Any")),
        ("that starts", macros("Sub AutoOpen()\r\nEnd Sub"), ("suspicious", "Macro.Starts")),
        ("and runs", macros("Sub AutoOpen()\r\nShell (\"calc\")\r\nEnd Sub"), ("found", "Macro.Runs")),
        (
            "in a newer document",
            inside(&macros("Sub Document_Open()\r\nSet a = CreateObject(\"WScript.Shell\")\r\nEnd Sub")),
            ("found", "Macro.Runs"),
        ),
        ("without source", samples::compound(&[("_VBA_PROJECT", b"compiled")]), ("suspicious", "Macro.Sourceless")),
        (
            "as formulas",
            samples::zip(&[("xl/macrosheets/sheet1.xml", b"<?xml version=\"1.0\"?><xm:macrosheet xmlns=\"\">")]),
            ("suspicious", "Macro.Formulas"),
        ),
        ("a template", relations("attachedTemplate", "http://example.org/a.dotm"), ("found", "Document.RemoteTemplate")),
        ("a template from a disk", relations("attachedTemplate", "file:///C:\\a.dotm"), ("clean", "")),
        ("an object", relations("oleObject", "http://example.org/a.html!"), ("found", "Document.RemoteObject")),
        ("a link", relations("hyperlink", "http://example.org/"), ("clean", "")),
        (
            "a field",
            samples::zip(&[("word/document.xml", b"<w:instrText>DDEAUTO c:\\\\windows\\\\system32\\\\cmd.exe</w:instrText>")]),
            ("found", "Document.DDE"),
        ),
        (
            "an equation",
            b"{\\rtf1{\\object\\objupdate{\\*\\objdata 01050000020000000b0000004571756174696f6e2e3300}}}".to_vec(),
            ("found", "Exploit.Equation"),
        ),
        ("a notebook", samples::notebook(b"\x89PNG\r\n\x1a\n"), ("suspicious", "Document.Notebook")),
        (
            "a notebook with a script",
            samples::notebook(b"<script>CreateObject(\"WScript.Shell\")</script>"),
            ("found", "Document.NotebookScript"),
        ),
        (
            "a PDF that starts something",
            b"%PDF-1.7\n1 0 obj<</OpenAction<</S/Launch/Win<</F(cmd.exe)>>>>>>endobj".to_vec(),
            ("found", "Document.Launch"),
        ),
        (
            "a PDF with a script",
            b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj".to_vec(),
            ("suspicious", "Document.PdfScript"),
        ),
        ("a formula", b"a;=cmd|'/c calc'!A1\n".to_vec(), ("found", "Link.Query")),
    ] {
        let name = if what == "a formula" { "list.csv" } else { "letter.doc" };
        let (verdict, found) = verdict(name, &content);
        assert_eq!((verdict, found.as_str()), expected, "{what}");
    }
}

#[test]
fn pages() {
    let archive = samples::zip(&[("letter.txt", &samples::program().repeat(2)[..])]);
    for (what, content, expected) in [
        (
            "a file put together",
            samples::page_with_file(&[0; 300]),
            ("suspicious", "Page.Smuggling"),
        ),
        (
            "a password",
            b"<html><form action='https://example.org/'><input type=password></form>".to_vec(),
            ("suspicious", "Page.Password"),
        ),
        (
            "hidden",
            b"<html><script>eval(atob('YWxlcnQoMSk='))</script>".to_vec(),
            ("suspicious", "Page.Obfuscated"),
        ),
        (
            "an image with a script",
            b"<svg xmlns='a'><script>alert(1)</script></svg>".to_vec(),
            ("suspicious", "Page.ImageScript"),
        ),
        (
            "that leads on",
            b"<html><meta http-equiv=\"refresh\" content=\"0; url=https://example.org\">".to_vec(),
            ("suspicious", "Page.Leads"),
        ),
        (
            "an archive put together",
            samples::page_with_file(&archive),
            ("found", "Program.Windows"),
        ),
        (
            "an encrypted archive put together",
            samples::page_with_file(&samples::zip_of(&[Zipped {
                flags: 1,
                ..Zipped::stored("a.pdf", &[7; 400])
            }])),
            ("found", "Page.Archive"),
        ),
    ] {
        let (verdict, found) = verdict("letter.html", &content);
        assert_eq!((verdict, found.as_str()), expected, "{what}");
    }
}

#[test]
fn what_is_shown_is_no_file() {
    let engine = engine();
    for content in [
        samples::page_with_file(&samples::program()),
        b"#!/bin/sh\necho".to_vec(),
        b"<html><form action='https://example.org/'><input type=password></form>".to_vec(),
    ] {
        let examinations = engine.examine(&[Part::text(content)], &|| false);
        assert_eq!(examinations[0].verdict, Verdict::Clean);
    }
    let gtube =
        ["XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE", "-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"].concat();
    let examinations = engine.examine(&[Part::text(format!("Hello\r\n{gtube}\r\n"))], &|| false);
    assert!(
        matches!(&examinations[0].verdict, Verdict::Suspicious(finding) if finding.name == "Test.GTUBE")
    );
}

#[test]
fn bombs_are_held_and_say_so() {
    let bomb = samples::gzip(None, &vec![0; 100 << 20]);
    let examination = examine("a.gz", &bomb);
    assert_eq!(examination.verdict, Verdict::Excessive(Excess::Ratio));
    assert!(
        examination.verdict.is_held() && !examination.verdict.is_passing() && examination.lasting
    );
    // What was found before it is worse.
    let both = samples::zip(&[("a.txt", &samples::eicar()), ("b.gz", &bomb)]);
    assert!(
        matches!(examine("a.zip", &both).verdict, Verdict::Found(finding) if finding.name == "Test.EICAR")
    );
    // After a bomb, the next part may get an answer that it would not get alone; that one is not kept.
    let parts =
        [Part::file("a.gz", bomb), Part::file("b.zip", samples::zip(&[("a.txt", b"content")]))];
    let examinations = engine().examine(&parts, &|| false);
    assert_eq!(examinations[1].verdict, Verdict::Clean);
}

#[test]
fn the_time_is_over() {
    let parts = [Part::file("a.txt", &b"content"[..]), Part::text("content")];
    for examination in engine().examine(&parts, &|| true) {
        assert_eq!(examination.verdict, Verdict::Unscanned(Why::Late));
        assert!(!examination.lasting);
    }
}

#[test]
fn sentences() {
    let examination =
        examine("offer.zip", &samples::zip(&[("offer.pdf.exe", &samples::program())]));
    assert_eq!(
        examination.verdict.to_string(),
        "\u{201c}offer.zip \u{203a} offer.pdf.exe\u{201d} looks like a document, and is none."
    );
    assert!(examination.findings.len() > 1);
    assert_eq!(examination.files, 2);
}
