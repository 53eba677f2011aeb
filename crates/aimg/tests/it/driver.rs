//! Who makes the calls of an Asterisk change hands: a user of AMI that may do everything.

use std::time::Duration;

use aimg_ami::{Action, ChannelState, Client, Config, InvalidAction, ListedChannel, Notice};
use aimg_testbed::{Asterisk, DRIVER};
use secrecy::SecretString;
use tokio::runtime::Runtime;

use crate::waiting::eventually;

/// How long a connection or an action may take on a busy machine.
const ACTION_TIME_MAX: Duration = Duration::from_secs(20);

pub(crate) struct Driver {
    runtime: Runtime,
    client: Client,
}

impl Driver {
    pub(crate) fn connect(asterisk: &Asterisk) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let access = asterisk.access();
        let mut config = Config::new(&access.host, DRIVER, SecretString::from(access.secret.as_str()));
        config.port = access.ami_port;
        config.event_mask = "off".to_owned();
        let client = runtime.block_on(async {
            let (client, mut events) = Client::start(config);
            let up = tokio::time::timeout(ACTION_TIME_MAX, events.next()).await.unwrap();
            assert!(matches!(up, Some(Notice::Up(_))), "{up:?}");
            // The client lives as long as somebody takes its events.
            tokio::spawn(async move { while events.next().await.is_some() {} });
            client
        });
        Self { runtime, client }
    }

    /// Does what must succeed.
    #[track_caller]
    pub(crate) fn act(&self, action: Result<Action, InvalidAction>) {
        let sent = self.client.send(action.unwrap());
        self.runtime.block_on(async { tokio::time::timeout(ACTION_TIME_MAX, sent).await }).unwrap().unwrap();
    }

    #[track_caller]
    fn wait_for(&self, what: &str, fits: impl Fn(&ListedChannel) -> bool) -> ListedChannel {
        eventually(what, || {
            // Its connection may break and come again, as anybody's.
            let listed = self.runtime.block_on(self.client.list(Action::core_show_channels()));
            let listed = listed.map_err(|e| e.to_string())?;
            let channels: Vec<_> = listed.iter().filter_map(ListedChannel::read).collect();
            channels.iter().find(|c| fits(c)).cloned().ok_or_else(|| format!("{channels:?}"))
        })
    }

    /// Waits until who dialled this number talks in a bridge, or waits in one.
    #[track_caller]
    pub(crate) fn caller_of(&self, number: &str) -> ListedChannel {
        self.wait_for(&format!("who dialled {number} is connected"), |c| {
            c.channel.name.starts_with("PJSIP/call-features-") && c.channel.exten == number && c.bridge.is_some()
        })
    }

    /// Waits until the phone with this number talks in a bridge.
    #[track_caller]
    pub(crate) fn callee(&self, port: u16) -> ListedChannel {
        self.wait_for(&format!("the phone {port} is connected"), |c| {
            c.channel.name.starts_with("PJSIP/callee-")
                && c.channel.caller_number == port.to_string()
                && c.bridge.is_some()
        })
    }

    /// Waits until a channel talks with another one in its bridge, and returns that.
    #[track_caller]
    pub(crate) fn with(&self, channel: &ListedChannel) -> ListedChannel {
        let id = &channel.channel.uniqueid;
        self.wait_for(&format!("somebody talks with {id}"), |c| c.bridge == channel.bridge && c.channel.uniqueid != *id)
    }

    /// Waits until the phone with this number rings.
    #[track_caller]
    pub(crate) fn rings(&self, port: u16) -> ListedChannel {
        self.wait_for(&format!("the phone {port} rings"), |c| {
            c.channel.caller_number == port.to_string() && c.channel.state == ChannelState::Ringing
        })
    }

    /// Hangs a channel up.
    #[track_caller]
    pub(crate) fn hang_up(&self, channel: &ListedChannel) {
        self.act(Action::hangup(&channel.channel.uniqueid, 16));
    }
}
