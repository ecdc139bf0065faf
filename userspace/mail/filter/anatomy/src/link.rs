//! Where links lead, as browsers read them, and where they only seem to.

use std::net::IpAddr;

use url::Url;

use crate::limits::head;

/// A link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// As it stands there, no longer than is parsed.
    pub written: String,
    /// What is seen of it; nothing in plain text, where it is seen itself.
    pub text: Option<String>,
    /// Where it stands.
    pub place: Place,
    /// What scheme it has.
    pub scheme: Scheme,
    /// Who is at the other end; nothing where nobody is.
    pub host: Option<Host>,
    /// The port, if it is not that of the scheme.
    pub port: Option<u16>,
    /// Whether a user is named in front of the host: people take that for the host.
    pub user: bool,
    /// Whether it is longer than is parsed.
    pub cut: bool,
    /// What another host will lead on to, if it says so.
    pub onward: Option<String>,
}

/// Where a link stands.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Place {
    /// In plain text, where mail programs make one of it.
    Text,
    /// In HTML, to be clicked.
    Anchor,
    /// Where a form is sent.
    Form,
    /// An image.
    Image,
    /// What is loaded or shown otherwise: frames, scripts, objects.
    Loaded,
    /// Where a page goes by itself.
    Refresh,
    /// Where a code leads that is to be scanned with a telephone: told by the caller, who can read one.
    Code,
}

/// A link's scheme.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// `http` or `https`.
    Web,
    /// `mailto`, `tel`, `sms`.
    Contact,
    /// `cid` or `mid`: within the message.
    Message,
    /// `data` or `blob`: the link is what it leads to.
    Data,
    /// `javascript` or `vbscript`.
    Script,
    /// `file`, `smb`, `search-ms` and such: a computer of Windows proves there who its user is.
    File,
    /// Another one.
    Other,
    /// None: relative to a page that is not there.
    None,
    /// Nobody can read it.
    Broken,
}

/// Who is at the other end of a link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Host {
    /// A name.
    Name {
        /// As in DNS.
        ascii: String,
        /// As people see it.
        shown: String,
        /// The part of it that somebody has registered.
        registrable: String,
        /// Labels in front of that.
        labels: usize,
    },
    /// An address.
    Address {
        /// The address.
        address: IpAddr,
        /// Whether it was written as nobody writes one: as one number, in octal, in hexadecimal.
        disguised: bool,
    },
}

impl Host {
    /// What identifies its owner: the registrable domain, or the address.
    #[must_use]
    pub fn owner(&self) -> String {
        match self {
            Self::Name { registrable, .. } => registrable.clone(),
            Self::Address { address, .. } => address.to_string(),
        }
    }

    /// The host, for people and logs: as in DNS.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Name { ascii, .. } => ascii.clone(),
            Self::Address { address, .. } => address.to_string(),
        }
    }

    fn parse(url: &Url, written: &str) -> Option<Self> {
        match url.host()? {
            url::Host::Domain(ascii) => {
                let ascii = ascii.trim_end_matches('.');
                let shown = shown(ascii);
                let registrable = registrable(ascii).unwrap_or(ascii).to_owned();
                let front = ascii.len().saturating_sub(registrable.len());
                let labels = ascii
                    .get(..front)
                    .unwrap_or_default()
                    .split('.')
                    .filter(|label| !label.is_empty())
                    .count();
                Some(Self::Name { ascii: ascii.to_owned(), shown, registrable, labels })
            }
            url::Host::Ipv4(address) => Some(Self::Address {
                address: address.into(),
                disguised: !written.contains(&address.to_string()),
            }),
            url::Host::Ipv6(address) => {
                Some(Self::Address { address: address.into(), disguised: false })
            }
        }
    }
}

/// The name as people see it.
fn shown(ascii: &str) -> String {
    if ascii.contains("xn--") { idna::domain_to_unicode(ascii).0 } else { ascii.to_owned() }
}

/// The part of a host that somebody has registered: public suffix and one label.
#[must_use]
pub fn registrable(host: &str) -> Option<&str> {
    psl::domain_str(host.trim_end_matches('.'))
}

impl Link {
    /// Reads a link. `base` is where relative ones begin, `most` how many octets of it are parsed.
    #[must_use]
    pub fn read(
        written: &str,
        place: Place,
        text: Option<&str>,
        base: Option<&str>,
        most: usize,
    ) -> Self {
        let kept = head(written.trim(), most);
        let mut link = Self {
            written: kept.to_owned(),
            text: text.map(str::to_owned),
            place,
            scheme: scheme(kept),
            host: None,
            port: None,
            user: false,
            cut: kept.len() < written.trim().len(),
            onward: None,
        };
        let url = match link.scheme {
            Scheme::Web => Url::parse(kept).ok(),
            Scheme::None => {
                let base = base.and_then(|base| Url::parse(base).ok());
                // What begins with two slashes needs a page's scheme, which is the web's.
                let joined = match &base {
                    Some(base) => base.join(kept).ok(),
                    None if kept.starts_with("//") || kept.starts_with("\\\\") => {
                        Url::parse(&format!("https:{kept}")).ok()
                    }
                    None => None,
                };
                if joined.as_ref().is_some_and(|url| matches!(url.scheme(), "http" | "https")) {
                    link.scheme = Scheme::Web;
                    joined
                } else {
                    return link;
                }
            }
            _ => return link,
        };
        let Some(url) = url else {
            link.scheme = Scheme::Broken;
            return link;
        };
        link.host = Host::parse(&url, kept);
        link.port = url.port();
        link.user = !url.username().is_empty() || url.password().is_some();
        link.onward = onward(&url);
        if link.host.is_none() {
            link.scheme = Scheme::Broken;
        }
        link
    }

    /// The host that a link says it leads to: what is seen of it, if that looks like a link.
    #[must_use]
    pub fn seen_host(&self) -> Option<Host> {
        host_in_text(self.text.as_deref()?)
    }

    /// The owner of its host.
    #[must_use]
    pub fn owner(&self) -> Option<String> {
        self.host.as_ref().map(Host::owner)
    }
}

/// The host in a text that is a link, or begins with one.
#[must_use]
pub fn host_in_text(text: &str) -> Option<Host> {
    let text: String =
        text.chars().filter(|char| !crate::disguise::is_invisible(*char)).take(300).collect();
    let first = text.split_whitespace().next()?;
    let first = first.trim_matches(|char: char| {
        matches!(
            char,
            '<' | '>' | '(' | ')' | '"' | '\'' | ',' | ';' | '\u{ab}' | '\u{bb}' | '\u{2192}'
        )
    });
    let web = ["http://", "https://"].iter().any(|scheme| {
        first.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    let url = if web {
        Url::parse(first).ok()?
    } else {
        // A name with a suffix that exists, and not an address of mail, a number or a file.
        if first.contains('@') || !first.contains('.') {
            return None;
        }
        let name = first.split(['/', '?', '#', ':']).next()?.trim_end_matches('.');
        let letters = name.chars().all(|char| char.is_alphanumeric() || matches!(char, '.' | '-'));
        if !letters || name.starts_with(['.', '-']) {
            return None;
        }
        let url = Url::parse(&format!("http://{name}/")).ok()?;
        let ascii = url.host_str()?;
        let known = psl::suffix(ascii.as_bytes()).is_some_and(|suffix| suffix.is_known());
        // Sentences without a space behind the dot, and files, have suffixes that exist, too.
        let alone = text.split_whitespace().count() <= 2;
        if !ascii.starts_with("www.") && !(known && alone && !is_file_name(ascii)) {
            return None;
        }
        registrable(ascii)?;
        url
    };
    Host::parse(&url, first)
}

/// Whether a name is more likely that of a file: `readme.md`, `setup.py`, `main.rs`.
fn is_file_name(name: &str) -> bool {
    let Some((stem, suffix)) = name.rsplit_once('.') else { return false };
    !stem.contains('.')
        && ["md", "py", "rs", "sh", "pl", "zip", "mov", "ps", "ai", "cc", "ml"].contains(&suffix)
}

fn scheme(link: &str) -> Scheme {
    let Some((scheme, _)) = link.split_once(':') else {
        return if link.is_empty() || link.starts_with(['#', '?', '/', '.']) || !link.contains(' ') {
            Scheme::None
        } else {
            Scheme::Broken
        };
    };
    let scheme: String = scheme.chars().filter(|char| !char.is_control()).collect();
    let valid = scheme.starts_with(|char: char| char.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || matches!(char, '+' | '-' | '.'));
    if !valid {
        // A colon in a path is none of a scheme.
        return Scheme::None;
    }
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => Scheme::Web,
        "mailto" | "tel" | "sms" | "callto" | "whatsapp" | "tg" | "skype" | "sip" | "facetime" => {
            Scheme::Contact
        }
        "cid" | "mid" => Scheme::Message,
        "data" | "blob" => Scheme::Data,
        "javascript" | "vbscript" | "livescript" => Scheme::Script,
        "file" | "smb" | "search-ms" | "search" | "ms-msdt" | "ms-appinstaller" | "ms-word"
        | "ms-excel" | "webdav" => Scheme::File,
        _ => Scheme::Other,
    }
}

/// Links in plain text, at most so many, and where each ends. What mail programs make links of.
pub(crate) fn in_text(text: &str, most: usize) -> Vec<&str> {
    let mut found = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while found.len() < most
        && let Some(next) = bytes.get(at..).and_then(|rest| memchr::memchr2(b':', b'w', rest))
    {
        let place = at + next;
        at = place + 1;
        let rest = bytes.get(place..).unwrap_or_default();
        let start = if rest.starts_with(b"://") {
            let letters = bytes
                .get(..place)
                .unwrap_or_default()
                .iter()
                .rev()
                .take(6)
                .take_while(|byte| byte.is_ascii_alphabetic())
                .count();
            let scheme = text.get(place - letters..place).unwrap_or_default();
            let known = ["https", "http"].iter().find(|known| {
                scheme.len() >= known.len() && {
                    let tail = scheme.get(scheme.len() - known.len()..).unwrap_or_default();
                    tail.eq_ignore_ascii_case(known)
                }
            });
            let Some(known) = known else { continue };
            place - known.len()
        } else if rest.starts_with(b"www.")
            && rest.get(4).is_some_and(u8::is_ascii_alphanumeric)
            && !place.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'@' | b'-')
            })
        {
            place
        } else {
            continue;
        };
        let candidate = text.get(start..).unwrap_or_default();
        let end = candidate
            .find(|char: char| {
                char.is_whitespace()
                    || char.is_control()
                    || matches!(char, '<' | '>' | '"' | '`' | '|')
            })
            .unwrap_or(candidate.len());
        let link = candidate.get(..end).unwrap_or_default();
        // What ends a sentence does not belong to it.
        let link = link.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*', '_']);
        let link = if link.contains('(') { link } else { link.trim_end_matches([')', ']', '}']) };
        if link.len() > 8 || link.starts_with("www.") {
            found.push(link);
        }
        at = at.max(start + end);
    }
    found
}

/// Where a host of others will lead on to, if the link says that in so many words.
fn onward(url: &Url) -> Option<String> {
    let (_, value) = url.query_pairs().take(32).find(|(_, value)| {
        let value = value.trim();
        ["http://", "https://", "//", "http:\\\\", "https:\\\\"].iter().any(|scheme| {
            value.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        })
    })?;
    Some(head(value.trim(), 1_000).to_owned())
}

/// Whether a host shortens links: nobody sees where they lead.
#[must_use]
pub fn is_shortener(owner: &str) -> bool {
    SHORTENERS.binary_search(&owner).is_ok()
}

/// Whether a host leads on to others because its owner sends, scans or counts mail for them: that its name is not the one that a
/// text shows says nothing.
#[must_use]
pub fn is_tracker(owner: &str) -> bool {
    TRACKERS.binary_search(&owner).is_ok()
}

/// In order.
const SHORTENERS: &[&str] = &[
    "bit.do",
    "bit.ly",
    "buff.ly",
    "clck.ru",
    "cutt.ly",
    "did.li",
    "dlvr.it",
    "fb.me",
    "goo.gl",
    "goo.su",
    "gourl.es",
    "ht.ly",
    "is.gd",
    "j.mp",
    "kutt.it",
    "lnkd.in",
    "n9.cl",
    "ow.ly",
    "qr.ae",
    "qrco.de",
    "rb.gy",
    "rebrand.ly",
    "rotf.lol",
    "s.id",
    "short.gy",
    "shorturl.asia",
    "shorturl.at",
    "soo.gd",
    "su.pr",
    "t.co",
    "t.ly",
    "t2m.io",
    "tiny.cc",
    "tiny.one",
    "tinylink.net",
    "tinyurl.com",
    "tr.im",
    "trib.al",
    "urlz.fr",
    "v.gd",
    "vk.cc",
    "wp.me",
    "x.co",
    "y2u.be",
    "youtu.be",
    "zpr.io",
];

/// In order.
const TRACKERS: &[&str] = &[
    "acems1.com",
    "activehosted.com",
    "amazonses.com",
    "aweber.com",
    "awstrack.me",
    "barracudanetworks.com",
    "benchmarkemail.com",
    "bounceexchange.com",
    "brevo.com",
    "campaign-archive.com",
    "campaignmonitor.com",
    "cmail19.com",
    "cmail20.com",
    "constantcontact.com",
    "convertkit-mail.com",
    "convertkit-mail2.com",
    "cordial.io",
    "createsend.com",
    "createsend1.com",
    "createsend3.com",
    "cudasvc.com",
    "customeriomail.com",
    "dotdigital.com",
    "dotmailer.com",
    "drip.com",
    "e-goi.com",
    "eloqua.com",
    "emarsys.net",
    "en25.com",
    "exacttarget.com",
    "exct.net",
    "feedblitz.com",
    "getresponse.com",
    "hs-sites.com",
    "hubspotemail.net",
    "hubspotlinks.com",
    "infusionsoft.com",
    "intercom-mail.com",
    "iterable.com",
    "keap-link001.com",
    "klaviyo.com",
    "klaviyomail.com",
    "klclick.com",
    "list-manage.com",
    "list-manage1.com",
    "list-manage2.com",
    "mailanyone.net",
    "mailchi.mp",
    "mailchimp.com",
    "mailerlite.com",
    "mailgun.org",
    "mailjet.com",
    "mandrillapp.com",
    "marketo.com",
    "mimecast.com",
    "mimecastprotect.com",
    "mjt.lu",
    "mktdns.com",
    "mkto.com",
    "mlsend.com",
    "outlook.com",
    "pardot.com",
    "pmta.link",
    "postmarkapp.com",
    "pphosted.com",
    "proofpoint.com",
    "pstmrk.it",
    "responsys.net",
    "rs6.net",
    "sailthru.com",
    "salesforce.com",
    "sendgrid.net",
    "sendinblue.com",
    "sendpulse.com",
    "sfmc-content.com",
    "sibautomation.com",
    "silverpop.com",
    "smtp.com",
    "sophos.com",
    "sparkpostmail.com",
    "substack.com",
    "symanteccloud.com",
    "trendmicro.com",
    "urldefense.com",
    "urldefense.us",
    "vresp.com",
    "xmr3.com",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link(written: &str) -> Link {
        Link::read(written, Place::Anchor, None, None, 4_096)
    }

    #[test]
    fn where_they_lead() {
        for (written, scheme, host, port, user) in [
            ("http://example.org", Scheme::Web, "example.org", None, false),
            ("HTTPS://Example.ORG:443/x", Scheme::Web, "example.org", None, false),
            ("https://example.org:8443/x", Scheme::Web, "example.org", Some(8443), false),
            ("https://paypal.com@evil.example/", Scheme::Web, "evil.example", None, true),
            ("https://a:b@evil.example/", Scheme::Web, "evil.example", None, true),
            ("https:\\\\evil.example\\x", Scheme::Web, "evil.example", None, false),
            ("https:/evil.example", Scheme::Web, "evil.example", None, false),
            ("https:evil.example", Scheme::Web, "evil.example", None, false),
            ("//evil.example/x", Scheme::Web, "evil.example", None, false),
            ("http://b\u{fc}cher.example/", Scheme::Web, "xn--bcher-kva.example", None, false),
            ("http://192.0.2.1/", Scheme::Web, "192.0.2.1", None, false),
            ("http://3221225985/", Scheme::Web, "192.0.2.1", None, false),
            ("http://0xc0000201/", Scheme::Web, "192.0.2.1", None, false),
            ("http://0300.0.2.1/", Scheme::Web, "192.0.2.1", None, false),
            ("http://[2001:db8::1]/", Scheme::Web, "2001:db8::1", None, false),
            ("http://example.org./", Scheme::Web, "example.org", None, false),
            ("mailto:a@example.org", Scheme::Contact, "", None, false),
            ("cid:x@y", Scheme::Message, "", None, false),
            ("data:text/html,<p>", Scheme::Data, "", None, false),
            ("java\u{1}script:alert(1)", Scheme::Script, "", None, false),
            ("JavaScript:alert(1)", Scheme::Script, "", None, false),
            ("file://server/share", Scheme::File, "", None, false),
            ("search-ms:query=x", Scheme::File, "", None, false),
            ("ftp://example.org/", Scheme::Other, "", None, false),
            ("#top", Scheme::None, "", None, false),
            ("page.html", Scheme::None, "", None, false),
            ("/path:with:colons", Scheme::None, "", None, false),
            ("", Scheme::None, "", None, false),
            ("http://", Scheme::Broken, "", None, false),
            ("http://exa mple.org/", Scheme::Broken, "", None, false),
            ("http://a.example:99999/", Scheme::Broken, "", None, false),
        ] {
            let link = link(written);
            assert_eq!(link.scheme, scheme, "{written}");
            assert_eq!(link.host.map(|host| host.name()).unwrap_or_default(), host, "{written}");
            assert_eq!((link.port, link.user), (port, user), "{written}");
        }
    }

    #[test]
    fn disguised_addresses() {
        for (written, disguised) in [
            ("http://192.0.2.1/", false),
            ("http://3221225985/", true),
            ("http://0xc0.0.2.1/", true),
            ("http://0300.0.02.01/", true),
            ("http://192.513/", true),
        ] {
            let Some(Host::Address { disguised: found, .. }) = link(written).host else {
                panic!("{written}")
            };
            assert_eq!(found, disguised, "{written}");
        }
    }

    #[test]
    fn owners() {
        for (written, owner, labels) in [
            ("http://example.org/", "example.org", 0),
            ("http://a.b.example.co.uk/", "example.co.uk", 2),
            ("http://user.github.io/", "user.github.io", 0),
            ("http://localhost/", "localhost", 0),
        ] {
            let Some(Host::Name { registrable, labels: found, .. }) = link(written).host else {
                panic!("{written}")
            };
            assert_eq!((registrable.as_str(), found), (owner, labels), "{written}");
        }
    }

    #[test]
    fn relative_ones() {
        let read = |written, base| Link::read(written, Place::Anchor, None, base, 100);
        let host = |link: Link| link.host.map(|host| host.name());
        assert_eq!(host(read("x", Some("https://b.example/"))).as_deref(), Some("b.example"));
        assert_eq!(host(read("x", Some("no base"))), None);
        assert_eq!(host(read("x", None)), None);
        let long = read(&format!("https://a.example/{}", "x".repeat(1_000)), None);
        assert!(long.cut);
        assert_eq!(long.written.len(), 100);
    }

    #[test]
    fn onward_ones() {
        for (written, onward) in [
            ("https://a.example/?u=https%3A%2F%2Fevil.example%2F", Some("https://evil.example/")),
            (
                "https://www.google.com/url?q=https://evil.example/&sa=D",
                Some("https://evil.example/"),
            ),
            ("https://a.example/?u=evil", None),
            ("https://a.example/", None),
        ] {
            assert_eq!(link(written).onward.as_deref(), onward, "{written}");
        }
    }

    #[test]
    fn what_text_promises() {
        for (text, host) in [
            ("https://www.paypal.com/login", Some("www.paypal.com")),
            ("www.paypal.com", Some("www.paypal.com")),
            ("paypal.com", Some("paypal.com")),
            ("<paypal.com/login>", Some("paypal.com")),
            ("pay\u{200b}pal.com", Some("paypal.com")),
            ("click here", None),
            ("a@paypal.com", None),
            ("version 1.2", None),
            ("1.2.3", None),
            ("invoice.pdf", None),
            ("readme.md", None),
            ("end.So it is in all of these", None),
            ("", None),
        ] {
            let found = host_in_text(text).map(|host| host.name());
            assert_eq!(found.as_deref(), host, "{text}");
        }
    }

    #[test]
    fn in_plain_text() {
        for (text, links) in [
            ("", &[][..]),
            ("see https://a.example/x?y=1.", &["https://a.example/x?y=1"]),
            (
                "see (http://a.example), <http://b.example/>",
                &["http://a.example", "http://b.example/"],
            ),
            ("HTTP://A.EXAMPLE/ www.b.example", &["HTTP://A.EXAMPLE/", "www.b.example"]),
            ("https://a.example/(x)", &["https://a.example/(x)"]),
            ("wwww.a.example awww.b.example", &[]),
            ("xhttp://a.example/", &["http://a.example/"]),
            ("ftp://a.example ://b http://", &[]),
            ("www.", &[]),
            ("\u{e4}https://a.example/\u{fc}\u{a0}x", &["https://a.example/\u{fc}"]),
        ] {
            assert_eq!(in_text(text, 10), links, "{text}");
        }
        assert_eq!(in_text(&"http://a.example/ ".repeat(50), 7).len(), 7);
    }

    #[test]
    fn lists_are_in_order() {
        for list in [SHORTENERS, TRACKERS] {
            let mut sorted = list.to_vec();
            sorted.sort_unstable();
            assert_eq!(list, sorted);
        }
        assert!(is_shortener("bit.ly") && !is_shortener("example.org"));
        assert!(is_tracker("list-manage.com") && !is_tracker("example.org"));
    }

    proptest! {
        #[test]
        fn anything(text in "(?s)(https?:|//|www\\.|[a-z0-9.@:/\\\\-]{0,9}|.){0,20}") {
            let _ = link(&text);
            let _ = host_in_text(&text);
            for found in in_text(&text, 10) {
                prop_assert!(text.contains(found));
            }
        }
    }
}
