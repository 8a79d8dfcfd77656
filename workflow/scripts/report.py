"""The page of the whole run: results/report.html."""

from pathlib import Path

from prelude import begin

params = begin()

from ganloom.report.build import build

REPORT = Path("results/report.html")
# What a mail may carry; pictures are encoded so that ten models stay below it.
LARGEST = 15_000_000


def main() -> None:
    page = build(Path(), params.report, params.models, params.fetch).encode()
    REPORT.write_bytes(page)
    print(f"{REPORT}: {len(params.models)} models, {len(page) / 1e6:.1f} MB")
    if len(page) > LARGEST:
        print(f"warning: larger than {LARGEST / 1e6:.0f} MB; show less models at a time")


if __name__ == "__main__":
    main()
