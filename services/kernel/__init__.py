"""Foundation of every service, owned by none.

RPCs are in `rpc`, callers in `identity`, databases and events in `data`, the process in `runtime`, and here is what all
of these are written with.
"""
