//! DNS queries in masses: what is asked, how often, and what came of it; [`radius`], the same for RADIUS; and mail, by [`smtp`] and
//! [`pop3`], and by [`numbered`], whose messages are known one by one.
//!
//! - [`saturation`]: as fast as a server answers, to find out how much that is
//! - [`steady`]: at a rate, whatever comes back, to find out how long answers take

pub mod numbered;
pub mod pop3;
pub mod radius;
pub mod saturation;
pub mod smtp;
pub mod steady;

use crate::frames::dns::Query;
use crate::histogram::Histogram;
use crate::random::Random;

/// What is asked: messages with an id of zero, and in which order.
#[derive(Clone, Debug)]
pub struct Load {
    queries: Vec<Vec<u8>>,
    order: Vec<u32>,
}

impl Load {
    /// Every question once, in the order given.
    pub fn once(questions: &[(String, u16)]) -> Self {
        let queries: Vec<Vec<u8>> =
            questions.iter().map(|(name, kind)| Query::new(name, *kind).id(0).encode()).collect();
        Self { order: (0..queries.len() as u32).collect(), queries }
    }

    /// `length` draws from the questions by Zipf's law with an exponent of one: the question at place n is
    /// asked in proportion to 1/n, as names of the Internet are. The same seed gives the same draws.
    pub fn zipf(questions: &[(String, u16)], length: usize, seed: u64) -> Self {
        let mut load = Self::once(questions);
        let mut sum = 0.0;
        let cumulative: Vec<f64> = (1..=load.queries.len())
            .map(|place| {
                sum += 1.0 / place as f64;
                sum
            })
            .collect();
        let mut random = Random::seeded(seed);
        load.order = (0..length)
            .map(|_| {
                let drawn = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64 * sum;
                cumulative.partition_point(|&up_to| up_to <= drawn) as u32
            })
            .collect();
        load
    }

    /// How many queries that is until they begin again.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The question of that number, of all that are asked in turn.
    fn question(&self, number: u64) -> Option<u32> {
        self.order.get(number.checked_rem(self.order.len() as u64)? as usize).copied()
    }

    fn query(&self, question: u32) -> Option<&[u8]> {
        self.queries.get(question as usize).map(Vec::as_slice)
    }
}

/// What came of queries.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Queries sent.
    pub sent: u64,
    /// Answers by response code.
    pub codes: [u64; 16],
    /// Answers with TC set, which are among `codes`, too.
    pub truncated: u64,
    /// Queries without an answer in time.
    pub lost: u64,
    /// Answers that were none: another question, or no response.
    pub wrong: u64,
    /// From the query to its answer, in microseconds.
    pub latencies: Histogram,
}

/// Response code of a positive answer, and of one that says that the name has no such data.
const NOERROR: usize = 0;
/// Response code of a name that doesn't exist.
const NXDOMAIN: usize = 3;

impl Outcome {
    /// Answers of any code.
    pub fn answers(&self) -> u64 {
        self.codes.iter().sum()
    }

    /// Answers that a user can do something with: whole, and NOERROR or NXDOMAIN.
    pub fn good(&self) -> u64 {
        let [noerror, nxdomain] =
            [NOERROR, NXDOMAIN].map(|code| self.codes.get(code).copied().unwrap_or_default());
        (noerror + nxdomain).saturating_sub(self.truncated)
    }

    /// Share of the ended queries that were answered well, from 0 to 1; 1 if none has ended.
    pub fn success(&self) -> f64 {
        match self.answers() + self.lost + self.wrong {
            0 => 1.0,
            ended => self.good() as f64 / ended as f64,
        }
    }

    /// Latency in milliseconds that this share of the answers stayed within.
    pub fn quantile(&self, share: f64) -> f64 {
        self.latencies.quantile(share) as f64 / 1e3
    }

    /// Adds another outcome.
    pub fn add(&mut self, more: &Self) {
        self.sent += more.sent;
        for (mine, theirs) in self.codes.iter_mut().zip(more.codes) {
            *mine += theirs;
        }
        self.truncated += more.truncated;
        self.lost += more.lost;
        self.wrong += more.wrong;
        self.latencies.merge(&more.latencies);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions(count: usize) -> Vec<(String, u16)> {
        (0..count).map(|number| (format!("n{number}.example"), 1)).collect()
    }

    #[test]
    fn draws_follow_zipf() {
        let load = Load::zipf(&questions(1_000), 100_000, 7);
        let mut counts = vec![0_u32; 1_000];
        for &question in &load.order {
            counts[question as usize] += 1;
        }
        // The harmonic number of 1,000 is 7.485.
        for (place, expected) in [(1, 13_360.0), (2, 6_680.0), (10, 1_336.0), (100, 133.6)] {
            let found = f64::from(counts[place - 1]);
            assert!((found / expected - 1.0).abs() < 0.25, "place {place}: {found}");
        }
        assert_eq!(load.order, Load::zipf(&questions(1_000), 100_000, 7).order);
    }

    #[test]
    fn questions_come_round_again() {
        let load = Load::once(&questions(3));
        let asked: Vec<u32> = (0..7).filter_map(|number| load.question(number)).collect();
        assert_eq!(asked, [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(Load::once(&[]).question(0), None);
    }

    #[test]
    fn what_is_a_success() {
        let mut outcome = Outcome { lost: 1, truncated: 1, ..Outcome::default() };
        outcome.codes[0] = 6;
        outcome.codes[2] = 2;
        outcome.codes[3] = 1;
        assert_eq!((outcome.answers(), outcome.good(), outcome.success()), (9, 6, 0.6));
        assert!((Outcome::default().success() - 1.0).abs() < f64::EPSILON);
    }
}
