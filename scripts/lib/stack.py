"""Runs the services of compose.yaml as plain processes: the very programs, commands and environment of the file.

    stack.py FOLDER POSTGRES_PORT AMQP_URL      FOLDER takes the logs

Only addresses differ: what names a container becomes a port of this machine. A recharge is then taken, credited and
asked about, and every service must end by itself on SIGTERM.
"""

import base64
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import compose

TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", compose.ROOT / "target")) / "debug"
FOLDER, POSTGRES_PORT, AMQP_URL = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
DEADLINE_S = 60
# The services refuse the published example values.
EXAMPLE_KEY, KEY = base64.b64encode(b"change-me-change-me-change-me-32").decode(), base64.b64encode(os.urandom(32)).decode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def say(text):
    print(f"== {text}", file=sys.stderr, flush=True)


class Service:
    def __init__(self, name, definition, ports):
        self.name, self.definition, self.port = name, definition, ports[name]
        self.environment = {key: self.local(value, ports) for key, value in definition["environment"].items()}
        self.process = None

    def local(self, value, ports):
        """The value with the addresses of this machine in the place of the containers'."""
        value = value.replace("change-me", "check-stack").replace(EXAMPLE_KEY, KEY)
        value = value.replace("@postgres:5432/", f"@127.0.0.1:{POSTGRES_PORT}/")
        value = re.sub(r"^amqp://[^@]*@rabbitmq:5672/%2f$", AMQP_URL, value)
        value = re.sub(r"^0\.0\.0\.0:\d+$", f"127.0.0.1:{self.port}", value)
        return re.sub(r"^http://([\w-]+):\d+$", lambda match: f"http://127.0.0.1:{ports[match[1]]}", value)

    def command(self, words):
        return [str(TARGET / pathlib.Path(words[0]).name), *words[1:]]

    def start(self):
        log = open(FOLDER / f"{self.name}.log", "wb")
        self.process = subprocess.Popen(
            self.command(self.definition["command"]), env=self.environment, cwd=FOLDER, stdout=log, stderr=log
        )
        check = self.command(self.definition["healthcheck"]["test"][1:])
        wait_until(f"{self.name} is healthy", lambda: self.healthy(check))

    def healthy(self, check):
        if self.process.poll() is not None:
            raise SystemExit(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")
        return subprocess.run(check, env=self.environment, cwd=FOLDER, capture_output=True).returncode == 0

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout=DEADLINE_S)
        if status != 0:
            raise SystemExit(f"{self.name} ended with {status} on SIGTERM:\n{self.log()}")

    def log(self):
        return (FOLDER / f"{self.name}.log").read_text(errors="replace")[-4000:]

    def call(self, path, body=None):
        """A request with the operator's key; the answer's JSON."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        request.add_header("authorization", f"Bearer {self.environment['RINGBACK_OPERATOR_KEY']}")
        if body is not None:
            request.add_header("content-type", "application/json")
            request.data = json.dumps(body).encode()
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


def wait_until(what, condition):
    end = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"waited {DEADLINE_S} s in vain until {what}")
        time.sleep(0.1)
    say(what)


def in_start_order(services):
    """Those of our image, each after the ones that it waits for."""
    left = {name: service for name, service in services.items() if service["image"].startswith("ringback:")}
    while left:
        ready = [name for name, service in left.items() if not set(service["depends_on"]) & set(left)]
        if not ready:
            raise SystemExit(f"these services wait for each other: {', '.join(left)}")
        for name in ready:
            yield name, left.pop(name)


def story(services):
    """One recharge, from the account's side."""
    account = services["account-service"]
    account.call("/v1/accounts", {"account_no": "62220001", "account_name": "Check"})
    asked = account.call("/v1/accounts/62220001/recharges", {"amount": 1000})
    wait_until("the recharge is credited", lambda: account.call("/v1/accounts/62220001")["balance"] == 1000)
    result = account.call(f"/v1/payresult/{asked['tx_no']}")
    if not (result["status"] == "succeeded" and result["credited"]):
        raise SystemExit(f"the reconciliation query says {result}")
    for name in ("notifier-1", "notifier-2"):
        services[name].call("/v1/notifications")


def main():
    definitions = dict(in_start_order(compose.load()[0]["services"]))
    ports = {name: free_port() for name in definitions}
    services = {name: Service(name, definition, ports) for name, definition in definitions.items()}
    try:
        for service in services.values():
            service.start()
        story(services)
        for service in reversed(services.values()):
            service.stop()
        say("every service ended by itself on SIGTERM")
    finally:
        for service in services.values():
            if service.process and service.process.poll() is None:
                service.process.kill()


main()
