"""What the processors used, by the counters that Linux keeps of them (RAPL)."""

from __future__ import annotations

from pathlib import Path

# A folder for each processor; their parts have folders of longer names, and are in them.
POWERCAP = Path("/sys/class/powercap")
PACKAGES = "intel-rapl:?"  # AMD's, too


class Meter:
    """Counts from its making on. Other programs of the machine count as well, GPUs do not."""

    def __init__(self) -> None:
        self._last = _counters()

    def joules(self) -> float:
        """Used since the last call; 0 where there are no counters, or only root may read them."""
        now = _counters()
        # A counter begins again after its range: every half an hour at full load.
        used = [
            (value - self._last[name][0]) % (span + 1)
            for name, (value, span) in now.items()
            if name in self._last
        ]
        self._last = now
        return sum(used) / 1e6


def _counters() -> dict[str, tuple[int, int]]:
    """Of each processor the counter and the largest value that it takes, in microjoules."""
    try:
        return {
            folder.name: (
                int((folder / "energy_uj").read_text()),
                int((folder / "max_energy_range_uj").read_text()),
            )
            for folder in POWERCAP.glob(PACKAGES)
        }
    except (OSError, ValueError):
        return {}
