"""Where the processes of one bot keep their metrics, and how one of them reads all.

    edge ──┐
    worker ├─► DATA/metrics/*_<pid>.db ◄── scrape: the supervisor adds them up
    console┘

This is the multi-process mode of prometheus_client, which looks at ``PROMETHEUS_MULTIPROC_DIR`` when it
is imported: so nothing here imports it before it is needed.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client.core import Metric

FOLDER: Final = "metrics"
VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_OWN_FILE = re.compile(r"[a-z_]+_([0-9]+)\.db")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def share_metrics(data_dir: Path) -> Path:
    """Let this process and those it starts share their metrics; must come before the first metric.

    Files of processes that are gone are removed.

    Args:
        data_dir: The data directory; ``metrics`` below it is made for its owner only.
    """
    folder = data_dir / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in folder.iterdir():
        found = _OWN_FILE.fullmatch(path.name)
        if found and not Path(f"/proc/{found[1]}").exists():
            path.unlink(missing_ok=True)
    os.environ[VARIABLE] = str(folder.resolve())
    return folder


def join_metrics(data_dir: Path) -> bool:
    """Write to the folder of a bot that runs already; False when there is none."""
    folder = data_dir / FOLDER
    if VARIABLE not in os.environ and folder.is_dir():
        os.environ[VARIABLE] = str(folder.resolve())
    return VARIABLE in os.environ


def is_shared() -> bool:
    """Whether somebody else answers the scrape for this process."""
    return VARIABLE in os.environ


def process_gone(pid: int) -> None:
    """A process ended: its gauges go, its counters stay."""
    from prometheus_client import multiprocess  # noqa: PLC0415 - see above

    if is_shared():
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]


def render(processes: Callable[[], Mapping[str, int]] | None = None) -> bytes:
    """All metrics in the text format of Prometheus; reads files, so not on an event loop.

    Args:
        processes: Gives the process ids by program (``edge 0``), for memory, CPU time and descriptors.
    """
    from prometheus_client import (  # noqa: PLC0415 - see above
        REGISTRY,
        CollectorRegistry,
        generate_latest,
        multiprocess,
    )

    registry = REGISTRY
    if is_shared():
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    found = processes or (lambda: {"self": os.getpid()})
    own = CollectorRegistry()
    own.register(ProcessCollector(found))
    return generate_latest(registry) + generate_latest(own)


class ProcessCollector:
    """Memory, CPU time, threads and descriptors of processes of ours, from /proc.

    Args:
        processes: Gives the process ids by program.
    """

    def __init__(self, processes: Callable[[], Mapping[str, int]]) -> None:
        self._processes = processes

    def collect(self) -> "Iterator[Metric]":
        """One sample per process that lives."""
        from prometheus_client.core import (  # noqa: PLC0415 - see above
            CounterMetricFamily,
            GaugeMetricFamily,
        )

        memory = GaugeMetricFamily(
            "voicebot_process_memory_bytes", "Resident memory", labels=["program"]
        )
        files = GaugeMetricFamily("voicebot_process_open_files", "Descriptors", labels=["program"])
        threads = GaugeMetricFamily("voicebot_process_threads", "Threads", labels=["program"])
        cpu = CounterMetricFamily("voicebot_process_cpu_seconds", "CPU time", labels=["program"])
        for program, pid in sorted(self._processes().items()):
            try:
                stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                descriptors = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names only
            except OSError:
                continue  # gone meanwhile
            memory.add_metric([program], int(stat[21]) * _PAGE_BYTES)
            files.add_metric([program], descriptors)
            threads.add_metric([program], int(stat[17]))
            cpu.add_metric([program], (int(stat[11]) + int(stat[12])) / _TICKS_PER_S)
        yield from (memory, files, threads, cpu)
