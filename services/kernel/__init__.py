"""What every service needs and none owns.

RPCs are in `rpc`, callers in `identity`, databases and events in `data`, the process in `runtime`, and here is what all
of these are written with.
"""
