//! The servers that share the database: `muralla radius server`.

use std::process::ExitCode;

use serde_json::json;

use super::Work;
use crate::cli::radius::ServerCommand;
use crate::commands::radius::tell;
use crate::configuration::moment;
use crate::top::table;

impl Work<'_> {
    pub(super) async fn server(&self, command: ServerCommand) -> anyhow::Result<ExitCode> {
        match command {
            ServerCommand::List => {
                let servers = self.state.servers().await?;
                let time = |at: i64| u64::try_from(at).map(moment).unwrap_or_default();
                let rows = servers.iter().map(|server| {
                    [
                        server.name.clone(),
                        time(server.seen),
                        server.exported.map(time).unwrap_or_default(),
                        server.blocks.to_string(),
                        if server.here { "this one" } else { "" }.to_owned(),
                    ]
                });
                let rows: Vec<[String; 5]> = rows.collect();
                let titles = ["server", "heard of", "accounting until", "blocks", ""];
                tell(self.call, &servers, |_| table(titles, &rows))?;
                Ok(ExitCode::SUCCESS)
            }
            ServerCommand::Forget { name } => {
                let blocks = self.state.forget_server(&name).await?;
                tell(self.call, &json!({"done": true, "name": name, "blocks": blocks}), |_| {
                    format!(
                        "others may give out its {blocks} blocks when its last offers have ended\n"
                    )
                })?;
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}
