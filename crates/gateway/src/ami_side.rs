//! AMI's side of a link: what its notices mean to the reducer, to the link's report and to the log.

use aimg_session::Input;
use aimg_store::Pbx;
use tokio::sync::watch;

use crate::alarm::{Alarm, Alarms, Subject};
use crate::link::{LinkReport, LinkState, report_down};
use crate::translate;

/// What has to be remembered from one notice to the next.
#[derive(Debug, Default)]
pub(crate) struct AmiSide {
    /// Asterisk's start, as it was told when AMI was last up.
    asterisk_started: Option<String>,
    alarms: Alarms,
}

impl AmiSide {
    /// One that raises its alarms there.
    pub(crate) fn telling(alarms: Alarms) -> Self {
        Self { asterisk_started: None, alarms }
    }

    /// What a notice means to calls.
    pub(crate) fn inputs(
        &mut self,
        notice: aimg_ami::Notice,
        pbx: &Pbx,
        report: &watch::Sender<LinkReport>,
    ) -> Vec<Input> {
        match notice {
            aimg_ami::Notice::Up(up) => {
                let started = up.server.started_at.clone();
                let restarted = self.asterisk_started.replace(started.clone()).is_some_and(|before| before != started);
                tracing::info!(pbx.id = %pbx.id, pbx = pbx.name, asterisk = up.server.asterisk_version,
                    channels = up.channels.len(), "AMI is up");
                report.send_modify(|r| r.ami = LinkState::Up);
                self.alarms.set(Alarm::AmiDown, Subject::pbx(pbx.tenant, pbx.id), None);
                vec![Input::AmiUp { channels: translate::ami_up(&up), restarted }]
            }
            aimg_ami::Notice::Event { event, .. } => translate::ami_event(event),
            aimg_ami::Notice::Down { error, .. } => {
                let (alarms, reason) = (&self.alarms, error.to_string());
                if matches!(error, aimg_ami::Error::Overflow { .. }) {
                    alarms.happened(Alarm::EventsOverflowed, Subject::pbx(pbx.tenant, pbx.id), None, &reason);
                }
                report_down(alarms, pbx, report, Alarm::AmiDown, &reason, error.is_refusal(), |r| &mut r.ami);
                vec![Input::AmiDown]
            }
            _ => Vec::new(),
        }
    }
}
