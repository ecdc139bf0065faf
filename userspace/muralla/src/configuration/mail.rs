//! The `[mail]` section.

use muralla_mail::config::MailConfig;
use serde::Deserialize as _;
use toml::de::Deserializer;

use super::complaint::Complaints;
use super::document::Section;

/// Reads the section. The result is good only if no error was added to `complaints`.
pub(crate) fn read(section: &Section<'_>, complaints: &Complaints) -> Option<MailConfig> {
    let place = section.span().clone();
    let config = match MailConfig::deserialize(Deserializer::from(section.to_table())) {
        Ok(config) => config,
        Err(error) => {
            let span = error.span().filter(|span| !span.is_empty()).unwrap_or(place);
            let (what, help) = in_words(error.message());
            complaints.error(&span, what, help);
            return None;
        }
    };
    for problem in config.problems() {
        complaints.error(&place, problem, "docs/configuration.md has every key of [mail]");
    }
    for warning in config.warnings() {
        complaints.warning(&place, warning, "docs/mail.md says more");
    }
    Some(config)
}

/// What is wrong, and what would be right.
fn in_words(message: &str) -> (String, String) {
    let usual = || "docs/configuration.md has every key of [mail]".to_owned();
    let Some(rest) = message.strip_prefix("unknown field ") else {
        let help = match message.strip_prefix("missing field ") {
            Some("`hostname`") => {
                "write hostname = \"mx.example.net\": this machine's name in DNS".to_owned()
            }
            Some(field) => format!("write {} = ...", field.trim_matches('`')),
            None => usual(),
        };
        return (format!("[mail]: {message}"), help);
    };
    let (unknown, known) = rest.split_once(", ").unwrap_or((rest, ""));
    let unknown = unknown.trim_matches('`');
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let near = known
        .iter()
        .map(|name| (strsim::jaro_winkler(name, unknown), *name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    let help = match near {
        Some((_, name)) => format!("did you mean `{name}`?"),
        None if known.is_empty() => usual(),
        None => format!("known are {}", known.join(", ")),
    };
    (format!("[mail] has no key `{unknown}`"), help)
}
