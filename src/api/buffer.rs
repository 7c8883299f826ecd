//! Bodies that are read before it is known who sends them: a signature covers the body, so it is in
//! memory before the signature can be checked. What strangers may fill with that is bounded over all
//! connections. A little of each body is free, so that who fills the rest keeps out no ordinary
//! request.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use super::request::{BodyTime, check_declared, too_large};

/// Bytes of all such bodies at the same time, unless set otherwise.
pub const UNVERIFIED_MAX: usize = 64 * 1024 * 1024;

/// Bytes of each that count for nothing: a device, a group, a command has fewer.
const FREE: usize = 16 * 1024;

/// Room for bodies of callers who are not known yet, and how long they may take. Clones share it.
#[derive(Debug, Clone)]
pub struct Buffer {
    room: Arc<Semaphore>,
    time: BodyTime,
}

/// A body, and its place in the buffer until its sender is known.
#[derive(Debug)]
pub struct Held {
    pub bytes: Bytes,
    _places: Option<OwnedSemaphorePermit>,
}

impl Buffer {
    /// Of so many bytes.
    pub fn new(max: usize, time: Duration) -> Self {
        Self {
            room: Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS))),
            time: BodyTime(time),
        }
    }

    /// How long every body may take.
    pub const fn time(&self) -> BodyTime {
        self.time
    }

    /// A whole body of up to `max` bytes, bounded in time. Errors: 408, 413, 503 no room.
    pub async fn read(&self, request: Request, max: usize) -> Result<Held, ApiError> {
        check_declared(request.headers(), max)?;
        let reading = self.collect(request.into_body(), max);
        tokio::time::timeout(self.time.0, reading)
            .await
            .unwrap_or_else(|_| Err(self.time.over()))
    }

    async fn collect(&self, mut body: Body, max: usize) -> Result<Held, ApiError> {
        let mut bytes = Vec::new();
        let mut places: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiError::malformed("the body broke off"))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            let len = bytes.len().saturating_add(data.len());
            if len > max {
                return Err(too_large(max));
            }
            let had = places.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let more = len.saturating_sub(FREE).saturating_sub(had);
            if more > 0 {
                let more = self.take(more)?;
                match &mut places {
                    Some(places) => places.merge(more),
                    None => places = Some(more),
                }
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Held {
            bytes: bytes.into(),
            _places: places,
        })
    }

    fn take(&self, count: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Arc::clone(&self.room)
            .try_acquire_many_owned(count)
            .map_err(|_| {
                metrics::counter!("strait_http_refused_total", "reason" => "bodies").increment(1);
                ApiError::unavailable("too many large bodies are being read, try again")
            })
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::super::request::BODY_TIME;
    use super::*;

    async fn read(buffer: &Buffer, len: usize) -> Result<Held, ApiError> {
        buffer
            .read(Request::new(Body::from(vec![7; len])), 1024 * 1024)
            .await
    }

    #[tokio::test]
    async fn large_bodies_share_a_bound_and_small_ones_pass() {
        let buffer = Buffer::new(100_000, BODY_TIME);
        let held = read(&buffer, FREE + 90_000).await.unwrap();
        assert_eq!(held.bytes.len(), FREE + 90_000);
        let refused = read(&buffer, FREE + 10_001).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(read(&buffer, FREE + 10_000).await.is_ok());
        assert!(read(&buffer, FREE).await.is_ok());
        drop(held);
        assert!(read(&buffer, FREE + 100_000).await.is_ok());
        let large = read(&buffer, 1024 * 1024 + 1).await.unwrap_err();
        assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
