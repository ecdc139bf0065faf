//! Packets that another library builds: pyrad, which lets everything through that it is told to build.

use serde_json::Value;

use super::*;

/// Prints them.
const BUILDER: &str = include_str!("packets.py");

/// Those of random attributes, besides the others.
const RANDOM: usize = 100;

/// What is to become of one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// It gets an answer of this code, and nothing is held against it.
    Answered(u8),
    /// It is refused for this reason.
    Refused(&'static str),
    /// It gets no answer, and is counted at this stage for this reason.
    Silent(&'static str, &'static str),
}

impl Fate {
    fn of(name: &str) -> Self {
        match name {
            "Status-Server at the other port" => Self::Answered(ACCOUNTING_RESPONSE),
            "no password" => Self::Refused("method_impossible"),
            "half a CHAP-Password" | "an empty CHAP-Password" | "an empty EAP-Message" => {
                Self::Refused("bad_offer")
            }
            "a stranger" => Self::Refused("unknown_user"),
            "no Message-Authenticator" | "Status-Server of nobody" => {
                Self::Silent("unverified", "no_message_authenticator")
            }
            "another secret" => Self::Silent("unverified", "message_authenticator"),
            "4097 bytes" | "a Length that is too great" => {
                Self::Silent("malformed", "length_too_big")
            }
            "a Length of 1" => Self::Silent("malformed", "length_too_small"),
            "a byte less" | "a header alone, which promises more" => {
                Self::Silent("malformed", "truncated")
            }
            "an attribute of no length" | "an attribute of length 1" => {
                Self::Silent("malformed", "attribute_too_short")
            }
            "an attribute that reaches beyond the end" => {
                Self::Silent("malformed", "attribute_torn")
            }
            "a record of another secret" => Self::Silent("unverified", "authenticator"),
            "a record without a status" => Self::Silent("dropped", "no_status"),
            "a record of no session" => Self::Silent("dropped", "no_session"),
            _ if name.starts_with("a second Message-Authenticator") => {
                Self::Silent("unverified", "message_authenticator_repeated")
            }
            _ if name.starts_with("a Message-Authenticator of ") => {
                Self::Silent("unverified", "message_authenticator_length")
            }
            _ if name.starts_with("code ") || name.ends_with("at the wrong port") => {
                Self::Silent("dropped", "unexpected_code")
            }
            _ if name.starts_with("a record") => Self::Answered(ACCOUNTING_RESPONSE),
            _ => Self::Answered(ACCESS_ACCEPT),
        }
    }

    /// How it is counted.
    fn counted(self) -> BTreeMap<(String, String), u64> {
        let (stage, reason) = match self {
            Self::Answered(_) => return BTreeMap::new(),
            Self::Refused(reason) => ("rejected", reason),
            Self::Silent(stage, reason) => (stage, reason),
        };
        BTreeMap::from([((stage.to_owned(), reason.to_owned()), 1)])
    }

    fn code(self) -> Option<u8> {
        match self {
            Self::Answered(code) => Some(code),
            Self::Refused(_) => Some(ACCESS_REJECT),
            Self::Silent(..) => None,
        }
    }
}

fn bytes_of(text: &str) -> Vec<u8> {
    let digits = (0..text.len() / 2).map(|at| &text[2 * at..2 * at + 2]);
    digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect()
}

#[test]
fn aaa_what_pyrad_builds_gets_what_it_deserves_and_harms_nobody() {
    let lab = Lab::up("aaa-pyrad", LabOptions::default()).unwrap();
    let postgres = Postgres::start(&lab, &lab.folder().join("postgres"), 1).unwrap();
    let mut role = server(&lab, "pyrad", "203.0.113.57", &postgres);
    let pid = role.role().pid().unwrap();
    let (auth, acct) = (role.auth(), role.acct());
    let mut stand = Stand { role: &role, nas: Nas::new(&lab, 0).unwrap() };
    let count = RANDOM.to_string();
    // Debian's, which has Debian's pyrad.
    let arguments = ["-c", BUILDER, SECRET, PASSWORD, &count, "20261130"];
    let built = lab.customers().run("/usr/bin/python3", arguments).unwrap();
    let (mut records, mut silent, mut random) = (0, 0, 0);
    for line in built.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let [name, port, bytes] =
            ["name", "port", "bytes"].map(|key| line[key].as_str().unwrap().to_owned());
        let to = if port == "auth" { auth } else { acct };
        let fate = Fate::of(&name);
        let (code, counted) = stand.send(&name, to, &bytes_of(&bytes), fate.code().is_some());
        assert_eq!((code, counted), (fate.code(), fate.counted()), "{name}");
        silent += usize::from(fate.code().is_none());
        random += usize::from(name.starts_with("random"));
        records += usize::from(name.starts_with("a record") && fate.code().is_some());
    }
    assert_eq!((random, records), (RANDOM, 5));
    assert!(silent > 30, "{silent}");
    role.until_told().unwrap();
    assert_eq!(role.exported("records").unwrap().len(), records, "all that was acknowledged");
    assert_eq!(role.role().pid().unwrap(), pid);
    assert!(!role.role().output().contains("panic"), "{}", role.role().output());
}
