"""What every test shares: local markets as fixtures, and the same random examples in every run."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ["tests.localnet_fixtures"]

# a failure must be the same on every machine; scripts and nightly runs look for new examples
settings.register_profile("levmon", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("levmon")
