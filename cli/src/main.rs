//! The command `etcd-recipes`: simulates the recipes under faults, replays and
//! checks what was recorded, and validates real clusters.
//!
//! The work is done by the library `etcd-recipes` (feature `harness`); here is
//! what turns it into a program:
//!
//! - [`command`]: one file for each subcommand: its arguments and what it does;
//! - [`report`]: what it says: tables, violations, traces, JSON, progress;
//! - [`connection`], [`interrupt`]: how a real cluster is reached, and left;
//! - [`files`]: what the command saves;
//! - [`failure`], [`exit_code`]: what can be wrong, and what the shell is told;
//! - [`output`]: who reads which stream.

mod command;
mod connection;
mod exit_code;
mod failure;
mod files;
mod interrupt;
mod output;
mod report;
mod stopwatch;

use std::process::ExitCode;

use clap::Parser as _;

use crate::command::Cli;
use crate::exit_code::Status;

/// Simulations allocate a great deal; with this one they are a fifth faster.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell when that cannot be printed.
            error.print().ok();
            return u8::try_from(error.exit_code()).map_or(Status::Usage.into(), ExitCode::from);
        }
    };
    output::start_logging();
    let status = cli.run().unwrap_or_else(|error| {
        output::error(&error);
        failure::status_of(&error)
    });
    status.into()
}
