//! A server that breaks off anywhere.

use std::net::SocketAddr;

use strait::cli::tail::{Endpoint, Start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::hear;

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
/// Of a body that is promised and does not come whole.
const CUT: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99999\r\n\r\n";
/// A refusal as a server of ours words it.
fn refusal(status: &str, message: &str) -> String {
    let body = format!("{{\"error_code\":\"x\",\"error_msg\":\"{message}\"}}");
    let len = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {len}\r\n\r\n{body}")
}

/// Answers one connection after the other, each with these bytes, and closes it; what the requests
/// asked for: path, `Last-Event-ID`, token.
async fn serve(listener: TcpListener, answers: &[String]) -> Vec<String> {
    let mut asked = Vec::new();
    for answer in answers {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let field = |name: &str| {
            let mut lines = head.lines();
            lines
                .find_map(|l| l.strip_prefix(name))
                .unwrap_or("-")
                .to_owned()
        };
        let path = field("GET ");
        let path = path.split(' ').next().unwrap();
        let (last, token) = (field("last-event-id: "), field("x-auth-token: "));
        asked.push(format!("{path} {last} {token}"));
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
    asked
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test]
async fn nothing_is_lost_or_doubled_over_connections_that_break() {
    let (listener, address) = listen().await;
    let event = |data: &str, id: Option<u64>| {
        let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
        format!("event: a.b\ndata: {data}\n{id}\n")
    };
    let (b1, b2, b3) = (event("b1", None), event("b2", None), event("b3", Some(7)));
    let answers = [
        // Gone before the first event: the next one begins where this one did.
        format!("{STREAM}: from 5\n\n"),
        format!("{CUT}: from 5\n\n{}{b1}", event("a", Some(6))),
        // Of what had no id, all comes again.
        format!("{STREAM}: from 6\n\n{b1}{b2}"),
        refusal("503 Service Unavailable", "come later"),
        // Within an event.
        format!("{CUT}: from 6\n\n{b1}{b2}{}", &b3[..b3.len() - 1]),
        String::new(),
        format!("{STREAM}: from 6\n\n{b1}{b2}{b3}: events 8 to 9 are no longer kept\n\n"),
        // An older backup was restored.
        format!("{STREAM}: from 3\n\n{}", event("c", Some(4))),
        refusal("401 Unauthorized", "who are you then"),
    ];
    let url = format!("http://{address}/base");
    let endpoint = Endpoint::new(&url, None, None).ok().unwrap();
    let hearing = hear(&endpoint, Start::Now, usize::MAX);
    let (asked, (told, outcome)) = tokio::join!(serve(listener, &answers), hearing);
    assert_eq!(told.events, ["a", "b1", "b2", "b3", "c"]);
    let last = ["-", "5", "6", "6", "6", "6", "6", "7", "4"];
    let want = last.map(|last| format!("/base/v1/events {last} -"));
    assert_eq!(asked, want);
    let refused = outcome.unwrap_err();
    assert_eq!(refused.kind(), "refused");
    assert_eq!(
        refused.to_string(),
        format!("{url} answered 401: who are you then")
    );
    let notes = told.notes.join("\n");
    for said in [
        "the server ended the stream",
        "answered 503: come later",
        "connected again",
        "events 8 to 9 are no longer kept",
        "the newest event of the server is 3 and not yet 7",
        "; again in 0.0 s",
    ] {
        assert!(notes.contains(said), "{said}\n{notes}");
    }
}

#[tokio::test]
async fn what_is_no_stream_of_events_is_told_at_once() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi";
    let full = refusal("503 Service Unavailable", "come later");
    let moved = "HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n";
    let cases = [
        (ok, "refused", "answers no events; is this a Strait server?"),
        (moved, "refused", "answered 302"),
        (
            &full,
            "unreachable",
            "can't be followed: answered 503: come later",
        ),
        ("SSH-2.0-nonsense\r\n", "unreachable", "can't be followed: "),
        ("", "unreachable", "can't be followed: "),
    ];
    for (answer, kind, said) in cases {
        let (listener, address) = listen().await;
        let endpoint = Endpoint::new(&format!("http://{address}"), None, None).ok();
        let endpoint = endpoint.unwrap();
        let answers = [answer.to_owned()];
        let hearing = hear(&endpoint, Start::After(0), 1);
        let (_, (told, outcome)) = tokio::join!(serve(listener, &answers), hearing);
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), kind, "{answer}");
        assert!(error.to_string().contains(said), "{answer}: {error}");
        assert!(told.events.is_empty() && told.notes.is_empty());
    }
    let (listener, address) = listen().await;
    drop(listener);
    let endpoint = Endpoint::new(&format!("http://{address}"), None, None)
        .ok()
        .unwrap();
    let (_, outcome) = hear(&endpoint, Start::Now, 1).await;
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
}

#[tokio::test]
async fn an_endless_event_ends_it() {
    let (listener, address) = listen().await;
    let endpoint = Endpoint::new(&format!("http://{address}"), None, None)
        .ok()
        .unwrap();
    let flood = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(STREAM.as_bytes()).await.unwrap();
        let piece = vec![b'x'; 64 * 1024];
        // Until nobody reads it any more.
        while stream.write_all(&piece).await.is_ok() {}
    };
    let ((), (_, outcome)) = tokio::join!(flood, hear(&endpoint, Start::Now, 1));
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), "feed", "{error}");
}
