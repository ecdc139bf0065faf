//! What content is by its first octets, whatever it is called.

/// What content is. Broad, as far as a filter minds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Kind {
    /// Nothing there.
    Empty,
    /// Characters, as it seems.
    Text,
    /// HTML, as it seems.
    Html,
    /// A program of Windows or DOS: what begins with `MZ`.
    WindowsProgram,
    /// A program of Linux or Unix: ELF.
    UnixProgram,
    /// A program of macOS or iOS.
    AppleProgram,
    /// Compiled Java.
    JavaClass,
    /// A link of Windows to a program (`.lnk`).
    WindowsLink,
    /// A script that names its interpreter in its first line.
    Script,
    /// Windows' help, which runs scripts (`.chm`).
    WindowsHelp,
    /// A package of Android or Java, an Office document, or a plain archive: all are ZIP.
    Zip,
    /// A RAR archive.
    Rar,
    /// A 7-Zip archive.
    SevenZip,
    /// Compressed, or an archive of another kind: gzip, bzip2, xz, zstd, cabinet, ace, arj, lzh, tar.
    Archive,
    /// An image of a disk: what it holds has lost its marks as coming from elsewhere.
    DiskImage,
    /// OLE: Office documents of before 2007, and installers of Windows.
    Ole,
    /// OneNote, which opens what is pasted into it.
    OneNote,
    /// RTF.
    Rtf,
    /// PDF.
    Pdf,
    /// SVG, an image with scripts.
    Svg,
    /// Other images.
    Image,
    /// Sound.
    Audio,
    /// Moving images.
    Video,
    /// What Outlook wraps its mail in: TNEF.
    Tnef,
    /// Something else.
    #[default]
    Unknown,
}

impl Kind {
    /// What these octets are.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        if content.is_empty() {
            return Self::Empty;
        }
        let known = MAGIC.iter().find(|(offset, magic, _)| {
            content.get(*offset..).is_some_and(|rest| rest.starts_with(magic))
        });
        match known {
            // Two or three letters begin sentences, too.
            Some((_, magic, _))
                if magic.len() < 4
                    && magic.iter().all(u8::is_ascii_graphic)
                    && Self::text(content) == Self::Text =>
            {
                Self::Text
            }
            Some((_, magic, Self::JavaClass)) => Self::java_or_apple(content, magic),
            Some((_, b"RIFF", _)) => match content.get(8..12) {
                Some(b"WEBP") => Self::Image,
                Some(b"WAVE") => Self::Audio,
                _ => Self::Video,
            },
            Some((_, _, kind)) => *kind,
            None => Self::text(content),
        }
    }

    fn text(content: &[u8]) -> Self {
        let head = content.get(..1024).unwrap_or(content);
        // Readers of PDF look for its mark in the first kilobyte.
        if memchr::memmem::find(head, b"%PDF-").is_some() {
            return Self::Pdf;
        }
        let wide = matches!(head, [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        let controls = head
            .iter()
            .filter(|&&byte| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b))
            .count();
        if !wide && controls > 0 {
            return Self::Unknown;
        }
        let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
        if start.starts_with(b"#!") {
            return Self::Script;
        }
        if !start.starts_with(b"<") {
            return Self::Text;
        }
        let lower = start.to_ascii_lowercase();
        if memchr::memmem::find(&lower, b"<svg").is_some() {
            return Self::Svg;
        }
        let tags: [&[u8]; 9] = [
            b"<!doctype html",
            b"<html",
            b"<head",
            b"<body",
            b"<script",
            b"<meta",
            b"<title",
            b"<table",
            b"<div",
        ];
        if tags.iter().any(|tag| memchr::memmem::find(&lower, tag).is_some()) {
            Self::Html
        } else {
            Self::Text
        }
    }

    fn java_or_apple(content: &[u8], magic: &[u8]) -> Self {
        // Universal programs of Apple begin like Java's classes; there, the number of programs follows, here a version.
        match content.get(magic.len()..magic.len() + 4) {
            Some(&[0, 0, 0, programs]) if programs < 30 => Self::AppleProgram,
            _ => Self::JavaClass,
        }
    }

    /// Whether opening it runs what is in it.
    #[must_use]
    pub const fn runs(self) -> bool {
        matches!(
            self,
            Self::WindowsProgram
                | Self::UnixProgram
                | Self::AppleProgram
                | Self::JavaClass
                | Self::WindowsLink
                | Self::Script
                | Self::WindowsHelp
        )
    }

    /// In words, for people.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Empty => "an empty file",
            Self::Text => "text",
            Self::Html => "a web page",
            Self::WindowsProgram => "a program for Windows",
            Self::UnixProgram => "a program for Unix",
            Self::AppleProgram => "a program for macOS",
            Self::JavaClass => "a program in Java",
            Self::WindowsLink => "a link that starts a program",
            Self::Script => "a script",
            Self::WindowsHelp => "a help file that can run scripts",
            Self::Zip => "a ZIP archive",
            Self::Rar => "a RAR archive",
            Self::SevenZip => "a 7-Zip archive",
            Self::Archive => "an archive",
            Self::DiskImage => "an image of a disk",
            Self::Ole => "an old Office document",
            Self::OneNote => "a OneNote notebook",
            Self::Rtf => "a rich text document",
            Self::Pdf => "a PDF document",
            Self::Svg => "an SVG image",
            Self::Image => "an image",
            Self::Audio => "sound",
            Self::Video => "a video",
            Self::Tnef => "a wrapper of Outlook",
            Self::Unknown => "a file of unknown kind",
        }
    }

    /// Whether content of this kind is what that type says. Types that say nothing fit everything.
    #[must_use]
    pub fn fits(self, media: &str) -> bool {
        let (kind, subkind) = media.split_once('/').unwrap_or((media, ""));
        match self {
            Self::Empty | Self::Unknown => true,
            Self::Image => kind != "text" && !matches!(media, "application/pdf"),
            Self::Pdf => media.contains("pdf") || kind == "application" && says_nothing(subkind),
            _ if self.runs() => {
                !matches!(kind, "text" | "image" | "audio" | "video")
                    && !subkind.contains("pdf")
                    && !subkind.contains("officedocument")
                    && !matches!(subkind, "msword" | "vnd.ms-excel" | "vnd.ms-powerpoint" | "rtf")
                    || self == Self::Script && kind == "text"
            }
            Self::Zip
            | Self::Rar
            | Self::SevenZip
            | Self::Archive
            | Self::DiskImage
            | Self::Ole => {
                !matches!(kind, "text" | "image" | "audio" | "video") && !subkind.contains("pdf")
            }
            Self::Html => !matches!(kind, "image" | "audio" | "video") && !subkind.contains("pdf"),
            _ => true,
        }
    }
}

fn says_nothing(subkind: &str) -> bool {
    !["word", "excel", "powerpoint", "officedocument", "zip", "rar"]
        .iter()
        .any(|said| subkind.contains(said))
}

/// Where in content, what, and what it is then. The first that fits counts.
const MAGIC: &[(usize, &[u8], Kind)] = &[
    (0, b"MZ", Kind::WindowsProgram),
    (0, b"\x7fELF", Kind::UnixProgram),
    (0, b"\xfe\xed\xfa\xce", Kind::AppleProgram),
    (0, b"\xfe\xed\xfa\xcf", Kind::AppleProgram),
    (0, b"\xce\xfa\xed\xfe", Kind::AppleProgram),
    (0, b"\xcf\xfa\xed\xfe", Kind::AppleProgram),
    (0, b"\xca\xfe\xba\xbe", Kind::JavaClass),
    (0, b"L\0\0\0\x01\x14\x02\0", Kind::WindowsLink),
    (0, b"ITSF", Kind::WindowsHelp),
    (0, b"PK\x03\x04", Kind::Zip),
    (0, b"PK\x05\x06", Kind::Zip),
    (0, b"PK\x07\x08", Kind::Zip),
    (0, b"Rar!\x1a\x07", Kind::Rar),
    (0, b"7z\xbc\xaf\x27\x1c", Kind::SevenZip),
    (0, b"\x1f\x8b", Kind::Archive),
    (0, b"BZh", Kind::Archive),
    (0, b"\xfd7zXZ\0", Kind::Archive),
    (0, b"\x28\xb5\x2f\xfd", Kind::Archive),
    (0, b"MSCF", Kind::Archive),
    (0, b"\x60\xea", Kind::Archive),
    (7, b"**ACE**", Kind::Archive),
    (2, b"-lh", Kind::Archive),
    (257, b"ustar", Kind::Archive),
    (0x8001, b"CD001", Kind::DiskImage),
    (0, b"conectix", Kind::DiskImage),
    (0, b"vhdxfile", Kind::DiskImage),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind::Ole),
    (0, b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", Kind::OneNote),
    (0, b"{\\rt", Kind::Rtf),
    (0, b"%PDF-", Kind::Pdf),
    (0, b"\x89PNG\r\n\x1a\n", Kind::Image),
    (0, b"\xff\xd8\xff", Kind::Image),
    (0, b"GIF87a", Kind::Image),
    (0, b"GIF89a", Kind::Image),
    (0, b"II*\0", Kind::Image),
    (0, b"MM\0*", Kind::Image),
    (0, b"BM", Kind::Image),
    (0, b"\0\0\x01\0", Kind::Image),
    (4, b"ftypheic", Kind::Image),
    (4, b"ftypavif", Kind::Image),
    (4, b"ftypM4A", Kind::Audio),
    (4, b"ftyp", Kind::Video),
    (0, b"RIFF", Kind::Video),
    (0, b"ID3", Kind::Audio),
    (0, b"\xff\xfb", Kind::Audio),
    (0, b"OggS", Kind::Audio),
    (0, b"fLaC", Kind::Audio),
    (0, b"\x1a\x45\xdf\xa3", Kind::Video),
    (0, b"\0\0\x01\xba", Kind::Video),
    (0, b"\x78\x9f\x3e\x22", Kind::Tnef),
];

/// What the end of a file's name makes of it when somebody opens it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Opening {
    /// It runs.
    Program,
    /// It is interpreted, with the rights of a program.
    Script,
    /// A document that may bring macros.
    Macros,
    /// A disk that is mounted.
    DiskImage,
    /// A page that the browser opens from the disk.
    Page,
    /// An archive.
    Archive,
    /// Something that is shown.
    Shown,
}

/// What opening a file of that name does, by what stands behind its last dot; nothing if it has none, or an unknown one.
#[must_use]
pub fn opening(name: &str) -> Option<Opening> {
    // Windows passes over dots and spaces at the end.
    let name = name.trim_end_matches(['.', ' ']);
    let (_, extension) = name.rsplit_once('.')?;
    let extension = extension.to_ascii_lowercase();
    let known = |list: &[&str]| list.contains(&extension.as_str());
    if known(PROGRAMS) {
        Some(Opening::Program)
    } else if known(SCRIPTS) {
        Some(Opening::Script)
    } else if known(MACROS) {
        Some(Opening::Macros)
    } else if known(DISKS) {
        Some(Opening::DiskImage)
    } else if known(PAGES) {
        Some(Opening::Page)
    } else if known(ARCHIVES) {
        Some(Opening::Archive)
    } else if known(SHOWN) {
        Some(Opening::Shown)
    } else {
        None
    }
}

const PROGRAMS: &[&str] = &[
    "exe",
    "scr",
    "com",
    "pif",
    "cpl",
    "msi",
    "msp",
    "msix",
    "appx",
    "appref-ms",
    "application",
    "dll",
    "ocx",
    "sys",
    "jar",
    "apk",
    "gadget",
    "xll",
    "lnk",
    "url",
    "scf",
    "chm",
    "hlp",
    "app",
    "pkg",
    "run",
    "deb",
    "rpm",
    "xpi",
    "crx",
    "settingcontent-ms",
    "library-ms",
    "search-ms",
    "diagcab",
];

const SCRIPTS: &[&str] = &[
    "js", "jse", "vbs", "vbe", "vb", "wsf", "wsh", "wsc", "hta", "ps1", "ps1xml", "psm1", "psd1",
    "bat", "cmd", "reg", "inf", "sct", "msc", "sh", "command", "py", "pyw", "pl", "rb", "php",
    "jnlp", "ws", "job", "iqy", "slk", "rdp", "scpt", "workflow",
];

const MACROS: &[&str] = &[
    "docm", "dotm", "xlsm", "xlsb", "xltm", "xlam", "xla", "pptm", "potm", "ppsm", "ppam", "sldm",
    "one", "mdb", "mde", "accdb", "accde", "ade", "adp", "xlm",
];

const DISKS: &[&str] = &["iso", "img", "vhd", "vhdx", "udf", "dmg", "vmdk"];

const PAGES: &[&str] =
    &["html", "htm", "xhtml", "xht", "shtml", "shtm", "mht", "mhtml", "svg", "svgz"];

const ARCHIVES: &[&str] = &[
    "zip", "rar", "7z", "gz", "tgz", "bz2", "xz", "zst", "tar", "cab", "ace", "arj", "lzh", "lha",
    "z", "r00", "uue", "uu", "xxe",
];

const SHOWN: &[&str] = &[
    "txt", "pdf", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "rtf", "odt", "ods", "csv", "jpg",
    "jpeg", "png", "gif", "bmp", "tif", "tiff", "webp", "heic", "mp3", "mp4", "wav", "avi", "mov",
    "mkv", "eml", "ics", "vcf", "xml", "json", "log", "md",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_content() {
        let mut tar = vec![b'a'; 300];
        tar[257..262].copy_from_slice(b"ustar");
        let mut iso = vec![0; 0x9000];
        iso[0x8001..0x8006].copy_from_slice(b"CD001");
        let mut program = b"MZ\x90\0\x03\0\0\0".to_vec();
        program.resize(200, 0);
        for (content, kind) in [
            (&b""[..], Kind::Empty),
            (b"plain text", Kind::Text),
            (b"MZ is how this sentence begins", Kind::Text),
            (b"BMW sells cars", Kind::Text),
            (b"BM\x36\0\x0c\0\0\0\0\0", Kind::Image),
            (&program, Kind::WindowsProgram),
            (b"MZ\0", Kind::WindowsProgram),
            (b"\x7fELF\x02\x01\x01", Kind::UnixProgram),
            (b"\xcf\xfa\xed\xfe\x07", Kind::AppleProgram),
            (b"\xca\xfe\xba\xbe\0\0\0\x02\0\0", Kind::AppleProgram),
            (b"\xca\xfe\xba\xbe\0\0\0\x34\0\0", Kind::JavaClass),
            (b"L\0\0\0\x01\x14\x02\0\0\0", Kind::WindowsLink),
            (b"#!/bin/sh\n", Kind::Script),
            (b"PK\x03\x04\x14\0", Kind::Zip),
            (b"Rar!\x1a\x07\0", Kind::Rar),
            (b"7z\xbc\xaf\x27\x1c\0", Kind::SevenZip),
            (b"\x1f\x8b\x08", Kind::Archive),
            (&tar, Kind::Archive),
            (&iso, Kind::DiskImage),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", Kind::Ole),
            (b"{\\rtf1", Kind::Rtf),
            (b"%PDF-1.7", Kind::Pdf),
            (b"\0\n%PDF-1.7", Kind::Pdf),
            (b"\x89PNG\r\n\x1a\n\0", Kind::Image),
            (b"\xff\xd8\xff\xe0", Kind::Image),
            (b"RIFF\x10\0\0\0WEBPVP8", Kind::Image),
            (b"RIFF\x10\0\0\0WAVEfmt", Kind::Audio),
            (b"RIFF", Kind::Video),
            (b"\0\0\0\x18ftypmp42", Kind::Video),
            (b"\x78\x9f\x3e\x22\0", Kind::Tnef),
            (b"<html><body>", Kind::Html),
            (b"\xef\xbb\xbf \r\n<!DOCTYPE HTML>", Kind::Html),
            (b"<?xml version='1.0'?><svg xmlns='x'>", Kind::Svg),
            (b"<?xml version='1.0'?><note/>", Kind::Text),
            (b"a\0b", Kind::Unknown),
        ] {
            assert_eq!(
                Kind::of(content),
                kind,
                "{:?}",
                content.get(..content.len().min(40)).unwrap().escape_ascii()
            );
        }
    }

    #[test]
    fn what_fits() {
        for (kind, media, fits) in [
            (Kind::WindowsProgram, "image/png", false),
            (Kind::WindowsProgram, "application/pdf", false),
            (Kind::WindowsProgram, "application/octet-stream", true),
            (Kind::WindowsProgram, "application/x-msdownload", true),
            (Kind::Script, "text/x-sh", true),
            (Kind::Pdf, "application/pdf", true),
            (Kind::Pdf, "application/octet-stream", true),
            (Kind::Pdf, "image/jpeg", false),
            (Kind::Image, "image/jpeg", true),
            (Kind::Image, "text/plain", false),
            (
                Kind::Zip,
                "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
                true,
            ),
            (Kind::Zip, "image/png", false),
            (Kind::Html, "application/pdf", false),
            (Kind::Html, "text/html", true),
            (Kind::Text, "image/png", true),
            (Kind::Unknown, "image/png", true),
        ] {
            assert_eq!(kind.fits(media), fits, "{kind:?} {media}");
        }
    }

    #[test]
    fn by_name() {
        for (name, expected) in [
            ("a.exe", Some(Opening::Program)),
            ("invoice.pdf.EXE", Some(Opening::Program)),
            ("invoice.pdf.exe. ", Some(Opening::Program)),
            ("a.js", Some(Opening::Script)),
            ("a.docm", Some(Opening::Macros)),
            ("a.iso", Some(Opening::DiskImage)),
            ("a.htm", Some(Opening::Page)),
            ("a.tar.gz", Some(Opening::Archive)),
            ("a.pdf", Some(Opening::Shown)),
            ("a.unheard", None),
            ("README", None),
            ("", None),
        ] {
            assert_eq!(opening(name), expected, "{name}");
        }
    }
}
