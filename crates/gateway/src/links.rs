//! The links that run, and which PBXs should have one.

use std::collections::HashMap;

use aimg_core::{PbxId, TenantId, TenantScope, Timestamp};
use aimg_session::CaptureRule;
use aimg_store::{Pbx, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Error;
use crate::alarm::{Alarm, Alarms, Subject};
use crate::link::{LinkReport, LinkState};

/// A PBX that should get a link.
pub(crate) struct Wanted {
    pub(crate) pbx: Pbx,
    pub(crate) tenant: TenantId,
    /// Its tenant's capture rule, as it is stored.
    rule: serde_json::Value,
}

impl Wanted {
    /// Which of its calls are captured.
    pub(crate) fn rule(&self) -> Result<CaptureRule, Error> {
        let text = self.rule.as_str().unwrap_or_default();
        let damaged = |e: aimg_session::RuleError| Error::Rule { tenant: self.tenant, reason: e.to_string() };
        text.parse().map_err(damaged)
    }
}

/// A running link.
pub(crate) struct Running {
    /// When the row was last changed that it was made from.
    pub(crate) row_of: Timestamp,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) report: watch::Receiver<LinkReport>,
    pub(crate) task: JoinHandle<()>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Links {
    running: HashMap<PbxId, Running>,
    /// PBXs whose rows cannot be used, and when those were last changed.
    unusable: HashMap<PbxId, Timestamp>,
    alarms: Alarms,
}

impl Links {
    /// None yet; what is wrong with a PBX's row is told there.
    pub(crate) fn telling(alarms: Alarms) -> Self {
        Self { alarms, ..Self::default() }
    }

    pub(crate) fn is_running(&self, pbx: PbxId) -> bool {
        self.running.contains_key(&pbx)
    }

    /// Looks at the list of PBXs, of these tenants alone where some are named: ends links that should not be any more, and
    /// says who should get one.
    pub(crate) async fn follow(&mut self, store: &Store, only: Option<&[TenantId]>) -> Result<Vec<Wanted>, Error> {
        let tenants = store.tenants(TenantScope::Operator).await?;
        let is_asked_for = |id: &TenantId| only.is_none_or(|only| only.contains(id));
        let rules: HashMap<TenantId, &serde_json::Value> =
            tenants.iter().filter(|t| t.enabled && is_asked_for(&t.id)).map(|t| (t.id, &t.capture_rule)).collect();
        let pbxs = store.pbxs(TenantScope::Operator).await?;
        let wanted: HashMap<PbxId, Pbx> = pbxs
            .into_iter()
            .filter(|p| p.enabled && p.tenant.is_some_and(|tenant| rules.contains_key(&tenant)))
            .map(|p| (p.id, p))
            .collect();
        // One whose row was changed is linked anew, the next time: its end takes a moment.
        let stays = |id: &PbxId, link: &Running| wanted.get(id).is_some_and(|pbx| pbx.changed_at == link.row_of);
        let gone: Vec<PbxId> = self.running.iter().filter(|(id, link)| !stays(id, link)).map(|(id, _)| *id).collect();
        for id in &gone {
            if let Some(link) = self.running.remove(id) {
                link.stop.send_replace(true);
                let _ = link.task.await;
                self.alarms.forget(*id);
            }
        }
        self.unusable.extract_if(|id, _| !wanted.contains_key(id)).for_each(|(id, _)| self.alarms.forget(id));
        let lacks = |pbx: &Pbx| {
            let id = &pbx.id;
            !self.running.contains_key(id) && !gone.contains(id) && self.unusable.get(id) != Some(&pbx.changed_at)
        };
        let lacking = wanted.into_values().filter(lacks);
        Ok(lacking
            .filter_map(|pbx| Some(Wanted { rule: (*rules.get(&pbx.tenant?)?).clone(), tenant: pbx.tenant?, pbx }))
            .collect())
    }

    /// Takes a new link, or remembers that there cannot be one: a PBX whose row is damaged must not keep the others from being
    /// followed.
    pub(crate) fn add(&mut self, pbx: &Pbx, link: Result<Running, Error>) {
        let subject = Subject::pbx(pbx.tenant, pbx.id);
        match link {
            Ok(link) => {
                self.running.insert(pbx.id, link);
                self.alarms.set(Alarm::PbxUnusable, subject, None);
            }
            Err(error) => {
                self.unusable.insert(pbx.id, pbx.changed_at);
                self.alarms.set(Alarm::PbxUnusable, subject, Some(error.to_string()));
            }
        }
    }

    /// The error of a node whose links can all not work until a person does something.
    pub(crate) fn hopeless(&self) -> Option<Error> {
        let reports: Vec<LinkReport> = self.running.values().map(|l| l.report.borrow().clone()).collect();
        let hopeless: Vec<(&str, &LinkState)> =
            reports.iter().filter_map(|r| Some((r.pbx.as_str(), r.hopeless()?))).collect();
        if hopeless.is_empty() || hopeless.len() < reports.len() {
            return None;
        }
        let any_refused = hopeless.iter().any(|(_, s)| matches!(s, LinkState::Refused(_)));
        let reason = |(pbx, state): &(&str, &LinkState)| match state {
            LinkState::Refused(why) | LinkState::Lacking(why) | LinkState::Replaced(why) | LinkState::Down(why) => {
                format!("{pbx}: {why}")
            }
            LinkState::Connecting | LinkState::Up => (*pbx).to_owned(),
        };
        let reasons = hopeless.iter().map(reason).collect::<Vec<_>>().join("; ");
        Some(if any_refused { Error::Refused { reasons } } else { Error::Unusable { reasons } })
    }

    /// Ends all of them at once.
    pub(crate) async fn stop(&mut self) {
        for link in self.running.values() {
            link.stop.send_replace(true);
        }
        for (_, link) in self.running.drain() {
            let _ = link.task.await;
        }
    }
}

/// A seed of session ids, different for each link, so that two of them never mint one id.
pub(crate) fn id_seed(seed: u64, pbx: PbxId) -> u64 {
    seed ^ u64::from_le_bytes(pbx.as_uuid().as_bytes()[8..].try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use aimg_core::{AriLink, Codec, TapMode, Tls};
    use aimg_store::{NewPbx, PbxChange};

    use super::*;
    use crate::fixture::{OPERATOR, store};

    /// A link that does nothing but end when it shall.
    fn link(wanted: &Wanted) -> Running {
        let (stop, mut stopped) = watch::channel(false);
        let (_, report) = watch::channel(LinkReport::default());
        let task = tokio::spawn(async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        });
        Running { row_of: wanted.pbx.changed_at, stop, report, task }
    }

    async fn names(links: &mut Links, store: &Store, only: Option<&[TenantId]>) -> Vec<String> {
        let wanted = links.follow(store, only).await.unwrap();
        let mut names: Vec<_> = wanted.iter().map(|w| w.pbx.name.clone()).collect();
        wanted.iter().for_each(|wanted| links.add(&wanted.pbx, Ok(link(wanted))));
        names.sort();
        names
    }

    #[tokio::test]
    async fn pbxs_are_followed_of_the_tenants_that_are_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (store, row) = store(dir.path()).await;
        let rival = store.add_tenant(OPERATOR, "rival", "all".into()).await.unwrap().id;
        let branch = NewPbx {
            tenant: Some(rival),
            name: "branch".into(),
            host: "127.0.0.1".into(),
            ami_port: 5038,
            ami_tls: None,
            ami_user: "aimg".into(),
            ami_secret: "s".into(),
            ari_url: "http://127.0.0.1:8088/ari".into(),
            ari_tls: Tls::default(),
            ari_link: AriLink::Connect,
            ari_user: "aimg".into(),
            ari_password: "p".into(),
            ari_app: "aimg".into(),
            tap_mode: TapMode::Ami,
            codec: Codec::Ulaw,
            inbound_contexts: vec![],
        };
        store.add_pbx(OPERATOR, branch).await.unwrap();
        for (only, expected) in [
            (None, &["branch", "office"][..]),
            (Some(&[row.tenant][..]), &["office"]),
            (Some(&[rival]), &["branch"]),
            (Some(&[]), &[]),
        ] {
            assert_eq!(names(&mut Links::default(), &store, only).await, expected, "{only:?}");
        }
        store.set_tenant_enabled(OPERATOR, rival, false).await.unwrap();
        assert_eq!(names(&mut Links::default(), &store, None).await, ["office"]);
    }

    #[tokio::test]
    async fn a_pbx_that_was_changed_is_linked_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (store, row) = store(dir.path()).await;
        let mut links = Links::default();
        assert_eq!(names(&mut links, &store, None).await, ["office"]);
        assert_eq!(names(&mut links, &store, None).await, [""; 0], "it has its link");
        let secret = PbxChange { ami_secret: Some("other".into()), ..PbxChange::default() };
        store.change_pbx(OPERATOR, row.pbx, None, secret).await.unwrap();
        assert_eq!(names(&mut links, &store, None).await, [""; 0], "its link ends first");
        assert!(links.running.is_empty());
        let unusable = links.follow(&store, None).await.unwrap();
        links.add(&unusable[0].pbx, Err(Error::NoAriListener { pbx: "office".into() }));
        assert_eq!(names(&mut links, &store, None).await, [""; 0], "there cannot be one");
        let enabled = PbxChange { enabled: Some(true), ..PbxChange::default() };
        store.change_pbx(OPERATOR, row.pbx, None, enabled).await.unwrap();
        assert_eq!(names(&mut links, &store, None).await, ["office"], "it may be right after the change");
    }
}
