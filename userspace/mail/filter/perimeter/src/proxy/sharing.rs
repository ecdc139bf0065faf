//! Who gets which message: recipients for whom it has the same header fields share a transaction.

use muralla_mail_envelope::{EnhancedCode, Reply};

use crate::fields::HeaderField;
use crate::policy::Action;

/// What is done for the recipients of a message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Sharing {
    /// Those for whom it is passed on, by their places, with the fields that they get.
    pub(super) groups: Vec<(Vec<usize>, Vec<HeaderField>)>,
    /// What the others are told.
    pub(super) told: Vec<(usize, Reply)>,
}

impl Sharing {
    pub(super) fn of(actions: Vec<Action>) -> Self {
        let mut sharing = Self::default();
        for (recipient, action) in actions.into_iter().enumerate() {
            match action {
                Action::Pass { fields, .. } => {
                    match sharing.groups.iter_mut().find(|(_, known)| *known == fields) {
                        Some((group, _)) => group.push(recipient),
                        None => sharing.groups.push((vec![recipient], fields)),
                    }
                }
                Action::Later(reply) | Action::Refuse(reply) => {
                    sharing.told.push((recipient, reply));
                }
                Action::Quarantine { why, .. } => {
                    sharing.told.push((recipient, nobody_keeps(&why)))
                }
            }
        }
        sharing
    }
}

/// A proxy keeps nothing. No policy asks it to; if one did, the sender would still have the message.
pub(super) fn nobody_keeps(why: &str) -> Reply {
    Reply::new(451, Some(EnhancedCode::new(4, 7, 1)), why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Place;

    #[test]
    fn by_fields() {
        let pass = |fields: &[(&str, &str)]| Action::Pass {
            place: Place::Inbox,
            fields: fields.iter().map(|(a, b)| HeaderField::new(a, b).unwrap()).collect(),
        };
        let no = Reply::new(550, None, "no");
        let (one, other) = (pass(&[("A", "1")]), pass(&[("A", "2")]));
        let sharing = Sharing::of(vec![
            one.clone(),
            other,
            Action::Refuse(no.clone()),
            one,
            Action::Quarantine { why: "a program".to_owned(), fields: Vec::new() },
        ]);
        let groups: Vec<&[usize]> = sharing.groups.iter().map(|(group, _)| &group[..]).collect();
        assert_eq!(groups, [&[0, 3][..], &[1]]);
        assert_eq!(sharing.told[0], (2, no));
        assert!(sharing.told[1].1.is_temporary());
        assert_eq!(Sharing::of(Vec::new()), Sharing::default());
    }
}
