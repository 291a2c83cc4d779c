"""Where samples come from. One file per source; each yields (samples, t) for `Stream.push`.

replay     a recording, as fast as possible or in real time     Replay
"""

from runtime.sources.replay import Replay

__all__ = ["Replay"]
