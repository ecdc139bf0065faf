//! The rules, compiled once for the process.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::Duration;

use yara_x::{Compiler, MetaValue, Scanner};

use crate::bytes::at_most;
use crate::format::Format;
use crate::name::Opening;
use crate::rules::{Hit, SOURCES, Silence};
use crate::unpack::Object;

/// Octets of an image, of sound and of films that are looked at: what can be dangerous there stands in front, and they are large.
const HEAD: usize = 16 << 10;

/// The engine counts the ticks of a clock that runs already: of a single second, nothing may be left.
const TICK: Duration = Duration::from_secs(1);

/// Whether there are rules.
pub(crate) fn prepare() -> Result<(), String> {
    compiled().map(|_| ()).map_err(str::to_owned)
}

/// The rules that the process has.
fn compiled() -> Result<&'static yara_x::Rules, &'static str> {
    static RULES: OnceLock<Result<yara_x::Rules, String>> = OnceLock::new();
    RULES.get_or_init(compile).as_ref().map_err(String::as_str)
}

fn compile() -> Result<yara_x::Rules, String> {
    let mut compiler = Compiler::new();
    for text in ["file_name", "file_extension", "file_opening", "file_format", "file_parent"] {
        compiler.define_global(text, "").map_err(|error| error.to_string())?;
    }
    for number in ["file_depth", "file_siblings"] {
        compiler.define_global(number, 0_i64).map_err(|error| error.to_string())?;
    }
    for (fact, _) in facts(None) {
        compiler.define_global(fact, false).map_err(|error| error.to_string())?;
    }
    for (name, text) in SOURCES {
        compiler.new_namespace(name);
        compiler.add_source(*text).map_err(|error| format!("rules/{name}.yar: {error}"))?;
    }
    Ok(compiler.build())
}

/// What the rules may ask of a file.
fn facts(object: Option<&Object<'_>>) -> [(&'static str, bool); 14] {
    let ask = |fact: fn(&Object<'_>) -> bool| object.is_some_and(fact);
    [
        ("file_shown", ask(|object| object.shown)),
        ("file_turned", ask(|object| object.name.turned)),
        ("file_double", ask(|object| object.name.double)),
        ("file_padded", ask(|object| object.name.padded)),
        ("file_outward", ask(|object| object.name.outward)),
        ("file_encrypted", ask(|object| object.facts.encrypted)),
        ("file_broken", ask(|object| object.facts.broken)),
        ("file_unsupported", ask(|object| object.facts.unsupported)),
        ("file_ambiguous", ask(|object| object.facts.ambiguous)),
        ("file_hidden", ask(|object| object.facts.hidden)),
        ("file_sealed", ask(|object| object.facts.sealed)),
        ("file_macros", ask(|object| object.facts.macros)),
        ("file_sourceless", ask(|object| object.facts.sourceless)),
        ("file_formulas", ask(|object| object.facts.formulas)),
    ]
}

/// What the rules say of a file. `time` is what they may take, in whole seconds.
pub(crate) fn look(object: &Object<'_>, time: Duration) -> Result<Vec<Hit>, Silence> {
    // An engine is large, and not for two threads: each keeps its own.
    thread_local! {
        static SCANNER: RefCell<Option<Scanner<'static>>> = const { RefCell::new(None) };
    }
    SCANNER.with(|kept| {
        let mut kept = kept.try_borrow_mut().map_err(|_| Silence::Failed)?;
        // Whoever panics leaves no engine behind.
        let mut scanner = match kept.take() {
            Some(scanner) => scanner,
            None => Scanner::new(compiled().map_err(|_| Silence::Failed)?),
        };
        let result = apply(&mut scanner, object, time);
        if result.is_ok() {
            *kept = Some(scanner);
        }
        result
    })
}

fn apply(
    scanner: &mut Scanner<'static>,
    object: &Object<'_>,
    time: Duration,
) -> Result<Vec<Hit>, Silence> {
    let failed = |_| Silence::Failed;
    scanner.set_timeout(time.max(TICK).saturating_add(TICK));
    // Whether something is there is asked, and not how often.
    scanner.fast_scan(true);
    for (global, text) in [
        ("file_name", object.name.base.as_str()),
        ("file_extension", object.name.extension.as_str()),
        ("file_opening", object.name.opening.name()),
        ("file_format", object.format.name()),
        ("file_parent", object.parent.name()),
    ] {
        scanner.set_global(global, text).map_err(failed)?;
    }
    for (global, number) in [("file_depth", object.depth), ("file_siblings", object.siblings)] {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        scanner.set_global(global, number).map_err(failed)?;
    }
    for (global, fact) in facts(Some(object)) {
        scanner.set_global(global, fact).map_err(failed)?;
    }
    let content = match (object.format, object.name.opening) {
        (Format::Image | Format::Media, Opening::Shown | Opening::Unknown) => {
            at_most(object.content, 0, HEAD)
        }
        _ => object.content,
    };
    let results = scanner.scan(content).map_err(|error| match error {
        yara_x::ScanError::Timeout => Silence::Late,
        _ => Silence::Failed,
    })?;
    Ok(results.matching_rules().map(|rule| hit(rule.identifier(), rule.metadata())).collect())
}

fn hit<'r>(identifier: &str, metadata: impl Iterator<Item = (&'r str, MetaValue<'r>)>) -> Hit {
    let mut hit =
        Hit { name: identifier.to_owned(), reason: String::new(), weight: 5, found: false };
    for (key, value) in metadata {
        match (key, value) {
            ("name", MetaValue::String(name)) => hit.name = name.to_owned(),
            ("reason", MetaValue::String(reason)) => hit.reason = reason.to_owned(),
            ("weight", MetaValue::Integer(weight)) => {
                hit.weight = u8::try_from(weight.clamp(0, 10)).unwrap_or(10)
            }
            ("verdict", MetaValue::String(verdict)) => hit.found = verdict == "found",
            _ => {}
        }
    }
    hit
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every rule has what [`Hit`] needs, and a name of its own.
    #[test]
    fn every_rule_explains_itself() {
        let rules = compiled().unwrap();
        let mut names = BTreeSet::new();
        let mut count = 0;
        for rule in rules.iter() {
            let keys: BTreeSet<&str> = rule.metadata().map(|(key, _)| key).collect();
            assert_eq!(
                keys,
                BTreeSet::from(["name", "reason", "verdict", "weight"]),
                "{}",
                rule.identifier()
            );
            let hit = hit(rule.identifier(), rule.metadata());
            assert!(!hit.reason.ends_with('.') && !hit.reason.is_empty(), "{hit:?}");
            names.insert(hit.name);
            count += 1;
        }
        assert!(count > 30);
        assert!(names.len() > 25, "{names:?}");
    }
}
