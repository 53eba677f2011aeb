//! Tells on the bus what the journal keeps and the log says: what happens to calls, how links stand, which alarms are up.
//!
//! It is told when it happens, whether or not the store can be written at that moment.

use std::sync::Arc;

use aimg_cluster::{AlarmNews, Bus, Limits, LinkNews, LinkSide, News, Notice, QuotaNews, Segment};
use aimg_core::{CallEvent, PbxId, SessionId, SessionRow, TenantId};
use aimg_media::Clock;
use tokio::sync::watch;

use crate::alarm::{Alarm, Subject};
use crate::link::{LinkReport, LinkState};

/// The way to the bus. Clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct Herald {
    bus: Bus,
    clock: Clock,
}

impl Default for Herald {
    /// One whom nobody hears.
    fn default() -> Self {
        Self::new(Bus::silent(Limits::default()), Clock::anchored())
    }
}

impl Herald {
    pub(crate) const fn new(bus: Bus, clock: Clock) -> Self {
        Self { bus, clock }
    }

    pub(crate) const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// What happened to a call, and where that changed its state, the call as it stands.
    pub(crate) fn event(&self, event: &CallEvent, call: Option<&SessionRow>) {
        let CallEvent { tenant, pbx, session, at, ref kind } = *event;
        let news = News::Call { event: kind.clone(), call: call.cloned().map(Arc::new) };
        self.bus.publish(Notice { tenant: Some(tenant), pbx: Some(pbx), session: Some(session), at, news });
    }

    /// An alarm that is raised, with its reason, or over.
    pub(crate) fn alarm(&self, alarm: Alarm, subject: Subject, reason: Option<&str>) {
        let news = News::Alarm(AlarmNews {
            alarm: alarm.name(),
            severity: alarm.severity().name(),
            says: alarm.says(),
            is_raised: reason.is_some(),
            reason: reason.map(str::to_owned),
        });
        self.tell(subject.tenant, subject.pbx, news);
    }

    /// Somebody said something in a call.
    pub(crate) fn segment(&self, tenant: TenantId, pbx: PbxId, session: SessionId, said: Segment) {
        let news = News::Segment(said);
        self.bus.publish(Notice {
            tenant: Some(tenant),
            pbx: Some(pbx),
            session: Some(session),
            at: self.clock.now(),
            news,
        });
    }

    /// A tenant has reached a bound.
    pub(crate) fn quota(&self, tenant: TenantId, news: QuotaNews) {
        self.tell(Some(tenant), None, News::Quota(news));
    }

    /// Tells of each change of a link's connections, until the link ends.
    pub(crate) async fn follow(self, tenant: Option<TenantId>, pbx: PbxId, mut report: watch::Receiver<LinkReport>) {
        let mut told = LinkReport::default();
        loop {
            let stands = report.borrow_and_update().clone();
            for (side, before, state) in
                [(LinkSide::Ami, &told.ami, &stands.ami), (LinkSide::Ari, &told.ari, &stands.ari)]
            {
                if before.name() != state.name() {
                    let is_up = *state == LinkState::Up;
                    let (pbx_name, reason) = (stands.pbx.clone(), state.why_not());
                    let news = News::Link(LinkNews { pbx_name, side, is_up, state: state.name(), reason });
                    self.tell(tenant, Some(pbx), news);
                }
            }
            told = stands;
            if report.changed().await.is_err() {
                return;
            }
        }
    }

    fn tell(&self, tenant: Option<TenantId>, pbx: Option<PbxId>, news: News) {
        self.bus.publish(Notice { tenant, pbx, session: None, at: self.clock.now(), news });
    }
}

#[cfg(test)]
mod tests {
    use aimg_cluster::{Published, Subscription};
    use aimg_core::TenantScope;

    use super::*;
    use crate::alarm::Alarms;

    fn tenant() -> TenantId {
        "0198c1de-1111-7000-8000-000000000001".parse().unwrap()
    }

    fn pbx() -> PbxId {
        "0198c1de-1111-7000-8000-000000000002".parse().unwrap()
    }

    fn told(listener: &mut Subscription) -> Vec<Arc<Published>> {
        let mut into = Vec::new();
        assert_eq!(listener.take(|_| true, &mut into), 0);
        into
    }

    #[test]
    fn an_alarm_is_told_when_it_comes_and_when_it_goes() {
        let herald = Herald::default();
        let mut hers = herald.bus().subscribe(TenantScope::Tenant(tenant()));
        let mut all = herald.bus().subscribe(TenantScope::Operator);
        let alarms = Alarms::telling(herald);
        alarms.set(Alarm::AmiDown, Subject::pbx(Some(tenant()), pbx()), Some("no route".into()));
        alarms.happened(Alarm::RowRefused, Subject::GATEWAY, None, "it is damaged");
        alarms.happened(Alarm::RowRefused, Subject::GATEWAY, None, "it is damaged");
        alarms.set(Alarm::AmiDown, Subject::pbx(Some(tenant()), pbx()), None);
        let shown = |told: Vec<Arc<Published>>| -> Vec<_> {
            let news = told.iter().map(|p| match &p.notice.news {
                News::Alarm(alarm) => (alarm.alarm, alarm.is_raised, alarm.reason.clone()),
                other => panic!("{other:?}"),
            });
            news.collect()
        };
        let down = [("ami_down", true, Some("no route".to_owned())), ("ami_down", false, None)];
        assert_eq!(shown(told(&mut hers)), down);
        let [raised, over] = down;
        assert_eq!(shown(told(&mut all)), [raised, ("row_refused", true, Some("it is damaged".into())), over]);
    }

    #[tokio::test]
    async fn each_change_of_a_link_is_told_until_it_ends() {
        let herald = Herald::new(Bus::start(Limits::default()), Clock::anchored());
        let mut listener = herald.bus().subscribe(TenantScope::Tenant(tenant()));
        let (report, watched) = watch::channel(LinkReport { pbx: "office".into(), ..LinkReport::default() });
        let follower = tokio::spawn(herald.follow(Some(tenant()), pbx(), watched));
        for (state, is_up, reason) in
            [(LinkState::Up, true, None), (LinkState::Down("cut".to_owned()), false, Some("cut".to_owned()))]
        {
            report.send_modify(|r| r.ari = state);
            listener.ready().await;
            let told = told(&mut listener);
            let [published] = &told[..] else { panic!("{told:?}") };
            let News::Link(link) = &published.notice.news else { panic!("{published:?}") };
            assert_eq!((link.pbx_name.as_str(), link.side, link.is_up), ("office", LinkSide::Ari, is_up));
            assert_eq!((&link.reason, published.notice.pbx), (&reason, Some(pbx())));
        }
        drop(report);
        follower.await.unwrap();
    }
}
