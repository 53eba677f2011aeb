//! A program that uses the REST API.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use crate::home::Home;

const NAME: &str = "root";
const PASSWORD: &str = "correct horse battery";

/// A super admin who is logged in.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    address: SocketAddr,
    token: String,
}

impl Api {
    /// Makes the super admin; before or while the gateway runs.
    pub(crate) fn add_superuser(home: &Home) {
        let mut add = home.aimg(&["createsuperuser", "--name", NAME]);
        add.env("AIMG_SUPERUSER_PASSWORD", PASSWORD);
        home.run(add).succeeded();
    }

    /// Logs it in.
    #[track_caller]
    pub(crate) fn log_in(address: SocketAddr) -> Self {
        let nobody = Self { address, token: String::new() };
        let (status, tokens) = nobody.post("/auth/login", &json!({ "name": NAME, "password": PASSWORD }));
        assert_eq!(status, 200, "{tokens}");
        Self { address, token: tokens["access_token"].as_str().unwrap().to_owned() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// Gets; the status and the answer's JSON.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, "")
    }

    /// Puts JSON; the status and the answer's JSON.
    #[track_caller]
    pub(crate) fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("PUT", path, &body.to_string())
    }

    /// Posts JSON; the status and the answer's JSON.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, &body.to_string())
    }

    /// Does something with a call, which must be done; the answer.
    #[track_caller]
    pub(crate) fn done(&self, session: impl ToString, command: &str, body: Value) -> Value {
        let (status, answer) = self.post(&format!("/call-sessions/{}/{command}", session.to_string()), &body);
        assert_eq!(status, 200, "{command} {body}: {answer}");
        answer
    }

    /// Tries to do something with a call, which must be refused; the status, and the problem's code.
    #[track_caller]
    pub(crate) fn refused(&self, session: impl ToString, command: &str, body: Value) -> (u16, String) {
        let (status, answer) = self.post(&format!("/call-sessions/{}/{command}", session.to_string()), &body);
        assert!(status >= 400, "{command} {body}: {answer}");
        (status, answer["code"].as_str().unwrap_or_default().to_owned())
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let Self { address, token } = self;
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {answer}")))
    }
}
