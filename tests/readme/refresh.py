"""Writes the table of settings in README.md anew: `.venv/bin/python -m tests.readme.refresh`."""

from tests.readme.document import README, with_table

if __name__ == "__main__":
    README.write_text(with_table(README.read_text()))
