"""What each operation of the v5 API answers: status and fields, as its public reference has them.

A model is `name type` pairs. Types: s text, i whole number, f number, b boolean, obj JSON object,
any JSON value, time `yyyyMMdd'T'HHmmss'Z'`, time_ms `yyyy-MM-dd'T'HH:mm:ss.SSS'Z'`, hex24 an id of
24 hexadecimal digits, A|B one of these words, or a model's name; `[]` after it: a list. `!` after
the name: never null, as the server always knows it. Every other field is there as well, null when
it is unknown; no others are there.
"""

PRODUCT_HEAD = """
    app_id! s, app_name s, product_id! s, name! s, device_type! s,
    protocol_type! MQTT|CoAP|HTTP|HTTPS|Modbus|ONVIF|OPC-UA|OPC-DA|Other|TCP|UDP,
    data_format! json|binary, manufacturer_name s, industry s, description s, create_time! time
"""
PARA_TYPE = "int|long|decimal|string|DateTime|jsonObject|enum|boolean|string list"
DEVICE_HEAD = """
    app_id! s, app_name s, device_id! s, node_id! s, gateway_id! s, device_name s,
    node_type! ENDPOINT|GATEWAY|UNKNOWN, fw_version s, sw_version s,
    device_sdk_version s, product_id! s, product_name s,
    status! ONLINE|OFFLINE|ABNORMAL|INACTIVE|FROZEN
"""
GROUP_HEAD = "group_id! s, name! s, description s, super_group_id s, group_type s"
TASK_STATUS = "Initializing|Waitting|Processing|Success|Fail|PartialSuccess|Stopped|Stopping"
TASK_TYPE = (
    "softwareUpgrade|firmwareUpgrade|moduleUpgrade|createDevices|deleteDevices|freezeDevices|"
    "unfreezeDevices|createCommands|createAsyncCommands|createMessages|updateDeviceShadows|"
    "updateDevices"
)
COMMAND_HEAD = """
    device_id! s, command_id! s, service_id! s, command_name! s, expire_time! i,
    status! PENDING|EXPIRED|SENT|DELIVERED|SUCCESSFUL|FAILED|TIMEOUT, created_time! time,
    send_strategy! immediately|delay
"""
COMMAND_TIMES = ", sent_time time, delivered_time time, response_time time"
PACKAGE_HEAD = """
    package_id! hex24, app_id! s, package_type! firmwarePackage|softwarePackage, product_id! s,
    product_name! s, module_name s, version! s, support_source_versions! s[], description s,
    custom_info s, create_time! time
"""
TARGET_STATUS = "Waitting|Processing|Success|Fail|FailWaitRetry|Stopped|Removed"

MODELS = {
    "Page": "count! i, marker hex24",
    # Commands
    "SubmittedCommand": COMMAND_HEAD + ", paras! obj",
    "Command": COMMAND_HEAD + COMMAND_TIMES + ", paras! obj, result obj",
    "AsyncDeviceListCommand": COMMAND_HEAD + COMMAND_TIMES,
    "OpenCommands": "commands! AsyncDeviceListCommand[], page! QueueCommandPage",
    "QueueCommandPage": "count! i, marker s",
    "EndedCommands": "commands! AsyncDeviceListCommand[], page! HistoryCommandPage",
    "HistoryCommandPage": "marker s",
    "CommandCount": "count! i",
    # Products
    "Product": PRODUCT_HEAD + ", service_capabilities! ServiceCapability[]",
    "ProductSummary": PRODUCT_HEAD,
    "ServiceCapability": """
        service_id! s, service_type! s, properties ServiceProperty[], commands ServiceCommand[],
        events ServiceEvent[], description s, option! Master|Mandatory|Optional""",
    "ServiceProperty": f"""
        property_name! s, data_type! {PARA_TYPE}, required! b, enum_list s[], min s, max s,
        max_length i, step f, unit s, method! RWE|RW|RE|WE|E|W|R, description s,
        default_value any""",
    "ServiceCommand": """
        command_name! s, paras ServiceCommandPara[], responses ServiceCommandResponse[]""",
    "ServiceCommandPara": f"""
        para_name! s, data_type! {PARA_TYPE}, required! b, enum_list s[], min s, max s,
        max_length i, step f, unit s, description s""",
    "ServiceCommandResponse": "response_name! s, paras ServiceCommandPara[]",
    "ServiceEvent": "event_type! s, paras ServiceCommandPara[]",
    "Products": "products! ProductSummary[], page! Page",
    # Devices
    "Device": DEVICE_HEAD
    + """, description s, auth_info! AuthInfoRes, create_time! time,
        connection_status_update_time time_ms, active_time time_ms, tags TagV5DTO[],
        modules ModuleDTO[], extension_info obj""",
    "AuthInfoRes": """
        auth_type! SECRET|CERTIFICATES, secret s, secondary_secret s, fingerprint s,
        secondary_fingerprint s, secure_access! b, timeout! i""",
    "TagV5DTO": "tag_key! s, tag_value s",
    "ModuleDTO": "module_name s, module_version s",
    "Devices": "devices! QueryDeviceSimplify[], page! Page",
    "QueryDeviceSimplify": DEVICE_HEAD + ", description s, tags TagV5DTO[]",
    "DeviceSecret": "device_id! s, secret! s, secret_type! PRIMARY|SECONDARY",
    "DeviceGroupsOfDevice": "device_groups! ListDeviceGroupSummary[]",
    "ListDeviceGroupSummary": GROUP_HEAD,
    # `devices` is null when the statement counts.
    "Search": "devices SearchDevice[], count i",
    # Null where the statement doesn't ask for it.
    "SearchDevice": DEVICE_HEAD.replace("!", "")
    + ", groups any, tags any, modules ModuleSearchDTO[], marker hex24",
    "ModuleSearchDTO": "module_name s, module_version s",
    # Groups and tags
    "DeviceGroup": GROUP_HEAD + ", dynamic_group_rule s",
    "DeviceGroups": "device_groups! DeviceGroupResponseSummary[], page! Page",
    "DeviceGroupResponseSummary": GROUP_HEAD,
    "DevicesInGroup": "devices! SimplifyDevice[], page! Page",
    "SimplifyDevice": "device_id! s, node_id! s, device_name s, product_id! s",
    "Resources": "resources! ResourceDTO[], page! Page",
    "ResourceDTO": "resource_id! s",
    # Shadow
    "Shadow": "device_id! s, shadow! DeviceShadowData[]",
    "DeviceShadowData": """
        service_id! s, desired DeviceShadowProperties, reported DeviceShadowProperties,
        version! i""",
    "DeviceShadowProperties": "properties obj, event_time time",
    # Batch tasks
    "Task": f"""
        task_id! s, task_name! s, task_type! {TASK_TYPE}, task_mode s, need_confirm b,
        task_ext_info obj, targets s[], targets_filter obj, document obj, task_policy TaskPolicy,
        status! {TASK_STATUS}, status_desc s, task_progress TaskProgress, create_time! time""",
    "TaskPolicy": "schedule_time time, retry_count i, retry_interval i",
    "TaskProgress": """
        total! i, processing! i, success! i, fail! i, waitting! i, fail_wait_retry! i, stopped! i,
        removed! i""",
    "Tasks": "batchtasks! Task[], page! Page",
    "TaskWithDetails": "batchtask! Task, task_details! TaskDetail[], page! Page",
    "TaskDetail": f"target! s, status! {TARGET_STATUS}, output s, error ErrorInfo",
    "ErrorInfo": "error_code! s, error_msg! s",
    "BatchTargetResults": "targets! BatchTargetResult[]",
    "BatchTargetResult": "target! s, status s, error_code s, error_msg s",
    "BatchTaskFile": "file_id! s, file_name! s, upload_time! time",
    "BatchTaskFiles": "files! BatchTaskFile[]",
    # Packages
    "OtaPackage": PACKAGE_HEAD + ", file_location FileLocation",
    "OtaPackages": "packages! OtaPackageInfo[], page! Page",
    "OtaPackageInfo": PACKAGE_HEAD,
    "FileLocation": "obs_location! obj",
    # Our own, with its file: null before there is one.
    "Package": PACKAGE_HEAD.replace("product_name! s,", "")
    + """, file_name s, size i, sha256 s, fragment_size i, fragments i, coap_path s,
        signed_by s""",
    # Resource spaces
    "Application": "app_id! s, app_name! s, create_time! time, default_app! b",
    "Applications": "applications! ApplicationDTO[]",
    "ApplicationDTO": "app_id! s, app_name! s, create_time! time, default_app! b",
    # Routing rules
    "RoutingRule": """
        rule_id! hex24, rule_name s, description s, subject! RoutingRuleSubject,
        app_type! GLOBAL|APP, app_id s, select s, where s, active! b""",
    "RoutingRuleSubject": "resource! s, event! s",
    "RoutingRules": "rules! RoutingRule[], count! i, marker hex24",
    # Of the channels this server has one, and its tls_verify is the server's own.
    "RoutingRuleAction": """
        action_id! hex24, rule_id! hex24, app_id s, channel! HTTP_FORWARDING,
        channel_detail! HttpChannel""",
    "HttpChannel": "http_forwarding! HttpPush",
    "HttpPush": """
        url! s, cert_id hex24, cn_name s, sni_enable! b, signature_enable! b, token s,
        tls_verify! b""",
    "RoutingRuleActions": "actions! RoutingRuleAction[], count! i, marker hex24",
    "BacklogPolicyInfo": """
        policy_id! hex24, policy_name s, description s, backlog_size! i, backlog_time! i""",
    "BacklogPolicies": "backlog_policies! BacklogPolicyInfo[], count! i, marker hex24",
    "FlowControlPolicyInfo": """
        policy_id! hex24, policy_name s, description s, scope! USER|CHANNEL|RULE|ACTION,
        scope_value s, limit! i""",
    "FlowControlPolicies": """
        flowcontrol_policies! FlowControlPolicyInfo[], count! i, marker hex24""",
    # Queues
    "QueryQueueBase": "queue_id! hex24, queue_name! s, create_time! time, last_modify_time! time",
    "Queues": "queues! QueryQueueBase[], page! Page",
    "AccessCode": "access_key! s, access_code! s",
}

# Operation: its status and the model of its body; None: no body.
ANSWERS = {
    "create_async_command": (200, "SubmittedCommand"),
    "show_async_device_command": (200, "Command"),
    "list_async_commands": (200, "OpenCommands"),
    "list_async_history_commands": (200, "EndedCommands"),
    "count_async_history_commands": (200, "CommandCount"),
    "create_product": (201, "Product"),
    "list_products": (200, "Products"),
    "show_product": (200, "Product"),
    "update_product": (200, "Product"),
    "delete_product": (204, None),
    "add_device": (201, "Device"),
    "list_devices": (200, "Devices"),
    "show_device": (200, "Device"),
    "update_device": (200, "Device"),
    "delete_device": (204, None),
    "reset_device_secret": (200, "DeviceSecret"),
    "freeze_device": (204, None),
    "unfreeze_device": (204, None),
    "list_device_groups_by_device": (200, "DeviceGroupsOfDevice"),
    "search_devices": (200, "Search"),
    "add_device_group": (201, "DeviceGroup"),
    "list_device_groups": (200, "DeviceGroups"),
    "show_device_group": (200, "DeviceGroup"),
    "update_device_group": (200, "DeviceGroup"),
    "delete_device_group": (204, None),
    "create_or_delete_device_in_group": (200, None),
    "show_devices_in_group": (200, "DevicesInGroup"),
    "tag_device": (200, None),
    "untag_device": (200, None),
    "list_resources_by_tags": (200, "Resources"),
    "show_device_shadow": (200, "Shadow"),
    "update_device_shadow_desired_data": (200, "Shadow"),
    "delete_device_shadow": (204, None),
    "create_batch_task": (201, "Task"),
    "list_batch_tasks": (200, "Tasks"),
    "show_batch_task": (200, "TaskWithDetails"),
    "delete_batch_task": (204, None),
    "stop_batch_task": (200, "BatchTargetResults"),
    "retry_batch_task": (200, "BatchTargetResults"),
    "confirm_batch_task": (200, "BatchTargetResults"),
    "upload_batch_task_file": (201, "BatchTaskFile"),
    "list_batch_task_files": (200, "BatchTaskFiles"),
    "delete_batch_task_file": (204, None),
    "create_ota_package": (201, "OtaPackage"),
    "list_ota_package_info": (200, "OtaPackages"),
    "show_ota_package": (200, "OtaPackage"),
    "delete_ota_package": (204, None),
    "add_application": (201, "Application"),
    "show_applications": (200, "Applications"),
    "show_application": (200, "Application"),
    "update_application": (200, "Application"),
    "delete_application": (204, None),
    "create_routing_rule": (201, "RoutingRule"),
    "list_routing_rules": (200, "RoutingRules"),
    "show_routing_rule": (200, "RoutingRule"),
    "update_routing_rule": (200, "RoutingRule"),
    "delete_routing_rule": (204, None),
    "create_rule_action": (201, "RoutingRuleAction"),
    "list_rule_actions": (200, "RoutingRuleActions"),
    "show_rule_action": (200, "RoutingRuleAction"),
    "update_rule_action": (200, "RoutingRuleAction"),
    "delete_rule_action": (204, None),
    "create_routing_backlog_policy": (201, "BacklogPolicyInfo"),
    "list_routing_backlog_policy": (200, "BacklogPolicies"),
    "show_routing_backlog_policy": (200, "BacklogPolicyInfo"),
    "update_routing_backlog_policy": (200, "BacklogPolicyInfo"),
    "delete_routing_backlog_policy": (204, None),
    "create_routing_flow_control_policy": (201, "FlowControlPolicyInfo"),
    "list_routing_flow_control_policy": (200, "FlowControlPolicies"),
    "show_routing_flow_control_policy": (200, "FlowControlPolicyInfo"),
    "update_routing_flow_control_policy": (200, "FlowControlPolicyInfo"),
    "delete_routing_flow_control_policy": (204, None),
    "add_queue": (201, "QueryQueueBase"),
    "batch_show_queue": (200, "Queues"),
    "show_queue": (200, "QueryQueueBase"),
    "delete_queue": (204, None),
    "create_access_code": (201, "AccessCode"),
}
