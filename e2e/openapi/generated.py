"""Clients that openapi-python-client makes from the services' own descriptions."""

import copy
import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import httpx
from openapi_spec_validator import OpenAPIV31SpecValidator

METHODS = {"get", "put", "post", "delete", "patch"}


class Service:
    """One service, called through the client that is made from its description, which is valid OpenAPI 3.1."""

    def __init__(self, name, url, folder):
        self.name, self.url = name, url
        document = httpx.get(f"{url}/openapi.json").raise_for_status().json()
        OpenAPIV31SpecValidator(document).validate()
        self.document = document
        self.operations = {
            operation["operationId"]
            for item in document["paths"].values()
            for method, operation in item.items()
            if method in METHODS
        }
        self.unused = set(self.operations)
        self.package = f"{name}_client"
        generate(document, folder, self.package)
        self.models = importlib.import_module(f"{self.package}.models")
        self.client = importlib.import_module(f"{self.package}.client")
        api = importlib.import_module(f"{self.package}.api")
        modules = pkgutil.walk_packages(api.__path__, f"{api.__name__}.")
        self.modules = {name.rsplit(".", 1)[1]: name for _, name, is_package in modules if not is_package}

    def call(self, key, operation, *arguments, answers=200, **named):
        """Calls an operation by its id as whoever has `key`; returns what the client made of the answer."""
        assert operation in self.operations, f"{self.name} has no operation {operation}"
        module = importlib.import_module(self.modules[snake_case(operation)])
        if key is None:
            client = self.client.Client(base_url=self.url, raise_on_unexpected_status=True)
        else:
            client = self.client.AuthenticatedClient(base_url=self.url, token=key, raise_on_unexpected_status=True)
        answer = module.sync_detailed(*arguments, client=client, **named)
        assert answer.status_code == answers, f"{operation}: {answer.status_code} {answer.content}"
        self.unused.discard(operation)
        return answer.parsed


def snake_case(name):
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def with_one_body(document):
    """openapi-python-client 0.29 makes code that can't run where a body may be one thing or a list of them, so the
    list is left out; the services' own tests send it."""
    document = copy.deepcopy(document)
    for item in document["paths"].values():
        for method in METHODS & item.keys():
            content = item[method].get("requestBody", {}).get("content", {})
            lists = [kind for kind, body in content.items() if body["schema"].get("type") == "array"]
            for kind in lists if len(content) > 1 else []:
                del content[kind]
    return document


def generate(document, folder, package):
    """Any warning means that something of the description was left out, which is a failure."""
    description, config = Path(folder, f"{package}.json"), Path(folder, "config.json")
    description.write_text(json.dumps(with_one_body(document)))
    config.write_text(json.dumps({"post_hooks": []}))
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--path", description, "--config", config]
    command += ["--meta", "none", "--output-path", Path(folder, package), "--fail-on-warning"]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode == 0, f"no whole client can be made for {package}:\n{made.stdout}{made.stderr}"
