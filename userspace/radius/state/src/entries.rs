//! What operators enter, as it lies in the database: subscribers, profiles, NASes and pools.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv6Net};
use muralla_credentials::Hidden;
use serde::{Deserialize, Serialize};

/// A subscriber.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SubscriberEntry {
    /// Name that he logs in with.
    pub name: String,
    /// `{SCHEME}text`, such as `{SSHA}...`, `{CLEARTEXT}...`, `$2b$...`; empty if no password will do.
    #[serde(skip_serializing)]
    pub credential: Hidden,
    /// His profiles: the first that applies is taken, and the next ones too while one has `fall_through`.
    pub profiles: Vec<String>,
    /// Whether he is refused.
    pub disabled: bool,
    /// He is refused before that, in seconds since 1970.
    pub not_before: Option<i64>,
    /// He is refused from then on, and a session ends then.
    pub not_after: Option<i64>,
    /// Seconds that he may still use.
    pub credit_seconds: Option<i64>,
    /// Bytes that he may still use.
    pub credit_bytes: Option<i64>,
    /// Sessions he may have at once.
    pub simultaneous: Option<u16>,
    /// What must hold of his requests, in FreeRADIUS' notation.
    pub check: Vec<String>,
    /// What his answers hold beside what his profile says.
    pub reply: Vec<String>,
    /// His address for good.
    pub address: Option<Ipv4Addr>,
    /// His Framed-IPv6-Prefix for good.
    pub prefix6: Option<Ipv6Net>,
    /// His Delegated-IPv6-Prefix for good.
    pub delegated6: Option<Ipv6Net>,
    /// Pool that his address comes from, instead of his profile's.
    pub pool: Option<String>,
    /// The same for his Framed-IPv6-Prefix.
    pub pool6: Option<String>,
    /// The same for his Delegated-IPv6-Prefix.
    pub delegated_pool6: Option<String>,
    /// For people.
    pub note: Option<String>,
}

/// A profile: what many subscribers have in common.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProfileEntry {
    /// Its name.
    pub name: String,
    /// Profiles that it builds on; what comes first goes before what comes later.
    pub parents: Vec<String>,
    /// What must hold of requests.
    pub check: Vec<String>,
    /// What answers hold.
    pub reply: Vec<String>,
    /// Where it applied, the subscriber's next profile may apply as well.
    pub fall_through: bool,
    /// Sessions at once.
    pub simultaneous: Option<u16>,
    /// Pool of addresses.
    pub pool: Option<String>,
    /// Pool of Framed-IPv6-Prefix.
    pub pool6: Option<String>,
    /// Pool of Delegated-IPv6-Prefix.
    pub delegated_pool6: Option<String>,
    /// When its subscribers may be online, as UUCP writes it: `Wk0800-1800,Sa`.
    pub login_times: Option<String>,
    /// Longest session, in seconds.
    pub session_timeout: Option<u32>,
    /// Longest silence, in seconds.
    pub idle_timeout: Option<u32>,
    /// Seconds between interim records.
    pub interim: Option<u32>,
    /// For people.
    pub note: Option<String>,
}

/// A NAS, or all of a prefix.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NasEntry {
    /// Where its requests come from; the longest prefix counts.
    pub prefix: IpNet,
    /// Its name; several prefixes may have one name.
    pub name: String,
    /// The secret in force.
    #[serde(skip_serializing)]
    pub secret: Hidden,
    /// The secret to come, which is good as well.
    #[serde(default, skip_serializing)]
    pub next_secret: Option<Hidden>,
    /// The telco it belongs to, for sums.
    #[serde(default)]
    pub telco: Option<String>,
    /// Whether requests without a Message-Authenticator are taken from it.
    #[serde(default)]
    pub relaxed: bool,
    /// Port that it takes CoA and Disconnect on.
    #[serde(default = "NasEntry::coa_port")]
    pub coa_port: u16,
    /// Groups that check items may name (Huntgroup-Name).
    #[serde(default)]
    pub groups: Vec<String>,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
}

impl NasEntry {
    /// A NAS with the usual values.
    pub fn new(name: impl Into<String>, prefix: IpNet, secret: impl Into<String>) -> Self {
        Self {
            prefix,
            name: name.into(),
            secret: Hidden::new(secret),
            next_secret: None,
            telco: None,
            relaxed: false,
            coa_port: Self::coa_port(),
            groups: Vec::new(),
            note: None,
        }
    }

    fn coa_port() -> u16 {
        // RFC 5176 section 2.
        3799
    }
}

/// A pool of addresses of IPv4, or of prefixes of IPv6.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PoolEntry {
    /// Its name.
    pub name: String,
    /// Length of what is given out: 32 for IPv4, 33 to 64 for IPv6.
    pub length: u8,
    /// `192.0.2.0/24` without its first and last address, `192.0.2.0-192.0.2.255` with them, or `2001:db8::/40`.
    pub ranges: Vec<String>,
    /// How many a server reserves at once: a power of two, fixed for good. None: what fits the size.
    #[serde(default)]
    pub block: Option<u16>,
    /// Seconds that a lease lives after an accounting record: two or three times the interim interval at least.
    #[serde(default = "PoolEntry::lease_seconds")]
    pub lease_seconds: u32,
    /// Seconds until the first accounting record must have come, or the address is given to others.
    #[serde(default = "PoolEntry::offer_seconds")]
    pub offer_seconds: u32,
    /// For people.
    #[serde(default)]
    pub note: Option<String>,
}

impl PoolEntry {
    /// A pool of IPv4 with the usual values.
    pub fn ipv4<R: Into<String>>(
        name: impl Into<String>,
        ranges: impl IntoIterator<Item = R>,
    ) -> Self {
        Self {
            name: name.into(),
            length: 32,
            ranges: ranges.into_iter().map(Into::into).collect(),
            block: None,
            lease_seconds: Self::lease_seconds(),
            offer_seconds: Self::offer_seconds(),
            note: None,
        }
    }

    /// A pool of IPv6 prefixes of that length with the usual values.
    pub fn ipv6<R: Into<String>>(
        name: impl Into<String>,
        length: u8,
        ranges: impl IntoIterator<Item = R>,
    ) -> Self {
        Self { length, ..Self::ipv4(name, ranges) }
    }

    fn lease_seconds() -> u32 {
        3600
    }

    fn offer_seconds() -> u32 {
        300
    }
}

/// Items as they lie in the database: one in each line.
pub(crate) fn lines(items: &[String]) -> String {
    items.join("\n")
}

/// The items of a text.
pub(crate) fn items(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_in_no_text() {
        let subscriber = SubscriberEntry {
            name: "ann".into(),
            credential: Hidden::new("{CLEARTEXT}arctangent"),
            ..Default::default()
        };
        let mut nas = NasEntry::new("lns1", "192.0.2.1/32".parse().unwrap(), "xyzzy5461");
        nas.next_secret = Some(Hidden::new("xyzzy5462"));
        for text in [
            format!("{subscriber:?}{nas:?}"),
            serde_json::to_string(&subscriber).unwrap(),
            serde_json::to_string(&nas).unwrap(),
        ] {
            assert!(!text.contains("arctangent") && !text.contains("xyzzy"), "{text}");
        }
    }

    #[test]
    fn entries_are_read_with_the_usual_values() {
        let text = r#"{"prefix": "192.0.2.0/24", "name": "lns", "secret": "xyzzy5461"}"#;
        let nas: NasEntry = serde_json::from_str(text).unwrap();
        assert_eq!(nas, NasEntry::new("lns", "192.0.2.0/24".parse().unwrap(), "xyzzy5461"));
        let text = r#"{"name": "home", "length": 32, "ranges": ["192.0.2.0/24"]}"#;
        let pool: PoolEntry = serde_json::from_str(text).unwrap();
        assert_eq!(pool, PoolEntry::ipv4("home", ["192.0.2.0/24"]));
        let text = r#"{"name": "ann", "credential": "{NT}x", "reply": ["Class = 1"]}"#;
        let subscriber: SubscriberEntry = serde_json::from_str(text).unwrap();
        assert_eq!(subscriber.credential.reveal(), "{NT}x");
        assert!(serde_json::from_str::<SubscriberEntry>(r#"{"nmae": "ann"}"#).is_err());
    }

    #[test]
    fn items_are_lines() {
        let given = ["a = 1".to_owned(), "b = 2".to_owned()];
        assert_eq!(items(&lines(&given)), given);
        assert_eq!(items("\n a = 1 \r\n\n"), ["a = 1"]);
    }
}
