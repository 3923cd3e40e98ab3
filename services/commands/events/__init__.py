"""`redfire events`: dead letters of the services' inboxes and outboxes."""
