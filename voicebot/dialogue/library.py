"""The dialplan in use: new calls get a new version of the file, calls under way keep theirs."""

from pathlib import Path

from voicebot.core.errors import DialplanError
from voicebot.dialogue.loader import load_dialplan
from voicebot.dialogue.program import CompiledDialplan


class PlanLibrary:
    """Holds one dialplan file.

    Args:
        path: The file.

    Attributes:
        plan: The version for new calls. A conversation keeps the one it began with.
        version: Counts the versions that were put into use, from 1.
        rejected: Why the file as it stands now is not in use; None when it is.

    Raises:
        DialplanError: The file cannot be used and there is no earlier version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self.plan: CompiledDialplan = load_dialplan(path, warm=True)
        self.version = 1
        self.rejected: DialplanError | None = None

    def refresh(self) -> bool:
        """Look at the file; True when a new version is in use. Cheap when nothing has changed."""
        stamp = self._look()
        if stamp == self._stamp or stamp is None:
            return False
        self._stamp = stamp
        try:
            self.plan = load_dialplan(self._path, warm=True)
        except DialplanError as error:
            self.rejected = error
            return False
        self.rejected = None
        self.version += 1
        return True

    def _look(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None  # an editor replaces the file at this moment
        return status.st_mtime_ns, status.st_size, status.st_ino
