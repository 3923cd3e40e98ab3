"""`redfire up --processes`: every service in processes of its own, supervised by the one that was started."""
