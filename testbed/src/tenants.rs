//! A PBX that two tenants share, acme and rival, and on which some calls are nobody's.
//!
//! Beside the ordinary configuration, for those who want it.

use crate::Options;

const ADDITIONS: [(&str, &str); 4] = [
    ("ari.conf", include_str!("../asterisk/tenants/ari.conf")),
    ("extensions.conf", include_str!("../asterisk/tenants/extensions.conf")),
    ("manager.conf", include_str!("../asterisk/tenants/manager.conf")),
    ("pjsip.conf", include_str!("../asterisk/tenants/pjsip.conf")),
];

impl Options {
    /// With the endpoints `acme`, `rival`, `pool`, `typo`, `stray` and `acme-to-rival`, of which each calls by a context of its
    /// own ([`crate::Caller::by`]); and `by-tenantid`, `by-accountcode`, `by-variable` and `by-number`, which are named after
    /// what says whose their calls are, and may dial any number that ends with the callee's port. Asterisk 22 knows all of it.
    #[must_use]
    pub fn with_tenants(mut self) -> Self {
        self.additions.extend(ADDITIONS.map(|(name, text)| (name.to_owned(), text.to_owned())));
        self
    }
}
