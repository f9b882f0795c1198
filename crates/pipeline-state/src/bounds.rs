//! How large anything may be. Names are users' data, and a database holds them.

use crate::StateError;

/// Longest name of an item, a phase, a pipeline or a worker, in bytes.
pub const MAX_NAME: usize = 1_024;
/// Longest category of a failure, in bytes.
pub const MAX_CATEGORY: usize = 64;
/// Longest message of a failure, in bytes. A longer one is cut there, not refused.
pub const MAX_MESSAGE: usize = 2_000;
/// Largest payload of a checkpoint, in bytes.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// Most phases of a pipeline.
pub const MAX_PHASES: usize = 100;
/// Most items of one claim or one batch of updates.
pub const MAX_BATCH: usize = 10_000;
/// How many checkpoints of a pipeline are kept, besides the last one with a payload.
pub const KEPT_CHECKPOINTS: u32 = 16;

/// Most problems that one error lists.
const MAX_PROBLEMS: usize = 20;

/// Collects everything that is wrong with what a caller gave.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    problems: Vec<String>,
    more: usize,
}

impl Problems {
    pub(crate) fn add(&mut self, problem: impl FnOnce() -> String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem());
        } else {
            self.more += 1;
        }
    }

    pub(crate) fn name(&mut self, what: &str, name: &str) {
        self.text(what, name, MAX_NAME);
    }

    pub(crate) fn category(&mut self, category: &str) {
        self.text("category", category, MAX_CATEGORY);
    }

    fn text(&mut self, what: &str, text: &str, most: usize) {
        if text.is_empty() {
            self.add(|| format!("a {what} is empty"));
        } else if text.len() > most {
            let (start, bytes) = (cut(text, 20), text.len());
            self.add(|| {
                format!("{what} {start:?}... has {bytes} bytes, more than the {most} allowed")
            });
        } else if text.contains('\0') {
            self.add(|| format!("{what} {:?} has a NUL character", cut(text, 40)));
        }
    }

    pub(crate) fn at_most(&mut self, what: &str, count: usize, most: usize) {
        if count > most {
            self.add(|| format!("{count} {what}, more than the {most} allowed"));
        }
    }

    pub(crate) fn finish(mut self) -> Result<(), StateError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        if self.more > 0 {
            self.problems.push(format!("and {} more", self.more));
        }
        Err(StateError::Input { problems: self.problems })
    }
}

/// At most so many bytes of a text, at a character's end.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

/// A message as it is kept: cut, and without what PostgreSQL's texts cannot hold.
pub(crate) fn message(text: &str) -> std::borrow::Cow<'_, str> {
    let text = cut(text, MAX_MESSAGE);
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(check: impl FnOnce(&mut Problems)) -> Vec<String> {
        let mut problems = Problems::default();
        check(&mut problems);
        match problems.finish() {
            Err(StateError::Input { problems }) => problems,
            other => other.map(|()| Vec::new()).unwrap(),
        }
    }

    #[test]
    fn a_name_at_the_bound_passes_and_one_byte_more_does_not() {
        assert!(problems(|f| f.name("item", &"a".repeat(MAX_NAME))).is_empty());
        assert_eq!(problems(|f| f.name("item", &"a".repeat(MAX_NAME + 1))).len(), 1);
        assert!(problems(|f| f.category(&"c".repeat(MAX_CATEGORY))).is_empty());
        assert_eq!(problems(|f| f.category(&"c".repeat(MAX_CATEGORY + 1))).len(), 1);
    }

    #[test]
    fn everything_wrong_is_told_at_once_and_the_list_is_bounded() {
        let told = problems(|f| {
            f.name("item", "");
            f.name("item", "a\0b");
            f.at_most("phases", 101, MAX_PHASES);
        });
        assert_eq!(told.len(), 3, "{told:?}");
        let told = problems(|f| (0..1_000).for_each(|_| f.name("item", "")));
        assert_eq!(told.len(), MAX_PROBLEMS + 1);
        assert_eq!(told[MAX_PROBLEMS], "and 980 more");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let text = "é".repeat(MAX_MESSAGE);
        assert_eq!(message(&text).len(), MAX_MESSAGE);
        let text = format!("a{text}");
        assert_eq!(message(&text).len(), MAX_MESSAGE - 1);
        assert_eq!(message("a\0b"), "a\u{fffd}b");
    }
}
