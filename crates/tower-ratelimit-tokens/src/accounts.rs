//! Pure: one account for each shared budget, and one for each key of a keyed
//! budget, made when it is first needed and forgotten when that loses nothing.

use hashbrown::HashTable;

use crate::{budget::Account, charge::MAX_BUDGETS, moment::Nanos, scope::mix, spec::Spec};

/// How many accounts are looked at when a key is added, so that idle ones go.
const SWEEP: usize = 4;
/// And how many if there is no room for it.
const SWEEP_FULL: usize = 256;

/// The accounts from which a charge is paid, by budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct At(pub(crate) [u32; MAX_BUDGETS]);

impl Default for At {
    /// The shared accounts.
    fn default() -> Self {
        Self(std::array::from_fn(|budget| budget as u32))
    }
}

impl At {
    #[inline]
    pub(crate) const fn of(&self, budget: usize) -> usize {
        self.0[budget] as usize
    }

    /// Whether a keyed account is one of them.
    pub(crate) fn holds(&self, account: u32) -> bool {
        let mut keyed = self.0.iter().enumerate().filter(|&(budget, at)| *at as usize != budget);
        keyed.any(|(_, &at)| at == account)
    }
}

/// There is no room for one more key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug)]
pub(crate) struct Accounts {
    /// The first are those of the budgets themselves; of a keyed budget, one that
    /// stands for callers without a key of their own is never used.
    list: Vec<Account>,
    /// Numbers of the keyed accounts, by budget and key.
    index: HashTable<u32>,
    free: Vec<u32>,
    shared: usize,
    /// How many keys are known, by budget.
    keys_of: [usize; MAX_BUDGETS],
    max_keys: usize,
    idle_after: Nanos,
    /// Where the search for idle accounts goes on.
    hand: usize,
    seed: u64,
}

impl Accounts {
    pub(crate) fn new(shared: Vec<Account>, max_keys: usize, idle_after: Nanos, seed: u64) -> Self {
        let count = shared.len();
        let most = (u32::MAX >> 2) as usize;
        Self {
            list: shared,
            index: HashTable::new(),
            free: Vec::new(),
            shared: count,
            keys_of: [0; MAX_BUDGETS],
            max_keys: max_keys.min(most),
            idle_after,
            hand: count,
            seed,
        }
    }

    #[inline]
    const fn hash(&self, budget: u8, key: u64) -> u64 {
        mix(key ^ self.seed ^ ((budget as u64) << 56))
    }

    /// The account of a key, if there is one.
    #[inline]
    pub(crate) fn find(&self, budget: u8, key: u64) -> Option<u32> {
        let is = |&at: &u32| {
            let account = &self.list[at as usize];
            account.key == key && account.budget == budget
        };
        self.index.find(self.hash(budget, key), is).copied()
    }

    /// The account of a key; made by `make` if there is none.
    #[inline]
    pub(crate) fn find_or_add(
        &mut self,
        now: Nanos,
        budget: u8,
        key: u64,
        is_used: impl Fn(u32) -> bool,
        make: impl FnOnce() -> Account,
    ) -> Result<u32, Full> {
        match self.find(budget, key) {
            Some(at) => {
                self.list[at as usize].touched = now;
                Ok(at)
            }
            None => self.add(now, is_used, make),
        }
    }

    #[cold]
    fn add(
        &mut self,
        now: Nanos,
        is_used: impl Fn(u32) -> bool,
        make: impl FnOnce() -> Account,
    ) -> Result<u32, Full> {
        self.sweep(now, SWEEP, self.idle_after, &is_used);
        if self.keys() >= self.max_keys {
            self.sweep(now, SWEEP_FULL, 0, &is_used);
        }
        if self.keys() >= self.max_keys {
            return Err(Full);
        }
        let mut account = make();
        (account.touched, account.born) = (now, now);
        let hash = self.hash(account.budget, account.key);
        let at = match self.free.pop() {
            Some(at) => {
                self.list[at as usize] = account;
                at
            }
            None => {
                self.list.push(account);
                (self.list.len() - 1) as u32
            }
        };
        let (list, seed) = (&self.list, self.seed);
        let rehash = |&at: &u32| {
            let account = &list[at as usize];
            mix(account.key ^ seed ^ (u64::from(account.budget) << 56))
        };
        self.index.insert_unique(hash, at, rehash);
        self.keys_of[usize::from(self.list[at as usize].budget)] += 1;
        Ok(at)
    }

    /// Looks at a few accounts and forgets those that are idle and at rest.
    fn sweep(&mut self, now: Nanos, most: usize, idle: Nanos, is_used: &impl Fn(u32) -> bool) {
        for _ in 0..most.min(self.list.len() - self.shared) {
            if self.hand >= self.list.len() {
                self.hand = self.shared;
            }
            let at = self.hand;
            self.hand += 1;
            let account = &mut self.list[at];
            let idle = !account.vacant && now.saturating_sub(account.touched) >= idle;
            if idle && !account.pinned && !is_used(at as u32) && account.at_rest(now) {
                account.vacant = true;
                self.keys_of[usize::from(account.budget)] -= 1;
                let hash = self.hash(self.list[at].budget, self.list[at].key);
                if let Ok(found) = self.index.find_entry(hash, |&found| found as usize == at) {
                    found.remove();
                }
                self.free.push(at as u32);
            }
        }
    }

    /// How many keys are known.
    pub(crate) fn keys(&self) -> usize {
        self.index.len()
    }

    /// How many keys of a budget are known.
    pub(crate) const fn keys_of(&self, budget: usize) -> usize {
        self.keys_of[budget]
    }

    /// The numbers of a budget's keyed accounts.
    pub(crate) fn of_budget(&self, budget: u8) -> impl Iterator<Item = usize> + '_ {
        let keyed = self.list.iter().enumerate().skip(self.shared);
        keyed.filter(move |(_, a)| !a.vacant && a.budget == budget).map(|(at, _)| at)
    }

    #[inline]
    pub(crate) fn get(&mut self, at: usize) -> Option<&mut Account> {
        self.list.get_mut(at)
    }

    /// The shared accounts, one for each budget.
    pub(crate) fn shared(&self) -> &[Account] {
        &self.list[..self.shared]
    }

    pub(crate) fn shared_mut(&mut self) -> &mut [Account] {
        &mut self.list[..self.shared]
    }

    /// Whether the account is still the one that this key had at `then`: one that
    /// was forgotten in the meantime was at rest, and has nothing to be told.
    #[inline]
    pub(crate) fn is(&self, at: usize, budget: u8, key: u64, then: Nanos) -> bool {
        at < self.shared
            || self.list.get(at).is_some_and(|account| {
                let same = account.budget == budget && account.key == key;
                same && !account.vacant && account.born <= then
            })
    }

    /// Makes an account for a spec and a key.
    pub(crate) fn make(spec: &Spec, budget: u8, key: u64) -> Account {
        Account {
            state: spec.state(true),
            key,
            born: 0,
            touched: 0,
            budget,
            pinned: false,
            vacant: false,
            shut_until: 0,
            book: None,
        }
    }
}

impl std::ops::Index<usize> for Accounts {
    type Output = Account;

    #[inline]
    fn index(&self, at: usize) -> &Account {
        &self.list[at]
    }
}

impl std::ops::IndexMut<usize> for Accounts {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut Account {
        &mut self.list[at]
    }
}
