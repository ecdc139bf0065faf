//! The scene on a terminal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use muralla_lab::peers::MAILBOX;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table};

use super::appliance::MAIL_PASSWORD;
use super::attack::Attack;
use super::scene::{NO_ANSWER, Scene, View, milliseconds, percent, short};
use super::traffic::{Experience, Service};

/// Shows the scene until `done`, a key, or a signal ends it. The terminal is given back whatever
/// happens, a panic included.
pub(crate) fn show(
    scene: &mut Scene<'_>,
    stopped: &AtomicBool,
    mut each_second: impl FnMut(&mut Scene<'_>) -> Result<bool>,
) -> Result<()> {
    let mut terminal = ratatui::try_init()?;
    let shown = (|| {
        let mut next = Instant::now() + Duration::from_secs(1);
        loop {
            terminal.draw(|frame| draw(frame, &scene.view, scene.started.elapsed()))?;
            while let left = next.saturating_duration_since(Instant::now())
                && !left.is_zero()
            {
                if stopped.load(Ordering::Relaxed) {
                    return Ok(());
                }
                if !event::poll(left.min(Duration::from_millis(100)))? {
                    continue;
                }
                match event::read()? {
                    Event::Key(key) if key.kind == KeyEventKind::Press => {
                        let control = key.modifiers.contains(KeyModifiers::CONTROL);
                        match key.code {
                            KeyCode::Char('c') if control => return Ok(()),
                            KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                            KeyCode::Char('d') => scene.toggle(Attack::Dns)?,
                            KeyCode::Char('r') => scene.toggle(Attack::Radius)?,
                            KeyCode::Char('s') => scene.toggle(Attack::Smtp)?,
                            KeyCode::Char('a') => scene.toggle(Attack::All)?,
                            _ => continue,
                        }
                    }
                    Event::Resize(..) => {}
                    _ => continue,
                }
                terminal.draw(|frame| draw(frame, &scene.view, scene.started.elapsed()))?;
            }
            scene.measure()?;
            next = super::second_after(next);
            if !each_second(scene)? {
                return Ok(());
            }
        }
    })();
    ratatui::restore();
    shown
}

fn draw(frame: &mut Frame<'_>, view: &View, up: Duration) {
    let [head, users, flood, wall, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(7),
        Constraint::Length(4),
        Constraint::Min(5),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    head_line(frame, head, view, up);
    users_table(frame, users, view);
    flood_curve(frame, flood, view);
    wall_table(frame, wall, view);
    keys_line(frame, keys, view);
}

fn head_line(frame: &mut Frame<'_>, area: Rect, view: &View, up: Duration) {
    let wall = if view.mode == "NO WALL" {
        Span::from(" NO WALL ").white().on_red().bold()
    } else {
        let color = match &view.mode {
            mode if mode.contains("UNPROTECTED") || mode == NO_ANSWER => Color::Red,
            mode if mode.contains("generic") => Color::Yellow,
            _ => Color::Green,
        };
        Span::from(format!("wall: {}", view.mode)).fg(color)
    };
    let time = format!("{}:{:02}", up.as_secs() / 60, up.as_secs() % 60);
    let user = Span::from(format!("  mail: {MAILBOX} {MAIL_PASSWORD}")).dim();
    let line = Line::from(vec![" Muralla ".bold().reversed(), "  ".into(), wall, user]);
    frame.render_widget(line, area);
    frame.render_widget(Line::from(format!("{time} ")).right_aligned(), area);
}

fn users_table(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let header = Row::new(
        ["", "rate/s", "ok", "p50 ms", "p99 ms", "in all", "failed", "p50 ms", "p99 ms"]
            .map(|title| Line::from(title).right_aligned()),
    )
    .style(Style::new().add_modifier(Modifier::DIM));
    let rows =
        Service::ALL.iter().zip(view.now.iter().zip(&view.total)).map(|(service, (now, total))| {
            let number = |text: String| Cell::from(Line::from(text).right_aligned());
            let share = |experience: &Experience| {
                number(percent(experience.success())).style(health(experience.success()))
            };
            Row::new([
                Cell::from(service.name().to_uppercase()).bold(),
                number(service.rate().to_string()),
                share(now).bold(),
                number(milliseconds(now.quantile(0.5))),
                number(milliseconds(now.quantile(0.99))),
                share(total),
                number(total.failed.to_string()),
                number(milliseconds(total.quantile(0.5))),
                number(milliseconds(total.quantile(0.99))),
            ])
        });
    let widths = [7, 6, 9, 7, 7, 9, 7, 7, 7].map(Constraint::Length);
    let failure = view
        .now
        .iter()
        .filter(|now| now.failed > 0)
        .find_map(|now| now.last_failure.as_deref())
        .map_or(Line::default(), |failure| Line::from(format!(" {failure} ")).red());
    let block = Block::new()
        .borders(Borders::TOP)
        .title(" Legitimate users: the last second, and since the start ".bold())
        .title_bottom(failure);
    frame.render_widget(Table::new(rows, widths).header(header).block(block), area);
}

fn health(success: Option<f64>) -> Style {
    match success {
        None => Style::new(),
        Some(share) if share >= 0.999 => Style::new().green(),
        Some(share) if share >= 0.95 => Style::new().yellow(),
        Some(_) => Style::new().red(),
    }
}

fn flood_curve(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let title = match view.attack {
        None => " No flood ".bold(),
        Some(attack) => {
            format!(" Flood: {}, {} packets/s offered ", attack.name(), short(view.offered))
                .red()
                .bold()
        }
    };
    let peak = view.offered_history.iter().max().copied().unwrap_or_default();
    let block = Block::new().borders(Borders::TOP).title(title).title(
        Line::from(format!(
            " peak {}, {} in all ",
            short(peak as f64),
            short(view.offered_total as f64)
        ))
        .right_aligned(),
    );
    let width = usize::from(area.width);
    let from = view.offered_history.len().saturating_sub(width);
    let shown = view.offered_history.get(from..).unwrap_or_default();
    frame.render_widget(
        Sparkline::default().data(shown).style(Style::new().red()).block(block),
        area,
    );
}

fn wall_table(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let ns = view.ns_per_packet.map_or(String::new(), |ns| format!(", {ns:.0} ns a packet"));
    let title = format!(
        " The wall: refused {}/s, slipped {}/s, passed {}/s{ns} ",
        short(view.dropped() - view.slipped),
        short(view.slipped),
        short(view.passed)
    );
    let block = Block::new()
        .borders(Borders::TOP)
        .title(title.bold())
        .title_bottom(Line::from(format!(" DNS answered from: {} ", view.dns())).bold());
    if view.mode == "NO WALL" {
        let text = "There is none: every packet goes to the servers.";
        frame.render_widget(Paragraph::new(text).block(block), area);
        return;
    }
    let most = view.refused.first().map_or(0.0, |refused| refused.rate);
    let header = Row::new([
        Line::from("service"),
        Line::from("reason"),
        Line::from("verdict"),
        Line::from("packets/s").right_aligned(),
        Line::from("in all").right_aligned(),
    ])
    .style(Style::new().add_modifier(Modifier::DIM));
    let rows = view.refused.iter().map(|refused| {
        let (service, verdict, reason) = &refused.key;
        let share = if most > 0.0 { refused.rate / most } else { 0.0 };
        let number = |value: f64| Cell::from(Line::from(short(value)).right_aligned());
        Row::new([
            Cell::from(service.as_str()),
            Cell::from(reason.as_str()),
            Cell::from(verdict.as_str()),
            number(refused.rate),
            number(refused.total as f64),
            Cell::from("▇".repeat((share * 20.0).round() as usize)).cyan(),
        ])
        .style(if refused.rate > 0.0 {
            Style::new()
        } else {
            Style::new().add_modifier(Modifier::DIM)
        })
    });
    let widths = [
        Constraint::Length(13),
        Constraint::Length(18),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Length(8),
        Constraint::Min(20),
    ];
    frame.render_widget(Table::new(rows, widths).header(header).block(block), area);
}

fn keys_line(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let keys = [
        ("d", "DNS", Attack::Dns),
        ("r", "RADIUS", Attack::Radius),
        ("s", "SMTP", Attack::Smtp),
        ("a", "all", Attack::All),
    ];
    let mut spans = vec![Span::from(" Flood: ")];
    for (key, name, attack) in keys {
        let style =
            if view.attack == Some(attack) { Style::new().red().bold() } else { Style::new() };
        spans.push(key.bold().reversed());
        spans.push(Span::from(format!(" {name}  ")).style(style));
    }
    spans.push(" again to stop".dim());
    frame.render_widget(Line::from(spans), area);
    frame.render_widget(
        Line::from(vec!["q".bold().reversed(), " quit ".into()]).right_aligned(),
        area,
    );
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::run::scene::Refused;

    #[test]
    fn everything_fits_into_an_old_terminal() {
        let reasons = ["dns_outsider", "source_limit", "spoofed_customer", "radius_attributes"];
        let view = View {
            mode: "inet0 native, cust0 native".to_owned(),
            attack: Some(Attack::All),
            offered: 512_345.0,
            offered_history: (0..120).collect(),
            refused: reasons
                .iter()
                .map(|reason| Refused {
                    key: ("outgoing_smtp".to_owned(), "drop".to_owned(), (*reason).to_owned()),
                    rate: 123_456.0,
                    total: 99_999_999,
                })
                .collect(),
            ..View::default()
        };
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, &view, Duration::from_secs(61))).unwrap();
        let screen = terminal.backend().to_string();
        for text in ["1:01", "someone@lab.test letmein", "100 M", "123 k", "SMTP", "again to stop"]
        {
            assert!(screen.contains(text), "{text} in\n{screen}");
        }
        for reason in reasons {
            assert!(screen.contains(reason), "{reason} in\n{screen}");
        }
    }
}
