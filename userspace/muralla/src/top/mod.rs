//! `muralla top`: services, reasons and the busiest sources, live or as one text.

mod measurement;
mod view;

use std::process::ExitCode;
use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};

use crate::admin::client::ClientError;
use crate::commands::{Call, out};
use crate::configuration::duration;
pub(crate) use measurement::short;
use measurement::{Measurement, Meter, Reading};
use view::Settings;

/// Shows measurements every `interval` until the user has enough, or one with `once`.
pub(crate) async fn run(call: &Call, interval: Duration, once: bool) -> anyhow::Result<ExitCode> {
    if once || call.json {
        let measurement = measure_once(call, interval).await?;
        if call.json {
            out(&format!("{}\n", serde_json::to_string(&measurement)?))?;
        } else {
            out(&text(&measurement))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    // Before the screen is taken, so that a missing daemon is a line of text.
    let first = read(call).await?;
    let mut terminal = ratatui::try_init()?;
    let result = live(call, interval, first, &mut terminal).await;
    ratatui::restore();
    result?;
    Ok(ExitCode::SUCCESS)
}

async fn live(
    call: &Call,
    interval: Duration,
    first: Reading,
    terminal: &mut ratatui::DefaultTerminal,
) -> anyhow::Result<()> {
    let mut meter = Meter::default();
    let mut settings = Settings::default();
    let mut measured = Instant::now();
    let mut shown = Some(meter.measure(first, Duration::ZERO));
    let mut keys = keyboard();
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        terminal.draw(|frame| view::draw(frame, shown.as_ref(), &settings))?;
        tokio::select! {
            _ = ticks.tick() => {
                if settings.paused {
                    continue;
                }
                match read(call).await {
                    Ok(reading) => {
                        let elapsed = measured.elapsed();
                        measured = Instant::now();
                        shown = Some(meter.measure(reading, elapsed));
                        settings.trouble = None;
                    }
                    Err(error) => settings.trouble = Some(error.to_string()),
                }
            }
            key = keys.recv() => match key {
                Some(Key::Quit) | None => return Ok(()),
                Some(Key::Pause) => settings.paused = !settings.paused,
                Some(Key::Sort) => settings.order = settings.order.next(),
                Some(Key::Redraw) => {}
            }
        }
    }
}

enum Key {
    Quit,
    Pause,
    Sort,
    Redraw,
}

/// Keys from a thread of their own, which ends soon after the receiver.
fn keyboard() -> mpsc::Receiver<Key> {
    const GLANCE: Duration = Duration::from_millis(100);
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        while !sender.is_closed() {
            match event::poll(GLANCE) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(_) => return,
            }
            let key = match event::read() {
                Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                        Key::Quit
                    }
                    KeyCode::Char('p' | ' ') => Key::Pause,
                    KeyCode::Char('s') => Key::Sort,
                    _ => continue,
                },
                Ok(Event::Resize(..)) => Key::Redraw,
                Ok(_) => continue,
                Err(_) => return,
            };
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn measure_once(call: &Call, interval: Duration) -> Result<Measurement, ClientError> {
    let mut meter = Meter::default();
    meter.measure(read(call).await?, Duration::ZERO);
    let begun = Instant::now();
    sleep(interval).await;
    let reading = read(call).await?;
    Ok(meter.measure(reading, begun.elapsed()))
}

async fn read(call: &Call) -> Result<Reading, ClientError> {
    let overview = call.overview().await?;
    // Without a wall there is nothing more to ask for.
    if overview.edge.is_none() {
        return Ok(Reading { overview, counters: Vec::new(), top: Default::default() });
    }
    Ok(Reading {
        overview,
        counters: call.client.get("/v1/counters").await?,
        top: call.client.get("/v1/top").await?,
    })
}

/// A measurement as plain text.
fn text(measurement: &Measurement) -> String {
    let overview = &measurement.overview;
    let mut text = format!(
        "muralla {}, up {}\n",
        overview.version,
        duration::write(Duration::from_secs(overview.uptime_seconds))
    );
    for warning in &overview.warnings {
        text.push_str(&format!("! {warning}\n"));
    }
    for line in view::role_lines(measurement) {
        text.push_str(&format!("{line}\n"));
    }
    if overview.edge.is_none() {
        return text;
    }
    let services: Vec<[String; 7]> = measurement
        .services
        .iter()
        .map(|service| {
            [
                service.name.clone(),
                short(service.pass),
                short(service.drop),
                short(service.slip),
                short(service.observe),
                short(service.answer),
                service.top_reason.clone().unwrap_or_default(),
            ]
        })
        .collect();
    text.push('\n');
    text.push_str(&table(
        ["SERVICE", "PASS/s", "DROP/s", "SLIP/s", "OBSERVE/s", "ANSWER/s", "TOP REASON"],
        &services,
    ));
    let reasons: Vec<[String; 3]> = measurement
        .reasons
        .iter()
        .map(|reason| [reason.name.clone(), short(reason.rate), reason.total.to_string()])
        .collect();
    text.push('\n');
    text.push_str(&table(["REASON", "RATE/s", "TOTAL"], &reasons));
    for (title, talkers) in [
        ("BUSIEST SOURCES", &measurement.top.sources),
        ("BUSIEST NETWORKS", &measurement.top.prefixes),
    ] {
        let rows: Vec<[String; 4]> = talkers
            .iter()
            .map(|talker| {
                [
                    view::address(talker),
                    short(talker.packets_per_second),
                    format!("{:.0}%", talker.dropped_share * 100.0),
                    talker.last_reason.clone(),
                ]
            })
            .collect();
        text.push('\n');
        text.push_str(&table([title, "RATE/s", "DROPPED", "LAST REASON"], &rows));
    }
    text
}

/// Columns as wide as their widest cell, two spaces apart.
pub(crate) fn table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = titles.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let cells: Vec<String> =
            cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let mut text = line(titles);
    for row in rows {
        text.push_str(&line(row.each_ref().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    #[test]
    fn the_text_has_everything_in_columns() {
        let mut meter = Meter::default();
        let reading = |counters| Reading { overview: fake::overview(), counters, top: fake::top() };
        meter.measure(reading(Vec::new()), Duration::ZERO);
        let text = text(&meter.measure(reading(fake::counters()), Duration::from_secs(1)));
        for line in [
            "! eth0: GENERIC MODE, as configured: floods cost many times more than in native mode",
            "SERVICE        PASS/s  DROP/s  SLIP/s  OBSERVE/s  ANSWER/s  TOP REASON",
            "dns            1.00k   30      70      0          600       source_limit",
            "REASON        RATE/s  TOTAL",
            "source_limit  70      70",
            "BUSIEST SOURCES  RATE/s  DROPPED  LAST REASON",
            "198.51.100.7     12.0k   100%     source_limit",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
    }
}
