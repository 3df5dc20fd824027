"""Verifies webhooks as a receiver does, with programs that are not ours.

Reads a list of claims as JSON from stdin: `{"key", "headers", "body"}`, the body in base64. Writes for each, as a list of JSON,
whether the holder of the key sent it. `whsec_…` is judged by the standard's own library, `whpk_…`, which that library does not know,
by the function that docs/webhooks.md shows, on top of `cryptography`.
"""

import base64
import json
import pathlib
import re
import sys

from standardwebhooks import Webhook, WebhookVerificationError

DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs" / "webhooks.md"


def documented(name):
    """The function `name` of the document's Python examples."""
    examples = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    (example,) = [example for example in examples if f"def {name}(" in example]
    scope = {}
    exec(compile(example, str(DOCUMENT), "exec"), scope)
    return scope[name]


is_genuine = documented("is_genuine")


def verified(claim):
    key, headers, body = claim["key"], claim["headers"], base64.b64decode(claim["body"])
    if key.startswith("whpk_"):
        return is_genuine(key, headers, body)
    try:
        Webhook(key).verify(body, headers)
        return True
    except WebhookVerificationError:
        return False


json.dump([verified(claim) for claim in json.load(sys.stdin)], sys.stdout)
