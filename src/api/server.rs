//! Serves the router on a listener, until told to stop.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::router;
use crate::app::App;

/// How long a stop waits for requests under way.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running HTTP server.
#[derive(Debug)]
pub struct Server {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Server {
    /// Must be called inside a tokio runtime.
    pub fn start(app: App, listener: TcpListener) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            let served = axum::serve(listener, router(app))
                .with_graceful_shutdown(async {
                    // A dropped sender stops as well.
                    drop(stopped.await);
                })
                .await;
            if let Err(error) = served {
                tracing::error!(%error, "the HTTP server ended");
            }
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "joined or aborted by Server::stop"
        )]
        let serving = tokio::spawn(serve);
        Self { stop, serving }
    }

    /// Takes no new connection, finishes requests under way, drops those that take too long.
    pub async fn stop(mut self) {
        if self.stop.send(()).is_err() {
            tracing::debug!("the HTTP server had ended by itself");
        }
        if tokio::time::timeout(PATIENCE, &mut self.serving)
            .await
            .is_err()
        {
            self.serving.abort();
        }
    }
}
