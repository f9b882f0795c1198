use std::{future::Future, sync::Arc};

use crate::{Exchange, LedgerError, Reply};

/// A store that several limiters spend from.
///
/// One exchange carries all budgets of one member: what it holds and wants in,
/// grants out. It must be decided in one step, by one clock. The promise: the
/// units that are granted and may count at one moment, of all members together,
/// never exceed the limit, if members keep to the dates of what they are granted.
///
/// [`MemoryLedger`](crate::MemoryLedger) is the simplest implementation; the suite
/// in `tests/it/conformance.rs` says what else must hold.
pub trait Ledger: Send + Sync {
    /// One round trip.
    ///
    /// # Errors
    ///
    /// [`LedgerError`]; nothing is granted then.
    ///
    /// # Cancellation
    ///
    /// May be dropped at any time. The store may then have taken it in; the
    /// member's next exchange takes its place.
    fn exchange(
        &self,
        exchange: &Exchange,
    ) -> impl Future<Output = Result<Reply, LedgerError>> + Send;
}

impl<L: Ledger> Ledger for Arc<L> {
    fn exchange(
        &self,
        exchange: &Exchange,
    ) -> impl Future<Output = Result<Reply, LedgerError>> + Send {
        L::exchange(self, exchange)
    }
}
