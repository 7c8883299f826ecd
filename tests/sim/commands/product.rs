//! The products of these scenes, and what their devices make of commands.
//!
//! ```text
//! down  id  [mid u16]  n u32  [text]      id 81 SET, 82 FIRE (never answered), 83 BIG
//! up    91  [mid u16]  code u8  n u32     code 0: done, 1: not
//!       01 / 02  volume u32               a report; 02: more follows
//! ```
//! `n` is a command's own number, so that each message tells whose it is. Of product `m` messages carry
//! a mid, of product `o` none does.

use serde_json::{Value, json};
use strait::sim::device::Reaction;

use crate::server::Server;

pub(crate) const WITH_MID: &str = "m";
pub(crate) const WITHOUT_MID: &str = "o";
const SET: u8 = 0x81;
const FIRE: u8 = 0x82;
const BIG: u8 = 0x83;
const DONE: u8 = 0x91;
/// Far from those that are given out.
const FOREIGN: u16 = 0x4000;

fn codec(product: &str) -> String {
    let (down, up) = match product {
        WITH_MID => (
            "{ n = \"mid\", t = \"u16\", auto = \"mid\" }, ",
            "{ n = \"mid\", t = \"u16\", match = \"mid\" }, ",
        ),
        _ => ("", ""),
    };
    let number = "{ n = \"n\", t = \"u32\" }";
    let volume = "fields = [ { n = \"volume\", t = \"u32\" } ]";
    format!(
        "codec = {{ name = \"{product}\", id = {{ at = 0, type = \"u8\" }} }}\n\
         [[message]]\nid = 1\nname = \"report\"\ndir = \"up\"\nservice = \"Flow\"\n{volume}\n\
         [[message]]\nid = 2\nname = \"part\"\ndir = \"up\"\nservice = \"Flow\"\nhas_more = true\n{volume}\n\
         [[message]]\nid = {SET}\nname = \"SET\"\ndir = \"down\"\nservice = \"Flow\"\nreply = {DONE}\n\
         fields = [ {down}{number} ]\n\
         [[message]]\nid = {FIRE}\nname = \"FIRE\"\ndir = \"down\"\nservice = \"Flow\"\n\
         fields = [ {number} ]\n\
         [[message]]\nid = {BIG}\nname = \"BIG\"\ndir = \"down\"\nservice = \"Flow\"\nreply = {DONE}\n\
         fields = [ {down}{number}, {{ n = \"text\", t = \"ascii\" }} ]\n\
         [[message]]\nid = {DONE}\ndir = \"response\"\nfields = [ {up}{{ n = \"code\", t = \"u8\", \
         enum = [\"ok\", \"fail\"], result = true }}, {number} ]\n"
    )
}

fn model(product: &str) -> Value {
    let number = json!({"para_name": "n", "data_type": "long", "required": true,
        "min": "0", "max": "4294967295"});
    let text = json!({"para_name": "text", "data_type": "string", "required": true,
        "max_length": 4000});
    let answer = json!([{"response_name": "DONE", "paras": [number]}]);
    let command = |name: &str, paras: Value, responses: &Value| json!({"command_name": name, "paras": paras, "responses": responses});
    json!({
        "product_id": product, "name": product, "device_type": "Meter", "protocol_type": "CoAP",
        "data_format": "binary",
        "service_capabilities": [{"service_id": "Flow", "service_type": "Flow",
            "properties": [{"property_name": "volume", "data_type": "int", "method": "R",
                "min": "0", "max": "65535"}],
            "commands": [
                command("SET", json!([number]), &answer),
                command("FIRE", json!([number]), &json!([])),
                command("BIG", json!([number, text]), &answer),
                // The codec has no such message.
                command("ODD", json!([number]), &answer),
            ]}]
    })
}

pub(crate) async fn create(server: &Server, product: &str) {
    server
        .call("POST", "/v5/iot/x/products", &model(product))
        .await;
    let path = format!("/v1/products/{product}/codec");
    server
        .request("PUT", &path, "application/toml", codec(product))
        .await;
}

/// A report's bytes.
pub(crate) fn report(volume: u16, more: bool) -> Vec<u8> {
    [&[1 + u8::from(more)], &u32::from(volume).to_be_bytes()[..]].concat()
}

/// Whose a message is.
pub(crate) fn number_of(product: &str, payload: &[u8]) -> Option<u32> {
    let has_mid = product == WITH_MID && payload.first() != Some(&FIRE);
    let at = if has_mid { 3 } else { 1 };
    let number = payload.get(at..at + 4)?;
    Some(u32::from_be_bytes(number.try_into().unwrap()))
}

/// What a device's application makes of a downlink: of some it says that they failed, and now and then it
/// names a mid that is nobody's.
pub(crate) fn application(
    product: &'static str,
    seed: u64,
) -> impl FnMut(&[u8]) -> Reaction + Send + Sync + 'static {
    let mut rng = fastrand::Rng::with_seed(seed);
    move |payload| {
        let Some(number) = number_of(product, payload) else {
            return Reaction::Nothing;
        };
        if payload.first() == Some(&FIRE) {
            return Reaction::Nothing;
        }
        let mut answer = vec![DONE];
        if product == WITH_MID {
            let mut mid = u16::from_be_bytes([payload[1], payload[2]]);
            if rng.u8(..12) == 0 {
                mid ^= FOREIGN;
            }
            answer.extend(mid.to_be_bytes());
        }
        answer.push(u8::from(rng.u8(..5) == 0));
        answer.extend(number.to_be_bytes());
        Reaction::Answer(answer)
    }
}
