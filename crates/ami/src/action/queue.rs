//! Actions upon queues and their members (app_queue). All need write class `agent`, but the lists.

use super::Action;
use crate::InvalidAction;

/// A member that a queue gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMember {
    /// The queue.
    pub queue: String,
    /// What is dialled to reach the member, such as `PJSIP/ann`.
    pub interface: String,
    /// The member's name. Default is the interface.
    pub name: Option<String>,
    /// The device whose state is the member's. Default is the interface.
    pub state_interface: Option<String>,
    /// Members of a higher penalty are called later. Default 0.
    pub penalty: u32,
    /// Whether the member takes no calls yet. Default no.
    pub paused: bool,
}

impl NewMember {
    /// A member with the defaults.
    pub fn new(queue: impl Into<String>, interface: impl Into<String>) -> Self {
        let (queue, interface) = (queue.into(), interface.into());
        Self { queue, interface, name: None, state_interface: None, penalty: 0, paused: false }
    }
}

impl Action {
    /// Lists queues, each with its members and the callers that wait: items [`crate::Event::QueueParams`],
    /// [`crate::Event::QueueMember`] and [`crate::Event::QueueEntry`]. One queue, or all.
    pub fn queue_status(queue: Option<&str>) -> Result<Self, InvalidAction> {
        Self::new("QueueStatus").optional("Queue", queue)
    }

    /// Lists queues in numbers: items [`crate::Event::QueueSummary`]. One queue, or all.
    pub fn queue_summary(queue: Option<&str>) -> Result<Self, InvalidAction> {
        Self::new("QueueSummary").optional("Queue", queue)
    }

    /// Gives a queue a member.
    pub fn queue_add(member: &NewMember) -> Result<Self, InvalidAction> {
        Self::new("QueueAdd")
            .header("Queue", &member.queue)?
            .header("Interface", &member.interface)?
            .header("Penalty", &member.penalty.to_string())?
            .header("Paused", if member.paused { "true" } else { "false" })?
            .optional("MemberName", member.name.as_deref())?
            .optional("StateInterface", member.state_interface.as_deref())
    }

    /// Takes a member from a queue.
    pub fn queue_remove(queue: &str, interface: &str) -> Result<Self, InvalidAction> {
        Self::new("QueueRemove").header("Queue", queue)?.header("Interface", interface)
    }

    /// Stops calls to a member, or lets them come again; in one queue, or all. The reason is for people.
    pub fn queue_pause(
        queue: Option<&str>,
        interface: &str,
        paused: bool,
        reason: Option<&str>,
    ) -> Result<Self, InvalidAction> {
        Self::new("QueuePause")
            .header("Interface", interface)?
            .header("Paused", if paused { "true" } else { "false" })?
            .optional("Queue", queue)?
            .optional("Reason", reason)
    }

    /// Sets a member's penalty, in one queue or all.
    pub fn queue_penalty(queue: Option<&str>, interface: &str, penalty: u32) -> Result<Self, InvalidAction> {
        Self::new("QueuePenalty")
            .header("Interface", interface)?
            .header("Penalty", &penalty.to_string())?
            .optional("Queue", queue)
    }

    /// Reads the queues' configuration anew, of one queue or all.
    pub fn queue_reload(queue: Option<&str>) -> Result<Self, InvalidAction> {
        Self::new("QueueReload").optional("Queue", queue)
    }

    /// Sets the statistics of a queue, or of all, to zero.
    pub fn queue_reset(queue: Option<&str>) -> Result<Self, InvalidAction> {
        Self::new("QueueReset").optional("Queue", queue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::tests::lines;

    #[test]
    fn actions_upon_queues_go_over_the_wire_as_asterisk_reads_them() {
        let plain = NewMember::new("q", "PJSIP/a");
        let full = NewMember {
            name: Some("Ann".to_owned()),
            state_interface: Some("PJSIP/b".to_owned()),
            penalty: 2,
            paused: true,
            ..plain.clone()
        };
        let cases = [
            (Action::queue_status(None), "Action: QueueStatus"),
            (Action::queue_summary(Some("q")), "Action: QueueSummary|Queue: q"),
            (Action::queue_add(&plain), "Action: QueueAdd|Queue: q|Interface: PJSIP/a|Penalty: 0|Paused: false"),
            (
                Action::queue_add(&full),
                "Action: QueueAdd|Queue: q|Interface: PJSIP/a|Penalty: 2|Paused: true|MemberName: Ann|\
                 StateInterface: PJSIP/b",
            ),
            (Action::queue_remove("q", "PJSIP/a"), "Action: QueueRemove|Queue: q|Interface: PJSIP/a"),
            (
                Action::queue_pause(Some("q"), "PJSIP/a", true, Some("lunch")),
                "Action: QueuePause|Interface: PJSIP/a|Paused: true|Queue: q|Reason: lunch",
            ),
            (Action::queue_pause(None, "PJSIP/a", false, None), "Action: QueuePause|Interface: PJSIP/a|Paused: false"),
            (Action::queue_penalty(None, "PJSIP/a", 5), "Action: QueuePenalty|Interface: PJSIP/a|Penalty: 5"),
            (Action::queue_reload(None), "Action: QueueReload"),
            (Action::queue_reset(Some("q")), "Action: QueueReset|Queue: q"),
        ];
        for (action, expected) in cases {
            assert_eq!(lines(action).join("|"), expected);
        }
    }
}
