"use strict";
// Shows openapi.json and sends requests to the server that it came from. Text of the document is
// only ever put in as text.

const byId = (id) => document.getElementById(id);
const SHOWN_MAX = 200000;
let api;

function make(tag, options = {}, ...children) {
  const { text, class: names, ...rest } = options;
  const made = Object.assign(document.createElement(tag), rest);
  if (names) made.className = names;
  if (text !== undefined) made.textContent = text;
  made.append(...children);
  return made;
}

function resolve(value) {
  if (!value || !value.$ref) return value;
  return value.$ref.slice(2).split("/").reduce((at, name) => at[name], api);
}

// What a schema takes, in a line.
function rules(schema) {
  const { type, items, pattern, minimum, maximum, minLength, maxLength, maxItems } = schema;
  const words = [];
  const kinds = [].concat(type ?? (schema.anyOf ? [] : "anything"));
  for (const one of schema.anyOf ?? []) kinds.push(...[].concat(resolve(one).type ?? "anything"));
  const inner = items && items !== true ? [].concat(resolve(items).type ?? "anything") : null;
  words.push(kinds.map((k) => (k === "array" && inner ? `list of ${inner.join(" or ")}` : k)).join(" or "));
  if (schema.enum) words.push(`one of ${schema.enum.map((w) => JSON.stringify(w)).join(", ")}`);
  if (minimum !== undefined || maximum !== undefined) words.push(`${minimum ?? ""} to ${maximum ?? ""}`);
  if (maxLength !== undefined) words.push(`${minLength ?? 0} to ${maxLength} characters`);
  if (maxItems !== undefined) words.push(`up to ${maxItems}`);
  if (pattern) words.push(pattern);
  return words.join("; ");
}

// The object inside a schema: through references, lists and choices.
function objectIn(schema) {
  const found = resolve(schema);
  if (!found || found === true) return null;
  if (found.properties) return found;
  if (found.items) return objectIn(found.items);
  for (const one of found.anyOf ?? []) {
    const inner = objectIn(one);
    if (inner) return inner;
  }
  return null;
}

function fieldsOf(schema, above = []) {
  const list = make("ul", { class: "fields" });
  const object = objectIn(schema);
  if (!object || above.includes(object)) {
    list.append(make("li", { class: "rule", text: rules(resolve(schema) ?? {}) }));
    return list;
  }
  for (const [name, field] of Object.entries(object.properties)) {
    const known = field === true ? {} : { ...resolve(field), ...field };
    const needed = (object.required ?? []).includes(name);
    const item = make("li", {}, make("code", { text: name, class: needed ? "needed" : "" }));
    item.append(" ", make("span", { class: "rule", text: rules(known) }));
    if (known.description) item.append(" ", make("span", { class: "note", text: known.description }));
    if (objectIn(field) && field !== true) item.append(fieldsOf(field, [...above, object]));
    list.append(item);
  }
  return list;
}

const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

function parameterTable(parameters) {
  const inputs = [];
  const table = make("table");
  for (const parameter of parameters) {
    const { name, example, required, description, schema } = parameter;
    const input = make("input", { value: example === undefined ? "" : shown(example) });
    input.setAttribute("aria-label", name);
    inputs.push({ parameter, input });
    const title = make("td", {}, make("code", { text: name, class: required ? "needed" : "" }));
    title.append(make("div", { class: "note", text: parameter.in }));
    const says = make("td", {}, make("div", { text: description ?? "" }));
    says.append(make("div", { class: "rule", text: rules(schema) }));
    table.append(make("tr", {}, title, make("td", {}, input), says));
  }
  return { table, inputs };
}

// The request that the form describes.
function requestOf(method, path, inputs, media, body) {
  const headers = {};
  const query = new URLSearchParams();
  for (const { parameter, input } of inputs) {
    const value = input.value;
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value === "") continue;
    else if (parameter.in === "query") query.append(parameter.name, value);
    else headers[parameter.name] = value;
  }
  const token = byId("token").value;
  if (token) headers["X-Auth-Token"] = token;
  const request = { method: method.toUpperCase(), headers };
  if (body && media === "multipart/form-data") {
    const form = new FormData();
    for (const [part, text] of Object.entries(JSON.parse(body))) {
      form.append(part, new Blob([text]), `${part}.csv`);
    }
    request.body = form;
  } else if (body) {
    headers["Content-Type"] = media;
    request.body = body;
  }
  const asked = query.toString();
  return { url: asked ? `${path}?${asked}` : path, request };
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function curlOf(url, { method, headers, body }) {
  const words = ["curl", "-X", method, quoted(location.origin + url)];
  for (const [name, value] of Object.entries(headers)) {
    const told = name === "X-Auth-Token" ? "$TOKEN" : value;
    words.push("-H", name === "X-Auth-Token" ? `"${name}: ${told}"` : quoted(`${name}: ${told}`));
  }
  if (typeof body === "string") words.push("--data-binary", quoted(body));
  return words.join(" ");
}

// Sends, and shows what comes as it comes: a stream has no end.
async function send(form, output, stop) {
  const status = make("p");
  const text = make("pre");
  output.replaceChildren(status, text);
  const abort = new AbortController();
  stop.onclick = () => abort.abort();
  stop.hidden = false;
  const began = performance.now();
  try {
    const { url, request } = form();
    output.prepend(make("pre", { text: curlOf(url, request) }));
    const response = await fetch(url, { ...request, signal: abort.signal });
    status.className = response.ok ? "good" : "bad";
    const took = Math.round(performance.now() - began);
    const id = response.headers.get("x-request-id") ?? "";
    status.textContent = `${response.status} ${response.statusText} in ${took} ms, request ${id}`;
    const decoder = new TextDecoder();
    const reader = response.body?.getReader();
    let came = "";
    while (reader && came.length < SHOWN_MAX) {
      const { done, value } = await reader.read();
      if (done) break;
      came += decoder.decode(value, { stream: true });
      text.textContent = came;
    }
    if (came.length >= SHOWN_MAX) abort.abort();
    if ((response.headers.get("content-type") ?? "").startsWith("application/json") && came) {
      text.textContent = JSON.stringify(JSON.parse(came), null, 2);
    }
  } catch (error) {
    if (error.name !== "AbortError") {
      status.className = "bad";
      status.textContent = String(error);
    }
  } finally {
    stop.hidden = true;
  }
}

function inside(method, path, operation) {
  const box = make("div", { class: "inside" });
  box.append(make("p", { class: "note", text: `${operation.operationId}. ${operation.description ?? ""}` }));
  const { table, inputs } = parameterTable(operation.parameters ?? []);
  if (inputs.length) box.append(make("h3", { text: "Parameters" }), table);
  let body;
  let media;
  if (operation.requestBody) {
    const content = operation.requestBody.content;
    media = Object.keys(content)[0];
    const { example, schema } = content[media];
    const needed = operation.requestBody.required ? "" : ", may be left out";
    box.append(make("h3", { text: `Body: ${media}${needed}` }));
    const value = example === undefined ? "" : shown(example);
    body = make("textarea", { value, rows: Math.min(16, value.split("\n").length + 1), spellcheck: false });
    body.setAttribute("aria-label", "Body");
    const about = make("details", {}, make("summary", { text: "Fields" }), fieldsOf(schema));
    box.append(body, about);
  }
  const output = make("div");
  const go = make("button", { type: "button", text: "Send" });
  const stop = make("button", { type: "button", text: "Stop", hidden: true });
  const form = () => requestOf(method, path, inputs, media, body?.value);
  go.onclick = () => send(form, output, stop);
  box.append(make("p", {}, go, " ", stop), output, make("h3", { text: "Answers" }));
  for (const [status, reference] of Object.entries(operation.responses)) {
    const response = resolve(reference);
    const line = make("summary", {}, make("code", { text: status }), ` ${response.description}`);
    const details = make("details", {}, line);
    for (const [kind, { schema }] of Object.entries(response.content ?? {})) {
      details.append(make("div", { class: "note", text: kind }), fieldsOf(schema));
    }
    box.append(details);
  }
  return box;
}

function entry(method, path, operation) {
  const summary = make("summary", {}, make("span", { class: `method ${method}`, text: method.toUpperCase() }));
  summary.append(make("span", { class: "path", text: path }), make("span", { text: operation.summary }));
  const details = make("details", { class: "operation", id: operation.operationId }, summary);
  details.dataset.words = `${method} ${path} ${operation.operationId} ${operation.summary}`.toLowerCase();
  // Built when it is first opened: a hundred forms at once are slow.
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(inside(method, path, operation));
  });
  return details;
}

function show(found) {
  api = found;
  byId("version").textContent = api.info.version;
  byId("about").textContent = api.info.description;
  const sections = new Map();
  for (const { name } of api.tags) {
    const title = make("h2", { text: name, id: `tag-${name}` });
    const section = make("section", {}, title);
    sections.set(name, section);
    byId("operations").append(section);
    byId("tags").append(make("a", { href: `#tag-${name}`, text: name }));
  }
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      sections.get(operation.tags[0]).append(entry(method, path, operation));
    }
  }
  const asked = byId(decodeURIComponent(location.hash.slice(1)));
  if (asked instanceof HTMLDetailsElement) asked.open = true;
  asked?.scrollIntoView();
}

byId("find").addEventListener("input", ({ target }) => {
  const wanted = target.value.toLowerCase();
  for (const section of document.querySelectorAll("section")) {
    const all = [...section.querySelectorAll("details.operation")];
    for (const one of all) one.hidden = !one.dataset.words.includes(wanted);
    section.hidden = all.every((one) => one.hidden);
  }
});

fetch("openapi.json")
  .then((response) => response.json())
  .then(show)
  .catch((error) => { byId("about").textContent = `openapi.json can't be read: ${error}`; });
