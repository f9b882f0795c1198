use std::{fmt, hash::Hash};

use crate::{Circuit, Circuits};

/// Which circuit a request belongs to: for a [`Circuit`] always itself, for [`Keyed`] that of the request's key.
pub trait SelectCircuit<Request> {
    /// Does something with the circuit of the request.
    fn with<T>(&self, request: &Request, act: impl FnOnce(&Circuit) -> T) -> T;
}

impl<Request> SelectCircuit<Request> for Circuit {
    #[inline]
    fn with<T>(&self, _request: &Request, act: impl FnOnce(&Self) -> T) -> T {
        act(self)
    }
}

/// A circuit for each key of the requests; see [`Circuits::by`].
pub struct Keyed<K, F> {
    circuits: Circuits<K>,
    key: F,
}

impl<K, F> Keyed<K, F> {
    pub(crate) const fn new(circuits: Circuits<K>, key: F) -> Self {
        Self { circuits, key }
    }
}

impl<Request, K, F> SelectCircuit<Request> for Keyed<K, F>
where
    F: Fn(&Request) -> K,
    K: Clone + fmt::Display + Eq + Hash,
{
    #[inline]
    fn with<T>(&self, request: &Request, act: impl FnOnce(&Circuit) -> T) -> T {
        act(&self.circuits.get(&(self.key)(request)))
    }
}

impl<K, F: Clone> Clone for Keyed<K, F> {
    fn clone(&self) -> Self {
        Self { circuits: self.circuits.clone(), key: self.key.clone() }
    }
}

impl<K, F> fmt::Debug for Keyed<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("circuits", &self.circuits).finish_non_exhaustive()
    }
}
