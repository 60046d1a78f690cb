"""A lent packet as hot code reads it: ``packet.length(address of the record)``."""

from tickpath.memory import accessors
from tickpath.packet import PACKET

packet = accessors("packet", PACKET)
