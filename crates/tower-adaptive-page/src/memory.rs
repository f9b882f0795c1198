/// How much memory is in use, and how much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Memory {
    /// In use, in bytes. May exceed the limit for a moment.
    pub used: u64,
    /// All that may be used, in bytes.
    pub limit: u64,
}

impl Memory {
    /// The part that is in use, in percent; 100 if the limit is zero.
    #[must_use]
    pub fn percent(&self) -> f64 {
        if self.limit == 0 { 100.0 } else { self.used as f64 * 100.0 / self.limit as f64 }
    }
}

/// Something that can tell how much memory is in use.
///
/// It is read at the interval of the controller, not at every call, so it may
/// read a file. Closures implement it.
pub trait MemoryProbe: Send + Sync {
    /// The figures of this moment; `None` if they cannot be read. Pages then
    /// keep their size and nothing waits.
    fn sample(&self) -> Option<Memory>;
}

impl<F> MemoryProbe for F
where
    F: Fn() -> Option<Memory> + Send + Sync,
{
    fn sample(&self) -> Option<Memory> {
        self()
    }
}
