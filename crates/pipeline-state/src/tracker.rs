use std::{fmt, sync::Arc};

use jiff::Timestamp;

use crate::{
    AnyStore, MAX_PHASES, Pipeline, PipelineConfig, PipelineId, PipelineInfo, Resume, Resumed,
    SqliteStore, StateError, Store, bounds::Problems,
};

type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Makes pipelines in a store and goes on with them.
///
/// # What is shared
///
/// Clones share the store, the configuration and the worker's name. Give each worker of a process its
/// own name only if somebody is to [revoke](Pipeline::revoke) its leases alone.
#[derive(Clone)]
pub struct StateTracker<S = AnyStore> {
    pub(crate) store: S,
    pub(crate) config: PipelineConfig,
    pub(crate) worker: Arc<str>,
    clock: Option<Clock>,
}

impl<S: fmt::Debug> fmt::Debug for StateTracker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateTracker")
            .field("store", &self.store)
            .field("config", &self.config)
            .field("worker", &self.worker)
            .finish_non_exhaustive()
    }
}

impl StateTracker {
    /// Opens a store by its URL: see [`AnyStore::open`]. With
    /// [`enable_state_tracking`](PipelineConfig::enable_state_tracking) off, in memory.
    ///
    /// # Errors
    ///
    /// Those of [`AnyStore::open`].
    pub async fn open(url: &str, config: PipelineConfig) -> Result<Self, StateError> {
        let store = match config.enable_state_tracking() {
            true => AnyStore::open(url).await?,
            false => AnyStore::Sqlite(SqliteStore::in_memory().await?),
        };
        Ok(Self::new(store, config))
    }
}

impl<S: Store> StateTracker<S> {
    /// On a store. The worker's name is the process's number and a random one.
    pub fn new(store: S, config: PipelineConfig) -> Self {
        let worker = format!("{}-{:08x}", std::process::id(), fastrand::u32(..)).into();
        Self { store, config, worker, clock: None }
    }

    /// Gives the worker a name: see [`Pipeline::revoke`].
    #[must_use]
    pub fn worker(self, name: impl Into<Arc<str>>) -> Self {
        Self { worker: name.into(), ..self }
    }

    /// Takes the time from here and not from the store's clock: for tests. All who use one store must
    /// have one clock.
    #[must_use]
    pub fn clock(self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { clock: Some(Arc::new(clock)), ..self }
    }

    pub(crate) async fn now(&self) -> Result<Timestamp, StateError> {
        match &self.clock {
            Some(clock) => Ok(clock()),
            None => self.store.now().await,
        }
    }

    /// The store.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The configuration.
    pub const fn config(&self) -> &PipelineConfig {
        &self.config
    }

    /// Makes a pipeline of so many phases. Its items are [added](Pipeline::add) to them. Names need not
    /// be unique; phases within a pipeline are.
    ///
    /// # Errors
    ///
    /// [`StateError::Input`] lists every name that is empty, too long or given twice; the store's.
    #[doc(alias = "initialize_pipeline")]
    pub async fn initialize(&self, name: &str, phases: &[&str]) -> Result<Pipeline<S>, StateError> {
        let mut problems = Problems::default();
        problems.name("pipeline", name);
        problems.at_most("phases", phases.len(), MAX_PHASES);
        if phases.is_empty() {
            problems.add(|| "a pipeline needs a phase".to_owned());
        }
        for (at, phase) in phases.iter().enumerate() {
            problems.name("phase", phase);
            if phases[..at].contains(phase) {
                problems.add(|| format!("phase {phase:?} is given twice"));
            }
        }
        problems.name("worker", &self.worker);
        problems.finish()?;
        let id = self.store.create(self.now().await?, name, phases).await?;
        Ok(Pipeline::new(self.clone(), id))
    }

    /// A pipeline that is there, as another worker of it: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`StateError::NoPipeline`]; the store's.
    pub async fn join(&self, id: PipelineId) -> Result<Pipeline<S>, StateError> {
        self.store.info(id).await?;
        Ok(Pipeline::new(self.clone(), id))
    }

    /// Gets a pipeline that stopped ready to go on. What leases that have run out held is pending
    /// again in any case. One of all workers calls this; the others [join](Self::join).
    ///
    /// # Errors
    ///
    /// [`StateError::CorruptCheckpoint`] if the checkpoint asked for, or else the newest, is not what
    /// was written; [`StateError::NoPipeline`], [`StateError::NoCheckpoint`], [`StateError::NoPhase`];
    /// the store's. Nothing is changed then.
    #[doc(alias = "resume_pipeline")]
    pub async fn resume(
        &self,
        id: PipelineId,
        from: &Resume,
    ) -> Result<(Pipeline<S>, Resumed), StateError> {
        let max = self.config.max_lost_leases();
        let resumed = self.store.resume(self.now().await?, id, from, max).await?;
        Ok((Pipeline::new(self.clone(), id), resumed))
    }

    /// What the configuration says: [resumes](Self::resume) the pipeline that
    /// [`resume_from_pipeline_id`](PipelineConfig::resume_from_pipeline_id) names, or else
    /// [makes](Self::initialize) a new one.
    ///
    /// # Errors
    ///
    /// Those of the two.
    pub async fn start(
        &self,
        name: &str,
        phases: &[&str],
    ) -> Result<(Pipeline<S>, Option<Resumed>), StateError> {
        let Some(id) = self.config.resume_from_pipeline_id() else {
            return Ok((self.initialize(name, phases).await?, None));
        };
        let failed_only = self.config.resume_failed_only();
        let from = if failed_only { Resume::FailedOnly } else { Resume::All };
        let (pipeline, resumed) = self.resume(id, &from).await?;
        Ok((pipeline, Some(resumed)))
    }

    /// The pipelines of the store, the newest first, below a number if one is given.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn pipelines(
        &self,
        below: Option<PipelineId>,
        limit: usize,
    ) -> Result<Vec<PipelineInfo>, StateError> {
        self.store.pipelines(below, limit).await
    }

    /// Removes a pipeline and all that belongs to it.
    ///
    /// # Errors
    ///
    /// [`StateError::NoPipeline`]; the store's.
    pub async fn remove(&self, id: PipelineId) -> Result<(), StateError> {
        self.store.remove(id).await
    }
}
