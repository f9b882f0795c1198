use std::{fmt, sync::Arc};

use tokio::sync::watch;

use crate::Change;

type Listener = Arc<dyn Fn(&Change) + Send + Sync>;

/// Who wants to hear of each change. Called outside every lock.
#[derive(Clone, Default)]
pub(crate) struct Listeners(Vec<Listener>);

impl Listeners {
    pub(crate) fn add(&mut self, listener: impl Fn(&Change) + Send + Sync + 'static) {
        self.0.push(Arc::new(listener));
    }

    /// Tells the world. Two threads may come here in the wrong order.
    #[cold]
    pub(crate) fn publish(&self, name: &str, newest: &watch::Sender<Change>, change: &Change) {
        let Change { number, from, to, reason, .. } = change;
        if to.rank() > from.rank() {
            tracing::warn!(
                name: "health.changed",
                target: "tower_health",
                health = name, number, from = from.as_str(), to = to.as_str(), reason = %reason,
                "health got worse"
            );
        } else {
            tracing::info!(
                name: "health.changed",
                target: "tower_health",
                health = name, number, from = from.as_str(), to = to.as_str(), reason = %reason,
                "health changed"
            );
        }
        newest.send_if_modified(|seen| {
            let newer = change.number > seen.number;
            if newer {
                *seen = change.clone();
            }
            newer
        });
        self.0.iter().for_each(|listener| listener(change));
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} listeners", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::{Reason, State};

    #[test]
    fn a_change_published_late_does_not_hide_a_newer_one() {
        let change = |number, to| Change {
            number,
            from: State::Unknown,
            to,
            reason: Reason::NoCalls,
            at: Instant::now(),
        };
        let newest = watch::Sender::new(change(0, State::Unknown));
        let newer = change(2, State::Degraded);
        let listeners = Listeners::default();
        listeners.publish("test", &newest, &newer);
        listeners.publish("test", &newest, &change(1, State::Healthy));
        assert_eq!(*newest.borrow(), newer);
    }
}
