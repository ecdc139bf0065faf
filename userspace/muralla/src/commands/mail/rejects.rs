//! `muralla mail rejects`: what was refused for an account, with or without a daemon.

use std::process::ExitCode;

use muralla_mail::config::MailConfig;
use muralla_mail::tools::Mailboxes;
use muralla_mail::tools::rejects::{self, Rejected, Restored};
use muralla_mail_directory::Name;
use serde_json::json;

use super::directory::parsed_name;
use super::{printable, tell};
use crate::cli::mail::RejectsCommand;
use crate::commands::{Call, code, out, out_octets};
use crate::configuration::{moment, size};
use crate::top::table;

/// Longest sender, subject and reason in a line, in characters.
const SHORT: usize = 40;
const LONG: usize = 100;

/// `muralla mail rejects`
pub(super) async fn act(
    call: &Call,
    config: &MailConfig,
    command: RejectsCommand,
) -> anyhow::Result<ExitCode> {
    let mailboxes = Mailboxes::open(config).await?;
    let done = with(call, &mailboxes, command).await;
    mailboxes.close().await;
    done
}

async fn with(
    call: &Call,
    mailboxes: &Mailboxes,
    command: RejectsCommand,
) -> anyhow::Result<ExitCode> {
    match command {
        RejectsCommand::List { account } => {
            let name = parsed_name(&account)?;
            let kept = rejects::list(&mailboxes.of(&name).await?).await?;
            tell(call, &kept, |kept| list_text(&name, kept))?;
            Ok(ExitCode::SUCCESS)
        }
        RejectsCommand::Show { account, number, raw } => {
            let name = parsed_name(&account)?;
            let octets = rejects::read(&mailboxes.of(&name).await?, &name, number).await?;
            match (raw, call.json) {
                (true, _) => out_octets(&octets)?,
                (false, true) => {
                    super::show(&json!({ "number": number, "text": printable(&octets) }))?;
                }
                (false, false) => out(&printable(&octets))?,
            }
            Ok(ExitCode::SUCCESS)
        }
        RejectsCommand::Restore { account, numbers, all } => {
            let name = parsed_name(&account)?;
            let numbers = (!all).then_some(numbers.as_slice());
            let restored = rejects::restore(mailboxes, &name, numbers).await?;
            if restored.iter().any(|one| !one.traced) {
                eprintln!("`muralla mail trace` does not tell of it: the queue's database is away");
            }
            tell(call, &restored, |restored| restored_text(&name, restored))?;
            Ok(code(!restored.is_empty()))
        }
    }
}

fn list_text(name: &Name, kept: &[Rejected]) -> String {
    if kept.is_empty() {
        return format!("nothing was refused for {name} lately\n");
    }
    let at = |seconds: i64| moment(u64::try_from(seconds).unwrap_or_default());
    let rows: Vec<[String; 7]> = kept
        .iter()
        .map(|one| {
            [
                one.number.to_string(),
                at(one.refused),
                at(one.until),
                size::about(one.bytes),
                cut(&one.from, SHORT),
                cut(&one.subject, SHORT),
                cut(&one.reason, LONG),
            ]
        })
        .collect();
    table(["number", "refused", "goes", "size", "from", "subject", "why"], &rows)
}

fn restored_text(name: &Name, restored: &[Restored]) -> String {
    match restored {
        [] => format!("there is nothing in the Rejects of {name}\n"),
        [one] => {
            let Rejected { number, from, .. } = &one.rejected;
            format!("message {number} from {} is in the Inbox of {name}\n", cut(from, SHORT))
        }
        many => format!("{} messages are in the Inbox of {name}\n", many.len()),
    }
}

/// So many characters of a text, and a sign where there are more.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(number: u32) -> Rejected {
        Rejected {
            number,
            id: Some("t7ufst4m7lo7nwc4u56izufu7q".to_owned()),
            refused: 1_796_083_200,
            until: 1_796_083_200 + 14 * 86_400,
            from: "Jürgen <j@example.org>".to_owned(),
            subject: "ñ".repeat(SHORT + 1),
            reason: "550 5.7.1 This looks like spam.".to_owned(),
            bytes: 2_048,
        }
    }

    #[test]
    fn what_was_refused_is_told_in_lines() {
        let name = Name::parse("ann@example.net").unwrap();
        let text = list_text(&name, &[rejected(1), rejected(28_915_205)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[2].starts_with("28915205") && lines[2].contains("2026-12-01"), "{text}");
        assert!(lines[2].contains("2026-12-15") && lines[2].contains("Jürgen"), "{text}");
        assert!(lines[2].contains(&format!("{}…", "ñ".repeat(SHORT))), "{text}");
        assert!(lines[2].ends_with("550 5.7.1 This looks like spam."), "{text}");
        assert!(list_text(&name, &[]).contains("nothing was refused"));
    }

    #[test]
    fn what_is_restored_is_told() {
        let name = Name::parse("ann@example.net").unwrap();
        let restored = |count: u32| -> Vec<Restored> {
            (0..count).map(|number| Restored { rejected: rejected(number), traced: true }).collect()
        };
        for (count, text) in [
            (0, "there is nothing in the Rejects of ann@example.net\n"),
            (1, "message 0 from Jürgen <j@example.org> is in the Inbox of ann@example.net\n"),
            (3, "3 messages are in the Inbox of ann@example.net\n"),
        ] {
            assert_eq!(restored_text(&name, &restored(count)), text);
        }
    }
}
