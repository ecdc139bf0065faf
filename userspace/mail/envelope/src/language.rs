//! The words that reports have for people.

use std::fmt::Write;

use crate::date::rfc5322;
use crate::dsn::{Action, Fate, Report};
use crate::reply::EnhancedCode;

/// A language that reports are written in.
pub trait Language: Send + Sync {
    /// Its tag (RFC 5646).
    fn tag(&self) -> &str;

    /// What the author of a report is called.
    fn author(&self) -> String;

    /// What a report is called; `worst` is the gravest of what it tells.
    fn subject(&self, report: &Report<'_>, worst: Action) -> String;

    /// What a report says: lines of text, in UTF-8.
    fn text(&self, report: &Report<'_>, worst: Action) -> String;
}

/// English.
#[derive(Clone, Copy, Debug, Default)]
pub struct English;

impl Language for English {
    fn tag(&self) -> &str {
        "en"
    }

    fn author(&self) -> String {
        "Mail Delivery System".to_owned()
    }

    fn subject(&self, report: &Report<'_>, worst: Action) -> String {
        let several = report.fates.len() > 1;
        match (worst, several) {
            (Action::Failed, false) => "Your message was not delivered",
            (Action::Failed, true) => "Your message was not delivered to everyone",
            (Action::Delayed, _) => "Your message is delayed, and will be tried again",
            (Action::Relayed | Action::Expanded, _) => "Your message was handed on",
            (Action::Delivered, _) => "Your message was delivered",
        }
        .to_owned()
    }

    fn text(&self, report: &Report<'_>, _: Action) -> String {
        let mut out = String::with_capacity(1024);
        let at = rfc5322(report.arrived_at, report.offset_minutes);
        // Writing to a String can't fail.
        let _ = write!(
            out,
            "This is the mail system at {}.\n\nIt is about the message that you sent on\n{at}.\n",
            report.reporting
        );
        for action in
            [Action::Failed, Action::Delayed, Action::Relayed, Action::Expanded, Action::Delivered]
        {
            let mut fates = report.fates.iter().filter(|fate| fate.action == action).peekable();
            if fates.peek().is_none() {
                continue;
            }
            let _ = write!(out, "\n{}\n", opening(action));
            for fate in fates {
                one(&mut out, report, fate);
            }
        }
        let _ = write!(
            out,
            "\nIf you ask for help, please have this ready: {}.\n\
             Details for mail systems are attached, and what you sent, or its header.\n",
            report.message_id
        );
        out
    }
}

const fn opening(action: Action) -> &'static str {
    match action {
        Action::Failed => "It could NOT be delivered to:",
        Action::Delayed => {
            "It has not been delivered yet to those below. You need not send it again:\nit is being tried further."
        }
        Action::Relayed => {
            "It was handed to the mail system of those below, which will not tell us\nwhether they get it:"
        }
        Action::Expanded => "It was handed on to everyone behind these addresses:",
        Action::Delivered => "It was delivered to:",
    }
}

fn one(out: &mut String, report: &Report<'_>, fate: &Fate) {
    let _ = write!(out, "\n  <{}>\n", fate.recipient.to_unicode());
    if matches!(fate.action, Action::Failed | Action::Delayed) {
        wrap(out, reason(fate.status, fate.action));
    }
    if let (Some(until), Action::Delayed) = (fate.retry_until, fate.action) {
        wrap(out, &format!("It is tried until {}.", rfc5322(until, report.offset_minutes)));
    }
    match (&fate.reply, &fate.remote) {
        (Some(reply), Some(remote)) => wrap(out, &format!("{remote} said: {reply}")),
        (Some(reply), None) => wrap(out, &format!("The answer was: {reply}")),
        (None, _) => {}
    }
}

/// What a status means, and what a person can do about it. RFC 3463 section 3 and IANA's registry.
const fn reason(status: EnhancedCode, action: Action) -> &'static str {
    match (status.class, status.subject, status.detail) {
        (_, 1, 1 | 3 | 6) => "There is no such address. Please check how it is spelt.",
        (_, 1, 2 | 10) => "There is no mail at that domain. Please check how it is spelt.",
        (_, 1, 7 | 8) => "Your address was not accepted as a sender's.",
        (_, 2, 1) => "That mailbox is switched off.",
        (_, 2, 2) => "That mailbox is full. Its owner has to make room first.",
        (_, 2, 3) | (_, 3, 4) => {
            "The message is too large for there. A smaller one may get through."
        }
        (_, 4, 6) => "Mail to there goes round in circles. Its owner has to mend that.",
        (5, 4, 7) | (4, 4, 7) if matches!(action, Action::Failed) => {
            "It was tried for days, and the mail system there never took it."
        }
        (_, 3, _) => "The mail system there has trouble of its own.",
        (_, 4, _) => "The mail system there can't be reached.",
        (_, 6, 7) => "The mail system there can't take addresses in this script.",
        (_, 6, _) => "The mail system there can't take this kind of content.",
        (_, 7, _) => "It was refused by the rules there. What it says below may tell why.",
        (4, _, _) => "The mail system there did not take it yet.",
        _ => "The mail system there did not take it. What it says below may tell why.",
    }
}

/// A paragraph, indented. Words that are longer than a line have a line of their own.
fn wrap(out: &mut String, text: &str) {
    const INDENT: &str = "    ";
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > 76 {
            out.push('\n');
            column = 0;
        }
        if column == 0 {
            out.push_str(INDENT);
            column = INDENT.len();
        } else {
            out.push(' ');
            column += 1;
        }
        // Others' words: nothing in them moves anybody's cursor.
        out.extend(word.chars().map(|char| if char.is_control() { '?' } else { char }));
        column += width;
    }
    out.push('\n');
}
