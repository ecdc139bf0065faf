//! Who is refused, and who is not known: what a daemon remembers of the last while.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use muralla_radius::report::{LoginRefusal, Status, Stranger, UserLimits};
use muralla_radius_dictionary::Zone;
use muralla_radius_state::SubscriberEntry;
use serde::Serialize;

use super::{escaped, tell};
use crate::admin::client::Client;
use crate::cli::radius::{RadiusCommand, When};
use crate::commands::Call;
use crate::configuration::{duration, moment};
use crate::roles::Role;
use crate::top::table;

/// How long a daemon may take to say whether somebody is limited: what the database says is worth showing without.
const PATIENCE: Duration = Duration::from_secs(2);

/// Lists logins that were refused.
pub(super) async fn list(
    call: &Call,
    client: &Client,
    command: RadiusCommand,
) -> anyhow::Result<ExitCode> {
    let RadiusCommand::Refusals { user, nas, calling_station, reason, last, from, to, most } =
        command
    else {
        return Ok(ExitCode::SUCCESS);
    };
    let mut path = format!("/v1/radius/refusals?most={most}");
    let texts =
        [("user", user), ("nas", nas), ("calling_station", calling_station), ("reason", reason)];
    for (key, value) in texts {
        if let Some(value) = value {
            let _ = write!(path, "&{key}={}", escaped(&value));
        }
    }
    let ago = |last: Duration| {
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        i64::try_from(now.saturating_sub(last).as_secs()).unwrap_or(i64::MAX)
    };
    let seconds = |when: When| when.seconds(&Zone::UTC);
    let since = last.map(ago).or(from.map(seconds));
    for (key, value) in [("since", since), ("until", to.map(seconds))] {
        if let Some(value) = value {
            let _ = write!(path, "&{key}={value}");
        }
    }
    let refusals: Vec<LoginRefusal> = client.get(&path).await?;
    tell(call, &refusals, |refusals| refusals_text(refusals))?;
    Ok(ExitCode::SUCCESS)
}

fn refusals_text(refusals: &[LoginRefusal]) -> String {
    if refusals.is_empty() {
        return "none that fits among the last ones\n".to_owned();
    }
    // As they came, so that the last one stands above the prompt.
    let rows: Vec<[String; 6]> = refusals
        .iter()
        .rev()
        .map(|refusal| {
            let verdict = if refusal.answered { "" } else { "not answered: " };
            let missed = match refusal.missed {
                0 => String::new(),
                missed => format!(" ({missed} more before it)"),
            };
            [
                moment(refusal.at as u64),
                refusal.user.clone(),
                refusal.nas.clone(),
                refusal.calling_station.clone().unwrap_or_default(),
                refusal.method.clone(),
                format!("{verdict}{}{missed}", refusal.words),
            ]
        })
        .collect();
    table(["when", "user", "NAS", "from", "method", "why"], &rows)
}

/// Lists those who send packets and can't be shown to be a NAS.
pub(super) async fn strangers(call: &Call, client: &Client) -> anyhow::Result<ExitCode> {
    let status: Status = client.get("/v1/radius/status").await?;
    tell(call, &status.strangers, |strangers| strangers_text(strangers))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn strangers_text(strangers: &[Stranger]) -> String {
    if strangers.is_empty() {
        return "none since the start\n".to_owned();
    }
    let rows: Vec<[String; 4]> = strangers
        .iter()
        .map(|stranger| {
            let about = if stranger.doubtful > 0 { "at most " } else { "" };
            let why = match &stranger.nas {
                None => "nobody entered it: `muralla radius nas set`".to_owned(),
                Some(nas) => {
                    let reason = stranger.reason.replace('_', " ");
                    format!("{reason} of NAS {nas}: compare the secret at both ends")
                }
            };
            [
                stranger.address.to_string(),
                format!("{about}{}", stranger.packets),
                format!("{} ago", duration::write(Duration::from_secs(stranger.seen))),
                why,
            ]
        })
        .collect();
    table(["address", "packets", "last", "why"], &rows)
}

/// Whether a user is limited, if there is somebody to ask.
pub(super) async fn limits(call: &Call, user: &str) -> Option<UserLimits> {
    let asked = async {
        let client = call.process_with(Role::Radius).await;
        let path = format!("/v1/radius/limits?user={}", escaped(user));
        client.get::<UserLimits>(&path).await.ok()
    };
    tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
}

/// A subscriber of the database, and what a daemon knows of him.
#[derive(Serialize)]
pub(super) struct Known<'a> {
    #[serde(flatten)]
    pub(super) user: &'a SubscriberEntry,
    /// Null if no daemon is there.
    pub(super) limits: Option<&'a UserLimits>,
    /// Mail accounts whose password his is.
    #[serde(rename = "mail_accounts")]
    pub(super) mail: &'a [String],
}

impl Known<'_> {
    pub(super) fn limits_text(&self) -> String {
        let mut text = String::new();
        let Some(limits) = self.limits else { return text };
        let time = |seconds| duration::write(Duration::from_secs(seconds));
        if let Some(seconds) = limits.seconds {
            let _ = writeln!(
                text,
                "LIMITED: too many of his logins failed; for {} they are refused without a look at the password, except from lines \
                 that he logged in from before. Another password lifts it at once.",
                time(seconds)
            );
        }
        for line in &limits.lines {
            let (line, time) = (line.line(), time(line.seconds));
            let _ = writeln!(text, "LIMITED at his line {line}: for {time}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use muralla_radius::report::LineLimit;

    use super::*;
    use crate::fake;

    #[test]
    fn refusals_are_told_in_the_order_in_which_they_came() {
        let silent = LoginRefusal { answered: false, missed: 3, ..fake::login_refusal("alice") };
        let text = refusals_text(&[silent, fake::login_refusal("bob")]);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        for (line, expected) in [
            (0, &["2026-11-24T", "bob", "bras1", "00-11-22", "PAP", "wrong password"][..]),
            (1, &["alice", "not answered: wrong password (3 more before it)"][..]),
        ] {
            for word in expected {
                assert!(lines[line].contains(word), "{word} is missing in\n{text}");
            }
        }
    }

    #[test]
    fn who_is_not_known_is_told_with_what_to_do() {
        let status = fake::radius_status();
        let known = Stranger {
            nas: Some("bras2".to_owned()),
            reason: "message_authenticator".to_owned(),
            doubtful: 1,
            ..status.strangers[0].clone()
        };
        let text = strangers_text(&[status.strangers[0].clone(), known]);
        for expected in
            ["203.0.113.9", "12", "nas set", "at most 12", "message authenticator of NAS bras2"]
        {
            assert!(text.contains(expected), "{expected} is missing in\n{text}");
        }
    }

    #[test]
    fn a_user_who_is_limited_is_shown_so() {
        let user = SubscriberEntry { name: "alice".to_owned(), ..SubscriberEntry::default() };
        let line = LineLimit {
            calling_station: None,
            port: Some("ge-0/0/1".to_owned()),
            source: Some([192, 0, 2, 1].into()),
            seconds: 7,
        };
        let limits = UserLimits { user: "alice".to_owned(), seconds: Some(90), lines: vec![line] };
        let known = Known { user: &user, limits: Some(&limits), mail: &[] };
        let text = known.limits_text();
        assert!(text.contains("for 1m30s"), "{text}");
        assert!(text.contains("port ge-0/0/1 of the box at 192.0.2.1: for 7s"), "{text}");
        let json = serde_json::to_value(&known).unwrap();
        assert_eq!((&json["name"], &json["limits"]["seconds"]), (&"alice".into(), &90.into()));
        assert_eq!(Known { user: &user, limits: None, mail: &[] }.limits_text(), "");
    }
}
