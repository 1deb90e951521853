"""`make qa-demo`: record two calls, replay them over a matrix of networks, write the report.

    python -m tests.qa.demo [--wire] [--out FOLDER]

Starts a bot of its own on free ports and stops it. The matrix runs on virtual time, the two calls
themselves are replayed over SIP and RTP too and must go the same way there; ``--wire`` sends the whole
matrix over SIP and RTP, which takes four times as long.
"""

import argparse
import asyncio
import json
import shlex
import shutil
import sys
import time
from pathlib import Path

from tests.loopback.bot_program import ROOT, running_bot

HARNESS = [sys.executable, "-c", "from sip_test_harness.cli import main; main()"]
AT = "2026-01-06T10:00:00+00:00"
PASSCODE = "4321"
MATRIX = ["--loss", "0,1,3,5,10", "--burst", "1,3", "--jitter", "0,40", "--seed", "1"]
# A recorded caller cannot answer what the recorded bot did not ask: where losses make the bot ask "Did you say
# balance?", the course is another one.
CONDITIONS = ["failed>0", "task_success<0.8", "bot_holes>0.4", "cut_offs>0"]
CALLS = {
    "balance, by voice": ["--script", "dialplans/calls/balance.yaml"],
    "opening hours, by keys": ["-t", "dtmf=2", "-t", "dtmf=9", "-t", "expect_hang_up_s=20"],
}


async def harness(*arguments, quiet=False):
    """Run the command as a person would, its words on the terminal."""
    shown = shlex.join(["sip-test-harness", *map(str, arguments)])
    print(f"\n$ {shown}", flush=True)
    output = asyncio.subprocess.DEVNULL if quiet else None
    process = await asyncio.create_subprocess_exec(
        *HARNESS, *map(str, arguments), cwd=ROOT, stdout=output, stderr=output
    )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def courses(path):
    """Steps and intents of each call of a results file, by its name; unimpaired calls only."""
    rows = json.loads(path.read_text())["rows"]
    clean = [r for r in rows if not r["cell"]["loss_percent"] and not r["cell"]["jitter_ms"]]
    return {row["name"]: row["course"] for row in clean}


async def demonstrate(out, *, wire):
    """Record, replay, compare; returns the exit status."""
    shutil.rmtree(out, ignore_errors=True)
    async with running_bot(out / "bot", recording__note_keys="true", dialplan_at=AT) as bot:
        for name, arguments in CALLS.items():
            print(f"\n== {name}")
            if await harness("call", bot.uri, *arguments, quiet=True):
                print(f"the call '{name}' failed; this repeats it: make call")
                return 1
        await bot.wait_records(len(CALLS), limit_s=30)
        # The last bytes of a recording are written after its call record.
        await recordings_complete(out / "bot/recordings", len(CALLS))
        recorded = sorted((out / "bot/recordings").glob("*.wav"))
        common = ["replay", *recorded, "--secret-keys", PASSCODE]
        live = ["--target", bot.uri, "--record-dir", bot.data_dir, "--at-once", "4"]
        clean = await harness(*common, *live, "--json", out / "wire.json")
        fail_on = [word for text in CONDITIONS for word in ("--fail-on", text)]
        report = ["--json", out / "results.json", "--html", out / "report.html", *fail_on]
        offline = ["--offline", "--target", "sip:bank@127.0.0.1", "--at", AT, "--at-once", "2"]
        command = f"{shlex.quote(sys.executable)} -m voicebot.cli offline"
        where = live if wire else [*offline, "--bot", command]
        status = await harness(*common, *MATRIX, *where, *report)
    same = courses(out / "wire.json") == courses(out / "results.json")
    print(f"\nThe same course over SIP and in the matrix: {'yes' if same else 'NO'}")
    return status or clean or not same


async def recordings_complete(folder, count, limit_s=30):
    """Until so many recordings are closed."""
    async with asyncio.timeout(limit_s):
        while True:
            notes = [json.loads(path.read_text()) for path in folder.glob("*.json")]
            if sum(note["complete"] for note in notes) >= count:
                return
            await asyncio.sleep(0.1)


def main():
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wire", action="store_true", help="the whole matrix over SIP and RTP")
    parser.add_argument("--out", type=Path, default=ROOT / "var/qa-demo")
    arguments = parser.parse_args()
    started = time.monotonic()
    status = asyncio.run(demonstrate(arguments.out.resolve(), wire=arguments.wire))
    print(f"Verdict: {'FAILED' if status else 'passed'}, after {time.monotonic() - started:.0f} s")
    print(f"Report: {arguments.out / 'report.html'}")
    raise SystemExit(int(bool(status)))


if __name__ == "__main__":
    main()
