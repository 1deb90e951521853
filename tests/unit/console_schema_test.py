"""The API against its own OpenAPI document: generated requests, valid and not, never give a 500."""

import re
import warnings
from collections import Counter

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as bounded
from hypothesis.errors import Unsatisfiable
from starlette.routing import Route

from tests.unit.console_kit import BASE, TOKEN, client, context, write_call
from voicebot.handoff.queue_store import HandoffStore

OPEN_PATHS = {"/health", "/login"}
# A stream without an end: the generated requests would wait for ever.
STREAMS = "/api/events"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("console")
    write_call(folder)
    HandoffStore(folder).join(context("h1", "c1"), priority="normal")
    with client(folder) as browser:
        yield browser


@pytest.fixture(scope="module")
def schemathesis():
    """Imported when it is needed: it takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own dependencies' deprecations are not ours
        import schemathesis
    return schemathesis


@pytest.fixture(scope="module")
def document(browser, schemathesis):
    found = browser.get("/api/openapi.json", headers={"Authorization": f"Bearer {TOKEN}"}).json()
    del found["paths"][STREAMS]
    return schemathesis.openapi.from_dict(found)


@pytest.mark.timeout(300)
def test_generated_requests_give_no_server_error(browser, schemathesis, document):
    """Twenty requests to each operation, the same in each run: no 500, no trace, always an answer."""
    statuses = Counter()

    def ask(case):
        sent = case.as_transport_kwargs(base_url=BASE)
        headers = {**dict(sent.pop("headers", None) or {}), "Authorization": f"Bearer {TOKEN}"}
        kept = {name: sent[name] for name in ("method", "url", "params", "json") if name in sent}
        if "data" in sent:
            kept["content"] = sent["data"]
        try:
            answer = browser.request(**kept, headers=headers)
        except (httpx.InvalidURL, UnicodeError):
            return  # no client could send that
        statuses[answer.status_code] += 1
        assert answer.status_code < 500, f"{kept} gave {answer.status_code}: {answer.text}"
        assert answer.status_code != 401

    for found in document.get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode:
            try:
                cases = operation.as_strategy(generation_mode=mode)
            except Unsatisfiable:
                continue
            bounded(
                max_examples=10,
                deadline=None,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )(seed(1)(given(case=cases)(ask)))()
    assert sum(statuses.values()) >= 150 and statuses[200] > 20, statuses


def test_nothing_but_login_and_health_answers_strangers(browser):
    """Each route of the application, each of its methods, without a token and with a wrong one."""
    for route in browser.app.routes:
        if not isinstance(route, Route) or route.path in OPEN_PATHS:
            continue
        path = re.sub(r"{[^}]*}", "1", route.path)
        for method in route.methods:
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic YTpi"}):
                status = browser.request(method, path, headers=headers).status_code
                assert status in {401, 403, 429}, f"{method} {path} gave {status}"
            browser.app.user_middleware[0].kwargs["accounts"]._failures.clear()
