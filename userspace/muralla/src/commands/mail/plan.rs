//! `muralla mail plan`: what so many mailboxes take.

use std::process::ExitCode;

use muralla_mail::tools::capacity::{self, Figure, Plan, Purchase, Rate, Wish};
use serde::Serialize;

use super::tell;
use crate::cli::mail::PlanArgs;
use crate::commands::{Call, code};
use crate::top::table;

/// Plans, and tells it. Needs no configuration.
pub(super) fn plan(call: &Call, args: PlanArgs) -> anyhow::Result<ExitCode> {
    if args.figures {
        tell(call, &capacity::FIGURES, |figures| figures_text(figures))?;
        return Ok(ExitCode::SUCCESS);
    }
    #[derive(Serialize)]
    struct Whole {
        #[serde(flatten)]
        plan: Plan,
        figures: &'static [Figure],
    }
    let plan = capacity::plan(&Wish::from(args))?;
    let good = plan.remarks.is_empty();
    let whole = Whole { plan, figures: &capacity::FIGURES };
    tell(call, &whole, |whole| plan_text(&whole.plan))?;
    Ok(code(good))
}

fn figures_text(figures: &[Figure]) -> String {
    let rows: Vec<[String; 3]> = figures
        .iter()
        .map(|figure| [figure.what.to_owned(), plain(figure.value), figure.source.to_owned()])
        .collect();
    table(["figure", "", "from"], &rows)
}

fn plan_text(plan: &Plan) -> String {
    let Plan { wish, load, likely, full, survives, remarks } = plan;
    let mut text = format!(
        "{} mailboxes of {}, {}\nmay fail without a loss: {survives}\n\n",
        grouped(wish.users as f64),
        bytes(wish.quota as f64),
        wish.layout
    );
    let of =
        |what: &str, value: fn(&Purchase) -> String| [what.to_owned(), value(likely), value(full)];
    let rows = [
        of("mail, as users see it", |it| bytes(it.mail_bytes)),
        of("in packs", |it| bytes(it.pack_bytes)),
        of("on hard disks, redundancy and room included", |it| bytes(it.disk_bytes)),
        of("on solid-state disks", |it| bytes(it.ssd_bytes)),
        of("boxes", |it| grouped(it.boxes as f64)),
        of("hard disks", |it| grouped(it.disks as f64)),
        of("hardware, USD", |it| grouped(it.hardware_usd)),
        of("power, USD", |it| grouped(it.power_usd)),
        of("USD a GB of mail", |it| format!("{:.2}", it.usd_per_gb)),
    ];
    let percent = |fill: f64| format!("{} % full", plain((fill * 1000.0).round() / 10.0));
    let titles = [percent(likely.fill), percent(full.fill)];
    text.push_str(&table(["", titles[0].as_str(), titles[1].as_str()], &rows));
    text.push('\n');
    let at = |what: &str, rate: Rate| [what.to_owned(), plain(rate.average), plain(rate.peak)];
    let rows = [
        at("messages that come", load.messages),
        at("messages that are sent", load.sent),
        at("POP3 sessions", load.sessions),
        at("writes of packs, on all disks", load.pack_writes),
        at("reads of packs", load.pack_reads),
        at("writes of the database", load.index_writes),
        at("reads of the database", load.index_reads),
        at("Mbit from and to outside", load.outside),
        at("Mbit between boxes", load.inside),
        at("cores that are busy", load.cores),
    ];
    text.push_str(&table(["a second", "average", "peak"], &rows));
    for remark in remarks {
        text.push_str(&format!("! {remark}\n"));
    }
    text
}

/// In about three digits, and as few as tell it.
fn plain(value: f64) -> String {
    let text = match value {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => return grouped(value),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whole, with commas between thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as disks are sold.
fn bytes(value: f64) -> String {
    let units = [("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    let unit = units.into_iter().find(|(_, size)| value >= *size);
    unit.map_or_else(
        || format!("{value:.0} B"),
        |(unit, size)| format!("{} {unit}", plain(value / size)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page of the documentation, with what the command prints in it.
    const PAGE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/capacity.md"));

    fn as_code(text: &str) -> String {
        let line = |line: &str| match line {
            "" => "\n".to_owned(),
            line => format!("    {line}\n"),
        };
        text.lines().map(line).collect()
    }

    #[test]
    fn the_documentation_shows_what_the_command_prints() {
        let with = |layout: &str| {
            let layout = layout.parse().unwrap();
            plan_text(&capacity::plan(&Wish { layout, ..Wish::default() }).unwrap())
        };
        for text in [with("garage-3"), with("erasure-10+4"), figures_text(&capacity::FIGURES)] {
            let block = as_code(&text);
            assert!(
                PAGE.contains(&block),
                "docs/capacity.md does not have this any more:\n{block}"
            );
        }
    }

    #[test]
    fn the_command_line_has_the_defaults_of_the_plan() {
        use clap::Parser;

        #[derive(Debug, Parser)]
        struct Line {
            #[command(flatten)]
            args: PlanArgs,
        }
        let line = Line::parse_from(["plan"]);
        assert_eq!(Wish::from(line.args), Wish::default());
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.31, "0.31"),
            (2.5, "2.5"),
            (3.0, "3"),
            (57.87, "57.9"),
            (640.0, "640"),
            (1_408.0, "1,408"),
            (500_000.0, "500,000"),
        ] {
            assert_eq!(plain(value), text);
        }
        assert_eq!(bytes(300e6), "300 MB");
        assert_eq!(bytes(49.5e12), "49.5 TB");
        assert_eq!(bytes(12.0), "12 B");
    }
}
