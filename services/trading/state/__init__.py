"""The step: what changes in memory is written by the commit log, and streamed and published when it is durable."""
