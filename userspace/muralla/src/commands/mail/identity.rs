//! `muralla mail account link` and `unlink`: who is a subscriber of RADIUS as well.

use std::path::Path;

use muralla_database::Location;
use muralla_mail_directory::{AccountEntry, Name, Registry, SubscriberState};

use super::tell;
use crate::commands::Call;
use crate::configuration;

/// `muralla mail account link`
pub(super) async fn link(
    call: &Call,
    registry: &Registry,
    name: &Name,
    subscriber: &str,
) -> anyhow::Result<()> {
    let state = match registry.link_subscriber(name, subscriber).await {
        Ok(state) => state,
        Err(error) => {
            return Err(match subscribers_elsewhere(call, registry) {
                Some(elsewhere) => anyhow::Error::from(error).context(elsewhere),
                None => error.into(),
            });
        }
    };
    if let Some(elsewhere) = subscribers_elsewhere(call, registry) {
        eprintln!("{elsewhere}: the subscriber of that name in the former is meant");
    }
    if state == SubscriberState::Blocked {
        eprintln!(
            "{subscriber} is blocked: [mail] blocked_subscribers says what he may do with his mail"
        );
    }
    tell(
        call,
        &serde_json::json!({ "done": true, "name": name, "subscriber": subscriber, "subscriber_state": state }),
        |_| format!("{name}: has the password of subscriber {subscriber} from now on\n"),
    )
}

/// `muralla mail account unlink`
pub(super) async fn unlink(call: &Call, registry: &Registry, name: &Name) -> anyhow::Result<()> {
    registry.unlink_subscriber(name).await?;
    tell(call, &serde_json::json!({ "done": true, "name": name }), |_| {
        format!(
            "{name}: no subscriber's any more; both keep the password that they have until it is changed\n"
        )
    })
}

/// Says whose else an account's new password is, or that it is not.
pub(super) fn tell_of_password(entry: &AccountEntry) {
    match (&entry.subscriber, entry.subscriber_state) {
        (Some(subscriber), Some(_)) => {
            eprintln!("it is the password of subscriber {subscriber}, too");
        }
        (Some(subscriber), None) => eprintln!(
            "subscriber {subscriber} keeps the password that he has: `muralla radius user password {subscriber}` changes it, or \
             `muralla mail account link {} {subscriber}` makes it one",
            entry.name
        ),
        (None, _) => {}
    }
}

/// That subscribers and mail accounts lie in two databases, as far as this machine's configuration tells.
fn subscribers_elsewhere(call: &Call, registry: &Registry) -> Option<String> {
    let radius = configuration::load(&call.config).ok()?.configuration.radius?;
    let (subscribers, _) = radius.database().ok()?;
    let accounts = registry.location();
    (!is_same(accounts, &subscribers)).then(|| {
        format!(
            "mail accounts lie in {accounts} and subscribers in {subscribers}, and one password for both takes one database: [mail] \
             database and [radius.state] location"
        )
    })
}

/// Whether two locations are one database; users and parameters of a connection don't matter.
fn is_same(one: &Location, other: &Location) -> bool {
    match (one, other) {
        (Location::Sqlite(one), Location::Sqlite(other)) => {
            let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
            whole(one) == whole(other)
        }
        (Location::Postgres(_), Location::Postgres(_)) => {
            // As they are shown they have neither passwords nor parameters.
            let place = |location: &Location| {
                let shown = location.to_string();
                let rest = shown.split_once("://").map_or(&*shown, |(_, rest)| rest).to_owned();
                rest.rsplit_once('@').map_or_else(|| rest.clone(), |(_, place)| place.to_owned())
            };
            place(one) == place(other)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_database_is_known_by_other_users_and_parameters() {
        let location = |text: &str| text.parse::<Location>().unwrap();
        for (one, other, same) in [
            ("postgres://a:b@db/isp", "postgresql://c@db/isp?sslmode=require", true),
            ("postgres://a:b@db/isp", "postgres://a:b@db/mail", false),
            ("postgres://a:b@db/isp", "/var/lib/state.db", false),
            ("/nowhere/a.db", "sqlite:/nowhere/a.db", true),
            ("/nowhere/a.db", "/nowhere/b.db", false),
        ] {
            assert_eq!(is_same(&location(one), &location(other)), same, "{one} {other}");
        }
    }
}
