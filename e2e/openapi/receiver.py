"""A subscriber's receiver that keeps what it gets."""

import http.server
import json
import threading


class Receiver:
    def __init__(self):
        received = self.received = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                received.append((dict(self.headers.items()), body))
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(b'{"code": "SUCCESS"}')

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks"

    def first(self, wanted):
        """Headers and body of the first webhook whose event is `wanted`; a broker may bring events of earlier tests as well."""
        return next((headers, body) for headers, body in self.received if wanted(json.loads(body)))
