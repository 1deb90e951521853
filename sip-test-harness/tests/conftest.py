"""Makes loopback_bot importable: the suite runs with importlib import mode, which adds no path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
