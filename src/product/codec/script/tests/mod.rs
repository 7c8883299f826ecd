//! Each contract with an example, each limit, and what no script may do.

mod bytes;
mod jobs;
mod limits;
mod zone;

use std::sync::OnceLock;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Map;

use super::*;

const AT: Timestamp = Timestamp::from_ms(1_577_836_800_000);

fn load(source: &str, services: &[&str]) -> Script {
    let options = Options {
        services: services.iter().map(|s| (*s).to_owned()).collect(),
        stands_at: Some(AT),
        ..Options::default()
    };
    Script::load(source, &options, Limits::default()).unwrap()
}

fn script(source: &str) -> Script {
    load(source, &[])
}

fn decode(script: &Script, payload: &[u8]) -> Result<Value, CodecError> {
    let uplink = Uplink {
        payload,
        received_at: AT,
        f_port: None,
    };
    script
        .decode(&uplink, None)
        .map(|decoded| decoded.to_json())
}

/// What a TS013 expression gives as the data of an uplink of 1, 2, 3.
fn evaluated(expression: &str) -> Value {
    let source =
        format!("function decodeUplink(input) {{ return {{ data: {{ v: {expression} }} }}; }}");
    let got = decode(&script(&source), &[1, 2, 3]).unwrap();
    got["services"][0]["properties"]["v"].clone()
}

fn command(script: &Script, name: &str, paras: &Value, mid: u16) -> Result<Vec<u8>, CodecError> {
    script.encode(&Encode {
        service_id: "S",
        command_name: name,
        paras: paras.as_object().unwrap(),
        mid,
    })
}

const SMOKE: &str = r"
function decode(payload, topic) {
    if ((payload[0] & 0xff) === 0x82) {
        return JSON.stringify({ msg_type: 'command_response', mid: payload[1] << 8 | payload[2],
            result_code: payload[3], paras: { state: payload[3] } });
    }
    var level = (payload[0] & 0xff) << 8 | (payload[1] & 0xff);
    var temperature = (payload[2] & 0xff) << 8 | (payload[3] & 0xff);
    return JSON.stringify({ msg_type: 'properties_report', services: [
        { service_id: 'smokerdector', properties: { level: level, temperature: temperature },
          event_time: '20200101T000001Z' } ] });
}
function encode(text) {
    var json = JSON.parse(text);
    if (json.msg_type === 'commands') return [-127, json.mid >> 8, json.mid & 0xff, json.paras.value];
    if (json.msg_type === 'properties_set') return [0x83, json.services[0].properties.limit];
    return null;
}
";

#[test]
fn speaks_the_iotda_contract() {
    let script = script(SMOKE);
    assert_eq!(
        decode(&script, &[0x00, 0x50, 0x00, 0x5a]).unwrap(),
        json!({"kind": "report", "services": [{"service_id": "smokerdector",
            "properties": {"level": 80, "temperature": 90}, "event_time": "20200101T000001Z"}]})
    );
    assert_eq!(
        decode(&script, &[0x82, 0x01, 0x02, 1]).unwrap(),
        json!({"kind": "response", "mid": 258, "result_code": 1, "paras": {"state": 1}})
    );
    let paras = json!({"value": 7});
    assert_eq!(
        command(&script, "SET", &paras, 258).unwrap(),
        [0x81, 1, 2, 7]
    );
    let asked = Encode {
        service_id: "S",
        command_name: "SET",
        paras: paras.as_object().unwrap(),
        mid: 258,
    };
    assert!(script.answers_by_mid(&asked));
    let wanted = json!({"limit": 9});
    let set = script.encode_properties(&EncodeProperties {
        service_id: "S",
        wanted: wanted.as_object().unwrap(),
        known: &Map::new(),
        mid: 1,
    });
    let set = set.unwrap();
    assert_eq!(
        (set.bytes, set.covered),
        (vec![0x83, 9], vec!["limit".to_owned()])
    );
}

const OFFLINE: &str = r"
exports.decode = function (bytes) {
    if (bytes[0] === 2) return { msgType: 'deviceRsp', mid: bytes[1], errcode: 0, body: { ok: true } };
    return { identifier: '1', msgType: 'deviceReq', hasMore: 1,
        data: [{ serviceId: 'Meter', serviceData: { volume: bytes[1] } }] };
};
exports.encode = function (input) {
    if (input.msgType === 'cloudRsp') return input.errcode ? null : [0xaa, input.request[0], input.hasMore];
    return Uint8Array.from([input.mid & 0xff, input.paras.value]);
};
";

#[test]
fn speaks_the_offline_contract() {
    let script = script(OFFLINE);
    assert_eq!(
        decode(&script, &[1, 42]).unwrap(),
        json!({"kind": "report", "services": [{"service_id": "Meter",
            "properties": {"volume": 42}}], "has_more": true})
    );
    assert_eq!(
        decode(&script, &[2, 5]).unwrap(),
        json!({"kind": "response", "mid": 5, "result_code": 0, "paras": {"ok": true}})
    );
    assert_eq!(
        command(&script, "SET", &json!({"value": 3}), 9).unwrap(),
        [9, 3]
    );
    let answer = |errcode| {
        script.answer(&AnswerTo {
            request: &[7],
            errcode,
            has_more: true,
        })
    };
    assert_eq!(answer(0).unwrap(), Some(vec![0xaa, 7, 1]));
    assert_eq!(answer(1).unwrap(), None);
}

const TS013: &str = r"
const decodeUplink = (input) => {
    if (input.bytes.length < 2) return { errors: ['too short'] };
    return { data: { t: (input.bytes[0] << 8 | input.bytes[1]) / 10, port: input.fPort,
        at: input.recvTime.toISOString() }, warnings: ['uncalibrated'] };
};
function encodeDownlink(input) {
    if (input.data.led === undefined) return { errors: ['no led'] };
    return { bytes: [input.data.led], fPort: 2 };
}
function decodeDownlink(input) { return { data: { led: input.bytes[0] } }; }
";

/// A comment may name the other contract: what `encode` does with its argument tells.
#[test]
fn words_of_both_contracts_do_not_confuse() {
    let rows = [
        (
            "// msg_type of IoTDA is msgType here\n
             function encode(input) { return [input.mid]; }",
            [9],
        ),
        (
            "// msgType of old plug-ins is msg_type here\n
             function encode(text) { return [JSON.parse(text).paras.v]; }",
            [5],
        ),
    ];
    for (source, want) in rows {
        assert_eq!(
            command(&script(source), "C", &json!({"v": 5}), 9).unwrap(),
            want
        );
    }
}

#[test]
fn speaks_ts013() {
    let script = load(TS013, &["Climate"]);
    let mut trace = Vec::new();
    let uplink = Uplink {
        payload: &[0, 215],
        received_at: AT,
        f_port: Some(3),
    };
    let got = script.decode(&uplink, Some(&mut trace)).unwrap().to_json();
    assert_eq!(
        got["services"],
        json!([{"service_id": "Climate",
            "properties": {"t": 21.5, "port": 3, "at": "2020-01-01T00:00:00.000Z"}}])
    );
    assert_eq!(trace[0].value, json!(["uncalibrated"]));
    assert_eq!(
        decode(&script, &[1]).unwrap_err().to_string(),
        "the script failed: too short"
    );
    assert_eq!(command(&script, "LED", &json!({"led": 4}), 1).unwrap(), [4]);
    let error = command(&script, "LED", &json!({}), 1).unwrap_err();
    assert_eq!(error.to_string(), "the script failed: no led");
    let paras = json!({"led": 4}).as_object().unwrap().clone();
    assert_eq!(
        script.decode_downlink(&[4]),
        Some(Ok(Downlink::Data { paras }))
    );
}

#[test]
fn takes_older_forms_and_finds_the_service() {
    let source = "function Decode(fPort, bytes) { return { Meter: { v: bytes[0] + fPort } }; }
                  function Encode(fPort, obj) { return [fPort, obj.v]; }";
    let script = load(source, &["Meter", "Battery"]);
    let services = json!([{"service_id": "Meter", "properties": {"v": 8}}]);
    assert_eq!(decode(&script, &[7]).unwrap()["services"], services);
    assert_eq!(command(&script, "C", &json!({"v": 5}), 1).unwrap(), [1, 5]);
    let source = "function Decoder(bytes, port) { return { v: bytes[0] }; }
                  function Encoder(obj, port) { return [obj.v]; }";
    let script = load(source, &["Meter", "Battery"]);
    let error = decode(&script, &[7]).unwrap_err();
    assert!(error.to_string().contains("ts013_service"), "{error}");
    assert_eq!(command(&script, "C", &json!({"v": 5}), 1).unwrap(), [5]);
}

#[test]
fn gives_a_script_what_it_expects() {
    let rows = [
        ("Date.now()", json!(1_577_836_800_000_u64)),
        ("new Date().getHours()", json!(0)),
        (
            "new Date(2020, 0, 2, 3).toISOString()",
            json!("2020-01-02T03:00:00.000Z"),
        ),
        (
            "new Date('2020-05-06T07:08:09').getTime()",
            json!(1_588_748_889_000_u64),
        ),
        ("new Date(0).getTimezoneOffset()", json!(0)),
        // Nothing leads to the machine's own clock.
        (
            "new Date(0).constructor.now()",
            json!(1_577_836_800_000_u64),
        ),
        (
            "[typeof Object.getPrototypeOf(Date).now, typeof performance].join()",
            json!("undefined,undefined"),
        ),
        (
            "[typeof Date(), new Date(5) instanceof Date, Date.UTC(1970, 0, 2)].join()",
            json!("string,true,86400000"),
        ),
        (
            "new (class extends Date { half() { return this.getTime() / 2; } })(8).half()",
            json!(4),
        ),
        ("new Date(0)", json!("1970-01-01T00:00:00.000Z")),
        ("Math.random() === Math.random()", json!(false)),
        ("btoa('strait')", json!("c3RyYWl0")),
        ("atob('c3RyYWl0')", json!("strait")),
        ("Buffer.from('00ff7f', 'hex').readInt16BE(1)", json!(-129)),
        (
            "Buffer.from(input.bytes).readUIntLE(0, 3)",
            json!(0x03_02_01),
        ),
        ("Buffer.from(input.bytes).toString('hex')", json!("010203")),
        ("Buffer.from('grün').length", json!(5)),
        (
            "new TextDecoder().decode(new TextEncoder().encode('grün'))",
            json!("grün"),
        ),
        (
            "new DataView(new Uint8Array(input.bytes).buffer).getUint16(1)",
            json!(0x0203),
        ),
        (
            "Buffer.from('-_8', 'base64url').toString('hex')",
            json!("fbff"),
        ),
        ("atob(btoa('\\xff'.repeat(9001))).length", json!(9001)),
        (
            "Buffer.from('ü'.repeat(5000)).toString() === 'ü'.repeat(5000)",
            json!(true),
        ),
        ("'7'.padStart(3, '0').substr(1)", json!("07")),
        ("typeof module.exports", json!("object")),
        ("require('buffer').Buffer.alloc(2).length", json!(2)),
        ("[1, undefined, NaN, () => 1]", json!([1, null, null, null])),
        ("10n ** 20n", json!("100000000000000000000")),
        ("7n", json!(7)),
        ("new Uint8Array([1, 2])", json!([1, 2])),
        ("console.log('x') === undefined", json!(true)),
        (
            "typeof std + typeof os + typeof fetch",
            json!("undefinedundefinedundefined"),
        ),
    ];
    for (expression, want) in rows {
        assert_eq!(evaluated(expression), want, "{expression}");
    }
}

#[test]
fn chance_and_time_are_the_same_in_each_call() {
    let source =
        "function decodeUplink() { return { data: { a: Math.random(), b: Date.now() } }; }";
    let script = script(source);
    assert_eq!(decode(&script, &[]).unwrap(), decode(&script, &[]).unwrap());
}

#[test]
fn output_is_bounded() {
    let rows = [
        ("'x'.repeat(70000)", "output"),
        ("new Array(4294967295)", "output"),
        ("new Array(100000).fill(1)", "output"),
        ("(() => { const a = {}; a.a = a; return a; })()", "depth"),
        (
            "(() => { let a = 1; for (let i = 0; i < 40; i++) a = [a]; return a; })()",
            "depth",
        ),
    ];
    for (expression, kind) in rows {
        let source =
            format!("function decodeUplink() {{ return {{ data: {{ v: {expression} }} }}; }}");
        assert_eq!(
            decode(&script(&source), &[]).unwrap_err().kind(),
            kind,
            "{expression}"
        );
    }
    let deep = "function decode() { return '['.repeat(40) + ']'.repeat(40); }";
    assert_eq!(decode(&script(deep), &[]).unwrap_err().kind(), "depth");
}

#[test]
fn whatever_is_thrown_is_told_with_its_place() {
    let rows = [
        (
            "null.x",
            "TypeError: cannot read property 'x' of null (codec.js:2:",
        ),
        ("throw 'plain'", "it threw plain"),
        ("throw null", "it used all its memory, or threw null"),
        ("throw { name: 'E', message: 'm' }", "E: m"),
        (
            "throw { toString() { throw 1; } }",
            "it threw what can't be read",
        ),
        ("throw Symbol('s')", "it threw what can't be read"),
        (
            "return new Promise(() => {})",
            "it gave a promise that never settles",
        ),
        ("return Promise.reject(new Error('no'))", "Error: no"),
        ("return 5", "the decoder gave 5, takes an object"),
    ];
    for (body, want) in rows {
        let source = format!("function decodeUplink(input) {{\n{body}\n}}");
        let error = decode(&script(&source), &[]).unwrap_err();
        assert!(error.to_string().contains(want), "{body}: {error}");
    }
    let source =
        "async function decodeUplink(i) { await null; return { data: { v: i.bytes[0] } }; }";
    let got = decode(&script(source), &[6]).unwrap();
    assert_eq!(got["services"][0]["properties"], json!({"v": 6}));
}

/// A script that spoils its own world neither spoils the server's glue nor another script's world.
#[test]
fn tampering_stays_inside() {
    let bad = script(
        "function decodeUplink(i) {
            JSON.parse = JSON.stringify = Reflect.apply = Date = undefined;
            Object.prototype.toJSON = undefined;
            Array.prototype[Symbol.iterator] = null;
            new (Object.getPrototypeOf(new (i.recvTime.constructor)(2020, 1)).constructor)(1, 2);
            try { __strait.adopt = null; } catch (e) {}
            globalThis.__strait = 1;
            return { data: { v: 1 } };
        }",
    );
    for _ in 0..3 {
        assert!(decode(&bad, &[]).is_ok());
    }
    assert_eq!(
        evaluated("JSON.stringify([typeof Date, ...[1]])"),
        json!("[\"function\",1]")
    );
}

#[test]
fn mistakes_have_their_place() {
    let rows = [
        ("function decode( {", 1, "SyntaxError"),
        ("\n\nvar x = undefinedName;", 3, "undefinedName"),
        ("export function decodeUplink() {}", 1, "SyntaxError"),
        ("for (;;) {}", 1, "top level ran for over 50 ms"),
        ("var x = 1;", 1, "defines no function"),
    ];
    for (source, line, words) in rows {
        let mistakes = Script::load(source, &Options::default(), Limits::default()).unwrap_err();
        let first = &mistakes[0];
        assert_eq!(first.line, line, "{source}: {first:?}");
        assert!(first.message.contains(words), "{source}: {first:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_source_is_taken_or_refused(source in "(function |decode|\\(|\\)|\\{|\\}|[a-z0-9 ;=+\\[\\]'\"/.])*") {
        let limits = Limits { time: Duration::from_millis(20), ..Limits::default() };
        if let Ok(script) = Script::load(&source, &Options::default(), limits) {
            drop(decode(&script, &[1, 2, 3]));
        }
    }

    #[test]
    fn any_payload_gives_values_or_an_error(payload in proptest::collection::vec(any::<u8>(), 0..80)) {
        static SCRIPTS: OnceLock<[Script; 3]> = OnceLock::new();
        for script in SCRIPTS.get_or_init(|| [SMOKE, OFFLINE, TS013].map(script)) {
            drop(decode(script, &payload));
        }
    }
}
