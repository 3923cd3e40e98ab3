"""The subcommands of `redfire`, one file each."""
