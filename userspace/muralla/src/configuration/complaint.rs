//! What is wrong with a configuration: where, what, and what would be right.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;

use serde::Serialize;
use toml::Spanned;

/// Whether a complaint stops the configuration from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// The configuration is refused.
    Error,
    /// It is used, but probably not what was meant.
    Warning,
}

/// One complaint, at a range of bytes of the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Complaint {
    severity: Severity,
    span: Range<usize>,
    what: String,
    help: Option<String>,
}

/// Complaints as they are found; reading goes on after each, so that all are reported at once.
#[derive(Debug, Default)]
pub(crate) struct Complaints(RefCell<Vec<Complaint>>);

impl Complaints {
    pub(crate) fn error(
        &self,
        span: &Range<usize>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Error, span, what.into(), Some(help.into()));
    }

    pub(crate) fn warning(
        &self,
        span: &Range<usize>,
        what: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Warning, span, what.into(), Some(help.into()));
    }

    /// Complains of each element that stands before itself in a list.
    pub(crate) fn twice<T: fmt::Display + PartialEq>(&self, list: &[Spanned<T>]) {
        for (index, element) in list.iter().enumerate() {
            if list.iter().take(index).any(|before| before.get_ref() == element.get_ref()) {
                self.error(
                    &element.span(),
                    format!("{} is written twice", element.get_ref()),
                    "remove one of the two",
                );
            }
        }
    }

    pub(crate) fn syntax(&self, span: &Range<usize>, what: &str) {
        let help = syntax_help(what).map(str::to_owned);
        self.add(Severity::Error, span, what.to_owned(), help);
    }

    fn add(&self, severity: Severity, span: &Range<usize>, what: String, help: Option<String>) {
        self.0.borrow_mut().push(Complaint { severity, span: span.clone(), what, help });
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.0.borrow().iter().any(|complaint| complaint.severity == Severity::Error)
    }

    /// The complaints in the order of the file, ready to be shown.
    pub(crate) fn into_problems(self, file: &str, text: &str) -> Problems {
        let mut complaints = self.0.into_inner();
        complaints.sort_by_key(|complaint| complaint.span.start);
        complaints.dedup();
        Problems(complaints.into_iter().map(|complaint| complaint.locate(file, text)).collect())
    }
}

fn syntax_help(what: &str) -> Option<&'static str> {
    let has = |words: &str| what.contains(words);
    if has("duplicate key") {
        Some("write each key and each [table] once; repeated tables are written [[edge.interface]]")
    } else if has("must be quoted") || has("unquoted") || has("invalid ") {
        Some("put text, prefixes and durations between double quotes: \"100.64.0.0/16\"")
    } else if has("unclosed") || has("missing") || has("expected") {
        Some("TOML is written key = value, one a line; strings in \"...\", lists in [ , ]")
    } else {
        None
    }
}

/// Everything that is wrong with one file.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    /// A problem with the file as a whole.
    pub(crate) fn unreadable(file: &str, what: String, help: &str) -> Self {
        Self(vec![Problem {
            severity: Severity::Error,
            file: file.to_owned(),
            line: 1,
            column: 1,
            what,
            help: Some(help.to_owned()),
            source: String::new(),
            width: 0,
        }])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Each problem in one line, for a log.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(Problem::line)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// A complaint with its place in lines and columns, both from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) help: Option<String>,
    #[serde(skip)]
    source: String,
    #[serde(skip)]
    width: usize,
}

impl Problem {
    fn line(&self) -> String {
        let kind = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        let help = self.help.as_ref().map(|help| format!(" (help: {help})")).unwrap_or_default();
        format!("{}:{}:{}: {kind}{}{help}", self.file, self.line, self.column, self.what)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        writeln!(f, "{}:{}:{}: {kind}{}", self.file, self.line, self.column, self.what)?;
        if self.width > 0 {
            let gutter = self.line.to_string();
            let blank = " ".repeat(gutter.len());
            // Tabs stay tabs, so that the caret stands below what it points at.
            let indent: String = self
                .source
                .chars()
                .take(self.column.saturating_sub(1))
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            writeln!(f, " {gutter} | {}", self.source)?;
            writeln!(f, " {blank} | {indent}{}", "^".repeat(self.width))?;
        }
        if let Some(help) = &self.help {
            writeln!(f, "  help: {help}")?;
        }
        Ok(())
    }
}

impl Complaint {
    fn locate(self, file: &str, text: &str) -> Problem {
        let mut start = self.span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let before = text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let rest = text.get(line_start..).unwrap_or_default();
        let source = rest.lines().next().unwrap_or_default();
        let indent = before.get(line_start..).unwrap_or_default();
        let line_end = line_start + source.len();
        let end = self.span.end.clamp(start, line_end.max(start));
        let width = text.get(start..end).map_or(1, |marked| marked.chars().count()).max(1);
        Problem {
            severity: self.severity,
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: indent.chars().count() + 1,
            what: self.what,
            help: self.help,
            source: source.to_owned(),
            width,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_points_at_its_place() {
        let text = "[edge]\n\tcustomers = [\"é\", \"10.0.0.1/33\"]\n";
        let at = text.find("\"10.").unwrap();
        let complaints = Complaints::default();
        complaints.error(&(at..at + 13), "no prefix", "write 10.0.0.1/32");
        complaints.warning(&(0..6), "odd", "even");
        let problems = complaints.into_problems("m.toml", text);
        assert_eq!(
            problems.to_string(),
            "m.toml:1:1: warning: odd\n \
              1 | [edge]\n   \
                | ^^^^^^\n  \
               help: even\n\
             \nm.toml:2:20: no prefix\n \
              2 | \tcustomers = [\"é\", \"10.0.0.1/33\"]\n   \
                | \t                  ^^^^^^^^^^^^^\n  \
               help: write 10.0.0.1/32\n"
        );
        assert_eq!(
            problems.lines().last().unwrap(),
            "m.toml:2:20: no prefix (help: write 10.0.0.1/32)"
        );
    }

    #[test]
    fn a_place_outside_of_the_text_is_its_end() {
        for (text, span, line, column) in [
            ("", 0..0, 1, 1),
            ("", 5..9, 1, 1),
            ("é", 1..2, 1, 1),
            ("a\nb", 3..3, 2, 2),
            ("a\nb", 1..3, 1, 2),
        ] {
            let complaints = Complaints::default();
            complaints.error(&span, "x", "y");
            let problems = complaints.into_problems("f", text);
            let problem = problems.iter().next().unwrap();
            assert_eq!((problem.line, problem.column), (line, column), "{text:?} {span:?}");
        }
    }
}
