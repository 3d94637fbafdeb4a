"""Tests of workers/recovery."""
