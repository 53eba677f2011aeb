//! The program `aimg`.

mod cli;
mod commands;
mod exit;
mod node;
mod output;
mod progress;
mod providers;
mod settings;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { exit::USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let json = cli.json;
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into(), json),
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, json),
    }
}

/// One clear sentence (or JSON object) on standard error, and the code that says what kind of failure it was.
fn fail(error: &anyhow::Error, json: bool) -> ExitCode {
    let code = exit::code(error);
    if error.is::<commands::WorkerEnded>() {
        return ExitCode::from(code);
    }
    if json {
        eprintln!("{}", serde_json::json!({ "error": sentence(error), "exit_code": code }));
    } else {
        eprintln!("aimg: {}", sentence(error));
    }
    ExitCode::from(code)
}

/// An error and its causes in one sentence; many of our errors name their cause themselves.
fn sentence(error: &anyhow::Error) -> String {
    let add = |said: String, cause: String| if said.contains(&cause) { said } else { format!("{said}: {cause}") };
    error.chain().map(ToString::to_string).reduce(add).unwrap_or_default()
}
