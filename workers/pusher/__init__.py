"""The pusher: what the logs say goes to PostgreSQL (slow lane) and to live subscribers (fast and balance lanes)."""
