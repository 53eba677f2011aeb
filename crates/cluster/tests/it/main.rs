//! The bus under random orders of events: nobody is told of what is another's, and everybody in order and once.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::sync::Arc;

use aimg_cluster::{Bus, Gone, Limits, News, Notice, QuotaNews, Subscription};
use aimg_core::{TenantId, TenantScope, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use uuid::Uuid;

const TENANTS: usize = 3;
/// Small, so that it is often exceeded.
const KEPT: usize = 8;

/// What can happen. The installation is the last of the parties.
#[derive(Clone, Debug)]
enum Step {
    Publish { of: usize },
    Take { by: usize },
    Resume { by: usize, back: u64 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let party = 0..=TENANTS;
    let step = prop_oneof![
        4 => party.clone().prop_map(|of| Step::Publish { of }),
        2 => party.clone().prop_map(|by| Step::Take { by }),
        1 => (party, 0..3 * KEPT as u64).prop_map(|(by, back)| Step::Resume { by, back }),
    ];
    vec(step, 1..200)
}

fn tenant(party: usize) -> Option<TenantId> {
    (party < TENANTS).then(|| TenantId::from_uuid(Uuid::from_u128(party as u128)))
}

/// What one party was ever told of, by the model, and where it stands.
#[derive(Default)]
struct Model {
    stream: Vec<u64>,
    seq: usize,
}

impl Model {
    fn is_remembered(&self, seq: usize) -> bool {
        seq <= self.stream.len() && self.stream.len() - seq <= KEPT
    }
}

fn marks(subscription: &mut Subscription) -> (u64, Vec<(u64, u64, Option<TenantId>)>) {
    let mut into = Vec::new();
    let missed = subscription.take(|_| true, &mut into);
    let mark = |notice: &Arc<Notice>| match &notice.news {
        News::Quota(quota) => quota.used,
        other => panic!("nobody published {other:?}"),
    };
    (missed, into.iter().map(|p| (p.seq, mark(&p.notice), p.notice.tenant)).collect())
}

proptest! {
    #[test]
    fn each_is_told_of_its_own_in_order_and_once(steps in steps()) {
        let limits = Limits { tenant_notices_max: KEPT, all_notices_max: KEPT, ..Limits::default() };
        let bus = Bus::silent(limits);
        let scope = |party| tenant(party).map_or(TenantScope::Operator, TenantScope::Tenant);
        let mut listeners: Vec<_> = (0..=TENANTS).map(|party| bus.subscribe(scope(party))).collect();
        let mut models: Vec<Model> = (0..=TENANTS).map(|_| Model::default()).collect();
        for (mark, step) in steps.into_iter().enumerate() {
            let mark = mark as u64;
            match step {
                Step::Publish { of } => {
                    let news = News::Quota(QuotaNews { quota: "calls", max: 0, used: mark });
                    bus.publish(Notice { tenant: tenant(of), pbx: None, session: None, at: Timestamp::default(), news });
                    if of < TENANTS {
                        models[of].stream.push(mark);
                    }
                    models[TENANTS].stream.push(mark);
                }
                Step::Take { by } => {
                    let (missed, told) = marks(&mut listeners[by]);
                    let model = &mut models[by];
                    if model.is_remembered(model.seq) {
                        let expected: Vec<_> = (model.seq..model.stream.len()).map(|n| (n as u64 + 1, model.stream[n])).collect();
                        prop_assert_eq!(told.iter().map(|(seq, mark, _)| (*seq, *mark)).collect::<Vec<_>>(), expected);
                        prop_assert_eq!(missed, 0);
                    } else {
                        prop_assert_eq!(missed, (model.stream.len() - model.seq) as u64);
                        prop_assert!(told.is_empty());
                    }
                    prop_assert!(by == TENANTS || told.iter().all(|(_, _, of)| *of == tenant(by)));
                    model.seq = model.stream.len();
                }
                Step::Resume { by, back } => {
                    let model = &mut models[by];
                    // Sometimes a number that was not given yet.
                    let after = (model.stream.len() as u64 + 2).saturating_sub(back);
                    let last = model.stream.len() as u64;
                    let expected = if model.is_remembered(after as usize) { Ok(last - after) } else { Err(Gone { last }) };
                    prop_assert_eq!(listeners[by].resume_after(after), expected);
                    if expected.is_ok() {
                        model.seq = after as usize;
                    }
                }
            }
        }
    }
}
