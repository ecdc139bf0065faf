use std::fs;

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Vec<UsersEntry>, Vec<Problem>> {
    UsersFile::parse(&Dictionary::built_in(), "users", text)
}

/// Entries as text: name | check items | reply items.
fn entries(text: &str) -> Vec<String> {
    let entries = parse(text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
    let list = |pairs: &[Pair]| pairs.iter().map(Pair::to_string).collect::<Vec<_>>().join(", ");
    let show = |entry: &UsersEntry| {
        let through = if entry.fall_through { " ..." } else { "" };
        format!(
            "{} {} | {} | {}{through}",
            entry.line,
            entry.name,
            list(&entry.check),
            list(&entry.reply)
        )
    };
    entries.iter().map(show).collect()
}

#[test]
fn files_as_they_are_written() {
    for (text, expected) in [
        ("", &[][..]),
        ("# only\n\n   # comments\n", &[]),
        ("bob", &["1 bob |  | "]),
        ("bob\tCleartext-Password := \"hello\"\n", &["1 bob | Cleartext-Password := \"hello\" | "]),
        (
            "bob  Cleartext-Password := hello, NAS-Port-Type == Async  # at home\r\n\
             \tReply-Message := \"Hello, bob\",\r\n\
             # in between\r\n\
             \r\n\
             \tFramed-IP-Address = 192.0.2.1 # fixed\r\n\
             \r\n\
             DEFAULT Service-Type == Framed-User\r\n\
             \tFramed-Protocol = PPP, Framed-MTU = 1500,\r\n\
             \tFall-Through = Yes\r\n\
             DEFAULT Auth-Type := Reject\r\n\
             \tReply-Message = \"No\", Fall-Through = No\r\n",
            &[
                "1 bob | Cleartext-Password := \"hello\", NAS-Port-Type == Async | Reply-Message := \"Hello, bob\", \
                 Framed-IP-Address = 192.0.2.1",
                "7 DEFAULT | Service-Type == Framed-User | Framed-Protocol = PPP, Framed-MTU = 1500 ...",
                "10 DEFAULT | Auth-Type := Reject | Reply-Message = \"No\"",
            ],
        ),
        // Names of all kinds.
        ("\"john doe\" Cleartext-Password := 'it''s'\n", &[]),
        (
            "\"john \\\"doe\\\"\"Cleartext-Password := 'it\\'s'\n'a b' NAS-Port > 5\njosé@example.org\n",
            &[
                "1 john \"doe\" | Cleartext-Password := \"it's\" | ",
                "2 a b | NAS-Port > 5 | ",
                "3 josé@example.org |  | ",
            ],
        ),
        // Lines that go on.
        (
            "bob Cleartext-Password := hello, \\\n  Simultaneous-Use := 1\n\tReply-Message = \"a \\\n  b\"\nann\n",
            &[
                "1 bob | Cleartext-Password := \"hello\", Simultaneous-Use := 1 | Reply-Message = \"a   b\"",
                "5 ann |  | ",
            ],
        ),
        ("# a comment \\\nbob\n", &["2 bob |  | "]),
        // All operators.
        (
            "bob User-Name == a, User-Name != a, NAS-Port > 1, NAS-Port >= 1, NAS-Port < 1, NAS-Port <= 1, User-Name =~ \"^a\", \
             User-Name !~ b, User-Name =* ANY, User-Name !* ANY, Pool-Name := p, Pool-Name += p, Pool-Name = p\n Class = a, Class \
             += b, Class := c\n",
            &[
                "1 bob | User-Name == \"a\", User-Name != \"a\", NAS-Port > 1, NAS-Port >= 1, NAS-Port < 1, NAS-Port <= 1, User-Name \
               =~ \"^a\", User-Name !~ \"b\", User-Name =* ANY, User-Name !* ANY, Pool-Name := \"p\", Pool-Name += \"p\", Pool-Name \
               = \"p\" | Class = 0x61, Class += 0x62, Class := 0x63",
            ],
        ),
        ("\u{feff}bob\n", &["1 bob |  | "]),
        (
            "bob\n  Tunnel-Type:1 = VLAN, Cisco-AVPair += \"a=b, c\"",
            &["1 bob |  | Tunnel-Type:1 = VLAN, Cisco-AVPair += \"a=b, c\""],
        ),
    ] {
        if expected.is_empty() && !text.starts_with('#') && !text.is_empty() {
            assert!(parse(text).is_err(), "{text}");
            continue;
        }
        assert_eq!(entries(text), expected, "{text}");
    }
    assert!(parse("DEFAULT").unwrap()[0].is_default());
    assert!(!parse("default").unwrap()[0].is_default());
}

#[test]
fn problems_name_their_lines() {
    for (text, expected) in [
        (" Reply-Message = x", &[(1, "belongs to no entry")][..]),
        ("\n Reply-Message = x,\n Reply-Message = y\nbob", &[(2, "belongs to no entry")]),
        ("bob Foo = 5", &[(1, "\"Foo\" is not an attribute")]),
        ("bob Framed-IP-Adress == 192.0.2.1", &[(1, "is Framed-IP-Address meant?")]),
        ("bob NAS-Port == x, User-Name == a", &[(1, "\"x\" can't be a value of NAS-Port")]),
        ("bob NAS-Port 5", &[(1, "not an operator")]),
        (
            "bob NAS-Port == 5 User-Name == a",
            &[(1, "a comma is missing behind the value of NAS-Port")],
        ),
        ("bob NAS-Port == 5,", &[(1, "which are all on one line")]),
        ("bob NAS-Port == 5,\n Class = x", &[(1, "which are all on one line")]),
        ("bob\n Class = x,\n\nann", &[(2, "no reply item follows")]),
        ("bob\n Class = x,", &[(2, "no reply item follows")]),
        ("bob\n Class = x\n Class = y", &[(3, "a comma is missing at the end of line 2")]),
        ("bob\n Class == x", &[(2, "stands among reply items")]),
        ("bob\n Class = `id`", &[(2, "back-quotes is never run")]),
        ("bob\n Reply-Message = \"Hi %{User-Name}\"", &[(2, "expansions")]),
        ("bob\n Reply-Message = \"Hi", &[(2, "not closed")]),
        (
            "bob\n Foo = 5,\n Bar = 5,\n Class = x\n Baz = 5",
            &[(2, "Foo"), (3, "Bar"), (5, "a comma is missing at the end of line 4"), (5, "Baz")],
        ),
        ("\"bob", &[(1, "not closed")]),
        ("\"\" Class == x", &[(1, "1 to 253 bytes")]),
        ("`id` Class == x\n Class = y", &[(1, "back-quotes")]),
        ("bob ,", &[(1, "the name of an attribute")]),
        ("$INCLUDE", &[(1, "is no file")]),
        ("bob\n$INCLUDE nowhere-at-all\n", &[(2, "can't be read")]),
        ("bob\n User-Name:1 = x", &[(2, "takes none")]),
    ] {
        let problems = parse(text).expect_err(text);
        let lines: Vec<_> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(
            lines,
            expected.iter().map(|(line, _)| Some(*line)).collect::<Vec<_>>(),
            "{text}: {problems:?}"
        );
        for (problem, (_, word)) in problems.iter().zip(expected) {
            assert!(problem.to_string().contains(word), "{text}: {problem}");
        }
    }
    let problems = UsersFile::parse(&Dictionary::built_in(), "users", b"b\xffb\n").unwrap_err();
    assert!(problems[0].to_string().starts_with("users:1: the name of the user is not in UTF-8"));
    let many = parse(&"bob Foo = 5\n".repeat(1000)).unwrap_err();
    assert_eq!(many.len(), MOST_PROBLEMS);
}

#[test]
fn passwords_are_in_no_problem() {
    let problems = parse("bob Cleartext-Password := top secret\n\tCleartext-Password == topsecret")
        .unwrap_err();
    assert!(!problems[1].to_string().contains("topsecret"), "{problems:?}");
}

#[test]
fn bytes_that_are_not_utf_8_are_kept_in_values() {
    let text = b"bob Cleartext-Password := \"caf\xe9\"\n";
    let entries = UsersFile::parse(&Dictionary::built_in(), "users", text).unwrap();
    assert_eq!(entries[0].check[0].value.bytes(), Some(&b"caf\xe9"[..]));
    assert_eq!(entries[0].check[0].to_string(), r#"Cleartext-Password := "caf\351""#);
}

#[test]
fn files_include_others() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let main = write("users", "ann\n Class = 0x01\n$INCLUDE more\nzoe\n");
    write("more", "bob\n Class = 0x02\n");
    let dictionary = Dictionary::built_in();
    let entries = UsersFile::read(&dictionary, &main).unwrap();
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| {
            (entry.name.as_str(), entry.line, entry.file.file_name().unwrap().to_str().unwrap())
        })
        .collect();
    assert_eq!(shown, [("ann", 1, "users"), ("bob", 1, "more"), ("zoe", 4, "users")]);
    let text = fs::read(&main).unwrap();
    assert_eq!(UsersFile::parse(&dictionary, &main, text), Ok(entries));

    // An indented line never belongs to the entry of another file.
    write("more", " Class = 0x02\n");
    let problems = UsersFile::read(&dictionary, &main).unwrap_err();
    assert!(problems[0].file.ends_with("more") && problems[0].line == Some(1), "{problems:?}");
    write("more", "$INCLUDE users\n");
    let problems = UsersFile::read(&dictionary, &main).unwrap_err();
    assert!(problems[0].what.contains("includes itself"), "{problems:?}");
    assert!(UsersFile::read(&dictionary, &folder.path().join("none")).is_err());
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "(?s).{0,300}") {
        crate::fuzzing::users(text.as_bytes());
    }

    #[test]
    fn any_words_are_survived(words in proptest::collection::vec(proptest::sample::select(vec![
        "bob", "DEFAULT", "\n", "\n", "\n\t", ",", ",\n\t", " ", "\\", "\\\n", "\"", "'", "`", "#", "$INCLUDE ", "User-Name", "Class",
        "NAS-Port", "Fall-Through", "Tunnel-Type:1", "=", ":=", "==", "=~", "=*", "+=", "5", "a", "Yes", "VLAN", "\"a, b\"", "0x00",
        "Expiration", "\"31 Dec 2026\"", "\r\n", "%{",
    ]), 0..50)) {
        crate::fuzzing::users(words.concat().as_bytes());
    }
}
