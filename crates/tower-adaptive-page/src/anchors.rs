//! Where a walk by offset was, told by the rows themselves; pure and bounded.

use std::collections::{HashSet, VecDeque};

/// So many of the latest rows are known by their keys: 32 KiB, and the same
/// again for the set.
const KEPT: usize = 4096;

/// So many of them go into a position, to be kept by whoever resumes.
pub(crate) const IN_POSITION: usize = 32;

/// The keys of the rows that were handed out last.
#[derive(Debug, Default)]
pub(crate) struct Anchors {
    /// The newest is the last; each once.
    keys: VecDeque<u64>,
    known: HashSet<u64>,
    /// Rows that were handed out are no longer, or were never, among the keys.
    partial: bool,
}

/// What a page holds of what was handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// So many rows at its beginning; what follows is new.
    Begins(usize),
    /// Nothing of it is known: the page lies beyond where the walk was.
    Beyond,
}

impl Anchors {
    /// As they were when a walk ended.
    pub(crate) fn resumed(keys: &[u64]) -> Self {
        let mut anchors = Self::default();
        anchors.note(keys);
        anchors.partial |= keys.len() >= IN_POSITION;
        anchors
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether every row that was handed out is known.
    pub(crate) fn knows_all(&self) -> bool {
        !self.partial
    }

    /// The last known row of a page tells where the walk was. The rows have a fixed order, so what
    /// stands before it was handed out, or came later; and what stands behind it was not, or was
    /// deleted.
    pub(crate) fn find(&self, page: &[u64]) -> Found {
        match page.iter().rposition(|key| self.known.contains(key)) {
            Some(place) => Found::Begins(place + 1),
            None if self.keys.is_empty() => Found::Begins(0),
            None => Found::Beyond,
        }
    }

    /// Notes rows that are handed out.
    pub(crate) fn note(&mut self, keys: &[u64]) {
        for &key in keys {
            if self.known.insert(key) {
                self.keys.push_back(key);
            }
        }
        while self.keys.len() > KEPT {
            self.partial = true;
            self.keys.pop_front().map(|key| self.known.remove(&key));
        }
    }

    /// The newest, for a position.
    pub(crate) fn latest(&self) -> Vec<u64> {
        self.keys.iter().copied().skip(self.keys.len().saturating_sub(IN_POSITION)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(keys: &[u64]) -> Anchors {
        let mut anchors = Anchors::default();
        anchors.note(keys);
        anchors
    }

    #[test]
    fn the_last_known_row_of_a_page_tells_what_is_new() {
        let anchors = after(&[1, 2, 3, 4]);
        assert_eq!(anchors.find(&[4, 5]), Found::Begins(1));
        assert_eq!(anchors.find(&[2, 3, 4]), Found::Begins(3));
        assert_eq!(anchors.find(&[3, 5]), Found::Begins(1));
        assert_eq!(anchors.find(&[2, 9, 4, 5]), Found::Begins(3));
        assert_eq!(anchors.find(&[5, 6]), Found::Beyond);
        assert_eq!(anchors.find(&[]), Found::Beyond);
        assert_eq!(Anchors::default().find(&[5]), Found::Begins(0));
    }

    #[test]
    fn what_is_kept_is_bounded_and_it_is_known_that_it_is_not_all() {
        let mut anchors = after(&(0..KEPT as u64).collect::<Vec<_>>());
        assert!(anchors.knows_all());
        anchors.note(&[7777]);
        assert_eq!(anchors.keys.len(), KEPT);
        assert!(!anchors.knows_all());
        assert_eq!(anchors.latest().len(), IN_POSITION);
        assert!(!Anchors::resumed(&anchors.latest()).knows_all());
        assert!(Anchors::resumed(&[1, 2]).knows_all());
    }
}
