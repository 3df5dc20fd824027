"""What schemathesis can't make up from a schema: values whose form only the service knows."""

import base64

import schemathesis
from hypothesis import strategies as st

# A host that can be looked up is more than a pattern says, so it is drawn from hosts of every form.
hosts = st.sampled_from(["shop.example", "shop_1.example:8443", "127.0.0.1:9000", "[::1]:9000", "localhost"])
paths = st.sampled_from(["", "/", "/hooks", "/hooks?shop=7", "/%E9%92%B1"])
schemathesis.openapi.format("uri", st.builds("{}://{}{}".format, st.sampled_from(["http", "https"]), hosts, paths))

# The cursor of a page is a version and an id.
cursors = st.binary(min_size=16, max_size=16).map(lambda id: base64.urlsafe_b64encode(b"\1" + id).decode().rstrip("="))
schemathesis.openapi.format("cursor", cursors)


@schemathesis.hook
def map_body(_context, body):
    """JSON Schema calls 1000.0 an integer. The services do not: what looks like a fraction is never money."""
    return without_fractions(body)


def without_fractions(value):
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {name: without_fractions(member) for name, member in value.items()}
        case list():
            return [without_fractions(item) for item in value]
        case _:
            return value
