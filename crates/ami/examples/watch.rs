//! Shows what happens in a PBX while it happens: `AMI_SECRET=… cargo run -p aimg-ami --example watch -- HOST PORT USER`.
//!
//! Names of channels and states are shown, no numbers of callers. With a fingerprint of Asterisk's certificate as a fourth
//! argument the connection is TLS.

use aimg_ami::{Config, Event, LinkChange, Manager, Trust};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(host), Some(port), Some(user)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: watch HOST PORT USER [FINGERPRINT], with the secret in AMI_SECRET".into());
    };
    let mut config = Config::new(host, user, std::env::var("AMI_SECRET")?.into());
    config.port = port.parse()?;
    config.tls = arguments.next().map(|text| text.parse()).transpose()?.map(|pinned| Trust::Fingerprint(pinned).into());
    config.event_mask = "call,system,agent,user".to_owned();

    let manager = Manager::new(config);
    manager.on_link(|change| async move {
        match change {
            LinkChange::Up(up) => println!("Asterisk {}, {} channels", up.server.asterisk_version, up.channels.len()),
            LinkChange::Down { error, .. } => println!("{error}"),
            _ => {}
        }
    });
    manager.on("Newchannel", |event| async move {
        if let Event::NewChannel(channel) = event {
            println!("{} begins in {}", channel.name, channel.context);
        }
    });
    manager.on("Newstate", |event| async move {
        if let Event::NewState(channel) = event {
            println!("{} is {:?}", channel.name, channel.state);
        }
    });
    manager.on("Hangup", |event| async move {
        if let Event::Hangup(hangup) = event {
            println!("{} ends: {}", hangup.channel.name, hangup.cause_text);
        }
    });
    manager.on("Queue*", |event| async move { println!("{event:?}") });
    manager.on_message("UserEvent", |message| async move { println!("{:?}", message.first("UserEvent")) });

    tokio::select! {
        () = manager.run() => {}
        ended = tokio::signal::ctrl_c() => ended?,
    }
    Ok(())
}
