//! The `jepsen` command; see the library for what it does.

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    jepsen::cli::main(jepsen::cli::Cli::parse()).await
}
