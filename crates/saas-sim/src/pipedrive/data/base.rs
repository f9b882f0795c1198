//! The account as the seed makes it: any row, at once, from its id alone.
//!
//! Nothing is stored. A row's references, flags and times come from a hash of (seed, kind, id).
//! Its place in the order of update times comes from a bijection of the ids, so that a page in
//! that order costs as little as one in order of ids.

use super::custom::CustomField;
use super::entity::{Sizes, Table};
use super::uuid;

/// Two years: the time over which rows were made, and then again over which they were changed.
const SPAN: i64 = 2 * 365 * 86_400;

/// What lists filter and sort by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meta {
    pub(crate) id: u64,
    pub(crate) add: i64,
    pub(crate) update: i64,
    pub(crate) owner: u64,
    pub(crate) person: u64,
    pub(crate) org: u64,
    pub(crate) deal: u64,
    /// The number of the lead; none of the seed's rows refers to one.
    pub(crate) lead: u64,
    pub(crate) pipeline: u64,
    pub(crate) stage: u64,
    pub(crate) status: Status,
    pub(crate) deleted: bool,
    pub(crate) archived: bool,
    pub(crate) done: bool,
    /// Days since 1970.
    pub(crate) due: i64,
    /// For everything that no filter asks about.
    pub(crate) bits: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Status {
    #[default]
    Open,
    Won,
    Lost,
}

impl Status {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Self> {
        [Self::Open, Self::Won, Self::Lost].into_iter().find(|status| status.name() == name)
    }
}

#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) seed: u64,
    pub(crate) sizes: Sizes,
    /// The newest change of the new account happened just before this second.
    pub(crate) epoch: i64,
    /// The least length of a row of the large kinds, in bytes.
    pub(crate) row_bytes: usize,
    ranks: [Ranks; Table::COUNT],
    custom: [Vec<CustomField>; Table::COUNT],
}

impl Base {
    pub(crate) fn new(seed: u64, sizes: Sizes, epoch: i64) -> Self {
        let ranks = Table::ALL.map(|table| Ranks::new(sizes.of(table), hash(seed, table, 0)));
        let custom = Table::ALL.map(|table| CustomField::all(seed, table));
        Self { seed, sizes, epoch, row_bytes: 0, ranks, custom }
    }

    pub(crate) fn count(&self, table: Table) -> u64 {
        self.sizes.of(table)
    }

    pub(crate) fn custom(&self, table: Table) -> &[CustomField] {
        &self.custom[table as usize]
    }

    /// Where the row stands in the order of update times, from 0.
    pub(crate) fn rank(&self, table: Table, id: u64) -> u64 {
        self.ranks[table as usize].rank(id - 1)
    }

    /// The row at that place in the order of update times.
    pub(crate) fn at_rank(&self, table: Table, rank: u64) -> u64 {
        self.ranks[table as usize].index(rank) + 1
    }

    /// The update time at a place in that order; equal for small groups here and there, and for
    /// more than a page of rows in the middle of a large kind (an import).
    pub(crate) fn update_at(&self, table: Table, rank: u64) -> i64 {
        let count = self.count(table).max(1);
        let middle = count / 2;
        let rank = if count >= 4_000 && (middle..middle + 700).contains(&rank) {
            middle
        } else if (rank / 4) % 8 == 3 {
            rank - rank % 4
        } else {
            rank
        };
        self.epoch - SPAN + scale(rank, count)
    }

    pub(crate) fn add_of(&self, table: Table, id: u64) -> i64 {
        self.epoch - 2 * SPAN + scale(id - 1, self.count(table).max(1))
    }

    pub(crate) fn due_of(&self, table: Table, id: u64) -> i64 {
        self.add_of(table, id).div_euclid(86_400) + 9
    }

    /// Deleted and archived, without the rest.
    pub(crate) fn flags(&self, table: Table, id: u64) -> (bool, bool) {
        let pick = hash(self.seed, table, id) >> 32;
        match table {
            Table::Pipelines | Table::Stages | Table::Users => (false, false),
            Table::Deals | Table::Leads => {
                let deleted = pick % 50 == 7;
                (deleted, !deleted && pick % 20 == 3)
            }
            _ => (pick % 50 == 7, false),
        }
    }

    pub(crate) fn pipeline_of_stage(&self, stage: u64) -> u64 {
        if stage == 0 || stage > self.sizes.stages {
            return 0;
        }
        (stage - 1) * self.sizes.pipelines.max(1) / self.sizes.stages + 1
    }

    /// Everything about a row that lists look at; `id` is between 1 and `count`.
    pub(crate) fn meta(&self, table: Table, id: u64) -> Meta {
        let bits = mix(hash(self.seed, table, id));
        let more = mix(bits);
        let (deleted, archived) = self.flags(table, id);
        let some = |of: u64, salt: u32| {
            let pick = more.rotate_left(salt);
            // One in eight has no such reference.
            if of == 0 || pick & 7 == 0 { 0 } else { upto(mix(pick), of) }
        };
        let sizes = &self.sizes;
        let mut meta = Meta {
            id,
            add: self.add_of(table, id),
            update: self.update_at(table, self.rank(table, id)),
            owner: upto(bits, sizes.users),
            deleted,
            archived,
            bits,
            ..Meta::default()
        };
        match table {
            Table::Deals => {
                meta.person = some(sizes.persons, 5);
                meta.org = some(sizes.organizations, 11);
                meta.stage = upto(mix(more), sizes.stages);
                meta.pipeline = self.pipeline_of_stage(meta.stage);
                meta.status = match more >> 60 {
                    0..=9 => Status::Open,
                    10..=12 => Status::Won,
                    _ => Status::Lost,
                };
            }
            Table::Persons => meta.org = some(sizes.organizations, 11),
            Table::Activities => {
                meta.person = some(sizes.persons, 5);
                meta.org = some(sizes.organizations, 11);
                meta.deal = some(sizes.deals, 17);
                meta.done = more & 1 == 1;
                meta.due = self.due_of(table, id);
            }
            Table::Stages => meta.pipeline = self.pipeline_of_stage(id),
            Table::Notes | Table::Files => {
                meta.person = some(sizes.persons, 5);
                meta.org = some(sizes.organizations, 11);
                meta.deal = some(sizes.deals, 17);
            }
            Table::Leads => {
                meta.person = some(sizes.persons, 5);
                meta.org = some(sizes.organizations, 11);
            }
            Table::Organizations | Table::Products | Table::Pipelines | Table::Users => {}
        }
        meta
    }

    /// The name of the row in its URL and its answers: a number, or a UUID for a lead.
    pub(crate) fn id_text(&self, table: Table, id: u64) -> String {
        if table == Table::Leads { uuid::of(self.seed, id) } else { id.to_string() }
    }

    /// The id behind that name.
    pub(crate) fn id_of(&self, table: Table, text: &str) -> Option<u64> {
        if table == Table::Leads { uuid::parse(self.seed, text) } else { text.parse().ok() }
    }
}

/// `SPAN * part / whole`, growing with `part`.
fn scale(part: u64, whole: u64) -> i64 {
    (i128::from(SPAN) * i128::from(part) / i128::from(whole)) as i64
}

/// A number from 1 to `of`; 0 when there is none.
pub(crate) fn upto(bits: u64, of: u64) -> u64 {
    if of == 0 {
        return 0;
    }
    ((u128::from(bits) * u128::from(of)) >> 64) as u64 + 1
}

pub(crate) fn hash(seed: u64, table: Table, id: u64) -> u64 {
    mix(mix(seed ^ ((table as u64 + 1) << 56)).wrapping_add(id))
}

/// The finishing step of SplitMix64: a bijection that spreads every bit.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A bijection of `0..count`: multiply by a number that shares no factor with the count, and add.
#[derive(Debug)]
struct Ranks {
    count: u64,
    times: u64,
    inverse: u64,
    plus: u64,
}

impl Ranks {
    fn new(count: u64, bits: u64) -> Self {
        if count < 2 {
            return Self { count, times: 1, inverse: 1, plus: 0 };
        }
        let mut times = (u128::from(count) * 618 / 1_000) as u64 + 1;
        while gcd(times, count) != 1 {
            times += 1;
        }
        let times = times % count;
        Self { count, times, inverse: inverse(times, count), plus: bits % count }
    }

    fn rank(&self, index: u64) -> u64 {
        let count = u128::from(self.count);
        ((u128::from(index) * u128::from(self.times) + u128::from(self.plus)) % count) as u64
    }

    fn index(&self, rank: u64) -> u64 {
        let count = u128::from(self.count);
        let back = u128::from(rank) + count - u128::from(self.plus);
        (back % count * u128::from(self.inverse) % count) as u64
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The number that undoes a multiplication by `of` modulo `modulus`, which share no factor.
fn inverse(of: u64, modulus: u64) -> u64 {
    let (mut old, mut new) = (i128::from(of), i128::from(modulus));
    let (mut old_factor, mut factor) = (1_i128, 0_i128);
    while new != 0 {
        let quotient = old / new;
        (old, new) = (new, old - quotient * new);
        (old_factor, factor) = (factor, old_factor - quotient * factor);
    }
    old_factor.rem_euclid(i128::from(modulus)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_a_bijection_of_every_count() {
        for count in (1..200).chain([1_000, 4_096, 9_973]) {
            let ranks = Ranks::new(count, mix(count));
            let mut seen = vec![false; count as usize];
            for index in 0..count {
                let rank = ranks.rank(index);
                assert_eq!(ranks.index(rank), index, "of {count}");
                assert!(!std::mem::replace(&mut seen[rank as usize], true), "of {count}");
            }
        }
    }

    #[test]
    fn update_times_grow_with_the_rank_and_repeat() {
        let base = Base::new(1, Sizes::each(5_000), 1_000_000_000);
        let times: Vec<_> = (0..5_000).map(|rank| base.update_at(Table::Deals, rank)).collect();
        assert!(times.is_sorted());
        let most = times.chunk_by(|a, b| a == b).map(<[i64]>::len).max();
        assert!(most >= Some(700), "an import longer than a page: {most:?}");
        assert!(times.iter().all(|time| *time < 1_000_000_000));
        assert!(times[0] >= base.add_of(Table::Deals, 5_000));
    }
}
