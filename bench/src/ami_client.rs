//! A client of `ami`, in a process of its own: ours, or its rival in Rust. It says when it is ready, takes events until
//! it has them all or none comes any more, and tells what that cost.

use std::io::{Write, stdout};
use std::time::{Duration, Instant};

use aimg_ami::{Client, Config, Notice};
use anyhow::{Context, Result};
use asterisk_rs_ami::AmiClient;
use clap::{Args, ValueEnum};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};
use stats_alloc::Region;
use tokio::time::timeout;

/// How long all events are waited for. One deadline: one for each event would cost a look at the clock each.
const PATIENCE: Duration = Duration::from_secs(30);

/// Room for all events of a run, in both.
const EVENTS_MAX: usize = 65_536;

/// Whose client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Whose {
    /// `aimg-ami`.
    Ours,
    /// `asterisk-rs-ami`.
    AsteriskRs,
}

/// What to do.
#[derive(Args, Clone, Copy, Debug, PartialEq)]
pub(crate) struct Role {
    /// Whose client.
    #[arg(long, value_enum)]
    whose: Whose,
    /// Where the server is.
    #[arg(long)]
    port: u16,
    /// How many events to wait for.
    #[arg(long)]
    events: u64,
}

/// What it cost.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Events that came.
    pub(crate) events: u64,
    /// From the first to the last.
    pub(crate) wall_s: f64,
    /// CPU time of the whole process, from being ready to the last event.
    pub(crate) cpu_s: f64,
    /// Allocations meanwhile; none are counted in Python.
    #[serde(default)]
    pub(crate) allocations: usize,
}

/// Runs to the last event.
pub(crate) fn run(role: Role) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cost = runtime.block_on(async {
        match role.whose {
            Whose::Ours => ours(role).await,
            Whose::AsteriskRs => asterisk_rs(role).await,
        }
    })?;
    println!("{}", serde_json::to_string(&cost)?);
    Ok(())
}

async fn ours(role: Role) -> Result<Cost> {
    let config =
        Config { port: role.port, events_max: EVENTS_MAX, ..Config::new("127.0.0.1", "bench", "bench".into()) };
    let (_client, mut events) = Client::start(config);
    match events.next().await.context("the client has ended")? {
        Notice::Up(_) => {}
        other => anyhow::bail!("not up: {other:?}"),
    }
    let mut meter = Meter::ready()?;
    let all = async {
        while meter.cost.events < role.events {
            match events.next().await {
                Some(Notice::Event { event, .. }) => meter.count(&event)?,
                Some(Notice::Down { error, .. }) => return Err(error.into()),
                Some(_) => {}
                None => break,
            }
        }
        anyhow::Ok(())
    };
    // What did not come shows in the count.
    timeout(PATIENCE, all).await.unwrap_or(Ok(()))?;
    Ok(meter.cost)
}

async fn asterisk_rs(role: Role) -> Result<Cost> {
    let builder = AmiClient::builder().host("127.0.0.1").port(role.port).credentials("bench", "bench");
    let client = builder.event_capacity(EVENTS_MAX).build().await?;
    let mut events = client.subscribe();
    let mut meter = Meter::ready()?;
    let all = async {
        while meter.cost.events < role.events
            && let Some(event) = events.recv_lossy().await
        {
            meter.count(&event)?;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, all).await.unwrap_or(Ok(()))?;
    Ok(meter.cost)
}

struct Meter {
    cost: Cost,
    region: Region<'static, std::alloc::System>,
    cpu_before_s: f64,
    first: Option<Instant>,
}

impl Meter {
    fn ready() -> Result<Self> {
        println!("ready");
        stdout().flush()?;
        Ok(Self { cost: Cost::default(), region: Region::new(crate::ALLOCATOR), cpu_before_s: cpu_s()?, first: None })
    }

    /// Takes an event that was made for its consumer.
    fn count<T>(&mut self, event: &T) -> Result<()> {
        std::hint::black_box(event);
        let first = *self.first.get_or_insert_with(Instant::now);
        self.cost.events += 1;
        // The rest is asked for now and then: it costs more than an event.
        if self.cost.events.is_multiple_of(1_000) {
            self.cost.wall_s = first.elapsed().as_secs_f64();
            self.cost.cpu_s = cpu_s()? - self.cpu_before_s;
            self.cost.allocations = self.region.change().allocations;
        }
        Ok(())
    }
}

fn cpu_s() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6)
}
