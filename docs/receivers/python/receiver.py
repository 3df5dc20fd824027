"""A receiver of Ringback's webhooks that credits each recharge exactly once. docs/receiving.md tells why it does what it does.

    receiver.py                     serves POST /hooks until SIGTERM
    receiver.py open ACCOUNT_NO     opens an account
    receiver.py reconcile TX_NO     asks pay-service what became of a recharge that nothing was heard of, and credits it

Settings are environment variables: WEBHOOK_SECRET (whsec_…) to serve; PAY_SERVICE_KEY, PAY_SERVICE_URL and RECONCILE_WAITS (seconds
between the questions) to reconcile; LISTEN and DATABASE (a file of SQLite).
"""

import http.client
import json
import os
import random
import signal
import sqlite3
import sys
import threading
import time
import urllib.parse
import urllib.request
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

MAX_BODY = 64 * 1024
MAX_AMOUNT = 1_000_000_000_000  # minor units
SCHEMA = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS accounts (
        account_no TEXT PRIMARY KEY, currency TEXT NOT NULL, balance INTEGER NOT NULL DEFAULT 0) STRICT;
    CREATE TABLE IF NOT EXISTS credits (
        tx_no TEXT PRIMARY KEY, account_no TEXT NOT NULL, amount INTEGER NOT NULL, currency TEXT NOT NULL, event_id TEXT) STRICT;
"""


class Refused(Exception):
    """What can't be credited: a question for people. Nothing was changed."""


def connect():
    """A connection that is in a transaction only from BEGIN to the end of its `with`."""
    return sqlite3.connect(os.environ.get("DATABASE", "receiver.db"), timeout=5, isolation_level=None)


def checked(recharge):
    """The parts of a succeeded recharge that the books need. An amount is an integer: 10.0 is none, and neither is True."""
    match recharge:
        case {"status": "succeeded", "tx_no": str(tx_no), "account_no": str(account_no), "amount": int(amount), "currency": str(currency)}:
            if type(amount) is int and 1 <= amount <= MAX_AMOUNT:
                return tx_no, account_no, amount, currency
    raise Refused("this is no succeeded recharge")


def credit(recharge, event_id):
    """Credits a recharge, however often and by whomever it is told: the key of `credits` lets it in once, and the balance moves in
    the same transaction. Returns after the commit."""
    told = tx_no, account_no, amount, currency = checked(recharge)
    with closing(connect()) as db, db:
        db.execute("BEGIN IMMEDIATE")
        insert = "INSERT INTO credits VALUES (?, ?, ?, ?, ?) ON CONFLICT (tx_no) DO NOTHING"
        if db.execute(insert, (*told, event_id)).rowcount == 0:
            same = "SELECT 1 FROM credits WHERE (tx_no, account_no, amount, currency) = (?, ?, ?, ?)"
            if not db.execute(same, told).fetchone():
                raise Refused(f"{tx_no} was credited with other content")
            return
        move = "UPDATE accounts SET balance = balance + ? WHERE account_no = ? AND currency = ?"
        if db.execute(move, (amount, account_no, currency)).rowcount == 0:
            raise Refused(f"there is no account {account_no} in {currency}")


def receive(webhook, headers, body):
    """The status to answer a webhook with, and a word on it. 2xx means that it need not come again."""
    if len(body) > MAX_BODY:
        return 413, "the body is too long"
    try:
        webhook.verify(body, dict(headers), json_parse=False)
    except (WebhookVerificationError, ValueError):
        return 401, "not signed with the secret, or more than five minutes off"
    try:
        event = json.loads(body)
        if event["type"] == "recharge.succeeded":
            credit(event["data"], headers["webhook-id"])
    except (Refused, ValueError, KeyError, TypeError) as error:
        return 422, str(error) or "this is no event"
    except sqlite3.Error:  # locked, or the disk is full
        return 503, "the database does not take it"
    return 200, "taken"


class Handler(BaseHTTPRequestHandler):
    timeout = 10  # seconds that a slow sender may hold its thread

    def do_POST(self):
        length = self.headers.get("content-length", "")
        if self.path != "/hooks":
            return self.answer(404, "webhooks go to /hooks")
        if not length.isdecimal():
            return self.answer(411, "the length of the body is missing")
        self.answer(*receive(self.server.webhook, self.headers, self.rfile.read(min(int(length), MAX_BODY + 1))))

    def answer(self, status, text):
        body = (text + "\n").encode()
        self.send_response(status)
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = False  # the end waits for answers under way
    request_queue_size = 128


def serve():
    host, _, port = os.environ.get("LISTEN", "127.0.0.1:9000").rpartition(":")
    with Server((host, int(port)), Handler) as server:
        server.webhook = Webhook(os.environ["WEBHOOK_SECRET"])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever()


def ask(tx_no):
    """The recharge as pay-service knows it; None where it gave no answer about it, which says nothing about the money."""
    url = os.environ.get("PAY_SERVICE_URL", "http://127.0.0.1:8081") + "/v1/payresult/" + urllib.parse.quote(tx_no, safe="")
    request = urllib.request.Request(url, headers={"authorization": "Bearer " + os.environ["PAY_SERVICE_KEY"]})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            recharge = json.load(answer)
    except (OSError, http.client.HTTPException, ValueError) as error:  # down, slow, any status but 2xx, no JSON
        print(f"no answer about {tx_no}: {error}", file=sys.stderr)
        return None
    return recharge if isinstance(recharge, dict) and recharge.get("tx_no") == tx_no else None


def reconcile(tx_no):
    """Asks until the result is final, and credits what succeeded. Returns the status, or `unknown`."""
    waits = [float(wait) for wait in os.environ.get("RECONCILE_WAITS", "1,2,4,8,16").split(",")]
    for wait in (0, *waits):
        time.sleep(wait * random.uniform(0.5, 1))
        recharge = ask(tx_no)
        status = recharge.get("status") if recharge else "unknown"
        if status == "succeeded":
            credit(recharge, None)
        if status in ("succeeded", "failed", "closed"):
            break
    return status


def main(command="serve", argument=None):
    with closing(connect()) as db:
        db.executescript(SCHEMA)
        if command == "open":
            db.execute("INSERT INTO accounts (account_no, currency) VALUES (?, 'CNY') ON CONFLICT DO NOTHING", (argument,))
    if command == "serve":
        serve()
    elif command == "reconcile":
        status = reconcile(argument)
        print(status)
        sys.exit(75 if status in ("pending", "unknown") else 0)  # 75: ask again later
    elif command != "open":
        sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Refused as refusal:
        sys.exit(f"refused: {refusal}")
