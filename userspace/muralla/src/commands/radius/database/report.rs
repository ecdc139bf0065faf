//! What was: sessions of the past, files and sums for billing, and how long it is kept. `muralla radius history`, `export`,
//! `sums` and `prune`.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use muralla_radius_dictionary::Zone;
use muralla_radius_state::{Format, Report, SessionEntry, SessionFilter, SumBy, UsageFilter};
use serde_json::json;

use super::{Work, advance, bar};
use crate::cli::radius::{DateRange, When};
use crate::commands::code;
use crate::commands::radius::tell;
use crate::configuration::{duration, moment};
use crate::top::table;

/// Which sessions of the past are looked for.
pub(super) struct Past {
    pub(super) user: Option<String>,
    pub(super) nas: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) from: Option<When>,
    pub(super) to: Option<When>,
}

impl Work<'_> {
    pub(super) async fn history(&self, past: Past, most: u32) -> anyhow::Result<ExitCode> {
        let at = |when: Option<When>| when.map(|when| when.seconds(&self.config.zone));
        let filter = SessionFilter {
            user: past.user,
            nas: past.nas,
            address: past.address,
            from: at(past.from),
            to: at(past.to),
            open: false,
        };
        let sessions = self.state.sessions(&filter, most).await?;
        tell(self.call, &sessions, |sessions| history_text(sessions))?;
        if sessions.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            eprintln!("there may be more before these: --most shows so many");
        }
        Ok(code(!sessions.is_empty()))
    }

    pub(super) async fn export(
        &self,
        range: DateRange,
        what: &str,
        format: &str,
        output: &Path,
    ) -> anyhow::Result<ExitCode> {
        let zone = &self.config.zone;
        let (from, to) = (range.from.seconds(zone), range.to.seconds(zone));
        let report = match what {
            "records" => Report::Records { from, to },
            "sums" => Report::Usage(self.days(range, SumBy::User, true)),
            _ => Report::Sessions { from, to },
        };
        let format = match format {
            "json" => Format::Json,
            "parquet" => Format::Parquet,
            _ => Format::Csv,
        };
        let bar = bar();
        let progress = |progress| advance(&bar, progress);
        let written = if output == Path::new("-") {
            self.state.report(&report, format, io::stdout(), progress).await
        } else {
            // A file that is there is either the old one or the new one, whole.
            let new = output.with_added_extension("new");
            let file = File::create(&new).with_context(|| format!("writing {}", new.display()))?;
            let written = self.state.report(&report, format, BufWriter::new(file), progress).await;
            match written {
                Ok(rows) => {
                    File::open(&new)?.sync_all()?;
                    fs::rename(&new, output)
                        .with_context(|| format!("writing {}", output.display()))?;
                    Ok(rows)
                }
                Err(error) => {
                    let _ = fs::remove_file(&new);
                    Err(error)
                }
            }
        };
        bar.finish_and_clear();
        eprintln!("{} rows", written?);
        Ok(ExitCode::SUCCESS)
    }

    pub(super) async fn sums(&self, range: DateRange, by: &str) -> anyhow::Result<ExitCode> {
        let by = match by {
            "nas" => SumBy::Nas,
            "telco" => SumBy::Telco,
            _ => SumBy::User,
        };
        let sums = self.state.usage(&self.days(range, by, false)).await?;
        tell(self.call, &sums, |sums| {
            if sums.is_empty() {
                return "nothing in that time\n".to_owned();
            }
            let rows: Vec<[String; 5]> = sums
                .iter()
                .map(|sum| {
                    let time = u64::try_from(sum.session_time).unwrap_or(0);
                    [
                        sum.name.clone(),
                        sum.sessions.to_string(),
                        duration::write(Duration::from_secs(time)),
                        sum.octets_in.to_string(),
                        sum.octets_out.to_string(),
                    ]
                })
                .collect();
            table(["", "sessions", "time", "octets in", "octets out"], &rows)
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn days(&self, range: DateRange, by: SumBy, daily: bool) -> UsageFilter {
        let (from, to, whole) = days(range, &self.config.zone);
        if !whole {
            eprintln!(
                "sums are of whole days, which begin as time_zone says: the days of both moments are in them"
            );
        }
        UsageFilter { by, daily, from, to, name: None }
    }

    pub(super) async fn prune(
        &self,
        before: When,
        dry_run: bool,
        force: bool,
    ) -> anyhow::Result<ExitCode> {
        let before = before.seconds(&self.config.zone);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let newest = newest_to_prune(now, self.config.journal.keep);
        if before > newest && !force {
            bail!(
                "that is after {}: what is younger may come out of the journal once more ([radius.journal] keep), and would be \
                 counted as new then, and it is what bills are made of; choose an earlier day, or --force it",
                u64::try_from(newest).map(moment).unwrap_or_default()
            );
        }
        if dry_run {
            let old = self.state.prunable(before).await?;
            tell(self.call, &json!({"dry_run": true, "would_delete": old}), |_| {
                format!("{old} records and sessions would be deleted; nothing was\n")
            })?;
            return Ok(ExitCode::SUCCESS);
        }
        let bar = bar();
        let pruned = self.state.prune(before, |progress| advance(&bar, progress)).await;
        bar.finish_and_clear();
        let pruned = pruned?;
        tell(self.call, &json!({"deleted": pruned}), |_| {
            format!("{pruned} records and sessions deleted\n")
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Up to when everything may be deleted, in seconds since 1970: what is younger than the journal keeps may be written again.
fn newest_to_prune(now: Duration, keep: Duration) -> i64 {
    i64::try_from(now.saturating_sub(keep).as_secs()).unwrap_or(i64::MAX)
}

/// The first and the last day of a time, where days begin as the configuration says; and whether it is of whole days.
fn days(range: DateRange, zone: &Zone) -> (i32, i32, bool) {
    const DAY: i64 = 86_400;
    let local = |when: When| {
        let at = when.seconds(zone);
        at.saturating_add(zone.ahead(at).into())
    };
    let (from, to) = (local(range.from), local(range.to));
    let day = |seconds: i64| i32::try_from(seconds.div_euclid(DAY)).unwrap_or(i32::MAX);
    let whole = from.rem_euclid(DAY) == 0 && to.rem_euclid(DAY) == 0;
    (day(from), day(to.saturating_sub(1)), whole)
}

fn history_text(sessions: &[SessionEntry]) -> String {
    if sessions.is_empty() {
        return "none is known\n".to_owned();
    }
    let time = |at: i64| u64::try_from(at).map(moment).unwrap_or_default();
    let rows: Vec<[String; 9]> = sessions
        .iter()
        .map(|session| {
            let addresses =
                [&session.address, &session.address6, &session.prefix6, &session.delegated6];
            let addresses: Vec<&str> =
                addresses.into_iter().filter(|text| !text.is_empty()).map(String::as_str).collect();
            [
                session.user.clone(),
                session.nas.clone(),
                addresses.join(" "),
                session.calling.clone(),
                time(session.started),
                session.ended.map(time).unwrap_or_default(),
                session.state.name().to_owned(),
                session.octets_in.to_string(),
                session.octets_out.to_string(),
            ]
        })
        .collect();
    let titles =
        ["user", "NAS", "addresses", "from", "began", "ended", "", "octets in", "octets out"];
    table(titles, &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_journal_may_tell_again_is_not_pruned() {
        const DAY: Duration = Duration::from_secs(86_400);
        for (now, keep, newest) in [
            (20_000 * DAY, 7 * DAY, 19_993 * 86_400),
            (20_000 * DAY, Duration::ZERO, 20_000 * 86_400),
            (DAY, 7 * DAY, 0),
        ] {
            assert_eq!(newest_to_prune(now, keep), newest);
        }
    }

    /// What a bill of November is made of, wherever the provider is: the days of `sums` and the seconds of `export`.
    #[test]
    fn a_month_has_its_own_days_at_every_offset() {
        // 1 November 2026 is day 20,758.
        let (from, to) = (When::Local(20_758 * 86_400), When::Local(20_788 * 86_400));
        let range = DateRange { from, to };
        for zone in ["+00:00", "+01:00", "-05:00", "+05:30", "+14:00", "-12:00", "Europe/Madrid"] {
            let zone: Zone = zone.parse().unwrap();
            assert_eq!(days(range, &zone), (20_758, 20_787, true), "{zone}");
            let begins = from.seconds(&zone);
            assert_eq!(begins + i64::from(zone.ahead(begins)), 20_758 * 86_400);
            assert_eq!(to.seconds(&zone) - begins, 30 * 86_400);
        }
        // October has an hour more where the clocks are set back.
        let (from, madrid) = (When::Local(20_727 * 86_400), "Europe/Madrid".parse().unwrap());
        let october = DateRange { from, to: range.from };
        assert_eq!(days(october, &madrid), (20_727, 20_757, true));
        assert_eq!(october.to.seconds(&madrid) - from.seconds(&madrid), 31 * 86_400 + 3_600);
        let universal = DateRange { from: When::Universal(20_758 * 86_400), to };
        assert_eq!(days(universal, &"-05:00".parse().unwrap()), (20_757, 20_787, false));
    }
}
