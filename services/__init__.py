"""RedFire's services, the kernel they share, and the commands that run them."""
