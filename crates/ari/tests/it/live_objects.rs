//! Everything on a real Asterisk of each version that is no call.

use std::collections::BTreeMap;

use aimg_ari::model::EventType;
use aimg_ari::request::{applications, asterisk, device_states, endpoints, events, mailboxes, sounds};
use aimg_ari::{Error, EventKind};
use aimg_core::Uniqueid;
use aimg_testbed::Version;

use crate::live::{APP, Live};

#[tokio::test]
async fn the_process_tells_and_takes() {
    for version in Version::ALL {
        let live = Live::start(version).await;
        let http = live.client.http();
        assert!(http.call(asterisk::info()).await.unwrap().system.version.starts_with(version.name()));
        http.call(asterisk::ping()).await.unwrap();

        let module = "app_verbose.so";
        assert!(http.call(asterisk::modules()).await.unwrap().iter().any(|m| m.name == module && m.is_running()));
        http.call(asterisk::unload_module(module)).await.unwrap();
        assert!(http.call(asterisk::module(module)).await.unwrap_err().is_not_found());
        http.call(asterisk::load_module(module)).await.unwrap();
        assert!(matches!(http.call(asterisk::load_module(module)).await, Err(Error::Conflict { .. })));
        http.call(asterisk::reload_module("res_rtp_asterisk.so")).await.unwrap();

        let before = http.call(asterisk::log_channels()).await.unwrap().len();
        http.call(asterisk::add_log_channel("more.log", "notice,warning")).await.unwrap();
        let logs = http.call(asterisk::log_channels()).await.unwrap();
        assert_eq!(logs.len(), before + 1);
        assert!(logs.iter().any(|log| log.channel.ends_with("more.log") && log.kind == "File"), "{logs:?}");
        http.call(asterisk::remove_log_channel("more.log")).await.unwrap();
        assert!(http.call(asterisk::remove_log_channel("more.log")).await.unwrap_err().is_not_found());
        http.call(asterisk::add_log_channel("more.log", "notice")).await.unwrap();
        http.call(asterisk::rotate_log_channel("more.log")).await.unwrap();

        http.call(asterisk::set_variable("GLOBAL", "a & b")).await.unwrap();
        assert_eq!(http.call(asterisk::variable("GLOBAL")).await.unwrap().value, "a & b");
        let nobody = asterisk::config("res_pjsip", "endpoint", "nobody");
        assert!(http.call(nobody).await.unwrap_err().is_not_found());
        let callee = http.call(asterisk::config("res_pjsip", "endpoint", "callee")).await.unwrap();
        assert!(callee.iter().any(|field| field.attribute == "context"), "{version}: {callee:?}");
    }
}

#[tokio::test]
async fn an_application_filters_and_is_told() {
    for version in Version::ALL {
        let mut live = Live::start(version).await;
        let client = live.client.clone();
        let http = client.http();
        assert!(http.call(applications::list()).await.unwrap().iter().any(|app| app.name == APP));
        let varset = EventType { name: "ChannelVarset".into() };
        let filtered = http.call(applications::filter(APP, &[], std::slice::from_ref(&varset))).await.unwrap();
        assert_eq!(filtered.events_disallowed, [varset]);
        http.call(applications::filter(APP, &[], &[])).await.unwrap();

        let says = BTreeMap::from([("why".to_owned(), "because".to_owned())]);
        client.user_event("Ours", &[], &says).await.unwrap();
        let told = live
            .event("our own event", |kind| match kind {
                EventKind::ChannelUserevent { eventname, userevent, .. } if eventname == "Ours" => {
                    Some(userevent.clone())
                }
                _ => None,
            })
            .await;
        assert_eq!(told["why"], "because");
        let elsewhere = http.call(events::user_event("Ours", "nobody", &[], &says)).await;
        assert!(elsewhere.unwrap_err().is_not_found());
        if version == Version::V22 {
            let claim = http.call(events::claim(&Uniqueid::new("nobody"), APP)).await;
            assert!(claim.is_err(), "{claim:?}");
        }
    }
}

#[tokio::test]
async fn states_and_prompts_are_read_and_set() {
    for version in Version::ALL {
        let live = Live::start(version).await;
        let http = live.client.http();
        http.call(device_states::set("Stasis:door", "INUSE")).await.unwrap();
        assert_eq!(http.call(device_states::one("Stasis:door")).await.unwrap().state, "INUSE");
        assert_eq!(http.call(device_states::list()).await.unwrap().len(), 1);
        http.call(device_states::remove("Stasis:door")).await.unwrap();
        assert_eq!(http.call(device_states::list()).await.unwrap(), []);
        assert!(matches!(http.call(device_states::set("PJSIP/x", "INUSE")).await, Err(Error::Conflict { .. })));

        // Debian's packages lack res_ari_mailboxes.so.
        assert!(matches!(http.call(mailboxes::list()).await, Err(Error::NotServed { .. })));

        let callee = http.call(endpoints::one("PJSIP", "callee")).await.unwrap();
        assert_eq!(callee.technology, "PJSIP");
        assert!(http.call(endpoints::list()).await.unwrap().contains(&callee));
        assert!(http.call(endpoints::of_technology("PJSIP")).await.unwrap().contains(&callee));
        assert!(http.call(endpoints::of_technology("NONE")).await.unwrap_err().is_not_found());

        let all = http.call(sounds::list(None, None)).await.unwrap();
        if let Some(sound) = all.first() {
            assert_eq!(&http.call(sounds::one(&sound.id)).await.unwrap(), sound);
        }
    }
}
