//! What the kernel drops of a socket, from its table of sockets (`/proc/net/udp`, `proc_net_udp(5)`): no system call
//! tells it without unsafe code. Elsewhere than on Linux nothing is known.

use std::fs;
use std::os::fd::{AsRawFd, RawFd};

/// Columns of the table, counted from 0.
const INODE: usize = 9;
const DROPS: usize = 12;

/// The number by which the kernel's table names a socket.
pub(super) fn inode(socket: &impl AsRawFd) -> Option<u64> {
    let fd: RawFd = socket.as_raw_fd();
    let name = fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    let inode = name.to_str()?.strip_prefix("socket:[")?;
    inode.strip_suffix(']')?.parse().ok()
}

/// Datagrams that were dropped since the socket was made; `None`: it is not there.
pub(super) fn of(inode: u64) -> Option<u64> {
    let tables = ["/proc/self/net/udp", "/proc/self/net/udp6"];
    let tables = tables
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok());
    tables.into_iter().find_map(|table| in_table(&table, inode))
}

fn in_table(table: &str, inode: u64) -> Option<u64> {
    let inode = inode.to_string();
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        let is_ours = columns.nth(INODE)? == inode;
        let drops = columns.nth(DROPS - INODE - 1)?;
        is_ours.then(|| drops.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_is_found_by_its_inode() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            7: 0100007F:1633 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12 2 0000000000000000 5\n\
            8: 0100007F:1634 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 123 2 0000000000000000 77\n";
        assert_eq!(in_table(table, 123), Some(77));
        assert_eq!(in_table(table, 12), Some(5));
        assert_eq!(in_table(table, 1), None);
        assert_eq!(in_table("", 1), None);
    }
}
