//! `/api/v1/pbxs`: where an Asterisk is reached, as whom, and how its calls are captured.

use aimg_core::{AriLink, Codec, Fingerprint, PbxId, Permission, TapMode, TenantId, Trust};
use aimg_store::PbxFilter;
use axum::extract::State;
use axum::http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::body::{self, Created, IfMatch, Json, Path, Query, Versioned};
use crate::caller::Caller;
use crate::guard::needs;
use crate::page::{self, Page, PageOfTenant};
use crate::problem::Problem;
use crate::schema::{AriLinkSchema, CodecSchema, TapModeSchema, Time};
use crate::server::Desk;

pub(crate) const TAG: &str = "pbxs";
const PATH: &str = "/api/v1/pbxs";
/// AMI's usual ports, without and with TLS.
const AMI_PORTS: [u16; 2] = [5038, 5039];
/// Characters of a host's name, as DNS has it.
const HOST_CHARS_MAX: usize = 253;
const USER_CHARS_MAX: usize = 128;
const URL_CHARS_MAX: usize = 500;
const SECRET_CHARS_MAX: usize = 512;
/// Characters of a dialplan context, as Asterisk has it.
const CONTEXT_CHARS_MAX: usize = 80;
const CONTEXTS_MAX: usize = 100;
const CA_CHARS_MAX: usize = 32 << 10;

pub(crate) fn routes() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(needs(Permission::TenantsRead, routes!(list)))
        .routes(needs(Permission::InstallationRun, routes!(create)))
        .routes(needs(Permission::TenantsRead, routes!(show)))
        .routes(needs(Permission::InstallationRun, routes!(change, remove)))
}

/// An Asterisk server. Its secrets are taken and never shown.
#[derive(Debug, Serialize, ToSchema)]
struct Pbx {
    /// Its id.
    id: Uuid,
    /// Whose it is; absent where several tenants share it, which only a super admin sees.
    tenant: Option<Uuid>,
    /// Its name.
    name: String,
    /// The host of its AMI.
    host: String,
    /// The port of its AMI.
    ami_port: u16,
    /// TLS of its AMI; absent for none.
    ami_tls: Option<Tls>,
    /// The AMI user.
    ami_user: String,
    /// The address of its ARI.
    ari_url: String,
    /// What makes its certificate good, where the address is https.
    ari_tls: Tls,
    /// Who opens ARI's event stream.
    #[schema(value_type = AriLinkSchema)]
    ari_link: AriLink,
    /// The ARI user.
    ari_user: String,
    /// The Stasis application.
    ari_app: String,
    /// How its calls are captured.
    #[schema(value_type = TapModeSchema)]
    tap_mode: TapMode,
    /// In which encoding its calls come to us.
    #[schema(value_type = CodecSchema)]
    codec: Codec,
    /// The dialplan contexts through which calls come in from outside.
    inbound_contexts: Vec<String>,
    /// Whether it is followed.
    enabled: bool,
    /// Since when there is the PBX.
    created_at: Time,
}

/// What makes a certificate good. Where neither an authority nor a fingerprint is given, this machine's authorities vouch
/// for it.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Tls {
    /// Authorities that vouch for it, as PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 32768)]
    ca_pem: Option<String>,
    /// Its SHA-256, as `openssl x509 -fingerprint -sha256` prints it: this certificate and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 95)]
    fingerprint: Option<String>,
    /// The name that it must be for; that of the host where it is absent. None goes with a fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 253)]
    name: Option<String>,
}

/// An Asterisk server to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPbx {
    /// Whose it is; absent where several tenants share it by rules.
    tenant: Option<Uuid>,
    /// 1 to 63 of a-z, 0-9 and -.
    #[schema(min_length = 1, max_length = 63)]
    name: String,
    /// The host of its AMI.
    #[schema(min_length = 1, max_length = 253)]
    host: String,
    /// The port of its AMI; 5038 where it is absent, and 5039 with TLS.
    #[schema(minimum = 1)]
    ami_port: Option<u16>,
    /// TLS of its AMI; absent for none.
    ami_tls: Option<Tls>,
    /// The user of manager.conf.
    #[schema(min_length = 1, max_length = 128)]
    ami_user: String,
    /// Its secret.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 512)]
    ami_secret: SecretString,
    /// The address of its ARI; `http://<host>:8088/ari` where it is absent, and `https://<host>:8089/ari` with `ari_tls`.
    #[schema(max_length = 500)]
    ari_url: Option<String>,
    /// What makes its certificate good, where the address is https.
    ari_tls: Option<Tls>,
    /// Who opens ARI's event stream; `connect` where it is absent.
    #[serde(default)]
    #[schema(value_type = Option<AriLinkSchema>)]
    ari_link: AriLink,
    /// The user of ari.conf.
    #[schema(min_length = 1, max_length = 128)]
    ari_user: String,
    /// Its password.
    #[schema(value_type = String, format = Password, min_length = 1, max_length = 512)]
    ari_password: SecretString,
    /// The Stasis application, one program a name; `aimg` where it is absent.
    #[schema(max_length = 128)]
    ari_app: Option<String>,
    /// How its calls are captured; `ami` where it is absent.
    #[serde(default)]
    #[schema(value_type = Option<TapModeSchema>)]
    tap_mode: TapMode,
    /// In which encoding its calls come to us; `ulaw` where it is absent.
    #[schema(value_type = Option<CodecSchema>)]
    codec: Option<Codec>,
    /// The dialplan contexts through which calls come in from outside; the usual ones where they are absent.
    #[schema(max_items = 100)]
    inbound_contexts: Option<Vec<String>>,
}

/// What is to be different about a PBX; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangedPbx {
    /// The host of its AMI.
    #[schema(min_length = 1, max_length = 253)]
    host: Option<String>,
    /// The port of its AMI.
    #[schema(minimum = 1)]
    ami_port: Option<u16>,
    /// TLS of its AMI; null for none.
    #[serde(default, deserialize_with = "body::given")]
    #[schema(value_type = Option<Tls>)]
    ami_tls: Option<Option<Tls>>,
    /// The user of manager.conf.
    #[schema(min_length = 1, max_length = 128)]
    ami_user: Option<String>,
    /// Its secret.
    #[schema(value_type = Option<String>, format = Password, min_length = 1, max_length = 512)]
    ami_secret: Option<SecretString>,
    /// The address of its ARI.
    #[schema(max_length = 500)]
    ari_url: Option<String>,
    /// What makes its certificate good, where the address is https.
    ari_tls: Option<Tls>,
    /// Who opens ARI's event stream.
    #[schema(value_type = Option<AriLinkSchema>)]
    ari_link: Option<AriLink>,
    /// The user of ari.conf.
    #[schema(min_length = 1, max_length = 128)]
    ari_user: Option<String>,
    /// Its password.
    #[schema(value_type = Option<String>, format = Password, min_length = 1, max_length = 512)]
    ari_password: Option<SecretString>,
    /// The Stasis application.
    #[schema(max_length = 128)]
    ari_app: Option<String>,
    /// How its calls are captured.
    #[schema(value_type = Option<TapModeSchema>)]
    tap_mode: Option<TapMode>,
    /// In which encoding its calls come to us.
    #[schema(value_type = Option<CodecSchema>)]
    codec: Option<Codec>,
    /// The dialplan contexts through which calls come in from outside.
    #[schema(max_items = 100)]
    inbound_contexts: Option<Vec<String>>,
    /// Whether it is followed.
    enabled: Option<bool>,
}

/// List the PBXs
///
/// By name. A tenant's account sees those that are the tenant's alone.
#[utoipa::path(get, path = "/pbxs", tag = TAG, params(PageOfTenant), responses(
    (status = 200, description = "A page of PBXs", body = Page<Pbx>),
))]
async fn list(
    State(desk): State<Desk>,
    caller: Caller,
    Query(PageOfTenant { tenant, limit, after }): Query<PageOfTenant>,
) -> Result<Json<Page<Pbx>>, Problem> {
    let limit = page::limit(limit)?;
    let filter = PbxFilter { tenant: tenant.map(TenantId::from_uuid), after, limit: Some(limit + 1) };
    let found = desk.store.pbxs_by(caller.scope(), filter).await?;
    Ok(Json(Page::of(found, limit, |pbx| pbx.name.clone())))
}

/// Add a PBX
///
/// It is enabled: a running gateway follows it within seconds.
#[utoipa::path(post, path = "/pbxs", tag = TAG, request_body = NewPbx, responses(
    (status = 201, description = "The PBX", body = Pbx),
    (status = 404, description = "There is no such tenant", body = Problem, content_type = "application/problem+json"),
))]
async fn create(
    State(desk): State<Desk>,
    caller: Caller,
    Json(new): Json<NewPbx>,
) -> Result<Created<Versioned<Pbx>>, Problem> {
    let ami_tls = new.ami_tls.map(|tls| tls.checked("ami_tls")).transpose()?;
    let ari_url = new.ari_url.unwrap_or_else(|| match new.ari_tls {
        Some(_) => format!("https://{}:8089/ari", new.host),
        None => format!("http://{}:8088/ari", new.host),
    });
    let ari_tls = new.ari_tls.map(|tls| tls.checked("ari_tls")).transpose()?.unwrap_or_default();
    let contexts = || ["from-trunk", "from-pstn", "from-external"].map(str::to_owned).into();
    let new = aimg_store::NewPbx {
        tenant: new.tenant.map(TenantId::from_uuid),
        name: new.name,
        host: new.host,
        ami_port: new.ami_port.unwrap_or(AMI_PORTS[usize::from(ami_tls.is_some())]),
        ami_tls,
        ami_user: new.ami_user,
        ami_secret: new.ami_secret,
        ari_url,
        ari_tls,
        ari_link: new.ari_link,
        ari_user: new.ari_user,
        ari_password: new.ari_password,
        ari_app: new.ari_app.unwrap_or_else(|| "aimg".to_owned()),
        tap_mode: new.tap_mode,
        codec: new.codec.unwrap_or(Codec::Ulaw),
        inbound_contexts: new.inbound_contexts.unwrap_or_else(contexts),
    };
    Texts {
        host: Some(&new.host),
        ami_port: Some(new.ami_port),
        ami_user: Some(&new.ami_user),
        secrets: [Some(&new.ami_secret), Some(&new.ari_password)],
        inbound_contexts: Some(&new.inbound_contexts),
    }
    .check()?;
    check_ari(&new.ari_url, &new.ari_user, &new.ari_app)?;
    let pbx = desk.store.add_pbx(caller.scope(), new).await?;
    let detail = json!({ "name": pbx.name, "host": pbx.host });
    desk.store.audit(caller.did_in(pbx.tenant, "pbx.add", pbx.id, detail)).await?;
    Ok(Created(format!("{PATH}/{}", pbx.id), versioned(pbx)))
}

/// Show a PBX
#[utoipa::path(get, path = "/pbxs/{id}", tag = TAG, params(("id" = Uuid, Path, description = "The PBX")), responses(
    (status = 200, description = "The PBX, without its secrets", body = Pbx),
))]
async fn show(State(desk): State<Desk>, caller: Caller, Path(id): Path<PbxId>) -> Result<Versioned<Pbx>, Problem> {
    Ok(versioned(desk.store.pbx(caller.scope(), id).await?))
}

/// Change a PBX
///
/// A running gateway links to it anew within seconds: calls that are being captured get another part. Its name, and whose it
/// is, stay.
#[utoipa::path(patch, path = "/pbxs/{id}", tag = TAG, request_body = ChangedPbx,
    params(("id" = Uuid, Path, description = "The PBX"), IfMatch),
    responses((status = 200, description = "The PBX as it is then", body = Pbx)),
)]
async fn change(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<PbxId>,
    IfMatch(version): IfMatch,
    Json(change): Json<ChangedPbx>,
) -> Result<Versioned<Pbx>, Problem> {
    let before = desk.store.pbx(caller.scope(), id).await?;
    Texts {
        host: change.host.as_deref(),
        ami_port: change.ami_port,
        ami_user: change.ami_user.as_deref(),
        secrets: [change.ami_secret.as_ref(), change.ari_password.as_ref()],
        inbound_contexts: change.inbound_contexts.as_deref(),
    }
    .check()?;
    check_ari(
        change.ari_url.as_deref().unwrap_or(&before.ari_url),
        change.ari_user.as_deref().unwrap_or(&before.ari_user),
        change.ari_app.as_deref().unwrap_or(&before.ari_app),
    )?;
    let detail = json!({ "name": before.name, "changed": change.named() });
    let change = aimg_store::PbxChange {
        host: change.host,
        ami_port: change.ami_port,
        ami_tls: change.ami_tls.map(|tls| tls.map(|tls| tls.checked("ami_tls")).transpose()).transpose()?,
        ami_user: change.ami_user,
        ami_secret: change.ami_secret,
        ari_url: change.ari_url,
        ari_tls: change.ari_tls.map(|tls| tls.checked("ari_tls")).transpose()?,
        ari_link: change.ari_link,
        ari_user: change.ari_user,
        ari_password: change.ari_password,
        ari_app: change.ari_app,
        tap_mode: change.tap_mode,
        codec: change.codec,
        inbound_contexts: change.inbound_contexts,
        enabled: change.enabled,
    };
    let pbx = desk.store.change_pbx(caller.scope(), id, version, change).await?;
    desk.store.audit(caller.did_in(pbx.tenant, "pbx.change", id, detail)).await?;
    Ok(versioned(pbx))
}

/// Delete a PBX
///
/// Only when no call of it is stored; a PBX that is not to be followed any more is disabled. A running gateway lets go of it
/// within seconds.
#[utoipa::path(delete, path = "/pbxs/{id}", tag = TAG,
    params(("id" = Uuid, Path, description = "The PBX"), IfMatch),
    responses(
        (status = 204, description = "Deleted"),
        (status = 409, description = "It still has calls", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn remove(
    State(desk): State<Desk>,
    caller: Caller,
    Path(id): Path<PbxId>,
    IfMatch(version): IfMatch,
) -> Result<StatusCode, Problem> {
    let pbx = desk.store.pbx(caller.scope(), id).await?;
    desk.store.remove_pbx(caller.scope(), id, version).await?;
    desk.store.audit(caller.did_in(pbx.tenant, "pbx.remove", id, json!({ "name": pbx.name }))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What somebody wrote, where it is bounded.
struct Texts<'a> {
    host: Option<&'a str>,
    ami_port: Option<u16>,
    ami_user: Option<&'a str>,
    secrets: [Option<&'a SecretString>; 2],
    inbound_contexts: Option<&'a [String]>,
}

impl Texts<'_> {
    /// Nothing may hold a line break: AMI would read what follows as a command of its own.
    fn check(&self) -> Result<(), Problem> {
        let [ami_secret, ari_password] = self.secrets.map(|secret| secret.map(ExposeSecret::expose_secret));
        for (field, text, chars_max) in [
            ("host", self.host, HOST_CHARS_MAX),
            ("ami_user", self.ami_user, USER_CHARS_MAX),
            ("ami_secret", ami_secret, SECRET_CHARS_MAX),
            ("ari_password", ari_password, SECRET_CHARS_MAX),
        ] {
            text.map_or(Ok(()), |text| body::check_text(field, text, chars_max))?;
        }
        if self.ami_port == Some(0) {
            return Err(Problem::invalid("ami_port", "nothing can be reached at port 0; AMI's is usually 5038"));
        }
        let contexts = self.inbound_contexts.unwrap_or_default();
        if contexts.len() > CONTEXTS_MAX {
            return Err(Problem::invalid("inbound_contexts", format!("there can be {CONTEXTS_MAX} at most")));
        }
        contexts.iter().try_for_each(|context| body::check_text("inbound_contexts", context, CONTEXT_CHARS_MAX))
    }
}

/// A wrong address is told here and not by the gateway that tries to use it.
fn check_ari(url: &str, user: &str, app: &str) -> Result<(), Problem> {
    for (field, text, chars_max) in
        [("ari_url", url, URL_CHARS_MAX), ("ari_user", user, USER_CHARS_MAX), ("ari_app", app, USER_CHARS_MAX)]
    {
        body::check_text(field, text, chars_max)?;
    }
    let config = aimg_ari::Config::new(url, user, SecretString::default(), app);
    config.map(drop).map_err(|e| {
        use aimg_ari::ConfigError as E;
        let field = match &e {
            E::BadUser { .. } => "ari_user",
            E::NotUrl { .. } | E::NotHttp { .. } | E::BadUrl { .. } => "ari_url",
            _ => "ari_app",
        };
        Problem::invalid(field, e)
    })
}

impl Tls {
    fn checked(self, field: &str) -> Result<aimg_core::Tls, Problem> {
        let at = |part: &str| format!("{field}.{part}");
        if let Some(name) = &self.name {
            body::check_text(&at("name"), name, HOST_CHARS_MAX)?;
        }
        let trust = match (self.ca_pem, self.fingerprint) {
            (None, None) => Trust::System,
            (Some(pem), None) if pem.len() <= CA_CHARS_MAX => Trust::CaPem(pem),
            (Some(_), None) => return Err(Problem::invalid(at("ca_pem"), "it is longer than 32 KiB")),
            (None, Some(_)) if self.name.is_some() => {
                return Err(Problem::invalid(
                    at("name"),
                    "a certificate that is known by its fingerprint needs no name",
                ));
            }
            (None, Some(text)) => {
                let fingerprint: Fingerprint = text.parse().map_err(|e| Problem::invalid(at("fingerprint"), e))?;
                Trust::Fingerprint(fingerprint)
            }
            (Some(_), Some(_)) => {
                return Err(Problem::invalid(at("fingerprint"), "give either an authority or a fingerprint"));
            }
        };
        let tls = aimg_core::Tls { trust, name: self.name };
        aimg_tls::client_config(&tls).map_err(|e| Problem::invalid(field, e))?;
        Ok(tls)
    }
}

impl ChangedPbx {
    /// What is to be different, by name: a value may be a secret.
    fn named(&self) -> Vec<&'static str> {
        let fields = [
            ("host", self.host.is_some()),
            ("ami_port", self.ami_port.is_some()),
            ("ami_tls", self.ami_tls.is_some()),
            ("ami_user", self.ami_user.is_some()),
            ("ami_secret", self.ami_secret.is_some()),
            ("ari_url", self.ari_url.is_some()),
            ("ari_tls", self.ari_tls.is_some()),
            ("ari_link", self.ari_link.is_some()),
            ("ari_user", self.ari_user.is_some()),
            ("ari_password", self.ari_password.is_some()),
            ("ari_app", self.ari_app.is_some()),
            ("tap_mode", self.tap_mode.is_some()),
            ("codec", self.codec.is_some()),
            ("inbound_contexts", self.inbound_contexts.is_some()),
            ("enabled", self.enabled.is_some()),
        ];
        fields.into_iter().filter(|(_, named)| *named).map(|(field, _)| field).collect()
    }
}

fn versioned(pbx: aimg_store::Pbx) -> Versioned<Pbx> {
    Versioned(pbx.version, pbx.into())
}

impl From<aimg_core::Tls> for Tls {
    fn from(tls: aimg_core::Tls) -> Self {
        let (ca_pem, fingerprint) = match tls.trust {
            Trust::System | Trust::CaFile(_) => (None, None),
            Trust::CaPem(pem) => (Some(pem), None),
            Trust::Fingerprint(fingerprint) => (None, Some(fingerprint.to_string())),
        };
        Self { ca_pem, fingerprint, name: tls.name }
    }
}

impl From<aimg_store::Pbx> for Pbx {
    fn from(pbx: aimg_store::Pbx) -> Self {
        Self {
            id: pbx.id.as_uuid(),
            tenant: pbx.tenant.map(TenantId::as_uuid),
            name: pbx.name,
            host: pbx.host,
            ami_port: pbx.ami_port,
            ami_tls: pbx.ami_tls.map(Tls::from),
            ami_user: pbx.ami_user,
            ari_url: pbx.ari_url,
            ari_tls: pbx.ari_tls.into(),
            ari_link: pbx.ari_link,
            ari_user: pbx.ari_user,
            ari_app: pbx.ari_app,
            tap_mode: pbx.tap_mode,
            codec: pbx.codec,
            inbound_contexts: pbx.inbound_contexts,
            enabled: pbx.enabled,
            created_at: pbx.created_at.into(),
        }
    }
}
