"""What every process shares: messages, keys, numbers, settings, connections. Imports nothing of ours."""
