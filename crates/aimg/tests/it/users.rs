//! Users are added, changed and shut out from the command line.

use serde_json::{Value, json};

use crate::home::Home;

const USAGE: i32 = 64;

const PASSWORD: &str = "correct horse battery";

#[test]
fn users_come_and_go_by_the_command_line() {
    let home = Home::new();
    home.run(home.aimg(&["tenant", "add", "acme"])).succeeded();
    let user = |words: &[&str], password: &str| {
        let mut command = home.aimg(&[&["user"], words, &["--json"]].concat());
        command.env("AIMG_USER_PASSWORD", password);
        home.run(command)
    };
    let json = |words: &[&str]| -> Value { serde_json::from_str(&user(words, PASSWORD).succeeded().stdout).unwrap() };

    let ann = json(&["add", "ann", "--tenant", "acme"]);
    assert_eq!((&ann["name"], &ann["role"], &ann["enabled"]), (&json!("ann"), &json!("viewer"), &json!(true)));
    user(&["add", "ann", "--tenant", "acme"], PASSWORD).failed_with(USAGE, &["ann", "exists already"]);
    user(&["add", "bob", "--tenant", "acme"], "short").failed_with(USAGE, &["shorter than 10 characters"]);
    user(&["add", "bob", "--tenant", "nobody"], PASSWORD).failed_with(66, &["nobody"]);
    user(&["add", "bob", "--tenant", "acme", "--role", "super_admin"], PASSWORD).failed_with(USAGE, &["super_admin"]);
    assert_eq!(json(&["set-role", "ann", "operator"])["role"], "operator");
    assert_eq!(json(&["disable", "ann"])["enabled"], false);
    assert_eq!(json(&["enable", "ann"])["enabled"], true);
    user(&["set-password", "ann"], "another horse battery").succeeded();
    let users = json(&["list", "--tenant", "acme"]);
    assert_eq!(users.as_array().unwrap().len(), 1, "{users}");
    assert!(!users.to_string().contains("argon2"), "{users}");
    let shown = home.run(home.aimg(&["user", "list"])).succeeded().stdout;
    assert!(shown.contains("acme") && shown.contains("operator") && shown.contains("never"), "{shown}");
}
