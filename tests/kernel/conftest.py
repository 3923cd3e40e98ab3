"""The kernel's tests. Those whose library is not installed are not collected: `make setup-dev` installs it."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("h2") else ["test_http2.py"]
