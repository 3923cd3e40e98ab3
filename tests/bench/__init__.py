"""Measurements beside others that do the same work; never part of the tests."""

import os

# Read by gRPC when it is imported: benches start programs and never fork themselves.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
