use std::{fmt, sync::Arc, time::Duration};

use crate::{
    ConfigError, MemoryProbe, PageController, Price,
    config_error::Problems,
    controller::{Controller, Settings},
    detect,
    handle::{Given, Purge},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const TEN_SECONDS: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// Configures a [`PageController`]; see [`PageController::builder`].
#[derive(Clone)]
#[must_use]
pub struct PageControllerBuilder {
    min: u32,
    max: u32,
    server_max: u32,
    thresholds: (u8, u8, u8),
    probe: Option<Arc<dyn MemoryProbe>>,
    sample_every: Duration,
    settle: Duration,
    grow_every: Duration,
    max_pause: Duration,
    page_time: Option<Duration>,
    page_bytes: Option<u64>,
    price: Price,
    surcharge: u32,
    purge: Option<Purge>,
    purge_every: Duration,
}

impl PageControllerBuilder {
    pub(crate) const fn new() -> Self {
        Self {
            min: 10,
            max: 500,
            server_max: 500,
            thresholds: (80, 85, 95),
            probe: None,
            sample_every: Duration::from_millis(250),
            settle: Duration::from_secs(5),
            grow_every: Duration::from_secs(1),
            max_pause: Duration::from_secs(30),
            page_time: None,
            page_bytes: None,
            price: Price::per_page(1),
            surcharge: 100,
            purge: None,
            purge_every: TEN_SECONDS,
        }
    }

    /// The smallest and the largest page, in rows. Default: 10 and 500.
    pub const fn bounds(mut self, min: u32, max: u32) -> Self {
        (self.min, self.max) = (min, max);
        self
    }

    /// The most rows that the server gives at once. Pages start at this size if
    /// the bounds allow it. Default: 500.
    pub const fn server_max(mut self, rows: u32) -> Self {
        self.server_max = rows;
        self
    }

    /// Above which percentage of the limit pages shrink, an alert is raised,
    /// and no page is asked for. Pages grow below the first less 20, and where
    /// small pages make rows dear below the first less 10. Default: 80, 85, 95.
    pub const fn thresholds(mut self, shrink: u8, alert: u8, pause: u8) -> Self {
        self.thresholds = (shrink, alert, pause);
        self
    }

    /// Where the memory figures come from. Default: [`detect`] without a limit
    /// of your own.
    pub fn probe(mut self, probe: impl MemoryProbe + 'static) -> Self {
        self.probe = Some(Arc::new(probe));
        self
    }

    /// How often memory is read at most; the reading is done by whichever call
    /// comes next. Default: 250 ms.
    pub const fn sample_every(mut self, interval: Duration) -> Self {
        self.sample_every = interval;
        self
    }

    /// How long pages do not grow after they shrank; twice as long each time
    /// growing turned out to be a mistake, up to 256 times. Default: 5 s.
    pub const fn settle(mut self, time: Duration) -> Self {
        self.settle = time;
        self
    }

    /// From one growth by a tenth to the next: what a larger page does to memory
    /// is seen only when it has come. Default: 1 s.
    pub const fn grow_every(mut self, time: Duration) -> Self {
        self.grow_every = time;
        self
    }

    /// How long a page may take. Pages that take longer shrink, as far as the
    /// [price](Self::price) allows; if that is of no use they grow back. Where
    /// the layer sits above others that wait, see [`Learned::took`]. Default: no
    /// such bound.
    ///
    /// [`Learned::took`]: crate::Learned::took
    pub const fn max_page_time(mut self, time: Duration) -> Self {
        self.page_time = Some(time);
        self
    }

    /// How many bytes an answer may have. Once the weight of a row is known,
    /// pages fill at most three quarters of it. Default: no such bound.
    pub const fn max_page_bytes(mut self, bytes: u64) -> Self {
        self.page_bytes = Some(bytes);
        self
    }

    /// What a list request costs. Default: one token a page, whatever it holds.
    pub const fn price(mut self, price: Price) -> Self {
        self.price = price;
        self
    }

    /// How much dearer a row may become for the sake of time, in percent of what
    /// it costs on the largest page. Memory is no matter of price: where it is
    /// short pages shrink all the same. Default: 100, so with a flat price time
    /// halves the page at most.
    pub const fn max_surcharge(mut self, percent: u32) -> Self {
        self.surcharge = percent;
        self
    }

    /// How long a call waits for memory before it is refused. Default: 30 s.
    pub const fn max_pause(mut self, time: Duration) -> Self {
        self.max_pause = time;
        self
    }

    /// Gives memory that the allocator holds and does not need back to the
    /// system, and says how many bytes that were; `None` if it does not know, and
    /// what the probe sees before and after counts. Called above the first
    /// threshold, at most every [`purge_every`](Self::purge_every), by whoever asks
    /// for a page or gets one, so it should take no longer than some milliseconds.
    /// No lock is held meanwhile. Default: nothing is purged.
    pub fn purge(mut self, purge: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        self.purge = Some(Arc::new(purge));
        self
    }

    /// From one purging to the next at least. Default: 10 s, which is the least.
    pub const fn purge_every(mut self, interval: Duration) -> Self {
        self.purge_every = interval;
        self
    }

    /// Builds the controller.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with everything that is wrong.
    pub fn build(self) -> Result<PageController, ConfigError> {
        self.check()?;
        let (shrink, alert, pause) = self.thresholds;
        let settings = Settings {
            min: self.min,
            upper: self.max,
            max: self.max.min(self.server_max),
            shrink,
            alert,
            pause,
            settle: self.settle,
            grow_every: self.grow_every,
            page_time: self.page_time,
            page_bytes: self.page_bytes,
            price: self.price,
            surcharge: self.surcharge,
        };
        let probe = self.probe.unwrap_or_else(|| Arc::new(detect(None)));
        let Self { sample_every, max_pause, purge, purge_every, .. } = self;
        let given = Given { probe, sample_every, max_pause, purge, purge_every };
        Ok(PageController::new(Controller::new(settings), given))
    }

    fn check(&self) -> Result<(), ConfigError> {
        let Self { min, max, server_max, .. } = *self;
        let (shrink, alert, pause) = self.thresholds;
        let mut it = Problems::default();
        let right = (1..=max.max(1)).contains(&min);
        it.check(right, "bounds.min", &min, format!("1 to {} rows", max.max(1)));
        it.check(max > 0, "bounds.max", &max, "at least 1 row");
        let right = server_max >= min.max(1);
        it.check(right, "server_max", &server_max, format!("at least {} rows", min.max(1)));
        // Each within what the one before it leaves, so that one wrong value is told once.
        it.check((1..=98).contains(&shrink), "thresholds.shrink", &shrink, "1 to 98 percent");
        let first = shrink.clamp(1, 98) + 1;
        let allowed = format!("{first} to 99 percent");
        it.check((first..=99).contains(&alert), "thresholds.alert", &alert, allowed);
        let second = alert.clamp(first, 99) + 1;
        let allowed = format!("{second} to 100 percent");
        it.check((second..=100).contains(&pause), "thresholds.pause", &pause, allowed);
        const MS: Duration = Duration::from_millis(1);
        let right = (MS..=HOUR).contains(&self.sample_every);
        it.check(right, "sample_every", &self.sample_every, "1 ms to 1 h");
        it.check(self.settle <= DAY, "settle", &self.settle, "at most a day");
        it.check(self.grow_every <= HOUR, "grow_every", &self.grow_every, "at most 1 h");
        it.check(self.max_pause <= DAY, "max_pause", &self.max_pause, "at most a day");
        let time = self.page_time.unwrap_or(MS);
        it.check((MS..=HOUR).contains(&time), "max_page_time", &time, "1 ms to 1 h");
        let bytes = self.page_bytes.unwrap_or(1);
        it.check(bytes > 0, "max_page_bytes", &bytes, "at least 1 byte");
        let right = self.surcharge <= 100_000;
        it.check(right, "max_surcharge", &self.surcharge, "0 to 100000 percent");
        let right = (TEN_SECONDS..=DAY).contains(&self.purge_every);
        it.check(right, "purge_every", &self.purge_every, "10 s to a day");
        it.into_result()
    }
}

impl fmt::Debug for PageControllerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageControllerBuilder")
            .field("min", &self.min)
            .field("max", &self.max)
            .field("server_max", &self.server_max)
            .field("thresholds", &self.thresholds)
            .field("sample_every", &self.sample_every)
            .field("settle", &self.settle)
            .field("grow_every", &self.grow_every)
            .field("max_page_time", &self.page_time)
            .field("max_page_bytes", &self.page_bytes)
            .field("price", &self.price)
            .field("max_surcharge", &self.surcharge)
            .field("purges", &self.purge.is_some())
            .field("purge_every", &self.purge_every)
            .field("max_pause", &self.max_pause)
            .finish_non_exhaustive()
    }
}
