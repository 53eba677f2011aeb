//! The way from Asterisk to each of our shards, proved by what a capture is made of.
//!
//! An external media channel plays the call, and is tapped in both directions for each shard: snoop, external media,
//! bridge. A snoop sends a packet every 20 ms, silence too, so no dialplan, no phone and no sound file is needed. Nothing
//! of it has to do with calls, and all of it is removed, however the look ends.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use aimg_ari::{Client, Config, Events, Notice};
use aimg_core::{Direction, Minted, MintedWhat, NodeId, SessionId, Uniqueid};
use aimg_session::{Outcome, Request};
use aimg_store::Pbx;
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::ear::{Ear, Heard};
use super::finding::{Area, Failure, Finding};
use super::machine::Shard;
use super::{Stop, ari};
use crate::asterisk::Asterisk;
use crate::translate;

/// How long ARI's event stream may take to be up.
const UP_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a channel of ours may take to enter the application.
const ENTER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the first packet may take: Asterisk 16 needs 200 ms.
const FIRST_PACKET_TIMEOUT: Duration = Duration::from_secs(3);
/// How long is listened after that.
const LISTENED: Duration = Duration::from_secs(1);
/// How often is looked whether something came or went.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long what was removed may take to be gone.
const GONE_TIMEOUT: Duration = Duration::from_secs(5);
/// Two packets further apart than this, of a sender that sends every 20 ms, are told.
const PAUSE_MAX: Duration = Duration::from_millis(100);
/// What a node's name must leave of its 16 characters.
const NODE_CHARS: usize = 14;
/// The longest name of an application, in bytes.
const APP_BYTES_MAX: usize = 64;

/// Looks at the way to all shards; `found` gets what there is to say. Returns channels that were surely
/// created.
pub(super) async fn examine(
    mut config: Config,
    pbx: &Pbx,
    node: &NodeId,
    shards: &[Shard],
    stop: &Stop,
    found: &mut Vec<Finding>,
) -> Vec<Uniqueid> {
    found.extend(told_address(pbx, shards).await);
    config.connections_warm = 0;
    let (client, mut events) = match Client::start(config) {
        Ok(started) => started,
        Err(error) => {
            found.push(ari::problem(&error, pbx));
            return Vec::new();
        }
    };
    match timeout(UP_TIMEOUT, up(&mut events)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            found.push(error.map_or_else(no_stream, |error| ari::problem(&error, pbx)));
            return Vec::new();
        }
        Err(_) => {
            found.push(no_stream());
            return Vec::new();
        }
    }
    let (enter, entered) = watch::channel(BTreeSet::new());
    tokio::spawn(follow(events, enter));
    let asterisk = Asterisk { ari: client, codec: pbx.codec };
    let stage = Stage { asterisk, node: doctor_node(node), entered };
    stage.remove_left(found).await;
    let taps: Vec<Tap<'_>> = shards.iter().map(Tap::new).collect();
    let stopped = tokio::select! {
        () = Box::pin(stage.listen(&taps, pbx, found)) => false,
        () = stop.stopped() => true,
    };
    stage.remove(&taps, found).await;
    if stopped {
        found.push(Finding::problem(Area::Route, Failure::Unavailable, "stopped before the route was known"));
    }
    let entered = stage.entered.borrow();
    entered.iter().cloned().collect()
}

/// The application that the doctor registers beside the gateway's.
pub(super) fn doctor_app(app: &str) -> String {
    const SUFFIX: &str = "-doctor";
    let end = app.len().min(APP_BYTES_MAX - SUFFIX.len());
    format!("{}{SUFFIX}", app.get(..end).unwrap_or_default())
}

/// A name of its own, so that a gateway that runs meanwhile does not take the doctor's channels for its own leftovers.
fn doctor_node(node: &NodeId) -> NodeId {
    let name = node.as_str();
    let end = name.len().min(NODE_CHARS);
    format!("dr{}", &name[..end]).parse().unwrap_or_else(|_| node.clone())
}

/// An Asterisk on another machine that is told to send to itself.
async fn told_address(pbx: &Pbx, shards: &[Shard]) -> Option<Finding> {
    let told = shards.first()?.address.ip();
    let asterisk = tokio::net::lookup_host((pbx.host.as_str(), pbx.ami_port)).await.ok()?.next()?;
    if !told.is_loopback() || asterisk.ip().is_loopback() {
        return None;
    }
    let ours = our_address(asterisk).map_or("(this machine's address)".to_owned(), |ip| ip.to_string());
    let what = format!("Asterisk at {} is told to send audio to {told}, which is Asterisk's own machine", pbx.host);
    Some(
        Finding::problem(Area::Route, Failure::Unavailable, what).cured_by(
            "aimg.toml, section [media]",
            ["bind = \"0.0.0.0\"".to_owned(), format!("advertise = \"{ours}\"")],
        ),
    )
}

/// The address from which this machine would send to `peer`; nothing is sent.
fn our_address(peer: SocketAddr) -> Option<IpAddr> {
    let any = if peer.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(peer).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

async fn up(events: &mut Events) -> Result<(), Option<aimg_ari::Error>> {
    loop {
        match events.next().await {
            Some(Notice::Up { .. }) => return Ok(()),
            Some(Notice::Down { error, .. } | Notice::Replaced { error }) => return Err(Some(error)),
            Some(Notice::Event(_)) => {}
            None => return Err(None),
        }
    }
}

/// Which channels of ours are in the application.
async fn follow(mut events: Events, enter: watch::Sender<BTreeSet<Uniqueid>>) {
    while let Some(notice) = events.next().await {
        if let Notice::Event(event) = notice
            && let Some(aimg_session::Input::TapEntered(id)) = translate::ari_event(event.kind)
        {
            enter.send_modify(|entered| {
                entered.insert(uniqueid(&id));
            });
        }
    }
}

fn no_stream() -> Finding {
    let what = format!("ARI's event stream was not up within {} s", UP_TIMEOUT.as_secs());
    Finding::problem(Area::Ari, Failure::Unavailable, what)
}

fn uniqueid(id: &Minted) -> Uniqueid {
    Uniqueid::new(id.to_string())
}

/// The tap of one shard.
struct Tap<'a> {
    shard: &'a Shard,
    session: SessionId,
}

impl<'a> Tap<'a> {
    fn new(shard: &'a Shard) -> Self {
        Self { shard, session: SessionId::from_uuid(Uuid::now_v7()) }
    }
}

/// One PBX with the doctor's application in it.
struct Stage {
    asterisk: Asterisk,
    node: NodeId,
    entered: watch::Receiver<BTreeSet<Uniqueid>>,
}

impl Stage {
    /// Attaches everything, listens, judges.
    async fn listen(&self, taps: &[Tap<'_>], pbx: &Pbx, found: &mut Vec<Finding>) {
        let attached = join_all(taps.iter().map(|tap| self.attach(tap, pbx))).await;
        let mut flows = Vec::new();
        for (tap, attached) in taps.iter().zip(attached) {
            match attached {
                Ok((ear, sources)) => flows.push((tap, ear, sources)),
                Err(why) => {
                    let what = format!("no capture towards {} could be attached: {why}", tap.shard.address);
                    found.push(Finding::problem(Area::Route, Failure::Unavailable, what).cured_by(
                        "a shell on the PBX, to see why",
                        ["asterisk -rx 'module show like chan_rtp'", "tail /var/log/asterisk/messages"],
                    ));
                }
            }
        }
        if flows.is_empty() {
            return;
        }
        let deadline = Instant::now() + FIRST_PACKET_TIMEOUT;
        let all_came =
            || flows.iter().all(|(_, ear, sources)| sources.iter().all(|source| ear.heard(*source).is_some()));
        while !all_came() && Instant::now() < deadline {
            sleep(LOOK_EVERY).await;
        }
        sleep(LISTENED).await;
        for (tap, ear, sources) in &flows {
            let heard = sources.map(|source| ear.heard(source));
            found.extend(judge(tap.shard, *sources, heard, &ear.sources()));
        }
    }

    /// Plays a call and taps it in both directions; where the packets will come from.
    async fn attach(&self, tap: &Tap<'_>, pbx: &Pbx) -> Result<(Ear, [SocketAddr; 2]), String> {
        let ear = tap.shard.socket.try_clone().and_then(|socket| Ear::open(socket, pbx.codec));
        let ear = ear.map_err(|e| format!("no ear: {e}"))?;
        let call = self.call(tap);
        self.done(Request::ExternalMedia { id: call.clone(), to: tap.shard.address }).await?;
        let (caller, callee) =
            tokio::try_join!(self.direction(tap, Direction::Caller), self.direction(tap, Direction::Callee))?;
        Ok((ear, [caller, callee]))
    }

    async fn direction(&self, tap: &Tap<'_>, direction: Direction) -> Result<SocketAddr, String> {
        let [bridge, snoop, media] =
            [MintedWhat::Bridge(direction), MintedWhat::Snoop(direction), MintedWhat::Media(direction)]
                .map(|what| self.minted(tap, 0, what));
        let target = uniqueid(&self.call(tap));
        let (_, _, source) = tokio::try_join!(
            self.done(Request::Bridge { id: bridge.clone() }),
            self.done(Request::Snoop { id: snoop.clone(), target }),
            self.done(Request::ExternalMedia { id: media.clone(), to: tap.shard.address }),
        )?;
        let source = source.ok_or("Asterisk did not tell from where it will send (UNICASTRTP_LOCAL_ADDRESS)")?;
        let channels = [snoop, media];
        let wanted = channels.each_ref().map(uniqueid);
        let mut entered = self.entered.clone();
        let all = |entered: &BTreeSet<Uniqueid>| wanted.iter().all(|channel| entered.contains(channel));
        match timeout(ENTER_TIMEOUT, entered.wait_for(all)).await {
            Ok(Ok(_)) => {}
            _ => return Err("its channels did not enter the Stasis application in time".to_owned()),
        }
        self.done(Request::Join { bridge, channels }).await?;
        Ok(source)
    }

    /// The address of an external media channel; a sentence where the request was not done.
    async fn done(&self, request: Request) -> Result<Option<SocketAddr>, String> {
        match self.asterisk.ask(&request).await {
            Outcome::Done { rtp_source } => Ok(rtp_source),
            Outcome::Gone => Err(format!("{request:?}: the object is gone")),
            Outcome::Refused(why) | Outcome::Unknown(why) => Err(why),
        }
    }

    fn minted(&self, tap: &Tap<'_>, part: u16, what: MintedWhat) -> Minted {
        Minted { node: self.node.clone(), session: tap.session, part, what }
    }

    /// What stands for the call: an external media channel of a part of its own.
    fn call(&self, tap: &Tap<'_>) -> Minted {
        self.minted(tap, 1, MintedWhat::Media(Direction::Caller))
    }

    /// Everything of one tap, whether it exists or not.
    fn objects(&self, tap: &Tap<'_>) -> Vec<Minted> {
        let tapped = MintedWhat::ALL.map(|what| self.minted(tap, 0, what));
        tapped.into_iter().chain([self.call(tap)]).collect()
    }

    /// Removes all that this look may have created, and makes sure that it is gone.
    async fn remove(&self, taps: &[Tap<'_>], found: &mut Vec<Finding>) {
        let objects = taps.iter().flat_map(|tap| self.objects(tap));
        join_all(objects.map(|id| async move { self.asterisk.ask(&Request::Remove { id }).await })).await;
        let deadline = Instant::now() + GONE_TIMEOUT;
        loop {
            match self.left().await {
                Ok(left) if left.is_empty() => {
                    return found.push(Finding::ok(Area::Route, "everything created for this look is removed again"));
                }
                Ok(left) if Instant::now() >= deadline => {
                    let what = format!("{} objects of this look are left in Asterisk", left.len());
                    let hangups = left.iter().filter(|id| !id.what.is_bridge());
                    let lines = hangups.map(|id| format!("asterisk -rx 'channel request hangup {id}'"));
                    return found.push(Finding::warning(Area::Route, what).cured_by("a shell on the PBX", lines));
                }
                Err(error) if Instant::now() >= deadline => {
                    let what = format!("whether everything is removed again could not be seen: {error}");
                    return found.push(Finding::warning(Area::Route, what));
                }
                _ => sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Removes what an earlier look left that was killed: chan_rtp would send for ever.
    async fn remove_left(&self, found: &mut Vec<Finding>) {
        let left = self.left().await.unwrap_or_default();
        if left.is_empty() {
            return;
        }
        let what = format!("{} objects of a look that was killed are removed", left.len());
        join_all(left.into_iter().map(|id| async move { self.asterisk.ask(&Request::Remove { id }).await })).await;
        found.push(Finding::ok(Area::Route, what));
    }

    /// What there is of ours in Asterisk.
    async fn left(&self) -> Result<Vec<Minted>, aimg_ari::Error> {
        let (channels, bridges) = tokio::try_join!(self.asterisk.ari.channels(), self.asterisk.ari.bridges())?;
        let ids = channels.iter().map(|c| c.id.as_str()).chain(bridges.iter().map(|b| b.id.as_str()));
        Ok(ids.filter_map(Minted::parse).filter(|id| id.node == self.node).collect())
    }
}

/// What became of a shard's packets, from where Asterisk said and from elsewhere.
fn judge(shard: &Shard, told: [SocketAddr; 2], heard: [Option<Heard>; 2], all: &[SocketAddr]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut well = Vec::new();
    for (direction, (source, heard)) in Direction::BOTH.into_iter().zip(told.into_iter().zip(heard)) {
        match heard {
            Some(heard) if heard.ledger.received > 0 => {
                found.extend(worse(shard, direction, &heard));
                well.push(format!("{} from {source}", came(&heard)));
            }
            Some(Heard { other_payload_type: Some(came), .. }) => found.push(other_encoding(shard, source, came)),
            _ => found.push(nothing_came(shard, source, told, all)),
        }
    }
    if !well.is_empty() {
        let what = format!("{} receives {}, as Asterisk told", shard.address, well.join(" and "));
        found.insert(0, Finding::ok(Area::Route, what));
    }
    found.dedup();
    found
}

fn came(heard: &Heard) -> String {
    let Heard { ledger, jitter_ms, lasted, .. } = heard;
    format!(
        "{} packets in {} ms ({} lost, jitter {jitter_ms:.1} ms)",
        ledger.received,
        lasted.as_millis(),
        ledger.missing()
    )
}

/// What is not as it should be of packets that came.
fn worse(shard: &Shard, direction: Direction, heard: &Heard) -> Option<Finding> {
    let (missing, pause_ms) = (heard.ledger.missing(), heard.pause_max.as_millis());
    let what = format!("of the {direction}'s packets to {}", shard.address);
    if missing > 0 {
        let what = format!("{what} {missing} of {} are lost on the way", heard.ledger.expected);
        return Some(Finding::warning(Area::Route, what).cured_by(
            "the network between Asterisk and this machine",
            ["look for errors with `ip -s link` on both machines, and for drops on switches and firewalls between them"],
        ));
    }
    (heard.pause_max > PAUSE_MAX).then(|| {
        let what = format!("{what} two came {pause_ms} ms apart, where Asterisk sends every 20 ms");
        Finding::warning(Area::Timing, what)
            .cured_by("both machines", ["look at their load, and at Asterisk's timing: asterisk -rx 'timing test'"])
    })
}

fn other_encoding(shard: &Shard, source: SocketAddr, came: u8) -> Finding {
    let what = format!(
        "packets from {source} to {} have RTP payload type {came}, which is not the encoding asked for: all of them are thrown away",
        shard.address
    );
    Finding::problem(Area::Route, Failure::Unavailable, what)
        .cured_by("this PBX, added anew", ["aimg pbx add … --codec ulaw"])
}

fn nothing_came(shard: &Shard, source: SocketAddr, told: [SocketAddr; 2], all: &[SocketAddr]) -> Finding {
    let address = shard.address;
    let strangers: Vec<String> = all.iter().filter(|s| !told.contains(s)).map(ToString::to_string).collect();
    if strangers.is_empty() {
        let what = format!("no packet came from {source} to {address}: there is no route, or a firewall between");
        let lines = [
            format!("nft insert rule inet filter input ip saddr {} udp dport {} accept", source.ip(), address.port()),
            format!("AIMG_MEDIA_ADVERTISE={} has to be an address that Asterisk reaches", address.ip()),
        ];
        return Finding::problem(Area::Route, Failure::Unavailable, what).cured_by("this machine", lines);
    }
    let what = format!(
        "Asterisk told that it sends from {source}, but packets to {address} came from {}: there is NAT between, and \
         packets of an unknown source are thrown away",
        strangers.join(", ")
    );
    Finding::problem(Area::Route, Failure::Unavailable, what).cured_by(
        "the network between Asterisk and this machine",
        ["a private network or a VPN without address translation", "where Asterisk is in Docker: network_mode: host"],
    )
}

#[cfg(test)]
mod tests {
    use aimg_rtp::Ledger;

    use super::super::finding::Level;
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn shard() -> Shard {
        Shard { socket: UdpSocket::bind("127.0.0.1:0").unwrap(), address: address("10.0.0.9:4000") }
    }

    fn heard(received: u64, lost: u64, pause_ms: u64, other_payload_type: Option<u8>) -> Option<Heard> {
        Some(Heard {
            ledger: Ledger { expected: received + lost, received, lost, ..Ledger::default() },
            jitter_ms: 0.2,
            lasted: Duration::from_secs(1),
            pause_max: Duration::from_millis(pause_ms),
            other_payload_type,
        })
    }

    #[test]
    fn what_came_from_where_decides() {
        let told = [address("10.0.0.5:10000"), address("10.0.0.5:10002")];
        let nat = [address("192.0.2.1:31000"), address("192.0.2.1:31002")];
        let (good, bad) = (heard(50, 0, 21, None), heard(45, 5, 60, None));
        type Case<'a> = ([Option<Heard>; 2], &'a [SocketAddr], &'a [(Level, &'a str)]);
        let cases: [Case<'_>; 6] = [
            ([good.clone(), good.clone()], &told, &[(Level::Ok, "50 packets in 1000 ms (0 lost")]),
            ([None, None], &nat, &[(Level::Problem, "there is NAT between"), (Level::Problem, "10.0.0.5:10002")]),
            ([None, None], &[], &[(Level::Problem, "no packet came"), (Level::Problem, "no packet came")]),
            ([good.clone(), None], &told[..1], &[(Level::Ok, "50 packets"), (Level::Problem, "no packet came")]),
            ([bad, good.clone()], &told, &[(Level::Ok, "(5 lost"), (Level::Warning, "5 of 50 are lost")]),
            (
                [heard(50, 0, 300, None), heard(0, 0, 0, Some(0))],
                &told,
                &[(Level::Ok, "0 lost"), (Level::Warning, "300 ms apart"), (Level::Problem, "payload type 0")],
            ),
        ];
        for (heard, sources, expected) in cases {
            let found = judge(&shard(), told, heard, sources);
            let fits = found.len() == expected.len()
                && found.iter().zip(expected).all(|(f, (level, words))| f.level == *level && f.what.contains(words));
            assert!(fits, "{expected:?}: {found:#?}");
            assert!(found.iter().all(|f| (f.level == Level::Ok) == f.cure.is_none()), "{found:#?}");
        }
    }

    #[test]
    fn the_doctor_has_names_of_its_own() {
        let node: NodeId = "abcdefghijklmnop".parse().unwrap();
        assert_eq!(doctor_node(&node).as_str(), "drabcdefghijklmn");
        assert_eq!(doctor_app("aimg"), "aimg-doctor");
        assert_eq!(doctor_app(&"a".repeat(64)).len(), 64);
    }
}
