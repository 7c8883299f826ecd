//! Bytes as records and as the body of each handshake message, and datagrams to the whole engine, in a world where
//! every identity has a key.

#![no_main]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use strait::base::peer::DeviceSeq;
use strait::base::secret::Secret;
use strait::engine::dtls::{
    Dtls, Known, Lookup, Outputs, Random, Settings, Stored, Unavailable, Unknown,
};
use strait::wire::dtls::{Alert, RoutabilityCheck, record};

struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

struct Everybody;

impl Lookup for Everybody {
    fn device(&mut self, identity: &[u8]) -> Result<Known, Unknown> {
        Ok(Known {
            device: DeviceSeq(identity.len() as u64),
            key: Secret::new(vec![7; 16]),
            version: 1,
        })
    }

    fn session(&mut self, _: DeviceSeq) -> Result<Option<Stored>, Unavailable> {
        Ok(None)
    }
}

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    while let Ok((_, more)) = record::parse(rest, 8) {
        rest = more;
    }
    let _alert = Alert::parse(input);
    let _check = RoutabilityCheck::parse(input);
    let mut now = Instant::now();
    let mut engine = Dtls::new(Settings::default(), now, Box::new(Counting(0)));
    let mut out = Outputs::default();
    let mut rest = input;
    while let [head, len, more @ ..] = rest {
        let (datagram, after) = more.split_at((*len as usize).min(more.len()));
        rest = after;
        let address = SocketAddr::from(([192, 0, 2, 1], 1000 + u16::from(head & 1)));
        engine.receive(now, address, datagram, &mut Everybody, &mut out);
        now += Duration::from_millis(u64::from(*head));
        engine.tick(now, &mut out);
        let (handshakes, sessions, _) = engine.counts();
        assert!(handshakes <= 2 && sessions == 0);
    }
});
