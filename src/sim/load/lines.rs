//! The way of each device to the server: its address, and its session when it is secured. Messages
//! go in and come out plain.

use std::io;
use std::time::Duration;

use super::dtls::{Client, Heard};
use super::pool::Pool;

/// See the module.
pub(super) struct Lines {
    pool: Pool,
    /// Of each device, when they are secured.
    sessions: Vec<Client>,
    datagram: Vec<u8>,
    heard: Vec<Heard>,
}

impl Lines {
    pub(super) const fn plain(pool: Pool) -> Self {
        Self::secured(pool, Vec::new())
    }

    /// One open session for each device.
    pub(super) const fn secured(pool: Pool, sessions: Vec<Client>) -> Self {
        Self {
            pool,
            sessions,
            datagram: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Sends one message. It is lost when the server has closed the session.
    pub(super) fn send(&mut self, device: u32, message: &[u8]) -> io::Result<()> {
        if self.sessions.is_empty() {
            return self.pool.send(device, message);
        }
        let Some(session) = self.sessions.get_mut(device as usize) else {
            return Ok(());
        };
        session.seal(message, &mut self.datagram);
        if self.datagram.is_empty() {
            return Ok(());
        }
        self.pool.send(device, &self.datagram)
    }

    /// Waits at most `wait` and hands over the messages that came.
    pub(super) fn receive(
        &mut self,
        wait: Duration,
        take: &mut dyn FnMut(u32, &[u8]),
    ) -> io::Result<()> {
        let (sessions, heard) = (&mut self.sessions, &mut self.heard);
        if sessions.is_empty() {
            return self.pool.receive(wait, take);
        }
        self.pool.receive(wait, &mut |device, datagram| {
            let Some(session) = sessions.get_mut(device as usize) else {
                return;
            };
            session.take(datagram, heard);
            for heard in heard.drain(..) {
                if let Heard::Message(message) = heard {
                    take(device, &message);
                }
            }
        })
    }

    /// Closes all sessions.
    pub(super) fn close(&mut self) -> io::Result<()> {
        for (device, session) in (0..).zip(&mut self.sessions) {
            if session.is_open() {
                session.close(&mut self.datagram);
                self.pool.send(device, &self.datagram)?;
            }
        }
        Ok(())
    }
}
