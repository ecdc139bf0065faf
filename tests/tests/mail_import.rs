//! MAIL: a provider's mailboxes come over to another one by one command, while they are in use, and who fetches by POP3 doesn't notice.

#![cfg(test)]

use std::fs;
use std::net::IpAddr;

use muralla_lab::{Lab, LabOptions};
use muralla_tests::mail_role::{MailRole, PASSWORD};
use serde_json::Value;

const RESOLVER: &str = "203.0.113.53";
const NORTH: &str = "203.0.113.41";
const SOUTH: &str = "203.0.113.42";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// What POP3 calls a user's messages, as a mail program asks for it.
const NAMES: &str = r#"
import poplib, ssl, sys
host, user, password = sys.argv[1:]
box = poplib.POP3_SSL(host, 995, context=ssl._create_unverified_context())
box.user(user); box.pass_(password)
for line in box.uidl()[1]:
    print(line.decode().split()[1])
box.quit()
"#;

fn names(lab: &Lab, mail: &MailRole<'_>, user: &str) -> Vec<String> {
    let (host, user) = (mail.address().to_string(), mail.user(user));
    let printed = lab.customers().run("python3", ["-c", NAMES, &host, &user, PASSWORD]).unwrap();
    printed.lines().map(str::to_owned).collect()
}

/// An mbox of messages from one number to another.
fn mbox(from: usize, to: usize) -> String {
    (from..to)
        .map(|number| {
            format!(
                "From x@example.org Thu Jan  1 00:00:{:02} 2026\nSubject: number {number}\n\nHello.\n\n",
                number % 60
            )
        })
        .collect()
}

fn lines(printed: &str) -> Vec<Value> {
    serde_json::from_str(printed).unwrap()
}

#[test]
fn a_provider_s_mailboxes_come_over() {
    let lab = Lab::up("mail-import", LabOptions { customers: 4, nas: 1, internet: 4 }).unwrap();
    let users = ["ann", "bob", "carl"];
    let mut north = MailRole::prepare(&lab, "north.test", ip(NORTH), ip(RESOLVER), &users).unwrap();
    let mut south = MailRole::prepare(&lab, "south.test", ip(SOUTH), ip(RESOLVER), &users).unwrap();
    let fill = |north: &MailRole<'_>, user: &str, from: usize, to: usize| {
        let file = north.folder().join("mbox");
        fs::write(&file, mbox(from, to)).unwrap();
        let (name, file) = (north.user(user), file.display().to_string());
        north.command(&["import", &name, "--mbox", &file]).unwrap();
    };
    fill(&north, "ann", 0, 300);
    fill(&north, "bob", 0, 3);
    north.begin().unwrap();
    south.begin().unwrap();

    let table = south.folder().join("users.csv");
    let rows: String = users
        .iter()
        .map(|user| format!("{},{},\"{PASSWORD}\"\n", south.user(user), north.user(user)))
        .collect();
    fs::write(&table, format!("account,user,password\n{rows}")).unwrap();
    let (table, from) = (table.display().to_string(), format!("pop3://{NORTH}/"));
    let ca = north.folder().join("chain.pem").display().to_string();
    let import = |south: &MailRole<'_>| {
        let arguments = ["import", "--users", &table, "--from", &from, "--insecure", "--json"];
        let lines = lines(&south.command(&arguments).unwrap());
        let mut added: Vec<(String, u64)> = lines
            .iter()
            .map(|line| {
                (line["account"].as_str().unwrap().to_owned(), line["added"].as_u64().unwrap())
            })
            .collect();
        added.sort();
        added.into_iter().map(|(_, added)| added).collect::<Vec<u64>>()
    };
    // A certificate that nobody vouches for is taken by nobody who wasn't told to; nor is one for another name.
    for trust in [&[][..], &["--ca", &ca][..]] {
        let name = south.user("ann");
        let location = format!("pop3s://{}@{NORTH}/", north.user("ann"));
        let password = south.folder().join("password").display().to_string();
        let arguments = ["import", &name, "--from", &location, "--password-file", &password];
        let error = south.command(&[&arguments, trust].concat()).unwrap_err();
        assert!(format!("{error:?}").contains("not to be trusted"), "{error:?}");
    }
    assert_eq!(import(&south), [300, 3, 0]);
    for user in users {
        assert_eq!(names(&lab, &south, user), names(&lab, &north, user), "{user}");
    }
    // Days later, the rest.
    fill(&north, "bob", 3, 5);
    assert_eq!(import(&south), [0, 2, 0]);
    assert_eq!(names(&lab, &south, "bob"), names(&lab, &north, "bob"));
    assert_eq!(south.mailbox("ann").unwrap().len(), 300);
    assert_eq!(north.mailbox("ann").unwrap().len(), 300, "nothing was removed there");
}
