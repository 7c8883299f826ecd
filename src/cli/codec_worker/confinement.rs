//! What a codec worker gives up before it takes orders, so that code that breaks out of its engine
//! finds nothing to break.
//!
//! Everywhere: no core dumps, no file grows, no new descriptor, no new process, memory within
//! bounds, and no way to more privileges. On Linux also a seccomp filter: of the kernel it can ask for memory, time,
//! and what its two pipes need; everything else fails with EPERM. The number of processes binds
//! only where the server is not root; the filter does in any case. Not given up: reading the
//! memory of its own process, and the processor, which the server's watchdog sees to.
//! Environment, working directory and process group are the server's part, which starts it.
//! Errors: what the kernel says. A kernel without seccomp goes without the filter.

use std::io;

use rustix::process::{Resource, Rlimit, setrlimit};

/// Address space. Code, stacks and reserved arenas are in it.
const SPACE: u64 = 2 << 30;
/// Memory that can be written: more than the codecs of one worker may hold together.
const DATA: u64 = 1 << 30;
/// Descriptors: the numbers below are taken.
const FILES: u64 = 3;

/// Gives it up.
pub(super) fn confine() -> io::Result<()> {
    let limits = [
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, FILES),
        (Resource::Nproc, 0),
        (Resource::Data, DATA),
        (Resource::As, SPACE),
    ];
    for (resource, most) in limits {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        setrlimit(resource, limit)?;
    }
    #[cfg(target_os = "linux")]
    {
        rustix::thread::set_no_new_privs(true)?;
        filter::apply()?;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod filter {
    use std::collections::BTreeMap;
    use std::io;

    use seccompiler::{
        BpfProgram, Error, SeccompAction, SeccompFilter, TargetArch, apply_filter_all_threads,
    };

    /// What the worker asks of the kernel. No call here names a file, an address or a process.
    const ALLOWED: &[libc::c_long] = &[
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_close,
        libc::SYS_ppoll,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_clock_gettime,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_set_robust_list,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];

    pub(super) fn apply() -> io::Result<()> {
        let Ok(arch) = TargetArch::try_from(std::env::consts::ARCH) else {
            // Nobody wrote down this machine's calls: the other limits stand.
            return Ok(());
        };
        let rules = ALLOWED.iter().map(|call| (*call, Vec::new()));
        let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let filter = SeccompFilter::new(
            rules.collect::<BTreeMap<_, _>>(),
            refused,
            SeccompAction::Allow,
            arch,
        );
        let program = filter.and_then(BpfProgram::try_from);
        let program = program.map_err(io::Error::other)?;
        match apply_filter_all_threads(&program) {
            Ok(()) => Ok(()),
            Err(Error::Seccomp(error)) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}
