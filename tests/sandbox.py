"""The sandbox that this machine's kernel has for strategies: tests of all else run without one where it has none."""

from services.strategy.sandbox.support import detect

SUPPORT = detect()
MODE = "on" if SUPPORT.confines_network else "off"
"""The setting `strategy.sandbox` by which everybody's strategies run here."""
