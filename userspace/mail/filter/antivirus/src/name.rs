//! File names, and how they lie: what is shown is not what is opened.

/// Octets of a name that are read, without its folders, from its end. File systems stop at 255.
const MOST_OCTETS: usize = 1_024;

/// Letters of a name that are shown.
const MOST_SHOWN: usize = 80;

/// Blanks in a row that nobody types.
const MANY_BLANKS: usize = 4;

/// What opening a file does, by the end of its name.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Opening {
    /// Nobody knows.
    #[default]
    Unknown,
    /// It runs, or makes something else run.
    Program,
    /// Windows interprets it with the rights of a program, at a click.
    Script,
    /// It is source text of a program: it runs where its interpreter was installed, and is sent among those who write it.
    Source,
    /// It leads somewhere, with a click that looks like opening a file.
    Link,
    /// A document that exists in order to bring macros.
    Macros,
    /// A disk that is mounted, and whose files don't bear the mark of the Internet.
    Disk,
    /// A page that the browser opens from the disk.
    Page,
    /// An archive.
    Archive,
    /// Something that is shown or read.
    Shown,
}

impl Opening {
    /// By an extension in lower case, without its dot.
    #[must_use]
    pub fn of(extension: &str) -> Self {
        KNOWN
            .iter()
            .find(|(_, extensions)| extensions.contains(&extension))
            .map_or(Self::Unknown, |(opening, _)| *opening)
    }

    /// A short name, for the rules.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Program => "program",
            Self::Script => "script",
            Self::Source => "source",
            Self::Link => "link",
            Self::Macros => "macros",
            Self::Disk => "disk",
            Self::Page => "page",
            Self::Archive => "archive",
            Self::Shown => "shown",
        }
    }

    const fn runs(self) -> bool {
        matches!(self, Self::Program | Self::Script)
    }
}

const KNOWN: &[(Opening, &[&str])] = &[
    (
        Opening::Program,
        &[
            "exe",
            "com",
            "scr",
            "pif",
            "cpl",
            "msi",
            "msp",
            "mst",
            "msix",
            "msixbundle",
            "appx",
            "appxbundle",
            "appinstaller",
            "appref-ms",
            "application",
            "dll",
            "ocx",
            "sys",
            "drv",
            "jar",
            "apk",
            "gadget",
            "xll",
            "wll",
            "lnk",
            "scf",
            "chm",
            "hlp",
            "pkg",
            "mpkg",
            "run",
            "deb",
            "rpm",
            "xpi",
            "crx",
            "settingcontent-ms",
            "library-ms",
            "search-ms",
            "searchconnector-ms",
            "diagcab",
            "diagcfg",
            "diagpkg",
            "nsh",
            "vxd",
            "theme",
            "themepack",
            "desktopthemepackfile",
            "vsto",
            "mde",
            "ade",
            "accde",
            "msu",
            "elf",
            "appimage",
            "snap",
            "flatpakref",
            "desktop",
            "prg",
            "inx",
            "ins",
            "isp",
        ],
    ),
    (
        Opening::Script,
        &[
            "js", "jse", "vbs", "vbe", "vb", "wsf", "wsh", "wsc", "ws", "hta", "ps1", "ps1xml",
            "ps2", "ps2xml", "psc1", "psc2", "psm1", "psd1", "msh", "msh1", "msh2", "mshxml",
            "bat", "cmd", "reg", "inf", "sct", "shb", "shs", "msc", "jnlp", "scpt", "scptd",
            "command", "workflow", "terminal", "tool", "a3x", "au3", "ahk",
        ],
    ),
    (
        Opening::Source,
        &["py", "pyw", "pyc", "pyz", "pl", "rb", "php", "sh", "bash", "csh", "ksh", "lua", "tcl"],
    ),
    (Opening::Link, &["url", "website", "webloc", "iqy", "oqy", "rqy", "slk", "rdp"]),
    (
        Opening::Macros,
        &[
            "docm", "dotm", "xlsm", "xlsb", "xltm", "xlam", "xla", "xlm", "pptm", "potm", "ppsm",
            "ppam", "sldm", "one", "onepkg", "mdb", "accdb", "adp", "mda", "mdt",
        ],
    ),
    (
        Opening::Disk,
        &["iso", "img", "vhd", "vhdx", "udf", "dmg", "vmdk", "wim", "swm", "vdi", "nrg"],
    ),
    (
        Opening::Page,
        &[
            "html", "htm", "xhtml", "xht", "shtml", "shtm", "mht", "mhtml", "svg", "svgz", "xsl",
            "xslt",
        ],
    ),
    (
        Opening::Archive,
        &[
            "zip", "rar", "7z", "gz", "tgz", "bz2", "tbz", "tbz2", "xz", "txz", "zst", "tar",
            "cab", "ace", "arj", "lzh", "lha", "z", "r00", "r01", "001", "uue", "uu", "xxe",
            "cpio", "lz", "lzma", "alz", "egg", "zipx",
        ],
    ),
    (
        Opening::Shown,
        &[
            "txt", "pdf", "doc", "docx", "dot", "dotx", "xls", "xlsx", "xlt", "xltx", "ppt",
            "pptx", "pps", "ppsx", "rtf", "odt", "ods", "odp", "csv", "jpg", "jpeg", "png", "gif",
            "bmp", "tif", "tiff", "webp", "heic", "mp3", "mp4", "wav", "avi", "mov", "mkv", "m4a",
            "ogg", "eml", "msg", "ics", "vcf", "xml", "json", "log", "md", "xps", "epub",
        ],
    ),
];

/// A file's name, and what it is worth.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct FileName {
    /// The name without folders, without what Windows passes over at its end, in lower case.
    pub base: String,
    /// What stands behind the last dot.
    pub extension: String,
    /// What opening it does.
    pub opening: Opening,
    /// Whether letters in it turn the direction of writing, or can't be seen: `gpj.exe` looks like `exe.jpg`.
    pub turned: bool,
    /// Whether it runs, and looks as if it were to be shown: `invoice.pdf.exe`.
    pub double: bool,
    /// Whether so many blanks stand before its end that it is out of sight.
    pub padded: bool,
    /// Whether it leads out of the folder that it is unpacked to.
    pub outward: bool,
    shown: String,
}

impl FileName {
    /// Reads a name, or a path within an archive.
    #[must_use]
    pub fn new(raw: &str) -> Self {
        let outward = raw.starts_with(['/', '\\'])
            || raw.get(1..3).is_some_and(|colon| matches!(colon, ":\\" | ":/"))
            || raw.split(['/', '\\']).any(|folder| folder == "..");
        let last = raw.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or(raw);
        let last = tail(last, MOST_OCTETS);
        let turned = last.chars().any(is_turning);
        // Windows passes over dots and blanks at the end; who can't see a letter doesn't read it.
        let base: String =
            last.chars().filter(|&letter| !is_turning(letter) && !letter.is_control()).collect();
        let base = base.trim_end_matches(|letter| letter == '.' || is_blank(letter)).to_lowercase();
        let (stem, extension) = match base.rsplit_once('.') {
            Some((stem, extension)) => (stem, extension.trim().to_owned()),
            None => (base.as_str(), String::new()),
        };
        let opening = Opening::of(&extension);
        let before = stem
            .trim_end_matches(is_blank)
            .rsplit_once('.')
            .map_or(Opening::Unknown, |(_, before)| Opening::of(before.trim()));
        let double = (opening.runs() || opening == Opening::Disk)
            && matches!(before, Opening::Shown | Opening::Page);
        let padded = longest_blank(&base) >= MANY_BLANKS && opening.runs();
        Self { extension, opening, turned, double, padded, outward, shown: shown(last), base }
    }

    /// The name as it can be shown: nothing in it turns the direction of writing or ends the line, and it is not long.
    #[must_use]
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

/// Letters that turn the direction of writing, or that have neither width nor ink.
const fn is_turning(letter: char) -> bool {
    matches!(letter,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}'
        | '\u{feff}' | '\u{ad}' | '\u{61c}' | '\u{180e}')
}

/// Letters that look like a blank.
fn is_blank(letter: char) -> bool {
    letter.is_whitespace()
        || matches!(letter, '\u{2800}' | '\u{3164}' | '\u{115f}' | '\u{1160}' | '\u{ffa0}')
}

fn longest_blank(text: &str) -> usize {
    let mut longest = 0;
    let mut length = 0;
    for letter in text.chars() {
        length = if is_blank(letter) { length + 1 } else { 0 };
        longest = longest.max(length);
    }
    longest
}

fn shown(name: &str) -> String {
    let clean = |letter: char| {
        if is_turning(letter) || letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter }
    };
    let letters = name.chars().count();
    if letters <= MOST_SHOWN {
        return name.chars().map(clean).collect();
    }
    // Its end says more than its middle.
    let half = MOST_SHOWN / 2;
    let begin = name.chars().take(half).map(clean);
    let end = name.chars().skip(letters.saturating_sub(half)).map(clean);
    begin.chain(['\u{2026}']).chain(end).collect()
}

/// As much of the end of a text as has at most so many octets, cut between letters.
fn tail(text: &str, most: usize) -> &str {
    let mut begin = text.len().saturating_sub(most);
    while !text.is_char_boundary(begin) {
        begin += 1;
    }
    text.get(begin..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn openings() {
        for (name, base, opening) in [
            ("a.exe", "a.exe", Opening::Program),
            ("A.EXE", "a.exe", Opening::Program),
            ("a.exe. . ", "a.exe", Opening::Program),
            ("folder/sub\\a.js", "a.js", Opening::Script),
            ("a.docm", "a.docm", Opening::Macros),
            ("a.iso", "a.iso", Opening::Disk),
            ("a.htm", "a.htm", Opening::Page),
            ("a.tar.gz", "a.tar.gz", Opening::Archive),
            ("a.pdf", "a.pdf", Opening::Shown),
            ("a.e\u{200b}xe", "a.exe", Opening::Program),
            ("a.exe\u{a0}", "a.exe", Opening::Program),
            ("README", "readme", Opening::Unknown),
            ("", "", Opening::Unknown),
            (".", "", Opening::Unknown),
            ("/", "", Opening::Unknown),
        ] {
            let read = FileName::new(name);
            assert_eq!((read.base.as_str(), read.opening), (base, opening), "{name:?}");
        }
    }

    #[test]
    fn tricks() {
        for (name, tricks) in [
            ("invoice.pdf", "...."),
            ("invoice.pdf.exe", ".d.."),
            ("invoice.pdf .exe", ".d.."),
            ("invoice.pdf.js", ".d.."),
            ("invoice.pdf.img", ".d.."),
            // People number versions, and pack what they show.
            ("invoice.v2.exe", "...."),
            ("invoice.pdf.zip", "...."),
            ("jquery.min.js", "...."),
            ("photo_\u{202e}gpj.exe", "t..."),
            ("photo.jpg          .exe", ".dp."),
            ("photo.jpg\u{2800}\u{2800}\u{2800}\u{2800}\u{2800}.scr", ".dp."),
            ("long          name.pdf", "...."),
            ("../../.bashrc", "...o"),
            ("..\\a.txt", "...o"),
            ("/etc/passwd", "...o"),
            ("C:\\Windows\\a.txt", "...o"),
            ("a..b/c...d", "...."),
        ] {
            let read = FileName::new(name);
            let found: String =
                [(read.turned, 't'), (read.double, 'd'), (read.padded, 'p'), (read.outward, 'o')]
                    .into_iter()
                    .map(|(is, sign)| if is { sign } else { '.' })
                    .collect();
            assert_eq!(found, tricks, "{name:?}");
        }
    }

    #[test]
    fn shown_names_are_harmless() {
        assert_eq!(
            FileName::new("a\u{202e}gpj\r\n.exe").shown(),
            "a\u{fffd}gpj\u{fffd}\u{fffd}.exe"
        );
        for letters in [1_020, 1_021, 5_000] {
            let name = format!("folder/{}\u{e9}.exe", "a".repeat(letters));
            assert_eq!(FileName::new(&name).opening, Opening::Program, "{letters}");
        }
        let long = FileName::new(&format!("{}.exe", "a".repeat(500)));
        assert!(
            long.shown().ends_with("aaaa.exe") && long.shown().chars().count() == MOST_SHOWN + 1
        );
    }

    proptest! {
        #[test]
        fn any_name_is_read(name: String) {
            let read = FileName::new(&name);
            prop_assert!(read.base.ends_with(&read.extension));
            prop_assert!(!read.shown().chars().any(|letter| is_turning(letter) || letter.is_control()));
        }
    }
}
