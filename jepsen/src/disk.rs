//! One disk per node: an ext4 image on a loop device, which can lose its power, fill up, turn read-only, age and vanish.
//!
//! The mounts live in the mount namespace of this process ([`crate::sandbox`]): however it ends, they go with it, and so do the loop devices.

use crate::tool::{ToolError, call};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `EXT4_IOC_SHUTDOWN` with flag 2 (no flush of the journal): what was not synced is gone, as if the power went.
const SHUTDOWN: &str =
    r#"open(F, "<", $ARGV[0]) or die "open: $!"; my $flag = pack("L", 2); ioctl(F, 0x8004587D, $flag) or die "ioctl: $!";"#;
const UNMOUNT_TRIES: u32 = 50;
const UNMOUNT_DELAY: Duration = Duration::from_millis(100);
const FILLER: &str = "filler";
/// Size of each node's disk, bytes; the image is sparse.
pub const DISK_BYTES: u64 = 3 << 30;

/// The disk of one node. Dropping it unmounts.
#[derive(Debug)]
pub struct Disk {
    image: PathBuf,
    mount: PathBuf,
}

impl Disk {
    /// Makes a file system of [`DISK_BYTES`] in the file `image` and mounts it at `mount`.
    ///
    /// # Errors
    /// If the file cannot be made, or `mkfs.ext4` or `mount` fails.
    pub fn create(image: PathBuf, mount: PathBuf) -> Result<Self, ToolError> {
        call("mkdir", &["-p", &text(&mount)])?;
        call("truncate", &["-s", &DISK_BYTES.to_string(), &text(&image)])?;
        let disk = Self { image, mount };
        disk.format()?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount
    }

    fn format(&self) -> Result<(), ToolError> {
        call("mkfs.ext4", &["-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", &text(&self.image)]).map(drop)
    }

    /// Mounts it, which replays its journal.
    ///
    /// # Errors
    /// If `mount` fails.
    pub fn mount(&self) -> Result<(), ToolError> {
        call("mount", &["-t", "ext4", "-o", "loop,noatime,errors=remount-ro", &text(&self.image), &text(&self.mount)]).map(drop)
    }

    /// Unmounts it; waits for a process that was just killed to let go.
    ///
    /// # Errors
    /// If somebody still uses it after five seconds.
    pub fn unmount(&self) -> Result<(), ToolError> {
        let mut tries = 0;
        loop {
            match call("umount", &[text(&self.mount)]) {
                Err(_) if tries < UNMOUNT_TRIES => std::thread::sleep(UNMOUNT_DELAY),
                ended => return ended.map(drop),
            }
            tries += 1;
        }
    }

    /// Takes the power away, also under a running process: every later access fails, and what was not synced is gone.
    ///
    /// # Errors
    /// If the call is refused.
    pub fn cut_power(&self) -> Result<(), ToolError> {
        call("perl", &["-e", SHUTDOWN, &text(&self.mount)]).map(drop)
    }

    /// Unmounts and mounts. No process may use it.
    ///
    /// # Errors
    /// As [`Disk::unmount`] and [`Disk::mount`].
    pub fn remount(&self) -> Result<(), ToolError> {
        self.unmount()?;
        self.mount()
    }

    /// Fills it until `leave` bytes are free; `0` until nothing is.
    ///
    /// # Errors
    /// If the free space cannot be read or the filler not be made.
    pub fn fill(&self, leave: u64) -> Result<(), ToolError> {
        let free = call("stat", &["-f", "-c", "%a %S", &text(&self.mount)])?;
        let numbers: Vec<u64> = free.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let bytes = numbers.iter().product::<u64>().saturating_sub(leave);
        let filler = self.mount.join(FILLER);
        let filled = call("fallocate", &["-l", &bytes.to_string(), &text(&filler)]);
        if leave > 0 {
            return filled.map(drop);
        }
        // The space for the filler's own extents is not in the figure: the rest goes block by block.
        let rest = "dd if=/dev/zero of=\"$1\" bs=4096 oflag=append conv=notrunc 2>/dev/null; test -s \"$1\"";
        call("sh", &["-c", rest, "sh", &text(&filler)]).map(drop)
    }

    /// Frees what [`Disk::fill`] took.
    ///
    /// # Errors
    /// If the filler cannot be removed.
    pub fn empty(&self) -> Result<(), ToolError> {
        call("rm", &["-f", &text(&self.mount.join(FILLER))]).map(drop)
    }

    /// Lets the kernel find an error of the file system: it turns read-only under the running process until it is mounted again.
    ///
    /// # Errors
    /// If the kernel does not offer that.
    pub fn turn_read_only(&self) -> Result<(), ToolError> {
        let device = call("findmnt", &["-n", "-o", "SOURCE", &text(&self.mount)])?;
        let name = device.trim().rsplit('/').next().unwrap_or_default().to_string();
        call("sh", &["-c", "echo 1 > \"/sys/fs/ext4/$1/trigger_fs_error\"", "sh", &name]).map(drop)
    }

    /// Copies it as it is at one moment to the file `to`; the process that uses it waits meanwhile.
    ///
    /// # Errors
    /// If it cannot be frozen or copied. It is never left frozen.
    pub fn photograph(&self, to: &Path) -> Result<(), ToolError> {
        call("fsfreeze", &["-f", &text(&self.mount)])?;
        let copied = call("cp", &["--sparse=always", "--reflink=auto", &text(&self.image), &text(to)]);
        call("fsfreeze", &["-u", &text(&self.mount)])?;
        copied.map(drop)
    }

    /// Puts back what [`Disk::photograph`] kept. No process may use it.
    ///
    /// # Errors
    /// If it is in use or cannot be copied.
    pub fn restore(&self, from: &Path) -> Result<(), ToolError> {
        self.unmount()?;
        call("cp", &["--sparse=always", "--reflink=auto", &text(from), &text(&self.image)])?;
        self.mount()
    }

    /// Replaces it by an empty one. No process may use it.
    ///
    /// # Errors
    /// If it is in use or cannot be formatted.
    pub fn wipe(&self) -> Result<(), ToolError> {
        self.unmount()?;
        self.format()?;
        self.mount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone_with_the_namespace = call("umount", &["-l", &text(&self.mount)]);
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Whether loop devices, ext4 and the shutdown call work here. Leaves nothing behind.
///
/// # Errors
/// What does not work.
pub fn probe(directory: &Path) -> Result<(), ToolError> {
    let disk = Disk::create(directory.join("probe.img"), directory.join("probe"))?;
    disk.cut_power()?;
    disk.remount()
}

#[cfg(test)]
mod tests;
