//! Requests as they are answered.

use std::fmt::Write as _;
use std::process::ExitCode;

use muralla_radius::tail::Tailed;

use crate::admin::client::Client;
use crate::cli::End;
use crate::commands::{Call, follow, out};
use crate::configuration::moment;

/// Shows requests as they are answered.
pub(super) async fn follow_requests(
    call: &Call,
    client: &Client,
    path: &str,
    end: End,
) -> anyhow::Result<ExitCode> {
    follow(client, path, end, |request: Tailed| {
        if request.missed > 0 {
            eprintln!("({} more that this terminal was too slow for)", request.missed);
        }
        let text = if call.json { serde_json::to_string(&request)? } else { tailed_text(&request) };
        out(&format!("{}\n", text.trim_end()))?;
        Ok(true)
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

fn tailed_text(request: &Tailed) -> String {
    let at = moment(request.at as u64);
    let reason = request.reason.as_deref().map(|reason| format!(": {reason}"));
    let mut text = format!(
        "{at}  {:<12} {:<24} {:<10} {}{}",
        request.nas,
        request.user.as_deref().unwrap_or("-"),
        request.method,
        request.verdict,
        reason.unwrap_or_default()
    );
    if let Some(attributes) = &request.attributes {
        let _ = write!(text, "\n    {} from {}", request.code, request.source);
        for (pairs, sign) in [(&attributes.request, '>'), (&attributes.reply, '<')] {
            for pair in pairs {
                let _ = write!(text, "\n    {sign} {pair}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use muralla_radius::tail::Attributes;

    use super::*;

    #[test]
    fn a_request_is_a_line_and_its_attributes_stand_below() {
        let request = Tailed {
            at: 1_795_536_000.5,
            source: "192.0.2.17:1645".parse().unwrap(),
            nas: "bras1".to_owned(),
            code: "Access-Request".to_owned(),
            id: 7,
            user: Some("alice".to_owned()),
            calling_station: None,
            called_station: None,
            nas_port: None,
            method: "PAP".to_owned(),
            verdict: "accept".to_owned(),
            reason: None,
            took: Duration::from_micros(80),
            missed: 0,
            attributes: None,
        };
        let text = tailed_text(&request);
        assert!(!text.trim_end().contains('\n') && text.contains("alice"), "{text}");
        let attributes = Attributes {
            request: vec!["User-Name = \"alice\"".to_owned(), "User-Password = ***".to_owned()],
            reply: vec!["Session-Timeout = 600".to_owned()],
        };
        let text = tailed_text(&Tailed { attributes: Some(attributes), ..request });
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "    Access-Request from 192.0.2.17:1645",
                "    > User-Name = \"alice\"",
                "    > User-Password = ***",
                "    < Session-Timeout = 600",
            ]
        );
    }
}
