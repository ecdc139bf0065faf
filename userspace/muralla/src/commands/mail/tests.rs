use super::*;

fn entry(state: QueueState) -> QueueEntry {
    QueueEntry {
        message: "t7ufst4m7lo7nwc4u56izufu7q".to_owned(),
        sender: String::new(),
        recipient: "x@example.org".to_owned(),
        destination: "example.org".to_owned(),
        state,
        due: 0,
        attempts: 3,
        size: 1_000,
        created: now() - 7_300,
        expires: now() + 86_400,
        tried: Some(now() - 60),
        reply: Some("451 4.7.1 Greylisted".to_owned()),
        host: Some("mx.example.org".to_owned()),
        held_until: None,
    }
}

#[test]
fn destinations_are_told_in_lines() {
    let destination = |name: &str, due, left_alone| QueueDestination {
        name: name.to_owned(),
        recipients: 7,
        due,
        left_alone,
    };
    let text = destinations_text(
        &[
            destination("example.org", 90, Some(160)),
            destination("example.com", 90, Some(100)),
            destination("example.net", 130, None),
        ],
        100,
    );
    let next: Vec<&str> =
        text.lines().skip(1).map(|line| line.rsplit("  ").next().unwrap()).collect();
    assert_eq!(next, ["left alone for 1m", "now", "in 30s"], "{text}");
}

#[test]
fn the_queue_is_told_in_lines() {
    let for_now = QueueEntry { held_until: Some(now() + 86_400), ..entry(QueueState::Held) };
    let entries = [entry(QueueState::Waiting), entry(QueueState::Held), for_now];
    let text = queue_text(&entries, now());
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("message"), "{text}");
    assert!(
        lines[1].contains("2h1m") && lines[1].contains("<>") && lines[1].contains("now"),
        "{text}"
    );
    assert!(lines[2].contains("held ") && lines[2].ends_with("451 4.7.1 Greylisted"), "{text}");
    assert!(lines[3].contains("held, 1d left"), "{text}");
}

#[test]
fn a_life_is_told_in_its_order() {
    let event = |at_ms, kind: &str, text: &str| TraceEvent {
        message: "019a".to_owned(),
        at_ms,
        kind: kind.to_owned(),
        header_id: Some("<one@example.net>".to_owned()),
        sender: Some("ann@example.net".to_owned()),
        recipient: Some("x@example.org".to_owned()),
        text: text.to_owned(),
    };
    let text =
        trace_text(&[event(0, "accepted", "it is durable"), event(1_000, "delivered", "250 OK")]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert_eq!(lines[0], "019a  <one@example.net>  from <ann@example.net>");
    assert!(lines[2].ends_with("delivered  x@example.org  250 OK"), "{text}");
    assert!(trace_text(&[]).starts_with("nothing is known"));
}

#[test]
fn how_mail_is_handed_over_is_told() {
    let text = status_text(&crate::fake::mail::mail_status());
    for line in [
        "    connections: 2 by DANE, 1 by MTA-STS, 4 encrypted, 1 in the clear; without a proof that was due: 4",
        "  to store/main: 500 delivered, 2 put off, 0 refused, 3 unreachable; 2 ms each",
        "  to backend/old: 0 delivered, 0 put off, 0 refused, 4 unreachable; NOT REACHED the last time",
        "  to remote: 6 delivered, 0 put off, 0 refused, 0 unreachable; 2 ms each",
        "  store main: took no mail in time 2 times, and 70 deliveries did not wait for it; takes mail again",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
    assert!(text.contains("  disk of spool: "), "{text}");
}

#[test]
fn an_empty_queue_has_no_oldest() {
    let mut status = crate::fake::mail::mail_status();
    assert!(summary(&status).contains("the oldest of 1m ago"), "{}", summary(&status));
    status.queue = Some(Default::default());
    let text = summary(&status);
    assert!(text.contains("queue: empty\n") && !text.contains("oldest"), "{text}");
}

#[test]
fn a_header_says_nothing_to_the_terminal() {
    let text = printable(b"Subject: \x1b]0;x\x07\r\n\tfolded \xff\xc3\xa9\r\n\r\n");
    assert_eq!(text, "Subject: ?]0;x?\n\tfolded \u{fffd}\u{e9}\n\n");
}
