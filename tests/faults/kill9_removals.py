"""Products and resource spaces that kill9_api.py deletes with all that is in them.

Whatever moment the server is killed at, each is there whole or not at all, as seen from every side,
from the first answer of the next process on; and a deletion that was begun ends by itself.
"""

import random

from kill9_writers import FINAL, Writer
from signed import V5


class Cascade(Writer):
    """A product with devices, some of them in a group that stays; then all of it is deleted."""

    SIZE = 400

    def setup(self, api):
        self.round, self.phase, self.caught = 0, "none", 0
        group = {"name": f"{self.name}-g"}
        self.group = api.call("POST", f"{V5}/device-group", group, want=(201,))[1]["group_id"]
        self.deleted = set()

    def step(self, api):
        if self.phase in ("none", "gone"):
            self.round += 1
            self.at, self.acknowledged = f"{self.name}-{self.round}", []
            self.phase = "building"
            self.build(api)
        self.there = sorted(self.listed(api))
        self.grouped = self.members(api) & set(self.there)
        self.phase = "deleting"
        api.call("DELETE", self.path(), want=(204,))
        self.expect_gone()

    def path(self):
        return f"{V5}/products/{self.at}"

    def build(self, api):
        self.product(api, self.at)
        self.acknowledged.append(("product", self.path()))
        new = [{"node_id": f"{self.at}-{n}", "product_id": self.at} for n in range(self.SIZE)]
        self.create(api, new)
        for n in range(5):
            device = f"{self.at}_{self.at}-{n}"
            query = {"action_id": "addDevice", "device_id": device}
            api.call("POST", f"{V5}/device-group/{self.group}/action", None, query, want=(200,))

    def create(self, api, new, **more):
        body = {"task_name": f"{self.name}_{self.round}", "task_type": "createDevices"} | more
        body["document"] = {"devices": new}
        task = api.call("POST", f"{V5}/batchtasks", body, want=(201,))[1]["task_id"]
        self.acknowledged.append(("task", f"{V5}/batchtasks/{task}"))
        while api.get(f"{V5}/batchtasks/{task}")[1]["batchtask"]["status"] not in FINAL:
            self.run.pause(0.02)
        return task

    def listed(self, api):
        rows, _ = api.pages(f"{V5}/devices", "devices", product_id=self.at)
        return [row["device_id"] for row in rows]

    def expect_gone(self):
        self.expected.created.update(self.there)
        self.expected.deleted.update(self.there)
        self.expected.products.append(self.at)
        self.deleted.add(self.at)
        self.phase = "gone"

    def views(self, api):
        """What is seen of it, from every side: how many of how many."""
        status, _ = api.get(self.path(), want=(200, 404))
        listed, _ = api.pages(f"{V5}/products", "products", product_name=self.at)
        yield "shown", status == 200, 1
        yield "among the products", len(listed), 1
        yield "devices by search", api.count(f"product_id = '{self.at}'"), len(self.there)
        yield "devices by list", len(self.listed(api)), len(self.there)
        for device in random.sample(self.there, min(4, len(self.there))):
            yield "a device", api.get(f"{V5}/devices/{device}", want=(200, 404))[0] == 200, 1
        found = self.members(api) & set(self.there)
        yield "members of the group", len(found), len(self.grouped)

    def members(self, api):
        path = f"{V5}/device-group/{self.group}/devices"
        rows, count = api.pages(path, "devices")
        self.equal("count of the group", count, len(rows))
        self.equal("members by search", api.count(f"group_id = '{self.group}'"), len(rows))
        return {row["device_id"] for row in rows}

    def whole(self, api):
        """Whether it is there; complains when half of it is."""
        views = list(self.views(api))
        full = [view for view in views if view[2]]
        there = all(int(got) == want for _, got, want in full)
        if not there and any(got for _, got, _ in views):
            self.complain(f"{self.at} half there ({self.phase}): {views}")
        return there

    def ids_there(self, api):
        return {row["product_id"] for row in api.pages(f"{V5}/products", "products")[0]}

    def verify(self, api):
        self.equal("back again", self.ids_there(api) & self.deleted, set())
        if self.phase in ("deleting", "gone"):
            there = self.whole(api)
            if there and self.phase == "gone":
                self.complain(f"{self.at} is there, its deletion was acknowledged")
            elif not there and self.phase == "deleting":
                self.caught += 1
                self.expect_gone()
            return
        for what, path in getattr(self, "acknowledged", []) if self.phase == "building" else []:
            if api.get(path, want=(200, 404))[0] != 200:
                self.complain(f"{what} {path} is lost")
        if self.phase == "building" and not self.acknowledged:
            # Never answered: there or not.
            if api.get(self.path(), want=(200, 404))[0] == 404:
                self.phase = "none"
        self.members(api)

    def settle(self, api):
        """What was being built when the server was killed is no longer at work."""
        if self.phase == "building":
            for what, path in self.acknowledged:
                while what == "task":
                    if api.get(path)[1]["batchtask"]["status"] in FINAL:
                        break
                    self.run.pause(0.02)
            # A task that was not acknowledged may still be at work.
            while True:
                tasks, _ = api.pages(f"{V5}/batchtasks", "batchtasks", task_type="createDevices")
                mine = [t for t in tasks if t["task_name"] == f"{self.name}_{self.round}"]
                if all(task["status"] in FINAL for task in mine):
                    return
                self.run.pause(0.02)


class Spaces(Cascade):
    """A resource space with two products, devices, a group and a batch task; then all deleted."""

    SIZE = 300

    def path(self):
        return f"{V5}/apps/{self.app}" if self.app else f"{V5}/apps/none"

    def step(self, api):
        if self.phase in ("none", "gone"):
            self.app = None
        super().step(api)

    def build(self, api):
        self.products = []
        body = {"app_name": self.at}
        self.app = api.call("POST", f"{V5}/apps", body, want=(201,))[1]["app_id"]
        self.acknowledged.append(("space", self.path()))
        for n in range(2):
            product = f"{self.at}-{n}"
            self.product(api, product, app_id=self.app)
            self.products.append(product)
            self.acknowledged.append(("product", f"{V5}/products/{product}"))
        group = {"name": self.at, "app_id": self.app}
        group = api.call("POST", f"{V5}/device-group", group, want=(201,))[1]["group_id"]
        self.acknowledged.append(("group", f"{V5}/device-group/{group}"))
        ids = [(product, f"{product}-{n}") for product in self.products for n in range(self.SIZE)]
        new = [{"node_id": node, "product_id": product} for product, node in ids]
        self.create(api, new, app_id=self.app)

    def listed(self, api):
        # A space that is not there has no list, or an empty one.
        rows = []
        for product in self.products_found(api):
            found, _ = api.pages(f"{V5}/devices", "devices", product_id=product)
            rows += [row["device_id"] for row in found]
        return rows

    def products_found(self, api):
        rows, _ = api.pages(f"{V5}/products", "products")
        return [row["product_id"] for row in rows if row["app_id"] == self.app]

    def ids_there(self, api):
        return {app["app_id"] for app in api.get(f"{V5}/apps")[1]["applications"]}

    def views(self, api):
        apps = api.get(f"{V5}/apps")[1]["applications"]
        yield "among the spaces", sum(app["app_id"] == self.app for app in apps), 1
        products = [path for what, path in self.acknowledged if what == "product"]
        yield "products", len(self.products_found(api)), len(products)
        yield "devices by search", api.count(f"app_id = '{self.app}'"), len(self.there)
        yield "devices by list", len(self.listed(api)), len(self.there)
        for what, path in self.acknowledged:
            yield what, api.get(path, want=(200, 404))[0] == 200, 1
        for device in random.sample(self.there, min(4, len(self.there))):
            yield "a device", api.get(f"{V5}/devices/{device}", want=(200, 404))[0] == 200, 1
        groups, _ = api.pages(f"{V5}/device-group", "device_groups", name=self.at)
        made = [path for what, path in self.acknowledged if what == "group"]
        yield "groups by list", len(groups), len(made)
        tasks, _ = api.pages(f"{V5}/batchtasks", "batchtasks", task_type="createDevices")
        made = [path for what, path in self.acknowledged if what == "task"]
        name = f"{self.name}_{self.round}"
        yield "tasks by list", sum(task["task_name"] == name for task in tasks), len(made)

    def expect_gone(self):
        made = [path.rsplit("/", 1)[1] for what, path in self.acknowledged if what == "product"]
        self.expected.created.update(self.there)
        self.expected.deleted.update(self.there)
        self.expected.products.extend(made)
        self.deleted.add(self.app)
        self.phase = "gone"

    def verify(self, api):
        if self.phase == "building" and self.app is None:
            # Never answered: its name tells whether it is there.
            apps = api.get(f"{V5}/apps")[1]["applications"]
            found = [app["app_id"] for app in apps if app["app_name"] == self.at]
            self.app = found[0] if found else None
            self.phase = "building" if found else "none"
            self.acknowledged = [("space", self.path())] if found else []
            return
        super().verify(api)
        if self.phase == "building":
            self.adopt(api)

    def adopt(self, api):
        """What was made and not answered belongs to it, too."""
        known = dict.fromkeys(path for _, path in self.acknowledged)
        found = [("product", f"{V5}/products/{p}") for p in self.products_found(api)]
        groups, _ = api.pages(f"{V5}/device-group", "device_groups", name=self.at)
        found += [("group", f"{V5}/device-group/{group['group_id']}") for group in groups]
        tasks, _ = api.pages(f"{V5}/batchtasks", "batchtasks", task_type="createDevices")
        name = f"{self.name}_{self.round}"
        mine = [task["task_id"] for task in tasks if task["task_name"] == name]
        found += [("task", f"{V5}/batchtasks/{task}") for task in mine]
        self.acknowledged += [pair for pair in found if pair[1] not in known]
