"""Makes a client of each service from its description and uses every operation of it:
clients.py PAY_URL NOTIFIER_URL ACCOUNT_URL, with the keys OPERATOR_KEY, SHOP_KEY, ACCOUNT_KEY and SANDBOX_SECRET.
"""

import os
import sys
import tempfile

import account_uses
import notifier_uses
import pay_uses
from generated import Service


class World:
    """The services and who calls them."""

    def __init__(self, urls, folder):
        self.operator, self.shop, self.account_key, self.sandbox_secret = (
            os.environ[name] for name in ("OPERATOR_KEY", "SHOP_KEY", "ACCOUNT_KEY", "SANDBOX_SECRET")
        )
        names = ("pay", "notifier", "account")
        self.services = [Service(name, url, folder) for name, url in zip(names, urls, strict=True)]
        self.pay, self.notifier, self.account = self.services


def use_what_every_service_has(service):
    assert service.call(None, "getHealth").status == "alive"
    assert service.call(None, "getReadiness", strict=True).checks.additional_properties["database"] == "ok"
    assert "# HELP" in service.call(None, "getMetrics")
    assert "openapi" in service.call(None, "getDescription").additional_properties


def main():
    with tempfile.TemporaryDirectory() as folder:
        sys.path.insert(0, folder)
        world = World(sys.argv[1:4], folder)
        for service in world.services:
            use_what_every_service_has(service)
        for uses in (pay_uses, notifier_uses, account_uses):
            uses.use(world)
        unused = {service.name: sorted(service.unused) for service in world.services if service.unused}
        assert not unused, f"no use of these operations is tried (see e2e/openapi/*_uses.py): {unused}"
        print("used", sum(len(service.operations) for service in world.services), "operations")


main()
