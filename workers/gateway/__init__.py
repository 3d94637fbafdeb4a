"""The gateway: Coinbase Exchange's REST and WebSocket dialect over replicas of the ledgers and books."""
