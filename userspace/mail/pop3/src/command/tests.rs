use proptest::prelude::*;

use super::*;

#[test]
fn commands() {
    for (line, command) in [
        ("AUTH", Command::Mechanisms),
        ("AUTH ", Command::Mechanisms),
        ("auth plain", Command::Auth { mechanism: "plain", initial: None }),
        ("AUTH PLAIN =", Command::Auth { mechanism: "PLAIN", initial: Some("=") }),
        (
            "AUTH SCRAM-SHA-256 biws",
            Command::Auth { mechanism: "SCRAM-SHA-256", initial: Some("biws") },
        ),
        ("CAPA", Command::Capa),
        ("capa ", Command::Capa),
        ("DELE 1", Command::Dele(1)),
        ("dele  007 ", Command::Dele(7)),
        ("LIST", Command::List(None)),
        ("LIST ", Command::List(None)),
        ("LIST 4294967295", Command::List(Some(u32::MAX))),
        ("NOOP", Command::Noop),
        ("PASS secret", Command::Pass(b"secret")),
        ("PASS  two words ", Command::Pass(b" two words ")),
        ("PASS ", Command::Pass(b"")),
        ("quit", Command::Quit),
        ("RETR 2", Command::Retr(2)),
        ("RSET", Command::Rset),
        ("STAT", Command::Stat),
        ("STLS", Command::Stls),
        ("TOP 1 0", Command::Top(1, 0)),
        ("top 1 10", Command::Top(1, 10)),
        ("TOP 1 99999999999999999999999", Command::Top(1, u64::MAX)),
        ("UIDL", Command::Uidl(None)),
        ("UIDL 3", Command::Uidl(Some(3))),
        ("USER mrose", Command::User("mrose")),
        ("USER  m rose ", Command::User("m rose")),
        ("USER \u{fc}ser@example.org", Command::User("\u{fc}ser@example.org")),
        ("UTF8", Command::Utf8),
    ] {
        assert_eq!(parse(line.as_bytes()), Ok(command), "{line}");
    }
    assert_eq!(parse(b"PASS \xff\xfe"), Ok(Command::Pass(b"\xff\xfe")));
}

#[test]
fn what_is_none() {
    let long = format!("USER {}", "a".repeat(LONGEST_USER + 1));
    for (line, error) in [
        ("", CommandError::Unknown),
        (" ", CommandError::Unknown),
        (" STAT", CommandError::Unknown),
        ("STA", CommandError::Unknown),
        ("STATS", CommandError::Unknown),
        ("TOP", CommandError::Usage("TOP number lines")),
        ("TOP\0 1 1", CommandError::Unknown),
        ("APOP mrose c4c9334bac560ecc979e58001b3e22fb", CommandError::Unknown),
        ("LAST", CommandError::Unknown),
        ("GET / HTTP/1.1", CommandError::Foreign),
        ("post /x HTTP/1.1", CommandError::Foreign),
        ("EHLO client", CommandError::Foreign),
        ("NOOP x", CommandError::NoArguments),
        ("STAT 1", CommandError::NoArguments),
        ("QUIT now", CommandError::NoArguments),
        ("STLS x", CommandError::NoArguments),
        ("DELE", CommandError::Usage("DELE number")),
        ("DELE x", CommandError::Usage("DELE number")),
        ("DELE 1 2", CommandError::Usage("DELE number")),
        ("DELE -1", CommandError::Usage("DELE number")),
        ("DELE +1", CommandError::Usage("DELE number")),
        ("DELE 0", CommandError::Number),
        ("DELE 4294967296", CommandError::Number),
        ("RETR 99999999999999999999999999", CommandError::Number),
        ("LIST 1 2", CommandError::Usage("LIST, or LIST number")),
        ("LIST x", CommandError::Usage("LIST, or LIST number")),
        ("UIDL 0", CommandError::Number),
        ("TOP 1", CommandError::Usage("TOP number lines")),
        ("TOP 1 -1", CommandError::Usage("TOP number lines")),
        ("TOP 1 2 3", CommandError::Usage("TOP number lines")),
        ("TOP 0 1", CommandError::Number),
        ("PASS", CommandError::Usage("PASS password")),
        ("USER", CommandError::Usage("USER name")),
        ("USER ", CommandError::Usage("USER name")),
        ("USER a\0b", CommandError::Usage("USER name")),
        (&long, CommandError::Usage("USER name")),
        ("AUTH PLAIN a b", CommandError::Usage("AUTH mechanism")),
    ] {
        assert_eq!(parse(line.as_bytes()), Err(error), "{line}");
    }
    assert_eq!(parse(b"USER \xff"), Err(CommandError::Usage("USER name")));
    assert_eq!(parse(b"AUTH \xff"), Err(CommandError::Usage("AUTH mechanism")));
}

proptest! {
    #[test]
    fn anything(line: Vec<u8>) {
        let _ = parse(&line);
    }

    #[test]
    fn near_commands(line in "(?i)(AUTH|CAPA|DELE|LIST|PASS|TOP|UIDL|USER)[ 0-9a-z=]{0,20}") {
        // A keyword is one whatever its letters.
        prop_assert_eq!(parse(line.as_bytes()).is_ok(), parse(line.to_ascii_uppercase().as_bytes()).is_ok());
    }
}
