//! One operation of the HTTP interface: what the router, the check of roles, the audit log and the
//! OpenAPI document are made of, so that they agree.
//!
//! [`Routes::add`] takes an operation with its handler. Readers of queries and bodies are plain
//! functions over [`Query`] and [`Fields`], named here so that they describe themselves.
//!
//! Every operation has an example, which the document shows and a test carries out, in the order of
//! the document and deletes last, in reverse. Ids in paths have examples by their names; a body
//! needs one: `.example(json!({…}))`. An id that the server makes up is taken from the answer that
//! has a field of its name, and stands from then on wherever its documented example stood.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::http::{Method, StatusCode};
use axum::routing::{MethodFilter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use super::input::{Fields, Query};
use crate::app::App;
use crate::bug;

/// What a caller needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    /// Nothing: no authentication either.
    Open,
    Read,
    Write,
    /// The role `admin`.
    Admin,
}

/// What a request carries.
#[derive(Debug, Clone, Copy)]
pub enum RequestBody {
    None,
    /// A JSON object, read by this.
    Json(fn(&Fields<'_>)),
    /// The same; it may be left out.
    MaybeJson(fn(&Fields<'_>)),
    /// Bytes of one of these media types.
    Bytes(&'static [&'static str]),
    /// `multipart/form-data` with one file, in the part of this name.
    File(&'static str),
}

/// What a successful answer carries.
#[derive(Debug, Clone, Copy)]
pub enum AnswerBody {
    None,
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// Anything of this media type.
    Bytes(&'static str),
}

/// A request that works, as far as it can't be made up from the declaration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Example {
    /// Where the value by the parameter's name does not do.
    pub path: Vec<(&'static str, &'static str)>,
    pub query: Vec<(&'static str, &'static str)>,
    pub body: Option<ExampleBody>,
    /// Bodies of further media types.
    pub texts: Vec<(&'static str, &'static str)>,
}

/// The body of an example.
#[derive(Debug, Clone, PartialEq)]
pub enum ExampleBody {
    Json(Value),
    /// The bytes, or the content of the file.
    Text(&'static str),
}

/// A request header that an operation looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderParameter {
    pub name: &'static str,
    pub description: &'static str,
}

/// One method on one path.
#[derive(Debug, Clone)]
pub struct Operation {
    pub method: Method,
    /// As the router takes it: `/v5/iot/{project_id}/devices/{device_id}`.
    pub path: &'static str,
    /// Unique; the SDK's name of it where there is one: `show_device`.
    pub id: &'static str,
    pub summary: &'static str,
    /// The feature that the document files it under.
    pub tag: Option<&'static str>,
    pub access: Access,
    /// A `token` in its query, which its handler judges, stands for the caller.
    pub by_link: bool,
    /// A write that the audit log holds: all that change something.
    pub is_audited: bool,
    pub query: Option<fn(&Query<'_>)>,
    pub headers: Vec<HeaderParameter>,
    pub request: RequestBody,
    /// Successful answers.
    pub answers: Vec<(StatusCode, AnswerBody)>,
    /// Statuses of its own errors, beside those that every operation has.
    pub errors: Vec<StatusCode>,
    pub example: Example,
}

impl Operation {
    fn new(method: Method, path: &'static str, id: &'static str, summary: &'static str) -> Self {
        let reads = method == Method::GET;
        Self {
            access: if reads { Access::Read } else { Access::Write },
            is_audited: !reads,
            by_link: false,
            method,
            path,
            id,
            summary,
            tag: None,
            query: None,
            headers: Vec::new(),
            request: RequestBody::None,
            answers: Vec::new(),
            errors: Vec::new(),
            example: Example::default(),
        }
    }

    pub fn get(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::GET, path, id, summary)
    }

    pub fn post(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::POST, path, id, summary)
    }

    pub fn put(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::PUT, path, id, summary)
    }

    pub fn delete(path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self::new(Method::DELETE, path, id, summary)
    }

    /// A `POST` that changes nothing.
    #[must_use]
    pub const fn reads(mut self) -> Self {
        self.access = Access::Read;
        self.is_audited = false;
        self
    }

    #[must_use]
    pub const fn access(mut self, access: Access) -> Self {
        self.access = access;
        self
    }

    /// A `token` in its query, which its handler judges, stands for the caller.
    #[must_use]
    pub const fn by_link(mut self) -> Self {
        self.by_link = true;
        self
    }

    #[must_use]
    pub const fn query(mut self, reader: fn(&Query<'_>)) -> Self {
        self.query = Some(reader);
        self
    }

    #[must_use]
    pub const fn body(mut self, reader: fn(&Fields<'_>)) -> Self {
        self.request = RequestBody::Json(reader);
        self
    }

    #[must_use]
    pub const fn maybe_body(mut self, reader: fn(&Fields<'_>)) -> Self {
        self.request = RequestBody::MaybeJson(reader);
        self
    }

    #[must_use]
    pub const fn bytes(mut self, media: &'static [&'static str]) -> Self {
        self.request = RequestBody::Bytes(media);
        self
    }

    /// A form with one file, in the part of this name.
    #[must_use]
    pub const fn file(mut self, part: &'static str) -> Self {
        self.request = RequestBody::File(part);
        self
    }

    /// A request header that it looks at.
    #[must_use]
    pub fn header(mut self, name: &'static str, description: &'static str) -> Self {
        self.headers.push(HeaderParameter { name, description });
        self
    }

    #[must_use]
    pub fn answers<T: JsonSchema>(mut self, status: StatusCode) -> Self {
        let schema = |generator: &mut SchemaGenerator| generator.subschema_for::<T>();
        self.answers.push((status, AnswerBody::Json(schema)));
        self
    }

    #[must_use]
    pub fn answers_bytes(mut self, status: StatusCode, media: &'static str) -> Self {
        self.answers.push((status, AnswerBody::Bytes(media)));
        self
    }

    #[must_use]
    pub fn answers_nothing(mut self, status: StatusCode) -> Self {
        self.answers.push((status, AnswerBody::None));
        self
    }

    #[must_use]
    pub fn fails(mut self, statuses: &[StatusCode]) -> Self {
        self.errors.extend_from_slice(statuses);
        self
    }

    /// The feature that the document files it under, where it is not that of its [`Routes`].
    #[must_use]
    pub const fn tag(mut self, tag: &'static str) -> Self {
        self.tag = Some(tag);
        self
    }

    /// A JSON body that works.
    #[must_use]
    pub fn example(mut self, body: Value) -> Self {
        self.example.body = Some(ExampleBody::Json(body));
        self
    }

    /// Bytes, or the content of a file, that work.
    #[must_use]
    pub fn example_text(mut self, body: &'static str) -> Self {
        self.example.body = Some(ExampleBody::Text(body));
        self
    }

    /// The same for another media type than the first.
    #[must_use]
    pub fn example_text_as(mut self, media: &'static str, body: &'static str) -> Self {
        self.example.texts.push((media, body));
        self
    }

    /// A query that works: names and values. Without, the query is left out, but for a parameter
    /// that must be there and takes one word.
    #[must_use]
    pub fn example_query(mut self, pairs: &[(&'static str, &'static str)]) -> Self {
        self.example.query.extend_from_slice(pairs);
        self
    }

    /// Values of the path for this operation, where those by name do not do.
    #[must_use]
    pub fn example_path(mut self, pairs: &[(&'static str, &'static str)]) -> Self {
        self.example.path.extend_from_slice(pairs);
        self
    }
}

/// Operations with their handlers, in the making.
#[derive(Default)]
pub struct Routes {
    router: Router<App>,
    operations: Vec<Operation>,
    tag: Option<&'static str>,
}

impl Routes {
    /// Of one feature: all operations get its tag.
    pub fn tagged(tag: &'static str) -> Self {
        Self {
            tag: Some(tag),
            ..Self::default()
        }
    }

    #[must_use]
    pub fn add<H, T>(mut self, mut operation: Operation, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        match MethodFilter::try_from(operation.method.clone()) {
            Ok(method) => {
                operation.tag = operation.tag.or(self.tag);
                self.router = self.router.route(operation.path, on(method, handler));
                self.operations.push(operation);
            }
            Err(_) => bug!("{} has a method that can't be routed", operation.id),
        }
        self
    }

    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.operations.extend(other.operations);
        self
    }

    /// The router, and all its operations.
    pub fn build(self) -> (Router<App>, Operations) {
        let mut by_path: HashMap<&'static str, Vec<usize>> = HashMap::new();
        for (at, operation) in self.operations.iter().enumerate() {
            by_path.entry(operation.path).or_default().push(at);
        }
        let operations = Operations {
            by_path: Arc::new(by_path),
            all: self.operations.into(),
        };
        (self.router, operations)
    }
}

/// Every operation that is served. Clones share them.
#[derive(Debug, Clone)]
pub struct Operations {
    all: Arc<[Operation]>,
    by_path: Arc<HashMap<&'static str, Vec<usize>>>,
}

impl Operations {
    /// In order of their making.
    pub fn all(&self) -> &[Operation] {
        &self.all
    }

    /// The operation of a matched path.
    pub fn find(&self, path: &str, method: &Method) -> Option<&Operation> {
        let places = self.by_path.get(path)?.iter();
        let mut here = places.filter_map(|at| self.all.get(*at));
        here.find(|operation| operation.method == *method)
    }
}
