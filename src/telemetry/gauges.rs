//! What is read rather than counted, every `EVERY`: the process (under the names that every exporter
//! of Prometheus uses), room on its disk, and the devices by status.
//!
//! Bytes and seconds. What can't be read keeps its last value: the next reading may succeed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

use crate::app::tasks::Stop;
use crate::base::time::Clock;
use crate::engine::presence::Presence;
use crate::store::Store;
use crate::store::find::{Filter, Find, FindOrder};
use crate::store::package_files::DIRECTORY as PACKAGES;

/// Counting by status walks over all devices: often enough to watch, and little work in all.
const EVERY: Duration = Duration::from_secs(15);

/// Reads until `stop`. `data` is the data directory.
pub async fn watch(data: PathBuf, store: Arc<dyn Store>, clock: Clock, mut stop: Stop) {
    describe();
    gauge!("strait_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    gauge!("process_start_time_seconds").set(clock.now().as_ms() as f64 / 1000.0);
    loop {
        let (data, store, clock) = (data.clone(), Arc::clone(&store), clock.clone());
        let read = tokio::task::spawn_blocking(move || {
            read_process();
            read_disk(&data);
            count_devices(&*store, &clock);
        });
        // A disk that stands still must not hold up the stop.
        tokio::select! {
            () = stop.requested() => return,
            read = read => if let Err(error) = read {
                tracing::warn!(%error, "the gauges of /metrics could not be read");
            }
        }
        tokio::select! {
            () = stop.requested() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

fn describe() {
    describe_gauge!("strait_build_info", "1, with the version that runs");
    describe_gauge!(
        "process_start_time_seconds",
        "When the process began, seconds since 1970"
    );
    describe_counter!(
        "process_cpu_seconds_total",
        "Processor time of the process, whole seconds"
    );
    describe_gauge!(
        "process_resident_memory_bytes",
        "Memory of the process that is in use"
    );
    describe_gauge!("process_open_fds", "Open descriptors");
    describe_gauge!("process_max_fds", "Descriptors that may be open");
    describe_gauge!(
        "strait_data_bytes",
        "Size of what lies in the data directory, by part"
    );
    describe_gauge!(
        "strait_disk_free_bytes",
        "Room on the file system of the data directory"
    );
    describe_gauge!("strait_devices", "Devices, by status");
}

fn read_process() {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    counter!("process_cpu_seconds_total").absolute(u64::try_from(spent.tv_sec).unwrap_or(0));
    if let Some(bytes) = fs::read_to_string("/proc/self/status")
        .ok()
        .as_deref()
        .and_then(resident_bytes)
    {
        gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the directory itself.
        gauge!("process_open_fds").set(open.count().saturating_sub(1) as f64);
    }
    let most = getrlimit(Resource::Nofile).current;
    gauge!("process_max_fds").set(most.map_or(f64::INFINITY, |most| most as f64));
}

/// `VmRSS` of proc_pid_status(5), which is in kB of 1024.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kb: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    kb.checked_mul(1024)
}

fn read_disk(data: &Path) {
    for (part, folder) in [("store", "store"), ("packages", PACKAGES)] {
        let bytes = folder_bytes(&data.join(folder));
        gauge!("strait_data_bytes", "part" => part).set(bytes as f64);
    }
    if let Ok(stat) = rustix::fs::statvfs(data) {
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        gauge!("strait_disk_free_bytes").set(free as f64);
    }
}

/// Lengths of the files in it and below. Files come and go meanwhile: those that are gone count nothing.
fn folder_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => folder_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    });
    sizes.fold(0, u64::saturating_add)
}

/// A frozen device is counted as such alone, as its status in the API says.
fn count_devices(store: &dyn Store, clock: &Clock) {
    let here = |presence| {
        let thawed = Filter::Not(Box::new(Filter::Frozen));
        Filter::And(vec![Filter::Presence(presence), thawed])
    };
    let statuses = [
        ("INACTIVE", here(Presence::Inactive)),
        ("ONLINE", here(Presence::Online)),
        ("ABNORMAL", here(Presence::Abnormal)),
        ("OFFLINE", here(Presence::Offline)),
        ("FROZEN", Filter::Frozen),
    ];
    for (status, filter) in statuses {
        let found = store.find(&Find {
            filter: &filter,
            now: clock.now(),
            order: FindOrder::OldestFirst,
            offset: 0,
            limit: 0,
            beyond: None,
        });
        if let Ok(found) = found {
            gauge!("strait_devices", "status" => status).set(found.count as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let cases = [
            (
                "Name:\tx\nVmRSS:\t   12345 kB\nThreads:\t3\n",
                Some(12_641_280),
            ),
            ("VmRSS:\t 1 MB\n", None),
            ("Name:\tx\n", None),
            ("VmRSS:\t 18446744073709551615 kB\n", None),
        ];
        for (status, want) in cases {
            assert_eq!(resident_bytes(status), want, "{status:?}");
        }
    }

    #[test]
    fn a_folder_weighs_what_its_files_do() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("blobs")).unwrap();
        fs::write(dir.path().join("db"), [0; 1000]).unwrap();
        fs::write(dir.path().join("blobs/one"), [0; 24]).unwrap();
        assert_eq!(folder_bytes(dir.path()), 1024);
        assert_eq!(folder_bytes(&dir.path().join("absent")), 0);
    }
}
