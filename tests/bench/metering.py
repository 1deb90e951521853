"""What metering costs where it happens: python -m tests.bench.metering."""

import os
import tempfile
import time


def cpu_us(action, times=20_000):
    began_s = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - began_s) / times * 1e6


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        from tests.unit.edge_admission_test import PLAIN
        from voicebot.edge.line_watch import LineWatch
        from voicebot.edge.sip_agent.door import read_request
        from voicebot.telemetry import metrics, metrics_folder
        from voicebot.worker.call_meter import CallMeter

        watch, meter, frame, thing = LineWatch(), CallMeter(), bytes(range(0x20, 0x70)) * 2, object()
        rows = {
            "tick of the edge's clock, one histogram": lambda: metrics.FRAME_LATE_SECONDS.observe(0.001),
            "frame of a caller, line watch": lambda: watch.heard(frame, dtx=False, concealed=False),
            "message of a call that is not metered": lambda: meter.see(thing, 0),
            "SIP request read at the door": lambda: read_request(PLAIN, "127.0.0.1"),
        }
        for what, action in rows.items():
            print(f"| {what} | {cpu_us(action):.2f} us CPU |")
        print(f"| scrape of one process | {cpu_us(metrics_folder.render, 20) / 1000:.1f} ms CPU |")


if __name__ == "__main__":
    main()
