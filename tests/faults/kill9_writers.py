"""What kill9_api.py writes while the server is killed, and what must be there afterwards.

Each writer has objects of its own. `step` makes one or some writes and remembers what each object
may be: one state once the answer is there, two while it is not. `verify` reads after the restart,
complains, and remembers what it found.
"""

import random

from signed import V5

FINAL = {"Success", "Fail", "PartialSuccess", "Stopped"}
MODEL = {
    "device_type": "Meter",
    "protocol_type": "CoAP",
    "data_format": "binary",
    "service_capabilities": [
        {
            "service_id": "Flow",
            "service_type": "Flow",
            "properties": [{"property_name": "volume", "data_type": "long", "method": "R"}],
        }
    ],
}


class Writer:
    def __init__(self, run, name):
        self.run, self.name = run, name
        self.expected = run.expected
        self.steps = 0

    def complain(self, text):
        self.run.ledger.complain(f"{self.name}: {text}")

    def setup(self, api):
        pass

    def step(self, api):
        raise NotImplementedError

    def verify(self, api):
        pass

    def product(self, api, product, **more):
        body = MODEL | {"product_id": product, "name": product} | more
        api.call("POST", f"{V5}/products", body, want=(201,))

    def equal(self, what, got, want):
        if got == want:
            return
        if isinstance(got, list):
            only = sorted(set(got) - set(want)), sorted(set(want) - set(got))
            got, want = f"{len(got)} of them, {only[0][:5]}", f"{len(want)}, {only[1][:5]}"
        self.complain(f"{what}: {got}, expected {want}")


class Devices(Writer):
    """Devices with names, tags, states and a group: one write at a time."""

    NODES = 25

    def setup(self, api):
        self.at = f"{self.name}-p"
        self.product(api, self.at)
        group = {"name": f"{self.name}-g"}
        self.group = api.call("POST", f"{V5}/device-group", group, want=(201,))[1]["group_id"]
        rule = {"group_type": "DYNAMIC", "dynamic_group_rule": f"product_id = '{self.at}'"}
        rule["name"] = f"{self.name}-dynamic"
        self.rule = api.call("POST", f"{V5}/device-group", rule, want=(201,))[1]["group_id"]
        # (name, tag, frozen, in the group), or None: not there.
        self.may_be = {f"{self.name}-{n}": [None] for n in range(self.NODES)}

    def id(self, node):
        return f"{self.at}_{node}"

    def step(self, api):
        node = random.choice(list(self.may_be))
        now = self.may_be[node][0]
        method, path, body, query, after = self.draw(node, now)
        self.may_be[node] = [now, after]
        api.call(method, f"{V5}/{path}", body, query, want=(200, 201, 204))
        self.settle(node, now, after)

    def settle(self, node, before, after):
        self.may_be[node] = [after]
        if before is None and after is not None:
            self.expected.created[self.id(node)] += 1
        if before is not None and after is None:
            self.expected.deleted[self.id(node)] += 1

    def draw(self, node, now):
        """A write and the state after it."""
        device, number = self.id(node), str(random.randrange(10**9))
        one = f"devices/{device}"
        if now is None:
            body = {"node_id": node, "product_id": self.at, "device_name": number}
            return "POST", "devices", body, None, (number, None, False, False)
        name, tag, frozen, member = now
        kind = random.choice(["name", "name", "tag", "tag", "freeze", "member", "member", "delete"])
        if kind == "name":
            return "PUT", one, {"device_name": number}, None, (number, tag, frozen, member)
        if kind == "tag":
            tags = {"resource_type": "device", "resource_id": device}
            if tag and random.random() < 0.3:
                body = tags | {"tag_keys": ["k"]}
                return "POST", "tags/unbind-resource", body, None, (name, None, frozen, member)
            body = tags | {"tags": [{"tag_key": "k", "tag_value": number}]}
            return "POST", "tags/bind-resource", body, None, (name, number, frozen, member)
        if kind == "freeze":
            word = "unfreeze" if frozen else "freeze"
            return "POST", f"{one}/{word}", None, None, (name, tag, not frozen, member)
        if kind == "member":
            action = "removeDevice" if member else "addDevice"
            query = {"action_id": action, "device_id": device}
            path = f"device-group/{self.group}/action"
            return "POST", path, None, query, (name, tag, frozen, not member)
        return "DELETE", one, None, None, None

    def read(self, api, node):
        status, device = api.get(f"{V5}/devices/{self.id(node)}", want=(200, 404))
        if status == 404:
            return None
        tags = {tag["tag_key"]: tag["tag_value"] for tag in device["tags"]}
        path = f"{V5}/devices/{self.id(node)}/list-device-group"
        groups = api.call("POST", path, want=(200,))[1]["device_groups"]
        member = self.group in [group["group_id"] for group in groups]
        return device["device_name"], tags.get("k"), device["status"] == "FROZEN", member

    def verify(self, api):
        for node, states in self.may_be.items():
            found = self.read(api, node)
            if found not in states:
                self.complain(f"{node} is {found}, expected one of {states}")
            self.settle(node, states[0], found)
        there = {self.id(node): states[0] for node, states in self.may_be.items() if states[0]}
        members = [device for device, state in there.items() if state[3]]
        frozen = [device for device, state in there.items() if state[2]]
        by_product = f"product_id = '{self.at}'"
        lists = [
            ("list", api.pages(f"{V5}/devices", "devices", product_id=self.at), there),
            ("group", api.pages(f"{V5}/device-group/{self.group}/devices", "devices"), members),
            ("rule", api.pages(f"{V5}/device-group/{self.rule}/devices", "devices"), there),
        ]
        for what, (rows, count), want in lists:
            self.equal(f"{what}", sorted(row["device_id"] for row in rows), sorted(want))
            self.equal(f"count of the {what}", count, len(want))
        self.equal("count of a search", api.count(by_product), len(there))
        self.equal(
            "frozen by search", api.count(f"{by_product} and status = 'FROZEN'"), len(frozen)
        )
        self.equal(
            "members by search", api.count(f"group_id = '{self.group}'"), len(members)
        )
        for device, state in random.sample(sorted(there.items()), min(5, len(there))):
            if state[1]:
                tag = f"{by_product} and tag_key = 'k' and tag_value = '{state[1]}'"
                self.equal(f"tag of {device} by search", api.count(tag), 1)


class Configured(Writer):
    """Settings and codec of one product, each put only on top of the one before."""

    CODEC = """
codec = { name = "nNUMBER", id = { at = 0, type = "u8" } }

[[message]]
id = 1
name = "report"
dir = "up"
service = "Flow"
fields = [ { n = "volume", t = "u32" } ]
"""

    def setup(self, api):
        self.at = f"{self.name}-p"
        self.product(api, self.at)
        self.paths = [f"/v1/products/{self.at}/{what}" for what in ("settings", "codec")]
        self.tags, self.may_be = {}, {}
        self.put(api, 0, 1, None)
        self.put(api, 1, 1, None)

    def body(self, what, number):
        if what == 0:
            return {"command": {"response_timeout_s": number}}
        return self.CODEC.replace("NUMBER", str(number)).encode()

    def put(self, api, what, number, tag):
        kind = "application/toml" if what else "application/json"
        headers = {"if-match": tag} if tag else {}
        body = self.body(what, number)
        want = (200, 201) if tag != '"stale"' else (412,)
        api.call("PUT", self.paths[what], body, want=want, kind=kind, headers=headers)
        if tag != '"stale"':
            self.tags[what], self.may_be[what] = api.headers["etag"], [number]

    def step(self, api):
        what, number = random.randrange(2), random.randrange(2, 100_000)
        if random.random() < 0.2:
            self.put(api, what, number, '"stale"')
            return
        self.may_be[what] = [self.may_be[what][0], number]
        self.put(api, what, number, self.tags[what])

    def verify(self, api):
        for what in (0, 1):
            found = api.get(self.paths[what])[1]
            states = {number: self.body(what, number) for number in self.may_be[what]}
            if what == 0:
                number = found["command"]["response_timeout_s"]
            else:
                number = next((n for n, body in states.items() if body == found), None)
            if number not in states:
                self.complain(f"{self.paths[what]} is {found!r:.200}, expected {self.may_be[what]}")
            elif number == self.may_be[what][0] and len(states) == 1:
                self.equal(f"tag of {self.paths[what]}", api.headers["etag"], self.tags[what])
            self.tags[what], self.may_be[what] = api.headers["etag"], [number]


class Tasks(Writer):
    """Batch tasks: 200 devices created (by document or by file), frozen, deleted, again and again.

    Some are stopped and retried. In the end each has to succeed for each target: one that was done
    twice would fail.
    """

    SIZE = 200
    KINDS = ["createDevices", "freezeDevices", "unfreezeDevices", "deleteDevices"]

    def setup(self, api):
        self.at = f"{self.name}-p"
        self.product(api, self.at)
        self.stage, self.task, self.maybe = 0, None, None
        self.round = self.done = self.orders = 0
        self.ordered = None

    def nodes(self):
        return [f"{self.name}-{self.round}-{n}" for n in range(self.SIZE)]

    def devices(self):
        return [f"{self.at}_{node}" for node in self.nodes()]

    def body(self, api):
        kind = self.KINDS[self.stage]
        body = {"task_name": f"{self.name}_{self.round}_{self.stage}", "task_type": kind}
        if kind != "createDevices":
            return body | {"targets": self.devices()}
        if self.round % 2:
            return body | {"document_source": self.upload(api)}
        new = [{"node_id": node, "product_id": self.at} for node in self.nodes()]
        return body | {"document": {"devices": new}}

    def upload(self, api):
        rows = "".join(f"{self.at},{node}\n" for node in self.nodes())
        form = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"new.csv\"\r\n\r\n"
        form = f"{form}product_id,node_id\n{rows}\r\n--b--\r\n".encode()
        kind = "multipart/form-data; boundary=b"
        return api.call("POST", f"{V5}/batchtask-files", form, want=(201,), kind=kind)[1]["file_id"]

    def step(self, api):
        if self.task is None:
            body = self.body(api)
            self.maybe = body["task_name"]
            self.task = api.call("POST", f"{V5}/batchtasks", body, want=(201,))[1]["task_id"]
            self.maybe = None
        self.run.pause(0.02)
        self.look(api)

    def look(self, api):
        found = api.get(f"{V5}/batchtasks/{self.task}")[1]["batchtask"]
        progress = found["task_progress"]
        self.equal("total of a task", progress["total"], self.SIZE)
        parts = sum(number for name, number in progress.items() if name != "total")
        self.equal(f"sum of {progress}", parts, self.SIZE)
        order = None
        if found["status"] in FINAL and progress["stopped"]:
            order = "retry"
        elif found["status"] in FINAL:
            self.over(api, found)
        elif self.ordered != self.task and random.random() < 0.3:
            order, self.ordered = "stop", self.task
        if order:
            # It may be over by now, and refuse.
            path = f"{V5}/batchtasks/{self.task}/{order}"
            status, _ = api.call("POST", path, want=(200, 400))
            self.orders += status == 200

    def over(self, api, found):
        kind, progress = self.KINDS[self.stage], found["task_progress"]
        whole = (found["status"], progress["success"]) == ("Success", self.SIZE)
        path = f"{V5}/batchtasks/{self.task}"
        rows, count = api.pages(path, "task_details")
        if not whole:
            failed = [row for row in rows if row["status"] != "Success"][:3]
            self.complain(f"{kind} {self.task} ended as {found['status']} {progress}: {failed}")
        targets = sorted(row["target"] for row in rows)
        self.equal(f"targets of {kind}", targets, sorted(self.devices()))
        self.equal(f"count of {kind}", count, self.SIZE)
        want = 0 if kind == "deleteDevices" else self.SIZE
        by_product = f"product_id = '{self.at}'"
        self.equal(f"devices after {kind}", api.count(by_product), want)
        frozen = self.SIZE if kind == "freezeDevices" else 0
        self.equal(f"frozen after {kind}", api.count(f"{by_product} and status = 'FROZEN'"), frozen)
        # Only now: the server may have been killed at any of these reads, and this begins anew.
        if kind == "createDevices":
            self.expected.created.update(self.devices())
        if kind == "deleteDevices":
            self.expected.deleted.update(self.devices())
        self.task = None
        self.done += 1
        self.stage = (self.stage + 1) % len(self.KINDS)
        self.round += self.stage == 0

    def verify(self, api):
        if self.maybe:
            kind = self.KINDS[self.stage]
            tasks, _ = api.pages(f"{V5}/batchtasks", "batchtasks", task_type=kind)
            found = [task["task_id"] for task in tasks if task["task_name"] == self.maybe]
            self.equal(f"tasks {self.maybe}", len(found) <= 1, True)
            self.task, self.maybe = (found[0] if found else None), None
        if self.task:
            self.look(api)
