# ruff: noqa: INP001  a stand-alone program beside the files that it serves
"""A small business system for the sample dialplans: customers, cards, appointments, parcels in SQLite.

    python dialplans/crm_server.py --port 8099 [--database crm.sqlite]

Sample data only, loopback only. Each request is ``POST`` with JSON; what changes something honours
``Idempotency-Key``: the same key is answered the same and done once.
"""

import argparse
import datetime as dt
import json
import sqlite3
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

MAX_BODY_BYTES = 65_536
SCHEMA = """
create table account (number text primary key, passcode text, balance text, as_of text);
create table card_block (account text primary key, reason text, reference text);
create table appointment (day text, time text, patient text, reference text, primary key (day, time));
create table parcel (number text primary key, status text, expected text, place text);
create table done (key text primary key, status integer, answer text);
insert into account values ('12345678', '4321', '42.10 GBP', '2026-11-23T09:58');
insert into account values ('87654321', '1111', '1250.00 GBP', '2026-11-23T09:58');
insert into appointment values ('2026-11-24', '10:00', 'taken', 'A100');
insert into parcel values ('100200300', 'on_its_way', '2026-11-25', '');
insert into parcel values ('100200301', 'delivered', '2026-11-20', 'neighbour');
insert into parcel values ('100200302', 'held', '2026-11-30', '');
"""

Answer = tuple[HTTPStatus, dict[str, Any]]
NOT_FOUND: Answer = (HTTPStatus.NOT_FOUND, {})


class Business:
    """The answers behind the addresses. One lock: SQLite and sample traffic need no more."""

    def __init__(self, database: str = ":memory:") -> None:
        self._database = sqlite3.connect(database, check_same_thread=False)
        self._lock = threading.Lock()
        fresh = not self._database.execute("select 1 from sqlite_master").fetchone()
        if fresh:
            self._database.executescript(SCHEMA)

    def answer(self, path: str, body: dict[str, Any], key: str) -> Answer:
        """Status and JSON for one request."""
        method = self.PATHS.get(path)
        if method is None:
            return NOT_FOUND
        with self._lock, self._database:
            if path not in self.CHANGES or not key:
                return method(self, body)
            known = self._one("select status, answer from done where key = ?", key)
            if known is not None:
                return HTTPStatus(known[0]), json.loads(known[1])
            status, result = method(self, body)
            self._database.execute(
                "insert into done values (?, ?, ?)", (key, status, json.dumps(result))
            )
            return status, result

    def _one(self, sql: str, *values: object) -> Any:
        return self._database.execute(sql, [str(v) for v in values]).fetchone()

    def account_lookup(self, body: dict[str, Any]) -> Answer:
        """Whether an account exists."""
        found = self._one("select 1 from account where number = ?", body.get("account"))
        return (HTTPStatus.OK, {}) if found else NOT_FOUND

    def auth(self, body: dict[str, Any]) -> Answer:
        """Whether the passcode is right."""
        sql = "select 1 from account where number = ? and passcode = ?"
        found = self._one(sql, body.get("account"), body.get("passcode"))
        return (HTTPStatus.OK, {}) if found else (HTTPStatus.FORBIDDEN, {})

    def balance(self, body: dict[str, Any]) -> Answer:
        """An account's balance."""
        found = self._one("select balance, as_of from account where number = ?", body.get("account"))
        return (HTTPStatus.OK, {"amount": found[0], "as_of": found[1]}) if found else NOT_FOUND

    def block_card(self, body: dict[str, Any]) -> Answer:
        """Block an account's card."""
        account, reason = str(body.get("account")), str(body.get("block_reason"))
        count = self._one("select count(*) from card_block")[0]
        reference = f"B{100 + count}"
        known = self._one("select reference from card_block where account = ?", account)
        if known is None:
            values = (account, reason, reference)
            self._database.execute("insert into card_block values (?, ?, ?)", values)
        return HTTPStatus.OK, {"block_reference": known[0] if known else reference}

    def free_slot(self, body: dict[str, Any]) -> Answer:
        """The wished time if it is free, else the next free half hour of that day."""
        day = str(body.get("day"))
        wished = dt.time.fromisoformat(str(body.get("wished_time")))
        minute = max(9 * 60, wished.hour * 60 + wished.minute)
        while minute < 17 * 60:
            time = f"{minute // 60:02d}:{minute % 60:02d}"
            if self._one("select 1 from appointment where day = ? and time = ?", day, time) is None:
                return HTTPStatus.OK, {"offered_time": time}
            minute += 30
        return NOT_FOUND

    def book(self, body: dict[str, Any]) -> Answer:
        """Book an appointment."""
        day, time, patient = (str(body.get(k)) for k in ("day", "offered_time", "patient"))
        if self._one("select 1 from appointment where day = ? and time = ?", day, time) is not None:
            return HTTPStatus.CONFLICT, {}
        count = self._one("select count(*) from appointment")[0]
        reference = f"A{100 + count}"
        values = (day, time, patient, reference)
        self._database.execute("insert into appointment values (?, ?, ?, ?)", values)
        return HTTPStatus.OK, {"booking": reference}

    def track(self, body: dict[str, Any]) -> Answer:
        """Where a parcel is."""
        found = self._one("select status, expected from parcel where number = ?", body.get("parcel"))
        return (HTTPStatus.OK, {"status": found[0], "expected": found[1]}) if found else NOT_FOUND

    def redirect(self, body: dict[str, Any]) -> Answer:
        """Leave a parcel somewhere else."""
        values = (str(body.get("place")), str(body.get("parcel")))
        changed = self._database.execute("update parcel set place = ? where number = ?", values)
        return (HTTPStatus.OK, {}) if changed.rowcount else NOT_FOUND

    PATHS: ClassVar[dict[str, Any]] = {
        "/account/lookup": account_lookup,
        "/auth": auth,
        "/balance": balance,
        "/card/block": block_card,
        "/clinic/free": free_slot,
        "/clinic/book": book,
        "/parcel/track": track,
        "/parcel/redirect": redirect,
    }
    CHANGES: ClassVar[frozenset[str]] = frozenset(["/card/block", "/clinic/book", "/parcel/redirect"])


def make_server(port: int = 0, database: str = ":memory:") -> ThreadingHTTPServer:
    """A server on 127.0.0.1; port 0 takes a free one."""
    business = Business(database)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            status, answer = HTTPStatus.BAD_REQUEST, {}
            if length <= MAX_BODY_BYTES:
                try:
                    body = json.loads(self.rfile.read(length) or b"{}")
                    key = self.headers.get("Idempotency-Key") or ""
                    status, answer = business.answer(self.path, dict(body), key)
                except (ValueError, TypeError):
                    status, answer = HTTPStatus.BAD_REQUEST, {}
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            """Nothing: bodies hold passcodes."""

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Sample business system for the dialplans.")
    parser.add_argument("--port", type=int, default=8099)
    parser.add_argument("--database", default=":memory:", help="SQLite file; default: in memory")
    options = parser.parse_args()
    server = make_server(options.port, options.database)
    print(f"sample business system on http://127.0.0.1:{server.server_port}")  # noqa: T201  a program's greeting
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
