"""The version of RedFire that runs here."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("redfire")
except PackageNotFoundError:  # the sources, not installed
    VERSION = "0"
