//! Whose names are borrowed: those that are phished for most, and the provider's own.

use crate::disguise::looks_like;
use crate::link::registrable;

/// A name that people trust, and the domains that are its owner's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Brand {
    /// The name as it stands in domains, in lower case.
    pub name: &'static str,
    /// The name as it is written for people, where that differs by more than letter case.
    pub written: &'static [&'static str],
    /// Its owner's domains, those that can be registered. In other countries, the name alone under a country's domain is taken
    /// to be its owner's, too.
    pub domains: &'static [&'static str],
    /// Whether the name is also a word or a surname, and says little beside others.
    pub word: bool,
}

macro_rules! brands {
    ($($name:literal $($written:literal)* => $($domain:literal)+ $(, $word:ident)?;)+) => {
        &[$(Brand {
            name: $name,
            written: &[$($written),*],
            domains: &[$($domain),+],
            word: brands!(@ $($word)?),
        }),+]
    };
    (@ word) => { true };
    (@) => { false };
}

/// Names that are phished for all over the world. Which ones matter somewhere else is for the caller to say.
pub const BRANDS: &[Brand] = brands! {
    "adobe" => "adobe.com" "adobesign.com" "echosign.com" "typekit.com" "behance.net";
    "airbnb" => "airbnb.com";
    "aliexpress" => "aliexpress.com" "alibaba.com";
    "amazon" => "amazon.com" "amazonaws.com" "amazonses.com" "amazon-adsystem.com" "awstrack.me" "media-amazon.com";
    "americanexpress" "american express" => "americanexpress.com" "aexp.com";
    "apple" => "apple.com" "icloud.com" "me.com" "mzstatic.com", word;
    "bankofamerica" "bank of america" => "bankofamerica.com" "bofa.com";
    "barclays" => "barclays.com" "barclays.co.uk" "barclaycard.co.uk";
    "binance" => "binance.com" "binance.us";
    "blockchain" => "blockchain.com" "blockchain.info", word;
    "bnpparibas" "bnp paribas" => "bnpparibas.com" "bnpparibas.net";
    "booking" "booking.com" => "booking.com", word;
    "capitalone" "capital one" => "capitalone.com";
    "chase" => "chase.com" "jpmorganchase.com" "jpmorgan.com", word;
    "citibank" => "citibank.com" "citi.com" "citigroup.com";
    "coinbase" => "coinbase.com";
    "commerzbank" => "commerzbank.de" "commerzbank.com";
    "correos" => "correos.es" "correos.com";
    "creditagricole" "cr\u{e9}dit agricole" => "credit-agricole.fr" "credit-agricole.com" "ca-mail.fr";
    "dhl" => "dhl.com" "dhl.de" "dpdhl.com" "dhlparcel.nl";
    "discord" => "discord.com" "discordapp.com" "discord.gg", word;
    "docusign" => "docusign.com" "docusign.net";
    "dpd" => "dpd.com" "dpd.de" "dpd.co.uk" "dpd.fr";
    "dropbox" => "dropbox.com" "dropboxmail.com" "dropboxusercontent.com";
    "ebay" => "ebay.com" "ebaystatic.com" "ebayimg.com";
    "facebook" => "facebook.com" "facebookmail.com" "fb.com" "fbcdn.net" "meta.com";
    "fedex" => "fedex.com";
    "github" => "github.com" "githubusercontent.com" "github.io" "githubassets.com";
    "gmail" => "gmail.com" "google.com" "googlemail.com";
    "google" => "google.com" "gmail.com" "googleapis.com" "googleusercontent.com" "googlemail.com" "gstatic.com" "goo.gl" "youtube.com" "withgoogle.com" "doubleclick.net" "googleadservices.com";
    "hsbc" => "hsbc.com" "hsbc.co.uk";
    "icloud" => "icloud.com" "apple.com";
    "instagram" => "instagram.com" "cdninstagram.com";
    "intuit" => "intuit.com" "quickbooks.com";
    "itau" "ita\u{fa}" => "itau.com.br" "itau.com";
    "linkedin" => "linkedin.com" "licdn.com" "lnkd.in";
    "mastercard" => "mastercard.com";
    "mercadolibre" "mercado libre" => "mercadolibre.com" "mercadopago.com" "mercadolivre.com.br";
    "metamask" => "metamask.io";
    "microsoft" => "microsoft.com" "microsoftonline.com" "office.com" "office365.com" "outlook.com" "live.com" "sharepoint.com" "windows.net" "azure.com" "msn.com" "hotmail.com" "office.net" "microsoftemail.com" "onmicrosoft.com";
    "netflix" => "netflix.com" "nflxext.com" "nflximg.net";
    "office365" "office 365" => "office.com" "microsoft.com" "office365.com" "microsoftonline.com" "outlook.com";
    "onedrive" => "onedrive.com" "live.com" "microsoft.com" "1drv.ms" "sharepoint.com";
    "outlook" => "outlook.com" "live.com" "microsoft.com" "office.com" "hotmail.com", word;
    "paypal" => "paypal.com" "paypalobjects.com" "paypal-communication.com" "paypal.me";
    "postbank" => "postbank.de";
    "rakuten" => "rakuten.com" "rakuten.co.jp";
    "revolut" => "revolut.com";
    "santander" => "santander.com" "santander.co.uk" "bancosantander.es" "santander.com.br" "santander.com.mx";
    "sharepoint" => "sharepoint.com" "microsoft.com" "sharepointonline.com" "office.com";
    "sparkasse" => "sparkasse.de" "sparkassen-finanzportal.de" "dsv-gruppe.de";
    "spotify" => "spotify.com" "scdn.co";
    "steam" => "steampowered.com" "steamcommunity.com", word;
    "telegram" => "telegram.org" "t.me", word;
    "tiktok" => "tiktok.com" "tiktokcdn.com" "bytedance.com";
    "trustwallet" "trust wallet" => "trustwallet.com";
    "uber" => "uber.com", word;
    "unicredit" => "unicredit.it" "unicreditgroup.eu" "unicredit.eu";
    "ups" => "ups.com", word;
    "usps" => "usps.com" "usps.gov";
    "visa" => "visa.com", word;
    "volksbank" => "volksbank.de" "vr.de" "fiducia.de";
    "walmart" => "walmart.com";
    "wellsfargo" "wells fargo" => "wellsfargo.com" "wf.com";
    "westernunion" "western union" => "westernunion.com";
    "whatsapp" => "whatsapp.com" "wa.me" "whatsapp.net";
    "yahoo" => "yahoo.com" "yahoo.co.jp" "yahooinc.com" "ymail.com" "yimg.com" "yahoo.net";
    "zoom" => "zoom.us" "zoom.com", word;
};

/// A name that is looked for, and whose it is.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Known {
    name: String,
    /// What it looks like: UTS 39.
    alike: String,
    domains: Vec<String>,
    word: bool,
    written: Vec<String>,
}

/// All names that are looked for: [`BRANDS`] and the provider's own. Made once, for many messages.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Brands {
    known: Vec<Known>,
}

/// How a host borrows a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Borrowed {
    /// It looks like it: letters that can be taken for those of the name.
    Looks(String),
    /// It has it among others.
    Contains(String),
}

impl Brands {
    /// Those that are built in, and the provider's own domains.
    #[must_use]
    pub fn new<'a>(own: impl IntoIterator<Item = &'a str>) -> Self {
        let mut known: Vec<Known> = BRANDS
            .iter()
            .map(|brand| Known {
                name: brand.name.to_owned(),
                alike: looks_like(brand.name),
                domains: brand.domains.iter().map(|&domain| domain.to_owned()).collect(),
                word: brand.word,
                written: brand.written.iter().map(|&written| written.to_owned()).collect(),
            })
            .collect();
        let own: Vec<String> = own
            .into_iter()
            .map(|domain| domain.trim_end_matches('.').to_ascii_lowercase())
            .collect();
        for domain in &own {
            let registrable = registrable(domain).unwrap_or(domain);
            let name = registrable.split('.').next().unwrap_or_default();
            if name.len() > 2 && !known.iter().any(|brand| brand.name == name) {
                known.push(Known {
                    name: name.to_owned(),
                    alike: looks_like(name),
                    // A provider with several domains is one owner.
                    domains: own.clone(),
                    word: name.len() < 5,
                    written: Vec::new(),
                });
            }
        }
        Self { known }
    }

    /// Whose name a host borrows; nothing if it is the owner's own, or nobody's. `host` is in lower case, as people see it, and
    /// `ascii` as it is in DNS.
    #[must_use]
    pub fn borrowed(&self, host: &str, ascii: &str) -> Option<Borrowed> {
        let registrable_ascii = registrable(ascii)?;
        let own = registrable(host).unwrap_or(host);
        let label = own.split('.').next().unwrap_or_default();
        let alike = looks_like(label);
        for brand in &self.known {
            if brand.owns(registrable_ascii) {
                return None;
            }
            if alike == brand.alike && label != brand.name {
                return Some(Borrowed::Looks(brand.name.clone()));
            }
        }
        // Hosts have a few labels, and labels a few words.
        let words = || host.split(['.', '-', '_']).take(32).filter(|word| !word.is_empty());
        // What an owner lends to others is below his own name: `somebody.github.io`.
        let foreign = || self.known.iter().filter(|brand| !brand.holds(ascii));
        if let Some(brand) = foreign()
            .filter(|brand| !brand.word)
            .find(|brand| words().any(|word| word == brand.name))
        {
            return Some(Borrowed::Contains(brand.name.clone()));
        }
        words().filter(|word| word.len() > 4).find_map(|word| {
            let alike = looks_like(word);
            let brand = foreign().find(|brand| brand.alike == alike && word != brand.name)?;
            Some(Borrowed::Looks(brand.name.clone()))
        })
    }

    /// Whose name is in a text for people, that is not of one of these domains.
    #[must_use]
    pub fn named(&self, text: &str, domain: &str) -> Option<&str> {
        let folded = crate::disguise::folded(text);
        let registrable = registrable(domain).unwrap_or(domain);
        let words =
            || folded.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty());
        let brand = self.known.iter().find(|brand| {
            let written = brand.written.iter().any(|written| folded.contains(written.as_str()));
            let named = if brand.word {
                // A surname beside a first name is no brand.
                words().eq([brand.name.as_str()])
            } else {
                words().take(32).any(|word| word == brand.name)
            };
            written || named
        })?;
        (!brand.owns(registrable)).then_some(brand.name.as_str())
    }
}

impl Known {
    /// Whether a host lies below one of its domains.
    fn holds(&self, host: &str) -> bool {
        self.domains.iter().any(|domain| {
            host.strip_suffix(domain.as_str())
                .is_some_and(|front| front.is_empty() || front.ends_with('.'))
        })
    }

    fn owns(&self, registrable: &str) -> bool {
        if self.domains.iter().any(|domain| domain == registrable) {
            return true;
        }
        // The name alone, under a country or the oldest of all: whoever took that would not keep it long.
        registrable
            .strip_prefix(self.name.as_str())
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|suffix| {
                let last = suffix.rsplit('.').next().unwrap_or_default();
                suffix == "com" || last.len() == 2 && !CHEAP.contains(&last)
            })
    }
}

/// Countries whose names were given away.
const CHEAP: [&str; 8] = ["tk", "ml", "ga", "cf", "gq", "cc", "ws", "pw"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let brands = Brands::new(["mail.provider.example", "provider.example"]);
        let looks = |name: &str| Some(Borrowed::Looks(name.into()));
        let contains = |name: &str| Some(Borrowed::Contains(name.into()));
        for (host, expected) in [
            ("paypal.com", None),
            ("www.paypal.com", None),
            ("www.paypal.de", None),
            ("amazon.co.uk", None),
            ("example.org", None),
            ("mail.provider.example", None),
            ("www.apple-pie-recipes.example", None),
            ("chase.example", None),
            ("somebody.github.io", None),
            ("bucket.s3.amazonaws.com", None),
            ("paypal-login.github.io", contains("paypal")),
            ("paypa1.com", looks("paypal")),
            ("www.g00gle.com", looks("google")),
            ("rnicrosoft.com", looks("microsoft")),
            ("\u{440}\u{430}ypal.com", looks("paypal")),
            ("paypa1.secure.example", looks("paypal")),
            ("prov1der.example", looks("provider")),
            ("paypal.tk", contains("paypal")),
            ("paypal.com.login.example", contains("paypal")),
            ("secure-paypal-login.example", contains("paypal")),
            ("provider.evil.example", contains("provider")),
        ] {
            let ascii = idna(host);
            assert_eq!(brands.borrowed(host, &ascii), expected, "{host}");
        }
    }

    fn idna(host: &str) -> String {
        let url = url::Url::parse(&format!("http://{host}/")).unwrap();
        url.host_str().unwrap().to_owned()
    }

    #[test]
    fn names_of_senders() {
        let brands = Brands::new(["provider.example"]);
        for (text, domain, expected) in [
            ("PayPal", "paypal.com", None),
            ("PayPal", "mail.paypal.de", None),
            ("service@paypal.com", "evil.example", Some("paypal")),
            ("PayPal Support", "evil.example", Some("paypal")),
            ("P\u{430}yPal", "evil.example", Some("paypal")),
            ("Bank of America Alerts", "evil.example", Some("bankofamerica")),
            ("David Chase", "evil.example", None),
            ("Chase", "evil.example", Some("chase")),
            ("Provider helpdesk", "evil.example", Some("provider")),
            ("Provider helpdesk", "provider.example", None),
            ("Jane Doe", "evil.example", None),
            ("", "evil.example", None),
        ] {
            assert_eq!(brands.named(text, domain), expected, "{text} {domain}");
        }
    }

    #[test]
    fn the_list_is_in_order() {
        assert!(BRANDS.is_sorted_by_key(|brand| brand.name));
        for brand in BRANDS {
            for domain in brand.domains {
                assert_eq!(registrable(domain).unwrap_or(domain), *domain, "{}", brand.name);
            }
        }
    }
}
