//! AMI of one PBX: is it there, which classes has our user, how is it set up.
//!
//! Write classes are proved by the actions that Asterisk lists for us, read classes by events that come: `system` by
//! FullyBooted after the login, `call` by the Newchannel of a channel that the look at the route creates.

use std::collections::BTreeSet;
use std::time::Duration;

use aimg_ami::{Action, ActionError, Client, Config, Error, Event, Events, Message, Notice, Server};
use aimg_core::{MINTED_PREFIX, TapMode, Uniqueid};
use aimg_media::Clock;
use aimg_store::Pbx;
use tokio::sync::watch;
use tokio::time::timeout;

use super::finding::{Area, Failure, Finding};
use super::{asterisk_conf, dialplan};

/// How long the link may take: connect, login and the lists.
const UP_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an event may take that Asterisk has certainly raised.
const EVENT_TIMEOUT: Duration = Duration::from_secs(3);
/// Clocks further apart than this are told; head gaps are measured in milliseconds, from Asterisk's clock to ours.
const CLOCK_APART_MS_MAX: i64 = 50;
/// SIP endpoints that are looked at one by one.
const ENDPOINTS_MAX: usize = 100;
/// Events of our own channels that are remembered.
const CHANNELS_MAX: usize = 10_000;

/// What Asterisk has told over AMI.
#[derive(Debug, Default)]
struct Told {
    booted: bool,
    channels: BTreeSet<Uniqueid>,
}

/// A link that is up. It ends when this is dropped.
pub(super) struct Link {
    client: Client,
    told: watch::Receiver<Told>,
}

/// Logs in and looks at everything that can be seen without changing anything.
pub(super) async fn examine(mut config: Config, pbx: &Pbx, taps_max: usize, found: &mut Vec<Finding>) -> Option<Link> {
    config.give_up_on_refusal = true;
    let (client, mut events) = Client::start(config);
    let server = match timeout(UP_TIMEOUT, up(&mut events)).await {
        Ok(Ok(server)) => server,
        Ok(Err(finding)) => {
            found.push(finding.map_or_else(unanswered, |error| problem(&error, pbx)));
            return None;
        }
        Err(_) => {
            found.push(unanswered());
            return None;
        }
    };
    let at = format!("{}:{}", pbx.host, pbx.ami_port);
    let what = format!("AMI {} answers at {at} to user `{}`", server.ami_version, pbx.ami_user);
    found.push(Finding::ok(Area::Ami, what));
    let (teller, told) = watch::channel(Told::default());
    tokio::spawn(follow(events, teller));
    let actions = classes(&client, pbx, found).await;
    found.extend(clock(&client).await);
    found.extend(asterisk_conf::examine(&client, pbx, taps_max).await);
    let may = |action: &str| actions.contains(action);
    if may("Command") {
        found.extend(timing_test(&client).await);
    }
    if pbx.tap_mode == TapMode::Hook && may("ShowDialPlan") {
        found.push(dialplan::examine(&client, pbx).await);
    }
    if may("PJSIPShowEndpoint") {
        found.extend(direct_media(&client).await);
    }
    Some(Link { client, told })
}

impl Link {
    /// Whether events of the classes that sessions are made from come to us; `channels` were created meanwhile.
    pub(super) async fn readable(mut self, channels: &[Uniqueid], pbx: &Pbx) -> Vec<Finding> {
        let booted = self.told(|told| told.booted).await;
        let mut found = vec![readable("system", booted, "a restart of Asterisk is not told from a lost link", pbx)];
        if !channels.is_empty() {
            let came = self.told(|told| channels.iter().any(|channel| told.channels.contains(channel))).await;
            found.push(readable("call", came, "no call is seen", pbx));
        }
        self.client.close();
        found
    }

    async fn told(&mut self, enough: impl FnMut(&Told) -> bool) -> bool {
        matches!(timeout(EVENT_TIMEOUT, self.told.wait_for(enough)).await, Ok(Ok(_)))
    }
}

fn readable(class: &str, came: bool, loss: &str, pbx: &Pbx) -> Finding {
    let user = &pbx.ami_user;
    if came {
        return Finding::ok(Area::Ami, format!("user `{user}` may read events of class {class}: one came"));
    }
    let what = format!("events of class {class} do not come to user `{user}`: {loss}");
    let finding = match class {
        "call" => Finding::problem(Area::Ami, Failure::Refused, what),
        _ => Finding::warning(Area::Ami, what),
    };
    finding.cured_by(section(pbx), ["read = call,system"]).then(RELOAD)
}

/// Until the link is up, or is known not to come up; nothing when it ended without a word.
async fn up(events: &mut Events) -> Result<Server, Option<Error>> {
    loop {
        match events.next().await {
            Some(Notice::Up(up)) => return Ok(up.server),
            Some(Notice::Down { error, .. }) => return Err(Some(error)),
            Some(_) => {}
            None => return Err(None),
        }
    }
}

async fn follow(mut events: Events, told: watch::Sender<Told>) {
    while let Some(notice) = events.next().await {
        match notice {
            Notice::Event { event: Event::FullyBooted, .. } => told.send_modify(|t| t.booted = true),
            Notice::Event { event: Event::NewChannel(channel), .. }
                if channel.uniqueid.as_str().starts_with(MINTED_PREFIX) =>
            {
                told.send_modify(|t| {
                    if t.channels.len() < CHANNELS_MAX {
                        t.channels.insert(channel.uniqueid);
                    }
                });
            }
            _ => {}
        }
    }
}

/// The actions that we may use. Those that need one class alone prove that we have it.
async fn classes(client: &Client, pbx: &Pbx, found: &mut Vec<Finding>) -> BTreeSet<String> {
    let listed = match client.send(Action::new("ListCommands")).await {
        Ok(listed) => listed,
        Err(error) => {
            found.push(Finding::warning(Area::Ami, format!("the write classes could not be seen: {error}")));
            return BTreeSet::new();
        }
    };
    let actions: BTreeSet<String> = listed.headers().map(|(action, _)| action.to_owned()).collect();
    let proved = proved_classes(&listed).into_iter().collect::<Vec<_>>().join(", ");
    let what = format!(
        "user `{}` may use {} actions, write classes proved: {proved}; CoreShowChannels, BridgeList and CoreSettings answered",
        pbx.ami_user,
        actions.len()
    );
    found.push(Finding::ok(Area::Ami, what));
    actions
}

/// `… (Priv: system,all)` proves system; `(Priv: system,reporting,all)` proves neither.
fn proved_classes(listed: &Message) -> BTreeSet<String> {
    let classes = |about: &str| {
        let (_, privileges) = about.rsplit_once("(Priv: ")?;
        privileges.trim_end().strip_suffix(",all)").filter(|class| !class.contains(',')).map(str::to_owned)
    };
    listed.headers().filter_map(|(_, about)| classes(about)).collect()
}

/// How far Asterisk's clock is from ours, as the answer to a ping tells.
async fn clock(client: &Client) -> Option<Finding> {
    let clock = Clock::anchored();
    let asked_at = clock.now();
    let pong = client.send(Action::ping()).await.ok()?;
    let took_us = clock.now().micros_since(asked_at);
    let (seconds, fraction) = pong.first("Timestamp")?.trim().split_once('.')?;
    let told_us =
        seconds.parse::<i64>().ok()?.checked_mul(1_000_000)? + format!("{fraction:0<6.6}").parse::<i64>().ok()?;
    let apart_ms = (told_us - asked_at.as_micros() - took_us / 2) / 1_000;
    let sure_ms = took_us / 2_000 + 1;
    Some(if apart_ms.abs() <= CLOCK_APART_MS_MAX.max(sure_ms) {
        Finding::ok(Area::Ami, format!("the clocks agree: {apart_ms} ms apart, known to {sure_ms} ms"))
    } else {
        let what =
            format!("Asterisk's clock is {apart_ms} ms ahead of ours: head gaps are measured wrong by that much");
        Finding::warning(Area::Ami, what).cured_by("both machines", ["timedatectl set-ntp true"])
    })
}

/// Asterisk's own test of its timer, a second long; needs write class `command`.
async fn timing_test(client: &Client) -> Option<Finding> {
    let action = Action::new("Command").header("Command", "timing test").ok()?;
    let answer = client.send(action).await.ok()?;
    let output: Vec<&str> = answer.all("Output").map(str::trim).filter(|line| !line.is_empty()).collect();
    Some(Finding::ok(Area::Timing, format!("`timing test` says: {}", output.join(" "))))
}

/// With direct media two phones may send their audio to each other, and there is nothing to capture.
async fn direct_media(client: &Client) -> Option<Finding> {
    let endpoints = match client.list(Action::new("PJSIPShowEndpoints")).await {
        Ok(endpoints) => endpoints,
        // Asterisk's words for an empty list.
        Err(ActionError::Rejected { .. }) => return None,
        Err(error) => return Some(Finding::warning(Area::Media, format!("direct_media could not be seen: {error}"))),
    };
    let names: Vec<&str> = endpoints.iter().filter_map(|e| e.first("ObjectName")).collect();
    let mut direct = 0;
    let looked_at = names.len().min(ENDPOINTS_MAX);
    for name in names.iter().take(ENDPOINTS_MAX) {
        let details = client.list(Action::new("PJSIPShowEndpoint").header("Endpoint", name).ok()?).await.ok()?;
        direct += usize::from(details.iter().any(|d| d.first("DirectMedia") == Some("true")));
    }
    Some(if direct == 0 {
        Finding::ok(
            Area::Media,
            format!("direct_media is off at {looked_at} of {} SIP endpoints looked at", names.len()),
        )
    } else {
        let what = format!(
            "direct_media is on at {direct} of {looked_at} SIP endpoints: where two of them talk directly, the recording is silence"
        );
        Finding::warning(Area::Media, what)
            .cured_by("pjsip.conf, each endpoint whose calls are captured", ["direct_media = no"])
            .then("asterisk -rx 'module reload res_pjsip.so'")
    })
}

/// After a change of manager.conf.
pub(super) const RELOAD: &str = "asterisk -rx 'manager reload'";

/// Where our user is.
pub(super) fn section(pbx: &Pbx) -> String {
    format!("manager.conf, section [{}]", pbx.ami_user)
}

fn unanswered() -> Finding {
    let what = format!("AMI was not up within {} s", UP_TIMEOUT.as_secs());
    Finding::problem(Area::Ami, Failure::Unavailable, what)
}

/// What a link that does not come up means, and its cure.
fn problem(error: &Error, pbx: &Pbx) -> Finding {
    let what = error.to_string();
    match error {
        Error::Refused { action: "Login" | "Challenge", .. } => {
            let lines =
                ["secret = (as given to `aimg pbx add`)", "read = call,system", "write = system,reporting,call"];
            Finding::problem(Area::Ami, Failure::Refused, what).cured_by(section(pbx), lines).then(RELOAD)
        }
        Error::Refused { .. } => Finding::problem(Area::Ami, Failure::Refused, what)
            .cured_by(section(pbx), ["write = system,reporting,call"])
            .then(RELOAD),
        Error::Unreachable { .. } | Error::Silent { .. } => {
            let lines =
                ["enabled = yes".to_owned(), format!("bindaddr = {}", pbx.host), format!("port = {}", pbx.ami_port)];
            Finding::problem(Area::Ami, Failure::Unavailable, what)
                .cured_by("manager.conf, section [general]", lines)
                .then(RELOAD)
        }
        _ => Finding::problem(Area::Ami, Failure::Unavailable, what),
    }
}
