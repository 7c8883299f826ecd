//! What a worker has given up before it takes an order, as the kernel tells it.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::PATIENCE;

#[test]
#[cfg(target_os = "linux")]
fn a_worker_can_open_start_and_become_nothing() {
    let mut worker = Command::new(env!("CARGO_BIN_EXE_strait"))
        .arg("codec-worker")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", worker.id())).unwrap();
    let began = Instant::now();
    // The filter is the last of it.
    let mut status = read("status");
    while !status.contains("Seccomp:\t2") {
        assert!(began.elapsed() < PATIENCE, "no filter: {status}");
        std::thread::yield_now();
        status = read("status");
    }
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let limits = read("limits");
    for (name, most) in [
        ("Max open files", "3"),
        ("Max processes", "0"),
        ("Max file size", "0"),
        ("Max core file size", "0"),
        ("Max data size", "1073741824"),
    ] {
        let line = limits.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        let both: Vec<_> = line.split_whitespace().take(2).collect();
        assert_eq!(both, [most, most], "{name}");
    }
    drop(worker.stdin.take());
    assert!(worker.wait().unwrap().success());
}
