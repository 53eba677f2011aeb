//! The configuration of one instance: the templates of `testbed/asterisk/` with its ports and names filled in.

use std::fs;
use std::path::Path;

use crate::root::Root;
use crate::{Error, PortBlock};

/// The files, as they are in the checkout.
const TEMPLATES: [(&str, &str); 10] = [
    ("ari.conf", include_str!("../asterisk/ari.conf")),
    ("asterisk.conf", include_str!("../asterisk/asterisk.conf")),
    ("extensions.conf", include_str!("../asterisk/extensions.conf")),
    ("http.conf", include_str!("../asterisk/http.conf")),
    ("logger.conf", include_str!("../asterisk/logger.conf")),
    ("manager.conf", include_str!("../asterisk/manager.conf")),
    ("modules.conf", include_str!("../asterisk/modules.conf")),
    ("pjsip.conf", include_str!("../asterisk/pjsip.conf")),
    ("rtp.conf", include_str!("../asterisk/rtp.conf")),
    ("indications.conf", include_str!("../asterisk/indications.conf")),
];

/// Files whose defaults are right; Asterisk logs an error for each that is absent.
const EMPTY: [&str; 9] = [
    "acl.conf",
    "ccss.conf",
    "cdr.conf",
    "cel.conf",
    "features.conf",
    "pjproject.conf",
    "stasis.conf",
    "udptl.conf",
    "websocket_client.conf",
];

/// Ports of one instance: 8 for its servers, the others for RTP. 80 calls with both directions tapped fit.
pub(crate) const PORTS: u16 = 640;

/// Which port is whose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    pub(crate) ami: u16,
    pub(crate) ami_tls: u16,
    pub(crate) http: u16,
    pub(crate) http_tls: u16,
    pub(crate) sip: u16,
    pub(crate) rtp_first: u16,
    pub(crate) rtp_last: u16,
}

impl Ports {
    pub(crate) fn of(block: &PortBlock) -> Self {
        let first = block.first();
        Self {
            ami: first,
            http: first + 1,
            sip: first + 2,
            ami_tls: first + 3,
            http_tls: first + 4,
            rtp_first: first + 8,
            rtp_last: block.last(),
        }
    }
}

/// What the templates leave open.
#[derive(Debug)]
pub(crate) struct Config<'a> {
    pub(crate) root: &'a Root,
    pub(crate) ports: Ports,
    /// Where AMI and ARI listen.
    pub(crate) host: &'a str,
    /// From where AMI may be used.
    pub(crate) gateway: &'a str,
    pub(crate) user: &'a str,
    pub(crate) secret: &'a str,
    pub(crate) app: &'a str,
    pub(crate) without_modules: &'a [String],
    pub(crate) additions: &'a [(String, String)],
}

impl Config<'_> {
    /// Writes every file into `etc`.
    pub(crate) fn write(&self, etc: &Path) -> Result<(), Error> {
        let write = |name: &str, text: &str| {
            fs::write(etc.join(name), text).map_err(Error::io(format!("cannot write {name} into {}", etc.display())))
        };
        for (name, template) in TEMPLATES {
            write(name, &self.fill(template))?;
        }
        EMPTY.iter().try_for_each(|name| write(name, ""))?;
        for (name, text) in self.additions {
            let before = fs::read_to_string(etc.join(name)).unwrap_or_default();
            write(name, &format!("{before}\n{}", self.fill(text)))?;
        }
        Ok(())
    }

    fn fill(&self, template: &str) -> String {
        let Ports { ami, ami_tls, http, http_tls, sip, rtp_first, rtp_last } = self.ports;
        let mut text: String = template.lines().filter(|line| self.is_wanted(line)).flat_map(|l| [l, "\n"]).collect();
        for (name, value) in [
            ("module_dir", &format!("/{}", self.root.module_dir())),
            ("ami_port", &ami.to_string()),
            ("ami_tls_port", &ami_tls.to_string()),
            ("http_port", &http.to_string()),
            ("http_tls_port", &http_tls.to_string()),
            ("sip_port", &sip.to_string()),
            ("rtp_first", &rtp_first.to_string()),
            ("rtp_last", &rtp_last.to_string()),
            ("host", &self.host.to_owned()),
            ("gateway", &self.gateway.to_owned()),
            ("user", &self.user.to_owned()),
            ("secret", &self.secret.to_owned()),
            ("app", &self.app.to_owned()),
        ] {
            text = text.replace(&format!("{{{{{name}}}}}"), value);
        }
        text
    }

    /// A module is loaded unless this version lacks it or the test does without it.
    fn is_wanted(&self, line: &str) -> bool {
        line.strip_prefix("load = ")
            .is_none_or(|module| self.root.has_module(module) && !self.without_modules.iter().any(|m| m == module))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;

    fn written(version: Version, without_modules: &[String]) -> String {
        let root = Root::of(version).unwrap();
        let ports = Ports { ami: 1, ami_tls: 6, http: 2, http_tls: 7, sip: 3, rtp_first: 4, rtp_last: 5 };
        let additions = [("manager.conf".to_owned(), "; TLS is on {{ami_tls_port}}".to_owned())];
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            root: &root,
            ports,
            host: "127.0.0.1",
            gateway: "127.0.0.2",
            user: "me",
            secret: "hush",
            app: "my-app",
            without_modules,
            additions: &additions,
        };
        config.write(dir.path()).unwrap();
        TEMPLATES.iter().map(|(name, _)| fs::read_to_string(dir.path().join(name)).unwrap()).collect()
    }

    #[test]
    fn nothing_is_left_open() {
        for version in Version::ALL {
            let text = written(version, &[]);
            assert!(!text.contains("{{"), "{version}");
            assert!(text.contains("Stasis(my-app,tap)"));
            assert!(text.contains("displayconnects = no") && text.contains("; TLS is on 6"));
        }
    }

    #[test]
    fn only_modules_that_are_there_and_wanted_are_loaded() {
        for (version, without, module, loaded) in [
            (Version::V22, "", "load = res_websocket_client.so", true),
            (Version::V16, "", "load = res_websocket_client.so", false),
            (Version::V16, "", "load = chan_rtp.so", true),
            (Version::V22, "chan_rtp.so", "load = chan_rtp.so", false),
        ] {
            let text = written(version, &[without.to_owned()]);
            assert_eq!(text.contains(module), loaded, "{module} on {version} without `{without}`");
        }
    }
}
