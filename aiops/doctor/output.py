"""What the doctor prints: for people as it goes, for machines one JSON document at the end."""

from __future__ import annotations

from collections import Counter
from typing import Final

import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from aiops.doctor.checks import STATES, Check, State, worst
from aiops.show_output import print_json
from aiops.text import one_line

_STYLES: Final[dict[State, str]] = {
    "ok": "green",
    "warning": "yellow",
    "failed": "bold red",
    "skipped": "dim",
}
_MOST_TEXT: Final = 600
_WIDTH: Final = len("warning")


class Printed:
    """Checks under the heading of their layer. Text of servers and files is untrusted."""

    def __init__(self, console: Console, *, as_json: bool) -> None:
        self._console = console
        self._as_json = as_json
        self._layer = ""

    def add(self, check: Check) -> None:
        """Print `check`, where people read along."""
        if self._as_json:
            return
        if check.layer != self._layer:
            self._layer = check.layer
            self._console.print(Text(check.layer, "bold"))
        grid = Table.grid(padding=(0, 2), expand=False)
        grid.add_column(width=_WIDTH)
        grid.add_column(overflow="fold")
        what = Text.assemble((one_line(check.subject, 120), "bold"), ": ", one_line(check.found, _MOST_TEXT))
        grid.add_row(Text(check.state, _STYLES[check.state]), what)
        self._console.print(Padding(grid, (0, 0, 0, 2)))
        if check.mend and check.state != "ok":
            # On a line of its own and never broken: it is there to be copied.
            mend = Text(f"{' ' * (_WIDTH + 4)}{one_line(check.mend, _MOST_TEXT)}", "cyan")
            self._console.print(mend, soft_wrap=True)

    def end(self, checks: list[Check], *, stopped: bool = False) -> None:
        """Print what it comes to."""
        if self._as_json:
            print_json(
                {
                    "state": worst(checks),
                    "stopped": stopped,
                    "checks": [msgspec.to_builtins(c) for c in checks],
                }
            )
            return
        counts = Counter(check.state for check in checks)
        names = {"warning": "warnings" if counts["warning"] > 1 else "warning"}
        told = ", ".join(f"{counts[state]} {names.get(state, state)}" for state in STATES if counts[state])
        self._console.print(Text.assemble(("stopped: " if stopped else "", "bold yellow"), told or "nothing"))
