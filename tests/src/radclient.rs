//! Debian's radclient in the customers' namespace, as the provider's NASes ask.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use muralla_lab::{Family, Lab};

use crate::nas::SECRET;

/// What came of requests.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// Requests sent, each counted once.
    pub requests: usize,
    /// Requests without an answer.
    pub lost: usize,
    /// Answers by what they are (`Access-Accept`).
    pub answers: BTreeMap<String, usize>,
    /// Lines of attributes in answers (`Framed-IP-Address = 192.0.2.1`).
    pub attributes: Vec<String>,
    /// How often the request was sent that was sent most often.
    pub most_sendings: usize,
}

impl Outcome {
    /// Answers that are that.
    pub fn answers(&self, what: &str) -> usize {
        self.answers.get(what).copied().unwrap_or_default()
    }
}

/// Sends requests (attributes in radclient's words) to one port, so many at once, each again after some seconds up to so
/// many times, and waits for the answers.
///
/// # Errors
/// When radclient can't be started, or complains about anything but missing answers and refusals.
pub fn ask(
    lab: &Lab,
    to: SocketAddr,
    command: &str,
    requests: &[String],
    (parallel, seconds, retries): (usize, u32, u32),
) -> Result<Outcome> {
    static FILES: AtomicU32 = AtomicU32::new(0);
    let sources = lab.nas_hosts(Family::V4);
    let source: IpAddr = *sources.first().context("the lab has no NAS")?;
    let file = lab.folder().join(format!("radclient-{}", FILES.fetch_add(1, Ordering::Relaxed)));
    let text: Vec<String> = requests
        .iter()
        .map(|request| format!("{request}, Packet-Src-IP-Address = {source}\n"))
        .collect();
    fs::write(&file, text.join("\n")).context("writing requests")?;
    let [parallel, seconds] = [parallel.to_string(), seconds.to_string()];
    // What radclient calls retries are attempts, the first one among them.
    let attempts = (retries + 1).to_string();
    let mut radclient = lab.customers().command("radclient");
    radclient.args(["-x", "-s", "-p", &parallel, "-t", &seconds, "-r", &attempts, "-f"]);
    radclient.arg(&file).arg(to.to_string()).args([command, SECRET]);
    let output = radclient.output().context("starting radclient")?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let outcome = read(&printed);
    let ended: usize = outcome.lost + outcome.answers.values().sum::<usize>();
    ensure!(
        outcome.requests == requests.len() && ended == requests.len(),
        "radclient sent {} of {} requests, and {ended} came to an end: {complaint}",
        outcome.requests,
        requests.len()
    );
    Ok(outcome)
}

/// What radclient's debugging output says.
fn read(printed: &str) -> Outcome {
    let mut outcome = Outcome::default();
    // By source port and identifier: which are used again once they are free.
    let mut under_way: HashMap<(String, String), usize> = HashMap::new();
    let mut answer = false;
    for line in printed.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match *words.as_slice() {
            ["Sent", _, "Id", id, "from", from, ..] => {
                answer = false;
                let sendings = under_way.entry((port(from), id.to_owned())).or_default();
                *sendings += 1;
                outcome.requests += usize::from(*sendings == 1);
                outcome.most_sendings = outcome.most_sendings.max(*sendings);
            }
            ["Received", what, "Id", id, "from", _, "to", to, ..] => {
                answer = true;
                under_way.remove(&(port(to), id.to_owned()));
                *outcome.answers.entry(what.to_owned()).or_default() += 1;
            }
            [_, "No", "reply", "from", "server", "for", "ID", id, ..] => {
                outcome.lost += 1;
                under_way.retain(|(_, other), _| other != id);
            }
            [_, "=", ..] if answer => outcome.attributes.push(words.join(" ")),
            _ => {}
        }
    }
    outcome
}

/// The port of an address in radclient's words.
fn port(address: &str) -> String {
    address.rsplit(':').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_radclient_prints() {
        let outcome = read(
            "Sent Access-Request Id 191 from 0.0.0.0:49757 to 192.0.2.1:1812 length 33\n\
             \tUser-Name = \"a\"\n\
             Sent Access-Request Id 235 from 0.0.0.0:49757 to 192.0.2.1:1812 length 33\n\
             Received Access-Accept Id 191 from 192.0.2.1:1812 to 192.0.2.9:49757 length 20\n\
             \tFramed-IP-Address = 100.64.0.1\n\
             Sent Access-Request Id 235 from 0.0.0.0:49757 to 192.0.2.1:1812 length 33\n\
             Sent Access-Request Id 191 from 0.0.0.0:49757 to 192.0.2.1:1812 length 33\n\
             Received Access-Reject Id 191 from 192.0.2.1:1812 to 192.0.2.9:49757 length 20\n\
             (1) No reply from server for ID 235 socket 3\n\
             Packet summary:\n\
             \tAccepted      : 1\n",
        );
        assert_eq!((outcome.requests, outcome.lost, outcome.most_sendings), (3, 1, 2));
        assert_eq!((outcome.answers("Access-Accept"), outcome.answers("Access-Reject")), (1, 1));
        assert_eq!(outcome.attributes, ["Framed-IP-Address = 100.64.0.1"]);
    }
}
