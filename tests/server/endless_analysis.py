"""A process that makes an analysis which never ends; it says when the analysis has begun."""

from __future__ import annotations

import sys
import time
from typing import Any

from lexite.server.analysing import Analyser, Task


class Endless:
    """An index that never gives what is asked of it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # asked for where it is pickled
            raise AttributeError(name)
        print("begun", file=sys.stderr, flush=True)  # stdout is for answers, and what is printed there goes here too
        time.sleep(600)


if __name__ == "__main__":
    index: Any = Endless()
    Analyser(600).run(Task("correlations", index, [], None, {"field": None, "most": 1, "seed": 0}))
