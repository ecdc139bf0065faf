//! Figures of contenders that took turns: medians of the turns, and ratios of the same turn's.

use super::super::table::{Row, median, turn_by_turn};

/// What was measured of one contender in its turns.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Vec<(&'static str, Vec<f64>)>);

/// How a figure is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    /// How many times the first contender's ours has to be at least.
    pub(super) least: Option<f64>,
    /// Whether whoever asks may be what limits it.
    pub(super) asked: bool,
}

/// How busy the asking core was, of its time.
pub(super) const BUSY: &str = "generator.busy";

/// From this share on it is the limit.
pub(super) const LIMIT: f64 = 0.97;

impl Figure {
    /// One that is only told.
    pub(super) const fn plain(what: &'static str, unit: &'static str) -> Self {
        Self { what, unit, least: None, asked: false }
    }

    /// What is asked for, and has to be as much as the first contender's at least.
    pub(super) const fn ahead(what: &'static str, unit: &'static str) -> Self {
        Self { what, unit, least: Some(1.0), asked: true }
    }
}

impl Turns {
    /// Notes what a turn gave.
    pub(super) fn note(&mut self, what: &'static str, value: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == what) {
            Some((_, values)) => values.push(value),
            None => self.0.push((what, vec![value])),
        }
    }

    /// What all turns gave; nothing if it is not known.
    pub(super) fn values(&self, what: &str) -> &[f64] {
        let known = self.0.iter().find(|(known, _)| *known == what);
        known.map(|(_, values)| values.as_slice()).unwrap_or_default()
    }
}

/// Rows of all contenders, each beside the first one's. Their names are `place`, the contender's and the figure's.
pub(super) fn rows(place: &str, contenders: &[(&str, Turns)], figures: &[Figure]) -> Vec<Row> {
    let mut rows = Vec::new();
    let id = |name: &str, what: &str| format!("{place}.{name}.{what}");
    for (at, (name, turns)) in contenders.iter().enumerate() {
        let limited = median(turns.values(BUSY)) > LIMIT;
        let beside = contenders.first().filter(|_| at > 0);
        for figure in figures {
            let values = turns.values(figure.what);
            if values.is_empty() {
                continue;
            }
            let unit = match limited && figure.asked {
                true => format!("{} (generator at its limit)", figure.unit),
                false => figure.unit.to_owned(),
            };
            let mut row = Row::plain(id(name, figure.what), median(values), &unit);
            if let Some((other, others)) = beside
                && !others.values(figure.what).is_empty()
                && figure.what != BUSY
                // What is compared with nothing flushed has no ratio; a budget is never left out.
                && let ratio = turn_by_turn(values, others.values(figure.what))
                && (ratio.is_finite() || figure.least.is_some())
            {
                row.against = Some(id(other, figure.what));
                row.ratio = Some(ratio);
                row.budget = figure.least;
                row.within = figure.least.map(|least| ratio >= least);
            }
            rows.push(row);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_beside_the_first() {
        let [mut one, mut two] = [Turns::default(), Turns::default()];
        for (mine, theirs) in [(10.0, 15.0), (20.0, 10.0), (30.0, 60.0)] {
            one.note("rate", mine);
            two.note("rate", theirs);
            one.note("none", 0.0);
            two.note("none", mine);
        }
        one.note(BUSY, 0.5);
        two.note(BUSY, 0.99);
        two.note("only", 1.0);
        let figures = [
            Figure::ahead("rate", "messages/s"),
            Figure::plain("only", "ms"),
            Figure::plain("none", "flushes"),
            Figure::plain(BUSY, "of its core"),
        ];
        let rows = rows("a", &[("debian", one), ("ours", two)], &figures);
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(
            ids,
            [
                "a.debian.rate",
                "a.debian.none",
                "a.debian.generator.busy",
                "a.ours.rate",
                "a.ours.only",
                "a.ours.none",
                "a.ours.generator.busy"
            ]
        );
        assert_eq!((rows[0].value, rows[0].ratio, rows[0].within), (20.0, None, None));
        assert_eq!((rows[3].value, rows[3].ratio, rows[3].within), (15.0, Some(1.5), Some(true)));
        assert_eq!(rows[3].against.as_deref(), Some("a.debian.rate"));
        assert_eq!(rows[3].unit, "messages/s (generator at its limit)");
        assert_eq!((rows[5].value, rows[5].ratio), (20.0, None));
        assert_eq!((rows[4].against.as_deref(), rows[6].ratio), (None, None));
    }
}
