//! An error in the words that a person gets to see.

/// Lines of a long error that are kept at its beginning and at its end.
const KEPT: usize = 8;

/// The error and its causes, each once, and without the middle of a log (the kernel's verifier writes
/// thousands of lines, of which the first and the last say what is wrong).
pub(crate) fn words(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Many errors name their cause themselves.
        if text.contains(&cause) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&cause);
    }
    shorten(&text)
}

fn shorten(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let hidden = lines.len().saturating_sub(2 * KEPT);
    if hidden == 0 {
        return text.to_owned();
    }
    let first = lines.iter().take(KEPT).copied();
    let note = format!("[{hidden} lines left out]");
    let last = lines.iter().skip(KEPT + hidden).copied();
    first.chain([note.as_str()]).chain(last).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once_and_logs_are_shortened() {
        let error =
            anyhow::anyhow!("disk full").context("can't write: disk full").context("saving");
        assert_eq!(words(&error), "saving: can't write: disk full");
        let log: Vec<String> = (0..100).map(|line| format!("line {line}")).collect();
        let text = words(&anyhow::anyhow!(log.join("\n")));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2 * KEPT + 1);
        assert_eq!(
            (lines[0], lines[KEPT], lines[2 * KEPT]),
            ("line 0", "[84 lines left out]", "line 99")
        );
        assert_eq!(shorten("a\nb"), "a\nb");
    }
}
