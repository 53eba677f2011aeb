//! The links that run, and which PBXs should have one.

use std::collections::{BTreeMap, HashMap};

use aimg_core::{Attribution, PbxId, TenantId, TenantScope, Timestamp};
use aimg_session::{CaptureRule, Tenants};
use aimg_store::{Pbx, PbxRule, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::Error;
use crate::alarm::{Alarm, Alarms, Subject};
use crate::link::{LinkReport, LinkState};

/// A PBX that should get a link.
pub(crate) struct Wanted {
    pub(crate) pbx: Pbx,
    pub(crate) terms: Terms,
}

/// Whose the calls of a PBX are, and which are captured: as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Terms {
    Dedicated { tenant: TenantId, rule: serde_json::Value },
    Shared { rules: Vec<PbxRule>, served: BTreeMap<TenantId, serde_json::Value> },
}

impl Terms {
    /// The terms of a PBX, if it is to be followed: its tenant is among the served ones, or it is shared.
    async fn of(
        store: &Store,
        pbx: &Pbx,
        served: &BTreeMap<TenantId, serde_json::Value>,
    ) -> Result<Option<Self>, Error> {
        if let Some(tenant) = pbx.tenant {
            return Ok(served.get(&tenant).map(|rule| Self::Dedicated { tenant, rule: rule.clone() }));
        }
        let rules = store.pbx_rules(TenantScope::Operator, pbx.id).await?;
        let has_rule = |tenant: &TenantId| rules.iter().any(|rule| rule.tenant == *tenant);
        let served = served.iter().filter(|(tenant, _)| has_rule(tenant)).map(|(t, rule)| (*t, rule.clone())).collect();
        Ok(Some(Self::Shared { rules, served }))
    }

    /// What the reducer makes of them. On a shared PBX a damaged capture rule is that tenant's harm alone: its calls are
    /// followed and not captured.
    pub(crate) fn tenants(&self) -> Result<Tenants, Error> {
        match self {
            Self::Dedicated { tenant, rule } => Ok(Tenants::Dedicated { tenant: *tenant, rule: read(*tenant, rule)? }),
            Self::Shared { rules, served } => {
                let rules = Attribution::new(rules.iter().map(|rule| (rule.rule.clone(), rule.tenant)))?;
                let rule_of = |(tenant, rule): (&TenantId, _)| {
                    let harmless = |error: Error| {
                        tracing::error!(tenant.id = %tenant, %error, "the calls of this tenant are not captured");
                        CaptureRule::None
                    };
                    (*tenant, read(*tenant, rule).unwrap_or_else(harmless))
                };
                Ok(Tenants::Shared { rules, served: served.iter().map(rule_of).collect() })
            }
        }
    }
}

fn read(tenant: TenantId, rule: &serde_json::Value) -> Result<CaptureRule, Error> {
    let damaged = |e: aimg_session::RuleError| Error::Rule { tenant, reason: e.to_string() };
    rule.as_str().unwrap_or_default().parse().map_err(damaged)
}

/// A running link.
pub(crate) struct Running {
    /// When the row was last changed that it was made from.
    pub(crate) row_of: Timestamp,
    /// What it goes by.
    pub(crate) terms: Terms,
    /// Where it is told of others.
    pub(crate) tenants: watch::Sender<Tenants>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) report: watch::Receiver<LinkReport>,
    pub(crate) task: JoinHandle<()>,
}

impl Running {
    /// Lets it go by other terms from the next call on; by those it has where these are damaged.
    fn goes_by(&mut self, pbx: PbxId, terms: Terms) {
        match terms.tenants() {
            Ok(tenants) => drop(self.tenants.send_replace(tenants)),
            Err(error) => tracing::error!(pbx.id = %pbx, %error, "what was changed about this PBX is not gone by"),
        }
        self.terms = terms;
    }
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
        let served = tenants.into_iter().filter(|t| t.enabled && is_asked_for(&t.id));
        let served: BTreeMap<TenantId, serde_json::Value> = served.map(|t| (t.id, t.capture_rule)).collect();
        let mut wanted: HashMap<PbxId, Wanted> = HashMap::new();
        for pbx in store.pbxs(TenantScope::Operator).await?.into_iter().filter(|pbx| pbx.enabled) {
            let is_for_others =
                |terms: &Terms| only.is_some() && matches!(terms, Terms::Shared { served, .. } if served.is_empty());
            if let Some(terms) = Terms::of(store, &pbx, &served).await?.filter(|terms| !is_for_others(terms)) {
                wanted.insert(pbx.id, Wanted { pbx, terms });
            }
        }
        // One whose row was changed is linked anew, the next time: its end takes a moment.
        let stays = |id: &PbxId, link: &Running| wanted.get(id).is_some_and(|w| w.pbx.changed_at == link.row_of);
        let gone: Vec<PbxId> = self.running.iter().filter(|(id, link)| !stays(id, link)).map(|(id, _)| *id).collect();
        for id in &gone {
            if let Some(link) = self.running.remove(id) {
                link.stop.send_replace(true);
                let _ = link.task.await;
                self.alarms.forget(*id);
            }
        }
        self.unusable.extract_if(|id, _| !wanted.contains_key(id)).for_each(|(id, _)| self.alarms.forget(id));
        for (id, link) in &mut self.running {
            if let Some(Wanted { terms, .. }) = wanted.get(id).filter(|wanted| wanted.terms != link.terms) {
                link.goes_by(*id, terms.clone());
            }
        }
        let lacks = |Wanted { pbx, .. }: &Wanted| {
            let id = &pbx.id;
            !self.running.contains_key(id) && !gone.contains(id) && self.unusable.get(id) != Some(&pbx.changed_at)
        };
        Ok(wanted.into_values().filter(lacks).collect())
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
    use aimg_core::{AriLink, ChannelFacts, Codec, Owner, TapMode, Tls};
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
        let (tenants, _) = watch::channel(wanted.terms.tenants().unwrap());
        Running { row_of: wanted.pbx.changed_at, terms: wanted.terms.clone(), tenants, stop, report, task }
    }

    fn new_pbx(tenant: TenantId, name: &str) -> NewPbx {
        NewPbx {
            tenant: Some(tenant),
            name: name.into(),
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
        }
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
        store.add_pbx(OPERATOR, new_pbx(rival, "branch")).await.unwrap();
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

    /// The terms that a link goes by: whose channels of these contexts are, and whether they are captured.
    fn goes_by(links: &Links, pbx: PbxId, contexts: &[&str]) -> Vec<Option<(TenantId, bool)>> {
        let Tenants::Shared { rules, served } = &*links.running[&pbx].tenants.borrow() else { panic!("it is shared") };
        let of = |context: &&str| {
            let facts = ChannelFacts { context: (*context).to_owned(), ..ChannelFacts::default() };
            let Owner::Tenant(tenant) = rules.owner(&facts) else { return None };
            Some((tenant, matches!(served.get(&tenant)?, CaptureRule::All)))
        };
        contexts.iter().map(of).collect()
    }

    #[tokio::test]
    async fn rules_of_a_shared_pbx_are_followed_without_a_new_link() {
        let dir = tempfile::tempdir().unwrap();
        let (store, row) = store(dir.path()).await;
        let rival = store.add_tenant(OPERATOR, "rival", "all".into()).await.unwrap().id;
        let shared = store.add_pbx(OPERATOR, NewPbx { tenant: None, ..new_pbx(rival, "shared") }).await.unwrap().id;
        let rule = |text: &str| text.parse().unwrap();
        store.add_pbx_rule(OPERATOR, shared, row.tenant, rule("context:a")).await.unwrap();
        store
            .change_pbx(OPERATOR, row.pbx, None, PbxChange { enabled: Some(false), ..PbxChange::default() })
            .await
            .unwrap();
        for (only, expected) in [(None, &["shared"][..]), (Some(&[row.tenant][..]), &["shared"]), (Some(&[rival]), &[])]
        {
            assert_eq!(names(&mut Links::default(), &store, only).await, expected, "{only:?}");
        }
        let mut links = Links::default();
        assert_eq!(names(&mut links, &store, None).await, ["shared"]);
        assert_eq!(goes_by(&links, shared, &["a", "b"]), [Some((row.tenant, true)), None]);

        store.add_pbx_rule(OPERATOR, shared, rival, rule("context:b")).await.unwrap();
        store.set_capture_rule(OPERATOR, row.tenant, "none".into()).await.unwrap();
        assert_eq!(names(&mut links, &store, None).await, [""; 0], "it has its link");
        assert_eq!(goes_by(&links, shared, &["a", "b"]), [Some((row.tenant, false)), Some((rival, true))]);

        store.set_capture_rule(OPERATOR, row.tenant, "damaged".into()).await.unwrap();
        store.set_tenant_enabled(OPERATOR, rival, false).await.unwrap();
        assert_eq!(names(&mut links, &store, None).await, [""; 0]);
        assert_eq!(goes_by(&links, shared, &["a", "b"]), [Some((row.tenant, false)), None], "nobody else's harm");
    }
}
