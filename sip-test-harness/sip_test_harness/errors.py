from __future__ import annotations


class HarnessError(Exception):
    """Root of every error that the harness raises.

    HarnessError
    ├── UsageError              a wrong option or argument; exit code 2
    │   └── ScriptError         a wrong script; names file, line, column and key
    ├── NetworkRefusedError     a packet would have left 127.0.0.0/8
    ├── SyntaxRefusedError      bytes that are not SIP, SDP, RTP or a capture
    ├── CallFailedError         the far end refused the call (status and reason)
    ├── CallEndedError          the call ended while something was awaited
    └── WaitTimeoutError        nothing happened within the stated time
    """


class UsageError(HarnessError):
    """A wrong option or argument."""


class ScriptError(UsageError):
    """A wrong script file: says where.

    Args:
        message: what is wrong and what would be right.
        file: the script's name as the user gave it.
        line: 1-based line, or 0 when the whole file is meant.
        column: 1-based column, or 0.
        key: dotted path of the key, such as ``turns[2].say``.
    """

    def __init__(
        self, message: str, *, file: str = "", line: int = 0, column: int = 0, key: str = ""
    ) -> None:
        self.message = message
        self.file = file
        self.line = line
        self.column = column
        self.key = key
        where = ":".join([file or "script", *([str(line)] if line else [])])
        super().__init__(f"{where}: {key + ': ' if key else ''}{message}")


class NetworkRefusedError(HarnessError):
    """A packet was about to be sent outside 127.0.0.0/8 without ``--allow-network``."""


class SyntaxRefusedError(HarnessError):
    """Received bytes do not follow their format."""


class CallFailedError(HarnessError):
    """The call was not answered with a 2xx.

    Args:
        status: SIP status code, or 0 when no final response came.
        reason: reason phrase, or what happened.
    """

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(f"the call failed: {status or 'no answer'} {reason}".strip())


class CallEndedError(HarnessError):
    """The call ended while something else was awaited."""


class WaitTimeoutError(HarnessError):
    """What was awaited did not happen in time."""
