//! The words that every crate shares: ids, tenant scope, roles, time, codecs, call events and secrets.
//!
//! Nothing here does IO, reads a clock or draws a random number: what needs one takes it as an argument.

mod attribution;
mod backoff;
mod call;
mod codec;
mod errand;
mod event;
mod ids;
mod role;
mod scope;
mod secret;
mod setting;
mod tap;
mod time;
mod tls;
mod webhook;

pub use attribution::{Attribution, AttributionError, ChannelFacts, Claim, ClaimError, Fact, Looked, Owner, RULES_MAX};
pub use backoff::Backoff;
pub use call::{LegRow, SessionRow};
pub use codec::{Codec, UnknownCodec};
pub use errand::{ErrandId, ErrandWhat};
pub use event::{CallEvent, CallEventKind, CallState, CaptureOrder, FailReason, QuotaKind, TransferKind};
pub use ids::{
    ApiKeyId, CallDirection, DeliveryId, Direction, FlowId, IdError, MINTED_PREFIX, Minted, MintedWhat, NodeId, PbxId,
    PbxRuleId, SessionId, TenantId, TranscriptId, Uniqueid, UserId, WebhookId,
};
pub use role::{Permission, Role, UnknownPermission, UnknownRole};
pub use scope::TenantScope;
pub use secret::{DataKey, SecretError};
pub use setting::{BadSetting, ChangedBy, Setting, SettingDefault, SettingKind, UnknownSetting};
pub use tap::{AriLink, TapMode, UnknownAriLink, UnknownTapMode};
pub use time::{ParseTimestampError, Timestamp};
pub use tls::{Fingerprint, ParseFingerprintError, Tls, Trust};
pub use webhook::{UnknownWebhookEvent, WebhookEvent};
