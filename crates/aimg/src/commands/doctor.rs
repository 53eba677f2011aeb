//! `aimg doctor`.

use aimg_core::TenantScope;
use aimg_gateway::doctor::{Config, Doctor, Failure, Finding, Level, Stop};
use aimg_store::{Pbx, Store, Tenant};
use serde::Serialize;
use tokio::sync::watch;

use super::{open_store, serve};
use crate::exit::{NotCaptured, Usage};
use crate::output::Output;
use crate::settings::Settings;

/// Where a finding's cure begins, below its sentence.
const INDENT: usize = 10;

/// All that was found.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether calls will be captured on every PBX that was looked at.
    captured: bool,
    /// This machine.
    machine: Vec<Finding>,
    /// Every PBX.
    pbxs: Vec<PbxReport>,
}

/// What was found at one PBX.
#[derive(Debug, Serialize)]
struct PbxReport {
    pbx: String,
    asterisk: Option<String>,
    captured: bool,
    findings: Vec<Finding>,
}

impl Report {
    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.machine.iter().chain(self.pbxs.iter().flat_map(|p| &p.findings))
    }

    fn count(&self, level: Level) -> usize {
        self.findings().filter(|f| f.level == level).count()
    }
}

pub(crate) async fn run(settings: &Settings, output: Output, name: Option<String>) -> anyhow::Result<()> {
    let store = open_store(settings).await?;
    let tenants = store.tenants(TenantScope::Operator).await?;
    let pbxs = chosen(&store, &tenants, name).await?;
    let progress = move |what: &str| {
        if !output.json {
            eprintln!("aimg doctor: {what} …");
        }
    };
    let (doctor, machine) = Doctor::start(config(settings)?, stop_on_interrupt(), &progress);
    let mut report = Report { captured: true, machine, pbxs: Vec::new() };
    for pbx in pbxs {
        let secrets = store.pbx_secrets(TenantScope::Operator, pbx.id).await?;
        let diagnosis = Box::pin(doctor.examine(&pbx, &secrets)).await;
        report.pbxs.push(PbxReport {
            pbx: pbx.name.clone(),
            asterisk: diagnosis.version,
            captured: is_good(&diagnosis.findings),
            findings: diagnosis.findings,
        });
    }
    report.captured = is_good(&report.machine) && report.pbxs.iter().all(|p| p.captured);
    output.print(&report, text)?;
    verdict(&report)
}

fn config(settings: &Settings) -> anyhow::Result<Config> {
    Ok(Config {
        node: settings.node.clone().map_or_else(|| crate::node::name(&settings.data_dir), Ok)?,
        spool_dir: settings.spool_dir.clone(),
        recordings_dir: settings.recordings_dir.clone(),
        disk_reserve_bytes: settings.disk_reserve_bytes,
        media: serve::media_config(settings),
        ari_listen: settings.ari_listen.clone(),
        taps_max: settings.taps_max,
    })
}

/// The PBX that was named, else all that a gateway would follow.
async fn chosen(store: &Store, tenants: &[Tenant], name: Option<String>) -> anyhow::Result<Vec<Pbx>> {
    let is_followed =
        |pbx: &Pbx| pbx.enabled && pbx.tenant.is_none_or(|of| tenants.iter().any(|t| t.id == of && t.enabled));
    let (pbxs, unfollowed) = match name {
        Some(name) => {
            let what =
                format!("PBX {name} is not followed, so none of its calls is captured: it or its tenant is disabled");
            (vec![store.pbx_by_name(TenantScope::Operator, &name).await?], what)
        }
        None => {
            let what = "there is no PBX that is followed, so no call is captured: add one with `aimg pbx add`";
            (store.pbxs(TenantScope::Operator).await?, what.to_owned())
        }
    };
    let followed: Vec<Pbx> = pbxs.into_iter().filter(is_followed).collect();
    if followed.is_empty() { Err(Usage(unfollowed).into()) } else { Ok(followed) }
}

/// The first Ctrl-C ends the look, so that nothing of it stays in Asterisk.
fn stop_on_interrupt() -> Stop {
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            stop.send_replace(true);
        }
        // Kept until the program ends.
        std::future::pending::<()>().await;
    });
    Stop::new(stopped)
}

fn is_good(findings: &[Finding]) -> bool {
    findings.iter().all(|f| f.level < Level::Problem)
}

fn verdict(report: &Report) -> anyhow::Result<()> {
    let problems = report.count(Level::Problem);
    // What only a person can grant comes first: everything else may follow from it.
    let kinds = [Failure::Refused, Failure::NotWritable, Failure::Unavailable];
    match kinds.into_iter().find(|kind| report.findings().any(|f| f.failure == Some(*kind))) {
        Some(kind) => Err(NotCaptured { problems, kind }.into()),
        None => Ok(()),
    }
}

fn text(report: &Report) -> String {
    let mut lines = vec!["This machine".to_owned()];
    lines.extend(report.machine.iter().flat_map(finding));
    for pbx in &report.pbxs {
        lines.push(String::new());
        lines.push(match &pbx.asterisk {
            Some(version) => format!("PBX {}, Asterisk {version}", pbx.pbx),
            None => format!("PBX {}", pbx.pbx),
        });
        lines.extend(pbx.findings.iter().flat_map(finding));
    }
    lines.push(String::new());
    lines.push(match (report.captured, report.count(Level::Warning)) {
        (true, 0) => "Calls will be captured.".to_owned(),
        (true, warnings) => format!("Calls will be captured; warnings: {warnings}."),
        (false, _) => {
            format!("Calls will NOT be captured, or not all of them; problems: {}.", report.count(Level::Problem))
        }
    });
    lines.join("\n")
}

fn finding(finding: &Finding) -> Vec<String> {
    let mut lines = vec![format!("  {:<8}{:<10}{}", finding.level.name(), finding.area.name(), finding.what)];
    if let Some(cure) = &finding.cure {
        lines.push(format!("{:INDENT$}→ {}", "", cure.place));
        lines.extend(cure.lines.iter().map(|line| format!("{:INDENT$}    {line}", "")));
        lines.extend(cure.then.iter().map(|then| format!("{:INDENT$}  then: {then}", "")));
    }
    lines
}
