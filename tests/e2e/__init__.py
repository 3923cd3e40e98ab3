"""The whole platform through its edge. Flat: a file for each promise, all on the one platform of conftest.py."""
