//! An AMI server for `ami`: lets anybody in, answers every action, and sends its events all at once.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};

/// Events of one made-up call.
const CALL: [&str; 8] =
    ["Newchannel", "Newexten", "VarSet", "Newstate", "DialBegin", "DialEnd", "BridgeEnter", "Hangup"];

/// The server. Its threads end with the process.
#[derive(Debug)]
pub(crate) struct Server {
    port: u16,
    /// Who wants events.
    listeners: Arc<Mutex<Vec<TcpStream>>>,
}

impl Server {
    /// Listens on a free port.
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let listeners = Arc::<Mutex<Vec<TcpStream>>>::default();
        let shared = Arc::clone(&listeners);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A client that goes away ends its conversation.
                std::thread::spawn(move || converse(stream, &shared));
            }
        });
        Ok(Self { port, listeners })
    }

    /// Its port.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// The connection of the client that came last, to send it events.
    pub(crate) fn stream(&self) -> Result<TcpStream> {
        let listener = self.listeners.lock().unwrap_or_else(PoisonError::into_inner).pop();
        listener.context("nobody listens")
    }

    /// How many clients want events.
    pub(crate) fn listeners(&self) -> usize {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The connections of all of them, to send them events.
    pub(crate) fn streams(&self) -> Vec<TcpStream> {
        std::mem::take(&mut self.listeners.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends so many events to the client that came last.
    pub(crate) fn flood(&self, events: usize) -> Result<()> {
        Ok(self.stream()?.write_all(text(events).as_bytes())?)
    }
}

/// So many events, as Asterisk 22 words them.
fn text(events: usize) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for n in 0..events {
        let (call, event) = (n / CALL.len(), CALL[n % CALL.len()]);
        let id = format!("1790000000.{call}");
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "Event: {event}\r\nPrivilege: call,all\r\nChannel: PJSIP/office-{call:08x}\r\nChannelState: 4\r\n\
             ChannelStateDesc: Ring\r\nCallerIDNum: 1000\r\nCallerIDName: Alice\r\nConnectedLineNum: <unknown>\r\n\
             ConnectedLineName: <unknown>\r\nLanguage: en\r\nAccountCode: \r\nContext: from-office\r\nExten: 2000\r\n\
             Priority: 1\r\nUniqueid: {id}\r\nLinkedid: {id}\r\nVariable: A\r\nValue: b\r\nDialStatus: ANSWER\r\n\
             BridgeUniqueid: {id}\r\nCause: 16\r\nCause-txt: Normal Clearing\r\n\r\n"
        );
    }
    text
}

fn converse(mut stream: TcpStream, listeners: &Mutex<Vec<TcpStream>>) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.write_all(b"Asterisk Call Manager/11.0.0\r\n")?;
    let mut action = Vec::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        if !line.is_empty() {
            action.push(line);
            continue;
        }
        // Before the answer: who has it may be sent events.
        let wants_events = !value(&action, "Events").eq_ignore_ascii_case("off");
        if value(&action, "Action").eq_ignore_ascii_case("Login") && wants_events {
            listeners.lock().unwrap_or_else(PoisonError::into_inner).push(stream.try_clone()?);
        }
        stream.write_all(answer(&action).as_bytes())?;
        action.clear();
    }
    Ok(())
}

fn value<'a>(action: &'a [String], key: &str) -> &'a str {
    let named = |line: &'a String| line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case(key));
    action.iter().find_map(named).map_or("", |(_, value)| value.trim())
}

fn answer(action: &[String]) -> String {
    let id = value(action, "ActionID");
    let head = format!("Response: Success\r\nActionID: {id}\r\n");
    match value(action, "Action") {
        "Challenge" => format!("{head}Challenge: 840415273\r\n\r\n"),
        list @ ("CoreShowChannels" | "BridgeList") => format!(
            "{head}EventList: start\r\n\r\nEvent: {list}Complete\r\nActionID: {id}\r\nEventList: Complete\r\n\
             ListItems: 0\r\n\r\n"
        ),
        _ => format!("{head}Message: Authentication accepted\r\n\r\n"),
    }
}
