"""What holds for all tests."""

import signal

from hypothesis import settings

# A shell lets what it runs in the background ignore Ctrl-C, and Trio leaves it at that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is.
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")
