"""What a node answers: other nodes' questions, operators' commands and words to its engine.

Part of `node`, on whose loop it runs.  Operators' commands are the role's to carry out; how one
ended is kept for who asks later.
"""

from collections import deque
from typing import TYPE_CHECKING, Any, Literal

from tickpath.failover import questions as asked
from tickpath.failover import role_action as act
from tickpath.failover import role_event as told
from tickpath.failover.control import NOTHING, Answer, Later
from tickpath.failover.control_error import ControlError
from tickpath.failover.state_copy import StateCopy
from tickpath.trade.operator_words import Operator, OperatorError, is_question

if TYPE_CHECKING:
    from tickpath.failover.node import Node

MOST_OUTCOMES = 64
"""Of commands, that are kept for whoever asks later."""


class NodeQuestions:
    """See the module's text."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self._operator = Operator(node.engine, lambda: {"notes": node.notes[-20:]})
        self._outcomes: deque[asked.Outcome] = deque(maxlen=MOST_OUTCOMES)
        self.outcome_number = 0

    def ended(self, action: act.Done | act.Refused) -> None:
        """Keep how a command ended, for who asks."""
        self.outcome_number += 1
        is_done = isinstance(action, act.Done)
        text = action.text if isinstance(action, act.Done) else "; ".join(action.reasons)
        self._outcomes.append(asked.Outcome(self.outcome_number, action.command, is_done, text))

    def by_node(self, question: asked.PeerQuestion) -> Answer | Later:
        """The answer to another node.  Raises `ControlError`."""
        node = self._node
        match question:
            case asked.Status():
                return node.status(), NOTHING
            case asked.StateDigest():
                return self._digest(), NOTHING
            case asked.Snapshot():
                if not node.following.is_whole or node.engine.block.get("cursor"):
                    raise ControlError("this node has no whole state now")
                return StateCopy(node.engine, node.counters, node.note)
            case asked.HandedOver(source, epoch, number):
                if source not in node.settings.peers or epoch > node.role.highest_epoch:
                    raise ControlError(f"{source} is not the active of epoch {epoch}")
                node.tell(word := told.HandedOver(source, epoch, number))
                if node.role.attempt is not None and node.role.attempt.handed == word:
                    node.pause.handed(question)
        return {}, NOTHING

    def by_operator(self, question: asked.OperatorQuestion, who: str) -> dict[str, Any]:
        """The answer to an operator of this name.  Raises `ControlError`."""
        node = self._node
        match question:
            case asked.Command():
                before, outcome = len(node.notes), self.outcome_number
                node.note(f"{who} says: {question.__struct_config__.tag}")
                node.tell(question.event(who))
                return {"notes": node.notes[before:], **node.status(), "behind": outcome}
            case asked.AskOutcome(command, behind):
                for each in self._outcomes:
                    if each.number > behind and each.command == command:
                        return {"outcome": each._asdict()}
                return {"outcome": None}
            case asked.StateDigest():
                return self._digest()
            case asked.UseLine(line):
                return {"text": self.use_line(line, who)}
            case asked.Ctl(words):
                return self._ctl(words, who)
        return node.status()

    def use_line(self, line: Literal["A", "B", "both"], who: str) -> str:
        """Take the feed from one line alone, or from both; gives what came of it."""
        node = self._node
        why_not = node.market.use_line(line)
        if why_not is not None:
            node.counters["lines_not_switched"] += 1
            return f"line {line} cannot be chosen: {why_not}"
        node.counters["lines_switched"] += 1
        node.note(text := f"{who} takes the feed from line {line}")
        return text

    def _ctl(self, words: str, who: str) -> dict[str, Any]:
        """An operator's word to the engine.  What changes it is an input, so an active takes it."""
        node = self._node
        try:
            if not (node.leading.takes_inputs or is_question(words)):
                state = node.role.state.name.lower()
                raise ControlError(f"only an active takes that: this node is {state}")
            said = self._operator.run(words, who)
        except OperatorError as error:
            raise ControlError(str(error)) from None
        if not is_question(words):
            node.note(f"{who} says: {words}")
        node.leading.flush()
        return {"answer": said}

    def _digest(self) -> dict[str, Any]:
        engine = self._node.engine
        digest = f"{engine.state_digest:016x}"
        return {"record_number": engine.block.get("record_number"), "digest": digest}
