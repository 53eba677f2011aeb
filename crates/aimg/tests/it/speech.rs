//! `aimg speech` asks everybody who is set up.

use serde_json::Value;

use crate::home::Home;
use crate::site::{respond, site};
use crate::transcripts::models_dir;

/// Who is asked for what, and whether it went well.
fn asked(home: &Home, environment: &[(&str, &str)]) -> (Vec<String>, i32, String) {
    let mut command = home.aimg(&["speech", "--json"]);
    command.envs(environment.iter().copied());
    // flite is a program of this machine.
    command.env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let ended = home.run(command);
    let lines: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
    let word = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    let lines = lines.iter().map(|line| {
        let outcome = if line["error"].is_null() { "well" } else { "failed" };
        format!("{} {} {outcome}", word(line, "provider"), word(line, "does"))
    });
    (lines.collect(), ended.code.unwrap(), ended.stdout + &ended.stderr)
}

#[test]
fn everybody_who_is_set_up_is_asked() {
    let home = Home::new();
    let address = site(|request, stream| match request.contains("uthorization: Bearer right") {
        true => respond(stream, 200, br#"{"data": [{"id": "whisper-1", "owned_by": "us"}]}"#),
        false => respond(stream, 401, br#"{"error": {"message": "no such key"}}"#),
    });
    let (url, models) = (format!("http://{address}/v1"), models_dir());
    let http = ("AIMG_SPEECH_HTTP_URL", &*url);
    let right = ("AIMG_SPEECH_HTTP_KEY", "right");
    let here = ("AIMG_SPEECH_LOCAL_MODELS_DIR", models.to_str().unwrap());
    let few = ("AIMG_SPEECH_LOCAL_WORKERS", "1");

    let (lines, code, said) = asked(&home, &[http, right, here, few]);
    assert_eq!(lines, ["http recognise well", "local recognise well", "http speak well", "flite speak well"], "{said}");
    assert!(code == 0 && said.contains("whisper-1") && said.contains("whisper-tiny.en"), "{said}");

    // One without a model that it was never asked for is no failure where another recognises.
    let (lines, code, said) = asked(&home, &[http, right, ("AIMG_SPEECH_HTTP_VOICE_MODEL", "none")]);
    assert_eq!(lines, ["http recognise well", "flite speak well", "local recognise failed"], "{said}");
    assert!(code == 0 && said.contains("aimg models pull whisper-tiny.en"), "{said}");
    let (lines, code, said) = asked(&home, &[("AIMG_SPEECH_VOICE_PROGRAM", "none")]);
    assert_eq!((lines, code), (vec!["local recognise failed".to_owned()], 66), "{said}");

    let (lines, code, said) = asked(&home, &[http, ("AIMG_SPEECH_HTTP_KEY", "wrong"), here, few]);
    assert_eq!(
        lines,
        ["http recognise failed", "local recognise well", "http speak failed", "flite speak well"],
        "{said}"
    );
    assert!(code == 77 && said.contains("no such key") && !said.contains("wrong"), "{said}");

    let nobody =
        [("RIVA_ASR_URI", "127.0.0.1:9"), ("RIVA_CONNECTION_TIMEOUT", "1"), ("AIMG_SPEECH_VOICE_PROGRAM", "/no/such")];
    let (lines, code, said) = asked(&home, &nobody);
    let expected = ["riva recognise failed", "riva speak failed", "such speak failed", "local recognise failed"];
    assert_eq!((lines, code), (expected.map(str::to_owned).to_vec(), 69), "{said}");
}

#[test]
fn a_gateway_without_the_model_runs_and_says_how_to_get_it() {
    let home = Home::new();
    let gateway = home.serve_with(|serve| {
        serve.env("RIVA_ASR_URI", "127.0.0.1:9").env("RIVA_SSL_ROOT_CERTS", "/no/such.pem");
    });
    gateway.wait_for_log("get it with `aimg models pull whisper-tiny.en`");
    // A certificate that went away costs Riva, and no captures.
    gateway.wait_for_log("/no/such.pem");
    gateway.terminate().succeeded();
}
