//! `/api/v1/system`: whether the gateway is well. What belongs to all tenants is shown to super admins only.

use aimg_ari::BreakerState;
use aimg_core::{Permission, TenantId, TenantScope};
use aimg_gateway::{AlarmState, DiskRoom, LinkObservation, LinkState, Observation};
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::Json;
use crate::caller::Caller;
use crate::guard::needs;
use crate::server::Desk;

const TAG: &str = "system";

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(needs(Permission::CallsMonitor, routes!(health)))
        .routes(needs(Permission::TenantsRead, routes!(status)))
        .routes(needs(Permission::TenantsRead, routes!(alarms)))
}

/// Whether calls are captured.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Whether the next call can be captured, as far as this node is concerned.
    ready: bool,
    /// PBXs of which no call can be captured: of one's own tenant, or all of them for a super admin.
    pbxs_impeded: usize,
    /// PBXs that are followed, counted likewise.
    pbxs: usize,
    /// The version of the gateway.
    version: &'static str,
}

/// How this node stands.
#[derive(Debug, Serialize, ToSchema)]
struct Status {
    /// The version of the gateway.
    version: &'static str,
    /// Since its start.
    uptime_seconds: u64,
    /// The PBXs that it follows: of one's own tenant, or all of them for a super admin.
    links: Vec<Link>,
    /// What belongs to all tenants; for a super admin.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<Node>,
}

/// The connections to one PBX.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Link {
    /// The PBX.
    pbx: Uuid,
    /// Its name.
    name: String,
    /// Whose it is; absent where several tenants share it.
    tenant: Option<Uuid>,
    /// The Manager Interface; absent where ARI stands in for it.
    ami: Option<Connection>,
    /// The REST Interface.
    ari: Connection,
    /// Whether requests are sent: `closed`, or `open` and `half_open` while they are held back.
    breaker: &'static str,
}

/// One of them.
#[derive(Debug, Serialize, ToSchema)]
struct Connection {
    /// `connecting`, `up`, `down`, `refused`, `lacking` or `replaced`.
    state: &'static str,
    /// Why calls cannot be captured over it, if they cannot.
    reason: Option<String>,
}

/// What belongs to all tenants.
#[derive(Debug, Serialize, ToSchema)]
struct Node {
    /// Its name.
    name: String,
    /// The database.
    database: String,
    /// Workers that died before this one, under the same parent.
    worker_deaths: u32,
    /// What receives audio.
    shards: Vec<Shard>,
    /// Where calls are captured to.
    spool: Disk,
    /// Where their recordings are kept.
    recordings: Disk,
    /// The way to the database.
    journal: Journal,
    /// Captures that have ended and whose recordings are not finished.
    recordings_being_finished: u64,
    /// Alarms that are up.
    alarms_active: usize,
}

/// What receives audio at one UDP port.
#[derive(Debug, Serialize, ToSchema)]
struct Shard {
    /// Where it receives.
    address: String,
    /// Flows open.
    flows: u64,
    /// Packets received.
    packets: u64,
    /// Packets that the kernel dropped.
    kernel_dropped: u64,
    /// Packets that found no room in their spool.
    dropped_by_us: u64,
}

/// Room on a disk.
#[derive(Debug, Serialize, ToSchema)]
struct Disk {
    /// The directory.
    directory: String,
    /// Bytes that can still be written; absent while the system does not tell.
    free_bytes: Option<u64>,
    /// Whether no capture begins because there is too little.
    low: bool,
}

/// The way to the database.
#[derive(Debug, Serialize, ToSchema)]
struct Journal {
    /// Changes that wait to be written.
    waiting: u64,
    /// Changes that can wait.
    waiting_max: u64,
    /// Whether the database could not be written at the last try.
    away: bool,
    /// Changes that found no room.
    lost: u64,
}

/// An alarm that was raised since the start.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Alarm)]
struct AlarmShown {
    /// Its stable name.
    alarm: &'static str,
    /// `warning`, or `critical` where audio is or will be missing.
    severity: &'static str,
    /// What it says.
    says: &'static str,
    /// What to do about it.
    cure: &'static str,
    /// Whether it is up.
    active: bool,
    /// How often it was raised since the start.
    raised: u64,
    /// Whose PBX it is about.
    tenant: Option<Uuid>,
    /// Which PBX.
    pbx: Option<Uuid>,
    /// Which shard, from 0.
    shard: Option<usize>,
    /// Which directory.
    place: Option<&'static str>,
}

/// Ask whether calls are captured
#[utoipa::path(get, path = "/system/health", tag = TAG, responses((status = 200, description = "Whether", body = Health)))]
async fn health(State(desk): State<Desk>, caller: Caller) -> Json<Health> {
    let links = links_of(&desk, caller.scope());
    let is_impeded = |link: &&LinkObservation| {
        let sides = link.ami.iter().chain([&link.ari]);
        sides.into_iter().any(|state| state.why_not().is_some())
    };
    Json(Health {
        ready: !desk.monitor.impediments().iter().any(|impediment| impediment.is_fatal),
        pbxs_impeded: links.iter().filter(is_impeded).count(),
        pbxs: links.len(),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Show how this node stands
#[utoipa::path(get, path = "/system/status", tag = TAG, responses((status = 200, description = "The status", body = Status)))]
async fn status(State(desk): State<Desk>, caller: Caller) -> Json<Status> {
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: desk.monitor.uptime().as_secs(),
        links: links_of(&desk, caller.scope()).into_iter().map(Link::from).collect(),
        node: (caller.scope() == TenantScope::Operator).then(|| Node::observe(&desk, desk.monitor.observe())),
    })
}

/// List the alarms
///
/// Those that were raised since the start, about one's own PBXs; all of them for a super admin.
#[utoipa::path(get, path = "/system/alarms", tag = TAG, responses((status = 200, description = "The alarms", body = Vec<AlarmShown>)))]
async fn alarms(State(desk): State<Desk>, caller: Caller) -> Json<Vec<AlarmShown>> {
    let alarms = desk.monitor.alarms().into_iter().filter(|alarm| reaches(caller.scope(), alarm.subject.tenant));
    Json(alarms.map(AlarmShown::from).collect())
}

/// The links in reach.
fn links_of(desk: &Desk, scope: TenantScope) -> Vec<LinkObservation> {
    desk.monitor.links().into_iter().filter(|link| reaches(scope, link.tenant)).collect()
}

/// What is nobody's is the installation's.
fn reaches(scope: TenantScope, tenant: Option<TenantId>) -> bool {
    tenant.map_or(scope == TenantScope::Operator, |tenant| scope.reaches(tenant))
}

impl Node {
    fn observe(desk: &Desk, seen: Observation) -> Self {
        let shard = |shard: aimg_media::ShardStats| Shard {
            address: shard.address.to_string(),
            flows: shard.flows,
            packets: shard.packets,
            kernel_dropped: shard.kernel_dropped,
            dropped_by_us: shard.dropped_by_us,
        };
        Self {
            name: desk.doctor.node.to_string(),
            database: desk.store.place().to_string(),
            worker_deaths: seen.worker_deaths,
            shards: seen.media.shards.into_iter().map(shard).collect(),
            spool: seen.disks.spool.into(),
            recordings: seen.disks.recordings.into(),
            journal: Journal {
                waiting: seen.journal.waiting,
                waiting_max: seen.journal.waiting_max,
                away: seen.journal.is_away,
                lost: seen.journal.counts.overflowed,
            },
            recordings_being_finished: seen.finishing,
            alarms_active: seen.alarms.iter().filter(|alarm| alarm.active).count(),
        }
    }
}

impl From<LinkObservation> for Link {
    fn from(link: LinkObservation) -> Self {
        Self {
            pbx: link.pbx.as_uuid(),
            name: link.name,
            tenant: link.tenant.map(TenantId::as_uuid),
            ami: link.ami.as_ref().map(Connection::from),
            ari: Connection::from(&link.ari),
            breaker: match link.breaker {
                BreakerState::Closed => "closed",
                BreakerState::Open { .. } => "open",
                BreakerState::HalfOpen => "half_open",
            },
        }
    }
}

impl From<&LinkState> for Connection {
    fn from(state: &LinkState) -> Self {
        Self { state: state.name(), reason: state.why_not() }
    }
}

impl From<DiskRoom> for Disk {
    fn from(room: DiskRoom) -> Self {
        Self { directory: room.dir.display().to_string(), free_bytes: room.free_bytes, low: room.is_low }
    }
}

impl From<AlarmState> for AlarmShown {
    fn from(AlarmState { alarm, subject, active, raised }: AlarmState) -> Self {
        Self {
            alarm: alarm.name(),
            severity: alarm.severity().name(),
            says: alarm.says(),
            cure: alarm.cure(),
            active,
            raised,
            tenant: subject.tenant.map(TenantId::as_uuid),
            pbx: subject.pbx.map(aimg_core::PbxId::as_uuid),
            shard: subject.shard,
            place: subject.place,
        }
    }
}
