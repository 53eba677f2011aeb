//! When an Asterisk is up: AMI says FullyBooted, and ARI answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::asterisk::Access;

/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether both interfaces serve, which is the case a tenth of a second after the start.
pub(crate) fn is_up(access: &Access) -> bool {
    fully_booted(access).is_ok_and(|yes| yes) && ari_answers(access).is_ok_and(|yes| yes)
}

/// Logs in to AMI and waits for the event that follows a login when everything is loaded.
fn fully_booted(access: &Access) -> std::io::Result<bool> {
    let mut ami = connect(access.ami_port)?;
    write!(ami, "Action: Login\r\nUsername: {}\r\nSecret: {}\r\n\r\n", access.user, access.secret)?;
    for line in BufReader::new(ami).lines() {
        if line? == "Event: FullyBooted" {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Until its modules are loaded, ARI answers 404 or 503.
fn ari_answers(access: &Access) -> std::io::Result<bool> {
    let mut http = connect(access.http_port)?;
    let Access { user, secret, .. } = access;
    write!(http, "GET /ari/channels?api_key={user}:{secret} HTTP/1.0\r\n\r\n")?;
    let mut status_line = [0; 12];
    http.read_exact(&mut status_line)?;
    Ok(status_line.ends_with(b" 200"))
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(ATTEMPT_TIMEOUT))?;
    Ok(stream)
}
