//! Damages that `strait store check` must find, in the database of `tools.rs`, and what it says of each.

use strait::base::peer::DeviceSeq;
use strait::store::catalog::VersionHead;
use strait::store::forwarding::{ForwardingRecord, RuleRecord};
use strait::store::seal::Sealer;
use strait::store::{keys, rows, sealed};

use super::forwarding::{action, push_certificate, queue, rule};
use super::records::*;

/// A row that is put or removed behind the store's back.
pub(super) type Damage = (Vec<u8>, Option<Vec<u8>>);

fn gone(key: Vec<u8>) -> Damage {
    (key, None)
}

fn put(key: Vec<u8>, row: &[u8]) -> Damage {
    (key, Some(row.to_vec()))
}

/// Damages of devices and their indexes, and what `check` says of each.
fn damages_of_indexes() -> Vec<(Damage, Vec<String>)> {
    let two = device_id("two");
    let node = keys::node(&node_id("node-one"));
    let member = keys::member(&product_id("meter"), 2);
    let no_index = |what: &str| format!("devices one: no index row {what} points here");
    vec![
        (gone(node.clone()), vec![no_index("nodes node-one")]),
        (
            gone(keys::order(2)),
            vec![no_index("order 0000000000000002")],
        ),
        (
            gone(member),
            vec![no_index("members 6d65746572000000000000000002")],
        ),
        (
            put(node, &keys::node_value(3, &two)),
            vec![
                no_index("nodes node-one"),
                "nodes node-one: points to devices two, which differs".to_owned(),
            ],
        ),
        (
            gone(keys::device(&two)),
            vec![
                "states two: there is no row devices two".to_owned(),
                "nodes node-two: points to devices two, which is missing".to_owned(),
                "order 0000000000000003: points to devices two, which is missing".to_owned(),
                "members 6d65746572000000000000000003: points to devices two, which is missing"
                    .to_owned(),
                "names 5ac3a4686c657200010000000000000003: points to devices two, which is missing"
                    .to_owned(),
            ],
        ),
        (
            put(keys::node(&node_id("node-one")), b"short"),
            vec![
                no_index("nodes node-one"),
                "nodes node-one: is no seq and device id".to_owned(),
            ],
        ),
        (
            put(
                keys::node(&node_id("node-one")),
                &keys::node_value(9, &device_id("one")),
            ),
            vec![
                no_index("nodes node-one"),
                "nodes node-one: points to devices one, which differs".to_owned(),
            ],
        ),
        (
            gone(keys::name("Zähler", 2)),
            vec![no_index("names 5ac3a4686c657200010000000000000002")],
        ),
        (
            put(keys::name("Meter", 2), b"one"),
            vec![
                "names 4d6574657200010000000000000002: points to devices one, which differs"
                    .to_owned(),
            ],
        ),
    ]
}

/// Damages of what is around devices, and what `check` says of each.
fn damages_of_the_catalog() -> Vec<(Damage, Vec<String>)> {
    let group_key = keys::group(&group("street", 5).group_id);
    let root = keys::certificate(&certificate("root", 8).certificate_id);
    let lane = rows::encode(&group("lane", 5)).unwrap();
    let later = rows::encode(&audit(1001, 9)).unwrap();
    let name = "package_names 6d657465720066666f75722e73";
    let in_no_space = |row: &str| format!("{row}: there is no resource space app");
    vec![
        (
            gone(keys::app(&app_id("app"))),
            vec![
                in_no_space("groups street"),
                in_no_space("tasks 0000000000000006"),
                in_no_space("certificates root"),
                in_no_space("forwarding r:r"),
                in_no_space("packages fw"),
            ],
        ),
        (
            gone(keys::task(6)),
            vec!["subtasks 000000000000000600000000: there is no batch task with seq 6".to_owned()],
        ),
        (
            gone(keys::file(&file_id("f"))),
            vec!["contents f: there is no row files f".to_owned()],
        ),
        (
            gone(keys::package(&package("fw", 16).package_id)),
            vec![format!("{name}: there is no package fw")],
        ),
        (
            gone(keys::package_name(&package("fw", 16).name())),
            vec![format!(
                "packages fw: no row {name} binds its name to it and its file"
            )],
        ),
        (
            put(
                b"\x21meter\0x1".to_vec(),
                &rows::encode(&named(None, None)).unwrap(),
            ),
            vec![
                "package_names 6d65746572007831: the key is not product id, type and version"
                    .to_owned(),
            ],
        ),
        (
            put(group_key, &lane),
            vec!["groups street: holds groups lane".to_owned()],
        ),
        (
            put(root, &[1, 0xff]),
            vec!["certificates root: CBOR: unexpected code at offset 1".to_owned()],
        ),
        (
            put(keys::audit(at(1000), 9), &later),
            vec![
                "audit 00000000000003e80000000000000009: \
                 holds audit 00000000000003e90000000000000009"
                    .to_owned(),
            ],
        ),
    ]
}

/// Other damages, and what `check` says of each.
fn damages_of_rows() -> Vec<(Damage, Vec<String>)> {
    let (one, two) = (device_id("one"), device_id("two"));
    vec![
        (
            gone(keys::product(&product_id("meter"))),
            vec![
                "devices one: there is no product meter".to_owned(),
                "devices two: there is no product meter".to_owned(),
                "codecs meter: there is no row products meter".to_owned(),
                "settings meter: there is no row products meter".to_owned(),
                "packages fw: there is no product meter".to_owned(),
            ],
        ),
        (
            put(keys::state(&two), &[1, 0xff]),
            vec!["states two: CBOR: unexpected code at offset 1".to_owned()],
        ),
        (
            put(keys::event(1), &[9]),
            vec!["events 0000000000000001: row format is 9, this version reads 1 there".to_owned()],
        ),
        (
            put(keys::part(99, 0), b"left over"),
            vec!["parts 00000000000000630000: 9 bytes that no row needs".to_owned()],
        ),
        (
            put(vec![0x7f, 1], b"?"),
            vec!["unknown 01: no table has this prefix".to_owned()],
        ),
        (
            gone(keys::meta(keys::Meta::Format)),
            vec!["meta format: is missing".to_owned()],
        ),
        (
            put(keys::meta(keys::Meta::Seq), &[0; 8]),
            vec![
                "devices one: seq 2 was never reserved".to_owned(),
                "devices two: seq 3 was never reserved".to_owned(),
            ],
        ),
        (
            gone(keys::meta(keys::Meta::Seal)),
            vec!["meta seal: is missing".to_owned()],
        ),
        (
            put(keys::meta(keys::Meta::Seal), b"short"),
            vec!["meta seal: is no check value of 32 bytes".to_owned()],
        ),
        (
            put(keys::meta(keys::Meta::Generation), &[1, 0xff]),
            vec!["meta generation: CBOR: unexpected code at offset 1".to_owned()],
        ),
        (
            gone(keys::part(2, 1)),
            vec!["states one: a part of it is missing".to_owned()],
        ),
        (
            gone(keys::state(&one)),
            vec![
                "parts 00000000000000020000: 4096 bytes that no row needs".to_owned(),
                "parts 00000000000000020001: 4096 bytes that no row needs".to_owned(),
                "parts 00000000000000020002: 891 bytes that no row needs".to_owned(),
            ],
        ),
    ]
}

/// Damages of what is sealed, and what `check` says of each.
fn damages_of_seals() -> Vec<(Damage, Vec<String>)> {
    let seqs = [2, 3, 7].map(DeviceSeq);
    let [first, second, third] =
        seqs.map(|seq| sealed::encode_session(&session("two", seq.0, 9), &sealer()).unwrap());
    let other = sealed::encode_session(&session("one", 3, 9), &sealer()).unwrap();
    let mut device = device("one", 2, "meter");
    let mine = sealed::encode_device(&mut device.clone(), &sealer()).unwrap();
    let foreign = Sealer::new([1; 32]);
    let theirs = sealed::encode_device(&mut device, &foreign).unwrap();
    let mut number = second.clone();
    *number.last_mut().unwrap() = 10;
    let closed = "its sealed part can't be opened: \
                  the sealing key does not fit, or the row is damaged";
    let (one, three) = (keys::device(&device_id("one")), keys::session(seqs[1]));
    vec![
        (put(one.clone(), &mine), vec![]),
        (put(one, &theirs), vec![format!("devices one: {closed}")]),
        (
            put(three.clone(), &first),
            vec![format!("sessions 0000000000000003: {closed}")],
        ),
        (
            put(three.clone(), &number),
            vec!["sessions 0000000000000003: holds session 9 of the device with seq 3".to_owned()],
        ),
        (
            put(three, &other),
            vec!["sessions 0000000000000003: belongs to device one".to_owned()],
        ),
        (
            put(keys::session(seqs[2]), &third),
            vec!["sessions 0000000000000007: there is no device with seq 7".to_owned()],
        ),
    ]
}

/// Damages of rules, actions and certificates of subscribers, and what `check` says of each.
fn damages_of_forwarding() -> Vec<(Damage, Vec<String>)> {
    let (rule, action) = (rule("r", 10), action("a", 12, Some("c")));
    let (rule_key, action_key) = (
        keys::forwarding(&rule.key()),
        keys::forwarding(&action.key()),
    );
    let certificate = keys::forwarding(&push_certificate("c", 11).key());
    let encode = |key: &[u8]| sealed::encode_forwarding(key, &rule, &sealer()).unwrap();
    // The head of another version.
    let other = sealed::encode_forwarding(&rule_key, &with_version(2), &sealer()).unwrap();
    let (sealed_part, _) = rows::split_sealed(&other).unwrap();
    let head = VersionHead { version: 1 };
    let other = rows::encode_beside(sealed_part, &head).unwrap();
    let queue_key = keys::forwarding(&queue("q", 15).key());
    let no_row = |row: &str| format!("forwarding a:a: there is no row forwarding {row}");
    vec![
        (gone(rule_key.clone()), vec![no_row("r:r")]),
        (gone(certificate), vec![no_row("c:c")]),
        (
            put(action_key, &encode(&rule_key)),
            vec![
                "forwarding a:a: its sealed part can't be opened: the sealing key does not fit, \
                 or the row is damaged"
                    .to_owned(),
            ],
        ),
        (
            put(queue_key.clone(), &encode(&queue_key)),
            vec!["forwarding q:q: holds forwarding r:r".to_owned()],
        ),
        (
            put(rule_key, &other),
            vec!["forwarding r:r: holds version 2, its head says 1".to_owned()],
        ),
    ]
}

fn with_version(version: u64) -> ForwardingRecord {
    match rule("r", 10) {
        ForwardingRecord::Rule(rule) => ForwardingRecord::Rule(RuleRecord { version, ..rule }),
        other => other,
    }
}

/// Every damage, each of a sound database.
pub(super) fn damages() -> Vec<(Damage, Vec<String>)> {
    [
        damages_of_indexes(),
        damages_of_the_catalog(),
        damages_of_rows(),
        damages_of_seals(),
        damages_of_forwarding(),
    ]
    .concat()
}
