//! Pure: units by the tick at which they stop counting.
//!
//! Dense for a budget that all share: one place per tick, made once. Sparse for
//! one of many keys: only ticks that hold something take memory.

use std::collections::VecDeque;

#[derive(Debug)]
pub(crate) enum Ring {
    /// `places[tick & mask]`.
    Dense { places: Box<[u64]>, mask: u64 },
    /// In order of ticks; at most `longest` ticks lie between first and last.
    Sparse { ticks: VecDeque<(u64, u64)>, longest: u64 },
}

impl Ring {
    /// For ticks that lie at most `longest` ahead.
    pub(crate) fn new(longest: u64, sparse: bool) -> Self {
        if sparse {
            return Self::Sparse { ticks: VecDeque::new(), longest };
        }
        let len = (longest + 1).next_power_of_two();
        Self::Dense { places: vec![0; len as usize].into_boxed_slice(), mask: len - 1 }
    }

    /// How far ahead of the last expired tick a unit can lie.
    pub(crate) const fn longest(&self) -> u64 {
        match self {
            Self::Dense { mask, .. } => *mask,
            Self::Sparse { longest, .. } => *longest,
        }
    }

    /// Takes out what lies in `(passed, target]`, of which there is `held` in
    /// all; returns how much it was.
    pub(crate) fn expire(&mut self, passed: u64, target: u64, held: u64) -> u64 {
        let mut gone = 0;
        match self {
            Self::Dense { places, mask } => {
                let last = target.min(passed + places.len() as u64);
                let mut tick = passed;
                while tick < last && gone < held {
                    tick += 1;
                    gone += std::mem::take(&mut places[(tick & *mask) as usize]);
                }
            }
            Self::Sparse { ticks, .. } => {
                while let Some(&(tick, n)) = ticks.front() {
                    if tick > target {
                        break;
                    }
                    gone += n;
                    ticks.pop_front();
                }
            }
        }
        gone
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, tick: u64, n: u64) {
        match self {
            Self::Dense { places, mask } => places[(tick & *mask) as usize] += n,
            Self::Sparse { ticks, .. } => put_sparse(ticks, tick, n),
        }
    }

    /// Takes at most `n` out of a tick that has not expired; returns how much.
    #[inline]
    pub(crate) fn take(&mut self, tick: u64, n: u64) -> u64 {
        let place = match self {
            Self::Dense { places, mask } => &mut places[(tick & *mask) as usize],
            Self::Sparse { ticks, .. } => match find_sparse(ticks, tick) {
                Some(place) => place,
                None => return 0,
            },
        };
        let taken = n.min(*place);
        *place -= taken;
        taken
    }

    /// Takes at most `n` out of one tick that has not expired and puts it into another.
    #[inline]
    pub(crate) fn bring_forward(&mut self, from: u64, to: u64, n: u64) {
        match self {
            Self::Dense { places, mask } => {
                let place = &mut places[(from & *mask) as usize];
                let n = n.min(*place);
                *place -= n;
                places[(to & *mask) as usize] += n;
            }
            Self::Sparse { .. } => {
                let n = self.take(from, n);
                self.put(to, n);
            }
        }
    }

    /// What stops counting at each tick after `passed`, in order.
    pub(crate) fn after(&self, passed: u64) -> impl Iterator<Item = (u64, u64)> + '_ {
        let (dense, sparse) = match self {
            Self::Dense { places, mask } => {
                let ticks = passed + 1..=passed + places.len() as u64;
                (Some(ticks.map(move |tick| (tick, places[(tick & *mask) as usize]))), None)
            }
            Self::Sparse { ticks, .. } => (None, Some(ticks.iter().copied())),
        };
        let of_both = dense.into_iter().flatten().chain(sparse.into_iter().flatten());
        of_both.filter(|&(_, n)| n > 0)
    }
}

#[inline(never)]
fn put_sparse(ticks: &mut VecDeque<(u64, u64)>, tick: u64, n: u64) {
    match ticks.back_mut() {
        Some((last, held)) if *last == tick => *held += n,
        Some((last, _)) if *last > tick => {
            match ticks.binary_search_by_key(&tick, |&(tick, _)| tick) {
                Ok(at) => ticks[at].1 += n,
                Err(at) => ticks.insert(at, (tick, n)),
            }
        }
        _ => ticks.push_back((tick, n)),
    }
}

#[inline(never)]
fn find_sparse(ticks: &mut VecDeque<(u64, u64)>, tick: u64) -> Option<&mut u64> {
    let at = ticks.binary_search_by_key(&tick, |&(tick, _)| tick).ok()?;
    Some(&mut ticks[at].1)
}
