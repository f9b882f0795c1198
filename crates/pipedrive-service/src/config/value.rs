//! Values of settings, how they are written, and what is expected of them. Knows nothing of any one service.

use std::{collections::BTreeMap, fmt, time::Duration};

use secrecy::SecretString;

/// What a setting may hold.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number within bounds, both included.
    Number(u64, u64),
    /// A number from 0 to 1.
    Fraction,
    /// A number of at least 0 and below 1.
    Part,
    /// Numbers from 0 to 1 in rising order: a list in a file, `0.8,0.95` elsewhere; `none` for no number at all.
    Fractions,
    /// A time within bounds given in milliseconds; a bare number counts in the unit of the place where it stands.
    Time(u64, u64),
    /// A number of bytes within bounds: `1048576`, `32MiB`.
    Size(u64, u64),
    /// One of some words.
    Choice(&'static [&'static str]),
    /// A text that passes a check; the first part says what is expected.
    Text(&'static str, fn(&str) -> bool),
    /// A text that is never shown.
    Secret,
    /// A text that passes a check and is never shown, because it may hold a secret.
    Veiled(&'static str, fn(&str) -> bool),
    /// Names, separated by commas, each of which passes a check.
    Names(&'static str, fn(&str) -> bool),
    /// Numbers by name, where each name passes a check: a table in a file, `a=1,b=2` elsewhere.
    Numbers(&'static str, fn(&str) -> bool),
}

/// The unit of a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds; also for what is not a time.
    Seconds,
    /// Milliseconds.
    Millis,
}

/// A value that was understood.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing was set and there is no default.
    Unset,
    /// A switch.
    Switch(bool),
    /// A whole number.
    Number(u64),
    /// A number from 0 to 1.
    Fraction(f64),
    /// Numbers from 0 to 1 in rising order.
    Fractions(Vec<f64>),
    /// A time.
    Time(Duration),
    /// A text.
    Text(String),
    /// A secret.
    Secret(SecretString),
    /// Names.
    Names(Vec<String>),
    /// Numbers by name.
    Numbers(BTreeMap<String, u64>),
}

impl fmt::Display for Value {
    /// What may be shown: never a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("(not set)"),
            Self::Switch(on) => write!(f, "{on}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Fraction(fraction) => write!(f, "{fraction}"),
            Self::Fractions(fractions) if fractions.is_empty() => f.write_str("none"),
            Self::Fractions(fractions) => {
                let texts: Vec<_> = fractions.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join(","))
            }
            Self::Time(time) => write!(f, "{time:?}"),
            Self::Text(text) => f.write_str(text),
            Self::Secret(_) => f.write_str("(secret)"),
            Self::Names(names) => f.write_str(&names.join(",")),
            Self::Numbers(numbers) => {
                let pairs: Vec<_> =
                    numbers.iter().map(|(name, number)| format!("{name}={number}")).collect();
                f.write_str(&pairs.join(","))
            }
        }
    }
}

/// A value that was not understood. It never holds the value.
pub(super) struct Misfit;

impl Kind {
    /// Whether values of this kind are never shown.
    #[must_use]
    pub const fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Veiled(..))
    }

    /// What is expected, as the end of a sentence that begins with "expected".
    #[must_use]
    pub fn expects(self, unit: Unit) -> String {
        let span = |millis: u64| match unit {
            Unit::Millis => millis.to_string(),
            Unit::Seconds => (millis / 1000).to_string(),
        };
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Number(least, most) if most == u64::MAX => {
                format!("a whole number of at least {least}")
            }
            Self::Number(least, most) => format!("a whole number from {least} to {most}"),
            Self::Fraction => "a number from 0 to 1".to_owned(),
            Self::Part => "a number of at least 0 and below 1".to_owned(),
            Self::Fractions => {
                "numbers from 0 to 1 in rising order, separated by commas, or none".to_owned()
            }
            Self::Time(least, most) => {
                let name = if unit == Unit::Millis { "milliseconds" } else { "seconds" };
                let least = if least > 0 && least < 1000 && unit == Unit::Seconds {
                    format!("{least}ms")
                } else {
                    span(least)
                };
                format!("{name} from {least} to {}, or a time such as 500ms or 2m", span(most))
            }
            Self::Size(least, most) => {
                format!("bytes from {least} to {most}, or a size such as 32MiB")
            }
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Text(expected, _)
            | Self::Veiled(expected, _)
            | Self::Names(expected, _)
            | Self::Numbers(expected, _) => expected.to_owned(),
            Self::Secret => "a text that is not empty".to_owned(),
        }
    }

    /// Reads a text: from the environment, a builder, or a default.
    pub(super) fn read(self, text: &str, unit: Unit) -> Result<Value, Misfit> {
        let text = text.trim();
        match self {
            Self::Switch => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(Value::Switch(true)),
                "false" | "0" | "no" | "off" => Ok(Value::Switch(false)),
                _ => Err(Misfit),
            },
            Self::Number(least, most) => within(number(text), least, most).map(Value::Number),
            Self::Fraction => fraction(text).map(Value::Fraction),
            Self::Part => match fraction(text)? {
                part if part < 1.0 => Ok(Value::Fraction(part)),
                _ => Err(Misfit),
            },
            Self::Fractions if text.eq_ignore_ascii_case("none") => {
                Ok(Value::Fractions(Vec::new()))
            }
            Self::Fractions => {
                let parts = text.split(',').map(|part| fraction(part.trim()));
                let fractions = parts.collect::<Result<Vec<_>, _>>()?;
                let rising = fractions.windows(2).all(|pair| pair[0] < pair[1]);
                if rising { Ok(Value::Fractions(fractions)) } else { Err(Misfit) }
            }
            Self::Time(least, most) => {
                let millis = within(millis(text, unit), least, most)?;
                Ok(Value::Time(Duration::from_millis(millis)))
            }
            Self::Size(least, most) => within(size(text), least, most).map(Value::Number),
            Self::Choice(words) => {
                let word =
                    words.iter().find(|word| word.eq_ignore_ascii_case(text)).ok_or(Misfit)?;
                Ok(Value::Text((*word).to_owned()))
            }
            Self::Text(_, check) if check(text) => Ok(Value::Text(text.to_owned())),
            Self::Veiled(_, check) if check(text) => {
                Ok(Value::Secret(SecretString::from(text.to_owned())))
            }
            Self::Secret if !text.is_empty() => {
                Ok(Value::Secret(SecretString::from(text.to_owned())))
            }
            Self::Names(_, check) => {
                let names: Vec<_> = text.split(',').map(|name| name.trim().to_owned()).collect();
                if names.iter().all(|name| check(name)) {
                    Ok(Value::Names(names))
                } else {
                    Err(Misfit)
                }
            }
            Self::Numbers(_, check) => {
                let mut numbers = BTreeMap::new();
                for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
                    let (name, value) = pair.split_once('=').ok_or(Misfit)?;
                    let value = number(value.trim()).ok_or(Misfit)?;
                    check(name.trim())
                        .then(|| numbers.insert(name.trim().to_owned(), value))
                        .ok_or(Misfit)?;
                }
                Ok(Value::Numbers(numbers))
            }
            Self::Text(..) | Self::Veiled(..) | Self::Secret => Err(Misfit),
        }
    }

    /// Reads what stands in a file. A number is not taken for a switch, nor a text for a number.
    pub(super) fn read_toml(self, value: &toml::Value, unit: Unit) -> Result<Value, Misfit> {
        match (self, value) {
            (Self::Switch, toml::Value::Boolean(on)) => Ok(Value::Switch(*on)),
            (
                Self::Number(..)
                | Self::Time(..)
                | Self::Size(..)
                | Self::Fraction
                | Self::Part
                | Self::Fractions,
                toml::Value::Integer(number),
            ) => self.read(&number.to_string(), unit),
            (Self::Fraction | Self::Part | Self::Fractions, toml::Value::Float(number)) => {
                self.read(&number.to_string(), unit)
            }
            (Self::Fractions, toml::Value::Array(items)) if items.is_empty() => {
                self.read("none", unit)
            }
            (Self::Fractions, toml::Value::Array(items)) => {
                let text = |item: &toml::Value| match item {
                    toml::Value::Float(number) => Some(number.to_string()),
                    toml::Value::Integer(number) => Some(number.to_string()),
                    _ => None,
                };
                let texts: Option<Vec<_>> = items.iter().map(text).collect();
                self.read(&texts.ok_or(Misfit)?.join(","), unit)
            }
            (Self::Switch | Self::Number(..) | Self::Fraction | Self::Part, _) => Err(Misfit),
            (Self::Names(..), toml::Value::Array(items)) => {
                let names: Option<Vec<_>> = items.iter().map(toml::Value::as_str).collect();
                self.read(&names.ok_or(Misfit)?.join(","), unit)
            }
            (Self::Numbers(..), toml::Value::Table(table)) => {
                let pair = |(name, value): (&String, &toml::Value)| {
                    Some(format!("{name}={}", value.as_integer()?))
                };
                let pairs: Option<Vec<_>> = table.iter().map(pair).collect();
                self.read(&pairs.ok_or(Misfit)?.join(","), unit)
            }
            (_, toml::Value::String(text)) => self.read(text, unit),
            _ => Err(Misfit),
        }
    }
}

fn fraction(text: &str) -> Result<f64, Misfit> {
    match text.parse::<f64>() {
        Ok(fraction) if (0.0..=1.0).contains(&fraction) => Ok(fraction),
        _ => Err(Misfit),
    }
}

fn within(value: Option<u64>, least: u64, most: u64) -> Result<u64, Misfit> {
    value.filter(|value| (least..=most).contains(value)).ok_or(Misfit)
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

fn millis(text: &str, unit: Unit) -> Option<u64> {
    let (digits, suffix) = split(text);
    let factor = match suffix {
        "" if unit == Unit::Millis => 1,
        "" | "s" => 1000,
        "ms" => 1,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number(digits)?.checked_mul(factor)
}

fn size(text: &str) -> Option<u64> {
    let (digits, suffix) = split(text);
    let factor = match suffix {
        "" | "B" => 1,
        "KiB" | "K" => 1024,
        "MiB" | "M" => 1024 * 1024,
        "GiB" | "G" => 1024 * 1024 * 1024,
        _ => return None,
    };
    number(digits)?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: Kind, text: &str, unit: Unit) -> Option<String> {
        kind.read(text, unit).ok().map(|value| value.to_string())
    }

    #[test]
    fn a_bare_number_counts_in_the_unit_of_its_place() {
        let kind = Kind::Time(1, 600_000);
        assert_eq!(shown(kind, "16", Unit::Seconds).unwrap(), "16s");
        assert_eq!(shown(kind, "16", Unit::Millis).unwrap(), "16ms");
        assert_eq!(shown(kind, "500ms", Unit::Seconds).unwrap(), "500ms");
        assert_eq!(shown(kind, "2m", Unit::Millis).unwrap(), "120s");
    }

    #[test]
    fn negative_zero_and_absurd_values_are_rejected() {
        for text in
            ["-1", "0", "601", "1e3", "", "ten", "18446744073709551616", "99999999999999999h"]
        {
            assert!(shown(Kind::Time(1, 600_000), text, Unit::Seconds).is_none(), "{text:?}");
        }
        for text in ["-1", "0", "101", "5 5", "+5"] {
            assert!(shown(Kind::Number(1, 100), text, Unit::Seconds).is_none(), "{text:?}");
        }
        for text in ["NaN", "-0.1", "1.1", "inf"] {
            assert!(shown(Kind::Fraction, text, Unit::Seconds).is_none(), "{text:?}");
        }
        for text in ["0.8,0.8", "0.9,0.8", "0.8,1.2", "0.8,", ",", "some"] {
            assert!(shown(Kind::Fractions, text, Unit::Seconds).is_none(), "{text:?}");
        }
    }

    #[test]
    fn fractions_are_a_list_or_none() {
        let text = |text| shown(Kind::Fractions, text, Unit::Seconds).unwrap();
        assert_eq!((text("0.8, 0.95"), text("None")), ("0.8,0.95".into(), "none".into()));
        let toml = |text: &str| {
            let table: toml::Table = text.parse().unwrap();
            let read = Kind::Fractions.read_toml(&table["x"], Unit::Seconds);
            read.ok().map(|value| value.to_string())
        };
        assert_eq!(toml("x = [0.5, 1]").unwrap(), "0.5,1");
        assert_eq!(toml("x = []").unwrap(), "none");
        assert_eq!(toml("x = 0.5").unwrap(), "0.5");
        assert_eq!((toml("x = ['0.5']"), toml("x = true")), (None, None));
    }

    #[test]
    fn sizes_switches_and_numbers_by_name() {
        assert_eq!(shown(Kind::Size(1, u64::MAX), "32MiB", Unit::Seconds).unwrap(), "33554432");
        assert_eq!(shown(Kind::Switch, "Off", Unit::Seconds).unwrap(), "false");
        let costs = Kind::Numbers("", |name| name != "x");
        assert_eq!(shown(costs, "deals=1, files=2", Unit::Seconds).unwrap(), "deals=1,files=2");
        assert!(shown(costs, "x=1", Unit::Seconds).is_none());
    }

    #[test]
    fn a_secret_is_never_shown() {
        let value = Kind::Secret.read("hunter2", Unit::Seconds).ok().unwrap();
        assert!(!format!("{value} {value:?}").contains("hunter2"));
    }
}
