//! Finds the process behind a local TCP connection: the socket's inode from `/proc/net/tcp`, its owner from `/proc/PID/fd`.

use parking_lot::Mutex;
use std::net::{SocketAddr, SocketAddrV4};

/// The process id of each node, none while it is down.
#[derive(Debug)]
pub struct Pids(Mutex<Vec<Option<u32>>>);

impl Pids {
    /// `nodes` nodes, all down.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self(Mutex::new(vec![None; nodes]))
    }

    /// Notes that a node's process started or ended.
    pub fn set(&self, node: usize, pid: Option<u32>) {
        self.0.lock()[node] = pid;
    }

    /// The node whose process holds the connection from `caller` to `listener`.
    #[must_use]
    pub fn caller(&self, caller: SocketAddr, listener: SocketAddr) -> Option<usize> {
        let (SocketAddr::V4(caller), SocketAddr::V4(listener)) = (caller, listener) else { return None };
        let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
        let inode = socket_inode(&table, caller, listener)?;
        let pids = self.0.lock().clone();
        pids.iter().position(|pid| pid.is_some_and(|pid| holds_socket(pid, inode)))
    }
}

/// The inode of the socket bound to `local` and connected to `remote`, in the text of `/proc/net/tcp`.
#[must_use]
pub fn socket_inode(table: &str, local: SocketAddrV4, remote: SocketAddrV4) -> Option<u64> {
    let (local, remote) = (table_address(local), table_address(remote));
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        (*fields.get(1)? == local && *fields.get(2)? == remote).then(|| fields.get(9)?.parse().ok())?
    })
}

fn table_address(address: SocketAddrV4) -> String {
    format!("{:08X}:{:04X}", u32::from_ne_bytes(address.ip().octets()), address.port())
}

fn holds_socket(pid: u32, inode: u64) -> bool {
    let wanted = format!("socket:[{inode}]");
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    descriptors.flatten().any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn inode_is_read_from_the_row_with_both_addresses() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1 0\n\
            1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 222 1 0\n\
            2: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 333 1 0\n";
        let at = |port| SocketAddrV4::new([127, 0, 0, 1].into(), port);
        assert_eq!(socket_inode(table, at(50_000), at(8080)), Some(333));
        assert_eq!(socket_inode(table, at(8080), at(50_000)), Some(222));
        assert_eq!(socket_inode(table, at(8080), at(1)), None);
    }

    #[test]
    fn connection_of_a_known_process_is_found_and_of_others_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_accepted, peer) = listener.accept().unwrap();
        let pids = Pids::new(3);
        assert_eq!(pids.caller(peer, listener.local_addr().unwrap()), None);
        pids.set(2, Some(std::process::id()));
        assert_eq!(pids.caller(peer, listener.local_addr().unwrap()), Some(2));
        pids.set(2, Some(1));
        assert_eq!(pids.caller(peer, listener.local_addr().unwrap()), None);
        drop(stream);
    }
}
