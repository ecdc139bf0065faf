//! `muralla filter`.

use std::io::{BufWriter, Write as _, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use indicatif::ProgressBar;
use muralla_mail::tools::filtering::{Desk, Kind, Opinion, Words, read_list, read_message};
use serde::Serialize;

use super::{Call, code, out, show};
use crate::cli::filter::FilterCommand;
use crate::configuration;
use crate::top::table;

/// Does what is asked. None of it needs a daemon.
pub(crate) async fn act(call: &Call, command: FilterCommand) -> anyhow::Result<ExitCode> {
    match command {
        FilterCommand::Test { model, files } => {
            let desk = open(call, model.model.as_deref())?;
            let mut judged = Vec::new();
            for file in files {
                let opinion = desk.judge(&read_message(&file)?).await;
                judged.push(Tested { file, opinion });
            }
            if call.json {
                show(&judged)?
            } else {
                out(&tested_text(&judged))?
            }
            Ok(code(judged.iter().all(|one| one.opinion.outcome == "inbox")))
        }
        FilterCommand::Explain { model, file } => {
            let desk = open(call, model.model.as_deref())?;
            let message = read_message(&file)?;
            let explained = Explained {
                opinion: desk.judge(&message).await,
                words_that_say_most: desk.explain(&message).await,
            };
            if call.json {
                show(&explained)?
            } else {
                out(&explained_text(&explained))?
            }
            Ok(ExitCode::SUCCESS)
        }
        FilterCommand::Learn { model, spam, ham: _, files } => {
            let place = model.model.or_else(|| configured(call)).context(
                "no model is named: say --model FILE, or [mail.filter] model in the configuration",
            )?;
            let desk = match place.try_exists()? {
                true => open(call, Some(&place))?,
                false => Desk::open(None, &[])?,
            };
            let kind = if spam { Kind::Spam } else { Kind::Ham };
            let bar = bar(files.len(), "learning");
            for file in &files {
                desk.learn(&read_message(file)?, kind, file).await?;
                bar.inc(1);
            }
            bar.finish_and_clear();
            desk.save(&place, false)?;
            let (ham, spam) = desk.learned();
            let learned = Learned { messages: files.len(), ham, spam };
            if call.json {
                show(&learned)?;
            } else {
                out(&format!(
                    "{} learned: {} knows {ham} messages that are wanted and {spam} that are not\n",
                    learned.messages,
                    place.display()
                ))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        FilterCommand::Rehearse { model, list, save, condensed, no_learning } => {
            let desk = open(call, model.model.as_deref())?;
            let count = rehearse(call, &desk, &list, !no_learning).await?;
            if let Some(save) = save {
                desk.save(&save, condensed)?;
            }
            if !call.json {
                out(&rehearsed_text(&count))?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The model and brands that are named, or else the configuration's. Without a configuration there are none.
fn open(call: &Call, model: Option<&Path>) -> anyhow::Result<Desk> {
    let configured = configuration::load(&call.config).ok();
    let filter = configured.and_then(|accepted| accepted.configuration.mail?.filter);
    let brands = filter.as_ref().map(|filter| filter.brands.clone()).unwrap_or_default();
    let model = model.map(Path::to_owned).or_else(|| filter?.model);
    Ok(Desk::open(model.as_deref(), &brands)?)
}

fn configured(call: &Call) -> Option<PathBuf> {
    configuration::load(&call.config).ok()?.configuration.mail?.filter?.model
}

#[derive(Debug, Serialize)]
struct Tested {
    file: PathBuf,
    #[serde(flatten)]
    opinion: Opinion,
}

#[derive(Debug, Serialize)]
struct Explained {
    #[serde(flatten)]
    opinion: Opinion,
    words_that_say_most: Words,
}

#[derive(Debug, Serialize)]
struct Learned {
    messages: usize,
    ham: u64,
    spam: u64,
}

#[derive(Debug, Serialize)]
struct Rehearsed<'r> {
    path: &'r Path,
    class: Kind,
    log_odds: f32,
    content: f32,
    outcome: &'static str,
    micros: u128,
    reasons: Vec<&'r str>,
}

/// What became of mail that was known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Count {
    ham: usize,
    spam: usize,
    ham_in_spam: usize,
    ham_refused: usize,
    spam_in_inbox: usize,
}

async fn rehearse(call: &Call, desk: &Desk, list: &Path, learning: bool) -> anyhow::Result<Count> {
    let known = read_list(list)?;
    let bar = if call.json { ProgressBar::hidden() } else { bar(known.len(), "rehearsing") };
    let mut lines = BufWriter::new(stdout().lock());
    let mut count = Count::default();
    for one in &known {
        let message = read_message(&one.path)?;
        let started = Instant::now();
        let opinion = desk.judge(&message).await;
        let micros = started.elapsed().as_micros();
        match (one.kind, opinion.outcome) {
            (Kind::Ham, outcome) => {
                count.ham += 1;
                count.ham_in_spam += usize::from(outcome == "spam");
                count.ham_refused += usize::from(outcome == "refuse");
            }
            (Kind::Spam, outcome) => {
                count.spam += 1;
                count.spam_in_inbox += usize::from(outcome == "inbox");
            }
        }
        if call.json {
            let line = Rehearsed {
                path: &one.path,
                class: one.kind,
                log_odds: opinion.log_odds,
                content: opinion.content,
                outcome: opinion.outcome,
                micros,
                reasons: opinion.reasons.iter().map(|reason| reason.name.as_str()).collect(),
            };
            serde_json::to_writer(&mut lines, &line)?;
            lines.write_all(b"\n")?;
        }
        if learning {
            desk.learn(&message, one.kind, &one.path).await?;
        }
        bar.inc(1);
    }
    lines.flush()?;
    bar.finish_and_clear();
    Ok(count)
}

/// A bar for people, of so many messages.
fn bar(length: usize, what: &'static str) -> ProgressBar {
    let bar = super::radius::bar().with_message(what);
    bar.set_length(u64::try_from(length).unwrap_or(u64::MAX));
    bar
}

fn tested_text(judged: &[Tested]) -> String {
    let rows: Vec<[String; 4]> = judged
        .iter()
        .map(|one| {
            let reasons = one.opinion.reasons.iter().filter(|reason| reason.worth != 0.0);
            let names: Vec<&str> = reasons.take(4).map(|reason| reason.name.as_str()).collect();
            [
                one.file.display().to_string(),
                one.opinion.outcome.to_owned(),
                format!("{:+.1}", one.opinion.log_odds),
                names.join(" "),
            ]
        })
        .collect();
    table(["file", "goes to", "log-odds", "because of"], &rows)
}

fn explained_text(explained: &Explained) -> String {
    let opinion = &explained.opinion;
    let mut text = format!(
        "{}: log-odds of spam {:+.1}, of which its words {:+.1}\n",
        opinion.outcome, opinion.log_odds, opinion.content
    );
    if !opinion.danger.is_empty() {
        text.push_str(&format!("{}\n", opinion.danger));
    }
    for reason in &opinion.reasons {
        text.push_str(&format!("  {:+.1}  {}: {}\n", reason.worth, reason.name, reason.words));
    }
    let words = &explained.words_that_say_most;
    for (title, pieces) in [("for spam", &words.spam), ("against it", &words.ham)] {
        if pieces.is_empty() {
            continue;
        }
        text.push_str(&format!("words that speak {title}:\n"));
        for (piece, log_odds) in pieces {
            text.push_str(&format!("  {log_odds:+.2}  {piece}\n"));
        }
    }
    text
}

fn rehearsed_text(count: &Count) -> String {
    let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64 * 100.0;
    format!(
        "{} messages that are wanted: {} ({:.2} %) into Spam, {} refused\n{} that are not: {} ({:.2} %) into the Inbox\n",
        count.ham,
        count.ham_in_spam,
        share(count.ham_in_spam, count.ham),
        count.ham_refused,
        count.spam,
        count.spam_in_inbox,
        share(count.spam_in_inbox, count.spam),
    )
}

#[cfg(test)]
mod tests {
    use muralla_mail::tools::filtering::Found;

    use super::*;

    fn opinion() -> Opinion {
        let found = |name: &str, worth| Found {
            stage: "structure",
            name: name.to_owned(),
            worth,
            words: "It is odd.".to_owned(),
        };
        Opinion {
            outcome: "spam",
            log_odds: 7.25,
            content: 4.0,
            danger: String::new(),
            reasons: vec![found("false-link", 1.8), found("no-subject", 0.0)],
        }
    }

    #[test]
    fn what_is_found_is_told() {
        let text = tested_text(&[Tested { file: "a.eml".into(), opinion: opinion() }]);
        let line = text.lines().nth(1).unwrap();
        for word in ["a.eml", "spam", "+7.2", "false-link"] {
            assert!(line.contains(word), "{line}");
        }
        assert!(!line.contains("no-subject"), "{line}");
        let words = Words { spam: vec![("pills".to_owned(), 1.5)], ham: Vec::new() };
        let text = explained_text(&Explained { opinion: opinion(), words_that_say_most: words });
        assert!(
            text.starts_with("spam: log-odds of spam +7.2, of which its words +4.0\n"),
            "{text}"
        );
        assert!(text.contains("  +1.8  false-link: It is odd.\n"), "{text}");
        assert!(
            text.contains("for spam:\n  +1.50  pills\n") && !text.contains("against"),
            "{text}"
        );
    }

    #[test]
    fn a_rehearsal_is_told() {
        let count = Count { ham: 200, spam: 100, ham_in_spam: 1, ham_refused: 0, spam_in_inbox: 3 };
        let text = rehearsed_text(&count);
        assert!(text.contains("200 messages that are wanted: 1 (0.50 %) into Spam"), "{text}");
        assert!(text.contains("100 that are not: 3 (3.00 %) into the Inbox"), "{text}");
    }
}
