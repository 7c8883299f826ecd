//! A water meter with a 68-byte report, a load profile that no table could describe, and a valve.
//!
//! | id | message | layout after the id; the last two bytes are CRC-16/MODBUS, low byte first |
//! |---|---|---|
//! | 0x01 | report | see [`report`] |
//! | 0x02 | load profile | unix32, minutes between two readings (u8), readings as in [`profile`] |
//! | 0x81 | SET_VALVE, down | mid (u16), state (u8: 0 open, 1 closed) |
//! | 0x82 | answer to it | mid (u16), code (u8: 0 done), valve (u8) |
//!
//! Numbers are big endian where nothing else is said.

mod frame;

use frame::{checked, with_checksum, Reader};
use serde::{Deserialize, Serialize};

wit_bindgen::generate!({ path: "codec.wit", world: "codec-full" });

struct WaterMeter;
export!(WaterMeter);

const VALVE: [&str; 4] = ["open", "closed", "moving", "fault"];

impl Guest for WaterMeter {
    fn model_version() -> u32 {
        1
    }

    fn decode(
        payload: Vec<u8>,
        _received_at_ms: u64,
        _f_port: Option<u8>,
    ) -> Result<String, String> {
        let mut reader = Reader::new(checked(&payload)?);
        let text = match reader.u8("id")? {
            0x01 => json(&report(&mut reader)?),
            0x02 => json(&profile(&mut reader)?),
            0x82 => json(&response(&mut reader)?),
            id => return Err(format!("id: is {id:#04x}, takes 0x01, 0x02 or 0x82")),
        };
        reader.end()?;
        text
    }

    fn encode(command: String) -> Result<Vec<u8>, String> {
        let command: Command = read(&command)?;
        if command.command_name != "SET_VALVE" {
            return Err(format!("no command {}", command.command_name));
        }
        let Some(state) = VALVE.iter().take(2).position(|s| *s == command.paras.state) else {
            let got = command.paras.state;
            return Err(format!("state: is {got:?}, takes open or closed"));
        };
        let [high, low] = command.mid.to_be_bytes();
        Ok(with_checksum(vec![0x81, high, low, state as u8]))
    }

    fn answers_by_mid(_command: String) -> bool {
        true
    }

    /// Nothing can be set.
    fn encode_properties(_set: String) -> Result<Option<(Vec<u8>, Vec<String>)>, String> {
        Ok(None)
    }

    /// Reports are not answered.
    fn answer(_request: Vec<u8>, _errcode: u8, _more: bool) -> Result<Option<Vec<u8>>, String> {
        Ok(None)
    }

    fn decode_downlink(bytes: Vec<u8>) -> Result<String, String> {
        let mut reader = Reader::new(checked(&bytes)?);
        if reader.u8("id")? != 0x81 {
            return Err("id: takes 0x81".to_owned());
        }
        let mid = reader.u16("mid")?;
        let state = valve(reader.u8("state")?, 2)?;
        reader.end()?;
        json(&serde_json::json!({
            "command_name": "SET_VALVE", "paras": { "state": state }, "mid": mid
        }))
    }
}

/// serial (BCD, 6), unix32, volume and reverse volume (u32, little endian, litres), flow (i16, 10 l/h),
/// temperature (i16, tenths above -40 °C), pressure (u16, tenths of kPa), battery (u8, tenths of V),
/// flags (bit 0 leak, bits 4 and 5 valve), count (u8) and as many litres (u16), ICCID (ASCII, 20).
fn report(reader: &mut Reader<'_>) -> Result<Report<Meter>, String> {
    let serial = reader.bcd("serial", 6)?;
    let at = reader.u32("ts")?;
    let volume_m3 = thousandths(reader.u32_le("volume_m3")?);
    let reverse_m3 = thousandths(reader.u32_le("reverse_m3")?);
    let flow_m3h = f64::from(reader.i16("flow_m3h")?) / 100.0;
    let temperature_c = f64::from(i32::from(reader.i16("temperature_c")?) - 400) / 10.0;
    let pressure_kpa = f64::from(reader.u16("pressure_kpa")?) / 10.0;
    let battery_v = f64::from(reader.u8("battery_v")?) / 10.0;
    let flags = reader.u8("flags")?;
    let count = reader.u8("intervals")?;
    let mut intervals = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        intervals.push(thousandths(reader.u16("intervals")?.into()));
    }
    let iccid = reader.ascii("iccid", 20)?;
    let properties = Meter {
        serial,
        volume_m3,
        reverse_m3,
        flow_m3h,
        temperature_c,
        pressure_kpa,
        battery_v,
        leak: flags & 1 != 0,
        valve: VALVE[usize::from(flags >> 4 & 3)],
        intervals,
        iccid,
    };
    Ok(Report::of("Meter", properties, at))
}

/// Readings in litres, each as the difference to the one before: zigzag in groups of seven bits, lowest
/// first, the top bit of a byte set when more follow. To the end of the message.
fn profile(reader: &mut Reader<'_>) -> Result<Report<Profile>, String> {
    let at = reader.u32("ts")?;
    let step_min = reader.u8("step_min")?;
    let mut litres = 0_i64;
    let mut readings_m3 = Vec::new();
    while !reader.is_empty() {
        litres += reader.zigzag("readings_m3")?;
        let Ok(reading) = u32::try_from(litres) else {
            return Err(format!("readings_m3: is {litres} litres, takes 0 to {}", u32::MAX));
        };
        readings_m3.push(thousandths(reading));
    }
    Ok(Report::of("LoadProfile", Profile { step_min, readings_m3 }, at))
}

fn response(reader: &mut Reader<'_>) -> Result<Response, String> {
    Ok(Response {
        mid: reader.u16("mid")?,
        result_code: reader.u8("code")?,
        response_name: "SET_VALVE_RSP",
        paras: ValveState {
            valve: valve(reader.u8("valve")?, VALVE.len())?,
        },
    })
}

fn valve(byte: u8, count: usize) -> Result<&'static str, String> {
    match VALVE[..count].get(usize::from(byte)) {
        Some(name) => Ok(name),
        None => Err(format!("valve: is {byte}, takes 0 to {}", count - 1)),
    }
}

/// The nearest double to a number of three decimals; JSON shows it with them.
fn thousandths(n: u32) -> f64 {
    f64::from(n) / 1000.0
}

fn json<T: Serialize>(value: &T) -> Result<String, String> {
    serde_json::to_string(value).map_err(|e| e.to_string())
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

#[derive(Serialize)]
struct Report<P> {
    services: [Service<P>; 1],
}

#[derive(Serialize)]
struct Service<P> {
    service_id: &'static str,
    properties: P,
    /// Milliseconds since 1970.
    event_time: u64,
}

impl<P> Report<P> {
    fn of(service_id: &'static str, properties: P, at_s: u32) -> Self {
        let event_time = u64::from(at_s) * 1000;
        let services = [Service { service_id, properties, event_time }];
        Self { services }
    }
}

#[derive(Serialize)]
struct Meter {
    serial: String,
    volume_m3: f64,
    reverse_m3: f64,
    flow_m3h: f64,
    temperature_c: f64,
    pressure_kpa: f64,
    battery_v: f64,
    leak: bool,
    valve: &'static str,
    intervals: Vec<f64>,
    iccid: String,
}

#[derive(Serialize)]
struct Profile {
    step_min: u8,
    readings_m3: Vec<f64>,
}

#[derive(Serialize)]
struct Response {
    mid: u16,
    result_code: u8,
    response_name: &'static str,
    paras: ValveState,
}

#[derive(Serialize)]
struct ValveState {
    valve: &'static str,
}

#[derive(Deserialize)]
struct Command {
    command_name: String,
    paras: SetValve,
    mid: u16,
}

#[derive(Deserialize)]
struct SetValve {
    #[serde(default)]
    state: String,
}
