//! A PBX whose calls change hands: transfers, pick-up, parking, queues and conferences.
//!
//! Beside the ordinary configuration, for those who want it: every module more is a longer start.

use crate::Options;

/// The user of AMI that may do everything, with the secret of [`crate::Access`].
pub const DRIVER: &str = "driver";

const ADDITIONS: [(&str, &str); 9] = [
    ("confbridge.conf", include_str!("../asterisk/call-features/confbridge.conf")),
    ("extensions.conf", include_str!("../asterisk/call-features/extensions.conf")),
    ("features.conf", include_str!("../asterisk/call-features/features.conf")),
    ("manager.conf", include_str!("../asterisk/call-features/manager.conf")),
    ("modules.conf", include_str!("../asterisk/call-features/modules.conf")),
    ("musiconhold.conf", include_str!("../asterisk/call-features/musiconhold.conf")),
    ("pjsip.conf", include_str!("../asterisk/call-features/pjsip.conf")),
    ("queues.conf", include_str!("../asterisk/call-features/queues.conf")),
    ("res_parking.conf", include_str!("../asterisk/call-features/res_parking.conf")),
];

impl Options {
    /// With the context [`crate::Context::CallFeatures`], and the user [`DRIVER`] to make its calls change hands.
    #[must_use]
    pub fn with_call_features(mut self) -> Self {
        self.additions.extend(ADDITIONS.map(|(name, text)| (name.to_owned(), text.to_owned())));
        self
    }
}
