"""The sandbox of processes that run users' code: what they may read, write and connect to, and how much they may use.

The service describes it (`profile.py`), the process enters it (`entry.py`) before it starts a thread or imports a
user's file. Nothing leaves it: the kernel enforces it for the process and all that it starts.
"""
