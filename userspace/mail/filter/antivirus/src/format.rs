//! What a file is by its octets, whatever its name and its type say.

use crate::bytes::{at_most, le16, place32};

/// What a file is.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Format {
    /// Nothing of that.
    #[default]
    Unknown,
    /// There is nothing in it.
    Empty,
    /// Text.
    Text,
    /// A web page.
    Html,
    /// An image that is a page.
    Svg,
    /// Text that begins with the name of its interpreter.
    Script,
    /// A program for Windows or DOS.
    WindowsProgram,
    /// A program for Unix.
    UnixProgram,
    /// A program for macOS.
    AppleProgram,
    /// A program in Java, or for Android.
    JavaProgram,
    /// A link of Windows that starts something.
    WindowsLink,
    /// A help file of Windows, which can run scripts.
    WindowsHelp,
    /// ZIP, and what is made of it.
    Zip,
    /// gzip.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
    /// tar.
    Tar,
    /// cpio.
    Cpio,
    /// 7-Zip.
    SevenZip,
    /// RAR.
    Rar,
    /// A cabinet of Windows.
    Cabinet,
    /// Archives that nobody but a recipient's old program opens: ARJ, ACE, LHA, compress, lzip, BinHex, those of Symbian.
    OldArchive,
    /// An image of a disk.
    Disk,
    /// Old Office documents, and whatever else is a file system in a file.
    Compound,
    /// A OneNote notebook.
    OneNote,
    /// Rich text.
    Rtf,
    /// PDF.
    Pdf,
    /// Outlook's wrapper.
    Tnef,
    /// An image.
    Image,
    /// Sound or pictures that move.
    Media,
    /// Source text of macros, as taken out of a document.
    Macro,
}

impl Format {
    /// By its octets.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        if content.is_empty() {
            return Self::Empty;
        }
        let magic = MAGIC
            .iter()
            .find(|(at, magic, _)| content.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
        match magic {
            Some((_, b"MZ", _)) => windows(content),
            Some((_, b"\xca\xfe\xba\xbe", _)) => java_or_apple(content),
            Some((_, b"\x60\xea", _)) => arj(content),
            // Readers look for its mark in the first kilobyte.
            Some((_, _, Self::Image | Self::Media)) if has_pdf(content) => Self::Pdf,
            // Letters begin sentences, too.
            Some((_, magic, _))
                if magic.len() < 4 && magic.is_ascii() && text(content) != Self::Unknown =>
            {
                text(content)
            }
            Some((_, _, format)) => *format,
            None if is_tar(content) => Self::Tar,
            None => text(content),
        }
    }

    /// A short name, for the rules.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Empty => "empty",
            Self::Text => "text",
            Self::Html => "html",
            Self::Svg => "svg",
            Self::Script => "script",
            Self::WindowsProgram => "windows-program",
            Self::UnixProgram => "unix-program",
            Self::AppleProgram => "apple-program",
            Self::JavaProgram => "java-program",
            Self::WindowsLink => "windows-link",
            Self::WindowsHelp => "windows-help",
            Self::Zip => "zip",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Tar => "tar",
            Self::Cpio => "cpio",
            Self::SevenZip => "7z",
            Self::Rar => "rar",
            Self::Cabinet => "cabinet",
            Self::OldArchive => "old-archive",
            Self::Disk => "disk",
            Self::Compound => "compound",
            Self::OneNote => "onenote",
            Self::Rtf => "rtf",
            Self::Pdf => "pdf",
            Self::Tnef => "tnef",
            Self::Image => "image",
            Self::Media => "media",
            Self::Macro => "macro",
        }
    }

    /// Whether it is worth to be looked at where nobody said that there is a file: among the letters of a page.
    pub(crate) const fn is_telling(self) -> bool {
        !matches!(
            self,
            Self::Unknown
                | Self::Empty
                | Self::Text
                | Self::Image
                | Self::Media
                | Self::Svg
                | Self::Script
                | Self::Macro
        )
    }

    /// Whether no reader takes files out of it.
    pub(crate) const fn is_plain(self) -> bool {
        matches!(
            self,
            Self::Unknown
                | Self::WindowsProgram
                | Self::UnixProgram
                | Self::AppleProgram
                | Self::JavaProgram
                | Self::WindowsLink
                | Self::WindowsHelp
                | Self::Disk
                | Self::Image
                | Self::Media
        )
    }

    /// Whether it is text of some kind.
    pub(crate) const fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Html | Self::Svg | Self::Script)
    }
}

/// Where, what, and what it is then. The first that fits counts.
const MAGIC: &[(usize, &[u8], Format)] = &[
    (0, b"PK\x03\x04", Format::Zip),
    (0, b"PK\x05\x06", Format::Zip),
    (0, b"PK\x07\x08", Format::Zip),
    (0, b"PK00PK\x03\x04", Format::Zip),
    (0, b"MZ", Format::WindowsProgram),
    (0, b"\x7fELF", Format::UnixProgram),
    (0, b"\xfe\xed\xfa\xce", Format::AppleProgram),
    (0, b"\xfe\xed\xfa\xcf", Format::AppleProgram),
    (0, b"\xce\xfa\xed\xfe", Format::AppleProgram),
    (0, b"\xcf\xfa\xed\xfe", Format::AppleProgram),
    (0, b"\xca\xfe\xba\xbe", Format::JavaProgram),
    (0, b"dex\n0", Format::JavaProgram),
    (0, b"L\0\0\0\x01\x14\x02\0", Format::WindowsLink),
    (0, b"ITSF", Format::WindowsHelp),
    (0, b"?_\x03\0", Format::WindowsHelp),
    (0, b"\x1f\x8b", Format::Gzip),
    (0, b"BZh", Format::Bzip2),
    (0, b"\xfd7zXZ\0", Format::Xz),
    (0, b"\x28\xb5\x2f\xfd", Format::Zstd),
    (0, b"7z\xbc\xaf\x27\x1c", Format::SevenZip),
    (0, b"Rar!\x1a\x07", Format::Rar),
    (0, b"RE\x7e\x5e", Format::OldArchive),
    (0, b"MSCF\0\0\0\0", Format::Cabinet),
    (0, b"070701", Format::Cpio),
    (0, b"070702", Format::Cpio),
    (0, b"070707", Format::Cpio),
    (0, b"\xc7\x71", Format::Cpio),
    (0, b"\x71\xc7", Format::Cpio),
    (0, b"\x60\xea", Format::OldArchive),
    (7, b"**ACE**", Format::OldArchive),
    (2, b"-lh0-", Format::OldArchive),
    (2, b"-lh4-", Format::OldArchive),
    (2, b"-lh5-", Format::OldArchive),
    (2, b"-lh6-", Format::OldArchive),
    (2, b"-lh7-", Format::OldArchive),
    (2, b"-lz5-", Format::OldArchive),
    (0, b"\x1f\x9d", Format::OldArchive),
    (0, b"\x1f\xa0", Format::OldArchive),
    (0, b"LZIP", Format::OldArchive),
    (0, b"ALZ\x01", Format::OldArchive),
    (0, b"EGGA", Format::OldArchive),
    (0, b"SZDD\x88\xf0\x27\x33", Format::OldArchive),
    (0, b"xar!", Format::OldArchive),
    (0, b"(This file must be converted with BinHex", Format::OldArchive),
    (8, b"\x19\x04\0\x10", Format::OldArchive),
    (0, b"\x7a\x1a\x20\x10", Format::OldArchive),
    (0, b"!<arch>\n", Format::OldArchive),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Format::Compound),
    (0, b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", Format::OneNote),
    (0, b"{\\rt", Format::Rtf),
    (0, b"%PDF-", Format::Pdf),
    (0, b"\x78\x9f\x3e\x22", Format::Tnef),
    (0, b"\x89PNG\r\n\x1a\n", Format::Image),
    (0, b"\xff\xd8\xff", Format::Image),
    (0, b"GIF87a", Format::Image),
    (0, b"GIF89a", Format::Image),
    (0, b"II*\0", Format::Image),
    (0, b"MM\0*", Format::Image),
    (0, b"BM", Format::Image),
    (0, b"\0\0\x01\0", Format::Image),
    (4, b"ftypheic", Format::Image),
    (4, b"ftypavif", Format::Image),
    (4, b"ftyp", Format::Media),
    (0, b"RIFF", Format::Media),
    (0, b"ID3", Format::Media),
    (0, b"OggS", Format::Media),
    (0, b"fLaC", Format::Media),
    (0, b"\x1a\x45\xdf\xa3", Format::Media),
    (0, b"\0\0\x01\xba", Format::Media),
    (0x8001, b"CD001", Format::Disk),
    (0x8001, b"BEA01", Format::Disk),
    (0, b"conectix", Format::Disk),
    (0, b"vhdxfile", Format::Disk),
    (0, b"KDMV", Format::Disk),
    (0, b"MSWIM\0\0\0", Format::Disk),
    (257, b"ustar", Format::Tar),
];

/// Two letters begin many sentences, so that more of a program is asked for.
fn windows(content: &[u8]) -> Format {
    let header = place32(content, 0x3c).map(|at| at_most(content, at, 4));
    match header {
        Some([b'P', b'E', 0, 0] | [b'N' | b'L', b'E' | b'X', ..]) => Format::WindowsProgram,
        _ if text(content) != Format::Unknown => text(content),
        _ => Format::WindowsProgram,
    }
}

/// Universal programs of Apple begin like Java's classes; there, the number of programs follows, here a version.
fn java_or_apple(content: &[u8]) -> Format {
    match content.get(4..8) {
        Some(&[0, 0, 0, programs]) if programs < 30 => Format::AppleProgram,
        _ => Format::JavaProgram,
    }
}

fn has_pdf(content: &[u8]) -> bool {
    memchr::memmem::find(at_most(content, 0, 1024), b"%PDF-").is_some()
}

/// Two octets are met by chance: the length of the header follows, and within it that of its first part, with the kind at a
/// fixed place.
fn arj(content: &[u8]) -> Format {
    match (le16(content, 2), content.get(4), content.get(10)) {
        (Some(30..=2600), Some(30..), Some(2)) => Format::OldArchive,
        _ => text(content),
    }
}

/// The oldest form has no mark, but a sum over its first block.
fn is_tar(content: &[u8]) -> bool {
    let Some(block) = content.first_chunk::<512>() else { return false };
    let said = crate::unpack::octal(at_most(block, 148, 8));
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, &octet)| if (148..156).contains(&at) { 32 } else { u64::from(octet) })
        .sum();
    sum != 256 && said == Some(sum)
}

fn text(content: &[u8]) -> Format {
    if has_pdf(content) {
        return Format::Pdf;
    }
    let head = at_most(content, 0, 1024);
    let wide = matches!(le16(head, 0), Some(0xfeff | 0xfffe));
    let is_control =
        |&&octet: &&u8| octet < 0x20 && !matches!(octet, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b);
    let narrow: Vec<u8> = if wide {
        head.iter().copied().filter(|&octet| octet != 0).collect()
    } else if head.iter().filter(is_control).count() > 0 {
        return Format::Unknown;
    } else {
        head.to_vec()
    };
    let start = narrow
        .strip_prefix(b"\xef\xbb\xbf")
        .or_else(|| narrow.strip_prefix(b"\xff\xfe"))
        .or_else(|| narrow.strip_prefix(b"\xfe\xff"))
        .unwrap_or(&narrow)
        .trim_ascii_start();
    if start.starts_with(b"#!") {
        return Format::Script;
    }
    let lower = start.to_ascii_lowercase();
    let has = |tag: &[u8]| memchr::memmem::find(&lower, tag).is_some();
    if lower.starts_with(b"<") && has(b"<svg") {
        return Format::Svg;
    }
    let tags: [&[u8]; 9] = [
        b"<!doctype html",
        b"<html",
        b"<head",
        b"<body",
        b"<script",
        b"<meta",
        b"<title",
        b"<iframe",
        b"<form",
    ];
    if tags.iter().any(|tag| has(tag)) { Format::Html } else { Format::Text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn by_content() {
        let mut iso = vec![0; 0x9000];
        iso[0x8001..0x8006].copy_from_slice(b"CD001");
        for (content, format) in [
            (&b""[..], Format::Empty),
            (b"plain text", Format::Text),
            (b"MZ is how this sentence begins", Format::Text),
            (b"BMW sells cars", Format::Text),
            (b"BZh, he said", Format::Text),
            (b"BM\x36\0\x0c\0\0\0\0\0", Format::Image),
            (b"MZ\x90\0\x03\0", Format::WindowsProgram),
            (&samples::program(), Format::WindowsProgram),
            (b"\x7fELF\x02\x01\x01", Format::UnixProgram),
            (b"\xcf\xfa\xed\xfe\x07", Format::AppleProgram),
            (b"\xca\xfe\xba\xbe\0\0\0\x02\0\0", Format::AppleProgram),
            (b"\xca\xfe\xba\xbe\0\0\0\x34\0\0", Format::JavaProgram),
            (b"L\0\0\0\x01\x14\x02\0\0\0", Format::WindowsLink),
            (b"#!/bin/sh\n", Format::Script),
            (b"PK\x03\x04\x14\0", Format::Zip),
            (b"Rar!\x1a\x07\0", Format::Rar),
            (b"7z\xbc\xaf\x27\x1c\0", Format::SevenZip),
            (b"\x1f\x8b\x08", Format::Gzip),
            (&samples::tar(&[("a", b"b")]), Format::Tar),
            (&iso, Format::Disk),
            (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0", Format::Compound),
            (b"{\\rtf1", Format::Rtf),
            (b"%PDF-1.7", Format::Pdf),
            (b"\0\n%PDF-1.7", Format::Pdf),
            (b"\x89PNG\r\n\x1a\n\0", Format::Image),
            (b"GIF89a\x01\0\x01\0\0\0\0;%PDF-1.7", Format::Pdf),
            (b"\x60\xea\x2c\0\x22\x0b\x01\x02\x10\0\x02\0", Format::OldArchive),
            (b"\x60\xea\0\0\x22\x0b\x01\x02\x10\0\x02\0", Format::Unknown),
            (b"\x78\x9f\x3e\x22\0", Format::Tnef),
            (b"<html><body>", Format::Html),
            (b"\xff\xfe<\0h\0t\0m\0l\0>\0", Format::Html),
            (b"\xef\xbb\xbf \r\n<!DOCTYPE HTML>", Format::Html),
            (b"<?xml version='1.0'?><svg xmlns='x'>", Format::Svg),
            (b"<?xml version='1.0'?><note/>", Format::Text),
            (b"a\0b", Format::Unknown),
            (&[0; 512], Format::Unknown),
        ] {
            assert_eq!(Format::of(content), format, "{:?}", at_most(content, 0, 40).escape_ascii());
        }
    }
}
