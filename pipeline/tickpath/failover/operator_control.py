"""Who may change a node: whoever may open the Unix socket in its directory.

    {"ask": "switchover", "to": "b"}        a line in, a line of JSON out (`questions`)

The file is its owner's, or a group's where ``node.control_group`` names one; the kernel says which
user speaks, and a command is noted with his name.  What is no question is counted and answered with
an error.
"""

import json
import selectors
from collections.abc import Callable
from typing import Any

from tickpath.config import ConfigError
from tickpath.failover.control_error import ControlError
from tickpath.failover.questions import OperatorQuestion, QuestionError, of_operator
from tickpath.operator_socket import TIMEOUT_S, OperatorSocket
from tickpath.operator_socket import ask as ask_line


class OperatorControl:
    """The answering side; `serve` never waits.  Raises `ConfigError` where it cannot listen."""

    def __init__(
        self,
        path: str,
        answer: Callable[[OperatorQuestion, str], dict[str, Any]],
        group: str | None = None,
    ) -> None:
        """``answer`` gets the question and the user's name."""
        self._answer = answer
        self._selector = selectors.DefaultSelector()
        self._socket = OperatorSocket(
            path, self._selector, self._line, "node", ControlError, group=group
        )
        self.counters = self._socket.counters

    def _line(self, line: str, who: str, now_ns: int) -> dict[str, Any]:
        try:
            question = of_operator(line.encode())
        except QuestionError:
            self.counters["malformed"] += 1
            raise
        return self._answer(question, who)

    def fileno(self) -> int:
        """Can be read when `serve` has something to do."""
        return self._selector.fileno()

    def serve(self) -> int:
        """Answer what was asked since; gives how many connections had something."""
        ready = self._selector.select(0)
        for key, _ in ready:
            key.data(0)
        return len(ready)

    def close(self) -> None:
        """Stop listening; the file goes."""
        self._socket.close()
        self._selector.close()


def ask_operator(path: str, timeout_s: float = TIMEOUT_S, **question: Any) -> dict[str, Any]:
    """Ask a node of this host, or tell it something; its answer is waited for so long.

    Raises `ConfigError` where nobody answers there, `ControlError` where the answer is an error.
    """
    said = ask_line(path, json.dumps(question), "node", timeout_s)
    if not isinstance(said, dict):
        raise ConfigError(f"control: {path}: what answers there is no node")
    if "error" in said:
        raise ControlError(f"{path}: {said['error']}")
    return said
