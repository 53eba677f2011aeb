//! Models of the local recogniser come here whole, or not at all.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::sync::mpsc;

use serde_json::Value;

use crate::home::Home;
use crate::site::{respond, site};

/// How a model of Whisper begins in ggml's format, and how many tokens it knows.
const MODEL: &[u8] = b"lmgg\x51\xc4\0\0and so on";

/// What is in the directory of models.
fn files(home: &Home) -> Vec<String> {
    let entries = fs::read_dir(home.data("models")).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_becomes_a_model_when_it_is_whole() {
    let home = Home::new();
    let known: Vec<Value> = home.json(&["models", "list", "--json"]);
    assert_eq!(
        (&known[0]["name"], &known[0]["path"], &known[0]["is_used"]),
        (&"whisper-tiny.en".into(), &Value::Null, &true.into())
    );
    let file = home.data("../mine");
    let path = file.to_str().unwrap();
    fs::create_dir_all(home.data("")).unwrap();
    fs::write(&file, MODEL).unwrap();
    let pull = |arguments: &[&str]| home.run(home.aimg(&[&["models", "pull"], arguments].concat()));

    // The default one is known, and this is another.
    pull(&["--file", path]).failed_with(65, &["319f19e1fa0d2011", "damaged or another"]);
    pull(&["mine", "--file", path, "--sha256", "00"]).failed_with(65, &["not 00"]);
    pull(&["mine"]).failed_with(66, &["no model `mine`", "--file or --url"]);
    pull(&["Mine", "--file", path]).failed_with(64, &["model name `Mine`"]);
    pull(&["mine", "--file", "/nowhere"]).failed_with(74, &["/nowhere"]);
    pull(&["mine", "--file", path, "--url", "http://127.0.0.1/"]).failed_with(64, &["--url"]);
    fs::write(&file, "RIFF").unwrap();
    pull(&["mine", "--file", path]).failed_with(65, &["no model of Whisper in ggml's format"]);
    assert_eq!(files(&home), [""; 0]);

    fs::write(&file, MODEL).unwrap();
    let pulled = pull(&["mine", "--file", path]).succeeded();
    assert!(
        pulled.stdout.contains("model mine is here, verified") && pulled.stderr.contains("verifying"),
        "{pulled:?}"
    );
    assert_eq!(files(&home), ["mine.bin", "mine.sha256"]);
    let verified: Vec<Value> = home.json(&["models", "verify", "--json"]);
    assert_eq!((verified.len(), &verified[0]["error"]), (1, &Value::Null));
    assert!(home.run(home.aimg(&["models", "list"])).succeeded().stdout.contains("mine"));

    fs::write(home.data("models/mine.bin"), [MODEL, b"rotten"].concat()).unwrap();
    let rotten = home.run(home.aimg(&["models", "verify"])).failed_with(65, &["damaged or another"]);
    assert!(rotten.stdout.contains("mine"), "{}", rotten.stdout);
    home.run(home.aimg(&["models", "verify", "whisper-tiny.en"]))
        .failed_with(66, &["aimg models pull whisper-tiny.en"]);
}

#[test]
fn what_comes_half_from_an_address_leaves_nothing() {
    let (half_sent, half) = mpsc::channel();
    let address = site(move |request, stream| {
        if request.starts_with("GET /away") {
            return respond(stream, 404, b"");
        }
        if request.starts_with("GET /whole") {
            return respond(stream, 200, MODEL);
        }
        // Half of what it promises; then it hangs up, or hangs.
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", MODEL.len() * 2).unwrap();
        stream.write_all(MODEL).unwrap();
        if request.starts_with("GET /hangs") {
            half_sent.send(()).unwrap();
            std::thread::park();
        }
    });
    let home = Home::new();
    let pull = |path: &str| home.aimg(&["models", "pull", "mine", "--url", &format!("http://u:hush@{address}/{path}")]);
    for path in ["away", "cut"] {
        let failed = home.run(pull(path)).failed_with(69, &["cannot fetch from the address given"]);
        assert!(!failed.stderr.contains("hush"), "{}", failed.stderr);
        assert_eq!(files(&home), [""; 0], "{path}");
    }

    let pulling = pull("hangs").stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    half.recv().unwrap();
    assert!(!files(&home).is_empty(), "it writes somewhere");
    let pid = pulling.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let ended = pulling.wait_with_output().unwrap();
    assert_eq!(
        (ended.status.code(), &*String::from_utf8_lossy(&ended.stderr).replace("fetching …\n", "")),
        (Some(75), "aimg: interrupted: nothing was changed\n")
    );
    assert_eq!(files(&home), [""; 0]);

    home.run(pull("whole")).succeeded();
    assert_eq!(files(&home), ["mine.bin", "mine.sha256"]);
}
