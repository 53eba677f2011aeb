//! ARI of one PBX: is it there, may we, who has our application.

use aimg_ari::{BridgeId, Config, Error, Http, request};
use aimg_store::Pbx;

use super::finding::{Area, Failure, Finding};
use super::{known_issues, modules};

/// What the other looks need to know of ARI.
pub(super) struct Seen {
    /// Asterisk's version, where it could be had.
    pub(super) version: Option<String>,
    /// Whether it is worth while to create something.
    pub(super) writable: bool,
}

/// Looks at everything that can be seen without changing anything.
pub(super) async fn examine(config: &Config, pbx: &Pbx, found: &mut Vec<Finding>) -> Seen {
    let nothing = Seen { version: None, writable: false };
    let asked = match Http::new(config) {
        Ok(http) => http.call(request::asterisk::info()).await.map(|info| (http, info)),
        Err(error) => Err(error),
    };
    let (http, info) = match asked {
        Ok(answered) => answered,
        Err(error) => {
            found.push(problem(&error, pbx));
            return nothing;
        }
    };
    found.push(Finding::ok(Area::Ari, format!("ARI answers at {} to user `{}`", pbx.ari_url, pbx.ari_user)));
    found.extend(known_issues::examine(&info.system.version, pbx.codec));
    found.extend(system_name(&info.config.name));
    found.push(application(&http, pbx).await);
    found.extend(modules::examine(&http, pbx).await);
    let writable = may_write(&http).await;
    found.push(match &writable {
        Ok(()) => Finding::ok(Area::Ari, format!("user `{}` may create and remove (read_only = no)", pbx.ari_user)),
        Err(error) => problem(error, pbx),
    });
    Seen { version: Some(info.system.version), writable: writable.is_ok() }
}

/// A read-only user is refused before Asterisk looks whether the bridge exists.
async fn may_write(http: &Http) -> Result<(), Error> {
    match http.call(request::bridges::destroy(&BridgeId::new("aimg-doctor"))).await {
        Err(error) if error.is_not_found() => Ok(()),
        outcome => outcome,
    }
}

async fn application(http: &Http, pbx: &Pbx) -> Finding {
    let app = &pbx.ari_app;
    match http.call(request::applications::one(app)).await {
        Ok(_) => Finding::ok(
            Area::Ari,
            format!("application `{app}` is in use: by a running aimg, if no other program has it"),
        ),
        Err(error) if error.is_not_found() => Finding::ok(Area::Ari, format!("application `{app}` is free")),
        Err(error) => Finding::warning(Area::Ari, format!("who has application `{app}` could not be seen: {error}")),
    }
}

fn system_name(name: &str) -> Option<Finding> {
    let what = "asterisk.conf sets no systemname: with several PBXs, channels of two can have the same Uniqueid";
    name.is_empty().then(|| {
        // One PBX alone does well without.
        Finding::ok(Area::Ari, what).cured_by("asterisk.conf, section [options]", ["systemname = pbx1"])
    })
}

/// What a failed request means, and its cure.
pub(super) fn problem(error: &Error, pbx: &Pbx) -> Finding {
    let (user, what) = (&pbx.ari_user, error.to_string());
    let found = |failure| Finding::problem(Area::Ari, failure, what.clone());
    let section = format!("ari.conf, section [{user}]");
    match error {
        Error::Denied { status: 403, .. } => found(Failure::Refused)
            .cured_by(section, ["read_only = no"])
            .then("asterisk -rx 'module reload res_ari.so'"),
        Error::Denied { .. } => found(Failure::Refused)
            .cured_by(section, ["type = user", "read_only = no", "password = (as given to `aimg pbx add`)"])
            .then("asterisk -rx 'module reload res_ari.so'"),
        Error::NotServed { .. } => found(Failure::Unavailable)
            .cured_by("ari.conf, section [general]", ["enabled = yes"])
            .then("asterisk -rx 'module reload res_ari.so'"),
        Error::NotSent { .. } | Error::MaybeDone { .. } | Error::StreamLost { .. } => {
            let port = pbx.ari_url.rsplit_once(':').and_then(|(_, rest)| rest.split('/').next()).unwrap_or("8088");
            let lines = ["enabled = yes".to_owned(), format!("bindaddr = {}", pbx.host), format!("bindport = {port}")];
            found(Failure::Unavailable)
                .cured_by("http.conf, section [general]", lines)
                .then("asterisk -rx 'module reload http'")
        }
        _ => found(Failure::Unavailable),
    }
}
