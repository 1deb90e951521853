"""The choice of the store."""

import sys

import pytest

from tests.unit.redis_server import running_redis
from voicebot.config.load import load_settings
from voicebot.core.errors import ConfigError
from voicebot.session.open_store import session_store
from voicebot.session.records import SessionRecord


@pytest.mark.parametrize(
    ("url", "inner"),
    [
        ("", "SqliteSessionStore"),
        ("sqlite:///{0}/other.db", "SqliteSessionStore"),
        ("memory:", "MemorySessionStore"),
    ],
)
async def test_each_url_names_a_store_that_works(tmp_path, url, inner):
    """Opened, written, read."""
    store = session_store(url.format(tmp_path), tmp_path)
    assert type(store._inner).__name__ == inner
    await store.start()
    await store.open_session(SessionRecord(session_id="s1", call_id="c1"))
    assert (await store.load("s1")).record.call_id == "c1"
    await store.close()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"": {"sessions.db", "journal"}, "memory:": {"journal"}}.get(
        url, {"other.db", "journal"}
    )


async def test_the_setting_opens_a_redis_store_shared_by_two_programs(tmp_path):
    """What one writes the other one reads; nothing is left in the data folder but the journal."""
    with running_redis() as server:
        settings = load_settings(environment={"VOICEBOT_STORE__URL": server.url})
        one, other = (session_store(settings.store.url, tmp_path / name) for name in "ab")
        await one.start()
        await other.start()
        await one.open_session(SessionRecord(session_id="s1", call_id="c1", edge="127.0.0.1:5060"))
        (found,) = await other.recent(edge="127.0.0.1:5060", open_only=True)
        assert found.call_id == "c1"
        await one.close()
        await other.close()
        assert {path.name for path in (tmp_path / "a").iterdir()} == {"journal"}


@pytest.mark.parametrize("url", ["mysql://x", "sqlite://", "sqlite:///", "/a/path"])
def test_another_url_is_a_mistake_of_the_settings(tmp_path, url):
    """The message names the key."""
    with pytest.raises(ConfigError, match=r"store\.url"):
        session_store(url, tmp_path)


def test_without_the_redis_package_it_says_what_to_do(tmp_path, monkeypatch):
    """The extra is optional, its absence is a sentence."""
    monkeypatch.setitem(sys.modules, "voicebot.session.redis_store", None)
    with pytest.raises(ConfigError, match="--extra redis"):
        session_store("redis://127.0.0.1:1/0", tmp_path)
