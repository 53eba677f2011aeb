//! Actions upon Asterisk itself, and questions about devices.

use super::Action;
use crate::{EventFilter, InvalidAction};

impl Action {
    /// Runs a command of Asterisk's console. Needs write class `command`, with which a user can do anything. The answer's
    /// `Output` headers are the lines; [`crate::Client::command`] gives them.
    pub fn command(command: &str) -> Result<Self, InvalidAction> {
        Self::new("Command").header("Command", command)
    }

    /// Adds a filter to the connection on which it is sent: [`crate::Config::event_filters`] does so.
    pub(crate) fn filter(filter: &EventFilter) -> Result<Self, InvalidAction> {
        Self::fixed("Filter", "Operation", "Add").header("Filter", filter.as_str())
    }

    /// Tells an event to everybody who reads class `user`. Needs write class `user`.
    pub fn user_event(name: &str, headers: &[(&str, &str)]) -> Result<Self, InvalidAction> {
        let action = Self::new("UserEvent").header("UserEvent", name)?;
        headers.iter().try_fold(action, |action, (key, value)| action.header(key, value))
    }

    /// Reads the configuration of a module anew, or of all. Needs write class `system` or `config`.
    pub fn reload(module: Option<&str>) -> Result<Self, InvalidAction> {
        Self::new("Reload").optional("Module", module)
    }

    /// Asks whether a module is loaded. Needs write class `system`.
    pub fn module_check(module: &str) -> Result<Self, InvalidAction> {
        Self::new("ModuleCheck").header("Module", module)
    }

    /// Lists all device states: items [`crate::Event::DeviceStateChange`]. Needs write class `call` or `reporting`.
    pub fn device_state_list() -> Self {
        Self::new("DeviceStateList")
    }

    /// Lists all extensions with a hint: items [`crate::Event::ExtensionStatus`]. Needs write class `call` or `reporting`.
    pub fn extension_state_list() -> Self {
        Self::new("ExtensionStateList")
    }

    /// Asks for the state of one extension with a hint. Needs write class `call` or `reporting`.
    pub fn extension_state(context: &str, exten: &str) -> Result<Self, InvalidAction> {
        Self::new("ExtensionState").header("Context", context)?.header("Exten", exten)
    }

    /// Asks for somebody's presence. Needs write class `call` or `reporting`.
    pub fn presence_state(provider: &str) -> Result<Self, InvalidAction> {
        Self::new("PresenceState").header("Provider", provider)
    }

    /// Lists all endpoints of PJSIP. Needs write class `system`.
    pub fn pjsip_endpoints() -> Self {
        Self::new("PJSIPShowEndpoints")
    }

    /// Lists all contacts of PJSIP. Needs write class `system`; not in Asterisk 13.
    pub fn pjsip_contacts() -> Self {
        Self::new("PJSIPShowContacts")
    }

    /// Lists all registrations of PJSIP with other servers. Needs write class `system` or `reporting`.
    pub fn pjsip_registrations() -> Self {
        Self::new("PJSIPShowRegistrationsOutbound")
    }

    /// Asks an endpoint's contacts whether they are there. Needs write class `system`.
    pub fn pjsip_qualify(endpoint: &str) -> Result<Self, InvalidAction> {
        Self::new("PJSIPQualify").header("Endpoint", endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::tests::lines;

    #[test]
    fn actions_upon_the_system_go_over_the_wire_as_asterisk_reads_them() {
        let cases = [
            (Action::command("core show uptime"), "Action: Command|Command: core show uptime"),
            (
                Action::filter(&EventFilter::except("Channel: Local/")),
                "Action: Filter|Operation: Add|Filter: !Channel: Local/",
            ),
            (
                Action::user_event("Lamp", &[("Colour", "red"), ("Room", "5")]),
                "Action: UserEvent|UserEvent: Lamp|Colour: red|Room: 5",
            ),
            (Action::reload(None), "Action: Reload"),
            (Action::reload(Some("res_pjsip")), "Action: Reload|Module: res_pjsip"),
            (Action::module_check("app_queue"), "Action: ModuleCheck|Module: app_queue"),
            (Ok(Action::device_state_list()), "Action: DeviceStateList"),
            (Ok(Action::extension_state_list()), "Action: ExtensionStateList"),
            (Action::extension_state("c", "100"), "Action: ExtensionState|Context: c|Exten: 100"),
            (Action::presence_state("CustomPresence:a"), "Action: PresenceState|Provider: CustomPresence:a"),
            (Ok(Action::pjsip_endpoints()), "Action: PJSIPShowEndpoints"),
            (Ok(Action::pjsip_contacts()), "Action: PJSIPShowContacts"),
            (Ok(Action::pjsip_registrations()), "Action: PJSIPShowRegistrationsOutbound"),
            (Action::pjsip_qualify("a"), "Action: PJSIPQualify|Endpoint: a"),
        ];
        for (action, expected) in cases {
            assert_eq!(lines(action).join("|"), expected);
        }
    }
}
