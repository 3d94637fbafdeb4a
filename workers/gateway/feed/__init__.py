"""The WebSocket feed: who subscribed to what (subscriptions), in which words (messages), and to whom it goes (hub)."""
