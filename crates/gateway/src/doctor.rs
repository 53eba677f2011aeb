//! Tells whether calls will be captured, before the first one comes, and what to write where when they will not.
//!
//! A [`Doctor`] looks at this machine once and at each PBX it is given. It changes nothing that outlives the look: what
//! it creates in Asterisk has its own ids and its own Stasis application, so it works beside a running gateway, and is
//! removed again, also when it is stopped half-way.
//!
//! Printing, and what a finding means for an exit code, is left to the program.

mod ami;
mod ari;
mod asterisk_conf;
mod dialplan;
mod ear;
mod encryption;
mod finding;
mod known_issues;
mod machine;
mod modules;
mod route;

use std::path::PathBuf;

use aimg_core::{NodeId, Uniqueid};
use aimg_store::{Pbx, PbxSecrets};
use tokio::sync::watch;

pub use finding::{Area, Cure, Failure, Finding, Level};

use crate::{AriListen, ami_config, ari_config};
use machine::Shard;

/// What a node is set to do, as far as it can go wrong.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node; the doctor derives a name of its own from it.
    pub node: NodeId,
    /// Where calls are captured to.
    pub spool_dir: PathBuf,
    /// Where finished recordings are.
    pub recordings_dir: PathBuf,
    /// What is kept free of the disks of both; with less, no capture begins.
    pub disk_reserve_bytes: u64,
    /// The media plane.
    pub media: aimg_media::Config,
    /// Where PBXs arrive that open ARI's event stream to us.
    pub ari_listen: Option<AriListen>,
    /// Captures at once on one PBX.
    pub taps_max: usize,
}

impl From<&crate::Config> for Config {
    fn from(config: &crate::Config) -> Self {
        Self {
            node: config.node.clone(),
            spool_dir: config.spool_dir.clone(),
            recordings_dir: config.recordings_dir.clone(),
            disk_reserve_bytes: config.disk_reserve_bytes,
            media: config.media.clone(),
            ari_listen: config.ari_listen.clone(),
            taps_max: config.taps_max,
        }
    }
}

/// Ends a look early; its traces are removed all the same.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Stops when `stop` becomes true.
    pub fn new(stop: watch::Receiver<bool>) -> Self {
        Self(stop)
    }

    async fn stopped(&self) {
        let mut stop = self.0.clone();
        if stop.wait_for(|stop| *stop).await.is_err() {
            // Nobody can stop it any more.
            std::future::pending::<()>().await;
        }
    }
}

/// What was found at one PBX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Asterisk's version, where it could be had.
    pub version: Option<String>,
    /// In the order in which they were found.
    pub findings: Vec<Finding>,
}

/// Looks at one node and its PBXs.
pub struct Doctor<'a> {
    config: Config,
    shards: Vec<Shard>,
    stop: Stop,
    progress: &'a (dyn Fn(&str) + Sync),
}

impl<'a> Doctor<'a> {
    /// Looks at this machine. `progress` is told what takes longer. Needs a tokio runtime.
    pub fn start(config: Config, stop: Stop, progress: &'a (dyn Fn(&str) + Sync)) -> (Self, Vec<Finding>) {
        let (findings, shards) = machine::examine(&config);
        (Self { config, shards, stop, progress }, findings)
    }

    /// Looks at one PBX: both its interfaces, and the way of real packets to each shard.
    pub async fn examine(&self, pbx: &Pbx, secrets: &PbxSecrets) -> Diagnosis {
        let mut findings = Vec::new();
        let ari_config = match ari_config(pbx, secrets) {
            Ok(config) => config,
            Err(error) => {
                findings.push(Finding::problem(Area::Ari, Failure::Unavailable, error.to_string()));
                return Diagnosis { version: None, findings };
            }
        };
        findings.extend(encryption::examine(pbx, self.config.ari_listen.as_ref()));
        let tell = |what: &str| (self.progress)(&format!("{}: {what}", pbx.name));
        tell("ARI, modules, rights");
        let seen = ari::examine(&ari_config, pbx, &mut findings).await;
        tell("AMI, classes, settings");
        let link = ami::examine(ami_config(pbx, secrets), pbx, self.config.taps_max, &mut findings).await;
        let mut channels = Vec::new();
        if seen.writable && !self.shards.is_empty() {
            tell("real packets from Asterisk to each shard");
            channels = self.route(pbx, secrets, &mut findings).await;
        }
        if let Some(link) = link {
            findings.extend(link.readable(&channels, pbx).await);
        }
        Diagnosis { version: seen.version, findings }
    }

    async fn route(&self, pbx: &Pbx, secrets: &PbxSecrets, findings: &mut Vec<Finding>) -> Vec<Uniqueid> {
        let own = Pbx { ari_app: route::doctor_app(&pbx.ari_app), ..pbx.clone() };
        match ari_config(&own, secrets) {
            Ok(config) => route::examine(config, &own, &self.config.node, &self.shards, &self.stop, findings).await,
            Err(error) => {
                findings.push(Finding::problem(Area::Ari, Failure::Unavailable, error.to_string()));
                Vec::new()
            }
        }
    }
}
