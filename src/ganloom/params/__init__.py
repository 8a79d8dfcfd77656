"""The schema of ``params.yaml``: every key, what it means and which values it may have.

All values are in ``params.yaml``, where DVC notices an edit. The schema only accepts or refuses
them: it has no defaults that are values, and changes none. It is therefore no dependency of the
stages, and an edit of it, such as a reworded message, makes nothing stale but ``check``.

The descriptions of the keys are their only documentation; ``params.yaml`` repeats them as comments,
and ``docs/params.md`` is generated from them.
"""

from __future__ import annotations

# Everything by its name in this package, so that a new section needs no entry here.
from ganloom.params.loading import *  # noqa: F403
from ganloom.params.models import *  # noqa: F403
from ganloom.params.networks import *  # noqa: F403
from ganloom.params.sources import *  # noqa: F403
from ganloom.params.stages import *  # noqa: F403
from ganloom.params.types import *  # noqa: F403
