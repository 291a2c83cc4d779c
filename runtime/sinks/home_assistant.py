"""What Home Assistant wants to know of a stream: one discovery message, after which it shows activity and confidence.

The message is of the kind that announces a device with all of its entities (MQTT discovery, since 2024.11):

    PREFIX/device/OBJECT/config      retained; PREFIX is homeassistant unless it was told otherwise there
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Sequence
from typing import Any

PREFIX = "homeassistant"


def discovery_of(topic: str, name: str, version: str, labels: Sequence[str], prefix: str = PREFIX) -> tuple[str, bytes]:
    """The topic and the message that announce a stream's predictions.

    Args:
        topic: where they go.
        name: of the model.
        version: of it, in use.
        labels: its classes.
        prefix: of the discovery topics.
    """
    own = f"sensedge_{re.sub('[^A-Za-z0-9_-]', '_', topic)[-40:]}_{zlib.crc32(topic.encode()):08x}"

    def entity(called: str, template: str, **more: Any) -> dict[str, Any]:
        key = called.lower().replace(" ", "_")
        return {"platform": "sensor", "name": called, "unique_id": f"{own}_{key}", "value_template": template, **more}

    percent = {"unit_of_measurement": "%", "state_class": "measurement"}
    entities = [
        entity("Activity", "{{ value_json.label }}", device_class="enum", options=list(labels), icon="mdi:run"),
        entity("Confidence", "{{ (value_json.probability * 100) | round(1) }}", **percent),
        entity("Measured share", "{{ (value_json.quality.real * 100) | round(1) }}", **percent),
    ]
    message = {
        "device": {
            "identifiers": [own],
            "name": topic,
            "manufacturer": "sensedge",
            "model": name,
            "sw_version": version,
        },
        "origin": {"name": "sensedge"},
        "components": {one["unique_id"]: one for one in entities},
        "state_topic": topic,
        "availability_topic": availability(topic),
        "qos": 1,
    }
    return f"{prefix}/device/{own}/config", json.dumps(message).encode()


def availability(topic: str) -> str:
    """Where it stands whether predictions come: `online` or `offline`, retained."""
    return f"{topic}/availability"
