"""IIO: sensors that Linux drives itself, such as an MPU-6050 on the I2C bus of a Raspberry Pi.

With a buffer, the kernel stamps each sample and hands over scans through the character device:

    configure (rate, trigger, elements, length) -> enable -> read scans, scale, stamp -> disable

Without one, or with `poll`, the `_raw` files are read at the rate, and a sample's time is that of its reading.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InputError, MissingError, SensedgeError
from runtime.files.kernel import read_text
from runtime.recording.placement import Placement, placement
from runtime.recording.reading import Reading
from runtime.sources.base import Batch, Live, Stamps, now_s, stamps_of
from runtime.sources.iio_scan import ScanLayout, ScanType
from runtime.sources.iio_sysfs import (
    DEV,
    SYSFS,
    Channel,
    Folder,
    channels_of,
    find_device,
    refused,
    set_rate,
    set_trigger,
)
from runtime.specs import Signal
from runtime.wire.backoff import Backoff
from runtime.wire.url import Options

_STAMP = "in_timestamp"
_READ_SCANS = 1024


class IIO(Live):
    """Samples of one IIO device, or of several that each have some of the modalities.

    Args:
        device: its name (mpu6050) or iio:device0; several are separated by commas, and their modalities then have
            clocks of their own.
        signal: its units tell the channels: m/s^2, g are accel; rad/s, deg/s anglvel; uT, G magn.
        rate_hz: samples per second that the device is asked for; None: the signal's.
        poll: read the `_raw` files even where there is a buffer.
        trigger: by name; None: the one that is set, or the device's own.
        watermark: scans that the kernel gathers before it wakes us.
        buffer_scans: that the kernel keeps while we are busy.
        reading: what is said of the axes and of the stamps; None: nothing.
        backoff: how to open a device again that went away.
        root: where the kernel shows the devices.
        dev: where their nodes are.
    """

    def __init__(
        self,
        device: str,
        signal: Signal,
        *,
        rate_hz: float | None = None,
        poll: bool = False,
        trigger: str | None = None,
        watermark: int = 8,
        buffer_scans: int = 512,
        reading: Reading | None = None,
        backoff: Backoff | None = None,
        root: str | Path = SYSFS,
        dev: str | Path = DEV,
    ) -> None:
        self._devices = [name.strip() for name in device.split(",")]
        self._signal, self._wanted_hz = signal, rate_hz
        self._poll, self._trigger, self._reading = poll, trigger, reading or Reading()
        placement(signal.channel_names, signal, self._reading, "iio")  # refuses axes of what is not there
        self._watermark, self._buffer_scans = watermark, buffer_scans
        self._root, self._dev = Path(root), Path(dev)
        self._rate_hz: float | None = None
        self._stamps: Stamps | None = None
        super().__init__(self._open, backoff=backoff or Backoff())

    @classmethod
    def from_url(cls, rest: str, options: Options, signal: Signal) -> IIO:
        """A source from what follows the scheme of a URL.

        `iio:mpu6050?rate=50&axes=y,-x,z&poll&trigger=NAME&watermark=8&root=/sys/bus/iio/devices&dev=/dev`.

        Raises:
            InputError: no device is named, or an option is unknown or out of its range.
        """
        if not rest:
            raise InputError("iio", expected="a device", got="none", fix="Write iio:mpu6050; ls /sys/bus/iio/devices.")
        words = {name: word for name in ("axes", "stamps") if (word := options.text(name)) is not None}
        made = cls(
            rest,
            signal,
            reading=Reading.taken(words.get, "iio"),
            rate_hz=options.number("rate"),
            poll=options.flag("poll"),
            trigger=options.text("trigger"),
            watermark=options.whole("watermark", 8),
            root=options.text("root", str(SYSFS)) or SYSFS,
            dev=options.text("dev", str(DEV)) or DEV,
        )
        options.done()
        return made

    @property
    def stamps(self) -> Stamps | None:
        """Of measurement: the kernel's, or the moment of reading; of arrival where a buffer has no time stamps."""
        return self._stamps

    @property
    def rate_hz(self) -> float | None:
        """As the device says, once it is open; the slowest, if it has several."""
        return self._rate_hz

    def _open(self) -> _Devices:
        readers: list[_Buffered | _Polled] = []
        try:
            left = channels_of(self._signal)
            for name in self._devices:
                folder = find_device(name, self._root)
                mine = {m: channels for m, channels in left.items() if all(_is_there(folder, c) for c in channels)}
                left = {m: channels for m, channels in left.items() if m not in mine}
                if mine:
                    readers.append(self._reader(folder, mine))
            if left:
                raise self._lacks(next(iter(left.values())))
        except BaseException:
            for reader in readers:
                reader.close()
            raise
        rates = [reader.rate_hz for reader in readers if reader.rate_hz is not None]
        self._rate_hz = min(rates) if rates else None
        found: Stamps = "measured" if all(reader.stamped for reader in readers) else "arrival"
        self._stamps = stamps_of(self._reading.stamps) or found
        return _Devices(readers)

    def _reader(self, folder: Folder, modalities: dict[str, list[Channel]]) -> _Buffered | _Polled:
        by_modality = len(self._devices) > 1 or not self._signal.is_even
        rate_hz = self._wanted_hz or max(m.rate_hz for m in self._signal.modalities if m.name in modalities)
        columns = _Columns(folder, modalities, self._turn(modalities), by_modality=by_modality)
        first = next(iter(modalities.values()))[0]
        if self._poll or not any((path / f"{first.name}_en").exists() for path in _element_folders(folder)):
            return _Polled(folder, columns, rate_hz, self._root)
        set_trigger(folder, self._trigger, self._root)
        return _Buffered(
            folder, columns, rate_hz, self._root, self._dev / folder.path.name, self._buffer_scans, self._watermark
        )

    def _turn(self, modalities: dict[str, list[Channel]]) -> Placement | None:
        """How the axes of a device's sensors are turned; None: they are not."""
        own = Signal(tuple(m for m in self._signal.modalities if m.name in modalities))
        axes = {m.name: a for m in own.modalities if (a := self._reading.axes.get(m.name, self._reading.axes.get("")))}
        return placement(own.channel_names, own, Reading(axes=axes)) if axes else None

    def _lacks(self, channels: Sequence[Channel]) -> MissingError:
        return MissingError(
            f"{self._root}: {', '.join(self._devices)}",
            expected=f"the channels {', '.join(channel.name for channel in channels)}",
            got="a device without them",
            fix="Name the device that has them too, as in iio:lsm6ds3_accel,lsm6ds3_gyro.",
        )


def _is_there(folder: Folder, channel: Channel) -> bool:
    return folder.has(f"{channel.name}_raw") or any(
        (path / f"{channel.name}_en").exists() for path in _element_folders(folder)
    )


def _element_folders(folder: Folder) -> list[Path]:
    return [folder.path / name for name in ("scan_elements", "buffer0")]


class _Columns:
    """From raw values of the channels to batches in the bundle's units."""

    def __init__(
        self, folder: Folder, modalities: dict[str, list[Channel]], turn: Placement | None, *, by_modality: bool
    ) -> None:
        self._turn = turn
        self.channels = [channel for channels in modalities.values() for channel in channels]
        self.kinds = list(dict.fromkeys(channel.kind for channel in self.channels))
        scales = [folder.scale_of(channel) for channel in self.channels]
        self._offset = np.array([offset for offset, _ in scales])
        self._scale = np.array(
            [scale * channel.factor for (_, scale), channel in zip(scales, self.channels, strict=True)]
        )
        ends = np.cumsum([len(channels) for channels in modalities.values()]).tolist()
        self._parts = list(zip(modalities, [0, *ends], ends, strict=False)) if by_modality else []

    def batches(self, raw: NDArray[Any], t: NDArray[np.float64]) -> list[Batch]:
        """Raw values of shape (n, n_channels), float64, and their times in seconds."""
        samples = ((raw + self._offset) * self._scale).astype(np.float32)
        if self._turn is not None:
            samples = self._turn.apply(samples)
        if not self._parts:
            return [Batch(samples, t)]
        return [Batch(np.ascontiguousarray(samples[:, begin:end]), t, name) for name, begin, end in self._parts]


class _Buffered:
    """The scans of one device."""

    def __init__(
        self, folder: Folder, columns: _Columns, rate_hz: float, root: Path, node: Path, length: int, watermark: int
    ) -> None:
        self._columns, self._node, self._rest = columns, node, b""
        old = folder.has("scan_elements")
        self._elements = Folder(folder.path / ("scan_elements" if old else "buffer0"))
        self._buffer = Folder(folder.path / ("buffer" if old else "buffer0"))
        self.stamped = self._elements.has(f"{_STAMP}_en")
        try:
            self.file = os.open(node, os.O_RDONLY | os.O_NONBLOCK)  # first: the kernel lets one program have it
        except OSError as error:
            raise refused(node, error) from None
        try:
            self._buffer.write("enable", 0)  # a program that was killed has left it on
            self.rate_hz = set_rate(folder, columns.kinds, rate_hz, root)
            self._layout = self._switch_on([channel.name for channel in columns.channels])
            self._buffer.write("length", length)
            if self._buffer.has("watermark"):
                self._buffer.write("watermark", min(watermark, length))
            self._buffer.write("enable", 1)
        except BaseException:
            self.close()
            raise

    def _switch_on(self, names: list[str]) -> ScanLayout:
        """Only our elements, and the time stamp."""
        wanted = [*names, *([_STAMP] if self.stamped else [])]
        for path in sorted(self._elements.path.glob("*_en")):
            self._elements.write(path.name, int(path.name.removesuffix("_en") in wanted))
        order = sorted(wanted, key=lambda name: (name == _STAMP, self._elements.number(f"{name}_index", 0)))
        where = self._elements.path
        return ScanLayout([(n, ScanType.parse(self._elements.text(f"{n}_type"), where / f"{n}_type")) for n in order])

    def read(self, event: int) -> list[Batch]:
        """What is there. It is read also without an event: poll has none for a device that was removed."""
        if event and not event & select.POLLIN:
            raise OSError(f"{self._node}: the device has gone (poll says {event})")
        try:
            new = os.read(self.file, self._layout.scan_bytes * _READ_SCANS)
        except BlockingIOError:  # nothing there, also where poll promised some
            return []
        if event and not new:
            raise OSError(f"{self._node}: the buffer has ended")
        data = self._rest + new
        n = len(data) // self._layout.scan_bytes * self._layout.scan_bytes
        self._rest = data[n:]
        if not n:
            return []
        values = self._layout.decode(data[:n])
        raw = np.column_stack([values[channel.name][:, 0].astype(np.float64) for channel in self._columns.channels])
        stamps = values[_STAMP][:, 0].astype(np.float64) * 1e-9 if self.stamped else np.full(len(raw), now_s())
        return self._columns.batches(raw, stamps)

    def close(self) -> None:
        with contextlib.suppress(SensedgeError):  # the device may be gone
            self._buffer.write("enable", 0)
        os.close(self.file)


class _Polled:
    """A device whose `_raw` files are read one after the other, at the rate."""

    stamped = True

    def __init__(self, folder: Folder, columns: _Columns, rate_hz: float, root: Path) -> None:
        self._folder, self._columns, self.rate_hz = folder, columns, rate_hz
        self._files = [folder.path / f"{channel.name}_raw" for channel in columns.channels]
        self._due_s = time.monotonic()
        for path in self._files:
            folder.text(path.name)
        if folder.has("sampling_frequency"):
            with contextlib.suppress(SensedgeError):  # values are then as old as the device's own rate makes them
                set_rate(folder, columns.kinds, rate_hz, root)

    def wait_s(self) -> float:
        """Seconds until the next reading is due."""
        return self._due_s - time.monotonic()

    def read(self) -> list[Batch]:
        """One sample; its time is the middle of its reading."""
        period_s = 1 / self.rate_hz
        self._due_s += period_s * max(1, int(-self.wait_s() / period_s) + 1)  # what was missed is not made up
        began_s = now_s()
        raw = np.array([[float(read_text(path)) for path in self._files]])
        return self._columns.batches(raw, np.array([(began_s + now_s()) / 2]))

    def close(self) -> None:
        """Nothing is held."""


class _Devices:
    """All devices of a source, as one connection."""

    def __init__(self, readers: Sequence[_Buffered | _Polled]) -> None:
        self._readers = readers
        self._polled = [reader for reader in readers if isinstance(reader, _Polled)]
        self._buffered = {reader.file: reader for reader in readers if isinstance(reader, _Buffered)}
        self._poll = select.poll()
        for file in self._buffered:
            self._poll.register(file, select.POLLIN)

    def read(self, wait_s: float) -> Sequence[Batch]:
        wait_s = max(0.0, min([wait_s, *(reader.wait_s() for reader in self._polled)]))
        events = dict(self._poll.poll(1000 * wait_s))
        batches = []
        for file, buffered in self._buffered.items():
            batches += buffered.read(events.get(file, 0))
        try:
            for reader in self._polled:
                if reader.wait_s() <= 0:
                    batches += reader.read()
        except ValueError as error:
            raise OSError(f"a raw value that is no number: {error}") from None
        return batches

    def close(self) -> None:
        for reader in self._readers:
            reader.close()
