//! Lessons: who says what a message is.

use crate::class::Class;

/// A user of this installation.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct User(pub u64);

/// Days since 1970.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Day(pub u32);

/// Whose word it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Teacher {
    /// The operator's: traps, hand-sorted mail, and what other stages are sure of. Everybody learns from it.
    Operator,
    /// A user's. He learns from it himself; everybody does from the first few of a day, and less.
    User(User),
}

/// What a message is, by somebody's word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lesson {
    /// What it is.
    pub class: Class,
    /// Who says so.
    pub teacher: Teacher,
    /// How much that is to be believed: 1 for somebody who read the message, less for a guess. Taken within 0 and 1.
    pub weight: f32,
    /// When.
    pub day: Day,
}

impl Lesson {
    /// An operator's lesson of full weight.
    #[must_use]
    pub const fn of_operator(class: Class, day: Day) -> Self {
        Self { class, teacher: Teacher::Operator, weight: 1.0, day }
    }

    /// A user's lesson of full weight.
    #[must_use]
    pub const fn of_user(user: User, class: Class, day: Day) -> Self {
        Self { class, teacher: Teacher::User(user), weight: 1.0, day }
    }

    pub(crate) const fn user(&self) -> Option<User> {
        match self.teacher {
            Teacher::Operator => None,
            Teacher::User(user) => Some(user),
        }
    }

    /// Its weight, whatever was given.
    pub(crate) fn believed(&self) -> f32 {
        if self.weight.is_finite() { self.weight.clamp(0.0, 1.0) } else { 0.0 }
    }
}
