//! A package's files, read into a product.

use serde_json::Value;

use super::archive::{self, File};
use super::fields::{Mistakes, Node};
use super::{Package, PackageError};
use crate::product::check;
use crate::product::profile::{
    Command, DataType, Event, Para, Profile, Property, Response, Service, ServiceOption,
};

pub(super) const DEVICE_FILE: &str = "devicetype-capability.json";
pub(super) const SERVICE_FILE: &str = "servicetype-capability.json";

/// Most bytes that a text may have is the model's concern; a length is a number of the v5 API.
const LENGTH_MAX: u32 = 2_147_483_647;

/// Spellings in the field, and the protocol of the v5 API. LwM2M runs over CoAP.
const PROTOCOLS: [(&str, &str); 13] = [
    ("MQTT", "MQTT"),
    ("CoAP", "CoAP"),
    ("LWM2M", "CoAP"),
    ("HTTP", "HTTP"),
    ("HTTPS", "HTTPS"),
    ("Modbus", "Modbus"),
    ("ONVIF", "ONVIF"),
    ("OPC-UA", "OPC-UA"),
    ("OPC-DA", "OPC-DA"),
    ("Other", "Other"),
    ("TCP", "TCP"),
    ("UDP", "UDP"),
    ("MQTTS", "MQTT"),
];
const DATA_FORMATS: [(&str, &str); 2] = [("json", "json"), ("binary", "binary")];
/// The first spelling of each is the one that is written.
pub(super) const DATA_TYPES: [(&str, DataType); 16] = [
    ("int", DataType::Int),
    ("integer", DataType::Int),
    ("long", DataType::Long),
    ("decimal", DataType::Decimal),
    ("float", DataType::Decimal),
    ("double", DataType::Decimal),
    ("string", DataType::String),
    ("DateTime", DataType::DateTime),
    ("jsonObject", DataType::JsonObject),
    ("json", DataType::JsonObject),
    ("enum", DataType::Enum),
    ("boolean", DataType::Boolean),
    ("bool", DataType::Boolean),
    ("string list", DataType::StringList),
    ("stringList", DataType::StringList),
    ("string_list", DataType::StringList),
];
pub(super) const OPTIONS: [(&str, ServiceOption); 4] = [
    ("Optional", ServiceOption::Optional),
    ("Mandatory", ServiceOption::Mandatory),
    ("Master", ServiceOption::Master),
    ("", ServiceOption::Optional),
];
const METHODS: [(&str, &str); 7] = [
    ("RWE", "RWE"),
    ("RW", "RW"),
    ("RE", "RE"),
    ("WE", "WE"),
    ("E", "E"),
    ("W", "W"),
    ("R", "R"),
];

/// Reads a package. `name`: the product's, in place of the one in the package. All mistakes in its
/// files come in one error.
pub fn read(bytes: &[u8], name: Option<&str>) -> Result<Package, PackageError> {
    let is_ours = |last: &str| {
        last.eq_ignore_ascii_case(DEVICE_FILE) || last.eq_ignore_ascii_case(SERVICE_FILE)
    };
    let files = archive::unpack(bytes, is_ours)?;
    let mistakes = Mistakes::default();
    let parsed: Vec<(&str, Value)> = files
        .iter()
        .filter_map(|file| Some((file.name.as_str(), parse(file, &mistakes)?)))
        .collect();
    let is_device = |name: &str| {
        let last = name.rsplit('/').next().unwrap_or_default();
        last.eq_ignore_ascii_case(DEVICE_FILE)
    };
    let devices: Vec<&File> = files.iter().filter(|f| is_device(&f.name)).collect();
    match devices.as_slice() {
        [_] => {}
        [] => mistakes.add(DEVICE_FILE, "$", "is missing in the package"),
        [_, second, ..] => {
            mistakes.add(&second.name, "$", "is there twice, takes one product");
        }
    }
    mistakes.check()?;
    let mut described = Vec::new();
    for (file, value) in parsed.iter().filter(|(file, _)| !is_device(file)) {
        if let Some(root) = Node::of_file(file, value, &mistakes) {
            described.extend(root.needed_objects("services").iter().map(describe));
        }
    }
    let device = parsed.iter().find(|(file, _)| is_device(file));
    let device = device.and_then(|(file, value)| device_of(file, value, &mistakes));
    let package = device.map(|device| assemble(&device, &described, name, &mistakes));
    mistakes.check()?;
    let Some((package, places)) = package else {
        mistakes.add(DEVICE_FILE, "devices", "holds no product");
        return Err(mistakes.check().err().unwrap_or(PackageError::Duplicate));
    };
    check_package(&package, &places, &mistakes);
    mistakes.check()?;
    Ok(package.package)
}

fn parse(file: &File, mistakes: &Mistakes) -> Option<Value> {
    let bytes = file.bytes.as_slice();
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match serde_json::from_slice(bytes) {
        Ok(value) => Some(value),
        Err(error) => {
            mistakes.add(&file.name, "$", format!("is no JSON: {error}"));
            None
        }
    }
}

/// The one product of the file.
fn device_of<'a>(file: &'a str, value: &'a Value, mistakes: &'a Mistakes) -> Option<Node<'a>> {
    let root = Node::of_file(file, value, mistakes)?;
    let mut devices = root.needed_objects("devices");
    if devices.len() > 1 {
        let len = devices.len();
        root.wrong("devices", format!("got {len} products, takes one"));
    }
    if devices.is_empty() {
        root.wrong("devices", "holds no product, takes one");
        return None;
    }
    Some(devices.swap_remove(0))
}

/// A service as a file describes it.
struct Described<'a> {
    node: Node<'a>,
    /// Of packages that this server wrote.
    service_id: Option<String>,
    service_type: String,
}

fn describe<'a>(node: &Node<'a>) -> Described<'a> {
    Described {
        service_id: node.text("serviceId"),
        service_type: node.needed_text("serviceType"),
        node: node.clone(),
    }
}

/// A product, with where each of its services was found.
struct Assembled<'a> {
    package: Package,
    device: Node<'a>,
}

/// Where a service stands: its entry in the product's list, and its description.
struct Place<'a> {
    listed: Node<'a>,
    described: Node<'a>,
}

fn assemble<'a>(
    device: &Node<'a>,
    described: &[Described<'a>],
    name: Option<&str>,
    mistakes: &'a Mistakes,
) -> (Assembled<'a>, Vec<Place<'a>>) {
    let mut used = vec![false; described.len()];
    let mut services = Vec::new();
    let mut places = Vec::new();
    for listed in device.needed_objects("serviceTypeCapabilities") {
        let service_id = listed.needed_text("serviceId");
        let service_type = listed.needed_text("serviceType");
        let option = listed.word("option", &OPTIONS).unwrap_or_default();
        let Some(at) = find(described, &service_id, &service_type) else {
            let problem =
                format!("got {service_type:?}, no {SERVICE_FILE} of the package describes that");
            listed.wrong("serviceType", problem);
            continue;
        };
        let Some((found, used)) = described.get(at).zip(used.get_mut(at)) else {
            continue;
        };
        *used = true;
        services.push(service(&found.node, service_id, service_type, option));
        places.push(Place {
            listed,
            described: found.node.clone(),
        });
    }
    for (lost, _) in described.iter().zip(&used).filter(|(_, used)| !**used) {
        let problem = format!(
            "got {:?}, no serviceTypeCapabilities of the product names that",
            lost.service_type
        );
        let path = lost.node.place("serviceType");
        mistakes.add(lost.node.file, &path, problem);
    }
    let device_type = device.needed_text("deviceType");
    if !device.has("protocolType") {
        device.wrong("protocolType", "is missing, takes CoAP, LWM2M, MQTT, …");
    }
    let protocol = device.word("protocolType", &PROTOCOLS).unwrap_or("CoAP");
    let binary = if protocol == "CoAP" { "binary" } else { "json" };
    let format = device.word("dataFormat", &DATA_FORMATS).unwrap_or(binary);
    let filled = |field: &str| device.text(field).filter(|text| !text.is_empty());
    let model = filled("model");
    let package = Package {
        name: name
            .map(str::to_owned)
            .or(model)
            .unwrap_or_else(|| device_type.clone()),
        device_type,
        protocol_type: protocol.to_owned(),
        data_format: format.to_owned(),
        manufacturer_name: device.text("manufacturerName"),
        industry: device.text("industry"),
        description: device.text("description"),
        profile: Profile { services },
    };
    let device = device.clone();
    (Assembled { package, device }, places)
}

/// The description of a listed service: by its own id, else by its type, which several services of
/// a product may share.
fn find(described: &[Described<'_>], service_id: &str, service_type: &str) -> Option<usize> {
    let by_id = |one: &Described<'_>| one.service_id.as_deref() == Some(service_id);
    let by_type =
        |one: &Described<'_>| one.service_id.is_none() && one.service_type == service_type;
    let found = described.iter().position(by_id);
    found.or_else(|| described.iter().position(by_type))
}

fn service(
    node: &Node<'_>,
    service_id: String,
    service_type: String,
    option: ServiceOption,
) -> Service {
    Service {
        service_id,
        service_type,
        properties: node.objects("properties").iter().map(property).collect(),
        commands: node.objects("commands").iter().map(command).collect(),
        events: node.objects("events").iter().map(event).collect(),
        description: node.text("description"),
        option,
    }
}

fn property(node: &Node<'_>) -> Property {
    if !node.has("method") {
        node.wrong("method", "is missing, takes letters of RWE");
    }
    Property {
        property_name: node.needed_text("propertyName"),
        data_type: data_type(node),
        required: node.boolean("required").unwrap_or(false),
        enum_list: node.texts("enumList"),
        min: node.bound("min"),
        max: node.bound("max"),
        max_length: node.whole("maxLength", LENGTH_MAX),
        step: node.number("step"),
        unit: node.text("unit"),
        method: node.word("method", &METHODS).unwrap_or("R").to_owned(),
        description: node.text("description"),
        default_value: node.any("defaultValue"),
    }
}

fn command(node: &Node<'_>) -> Command {
    let responses = node.objects("responses").into_iter();
    Command {
        command_name: node.needed_text("commandName"),
        paras: paras(node),
        responses: responses
            .map(|node| Response {
                response_name: node.needed_text("responseName"),
                paras: paras(&node),
            })
            .collect(),
    }
}

fn event(node: &Node<'_>) -> Event {
    Event {
        event_type: node.needed_text("eventType"),
        paras: paras(node),
    }
}

fn paras(node: &Node<'_>) -> Vec<Para> {
    let paras = node.objects("paras").into_iter();
    let read = paras.map(|node| Para {
        para_name: node.needed_text("paraName"),
        data_type: data_type(&node),
        required: node.boolean("required").unwrap_or(false),
        enum_list: node.texts("enumList"),
        min: node.bound("min"),
        max: node.bound("max"),
        max_length: node.whole("maxLength", LENGTH_MAX),
        step: node.number("step"),
        unit: node.text("unit"),
        description: node.text("description"),
    });
    read.collect()
}

fn data_type(node: &Node<'_>) -> DataType {
    if !node.has("dataType") {
        node.wrong("dataType", "is missing, takes int, decimal, string, …");
    }
    let found = node.word("dataType", &DATA_TYPES);
    found.unwrap_or(DataType::String)
}

/// What the v5 API would refuse, told in the words and places of the package.
fn check_package(assembled: &Assembled<'_>, places: &[Place<'_>], mistakes: &Mistakes) {
    let Assembled { package, device } = assembled;
    let name = |field: &str, text: &str, max: usize| {
        if let Err((_, problem)) = check::judge_name(text, max) {
            device.wrong(field, problem);
        }
    };
    name("model", &package.name, 64);
    name("deviceType", &package.device_type, 32);
    let notes = [
        ("manufacturerName", &package.manufacturer_name, 32),
        ("industry", &package.industry, 64),
    ];
    for (field, text, max) in notes {
        if let Some(text) = text.as_ref().filter(|text| !text.is_empty()) {
            name(field, text, max);
        }
    }
    let description = package.description.as_deref().unwrap_or_default();
    if description.chars().count() > 128 {
        let len = description.chars().count();
        device.wrong(
            "description",
            format!("got {len} characters, takes up to 128"),
        );
    }
    for violation in check::model(&package.profile) {
        let (file, path) = place_of(&violation.path, device, places);
        mistakes.add(file, &path, &violation.message);
    }
}

/// `service_capabilities[2].properties[0].data_type`, as file and path of the package.
fn place_of<'a>(path: &str, device: &Node<'a>, places: &[Place<'a>]) -> (&'a str, String) {
    let list = || (device.file, device.place("serviceTypeCapabilities"));
    let Some((index, rest)) = path
        .strip_prefix("service_capabilities[")
        .and_then(|rest| rest.split_once(']'))
    else {
        return list();
    };
    let index: Option<usize> = index.parse().ok();
    let Some(place) = index.and_then(|index| places.get(index)) else {
        return list();
    };
    let rest = camel(rest);
    let field = rest.trim_start_matches('.');
    let node = match field {
        "serviceId" | "serviceType" | "option" => &place.listed,
        _ => &place.described,
    };
    (node.file, node.place(field))
}

/// `max_length` as `maxLength`.
fn camel(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    let mut raised = false;
    for c in path.chars() {
        match c {
            '_' => raised = true,
            c if raised => {
                text.push(c.to_ascii_uppercase());
                raised = false;
            }
            c => text.push(c),
        }
    }
    text
}
