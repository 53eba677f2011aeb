//! Settings of Asterisk that matter to captures, as AMI shows them (GetConfig, write class `system` or `config`).
//!
//! What is seen are the files; a change that nobody has reloaded yet is taken for true.

use std::collections::BTreeMap;

use aimg_ami::{Action, ActionError, Client, Message};
use aimg_store::Pbx;

use super::ami::{RELOAD, section as user_section};
use super::finding::{Area, Finding};

/// Sessions of Asterisk's HTTP server that one gateway can have at once: `requests_max` of `aimg_ari::Config`, and the
/// event stream.
const HTTP_SESSIONS: u64 = 65;
/// A write to us that takes longer than this is no longer a short pause of the network.
const WRITE_TIMEOUT_MS_MIN: u64 = 1_000;
/// Even ports of a captured call: two of its SIP legs, two of its tap.
const PORTS_PER_CALL: u64 = 4;

/// The values of one section; empty where the file has no such section.
#[derive(Debug, Default)]
struct Section(BTreeMap<String, String>);

impl Section {
    fn read(answer: &Message) -> Self {
        let lines = answer.headers().filter(|(key, _)| key.starts_with("Line-"));
        Self(
            lines
                .filter_map(|(_, line)| line.split_once('='))
                .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
                .collect(),
        )
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.0.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    fn is_on(&self, name: &str) -> bool {
        self.0
            .get(name)
            .is_some_and(|v| ["yes", "true", "y", "t", "1", "on"].iter().any(|on| v.eq_ignore_ascii_case(on)))
    }
}

/// Looks at all of them; `taps_max` is how many calls of the PBX we capture at once.
pub(super) async fn examine(client: &Client, pbx: &Pbx, taps_max: usize) -> Vec<Finding> {
    let user = pbx.ami_user.as_str();
    let (http, ari, manager, own, rtp) = tokio::join!(
        section(client, "http.conf", "general"),
        section(client, "ari.conf", "general"),
        section(client, "manager.conf", "general"),
        section(client, "manager.conf", user),
        section(client, "rtp.conf", "general"),
    );
    vec![
        judged(Area::Http, http, pbx, "sessionlimit of http.conf", |s| session_limit(&s)),
        judged(Area::Ari, ari, pbx, "websocket_write_timeout of ari.conf", |s| websocket_timeout(&s)),
        judged(Area::Ami, manager, pbx, "timestampevents of manager.conf", |s| timestamps(&s)),
        judged(Area::Ami, own, pbx, "writetimeout of manager.conf", |s| write_timeout(&s, pbx)),
        judged(Area::Media, rtp, pbx, "the port range of rtp.conf", |s| rtp_ports(&s, taps_max as u64)),
    ]
}

async fn section(client: &Client, file: &str, name: &str) -> Result<Section, ActionError> {
    let action = Action::new("GetConfig").header("Filename", file).and_then(|a| a.header("Category", name));
    let Ok(action) = action else {
        return Err(ActionError::Rejected {
            action: "GetConfig",
            reason: "the section's name cannot be sent".to_owned(),
        });
    };
    match client.send(action).await {
        Ok(answer) => Ok(Section::read(&answer)),
        // Every default then.
        Err(ActionError::Rejected { reason, .. }) if reason.contains("not found") => Ok(Section::default()),
        Err(error) => Err(error),
    }
}

fn judged(
    area: Area,
    section: Result<Section, ActionError>,
    pbx: &Pbx,
    what: &str,
    judge: impl FnOnce(Section) -> Finding,
) -> Finding {
    match section {
        Ok(section) => judge(section),
        Err(error) => Finding::warning(area, format!("{what} could not be seen: {error}"))
            .cured_by(user_section(pbx), ["write = system,reporting,call"])
            .then(RELOAD),
    }
}

fn session_limit(http: &Section) -> Finding {
    let limit = http.number("sessionlimit", 100);
    let what = format!("sessionlimit is {limit}; aimg takes up to {HTTP_SESSIONS} HTTP sessions at once");
    if limit >= HTTP_SESSIONS {
        return Finding::ok(Area::Http, what);
    }
    Finding::warning(Area::Http, what)
        .cured_by("http.conf, section [general]", ["sessionlimit = 500"])
        .then("asterisk -rx 'module reload http'")
}

fn websocket_timeout(ari: &Section) -> Finding {
    let ms = ari.number("websocket_write_timeout", 100);
    let what = format!("websocket_write_timeout is {ms} ms: a longer pause of the network ends the event stream");
    if ms >= WRITE_TIMEOUT_MS_MIN {
        return Finding::ok(Area::Ari, what);
    }
    Finding::warning(Area::Ari, what)
        .cured_by("ari.conf, section [general]", ["websocket_write_timeout = 5000"])
        .then("asterisk -rx 'module reload res_ari.so'")
}

fn timestamps(manager: &Section) -> Finding {
    if manager.is_on("timestampevents") {
        return Finding::ok(Area::Ami, "timestampevents is on: head gaps are measured by Asterisk's clock");
    }
    let what = "timestampevents is off: head gaps contain the time that events take to us";
    Finding::warning(Area::Ami, what)
        .cured_by("manager.conf, section [general]", ["timestampevents = yes"])
        .then(RELOAD)
}

fn write_timeout(own: &Section, pbx: &Pbx) -> Finding {
    let ms = own.number("writetimeout", 100);
    let what = format!("writetimeout is {ms} ms: a longer pause of the network ends the AMI link");
    if ms >= WRITE_TIMEOUT_MS_MIN {
        return Finding::ok(Area::Ami, what);
    }
    Finding::warning(Area::Ami, what).cured_by(user_section(pbx), ["writetimeout = 5000"]).then(RELOAD)
}

fn rtp_ports(rtp: &Section, taps_max: u64) -> Finding {
    // The defaults of res_rtp_asterisk.
    let (first, last) = (rtp.number("rtpstart", 5_000), rtp.number("rtpend", 31_000));
    let calls = (last + 1).saturating_sub(first) / 2 / PORTS_PER_CALL;
    let what =
        format!("RTP ports {first} to {last} are enough for {calls} captured calls; aimg captures up to {taps_max}");
    if calls >= taps_max {
        return Finding::ok(Area::Media, what);
    }
    Finding::warning(Area::Media, format!("{what}, and Asterisk crashes when its ports are used up (#1757)"))
        .cured_by("rtp.conf, section [general]", ["rtpstart = 10000", "rtpend = 20000"])
        .then("asterisk -rx 'core restart when convenient'")
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn of(lines: &[(&str, &str)]) -> Section {
        Section(lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn what_is_too_small_comes_with_the_line_to_write() {
        type Judge = fn(&Section) -> Finding;
        type Case<'a> = (Judge, &'a [(&'a str, &'a str)], Option<&'a str>);
        let rtp: Judge = |s| rtp_ports(s, 1_000);
        let cases: [Case<'_>; 11] = [
            (session_limit, &[], None),
            (session_limit, &[("sessionlimit", "500")], None),
            (session_limit, &[("sessionlimit", "20")], Some("sessionlimit = 500")),
            (websocket_timeout, &[], Some("websocket_write_timeout = 5000")),
            (websocket_timeout, &[("websocket_write_timeout", "5000")], None),
            (timestamps, &[], Some("timestampevents = yes")),
            (timestamps, &[("timestampevents", "Yes")], None),
            (rtp, &[], None),
            (rtp, &[("rtpstart", "10000"), ("rtpend", "20000")], None),
            (rtp, &[("rtpstart", "10000"), ("rtpend", "10100")], Some("rtpstart = 10000")),
            (rtp, &[("rtpstart", "20000"), ("rtpend", "10000")], Some("rtpstart = 10000")),
        ];
        for (judge, lines, cure) in cases {
            let finding = judge(&of(lines));
            assert_eq!(finding.level == Level::Ok, cure.is_none(), "{finding:?}");
            assert_eq!(finding.cure.as_ref().map(|c| c.lines[0].as_str()), cure, "{finding:?}");
        }
    }
}
