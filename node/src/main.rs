//! The binary users see, `flotilla`.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use node::app;
use node::config::{Cli, Command, Config, ServeArgs, is_allocator_told};
use node::probe::{Target, check};
use node::signals::StopOn;
use node::{ctl, memory, telemetry, up};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit code of a command line or configuration that cannot be used.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve(&args),
        Command::Up(args) => up::run(&args).unwrap_or_else(|error| fail(EXIT_USAGE, &error)),
        Command::Ctl(args) => match ctl::run(&args) {
            Ok(text) => say(format_args!("{text}")),
            Err(error) => fail(1, &error),
        },
        Command::Health(args) => {
            Target::parse(&args.url).and_then(|target| check(&target)).map_or_else(|error| fail(1, &error), |()| ExitCode::SUCCESS)
        }
        Command::Version => say(format_args!("flotilla, version {}", env!("CARGO_PKG_VERSION"))),
    }
}

fn serve(args: &ServeArgs) -> ExitCode {
    let unchanged = (!is_allocator_told()).then(memory::restart_with_allocator_options);
    match Config::load(&args.flags, &args.file) {
        Err(error) => fail(EXIT_USAGE, &error),
        Ok((_, effective)) if args.file.check => say(format_args!("{effective}")),
        Ok((config, _)) => run(args, config, unchanged),
    }
}

fn run(args: &ServeArgs, config: Config, unchanged: Option<std::io::Error>) -> ExitCode {
    if let Some(Err(error)) = args.supervisor_pid.map(up::die_with_supervisor) {
        return fail(1, &error);
    }
    if let Err(error) = telemetry::init(&config.log, &config.node.name) {
        return fail(1, &error);
    }
    if let Some(error) = unchanged {
        tracing::warn!(%error, "the allocator's options stay as they are");
    }
    memory::return_freed_memory();
    let stop_on = if args.supervisor_pid.is_some() { StopOn::Terminate } else { StopOn::InterruptOrTerminate };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    match runtime.block_on(app::run(config, stop_on)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(1, &error),
    }
}

fn say(line: std::fmt::Arguments<'_>) -> ExitCode {
    let written = writeln!(std::io::stdout().lock(), "{line}");
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    // Where standard error is gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr().lock(), "flotilla: {error}");
    ExitCode::from(code)
}
