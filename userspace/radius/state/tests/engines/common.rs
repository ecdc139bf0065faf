//! A database for a test, with the state of RADIUS in it.

use std::ops::Deref;

use muralla_radius_accounting::ExportRow;
use muralla_radius_state::{Options, State};

/// A database, gone when it is dropped, and the state in it.
pub(crate) struct Database(muralla_test_database::Database);

impl Deref for Database {
    type Target = muralla_test_database::Database;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        Self(muralla_test_database::Database::sqlite())
    }

    pub(crate) fn postgres() -> Self {
        Self(muralla_test_database::Database::postgres())
    }

    /// The state, as this server sees it.
    pub(crate) async fn state(&self, server: &str) -> State {
        self.state_with(server, |_| ()).await
    }

    pub(crate) async fn state_with(
        &self,
        server: &str,
        change: impl FnOnce(&mut Options),
    ) -> State {
        let mut options = Options { server: server.into(), ..Options::default() };
        change(&mut options);
        State::open_with(self.location(), options).await.unwrap()
    }
}

/// A row of accounting, of a session of its own by its number.
pub(crate) fn accounting(status: &'static str, session: u64, user: &str, at: i64) -> ExportRow {
    let state = if status == "stop" { "stopped" } else { "open" };
    ExportRow {
        event_id: format!("{:032x}", event(&[status, user, &session.to_string(), &at.to_string()])),
        session_id: Some(format!("{session:032x}")),
        sequence: 1,
        status,
        outcome: "updated",
        state: Some(state),
        event_at: at,
        received_at: at * 1_000_000,
        came: None,
        nas: "lns1".into(),
        telco: Some("north".into()),
        nas_identifier: Some("lns1".into()),
        nas_address: Some("192.0.2.1".into()),
        nas_port: Some(i64::try_from(session % 1000).unwrap()),
        nas_port_id: None,
        source: Some("192.0.2.1".into()),
        user_name: user.into(),
        subscriber: user.into(),
        acct_session_id: format!("{session:x}"),
        class: None,
        calling_station: Some("0049".into()),
        called_station: None,
        framed_address: None,
        framed_prefix: None,
        framed_address6: None,
        delegated_prefix: None,
        started_at: Some(at),
        updated_at: Some(at),
        ended_at: (status == "stop").then_some(at),
        session_seconds: 0,
        octets_in: 0,
        octets_out: 0,
        packets_in: 0,
        packets_out: 0,
        seconds_then: 0,
        octets_in_then: 0,
        octets_out_then: 0,
        cause: None,
        doubts: String::new(),
    }
}

fn event(parts: &[&str]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

/// Time since the machine's boot: when something came that comes now.
pub(crate) fn since_boot() -> std::time::Duration {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    std::time::Duration::from_secs(since.tv_sec.try_into().unwrap())
}
