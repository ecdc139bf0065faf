//! Serves an Internet in this network namespace: `internet SIZE SEED DIRECTORY`, or `internet FILE DIRECTORY` for a
//! plan. DIRECTORY gets root.hints, root.anchor and questions.txt. The addresses must be up.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use muralla_internet::{Plan, generate, serve};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (internet, questions, directory) = match arguments.as_slice() {
        [size, seed, directory] => {
            let made = generate(size.parse()?, seed.parse()?)?;
            (made.internet, made.questions, directory)
        }
        [file, directory] => {
            let text = std::fs::read_to_string(file).with_context(|| file.clone())?;
            (Plan::parse(&text)?.build()?, Vec::new(), directory)
        }
        _ => anyhow::bail!("internet SIZE SEED DIRECTORY | internet FILE DIRECTORY"),
    };
    let directory = Path::new(directory);
    std::fs::write(directory.join("root.hints"), internet.root_hints())?;
    std::fs::write(directory.join("root.anchor"), internet.trust_anchors().join("\n") + "\n")?;
    let lines: String = questions.iter().map(|(name, rtype)| format!("{name} {rtype}\n")).collect();
    std::fs::write(directory.join("questions.txt"), lines)?;
    let addresses: Vec<SocketAddr> =
        internet.addresses().into_iter().map(|ip| SocketAddr::new(ip, 53)).collect();
    let serving = serve(Arc::new(internet), &addresses).await.context("binding")?;
    println!("{} sockets", serving.sockets());
    tokio::signal::ctrl_c().await?;
    Ok(())
}
