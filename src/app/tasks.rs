//! Background work with a name: every task is known, ends when asked, and is waited for.
//!
//! [`Tasks::spawn`] starts work that runs until [`Stop`] says so. [`Tasks::finish`] runs one piece
//! of work to its end even when the caller goes away, so that a client that hangs up in the middle
//! of a commit leaves no half-told change. A panic is counted as a bug and ends that task alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};

use crate::bug;

/// Every task of one server. Clones share them.
#[derive(Clone)]
pub struct Tasks {
    shared: Arc<Shared>,
}

struct Shared {
    running: Mutex<Running>,
    stop: watch::Sender<bool>,
}

#[derive(Default)]
struct Running {
    set: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// Tells a task that it should end.
#[derive(Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Resolves when the server stops; at once when it already has.
    pub async fn requested(&mut self) {
        // An error means that `Tasks` is gone, which is a stop as well.
        drop(self.0.wait_for(|stop| *stop).await);
    }

    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }
}

impl Default for Tasks {
    fn default() -> Self {
        Self::new()
    }
}

impl Tasks {
    pub fn new() -> Self {
        let shared = Shared {
            running: Mutex::new(Running::default()),
            stop: watch::Sender::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// A handle that tells when to end.
    pub fn stop(&self) -> Stop {
        Stop(self.shared.stop.subscribe())
    }

    /// Starts `work` under `name`. Must be called inside a tokio runtime.
    pub fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running();
        while let Some(ended) = running.set.try_join_next_with_id() {
            running.forget(ended);
        }
        let id = running.set.spawn(work).id();
        running.names.insert(id, name);
    }

    /// Runs `work` to its end, whether or not the caller still waits. `None` when the server ended
    /// it first, or it panicked.
    pub async fn finish<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.spawn(name, async move {
            // The caller may be gone; the work still had to be done.
            drop(sender.send(work.await));
        });
        receiver.await.ok()
    }

    /// Asks every task to end.
    pub fn request_stop(&self) {
        self.shared.stop.send_replace(true);
    }

    /// Asks every task to end, waits up to `patience`, then cancels what is left. Returns the names
    /// of the cancelled ones.
    pub async fn shut_down(&self, patience: Duration) -> Vec<&'static str> {
        self.request_stop();
        let mut last = std::mem::take(&mut *self.running());
        let drained = async {
            while let Some(ended) = last.set.join_next_with_id().await {
                last.forget(ended);
            }
        };
        drop(tokio::time::timeout(patience, drained).await);
        let mut left: Vec<&'static str> = last.names.values().copied().collect();
        left.sort_unstable();
        last.set.shutdown().await;
        left
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.shared
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn forget(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (id, error) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => (error.id(), Some(error)),
        };
        let name = self.names.remove(&id).unwrap_or("unnamed");
        if error.is_some_and(|e| e.is_panic()) {
            bug!("task {name} panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_goes_on_when_its_caller_goes_away() {
        let tasks = Tasks::new();
        let (go, wait) = oneshot::channel::<()>();
        let (done, seen) = oneshot::channel::<()>();
        {
            let work = tasks.finish("work", async move {
                wait.await.unwrap();
                done.send(()).unwrap();
            });
            let mut work = std::pin::pin!(work);
            let polled = futures_util::poll!(&mut work);
            assert!(polled.is_pending());
        }
        go.send(()).unwrap();
        seen.await.unwrap();
    }

    #[tokio::test]
    async fn shutting_down_names_those_that_would_not_end() {
        let tasks = Tasks::new();
        let mut stop = tasks.stop();
        tasks.spawn("obedient", async move { stop.requested().await });
        tasks.spawn("deaf", std::future::pending());
        assert_eq!(
            tasks.shut_down(Duration::from_millis(50)).await,
            vec!["deaf"]
        );
    }

    #[tokio::test]
    async fn a_panic_ends_one_task_alone() {
        let tasks = Tasks::new();
        let got: Option<u8> = tasks.finish("broken", async { panic!("broken") }).await;
        assert_eq!(got, None);
        assert_eq!(tasks.finish("whole", async { 7 }).await, Some(7));
    }
}
