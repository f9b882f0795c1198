//! What a member and its ledger say to each other. Times are microseconds.

use serde::{Deserialize, Serialize};

/// One round trip: what one member holds and wants, of all its budgets.
///
/// It takes the place of all that the member has said before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// The member's name; each process run has its own.
    pub member: String,
    /// Greater in each exchange of this member. One that comes late is refused.
    pub seq: u64,
    /// A random name for the ledger's memory, in case it has none.
    pub nonce: String,
    /// One for each budget.
    pub asks: Vec<Ask>,
}

/// What a member holds and wants of one budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The budget's name.
    pub budget: String,
    /// Its limit, as the member knows it.
    pub limit: u64,
    /// Units wanted; 0 if none.
    pub want: u64,
    /// Of these, units that are of use only together: what the first waiting call
    /// lacks.
    pub first: u64,
    /// Units held that can still be sent.
    pub held: u64,
    /// How long what is granted can be sent.
    pub life: u64,
    /// How far ahead slots may be dated.
    pub ahead: u64,
    /// Whether slots are spread over the window.
    #[serde(default)]
    pub even: bool,
    /// How long a ledger without memory waits before it grants anything.
    pub quiet: u64,
    /// What is held.
    #[serde(flatten)]
    pub held_units: HeldUnits,
}

/// What a member holds of one budget.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum HeldUnits {
    /// Of a rolling or fixed window: dated send slots.
    Slots {
        /// The length of the window.
        window: u64,
        /// How long a request is on its way at most.
        transit: u64,
        /// All that counts or may come to count.
        counting: Vec<Counted>,
        /// What the server counts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<SlotLevel>,
    },
    /// Of a calendar day: a count.
    Counts {
        /// The day, as `2026-11-25`.
        period: String,
        /// How long it lasts yet.
        ends_in: u64,
        /// Units spent or spoken for in this period.
        spent: u64,
        /// Of these, units that were answered.
        settled: u64,
        /// A member that is silent for so long spends nothing any more.
        dead_after: u64,
        /// Whether what a dead member held goes back, or counts as spent.
        returned: bool,
        /// What the server counts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<CountLevel>,
    },
}

/// Units that stop counting together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(u64, u64, u64)", from = "(u64, u64, u64)")]
pub struct Counted {
    /// The ledger's time at which the slot begins; 0 if it has begun.
    pub dated: u64,
    /// How long from the sending of this exchange they may count.
    pub ends_in: u64,
    /// How many.
    pub units: u64,
}

impl From<Counted> for (u64, u64, u64) {
    fn from(c: Counted) -> Self {
        (c.dated, c.ends_in, c.units)
    }
}

impl From<(u64, u64, u64)> for Counted {
    fn from((dated, ends_in, units): (u64, u64, u64)) -> Self {
        Self { dated, ends_in, units }
    }
}

/// What the server counts in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotLevel {
    /// Units.
    pub counted: u64,
    /// How long before this exchange the request was sent that was told so.
    pub age: u64,
    /// An exchange that comes at this time of the ledger or later has been under way
    /// for so long that nobody awaits its answer, and that the age is wrong: this
    /// count is passed over. 0: never.
    #[serde(default)]
    pub late_at: u64,
}

/// What the server counts in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountLevel {
    /// Units.
    pub counted: u64,
    /// The request that was told so was sent at this time of the ledger, or later.
    pub since: u64,
    /// What the member itself has spent that is surely in it.
    pub ours: u64,
}

/// The ledger's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The ledger's time.
    pub now: u64,
    /// The name of the ledger's memory: another one means that it lost it.
    pub epoch: String,
    /// In the order of the asks.
    #[serde(default)]
    pub answers: Vec<Answer>,
}

/// What the ledger grants of one budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Dated slots.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slots: Vec<GrantedSlot>,
    /// Units of a count, besides those held.
    #[serde(default)]
    pub granted: u64,
    /// Whether the member's count is of another period than the ledger's, or came
    /// back from the dead: what it holds is void.
    #[serde(default)]
    pub revoked: bool,
    /// Units that count now, of all members.
    #[serde(default)]
    pub used: u64,
    /// Of these, units of a count that members hold and have not spent: they can come
    /// back.
    #[serde(default)]
    pub held: u64,
    /// Units that others were just found to have spent.
    #[serde(default)]
    pub foreign: u64,
    /// When more may be had, if less was granted than wanted; from now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_in: Option<u64>,
    /// The ledger has lost its memory and waits to hear from the survivors.
    #[serde(default)]
    pub quiet: bool,
}

/// Units that can be sent from one moment to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(u64, u64, u64)", from = "(u64, u64, u64)")]
pub struct GrantedSlot {
    /// From now.
    pub from_in: u64,
    /// From now.
    pub until_in: u64,
    /// How many.
    pub units: u64,
}

impl From<GrantedSlot> for (u64, u64, u64) {
    fn from(g: GrantedSlot) -> Self {
        (g.from_in, g.until_in, g.units)
    }
}

impl From<(u64, u64, u64)> for GrantedSlot {
    fn from((from_in, until_in, units): (u64, u64, u64)) -> Self {
        Self { from_in, until_in, units }
    }
}
