"""What schemathesis must know of Strait, beside its OpenAPI document. Loaded by schemathesis itself.

`valid_data_is_accepted` is its own `positive_data_acceptance`, but for refusals that no schema can
foresee: each is named below by its operation and its words, so that any other refusal of valid data
still fails.
"""

import re

import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance

ANY = r".*"
# The plan of a campaign takes the body that creates it.
TASK = r"create_batch_task|plan_campaign"
MODEL = r"create_product|update_product"
PEM = ["application/x-pem-file", "application/pem-certificate-chain"]

# Operation, status, code and message of the answer, and why it may refuse what its schema takes.
EXCUSES = [
    (ANY, r"400 IOTDA\.009002 .*", "a product is named that must be there"),
    (ANY, r"400 IOTDA\.000010 .*", "two times must be in order"),
    (ANY, r"412 \S+ If-(None-)?Match: does not hold.*", "a precondition must hold"),
    (r"show_codec_version|roll_back_codec", r"400 \S+ etag: .*", "a tag is made by the server"),
    (r"replay_uplinks", r"400 \S+ (to|from|device_ids?|kinds(\[\d+\])?): .*", "times are in order, devices are named once"),
    (r"(put|show|delete|roll_back)_(codec|settings)|download_package", r"400 \S+ If-(None-)?Match: takes \* or tags in quotes",
     "coverage sends these headers empty"),
    (ANY, r"400 \S+ \w+: there is a .* already, takes .*", "ids and names are taken once"),
    (r"(add|update)_device_group", r"400 \S+ name: there is a group .*", "names are taken once"),
    (r".*device_group.*|show_devices_in_group", r"400 \S+ (super_group_id|group_id|dynamic_group_rule|group_type).*",
     "groups have an order, and kinds"),
    (r"search_devices", r"400 \S+ sql: .*", "a query language is no schema"),
    (r"tag_device", r"400 \S+ tags\[\d+\]\.tag_key: is given twice.*", "each key is named once"),
    (r"tag_device", r"400 \S+ tags: the device would have .*", "tags of a device are few"),
    (r"delete_application", r"400 \S+ app_id: .* default resource space.*", "one space must stay"),
    (r"add_device", r"400 \S+ gateway_id: there is no device .*", "a gateway must be there"),
    (r"add_device|update_device|reset_device_secret", r"400 \S+ (auth_info\.)?secret: .*",
     "a product says whether a secret must be hexadecimal"),
    (r"add_device", r"400 \S+ shadow.*", "what is desired must be in the product's model"),
    (r"update_device_shadow_desired_data", r"400 \S+ shadow.*", "what is desired must be in the product's model"),
    (r"update_device_shadow_desired_data", r"409 \S+ shadow\[\d+\]\.version: .*", "a version is that of the shadow"),
    (r"delete_product", r"400 \S+ product_id: devices belong to .*", "devices go first"),
    (MODEL, r"400 \S+ service_capabilities.* is there already.*", "names are taken once in a list"),
    (MODEL, r"400 \S+ service_capabilities.*\.min: got \S+, takes at most max.*", "bounds are in order"),
    (MODEL, r"400 \S+ service_capabilities.*\.enum_list: is missing, the data type enum needs .*",
     "what depends on the data type"),
    (MODEL, r"400 \S+ service_capabilities.*\.default_value: .*", "a default has its property's type"),
    (r"import_product|upload_batch_task_file", r"400 \S+ the form can't be read: failed to read headers.*",
     "names of other parts are made up that no header may have"),
    (r"import_product", r"400 \S+ body: .*", "a package is a zip archive, which no schema can tell"),
    (r"(add|check)_certificate", r"400 \S+ (verify_)?content: .*", "a certificate is no schema"),
    (r"upload_batch_task_file", r"400 \S+ file: .*", "a workbook or CSV is no schema"),
    (TASK, r"400 \S+ (targets|document(\.shadow\S*)?|document_source|task_policy\.retry_\w+): is missing.*",
     "what depends on the type of the task, and on what else there is"),
    (TASK, r"400 \S+ document\..*: is missing.*", "what depends on the type of the task"),
    (r"list_async.*|show_async.*", r"400 \S+ (marker|command_id): got .*", "a marker and an id are made by the server"),
    (r"create_async_command", r"400 \S+ (paras|service_id|command_name).*", "the product's model says what a command takes"),
    (r"create_async_command", r"400 \S+ X-Request-Id: got 0 bytes.*", "coverage sends this header empty"),
    (r"encode.*", r"400 \S+ (known|command_name|properties|paras|mid): .*", "a command or properties, not both"),
    (r".*set_aside.*|push_again.*|retry.*", r"400 \S+ positions\[\d+\]: got the number .*, takes a whole number.*",
     "whole numbers are written without a point"),
    (r"test_sql", r"400 \S+ (select|where): .*", "a query language is no schema"),
    (r"switch_trace", r"400 \S+ duration_s: goes with .*", "only a trace that runs has a duration"),
    (TASK, r"400 \S+ (targets|targets_filter): createDevices takes .*",
     "what depends on the type of the task"),
    (TASK, r"400 \S+ task_type: got .*, this server takes .*",
     "a type of the v5 API that is not served"),
    (TASK, r"400 \S+ task_policy\.schedule_time: .*", "a time within the next days"),
    (TASK, r"400 \S+ (targets_filter|document_source).*: there is no (group|file) .*",
     "what is named must be there"),
    (TASK, r"400 \S+ the number of batch tasks that run .* is reached: .*",
     "few tasks run at a time"),
    (r"(stop|retry|confirm|delete)_batch_task", r"400 \S+ the task is .*", "a task is in the right state"),
    (r"confirm_batch_task", r"400 \S+ task_id: a task of type \w+ has nothing to confirm", "upgrades alone are confirmed"),
    (r"confirm_batch_task", r"400 \S+ task_id: the task was created without need_confirm, .*",
     "only what was made to wait is confirmed"),
    (MODEL, r"400 \S+ service_capabilities.*the running codec does not fit.*",
     "the codec reads into this model"),
    (ANY, r"400 \S+ \w+: has \d+ [a-z -]+, delete one first", "there are few of each"),
    (r"create_routing_rule", r"400 \S+ subject\.event: got .*", "a resource has its own events"),
    (r"create_routing_rule", r"400 \S+ app_id: a rule of app_type GLOBAL takes none.*",
     "what depends on the type of the rule"),
    (r"(create|update)_routing_rule", r"400 \S+ (select|where)\b.*", "a language is no schema"),
    (r"(create|update)_rule_action", r"400 \S+ channel_detail\.http_forwarding\.\w+: .*",
     "URLs and names are no schema, a certificate must be there"),
    (r"create_routing_flow_control_policy", r"400 \S+ scope_value: .*", "what depends on the scope"),
    (r"put_push_certificate", r"400 \S+ (body: .*|the body is not UTF-8.*)",
     "a certificate is no schema"),
    (r"plan_campaign", r"400 \S+ task_type: got \w+, a campaign takes .*", "few of a task's types are campaigns"),
    (r"plan_campaign", r"400 \S+ assume\.mix.*",
     "whole numbers are written without a point, shares have a sum"),
    (r".*campaign.*", r"400 \S+ task_id: a task of type \w+ is no campaign, .*", "tasks of other types have no campaign"),
    (r"(pause|resume)_campaign|put_campaign_policy", r"400 \S+ .*the task is .*", "a task is in the right state"),
    (r"put_campaign_policy", r"400 \S+ (canary|window).*", "what depends on how far the campaign is"),
    (TASK, r"400 \S+ document.*package.*", "a package must be there, and fit the task"),
    (r"upload_package", r"400 \S+ (signature|X-Package-Signature|version|fragment_size|support_source_versions|description|module_name|body|size|file_name)\b.*",
     "what depends on the type of the package and on its bytes"),
    (r"(upload|create_ota)_package", r"409 \S+ .*", "a version means one file for ever"),
    (r"create_ota_package", r"400 \S+ file_location.*", "what is named must be there"),
    (r"create_ota_package", r"400 \S+ (version|support_source_versions)\b.*",
     "what depends on the type of the package"),
    (r"delete_ota_package", r"409 \S+ .*", "a package in use stays"),
    (r"put_codec", r"422 \S+ the codec has .* mistakes?, .*", "a codec must compile"),
    (r"decode", r"422 .*", "the codec does not know these bytes"),
    (r"encode", r"(400|422) \S+ (service_id|command_name|paras).*", "a command must be in the model"),
]


def excuse_of(operation, response):
    try:
        body = response.json()
        told = f"{response.status_code} {body['error_code']} {body['error_msg']}"
    except (ValueError, KeyError, TypeError):
        return None
    for operations, words, reason in EXCUSES:
        if re.fullmatch(operations, operation) and re.fullmatch(words, told, re.DOTALL):
            return reason
    return None


@schemathesis.check
def valid_data_is_accepted(ctx, response, case):
    operation = case.operation.definition.raw["operationId"]
    if excuse_of(operation, response):
        return None
    return positive_data_acceptance(ctx, response, case)


@schemathesis.serializer("application/toml", "application/zip", *PEM, "application/javascript", "text/javascript",
                          "application/wasm")
def as_text(ctx, value):
    """Schemathesis knows no such types; the document has their bytes as text."""
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
