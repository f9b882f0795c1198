use std::hash::{BuildHasher, Hash, RandomState};

/// How many scopes one limiter may have.
pub(crate) const MAX_SCOPES: usize = 4;

/// Names one scope of one limiter: what its budgets are kept apart by. Given by
/// [`LimiterBuilder::scope`](crate::LimiterBuilder::scope).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ScopeId(pub(crate) u8);

/// Who pays: an account, a token, a zone, an endpoint.
///
/// Eight bytes, so that a million of them can be told apart in little memory.
/// A number is taken as it is; anything else is hashed, with a key that differs
/// from process to process. Two names of the same hash (one pair in some
/// 10^19) would share their budgets, which is never too much.
///
/// ```
/// use tower_ratelimit_tokens::Key;
///
/// assert_eq!(Key::of("acme"), Key::of("acme"));
/// assert_ne!(Key::of("acme"), Key::of("apex"));
/// assert_eq!(Key::from(7), Key::from(7));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(pub(crate) u64);

impl Key {
    /// The key of a name. The name itself is not kept: a token or a user may
    /// stand for itself without showing up in a status.
    #[must_use]
    pub fn of<T: Hash + ?Sized>(name: &T) -> Self {
        static STATE: std::sync::OnceLock<RandomState> = std::sync::OnceLock::new();
        Self(STATE.get_or_init(RandomState::new).hash_one(name))
    }
}

impl From<u64> for Key {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

/// The key of a scope inside another: differs where either differs.
pub(crate) const fn within(outer: u64, inner: u64) -> u64 {
    mix(mix(outer) ^ inner.rotate_left(32))
}

/// Spreads the bits of a key; the finaliser of SplitMix64.
#[inline]
pub(crate) const fn mix(key: u64) -> u64 {
    let key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}
