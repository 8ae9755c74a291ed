"""How much is tried: little and always the same by default, as much as one likes by `ROUNDEL_FUZZ_EXAMPLES`.

Owns: the number of examples and Hypothesis's settings. Leaves out: what an example is.
Trade: the short run draws the same examples each time, so that it fails for a change of the code and never by chance;
the long run draws new ones, and a failure prints what draws it again.
"""

import os

from hypothesis import HealthCheck, Phase, settings

ASKED = os.environ.get("ROUNDEL_FUZZ_EXAMPLES")


def examples(by_default):
    """Settings for a test that tries `by_default` examples unless asked for another number."""
    count = int(ASKED) if ASKED else by_default
    return settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=ASKED is None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
        phases=[
            Phase.explicit,
            Phase.generate,
            *([] if os.environ.get("ROUNDEL_FUZZ_SHRINK") == "0" else [Phase.shrink]),
        ],
    )
