"""The execution of one job: its process, what that runs, and the folder through which results come back."""
