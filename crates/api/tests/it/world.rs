//! What each of the two tenants has: one of everything that the API can name, all of it with the tenant's own mark.

use std::collections::BTreeMap;

use aimg_accounts::{KeyRequest, MadeKey, Principal};
use aimg_core::{
    AriLink, CallDirection, CallEvent, CallEventKind, CallState, Codec, LegRow, Permission, Role, SessionRow, TapMode,
    TenantId, TenantScope, Timestamp, Tls, Uniqueid, WebhookEvent,
};
use aimg_store::{Announcement, Change, DeliveryFilter, NewPbx, NewWebhook, RecordingRow};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use crate::fixture::{PASSWORD, Service};

/// One tenant's things.
pub(crate) struct World {
    pub(crate) tenant: TenantId,
    /// Found in each of its texts, and in no other tenant's.
    pub(crate) mark: String,
    /// What stands for a path's parameter, by the segment before it and its own name, as in `users/{id}`.
    pub(crate) holes: BTreeMap<&'static str, String>,
}

impl World {
    /// Makes everything for the tenant at this place of [`Service::tenants`].
    pub(crate) async fn of(service: &Service, place: usize) -> Self {
        let (tenant, store) = (service.tenants[place], &service.store);
        let operator = TenantScope::Operator;
        let mark = format!("mark{place}x{}", Uuid::now_v7().simple());
        let pbx = store.add_pbx(operator, new_pbx(tenant, &mark)).await.unwrap();
        let user = format!("user-{mark}");
        let password = SecretString::from(PASSWORD);
        let user = service.accounts.add_user(operator, Some(tenant), &user, Role::Viewer, password).await.unwrap();
        let key = key_of(service, Some(tenant), Role::Viewer, &mark).await.key;
        let session = session(tenant, pbx.id, &mark);
        let recording = recording(&session, &mark);
        let leg = LegRow {
            tenant,
            session: session.id,
            uniqueid: session.uniqueid.clone(),
            name: format!("PJSIP/{mark}-1"),
            caller_number: Some(mark.clone()),
            joined_at: session.started_at,
            left_at: session.ended_at,
            hangup_cause: Some(16),
        };
        let kind = CallEventKind::QueueJoined { queue: mark.clone() };
        let event = CallEvent { tenant, pbx: pbx.id, session: session.id, at: session.started_at, kind };
        let webhook = store.add_webhook(operator, new_webhook(tenant, &mark)).await.unwrap();
        let told = Announcement {
            tenant,
            event: WebhookEvent::PbxUp,
            id: mark.clone(),
            at: session.started_at,
            session: None,
            data: serde_json::json!({ "pbx": mark }),
        };
        store.announce(operator, &told).await.unwrap();
        let delivery = store.deliveries(operator, webhook.id, DeliveryFilter::default()).await.unwrap().remove(0);
        let holes = BTreeMap::from([
            ("tenants/{id}", tenant.to_string()),
            ("pbxs/{id}", pbx.id.to_string()),
            ("users/{id}", user.id.to_string()),
            ("api-keys/{id}", key.id.to_string()),
            ("call-sessions/{id}", session.id.to_string()),
            ("webhooks/{id}", webhook.id.to_string()),
            ("deliveries/{delivery}", delivery.id.to_string()),
            ("recordings/{id}", format!("{}.0", session.id)),
        ]);
        let changes = vec![
            Change::Session(Box::new(session)),
            Change::Leg(leg),
            Change::Event(event),
            Change::Recording(recording),
        ];
        store.apply(operator, &changes).await.unwrap();
        Self { tenant, mark, holes }
    }

    /// What no other tenant may ever read: the mark, and every id but those of accounts that both may name.
    pub(crate) fn private(&self) -> impl Iterator<Item = &str> {
        [self.mark.as_str()].into_iter().chain(self.holes.values().map(String::as_str))
    }

    /// A path with its holes filled.
    pub(crate) fn fill(&self, path: &str) -> String {
        let mut filled = String::new();
        let mut before = "";
        for segment in path.split('/').skip(1) {
            filled.push('/');
            if segment.starts_with('{') {
                let hole = format!("{before}/{segment}");
                let value = self.holes.get(hole.as_str());
                filled.push_str(
                    value.unwrap_or_else(|| panic!("{path}: `World::of` has nothing for `{hole}`: add it there")),
                );
            } else {
                filled.push_str(segment);
            }
            before = segment;
        }
        filled
    }
}

/// An API key of a role: cheaper than a user, whose password takes long to hash.
pub(crate) async fn key_of(service: &Service, tenant: Option<TenantId>, role: Role, name: &str) -> MadeKey {
    let request = KeyRequest { tenant, name: name.to_owned(), role, permissions: None, expires_at: None };
    service.accounts.make_key(&Principal::command_line(), request).await.unwrap()
}

/// The same, as it is shown.
pub(crate) async fn token_of(service: &Service, tenant: Option<TenantId>, role: Role) -> String {
    key_of(service, tenant, role, "matrix").await.secret.expose_secret().to_owned()
}

/// The least role that has a permission, and those above it.
pub(crate) fn roles_with(permission: Option<Permission>) -> impl Iterator<Item = Role> {
    Role::ALL.into_iter().filter(move |role| permission.is_none_or(|permission| role.may(permission)))
}

pub(crate) fn new_pbx(tenant: TenantId, name: &str) -> NewPbx {
    NewPbx {
        tenant: Some(tenant),
        name: name.to_owned(),
        host: "127.0.0.1".into(),
        // Nobody listens there: what connects is refused at once.
        ami_port: 1,
        ami_tls: None,
        ami_user: name.to_owned(),
        ami_secret: "secret".into(),
        ari_url: "http://127.0.0.1:1/ari".into(),
        ari_tls: Tls::default(),
        ari_link: AriLink::Connect,
        ari_user: name.to_owned(),
        ari_password: "secret".into(),
        ari_app: "aimg".into(),
        tap_mode: TapMode::Ami,
        codec: Codec::Ulaw,
        inbound_contexts: vec![name.to_owned()],
    }
}

fn new_webhook(tenant: TenantId, mark: &str) -> NewWebhook {
    NewWebhook {
        tenant,
        // Nobody listens there either.
        url: format!("http://127.0.0.1:1/{mark}"),
        description: mark.to_owned(),
        events: WebhookEvent::ALL.to_vec(),
        secret: aimg_webhooks::make_secret(),
    }
}

pub(crate) fn session(tenant: TenantId, pbx: aimg_core::PbxId, mark: &str) -> SessionRow {
    SessionRow {
        id: Uuid::now_v7().to_string().parse().unwrap(),
        tenant,
        pbx,
        uniqueid: Uniqueid::new(format!("{mark}.1")),
        linkedid: Uniqueid::new(format!("{mark}.1")),
        state: CallState::Ended,
        call_direction: CallDirection::Inbound,
        caller_number: Some(mark.to_owned()),
        dialled_number: Some(mark.to_owned()),
        context: Some(mark.to_owned()),
        started_at: Timestamp::from_micros(1_700_000_000_000_000),
        answered_at: Some(Timestamp::from_micros(1_700_000_001_000_000)),
        ended_at: Some(Timestamp::from_micros(1_700_000_009_000_000)),
        hangup_cause: Some(16),
        node: "test".parse().unwrap(),
        captured: true,
    }
}

pub(crate) fn recording(session: &SessionRow, mark: &str) -> RecordingRow {
    RecordingRow {
        tenant: session.tenant,
        pbx: session.pbx,
        session: session.id,
        part: 0,
        path: format!("{mark}.wav"),
        certificate: serde_json::json!({ "mark": mark }),
        complete: true,
        duration_ms: 8_000,
        bytes: 44,
        created_at: Timestamp::from_micros(1_700_000_010_000_000),
    }
}
