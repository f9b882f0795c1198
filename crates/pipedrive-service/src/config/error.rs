//! Everything that is wrong with a configuration, at once.

use std::fmt;

use super::load::{Setting, Source};

/// The configuration cannot be used. It lists everything that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    text: String,
    variable: Option<&'static str>,
}

impl ConfigError {
    pub(crate) fn one(problem: Problem) -> Self {
        Self { problems: vec![problem] }
    }

    /// Of these problems, of which there must be at least one.
    pub(crate) const fn of(problems: Vec<Problem>) -> Self {
        Self { problems }
    }

    pub(crate) fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self { problems }) }
    }

    /// Everything that is wrong.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl Problem {
    pub(crate) fn said(text: impl Into<String>) -> Self {
        Self { text: text.into(), variable: None }
    }

    pub(super) fn new(
        source: &Source,
        key: &str,
        shown: Option<String>,
        expected: impl fmt::Display,
    ) -> Self {
        let place = match (source, key) {
            (Source::Env(name), _) => (*name).to_owned(),
            (_, "") => source.to_string(),
            (Source::Builder, _) => key.to_owned(),
            _ => format!("{key} ({source})"),
        };
        let shown = shown.map_or_else(String::new, |text| format!(" is {text:?},"));
        let variable = if let Source::Env(name) = source { Some(*name) } else { None };
        Self { text: format!("{place}{shown} expected {expected}"), variable }
    }

    pub(super) fn unknown(source: &Source, key: &str, table: &[Setting]) -> Self {
        let near = nearest(key, table.iter().map(|setting| setting.key));
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        Self::said(format!("{key} ({source}) is not a setting{hint}"))
    }

    /// The variable that holds the wrong value, if it came from the environment.
    #[must_use]
    pub const fn variable(&self) -> Option<&'static str> {
        self.variable
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.problems {
            [one] => write!(f, "the configuration is wrong: {one}"),
            many => {
                write!(f, "the configuration is wrong in {} places:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

/// The candidate that is most like the word, if any is like it at all. The last part of a dotted key counts alone too.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    candidates
        .map(|candidate| {
            let whole = distance(word, candidate);
            (whole.min(distance(&last(word), &last(candidate)) + 1), candidate)
        })
        .min()
        .filter(|(distance, _)| *distance <= 1 + word.len() / 6)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        let words = ["robustness.rate_limiting.max_delay", "connection.proxy"];
        assert_eq!(
            nearest("robustness.rate_limiting.max_dealy", words.into_iter()),
            Some(words[0])
        );
        assert_eq!(nearest("max_delay", words.into_iter()), Some(words[0]));
        assert_eq!(nearest("nothing_like_it", words.into_iter()), None);
    }
}
