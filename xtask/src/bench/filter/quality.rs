//! How well spam is told from ham: online, where each message is judged and then learned, as it is where users teach; and taught by
//! the first half alone, with nothing learned from the second.

use anyhow::{Context, Result};

use super::super::progress::Progress;
use super::super::table::Row;
use super::bogofilter::Bogofilter;
use super::corpus::Known;
use super::curve::{Judged, flagged, missed_at, one_less_auc};
use super::ground::Ground;
use super::nowhere::{Answer, Nowhere};
use super::rehearsal::{Line, Rehearsal};
use super::rspamd::Rspamd;
use super::spamassassin::SpamAssassin;

/// Of the ham, the share that may be taken for spam where missed spam is told.
const HAM_ERROR: f64 = 0.001;

const PERCENT: &str = "%";

pub(super) fn rows(ground: &Ground) -> Result<Vec<Row>> {
    let mut rows = online(ground)?;
    rows.extend(taught(ground)?);
    Ok(rows)
}

fn online(ground: &Ground) -> Result<Vec<Row>> {
    let all = &ground.corpus.messages;
    let half = all.len() / 2;
    let bogofilter = Bogofilter::new(ground.disk.folder.join("bogofilter-online"))?;
    let progress = Progress::of("quality: bogofilter, online", all.len() as u64);
    let theirs = bogofilter.rehearse(all, || progress.step())?;
    drop(progress);
    let mut rows = told("quality.online.bogofilter", &theirs, half);
    if let Some(binary) = &ground.binary {
        eprintln!("quality: muralla, online");
        let list = ground.corpus.list("online", all)?;
        let lines = Rehearsal::of(&list).run(binary)?;
        let judged: Vec<Judged> = lines.iter().map(Line::judged).collect();
        let place = "quality.online.muralla";
        let ours = told(place, &judged, half);
        rows.extend(ours.into_iter().map(|row| match row.id.strip_prefix(place) {
            Some(".one_less_auc.all") => within(row, 0.12),
            Some(".one_less_auc.second_half") => within(row, 0.08),
            Some(what) => {
                let theirs = format!("quality.online.bogofilter{what}");
                with_theirs(row, &theirs)
            }
            None => row,
        }));
        rows.extend(outcomes(place, &lines));
    }
    fill_ratios(&mut rows);
    Ok(rows)
}

/// What becomes of ham and of spam, by ours' own settings.
fn outcomes(place: &str, lines: &[Line]) -> Vec<Row> {
    let share = |spam: bool, outcome: &str| {
        let of_kind: Vec<&Line> = lines.iter().filter(|line| line.spam() == spam).collect();
        let gone = of_kind.iter().filter(|line| line.went(outcome)).count();
        gone as f64 / of_kind.len() as f64 * 100.0
    };
    let row = |what: &str, value| Row::plain(format!("{place}.{what}"), value, PERCENT);
    vec![
        within(row("ham.spam_folder", share(false, "spam")), 0.05),
        within(row("ham.refused", share(false, "refuse")), 0.0),
        row("ham.held", share(false, "hold")),
        row("spam.inbox", share(true, "inbox")),
        row("spam.refused", share(true, "refuse")),
        row("spam.held", share(true, "hold")),
    ]
}

/// All of them taught by the first half, and asked about the second one and about today's letters.
fn taught(ground: &Ground) -> Result<Vec<Row>> {
    let (first, second) = ground.corpus.halves();
    let today = ground.made_up.messages.as_slice();
    let both: Vec<Known> = [second, today].concat();
    // What needs the Internet is off, and what still asks for a name is told at once that nobody can be asked.
    let _nowhere = Nowhere::start(ground.lab.edge(), Answer::Failure)?;

    eprintln!("quality: bogofilter, taught by the first half");
    let bogofilter = Bogofilter::new(ground.disk.folder.join("bogofilter"))?;
    bogofilter.learn(first)?;
    let mut contenders = vec![("bogofilter", bogofilter.judge(&both)?)];

    eprintln!("quality: rspamd, taught by the first half");
    let rspamd = Rspamd::start(ground, false)?;
    rspamd.learn(ground, first)?;
    contenders.push(("rspamd", rspamd.judge(ground, &both)?));
    drop(rspamd);

    eprintln!("quality: spamassassin, taught by the first half (some minutes)");
    let spamassassin = SpamAssassin::start(ground, first)?;
    contenders.push(("spamassassin", spamassassin.judge(ground, &both)?));
    drop(spamassassin);

    if let Some(binary) = &ground.binary {
        let model = ground.model()?;
        eprintln!("quality: muralla, taught by the first half");
        let mut judged = Vec::new();
        for (corpus, name, messages) in
            [(&ground.corpus, "second", second), (&ground.made_up, "today", today)]
        {
            let list = corpus.list(name, messages)?;
            let asked = Rehearsal { model: Some(model), learning: false, ..Rehearsal::of(&list) };
            judged.extend(asked.run(binary)?.iter().map(Line::judged));
        }
        contenders.push(("muralla", judged));
    }
    let mut rows = Vec::new();
    for (name, judged) in &contenders {
        let (old, new) = judged.split_at_checked(second.len()).context("too few answers")?;
        let place = format!("quality.taught.{name}");
        let figures = [
            ("one_less_auc", one_less_auc(old)),
            ("spam_missed", missed_at(old, HAM_ERROR)),
            ("kept_out.ham", flagged(old, false)),
            ("kept_out.spam", flagged(old, true)),
            ("kept_out.todays_ham", flagged(new, false)),
        ];
        for (what, value) in figures {
            let row = Row::plain(format!("{place}.{what}"), value * 100.0, PERCENT);
            rows.push(match *name {
                "bogofilter" => row,
                _ => with_theirs(row, &format!("quality.taught.bogofilter.{what}")),
            });
        }
    }
    fill_ratios(&mut rows);
    Ok(rows)
}

/// Figures of a way through the whole corpus.
fn told(place: &str, judged: &[Judged], half: usize) -> Vec<Row> {
    let second = judged.get(half..).unwrap_or_default();
    let figures = [
        ("one_less_auc.all", one_less_auc(judged)),
        ("one_less_auc.second_half", one_less_auc(second)),
        ("spam_missed.all", missed_at(judged, HAM_ERROR)),
        ("spam_missed.second_half", missed_at(second, HAM_ERROR)),
        ("kept_out.ham", flagged(judged, false)),
        ("kept_out.spam", flagged(judged, true)),
    ];
    let row = |(what, value)| Row::plain(format!("{place}.{what}"), value * 100.0, PERCENT);
    figures.map(row).to_vec()
}

/// A figure that may be that much at most.
pub(super) fn within(row: Row, budget: f64) -> Row {
    Row { budget: Some(budget), within: Some(row.value <= budget), ..row }
}

fn with_theirs(row: Row, theirs: &str) -> Row {
    Row { against: Some(theirs.to_owned()), ..row }
}

/// Ratios to the rows that others are compared with; none to what is nothing.
fn fill_ratios(rows: &mut [Row]) {
    let values: Vec<(String, f64)> = rows.iter().map(|row| (row.id.clone(), row.value)).collect();
    for row in rows {
        let theirs = values.iter().find(|(id, _)| row.against.as_ref() == Some(id));
        row.ratio = theirs.filter(|(_, value)| *value > 0.0).map(|(_, value)| row.value / value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(spam: bool, score: f64) -> Judged {
        Judged { spam, score, flagged: score > 5.0 }
    }

    #[test]
    fn halves_are_told_apart_and_shares_are_percentages() {
        let all = [judged(false, 9.0), judged(true, 1.0), judged(false, 0.0), judged(true, 8.0)];
        let rows = told("here", &all, 2);
        let value =
            |what: &str| rows.iter().find(|row| row.id == format!("here.{what}")).unwrap().value;
        assert_eq!(value("one_less_auc.all"), 50.0);
        assert_eq!(value("one_less_auc.second_half"), 0.0);
        assert_eq!((value("kept_out.ham"), value("kept_out.spam")), (50.0, 50.0));
        assert_eq!((value("spam_missed.all"), value("spam_missed.second_half")), (100.0, 0.0));
    }

    #[test]
    fn budgets_are_kept_by_what_is_not_more() {
        for (value, budget, kept) in [(0.0, 0.0, true), (0.05, 0.05, true), (0.1, 0.05, false)] {
            assert_eq!(within(Row::plain("a", value, PERCENT), budget).within, Some(kept));
        }
        assert_eq!(within(Row::plain("a", f64::NAN, PERCENT), 1.0).within, Some(false));
    }

    #[test]
    fn ratios_are_to_the_row_that_is_named() {
        let of =
            |id: &str, value, theirs: &str| with_theirs(Row::plain(id, value, PERCENT), theirs);
        let mut rows = vec![
            Row::plain("a", 2.0, PERCENT),
            Row::plain("none", 0.0, PERCENT),
            of("b", 3.0, "a"),
            of("c", 3.0, "none"),
        ];
        fill_ratios(&mut rows);
        let ratios: Vec<Option<f64>> = rows.iter().map(|row| row.ratio).collect();
        assert_eq!(ratios, [None, None, Some(1.5), None]);
    }
}
