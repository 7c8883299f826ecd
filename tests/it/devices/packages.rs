//! Files of packages by block: `GET /fw/<path>`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use coap_lite::{CoapOption, MessageType, Packet};
use serde_json::{Value, json};
use strait::app::package::{Progress, ServedBlock};
use strait::base::ids::DeviceId;
use strait::net::{Downward, Route};
use strait::sim::message::{self, Draft};
use strait::store::package_files::PackageFiles;
use tempfile::TempDir;

use super::Bench;
use super::secured::Session;

const FORBIDDEN: u8 = 0x83;

/// What a device got.
#[derive(Debug, PartialEq)]
struct Got {
    code: u8,
    /// Number, more, exponent of the size.
    block: Option<(u32, bool, u32)>,
    etag: Vec<u8>,
    payload: Vec<u8>,
}

impl Got {
    fn read(datagram: &[u8]) -> Self {
        let packet: Packet = message::read(datagram).unwrap();
        let block = message::uint(&packet, CoapOption::Block2);
        let etag = packet.get_first_option(CoapOption::ETag);
        Self {
            code: message::code(&packet),
            block: block.map(|b| (b >> 4, b & 8 != 0, b & 7)),
            etag: etag.cloned().unwrap_or_default(),
            payload: packet.payload,
        }
    }
}

fn sample(len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| u8::try_from(i * 31 % 251).unwrap())
        .collect()
}

/// A bench with a package of `p`, and the DTLS session of `p_secured`.
struct Depot {
    bench: Bench,
    session: Session,
    path: String,
    package_id: String,
    file: Vec<u8>,
    _data: TempDir,
}

impl Depot {
    async fn start(len: usize) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut bench = Bench::start_beside(PackageFiles::of(data.path())).await;
        let file = sample(len);
        let made = upload(&bench, "p", &file).await;
        let session = Session::of(&mut bench, "p_secured").await;
        let text = |name: &str| {
            made[name]
                .as_str()
                .unwrap()
                .trim_start_matches('/')
                .to_owned()
        };
        Self {
            path: text("coap_path"),
            package_id: text("package_id"),
            bench,
            session,
            file,
            _data: data,
        }
    }

    fn get(&mut self, path: &str, block: Option<(u32, u32)>) -> Draft {
        let draft = self.bench.draft(message::GET, path, "");
        match block {
            Some((number, szx)) => draft.uint(CoapOption::Block2, number << 4 | szx),
            None => draft,
        }
    }

    /// The answer over DTLS.
    async fn ask(&mut self, path: &str, block: Option<(u32, u32)>) -> Got {
        let datagram = self.get(path, block).bytes().unwrap();
        let out = self
            .bench
            .record(&mut self.session, Route::Proven, &datagram)
            .await;
        let sent = out.iter().find_map(|down| match down {
            Downward::Send(_, answer) => Some(answer),
            _ => None,
        });
        Got::read(sent.unwrap_or_else(|| panic!("{out:?}")))
    }

    async fn block(&mut self, number: u32, szx: u32) -> Got {
        let path = self.path.clone();
        self.ask(&path, Some((number, szx))).await
    }

    /// The answer in the clear, if there is one.
    async fn ask_plain(&mut self, from: u16, block: (u32, u32)) -> Option<Got> {
        let path = self.path.clone();
        let datagram = self.get(&path, Some(block)).bytes().unwrap();
        let out = self.bench.exchange(from, &datagram).await;
        out.first().map(|(_, datagram)| Got::read(datagram))
    }
}

/// The answer to the upload; bytes are cut to seven bits, which text carries.
async fn upload(bench: &Bench, product: &str, file: &[u8]) -> Value {
    let path =
        format!("/v1/packages?package_type=firmwarePackage&product_id={product}&version=V1.1");
    let body = String::from_utf8(file.iter().map(|b| b & 0x7f).collect()).unwrap();
    bench
        .server
        .request("PUT", &path, "application/octet-stream", body)
        .await
}

#[tokio::test(start_paused = true)]
async fn blocks_of_every_size_join_to_the_file() {
    for len in [1, 16, 1024, 1025, 2000] {
        let mut depot = Depot::start(len).await;
        let file: Vec<u8> = depot.file.iter().map(|b| b & 0x7f).collect();
        let mut etags = Vec::new();
        for szx in 0..=6 {
            let mut joined = Vec::new();
            for number in 0.. {
                let got = depot.block(number, szx).await;
                assert_eq!(got.code, message::CONTENT);
                let more = joined.len() + got.payload.len() < len;
                assert_eq!(got.block, Some((number, more, szx)), "of {len}");
                joined.extend(got.payload);
                etags.push(got.etag);
                if !more {
                    break;
                }
            }
            assert!(joined == file, "{len} in blocks of {}", 16 << szx);
        }
        etags.dedup();
        assert_eq!(etags.len(), 1, "one file, one tag");
        assert_eq!(etags[0].len(), 8);
        // Without Block2: the usual size, also when all fits.
        let path = depot.path.clone();
        let got = depot.ask(&path, None).await;
        assert_eq!(got.block, Some((0, len > 512, 5)));
        assert!(got.payload == file[..len.min(512)]);
    }
}

/// Any block, any time: after a restart, in another size, from another address, with a query left on the
/// path.
#[tokio::test(start_paused = true)]
async fn a_download_goes_on_whatever_came_between() {
    let mut depot = Depot::start(3000).await;
    let first = depot.block(2, 5).await;
    depot.bench.restart();
    assert_eq!(depot.block(2, 5).await, first);
    let file: Vec<u8> = depot.file.iter().map(|b| b & 0x7f).collect();
    let smaller = depot.block(9, 3).await;
    assert!(smaller.payload == file[9 * 128..10 * 128]);
    assert_eq!(
        (smaller.block, &smaller.etag),
        (Some((9, true, 3)), &first.etag)
    );
    depot.bench.sleep(Duration::from_hours(30)).await;
    let last = depot.block(5, 5).await;
    assert_eq!(
        (last.block, last.payload.len()),
        (Some((5, false, 5)), 3000 - 5 * 512)
    );
    let path = depot.path.clone();
    for glued in [format!("{path}?v=1"), format!("{path}/")] {
        assert_eq!(depot.ask(&glued, Some((2, 5))).await, first, "{glued}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_served_says_why() {
    let mut depot = Depot::start(100).await;
    let path = depot.path.clone();
    assert_eq!(path.len(), "fw/".len() + 16);
    let table = [
        ("fw/aaaaaaaaaaaaaaaa", None, message::NOT_FOUND),
        (&path, Some((1, 6)), message::BAD_REQUEST),
        (&path, Some((0, 7)), message::BAD_REQUEST),
        ("fw", None, message::NOT_FOUND),
        ("fw/a/b", None, message::NOT_FOUND),
    ];
    for (path, block, code) in table {
        let got = depot.ask(path, block).await;
        assert_eq!(got.code, code, "{path} {block:?}");
    }
    let post = depot.bench.draft(message::POST, &path, "").bytes().unwrap();
    let out = depot
        .bench
        .record(&mut depot.session, Route::Proven, &post)
        .await;
    let [Downward::Send(_, answer)] = &out[..] else {
        panic!("{out:?}");
    };
    assert_eq!(Got::read(answer).code, message::NOT_ALLOWED);
    // Nobody is registered there.
    assert_eq!(depot.ask_plain(77, (0, 0)).await.unwrap().code, FORBIDDEN);
    // Another product's device.
    depot.bench.register(2, "t/r", "ep=n2").await;
    assert_eq!(depot.ask_plain(2, (0, 0)).await.unwrap().code, FORBIDDEN);
    let id = depot.package_id.clone();
    let frozen = "/v5/iot/x/devices/p_secured/freeze";
    depot.bench.server.call("POST", frozen, &json!({})).await;
    assert_eq!(depot.block(0, 5).await.code, FORBIDDEN);
    let thaw = "/v5/iot/x/devices/p_secured/unfreeze";
    depot.bench.server.call("POST", thaw, &json!({})).await;
    assert_eq!(depot.block(0, 5).await.code, message::CONTENT);
    let gone = format!("/v5/iot/x/ota-upgrades/packages/{id}");
    depot.bench.server.call("DELETE", &gone, &Value::Null).await;
    assert_eq!(depot.block(0, 5).await.code, message::NOT_FOUND);
}

/// In the clear, an address gets three times what it sent until it has proven to be the device's; once it
/// has, a download of blocks alone keeps it so.
#[tokio::test(start_paused = true)]
async fn blocks_in_the_clear_go_to_proven_addresses() {
    let mut depot = Depot::start(3000).await;
    let observed = depot.bench.register(1, "rd", "ep=n1").await;
    assert_eq!(depot.ask_plain(1, (0, 6)).await, None);
    let answer = depot.bench.establishment(&observed);
    depot.bench.exchange(1, &answer).await;
    for number in 0..3 {
        // Longer together than the server remembers silent addresses.
        depot.bench.sleep(Duration::from_secs(200)).await;
        let got = depot.ask_plain(1, (number, 6)).await.unwrap();
        assert_eq!((got.code, got.block.unwrap().0), (message::CONTENT, number));
    }
    // A repetition is answered as the first time, and a request that wants no acknowledgement as well.
    let path = depot.path.clone();
    let draft = depot.get(&path, Some((0, 4))).bytes().unwrap();
    let once = depot.bench.answers(1, &draft).await;
    assert_eq!(depot.bench.answers(1, &draft).await, once);
    let mut other = draft.clone();
    other[0] |= 0x10;
    let out = depot.bench.exchange(1, &other).await;
    let [(_, answer)] = &out[..] else {
        panic!("{out:?}");
    };
    let packet = message::read(answer).unwrap();
    assert_eq!(packet.header.get_type(), MessageType::NonConfirmable);
    assert_eq!(packet.payload.len(), 256);
}

/// Device, package, offset, length, size of the file.
type Told = (String, String, u64, u32, u64);

#[derive(Default)]
struct Listener(Mutex<Vec<Told>>);

impl Progress for Listener {
    fn block(&self, block: &ServedBlock<'_>) {
        self.0.lock().unwrap().push((
            block.device_id.to_string(),
            block.package_id.to_string(),
            block.offset,
            block.len,
            block.total,
        ));
    }

    fn pushed(&self, _: &DeviceId, _: u64, _: u64) {}
}

#[tokio::test(start_paused = true)]
async fn progress_hears_of_every_block() {
    let mut depot = Depot::start(1000).await;
    let listener = Arc::new(Listener::default());
    depot
        .bench
        .server
        .platform
        .app
        .packages
        .set_progress(Arc::clone(&listener) as _);
    depot.block(0, 5).await;
    depot.block(1, 5).await;
    depot.block(9, 5).await;
    let (device, id) = ("p_secured".to_owned(), depot.package_id.clone());
    let told = listener.0.lock().unwrap().clone();
    let want = [
        (device.clone(), id.clone(), 0, 512, 1000),
        (device, id, 512, 488, 1000),
    ];
    assert_eq!(told, want);
}
