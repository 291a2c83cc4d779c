"""Closing a source or a sink takes less than a second, where nothing else runs: what it waits for at most."""

from runtime.sinks import mqtt
from runtime.sources import base

JOIN_S, READ_S, LOOK_S = base._JOIN_S, base._READ_S, base._LOOK_S  # as they are, before a fixture makes them longer
SINK_S = mqtt._DRAIN_S, mqtt._LOOP_S, mqtt._JOIN_S


def test_closing_takes_less_than_a_second():
    assert READ_S + LOOK_S < JOIN_S < 1
    drain_s, loop_s, join_s = SINK_S
    assert drain_s + loop_s < join_s < 1
