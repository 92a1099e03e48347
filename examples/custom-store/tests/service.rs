//! The service as it is started, with its own store.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

struct Service {
    child: Child,
    exports: HashMap<String, String>,
}

impl Service {
    fn start(data: &std::path::Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_custom-store"))
            .arg(data)
            .arg("127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let exports = lines.take(3).map(|line| {
            let line = line.unwrap();
            let (name, value) = line
                .strip_prefix("export ")
                .unwrap()
                .split_once('=')
                .unwrap();
            (name.to_owned(), value.to_owned())
        });
        let exports = exports.collect();
        Self { child, exports }
    }

    fn call(&self, to: &str, method: &str, path: &str) -> String {
        let address = self.exports[to].strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        let key = &self.exports["KEY"];
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nX-Api-Key: {key}\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_partner_is_served_until_it_is_blocked_and_again_after() {
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let service = Service::start(directory.path());
        let orders = || service.call("API", "GET", "/external/v1/orders");
        assert!(
            orders().contains(r#""partner":"partner_7""#),
            "{}",
            orders()
        );
        let blocked = service.call("OFFICE", "POST", "/partners/partner_7/block");
        assert!(blocked.starts_with("HTTP/1.1 204"), "{blocked}");
        assert!(orders().contains("token_not_active"), "{}", orders());
        let unknown = service.call("OFFICE", "POST", "/partners/partner_8/block");
        assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
        let free = service.call("OFFICE", "POST", "/partners/partner_7/unblock");
        assert!(free.starts_with("HTTP/1.1 204"), "{free}");
        assert!(orders().starts_with("HTTP/1.1 200"), "{}", orders());
    }
}
