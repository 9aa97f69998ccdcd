// SPDX-License-Identifier: GPL-2.0
//! Tests that VFIO mediated devices migrate live, on a stock kernel under unmodified QEMU.

mod agent;
mod author;
mod checks;
mod cli;
mod commands;
mod compat;
mod conform;
mod counts;
mod documents;
mod event;
mod failure;
mod files;
mod first_hour;
mod health;
mod kernel_log;
mod kernel_parameters;
mod known_report;
mod lab;
mod lab_command;
mod layout;
mod mdev;
mod migrate;
mod narrator;
mod new;
mod patch_series;
mod patience;
mod plan;
mod progress;
mod qemu;
mod report;
mod scenario;
mod series;
mod side_by_side;
mod table;
mod tree;
mod vfio;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mig-test: {error:#}");
            failure::exit_code(&error)
        }
    }
}
