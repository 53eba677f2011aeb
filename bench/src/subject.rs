//! A receiving process, as seen by those who send to it and measure it.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::generator::Generator;
use crate::receiver::{Kind, Received};
use crate::thread_time::Thread;

/// How long packets on their way are waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A receiving process, and what sends to it.
pub(crate) struct Subject {
    process: Child,
    thread: Thread,
    told: BufReader<ChildStdout>,
    generator: Generator,
    address: SocketAddrV4,
    sent: u64,
}

impl Subject {
    /// Starts it with so many flows; each sends from an address of its own.
    pub(crate) fn start(kind: Kind, flows: usize, chunk_bytes: u32) -> Result<Self> {
        let generator = Generator::new(flows)?;
        let kind_name = if kind == Kind::Bare { "bare" } else { "shard" };
        let mut process = Command::new(std::env::current_exe()?)
            .args(["receiver", "--kind", kind_name])
            .args(["--flows", &flows.to_string()])
            .args(["--source-port", &generator.port().to_string()])
            .args(["--chunk-bytes", &chunk_bytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut told = BufReader::new(process.stdout.take().context("no standard output")?);
        let mut line = String::new();
        told.read_line(&mut line)?;
        let port = line.trim_end().parse().context("the receiver could not start")?;
        let thread = Thread::named(process.id(), kind.thread())?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        Ok(Self { process, thread, told, generator, address, sent: 0 })
    }

    /// Sends the next packets, the flows taking turns.
    pub(crate) fn send(&mut self, packets: usize) -> Result<()> {
        self.generator.send(self.address, packets)?;
        self.sent += packets as u64;
        Ok(())
    }

    /// The CPU time of the thread that receives.
    pub(crate) fn used(&self) -> Result<Duration> {
        self.thread.used()
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Waits until all that was sent is received, and fails when a packet is missing.
    pub(crate) fn await_all(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            let received = self.received()?;
            ensure!(received.not_kept == 0, "{} packets are not in a spool", received.not_kept);
            ensure!(received.kernel_dropped == 0, "the kernel dropped {} packets", received.kernel_dropped);
            if received.packets == self.sent {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                bail!("{} of {} packets came", received.packets, self.sent);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// What it has received.
    pub(crate) fn received(&mut self) -> Result<Received> {
        self.process.stdin.as_mut().context("no standard input")?.write_all(b"\n")?;
        let mut line = String::new();
        self.told.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    /// Stops it, or lets it go on.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.process.id())?), signal)?)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It ends, and removes its spools, when its standard input does, which is closed by waiting. Should that fail,
        // there is nothing left to do.
        let _ = self.signal(Signal::SIGCONT);
        let _ = self.process.wait();
    }
}
