//! Bodies of `…/products`: `AddProduct` and `UpdateProduct` of the v5 API, read into the model.
//!
//! Types and presence are checked here, lengths and relations inside the model by
//! `product::check::model`.

use super::input::{Alphabet, Fields, Problems, TextRule};
use crate::app::product::{NewProduct, ProductPatch};
use crate::base::ids::{AppId, ProductId};
use crate::product::check;
use crate::product::profile::{
    Command, DataType, Event, Para, Profile, Property, Response, Service, ServiceOption,
};

const PROTOCOLS: [&str; 11] = [
    "MQTT", "CoAP", "HTTP", "HTTPS", "Modbus", "ONVIF", "OPC-UA", "OPC-DA", "Other", "TCP", "UDP",
];
const DATA_FORMATS: [&str; 2] = ["json", "binary"];
const METHODS: [&str; 7] = ["RWE", "RW", "RE", "WE", "E", "W", "R"];
const DATA_TYPES: [(&str, DataType); 9] = [
    ("int", DataType::Int),
    ("long", DataType::Long),
    ("decimal", DataType::Decimal),
    ("string", DataType::String),
    ("DateTime", DataType::DateTime),
    ("jsonObject", DataType::JsonObject),
    ("enum", DataType::Enum),
    ("boolean", DataType::Boolean),
    ("string list", DataType::StringList),
];
const OPTIONS: [(&str, ServiceOption); 3] = [
    ("Master", ServiceOption::Master),
    ("Mandatory", ServiceOption::Mandatory),
    ("Optional", ServiceOption::Optional),
];

/// Services of a model; properties, commands, events of a service.
const ITEMS_MAX: usize = 500;
/// `min` and `max` are numbers in text.
const BOUND: TextRule = TextRule::new(Alphabet::Decimal, 1, 16);
/// A word of `enum_list`.
const WORD: TextRule = TextRule::any(1024);

/// `AddProduct`.
pub fn new_product(fields: &Fields<'_>) -> Option<NewProduct> {
    Some(NewProduct {
        product_id: fields.id("product_id", ProductId::parse),
        app_id: fields.id("app_id", AppId::parse),
        name: fields.needed_text("name", TextRule::name(64)),
        device_type: fields.needed_text("device_type", TextRule::name(32)),
        protocol_type: fields.needed_choice("protocol_type", &PROTOCOLS).to_owned(),
        data_format: fields
            .choice("data_format", &DATA_FORMATS)
            .unwrap_or("json")
            .to_owned(),
        manufacturer_name: fields.text("manufacturer_name", TextRule::note(32)),
        industry: fields.text("industry", TextRule::note(64)),
        description: fields.text("description", TextRule::any(128)),
        profile: {
            fields.need_list("service_capabilities", &(0..=ITEMS_MAX));
            profile(fields).unwrap_or_default()
        },
    })
}

/// `UpdateProduct`: where the product is said to be, and what to change. Absent and null leave a
/// field as it is.
pub fn product_patch(fields: &Fields<'_>) -> Option<(Option<AppId>, ProductPatch)> {
    let space = fields.id("app_id", AppId::parse);
    let patch = ProductPatch {
        name: fields.text("name", TextRule::name(64)),
        device_type: fields.text("device_type", TextRule::name(32)),
        protocol_type: fields
            .choice("protocol_type", &PROTOCOLS)
            .map(str::to_owned),
        data_format: fields
            .choice("data_format", &DATA_FORMATS)
            .map(str::to_owned),
        manufacturer_name: fields.text("manufacturer_name", TextRule::note(32)),
        industry: fields.text("industry", TextRule::note(64)),
        description: fields.text("description", TextRule::any(128)),
        profile: profile(fields),
    };
    Some((space, patch))
}

fn profile(fields: &Fields<'_>) -> Option<Profile> {
    // Problems of the model alone: others must not hide them.
    let own = Problems::default();
    let services = fields
        .within(&own)
        .objects("service_capabilities", 0..=ITEMS_MAX);
    let services = services.map(|list| list.iter().map(service).collect());
    if !own.is_empty() {
        fields.append(own);
        return None;
    }
    let profile = Profile {
        services: services?,
    };
    for violation in check::model(&profile) {
        fields.problem(&violation.path, &violation.message);
    }
    Some(profile)
}

fn service(fields: &Fields<'_>) -> Service {
    let list = |name| fields.objects(name, 0..=ITEMS_MAX).unwrap_or_default();
    Service {
        service_id: fields.needed_text("service_id", TextRule::name(64)),
        service_type: fields.needed_text("service_type", TextRule::name(64)),
        properties: list("properties").iter().map(property).collect(),
        commands: list("commands").iter().map(command).collect(),
        events: list("events").iter().map(event).collect(),
        description: fields.text("description", TextRule::any(128)),
        option: fields.one_of("option", &OPTIONS).unwrap_or_default(),
    }
}

fn property(fields: &Fields<'_>) -> Property {
    Property {
        property_name: fields.needed_text("property_name", TextRule::name(64)),
        data_type: data_type(fields),
        required: fields.boolean("required").unwrap_or(false),
        enum_list: fields.texts("enum_list", 0..=ITEMS_MAX, WORD),
        min: fields.text("min", BOUND),
        max: fields.text("max", BOUND),
        max_length: max_length(fields),
        step: step(fields),
        unit: fields.text("unit", TextRule::any(16)),
        method: fields.needed_choice("method", &METHODS).to_owned(),
        description: fields.text("description", TextRule::any(128)),
        default_value: fields.any("default_value"),
    }
}

fn command(fields: &Fields<'_>) -> Command {
    let responses = fields
        .objects("responses", 0..=ITEMS_MAX)
        .unwrap_or_default();
    Command {
        command_name: fields.needed_text("command_name", TextRule::name(64)),
        paras: paras(fields),
        responses: responses
            .iter()
            .map(|fields| Response {
                response_name: fields.needed_text("response_name", TextRule::name(128)),
                paras: paras(fields),
            })
            .collect(),
    }
}

fn event(fields: &Fields<'_>) -> Event {
    Event {
        event_type: fields.needed_text("event_type", TextRule::name(32)),
        paras: paras(fields),
    }
}

fn paras(fields: &Fields<'_>) -> Vec<Para> {
    let list = fields.objects("paras", 0..=ITEMS_MAX).unwrap_or_default();
    list.iter().map(para).collect()
}

fn para(fields: &Fields<'_>) -> Para {
    Para {
        para_name: fields.needed_text("para_name", TextRule::name(32)),
        data_type: data_type(fields),
        required: fields.boolean("required").unwrap_or(false),
        enum_list: fields.texts("enum_list", 0..=ITEMS_MAX, WORD),
        min: fields.text("min", BOUND),
        max: fields.text("max", BOUND),
        max_length: max_length(fields),
        step: step(fields),
        unit: fields.text("unit", TextRule::any(16)),
        description: fields.text("description", TextRule::any(128)),
    }
}

fn data_type(fields: &Fields<'_>) -> DataType {
    let words: Vec<&'static str> = DATA_TYPES.iter().map(|(word, _)| *word).collect();
    if !fields.has("data_type") {
        fields.missing("data_type", format!("one of {}", words.join(", ")));
    }
    fields
        .one_of("data_type", &DATA_TYPES)
        .unwrap_or(DataType::String)
}

fn max_length(fields: &Fields<'_>) -> Option<u32> {
    fields.integer("max_length", 0..=2_147_483_647)
}

fn step(fields: &Fields<'_>) -> Option<f64> {
    fields.number("step", 0.0..=f64::MAX)
}
