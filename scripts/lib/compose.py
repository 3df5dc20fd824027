"""Reads compose.yaml with the values of .env.example, as far as that goes without a Docker engine.

Run as a program it says what is wrong with the file, and fails if anything is.
"""

import pathlib
import re
import sys

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


def sample_environment():
    lines = (ROOT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def load():
    """The file with its variables filled in, and the names of those variables."""
    sample, used = sample_environment(), set()

    def fill(match):
        name, kind, default = match.groups()
        used.add(name)
        if name in sample:
            return sample[name]
        if kind == "-":
            return default
        raise SystemExit(f"compose.yaml needs {name}, which .env.example does not have")

    def walk(node):
        if isinstance(node, dict):
            return {key: walk(value) for key, value in node.items()}
        if isinstance(node, list):
            return [walk(value) for value in node]
        return VARIABLE.sub(fill, node) if isinstance(node, str) else node

    return walk(yaml.safe_load((ROOT / "compose.yaml").read_text())), used


def service_faults(name, service, stack):
    """What is wrong with one service: its hardening, its health check, what it names."""
    required = {"read_only": True, "cap_drop": ["ALL"], "restart": "unless-stopped"}
    for key, value in required.items():
        if service.get(key) != value:
            yield f"{name}: {key} must be {value}"
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield f"{name}: security_opt must have no-new-privileges:true"
    if service.get("healthcheck", {}).get("test", [None])[0] != "CMD":
        yield f"{name}: needs a health check without a shell"
    if service.get("command", [""])[0].endswith("/notifier") and "SECRET_KEYS" not in service["environment"]:
        yield f"{name}: needs SECRET_KEYS, or it keeps signing secrets in plain text"
    if not re.search(r":\d", service.get("image", "")):
        yield f"{name}: its image needs a version"
    for other, how in service.get("depends_on", {}).items():
        if "healthcheck" not in stack["services"].get(other, {}) or how.get("condition") != "service_healthy":
            yield f"{name}: must wait until {other} is a healthy service of this file"
    for network in service.get("networks", []):
        if network not in stack["networks"]:
            yield f"{name}: no network {network}"
    for port in service.get("ports", []):
        if not port.startswith("127.0.0.1:"):
            yield f"{name}: port {port} must be published on this machine only"
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source not in stack["volumes"] and not (source.startswith("./") and (ROOT / source).is_file()):
            yield f"{name}: no volume or file {source}"


def faults():
    stack, used = load()
    for name, service in stack["services"].items():
        yield from service_faults(name, service, stack)
    for name in sorted(set(sample_environment()) - used):
        yield f".env.example: {name} is used nowhere"
    published = [port for service in stack["services"].values() for port in service.get("ports", [])]
    for port in {port.rsplit(":", 1)[0] for port in published}:
        if sum(other.rsplit(":", 1)[0] == port for other in published) > 1:
            yield f"{port} is published twice"


if __name__ == "__main__":
    found = list(faults())
    for fault in found:
        print(fault, file=sys.stderr)
    sys.exit(1 if found else 0)
