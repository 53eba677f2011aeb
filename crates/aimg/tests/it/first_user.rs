//! The first user: by the link that a first start prints, or by `aimg createsuperuser`.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::gateway::Gateway;
use crate::home::Home;

const PASSWORD: &str = "correct horse battery";
const USAGE: i32 = 64;

/// Posts JSON; a runtime of its own, because the stories here are told in plain threads.
fn post(url: &str, body: Value) -> (StatusCode, Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.post(url).json(&body).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    })
}

fn log_in(gateway: &Gateway, name: &str) -> (StatusCode, Value) {
    let url = format!("http://{}/api/v1/auth/login", gateway.http());
    post(&url, json!({ "name": name, "password": PASSWORD }))
}

#[test]
fn a_first_start_prints_a_link_that_works_once() {
    let home = Home::new();
    let gateway = home.serve();
    let link = gateway.set_up_link().expect("there is no user");
    let (page, token) = link.split_once('#').unwrap();
    assert_eq!(page, format!("http://{}/setup", gateway.http()));
    let set_up = || {
        let body = json!({ "token": token, "name": "root", "password": PASSWORD });
        post(&format!("http://{}/api/v1/auth/setup", gateway.http()), body)
    };
    assert_eq!(set_up().0, StatusCode::CREATED);
    assert_eq!(set_up().0, StatusCode::UNAUTHORIZED);
    assert_eq!(log_in(&gateway, "root").0, StatusCode::OK);
    assert!(!gateway.log().contains(token), "no log tells it");
    drop(gateway);
    let gateway = home.serve();
    assert_eq!(log_in(&gateway, "root").0, StatusCode::OK, "also after a restart");
    assert_eq!(gateway.set_up_link(), None, "there is a user");
}

#[test]
fn createsuperuser_asks_nothing_where_nobody_can_answer() {
    let home = Home::new();
    let create = |password: &str| {
        let mut command = home.aimg(&["createsuperuser", "--name", "root", "--json"]);
        command.env("AIMG_SUPERUSER_PASSWORD", password);
        home.run(command)
    };
    create("short").failed_with(USAGE, &["shorter than 10 characters"]);
    let made: Value = serde_json::from_str(&create(PASSWORD).succeeded().stdout).unwrap();
    assert_eq!((made["name"].as_str(), made["role"].as_str()), (Some("root"), Some("super_admin")));
    create(PASSWORD).failed_with(USAGE, &["root", "exists already"]);
    home.run(home.aimg(&["createsuperuser"])).failed_with(USAGE, &["password", "AIMG_SUPERUSER_PASSWORD"]);
    let gateway = home.serve();
    let (status, tokens) = log_in(&gateway, "root");
    assert_eq!((status, tokens["user"]["role"].as_str()), (StatusCode::OK, Some("super_admin")));
}
