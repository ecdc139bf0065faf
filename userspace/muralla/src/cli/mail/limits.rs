//! How much may be sent, on the command line.

use clap::Args;
use muralla_mail_directory::SendingLimits;

/// How much may be sent. What is not named stays as it is.
#[derive(Args, Clone, Copy, Debug, Default)]
pub(crate) struct LimitItems {
    /// Messages that an account may send in an hour; 0 for no limit, none for what stands above: the domain's, or the configuration's.
    #[arg(long, value_name = "NUMBER", value_parser = limit)]
    messages_per_hour: Option<Limit>,
    /// The same in a day.
    #[arg(long, value_name = "NUMBER", value_parser = limit)]
    messages_per_day: Option<Limit>,
    /// Recipients in an hour, each message's counted.
    #[arg(long, value_name = "NUMBER", value_parser = limit)]
    recipients_per_hour: Option<Limit>,
    /// The same in a day.
    #[arg(long, value_name = "NUMBER", value_parser = limit)]
    recipients_per_day: Option<Limit>,
    /// Recipients of one message.
    #[arg(long, value_name = "NUMBER", value_parser = limit)]
    recipients_per_message: Option<Limit>,
}

/// None is what stands above.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Limit(Option<u32>);

impl LimitItems {
    /// Changes what was named.
    pub(crate) fn apply(&self, limits: &mut SendingLimits) {
        for (given, limit) in [
            (self.messages_per_hour, &mut limits.messages_per_hour),
            (self.messages_per_day, &mut limits.messages_per_day),
            (self.recipients_per_hour, &mut limits.recipients_per_hour),
            (self.recipients_per_day, &mut limits.recipients_per_day),
            (self.recipients_per_message, &mut limits.recipients_per_message),
        ] {
            if let Some(Limit(given)) = given {
                *limit = given;
            }
        }
    }
}

fn limit(text: &str) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    let number = text.parse().map_err(
        |_| "a number, 0 for no limit, or none for what the domain or the configuration says",
    )?;
    Ok(Limit(Some(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_changed_and_nothing_else() {
        let mut limits = SendingLimits { messages_per_day: Some(7), ..SendingLimits::USUAL };
        let items = LimitItems {
            messages_per_hour: Some(limit("0").unwrap()),
            recipients_per_day: Some(limit("none").unwrap()),
            recipients_per_message: Some(limit("5").unwrap()),
            ..LimitItems::default()
        };
        items.apply(&mut limits);
        let expected = SendingLimits {
            messages_per_hour: Some(0),
            messages_per_day: Some(7),
            recipients_per_day: None,
            recipients_per_message: Some(5),
            ..SendingLimits::USUAL
        };
        assert_eq!(limits, expected);
        assert!(limit("many").is_err() && limit("-1").is_err() && limit("4294967296").is_err());
    }
}
