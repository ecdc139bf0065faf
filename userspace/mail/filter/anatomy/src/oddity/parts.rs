//! Oddities of parts and their names.

use super::{Found, Oddity};
use crate::anatomy::Anatomy;
use crate::disguise::{is_direction, is_invisible};
use crate::kind::{Kind, Opening, opening};
use crate::part::{Part, Role};

pub(super) fn look(anatomy: &Anatomy<'_>, found: &mut Found) {
    if let Some(part) = anatomy.parts.iter().find(|part| part.broken) {
        found.add(Oddity::BrokenEncoding, called(part));
    }
    found.add_if(anatomy.parts.iter().any(|part| part.open_ended), Oddity::OpenMultipart);
    found.add_if(anatomy.unknown_charsets > 0, Oddity::UnknownCharset);
    // An image that a page shows may have a name that tricks, too.
    for part in anatomy.parts.iter().filter(|part| part.role == Role::Attachment) {
        attachment(part, found);
    }
}

/// How people know a part: by its name, or by what it says that it is.
fn called<'p>(part: &'p Part<'_>) -> &'p str {
    part.name.as_deref().unwrap_or(&part.media)
}

fn attachment(part: &Part<'_>, found: &mut Found) {
    let name = part.name.as_deref().unwrap_or_default();
    let opens = opening(name);
    let called = called(part);
    if part.kind.runs() && part.kind != Kind::Script || opens == Some(Opening::Program) {
        found.add(Oddity::Program, format_args!("{called}, {}", part.kind.describe()));
    } else if part.kind == Kind::Script || opens == Some(Opening::Script) {
        found.add(Oddity::Script, called);
    }
    if opens == Some(Opening::Macros) || part.kind == Kind::OneNote || has_macros(part) {
        found.add(Oddity::Macros, called);
    }
    if opens == Some(Opening::DiskImage) || part.kind == Kind::DiskImage {
        found.add(Oddity::DiskImage, called);
    }
    if let Some(inner) = inner_extension(name)
        && opens.is_some_and(|opens| {
            !matches!(opens, Opening::Shown | Opening::Archive) || inner_differs(name, inner)
        })
    {
        found.add(Oddity::TwoExtensions, name);
    }
    if hides_its_end(name) {
        found.add(Oddity::TrickyName, name);
    }
    if part.declared && !part.kind.fits(&part.media) || !name_fits(opens, name, part.kind) {
        found.add(
            Oddity::FalseType,
            format_args!("{called} says {}, and is {}", part.media, part.kind.describe()),
        );
    }
    if is_encrypted(part) {
        found.add(Oddity::Encrypted, called);
    }
    let page = matches!(part.kind, Kind::Html)
        || matches!(part.media.as_str(), "text/html" | "application/xhtml+xml")
        || part.kind == Kind::Svg && part.id.is_none()
        || opens == Some(Opening::Page);
    if page {
        found.add(Oddity::PageAttached, called);
    }
}

/// What stands between the last two dots, if that is an ending of what is shown.
fn inner_extension(name: &str) -> Option<&str> {
    let (stem, _) = name.trim_end_matches(['.', ' ']).rsplit_once('.')?;
    let stem = stem.trim_end();
    let (_, inner) = stem.rsplit_once('.')?;
    let inner = inner.trim();
    (opening(stem) == Some(Opening::Shown)).then_some(inner)
}

/// Whether the last ending is that of an archive, and the one before no part of how archives are called: `a.txt.gz` is how a
/// text is compressed, `a.pdf.rar` is not.
fn inner_differs(name: &str, inner: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let documents = ["pdf", "doc", "docx", "xls", "xlsx", "jpg", "jpeg", "png"];
    documents.iter().any(|document| inner.eq_ignore_ascii_case(document))
        && matches!(last.as_str(), "rar" | "ace" | "cab" | "7z" | "arj" | "lzh" | "z" | "r00")
}

/// Whether a name shows another end than it has.
fn hides_its_end(name: &str) -> bool {
    let invisible =
        name.chars().any(|char| is_direction(char) || is_invisible(char) || char.is_control());
    // So many spaces that the end is outside of the window.
    let spaces = name.contains("        ");
    let opens = opening(name);
    let runs = matches!(opens, Some(Opening::Program | Opening::Script));
    let dots = name.ends_with(['.', ' ']) && runs;
    invisible && opens.is_some_and(|opens| opens != Opening::Shown)
        || name.chars().any(is_direction)
        || spaces
        || dots
}

/// Whether content is what the end of a name promises.
fn name_fits(opens: Option<Opening>, name: &str, kind: Kind) -> bool {
    if opens != Some(Opening::Shown) {
        return true;
    }
    let lower = name.to_ascii_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| lower.ends_with(end));
    match kind {
        _ if kind.runs() && kind != Kind::Script => false,
        Kind::Zip => {
            !ends(&[".pdf", ".jpg", ".jpeg", ".png", ".gif", ".txt", ".rtf", ".doc", ".csv"])
        }
        Kind::Rar | Kind::SevenZip | Kind::DiskImage => false,
        Kind::Html => {
            !ends(&[".pdf", ".doc", ".docx", ".jpg", ".jpeg", ".png", ".gif", ".xlsx", ".pptx"])
        }
        _ => true,
    }
}

/// Whether a document of the newer kind has a project of macros: it is named in the archive's list.
fn has_macros(part: &Part<'_>) -> bool {
    part.kind == Kind::Zip && {
        let list =
            part.content.get(part.content.len().saturating_sub(64 << 10)..).unwrap_or_default();
        memchr::memmem::find(list, b"vbaProject.bin").is_some()
    }
}

/// Whether the first entry of an archive is encrypted: PKWARE's APPNOTE 4.4.4, bit 0.
fn is_encrypted(part: &Part<'_>) -> bool {
    part.kind == Kind::Zip
        && part.content.starts_with(b"PK\x03\x04")
        && part.content.get(6).is_some_and(|flags| flags & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_hide_how_they_end() {
        for (name, hides) in [
            ("a.pdf", false),
            ("a.exe", false),
            ("a b.pdf", false),
            ("Bericht\u{200b}.pdf", false),
            ("a\u{202e}fdp.exe", true),
            ("a\u{202e}b", true),
            ("a\u{200b}.exe", true),
            ("a.pdf                 .exe", true),
            ("a.exe.", true),
            ("a.exe ", true),
            ("etc.", false),
        ] {
            assert_eq!(hides_its_end(name), hides, "{name}");
        }
    }

    #[test]
    fn names_that_end_twice() {
        for (name, inner) in [
            ("a.pdf.exe", Some("pdf")),
            ("a.pdf .exe", Some("pdf")),
            ("a.v2.pdf", None),
            ("a.exe", None),
            ("a.tar.gz", None),
            ("a", None),
            ("", None),
        ] {
            assert_eq!(inner_extension(name), inner, "{name}");
        }
        assert!(inner_differs("a.pdf.rar", "pdf") && !inner_differs("a.txt.gz", "txt"));
    }
}
