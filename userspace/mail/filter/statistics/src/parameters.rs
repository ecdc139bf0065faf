//! What a model is made with. A file carries its own, so that it goes on as it began.

/// Sizes, rates and limits of a model. The defaults were measured; see `examples/online.rs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameters {
    /// Slots for words and pairs, as a power of two: 4 to 24. A slot takes 16 octets.
    pub lexicon_bits: u8,
    /// Slots for four letters, as a power of two: 4 to 26. A slot takes 4 octets.
    pub gram_bits: u8,
    /// Slots for runs of three to six letters, as a power of two: 4 to 26. A slot takes 4 octets.
    pub context_bits: u8,
    /// Slots for what users have to say, as a power of two: 4 to 26. A slot takes 8 octets.
    pub personal_bits: u8,
    /// Words back to which words of the text are paired: 0 to 4.
    pub body_window: u8,
    /// Words back to which words of a header field are paired: 0 to 4.
    pub header_window: u8,
    /// Pieces of a message that are looked at: at most 8,192.
    pub most_tokens: u16,
    /// Octets of text that are taken to pieces.
    pub most_body: u32,
    /// Octets of HTML that are taken to pieces.
    pub most_markup: u32,
    /// Octets of header, of text and of HTML that are read letter by letter: at most 8,192 together.
    pub gram_header: u16,
    /// See `gram_header`.
    pub gram_body: u16,
    /// See `gram_header`.
    pub gram_markup: u16,
    /// How fast letters are learned.
    pub gram_rate: f32,
    /// How fast words are learned.
    pub word_alpha: f32,
    /// What the words of a message count together: the higher, the faster they are learned.
    pub word_scale: f32,
    /// How much the first lessons count more than later ones: the higher, the less.
    pub word_beta: f32,
    /// How much a word must have to say before it is heard.
    pub word_l1: f32,
    /// How much big weights are held back.
    pub word_l2: f32,
    /// Lessons that a word without lessons of its own is thought to have had, half of each class.
    pub count_strength: f32,
    /// Words nearer to an even chance than this are not counted: 0 to 0.5.
    pub count_deviation: f32,
    /// Longest run of letters whose followers are counted: 1 to 6.
    pub context_longest: u8,
    /// Times that a run must have been met to be believed half.
    pub context_trust: f32,
    /// Hard lessons that are kept to be learned again. One takes up to 48 KB.
    pub rehearsed: u16,
    /// How many of them are learned again with every lesson.
    pub rehearsals: u8,
    /// A lesson is hard if the probability was off by more: 0 to 1.
    pub hard: f32,
    /// Weight with which every learner begins.
    pub fusion_weight: f32,
    /// How fast it is learned whom to believe.
    pub fusion_rate: f32,
    /// Log-odds beyond which a learner's word counts little more.
    pub squash: f32,
    /// A lesson of which a learner's probability is off by less is not learned by it again: 0 to 0.5.
    pub margin: f32,
    /// Lessons of each class after which a model dares half of what it will dare later.
    pub youth: f32,
    /// How fast users' own lessons are learned.
    pub personal_rate: f32,
    /// The most log-odds by which a user's own lessons move a score.
    pub personal_most: f32,
    /// Lessons of one user that reach everybody in one day: at most 255.
    pub daily_lessons: u8,
    /// How much a user's lesson counts for everybody, of an operator's: 0 to 1.
    pub user_weight: f32,
}

/// A parameter that is out of its range.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the parameter {0} is out of its range")]
pub struct ParametersError(pub &'static str);

impl Parameters {
    /// Whether all of them are within their ranges.
    pub(crate) fn check(&self) -> Result<(), ParametersError> {
        let letters = [self.gram_header, self.gram_body, self.gram_body / 2, self.gram_markup];
        let letters: u32 = letters.into_iter().map(u32::from).sum();
        let within = |number: f32, least: f32, most: f32| (least..=most).contains(&number);
        for (name, right) in [
            ("lexicon_bits", (4..=24).contains(&self.lexicon_bits)),
            ("gram_bits", (4..=26).contains(&self.gram_bits)),
            ("context_bits", (4..=26).contains(&self.context_bits)),
            ("personal_bits", (4..=26).contains(&self.personal_bits)),
            ("body_window", self.body_window <= 4),
            ("header_window", self.header_window <= 4),
            ("most_tokens", self.most_tokens <= 8192),
            ("most_body", self.most_body <= 1 << 20),
            ("most_markup", self.most_markup <= 1 << 20),
            ("gram_body", letters <= 8192),
            ("gram_rate", within(self.gram_rate, 0.0, 10.0)),
            ("word_alpha", within(self.word_alpha, 1e-6, 100.0)),
            ("word_scale", within(self.word_scale, 0.01, 1000.0)),
            ("word_beta", within(self.word_beta, 1e-6, 100.0)),
            ("word_l1", within(self.word_l1, 0.0, 100.0)),
            ("word_l2", within(self.word_l2, 0.0, 100.0)),
            ("count_strength", within(self.count_strength, 0.01, 100.0)),
            ("count_deviation", within(self.count_deviation, 0.0, 0.5)),
            ("context_longest", (1..=6).contains(&self.context_longest)),
            ("context_trust", within(self.context_trust, 1e-3, 1000.0)),
            ("rehearsed", self.rehearsed <= 4096),
            ("hard", within(self.hard, 0.0, 1.0)),
            ("fusion_weight", within(self.fusion_weight, 0.0, 40.0)),
            ("fusion_rate", within(self.fusion_rate, 0.0, 10.0)),
            ("margin", within(self.margin, 0.0, 0.5)),
            ("squash", within(self.squash, 0.1, 1000.0)),
            ("youth", within(self.youth, 0.0, 1e6)),
            ("personal_rate", within(self.personal_rate, 0.0, 10.0)),
            ("personal_most", within(self.personal_most, 0.0, 20.0)),
            ("user_weight", within(self.user_weight, 0.0, 1.0)),
        ] {
            if !right {
                return Err(ParametersError(name));
            }
        }
        Ok(())
    }

    /// Octets of memory that a model takes, at most.
    #[must_use]
    pub const fn memory(&self) -> u64 {
        (16 << self.lexicon_bits)
            + (4 << self.gram_bits)
            + (4 << self.context_bits)
            + (8 << self.personal_bits)
            + (48 << 10) * self.rehearsed as u64
            + (1 << 20)
    }
}

/// How all parameters are written and read: one behind the other, big-endian.
macro_rules! encoding {
    ($($name:ident: $kind:ty),* $(,)?) => {
        impl Parameters {
            /// Octets that they take in a file.
            pub(crate) const ENCODED: usize = 0 $(+ size_of::<$kind>())*;

            pub(crate) fn encode(&self) -> Vec<u8> {
                let mut octets = Vec::with_capacity(Self::ENCODED);
                $(octets.extend_from_slice(&self.$name.to_be_bytes());)*
                octets
            }

            /// Reads them, and checks that they are within their ranges.
            pub(crate) fn decode(octets: &[u8; Self::ENCODED]) -> Result<Self, ParametersError> {
                let mut rest = octets.as_slice();
                let mut parameters = Self::default();
                $(
                    let (first, behind) =
                        rest.split_first_chunk().ok_or(ParametersError(stringify!($name)))?;
                    parameters.$name = <$kind>::from_be_bytes(*first);
                    rest = behind;
                )*
                debug_assert!(rest.is_empty());
                parameters.check()?;
                Ok(parameters)
            }
        }
    };
}

encoding! {
    lexicon_bits: u8,
    gram_bits: u8,
    context_bits: u8,
    personal_bits: u8,
    body_window: u8,
    header_window: u8,
    most_tokens: u16,
    most_body: u32,
    most_markup: u32,
    gram_header: u16,
    gram_body: u16,
    gram_markup: u16,
    gram_rate: f32,
    word_alpha: f32,
    word_scale: f32,
    word_beta: f32,
    word_l1: f32,
    word_l2: f32,
    count_strength: f32,
    count_deviation: f32,
    context_longest: u8,
    context_trust: f32,
    rehearsed: u16,
    rehearsals: u8,
    hard: f32,
    fusion_weight: f32,
    fusion_rate: f32,
    squash: f32,
    margin: f32,
    youth: f32,
    personal_rate: f32,
    personal_most: f32,
    daily_lessons: u8,
    user_weight: f32,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            lexicon_bits: 19,
            gram_bits: 20,
            context_bits: 21,
            personal_bits: 18,
            body_window: 1,
            header_window: 2,
            most_tokens: 6000,
            most_body: 16_384,
            most_markup: 16_384,
            gram_header: 1024,
            gram_body: 2000,
            gram_markup: 0,
            gram_rate: 0.012,
            word_alpha: 0.5,
            word_scale: 8.0,
            word_beta: 1.0,
            word_l1: 0.001,
            word_l2: 0.0001,
            count_strength: 0.1,
            count_deviation: 0.1,
            context_longest: 6,
            context_trust: 1.0,
            rehearsed: 128,
            rehearsals: 8,
            hard: 0.3,
            fusion_weight: 4.0,
            fusion_rate: 0.003,
            squash: 10.0,
            margin: 0.0,
            youth: 100.0,
            personal_rate: 0.5,
            personal_most: 6.0,
            daily_lessons: 20,
            user_weight: 0.5,
        }
    }
}
