//! AMP's own clients, unmodified, against a local cluster.

use crate::local::Up;
use std::path::Path;
use std::process::Command;

/// Runs a script of `tests/clients` with the Python that `.ci/clients` set up, on the cluster's URLs.
pub(crate) fn run(script: &str, up: &Up, env: &[(&str, &str)]) {
    let python = std::env::var("FLOTILLA_CLIENTS").expect("FLOTILLA_CLIENTS names a Python that has boto3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let output = Command::new(python).arg(script).args(up.urls()).envs(env.iter().copied()).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
}

#[test]
#[ignore = "needs FLOTILLA_CLIENTS"]
fn boto3_does_every_operation_of_the_control_plane_and_reads_it_back_through_other_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let mut up = Up::start_with(3, &dir, &[]);
    up.wait_ready();
    run("amp_control.py", &up, &[("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "SK")]);
}
