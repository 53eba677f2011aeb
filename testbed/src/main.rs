//! The testbed by hand: an Asterisk until Ctrl-C, calls into it, the demo, and what is missing on this machine.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use aimg_testbed::demo::{Demo, Interrupt, Screen};
use aimg_testbed::{Access, Asterisk, Callee, Caller, Context, Options, Version, doctor};
use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Longer than any call that makes sense by hand.
const CALL_SECONDS_MAX: u64 = 3_600;

/// What shells say of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// A real Asterisk and real SIP calls on loopback.
#[derive(Parser)]
#[command(name = "testbed", version)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Start an Asterisk, tell how to reach it, and stop it on Ctrl-C.
    Up {
        /// 22 or 16.
        #[arg(long, default_value_t = Version::V22)]
        version: Version,
        /// The Stasis app that the dialplan's hook enters.
        #[arg(long, default_value = "aimg")]
        app: String,
        /// Print how to reach it as one JSON object on one line.
        #[arg(long)]
        json: bool,
    },
    /// Place a two-party call with speech both ways into a running Asterisk, and wait for its end.
    Call {
        /// The Asterisk's SIP address, as `testbed up` tells it.
        #[arg(long)]
        sip: SocketAddr,
        /// tap-ami, tap-hook or answer-at-once.
        #[arg(long, default_value_t = Context::TapHook)]
        context: Context,
        /// How long both talk, in seconds.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(..=CALL_SECONDS_MAX))]
        seconds: u64,
        /// How long the callee rings, in seconds.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=CALL_SECONDS_MAX))]
        ring_seconds: u64,
        /// How many calls at once.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=500))]
        calls: u16,
    },
    /// Capture a call with a gateway of its own, and show the certificate of its recording.
    Demo {
        /// How long both talk, in seconds.
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=CALL_SECONDS_MAX))]
        seconds: u64,
        /// Where the recording is kept, in a directory of its own.
        #[arg(long, default_value = "aimg-demo")]
        dir: PathBuf,
        /// End with one line of JSON; progress then goes to standard error.
        #[arg(long)]
        json: bool,
    },
    /// Tell what this machine lacks for the testbed, and what to do.
    Doctor {
        /// Print the checks as one JSON array.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        // A sentence, and no backtrace with it.
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Subcommands) -> anyhow::Result<ExitCode> {
    match command {
        Subcommands::Up { version, app, json } => up(version, app, json)?,
        Subcommands::Call { sip, context, seconds, ring_seconds, calls } => {
            let talk = Duration::from_secs(seconds);
            call(sip, context, talk, Duration::from_secs(ring_seconds), calls)?;
        }
        Subcommands::Demo { seconds, dir, json } => return demo(Duration::from_secs(seconds), dir, json),
        Subcommands::Doctor { json } => return examine(json),
    }
    Ok(ExitCode::SUCCESS)
}

fn up(version: Version, app: String, json: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    // Both are caught from here on, so that an Asterisk half started is stopped as well.
    let (mut interrupt, mut terminate) = {
        let _in_runtime = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let asterisk = Asterisk::start(version, &Options { app, ..Options::default() })?;
    if json {
        println!("{}", serde_json::to_string(asterisk.access())?);
    } else {
        explain(&asterisk);
    }
    runtime.block_on(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    asterisk.stop()?;
    eprintln!("stopped");
    Ok(())
}

fn explain(asterisk: &Asterisk) {
    let access = asterisk.access();
    let Access { host, ami_port, sip_port, user, secret, app, .. } = access;
    let ari_url = access.ari_url();
    println!("Asterisk {} runs until Ctrl-C.", asterisk.version());
    println!();
    println!("  AMI   {host}:{ami_port}, user {user}, secret {secret}");
    println!("  ARI   {ari_url}, user {user}, password {secret}, app {app}");
    println!("  SIP   {host}:{sip_port}");
    println!("  log   {}", asterisk.log_path().display());
    println!();
    println!("Make it known to a gateway (the tenant must be there):");
    println!(
        "  AIMG_AMI_SECRET={secret} AIMG_ARI_PASSWORD={secret} aimg pbx add testbed --tenant TENANT --tap hook \\"
    );
    println!("    --host {host} --ami-port {ami_port} --ami-user {user} \\");
    println!("    --ari-url {ari_url} --ari-user {user} --ari-app {app}");
    println!();
    println!("Place a call into it:");
    println!("  testbed call --sip {host}:{sip_port} --context tap-hook --seconds 10");
}

fn call(sip: SocketAddr, context: Context, talk: Duration, ring: Duration, calls: u16) -> anyhow::Result<()> {
    if !sip.ip().is_loopback() {
        bail!("{sip} is not on loopback: the testbed calls only its own Asterisk");
    }
    // The callee ends after its calls, and nobody calls it where Asterisk itself answers.
    let mut callee = Callee::new().calls(calls).rings_for(ring).start()?;
    println!("calling {} by way of {context} …", callee.port());
    let outcome = Caller::new(sip.port(), context, callee.port())
        .calls(calls)
        .talks_for(talk)
        .start()?
        .wait(talk + ring + Duration::from_secs(30))?
        .require_success()?;
    if context != Context::AnswerAtOnce {
        callee.wait(Duration::from_secs(5)).context("the caller has hung up")?.require_success()?;
    }
    println!("{} call(s) went well", outcome.succeeded);
    Ok(())
}

fn demo(talk: Duration, dir: PathBuf, json: bool) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::catch()?;
    // Both programs are of one build.
    let aimg = env::current_exe()?.with_file_name("aimg");
    if !aimg.is_file() {
        bail!("there is no {}: build it with `cargo build -p aimg`", aimg.display());
    }
    let mut screen = if json {
        Screen::new(io::stderr(), io::stderr().is_terminal())
    } else {
        Screen::new(io::stdout(), io::stdout().is_terminal())
    };
    let report = match (Demo { aimg: aimg.clone(), dir, talk }).run(&mut screen, &interrupt) {
        Err(error @ aimg_testbed::Error::Interrupted) => {
            eprintln!("{error}");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        outcome => outcome?,
    };
    drop(screen);
    let kept = format!("kept in {0}; to look again: cd {0} && {1} calls --all", report.dir.display(), aimg.display());
    if json {
        eprintln!("{kept}");
        writeln!(io::stdout(), "{}", serde_json::to_string(&report)?)?;
    } else {
        writeln!(io::stdout(), "\n{}\n{kept}", report.words)?;
    }
    if report.certificate.complete {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("the recording is not complete: its certificate says what is missing, {}", report.dir.display());
    Ok(ExitCode::FAILURE)
}

fn examine(json: bool) -> anyhow::Result<ExitCode> {
    let checks = doctor::checks();
    if json {
        println!("{}", serde_json::to_string(&checks)?);
    } else {
        for check in &checks {
            match &check.cure {
                None => println!("✓ {}", check.what),
                Some(cure) => println!("✗ {}: {cure}", check.what),
            }
        }
    }
    let all_well = checks.iter().all(|check| check.cure.is_none());
    Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
