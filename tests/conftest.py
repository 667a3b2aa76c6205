"""What every test shares: Hypothesis without surprises.

`pr` draws the same examples every time and keeps nothing on disk, so that a failure here fails elsewhere too.
`explore` draws new ones and prints what replays them; HYPOTHESIS_PROFILE=explore chooses it.

Tests interrupt commands that they start. Who starts the tests in the background of a shell makes them ignore
interrupts, and what is ignored stays so in a child; so it is taken back here.
"""

from __future__ import annotations

import os
import signal

from hypothesis import settings

settings.register_profile("pr", derandomize=True, database=None, deadline=None, max_examples=50)
settings.register_profile("explore", database=None, deadline=None, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "pr"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
