"""What an active does with its turns: takes inputs, hears who has them, lets orders leave.

Part of `node`, on whose loop it runs.  The order of an input is: into the ring, through the engine,
acknowledged by every member of the gate, and only then are the orders that follow from it handed
over to the gateway, under a lease whose end this node's own clock has not reached.

At worst a member of the gate is silent: then orders wait in the outbox, which is bounded, until the
role has changed the gate.
"""

import json
from typing import TYPE_CHECKING

from tickpath import incomplete
from tickpath.clock import now_cycles
from tickpath.failover import role_action as act
from tickpath.failover import role_event as told
from tickpath.failover.gateway_client import Sent
from tickpath.failover.member import Member
from tickpath.wire.inputs import Kind

if TYPE_CHECKING:
    from tickpath.failover.node import Node

SOURCES = (act.TAKEOVER, act.GATE, act.POLICY, act.UNKNOWN_ORDERS, "operator", "feed", "books")
"""Who can hold trading; a hold is the bit of its place.  Others share the last bit."""
OTHERS = "others"


def bit_of(source: str) -> int:
    """The bit of a source among the engine's ``holds``."""
    return 1 << (SOURCES.index(source) if source in SOURCES else len(SOURCES))


def held(holds: int) -> tuple[str, ...]:
    """The sources whose bits are among the engine's ``holds``."""
    return tuple(each for each in (*SOURCES, OTHERS) if holds & bit_of(each))


class Leading:
    """See the module's text; `turn` is one turn of the loop of a node that is active."""

    def __init__(self, node: "Node") -> None:
        self._node = node
        self.is_on = False
        """Whether this node's loop is the active's."""
        self.is_draining = False
        """Whether inputs are left where they are: the role is being handed over."""
        self.until_ns = 0
        """When the lease ends, by this node's clock: nothing leaves behind it."""
        self.gate: tuple[Member, ...] | None = None
        """Whose acknowledgement an order waits for; None: nothing leaves."""
        self._echoes: dict[int, int] = {}
        self._lacking = 0
        """Orders that found no room, as far as trading was held for them."""

    @property
    def takes_inputs(self) -> bool:
        """Whether inputs of other than the ring are this node's to take."""
        return self.is_on and not self.is_draining

    # ------------------------------------------------------------ a turn

    def turn(self) -> int:
        """Take what the market has, and let go what may leave; gives how much came."""
        node, came = self._node, 0
        if not self.is_draining:
            came = node.market.take(self.flush)
            self._watch_feed()
            self._watch_books()
            now_ns = node.now_ns()
            if came:
                node.fed_ns = now_ns
                node.breakers.feed(now_ns)
            node.breakers.advance(now_ns)
        if not came:
            node.engine.scrub()
        node.ring.header["beat"] = now_cycles()
        node.lanes.turn(node.ring)
        self._hear_followers()
        self.flush()
        return came

    def _watch_feed(self) -> None:
        """No trading on books that are not current."""
        node = self._node
        is_held = "feed" in node.role.holds
        if node.market.is_current:
            if is_held:
                node.tell(told.ResumeTrading("feed"))
        elif not is_held and node.role.handover is None:
            node.tell(told.HoldTrading("feed", "the feed is not current"))

    def _watch_books(self) -> None:
        """No trading on books that lack orders, until somebody has looked and resumes it."""
        node = self._node
        lacking = incomplete.lacking(node.engine.block)
        if lacking == self._lacking or node.role.handover is not None:
            return
        self._lacking = lacking
        why = incomplete.words(lacking)
        node.note(f"trading is held: books: {why}")
        node.tell(told.HoldTrading("books", why))

    def _hear_followers(self) -> None:
        """Acknowledgements, as echoes of our beats."""
        ring = self._node.ring
        for at, row in enumerate(ring.followers):
            incarnation, echo = int(row["incarnation"]), int(row["echo"])
            if not incarnation or self._echoes.get(at) == echo:
                continue
            self._echoes[at] = echo
            member = Member(row["name"].decode(), incarnation)
            ready = bool(row["ready"])
            self._node.tell(told.Acked(member, int(row["epoch"]), int(row["taken"]), ready))
        ring.header["committed"] = self._acknowledged()

    def _acknowledged(self) -> int:
        """The last record that all of the gate's members have taken; 0 while it is shut."""
        if self.gate is None:
            return 0
        ring = self._node.ring
        number = int(ring.header["number"])
        for member in self.gate:
            rows = ring.followers
            mine = rows[
                (rows["name"] == member.name.encode()) & (rows["incarnation"] == member.incarnation)
            ]
            number = min(number, int(mine["taken"][0]) if len(mine) else 0)
        return number

    def flush(self) -> None:
        """Hand over what may leave, as long as the lease runs by this node's own clock."""
        node = self._node
        if self.gate is None or not node.outbox.waiting_bytes:
            return
        piece = node.outbox.due(self._acknowledged())
        if piece is None:
            return
        if node.now_ns() >= self.until_ns:
            node.counters["kept_back_without_lease"] += 1
            return
        sent = node.gateway.client.hand_over(
            node.engine.block.get("epoch"), piece.begin, piece.record_number, piece.orders
        )
        if sent in (Sent.WRITTEN, Sent.WAITING):
            now_ns = node.now_ns()
            node.outbox.hand_over(piece)
            node.pause.sent(now_ns)
            node.breakers.handed_over(piece.end, now_ns)

    # ------------------------------------------------------------ what the role asks for

    def begin(self, action: act.Promote) -> None:
        """Be the active; the gate is shut."""
        node = self._node
        block, header = node.engine.block, node.ring.header
        block.set("record_number", action.next_number - 1)
        block.set("epoch", action.epoch)
        header["epoch_began"] = action.next_number
        header["epoch"] = action.epoch
        node.engine.publish_to(node.ring.address, node.settings.scrub_records)
        node.outbox.go_on_from(action.order_position)
        block.set("order_position", max(block.get("order_position"), action.order_position))
        self.gate, self.until_ns = None, action.until_ns
        self.is_on, self.is_draining = True, False
        self._echoes.clear()
        self._lacking = 0
        said = {"active": node.settings.name, "behind": action.number}
        if action.is_forced:
            said |= {"forced": True, "records_lost": action.records_lost}
        node.engine.say(Kind.EPOCH, json.dumps(said).encode(), action.epoch)
        if unsent := node.outbox.waiting_bytes:
            node.note(f"{unsent:,} bytes of orders that were made and not handed over go out now")
        self.hold("a takeover")
        packets, _bytes = node.tail.take()
        if len(packets):
            node.market.give(packets)
        node.note(f"active in epoch {action.epoch} from record {action.next_number:,} on")

    def require(self, request: int, members: tuple[Member, ...], is_synchronous: bool) -> None:
        """Orders wait for these from here on, which is a record itself."""
        node = self._node
        word = {"gate": [str(each) for each in members], "synchronous": is_synchronous}
        node.engine.say(Kind.NOTE, json.dumps(word).encode())
        self.gate = members
        node.tell(told.Required(request, node.engine.block.get("record_number")))

    def hold(self, why: str) -> None:
        """Record who holds trading now."""
        holds = 0
        for source in self._node.role.holds:
            holds |= bit_of(source)
        self._node.engine.say(Kind.HOLD, why.encode(), holds)

    def resume(self, source: str) -> None:
        """Record that a source holds trading no longer."""
        node = self._node
        self.hold(f"{source} holds no longer")
        if source == act.TAKEOVER and (pause_ns := node.pause.ended(node.role.epoch)) is not None:
            node.note(f"orders may leave again: {pause_ns / 1e6:.3f} ms without a trading node")

    def drain(self, request: int) -> None:
        """Take no more input; let go what may still leave."""
        node = self._node
        node.pause.drained()
        self.is_draining = True
        self.flush()
        block = node.engine.block
        number, position = block.get("record_number"), block.get("order_position")
        node.tell(told.Drained(request, number, position))

    def stop(self, reason: str) -> None:
        """Nothing leaves and nothing is published.  The state stays: it may be all there is."""
        node = self._node
        self.is_on, self.gate, self.until_ns = False, None, 0
        node.engine.publish_to(node.ring.address)  # slices of the state are said by who leads
        node.note(f"stopped: {reason}")
