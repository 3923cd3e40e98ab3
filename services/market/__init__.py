"""Market data: instruments, ticks, bars, their history and indicators.

One process, or several replicas behind one name (`market.replica`, `market.recorder`, `market.replicas`). Each replica
reads the engine's ticks itself, under its own name: positions are the same everywhere, a stream that a replica ended is
resumed at any other, and none waits for another one's ticks. One of them, the recorder, makes bars and records, in the
folder that it has locked. The others relay its bars, read the archive in that folder, and ask it for what is not there
yet; while it is away they refuse what needs it, rather than leave something out. Ids of streams begin with the name of
their replica, by which `UpdateSubscription` finds it. See `replicas/`.
"""
