//! `sim`: runs seeds.

mod cli;
mod interpose;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
