//! The examples of `docs/api.md` work word for word: each `curl` is carried out on the router.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::Request;
use tower::ServiceExt;

use crate::api::Server;

/// Shell words of one command: quotes, and backslashes before line ends.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut open) = (Vec::new(), String::new(), false, false);
    for c in command.replace("\\\n", " ").chars() {
        match c {
            '\'' => (quoted, open) = (!quoted, true),
            c if c.is_whitespace() && !quoted => {
                if open {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            c => {
                word.push(c);
                open = true;
            }
        }
    }
    assert!(!quoted, "an open quote in {command}");
    if open {
        words.push(word);
    }
    words
}

/// The `curl` commands and here-documents of the shell blocks, in order.
fn commands(text: &str) -> (Vec<String>, HashMap<String, String>) {
    let (mut curls, mut files) = (Vec::new(), HashMap::new());
    for block in text.split("```sh\n").skip(1) {
        let mut rest = block.split("```").next().unwrap().trim_end();
        if let Some(after) = rest.strip_prefix("cat > ") {
            let (name, after) = after.split_once(" <<'END'\n").unwrap();
            let (file, after) = after.split_once("\nEND\n").unwrap();
            files.insert(name.to_owned(), file.to_owned());
            rest = after;
        }
        let starts = rest.split("\ncurl ").enumerate();
        curls.extend(starts.map(|(i, c)| match i {
            0 => c.to_owned(),
            _ => format!("curl {c}"),
        }));
    }
    (curls, files)
}

fn request_of(curl: &str, files: &HashMap<String, String>) -> Request<Body> {
    let (mut method, mut url, mut body) = ("GET".to_owned(), String::new(), None);
    let mut headers = Vec::new();
    let mut words = words(curl).into_iter().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "-s" | "-N" => {}
            "-X" => method = words.next().unwrap(),
            "-H" => headers.push(words.next().unwrap()),
            "-d" => body = words.next(),
            "--data-binary" => {
                let name = words.next().unwrap();
                body = Some(files[name.strip_prefix('@').unwrap()].clone());
            }
            other => {
                url = other
                    .strip_prefix("http://127.0.0.1:8080")
                    .unwrap()
                    .to_owned()
            }
        }
    }
    let mut request = Request::builder().method(method.as_str()).uri(url);
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    request
        .body(body.map_or_else(Body::empty, Body::from))
        .unwrap()
}

#[tokio::test]
async fn every_example_works() {
    let server = Server::start();
    let (curls, files) = commands(include_str!("../../docs/api.md"));
    assert!(curls.len() >= 20, "{curls:?}");
    for curl in curls {
        let request = request_of(&curl, &files);
        let response = server.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        if status.is_success() {
            continue;
        }
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await;
        panic!(
            "{curl}\n{status} {}",
            String::from_utf8_lossy(&body.unwrap())
        );
    }
}
