//! Leaves word for webhooks when a PBX is not reached any more, and when it is.

use std::time::Duration;

use aimg_core::{NodeId, PbxId, TenantId, WebhookEvent};
use aimg_media::Clock;
use aimg_store::{Announcement, Change};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::journal::Journal;
use crate::link::{LinkReport, LinkState};

/// A connection that is back so soon was no outage: a reload of Asterisk, a lost packet.
pub(crate) const DOWN_AFTER: Duration = Duration::from_secs(5);

/// Whose outages are told, and to whom.
pub(crate) struct Outages {
    pub(crate) journal: Journal,
    pub(crate) clock: Clock,
    pub(crate) node: NodeId,
    /// Those whose calls are on the PBX.
    pub(crate) tenants: Vec<TenantId>,
    pub(crate) pbx: PbxId,
    /// There is no AMI that could be down.
    pub(crate) ari_alone: bool,
}

impl Outages {
    /// Tells until the link ends: at first whether the PBX is reached at all, then each change that lasts `down_after`.
    pub(crate) async fn tell(self, mut report: watch::Receiver<LinkReport>, down_after: Duration) {
        let mut told = None;
        loop {
            let mut stands = report.borrow_and_update().clone();
            if !self.is_reached(&stands) && told != Some(false) {
                // It may be back in a moment, or the link may end.
                let back = async { report.wait_for(|report| self.is_reached(report)).await.map(|r| r.clone()) };
                let back = timeout(down_after, back).await;
                stands = match back {
                    Ok(Ok(back)) => back,
                    Ok(Err(_)) => return,
                    Err(_) => report.borrow().clone(),
                };
            }
            let is_reached = self.is_reached(&stands);
            if told != Some(is_reached) {
                told = Some(is_reached);
                self.announce(is_reached, &stands);
            }
            if report.changed().await.is_err() {
                return;
            }
        }
    }

    fn is_reached(&self, LinkReport { ami, ari, .. }: &LinkReport) -> bool {
        // One that lacks a module is there all the same.
        let is_up = |state: &LinkState| matches!(state, LinkState::Up | LinkState::Lacking(_));
        (self.ari_alone || is_up(ami)) && is_up(ari)
    }

    fn announce(&self, is_reached: bool, stands: &LinkReport) {
        let event = if is_reached { WebhookEvent::PbxUp } else { WebhookEvent::PbxDown };
        let at = self.clock.now();
        let ami = (!self.ari_alone).then(|| stands.ami.name());
        let data = json!({ "pbx": {
            "id": self.pbx,
            "name": stands.pbx,
            "node": self.node,
            "ami": ami,
            "ari": stands.ari.name(),
        }});
        for &tenant in &self.tenants {
            let id = format!("{}-{}-{}-{}", event.name().replace('.', "-"), self.pbx, self.node, at.as_micros());
            let told = Announcement { tenant, event, id, at, session: None, data: data.clone() };
            self.journal.push(Change::Announcement(Box::new(told)));
        }
    }
}

#[cfg(test)]
mod tests {
    use aimg_core::WebhookId;
    use aimg_store::{DeliveryFilter, NewWebhook, Store};

    use super::*;
    use crate::alarm::Alarms;
    use crate::fixture::{OPERATOR, store};

    const SOON: Duration = Duration::from_millis(50);
    const NEVER: Duration = Duration::from_secs(600);

    /// What was told so far, once there is so much of it.
    async fn told(store: &Store, webhook: WebhookId, count: usize) -> Vec<WebhookEvent> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let mut told = store.deliveries(OPERATOR, webhook, DeliveryFilter::default()).await.unwrap();
            if told.len() >= count {
                told.reverse();
                return told.into_iter().map(|delivery| delivery.event).collect();
            }
            assert!(tokio::time::Instant::now() < deadline, "{told:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn outages_are_told_when_they_last_and_when_they_are_over() {
        let dir = tempfile::tempdir().unwrap();
        let (store, row) = store(dir.path()).await;
        let new = NewWebhook {
            tenant: row.tenant,
            url: "https://example.org".into(),
            description: String::new(),
            events: WebhookEvent::ALL.to_vec(),
            secret: "whsec_AA==".into(),
        };
        let webhook = store.add_webhook(OPERATOR, new).await.unwrap().id;
        let (journal, writer) = Journal::start(store.clone(), Alarms::default());
        let outages = |ari_alone| Outages {
            journal: journal.clone(),
            clock: Clock::anchored(),
            node: row.node.clone(),
            tenants: vec![row.tenant],
            pbx: row.pbx,
            ari_alone,
        };
        use WebhookEvent::{PbxDown, PbxUp};
        let (report, watched) = watch::channel(LinkReport::default());
        let teller = tokio::spawn(outages(false).tell(watched, SOON));
        assert_eq!(told(&store, webhook, 1).await, [PbxDown], "it was never there");
        report.send_modify(|r| r.ami = LinkState::Up);
        report.send_modify(|r| r.ari = LinkState::Up);
        assert_eq!(told(&store, webhook, 2).await, [PbxDown, PbxUp]);
        report.send_modify(|r| r.ari = LinkState::Lacking("a module".into()));
        report.send_modify(|r| r.ami = LinkState::Down("cut".into()));
        assert_eq!(told(&store, webhook, 3).await, [PbxDown, PbxUp, PbxDown]);
        drop(report);
        teller.await.unwrap();

        // One that is back at once was no outage.
        let (report, watched) = watch::channel(LinkReport { ari: LinkState::Up, ..LinkReport::default() });
        let teller = tokio::spawn(outages(true).tell(watched, NEVER));
        assert_eq!(told(&store, webhook, 4).await[3], PbxUp, "without AMI, ARI is all there is");
        for state in [LinkState::Down("cut".into()), LinkState::Up] {
            report.send_modify(|r| r.ari = state);
            tokio::task::yield_now().await;
        }
        report.send_modify(|r| r.ari = LinkState::Down("cut".into()));
        // The link ends while it is waited for.
        drop(report);
        teller.await.unwrap();
        drop(journal);
        writer.await.unwrap();
        assert_eq!(told(&store, webhook, 4).await.len(), 4);
    }
}
