//! Whether the dialplan passes through the hook, for PBXs that are tapped by it.

use aimg_ami::{Action, Client, Message};
use aimg_store::Pbx;

use super::finding::{Area, Finding};

/// The dialplan's step, as its own data: application and argument.
fn hook(app: &str) -> String {
    format!("{app},tap")
}

/// Looks for the step in all contexts; needs write class `config` or `reporting`.
pub(super) async fn examine(client: &Client, pbx: &Pbx) -> Finding {
    match client.list(Action::new("ShowDialPlan")).await {
        Ok(steps) => judge(&steps, &pbx.ari_app),
        Err(error) => Finding::warning(Area::Dialplan, format!("the dialplan could not be seen: {error}")),
    }
}

fn judge(steps: &[Message], app: &str) -> Finding {
    let hook = hook(app);
    let is_hook = |step: &&Message| {
        let data = step.first("AppData").unwrap_or_default();
        step.first("Application") == Some("Stasis") && (data == hook || data.starts_with(&format!("{hook},")))
    };
    let mut contexts: Vec<&str> = steps.iter().filter(is_hook).filter_map(|step| step.first("Context")).collect();
    contexts.dedup();
    if !contexts.is_empty() {
        let contexts = contexts.join(", ");
        return Finding::ok(Area::Dialplan, format!("Stasis({hook}) is in the dialplan, in context {contexts}"));
    }
    let what = format!(
        "no step of the dialplan is Stasis({hook}): calls are captured only where realtime or Lua, which are not shown, have it"
    );
    let lines = [
        "exten => _X.,1,Set(HOOKED=${EXTEN})",
        " same => n,Set(TIMEOUT(absolute)=5)",
        &format!(" same => n,Stasis({hook})"),
        " same => n(on),Set(TIMEOUT(absolute)=0)",
        " same => n,Dial(PJSIP/${EXTEN},30)",
        "exten => T,1,Goto(${HOOKED},on)",
    ]
    .map(str::to_owned);
    Finding::warning(Area::Dialplan, what)
        .cured_by("extensions.conf, each context by which calls come in, before anything answers or dials", lines)
        .then("asterisk -rx 'dialplan reload'")
}
