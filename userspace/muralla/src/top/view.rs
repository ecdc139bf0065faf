//! The live view, drawn from a measurement.

use std::time::Duration;

use muralla_dns::report::Level;
use muralla_edge::talkers::Talker;
use muralla_radius::report::Answer;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell, Paragraph, Row, Sparkline, Table};

use super::measurement::{Measurement, ReasonRate, ServiceRates, short};
use crate::configuration::duration;
use muralla_edge::wall::Mode;

/// Warnings that are shown; the rest is counted.
const MOST_WARNINGS: usize = 3;

/// What makes a line of a role red.
const ALARMS: [&str; 6] =
    ["IS GONE", "NOT ANSWERING", "DATABASE AWAY", " AWAY", " HANGS", "NOT REACHED"];

const HEADING: Style = Style::new().add_modifier(Modifier::BOLD).fg(Color::Cyan);
const ALARM: Style = Style::new().add_modifier(Modifier::BOLD).fg(Color::Red);
const FAINT: Style = Style::new().fg(Color::DarkGray);

/// What the services are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Dropped,
    Passed,
    Name,
}

impl Order {
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Dropped => Self::Passed,
            Self::Passed => Self::Name,
            Self::Name => Self::Dropped,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Passed => "passed",
            Self::Name => "name",
        }
    }
}

/// How the view was set by keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) order: Order,
    pub(crate) paused: bool,
    /// Why the latest measurement failed.
    pub(crate) trouble: Option<String>,
}

/// Draws everything, at any size.
pub(crate) fn draw(frame: &mut Frame<'_>, measurement: Option<&Measurement>, settings: &Settings) {
    let mut alarms: Vec<String> = settings.trouble.clone().into_iter().collect();
    alarms.extend(measurement.iter().flat_map(|measurement| measurement.overview.warnings.clone()));
    let rows = u16::try_from(alarms.len().min(MOST_WARNINGS)).unwrap_or(0);
    let names = measurement.map(role_lines).unwrap_or_default();
    let walled =
        measurement.is_none_or(|shown| shown.overview.edge.is_some() || shown.overview.detached);
    let [title, warnings, roles, services, reasons, talkers, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(rows),
        Constraint::Length(u16::try_from(names.len()).unwrap_or(0)),
        Constraint::Fill(4),
        Constraint::Fill(3),
        Constraint::Fill(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_warnings(frame, warnings, &alarms);
    draw_keys(frame, keys, settings);
    let Some(measurement) = measurement else {
        frame.render_widget(Line::styled("muralla: asking the daemon ...", HEADING), title);
        return;
    };
    frame.render_widget(heading(measurement), title);
    draw_roles(frame, roles, &names);
    if !walled {
        return;
    }
    draw_services(frame, services, measurement, settings.order);
    draw_reasons(frame, reasons, &measurement.reasons);
    let [sources, networks] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2).areas(talkers);
    draw_talkers(frame, sources, "BUSIEST SOURCES", &measurement.top.sources);
    draw_talkers(frame, networks, "BUSIEST NETWORKS", &measurement.top.prefixes);
}

fn heading(measurement: &Measurement) -> Line<'static> {
    let overview = &measurement.overview;
    let up = duration::write(Duration::from_secs(overview.uptime_seconds));
    let mut spans = vec![
        Span::styled(format!("muralla {}", overview.version), HEADING),
        Span::raw(format!("  up {up}")),
    ];
    let Some(edge) = &overview.edge else {
        if overview.detached {
            spans.push(Span::styled("  DETACHED", ALARM));
        }
        return Line::from(spans);
    };
    for interface in &edge.interfaces {
        let (mode, style) = match (interface.attached, interface.mode) {
            (true, Some(Mode::Native)) => ("native", Style::new().fg(Color::Green)),
            (true, Some(Mode::Generic)) => ("GENERIC", ALARM),
            (true, None) => ("attached", Style::new()),
            (false, _) => ("OFF", ALARM),
        };
        spans.push(Span::raw(format!("  {} ", interface.name)));
        spans.push(Span::styled(mode, style));
    }
    if let Some(nanoseconds) = edge.ns_per_packet {
        spans.push(Span::raw(format!("  {nanoseconds:.0} ns/packet")));
    }
    spans.push(Span::raw(format!("  {} blocks  {} bans", edge.blocks, edge.bans)));
    Line::from(spans)
}

fn draw_warnings(frame: &mut Frame<'_>, area: Rect, alarms: &[String]) {
    let hidden = alarms.len().saturating_sub(MOST_WARNINGS);
    let lines: Vec<Line<'_>> = alarms
        .iter()
        .take(MOST_WARNINGS)
        .enumerate()
        .map(|(index, alarm)| {
            let more = if hidden > 0 && index + 1 == MOST_WARNINGS {
                format!(" (and {hidden} more: muralla status)")
            } else {
                String::new()
            };
            Line::styled(format!("! {alarm}{more}"), ALARM)
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_keys(frame: &mut Frame<'_>, area: Rect, settings: &Settings) {
    let pause = if settings.paused { "p goes on (PAUSED)" } else { "p pauses" };
    let order = settings.order.name();
    let keys = format!("q quits   {pause}   s sorts (by {order})   packets/s");
    frame.render_widget(Line::styled(keys, FAINT), area);
}

/// What there is to say of DNS, RADIUS and mail, in a few lines.
pub(crate) fn role_lines(measurement: &Measurement) -> Vec<String> {
    let mut lines = dns_lines(measurement);
    lines.extend(radius_lines(measurement));
    lines.extend(mail_lines(measurement));
    if measurement.overview.silent {
        lines.push("         NOT ANSWERING its own canary".to_owned());
    }
    lines
}

fn radius_lines(measurement: &Measurement) -> Vec<String> {
    let Some((rates, status)) =
        measurement.radius.as_ref().zip(measurement.overview.radius.as_ref())
    else {
        return Vec::new();
    };
    let of = |wanted: Answer| {
        let rate = rates.answers.iter().find(|(answer, _)| *answer == wanted);
        short(rate.map_or(0.0, |(_, rate)| *rate))
    };
    let most = rates.top_reason.as_ref().map(|reason| format!(", most {reason}"));
    let p99 = rates.p99.map_or_else(|| "-".to_owned(), |p99| format!("{:.2} ms", p99 * 1e3));
    let behind: u64 = status.journal.lag.iter().map(|(_, lag)| *lag).max().unwrap_or(0);
    let database = match &status.database {
        Some(database) if database.away_since.is_none() => "database there",
        _ => "DATABASE AWAY",
    };
    vec![
        format!(
            "RADIUS   accepted {}/s, refused {}/s, accounted {}/s, asked again {}/s, dropped {}/s{}",
            of(Answer::Accept),
            of(Answer::Reject),
            of(Answer::Accounting),
            of(Answer::Repeat),
            short(rates.dropped),
            most.unwrap_or_default(),
        ),
        format!(
            "         p99 {p99}, {} sessions; journal {} before the database, {database}",
            short(status.sessions as f64),
            short(behind as f64),
        ),
    ]
}

fn mail_lines(measurement: &Measurement) -> Vec<String> {
    let Some((rates, status)) = measurement.mail.as_ref().zip(measurement.overview.mail.as_ref())
    else {
        return Vec::new();
    };
    let most = rates.top_reason.as_ref().map(|reason| format!(", most {reason}"));
    let queue = match &status.queue {
        Some(queue) if queue.messages == 0 => "queue empty".to_owned(),
        Some(queue) => format!(
            "queue {}, oldest {}, held {}",
            many(queue.messages),
            duration::write(Duration::from_secs(queue.oldest / 60 * 60)),
            many(queue.held),
        ),
        None => "queue unknown".to_owned(),
    };
    let p99 = rates.p99.map_or_else(|| "-".to_owned(), |p99| format!("{:.0} ms", p99 * 1e3));
    let mut lines = vec![
        format!(
            "MAIL     in {}/s, refused {}/s{}; out {}/s, put off {}/s, failed {}/s",
            short(rates.taken),
            short(rates.refused),
            most.unwrap_or_default(),
            short(rates.delivered),
            short(rates.deferred),
            short(rates.failed),
        ),
        format!(
            "         pop3 {}/s, fetched {}/s, logins refused {}/s; p99 {p99}; spool {}; {queue}",
            short(rates.sessions),
            short(rates.fetched),
            short(rates.refused_logins),
            many(status.spool.messages),
        ),
    ];
    for shard in &status.shards {
        if shard.away {
            lines.push(format!("         STORE {} AWAY", shard.name));
        } else if shard.circuit_open {
            lines.push(format!("         STORE {} HANGS", shard.name));
        }
    }
    let unreached =
        status.deliveries.iter().filter(|one| !one.up && one.to.starts_with("backend/"));
    lines.extend(unreached.map(|one| format!("         {} NOT REACHED", one.to)));
    lines
}

/// A number of things that are there, and none a second.
fn many(count: u64) -> String {
    if count < 1_000 { count.to_string() } else { short(count as f64) }
}

fn dns_lines(measurement: &Measurement) -> Vec<String> {
    let overview = &measurement.overview;
    let card: f64 = measurement.services.iter().map(|service| service.answer).sum();
    let Some((rates, status)) = measurement.dns.as_ref().zip(overview.dns.as_ref()) else {
        let left = overview.answers.as_ref().filter(|answers| answers.answering && !answers.fed);
        return left.map_or_else(Vec::new, |_| {
            vec![format!(
                "DNS      {}/s by the network card, from what is left in it: THE DAEMON BEHIND IT IS GONE",
                short(card)
            )]
        });
    };
    let level = |wanted: Level| {
        let rate = rates.levels.iter().find(|(level, _)| *level == wanted);
        short(rate.map_or(0.0, |(_, rate)| *rate))
    };
    let p99 = rates.p99.map_or_else(|| "-".to_owned(), |p99| format!("{:.2} ms", p99 * 1e3));
    let hits =
        rates.hit_rate.map_or_else(|| "-".to_owned(), |hits| format!("{:.1} %", hits * 100.0));
    let share = if status.cache.limit == 0 {
        0.0
    } else {
        status.cache.bytes as f64 * 100.0 / status.cache.limit as f64
    };
    vec![
        format!(
            "DNS      {}/s: card {}, cache {}, stale {}, local {}, servers {}, none {}",
            short(rates.total),
            level(Level::Nic),
            level(Level::Wire),
            level(Level::Stale),
            level(Level::Local),
            level(Level::Engine),
            level(Level::None),
        ),
        format!(
            "         p99 {p99}, hits {hits}, failed {}/s; asked {}/s, timeouts {}/s; cache {share:.0} % full",
            short(rates.failed),
            short(rates.upstream),
            short(rates.timeouts),
        ),
    ]
}

fn draw_roles(frame: &mut Frame<'_>, area: Rect, lines: &[String]) {
    let styled = lines.iter().map(|line| {
        let is_alarm = ALARMS.iter().any(|alarm| line.contains(alarm));
        let named = ["DNS", "RADIUS", "MAIL"]
            .iter()
            .find_map(|name| Some((*name, line.strip_prefix(name)?)));
        match named {
            _ if is_alarm => Line::styled(line.as_str(), ALARM),
            Some((name, rest)) => Line::from(vec![Span::styled(name, HEADING), Span::raw(rest)]),
            None => Line::from(line.as_str()),
        }
    });
    frame.render_widget(Paragraph::new(styled.collect::<Vec<_>>()), area);
}

fn draw_services(frame: &mut Frame<'_>, area: Rect, measurement: &Measurement, order: Order) {
    let mut services: Vec<&ServiceRates> = measurement.services.iter().collect();
    match order {
        Order::Dropped => {}
        Order::Passed => services.sort_by(|one, other| other.pass.total_cmp(&one.pass)),
        Order::Name => services.sort_by(|one, other| one.name.cmp(&other.name)),
    }
    let rows = services.into_iter().map(|service| {
        let lost = |rate: f64| {
            let style = if rate >= 0.05 { Style::new().fg(Color::Yellow) } else { FAINT };
            Cell::from(Line::styled(short(rate), style).right_aligned())
        };
        Row::new(vec![
            Cell::from(service.name.clone()),
            Cell::from(Line::from(short(service.pass)).right_aligned()),
            lost(service.drop),
            lost(service.slip),
            lost(service.observe),
            Cell::from(Line::from(short(service.answer)).right_aligned()),
            Cell::from(service.top_reason.clone().unwrap_or_default()),
        ])
    });
    let widths = [
        Constraint::Length(14),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Fill(1),
    ];
    let titles = ["SERVICE", "PASS", "DROP", "SLIP", "OBSERVE", "ANSWER", "TOP REASON"];
    let header = header(&titles, 1..6);
    frame.render_widget(Table::new(rows, widths).header(header), area);
}

fn draw_reasons(frame: &mut Frame<'_>, area: Rect, reasons: &[ReasonRate]) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let columns =
        [Constraint::Length(18), Constraint::Length(8), Constraint::Length(9), Constraint::Fill(1)];
    let split = |area| Layout::horizontal(columns).spacing(1).areas::<4>(area);
    let [name, rate, total, history] = split(head);
    frame.render_widget(Line::styled("REASON", HEADING), name);
    frame.render_widget(Line::styled("RATE", HEADING).right_aligned(), rate);
    frame.render_widget(Line::styled("TOTAL", HEADING).right_aligned(), total);
    frame.render_widget(Line::styled("LAST MINUTES", HEADING), history);
    for (reason, row) in reasons.iter().zip(body.rows()) {
        let [name, rate, total, history] = split(row);
        frame.render_widget(Line::from(reason.name.clone()), name);
        frame.render_widget(Line::from(short(reason.rate)).right_aligned(), rate);
        frame.render_widget(Line::from(short(reason.total as f64)).right_aligned(), total);
        // The newest measurements are what fits.
        let skip = reason.history.len().saturating_sub(usize::from(history.width));
        let newest: Vec<u64> = reason.history.iter().skip(skip).copied().collect();
        let line = Sparkline::default().data(newest).style(Style::new().fg(Color::Yellow));
        frame.render_widget(line, history);
    }
}

fn draw_talkers(frame: &mut Frame<'_>, area: Rect, title: &str, talkers: &[Talker]) {
    let rows = talkers.iter().map(|talker| {
        let share = format!("{:.0}%", talker.dropped_share * 100.0);
        Row::new(vec![
            Cell::from(address(talker)),
            Cell::from(Line::from(short(talker.packets_per_second)).right_aligned()),
            Cell::from(Line::from(share).right_aligned()),
            Cell::from(talker.last_reason.clone()),
        ])
    });
    // On a narrow screen the address matters most.
    let reason = if area.width >= 60 { 18 } else { 0 };
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(7),
        Constraint::Length(5),
        Constraint::Length(reason),
    ];
    let header = header(&[title, "RATE", "DROP", "LAST REASON"], 1..3);
    frame.render_widget(Table::new(rows, widths).header(header), area);
}

fn header<'h>(titles: &[&'h str], numbers: std::ops::Range<usize>) -> Row<'h> {
    let cells = titles.iter().enumerate().map(|(index, title)| {
        let line = Line::from(*title);
        if numbers.contains(&index) { line.right_aligned() } else { line }
    });
    Row::new(cells).style(HEADING)
}

/// A single address without its length.
pub(crate) fn address(talker: &Talker) -> String {
    if talker.prefix.prefix_len() == talker.prefix.max_prefix_len() {
        talker.prefix.addr().to_string()
    } else {
        talker.prefix.to_string()
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;

    use super::*;
    use crate::fake;
    use crate::top::measurement::{MailRates, Meter, RadiusRates, Reading};

    fn measurement() -> Measurement {
        let mut meter = Meter::default();
        let reading = |counters| Reading { overview: fake::overview(), counters, top: fake::top() };
        meter.measure(reading(Vec::new()), Duration::from_secs(1));
        meter.measure(reading(fake::counters()), Duration::from_secs(1))
    }

    fn drawn(
        width: u16,
        height: u16,
        settings: &Settings,
        measurement: Option<&Measurement>,
    ) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, measurement, settings)).unwrap();
        terminal.backend().buffer().clone()
    }

    fn text(buffer: &Buffer) -> Vec<String> {
        let area = buffer.area();
        (0..area.height)
            .map(|y| (0..area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>())
            .collect()
    }

    #[test]
    fn everything_is_on_a_screen_of_80_by_24() {
        let buffer = drawn(80, 24, &Settings::default(), Some(&measurement()));
        let lines = text(&buffer);
        let all = lines.join("\n");
        for part in [
            "muralla ",
            "eth0 GENERIC",
            "50 ns/packet",
            "! eth0: GENERIC MODE",
            "DNS      0/s: card 0, cache 0",
            "p99 -, hits -, failed 0/s; asked 0/s, timeouts 0/s; cache 50 % full",
            "SERVICE",
            "TOP REASON",
            "source_limit",
            "REASON",
            "BUSIEST SOURCES",
            "198.51.100.7",
            "BUSIEST NETWORKS",
            "198.51.100.0/24",
            "q quits",
        ] {
            assert!(all.contains(part), "{part} is missing in\n{all}");
        }
        let dns = lines.iter().find(|line| line.starts_with("dns ")).unwrap();
        let words: Vec<&str> = dns.split_whitespace().collect();
        assert_eq!(words, ["dns", "1.00k", "30", "70", "0", "600", "source_limit"]);
    }

    #[test]
    fn a_card_that_nobody_fills_is_an_alarm() {
        let mut shown = measurement();
        shown.dns = None;
        shown.overview.dns = None;
        assert!(role_lines(&shown).is_empty(), "it is filled by a process that is not asked");
        if let Some(answers) = &mut shown.overview.answers {
            answers.fed = false;
        }
        let lines = text(&drawn(80, 24, &Settings::default(), Some(&shown)));
        let line = lines.iter().find(|line| line.starts_with("DNS ")).unwrap();
        assert!(line.contains("600/s by the network card"), "{line}");
    }

    #[test]
    fn without_a_wall_only_dns_is_shown() {
        let mut shown = measurement();
        (shown.overview.edge, shown.overview.answers) = (None, None);
        let all = text(&drawn(80, 24, &Settings::default(), Some(&shown))).join("\n");
        assert!(
            all.contains("DNS ") && !all.contains("SERVICE") && !all.contains("DETACHED"),
            "{all}"
        );
    }

    #[test]
    fn radius_has_two_lines() {
        let mut shown = measurement();
        shown.overview.radius = Some(fake::radius_status());
        shown.radius = Some(RadiusRates {
            answers: vec![(Answer::Accept, 320.0), (Answer::Reject, 12.0)],
            top_reason: Some("wrong_password".to_owned()),
            p99: Some(0.000_256),
            ..RadiusRates::default()
        });
        let all = text(&drawn(120, 24, &Settings::default(), Some(&shown))).join("\n");
        for part in [
            "RADIUS   accepted 320/s, refused 12/s, accounted 0/s",
            "dropped 0/s, most wrong_password",
            "p99 0.26 ms, 41.0k sessions; journal",
        ] {
            assert!(all.contains(part), "{part} is missing in\n{all}");
        }
    }

    #[test]
    fn mail_has_two_lines_and_one_for_what_is_wrong() {
        let mut shown = measurement();
        let mut status = fake::mail::mail_status();
        status.shards[0].circuit_open = true;
        shown.overview.mail = Some(status);
        shown.mail = Some(MailRates {
            taken: 320.0,
            refused: 12.0,
            top_reason: Some("unknown".to_owned()),
            p99: Some(0.016),
            ..MailRates::default()
        });
        let all = text(&drawn(120, 24, &Settings::default(), Some(&shown))).join("\n");
        for part in [
            "MAIL     in 320/s, refused 12/s, most unknown; out 0/s, put off 0/s, failed 0/s",
            "pop3 0/s, fetched 0/s, logins refused 0/s; p99 16 ms; spool 3; queue 4, oldest 1m, held 1",
            "STORE main HANGS",
            "backend/old NOT REACHED",
        ] {
            assert!(all.contains(part), "{part} is missing in\n{all}");
        }
    }

    #[test]
    fn alarms_are_red() {
        let buffer = drawn(80, 24, &Settings::default(), Some(&measurement()));
        let lines = text(&buffer);
        let y = lines.iter().position(|line| line.contains("! eth0: GENERIC MODE")).unwrap();
        assert_eq!(buffer[(0, u16::try_from(y).unwrap())].fg, Color::Red);
    }

    #[test]
    fn any_size_can_be_drawn() {
        let measurement = measurement();
        let trouble = Settings { trouble: Some("no daemon".to_owned()), ..Settings::default() };
        for (width, height) in
            [(1, 1), (2, 3), (10, 5), (20, 2), (40, 12), (79, 23), (81, 25), (200, 60), (300, 8)]
        {
            for measurement in [None, Some(&measurement)] {
                drawn(width, height, &Settings::default(), measurement);
                drawn(width, height, &trouble, measurement);
            }
        }
    }

    #[test]
    fn keys_change_the_order() {
        let measurement = measurement();
        let first = |order| {
            let settings = Settings { order, ..Settings::default() };
            let lines = text(&drawn(80, 24, &settings, Some(&measurement)));
            let header = lines.iter().position(|line| line.starts_with("SERVICE")).unwrap();
            lines[header + 1].split_whitespace().next().unwrap().to_owned()
        };
        assert_eq!(first(Order::Dropped), "dns");
        assert_eq!(first(Order::Passed), "other");
        assert_eq!(first(Order::Name), "dns");
        assert_eq!(Order::Dropped.next().next().next(), Order::Dropped);
    }
}
