"""Energy used by the processors, from the RAPL counters of Linux."""

from __future__ import annotations

from pathlib import Path

# A folder for each processor. Its parts have longer names, and are included in it.
POWERCAP = Path("/sys/class/powercap")
PACKAGES = "intel-rapl:?"  # of AMD processors as well


class Meter:
    """Counts the energy of the whole machine, other programs included, without GPUs."""

    def __init__(self) -> None:
        self._last = _counters()

    def joules(self) -> float:
        """Joules since the last call; 0 if there are no counters or only root may read them."""
        now = _counters()
        # Counters wrap around, every half an hour at full load.
        used = [
            (value - self._last[name][0]) % (span + 1)
            for name, (value, span) in now.items()
            if name in self._last
        ]
        self._last = now
        return sum(used) / 1e6


def _counters() -> dict[str, tuple[int, int]]:
    """Counter and largest value of each processor, in microjoules."""
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
