//! Characters by name and number: HTML standard, section 13.2.5.72.

use std::borrow::Cow;

use memchr::memchr;

use super::tokens::is_plain;

/// A text with its character references decoded. In attributes, a name without its semicolon is left alone when something
/// follows that could belong to a query: section 13.2.5.73.
pub(crate) fn decode(text: &str, attribute: bool) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = memchr(b'&', rest.as_bytes()) {
        let (plain, behind) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(plain);
        match reference(behind, attribute) {
            Some((characters, length)) => {
                characters.push_to(&mut out);
                rest = behind.get(length..).unwrap_or_default();
            }
            None => {
                out.push('&');
                rest = behind.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    if out.contains('\0') {
        // In text, browsers leave it out: section 13.2.6.4.7.
        out = out.replace('\0', if attribute { "\u{fffd}" } else { "" });
    }
    Cow::Owned(out)
}

/// One character, or two.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Characters {
    One(char),
    Two(&'static str),
}

impl Characters {
    fn push_to(self, out: &mut String) {
        match self {
            Self::One(char) => out.push(char),
            Self::Two(text) => out.push_str(text),
        }
    }
}

/// The names of the table.
#[cfg(test)]
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    BARE.iter().chain(NAMED).map(|(name, _)| *name)
}

/// What a text that begins with an ampersand refers to, and how long that is.
fn reference(text: &str, attribute: bool) -> Option<(Characters, usize)> {
    let bytes = text.as_bytes();
    if let [b'&', b'#', rest @ ..] = bytes {
        return number(rest).map(|(char, length)| (Characters::One(char), length + 2));
    }
    // The longest name has 31 letters.
    let length = bytes.iter().skip(1).take(32).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let name = text.get(1..=length).filter(|name| !name.is_empty())?;
    if bytes.get(length + 1) == Some(&b';')
        && let Some(characters) = named(name)
    {
        return Some((characters, length + 2));
    }
    // Some are known without a semicolon, and then also as the beginning of a word.
    let (known, char) = BARE
        .iter()
        .filter(|(bare, _)| name.starts_with(bare))
        .max_by_key(|(bare, _)| bare.len())?;
    let next = bytes.get(known.len() + 1);
    if attribute && next.is_some_and(|next| *next == b'=' || next.is_ascii_alphanumeric()) {
        return None;
    }
    Some((Characters::One(*char), known.len() + 1))
}

/// What stands behind `&#`: the character, and how many octets that took.
fn number(bytes: &[u8]) -> Option<(char, usize)> {
    let (radix, skipped) = match bytes {
        [b'x' | b'X', ..] => (16, 1),
        _ => (10, 0),
    };
    let digits = bytes.get(skipped..)?.iter().take_while(|byte| char::from(**byte).is_digit(radix));
    let mut value = 0_u32;
    let mut count = 0;
    for digit in digits {
        value = value.saturating_mul(radix).saturating_add(char::from(*digit).to_digit(radix)?);
        count += 1;
    }
    if count == 0 {
        return None;
    }
    let semicolon = usize::from(bytes.get(skipped + count) == Some(&b';'));
    let char = match value {
        0 => '\u{fffd}',
        // What Windows has in the place of controls: section 13.2.5.80.
        0x80..=0x9f => WINDOWS
            .get(value as usize - 0x80)
            .copied()
            .filter(|char| *char != '\0')
            .or_else(|| char::from_u32(value))
            .unwrap_or('\u{fffd}'),
        _ => char::from_u32(value).unwrap_or('\u{fffd}'),
    };
    Some((char, skipped + count + semicolon))
}

const WINDOWS: [char; 32] = [
    '\u{20ac}', '\0', '\u{201a}', '\u{192}', '\u{201e}', '\u{2026}', '\u{2020}', '\u{2021}', '\u{2c6}',
    '\u{2030}', '\u{160}', '\u{2039}', '\u{152}', '\0', '\u{17d}', '\0', '\0', '\u{2018}', '\u{2019}',
    '\u{201c}', '\u{201d}', '\u{2022}', '\u{2013}', '\u{2014}', '\u{2dc}', '\u{2122}', '\u{161}',
    '\u{203a}', '\u{153}', '\0', '\u{17e}', '\u{178}',
];

fn named(name: &str) -> Option<Characters> {
    let found = BARE.iter().chain(NAMED).find(|(known, _)| *known == name);
    if let Some((_, char)) = found {
        return Some(Characters::One(*char));
    }
    if name == "ThickSpace" {
        return Some(Characters::Two("\u{205f}\u{200a}"));
    }
    // Letters of mathematicians: script, Fraktur, double-struck.
    let letter = name.chars().next().filter(char::is_ascii_alphabetic)?;
    let style = name.get(1..)?;
    let (base, exceptions): (u32, &[(char, char)]) = match style {
        "scr" => (0x1d49c, &SCRIPT),
        "fr" => (0x1d504, &FRAKTUR),
        "opf" => (0x1d538, &DOUBLE),
        _ => return None,
    };
    if let Some((_, char)) = exceptions.iter().find(|(known, _)| *known == letter) {
        return Some(Characters::One(*char));
    }
    let place = if letter.is_ascii_uppercase() {
        u32::from(letter) - u32::from('A')
    } else {
        26 + u32::from(letter) - u32::from('a')
    };
    char::from_u32(base + place).map(Characters::One)
}

/// Where the letters were there before their block.
const SCRIPT: [(char, char); 11] = [
    ('B', '\u{212c}'),
    ('E', '\u{2130}'),
    ('F', '\u{2131}'),
    ('H', '\u{210b}'),
    ('I', '\u{2110}'),
    ('L', '\u{2112}'),
    ('M', '\u{2133}'),
    ('R', '\u{211b}'),
    ('e', '\u{212f}'),
    ('g', '\u{210a}'),
    ('o', '\u{2134}'),
];

const FRAKTUR: [(char, char); 5] = [
    ('C', '\u{212d}'),
    ('H', '\u{210c}'),
    ('I', '\u{2111}'),
    ('R', '\u{211c}'),
    ('Z', '\u{2128}'),
];

const DOUBLE: [(char, char); 7] = [
    ('C', '\u{2102}'),
    ('H', '\u{210d}'),
    ('N', '\u{2115}'),
    ('P', '\u{2119}'),
    ('Q', '\u{211a}'),
    ('R', '\u{211d}'),
    ('Z', '\u{2124}'),
];

/// Those that need no semicolon.
const BARE: &[(&str, char)] = &[
    ("amp", '&'), ("AMP", '&'), ("lt", '<'), ("LT", '<'), ("gt", '>'), ("GT", '>'), ("quot", '"'),
    ("QUOT", '"'), ("nbsp", '\u{a0}'), ("iexcl", '\u{a1}'), ("cent", '\u{a2}'), ("pound", '\u{a3}'),
    ("curren", '\u{a4}'), ("yen", '\u{a5}'), ("brvbar", '\u{a6}'), ("sect", '\u{a7}'), ("uml", '\u{a8}'),
    ("copy", '\u{a9}'), ("COPY", '\u{a9}'), ("ordf", '\u{aa}'), ("laquo", '\u{ab}'), ("not", '\u{ac}'),
    ("shy", '\u{ad}'), ("reg", '\u{ae}'), ("REG", '\u{ae}'), ("macr", '\u{af}'), ("deg", '\u{b0}'),
    ("plusmn", '\u{b1}'), ("sup2", '\u{b2}'), ("sup3", '\u{b3}'), ("acute", '\u{b4}'), ("micro", '\u{b5}'),
    ("para", '\u{b6}'), ("middot", '\u{b7}'), ("cedil", '\u{b8}'), ("sup1", '\u{b9}'), ("ordm", '\u{ba}'),
    ("raquo", '\u{bb}'), ("frac14", '\u{bc}'), ("frac12", '\u{bd}'), ("frac34", '\u{be}'),
    ("iquest", '\u{bf}'), ("Agrave", '\u{c0}'), ("Aacute", '\u{c1}'), ("Acirc", '\u{c2}'),
    ("Atilde", '\u{c3}'), ("Auml", '\u{c4}'), ("Aring", '\u{c5}'), ("AElig", '\u{c6}'),
    ("Ccedil", '\u{c7}'), ("Egrave", '\u{c8}'), ("Eacute", '\u{c9}'), ("Ecirc", '\u{ca}'),
    ("Euml", '\u{cb}'), ("Igrave", '\u{cc}'), ("Iacute", '\u{cd}'), ("Icirc", '\u{ce}'),
    ("Iuml", '\u{cf}'), ("ETH", '\u{d0}'), ("Ntilde", '\u{d1}'), ("Ograve", '\u{d2}'),
    ("Oacute", '\u{d3}'), ("Ocirc", '\u{d4}'), ("Otilde", '\u{d5}'), ("Ouml", '\u{d6}'),
    ("times", '\u{d7}'), ("Oslash", '\u{d8}'), ("Ugrave", '\u{d9}'), ("Uacute", '\u{da}'),
    ("Ucirc", '\u{db}'), ("Uuml", '\u{dc}'), ("Yacute", '\u{dd}'), ("THORN", '\u{de}'),
    ("szlig", '\u{df}'), ("agrave", '\u{e0}'), ("aacute", '\u{e1}'), ("acirc", '\u{e2}'),
    ("atilde", '\u{e3}'), ("auml", '\u{e4}'), ("aring", '\u{e5}'), ("aelig", '\u{e6}'),
    ("ccedil", '\u{e7}'), ("egrave", '\u{e8}'), ("eacute", '\u{e9}'), ("ecirc", '\u{ea}'),
    ("euml", '\u{eb}'), ("igrave", '\u{ec}'), ("iacute", '\u{ed}'), ("icirc", '\u{ee}'),
    ("iuml", '\u{ef}'), ("eth", '\u{f0}'), ("ntilde", '\u{f1}'), ("ograve", '\u{f2}'),
    ("oacute", '\u{f3}'), ("ocirc", '\u{f4}'), ("otilde", '\u{f5}'), ("ouml", '\u{f6}'),
    ("divide", '\u{f7}'), ("oslash", '\u{f8}'), ("ugrave", '\u{f9}'), ("uacute", '\u{fa}'),
    ("ucirc", '\u{fb}'), ("uuml", '\u{fc}'), ("yacute", '\u{fd}'), ("thorn", '\u{fe}'),
    ("yuml", '\u{ff}'),
];

/// Of the others those that are met: letters, punctuation that a link is hidden with, and what nobody sees.
const NAMED: &[(&str, char)] = &[
    ("apos", '\''), ("Tab", '\t'), ("NewLine", '\n'), ("excl", '!'), ("num", '#'), ("dollar", '$'),
    ("percnt", '%'), ("lpar", '('), ("rpar", ')'), ("ast", '*'), ("midast", '*'), ("plus", '+'),
    ("comma", ','), ("period", '.'), ("sol", '/'), ("colon", ':'), ("semi", ';'), ("equals", '='),
    ("quest", '?'), ("commat", '@'), ("lbrack", '['), ("lsqb", '['), ("bsol", '\\'), ("rbrack", ']'),
    ("rsqb", ']'), ("Hat", '^'), ("lowbar", '_'), ("UnderBar", '_'), ("grave", '`'), ("lcub", '{'),
    ("lbrace", '{'), ("verbar", '|'), ("vert", '|'), ("VerticalLine", '|'), ("rcub", '}'), ("rbrace", '}'),
    ("NonBreakingSpace", '\u{a0}'), ("ZeroWidthSpace", '\u{200b}'), ("zwnj", '\u{200c}'),
    ("zwj", '\u{200d}'), ("lrm", '\u{200e}'), ("rlm", '\u{200f}'), ("NoBreak", '\u{2060}'),
    ("ApplyFunction", '\u{2061}'), ("af", '\u{2061}'), ("InvisibleTimes", '\u{2062}'), ("it", '\u{2062}'),
    ("InvisibleComma", '\u{2063}'), ("ic", '\u{2063}'), ("NegativeThinSpace", '\u{200b}'),
    ("NegativeMediumSpace", '\u{200b}'), ("NegativeThickSpace", '\u{200b}'),
    ("NegativeVeryThinSpace", '\u{200b}'), ("ensp", '\u{2002}'), ("emsp", '\u{2003}'),
    ("emsp13", '\u{2004}'), ("emsp14", '\u{2005}'), ("numsp", '\u{2007}'), ("puncsp", '\u{2008}'),
    ("thinsp", '\u{2009}'), ("ThinSpace", '\u{2009}'), ("hairsp", '\u{200a}'), ("VeryThinSpace", '\u{200a}'),
    ("MediumSpace", '\u{205f}'), ("hyphen", '\u{2010}'), ("dash", '\u{2010}'), ("ndash", '\u{2013}'),
    ("mdash", '\u{2014}'), ("horbar", '\u{2015}'), ("lsquo", '\u{2018}'), ("rsquo", '\u{2019}'),
    ("sbquo", '\u{201a}'), ("ldquo", '\u{201c}'), ("rdquo", '\u{201d}'), ("bdquo", '\u{201e}'),
    ("dagger", '\u{2020}'), ("Dagger", '\u{2021}'), ("bull", '\u{2022}'), ("bullet", '\u{2022}'),
    ("hellip", '\u{2026}'), ("mldr", '\u{2026}'), ("permil", '\u{2030}'), ("prime", '\u{2032}'),
    ("Prime", '\u{2033}'), ("lsaquo", '\u{2039}'), ("rsaquo", '\u{203a}'), ("oline", '\u{203e}'),
    ("frasl", '\u{2044}'), ("euro", '\u{20ac}'), ("image", '\u{2111}'), ("weierp", '\u{2118}'),
    ("real", '\u{211c}'), ("trade", '\u{2122}'), ("TRADE", '\u{2122}'), ("alefsym", '\u{2135}'),
    ("larr", '\u{2190}'), ("uarr", '\u{2191}'), ("rarr", '\u{2192}'), ("darr", '\u{2193}'),
    ("harr", '\u{2194}'), ("crarr", '\u{21b5}'), ("lArr", '\u{21d0}'), ("uArr", '\u{21d1}'),
    ("rArr", '\u{21d2}'), ("dArr", '\u{21d3}'), ("hArr", '\u{21d4}'), ("forall", '\u{2200}'),
    ("part", '\u{2202}'), ("exist", '\u{2203}'), ("empty", '\u{2205}'), ("nabla", '\u{2207}'),
    ("isin", '\u{2208}'), ("notin", '\u{2209}'), ("ni", '\u{220b}'), ("prod", '\u{220f}'),
    ("sum", '\u{2211}'), ("minus", '\u{2212}'), ("lowast", '\u{2217}'), ("radic", '\u{221a}'),
    ("prop", '\u{221d}'), ("infin", '\u{221e}'), ("ang", '\u{2220}'), ("and", '\u{2227}'),
    ("or", '\u{2228}'), ("cap", '\u{2229}'), ("cup", '\u{222a}'), ("int", '\u{222b}'),
    ("there4", '\u{2234}'), ("sim", '\u{223c}'), ("cong", '\u{2245}'), ("asymp", '\u{2248}'),
    ("ne", '\u{2260}'), ("equiv", '\u{2261}'), ("le", '\u{2264}'), ("ge", '\u{2265}'), ("sub", '\u{2282}'),
    ("sup", '\u{2283}'), ("nsub", '\u{2284}'), ("sube", '\u{2286}'), ("supe", '\u{2287}'),
    ("oplus", '\u{2295}'), ("otimes", '\u{2297}'), ("perp", '\u{22a5}'), ("sdot", '\u{22c5}'),
    ("loz", '\u{25ca}'), ("spades", '\u{2660}'), ("clubs", '\u{2663}'), ("hearts", '\u{2665}'),
    ("diams", '\u{2666}'), ("star", '\u{2606}'), ("starf", '\u{2605}'), ("bigstar", '\u{2605}'),
    ("phone", '\u{260e}'), ("check", '\u{2713}'), ("checkmark", '\u{2713}'), ("cross", '\u{2717}'),
    ("OElig", '\u{152}'), ("oelig", '\u{153}'), ("Scaron", '\u{160}'), ("scaron", '\u{161}'),
    ("Yuml", '\u{178}'), ("fnof", '\u{192}'), ("circ", '\u{2c6}'), ("tilde", '\u{2dc}'),
    ("Alpha", '\u{391}'), ("Beta", '\u{392}'), ("Gamma", '\u{393}'), ("Delta", '\u{394}'),
    ("Epsilon", '\u{395}'), ("Zeta", '\u{396}'), ("Eta", '\u{397}'), ("Theta", '\u{398}'),
    ("Iota", '\u{399}'), ("Kappa", '\u{39a}'), ("Lambda", '\u{39b}'), ("Mu", '\u{39c}'),
    ("Nu", '\u{39d}'), ("Xi", '\u{39e}'), ("Omicron", '\u{39f}'), ("Pi", '\u{3a0}'), ("Rho", '\u{3a1}'),
    ("Sigma", '\u{3a3}'), ("Tau", '\u{3a4}'), ("Upsilon", '\u{3a5}'), ("Phi", '\u{3a6}'),
    ("Chi", '\u{3a7}'), ("Psi", '\u{3a8}'), ("Omega", '\u{3a9}'), ("alpha", '\u{3b1}'),
    ("beta", '\u{3b2}'), ("gamma", '\u{3b3}'), ("delta", '\u{3b4}'), ("epsilon", '\u{3b5}'),
    ("zeta", '\u{3b6}'), ("eta", '\u{3b7}'), ("theta", '\u{3b8}'), ("iota", '\u{3b9}'),
    ("kappa", '\u{3ba}'), ("lambda", '\u{3bb}'), ("mu", '\u{3bc}'), ("nu", '\u{3bd}'), ("xi", '\u{3be}'),
    ("omicron", '\u{3bf}'), ("pi", '\u{3c0}'), ("rho", '\u{3c1}'), ("sigmaf", '\u{3c2}'),
    ("sigma", '\u{3c3}'), ("tau", '\u{3c4}'), ("upsilon", '\u{3c5}'), ("phi", '\u{3c6}'),
    ("chi", '\u{3c7}'), ("psi", '\u{3c8}'), ("omega", '\u{3c9}'), ("thetasym", '\u{3d1}'),
    ("upsih", '\u{3d2}'), ("piv", '\u{3d6}'), ("inodot", '\u{131}'), ("imath", '\u{131}'),
    ("Idot", '\u{130}'), ("lstrok", '\u{142}'), ("Lstrok", '\u{141}'), ("acy", '\u{430}'),
    ("Acy", '\u{410}'), ("bcy", '\u{431}'), ("vcy", '\u{432}'), ("iecy", '\u{435}'), ("IEcy", '\u{415}'),
    ("icy", '\u{438}'), ("kcy", '\u{43a}'), ("Kcy", '\u{41a}'), ("mcy", '\u{43c}'), ("Mcy", '\u{41c}'),
    ("ncy", '\u{43d}'), ("Ncy", '\u{41d}'), ("ocy", '\u{43e}'), ("Ocy", '\u{41e}'), ("rcy", '\u{440}'),
    ("Rcy", '\u{420}'), ("scy", '\u{441}'), ("Scy", '\u{421}'), ("tcy", '\u{442}'), ("Tcy", '\u{422}'),
    ("ucy", '\u{443}'), ("Ucy", '\u{423}'), ("khcy", '\u{445}'), ("KHcy", '\u{425}'),
    ("iukcy", '\u{456}'), ("Iukcy", '\u{406}'), ("jsercy", '\u{458}'), ("dscy", '\u{455}'),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        for (text, in_text, in_attribute) in [
            ("plain", "plain", "plain"),
            ("a&amp;b", "a&b", "a&b"),
            ("&lt;&gt;&quot;", "<>\"", "<>\""),
            ("&#65;&#x42;&#X43;", "ABC", "ABC"),
            ("&#65", "A", "A"),
            ("&#128;&#x0;&#xd800;&#x110000;&#99999999999;", "\u{20ac}\u{fffd}\u{fffd}\u{fffd}\u{fffd}", "\u{20ac}\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
            ("&", "&", "&"),
            ("&;&#;&#x;", "&;&#;&#x;", "&;&#;&#x;"),
            ("&nosuch;", "&nosuch;", "&nosuch;"),
            ("https&colon;&sol;&sol;a&period;b", "https://a.b", "https://a.b"),
            ("&ampx", "&x", "&ampx"),
            ("?a=1&copy=2", "?a=1\u{a9}=2", "?a=1&copy=2"),
            ("&notin;&notit;", "\u{2209}\u{ac}it;", "\u{2209}&notit;"),
            ("&Ascr;&bfr;&Copf;&hscr;", "\u{1d49c}\u{1d51f}\u{2102}\u{1d4bd}", "\u{1d49c}\u{1d51f}\u{2102}\u{1d4bd}"),
            ("&ZeroWidthSpace;", "\u{200b}", "\u{200b}"),
            ("a\0b", "ab", "a\u{fffd}b"),
        ] {
            assert_eq!(decode(text, false), in_text, "{text}");
            assert_eq!(decode(text, true), in_attribute, "{text}");
        }
    }

    #[test]
    fn nothing_is_copied_without_need() {
        assert!(matches!(decode("plain", false), Cow::Borrowed(_)));
    }
}
