"""Redis, which replicas share: copies, counts and messages that may be lost at any moment, and nothing else.

Nothing here is the only place of anything: without Redis a process reads its database, counts alone, and hears of
revocations by auth's stream. Every key has a time to live, and parts that users chose are in keys as hashes.
"""
