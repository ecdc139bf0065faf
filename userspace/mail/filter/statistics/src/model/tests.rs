//! What a model promises, whatever it learns from.

use proptest::prelude::*;

use crate::class::Class;
use crate::hash::Key;
use crate::lesson::{Day, Lesson, Teacher, User};
use crate::model::{Model, Score};
use crate::parameters::Parameters;
use crate::scratch::Scratch;
use crate::text::Text;

const DAY: Day = Day(20_000);

/// A model that fits into a test.
pub(crate) fn small() -> Model {
    let parameters = Parameters {
        lexicon_bits: 14,
        gram_bits: 14,
        context_bits: 14,
        personal_bits: 12,
        rehearsed: 20,
        ..Parameters::default()
    };
    Model::new(Key::new(b"a test"), parameters).unwrap()
}

/// Ten pairs of messages, none like the other.
pub(crate) fn taught() -> Model {
    let mut model = small();
    let mut scratch = Scratch::new();
    for turn in 0..40 {
        let (ham, spam) = (ham(turn), spam(turn));
        let lesson = |class| Lesson::of_operator(class, Day(DAY.0 + turn / 10));
        model.learn(&ham.text(), &lesson(Class::Ham), &mut scratch);
        model.learn(&spam.text(), &lesson(Class::Spam), &mut scratch);
    }
    model
}

pub(crate) struct Letter {
    fields: Vec<(&'static str, String)>,
    body: String,
}

impl Letter {
    pub(crate) fn text(&self) -> Text<'_> {
        // Tests don't mind the leak.
        let fields: Vec<(&str, &str)> =
            self.fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Text { fields: Vec::leak(fields), body: &self.body, ..Text::default() }
    }
}

const PEOPLE: [&str; 5] = ["anna", "bruno", "clara", "david", "elena"];
const MATTERS: [&str; 5] =
    ["the minutes", "our kernel patch", "dinner", "the invoice", "a lecture"];
const GOODS: [&str; 5] = ["pills", "a mortgage", "a degree", "casino chips", "watches"];

fn of<'a>(list: &[&'a str; 5], turn: u32, step: u32) -> &'a str {
    list[((turn / step) % 5) as usize]
}

pub(crate) fn ham(turn: u32) -> Letter {
    let (person, matter) = (of(&PEOPLE, turn, 1), of(&MATTERS, turn, 5));
    Letter {
        fields: vec![
            ("From", format!("{person} <{person}@example.org>")),
            ("Subject", format!("Re: {matter}")),
        ],
        body: format!(
            "Hello, I have read {matter} and will call you on day {turn}. Thanks, {person}"
        ),
    }
}

pub(crate) fn spam(turn: u32) -> Letter {
    let goods = of(&GOODS, turn, 1);
    Letter {
        fields: vec![
            ("From", format!("Offers <win{turn}@bulk.example>")),
            ("Subject", format!("BUY {goods} NOW!!!")),
        ],
        body: format!(
            "Dear friend, {goods} at 80% off! Click http://{turn}.bulk.example/buy today"
        ),
    }
}

fn score(model: &Model, letter: &Letter, user: Option<User>) -> Score {
    model.score(&letter.text(), user, &mut Scratch::new())
}

#[test]
fn a_model_that_learned_nothing_is_neutral() {
    let model = small();
    for text in [ham(1).text(), spam(1).text(), Text::default()] {
        let score = model.score(&text, Some(User(1)), &mut Scratch::new());
        assert_eq!((score.log_odds, score.probability), (0.0, 0.5));
    }
    let evidence = model.explain(&spam(1).text(), 5, &mut Scratch::new());
    assert!(evidence.spam.is_empty() && evidence.ham.is_empty());
}

#[test]
fn what_was_taught_is_known() {
    let model = taught();
    for turn in 100..120 {
        assert!(score(&model, &ham(turn), None).probability < 0.1, "{turn}");
        assert!(score(&model, &spam(turn), None).probability > 0.9, "{turn}");
    }
    assert_eq!((model.tally().ham, model.tally().spam), (40, 40));
    let days: Vec<u32> = model.tally().days.iter().map(|daily| daily.day.0 - DAY.0).collect();
    assert_eq!(days, [0, 1, 2, 3]);
}

#[test]
fn both_classes_are_learned_alike() {
    // The same lessons with the classes exchanged: the same scores with the sign exchanged.
    let (mut one, mut other) = (small(), small());
    let mut scratch = Scratch::new();
    for turn in 0..20 {
        for (letter, class) in [(ham(turn), Class::Ham), (spam(turn), Class::Spam)] {
            one.learn(&letter.text(), &Lesson::of_operator(class, DAY), &mut scratch);
            let lesson = Lesson::of_operator(class.opposite(), DAY);
            other.learn(&letter.text(), &lesson, &mut scratch);
        }
    }
    for letter in [ham(50), spam(50)] {
        let (one, other) = (score(&one, &letter, None), score(&other, &letter, None));
        assert!((one.log_odds + other.log_odds).abs() < 0.01, "{one:?} {other:?}");
    }
}

#[test]
fn the_same_lessons_make_the_same_model() {
    let written = |model: &Model| {
        let mut octets = Vec::new();
        model.write(&mut octets).unwrap();
        octets
    };
    assert!(written(&taught()) == written(&taught()));
}

#[test]
fn judging_changes_nothing() {
    let model = taught();
    let mut scratch = Scratch::new();
    let first = model.score(&spam(3).text(), None, &mut scratch);
    // Whatever the scratch was used for before.
    let _ = model.score(&ham(3).text(), Some(User(1)), &mut scratch);
    assert_eq!(model.score(&spam(3).text(), None, &mut scratch), first);
    assert_eq!(model.score(&spam(3).text(), None, &mut Scratch::new()), first);
}

#[test]
fn lessons_can_be_taken_back() {
    let model = taught();
    let before = score(&model, &ham(3), None).log_odds;
    let lesson = Lesson::of_operator(Class::Spam, DAY);
    let mut scratch = Scratch::new();
    let mut misled = model.clone();
    for _ in 0..3 {
        misled.learn(&ham(3).text(), &lesson, &mut scratch);
    }
    let wrong = score(&misled, &ham(3), None).log_odds;
    for _ in 0..3 {
        misled.unlearn(&ham(3).text(), &lesson, &mut scratch);
    }
    let after = score(&misled, &ham(3), None).log_odds;
    assert!(wrong > before + 1.0, "{before} {wrong}");
    assert!(after < before + (wrong - before) / 2.0, "{before} {wrong} {after}");
    assert_eq!(misled.tally().spam, model.tally().spam);
}

#[test]
fn users_lessons_are_theirs() {
    let mut model = taught();
    let (user, other) = (User(1), User(2));
    // Enough of them that nothing reaches everybody any more.
    let mut scratch = Scratch::new();
    model.parameters.daily_lessons = 0;
    let before = score(&model, &spam(3), None);
    for _ in 0..5 {
        let lesson = Lesson::of_user(user, Class::Ham, DAY);
        let learned = model.learn(&spam(3).text(), &lesson, &mut scratch);
        assert!(!learned.common);
    }
    assert!(score(&model, &spam(3), Some(user)).log_odds < before.log_odds - 1.0);
    assert_eq!(score(&model, &spam(3), Some(other)), before);
    assert_eq!(score(&model, &spam(3), None), before);
}

#[test]
fn one_users_influence_has_a_limit() {
    let honest = taught();
    let attack = |lessons: u32| {
        let mut model = honest.clone();
        let mut scratch = Scratch::new();
        for turn in 0..lessons {
            let lesson = Lesson::of_user(User(666), Class::Ham, DAY);
            model.learn(&spam(turn).text(), &lesson, &mut scratch);
        }
        score(&model, &spam(77), Some(User(1))).log_odds
    };
    let daily = u32::from(honest.parameters().daily_lessons);
    assert_eq!(attack(daily), attack(daily + 1));
    assert_eq!(attack(daily), attack(1000));
    // And the lessons of many days are needed to turn it round.
    assert!(attack(3) > 0.0);
}

#[test]
fn a_users_lesson_counts_less_than_an_operators() {
    let model = taught();
    let mut scratch = Scratch::new();
    let mut moved = |teacher| {
        let mut model = model.clone();
        let lesson = Lesson { class: Class::Ham, teacher, weight: 1.0, day: DAY };
        model.learn(&spam(3).text(), &lesson, &mut scratch);
        score(&model, &spam(3), None).log_odds
    };
    let (user, operator) = (moved(Teacher::User(User(1))), moved(Teacher::Operator));
    assert!(operator < user, "{operator} {user}");
}

#[test]
fn lessons_without_weight_teach_nothing() {
    let model = taught();
    for weight in [0.0, -1.0, f32::NAN, f32::NEG_INFINITY] {
        for teacher in [Teacher::Operator, Teacher::User(User(1))] {
            let mut other = model.clone();
            let lesson = Lesson { class: Class::Ham, teacher, weight, day: DAY };
            other.learn(&spam(3).text(), &lesson, &mut Scratch::new());
            let user = Some(User(1));
            assert_eq!(score(&other, &spam(3), user), score(&model, &spam(3), user));
        }
    }
}

#[test]
fn evidence_is_in_the_messages_own_words() {
    let model = taught();
    let evidence = model.explain(&spam(123).text(), 4, &mut Scratch::new());
    let texts: Vec<&str> = evidence.spam.iter().map(|piece| piece.text.as_str()).collect();
    assert_eq!(texts.len(), 4);
    assert!(evidence.spam.windows(2).all(|pair| pair[0].log_odds >= pair[1].log_odds), "{texts:?}");
    let all = model.explain(&spam(123).text(), 1000, &mut Scratch::new());
    let texts: Vec<&str> = all.spam.iter().map(|piece| piece.text.as_str()).collect();
    for text in ["friend", "subject: buy", "dear friend", "link: .bulk.example"] {
        assert!(texts.contains(&text), "{text}: {texts:?}");
    }
    assert!(!texts.iter().any(|text| text.contains("minutes")));
}

#[test]
fn order_matters_little() {
    let mut other = small();
    let mut scratch = Scratch::new();
    for turn in (0..40).rev() {
        for (letter, class) in [(spam(turn), Class::Spam), (ham(turn), Class::Ham)] {
            other.learn(&letter.text(), &Lesson::of_operator(class, DAY), &mut scratch);
        }
    }
    let model = taught();
    for letter in [ham(60), spam(60)] {
        let (one, other) = (score(&model, &letter, None), score(&other, &letter, None));
        assert!((one.log_odds - other.log_odds).abs() < 1.5, "{one:?} {other:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Nothing that anybody sends or teaches breaks a model.
    #[test]
    fn anything(
        lessons in proptest::collection::vec(
            ("\\PC{0,40}", "(?s).{0,300}", "(?s)[<>=\"' a-z/:.@&!]{0,200}", any::<bool>(), 0_u64..3),
            0..12,
        ),
    ) {
        let mut model = small();
        let mut scratch = Scratch::new();
        for (subject, body, markup, spam, user) in &lessons {
            let fields = [("Subject", subject.as_str()), (subject.as_str(), body.as_str())];
            let text = Text {
                fields: &fields,
                body,
                clear: markup,
                markup,
                extra: &[subject.as_str()],
            };
            let class = if *spam { Class::Spam } else { Class::Ham };
            model.learn(&text, &Lesson::of_user(User(*user), class, DAY), &mut scratch);
            let score = model.score(&text, Some(User(*user)), &mut scratch);
            prop_assert!(score.log_odds.is_finite() && (0.0..=1.0).contains(&score.probability));
            for piece in model.explain(&text, 10, &mut scratch).spam {
                prop_assert!(piece.log_odds.is_finite() && !piece.text.contains('\n'));
            }
        }
    }
}
