use super::*;
use crate::sandbox;

/// Runs the ignored test of this name inside a sandbox; false where there are none.
fn inside(name: &str) -> bool {
    if let Err(why) = sandbox::probe() {
        assert!(!why.is_empty());
        return false;
    }
    let own = std::env::current_exe().unwrap();
    let arguments = ["--exact", name, "--ignored", "--nocapture", "--test-threads=1"];
    let mut command = std::process::Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private", "--"]).arg(own).args(arguments);
    let output = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    true
}

#[test]
fn disks_lose_fill_age_and_vanish_as_asked() {
    let ran = inside("disk::tests::in_sandbox_disks_lose_fill_age_and_vanish");
    assert_eq!(ran, sandbox::probe().is_ok());
    // The kernel takes a namespace apart after its last process has ended.
    let mut left = String::new();
    for _ in 0..200 {
        left = call("losetup", &["-a"]).unwrap();
        if !left.contains("disktest.img") {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{left}");
}

#[test]
#[ignore = "needs namespaces of its own; the test above runs it in some"]
fn in_sandbox_disks_lose_fill_age_and_vanish() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::create(directory.path().join("disktest.img"), directory.path().join("m")).unwrap();
    let (synced, lost) = (disk.path().join("synced"), disk.path().join("lost"));
    std::fs::write(&synced, b"kept").unwrap();
    std::fs::File::open(&synced).unwrap().sync_all().unwrap();
    std::fs::File::open(disk.path()).unwrap().sync_all().unwrap();
    let photo = directory.path().join("photo.img");
    disk.photograph(&photo).unwrap();

    std::fs::write(&lost, b"page cache").unwrap();
    disk.cut_power().unwrap();
    assert!(std::fs::write(disk.path().join("after"), b"x").is_err());
    disk.remount().unwrap();
    assert_eq!(std::fs::read(&synced).unwrap(), b"kept");
    assert!(std::fs::read(&lost).unwrap_or_default().is_empty());

    disk.fill(1 << 20).unwrap();
    assert!(std::fs::write(disk.path().join("big"), vec![1; 2 << 20]).is_err());
    disk.empty().unwrap();
    disk.fill(0).unwrap();
    assert!(std::fs::write(disk.path().join("small"), vec![1; 8192]).is_err());
    disk.empty().unwrap();
    std::fs::write(disk.path().join("new"), b"x").unwrap();

    disk.turn_read_only().unwrap();
    assert!(std::fs::write(disk.path().join("later"), b"x").is_err() && std::fs::read(&synced).is_ok());
    disk.remount().unwrap();
    std::fs::write(disk.path().join("later"), b"x").unwrap();

    disk.restore(&photo).unwrap();
    assert!(!disk.path().join("later").exists() && std::fs::read(&synced).unwrap() == b"kept");
    disk.wipe().unwrap();
    assert!(!synced.exists());
}
