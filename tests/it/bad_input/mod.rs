//! Requests made from what the API reference lists: each field and query parameter of the wrong
//! type, missing, null, empty, at and over its limit, with an illegal character, outside its words.
//!
//! A [`Call`] says what an operation takes; [`check`] sends everything that it does not, and compares
//! the answers and what the server holds before and after. Whoever adds an operation adds a call.

use axum::http::Method;
use serde_json::{Value, json};
use strait::store::Store;

use crate::api::Server;

mod batch;
mod catalog;
mod forwarding;
mod own;
mod query;
pub(crate) mod router;
mod values;

pub(crate) use query::{APP, INVALID, PAGE, text, time, word};
pub(crate) use values::Takes;
use values::{bad_values, good_values};

/// One field of a body, or one query parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// In the body: `/auth_info/secret`; of a query the name.
    pub(crate) place: &'static str,
    pub(crate) takes: Takes,
    pub(crate) needed: bool,
}

pub(crate) const fn needed(place: &'static str, takes: Takes) -> Field {
    Field {
        place,
        takes,
        needed: true,
    }
}

pub(crate) const fn optional(place: &'static str, takes: Takes) -> Field {
    Field {
        place,
        takes,
        needed: false,
    }
}

/// An operation, a request that it takes, and what it takes.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Without `?`.
    pub(crate) query: &'static str,
    /// `None`: it takes no body.
    pub(crate) body: Option<Value>,
    pub(crate) body_fields: Vec<Field>,
    pub(crate) query_fields: Vec<QueryField>,
}

/// A query parameter with values that are refused: code and value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueryField {
    pub(crate) name: &'static str,
    pub(crate) bad: &'static [(&'static str, &'static str)],
    /// Values at its limits.
    pub(crate) good: &'static [&'static str],
}

/// One request and what must come of it.
struct Case {
    about: String,
    query: String,
    body: Option<Value>,
    /// `None`: this field is not refused.
    refused: Option<&'static str>,
    /// What the message must name.
    named: String,
}

/// Sends everything that the calls don't take; tells every answer that is not as it should be.
pub(crate) async fn check(server: &Server, calls: &[Call]) {
    let mut failures = Vec::new();
    let mut count = 0;
    for call in calls {
        for case in cases(call) {
            count += 1;
            let before = holds(server);
            let answer = server
                .call(
                    call.method.clone(),
                    &url(call, &case.query),
                    case.body.as_ref(),
                )
                .await;
            let (status, code, message) = answer.error();
            let fits = match case.refused {
                Some(want) => status == 400 && code == want && message.contains(&case.named),
                // Something else may be wrong with a value at its limit, this field is not.
                None => {
                    // What the model lacks is not the form of a field.
                    let form = ["has ", "got ", "is "].map(|word| format!("{}{word}", case.named));
                    let is_form = form.iter().any(|start| message.contains(start));
                    status < 500 && (!is_form || what_is_there(message))
                }
            };
            if !fits {
                failures.push(format!(
                    "{} {} {}: {status} {code} {message:.200}\n  want {:?} {:?}",
                    call.method, call.path, case.about, case.refused, case.named
                ));
            }
            if case.refused.is_some() && holds(server) != before {
                failures.push(format!("{} {}: changed something", call.path, case.about));
            }
        }
    }
    assert!(count > 0, "nothing was sent");
    assert!(
        failures.is_empty(),
        "{} of {count}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// The product model lacks it, which is not a matter of its form.
fn what_is_there(message: &str) -> bool {
    message.contains("the model has") || message.contains("service Flow has")
}

fn url(call: &Call, query: &str) -> String {
    match query {
        "" => call.path.clone(),
        query => format!("{}?{query}", call.path),
    }
}

/// All that a request could change.
pub(crate) fn holds(server: &Server) -> String {
    let store = &server.store;
    let mut devices = Vec::new();
    store
        .each_device(&mut |device, state| {
            devices.push(format!("{device:?} {state:?}"));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    devices.sort_unstable();
    let (groups, products) = (store.groups().unwrap(), store.products().unwrap());
    let (apps, last) = (store.apps().unwrap(), store.last_event());
    let own = products.iter().map(|product| {
        let id = &product.product_id;
        (store.codec(id).unwrap(), store.settings(id).unwrap())
    });
    let own: Vec<_> = own.collect();
    // Tasks go on by themselves: which there are is what counts.
    let tasks = store.tasks().unwrap();
    let tasks: Vec<_> = tasks.iter().map(|task| &task.task_id).collect();
    let files = store.files().unwrap();
    let certificates = store.certificates().unwrap();
    let forwarding = store.forwarding().unwrap();
    format!(
        "{devices:?} {groups:?} {products:?} {own:?} {apps:?} {tasks:?} {files:?} \
         {certificates:?} {forwarding:?} {last}"
    )
}

fn cases(call: &Call) -> Vec<Case> {
    let mut cases = Vec::new();
    for field in &call.query_fields {
        let with = |value: &str| {
            let others = call
                .query
                .split('&')
                .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(field.name));
            let mut pairs: Vec<String> = others.map(str::to_owned).collect();
            pairs.push(format!("{}={value}", field.name));
            pairs.join("&")
        };
        let case = |value: &str, refused| Case {
            about: format!("{}={value:.60}", field.name),
            query: with(value),
            body: call.body.clone(),
            refused,
            named: format!("{}: ", field.name),
        };
        cases.extend(
            field
                .bad
                .iter()
                .map(|(code, value)| case(value, Some(*code))),
        );
        cases.extend(field.good.iter().map(|value| case(value, None)));
        if call.query.contains(&format!("{}=", field.name)) {
            // It stands in the query that works, so it must be there.
            let others = call.query.split('&');
            let others = others.filter(|pair| pair.split('=').next() != Some(field.name));
            cases.push(Case {
                about: format!("{} absent", field.name),
                query: others.collect::<Vec<_>>().join("&"),
                ..case("", Some(INVALID))
            });
        }
        let twice = field.good.first().copied().unwrap_or("a");
        cases.push(Case {
            query: format!("{}&{}={twice}", with(twice), field.name),
            about: format!("{} twice", field.name),
            ..case(twice, Some(INVALID))
        });
    }
    let Some(body) = &call.body else {
        return cases;
    };
    let case = |about: String, body: Value, refused, named: &str| Case {
        about,
        query: call.query.to_owned(),
        body: Some(body),
        refused,
        named: named.to_owned(),
    };
    for wrong in [json!([]), json!("x"), json!(1), json!(true), json!(null)] {
        cases.push(case(
            format!("body {wrong}"),
            wrong,
            Some(INVALID),
            "body: got ",
        ));
    }
    let refused = call.path.starts_with("/v1/").then_some(INVALID);
    let unknown = put(body, "/nonsense", Some(json!(1)));
    cases.push(case("unknown".into(), unknown, refused, "nonsense: "));
    for field in &call.body_fields {
        let name = path_of(field.place);
        let named = format!("{name}: ");
        let mut push = |about: &str, value: Option<Value>, refused: Option<&'static str>| {
            let changed = put(body, field.place, value);
            cases.push(case(format!("{name} {about}"), changed, refused, &named));
        };
        let is_needed = field.needed.then_some(INVALID);
        push("absent", None, is_needed);
        push("null", Some(Value::Null), is_needed);
        for (about, value) in bad_values(field.takes) {
            push(about, Some(value), Some(INVALID));
        }
        for (about, value) in good_values(field.takes) {
            push(about, Some(value), None);
        }
    }
    cases
}

/// `/shadow/0/service_id` as errors name it: `shadow[0].service_id`.
fn path_of(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        match part.parse::<usize>() {
            Ok(at) => path.push_str(&format!("[{at}]")),
            Err(_) if path.is_empty() => path.push_str(part),
            Err(_) => path.push_str(&format!(".{part}")),
        }
    }
    path
}

/// The body with one field changed or taken away; what leads to it is made.
fn put(body: &Value, pointer: &str, value: Option<Value>) -> Value {
    let mut changed = body.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    if let Some(top) = parent.strip_prefix('/').filter(|top| !top.contains('/'))
        && changed[top].is_null()
    {
        changed[top] = json!({});
    }
    let parent = changed.pointer_mut(parent).unwrap();
    match (parent, value) {
        (Value::Object(map), Some(value)) => drop(map.insert(name.to_owned(), value)),
        (Value::Object(map), None) => drop(map.shift_remove(name)),
        (Value::Array(list), value) => list[name.parse::<usize>().unwrap()] = value.into(),
        (other, _) => panic!("{pointer}: nothing to change in {other}"),
    }
    changed
}

/// A call without fields to change.
pub(crate) fn call(method: Method, path: &str, body: Option<Value>) -> Call {
    Call {
        method,
        path: path.to_owned(),
        query: "",
        body,
        body_fields: Vec::new(),
        query_fields: Vec::new(),
    }
}
