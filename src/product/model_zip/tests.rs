//! Packages: what is written reads back, real shapes are read, nothing else is.

use proptest::prelude::*;
use serde_json::Value;

use super::archive::{File, pack};
use super::{ENTRIES_MAX, Package, PackageError, read, write};
use crate::product::check;
use crate::product::profile::{
    Command, DataType, Event, Para, Profile, Property, Response, Service, ServiceOption,
};

fn package_of(files: &[(&str, &str)]) -> Vec<u8> {
    let files = files.iter().map(|(name, text)| File {
        name: (*name).to_owned(),
        bytes: text.as_bytes().to_vec(),
    });
    pack(&files.collect::<Vec<_>>()).unwrap()
}

const DEVICE: &str = r#"{"devices": [{"manufacturerId": "m", "manufacturerName": "Acme",
  "model": "WM1", "protocolType": "LWM2M", "deviceType": "WaterMeter",
  "serviceTypeCapabilities": [
    {"serviceId": "Flow1", "serviceType": "Flow", "option": "Mandatory"},
    {"serviceId": "Flow2", "serviceType": "Flow", "option": ""}]}]}"#;
const SERVICE: &str = r#"{"services": [{"serviceType": "Flow", "description": "",
  "commands": [{"commandName": "SET", "paras": null, "responses": null}],
  "properties": [{"propertyName": "volume", "dataType": "Integer", "required": true, "min": 0,
    "max": "65535", "step": 0.1, "maxLength": 0, "method": "re", "unit": "°", "enumList": null}],
  "events": null}]}"#;

#[test]
fn files_are_found_wherever_they_lie() {
    let with_mark = format!("\u{feff}{DEVICE}");
    let packages = [
        package_of(&[
            ("devicetype-capability.json", DEVICE),
            ("servicetype-capability.json", SERVICE),
        ]),
        package_of(&[
            ("profile/devicetype-capability.json", &with_mark),
            ("service/Flow/profile/servicetype-capability.json", SERVICE),
            ("readme.txt", "nothing"),
        ]),
        package_of(&[
            (
                "WaterMeter/service/Flow/servicetype-capability.json",
                SERVICE,
            ),
            ("WaterMeter/profile/DeviceType-Capability.json", DEVICE),
            ("__MACOSX/profile/._devicetype-capability.json", "\u{1}"),
            ("__MACOSX/profile/devicetype-capability.json", "\u{1}"),
        ]),
    ];
    for (at, bytes) in packages.iter().enumerate() {
        let got = read(bytes, None).unwrap_or_else(|e| panic!("{at}: {e}"));
        let fields = [&got.name, &got.protocol_type, &got.data_format];
        assert_eq!(fields, ["WM1", "CoAP", "binary"], "{at}");
        let [first, second] = got.profile.services.as_slice() else {
            panic!("{at}: {:?}", got.profile);
        };
        let ids = (first.service_id.as_str(), second.service_id.as_str());
        assert_eq!(ids, ("Flow1", "Flow2"));
        assert_eq!(first.option, ServiceOption::Mandatory);
        assert_eq!(second.option, ServiceOption::Optional);
        let volume = &second.properties[0];
        assert_eq!(volume.data_type, DataType::Int);
        assert_eq!((volume.min.as_deref(), volume.step), (Some("0"), Some(0.1)));
        assert_eq!(volume.method, "RE");
        assert_eq!(first.commands[0].command_name, "SET");
        assert_eq!(read(bytes, Some("Named")).unwrap().name, "Named");
    }
}

#[test]
fn all_mistakes_are_told_with_file_and_path() {
    let device = DEVICE.replace(
        "Flow2\", \"serviceType\": \"Flow\"",
        "B\", \"serviceType\": \"X\"",
    );
    let service = SERVICE
        .replace("Integer", "complex")
        .replace("\"re\"", "\"Q\"");
    let lost = SERVICE.replace("\"Flow\"", "\"Lost\"");
    let bytes = package_of(&[
        ("profile/devicetype-capability.json", &device),
        ("service/Flow/servicetype-capability.json", &service),
        ("service/Lost/servicetype-capability.json", &lost),
    ]);
    let told = read(&bytes, None).unwrap_err().to_string();
    let wanted = [
        "profile/devicetype-capability.json: devices[0].serviceTypeCapabilities[1].serviceType: \
         got \"X\", no servicetype-capability.json",
        "service/Flow/servicetype-capability.json: services[0].properties[0].dataType: got \
         \"complex\", takes one of int,",
        "services[0].properties[0].method: got \"Q\", takes one of RWE",
        "service/Lost/servicetype-capability.json: services[0].serviceType: got \"Lost\"",
    ];
    for want in wanted {
        assert!(told.contains(want), "{want}\nnot in\n{told}");
    }
}

#[test]
fn what_the_model_refuses_is_told_in_places_of_the_package() {
    let device = DEVICE.replace("Acme", "Acme Inc").replace("Flow2", "Flow1");
    let service = SERVICE
        .replace("65535", "-1")
        .replace("°", "much too long a unit");
    let bytes = package_of(&[
        ("d/devicetype-capability.json", &device),
        ("s/servicetype-capability.json", &service),
    ]);
    let told = read(&bytes, None).unwrap_err().to_string();
    let wanted = [
        "d/devicetype-capability.json: devices[0].manufacturerName: has the character ' '",
        "devices[0].serviceTypeCapabilities[1].serviceId: \"Flow1\" is there already",
        "s/servicetype-capability.json: services[0].properties[0].min: got 0, takes at most max",
        "services[0].properties[0].unit: got 20 characters",
    ];
    for want in wanted {
        assert!(told.contains(want), "{want}\nnot in\n{told}");
    }
}

#[test]
fn what_is_no_product_is_refused() {
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (b"PK".to_vec(), "is no zip archive"),
        (Vec::new(), "is no zip archive"),
        (package_of(&[]), "devicetype-capability.json: $: is missing"),
        (
            package_of(&[("devicetype-capability.json", "{")]),
            "devicetype-capability.json: $: is no JSON",
        ),
        (
            package_of(&[("devicetype-capability.json", "[]")]),
            "devicetype-capability.json: $: got a list, takes an object",
        ),
        (
            package_of(&[("devicetype-capability.json", "{\"devices\": []}")]),
            "devices: holds no product",
        ),
        (
            package_of(&[("devicetype-capability.json", "{\"devices\": [{}, 1]}")]),
            "devices[0].deviceType: is missing, takes text",
        ),
        (
            package_of(&[
                ("a/devicetype-capability.json", DEVICE),
                ("b/devicetype-capability.json", DEVICE),
                ("servicetype-capability.json", SERVICE),
            ]),
            "b/devicetype-capability.json: $: is there twice",
        ),
        (package_of(&[("../x", "")]), "no name inside"),
        (package_of(&[("a/../../x", "")]), "no name inside"),
        (package_of(&[("a\\..\\x", "")]), "no name inside"),
        (package_of(&[("/etc/x", "")]), "no name inside"),
        (package_of(&[("c:x", "")]), "no name inside"),
        (bomb(), "larger than 8388608 bytes when unpacked"),
        (crowd(), "has 1001 entries, takes up to 1000"),
        (encrypted(), "is encrypted"),
        (doubled(), "two entries of the same name"),
        (damaged(), "can't be unpacked"),
    ];
    for (at, (bytes, want)) in cases.iter().enumerate() {
        let told = read(bytes, None).unwrap_err().to_string();
        assert!(told.contains(want), "{at}: {told}\nwant {want}");
    }
}

/// Two files of 5 MB each: 20 KB packed.
fn bomb() -> Vec<u8> {
    let much = " ".repeat(5 << 20);
    package_of(&[("a", &much), ("b", &much)])
}

fn crowd() -> Vec<u8> {
    let names: Vec<String> = (0..=ENTRIES_MAX).map(|n| n.to_string()).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "")).collect();
    package_of(&files)
}

/// The flag of encryption set in both headers.
fn encrypted() -> Vec<u8> {
    let mut bytes = package_of(&[("devicetype-capability.json", DEVICE)]);
    let central = position(&bytes, b"PK\x01\x02");
    bytes[6] |= 1;
    bytes[central + 8] |= 1;
    bytes
}

/// `a` and `b`, renamed to `a` and `a`.
fn doubled() -> Vec<u8> {
    let bytes = package_of(&[("file_a", "1"), ("file_b", "2")]);
    let mut text = bytes;
    while let Some(at) = text.windows(6).position(|w| w == b"file_b") {
        text[at + 5] = b'a';
    }
    text
}

/// A byte of the packed content changed, so that its sum is wrong.
fn damaged() -> Vec<u8> {
    let mut bytes = package_of(&[("devicetype-capability.json", DEVICE)]);
    let at = 30 + "devicetype-capability.json".len() + 40;
    bytes[at] ^= 0x55;
    bytes
}

fn position(bytes: &[u8], needle: &[u8]) -> usize {
    bytes
        .windows(needle.len())
        .position(|window| window == needle)
        .unwrap()
}

#[test]
fn mistakes_are_bounded() {
    let many: Vec<Value> = (0..900).map(Value::from).collect();
    let device = serde_json::json!({"devices": many}).to_string();
    let bytes = package_of(&[("devicetype-capability.json", &device)]);
    let Err(PackageError::Mistakes { mistakes, untold }) = read(&bytes, None) else {
        panic!("taken");
    };
    assert_eq!(mistakes.len(), super::MISTAKES_MAX);
    assert!(untold > 800, "{untold}");
}

fn name(max: usize) -> impl Strategy<Value = String> {
    let letters = "水表abcXYZ019_?'#().,&%@!-".chars().collect::<Vec<_>>();
    proptest::collection::vec(proptest::sample::select(letters), 1..max)
        .prop_map(|chars| chars.into_iter().collect())
}

fn maybe<T: std::fmt::Debug + Clone>(
    of: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(of)
}

fn data_type() -> impl Strategy<Value = DataType> {
    proptest::sample::select(vec![
        DataType::Int,
        DataType::Long,
        DataType::Decimal,
        DataType::String,
        DataType::DateTime,
        DataType::JsonObject,
        DataType::Enum,
        DataType::Boolean,
        DataType::StringList,
    ])
}

prop_compose! {
    fn para()(
        para_name in name(20),
        data_type in data_type(),
        required in any::<bool>(),
        entry in name(8),
        listed in any::<bool>(),
        min in maybe(0..1000_u32),
        span in maybe(0..1000_u32),
        max_length in maybe(0..1000_u32),
        step in maybe(0.0..10.0_f64),
        unit in maybe("[a-z°/ ]{0,8}"),
        description in maybe("\\PC{0,40}"),
    ) -> Para {
        let listed = listed || data_type == DataType::Enum;
        Para {
            para_name,
            data_type,
            required,
            enum_list: listed.then(|| vec![entry]),
            min: min.map(|min| min.to_string()),
            max: span.map(|span| (1000 + span).to_string()),
            max_length,
            step,
            unit,
            description,
        }
    }
}

fn paras() -> impl Strategy<Value = Vec<Para>> {
    proptest::collection::vec(para(), 0..3).prop_map(|mut paras| {
        for (at, para) in paras.iter_mut().enumerate() {
            para.para_name.push_str(&at.to_string());
        }
        paras
    })
}

prop_compose! {
    fn property()(
        para in para(),
        property_name in name(30),
        method in proptest::sample::select(vec!["RWE", "RW", "RE", "WE", "E", "W", "R"]),
    ) -> Property {
        let default_value = match (para.data_type, &para.enum_list) {
            (DataType::Boolean, _) => Some(Value::Bool(true)),
            (DataType::Enum, Some(list)) => Some(Value::String(list[0].clone())),
            _ => None,
        };
        Property {
            property_name,
            data_type: para.data_type,
            required: para.required,
            enum_list: para.enum_list,
            min: para.min,
            max: para.max,
            max_length: para.max_length,
            step: para.step,
            unit: para.unit,
            method: method.to_owned(),
            description: para.description,
            default_value,
        }
    }
}

prop_compose! {
    fn service()(
        service_id in name(30),
        service_type in name(5),
        mut properties in proptest::collection::vec(property(), 0..4),
        commands in proptest::collection::vec((name(30), paras(), paras()), 0..3),
        events in proptest::collection::vec((name(20), paras()), 0..3),
        description in maybe("\\PC{0,40}"),
        option in proptest::sample::select(vec![
            ServiceOption::Master, ServiceOption::Mandatory, ServiceOption::Optional,
        ]),
    ) -> Service {
        for (at, property) in properties.iter_mut().enumerate() {
            property.property_name.push_str(&at.to_string());
        }
        let commands = commands.into_iter().enumerate().map(|(at, (name, paras, back))| Command {
            command_name: format!("{name}{at}"),
            paras,
            responses: vec![Response { response_name: name, paras: back }],
        });
        let events = events.into_iter().enumerate().map(|(at, (name, paras))| Event {
            event_type: format!("{name}{at}"),
            paras,
        });
        Service {
            service_id,
            service_type,
            properties,
            commands: commands.collect(),
            events: events.collect(),
            description,
            option,
        }
    }
}

prop_compose! {
    fn package()(
        name in name(40),
        device_type in name(30),
        protocol_type in proptest::sample::select(vec!["CoAP", "MQTT", "OPC-UA", "Other"]),
        data_format in proptest::sample::select(vec!["json", "binary"]),
        manufacturer_name in maybe(name(30)),
        industry in maybe(name(30)),
        description in maybe("\\PC{0,40}"),
        mut services in proptest::collection::vec(service(), 0..4),
    ) -> Package {
        for (at, service) in services.iter_mut().enumerate() {
            service.service_id.push_str(&at.to_string());
        }
        Package {
            name,
            device_type,
            protocol_type: protocol_type.to_owned(),
            data_format: data_format.to_owned(),
            manufacturer_name,
            industry,
            description,
            profile: Profile { services },
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_reads_back(package in package()) {
        prop_assert_eq!(check::model(&package.profile), vec![]);
        let bytes = write(&package).unwrap();
        let back = read(&bytes, None);
        prop_assert_eq!(back, Ok(package));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        drop(read(&bytes, None));
    }

    /// Packages with some bytes changed come further than chance.
    #[test]
    fn bent_packages_are_read_without_panic(
        bends in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = package_of(&[
            ("devicetype-capability.json", DEVICE),
            ("servicetype-capability.json", SERVICE),
        ]);
        for (at, byte) in bends {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        drop(read(&bytes, None));
    }
}
