"""`launch store`: is it whole, what can go."""
