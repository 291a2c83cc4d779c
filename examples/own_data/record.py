"""Stands in for an afternoon with a logger: a folder of .csv files in g and deg/s at 104 Hz, and when who did what.

    python examples/own_data/record.py recordings

Four people of the demo's test set are written as a cheap logger would write them: no units in the header, a counter of
milliseconds, one file of labels for all. What dan says of himself on the device later is beside the folder, in dan.csv.
Whoever has recordings needs none of this.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import sdk.demo

RATE_HZ = 104
PART_S = 30.0  # of each activity
SAID_S = 15.0  # of it, what dan labels on the device
G, DEGREE = 9.80665, np.pi / 180
NAMES = {"6": "anna", "12": "ben", "18": "cleo", "24": "dan"}


def main(folder: Path) -> None:
    """Write the folder."""
    folder.mkdir(parents=True)
    lines, of_dan = ["recording,start,end,label"], ["start_s,end_s,label"]
    for path in sorted((Path(next(iter(sdk.demo.__path__))) / "data").glob("person_*.npz")):
        with np.load(path) as file:
            samples, labels = file["samples"].astype(float), file["labels"]
            names, rate_hz = file["label_names"].tolist(), float(file["rate_hz"])
        name = f"{NAMES[path.stem.removeprefix('person_')]}_1"
        parts, begin_s = [], 0.0
        for code in sorted(set(labels.tolist())):
            rows = samples[labels == code][: round(PART_S * rate_hz)]
            t_s = np.arange(0, len(rows) / rate_hz - 1 / rate_hz, 1 / RATE_HZ)
            own = [np.interp(t_s, np.arange(len(rows)) / rate_hz, column) for column in rows.T]
            parts.append(np.column_stack(own))
            end_s = begin_s + len(t_s) / RATE_HZ
            lines.append(f"{name}.csv,{begin_s + 0.5:.1f},{end_s - 0.5:.1f},{names[code].title()}")
            if name.startswith("dan"):
                of_dan.append(f"{begin_s + 0.5:.1f},{begin_s + SAID_S:.1f},{names[code]}")
            begin_s = end_s
        table = np.concatenate(parts) / np.repeat([G, DEGREE], 3)
        millis = np.arange(len(table)) * 1000 / RATE_HZ
        header = "millis,ax,ay,az,gx,gy,gz"
        np.savetxt(
            folder / f"{name}.csv",
            np.column_stack([millis, table]),
            fmt=["%.0f"] + ["%.4f"] * 3 + ["%.2f"] * 3,
            delimiter=",",
            header=header,
            comments="",
        )
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder.parent / "dan.csv").write_text("\n".join(of_dan) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
