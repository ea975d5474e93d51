//! The `jepsen` command; see the library for what it does.

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let jepsen::cli::Cli { command: jepsen::cli::Command::Run(args) } = jepsen::cli::Cli::parse();
    jepsen::cli::run(args).await
}
