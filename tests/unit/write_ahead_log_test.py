"""Files that several processes create at the same moment: whoever is first, all get them."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from voicebot.handoff.callback_store import CallbackStore
from voicebot.handoff.queue_store import HandoffStore
from voicebot.session.sqlite_tables import open_database


@pytest.mark.parametrize(
    "create",
    [
        pytest.param(lambda folder: open_database(folder / "s.db", busy_ms=100).close(), id="sessions"),
        pytest.param(HandoffStore, id="handoffs"),
        pytest.param(CallbackStore, id="call backs"),
    ],
)
def test_many_may_create_the_file_at_once(tmp_path, create):
    """A fleet starts on an empty folder."""

    def create_at_once(folder, together):
        together.wait()
        create(folder)

    with ThreadPoolExecutor(4) as threads:
        for trial in range(25):
            folder = tmp_path / str(trial)
            folder.mkdir()
            together = threading.Barrier(4)
            created = [threads.submit(create_at_once, folder, together) for _ in range(4)]
            for future in created:
                future.result(timeout=30)
