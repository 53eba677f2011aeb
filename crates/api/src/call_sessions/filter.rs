//! Which calls somebody asks for.

use aimg_core::{CallDirection, CallState, PbxId, TenantId};
use aimg_store::{SessionFilter, SessionPlace};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::export::Format;
use crate::page::{Order, Place};
use crate::problem::Problem;
use crate::schema::{CallDirectionSchema, CallStateSchema, Time};

/// Characters of a number or of what is searched for, at most.
const TEXT_CHARS_MAX: usize = 80;
/// What is shorter begins too many numbers.
const SEARCH_CHARS_MIN: usize = 3;

/// The parameters that lists and exports share, and those of their own. (What serde flattens knows texts only, and lets
/// unknown parameters pass.)
macro_rules! filters {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Deserialize, IntoParams)]
        #[serde(deny_unknown_fields)]
        #[into_params(parameter_in = Query)]
        pub(super) struct $name {
            /// Of this tenant: for a super admin, who sees all.
            tenant: Option<Uuid>,
            /// On this PBX.
            pbx: Option<Uuid>,
            /// In this state.
            #[param(value_type = Option<CallStateSchema>)]
            state: Option<CallState>,
            /// Whether they came in or went out.
            #[param(value_type = Option<CallDirectionSchema>)]
            direction: Option<CallDirection>,
            /// From exactly this number.
            #[param(max_length = 80)]
            caller: Option<String>,
            /// To exactly this number.
            #[param(max_length = 80)]
            dialled: Option<String>,
            /// Captured, or not.
            captured: Option<bool>,
            /// Whether only those that are going on.
            active: Option<bool>,
            /// Begun at this time or later.
            started_from: Option<Time>,
            /// Begun before this time.
            started_before: Option<Time>,
            /// With a caller's or dialled number, an id, or an Asterisk Uniqueid that begins so; the last from the seventh
            /// digit of its time on.
            #[param(min_length = 3, max_length = 80)]
            q: Option<String>,
            /// Which come first.
            order: Option<Order>,
            $($(#[$field_doc])* pub(super) $field: $type,)*
        }

        impl $name {
            /// What is set of it, but for its own parameters.
            fn common(&self) -> Result<SessionFilter, Problem> {
                Ok(SessionFilter {
                    active: self.active.unwrap_or_default(),
                    tenant: self.tenant.map(TenantId::from_uuid),
                    pbx: self.pbx.map(PbxId::from_uuid),
                    state: self.state,
                    call_direction: self.direction,
                    caller_number: text("caller", self.caller.as_deref(), 0)?,
                    dialled_number: text("dialled", self.dialled.as_deref(), 0)?,
                    captured: self.captured,
                    begins_with: text("q", self.q.as_deref(), SEARCH_CHARS_MIN)?,
                    started_from: self.started_from.map(|at| at.0),
                    started_before: self.started_before.map(|at| at.0),
                    oldest_first: self.order == Some(Order::Oldest),
                    ..SessionFilter::default()
                })
            }
        }
    };
}

filters! {
    /// Which calls a list shows.
    ListQuery {
        /// The `next` of the page before.
        after: Option<String>,
        /// Rows of a page.
        #[param(minimum = 1, maximum = 500, default = 50)]
        limit: Option<u64>,
    }
}

filters! {
    /// Which calls an export holds.
    ExportQuery {
        /// What kind of file.
        format: Format,
    }
}

/// Which calls that are going on are shown.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LiveQuery {
    /// Of this tenant: for a super admin, who sees all.
    tenant: Option<Uuid>,
    /// On this PBX.
    pbx: Option<Uuid>,
    /// The `next` of the page before.
    after: Option<String>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub(super) limit: Option<u64>,
}

impl ListQuery {
    /// What is asked for, but for the limit.
    pub(super) fn filter(&self) -> Result<SessionFilter, Problem> {
        Ok(SessionFilter { after: place(self.after.as_deref())?, ..self.common()? })
    }
}

impl ExportQuery {
    /// What is asked for.
    pub(super) fn filter(&self) -> Result<SessionFilter, Problem> {
        self.common()
    }
}

impl LiveQuery {
    /// What is asked for, but for the limit.
    pub(super) fn filter(&self) -> Result<SessionFilter, Problem> {
        Ok(SessionFilter {
            active: true,
            tenant: self.tenant.map(TenantId::from_uuid),
            pbx: self.pbx.map(PbxId::from_uuid),
            after: place(self.after.as_deref())?,
            ..SessionFilter::default()
        })
    }
}

fn place(after: Option<&str>) -> Result<Option<SessionPlace>, Problem> {
    let place = Place::of_cursor(after)?;
    Ok(place.map(|Place { at, session, part: _ }| SessionPlace { started_at: at, id: session }))
}

/// A text that a number or id can be. PostgreSQL takes no text with a NUL in it.
fn text(field: &str, asked: Option<&str>, chars_min: usize) -> Result<Option<String>, Problem> {
    let Some(asked) = asked else { return Ok(None) };
    let fits = (chars_min..=TEXT_CHARS_MAX).contains(&asked.chars().count());
    if !fits || asked.chars().any(char::is_control) {
        let why = format!("use {chars_min} to {TEXT_CHARS_MAX} characters, none of them a control character");
        return Err(Problem::invalid(field, why));
    }
    Ok(Some(asked.to_owned()))
}
