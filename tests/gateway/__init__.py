"""Tests of the gateway: pure parts without servers, and the whole against real workers."""
