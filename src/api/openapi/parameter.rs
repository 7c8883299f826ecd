//! Parameters by their names, which mean the same wherever they stand: ids in paths, and what many
//! queries take.

use serde_json::{Value, json};

use crate::base::ids::{AppId, DeviceId, PATTERN, ProductId};

/// What is known of a parameter of a path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PathParameter {
    pub schema: Value,
    pub description: &'static str,
    pub example: &'static str,
}

/// The parameter `{name}` of a path.
pub(super) fn of_path(name: &str) -> PathParameter {
    // Longest id and number of digits of what the server names itself.
    const MADE_MAX: usize = 36;
    // SHA-256 in hex.
    const ETAG_LEN: usize = 64;
    let (max, description, example) = match name {
        "project_id" => {
            return PathParameter {
                schema: json!({"type": "string", "minLength": 1}),
                description: "May be anything, and partitions nothing.",
                example: "p1",
            };
        }
        "replay_id" => {
            return PathParameter {
                schema: json!({"type": "string", "pattern": "^[1-9][0-9]{0,8}$"}),
                description: "A replay of the product.",
                example: "1",
            };
        }
        "device_id" => (DeviceId::MAX_LEN, "A device.", "watermeter_867725038317248"),
        "product_id" => (ProductId::MAX_LEN, "A product.", "watermeter"),
        "app_id" => (AppId::MAX_LEN, "A resource space.", "example-space"),
        "command_id" => (
            MADE_MAX,
            "A command.",
            "01a0c4f1-9c00-7000-8000-000000001001",
        ),
        "group_id" => (MADE_MAX, "A group.", "example-group"),
        "task_id" => (MADE_MAX, "A batch task.", "example-task"),
        "package_id" => (MADE_MAX, "A package.", "example-package"),
        "file_id" => (MADE_MAX, "An uploaded file.", "example-file"),
        "certificate_id" => (MADE_MAX, "A CA certificate.", "example-certificate"),
        "rule_id" => (MADE_MAX, "A routing rule.", "example-rule"),
        "action_id" => (MADE_MAX, "An action of a routing rule.", "example-action"),
        "policy_id" => (MADE_MAX, "A policy.", "example-policy"),
        "queue_id" => (MADE_MAX, "A queue.", "example-queue"),
        "etag" => (
            ETAG_LEN,
            "The ETag of a codec version, without quotes.",
            super::super::codec::EXAMPLE_ETAG,
        ),
        "cert_id" => (MADE_MAX, "CA certificates of subscribers.", "example-cert"),
        _ => (MADE_MAX, "", "example"),
    };
    PathParameter {
        schema: json!({"type": "string", "minLength": 1, "maxLength": max, "pattern": PATTERN}),
        description,
        example,
    }
}

/// What a parameter of a query means; empty when its name says it.
pub(super) const fn of_query(name: &str) -> &'static str {
    match name.as_bytes() {
        b"limit" => "Elements of a page.",
        b"offset" => "Elements to pass over after the marker.",
        b"marker" => "The marker of the page before; without, from the newest on.",
        b"app_id" => "Only what is in this resource space.",
        b"product_name" | b"device_name" | b"rule_name" | b"policy_name" => "The whole name.",
        b"queue_name" => "A part of the name.",
        b"start_time" => "Created at this time or later, like `20260131T235959Z`.",
        b"end_time" => "Created at this time or earlier, like `20260131T235959Z`.",
        b"from" => "From here on.",
        b"to" => "Up to here, and not this itself.",
        b"package_type" => {
            "`firmwarePackage` is fetched by LwM2M Object 5, `softwarePackage` by PCP."
        }
        b"version" => "What a device reports after the upgrade; of software up to 16 characters.",
        b"fragment_size" => "Bytes of a PCP fragment, of software alone.",
        b"support_source_versions" => {
            "Versions that a device may come from, with commas between; none: any."
        }
        b"file_name" => "What the file is called, without Chinese characters.",
        b"signature" => {
            "An Ed25519 signature of the file, in base64; the header X-Package-Signature does as well."
        }
        b"token" => "What POST …/token made; then nobody has to say who he is.",
        b"is_cascade_query" => "With `gateway_id`: what is below at any depth, too.",
        _ => "",
    }
}
