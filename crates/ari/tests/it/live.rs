//! A real Asterisk of each version, and what tests wait for on it.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use aimg_ari::{Arrival, Client, Config, Event, EventKind, Events, Notice, Originate};
use aimg_core::Uniqueid;
use aimg_testbed::{Access, Asterisk, Options, Version};
use tokio::time::timeout;

use crate::fake::DEADLINE;

/// The application of these tests.
pub(crate) const APP: &str = "aimg-live";

/// `wait` listens, `talk` speaks over and over, `hook` enters the application before it is answered.
const DIALPLAN: &str = "
[live]
exten => wait,1,Answer()
 same => n,Wait(600)
exten => talk,1,Answer()
 same => n(again),Playback(/mnt/sounds/callee)
 same => n,Goto(again)
exten => hook,1,Stasis(aimg-live,hook)
";

const MODULES: &str = "
load = res_musiconhold.so
load = res_mutestream.so
load = chan_bridge_media.so
";

const MUSIC: &str = "
[default]
mode = files
directory = /mnt/sounds
";

/// One Asterisk and a client of it whose event stream is up.
pub(crate) struct Live {
    pub(crate) asterisk: Asterisk,
    pub(crate) client: Client,
    pub(crate) events: Events,
}

impl Live {
    pub(crate) async fn start(version: Version) -> Self {
        let asterisk = asterisk(version, &[]);
        let (client, events) = Client::start(config(asterisk.access())).unwrap();
        let mut live = Self { asterisk, client, events };
        live.up().await;
        live
    }

    pub(crate) async fn up(&mut self) {
        up(&mut self.events).await;
    }

    /// The next event that is wanted; others are passed over.
    pub(crate) async fn event<T>(&mut self, what: &str, wanted: impl Fn(&EventKind) -> Option<T>) -> T {
        event(&mut self.events, what, wanted).await
    }

    /// A Local channel in our application whose other half is at an extension of the dialplan above.
    pub(crate) async fn call(&mut self, id: &str, exten: &str) -> Uniqueid {
        let id = Uniqueid::new(id);
        let arrival = Arrival::App { app: APP.into(), args: vec!["x".into(), "y".into()] };
        let mut originate = Originate::new(id.clone(), format!("Local/{exten}@live/n"), arrival);
        originate.other_id = Some(Uniqueid::new(format!("{id}-other")));
        originate.caller_id = Some("Test <100>".into());
        originate.timeout_s = Some(10);
        originate.variables = BTreeMap::from([("LIVE".to_owned(), "a, b".to_owned())]);
        assert_eq!(self.client.originate(&originate).await.unwrap().id, id);
        let args = self
            .event("StasisStart", |kind| match kind {
                EventKind::StasisStart { args, channel, .. } if channel.id == id => Some(args.clone()),
                _ => None,
            })
            .await;
        assert_eq!(args, ["x", "y"]);
        id
    }
}

/// With what these tests need, and more at the end of its files.
pub(crate) fn asterisk(version: Version, more: &[(&str, String)]) -> Asterisk {
    let base = [("extensions.conf", DIALPLAN), ("modules.conf", MODULES), ("musiconhold.conf", MUSIC)];
    let base = base.map(|(name, text)| (name.to_owned(), text.to_owned()));
    let more = more.iter().map(|(name, text)| ((*name).to_owned(), text.clone()));
    let additions = base.into_iter().chain(more).collect();
    let asterisk = Asterisk::start(version, &Options { app: APP.into(), additions, ..Options::default() }).unwrap();
    // Asterisk does not make it by itself.
    let dir = asterisk.log_path().ancestors().nth(2).unwrap().join("spool/recording");
    fs::create_dir(dir).unwrap();
    asterisk
}

pub(crate) fn config(access: &Access) -> Config {
    let mut config = Config::new(&access.ari_url(), &access.user, access.secret.as_str().into(), APP).unwrap();
    config.backoff_base = Duration::from_millis(10);
    config.backoff_max = Duration::from_millis(200);
    config
}

pub(crate) async fn up(events: &mut Events) {
    let mut last = None;
    let search = async {
        loop {
            match events.next().await.expect("the stream ended") {
                Notice::Up { .. } => return,
                Notice::Down { error, .. } => last = Some(error),
                _ => {}
            }
        }
    };
    timeout(DEADLINE, search).await.unwrap_or_else(|_| panic!("the stream does not come up: {last:?}"));
}

pub(crate) async fn event<T>(events: &mut Events, what: &str, wanted: impl Fn(&EventKind) -> Option<T>) -> T {
    let search = async {
        loop {
            match events.next().await {
                Some(Notice::Event(Event { kind, .. })) => {
                    if let Some(found) = wanted(&kind) {
                        return found;
                    }
                }
                other => panic!("waiting for {what}: {other:?}"),
            }
        }
    };
    timeout(DEADLINE, search).await.unwrap_or_else(|_| panic!("{what} did not come"))
}
